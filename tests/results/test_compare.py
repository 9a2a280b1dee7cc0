"""Two sides compared: metrics, groups of prompts, prompts that moved, and what is said where something is missing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import evalkit
from evalkit.errors import EvalkitError
from evalkit.results import pairing
from evalkit.results.compare import _relative, compare
from evalkit.results.comparison import Comparison
from evalkit.results.gate import Gate, Limit, Margin
from evalkit.results.pairing import Side
from evalkit.stats import permutation
from tests.results.sides import KNOWN, side

N = 120


def limit(margin: float = 0.1, tier: Any = "critical", **changes: Any) -> Limit:
    return Limit(tier, Margin(margin), **changes)


def gate_of(metrics: Mapping[str, Limit], **changes: Any) -> Gate:
    return Gate(metrics, swaps=199, slices=("tag",), **changes)


def values(seed: int, damage: float = 0.0, n: int = N) -> dict[str, np.ndarray]:
    """Values of some metrics, of which what belongs to the prompts is the same for all seeds."""
    shared, own = np.random.default_rng(0), np.random.default_rng(seed)
    return {
        name: shared.standard_normal((1, n)) + 0.3 * own.standard_normal((1, n)) + sign * damage
        for name, sign in (("kld", 1), ("clap_score", -1), ("chroma", -1), ("side_to_mid", 1))
    } | {"silence_share": (own.random((1, n)) < damage).astype(float)}


def features(seed: int, shift: float = 0.0, n: int = N) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    shared, own = np.random.default_rng(1), np.random.default_rng(seed)
    references = shared.standard_normal((n, 4, 3))
    prompts = shared.standard_normal((n, 1, 3))
    clips = 0.7 * prompts + own.standard_normal((1, n, 4, 3)) + shift
    return {"fad": (clips.astype(np.float32), references.astype(np.float32))}


def tags(n: int = N) -> list[list[str]]:
    """A tag of most prompts, one of the first fifth, and one of three prompts."""
    return [[*(["rock"] if i % 4 else []), *(["piano"] if i < n // 5 else []), *(["harp"] if i < 3 else [])]
            for i in range(n)]  # fmt: skip


def pair(folder: Path, damage: float = 0.0, **changes: Any) -> tuple[Side, Side]:
    """A baseline and a candidate that is worse by some amount."""
    return (
        side(folder, "a", values(1), features(1), tags=tags(), **changes),
        side(folder, "b", values(2, damage), features(2, damage), tags=tags(), **changes),
    )


def compared(sides: Sequence[Side], gated: Gate, **options: Any) -> Comparison:
    """Compare the second of two sides with the first."""
    return compare(sides[:1], sides[1:], gated, **options)


def metric(comparison: Comparison, name: str) -> dict[str, Any]:
    (found,) = comparison.metrics[comparison.metrics["metric"] == name].to_dict("records")
    return {str(key): value for key, value in found.items()}


def test_all_metrics_are_judged_and_the_outcome_follows(tmp_path: Path) -> None:
    limits = {"fad": limit(0.5), "kld": limit(0.2), "clap_score": limit(0.2), "silence_share": limit(tier="supporting")}
    baseline, same = pair(tmp_path)
    good = compare([baseline], [same], gate_of(limits))
    assert good.outcome == "GO" and set(good.metrics["verdict"]) == {"PASS", ""}
    assert good.metrics["metric"].tolist() == ["fad", "kld", "clap_score", "chroma", "silence_share", "side_to_mid"]
    worse = side(tmp_path, "b", values(2, 0.6), features(2, 0.6), tags=tags())
    bad = compare([baseline], [worse], gate_of(limits))
    assert bad.outcome == "NO-GO"
    verdicts = dict(zip(bad.metrics["metric"], bad.metrics["verdict"], strict=True))
    assert {name for name, verdict in verdicts.items() if verdict == "BREACH"} == set(limits)
    kld = metric(bad, "kld")
    before, after = values(1)["kld"][0], values(2, 0.6)["kld"][0]
    assert kld["raw_difference"] == kld["difference"] == pytest.approx(after.mean() - before.mean())
    expected = scipy.stats.ttest_rel(after, before).confidence_interval(0.95)
    assert kld["low"] == pytest.approx(expected.low, rel=0.02) and kld["high"] == pytest.approx(expected.high, rel=0.02)
    assert (kld["n"], kld["margin"], kld["test"], kld["p"]) == (N, 0.2, "swaps", 1 / 200)
    fad = metric(bad, "fad")
    assert fad["raw_difference"] == pytest.approx(fad["candidate"] - fad["baseline"])
    assert 0 < abs(fad["difference"] - fad["raw_difference"]) < fad["error"]
    assert [text for text in bad.remarks if "corrected for bias" in text] == [
        text for text in bad.remarks if "FAD" in text
    ]
    assert (bad.prompts, bad.prompts_total, bad.protocol) == (N, N, "musicgen")


@pytest.mark.parametrize(("baseline", "words"), [(2.0, "50.0 % worse"), (-2.0, ""), (0.0, ""), (math.nan, "")])
def test_nothing_is_a_share_of_a_value_below_0(baseline: float, words: str) -> None:
    difference: Any = SimpleNamespace(estimate=SimpleNamespace(value=1.0), unbiased=baseline)
    assert _relative("lower", difference) == words


def test_effects_are_told_in_words_that_fit_the_direction(tmp_path: Path) -> None:
    made = compared(pair(tmp_path, 1.0), gate_of({"kld": limit()}))
    before, after = values(1), values(2, 1.0)
    for name, sign in (("kld", -1), ("clap_score", 1)):
        row, better = metric(made, name), (sign * (after[name] - before[name])[0] > 0).mean()
        assert (row["better"], row["worse"]) == (better, 1 - better) and better < 0.1
        pairs = sign * np.sign(np.subtract.outer(after[name][0], before[name][0]))
        assert row["delta"] == pytest.approx(pairs.mean()) and row["delta"] < -0.3
        assert row["effect"] == f"worse on {100 * row['worse']:.0f} % of prompts, large (δ {row['delta']:+.2f})"
    same = metric(made, "side_to_mid")
    assert math.isnan(same["better"]) and same["effect"].startswith(
        "higher on 100 % of prompts, lower on 0 %, medium (δ +0."
    )
    assert metric(made, "fad")["effect"] == "over 1,000 % worse" and math.isnan(metric(made, "fad")["delta"])
    fad = metric(compared(pair(tmp_path, 0.3), gate_of({})), "fad")
    assert fad["effect"] == f"{100 * fad['difference'] / fad['unbiased_baseline']:,.1f} % worse"


def test_swapping_the_sides_turns_everything_around(tmp_path: Path) -> None:
    baseline, candidate = pair(tmp_path, 0.3)
    limits = {name: limit(direction="same") for name in KNOWN}
    one, other = compare([baseline], [candidate], gate_of(limits)), compare([candidate], [baseline], gate_of(limits))
    for frame, columns in (
        ("metrics", ["difference", "low", "high", "p", "delta"]),
        ("slices", ["difference", "low", "high", "p", "p_adjusted"]),
    ):
        ours, theirs = getattr(one, frame)[columns], getattr(other, frame)[columns]
        turned = theirs.assign(difference=-theirs["difference"], low=-theirs["high"], high=-theirs["low"])
        if "delta" in columns:
            turned["delta"] = -turned["delta"]
        np.testing.assert_allclose(ours, turned, rtol=1e-6, atol=1e-9)


def test_nothing_depends_on_the_order_of_prompts(tmp_path: Path) -> None:
    limits = gate_of({"fad": limit(), "kld": limit()})
    first = compared(pair(tmp_path, 0.3), limits)
    order = np.random.default_rng(3).permutation(N)
    turned = [
        side(
            tmp_path, name, {key: x[:, order] for key, x in values(seed, damage).items()},
            {key: (x[:, order], r[order]) for key, (x, r) in features(seed, damage).items()},
            ids=[f"p{i:05}" for i in order], tags=[tags()[i] for i in order],
        )
        for name, seed, damage in (("a", 1, 0.0), ("b", 2, 0.3))
    ]  # fmt: skip
    second = compared(turned, limits)
    pd.testing.assert_frame_equal(first.metrics, second.metrics, rtol=1e-9)
    columns = ["slice", "group", "metric"]
    pd.testing.assert_frame_equal(
        first.slices.sort_values(columns, ignore_index=True), second.slices.sort_values(columns, ignore_index=True),
        rtol=1e-7,
    )  # fmt: skip
    pd.testing.assert_frame_equal(first.moved, second.moved)


def test_a_side_against_itself_differs_by_nothing(tmp_path: Path) -> None:
    baseline, _ = pair(tmp_path)
    made = compare([baseline], [dataclasses.replace(baseline)], gate_of({name: limit(0.0) for name in KNOWN}))
    assert made.outcome == "GO" and len(made.warnings) == 1
    assert (made.metrics[["difference", "low", "high"]] == 0).all(axis=None) and (made.metrics["p"] == 1).all()
    assert (made.slices["change"] == "").all() and made.moved.empty


def test_a_damage_in_one_group_alone_is_found_and_named(tmp_path: Path) -> None:
    """A fifth of the prompts, of which no other group is made, falls silent; nothing else changes."""
    damaged = values(2)
    damaged["silence_share"][0, : N // 5] = 1
    baseline, _ = pair(tmp_path)
    gated = gate_of({"silence_share": limit(0.05, slices=["tag:Piano"], least_n=20), "kld": limit()})
    made = compare([baseline], [side(tmp_path, "b", damaged, features(2), tags=tags())], gated)
    found = made.slices[made.slices["change"] != ""]
    assert ("piano", "silence_share", "worse") in set(
        found[["group", "metric", "change"]].itertuples(index=False, name=None)
    )
    assert set(found["metric"]) == {"silence_share"}
    (piano,) = made.slices[made.slices["gated"]].to_dict("records")
    assert (piano["group"], piano["n"], piano["verdict"], piano["candidate"]) == ("piano", N // 5, "BREACH", 1)
    assert made.outcome == "NO-GO" and any("piano" in reason.casefold() for reason in made.reasons)
    assert made.slices.loc[made.slices["group"] == "harp", "note"].eq("few prompts").all()


def test_a_group_of_all_prompts_is_no_slice_unless_it_is_gated(tmp_path: Path) -> None:
    every = [[*own, "music"] for own in tags()]
    baseline = side(tmp_path, "a", values(1), features(1), tags=every)
    candidate = side(tmp_path, "b", values(2), features(2), tags=every)
    found = compare([baseline], [candidate], gate_of({"kld": limit()})).slices
    assert {*found["group"]} == {"rock", "piano", "harp"}
    found = compare([baseline], [candidate], gate_of({"kld": limit(slices=["tag:music"])})).slices
    assert found.loc[found["group"] == "music", "metric"].tolist() == ["kld"]


def test_a_group_whose_interval_holds_0_has_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever p says, which is of swaps and not of the interval."""
    monkeypatch.setattr(permutation, "max_t", lambda observed, swapped: np.full(len(observed), 0.001))
    baseline, candidate = pair(tmp_path, 0.5)
    found = compare([baseline], [candidate], gate_of({"kld": limit()})).slices
    holds = (found["low"] <= 0) & (found["high"] >= 0)
    assert 0 < holds.sum() < len(found)
    assert (found.loc[holds, "change"] == "").all()
    assert (found.loc[~holds & (found["p_adjusted"] < 0.05), "change"] != "").all()


def test_p_values_of_groups_are_adjusted_by_the_maximum_over_all_in_the_same_swaps(tmp_path: Path) -> None:
    baseline, candidate = pair(tmp_path, 0.05)
    made = compare([baseline], [candidate], gate_of({"kld": limit()}))
    before, after = values(1), values(2, 0.05)
    signs = 1 - 2 * np.concatenate([np.zeros((1, N)), permutation.swaps(N, 199, 0)])
    statistics, adjusted = [], []
    for row in made.slices[made.slices["metric"] != "fad"].to_dict("records"):
        inside = np.array([row["group"] in own for own in tags()])
        moved = (after[row["metric"]] - before[row["metric"]])[0, inside]
        sums = signs[:, inside] @ moved
        spread = math.sqrt((sums[1:] ** 2).mean())
        statistics.append(sums / spread if spread else sums)
        adjusted.append(row["p_adjusted"])
    fad = made.slices[made.slices["metric"] == "fad"]
    assert fad["group"].tolist() == ["rock"]  # the one of 50 prompts or more
    largest = np.abs(statistics).max(axis=0)
    # the least p-value is that of the largest of all, but for FAD's own
    most = int(np.argmax(np.abs(np.array(statistics)[:, 0])))
    least = (largest[1:] >= largest[0] - 1e-9).sum() + 1
    assert least / 200 <= adjusted[most] <= (least + 20) / 200
    assert (made.slices["p_adjusted"] >= made.slices["p"] - 0.05).all()


@pytest.mark.slow
def test_no_group_is_named_where_nothing_changed(tmp_path: Path) -> None:
    """At a level of 95 % that happens in at most 5 of 100 comparisons: in 14 or more in one of 2,000 tests."""
    rng = np.random.default_rng(4)
    named = 0
    gated = Gate({"kld": limit()}, swaps=99, slices=("tag",))
    for _ in range(100):
        sides = [
            side(
                tmp_path,
                name,
                {"kld": rng.standard_normal((1, 40)), "chroma": rng.exponential(size=(1, 40))},
                tags=tags(40),
            )
            for name in "ab"
        ]
        named += bool((compared(sides, gated).slices["change"] != "").any())
    assert named < 14


def test_gated_groups_that_cannot_be_compared_are_told(tmp_path: Path) -> None:
    baseline, candidate = pair(tmp_path)
    limits = {"fad": limit(slices=["tag:piano"]), "kld": limit(slices=["tag:harp", "voice:vocal"]), "fad_clap": limit()}
    made = compare([baseline], [candidate], gate_of(limits))
    gated = made.slices[made.slices["gated"]].set_index(["metric", "group"])
    assert gated["verdict"].to_dict() == {
        ("fad", "piano"): "INSUFFICIENT_EVIDENCE", ("kld", "harp"): "INSUFFICIENT_EVIDENCE",
    }  # fmt: skip
    assert gated.loc[("fad", "piano"), "reason"] == "fewer than 50 prompts are too few for a metric of sets"
    assert made.outcome == "INCONCLUSIVE"
    assert any("voice:vocal" in text and "MISSING" in text for text in made.reasons)  # no prompt is of it
    missing = metric(made, "fad_clap")
    assert (missing["verdict"], missing["n"]) == ("MISSING", 0)
    assert missing["reason"] == "not measured in the baseline nor in the candidate"


def test_the_prompts_that_moved_most_are_named_with_their_clips(tmp_path: Path) -> None:
    baseline, candidate = pair(tmp_path, 0.1)
    made = compare([baseline], [candidate], gate_of({"kld": limit()}))
    for name, sign in (("kld", 1), ("clap_score", -1)):
        damage = sign * (values(2, 0.1)[name] - values(1)[name])[0]
        order = np.argsort(-damage)
        own = made.moved[made.moved["metric"] == name]
        assert own["id"].tolist() == [f"p{i:05}" for i in [*order[:5], *order[::-1][:3]]]
        assert own["change"].tolist() == ["worse"] * 5 + ["better"] * 3
        np.testing.assert_allclose(own["difference"], sign * damage[[*order[:5], *order[::-1][:3]]])
    first = made.moved.iloc[0]
    assert first["caption"] == f"caption {first['id']}"
    assert (first["baseline_path"], first["candidate_path"]) == tuple(f"/clips/{x}/{first['id']}.wav" for x in "ab")
    assert first["candidate_sha256"] == f"b 0 {first['id']}"
    assert (first["reference_path"], first["reference_sha256"]) == (
        f"/references/{first['id']}.wav",
        f"reference {first['id']}",
    )
    either = made.moved[made.moved["metric"] == "side_to_mid"]
    assert len(either) == 5 and either["difference"].abs().is_monotonic_decreasing
    assert set(either["change"]) <= {"higher", "lower"}


def test_a_metric_of_one_side_alone_is_missing(tmp_path: Path) -> None:
    baseline, candidate = pair(tmp_path)
    fewer = side(tmp_path, "b", {"kld": values(2)["kld"]}, tags=tags())
    made = compare([baseline], [fewer], gate_of({"kld": limit(1.0), "chroma": limit(), "fad": limit()}))
    assert metric(made, "chroma")["reason"] == "not measured in the candidate"
    assert metric(made, "fad")["verdict"] == "MISSING" and made.outcome == "INCONCLUSIVE"
    turned = compare([fewer], [candidate], gate_of({"chroma": limit()}))
    assert metric(turned, "chroma")["reason"] == "not measured in the baseline"


def test_a_value_that_is_no_number_is_missing_and_says_whose(tmp_path: Path) -> None:
    baseline, _ = pair(tmp_path)
    broken, sets = values(2), features(2)
    broken["kld"][0, 7] = math.nan
    sets["fad"][0][0, 3, 1] = math.nan
    made = compare(
        [baseline], [side(tmp_path, "b", broken, sets, tags=tags())], gate_of({"kld": limit(), "fad": limit()})
    )
    assert (metric(made, "kld")["verdict"], metric(made, "kld")["reason"]) == (
        "MISSING",
        "b: kld of the prompt 'p00007' is nan",
    )
    assert metric(made, "fad")["verdict"] == "MISSING" and metric(made, "fad")["reason"].startswith(
        "metric.fad: ValueError: "
    )
    assert made.outcome == "INCONCLUSIVE" and metric(made, "chroma")["n"] == N


def test_another_definition_of_a_metric_is_another_quantity(tmp_path: Path) -> None:
    baseline, _ = pair(tmp_path)
    other = {**KNOWN, "fad": dataclasses.replace(KNOWN["fad"], definition={**KNOWN["fad"].definition, "ddof": 0})}
    made = compare(
        [baseline], [side(tmp_path, "b", values(2), features(2), tags=tags(), infos=other)], gate_of({"fad": limit()})
    )
    assert metric(made, "fad")["verdict"] == "MISSING" and "ddof 0, not 1" in metric(made, "fad")["reason"]


def test_a_metric_of_another_package_must_be_allowed(tmp_path: Path) -> None:
    foreign = {**KNOWN["fad"].definition, "package": "strangers"}
    infos = {**KNOWN, "fad": dataclasses.replace(KNOWN["fad"], definition=foreign, target="strangers.FAD")}
    made = compared(pair(tmp_path, infos=infos), gate_of({"fad": limit()}))
    assert metric(made, "fad")["reason"] == "the metric 'FAD' is of the package 'strangers': allow it if you trust it"
    allowed = compared(pair(tmp_path, infos=infos), gate_of({}), allow=["strangers"])
    assert "cannot be found" in metric(allowed, "fad")["reason"]


@pytest.mark.parametrize("n", [1, 2])
def test_next_to_no_prompts_pass_nothing(tmp_path: Path, n: int) -> None:
    sides = [side(tmp_path, x, values(i, n=n), features(i, n=n)) for i, x in enumerate("ab")]
    made = compare(
        sides[:1], sides[1:], gate_of({name: limit(100.0, least_n=1) for name in KNOWN if name != "side_to_mid"})
    )
    verdicts = dict(zip(made.metrics["metric"], made.metrics["verdict"], strict=True))
    assert verdicts.pop("silence_share") == "PASS"  # no share is worse by more than 1
    if n == 1:
        assert set(verdicts.values()) == {"INSUFFICIENT_EVIDENCE", ""} and made.outcome == "INCONCLUSIVE"
        assert metric(made, "kld")["reason"] == "no interval: of a single prompt nothing is known of others"


def test_clips_that_are_all_equal_pass_nothing_by_themselves(tmp_path: Path) -> None:
    constant = {"kld": np.full((1, 40), 0.5), "silence_share": np.zeros((1, 40))}
    sides = [side(tmp_path, x, constant) for x in "ab"]  # with other clips, of which each has the same value
    made = compared(sides, gate_of({"kld": limit(), "silence_share": limit(0.05)}))
    assert made.metrics["verdict"].tolist() == ["INSUFFICIENT_EVIDENCE"] * 2
    assert metric(made, "kld")["reason"] == "no interval: all prompts differ by the same"
    assert (metric(made, "silence_share")["low"], metric(made, "kld")["effect"]) == (
        pytest.approx(-0.0877, abs=1e-3),
        "the same on all prompts",
    )


def test_only_prompts_of_both_sides_count(tmp_path: Path) -> None:
    baseline, _ = pair(tmp_path)
    ids = [f"p{i:05}" for i in range(20, N + 20)]
    other = side(tmp_path, "b", values(2), features(2), ids=ids, tags=tags())
    refused = compare([baseline], [other], gate_of({"kld": limit(10.0)}))
    assert refused.outcome == "INCONCLUSIVE" and refused.reasons[0].startswith("prompts: ")
    made = compare([baseline], [other], gate_of({"kld": limit(10.0)}), common_prompts=True)
    assert (made.outcome, made.prompts, made.prompts_total) == ("GO", N - 20, N + 20)
    row = metric(made, "kld")
    assert row["baseline"] == pytest.approx(values(1)["kld"][0, 20:].mean())
    assert row["candidate"] == pytest.approx(values(2)["kld"][0, : N - 20].mean())


@pytest.mark.parametrize(("without", "outcome"), [(0, "GO"), (3, "INCONCLUSIVE")])
def test_prompts_without_a_value_on_one_side_are_held_against_a_pass(
    tmp_path: Path, without: int, outcome: str
) -> None:
    one = np.random.default_rng(0).normal(1, 0.1, (1, 200))
    items = np.stack([one + np.random.default_rng(1).normal(0, 0.1, (1, 200)), np.ones((1, 200))], axis=-1)
    items[0, :without] = 0  # neither sum nor count, as of clips in which nothing can be measured
    sides = side(tmp_path, "a", {"kld": one}), side(tmp_path, "b", {"kld": items})
    made = compared(sides, gate_of({"kld": limit(0.5)}))
    assert made.outcome == outcome and metric(made, "kld")["n"] == 200 - without
    if outcome != "GO":
        assert made.reasons == [
            "KLD: INSUFFICIENT_EVIDENCE: 3 prompts have a value on one side only, of which nothing is known"
        ]


def test_a_margin_that_is_a_share_is_as_unsure_as_the_baseline(tmp_path: Path) -> None:
    """The candidate is the baseline moved farther by just the margin: their difference varies far less than it."""
    rng, passed, d, n = np.random.default_rng(0), 0, 16, 50
    for trial in range(25):
        reference, own = rng.standard_normal((2, n, 4, d))
        direction = np.eye(d)[0]
        moved = {"a": own + direction * 0.14, "b": own + direction * 0.14 * np.sqrt(1.05)}
        sides = [
            side(tmp_path / str(trial), name, {}, {"fad": (clips[None], reference)}) for name, clips in moved.items()
        ]
        gate = gate_of({"fad": Limit("critical", Margin(0.05, relative=True), least_n=2)})
        passed += metric(compared(sides, gate), "fad")["verdict"] == "PASS"
    assert passed <= 3


def test_several_results_of_a_side_are_clusters(tmp_path: Path) -> None:
    candidates = [
        side(tmp_path, f"b{i}", values(i, damage), features(i, damage), tags=tags())
        for i, damage in ((2, 0.1), (3, 0.9))
    ]
    baseline, _ = pair(tmp_path)
    made = compare([baseline], candidates, gate_of({"kld": limit(0.3), "fad": limit(0.5)}))
    row = metric(made, "kld")
    assert (row["test"], row["verdict"]) == ("t", "INSUFFICIENT_EVIDENCE") and metric(made, "fad")["test"] == "t"
    assert row["candidate"] == pytest.approx(np.mean([values(2, 0.1)["kld"], values(3, 0.9)["kld"]]))
    assert made.slices["p_adjusted"].between(0, 1).all() and len(made.candidate) == 2


def test_random_weights_forbid_a_go(tmp_path: Path) -> None:
    infos = {**KNOWN, "kld": dataclasses.replace(KNOWN["kld"], random=("PaSST",))}
    sides = pair(tmp_path, infos=infos)
    made = compared(sides, gate_of({"kld": limit(1.0)}))
    assert (made.outcome, list(made.random)) == ("INCONCLUSIVE", ["PaSST"])
    assert compared(sides, gate_of({"kld": limit(1.0)}), allow_random=True).outcome == "GO"


def test_a_misspelt_metric_of_the_gate_is_told_at_once(tmp_path: Path) -> None:
    sides = pair(tmp_path)
    with pytest.raises(EvalkitError, match=r"the gate names a metric that there is not: .*fda.*did you mean 'fad'"):
        compared(sides, gate_of({"fda": limit()}))


def test_a_comparison_is_read_as_it_was_made(tmp_path: Path) -> None:
    sides = pair(tmp_path)
    made = compared(sides, gate_of({"kld": limit(slices=["tag:piano"])})).save(tmp_path / "comparison")
    again = Comparison.load(tmp_path / "comparison")
    for frame in ("metrics", "slices", "moved"):
        pd.testing.assert_frame_equal(getattr(made, frame), getattr(again, frame))


def test_what_runs_have_measured_is_compared(tmp_path: Path) -> None:
    """A run against one whose clips are damaged: its values are those of its own table."""

    def run(*options: str) -> Side:
        base = ("model=synth", "prompts=demo", "sampling.duration=1.5", "metric=[stereo,fad]", "random_weights=0")
        own = (f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}", "uncertainty.resamples=0")
        return pairing.side(evalkit.evaluate(*base, *own, *options), None)

    baseline, candidate = run(), run("model.synth.noise=0.5", "model.synth.mono=true")
    limits = {"mono_share": limit(0.02, least_n=5), "fad": Limit("critical", Margin(0.1, relative=True), least_n=5)}
    made = compare([baseline], [candidate], gate_of(limits))
    for name, which in (("baseline", baseline), ("candidate", candidate)):
        scores = which.record.scores[which.record.scores["model"] == which.row].set_index("metric")["value"]
        for metric_name in ("mono_share", "fad"):
            assert metric(made, metric_name)[name] == pytest.approx(scores[metric_name], rel=1e-9)
    assert made.outcome == "NO-GO" and metric(made, "fad")["verdict"] == "BREACH"
    assert made.moved["candidate_path"].map(lambda path: Path(path).is_file()).all() and len(made.moved)
