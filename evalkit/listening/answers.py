"""What raters' pages send: checked, and kept so that nothing that was taken is lost."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.listening.study import ANSWERS, SCALE, Study
from evalkit.store.files import write_bytes

KIND, SCHEMA = "listening answers", 1
EARLIER = "earlier"  # the folder of saves that another run of the same session followed
CHOICES = ("first", "second", "tie", "both_bad")
LONGEST = 2000  # characters of a text
EVENTS = 20_000


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
        given = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused("no JSON") from error
    if not isinstance(given, dict) or given.get("kind") != KIND or given.get("schema") != SCHEMA:
        raise Refused("no listening answers of this version")
    if given.get("study") != study.id or given.get("session") != session:
        raise Refused("answers of another session", 403)
    for name in ("rater", "started", "ended", "comment"):
        _require(isinstance(given.get(name), str) and len(given[name]) <= LONGEST, name)
    _require(isinstance(given.get("finished"), bool), "finished")
    _require(given.get("headphones") in (True, False, None), "headphones")
    _require(isinstance(given.get("answers"), list), "answers")
    pages = study.sessions[session]["pages"]
    _require(len(given["answers"]) <= sum(map(len, pages)), "answers")
    seen = set()
    for answer in given["answers"]:
        _require(isinstance(answer, dict) and _is(int, answer.get("page")), "answers")
        _require(0 <= answer["page"] < len(pages), "page")
        seen.add(_pair(answer, pages) if study.pairs else _rating(answer, pages))
    _require(len(seen) == len(given["answers"]), "answers")
    events = given.get("events")
    _require(isinstance(events, list) and len(events) <= EVENTS, "events")
    _require(all(_event(one) for one in given["events"]), "events")
    spent = given.get("page_seconds")
    _require(
        isinstance(spent, dict) and len(spent) <= len(pages) + 1 and all(map(_number, spent.values())), "page_seconds"
    )
    known = (
        "kind", "schema", "study", "session", "rater", "finished", "started", "ended", "headphones", "comment",
        "answers", "page_seconds", "events",
    )  # fmt: skip
    return {name: given[name] for name in known if name in given}


def keep(study: Study, session: str, given: Mapping[str, Any]) -> Path:
    """Write the answers of a session, on disk when this returns.

    They take the place of what the same run of the session has sent before. What another run sent, or had more
    answers, is put aside; a finished session takes no answers that are not.
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
    write_bytes(target, text.encode("utf-8", "backslashreplace"))
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
    number = 1
    while (folder / f"{session}-{number}.json").exists():
        number += 1
    return folder / f"{session}-{number}.json"


def _rating(answer: Mapping[str, Any], pages: Any) -> Any:
    _require(isinstance(answer.get("item"), str) and answer["item"] in pages[answer["page"]], "item")
    _require(_is(int, answer.get("rating")) and SCALE[0] <= answer["rating"] <= SCALE[1], "rating")
    _require(
        _share(answer.get("heard")) and _number(answer.get("seconds")) and _is(int, answer.get("plays")), "answers"
    )
    return answer["page"], answer["item"]


def _pair(answer: Mapping[str, Any], pages: Any) -> Any:
    _require(answer.get("items") == pages[answer["page"]], "items")
    _require(answer.get("choice") in CHOICES, "choice")
    heard, plays = answer.get("heard"), answer.get("plays")
    _require(isinstance(heard, list) and len(heard) == 2 and all(map(_share, heard)), "heard")
    _require(isinstance(plays, list) and len(plays) == 2 and all(_is(int, one) for one in plays), "plays")
    _require(_number(answer.get("seconds")), "seconds")
    return answer["page"]


def _event(one: Any) -> bool:
    return (
        isinstance(one, list)
        and len(one) == 3
        and _number(one[0])
        and isinstance(one[1], str)
        and len(one[1]) <= 20
        and (_is(int, one[2]) or (isinstance(one[2], str) and len(one[2]) <= 40))
    )


def _require(met: bool, name: str) -> None:
    if not met:
        raise Refused(f"'{name}' is not as it should be")


def _is(kind: type, value: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return (_is(int, value) or _is(float, value)) and math.isfinite(value) and 0 <= value < 1e9


def _share(value: Any) -> bool:
    return _number(value) and value <= 1


def _no_constant(text: str) -> Any:
    raise ValueError(text)
