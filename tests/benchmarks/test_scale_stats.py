"""The benchmark of statistics at very many clips, at few."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import scale_stats
from evalkit.stats.frechet import frechet_distance, gaussian


def test_features_are_views_of_their_files_and_differ_between_sides(tmp_path: Path) -> None:
    scale_stats.made(tmp_path, 1030)
    baseline, candidate, reference = scale_stats.sides(tmp_path)
    assert len(set(baseline.ids)) == 1030 and baseline.ids == candidate.ids == reference.ids
    for side, name in zip((baseline, candidate, reference), scale_stats.NAMES, strict=True):
        file = np.load(tmp_path / f"{name}.npy")
        np.testing.assert_array_equal(side.values, file)
        assert not side.values[0].flags.owndata and side.values[1029].any()
    near, far = (frechet_distance(*gaussian(one.values), *gaussian(reference.values)) for one in (candidate, baseline))
    assert 0 < near < far


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_held_for_a_moment_is_seen(tmp_path: Path) -> None:
    with scale_stats.most_held() as held:
        # memory of its own: what this process has freed before may be used again, and would not be new
        ones = np.frombuffer(mmap.mmap(-1, 80_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        for _ in range(20):
            ones += 1
        del ones
    assert held[1] - held[0] > 60e6
    scale_stats.made(tmp_path, 200)
    found = scale_stats.measured_here("precision", tmp_path)
    assert found["cpu_seconds"] > 0 and 0 <= found["mib_beside_features"] < 20
