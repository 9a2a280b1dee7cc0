"""The section "Error rates" of docs/agree.md, from what `benchmarks.agreement` has measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import sections
from benchmarks.gate_report import rate
from benchmarks.interval_coverage_report import table

JSON = Path("results/benchmarks/agreement.json")
TEXT = Path("docs/agree.md")
MOST = 0.05  # of intervals that miss, and of tests that find what is not there
COEFFICIENTS = {"spearman": "ρ", "kendall": "τ-b"}
METRICS = ("none", "fair", "good", "best")
PAIRS = (("none", "good"), ("none", "best"), ("fair", "best"), ("good", "best"))

Row = dict[str, Any]

INTRODUCTION = """\
`python -m benchmarks.agreement` writes this section. Systems differ in two qualities, of which raters and prompts each
weigh one or the other more (standard deviations {raters:g} and {prompts:g} of weights of {first:g} and {second:g}).
Raters are strict or mild ({bias:g}, in standard deviations of the systems' quality) and have tastes ({taste:g}),
prompts are hard or easy ({hard:g}), systems do better on some ({clip:g}), and one rating has a noise of {noise:g}. A
metric measures more of the first quality than raters weigh it, and noise of its own: *none* measures nothing of it,
*fair*, *good* and *best* correlate with it by {fair:g}, {good:g} and {best:g}. So the truth is known: it is what
infinitely many systems have with as many raters and prompts, on the average over these.

*Misses* are intervals of {level:.0%} that do not hold the truth: meant to be at most 5 %. In brackets are what so few
trials allow (Clopper and Pearson); what lies above 5 % beyond that is **bold**. *Mean* is the mean estimate: τ-b
recovers the truth; ρ is nearer to 0 the fewer systems there are.
"""

SYSTEMS = """\
### Correlations over systems

*Width* is the median. *Told*: with a verdict, of five metrics that are tested together, by Holm's correction; of *none*
that is an error. *τ-b ever* is what infinitely many raters and prompts would find: noise in the ratings of few raters
brings correlations nearer to 0, which no interval here makes up for.
"""

DIFFERENCES = """\
### Which of two metrics agrees better

*Misses* of intervals of the difference, over all ten pairs of five metrics, two of which (*good* and its twin) agree
equally well. *Errors*: tests in which any pair has a wrong verdict. *Found*: how often the better of two is told from
the other one, as the only comparison, and in brackets among the ten.
"""

CHOICES = """\
### Choices between two

Eight raters hear systems two by two, 20 prompts each. The truth is the mean of all tests of a row, since no other is
known; *told* as above.
"""

CLIPS = """\
### Correlations over clips

A metric hears part of what a system does well on a prompt. The truth is the mean of {tests} tests by as many raters of
{systems} systems and {prompts} prompts.
"""


def write() -> None:
    """Write the section."""
    sections.replace(TEXT, list(lines(json.loads(JSON.read_text("utf-8")))))


def missed(one: Row, held: str = "held") -> str:
    """How often intervals missed; a dash where there are none."""
    n = one.get("of", 0)
    return rate(n - one[held], n, MOST) if n else "–"


def share(hits: int, trials: int) -> str:
    return f"{100 * hits / trials:.0f}"


def over_systems(rows: Sequence[Row]) -> Iterator[list[Any]]:
    """A row of the table for each setting and metric."""
    for row in rows:
        for name in METRICS:
            cells: list[Any] = [row.get("systems", row.get("choices")), row["raters"], row["prompts"], name]
            for one in COEFFICIENTS:
                found = row["metrics"][name][one]
                width = "–" if found["width"] is None else f"{found['width']:.2f}"
                cells += [f"{found['truth']:.2f}", f"{found['mean']:.2f}", missed(found), width]
            told = row["said"].get(f"told_{name}", 0)
            if "systems" in row:
                cells.append(missed(row["metrics"][name]["kendall"], "held_ever"))
            yield [*cells, rate(told, row["trials"], MOST) if name == "none" else share(told, row["trials"])]


def head(*more: str) -> list[str]:
    """What stands above the columns."""
    found = ["Systems", "Raters", "Prompts", "metric"]
    for name in COEFFICIENTS.values():
        found += [f"{name}: truth", "mean", "misses, %", "width"]
    return [*found, *more]


def differences(rows: Sequence[Row]) -> Iterator[list[Any]]:
    """A row of the table for each setting in which metrics are compared."""
    for row in rows:
        if not any(one.get("of") for one in row["differences"].values()):
            continue
        trials, said = row["trials"], row["said"]
        found = [
            f"{share(said.get(f'alone_{a}_{b}', 0), trials)} ({share(said.get(f'found_{a}_{b}', 0), trials)})"
            for a, b in PAIRS
        ]
        misses = [
            f"{100 * (1 - row['differences'][one]['held'] / row['differences'][one]['of']):.1f}" for one in COEFFICIENTS
        ]
        yield [
            *(row[key] for key in ("systems", "raters", "prompts")),
            *misses,
            rate(said.get("false_better", 0), trials, MOST),
            *found,
        ]


def over_clips(rows: Sequence[Row]) -> Iterator[list[Any]]:
    """A row of the table for each setting and coefficient."""
    names = {**COEFFICIENTS, "accuracy": "pairs"}
    for row in rows:
        for over, found in row["over"].items():
            for name, one in found.items():
                width = "–" if one["width"] is None else f"{one['width']:.2f}"
                cells = [row["clips"], row["raters"], row["prompts"], over, names[name]]
                yield [*cells, f"{one['truth']:.2f}", f"{one['mean']:.2f}", missed(one), width]


def follows(record: Row) -> str:
    """What the tables say."""
    rows = [row for row in record["systems"] if row["systems"] >= record["least"]]
    few = [row for row in record["systems"] if row["systems"] < record["least"]]
    held = [one for row in rows for found in row["metrics"].values() for one in found.values()]
    misses = [1 - one["held"] / one["of"] for one in held]
    apart = [1 - one["held"] / one["of"] for row in rows for one in row["differences"].values()]
    alarms = [row["said"].get("told_none", 0) / row["trials"] for row in rows]
    wrong = [row["said"].get("false_better", 0) / row["trials"] for row in rows]
    five = [row for row in rows if row["systems"] == record["least"]]
    width = min(one["width"] for row in five for found in row["metrics"].values() for one in found.values())
    said = [
        f"Of {few[0]['systems']} systems nothing was claimed in any of {sum(row['trials'] for row in few):,} tests.",
        f"Intervals over systems miss in {span(misses)} of cases, those of differences in {span(apart)}.",
        f"A metric that measures nothing gets a verdict in {span(alarms)} of tests, and a wrong one of two metrics is "
        f"called better in {span(wrong)}.",
        f"With {record['least']} systems the median interval is at least {width:.2f} wide, of 2 that there are.",
        f"*good* gets a verdict in {found(rows, 'told_good')}; as the only comparison it is told from *none* in "
        f"{found(rows, 'alone_none_good')}.",
    ]
    if "clips" in record:
        clips = [one for row in record["clips"] for found in row["over"].values() for one in found.values()]
        said.append(
            f"Intervals over clips miss in {span([1 - one['held'] / one['of'] for one in clips if one['of']])}."
        )
    return "What follows:\n\n" + "\n".join(f"- {sentence}" for sentence in said) + "\n"


def found(rows: Sequence[Row], what: str) -> str:
    """How often something was found, by the number of systems, for the larger panels."""
    most = max(row["raters"] for row in rows)
    own = [(row["systems"], share(row["said"].get(what, 0), row["trials"])) for row in rows if row["raters"] == most]
    return ", ".join(f"{percent} % with {systems}" for systems, percent in own)


def span(values: Sequence[float]) -> str:
    """The least and the greatest of some shares, in percent."""
    low, high = f"{100 * min(values):.1f}", f"{100 * max(values):.1f}"
    return f"{low} %" if low == high else f"{low} to {high} %"


def lines(record: Row) -> Iterator[str]:
    """The section without its heading."""
    good = {name: record["goodness"][name] for name in ("fair", "good", "best")}
    first, second = record["weights"]
    yield INTRODUCTION.format(**record["opinions"], **good, first=first, second=second, level=record["level"])
    if "systems" in record:
        yield follows(record)
        yield SYSTEMS
        more = ("τ-b ever: misses, %", "told, %")
        claimed = [row for row in record["systems"] if row["systems"] >= record["least"]]
        yield from table(head(*more), over_systems(claimed), left=0)
        yield DIFFERENCES
        columns = [*(f"{name}: misses, %" for name in COEFFICIENTS.values()), "errors, %"]
        columns += [f"{a} < {b}: found, %" for a, b in PAIRS]
        yield from table(["Systems", "Raters", "Prompts", *columns], differences(record["systems"]), left=0)
    if "choices" in record:
        yield CHOICES
        yield from table(head("told, %"), over_systems(record["choices"]), left=0)
    if "clips" in record:
        tests, systems, prompts = record["long"]
        yield CLIPS.format(tests=tests, systems=systems, prompts=prompts)
        columns = ["Systems", "Raters", "Prompts", "over", "coefficient", "truth", "mean", "misses, %", "width"]
        yield from table(columns, over_clips(record["clips"]), left=0)
    trials = {part: record[part][0]["trials"] for part in ("systems", "choices", "clips") if part in record}
    counts = ", ".join(f"{n:,} of {part}" for part, n in trials.items())
    yield (
        f"Trials of each row: {counts}; with {record['resamples']} draws, half as many over clips, and "
        f"{record['permuted']} permutations. Rows are seeded by their settings: measured together or by themselves, "
        f"they are the same ({record['machine']['cpu']})."
    )
