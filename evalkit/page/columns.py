"""What the table of all clips is made from: prompts and values as columns, compact enough for thousands of prompts."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evalkit.errors import EvalkitError
from evalkit.page.view import SIDES, View
from evalkit.report import numbers
from evalkit.report.literal import literal
from evalkit.results.comparison import Comparison
from evalkit.results.frames import PROMPTS, SOMETIMES, prompts_of, typed
from evalkit.results.plots.plot import Metric
from evalkit.results.sweep import Sweep
from evalkit.slices import standard

FILTERED = ("tag", "label")  # kinds of groups that have a filter of their own
STATE = ("status", "reason", "note")


@dataclass(frozen=True)
class Part:
    """The clips that one system made: the first of each prompt, or the second, ….

    Attributes:
        system: its number.
        sample: which clip of each prompt.
        clips: those of `evalkit.results.record.Record.clips`, by the prompt's id; columns may be absent.
    """

    system: int
    sample: int
    clips: pd.DataFrame


@dataclass(frozen=True)
class Clips:
    """All clips of a page.

    Attributes:
        prompts: one row per prompt, as `Record.prompts`.
        systems: name and role of each, as people read them.
        partial: which of them are known only by the prompts that moved most, because their result is not there.
        remarks: what a reader must know of the table, one sentence each.
    """

    prompts: pd.DataFrame
    metrics: Sequence[Metric]
    systems: Sequence[tuple[str, str]]
    parts: Sequence[Part]
    partial: Sequence[str] = ()
    remarks: Sequence[str] = ()


def clips_of(view: View) -> Clips:
    """Gather the clips of all systems; of results that are not there, what a comparison says of them."""
    prompts = [system.result.prompts for system in view.systems]
    systems, parts = list[tuple[str, str]](), list[Part]()
    for number, system in enumerate(view.systems):
        clips = system.clips
        systems.append((system.name, system.role))
        for sample, chosen in clips.groupby("sample"):
            parts.append(Part(number, int(str(sample)), chosen.set_index("id")))
    if view.comparison is not None and view.gone:
        for name, role in view.gone:
            systems.append((name, role))
            parts.append(Part(len(systems) - 1, 1, _moved(view.comparison, role)))
        prompts.append(_moved_prompts(view.comparison))
    every = pd.concat(prompts).drop_duplicates("id") if prompts else typed(pd.DataFrame(columns=list(PROMPTS)), PROMPTS)
    every = every.fillna({name: "" for name in SOMETIMES if name in every})  # of results that lack the column
    shown = [metric for metric in view.metrics if any(metric.name in part.clips for part in parts)]
    partial = [name for name, _ in view.gone]
    return Clips(every.reset_index(drop=True), shown, systems, parts, partial, list(_remarks(view, every)))


def _remarks(view: View, prompts: pd.DataFrame) -> Iterator[str]:
    """What the table shows otherwise than the comparison that it is of."""
    comparison = view.comparison
    if comparison is None or view.gone:
        return
    if len(prompts) != comparison.prompts:
        yield (
            f"This table has all {len(prompts):,} prompts of the results; the comparison is of {comparison.prompts:,}: "
            "those that every side has, with the same caption and reference, and with clips that can be used."
        )
    several = [f"{len(side):,} results of the {role}" for role in SIDES if len(side := getattr(comparison, role)) > 1]
    if several:
        yield (
            f"The comparison is over {' and '.join(several)}; A and B are single results, at first the first of "
            "either side."
        )


def _moved(comparison: Comparison, role: str) -> pd.DataFrame:
    """The values of one side on the prompts that moved most, in a column for each metric."""
    return comparison.moved.pivot_table(index="id", columns="metric", values=role, aggfunc="first")


def _moved_prompts(comparison: Comparison) -> pd.DataFrame:
    """The prompts that moved most; their tags and labels are not known."""
    found = comparison.moved[["id", "caption"]].drop_duplicates("id")
    nothing = pd.Series([[] for _ in found.index], index=found.index, dtype=object)
    return typed(found.assign(tags=nothing, labels=nothing), PROMPTS)


def data(view: View, clips: Clips) -> dict[str, Any]:
    """Write clips for the page's scripts: a JSON-like value.

    Numbers of a column are one text, base64 of 64-bit floats in little-endian order, NaN where there is none: half the
    size of digits, and the same to the last bit. What is wrong with a clip is a number into `states`, whose first entry
    is that there is no clip; 1 for "ok".
    """
    prompts = clips.prompts
    states = _Numbered([("", "", ""), ("ok", "", "")])
    of_parts = [_part(part, prompts["id"], clips.metrics, states) for part in clips.parts]
    return {
        "ids": list(prompts["id"]),
        "captions": [literal(caption) for caption in prompts["caption"]],
        "given": _given(view, prompts["id"]),
        "tags": _words(prompts["tags"]),
        "labels": _words(prompts["labels"]),
        "groups": _groups(view, prompts),
        "systems": [{"name": literal(name), "role": role} for name, role in clips.systems],
        "metrics": [_metric(metric, clips.parts) for metric in clips.metrics],
        "states": [[literal(text) for text in state] for state in states.known],
        "parts": of_parts,
        "pair": _pair(view, clips),
        "first": _first(clips),
    }


class _Numbered:
    """Things numbered in the order in which they are met."""

    def __init__(self, known: Iterable[Any]) -> None:
        self.known = list(known)
        self._numbers: dict[Hashable, int] = {one: number for number, one in enumerate(self.known)}

    def __call__(self, one: Hashable) -> int:
        number = self._numbers.setdefault(one, len(self.known))
        if number == len(self.known):
            self.known.append(one)
        return number


def _part(part: Part, ids: pd.Series, metrics: Sequence[Metric], states: _Numbered) -> dict[str, Any]:
    aligned = part.clips.reindex(ids)
    there = ids.isin(part.clips.index).to_numpy()
    values = [
        base64.b64encode(aligned[metric.name].to_numpy("<f8").tobytes()).decode() if metric.name in aligned else None
        for metric in metrics
    ]
    return {
        "system": part.system,
        "sample": part.sample,
        "values": values,
        "states": _states(aligned, there, "", states),
        "references": _states(aligned, there, "reference_", states),
    }


def _states(clips: pd.DataFrame, there: np.ndarray, prefix: str, states: _Numbered) -> int | list[int]:
    """The number of each clip's state; one number where all are the same."""
    columns = [f"{prefix}{name}" for name in STATE]
    if not set(columns) <= set(clips):  # only a part of what is known of clips stands in a comparison
        found = [int(is_there) for is_there in there]
    else:
        rows = clips[columns].fillna("").itertuples(index=False, name=None)
        found = [states(tuple(row)) if is_there else 0 for row, is_there in zip(rows, there, strict=True)]
    return found[0] if len(set(found)) == 1 else found


def _given(view: View, ids: Iterable[str]) -> list[list[list[Any]]] | None:
    """What models were given in place of each caption: language, translation, numbers of systems; None for nothing."""
    found: dict[str, dict[tuple[str, str], list[int]]] = {}
    for number, system in enumerate(view.systems):
        prompts = system.result.prompts
        if system.role != "calibration" and "translation" in prompts:
            told = prompts[prompts["translation"] != ""]
            languages = told["language"] if "language" in told else [""] * len(told)
            for id, language, text in zip(told["id"], languages, told["translation"], strict=True):
                found.setdefault(id, {}).setdefault((language, text), []).append(number)
    if not found:
        return None
    of_ids = (found.get(id, {}).items() for id in ids)
    return [[[literal(language), literal(text), systems] for (language, text), systems in each] for each in of_ids]


def _words(column: Iterable[Iterable[str]]) -> dict[str, Any]:
    """Tags or labels: each word once, the most frequent first, and the words of each prompt by number."""
    shown = [list(dict.fromkeys(map(literal, words))) for words in column]
    sizes = Counter(word for words in shown for word in words)
    names = sorted(sizes, key=lambda word: (-sizes[word], word))
    number = {word: i for i, word in enumerate(names)}
    return {"names": names, "of": [[number[word] for word in words] for words in shown]}


def _groups(view: View, prompts: pd.DataFrame) -> list[dict[str, Any]]:
    """The groups of prompts that the records have values of, with the numbers of their prompts."""
    frames = [result.slices for result in view.results]
    frames += [view.comparison.slices] if view.comparison is not None else []
    asked: dict[str, dict[str, list[int]]] = {}
    for frame in frames:
        for kind, name in frame[["slice", "group"]].drop_duplicates().itertuples(index=False, name=None):
            if kind not in FILTERED:
                asked.setdefault(kind, {})[name] = []
    every = prompts_of(prompts)
    for kind, members in asked.items():
        try:
            (one,) = standard([kind])
        except EvalkitError:  # a kind of somebody's own: what belongs to its groups is not in the record
            continue
        for number, prompt in enumerate(every):
            for name in one.grouping.groups_of(prompt):
                if name in members:
                    members[name].append(number)
    return [
        {"kind": literal(kind).replace("_", " "), "name": literal(name), "prompts": found}
        for kind, members in asked.items()
        for name, found in members.items()
        if found
    ]


def _metric(metric: Metric, parts: Sequence[Part]) -> dict[str, Any]:
    values = pd.concat([part.clips[metric.name] for part in parts if metric.name in part.clips]).abs()
    sizes = values[np.isfinite(values) & (values > 0)]
    typical = float(sizes.median()) if len(sizes) else math.nan
    return {
        "name": metric.name,
        "title": literal(metric.title),
        "arrow": numbers.ARROWS[metric.higher_is_better],
        "places": numbers.places(typical),
    }


def _pair(view: View, clips: Clips) -> list[int] | None:
    """The two systems that are shown side by side at first, where the records are about such two."""
    if isinstance(view.records[0], Comparison | Sweep):
        roles: Mapping[str, int] = {role: i for i, (_, role) in reversed(list(enumerate(clips.systems)))}
        if len(roles) == 2:
            return sorted(roles.values())
    return None


def _first(clips: Clips) -> str:
    """Whose clips are listed at first: calibration rows are not, where there is anything else."""
    roles = {role for _, role in clips.systems}
    return "models" if "calibration" in roles and len(roles) > 1 else ""
