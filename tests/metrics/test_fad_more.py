"""FAD∞ and contributions to FAD, against loops over subsets and over clips left out."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from evalkit.errors import EvalkitError
from evalkit.metrics.fad import FAD
from evalkit.metrics.fad_contribution import FADContribution
from evalkit.metrics.fad_inf import FADInfinity
from evalkit.results.scored import scored
from evalkit.settings import Uncertainty
from evalkit.stats.influence import frechet_distances_without
from evalkit.types import Features
from tests.measuring import ENCODER, assert_order_does_not_matter, features, gaussian_clips, repeated, width_of_interval


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """As the packages compute it: numpy's covariances and scipy's matrix root."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    c1, c2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(c1 @ c2).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c1 + c2 - 2 * root))


def pairs(seed: int, n: int, frames: int, dims: int, alike: float, shift: float = 0.0) -> tuple[Features, Features]:
    """Clips and references of one distribution, moved apart by `shift`, whose frames correlate by `alike`."""
    one, two = gaussian_clips(2 * seed, n, frames, dims), gaussian_clips(2 * seed + 1, n, frames, dims)
    own = [alike * r + (1 - alike**2) ** 0.5 * g + shift for g, r in zip(one.values, two.values, strict=True)]
    return Features(one.ids, tuple(own)), two


def test_fad_inf_is_a_parabola_through_the_fads_of_parts_at_none() -> None:
    generated, reference = gaussian_clips(0, 42, 6, 5, shift=0.4), gaussian_clips(1, 42, 6, 5)
    metric = FADInfinity(ENCODER, repeats=2)
    measured = metric(generated, reference)
    order = np.argsort(generated.ids)
    numbers, rows = metric._parts(42, np.random.default_rng(0))
    assert numbers.tolist() == [1, *[2] * 4, *[3] * 6, *[4] * 8]
    points: dict[int, list[float]] = {}
    for number, row in zip(numbers, rows, strict=True):
        chosen = order[np.flatnonzero(row)]
        assert len(chosen) in (42 // number, -(-42 // number))
        points.setdefault(number, []).append(
            frechet(*(np.concatenate([one.values[i] for i in chosen]) for one in (generated, reference)))
        )
    np.testing.assert_array_equal(rows[1:3].sum(axis=0), 1)  # each clip is in one of two halves
    assert (rows[1] != rows[3]).any()  # and in another the next time
    parabola = np.polynomial.Polynomial.fit(list(points), [np.mean(v) for v in points.values()], 2)
    assert measured.value == pytest.approx(parabola(0), rel=1e-9)
    assert measured.n == 42


@pytest.mark.parametrize("alike", [0.0, 0.7, 0.99])
def test_fad_inf_is_rid_of_what_few_clips_add_however_alike_clips_and_references_are(alike: float) -> None:
    """Both sets are of one distribution, whose distance is 0; over 12 draws of them."""
    values: dict[str, list[float]] = {"fad": [], "inf": []}
    for seed in range(12):
        pair = pairs(seed, 80, 5, 8, alike)
        values["fad"].append(FAD(ENCODER)(*pair).value)
        values["inf"].append(FADInfinity(ENCODER)(*pair).value)
    fad, inf = (np.array(v) for v in values.values())
    error = inf.std(ddof=1) / 12**0.5
    assert abs(inf.mean()) < 4 * error and 4 * error < 0.5 * fad.mean()


def test_fad_inf_of_sets_that_are_not_paired() -> None:
    """Of unequal numbers of clips, one of them with other ids; both are of one distribution."""
    values, fads = [], []
    for seed in range(12):
        generated, reference = gaussian_clips(2 * seed, 60, 5, 8), gaussian_clips(2 * seed + 1, 100, 5, 8)
        reference = Features(tuple(f"r{i}" for i in reference.ids), reference.values)
        values.append(FADInfinity(ENCODER)(generated, reference).value)
        fads.append(FAD(ENCODER)(generated, reference).value)
    error = np.std(values, ddof=1) / 12**0.5
    assert abs(np.mean(values)) < 4 * error < 0.5 * np.mean(fads)
    measured = FADInfinity(ENCODER)(generated, reference)
    assert measured.n == 60 and measured.resampled is not None
    assert np.isfinite(measured.resampled(np.ones((1, 60)), np.ones((1, 100)))).all()


def test_fad_inf_of_other_renderings_is_not_below_zero() -> None:
    """What clips and references share would take a line through parts of one set alone far below zero."""
    generated, reference = pairs(0, 150, 8, 12, 0.99)
    score = scored("it", generated.ids, [FADInfinity(ENCODER)(generated, reference)], (-np.inf, np.inf), Uncertainty())
    assert score.low < 0 < score.high
    chosen = np.random.default_rng(0).permutation(150)
    whole = np.concatenate(reference.values)
    alone = [
        np.mean([frechet(np.concatenate([generated.values[i] for i in chosen[k::n]]), whole) for k in range(n)])
        for n in (1, 2, 3)
    ]
    assert np.polyfit((1, 2, 3), alone, 1)[-1] < 20 * score.low


def test_fad_inf_holds_the_distance_of_the_distributions() -> None:
    """docs/uncertainty.md has more; FAD's own interval, which is about so many clips, does not hold it."""
    truth, held, fads = 12 * 0.3**2, 0, 0
    for seed in range(60):
        pair = pairs(seed, 40, 5, 12, 0.5, shift=0.3)
        for metric in (FADInfinity(ENCODER), FAD(ENCODER)):
            one = scored("it", pair[0].ids, [metric(*pair)], metric.bounds, Uncertainty(resamples=100))
            if metric.kind == "fad":
                fads += one.low <= truth <= one.high
            else:
                held += one.low <= truth <= one.high
    assert held >= 52 and fads < 20


def test_fad_inf_of_a_set_and_itself_is_zero_and_says_why_there_is_no_interval() -> None:
    clips = gaussian_clips(0, 30, 5, 4)
    measured = FADInfinity(ENCODER)(clips, clips)
    assert abs(measured.value) < 1e-9 and measured.resampled is None
    assert measured.note == "no interval: FAD is 0 but for rounding"


def test_fad_inf_draws_the_same_clips_in_any_order_and_others_with_another_seed() -> None:
    generated, reference = gaussian_clips(0, 30, 5, 4, shift=0.3), gaussian_clips(1, 30, 5, 4)
    assert_order_does_not_matter(FADInfinity(ENCODER), generated, reference)
    one, two = (FADInfinity(ENCODER, seed=seed)(generated, reference).value for seed in (0, 1))
    assert one != two


def test_fad_inf_interval() -> None:
    widths = [
        width_of_interval(FADInfinity(ENCODER), gaussian_clips(0, n, 4, 4, shift=0.5), gaussian_clips(1, n, 4, 4))
        for n in (30, 240)
    ]
    assert widths[1] < 0.6 * widths[0]


def test_fad_inf_needs_clips_and_sensible_switches() -> None:
    with pytest.raises(EvalkitError, match="11 clips of at least one window are too few"):
        FADInfinity(ENCODER)(gaussian_clips(0, 11, 5, 3), gaussian_clips(1, 11, 5, 3))
    nothing = features([np.zeros((0, 3))] * 12)
    for pair in ((nothing, gaussian_clips(1, 12, 5, 3)), (gaussian_clips(1, 12, 5, 3), nothing)):
        with pytest.raises(EvalkitError, match="0 clips"):
            FADInfinity(ENCODER)(*pair)
    for wrong in ({"repeats": 0}, {"ddof": 2}):
        with pytest.raises(EvalkitError):
            FADInfinity(ENCODER, **wrong)


def test_fad_inf_has_no_value_where_the_windows_say_too_little_of_so_many_dimensions() -> None:
    few = gaussian_clips(0, 20, 50, 16), gaussian_clips(1, 20, 50, 16)
    with pytest.raises(EvalkitError, match=r"20 clips, .* are worth 3\d independent windows.* use 2\d clips or more"):
        FADInfinity(ENCODER)(*few)
    FADInfinity(ENCODER)(gaussian_clips(0, 30, 50, 16), gaussian_clips(1, 30, 50, 16))
    # one side is enough: references of one window each
    alone = gaussian_clips(1, 30, 1, 16)
    with pytest.raises(EvalkitError, match="are worth 30 independent windows"):
        FADInfinity(ENCODER)(gaussian_clips(0, 30, 50, 16), alone)


def test_resamples_of_few_clips_in_many_dimensions() -> None:
    """FAD of embeddings of whole clips, where fewer clips than dimensions leave the covariance singular."""
    generated, reference = gaussian_clips(0, 6, 1, 300, shift=0.2), gaussian_clips(1, 6, 1, 300)
    rows = np.array([[1.0] * 6, [2, 0, 1, 1, 0, 2], [0, 3, 0, 0, 3, 0]])
    values = FAD(ENCODER)(generated, reference).resampled(rows, rows)  # type: ignore[misc]
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
