"""The record of a sweep, from points that were measured, wherever that was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.page.writing import write_at_the_end
from evalkit.plan import Plan
from evalkit.progress import silenced
from evalkit.results.frames import TAKEN
from evalkit.results.options import leaves, short
from evalkit.results.pairing import Side
from evalkit.results.summary import unscored
from evalkit.results.sweep import Sweep
from evalkit.results.sweep_points import Point, Rung, swept
from evalkit.results.sweep_record import Objective, Parameter
from evalkit.trackers import tell


@dataclass(frozen=True)
class Confirmed:
    """The default and the winner, measured again on a seed that nothing was chosen by."""

    default: Side
    winner: Side
    seed: int


@dataclass(frozen=True)
class Made:
    """A sweep that was made.

    Attributes:
        incomplete: what was not measured, in one sentence; empty where all was.
    """

    sweep: Sweep
    incomplete: str


def finish(
    folder: Path,
    name: str,
    plan: Plan,
    keys: Sequence[str],
    points: Sequence[Point],
    objectives: Sequence[Objective],
    *,
    default: int | None,
    defaults: Mapping[str, Any] | None = None,
    search: str = "grid",
    facts: Mapping[str, Any] | None = None,
    confirmed: Confirmed | None = None,
    rungs: Sequence[Rung] = (),
    remarks: Sequence[str] = (),
    unconfirmed: str = "",
) -> Made:
    """Write the record of a sweep into its folder.

    Args:
        name: of the sweep.
        plan: of one of the points.
        keys: of the parameters.
        default: number of the point where nothing is swept.
        defaults: what the parameters are there, by their keys.
        unconfirmed: why the winner could not be measured again, where that failed.

    Raises EvalkitError where no point was measured, with the reason of the first.
    """
    failed = [number for number, point in enumerate(points, 1) if point.side is None]
    if len(failed) == len(points):
        others = "" if len({point.reason for point in points}) == 1 else "; the others for other reasons"
        raise EvalkitError(f"none of the {len(points):,} points could be measured: {points[0].reason}{others}")
    sweep = swept(
        points,
        name=name,
        parameters=parameters(plan, keys, points, defaults or {}),
        objectives=objectives,
        default=default,
        search=search,
        search_facts=facts,
        confirmed=(confirmed.default, confirmed.winner) if confirmed else None,
        fresh_seed=confirmed.seed if confirmed else None,
        rungs=rungs,
        level=plan.uncertainty.level,
        seed=plan.uncertainty.seed,
        config=_without(plan.config, keys),
        allow=[str(package) for package in plan.config["allow_targets"]],
        remarks=remarks,
    ).save(folder)
    with silenced(plan.engine.quiet):
        if plan.config["report"]:
            write_at_the_end(sweep)
        tell(sweep, plan.trackers)
    return Made(sweep, _incomplete(sweep, points, failed, unconfirmed))


def _incomplete(sweep: Sweep, points: Sequence[Point], failed: Sequence[int], unconfirmed: str) -> str:
    said = [unconfirmed] if unconfirmed else []
    if failed:
        named = ", ".join(str(number) for number in failed[:10]) + (", …" if len(failed) > 10 else "")
        said.append(f"{len(failed):,} of {len(points):,} points failed: {named}")
    for number, point in enumerate(points, 1):
        if point.side is not None and (absent := unscored(point.side.record)):
            said.append(f"point {number} has no score of {', '.join(absent)}")
    return f"'{sweep.path}': {'; '.join(said)}" if said else ""


def parameters(
    plan: Plan, keys: Sequence[str], points: Sequence[Point], defaults: Mapping[str, Any]
) -> list[Parameter]:
    """Describe what was swept: the values that points have, numbers by size."""
    every = dict.fromkeys([*keys, *(key for key, _ in leaves(plan.config))])
    taken = {*TAKEN, "n", *plan.metrics}
    found = []
    for key in keys:
        values: list[Any] = []
        for point in points:
            if key in point.options and point.options[key] not in values:
                values.append(point.options[key])
        numeric = all(type(value) in (int, float) for value in values)
        name = short(key, every, taken)
        found.append(Parameter(key, name, sorted(values) if numeric else values, defaults.get(key), numeric))
    return found


def _without(config: Mapping[str, Any], keys: Sequence[str], path: str = "") -> dict[str, Any]:
    """A configuration without what is swept in it."""
    return {
        key: _without(value, keys, f"{path}{key}.") if isinstance(value, Mapping) else value
        for key, value in config.items()
        if f"{path}{key}" not in keys
    }
