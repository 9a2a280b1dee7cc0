"""What is said of the power of a comparison: the document that every form of it is made from."""

from __future__ import annotations

import math

from evalkit.report.document import Column, Document, Item, Listing, Quantity
from evalkit.report.numbers import absent, count, places
from evalkit.results.comparison_text import DIRECTIONS
from evalkit.results.power import Known, Power
from evalkit.stats.power import MOST

SIZES = (50, 200, 1000, 5521)  # numbers of prompts to look at; the last is all of MusicCaps


def document(power: Power) -> Document:
    """Say what a comparison can see and how many prompts its margins need, metric by metric."""
    gate = power.gate
    with_power = f"with power {gate.power:.0%}"
    rows = [_item(known, power) for known in power.metrics]
    return Document(
        title=power.title,
        heading=power.heading,
        warning=power.warning,
        table=Listing(
            columns=[
                [Quantity("name", "metric", "word")],
                [Quantity("value", "measured", "number"), Quantity("n", "n", "count")],
                [
                    Quantity("error", "error", "number", "standard error of the difference of two sides"),
                    Quantity("mde", "sees", "number", f"the smallest difference that is seen {with_power}"),
                ],
                [
                    Quantity("margin", "margin", "number", "by how much the candidate may be worse"),
                    Quantity("needed", "needs", "count", f"prompts for a PASS {with_power} where nothing has changed"),
                ],
                *([Quantity(f"pass_{n}", f"PASS at {count(n)}", "share")] for n in SIZES),
            ],
            rows=rows,
        ),
        notes=[
            f"error: {power.source}",
            *(f"{known.title}: {known.note}" for known in power.metrics if known.note),
            *(
                f"{row.plain['title']}: not even {MOST:,} prompts are enough for this margin"
                for row in rows
                if math.isinf(row.plain["needed"])
            ),
            *_missing(power),
            *(["PASS at n: how likely, of n prompts, where nothing has changed"] if _any_margin(power) else []),
            _intervals(power),
        ],
        plain={"level": gate.level, "power": gate.power, "source": power.source},
    )


def _intervals(power: Power) -> str:
    clusters = any(known.clusters for known in power.metrics)
    over = "clusters of prompts; of more prompts there are as many more clusters" if clusters else "prompts"
    return f"intervals: {power.gate.level:.3g} confidence, over {over}"


def _item(known: Known, power: Power) -> Item:
    gate = power.gate
    needed = known.needed(gate)
    plain = {
        "metric": known.metric,
        "title": known.title,
        "direction": known.direction,
        "value": known.value,
        "n": known.n,
        "error": known.error,
        "mde": known.detectable(gate),
        "margin": known.margin,
        "needed": needed,
        **{f"pass_{n}": known.pass_probability(n, gate) for n in SIZES},
        "note": known.note,
    }
    shown = {
        "name": Column(known.metric, known.title, DIRECTIONS[known.direction]),
        "n": known.n or None,
        "needed": needed if math.isfinite(needed) else None,
        "places": places(plain["error"], plain["mde"], known.margin),
    }
    return Item({**plain, **shown}, plain)


def _missing(power: Power) -> list[str]:
    """Say which metrics the gate needs for a GO that are not here."""
    here = {known.metric for known in power.metrics}
    limits = power.gate.metrics.items()
    names = [name for name, limit in limits if name not in here and not limit.optional and limit.tier != "advisory"]
    return [f"the gate asks for {', '.join(names)} too: without a value there is no GO"] if names else []


def _any_margin(power: Power) -> bool:
    return any(not absent(known.margin) for known in power.metrics)
