"""The section "Error rates" of docs/listening.md, from what `benchmarks.listening` has measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import sections
from benchmarks.gate_report import rate
from benchmarks.interval_coverage_report import table

JSON = Path("results/benchmarks/listening.json")
TEXT = Path("docs/listening.md")
SIZES = ((5, 20), (25, 50))  # raters and prompts of which it is said what they find
MOST = 0.05  # of intervals that miss, and of tests that find what is not there

Row = dict[str, Any]

INTRODUCTION = """\
`python -m benchmarks.listening` writes this section. Raters are simulated whose opinions are known, in designs of
`evalkit listen make` with every clip heard {votes} times or, on complete pages by few raters, as often as there are
raters; evalkit's own functions then say how sure the numbers are. A rater has a bias (standard deviation {bias:g}
points), uses more or less of the scale ({stretch:.0%}) and likes some systems better than others do ({taste:g});
prompts are harder or easier ({hard:g}), systems do better on some ({clip:g}), and one rating has a noise of {noise:g}.
*Spam* is the share of raters who answer at random, none of whom is excluded here. One system is better by {gap:g}
points than all others, which are equal.

*Misses* are intervals of {level:.0%} that do not hold the mean of infinitely many such raters and prompts: meant to be
at most 5 %. In brackets are what so few trials allow (Clopper and Pearson, as if all intervals were independent); what
lies above 5 % beyond that is **bold**, as one in 40 would be by chance, and more since they are not. *Stated* is the
standard error that evalkit states, by the one that there is.
*False alarms* are tests of equal systems in which any two are told apart, after Holm's correction; *found* are those
that tell the better one from at least one other.
"""

FOLLOWS = """\
What follows:

- Intervals of ratings miss in {ratings}, and those of strengths in {choices} of cases, from 5 raters on.
- Of equal systems any two are told apart in {alarms} of tests with 10 raters or more, and in {few_alarms} with 5, of
  whom evalkit claims little: have 10 or more.
- {gap:g} points are found in {few} of tests with 5 raters and 20 prompts, and in {many} with 25 and 50.
"""

FOLLOWS_CORRELATIONS = """\
- Intervals of correlations over clips and within prompts miss in {clips}, and those of rank coefficients over
  systems, which are rather too wide, in {systems} of cases.
"""

RATINGS = """\
### Ratings

*On a page*: systems that are rated on one page; where it is fewer than there are, designs are incomplete.
"""

CHOICES = """\
### Choices between two

Strengths in a Bradley–Terry model with ties. The truth is what fits the choices of infinitely many raters.
"""

WAYS = """\
### Why over both, and not otherwise

Misses of other intervals of the same means and strengths, of three systems, without spam: from ratings as if each were
independent (σ/√n), bootstraps over raters alone or prompts alone, Owen's over both with normal quantiles, and the
clustered variance with normal quantiles.
"""

CORRELATIONS = """\
### Correlations of metrics with ratings

Each system is better by {step:g} points than the one before it. The metric of a clip is what {others} other raters
think of it on the average, with a noise of {noise:g}, and so is that of a system. Over clips, and within prompts, the
truth is the mean of tests by as many raters of very many prompts; over systems it is of infinitely many raters too.
*None* is the share of tests that have no interval; misses are of those that have one, and *width* is their median.
"""

RULES = """\
### What exclusion catches

A fifth of raters does not listen: a third of these answers anything from 1 to 100, a third something near the middle,
and a third always nearly the same. Clips are of three systems, hidden references and bad controls. Misses are of
systems' means and differences as attentive raters would give them.
"""


def write() -> None:
    """Write the section."""
    sections.replace(TEXT, lines(json.loads(JSON.read_text("utf-8"))))


def missed(row: Row, name: str) -> str:
    """How often intervals missed."""
    return rate(row[f"{name}_of"] - row[name], row[f"{name}_of"], MOST)


def share(values: Sequence[float]) -> str:
    """The least and the greatest of some shares, in percent."""
    low, high = f"{100 * min(values):.1f}", f"{100 * max(values):.1f}"
    return f"{low} %" if low == high else f"{low} to {high} %"


def misses(rows: Sequence[Row]) -> list[float]:
    """The shares of intervals that missed, of all rows."""
    return [1 - row[name] / row[f"{name}_of"] for row in rows for name in ("level", "difference")]


def tests(rows: Sequence[Row], with_size: bool) -> list[str]:
    """A table of simulated tests."""
    head = ["Raters", "Prompts", "Systems", *(["On a page"] if with_size else []), "Spam"]
    values = "means" if with_size else "strengths"
    head += [f"{values}, misses, %", "stated", "differences, misses, %", "stated", "false alarms, %", "found, %"]

    def cells(r: Row) -> list[Any]:
        said = [r["raters"], r["prompts"], r["systems"], *([r["size"]] if with_size else []), f"{r['spam']:.0%}"]
        said += [missed(r, "level"), f"{r['level_ratio']:.2f}", missed(r, "difference"), f"{r['difference_ratio']:.2f}"]
        return [*said, rate(r["false_alarm"], r["trials"], MOST), f"{100 * r['power'] / r['trials']:.0f}"]

    return table(head, map(cells, rows), left=0)


def follows(record: Row) -> str:
    """What the tables say."""
    ratings, choices = record["ratings"], record["choices"]
    honest = [row for row in ratings if not row["spam"] and row["size"] == row["systems"]]
    found = {size: [r["power"] / r["trials"] for r in honest if (r["raters"], r["prompts"]) == size] for size in SIZES}
    return FOLLOWS.format(
        ratings=share(misses(ratings)),
        choices=share(misses(choices)),
        alarms=share([r["false_alarm"] / r["trials"] for r in (*ratings, *choices) if r["raters"] > SIZES[0][0]]),
        few_alarms=share([r["false_alarm"] / r["trials"] for r in (*ratings, *choices) if r["raters"] == SIZES[0][0]]),
        gap=record["gap"],
        few=share(found[SIZES[0]]),
        many=share(found[SIZES[1]]),
    )


def ways(rows: Sequence[Row]) -> list[str]:
    """A table of other intervals."""
    names = {
        "independent": "independent", "raters": "raters", "prompts": "prompts", "pigeonhole": "Owen's",
        "clustered": "clustered", "evalkit": "**evalkit**",
    }  # fmt: skip

    def cells(r: Row) -> list[Any]:
        known = [f"{100 * (1 - r['covered'][way] / r['of']):.1f}" if way in r["covered"] else "–" for way in names]
        return [r["kind"], r["raters"], r["prompts"], *known, r["trials"]]

    return table(["", "Raters", "Prompts", *(f"{name}, %" for name in names.values()), "Trials"], map(cells, rows))


def rules(rows: Sequence[Row]) -> list[str]:
    """A table of what exclusion catches."""
    kinds = ("anything", "the middle", "always the same")

    def cells(r: Row) -> list[Any]:
        caught = [f"{100 * r[f'{kind}_out'] / r[kind]:.0f}" for kind in kinds]
        harm = [missed(r[with_rules], name) for with_rules in ("none", "rules") for name in ("level", "difference")]
        return [r["raters"], r["prompts"], *caught, f"{100 * r['honest_out'] / r['honest']:.1f}", *harm, r["trials"]]

    head = ["Raters", "Prompts", *(f"caught: {kind}, %" for kind in kinds), "attentive ones excluded, %"]
    head += [f"{name}, misses {how}, %" for how in ("without rules", "with") for name in ("means", "differences")]
    return table([*head, "Trials"], map(cells, rows), left=0)


def correlations(rows: Sequence[Row]) -> list[str]:
    """A table of coefficients' intervals."""
    names = {"pearson": "Pearson's", "spearman": "Spearman's", "kendall": "Kendall's"}
    made = []
    for row in rows:
        for over, found in row["over"].items():
            cells: list[Any] = [row["systems"], row["raters"], row["prompts"], over]
            for name in names:
                one = found.get(name)
                n = one["intervals"] if one else 0
                cells += [
                    f"{one['truth']:.2f}" if one else "–",
                    rate(n - one["held"], n, MOST) if one and n else "–",
                    f"{100 - 100 * n / row['trials']:.0f}" if one else "–",
                    f"{one['width']:.2f}" if one and n else "–",
                ]
            made.append(cells)
    head = ["Systems", "Raters", "Prompts", "over"]
    for name in names.values():
        head += [f"{name}, truth", "misses, %", "none, %", "width"]
    return table(head, made, left=0)


def of_correlations(rows: Sequence[Row]) -> str:
    """The sentence that says what the table of correlations does."""
    cells = [(over, one) for row in rows for over, found in row["over"].items() for one in found.values()]
    known = [(over, one) for over, one in cells if one["intervals"]]
    shares = {
        what: share([1 - one["held"] / one["intervals"] for over, one in known if (over == "systems") == of_systems])
        for what, of_systems in (("systems", True), ("clips", False))
    }
    return FOLLOWS_CORRELATIONS.format(**shares)


def lines(record: Row) -> list[str]:
    """The section without its heading."""
    found = [INTRODUCTION.format(**record["opinions"], gap=record["gap"], level=record["level"], votes=record["votes"])]
    if "ratings" in record and "choices" in record:
        found += [follows(record) + (of_correlations(record["correlations"]) if "correlations" in record else "")]
    if "ratings" in record:
        found += [RATINGS, *tests(record["ratings"], True)]
    if "choices" in record:
        found += [CHOICES, *tests(record["choices"], False)]
    if "ways" in record:
        found += [WAYS, *ways(record["ways"])]
    if "rules" in record:
        found += [RULES, *rules(record["rules"])]
    if "correlations" in record:
        found += [CORRELATIONS.format(**record["metric"]), *correlations(record["correlations"])]
    trials: dict[str, int] = {kind: record[kind][0]["trials"] for kind in ("choices", "correlations") if kind in record}
    pages = {row["size"] == row["systems"]: row["trials"] for row in record.get("ratings", [])}
    trials |= {"complete pages" if whole else "incomplete ones": n for whole, n in pages.items()}
    counts = ", ".join(f"{n:,} of {kind}" for kind, n in trials.items())
    return [
        *found,
        f"Trials of each row: {counts}, others as given; with {record['resamples']:,} draws, of "
        f"correlations {record['metric']['resamples']:,}. Rows are seeded by their settings: measured together or by "
        f"themselves, they are the same ({record['machine']['cpu']}).",
    ]
