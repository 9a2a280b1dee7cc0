"""Limits as Markdown that can be pasted into a model card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalkit.report.to_markdown import bullets, escaped, section
from evalkit.results.limits.limit import OfModel

HEADING = "## Limitations and biases"


def markdown(models: Sequence[OfModel]) -> str:
    """Write all limits of some models: sentences, then tables and notes."""
    return "\n\n".join([HEADING, *(part for model in models for part in _model(model, len(models) > 1))]) + "\n"


def _model(model: OfModel, several: bool) -> Iterator[str]:
    level = 4 if several else 3
    if several:
        yield f"### {escaped(model.model)}"
    if model.warning:
        yield f"> **{escaped(model.warning)}**"
    yield escaped(f"Measured by evalkit on {model.about}.")
    if model.notes:
        yield bullets(model.notes)
    for limit in model.limits:
        yield f"{'#' * level} {escaped(limit.title)}"
        yield escaped(" ".join(limit.said))
        for table in limit.tables:
            yield from section(table, level + 1)
        if limit.notes:
            yield bullets(limit.notes)
