"""The metrics that single clips of a page have values of."""

from __future__ import annotations

from evalkit.page.view import View
from evalkit.results.gate import HIGHER_IS_BETTER
from evalkit.results.plots.plot import Metric
from evalkit.results.summary import unique_titles


def metrics(view: View) -> list[Metric]:
    """The metrics with values of single clips, as the records have them; then those that a comparison alone names."""
    found: dict[str, Metric] = {}
    for system in view.systems:
        clips, titles = system.clips, unique_titles(system.result.metrics)
        for name, info in system.result.metrics.items():
            if name in clips and clips[name].notna().any():
                found.setdefault(name, Metric(name, titles[name], info.higher_is_better))
    if view.comparison is not None:
        directions = view.comparison.metrics.set_index("metric")["direction"]
        for name, title in view.comparison.moved.drop_duplicates("metric")[["metric", "title"]].itertuples(index=False):
            higher = HIGHER_IS_BETTER.get(directions.get(name, "same"))
            found.setdefault(str(name), Metric(str(name), str(title), higher))
    return list(found.values())
