"""Bytes of tensors while something runs: what a GPU would have had to hold."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class Allocator(TorchDispatchMode):
    """Counts the storages that operations make, as long as anything holds them.

    Attributes:
        live: bytes that are held now.
        peak: bytes that were held at most.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in _tensors((args, kwargs)):
            self._watch(tensor, 0)  # what was there before, such as weights
        result = func(*args, **kwargs or {})
        for tensor in _tensors(result):
            self._watch(tensor, tensor.untyped_storage().nbytes())
        self.peak = max(self.peak, self.live)
        return result

    def _watch(self, tensor: torch.Tensor, size: int) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return

        def freed(_: Any) -> None:  # another may have the same address then
            self.live -= size
            self._known.pop(key)

        self.live += size
        self._known[key] = weakref.ref(storage, freed)


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    return (value for value in tree_iter(values) if isinstance(value, torch.Tensor))
