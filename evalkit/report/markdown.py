"""The table of a run as GitHub Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from evalkit.report.joined import Joined
from evalkit.report.wording import (
    Summary,
    banner,
    difference_number,
    heading,
    interval,
    n_matters,
    name_of,
    notes,
    number,
    published_number,
    records,
    table,
    title_of,
)
from evalkit.results.published import ABOUT


def to_markdown(summary: Summary) -> str:
    """Write the table as GitHub Markdown, with notes, other published numbers and provenance."""
    parts = [f"# evalkit: {_escape(summary.dataset)}", _escape(heading(summary))]
    if summary.weights:
        parts.append(f"> **{_escape(banner(summary))}**")
    parts.append(_pipe_table(_markdown_rows(summary)))
    parts.append("↓ lower is better, ↑ higher is better. Difference: measured − published.")
    parts.append(_bullets(notes(summary)))
    if summary.slices is not None and len(summary.slices):
        parts += ["## Slices", *_markdown_slices(summary, summary.slices)]
    if summary.context is not None and len(summary.context):
        parts += ["## Other published numbers", *_markdown_context(summary, summary.context)]
    if summary.provenance:
        parts += ["## Provenance", _bullets(f"{key}: {value}" for key, value in summary.provenance.items())]
    return "\n\n".join(parts) + "\n"


def joined_to_markdown(joined: Joined) -> str:
    """Write several results as one table, with notes."""
    frame = joined.shown().map(_escape).rename(columns=_escape)
    parts = [f"> **{_escape(joined.warning)}**"] if joined.warning else []
    return "\n\n".join([*parts, _pipe_table(frame), _bullets(joined.notes)]) + "\n"


def _markdown_rows(summary: Summary) -> pd.DataFrame:
    frame = table(summary)
    show_n = n_matters(frame, summary)
    rows = []
    for row in records(frame):
        name = _escape(row["model"]) + (" (calibration)" if row["calibration"] else "")
        cells = {"model": name, "clips": f"{row['clips']:,} of {summary.generated[row['model']].total:,}"}
        for metric in summary.metrics:
            name = _escape(name_of(summary, metric))
            n = f" (n {row[f'{metric}_n']:,})" if show_n and not pd.isna(row[f"{metric}_n"]) else ""
            bounds = interval(row[f"{metric}_low"], row[f"{metric}_high"])
            cells[_escape(title_of(summary, metric))] = (
                " ".join(filter(None, [number(row[metric]), _escape(bounds)])) + n
            )
            if frame[f"{metric}_published"].notna().any():
                published = row[f"{metric}_published"]
                cells[f"{name} published"] = published_number(published)
                cells[f"{name} difference"] = difference_number(row[f"{metric}_difference"], published)
        rows.append(cells)
    return pd.DataFrame(rows)


def _markdown_slices(summary: Summary, slices: pd.DataFrame) -> list[str]:
    """One table per kind of group: a row per group and model, a column per metric."""
    parts = []
    for kind, rows in slices.groupby(slices["slice"].astype(str), sort=False):
        lines: dict[tuple[str, str], dict[str, str]] = {}
        for row in records(rows):
            cells = lines.setdefault((row["group"], row["model"]), {})
            cells |= {"model": _escape(row["model"]), _escape(str(kind)): _escape(row["group"])}
            bounds = _escape(interval(row["low"], row["high"]))
            n = f"(n {row['n']:,}{', small' if row['small'] else ''})"
            cells[_escape(title_of(summary, row["metric"]))] = " ".join(filter(None, [number(row["value"]), bounds, n]))
        parts.append(_pipe_table(pd.DataFrame(list(lines.values()))))
    small = (
        f"Small: fewer than {summary.small_slice} clips. Values of metrics that compare whole sets, such as FAD, and "
        "of retrieval depend on the number of clips: compare groups of like size."
    )
    empty = slices[slices["value"].isna()]
    reasons = dict.fromkeys(f"{row['slice']} {row['group']}: {row['note']}" for row in records(empty))
    return [*parts, small, *([_bullets(reasons)] if reasons else [])]


def _markdown_context(summary: Summary, context: pd.DataFrame) -> list[str]:
    """The other published numbers as a table, and their caveats as a list below it."""
    metrics = [str(c) for c in context.columns if c not in ABOUT and context[c].notna().any()]
    rows = []
    for row in records(context):
        cells = {"model": _escape(_named(row))}
        for m in metrics:
            cells[_escape(title_of(summary, m) if m in summary.metrics else m)] = published_number(row[m], places=1)
        source = f"[{_escape(row['source'])}]({row['url']})" + ("" if row["primary"] else ", quoted")
        rows.append(cells | {"protocol": _escape(row["protocol"]), "source": source})
    intro = "For context only: other models, and protocols that need not be this one. Quoted: its source was not read."
    return [intro, _pipe_table(pd.DataFrame(rows)), _bullets(_caveats(context))]


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['model']} ({row['condition']})" if row["condition"] else str(row["model"])


def _caveats(context: pd.DataFrame) -> list[str]:
    """Each caveat once, after the sources all of whose rows have it, or the models."""
    about: dict[str, list[str]] = {}
    for source, rows in context.groupby("source", sort=False):
        models: dict[str, list[str]] = {}
        for row in records(rows):
            for caveat in row["caveat"].splitlines():
                models.setdefault(caveat, []).append(_named(row))
        for caveat, named in models.items():
            about.setdefault(caveat, []).extend([str(source)] if len(named) == len(rows) > 1 else named)
    return [f"{', '.join(names)}: {caveat}" for caveat, names in about.items()]


def _pipe_table(frame: pd.DataFrame) -> str:
    """A Markdown table of cells that are already escaped."""
    align = ["left" if c in ("model", "source", "protocol") else "right" for c in frame.columns]
    return str(frame.to_markdown(index=False, disable_numparse=True, colalign=align))


def _bullets(lines: Any) -> str:
    return "\n".join(f"- {_escape(line)}" for line in lines)


def _escape(text: str) -> str:
    """Make text show literally in GitHub Markdown, also inside a table's cell."""
    text = html.escape(" ".join(str(text).split()), quote=False)
    # an underscore inside a word is not emphasis, and stays readable in the source
    return re.sub(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)", lambda match: "\\" + match[0], text)
