"""The engine of most tests: one CPU, float32."""

from __future__ import annotations

from typing import Any

from evalkit.settings import Dtype, Engine

CPU = Engine(device="cpu", dtype=Dtype.float32)


def cpu(dtype: str = "float32", **options: Any) -> Engine:
    """An engine on the CPU."""
    return Engine(device="cpu", dtype=Dtype(dtype), **options)
