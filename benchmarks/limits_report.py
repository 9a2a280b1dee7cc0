"""The section "Error rates" of docs/limits.md, from what `benchmarks.limits` has measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import sections
from benchmarks.gate_report import rate
from benchmarks.interval_coverage_report import table

JSON = Path("results/benchmarks/limits.json")
TEXT = Path("docs/limits.md")
MOST = 0.05  # of tables in which an interval misses

Row = dict[str, Any]

INTRODUCTION = """\
`python -m benchmarks.limits` writes this section. Values are simulated whose truth is known, and evalkit's own
functions say what differs; intervals of {level:.0%} are meant. In brackets is what so few trials allow (Clopper and
Pearson); what lies above 5 % beyond that is **bold**, as one row in 40 would be by chance.
"""

GAPS = """\
### Differences of groups and languages

A table *misses* where one of its intervals or more does not hold the true difference. Where nothing differs (*true
gap* 0), that is a false claim: this is the family-wise error. Else every second group is shifted by half a standard
deviation. *One by one* are the same intervals without max-T; *as if alone* are those with max-T that take prompts of
one unit, which have half of their variance in common, for independent.
"""

FAD = """\
### FAD at equal n

Clips differ from their references alike in the group and in the rest, which has {rest} prompts (*true gap* none), or
more so in the group. *Naive* is the mean gap of FAD between all prompts of either side, *equal n* that of evalkit.
*Stated* is evalkit's standard error by the one that there is. *Misses* are intervals that do not hold the true gap, 0,
or where there is one the mean of the gaps found, which tests their width alone; *told* are those that leave out 0.
"""

VOCALS = """\
### Rate of vocals

*Misses* are intervals of the corrected rate that do not hold the true one. *Taken for known* is the interval of the
rate that is heard, corrected as if sensitivity and specificity were known exactly. *Not corrected* are trials in which
the detector could not be told from chance.
"""

FOLLOWS = """\
What follows:

- Where nothing differs, something is claimed in {false} of tables, by design and values; one by one it would be in
  {uncorrected}. The most is of {worst}.
- Where groups differ, {some} of tables have an interval that does not hold its true difference.
- What lies far above 5 % is of few prompts with values as skewed as log-normal, σ = 1, of which the largest may not be
  in the sample: claims about such a metric need larger groups.
- With prompts of one unit taken for independent, {apart} of tables would miss.
- FAD of {group} prompts of {dimensions} dimensions is {naive:.3f} larger than that of {rest} by its size alone; at
  equal n the gap is {equal:+.4f}. Of groups that do not differ {told} are said to in 32 dimensions and more, and
  {few_dimensions} in 8, where FAD varies most.
- The corrected rate of vocals misses in {voices} of cases; with the detector's errors taken for known, in {known}.
"""


def lines(record: Row) -> list[str]:
    """The section without its heading."""
    found = [INTRODUCTION.format(level=record["level"])]
    found += [follows(record)] if {"gaps", "fad", "vocals"} <= record.keys() else []
    if "gaps" in record:
        found += [GAPS, *gaps(record["gaps"])]
    if "fad" in record:
        found += [FAD.format(rest=record["rest"]), *fad(record["fad"])]
    if "vocals" in record:
        found += [VOCALS, *vocals(record["vocals"])]
    return [*found, f"Rows are seeded by their settings ({record['machine']['cpu']})."]


def follows(record: Row) -> str:
    """What the tables say, in sentences."""
    none, some = ([row for row in record["gaps"] if bool(row["shift"]) == moved] for moved in (False, True))
    worst = max(none, key=lambda row: row["trials"] - row["held"])
    alone = [1 - row["alone"] / row["trials"] for row in record["gaps"] if row["alone"] is not None]
    equal = [row for row in record["fad"] if row["gap"] == "none"]
    largest = max(equal, key=lambda row: row["naive"])
    rates = [(row, row["trials"] - row["none"]) for row in record["vocals"] if row["trials"] > row["none"]]
    return FOLLOWS.format(
        false=span(missed(none)),
        uncorrected=span([1 - row["uncorrected"] / row["trials"] for row in none]),
        worst=f"{worst['design']}, {worst['values']}",
        some=span(missed(some)),
        apart=span(alone),
        told=span([row["told"] / row["trials"] for row in equal if row["dimensions"] >= 32]),
        few_dimensions=span([row["told"] / row["trials"] for row in equal if row["dimensions"] < 32]),
        voices=span([1 - row["held"] / n for row, n in rates]),
        known=span([1 - row["known"] / n for row, n in rates]),
        **{key: largest[key] for key in ("group", "dimensions", "naive", "rest", "equal")},
    )


def missed(rows: Sequence[Row]) -> list[float]:
    """The share of tables that miss, by row."""
    return [1 - row["held"] / row["trials"] for row in rows]


def span(shares: Sequence[float]) -> str:
    """The least and the greatest of some shares, in percent."""
    low, high = (f"{100 * share:.1f}" for share in (min(shares), max(shares)))
    return f"{low} %" if low == high else f"{low} to {high} %"


def gaps(rows: Sequence[Row]) -> list[str]:
    """A table of designs and values."""

    def cells(row: Row) -> list[Any]:
        n = row["trials"]
        others = [
            f"{100 * (1 - row[key] / n):.0f}" if row[key] is not None else "–" for key in ("uncorrected", "alone")
        ]
        return [row["design"], row["values"], f"{row['shift']:g}", rate(n - row["held"], n, MOST), *others, n]

    head = ["", "Values", "True gap", "Misses, %", "One by one, %", "As if alone, %", "Trials"]
    return table(head, map(cells, rows), left=2)


def fad(rows: Sequence[Row]) -> list[str]:
    """A table of gaps of FAD."""

    def cells(row: Row) -> list[Any]:
        n, sd = row["trials"], row["sd"]
        numbers = [f"{row['naive']:+.4f}", f"{row['equal']:+.4f}", f"{sd:.4f}", f"{row['stated'] / sd:.2f}"]
        told = f"{100 * row['told'] / n:.0f}"
        return [row["gap"], row["dimensions"], row["group"], *numbers, rate(n - row["held"], n, MOST), told, n]

    head = ["True gap", "Dimensions", "Group", "Naive", "Equal n", "Standard deviation", "Stated", "Misses, %"]
    return table([*head, "Told, %", "Trials"], map(cells, rows))


def vocals(rows: Sequence[Row]) -> list[str]:
    """A table of corrected rates."""

    def cells(row: Row) -> list[Any]:
        n = row["trials"] - row["none"]
        shares = [f"{100 * row[key]:.0f}" for key in ("share", "sensitivity", "specificity")]
        sizes = [f"{row[key]:,}" for key in ("clips", "with_voice", "without")]
        known = f"{100 * (1 - row['known'] / n):.1f}" if n else "–"
        none = f"{100 * row['none'] / row['trials']:.1f}"
        held = rate(n - row["held"], n, MOST) if n else "–"
        return [*shares, *sizes, held, known, f"{row['width']:.3f}", none]

    head = ["True, %", "Sensitivity, %", "Specificity, %", "Clips", "With a voice", "Without"]
    return table([*head, "Misses, %", "Taken for known, %", "Width", "Not corrected, %"], map(cells, rows), left=0)


def write() -> None:
    """Write the section into the document."""
    sections.replace(TEXT, lines(json.loads(JSON.read_text("utf-8"))))
