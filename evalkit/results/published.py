"""Published numbers, as data: what was published, for which model, and of what.

`evalkit.results.beside` sets them beside what a run measured.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from evalkit.errors import EvalkitError, unknown
from evalkit.results.gate import Margin, absolute, margin
from evalkit.settings import PROTOCOL_NAME

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
T = TypeVar("T")
EVERY = "all"  # all metrics, in caveats; all prompts, as a subset

ABOUT = ("model", "condition", "protocol", "source", "url", "primary", "caveat")  # of `others`


@dataclass
class _Source:
    title: str = MISSING
    url: str = MISSING
    primary: bool = MISSING  # whether the document itself was read, not somebody's quote of it
    read: str = MISSING  # what was read, in words


@dataclass
class _Tolerance:
    """How near to a published value a measured one must be to have reproduced it."""

    margin: Any = MISSING  # a number, or a share of the published value such as "3 %"
    rounding: float = MISSING  # by how much a value may differ from what was rounded to the published one
    because: str = MISSING  # why the margin is this one


@dataclass
class _Row:
    model: str = MISSING  # the hub id of a released checkpoint, else a plain name
    metrics: dict[str, float | None] = MISSING  # null: the source names the model but gives no number
    condition: str = ""  # what was given beside the caption
    protocol: str | None = None  # where it is another than the file's
    duration: float | None = None  # the same
    caveats: dict[str, str] = field(default_factory=dict)  # by metric, or "all"
    tuned_from: str = ""  # the hub id of the checkpoint that this one was tuned from


@dataclass
class _File:
    """The schema of a YAML in conf/published: the numbers of one source."""

    source: _Source = field(default_factory=_Source)
    protocol: str = MISSING
    dataset: str = MISSING
    subset: str = MISSING
    n: int | None = MISSING
    metrics: list[str] = MISSING
    duration: float | None = None  # seconds of the clips; null where it is not known
    sampling: dict[str, Any] | None = None  # null where it is not known
    caveats: dict[str, str] = field(default_factory=dict)
    runs: int = 1  # of sampling, over which the numbers are means, as far as is known
    tolerance: dict[str, _Tolerance] = field(default_factory=dict)  # by metric; without one nothing is reproduced
    rows: list[_Row] = MISSING


@dataclass
class _Subset:
    prompts: int = MISSING
    ids: str = MISSING
    captions: str = MISSING


@dataclass
class _Dataset:
    """The schema of a YAML in conf/published/datasets: which prompts numbers were published for."""

    dataset: str = MISSING
    subsets: dict[str, _Subset] = MISSING


@dataclass(frozen=True)
class Prompts:
    """The prompts that a number was published for.

    Attributes:
        n: how many there are.
        ids, captions: digests as `evalkit.results.comparable.prompt_digests` makes them.
    """

    n: int
    ids: str
    captions: str


@dataclass(frozen=True)
class Tolerance:
    """How near to a published value a measured one must be to have reproduced it.

    Attributes:
        margin: that the two may differ by, in either direction.
        rounding: by how much a value may differ from what was rounded to the published one.
        because: why the margin is this one.
    """

    margin: Margin
    rounding: float
    because: str


@dataclass(frozen=True)
class Published:
    """One published value of one metric for one model.

    Attributes:
        model: the hub id if `released`, else a plain name that no run is joined on.
        value: None where the source names the model but gives no number.
        subset: the part of the dataset it was measured on; "all" for the full set.
        prompts: the prompts of that part, where known.
        n: number of clips, where known.
        duration: seconds of the clips, where known.
        sampling: the parameters that they were sampled with, where known.
        condition: what was given beside the caption, such as a melody; empty for nothing.
        primary: whether the source itself was read, not a quote of it.
        runs: over how many runs of sampling the value is a mean, as far as is known.
        tolerance: within which a value reproduces this one; None where the file gives none.
        tuned_from: the hub id of the checkpoint that this one was tuned from; empty where that does not matter.
    """

    model: str
    metric: str
    value: float | None
    dataset: str
    subset: str
    prompts: Prompts | None
    n: int | None
    duration: float | None
    sampling: Mapping[str, Any] | None
    protocol: str
    condition: str
    source: str
    url: str
    primary: bool
    released: bool
    caveats: tuple[str, ...]
    runs: int = 1
    tolerance: Tolerance | None = None
    tuned_from: str = ""


def load_published(*folders: Path) -> list[Published]:
    """Read all YAMLs of some folders, each folder's in the order of their names, and those of its folder `datasets`.

    Folders after the first, which is evalkit's own, are the user's: the source of their numbers names the file, since
    nobody else has compared it with what it quotes.

    Raises EvalkitError, with the name of the file, for a missing or unknown key, a metric or a key of caveats or
    tolerances that the file does not declare, a value that is not a finite number, a tolerance that nothing can be
    within or that nothing can be beyond, a protocol that is no plain name, and a second file for one dataset.
    """
    prompts: dict[str, dict[str, Prompts]] = {}
    for path in [path for folder in folders for path in sorted((folder / "datasets").glob("*.yaml"))]:
        dataset = _read(path, _Dataset)
        if dataset.dataset in prompts:
            raise EvalkitError(f"published numbers in '{path}': another file has the prompts of '{dataset.dataset}'")
        subsets = dataset.subsets.items()
        prompts[dataset.dataset] = {name: Prompts(s.prompts, s.ids, s.captions) for name, s in subsets}
    found: list[Published] = []
    for number, folder in enumerate(folders):
        for path in sorted(folder.glob("*.yaml")):
            whose = f", from a user's {path.name}" if number else ""
            found += [replace(value, source=value.source + whose) for value in _load(path, prompts)]
    return found


def _read(path: Path, schema: type[T]) -> T:
    file = _parsed(path, path.read_bytes(), schema)  # type: ignore[arg-type]  # mypy takes no class for hashable
    assert isinstance(file, schema)
    return file


@functools.lru_cache(maxsize=256)  # reading them is half of a plan's time, and a sweep makes one for each point
def _parsed(path: Path, content: bytes, schema: type) -> object:
    """The file, which holds this content; OmegaConf reads it from there, to name it where it is wrong."""
    try:
        node = OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.load(path))
        if absent := sorted(OmegaConf.missing_keys(node)):
            raise EvalkitError(f"published numbers in '{path}': nothing is given for {', '.join(absent)}")
        return OmegaConf.to_object(node)
    except (OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        raise EvalkitError(f"published numbers in '{path}': {' '.join(str(error).split())}") from error


def _load(path: Path, prompts: Mapping[str, Mapping[str, Prompts]]) -> list[Published]:
    file = _read(path, _File)
    values = []
    _check(path, file.metrics, [*(c for c in file.caveats if c != EVERY), *file.tolerance])
    tolerances = {name: _tolerance(path, name, one) for name, one in file.tolerance.items()}
    if file.runs < 1:
        raise EvalkitError(f"published numbers in '{path}': runs is {file.runs}: must be at least 1")
    for protocol in {file.protocol, *(row.protocol or file.protocol for row in file.rows)}:
        if not PROTOCOL_NAME.fullmatch(protocol):  # no published number is of a protocol that a run has changed
            raise EvalkitError(f"published numbers in '{path}': protocol '{protocol}': use letters, digits and _.-")
    for row in file.rows:
        _check(path, file.metrics, [*row.metrics, *(c for c in row.caveats if c != EVERY)])
        for metric, value in row.metrics.items():
            if value is not None and not math.isfinite(value):
                raise EvalkitError(f"published numbers in '{path}': {row.model}: {metric} is {value}")
            tolerance = tolerances.get(metric)
            if value is not None and tolerance and not absolute(tolerance.margin, value) > tolerance.rounding:
                raise EvalkitError(
                    f"published numbers in '{path}': {row.model}: {metric}: the margin, {tolerance.margin}, is no more "
                    f"than the rounding, {tolerance.rounding:g}: nothing could be within it"
                )
            scopes = [row.caveats] if value is None else [file.caveats, row.caveats]
            values.append(
                Published(
                    model=row.model,
                    metric=metric,
                    value=value,
                    dataset=file.dataset,
                    subset=file.subset,
                    prompts=prompts.get(file.dataset, {}).get(file.subset),
                    n=file.n,
                    duration=file.duration if row.duration is None else row.duration,
                    sampling=file.sampling,
                    protocol=row.protocol or file.protocol,
                    condition=row.condition,
                    source=file.source.title,
                    url=file.source.url,
                    primary=file.source.primary,
                    released=HUB_ID.fullmatch(row.model) is not None,
                    caveats=tuple(scope[key] for scope in scopes for key in (EVERY, metric) if key in scope),
                    runs=file.runs,
                    tolerance=tolerance,
                    tuned_from=row.tuned_from,
                )
            )
    return values


def _tolerance(path: Path, metric: str, given: _Tolerance) -> Tolerance:
    if not 0 <= given.rounding < math.inf:
        raise EvalkitError(
            f"published numbers in '{path}': tolerance.{metric}.rounding is {given.rounding:g}: must be a number, "
            "0 or more: half a unit of the last digit, such as 0.005"
        )
    key = f"tolerance.{metric}.margin"
    try:
        most = margin(given.margin, key)
    except EvalkitError as error:
        raise EvalkitError(f"published numbers in '{path}': {error}") from error
    if most.relative and most.amount >= 1:
        raise EvalkitError(f"published numbers in '{path}': {key} is {most}: must be below 100 %: nothing would differ")
    return Tolerance(most, given.rounding, given.because)


def _check(path: Path, declared: list[str], used: list[str]) -> None:
    for metric in used:
        if metric not in declared:
            raise EvalkitError(f"published numbers in '{path}': {unknown('metric', metric, declared)}")


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


def require_known(option: str, claimed: str, published: Sequence[Published]) -> None:
    """Raise EvalkitError for a hub id that is none of those with published numbers, but looks like one misspelt."""
    ids = dict.fromkeys(p.model for p in published if p.released)
    if claimed in ids:
        return
    same = {id.casefold(): id for id in ids} | {id.partition("/")[2].casefold(): id for id in ids}
    name = claimed.casefold()
    near = difflib.get_close_matches(name, same, n=1, cutoff=0.85)
    near = near or difflib.get_close_matches(name.rpartition("/")[2], same, n=1, cutoff=0.85)
    if near:
        raise EvalkitError(
            f"{option}={claimed}: did you mean '{same[near[0]]}'? "
            "Leave it out for a checkpoint that no numbers were published for"
        )
