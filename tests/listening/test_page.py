"""A session in a browser, from the first page to the answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit.listening.answers import mistakes
from evalkit.listening.study import Study
from tests.browser import browser  # noqa: F401
from tests.listening.made import result, study
from tests.listening.test_serving import serve, stored

SECONDS = 0.5  # of each clip

# clips are played four times as fast, as a session takes its time
FAST = """
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () { this.playbackRate = window.speed || 4; return play.call(this); };
"""

# whether just those clips play whose buttons say so
PLAYING = """(names) => {
  const pressed = [...document.querySelectorAll("[aria-pressed=true]")];
  return JSON.stringify(pressed.map((button) => button.innerText)) === JSON.stringify(names);
}"""

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Study]:
    folder = tmp_path_factory.mktemp("studies")
    found = [str(result(folder, prompts=3, seconds=SECONDS, melodies=True).path)]
    asked: dict[str, dict[str, Any]] = {
        "rating": {}, "pairs": {"control": False}, "melody": {"method": "rating", "axis": "melody"},
    }  # fmt: skip
    return {
        name: study(folder / name, found, **{"method": name, "prompts": 2, **one}).study for name, one in asked.items()
    }


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:  # noqa: F811
    """Open pages of one browser context, and see that nothing is wrong with any."""
    contexts, wrong = [], []

    def opened(url: str, **options: Any) -> Any:
        context = browser.new_context(accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.add_init_script(FAST)
        page.set_default_timeout(10_000)
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def url(found: Study, session: str = "r01") -> str:
    return found.page(session).as_uri()


def hear(page: Any, many: int | None = None) -> None:
    """Play clips to their ends."""
    for player in page.locator(".listen-player").all()[:many]:
        player.locator("button").click()
        player.locator("[data-done]").wait_for()
        page.wait_for_function("() => !document.querySelector('.listen-player [aria-pressed=true]')")


def answer(page: Any) -> None:
    for number, slider in enumerate(page.get_by_role("slider").all()):
        slider.fill(str(30 + number))
    if page.get_by_role("radio").count():
        page.get_by_role("radio").nth(1).check()


def onwards(page: Any) -> None:
    page.locator(".listen-next").click()


def press(page: Any) -> None:
    """Press the button to the next page where it is barred, as a keyboard can."""
    page.locator(".listen-next").press("Enter")


def begin(page: Any, name: str = "Ada") -> None:
    """From the welcome to the first page that counts."""
    page.get_by_label("Your name or a code").fill(name)
    page.get_by_label("What do you listen with?").select_option("headphones")
    onwards(page)
    hear(page)
    onwards(page)
    hear(page)
    answer(page)
    onwards(page)


def headline(page: Any) -> str:
    return page.locator("h1").inner_text()


@pytest.mark.parametrize("method", ["rating", pytest.param("pairs", marks=slow)])
def test_from_the_first_page_to_downloaded_answers(
    open_page: Any, studies: dict[str, Study], method: str, tmp_path: Path
) -> None:
    found = studies[method]
    page = open_page(url(found), viewport={"width": 1280, "height": 900})
    begin(page)
    pages = found.sessions["r01"]["pages"]
    for number in range(len(pages)):
        assert page.locator("#listen-where").inner_text() == f"Page {number + 1} of {len(pages)}"
        hear(page)
        answer(page)
        onwards(page)
    assert headline(page) == "Thank you!"
    with page.expect_download() as download:
        page.get_by_role("button", name="Save my answers as a file").click()
    assert download.value.suggested_filename == f"answers-{found.id[:8]}-r01.json"
    download.value.save_as(tmp_path / "answers.json")
    given = json.loads((tmp_path / "answers.json").read_text("utf-8"))
    expected = {"kind": "listening answers", "schema": 1, "study": found.id, "session": "r01", "rater": "Ada",
                "finished": True, "headphones": True}  # fmt: skip
    assert {name: given[name] for name in expected} == expected
    assert given["started"] < given["ended"]
    if method == "rating":
        assert [(one["page"], one["item"], one["rating"]) for one in given["answers"]] == [
            (number, item, 30 + place) for number, items in enumerate(pages) for place, item in enumerate(items)
        ]
        assert all(0.9 <= one["heard"] <= 1 and one["plays"] == 1 and one["seconds"] > 0 for one in given["answers"])
    else:
        assert [(one["page"], one["items"], one["choice"]) for one in given["answers"]] == [
            (number, items, "second") for number, items in enumerate(pages)
        ]
        assert all(min(one["heard"]) >= 0.9 and one["plays"] == [1, 1] for one in given["answers"])
    played = [event[2] for event in given["events"] if event[1] == "play"]
    assert played[3:] == [item for items in pages for item in items]  # behind the practice
    assert [event[0] for event in given["events"]] == sorted(event[0] for event in given["events"])


def test_nobody_goes_on_who_has_not_heard_and_rated_everything(open_page: Any, studies: dict[str, Study]) -> None:
    page = open_page(url(studies["rating"]))
    press(page)
    assert headline(page) == "Thank you for listening"
    assert page.evaluate("document.activeElement.tagName") == "SELECT"
    begin(page)
    question, todo = headline(page), page.locator(".listen-todo")
    assert todo.inner_text() == "Still to do: hear A to its end, hear B to its end, hear C to its end …"
    answer(page)
    press(page)
    assert headline(page) == question
    assert page.evaluate("document.activeElement.innerText") == "Play A"
    assert "hear A to its end" in page.locator("#listen-status").inner_text()
    hear(page, 3)
    assert todo.inner_text() == "Still to do: hear D to its end."
    page.evaluate("document.querySelectorAll('.listen-player button')[3].click()")
    page.evaluate("document.querySelectorAll('.listen-player button')[3].click()")  # a moment is not all of it
    press(page)
    assert page.locator("#listen-where").inner_text().startswith("Page 1 of")
    hear(page)
    onwards(page)
    assert page.locator("#listen-where").inner_text().startswith("Page 2 of")
    sliders = page.get_by_role("slider")
    assert sliders.first.get_attribute("aria-valuetext") == "not rated yet"
    hear(page)
    assert todo.inner_text() == "Still to do: rate A, rate B, rate C …"
    sliders.first.press("Enter")  # the middle is an answer too, if it is meant
    assert sliders.first.get_attribute("aria-valuetext") == "50, Partly"
    assert todo.inner_text() == "Still to do: rate B, rate C, rate D."


def test_a_reload_loses_nothing(open_page: Any, studies: dict[str, Study]) -> None:
    page = open_page(url(studies["rating"]))
    begin(page, "Bo")
    hear(page, 2)
    page.evaluate("Date.now = () => 0")  # somebody sets the clock back
    page.get_by_role("slider").first.fill("77")
    page.reload()
    assert page.locator("#listen-where").inner_text().startswith("Page 1 of")
    assert page.get_by_role("slider").first.input_value() == "77"
    assert page.locator("[data-done]").count() == 2
    assert page.locator(".listen-todo").inner_text().startswith("Still to do: hear C to its end, hear D to its end")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save so far").click()
    given = json.loads(Path(download.value.path()).read_text("utf-8"))
    assert (given["rater"], given["finished"], [one["rating"] for one in given["answers"]]) == ("Bo", False, [77])
    assert not list(mistakes(studies["rating"], given))


@pytest.mark.parametrize("method", [pytest.param("rating", marks=slow), "pairs"])
def test_answers_go_to_the_server_as_they_are_given(open_page: Any, studies: dict[str, Study], method: str) -> None:
    found = studies[method]
    with serve(found) as server:
        page = open_page(server.links()["r02"])
        begin(page)
        pages = found.sessions["r02"]["pages"]
        for number in range(len(pages)):
            hear(page)
            answer(page)
            with page.expect_response(lambda response: response.request.method == "POST") as sent:
                onwards(page)
            assert sent.value.status == 200
            kept = stored(found, "r02")
            assert {one["page"] for one in kept["answers"]} == set(range(number + 1))
        page.locator("#listen-sent[data-tone=good]").wait_for()
        assert kept["finished"] and kept["session"] == "r02"
        page.get_by_label("Is there anything to say").fill("Nice.")
        with page.expect_response(lambda response: response.request.method == "POST"):
            page.get_by_label("Is there anything to say").blur()
        assert stored(found, "r02")["comment"] == "Nice."
    other = found.folder / "answers" / "r02.json"
    assert json.loads(other.read_text())["answers"] == kept["answers"]


def test_keys_play_clips_and_only_one_plays_at_a_time(open_page: Any, studies: dict[str, Study]) -> None:
    page = open_page(url(studies["melody"]))
    begin(page)
    buttons = page.locator(".listen-player button")
    assert buttons.first.inner_text() == "Play the melody"
    assert page.locator(".listen-todo").inner_text().startswith("Still to do: hear the melody to its end, hear A")
    page.evaluate("window.speed = 0.1")
    for key, playing in (("2", ["Pause B"]), ("1", ["Pause A"]), ("1", [])):
        page.keyboard.press(key)
        page.wait_for_function(PLAYING, arg=playing)
    slider = page.get_by_role("slider").first
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "51, Partly"


@pytest.mark.parametrize(
    ("name", "scheme", "width"),
    [
        ("rating", "light", 360),
        ("pairs", "dark", 1600),
        pytest.param("melody", "light", 1600, marks=slow),
        pytest.param("rating", "dark", 1600, marks=slow),
        pytest.param("pairs", "light", 360, marks=slow),
        pytest.param("melody", "dark", 360, marks=slow),
    ],
)
def test_everybody_can_use_it(open_page: Any, studies: dict[str, Study], name: str, scheme: str, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(url(studies[name]), viewport={"width": width, "height": 800}, color_scheme=scheme)
    key = f"evalkit:{studies[name].id}:r01"
    for step in (0, 1, 2, 3, 3 + len(studies[name].sessions["r01"]["pages"])):
        state = json.dumps({"at": step, "events": [], "started": "2026-01-01"})
        page.add_init_script(f"localStorage.setItem({json.dumps(key)}, {json.dumps(state)})")
        page.reload()
        assert page.locator("#listen-where").is_visible() == (step == 3)
        found = Axe().run(page, options={"resultTypes": ["violations"]})
        serious = [one for one in found.response["violations"] if one["impact"] in ("serious", "critical")]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_captions_stay_text(open_page: Any, studies: dict[str, Study]) -> None:
    page = open_page(url(studies["rating"]))
    begin(page)
    assert re.fullmatch(
        r'A <script>alert\("caption"\)</script> waltz, number \d', page.locator("blockquote p").nth(1).inner_text()
    )
