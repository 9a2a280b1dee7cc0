"""What docs/uncertainty.md says of MAD, from what `benchmarks.mad` has measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.interval_coverage_report import figures, table

JSON = Path("results/benchmarks/mad.json")

Row = dict[str, Any]

MAD = """\
## MAD

`python -m benchmarks.mad` measures what follows, of clips that are single vectors of {dimensions} dimensions: of
the same Gaussians, or around {genres} places, of which generated clips leave out a quarter (*clustered*); a clip
and its reference correlate by 0.5 but for *halves*. Clusters are as many as tens of clips, so that **values are
comparable at the same number of clips alone**: of sets that differ MAD grows with it (*expected*, below), and two
halves of one set are not at 0, however many clips there are.
"""

ORDERS = """\
**One clustering is not enough.** k-means finds other clusters from another start, and so from another order of the
files, or of thousands of clips from another rounding. The value of mad-metric, which starts once, moves by the
standard deviation *of a start*. *Of one* is that of its value over other clips, *of {starts}* that of the mean
over {starts} starts, which evalkit takes: its expected value is the same.
"""

COVERAGE = """\
**Other clips have other clusters.** Where all resamples have the clusters of the sample, intervals hold the
expected value in as little as {least_kept:.0%} of trials (*clusters kept*). In evalkit's each resample takes the
components and clusters of one of 20 other resamples: {least:.0%} at least (*covers*; {resamples} resamples). Where
two sets are nearly the same it is too wide, as that of FAD is. It is about the value expected at this number of
clips. Where prompts belong together these 20 do not draw clusters of prompts: what that leaves out was not
measured. Where every cluster has equal shares of both sets, or none has both, MAD has no interval, and a note says
so.
"""

PAIRS = """\
**Two sides are compared in the same clusters**, those of both sides' clips and the references together: the
difference is not corrected for bias, and its error is a jackknife's ({groups} groups). *Above* and *below*: how
often the {level:.0%} interval of the difference lies above and below 0, nominally {tail:.1%} each where both
models are equal, which is all rows but *worse* (near, with a mean {worse:g} times as far off); *none*: how often
there is no interval, since no prompt moves the difference; *swaps* is how often their test says that there is a
difference, nominally {both:.0%} ({swaps} swaps). *Apart* is the same where each side has clusters of its own,
corrected for bias as FAD is: it finds differences between equal models in up to {apart:.0%} of trials, and the
values in two tables are each of such clusters. Groups of prompts are compared as parts of all prompts in the same
way; the values of slices are each of clusters of their own.
"""


def read() -> Row:
    """What was measured; empty before anything was."""
    found: Row = json.loads(JSON.read_text("utf-8")) if JSON.exists() else {}
    return found


def section(record: Row) -> list[str]:
    """The lines of the section; none before all of it was measured."""
    if not {"halves", "orders", "coverage", "pairs"} <= record.keys():
        return []
    tail = (1 - record["level"]) / 2
    lines = [MAD.format(genres=12, **record)]
    lines += table(
        ["Halves of one set, clips in each", "Mean", "Largest", "Trials"],
        ([f"{r['clips']:,}", *figures(r, 4, "mean", "largest"), r["trials"]] for r in record["halves"]),
        left=0,
    )
    lines += [ORDERS.format(starts=record["clusterings"])]
    lines += table(
        ["Sets", "Clips", "Of a start", "Of one", f"Of {record['clusterings']}", "Trials"],
        (
            [r["sets"], r["clips"], *figures(r, 4, "of_start", "of_single", "of_mean"), r["trials"]]
            for r in record["orders"]
        ),
    )
    least = {f"least{end}": min(r[way] for r in record["coverage"]) for end, way in (("", "covers"), ("_kept", "kept"))}
    lines += [COVERAGE.format(**least, **record)]
    lines += table(
        ["Sets", "Clips", "Expected", "Standard deviation", "Mean width", "**Covers**", "Clusters kept", "Trials"],
        (
            [
                *(r["sets"], f"{r['clips']:,}"),
                *figures(r, 4, "expected", "standard_deviation", "width"),
                *figures(r, 2, "covers", "kept"),
                r["trials"],
            ]
            for r in record["coverage"]
        ),
    )
    equal = [r for r in record["pairs"] if r["sets"] != "worse"]
    apart = max((r["apart_worse"] + r["apart_better"]) / r["trials"] for r in equal)
    lines += [PAIRS.format(tail=tail, both=2 * tail, apart=apart, **record)]
    lines += table(
        [
            *("Models", "Clips", "Standard deviation", "Error", "Above", "Below", "None", "Swaps"),
            *("Apart: standard deviation", "Above", "Below", "Trials"),
        ],
        (
            [
                *(r["sets"], r["clips"]),
                *figures(r, 4, "standard_deviation", "error"),
                *(_rate(r, key) for key in ("worse", "better", "none", "swaps")),
                *figures(r, 4, "apart_standard_deviation"),
                *(_rate(r, key) for key in ("apart_worse", "apart_better")),
                r["trials"],
            ]
            for r in record["pairs"]
        ),
    )
    minutes = ", ".join(f"{name} {seconds / 60:.1f}" for name, seconds in record["cpu"].items())
    return [*lines, f"Minutes of one core for MAD: {minutes} ({record['machine']['cpu']}).\n"]


def _rate(row: Row, key: str) -> str:
    return f"{row[key] / row['trials']:.3f}"
