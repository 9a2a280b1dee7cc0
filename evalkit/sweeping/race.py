"""Racing: points are measured on more and more prompts, and those that others beat for certain are dropped.

The prompts of each rung are the first ones in the order of their digests, so that a rung has those of the rung before,
whose clips are in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.results.pairing import Side
from evalkit.results.sweep_points import Point, Rung, joint
from evalkit.results.sweep_record import Objective
from evalkit.stats import best
from evalkit.store.digests import digest

ALL = "all"
LEAST = 10  # prompts of a rung: of fewer no noise can be told
DRAWS = 4000

Measure = Callable[[int, Sequence[str] | None], Point]  # of a point's number and the ids of prompts; None for all


def rungs(text: str) -> list[int]:
    """Read the numbers of prompts of the rungs before the last, which has all: 50 and 200 of "50,200,all".

    Raises EvalkitError for anything but increasing numbers and "all" at the end.
    """
    if not isinstance(text, str):
        raise EvalkitError(f"race={text!r}: must be a text of numbers of prompts, such as '50,200,{ALL}'")
    given = [part.strip() for part in text.split(",")]
    said = f"--race {text}: write increasing numbers of prompts and 'all' at the end, such as 50,200,{ALL}"
    if given[-1] != ALL or len(given) < 2 or not all(part.isdecimal() for part in given[:-1]):
        raise EvalkitError(said)
    sizes = [int(part) for part in given[:-1]]
    if sorted(set(sizes)) != sizes:
        raise EvalkitError(said)
    if sizes[0] < LEAST:
        raise EvalkitError(f"--race {text}: {LEAST} prompts are the least that a point can be dropped by")
    return sizes


def nested(ids: Sequence[str]) -> list[str]:
    """Order prompts by the digests of their ids: as good as at random, and the same for every sweep."""
    return sorted(ids, key=digest)


def run(
    points: Sequence[int],
    measure: Measure,
    ids: Sequence[str],
    sizes: Sequence[int],
    objectives: Sequence[Objective],
    *,
    default: int | None,
    samples: int,
    level: float,
    seed: int,
    allow: Sequence[str] = (),
    ahead: Callable[[Sequence[int], Sequence[str] | None], None] = lambda numbers, chosen: None,
) -> tuple[dict[int, Point], list[Rung]]:
    """Measure points rung by rung.

    After each rung but the last, points are dropped that another one beats in every objective, by more than its margin
    and beyond noise. A point that none truly beats is kept through all rungs with probability `level`: each such point
    by itself, not all of them at once. The default is never dropped.

    Args:
        points: their numbers.
        measure: measures a point; the point that it gives is "ok" or "failed".
        ids: of all prompts.
        sizes: of the rungs before the last, increasing.
        samples: clips of each prompt.
        level, seed: of the draws by which points are dropped.
        allow: packages outside evalkit whose metrics may be imported.
        ahead: hears of the points of a rung, and of its prompts as `measure` does, before these are measured; not of
            the first point of the first rung, which is measured before.

    Returns every point as it was measured last, and the rungs.
    """
    order, found, left, told = nested(ids), dict[int, Point](), list(points), list[Rung]()
    share = 1 - (1 - level) / len(sizes)
    before = 0
    for size in [*sizes, len(ids)]:
        last = size == len(ids)
        chosen = None if last else order[:size]
        # The first of all is measured alone: the others find what is the same for them, and what it fails at is said.
        alone = 0 if told else 1
        for number in left[:alone]:
            found[number] = measure(number, chosen)
        ahead(left[alone:], chosen)
        for number in left[alone:]:
            found[number] = measure(number, chosen)
        there = {number: side for number in left if (side := found[number].side) is not None}
        beaten = {} if chosen is None else _beaten(there, chosen, objectives, share, seed, allow)
        beaten.pop(default or 0, None)
        for number, other in beaten.items():
            said = f"after {size:,} prompts worse than point {other} in {_listed(objectives)}"
            point = found[number]
            found[number] = Point(point.options, point.side, "dropped", said, size)
        told.append(Rung(size, len(left), len(beaten), len(left) * (size - before) * samples))
        left = [number for number in there if number not in beaten]
        before = size
    return found, told


def _listed(objectives: Sequence[Objective]) -> str:
    return " and ".join(objective.title for objective in objectives)


def _beaten(
    sides: Mapping[int, Side],
    ids: Sequence[str],
    objectives: Sequence[Objective],
    level: float,
    seed: int,
    allow: Sequence[str],
) -> dict[int, int]:
    """The points that another beats, each with the one that beats it by most; none where a value is not known."""
    numbers = list(sides)
    if len(numbers) < 2:
        return {}
    try:
        measured = [joint(list(sides.values()), objective.metric, ids, allow) for objective in objectives]
    except EvalkitError:  # no point has a value: what the last rung says of them is for the record
        return {}
    estimates = np.array([values for values, _ in measured])
    influences = np.array([moved for _, moved in measured])
    drawn = best.multipliers(influences.shape[2], DRAWS, seed)
    lower = np.array([not objective.higher_is_better for objective in objectives])
    margins = np.array([objective.margin for objective in objectives])
    by = best.dominated(estimates, influences, drawn, level, lower, margins)
    return {number: numbers[other] for number, other in zip(numbers, by, strict=True) if other >= 0}
