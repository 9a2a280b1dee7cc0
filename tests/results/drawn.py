"""What is seen on a figure: its marks and texts, and where they lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from evalkit.results.record import Record
from evalkit.results.result import Result


def result(record: Record) -> Result:
    """A record as it is when it has been loaded."""
    return Result(**{field.name: getattr(record, field.name) for field in dataclasses.fields(record)})


def panels(figure: Any) -> list[Any]:
    """The panels that something is drawn in."""
    return [axes for axes in figure.axes if axes.axison]


def marks(axes: Any, name: str) -> dict[int, Any]:
    """The marks of a panel that are called NAME-NUMBER, by number."""
    named = [one for one in axes.lines if (one.get_gid() or "").rpartition("-")[0] == name]
    return {int(one.get_gid().rpartition("-")[2]): one for one in named}


def texts(figure: Any) -> list[Any]:
    """All texts that are seen on a figure."""
    return [text for text in _texts(figure) if text.get_visible() and text.get_text().strip()]


def _texts(figure: Any) -> Iterator[Any]:
    yield from figure.texts
    for legend in figure.legends:
        yield from legend.get_texts()
    for axes in panels(figure):
        yield from axes.texts
        yield from (axes.title, axes._left_title, axes._right_title, axes.xaxis.label, axes.yaxis.label)
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick, place in zip(axis.get_major_ticks(), axis.get_majorticklocs(), strict=False):
                if low <= place <= high:
                    yield tick.label1


def overlapping(figure: Any) -> list[tuple[str, str]]:
    """The texts of a figure that hide a part of each other, in pairs; and those that are not all on it, with ""."""
    figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    found = []
    for number, (said, box) in enumerate(boxes):
        if box.x0 < -1 or box.y0 < -1 or box.x1 > figure.bbox.width + 1 or box.y1 > figure.bbox.height + 1:
            found.append((said, ""))
        for other, its in boxes[number + 1 :]:
            wide, high = min(box.x1, its.x1) - max(box.x0, its.x0), min(box.y1, its.y1) - max(box.y0, its.y0)
            if wide > 1 and high > 1:
                found.append((said, other))
    return found
