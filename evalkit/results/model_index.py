"""A result as a model index: what the metadata of a model card on the Hugging Face hub says of evaluations.

Its form is https://github.com/huggingface/hub-docs/blob/main/modelcard.md, written by huggingface_hub's own classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from evalkit.errors import EvalkitError, unknown
from evalkit.report.literal import literal
from evalkit.report.numbers import absent
from evalkit.report.to_json import plain
from evalkit.results.comparable import prompt_digests, unverified
from evalkit.results.record import Record
from evalkit.results.summary import records, unique_titles
from evalkit.settings import PROTOCOL_NAME
from evalkit.store.digests import digest

TASK = ("text-to-audio", "Text-to-Music")  # the hub's task, and what it is called
BETTER = {True: "higher", False: "lower", None: None}
EDGE = "---\n"  # of the metadata in a model card


def model_index(record: Record, row: str = "", source_url: str = "") -> tuple[str, list[str]]:
    """Write what was measured of one model as the metadata block of a model card.

    Each metric names its protocol in type, name and configuration, so that values of different protocols are never
    taken for one quantity. The arguments of the data set say of which prompts, references and clips the values are;
    those of a metric have n, interval, seeds, weights, and the verdict against a published value. What was measured on
    the same prompts has the same `revision`, the digest of ids and captions.

    Args:
        row: the model, where the result has several.
        source_url: where the result can be read; evalkit is named as the source of the values if it is given.

    Returns the text and, one sentence each, what is left out.

    Raises EvalkitError for what cannot be said on a model card: random weights, two folders without prompts, a row that
    is no model or is not there, and a model without any score.
    """
    if record.prompts_info.form != "prompts":
        raise EvalkitError(f"'{record.path}' compares two folders: a model index needs a set of prompts, as runs have")
    row = _chosen(record, row)
    scores = records(record.scores[record.scores["model"] == row])
    titles = unique_titles(record.metrics)
    networks = dict.fromkeys(network for score in scores for network in record.metrics[score["metric"]].random)
    if record.rows[row].random or any(score["random_weights"] for score in scores):
        names = [*networks, *([row] if record.rows[row].random else [])]
        raise EvalkitError(f"random weights ({', '.join(names) or row}): such numbers mean nothing on a model card")
    measured = [score for score in scores if not absent(score["value"])]
    left_out = [
        f"{titles[score['metric']]} is left out: {' '.join(score['note'].split()) or 'it has no value'}"
        for score in scores
        if absent(score["value"])
    ]
    if not measured:
        raise EvalkitError(f"'{row}' has no score: there is nothing to say on a model card")
    about = _about(record, row)
    results = [EvalResult(**about, **_metric(record, score, titles[score["metric"]])) for score in measured]
    if source_url:
        for result in results:
            result.source_name, result.source_url = f"evalkit {_version(record)}", literal(source_url)
    card = ModelCardData(model_name=literal(_named(record, row)), eval_results=results)
    return f"{EDGE}{card.to_yaml()}\n{EDGE}", left_out


def _chosen(record: Record, row: str) -> str:
    """The row that is asked for, or the only model."""
    models = [name for name, info in record.rows.items() if not info.calibration]
    if row in models:
        return row
    if row:
        raise EvalkitError(f"'{record.path}': {unknown('model', row, models)}")
    if len(models) != 1:
        raise EvalkitError(
            f"'{record.path}' has {len(models)} models ({', '.join(models)}), and a model card is of one: "
            "choose it with --row"
        )
    return models[0]


def _named(record: Record, row: str) -> str:
    """The hub id of what was measured, else the name of its row: a local checkpoint may have been trained further."""
    info = record.rows[row]
    if info.checkpoint is None:
        return info.published or row
    return info.checkpoint.repo or row


def _about(record: Record, row: str) -> dict[str, Any]:
    """Task and data set of all metrics."""
    prompts, references = record.prompts_info, record.references_info
    ids, captions = prompt_digests(zip(record.prompts["id"], record.prompts["caption"], strict=True))
    repo, revision = _repository(record)
    info = record.rows[row]
    facts = {
        "prompts": prompts.selected,
        "prompts_total": prompts.total,
        "ids_sha256": ids,
        "captions_sha256": captions,
        "source": f"{repo}@{revision}" if revision else None,
        "references": references and f"{references.usable.ok} of {references.usable.total}",
        "references_rendered_by": references and references.rendered_by,
        "references_pack_sha256": (references and references.pack_sha256) or None,
        "references_altered": references and references.altered,
        "clips": {
            "checkpoint": info.checkpoint and info.checkpoint.source,
            "checkpoint_digest": info.checkpoint and info.checkpoint.digest,
            "sampling": {k: v for k, v in record.sampling.items() if k != "samples_per_prompt"},
        }
        if info.generated
        else "not made by evalkit",
    }
    return {
        "task_type": TASK[0],
        "task_name": TASK[1],
        "dataset_type": repo or _slug(prompts.dataset) or "prompts",
        "dataset_name": literal(prompts.dataset),
        "dataset_config": literal(prompts.subset),
        "dataset_revision": captions,
        "dataset_args": _said(facts),
    }


def _repository(record: Record) -> tuple[str, str]:
    """The hub repository of the prompts, and its revision if it was read; empty where they are from elsewhere."""
    prompts = record.config.get("prompts")
    if not isinstance(prompts, Mapping) or not isinstance(source := prompts.get("source"), Mapping):
        return "", ""
    local = prompts.get("path") or source.get("path")
    return str(source.get("repo") or ""), "" if local else str(source.get("revision") or "")


def _metric(record: Record, score: Mapping[str, Any], title: str) -> dict[str, Any]:
    """What is said of one metric."""
    name, row = score["metric"], score["model"]
    metric, published = record.metrics[name], not absent(score["published"])
    known = PROTOCOL_NAME.fullmatch(metric.protocol)
    # not all that is changed is changed alike
    which = "" if known else digest([record.protocol.switches, metric.definition])[:8]
    facts = {
        "protocol": metric.protocol,
        "changes": list(record.protocol.changes),
        "better": BETTER[metric.higher_is_better],
        "n": score["n"],
        "low": score["low"],
        "high": score["high"],
        "level": None if absent(score["low"]) else record.uncertainty["level"],
        "seeds": record.sampling["samples_per_prompt"] if record.rows[row].generated else None,
        "seed_sd": score["seed_sd"],
        "weights": {one.name: one.digest for one in metric.weights or ()},
        "published": score["published"],
        "published_source": ", ".join(filter(None, [score["source"], score["url"]])),
        "comparable": bool(score["comparable"]) if published else None,
        "verdict": score["verdict"] if published else None,
        "verdict_reason": score["verdict_reason"] if published else None,
        "tolerance": score["tolerance"] if published else None,
        "difference_low": score["difference_low"],
        "difference_high": score["difference_high"],
        "not_verified": unverified(record, row, name) if published else None,
        "evalkit": _version(record),
    }
    return {
        "metric_type": _slug("_".join(filter(None, [name, metric.protocol, which]))),
        "metric_name": literal(f"{title}, protocol {metric.protocol}"),
        "metric_config": literal(metric.protocol),
        "metric_value": float(score["value"]),
        "metric_args": _said(facts),
    }


def _version(record: Record) -> str:
    return str(record.provenance["packages"]["evalkit"])


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("_")


def _said(value: Any) -> Any:
    """The same for YAML, without what is empty, and with no text that acts instead of showing."""
    value = plain(value)
    if isinstance(value, dict):
        said = {literal(key): _said(item) for key, item in value.items()}
        return {key: item for key, item in said.items() if item not in (None, "", [], {})}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_said(item) for item in value]
    return literal(value) if isinstance(value, str) else value
