"""Networks and their weights: read without running anything, filled in, or drawn from a seed."""

from __future__ import annotations

import contextlib
import json
import pickle
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalkit.errors import EvalkitError, loading, reason


def load_tensors(path: Path, name: str) -> Any:
    """Read a file that torch.save wrote: tensors, plain values, and `Recorded` for every other object; or safetensors.

    Nothing in the file is run. Defect: laion_clap, hear21passt and audiocraft unpickle whatever the
    file says. torch's own answer, `weights_only=True`, refuses CLAP's published files for their pickle
    protocol (4) and for the NumPy numbers in their optimizer's state, and audiocraft's for their
    configuration. Raises EvalkitError for a file that cannot be read; `name` is for messages.
    """
    import torch

    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        with loading(f"{name}: '{path}'"):
            return load_file(path)
    zipped = zipfile.is_zipfile(path)
    if zipped and any(member.endswith("/constants.pkl") for member in zipfile.ZipFile(path).namelist()):
        raise EvalkitError(f"{name}: '{path}' is a TorchScript program, which could run anything: give a state dict")
    module = types.ModuleType("tensors_only")
    module.__dict__.update(Unpickler=_Unpickler, load=lambda file, **options: _Unpickler(file, **options).load())
    try:
        # mapped, because two thirds of CLAP's file are its optimizer's state
        return torch.load(path, map_location="cpu", pickle_module=module, weights_only=False, mmap=zipped)
    except Exception as error:  # a damaged pickle can raise anything
        raise EvalkitError(
            f"{name}: '{path}' cannot be read as a checkpoint ({reason(error)}): it is incomplete or another file"
        ) from error


def weights_file(folder: Path) -> Path:
    """A folder's model.safetensors where there is one, else its pytorch_model.bin, as transformers chooses."""
    file = folder / "model.safetensors"
    return file if file.exists() else folder / "pytorch_model.bin"


def read_json(path: Path, name: str) -> dict[str, Any]:
    """Read a file that holds one JSON object. Raises EvalkitError where it does not; `name` is for messages."""
    with loading(f"{name}: '{path}'"):
        return dict(json.loads(path.read_text("utf-8")))


class Recorded:
    """Stands for an object of any class that is not made: it keeps the state it would have got, and does nothing."""

    state: Any = None

    def __init__(self, *_: Any, **__: Any):
        pass

    def __call__(self, *_: Any, **__: Any) -> Recorded:
        return Recorded()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, *_: Any) -> None:
        pass

    def append(self, _: Any) -> None:
        pass

    def extend(self, _: Any) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    ALLOWED = frozenset(
        {
            ("builtins", "dict"),
            ("collections", "OrderedDict"),
            ("collections", "defaultdict"),
            ("torch", "Size"),
            ("torch._utils", "_rebuild_parameter"),
            ("torch._utils", "_rebuild_tensor"),
            ("torch._utils", "_rebuild_tensor_v2"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module, name) if (module, name) in self.ALLOWED else Recorded


def fill(network: Any, state: Any, name: str, path: Path) -> None:
    """Load a state dict strictly; EvalkitError names what is missing, unexpected or of another shape."""
    import torch

    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise EvalkitError(f"{name}: '{path}' holds no state dict of tensors: it is another file")
    own = network.state_dict()
    problems = {
        "missing": own.keys() - state.keys(),
        "unexpected": state.keys() - own.keys(),
        "of another shape": {k for k in own.keys() & state.keys() if own[k].shape != state[k].shape},
    }
    found = [
        f"{len(keys)} {kind} ({', '.join(sorted(keys)[:3])}{', …' if len(keys) > 3 else ''})"
        for kind, keys in problems.items()
        if keys
    ]
    if found:
        raise EvalkitError(f"{name}: '{path}' does not fit the network: {'; '.join(found)}")
    network.load_state_dict(state)


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Draw torch's random numbers on the CPU from `seed`, and leave its generator as it was.

    With None the numbers are any: packages draw initial weights that a checkpoint then replaces.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed CUDA too
        yield


def randomize(network: Any, gain: float) -> None:
    """Draw all linear and convolutional weights with variance gain² / fan-in (He et al. 2015: gain² = 2), biases zero.

    The packages' own initial weights are made for training: their outputs hardly depend on the input.
    """
    import torch

    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
                module.weight.normal_(0, gain / module.weight[0].numel() ** 0.5)
                if module.bias is not None:
                    module.bias.zero_()
