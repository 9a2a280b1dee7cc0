"""Each stage of a run works from what the one before has stored."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from evalkit.config import compose
from evalkit.encoders.chroma import Chroma
from evalkit.errors import EvalkitError
from evalkit.models.synth.synth import Synth
from evalkit.pipeline import evaluate, logging_to
from evalkit.plan import Plan, make_plan, may_have_gpu
from evalkit.recording import metric_infos, recorded
from evalkit.results.result import Result
from evalkit.scoring.embedding import embed
from evalkit.scoring.rows import clips_of_run
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


@pytest.mark.parametrize("captured", [True, False])
def test_a_run_leaves_the_loggers_as_they_were(captured: bool, tmp_path: Path) -> None:
    def state() -> list[object]:
        loggers = [logging.getLogger(name) for name in ("evalkit", "py.warnings")]
        logged = [(logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
        return [*logged, warnings.showwarning]

    logging.captureWarnings(captured)
    try:
        before = state()
        with logging_to(RunFolder(str(tmp_path), "x")):
            assert state() != before
        assert state() == before
    finally:
        logging.captureWarnings(False)


def test_a_run_whose_folder_was_removed_says_what_was_wrong(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), "x")
    with pytest.raises(EvalkitError, match="no clips"), logging_to(folder):
        shutil.rmtree(folder.path)
        raise EvalkitError("no clips")


SECONDS = {"a": (4.0, 4.0), "b": (3.0, 4.5), "c": (5.0, 2.5)}  # of clip and reference


class TestClipsMadeElsewhere:
    """Their lengths are their own: they and their references count as far as both go."""

    @pytest.fixture
    def run(self, tmp_path: Path) -> Callable[..., Result]:
        rng, rate = np.random.default_rng(0), 16000
        for place, side in enumerate(("clips", "references")):
            (tmp_path / side).mkdir()
            for i, seconds in SECONDS.items():
                # a chord every half second, so that the chromagram has something to say all along
                chords = rng.uniform(200, 800, (round(2 * seconds[place]), 3, 1))
                tones = np.sin(2 * np.pi * chords * np.arange(rate // 2) / rate).mean(axis=1).ravel()
                soundfile.write(tmp_path / side / f"{i}.wav", 0.5 * tones, rate)
        (tmp_path / "prompts.csv").write_text("id,text\n" + "".join(f"{i},song {i}\n" for i in SECONDS))
        common = ["prompts=table", f"prompts.path={tmp_path / 'prompts.csv'}", "metric=[chroma]", "sampling.duration=2"]
        places = [f"prompts.references={tmp_path / 'references'}", f"cache_dir={tmp_path / 'cache'}"]
        options = [*common, *places, f"output_dir={tmp_path / 'runs'}"]

        def run(model: str, *more: str) -> Result:
            clips = [f"model.folder.path={tmp_path / 'clips'}"] if "folder" in model else []
            return evaluate(compose([f"model={model}", *clips, *options, *more]))

        return run

    def test_they_are_compared_over_their_common_length(self, run: Callable[..., Result]) -> None:
        result = run("folder")
        assert result.clips.compared_length.tolist() == [4.0, 3.0, 2.5]
        assert result.clips.reference_length.tolist() == [4.0, 4.5, 2.5]
        assert "folder: clips and references are compared over their common length, 2.5 to 4.0 s" in result.remarks
        assert not any("shorter than" in remark or "longer than" in remark for remark in result.remarks)
        again = run("folder", "sampling.duration=10")  # which is about clips that evalkit generates
        pd.testing.assert_frame_equal(again.clips, result.clips)
        assert again.scores.value.tolist() == result.scores.value.tolist()

    def test_wholes_of_very_different_lengths_are_said(self, run: Callable[..., Result]) -> None:
        whole = "protocol.pair_length=own"
        assert not any("each whole" in remark for remark in run("folder", whole).remarks)  # 3 to 5 s, and 2.5 to 4.5 s
        result = run("synth", whole, "sampling.duration=1")
        assert "synth: clips of 1 s are compared with references of 2.5 to 4.5 s, each whole" in result.remarks
        assert not any("each whole" in remark for remark in run("synth", "sampling.duration=1").remarks)

    def test_a_cut_is_asked_for_and_said(self, run: Callable[..., Result]) -> None:
        result = run("folder", "model.folder.duration=2.75")
        assert result.clips.compared_length.tolist() == [2.75, 2.75, 2.5]
        assert "folder: 3 of 3 clips are cut to their first 2.75 s" in result.remarks
        assert "folder: clips and references are compared over their common length, 2.5 to 2.8 s" in result.remarks
        assert result.scores.value[0] != run("folder").scores.value[0]
        with pytest.raises(EvalkitError, match=r"folder: duration=0\.5: must be at least 1 s, or null"):
            run("folder", "model.folder.duration=0.5")

    def test_beside_a_generator_each_row_has_its_own_lengths(self, run: Callable[..., Result]) -> None:
        both, alone = run("[synth,folder]"), [run("synth"), run("folder")]
        for name, one in zip(("synth", "folder"), alone, strict=True):
            ours = both.clips[both.clips.model == name].reset_index(drop=True)
            pd.testing.assert_frame_equal(ours, one.clips)
            assert both.scores[both.scores.model == name].value.tolist() == one.scores.value.tolist()
        assert both.clips.compared_length.tolist() == [2.0, 2.0, 2.0, 4.0, 3.0, 2.5]

    def test_a_silent_reference_is_one_in_every_row(self, run: Callable[..., Result], tmp_path: Path) -> None:
        soundfile.write(tmp_path / "references" / "b.wav", np.zeros(4 * 16000), 16000)
        both = run("[synth,folder]", "min_references=0.5")
        assert both.clips.reference_status.tolist() == ["ok", "silent", "ok"] * 2
        assert both.scores.n.tolist() == [2, 2]
        with pytest.raises(EvalkitError, match="only 2 of 3 are usable"):
            run("[synth,folder]")


def test_what_is_made_batch_by_batch_is_merged_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.store.collection.FEW", 1)
    folders = [f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}"]
    evaluate(compose([*OPTIONS, *folders, "engine.batch_size=1", "engine.feature_batch_size=1", "engine.quiet=true"]))
    for kind in ("clips", "features", "peaks"):
        (folder,) = (tmp_path / "cache" / kind).iterdir()
        assert len(list(folder.glob("*.entry"))) == 1, kind


WARM = """
import sys
from evalkit.config import compose
from evalkit.pipeline import evaluate
evaluate(compose(sys.argv[1:]))
print("loaded" if "torch" in sys.modules else "not loaded")
"""


@pytest.mark.skipif(may_have_gpu(), reason="where there may be a GPU, torch is asked for it")
def test_a_run_that_finds_all_in_the_cache_does_without_torch(options: list[str]) -> None:
    """It takes a second to import, which is a quarter of such a run."""
    given = [*options, "engine.quiet=true"]
    evaluate(compose(given))
    done = subprocess.run([sys.executable, "-c", WARM, *given], capture_output=True, text=True, check=True)
    assert done.stdout == "not loaded\n"
