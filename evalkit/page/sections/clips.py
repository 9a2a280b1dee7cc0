"""Clips to look at and listen to: cards of the prompts that say most, and the sound of all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalkit.page.choice import Choice, choose, makers_of
from evalkit.page.inline import written
from evalkit.page.section import Section
from evalkit.page.sound import GONE, key, sounds
from evalkit.page.sources import REFERENCE, Source, Sources, sources
from evalkit.page.view import View
from evalkit.report import numbers
from evalkit.results.plots.plot import Metric

ORDER = 30

LANES = 10  # clips of a card; more are among all clips


def section(view: View) -> Section | None:
    """Write the cards; what their players, and those of other sections, play is in the section's data."""
    found = sources(view)
    if not found.prompts:
        return None
    chosen = choose(view, found)
    shown = [_lanes(found, choice) for choice in chosen]
    first = [source.clip for lanes in shown for source in lanes]
    made = sounds(
        first, [source.clip for lanes in found.prompts.values() for source in lanes], view.output, view.audio_bytes
    )
    more = [len(found.prompts[choice.id]) - len(lanes) for choice, lanes in zip(chosen, shown, strict=True)]
    known, keys = view.metrics, _keys(found)
    every = [key for lanes in keys.values() for _, _, key in lanes]
    body = written(
        "clips.html.j2",
        cards=[
            (choice, found.captions[choice.id], found.tags.get(choice.id, []), left)
            for choice, left in zip(chosen, more, strict=True)
        ],
        counted=made.counted(every),
        reasons={reason: number for reason, number in made.reasons(every).items() if reason != GONE},
        only_moved=bool(view.gone),
    )
    return Section(
        "clips",
        "Clips",
        body,
        data={
            "sounds": made.entries,
            "systems": [{"name": name, "role": role} for name, role in found.systems],
            "prompt-sounds": keys,
            "clips": {
                "metrics": [metric.arrow for metric in known],
                "cards": [
                    [_source(source, known, choice) for source in lanes]
                    for choice, lanes in zip(chosen, shown, strict=True)
                ],
            },
        },
        blind=True,
    )


def _lanes(found: Sources, choice: Choice) -> list[Source]:
    """The clips of a card: one of each system, models before calibration rows, and then the reference."""
    models: dict[int, Source] = {}
    references = []
    for source in found.prompts[choice.id]:
        if source.maker == REFERENCE:
            references.append(source)
        elif source.maker not in models or source.sample == choice.sample:
            models[source.maker] = source
    kept = sorted(models.values(), key=lambda source: _calibration(found, source))
    return [*kept[: LANES - len(references)], *references]


def _calibration(found: Sources, source: Source) -> bool:
    return source.maker != REFERENCE and found.systems[source.maker][1] == "calibration"


def _source(source: Source, known: Sequence[Metric], choice: Choice) -> dict[str, Any]:
    """A lane of a card, JSON-like: whose clip, its key, and its values as text, with those marked that chose it."""
    if source.maker == REFERENCE:
        return {"system": source.maker, "key": key(source.clip), "scores": []}
    why = makers_of(choice.reasons)
    scores = [
        {"text": numbers.number(source.values.get(metric.name)), "why": why.get((source.maker, metric.name), "")}
        for metric in known
    ]
    return {"system": source.maker, "key": key(source.clip), "scores": scores}


def _keys(found: Sources) -> dict[str, list[list[Any]]]:
    return {
        prompt: [[source.maker, source.sample, key(source.clip)] for source in lanes]
        for prompt, lanes in found.prompts.items()
    }
