"""What a table of sensitivities says, in words and as tables: what metrics notice, and what they are blind to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from evalkit.report.document import Column, Item, Listing, Quantity
from evalkit.report.numbers import ARROWS, NONE
from evalkit.results.gate import HIGHER_IS_BETTER
from evalkit.results.sensitivity import Probed, Response, Sensitivity

State = Literal["seen", "partly", "better", "blind", "unjudged", "absent"]

WEIGHTS = {"trained": "trained", "none": "none", "random": "RANDOM"}  # as tables call them
BETTER, UNEVEN, THIN = "▲", "~", "*"  # marks behind a strength
ALL = "all"  # a strength without a unit
SHARE = "of"  # the first word of units of shares, such as "of each clip"
MARKS = {
    "thin": "*: weaker ones were not measured.",
    "partly": "In brackets: seen there, but not at the greatest strength.",
    "better": f"{BETTER}: at some strength degraded clips are called better than clean ones.",
    "uneven": f"{UNEVEN}: values go back and forth as the strength grows.",
    "unjudged": "?: no interval, so that nothing can be said.",
    "absent": f"{NONE}: not measured.",
}


@dataclass(frozen=True)
class Answer:
    """How a metric answers a degradation, in short.

    Attributes:
        state: "seen" from a strength on; "partly", at some strength but not at the greatest; "better", never seen as
            worse, and at some strength called better; "blind", never seen; "unjudged", without intervals; or "absent".
        step: which strength that is, 0 for the least; None where none is.
        at: that strength in words; empty where none is.
        better: whether any strength is called better than clean clips.
        uneven: whether values go back and forth.
        thin: whether weaker strengths were not measured of it, so that it may see these too.
    """

    state: State
    step: int | None = None
    at: str = ""
    better: bool = False
    uneven: bool = False
    thin: bool = False

    @property
    def text(self) -> str:
        """What a cell of a table says."""
        if self.state == "absent":
            return NONE
        if self.state == "unjudged":
            return "?"
        if self.state == "blind":
            return "blind"
        at = f"{self.at}{THIN if self.thin else ''}"
        marks = (BETTER if self.better else "") + (UNEVEN if self.uneven else "")
        return " ".join(filter(None, [f"({at})" if self.state == "partly" else at, marks]))


Answers = Mapping[tuple[str, str], Answer]  # by metric and degradation


def answers(table: Sensitivity) -> Answers:
    """Sum up what each metric says of each degradation, in the order of the table."""
    ladder = strengths(table)
    found = {(metric.name, name): Answer("absent") for metric in table.metrics for name in table.degradations}
    for one in table.responses:
        if (key := (one.metric.name, one.degradation)) in found:
            found[key] = _answer(one, ladder[one.degradation])
    return found


def _answer(response: Response, ladder: Sequence[str]) -> Answer:
    noticed = [one for one in response.strengths if one.seen in response.noticed]
    state: State
    if response.least is not None:
        state, which = "seen", response.least
    elif noticed:
        state, which = "partly", noticed[0]
    elif response.rewarded:
        state, which = "better", response.rewarded[0]
    else:
        return Answer("blind" if response.judged else "unjudged")
    at = amount(which.strength, response.unit)
    step = ladder.index(at)
    thin = which is response.strengths[0] and step > 0
    return Answer(state, step, at, bool(response.rewarded), response.monotone is False, thin)


def amount(strength: float, unit: str) -> str:
    """Write a strength with the first word of its unit: "20 dB" of "dB SNR".

    Shares, whose unit begins with "of", are in percent, and Hz in kHz from 1,000 on. A strength without a unit is only
    that it was done: "all".
    """
    first = unit.partition(" ")[0]
    if first == SHARE:
        return f"{100 * strength:.4g} %"
    if first == "Hz" and strength >= 1000:
        return f"{strength / 1000:.4g} kHz"
    return f"{strength:.4g} {first}".replace("-", "−") if first else ALL


def rest(unit: str) -> str:
    """What `amount` leaves out of a unit: "SNR" of "dB SNR", and "of each clip" as it is."""
    first, _, others = unit.partition(" ")
    return unit if first == SHARE else others


def named(degradation: str, unit: str) -> str:
    """Name a degradation, with what `amount` leaves out of its unit."""
    return ", ".join(filter(None, [degradation, rest(unit)]))


def units(table: Sensitivity) -> dict[str, str]:
    """The unit of each degradation, by its name."""
    return {one.degradation: one.unit for one in table.responses}


def strengths(table: Sensitivity) -> dict[str, list[str]]:
    """The strengths of each degradation in words, from the least on: those that any metric was measured at."""
    found: dict[str, dict[int, str]] = {}
    for one in table.responses:
        found.setdefault(one.degradation, {}).update(
            (each.step, amount(each.strength, one.unit)) for each in one.strengths
        )
    return {name: [said for _, said in sorted(own.items())] for name, own in found.items()}


def among(table: Sensitivity, metrics: Mapping[str, str]) -> Sensitivity:
    """Some metrics of a table, with those of trained weights that compute the same as others without such.

    The strengths of all others stay, so that each has its place among them.

    Args:
        metrics: names, each with the kind of its metric, which is empty where it is not known.
    """
    kinds = dict(metrics)
    for one in table.metrics:
        if one.name in metrics:
            kinds[one.name] = one.kind if one.weights == "random" else ""
    same = set(kinds.values()) - {""}
    chosen = [one for one in table.metrics if one.name in metrics or (one.weights == "trained" and one.kind in same)]
    names = {one.name for one in chosen}
    there = {one.degradation for one in table.responses if one.metric.name in names}
    return replace(table, metrics=chosen, degradations=[one for one in table.degradations if one in there])


def column(metric: Probed) -> Column:
    """A metric as tables name it."""
    return Column(metric.name, metric.title, ARROWS[HIGHER_IS_BETTER[metric.direction]])


def matrix(table: Sensitivity, title: str = "") -> Listing:
    """Each metric's least strength of each degradation that is seen, a row for each metric."""
    own = units(table)
    keys = {name: f"degradation_{number}" for number, name in enumerate(table.degradations, 1)}
    columns = [Quantity("metric", "metric", "word"), Quantity("weights", "weights", "word")]
    columns += [Quantity(key, named(name, own[name]), "word") for name, key in keys.items()]
    every = answers(table)
    rows = []
    for metric in table.metrics:
        said = {name: every[metric.name, name].text for name in keys}
        cell: dict[str, Any] = {"metric": column(metric), "weights": WEIGHTS[metric.weights]}
        cell |= {keys[name]: text for name, text in said.items()}
        rows.append(Item(cell, {"metric": metric.name, "weights": metric.weights, **said}))
    there = {mark for one in every.values() for mark in _marked(one)}
    notes = [said for mark, said in MARKS.items() if mark in there]
    return Listing([[one] for one in columns], rows, title, notes=notes)


def _marked(one: Answer) -> set[str]:
    """Which of `MARKS` explain what a cell says."""
    return {one.state, *(mark for mark in ("better", "uneven", "thin") if getattr(one, mark))}


def ladder(table: Sensitivity, title: str = "") -> Listing:
    """The strengths of each degradation, from the least to the greatest."""
    own, every = units(table), strengths(table)
    rows = [{"degradation": named(name, own[name]), "strengths": ", ".join(every[name])} for name in table.degradations]
    columns = [[Quantity("degradation", "degradation", "word")], [Quantity("strengths", "strengths", "word")]]
    return Listing(columns, [Item(row, row) for row in rows], title)


def missed(table: Sensitivity, title: str = "") -> Listing:
    """What each metric is blind to, and when it is wrong: a row for each metric."""
    every = answers(table)
    rows = []
    for metric in table.metrics:
        seen, of = table.false_alarms(metric.name)
        row = {
            "weights": WEIGHTS[metric.weights],
            "blind": ", ".join(blind_to(every, metric.name)),
            "better": ", ".join(rewards(every, metric.name)),
            "alarms": f"{seen} of {of}" if of else "",
        }
        rows.append(Item({"metric": column(metric), **row}, {"metric": metric.name, **row}))
    columns = [
        Quantity("metric", "metric", "word"),
        Quantity("blind", "blind to", "word"),
        Quantity("better", "calls better", "word", "what it calls better than clean clips at some strength"),
        Quantity("weights", "weights", "word"),
        Quantity("alarms", "false alarms", "word", "how many other renderings of the clean music it tells from it"),
    ]
    return Listing([[one] for one in columns], rows, title)


def blind_to(every: Answers, metric: str) -> list[str]:
    """The degradations that a metric sees at no strength."""
    return [name for (own, name), one in every.items() if own == metric and one.state in ("blind", "better")]


def rewards(every: Answers, metric: str) -> list[str]:
    """The degradations of which a metric calls some strength better than clean clips."""
    return [name for (own, name), one in every.items() if own == metric and one.better]


def notices(every: Answers, metric: str) -> list[str]:
    """What a metric sees, each with the least strength, as "low-pass from 4 kHz"."""
    found = []
    for (own, name), one in every.items():
        if own == metric and one.state in ("seen", "partly"):
            found.append(name if one.at == ALL else f"{name} {'from' if one.state == 'seen' else 'at'} {one.at}")
    return found
