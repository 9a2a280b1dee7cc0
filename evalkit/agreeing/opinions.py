"""What people said, in one form, whatever file it came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pandas as pd

from evalkit.listening.gathered import Choices, Ratings, choices, ratings
from evalkit.results.frames import typed

Method = Literal["rating", "pairs"]

# One row per rating, or per choice between a first and a second. Texts are empty where nothing is known.
COLUMNS = {
    "system": "str", "second_system": "str", "prompt": "str", "rater": "str", "clip": "str", "second_clip": "str",
    "rating": "float64", "choice": "str",
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Whose clips were heard under a name, where the file says so.

    Attributes:
        row: of a result.
        sha256: of that result's result.json.
    """

    row: str
    sha256: str


@dataclass(frozen=True, eq=False)  # frames have no truth value
class Opinions:
    """What people said.

    Attributes:
        layout: what the file was read as.
        score: what they were asked, such as "fidelity".
        method: whether they rated clips, or chose of two.
        frame: columns as `COLUMNS` has them; a choice is one of "first", "second", "tie" and "both_bad".
        remarks: what a reader must know, one sentence each.
        sources: by the system's name.
    """

    layout: str
    score: str
    method: Method
    frame: pd.DataFrame
    remarks: Sequence[str] = ()
    sources: Mapping[str, Source] = field(default_factory=dict)

    @property
    def systems(self) -> list[str]:
        """The names of all systems, in order."""
        return sorted({*self.frame["system"], *self.frame["second_system"]} - {""})

    @property
    def clips(self) -> pd.DataFrame:
        """The clips that were heard, one row each: system, prompt, clip."""
        second = self.frame[["second_system", "prompt", "second_clip"]]
        both = [self.frame[["system", "prompt", "clip"]], second.set_axis(["system", "prompt", "clip"], axis=1)]
        found = pd.concat(both).drop_duplicates()
        return found[found["system"] != ""].reset_index(drop=True)

    def of(self, systems: Iterable[str]) -> Opinions:
        """What was said of some systems alone; choices of two of them."""
        known = {*systems, ""}
        kept = self.frame["system"].isin(known) & self.frame["second_system"].isin(known)
        return replace(self, frame=self.frame[kept].reset_index(drop=True))

    def gathered(self, systems: Sequence[str]) -> Ratings | Choices:
        """Everything that was said of some systems, as arrays."""
        own = self.of(systems).frame
        raters, prompts = sorted(set(own["rater"])), sorted(set(own["prompt"]))
        return (ratings if self.method == "rating" else choices)(own, systems, raters, prompts)


def framed(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Make the frame of opinions; columns that rows lack are empty."""
    empty = {name: float("nan") if kind == "float64" else "" for name, kind in COLUMNS.items()}
    return typed(pd.DataFrame([{**empty, **row} for row in rows], columns=list(COLUMNS)), COLUMNS)
