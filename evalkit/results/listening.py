"""A listening test that was analysed, as `evalkit listen analyse` saves it, and loaded again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from evalkit import report
from evalkit.report.document import Document, Listing
from evalkit.results import folders, listening_text
from evalkit.results.folders import FACTS, Kind, read_frame, write_frame
from evalkit.results.frames import typed
from evalkit.results.listening_record import (
    ANSWERS,
    CORRELATIONS,
    DIFFERENCES,
    RATERS,
    RULES,
    SCHEMA,
    SCORES,
    SYSTEMS,
    AnswersInfo,
    ListeningRecord,
    SystemInfo,
)
from evalkit.store.files import write_bytes, write_json

FRAMES = {
    "systems": SYSTEMS, "differences": DIFFERENCES, "correlations": CORRELATIONS, "raters": RATERS,
    "exclusions": RULES, "answers": ANSWERS, "scores": SCORES,
}  # fmt: skip
LISTENING = Kind(
    name="listening",
    about="a listening test",
    maker="the analysis",
    command="evalkit listen analyse",
    schema=SCHEMA,
    files=(FACTS, *(f"{name}.parquet" for name in FRAMES)),
)
UNKNOWN = ("loudness", "alpha", "alpha_low", "alpha_high", "tie_readiness")  # null in JSON where there is no number


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Listening(ListeningRecord):
    """What people said of systems; its fields are those of `ListeningRecord`.

    It is complete but for the audio, and needs neither the study nor the answers that it was made from.
    """

    @classmethod
    def load(cls, folder: str | Path) -> Listening:
        """Read a listening test from the folder that `evalkit listen analyse` printed.

        Raises EvalkitError for a folder without a finished record, a file that is missing or damaged, and a record of
        a later version.
        """
        target = Path(folder).expanduser().absolute()
        folders.checked(target, LISTENING)
        facts: dict[str, Any] = json.loads((target / FACTS).read_text("utf-8"))
        facts["infos"] = [SystemInfo(**info) for info in facts["infos"]]
        facts["files"] = [AnswersInfo(**info) for info in facts["files"]]
        facts |= {name: float("nan") for name in UNKNOWN if facts[name] is None}
        frames = {name: typed(read_frame(target / f"{name}.parquet"), columns) for name, columns in FRAMES.items()}
        return cls(**{**facts, **frames, "path": target})

    def save(self, folder: str | Path) -> Listening:
        """Write the record into a folder, with what is said of it in plain forms, and return it as it lies there.

        Raises EvalkitError where the folder holds a record already or cannot be written to.
        """
        target = Path(folder).expanduser().absolute()
        forms = report.files(self.document())
        folders.begin(target, LISTENING, forms)
        facts = folders.facts(self, without=[*FRAMES, "path"])
        write_json(target / FACTS, facts | {name: None for name in UNKNOWN if facts[name] != facts[name]})
        for name in FRAMES:
            write_frame(target / f"{name}.parquet", getattr(self, name))
        for name, text in forms.items():
            write_bytes(target / name, text.encode())
        folders.finish(target, LISTENING)
        return dataclasses.replace(self, path=target)

    def document(self) -> Document[Listing]:
        """Everything that is said of this test, for the renderers of `evalkit.report`."""
        return listening_text.document(self)

    def print(self) -> None:
        """Print what is said of it, and where it lies if it was saved, on the terminal."""
        print(report.renderer("terminal")(self.document()), end="")
        if self.path != Path():
            print(f"listening test: {self.path}")

    def __repr__(self) -> str:
        size = f"{len(self.systems):,} systems, {self.raters_kept:,} of {self.raters_asked:,} raters"
        return f"Listening({self.axis}, {self.method}, {size}, {json.dumps(str(self.path), ensure_ascii=False)})"
