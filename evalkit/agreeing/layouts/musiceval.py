"""MusicEval (AudioMOS challenge 2025, track 1): clips of systems, each rated by five people for two questions.

Its folder holds `person_mos/SPLIT_person_mos.txt`, with lines `audiomos2025-track1-S001_P001.wav,RATER,4,3` for the
overall impression and the fit to the text, and `sets/SPLIT_mos_list.txt`, with the means of these over raters in lines
without a rater. S is the system and P the prompt; clips that `demo_prompt_info.txt` lists have prompts of their own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from evalkit.agreeing.layouts import Asked
from evalkit.agreeing.lines import Line, Once, chosen_score, first_line, lines, said
from evalkit.agreeing.opinions import Opinions, framed
from evalkit.errors import EvalkitError

CLIP = re.compile(r"(?:.*-)?(S\d+)_(P\d+)\.wav")
SCORES = ("overall", "textual")
SCALE = (1.0, 5.0)
PLACES = (("person_mos", "_person_mos.txt"), ("sets", "_mos_list.txt"))  # single ratings first, then means of them
WHOLE, SPLITS = "total", ("train", "dev", "test")
DEMO = "demo_prompt_info.txt"
MEANS = "the ratings are means over raters, who cannot be resampled: those of each are in the folder person_mos"
NO_DEMO = f"{DEMO} is not beside the ratings: where systems have a prompt of the same number, it counts as one prompt"
CALLED: tuple[str, ...] = ()


def recognised(path: Path) -> bool:
    """Whether a folder holds such files, or a file begins with such a line."""
    if path.is_dir():
        return bool(_files(path))
    return CLIP.fullmatch(first_line(path).partition(",")[0]) is not None


def read(path: Path, asked: Asked) -> Opinions:
    """Read all splits of a folder, or one file."""
    files = _files(path) if path.is_dir() else [path]
    if not files:
        raise EvalkitError(f"'{path}' holds neither SPLIT_person_mos.txt nor SPLIT_mos_list.txt")
    score = chosen_score(path, asked.score, SCORES)
    demo, found = _demo(files[0]), [line for file in files for line in lines(file)]
    width, once, rows = len(found[0].cells), Once(), []
    if width not in (3, 4):
        raise found[0].wrong("must be a clip, a rater if there is one, and two ratings")
    for line in found:
        if len(line.cells) != width:
            raise line.wrong(f"{len(line.cells)} cells, where the first line has {width}")
        name, rater = line.cells[0], line.cells[1] if width == 4 else ""
        if not (known := CLIP.fullmatch(name)):
            raise line.wrong(f"{said(name)} is no name such as audiomos2025-track1-S001_P001.wav")
        once.take(line, (name, rater))
        values = [line.number_of(cell, what, *SCALE) for cell, what in zip(line.cells[-2:], SCORES, strict=True)]
        rows.append(
            {
                "system": known[1],
                "prompt": Path(name).stem if name in (demo or ()) else known[2],
                "rater": rater,
                "clip": Path(name).stem,
                "rating": values[SCORES.index(score)],
            }
        )
    remarks = [*([MEANS] if width == 3 else []), *([NO_DEMO] if demo is None else [])]
    return Opinions("musiceval", score, "rating", framed(rows), remarks)


def _files(folder: Path) -> list[Path]:
    """The files of ratings in a folder: of all splits in one where there is such a file."""
    for name, suffix in PLACES:
        for place in (folder / name, folder):
            if (whole := place / f"{WHOLE}{suffix}").is_file():
                return [whole]
            if found := [file for split in SPLITS if (file := place / f"{split}{suffix}").is_file()]:
                return found
    return []


def _demo(file: Path) -> set[str] | None:
    """The clips that have prompts of their own; None where nothing says which."""
    for folder in list(file.absolute().parents)[:2]:
        if (listed := folder / DEMO).is_file():
            found: Sequence[Line] = lines(listed, "\t")
            return {line.cells[0] for line in found}
    return None
