"""docs/uncertainty.md and its figure, from what `benchmarks.interval_coverage` has measured."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

JSON = Path("results/benchmarks/coverage.json")
TEXT = Path("docs/uncertainty.md")
PLOT = Path("docs/coverage.png")

Row = dict[str, Any]

INTRODUCTION = """\
# How sure a number is

`python -m benchmarks.interval_coverage` writes this file. Intervals have prompts as their units: the clips of a
prompt belong together. Here clips are drawn from known distributions many times, and it is counted how often the
{level:.0%} interval holds what it should.

| score | interval | in `evalkit/stats` |
|---|---|---|
| means over clips: KLD, CLAP score, chroma, … | Student's t, or Hall's transformation where wider | `means.py` |
| shares of clips: silence, clipping, mono, vocals, … | Clopper and Pearson's, for clustered clips | `means.py` |
| distances of sets: FAD, FAD∞, KAD, MAD, Inception Score | bootstrap over prompts | `bootstrap.py` |

![FAD's bias and the intervals' coverage over the number of clips](coverage.png)
"""

MEANS = """\
## Means over clips

Of skewed values a symmetric interval misses the mean on one side: values of which a few are large, such as
divergences, are mostly too small in a small sample. Compared were, on the same samples: Student's t alone; the
percentiles of {resamples:,} resamples, widened for few clips (Hesterberg 2015), BCa (Efron 1987), widened likewise;
the bootstrap-t; and **evalkit's**, the wider at either end of Student's t and Hall's transformation (Hall 1992),
which corrects it for the skewness of the sample. It needs no resamples and no seed, and is the only one that is
nowhere under Student's t. The bootstrap-t comes near, but loses where values have heavy tails on both sides, and is
erratic for very few clips. What remains: of 12 values with σ = 1 nothing in the sample may tell that large ones
exist.

*Wider* is the mean width of evalkit's interval by that of Student's. Means over items (frames, segments) are ratios
of sums, and are linearised.
"""

SAME = """\
Where all clips have the same value, the sample says nothing of others but that they are rare: the interval goes as
far as other prompts may, in the share 1 - (α/2)^(1/n), with values at the metric's bounds. Without bounds there is no
interval, and a note says so.
"""

SHARES = """\
## Shares of clips

A metric whose clips each have 0 or 1, the bounds that it declares, is a share. Coverage is exact here, over shares
from 0.001 to 0.5. **Clopper and Pearson's** is the only one that keeps its word at every share: of rare things, which
is what these metrics look for, Wilson's and Jeffreys' hold the truth far less often than they say. Its price is width
at few clips. 0 of 12 is [0, {none:.3f}].
"""

CLUSTERED = """\
Several clips of one prompt (here {samples}) fall silent together or not at all, so they count for fewer independent
ones, as many as the variance between prompts says (Korn and Graubard 1998), but no fewer than there are prompts. With
no success there is no variance to tell, and prompts count. *Alike* is the correlation of two clips of a prompt; *as
independent* takes all clips as if it were 0.
"""

FAD = """\
## FAD

Two Gaussians of total variance 1, the same ones or unlike ones; {windows} windows per clip; windows of one clip,
and a clip and its reference, are correlated ({alike:g}). {resamples} resamples.

- **FAD is too large at few clips**, the more so the more dimensions there are: compare *expected* (the
  mean of FAD over many samples of this size) with *population* (FAD of the two Gaussians). Two FADs are
  comparable only at the same number of clips; FAD∞ extrapolates.
- **The interval is about the expected value at this number of clips**, as is the published FAD. *Covers
  expected* is how often it holds it: near or above the level up to 100 clips. At 1,000 clips so few trials
  say little; compare a quarter of the mean width with the standard deviation. Where two sets are nearly
  the same it is too wide, because a resample's FAD has a variance of its own that does not vanish with
  the distance: a claim that FAD differs is then safe, not sharp.
- **It is not about the population's FAD**: *covers population* shows how badly it would do there. *Less
  bias* is the same interval less the bias that the resamples show. It repairs what can be repaired, and
  that is not enough where clips are fewer than dimensions.
- **Many dimensions take long**: of 500 clips of ten windows, on one core, a resample takes 0.18 s in 768
  (`fad_mert`, `fad_passt`) and 0.52 s in 1,024 (`fad_muq`), so that 1,000 take 3 and 9 minutes; of 100 such
  clips 0.05 s ([bootstrap_wide_cpu.json](../results/benchmarks/bootstrap_wide_cpu.json)). Cores share them.
  `uncertainty.resamples=200` takes a fifth, and leaves values as they are; intervals' ends then depend more
  on the draws.
"""

FAD_INF = """\
## FAD∞

The same Gaussians; a clip and its reference correlate by 0.5 (*paired*) or by 0.98 (*almost the same clips*, such as
another rendering of the same music). *FAD's bias* is what FAD has too much, *bias* what is left in FAD∞. Its interval
is about the population's FAD, of infinitely many clips. There is no value where the windows of all clips are worth
fewer than twice as many independent ones as they have dimensions, of which the smallest sets here have a little more.
"""

WAYS = """\
Ways to extrapolate, all from all clips, halves, thirds and quarters (*disjoint*: from halves on), {dimensions}
dimensions, {clips} clips: mean error ± standard deviation. Published FAD∞ (Chong and Forsyth 2020 for FID, Gui et al.
2024) is the line through parts of the generated clips against a large set that has nothing to do with them, here of
ten times as many clips (*separate*). Against the paired references (*generated*) it falls below the truth the more
alike the pairs are. Parts of both sets by the same prompts (*both*) do not; parts that share no prompt (*disjoint*)
lose half of the clips. A line leaves bias, since FAD is not one; **evalkit's** is the parabola.
"""

KAD = """\
## KAD

{dimensions} dimensions, the same Gaussians, {resamples} resamples; how often the interval holds the expected value.
KAD's estimate is without bias if windows are independent; those of one clip are alike, so it is too large at few
clips as FAD is (*same* is 0 in the population). Like FAD's its interval is too wide where the sets are nearly the
same.
"""


def table(head: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> list[str]:
    """A table in Markdown, of which `left` columns are words and the others are numbers."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * left + "---:|" * (len(head) - left)]
    return [*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows), ""]


def figures(row: Row, digits: int, *columns: str) -> list[str]:
    """Some columns of a row, with so many digits after the point."""
    return [f"{row[column]:.{digits}f}" for column in columns]


def text(record: Row) -> str:
    """docs/uncertainty.md."""
    resamples = record["resamples"]
    lines = [INTRODUCTION.format(level=record["level"])]
    if "means" in record:
        lines += [MEANS.format(resamples=resamples["means"])]
        ways = ("covers", "student", "percentiles", "bca", "bootstrap_t")
        lines += table(
            ["Values", "Clips", "**evalkit**", "Student's t", "Percentiles", "BCa", "Bootstrap-t", "Wider", "Trials"],
            (
                [r["values"], f"{r['clips']:,}", *figures(r, 3, *ways), *figures(r, 2, "wider"), r["trials"]]
                for r in record["means"]
            ),
        )
        lines += [SAME]
    if "shares" in record:
        lines += [SHARES.format(none=1 - ((1 - record["level"]) / 2) ** (1 / 12))]
        lines += table(
            ["Interval", "Clips", "Least coverage", "at a share of", "Mean coverage", "Mean width"],
            (
                [r["way"], f"{r['clips']:,}", *figures(r, 3, "least", "worst_share", "mean", "width")]
                for r in record["shares"]
            ),
        )
        lines += [CLUSTERED.format(samples=record["clustered"][0]["samples"])]
        lines += table(
            ["Prompts", "Alike", "Share", "**evalkit**", "As independent", "Mean width"],
            (
                [*(r[k] for k in ("clips", "alike", "share")), *figures(r, 3, "covers", "as_independent", "width")]
                for r in record["clustered"]
            ),
            left=0,
        )
    if "fad" in record:
        about = {"windows": record["windows_per_clip"], "alike": record["correlation"], "resamples": resamples["fad"]}
        lines += [FAD.format(**about)]
        lines += table(
            [
                *("Sets", "Dimensions", "Clips", "Population", "Expected", "Standard deviation", "Mean width"),
                *("Covers expected", "Covers population", "… less bias", "Trials"),
            ],
            (
                [
                    *(r["sets"], r["dimensions"], f"{r['clips']:,}"),
                    *figures(r, 4, "population", "expected", "standard_deviation", "width"),
                    *figures(r, 2, "covers_expected", "covers_population", "covers_population_less_bias"),
                    r["trials"],
                ]
                for r in record["fad"]
            ),
        )
    if "fad_inf" in record:
        lines += [FAD_INF]
        lines += table(
            [
                *("Sets", "", "Dimensions", "Clips", "Population", "FAD's bias", "Bias", "Standard deviation"),
                *("Mean width", "Covers population", "Trials"),
            ],
            (
                [
                    *(r["sets"], r["bound"], r["dimensions"], r["clips"]),
                    *figures(r, 4, "population", "fad_bias", "bias", "standard_deviation", "width"),
                    *figures(r, 2, "covers"),
                    r["trials"],
                ]
                for r in record["fad_inf"]
            ),
            left=2,
        )
        first = record["ways"][0]
        lines += [WAYS.format(dimensions=first["dimensions"], clips=first["clips"])]
        names = ["generated, line", "separate, line", "disjoint, line", "both, line", "both, parabola"]
        lines += table(
            ["Sets", "", *names[:-1], f"**{names[-1]}**"],
            (
                [r["sets"], r["bound"]] + [f"{r['bias'][n]:+.4f} ± {r['standard_deviation'][n]:.4f}" for n in names]
                for r in record["ways"]
            ),
            left=2,
        )
    if "kad" in record:
        lines += [KAD.format(dimensions=record["kad"][0]["dimensions"], resamples=resamples["fad"])]
        lines += table(
            ["Sets", "Clips", "Expected", "Standard deviation", "Mean width", "Covers expected", "Trials"],
            (
                [
                    *(r["sets"], r["clips"]),
                    *figures(r, 4, "expected", "standard_deviation", "width"),
                    *figures(r, 2, "covers"),
                    r["trials"],
                ]
                for r in record["kad"]
            ),
        )
    from benchmarks import clusters_report, mad_report  # here, because they build on this module

    lines += mad_report.section(mad_report.read())
    lines += clusters_report.coverage(clusters_report.read())
    minutes = ", ".join(f"{name} {seconds / 60:.1f}" for name, seconds in record["cpu"].items())
    return "\n".join(lines) + (
        f"\nA coverage of {record['level']} measured in T trials has a standard error of √(0.0475/T): 0.007 for 1,000, "
        f"0.015 for 200, {math.sqrt(0.0475 / 20):.3f} for 20.\nMinutes of one core: {minutes} "
        f"({record['machine']['cpu']}).\n"
    )


def plot(record: Row) -> None:
    """FAD's bias, and both coverages, over the number of clips."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), constrained_layout=True)
    settings = list(dict.fromkeys((r["dimensions"], r["sets"]) for r in record["fad"]))
    colours = dict(zip(dict.fromkeys(d for d, _ in settings), ("tab:blue", "tab:orange", "tab:green"), strict=True))
    styles = dict(zip(dict.fromkeys(name for _, name in settings), (":", "--", "-"), strict=True))
    for number, (d, name) in enumerate(settings):
        rows = [r for r in record["fad"] if (r["dimensions"], r["sets"]) == (d, name)]
        n, style, colour = [r["clips"] for r in rows], styles[name], colours[d]
        left.plot(n, [r["expected"] - r["population"] for r in rows], style, color=colour, marker="o", ms=3)
        covers, errors = [r["covers_expected"] for r in rows], [math.sqrt(0.0475 / r["trials"]) for r in rows]
        place = [clips * 1.04**number for clips in n]  # side by side
        middle.errorbar(place, covers, errors, ls=style, color=colour, marker="o", ms=3, label=f"{d}, {name}")
    left.set(xscale="log", yscale="log", xlabel="clips", title="FAD: bias (total variance of a set: 1)")
    middle.set(
        xscale="log", xlabel="clips", ylim=(0.6, 1.08), title="FAD: coverage of the expected value, ± 1 standard error"
    )
    middle.legend(fontsize=7, title="dimensions, sets", title_fontsize=7, ncols=3, loc="lower right")
    for number, kind in enumerate(dict.fromkeys(r["values"] for r in record["means"])):
        rows, colour = [r for r in record["means"] if r["values"] == kind], f"C{number}"
        right.plot([r["clips"] for r in rows], [r["covers"] for r in rows], "o-", color=colour, ms=3, label=kind)
        right.plot([r["clips"] for r in rows], [r["student"] for r in rows], ":", color=colour, lw=1)
    right.set(xscale="log", xlabel="clips", ylim=(0.75, 1.01), title="Means: coverage (dotted: Student's t alone)")
    right.legend(fontsize=6, loc="lower right")
    for axes in (middle, right):
        axes.axhline(record["level"], color="black", lw=0.8)
    figure.savefig(PLOT, dpi=110)


def write_text() -> None:
    """Write the document."""
    TEXT.write_text(text(json.loads(JSON.read_text("utf-8"))), "utf-8")


def write() -> None:
    """Write the document and its figure."""
    write_text()
    plot(json.loads(JSON.read_text("utf-8")))
