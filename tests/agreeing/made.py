"""Records of systems whose quality is known, and files of what people said of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evalkit.results.frames import VALUES, typed
from evalkit.results.record import Record
from evalkit.results.result import Result

from ..results.made import metric, record

PROMPTS = 12
TITLES: dict[str, tuple[str, bool | None]] = {"good": ("Good", True), "fad": ("FAD", False), "blind": ("Blind", True)}


def quality(systems: int, seed: int = 0) -> np.ndarray:
    """How good systems are, in steps about 3 of 5."""
    return np.random.default_rng(seed).permutation(np.linspace(1.8, 4.2, systems))


def names(systems: int, first: int = 1) -> list[str]:
    """S001, S002, …"""
    return [f"S{number:03}" for number in range(first, first + systems)]


def measured(systems: Sequence[str], how_good: np.ndarray, random: Sequence[str] = (), seed: int = 0) -> Record:
    """A record in which `good` and `fad` know how good systems are, and `blind` does not; `good` knows clips too."""
    rng = np.random.default_rng(seed)
    clips = how_good[:, None] + rng.normal(0, 0.3, (len(systems), PROMPTS))
    blind = rng.normal(0, 1, (len(systems), PROMPTS))
    each = {
        name: {"good": float(clips[k].mean()), "fad": float(9 - how_good[k]), "blind": float(blind[k].mean())}
        for k, name in enumerate(systems)
    }
    made = record(each, {}, titles=TITLES, total=PROMPTS)
    values = [
        {"model": name, "sample": 1, "id": f"p{p}", "metric": what, "value": of[k, p], "sum": of[k, p], "count": 1.0}
        for what, of in (("good", clips), ("blind", blind))
        for k, name in enumerate(systems)
        for p in range(PROMPTS)
    ]
    infos = {name: metric(*TITLES[name], random=("net",) if name in random else ()) for name in TITLES}
    return replace(made, values=typed(pd.DataFrame(values), VALUES), metrics=infos)


def saved(made: Record, folder: Path) -> str:
    """Save a record, and give its folder."""
    return str(Result(**vars(made)).save(folder).path)


def rated(
    systems: Sequence[str],
    how_good: np.ndarray,
    raters: int = 6,
    prompts: int = PROMPTS,
    noise: float = 0.5,
    seed: int = 1,
) -> np.ndarray:
    """Ratings from 1 to 5, (systems, raters, prompts)."""
    rng = np.random.default_rng(seed)
    bias, hard = rng.normal(0, 0.3, (1, raters, 1)), rng.normal(0, 0.3, (1, 1, prompts))
    found = how_good[:, None, None] + bias + hard + rng.normal(0, noise, (len(systems), raters, prompts))
    return np.clip(found.round(), 1, 5)


def table(path: Path, systems: Sequence[str], ratings: np.ndarray) -> Path:
    """A table of one's own."""
    lines = ["system,prompt,rater,score"]
    for (s, r, p), value in np.ndenumerate(ratings):
        lines.append(f"{systems[s]},p{p},r{r},{value:g}")
    path.write_text("\n".join(lines) + "\n")
    return path


def choices(path: Path, systems: Sequence[str], ratings: np.ndarray) -> Path:
    """A table of choices: each rater compares each system with the next one, for each prompt."""
    lines = ["system_a,system_b,winner,prompt,rater"]
    number, raters, prompts = ratings.shape
    for s, r, p in np.ndindex(number, raters, prompts):
        other = (s + 1 + r % 2) % number
        gap = ratings[s, r, p] - ratings[other, r, p]
        lines.append(f"{systems[s]},{systems[other]},{'tie' if gap == 0 else 'a' if gap > 0 else 'b'},p{p},r{r}")
    path.write_text("\n".join(lines) + "\n")
    return path


def musiceval(folder: Path, systems: Sequence[str], ratings: np.ndarray, demo: Sequence[str] = ()) -> Path:
    """The folder of MusicEval: single ratings of all splits, their means, and which clips have prompts of their own."""
    for name in ("person_mos", "sets", "wav"):
        (folder / name).mkdir(parents=True)
    single, means, listed = [], [], ["id\ttext"]
    for s, p in np.ndindex(len(systems), ratings.shape[2]):
        clip = f"audiomos2025-track1-{systems[s]}_P{p:03}.wav"
        for r in range(ratings.shape[1]):
            single.append(f"{clip},Rater{r:02},{ratings[s, r, p]:g},{6 - ratings[s, r, p]:g}")
        means.append(f"{clip},{ratings[s, :, p].mean():g},{6 - ratings[s, :, p].mean():g}")
        if systems[s] in demo:
            listed.append(f"{clip}\ta prompt of its own")
    (folder / "person_mos" / "total_person_mos.txt").write_text("\n".join(single) + "\n")
    (folder / "sets" / "total_mos_list.txt").write_text("\n".join(means) + "\n")
    (folder / "demo_prompt_info.txt").write_text("\n".join(listed) + "\n")
    (folder / "prompt_info.txt").write_text("id\ttext\n" + "".join(f"P{p:03}\tcaption {p}\n" for p in range(PROMPTS)))
    return folder


def musicprefs(folder: Path, systems: Sequence[str], how_good: np.ndarray, pairs: int = 200, **changes: Any) -> Path:
    """The folder of MusicPrefs: its table of choices, each of two clips of their own."""
    rng = np.random.default_rng(3)
    folder.mkdir(parents=True)
    lines = ["prompt_text,system_a,system_b,audio_a,audio_b,fidelity,musicality"]
    for pair in range(pairs):
        a, b = rng.choice(len(systems), 2, replace=False)
        gap = how_good[a] - how_good[b] + rng.normal(0, 0.7)
        word = changes.get("tie", "TIE") if abs(gap) < 0.2 else "A_wins" if gap > 0 else "B_wins"
        other = {"A_wins": "B_wins", "B_wins": "A_wins"}.get(word, word)
        lines.append(f"calm,{systems[a]},{systems[b]},{pair}_0.wav,{pair}_1.wav,{word},{other}")
    (folder / "human_preference.csv").write_text("\n".join(lines) + "\n")
    return folder


def json_of(text: str) -> dict[str, Any]:
    """What `--json` printed."""
    found: dict[str, Any] = json.loads(text)
    return found
