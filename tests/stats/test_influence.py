"""How single clips move a Fréchet distance."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.stats.frechet import gaussian, resampled_frechet_distances
from evalkit.stats.influence import frechet_influences


@pytest.mark.parametrize("d", [1, 3, 8])
def test_influences_are_derivatives_in_how_often_a_clip_counts(d: int) -> None:
    rng = np.random.default_rng(d)
    generated = [1.5 * rng.standard_normal((k, d)) @ rng.standard_normal((d, d)) + 0.3 for k in (3, 5, 0, 4, 6, 2)]
    reference = [rng.standard_normal((5, d)) for _ in range(5)]
    step = 1e-4
    weights = 1 + step * np.concatenate([np.eye(6), -np.eye(6)])
    up, down = np.split(resampled_frechet_distances(generated, reference, weights, np.ones((12, 5)), ddof=0), 2)
    found = frechet_influences(generated, *gaussian(generated, 0), *gaussian(reference, 0))
    np.testing.assert_allclose(found, (up - down) / (2 * step), rtol=1e-5, atol=1e-7)
    assert found[2] == 0 and found.sum() == pytest.approx(0, abs=1e-9)


def test_directions_in_which_nothing_varies_move_nothing() -> None:
    rng = np.random.default_rng(0)
    flat = np.array([1.0, 1.0, 0.0])
    generated = [rng.standard_normal((4, 3)) * flat for _ in range(5)]
    reference = [rng.standard_normal((4, 3)) * flat for _ in range(5)]
    found = frechet_influences(generated, *gaussian(generated), *gaussian(reference))
    plane = [[clip[:, :2] for clip in clips] for clips in (generated, reference)]
    expected = frechet_influences(plane[0], *gaussian(plane[0]), *gaussian(plane[1]))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
