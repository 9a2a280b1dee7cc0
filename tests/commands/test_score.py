"""`evalkit score`: two folders of clips, of any names and numbers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from evalkit import commands, load
from evalkit import score as package_score
from evalkit.commands import INCOMPLETE, score
from evalkit.encoders.levels import Levels
from evalkit.errors import EvalkitError
from evalkit.functional import frechet_distance
from evalkit.metrics.fad import FAD
from evalkit.results.result import Result
from evalkit.results.scored import Chosen, scored
from evalkit.settings import Uncertainty
from evalkit.stats.bootstrap import draws, interval
from evalkit.types import Features

from ..conftest import Run

GENERATED, REFERENCES = ("a", "b", "c", "sub/d", "e"), ("a", "b", "x", "y", "z", "sub/d", "w")
QUICK = ["random_weights=0", "uncertainty.resamples=100"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("score")
    rng = np.random.default_rng(0)
    for side, names in (("generated", GENERATED), ("references", REFERENCES)):
        for i, name in enumerate(names):
            path = folder / side / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            fade = np.linspace(0, 1, 16000 * (2 + i)) ** i
            soundfile.write(path, 0.2 * rng.standard_normal(len(fade)) * fade, 16000)
    return folder


def options(place: Path) -> list[str]:
    return [*QUICK, f"cache_dir={place / 'cache'}", f"output_dir={place / 'runs'}"]


@pytest.fixture(scope="module")
def result(place: Path) -> Result:
    return package_score(place / "generated", place / "references", "metric=[fad,kad,chroma]", *options(place))


def test_sets_are_whole_and_pairs_are_those_of_the_same_name(result: Result) -> None:
    scores = result.scores.set_index("metric")
    assert scores.n.to_dict() == {"fad": 5, "kad": 5, "chroma": 3}
    assert (scores.low <= scores.value).all() and (scores.value <= scores.high).all()
    (row,) = result.rows.values()
    assert row.sets and not row.paired and result.prompts_info.form == "sets"
    clips = result.clips.set_index("id")
    assert set(clips.index) == {n.replace("/", ":") for n in GENERATED + REFERENCES}
    assert set(clips.index[clips.status == "unpaired"]) == {"x", "y", "z", "w"}
    assert set(clips.index[clips.reference_status == "unpaired"]) == {"c", "e"}
    text = (result.path / "table.md").read_text()
    assert "5 clips against 7 references, 3 of the same name, protocol musicgen" in text
    assert "5 of 5" in text and "references 7 of 7" in text and "over the clips of either set" in text
    assert "the 3 pairs of the same name, over their common length, 2.0 to 5.0 s" in text
    assert "published" not in text and "model card" not in text and "checkpoint" not in text


def test_scores_are_computed_again_with_the_same_digits(result: Result) -> None:
    loaded = load(result.path)
    for found in (result, loaded):
        for name, one in result.scores.set_index("metric").iterrows():
            again = found.score("generated", str(name))
            assert (again.value, again.low, again.high, again.n) == (one.value, one.low, one.high, one.n)
    some = loaded.score("generated", "fad", ["a", "c", "e"])
    assert some.n == 3 and some.value != result.scores.value[0]


def test_each_side_is_resampled_by_itself(result: Result, place: Path) -> None:
    fad = result.scores.set_index("metric").loc["fad"]
    features = dict(zip(("clips", "references"), _features(result), strict=True))
    ours, theirs = features["clips"], features["references"]
    assert (len(ours), len(theirs)) == (5, 7)
    values = []
    for mine, their in zip(draws(5, 100, 0), draws(7, 100, 0, side=1), strict=True):
        sides = [
            np.concatenate([v for v, k in zip(side, row, strict=True) for _ in range(int(k))])
            for side, row in ((ours, mine), (theirs, their))
        ]
        values.append(frechet_distance(*sides))
    expected = interval(fad.value, np.array(values), 0.95, 5, (0.0, np.inf))
    assert (fad.low, fad.high) == pytest.approx(expected, rel=1e-6)
    assert not np.array_equal(draws(7, 10, 0), draws(7, 10, 0, side=1))


def _features(result: Result) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    from evalkit.results.recompute import pairs_of

    ((ours, theirs),) = pairs_of(result, "generated", "fad")
    assert theirs is not None
    return ours.values, theirs.values


@pytest.mark.parametrize(
    ("generated", "references", "more", "message"),
    [
        ("nowhere", "references", (), "'.*nowhere' does not exist: check the path"),
        ("generated/a.wav", "references", (), "is a file: give the folder that it is in"),
        ("empty", "references", (), "'.*empty' holds no audio"),
        ("generated", "references", ("metric=[clap_score]",), "clap_score compares with captions, which two folders"),
        ("generated", "references", ("model=synth",), "'model=synth': .* takes its clips from the two folders"),
        ("generated", "references", ("experiment=demo",), "'experiment=demo': .* takes its clips from the two folders"),
        ("generated", "references", ("prompts.first=1",), "'prompts.first=1': .* takes its clips from the two folders"),
        ("generated", "references", ("slices=[voice]",), "slices needs prompts"),
        ("generated", "", (), "lies in .*, so that its files would count on both sides: give two separate folders"),
        ("", "references", (), "lies in .*, so that its files would count on both sides"),
        ("generated/sub", "references", ("metric=[fad,kld]",), "metric.kld: compares files of the same name, and the"),
        ("generated", "references", ("metric=[fad]", "calibration=[noise]"), "calibration needs prompts"),
        ("one", "references", ("metric=[inception_score]",), "metric.inception_score|too few"),
        ("broken", "references", ("metric=[fad]",), "1 of 2 clips are not usable .*engine.keep_going=true"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    place: Path, generated: str, references: str, more: tuple[str, ...], message: str
) -> None:
    for name, files in (("empty", ()), ("one", ("a",)), ("broken", ("a",))):
        (place / name).mkdir(exist_ok=True)
        for file in files:
            target = place / name / f"{file}.wav"
            target.unlink(missing_ok=True)
            target.symlink_to(place / "generated" / f"{file}.wav")
    (place / "broken/bad.wav").write_bytes(b"no audio")
    with pytest.raises(EvalkitError, match=message):
        package_score(place / generated, place / references, *more, *options(place))


def test_the_same_folder_twice_and_a_list(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = place / "list.csv"
    table.write_text("id,path\n" + "".join(f"{i},generated/{n}.wav\n" for i, n in enumerate(GENERATED)))
    chosen = ["metric=[fad]", "protocol=frechet_audio_distance", *options(place)]
    with commands.DONE:
        score.main([str(table), str(place / "generated"), *chosen, "--format", "json"])
    out = capsys.readouterr().out
    assert '"low"' in out
    same = package_score(place / "generated", place / "generated", *chosen)
    assert same.prompts_info.form == "pairs" and same.scores.value[0] == pytest.approx(0, abs=1e-6)


def test_files_that_would_have_one_name_keep_their_suffixes(tmp_path: Path) -> None:
    from evalkit.prompts.two_folders import Files

    for name in ("a.wav", "a.flac", "b.wav"):
        soundfile.write(tmp_path / name, np.zeros(16000), 16000)
    assert sorted(Files(str(tmp_path)).listed) == ["a.flac", "a.wav", "b"]
    soundfile.write(tmp_path / "a.wav.flac", np.zeros(16000), 16000)
    with pytest.raises(EvalkitError, match=r"a\.wav.*' would both be named 'a\.wav': rename one"):
        _ = Files(str(tmp_path)).listed


def fill(folder: Path, *names: str, seed: int = 0, seconds: float = 1.5) -> Path:
    """A folder of clips, each a chord of its own in noise; those of one name, seed and length are the same."""
    for name in names:
        rng = np.random.default_rng([seed, *name.encode()])
        time = np.arange(round(16000 * seconds)) / 16000
        tones = sum(np.sin(2 * np.pi * f * time) for f in rng.uniform(100, 3000, 3))
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * tones + rng.normal(0, 0.01, len(time)), 16000)
    return folder


def values(result: Result) -> dict[str, float]:
    return dict(zip(result.scores["metric"], result.scores["value"], strict=True))


def test_one_line_compares_two_folders_with_all_metrics_that_can_be(evalkit: Run, tmp_path: Path) -> None:
    ours = fill(tmp_path / "my model", *(f"g{i}.wav" for i in range(4)), "both.wav")
    theirs = fill(tmp_path / "music", *(f"r{i}.flac" for i in range(6)), "both.wav", seed=1, seconds=2.0)
    code, out, err = evalkit("score", str(ours), str(theirs), *QUICK)
    assert code == 0, err
    said = " ".join(out.split())
    assert "music: 5 clips against 7 references, 1 of the same name" in said and "my model" in said
    assert "KLD, Chroma cosine similarity: the pair of the same name, over their common length, 1.5 s" in said
    result = load(out.rpartition("result: ")[2].strip())
    assert result.scores.set_index("metric")["n"].to_dict() == {
        "fad": 5, "kad": 5, "precision": 5, "recall": 7, "kld": 1, "chroma": 1,
    }  # fmt: skip
    for one in result.scores.to_dict("records"):
        again = result.score("my model", one["metric"])
        np.testing.assert_array_equal([again.value, again.low, again.high], [one[k] for k in ("value", "low", "high")])


def test_pairs_have_the_score_of_a_run_of_them_alone(place: Path) -> None:
    """Pairs of a part of the names are cut to their common length, as those of all are, and nothing else is encoded."""
    common = [name for name in GENERATED if name in REFERENCES]
    for side in ("generated", "references"):
        for name in common:
            target = place / f"{side} of pairs" / f"{name}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.symlink_to(place / side / f"{name}.wav")
    chosen = ["metric=[chroma]", *options(place)]
    part = package_score(place / "generated", place / "references", *chosen)
    alone = package_score(place / "generated of pairs", place / "references of pairs", *chosen)
    assert values(part) == values(alone)
    assert (part.prompts_info.form, alone.prompts_info.form) == ("sets", "pairs")


@pytest.mark.slow
def test_swapped_folders_swap_precision_and_recall_and_keep_fad(tmp_path: Path) -> None:
    ours = fill(tmp_path / "ours", *(f"{i}.wav" for i in range(5)))
    theirs = fill(tmp_path / "theirs", *(f"r{i}.wav" for i in range(7)), seed=1)
    chosen = ["metric=[fad,precision_recall]", "protocol=fadtk", *options(tmp_path)]
    one, other = (values(package_score(*pair, *chosen)) for pair in ((ours, theirs), (theirs, ours)))
    assert one["fad"] == pytest.approx(other["fad"], rel=1e-9)
    assert (one["precision"], one["recall"]) == (other["recall"], other["precision"])


def test_files_on_both_sides_are_told(tmp_path: Path) -> None:
    ours, theirs = fill(tmp_path / "ours", "a.wav", "b.wav"), fill(tmp_path / "theirs", "x.wav", "y.wav", "z.wav")
    chosen = ["metric=[fad]", *options(tmp_path)]
    assert not any("byte for byte" in remark for remark in package_score(ours, theirs, *chosen).remarks)
    (theirs / "copy.wav").write_bytes((ours / "b.wav").read_bytes())
    remarks = package_score(ours, theirs, *chosen).remarks
    assert "clips that are among the references, byte for byte: 1 of 2" in remarks
    assert "both folders hold the same files, byte for byte" in package_score(ours, ours, *chosen).remarks


def test_files_that_cannot_be_read_are_rows_with_a_reason(tmp_path: Path) -> None:
    ours = fill(tmp_path / "ours", *(f"g{i}.wav" for i in range(4)))
    theirs = fill(tmp_path / "theirs", *(f"r{i}.wav" for i in range(5)))
    for broken in (ours / "g0.wav", theirs / "r0.wav"):
        broken.write_bytes(b"no audio")
    chosen = ["metric=[fad]", "engine.keep_going=true", *options(tmp_path)]
    with pytest.raises(EvalkitError, match=r"only 4 of 5 are usable .r0: .*min_references"):
        package_score(ours, theirs, *chosen)
    result = package_score(ours, theirs, *chosen, "min_references=0.5")
    clips = result.clips.set_index("id")
    assert (clips.loc["g0", "status"], clips.loc["g0", "reference_status"]) == ("unreadable", "unpaired")
    assert (clips.loc["r0", "status"], clips.loc["r0", "reference_status"]) == ("unpaired", "unreadable")
    assert clips.loc["g0", "reason"] and clips.loc["r0", "reference_reason"]
    text = (result.path / "table.md").read_text("utf-8")
    assert "3 of 4" in text and "references 4 of 5 (1 unreadable)" in text


@pytest.mark.parametrize("alone", ["ours", "theirs"])
def test_one_clip_has_a_value_and_no_interval(tmp_path: Path, alone: str) -> None:
    names = {"ours": ["a.wav", "b.wav", "c.wav"], "theirs": ["x.wav", "y.wav", "z.wav"], alone: ["one.wav"]}
    ours, theirs = (fill(tmp_path / side, *names[side], seconds=3.0) for side in ("ours", "theirs"))
    result = package_score(ours, theirs, *options(tmp_path))
    assert list(result.metrics) == ["fad", "kad"]  # there are no four clips for precision, and no pairs
    assert (result.scores["value"].notna() & result.scores["low"].isna()).all()


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    ours, theirs = fill(tmp_path / "ours", "a.wav", "b.wav"), fill(tmp_path / "theirs", "x.wav", "y.wav")
    os.rename(os.fsencode(ours / "a.wav"), os.fsencode(ours) + b"/caf\xe9.wav")
    result = package_score(ours, theirs, "metric=[fad]", *options(tmp_path))
    assert result.scores["n"].tolist() == [2] and "caf\\xe9" in set(result.clips["id"])


def test_models_stand_in_one_table_against_the_same_references(evalkit: Run, tmp_path: Path) -> None:
    first, second = fill(tmp_path / "first", "a.wav", "b.wav"), fill(tmp_path / "second", "c.wav", "d.wav", "e.wav")
    theirs, others = fill(tmp_path / "theirs", "x.wav", "y.wav"), fill(tmp_path / "others", "x.wav", "z.wav", seed=2)
    chosen = ["metric=[fad]", *options(tmp_path)]
    paths = [str(package_score(*pair, *chosen).path) for pair in ((first, theirs), (second, theirs), (second, others))]
    code, out, err = evalkit("table", *paths[:2])
    assert code == 0, err
    said = " ".join(out.split())
    assert "first" in said and "second" in said and "not of the same number of clips: n 2: first" in said
    code, _, err = evalkit("table", paths[0], paths[2])
    assert code == 2 and "different references: 4 are in one of them only" in err
    assert evalkit("pack", paths[0], str(tmp_path / "out.zip"))[0] == 0


def test_other_forms_are_all_of_the_output(evalkit: Run, tmp_path: Path) -> None:
    ours, theirs = fill(tmp_path / "ours", "a.wav", "b.wav"), fill(tmp_path / "theirs", "x.wav", "y.wav")
    chosen = ["metric=[fad]", *options(tmp_path)]
    code, out, err = evalkit("score", str(ours), str(theirs), *chosen, "--format", "json")
    assert code == 0 and json.loads(out)["scores"][0]["metric"] == "fad"
    assert load(err.rpartition("result: ")[2].strip()).scores["n"].tolist() == [2]


def test_the_interval_of_unlike_sets_covers() -> None:
    """Of 120 pairs of sets, 25 clips against 60: the interval holds the mean over sets of these sizes."""
    metric, rng = FAD(Levels()), np.random.default_rng(0)

    def drawn(side: str, clips: int, mean: float) -> Features:
        frames = tuple(rng.normal(rng.normal(mean, 1, 3), 0.5, (6, 3)).astype(np.float32) for _ in range(clips))
        return Features(tuple(f"{side}{i}" for i in range(clips)), frames)

    found = []
    for _ in range(120):
        ours, theirs = drawn("g", 25, 1.0), drawn("r", 60, 0.0)
        measured, chosen = [metric(ours, theirs)], Chosen(list(ours.ids), [(ours, theirs)], len(theirs.ids))
        one = scored("it", ours.ids, measured, metric.bounds, Uncertainty(resamples=200), chosen=chosen)
        found.append((one.low, one.value, one.high))
    low, value, high = np.array(found).T
    covered = float(((low <= value.mean()) & (value.mean() <= high)).mean())
    print(covered)
    assert 0.9 <= covered <= 1


def test_folders_that_are_not_given_are_named(evalkit: Run) -> None:
    for given, missing in (((), "GENERATED, REFERENCES"), (("folder",), "REFERENCES")):
        code, out, err = evalkit("score", *given)
        assert (code, out) == (2, "")
        assert err == f"evalkit: the following arguments are required: {missing}: see 'evalkit score --help'\n"


def test_a_metric_without_a_value_is_told_by_the_exit_status(evalkit: Run, tmp_path: Path) -> None:
    names = [f"{i}.wav" for i in range(12)]
    ours, theirs = fill(tmp_path / "a", *names), fill(tmp_path / "b", *names, seed=1)
    code, out, err = evalkit("score", str(ours), str(theirs), *QUICK, "metric=[fad,fad_inf]")
    assert code == INCOMPLETE and "has no score of" in err and "result: " in out
