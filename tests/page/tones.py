"""Results whose clips are tones, so that a test can tell which of them plays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from evalkit.results.frames import CLIPS, typed
from evalkit.results.result import Result
from tests.results.made import TITLES, metric, record, row

RATE = 32000
SECONDS = 4.0
TONES = {"one": 440.0, "two": 880.0, "three": 1320.0, "reference": 1760.0}  # Hz, by row
METRICS = ("kld", "clap_score")


def tone(
    hertz: float, seconds: float = SECONDS, rate: int = RATE, level: float = 0.25, channels: int = 2
) -> np.ndarray:
    """A sine, (samples, channels), of which the right channel has half the level of the left."""
    sine = level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.stack([sine / 2**channel for channel in range(channels)], axis=1).astype(np.float32)


def written(path: Path, samples: np.ndarray, rate: int = RATE) -> tuple[str, str]:
    """Write a file; its path and digest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)
    return str(path), hashlib.sha256(path.read_bytes()).hexdigest()


def result(
    folder: Path,
    rows: Sequence[str] = ("one", "two"),
    ids: Sequence[str] = ("p0", "p1"),
    values: Mapping[tuple[str, str, str], float] | None = None,
    levels: Mapping[str, float] | None = None,
    captions: Mapping[str, str] | None = None,
    suffix: str = ".wav",
    **changes: Any,
) -> Result:
    """A result of some rows and prompts, with references; each row's clips are tones of its own frequency.

    Args:
        values: by row, id and metric, where they are not increasing numbers.
        levels: amplitude of a row's tones, 0.25 if not given.
    """
    said = {id: (captions or {}).get(id, f"caption {id}") for id in ids}

    def file(name: str, id: str) -> tuple[str, str]:
        samples = tone(TONES[name] + 2 * list(ids).index(id), level=(levels or {}).get(name, 0.25))
        return written(folder / "clips" / name / f"{id}{suffix}", samples)

    references = {id: file("reference", id) for id in ids}
    lines = []
    for name in rows:
        for number, id in enumerate(ids):
            path, sha256 = file(name, id)
            own = {key: (values or {}).get((name, id, key), number + len(name) / 10) for key in METRICS}
            lines.append(
                {
                    "model": name, "id": id, "sample": 1, "caption": said[id], "tags": ["piano"], "labels": [],
                    "status": "ok", "path": path, "sha256": sha256, "sample_rate": RATE, "channels": 2,
                    "seconds": SECONDS, "gain": 1.0, "start": 0.0, "length": SECONDS, "compared_length": SECONDS,
                    "reason": "", "note": "", "reference_reason": "", "reference_note": "",
                    "reference_status": "ok", "reference_path": references[id][0],
                    "reference_sha256": references[id][1], "reference_gain": 1.0, "reference_start": 0.0,
                    "reference_length": SECONDS, **own,
                }
            )  # fmt: skip
    made = record({name: dict.fromkeys(METRICS, 0.5) for name in rows}, {}, total=len(ids), path=folder)
    fields = {
        **vars(made),
        "clips": typed(pd.DataFrame(lines), CLIPS),
        "rows": {name: row() for name in rows},
        "metrics": {name: metric(*TITLES[name], additive=True) for name in METRICS},
        "prompts": made.prompts.assign(id=list(ids), caption=list(said.values())),
    }
    return Result(**{**fields, **changes})


def changed(made: Result, where: Mapping[str, Any], **values: Any) -> Result:
    """The same with some columns of the clips that `where` selects set to other values."""
    clips = made.clips.copy()
    chosen = np.logical_and.reduce([clips[column] == value for column, value in where.items()])
    for column, value in values.items():
        clips.loc[chosen, column] = value
    return replace(made, clips=clips)
