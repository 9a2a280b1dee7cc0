"""The folder of a listening test: what the experimenter keeps, and what the server may give away."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from evalkit.errors import EvalkitError
from evalkit.listening import form
from evalkit.listening.form import said

Axis = Literal["quality", "relevance", "melody"]  # what raters are asked about
Method = Literal["rating", "pairs"]  # whether they rate each clip, or choose of two
AXES: tuple[Axis, ...] = get_args(Axis)
METHODS: tuple[Method, ...] = get_args(Method)
ROLES = ("system", "reference", "control")

KIND, SCHEMA = "listening study", 1
STUDY, PAGES, AUDIO, ANSWERS, TOKENS = "study.json", "pages", "audio", "answers", "tokens.json"
SCALE = (1, 100)
GIVE = "give the folder that evalkit listen make printed"
# names become names of files
ID, ITEM, SESSION = re.compile(r"[0-9a-f]{16,64}"), re.compile(r"[0-9a-f]{12}"), re.compile(r"r\d{2,6}")


@dataclass(frozen=True)
class Study:
    """A study as it lies in a folder.

    Attributes:
        folder: where.
        facts: what study.json holds.
        sha256: of that file; empty before it is written.
    """

    folder: Path
    facts: dict[str, Any]
    sha256: str = ""

    @property
    def id(self) -> str:
        """What its pages and answers are marked with."""
        return str(self.facts["study"])

    @property
    def sessions(self) -> dict[str, Any]:
        """The pages of each rater, by session."""
        return dict(self.facts["sessions"])

    @property
    def axis(self) -> Axis:
        """What raters are asked about."""
        axis: Axis = self.facts["axis"]
        return axis

    @property
    def method(self) -> Method:
        """Whether raters rate each clip, or choose of two."""
        method: Method = self.facts["method"]
        return method

    @property
    def pairs(self) -> bool:
        """Whether raters choose of two, in place of rating each."""
        return self.method == "pairs"

    def system(self, item: str) -> str:
        """Whose clip an item is."""
        return str(self.facts["items"][item]["system"])

    def prompt(self, item: str) -> str:
        """The id of the prompt that an item was heard for."""
        return str(self.facts["items"][item]["prompt"])

    def page(self, session: str) -> Path:
        """The page of a session."""
        return self.folder / PAGES / f"{session}.html"

    def sound(self, item: str) -> Path:
        """The clip of an item."""
        return self.folder / AUDIO / f"{item}.mp3"

    @classmethod
    def load(cls, path: str | Path) -> Study:
        """Read a study, given its folder or the file in it, and check all of it.

        Raises EvalkitError for a folder without one, a file that is none, a later version, and a damaged one.
        """
        given = Path(path).expanduser().absolute()
        file = given if given.is_file() else given / STUDY
        try:
            body = file.read_bytes()
            facts = form.parsed(body)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise EvalkitError(f"'{given}' holds no {STUDY}: {GIVE}") from error
        except OSError as error:
            raise EvalkitError(f"the study '{file}' cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise EvalkitError(f"'{file}' is damaged ({error}): get it from a copy") from error
        if facts.get("kind") != KIND:
            raise EvalkitError(f"'{file}' is no listening study: {GIVE}")
        if facts.get("schema") != SCHEMA:
            raise EvalkitError(
                f"'{file}' was made by another version of evalkit (schema {said(facts.get('schema'))}, this one reads "
                f"{SCHEMA}): use that one, or make the study again"
            )
        if wrong := next(_mistakes(facts), ""):
            raise EvalkitError(f"'{file}' is damaged ({wrong}): get it from a copy, or make the study again")
        return cls(file.parent, facts, hashlib.sha256(body).hexdigest())


def _mistakes(facts: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a study, of which what comes first may hide what comes later."""
    for name in ("systems", "items", "sessions", "prompts", "practice"):
        if not isinstance(facts.get(name), dict):
            yield f"it has no {name}"
            return
    if not _named(ID, facts.get("study")):
        yield "its name is not of hexadecimal digits"
    if facts.get("axis") not in AXES:
        yield f"its axis is none of {', '.join(AXES)}"
    if facts.get("method") not in METHODS:
        yield f"its method is neither {' nor '.join(METHODS)}"
    scale = facts.get("scale")
    if not (isinstance(scale, list) and len(scale) == 2 and all(map(form.number, scale)) and scale[0] < scale[1]):
        yield "its scale is not two numbers"
    for name, system in facts["systems"].items():
        if not isinstance(system, dict) or system.get("role") not in ROLES:
            yield f"system {said(name)} has no role"
    for id, prompt in facts["prompts"].items():
        if not isinstance(prompt, dict) or not isinstance(prompt.get("caption"), str):
            yield f"prompt {said(id)} has no caption"
        elif not isinstance(prompt.get("translation", ""), str):
            yield f"prompt {said(id)} has a translation that is no text"
        elif "melody" in prompt and not _named(ITEM, prompt["melody"]):
            yield f"prompt {said(id)} has a melody of no name that evalkit gives"
    items = facts["items"]
    for item, known in items.items():
        if not _named(ITEM, item):
            yield f"item {said(item)} is no name that evalkit gives"
        if not isinstance(known, dict) or not _one_of(facts["systems"], known.get("system")):
            yield f"item {said(item)} is of no system"
        elif not _one_of(facts["prompts"], known.get("prompt")):
            yield f"item {said(item)} is of no prompt"
    two = facts["practice"].get("items")
    if not (isinstance(two, list) and len(two) == 2 and all(_named(ITEM, one) for one in two)):
        yield "its practice is not two clips"
    for session, known in facts["sessions"].items():
        pages = known.get("pages") if isinstance(known, dict) else None
        if not SESSION.fullmatch(session):
            yield f"{said(session)} is no session"
        if not isinstance(pages, list) or not all(isinstance(page, list) and page for page in pages):
            yield f"session {said(session)} has no pages"
        elif not all(_one_of(items, item) for page in pages for item in page):
            yield f"session {said(session)} has an item that there is not"
        elif facts["method"] == "pairs" and any(len(page) != 2 for page in pages):
            yield f"session {said(session)} has a page that is no pair"


def _named(names: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and bool(names.fullmatch(value))


def _one_of(known: Mapping[str, Any], value: Any) -> bool:
    return isinstance(value, str) and value in known
