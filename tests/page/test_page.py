"""The page as a whole: everything that a document says is there, and nothing in it acts but evalkit's own script."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe

from evalkit.page.inline import embedded
from evalkit.page.links import address, breakable, linked, relative
from evalkit.page.page import policy, render
from evalkit.page.sections import plots, provenance
from evalkit.page.view import view
from evalkit.report.document import Document, Listing, Table
from evalkit.report.literal import literal
from evalkit.report.numbers import NONE
from evalkit.results.folders import MANIFEST
from evalkit.results.joined import join
from evalkit.results.record import Count, ProtocolInfo, ReferencesInfo
from evalkit.store.digests import sha256_file

from ..results import heard, made, made_comparison
from ..results.test_reproduction_text import made as reproduced
from .pages import EVIL, Read, compared, hostile, opened, page_of, saved, swept_in, without_plots

KINDS = ["result", "hostile", "joined", "comparison", "reproduction", "sweep"]
WITH_PLOTS = ("comparison",)  # each takes a second or more
LOOKED_AT = (("hostile", "light"), ("comparison", "dark"))  # in every run of the tests
SLICES = [
    {
        "slice": "tag", "group": f"{name} {EVIL}", "model": "musicgen_small", "metric": "kld", "value": 1.25,
        "low": 1.125, "high": 1.375, "n": n, "protocol": "musicgen", "higher_is_better": False, "note": note,
        "small": n < 30,
    }
    for name, n, note in (("piano", 9, "a note of a slice"), ("drums", 40, ""))
]  # fmt: skip


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The records of a page of each kind."""
    folder = tmp_path_factory.mktemp("records")
    first = saved(folder / "first", spread=0.125, slices=SLICES, clips={"musicgen_small": ["ok"] * 10 + ["silent"] * 2})
    second = saved(folder / "second", values={"next": dict.fromkeys(made.TITLES, 4.25)}, n={"fad": 7})
    return {
        "result": [first],
        "hostile": [saved(folder / "hostile", hostile())],
        "joined": [first, second],
        "comparison": [compared().save(folder / "comparison")],
        "reproduction": [saved(folder / "reproduction", reproduced("facebook/musicgen-small"))],
        "sweep": [swept_in(folder / "sweep")],
    }


@pytest.fixture(scope="module")
def made_pages(
    records: dict[str, list[Any]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, Document]]:
    """The page of each kind of record, with its document."""
    folder = tmp_path_factory.mktemp("pages")
    documents = {kind: join(found, False) if len(found) > 1 else found[0].document() for kind, found in records.items()}
    pages = {}
    for kind, found in records.items():
        with contextlib.nullcontext() if kind in WITH_PLOTS else without_plots():
            pages[kind] = page_of(folder / f"{kind}.html", found)
    return {kind: (page, documents[kind]) for kind, page in pages.items()}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def page(made_pages: dict[str, tuple[Path, Document]], kind: str) -> Path:
    return made_pages[kind][0]


def said(document: Document) -> Iterator[str]:
    """Everything that is to be read somewhere in a form of a document."""
    yield from (document.title, document.heading, document.warning, document.outcome)
    yield from (*document.reasons, *document.notes, *document.provenance.values())
    for table in (document.table, *document.more):
        yield from (table.title, table.intro, *table.notes, *table.legend())
        yield from in_table(table) if isinstance(table, Table) else in_listing(table)


def in_table(table: Table) -> Iterator[str]:
    yield from (column.title for column in table.columns)
    for row in table.rows:
        yield from map(str, (*row.labels.values(), *row.about.values()))
        for quantity in table.read():
            if quantity.key not in ("low", "high", "n"):
                yield from (quantity.text(cell) for cell in row.cells.values())
        for cell in row.cells.values():
            if not np.isnan(cell.get("low", np.nan)):
                yield f"[{cell['low']:,.3f}, {cell['high']:,.3f}]"
            if table.show_n and cell.get("n"):
                yield f"n {cell['n']:,}"


def in_listing(listing: Listing) -> Iterator[str]:
    for column in listing.read():
        for quantity in column:
            yield quantity.label
            yield from (quantity.text(item.cell) for item in listing.rows)


def test_a_page_says_everything_that_its_document_says(made_pages: dict[str, tuple[Path, Document]], kind: str) -> None:
    page, document = made_pages[kind]
    text = Read(page.read_text("utf-8")).text
    squeezed = re.sub(r"\s", "", text)
    missing = [
        one for one in said(document) if one not in ("", NONE) and re.sub(r"\s", "", literal(one)) not in squeezed
    ]
    assert missing == []


def test_what_must_be_read_first_comes_before_all_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "section", lambda view: None)
    protocol = ProtocolInfo("musicgen (changed)", ("vggish.hop 0.96, not 0.5",), {"vggish": {"hop": 0.96}})
    references = ReferencesInfo(Count(9, 12, {"silent": 3}), "c" * 64, rendered_by="Synth")
    metrics = {name: made.metric(*made.TITLES[name], random=["VGGish weights"]) for name in made.TITLES}
    changes = {"protocol": protocol, "references_info": references, "metrics": metrics}
    result = saved(tmp_path / "r", clips={"musicgen_small": ["ok"] * 11 + ["silent"]}, **changes)
    text = Read(page_of(tmp_path / "p.html", [result]).read_text("utf-8")).text
    head, _, _ = text.partition("4.903")
    for one in (
        "Random weights: VGGish weights.",
        "The protocol is changed: vggish.hop 0.96, not 0.5.",
        "References are missing: 9 of 12 could be used (3 silent).",
        "References are rendered by Synth",
        "Clips of musicgen_small are missing: 11 of 12 could be used (1 silent).",
    ):
        assert one in head
    bare = saved(tmp_path / "bare", references_info=None)
    assert "There are no references." in Read(page_of(tmp_path / "b.html", [bare]).read_text("utf-8")).text


def test_tables_have_captions_heads_and_a_way_to_scroll(page: Path) -> None:
    elements = Read(page.read_text("utf-8")).elements
    tables = sum(tag == "table" for tag, _ in elements)
    assert tables and sum(tag == "caption" for tag, _ in elements) == tables
    assert all(found.get("scope") in ("col", "row") for tag, found in elements if tag == "th")
    ids = [found["id"] for _, found in elements if "id" in found]
    assert len(ids) == len(set(ids))
    names = [name for _, found in elements for name in str(found.get("aria-labelledby", "")).split()]
    assert set(names) <= set(ids)


def test_nothing_in_a_page_acts_but_its_own_scripts(page: Path) -> None:
    read = Read(page.read_text("utf-8"))
    (content,) = [
        found["content"] for _, found in read.elements if found.get("http-equiv") == "Content-Security-Policy"
    ]
    hashes = re.findall(r"'sha256-([^']+)'", str(content))
    assert hashes == [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in read.scripts]
    assert len(hashes) == 2 and str(content).startswith("default-src 'none'; script-src 'sha256-")
    handlers = [name for _, found in read.elements for name in found if name.startswith("on")]
    sources = [found["src"] for _, found in read.elements if "src" in found]
    assert handlers == [] and all(str(source).startswith("data:") for source in sources)
    links = [str(found["href"]) for tag, found in read.elements if tag == "a"]
    assert all(re.match(r"(#|https?://|\.{0,2}/?[\w.%-]+(/|$))", link) for link in links), links


def test_text_that_would_act_is_shown(browser: Any, made_pages: dict[str, tuple[Path, Document]]) -> None:
    for kind in ("hostile", "comparison", "sweep"):
        with opened(browser, made_pages[kind][0]) as shown:
            assert shown.evaluate("window.hacked") is None
            assert EVIL[:60] in " ".join(shown.inner_text("main").split())
            assert shown.locator("img:not([src^='data:'])").count() == 0


def test_a_script_that_somebody_slips_in_does_not_run(
    browser: Any, made_pages: dict[str, tuple[Path, Document]]
) -> None:
    with opened(browser, made_pages["result"][0]) as shown:
        reached: list[str] = []
        shown.on("requestfailed", lambda request: reached.append(request.failure))
        shown.evaluate(
            """() => {
              const script = document.createElement("script");
              script.textContent = "window.hacked = 1";
              document.body.append(script);
              document.body.insertAdjacentHTML("beforeend", "<b id=b onclick='window.hacked = 2'>b</b>");
              document.getElementById("b").click();
              document.body.insertAdjacentHTML("beforeend", "<a id=a href='javascript:window.hacked = 3'>a</a>");
              document.getElementById("a").click();
              fetch("https://example.org/").catch(() => {});
              new Image().src = "https://example.org/picture.png";
            }"""
        )
        shown.wait_for_timeout(100)
        assert reached == ["csp"]  # of a fetch there is not even a request
        assert shown.evaluate("window.hacked") is None
        refused = [one for one in shown.complaints if "Content Security Policy" in one]
        assert len(refused) >= 5
        shown.complaints.clear()


def test_the_policy_names_each_script() -> None:
    text = policy("one", "two")
    assert text.count("'sha256-") == 2 and "unsafe-inline" not in text.partition("script-src")[2].partition(";")[0]


def test_data_cannot_end_its_script_and_stays_what_it_is() -> None:
    text = embedded({"caption": f"{EVIL}\u2028<!--", "name": "\udcff"})
    assert "<" not in text and "\u2028" not in text
    text.encode()


def test_a_linked_clip_plays_from_a_file(browser: Any, made_pages: dict[str, tuple[Path, Document]]) -> None:
    page = made_pages["result"][0]
    soundfile.write(page.parent / "a clip.wav", np.zeros((8000, 2)), 16000)
    with opened(browser, page) as shown:
        seconds = shown.evaluate(
            """(source) => new Promise((resolve) => {
              const audio = document.createElement("audio");
              audio.onloadedmetadata = () => resolve(audio.duration);
              audio.onerror = () => resolve("failed");
              audio.src = source;
              document.body.append(audio);
            })""",
            "a%20clip.wav",
        )
        assert seconds == pytest.approx(0.5)


THEMES = [
    pytest.param(kind, theme, marks=[] if (kind, theme) in LOOKED_AT else [pytest.mark.slow])
    for kind in KINDS
    for theme in ("light", "dark")
]


@pytest.mark.parametrize(("of", "theme"), THEMES)
def test_pages_can_be_used_with_a_screen_reader_and_fit_a_phone(
    browser: Any, made_pages: dict[str, tuple[Path, Document]], of: str, theme: str
) -> None:
    assert_usable(browser, made_pages[of][0], len(of) % 2, theme)


@pytest.mark.slow  # seconds of plots
@pytest.mark.parametrize("of", KINDS)
def test_a_page_with_its_plots_is_like_one_without(
    browser: Any, records: dict[str, list[Any]], tmp_path: Path, of: str
) -> None:
    page = page_of(tmp_path / "page.html", records[of])
    assert '<section id="plots"' in page.read_text("utf-8")
    test_tables_have_captions_heads_and_a_way_to_scroll(page)
    test_nothing_in_a_page_acts_but_its_own_scripts(page)
    for wide, theme in enumerate(("dark", "light")):
        assert_usable(browser, page, wide, theme)


def assert_usable(browser: Any, page: Path, wide: int, theme: str) -> None:
    """A page fits into the window, nothing that came from elsewhere acts, and axe finds no barrier."""
    size = ({"width": 360, "height": 740}, {"width": 1600, "height": 1000})[wide]
    with opened(browser, page, viewport=size, color_scheme=theme) as shown:
        assert shown.evaluate("window.hacked") is None
        shown.evaluate("for (const one of document.querySelectorAll('#summary details')) one.open = true")
        assert shown.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
        found = Axe().run(shown).response["violations"]  # of any impact
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def test_the_theme_is_the_systems_until_one_is_chosen_which_is_remembered(
    browser: Any, made_pages: dict[str, tuple[Path, Document]]
) -> None:
    def paper(shown: Any) -> str:
        return str(shown.evaluate("getComputedStyle(document.body).backgroundColor"))

    with opened(browser, made_pages["result"][0], color_scheme="light") as shown:
        light = paper(shown)
        shown.emulate_media(color_scheme="dark")
        dark = paper(shown)
        assert light != dark
        theme = shown.get_by_label("Theme")
        theme.select_option("Light")
        assert paper(shown) == light
        shown.reload()
        assert paper(shown) == light and theme.input_value() == "light"
        theme.select_option("Auto")
        assert paper(shown) == dark
        shown.reload()
        assert paper(shown) == dark and theme.input_value() == "auto"


def test_the_theme_can_be_chosen_where_nothing_can_be_remembered(
    browser: Any, made_pages: dict[str, tuple[Path, Document]]
) -> None:
    context = browser.new_context()
    try:
        shown = context.new_page()
        errors: list[Any] = []
        shown.on("pageerror", lambda error: errors.append(error))
        shown.add_init_script(
            "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError') } })"
        )
        shown.goto(made_pages["result"][0].as_uri())
        shown.get_by_label("Theme").select_option("Dark")
        assert shown.evaluate("document.documentElement.dataset.theme") == "dark" and errors == []
    finally:
        context.close()


def test_paper_has_all_tables(browser: Any, made_pages: dict[str, tuple[Path, Document]]) -> None:
    with opened(browser, made_pages["result"][0]) as shown:
        folded = shown.locator("#summary details")
        assert folded.count() == 1 and not folded.evaluate("one => one.open")
        shown.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert folded.evaluate("one => one.open")
        shown.evaluate("dispatchEvent(new Event('afterprint'))")
        assert not folded.evaluate("one => one.open")
        assert shown.pdf().startswith(b"%PDF")


def test_a_keyboard_reaches_content_and_tables(browser: Any, made_pages: dict[str, tuple[Path, Document]]) -> None:
    with opened(browser, made_pages["result"][0]) as shown:
        shown.keyboard.press("Tab")
        assert shown.evaluate("document.activeElement.textContent") == "Skip to the content"
        shown.keyboard.press("Enter")
        assert shown.evaluate("document.activeElement.id") == "content"
        shown.keyboard.press("Tab")
        assert shown.evaluate("document.activeElement.className") == "page-scroll"


def test_names_are_hidden_on_a_blind_page(browser: Any, tmp_path: Path) -> None:
    with without_plots():
        page = page_of(tmp_path / "blind.html", [saved(tmp_path / "r")], blind=True)
    with opened(browser, page) as shown:
        assert shown.title() == "Blind listening · evalkit"
        text = shown.inner_text("body")
        assert "Blind listening" in text and "musicgen_small" not in text and "4.903" not in text
        shown.evaluate("delete document.body.dataset.blind; document.dispatchEvent(new Event('evalkit:blind'))")
        assert shown.title() == "musiccaps · evalkit" and "4.903" in shown.inner_text("body")


def test_addresses_lead_to_pages_and_files_alone(tmp_path: Path) -> None:
    page = tmp_path / "runs" / "a" / "report.html"
    assert address("https://example.org/?a=1", page) == "https://example.org/?a=1"
    assert address(f"file://{tmp_path}/cache/a%20b.flac", page) == "../../cache/a%20b.flac"
    assert address("plots/a.png", page) == "plots/a.png"
    for url in ("javascript:alert(1)", " javascript:alert(1)", "data:text/html,x", "//example.org/x", "http://[x"):
        assert address(url, page) == ""


def test_files_of_any_name_and_place_have_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, odd = tmp_path / "report.html", tmp_path / "a\udcff" / "50%.wav"
    assert relative(odd, page) == address(odd.as_uri(), page) == "a%FF/50%25.wav"

    def fails(*_: object) -> str:
        raise ValueError("path is on mount 'C:', start on mount 'D:'")

    monkeypatch.setattr("os.path.relpath", fails)
    assert relative(tmp_path / "b c.wav", page) == f"{tmp_path.as_uri()}/b%20c.wav"


def test_secrets_on_a_command_line_of_before_are_hidden(tmp_path: Path) -> None:
    found = saved(tmp_path / "r")
    command = ["evalkit run", "model.a.api_key=hunter2", "prompts.references=https://me:hunter2@host/x", "name=b"]
    old = dataclasses.replace(found, provenance={**found.provenance, "command": command})
    body = provenance.section(view([old], tmp_path / "report.html")).body
    assert "hunter2" not in body and "model.a.api_key=(hidden)" in body and "name=b" in body


def test_a_side_whose_row_is_not_in_its_result_is_missed(tmp_path: Path) -> None:
    found = saved(tmp_path / "r")
    sides = [made_comparison.side(row, str(found.path), sha256=sha256_file(found.path / MANIFEST))
             for row in ("musicgen_small", "gone")]  # fmt: skip
    shown = view([compared(baseline=sides[:1], candidate=sides[1:])], tmp_path / "report.html")
    assert [one.row for one in shown.systems] == ["musicgen_small"]
    assert shown.missing == [f"'{found.path}' has no row 'gone': its clips are not shown"]


def test_the_foot_counts_listening_tests_as_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.page.page._modules", list)  # no sections
    found, rated = saved(tmp_path / "r"), heard.listening("rating")
    for records, said in (([found], "from a record;"), ([rated], "from a record;"), ([found, rated], "from records;")):
        assert said in render(view(records, tmp_path / "report.html"))


def test_text_is_escaped_where_addresses_become_links_and_names_may_break() -> None:
    text = linked('<b>see</b> https://example.org/a"b, and (https://example.org/c).')
    assert str(text) == (
        '&lt;b&gt;see&lt;/b&gt; <a href="https://example.org/a">https://example.org/a</a>&#34;b, and '
        '(<a href="https://example.org/c">https://example.org/c</a>).'
    )
    assert str(breakable("a_<b>/c")) == "a_<wbr>&lt;b&gt;/<wbr>c"
