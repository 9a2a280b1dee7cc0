"""Pages of records made by hand, and how they are opened and read."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evalkit.page import drawn
from evalkit.page.sections import plots, sensitivity
from evalkit.page.writing import write
from evalkit.results.comparison import Comparison
from evalkit.results.plots import sweeps
from evalkit.results.record import Record
from evalkit.results.result import Result
from evalkit.results.sweep import Sweep
from evalkit.results.sweep_points import Point, Rung

from ..results import made, made_comparison, swept

EVIL = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>\"'&{{ 7 * 7 }}"


def saved(folder: Path, record: Record | None = None, **changes: Any) -> Result:
    """A result that lies in a folder."""
    record = record or made.record(**changes)
    result = Result(**{field.name: getattr(record, field.name) for field in dataclasses.fields(record)})
    return result.save(folder)


def hostile() -> Record:
    """A record in which every text that may come from elsewhere would act if a browser let it."""
    values = {EVIL: {"fad": 1.0, "kld": 2.0, "clap_score": 0.3, "chroma": 0.4}}
    record = made.record(values, published={}, notes={(EVIL, "fad"): EVIL}, spread=0.1, remarks=[EVIL])

    def evil(frame: pd.DataFrame) -> pd.DataFrame:
        texts = pd.Series([[EVIL] for _ in frame.index], dtype="object", index=frame.index)
        ids = frame["id"].map(lambda name: f"{name}{EVIL}")
        return frame.assign(id=ids, caption=EVIL, tags=texts, labels=texts)

    return dataclasses.replace(
        record,
        prompts=evil(record.prompts),
        clips=evil(record.clips).assign(path=f"/clips/{EVIL}.wav", note=EVIL),
        prompts_info=dataclasses.replace(record.prompts_info, dataset=EVIL, subset=EVIL),
        config={"name": EVIL},
        provenance={**record.provenance, "device_name": EVIL, "command": ["evalkit run", EVIL]},
    )


def compared(**changes: Any) -> Comparison:
    """A comparison with everything that one may have."""
    facts: dict[str, Any] = {
        "metrics": [
            made_comparison.metric("fad", "BREACH", effect="small"),
            made_comparison.metric("kld", "PASS", tier="supporting"),
            made_comparison.metric("clap_score", "INSUFFICIENT_EVIDENCE", direction="higher", tier="", note="a note"),
        ],
        "slices": [made_comparison.group(), made_comparison.group(name="drums", change="worse")],
        "prompts": [made_comparison.moved(), made_comparison.moved("p1", caption=EVIL)],
        "outcome": "NO-GO",
        "reasons": ["FAD: worse by 0.3", EVIL],
        "warnings": ["Random weights: one"],
        "remarks": [EVIL],
    }
    return made_comparison.comparison(**{**facts, **changes})


def swept_in(folder: Path) -> Sweep:
    """A sweep with a point that failed, a race, and a confirmation, in a folder with the results of its points."""
    points = []
    for number, at in enumerate(swept.GRID[:4], 1):
        side = swept.measured(folder.parent / "features", number, swept.worse(*at), config={"seed": 1})
        result = saved(folder / "points" / f"{number:03}", side.record)
        points.append(Point(swept.options(*at), dataclasses.replace(side, record=result)))
    points.insert(2, Point(swept.options(9, 50), None, "failed", f"ValueError: {EVIL}"))
    again = swept.measured(folder.parent / "features", 50, 0.5), swept.measured(folder.parent / "features", 51)
    parameters = [dataclasses.replace(swept.PARAMETERS[0], values=[1, 3, 6, 9]), swept.PARAMETERS[1]]
    facts: dict[str, Any] = {"confirmed": again, "fresh_seed": 12, "rungs": [Rung(20, 5, 0, 100)]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "write", lambda *arguments: [])  # seconds of plots that the page draws itself
        return swept.sweep(points, parameters=parameters, draws=99, **facts).save(folder)


def page_of(output: Path, records: Sequence[Any], **options: Any) -> Path:
    """Write the page of some records, without any audio in it."""
    return write(records, output, audio_bytes=0, **options)


_free: dict[str, list[Any]] = {}  # tabs by their options: to make one costs as much as to open a page in it twice


@contextmanager
def opened(browser: Any, page: Path, address: str = "", **options: Any) -> Iterator[Any]:
    """Open a page as a file. Whatever the browser complains about, or reaches for, is an error at the end.

    Tabs are used again after tests that pass, as new as at first but for their history.
    """
    free = _free.setdefault(repr(sorted(options.items())), [])
    shown = free.pop() if free else browser.new_context(**options).new_page()
    said: list[str] = []
    listeners = {
        "console": lambda message: said.append(f"{message.type}: {message.text}"),
        "pageerror": lambda error: said.append(f"error: {error}"),
        "request": lambda request: said.append(f"request: {request.url}") if _foreign(request.url) else None,
    }
    for event, listener in listeners.items():
        shown.on(event, listener)
    try:
        if shown.url.partition("#")[0] == page.as_uri():
            shown.goto("about:blank")  # else an address with another fragment would load nothing
        shown.goto(page.as_uri() + address)
        shown.complaints = said
        yield shown
        assert said == []
        shown.evaluate("localStorage.clear()")
    except BaseException:
        shown.context.close()
        raise
    for event, listener in listeners.items():
        shown.remove_listener(event, listener)
    shown.context.clear_permissions()
    if "viewport" in options:
        shown.set_viewport_size(options["viewport"])
    media = {key: options.get(key, "null") for key in ("color_scheme", "reduced_motion")}
    shown.emulate_media(media="null", **media)
    free.append(shown)


def until(page: Any, expression: str, timeout: float = 5.0) -> Any:
    """Wait until something holds in the page, and return it: its policy lets no text become code that waits there."""
    end = time.monotonic() + timeout
    while not (found := page.evaluate(expression)):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(30)
    return found


@contextmanager
def without_plots(*kept: str) -> Iterator[None]:
    """Leave plots out of pages, each of which takes a second or more; but for those of listening tests if asked for.

    Args:
        kept: "listening".
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensitivity, "section", lambda view: None)
        if kept:
            patch.setattr(drawn, "_of_records", lambda view: iter(()))
        else:
            patch.setattr(plots, "section", lambda view: None)
        yield


def _foreign(url: str) -> bool:
    return not url.startswith(("file:", "data:", "blob:"))


class Read(HTMLParser):
    """What stands in a page: its text, the attributes of its elements, and what its scripts are.

    Attributes:
        text: all that is shown, in order, with single spaces.
        elements: names with attributes.
        scripts: what would be run.
    """

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._texts: list[str] = []
        self._inside = ""
        self.feed(html)
        self.close()
        self.text = " ".join("".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else self._inside
        if tag == "script" and "type" not in dict(attrs):
            self.scripts.append("")
        if tag != "wbr":
            self._texts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside
        self._texts.append(" ")

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            if self.elements[-1][1].get("type") is None:
                self.scripts[-1] += data
        elif self._inside != "style":
            self._texts.append(data)
