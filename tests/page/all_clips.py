"""Views whose clips are made by hand, and the table of all clips in a browser."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evalkit.page.page import render
from evalkit.page.view import System, View, view
from evalkit.results.result import Result

from ..results import made, made_comparison
from . import pages

SMALL, LARGE = "musicgen_small", "musicgen_large"
STRANGE = "a \"b\" 'c' <d>&amp; 100% #1?/\\ é 音楽\u202e!"
CAPTIONS = [
    "A slow piano piece in a café",
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>",
    '=HYPERLINK(1), a song with "drums" and no vocals',
    "a male voice sings to a fast guitar",
]
TAGS = [["piano", "slow tempo"], ["drums"], ["drums", "no vocals"], ["guitar", "male voice"]]
KLD = {SMALL: [1.5, 0.25, math.nan, 3.0625], LARGE: [1.0, 0.75, 2.0, math.nan]}
CLAP = {SMALL: [0.3, -0.2, 0.1, 0.00004], LARGE: [0.1, 0.2, 0.3, 0.4]}
IDS = ["p10", "p9", "p1", STRANGE]


def result(
    values: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
    prompts: Mapping[str, Sequence[Any]] | None = None,
    samples: int = 1,
    calibration: Sequence[str] = (),
    **changes: Any,
) -> Result:
    """A result of some values: metric → system → value of each prompt; of further samples they are larger by 1."""
    values = values or {"kld": KLD, "clap_score": CLAP}
    prompts = prompts or {"id": IDS, "caption": CAPTIONS, "tags": TAGS, "labels": [["Music"]] * 4}
    systems, ids = list(next(iter(values.values()))), list(prompts["id"])
    rows = {name: made.row(calibration=name in calibration) for name in systems}
    scores: dict[str, dict[str, float]] = {system: dict.fromkeys(values, 1.0) for system in systems}
    titles = {name: made.TITLES[name] for name in values}
    one = made.record(scores, {}, titles=titles, total=len(ids), rows=rows)
    once = one.clips.assign(
        id=ids * len(systems),
        **{metric: np.concatenate([of[system] for system in systems]) for metric, of in values.items()},
    )
    more = [once.assign(sample=n + 1, **{metric: once[metric] + n for metric in values}) for n in range(samples)]
    clips = pd.concat(more, ignore_index=True)
    bad = clips["model"].eq(SMALL) & clips["id"].eq("p1")
    clips.loc[bad, ["status", "reason"]] = "silent", "digital silence"
    frame = pd.DataFrame(dict(prompts))
    return Result(**{**vars(one), "prompts": frame, "clips": clips, **changes})


def of_many(prompts: int = 1500) -> Result:
    """A result of many prompts, whose values are their numbers."""
    ids = [f"id {i}" for i in range(prompts)]
    columns: dict[str, Sequence[Any]] = {
        "id": ids,
        "caption": [f"caption of {i}" for i in ids],
        "tags": [["a"]] * prompts,
        "labels": [[]] * prompts,
    }
    values = {"kld": {SMALL: range(prompts), LARGE: [2.0 * i for i in range(prompts)]}}
    return result(values, columns)


@functools.cache
def of_thousands() -> View:
    """The view of a result of many prompts."""
    return of(of_many())


@functools.cache
def of_comparison(blind: bool = False) -> View:
    """The view of a comparison whose results are there."""
    one = result()
    compared = made_comparison.comparison(
        [made_comparison.metric(), made_comparison.metric("kld")],
        [made_comparison.group("voice", "vocal"), made_comparison.group("tag", "piano")],
        baseline=[made_comparison.side(SMALL)],
        candidate=[made_comparison.side(LARGE)],
    )
    systems = [System(SMALL, "baseline", one, SMALL), System(LARGE, "candidate", one, LARGE)]
    return View([compared], compared.document(), systems, [], Path("report.html"), 0, blind)


@functools.cache
def of(*results: Result, blind: bool = False) -> View:
    """The view of some results; without any, of the one of four prompts."""
    return view(results or [result()], Path("report.html"), blind=blind)


_html: dict[int, tuple[View, str]] = {}  # pages that were written, with their views, by the numbers of these


def html(shown: View) -> str:
    """The page of a view, which is written once."""
    if id(shown) not in _html:
        with pages.without_plots():
            _html[id(shown)] = shown, render(shown)
    return _html[id(shown)][1]


@contextmanager
def opened(browser: Any, folder: Path, shown: View, address: str = "", **options: Any) -> Iterator[Any]:
    """Open the page of a view as a file, and wait for its table; what scrolls is there at once."""
    file = folder / "report.html"
    file.write_text(html(shown), "utf-8")
    with pages.opened(browser, file, address, reduced_motion="reduce", **options) as page:
        page.wait_for_selector("#rows[data-ready]")
        yield page


def ids(page: Any) -> list[str]:
    """The ids of the rows that are drawn, from the top."""
    return list(page.locator(".rows-body th").all_inner_texts())


def column(page: Any, title: str) -> list[str]:
    """The texts of a column, from the top, by its title."""
    titles = [text.strip() for text in page.locator("#rows-table thead tr:last-child th").all_inner_texts()]
    cells = page.locator(f".rows-body tr > :nth-child({titles.index(title) + 1})")
    return [text.strip() for text in cells.all_inner_texts()]


def without_values(one: Result) -> Result:
    """The same result, none of whose clips has a value of its own."""
    return dataclasses.replace(one, clips=one.clips.drop(columns=["kld", "clap_score"]))
