"""The figures of attention, as JSON and as a page that can be read."""

from __future__ import annotations

import datetime
import json
import platform
from pathlib import Path
from typing import Any

import torch

from benchmarks.metrics_report import table

NAMES = {
    "triton": "evalkit's kernel",
    "efficient": "torch, memory-efficient",
    "math": "torch, plain",
    "flash": "torch, flash",
    "cudnn": "torch, cuDNN",
    "torch": "torch",
}


def write(path: Path, found: dict[str, Any]) -> None:
    """Put figures into a JSON file, beside those it has, and write the page next to it anew."""
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    known |= found | {"date": datetime.date.today().isoformat(), "machine": machine()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=1) + "\n", "utf-8")
    path.with_suffix(".md").write_text("\n".join(lines(known)) + "\n", "utf-8")


def machine() -> dict[str, str]:
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "a CPU"
    return {"name": card, "python": platform.python_version(), "torch": torch.__version__}


def lines(found: dict[str, Any]) -> list[str]:
    about = found["machine"]
    page = [
        "# Attention, and what a step consists of",
        "",
        f"{about['name']}, {found['dtype']}; {found['date']}; Python {about['python']}, torch {about['torch']}. "
        f"{found['heads']} heads of {found['head']} dimensions. A copy moves {found['bandwidth'] / 1e9:,.0f} GB/s "
        "(read and written). Errors are relative, against float64.",
        "",
    ]
    if "attention" in found:
        page += ["## One query per row", "", "GB/s are of the keys and values that count.", ""]
        header = ["attention", "rows", "positions read", "of which count", "error", "first call, s", "µs", "GB/s"]
        page += table(header, [attention(row) for row in found["attention"]])
    if "captions" in found:
        page += ["## Captions", ""]
        header = ["attention", "clips", "tokens", "error", "µs", "GB/s"]
        page += table(header, [cells(row, [NAMES[row["attention"]], "clips", "tokens"]) for row in found["captions"]])
    if "padded" in found:
        page += ["## Padding on the left, and several new positions", ""]
        header = ["attention", "rows", "positions", "padding", "new", "error"]
        page += table(header, [padded(row) for row in found["padded"]])
    if "sums" in found:
        page += ["## A sum and its norm", ""]
        rows = [[NAMES[row["by"]], f"{row['rows']}", *figures(row, ("error", "us"))] for row in found["sums"]]
        page += table(["by", "rows", "error", "µs"], rows)
    for step in found.get("steps", []):
        page += steps(found["size"], step)
    return page


def figures(row: dict[str, Any], keys: tuple[str, ...]) -> list[str]:
    """Cells of a row; where it failed the first says why."""
    forms = {"error": ".1e", "first_seconds": ".2f", "us": ".1f", "gb_per_s": ",.0f"}
    if "failed" in row:
        return [f"failed: {row['failed']}", *["–"] * (len(keys) - 1)]
    return [format(row[key], forms[key]) for key in keys]


def attention(row: dict[str, Any]) -> list[str]:
    shape = [f"{row[key]}" for key in ("rows", "read", "seen")]
    return [NAMES[row["attention"]], *shape, *figures(row, ("error", "first_seconds", "us", "gb_per_s"))]


def cells(row: dict[str, Any], shape: list[str]) -> list[str]:
    name, *keys = shape
    return [name, *(f"{row[key]}" for key in keys), *figures(row, ("error", "us", "gb_per_s"))]


def padded(row: dict[str, Any]) -> list[str]:
    shape = [f"{row[key]}" for key in ("rows", "read", "left", "new")]
    return [NAMES[row["attention"]], *shape, *figures(row, ("error",))]


def steps(size: str, step: dict[str, Any]) -> list[str]:
    how = f"{step['facts']['attention']}, graphs: {'yes' if step['facts']['graphs'] else 'no'}"
    times = ", ".join(f"{ms:.2f} ms at position {place}" for place, ms in step["ms"].items())
    rows = [[f"{us:,.0f}", f"{count}", f"`{name}`"] for us, count, name in step["longest"]]
    return [
        f"## A step of {size} with {step['clips']} clips",
        "",
        f"{how}: {times}. Without a graph, half-way, it is {step['kernels']} kernels, which take "
        f"{step['kernels_us'] / 1000:.2f} ms together. The longest:",
        "",
        *table(["µs", "times", "kernel"], rows),
    ]
