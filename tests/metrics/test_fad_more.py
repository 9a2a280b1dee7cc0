"""FAD∞ and contributions to FAD, against loops over subsets and over clips left out."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from evalkit.errors import EvalkitError
from evalkit.metrics.fad import FAD
from evalkit.metrics.fad_contribution import FADContribution
from evalkit.metrics.fad_inf import FADInfinity
from evalkit.stats.influence import frechet_distances_without
from evalkit.types import Features
from tests.measuring import ENCODER, assert_order_does_not_matter, features, gaussian_clips, repeated, width_of_interval


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """As the packages compute it: numpy's covariances and scipy's matrix root."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    c1, c2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(c1 @ c2).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c1 + c2 - 2 * root))


@pytest.mark.parametrize("of", ["generated", "both"])
def test_fad_inf_is_the_intercept_of_a_line_through_the_fads_of_subsets(of: str) -> None:
    generated, reference = gaussian_clips(0, 40, 6, 5, shift=0.4), gaussian_clips(1, 40, 6, 5)
    metric = FADInfinity(ENCODER, of=of, sizes=4, subsets=3, smallest=0.25)
    measured = metric(generated, reference)
    order = np.argsort(generated.ids)
    points: dict[int, list[float]] = {}
    for row in metric._subsets(40, np.array([10, 20, 30, 40])):
        chosen = order[np.flatnonzero(row)]
        ours = np.concatenate([generated.values[i] for i in chosen])
        theirs = np.concatenate([reference.values[i] for i in chosen] if of == "both" else reference.values)
        points.setdefault(len(chosen), []).append(frechet(ours, theirs))
    assert {size: len(values) for size, values in points.items()} == {10: 3, 20: 3, 30: 3, 40: 1}
    x, y = 1 / np.array(list(points)), np.array([np.mean(v) for v in points.values()])
    slope, intercept = np.polyfit(x, y, 1)
    quality = 1 - ((y - slope * x - intercept) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert measured.value == pytest.approx(intercept, rel=1e-9)
    assert measured.note.startswith(f"R² {quality:.3f} over 10 to 40 clips")
    assert measured.n == 40


def test_fad_inf_takes_out_what_the_number_of_clips_adds() -> None:
    """Both sets are from one distribution, so their distance is 0; over 12 draws of them."""
    errors: dict[str, list[float]] = {"fad": [], "generated": [], "both": []}
    for seed in range(12):
        pair = gaussian_clips(2 * seed, 80, 5, 8), gaussian_clips(2 * seed + 1, 80, 5, 8)
        errors["fad"].append(FAD(ENCODER)(*pair).value)
        for of in ("generated", "both"):
            errors[of].append(FADInfinity(ENCODER, of=of, smallest=0.3)(*pair).value)
    fad, generated, both = (np.mean(values) for values in errors.values())
    assert generated == pytest.approx(fad / 2, rel=0.25)  # half of the excess is the reference set's
    assert abs(both) < 0.1 * fad


def test_fad_inf_says_when_it_is_doubtful() -> None:
    good = FADInfinity(ENCODER)(gaussian_clips(0, 120, 5, 4), gaussian_clips(1, 120, 5, 4))
    assert "doubtful" not in good.note
    few = FADInfinity(ENCODER)(gaussian_clips(0, 20, 2, 16), gaussian_clips(1, 20, 2, 16)).note
    assert "fewer than 100 clips" in few
    assert "fewer windows than dimensions" in few
    # as little bias as among so many windows gives no line, only noise
    noisy = FADInfinity(ENCODER, subsets=1)(gaussian_clips(0, 200, 50, 2, shift=0.3), gaussian_clips(1, 200, 50, 2))
    assert "the line fits poorly" in noisy.note


def test_fad_inf_draws_the_same_clips_in_any_order_and_others_with_another_seed() -> None:
    generated, reference = gaussian_clips(0, 30, 5, 4, shift=0.3), gaussian_clips(1, 30, 5, 4)
    assert_order_does_not_matter(FADInfinity(ENCODER, of="both"), generated, reference)
    one, two = (FADInfinity(ENCODER, seed=seed)(generated, reference).value for seed in (0, 1))
    assert one != two


def test_fad_inf_interval() -> None:
    widths = [
        width_of_interval(FADInfinity(ENCODER), gaussian_clips(0, n, 4, 4, shift=0.5), gaussian_clips(1, n, 4, 4))
        for n in (30, 240)
    ]
    assert widths[1] < 0.6 * widths[0]


def test_fad_inf_needs_clips_and_sensible_switches() -> None:
    with pytest.raises(EvalkitError, match="4 clips of at least one window are too few for a line"):
        FADInfinity(ENCODER)(gaussian_clips(0, 4, 5, 3), gaussian_clips(1, 4, 5, 3))
    nothing = features([np.zeros((0, 3))] * 6)
    with pytest.raises(EvalkitError, match="0 clips"):
        FADInfinity(ENCODER)(nothing, gaussian_clips(1, 6, 5, 3))
    with pytest.raises(EvalkitError, match="reference clips are shorter than one window"):
        FADInfinity(ENCODER)(gaussian_clips(1, 6, 5, 3), nothing)
    for wrong in ({"of": "reference"}, {"smallest": 0.0}, {"sizes": 2}, {"subsets": 0}, {"ddof": 2}):
        with pytest.raises(EvalkitError):
            FADInfinity(ENCODER, **wrong)


def test_resamples_of_few_clips_in_many_dimensions() -> None:
    """FAD of embeddings of whole clips, where fewer clips than dimensions leave the covariance singular."""
    generated, reference = gaussian_clips(0, 6, 1, 300, shift=0.2), gaussian_clips(1, 6, 1, 300)
    rows = np.array([[1.0] * 6, [2, 0, 1, 1, 0, 2], [0, 3, 0, 0, 3, 0]])
    values = FAD(ENCODER)(generated, reference).resampled(rows)  # type: ignore[misc]
    for row, value in zip(rows, values, strict=True):
        expected = FAD(ENCODER)(repeated(generated, row), repeated(reference, row)).value
        assert value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("clips", "frames", "dims"), [(30, 19, 8), (6, 19, 128), (40, 1, 5)])
def test_contributions_are_those_of_leaving_out_each_clip(clips: int, frames: int, dims: int) -> None:
    """Also where the covariances of 19 windows a clip in 128 dimensions are singular."""
    generated = gaussian_clips(0, clips, frames, dims, shift=0.2, scale=1.3)
    reference = gaussian_clips(1, clips, frames, dims)
    generated = Features(generated.ids, (generated.values[0][:0], *generated.values[1:]))  # one without windows
    measured = FADContribution(ENCODER)(generated, reference)
    whole = FAD(ENCODER)(generated, reference).value
    assert generated.ids[0] not in measured.per_clip
    assert measured.n == len(measured.per_clip) == clips - 1
    for left_out, contribution in measured.per_clip.items():
        rest = generated.select(i for i in generated.ids if i != left_out)
        without = FAD(ENCODER)(rest, reference).value
        assert contribution == pytest.approx(whole - without, rel=1e-6, abs=1e-9 * whole)


def test_an_outlier_contributes_most_and_is_the_share() -> None:
    reference = gaussian_clips(1, 60, 10, 6)
    generated = gaussian_clips(0, 60, 10, 6)
    values = list(generated.values)
    values[17] = values[17] + 6
    generated = Features(generated.ids, tuple(values))
    measured = FADContribution(ENCODER, worst=0.01)(generated, reference)
    assert max(measured.per_clip, key=measured.per_clip.__getitem__) == generated.ids[17]
    rest = generated.select(i for i in generated.ids if i != generated.ids[17])
    without, whole = (FAD(ENCODER)(one, reference).value for one in (rest, generated))
    assert measured.value == pytest.approx(1 - without / whole, rel=1e-9)
    assert measured.value > 0.3
    assert measured.resampled is None
    three = sorted(measured.per_clip, key=lambda i: -measured.per_clip[i])[:3]  # 5 % of 60
    without = FAD(ENCODER)(generated.select(i for i in generated.ids if i not in three), reference).value
    assert FADContribution(ENCODER)(generated, reference).value == pytest.approx(1 - without / whole, rel=1e-9)


def test_contributions_do_not_depend_on_order_or_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    generated, reference = gaussian_clips(0, 30, 5, 4, shift=0.3), gaussian_clips(1, 30, 5, 4)
    assert_order_does_not_matter(FADContribution(ENCODER), generated, reference)
    whole, without = frechet_distances_without(generated.values, reference.values)
    monkeypatch.setattr("evalkit.stats.influence.CHUNK", 7)
    again, in_sevens = frechet_distances_without(generated.values, reference.values)
    assert again == whole
    np.testing.assert_allclose(in_sevens, without, rtol=1e-12)


def test_contributions_need_clips() -> None:
    reference = gaussian_clips(1, 5, 5, 3)
    for few in (features([np.zeros((0, 3))] * 5), gaussian_clips(0, 1, 5, 3), gaussian_clips(0, 2, 1, 3)):
        with pytest.raises(EvalkitError, match="too few"):
            FADContribution(ENCODER)(few, reference)
    with pytest.raises(EvalkitError, match="worst between 0 and 1"):
        FADContribution(ENCODER, worst=1.0)
    same = FADContribution(ENCODER)(reference, reference)
    assert same.value <= 0 or same.value == pytest.approx(0)
