"""Tables of what metrics notice, made up from letters: one for each strength, from the weakest on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from evalkit.results.sensitivity import AGAIN, COLUMNS, Sensitivity

STRENGTHS: Mapping[str, tuple[str, Sequence[float]]] = {
    "low-pass": ("Hz", [12000, 8000, 4000, 500]),
    "noise": ("dB SNR", [40, 20]),
    "mono": ("of the side", [0.5, 0.75, 1]),
    "drums gone": ("", [1]),
}
DIFFERENCES = {"w": 1.0, "b": -1.0, ".": 0.01, "?": 0.5, "=": 0.0}


def table(letters: Mapping[str, Mapping[str, str]], again: str = "", **about: Mapping[str, Any]) -> Sensitivity:
    """A table of `rows`."""
    return Sensitivity.of(rows(letters, again, **about))


def rows(letters: Mapping[str, Mapping[str, str]], again: str = "", **about: Mapping[str, Any]) -> pd.DataFrame:
    """What a file has of metrics for which lower is better.

    Args:
        letters: by metric and degradation: "w" is seen as worse, "b" as better, "." not seen, "?" without an interval,
            "=" without an interval because nothing changed at all. "-" in front leaves out a strength.
        again: the same of other renderings, for all metrics.
        about: of a metric, what is not as usual: title, weights, kind, direction.
    """
    found = [
        {**_row(metric, about.get(metric, {})), **_place(degradation, step), **_measured(letter)}
        for metric, own in letters.items()
        for degradation, each in [*own.items(), *([(AGAIN, again)] if again else [])]
        for step, letter in enumerate(each, 1)
        if letter != "-"
    ]
    return pd.DataFrame(found, columns=list(COLUMNS))


def _row(metric: str, about: Mapping[str, Any]) -> dict[str, Any]:
    usual = {"title": metric.upper(), "kind": metric, "encoder": "e", "weights": "none", "direction": "lower"}
    return {"metric": metric, **usual, "n": 100, "level": 0.95, "note": "", **about}


def _place(degradation: str, step: int) -> dict[str, Any]:
    unit, strengths = STRENGTHS.get(degradation, ("", []))
    return {"degradation": degradation, "step": step, "unit": unit,
            "strength": strengths[step - 1] if strengths else math.nan}  # fmt: skip


def _measured(letter: str) -> dict[str, float]:
    difference = DIFFERENCES[letter]
    bounded = letter not in "?="
    return {
        "clean": 1.0, "value": 1.0 + difference, "difference": difference,
        "low": difference - 0.1 if bounded else math.nan, "high": difference + 0.1 if bounded else math.nan,
    }  # fmt: skip
