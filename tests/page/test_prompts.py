"""The table of all clips: what stands in it, and how it is sorted, filtered, searched, linked to and opened."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalkit.page import columns
from evalkit.page.sections import prompts
from evalkit.page.view import View, view
from evalkit.report import numbers
from evalkit.results.frames import prompts_of
from evalkit.slices import groups, standard

from ..results import made_comparison
from .all_clips import (
    CAPTIONS,
    IDS,
    KLD,
    LARGE,
    SMALL,
    STRANGE,
    column,
    ids,
    of,
    of_comparison,
    of_thousands,
    opened,
    result,
    without_values,
)
from .pages import until

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True}


def data_of(shown: View) -> dict[str, Any]:
    return columns.data(shown, columns.clips_of(shown))


def floats(text: str) -> list[float]:
    return [float(value) for value in np.frombuffer(base64.b64decode(text), "<f8")]


# --- what is written


def test_values_are_the_same_to_the_last_bit() -> None:
    data = data_of(of())
    assert [metric["title"] for metric in data["metrics"]] == ["KLD", "CLAP score"]
    for part, system in zip(data["parts"], (SMALL, LARGE), strict=True):
        np.testing.assert_array_equal(floats(part["values"][0]), KLD[system])


def test_metrics_without_values_of_clips_have_no_column() -> None:
    data = data_of(of(without_values(result())))
    assert data["metrics"] == [] and data["ids"] == IDS


def test_states_say_what_is_wrong_with_a_clip() -> None:
    data = data_of(of())
    small, large = data["parts"]
    assert [data["states"][state] for state in small["states"]] == [
        ["ok", "", ""], ["ok", "", ""], ["silent", "digital silence", ""], ["ok", "", ""],
    ]  # fmt: skip
    assert data["states"][large["states"]] == ["ok", "", ""]


def test_tags_are_numbered_by_how_many_prompts_have_them() -> None:
    words = data_of(of())["tags"]
    assert words["names"][0] == "drums"
    assert [[words["names"][word] for word in some] for some in words["of"]] == list(result().prompts["tags"])


def test_each_sample_of_a_prompt_is_a_clip() -> None:
    data = data_of(of(result(samples=2)))
    assert [(part["system"], part["sample"]) for part in data["parts"]] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    np.testing.assert_array_equal(floats(data["parts"][1]["values"][0]), np.array(KLD[SMALL]) + 1)


def test_results_side_by_side_have_the_clips_of_both() -> None:
    one = result({"kld": {"m": [1.0, 2.0, 3.0, 4.0]}})
    other = result({"clap_score": {"n": [0.1, 0.2, 0.3, 0.4]}}, path=Path("runs/other"))
    data = data_of(of(one, other))
    assert [system["name"] for system in data["systems"]] == ["m", "n"]
    assert [[value is not None for value in part["values"]] for part in data["parts"]] == [[True, False], [False, True]]


def test_groups_are_those_of_the_slices_of_the_records() -> None:
    (group,) = data_of(of_comparison())["groups"]
    vocal = next(one for one in groups(prompts_of(result().prompts), standard(["voice"])) if one.name == "vocal")
    assert (group["kind"], group["name"]) == ("voice", "vocal")
    assert {IDS[number] for number in group["prompts"]} == vocal.ids


def test_of_a_comparison_without_its_results_the_prompts_that_moved_are_listed(tmp_path: Path) -> None:
    moved = [
        made_comparison.moved("p7", "kld", baseline=1.25, candidate=3.5),
        made_comparison.moved("p8", "kld", baseline=0.5, candidate=0.75),
    ]
    compared = made_comparison.comparison([made_comparison.metric("kld")], prompts=moved)
    shown = view([compared], tmp_path / "report.html")
    data = data_of(shown)
    assert data["ids"] == ["p7", "p8"] and data["pair"] == [0, 1]
    assert [system["role"] for system in data["systems"]] == ["baseline", "candidate"]
    assert [floats(part["values"][0]) for part in data["parts"]] == [[1.25, 0.5], [3.5, 0.75]]
    section = prompts.section(shown)
    assert section is not None and "only the prompts that moved most" in section.body


def test_of_one_lost_side_only_what_moved_is_known() -> None:
    whole = of_comparison()
    assert whole.comparison is not None
    moved = made_comparison.frame("moved", [made_comparison.moved("p9", "kld", baseline=9.0)])
    lost = dataclasses.replace(
        whole,
        systems=whole.systems[1:],
        records=[dataclasses.replace(whole.comparison, moved=moved)],
        gone=[(SMALL, "baseline")],
    )
    data = data_of(lost)
    assert [system["name"] for system in data["systems"]] == [LARGE, SMALL]
    np.testing.assert_array_equal(floats(data["parts"][1]["values"][0]), [math.nan, 9.0, math.nan, math.nan])
    assert data["parts"][1]["states"] == [0, 1, 0, 0]


def test_of_two_folders_each_file_is_a_prompt(tmp_path: Path) -> None:
    one = result()
    clips = one.clips.assign(caption="")
    clips.loc[clips["id"] == "p9", ["status", "kld", "clap_score"]] = "unpaired", math.nan, math.nan
    folders = dataclasses.replace(
        one, prompts=one.prompts.assign(caption=""), clips=clips,
        prompts_info=dataclasses.replace(one.prompts_info, form="sets"),
    )  # fmt: skip
    data = data_of(of(folders))
    assert [data["states"][state][0] for state in data["parts"][1]["states"]] == ["ok", "unpaired", "ok", "ok"]
    section = prompts.section(of(folders))
    assert section is not None and "names of files" in section.body


def test_a_record_without_prompts_has_no_table(tmp_path: Path) -> None:
    assert prompts.section(view([made_comparison.comparison()], tmp_path / "report.html")) is None


# --- in a browser


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    with opened(browser, tmp_path, of()) as page:
        yield page


@pytest.fixture
def pairs(browser: Any, tmp_path: Path) -> Iterator[Any]:
    with opened(browser, tmp_path, of_comparison()) as page:
        yield page


def sort(page: Any, title: str) -> None:
    page.locator("#rows").get_by_role("button", name=title, exact=True).click()


def said(page: Any, text: str) -> None:
    """Wait until a number of rows is announced."""
    page.locator("#rows-count[role=status]").get_by_text(text, exact=True).wait_for(timeout=5000)


def test_numbers_are_written_as_in_every_table(page: Any) -> None:
    values = [0.0625, 0.0005, 2.675, -0.0001, 1234.5678, -1234567.8915, 0.9995, 1e-7, 0.0, -2.0, 12.0625, math.inf]
    values += list(np.random.default_rng(0).normal(size=200)) + [(2 * i + 1) / 16 for i in range(-40, 40)]
    finite = [value if math.isfinite(value) else None for value in values]
    for name, function in (("number", numbers.number), ("signed", numbers.signed)):
        for places in (3, 5):
            script = "([name, values, places]) => values.map((one) => evalkit.rows[name](one ?? Infinity, places))"
            assert page.evaluate(script, [name, finite, places]) == [function(value, places) for value in values]
        assert page.evaluate(f"evalkit.rows.{name}(NaN, 3)") == numbers.NONE


def test_every_clip_has_a_row(page: Any) -> None:
    assert ids(page)[:3] == IDS[:3] and len(ids(page)) == 8
    assert column(page, "System") == [SMALL] * 4 + [LARGE] * 4
    assert column(page, "KLD ↓") == ["1.500", "0.250", "–", "3.062", "1.000", "0.750", "2.000", "–"]
    table = page.get_by_role("table", name="All clips")
    assert table.get_attribute("aria-rowcount") == "9"
    assert [row.get_attribute("aria-rowindex") for row in table.get_by_role("row").all()] == [
        str(i) for i in range(1, 10)
    ]
    said(page, "8 clips")


def test_missing_values_are_last_in_both_directions(page: Any) -> None:
    sort(page, "KLD ↓")
    head = page.locator("#rows-table").get_by_role("columnheader", name="KLD")
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(page, "KLD ↓") == ["0.250", "0.750", "1.000", "1.500", "2.000", "3.062", "–", "–"]
    sort(page, "KLD ↓")
    assert head.get_attribute("aria-sort") == "descending"
    assert column(page, "KLD ↓") == ["3.062", "2.000", "1.500", "1.000", "0.750", "0.250", "–", "–"]
    sort(page, "KLD ↓")
    assert head.get_attribute("aria-sort") is None and ids(page)[:2] == IDS[:2]


def test_ids_are_sorted_by_the_numbers_in_them(page: Any) -> None:
    page.locator("#rows-system").select_option(label=LARGE)
    sort(page, "Id")
    assert ids(page)[1:] == ["p1", "p9", "p10"]


def test_search_finds_words_of_captions_ids_and_tags(page: Any) -> None:
    page.locator("#rows-system").select_option(label=LARGE)
    for search, found in {
        "CAFE": ["p10"],
        "p9": ["p9"],
        "no vocals": ["p1"],
        "tempo slow": ["p10"],
        "“tempo slow”": [],
        "“slow tempo": ["p10"],
        "nothing of the kind": [],
    }.items():
        page.locator("#rows").get_by_label("Search").fill(search)
        assert ids(page) == found, search
        said(page, f"{len(found)} of 4 clips")
        assert page.get_by_text("No clip matches.").is_visible() == (not found)


def test_filters_are_combined_and_cleared(page: Any) -> None:
    page.locator("#rows").get_by_label("Tag").select_option("drums (2)")
    assert ids(page) == ["p9", "p1", "p9", "p1"]
    page.locator("#rows-state").select_option("silent (1)")
    assert ids(page) == ["p1"] and column(page, "Status") == ["silent"]
    said(page, "1 of 8 clips")
    page.get_by_role("button", name="Clear filters").first.click()
    said(page, "8 clips")
    assert page.evaluate("document.activeElement.id") == "rows-search"


def test_two_systems_are_side_by_side_with_their_difference(pairs: Any) -> None:
    said(pairs, "4 prompts")
    assert pairs.locator("#rows-a option:checked").inner_text() == f"{SMALL} (baseline)"
    cells = pairs.locator(".rows-body tr").first.locator("td").all_inner_texts()
    assert [text.strip() for text in cells][1:7] == ["1.500", "1.000", "-0.500", "0.300", "0.100", "-0.200"]
    assert f"A: {SMALL}. B: {LARGE}." in str(pairs.locator("#rows-legend").text_content())
    pairs.get_by_role("button", name="KLD ↓, B − A").click()
    differences = pairs.locator(".rows-body td:nth-child(5)").all_inner_texts()
    assert [text.strip() for text in differences] == ["-0.500", "+0.500", "–", "–"]
    assert pairs.locator(".rows-body td:nth-child(5)").first.get_attribute("data-tone") == "good"
    pairs.locator("#rows").get_by_label("Change").select_option("KLD: B worse")
    assert ids(pairs) == ["p9"]
    pairs.locator("#rows").get_by_label("Change").select_option("")
    pairs.locator("#rows").get_by_label("Group").select_option("voice: vocal (1)")
    said(pairs, "1 of 4 prompts")


def test_a_prompt_of_several_clips_has_the_mean_of_them(browser: Any, tmp_path: Path) -> None:
    with opened(browser, tmp_path, of(result(samples=2))) as page:
        assert column(page, "Clip")[:5] == ["1"] * 4 + ["2"]
        page.locator("#rows").get_by_label("Show").select_option("pair")
        assert page.locator(".rows-body tr").first.locator("td").nth(1).inner_text() == "2.000"


def test_calibration_rows_are_shown_when_they_are_asked_for(browser: Any, tmp_path: Path) -> None:
    with opened(browser, tmp_path, of(result(calibration=[LARGE]))) as page:
        said(page, "4 clips")
        page.locator("#rows-system").select_option("")
        said(page, "8 clips")


def test_only_rows_in_sight_are_drawn_and_keys_move_through_all(browser: Any, tmp_path: Path) -> None:
    script = "[document.activeElement.textContent, document.activeElement.closest('tr').ariaRowIndex]"
    with opened(browser, tmp_path, of_thousands()) as many:

        def focused() -> tuple[str, str]:
            return tuple(many.evaluate(script))

        drawn = many.locator(".rows-body tr")
        assert many.locator("#rows-table").get_attribute("aria-rowcount") == "3001"
        until(many, "document.querySelectorAll('.rows-body tr').length > 10")
        assert drawn.count() < 60
        many.locator(".rows-body a").first.focus()
        for key, row in [
            ("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("End", 2999), ("ArrowDown", 2999), ("ArrowUp", 2998),
            ("Home", 0),
        ]:  # fmt: skip
            many.keyboard.press(key)
            assert focused() == (f"id {row % 1500}", str(row + 2)), key
            box = many.evaluate("document.activeElement.getBoundingClientRect().toJSON()")
            region = many.locator("#rows-region").bounding_box()
            assert region["y"] < box["top"] and box["bottom"] < region["y"] + region["height"]
        many.keyboard.press("PageDown")
        paged = int(focused()[1])
        assert 5 < paged < 40 and 10 < drawn.count() < 60
        many.keyboard.press("Enter")
        assert many.get_by_role("dialog").get_by_role("heading").inner_text() == f"caption of id {paged - 2}"
        many.keyboard.press("Escape")
        until(many, "location.hash === ''")
        assert focused() == (f"id {paged - 2}", str(paged))
        many.locator("#rows-region").evaluate("(region) => { region.scrollTop = 40000; }")
        until(many, "Number(document.querySelector('.rows-body tr').ariaRowIndex) > 500")
        assert drawn.count() < 60
        many.keyboard.press("ArrowDown")
        assert focused() == (f"id {paged - 1}", str(paged + 1)), "keys go on from the row that was left"


def test_a_prompt_has_an_address_of_its_own(page: Any) -> None:
    before = page.evaluate("history.length")
    for id, caption in zip(IDS, CAPTIONS, strict=True):
        page.locator(".rows-body tr").nth(IDS.index(id)).click()
        dialog = page.get_by_role("dialog")
        assert dialog.get_by_role("heading").inner_text() == " ".join(caption.split())
        assert page.evaluate("decodeURIComponent(location.hash.slice('#prompt='.length))") == id
        page.keyboard.press("Escape")
        until(page, "location.hash === ''")
        assert not dialog.is_visible()
    assert page.evaluate("window.hacked") is None and page.locator("img").count() == 0
    assert page.evaluate("history.length") == before


@pytest.mark.parametrize("id", ["p9", STRANGE])
def test_its_address_opens_it(browser: Any, tmp_path: Path, page: Any, id: str) -> None:
    hash = "#prompt=" + page.evaluate("(id) => encodeURIComponent(id)", id)
    with opened(browser, tmp_path, of(), hash) as linked:
        assert linked.get_by_role("dialog").get_by_role("heading").inner_text() == CAPTIONS[IDS.index(id)]
        row = linked.locator(".rows-body tr[aria-current]").first
        assert row.get_attribute("aria-rowindex") == str(IDS.index(id) + 2)


def test_a_link_leads_to_a_prompt_far_below(browser: Any, tmp_path: Path) -> None:
    with opened(browser, tmp_path, of_thousands()) as page:
        page.evaluate("location.hash = '#prompt=id%20700'")
        page.get_by_role("dialog").get_by_role("heading", name="caption of id 700").wait_for()
        box = page.locator(".rows-body tr[aria-current]").bounding_box()
        region = page.locator("#rows-region").bounding_box()
        assert region["y"] < box["y"] < region["y"] + region["height"]
        page.get_by_role("button", name="Next").click()
        assert page.evaluate("location.hash") == "#prompt=id%20701"
        page.keyboard.press("p")
        assert page.evaluate("location.hash") == "#prompt=id%20700"


def test_an_unknown_prompt_is_said(browser: Any, tmp_path: Path) -> None:
    with opened(browser, tmp_path, of(), "#prompt=p11") as page:
        alert = page.locator("#prompts").get_by_role("alert")
        for id in ("p11", "%E0%A4%A", ""):
            page.evaluate("(id) => { location.hash = `#prompt=${id}`; }", id)
            alert.get_by_text(f"There is no prompt “{id}” on this page.", exact=True).wait_for(timeout=5000)
            assert not page.get_by_role("dialog").is_visible()
        page.locator(".rows-body tr").first.click()
        assert not alert.is_visible()
        page.evaluate("location.hash = '#prompt=p12'")  # while another one is open
        alert.get_by_text("There is no prompt “p12” on this page.").wait_for(timeout=5000)
        assert not page.get_by_role("dialog").is_visible()
        page.locator(".rows-body tr").first.click()
        page.keyboard.press("Escape")
        assert not alert.is_visible()


def test_the_detail_says_what_is_known_of_every_clip(page: Any) -> None:
    page.locator(".rows-body tr").nth(2).click()
    dialog = page.get_by_role("dialog")
    rows = [
        [cell.inner_text().strip() for cell in row.locator("th, td").all()] for row in dialog.get_by_role("row").all()
    ]
    assert rows == [
        ["System", "KLD ↓", "CLAP score ↑", "Status"],
        [SMALL, "–", "0.100", "silent\ndigital silence"],
        [LARGE, "2.000", "0.300", "ok"],
    ]
    assert dialog.get_by_role("list", name="Tags").inner_text().split("\n") == ["drums", "no vocals"]


def test_the_link_is_copied(browser: Any, tmp_path: Path) -> None:
    allowed = ["clipboard-read", "clipboard-write"]
    with opened(browser, tmp_path, of(), "#prompt=p9", permissions=allowed) as page:
        page.get_by_role("button", name="Copy link").click()
        page.get_by_role("status").filter(has_text="The link is copied.").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == page.url
    with opened(browser, tmp_path, of(), "#prompt=p9") as page:
        page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }")
        page.get_by_role("button", name="Copy link").click()
        assert page.get_by_label("Link to this prompt").input_value() == page.url


def test_the_player_gets_the_clips_of_a_prompt(page: Any) -> None:
    page.evaluate(
        """() => {
          evalkit.sources = (id) => [{name: 'one', key: id}];
          evalkit.player = (element, sources, {caption}) => { element.textContent = sources[0].key + ': ' + caption; };
        }"""
    )
    page.locator(".rows-body tr").first.click()
    assert page.locator(".rows-detail-player").inner_text() == f"p10: {CAPTIONS[0]}"


def test_what_was_given_in_place_of_a_caption_is_shown_to_whom(browser: Any, tmp_path: Path) -> None:
    told = {"id": IDS, "caption": CAPTIONS, "tags": [[]] * 4, "labels": [["Music"]] * 4}
    russian = {**told, "translation": ["<b>тихое</b> пианино", "", "без голоса", ""], "language": ["ru"] * 4}
    english, translated = (
        result({"kld": {SMALL: KLD[SMALL]}}),
        result({"kld": {LARGE: KLD[LARGE]}}, russian, path=Path("runs/ru")),
    )
    shown = of(english, translated)
    assert data_of(shown)["given"] == [[["ru", "<b>тихое</b> пианино", [1]]], [], [["ru", "без голоса", [1]]], []]
    assert data_of(of(english))["given"] is None
    with opened(browser, tmp_path, shown) as page:
        page.locator("#rows").get_by_label("Search").fill("ПИАНИНО")
        assert ids(page) == ["p10", "p10"]  # of both systems
        page.locator(".rows-body tr").first.click()
        line = page.locator(".rows-detail-given")
        assert line.inner_text().split("\n") == ["Given in ru: <b>тихое</b> пианино", f"to {LARGE}"]
        assert line.locator("q").get_attribute("lang") == "ru"
        page.keyboard.press("Escape")
        with page.expect_download() as download:
            page.locator("#rows").get_by_role("button", name="Download as CSV").click()
        lines = list(csv.reader(io.StringIO(Path(download.value.path()).read_text("utf-8"))))
        assert lines[0][:5] == ["id", "caption", "language", "translation", "tags"]
        assert lines[1][2:4] == ["ru", "<b>тихое</b> пианино"]


def test_rows_that_are_shown_can_be_downloaded(page: Any, pairs: Any) -> None:
    page.locator("#rows-system").select_option(label=SMALL)
    sort(page, "KLD ↓")
    with page.expect_download() as download:
        page.locator("#rows").get_by_role("button", name="Download as CSV").click()
    lines = list(csv.reader(io.StringIO(Path(download.value.path()).read_text("utf-8"))))
    assert lines[0] == ["id", "caption", "tags", "labels", "System", "KLD", "CLAP score", "Status"]
    assert [line[0] for line in lines[1:4]] == ["p9", "p10", STRANGE.replace("\u202e", "\\u202e")]
    assert lines[4] == ["p1", f"'{CAPTIONS[2]}", "drums; no vocals", "Music", SMALL, "", "0.1", "silent"]
    assert lines[1][6] == "-0.2", "a number below zero is no formula"
    formulas = ["=1", "+1", "-1", "@a", "\t=1", "\r=1"]
    texts = page.evaluate("(texts) => evalkit.rows.csv([texts])", [*formulas, "a=1"])
    assert next(csv.reader(io.StringIO(texts, newline=""))) == [*(f"'{text}" for text in formulas), "a=1"]
    with pairs.expect_download() as download:
        pairs.locator("#rows").get_by_role("button", name="Download as CSV").click()
    head = Path(download.value.path()).read_text("utf-8").splitlines()[0]
    assert head.startswith(f"id,caption,tags,labels,KLD: {SMALL},KLD: {LARGE},KLD: {LARGE} − {SMALL},CLAP score")


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), pytest.param(1600, "light", marks=pytest.mark.slow)])
def test_it_fits_and_has_no_barrier(browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    with opened(browser, tmp_path, of_comparison(), **options) as page:
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
        for open_detail in (False, True):
            if open_detail:
                page.locator(".rows-body tr").first.click()
            context = {"include": [["#rows-detail" if open_detail else "#prompts"]]}
            found = Axe().run(page, context=context).response["violations"]
            assert [
                (one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")
            ] == []


def test_on_a_phone_rows_are_cards_and_filters_are_folded(browser: Any, tmp_path: Path) -> None:
    with opened(browser, tmp_path, of(), **PHONE) as page:
        assert (
            not page.locator("#rows").get_by_label("Tag").is_visible()
            and not page.locator("#rows-table thead").is_visible()
        )
        page.get_by_role("button", name="Filters").click()
        page.locator("#rows").get_by_label("Tag").select_option("piano (1)")
        assert ids(page) == ["p10", "p10"]
        page.locator("#rows").get_by_label("Sort by").select_option("KLD ↓")
        assert page.locator(".rows-body .rows-system").all_inner_texts() == [LARGE, SMALL]
        boxes = [row.bounding_box() for row in page.locator(".rows-body tr").all()]
        cells = page.locator(".rows-body tr").first.locator("td")
        for cell in cells.all():
            box = cell.bounding_box()
            assert box["y"] + box["height"] <= boxes[0]["y"] + boxes[0]["height"] + 0.5
        assert boxes[1]["y"] == pytest.approx(boxes[0]["y"] + boxes[0]["height"], abs=1)


def test_on_paper_the_first_rows_are_printed(browser: Any, tmp_path: Path) -> None:
    with opened(browser, tmp_path, of_thousands()) as page:
        page.emulate_media(media="print")
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert page.locator(".rows-body tr").count() == 300
        assert page.locator("#rows-printed").inner_text() == "The first 300 of 3,000 rows are printed."
        assert page.get_by_role("columnheader", name="Caption").get_by_text("Caption").is_visible()
        assert not page.get_by_role("button", name="Download as CSV").is_visible()
        page.emulate_media(media="screen")
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert page.locator(".rows-body tr").count() < 60


def test_frames_of_clips_and_prompts_may_have_any_order(browser: Any, tmp_path: Path) -> None:
    one = result()
    shuffled = dataclasses.replace(one, clips=pd.DataFrame(one.clips).iloc[::-1].reset_index(drop=True))
    with opened(browser, tmp_path, of(shuffled)) as page:
        assert column(page, "KLD ↓")[:4] == ["1.500", "0.250", "–", "3.062"]
