"""Studies and answers made by hand: what raters would say whose opinions are known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SYSTEMS = {"large": 70.0, "small": 60.0, "reference": 85.0, "control: noise": 8.0}
ROLES = {"reference": "reference", "control: noise": "control"}
STUDY = "0123456789abcdef"


def study(
    folder: Path,
    method: str = "rating",
    systems: Mapping[str, float] | None = None,
    prompts: int = 12,
    raters: int = 10,
    on_a_page: int = 0,
    scores: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    **changes: Any,
) -> dict[str, Any]:
    """Write a study, in which every rater hears every prompt, into a folder, and return what its file holds."""
    rng = np.random.default_rng(seed)
    names = list(systems or SYSTEMS)
    items = {
        f"{p:08}{k:04}": {"prompt": f"p{p}", "system": name} for p in range(prompts) for k, name in enumerate(names)
    }
    sessions = {}
    for r in range(raters):
        pages: list[list[str]] = []
        for p in rng.permutation(prompts):
            own = [f"{p:08}{k:04}" for k in rng.permutation(len(names))]
            if method == "pairs":
                pages += [own[i : i + 2] for i in range(0, len(own) - 1, 2)]
            else:
                pages.append(own[: on_a_page or None])
        sessions[f"r{r:02}"] = {"pages": pages}
    facts = {
        "kind": "listening study", "schema": 1, "study": STUDY, "axis": "quality", "method": method,
        "scale": [1, 100], "seed": seed, "level": -14.0, "dataset": "musiccaps", "subset": "all",
        "protocol": "musicgen",
        "systems": {
            name: {
                "role": ROLES.get(name, "system"), "control": "noise" if "control" in name else "", "row": name,
                "path": "/runs/gone", "sha256": "0" * 64, "scores": (scores or {}).get(name, {}),
            }
            for name in names
        },
        "items": items, "prompts": {f"p{p}": {"caption": f"a calm piano, number {p}"} for p in range(prompts)},
        "practice": {"prompt": "p0", "items": ["f" * 12, "e" * 12], "melody": ""}, "sessions": sessions, **changes,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.json").write_text(json.dumps(facts))
    return facts


def file_of(facts: Mapping[str, Any], session: str, answers: Sequence[Any], **changes: Any) -> dict[str, Any]:
    """What a file of answers holds."""
    return {
        "kind": "listening answers", "schema": 1, "study": facts["study"], "session": session,
        "rater": f"rater {session}", "finished": True, "started": "2026-11-20T10:00:00Z",
        "ended": "2026-11-20T10:20:00Z", "answers": list(answers), "events": [], "headphones": True,
        "comment": "", **changes,
    }  # fmt: skip


def rated(facts: Mapping[str, Any], means: Mapping[str, float] | None = None, seed: int = 1, spread: float = 8.0,
          spammers: Sequence[str] = ()) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Answers of all sessions to a study with ratings, by session: means by system, biases of raters, noise."""
    rng = np.random.default_rng(seed)
    means, found = means or SYSTEMS, {}
    hard = rng.normal(0, 5, len(facts["prompts"]))
    for session, known in facts["sessions"].items():
        bias, answers = rng.normal(0, 6), []
        for page, items in enumerate(known["pages"]):
            for item in items:
                about = facts["items"][item]
                value = means[about["system"]] + bias + hard[int(about["prompt"][1:])] + rng.normal(0, spread)
                if session in spammers:
                    value = rng.uniform(1, 100)
                answers.append(
                    {"page": page, "item": item, "rating": int(np.clip(round(value), 1, 100)), "heard": 1.0,
                     "seconds": 14.0, "plays": 1}
                )  # fmt: skip
        found[session] = file_of(facts, session, answers)
    return found


def chosen(facts: Mapping[str, Any], means: Mapping[str, float] | None = None, seed: int = 1) -> dict[str, Any]:
    """Answers of all sessions to a study with pairs, by session."""
    rng = np.random.default_rng(seed)
    means, found = means or SYSTEMS, {}
    for session, known in facts["sessions"].items():
        answers = []
        for page, items in enumerate(known["pages"]):
            gap = np.subtract(*(means[facts["items"][item]["system"]] for item in items)) + rng.normal(0, 15)
            choice = "tie" if abs(gap) < 4 else "first" if gap > 0 else "second"
            if choice == "tie" and rng.random() < 0.3:
                choice = "both_bad"
            answers.append(
                {"page": page, "items": list(items), "choice": choice, "heard": [1.0, 0.9], "seconds": 20.0,
                 "plays": [1, 2]}
            )  # fmt: skip
        found[session] = file_of(facts, session, answers)
    return found


def write(folder: Path, files: Mapping[str, Any]) -> Path:
    """Write files of answers into the folder of a study."""
    target = folder / "answers"
    target.mkdir(exist_ok=True)
    for name, content in files.items():
        (target / f"{name}.json").write_text(json.dumps(content))
    return target
