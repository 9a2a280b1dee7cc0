"""Where the workers of a run are: processes of this machine, or of a Ray cluster."""

from __future__ import annotations

from pathlib import Path

from evalkit.errors import EvalkitError
from evalkit.parallel.local import Local, visible_gpus
from evalkit.parallel.ray import Ray
from evalkit.parallel.units import Launcher
from evalkit.settings import Engine
from evalkit.settings import Launcher as Kind

OF_A_CLUSTER = 16  # workers that work is cut for, where a cluster has as many as there is room for


def number_of_workers(engine: Engine) -> int | None:
    """How many workers the engine asks for, by which work is cut; None where this process does the work.

    Raises EvalkitError for several workers on one GPU.
    """
    if engine.workers != "auto":
        count = int(engine.workers)
    elif engine.launcher is Kind.ray:
        count = OF_A_CLUSTER
    else:
        count = max(1, len(gpus(engine)))
    if count > 1 and ":" in engine.device:
        raise EvalkitError(f"engine.device={engine.device} is one GPU: set engine.device=cuda for several workers")
    return count if count > 1 else None


def launched(engine: Engine, count: int, store: Path) -> Launcher:
    """Give what starts workers, each with a GPU of its own if there are as many.

    Args:
        store: the folder of the cache, which all must see.
    """
    if engine.launcher is Kind.ray:
        return Ray(engine.address, None if engine.workers == "auto" else count, engine.device.startswith("cuda"), store)
    return Local(count, gpus(engine) or None)


def gpus(engine: Engine) -> list[str]:
    """The GPUs of this machine that the engine may use, as CUDA_VISIBLE_DEVICES names them; none on a CPU."""
    return visible_gpus() if engine.device.startswith("cuda") else []
