"""A comparison as one run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evalkit.report.literal import literal
from evalkit.report.numbers import number
from evalkit.results.comparison import Comparison
from evalkit.results.summary import records
from evalkit.store.digests import sha256_file
from evalkit.store.redaction import redacted
from evalkit.trackers.content import about, capped
from evalkit.trackers.run import Limits, Run, Sound, flat, numbers, part
from evalkit.trackers.sounds import MOST, written

OF_A_METRIC = ("baseline", "candidate", "difference", "low", "high", "margin", "p", "p_breach", "mde", "n")
PATHS = tuple(f"{side}_{name}" for side in ("baseline", "candidate", "reference") for name in ("path", "sha256"))


def runs(comparison: Comparison, limits: Limits, folder: Path) -> list[Run]:
    """Describe a comparison for a tracker; files that are made for it are written into a folder."""
    shared = about(comparison, comparison.random, limits, folder)
    missing: list[str] = []
    metrics = records(comparison.metrics)
    sides = {
        side: {"row": "; ".join(one.row for one in given), "path": "; ".join(one.path for one in given),
               "checkpoint": "; ".join(filter(None, (one.checkpoint for one in given)))}
        for side, given in (("baseline", comparison.baseline), ("candidate", comparison.candidate))
    }  # fmt: skip
    found = {
        **sides,
        "prompts": {"dataset": comparison.dataset, "subset": comparison.subset, "selected": comparison.prompts},
        "protocol": comparison.protocol,
        "gate": comparison.gate,
    }
    said = {
        "evalkit_kind": "comparison",
        "evalkit_outcome": comparison.outcome,
        "evalkit_reasons": "; ".join(comparison.reasons),
        "evalkit_random_weights": ", ".join(comparison.random),
        **{f"evalkit_verdict.{part(row['metric'])}": row["verdict"] for row in metrics},
    }
    moved = comparison.moved.drop(columns=list(PATHS))
    heard = list(_sounds(comparison, limits, folder, missing))
    return [
        Run(
            key=shared.key("comparison"),
            name=shared.named(f"{sides['candidate']['row']} against {sides['baseline']['row']}: {comparison.outcome}"),
            group=shared.group,
            kind="comparison",
            time=shared.time,
            scalars={
                name: value
                for row in metrics
                for name, value in numbers({f"{part(row['metric'])}/{key}": row[key] for key in OF_A_METRIC}).items()
            },
            parameters=flat(redacted(found)),
            tags=shared.tags(comparison.path, said),
            marks=[comparison.outcome, *shared.marks],
            tables={
                "metrics": capped(comparison.metrics, limits.rows, "the table of metrics", missing),
                "clips": capped(moved, limits.rows, "the table of clips that moved most", missing),
                **({"slices": capped(comparison.slices, limits.rows, "the table of slices", missing)}
                   if len(comparison.slices) else {}),
            },
            sounds=heard,
            files=shared.files,
            text=shared.said(missing),
        )
    ]  # fmt: skip


def _sounds(comparison: Comparison, limits: Limits, folder: Path, missing: list[str]) -> Iterator[Sound]:
    """Both sides of the prompts that moved most, by metric, where their clips are still there and the same."""
    wanted = [
        (f"{part(metric)} moved {rank} {side}", row, side)
        for metric, rows in comparison.moved.groupby("metric", sort=False)
        for rank, row in enumerate(records(rows.head(limits.sounds)), 1)
        for side in ("baseline", "candidate")
    ]
    gone = 0
    for name, row, side in wanted[:MOST]:
        path = Path(row[f"{side}_path"])
        there = path.is_file() and sha256_file(path) == row[f"{side}_sha256"]
        target = written(path, folder, name, limits.form) if there else None
        if target is None:
            gone += 1
            continue
        about = f"{name}; {row['title']} {number(row[side])}"
        yield Sound(name, target, f"{literal(row['id'])} ({about}): {literal(row['caption'])}")
    if len(wanted) > MOST:
        missing.append(f"{len(wanted) - MOST} of the {len(wanted)} clips that moved most, to listen to")
    if gone:
        missing.append(f"{gone} of {min(len(wanted), MOST)} clips, which are no longer there, or not the same")
