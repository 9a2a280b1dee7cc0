"""How numbers, and what stands where there is none, are written for people: never as a negative zero."""

from __future__ import annotations

import math
from typing import Any, Literal

import pandas as pd

from evalkit.report.literal import literal

Kind = Literal[
    "number", "signed", "count", "share", "p", "interval",
    "published", "quoted", "difference", "flag", "word", "verdict", "links",
]  # fmt: skip

PLACES = 3  # decimals of a number: one more than the model card has

NONE = "–"

ARROWS = {True: "↑", False: "↓", None: ""}  # by higher_is_better


def absent(value: Any) -> bool:
    """Whether there is nothing to write: None, NaN, NA or an empty text."""
    return bool(value == "" if isinstance(value, str) else pd.isna(value))


def text(kind: Kind, value: Any, published: Any = None, places: int = PLACES) -> str:
    """Write a value as its kind is written; a difference also needs the published value.

    Args:
        value: bounds (low, high) of an interval; a sequence of links.
        places: decimals of numbers that are not published.
    """
    if kind == "interval":
        low, high = value
        return interval(low, high, places=places) or NONE
    if kind == "links":
        return " ".join(literal(link) for link in value or ()) or NONE
    if absent(value):
        return NONE
    if kind == "number":
        return number(value, places)
    if kind == "signed":
        return signed(value, places)
    if kind == "count":
        return count(value)
    if kind == "share":
        return f"{value:.0%}"
    if kind == "p":
        return p_value(value)
    if kind == "published":
        return published_number(value)
    if kind == "quoted":
        return published_number(value, places=1)
    if kind == "difference":
        return difference_number(value, published)
    if kind == "flag":
        return "yes" if value else "no"
    return literal(value)


def number(value: Any, places: int = PLACES) -> str:
    """Write a measured value."""
    return NONE if absent(value) else f"{value:z,.{places}f}"


def signed(value: Any, places: int = PLACES) -> str:
    """Write a difference of measured values with its sign."""
    if absent(value):
        return NONE
    text = f"{value:+,.{places}f}"
    return text if text.strip("+-0.,") else "±" + text[1:]


def places(*values: Any, least: int = PLACES) -> int:
    """How many decimals show two digits of each of some values, none of which is taken to be noise: `least` to 6."""
    sizes = [abs(value) for value in values if not absent(value) and value and math.isfinite(value)]
    return min(6, max(least, 1 - math.floor(math.log10(min(sizes))))) if sizes else PLACES


def p_value(value: Any) -> str:
    """Write a p-value, of which no more than three decimals matter."""
    return "<0.001" if value < 0.0005 else f"{value:.3f}"


def count(value: Any) -> str:
    """Write a whole number."""
    return NONE if absent(value) else f"{value:,.0f}"


def counted(n: int, noun: str) -> str:
    """Write how many there are of something, whose plural has an s."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def interval(low: Any, high: Any, between: str = ", ", around: str = "[]", places: int = PLACES) -> str:
    """Write a confidence interval; empty where there is none."""
    bounds = f"{number(low, places)}{between}{number(high, places)}"
    return "" if absent(low) else f"{around[:1]}{bounds}{around[1:]}"


def published_number(value: Any, places: int = 2) -> str:
    """Write a published value as its source does: at most three decimals, at least `places`."""
    if absent(value):
        return NONE
    text = f"{value:z.3f}"
    while text.endswith("0") and len(text.partition(".")[2]) > places:
        text = text[:-1]
    return text


def difference_number(difference: Any, published: Any) -> str:
    """Write a difference with its sign, to the decimals that were published."""
    if absent(difference):
        return NONE
    text = f"{difference:+.{len(published_number(published).partition('.')[2])}f}"
    return text if float(text) else "±" + text[1:]
