"""How numbers are written."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from evalkit.report.document import Quantity
from evalkit.report.numbers import NONE, absent, interval, published_number


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("number", 2007.5249, "2,007.525"),
        ("number", -0.0004, "0.000"),
        ("number", -0.0006, "-0.001"),
        ("number", -0.0, "0.000"),
        ("number", 0, "0.000"),
        ("published", -0.0004, "0.00"),
        ("count", 5521, "5,521"),
        ("count", 0, "0"),
        ("published", 4.9, "4.90"),
        ("published", 5.648, "5.648"),
        ("quoted", 14.8, "14.8"),
        ("word", "reproduced", "reproduced"),
        ("number", math.nan, NONE),
        ("count", pd.NA, NONE),
        ("word", "", NONE),
        ("published", None, NONE),
    ],
)
def test_each_kind_is_written_in_its_way(kind, value, text) -> None:
    assert Quantity("x", "x", kind).text({"x": value}) == text


@pytest.mark.parametrize(
    ("difference", "published", "text"),
    [(0.0234, 4.88, "+0.02"), (-0.0169, 1.42, "-0.02"), (-0.0011, 0.27, "±0.00"), (-0.0011, 5.648, "-0.001")],
)
def test_a_difference_has_the_decimals_that_were_published(difference, published, text) -> None:
    quantity = Quantity("difference", "difference", "difference")
    assert quantity.text({"difference": difference, "published": published}) == text


def test_an_interval_that_is_not_there_is_empty() -> None:
    assert interval(math.nan, math.nan) == interval(None, None) == ""
    assert interval(1523.9, 2447.47) == "[1,523.900, 2,447.470]"
    assert interval(-0.0001, 0.0001) == "[0.000, 0.000]"
    assert published_number(0.1, places=1) == "0.1"


def test_false_and_zero_are_values() -> None:
    assert not absent(False) and not absent(0) and absent("") and absent(math.nan)
