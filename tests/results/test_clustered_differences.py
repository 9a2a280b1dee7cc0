"""Differences of prompts that belong together: what a comparison, a sweep and a power analysis say of clusters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.metrics.fad import FAD
from evalkit.results import recompute, verdicts
from evalkit.results.clusters import DISTINCT, ONE_CLUSTER
from evalkit.results.compare import compare
from evalkit.results.comparison import Comparison
from evalkit.results.differences import Difference
from evalkit.results.gate import Gate, Limit, Margin
from evalkit.results.joint import jointly
from evalkit.results.material import material
from evalkit.results.pairing import Side
from evalkit.results.power import of_result
from evalkit.results.sweep_points import Point, swept
from evalkit.results.sweep_record import Objective, Parameter
from evalkit.stats import jackknife, paired, permutation
from evalkit.stats.best import shares_not_worse
from evalkit.stats.clusters import numbered
from evalkit.stats.means import standard_error
from evalkit.types import Features
from tests.results.made import metric
from tests.results.sides import FAD as DEFINITION
from tests.results.sides import KNOWN, side

FAD_0 = metric(
    "FAD", False, definition={**DEFINITION, "ddof": 0}, bounds=(0.0, None), encoder="vggish", reference_encoder="vggish"
)
INFOS = {**KNOWN, "fad": FAD_0}  # whose value is the same of clips that are all there several times
NO_ENCODER: Any = None
TRACKS = np.repeat(np.arange(60), np.resize([1, 1, 2, 1, 3, 1], 60))  # of 90 captions
TIMES = 3


def with_clusters(made: Side, tracks: Sequence[int] | np.ndarray, distinct: bool = False) -> Side:
    """The side with a cluster for each prompt."""
    prompts = made.record.prompts.assign(cluster=[f"track {number}" for number in tracks])
    switches = {**made.record.protocol.switches, DISTINCT: distinct}
    record = replace(made.record, prompts=prompts, protocol=replace(made.record.protocol, switches=switches))
    return Side(record, made.row)


def sides(folder: Path, tracks: np.ndarray, seed: int = 0, shift: float = 0.3, **more: Any) -> tuple[Side, Side]:
    """A baseline and a candidate of which what belongs to a track is the same for all of its captions."""
    rng, number = np.random.default_rng(seed), int(tracks.max()) + 1
    references = rng.standard_normal((number, 4, 3)).astype(np.float32)[tracks]
    made = []
    for name, moved in (("a", 0.0), ("b", shift)):
        values = {
            "kld": rng.lognormal(moved, 0.5, number)[tracks],
            "silence_share": (rng.random(number) < 0.1 + moved / 2)[tracks].astype(float),
        }
        clips = (rng.standard_normal((number, 4, 3)) * (1 + moved))[tracks].astype(np.float32)
        own = {key: one[None] for key, one in values.items()}
        one = side(folder, name, own, features={"fad": (clips[None], references)}, infos=INFOS)
        made.append(with_clusters(one, tracks, **more))
    return made[0], made[1]


def of(baseline: Side, candidate: Side, name: str, part: bool = False) -> Difference:
    ids = list(baseline.record.prompts["id"])
    made = material([baseline], [candidate], name, ids, (50, 0))
    which = numbered(made.clusters.unit(i) for i in ids)
    units = len(ids) if which is None else int(which.max()) + 1
    swaps = np.concatenate([np.zeros((1, units)), permutation.swaps(units, 199, 0)])
    every = swaps if which is None else swaps[:, which]
    chosen = np.arange(len(ids))
    return made.of(chosen, every, part=True) if part else made.of(chosen, every)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["kld", "fad", "silence_share"])
def test_prompts_that_are_all_there_several_times_tell_as_much_as_each_once(name: str, tmp_path: Path) -> None:
    once = of(*sides(tmp_path / "1", np.arange(40)), name)
    thrice = of(*sides(tmp_path / "3", np.repeat(np.arange(40), TIMES)), name)
    assert (once.n, once.clusters, thrice.n, thrice.clusters) == (40, 0, 120, 40)
    np.testing.assert_allclose(thrice.swapped, once.swapped, rtol=1e-6, atol=1e-9)
    assert thrice.estimate.value == pytest.approx(once.estimate.value, rel=1e-6)
    if name != "silence_share":
        np.testing.assert_allclose(thrice.estimate.interval(0.95), once.estimate.interval(0.95), rtol=1e-6)
        assert thrice.estimate.df == pytest.approx(once.estimate.df) and thrice.p == once.p
    else:  # Tango's with Student's t, and swaps for McNemar's
        assert thrice.estimate.df == pytest.approx(39) and math.isinf(once.estimate.df)
        assert once.p == pytest.approx(thrice.p, abs=0.1)
        (low, high), (once_low, once_high) = (one.estimate.interval(0.95) for one in (thrice, once))
        assert low < once_low < once_high < high and high - low < 1.06 * (once_high - once_low)
    said = "groups of whole clusters" if name == "fad" else ", by cluster"
    assert said in thrice.method and said not in once.method
    assert thrice.test == "swaps of whole clusters"


def test_the_effective_number_of_pairs_lies_between_clusters_and_prompts() -> None:
    rng = np.random.default_rng(0)
    tracks = np.repeat(np.arange(400), 3)
    alone, alike = rng.random((2, 1200)) < 0.2, (rng.random((2, 400)) < 0.2)[:, tracks]
    for has, low, high in ((alone, 900, 1200), (alike, 398.9, 399.1)):
        more, fewer = (has[1] & ~has[0]).astype(float), (has[0] & ~has[1]).astype(float)
        assert low < paired.effective_number(more, fewer, tracks) <= high
    none = np.zeros(1200)
    assert paired.effective_number(none, none, tracks) == 400
    low, high = paired.clustered_share_difference(none, none, tracks).interval(0.95)
    assert (low, high) == pytest.approx(paired.share_difference(0, 0, 400).interval(0.95), rel=0.02)


def test_the_jackknife_of_a_mean_over_uneven_clusters_has_bell_and_mccaffreys_error() -> None:
    rng = np.random.default_rng(1)
    values, sizes = rng.standard_normal(len(TRACKS)), np.bincount(TRACKS).astype(float)
    without = np.array([values[number != TRACKS].mean() for number in range(60)])
    estimate, influence = jackknife.influences(float(values.mean()), without, sizes, clustered=True)
    shares = sizes / sizes.sum()
    apart = np.bincount(TRACKS, values - values.mean()) / len(values)
    assert estimate == pytest.approx(values.mean())
    assert standard_error(influence) == pytest.approx(math.sqrt((apart**2 / (1 - shares)).sum()), rel=1e-9)
    equal = np.full(30, 3.0)
    rests = np.array([np.delete(values.reshape(30, 3), k, 0).mean() for k in range(30)])
    same, plain = (jackknife.influences(float(values.mean()), rests, equal, flag) for flag in (True, False))
    np.testing.assert_allclose(same[1], plain[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("part", [False, True])
def test_distinct_references_are_those_of_the_table_and_change_places_with_their_clips(
    part: bool, tmp_path: Path
) -> None:
    baseline, candidate = sides(tmp_path, TRACKS, distinct=True)
    found = of(baseline, candidate, "fad", part)
    for value, one in ((found.baseline, baseline), (found.candidate, candidate)):
        assert value == pytest.approx(recompute.score(one.record, one.row, "fad").value, rel=1e-12)
    shared = of(*sides(tmp_path, TRACKS), "fad")
    assert found.baseline != pytest.approx(shared.baseline, rel=1e-3)  # against each caption's
    if not part:
        assert found.swapped[0] == pytest.approx(found.candidate - found.baseline, rel=1e-6)
        pair = recompute.pairs_of(baseline.record, baseline.row, "fad")[0]
        other = recompute.pairs_of(candidate.record, candidate.row, "fad")[0][0]
        swapped = permutation.swaps(60, 199, 0)[0][TRACKS]
        mixed = [
            Features(pair[0].ids, tuple(b if s != turned else a for a, b, s in zip(x, y, swapped, strict=True)))
            for turned, (x, y) in enumerate([(pair[0].values, other.values)] * 2)
        ]
        assert pair[1] is not None
        first = [int(np.flatnonzero(number == TRACKS)[0]) for number in range(60)]
        against = pair[1].select(pair[1].ids[i] for i in first)
        values = [FAD(NO_ENCODER, ddof=0)(one, against).value for one in mixed]
        assert found.swapped[1] == pytest.approx(values[1] - values[0], rel=1e-5) or found.swapped[1] == pytest.approx(
            values[0] - values[1], rel=1e-5
        )


def gate(least_n: int = 30) -> Gate:
    return Gate({name: Limit("critical", Margin(0.5), least_n=least_n) for name in ("kld", "fad")}, swaps=99, slices=())


def compared(folder: Path, clusters: np.ndarray, limits: Gate) -> Comparison:
    baseline, candidate = sides(folder, clusters)
    return compare([baseline], [candidate], limits)


def test_a_comparison_says_that_it_drew_clusters_and_least_n_counts_them(tmp_path: Path) -> None:
    found = compared(tmp_path, TRACKS, gate())
    assert (found.prompts, found.clusters) == (90, 60)
    said = "the 90 prompts belong to 60 clusters, which intervals, swaps and the gate's least_n count as one each"
    assert any(said in remark for remark in found.remarks)
    assert "intervals: 0.95 confidence, over clusters of prompts" in found.document().notes
    saved = found.save(tmp_path / "comparison")
    assert type(found).load(saved.path).clusters == 60
    few = compared(tmp_path, TRACKS, gate(70))
    assert set(few.metrics.loc[few.metrics["metric"].isin(["kld", "fad"]), "verdict"]) == {"INSUFFICIENT_EVIDENCE"}
    reason = str(few.metrics.set_index("metric").loc["kld", "reason"])
    assert reason.startswith("60 clusters of 90 prompts, and the gate asks for at least 70 clusters")
    assert few.metrics.set_index("metric").loc["kld", "n_needed"] >= 105  # as many prompts as make 70 clusters


def test_without_clusters_nothing_is_said_of_them(tmp_path: Path) -> None:
    found = compared(tmp_path, np.arange(60), gate())
    assert found.clusters == 0 and not any("cluster" in text for text in [*found.remarks, *found.document().notes])


def test_results_that_name_other_clusters_are_compared_by_those_of_any(tmp_path: Path) -> None:
    baseline, candidate = sides(tmp_path, TRACKS)
    alone = replace(baseline.record, prompts=baseline.record.prompts.drop(columns="cluster"))
    older = compare([Side(alone, "a")], [candidate], gate())
    both = compare([baseline], [candidate], gate())
    columns = ["difference", "low", "high", "p"]
    assert older.metrics[columns].equals(both.metrics[columns]) and older.clusters == 60
    assert any("not all results name the same clusters" in remark for remark in older.remarks)
    assert not any("not all results" in remark for remark in both.remarks)


def test_one_cluster_has_no_interval_and_no_pass(tmp_path: Path) -> None:
    for name in ("kld", "fad", "silence_share"):
        baseline, candidate = (with_clusters(one, [0] * 60) for one in sides(tmp_path, np.arange(60)))
        found = of(baseline, candidate, name)
        assert found.note == ONE_CLUSTER and np.isnan(found.estimate.interval(0.95)).all()
    judged = verdicts.judge(Limit("critical", Margin(1.0), least_n=1), 1.0, "lower", found.estimate, 60, gate(1))
    assert judged.verdict == "INSUFFICIENT_EVIDENCE"


def test_a_sweep_moves_whole_clusters_and_agrees_with_the_comparison(tmp_path: Path) -> None:
    both = sides(tmp_path, TRACKS)
    ids = list(both[0].record.prompts["id"])
    for name in ("kld", "fad", "silence_share"):
        joint = jointly(both, name, ids, groups=50)
        estimate, _ = joint.difference(0, 1)
        found = of(*both, name)
        assert estimate.value == pytest.approx(found.estimate.value)
        np.testing.assert_allclose(
            estimate.interval(0.95), found.estimate.interval(0.95), rtol=0.1 if name == "fad" else 1e-9
        )
        alone = jointly([with_clusters(one, range(90)) for one in both], name, ids, groups=50)
        assert standard_error(joint.influences[1]) > 1.05 * standard_error(alone.influences[1])
    points = [Point({"k": number}, one) for number, one in enumerate(both)]
    made = swept(
        points, name="x", parameters=[Parameter("k", "k", [0, 1], 0, True)],
        objectives=[Objective("kld", "KLD", False)], default=1, draws=200, config={},
    )  # fmt: skip
    assert "differences: the 90 prompts belong to 60 clusters, which count as one each" in made.remarks


def test_rare_faults_of_clusters_are_counted_by_cluster() -> None:
    has = np.zeros((2, 90))
    has[1, :12] = 1  # twelve prompts more
    assert not shares_not_worse(has, 0.95, True)[0][1]
    few = np.concatenate([np.repeat([0, 1], 6), np.arange(2, 80)])
    assert shares_not_worse(has, 0.95, True, few)[0].all()  # of two clusters
    assert shares_not_worse(has, 0.95, True, np.zeros(90, int))[0].all()


def test_what_a_comparison_can_see_is_by_cluster_too(tmp_path: Path) -> None:
    baseline, _ = sides(tmp_path, TRACKS)
    chosen = gate()
    for tracks, clusters in ((TRACKS, 60), (np.arange(90), 0)):
        known = of_result(with_clusters(baseline, tracks).record, None, chosen, {})
        by_name = {one.metric: one for one in known.metrics}
        assert {one.clusters for one in known.metrics} == {clusters}
        least = 30 * 90 / clusters if clusters else 30
        assert by_name["kld"].least_n == pytest.approx(least)
        if clusters:
            errors = {name: one.error for name, one in by_name.items()}
    for name, one in by_name.items():
        assert errors[name] > 1.05 * one.error
