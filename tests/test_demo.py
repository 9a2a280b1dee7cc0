"""The embedded default, end to end, with the network blocked."""

from __future__ import annotations

import dataclasses
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import evalkit
from evalkit.commands import DONE
from evalkit.commands.table import main
from evalkit.errors import EvalkitError
from evalkit.results.result import Result

from .results.made import FORMS

FEW = 5  # of the 12 prompts: what a clip costs is what networks cost that hear it
DEGRADED = ["noise", "low_pass", "detuned", "half_silent", "left_only", "wrong_caption"]


@pytest.fixture(scope="module")
def no_network() -> Iterator[None]:
    """Make every attempt to reach another machine an error."""

    def blocked(self: socket.socket, address: Any) -> None:
        raise AssertionError(f"reached for {address}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", blocked)
        patch.setattr(socket, "getaddrinfo", lambda *a, **k: blocked(None, a))
        patch.delenv("HF_HUB_OFFLINE", raising=False)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


def run(folder: Path, *options: str) -> Result:
    return evalkit.evaluate(
        *("experiment=demo", f"prompts.first={FEW}", "uncertainty.resamples=100", f"cache_dir={folder / 'cache'}"),
        *(f"output_dir={folder / 'runs'}", *options),
    )


@pytest.fixture(scope="module")
def demo(folder: Path, no_network: None) -> Result:
    return run(folder)


@pytest.fixture(scope="module")
def values(demo: Result) -> pd.DataFrame:
    """One row per model, one column per metric."""
    return demo.scores.pivot(index="model", columns="metric", values="value")


def test_every_model_has_every_metric(values: pd.DataFrame) -> None:
    assert set(values.index) == {"second_rendering", *DEGRADED, "tiny_stereo"}
    assert set(values.columns) == {"fad", "kld", "clap_score", "chroma"}
    assert values.notna().all(axis=None)


def test_every_score_has_an_interval_that_holds_it(demo: Result) -> None:
    assert (demo.scores.low < demo.scores.value).all() and (demo.scores.value < demo.scores.high).all()


@pytest.mark.parametrize("model", [*DEGRADED, "tiny_stereo"])
def test_fad_of_a_second_rendering_is_lower_than_of_every_degraded_one(values: pd.DataFrame, model: str) -> None:
    assert values.fad["second_rendering"] < values.fad[model]


@pytest.mark.parametrize("model", ["noise", "low_pass", "half_silent", "wrong_caption"])
def test_kld_of_a_second_rendering_is_lower(values: pd.DataFrame, model: str) -> None:
    assert values.kld["second_rendering"] < values.kld[model]


@pytest.mark.parametrize("model", ["detuned", "half_silent", "wrong_caption"])
def test_chroma_similarity_of_a_second_rendering_is_higher(values: pd.DataFrame, model: str) -> None:
    assert values.chroma["second_rendering"] > values.chroma[model] + 0.05


def test_the_table_says_that_weights_are_random(demo: Result) -> None:
    text = (demo.path / "table.md").read_text()
    assert "Random weights: " in text
    assert "mean nothing outside this table" in text
    for name in ("VGGish", "PaSST", "CLAP", "tiny_stereo"):
        assert name in text
    assert "protocol musicgen" in text
    assert "rendered by Synth, not recordings" in text
    assert demo.table[[c for c in demo.table if str(c).endswith("_published")]].isna().all(axis=None)


def test_the_result_folder_is_complete(demo: Result) -> None:
    files = {p.name for p in demo.path.iterdir()}
    assert files == {
        "result.json", "record.json", "prompts.parquet", "scores.parquet", "slices.parquet", "context.parquet",
        "clips.parquet", "values.parquet", "evidence.parquet", "features",
        "table.md", "table.csv", "table.json", "report.html", "config.yaml", "run.log",
    }  # fmt: skip
    manifest = json.loads((demo.path / "result.json").read_text("utf-8"))
    assert (manifest["kind"], manifest["status"]) == ("result", "finished")
    assert {p.stem for p in (demo.path / "features").iterdir()} == set(manifest["features"]) != set()
    clips = pd.read_parquet(demo.path / "clips.parquet")
    assert len(clips) == 8 * FEW
    assert (clips.status == "ok").all() and (clips.channels == 2).all() and (clips.sample_rate == 32000).all()
    assert (clips.reference_status == "ok").all()
    assert clips[["kld", "clap_score", "chroma"]].notna().all(axis=None)
    config = yaml.safe_load((demo.path / "config.yaml").read_text())
    assert config["random_weights"] == 0 and config["sampling"]["top_k"] == 250
    record = json.loads((demo.path / "record.json").read_text("utf-8"))
    assert record["references_info"]["usable"] == {"ok": FEW, "total": FEW, "reasons": {}}
    assert record["provenance"]["packages"]["torch"] and record["config"] == config
    assert [name for name, row in record["rows"].items() if row["random"]] == ["tiny_stereo"]
    assert all(metric["random"] for name, metric in record["metrics"].items() if name != "chroma")
    assert f"generating tiny_stereo: {FEW} clips" in (demo.path / "run.log").read_text()
    pd.testing.assert_frame_equal(pd.read_parquet(demo.path / "scores.parquet"), demo.scores, check_dtype=False)


def test_the_result_reads_the_same_in_another_folder_without_the_cache(
    demo: Result, folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(path: Path, form: str) -> str:
        capsys.readouterr()
        with DONE:  # as the command line does
            main([str(path), "--format", form])
        return capsys.readouterr().out

    elsewhere = tmp_path_factory.mktemp("elsewhere") / "result"
    shutil.copytree(demo.path, elsewhere)
    tables = {form: printed(demo.path, form) for form in FORMS}
    assert "second_rendering" in tables["terminal"]
    hidden = folder.with_name("hidden")
    folder.rename(hidden)
    try:
        loaded = evalkit.load(elsewhere)
        assert loaded.path == elsewhere
        for field in dataclasses.fields(Result):
            ours, theirs = getattr(loaded, field.name), getattr(demo, field.name)
            if isinstance(ours, pd.DataFrame):
                pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
            elif field.name not in ("evidence", "path"):
                assert ours == theirs, field.name
        pd.testing.assert_frame_equal(loaded.evidence.index, demo.evidence.index)
        fad = demo.scores[(demo.scores.model == "noise") & (demo.scores.metric == "fad")].iloc[0]
        again = loaded.score("noise", "fad")  # from the features that were copied
        assert (again.value, again.low, again.high, again.n) == (fad.value, fad.low, fad.high, fad.n)
        assert {form: printed(elsewhere, form) for form in FORMS} == tables
    finally:
        hidden.rename(folder)


def test_per_clip_values_average_to_the_score(demo: Result, values: pd.DataFrame) -> None:
    means = demo.clips.groupby("model")[["kld", "clap_score"]].mean()
    pd.testing.assert_frame_equal(means, values.loc[means.index, ["kld", "clap_score"]], check_names=False)


def test_a_second_run_computes_nothing_and_gives_the_same(demo: Result, folder: Path) -> None:
    again = run(folder)
    assert again.path != demo.path
    pd.testing.assert_frame_equal(again.scores, demo.scores)
    log = (again.path / "run.log").read_text()
    assert "generating" not in log and "features of" not in log


def test_a_subset_shares_clips_and_features(demo: Result, folder: Path) -> None:
    few = run(folder, "prompts.first=3", "metric=[kld,chroma]", "engine.batch_size=2")
    log = (few.path / "run.log").read_text()
    assert "generating" not in log and "features of" not in log
    assert (few.scores.n == 3).all()
    one = demo.clips[demo.clips.model == "noise"].head(3)
    assert few.clips[few.clips.model == "noise"].kld.tolist() == one.kld.tolist()


def test_a_damaged_clip_of_the_cache_is_generated_again(demo: Result, folder: Path) -> None:
    path = Path(demo.clips.path[demo.clips.model == "low_pass"].iloc[3])
    path.write_bytes(path.read_bytes()[:1000])
    again = run(folder)
    pd.testing.assert_frame_equal(again.scores, demo.scores)
    assert "will be made again" in (again.path / "run.log").read_text()


def test_a_clip_that_is_missing_fails_the_run_unless_allowed(demo: Result, folder: Path, tmp_path: Path) -> None:
    rows = demo.clips[demo.clips.model == "second_rendering"]
    for id, path in zip(rows.id.iloc[: FEW - 1], rows.path, strict=False):
        (tmp_path / f"{id}.flac").write_bytes(Path(path).read_bytes())
    options = ["model=folder", f"model.folder.path={tmp_path}", "metric=[chroma]", f"prompts.first={FEW}"]
    base = ["prompts=demo", "random_weights=0", "sampling.duration=2.5"]
    base += [f"cache_dir={folder / 'cache'}", f"output_dir={folder / 'runs'}"]
    with pytest.raises(EvalkitError, match=rf"folder: 1 of {FEW} clips are not usable .*engine\.keep_going=true"):
        evalkit.evaluate(*base, *options)
    result = evalkit.evaluate(*base, *options, "engine.keep_going=true")
    assert result.scores.n.tolist() == [FEW - 1]
    assert result.clips.status.tolist() == ["ok"] * (FEW - 1) + ["missing"]
    assert f"clips {FEW - 1} of {FEW} (1 missing)" in (result.path / "table.md").read_text()
    same = rows.head(FEW - 1).chroma.tolist()
    assert result.clips.chroma.head(FEW - 1).tolist() == same
