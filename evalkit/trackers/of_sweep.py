"""A sweep as runs: one for the whole, and one for each point."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.results.summary import records
from evalkit.results.sweep import PLOTS, Sweep
from evalkit.store.redaction import redacted
from evalkit.trackers import of_result
from evalkit.trackers.content import About, about, capped
from evalkit.trackers.run import Limits, Run, Sound, flat, numbers, part
from evalkit.trackers.sounds import sounds

OF_A_SCORE = (
    *("low", "high", "n", "to_default", "to_default_low", "to_default_high", "to_best", "to_best_low", "to_best_high"),
    "p_best",
)


def runs(sweep: Sweep, limits: Limits, folder: Path) -> list[Run]:
    """Describe a sweep for a tracker; files that are made for it are written into a folder."""
    shared = about(sweep, sweep.random, limits, folder)
    missing: list[str] = []
    points = sweep.points.assign(options=[", ".join(f"{k}={v}" for k, v in o.items()) for o in sweep.points["options"]])
    names = dict(zip(sweep.points["point"], sweep.points["name"], strict=True))
    said = {
        "evalkit_kind": "sweep",
        "evalkit_winner": "" if sweep.winner is None else str(names[sweep.winner]),
        "evalkit_random_weights": ", ".join(sweep.random),
        "evalkit_dataset": sweep.dataset,
        "evalkit_protocol": sweep.protocol,
    }
    found = {
        "swept": {one.key: list(one.values) for one in sweep.parameters},
        "search": sweep.search,
        "objectives": [one.metric for one in sweep.objectives],
        "model": sweep.model,
        "prompts": {"dataset": sweep.dataset, "subset": sweep.subset, "selected": sweep.prompts},
        "protocol": sweep.protocol,
        "made": of_result.provenance(sweep.provenance),
    }
    plots = {f"{name}.png": sweep.path / PLOTS / f"{name}.png" for name in sweep.plots}
    whole = Run(
        key=shared.key("sweep"),
        name=shared.named(f"sweep {sweep.name}"),
        group=shared.group,
        kind="sweep",
        time=shared.time,
        scalars={"points": len(points), "points/failed": int((points["status"] == "failed").sum())},
        parameters=flat(redacted(found)),
        tags=shared.tags(sweep.path, said),
        marks=shared.marks,
        tables={
            "points": capped(points.drop(columns=["path"]), limits.rows, "the table of points", missing),
            "scores": capped(sweep.scores, limits.rows, "the table of scores", missing),
        },
        files={**shared.files, **{name: path for name, path in plots.items() if path.is_file()}},
        text=shared.said(missing),
    )
    return [whole, *(_point(sweep, point, shared, limits, folder) for point in records(sweep.points))]


def _point(sweep: Sweep, point: Mapping[str, Any], shared: About, limits: Limits, folder: Path) -> Run:
    number = int(point["point"])
    scalars: dict[str, float] = {}
    for score in records(sweep.scores[sweep.scores["point"] == number]):
        metric = part(score["metric"])
        if measured := numbers({metric: score["value"]}):
            scalars |= measured | numbers({f"{metric}/{name}": score[name] for name in OF_A_SCORE})
    roles = {"default": sweep.default, "winner": sweep.winner}
    own = [role for role, which in roles.items() if which == number]
    missing: list[str] = []
    tables, heard = {}, list[Sound]()
    if own:  # the two that people listen to; the others have their numbers
        try:
            result = sweep.result(number)
            clips = result.clips[result.clips["model"] == point["row"]]
            heard = list(sounds(result, clips, limits, folder, missing))
            tables["clips"] = capped(of_result.table(result, clips), limits.rows, "the table of clips", missing)
        except EvalkitError as error:
            missing.append(f"the clips: {error}")
    said = {
        "evalkit_kind": "point",
        "evalkit_point": str(number),
        "evalkit_status": point["status"],
        "evalkit_reason": point["reason"],
        "evalkit_role": ", ".join(own),
        "evalkit_random_weights": ", ".join(sweep.random),
    }
    return Run(
        key=shared.key(f"point {number}"),
        name=shared.named(f"{number:03d} {point['name']}" + (f" ({', '.join(own)})" if own else "")),
        group=shared.group,
        kind="point",
        time=shared.time,
        scalars=scalars | numbers({name: point[name] for name in ("front", "silence_share", "clipped_clips")}),
        parameters=flat(redacted(dict(point["options"]))),
        tags=shared.tags(sweep.path, said),
        marks=[*own, *shared.marks, *([point["status"]] if point["status"] != "ok" else [])],
        tables=tables,
        sounds=heard,
        text="\n".join([*filter(None, [shared.warning]), *(f"- not sent: {line}" for line in missing)]),
    )
