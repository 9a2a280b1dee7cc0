"""A metric or an encoder that fails leaves the others' scores in the record, and the run says so."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from evalkit.errors import EvalkitError
from evalkit.results import summary
from evalkit.results.result import Result
from evalkit.slices import Group
from evalkit.store.cache import Cache
from evalkit.types import Features, Measured
from tests.conftest import Run
from tests.scoring.made import Length, Pairs, Words, clips, measure, plan


@dataclass(frozen=True)
class Divides(Words):
    """A metric with a bug."""

    kind: ClassVar[str] = "divides"

    def __call__(self, generated: Features, reference: Features) -> Measured:
        return Measured(1 / (len(generated.ids) - 3), n=3)


@dataclass(frozen=True)
class Answers(Words):
    """A metric that gives what a test says."""

    answer: Any = field(default=None, metadata={"identity": False})
    kind: ClassVar[str] = "answers"

    def __call__(self, generated: Features, reference: Features) -> Any:
        return self.answer


@dataclass(frozen=True)
class Deaf(Length):
    """An encoder with a bug."""

    kind: ClassVar[str] = "deaf"

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        raise KeyError("weights")


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (Divides(), "metric.mine: ZeroDivisionError: division by zero (the traceback is in run.log)"),
        (Pairs(Deaf()), "encoder deaf (tests.scoring.test_failing.Deaf): KeyError: 'weights' (the trace"),
        (Answers(answer=3.0), "metric.mine gave float, not an evalkit.types.Measured"),
        (Answers(answer=Measured(np.ones(3), n=3)), "metric.mine: value is ndarray, not a number"),
        (Answers(answer=Measured(1.0, n=3, per_clip={"z": 1.0})), "metric.mine gave a value for the clip 'z', which"),
        (Answers(answer=Measured(1.0, n=3, resampled=lambda g, r: g)), "metric.mine: resampled gave (1000, 3) for"),
        (Answers(answer=Measured(math.nan, n=3)), "m: mine is nan: the clips are too short or too few"),
    ],
)  # fmt: skip
def test_the_others_scores_are_kept(tmp_path: Path, metric: Any, said: str, caplog: pytest.LogCaptureFixture) -> None:
    generated, references = clips(tmp_path / "g", 3, 3, 3), clips(tmp_path / "r", 3, 3, 3)
    run = plan(tmp_path, mine=metric, words=Words(), pairs=Pairs())
    with caplog.at_level(logging.INFO):
        measured = measure(run, references, {"m": generated}, [Group("tag", "one", frozenset("abc"))])
    score = measured.scores["m", "mine"]
    assert math.isnan(score.value) and score.n == 0 and said in score.note and "\n" not in score.note
    assert (measured.scores["m", "words"].value, measured.scores["m", "pairs"].value) == (9, 9)
    assert measured.slices.value.isna().tolist() == [True, False, False]
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [f"no score: {score.note}"]
    assert any(record.exc_info for record in caplog.records) == ("Error" in said)
    with pytest.raises(EvalkitError) as error:  # where nothing is left there is nothing to record
        measure(plan(tmp_path, mine=metric), references, {"m": generated})
    assert str(error.value) == score.note


def test_a_metric_that_fails_for_one_model_is_kept_for_the_others(tmp_path: Path) -> None:
    class Loud(Words):
        kind: ClassVar[str] = "loud"

        def __call__(self, generated: Features, reference: Features) -> Measured:
            if generated.values[0].item() < 80000:
                raise ValueError("too short")
            return Measured(1.0, n=3)

    references = clips(tmp_path / "r", 3, 3, 3)
    models = {"a": clips(tmp_path / "a", 2, 3, 3), "b": clips(tmp_path / "b", 3, 3, 3)}
    measured = measure(plan(tmp_path, loud=Loud()), references, models)
    assert math.isnan(measured.scores["a", "loud"].value) and measured.scores["b", "loud"].value == 1


PACKAGE = """
from dataclasses import dataclass, field
from typing import ClassVar

from evalkit.encoders import Encoder
from evalkit.types import Features, Measured


@dataclass(frozen=True)
class Mine:
    encoder: Encoder
    kind: ClassVar[str] = "mine"
    title: ClassVar[str] = "Mine"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = False
    reference_encoder: ClassVar[None] = None

    def __call__(self, generated: Features, reference: None) -> Measured:
        return Measured(1 / 0, n=len(generated.ids))
"""


def test_a_run_ends_with_the_record_and_another_status(
    evalkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_metric.py").write_text(PACKAGE)
    (tmp_path / "own" / "metric").mkdir(parents=True)
    (tmp_path / "own" / "metric" / "mine.yaml").write_text(
        "defaults:\n  - /encoder@mine.encoder: chroma\n  - _self_\nmine:\n  _target_: broken_metric.Mine\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    options = ["model=synth", "prompts=demo", "prompts.first=2", "sampling.duration=1", "metric=[chroma,mine]"]
    code, out, err = evalkit("run", *options, "--config-dir", "own", "allow_targets=[broken_metric]")
    said = "metric.mine: ZeroDivisionError: division by zero (the traceback is in run.log)"
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    assert code == 3
    assert err.splitlines() == [
        f"no score: {said}",
        f"evalkit: '{folder}' has no score of mine (synth)",
    ]
    assert "–" in out and said.split(":")[1] in out
    result = Result.load(folder)
    assert summary.unscored(result) == ["mine (synth)"]
    assert result.table.loc[0, "chroma"] > 0 and math.isnan(result.table.loc[0, "mine"])
    log = (folder / "run.log").read_text()
    assert "Traceback" in log and "return Measured(1 / 0" in log
