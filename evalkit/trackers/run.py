"""What a tracker is given of a record, whichever tracker it is."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from evalkit.errors import EvalkitError
from evalkit.report.literal import literal

Value = str | int | float | bool

LONGEST = 120  # characters of a name


@dataclass(frozen=True)
class Sound:
    """A clip to listen to.

    Attributes:
        name: unique in its run, such as "kld worst 1".
        path: of the file that is sent.
        caption: what stands beside it: the prompt's id and caption, and the clip's values.
    """

    name: str
    path: Path
    caption: str


@dataclass(frozen=True)
class Run:
    """What becomes one run of a tracker: a model of a result, a comparison, a sweep or a point of it, a listening test.

    Attributes:
        key: digest of the record and of what the run is in it, so that the same is known when it is sent again.
        name: what people see; random weights stand in it.
        group: the folder of the record, by which a tracker keeps runs together.
        kind: what it is.
        time: when the record was written, in seconds since 1970.
        scalars: numbers by name: METRIC, METRIC/low, METRIC/high, METRIC/n, and others with a "/" between parts.
        parameters: what it was made with.
        tags: words by which runs are found.
        marks: tags that are warnings, such as "random weights".
        text: all that is said of the record in Markdown, what must be read first at its beginning.
        tables: frames by name.
        sounds: some clips.
        files: by the name that they are kept under.
    """

    key: str
    name: str
    group: str
    kind: Literal["result", "comparison", "sweep", "point", "listening"]
    time: float
    scalars: Mapping[str, float]
    parameters: Mapping[str, Value]
    tags: Mapping[str, str]
    marks: Sequence[str] = ()
    text: str = ""
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    sounds: Sequence[Sound] = ()
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """How much of a record is sent.

    Attributes:
        rows: of a table, at most.
        sounds: of each metric, the best clips and the worst, so many of each.
        report: whether the page of the record is sent, and made where it is not there.
        form: of clips: "mp3", or "wav" for a tracker that plays nothing else.
    """

    rows: int
    sounds: int
    report: bool
    form: Literal["mp3", "wav"] = "mp3"

    def __post_init__(self) -> None:
        for name, value in (("rows", self.rows), ("sounds", self.sounds)):
            if value < 0:
                raise EvalkitError(f"{name}={value} of a tracker: must not be negative")


def part(text: object) -> str:
    """Write a text of unknown origin as one part of a name: no tracker takes it for a path, or refuses it."""
    kept = re.sub(r"[^\w. +()-]", "_", literal(text).replace("−", "-")).strip(". ")
    return kept[:LONGEST] or "_"


def shell(value: object) -> str:
    """Write a path or a name as a shell takes it: relative where it lies below the working folder."""
    if isinstance(value, Path) and value.is_relative_to(Path.cwd()):
        value = value.relative_to(Path.cwd())
    return shlex.quote(literal(value))


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Keep the values that are finite numbers: of what was not measured there is nothing to show."""
    given = {name: float(value) for name, value in values.items() if value is not None and not pd.isna(value)}
    return {name: value for name, value in given.items() if math.isfinite(value)}


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Value]:
    """Name nested values by their path, such as "sampling.top_k"; lists become text, and None is left out."""
    found: dict[str, Value] = {}
    for key, value in values.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            found[name] = ", ".join(map(str, value))
        elif value is not None:
            found[name] = value if isinstance(value, (bool, int, float)) else str(value)
    return found
