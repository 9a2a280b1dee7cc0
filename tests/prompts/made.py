"""Files in MusicCaps' layout with made-up captions, for what does not need the true ones."""

from __future__ import annotations

import csv
from pathlib import Path

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
