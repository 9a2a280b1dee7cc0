"""A sweep whose points Optuna chooses, from options to the record."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from evalkit.errors import EvalkitError
from evalkit.results.plots import sweeps
from evalkit.results.sweep import Sweep
from evalkit.sweeping import sweep
from evalkit.sweeping.checking import Asked
from evalkit.sweeping.finishing import Made

pytest.importorskip("optuna")

OPTIONS = [
    "model=synth", "prompts=demo", "prompts.first=4", "metric=[silence,clipping]", "sampling.duration=1",
    "model.synth.noise=interval(0.0,0.4)", "sampling.seed=0,1", "engine.quiet=true",
]  # fmt: skip


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(sweeps, "write", lambda *_: [])  # which take longer than all else
    return [*OPTIONS, f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}"]


def asked(trials: int, study: Path | None = None) -> Asked:
    return Asked(search="optuna", trials=trials, study=study, confirm=False)


def chosen(made: Made) -> list[tuple[object, ...]]:
    return [tuple(options.values()) for options in made.sweep.points["options"]]


@pytest.mark.slow
def test_a_sweep_by_optuna_goes_on_with_its_study_and_ends_in_the_record_that_it_would_have_had(
    options: list[str], tmp_path: Path
) -> None:
    study = tmp_path / "study.db"
    first = sweep.make(options, asked(2, study))
    again = sweep.make(options, asked(3, study))
    whole = sweep.make(options, asked(3))
    assert chosen(first)[0] == (0.0, 0)  # the default
    assert chosen(first) == chosen(again)[:2]
    assert chosen(again) == chosen(whole)
    assert len(set(chosen(whole))) == 3
    assert not again.incomplete
    assert again.sweep.search == "optuna"
    assert again.sweep.search_facts == whole.sweep.search_facts
    assert again.sweep.search_facts["points"] == 3
    pd.testing.assert_frame_equal(again.sweep.scores, whole.sweep.scores)
    assert (whole.sweep.path / "study.db").is_file()
    assert Sweep.load(again.sweep.path).search_facts == again.sweep.search_facts


def test_a_study_of_other_options_is_refused_before_the_first_point_and_leaves_no_folder(
    options: list[str], tmp_path: Path
) -> None:
    study = tmp_path / "study.db"
    sweep.make(options, asked(2, study))
    before = study.read_bytes()
    folders = sorted((tmp_path / "runs").iterdir())
    said = f"'{study}' is a study of other options (sampling.duration was 1.0, and is 2.0): give the same options"
    with pytest.raises(EvalkitError, match=re.escape(said)):
        sweep.make([*options, "sampling.duration=2"], asked(2, study))
    assert sorted((tmp_path / "runs").iterdir()) == folders
    assert study.read_bytes() == before
