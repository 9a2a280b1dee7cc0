"""Sides that are compared as parts of one set, since what is found in each by itself differs by chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.metrics.mad import MAD
from evalkit.results.clusters import Clusters
from evalkit.results.compare import compare
from evalkit.results.differences import Difference, Sets
from evalkit.results.gate import Gate
from evalkit.results.joint import jointly
from evalkit.results.limits import equal
from evalkit.results.scored import Pair
from evalkit.types import Features
from tests.measuring import ENCODER, features
from tests.results.made import metric
from tests.results.sides import side

N, D = 40, 5
METRIC = MAD(ENCODER, clusterings=2)


def clips(rng: np.random.Generator, shift: float = 0.0) -> Features:
    return features(list(rng.standard_normal((N, 1, D)) + shift * np.eye(D)[0]))


def difference(baseline: list[Pair], candidate: list[Pair], swaps: int = 99) -> Difference:
    rng = np.random.default_rng(1)
    results = [len(baseline)], [len(candidate)]
    found = Sets(list(baseline[0][0].ids), 0, METRIC, baseline, candidate, results, (20, 0), identical=False)
    drawn = np.concatenate([np.zeros((1, N)), rng.integers(0, 2, (swaps, N))])
    return found.of(np.arange(N), drawn)


def test_two_sides_are_compared_in_the_clusters_of_both() -> None:
    rng = np.random.default_rng(0)
    reference, before, after = clips(rng), clips(rng), clips(rng, 1.5)
    found = difference([(before, reference)], [(after, reference)])
    both = Features(tuple(f"{side}{i}" for side in "ab" for i in before.ids), before.values + after.values)
    values = METRIC(both, reference).kept(np.kron(np.eye(2), np.ones((1, N))), np.ones((2, N)))  # type: ignore[misc]
    assert found.estimate.value == pytest.approx(values[1] - values[0], rel=1e-12)  # and not corrected for bias
    assert found.swapped[0] == pytest.approx(found.estimate.value, rel=1e-12)
    assert (found.baseline, found.candidate) == tuple(METRIC(side, reference).value for side in (before, after))
    assert found.candidate - found.baseline != pytest.approx(found.estimate.value, rel=1e-3)
    assert found.unbiased == pytest.approx(values[0], rel=1e-12)
    assert found.method == "jackknife of both sides as parts of one set, 20 groups of prompts"
    assert found.estimate.interval(0.95)[0] > 0 and found.p == 0.01 and found.test == "swaps"


def test_the_same_clips_in_another_order_do_not_differ() -> None:
    rng = np.random.default_rng(0)
    reference, one = clips(rng), clips(rng, 1.0)
    assert difference([(one, reference)], [(one, reference)]).estimate.value == 0


def test_several_sets_of_a_side_are_parts_of_one() -> None:
    rng = np.random.default_rng(0)
    reference = clips(rng)
    before, after = ([(clips(rng, shift), reference) for _ in range(2)] for shift in (0.0, 1.5))
    found = difference(before, after)
    alone = [difference([one], [other]).estimate.value for one, other in zip(before, after, strict=True)]
    assert found.estimate.value == pytest.approx(np.mean(alone), rel=0.5)
    assert found.estimate.interval(0.95)[0] > 0


def test_sides_with_references_of_their_own_are_parts_of_one_with_these() -> None:
    rng = np.random.default_rng(0)
    found = difference([(clips(rng), clips(rng))], [(clips(rng, 5.0), clips(rng))])
    assert found.estimate.interval(0.95)[0] > 0 and found.p < 0.05


def test_sides_of_results_are_compared_so_too_and_it_is_said(tmp_path: Path) -> None:
    definition = {"kind": "mad", "version": 1, "clusterings": 2, "encoder": {"kind": "mert"}}
    encoders = {"encoder": "mert", "reference_encoder": "mert"}
    info = metric("MAD", False, definition=definition, bounds=METRIC.bounds, **encoders)
    rng = np.random.default_rng(0)
    references = rng.standard_normal((N, 1, D))
    points = [rng.standard_normal((1, N, 1, D)) + shift * np.eye(D)[0] for shift in (0.0, 0.0, 5.0)]
    three = [side(tmp_path / str(k), str(k), features={"mad": (one, references)}, infos={"mad": info})
             for k, one in enumerate(points)]  # fmt: skip
    compared = compare(three[:1], three[2:], Gate({}, swaps=99, groups=20))
    (row,), ids = compared.metrics.to_dict("records"), three[0].record.prompts["id"].tolist()
    two = jointly([three[0], three[2]], "mad", ids, groups=20)
    assert two.together and not two.corrected and np.diff(two.estimates)[0] == pytest.approx(row["difference"])
    assert any("both sides measured as parts of one set" in remark for remark in compared.remarks)
    every = jointly(three, "mad", ids, groups=20)
    assert every.difference(0, 2)[0].interval(0.95)[0] > 0 > every.difference(0, 1)[0].interval(0.95)[0]


def test_a_group_and_the_rest_are_measured_as_parts_of_all_prompts() -> None:
    rng = np.random.default_rng(0)
    pair = clips(rng), clips(rng)
    ids = pair[0].ids
    worse = [value + 5.0 * (k < 20) for k, value in enumerate(pair[0].values)]
    units: dict[str, Any] = {i: number for number, i in enumerate(ids)}
    gap = equal.gap(METRIC, [(features(worse), pair[1])], ids[:20], ids[20:], units, Clusters())
    whole = METRIC(features(worse), pair[1]).kept
    rows = np.repeat(np.eye(2), 20, axis=1)
    assert [gap.value, gap.other] == pytest.approx(list(whole(rows, rows)), rel=1e-12)  # type: ignore[misc]
    assert gap.estimate.interval(0.95)[0] > 0
