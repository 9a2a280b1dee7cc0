"""What raters hear of: systems of records, hidden references and hidden bad controls, of the same prompts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from evalkit.errors import EvalkitError
from evalkit.listening.sounds import Piece
from evalkit.listening.study import Axis
from evalkit.page.view import System, view
from evalkit.results import REPORT
from evalkit.results.alike import translations
from evalkit.results.folders import identity
from evalkit.results.loading import load, with_row
from evalkit.results.result import Result
from evalkit.store.digests import digest, sha256_file

CONTROLS: Mapping[Axis, str] = {"quality": "noise", "relevance": "wrong_caption", "melody": "wrong_melody"}
Clips = Mapping[str, Mapping[Any, Any]]  # rows of a record's clips, by prompt
PRACTICE = 1  # prompts beside those of the test, whose clips are for getting used to it


@dataclass(frozen=True)
class Found:
    """A file that is there.

    Attributes:
        path: of the file.
        sha256: of what was measured.
    """

    path: Path
    sha256: str

    @property
    def whole(self) -> bool:
        """Whether it is what was measured."""
        return sha256_file(self.path) == self.sha256


@dataclass(frozen=True)
class Heard:
    """A system as raters hear it.

    Attributes:
        name: unique in the study.
        role: "system", "reference" or "control"; `control` says which.
        row, path, sha256: whose clips they are; those of references have no row.
        scores: of the row, by metric.
        pieces: by prompt.
        of: by prompt the one whose clip it is, where that is another one.
    """

    name: str
    role: Literal["system", "reference", "control"]
    pieces: Mapping[str, Piece]
    control: str = ""
    row: str = ""
    path: str = ""
    sha256: str = ""
    scores: Mapping[str, Any] | None = None
    of: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Material:
    """What a test is made of.

    Attributes:
        prompts: ids, those of the test first.
        captions: by prompt.
        translations: what every system was given in place of a caption, by prompt.
        melodies: by prompt, for tests of melodies.
        systems: of which every prompt has a piece.
        records: what was given: path, kind and sha256.
        about: dataset, subset and protocol.
    """

    prompts: Sequence[str]
    captions: Mapping[str, str]
    translations: Mapping[str, str]
    melodies: Mapping[str, Piece]
    systems: Sequence[Heard]
    records: Sequence[Mapping[str, str]]
    about: Mapping[str, str]


def systems_of(given: Sequence[str]) -> tuple[list[System], list[dict[str, str]]]:
    """Read records, and choose the systems that they speak of: of results the models, or the row that is named.

    Raises EvalkitError for what is no record, or whose clips are not there any more.
    """
    rows: dict[Path, list[str]] = {}
    for text in given:
        path, row = with_row(text)
        rows.setdefault(Path(path).expanduser().absolute(), []).append(row)
    records = [load(path) for path in rows]
    for record, named in zip(records, rows.values(), strict=True):
        if any(named) and not isinstance(record, Result):
            raise EvalkitError(f"'{record.path}::{next(filter(None, named))}': only a result has rows: give its folder")
        for name in filter(None, named):
            if isinstance(record, Result) and name not in record.rows:
                raise EvalkitError(f"'{record.path}' has no row '{name}': it has {', '.join(record.rows)}")
    shown = view(records, records[0].path / REPORT, across_protocols=True)
    if shown.missing:
        raise EvalkitError(shown.missing[0])
    asked = dict(zip((record.path for record in records), rows.values(), strict=True))

    def wanted(system: System) -> bool:
        names = [name for name in asked.get(system.result.path, []) if name]
        return system.row in names if names else system.role != "calibration"

    systems = [system for system in shown.systems if wanted(system)]
    if not systems:
        raise EvalkitError(f"'{records[0].path}' has no models to listen to: give another record")
    return systems, [
        {"path": str(record.path), "sha256": identity(record.path), "kind": type(record).__name__.lower()}
        for record in records
    ]


class Choice:
    """Which prompts can be asked about: those of which every system has a clip, in an order of their own."""

    def __init__(self, systems: Sequence[System], axis: Axis, seed: int, references: bool):
        self.systems, self.axis = systems, axis
        first = systems[0].result
        if first.prompts_info.form != "prompts" and axis != "quality":
            raise EvalkitError(f"--axis {axis}: '{first.path}' has no captions: only --axis quality can be asked")
        self.captions = dict(zip(first.prompts["id"], first.prompts["caption"], strict=True))
        self.clips = [_usable(system) for system in systems]
        common = [id for id in self.captions if all(id in clips for clips in self.clips)]
        common.sort(key=lambda id: digest(["listening", seed, id]))
        self.melodies = _melodies(first) if axis == "melody" else {}
        if axis == "melody":
            common = [id for id in common if id in self.melodies]
        elif axis == "relevance":
            common = [id for id in common if len({clips[id]["caption"] for clips in self.clips}) == 1]
        first_clips, info = self.clips[0], first.references_info
        self.pack = info.pack if info else ""  # without audio
        heard = references and not self.pack
        self.recorded = [id for id in common if first_clips[id]["reference_status"] == "ok"] if heard else []
        self.available = [id for id in self.recorded or common if all(self._files(id))]

    @property
    def references(self) -> bool:
        """Whether there are references to hide among the clips."""
        return bool(self.recorded)

    @property
    def seconds(self) -> float:
        """How long clips are, as long as the longest one that can be asked about."""
        return max((float(clips[id]["length"]) for clips in self.clips for id in self.available), default=0.0)

    def _files(self, id: str) -> list[Found | None]:
        """All files that are heard of a prompt: clips, the reference and the melody; None for one that is not there."""
        found = [_found(system.result, clips[id]) for system, clips in zip(self.systems, self.clips, strict=True)]
        if self.references:
            found.append(_found(self.systems[0].result, self.clips[0][id], "reference_"))
        if self.axis == "melody":
            found.append(self.melodies[id])
        return found

    def _first(self, many: int) -> list[str]:
        """The first prompts whose files are those that were measured; reads no more of them than are needed."""
        whole = (id for id in self.available if all(one is not None and one.whole for one in self._files(id)))
        return list(itertools.islice(whole, many))

    def material(self, prompts: int, control: bool, records: Sequence[Mapping[str, str]]) -> Material:
        """Gather what is heard of the first prompts, and of one more where there is one."""
        ids = self._first(prompts + PRACTICE)
        if len(ids) < prompts:
            raise EvalkitError(
                f"of {len(self.available)} prompts only {len(ids)} have clips that are as they were measured: "
                f"give --prompts {len(ids)}, or run again what made them"
            )
        systems = [self._system(*one, ids) for one in zip(self.systems, self.clips, strict=True)]
        if self.references:
            first, clips = self.systems[0].result, self.clips[0]
            pieces = {id: _piece(first, clips[id], "reference_") for id in ids}
            systems.append(Heard("reference", "reference", pieces))
        if control:
            systems.append(self._control(systems[-1 if self.references and self.axis != "melody" else 0], ids))
        info = self.systems[0].result
        return Material(
            prompts=ids,
            captions={id: self.captions[id] for id in ids},
            translations=self._translations(ids),
            melodies={id: Piece(self.melodies[id].path) for id in ids if id in self.melodies},
            systems=systems,
            records=records,
            about={
                "dataset": info.prompts_info.dataset,
                "subset": info.prompts_info.subset,
                "protocol": info.protocol.name,
            },
        )

    def _translations(self, ids: Sequence[str]) -> dict[str, str]:
        """Those that are the same of all systems: others would tell raters which system made a clip."""
        first, *others = [translations(system.result) for system in self.systems]
        return {id: first[id] for id in ids if id in first and all(each.get(id) == first[id] for each in others)}

    def _system(self, system: System, clips: Clips, ids: Iterable[str]) -> Heard:
        return Heard(
            name=system.name,
            role="system",
            pieces={id: _piece(system.result, clips[id]) for id in ids},
            row=system.row,
            path=str(system.result.path),
            sha256=identity(system.result.path),
            scores=_scores(system),
        )

    def _control(self, made_of: Heard, ids: Sequence[str]) -> Heard:
        """What every attentive rater finds bad: noise over a clip, or the clip of another prompt."""
        kind = CONTROLS[self.axis]
        named = Heard(
            f"control: {kind.replace('_', ' ')}", "control", {}, kind, made_of.row, made_of.path, made_of.sha256
        )
        if kind == "noise":
            return replace(named, pieces={id: replace(piece, noise=id) for id, piece in made_of.pieces.items()})
        differs = self._melody if self.axis == "melody" else self.captions.__getitem__
        other: dict[str, str] = {}
        for place, id in enumerate(ids):
            found = next((one for one in [*ids[place + 1 :], *ids[:place]] if differs(one) != differs(id)), None)
            if found is None:
                what = "melody" if self.axis == "melody" else "caption"
                raise EvalkitError(f"all prompts have the same {what}, so none is wrong: give --no-control")
            other[id] = found
        return replace(named, pieces={id: made_of.pieces[one] for id, one in other.items()}, of=other)

    def _melody(self, id: str) -> str:
        return self.melodies[id].sha256


def _usable(system: System) -> Clips:
    """The first clip of each prompt, if it is usable, by prompt."""
    clips = system.clips
    return {row["id"]: row for row in clips[(clips["status"] == "ok") & (clips["sample"] == 1)].to_dict("records")}


def _found(result: Result, row: Mapping[Any, Any], prefix: str = "") -> Found | None:
    """The file of a clip, or of its reference; None where it is not there."""
    path = result.audio(row[f"{prefix}sha256"], row[f"{prefix}path"])
    return None if path is None else Found(path, row[f"{prefix}sha256"])


def _piece(result: Result, row: Mapping[Any, Any], prefix: str = "") -> Piece:
    """The part of a clip that counts, whose file is there."""
    found = _found(result, row, prefix)
    assert found is not None
    return Piece(found.path, float(row[f"{prefix}start"]), float(row[f"{prefix}length"]))


def _melodies(result: Result) -> dict[str, Found]:
    """The melodies that a run gave to its models, by prompt."""
    frame = result.prompts
    if "melody" not in frame:
        raise EvalkitError(
            f"--axis melody: the prompts of '{result.path}' have no melodies: ask about quality or relevance, or run a "
            "melody model on prompts with a column melody"
        )
    rows = zip(frame["id"], frame["melody"], frame["melody_sha256"], strict=True)
    found = {id: Found(Path(path), sha256) for id, path, sha256 in rows if path and Path(path).is_file()}
    if not found:
        raise EvalkitError(f"--axis melody: no melody of '{result.path}' is where it was: put the files back")
    return found


def _scores(system: System) -> dict[str, Any]:
    """What metrics say of a system, to be set beside what raters say."""
    scores = system.result.scores
    own = scores[scores["model"] == system.row].to_dict("records")
    return {
        row["metric"]: {
            "title": system.result.metrics[row["metric"]].title,
            "higher_is_better": system.result.metrics[row["metric"]].higher_is_better,
            "random": bool(row["random_weights"]),
            **{key: None if math.isnan(row[key]) else float(row[key]) for key in ("value", "low", "high")},
        }
        for row in own
        if row["metric"] in system.result.metrics
    }
