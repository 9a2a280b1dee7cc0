"""Answers as tables and arrays: by system, rater and prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evalkit.listening.reading import Answers
from evalkit.listening.study import Study
from evalkit.results.listening_record import ANSWERS


def frame(study: Study, used: Sequence[Answers]) -> pd.DataFrame:
    """All answers, one row each, as `evalkit.results.listening_record.ListeningRecord` has them."""
    rows: list[dict[str, Any]] = []
    for one in used:
        for answer in one.answers:
            items = answer["items"] if study.pairs else [answer["item"]]
            heard = answer["heard"] if study.pairs else [answer["heard"]]
            plays = answer["plays"] if isinstance(answer["plays"], list) else [answer["plays"]]
            rows.append(
                {
                    "session": one.session,
                    "rater": one.rater,
                    "page": answer["page"],
                    "prompt": study.prompt(items[0]),
                    "item": items[0],
                    "system": study.system(items[0]),
                    "second_item": items[1] if len(items) > 1 else "",
                    "second_system": study.system(items[1]) if len(items) > 1 else "",
                    "rating": float(answer.get("rating", math.nan)),
                    "choice": answer.get("choice", ""),
                    "heard": float(heard[0]),
                    "second_heard": float(heard[1]) if len(heard) > 1 else math.nan,
                    "seconds": float(answer["seconds"]),
                    "plays": int(sum(plays)),
                    "excluded": "",
                }
            )
    return pd.DataFrame(rows, columns=list(ANSWERS)).astype(ANSWERS)


@dataclass(frozen=True)
class Ratings:
    """Ratings that count.

    Attributes:
        systems, raters, prompts: their names, in the order of the arrays.
        sums, counts: of ratings, (systems, raters, prompts).
        kept: the answers.
    """

    systems: Sequence[str]
    raters: Sequence[str]
    prompts: Sequence[str]
    sums: np.ndarray
    counts: np.ndarray
    kept: pd.DataFrame

    def values(self, system: int) -> np.ndarray:
        """The mean rating of a system by each rater for each prompt, (raters, prompts); NaN where there is none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.sums[system] / self.counts[system]

    def about(self, system: int) -> dict[str, Any]:
        """How many ratings a system has, by and of how many, and how they spread."""
        counts = self.counts[system]
        own = self.kept.loc[self.kept["system"] == self.systems[system], "rating"]
        return {
            "n": int(counts.sum()),
            "raters": int((counts.sum(axis=1) > 0).sum()),
            "prompts": int((counts.sum(axis=0) > 0).sum()),
            "sd": float(own.std()),
            **{"share": math.nan, "wins": 0, "ties": 0, "losses": 0, "both_bad": 0},
        }


@dataclass(frozen=True)
class Choices:
    """Choices between two that count.

    Attributes:
        wins: how often the first was preferred to the second, (systems, systems, raters, prompts).
        ties: how often neither was, symmetric.
    """

    systems: Sequence[str]
    raters: Sequence[str]
    prompts: Sequence[str]
    wins: np.ndarray
    ties: np.ndarray
    kept: pd.DataFrame

    @property
    def played(self) -> np.ndarray:
        """How often two were compared, symmetric, (systems, systems, raters, prompts)."""
        return self.wins + self.wins.transpose(1, 0, 2, 3) + self.ties

    def about(self, system: int) -> dict[str, Any]:
        """How many choices a system was in, by and of how many, and how they ended."""
        wins, losses, ties = self.wins[system], self.wins[:, system], self.ties[system]
        counts = (wins + losses + ties).sum(axis=0)
        name = self.systems[system]
        bad = self.kept["choice"] == "both_bad"
        return {
            "n": int(counts.sum()),
            "raters": int((counts.sum(axis=1) > 0).sum()),
            "prompts": int((counts.sum(axis=0) > 0).sum()),
            "sd": math.nan,
            "wins": int(wins.sum()),
            "ties": int(ties.sum()),
            "losses": int(losses.sum()),
            "both_bad": int((bad & ((self.kept["system"] == name) | (self.kept["second_system"] == name))).sum()),
        }


def ratings(kept: pd.DataFrame, systems: Sequence[str], raters: Sequence[str], prompts: Sequence[str]) -> Ratings:
    """Gather ratings."""
    sums = np.zeros((len(systems), max(1, len(raters)), max(1, len(prompts))))
    counts = np.zeros_like(sums)
    place = (_places(kept["system"], systems), _places(kept["rater"], raters), _places(kept["prompt"], prompts))
    np.add.at(sums, place, kept["rating"].to_numpy(np.float64))
    np.add.at(counts, place, 1.0)
    return Ratings(systems, raters, prompts, sums, counts, kept)


def choices(kept: pd.DataFrame, systems: Sequence[str], raters: Sequence[str], prompts: Sequence[str]) -> Choices:
    """Gather choices; "both bad" counts as a tie where it is among them."""
    wins = np.zeros((len(systems), len(systems), max(1, len(raters)), max(1, len(prompts))))
    ties = np.zeros_like(wins)
    first, second = _places(kept["system"], systems), _places(kept["second_system"], systems)
    rater, prompt = _places(kept["rater"], raters), _places(kept["prompt"], prompts)
    said = kept["choice"].to_numpy()
    for choice, winner, loser in (("first", first, second), ("second", second, first)):
        own = said == choice
        np.add.at(wins, (winner[own], loser[own], rater[own], prompt[own]), 1.0)
    own = (said == "tie") | (said == "both_bad")
    for one, other in ((first, second), (second, first)):
        np.add.at(ties, (one[own], other[own], rater[own], prompt[own]), 1.0)
    return Choices(systems, raters, prompts, wins, ties, kept)


def _places(names: pd.Series, known: Sequence[str]) -> np.ndarray:
    return pd.Index(list(known)).get_indexer(pd.Index(names))
