"""Published numbers, and what a run measured beside them.

A number is only set beside a published one that names the same checkpoint, data set, metric and
protocol: "FAD" alone is the name of several different computations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from evalkit.errors import EvalkitError, unknown
from evalkit.settings import PROTOCOL_NAME

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
EVERY = "all"  # all metrics, in caveats; all prompts, as a subset

ADDED = ("published", "difference", "comparable", "source", "url")  # by `compare`
ABOUT = ("model", "condition", "protocol", "source", "url", "primary", "caveat")  # of `others`


@dataclass
class _Source:
    title: str = MISSING
    url: str = MISSING
    primary: bool = MISSING  # whether the document itself was read, not somebody's quote of it
    read: str = MISSING  # what was read, in words


@dataclass
class _Row:
    model: str = MISSING  # the hub id of a released checkpoint, else a plain name
    metrics: dict[str, float | None] = MISSING  # null: the source names the model but gives no number
    condition: str = ""  # what was given beside the caption
    protocol: str | None = None  # where it is another than the file's
    caveats: dict[str, str] = field(default_factory=dict)  # by metric, or "all"


@dataclass
class _File:
    """The schema of a YAML in conf/published: the numbers of one source."""

    source: _Source = field(default_factory=_Source)
    protocol: str = MISSING
    dataset: str = MISSING
    subset: str = MISSING
    n: int | None = MISSING
    metrics: list[str] = MISSING
    total: int | None = None  # prompts in the dataset, where known
    caveats: dict[str, str] = field(default_factory=dict)
    rows: list[_Row] = MISSING


@dataclass(frozen=True)
class Published:
    """One published value of one metric for one model.

    Attributes:
        model: the hub id if `released`, else a plain name that no run is joined on.
        value: None where the source names the model but gives no number.
        subset: the part of the dataset it was measured on; "all" for the full set.
        n: number of clips, where known.
        total: number of prompts in the dataset, where known.
        condition: what was given beside the caption, such as a melody; empty for nothing.
        primary: whether the source itself was read, not a quote of it.
    """

    model: str
    metric: str
    value: float | None
    dataset: str
    subset: str
    n: int | None
    total: int | None
    protocol: str
    condition: str
    source: str
    url: str
    primary: bool
    released: bool
    caveats: tuple[str, ...]


def load_published(*folders: Path) -> list[Published]:
    """Read all YAMLs of some folders, each folder's in the order of their names.

    Raises EvalkitError, with the name of the file, for a missing or unknown key, a metric or a
    caveat's key that the file does not declare, a value that is not a finite number, and a protocol
    that is no plain name.
    """
    return [value for folder in folders for path in sorted(folder.glob("*.yaml")) for value in _load(path)]


def _load(path: Path) -> list[Published]:
    try:
        node = OmegaConf.merge(OmegaConf.structured(_File), OmegaConf.load(path))
        if absent := sorted(OmegaConf.missing_keys(node)):
            raise EvalkitError(f"published numbers in '{path}': nothing is given for {', '.join(absent)}")
        file = OmegaConf.to_object(node)
    except (OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        raise EvalkitError(f"published numbers in '{path}': {' '.join(str(error).split())}") from error
    assert isinstance(file, _File)
    values = []
    _check(path, file.metrics, [c for c in file.caveats if c != EVERY])
    for protocol in {file.protocol, *(row.protocol or file.protocol for row in file.rows)}:
        if not PROTOCOL_NAME.fullmatch(protocol):  # no published number is of a protocol that a run has changed
            raise EvalkitError(f"published numbers in '{path}': protocol '{protocol}': use letters, digits and _.-")
    for row in file.rows:
        _check(path, file.metrics, [*row.metrics, *(c for c in row.caveats if c != EVERY)])
        for metric, value in row.metrics.items():
            if value is not None and not math.isfinite(value):
                raise EvalkitError(f"published numbers in '{path}': {row.model}: {metric} is {value}")
            scopes = [row.caveats] if value is None else [file.caveats, row.caveats]
            values.append(
                Published(
                    model=row.model,
                    metric=metric,
                    value=value,
                    dataset=file.dataset,
                    subset=file.subset,
                    n=file.n,
                    total=file.total,
                    protocol=row.protocol or file.protocol,
                    condition=row.condition,
                    source=file.source.title,
                    url=file.source.url,
                    primary=file.source.primary,
                    released=HUB_ID.fullmatch(row.model) is not None,
                    caveats=tuple(scope[key] for scope in scopes for key in (EVERY, metric) if key in scope),
                )
            )
    return values


def _check(path: Path, declared: list[str], used: list[str]) -> None:
    for metric in used:
        if metric not in declared:
            raise EvalkitError(f"published numbers in '{path}': {unknown('metric', metric, declared)}")


def compare(
    scores: pd.DataFrame,
    models: Mapping[str, str | None],
    dataset: str,
    subset: str,
    full: bool,
    total: int | None,
    published: Sequence[Published],
) -> pd.DataFrame:
    """Set every score beside the published value of the same checkpoint, dataset, metric and protocol.

    Args:
        scores: columns model, metric, value, n, protocol, random_weights, note, and any others; scores of
            random weights are not compared.
        models: the hub id that each model is, or None; rows that are not in it are no models, and are
            not compared.
        full: whether the prompts are the whole dataset.
        total: number of prompts in the dataset as it was read; another number than the published
            one is not the full dataset.

    Returns the scores with further columns: published, difference (value - published), comparable,
    source, url. `comparable` is False where there is no published value, and where it is of other clips (a
    subset). What was found is added to `note`, one remark per line.
    """
    rows = []
    for row in scores.to_dict("records"):
        score = {str(key): value for key, value in row.items()}
        found: Published | None = None
        if score["model"] not in models:
            notes: list[str] = []
        elif score["random_weights"]:
            notes = ["random weights: not compared with published numbers"]
        else:
            found, notes = _find(score, models[score["model"]], dataset, subset, published)
        comparable = False
        value = math.nan
        if found is not None and found.value is not None:
            value = found.value
            whole = full and total in (None, found.total)
            comparable = found.subset == subset and (whole or subset != EVERY)
            notes = [*_differences(score["n"], found, subset, comparable), *found.caveats]
        rows.append(
            {
                **score,
                "published": value,
                "difference": score["value"] - value,
                "comparable": comparable,
                "source": found.source if found else "",
                "url": found.url if found else "",
                "note": "\n".join(filter(None, [score["note"], *notes])),
            }
        )
    return pd.DataFrame(rows, columns=[*scores.columns, *ADDED])


def _find(
    score: Mapping[str, Any], checkpoint: str | None, dataset: str, subset: str, published: Sequence[Published]
) -> tuple[Published | None, list[str]]:
    """Find the published value of a score, or say why there is none."""
    if checkpoint is None:
        return None, ["not a checkpoint that numbers were published for"]
    here = [p for p in published if p.dataset == dataset]
    if not here:
        return None, [f"no published numbers are known for the prompt set '{dataset}'"]
    own = [p for p in here if p.released and (p.model, p.metric, p.condition) == (checkpoint, score["metric"], "")]
    given = [p for p in own if p.value is not None]
    same = [p for p in given if p.protocol == score["protocol"]]
    if same:
        # the same clips first, then a document that was itself read before a quote
        return min(same, key=lambda p: (p.subset != subset, not p.primary)), []
    if given:
        first = min(given, key=lambda p: not p.primary)
        return None, [
            f"published as {first.value:g} under the protocol '{first.protocol}', "
            f"measured under '{score['protocol']}': not compared"
        ]
    said = [caveat for p in own for caveat in p.caveats]
    return None, said or [f"no value was published for this checkpoint on {dataset}"]


def _differences(n: int, found: Published, subset: str, comparable: bool) -> list[str]:
    """Say in what the clips of a score differ from those of the published value."""
    if found.subset != EVERY and found.subset != subset:
        return [f"published on the subset '{found.subset}', not on these clips"]
    if not comparable:
        part = "a part of it" if subset == EVERY else f"the subset '{subset}'"
        return [
            f"published on the full {found.dataset}, measured on {part}: "
            "a subset is not the full set, and FAD depends on the number of clips"
        ]
    if found.n is not None and found.n != n:
        return [f"published on {found.n:,} clips, measured on {n:,}"]
    return []


def others(
    dataset: str, metrics: Collection[str], published: Sequence[Published], besides: Collection[str] = ()
) -> pd.DataFrame:
    """List what else was published on a dataset for some metrics, for context only.

    Args:
        besides: checkpoints to leave out, because the table already shows their numbers.

    Returns one row per model, condition and source: model, condition, one column per metric,
    protocol, source, url, primary, caveat (one per line).
    """
    rows: dict[tuple[str, str, str], dict[str, object]] = {}
    caveats: dict[tuple[str, str, str], dict[str, None]] = {}
    for p in published:
        plain = p.released and not p.condition
        if p.value is None or p.dataset != dataset or p.metric not in metrics or (plain and p.model in besides):
            continue
        key = (p.model, p.condition, p.source)
        about = {"protocol": p.protocol, "source": p.source, "url": p.url, "primary": p.primary}
        row = rows.setdefault(key, {"model": p.model, "condition": p.condition, **about})
        row[p.metric] = p.value
        caveats.setdefault(key, {}).update(dict.fromkeys(p.caveats))
    for key, row in rows.items():
        row["caveat"] = "\n".join(caveats[key])
    frame = pd.DataFrame(list(rows.values()), columns=[*ABOUT[:2], *metrics, *ABOUT[2:]])
    return frame.astype({metric: float for metric in metrics})
