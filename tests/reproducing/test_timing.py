"""How long a run takes is measured on its own first clips, which are made once."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from evalkit import pipeline
from evalkit.config import compose
from evalkit.generation.clips import generation_key
from evalkit.generation.stored import ClipStore
from evalkit.models import Generator
from evalkit.plan import Plan, make_plan
from evalkit.reproducing.timing import Stage, duration, stages, timed
from evalkit.scoring.rows import reference_clips

SMALL = (
    *(
        "prompts=synthetic",
        "prompts.count=12",
        "metric=[chroma]",
        "sampling.duration=1",
        "sampling.samples_per_prompt=3",
    ),
    *("uncertainty.resamples=0", "engine.quiet=true"),
)


def measured(plan: Plan) -> list[Stage]:
    """The stages of a plan's run."""
    prompts = plan.prompts.load(plan.cache)
    return stages(plan, prompts, reference_clips(plan, prompts, whole=False))


def left(found: list[Stage]) -> dict[str, tuple[int, int]]:
    return {stage.name: (stage.left, stage.total) for stage in found}


@pytest.mark.parametrize("metrics", ["chroma", pytest.param("chroma,clap_score", marks=pytest.mark.slow)])
def test_the_first_batch_is_made_and_the_run_makes_the_rest(tmp_path: Path, metrics: str) -> None:
    folders = [f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}"]
    options = [*SMALL, *folders, "engine.batch_size=4", f"metric=[{metrics}]", "random_weights=0"]
    config = compose(["model=tiny_stereo", *options])
    plan = make_plan(config)
    first = measured(plan)
    captions = {"features of captions": (8, 12)} if "clap" in metrics else {}
    assert left(first) == {
        "generating": (32, 36), "features of clips": (32, 36), "features of references": (8, 12), **captions,
    }  # fmt: skip
    assert all(stage.rate > 0 and stage.seconds == stage.left / stage.rate for stage in first)
    model = plan.models["tiny_stereo"]
    assert isinstance(model, Generator)
    key = generation_key(model, plan.sampling, plan.cache, plan.engine)
    folder = ClipStore.of(plan.cache, key, model).collection.folder / "audio"
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.flac")}
    assert len(before) == 4
    pipeline.evaluate(config)
    assert {path: path.stat().st_mtime_ns for path in before} == before and len(list(folder.glob("*.flac"))) == 36
    after = measured(plan)
    assert {stage.left for stage in after} == {0} and all(stage.seconds == 0 for stage in after)
    assert list(timed(plan, after))[-1] == ("time", "everything is in the cache but the scores")


def test_of_clips_that_are_there_only_features_are_timed(tmp_path: Path) -> None:
    folders = [f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}"]
    config = compose(["model=synth", *SMALL, *folders, "metric=[silence]"])
    pipeline.evaluate(config)  # silence compares with nothing, so that no clip was ever cut
    plan = make_plan(compose(["model=synth", *SMALL, *folders, "metric=[chroma]"]))
    found = measured(plan)
    assert left(found) == {
        "generating": (0, 36), "features of clips": (28, 36), "features of references": (4, 12)
    }  # fmt: skip
    generating, *features = found
    assert math.isnan(generating.rate) and generating.seconds == 0 and all(stage.rate > 0 for stage in features)
    assert dict(timed(plan, found))["time"].endswith(", and then the scores")


def test_a_clip_that_is_cut_to_a_shorter_reference_is_known_to_be_encoded(tmp_path: Path) -> None:
    """Features of the cut clip are others than those of the whole one."""
    folders = [f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}"]
    options = ["model=synth", *SMALL, *folders, "sampling.duration=2", "sampling.samples_per_prompt=1"]
    config = compose(options)
    result = pipeline.evaluate(config)
    plan = make_plan(config)
    prompts = plan.prompts.load(plan.cache)
    references = reference_clips(plan, prompts, whole=False)
    assert {stage.left for stage in stages(plan, prompts, references)} == {0}
    shorter = [dataclasses.replace(clip, seconds=1.5) for clip in references]
    assert left(stages(plan, prompts, shorter)) == {
        "generating": (0, 12), "features of clips": (4, 12), "features of references": (4, 12)
    }  # fmt: skip
    assert len(result.clips) == 12


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"), (29, "29 s"), (31, "1 min"), (59.6 * 60, "1 h 0 min"), (3600 * 2.5, "2 h 30 min"),
        (3600 * 47.9, "47 h 54 min"), (3600 * 61, "2 days 13 h"),
    ],
)  # fmt: skip
def test_a_time_is_written_with_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
