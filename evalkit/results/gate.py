"""A gate: by how much a candidate may be worse than its baseline, metric by metric, and what follows."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pandas as pd
import yaml

from evalkit.errors import EvalkitError, unknown
from evalkit.report.numbers import number, places
from evalkit.results.comparable import Reason
from evalkit.settings import conf_dir
from evalkit.slices import standard
from evalkit.stats.estimate import Estimate
from evalkit.stats.permutation import holm
from evalkit.stats.power import noise_of

Tier = Literal["critical", "supporting", "advisory"]
Direction = Literal["lower", "higher", "same"]  # what is better; "same" where neither is
Verdict = Literal["PASS", "BREACH", "INSUFFICIENT_EVIDENCE", "MISSING"]
Outcome = Literal["GO", "NO-GO", "INCONCLUSIVE"]

# In what else two results may differ; `evalkit.results.pairing` says how each is told.
Condition = Literal["given", "duration", "sampling", "dtype", "engine", "protocol"]

STATUS: Mapping[Outcome, int] = {"GO": 0, "NO-GO": 1, "INCONCLUSIVE": 2}  # exit status of `evalkit compare`
MISTAKE = 4  # exit status for what cannot be compared at all

LEAST_SWAPS, MOST_SWAPS = 99, 20_000
ROUNDING = 1e-9  # of a difference of the same clips, where several results are averaged in another order
MARGINS = "a number, or a share of the baseline's value such as '5 %'"
WEIGHTS: Sequence[Verdict] = (
    "BREACH",
    "MISSING",
    "INSUFFICIENT_EVIDENCE",
)  # against a GO, the weightiest first


@dataclass(frozen=True)
class Margin:
    """By how much a metric may be worse: in its own unit, or as a share of the baseline's value."""

    amount: float
    relative: bool = False

    def __str__(self) -> str:
        return f"{self.amount * 100:.12g} %" if self.relative else f"{self.amount:.12g}"


@dataclass(frozen=True)
class Limit:
    """What a gate says of one metric.

    Attributes:
        tier: "critical": a BREACH is a NO-GO. "supporting": must PASS for a GO, but its BREACH is no NO-GO.
            "advisory": shown, and never decides.
        margin: by how much it may be worse.
        direction: what is better; None for what the metric says itself.
        least_n: number of prompts below which there is no verdict but INSUFFICIENT_EVIDENCE.
        optional: whether it may be absent from all results.
        slices: groups of prompts that are gated too, such as "voice:vocal", with the same margin.
        because: why the margin is this one.
    """

    tier: Tier
    margin: Margin
    direction: Direction | None = None
    least_n: int = 30
    optional: bool = False
    slices: Sequence[str] = ()
    because: str = ""


@dataclass(frozen=True)
class Gate:
    """What must hold for a GO.

    Attributes:
        metrics: the gated metrics by name.
        level: of the intervals; a bound is wrong in half of what is left.
        power: with which what a comparison can see is computed.
        swaps: how many times baseline and candidate are swapped within prompts.
        groups: of prompts that are left out together in the jackknife of metrics of sets.
        seed: of swaps and groups.
        slices: kinds of groups of prompts to look at, such as "tag".
        may_differ: conditions, by the names in `evalkit.results.pairing.CONDITIONS`, in which the sides may differ.
    """

    metrics: Mapping[str, Limit]
    level: float = 0.95
    power: float = 0.8
    swaps: int = 1000
    groups: int = 50
    seed: int = 0
    slices: Sequence[str] = ("voice", "caption_length", "tag", "label")
    may_differ: Sequence[Condition] = ()


@dataclass(frozen=True)
class Judged:
    """What a gate says of one difference.

    Attributes:
        verdict: "MISSING" where there is no difference.
        reason: why it is this one, in words.
        p_breach: one-sided p-value of a damage of at most the margin; NaN where there is none, or too few prompts.
        n_needed: prompts with which nothing having changed is a PASS with the gate's power; infinite where none
            suffice, NaN where that is not known.
        mde: the smallest true difference that such a comparison tells from none with the gate's power.
    """

    verdict: Verdict
    reason: str
    p_breach: float
    n_needed: float
    mde: float


def load(path: Path | None) -> Gate:
    """Read a gate from a YAML; None for the one that comes with evalkit.

    Raises EvalkitError, with the name of the file and the key, for a file that cannot be read, a key that there is not,
    and a value that it cannot have.
    """
    file = conf_dir() / "gate" / "default.yaml" if path is None else path
    try:
        node = yaml.load(file.read_text("utf-8"), _Loader)  # a SafeLoader
    except OSError as error:
        raise EvalkitError(f"the gate '{file}' cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise EvalkitError(f"the gate '{file}' is no YAML: {' '.join(str(error).split())}") from error
    try:
        return parsed(node)
    except EvalkitError as error:
        raise EvalkitError(f"the gate '{file}': {error}") from error


class _Loader(yaml.SafeLoader):
    """Plain values only, and no key twice, of which YAML would take the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.MarkedYAMLError(problem=f"'{twice[0]}' is there twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def parsed(node: Any) -> Gate:
    """Make a gate of plain values, as YAML and JSON have them.

    Raises EvalkitError for a key that there is not, and for a value that it cannot have.
    """
    gate = _made(Gate, node, "")
    for fits, message in (
        (0.5 < gate.level < 1, f"level is {gate.level:g}: must be between 0.5 and 1, such as 0.95"),
        (0 < gate.power < 1, f"power is {gate.power:g}: must be between 0 and 1, such as 0.8"),
        (
            gate.swaps == 0 or LEAST_SWAPS <= gate.swaps <= MOST_SWAPS,
            f"swaps is {gate.swaps}: must be {LEAST_SWAPS} to {MOST_SWAPS}, or 0 for none",
        ),
        (gate.groups >= 2, f"groups is {gate.groups}: must be at least 2"),
        (gate.seed >= 0, f"seed is {gate.seed}: must not be negative"),
    ):
        if not fits:
            raise EvalkitError(message)
    with _in("slices"):
        standard(gate.slices)
    for name, limit in gate.metrics.items():
        if limit.least_n < 2:
            raise EvalkitError(f"metrics.{name}.least_n is {limit.least_n}: must be at least 2")
        with _in(f"metrics.{name}.slices"):
            standard(limit.slices)
            for asked in limit.slices:
                if not asked.partition(":")[2]:
                    raise EvalkitError(f"'{asked}' is a kind: name one of its groups, as in {asked}:NAME")
    return gate


@contextlib.contextmanager
def _in(key: str) -> Iterator[None]:
    """Put the key before what is wrong with its value."""
    try:
        yield
    except EvalkitError as error:
        raise EvalkitError(f"{key}: {error}") from error


def _made(schema: Any, node: Any, key: str) -> Any:
    """Make a dataclass of a mapping whose keys are its fields."""
    if not isinstance(node, Mapping):
        raise EvalkitError(f"{key or 'the file'} {_is(node)}: must hold keys with values")
    hints = get_type_hints(schema)
    for name in node:
        if name not in hints:
            raise unknown(f"key{f' in {key}' if key else ''}", str(name), hints)
    for field in dataclasses.fields(schema):
        if field.default is dataclasses.MISSING and field.name not in node:
            raise EvalkitError(f"{key or 'the file'} has no {field.name}: must hold {_due(hints[field.name])}")
    return schema(
        **{name: _value(hints[name], value, f"{key}.{name}" if key else name) for name, value in node.items()}
    )


def _value(hint: Any, value: Any, key: str) -> Any:
    """Check a value against the type of its field, and make it one of that type."""
    origin, inside = get_origin(hint), get_args(hint)
    if hint is Margin:
        return margin(value, key)
    if dataclasses.is_dataclass(hint):
        return _made(hint, value, key)
    if origin in (Union, UnionType):
        (kind,) = (one for one in inside if one is not NoneType)
        return None if value is None else _value(kind, value, key)
    if origin is Literal and isinstance(value, str):
        if value not in inside:
            raise EvalkitError(f"{key}: {unknown('value', value, inside)}")
        return value
    if origin is Mapping and isinstance(value, Mapping):
        if odd := [name for name in value if not isinstance(name, str) or not name]:
            raise EvalkitError(f"{key}: {odd[0]!r} is no name")
        return {name: _value(inside[1], part, f"{key}.{name}") for name, part in value.items()}
    if origin is Sequence and isinstance(value, list):
        return tuple(_value(inside[0], part, key) for part in value)
    if hint is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if hint in (int, bool, str) and type(value) is hint:
        return value
    raise EvalkitError(f"{key} {_is(value)}: must be {_due(hint)}")


def _is(value: Any) -> str:
    return "holds nothing" if value is None else f"is {value!r}"


def _due(hint: Any) -> str:
    """What a field takes, in words."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(inside)
    if origin in (Union, UnionType):
        return " or ".join("null" if one is NoneType else _due(one) for one in inside)
    words = {Margin: MARGINS, int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return words.get(hint) or ("keys with values" if origin is Mapping else "a list, such as [A, B]")


def margin(value: Any, key: str) -> Margin:
    """Make a margin of a plain value, a number or a text such as "5 %". Raises EvalkitError for any other."""
    share = re.fullmatch(r"(.+?)\s*%", value) if isinstance(value, str) else None
    try:
        amount = float(share[1]) if share else math.nan if type(value) not in (int, float) else float(value)
    except ValueError:
        amount = math.nan
    if not math.isfinite(amount):
        raise EvalkitError(f"{key} {_is(value)}: must be {MARGINS}")
    if amount < 0:
        raise EvalkitError(f"{key} {_is(value)}: must not be negative: what is better is not limited")
    return Margin(amount / 100, relative=True) if share else Margin(amount)


def plain(gate: Gate) -> dict[str, Any]:
    """Write a gate as JSON-like values, all defaults filled in; `parsed` makes the same gate of them."""
    metrics = {
        name: {**_fields(limit), "margin": str(limit.margin) if limit.margin.relative else limit.margin.amount}
        for name, limit in gate.metrics.items()
    }
    return {**_fields(gate), "metrics": metrics}


def _fields(value: Gate | Limit) -> dict[str, Any]:
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {name: list(part) if isinstance(part, (tuple, list)) else part for name, part in fields.items()}


def check(gate: Gate, known_metrics: Iterable[str]) -> None:
    """Raise EvalkitError for a metric of a gate that nobody knows, which is likely misspelt.

    Args:
        known_metrics: names of metrics in the results. evalkit's own are known besides.
    """
    own = {name for path in (conf_dir() / "metric").glob("*.yaml") for name in _keys(path)}
    for name in gate.metrics:
        if name not in (known := own | set(known_metrics)):
            raise EvalkitError(f"the gate names a metric that there is not: {unknown('metric', name, known)}")


def _keys(path: Path) -> set[str]:
    return set(yaml.safe_load(path.read_text("utf-8"))) - {"defaults"}


def direction(limit: Limit | None, higher_is_better: bool | None) -> Direction:
    """Say what is better: as a gate says, else as the metric does."""
    if limit is not None and limit.direction is not None:
        return limit.direction
    return "same" if higher_is_better is None else "higher" if higher_is_better else "lower"


def absolute(margin: Margin, baseline_value: float) -> float:
    """Compute a margin in the metric's own unit; NaN where it is a share of a value that there is not."""
    return margin.amount * abs(baseline_value) if margin.relative else margin.amount


def judge(
    limit: Limit,
    margin: float,
    direction: Direction,
    estimate: Estimate,
    n: int,
    gate: Gate,
    note: str = "",
    identical: bool = False,
) -> Judged:
    """Judge a difference by the interval of the damage: the difference, turned so that more is worse.

    It is a PASS if the whole interval is at most the margin, and a BREACH if all of it is more (a non-inferiority test;
    each bound is wrong in at most (1 - level) / 2 of all comparisons). Where neither direction is better, a change
    either way is a damage.

    Args:
        margin: absolute.
        n: number of prompts.
        note: why there is no difference, or no interval of it, where there is none.
        identical: whether the clips of both sides are the same, so that nothing can have become worse.
    """
    if math.isnan(estimate.value) or math.isnan(margin):
        why = "; ".join(filter(None, note.splitlines())) or "there is no value of it to compare"
        return Judged("MISSING", why, math.nan, math.nan, math.nan)
    mde = estimate.detectable(gate.level, gate.power)
    both = direction == "same"
    needed = max(noise_of(estimate, n).needed(margin, gate.level, gate.power, both), float(limit.least_n))
    if identical and abs(estimate.value) < ROUNDING:
        return Judged("PASS", "the clips are the same on both sides", 1.0, needed, mde)
    if n < limit.least_n:
        asked = f"{_prompts(n)}, and the gate asks for at least {limit.least_n:,}"
        why = f"{asked}: {_enough(needed, n, gate.power)}"
        return Judged("INSUFFICIENT_EVIDENCE", why, math.nan, needed, mde)
    verdict, why = decided(estimate, margin, direction, gate.level)
    if math.isnan(sum(estimate.interval(gate.level))):
        return Judged(verdict, note or why, math.nan, needed, mde)
    if verdict == "INSUFFICIENT_EVIDENCE":
        why += f": {_enough(needed, n, gate.power)}"
    return Judged(verdict, why, p_of_breach(estimate, margin, direction), needed, mde)


def decided(estimate: Estimate, margin: float, direction: Direction, level: float) -> tuple[Verdict, str]:
    """Say whether the interval of the damage lies within a margin, beyond it, or neither, and why."""
    low, high = estimate.interval(level)
    both = direction == "same"
    if direction == "higher":
        low, high = -high, -low
    if math.isnan(low) or math.isnan(high):
        return "INSUFFICIENT_EVIDENCE", "there is no interval of the difference"
    digits = places(high - low, margin)
    what, end = "change" if both else "damage", f"{'±' * both}{number(margin, digits)}"
    span = f"the interval of the {what}, {number(low, digits)} to {number(high, digits)},"
    if low > margin or (both and high < -margin):
        return "BREACH", f"{span} lies beyond the margin {end}"
    if high <= margin and (not both or low >= -margin):
        return "PASS", f"{span} lies within the margin {end}"
    return "INSUFFICIENT_EVIDENCE", f"{span} holds {'an end of ' if both else ''}the margin {end}"


def p_of_breach(estimate: Estimate, margin: float, direction: Direction) -> float:
    """Compute the p-value of a damage of at most a margin: one-sided, or two-sided where neither way is better."""
    if direction == "same":
        return min(1.0, 2 * min(estimate.p_above(margin), estimate.p_below(-margin)))
    return estimate.p_above(margin) if direction == "lower" else estimate.p_below(-margin)


def _enough(needed: float, n: int, power: float) -> str:
    """How many prompts would have been enough."""
    if math.isnan(needed):
        return f"how many prompts are needed is not known, and there are {n:,}"
    if math.isinf(needed):
        return "no number of prompts is enough to show that nothing has changed"
    if needed > n:
        return f"with no change about {needed:,.0f} prompts are needed, and there are {n:,}"
    return f"with no change {needed:,.0f} prompts pass in {power:.0%} of comparisons, and there are {n:,}"


def _prompts(n: int) -> str:
    return f"{n:,} prompt{'' if n == 1 else 's'}"


@dataclass(frozen=True)
class _Gated:
    """A gated metric, or a gated slice of one, as it was judged."""

    title: str
    critical: bool
    verdict: Verdict
    reason: str
    p_breach: float


def decide(
    metrics: pd.DataFrame,
    slices: pd.DataFrame,
    gate: Gate,
    reasons: Sequence[Reason],
    random: Sequence[str],
    allow_random: bool,
    identical: bool,
) -> tuple[Outcome, list[str], list[str]]:
    """Decide over all gated metrics: the outcome, its reasons, the weightiest first, and warnings.

    It is a GO only if all of them PASS, so that no correction for their number is due (an intersection-union test,
    Berger 1982), nothing but the checkpoints differs, and no weights are random. It is a NO-GO if a critical one is a
    BREACH after Holm's correction for their number. Everything else is INCONCLUSIVE.

    Args:
        metrics, slices: frames with columns as `evalkit.results.comparison_record` has them, of slices at least the
            gated ones. A gated metric without a row is absent from all results.
        reasons: in what else the sides differ.
        random: networks and models with random weights.
        allow_random: whether these may be so for a GO.
        identical: whether the clips of both sides are the same.
    """
    gated = list(_gated(metrics, slices, gate))
    critical = [one for one in gated if one.critical]
    adjusted = holm(np.array([one.p_breach for one in critical], np.float64))
    alpha = (1 - gate.level) / 2
    sure = sorted(
        ((p, one) for p, one in zip(adjusted, critical, strict=True) if one.verdict == "BREACH" and p <= alpha),
        key=lambda pair: float(pair[0]),
    )
    found = [f"{one.title}: BREACH: {one.reason}" for _, one in sure]
    rest = [one for one in gated if one.verdict != "PASS" and one not in [breach for _, breach in sure]]
    rest.sort(key=lambda one: (not one.critical, WEIGHTS.index(one.verdict)))
    for one in rest:
        only = ""
        if one.verdict == "BREACH":
            only = " (not after Holm's correction)" if one.critical else " (supporting: no NO-GO by itself)"
        found.append(f"{one.title}: {one.verdict}: {one.reason}{only}")
    differ = [f"{reason.condition}: {reason.text}" for reason in reasons]
    if not gated:
        differ.append("no metric is gated: nothing was decided on")
    warnings = []
    if random:
        warnings.append(f"random weights: {', '.join(random)}: the numbers mean nothing outside this comparison")
    if identical:
        warnings.append("the clips are the same on both sides, byte for byte: was one checkpoint compared with itself?")
    if differ:
        return "INCONCLUSIVE", [*differ, *found], warnings
    if sure:
        return "NO-GO", found, warnings
    if found:
        return "INCONCLUSIVE", found, warnings
    if random and not allow_random:
        why = f"random weights can give no GO: {', '.join(random)} (--allow-random lets them)"
        return "INCONCLUSIVE", [why], warnings
    return "GO", [f"{_counted(gated)} within {'its margin' if len(gated) == 1 else 'their margins'}"], warnings


def _counted(gated: Sequence[_Gated]) -> str:
    return f"the gated metric {gated[0].title} is" if len(gated) == 1 else f"all {len(gated)} gated metrics are"


def _gated(metrics: pd.DataFrame, slices: pd.DataFrame, gate: Gate) -> Iterator[_Gated]:
    """All that is gated, in the order of the gate: what has no row is missing, but for optional metrics."""
    of_metrics = {str(row["metric"]): row for row in metrics.to_dict("records")}
    of_slices = {(str(r["metric"]), f"{r['slice']}:{r['group']}".casefold()): r for r in slices.to_dict("records")}
    for name, limit in gate.metrics.items():
        row, critical = of_metrics.get(name), limit.tier == "critical"
        if limit.tier == "advisory" or (row is None and limit.optional):
            continue
        title = str(row["title"]) if row else name
        yield _judged(title, critical, row, "it is in neither result")
        for group in limit.slices:
            found = of_slices.get((name, group.casefold()))
            yield _judged(f"{title} of {group}", critical, found, "no prompt is in this group")


def _judged(title: str, critical: bool, row: Mapping[Any, Any] | None, absent: str) -> _Gated:
    if row is None:
        return _Gated(title, critical, "MISSING", absent, math.nan)
    # what has no known verdict was not judged, and passes nothing
    verdicts: Sequence[Verdict] = get_args(Verdict)
    verdict: Verdict = next((known for known in verdicts if known == row["verdict"]), "MISSING")
    return _Gated(title, critical, verdict, str(row["reason"]), float(row["p_breach"]))
