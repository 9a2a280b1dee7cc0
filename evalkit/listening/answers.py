"""What raters' pages send: checked, and kept so that nothing that was taken is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.listening import form
from evalkit.listening.form import said
from evalkit.listening.study import ANSWERS, Study
from evalkit.store.files import write_bytes

KIND, SCHEMA = "listening answers", 1
EARLIER = "earlier"  # the folder of saves that another run of the same session followed
MOST_EARLIER = 20  # of one session
CHOICES = ("first", "second", "tie", "both_bad")
LONGEST = {"rater": 200, "started": 40, "ended": 40, "comment": 2000}  # characters of a text
EVENTS = 20_000
PARTS = (  # of a file of answers
    "kind", "schema", "study", "session", "rater", "finished", "started", "ended", "headphones", "comment", "answers",
    "page_seconds", "events",
)  # fmt: skip


class Refused(Exception):
    """Answers that are not taken; the message says why.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status


def checked(study: Study, session: str, body: bytes) -> dict[str, Any]:
    """Read the answers of a session. Raises Refused for what is not of this session, or has another form."""
    try:
        given = form.parsed(body)
    except ValueError as error:
        raise Refused(str(error)) from error
    if given.get("study") != study.id or given.get("session") != session:
        raise Refused("answers of another session", 403)
    if wrong := next(mistakes(study, given), ""):
        raise Refused(wrong)
    return {name: given[name] for name in PARTS if name in given}


def keep(study: Study, session: str, given: Mapping[str, Any]) -> Path:
    """Write the answers of a session, on disk when this returns.

    They take the place of what the same run of the session has sent before. What another run sent, or had more
    answers, is put aside; a finished session takes no answers that are not. Raises Refused for those, and where
    too much was put aside already.
    """
    target = study.folder / ANSWERS / f"{session}.json"
    if target.exists():
        before = target.read_bytes()
        earlier = _read(before)
        if earlier is not None and earlier["finished"] and not given["finished"]:
            raise Refused("this session was finished already", 409)
        if earlier is None or earlier["started"] != given["started"] or len(earlier["answers"]) > len(given["answers"]):
            write_bytes(_unused(study.folder / ANSWERS / EARLIER, session), before)
    text = json.dumps(dict(given), ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    write_bytes(target, text.encode())
    return target


def finished(study: Study, session: str) -> bool | None:
    """Whether a session's answers are all there; None where it has none."""
    target = study.folder / ANSWERS / f"{session}.json"
    found = _read(target.read_bytes()) if target.exists() else None
    return None if found is None else bool(found["finished"])


def _read(body: bytes) -> dict[str, Any] | None:
    """Read what was kept; None for what somebody has damaged since."""
    try:
        found = json.loads(body)
        return found if isinstance(found["answers"], list) and {"finished", "started"} <= set(found) else None
    except (ValueError, TypeError, KeyError):
        return None


def _unused(folder: Path, session: str) -> Path:
    for number in range(1, MOST_EARLIER + 1):
        if not (path := folder / f"{session}-{number}.json").exists():
            return path
    raise Refused("this session was begun too often: tell who asked you", 429)


def mistakes(study: Study, facts: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with answers to a study, one line each; nothing of those that can be kept and analysed."""
    if facts.get("kind") != KIND:
        yield "no listening answers: leave the file out"
        return
    if facts.get("schema") != SCHEMA:
        yield f"answers of schema {said(facts.get('schema'))}, this version of evalkit reads {SCHEMA}: update it"
        return
    if facts.get("study") != study.id:
        yield (
            f"answers of another study ({said(facts.get('study'))}, not {study.id}): leave the file out, or give its "
            "own study with --study"
        )
        return
    session = facts.get("session")
    if not isinstance(session, str) or session not in study.sessions:
        yield f"session {said(session)} is not one of the study"
        return
    for name, most in LONGEST.items():
        text = facts.get(name, "" if name == "comment" else None)
        if not isinstance(text, str) or len(text) > most:
            yield f"{name} must be a text of at most {most:,} characters"
    if not isinstance(facts.get("finished"), bool):
        yield "finished must be true or false"
    if not isinstance(facts.get("headphones", False), bool | None):
        yield "headphones must be true, false or null"
    pages = study.sessions[session]["pages"]
    spent = facts.get("page_seconds", {})
    if not (
        isinstance(spent, dict) and len(spent) <= len(pages) + 1
        and all(len(page) <= 20 and form.amount(seconds) for page, seconds in spent.items())
    ):  # fmt: skip
        yield "page_seconds must be numbers of at least 0, by page"
    events = facts.get("events", [])
    if not isinstance(events, list) or len(events) > EVENTS or not all(map(_event, events)):
        yield f"events must be at most {EVENTS:,} lists of seconds, what happened, and to what"
    answers = facts.get("answers")
    if not isinstance(answers, list):
        yield "answers must be a list"
        return
    seen: set[tuple[Any, ...]] = set()
    for number, answer in enumerate(answers, 1):
        if wrong := _wrong(study, pages, answer):
            yield f"answer {number}: {wrong}"
            continue
        what = (answer["page"], answer.get("item") if not study.pairs else "")
        if what in seen:
            yield f"answer {number}: the second to the same question"
        seen.add(what)


def _wrong(study: Study, pages: Sequence[Sequence[str]], answer: Any) -> str:
    """What is wrong with one answer; empty where nothing is."""
    if not isinstance(answer, dict):
        return "must hold keys with values"
    page, plays, heard = (answer.get(name) for name in ("page", "plays", "heard"))
    if type(page) is not int or not 0 <= page < len(pages):
        return f"page {said(page)} is not one of the session's {len(pages)}"
    if not form.amount(answer.get("seconds")):
        return f"seconds {said(answer.get('seconds'))} must be a number of at least 0"
    if study.pairs:
        items, choice = answer.get("items"), answer.get("choice")
        if items != list(pages[page]):
            return f"items {said(items)} are not those of page {page}"
        if choice not in CHOICES:
            return f"choice {said(choice)} must be one of {', '.join(CHOICES)}"
        if not isinstance(heard, list) or len(heard) != 2 or not all(map(form.share, heard)):
            return f"heard {said(heard)} must be two shares, from 0 to 1"
        if not isinstance(plays, list) or len(plays) != 2 or not all(map(form.count, plays)):
            return f"plays {said(plays)} must be two counts"
        return ""
    item, rating, (low, high) = answer.get("item"), answer.get("rating"), study.facts["scale"]
    if not isinstance(item, str) or item not in pages[page]:
        return f"item {said(item)} is not on page {page}"
    if type(rating) is not int or not low <= rating <= high:
        return f"rating {said(rating)} must be a whole number from {low:g} to {high:g}"
    if not form.share(heard):
        return f"heard {said(heard)} must be a share, from 0 to 1"
    return "" if form.count(plays) else f"plays {said(plays)} must be a count"


def _event(one: Any) -> bool:
    return (
        isinstance(one, list)
        and len(one) == 3
        and form.amount(one[0])
        and isinstance(one[1], str)
        and len(one[1]) <= 20
        and (form.number(one[2]) or (isinstance(one[2], str) and len(one[2]) <= 40))
    )
