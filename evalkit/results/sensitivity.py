"""Which metric notices what: music that was made worse step by step, and what each metric says of it.

`Sensitivity.load()` reads the table that comes with evalkit, data/sensitivity.csv, or one of the same columns that
`python -m benchmarks.sensitivity` has made with other weights. A row is one metric at one strength of one degradation:

    metric       name, as in metric=NAME
    title        what tables call it
    kind         of the metric: the same for `fad` and for FAD on other features
    encoder      kind of the encoder of its features
    weights      "trained", "random", or "none" for an encoder that has no weights
    direction    what is better: "lower", "higher", or "same" where neither is
    degradation  what was done to the music, or "another rendering" where nothing was
    step         1 for the least strength of the degradation, and so on; of another rendering, which of several
    strength     in `unit`
    unit         such as "Hz"; empty where a strength has none
    n            prompts that were compared
    clean        value of the clean clips
    value        value of the degraded clips
    difference   of the two, corrected for bias where that is possible
    low, high    ends of its paired interval; empty where there is none
    level        of the interval
    note         why there is no difference or no interval
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from evalkit.errors import EvalkitError, reason, unknown
from evalkit.results.frames import typed
from evalkit.results.gate import Direction

SHIPPED = Path(__file__).parent.parent / "data" / "sensitivity.csv"
COLUMNS = {
    "metric": "str", "title": "str", "kind": "str", "encoder": "str", "weights": "str", "direction": "str",
    "degradation": "str", "step": "int64", "strength": "float64", "unit": "str", "n": "int64", "clean": "float64",
    "value": "float64", "difference": "float64", "low": "float64", "high": "float64", "level": "float64",
    "note": "str",
}  # fmt: skip
DESCRIBED = ["metric", "title", "kind", "encoder", "weights", "direction"]  # columns that say what a metric is
AGAIN = "another rendering"  # of the clean clips' music, as a degradation: what is seen in it is a false alarm

Weights = Literal["trained", "random", "none"]
Seen = Literal["worse", "better", "other", ""]  # "other": changed, where neither direction is better


@dataclass(frozen=True)
class Probed:
    """A metric, as it was measured.

    Attributes:
        name: as in metric=NAME.
        kind, encoder: the kinds of the metric and of the encoder of its features.
        weights: what the encoder computed with: "none" is for one that has no weights.
    """

    name: str
    title: str
    kind: str
    encoder: str
    weights: Weights
    direction: Direction


@dataclass(frozen=True)
class Strength:
    """What a metric says of clips that were degraded by so much.

    Attributes:
        step: 1 for the least strength that there is of the degradation, also where it was not measured.
        strength: in the unit of the degradation.
        clean, value: of the clean and of the degraded clips.
        difference, low, high: of the two, and its paired interval; NaN where there is none.
        seen: whether the interval excludes 0, and on which side of it the difference lies by the metric's direction.
        note: why there is no difference or no interval.
    """

    step: int
    strength: float
    n: int
    clean: float
    value: float
    difference: float
    low: float
    high: float
    level: float
    seen: Seen
    note: str

    @property
    def judged(self) -> bool:
        """Whether it is known if there is a difference: there is an interval, or the value has stayed the same."""
        return math.isfinite(self.low) or math.isfinite(self.high) or self.value == self.clean


@dataclass(frozen=True)
class Response:
    """What a metric says of one degradation, from the least strength to the greatest."""

    metric: Probed
    degradation: str
    unit: str
    strengths: Sequence[Strength]

    @property
    def noticed(self) -> tuple[Seen, ...]:
        """What counts as having noticed that clips are worse: where no direction is better, any change does."""
        return ("other",) if self.metric.direction == "same" else ("worse",)

    @property
    def judged(self) -> bool:
        """Whether it is known if the degradation is noticed: one strength is, or all were judged."""
        return any(one.seen in self.noticed for one in self.strengths) or all(one.judged for one in self.strengths)

    @property
    def blind(self) -> bool:
        """Whether no strength is noticed, as far as that was judged."""
        return self.judged and not any(one.seen in self.noticed for one in self.strengths)

    @property
    def least(self) -> Strength | None:
        """The least strength from which on every one is noticed; None where the greatest is not."""
        found = None
        for one in reversed(self.strengths):
            if one.seen not in self.noticed:
                break
            found = one
        return found

    @property
    def rewarded(self) -> Sequence[Strength]:
        """The strengths at which degraded clips are called better than clean ones."""
        return [one for one in self.strengths if one.seen == "better"]

    @property
    def monotone(self) -> bool | None:
        """Whether values move one way, and never back, from each strength to the next.

        None for fewer than two strengths, where a value is missing, and where nothing moves.
        """
        values = [one.value for one in self.strengths]
        steps = [after - before for before, after in itertools.pairwise(values)]
        if not any(steps) or not all(map(math.isfinite, steps)):
            return None
        return min(steps) >= 0 or max(steps) <= 0


@dataclass(frozen=True)
class Sensitivity:
    """All metrics and all degradations that were measured, each in the order of the table.

    Attributes:
        again: of each metric what it says of other renderings of the clean music, where "seen" is a false alarm.
    """

    metrics: Sequence[Probed]
    degradations: Sequence[str]
    responses: Sequence[Response]
    again: Sequence[Response]

    @classmethod
    def load(cls, path: str | Path = SHIPPED) -> Sensitivity:
        """Read a table. Raises EvalkitError for a file that cannot be read, and for rows that are no such table."""
        try:
            frame = pd.read_csv(path, keep_default_na=False, na_values={c: [""] for c in COLUMNS if _number(c)})
            return cls.of(typed(frame, COLUMNS))
        except KeyError as error:
            raise EvalkitError(f"'{path}' is no table of sensitivities: {reason(error)}") from error
        except (OSError, ValueError) as error:
            raise EvalkitError(f"the table of sensitivities '{path}' cannot be read: {reason(error)}") from error

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Sensitivity:
        """Take the rows of a table. Raises EvalkitError for values that a column cannot have, and for a row twice."""
        for column, allowed in (("weights", get_args(Weights)), ("direction", get_args(Direction))):
            for given in frame[column].unique():
                if given not in allowed:
                    raise unknown(f"value of the column {column}", given, allowed)
        keys = ["metric", "degradation", "step"]
        if frame.duplicated(keys).any():
            twice = frame.loc[frame.duplicated(keys), keys].iloc[0]
            raise EvalkitError(f"the table of sensitivities has {', '.join(map(str, twice))} twice")
        metrics: dict[str, Probed] = {}
        for name, *about in frame[DESCRIBED].drop_duplicates().itertuples(index=False, name=None):
            if name in metrics:
                raise EvalkitError(f"the table of sensitivities describes '{name}' in two ways")
            metrics[name] = Probed(name, *about)
        responses: list[Response] = []
        for (name, degradation), rows in frame.groupby(["metric", "degradation"], sort=False):
            metric = metrics[str(name)]
            strengths = [_strength(row, metric.direction) for _, row in rows.sort_values("step").iterrows()]
            responses.append(Response(metric, str(degradation), str(rows["unit"].iloc[0]), strengths))
        return cls(
            list(metrics.values()),
            [str(one) for one in frame["degradation"].unique() if one != AGAIN],
            [one for one in responses if one.degradation != AGAIN],
            [one for one in responses if one.degradation == AGAIN],
        )

    def response(self, metric: str, degradation: str) -> Response | None:
        """What a metric says of a degradation; None where that was not measured."""
        found = (one for one in self.responses if one.metric.name == metric and one.degradation == degradation)
        return next(found, None)

    def false_alarms(self, metric: str) -> tuple[int, int]:
        """In how many other renderings of the clean music a metric sees anything, and of how many."""
        strengths = [one for response in self.again if response.metric.name == metric for one in response.strengths]
        return sum(bool(one.seen) for one in strengths), len(strengths)


def seen(direction: Direction, low: float, high: float) -> Seen:
    """Which way a difference goes for certain; "" where its interval has 0 in it, or there is none."""
    if not (low > 0 or high < 0):
        return ""
    if direction == "same":
        return "other"
    return "better" if (low > 0) == (direction == "higher") else "worse"


def _strength(row: pd.Series[Any], direction: Direction) -> Strength:
    numbers = {name: float(row[name]) for name in ("strength", "clean", "value", "difference", "low", "high", "level")}
    side = seen(direction, numbers["low"], numbers["high"])
    return Strength(step=int(row["step"]), **numbers, n=int(row["n"]), seen=side, note=str(row["note"]))


def _number(column: str) -> bool:
    return COLUMNS[column] == "float64"
