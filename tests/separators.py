"""HT-Demucs networks of seeded random weights at a tiny size, in the package's own file format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

from evalkit.separation import STEMS

SEGMENT = Fraction(1, 2)  # seconds
SMALL: dict[str, Any] = {"channels": 8, "nfft": 512, "depth": 2, "t_layers": 1, "t_heads": 2, "segment": SEGMENT}


def write(path: Path, sources: Sequence[str] = STEMS, klass: str = "", **options: Any) -> Any:
    """Write a network's file, and return the network."""
    pytest.importorskip("demucs", reason="the extra 'melody' is not installed")
    from demucs.htdemucs import HTDemucs
    from safetensors.torch import save_file

    options = {**SMALL, **options}
    torch.manual_seed(0)
    network = HTDemucs(list(sources), **options).eval()
    segment = {"_type": "fraction", "numerator": SEGMENT.numerator, "denominator": SEGMENT.denominator}
    metadata = {"klass": klass or "demucs.htdemucs.HTDemucs", "args": json.dumps([list(sources)])}
    save_file(
        {key: tensor.contiguous() for key, tensor in network.state_dict().items()},
        path,
        metadata | {"kwargs": json.dumps(options | {"segment": segment})},
    )
    return network
