"""What the metrics of the records notice, and what they are blind to, as it was measured on music made worse."""

from __future__ import annotations

from evalkit.page.inline import written
from evalkit.page.section import Section
from evalkit.page.sections.plots import figure
from evalkit.page.tables import Titled, html, legend
from evalkit.page.view import View
from evalkit.report.document import Listing
from evalkit.report.literal import literal
from evalkit.results.plots import sensitivity
from evalkit.results.sensitivity import Sensitivity
from evalkit.results.sensitivity_text import among, ladder, missed

ORDER = 60


def section(view: View) -> Section | None:
    """Say what the metrics of the page notice; None where the table has none of them."""
    table = among(view.sensitivity or Sensitivity.load(), view.kinds)
    if not table.metrics:
        return None
    plot = sensitivity.plot(table)
    random = [one.title for one in table.metrics if one.weights == "random"]
    others = [one.title for one in table.metrics if one.name not in view.measured]
    known = {one.name for one in table.metrics}
    absent = [title for name, title in view.measured.items() if name not in known]
    tables = [_titled(missed(table, "Blind to"), view), _titled(ladder(table, "Strengths"), view, folded=True)]
    body = written(
        "sensitivity.html.j2",
        own=view.sensitivity is not None,
        random=literal(", ".join(random)),
        others=literal(", ".join(others)),
        absent=literal(", ".join(absent)),
        figure=figure(plot, view) if plot is not None else None,
        tables=tables,
    )
    return Section("sensitivity", "Sensitivity", body)


def _titled(table: Listing, view: View, folded: bool = False) -> Titled:
    name = f"sensitivity-{table.title.partition(' ')[0].lower()}"
    return Titled(table, name, html(table, name, view.output), legend(table), folded)
