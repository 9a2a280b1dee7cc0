"""What was published, beside what a run measured: the value, whether it can be compared, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from evalkit.results.comparable import Reason, reasons, unverified
from evalkit.results.published import Published
from evalkit.results.record import Record
from evalkit.results.reproduced import LEAST_SHARE, NO_TOLERANCE, Judged, Measured, judge, not_comparable

ADDED = (
    "published", "difference", "comparable", "rounding", "tolerance", "published_n", "because",
    "difference_low", "difference_high", "verdict", "verdict_reason", "context", "tuned_from", "source", "url",
)  # fmt: skip


def compared(record: Record, published: Sequence[Published]) -> pd.DataFrame:
    """Set every score of a record beside the published value of the same checkpoint, dataset, metric and protocol.

    Returns the scores with the columns of ADDED, as `evalkit.results.record.Record` has them. Where there is no
    published value, or it cannot be compared, `comparable` is False. What was found is added to `note`,
    one remark per line. Rows of calibration are not compared, and scores of random weights have no published value.
    """
    rows = []
    for row in record.scores.to_dict("records"):
        score = {str(key): value for key, value in row.items()}
        name, metric = score["model"], score["metric"]
        info, found, context = record.rows[name], None, None
        notes: list[str] = []
        if not info.calibration and record.prompts_info.form == "prompts":
            found, notes = published_for(record, name, metric, published)
            context = None if found else _tuned_from(record, name, metric, published)
            if score["random_weights"]:
                found, notes = None, ["random weights: not compared with published numbers"]
        why: list[Reason] = []
        judged = not_comparable(notes) if info.published and notes else None
        if found is not None:
            why = reasons(record, name, metric, found)
            judged = _judged(record, score, found, why)
            notes = [*_notes(judged, why), *found.caveats]
            if judged.verdict == "REPRODUCED" or judged.verdict.startswith("DIFFERS"):
                unchecked = "; ".join(unverified(record, name, metric))
                judged = replace(
                    judged, reason=f"{judged.reason}; not verified: {unchecked}" if unchecked else judged.reason
                )
        value = math.nan if found is None or found.value is None else found.value
        rows.append(
            {
                **score,
                "published": value,
                "difference": score["value"] - value,
                "comparable": not math.isnan(score["value"]) and not math.isnan(value) and not why,
                "rounding": judged.rounding if judged else math.nan,
                "tolerance": judged.tolerance if judged else math.nan,
                "published_n": found.n if found and found.n else math.nan,
                "because": " ".join(found.tolerance.because.split()) if found and found.tolerance else "",
                "difference_low": judged.low if judged else math.nan,
                "difference_high": judged.high if judged else math.nan,
                "verdict": judged.verdict if judged else "",
                "verdict_reason": judged.reason if judged else "",
                "context": context.value if context else math.nan,
                "tuned_from": context.model if context else "",
                "source": found.source if found else "",
                "url": found.url if found else "",
                "note": "\n".join(filter(None, [score["note"], *notes])),
            }
        )
    return pd.DataFrame(rows, columns=list(dict.fromkeys([*record.scores.columns, *ADDED])))


def published_for(
    record: Record, row: str, metric: str, published: Sequence[Published]
) -> tuple[Published | None, list[str]]:
    """Find the published value that stands beside a score, or say why there is none."""
    info, checkpoint, protocol = record.prompts_info, record.rows[row].published, record.metrics[metric].protocol
    if checkpoint is None:
        return None, ["not a checkpoint that numbers were published for"]
    if all(p.dataset != info.dataset for p in published):
        return None, [f"no published numbers are known for the prompt set '{info.dataset}'"]
    own = _of(record, checkpoint, metric, published)
    given = [p for p in own if p.value is not None]
    if found := _first(record, metric, given):
        return found, []
    if given:
        first = min(given, key=lambda p: not p.primary)
        return None, [
            f"published as {first.value:g} under the protocol '{first.protocol}', "
            f"measured under '{protocol}': not compared"
        ]
    said = [caveat for p in own for caveat in p.caveats]
    return None, said or [f"no value was published for this checkpoint on {info.dataset}"]


def _of(record: Record, checkpoint: str, metric: str, published: Sequence[Published]) -> list[Published]:
    """What was published of a checkpoint and a metric on the record's data set, of captions alone."""
    here = [p for p in published if p.dataset == record.prompts_info.dataset and p.released]
    return [p for p in here if (p.model, p.metric, p.condition) == (checkpoint, metric, "")]


def _first(record: Record, metric: str, published: Sequence[Published]) -> Published | None:
    """The published value that a score of the record's protocol stands beside."""
    same = [p for p in published if p.protocol == record.metrics[metric].protocol]
    # the same clips first, then a document that was itself read before a quote
    return min(same, key=lambda p: (p.subset != record.prompts_info.subset, not p.primary), default=None)


def _tuned_from(record: Record, row: str, metric: str, published: Sequence[Published]) -> Published | None:
    """The value that was published for what a checkpoint was tuned from, where it has none of its own."""
    own = _of(record, record.rows[row].published or "", metric, published)
    for origin in dict.fromkeys(p.tuned_from for p in own if p.tuned_from):
        given = [p for p in _of(record, origin, metric, published) if p.value is not None]
        if found := _first(record, metric, given):
            return found
    return None


def _judged(record: Record, score: Mapping[str, Any], published: Published, why: Sequence[Reason]) -> Judged:
    """Judge a score beside the published value that was found for it, which need not be comparable."""
    n, texts = int(score["n"]), [reason.text for reason in why]
    if any(reason.condition != "missing" for reason in why) or (published.n and n < LEAST_SHARE * published.n):
        return not_comparable(texts, published)
    if published.tolerance is None:
        return not_comparable([*texts, NO_TOLERANCE], published)
    value, sd, spread = (float(score[key]) for key in ("value", "seed_sd", "spread"))
    row = record.rows[score["model"]]
    checkable = row.generated and row.checkpoint is not None
    return judge(Measured(value, int(score["sets"]), sd, spread, n, checkable), published)


def _notes(judged: Judged, why: Sequence[Reason]) -> list[str]:
    """What is said of a verdict, and first of what a published value cannot be compared for."""
    if judged.verdict == "NOT COMPARABLE":
        said = "; ".join(reason.text for reason in why)
        more = judged.reason.removeprefix(said).removeprefix("; ")
        return [*(f"not comparable: {reason.text}" for reason in why), *([more] if more else [])]
    fewer = [f"fewer prompts than published: {reason.text}" for reason in why]  # all else is not comparable
    return [*fewer, f"{judged.verdict}: {judged.reason}"]
