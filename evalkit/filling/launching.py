"""Where the workers of a run are: processes of this machine, or of a Ray cluster."""

from __future__ import annotations

from evalkit.errors import EvalkitError
from evalkit.parallel.local import Local, visible_gpus
from evalkit.parallel.units import Launcher
from evalkit.settings import Engine


def number_of_workers(engine: Engine) -> int | None:
    """How many workers the engine asks for; None where this process does the work.

    Raises EvalkitError for several workers on one GPU.
    """
    count = max(1, len(gpus(engine))) if engine.workers == "auto" else int(engine.workers)
    if count > 1 and ":" in engine.device:
        raise EvalkitError(f"engine.device={engine.device} is one GPU: set engine.device=cuda for {count} workers")
    return count if count > 1 else None


def launched(engine: Engine, count: int) -> Launcher:
    """Where so many workers are started, each with a GPU of its own if there are as many."""
    return Local(count, gpus(engine) or None)


def gpus(engine: Engine) -> list[str]:
    """The GPUs of this machine that the engine may use, as CUDA_VISIBLE_DEVICES names them; none on a CPU."""
    return visible_gpus() if engine.device.startswith("cuda") else []
