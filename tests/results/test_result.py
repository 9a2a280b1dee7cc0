"""A result is read back as it was returned, wherever it lies, and its scores can be computed again from it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import soundfile

import evalkit
from evalkit import report
from evalkit.errors import EvalkitError
from evalkit.results import recompute
from evalkit.results.files import EARLIER, PERCENTILES
from evalkit.results.frames import SCORES
from evalkit.results.pack import pack
from evalkit.results.record import SCHEMA
from evalkit.results.result import Result
from evalkit.stats.bootstrap import draws
from evalkit.store.identity import named
from tests.results.made import record
from tests.scoring.made import Pairs

STORED = Path(__file__).parent / "fixtures" / "schema_1"
OPTIONS = (
    *("model=[synth,folder]", "prompts=demo", "prompts.first=6", "sampling.duration=2.5", "random_weights=0"),
    *("metric=[fad,kad,chroma,stereo]", "slices=[caption_length]", "calibration=[halves,shuffled]"),
    *("uncertainty.resamples=100", "small_slice=2"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything lies, with a folder of a model's clips of which one is lost."""
    folder = tmp_path_factory.mktemp("result")
    made = run(folder, "model=synth", *OPTIONS[1:])
    own = folder / "clips"
    own.mkdir()
    for clip in made.clips[made.clips["model"] == "synth"].itertuples():
        shutil.copyfile(clip.path, own / f"{clip.id}.flac")
    sorted(own.iterdir())[0].unlink()
    return folder


def run(folder: Path, *options: str) -> Result:
    return evalkit.evaluate(*options, f"cache_dir={folder / 'cache'}", f"output_dir={folder / 'runs'}")


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    return run(folder, *OPTIONS, f"model.folder.path={folder / 'clips'}", "engine.keep_going=true")


@pytest.fixture
def moved(result: Result, folder: Path, tmp_path: Path) -> Iterator[Result]:
    """The result in another folder, while the cache and all clips are gone."""
    shutil.copytree(result.path, tmp_path / "moved")
    hidden = folder.with_name("hidden")
    folder.rename(hidden)
    try:
        yield evalkit.load(tmp_path / "moved")
    finally:
        hidden.rename(folder)


def assert_equal(one: Result, other: Result) -> None:
    """Compare two results field by field, but for where they lie; features by their values."""
    for field in dataclasses.fields(Result):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(ours, pd.DataFrame):
            pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
        elif field.name == "evidence":
            pd.testing.assert_frame_equal(ours.index, theirs.index)
        elif field.name != "path":
            assert ours == theirs, field.name


def test_what_is_loaded_is_what_evaluate_returned(result: Result) -> None:
    loaded = evalkit.load(result.path)
    assert_equal(loaded, result)
    assert loaded.path == result.path
    pd.testing.assert_frame_equal(loaded.table, result.table)
    assert report.files(loaded.document()) == report.files(result.document())
    assert {"model", "metric", "value", "low", "high", "n"} <= set(loaded.scores.columns)
    assert loaded.prompts["id"].tolist() == result.clips["id"][:6].tolist()
    assert loaded.prompts["tags"].map(type).eq(list).all() and loaded.prompts["tags"].map(len).any()


def test_a_result_is_shown_in_one_line(result: Result) -> None:
    counts = f"{len(result.prompts)} prompts, {len(result.rows)} rows × {len(result.metrics)} metrics"
    assert repr(result) == f'Result({result.prompts_info.dataset}, {counts}, "{result.path}")'


def test_another_machine_without_the_cache_reads_the_same(result: Result, moved: Result) -> None:
    assert_equal(moved, result)
    assert moved.audio(moved.clips["sha256"][0], moved.clips["path"][0]) is None
    for score in moved.scores.itertuples():
        if not math.isnan(score.value):
            again = moved.score(str(score.model), str(score.metric))
            assert (again.value, again.n) == (score.value, score.n)
            np.testing.assert_array_equal([again.low, again.high], [score.low, score.high])


def test_a_record_is_read_without_what_makes_clips_and_scores(result: Result) -> None:
    code = (
        "import sys, evalkit; r = evalkit.load(sys.argv[1]); r.print();"
        "r.score('synth', 'fad'); r.score('synth', 'chroma');"
        "print([m for m in ('torch', 'transformers', 'hydra', 'evalkit.plan', 'evalkit.config') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(result.path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_scores_of_slices_are_those_of_the_run(result: Result, moved: Result) -> None:
    words = moved.prompts.set_index("id")["caption"].str.split().map(len)
    checked = 0
    for row in result.slices.itertuples():
        first, _, last, *_ = str(row.group).split()
        ids = words[words.between(int(first), int(last))].index
        if not math.isnan(row.value):
            again = moved.score(row.model, row.metric, ids)
            assert (again.value, again.low, again.high, again.n) == (row.value, row.low, row.high, row.n)
            checked += 1
    assert checked > 4


def test_shares_have_an_interval_though_all_clips_are_alike(result: Result, moved: Result) -> None:
    for frame in (result.scores, result.slices):
        shares = frame[(frame["metric"] == "mono_share") & (frame["n"] > 1)]
        assert len(shares) > 1
        for row in shares.itertuples():
            theirs = scipy.stats.binomtest(round(row.value * row.n), row.n).proportion_ci(0.95, "exact")
            assert (row.low, row.high) == pytest.approx(tuple(theirs), abs=1e-9) and row.high > row.low
    whole = moved.score("synth", "mono_share")
    score = result.scores[(result.scores["model"] == "synth") & (result.scores["metric"] == "mono_share")].iloc[0]
    assert (whole.low, whole.high) == (score.low, score.high)


def test_any_subset_is_scored_as_a_run_of_it_would_be(folder: Path, result: Result) -> None:
    few = run(folder, *OPTIONS, "model=synth", "prompts.first=4", "calibration=[]", "slices=[]")
    for score in few.scores.itertuples():
        again = result.score("synth", str(score.metric), few.prompts["id"])
        assert (again.value, again.low, again.high, again.n) == (score.value, score.low, score.high, score.n)


def test_resamples_and_swaps_need_nothing_but_the_record(moved: Result) -> None:
    weights = draws(5, 100, seed=7)
    ids, (fad,) = recompute.measure(moved, "folder", "fad")
    _, (chroma,) = recompute.measure(moved, "folder", "chroma")
    assert len(ids) == 5 and fad.resampled is not None and chroma.resampled is not None
    assert np.isfinite(fad.resampled(weights, weights)).all()
    assert np.isfinite(chroma.resampled(weights, weights)).all()
    ((ours, theirs),) = recompute.pairs_of(moved, "synth", "fad")
    ((same, _),) = recompute.pairs_of(moved, "folder", "fad")
    for i in ids:  # the folder's clips are the synthesizer's
        np.testing.assert_array_equal(ours.select([i]).values[0], same.select([i]).values[0])
    assert theirs is not None and set(theirs.ids) == set(moved.prompts["id"])


def test_features_that_rows_share_are_stored_once(result: Result) -> None:
    index = result.evidence.index
    shared = index[index["side"] == "references"]
    assert shared.loc[shared["row"].isin(["synth", "folder"]), "array"].nunique() == 1
    own = set(index.loc[(index["row"] == "shuffled references"), "array"])
    assert own <= set(shared["array"]) | set(index.loc[index["row"] == "synth", "array"])
    for name in set(index["array"]):
        kept, stored = result.path / "features" / f"{name}.npy", Path(str(result.config["cache_dir"])) / "arrays"
        assert kept.samefile(stored / f"{name}.npy")


def test_additive_metrics_keep_sums_and_counts_and_no_features(result: Result) -> None:
    assert [name for name, info in result.metrics.items() if not info.additive] == ["fad", "kad"]
    kept = set(result.evidence.index["encoder"])
    assert kept == {result.metrics["fad"].encoder, result.metrics["kad"].encoder}
    chroma = result.values[(result.values["model"] == "synth") & (result.values["metric"] == "chroma")]
    value = chroma["sum"].sum() / chroma["count"].sum()
    assert value == pytest.approx(result.score("synth", "chroma").value, rel=1e-12)
    with pytest.raises(EvalkitError, match="chroma: the result holds each clip's sum and count, no features"):
        recompute.pairs_of(result, "synth", "chroma")


def test_every_clip_is_named_by_its_digest_with_the_part_that_was_measured(result: Result) -> None:
    clips = result.clips[result.clips["status"] == "ok"]
    assert clips["sha256"].str.fullmatch("[0-9a-f]{64}").all() and clips["reference_sha256"].str.len().eq(64).all()
    assert (clips["length"] == 2.5).all() and (clips["compared_length"] == 2.5).all() and (clips["start"] == 0).all()
    assert clips["gain"].eq(1).all() and clips["reference_length"].eq(2.5).all()
    (lost,) = result.clips[result.clips["status"] != "ok"].itertuples()
    assert (
        lost.model == "folder" and lost.status == "missing" and "no clip in" in lost.reason and math.isnan(lost.length)
    )
    assert math.isnan(lost.chroma)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("result.json", None, "holds no finished result: the run did not finish"),
        ("result.json", b"{", "is damaged"),
        ("record.json", b"{}", "is not the file that the run wrote"),
        ("scores.parquet", b"", "is not the file that the run wrote"),
        ("clips.parquet", None, "clips.parquet is missing"),
    ],
)
def test_a_damaged_record_is_refused_in_one_line(
    result: Result, tmp_path: Path, name: str, damage: bytes | None, message: str
) -> None:
    copy = Path(shutil.copytree(result.path, tmp_path / "copy"))
    (copy / name).unlink()
    if damage is not None:
        (copy / name).write_bytes(damage)
    with pytest.raises(EvalkitError, match=message):
        evalkit.load(copy)


def edited(result: Result, folder: Path, **manifest: Any) -> Path:
    """A copy of a result whose manifest says something else."""
    copy = Path(shutil.copytree(result.path, folder / "edited"))
    path = copy / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **manifest}))
    return copy


def test_other_schemas_and_kinds_are_named(result: Result, tmp_path: Path) -> None:
    with pytest.raises(EvalkitError, match=r"later version of evalkit \(schema 99, this one reads 2\)"):
        evalkit.load(edited(result, tmp_path / "a", schema=99))
    with pytest.raises(EvalkitError, match="earlier version of evalkit: run it again"):
        evalkit.load(edited(result, tmp_path / "b", schema=None))
    with pytest.raises(EvalkitError, match="holds a tournament, which this version of evalkit cannot read"):
        evalkit.load(edited(result, tmp_path / "c", kind="tournament"))
    for name, value in (("files", None), ("files", {}), ("kind", None), ("features", "x")):
        with pytest.raises(EvalkitError, match=r"result\.json' is damaged"):
            evalkit.load(edited(result, tmp_path / f"{name}{value}", **{name: value}))
    with pytest.raises(EvalkitError, match="earlier version of evalkit"):
        evalkit.load(edited(result, tmp_path / "e", schema=0))
    with pytest.raises(EvalkitError, match="is not a folder"):
        evalkit.load(tmp_path / "nothing")
    (tmp_path / "x.zip").write_bytes(b"")
    with pytest.raises(EvalkitError, match="is an archive: unpack it"):
        evalkit.load(tmp_path / "x.zip")


def test_a_damaged_array_is_noticed_when_it_is_read(result: Result, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(result.path, tmp_path / "copy"))
    array = next((copy / "features").iterdir())
    array.write_bytes(array.read_bytes()[:-4] + b"abcd")
    loaded = evalkit.load(copy)
    assert loaded.score("synth", "chroma").value == result.score("synth", "chroma").value
    with pytest.raises(EvalkitError, match=r"is damaged: copy the result again"):
        for row in loaded.rows:
            loaded.score(row, "fad")


def test_unknown_rows_and_metrics_have_a_nearest_name(result: Result) -> None:
    with pytest.raises(EvalkitError, match="did you mean 'synth'"):
        result.score("sinth", "fad")
    with pytest.raises(EvalkitError, match="did you mean 'fad'"):
        result.score("synth", "fed")
    with pytest.raises(EvalkitError, match="reference halves: chroma: no clip has a reference of its own here"):
        result.score("reference halves", "chroma")
    known = result.prompts["id"][0]
    with pytest.raises(EvalkitError, match=f"'{known}x' is not among the 6 prompts of the result: did you mean"):
        result.score("synth", "fad", [known, f"{known}x"])
    for given, message in (([], "no prompts are given"), (known, "as a list"), (result.prompts, "as a list")):
        with pytest.raises(EvalkitError, match=message):
            result.score("synth", "chroma", given)


def test_a_score_that_the_run_had_not_has_the_reason_of_the_run(result: Result) -> None:
    with pytest.raises(EvalkitError, match="reference halves: chroma: no clip has a reference of its own here"):
        result.score("reference halves", "chroma")
    lost = result.clips.loc[result.clips["status"] != "ok", "id"]
    with pytest.raises(EvalkitError, match="folder: chroma: none of the prompts could be measured"):
        result.score("folder", "chroma", lost)


def test_a_result_is_saved_only_where_nothing_else_lies(result: Result, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "y").write_text("z")
    with pytest.raises(EvalkitError, match="is not empty: choose a new folder"):
        result.save(tmp_path / "x")
    with pytest.raises(EvalkitError, match="choose another folder"):
        result.save(tmp_path / "x" / "y")
    with pytest.raises(EvalkitError, match="lies in the result itself"):
        pack(result, result.path / "self.zip")


def test_a_metric_that_has_changed_since_is_not_computed_again(result: Result) -> None:
    info = result.metrics["fad"]
    older = dataclasses.replace(info, definition={**info.definition, "version": 99})
    with pytest.raises(EvalkitError, match="version 99 of the metric, and this evalkit has version"):
        recompute.rebuilt(older)
    with pytest.raises(EvalkitError, match="no metric 'fod'"):
        recompute.rebuilt(dataclasses.replace(info, definition={**info.definition, "kind": "fod"}))
    foreign = dataclasses.replace(info, definition={**info.definition, "package": "acme"}, target="os.system")
    with pytest.raises(EvalkitError, match="of the package 'acme': allow it"):
        recompute.rebuilt(foreign)
    with pytest.raises(EvalkitError, match=r"'os\.system', which is not of 'acme'"):
        recompute.rebuilt(foreign, allow=["acme"])
    absent = dataclasses.replace(foreign, target="acme.metrics.Loudness")
    with pytest.raises(EvalkitError, match=r"'acme\.metrics\.Loudness' cannot be found"):
        recompute.rebuilt(absent, allow=["acme"])


def test_a_metric_of_another_package_is_computed_again_by_the_same_code_only(result: Result) -> None:
    info, target = result.metrics["fad"], "tests.scoring.made.Pairs"
    own = {**named(Pairs), "version": 0}
    recompute.rebuilt(dataclasses.replace(info, definition=own, target=target), allow=["tests"])
    repaired = dataclasses.replace(info, definition={**own, "source": "0" * 64}, target=target)
    with pytest.raises(EvalkitError, match="computed by other code of the package 'tests' than is installed: run"):
        recompute.rebuilt(repaired, allow=["tests"])


def test_a_result_is_saved_into_a_new_folder_only(result: Result, tmp_path: Path) -> None:
    saved = result.save(tmp_path / "again")
    assert_equal(saved, result)
    assert_equal(evalkit.load(tmp_path / "again"), result)
    with pytest.raises(EvalkitError, match="holds a finished result already"):
        result.save(tmp_path / "again")


def test_without_links_features_are_copied_and_what_lies_in_the_way_is_replaced(
    result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*args: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("os.link", no_links)
    partial = tmp_path / "copied" / "features" / f"{result.evidence.index['array'][0]}.npy"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"the beginning")  # of a copy that was interrupted
    saved = result.save(tmp_path / "copied")
    assert saved.score("synth", "fad").value == result.score("synth", "fad").value
    for name in set(result.evidence.index["array"]):
        ours, theirs = (r.path / "features" / f"{name}.npy" for r in (saved, result))
        assert ours.read_bytes() == theirs.read_bytes() and not ours.samefile(theirs)


def test_what_lacks_features_is_neither_saved_nor_packed(result: Result, tmp_path: Path) -> None:
    copy = evalkit.load(shutil.copytree(result.path, tmp_path / "copy"))
    array = next((copy.path / "features").iterdir())
    array.write_bytes(b"x")
    with pytest.raises(EvalkitError, match="is damaged: copy the result again"):
        copy.save(tmp_path / "again")
    array.unlink()
    with pytest.raises(EvalkitError, match="is missing: copy the whole result"):
        pack(copy, tmp_path / "again.zip")
    assert not (tmp_path / "again" / "result.json").exists() and not (tmp_path / "again.zip").exists()


def test_files_from_before_1980_can_be_packed(result: Result, tmp_path: Path) -> None:
    copy = evalkit.load(shutil.copytree(result.path, tmp_path / "copy"))
    for path in copy.path.rglob("*"):
        os.utime(path, (0, 0))
    pack(copy, tmp_path / "old.zip", generated=False)
    assert zipfile.ZipFile(tmp_path / "old.zip").testzip() is None


def test_a_packed_result_has_its_audio_and_is_a_result_again(result: Result, folder: Path, tmp_path: Path) -> None:
    pack(result, tmp_path / "all.zip")
    pack(result, tmp_path / "bare.zip", generated=False, references=False)
    pack(result, tmp_path / "own.zip", references=False)
    names = {kind: zipfile.ZipFile(tmp_path / f"{kind}.zip").namelist() for kind in ("all", "bare", "own")}
    audio = {kind: {Path(name).stem for name in names[kind] if "/audio/" in name} for kind in names}
    assert not audio["bare"]
    assert audio["own"] == set(result.clips.loc[result.clips["status"] == "ok", "sha256"])
    assert audio["all"] == audio["own"] | set(result.clips["reference_sha256"])
    zipfile.ZipFile(tmp_path / "all.zip").extractall(tmp_path)
    unpacked = evalkit.load(tmp_path / "all")
    assert_equal(unpacked, result)
    found = unpacked.audio(unpacked.clips["sha256"][0], None)
    assert found is not None and found.is_relative_to(tmp_path)
    with pytest.raises(EvalkitError, match="exists: choose another name"):
        pack(result, tmp_path / "all.zip")


def test_a_clip_that_is_gone_or_another_cannot_be_packed(folder: Path, tmp_path: Path) -> None:
    copies = Path(shutil.copytree(folder / "clips", tmp_path / "clips"))
    own = run(
        folder, *OPTIONS, "model=folder", f"model.folder.path={copies}", "engine.keep_going=true", "calibration=[]"
    )
    lost = sorted(copies.iterdir())[0]
    kept = lost.read_bytes()
    lost.write_bytes(kept + b"x")
    with pytest.raises(EvalkitError, match="is not the clip that was measured: leave the audio out with --no-audio"):
        pack(own, tmp_path / "x.zip")
    lost.unlink()
    with pytest.raises(EvalkitError, match=r"the clip of '.*' is no longer at '.*' \(generated\)"):
        pack(own, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()
    pack(own, tmp_path / "x.zip", generated=False)


def test_the_stored_result_of_schema_1_is_read() -> None:
    """Made by tests/results/make_fixture.py; a change of the record has to migrate it."""
    stored = evalkit.load(STORED)
    assert json.loads((STORED / "result.json").read_text())["schema"] == 1 and stored.schema == SCHEMA
    assert all(info.weights is None for info in stored.metrics.values())
    expected = json.loads((STORED / "expected.json").read_text())
    scores = {f"{s.model}/{s.metric}": s.value for s in stored.scores.itertuples() if not math.isnan(s.value)}
    assert scores == expected["scores"]
    for name, value in expected["scores"].items():
        assert stored.score(*name.split("/")).value == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert stored.prompts["id"].tolist() == expected["prompts"]
    assert stored.document().heading == expected["heading"]


def test_what_older_records_do_not_know_of_verdicts_is_read_as_not_known() -> None:
    scores = evalkit.load(STORED).scores
    assert list(scores.columns) == list(SCORES) and (scores["sets"] == 1).all()
    absent = ["seed_sd", "spread", "rounding", "tolerance", "published_n", "difference_low", "context"]
    assert scores[absent].isna().all(axis=None)
    assert (scores[["because", "verdict", "verdict_reason", "tuned_from"]] == "").all(axis=None)


def test_the_intervals_of_schema_1_are_said_to_be_of_another_kind(tmp_path: Path) -> None:
    stored = evalkit.load(STORED)
    assert stored.scores["low"].notna().any() and stored.document().notes.count(PERCENTILES) == 1
    assert evalkit.load(stored.save(tmp_path / "again").path).document().notes.count(PERCENTILES) == 1


def test_what_schema_1_called_comparable_is_no_longer(tmp_path: Path) -> None:
    made = record()
    (tmp_path / "features").mkdir()
    saved = Result(**{field.name: getattr(made, field.name) for field in dataclasses.fields(made)}).save(tmp_path / "a")
    assert evalkit.load(saved.path).scores["comparable"].any()
    old = evalkit.load(edited(saved, tmp_path, schema=1, digest=None)).scores
    assert not old["comparable"].any() and (old["note"] == EARLIER).sum() == saved.scores["comparable"].sum()


def test_a_result_without_references_slices_or_calibration_is_read_whatever_its_names_are(tmp_path: Path) -> None:
    prompts, clips = tmp_path / "prompts.csv", tmp_path / "clips"
    ids = ["é", "漢字 1", "a|b", "c;d 'e'"]
    prompts.write_text("id,text\n" + "".join(f'{i},"[b]x[/b] | <i> of, {i}"\n' for i in ids), encoding="utf-8")
    clips.mkdir()
    rng = np.random.default_rng(0)
    for i in ids:
        soundfile.write(clips / f"{i}.wav", rng.normal(0, 0.1, (32000, 2)), 32000)
    os.rename(clips / "é.wav", os.fsencode(clips) + b"/odd.wav")
    odd = os.fsencode(clips) + b"/not\xffutf8"
    os.mkdir(odd)
    os.rename(os.fsencode(clips) + b"/odd.wav", odd + "/é.wav".encode())
    options = ["model=folder", f"model.folder.path={clips}", "prompts=table", f"prompts.path={prompts}"]
    made = run(tmp_path, *options, "metric=[stereo]", "sampling.duration=1")
    loaded = evalkit.load(made.path)
    assert_equal(loaded, made)
    assert loaded.references_info is None and loaded.slices.empty and loaded.evidence.index.empty
    assert loaded.prompts["id"].tolist() == ids and loaded.clips["reference_path"].isna().all()
    assert "not\\xffutf8" in loaded.clips["path"][0]
    assert report.files(loaded.document()) == report.files(made.document())
