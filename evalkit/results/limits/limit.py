"""What a limit is, and the words in which differences are claimed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evalkit.report import numbers
from evalkit.report.document import Column, Item, Listing, Quantity, Table
from evalkit.report.literal import literal
from evalkit.stats import simultaneous
from evalkit.stats.estimate import Estimate

NO_DIFFERENCE = "no difference seen"
LEAST = 6  # units, such as prompts, of which a side must have so many that anything is claimed
ALL_AT_ONCE = "The intervals of this table hold all at once with {level:.0%} confidence (max-T over its rows)."
BUT_UNJUDGED = (
    "The intervals of the rows that are judged hold all at once with {level:.0%} confidence (max-T over them)"
)
OF_ITS_OWN = "; those of rows that are not judged have that confidence one by one, and do not hold together."
NONE_JUDGED = "No row is judged: intervals have {level:.0%} confidence one by one, and do not hold together."
MEANINGLESS = "Random weights: {names}. What is said here shows what would be said, and nothing about any model."


@dataclass(frozen=True)
class Limit:
    """One limit of a model.

    Attributes:
        name: of its place on a page: small letters and hyphens.
        title: a heading.
        said: what was measured, in sentences that can stand in a model card.
        tables: the same in numbers.
        notes: what a reader must know of the numbers.
    """

    name: str
    title: str
    said: Sequence[str]
    tables: Sequence[Table | Listing] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class OfModel:
    """The limits of a model of a record.

    Attributes:
        about: of what clips of the model, and on how many prompts of what, they were measured.
        level: confidence of intervals.
        random: networks and models with random weights.
        notes: what could not be measured, and why.
    """

    model: str
    about: str
    level: float
    random: Sequence[str]
    limits: Sequence[Limit]
    notes: Sequence[str] = ()

    @property
    def warning(self) -> str:
        """Empty, or that random weights are among what was measured."""
        names = literal(", ".join(self.random))
        return MEANINGLESS.format(names=names) if names else ""


@dataclass(frozen=True)
class Difference:
    """How a metric of some prompts differs from what they are compared with.

    Attributes:
        who: the group, the language or the point.
        metric, title: the metric.
        higher_is_better: None if neither is.
        n, of: numbers of prompts of both sides.
        units, of_units: numbers of what is independent on both sides: prompts, or what prompts belong together in.
        value, other: of both sides.
        estimate, influence: of the difference; None where there is none, for the reason in `note`.
        share: whether values are shares, which sentences write in percent.
        more: further cells of its row.
    """

    who: str
    metric: str
    title: str
    higher_is_better: bool | None
    n: int
    of: int
    units: int
    of_units: int
    value: float
    other: float
    estimate: Estimate | None
    influence: np.ndarray | None
    share: bool = False
    note: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def few(self) -> bool:
        """Whether a side has too few units."""
        return min(self.units, self.of_units) < LEAST

    @property
    def judged(self) -> bool:
        """Whether enough is known of it that something may be claimed."""
        return self.estimate is not None and not self.few and math.isfinite(self.estimate.bounds(0.025)[0])


@dataclass(frozen=True)
class Claim:
    """A difference with what may be said of it.

    Attributes:
        low, high: of the interval that holds together with all others; of a difference that is not judged, its own
            interval, of which nothing is claimed.
        p: adjusted; NaN where it is not judged.
        verdict: "worse", "better", "higher", "lower" or `NO_DIFFERENCE`; empty where it is not judged.
    """

    difference: Difference
    low: float
    high: float
    p: float
    verdict: str

    @property
    def value(self) -> float:
        """The difference; NaN where there is none."""
        return self.difference.estimate.value if self.difference.estimate is not None else math.nan

    @property
    def worst(self) -> float:
        """By how much it may be worse at most; 0 or more, NaN where that is not known or neither way is worse."""
        higher = self.difference.higher_is_better
        if higher is None:
            return math.nan
        bound = -self.low if higher else self.high
        return bound if math.isnan(bound) else max(0.0, bound)

    @property
    def item(self) -> Item:
        """Its row of a listing."""
        one = self.difference
        found = {
            "who": one.who, "title": one.title, "n": one.n, "of": one.of, "units": one.units,
            "of_units": one.of_units, "value": one.value, "other": one.other,
            "difference": self.value, "difference_low": self.low, "difference_high": self.high, "p": self.p,
            "verdict": self.verdict, "note": one.note, "higher": one.higher_is_better, **one.more,
        }  # fmt: skip
        if math.isfinite(self.high - self.low):
            found["difference_places"] = numbers.places(self.high - self.low)
        column = Column(one.metric, one.title, numbers.ARROWS[one.higher_is_better])
        return Item({**found, "metric": column}, {**found, "metric": one.metric})

    def said(self) -> str:
        """The difference with its interval, such as "0.05 [0.02, 0.08]", without a sign."""
        sign = -1 if self.value < 0 else 1
        low, high = (amount(end, self.difference.share, "") for end in sorted((sign * self.low, sign * self.high)))
        return f"{self.amount(abs(self.value))} [{low}, {high}]"

    def amount(self, value: float) -> str:
        """Write a difference of this metric."""
        return amount(value, self.difference.share, " percentage points")


def few(unit: str) -> str:
    """Why a difference is not judged.

    Args:
        unit: what prompts belong together in, such as "caption"; "prompt" where they do not.
    """
    return f"fewer than {LEAST} {unit}s: not judged"


def all_at_once(found: Sequence[Claim], level: float) -> str:
    """What the intervals of a table are, of which some rows may have one of their own."""
    if not any(one.verdict for one in found):
        return NONE_JUDGED.format(level=level)
    if any(not one.verdict and math.isfinite(one.low) for one in found):
        return BUT_UNJUDGED.format(level=level) + OF_ITS_OWN
    return ALL_AT_ONCE.format(level=level)


def claims(differences: Sequence[Difference], level: float) -> list[Claim]:
    """Say of each of some differences whether it is one, so that all that is said holds at once.

    Those of which too little is known are not judged, and do not count for the others.
    """
    judged = [number for number, one in enumerate(differences) if one.judged]
    influences = [influence for number in judged if (influence := differences[number].influence) is not None]
    estimates = [estimate for number in judged if (estimate := differences[number].estimate) is not None]
    drawn = simultaneous.largest(np.array(influences)) if judged else np.zeros(1)
    bounds = dict(zip(judged, simultaneous.intervals(estimates, level, drawn), strict=True))
    adjusted = dict(zip(judged, simultaneous.adjusted([one.p() for one in estimates], drawn), strict=True))
    found = []
    for number, one in enumerate(differences):
        if number in bounds:
            low, high = bounds[number]
            found.append(Claim(one, low, high, adjusted[number], verdict(low, high, one.higher_is_better)))
        else:
            low, high = one.estimate.interval(level) if one.estimate is not None else (math.nan, math.nan)
            found.append(Claim(one, low, high, math.nan, ""))
    return found


def verdict(low: float, high: float, higher_is_better: bool | None) -> str:
    """What an interval of a difference allows to claim."""
    if not (low > 0 or high < 0):
        return NO_DIFFERENCE
    if higher_is_better is None:
        return "higher" if low > 0 else "lower"
    return "better" if (low > 0) == higher_is_better else "worse"


def of_metric(found: Sequence[Claim], other: str, quotes: bool = False) -> str:
    """Say of a metric what is worse and better than something, and by how much others are worse at most.

    Args:
        found: claims of one metric, of which all are judged.
        other: what they are compared with, such as "the English originals".
        quotes: whether names stand in quotation marks, as those of groups may be any words.
    """

    def named(one: Claim) -> str:
        return quoted(one.difference.who) if quotes else one.difference.who

    parts = list[str]()
    for word in ("worse", "better", "higher", "lower"):
        own = sorted((one for one in found if one.verdict == word), key=lambda one: -abs(one.value))
        if own:
            than = "" if parts else f" than {other}"
            parts.append(f"{word}{than} in {listed([f'{named(one)} (by {one.said()})' for one in own])}")
    same = [one for one in found if one.verdict == NO_DIFFERENCE]
    if same:
        last = max(same, key=lambda one: one.worst)
        most = "" if math.isnan(last.worst) else f", at most {last.amount(last.worst)} worse"
        most += f" ({literal(named(last))})" if most and stands_out(last, same) else ""
        where = listed([named(one) for one in same])
        parts.append(f"no difference {'' if parts else f'from {other} '}was seen in {where}{most}")
    return f"{found[0].difference.title}: {'; '.join(parts)}."


def stands_out(last: Claim, same: Sequence[Claim]) -> bool:
    """Whether the one that may be worst is another than all of several, as their numbers are written."""
    return len({one.amount(one.worst) for one in same}) > 1


def amount(value: float, share: bool = False, unit: str = " %") -> str:
    """Write a number of a sentence: shares in percent, others with three decimals, or as many as show two digits.

    Args:
        unit: behind shares; differences of shares are in percentage points.
    """
    if math.isnan(value):
        return numbers.NONE
    text = f"{100 * value:z.1f}{unit}" if share else f"{value:z,.{numbers.places(value)}f}"
    return text.replace("-", "−")


def percent(value: float, low: float, high: float) -> str:
    """Write a share with its interval, such as "5.0 % [3.1 %, 8.2 %]"; without one where it is not known."""
    said = amount(value, True)
    return said if math.isnan(low) else f"{said} [{amount(low, True)}, {amount(high, True)}]"


def listed(names: Sequence[str], most: int = 8) -> str:
    """Write names as a list within a sentence, of many the first."""
    shown = [literal(name) for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def quoted(name: str) -> str:
    """A name in quotation marks."""
    return f'"{name}"'


def listing(
    who: str, other: str, found: Sequence[Claim], title: str, unit: str, more: Sequence[Quantity] = (), **said: Any
) -> Listing:
    """The table of some claims.

    Args:
        who: what rows are named by, such as "language".
        other: what they are compared with, such as "English".
        unit: what prompts belong together in, as in `few`; how many there are is a column where these are others.
        more: further quantities.
        said: intro and notes.
    """
    together = any(
        (one.difference.units, one.difference.of_units) != (one.difference.n, one.difference.of) for one in found
    )
    units = [Quantity("units", f"{unit}s", "count"), Quantity("of_units", f"{unit}s of {other}", "count")]
    columns = [
        [Quantity("who", who, "word")],
        [Quantity("metric", "metric", "word")],
        [Quantity("verdict", "verdict", "verdict")],
        [Quantity("n", "n", "count"), Quantity("of", f"n of {other}", "count")],
        *([units] if together else []),
        [Quantity("value", "value", "number"), Quantity("other", other, "number")],
        [Quantity("difference", "difference", "signed"), Quantity("difference", "interval", "interval")],
        *([one] for one in more),
        [Quantity("note", "note", "word")],
    ]
    return Listing(columns, [one.item for one in found], title=title, **said)
