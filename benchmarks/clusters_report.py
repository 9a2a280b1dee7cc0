"""What docs/uncertainty.md and docs/gate.md say of clusters, from what `benchmarks.clusters` has measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.gate_report import rate
from benchmarks.interval_coverage_report import figures, table

JSON = Path("results/benchmarks/clusters.json")

Row = dict[str, Any]

COVERAGE = """\
## Prompts that belong together

Song Describer has several captions of 230 of its 706 tracks, and a set in nine languages has nine translations of each
caption: what is uncertain is uncertain over **clusters**. Where prompts name theirs (the column `cluster`), intervals
draw clusters, and `n` still counts prompts. Without clusters nothing is computed otherwise.

- Means over clips: each cluster's sum and count first, then errors and degrees of freedom of Bell and McCaffrey (2002),
  which hold for few clusters, and for unlike ones; of Student's t and Hall's the wider.
- Shares of clips: Clopper and Pearson's, for as many clips as the variance between clusters says (Korn and Graubard
  1998), with those degrees of freedom; where fewer than 5 clusters have, or lack, something, for no more than there are
  clusters, since their variance tells hardly anything then.
- Distances of sets: the bootstrap draws clusters; its interval is widened as for as many clusters of one size as tell
  as much. FAD∞ divides clips into parts whatever their clusters: what bias that leaves was not measured.

`python -m benchmarks.clusters` measures how often the {level:.0%} interval then holds the truth, and how often it would
if prompts were drawn. Clusters have as many prompts as Song Describer's tracks have captions ({captions});
706 of them are all 1,106. *Alike* is the correlation of two clips of a cluster.
"""

FEW = """\
**Prompts that are alike, but are drawn one by one, give intervals that leave the truth out up to {worst:.0f} % of the
time** instead of 5 %, however many there are. Of few clusters intervals are wide, and a note says so below 10 of them,
or below as many as tell as much as 10 of one size. One cluster has no interval.
"""

FAD = """\
FAD, {dimensions} dimensions, {windows} windows a clip, two Gaussians that are near, {resamples} resamples; prompts of a
cluster share their reference. *Distinct*: each reference counts once, as Stability AI takes them
(`distinct_references` in a protocol). There *by prompt* draws prompts and references as two sets. *Expected* is the
mean over many samples of so many clusters, which the interval is about.
"""

GATE = """\
## Prompts that belong together

Where prompts name their cluster, sides change places in whole clusters, the jackknife leaves out whole clusters, means
have cluster-robust errors, and `least_n` counts clusters. Shares have Tango's interval for as many independent prompts
as the cluster-robust error says, with Student's t in place of the normal quantiles, and the p-value of swaps in place
of McNemar's. Here nothing has changed, the margin is 0, and the values of a cluster's prompts are *alike*. BREACH is
one-sided, nominally {tail:.1%} at most; *test* is of any difference, nominally {both:.0%} ({swaps} swaps). Clusters
have as many prompts as Song Describer's tracks have captions (`python -m benchmarks.clusters`).
"""

GATE_FAD = """\
The same of FAD ({dimensions} dimensions, {windows} windows a clip; prompts of a cluster share their reference, which
counts once where it is *distinct*). Swaps of whole clusters are exact, so that what lies above {both:.0%} there is
chance, as in one of so many rows it may be:
"""


def read() -> Row:
    """What was measured; nothing where it was not yet."""
    return json.loads(JSON.read_text("utf-8")) if JSON.is_file() else {}


def coverage(record: Row) -> list[str]:
    """The section of docs/uncertainty.md."""
    if not {"scores", "fad"} <= record.keys():
        return []
    captions = ", ".join(f"{n}: {number:,}" for n, number in record["captions"].items())
    worst = 100 * (1 - min(row["by_prompt"] for row in record["scores"]))
    ways = ("by_cluster", "by_prompt")
    widths = tuple(f"{way}_width" for way in ways)
    about = {name: record[name] for name in ("dimensions", "windows", "resamples")}
    return [
        COVERAGE.format(level=record["level"], captions=captions),
        *table(
            ["Values", "Clusters", "Alike", "**By cluster**", "By prompt", "Wider", "Trials"],
            (
                [
                    *(r["values"], r["clusters"], r["alike"], *figures(r, 3, *ways)),
                    *(f"{r[widths[0]] / r[widths[1]]:.2f}", f"{r['trials']:,}"),
                ]
                for r in record["scores"]
            ),
        ),
        FEW.format(worst=worst),
        FAD.format(**about),
        *table(
            [
                *("References", "Clusters", "Alike", "Expected", "Standard deviation"),
                *("**By cluster**", "By prompt", "Width", "Width by prompt", "Trials"),
            ],
            (
                [
                    "distinct" if r["distinct"] else "of each prompt",
                    *(r["clusters"], r["alike"], *figures(r, 4, "expected", "standard_deviation")),
                    *(*figures(r, 3, *ways), *figures(r, 4, *widths), r["trials"]),
                ]
                for r in record["fad"]
            ),
        ),
        minutes(record, "scores", "fad"),
    ]


def gate(record: Row) -> list[str]:
    """The section of docs/gate.md."""
    if not {"gate", "gate_fad"} <= record.keys():
        return []
    both = 1 - record["level"]
    columns = ("by_cluster_breach", "by_prompt_breach", "by_cluster_test", "by_prompt_test")
    nominal = (both / 2, both / 2, both, both)

    def cells(row: Row) -> list[str]:
        found = zip(columns, nominal, strict=True)
        return [rate(row[key], row["trials"], level) if key in row else "" for key, level in found]

    ways = ("by cluster", "by prompt")
    head = [*(f"{what} {way}, %" for what in ("BREACH", "Test") for way in ways), "Trials"]
    return [
        GATE.format(tail=both / 2, both=both, swaps=record["swaps"]),
        *table(
            ["Values", "Clusters", "Alike", *head],
            ([r["values"], r["clusters"], r["alike"], *cells(r), r["trials"]] for r in record["gate"]),
        ),
        GATE_FAD.format(both=both, **{name: record[name] for name in ("dimensions", "windows")}),
        *table(
            ["References", "Clusters", "Alike", *head],
            (
                ["distinct" if r["distinct"] else "of each prompt", r["clusters"], r["alike"], *cells(r), r["trials"]]
                for r in record["gate_fad"]
            ),
        ),
        minutes(record, "gate", "gate_fad"),
    ]


def minutes(record: Row, *parts: str) -> str:
    """How long parts took, and on which machine."""
    used = ", ".join(f"{name} {record['cpu'][name] / 60:.1f}" for name in parts)
    return f"Minutes of one core for clusters: {used} ({record['machine']['cpu']}).\n"
