"""MusicPrefs (Huang et al. 2025, arXiv 2503.16669): which of two clips is better, in fidelity and in musicality.

`human_preference.csv` has columns `system_a`, `system_b`, `audio_a`, `audio_b` (names of files, `PAIR_0.wav` and
`PAIR_1.wav`), `fidelity` and `musicality`, whose cells hold `a_wins`, `b_wins` or a word for a tie.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from evalkit.agreeing.layouts import Asked
from evalkit.agreeing.lines import Head, Line, Once, chosen_score, first_line, lines, said
from evalkit.agreeing.opinions import Opinions, framed
from evalkit.errors import EvalkitError

FILE = "human_preference.csv"
SCORES = ("fidelity", "musicality")
NEEDED = ("system_a", "system_b", "audio_a", "audio_b")
CALLED = (*NEEDED, "prompt", "rater", "a", "b", "tie")
TIES = ("tie", "draw", "equal", "same", "both", "neither")  # words that a cell may begin with
NO_RATERS = "the file names no raters, who cannot be resampled: say which column does with --called rater=COLUMN"


def recognised(path: Path) -> bool:
    """Whether it is, or holds, a table with these columns."""
    file = path / FILE if path.is_dir() else path
    names = {name.strip().strip('"').lower() for name in first_line(file).split(",")} if file.is_file() else set()
    return names >= set(NEEDED) and bool(names & set(SCORES))


def read(path: Path, asked: Asked) -> Opinions:
    """Read the choices; each pair of clips is a prompt by itself where no column says more."""
    file = path / FILE if path.is_dir() else path
    first, *others = lines(file)
    head = Head(first, {name: text for name, text in asked.called.items() if name not in ("a", "b", "tie")})
    if absent := [name for name in NEEDED if head.place(name) is None]:
        raise EvalkitError(f"'{file}' has no column {', '.join(absent)}: is it {FILE} of MusicPrefs?")
    score = chosen_score(file, asked.score, [name for name in SCORES if head.place(name) is not None])
    by_prompt, by_rater = (head.place(name) is not None for name in ("prompt", "rater"))
    once, rows, blank = Once(), [], 0
    for line in map(head.checked, others):
        one, other, a, b = (head.cell(line, name) for name in ("system_a", "system_b", "audio_a", "audio_b"))
        if not all((one, other, a, b)) or one == other:
            raise line.wrong("must name two different systems, and the clip of each")
        once.take(line, (*sorted((a, b)), head.cell(line, "rater")))
        if not (answer := head.cell(line, score)):
            blank += 1
            continue
        clip, second = PurePosixPath(a).stem, PurePosixPath(b).stem
        prompt = head.cell(line, "prompt") if by_prompt else clip.rpartition("_")[0] or clip
        rows.append(
            {
                **{"system": one, "second_system": other, "prompt": prompt, "rater": head.cell(line, "rater")},
                **{"clip": clip, "second_clip": second, "choice": _choice(line, answer, asked)},
            }
        )
    remarks = [] if by_rater else [NO_RATERS]
    if blank:
        remarks.append(f"{blank:,} of {len(others):,} choices have no {score}, and do not count")
    own = [*NEEDED, *SCORES, "prompt", "rater"]
    if unused := [name for name in head.names if name not in [head.called.get(known, known) for known in own]]:
        remarks.append(f"columns that were not used: {', '.join(unused)}")
    return Opinions("musicprefs", score, "pairs", framed(rows), remarks)


def _choice(line: Line, answer: str, asked: Asked) -> str:
    word = answer.lower()
    for name, choice, usual in (("a", "first", "a_wins"), ("b", "second", "b_wins")):
        if word == asked.called[name].lower() if name in asked.called else usual in word:
            return choice
    if word == asked.called["tie"].lower() if "tie" in asked.called else word.startswith(TIES):
        return "tie"
    raise line.wrong(
        f"{said(answer)} is neither a_wins, b_wins nor a tie: say what it is with --called a={answer}, "
        f"b={answer} or tie={answer}"
    )
