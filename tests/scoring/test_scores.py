"""What features become: scores, which a metric cannot get wrong unnoticed, and what the record keeps of them."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from evalkit.calibration import Row
from evalkit.errors import EvalkitError
from evalkit.results.evidence import Side
from evalkit.results.scored import Chosen
from evalkit.scoring.resampling import NotYet, resampling_of
from evalkit.scoring.scores import require_parts
from evalkit.settings import Uncertainty
from evalkit.slices import Group
from evalkit.types import Features, Measured
from tests.scoring.made import PROMPTS, RATE, Length, Pairs, Words, clips, measure, plan


def test_a_score_that_is_no_number_is_refused(tmp_path: Path) -> None:
    class NoNumber(Words):
        kind: ClassVar[str] = "no number"

        def __call__(self, generated: Features, reference: Features) -> Measured:
            return Measured(float("nan"), n=3)

    generated = clips(tmp_path / "g", 3, 3, 3)
    with pytest.raises(EvalkitError, match="m: words is nan"):
        measure(plan(tmp_path, words=NoNumber()), generated, {"m": generated})


def test_of_a_calibration_row_such_a_score_is_a_note(tmp_path: Path) -> None:
    class Short(Words):
        kind: ClassVar[str] = "short"

        def __call__(self, generated: Features, reference: Features) -> Measured:
            return Measured(1.0 if len(generated.ids) == 3 else math.nan, n=len(generated.ids))

    generated = clips(tmp_path / "g", 3, 3, 3)
    row = Row(PROMPTS.prompts[:2], generated[:2], generated[:2])
    groups = [Group("tag", "one", frozenset("a")), Group("tag", "none", frozenset("x"))]
    measured = measure(plan(tmp_path, words=Short()), generated, {"m": generated}, groups, {"row": row})
    assert measured.scores["m", "words"].value == 1
    assert math.isnan(measured.scores["row", "words"].value) and measured.scores["row", "words"].n == 0
    assert measured.scores["row", "words"].note == "row: words is nan: the clips are too short or too few"
    assert measured.slices.value.isna().all() and measured.slices.small.all() and measured.slices.n.tolist() == [0, 0]
    assert measured.slices.note.tolist() == [
        "m: words is nan: the clips are too short or too few",
        "m: words: no prompt has both a usable clip and a usable reference",
    ]


@dataclass(frozen=True)
class Mean(Words):
    """The mean of the clips' seconds, with the sums and counts that a test has."""

    parts: tuple[tuple[str, float, float], ...] = ()
    kind: ClassVar[str] = "mean"
    additive: ClassVar[bool] = True

    def __call__(self, generated: Features, reference: Features) -> Measured:
        value = np.mean([v.item() / RATE for v in generated.values]).item()
        return Measured(value, n=len(generated.ids), parts={i: (total, count) for i, total, count in self.parts})


WHOLE = (("a", 3.0, 1.0), ("b", 4.0, 2.0), ("c", 2.0, 0.0))  # 9 over 3, as the mean of 3, 4 and 2 seconds is


@pytest.mark.parametrize(
    "parts",
    [
        (),
        WHOLE[:2],
        (*WHOLE, ("d", 0.0, 0.0)),
        (*WHOLE[:2], ("d", 2.0, 0.0)),
        (*WHOLE[:2], ("c", 2.1, 0.0)),
        (*WHOLE[:2], ("c", 2.0, 1.0)),
        tuple((i, 0.0, 0.0) for i in "abc"),
    ],
    ids=["none", "one is absent", "one too many", "of another prompt", "another sum", "another count", "no items"],
)
def test_a_metric_that_says_that_it_is_additive_and_is_not_is_refused(
    tmp_path: Path, parts: tuple[tuple[str, float, float], ...]
) -> None:
    generated = clips(tmp_path / "g", 3, 4, 2)
    said = (
        "metric.mean says that it is additive, but its value is not the sum of its parts over their count: "
        "hand over `parts` of every id, or declare additive = False"
    )
    with pytest.raises(EvalkitError) as refused:
        measure(plan(tmp_path, mean=Mean(parts=parts)), generated, {"m": generated})
    assert str(refused.value) == said
    assert measure(plan(tmp_path, mean=Mean(parts=WHOLE)), generated, {"m": generated}).scores["m", "mean"].value == 3


def test_parts_need_only_give_the_value_as_far_as_floats_go() -> None:
    parts = {"a": (0.1, 1.0), "b": (0.2, 1.0), "c": (0.3, 1.0)}
    require_parts("mean", "abc", Measured(0.2, n=3, parts=parts))
    require_parts("mean", "abc", Measured(math.nan, n=0, parts=dict.fromkeys("abc", (0.0, 0.0))))
    with pytest.raises(EvalkitError, match=r"^metric\.mean says that it is additive"):
        require_parts("mean", "abc", Measured(0.2001, n=3, parts=parts))


def test_the_record_keeps_sums_of_additive_metrics_and_features_of_the_others(tmp_path: Path) -> None:
    generated = clips(tmp_path / "g", 3, 4, 2)
    run = plan(tmp_path, mean=Mean(parts=WHOLE), pairs=Pairs())
    measured = measure(run, generated, {"m": generated})
    mean, pairs = (rows for _, rows in measured.values.groupby("metric"))
    assert list(zip(mean["id"], mean["sum"], mean["count"], strict=True)) == list(WHOLE)
    assert mean["value"].isna().all()  # no clip has one of its own
    assert dict(zip(pairs["id"], pairs["value"], strict=True)) == {"a": 3, "b": 4, "c": 2}
    assert pairs[["sum", "count"]].isna().all(axis=None)
    index = measured.evidence.index
    assert set(index["side"]) == {"cut clips", "references"} and len(index) == 6
    side = Side(run.extractor().key(Length()), "m", 1, "cut clips")
    assert [v.item() / RATE for v in measured.evidence.of(side).values] == [3, 4, 2]


def test_resamples_are_kept_for_the_same_features_and_value_only(tmp_path: Path) -> None:
    drawn = []

    def resampled(weights: np.ndarray, reference_weights: np.ndarray) -> np.ndarray:
        assert reference_weights is weights
        drawn.append(len(weights))
        return weights[:, 0]

    run = plan(tmp_path, pairs=Pairs())
    features = Features(("a", "b"), (np.ones((2, 3), np.float32), np.zeros((1, 3), np.float32)))
    other = Features(("a", "b"), (np.ones((3, 2), np.float32), np.zeros((1, 3), np.float32)))

    def values(value: float, pair: tuple[Features, Features | None]) -> np.ndarray:
        chosen = Chosen(["a", "b"], [pair], None)
        return resampling_of(run, "pairs").values(Measured(value, 2, resampled=resampled), chosen, 0)

    for _ in range(2):
        first = values(1.0, (features, None))
    assert drawn == [1000] and first.shape == (1000,)
    values(1.5, (features, None))
    values(1.0, (other, None))
    values(1.0, (features, features))
    run = dataclasses.replace(run, uncertainty=Uncertainty(seed=1))
    with pytest.raises(NotYet):
        chosen = Chosen(["a", "b"], [(features, None)], None)
        resampling_of(run, "pairs").values(Measured(1.0, 2, resampled=resampled), chosen, 0, make=False)
    values(1.0, (features, None))
    assert len(drawn) == 5
