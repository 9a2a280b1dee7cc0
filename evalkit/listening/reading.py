"""Reading the answers of raters, which are files from elsewhere: nothing in them is taken on trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.listening import form
from evalkit.listening.answers import EARLIER, mistakes
from evalkit.listening.study import ANSWERS, STUDY, TOKENS, Study
from evalkit.store.digests import sha256_file

LARGEST = 2**25  # bytes of a file of answers


class NoStudy(EvalkitError):
    """Answers without the study that they are of."""


class Unusable(EvalkitError):
    """Answers that cannot be used.

    Attributes:
        mistakes: one line each.
    """

    def __init__(self, mistakes: Sequence[str]):
        self.mistakes = list(mistakes)
        first, *others = self.mistakes
        super().__init__(first + (f" (and {len(others)} more)" if others else ""))


@dataclass(frozen=True)
class Answers:
    """One file of answers, checked.

    Attributes:
        rater: who answered; the session where no name was given.
        facts: as the file has them.
        used: whether they count: of several files of a session one does.
        damaged: whether nobody can read them, of saves that the server had put aside as such.
    """

    path: Path
    sha256: str
    session: str
    rater: str
    finished: bool
    facts: Mapping[str, Any]
    used: bool = True
    damaged: bool = False

    @property
    def answers(self) -> list[dict[str, Any]]:
        return list(self.facts["answers"])

    @property
    def name(self) -> str:
        """The file's name, with the folder of what the server has put aside."""
        return f"{EARLIER}/{self.path.name}" if _aside(self.path) else self.path.name


def files_of(given: Sequence[Path]) -> list[Path]:
    """List the files of answers: those that are named, and those of folders, of a study's too.

    Folders may hold saves that the server has put aside: of a session that was answered on two devices, the longer one
    may be there.

    Raises EvalkitError for what is not there, and where there are none.
    """
    found: dict[Path, None] = {}
    for path in given:
        if path.is_dir():
            folder = path / ANSWERS if (path / STUDY).is_file() else path
            inside = sorted(one for one in folder.glob("*.json") if one.name not in (STUDY, TOKENS))
            if not inside:
                raise EvalkitError(f"'{folder}' holds no answers: they are files SESSION.json")
            found |= dict.fromkeys(one.absolute() for one in (*inside, *sorted((folder / EARLIER).glob("*.json"))))
        elif path.is_file():
            found[path.absolute()] = None
        else:
            raise EvalkitError(f"'{path}' is not there: give files of answers, or a folder of them")
    return list(found)


def study_of(given: Sequence[Path], asked: Path | None) -> Study:
    """Read the study that is asked for, or the one beside the answers. Raises EvalkitError where there is none."""
    if asked is not None:
        return Study.load(asked)
    for path in given:
        start = path.absolute()
        for folder in (start, *list(start.parents)[:2]):
            if (folder / STUDY).is_file():
                return Study.load(folder)
    raise NoStudy(f"no {STUDY} lies beside '{given[0]}': give it with --study STUDY")


def read_answers(paths: Sequence[Path], study: Study) -> list[Answers]:
    """Read files of answers to a study, all of them, also those that do not count.

    Of several files of one session the finished one counts, else the one with most answers, else the latest.

    Raises Unusable with one line for each mistake in any of them, but for saves that the server had put aside: it does
    that with damaged ones too, and whoever answered has sent them again.
    """
    found: list[Answers] = []
    damaged: list[Answers] = []
    wrong: list[str] = []
    for path in paths:
        try:
            facts = _read(path)
            own = [f"'{path}': {line}" for line in mistakes(study, facts)]
        except EvalkitError as error:
            own = [str(error)]
        if own and _aside(path):
            session = path.stem.rpartition("-")[0]
            damaged.append(Answers(path, sha256_file(path), session, "", False, {"answers": []}, False, damaged=True))
        elif own:
            wrong += own
        else:
            session = facts["session"]
            rater = " ".join(facts["rater"].split()) or session
            found.append(Answers(path, sha256_file(path), session, rater, facts["finished"], facts))
    if wrong:
        raise Unusable(wrong)
    return [*_counting(found), *damaged]


def _aside(path: Path) -> bool:
    """Whether a file is one that the server has put aside."""
    return path.parent.name == EARLIER


def _counting(found: Sequence[Answers]) -> list[Answers]:
    """Say of each file whether it counts."""
    best: dict[str, Answers] = {}
    for one in found:
        if one.session not in best or _rank(one) > _rank(best[one.session]):
            best[one.session] = one
    return [replace(one, used=best[one.session] is one) for one in found]


def _rank(one: Answers) -> tuple[bool, int, str]:
    return one.finished, len(one.answers), str(one.facts.get("ended") or "")


def _read(path: Path) -> dict[str, Any]:
    """Read a file of answers. Raises EvalkitError for what is no JSON object."""
    try:
        if path.stat().st_size > LARGEST:
            raise EvalkitError(
                f"the answers '{path}' are larger than {LARGEST // 2**20} MiB, which none are: leave the file out"
            )
        return form.parsed(path.read_bytes())
    except OSError as error:
        raise EvalkitError(f"the answers '{path}' cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise EvalkitError(f"the answers '{path}': {error}: get the file again") from error
