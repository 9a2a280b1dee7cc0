"""docs/gate.md and its figure, from what `benchmarks.gate` has measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scipy.special import betaincinv

from benchmarks.interval_coverage_report import table

JSON = Path("results/benchmarks/gate.json")
TEXT = Path("docs/gate.md")
PLOT = Path("docs/gate.png")

Row = dict[str, Any]

INTRODUCTION = """\
# What the gate decides, and how often wrongly

`python -m benchmarks.gate` writes this file. `evalkit compare` says of each metric whether a candidate is worse than
its baseline by more than a margin, and of all together GO, NO-GO or INCONCLUSIVE. Here pairs of a baseline and a
candidate are drawn whose true difference is known, and evalkit's own functions decide (`stats/paired.py`,
`stats/jackknife.py`, `results/verdicts.py`). How it is used: [compare.md](compare.md).

The rule: the damage is the difference, turned so that more is worse. Its {level:.0%} interval decides: all of it at
most the margin is a **PASS**, all of it beyond a **BREACH**, all else INSUFFICIENT_EVIDENCE. So each of the two can be
wrong in {tail:.1%} of comparisons: a BREACH where the damage is just what is allowed, and a PASS where it is just not.
The second is the dangerous one, a false GO. In all tables the truth lies **exactly at the margin**, where both rates
are at their largest (margin 0 where nothing has changed), and what should be at most {tail:.1%} is shown with its
{level:.0%} binomial interval (Clopper and Pearson); a rate whose interval lies above {tail:.1%} is **bold**.

![False verdicts at the margin, and how many prompts a PASS takes](gate.png)
"""

DEFAULTS = """\
## What follows

- **FAD is compared without its bias.** The plain difference of two FADs, at equal numbers of clips, lets a model pass
  that lacks variety: up to all of them with 200 prompts, and still one in six with 5,521. A margin that is a share of
  the FAD as it is measured, which few clips make too large, does the same for all others. evalkit's false PASSes are at
  2.5 % or below, but for chance. With 50 prompts they are far below: the interval then holds what is unsure of the
  baseline and what may be left of its bias. A BREACH of FAD is wrong no more often than it says; one of a share of
  clips up to 3.5 %, since Tango's interval is one for many prompts.
- **`least_n`** is 50 for FAD and its like, and 100 for KLD and CLAP score: where few prompts get much worse, 50 of them
  may hold none, and up to 7 % pass; with 200 it is 2.5 % but for chance. Shares pass next to nothing with so few.
- **Margins**: where nothing has changed, all of MusicCaps (5,521 prompts) gives a PASS of each single metric in 95 % of
  comparisons or more, also if the two models do not share their noise: 5 % of FAD, 0.03 of KLD, 0.005 of CLAP score, a
  hundredth for shares. With 1,000 prompts and shared noise it is 75 % or more. 200 prompts suffice for FAD, and for
  nothing else: take wider margins for so few.
- **`groups`** is 50: fewer make the interval wider, more make it no better.
- **What it cannot say**: all of this is about two checkpoints on prompts like these, and about one look. Two trainings
  of one recipe differ by more than two samples of one checkpoint: give several of each. Run again until it passes, any
  gate passes. The p-values by swapping are of *equal distributions*: two models of equal FAD can differ in other ways,
  and the swaps find that, so that they are evidence beside the interval and decide nothing.
"""

FAD = """\
## FAD

Gaussians in {dimensions} dimensions of total variance 1, {windows} windows a clip, FAD {population:.3f} of infinitely
many clips, which is what the differences are about. Baseline, candidate and reference are alike by the prompt; with
*shared* noise baseline and candidate are alike beyond it, as two checkpoints are that sample from the same noise. The
candidates:

| candidate | what differs |
|---|---|
| same | nothing |
| shifted | the mean lies farther from the reference's |
| wider | all variances are larger |
| less varied | variances are a tenth smaller, and the mean lies farther off |
| collapsed | variances are about half: a little less brings it nearer to the reference, so much less not |

FAD has a bias that an equal number of clips does not cancel, because it depends on the sets: with few clips a set that
lacks variety looks better than it is. **The plain difference** of two published FADs, with the same interval around it,
says so: its wrong verdicts stand beside those of evalkit's difference, which the jackknife corrects (prompts are left
out of both sides and the reference together, in {groups} groups). What the correction may leave, a bias of order 1/n²,
widens the interval: by as much as was taken from the difference, times the larger share that was taken from a value.

*Bias* and *±* (standard deviation) are in percent of the baseline's FAD; *error* is the mean standard error that the
jackknife states, by that standard deviation.
"""

FAD_RELATIVE = """\
A margin that is a share of the baseline's FAD must be one of its FAD without bias: few clips make it larger than it is
({few:.3f} at {least} prompts, for {population:.3f}), and what is allowed with it. And that FAD is measured, too:
evalkit judges whether the candidate's is at most so many times the baseline's as one difference. With the truth at
{margin:.0%} of {population:.3f} and such a share as the margin:
"""

GROUPS = """\
### How many groups

The same differences (*less varied*, 10 % of the baseline's FAD, shared noise) with other numbers of groups. Few groups
cost width, since Student's t has fewer degrees of freedom, and many cost time; the rates are the same.
"""

SHORTCUT = """\
### Whether this is FAD

FAD needs of a group of clips no more than the sums of its windows and of their products, which are drawn from their own
distributions (Bartlett 1933), so that 5,521 clips cost no more than 50. Here is the same from every single window,
through evalkit's FAD; *p* is that of Kolmogorov and Smirnov's test of both being one distribution.
"""

CLIPS = """\
## Means over clips

Paired by prompt; the clips of a prompt are alike by 0.5 with other noise, by 0.9 with shared noise. *All worse*: every
clip is, by the margin on average. *Few much worse*: one prompt in 20 is, by 20 times as much, which differs from all
that the interval assumes: of 50 prompts every 13th set has none of these, and nothing in it can tell that they exist.
"""

SHARES = """\
## Shares of clips

Clips that have a fault, such as silence, or have none; of two clips of a prompt this is alike by 0.3 with other noise,
by 0.8 with shared noise. Tango's interval is one for large samples that holds well in small ones; at single rates it is
a little short.
"""

KAD = """\
## KAD

Gaussians in 8 dimensions, 25 groups; *shifted* by 10 % of the baseline's KAD, whose true value has a closed form.
*Error* is the standard error that the jackknife states, by the true standard deviation.
"""

PASSES = """\
## How many prompts a PASS takes

How often a metric PASSes if nothing has changed. Of the margins, **bold** is the one that ships.
"""

SAVES = """\
## What pairing saves

How many times as many prompts it would take to see the same difference if the two sides were not paired by prompt: the
variance of the difference of two independent sets, by that of the paired one.
"""

WHOLE = """\
## The whole gate

Independent metrics, all critical, margin 0, nothing changed: how often any BREACH is seen, and how often the outcome is
NO-GO, after Holm's correction. A GO needs a PASS of all, so that more metrics make a false GO rarer, not more frequent.
"""

RUNS = """\
## Degradations of the synthesizer

Real runs: {prompts} made-up captions, clips of {seconds} s, features from VGGish with seeded random weights, references
by the same synthesizer. The candidate plays from another seed, so *nothing* is another rendering of the same music. The
gate is the one that ships, of the metrics that were measured ({metrics}); KLD and CLAP score are left out, since
their networks would take hours here. Random subsets of the prompts are compared: the share of NO-GO, and in
parentheses of GO. The last column is which metrics are a BREACH with all {prompts} prompts. Random weights say how a
gate works, not how sensitive real ones are: FAD with them is very sensitive to noise.
"""

SLICES = """\
## A regression in one slice

One instrument, the {instrument}, falls silent, and nothing else has changed. Slices are found by the
maximum over all slices and metrics in the same swaps. *Named*: the group is among those that are significantly worse;
*first*: none has a smaller p-value. *Others*: a group without the instrument in its name is named too, which is true
where it shares prompts with the instrument.
"""

FAMILY = """\
Where nothing has changed anywhere, 14 groups of each {prompts} prompts and three metrics (independent normal,
log-normal and rare faults), 200 swaps: any group is named in {rate} of comparisons (nominal: 5 %).
"""


def bounds(hits: int, trials: int, tail: float = 0.025) -> tuple[float, float]:
    """Clopper and Pearson's interval."""
    low = float(betaincinv(hits, trials - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 1 - tail)) if hits < trials else 1.0
    return low, high


def rate(hits: int, trials: int, nominal: float | None = None) -> str:
    """A rate in percent with its interval; bold where that lies above what it should be at most."""
    low, high = bounds(hits, trials)
    said = f"{100 * hits / trials:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    return f"**{said}**" if nominal is not None and low > nominal else said


def percent(hits: int, trials: int) -> str:
    return f"{100 * hits / trials:.0f}"


NOMINAL = 0.025


def verdicts(row: Row) -> list[str]:
    """How often a row says BREACH and PASS with the truth at the margin."""
    return [rate(row[name], row["trials"], NOMINAL) for name in ("breach", "pass")]


def fad(record: Row) -> list[str]:
    rows, first = record["fad"], record["fad"][0]
    scale = first["baseline"]["population"]
    lines = [FAD.format(groups=record["groups_by_default"], population=scale, **record["gaussians"])]

    def cells(row: Row) -> list[str]:
        plain, trials = row["plain"], row["trials"]
        return [
            row["shape"],
            row["noise"],
            f"{row['margin']:.0%}",
            f"{row['prompts']:,}",
            *verdicts(row),
            *(rate(plain[name], trials, NOMINAL) for name in ("breach", "pass")),
            f"{100 * row['bias'] / scale:+.1f} ± {100 * row['standard_deviation'] / scale:.1f}",
            f"{100 * plain['bias'] / scale:+.1f}",
            f"{row['error'] / row['standard_deviation']:.2f}",
            f"{trials:,}",
        ]

    order = sorted(rows, key=lambda r: (r["shape"] != "same", r["margin"], r["shape"], r["noise"], r["prompts"]))
    lines += table(
        [
            *("Candidate", "Noise", "Truth", "Prompts", "BREACH, %", "PASS, %", "Plain: BREACH, %", "Plain: PASS, %"),
            *("Bias", "Plain: bias", "Error", "Trials"),
        ],
        map(cells, order),
        left=2,
    )
    worst = max((r for r in rows if r["shape"] == "shifted"), key=lambda r: r["baseline"]["raw"])
    about = {"few": worst["baseline"]["raw"], "least": worst["prompts"], "population": scale}
    chosen = [r for r in order if r["shape"] == "shifted" and r["margin"] and r["noise"] == "shared"]
    lines += [FAD_RELATIVE.format(margin=chosen[-1]["margin"], **about)]
    lines += table(
        ["Truth", "Prompts", "FAD of the baseline", "… corrected", "PASS, a share of FAD, %", "evalkit's PASS, %"],
        (
            [
                f"{r['margin']:.0%}",
                f"{r['prompts']:,}",
                *(f"{r['baseline'][name]:.4f}" for name in ("raw", "corrected")),
                *(rate(r["baseline"][f"{name}_pass"], r["trials"], NOMINAL) for name in ("raw", "corrected")),
            ]
            for r in chosen
        ),
        left=0,
    )
    if "groups" in record:
        lines += [GROUPS]
        lines += table(
            ["Prompts", "Groups", "BREACH, %", "PASS, %", "Bias", "Error", "Half of the interval", "Trials"],
            (
                [
                    f"{r['prompts']:,}",
                    r["groups"],
                    *verdicts(r),
                    f"{100 * r['bias'] / scale:+.1f} ± {100 * r['standard_deviation'] / scale:.1f}",
                    f"{r['error'] / r['standard_deviation']:.2f}",
                    f"{100 * r['half_width'] / scale:.1f}",
                    r["trials"],
                ]
                for r in record["groups"]
            ),
            left=0,
        )
    if "shortcut" in record:
        lines += [SHORTCUT]
        lines += table(
            ["Of", "Dimensions", "Prompts", "Every window", "Sums", "p", "Trials"],
            (
                [
                    r["of"],
                    r["dimensions"],
                    r["prompts"],
                    *(f"{r[way][0]:.4f} ± {r[way][1]:.4f}" for way in ("literal", "shortcut")),
                    f"{r['p']:.2f}",
                    r["trials"],
                ]
                for r in record["shortcut"]
            ),
        )
    return lines


def clips(record: Row) -> list[str]:
    lines = [CLIPS]
    found = {(r["values"], r["noise"], r["change"], r["prompts"]): r for r in record["clips"]}
    numbers = list(dict.fromkeys(r["prompts"] for r in record["clips"]))
    settings = list(dict.fromkeys(key[:3] for key in found))
    head = [f"{said}, {n:,} prompts" for n in numbers for said in ("BREACH, %", "PASS, %")]

    def cells(setting: tuple[str, str, str]) -> list[str]:
        rows = [found[(*setting, n)] for n in numbers if (*setting, n) in found]
        return [*setting, *(cell for row in rows for cell in verdicts(row))]

    return [*lines, *table(["Values", "Noise", "Change", *head], map(cells, settings), left=3)]


def shares(record: Row) -> list[str]:
    found = {(r["rate"], r["noise"], r["damage"], r["prompts"]): r for r in record["shares"]}
    numbers = list(dict.fromkeys(r["prompts"] for r in record["shares"]))
    settings = list(dict.fromkeys(key[:3] for key in found))
    head = [f"{said}, {n:,} prompts" for n in numbers for said in ("BREACH, %", "PASS, %")]

    def cells(setting: tuple[float, str, float]) -> list[str]:
        share, noise, damage = setting
        rows = [found[(*setting, n)] for n in numbers if (*setting, n) in found]
        verdict_cells = [cell for row in rows for cell in verdicts(row)]
        return [noise, f"{share:.1%}", f"{damage:.0%}", *verdict_cells]

    return [SHARES, *table(["Noise", "Baseline's rate", "Truth", *head], map(cells, settings))]


def passes(record: Row) -> list[str]:
    """How often nothing having changed is a PASS, by metric, margin and number of prompts."""
    settings: dict[tuple[str, str, str], dict[int, str]] = {}
    scale = record["fad"][0]["baseline"]["population"]
    shipped = record["shipped"]

    def add(title: str, noise: str, margin: str, row: Row, hits: int) -> None:
        settings.setdefault((title, noise, margin), {})[row["prompts"]] = percent(hits, row["trials"])

    for row in record["fad"]:
        if row["shape"] == "same":
            for margin, hits in row["passes"].items():
                add("FAD", row["noise"], named(f"{float(margin) / scale:.0%}", f"{shipped['fad']:.0%}"), row, hits)
    for row in record["clips"]:
        if row["change"] == "same" and row["values"] in ("log-normal, σ = 0.5 (KLD)", "normal (CLAP score)"):
            metric = "kld" if "KLD" in row["values"] else "clap_score"
            for margin, hits in row["passes"].items():
                add(row["values"], row["noise"], named(margin, f"{shipped[metric]:g}"), row, hits)
    for row in record["shares"]:
        if not row["damage"] and row["rate"] in (0.003, 0.03):
            for margin, hits in row["passes"].items():
                title = f"a fault of {row['rate']:.1%}"
                add(title, row["noise"], named(margin, f"{shipped['silence_share']:g}"), row, hits)
    numbers = sorted({n for several in settings.values() for n in several})
    lines = table(
        ["Values", "Noise", "Margin", *(f"{n:,} prompts, %" for n in numbers)],
        ([*setting, *(several.get(n, "") for n in numbers)] for setting, several in settings.items()),
        left=2,
    )
    return [PASSES, *lines]


def named(margin: str, shipped: str) -> str:
    return f"**{margin}**" if margin == shipped else margin


def saves(record: Row) -> list[str]:
    settings: dict[tuple[str, str], dict[int, str]] = {}
    for part, title in (("fad", "shape"), ("clips", "values"), ("shares", "rate")):
        for row in record[part]:
            if "saves" in row:
                name = {"fad": "FAD", "shares": f"a fault of {row.get('rate', 0):.1%}"}.get(part, row[title])
                settings.setdefault((name, row["noise"]), {})[row["prompts"]] = f"{row['saves']:.1f}"
    numbers = sorted({n for several in settings.values() for n in several})
    rows = ([*setting, *(several.get(n, "") for n in numbers)] for setting, several in settings.items())
    return [SAVES, *table(["Values", "Noise", *(f"{n:,} prompts" for n in numbers)], rows, left=2)]


def whole(record: Row) -> list[str]:
    rows = (
        [
            r["metrics"],
            f"{r['prompts']:,}",
            rate(r["uncorrected"], r["trials"]),
            rate(r["no_go"], r["trials"], NOMINAL),
            rate(r["go"], r["trials"]),
            f"{r['trials']:,}",
        ]
        for r in record["whole"]
    )
    return [
        WHOLE,
        *table(["Metrics", "Prompts", "Any BREACH, %", "**NO-GO**, %", "GO, %", "Trials"], rows, left=0),
    ]


def kad(record: Row) -> list[str]:
    rows = (
        [
            r["shape"],
            f"{r['prompts']:,}",
            *verdicts(r),
            f"{r['bias']:+.4f} ± {r['standard_deviation']:.4f}",
            f"{r['error'] / r['standard_deviation']:.2f}",
            f"{r['trials']:,}",
        ]
        for r in record["kad"]
    )
    return [KAD, *table(["Candidate", "Prompts", "BREACH, %", "PASS, %", "Bias", "Error", "Trials"], rows)]


def runs(record: Row) -> list[str]:
    about, rows = record["run"], record["runs"]
    numbers = list(dict.fromkeys(r["prompts"] for r in rows))
    settings = list(dict.fromkeys((r["degraded"], r["strength"]) for r in rows))
    found = {(r["degraded"], r["strength"], r["prompts"]): r for r in rows}

    def cells(setting: tuple[str, str]) -> list[str]:
        several = [found[(*setting, n)] for n in numbers if (*setting, n) in found]
        said = []
        for row in several:
            no, go = (row["outcomes"].get(outcome, 0) for outcome in ("NO-GO", "GO"))
            said.append(f"{percent(no, row['subsets'])} ({percent(go, row['subsets'])})")
        return [*setting, *said, ", ".join(several[-1]["breaches"])]

    head = ["Degraded", "Strength", *(f"{n} prompts, %" for n in numbers), "BREACH"]
    return [RUNS.format(**about), *table(head, map(cells, settings), left=2)]


def slices(record: Row) -> list[str]:
    lines = [SLICES.format(instrument=record["run"]["instrument"])]
    lines += table(
        ["Prompts", "with the instrument", "Named, %", "First, %", "Others, a comparison", "Comparisons"],
        (
            [
                r["prompts"],
                f"{r['with_it']:.0f}",
                percent(r["named"], r["trials"]),
                percent(r["first"], r["trials"]),
                f"{r['others'] / r['trials']:.1f}",
                r["trials"],
            ]
            for r in record["slices"]
            if "named" in r
        ),
        left=0,
    )
    family = [FAMILY.format(rate=rate(r["any"], r["trials"]) + " %", **r) for r in record["slices"] if "any" in r]
    return [*lines, *family]


PARTS = {
    "fad": fad,
    "kad": kad,
    "clips": clips,
    "shares": shares,
    "whole": whole,
    "runs": runs,
    "slices": slices,
}


def text(record: Row) -> str:
    """docs/gate.md."""
    tail = (1 - record["level"]) / 2
    lines = [INTRODUCTION.format(level=record["level"], tail=tail), DEFAULTS]
    for name, part in PARTS.items():
        lines += part(record) if name in record else []
        if name == "shares" and {"fad", "clips", "shares"} <= record.keys():
            lines += [*passes(record), *saves(record)]
    from benchmarks import clusters_report  # here, because it builds on this module

    lines += clusters_report.gate(clusters_report.read())
    minutes = ", ".join(f"{name} {seconds / 60:.1f}" for name, seconds in record["cpu"].items())
    lines += [f"Minutes of one core: {minutes} ({record['machine']['cpu']}).", ""]
    return "\n".join(lines)


def plot(record: Row) -> None:
    """False PASSes at the margin over the number of prompts, and PASSes where nothing has changed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    changed = [r for r in record["fad"] if r["margin"] and r["noise"] == "shared"]
    for number, shape in enumerate(dict.fromkeys(r["shape"] for r in changed)):
        rows = [r for r in changed if r["shape"] == shape]
        for label, style, counts in (
            (f"{shape}: evalkit", "o-", [r["baseline"]["corrected_pass"] for r in rows]),
            (f"{shape}: plain difference, share of the raw FAD", "x:", [r["baseline"]["plain_pass"] for r in rows]),
        ):
            rates = [100 * hits / r["trials"] for hits, r in zip(counts, rows, strict=True)]
            places = [r["prompts"] * 1.03**number for r in rows]
            left.plot(places, [max(rate, 0.05) for rate in rates], style, color=f"C{number}", ms=4, label=label)
    left.axhline(100 * NOMINAL, color="black", lw=0.8)
    left.set(
        xscale="log", yscale="log", xlabel="prompts", ylabel="% of comparisons", ylim=(0.02, 130),
        title="FAD: PASS with the truth at the margin (line: 2.5 %)",
    )  # fmt: skip
    left.legend(fontsize=6, loc="lower center", ncols=2)
    scale = record["fad"][0]["baseline"]["population"]
    for number, noise in enumerate(("other", "shared")):
        rows = [r for r in record["fad"] if r["shape"] == "same" and r["noise"] == noise]
        for margin, style in zip(rows[0]["passes"], ("o-", "s--"), strict=True):
            label = f"margin {float(margin) / scale:.0%}, {noise} noise"
            rates = [100 * r["passes"][margin] / r["trials"] for r in rows]
            right.plot([r["prompts"] for r in rows], rates, style, color=f"C{number}", ms=4, label=label)
    right.set(
        xscale="log", xlabel="prompts", ylabel="% of comparisons", ylim=(-3, 103),
        title="FAD: PASS where nothing has changed",
    )  # fmt: skip
    right.legend(fontsize=8)
    for axes in (left, right):
        axes.set_xticks([50, 200, 1000, 5521], ["50", "200", "1,000", "5,521"])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.savefig(PLOT, dpi=110)


def write_text() -> None:
    """Write the document."""
    TEXT.write_text(text(json.loads(JSON.read_text("utf-8"))), "utf-8")


def write() -> None:
    """Write the document and its figure."""
    write_text()
    plot(json.loads(JSON.read_text("utf-8")))
