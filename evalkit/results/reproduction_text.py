"""What is said of a reproduction: the document that its table, metric by metric, is made from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from evalkit.report.document import Column, Document, Item, Listing, Quantity
from evalkit.report.numbers import ARROWS, absent, number, places
from evalkit.results.comparable import unverified
from evalkit.results.published import Published
from evalkit.results.record import Record
from evalkit.results.reproduced import LEVEL, UNVERIFIED
from evalkit.results.summary import heading, random_weights, records, references, unique_titles, warning

MOST_PLACES = 4  # decimals: more would say nothing beside a tolerance


def document(record: Record, published: Sequence[Published] = ()) -> Document[Listing]:
    """Say of each score of each model what was published, how far it is from it, and whether it is reproduced.

    Args:
        published: what the models were measured against, for the number of its clips, its caveats and the reason of
            each tolerance, which the record does not have.
    """
    scores = [score for score in records(record.scores) if not record.rows[score["model"]].calibration]
    sources = {(p.model, p.metric): p for p in published}
    rows = [(score, sources.get((record.rows[score["model"]].published or "", score["metric"]))) for score in scores]
    return Document(
        title=f"{', '.join(dict.fromkeys(score['model'] for score in scores))} against what was published",
        heading=f"{heading(record)}; {_outcome(scores)}",
        warning=warning(random_weights(record)),
        table=_verdicts(record, rows),
        notes=list(_notes(record, rows)),
        more=list(_context(record, scores)),
        plain={"scores": records(record.scores)},
    )


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


def _verdicts(record: Record, rows: Iterable[tuple[Mapping[str, Any], Published | None]]) -> Listing:
    several = len({score["model"] for score, _ in rows}) > 1
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
        rows=[Item(_cell(record, score, source), _plain(score, source)) for score, source in rows],
    )


def _cell(record: Record, score: Mapping[str, Any], source: Published | None) -> dict[str, Any]:
    width = score["difference_high"] - score["difference_low"]
    return {
        **{key: value for key, value in _plain(score, source).items() if key != "comparable"},  # the verdict says it
        "name": _title(record, score["metric"]),
        "low": score["difference_low"],
        "high": score["difference_high"],
        "places": min(MOST_PLACES, places(score["tolerance"], width, score["seed_sd"])),
    }


def _title(record: Record, metric: str) -> Column:
    arrow = ARROWS[record.metrics[metric].higher_is_better]
    return Column(metric, unique_titles(record.metrics)[metric], arrow)


def _plain(score: Mapping[str, Any], source: Published | None) -> dict[str, Any]:
    """The score with the share of the published number of clips that it is of; its own interval is over prompts."""
    coverage = score["n"] / source.n if source and source.n else math.nan
    return {key: value for key, value in score.items() if key not in ("low", "high")} | {"coverage": coverage}


def _notes(record: Record, rows: Sequence[tuple[Mapping[str, Any], Published | None]]) -> Iterator[str]:
    """Say what a reader of the verdicts must know, each thing once."""
    titles = unique_titles(record.metrics)
    judged = [(score, score["verdict_reason"].partition(UNVERIFIED)[0]) for score, _ in rows if score["verdict"]]
    yield from _of_metrics((titles[s["metric"]], f"{s['verdict']}: {why}") for s, why in judged if why)
    yield references(record)
    beside = [s for s, _ in judged if not absent(s["published"])]
    unchecked = dict.fromkeys(x for s in beside for x in unverified(record, s["model"], s["metric"]))
    if unchecked:
        yield f"all of this as far as is known: not verified, because too little was published: {'; '.join(unchecked)}"
    sources = dict.fromkeys((s["source"], s["url"]) for s, _ in rows if s["source"])
    yield from (f"published: {title}, {url}" for title, url in sources)
    banded = [(s, p) for s, p in rows if p and p.tolerance and not absent(s["tolerance"])]
    for score, source in banded:
        assert source.tolerance is not None
        band = number(score["tolerance"], places(score["tolerance"]))
        why = " ".join(source.tolerance.because.split())
        yield f"{titles[score['metric']]}: tolerance ±{band}, rounding ±{score['rounding']:g}: {why}"
    caveats = [(s, caveat) for s, p in rows if p for caveat in p.caveats if caveat not in s["verdict_reason"]]
    yield from _of_metrics((titles[s["metric"]], caveat) for s, caveat in caveats)
    if any(not absent(score["difference_low"]) for score, _ in rows):
        yield (
            f"intervals: {LEVEL:.3g} confidence, of the noise of sampling seeds in either value given the prompts, of "
            "prompts that either is not of, and of rounding"
        )
    yield from record.remarks


def _of_metrics(said: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Each sentence once, with the metrics that it is about."""
    about: dict[str, list[str]] = {}
    for title, line in said:
        about.setdefault(line, []).append(title)
    yield from (f"{', '.join(titles)}: {line}" for line, titles in about.items())


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
