"""Clips as a page can play them: inside of it as MP3, beside it by a link, or a word why neither is possible."""

from __future__ import annotations

import base64
import hashlib
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from evalkit import audio
from evalkit.audio import Audio, AudioError
from evalkit.page import pictures
from evalkit.page.links import relative
from evalkit.progress import progress
from evalkit.store.digests import sha256_file
from evalkit.types import Clip

# What browsers play from a file, by its suffix.
PLAYED = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
}

THREADS = 4
AUDIBLE = -60.0  # LUFS: what is quieter is not matched, or else all others would have to be as quiet

GONE = "its file is gone"


@dataclass(frozen=True)
class Sounds:
    """The clips of a page.

    Attributes:
        entries: by key what the page's scripts play, JSON-like: `type` and either `base64` or `href`, `seconds`, and
            for a link `start`; what was measured, where it was: `lufs` and `peak_db` (None where there is none),
            `peaks`, `picture`, `said`. Only `reason` where the clip cannot be played.
        bytes: how many characters sound and pictures take in the page.
    """

    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    bytes: int = 0

    def counted(self, keys: Sequence[str]) -> str:
        """How many of some clips are inside of the page, linked, or not there."""
        reasons, total = self.reasons(keys), len(keys)
        inside = sum("base64" in self.entries[key] for key in keys)
        linked = sum("href" in self.entries[key] for key in keys)
        gone, others = reasons.get(GONE, 0), sum(reasons.values()) - reasons.get(GONE, 0)

        def are(number: int) -> str:
            return f"{number:,} {'is' if number == 1 else 'are'}"

        said = [f"{inside:,} of {total:,} clips {'is' if inside == 1 else 'are'} inside the page"]
        said += [f"{are(linked)} linked"] if linked else []
        said += [f"{are(gone)} gone"] if gone else []
        said += [f"{others:,} cannot be played"] if others else []
        return ", ".join(said)

    def reasons(self, keys: Sequence[str]) -> dict[str, int]:
        """Why some of the clips cannot be played, with how many each."""
        return Counter(self.entries[key]["reason"] for key in keys if "reason" in self.entries[key])


@dataclass(frozen=True)
class _Heard:
    """A clip that was decoded.

    Attributes:
        facts: of its entry.
        picture: its spectrogram.
        mp3: as MP3; None where that was not asked for.
    """

    facts: Mapping[str, Any]
    picture: str
    mp3: str | None


def key(clip: Clip) -> str:
    """What names a clip in a page: equal for the same part of the same bytes, or the same want of any."""
    what = (
        [clip.sha256 or str(clip.path or ""), clip.start, clip.seconds, clip.gain]
        if clip.ok
        else [clip.status, clip.reason]
    )
    return hashlib.sha256(repr(what).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def sounds(first: Sequence[Clip], others: Sequence[Clip], output: Path, budget: int) -> Sounds:
    """Make the clips of a page.

    Args:
        first: clips that the page has cards of, the most important first: they are decoded in any case.
        others: clips that are put inside only where there is room left.
        output: the file of the page, which links are relative to.
        budget: characters that sound and pictures inside of the page may take.
    """
    chosen = {key(clip): clip for clip in first}
    rest = {name: clip for clip in others if (name := key(clip)) not in chosen}
    made = _Page(output, budget)
    made.add(chosen, measure=True)
    room = made.room()
    inside = dict(list(rest.items())[:room])
    made.add(inside, measure=False)
    made.link({name: clip for name, clip in rest.items() if name not in inside})
    return Sounds(made.entries, made.bytes)


class _Page:
    def __init__(self, output: Path, budget: int):
        self.output, self.budget = output, budget
        self.entries: dict[str, dict[str, Any]] = {}
        self.bytes = 0
        self.sizes: list[int] = []

    def room(self) -> int:
        """For about how many more clips of the same size there is room."""
        if self.budget <= self.bytes:
            return 0
        size = sum(self.sizes) / len(self.sizes) if self.sizes else 100_000
        return int((self.budget - self.bytes) / max(1.0, size)) if self.sizes or self.budget > size else 0

    def add(self, clips: Mapping[str, Clip], measure: bool) -> None:
        """Put clips inside while there is room, and link the others; `measure`: say what is heard of those as well."""
        if not clips:
            return

        def heard(clip: Clip) -> _Heard | str:
            found = _heard(clip, self.budget > 0)
            advance(1)
            return found

        with (
            progress("clips", len(clips), "clips") as advance,
            ThreadPoolExecutor(max(1, min(THREADS, os.cpu_count() or 1))) as pool,
        ):
            found = dict(zip(clips, pool.map(heard, clips.values()), strict=True))
        drawn = {name for name, one in found.items() if measure and isinstance(one, _Heard) and self._fits(one.picture)}
        for name, one in found.items():
            self.entries[name] = self._entry(clips[name], one, measure, name in drawn)

    def link(self, clips: Mapping[str, Clip]) -> None:
        """Link clips without a look at what is in them."""
        for name, clip in clips.items():
            reason = _absent(clip)
            self.entries[name] = {"reason": reason} if reason else self._linked(clip)

    def _fits(self, *parts: str) -> bool:
        """Take room for something, if there is any left."""
        size = sum(map(len, parts))
        if self.bytes + size > self.budget:
            return False
        self.bytes += size
        return True

    def _entry(self, clip: Clip, found: _Heard | str, measure: bool, drawn: bool) -> dict[str, Any]:
        if isinstance(found, str):
            return {"reason": found}
        picture = {"picture": found.picture}
        if found.mp3 is not None and self._fits(found.mp3, *(() if drawn else (found.picture,))):
            self.sizes.append(len(found.mp3) + len(found.picture))
            return {"type": "audio/mpeg", "base64": found.mp3, **found.facts, **picture}
        linked = self._linked(clip)
        if "reason" in linked or not measure:
            return linked
        return {**linked, **found.facts, **(picture if drawn else {})}

    def _linked(self, clip: Clip) -> dict[str, Any]:
        """The entry of a clip that a page links to."""
        assert clip.path is not None
        type = PLAYED.get(clip.path.suffix.lower())
        if type is None:
            return {"reason": f"no room in the page, and browsers do not play {clip.path.suffix or 'such'} files"}
        return {
            "type": type,
            "href": relative(clip.path, self.output),
            "start": clip.start,
            "seconds": clip.seconds,
        }


def _absent(clip: Clip) -> str:
    """Why a clip is not there at all; empty where it is."""
    if not clip.ok:
        return f"{clip.status}: {clip.reason}" if clip.reason else clip.status
    if clip.path is None or not clip.path.is_file():
        return GONE
    return ""


def _heard(clip: Clip, encode: bool) -> _Heard | str:
    """Decode a clip and say what is in it; a text where it cannot be decoded, or is another than was measured."""
    reason = _absent(clip)
    if reason or clip.path is None:
        return reason
    try:
        if clip.sha256 and sha256_file(clip.path) != clip.sha256:
            return "its file is not the one that was measured"
        part = cut(audio.read(clip.path), clip)
        peak = float(np.abs(part.samples).max())
        loudness = audio.loudness(part)
        facts = {
            "seconds": round(part.samples.shape[1] / part.rate, 4),
            "lufs": round(loudness, 2) if math.isfinite(loudness) and loudness > AUDIBLE else None,
            "peak_db": round(20 * math.log10(peak), 2) if peak > 0 else None,
            "peaks": pictures.outline(part.samples),
            "said": pictures.described(part),
        }
        mp3 = base64.b64encode(audio.as_mp3(part)).decode() if encode else None
        return _Heard(facts, pictures.data_url(pictures.spectrogram(part)), mp3)
    except (AudioError, OSError) as error:
        return str(error)


def cut(whole: Audio, clip: Clip) -> Audio:
    """The part of a clip that was measured, at its own rate, as it was stored; surround becomes its downmix.

    Raises AudioError where nothing is left of it.
    """
    start = round(clip.start * whole.rate)
    end = None if clip.seconds is None else start + round(clip.seconds * whole.rate)
    samples = whole.samples[:, start:end]
    if not samples.shape[1]:
        raise AudioError("it is shorter than the part that was measured")
    return Audio(samples, whole.rate) if len(samples) <= 2 else audio.downmix(Audio(samples, whole.rate))
