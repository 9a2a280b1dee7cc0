"""Several results in one document, which never sets numbers of different protocols side by side unasked."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from evalkit.errors import EvalkitError
from evalkit.report.document import Column, Document, Row, Table
from evalkit.report.numbers import ARROWS
from evalkit.results.record import MetricInfo, Record
from evalkit.results.summary import heading, main_table, notes, random_weights, unique_titles, warning
from evalkit.store.digests import digest


def join(results: Sequence[Record], across_protocols: bool) -> Document:
    """Say what several results measured, in one document.

    Rows with the same name are told apart by the protocol and by the run (its folder's name).

    Raises EvalkitError for results on different prompts or against different references, of clips of
    different durations, with intervals of different levels, and for different protocols unless
    `across_protocols` is set.
    """
    if twice := [str(path) for path, n in Counter(result.path.resolve() for result in results).items() if n > 1]:
        raise EvalkitError(f"'{twice[0]}' is given twice: give each result once")
    if len({digest(dataclasses.asdict(result.prompts_info)) for result in results}) > 1:
        raise EvalkitError("the results were measured on different prompts: they cannot stand in one table")
    protocols = _mixed_protocols(results)
    if protocols and not across_protocols:
        named = ", ".join(protocols) if len(protocols) > 1 else f"{protocols[0]}, with other weights or parameters"
        raise EvalkitError(
            f"the results follow different protocols ({named}), whose numbers are different quantities: "
            "add --across-protocols to set them side by side nevertheless"
        )
    if len({result.sampling["duration"] for result in results}) > 1:
        raise EvalkitError("the results are of clips of different durations: they cannot stand in one table")
    if len({r.references_info.sha256 for r in results if r.references_info}) > 1:
        raise EvalkitError("the results were measured against different references: they cannot stand in one table")
    if len({result.uncertainty["level"] for result in results}) > 1:
        raise EvalkitError("the results have intervals of different levels: run them with one uncertainty.level")
    mixed = f"different computations, not comparable down a column: protocols {', '.join(protocols)}"
    return Document(
        title=results[0].prompts_info.dataset,
        heading=heading(*results),
        warning=warning(list(dict.fromkeys(name for result in results for name in random_weights(result)))),
        table=_table(results, bool(protocols)),
        notes=[*([mixed] if protocols else []), *_notes(results), *_same_clips(results)],
        plain={"results": [str(result.path) for result in results]},
    )


def _mixed_protocols(results: Sequence[Record]) -> list[str]:
    """The names of the protocols of metrics that are not computed alike in all results; empty if all are."""
    followed: dict[str, dict[str, str]] = {}  # of each metric, what it computes, and the name of that
    for result in results:
        for name, metric in result.metrics.items():
            computed = digest([result.protocol.switches, metric.definition])
            followed.setdefault(name, {})[computed] = metric.protocol
    mixed = [names for names in followed.values() if len(names) > 1]
    return list(dict.fromkeys(name for names in mixed for name in names.values()))


def _table(results: Sequence[Record], mixed: bool) -> Table:
    tables = [main_table(result) for result in results]
    metrics: dict[str, MetricInfo] = {}
    for result in results:
        metrics |= result.metrics
    titles = unique_titles(metrics)
    found = [
        (result, run, row)
        for result, run, table in zip(results, _runs(results), tables, strict=True)
        for row in table.rows
    ]
    names = Counter((row.labels["model"], _protocol(result) if mixed else "") for result, _, row in found)
    rows = []
    for result, run, row in found:
        labels: dict[str, Any] = {"model": row.labels["model"]}
        labels |= {"protocol": _protocol(result)} if mixed else {}
        labels |= {"run": run} if max(names.values()) > 1 else {}
        followed = {f"{name}_protocol": metric.protocol for name, metric in result.metrics.items()}
        plain = {**row.plain, "protocol": _protocol(result), "run": run, **followed}
        rows.append(Row(labels, row.cells, row.about, plain))
    columns = [Column(name, titles[name], ARROWS[info.higher_is_better]) for name, info in metrics.items()]
    return Table(columns, rows, show_n=any(table.show_n for table in tables))


def _protocol(result: Record) -> str:
    """The protocol that all metrics of a result follow, else that of the run."""
    own = {metric.protocol for metric in result.metrics.values()}
    return own.pop() if len(own) == 1 else result.protocol.name


def _runs(results: Sequence[Record]) -> list[str]:
    """What each result is called: its folder's name, or its path where these are alike."""
    names = [result.path.name for result in results]
    return names if len(set(names)) == len(names) else [str(result.path) for result in results]


def _notes(results: Sequence[Record]) -> list[str]:
    """The notes of all results: those that only some have, after their runs' names."""
    other: dict[str, dict[str, None]] = {}
    for result in results:
        for metric in result.metrics.values():
            if metric.protocol != _protocol(result):
                other.setdefault(metric.protocol, {})[metric.title] = None
    lines = [f"{protocol}: {', '.join(titles)}" for protocol, titles in other.items()]
    said: dict[str, list[str]] = {}
    for result, run in zip(results, _runs(results), strict=True):
        for note in notes(result):
            said.setdefault(note, []).append(run)
    return lines + [note if len(runs) == len(results) else f"{', '.join(runs)}: {note}" for note, runs in said.items()]


def _same_clips(results: Sequence[Record]) -> list[str]:
    """Say whether the clips of rows that several results have are the same ones there; nothing of other rows."""
    clips = pd.concat(result.clips[["model", "id", "sample", "sha256"]] for result in results)
    differ = clips.groupby(["model", "id", "sample"])["sha256"].nunique().gt(1).groupby("model").any()
    names = [str(name) for name in differ[differ].index]
    if names:
        return [f"{', '.join(names)}: not the same clips in all results"]
    times = Counter(name for result in results for name in result.rows)
    return ["each model's clips are the same in all results"] if max(times.values()) > 1 else []
