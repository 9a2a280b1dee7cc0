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

import yaml

from evalkit.errors import EvalkitError, unknown
from evalkit.settings import conf_dir
from evalkit.slices import standard

Tier = Literal["critical", "supporting", "advisory"]
Direction = Literal["lower", "higher", "same"]  # what is better; "same" where neither is
HIGHER_IS_BETTER: Mapping[str, bool | None] = {"lower": False, "higher": True, "same": None}  # by direction
Verdict = Literal["PASS", "BREACH", "INSUFFICIENT_EVIDENCE", "MISSING"]
Outcome = Literal["GO", "NO-GO", "INCONCLUSIVE"]

# In what else two results may differ; `evalkit.results.pairing` says how each is told.
Condition = Literal["given", "duration", "sampling", "dtype", "engine", "protocol"]

STATUS: Mapping[Outcome, int] = {"GO": 0, "NO-GO": 1, "INCONCLUSIVE": 2}  # exit status of `evalkit compare`
MISTAKE = 4  # exit status for what cannot be compared at all

LEAST_SWAPS, MOST_SWAPS = 99, 20_000
SHOWN = 60  # characters of a value that a message repeats
MARGINS = "a number, or a share of the baseline's value such as '5 %'"


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
        least_n: number of prompts, or of clusters where prompts belong together, below which there is no verdict but
            INSUFFICIENT_EVIDENCE.
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
    shown = repr(value)
    return "holds nothing" if value is None else f"is {shown if len(shown) <= SHOWN else f'{shown[:SHOWN]}…'}"


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
