"""What models cannot do, as a card's section of limitations would say it, each sentence from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.page import drawn
from evalkit.page.inline import written
from evalkit.page.section import Section
from evalkit.page.sections.plots import Figure, figure
from evalkit.page.tables import Titled, html, legend
from evalkit.page.view import View
from evalkit.results.limits.limit import Limit, OfModel
from evalkit.results.plots.plot import Plot

ORDER = 15
LONG = 12  # rows; a longer table is shown only when it is asked for


@dataclass(frozen=True)
class Shown:
    """A limit as the template wants it."""

    id: str
    title: str
    said: Sequence[str]
    figures: Sequence[Figure | str]
    tables: Sequence[Titled]
    notes: Sequence[str]


@dataclass(frozen=True)
class Part:
    """A model's limits as the template wants them.

    Attributes:
        tag, below: of the headings of limits, and of their figures and tables.
    """

    number: int
    name: str
    about: str
    warning: str
    notes: Sequence[str]
    limits: Sequence[Shown]
    tag: str
    below: str


def section(view: View) -> Section | None:
    """Say all limits; None where the records were not made to measure them."""
    if not view.limits:
        return None
    several = len(view.limits) > 1
    plots: dict[str, list[Plot | str]] = {}
    for name, plot in drawn.of_limits(view):
        plots.setdefault(name, []).append(plot)
    models = [_part(one, number, several, plots, view) for number, one in enumerate(view.limits, 1)]
    return Section("limits", "Limits", written("limits.html.j2", models=models, failed=plots.get("", [])))


def _part(model: OfModel, number: int, several: bool, plots: dict[str, list[Plot | str]], view: View) -> Part:
    tag, below = ("h4", "h5") if several else ("h3", "h4")
    behind = f"-{number}" if several else ""
    shown = []
    for limit in model.limits:
        own = [
            one for one in plots.get(limit.name, []) if not several or isinstance(one, str) or one.name.endswith(behind)
        ]
        figures = [figure(one, view) if isinstance(one, Plot) else one for one in own]
        shown.append(
            Shown(f"{limit.name}{behind}", limit.title, limit.said, figures, _tables(limit, behind, view), limit.notes)
        )
    return Part(number, model.model, model.about, model.warning, model.notes, shown, tag, below)


def _tables(limit: Limit, behind: str, view: View) -> list[Titled]:
    found = []
    for number, table in enumerate(limit.tables, 1):
        name = f"limits-{limit.name}-table-{number}{behind}"
        found.append(Titled(table, name, html(table, name, view.output), legend(table), len(table.rows) > LONG))
    return found
