"""What the table of a run says, and its plain forms, CSV and JSON."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

NONE = "–"


ARROWS = {True: " ↑", False: " ↓", None: ""}  # by higher_is_better


FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for one


NO_SCORE = {
    "measured": math.nan,
    "low": math.nan,
    "high": math.nan,
    "n": None,
    "published": math.nan,
    "difference": math.nan,
    "comparable": False,
    "note": "",
}


@dataclass(frozen=True)
class Count:
    """How many clips are usable, and why the others are not."""

    ok: int
    total: int
    reasons: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.ok:,} of {self.total:,}" + (f" ({self.why})" if self.why else "")

    @property
    def why(self) -> str:
        return ", ".join(f"{n:,} {reason}" for reason, n in self.reasons.items() if n)


@dataclass(frozen=True)
class Summary:
    """Everything the table of a run says.

    Attributes:
        comparison: what `compare.compare` returned.
        metrics: title and higher_is_better of each metric, in the order of the columns.
        selected, total: number of prompts used, and in the dataset.
        generated: clips of each model, in the order of the rows.
        samples: clips of each prompt that the models made; rows of calibration have one.
        references: reference clips; None where the metrics needed none.
        rendered_by: the model that rendered the references; empty where they are recordings.
        cut, cut_to: number of references that were cut, and to how many seconds.
        weights: networks and models with seeded random weights.
        remarks: anything else a reader must know, one sentence each.
        level: of the confidence intervals.
        calibration: rows that show the scale and are no models.
        slices: what `scoring.measure` found for groups of prompts; small groups are below `small_slice`.
        context: what `compare.others` returned.
        provenance: short facts such as the commit and the device, shown under the Markdown table.
    """

    comparison: pd.DataFrame
    metrics: Mapping[str, tuple[str, bool | None]]
    dataset: str
    subset: str
    selected: int
    total: int
    protocol: str
    generated: Mapping[str, Count]
    samples: int = 1
    references: Count | None = None
    rendered_by: str = ""
    cut: int = 0
    cut_to: float = 0.0
    weights: Sequence[str] = ()
    remarks: Sequence[str] = ()
    level: float = 0.95
    calibration: Sequence[str] = ()
    slices: pd.DataFrame | None = None
    small_slice: int = 0
    context: pd.DataFrame | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)


def table(summary: Summary) -> pd.DataFrame:
    """Make the wide table: one row per model.

    Columns: model, clips (generated and usable) and prompts (how many there are); for each metric M the
    columns M, M_low, M_high, M_n, M_published, M_difference and M_comparable; then calibration,
    dataset, subset, protocol, random_weights (names, separated by commas) and note.
    """
    cells = {(cell["model"], cell["metric"]): cell for cell in records(summary.comparison)}
    rows = []
    for model, count in summary.generated.items():
        row: dict[str, Any] = {"model": model, "clips": count.ok, "prompts": count.total // each(summary, model)}
        notes: dict[str, None] = {}
        for metric in summary.metrics:
            cell = cells.get((model, metric), NO_SCORE)
            row[metric] = cell["measured"]
            for key in ("low", "high", "n", "published", "difference", "comparable"):
                row[f"{metric}_{key}"] = cell[key]
            notes.update(dict.fromkeys(cell["note"].splitlines()))
        row |= {"dataset": summary.dataset, "subset": summary.subset, "protocol": summary.protocol}
        row |= {"random_weights": ", ".join(summary.weights), "note": "; ".join(notes)}
        row["calibration"] = model in summary.calibration
        rows.append(row)
    frame = pd.DataFrame(rows)
    return frame.astype({f"{metric}_n": "Int64" for metric in summary.metrics})


def each(summary: Summary, model: str) -> int:
    """How many clips of each prompt a row is made of."""
    return 1 if model in summary.calibration else summary.samples


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def banner(summary: Summary) -> str:
    """Warn of random weights; empty where there are none."""
    return warning(summary.weights)


def warning(weights: Sequence[str]) -> str:
    """Warn of networks and models with random weights; empty where there are none."""
    return (
        f"Random weights: {', '.join(weights)}. The numbers below mean nothing outside this table." if weights else ""
    )


def heading(summary: Summary) -> str:
    """Say what was measured, in one line."""
    clips = f"{summary.samples} clips each, " if summary.samples > 1 else ""
    return (
        f"{summary.dataset}, subset {summary.subset}: {summary.selected:,} of {summary.total:,} prompts, {clips}"
        f"protocol {summary.protocol}"
    )


def notes(summary: Summary) -> list[str]:
    """Say what a reader of the table must know, each thing once."""
    lines = [_references(summary)]
    joined = summary.comparison[summary.comparison["published"].notna()]
    sources = dict.fromkeys(zip(joined["source"], joined["url"], strict=True))
    lines += [f"published: {title}, {url}" for title, url in sources]
    lines += [f"{model}: clips {count}" for model, count in summary.generated.items() if count.ok < count.total]
    said = [(line, r["model"], r["metric"]) for r in records(summary.comparison) for line in r["note"].splitlines()]
    for line in dict.fromkeys(line for line, _, _ in said):
        models = list(dict.fromkeys(model for other, model, _ in said if other == line))
        metrics = list(dict.fromkeys(metric for other, _, metric in said if other == line))
        about = [", ".join(models)] if len(models) < len(summary.generated) else []
        about += [", ".join(name_of(summary, m) for m in metrics)] if len(metrics) < len(summary.metrics) else []
        lines.append(": ".join([*about, line]))
    if summary.comparison["low"].notna().any():
        lines.append(f"intervals: {summary.level:.3g} confidence, from a bootstrap over prompts")
    return [*lines, *summary.remarks]


def _references(summary: Summary) -> str:
    if summary.references is None:
        return "references: none"
    cut = f"{summary.cut:,} cut to {summary.cut_to:g} s" if summary.cut else ""
    inside = "; ".join(x for x in (summary.references.why, cut) if x)
    text = f"references {summary.references.ok:,} of {summary.references.total:,}" + (f" ({inside})" if inside else "")
    if summary.rendered_by:
        text += f", rendered by {summary.rendered_by}, not recordings"
    return text


def number(value: Any, places: int = 3) -> str:
    """Format a measured value with one decimal more than the model card has."""
    return NONE if pd.isna(value) else f"{value:,.{places}f}"


def interval(low: Any, high: Any, places: int = 3) -> str:
    """Format a confidence interval; empty where there is none."""
    return "" if pd.isna(low) else f"[{number(low, places)}, {number(high, places)}]"


def published_number(value: Any, places: int = 2) -> str:
    """Format a published value as its source does: at most three decimals, at least `places`."""
    if pd.isna(value):
        return NONE
    text = f"{value:.3f}"
    while text.endswith("0") and len(text.partition(".")[2]) > places:
        text = text[:-1]
    return text


def difference_number(difference: Any, published: Any) -> str:
    """Format a difference with its sign, to the decimals that were published."""
    if pd.isna(difference):
        return NONE
    text = f"{difference:+.{len(published_number(published).partition('.')[2])}f}"
    return text if float(text) else "±" + text[1:]


def name_of(summary: Summary, metric: str) -> str:
    """The metric's title, made unique where two metrics share one."""
    if metric not in summary.metrics:
        return metric
    title = summary.metrics[metric][0]
    shared = sum(other == title for other, _ in summary.metrics.values()) > 1
    return f"{title} ({metric})" if shared else title


def title_of(summary: Summary, metric: str) -> str:
    """The metric's name with an arrow that points to what is better, where it is known."""
    return name_of(summary, metric) + ARROWS[summary.metrics[metric][1]]


def n_matters(frame: pd.DataFrame, summary: Summary) -> bool:
    """Whether a metric was measured on another number of prompts than the model has usable clips of."""
    full = frame["clips"] / [each(summary, model) for model in frame["model"]]
    return any((frame[f"{m}_n"].replace(0, pd.NA) != full).any() for m in summary.metrics)


def to_csv(summary: Summary) -> str:
    """Write the wide table as CSV; text that a spreadsheet would run as a formula gets a leading apostrophe."""
    frame = table(summary)
    for column in ("model", "dataset", "subset", "protocol", "random_weights", "note"):
        frame[column] = [f"'{text}" if text.startswith(FORMULA) else text for text in frame[column]]
    return str(frame.to_csv(index=False, lineterminator="\n"))


def to_json(summary: Summary) -> dict[str, Any]:
    """Return everything the table says as a JSON value; what is not a finite number is null."""
    value: dict[str, Any] = {
        "dataset": summary.dataset,
        "subset": summary.subset,
        "level": summary.level,
        "calibration": list(summary.calibration),
        "prompts": {"selected": summary.selected, "total": summary.total},
        "protocol": summary.protocol,
        "random_weights": list(summary.weights),
        "warning": banner(summary) or None,
        "metrics": {
            name: {"title": title, "higher_is_better": higher} for name, (title, higher) in summary.metrics.items()
        },
        "generated": {model: dataclasses.asdict(count) for model, count in summary.generated.items()},
        "references": summary.references
        and {
            **dataclasses.asdict(summary.references),
            "rendered_by": summary.rendered_by or None,
            "cut": summary.cut,
            "cut_to": summary.cut_to if summary.cut else None,
        },
        "table": records(table(summary)),
        "scores": records(summary.comparison),
        "slices": [] if summary.slices is None else records(summary.slices),
        "notes": notes(summary),
        "context": [] if summary.context is None else records(summary.context),
        "provenance": dict(summary.provenance),
    }
    result: dict[str, Any] = plain(value)
    return result


def plain(value: Any) -> Any:
    """Make a value fit for JSON: what is not a finite number is None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value
