"""What is said of how metrics agree with people: the document that every form of it is made from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from evalkit.agreeing.agree import Agreement, Row
from evalkit.agreeing.matching import Metric
from evalkit.agreeing.systems import JUDGED_BY, scaled, scaled_difference
from evalkit.report.document import Column, Document, Item, Listing, Quantity
from evalkit.report.numbers import ARROWS, absent, counted, number, p_value
from evalkit.stats.rank_agreement import LEAST, NAMES, accuracy

TOO_FEW = "TOO FEW SYSTEMS"
LABELS = {"spearman": "Spearman's ρ", "kendall": "Kendall's τ-b", "accuracy": "pairs"}
PAIRS = "share of pairs that people set apart which the metric orders alike; 0.5 is chance"
OVER = {"clips": "all clips", "clips within prompts": "within prompts"}
NO_DIRECTION = "neither direction is better: positive where higher values are rated higher"
SHOWN = 12  # comparisons of metrics on a terminal, the surest first
VAGUE = 10  # systems, with fewer of which intervals cover most of what there is


def document(found: Agreement) -> Document[Listing]:
    """Say how every metric agrees with what people said, and which of two agrees better."""
    random = [row["metric"].title for row in found.metrics if row["metric"].random]
    return Document(
        title=f"Agreement with people: {found.opinions.score}",
        outcome="" if found.claimed else TOO_FEW,
        reasons=list(_reasons(found)),
        heading=_heading(found),
        warning=f"Random weights: {', '.join(random)}. Their numbers mean nothing." if random else "",
        table=_metrics(found),
        notes=list(_notes(found)),
        intervals=_intervals(found) if found.claimed and _tested(found) else "",
        more=[*_differences(found), *_clips(found), _systems(found)],
        plain=_plain(found),
    )


def _heading(found: Agreement) -> str:
    said = counted(len(found.opinions.frame), "rating" if found.opinions.method == "rating" else "choice")
    by = f" by {counted(found.raters, 'rater')}" if found.raters else ""
    of = f" for {counted(found.prompts, 'prompt')}" if found.prompts else ""
    return f"{found.opinions.score}: {counted(len(found.systems), 'system')}, {said}{by}{of} ({found.opinions.layout})"


def _reasons(found: Agreement) -> Iterator[str]:
    if not found.claimed:
        yield (
            f"{counted(len(found.systems), 'system')} of the ratings are in the records, and {LEAST} are needed: how a "
            "metric orders so few says nothing of others, so there are no intervals and no verdicts."
        )
        return
    told = [row for row in found.metrics if row["verdict"] in ("agrees", "contradicts")]
    for row in told:
        alike = accuracy(row["values"][NAMES.index("accuracy")])
        verb = "agrees with" if row["verdict"] == "agrees" else "contradicts"
        yield (
            f"{row['metric'].title} {verb} people: it orders {alike:.0%} of pairs of systems as they do, "
            f"p {_p(row['p_holm'])}."
        )
    if not _tested(found):
        yield "Of no metric can anything be claimed: below the table is why."
    elif not told:
        yield "No metric is told from one that has nothing to do with the ratings: more systems may."
    titles = {row["metric"].name: row["metric"].title for row in found.metrics}
    for row in found.differences:
        if row["better"]:
            other = row["second"] if row["better"] == row["first"].name else row["first"]
            yield f"{titles[row['better']]} agrees better with people than {titles[other.name]}, p {_p(row['p_holm'])}."


def _tested(found: Agreement) -> int:
    """How many metrics have a p-value."""
    return sum(not math.isnan(row["p"]) for row in found.metrics)


def _p(value: float) -> str:
    text = p_value(value)
    return text if text.startswith("<") else f"= {text}"


def _quantities(with_bounds: bool = True) -> list[list[Quantity]]:
    columns = []
    for name, label in LABELS.items():
        about = PAIRS if name == "accuracy" else ""
        kind: Any = "number" if name == "accuracy" else "signed"
        bounds = [Quantity(f"{name}_interval", "interval", "interval")] if with_bounds else []
        columns.append([Quantity(name, label, kind, about), *bounds])
    return columns


def _metrics(found: Agreement) -> Listing:
    judged = [row["values"][JUDGED_BY] for row in found.metrics]
    order = [found.metrics[k] for k in sorted(range(len(judged)), key=lambda k: -judged[k] if judged[k] > -2 else 9)]
    return Listing(
        columns=[
            [Quantity("name", "metric", "word")],
            *_quantities(),
            [Quantity("n", "n", "count")],
            [Quantity("p_holm", "p", "p")],
            [Quantity("verdict", "verdict", "verdict")],
        ],
        rows=[_item(row) for row in order],
    )


def _item(row: Row) -> Item:
    metric: Metric = row["metric"]
    plain: Row = {
        **{"metric": metric.name, "title": metric.title, "higher_is_better": metric.higher_is_better, "n": row["n"]},
        **{"p": row["p"], "p_holm": row["p_holm"], "verdict": row["verdict"], "random_weights": metric.random},
    }
    for name, value, (low, high) in zip(NAMES, row["values"], row["bounds"], strict=True):
        scale = (scaled(name, part) for part in (value, low, high))
        plain |= dict(zip((name, f"{name}_interval_low", f"{name}_interval_high"), scale, strict=True))
    plain["note"] = row["note"]
    cell = plain | {"name": Column(metric.name, metric.title, ARROWS[metric.higher_is_better]), "places": 2}
    return Item(cell, plain)


def _differences(found: Agreement) -> Iterator[Listing]:
    """By how much the better of two metrics agrees better."""
    if not found.differences:
        return
    rows = sorted(found.differences, key=lambda row: row["p"])
    more = f" Shown: the surest {SHOWN} of {len(rows):,}; all are in --json." if len(rows) > SHOWN else ""
    yield Listing(
        columns=[
            [Quantity("first_name", "metric", "word"), Quantity("second_name", "less", "word")],
            *_quantities(),
            [Quantity("p_holm", "p", "p")],
            [Quantity("verdict", "verdict", "verdict")],
        ],
        rows=[_compared(row) for row in rows[:SHOWN]],
        title="Which metric agrees better",
        intro=f"Differences of coefficients, on the same ratings.{more}",
        notes=[f"p is of Kendall's τ-b, corrected by Holm's method for {counted(len(rows), 'comparison')}"],
    )


def _compared(row: Row) -> Item:
    """The comparison of two metrics, with the one that agrees better on top."""
    sign = -1.0 if row["values"][JUDGED_BY] < 0 else 1.0
    first, second = (row["first"], row["second"]) if sign > 0 else (row["second"], row["first"])
    plain: Row = {
        **{"first": first.name, "second": second.name, "n": row["n"], "p": row["p"], "p_holm": row["p_holm"]},
        "verdict": "better" if row["better"] else "not told apart",
    }
    for name, value, bounds in zip(NAMES, row["values"], row["bounds"], strict=True):
        low, high = sorted(sign * bound for bound in bounds)
        scale = (scaled_difference(name, part) for part in (sign * value, low, high))
        plain |= dict(zip((name, f"{name}_interval_low", f"{name}_interval_high"), scale, strict=True))
    return Item(plain | {"first_name": first.title, "second_name": f"− {second.title}", "places": 2}, plain)


def _clips(found: Agreement) -> Iterator[Listing]:
    """How metrics order clips: one row per metric and what it is over."""
    rows: dict[tuple[str, str], Row] = {}
    plain: dict[tuple[str, str], Row] = {}
    notes: dict[str, list[str]] = {}
    for row in found.clips:
        metric: Metric = row["metric"]
        key, name = (metric.name, row["over"]), row["coefficient"]
        title = Column(metric.name, metric.title, ARROWS[metric.higher_is_better])
        shown = rows.setdefault(key, {"name": title, "over_said": OVER[row["over"]], "n": row["n"], "places": 2})
        bounds = {name: row["value"], f"{name}_interval_low": row["low"], f"{name}_interval_high": row["high"]}
        shown |= bounds
        about = {"metric": metric.name, "title": metric.title, "over": row["over"], "n": row["n"]}
        plain.setdefault(key, about).update(bounds)
        if row["note"]:
            notes.setdefault(row["note"], []).append(metric.title)
    if rows:
        yield Listing(
            columns=[
                [Quantity("name", "metric", "word"), Quantity("over_said", "over", "word")],
                *_quantities(),
                [Quantity("n", "n", "count")],
            ],
            rows=[Item(shown, plain[key]) for key, shown in rows.items()],
            title="Clips",
            intro="All clips, and those of one prompt: how a metric orders these, whatever prompts are like.",
            notes=[f"{', '.join(dict.fromkeys(titles))}: {note}" for note, titles in notes.items()],
        )


def _systems(found: Agreement) -> Listing:
    rating = found.opinions.method == "rating"
    value = (
        Quantity("value", "rating", "number")
        if rating
        else Quantity("value", "strength", "signed", "logarithm of the strength in a Bradley–Terry model, of mean 0")
    )
    rows = sorted(found.systems, key=lambda row: -row["value"])
    return Listing(
        columns=[
            [Quantity("system", "system", "word")],
            [value],
            [Quantity("n", "ratings" if rating else "choices", "count")],
            [Quantity("raters", "raters", "count"), Quantity("prompts", "prompts", "count")],
            [Quantity("shown_row", "row", "word")],
        ],
        rows=[
            Item(
                {**row, **_unknown(row), "places": 2, "shown_row": row["row"] if row["row"] != row["system"] else ""},
                row,
            )
            for row in rows
        ],
        title="Systems",
    )


def _unknown(row: Row) -> Row:
    """The counts of what the file does not name, and the row of a result where it has another name than the system."""
    return {name: None for name in ("raters", "prompts") if not row[name]} | {
        "shown_row": "" if row["row"] == row["system"] else row["row"]
    }


def _notes(found: Agreement) -> Iterator[str]:
    if found.claimed and _tested(found):
        yield _intervals(found)
        several = f", corrected by Holm's method for {_tested(found)} metrics" if _tested(found) > 1 else ""
        yield (
            f"p: of Kendall's τ-b, by permuting systems{several}; systems count as independent of each other: of "
            "several sizes of one model p is too small"
        )
        if len(found.systems) < VAGUE:
            yield (
                f"with {counted(len(found.systems), 'system')} an interval covers most of what there is: it says what "
                "cannot be told (docs/agree.md)"
            )
    if not absent(found.reliability):
        yield (
            f"reliability of what systems are judged by: {number(found.reliability, 2)} (1: other raters and prompts "
            f"would say the same); a metric that knew the truth would reach a correlation of about "
            f"{number(math.sqrt(found.reliability), 2)}"
        )
    notes: dict[str, list[str]] = {}
    for row in found.metrics:
        said = [row["note"], NO_DIRECTION if row["metric"].higher_is_better is None else ""]
        for note in filter(None, said if found.claimed else said[1:]):
            notes.setdefault(note, []).append(row["metric"].title)
    yield from (f"{', '.join(titles)}: {note}" for note, titles in notes.items())
    yield from found.remarks


def _intervals(found: Agreement) -> str:
    over = ["systems", *(["raters"] if found.raters > 1 else []), *(["prompts"] if found.prompts > 1 else [])]
    named = " and ".join(filter(None, (", ".join(over[:-1]), over[-1])))
    here = " and ".join(over[1:])
    return f"intervals: {found.level:.3g} confidence, over {named}" + (f", for as many {here} as here" if here else "")


def _plain(found: Agreement) -> dict[str, Any]:
    """What machines may want beside the table and the notes, as a JSON-like value."""
    clips: Sequence[Row] = [{**row, "metric": row["metric"].name} for row in found.clips]
    return {
        **{"score": found.opinions.score, "method": found.opinions.method, "layout": found.opinions.layout},
        **{"level": found.level, "resamples": found.resamples, "seed": found.seed, "reliability": found.reliability},
        **{"raters": found.raters, "prompts": found.prompts, "ratings": len(found.opinions.frame)},
        **{"outcome": "" if found.claimed else TOO_FEW, "reasons": list(_reasons(found)), "claimed": found.claimed},
        **{"systems": list(found.systems), "clips": clips},
        "differences": [dict(_compared(row).plain) for row in found.differences],
    }
