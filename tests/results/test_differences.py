"""One metric's difference: against independent originals, and what must hold of any difference."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import scipy.stats

from evalkit.errors import EvalkitError
from evalkit.metrics.fad import FAD
from evalkit.results.differences import LEFT_OUT_OF_PARTS, Difference, Sets, Sums
from evalkit.results.material import material
from evalkit.results.pairing import Side
from evalkit.stats import jackknife, permutation
from evalkit.types import Features, Measured
from tests.results.sides import KNOWN, side

GROUPS = (50, 0)
PRECISION = {"kind": "precision_recall", "version": 0, "part": "precision", "k": 3, "encoder": {"kind": "vggish"}}
OTHERS = {
    **KNOWN,
    "precision": KNOWN["kld"].__class__(
        "Precision", True, "musicgen", "references", False, False, (0.0, 1.0), PRECISION, "", "vggish", "vggish", (), ()
    ),
}


def of(
    baseline: Side | Sequence[Side],
    candidate: Side | Sequence[Side],
    metric: str,
    swaps: int = 199,
    groups: tuple[int, int] = GROUPS,
    ids: Sequence[str] | None = None,
) -> Difference:
    """The difference of a metric on some prompts, or on all."""
    before, after = ([one] if isinstance(one, Side) else one for one in (baseline, candidate))
    names = sorted(before[0].record.prompts["id"]) if ids is None else list(ids)
    made = material(before, after, metric, names, groups)
    return made.of(np.arange(len(made.ids)), changes(len(made.ids), swaps))


def changes(prompts: int, number: int) -> np.ndarray:
    return np.concatenate([np.zeros((1, prompts)), permutation.swaps(prompts, number, 0)])


def of_values(folder: Path, metric: str, before: Any, after: Any) -> tuple[Side, Side]:
    """Two sides from the values of an additive metric, one clip per prompt."""
    arrays = [np.atleast_2d(np.asarray(values, float)) for values in (before, after)]
    return side(folder, "a", {metric: arrays[0]}), side(folder, "b", {metric: arrays[1]})


def of_features(
    folder: Path, n: int, samples: tuple[int, int] = (1, 1), d: int = 3, shift: float = 0.5, seed: int = 0
) -> tuple[Side, Side, np.ndarray, list[np.ndarray]]:
    """Two sides with features of four frames per clip, which share what belongs to the prompt."""
    rng = np.random.default_rng(seed)
    references = rng.standard_normal((n, 4, d)).astype(np.float32)
    shared = rng.standard_normal((n, 1, d))
    clips = [
        (shared + (1 + shift * number) * rng.standard_normal((k, n, 4, d)) + shift * number).astype(np.float32)
        for number, k in enumerate(samples)
    ]
    sides = [side(folder, name, features={"fad": (own, references)}) for name, own in zip("ab", clips, strict=True)]
    return sides[0], sides[1], references, clips


def fad(clips: np.ndarray, references: np.ndarray) -> float:
    """FAD by the metric itself, of clips and references (prompts, frames, d)."""
    names = tuple(map(str, range(len(clips))))
    return FAD(None)(Features(names, tuple(clips)), Features(names, tuple(references))).value


def test_means_have_the_paired_t_interval_where_differences_are_symmetric(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    half = rng.standard_normal(20)
    before = rng.standard_normal(40) * 3
    after = before + 0.4 + np.concatenate([half, -half])  # of no skewness, which would widen the interval
    found = of(*of_values(tmp_path, "kld", before, after), "kld", swaps=1999)
    expected = scipy.stats.ttest_rel(after, before)
    np.testing.assert_allclose(found.estimate.interval(0.95), expected.confidence_interval(0.95), rtol=1e-9)
    np.testing.assert_allclose([found.baseline, found.candidate], [before.mean(), after.mean()])
    assert (found.n, found.test) == (40, "swaps")
    assert found.p == pytest.approx(expected.pvalue, abs=4 * math.sqrt(expected.pvalue / 1999))


def test_swaps_of_means_are_sign_flips_of_differences(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    before, after = rng.standard_normal((2, 6)) + np.array([[0.0], [1.0]])
    sides = of_values(tmp_path, "kld", before, after)
    made = material(sides[:1], sides[1:], "kld", names(6), GROUPS)
    every = np.array(list(itertools.product([0.0, 1.0], repeat=6)))
    found = made.of(np.arange(6), every)
    np.testing.assert_allclose(found.swapped, ((1 - 2 * every) * (after - before)).mean(axis=1), atol=1e-12)
    exact = scipy.stats.permutation_test(
        (after, before), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    assert np.mean(np.abs(found.swapped) >= abs(found.swapped[0]) - 1e-12) == exact.pvalue


def names(n: int) -> list[str]:
    return [f"p{i:05}" for i in range(n)]


def test_a_ratio_of_sums_counts_items_not_clips(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 5, (2, 1, 30)).astype(float)
    sums = counts * (rng.standard_normal((2, 1, 30)) + np.array([[[0.0]], [[0.3]]]))
    sides = [
        side(tmp_path, name, {"kld": np.stack([s, c], axis=-1)}) for name, s, c in zip("ab", sums, counts, strict=True)
    ]
    found = of(sides[0], sides[1], "kld")
    values = sums.sum(axis=(1, 2)) / counts.sum(axis=(1, 2))
    np.testing.assert_allclose([found.baseline, found.candidate], values)
    assert found.estimate.value == pytest.approx(values[1] - values[0])
    swap = changes(30, 199)[7].astype(bool)
    mixed = [np.where(swap, x[::-1, 0], x[:, 0]) for x in (sums, counts)]
    expected = mixed[0].sum(axis=1) / mixed[1].sum(axis=1)
    assert found.swapped[7] == pytest.approx(expected[1] - expected[0])


def test_shares_have_mcnemars_exact_p(tmp_path: Path) -> None:
    before = np.repeat([0, 0, 1, 1], [60, 9, 2, 9])
    after = np.repeat([0, 1, 0, 1], [60, 9, 2, 9])
    found = of(*of_values(tmp_path, "silence_share", before, after), "silence_share")
    assert found.p == pytest.approx(scipy.stats.binomtest(2, 11).pvalue) and found.test == "McNemar's exact"
    assert found.estimate.value == pytest.approx(7 / 80)
    low, high = found.estimate.interval(0.95)
    assert 0 < low < 7 / 80 < high
    # the same 0s and 1s where more than a share is possible are a mean
    assert of(*of_values(tmp_path, "side_to_mid", before, after), "side_to_mid").test == "swaps"


def test_no_silence_on_either_side_is_not_certainly_none_of_all(tmp_path: Path) -> None:
    found = of(*of_values(tmp_path, "silence_share", np.zeros(50), np.zeros(50)), "silence_share")
    low, high = found.estimate.interval(0.95)
    assert (low, high) == pytest.approx((-0.0714, 0.0714), abs=2e-4) and found.p == 1


def test_several_clips_of_a_prompt_are_averaged_and_prompts_stay_the_units(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    half = rng.standard_normal((3, 15))
    before, after = np.concatenate([half, -half], axis=1), rng.standard_normal((2, 30))
    sides = side(tmp_path, "a", {"kld": before}), side(tmp_path, "b", {"kld": after})
    found = of(sides[0], sides[1], "kld")
    expected = scipy.stats.ttest_rel(after.mean(axis=0), before.mean(axis=0))
    assert found.estimate.value == pytest.approx(after.mean() - before.mean())
    assert found.estimate.error == pytest.approx(found.estimate.value / expected.statistic)
    same = of(sides[0], side(tmp_path, "b", {"kld": before}), "kld")
    assert same.estimate.value == 0


@pytest.mark.parametrize(("n", "groups"), [(14, 50), (22, 5)])
def test_the_jackknife_of_fad_is_that_of_leaving_prompts_out(tmp_path: Path, n: int, groups: int) -> None:
    baseline, candidate, references, (before, after) = of_features(tmp_path, n)
    found = of(baseline, candidate, "fad", groups=(groups, 3))
    which = jackknife.groups(names(n), groups, 3)
    value = fad(after[0], references) - fad(before[0], references)
    each = np.array([fad(before[0], references), fad(after[0], references)])
    sizes, pseudovalues, pseudovalues_of_sides = [], [], []
    for group in range(which.max() + 1):
        rest = which != group
        without = np.array([fad(before[0][rest], references[rest]), fad(after[0][rest], references[rest])])
        h = n / (n - rest.sum())
        sizes.append(h)
        pseudovalues.append(h * value - (h - 1) * (without[1] - without[0]))
        pseudovalues_of_sides.append(h * each - (h - 1) * without)
    # Busing, Meijer and van der Leeden 1999, equations 8 and 9, written out
    weights = 1 / np.array(sizes)
    corrected = float((weights * pseudovalues).sum())
    variance = np.mean((np.array(pseudovalues) - corrected) ** 2 / (np.array(sizes) - 1))
    assert found.candidate - found.baseline == pytest.approx(value, rel=1e-9)
    assert found.estimate.value == pytest.approx(corrected, rel=1e-6)
    assert found.estimate.error == pytest.approx(math.sqrt(variance), rel=1e-6)
    t = scipy.stats.t.ppf(0.975, which.max())
    unbiased = (weights[:, None] * np.array(pseudovalues_of_sides)).sum(axis=0)
    assert found.unbiased == pytest.approx(unbiased[0], rel=1e-6)
    half = t * math.sqrt(variance) + abs(value - corrected) * (np.abs(each - unbiased) / each).max()
    np.testing.assert_allclose(found.estimate.interval(0.95), corrected + np.array([-half, half]), rtol=1e-6)


def test_swaps_of_fad_are_those_of_clips(tmp_path: Path) -> None:
    baseline, candidate, references, (before, after) = of_features(tmp_path, 20, samples=(2, 2))
    found = of(baseline, candidate, "fad", swaps=20)
    for swap, value in zip(changes(20, 20).astype(bool), found.swapped, strict=True):
        mixed = [
            [np.where(swap[:, None, None], other, own) for own, other in zip(*pair, strict=True)]
            for pair in ((before, after), (after, before))
        ]
        one, two = (np.mean([fad(clips, references) for clips in side]) for side in mixed)
        assert value == pytest.approx(two - one, rel=1e-6)
    assert found.p == permutation.p_value(found.swapped[0], found.swapped[1:]) and found.test == "swaps"


def test_swaps_of_fad_take_each_clips_own_reference_where_these_differ(tmp_path: Path) -> None:
    """As where a protocol cuts a pair to what both have."""
    baseline, _, references, (before, after) = of_features(tmp_path, 12)
    theirs = references[:, :3] + 0.1
    candidate = side(tmp_path, "b", features={"fad": (after, theirs)})
    found = of(baseline, candidate, "fad", swaps=5)
    for swap, value in zip(changes(12, 5).astype(bool), found.swapped, strict=True):
        chosen = {
            turned: [
                [(after[0][i], theirs[i]) if s != turned else (before[0][i], references[i]) for i, s in enumerate(swap)]
            ]
            for turned in (False, True)
        }
        values = {}
        for turned, (pairs,) in chosen.items():
            ids = tuple(names(12))
            own, other = (Features(ids, tuple(p[k] for p in pairs)) for k in (0, 1))
            values[turned] = FAD(None)(own, other).value
        assert value == pytest.approx(values[True] - values[False], rel=1e-6)


def test_in_a_part_of_the_prompts_swaps_of_fad_are_to_first_order(tmp_path: Path) -> None:
    """The difference that they start from is nearly the plain one, and p-values nearly those of exact swaps."""
    baseline, candidate, *_ = of_features(tmp_path, 120, shift=0.1)
    made = material([baseline], [candidate], "fad", names(120), GROUPS)
    assert isinstance(made, Sets)
    chosen, swaps = np.arange(10, 90), changes(80, 999)
    part, exact = made.of(chosen, swaps, part=True), made.of(chosen, swaps)
    assert part.swapped[0] == pytest.approx(exact.swapped[0], rel=0.02)
    assert np.corrcoef(part.swapped, exact.swapped)[0, 1] > 0.98
    assert part.p == pytest.approx(exact.p, abs=0.02)
    assert part.method == f"jackknife, corrected for bias, {LEFT_OUT_OF_PARTS} groups of prompts"
    assert part.estimate.value == pytest.approx(exact.estimate.value, abs=exact.estimate.error / 2)


@pytest.mark.slow
def test_swaps_to_first_order_reject_a_true_null_no_oftener_than_they_say() -> None:
    """Of two models that are alike, 5 % of p-values are at most 5 %: 20 of 400, and 33 or more in one of 300 tests."""
    rng = np.random.default_rng(5)
    small = 0
    metric: Any = FAD(None)
    swaps = changes(50, 199)
    for _ in range(400):
        shared = rng.standard_normal((50, 1, 4))
        references, before, after = (
            Features(tuple(names(50)), tuple(shared + rng.standard_normal((50, 2, 4)))) for _ in range(3)
        )
        made = Sets(names(50), 0, metric, [(before, references)], [(after, references)], ([1], [1]), (4, 0), False)
        small += made.of(np.arange(50), swaps, part=True).p <= 0.05
    assert small < 33


@pytest.mark.parametrize("metric", ["fad", "kld", "silence_share", "precision"])
def test_swapping_the_sides_turns_the_difference_around(tmp_path: Path, metric: str) -> None:
    rng = np.random.default_rng(6)
    n, references = 30, rng.standard_normal((30, 4, 3)).astype(np.float32)
    made = []
    for name, shift in (("a", 0.0), ("b", 0.8)):
        clips = (rng.standard_normal((1, n, 4, 3)) + shift).astype(np.float32)
        values = {
            "kld": rng.exponential(size=(1, n)) + shift,
            "silence_share": rng.integers(0, 2, (1, n)).astype(float),
        }
        sets = {"fad": (clips, references), "precision": (clips, references)}
        made.append(side(tmp_path, name, values, sets, infos=OTHERS))
    one, other = of(made[0], made[1], metric), of(made[1], made[0], metric)
    assert one.estimate.value == pytest.approx(-other.estimate.value, rel=1e-6)
    low, high = one.estimate.interval(0.9)
    np.testing.assert_allclose(other.estimate.interval(0.9), [-high, -low], rtol=1e-6)
    assert one.p == pytest.approx(other.p)


def test_metrics_that_are_no_function_of_a_distribution_are_not_corrected(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    references = rng.standard_normal((25, 2, 3)).astype(np.float32)
    made = [
        side(tmp_path, name, features={"precision": (scale * rng.standard_normal((1, 25, 2, 3)), references)},
             infos=OTHERS)
        for name, scale in (("a", 1.0), ("b", 1.6))
    ]  # fmt: skip
    found = of(made[0], made[1], "precision")
    assert found.estimate.value == found.candidate - found.baseline
    assert (found.test, found.method) == ("jackknife t", "jackknife, 25 groups of prompts")
    assert found.p == found.estimate.p() and not len(found.swapped)
    low, high = found.estimate.interval(0.999999)
    assert -1 <= low < found.estimate.value < high <= 1


def test_several_results_differ_by_no_more_than_shares_can(tmp_path: Path) -> None:
    none, every = of_values(tmp_path, "silence_share", np.zeros(50), np.ones(50))
    found = of(none, [none, every], "silence_share")
    assert found.estimate.value == 0.5 and found.estimate.interval(0.95) == (-1.0, 1.0)


def test_several_results_of_a_side_widen_the_interval_by_what_they_differ(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    before = [rng.standard_normal((1, 40)) + shift for shift in (0.0, 1.0)]
    after = rng.standard_normal((1, 40))
    baseline = [side(tmp_path, f"a{i}", {"kld": x}) for i, x in enumerate(before)]
    candidate = side(tmp_path, "b", {"kld": after})
    found = of(baseline, candidate, "kld")
    means = [x.mean() for x in before]
    assert found.baseline == pytest.approx(np.mean(means))
    between = np.var(means, ddof=1) * (1 / 2 + 1)
    prompts = np.var((after - np.mean(before, axis=0))[0], ddof=1) / 40
    assert found.estimate.error == pytest.approx(math.sqrt(between + prompts))
    assert (found.test, found.p) == ("t", found.estimate.p()) and not len(found.swapped)


@pytest.mark.parametrize("metric", ["kld", "silence_share", "fad"])
def test_of_one_prompt_nothing_is_known_of_others(tmp_path: Path, metric: str) -> None:
    if metric == "fad":
        baseline, candidate, *_ = of_features(tmp_path, 1)
    else:
        baseline, candidate = of_values(tmp_path, metric, [0.0], [1.0])
    found = of(baseline, candidate, metric)
    low, high = found.estimate.interval(0.95)
    assert found.n == 1 and found.estimate.value == found.candidate - found.baseline
    if metric == "silence_share":  # a share has an interval, which says next to nothing
        assert low < 0 and high == 1
    else:
        assert (
            math.isnan(low)
            and math.isnan(high)
            and found.note == "no interval: of a single prompt nothing is known of others"
        )


def test_where_all_prompts_differ_by_the_same_there_is_no_interval_but_within_bounds(tmp_path: Path) -> None:
    values = np.arange(30.0) / 30
    found = of(*of_values(tmp_path, "kld", values, values + 0.5), "kld")
    assert math.isnan(found.estimate.interval(0.95)[0]) and found.note == "no interval: all prompts differ by the same"
    bounded = of(*of_values(tmp_path, "clap_score", np.full(30, 0.25), np.full(30, 0.5)), "clap_score")
    low, high = bounded.estimate.interval(0.95)
    assert low < 0.25 < high and bounded.note == ""


def test_a_set_that_no_left_out_prompt_changes_has_no_interval(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    references = rng.standard_normal((12, 2, 3)).astype(np.float32)
    clips = references[None]
    sides = [side(tmp_path, name, features={"precision": (clips, references)}, infos=OTHERS) for name in "ab"]
    found = of(sides[0], sides[1], "precision")
    assert (found.baseline, found.candidate) == (1, 1) and math.isnan(found.estimate.interval(0.95)[1])
    assert found.note == "no interval: the difference is the same whichever prompts are left out"


def test_a_metric_that_has_no_value_on_the_rest_has_no_interval(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    references = rng.standard_normal((4, 2, 3)).astype(np.float32)
    sides = [
        side(tmp_path, name, features={"precision": (rng.standard_normal((1, 4, 2, 3)), references)}, infos=OTHERS)
        for name in "ab"
    ]
    found = of(sides[0], sides[1], "precision")
    assert math.isnan(found.estimate.interval(0.95)[1])
    assert found.note.startswith("no interval: too few prompts are left where some are left out (Precision: 3 clips")


def test_identical_clips_differ_by_exactly_nothing(tmp_path: Path) -> None:
    baseline, *_ = of_features(tmp_path, 10)
    again = Side(baseline.record, "a")
    found = of(baseline, again, "fad")
    assert found.estimate.interval(0.95) == (0, 0) and (found.p, found.method) == (1, "none: identical clips")


def test_prompts_without_items_on_one_side_are_left_out_and_counted(tmp_path: Path) -> None:
    counts = np.ones((1, 10))
    sums = np.arange(10.0)[None]
    fewer = counts.copy()
    fewer[0, 3] = 0
    neither = np.where(np.arange(10) == 9, 0, 1) * counts
    before = side(tmp_path, "a", {"kld": np.stack([sums * neither, counts * neither], axis=-1)})
    after = side(tmp_path, "b", {"kld": np.stack([2 * sums * fewer * neither, fewer * neither], axis=-1)})
    made = material([before], [after], "kld", names(10), GROUPS)
    assert isinstance(made, Sums) and made.left_out == 1
    found = of(before, after, "kld")
    kept = [0, 1, 2, 4, 5, 6, 7, 8]
    assert (found.n, found.baseline, found.candidate) == (8, float(np.mean(kept)), 2 * float(np.mean(kept)))


def test_a_value_that_is_no_number_is_told_with_its_prompt(tmp_path: Path) -> None:
    before, after = of_values(tmp_path, "kld", np.zeros(4), [0, 0, math.nan, 0])
    with pytest.raises(EvalkitError, match=r"^b: kld of the prompt 'p00002' is nan$"):
        of(before, after, "kld")


def test_a_set_without_a_value_is_told(tmp_path: Path) -> None:
    def metric(generated: Features, reference: Features) -> Measured:
        return Measured(math.nan, n=3)

    metric.title = "X"  # type: ignore[attr-defined]
    pairs: Any = [(Features(("a",), (np.zeros((1, 1)),)), None)]
    made = Sets(["a"], 0, cast(Any, metric), pairs, pairs, ([1], [1]), GROUPS, False)
    with pytest.raises(EvalkitError, match="X is nan: the clips are too short or too few"):
        made.of(np.arange(1), changes(1, 9))
