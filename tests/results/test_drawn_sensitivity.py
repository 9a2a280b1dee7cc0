"""The map of what metrics notice: each cell says what the table says, and is read without colours too."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest

from evalkit.results.plots.drawing import BAD, STEPS
from evalkit.results.plots.plot import NARROW, WIDE, Plot
from evalkit.results.plots.sensitivity import plot

from .drawn import overlapping, texts
from .sensed import table

LETTERS = {
    "fad": {"low-pass": ".www", "noise": "..", "mono": ".b.", "drums gone": "w"},
    "chroma": {"low-pass": "w.b.", "noise": "??", "mono": "www"},
    "fad_musicnn": {"low-pass": "---w", "noise": ".w", "mono": "==="},
}


def made(**changes: Any) -> Plot:
    about: dict[str, Any] = {"fad": {"weights": "random"}, "fad_musicnn": {"weights": "trained"}, **changes}
    found = plot(table(LETTERS, **about))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def wide() -> Any:
    return made().figure(WIDE)


@pytest.fixture(scope="module")
def narrow() -> Any:
    return made().figure(NARROW)


def cells(figure: Any) -> dict[str, Any]:
    (axes,) = figure.axes
    return {one.get_gid(): one for one in axes.patches if one.get_gid()}


@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_cells_have_the_state_and_the_step_that_the_table_says(width: str, request: pytest.FixtureRequest) -> None:
    found = cells(request.getfixturevalue(width))
    states = {
        "seen-fad-0", "blind-fad-1", "better-fad-2", "seen-fad-3", "partly-chroma-0", "unjudged-chroma-1",
        "seen-chroma-2", "seen-fad_musicnn-0", "seen-fad_musicnn-1", "blind-fad_musicnn-2", "better",
    }  # fmt: skip
    assert set(found) == states  # and nothing where nothing was measured

    def face(name: str) -> str:
        from matplotlib.colors import to_hex

        return to_hex(found[name].get_facecolor())

    assert face("seen-fad-3") == face("seen-chroma-2") == STEPS[-1]  # the weakest strength that was measured
    assert face("seen-fad_musicnn-0") == STEPS[0]  # the strongest, though no other was measured of it
    assert found["better-fad-2"].get_edgecolor() == found["better"].get_edgecolor()
    assert found["blind-fad-1"].get_facecolor()[3] == 0


def test_strengths_stand_in_cells_and_below_them_with_their_units(wide: Any) -> None:
    said = Counter(text.get_text() for text in texts(wide))
    assert said["8 kHz"] == 2 and said["(12 kHz)"] == 1 and said["500 Hz*"] == 1 and said["?"] == 1
    for unit in ("SNR", "of the side"):
        assert said[unit] == 1
    assert said["the weakest"] == said["the strongest"] == 1
    assert "*: weaker ones were not measured." in made().caption


def test_narrow_cells_have_numbers_of_strengths_and_the_legend_says_so(narrow: Any) -> None:
    said = Counter(text.get_text() for text in texts(narrow))
    assert said["(1)"] == 1 and said["4*"] == 1 and said["2"] == 3
    assert "sees it from there on, 1 is the weakest" in said and "8 kHz" not in said


def test_random_weights_lie_on_a_ground_of_their_own_below_the_others(wide: Any) -> None:
    headings = [text for text in texts(wide) if text.get_gid() == "heading"]
    assert [text.get_text() for text in headings] == [
        "Trained weights", "No weights", "Random weights: real ones differ", "Strengths that were measured",
    ]  # fmt: skip
    assert [text.get_bbox_patch() is not None for text in headings] == [False, False, True, False]


def test_the_legend_has_what_there_is_and_nothing_else(wide: Any) -> None:
    every = {"calls some strength better", "blind", "(…) not at the greatest", "no interval", "goes back and forth"}
    assert every <= {text.get_text() for text in texts(wide)}
    found = plot(table({"fad": {"mono": ".ww"}}))
    assert found is not None
    said = [text.get_text() for text in texts(found.figure(NARROW))]
    assert every.isdisjoint(said) and not any("Random" in text for text in said)


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_no_label_hides_another_however_long_names_are(width: float) -> None:
    names = {
        f"metric_{number}": f"SongEval: naturalness of vocal breathing and phrasing {number}" for number in range(3)
    }
    own = {"mono": "bww", "low-pass": "wwww"} | {f"another degradation {number}": "w" for number in range(10)}
    letters = dict.fromkeys(names, own)
    about = {name: {"title": title} for name, title in names.items()}
    found = plot(table(letters, **about))
    assert found is not None and overlapping(found.figure(width)) == []


def test_names_that_matplotlib_would_obey_are_text() -> None:
    found = plot(table({"fad": {"$x$": "w", r"\frac": "."}}, fad={"title": "$x$\n"}))
    assert found is not None
    assert r"\$x\$" in [text.get_text().strip() for text in texts(found.figure(NARROW))]


def test_what_is_seen_at_first_sight_is_said_in_words() -> None:
    assert made().said == "3 metrics and 4 degradations: 6 of 9 pairs noticed. What most are blind to: mono (2)."
    assert made().caption.startswith("n = 100. A strength is seen where the paired 95 % interval")
    assert "about one strength in 40" in made().caption
    assert plot(table({})) is None


def test_colours_of_steps_become_darker_evenly_so_that_gray_says_the_same() -> None:
    def luminance(colour: str) -> float:
        return sum(w * (int(colour[i : i + 2], 16) / 255) ** 2.2 for w, i in ((0.2126, 1), (0.7152, 3), (0.0722, 5)))

    found = [luminance(one) for one in STEPS]
    assert all(before > 1.3 * after for before, after in itertools.pairwise(found))
    assert BAD not in STEPS
