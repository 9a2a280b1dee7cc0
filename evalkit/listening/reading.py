"""Reading a study and the answers of its raters, which are files from elsewhere: nothing in them is taken on trust."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.report.literal import literal
from evalkit.store.digests import sha256_file

STUDY = "study.json"
ANSWERS = "answers"  # the folder of a study that holds them
KIND, STUDY_KIND = "listening answers", "listening study"
SCHEMA = 1
LARGEST = 2**25  # bytes of a file of answers
LONGEST = 200  # characters of a rater's name
CHOICES = ("first", "second", "tie", "both_bad")
SHOWN = 60  # characters of a value that a message repeats


class Refused(EvalkitError):
    """Answers that cannot be used.

    Attributes:
        mistakes: one line each.
    """

    def __init__(self, mistakes: Sequence[str]):
        self.mistakes = list(mistakes)
        first, *others = self.mistakes
        super().__init__(first + (f" (and {len(others)} more)" if others else ""))


@dataclass(frozen=True)
class Study:
    """What `evalkit listen make` wrote of a study.

    Attributes:
        facts: of study.json.
        path: of that file.
        sha256: of its content.
    """

    facts: Mapping[str, Any]
    path: Path
    sha256: str

    @property
    def method(self) -> str:
        return str(self.facts["method"])

    def system(self, item: str) -> str:
        """Whose clip an item is."""
        return str(self.facts["items"][item]["system"])

    def prompt(self, item: str) -> str:
        """The id of the prompt that an item was heard for."""
        return str(self.facts["items"][item]["prompt"])


@dataclass(frozen=True)
class Answers:
    """One file of answers, checked.

    Attributes:
        rater: who answered; the session where no name was given.
        facts: as the file has them.
        used: whether they count: of several files of a session one does.
    """

    path: Path
    sha256: str
    session: str
    rater: str
    finished: bool
    facts: Mapping[str, Any]
    used: bool = True

    @property
    def answers(self) -> list[dict[str, Any]]:
        return list(self.facts["answers"])


def files_of(given: Sequence[Path]) -> list[Path]:
    """List the files of answers: those that are named, and those of folders, of a study's too.

    Raises EvalkitError for what is not there, and where there are none.
    """
    found: dict[Path, None] = {}
    for path in given:
        if path.is_dir():
            folder = path / ANSWERS if (path / STUDY).is_file() else path
            inside = sorted(one for one in folder.glob("*.json") if one.name not in (STUDY, "tokens.json"))
            if not inside:
                raise EvalkitError(f"'{folder}' holds no answers: they are files SESSION.json")
            found |= dict.fromkeys(one.absolute() for one in inside)
        elif path.is_file():
            found[path.absolute()] = None
        else:
            raise EvalkitError(f"'{path}' is not there: give files of answers, or a folder of them")
    return list(found)


def study_of(given: Sequence[Path], asked: Path | None) -> Study:
    """Read the study that is asked for, or the one beside the answers. Raises EvalkitError where there is none."""
    if asked is not None:
        return read_study(asked / STUDY if asked.is_dir() else asked)
    for path in given:
        start = path.absolute()
        for folder in (start, *list(start.parents)[:2]):
            if (folder / STUDY).is_file():
                return read_study(folder / STUDY)
    raise EvalkitError(f"no {STUDY} lies beside '{given[0]}': give it with --study STUDY")


def read_study(path: Path) -> Study:
    """Read a study. Raises EvalkitError for a file that is no study, or one of a later version."""
    facts = _json(path, "the study")
    if facts.get("kind") != STUDY_KIND:
        raise EvalkitError(f"'{path}' is no listening study: give the {STUDY} that evalkit listen make wrote")
    if facts.get("schema") != SCHEMA:
        raise EvalkitError(
            f"'{path}' was made by another version of evalkit (schema {_said(facts.get('schema'))}, this one reads "
            f"{SCHEMA}): update it"
        )
    if (wrong := next(_wrong_in_study(facts), "")) != "":
        raise EvalkitError(f"'{path}' is damaged ({wrong}): make the study again, or copy it again")
    return Study(facts, path.absolute(), sha256_file(path))


def _wrong_in_study(facts: Mapping[str, Any]) -> Iterator[str]:
    for name in ("systems", "items", "sessions", "prompts"):
        if not isinstance(facts.get(name), dict):
            yield f"it has no {name}"
            return
    if facts.get("method") not in ("rating", "pairs"):
        yield "its method is neither rating nor pairs"
    scale = facts.get("scale")
    if not (isinstance(scale, list) and len(scale) == 2 and all(map(_number, scale)) and scale[0] < scale[1]):
        yield "its scale is not two numbers"
    for name in ("study", "axis"):
        if not isinstance(facts.get(name), str):
            yield f"it has no {name}"
    for item, known in facts["items"].items():
        if not isinstance(known, dict) or known.get("system") not in facts["systems"]:
            yield f"item {_said(item)} is of no system"
        elif known.get("prompt") not in facts["prompts"]:
            yield f"item {_said(item)} is of no prompt"
    for session, known in facts["sessions"].items():
        pages = known.get("pages") if isinstance(known, dict) else None
        if not isinstance(pages, list) or not all(isinstance(page, list) for page in pages):
            yield f"session {_said(session)} has no pages"
        elif any(not isinstance(item, str) or item not in facts["items"] for page in pages for item in page):
            yield f"session {_said(session)} has an item that there is not"
    for name, system in facts["systems"].items():
        if not isinstance(system, dict) or system.get("role") not in ("system", "reference", "control"):
            yield f"system {_said(name)} has no role"


def read_answers(paths: Sequence[Path], study: Study) -> list[Answers]:
    """Read files of answers to a study, all of them, also those that do not count.

    Of several files of one session the finished one counts, else the one with most answers, else the latest.

    Raises Refused with one line for each mistake in any of them.
    """
    found, mistakes = [], []
    for path in paths:
        try:
            facts = _json(path, "the answers")
        except EvalkitError as error:
            mistakes.append(str(error))
            continue
        wrong = list(_wrong(facts, study))
        mistakes += [f"'{path}': {line}" for line in wrong]
        if not wrong:
            session = facts["session"]
            rater = " ".join(facts["rater"].split()) or session
            found.append(Answers(path, sha256_file(path), session, rater, facts["finished"], facts))
    if mistakes:
        raise Refused(mistakes)
    return _counting(found)


def _counting(found: Sequence[Answers]) -> list[Answers]:
    """Say of each file whether it counts."""
    best: dict[str, Answers] = {}
    for one in found:
        if one.session not in best or _rank(one) > _rank(best[one.session]):
            best[one.session] = one
    return [
        one if best[one.session] is one
        else Answers(one.path, one.sha256, one.session, one.rater, one.finished, one.facts, used=False)
        for one in found
    ]  # fmt: skip


def _rank(one: Answers) -> tuple[bool, int, str]:
    return one.finished, len(one.answers), str(one.facts.get("ended") or "")


def _wrong(facts: Mapping[str, Any], study: Study) -> Iterator[str]:
    """What is wrong with a file of answers, one line each."""
    if facts.get("kind") != KIND:
        yield "no listening answers: leave the file out"
        return
    if facts.get("schema") != SCHEMA:
        yield f"answers of schema {_said(facts.get('schema'))}, this version of evalkit reads {SCHEMA}: update it"
        return
    if facts.get("study") != study.facts["study"]:
        yield (
            f"answers of another study ({_said(facts.get('study'))}, not {study.facts['study']}): leave the file out, "
            "or give its own study with --study"
        )
        return
    session = facts.get("session")
    if not isinstance(session, str) or session not in study.facts["sessions"]:
        yield f"session {_said(session)} is not one of the study"
        return
    if not isinstance(facts.get("rater"), str) or len(facts["rater"]) > LONGEST:
        yield f"rater must be a text of at most {LONGEST} characters"
    if not isinstance(facts.get("finished"), bool):
        yield "finished must be true or false"
    answers = facts.get("answers")
    if not isinstance(answers, list):
        yield "answers must be a list"
        return
    pages = study.facts["sessions"][session]["pages"]
    seen: set[tuple[Any, ...]] = set()
    for number, answer in enumerate(answers, 1):
        wrong = _wrong_answer(answer, pages, study)
        if wrong:
            yield f"answer {number}: {wrong}"
            continue
        what = (answer["page"], answer.get("item"))
        if what in seen:
            yield f"answer {number}: the second to the same question"
        seen.add(what)


def _wrong_answer(answer: Any, pages: Sequence[Sequence[str]], study: Study) -> str:
    """What is wrong with one answer; empty where nothing is."""
    if not isinstance(answer, dict):
        return "must hold keys with values"
    page = answer.get("page")
    if type(page) is not int or not 0 <= page < len(pages):
        return f"page {_said(page)} is not one of the session's {len(pages)}"
    if not _amount(answer.get("seconds")):
        return f"seconds {_said(answer.get('seconds'))} must be a number of at least 0"
    if study.method == "pairs":
        items = answer.get("items")
        if items != list(pages[page]):
            return f"items {_said(items)} are not those of page {page}"
        if answer.get("choice") not in CHOICES:
            return f"choice {_said(answer.get('choice'))} must be one of {', '.join(CHOICES)}"
        heard = answer.get("heard")
        if not isinstance(heard, list) or len(heard) != 2 or not all(map(_share, heard)):
            return f"heard {_said(heard)} must be two shares, from 0 to 1"
        plays = answer.get("plays")
        each = plays if isinstance(plays, list) else [plays]
        return "" if all(map(_amount, each)) else f"plays {_said(plays)} must be counts"
    item = answer.get("item")
    if not isinstance(item, str) or item not in pages[page]:
        return f"item {_said(item)} is not on page {page}"
    low, high = study.facts["scale"]
    rating = answer.get("rating")
    if not _number(rating) or not low <= rating <= high:
        return f"rating {_said(rating)} must be a number from {low:g} to {high:g}"
    if not _share(answer.get("heard")):
        return f"heard {_said(answer.get('heard'))} must be a share, from 0 to 1"
    return "" if _amount(answer.get("plays")) else f"plays {_said(answer.get('plays'))} must be a count"


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e15 and math.isfinite(value)


def _amount(value: Any) -> bool:
    return _number(value) and value >= 0


def _share(value: Any) -> bool:
    return _amount(value) and value <= 1.001  # of a player's rounding


def _said(value: Any) -> str:
    text = literal(
        json.dumps(value, ensure_ascii=False) if isinstance(value, str | int | float) else type(value).__name__
    )
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _json(path: Path, about: str) -> dict[str, Any]:
    """Read a JSON object that stands in a file. Raises EvalkitError for anything else."""
    try:
        if path.stat().st_size > LARGEST and about != "the study":
            raise EvalkitError(
                f"{about} '{path}' are larger than {LARGEST // 2**20} MiB, which none are: leave the file out"
            )
        facts = json.loads(path.read_text("utf-8"), parse_constant=_no_number)
    except OSError as error:
        raise EvalkitError(f"{about} '{path}' cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        said = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise EvalkitError(f"{about} '{path}': no JSON ({said}): get the file again") from error
    if not isinstance(facts, dict):
        raise EvalkitError(f"{about} '{path}': no JSON object: get the file again")
    return facts


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")
