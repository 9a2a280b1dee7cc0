"""The folder of a listening test: what the experimenter keeps, and what the server may give away."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from evalkit.errors import EvalkitError

Axis = Literal["quality", "relevance", "melody"]  # what raters are asked about
Method = Literal["rating", "pairs"]  # whether they rate each clip, or choose of two
AXES: tuple[Axis, ...] = get_args(Axis)
METHODS: tuple[Method, ...] = get_args(Method)

KIND, SCHEMA = "listening study", 1
STUDY, PAGES, AUDIO, ANSWERS, TOKENS = "study.json", "pages", "audio", "answers", "tokens.json"
SESSION = re.compile(r"r\d{2,6}")
SCALE = (1, 100)
GIVE = "give the folder that evalkit listen make printed"


@dataclass(frozen=True)
class Study:
    """A study as it lies in a folder.

    Attributes:
        folder: where.
        facts: what study.json holds.
    """

    folder: Path
    facts: dict[str, Any]

    @property
    def id(self) -> str:
        """What its pages and answers are marked with."""
        return str(self.facts["study"])

    @property
    def sessions(self) -> dict[str, Any]:
        """The pages of each rater, by session."""
        return dict(self.facts["sessions"])

    @property
    def pairs(self) -> bool:
        """Whether raters choose of two, in place of rating each."""
        return bool(self.facts["method"] == "pairs")

    def page(self, session: str) -> Path:
        """The page of a session."""
        return self.folder / PAGES / f"{session}.html"

    def sound(self, item: str) -> Path:
        """The clip of an item."""
        return self.folder / AUDIO / f"{item}.mp3"

    @classmethod
    def load(cls, folder: str | Path) -> Study:
        """Read the study that a folder holds. Raises EvalkitError for a folder without one, and a damaged one."""
        target = Path(folder).expanduser().absolute()
        try:
            facts = json.loads((target / STUDY).read_text("utf-8"))
        except FileNotFoundError as error:
            raise EvalkitError(
                f"'{target}' holds no {STUDY}: give the folder that evalkit listen make printed"
            ) from error
        except (ValueError, UnicodeDecodeError) as error:
            raise EvalkitError(f"'{target / STUDY}' is damaged: get it from a copy") from error
        if not isinstance(facts, dict) or facts.get("kind") != KIND:
            raise EvalkitError(
                f"'{target / STUDY}' is no listening study: give the folder that evalkit listen make printed"
            )
        if facts.get("schema") != SCHEMA:
            raise EvalkitError(f"'{target}' is of another version of evalkit: use that one, or make the study again")
        if bad := [name for name in facts["sessions"] if not SESSION.fullmatch(name)]:
            raise EvalkitError(f"'{target / STUDY}' is damaged: '{bad[0]}' is no session: get it from a copy")
        return cls(target, facts)
