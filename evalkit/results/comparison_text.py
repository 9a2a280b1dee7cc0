"""What is said of a comparison: the document that every form of it is made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Literal
from urllib.parse import quote

from evalkit.report.document import Case, Column, Document, Item, Link, Listing, Quantity
from evalkit.report.literal import literal
from evalkit.report.numbers import ARROWS, NONE, absent, count, interval, number, places, signed
from evalkit.results.clusters import over
from evalkit.results.comparison_record import ComparisonRecord, SideInfo
from evalkit.results.gate import HIGHER_IS_BETTER
from evalkit.results.summary import records

SHOWN_SLICES = 10  # slices in the table of those that moved most
SHOWN_UNCHANGED = 3  # of these, slices that are not gated and of which it is not sure that they have changed
SHOWN_PROMPTS = 9  # prompts in the table of those that moved most
OF_A_METRIC = 3  # of them
CAPTION = 60  # characters of a caption

Status = Literal["passed", "failed", "undecided"]

DIRECTIONS = {direction: ARROWS[higher] for direction, higher in HIGHER_IS_BETTER.items()}
VERDICTS: Mapping[str, Status] = {"PASS": "passed", "BREACH": "failed"}  # all others are undecided
OUTCOMES: Mapping[str, Status] = {"GO": "passed", "NO-GO": "failed", "INCONCLUSIVE": "undecided"}
DECIDING = ("critical", "supporting")  # tiers
RANKED = ("tier", "verdict")
UNGATED = "not gated"  # of metrics that the gate does not name


def document(comparison: ComparisonRecord) -> Document[Listing]:
    """Say everything about a comparison: outcome, metrics, slices and prompts that moved most, and provenance."""
    alike = bool({side.row for side in comparison.candidate} & {side.row for side in comparison.baseline})
    ours, theirs = _named(comparison.candidate, alike), _named(comparison.baseline, alike)
    return Document(
        title=f"{ours} against {theirs}",
        outcome=comparison.outcome,
        suite="/".join([comparison.dataset, comparison.subset, comparison.protocol]),
        reasons=comparison.reasons,
        warning=" ".join(map(_sentence, comparison.warnings)),
        heading=f"{comparison.dataset}, subset {comparison.subset}: {comparison.prompts:,} of "
        f"{comparison.prompts_total:,} prompts, protocol {comparison.protocol}",
        table=_metrics(comparison),
        notes=_notes(comparison),
        intervals=_intervals(comparison),
        more=[*_slices(comparison), *_moved(comparison)],
        provenance=_provenance(comparison),
        plain=_plain(comparison),
        cases=list(_cases(comparison)),
    )


def _named(side: Sequence[SideInfo], with_folders: bool) -> str:
    """What a side is called: its rows, with the names of their folders where rows do not tell the sides apart."""
    named = (f"{one.row} of {PurePath(one.path).name}" if with_folders else one.row for one in side)
    names = ", ".join(dict.fromkeys(named))
    return names if len(side) == 1 else f"{len(side)} results ({names})"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")


def _metrics(comparison: ComparisonRecord) -> Listing:
    gate = comparison.gate
    return Listing(
        columns=[
            [Quantity("name", "metric", "word"), Quantity("tier", "tier", "word")],
            [Quantity("baseline", "baseline", "number"), Quantity("candidate", "candidate", "number")],
            [
                Quantity("difference", "difference", "signed", "candidate − baseline, with its interval"),
                Quantity("interval", "interval", "interval"),
            ],
            [
                Quantity("margin", "margin", "number", "by how much the candidate may be worse"),
                Quantity(
                    "mde", "sees", "number", f"the smallest difference that is seen with power {gate['power']:.0%}"
                ),
            ],
            [Quantity("p", "p", "p", "of no difference; it decides nothing"), Quantity("n", "n", "count")],
            [Quantity("verdict", "verdict", "verdict"), Quantity("effect", "effect", "word")],
        ],
        rows=[Item(_metric_cell(row), row) for row in records(comparison.metrics)],
    )


def _metric_cell(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **row,
        "name": _title(row, row["direction"]),
        "tier": row["tier"] or UNGATED,
        "n": row["n"] or None,
        "places": places(row["margin"], row["mde"], row["high"] - row["low"]),
    }


def _title(row: Mapping[str, Any], direction: str) -> Column:
    return Column(row["metric"], row["title"], DIRECTIONS.get(direction, ""))


def _notes(comparison: ComparisonRecord) -> list[str]:
    """Say what a reader of the table must know, each thing once."""
    metrics = records(comparison.metrics)
    lines = []
    for row in metrics:
        if row["reason"] and row["verdict"] != "PASS" and not any(row["reason"] in text for text in comparison.reasons):
            lines.append(f"{row['title']}: {row['reason']}")
    lines += _by_metric(metrics, "note")
    lines += _by_metric(metrics, "method", "interval: ")
    lines += _by_metric([row for row in metrics if row["test"] != "none"], "test", "p: ")
    for name, side in (("baseline", comparison.baseline), ("candidate", comparison.candidate)):
        if len(side) > 1:
            lines.append(f"{name}: values are means over {len(side)} results, which count as clusters")
    return [*lines, _intervals(comparison), *comparison.remarks]


def _intervals(comparison: ComparisonRecord) -> str:
    return f"intervals: {comparison.gate['level']:.3g} confidence, over {over(comparison.clusters)}"


def _by_metric(metrics: Sequence[Mapping[str, Any]], key: str, about: str = "") -> Iterator[str]:
    """What is said of metrics, each sentence once, with those that it is about."""
    said: dict[str, list[str]] = {}
    for row in metrics:
        for line in row[key].splitlines():
            said.setdefault(line, []).append(row["title"])
    for line, titles in said.items():
        yield about + (line if len(titles) == len(metrics) > 1 else f"{', '.join(titles)}: {line}")


def _slices(comparison: ComparisonRecord) -> Iterator[Listing]:
    """The groups of prompts that are gated or have changed, then those that moved most."""
    slices = comparison.slices
    unsettled, changed = slices["gated"] & (slices["verdict"] != "PASS"), slices["change"] != ""
    ranked = slices.assign(unsettled=unsettled, changed=changed)[slices["gated"] | (slices["difference"].abs() > 0)]
    ranked = ranked.sort_values(
        ["unsettled", "changed", "gated", "p_adjusted"], ascending=[False, False, False, True], kind="stable"
    )
    if ranked.empty:
        return
    directions = dict(zip(comparison.metrics["metric"], comparison.metrics["direction"], strict=True))
    sure = int((ranked["unsettled"] | ranked["changed"] | ranked["gated"]).sum())
    shown = records(ranked.head(min(SHOWN_SLICES, sure + SHOWN_UNCHANGED))[slices.columns])
    yield Listing(
        columns=[
            [Quantity("name", "slice", "word"), Quantity("metric", "metric", "word")],
            [Quantity("baseline", "baseline", "number"), Quantity("candidate", "candidate", "number")],
            [Quantity("difference", "difference", "signed"), Quantity("interval", "interval", "interval")],
            [
                Quantity("p_adjusted", "p", "p", "of no difference, adjusted for all slices and metrics"),
                Quantity("n", "n", "count"),
            ],
            [Quantity("change", "change", "verdict"), Quantity("verdict", "verdict", "verdict")],
        ],
        rows=[
            Item(
                {
                    **row,
                    "name": f"{row['slice']}: {row['group']}",
                    "metric": _title(row, directions.get(row["metric"], "")),
                    "places": places(row["high"] - row["low"]),
                },
                row,
            )
            for row in shown
        ],
        title="Slices that moved most",
        intro=f"{changed.sum():,} of {len(slices):,} pairs of slice and metric changed; shown: {len(shown):,}.",
        notes=list(_by_slice(shown)),
    )


def _by_slice(slices: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What is said of slices, each sentence once, with those that it is about."""
    said: dict[str, list[str]] = {}
    for row in slices:
        reason = "" if row["verdict"] == "PASS" else row["reason"]
        for line in [*reason.splitlines(), *row["note"].splitlines()]:
            said.setdefault(line, []).append(f"{row['group']} ({row['title']})")
    for line, slices_of_it in said.items():
        yield f"{', '.join(slices_of_it)}: {line}"


def _moved(comparison: ComparisonRecord) -> Iterator[Listing]:
    """The prompts that moved most, with links to what was compared."""
    moved = comparison.moved
    if moved.empty:
        return
    directions = dict(zip(comparison.metrics["metric"], comparison.metrics["direction"], strict=True))
    tiers, verdicts = (dict(zip(comparison.metrics["metric"], comparison.metrics[k], strict=True)) for k in RANKED)
    ranked = moved.assign(
        aside=~moved["metric"].map(tiers).isin(DECIDING), passed=moved["metric"].map(verdicts) == "PASS"
    ).sort_values(["aside", "passed"], kind="stable")[moved.columns]
    shown = records(ranked.groupby("metric", sort=False).head(OF_A_METRIC).head(SHOWN_PROMPTS))
    yield Listing(
        columns=[
            [Quantity("caption", "prompt", "word"), Quantity("id", "id", "word")],
            [Quantity("metric", "metric", "word"), Quantity("change", "change", "verdict")],
            [Quantity("baseline", "baseline", "number"), Quantity("candidate", "candidate", "number")],
            [Quantity("difference", "difference", "signed")],
            [Quantity("links", "listen", "links")],
        ],
        rows=[
            Item(
                {
                    **row,
                    "caption": _shortened(row["caption"]),
                    "metric": _title(row, directions.get(row["metric"], "")),
                    "links": [
                        Link(side, _url(row[f"{side}_path"]))
                        for side in ("baseline", "candidate", "reference")
                        if not absent(row[f"{side}_path"])
                    ],
                },
                row,
            )
            for row in shown
        ],
        title="Prompts that moved most",
        intro=f"{len(shown):,} of {len(moved):,}: of metrics that decide, and that do not PASS, first.",
    )


def _shortened(caption: str) -> str:
    text = literal(caption)
    return text if len(text) <= CAPTION else f"{text[: CAPTION - 1].rstrip()}…"


def _url(path: str) -> str:
    """A path as a link, which holds nothing that Markdown or a terminal reads as its own."""
    quoted = quote(path, errors="replace")
    return f"file://{quoted}" if path.startswith("/") else quoted


def _provenance(comparison: ComparisonRecord) -> dict[str, str]:
    facts = {}
    for name, side in (("baseline", comparison.baseline), ("candidate", comparison.candidate)):
        for k, info in enumerate(side, 1):
            facts[name if len(side) == 1 else f"{name} {k}"] = _side(info)
    return facts


def _side(info: SideInfo) -> str:
    said = [
        f"{info.row} of {info.path}, SHA-256 {info.sha256[:12]}",
        f"checkpoint {info.checkpoint}" if info.checkpoint else "",
        f"digest {info.digest[:12]}" if info.digest else "",
        f"commit {info.commit or 'unknown'}",
        "random weights" if info.random else "",
        "" if info.generated else "clips that were there",
    ]
    return ", ".join(filter(None, said))


def _plain(comparison: ComparisonRecord) -> dict[str, Any]:
    """What machines may want beside the metrics and the notes, as a JSON-like value."""
    return {
        "schema": comparison.schema,
        "outcome": comparison.outcome,
        "reasons": comparison.reasons,
        "warnings": comparison.warnings,
        "dataset": comparison.dataset,
        "subset": comparison.subset,
        "protocol": comparison.protocol,
        "prompts": comparison.prompts,
        "prompts_total": comparison.prompts_total,
        **({"clusters": comparison.clusters} if comparison.clusters else {}),
        "random_weights": comparison.random,
        "baseline": [dataclasses.asdict(info) for info in comparison.baseline],
        "candidate": [dataclasses.asdict(info) for info in comparison.candidate],
        "gate": comparison.gate,
        "slices": records(comparison.slices),
        "moved": records(comparison.moved),
    }


def _cases(comparison: ComparisonRecord) -> Iterator[Case]:
    """What was judged: the whole, each metric, and each slice that is gated."""
    reasons = [*comparison.reasons, *comparison.warnings]
    facts = {"prompts": comparison.prompts, "prompts_total": comparison.prompts_total}
    yield Case("outcome", "gate", OUTCOMES[comparison.outcome], comparison.outcome, "\n".join(reasons), facts)
    tiers = {row["metric"]: row["tier"] or UNGATED for row in records(comparison.metrics)}
    for row in records(comparison.metrics):
        yield _case([tiers[row["metric"]], row["metric"]], row["title"], row)
    for row in records(comparison.slices[comparison.slices["gated"]]):
        part = f"{row['slice']}:{row['group']}"
        yield _case([tiers.get(row["metric"], UNGATED), row["metric"], part], f"{row['title']}, {part}", row)


def _case(path: Sequence[str], name: str, row: Mapping[str, Any]) -> Case:
    """A case of a metric or slice; what decides nothing has passed, whatever its verdict."""
    digits = places(row["margin"], row["high"] - row["low"])
    known = {
        "baseline": number(row["baseline"], digits),
        "candidate": number(row["candidate"], digits),
        "difference": signed(row["difference"], digits),
        "interval": interval(row["low"], row["high"], places=digits) or NONE,
        "margin": number(row["margin"], digits),
        "n": count(row["n"]),
    }
    lines = [row["reason"], ", ".join(f"{key} {text}" for key, text in known.items()), *row["note"].splitlines()]
    status = VERDICTS.get(row["verdict"], "undecided")
    if path[0] not in DECIDING:
        status = "passed"
        lines.insert(0, f"{path[0]}, decides nothing" + (f": {row['verdict']}" if row["verdict"] else ""))
    facts = {key: value for key, value in row.items() if not isinstance(value, str) and not absent(value)}
    return Case(".".join(path), name, status, row["verdict"], "\n".join(filter(None, lines)), facts)
