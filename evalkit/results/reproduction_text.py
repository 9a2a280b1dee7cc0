"""What is said of a reproduction: the document that its table, metric by metric, is made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from evalkit.report.document import Column, Document, Item, Listing, Quantity
from evalkit.report.numbers import ARROWS, absent, number, places
from evalkit.results.comparable import unverified
from evalkit.results.record import Record
from evalkit.results.reproduced import LEAST_SEEDS, LEVEL
from evalkit.results.summary import heading, of_scores, random_weights, records, references, unique_titles, warning

TITLE = "Against what was published"  # over the listing, in the document of a result
MOST_PLACES = 4  # decimals: more would say nothing beside a tolerance


def document(record: Record) -> Document[Listing]:
    """Say of each score of each model what was published, how far it is from it, and whether it is reproduced."""
    scores = _scores(record)
    return Document(
        title=f"{', '.join(dict.fromkeys(score['model'] for score in scores))} against what was published",
        heading=f"{heading(record)}; {_outcome(scores)}",
        warning=warning(random_weights(record)),
        table=_verdicts(record, scores),
        notes=[*_notes(record, scores), *_bands(record, scores), *record.remarks],
        more=list(_context(record, scores)),
        plain={"scores": records(record.scores)},
    )


def listings(record: Record) -> list[Listing]:
    """The same listing for the document of a result, where every model has a verdict that seeds could decide."""
    scores = _scores(record)
    decided = {score["model"] for score in scores if score["sets"] >= LEAST_SEEDS}
    if not scores or not all(score["verdict"] and score["model"] in decided for score in scores):
        return []
    return [dataclasses.replace(_verdicts(record, scores), title=TITLE, notes=list(_bands(record, scores)))]


def _scores(record: Record) -> list[dict[str, Any]]:
    """The scores of models, not of calibration rows."""
    return [score for score in records(record.scores) if not record.rows[score["model"]].calibration]


def _outcome(scores: Sequence[Mapping[str, Any]]) -> str:
    """How many published values there are, and how many of them have which verdict."""
    said: dict[str, int] = {}
    for score in scores:
        if not absent(score["published"]):
            verdict = score["verdict"].partition(" (")[0].casefold()
            said[verdict] = said.get(verdict, 0) + 1
    if not said:
        return "no published value to compare with"
    several = "s" if sum(said.values()) > 1 else ""
    counted = (f"{n} {'differ' if verdict == 'differs' and n > 1 else verdict}" for verdict, n in said.items())
    return f"{sum(said.values())} published value{several}: {', '.join(counted)}"


def _verdicts(record: Record, scores: Sequence[Mapping[str, Any]]) -> Listing:
    several = len({score["model"] for score in scores}) > 1
    return Listing(
        columns=[
            [Quantity("name", "metric", "word"), *([Quantity("model", "model", "word")] if several else [])],
            [
                Quantity("value", "measured", "number"),
                Quantity("seed_sd", "seed sd", "number", "standard deviation over sampling seeds"),
            ],
            [Quantity("sets", "seeds", "count"), Quantity("n", "n", "count")],
            [
                Quantity("coverage", "of n", "share", "share of the number of clips that was published on"),
                Quantity("published", "published", "published"),
            ],
            [
                Quantity("difference", "difference", "signed", "measured − published"),
                Quantity("interval", "interval", "interval"),
            ],
            [
                Quantity("verdict", "verdict", "verdict"),
                Quantity("tolerance", "tolerance", "number", "that a difference may have in either direction"),
            ],
        ],
        rows=[Item(_cell(record, score), _plain(score)) for score in scores],
    )


def _cell(record: Record, score: Mapping[str, Any]) -> dict[str, Any]:
    width = score["difference_high"] - score["difference_low"]
    return {
        **{key: value for key, value in _plain(score).items() if key != "comparable"},  # the verdict says it
        "name": _title(record, score["metric"]),
        "low": score["difference_low"],
        "high": score["difference_high"],
        "places": min(MOST_PLACES, places(score["tolerance"], width, score["seed_sd"])),
    }


def _title(record: Record, metric: str) -> Column:
    arrow = ARROWS[record.metrics[metric].higher_is_better]
    return Column(metric, unique_titles(record.metrics)[metric], arrow)


def _plain(score: Mapping[str, Any]) -> dict[str, Any]:
    """The score with the share of the published number of clips that it is of; its own interval is over prompts."""
    coverage = score["n"] / score["published_n"]
    return {key: value for key, value in score.items() if key not in ("low", "high")} | {"coverage": coverage}


def _notes(record: Record, scores: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say what a reader of the verdicts must know, each thing once."""
    yield from of_scores(record)
    yield references(record)
    beside = [score for score in scores if not absent(score["published"])]
    unchecked = dict.fromkeys(x for s in beside for x in unverified(record, s["model"], s["metric"]))
    if unchecked:
        yield f"all of this as far as is known: not verified, because too little was published: {'; '.join(unchecked)}"
    sources = dict.fromkeys((s["source"], s["url"]) for s in scores if s["source"])
    yield from (f"published: {title}, {url}" for title, url in sources)


def _bands(record: Record, scores: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say what the tolerances are and why, and what the intervals are."""
    titles = unique_titles(record.metrics)
    banded = [score for score in scores if not absent(score["tolerance"])]
    yield from dict.fromkeys(
        f"{titles[s['metric']]}: tolerance ±{number(s['tolerance'], places(s['tolerance']))}, "
        f"rounding ±{s['rounding']:g}{': ' if s['because'] else ''}{s['because']}"
        for s in banded
    )
    if any(not absent(score["difference_low"]) for score in scores):
        yield (
            f"intervals: {LEVEL:.3g} confidence, of the noise of sampling seeds in either value given the prompts, of "
            "prompts that either is not of, and of rounding"
        )


def _context(record: Record, scores: Iterable[Mapping[str, Any]]) -> Iterator[Listing]:
    """What was published for the checkpoint that a model was tuned from, where the model has no numbers."""
    shown: dict[str, list[Mapping[str, Any]]] = {}
    for score in scores:
        if score["tuned_from"] and not absent(score["context"]):
            shown.setdefault(score["tuned_from"], []).append(score)
    for origin, found in shown.items():
        yield Listing(
            columns=[
                [Quantity("name", "metric", "word")],
                [Quantity("value", "measured", "number")],
                [Quantity("published", f"published for {origin}", "published")],
                [Quantity("difference", "difference", "signed")],
            ],
            rows=[
                Item(
                    {
                        "name": _title(record, score["metric"]),
                        "value": score["value"],
                        "published": score["context"],
                        "difference": score["value"] - score["context"],
                    },
                    dict(score),
                )
                for score in found
            ],
            title=f"For context only: {origin}",
            intro="It is the checkpoint that this one was tuned from, under the same protocol, which takes the mean of "
            "the channels: another checkpoint, so that nothing is reproduced.",
        )
