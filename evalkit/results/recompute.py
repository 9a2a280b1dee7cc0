"""Scores computed again from a record alone: of any set of prompts, with the digits of the run."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import math
import pkgutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from evalkit import metrics
from evalkit.errors import EvalkitError, unknown
from evalkit.metrics import Metric, mean_of_parts
from evalkit.results.clusters import of_record
from evalkit.results.evidence import Side
from evalkit.results.record import MetricInfo, Record
from evalkit.results.scored import NO_PAIRS, Chosen, Pair, Scored, compared, scored
from evalkit.settings import Uncertainty
from evalkit.store.identity import source
from evalkit.types import Measured


def score(record: Record, row: str, metric: str, ids: Iterable[str] | None = None, allow: Sequence[str] = ()) -> Scored:
    """Compute the score of some prompts, or of all, as the run would have.

    Args:
        row: a row of the table, such as a model.
        ids: the prompts, each counted once; those whose clip or reference could not be used are left out.
        allow: packages outside evalkit whose metrics may be imported, where `metric` is one of these.

    Raises EvalkitError for a row or metric that the record does not have, and where there is no value.
    """
    info = _info(record, row, metric)
    chosen, measured = _measured(record, row, metric, ids, allow)
    low, high = info.bounds
    bounds = -math.inf if low is None else low, math.inf if high is None else high
    return scored(f"{row}: {metric}", chosen.ids, measured, bounds, Uncertainty(**record.uncertainty), chosen=chosen)


def measure(
    record: Record, row: str, metric: str, ids: Iterable[str] | None = None, allow: Sequence[str] = ()
) -> tuple[list[str], list[Measured]]:
    """Apply a metric to some prompts of a record: the ids that could be used, and what it says of each sample.

    Arguments and errors are those of `score`.
    """
    chosen, measured = _measured(record, row, metric, ids, allow)
    return chosen.ids, measured


def _measured(
    record: Record, row: str, metric: str, ids: Iterable[str] | None, allow: Sequence[str]
) -> tuple[Chosen, list[Measured]]:
    """As `measure`, with what was compared."""
    info = _info(record, row, metric)
    sets, clusters = record.rows[row].sets, of_record(record).of_metric(info)
    if info.clip_by_clip and not record.rows[row].paired and not sets:
        raise EvalkitError(f"{row}: {metric}: {NO_PAIRS}")
    only = _known(record, ids)
    if info.additive:
        known, parts = _parts(record, row, metric, only)
        chosen = Chosen(known, [], None, clusters)
        samples = [mean_of_parts(known, *part) for part in parts] if known else []
    else:
        chosen = compared(pairs_of(record, row, metric), sets and not info.clip_by_clip, only, clusters)
        compute = rebuilt(info, allow)
        samples = [compute(*pair) for pair in chosen.pairs]
    if not chosen.ids:
        raise EvalkitError(f"{row}: {metric}: {_why_none(record, row, metric)}")
    return chosen, samples


def _known(record: Record, ids: Iterable[str] | None) -> set[str] | None:
    """The prompts that are asked for. Raises EvalkitError for none, and for one that the record does not have."""
    if ids is None:
        return None
    if isinstance(ids, (str, pd.DataFrame)):
        raise EvalkitError("give the ids of prompts as a list, such as result.prompts['id']")
    asked, known = dict.fromkeys(ids), set(record.prompts["id"])
    if not asked:
        raise EvalkitError("no prompts are given: give the ids of some")
    for i in asked:
        if i not in known:
            near = difflib.get_close_matches(str(i), known, n=1)
            hint = f": did you mean '{near[0]}'?" if near else ""
            raise EvalkitError(f"'{i}' is not among the {len(known):,} prompts of the result{hint}")
    return set(asked)


def _why_none(record: Record, row: str, metric: str) -> str:
    """Why a metric has no value: as the run noted, where it had none for all prompts."""
    scores = record.scores[(record.scores["model"] == row) & (record.scores["metric"] == metric)]
    for value, note in zip(scores["value"], scores["note"], strict=True):
        if math.isnan(value) and note:
            return str(note).splitlines()[0].removeprefix(f"{row}: {metric}: ")
    return "none of the prompts could be measured"


def pairs_of(record: Record, row: str, metric: str) -> list[Pair]:
    """The features that a metric of whole sets compares, for each sample: one clip of each prompt.

    Raises EvalkitError for a row or metric that the record does not have, and for an additive metric,
    of which it holds sums and counts instead.
    """
    info = _info(record, row, metric)
    if info.additive:
        raise EvalkitError(f"{metric}: the result holds each clip's sum and count, no features: see its values")
    samples = record.clips.loc[record.clips["model"] == row, "sample"].max()
    ours, theirs = info.sides_of_sets if record.rows[row].sets else info.sides
    return [
        (
            record.evidence.of(Side(info.encoder, row, sample, ours)),
            record.evidence.of(Side(info.reference_encoder, row, sample, theirs)) if theirs else None,
        )
        for sample in range(1, samples + 1)
    ]


def _parts(
    record: Record, row: str, metric: str, only: Collection[str] | None
) -> tuple[list[str], list[tuple[Sequence[float], Sequence[float]]]]:
    """The prompts that every sample has, and their sums and counts in each."""
    values = record.values[(record.values["model"] == row) & (record.values["metric"] == metric)]
    samples: list[pd.DataFrame] = [sample.set_index("id") for _, sample in values.groupby("sample")]
    if not samples:
        return [], []
    common = set.intersection(*(set(sample.index) for sample in samples))
    ids = [str(i) for i in samples[0].index if i in common and (only is None or i in only)]
    chosen = [sample.loc[ids] for sample in samples]
    return ids, [(sample["sum"].tolist(), sample["count"].tolist()) for sample in chosen]


def _info(record: Record, row: str, metric: str) -> MetricInfo:
    for kind, name, known in (("row", row, record.rows), ("metric", metric, record.metrics)):
        if name not in known:
            raise unknown(f"{kind} of the result", name, known)
    return record.metrics[metric]


def rebuilt(info: MetricInfo, allow: Sequence[str] = ()) -> Metric:
    """Make a metric again from what a record says of it, without its encoders.

    Raises EvalkitError where this version of evalkit has no such metric or computes it otherwise, and
    for a metric of a package that is not allowed or not installed.
    """
    definition = info.definition
    package = definition.get("package")
    if package is None:
        found = _by_kind().get(str(definition["kind"]))
        if found is None:
            raise EvalkitError(f"this version of evalkit has no metric '{definition['kind']}': run the result again")
    elif package not in allow:
        raise EvalkitError(f"the metric '{info.title}' is of the package '{package}': allow it if you trust it")
    else:
        module, _, name = info.target.rpartition(".")
        if not f"{module}.".startswith(f"{package}."):
            raise EvalkitError(f"the metric '{info.title}' names '{info.target}', which is not of '{package}'")
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise EvalkitError(f"the metric '{info.title}': '{info.target}' cannot be found: {error}") from error
    if package is not None and definition.get("source", source(found)) != source(found):
        raise EvalkitError(
            f"the metric '{info.title}' was computed by other code of the package '{package}' than is installed: "
            "run the result again"
        )
    version = getattr(found, "version", 0)
    if version != definition["version"]:
        raise EvalkitError(
            f"'{info.title}' was computed by version {definition['version']} of the metric, and this evalkit has "
            f"version {version}: run the result again"
        )
    fields = [f.name for f in dataclasses.fields(found) if f.init]
    # encoders are described by their own kind; nothing is encoded here
    given: Mapping[str, Any] = {name: definition[name] for name in fields if name in definition}
    made: Metric = found(**{k: None if isinstance(v, Mapping) and "kind" in v else v for k, v in given.items()})
    return made


@functools.cache
def _by_kind() -> dict[str, Any]:
    """evalkit's own metrics."""
    found = {}
    for module in pkgutil.iter_modules(metrics.__path__, f"{metrics.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if dataclasses.is_dataclass(value) and isinstance(value, type) and "kind" in vars(value):
                found[str(vars(value)["kind"])] = value
    return found
