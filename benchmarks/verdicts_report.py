"""The section "Error rates" of docs/reproduce.md, from what `benchmarks.verdicts` has measured."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import sections
from benchmarks.gate_report import NOMINAL, percent, rate
from benchmarks.interval_coverage_report import table

JSON = Path("results/benchmarks/verdicts.json")
TEXT = Path("docs/reproduce.md")

Row = dict[str, Any]

INTRODUCTION = """\
`python -m benchmarks.verdicts` writes this section. Seeds and published figures are drawn whose truth is known, and
evalkit's own functions decide (`evalkit/stats/equivalence.py`, `evalkit/results/reproduced.py`). Each of two claims
can be wrong, and is meant to be in at most 2.5 %: REPRODUCED where our expectation lies beyond the tolerance, and
DIFFERS where it lies within. Both rates are largest where the truth lies **exactly at the end of the tolerance**, which
is where all tables but two look. In brackets are 95 % binomial intervals (Clopper and Pearson); a rate whose
interval lies above 2.5 % is **bold**. Tolerance and rounding are in standard deviations of one seed.

What follows from the tables:

- **The claims are as rare as they say** where noise is normal and the published figure is as noisy as ours, for 3, 5
  and 10 seeds, with and without rounding, and with prompts that are missing. With clips instead of seeds FAD is so too;
  means of strongly skewed values are wrong in up to 3.5 % with 200 prompts and 5 % with 50, since skewness is what few
  clips do not average out.
- **What is assumed and not known is the publisher's noise**: a figure of one run that was twice as noisy as our seeds
  makes wrong claims in 7 % (3 seeds) to 14 % (10 seeds).
- **FAD decides at once, KLD and CLAP score mostly do not**: a single rounded figure is itself known to no better than
  about two standard deviations of a seed and half a unit of its last digit. At the tolerances that ship, FAD of the
  same checkpoint is REPRODUCED with three seeds. Its KLD is in {kld}, and its CLAP score in {clap_score}, by how noisy
  they turn out to be. More seeds help only where that is little, else UNDECIDED says that none would. The last table
  has the tolerances that it takes.
- **Do not add seeds until it says something**: looking after 3, 5, 10, 20 and 40 seeds, and stopping at the first
  claim, makes each of the two wrong in 6 %. Choose the number of seeds before.
"""

EDGE = """\
### At the end of the tolerance

Normal noise, the publisher's like ours; the figure of one seed. `rounding` is half a unit of its last digit: the
interval is widened by all of it, so that claims are rarer still.
"""

POWER = """\
### What seeds buy

How often each is said where there is no rounding. *Same*: our expectation is the publisher's; *twice*: it lies two
tolerances away.
"""

NOISE = """\
### Other noise

At the end of a tolerance of 30 standard deviations of our seeds. Heavy tails are Student's t with 3 degrees of freedom,
skewed noise is exponential, both far from what values over hundreds of prompts can be: those are in the next table. A
publisher's figure that is a mean of several seeds, and known to be, keeps the rates.
"""

METRICS = """\
### Clips instead of seeds

Values of clips are drawn, of which a half of the variance is of the prompt and the same for every seed and the
publisher, and metrics are computed from them. The larger rate of the two ends of a tolerance of 30 standard deviations.
"""

MISSING = """\
### Missing prompts

Two random parts of the same prompts, the publisher's and ours, of which neither knows the other. KLD-like values
(log-normal, σ = 0.5) whose seeds are *alike* by so much, and FAD by evalkit from every window. *Without*: as if the
prompts were the same, no error is added for it. *The same*: the fewer are among the more, which only makes claims
rarer. The rate is the larger of both ends; so far apart, DIFFERS at one end is what REPRODUCED would be at the other,
which is never said with missing prompts.
"""

LOOKS = """\
### Adding seeds until something is said

Truth at the end of the tolerance, looks after {looks} seeds.
"""

NEEDED = """\
UNDECIDED names a number of seeds that would decide if mean and noise stayed as they are. From three seeds at a
tolerance of {tolerance:g} standard deviations that number did decide in {halfway} of cases.
"""

SHIPPED = """\
### At the tolerances that ship

The published checkpoint itself, MusicGen small on {prompts:,} of MusicCaps' prompts, measured once more. Its noise is
not known before it is measured: that of FAD is taken from Gaussians in 128 dimensions; those of KLD and CLAP score are
what clips with so large a standard deviation give, of whose variance one half is of the prompt. *No number of seeds* is
the share of tables that say so. The last column is the tolerance at which 80 % would be REPRODUCED.
"""


def edge(record: Row) -> list[str]:
    rows = (
        [
            r["seeds"],
            f"{r['tolerance']:g}",
            f"{r['rounding']:g}",
            rate(r["within"], r["trials"], NOMINAL),
            rate(r["above"] + r["below"], r["trials"], NOMINAL),
            f"{r['trials']:,}",
        ]
        for r in record["edge"]
    )
    return [EDGE, *table(["Seeds", "Tolerance", "Rounding", "REPRODUCED, %", "DIFFERS, %", "Trials"], rows, left=0)]


def power(record: Row) -> list[str]:
    found = {(r["tolerance"], r["seeds"], r["truth"]): r for r in record["power"]}
    seeds = list(dict.fromkeys(r["seeds"] for r in record["power"]))
    claims = {"REPRODUCED, same": (0.0, "within"), "DIFFERS, twice": (2.0, "above")}
    head = ["Tolerance", *(f"{name}, {k} seeds, %" for name in claims for k in seeds)]

    def cells(tolerance: float) -> list[str]:
        said = [f"{tolerance:g}"]
        for truth, claim in claims.values():
            said += [percent(found[tolerance, k, truth][claim], found[tolerance, k, truth]["trials"]) for k in seeds]
        return said

    return [POWER, *table(head, map(cells, dict.fromkeys(r["tolerance"] for r in record["power"])), left=0)]


def noise(record: Row) -> list[str]:
    rows = [r for r in record["noise"] if r["tolerance"] == 30]

    def name(row: Row) -> str:
        if row["published_seeds"] > 1:
            return f"normal; the figure is of {row['published_seeds']} seeds"
        if row["published_noise"] != 1:
            return f"normal; the publisher's {row['published_noise']:g} times ours"
        return str(row["noise"])

    seeds = list(dict.fromkeys(r["seeds"] for r in rows))
    found = {(name(r), r["seeds"]): r for r in rows}
    head = ["Noise", *(f"{claim}, {k} seeds, %" for k in seeds for claim in ("REPRODUCED", "DIFFERS"))]

    def cells(one: str) -> list[str]:
        said = [one]
        for k in seeds:
            r = found[one, k]
            said += [rate(r["within"], r["trials"], NOMINAL), rate(r["above"] + r["below"], r["trials"], NOMINAL)]
        return said

    return [NOISE, *table(head, map(cells, dict.fromkeys(map(name, rows))))]


def larger(row: Row) -> str:
    """The larger of the rates at both ends: each end's wrong claims are those of the other end's mirror image."""
    return rate(max(*row["within"], *row["differs"]), row["trials"], NOMINAL)


def metrics(record: Row) -> list[str]:
    rows = record["metrics"]
    found = {(r["of"], r["prompts"], r["seeds"]): r for r in rows}
    seeds = list(dict.fromkeys(r["seeds"] for r in rows))

    def cells(setting: tuple[str, int]) -> list[str]:
        several = [found[(*setting, k)] for k in seeds]
        return [setting[0], f"{setting[1]:,}", *map(larger, several), f"{several[0]['trials']:,}"]

    head = ["Metric", "Prompts", *(f"{k} seeds, %" for k in seeds), "Trials"]
    return [METRICS, *table(head, map(cells, dict.fromkeys((r["of"], r["prompts"]) for r in rows)))]


def missing(record: Row) -> list[str]:
    names = {"at random": "at random", "the same": "the same", "known to none": "without"}

    def cells(row: Row) -> list[str]:
        of = "FAD" if row["of"] == "fad" else "mean"
        numbers = (f"{row[name]:,}" for name in ("total", "published", "used", "seeds"))
        return [of, names[row["missing"]], *numbers, f"{row['alike']:g}", larger(row), f"{row['trials']:,}"]

    head = ["Metric", "Missing", "Prompts", "published on", "ours", "Seeds", "Alike"]
    return [MISSING, *table([*head, "wrong, %", "Trials"], map(cells, record["missing"]), left=2)]


def looks(record: Row) -> list[str]:
    looked = [r for r in record["looks"] if "looks" in r]
    *first, last = looked[0]["looks"]
    rows = (
        [f"{r['tolerance']:g}", rate(r["within"], r["trials"], NOMINAL), rate(r["above"], r["trials"], NOMINAL)]
        for r in looked
    )
    lines = [LOOKS.format(looks=f"{', '.join(map(str, first))} and {last}")]
    lines += table(["Tolerance", "REPRODUCED, %", "DIFFERS, %"], rows, left=0)
    named = [r for r in record["looks"] if "from" in r]
    shares = [f"{percent(r['decided'], r['undecided'] - r['no_number'])} %" for r in named]
    where = [f"{share} ({'same' if r['truth'] == 0 else 'halfway'})" for share, r in zip(shares, named, strict=True)]
    return [*lines, NEEDED.format(tolerance=named[0]["tolerance"], halfway=" and ".join(where))]


def shipped(record: Row) -> list[str]:
    titles = {"fad": "FAD", "kld": "KLD", "clap_score": "CLAP score"}

    def cells(rows: Iterable[Row]) -> list[str]:
        same, halfway = rows
        return [
            titles[same["metric"]],
            f"{same['tolerance']:.3g}",
            f"{same['seed_sd']:.2g}",
            same["seeds"],
            percent(same["verdicts"].get("REPRODUCED", 0), same["trials"]),
            percent(halfway["verdicts"].get("REPRODUCED", 0), halfway["trials"]),
            percent(same["verdicts"].get("no number", 0), same["trials"]),
            f"{same['for_80']:.2g}",
        ]

    pairs = zip(record["shipped"][::2], record["shipped"][1::2], strict=True)
    head = ["Metric", "Tolerance", "Noise of a seed", "Seeds", "REPRODUCED, same, %", "REPRODUCED, halfway, %"]
    lines = [SHIPPED.format(prompts=record["sample"])]
    return [*lines, *table([*head, "No number of seeds, %", "80 % at"], map(cells, pairs))]


PARTS = {
    "edge": edge,
    "power": power,
    "noise": noise,
    "metrics": metrics,
    "missing": missing,
    "looks": looks,
    "shipped": shipped,
}


def first_look(row: Row, metric: str) -> bool:
    """Whether a row is of three seeds of the same checkpoint."""
    return row["metric"] == metric and row["seeds"] == 3 and row["truth"] == 0


def lines(record: Row) -> list[str]:
    """The section without its heading."""
    shares = {
        metric: [r["verdicts"].get("REPRODUCED", 0) / r["trials"] for r in record["shipped"] if first_look(r, metric)]
        for metric in ("kld", "clap_score")
    }
    found = [INTRODUCTION.format(**{name: f"{100 * min(s):.0f} to {100 * max(s):.0f} %" for name, s in shares.items()})]
    for name, part in PARTS.items():
        found += part(record) if name in record else []
    seconds = sum(record["cpu"].values())
    return [*found, f"{seconds / 60:.0f} minutes of one core ({record['machine']['cpu']})."]


def write() -> None:
    """Write the section."""
    sections.replace(TEXT, lines(json.loads(JSON.read_text("utf-8"))))
