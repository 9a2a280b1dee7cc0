"""Compares a candidate with a baseline: every metric's difference, the verdict of a gate, and what moved."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evalkit.errors import EvalkitError
from evalkit.progress import progress
from evalkit.results import gate as gates
from evalkit.results import moved, pairing, sliced, verdicts
from evalkit.results.clusters import of_record, together
from evalkit.results.compared import Compared, changes, failed, judged
from evalkit.results.comparison import Comparison
from evalkit.results.comparison_record import METRICS, MOVED, SLICES
from evalkit.results.differences import CORRECTED, TOGETHER, Difference, Sums
from evalkit.results.frames import typed
from evalkit.results.gate import Direction, Gate
from evalkit.results.material import material
from evalkit.results.pairing import Side
from evalkit.results.record import MetricInfo
from evalkit.results.summary import unique_titles
from evalkit.stats import paired, permutation
from evalkit.stats.clusters import count

RAW = (
    "{titles}: the difference is corrected for bias by the jackknife; that of the two values is not, and that both "
    "have as many prompts does not take the bias out of it"
)
AS_PARTS = (
    "{titles}: the difference is of both sides measured as parts of one set; each of the two values is of a set by "
    "itself, in which other clusters are found by chance, so theirs is another difference"
)


def compare(
    baseline: Sequence[Side],
    candidate: Sequence[Side],
    gate: Gate,
    allow_random: bool = False,
    common_prompts: bool = False,
    allow: Sequence[str] = (),
) -> Comparison:
    """Compare the results of a candidate with those of a baseline, and judge the differences by a gate.

    Args:
        baseline, candidate: one result each, or several that count as clusters.
        allow_random: whether random weights may give a GO.
        common_prompts: whether prompts that are not the same on all sides are left out; else they are a reason against
            any outcome but INCONCLUSIVE.
        allow: packages outside evalkit whose metrics may be imported.

    Returns the comparison, which is not saved yet. Raises EvalkitError where there is nothing to compare.
    """
    sides = [*baseline, *candidate]
    shared = pairing.paired(sides, common_prompts)
    ids = sorted(shared.ids)  # so that nothing depends on the order of prompts
    names = _names(sides, gate)
    gates.check(gate, [name for name, info in names.items() if info])
    clusters = together([of_record(side.record) for side in sides]).numbers(ids)
    units = count(len(ids), clusters)
    drawn = permutation.swaps(units, gate.swaps, gate.seed)
    swaps = np.concatenate([np.zeros((1, units), bool), drawn])
    if clusters is not None:  # whose prompts change places together
        swaps = swaps[:, clusters]
    found = []
    with progress("comparison", len(names), "metrics") as advance:
        for name, info in names.items():
            found.append(_compared(baseline, candidate, name, info, ids, swaps, gate, allow))
            advance(1)
    rows = [_metric_row(one, gate) for one in found]
    metrics = typed(pd.DataFrame(rows, columns=list(METRICS)), METRICS)
    slices = typed(pd.DataFrame(sliced.rows(found, sides, ids, swaps, gate), columns=list(SLICES)), SLICES)
    most = typed(pd.DataFrame(moved.rows(found, baseline[0], candidate[0]), columns=list(MOVED)), MOVED)
    reasons = [*shared.reasons, *pairing.differing(baseline, candidate, gate.may_differ)]
    random = pairing.random_networks(sides)
    identical = pairing.identical(baseline, candidate, ids)
    outcome, why, warnings = verdicts.decide(metrics, slices, gate, reasons, random, allow_random, identical)
    if unusable := shared.total - shared.left_out - len(ids):
        warnings.append(f"left out, without clips that can be used on every side: {unusable:,} prompts")
    record = sides[0].record
    return Comparison(
        outcome=outcome,
        reasons=why,
        warnings=warnings,
        remarks=[*pairing.remarks(baseline, candidate), *_of_clusters(sides, units, len(ids)), *_remarks(found, gate)],
        baseline=[pairing.info(side) for side in baseline],
        candidate=[pairing.info(side) for side in candidate],
        dataset=record.prompts_info.dataset,
        subset=record.prompts_info.subset,
        protocol=record.protocol.name,
        prompts=len(ids),
        prompts_total=shared.total,
        gate=gates.plain(gate),
        random=random,
        metrics=metrics,
        slices=slices,
        moved=most,
        path=Path(),
        clusters=0 if clusters is None else units,
    )


def _names(sides: Sequence[Side], gate: Gate) -> dict[str, MetricInfo | None]:
    """All metrics of all results, and those of the gate that none has, unless they are optional."""
    names: dict[str, MetricInfo | None] = {}
    for side in sides:
        names.update({name: info for name, info in side.record.metrics.items() if name not in names})
    missing = [name for name, limit in gate.metrics.items() if name not in names and not limit.optional]
    return {**names, **dict.fromkeys(missing)}


def _compared(
    baseline: Sequence[Side],
    candidate: Sequence[Side],
    name: str,
    info: MetricInfo | None,
    ids: Sequence[str],
    swaps: np.ndarray,
    gate: Gate,
    allow: Sequence[str],
) -> Compared:
    """Compute a metric's difference on all compared prompts, or say why there is none."""
    sides = [*baseline, *candidate]
    limit = gate.metrics.get(name)
    direction = gates.direction(limit, info.higher_is_better if info else None)
    titles = unique_titles({n: i for side in reversed(sides) for n, i in side.record.metrics.items()})
    known = Compared(name, titles.get(name, name), direction, limit)

    lacking = [
        which
        for which, group in (("baseline", baseline), ("candidate", candidate))
        if any(name not in side.record.metrics for side in group)
    ]
    if lacking:
        return replace(known, reason=f"not measured in the {' nor in the '.join(lacking)}")
    if why := pairing.incomparable(sides, name):
        return replace(known, reason="; ".join(why))
    try:
        gathered = material(baseline, candidate, name, ids, (gate.groups, gate.seed), allow)
        numbers = {i: number for number, i in enumerate(ids)}
        columns = [numbers[i] for i in gathered.ids]
        own = swaps if len(columns) == len(ids) else swaps[:, columns]
        difference = gathered.of(np.arange(len(columns)), own)
    except EvalkitError as error:
        return replace(known, reason=str(error))
    except Exception as error:  # a metric may be anybody's code
        return replace(known, reason=failed(name, error))
    return replace(known, material=gathered, difference=difference)


def _metric_row(one: Compared, gate: Gate) -> dict[str, Any]:
    """A metric's row, with the columns of `evalkit.results.comparison_record.METRICS`."""
    limit, difference = one.limit, one.difference
    row: dict[str, Any] = {name: math.nan if kind == "float64" else "" for name, kind in METRICS.items()}
    row |= {"metric": one.name, "title": one.title, "direction": one.direction, "n": 0}
    row |= {"tier": limit.tier if limit else "", "margin_asked": str(limit.margin) if limit else ""}
    if difference is None:
        return row | {"verdict": "MISSING", "reason": one.reason}
    estimate = difference.estimate
    low, high = estimate.interval(gate.level)
    row |= {
        "baseline": difference.baseline,
        "candidate": difference.candidate,
        "raw_difference": difference.candidate - difference.baseline,
        "unbiased_baseline": difference.unbiased,
        "difference": estimate.value,
        "low": low,
        "high": high,
        "error": estimate.error,
        "df": estimate.df,
        "n": difference.n,
        "p": difference.p,
        "test": difference.test,
        "method": difference.method,
        "note": "\n".join(filter(None, [difference.note, _left_out(one)])),
        **_effect(one, difference),
    }
    return row | judged(one, difference, gate)


def _left_out(one: Compared) -> str:
    """Say how many prompts could not be compared; in several results of a side, where any has no value."""
    n = one.material.left_out if one.material else 0
    return f"left out, without a value on one side: {n:,} prompt{'' if n == 1 else 's'}" if n else ""


def _effect(one: Compared, difference: Difference) -> dict[str, Any]:
    """How large a difference is: on how many prompts, Cliff's delta, and in words."""
    if not isinstance(one.material, Sums):
        return {"effect": _relative(one.direction, difference)}
    before, after = one.material.values
    higher, lower = float((after > before).mean()), float((after < before).mean())
    delta = paired.cliffs_delta(after, before)
    if not higher and not lower:
        return {"better": 0.0, "worse": 0.0, "delta": 0.0, "effect": "the same on all prompts"}
    if one.direction == "same":
        words = f"higher on {_percent(higher)} of prompts, lower on {_percent(lower)}"
        return {"delta": delta, "effect": f"{words}, {paired.magnitude(delta)} (δ {delta:+.2f})"}
    if one.direction == "lower":
        higher, lower, delta = lower, higher, -delta
    word, share = ("better", higher) if higher >= lower else ("worse", lower)
    words = f"{word} on {_percent(share)} of prompts, {paired.magnitude(delta)} (δ {delta:+.2f})"
    return {"better": higher, "worse": lower, "delta": delta, "effect": words}


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _relative(direction: Direction, difference: Difference) -> str:
    """A change of a value of a set, relative to that of the baseline without its bias, in words."""
    value = difference.estimate.value
    if not difference.unbiased > 0 or not math.isfinite(value):  # KAD may be below 0, of which nothing is a share
        return ""
    if not value:
        return "no change"
    percent = 100 * abs(value / difference.unbiased)
    return f"{f'{percent:.1f}' if percent < 1000 else 'over 1,000'} % {changes(direction)[bool(value < 0)]}"


def _of_clusters(sides: Sequence[Side], units: int, prompts: int) -> Iterator[str]:
    """What is drawn and swapped where prompts belong together, and whether all results say so."""
    if units == prompts:
        return
    yield (
        f"n counts prompts; the {prompts:,} prompts belong to {units:,} clusters, which intervals, swaps and the "
        "gate's least_n count as one each"
    )
    every = [of_record(side.record).units for side in sides]
    if any(one != every[0] for one in every):
        yield "not all results name the same clusters: prompts that belong together in any of them do so here"


def _remarks(found: Sequence[Compared], gate: Gate) -> list[str]:
    """What a reader of the table must know."""
    said = []
    measured = [one.name for one in found]
    if absent := [n for n, limit in gate.metrics.items() if limit.tier == "critical" and n not in measured]:
        said.append(f"critical in the gate, and measured in no result: {', '.join(absent)}")
    for method, text in ((CORRECTED, RAW), (TOGETHER, AS_PARTS)):
        if titles := [one.title for one in found if one.difference and one.difference.method.startswith(method)]:
            said.append(text.format(titles=", ".join(titles)))
    return said
