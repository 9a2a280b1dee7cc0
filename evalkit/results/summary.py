"""What is said of a result: the documents that every form of its table is made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from evalkit.report.document import Column, Document, Link, Quantity, Row, Table, cell
from evalkit.report.numbers import ARROWS, absent, published_number
from evalkit.results import ways
from evalkit.results.clusters import drawn
from evalkit.results.comparable import prompt_digests, unverified, unverified_weights
from evalkit.results.record import Count, MetricInfo, Record, count


def document(record: Record) -> Document[Table]:
    """Say everything about a result: its table, notes, slices, other published numbers and provenance."""
    return Document(
        title=record.prompts_info.dataset,
        heading=heading(record),
        warning=warning(random_weights(record)),
        table=main_table(record),
        notes=notes(record),
        intervals=intervals(record),
        more=[*_slices(record), *_context(record)],
        provenance=_provenance(record),
        plain=_plain(record),
    )


def table(record: Record) -> pd.DataFrame:
    """Make the wide table: one row per model.

    Columns: model, clips (generated and usable); for each metric M the columns M, M_low, M_high, M_n,
    M_published, M_difference, M_comparable and M_verdict; then prompts (how many there are), dataset, subset, protocol,
    random_weights (names, separated by commas), note and calibration.
    """
    frame = pd.DataFrame(main_table(record).records())
    return frame.astype({f"{metric}_n": "Int64" for metric in record.metrics})


def main_table(record: Record) -> Table:
    """Make the table of models and metrics."""
    counts = clip_counts(record)
    titles = unique_titles(record.metrics)
    cells: dict[str, dict[str, Mapping[str, Any]]] = {name: {} for name in record.rows}
    said: dict[str, dict[str, None]] = {name: {} for name in record.rows}
    for score in records(record.scores):
        # of a value beside which nothing stands there is nothing to say in a table
        unjudged = {"verdict": ""} if absent(score["published"]) else {}
        cells[score["model"]][score["metric"]] = cell(score | unjudged)
        said[score["model"]].update(dict.fromkeys(score["note"].splitlines()))
    about = {
        "dataset": record.prompts_info.dataset,
        "subset": record.prompts_info.subset,
        "protocol": record.protocol.name,
        "random_weights": ", ".join(random_weights(record)),
    }
    rows = [
        Row(
            labels={"model": f"{name} (calibration)" if info.calibration else name},
            about={"clips": f"{counts[name].ok:,} of {counts[name].total:,}"},
            cells=cells[name],
            plain={"model": name, "clips": counts[name].ok, "prompts": counts[name].total // samples(record, name)}
            | about
            | {"note": "; ".join(said[name]), "calibration": info.calibration},
        )
        for name, info in record.rows.items()
    ]
    columns = [Column(name, titles[name], ARROWS[info.higher_is_better]) for name, info in record.metrics.items()]
    return Table(columns, rows, show_n=_n_matters(record, counts))


def clip_counts(record: Record) -> dict[str, Count]:
    """Count each row's usable clips, and the others by what is wrong with them."""
    statuses = record.clips.groupby("model", sort=False)["status"].agg(list).to_dict()
    return {name: count(statuses.get(name, [])) for name in record.rows}


def samples(record: Record, row: str) -> int:
    """How many clips of each prompt a row is made of."""
    return 1 if record.rows[row].calibration else int(record.sampling["samples_per_prompt"])


def unscored(record: Record) -> list[str]:
    """The metrics that have no score of a model, with the models, such as "kld (musicgen_small)"."""
    found: dict[str, list[str]] = {}
    for score in records(record.scores[record.scores["value"].isna()]):
        if not record.rows[score["model"]].calibration:
            found.setdefault(score["metric"], []).append(score["model"])
    return [f"{metric} ({', '.join(models)})" for metric, models in found.items()]


def _n_matters(record: Record, counts: Mapping[str, Count]) -> bool:
    """Whether a metric was measured on another number of prompts than the row has usable clips of."""
    full = {name: counts[name].ok / samples(record, name) for name in record.rows}
    measured = record.scores[record.scores["n"] > 0]
    return bool((measured["n"] != measured["model"].map(full)).any())


def unique_titles(metrics: Mapping[str, MetricInfo]) -> dict[str, str]:
    """The metrics' titles by name, made unique where metrics share one."""
    titles = [info.title for info in metrics.values()]
    return {n: f"{m.title} ({n})" if titles.count(m.title) > 1 else m.title for n, m in metrics.items()}


def random_weights(record: Record) -> list[str]:
    """The networks and models with random weights."""
    networks = dict.fromkeys(network for metric in record.metrics.values() for network in metric.random)
    return [*networks, *(name for name, row in record.rows.items() if row.random and not row.calibration)]


def warning(weights: list[str]) -> str:
    """Warn of networks and models with random weights; empty where there are none."""
    names = ", ".join(weights)
    return f"Random weights: {names}. The numbers below mean nothing outside this table." if names else ""


def heading(*results: Record) -> str:
    """Say in one line what results on the same prompts measured."""
    info = results[0].prompts_info
    datasets = ", ".join(dict.fromkeys(result.prompts_info.dataset for result in results))
    subsets = "; ".join(dict.fromkeys(result.prompts_info.subset for result in results))
    many = {result.sampling["samples_per_prompt"] for result in results}
    clips = f"{max(many)} clips each, " if len(many) == 1 and max(many) > 1 else ""
    protocols = dict.fromkeys(result.protocol.name for result in results)
    if info.form != "prompts":
        return f"{datasets}: {subsets}, protocol{'s' if len(protocols) > 1 else ''} {', '.join(protocols)}"
    return (
        f"{datasets}, subset {subsets}: {info.selected:,} of {info.total:,} prompts, {clips}"
        f"protocol{'s' if len(protocols) > 1 else ''} {', '.join(protocols)}"
    )


def notes(record: Record) -> list[str]:
    """Say what a reader of the table must know, each thing once."""
    scores = record.scores
    lines = [references(record)]
    joined = scores[scores["published"].notna()]
    sources = dict.fromkeys(zip(joined["source"], joined["url"], strict=True))
    lines += [f"published: {title}, {url}" for title, url in sources]
    lines += _origins(record)
    lines += [f"{name}: clips {clips}" for name, clips in clip_counts(record).items() if clips.ok < clips.total]
    lines += of_scores(record)
    others = [one for info in record.metrics.values() for one in info.weights or () if one.published is False]
    lines += dict.fromkeys(
        f"not the published file: {one.name} ({one.source}, {one.digest[:12]})" for one in others if one.digest
    )
    unchecked = [x for s in records(joined) for x in unverified(record, s["model"], s["metric"])]
    unchecked += [x for info in record.metrics.values() for x in unverified_weights(info.weights or ())]
    if unchecked:
        said_once = "; ".join(dict.fromkeys(unchecked))
        lines.append(f"not verified, because too little was published to tell: {said_once}")
    return [*lines, *filter(None, [intervals(record)]), *record.remarks]


def of_scores(record: Record) -> Iterator[str]:
    """What is said of scores, each thing once, with the models and metrics that it is about where these are not all."""
    titles, said = unique_titles(record.metrics), dict[str, list[tuple[str, str]]]()
    for score in records(record.scores):
        for line in score["note"].splitlines():
            said.setdefault(line, []).append((score["model"], score["metric"]))
    for line, about in said.items():
        models = list(dict.fromkeys(model for model, _ in about))
        metrics = list(dict.fromkeys(titles[metric] for _, metric in about))
        named = [", ".join(models)] if len(models) < len(record.rows) else []
        named += [", ".join(metrics)] if len(metrics) < len(record.metrics) else []
        if named and line.casefold().startswith(f"{named[-1]}: ".casefold()):  # it names its metric itself
            line = line[len(named[-1]) + 2 :]
        yield ": ".join([*named, line])


def intervals(record: Record) -> str:
    """Say what the intervals of a result are; empty where there are none."""
    if not record.scores["low"].notna().any():
        return ""
    return f"intervals: {record.uncertainty['level']:.3g} confidence, over {drawn(record)}"


def _origins(record: Record) -> list[str]:
    """What was published for the checkpoints that models were tuned from, which have no numbers of their own."""
    titles, said = unique_titles(record.metrics), dict[tuple[str, str], list[str]]()
    for score in records(record.scores[record.scores["context"].notna()]):
        value = f"{titles[score['metric']]} {published_number(score['context'])}"
        said.setdefault((score["model"], score["tuned_from"]), []).append(value)
    return [
        f"for context only: {', '.join(values)} as published for {origin}, which {model} was tuned from"
        for (model, origin), values in said.items()
    ]


def references(record: Record) -> str:
    """Say how many references could be used, and what was done to them."""
    info = record.references_info
    if info is None:
        return "references: none"
    cut = f"{info.cut:,} cut to {info.cut_to:g} s" if info.cut else ""
    inside = "; ".join(x for x in (info.usable.why, cut) if x)
    origin = f"references from pack {info.pack}," if info.pack else "references"
    text = f"{origin} {info.usable.ok:,} of {info.usable.total:,}" + (f" ({inside})" if inside else "")
    text = f"{text}, rendered by {info.rendered_by}, not recordings" if info.rendered_by else text
    return f"{text}, {info.altered}, not as they are" if info.altered else text


def _slices(record: Record) -> Iterator[Table]:
    """One table per kind of group: a row per group and model."""
    titles = unique_titles(record.metrics)
    columns = [Column(name, titles[name], ARROWS[info.higher_is_better]) for name, info in record.metrics.items()]
    for kind, scores in record.slices.groupby("slice", sort=False):
        cells: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
        for score in records(scores):
            cells.setdefault((score["group"], score["model"]), {})[score["metric"]] = cell(score)
        rows = [Row({"model": model, str(kind): group}, found) for (group, model), found in cells.items()]
        said = records(scores[scores["note"] != ""])
        yield Table(
            columns,
            rows,
            show_n=True,
            small=record.small_slice,
            title=f"Slices: {kind}",
            intro=f"Small: fewer than {record.small_slice} clips. Values of metrics that compare whole sets, such as "
            "FAD, and of retrieval depend on the number of clips: compare groups of like size.",
            notes=list(dict.fromkeys(_slice_note(score, titles) for score in said)),
        )


def _slice_note(score: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """What is said of a group's score: why there is none, which concerns the group, or something about the value."""
    about = "" if absent(score["value"]) else f", {score['model']}, {titles[score['metric']]}"
    return f"{score['group']}{about}: {score['note']}"


def _context(record: Record) -> Iterator[Table]:
    """What else was published on the same data set."""
    context = record.context
    if context.empty:
        return
    titles = unique_titles(record.metrics)
    names = [name for name in record.metrics if name in context.columns and context[name].notna().any()]
    rows = []
    for row in records(context):
        source = row["source"] if row["primary"] else f"{row['source']}, quoted"
        labels = {"model": _named(row), "protocol": row["protocol"], "source": Link(source, row["url"])}
        rows.append(Row(labels, {name: {"value": row[name]} for name in names}))
    yield Table(
        [Column(name, titles[name], ARROWS[record.metrics[name].higher_is_better]) for name in names],
        rows,
        title="Other published numbers",
        intro="For context only: other models, and protocols that need not be this one. "
        "Quoted: its source was not read.",
        notes=_caveats(context),
        quantities=[Quantity("value", "published", "quoted")],
    )


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['model']} ({row['condition']})" if row["condition"] else str(row["model"])


def _caveats(context: pd.DataFrame) -> list[str]:
    """Each caveat once, after the sources all of whose rows have it, or the models."""
    about: dict[str, list[str]] = {}
    for source, rows in context.groupby("source", sort=False):
        models: dict[str, list[str]] = {}
        for row in records(rows):
            for caveat in row["caveat"].splitlines():
                models.setdefault(caveat, []).append(_named(row))
        for caveat, named in models.items():
            about.setdefault(caveat, []).extend([str(source)] if len(named) == len(rows) > 1 else named)
    return [f"{', '.join(names)}: {caveat}" for caveat, names in about.items()]


def _provenance(record: Record) -> dict[str, str]:
    made = record.provenance
    facts = {
        "evalkit": str(made["packages"]["evalkit"]),
        "commit": f"{made['commit'] or 'unknown'}{', with local changes' if made['dirty'] else ''}",
        "device": f"{made['device']} ({made['device_name']}), {made['dtype']}",
    }
    if any(row.generated and not row.calibration for row in record.rows.values()):
        facts["sampling"] = ", ".join(f"{k} {v}" for k, v in record.sampling.items() if k != "samples_per_prompt")
    facts |= {f"generated {names}".rstrip(): text for names, text in ways.by_model(record).items()}
    return facts


def _plain(record: Record) -> dict[str, Any]:
    """What machines may want beside the table and the notes, as a JSON-like value."""
    info, references = record.prompts_info, record.references_info
    ids, captions = prompt_digests(zip(record.prompts["id"], record.prompts["caption"], strict=True))
    return {
        "schema": record.schema,
        "dataset": info.dataset,
        "subset": info.subset,
        "level": record.uncertainty["level"],
        "calibration": [name for name, row in record.rows.items() if row.calibration],
        "prompts": {"selected": info.selected, "total": info.total, "ids": ids, "captions": captions},
        "protocol": record.protocol.name,
        "random_weights": random_weights(record),
        "metrics": {
            name: {"title": metric.title, "higher_is_better": metric.higher_is_better}
            for name, metric in record.metrics.items()
        },
        "generated": {name: dataclasses.asdict(clips) for name, clips in clip_counts(record).items()},
        "made": {name: row.made for name, row in record.rows.items() if row.made},
        "references": references
        and {
            **dataclasses.asdict(references.usable),
            "rendered_by": references.rendered_by or None,
            "altered": references.altered or None,
            "cut": references.cut,
            "cut_to": references.cut_to if references.cut else None,
            "pack": references.pack or None,
            "pack_sha256": references.pack_sha256 or None,
        },
        "scores": records(record.scores),
        "slices": records(record.slices),
        "context": records(record.context),
    }


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame, as mappings by column."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
