"""Unwanted vocals: how often a voice is in clips that should have none, corrected by the detector's own errors."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from evalkit.report.document import Item, Listing, Quantity
from evalkit.results.limits.limit import Limit, percent
from evalkit.results.limits.material import ByPrompt, Model
from evalkit.stats import prevalence
from evalkit.stats.prevalence import Rate

SHARE, IN_VOCAL = "vocals_share", "vocals_in_vocal"  # kinds of metrics
RECORDINGS = "reference recordings"  # the calibration row that has references as clips
UNCALIBRATED = (
    "This is what the detector hears, uncalibrated: there are no references on which its errors could be measured "
    "(calibration=[recordings], with the metric vocals_in_vocal)."
)


def vocals(model: Model) -> Limit | None:
    """Say how many clips of instrumental prompts have a voice; None where that was not measured."""
    sums = model.of_kind(SHARE)
    if sums is None:
        return None
    found, low, high = _rate(sums, model.level)
    rows = [_row("heard where no voice is asked for", found.share, low, high, sums)]
    if (asked := model.of_kind(IN_VOCAL)) is not None:
        rate, low_asked, high_asked = _rate(asked, model.level)
        rows.append(_row("heard where a voice is asked for", rate.share, low_asked, high_asked, asked))
    said = [
        f"A voice is heard in {percent(found.share, low, high)} of the clips of {model.counted(sums)} that ask for "
        "none."
    ]
    there = RECORDINGS in model.record.rows
    recordings = Model(model.record, RECORDINGS)
    with_voice, without = (recordings.of_kind(kind) if there else None for kind in (IN_VOCAL, SHARE))
    if with_voice is None or without is None:
        said.append(UNCALIBRATED)
    else:
        sensitivity, low, high = _rate(with_voice, model.level)
        rows.append(_row("sensitivity of the detector", sensitivity.share, low, high, with_voice))
        alarms, low, high = _rate(without, model.level)
        specificity = Rate(1 - alarms.share, alarms.n)
        rows.append(_row("specificity of the detector", specificity.share, 1 - high, 1 - low, without))
        true = prevalence.corrected(found, sensitivity, specificity, model.level)
        rows.append(_row("corrected for both", true.value, true.low, true.high, None))
        said += _of_errors(rows, model.counted(with_voice), model.counted(without))
    return Limit("vocals", "Unwanted vocals", said, [_table(rows, model)], list(_notes(model, there)))


def _rate(sums: ByPrompt, level: float) -> tuple[Rate, float, float]:
    """A share with its bounds, for as many independent clips as the variance between units says."""
    found = sums.mean
    low, high = found.ends((1 - level) / 2)
    n, clips = float(found.units), float(sums.counts.sum())  # where all clips have the same, no variance is seen
    if 0 < found.value < 1 and found.units > 1:
        variance = float((found.influence**2).sum())
        together = found.units < len(sums.which)  # large clusters may be unlike small ones, as in `share_interval`
        independent = found.value * (1 - found.value) / variance if variance else clips
        n = float(np.clip(independent, 1 if together else found.units, clips))
    return Rate(found.value, n), low, high


def _row(what: str, share: float, low: float, high: float, sums: ByPrompt | None) -> Item:
    cell = {"what": what, "share": share, "share_low": low, "share_high": high, "n": None, "units": None}
    cell |= {"n": len(sums.ids), "units": sums.mean.units} if sums is not None else {}
    return Item(cell, cell)


def _of_errors(rows: list[Item], of_voices: str, of_others: str) -> Iterator[str]:
    """What the detector hears in references, and the rate that is corrected by it.

    Args:
        of_voices, of_others: how many prompts of references there are with a voice, and without, in words.
    """
    hears, is_silent, true = (
        percent(*(row.cell[key] for key in ("share", "share_low", "share_high"))) for row in rows[-3:]
    )
    yield (
        f"On the references the detector hears {hears} of the voices that captions speak of (sensitivity; "
        f"{of_voices}), and nothing in {is_silent} of the recordings without (specificity; {of_others})."
    )
    if math.isnan(rows[-1].cell["share"]):
        yield "That cannot be told from chance, and so the rate is not corrected."
    else:
        yield f"Corrected for its errors, {true} of the clips have a voice."


def _table(rows: list[Item], model: Model) -> Listing:
    together = any(row.cell["units"] != row.cell["n"] for row in rows)
    columns = [
        [Quantity("what", "share of clips", "word")],
        [Quantity("share", "share", "number"), Quantity("share", "interval", "interval")],
        [Quantity("n", "n", "count")],
        *([[Quantity("units", f"{model.unit}s", "count")]] if together else []),
    ]
    corrected = " That of the corrected rate carries the uncertainty of all three shares." if len(rows) > 2 else ""
    return Listing(columns, rows, title="Voices", intro=f"Intervals have {model.level:.0%} confidence.{corrected}")


def _notes(model: Model, recordings: bool) -> Iterator[str]:
    threshold = model.record.metrics[model.metric(SHARE) or ""].definition.get("threshold")
    if threshold is not None:
        yield f"The detector is PaSST; a voice counts as heard from a probability of {threshold:g}."
    if recordings:
        yield (
            "Captions say which references have a voice: one that a caption leaves out counts as a false alarm, and "
            "one that is not in the ten seconds as missed. The correction is Rogan and Gladen's (1978)."
        )
