"""Several results in one document, which never sets numbers of different protocols side by side unasked."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.report.document import Column, Document, Row, Table
from evalkit.report.numbers import ARROWS
from evalkit.results import ways
from evalkit.results.alike import (
    NAMED,
    differences,
    parts_differ,
    prompts_differ,
    protocols_differ,
    references_differ,
)
from evalkit.results.comparable import SECONDS
from evalkit.results.options import Options
from evalkit.results.record import MetricInfo, Record
from evalkit.results.summary import heading, intervals, main_table, notes, random_weights, unique_titles, warning
from evalkit.store.digests import digest


def join(results: Sequence[Record], across_protocols: bool) -> Document[Table]:
    """Say what several results measured, in one document.

    Rows with the same name are told apart by the options in which the runs differ, by the protocol, and where that
    does not suffice by the run (its folder's name).

    Raises EvalkitError for results on different prompts or against different references, of clips of
    different durations, with intervals of different levels, and for different protocols, which may compare with
    other parts of the same references, unless `across_protocols` is set.
    """
    if twice := [str(path) for path, n in Counter(result.path.resolve() for result in results).items() if n > 1]:
        raise EvalkitError(f"'{twice[0]}' is given twice: give each result once")
    made = [result for result in results if any(r.generated and not r.calibration for r in result.rows.values())]
    durations = sorted({result.sampling["duration"] for result in made})
    if len(durations) > 1:
        seconds = " and ".join(f"{duration:g} s" for duration in durations)
        raise EvalkitError(
            f"the results are of clips of different durations ({seconds}): they cannot stand in one table"
        )
    for different in (prompts_differ, references_differ):
        for other in results[1:]:
            said = different(results[0], other)
            by_protocol = protocols_differ(results[0], other) if said == parts_differ(results[0], other) else ""
            if said and not (by_protocol and across_protocols):
                nevertheless = f" ({by_protocol}): add --across-protocols to set them side by side nevertheless"
                raise EvalkitError(
                    f"'{other.path.name}' and '{results[0].path.name}' cannot stand in one table: {said}"
                    + (nevertheless if by_protocol else "")
                )
    protocols = _mixed_protocols(results)
    mixed = "; ".join([*([f"protocols {', '.join(protocols)}"] if len(protocols) > 1 else []), *_computed(results)])
    if protocols and not across_protocols:
        raise EvalkitError(
            f"the results are of different computations ({mixed}), whose numbers are different quantities: "
            "add --across-protocols to set them side by side nevertheless"
        )
    levels = sorted({result.uncertainty["level"] for result in results})
    if len(levels) > 1:
        named = " and ".join(f"{level:g}" for level in levels)
        raise EvalkitError(
            f"the results have intervals of different levels ({named}): run them with one uncertainty.level"
        )
    options = Options(results)
    runs = _runs(results, options)
    table, differing = _table(results, options, bool(protocols)), _numbers(results, runs)
    return Document(
        title=results[0].prompts_info.dataset,
        heading=heading(*results),
        warning=warning(list(dict.fromkeys(name for result in results for name in random_weights(result)))),
        table=table if not differing else dataclasses.replace(table, show_n=True),
        notes=[
            *([f"different computations, not comparable down a column: {mixed}"] if protocols else []),
            *_parts(results, runs),
            *differing,
            *_durations(results, runs),
            *_notes(results, runs),
            *_same_clips(results),
            *_ways(results, runs),
        ],
        intervals=next(filter(None, map(intervals, results)), ""),
        plain={
            "results": [str(result.path) for result in results],
            "made": [{name: row.made for name, row in result.rows.items() if row.made} for result in results],
        },
    )


def _parts(results: Sequence[Record], runs: Sequence[str]) -> list[str]:
    """Where clips are compared with other parts of the references than in the first result."""
    found = zip(runs[1:], (parts_differ(results[0], other) for other in results[1:]), strict=True)
    return [f"{run}: {said}, as in {runs[0]}" for run, said in found if said]


def _mixed_protocols(results: Sequence[Record]) -> list[str]:
    """The names of the protocols of metrics that are not computed alike in all results; empty if all are."""
    followed: dict[str, dict[str, str]] = {}  # of each metric, what it computes, and the name of that
    for result in results:
        for name, metric in result.metrics.items():
            computed = digest([result.protocol.switches, metric.definition])
            followed.setdefault(name, {})[computed] = metric.protocol
    mixed = [names for names in followed.values() if len(names) > 1]
    return list(dict.fromkeys(name for names in mixed for name in names.values()))


def _computed(results: Sequence[Record]) -> list[str]:
    """In what metrics are computed differently, where that is not another protocol as a whole."""
    first, said = results[0], dict[str, None]()
    for other in results[1:]:
        plain = [result.protocol.name.partition(" (")[0] for result in (first, other)]
        if plain[0] != plain[1]:
            continue
        switches = list(differences(other.protocol.switches, first.protocol.switches))
        said.update({f"{key} {text}": None for key, text in switches})
        known = {key.rpartition(".")[2] for key, _ in switches}
        for name, metric in other.metrics.items():
            for key, text in (
                differences(metric.definition, first.metrics[name].definition) if name in first.metrics else ()
            ):
                if key == "random_weights":
                    said[f"{key} {text}"] = None
                elif key.rpartition(".")[2] not in known:
                    said[f"{metric.title}: {key.replace('.', ' ')} {text}"] = None
    more = [f"and {len(said) - NAMED:,} more"] if len(said) > NAMED else []
    return [*list(said)[:NAMED], *more]


def _table(results: Sequence[Record], options: Options, mixed: bool) -> Table:
    tables = [main_table(result) for result in results]
    metrics: dict[str, MetricInfo] = {}
    for result in results:
        metrics |= result.metrics
    titles = unique_titles(metrics)
    rows, runs = [], _folders(results)
    for place, (result, table) in enumerate(zip(results, tables, strict=True)):
        for name, row in zip(result.rows, table.rows, strict=True):
            values = options.of(place, name, result.rows[name].generated)
            labels: dict[str, Any] = {"model": row.labels["model"]}
            labels |= {"protocol": _protocol(result)} if mixed else {}
            labels |= {name: options.text(place, name) for name in values}
            followed = {f"{name}_protocol": metric.protocol for name, metric in result.metrics.items()}
            plain = {**row.plain, **values, "protocol": _protocol(result), "run": runs[place], **followed}
            rows.append(Row(labels, row.cells, row.about, plain))
    times = Counter(tuple(row.labels.items()) for row in rows)
    rows = [
        dataclasses.replace(row, labels={**row.labels, "run": row.plain["run"]})
        if times[*row.labels.items()] > 1
        else row
        for row in rows
    ]
    columns = [Column(name, titles[name], ARROWS[info.higher_is_better]) for name, info in metrics.items()]
    return Table(columns, rows, show_n=any(table.show_n for table in tables))


def _protocol(result: Record) -> str:
    """The protocol that all metrics of a result follow, else that of the run."""
    own = {metric.protocol for metric in result.metrics.values()}
    return own.pop() if len(own) == 1 else result.protocol.name


def _folders(results: Sequence[Record]) -> list[str]:
    """The name of each result's folder, or its path where these are alike."""
    names = [result.path.name for result in results]
    return names if len(set(names)) == len(names) else [str(result.path) for result in results]


def _runs(results: Sequence[Record], options: Options) -> list[str]:
    """What each result is called: by the options in which all differ, or else by its folder."""
    protocols = [f"protocol={result.protocol.name}" for result in results]
    if len(set(protocols)) == 1:
        protocols = [""] * len(results)
    named = [
        ", ".join(filter(None, [protocols[place], *(f"{n}={options.text(place, n)}" for n in options.of(place))]))
        for place in range(len(results))
    ]
    return named if all(named) and len(set(named)) == len(named) else _folders(results)


def _numbers(results: Sequence[Record], runs: Sequence[str]) -> list[str]:
    """Where the values of one metric are not of the same prompts; rows of calibration have their own."""
    said: dict[str, list[str]] = {}
    for name, title in unique_titles({name: info for r in results for name, info in r.metrics.items()}).items():
        rows: dict[tuple[int, frozenset[str]], list[str]] = {}
        for result, run in zip(results, runs, strict=True):
            scores = result.scores[result.scores["metric"] == name]
            for model, n in zip(scores["model"], scores["n"], strict=True):
                if not result.rows[model].calibration:
                    used = _used(result, model, name) if result.prompts_info.form == "prompts" else frozenset()
                    rows.setdefault((int(n), used), []).append(f"{model} ({run})")
        if len({n for n, _ in rows}) > 1:
            counts: dict[int, list[str]] = {}
            for (n, _), names in sorted(rows.items(), key=lambda item: item[0][0]):
                counts.setdefault(n, []).extend(names)
            where = "; ".join(f"n {n:,}: {', '.join(names)}" for n, names in counts.items())
            what = "prompts" if results[0].prompts_info.form == "prompts" else "clips"
            said.setdefault(f"not of the same number of {what}: {where}", []).append(title)
        elif len(rows) > 1:
            said.setdefault("of as many prompts, but not of the same ones", []).append(title)
    return [f"{', '.join(titles)}: {text}" for text, titles in said.items()]


def _durations(results: Sequence[Record], runs: Sequence[str]) -> list[str]:
    """Where clips last longer in one row than in another, as those may that were made elsewhere."""
    rows: dict[float, list[str]] = {}
    for result, run in zip(results, runs, strict=True):
        lengths = result.clips[result.clips["status"] == "ok"].groupby("model")["length"].median()
        for model, seconds in lengths.dropna().items():
            if not result.rows[str(model)].calibration:
                rows.setdefault(round(seconds, 1), []).append(f"{model} ({run})")
    if not rows or max(rows) - min(rows) <= SECONDS:
        return []
    return ["clips of different durations: " + "; ".join(f"{s:g} s: {', '.join(rows[s])}" for s in sorted(rows))]


def _used(result: Record, model: str, metric: str) -> frozenset[str]:
    """The prompts whose clips, and references where a metric needs them, are usable."""
    clips = result.clips[result.clips["model"] == model]
    usable = clips["status"] == "ok"
    if result.metrics[metric].compares_with == "references":
        usable &= clips["reference_status"] == "ok"
    return frozenset(clips.loc[usable, "id"]) - frozenset(clips.loc[~usable, "id"])


def _notes(results: Sequence[Record], runs: Sequence[str]) -> list[str]:
    """The notes of all results: those that only some have, after their runs' names."""
    other: dict[str, dict[str, None]] = {}
    for result in results:
        for metric in result.metrics.values():
            if metric.protocol != _protocol(result):
                other.setdefault(metric.protocol, {})[metric.title] = None
    lines = [f"{protocol}: {', '.join(titles)}" for protocol, titles in other.items()]
    said: dict[str, list[str]] = {}
    for result, run in zip(results, runs, strict=True):
        for note in notes(result):
            said.setdefault(note, []).append(run)
    return lines + [
        note if len(where) == len(results) else f"{'; '.join(where)}: {note}" for note, where in said.items()
    ]


def _ways(results: Sequence[Record], runs: Sequence[str]) -> list[str]:
    """Say in which ways clips were made where these are not the same in all results; nothing of older results."""
    made = [(result, run) for result, run in zip(results, runs, strict=True) if ways.said(result)]
    if all(ways.kinds(result) == ways.kinds(made[0][0]) for result, _ in made):
        return []
    found: dict[str, list[str]] = {}
    for result, run in made:
        found.setdefault(ways.said(result), []).append(run)
    return [f"{'; '.join(where)}: generated {text}" for text, where in found.items()]


def _same_clips(results: Sequence[Record]) -> list[str]:
    """Say whether the clips of rows that several results have are the same ones there; nothing of other rows."""
    clips: dict[str, list[set[tuple[Any, ...]]]] = {}
    for result in results:
        for model, own in result.clips.groupby("model", sort=False):
            found = {*own[["id", "sample", "sha256"]].itertuples(index=False, name=None)}
            clips.setdefault(str(model), []).append(found)
    several = {model: sets for model, sets in clips.items() if len(sets) > 1}
    differ = [model for model, sets in several.items() if any(found != sets[0] for found in sets)]
    if differ:
        return [f"{', '.join(differ)}: not the same clips in all results"]
    return ["each model's clips are the same in all results"] if several else []
