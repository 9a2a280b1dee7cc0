"""The device: what it is, whether float32 is float32 there, and which attention and kernels would be used."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from evalkit.checks import Asked, Finding
from evalkit.errors import EvalkitError

SUBJECT = "device"
ORDER = 90  # last, because importing torch takes seconds
HEADS, SIZE = 24, 64  # of a layer's attention in musicgen-medium; heads have this size in all published checkpoints
EXACT = 1e-5  # relative error of products and convolutions above which they are not float32's: TF32 has about 3e-4


def check(asked: Asked) -> Iterator[Finding]:
    """Look at the device that is asked for, and try on it what generation does."""
    from evalkit.plan import pick_device

    try:
        name = pick_device(asked.device)
    except EvalkitError as error:
        yield Finding("device", "missing", str(error), needed=True, facts={"usable": False})
        return
    import torch

    from evalkit.store.provenance import machine

    device, facts = torch.device(name), machine(name)
    yield Finding("device", "ok", f"{name} ({facts['device_name']})", facts={"device": name, **facts})
    if asked.device == "auto" and device.type == "cpu" and (why := no_gpu()):
        yield Finding("GPU", "absent", f"none is used: {why}")
    yield _room(device)
    if device.type == "cuda":
        capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
        yield Finding("capability", "ok", capability, facts={"capability": capability})
        cuda = f"{facts['cuda']}, cuDNN {facts['cudnn']}, driver {facts['driver'] or 'unknown'}"
        yield Finding("CUDA", "ok", cuda)
    else:
        threads = torch.get_num_threads()
        yield Finding("threads", "ok", f"{threads:,}", facts={"threads": threads})
    yield from _computing(device)


def _room(device: Any) -> Finding:
    """The device's memory; how much of a CPU's is free says little, as much that is in use can be had."""
    import torch

    free, memory = torch.cuda.mem_get_info(device) if device.type == "cuda" else (None, _memory())
    said = [f"{n / 2**30:,.1f} GiB{what}" for n, what in ((memory, ""), (free, " free")) if n is not None]
    return Finding("memory", "ok", ", ".join(said) or "unknown", facts={"memory": memory, "free": free})


def _computing(device: Any) -> Iterator[Finding]:
    """Compute in float32 and with attention, under the flags that evalkit sets for whatever it computes."""
    import torch

    from evalkit.plan import pick_dtype
    from evalkit.precision import fixed_precision, holds
    from evalkit.settings import Dtype

    dtype = pick_dtype(Dtype.auto, str(device))
    with fixed_precision():
        fixed = holds()
        try:
            errors = float32_errors(device)
            exact = fixed and max(errors.values(), default=math.inf) <= EXACT
            said = "exact" if exact else "of reduced precision, so that numbers are not those of other machines"
            numbers = ", ".join(f"{error:.0e} of {key}" for key, error in errors.items())
            precision = {"precision": {"fixed": fixed, "errors": errors, "exact": exact}}
            said = f"{said}: relative error {numbers}"
            yield Finding("float32", "ok" if exact else "warning", said, facts=precision)
            chosen, why = attention(device, getattr(torch, dtype.value))
        except (EvalkitError, RuntimeError) as error:  # such as a GPU that this torch has no kernels for
            first = str(error).partition("\n")[0]
            yield Finding("generation", "missing", f"not possible: {first}", needed=True, facts={"usable": False})
            return
    graphs = "CUDA graphs" if chosen["graphs"] else "no CUDA graphs"
    said = f"{dtype.value}, {chosen['attention']} attention, {graphs}"
    facts = {"usable": True, "dtype": dtype.value, **chosen}
    yield Finding("generation", "warning" if why else "ok", said, remedy=why, facts=facts)


def no_gpu() -> str:
    """Why torch has no GPU; empty where it has one."""
    import torch

    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return f"torch {torch.__version__} is built for CUDA {torch.version.cuda}, and finds no GPU or no driver that fits"


def attention(device: Any, dtype: Any) -> tuple[dict[str, Any], str]:
    """How a model of the published checkpoints' shape would compute here, and why not faster; empty where it is.

    Raises EvalkitError where no attention gives the right numbers.
    """
    from evalkit.decoding.backend import choose
    from evalkit.settings import Engine

    engine = Engine()
    with _unlogged():  # what it warns of is said in the document
        chosen = choose(engine.attention, engine.cuda_graphs, device, dtype, HEADS, SIZE)
    why = f"{chosen.attention} attention is used, which is slower: {chosen.refused}" if chosen.refused else ""
    return {"attention": chosen.attention, "graphs": chosen.graphs}, why


@contextmanager
def _unlogged() -> Iterator[None]:
    logger = logging.getLogger("evalkit")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def float32_errors(device: Any) -> dict[str, float]:
    """Relative errors of a product and of a convolution in float32 on a device, against float64 on the CPU."""
    import torch

    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=generator) for _ in range(2))
    waves, filters = torch.randn(4, 32, 1024, generator=generator), torch.randn(32, 32, 7, generator=generator)
    convolve = torch.nn.functional.conv1d
    with torch.inference_mode():
        made = {"products": (a.to(device) @ b.to(device), a.double() @ b.double())}
        made["convolutions"] = (
            convolve(waves.to(device), filters.to(device)),
            convolve(waves.double(), filters.double()),
        )
        return {key: float((x.cpu().double() - y).norm() / y.norm()) for key, (x, y) in made.items()}


def _memory() -> int | None:
    """Bytes of the system's memory."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
