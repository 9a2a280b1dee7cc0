"""What a record says of each clip: where it lies, what is wrong with it, and its values."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from evalkit.results.frames import CLIPS, ORIGIN, VALUES
from evalkit.results.record import MetricInfo
from evalkit.scoring.embedding import Embedded
from evalkit.types import Clip, Measured


def clip_frame(row: Embedded, found: Mapping[str, Sequence[Measured]]) -> pd.DataFrame:
    """One line per clip, with the columns of CLIPS, and one for each metric that has values of single clips.

    Args:
        found: what each metric says of each sample, a sample being one clip of each prompt.
    """
    size = len(row.row.prompts)
    lines = []
    for i, clip in enumerate(row.row.clips):
        sample, place = divmod(i, size)
        prompt, reference = row.row.prompts[place], row.references[place]
        own = {name: samples[sample].per_clip for name, samples in found.items() if samples}
        lines.append(
            {
                "model": row.name,
                "id": prompt.id,
                "sample": sample + 1,
                "caption": prompt.text,
                "tags": list(prompt.tags),
                "labels": list(prompt.labels),
                "status": clip.status,
                "reason": clip.reason,
                "note": clip.note,
                **_file(clip),
                "sample_rate": clip.sample_rate,
                "channels": clip.channels,
                "seconds": clip.frames / clip.sample_rate if clip.sample_rate else math.nan,
                "compared_length": _length(row.cut[sample][place]),
                **{f"reference_{key}": getattr(reference, key) for key in ("status", "reason", "note")},
                **{f"reference_{key}": value for key, value in _file(reference).items()},
                ORIGIN: reference.origin,
                **{name: values.get(prompt.id, math.nan) for name, values in own.items() if values},
            }
        )
    origins = [ORIGIN] if any(reference.origin for reference in row.references) else []
    columns = [*CLIPS, *origins, *(name for name, samples in found.items() if any(m.per_clip for m in samples))]
    return pd.DataFrame(lines, columns=columns)


def _file(clip: Clip) -> dict[str, Any]:
    """Where a clip lies, and which part of it counts."""
    return {
        # a name that is not UTF-8 cannot be stored: it is shown, and the clip is found by its digest only
        "path": os.fsencode(clip.path).decode("utf-8", "backslashreplace") if clip.path else None,
        "sha256": clip.sha256,
        "gain": clip.gain,
        "start": clip.start,
        "length": _length(clip),
    }


def _length(clip: Clip) -> float:
    """The seconds of a clip that count; NaN for a clip that is not there."""
    if not clip.sample_rate:
        return math.nan
    rest = clip.frames / clip.sample_rate - clip.start
    return rest if clip.seconds is None else min(rest, clip.seconds)


def value_frame(
    row: Embedded, metrics: Mapping[str, MetricInfo], found: Mapping[str, Sequence[Measured]]
) -> pd.DataFrame:
    """One line per clip that a metric could use, with the columns of VALUES."""
    lines = [
        (row.name, sample, i, name, measured.per_clip.get(i, math.nan), *part)
        for name, samples in found.items()
        for sample, measured in enumerate(samples, 1)
        for i, part in _parts(measured, metrics[name].additive)
    ]
    return pd.DataFrame(lines, columns=list(VALUES))


def _parts(measured: Measured, additive: bool) -> list[tuple[str, tuple[float, float]]]:
    if additive:
        return list(measured.parts.items())
    return [(i, (math.nan, math.nan)) for i in measured.per_clip]
