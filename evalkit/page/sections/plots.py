"""What the records' numbers look like, each figure with what it shows in words and as a table."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from evalkit.page import drawn
from evalkit.page.figures import svg
from evalkit.page.inline import written
from evalkit.page.section import Section
from evalkit.page.tables import html
from evalkit.page.view import View
from evalkit.results.plots.plot import NARROW, WIDE, Plot

ORDER = 20
LEAST = 0.8  # of its size that a figure has which cannot be drawn for narrow screens


@dataclass(frozen=True)
class Figure:
    """A plot as the page shows it: for wide screens, and for narrow ones where it can be drawn for them."""

    plot: Plot
    wide: Markup
    narrow: Markup | None
    numbers: Markup


def section(view: View) -> Section | None:
    """Draw all plots; None where there are none."""
    shown = [figure(one, view) if isinstance(one, Plot) else one for one in drawn.plots(view, own=False)]
    if not shown:
        return None
    return Section("plots", "Plots", written("plots.html.j2", shown=shown))


def figure(plot: Plot, view: View) -> Figure | str:
    """Draw a plot at both widths; a sentence that says why where that fails."""
    name = f"plots-{plot.name}"
    try:
        wide = svg(plot.figure(WIDE), f"{name}-wide", plot.title, plot.said, 0.0 if plot.fluid else LEAST)
        narrow = svg(plot.figure(NARROW), f"{name}-narrow", plot.title, plot.said) if plot.fluid else None
        numbers = html(plot.numbers, f"{name}-numbers", view.output)
    except Exception as error:  # a page is worth more than one of its plots
        return drawn.failed(plot.title, error)
    return Figure(plot, wide, narrow, numbers)
