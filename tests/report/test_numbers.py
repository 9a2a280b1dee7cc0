"""How numbers are written."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from evalkit.report.document import Quantity
from evalkit.report.numbers import NONE, absent, interval, places, published_number


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
        ("verdict", "BREACH", "BREACH"),
        ("signed", 0.0251, "+0.025"),
        ("signed", -1234.5, "-1,234.500"),
        ("signed", -0.0004, "±0.000"),
        ("signed", 0.0, "±0.000"),
        ("share", 0.582, "58%"),
        ("p", 0.05, "0.050"),
        ("p", 1 / 1001, "0.001"),
        ("p", 1e-12, "<0.001"),
        ("p", 1.0, "1.000"),
        ("number", math.nan, NONE),
        ("count", pd.NA, NONE),
        ("word", "", NONE),
        ("published", None, NONE),
        ("signed", math.nan, NONE),
        ("p", math.nan, NONE),
        ("links", None, NONE),
        ("links", [], NONE),
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


def test_numbers_have_the_decimals_that_their_cell_asks_for() -> None:
    cell = {"x": 0.00042, "low": -0.00021, "high": 0.001, "places": 5}
    assert Quantity("x", "x", "number").text(cell) == "0.00042"
    assert Quantity("x", "x", "signed").text(cell) == "+0.00042"
    assert Quantity("interval", "x", "interval").text(cell) == "[-0.00021, 0.00100]"
    assert Quantity("interval", "x", "interval").text({"low": math.nan, "high": math.nan}) == NONE
    assert Quantity("interval", "x", "interval").text({}) == NONE


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.2452, 0.0811], 3), ([0.0123], 3), ([0.00999], 4), ([0.0011, 5.0], 4), ([-0.00042], 5), ([1e-12], 6),
        ([], 3), ([0.0, math.nan, None, math.inf], 3), ([12345.6], 3),
    ],
)  # fmt: skip
def test_decimals_show_two_digits_of_each_value(values, expected) -> None:
    assert places(*values) == expected


def test_false_and_zero_are_values() -> None:
    assert not absent(False) and not absent(0) and absent("") and absent(math.nan)
