"""Records with real audio, as they are sent to trackers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from evalkit.results.result import Result
from evalkit.store.digests import sha256_file
from tests.results.made import record, row

MODEL, SCALE = "small/../model", "noise at −40 dB"  # no name may lead elsewhere
CAPTION = "a <script>alert(1)</script> | *calm* piano"
PROMPTS = 8
VALUES = {MODEL: {"fad": 4.9, "kld": 1.4}, SCALE: {"fad": 40.0, "kld": 5.0}}
TITLES: dict[str, tuple[str, bool | None]] = {"fad": ("FAD", False), "kld": ("KLD", False)}
CONFIG = {"model": {"m": {"path": "/models/m", "api_token": "hf_secret"}}, "hub": "https://me:pw@hub.example/x"}


def tone(path: Path, pitch: float, seconds: float = 0.5) -> str:
    """Write a tone, and return its digest."""
    times = np.arange(round(seconds * 32000)) / 32000
    soundfile.write(path, np.stack([0.3 * np.sin(2 * np.pi * pitch * times)] * 2, axis=1), 32000, "PCM_16")
    return sha256_file(path)


def result(folder: Path, **changes: Any) -> Result:
    """Save a result of one model and one calibration row, the clips of which are tones."""
    made = record(
        VALUES, {(MODEL, "fad"): 4.88}, titles=TITLES, total=PROMPTS, spread=0.25,
        rows={MODEL: row(random=True, definition={"kind": "musicgen"}), SCALE: row(calibration=True)},
        config=CONFIG,
    )  # fmt: skip
    (folder / "audio").mkdir(parents=True)
    paths = [folder / "audio" / f"{place}.flac" for place in range(len(made.clips))]
    clips = made.clips.assign(
        path=[str(path) for path in paths],
        sha256=[tone(path, 220 + 20 * place) for place, path in enumerate(paths)],
        caption=CAPTION,
        seconds=0.5,
        kld=[float(place % PROMPTS) for place in range(len(made.clips))],
    )
    made = dataclasses.replace(made, **{"clips": clips, **changes})
    fields = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    return Result(**fields).save(folder / "run")
