"""What is said of a listening test: the document that every form of it is made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evalkit.report.document import Case, Column, Document, Item, Listing, Quantity
from evalkit.report.numbers import ARROWS, absent, counted, interval, number
from evalkit.results.listening_record import ListeningRecord
from evalkit.results.summary import records

AXES = {
    "quality": "overall quality",
    "relevance": "relevance to the text",
    "melody": "adherence to the melody",
}
PLACES = {"rating": 1, "pairs": 2}  # decimals of what systems are judged by
OVER = {"systems": "systems", "clips": "clips", "clips within prompts": "clips, within prompts"}
COEFFICIENTS = {"spearman": "Spearman's ρ", "pearson": "Pearson's r", "kendall": "Kendall's τ-b"}
WITHIN = "Within prompts: how a metric orders the clips of one prompt, whatever prompts are like."
NOT_JUDGED = "TOO FEW RATERS"
NAMED = 8  # raters that a sentence names
SHOWN = 30  # raters in their table, those that were excluded first


def document(listening: ListeningRecord) -> Document[Listing]:
    """Say everything about a listening test: systems, differences, who was excluded, and how metrics agree with it."""
    axis = AXES.get(listening.axis, listening.axis)
    return Document(
        title=called(listening),
        outcome="" if listening.judged else NOT_JUDGED,
        suite="/".join(["listening", listening.axis, listening.dataset, listening.subset]),
        reasons=listening.reasons,
        heading=f"{axis}, {_asked(listening)}: {listening.raters_kept:,} of "
        f"{counted(listening.raters_asked, 'rater')}, "
        f"{counted(int((listening.answers['excluded'] == '').sum()), 'answer')} on "
        f"{counted(len(listening.prompts), 'prompt')} of {listening.dataset}, subset {listening.subset}",
        table=systems(listening),
        notes=_notes(listening),
        intervals=_intervals(listening) if listening.judged else "",
        more=[*differences(listening), *correlations(listening), *_exclusions(listening), *_raters(listening)],
        provenance=_provenance(listening),
        plain=_plain(listening),
        cases=list(_cases(listening)),
    )


def called(listening: ListeningRecord) -> str:
    """A heading: what was asked, and how."""
    how = "choices between two" if listening.method == "pairs" else "ratings"
    return f"Listening test: {AXES.get(listening.axis, listening.axis)} ({how})"


def _asked(listening: ListeningRecord) -> str:
    if listening.method == "pairs":
        return "choices between two"
    low, high = listening.scale
    return f"ratings from {low:g} to {high:g}"


def systems(listening: ListeningRecord) -> Listing:
    """One row per system, the best first, hidden references and controls among them."""
    rating = listening.method == "rating"
    value = (
        Quantity("value", "rating", "number")
        if rating
        else Quantity("value", "strength", "signed", "logarithm of the strength in a Bradley–Terry model, of mean 0")
    )
    counts = [Quantity("n", "ratings" if rating else "choices", "count")]
    if not rating:
        counts.append(Quantity("told", "won/tied/lost", "word"))
    return Listing(
        columns=[
            [Quantity("system", "system", "word")],
            [value, Quantity("interval", "interval", "interval")],
            [Quantity("share", "chosen", "share", "expected share of choices against all others, a tie as a half")],
            counts,
            [Quantity("raters", "raters", "count"), Quantity("prompts", "prompts", "count")],
        ],
        rows=[
            Item(
                {
                    **row,
                    "places": PLACES[listening.method],
                    "told": f"{row['wins']}/{row['ties']}/{row['losses']}",
                },
                row,
            )
            for row in best_first(listening)
        ],
    )


def best_first(listening: ListeningRecord) -> list[dict[str, Any]]:
    """The rows of systems by their values, references and controls among them."""
    return records(listening.systems.sort_values("value", ascending=False, kind="stable"))


def differences(listening: ListeningRecord) -> Iterator[Listing]:
    """How far any two systems differ, and which of them are told apart."""
    rows = records(listening.differences)
    if not rows:
        return
    rating = listening.method == "rating"
    notes = list(dict.fromkeys(row["note"] for row in rows if row["note"]))
    families = {row["family"]: sum(one["family"] == row["family"] for one in rows) for row in rows}
    holm = " and ".join(f"{n} {FAMILIES[name] if n > 1 else FAMILY[name]}" for name, n in families.items())
    if listening.judged:
        notes.append(
            f"p is corrected by Holm's method, for {holm} by itself; a verdict is at {1 - listening.level:.3g}"
        )
    yield Listing(
        columns=[
            [Quantity("first", "system", "word"), Quantity("second", "less", "word")],
            [
                Quantity(
                    "difference",
                    "difference",
                    "signed",
                    "between ratings on the same page" if rating else "of strengths",
                ),
                Quantity("interval", "interval", "interval"),
            ],
            [Quantity("better", "better", "share", "on which share of them it is better, a tie as a half")],
            [Quantity("n", "pages" if rating else "choices", "count")],
            [Quantity("p_holm", "p", "p")],
            [Quantity("verdict", "verdict", "verdict")],
        ],
        rows=[Item({**row, "second": f"− {row['second']}", "places": PLACES[listening.method]}, row) for row in rows],
        title="Differences between systems",
        notes=notes,
    )


FAMILIES = {"systems": "differences between systems", "with reference": "differences from the reference"}
FAMILY = {"systems": "difference between systems", "with reference": "difference from the reference"}


def correlations(listening: ListeningRecord) -> Iterator[Listing]:
    """How metrics agree with what people said, a table for systems and one for clips, with what is wrong with them."""
    rows = records(listening.correlations)
    of_systems = [row for row in rows if row["over"] == "systems"]
    of_clips = [row for row in rows if row["over"] != "systems"]
    if of_systems:
        most = max(row["n"] for row in of_systems)
        few = f"Only {counted(most, 'system')}: this says how metrics order these, and little of any other."
        yield Listing(
            columns=_correlated(False),
            rows=_correlations(of_systems),
            title="Metrics and ratings, over systems",
            intro=" ".join([*listening.warnings, few] if most < 10 else listening.warnings),
            notes=_notes_of(of_systems),
        )
    if of_clips:
        yield Listing(
            columns=_correlated(True),
            rows=_correlations(of_clips),
            title="Metrics and ratings, over clips",
            intro=" ".join([*listening.warnings, WITHIN]),
            notes=_notes_of(of_clips),
        )


def _correlated(with_over: bool) -> list[list[Quantity]]:
    over = [Quantity("over_said", "over", "word")] if with_over else []
    columns = [[Quantity("name", "metric", "word"), *over]]
    for key, label in COEFFICIENTS.items():
        columns.append([Quantity(key, label, "signed"), Quantity(f"{key}_interval", "interval", "interval")])
    return [*columns, [Quantity("n", "n", "count")]]


def _correlations(rows: Sequence[Mapping[str, Any]]) -> list[Item]:
    """One row per metric and what the correlation is over, with its coefficients beside each other."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        name = Column(row["metric"], row["title"], ARROWS[_direction(row)])
        cell = found.setdefault(
            (row["metric"], row["over"]),
            {"name": name, "over_said": OVER[row["over"]], "n": row["n"], "places": 2, "metric": row["metric"]},
        )
        key = row["coefficient"]
        cell |= {key: row["value"], f"{key}_interval_low": row["low"], f"{key}_interval_high": row["high"]}
    return [Item(cell, {**cell, "name": str(cell["name"])}) for cell in found.values()]


def _direction(row: Mapping[str, Any]) -> bool | None:
    return None if absent(row["higher_is_better"]) else bool(row["higher_is_better"])


def _notes_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    said: dict[str, list[str]] = {}
    for row in rows:
        if row["note"]:
            said.setdefault(row["note"], []).append(row["title"])
    return [f"{', '.join(dict.fromkeys(titles))}: {note}" for note, titles in said.items()]


def _exclusions(listening: ListeningRecord) -> Iterator[Listing]:
    """Which rule excluded how many."""
    rows = records(listening.exclusions)
    if rows:
        yield Listing(
            columns=[
                [Quantity("rule", "rule", "word"), Quantity("settings", "settings", "word")],
                [Quantity("raters", "raters", "count")],
                [Quantity("answers", "answers", "count")],
                *([[Quantity("who", "who", "word")]] if any(row["who"] for row in rows) else []),
            ],
            rows=[Item({**row, "who": _named(row["who"])}, row) for row in rows],
            title="Exclusions",
            intro="In this order: each rule sees what those above have left.",
            notes=[f"{row['rule']}: {row['note']}" for row in rows if row["note"]],
        )


def _named(who: str) -> str:
    names = who.splitlines()
    return ", ".join(names[:NAMED]) + (f", … ({len(names)})" if len(names) > NAMED else "")


def _raters(listening: ListeningRecord) -> Iterator[Listing]:
    rows = sorted(records(listening.raters), key=lambda row: not row["excluded"])
    if rows:
        more = f" Shown: {SHOWN} of {len(rows):,}." if len(rows) > SHOWN else ""
        yield Listing(
            columns=[
                [Quantity("rater", "rater", "word")],
                [Quantity("answers", "answers", "count"), Quantity("kept", "kept", "count")],
                [Quantity("mean", "mean", "number"), Quantity("sd", "SD", "number")],
                [Quantity("agreement", "agrees", "number", "correlation with the means of all others' ratings")],
                [Quantity("excluded", "excluded by", "word"), Quantity("reason", "why", "word")],
            ],
            rows=[Item({**row, "mean_places": 1, "sd_places": 1, "agreement_places": 2}, row) for row in rows[:SHOWN]],
            title="Raters",
            intro=f"How each used the scale.{more}" if listening.method == "rating" else f"Who answered.{more}",
        )


def _notes(listening: ListeningRecord) -> list[str]:
    lines = [_intervals(listening)] if listening.judged else []
    if not absent(listening.alpha):
        span = interval(listening.alpha_low, listening.alpha_high, places=2)
        lines.append(
            f"agreement of raters: Krippendorff's ordinal alpha {number(listening.alpha, 2)} {span}".rstrip()
            + " (1: all say the same of each clip, 0: no more than by chance)"
        )
    return [*lines, *listening.remarks]


def _intervals(listening: ListeningRecord) -> str:
    return (
        f"intervals: {listening.level:.3g} confidence, over raters and prompts, by a two-way bootstrap "
        f"of {listening.resamples:,} draws (Owen 2007)"
    )


def _provenance(listening: ListeningRecord) -> dict[str, str]:
    facts = {
        "study": f"{listening.study}, SHA-256 of study.json {listening.study_sha256[:12]}",
        "answers": f"{sum(one.used for one in listening.files):,} of {counted(len(listening.files), 'file')}",
        "rules": str(listening.rules.get("name", "")),
        "protocol": listening.protocol,
    }
    for info in listening.infos:
        if info.path:
            facts[f"clips of {info.name}"] = f"{info.row} of {info.path}, SHA-256 {info.sha256[:12]}"
    commit = listening.provenance.get("commit")
    return {**facts, "evalkit": f"commit {commit}" if commit else str(listening.provenance.get("evalkit", ""))}


def _plain(listening: ListeningRecord) -> dict[str, Any]:
    """What machines may want beside the systems and the notes, as a JSON-like value."""
    names = (
        *("schema", "study", "study_sha256", "axis", "method", "scale", "loudness", "dataset", "subset", "protocol"),
        *("level", "resamples", "seed", "rules", "judged", "reasons", "warnings", "sessions"),
        *("raters_asked", "raters_kept", "alpha", "alpha_low", "alpha_high", "tie_readiness"),
    )
    return {
        **{name: getattr(listening, name) for name in names},
        "systems": [dataclasses.asdict(info) for info in listening.infos],
        "differences": records(listening.differences),
        "correlations": records(listening.correlations),
        "exclusions": records(listening.exclusions),
        "raters": records(listening.raters),
    }


def _cases(listening: ListeningRecord) -> Iterator[Case]:
    """What was judged: whether there were enough raters."""
    yield Case(
        "raters",
        "enough raters",
        "passed" if listening.judged else "undecided",
        "" if listening.judged else NOT_JUDGED,
        "\n".join(listening.reasons),
        {"raters": listening.raters_kept, "raters_asked": listening.raters_asked},
    )
