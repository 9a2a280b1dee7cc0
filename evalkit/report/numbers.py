"""How numbers, and what stands where there is none, are written for people: never as a negative zero."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd

from evalkit.report.literal import literal

Kind = Literal["number", "count", "published", "quoted", "difference", "flag", "word"]

NONE = "–"

ARROWS = {True: "↑", False: "↓", None: ""}  # by higher_is_better


def absent(value: Any) -> bool:
    """Whether there is nothing to write: None, NaN, NA or an empty text."""
    return bool(value == "" if isinstance(value, str) else pd.isna(value))


def text(kind: Kind, value: Any, published: Any = None) -> str:
    """Write a value as its kind is written; a difference also needs the published value."""
    if absent(value):
        return NONE
    if kind == "number":
        return number(value)
    if kind == "count":
        return count(value)
    if kind == "published":
        return published_number(value)
    if kind == "quoted":
        return published_number(value, places=1)
    if kind == "difference":
        return difference_number(value, published)
    if kind == "flag":
        return "yes" if value else "no"
    return literal(value)


def number(value: Any) -> str:
    """Write a measured value with one decimal more than the model card has."""
    return NONE if absent(value) else f"{value:z,.3f}"


def count(value: Any) -> str:
    """Write a whole number."""
    return NONE if absent(value) else f"{value:,.0f}"


def interval(low: Any, high: Any, between: str = ", ", around: str = "[]") -> str:
    """Write a confidence interval; empty where there is none."""
    return "" if absent(low) else f"{around[:1]}{number(low)}{between}{number(high)}{around[1:]}"


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
