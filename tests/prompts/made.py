"""Files in MusicCaps' layout with made-up captions, for what does not need the true ones."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

COLUMNS = [
    "ytid", "start_s", "end_s", "audioset_positive_labels", "aspect_list", "caption", "author_id",
    "is_balanced_subset", "is_audioset_eval",
]  # fmt: skip
INSTRUMENTS, GENRES = ("Piano", "flute", "acoustic guitar", "drums", "violin"), ("jazz", "rock", "techno", "folk")
LABELS = {"jazz": "/m/03_d0", "rock": "/m/06by7", "techno": "/m/07gxw", "folk": "/m/02w4v"}
VOICE = "/m/015lz1"  # singing


def write_csv(path: Path, rows: list[dict[str, str]], columns: list[str] = COLUMNS) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def like_musiccaps(path: Path, count: int = 1200) -> Path:
    """A file of `count` prompts: a quarter balanced, half of AudioSet's evaluation, a third with a voice."""
    rows = []
    for i in range(count):
        genre, instrument, voice = GENRES[i % 4 - i // 7 % 3], INSTRUMENTS[i % 5], i % 3 == 0
        aspects = [genre, f"{instrument} melody", "female vocal" if voice else "no voices", f"{60 + i % 100} bpm"]
        words = f'A {genre} piece number {i}, with "{instrument}"' + (",\nsung by a woman" if voice else "")
        labels = ["/m/04rlf", LABELS[genre], *([VOICE] if voice else [])]
        rows.append(
            dict(zip(COLUMNS, (
                f"made_{i:06d}", str(30 * (i % 4)), str(30 * (i % 4) + 10), ",".join(labels), str(aspects),
                words + " and so on" * (i % 9) + ".", str(i % 10), str(i % 4 == 1), str(i % 2 == 0),
            ), strict=True))
        )  # fmt: skip
    return write_csv(path, rows)


OF_SONG_DESCRIBER = [
    "caption_id", "track_id", "caption", "is_valid_subset", "familiarity", "artist_id", "album_id", "path", "duration",
]  # fmt: skip
TRACKS = (226, 1004034, 1007274, 1009671, 3112, 3453, 4880, 4883, 5084, 5089, 5339, 5340)  # as Jamendo numbers them


def like_song_describer(
    folder: Path, seconds: float = 3.0, rate: int = 16000, tracks: tuple[int, ...] = TRACKS
) -> Path:
    """A folder as Zenodo's files make it: tracks with one to three captions each, of which one has a track's number."""
    rows = []
    for number, track in enumerate(tracks):
        path = f"{track % 100:02d}/{track}.mp3"
        file = folder / "audio" / path.replace(".mp3", ".2min.mp3")
        file.parent.mkdir(parents=True, exist_ok=True)
        times = np.arange(round(seconds * rate)) / rate
        noise = np.random.default_rng(number).normal(0, 0.05, len(times))
        soundfile.write(file, 0.3 * np.sin(2 * np.pi * 110 * (number + 2) * times) + noise, rate, format="MP3")
        for which in range(number % 3 + 1):
            name = 226 if (number, which) == (1, 0) else 10 * number + which
            valid = ("True", "", "False")[(number + which) % 3]
            caption = f"A piece for {INSTRUMENTS[number % 5]}, described a {which + 1}. time, no {number}"
            values = (name, track, caption, valid, number % 3, number, number, path, seconds + 80)
            rows.append({key: str(value) for key, value in zip(OF_SONG_DESCRIBER, values, strict=True)})
    write_csv(folder / "song_describer.csv", rows, OF_SONG_DESCRIBER)
    return folder
