"""The section "Error rates" of docs/sweep.md and its figure, from what `benchmarks.sweeps` has measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import sections
from benchmarks.gate_report import percent, rate
from benchmarks.interval_coverage_report import table

JSON = Path("results/benchmarks/sweeps.json")
TEXT = Path("docs/sweep.md")
PLOT = Path("docs/sweep.png")
NOMINAL = 0.05

Row = dict[str, Any]

INTRODUCTION = """\
`python -m benchmarks.sweeps` writes this section. Points are drawn whose truth is known, or rendered by the
synthesizer, and evalkit's own functions decide (`evalkit/stats/best.py`). In brackets are 95 % binomial intervals
(Clopper and Pearson); what should be at most 5 % is **bold** where its interval lies above. Standard errors are those
of the difference of two points.

What follows from the tables:

- **The best is left out of those that are not worse than it in 5 % of sweeps**, as is said, of normal and of skewed
  values, of few and of many prompts, and of FAD. At 24 points and 50 prompts it is a little more ({many}).
- **FAD of 50 prompts in 128 dimensions is too little** where points differ in variety: what the jackknife leaves of the
  bias lets the less varied ones look better, and the best is left out in {biased}. With 200 prompts
  nothing of it is seen.
- **What it cannot see is what no prompt shows.** Points with a rare fault, which 5 % of prompts have and which costs as
  much as they gain elsewhere, look better than they are on 50 prompts that hold none of it: the best of 6 is then left
  out in {rare_few}, with 200 prompts in {rare_many}. A race whose first rung has 50 prompts drops it as well. So
  **start races at 200 prompts**, and look at `silence_share` and `clipped_clips`.
- **The probability of the Pareto front is right where points differ** by two standard errors or more. Where all are
  about equal it is too sure of itself at both ends: of points that were said to be on it with 95 to 99 %, {sure} are.
- **A race saves 40 to 80 % of the clips** where best and worst differ by a tenth to a half of a clip's standard
  deviation, and next to nothing where they do not, or where few points are worse in *every* objective. It drops the
  truly best in 5 % of races where all are equal, and in next to none where they are not.
- **The best of a sweep is not yet better than the default.** Where all points are equal, the interval on the sweep's
  own seed says so of the winner in up to {same_seed} of sweeps; on a fresh seed it is at most 2.6 % for these prompts.
  Of *other* prompts a fresh seed says less: as far as prompts have favourites among points on every seed, the winner
  was chosen by these prompts, and looks better on them again (up to {fresh}).
"""

BEST = """\
### Not worse than the best

How often the truly best point is left out where **all are equal**, and how many are chosen of points that are 0, 1, 2,
… standard errors apart, and where one is better than all others by 6. Of *neighbours alike* these are the errors of two
neighbours, and points that lie farther apart are told apart less well.
"""

FAD = """\
### FAD

By the jackknife, with shared noise. *Other shapes*: FADs are equal while every third point is less varied by a tenth
and every third by about half, so that plain FADs would differ by their bias; the rate is the highest of the three.
*5 % apart*: each next point's FAD is larger by 5 % of the best's.
"""

FRONT = """\
### Probability of the Pareto front

Points with two or three independent metrics over 200 prompts, whose true values spread by so many standard errors: how
many of those that are said to be on the front with some probability are.
"""

RACES = """\
### Races

Rungs of 50, 200, 1,000 and 5,521 prompts, or without the first ones; margin 0; one of the points, at random, is the
default. The gap is that of the best to the worst in standard deviations of a clip. *Ladder*: even steps; *valley*: a
parabola; *two groups*: half are as good as the best. *Dropped*: a race lost a given one of the truly best; *any*: it
lost any of them, which where many are equal costs nothing.
"""

SEVERAL = """\
#### Several objectives

Three metrics. *Trade-off*: half of the points trade one metric for another, the other half are worse than one of these
in all. *Dropped*: a truly Pareto-optimal point.
"""

FADS = """\
#### FAD

In 8 dimensions, every window drawn, rungs of 50, 200, 1,000 and 2,000 prompts. The gap is in shares of the best's FAD,
and for the other metric, log-normal values with shared noise, in standard deviations of a clip.
"""

SYNTH = """\
#### The synthesizer

{points} points of `noise` and `detune`, {raced} of {prompts} prompts at random, rungs of {sizes} and all, VGGish with
random weights. What is best, or on the front, is what all prompts say.
"""

WINNER = """\
### Better than the default

All points are equal, 200 prompts: how often the interval of the winner's paired difference says that it is better than
the default. *Lasting* is the share of a difference's variance that a prompt keeps on every seed: none is right if all
that differs is the noise of sampling.
"""


def by(rows: Sequence[Row], *names: str) -> dict[tuple[Any, ...], Row]:
    return {tuple(row[name] for name in names): row for row in rows}


def best(record: Row) -> list[str]:
    rows = record["best"]
    found = by(rows, "values", "points", "prompts", "truth")
    prompts = sorted({r["prompts"] for r in rows})

    def cells(setting: tuple[str, int]) -> list[str]:
        equal = [found[(*setting, n, "all equal")] for n in prompts]
        said = [setting[0], str(setting[1])]
        said += [rate(r["left_out"], r["trials"], NOMINAL) for r in equal]
        for truth in ("1 error apart", "clear"):
            row = found.get((*setting, prompts[-1], truth))
            said.append(f"{row['size']:.1f}" if row else "")
        return said

    head = ["Values", "Points", *(f"left out, {n:,} prompts, %" for n in prompts)]
    head += ["chosen, 1 error apart", "chosen, one clear"]
    return [BEST, *table(head, map(cells, dict.fromkeys((r["values"], r["points"]) for r in rows)))]


def fad(record: Row) -> list[str]:
    names = {"equal, other shapes": "other shapes"}

    def cells(row: Row) -> list[str]:
        out = row["left_out"]
        if "by_shape" in row:
            out = max(row["by_shape"].values())
        said = [
            str(names.get(row["truth"], row["truth"])),
            str(row["dimensions"]),
            str(row["points"]),
            f"{row['prompts']:,}",
        ]
        return [*said, rate(out, row["trials"], NOMINAL), f"{row['size']:.1f}", f"{row['trials']:,}"]

    head = ["FADs", "Dimensions", "Points", "Prompts", "left out, %", "chosen", "Trials"]
    return [FAD, *table(head, map(cells, record["fad"]))]


def front(record: Row) -> list[str]:
    spreads = list(dict.fromkeys(r["spread"] for r in record["front"]))
    bins = range(len(record["front"][0]["bins"]))

    def cells(place: int) -> list[str]:
        first = record["front"][0]["bins"][place]
        said = [f"{100 * first['from']:g} to {100 * first['to']:g}"]
        for spread in spreads:
            several = [r["bins"][place] for r in record["front"] if r["spread"] == spread]
            on, points = (sum(b[name] for b in several) for name in ("on", "points"))
            said.append(rate(on, points) if points else "")
        return said

    return [FRONT, *table(["Said, %", *(f"true, spread {s:g}, %" for s in spreads)], map(cells, bins), left=0)]


def pooled(record: Row, spread: float, place: int) -> str:
    """Share of points in a range of probabilities that are truly on the front."""
    several = [r["bins"][place] for r in record["front"] if r["spread"] == spread]
    return f"{percent(sum(b['on'] for b in several), sum(b['points'] for b in several))} %"


def races(record: Row) -> list[str]:
    single = [r for r in record["races"] if len(r["values"]) == 1]

    def cells(row: Row) -> list[str]:
        rungs = " → ".join(f"{n:,}" for n in row["rungs"][:1])
        said = [row["values"][0], row["truth"], f"{row['gap']:g}", str(row["points"]), rungs]
        return [*said, *lost(row), f"{row['left']:.1f}", f"{100 * row['saved']:.0f}"]

    def lost(row: Row) -> list[str]:
        return [rate(row["best_dropped"], row["with_best"], NOMINAL), percent(row["any_dropped"], row["trials"])]

    head = ["Values", "Truth", "Gap", "Points", "First rung", "dropped, %", "any, %", "left", "clips saved, %"]
    lines = [RACES, *table(head, map(cells, single), left=2)]
    several = [r for r in record["races"] if len(r["values"]) > 1]
    lines += [
        SEVERAL,
        *table(["Truth", "Gap", "Points", "dropped, %", "left", "clips saved, %"], map(at_odds, several)),
    ]
    if "fad_races" in record:

        def of_fad(row: Row) -> list[str]:
            also = "FAD and another" if row["also"] else "FAD"
            said = [also, row["truth"], f"{row['gap']:g}", str(row["points"])]
            return [*said, *lost(row), f"{row['left']:.1f}", f"{100 * row['saved']:.0f}"]

        head = ["Objectives", "Truth", "Gap", "Points", "dropped, %", "any, %", "left", "clips saved, %"]
        lines += [FADS, *table(head, map(of_fad, record["fad_races"]), left=2)]
    return lines


def at_odds(row: Row) -> list[str]:
    dropped = rate(row["optimal_dropped"], row["optimal"], NOMINAL)
    about = [row["truth"], f"{row['gap']:g}", str(row["points"])]
    return [*about, dropped, f"{row['left']:.1f}", f"{100 * row['saved']:.0f}"]


def synth(record: Row) -> list[str]:
    about = record["synth_run"]
    sizes = " and ".join(map(str, about["sizes"]))
    points = len(about["noise"]) * len(about["detune"])
    lines = [SYNTH.format(points=points, raced=about["raced"], prompts=about["prompts"], sizes=sizes)]

    def cells(row: Row) -> list[str]:
        names = {"fad": "FAD", "chroma": "chroma"}
        said = [" and ".join(names[one] for one in row["objectives"]), str(row["front"])]
        said += [rate(row["best_dropped"], row["trials"], NOMINAL)]
        said += [rate(row["front_dropped"], row["trials"] * row["front"], NOMINAL)]
        return [*said, f"{row['left']:.1f}", f"{100 * row['saved']:.0f}", str(row["trials"])]

    head = ["Objectives", "on the front", "best FAD dropped, %", "of the front dropped, %", "left", "clips saved, %"]
    return [*lines, *table([*head, "Races"], map(cells, record["synth"]))]


def winner(record: Row) -> list[str]:
    def cells(row: Row) -> list[str]:
        these = row["on_these_prompts"]
        counts = (row["same_seed"], row["fresh"], these["same_seed"], these["fresh"])
        said = (rate(count, row["trials"]) for count in counts)
        return [str(row["points"]), f"{row['lasting']:g}", *said]

    head = ["Points", "Lasting", "same seed, %", "fresh seed, %", "same seed, these prompts, %"]
    return [WINNER, *table([*head, "fresh seed, these prompts, %"], map(cells, record["winner"]), left=0)]


PARTS: dict[str, Callable[[Row], list[str]]] = {
    "best": best,
    "fad": fad,
    "front": front,
    "races": races,
    "synth": synth,
    "winner": winner,
}


def lines(record: Row) -> list[str]:
    """The section without its heading."""
    settings = by(record["best"], "values", "points", "prompts", "truth")
    many = settings["normal, shared noise", 24, 50, "all equal"]
    biased = by(record["fad"], "dimensions", "prompts", "truth")[128, 50, "equal, other shapes"]
    rare = [settings["rare fault", 6, n, "all equal"] for n in (50, 200)]
    few, enough = (f"{percent(r['left_out'], r['trials'])} %" for r in rare)
    most = max(r["same_seed"] / r["trials"] for r in record["winner"])
    said = INTRODUCTION.format(
        many=f"{rate(many['left_out'], many['trials'])} %",
        biased=f"{rate(biased['by_shape']['same'], biased['trials'])} %",
        rare_few=few,
        rare_many=enough,
        sure=pooled(record, 0.5, 6),
        fresh=f"{100 * max(r['fresh'] / r['trials'] for r in record['winner']):.0f} %",
        same_seed=f"{100 * most:.0f} %",
    )
    found = [said, "![What a race saves, and how often a winner is wrongly said to be better](sweep.png)\n"]
    for name, part in PARTS.items():
        found += part(record) if name in record else []
    return found


def plot(record: Row) -> None:
    """What a race saves by the gap of the points, and the winner's curse."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    rows = [r for r in record["races"] if r["values"] == ["normal, shared noise"] and r["points"] == 12]
    equal = next(r for r in rows if r["truth"] == "all equal")
    for truth in dict.fromkeys(r["truth"] for r in rows if r["gap"]):
        several = [r for r in rows if r["truth"] == truth]
        left.plot(
            [0.005, *(r["gap"] for r in several)], [100 * r["saved"] for r in (equal, *several)], "o-", label=truth
        )
    left.set(
        xscale="log", xlabel="best to worst, standard deviations of a clip (left end: all equal)",
        ylabel="% of clips saved", ylim=(0, 100), title="A race of 12 points: 50, 200, 1,000, 5,521 prompts",
    )  # fmt: skip
    left.legend(fontsize=8)
    for lasting in dict.fromkeys(r["lasting"] for r in record["winner"]):
        several = [r for r in record["winner"] if r["lasting"] == lasting]
        points = [r["points"] for r in several]
        right.plot(
            points, [100 * r["fresh"] / r["trials"] for r in several], "o-", label=f"fresh seed, lasting {lasting:g}"
        )
        if not lasting:
            rates = [100 * r["same_seed"] / r["trials"] for r in several]
            right.plot(points, rates, "x:", color="black", label="the sweep's own seed")
    right.axhline(2.5, color="black", lw=0.8)
    right.set(
        xlabel="points, all equal", ylabel="% of sweeps", ylim=(0, 25), xticks=[2, 6, 12, 24],
        title="The winner is said to be better than the default",
    )  # fmt: skip
    right.legend(fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(PLOT, dpi=110)


def write() -> None:
    """Write the section and its figure."""
    record = json.loads(JSON.read_text("utf-8"))
    sections.replace(TEXT, lines(record))
    plot(record)
