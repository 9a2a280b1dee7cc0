"""The players of a page, in a real browser: what is chosen is what is heard, at the position that is shown."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.page.page import render
from evalkit.page.sections.clips import section
from evalkit.page.view import view
from evalkit.results.result import Result
from tests.browser import browser  # noqa: F401
from tests.page.pages import until, without_plots
from tests.page.tones import RATE, SECONDS, changed, result, tone, written

ROOM = 10_000_000
EVIL = "<script>window.evil = 1</script><img src=x onerror='window.evil = 2'> & \u202etrap"

# Counts what is decoded and opened, before the page's own scripts run.
COUNTED = """
  window.decoded = 0;
  const decode = BaseAudioContext.prototype.decodeAudioData;
  BaseAudioContext.prototype.decodeAudioData = function (...given) {
    window.decoded += 1;
    return decode.apply(this, given);
  };
  window.elements = [];
  const Made = window.Audio;
  window.Audio = function (source) { const made = new Made(source); window.elements.push(made); return made; };
"""

# The strongest frequency of what sounds just now, in Hz, with the position that the player shows, in seconds.
HEARD = """() => {
  const { context, node } = evalkit.heard();
  window.analyser ??= (() => {
    const made = new AnalyserNode(context, { fftSize: 2048, smoothingTimeConstant: 0 });
    node.connect(made);
    return made;
  })();
  const bins = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(bins);
  const strongest = bins.reduce((best, value, i) => (value > bins[best] ? i : best), 0);
  const shown = document.querySelector("[data-playing] .player-seek");
  return {
    hertz: (strongest * context.sampleRate) / analyser.fftSize,
    decibels: bins[strongest],
    clock: context.currentTime,
    at: shown && Number(shown.value),
  };
}"""

# The files of elements that run, where each is, and whether it is heard.
PLACES = """() => elements.filter((one) => !one.paused).map((one) => ({
  file: decodeURIComponent(one.src).split("/").pop(), folder: decodeURIComponent(one.src).split("/").at(-2),
  at: one.currentTime, heard: !one.muted && one.volume > 0.01,
}))"""


def begun(page: Any) -> None:
    """Wait until a clip inside of the page is heard."""
    until(
        page, "evalkit.heard() !== null && Number(document.querySelector('[data-playing] .player-seek')?.value) > 0.1"
    )
    page.evaluate(HEARD)
    page.wait_for_timeout(100)


def sweep(first: float) -> np.ndarray:
    """A tone that rises by 1,000 Hz each second, so that its frequency tells the position."""
    time = np.arange(round(SECONDS * RATE)) / RATE
    return np.repeat((0.25 * np.sin(2 * np.pi * (first * time + 500 * time**2)))[:, None], 2, axis=1).astype(np.float32)


STARTS = {"one": 500.0, "two": 5000.0, "reference": 10000.0}  # Hz


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Two systems, two prompts; the clips of the first prompt are sweeps."""
    folder = tmp_path_factory.mktemp("made")
    found = result(folder, captions={"p0": "a calm piano", "p1": EVIL}, levels={"two": 0.05})
    for name, first in STARTS.items():
        path, sha256 = written(folder / "sweeps" / f"{name} #1.wav", sweep(first))
        prefix, where = ("reference_", {"id": "p0"}) if name == "reference" else ("", {"id": "p0", "model": name})
        found = changed(found, where, **{f"{prefix}path": path, f"{prefix}sha256": sha256})
    return found


PAGES: dict[tuple[int, int, bool], str] = {}


def written_page(made: Result, budget: int, blind: bool) -> str:
    """The address of a page of a result; each is written once."""
    asked = (id(made), budget, blind)
    if asked not in PAGES:
        output = made.path / f"some folder {len(PAGES)}" / "report.html"
        output.parent.mkdir(parents=True)
        with without_plots():
            html = render(view([made], output, audio_bytes=budget, blind=blind))
        output.write_text(html, "utf-8")
        PAGES[asked] = output.as_uri()
    return PAGES[asked]


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:  # noqa: F811
    """Opens the page of a result as a file; no error may be left in its console."""
    errors: list[str] = []
    pages = []

    def open(made: Result, budget: int = ROOM, blind: bool = False, **context: Any) -> Any:
        page = browser.new_page(**context)
        pages.append(page)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.add_init_script(COUNTED)
        page.goto(written_page(made, budget, blind))
        return page

    yield open
    for page in pages:
        page.close()
    assert [error for error in errors if "ERR_FILE_NOT_FOUND" not in error] == []


def card(page: Any, id: str) -> Any:
    return page.locator(".clips-card").filter(has=page.locator(f'a[href="#prompt={id}"]'))


def place(found: dict[str, float]) -> tuple[str, float]:
    """Whose sweep is heard, and at which of its seconds."""
    name = max((name for name in STARTS if STARTS[name] - 100 <= found["hertz"]), key=STARTS.__getitem__)
    return name, (found["hertz"] - STARTS[name]) / 1000


def test_what_is_chosen_is_heard_at_the_position_that_is_shown(opened: Callable[..., Any], made: Result) -> None:
    page = opened(made)
    assert page.locator(".clips-counted").inner_text() == "6 of 6 clips are inside the page."
    assert page.evaluate("[decoded, elements.length, document.querySelectorAll('audio').length]") == [0, 0, 0]
    player = card(page, "p0")
    player.locator(".player-play").click()
    begun(page)
    offsets = []
    for key, name in (("1", "one"), ("2", "two"), ("3", "reference"), ("1", "one")):
        page.keyboard.press(key)
        page.wait_for_timeout(150)
        found = page.evaluate(HEARD)
        heard, at = place(found)
        assert heard == name
        assert at == pytest.approx(found["at"], abs=0.08)
        offsets.append(found["clock"] - at)
        assert player.locator('[aria-pressed="true"] .player-name').inner_text() == (
            "Reference" if name == "reference" else name
        )
    assert max(offsets) - min(offsets) < 0.08  # the position goes on as time does
    assert page.evaluate("decoded") == 3  # each once, and none of the other card
    page.keyboard.press("Space")
    shown = player.locator(".player-time").inner_text()
    page.wait_for_timeout(150)
    assert page.evaluate(HEARD)["decibels"] < -100
    assert player.locator(".player-time").inner_text() == shown


def test_keys_and_clicks_go_to_a_place(opened: Callable[..., Any], made: Result) -> None:
    page = opened(made)
    player = card(page, "p0")
    player.locator(".player-source").nth(1).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert player.locator(".player-time").inner_text() == "1.0 / 4.0 s"
    box = player.locator(".player-picture").nth(1).bounding_box()
    player.locator(".player-picture").nth(1).click(position={"x": box["width"] / 2, "y": 10})
    assert player.locator(".player-time").inner_text() == "2.0 / 4.0 s"
    assert player.locator('[aria-pressed="true"] .player-name').inner_text() == "two"
    player.locator(".player-play").click()
    until(page, "Number(document.querySelector('[data-playing] .player-seek')?.value) > 2.1")
    page.evaluate(HEARD)
    page.wait_for_timeout(100)
    found = page.evaluate(HEARD)
    heard, at = place(found)
    assert heard == "two"
    assert at == pytest.approx(found["at"], abs=0.08)
    assert at > 2.0


def test_one_player_plays_at_a_time(opened: Callable[..., Any], made: Result) -> None:
    page = opened(made)
    for id in ("p0", "p1"):
        card(page, id).locator(".player-play").click()
        begun(page)
    assert page.locator("[data-playing]").count() == 1
    assert card(page, "p0").locator(".player-play").get_attribute("aria-label") == "Play"
    assert page.evaluate(HEARD)["hertz"] == pytest.approx(442, abs=30)


def test_a_player_that_is_seen_no_more_is_silent(opened: Callable[..., Any], made: Result) -> None:
    page = opened(made)
    card(page, "p0").locator(".player-play").click()
    begun(page)
    page.evaluate("document.querySelector('[data-playing]').parentElement.hidden = true")
    until(page, "document.querySelector('[data-playing]') === null")
    page.wait_for_timeout(100)
    assert page.evaluate(HEARD)["decibels"] < -100


def test_levels_are_matched_until_they_are_not_wanted(opened: Callable[..., Any], made: Result) -> None:
    page = opened(made)
    player = card(page, "p1")
    shown = player.locator(".player-level").all_inner_texts()
    assert len(shown) == 3
    assert all(text.endswith("dB") for text in shown)
    player.locator(".player-play").click()
    begun(page)

    def level(key: str) -> float:
        page.keyboard.press(key)
        page.wait_for_timeout(200)
        return float(page.evaluate(HEARD)["decibels"])

    matched = level("2") - level("1")
    player.locator("[data-control=match]").click()
    assert player.locator("[data-control=match]").get_attribute("aria-pressed") == "false"
    unmatched = level("2") - level("1")
    quieter = 20 * math.log10(0.25 / 0.05)
    assert matched == pytest.approx(0, abs=2)  # equal loudness is not quite equal level: frequencies differ
    assert unmatched - matched == pytest.approx(-quieter, abs=1.5)


def test_linked_clips_switch_at_the_same_position(opened: Callable[..., Any], made: Result) -> None:
    page = opened(made, budget=0)
    assert page.locator(".clips-counted").inner_text() == "0 of 6 clips are inside the page, 6 are linked."
    assert page.evaluate("elements.length") == 0
    card(page, "p0").locator(".player-play").click()
    until(page, "elements[0]?.currentTime > 0.2")
    for key, name in (("2", "two #1.wav"), ("3", "reference #1.wav"), ("1", "one #1.wav")):
        page.keyboard.press(key)
        heard = f"({PLACES})().filter((one) => one.heard).map((one) => one.file).join() === '{name}'"
        until(page, heard)
        places = [one["at"] for one in page.evaluate(PLACES)]  # those heard before go on unheard
        assert len(places) >= 2
        assert max(places) - min(places) < 0.08
    page.keyboard.press("Space")
    until(page, f"({PLACES})().length === 0")
    assert page.evaluate("elements.length") == 3


def test_a_linked_file_that_is_gone_is_said(opened: Callable[..., Any], made: Result) -> None:
    page = opened(made, budget=0)
    moved = Path(str(made.clips.loc[made.clips["id"] == "p1", "path"].iloc[0]))
    lying = moved.rename(moved.with_suffix(".moved"))
    try:
        player = card(page, "p1")
        player.locator(".player-play").click()
        player.locator(".player-reason").wait_for()
        assert "has it been moved" in player.locator(".player-reason").inner_text()
        assert page.locator("[data-playing]").count() == 0
        page.keyboard.press("2")
        page.keyboard.press(" ")
        until(page, f"({PLACES})().some((one) => one.folder === 'two' && one.heard && one.at > 0.05)")
    finally:
        lying.rename(moved)


def test_a_clip_that_is_not_there_is_said_and_the_others_play(opened: Callable[..., Any], made: Result) -> None:
    lost = changed(made, {"id": "p0", "model": "one"}, status="missing", reason="no file of that name", sha256="")
    page = opened(changed(lost, {"id": "p0"}, kld=9.0))
    player = card(page, "p0")
    assert player.locator(".player-reason").inner_text() == "Cannot be played: missing: no file of that name"
    assert player.locator(".player-source").first.is_disabled()
    player.locator(".player-play").click()
    begun(page)
    assert place(page.evaluate(HEARD))[0] == "two"


def test_a_clip_ends_and_begins_again_where_that_is_asked_for(opened: Callable[..., Any], made: Result) -> None:
    page = opened(made)
    player = card(page, "p0")
    player.locator(".player-seek").fill("3.8")
    player.locator(".player-play").click()
    page.locator("[data-playing]").wait_for(state="detached", timeout=3000)
    assert player.locator("[role=status]").inner_text() == "Ended"
    page.keyboard.press("l")
    player.locator(".player-seek").fill("3.8")
    player.locator(".player-play").click()
    value = "Number(document.querySelector('[data-playing] .player-seek')?.value)"
    until(page, f"{value} > 3.8")
    until(page, f"{value} < 1 && {value} > 0.1")


def test_captions_stay_text(opened: Callable[..., Any], made: Result) -> None:
    page = opened(made)
    assert page.evaluate("window.evil") is None
    assert "<script>window.evil = 1</script>" in card(page, "p1").locator(".clips-caption").inner_text()
    assert "\\u202e" in card(page, "p1").locator(".clips-caption").inner_text()


def test_a_blind_page_names_nobody_until_it_is_revealed(opened: Callable[..., Any], made: Result) -> None:
    page = opened(made, blind=True)

    def read() -> str:
        return str(page.locator("#clips").aria_snapshot())

    for secret in ("one", "two", "Reference", "KLD", "worst", "dB"):
        assert re.search(rf"\b{secret}\b", read()) is None
    player = card(page, "p0")
    assert player.locator(".player-name").all_inner_texts() == ["Clip 1", "Clip 2", "Clip 3"]
    player.locator(".player-play").click()
    begun(page)
    order = []
    for key in "123":
        page.keyboard.press(key)
        page.wait_for_timeout(150)
        assert player.locator("[role=status]").inner_text() == f"Playing Clip {key}"
        order.append(place(page.evaluate(HEARD))[0].replace("reference", "Reference"))
    assert sorted(order) == ["Reference", "one", "two"]
    page.evaluate("delete document.body.dataset.blind; document.dispatchEvent(new CustomEvent('evalkit:blind'))")
    assert player.locator(".player-name").all_inner_texts() == order  # what was 2 is still 2
    assert "KLD" in read()


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1600, "light")])
def test_players_can_be_used_by_touch_and_by_a_screen_reader(
    opened: Callable[..., Any], made: Result, width: int, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = opened(made, viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
        "[...document.querySelectorAll('.player button')].map((one) => one.getBoundingClientRect())"
        ".filter((box) => box.height < 44 || box.width < 44).length"
    )
    assert small == 0
    if width == 360:  # a second look would take seconds and see the same
        found = Axe().run(page, "#clips").response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []


def test_a_page_without_clips_has_no_section(made: Result, tmp_path: Path) -> None:
    none = view([replace(made, clips=made.clips.iloc[:0])], tmp_path / "report.html")
    assert section(none) is None


def test_what_other_sections_play_is_in_the_data(made: Result, tmp_path: Path) -> None:
    found = section(view([made], tmp_path / "report.html", audio_bytes=ROOM))
    assert found is not None
    data = json.loads(json.dumps(found.data, allow_nan=False))
    assert data["systems"] == [{"name": "one", "role": "model"}, {"name": "two", "role": "model"}]
    assert [lane[:2] for lane in data["prompt-sounds"]["p0"]] == [[0, 1], [1, 1], ["reference", 1]]
    assert {lane[2] for lanes in data["prompt-sounds"].values() for lane in lanes} == set(data["sounds"])


def test_tones_are_what_they_say() -> None:
    assert tone(440.0, 1.0).shape == (RATE, 2)
