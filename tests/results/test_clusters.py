"""Prompts that belong together: the run and whoever reads its record draw the same clusters, and no others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.metrics.fad import FAD
from evalkit.metrics.precision_recall import PrecisionRecall
from evalkit.results import recompute
from evalkit.results.clusters import DISTINCT, ONE_CLUSTER, Clusters, of_record, together
from evalkit.results.pairing import Side
from evalkit.results.record import Record
from evalkit.results.scored import FEW, Chosen, compared, scored
from evalkit.scoring.resampling import resampling_of
from evalkit.scoring.scores import score_of
from evalkit.settings import Uncertainty
from evalkit.store.digests import digest
from evalkit.types import Features, Measured
from tests.results.made import metric
from tests.results.sides import KNOWN, side
from tests.scoring.made import Length, plan

TRACKS = np.repeat(np.arange(15), [1, 3, 2, 1, 1, 5, 2, 1, 1, 1, 4, 2, 1, 3, 2])  # of 30 captions
NO_ENCODER: Any = None


def names(n: int) -> list[str]:
    return [f"p{i:05}" for i in range(n)]


def clustered(made: Side, tracks: Sequence[int] | np.ndarray, distinct: bool = False) -> Record:
    """The record with a cluster for each prompt."""
    prompts = made.record.prompts.assign(cluster=[f"track {number}" for number in tracks])
    protocol = replace(made.record.protocol, switches={DISTINCT: distinct})
    return replace(made.record, prompts=prompts, protocol=protocol)


def arrays(samples: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clips (samples, prompts, frames, d), and references, which captions of a track share."""
    rng = np.random.default_rng(seed)
    references = rng.standard_normal((15, 4, 3)).astype(np.float32)[TRACKS]
    own = rng.standard_normal((15, 1, 3))[TRACKS] + rng.standard_normal((samples, 30, 4, 3)) + 0.5
    return own.astype(np.float32), references


def features(values: np.ndarray) -> Features:
    return Features(tuple(names(len(values))), tuple(values))


@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize("samples", [1, 2])
def test_a_record_gives_the_digits_of_the_run(distinct: bool, samples: int, tmp_path: Path) -> None:
    clips, references = arrays(samples)
    record = clustered(side(tmp_path, features={"fad": (clips, references)}), TRACKS, distinct)
    pairs = [(features(own), features(references)) for own in clips]
    clusters = of_record(record).of_metric(record.metrics["fad"])
    run = score_of(plan(tmp_path, fad=FAD(Length())), "m", "fad", pairs, clusters=clusters)
    again = recompute.score(record, "m", "fad")
    assert (run.value, run.low, run.high, run.spread, run.n) == (
        again.value, again.low, again.high, again.spread, again.n
    )  # fmt: skip
    assert run.n == 30 and run.low < run.value < run.high
    first = [i for i, number in enumerate(TRACKS) if number not in TRACKS[:i]]
    against = features(references) if not distinct else Features(
        tuple(names(30)[i] for i in first), tuple(references[first])
    )  # fmt: skip
    assert run.value == pytest.approx(np.mean([FAD(NO_ENCODER)(ours, against).value for ours, _ in pairs]), rel=1e-12)


def test_intervals_are_wider_by_cluster_and_unchanged_without(tmp_path: Path) -> None:
    clips, references = arrays()
    alone = side(tmp_path, features={"fad": (clips, references)})
    before, each = recompute.score(alone.record, "m", "fad"), recompute.score(clustered(alone, range(30)), "m", "fad")
    assert (before.low, before.high, before.note) == (each.low, each.high, each.note)  # clusters of one prompt each
    together = recompute.score(clustered(alone, TRACKS), "m", "fad")
    assert together.value == before.value and together.high - together.low > 1.2 * (before.high - before.low)
    some = names(30)[0:30:6]  # no two of one track
    assert len({TRACKS[int(i[1:])] for i in some}) == 5
    one, other = (recompute.score(r, "m", "fad", some) for r in (alone.record, clustered(alone, TRACKS)))
    assert (one.low, one.high) == (other.low, other.high)


def test_resamples_of_prompts_alone_are_found_where_they_always_were(tmp_path: Path) -> None:
    run = plan(tmp_path, fad=FAD(Length()))
    clips, references = arrays()
    pair = (features(clips[0]), features(references))
    resampling, measured = resampling_of(run, "fad"), FAD(NO_ENCODER)(*pair)
    alone = Chosen(names(30), [pair], None, Clusters())
    of_tracks = Clusters(dict(zip(names(30), map(str, TRACKS), strict=True)))
    values = resampling.values(measured, alone, 0)
    key = digest([measured.value, pair[0].digest(), pair[1].digest(), False])
    np.testing.assert_array_equal(resampling.store.read([key])[key].value, values)
    others = resampling.values(measured, replace(alone, clusters=of_tracks), 0)
    assert not np.array_equal(values, others)
    np.testing.assert_array_equal(resampling.values(measured, alone, 0, make=False), values)


def test_only_metrics_of_sets_of_clips_take_distinct_references() -> None:
    clusters = Clusters({"a": "x", "b": "x", "c": "y"}, distinct=True)
    assert clusters.of_metric(KNOWN["fad"]).distinct
    for other in ("kld", "clap_score"):
        assert not clusters.of_metric(KNOWN[other]).distinct
    values = np.ones((3, 2, 1), np.float32)
    same = Features(("a", "b", "c"), tuple(values))
    assert clusters.references(same) == ["a", "c"]  # c's is the same as well, but of another cluster
    values[1] = 2
    assert clusters.references(Features(("a", "b", "c"), tuple(values))) == ["a", "b", "c"]
    assert replace(clusters, distinct=False).references(same) == ["a", "b", "c"]
    chosen = compared([(same, same)], False, ["b", "c"], clusters)
    assert chosen.ids == ["b", "c"] and chosen.pairs[0][1] is not None and chosen.pairs[0][1].ids == ("b", "c")


def test_shares_of_distinct_references_are_drawn_with_their_cluster() -> None:
    rng = np.random.default_rng(0)
    clips, references = rng.standard_normal((2, 30, 1, 3)).astype(np.float32)
    clips = 0.3 * clips + 1  # of which some references are out of reach
    clusters = Clusters(dict(zip(names(30), map(str, TRACKS), strict=True)), distinct=True)
    recall = PrecisionRecall(NO_ENCODER, part="recall")
    chosen = compared([(features(clips), features(references[TRACKS]))], False, None, clusters)
    assert chosen.drawn is not None and chosen.drawn[1].tolist() == list(range(15))
    (pair,) = chosen.pairs
    score = scored("m: recall", chosen.ids, [recall(*pair)], recall.bounds, Uncertainty(), chosen=chosen)
    assert score.low < score.value < score.high and score.value * 15 == pytest.approx(round(score.value * 15))


def test_few_clusters_are_named_and_one_has_no_interval() -> None:
    ids = names(12)

    def note(tracks: Sequence[int]) -> tuple[str, float]:
        chosen = Chosen(ids, [], None, Clusters(dict(zip(ids, map(str, tracks), strict=True))))
        parts = {i: (float(number % 3), 1.0) for number, i in enumerate(ids)}
        one = scored("m: x", ids, [Measured(1.0, 12, parts=parts)], (-math.inf, math.inf), Uncertainty(), chosen=chosen)
        return one.note, one.high - one.low

    said, width = note([0] * 12)
    assert said == ONE_CLUSTER and math.isnan(width)
    said, width = note([0] * 4 + [1] * 4 + [2] * 4)
    assert said == "the interval is that of 3 clusters of prompts, which are few"
    assert note(range(12))[0] == ""
    assert note(range(12))[1] < note([0, 0, *range(1, 11)])[1] < width
    uneven = [0] * 40 + list(range(1, 20))
    many = Clusters(dict(zip(names(59), map(str, uneven), strict=True)))
    parts = {i: (float(number % 3), 1.0) for number, i in enumerate(names(59))}
    chosen = Chosen(names(59), [], None, many)
    one = scored("m: x", names(59), [Measured(1.0, 59, parts=parts)], (-9, 9), Uncertainty(), chosen=chosen)
    assert len(set(uneven)) > FEW
    said = "that of 20 clusters of prompts, which are few, of such unlike sizes that they tell as much as"
    assert said in one.note


def test_several_results_have_the_clusters_of_any_of_them() -> None:
    first = Clusters({"a": "x", "b": "x"})
    assert together([first, first]) == first == together([Clusters(), first])
    for others, expected in (({"b": "x", "c": "x", "d": "y"}, [0, 0, 0, 1]), ({}, [0, 0, 1, 2])):
        numbers = together([first, Clusters(others)]).numbers("abcd")
        assert numbers is not None and numbers.tolist() == expected


def test_a_share_in_a_record_has_its_interval_by_cluster(tmp_path: Path) -> None:
    silent = np.isin(TRACKS, (1, 5)).astype(float)
    infos = {**KNOWN, "silence_share": metric("Silence", False, additive=True, compares_with="", bounds=(0.0, 1.0))}
    made = side(tmp_path, values={"silence_share": silent[None]}, infos=infos)
    alone, tracks = (recompute.score(r, "m", "silence_share") for r in (made.record, clustered(made, TRACKS)))
    assert alone.value == tracks.value and tracks.low < alone.low and tracks.high > alone.high
