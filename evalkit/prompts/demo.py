"""The prompts that come with evalkit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evalkit.prompts.musiccaps import MusicCaps


@dataclass(frozen=True)
class Demo(MusicCaps):
    """The captions that come with evalkit, for trying it without any other file."""

    path: str | None = str(Path(__file__).parent.parent / "data" / "demo.csv")
    dataset: str = "demo"
