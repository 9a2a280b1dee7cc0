"""What is swept: the options that have several values, in Hydra's own grammar."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Transformer
from hydra.errors import HydraException
from omegaconf import OmegaConf

from evalkit.config import composing, explain, in_quotes, quoted
from evalkit.errors import EvalkitError

MOST = 1000  # points of a grid

Kind = Literal["choices", "integers", "floats"]


@dataclass(frozen=True)
class Swept:
    """An option with several values.

    Attributes:
        key: its whole name, such as "sampling.top_k".
        option: what it is set by: the key, and the sign "+" where the option adds it.
        text: its values as they were written.
        kind: "choices" are values of any type, in the order in which they were written; "integers" and "floats" are
            numbers from `low` to `high`.
        values: all that there are, in order; empty for an interval, of which there is no list.
        low, high: both included; None for choices.
        step: from one number to the next; None for choices, and for floats of which any may be taken.
        log: whether an interval is to be searched by orders of magnitude.
    """

    key: str
    option: str
    text: str
    kind: Kind
    values: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False

    def override(self, value: Any) -> str:
        """The option that sets the parameter to a value, as Hydra reads it."""
        plain = not isinstance(value, str) or re.fullmatch(r"[\w./:+-]+", value)
        return f"{self.option}={_encoded(value) if plain else in_quotes(value)}"


@dataclass(frozen=True)
class Space:
    """The options of a sweep.

    Attributes:
        parameters: those that have several values.
        fixed: the other ones, which all points share.
    """

    parameters: tuple[Swept, ...]
    fixed: tuple[str, ...]

    def combinations(self) -> list[dict[str, Any]]:
        """List every combination of values by key, the last parameter changing fastest.

        Raises EvalkitError for an interval, and for more combinations than a sweep can have.
        """
        for parameter in self.parameters:
            if not parameter.values:
                raise EvalkitError(
                    f"{parameter.key}={parameter.text} has no list of values: use range(START,STOP,STEP) or A,B,C, "
                    "or evalkit sweep --search optuna"
                )
        if (number := math.prod(len(parameter.values) for parameter in self.parameters)) > MOST:
            raise EvalkitError(f"the sweep has {number:,} points, and {MOST:,} are the most: take fewer values")
        keys = [parameter.key for parameter in self.parameters]
        values = itertools.product(*(parameter.values for parameter in self.parameters))
        return [dict(zip(keys, chosen, strict=True)) for chosen in values]

    def options(self, point: Mapping[str, Any]) -> list[str]:
        """The options of a run at a point; a parameter that the point does not name keeps its default."""
        return [*self.fixed, *self._swept(point)]

    def said(self, point: Mapping[str, Any]) -> str:
        """The values of a point, for people: as in "sampling.top_k=50 sampling.temperature=0.8"."""
        return " ".join(f"{p.option}={_plain(point[p.key])}" for p in self.parameters if p.key in point)

    def _swept(self, point: Mapping[str, Any]) -> list[str]:
        return [parameter.override(point[parameter.key]) for parameter in self.parameters if parameter.key in point]


def read(overrides: Sequence[str], config_dir: str | None = None) -> Space:
    """Read what is swept from options, and from `hydra.sweeper.params` of an experiment among them.

    Of a swept option that is given several times the last counts, as in a run, and those of the experiment come first.
    Raises EvalkitError for options that cannot be read, and for a range or a list that holds nothing, or a value twice.
    """
    with composing(config_dir) as loaded:
        try:
            parser = OverridesParser.create(config_loader=loaded.loader)
            parsed = parser.parse_overrides([quoted(override) for override in overrides])
            config = loaded.multirun(overrides)
            params = OmegaConf.to_container(config.hydra.sweeper)
            shared = params.get("params") or {} if isinstance(params, dict) else {}
            written = parser.parse_overrides([f"{key}={value}" for key, value in shared.items()])
            every = [*written, *parsed]
            several = {_key(override) for override in every if override.is_sweep_override()}
            last = {_key(override): override for override in every}
            swept = [_parameter(o) for key, o in last.items() if key in several and o.is_sweep_override()]
            fixed = [_text(o) for o in every if _key(o) not in several or o is last[_key(o)]]
        except EvalkitError:
            raise
        except Exception as error:  # Hydra, OmegaConf and YAML each raise their own
            raise explain(error, config_dir) from error
    return Space(tuple(swept), tuple(text for text in fixed if text))


def _key(override: Override) -> str:
    return override.get_key_element().lstrip("+")


def _text(override: Override) -> str:
    """An option as it was written; empty for one that is swept."""
    return "" if override.is_sweep_override() else str(override.input_line)


def _parameter(override: Override) -> Swept:
    option, text = override.get_key_element(), override.get_value_string()
    key = _key(override)
    value = override.value()
    if isinstance(value, IntervalSweep):
        return _interval(key, option, text, value)
    try:
        values = tuple(_converted(found) for found in override.sweep_iterator(Transformer.identity))
    except (ValueError, HydraException) as error:
        raise EvalkitError(f"{key}={text}: a step cannot be 0: write range(START,STOP,STEP)") from error
    if not values:
        raise EvalkitError(f"{key}={text} holds no value: a range ends before STOP; give values, such as {key}=A,B,C")
    shown = [_encoded(found) for found in values]
    if twice := [found for found in shown if shown.count(found) > 1]:
        raise EvalkitError(f"{key}={text} holds {twice[0]} twice: give each value once")
    if not isinstance(value, RangeSweep):
        return Swept(key, option, text, "choices", values)
    kind: Kind = "integers" if all(type(found) is int for found in values) else "floats"
    return Swept(key, option, text, kind, values, min(values), max(values), abs(value.step))


def _interval(key: str, option: str, text: str, interval: IntervalSweep) -> Swept:
    low, high = interval.start, interval.end
    log = "log" in interval.tags
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise EvalkitError(f"{key}={text} holds no value: write interval(LOW,HIGH) with LOW below HIGH")
    if log and low <= 0:
        raise EvalkitError(f"{key}={text}: what is searched by orders of magnitude must be more than 0")
    whole = type(low) is int and type(high) is int
    kind: Kind = "integers" if whole else "floats"
    return Swept(key, option, text, kind, low=low, high=high, step=1 if whole else None, log=log)


def same(one: Any, other: Any) -> bool:
    """Whether two values of an option are the same: 3 is 3.0, and true is not 1."""
    return bool(one == other and isinstance(one, bool) == isinstance(other, bool))


def _converted(value: Any) -> Any:
    """A parsed value without Hydra's marks of what stood in quotes."""
    return Override._convert_value(value)


def _encoded(value: Any) -> str:
    return Override._get_value_element_as_str(value)


def _plain(value: Any) -> str:
    return re.sub(r"\\(.)", r"\1", _encoded(value))  # without Hydra's escapes
