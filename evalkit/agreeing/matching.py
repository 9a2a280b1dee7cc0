"""Which row of which result is whose: systems and clips that people heard, and those that metrics measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from evalkit.agreeing.lines import Head, Once, first_line, lines, said, separator_of
from evalkit.agreeing.opinions import Opinions
from evalkit.errors import EvalkitError, unknown
from evalkit.report.numbers import counted
from evalkit.results.files import RESULT
from evalkit.results.folders import MANIFEST, identity, read_manifest
from evalkit.results.loading import with_row
from evalkit.results.pairing import Side
from evalkit.results.record import MetricInfo
from evalkit.results.result import Result
from evalkit.results.summary import records, unique_titles
from evalkit.store.digests import digest

HEARD = 1  # which clip of a prompt people hear
NAMED = 6  # names that a sentence has
LEAST = 3  # systems, with fewer of which there is no correlation


@dataclass(frozen=True)
class Metric:
    """A metric of several systems.

    Attributes:
        higher_is_better: None where neither direction is better.
        values: of each system, (systems,); NaN where there is none.
        random: whether any of its networks has random weights.
    """

    name: str
    title: str
    higher_is_better: bool | None
    values: np.ndarray
    random: bool

    @property
    def better(self) -> np.ndarray:
        """The values, higher where they are better."""
        return -self.values if self.higher_is_better is False else self.values


@dataclass(frozen=True)
class Matched:
    """The systems that people heard and metrics measured.

    Attributes:
        systems: their names in the ratings, in order.
        sides: the row of a result of each.
        remarks: what did not match, one sentence each.
    """

    systems: Sequence[str]
    sides: Sequence[Side]
    remarks: Sequence[str]


def sides(given: Sequence[str]) -> list[Side]:
    """Read the rows of results: of those that are named, and of those in folders that are none themselves.

    Raises EvalkitError for what cannot be read, a row that there is not, and a row that is given twice.
    """
    found: list[Side] = []
    for one in given:
        path, row = with_row(one)
        for folder in _folders(Path(path).expanduser().absolute()):
            result = Result.load(folder)
            if row and row not in result.rows:
                raise unknown(f"row of '{path}'", row, result.rows)
            chosen = [row] if row else [name for name, info in result.rows.items() if not info.calibration]
            found += [Side(result, name) for name in chosen]
    seen = set()
    for side in found:
        if (key := (side.record.path.resolve(), side.row)) in seen:
            raise EvalkitError(f"'{side.record.path}::{side.row}' is given twice: give each row once")
        seen.add(key)
    return found


def _folders(folder: Path) -> list[Path]:
    """The folder of a result, or those of all results in it."""
    if (folder / MANIFEST).is_file() and read_manifest(folder)["kind"] == RESULT.name:
        return [folder]
    inside = sorted(path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{MANIFEST}"))
    results = [path for path in inside if read_manifest(path)["kind"] == RESULT.name]
    return results or [folder]  # which says in one line what is wrong with it


def rows_of(path: Path | None) -> dict[str, str]:
    """Read which row is which system: a CSV with columns `system` and `row` (a name, or RESULT::ROW)."""
    if path is None:
        return {}
    first, *others = lines(path, separator_of(first_line(path)))
    head, once, found = Head(first, {}), Once(), dict[str, str]()
    if head.place("system") is None or head.place("row") is None:
        raise EvalkitError(f"'{path}' must have columns system and row")
    for line in map(head.checked, others):
        system, row = head.cell(line, "system"), head.cell(line, "row")
        if not system or not row:
            raise line.wrong("no system, or no row")
        once.take(line, (system,))
        found[system] = row
    return found


def match(opinions: Opinions, known: Sequence[Side], named: Mapping[str, str]) -> Matched:
    """Find the row of each system: the one that is named, the one that a listening test was made of, or its namesake.

    Raises EvalkitError for a name that fits several rows or none, and where fewer than `LEAST` systems have a row.
    """
    if strange := [name for name in named if name not in opinions.systems]:
        raise unknown("system of the ratings", strange[0], opinions.systems)
    pairs = {system: side for system in opinions.systems if (side := _side(system, opinions, known, named))}
    rows: dict[tuple[Path, str], str] = {}
    for system, side in pairs.items():
        other = rows.setdefault((side.record.path, side.row), system)
        if other != system:
            raise EvalkitError(f"'{other}' and '{system}' are both row '{side.row}' of '{side.record.path}'")
    without = [system for system in opinions.systems if system not in pairs]
    unheard = [side.row for side in known if (side.record.path, side.row) not in rows]
    if len(pairs) < LEAST:
        if not known:
            raise EvalkitError("the records have calibration rows alone, which take part where RESULT::ROW names them")
        raise EvalkitError(
            f"{counted(len(pairs), 'system')} of the ratings {'is' if len(pairs) == 1 else 'are'} in the records, and "
            f"{LEAST} are needed: the ratings have {some(opinions.systems)}; the records have "
            f"{some([side.row for side in known])}: say which is which with --systems FILE"
        )
    remarks = []
    if without:
        lost = int((~_of(opinions, pairs)).sum())
        remarks.append(f"not in the records, {with_ratings(opinions, lost)}: {some(without)}")
    if unheard:
        remarks.append(f"rows that the ratings do not have: {some(unheard)}")
    others = [name for name, side in pairs.items() if name not in named and _another(opinions, name, side)]
    if others:
        remarks.append(f"not the results whose clips were heard, but rows of the same names: {some(others)}")
    return Matched(list(pairs), list(pairs.values()), remarks)


def _another(opinions: Opinions, system: str, side: Side) -> bool:
    """Whether the ratings say whose clips were heard, and it is not this result's."""
    source = opinions.sources.get(system)
    return source is not None and source.sha256 != identity(side.record.path)


def with_ratings(opinions: Opinions, lost: int) -> str:
    """Say how much of what people said is lost."""
    what = "ratings" if opinions.method == "rating" else "choices"
    return f"with {lost:,} of {len(opinions.frame):,} {what}"


def _of(opinions: Opinions, systems: Mapping[str, Side]) -> pd.Series:
    frame = opinions.frame
    return frame["system"].isin(systems) & frame["second_system"].isin([*systems, ""])


def _side(system: str, opinions: Opinions, known: Sequence[Side], named: Mapping[str, str]) -> Side | None:
    wanted, source = named.get(system, system), opinions.sources.get(system)
    if system in named:
        path, row = with_row(wanted)
        found = [s for s in known if s.row == (row or wanted)]
        if row:
            found = [s for s in found if s.record.path.resolve() == Path(path).expanduser().resolve()]
        if not found:
            raise unknown(f"row (of '{system}')", wanted, [s.row for s in known])
    elif source and source.row:
        found = [s for s in known if s.row == source.row and identity(s.record.path) == source.sha256]
        found = found or [s for s in known if s.row == system]
    else:
        found = [s for s in known if s.row == system]
    if len(found) > 1:
        places = ", ".join(str(s.record.path) for s in found[:2])
        raise EvalkitError(
            f"'{system}' is a row of {len(found)} results ({places}): say which with --systems FILE, as RESULT::ROW"
        )
    return found[0] if found else None


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def metrics(matched: Matched) -> tuple[list[Metric], list[str]]:
    """The metrics of the matched systems, and remarks on those that are not computed alike for all of them."""
    found: dict[str, tuple[str, MetricInfo]] = {}
    computed: dict[str, set[str]] = {}
    for side in matched.sides:
        titles = unique_titles(side.record.metrics)
        for name, info in side.record.metrics.items():
            found.setdefault(name, (titles[name], info))
            computed.setdefault(name, set()).add(digest([side.record.protocol.switches, info.definition]))
    made, remarks, known = [], [], [_scores(side) for side in matched.sides]
    for name, (title, info) in found.items():
        if len(computed[name]) > 1:
            remarks.append(f"{title} is left out: it is not computed alike in all records (protocol, or networks)")
            continue
        scores = [own.get(name) for own in known]
        values = np.array([math.nan if score is None else float(score["value"]) for score in scores])
        # those of a model are no matter: its clips are what people heard
        random = any(side.record.metrics[name].random for side in matched.sides if name in side.record.metrics)
        if absent := [s for s, v in zip(matched.systems, values, strict=True) if not math.isfinite(v)]:
            remarks.append(f"{title} has no value of {some(absent)}")
        sizes = {int(score["n"]) for score in scores if score is not None}
        if len(sizes) > 1 and not info.additive:
            remarks.append(f"{title} is of {min(sizes):,} to {max(sizes):,} prompts, and depends on how many")
        made.append(Metric(name, title, info.higher_is_better, values, random))
    return made, [*remarks, *_references(matched)]


def _references(matched: Matched) -> Iterator[str]:
    known = {side.record.references_info.sha256 for side in matched.sides if side.record.references_info}
    if len(known) > 1:
        yield "the records have different references: metrics that compare with them are of different quantities"


def _scores(side: Side) -> dict[str, dict[str, Any]]:
    """The scores of a row, by metric."""
    scores = side.record.scores
    return {row["metric"]: row for row in records(scores[scores["model"] == side.row])}


class Heard(NamedTuple):
    """A clip that people heard.

    Attributes:
        prompt, clip: as the ratings call them.
        id: of the prompt in the system's record; empty where it is not there.
    """

    prompt: str
    clip: str
    id: str


def heard_of(opinions: Opinions, matched: Matched) -> list[list[Heard]]:
    """The clips of each system that people heard, each with its place in the record."""
    clips, found = opinions.clips, []
    for system, side in zip(matched.systems, matched.sides, strict=True):
        ids, own = _ids(side), clips[clips["system"] == system]
        both = zip(own["prompt"], own["clip"], strict=True)
        found.append([Heard(prompt, clip, ids.get(clip) or ids.get(prompt) or "") for prompt, clip in both])
    return found


def clip_values(heard: Sequence[Sequence[Heard]], matched: Matched, metric: str, prompts: Sequence[str]) -> np.ndarray:
    """A metric's values of the clips that people heard, (systems, prompts); NaN where there is none.

    Of several clips of one system and prompt it is the mean, as of their ratings.
    """
    place = {prompt: k for k, prompt in enumerate(prompts)}
    sums, counts = np.zeros((2, len(matched.systems), len(prompts)))
    for k, (own, side) in enumerate(zip(heard, matched.sides, strict=True)):
        values = _values(side, metric)
        for one in own:
            value = values.get(one.id, math.nan)
            if math.isfinite(value):
                sums[k, place[one.prompt]] += value
                counts[k, place[one.prompt]] += 1
    with np.errstate(invalid="ignore"):
        return sums / counts


def _values(side: Side, metric: str) -> dict[str, float]:
    values = side.record.values
    own = values[(values["model"] == side.row) & (values["metric"] == metric) & (values["sample"] == HEARD)]
    return dict(zip(own["id"], own["value"], strict=True))


def _ids(side: Side) -> dict[str, str]:
    """The prompt that a name means: its id, the name of its clip's file, or its caption, where that is of one alone."""
    clips = side.clips[side.clips["sample"] == HEARD]
    captions = clips[clips["caption"] != ""].drop_duplicates("caption", keep=False)
    return {
        **dict(zip(captions["caption"], captions["id"], strict=True)),
        **{Path(path).stem: id for path, id in zip(clips["path"], clips["id"], strict=True) if path},
        **{id: id for id in clips["id"]},
    }


def unmatched_clips(heard: Sequence[Sequence[Heard]]) -> Iterator[str]:
    """Say how many of the clips that people heard are not in the records."""
    named = [one for own in heard for one in own if one.prompt or one.clip]
    if absent := [one.clip or one.prompt for one in named if not one.id]:
        counts = f"{len(absent):,} of {len(named):,}"
        yield f"{counts} clips that were rated are not in the records, such as {said(absent[0])}"
