"""Racing: rungs, nested prompts, and which points are left out after each."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from evalkit.errors import EvalkitError
from evalkit.results.sweep_points import Point, Rung
from evalkit.results.sweep_record import Objective
from evalkit.sweeping import race

FAD = Objective("fad", "FAD", False)
CLAP = Objective("clap_score", "CLAP score", True)
IDS = [f"p{i}" for i in range(400)]


@pytest.mark.parametrize(
    "text", ["50", "50,200", "all", "200,50,all", "50,50,all", "50,all,200", "x,all", "50.5,all", ""]
)
def test_rungs_are_increasing_numbers_and_all(text: str) -> None:
    assert race.rungs("50, 200,1000,all") == [50, 200, 1000]
    with pytest.raises(EvalkitError, match="write increasing numbers of prompts and 'all' at the end"):
        race.rungs(text)


def test_rungs_are_written_as_text() -> None:
    for other in ([10], 10, ("10", "all")):
        with pytest.raises(EvalkitError, match=r"must be a text of numbers of prompts, such as '50,200,all'$"):
            race.rungs(other)


def test_a_rung_of_a_handful_is_refused() -> None:
    with pytest.raises(EvalkitError, match="10 prompts are the least"):
        race.rungs("9,all")


def test_the_order_of_prompts_depends_on_their_ids_alone_and_looks_random() -> None:
    shuffled = random.Random(0).sample(IDS, len(IDS))
    assert race.nested(IDS) == race.nested(shuffled)
    assert sorted(race.nested(IDS)) == sorted(IDS)
    first = [int(name[1:]) for name in race.nested(IDS)[:100]]
    assert 150 < np.mean(first) < 250 and first != sorted(first)
    some = race.nested([name for name in IDS if name != race.nested(IDS)[5]])
    assert some[:5] == race.nested(IDS)[:5]  # one that is not there changes no other's place


class Field:
    """Points whose value of each prompt is its quality plus noise that they share, and that is the same each time."""

    def __init__(self, qualities: Sequence[Sequence[float]], failing: dict[int, int] | None = None, own: float = 0.1):
        rng = np.random.default_rng(0)
        shared = dict(zip(IDS, rng.normal(0, 1, len(IDS)), strict=True))
        self.values = [
            [{i: quality + shared[i] + own * rng.normal() for i in IDS} for quality in point] for point in qualities
        ]
        self.failing = failing or {}
        self.asked: list[tuple[int, Sequence[str] | None]] = []

    def measure(self, number: int, ids: Sequence[str] | None) -> Point:
        self.asked.append((number, ids))
        if self.failing.get(number) == len(ids or IDS):
            return Point({}, None, "failed", "it broke")
        side: Any = number
        return Point({"x": number}, side)

    def joint(self, sides: Sequence[int], metric: str, ids: Sequence[str], allow: Any) -> tuple[np.ndarray, np.ndarray]:
        which = ["fad", "clap_score"].index(metric)
        values = np.array([[self.values[number - 1][which][i] for i in ids] for number in sides])
        return values.mean(axis=1), values - values.mean(axis=1, keepdims=True)

    def run(
        self, monkeypatch: pytest.MonkeyPatch, sizes: Sequence[int], objectives: Sequence[Objective], **more: Any
    ) -> tuple[dict[int, Point], list[Rung]]:
        monkeypatch.setattr(race, "joint", self.joint)
        numbers = range(1, len(self.values) + 1)
        options = {"default": None, "samples": 1, "level": 0.95, "seed": 0, **more}
        return race.run(numbers, self.measure, IDS, sizes, objectives, **options)


def test_a_point_that_another_beats_in_every_objective_is_measured_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    field = Field([[1.0, 0.0], [1.0, 0.01], [2.0, -1.0], [2.0, 1.0]])
    points, rungs = field.run(monkeypatch, [50, 200], [FAD, CLAP], samples=2)
    # the fourth has a worse FAD and a better CLAP score than all others
    assert {number: point.status for number, point in points.items()} == {1: "ok", 2: "ok", 3: "dropped", 4: "ok"}
    assert points[3].n == 50
    assert points[3].reason.startswith("after 50 prompts worse than point ")
    assert points[3].reason.endswith("in FAD and CLAP score")
    assert rungs == [Rung(50, 4, 1, 400), Rung(200, 3, 0, 900), Rung(400, 3, 0, 1200)]
    assert [(number, len(ids or IDS)) for number, ids in field.asked] == [
        *((number, 50) for number in (1, 2, 3, 4)), *((number, 200) for number in (1, 2, 4)),
        *((number, 400) for number in (1, 2, 4)),
    ]  # fmt: skip
    few, more = (next(ids for _, ids in field.asked if ids and len(ids) == size) for size in (50, 200))
    assert few == more[:50] == race.nested(IDS)[:50]


def test_the_first_point_is_measured_before_others_may_be_measured_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    field, heard = Field([[1.0, 0.0]] * 3), []
    field.run(monkeypatch, [50], [FAD], ahead=lambda numbers, _: heard.append(([*numbers], len(field.asked))))
    assert heard == [([2, 3], 1), ([1, 2, 3], 3)]


def test_the_default_is_measured_to_the_end_however_bad_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    points, _ = Field([[9.0, 0.0], [1.0, 0.0], [9.0, 0.0]]).run(monkeypatch, [50], [FAD], default=1)
    assert [points[number].status for number in (1, 2, 3)] == ["ok", "ok", "dropped"]


def test_a_margin_keeps_points_that_are_worse_by_less(monkeypatch: pytest.MonkeyPatch) -> None:
    for margin, expected in ((0.0, ["dropped"] * 2), (0.5, ["ok", "dropped"])):
        objective = Objective("fad", "FAD", False, margin)
        points, _ = Field([[1.0, 0.0], [1.3, 0.0], [2.0, 0.0]]).run(monkeypatch, [50], [objective])
        assert [points[number].status for number in (2, 3)] == expected


def test_a_point_that_fails_goes_no_further_and_beats_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    field = Field([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]], failing={2: 50})
    points, rungs = field.run(monkeypatch, [50, 200], [FAD])
    assert [points[number].status for number in (1, 2, 3)] == ["ok", "failed", "ok"]
    assert points[2].reason == "it broke"
    assert [(rung.points, rung.dropped) for rung in rungs] == [(3, 0), (2, 0), (2, 0)]


def test_nobody_is_dropped_where_no_value_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    field = Field([[1.0, 0.0], [9.0, 0.0]])
    for broken in (lambda *_: (np.array([1.0, np.nan]), np.full((2, 50), np.nan)), _none):
        monkeypatch.setattr(Field, "joint", broken)
        points, _ = field.run(monkeypatch, [50], [FAD])
        assert {point.status for point in points.values()} == {"ok"}


def _none(*_: Any) -> Any:
    raise EvalkitError("no point has a value")


def test_equal_points_are_seldom_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 20 equal points, each in 20 races: a race of two rungs before the last may drop the best in one of twenty."""
    dropped = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = dict(zip(IDS, rng.normal(0, 1, (len(IDS), 20)), strict=True))

        def joint(sides: Sequence[int], metric: str, ids: Sequence[str], allow: Any, values: Any = values) -> Any:
            own = np.array([[values[i][number - 1] for i in ids] for number in sides])
            return own.mean(axis=1), own - own.mean(axis=1, keepdims=True)

        monkeypatch.setattr(Field, "joint", lambda self, *given, joint=joint: joint(*given))
        points, _ = Field([[0.0, 0.0]] * 20).run(monkeypatch, [50, 200], [FAD], seed=seed)
        dropped += points[1].status == "dropped"  # which is the best as much as any other
    assert dropped <= 3
