"""Making a listening test: who hears what, all clips at one loudness, and a page for each rater."""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit import audio
from evalkit.errors import EvalkitError
from evalkit.listening import design, sounds
from evalkit.listening.design import Page, Plan
from evalkit.listening.material import PRACTICE, Choice, Heard, Material, systems_of
from evalkit.listening.page import Practice, policy, render
from evalkit.listening.sounds import Measured, Piece
from evalkit.listening.study import AUDIO, KIND, PAGES, SCALE, SCHEMA, STUDY, Axis, Method, Study
from evalkit.progress import progress
from evalkit.store.files import is_empty_or_new, write_folder, write_json
from evalkit.store.seeds import keyed

PROMPTS = 20  # where nothing is said
TIMES_HEARD = 1.5  # how often a rater plays a clip, with the pauses of a few seconds for thought
THOUGHT = 4.0
FOR_EVER = 10**6  # pages
THREADS = 2


@dataclass(frozen=True)
class Asked:
    """What test is made.

    Attributes:
        axis, method: what raters are asked, and how.
        raters, prompts: how many; None for as many as are needed, and as there is time for.
        minutes: that a session may last.
        votes: how often at least every system of every prompt is heard, if all sessions are finished.
        seed: of who hears what.
        level: loudness of all clips, in LUFS.
        seconds: that clips are cut to at most.
        on_a_page: how many clips are rated on one page at most.
        reference, control: whether hidden references and hidden bad controls are among the clips.
    """

    axis: Axis
    method: Method
    raters: int | None = None
    prompts: int | None = None
    minutes: float = 25.0
    votes: int = 5
    seed: int = 0
    level: float = -14.0
    seconds: float = 10.0
    on_a_page: int = 8
    reference: bool = True
    control: bool = True

    def plan(self, systems: int, prompts: int, votes: int) -> Plan:
        """Plan the blocks of a test of some size."""
        if self.method == "pairs":
            return design.comparisons(systems, prompts, votes)
        return design.ratings(systems, prompts, votes, self.on_a_page)

    def pages(self, systems: int, seconds: float) -> int:
        """How many pages of clips of some length fit into a session."""
        clips = 2 if self.method == "pairs" else min(systems, self.on_a_page)
        return int(self.minutes * 60 / (clips * (TIMES_HEARD * min(seconds, self.seconds) + THOUGHT)))


@dataclass(frozen=True)
class Made:
    """A study that was made, and what must be said of it."""

    study: Study
    notes: Sequence[str]


def make(records: Sequence[str], asked: Asked, output: Path) -> Made:
    """Make a listening test of some records in a new folder.

    Raises EvalkitError for records that cannot be listened to, a test that is too large for its raters, and a folder
    that holds something already.
    """
    systems, given = systems_of(records)
    choice = Choice(systems, asked.axis, asked.seed, asked.reference)
    many = len(systems) + choice.references + asked.control
    prompts, raters, plan = sized(asked, many, len(choice.available), choice.seconds)
    material = choice.material(prompts, asked.control, given)
    why = f"the references came from the pack '{choice.pack}', without audio" if choice.pack else "no references"
    notes = [] if choice.references or not asked.reference else [f"{why}: none is hidden among the clips"]
    if len(material.prompts) == prompts:
        notes.append(
            "no prompt is left for practice: raters practise with a good and a bad clip of a prompt of the test, and "
            "know those when they rate them" + (f": --prompts {prompts - 1} leaves one" if prompts > 1 else "")
        )
    rng = keyed("listening", asked.seed, asked.axis, asked.method, prompts, raters)
    order = design.pair_sessions if asked.method == "pairs" else design.rating_sessions
    sessions = order(plan, raters, rng)
    folder = output.expanduser().absolute()
    if not is_empty_or_new(folder):
        raise EvalkitError(f"--output {folder}: something is there: name a new folder")
    write_folder(folder, lambda partial: notes.extend(_write(partial, asked, material, prompts, sessions)))
    return Made(Study.load(folder), notes)


def sized(asked: Asked, systems: int, available: int, seconds: float) -> tuple[int, int, Plan]:
    """Choose how many prompts and raters there are, and plan what they hear; EvalkitError where it does not fit."""
    if not available:
        raise EvalkitError("no prompt has a usable clip of every system: see the table's column of clips")
    pages = asked.pages(systems, seconds)

    def fits(prompts: int, votes: int = asked.votes, pages: int = pages, on_a_page: int = asked.on_a_page) -> bool:
        needed = replace(asked, on_a_page=on_a_page).plan(systems, prompts, votes).raters(pages)
        return 0 < needed <= (asked.raters or needed)

    if pages < asked.plan(systems, 1, asked.votes).pages:
        raise EvalkitError(f"--minutes {asked.minutes:g} are too few for one page: give more")
    if asked.prompts is not None and asked.prompts > available:
        raise EvalkitError(f"--prompts {asked.prompts}: only {available} have a usable clip of every system")
    spare = max(1, available - PRACTICE)
    most = min(spare, (asked.raters or 0) * pages)  # each is heard of on one page at least
    if asked.prompts is None:
        prompts = min(spare, PROMPTS) if asked.raters is None else _most(fits, most)
    else:
        prompts = asked.prompts
    if asked.raters is not None and (prompts < 1 or not fits(prompts)):
        wanted = max(prompts, 1)
        tried = [asked.prompts] if asked.prompts else range(1, min(most, PROMPTS) + 1)

        def helps(*changes: int) -> bool:
            return any(fits(prompts, *changes) for prompts in tried)

        whole = replace(asked, on_a_page=systems).pages(systems, seconds)
        fitting, votes = _most(fits, most), next((n for n in range(asked.votes - 1, 0, -1) if helps(n)), 0)
        ways = [
            f"at most --prompts {fitting}" if 0 < fitting < prompts else "",
            f"--raters {asked.plan(systems, wanted, asked.votes).raters(pages)}",
            "more --minutes" if helps(asked.votes, FOR_EVER) else "",
            f"--votes {votes}" if votes else "",
            f"--on-a-page {systems}" if asked.on_a_page < systems and helps(asked.votes, whole, systems) else "",
        ]
        raise EvalkitError(
            f"{asked.raters} raters of {asked.minutes:g} minutes are too few for {wanted} "
            f"prompt{'s' if wanted > 1 else ''} of {systems} systems: give {' or '.join(filter(None, ways))}"
        )
    votes = asked.votes
    while asked.raters is not None and fits(prompts, votes + 1):
        votes += 1
    plan = asked.plan(systems, prompts, votes)
    return prompts, asked.raters or plan.raters(pages), plan


def _most(fits: Callable[[int], bool], available: int) -> int:
    """The most prompts that fit; 0 for none."""
    return next((prompts for prompts in range(available, 0, -1) if fits(prompts)), 0)


def _write(
    folder: Path, asked: Asked, material: Material, prompts: int, sessions: Sequence[Sequence[Page]]
) -> list[str]:
    """Write all files of a study; returns what must be said of it."""
    chosen, rest = material.prompts[:prompts], material.prompts[prompts:] or material.prompts[:1]
    names = _names(len(sessions))
    pieces: dict[str, Piece] = {}
    items: dict[tuple[int, int], str] = {}
    longest: dict[str, float] = {}
    facts: dict[str, dict[str, Any]] = {}
    for place, prompt in enumerate(chosen):
        for number, system in enumerate(material.systems):
            item = secrets.token_hex(6)
            items[place, number], pieces[item] = item, system.pieces[prompt]
            facts[item] = {"prompt": prompt, "system": system.name}
            if system.of:
                facts[item]["of"] = system.of[prompt]
            longest[item] = _length(material, prompt, asked.seconds)
    melodies = {prompt: secrets.token_hex(6) for prompt in chosen} if material.melodies else {}
    practice = Practice(
        items=[secrets.token_hex(6), secrets.token_hex(6)],
        prompt=rest[0],
        melody=secrets.token_hex(6) if material.melodies else "",
    )
    for item, system in zip(practice.items, _best_and_worst(material.systems), strict=True):
        pieces[item], longest[item] = system.pieces[rest[0]], _length(material, rest[0], asked.seconds)
    if material.melodies:
        for prompt, item in [*melodies.items(), (rest[0], practice.melody)]:
            pieces[item], longest[item] = material.melodies[prompt], asked.seconds
    measured, level, quieter = _sounds(folder, pieces, longest, asked.level)
    quieter = [item for item in quieter if item in facts]
    for item, fact in facts.items():
        fact.update(_levels(measured[item], level))
    pages = {
        name: [[items[place, system] for system in page] for place, page in own]
        for name, own in zip(names, sessions, strict=True)
    }
    made = Study(
        folder,
        {
            "kind": KIND, "schema": SCHEMA, "study": secrets.token_hex(16), "axis": asked.axis, "method": asked.method,
            "scale": list(SCALE), "seed": asked.seed, "level": level, "level_asked": asked.level,
            "seconds": asked.seconds, "votes": _votes(pages, facts),
            "quieter": quieter,
            **material.about, "policy": policy(), "records": list(material.records),
            "systems": {
                system.name: {
                    "role": system.role, "control": system.control, "row": system.row, "path": system.path,
                    "sha256": system.sha256, "scores": dict(system.scores or {}),
                }
                for system in material.systems
            },
            "prompts": {
                prompt: {
                    "caption": material.captions[prompt], **({"melody": melodies[prompt]} if melodies else {}),
                    **({"translation": material.translations[prompt]} if prompt in material.translations else {}),
                }
                for prompt in chosen
            },
            "items": facts,
            "practice": {"prompt": practice.prompt, "items": list(practice.items), "melody": practice.melody},
            "sessions": {name: {"pages": own} for name, own in pages.items()},
        },
    )  # fmt: skip
    (folder / PAGES).mkdir()
    with progress("pages", len(names), "pages") as advance:
        for name in names:
            text = render(made, name, practice, material.captions, material.translations)
            (folder / PAGES / f"{name}.html").write_text(text, "utf-8")
            advance(1)
    write_json(folder / STUDY, made.facts)
    return _said(asked, level, quieter, facts)


def _best_and_worst(systems: Sequence[Heard]) -> tuple[Heard, Heard]:
    """What raters hear first, so that they know how wide the scale is."""
    best = next((system for system in systems if system.role == "reference"), systems[0])
    worst = next((system for system in systems if system.role == "control"), systems[-1])
    return best, worst


def _names(many: int) -> list[str]:
    width = max(2, len(str(many)))
    return [f"r{number:0{width}}" for number in range(1, many + 1)]


def _length(material: Material, prompt: str, seconds: float) -> float:
    """How long the clips of a prompt are at most: none is longer than another one, which would tell them apart."""
    found = [system.pieces[prompt].seconds for system in material.systems]
    return min([seconds, *(one for one in found if one is not None and one > 0)])


def _sounds(
    folder: Path, pieces: Mapping[str, Piece], longest: Mapping[str, float], asked: float
) -> tuple[dict[str, Measured], float, list[str]]:
    """Bring all clips to one loudness, write them, and return how they were, the loudness, and which are quieter."""

    def measured(item: str) -> Measured:
        found = sounds.measure(pieces[item].read(longest[item]))
        advance(1)
        return found

    def written(item: str) -> None:
        part = pieces[item].read(longest[item])
        mp3 = audio.as_mp3(sounds.levelled(part, found[item].gain_db(level)))
        (folder / AUDIO / f"{item}.mp3").write_bytes(mp3)
        advance(1)

    (folder / AUDIO).mkdir()
    with ThreadPoolExecutor(THREADS) as pool:
        with progress("measuring loudness", len(pieces), "clips") as advance:
            found = dict(zip(pieces, pool.map(measured, pieces), strict=True))
        level, quieter = sounds.common_level(found, asked)
        with progress("encoding", len(pieces), "clips") as advance:
            list(pool.map(written, pieces))
    return found, level, quieter


def _levels(measured: Measured, level: float) -> dict[str, Any]:
    silent = not math.isfinite(measured.loudness)
    gain = measured.gain_db(level)
    return {
        "seconds": round(measured.seconds, 3),
        "gain_db": round(gain, 2),
        "loudness": None if silent else round(measured.loudness + gain, 2),
    }


def _votes(pages: Mapping[str, Sequence[Sequence[str]]], items: Mapping[str, Any]) -> int:
    counts = Counter(item for own in pages.values() for page in own for item in page)
    return min(counts[item] for item in items)


def _said(asked: Asked, level: float, quieter: Sequence[str], facts: Mapping[str, Any]) -> list[str]:
    notes = []
    if level < asked.level - 0.01:
        notes.append(f"all clips are at {level:.1f} LUFS, not {asked.level:g}: the peaks of some would have clipped")
    if quieter:
        names = ", ".join(sorted({facts[item]["system"] for item in quieter}))
        notes.append(f"{len(quieter)} clips are quieter than the others, as their peaks would have clipped: {names}")
    if silent := [item for item, fact in facts.items() if fact["loudness"] is None]:
        names = ", ".join(sorted({facts[item]["system"] for item in silent}))
        notes.append(f"{len(silent)} clips are silent, and stay so: {names}")
    return notes
