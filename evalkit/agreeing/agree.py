"""The whole of `evalkit agree`: read what people said and what metrics measured, match them, and compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.agreeing import layouts
from evalkit.agreeing.clips import over_clips
from evalkit.agreeing.heard import comparable
from evalkit.agreeing.layouts import Asked
from evalkit.agreeing.matching import (
    Heard,
    Matched,
    Metric,
    clip_values,
    heard_of,
    match,
    metrics,
    rows_of,
    sides,
    unmatched_clips,
)
from evalkit.agreeing.opinions import Opinions
from evalkit.agreeing.systems import judged_by, of_people, over_systems, reliability
from evalkit.errors import EvalkitError
from evalkit.listening.gathered import Choices, Ratings
from evalkit.progress import progress
from evalkit.results.files import RESULT
from evalkit.results.folders import MANIFEST, read_manifest
from evalkit.stats import crossed
from evalkit.stats.crossed import Draws
from evalkit.stats.rank_agreement import LEAST

LEVEL, RESAMPLES, SEED = 0.95, 1000, 0
OF_CLIPS = 300  # draws, which serve correlations over clips

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Agreement:
    """How metrics agree with what people said.

    Attributes:
        opinions: of the matched systems.
        systems: one row per system: its name, the row of a result, how it was judged, and by how much.
        metrics: one row per metric, see `evalkit.agreeing.systems.over_systems`.
        differences: one row per two metrics.
        clips: one row per metric, what the correlation is over, and coefficient.
        reliability: of what systems are judged by.
        raters, prompts: how many there are; 0 where the file names none.
        remarks: what a reader must know, one sentence each.
        level, resamples, seed: of intervals.
    """

    opinions: Opinions
    systems: Sequence[Row]
    metrics: Sequence[Row]
    differences: Sequence[Row]
    clips: Sequence[Row]
    reliability: float
    raters: int
    prompts: int
    remarks: Sequence[str]
    level: float = LEVEL
    resamples: int = RESAMPLES
    seed: int = SEED

    @property
    def claimed(self) -> bool:
        """Whether there are enough systems to say anything of others."""
        return len(self.systems) >= LEAST


@dataclass(frozen=True)
class Wanted:
    """What is asked for beside records and ratings.

    Attributes:
        layout: of the ratings; None to find it by its content.
        systems: a file that says which row is which system.
    """

    layout: str | None = None
    score: str | None = None
    called: Mapping[str, str] = field(default_factory=dict)
    systems: Path | None = None


def agree(records: Sequence[str], ratings: Path, wanted: Wanted) -> Agreement:
    """Compare metrics with what people said.

    Args:
        records: folders of results, or of several; RESULT::ROW for one row.

    Raises EvalkitError for what cannot be read, is malformed, or does not match.
    """
    named = rows_of(wanted.systems)
    if (ratings / MANIFEST).is_file() and read_manifest(ratings)["kind"] == RESULT.name:
        raise EvalkitError(f"'{ratings}' holds a result, not what people said: RATINGS come last")
    opinions = layouts.read(ratings, wanted.layout, Asked(wanted.score, wanted.called))
    matched = comparable(opinions, match(opinions, sides(records), named))
    known = opinions.of(matched.systems)
    data, heard = known.gathered(matched.systems), heard_of(known, matched)
    found, remarks = metrics(matched)
    if not found:
        raise EvalkitError("the records share no metric that is computed alike in all of them")
    drawn = crossed.draws(max(1, len(data.raters)), max(1, len(data.prompts)), RESAMPLES, SEED)
    rows, differences = over_systems(data, found, drawn, LEVEL, SEED)
    return Agreement(
        opinions=known,
        systems=_systems(known, matched, of_people(judged_by(data), drawn)),
        metrics=rows,
        differences=differences,
        clips=_clips(data, heard, matched, found, drawn),
        reliability=reliability(data, drawn),
        raters=len({*data.raters} - {""}),
        prompts=len({*data.prompts} - {""}),
        remarks=[*matched.remarks, *unmatched_clips(heard), *remarks, *opinions.remarks],
    )


def _systems(known: Opinions, matched: Matched, said: np.ndarray) -> list[Row]:
    frame, rows = known.frame, []
    for system, side, value in zip(matched.systems, matched.sides, said, strict=True):
        own = frame[(frame["system"] == system) | (frame["second_system"] == system)]
        about = {"system": system, "row": side.row, "record": str(side.record.path), "value": float(value)}
        counts = {name: len({*own[name]} - {""}) for name in ("rater", "prompt")}
        rows.append({**about, "n": len(own), "raters": counts["rater"], "prompts": counts["prompt"]})
    return rows


def _clips(
    data: Ratings | Choices,
    heard: Sequence[Sequence[Heard]],
    matched: Matched,
    found: Sequence[Metric],
    drawn: Draws,
) -> list[Row]:
    few = Draws(drawn.raters[:OF_CLIPS], drawn.prompts[:OF_CLIPS])
    rows: list[Row] = []
    with progress("correlating clips", len(found), "metrics") as advance:
        for metric in found:
            values = clip_values(heard, matched, metric.name, data.prompts)
            if np.isfinite(values).any():
                better = -values if metric.higher_is_better is False else values
                claimed = not metric.random and len(matched.systems) >= LEAST
                rows += [{"metric": metric, **row} for row in over_clips(data, better, few, LEVEL, claimed)]
            advance(1)
    return rows
