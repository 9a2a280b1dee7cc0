"""Figures of matplotlib as SVG that is a part of a page: in its colours, with words for those who do not see it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from markupsafe import Markup

from evalkit.results.plots import drawing
from evalkit.results.plots.files import encoded
from evalkit.results.plots.rows import BAND

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
PIXELS = 96 / 72  # of a page, in a point of type
LARGEST = 1.3  # times its own size that a figure may be

# What the page's own colours stand for; those of maps stay as they are, since they say numbers.
COLOURS = {
    "#000000": "var(--ink)",
    "#ffffff": "var(--panel)",
    drawing.QUIET: "var(--quiet)",
    "#444444": "var(--quiet)",
    "#999999": "var(--quiet)",
    "#aaaaaa": "var(--quiet)",
    drawing.UNJUDGED: "var(--line)",
    BAND: "var(--plots-band)",
    "#f4f4f4": "var(--plots-band)",
    drawing.WARNED: "var(--warn-soft)",
    drawing.GOOD: "var(--good)",
    drawing.GOOD_SOFT: "var(--good-soft)",
    drawing.BAD: "var(--bad)",
    drawing.BAD_SOFT: "var(--bad-soft)",
    drawing.WARN: "var(--warn)",
    **{colour.lower(): f"var(--series-{number})" for number, colour in enumerate(drawing.COLOURS, 1)},
    **{colour: f"var(--plots-step-{number})" for number, colour in enumerate(drawing.STEPS, 1)},
}
HEX = re.compile(r"#[0-9a-fA-F]{6}\b")
REFERENCE = re.compile(r"url\(#([^)]+)\)")
LONG = re.compile(r"-?\d+\.\d{3,}")  # numbers with more decimals than anybody sees
FONT = re.compile(r"font:[^;\"]*?(\d+(?:\.\d+)?px)[^;\"]*")


def svg(figure: Figure, name: str, title: str, said: str, least: float = 0.0) -> Markup:
    """Write a figure as an element of a page, without its own title and caption, which the page has as text.

    Args:
        name: what its ids begin with, unique in the page.
        title, said: what it is, and what it shows.
        least: of its own size that it always has, even where it must be scrolled then.
    """
    for text in list(figure.texts):
        if text.get_gid() in ("title", "caption"):
            text.remove()
    figure.patch.set_visible(False)
    root = ElementTree.fromstring(encoded(figure, "svg", title, cut=True))
    _clean(root, name)
    wide, high = (float(number) for number in root.attrib["viewBox"].split()[2:])
    root.attrib.clear()
    root.attrib.update(
        {
            "class": "plots-svg", "role": "img", "aria-labelledby": f"{name}-title", "aria-describedby": f"{name}-desc",
            "viewBox": f"0 0 {wide:.6g} {high:.6g}", "width": f"{wide * PIXELS:.0f}", "height": f"{high * PIXELS:.0f}",
            "style": f"min-width: {wide * PIXELS * least:.0f}px; max-width: {wide * PIXELS * LARGEST:.0f}px",
        }
    )  # fmt: skip
    for place, (tag, words) in enumerate((("title", title), ("desc", said))):
        element = Element(tag, {"id": f"{name}-{tag}"})
        element.text = words
        root.insert(place, element)
    return Markup(ElementTree.tostring(root, encoding="unicode", short_empty_elements=True))


def _clean(root: Element, name: str) -> None:
    """Take out of a drawing what a page must not have, give it the page's colours, and its ids a name before them."""
    for parent in list(root.iter()):
        for child in list(parent):
            # a style of all elements would be one of the page's
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style", f"{{{SVG}}}title"):
                parent.remove(child)
    elements = list(root.iter())
    used: dict[str, None] = {}
    for element in elements:
        for key, value in element.attrib.items():
            used.update(dict.fromkeys([value[1:]] if key == f"{{{XLINK}}}href" else REFERENCE.findall(value)))
    # numbered as they occur: matplotlib's own ids may differ from one time to the next
    names = {one: f"{name}-{number}" for number, one in enumerate(used)}
    for element in elements:
        element.tag = element.tag.removeprefix(f"{{{SVG}}}")
        attributes = dict(element.attrib)
        element.attrib.clear()
        for key, value in attributes.items():
            if key == "id":
                if value in names:
                    element.attrib["id"] = names[value]
            elif key == f"{{{XLINK}}}href":
                element.attrib["href"] = f"#{names[value[1:]]}"
            else:
                value = REFERENCE.sub(lambda match: f"url(#{names[match[1]]})", value)
                if key in ("d", "x", "y", "width", "height", "transform"):
                    value = LONG.sub(lambda match: f"{float(match[0]):z.2f}", value)
                if key in ("style", "fill", "stroke"):
                    value = HEX.sub(lambda match: COLOURS.get(match[0].lower(), match[0]), value)
                    value = FONT.sub(r"font-size: \1", value)
                element.attrib[key] = value
        if element.tag not in ("text", "tspan", "title", "desc"):
            element.text = None
        if element.tail is not None and not element.tail.strip():
            element.tail = None
