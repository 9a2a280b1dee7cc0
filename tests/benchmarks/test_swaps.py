"""The benchmark of swaps compares one thing with the same thing. Its speeds are not tested."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import swaps
from benchmarks.bootstrap import clips_of


def test_both_ways_give_the_same_fads_and_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "swaps.json"
    monkeypatch.setattr("sys.argv", ["swaps", "--clips", "30", "--swaps", "20", "--output", str(output)])
    swaps.main()
    record = json.loads(output.read_text("utf-8"))
    assert record["largest_relative_difference"] < 1e-9
    assert record["swaps"] == 20 and 1 / 21 <= record["p"] <= 1 and record["seconds"] > 0


def test_a_swap_exchanges_the_sides_of_its_prompts() -> None:
    baseline, candidate, reference = (clips_of(30, seed) for seed in (0, 2, 1))
    none, half, every = np.zeros(30, bool), np.arange(30) % 2 > 0, np.ones(30, bool)
    fads = swaps.both_fads(baseline, candidate, reference, np.array([none, half, ~half, every]))
    np.testing.assert_allclose(fads[:, 3], fads[::-1, 0], rtol=1e-9)
    np.testing.assert_allclose(fads[:, 2], fads[::-1, 1], rtol=1e-9)
    assert len({f"{fad:.6f}" for fad in fads.ravel()}) == 4
