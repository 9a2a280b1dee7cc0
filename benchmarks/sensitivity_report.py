"""docs/sensitivity.md and its picture, from what `benchmarks.sensitivity` has measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.interval_coverage_report import table as markdown
from evalkit.report.document import Listing
from evalkit.results.plots.files import encoded
from evalkit.results.plots.plot import WIDE
from evalkit.results.plots.sensitivity import plot
from evalkit.results.sensitivity import Probed, Sensitivity
from evalkit.results.sensitivity_text import (
    answers,
    blind_to,
    matrix,
    missed,
    named,
    notices,
    strengths,
    units,
)

JSON = Path("results/benchmarks/sensitivity.json")
TEXT = Path("docs/sensitivity.md")
PLOT = Path("docs/sensitivity.png")

NARROW = 2  # degradations that a metric notices at most which is made for one fault

Record = Mapping[str, Any]

INTRODUCTION = """\
# Which metric notices what

A metric that does not notice a fault says nothing about it: two models may differ there as much as they like. Here
music is made worse, one way at a time and step by step, and each metric is asked whether it sees that.
`python -m benchmarks.sensitivity` measures it and writes this page; the
[report](report.md#what-is-where) of your own results shows the rows of the metrics that they have.

![A map of metrics by degradations: the least strength that each notices, or that it is blind](sensitivity.png)

## What was done

The music: {prompts} {music} Clips have {seconds:g} s.

All of these are renderings of the same music with other timing, touch and noises, as two samples of a good model would
be, so that what is noticed stands out from that. Each degraded set is compared with the clean one as `evalkit compare`
does, paired by prompt, with intervals of {level:.0%}. A strength is *seen* where the interval of the difference leaves
out 0 on the side of worse; for metrics of which neither direction is better, on either side.
"""

READ = """\
## How the picture is read

- **A cell has the least strength from which on all stronger ones are seen.** The stronger its colour, the weaker that
  strength is among those that were measured, which stand below each column.
- **× is blind**: no strength is seen. Not that there is no difference: none that {prompts} prompts show.
- **A red frame with a corner** is worse than blind: degraded clips are called *better* than clean ones at some
  strength, beyond noise. In tables it is ▲.
- **~**: values go back and forth as the strength grows. **In brackets**: seen at that strength, but not at the
  greatest. **?**: no interval, so that nothing can be said. **Empty**: not measured. **\\***: measured at the greatest
  strength alone, to save hours: weaker ones may be seen too.
- **Random weights** have a ground of their own. Where weights could not be had, the networks computed with seeded
  random numbers: that shows that the metric runs, and what its arithmetic can see, and not what the real one hears.
- Some cells are seen by chance: about one strength in {chance:.0f} that nobody could notice. All degraded clips are of
  one rendering, so that chance strikes several cells of a row at once; [false alarms](#blind-misled-and-false-alarms)
  tell of which metrics.
"""

FOLLOWS = """\
What needs a network has that of musicnn here, a tagger of music whose trained weights lie in a package index: what it
shows is how FAD, KLD and their like behave on a network that knows music, not what VGGish, PaSST or MERT hear.

- **Pairs see most.** KLD notices all {count} degradations, most of them at the weakest strength, and chroma all but
  noise and mono: each clip is compared with the reference of its own prompt. Where there are references, measure both.
- **FAD and KAD** see how clips sound: FAD sees noise at {noise}, low-pass at {low_pass}, clipping of {clipping}. What
  is wrong with some clips they see late: FAD sees silent clips when they are {silent}, wrong captions when they are
  {captions}, and copies when they are {fewer}. It is blind to detuning.
- **Precision, recall, density, coverage and MAD** need more: on these features and {prompts} prompts none of them sees
  detuning or timing. That they do not move is weak evidence.
- **The inception score** calls detuned clips *better*. It has no reference: it rewards labels that are sure and varied.
- **Metrics of one fault** see theirs early, and nothing else: clipping at {clipped}, silent clips at {silence}. The DC
  offset by itself would call mono and silence better.
- **Mono** is what networks that hear one channel see by its loudness alone, as the table above says. Metrics of stereo
  see it as it is.
- **Noise {quiet} below the music** is seen by none of these, nor is low-pass at 8 kHz and above: musicnn hears nothing
  above 8 kHz.
- **Random weights** are no stand-in: FAD on VGGish with such sees noise at {random}, and is blind to what FAD on a
  trained network sees: timing, drums that are gone, repetition.
"""

FOUND = """\
### Which metric for which fault

Without rows of random weights, the most sensitive metrics first, those of networks on musicnn. Made for one fault or
two, and blind to the others, which is not repeated: {narrow}.
"""

WEIGHTS = """\
## With real weights

From a checkout, with weights at hand or a network to fetch them by, the same with all metrics, at all strengths:

```sh
python -m benchmarks.sensitivity --part published --table real.csv engine.device=cuda
evalkit report RECORD --sensitivity real.csv
```

`--prompts` and `--seconds` make it smaller or larger. Weights are given as for any run ([metrics](metrics.md)).
"""

LIMITS = """\
## What it cannot say

- The music is **rendered**: few instruments, no voices, no room noise, clips of {seconds:g} s. On recorded music a
  metric may notice more or less.
- **{prompts} prompts.** With more of them, weaker strengths are seen: an interval is half as wide with four times as
  many.
- Each degradation is **one way** of many: white noise is not hum, a steep low-pass is not a small codec.
- That a metric notices is not that it *agrees with ears*: it may see what nobody hears.
- Rows of random weights say nothing of the metric as it is published.
"""


def text(record: Record, table: Sensitivity) -> str:
    """docs/sensitivity.md."""
    part = next(iter(record["parts"].values()))
    facts = {"music": record["music"], "level": record["level"], **{key: part[key] for key in ("prompts", "seconds")}}
    lines = [
        INTRODUCTION.format(**facts),
        *degradations(record, table),
        READ.format(chance=2 / (1 - facts["level"]), **facts),
    ]
    lines += [
        "## What was found\n",
        follows(table, part["prompts"]),
        *found(table),
        *listed("### The least strength that is noticed", matrix(table)),
    ]
    lines += [*listed("### Blind, misled, and false alarms", missed(table)), alarms(table)]
    lines += [WEIGHTS, LIMITS.format(**facts), *left_out(record)]
    machine = record["machine"]["cpu"]
    return (
        "\n".join([*lines, f"The table is [sensitivity.csv](../evalkit/data/sensitivity.csv), seeded ({machine})."])
        + "\n"
    )


def degradations(record: Record, table: Sensitivity) -> list[str]:
    """What each degradation does, and how strongly."""
    own, every = units(table), strengths(table)
    about = {one["name"]: one["about"] for one in record["degradations"]}
    rows = ([named(name, own[name]), about[name], ", ".join(every[name])] for name in table.degradations)
    return markdown(["degradation", "what is done", "strengths, from the weakest"], rows, left=3)


def follows(table: Sensitivity, prompts: int) -> str:
    """What the table says of the metrics on a trained network, and of those without one."""
    every = answers(table)

    def at(metric: str, degradation: str) -> str:
        return every[metric, degradation].at if (metric, degradation) in every else "–"

    return FOLLOWS.format(
        count=len(table.degradations), prompts=prompts, quiet=strengths(table).get("noise", ["–"])[0],
        noise=at("fad_musicnn", "noise"), low_pass=at("fad_musicnn", "low-pass"),
        clipping=at("fad_musicnn", "clipping"), silent=at("fad_musicnn", "silent clips"),
        captions=at("fad_musicnn", "wrong captions"), fewer=at("fad_musicnn", "fewer different clips"),
        random=at("fad", "noise"),
        clipped=at("clipped_samples", "clipping"), silence=at("silence_share", "silent clips"),
    )  # fmt: skip


def found(table: Sensitivity) -> list[str]:
    """Which metrics notice each degradation, the most sensitive first: those that no random weights are in."""
    every, ladder = answers(table), strengths(table)
    sure = [metric for metric in table.metrics if metric.weights != "random"]
    narrow = [metric for metric in sure if len(notices(every, metric.name)) <= NARROW]
    rows = []
    for name in table.degradations:
        by: dict[str, list[str]] = {}
        for metric in sure:
            one = every[metric.name, name]
            if one.state == "seen":
                by.setdefault(one.at, []).append(_short(metric))
            elif name in blind_to(every, metric.name) and metric not in narrow:
                by.setdefault("blind", []).append(_short(metric))
        seen = [f"**{at}**: {', '.join(by[at])}" for at in ladder[name] if at in by]
        rows.append([name, "; ".join(seen) or "none", ", ".join(by.get("blind", [])) or "none"])
    head = ["degradation", "from which strength on which metric notices it", "blind"]
    return [FOUND.format(narrow=", ".join(map(_short, narrow)) or "None"), *markdown(head, rows, left=3)]


def _short(metric: Probed) -> str:
    return metric.title.removesuffix(" (musicnn)")


def alarms(table: Sensitivity) -> str:
    """How often clean music that was played again is told from it."""
    counts = [table.false_alarms(metric.name) for metric in table.metrics]
    seen, of = sum(seen for seen, _ in counts), sum(of for _, of in counts)
    if not of:
        return ""
    first = [one.metric.title for one in table.again if one.strengths[0].seen]
    said = (
        "False alarms: the clean music was played again, with other seeds, and compared with the clean clips in the "
        "same\nway. Where nothing is worse or better, a difference in either direction was seen in "
        f"{seen} of {of} comparisons\n({seen / of:.1%}), where 5 % are meant; several metrics of one rendering are not "
        "independent.\n"
    )
    if first:
        said += (
            "The rendering that all degraded clips are of is told from the clean one, before anything is done to it, "
            f"by\n{', '.join(first)}: what they see at weak strengths may be that.\n"
        )
    return said


def left_out(record: Record) -> list[str]:
    """Which metrics are not in the table, and why: not measured, or measured without a value."""
    reasons: dict[str, list[str]] = {}
    for name, why in {**record["left_out"], **record["no_value"]}.items():
        reasons.setdefault(why, []).append(f"`{name}`")
    said = [f"- {', '.join(names)}: {why}." for why, names in reasons.items()]
    return ["Not in the table:\n", *said, ""] if said else []


def listed(heading: str, listing: Listing) -> list[str]:
    """A listing of `evalkit.results.sensitivity_text` below its heading."""
    head = [quantity.label for column in listing.columns for quantity in column]
    rows = ([quantity.text(row.cell) for column in listing.columns for quantity in column] for row in listing.rows)
    return [f"{heading}\n", *markdown(head, rows, left=len(head)), " ".join([*listing.notes, *listing.legend()]), ""]


def write(table: Sensitivity | None = None) -> None:
    """Write the document and its picture."""
    table = table or Sensitivity.load()
    TEXT.write_text(text(json.loads(JSON.read_text("utf-8")), table), "utf-8")
    if drawn := plot(table):
        PLOT.write_bytes(encoded(drawn.figure(WIDE), "png", drawn.name))
