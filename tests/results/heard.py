"""Records of listening tests, made of the answers of raters whose opinions are known."""

from __future__ import annotations

import dataclasses
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from evalkit.listening import reading, rules
from evalkit.listening.analysing import analyse
from evalkit.results.listening import Listening

from ..listening import answered

SYSTEMS = {"large": 72.0, "medium": 64.0, "small": 52.0, "reference": 88.0, "control: noise": 8.0}
FAD = {"large": 3.1, "medium": 3.6, "small": 4.9}
CLAP = {"large": 0.31, "medium": 0.33, "small": 0.27}


def scores(name: str) -> dict[str, Any]:
    """The metrics of a system, as a study has them."""
    if name not in FAD:
        return {}
    fad, clap = ({"value": found[name], "low": None, "high": None, "random": False} for found in (FAD, CLAP))
    return {
        "fad": {"title": "FAD", "higher_is_better": False, **fad},
        "clap_score": {"title": "CLAP score", "higher_is_better": True, **clap},
    }


@cache
def listening(method: str = "rating", evil: str = "") -> Listening:
    """A test with ten raters, one of whom is excluded, and three systems.

    Args:
        evil: stands in names and captions.
    """
    systems = {f"{name}{evil}" if name == "large" else name: mean for name, mean in SYSTEMS.items()}
    with tempfile.TemporaryDirectory() as folder:
        facts = answered.study(
            Path(folder), method, systems, prompts=14, scores={name: scores(name) for name in SYSTEMS}
        )
        files = answered.rated(facts, systems) if method == "rating" else answered.chosen(facts, systems)
        bad = files["r03"]["answers"]
        for number, answer in enumerate(bad):
            answer |= {"rating": 30 + 7 * (number % 9)} if method == "rating" else {"choice": "first"}
        files["r04"]["rater"] += evil
        answered.write(Path(folder), files)
        study = reading.study_of([Path(folder)], None)
        answers = reading.read_answers(reading.files_of([Path(folder)]), study)
        return analyse(study, answers, dataclasses.replace(rules.load(), resamples=400))
