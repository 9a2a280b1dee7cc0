"""Gates: what a file may say, how a difference is judged, and what is decided over all."""

from __future__ import annotations

import importlib
import json
import math
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import yaml

from evalkit import metrics as own_metrics
from evalkit.errors import EvalkitError
from evalkit.results import gate as gates
from evalkit.results import verdicts
from evalkit.results.comparable import Reason
from evalkit.results.comparison_record import METRICS, SLICES
from evalkit.results.frames import typed
from evalkit.results.gate import Direction, Gate, Limit, Margin, Tier, Verdict
from evalkit.results.verdicts import Judged
from evalkit.settings import conf_dir
from evalkit.stats.estimate import Estimate, student
from evalkit.stats.paired import share_difference

FAD = Limit("critical", Margin(0.2))
NOTHING = Estimate(math.nan, math.nan, math.nan, lambda tail: (math.nan, math.nan))


def written(folder: Path, text: str) -> Path:
    path = folder / "gate.yaml"
    path.write_text(text, "utf-8")
    return path


class TestFile:
    def test_all_keys(self, tmp_path: Path) -> None:
        text = """
            metrics:
              fad: {tier: critical, margin: 5 %, direction: lower, least_n: 50, optional: true, because: so,
                    slices: ['voice:vocal']}
              kld: {tier: advisory, margin: 0}
            level: 0.9
            power: 0.7
            swaps: 99
            groups: 2
            seed: 3
            slices: [tag, 'label:Guitar']
            may_differ: [engine, dtype]
        """
        assert gates.load(written(tmp_path, text)) == Gate(
            metrics={
                "fad": Limit("critical", Margin(0.05, relative=True), "lower", 50, True, ("voice:vocal",), "so"),
                "kld": Limit("advisory", Margin(0.0)),
            },
            level=0.9, power=0.7, swaps=99, groups=2, seed=3, slices=("tag", "label:Guitar"),
            may_differ=("engine", "dtype"),
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("written", "margin", "text"),
        [
            (0.03, Margin(0.03), "0.03"),
            (1, Margin(1.0), "1"),
            ("5 %", Margin(0.05, relative=True), "5 %"),
            ("0.7%", Margin(0.7 / 100, relative=True), "0.7 %"),
            ("0 %", Margin(0.0, relative=True), "0 %"),
            ("150 %", Margin(1.5, relative=True), "150 %"),
        ],
    )
    def test_margins(self, written: Any, margin: Margin, text: str) -> None:
        gate = gates.parsed({"metrics": {"m": {"tier": "critical", "margin": written}}})
        assert gate.metrics["m"].margin == margin and str(margin) == text

    def test_plain_values_are_json_and_make_the_same_gate(self) -> None:
        for gate in (gates.load(None), gates.parsed({"metrics": {"m": {"tier": "critical", "margin": "0.1 %"}}})):
            plain = json.loads(json.dumps(gates.plain(gate)))
            assert gates.parsed(plain) == gate
            assert set(plain) == {"metrics", "level", "power", "swaps", "groups", "seed", "slices", "may_differ"}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "the file holds nothing: must hold keys with values"),
            ("- fad", "the file is ['fad']: must hold keys with values"),
            ("level: 0.9", "the file has no metrics: must hold keys with values"),
            ("metrics: {}\nlevl: 0.9", "unknown key 'levl': did you mean 'level'? available: groups, level, "),
            (
                "metrics: {m: {tier: critical, margin: 1, last_n: 2}}",
                "unknown key in metrics.m 'last_n': did you mean ",
            ),
            ("metrics: {m: {tier: critical}}", "metrics.m has no margin: must hold a number, or a share of "),
            ("metrics: {m: {margin: 1}}", "metrics.m has no tier: must hold critical or supporting or advisory"),
            ("metrics: [fad]", "metrics is ['fad']: must be keys with values"),
            ("metrics: {m: critical}", "metrics.m is 'critical': must hold keys with values"),
            ("metrics: {3: {tier: critical, margin: 1}}", "metrics: 3 is no name"),
            ("metrics: {m: {tier: crit, margin: 1}}", "metrics.m.tier: unknown value 'crit': did you mean 'critical'?"),
            ("metrics: {m: {tier: 1, margin: 1}}", "metrics.m.tier is 1: must be critical or supporting or advisory"),
            ("metrics: {m: {tier: critical, margin: -1}}", "metrics.m.margin is -1: must not be negative"),
            ("metrics: {m: {tier: critical, margin: -1 %}}", "metrics.m.margin is '-1 %': must not be negative"),
            ("metrics: {m: {tier: critical, margin: .nan}}", "metrics.m.margin is nan: must be a number, or a share"),
            ("metrics: {m: {tier: critical, margin: .inf}}", "metrics.m.margin is inf: must be a number, or a share"),
            ("metrics: {m: {tier: critical, margin: nan %}}", "metrics.m.margin is 'nan %': must be a number"),
            ("metrics: {m: {tier: critical, margin: five}}", "metrics.m.margin is 'five': must be a number"),
            ("metrics: {m: {tier: critical, margin: true}}", "metrics.m.margin is True: must be a number"),
            ("metrics: {m: {tier: critical, margin: null}}", "metrics.m.margin holds nothing: must be a number"),
            ("metrics: {m: {tier: critical, margin: 1, direction: up}}", "metrics.m.direction: unknown value 'up'"),
            ("metrics: {m: {tier: critical, margin: 1, direction: 1}}", "must be lower or higher or same"),
            ("metrics: {m: {tier: critical, margin: 1, least_n: 1}}", "metrics.m.least_n is 1: must be at least 2"),
            ("metrics: {m: {tier: critical, margin: 1, least_n: 2.5}}", "least_n is 2.5: must be a whole number"),
            ("metrics: {m: {tier: critical, margin: 1, optional: 1}}", "optional is 1: must be true or false"),
            ("metrics: {m: {tier: critical, margin: 1, because: 1}}", "because is 1: must be text"),
            ("metrics: {m: {tier: critical, margin: 1, slices: voice}}", "slices is 'voice': must be a list"),
            ("metrics: {m: {tier: critical, margin: 1, slices: [voice]}}", "'voice' is a kind: name one of its groups"),
            ("metrics: {m: {tier: critical, margin: 1, slices: ['vice:x']}}", "m.slices: unknown slice 'vice'"),
            ("metrics: {}\nslices: [tags]", "slices: unknown slice 'tags': did you mean 'tag'?"),
            ("metrics: {}\nslices: [1]", "slices is 1: must be text"),
            ("metrics: {}\nlevel: 0.5", "level is 0.5: must be between 0.5 and 1"),
            ("metrics: {}\nlevel: 1", "level is 1: must be between 0.5 and 1"),
            ("metrics: {}\nlevel: '0.9'", "level is '0.9': must be a number"),
            ("metrics: {}\npower: 0", "power is 0: must be between 0 and 1"),
            ("metrics: {}\nswaps: 50", "swaps is 50: must be 99 to 20000, or 0 for none"),
            ("metrics: {}\nswaps: 20001", "swaps is 20001: must be 99 to 20000"),
            ("metrics: {}\ngroups: 1", "groups is 1: must be at least 2"),
            ("metrics: {}\nseed: -1", "seed is -1: must not be negative"),
            ("metrics: {}\nseed: true", "seed is True: must be a whole number"),
            ("metrics: {}\nmay_differ: [engines]", "may_differ: unknown value 'engines': did you mean 'engine'?"),
            ("metrics: {}\nmay_differ: [prompts]", "may_differ: unknown value 'prompts'"),
            ("metrics: {}\nmetrics: {}", "is no YAML: 'metrics' is there twice"),
            ("metrics: {m: {tier: critical, margin: 1}, m: {}}", "is no YAML: 'm' is there twice"),
            ("metrics: [", "is no YAML: "),
            ("metrics: !!python/object/apply:os.getcwd []", "is no YAML: could not determine a constructor"),
        ],
    )
    def test_mistakes_name_the_file_and_the_key_in_one_line(self, tmp_path: Path, text: str, message: str) -> None:
        path = written(tmp_path, text)
        with pytest.raises(EvalkitError) as raised:
            gates.load(path)
        said = str(raised.value)
        assert said.startswith(f"the gate '{path}'") and message in said and "\n" not in said

    def test_files_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(EvalkitError, match=r"the gate '.*absent.yaml' cannot be read: No such file"):
            gates.load(tmp_path / "absent.yaml")
        with pytest.raises(EvalkitError, match="cannot be read"):
            gates.load(tmp_path)
        (tmp_path / "gate.yaml").write_bytes(b"\xff\xfe\xff")
        with pytest.raises(EvalkitError, match="is no YAML"):
            gates.load(tmp_path / "gate.yaml")

    def test_metrics_that_nobody_knows(self) -> None:
        def gate(name: str) -> Gate:
            return Gate({name: FAD})

        gates.check(gate("fad"), [])  # evalkit has it, whether these results have it or not
        gates.check(gate("mine"), ["mine"])
        with pytest.raises(EvalkitError, match=r"a metric that there is not: unknown metric 'fda': did you mean 'fad'"):
            gates.check(gate("fda"), ["kld"])
        with pytest.raises(EvalkitError, match=r"unknown metric 'mime': did you mean 'mine'\?"):
            gates.check(gate("mime"), ["mine"])


class TestDefault:
    def test_every_metric_is_one_of_evalkits_and_says_why_its_margin_is_this_one(self) -> None:
        gate = gates.load(None)
        gates.check(gate, [])
        for limit in gate.metrics.values():
            assert limit.because and limit.optional and limit.margin.amount > 0 and limit.direction is None

    def test_the_metrics_of_the_model_card_and_of_collapse_are_critical(self) -> None:
        critical = {name for name, limit in gates.load(None).metrics.items() if limit.tier == "critical"}
        collapse = {"silence_share", "clipped_clips", "mono_share", "vocals_share"}
        assert critical == {"fad", "kld", "clap_score", *collapse}

    def test_what_the_file_leaves_out_is_what_the_types_say(self) -> None:
        node = yaml.safe_load((conf_dir() / "gate" / "default.yaml").read_text("utf-8"))
        assert {key for key in node if key != "metrics"} == set(gates.plain(Gate({}))) - {"metrics"}
        assert gates.parsed({"metrics": node["metrics"]}) == gates.load(None)


def shipped() -> list[tuple[str, bool | None]]:
    """The kind of each metric of evalkit's whose class says so, and whether higher is better."""
    found = []
    for module in pkgutil.iter_modules(own_metrics.__path__, f"{own_metrics.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and "kind" in vars(value):
                higher = getattr(value, "higher_is_better", NotImplemented)
                if higher is None or isinstance(higher, bool):  # others say it of each of their instances
                    found.append((str(vars(value)["kind"]), higher))
    return sorted(set(found))


class TestDirection:
    def test_all_directions_are_among_evalkits_metrics(self) -> None:
        assert len(shipped()) >= 20 and {higher for _, higher in shipped()} == {True, False, None}

    @pytest.mark.parametrize(("kind", "higher"), shipped())
    @pytest.mark.parametrize("change", [5.0, -5.0])
    def test_what_is_better_is_never_a_damage(self, kind: str, higher: bool | None, change: float) -> None:
        direction = gates.direction(FAD, higher)
        verdict = judged(student(change, 0.1, 99), direction=direction).verdict
        better = higher is not None and (change > 0) == higher
        assert verdict == ("PASS" if better else "BREACH"), kind

    def test_a_gate_goes_before_the_metric(self) -> None:
        assert gates.direction(Limit("critical", Margin(1), "same"), True) == "same"
        assert [gates.direction(None, higher) for higher in (True, False, None)] == ["higher", "lower", "same"]


@pytest.mark.parametrize(
    ("margin", "value", "absolute"),
    [
        (Margin(0.2), 5.0, 0.2),
        (Margin(0.05, relative=True), 4.0, 0.2),
        (Margin(0.05, relative=True), -4.0, 0.2),
        (Margin(0.05, relative=True), 0.0, 0.0),
        (Margin(0.2), math.nan, 0.2),
        (Margin(0.05, relative=True), math.nan, math.nan),
    ],
)
def test_relative_margins_become_absolute_on_the_baseline(margin: Margin, value: float, absolute: float) -> None:
    assert gates.absolute(margin, value) == pytest.approx(absolute, nan_ok=True)


def judged(
    estimate: Estimate,
    margin: float = 0.2,
    direction: Direction = "lower",
    n: int = 100,
    limit: Limit = FAD,
    **more: Any,
) -> Judged:
    return verdicts.judge(limit, margin, direction, estimate, n, Gate({}), **more)


class TestJudge:
    # Student's t at 0.975 on 99 degrees of freedom is 1.984: with an error of 0.1 a bound is 0.198 away
    @pytest.mark.parametrize(
        ("value", "margin", "direction", "verdict"),
        [
            (0.0, 0.2, "lower", "PASS"),
            (0.003, 0.2, "lower", "INSUFFICIENT_EVIDENCE"),
            (0.397, 0.2, "lower", "INSUFFICIENT_EVIDENCE"),
            (0.4, 0.2, "lower", "BREACH"),
            (-9.0, 0.2, "lower", "PASS"),
            (0.0, 0.2, "higher", "PASS"),
            (-0.003, 0.2, "higher", "INSUFFICIENT_EVIDENCE"),
            (-0.4, 0.2, "higher", "BREACH"),
            (9.0, 0.2, "higher", "PASS"),
            (0.0, 0.2, "same", "PASS"),
            (0.003, 0.2, "same", "INSUFFICIENT_EVIDENCE"),
            (-0.003, 0.2, "same", "INSUFFICIENT_EVIDENCE"),
            (0.0, 0.1, "same", "INSUFFICIENT_EVIDENCE"),
            (0.4, 0.2, "same", "BREACH"),
            (-0.4, 0.2, "same", "BREACH"),
            (-0.1, 0.0, "lower", "INSUFFICIENT_EVIDENCE"),
            (-0.199, 0.0, "lower", "PASS"),
            (0.199, 0.0, "lower", "BREACH"),
        ],
    )
    def test_the_interval_of_the_damage_is_compared_with_the_margin(
        self, value: float, margin: float, direction: Direction, verdict: Verdict
    ) -> None:
        found = judged(student(value, 0.1, 99), margin, direction)
        assert found.verdict == verdict
        assert (found.p_breach <= 0.025) == (verdict == "BREACH")

    @pytest.mark.parametrize("direction", ["lower", "higher"])
    def test_p_is_students_of_a_damage_of_the_margin(self, direction: Direction) -> None:
        sign = 1 if direction == "lower" else -1
        found = judged(student(sign * 0.45, 0.1, 24), direction=direction)
        assert found.p_breach == pytest.approx(scipy.stats.t.sf(2.5, 24), rel=1e-6)
        same = judged(student(0.45, 0.1, 24), direction="same")
        assert same.p_breach == pytest.approx(scipy.stats.t.sf(2.5, 24), rel=1e-6)

    @pytest.mark.parametrize(
        ("estimate", "n", "more", "verdict", "reason"),
        [
            (
                student(0.0, 0.1, 99), 100, {}, "PASS",
                "the interval of the damage, -0.198 to 0.198, lies within the margin 0.200",
            ),
            (
                student(0.5, 0.1, 99), 100, {}, "BREACH",
                "the interval of the damage, 0.302 to 0.698, lies beyond the margin 0.200",
            ),
            (
                student(0.1, 0.2, 99), 100, {}, "INSUFFICIENT_EVIDENCE",
                "the interval of the damage, -0.297 to 0.497, holds the margin 0.200: "
                "with no change about 787 prompts are needed, and there are 100",
            ),
            (
                student(0.05, 0.1, 299), 300, {}, "INSUFFICIENT_EVIDENCE",
                "the interval of the damage, -0.147 to 0.247, holds the margin 0.200: "
                "with no change about 591 prompts are needed, and there are 300",
            ),
            (
                student(0.15, 0.05, 99), 100, {}, "INSUFFICIENT_EVIDENCE",
                "the interval of the damage, 0.051 to 0.249, holds the margin 0.200: "
                "with no change 52 prompts pass in 80% of comparisons, and there are 100",
            ),
            (student(0.0, 0.1, 28), 29, {}, "INSUFFICIENT_EVIDENCE", "29 prompts, and the gate asks for at least 30"),
            (student(9.0, 0.1, 28), 29, {}, "INSUFFICIENT_EVIDENCE", "29 prompts, and the gate asks for at least 30"),
            (student(0.0, math.nan, 0), 100, {}, "INSUFFICIENT_EVIDENCE", "there is no interval of the difference"),
            (NOTHING, 100, {}, "MISSING", "there is no value of it to compare"),
            (NOTHING, 1, {"note": "too few clips\nsecond"}, "MISSING", "too few clips; second"),
            (student(0.0, 0.1, 4), 5, {"identical": True}, "PASS", "the clips are the same on both sides"),
            (student(0.3, 0.1, 4), 5, {"identical": True}, "INSUFFICIENT_EVIDENCE", "5 prompts, and the gate asks"),
            (NOTHING, 5, {"identical": True}, "MISSING", "there is no value"),
        ],
    )  # fmt: skip
    def test_every_verdict_says_why(
        self, estimate: Estimate, n: int, more: dict[str, Any], verdict: Verdict, reason: str
    ) -> None:
        found = judged(estimate, n=n, **more)
        assert (found.verdict, found.reason[: len(reason)]) == (verdict, reason)

    def test_a_margin_that_is_not_known_is_missing(self) -> None:
        assert judged(student(0.0, 0.1, 99), margin=math.nan).verdict == "MISSING"

    def test_the_prompts_that_are_needed_give_a_pass_with_the_gates_power(self) -> None:
        needed = judged(student(0.1, 0.2, 99), n=100).n_needed
        sd = 0.2 * math.sqrt(100)

        def passes(n: int) -> float:
            return float(scipy.stats.nct.cdf(-scipy.stats.t.ppf(0.975, n - 1), n - 1, -0.2 * math.sqrt(n) / sd))

        assert needed == next(n for n in range(2, 2000) if passes(n) >= 0.8)

    def test_no_number_is_enough_for_a_margin_of_nothing(self) -> None:
        found = judged(student(0.0, 0.1, 99), margin=0.0)
        assert math.isinf(found.n_needed) and found.reason.endswith(
            "no number of prompts is enough to show that nothing has changed"
        )

    def test_fewer_prompts_than_the_gate_asks_for_are_never_enough(self) -> None:
        found = judged(student(0.0, 0.001, 99), limit=Limit("critical", Margin(0.2), least_n=77))
        assert found.n_needed == 77

    def test_shares_without_a_change_need_as_many_prompts_as_their_margin_asks_for(self) -> None:
        few, enough = (judged(share_difference(0, 0, n), margin=0.01, n=n) for n in (380, 381))
        # Tango's bound at no discordant pair is z² / (n + z²): z² is 3.84
        assert (few.verdict, enough.verdict) == ("INSUFFICIENT_EVIDENCE", "PASS")
        assert few.n_needed == 381

    def test_what_can_be_seen_is_the_estimates(self) -> None:
        estimate = student(0.0, 0.1, 99)
        assert judged(estimate).mde == estimate.detectable(0.95, 0.8)

    @pytest.mark.parametrize(("truth", "verdict"), [(0.2, "PASS"), (0.2, "BREACH")])
    def test_a_truth_at_the_margin_is_misjudged_in_a_fortieth_of_cases(self, truth: float, verdict: Verdict) -> None:
        draws = np.random.default_rng(1).normal(truth, 1, (4000, 40))
        means, errors = draws.mean(axis=1), draws.std(axis=1, ddof=1) / math.sqrt(40)
        found = [
            verdicts.decided(student(mean, error, 39), truth, "lower", 0.95)[0]
            for mean, error in zip(means, errors, strict=True)
        ]
        assert scipy.stats.binomtest(found.count(verdict), 4000, 0.025).pvalue > 1e-3


def metrics_frame(*rows: dict[str, Any]) -> pd.DataFrame:
    return _frame(rows, METRICS)


def slices_frame(*rows: dict[str, Any]) -> pd.DataFrame:
    return _frame(rows, SLICES)


def _frame(rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    empty = {name: {"str": "", "int64": 0, "float64": math.nan, "bool": False}[kind] for name, kind in columns.items()}
    return typed(pd.DataFrame([{**empty, **each} for each in rows], columns=list(columns)), columns)


def said(metric: str, verdict: str = "PASS", p: float = 1.0, **more: Any) -> dict[str, Any]:
    """A row of a frame as a gate has judged it."""
    return {"metric": metric, "title": metric.upper(), "verdict": verdict, "reason": "so", "p_breach": p, **more}


def gate_of(slices: Sequence[str] = (), optional: bool = False, **tiers: Tier) -> Gate:
    return Gate({name: Limit(tier, Margin(0.1), slices=slices, optional=optional) for name, tier in tiers.items()})


BOTH = gate_of(a="critical", b="supporting")
REASON = Reason("engine", "cuda, not cpu")


def decide(rows: Sequence[dict[str, Any]], gate: Gate = BOTH, **more: Any) -> tuple[str, list[str], list[str]]:
    given = {
        "slices": slices_frame(), "reasons": [], "random": [], "allow_random": False, "identical": False, **more
    }  # fmt: skip
    return verdicts.decide(metrics=metrics_frame(*rows), gate=gate, **given)


class TestDecide:
    def test_all_pass(self) -> None:
        assert decide([said("a"), said("b")]) == ("GO", ["all 2 gated metrics are within their margins"], [])
        one = decide([said("a")], gate_of(a="critical"))
        assert one == ("GO", ["the gated metric A is within its margin"], [])

    # What keeps a GO from being given, each on its own.
    @pytest.mark.parametrize(
        ("rows", "gate", "more", "reason"),
        [
            ([], Gate({}), {}, "no metric is gated: nothing was decided on"),
            ([said("a"), said("b")], Gate({}), {}, "no metric is gated: nothing was decided on"),
            ([said("a")], gate_of(a="advisory"), {}, "no metric is gated: nothing was decided on"),
            ([said("c")], gate_of(optional=True, a="critical"), {}, "no metric is gated: nothing was decided on"),
            ([said("a")], BOTH, {}, "b: MISSING: it is in neither result"),
            ([], BOTH, {}, "a: MISSING: it is in neither result"),
            ([said("a", "MISSING", math.nan), said("b")], BOTH, {}, "A: MISSING: so"),
            ([said("a"), said("b", "MISSING")], BOTH, {}, "B: MISSING: so"),
            ([said("a", "INSUFFICIENT_EVIDENCE"), said("b")], BOTH, {}, "A: INSUFFICIENT_EVIDENCE: so"),
            ([said("a"), said("b", "INSUFFICIENT_EVIDENCE")], BOTH, {}, "B: INSUFFICIENT_EVIDENCE: so"),
            ([said("a"), said("b", "BREACH", 1e-6)], BOTH, {}, "B: BREACH: so (supporting: no NO-GO by itself)"),
            ([said("a", "BREACH", 0.03), said("b")], BOTH, {}, "A: BREACH: so (not after Holm's correction)"),
            ([said("a", "BREACH", math.nan), said("b")], BOTH, {}, "A: BREACH: so (not after Holm's correction)"),
            ([said("a", ""), said("b")], BOTH, {}, "A: MISSING: so"),
            ([said("a", "pass"), said("b")], BOTH, {}, "A: MISSING: so"),
            ([said("a"), said("b")], BOTH, {"reasons": [REASON]}, "engine: cuda, not cpu"),
            ([said("a", "BREACH", 1e-6), said("b")], BOTH, {"reasons": [REASON]}, "engine: cuda, not cpu"),
            ([said("a"), said("b")], BOTH, {"random": ["CLAP"]}, "random weights can give no GO: CLAP (--allow-random"),
            ([said("a")], gate_of(["tag:x"], a="critical"), {}, "A of tag:x: MISSING: no prompt is in this group"),
            ([said("a")], gate_of(["voice:vocal"], optional=True, a="critical"), {}, "A of voice:vocal: MISSING"),
            (
                [said("a")], gate_of(["voice:vocal"], a="supporting"),
                {"slices": slices_frame(said("a", "INSUFFICIENT_EVIDENCE", slice="voice", group="vocal"))},
                "A of voice:vocal: INSUFFICIENT_EVIDENCE: so",
            ),
            (
                [said("a"), said("b")], BOTH, {"identical": True, "reasons": [REASON]}, "engine: cuda, not cpu",
            ),
            ([said("a", "MISSING"), said("b")], BOTH, {"identical": True}, "A: MISSING: so"),
        ],
    )  # fmt: skip
    def test_it_fails_closed(self, rows: list[dict[str, Any]], gate: Gate, more: dict[str, Any], reason: str) -> None:
        outcome, reasons, _ = decide(rows, gate, **more)
        assert outcome == "INCONCLUSIVE" and reasons[0].startswith(reason)

    def test_an_optional_metric_that_no_result_has_decides_nothing(self) -> None:
        gate = gates.parsed(
            {
                "metrics": {
                    "a": {"tier": "critical", "margin": 1},
                    "b": {"tier": "critical", "margin": 1, "optional": True},
                }
            }
        )
        assert decide([said("a")], gate)[0] == "GO"
        assert decide([said("a"), said("b", "MISSING")], gate)[0] == "INCONCLUSIVE"  # one side has it

    def test_advisory_metrics_decide_nothing(self) -> None:
        gate = gate_of(a="critical", b="advisory")
        assert decide([said("a"), said("b", "BREACH", 1e-9)], gate)[0] == "GO"

    def test_a_breach_of_a_critical_metric_is_a_no_go(self) -> None:
        assert decide([said("a", "BREACH", 0.02), said("b")]) == ("NO-GO", ["A: BREACH: so"], [])

    def test_breaches_are_corrected_for_the_number_of_critical_metrics(self) -> None:
        gate = gate_of(a="critical", b="critical", c="critical", d="critical", e="supporting")
        rest = [said(name) for name in "bcde"]
        assert decide([said("a", "BREACH", 0.0061), *rest], gate)[0] == "NO-GO"  # four times that is below 2.5 %
        assert decide([said("a", "BREACH", 0.0063), *rest], gate)[0] == "INCONCLUSIVE"
        # step-down: the second smallest counts for three
        two = [said("a", "BREACH", 0.001), said("b", "BREACH", 0.0083), said("c"), said("d"), said("e")]
        assert decide(two, gate)[1] == ["A: BREACH: so", "B: BREACH: so"]
        two[1] = said("b", "BREACH", 0.0084)
        assert decide(two, gate)[1] == ["A: BREACH: so", "B: BREACH: so (not after Holm's correction)"]

    def test_uncorrected_decisions_would_be_wrong_too_often(self) -> None:
        gate = gate_of(a="critical", b="critical", c="critical", d="critical")
        ps = np.random.default_rng(2).random((1500, 4))  # nothing is worse than its margin
        outcomes = [
            decide([said(n, "BREACH" if p <= 0.025 else "PASS", p) for n, p in zip("abcd", each, strict=True)], gate)[0]
            for each in ps
            if each.min() <= 0.025  # all others are no NO-GO by rule
        ]
        assert len(outcomes) / 1500 > 0.07  # at 2.5 % each, some of four are 9.6 %
        assert scipy.stats.binomtest(outcomes.count("NO-GO"), 1500, 0.025).pvalue > 1e-3

    def test_gated_slices_of_critical_metrics_count_with_them(self) -> None:
        gate = gate_of(["voice:Vocal"], a="critical")
        slice = said("a", "BREACH", 0.012, slice="voice", group="vocal", gated=True)
        found = decide([said("a")], gate, slices=slices_frame(slice))
        assert found[:2] == ("NO-GO", ["A of voice:Vocal: BREACH: so"])
        found = decide([said("a")], gate, slices=slices_frame({**slice, "p_breach": 0.013}))
        assert found[0] == "INCONCLUSIVE"  # twice that is above 2.5 %
        assert decide([said("a")], gate, slices=slices_frame({**slice, "verdict": "PASS"}))[0] == "GO"
        other = {**slice, "group": "instrumental"}  # which is not gated
        assert decide([said("a")], gate, slices=slices_frame({**slice, "verdict": "PASS"}, other))[0] == "GO"

    def test_the_weightiest_reason_is_first(self) -> None:
        gate = gate_of(a="supporting", b="critical", c="critical", d="critical", e="supporting", f="critical")
        rows = [
            said("a", "BREACH", 1e-9), said("b", "INSUFFICIENT_EVIDENCE"), said("c", "MISSING", math.nan),
            said("d", "BREACH", 1e-3), said("e", "INSUFFICIENT_EVIDENCE"), said("f", "BREACH", 1e-5),
        ]  # fmt: skip
        outcome, reasons, _ = decide(rows, gate)
        assert outcome == "NO-GO" and [reason[0] for reason in reasons] == ["F", "D", "C", "B", "A", "E"]
        outcome, reasons, _ = decide(rows, gate, reasons=[REASON])
        assert outcome == "INCONCLUSIVE" and [reason[0] for reason in reasons] == ["e", "F", "D", "C", "B", "A", "E"]

    def test_random_weights_forbid_a_go_and_nothing_else(self) -> None:
        warned = "random weights: CLAP, m: the numbers mean nothing outside this comparison"
        passed, random = [said("a"), said("b")], ["CLAP", "m"]
        assert decide(passed, random=random)[::2] == ("INCONCLUSIVE", [warned])
        assert decide(passed, random=random, allow_random=True)[::2] == ("GO", [warned])
        worse = [said("a", "BREACH", 1e-6), said("b")]
        assert decide(worse, random=random)[::2] == ("NO-GO", [warned])

    def test_the_same_clips_are_warned_of(self) -> None:
        outcome, _, (warning,) = decide([said("a"), said("b")], identical=True)
        assert outcome == "GO" and warning.startswith("the clips are the same on both sides, byte for byte")

    def test_titles_that_look_alike_are_told_by_their_rows(self) -> None:
        gate = gate_of(a="critical", b="critical")
        same = [said("a", "BREACH", 1e-6, title="FAD"), said("b", "BREACH", 0.9, title="FAD")]
        assert decide(same, gate)[1] == ["FAD: BREACH: so", "FAD: BREACH: so (not after Holm's correction)"]


def test_every_outcome_has_a_status_of_its_own() -> None:
    assert len({*gates.STATUS.values(), gates.MISTAKE, 3}) == 5  # 3 is that of an incomplete run
