"""Which plots a page has: those that its records have something to draw for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from evalkit.errors import reason
from evalkit.page.view import SIDES, View
from evalkit.results.plots import clips, intervals, limits, listening, pairs, sizes, slices, sweeps, verdicts
from evalkit.results.plots.plot import Plot, Shown, once

log = logging.getLogger(__name__)

Maker = Callable[[], Sequence[Plot | str]]


def plots(view: View, own: bool = True) -> Iterator[Plot | str]:
    """All plots of a page, in order; in place of those that fail a sentence that says so.

    Args:
        own: whether those of limits are among them, which stand in a section of their own.
    """
    if own:
        yield from (plot for _, plot in of_limits(view))
    for what, make in _makers(view):
        try:
            yield from make()
        except Exception as error:  # a page is worth more than one of its plots
            yield failed(what, error)


def of_limits(view: View) -> Iterator[tuple[str, Plot | str]]:
    """The plots of limits, each with the name of its limit; a sentence in place of those that fail."""
    try:
        yield from limits.plots(view.limits)
    except Exception as error:  # a page is worth more than one of its plots
        yield "", failed("limits", error)


def failed(what: str, error: Exception) -> str:
    """Log that a plot could not be made, and say it in a sentence."""
    log.warning("%s could not be drawn", what, exc_info=error)
    return f"{what} could not be drawn: {type(error).__name__}: {reason(error)}"


def _makers(view: View) -> Iterator[tuple[str, Maker]]:
    """What makes plots, with what it is called where it fails: those of listening tests come last."""
    yield from _of_records(view)
    for number, one in enumerate(view.listenings, 1):
        name = f"ratings-{number}"
        yield "what people said", lambda one=one, name=name: _some(listening.plot(one, name))  # type: ignore[misc]


def _of_records(view: View) -> Iterator[tuple[str, Maker]]:
    if (sweep := view.sweep) is not None:
        yield "the sweep", lambda: sweeps.plots(sweep)
        return
    if (comparison := view.comparison) is not None:
        sides = {
            role: [Shown(one.name, one.result, one.row) for one in view.systems if one.role == role] for role in SIDES
        }
        complete = all(len(sides[role]) == len(getattr(comparison, role)) for role in sides)
        yield "differences from the baseline", lambda: _some(verdicts.of_comparison(comparison))
        yield "differences by group of prompts", lambda: _some(slices.of_comparison(comparison))
        if complete:  # of some results of a side alone the differences would be others than those of the table
            yield (
                "differences of single prompts",
                lambda: _some(pairs.plot(comparison, sides["baseline"], sides["candidate"])),
            )
            rows = [*sides["baseline"], *sides["candidate"]]
            part = any(len(one.record.prompts) != comparison.prompts for one in rows)
            more = f"Of all prompts of each result; the comparison is of {comparison.prompts:,}." if part else ""
            yield "values of single prompts", lambda: _some(clips.plot(rows, more))
            yield "FAD by number of clips", lambda: _some(sizes.plot(rows, more))
        return
    shown = once([Shown(one.name, one.result, one.row) for one in view.systems])
    if not shown:
        return
    yield "values and intervals", lambda: _some(intervals.plot(shown))
    yield "differences from published values", lambda: _some(verdicts.of_published(shown))
    yield "values of single prompts", lambda: _some(clips.plot(shown))
    yield "FAD by number of clips", lambda: _some(sizes.plot(shown))
    yield "groups of prompts", lambda: slices.plots(shown)


def _some(plot: Plot | str | None) -> list[Plot | str]:
    return [plot] if plot else []
