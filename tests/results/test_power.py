"""What a run tells of the noise of a comparison, and what follows for the number of prompts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalkit.errors import EvalkitError
from evalkit.results import evidence, recompute
from evalkit.results.compare import compare
from evalkit.results.frames import VALUES, typed
from evalkit.results.gate import Gate, Limit, Margin, plain
from evalkit.results.pairing import Side
from evalkit.results.power import Known, Power, margins_of, of_comparison, of_result
from evalkit.results.record import Record
from evalkit.stats.jackknife import corrected, groups
from evalkit.stats.paired import mean_difference, share_difference
from evalkit.types import Features

from .made import metric, record, row
from .made_comparison import comparison
from .made_comparison import metric as compared

GATE = Gate({})
FAD = {"kind": "fad", "version": 0, "encoder": {"kind": "none"}, "ddof": 1, "title": "FAD"}


def measured(rows: Mapping[str, np.ndarray], **info: Any) -> Record:
    """A record of one additive metric "m", of which each row has values (samples, prompts)."""
    samples, prompts = next(iter(rows.values())).shape
    values = [
        {"model": name, "sample": k, "id": f"p{i}", "metric": "m", "value": value, "sum": value, "count": 1.0}
        for name, own in rows.items()
        for k, sample in enumerate(own, 1)
        for i, value in enumerate(sample)
    ]
    made = record(
        {name: {"m": float(own.mean())} for name, own in rows.items()}, {}, titles={"m": ("M", False)}, total=prompts
    )
    return replace(
        made,
        metrics={"m": metric("M", False, additive=True, **info)},
        sampling={**made.sampling, "samples_per_prompt": samples},
        values=typed(pd.DataFrame(values), VALUES),
    )


def of_sets(folder: Path, rows: Mapping[str, int], prompts: int) -> Record:
    """A record of FAD, of which each row's clips are four windows of Gaussian numbers from a seed."""
    writer = evidence.Writer(folder)
    ids = tuple(f"p{i}" for i in range(prompts))

    def windows(seed: int) -> Features:
        drawn = np.random.default_rng(seed).normal(size=(prompts, 4, 3)).astype(np.float32)
        return Features(ids, tuple(drawn))

    for name, seed in rows.items():
        writer.add(evidence.Side("e", name, 1, "cut clips"), windows(seed))
        writer.add(evidence.Side("e", name, 1, "references"), windows(0))
    made = record({name: {"fad": 0.1} for name in rows}, {}, titles={"fad": ("FAD", False)}, total=prompts)
    info = metric("FAD", False, definition=FAD, encoder="e", reference_encoder="e", bounds=(0.0, None))
    return replace(made, metrics={"fad": info}, evidence=writer.evidence())


def only(power: Power) -> Known:
    (known,) = power.metrics
    return known


def test_two_rows_give_the_error_of_their_paired_difference() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=40)
    a, b = (shared + 0.1 * rng.normal(size=(2, 40)) for _ in range(2))
    made = measured({"a": a, "b": b})
    known, power = only(of_result(made, None, GATE, {})), of_result(made, "b", GATE, {})
    ones = np.ones_like(a)
    estimate = mean_difference((a, ones), (b, ones))
    assert known.noise.estimate(40).error == pytest.approx(estimate.error, rel=1e-12)
    assert known.value == pytest.approx(a.mean()) and known.n == 40 and known.direction == "lower"
    assert known.noise.estimate(160).error == pytest.approx(estimate.error / 2)
    assert only(power).noise == known.noise and only(power).value == pytest.approx(b.mean())
    assert "'b' and 'a'" in power.source


def test_rows_that_are_unlike_show_no_more_noise_than_unrelated_ones_have() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 1, 50)) * np.array([1, 30]).reshape(2, 1, 1)
    together, alone = (only(of_result(measured(rows), "a", GATE, {})) for rows in ({"a": a, "b": b}, {"a": a}))
    assert together.noise == alone.noise and "'b' is so unlike it" in together.note and not alone.note
    assert only(of_result(measured({"a": a, "b": b}), "b", GATE, {})).noise.variance > 100 * alone.noise.variance


@pytest.mark.parametrize("samples", [2, 3])
def test_several_clips_of_each_prompt_show_the_noise_of_sampling(samples: int) -> None:
    rng = np.random.default_rng(samples)
    prompts = rng.normal(size=20_000)
    made = measured({"a": prompts + 0.5 * rng.normal(size=(samples, 20_000))})
    # prompts vary on both sides alike; clips by 0.5 on either, over so many clips of each prompt
    expected = 0.5 * math.sqrt(2 / samples / 20_000)
    assert only(of_result(made, "a", GATE, {})).noise.estimate(20_000).error == pytest.approx(expected, rel=0.02)


def test_one_clip_of_each_prompt_gives_what_two_unrelated_sides_would_have() -> None:
    values = np.random.default_rng(0).normal(size=(1, 50))
    power = of_result(measured({"a": values}), "a", GATE, {})
    expected = math.sqrt(2 / 50) * values.std(ddof=1)
    assert only(power).noise.estimate(50).error == pytest.approx(expected)
    assert "share nothing" in power.source


def test_shares_are_planned_by_the_prompts_that_differ() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.random((2, 60)) < 0.2).astype(float), (rng.random((2, 60)) < 0.3).astype(float)
    bounds = {"bounds": (0.0, 1.0)}
    between = only(of_result(measured({"a": a, "b": b}, **bounds), "a", GATE, {}))
    pairs = [(x[i], y[i]) for x in a for y in b for i in range(60)]
    assert between.noise.share
    assert between.noise.variance == pytest.approx(np.mean([x != y for x, y in pairs]))
    alone = only(of_result(measured({"a": a}, **bounds), "a", GATE, {}))
    assert alone.noise.variance == pytest.approx((a[0] != a[1]).mean())
    once = only(of_result(measured({"a": a[:1]}, **bounds), "a", GATE, {}))
    assert once.noise.variance == pytest.approx(2 * a[0].mean() * (1 - a[0].mean()))
    silent = only(of_result(measured({"a": 0 * a}, **bounds), "a", GATE, {"m": Margin(0.02)}))
    assert silent.needed(GATE) == 189 and silent.detectable(GATE) > 0 and "more prompts are needed" in silent.note


def test_a_metric_of_sets_is_measured_by_leaving_groups_of_prompts_out(tmp_path: Path) -> None:
    made, few = of_sets(tmp_path, {"a": 1, "b": 2}, 30), replace(GATE, groups=7)
    known = only(of_result(made, "a", few, {}))
    which = groups([f"p{i}" for i in range(30)], 7, 0)

    def value(row: str, kept: list[int]) -> float:
        return recompute.measure(made, row, "fad", [f"p{i}" for i in kept])[1][0].value

    def difference(kept: list[int]) -> float:
        return value("b", kept) - value("a", kept)

    without = np.array([difference([i for i in range(30) if which[i] != g]) for g in range(7)])
    estimate = corrected(difference(list(range(30))), without, np.bincount(which))
    assert known.noise.estimate(30).error == pytest.approx(estimate.error, rel=1e-9)
    assert known.noise.estimate(3000).df == 6
    assert known.n == 30 and known.value == pytest.approx(value("a", list(range(30))))


def test_noise_that_is_only_rounding_is_none_and_nothing_is_planned_by_it(tmp_path: Path) -> None:
    """Clips fall into the clusters of their own references whichever are left out: 100 % of tests would PASS."""
    made = of_sets(tmp_path, {"a": 0}, 40)
    mad = {"kind": "mad", "version": 1, "encoder": {"kind": "none"}, "clusterings": 5, "title": "MAD"}
    info = replace(made.metrics["fad"], title="MAD", definition=mad, bounds=(0.0, 5.5))
    known = only(of_result(replace(made, metrics={"fad": info}), "a", replace(GATE, groups=7), {"fad": Margin(0.1)}))
    assert known.noise.variance == 0 and known.value < 1e-12
    assert known.note == "no prompt differs from another here, so nothing follows for more of them"


def test_a_comparison_says_what_it_has_measured() -> None:
    share = share_difference(3, 1, 500)
    rows = [
        compared(difference=0.3, error=0.1, df=49.0, n=500, direction="same"),
        compared("silence_share", difference=share.value, error=share.error, df=math.inf, n=500, baseline=0.01),
    ]
    fad, silence = of_comparison(comparison(rows), GATE, {"fad": Margin(0.05, relative=True)}).metrics
    gated = plain(Gate({"fad": Limit("critical", Margin(0.05, True), least_n=70)}, level=0.9, power=0.7))
    power = of_comparison(comparison(rows, gate=gated), None, {})
    assert (power.gate.level, power.gate.power) == (0.9, 0.7)
    assert power.metrics[0].margin == pytest.approx(0.05 * 4.9034) and power.metrics[0].least_n == 70
    assert fad.noise.estimate(500).error == pytest.approx(0.1) and fad.noise.estimate(5000).df == 49
    assert fad.margin == pytest.approx(0.05 * 4.9034) and fad.direction == "same"
    assert silence.noise.share and silence.noise.variance == pytest.approx(4 / 500)


def test_a_comparison_of_two_rows_needs_as_many_prompts_as_was_said_before(tmp_path: Path) -> None:
    gate = Gate({"fad": Limit("critical", Margin(0.3), least_n=2)}, groups=7, slices=())
    made = of_sets(tmp_path, {"a": 1, "b": 2}, 30)
    known = only(of_result(made, "a", gate, {}))
    compared_then = compare([Side(made, "a")], [Side(made, "b")], gate)
    (row,) = compared_then.metrics.to_dict("records")
    assert known.needed(gate) == row["n_needed"] and known.error == pytest.approx(row["error"])
    # the interval of the comparison is wider by what may be left of the bias
    assert known.detectable(gate) == pytest.approx(row["mde"], rel=0.02) and known.detectable(gate) <= row["mde"]
    again = only(of_comparison(compared_then, None, {}))
    assert again.noise == replace(known.noise, variance=pytest.approx(known.noise.variance))
    assert (again.margin, again.needed(gate)) == (0.3, row["n_needed"])


def test_the_gate_says_margin_direction_and_least_number_of_prompts() -> None:
    limit = Limit("critical", Margin(0.5), direction="same", least_n=60)
    gate = Gate({"m": limit})
    made = measured({"a": np.random.default_rng(0).normal(size=(1, 50))})
    known = only(of_result(made, None, gate, {}))
    assert (known.margin, known.direction, known.least_n) == (0.5, "same", 60)
    assert known.pass_probability(59, gate) == 0 < known.pass_probability(60, gate)
    assert known.needed(gate) == max(60, known.noise.needed(0.5, 0.95, 0.8, both=True))
    assert only(of_result(made, None, gate, {"m": Margin(9)})).needed(gate) == 60
    unlimited = only(of_result(made, None, GATE, {}))
    assert math.isnan(unlimited.needed(GATE)) and math.isnan(unlimited.pass_probability(50, GATE))
    assert unlimited.detectable(GATE) == pytest.approx(known.detectable(gate))


def test_the_prompts_that_are_needed_give_the_power() -> None:
    rng = np.random.default_rng(7)
    ones = np.ones((1, 200))
    known = only(of_result(measured({"a": rng.gamma(2, size=(2, 4000))}), None, GATE, {"m": Margin(0.2)}))
    # one clip of each prompt on either side, as the two of each prompt are apart
    single = replace(known.noise, variance=2 * known.noise.variance)
    needed = int(single.needed(0.2, 0.95, 0.8))
    ones = np.ones((1, needed))
    passed = []
    for _ in range(4000):
        before, after = rng.gamma(2, size=(2, 1, needed))
        passed.append(mean_difference((before, ones), (after, ones)).interval(0.95)[1] <= 0.2)
    assert np.mean(passed) == pytest.approx(0.8, abs=4.5 * math.sqrt(0.16 / 4000))


def test_margins_are_in_a_metric_s_unit_or_a_share_of_its_value() -> None:
    assert margins_of(["kld=0.05", "fad=5%", "fad = 4 %"]) == {"kld": Margin(0.05), "fad": Margin(0.04, True)}
    for wrong in ("fad", "=3"):
        with pytest.raises(EvalkitError, match=f"margin '{wrong}': write METRIC=VALUE"):
            margins_of([wrong])
    for wrong in ("", "-1", "nan", "inf%", "5%%", "x"):
        with pytest.raises(EvalkitError, match="the margin of fad is "):
            margins_of([f"fad={wrong}"])


def test_what_is_wrong_is_said() -> None:
    made = measured({"a": np.full((1, 7), 0.3)})
    alike = only(of_result(made, None, GATE, {"m": Margin(1)}))
    assert "no prompt differs from another" in alike.note and math.isnan(alike.needed(GATE))
    with pytest.raises(EvalkitError, match="unknown metric of the result 'n': available: m"):
        of_result(made, None, GATE, {"n": Margin(1)})
    with pytest.raises(EvalkitError, match="unknown metric of the comparison 'fed': did you mean 'fad'"):
        of_comparison(comparison(), GATE, {"fed": Margin(1)})
    with pytest.raises(EvalkitError, match="unknown row of the result 'b': available: a"):
        of_result(made, "b", GATE, {})
    sets = replace(made, prompts_info=replace(made.prompts_info, form="sets"))
    with pytest.raises(EvalkitError, match="two folders of unlike names, whose clips cannot be paired"):
        of_result(sets, None, GATE, {})
    with pytest.raises(EvalkitError, match="has 0 models"):
        of_result(replace(made, rows={"a": row(calibration=True)}), None, GATE, {})
    alone = only(of_result(measured({"a": np.zeros((1, 1))}), None, GATE, {"m": Margin(1)}))
    assert "at least 2 are needed" in alone.note and math.isnan(alone.needed(GATE))
