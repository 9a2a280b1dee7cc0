"""Say what this machine can do for evalkit: versions, device, and how clips would be generated here, with the reasons.

evalkit doctor [--device NAME] [--format NAME] [--json]
"""

from __future__ import annotations

import argparse
import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalkit.commands import fail, parse, parser_for, prints_table, show

if TYPE_CHECKING:
    from evalkit.report.document import Document

HEADS, SIZE = 24, 64  # of a layer's attention in musicgen-medium; heads have this size in all published checkpoints
PACKAGES = ("evalkit", "torch", "transformers", "triton")
EXACT = 1e-5  # relative error of products and convolutions above which they are not float32's: TF32 has about 3e-4


def main(arguments: list[str]) -> None:
    """Run `evalkit doctor`."""
    parsed = parse(parser(), arguments)
    found = examine(parsed.device)
    show(document(found), parsed.format)
    if found.unusable:
        fail(f"nothing can be generated on {found.facts['device']}: {found.unusable}")


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    found = parser_for("doctor", __doc__)
    found.add_argument("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:N, or auto, as engine.device")
    prints_table(found, without=("junit",))  # where nothing is judged there are no test cases
    return found


@dataclass(frozen=True)
class Found:
    """What was found on a machine.

    Attributes:
        facts: values by name: versions of packages, and what a record says of how clips were made.
        memory: bytes that the device has; None where the system does not tell.
        free: bytes of these that nobody uses; None on a CPU, where much that is in use can be had.
        fixed: whether torch's flags are as evalkit sets them for whatever it computes.
        errors: relative errors of float32 products and convolutions on the device, against float64.
        refused: why a faster attention, graphs or a GPU are not used, one sentence each.
        unusable: why nothing can be generated on the device; empty where it can.
    """

    facts: dict[str, Any]
    memory: int | None
    free: int | None
    fixed: bool
    errors: dict[str, float]
    refused: list[str]
    unusable: str = ""

    @property
    def exact(self) -> bool:
        """Whether float32 is float32, and no flag that evalkit sets is otherwise."""
        return self.fixed and max(self.errors.values(), default=math.inf) <= EXACT


def examine(asked: str) -> Found:
    """Look at a device. Raises EvalkitError for one that is not there."""
    import torch

    from evalkit.errors import EvalkitError
    from evalkit.plan import pick_device, pick_dtype
    from evalkit.precision import fixed_precision, holds
    from evalkit.settings import Dtype
    from evalkit.store.provenance import installed, machine

    name = pick_device(asked)
    device, dtype = torch.device(name), pick_dtype(Dtype.auto, name)
    refused = [f"no GPU is used: {why}"] if asked == "auto" and device.type == "cpu" and (why := no_gpu()) else []
    facts = {package: installed(package) for package in PACKAGES}
    facts |= {"device": name, **machine(name), "dtype": dtype.value}
    if device.type == "cuda":
        facts["capability"] = ".".join(map(str, torch.cuda.get_device_capability(device)))
        free, memory = torch.cuda.mem_get_info(device)
    else:
        facts["threads"] = torch.get_num_threads()
        memory, free = _memory(), None
    errors: dict[str, float] = {}
    unusable = ""
    with fixed_precision():
        fixed = holds()
        try:
            errors = float32_errors(device)
            chosen, why = attention(device, getattr(torch, dtype.value))
            facts |= chosen
            refused += [why] if why else []
        except (EvalkitError, RuntimeError) as error:  # such as a GPU that this torch has no kernels for
            unusable = str(error).partition("\n")[0]
    return Found(facts, memory, free, fixed, errors, refused, unusable)


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


def document(found: Found) -> Document:
    """Say what was found, one line each."""
    from evalkit.report.document import Document, Item, Listing, Quantity

    said = {**_versions(found.facts), **_device(found), **_generation(found)}
    rows = [Item(cell := {"what": what, "found": text}, cell) for what, text in said.items()]
    return Document(
        title="doctor",
        heading=f"evalkit on {found.facts['device']}",
        table=Listing([[Quantity("what", "what", "word")], [Quantity("found", "found here", "word")]], rows),
        notes=found.refused,
        plain={
            "facts": found.facts,
            "memory": found.memory,
            "free": found.free,
            "precision": {"fixed": found.fixed, "errors": found.errors, "exact": found.exact},
            "usable": not found.unusable,
        },
    )


def _versions(facts: dict[str, Any]) -> dict[str, str]:
    return {package: facts[package] or "not installed" for package in PACKAGES}


def _device(found: Found) -> dict[str, str]:
    facts = found.facts
    gib = [f"{n / 2**30:,.1f} GiB{what}" for n, what in ((found.memory, ""), (found.free, " free")) if n is not None]
    said = {"device": f"{facts['device']} ({facts['device_name']})", "memory": ", ".join(gib) or "unknown"}
    if "capability" not in facts:
        return said | {"threads": f"{facts['threads']:,}"}
    versions = {"CUDA": facts["cuda"], "cuDNN": facts["cudnn"], "driver": facts["driver"] or "unknown"}
    cuda = ", ".join(f"{name} {version}" for name, version in versions.items())
    return said | {"capability": facts["capability"], "CUDA": cuda.removeprefix("CUDA ")}


def _generation(found: Found) -> dict[str, str]:
    facts = found.facts
    said = {}
    if found.errors:
        exact = "exact" if found.exact else "of reduced precision, so that numbers are not those of other machines"
        errors = ", ".join(f"{error:.0e} of {key}" for key, error in found.errors.items())
        said["float32"] = f"{exact}: relative error {errors}"
    if found.unusable:
        return said | {"generation": f"not possible: {found.unusable}"}
    return said | {
        "generation": f"{facts['dtype']}, {facts['attention']} attention, "
        f"{'CUDA graphs' if facts['graphs'] else 'no CUDA graphs'}"
    }
