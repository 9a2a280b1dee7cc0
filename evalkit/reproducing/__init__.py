"""Reproducing: what was published for a checkpoint, measured again over several sampling seeds."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit import pipeline
from evalkit.reproducing.composing import composed
from evalkit.results.result import Result


def reproduce(
    model: str, options: Sequence[str] = (), seeds: int | None = None, config_dir: str | None = None
) -> Result:
    """Measure again what was published for a model; see `evalkit.reproducing.composing.composed`.

    Raises EvalkitError for what cannot be composed or run.
    """
    return pipeline.evaluate(composed(model, options, seeds, config_dir).config)
