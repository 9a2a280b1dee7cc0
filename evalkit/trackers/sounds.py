"""Some clips to listen to: of each metric the best and the worst."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import soundfile

from evalkit.audio import Audio, AudioError, as_mp3, read
from evalkit.report.literal import literal
from evalkit.report.numbers import number
from evalkit.results.result import Result
from evalkit.store.digests import sha256_file
from evalkit.trackers.run import Limits, Sound, part

MOST = 24  # clips of a run
SECONDS = 30  # of a clip
ENDS = {True: ("best", "worst"), False: ("worst", "best"), None: ("highest", "lowest")}  # high, low by what is better


def chosen(result: Result, clips: pd.DataFrame, each: int) -> dict[int, list[str]]:
    """Choose clips of a row, by their place in its table, with the names of what each was chosen for.

    Without values per clip these are the first ones.
    """
    usable = clips[clips["status"] == "ok"]
    found: dict[int, list[str]] = {}
    metrics = [name for name in result.metrics if name in usable and usable[name].notna().any()]
    for name in metrics:
        ends: list[tuple[str, Any]]
        ordered = usable[usable[name].notna()].sort_values(name, kind="stable").index
        high, low = ENDS[result.metrics[name].higher_is_better]
        few = min(each, len(ordered) // 2 or 1)  # none is both
        ends = [(high, ordered[::-1][:few]), (low, ordered[:few] if len(ordered) > 1 else [])]
        for word, places in sorted(ends, key=lambda end: end[0] not in ("worst", "lowest")):
            for rank, place in enumerate(places, 1):
                found.setdefault(int(place), []).append(f"{part(name)} {word} {rank}")
    return found if metrics else {int(place): [f"clip {rank}"] for rank, place in enumerate(usable.index[:each], 1)}


def sounds(result: Result, clips: pd.DataFrame, limits: Limits, folder: Path, missing: list[str]) -> Iterator[Sound]:
    """Write the chosen clips of a row into a folder; appends to `missing` what could not be had.

    What is no longer the file that was measured is not sent.
    """
    places = chosen(result, clips, limits.sounds) if limits.sounds else {}
    gone = 0
    for place, names in list(places.items())[:MOST]:
        clip = {str(key): value for key, value in clips.loc[place].items()}
        path = result.audio(str(clip["sha256"]), str(clip["path"]))
        if path is None or sha256_file(path) != clip["sha256"]:
            gone += 1
            continue
        target = written(path, folder, names[0], limits.form)
        if target is None:
            gone += 1
            continue
        yield Sound(names[0], target, _caption(clip, names, result.metrics))
    if len(places) > MOST:
        missing.append(f"{MOST} of the {len(places)} best and worst clips are sent to listen to")
    if gone:
        missing.append(f"{gone} of {min(len(places), MOST)} clips, which are no longer there, or not the same")


def written(path: Path, folder: Path, name: str, form: str) -> Path | None:
    """Write the beginning of a clip into a folder, and return where it is; None for what cannot be read."""
    try:
        samples, rate = read(path)
    except (AudioError, OSError):
        return None
    audio = Audio(samples[:, : SECONDS * rate], rate)
    start = f"{len(list(folder.iterdir())):03d}-{name.replace(' ', '-')}"  # runs share the folder
    if form == "mp3":
        target = folder / f"{start}.mp3"
        target.write_bytes(as_mp3(audio))
    else:
        target = folder / f"{start}.wav"
        soundfile.write(target, audio.samples.T, rate, format="WAV", subtype="PCM_16")
    return target


def _caption(clip: Mapping[str, Any], names: Iterable[str], metrics: Iterable[str]) -> str:
    values = [f"{name} {number(clip[name])}" for name in metrics if name in clip and pd.notna(clip[name])]
    about = "; ".join([", ".join(names), *values])
    return f"{literal(clip['id'])} ({about}): {literal(clip['caption'])}"
