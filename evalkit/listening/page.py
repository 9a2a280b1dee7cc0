"""The page of a rater: one HTML file with all its sound, which knows clips by opaque names alone."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from evalkit.listening.answers import CHOICES as CHOSEN
from evalkit.listening.study import Axis, Study
from evalkit.page.inline import embedded, environment, hashed
from evalkit.report.literal import literal
from evalkit.store.provenance import installed

HEARD = 0.9  # the share of each clip that must have been played before a rater goes on

QUESTIONS: Mapping[Axis, str] = {
    "quality": "How good does each clip sound, as a piece of music?",
    "relevance": "How well does each clip fit the description?",
    "melody": "How closely does each clip follow the melody?",
}
PAIR_QUESTIONS: Mapping[Axis, str] = {
    "quality": "Which clip sounds better, as a piece of music?",
    "relevance": "Which clip fits the description better?",
    "melody": "Which clip follows the melody more closely?",
}
ABOUT: Mapping[Axis, Sequence[str]] = {
    "quality": (
        "Judge how good the music sounds: sound quality, noise and distortion, how convincing it is as music.",
        "Whether you like the style does not matter.",
    ),
    "relevance": (
        "Judge how well the music fits the description: instruments, genre, tempo, mood, whatever it names.",
        "How good the clip sounds, and whether you like the style, does not matter.",
    ),
    "melody": (
        "Judge how closely the music follows the melody: its notes and its rhythm, on whatever instruments.",
        "How good the clip sounds, and whether you like the style, does not matter.",
    ),
}
ANCHORS: Mapping[Axis, Sequence[str]] = {
    "quality": ("Bad", "Poor", "Fair", "Good", "Excellent"),
    "relevance": ("Not at all", "Little", "Partly", "Well", "Fully"),
    "melody": ("Not at all", "Little", "Partly", "Well", "Fully"),
}
CHOICES: Mapping[Axis, Sequence[str]] = {  # first, second, tie, both_bad
    "quality": ("A is better", "B is better", "No difference", "Both are bad"),
    "relevance": ("A fits better", "B fits better", "No difference", "Neither fits"),
    "melody": ("A is closer", "B is closer", "No difference", "Neither follows it"),
}


@dataclass(frozen=True)
class Practice:
    """What a rater gets used to the test with.

    Attributes:
        items: two clips, a good one and a bad one.
        prompt: what they are of.
        melody: the item of its melody; empty for none.
    """

    items: Sequence[str]
    prompt: str
    melody: str


def render(
    study: Study, session: str, practice: Practice, captions: Mapping[str, str], translations: Mapping[str, str]
) -> str:
    """Write the page of a session. Nothing in it says which system made which clip."""

    def page(items: Sequence[str], prompt: str, melody: str) -> dict[str, Any]:
        return {"items": list(items), **_beside(study, captions[prompt], translations.get(prompt, ""), melody)}

    of_items, of_prompts = study.facts["items"], study.facts["prompts"]
    shown = [(items, of_items[items[0]]["prompt"]) for items in study.sessions[session]["pages"]]
    pages = [page(items, prompt, of_prompts[prompt].get("melody", "")) for items, prompt in shown]
    first = page(practice.items, practice.prompt, practice.melody)
    data = {
        "study": study.id, "session": session, "method": study.method, "scale": study.facts["scale"],
        "heard": HEARD, "words": _words(study), "practice": first, "pages": pages,
    }  # fmt: skip
    named = [item for one in [first, *pages] for item in [*one["items"], one.get("melody")] if item]
    style, script = static("css"), static("js")
    return str(
        environment("evalkit.listening")
        .get_template("page.html.j2")
        .render(
            data=embedded(data),
            sounds={item: base64.b64encode(study.sound(item).read_bytes()).decode() for item in dict.fromkeys(named)},
            style=Markup(style),
            script=Markup(script),
            policy=policy(),
            version=installed("evalkit"),
        )
    )


def policy() -> str:
    """What a page may load and run: its own script and style, sound out of itself, and answers to where it is from."""
    script, style = hashed(static("js")), hashed(static("css"))
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; img-src data:; media-src blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'"
    )


@cache
def static(ending: str) -> str:
    """What a page's only script or style holds; the style begins with that of reports."""
    own = files("evalkit.listening").joinpath("static", f"listen.{ending}").read_text("utf-8")
    if ending != "css":
        return own
    return files("evalkit.page").joinpath("static", "00-page.css").read_text("utf-8") + own


def _words(study: Study) -> dict[str, Any]:
    """What raters read, as the page's script does."""
    return {
        "question": (PAIR_QUESTIONS if study.pairs else QUESTIONS)[study.axis],
        "about": ABOUT[study.axis],
        "anchors": ANCHORS[study.axis],
        "choices": list(zip(CHOSEN, CHOICES[study.axis], strict=True)) if study.pairs else [],
    }


def _beside(study: Study, caption: str, translation: str, melody: str) -> dict[str, Any]:
    """What is shown beside the clips of a prompt: only what raters need for their judgement."""
    texts = {"caption": caption, "translation": translation} if study.axis == "relevance" else {}
    shown = {name: literal(text) for name, text in texts.items() if text or name == "caption"}
    return {**shown, **({"melody": melody} if melody else {})}
