"""Who made clips of which prompts, as people listen to them side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from evalkit.page.view import View
from evalkit.results.comparison import Comparison
from evalkit.results.result import Result
from evalkit.types import Clip

REFERENCE: Literal["reference"] = "reference"
Maker: TypeAlias = "int | Literal['reference']"  # the number of a system, or the reference


@dataclass(frozen=True)
class Source:
    """A clip of a prompt.

    Attributes:
        maker: the number of the system that made it, or "reference".
        sample: which of the system's clips of that prompt.
        values: by metric its own value; NaN where it has none.
    """

    maker: Maker
    sample: int
    clip: Clip
    values: Mapping[str, float]


@dataclass(frozen=True)
class Sources:
    """All clips that a page knows of.

    Attributes:
        systems: name and role of each system, by number.
        prompts: by id the prompt's clips: systems in order, then the reference.
        captions, tags: of the prompts, by id.
    """

    systems: list[tuple[str, str]]
    prompts: dict[str, list[Source]]
    captions: dict[str, str]
    tags: dict[str, list[str]]


def sources(view: View) -> Sources:
    """Gather the clips of all systems, and the references; of a comparison also those that it names itself."""
    found = Sources([(system.name, system.role) for system in view.systems], {}, {}, {})
    references: dict[str, Source] = {}
    for number, system in enumerate(view.systems):
        metrics = [name for name in system.result.metrics if name in system.result.clips.columns]
        for row in system.clips.to_dict("records"):
            prompt = row["id"]
            found.captions.setdefault(prompt, row["caption"])
            found.tags.setdefault(prompt, list(row["tags"]))
            values = {name: float(row[name]) for name in metrics}
            if row["status"] != "unpaired":  # a name that only the references have
                clip = clip_of(system.result, row)
                found.prompts.setdefault(prompt, []).append(Source(number, row["sample"], clip, values))
            if system.result.references_info is not None and row["reference_status"] not in ("", "unpaired"):
                one = clip_of(system.result, row, "reference_")
                if prompt not in references or (one.ok and not references[prompt].clip.ok):
                    references[prompt] = Source(REFERENCE, 1, one, {})
    if view.comparison is not None:
        _named(view, view.comparison, found, references)
    for prompt, source in references.items():
        found.prompts.setdefault(prompt, []).append(source)
    return found


def clip_of(result: Result, row: Mapping[Any, Any], prefix: str = "") -> Clip:
    """The clip of a row of `Result.clips`, or with the prefix "reference_" its reference, where it lies now."""

    def text(name: str) -> str:
        value = row[prefix + name]
        return value if isinstance(value, str) else ""

    def number(name: str, absent: float) -> float:
        value = float(row[prefix + name])
        return absent if math.isnan(value) else value

    path = result.audio(text("sha256"), text("path") or None)
    info = result.references_info
    if prefix and path is None and info is not None and info.pack and row[f"{prefix}status"] == "ok":
        return Clip(row["id"], status="missing", reason=f"the reference pack '{info.pack}' holds no audio")
    length = float(row[f"{prefix}length"])
    return Clip(
        id=row["id"],
        path=path,
        status=row[f"{prefix}status"],
        reason=text("reason"),
        sha256=text("sha256"),
        start=number("start", 0.0),
        seconds=None if math.isnan(length) else length,
        gain=number("gain", 1.0),
    )


def _named(view: View, comparison: Comparison, found: Sources, references: dict[str, Source]) -> None:
    """Add the clips that a comparison names itself, of a side whose result is gone."""
    for name, side in view.gone:
        number = len(found.systems)
        found.systems.append((name, side))
        for row in comparison.moved.drop_duplicates("id").to_dict("records"):
            found.captions.setdefault(row["id"], row["caption"])
            own = comparison.moved[comparison.moved["id"] == row["id"]]
            values = {str(metric): float(value) for metric, value in zip(own["metric"], own[side], strict=True)}
            one = Source(number, 1, _lying(row, side), values)
            found.prompts.setdefault(row["id"], []).append(one)
            if row["id"] not in references and row["reference_path"]:
                references[row["id"]] = Source(REFERENCE, 1, _lying(row, "reference"), {})


def _lying(row: Mapping[Any, Any], side: str) -> Clip:
    """A clip of which no more is known than its file: the whole of it counts."""
    path = row[f"{side}_path"]
    if not path:
        return Clip(row["id"], status="missing", reason="the record does not name its file")
    return Clip(row["id"], path=Path(path), sha256=row[f"{side}_sha256"])
