"""Results with audible clips, and studies made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from evalkit.listening.making import Asked, Made, make
from evalkit.results.frames import CLIPS, PROMPTS, typed
from evalkit.results.result import Result
from evalkit.store.digests import sha256_file
from evalkit.store.seeds import keyed
from tests.results.made import record

RATE = 16000
NAMES = ("golden-goose", "silver <script>")  # of models, which no page may hold
CAPTION = 'A <script>alert("caption")</script> waltz, number'


def tone(path: Path, key: str, seconds: float = 1.0, level: float = 0.2, channels: int = 2) -> Path:
    """Write a clip with a few harmonics and a little noise."""
    rng = keyed("tone", key)
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = 110 * 2 ** rng.uniform(0, 3)
    wave = sum(np.sin(2 * np.pi * pitch * k * time + rng.uniform(0, 6)) / k for k in range(1, 6))
    wave = wave + 0.05 * rng.normal(size=len(time))
    wave = level * wave / np.abs(wave).max()
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack([wave] * channels, axis=1).astype(np.float32), RATE, subtype="FLOAT")
    return path


def result(
    folder: Path,
    names: Sequence[str] = NAMES,
    prompts: int = 4,
    seconds: float = 1.0,
    references: bool = True,
    melodies: bool = False,
    alter: Callable[[Path, int, int], object] = lambda path, system, prompt: None,
    clips: Mapping[str, Mapping[str, Any]] | None = None,
    translations: Sequence[str] = (),
) -> Result:
    """Make a result whose clips can be heard.

    Args:
        alter: may write other clips, given the file, and the numbers of the system and the prompt.
        clips: other columns of a system's clips.
    """
    ids = [f"prompt/{i}" for i in range(prompts)]
    rows = []
    for number, name in enumerate(names):
        for i, id in enumerate(ids):
            clip = tone(folder / "clips" / f"{number}-{i}.wav", f"{number} {i}", seconds, 0.1 + 0.1 * number)
            alter(clip, number, i)
            reference = folder / "references" / f"{i}.wav"
            if number == 0:
                tone(reference, f"reference {i}", seconds)
            rows.append(
                {
                    "model": name, "id": id, "sample": 1, "caption": f"{CAPTION} {i}", "tags": [], "labels": [],
                    "status": "ok", "reason": "", "note": "", "path": str(clip), "sha256": sha256_file(clip),
                    "sample_rate": RATE, "channels": 2, "seconds": seconds, "gain": 1.0, "start": 0.0,
                    "length": seconds, "compared_length": seconds,
                    "reference_status": "ok" if references else "missing", "reference_reason": "",
                    "reference_note": "", "reference_path": str(reference) if references else "",
                    "reference_sha256": sha256_file(reference) if references else "", "reference_gain": 1.0,
                    "reference_start": 0.0, "reference_length": seconds,
                    **(clips or {}).get(name, {}),
                }
            )  # fmt: skip
    frame = pd.DataFrame({"id": ids, "caption": [f"{CAPTION} {i}" for i in range(prompts)], "tags": "", "labels": ""})
    frame["tags"] = frame["labels"] = [[] for _ in ids]
    if translations:
        frame["translation"] = list(translations)
    if melodies:
        files = [tone(folder / "melodies" / f"{i}.wav", f"melody {i}", seconds, channels=1) for i in range(prompts)]
        frame["melody"] = [str(file) for file in files]
        frame["melody_sha256"] = [sha256_file(file) for file in files]
    values = {name: {"fad": 4.0 + number, "kld": 1.0} for number, name in enumerate(names)}
    made = record(values, {}, titles={"fad": ("FAD", False), "kld": ("KLD", False)}, total=prompts, path=folder / "run")
    made = replace(made, clips=typed(pd.DataFrame(rows), CLIPS), prompts=typed(frame, PROMPTS))
    return Result(**vars(made)).save(folder / "run")


def study(folder: Path, records: Sequence[str] | None = None, **asked: Any) -> Made:
    """Make a study, of a new result where none is given."""
    given = list(records) if records is not None else [str(result(folder / "result").path)]
    options = {"axis": "relevance", "method": "rating", "prompts": 3, "raters": 5, **asked}
    return make(given, Asked(**options), folder / "study")
