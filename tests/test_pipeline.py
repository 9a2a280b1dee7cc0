"""Each stage of a run works from what the one before has stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evalkit.config import compose
from evalkit.encoders.chroma import Chroma
from evalkit.errors import EvalkitError
from evalkit.models.synth.synth import Synth
from evalkit.pipeline import clips_of_run, evaluate
from evalkit.plan import Plan, make_plan
from evalkit.recording import metric_infos, recorded
from evalkit.scoring.embedding import embed
from evalkit.scoring.scores import score
from evalkit.store.runs import RunFolder
from evalkit.types import PromptSet

OPTIONS = ["model=synth", "prompts=demo", "prompts.first=3", "metric=[chroma]", "sampling.duration=1.5"]


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("pipeline")
    return [*OPTIONS, f"cache_dir={folder / 'cache'}", f"output_dir={folder / 'runs'}"]


def opened(options: list[str]) -> tuple[Plan, PromptSet]:
    plan = make_plan(compose(options))
    return plan, plan.prompts.load(plan.cache)


def refused(*_: Any) -> Any:
    raise AssertionError("this stage has nothing to load")


def test_each_stage_needs_only_what_the_one_before_has_stored(
    options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, prompts = opened(options)
    with monkeypatch.context() as patch:
        patch.setattr(Chroma, "load", refused)
        made = clips_of_run(plan, prompts)  # prompts to clips
    monkeypatch.setattr(Synth, "load", refused)
    plan, prompts = opened(options)
    again = clips_of_run(plan, prompts)
    assert again == made
    arguments = (prompts.prompts, again.references, again.models, again.calibration)
    first = list(embed(plan, *arguments))  # clips to features
    monkeypatch.setattr(Chroma, "load", refused)
    plan, prompts = opened(options)
    rows = list(embed(plan, *arguments))
    assert [row.row for row in rows] == [row.row for row in first]
    scores = score(plan, metric_infos(plan), rows)  # features to scores
    assert not any(one.measured for one in scores.scores.values())  # else all rows' features stay in memory
    result = recorded(RunFolder(plan.output_dir, plan.name), plan, prompts, scores)  # scores to the record
    whole = evaluate(compose(options))
    pd.testing.assert_frame_equal(result.scores, whole.scores)
    pd.testing.assert_frame_equal(result.clips, whole.clips)


@pytest.mark.parametrize("name", ["length", "model", "prompts"])
def test_a_metric_with_the_name_of_another_column_is_refused_at_once(
    options: list[str], tmp_path: Path, name: str
) -> None:
    (tmp_path / "metric").mkdir()
    text = (
        f"defaults:\n  - /encoder@{name}.encoder: chroma\n  - _self_\n"
        f"{name}:\n  _target_: evalkit.metrics.chroma.ChromaSimilarity\n"
    )
    (tmp_path / "metric" / "mine.yaml").write_text(text)
    with pytest.raises(EvalkitError, match=f"tables have another column '{name}'"):
        make_plan(compose([*options, "metric=[mine]"], str(tmp_path)))
