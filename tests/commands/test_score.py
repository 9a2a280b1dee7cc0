"""`evalkit score`: two folders of clips, of any names and numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import evalkit
from evalkit.commands import score
from evalkit.errors import EvalkitError
from evalkit.functional import frechet_distance
from evalkit.results.result import Result
from evalkit.stats.bootstrap import draws, interval

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
    return evalkit.score(place / "generated", place / "references", "metric=[fad,kad,chroma]", *options(place))


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
    assert "the 3 pairs of the same name, each file whole" in text
    assert "published" not in text and "model card" not in text and "checkpoint" not in text


def test_scores_are_computed_again_with_the_same_digits(result: Result) -> None:
    loaded = evalkit.load(result.path)
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
        ("generated", "references", ("model=synth",), "takes its clips from the two folders: leave out model"),
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
        evalkit.score(place / generated, place / references, *more, *options(place))


def test_the_same_folder_twice_and_a_list(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = place / "list.csv"
    table.write_text("id,path\n" + "".join(f"{i},generated/{n}.wav\n" for i, n in enumerate(GENERATED)))
    chosen = ["metric=[fad]", "protocol=frechet_audio_distance", *options(place)]
    score.main([str(table), str(place / "generated"), *chosen, "--format", "json"])
    out = capsys.readouterr().out
    assert '"low"' in out
    same = evalkit.score(place / "generated", place / "generated", *chosen)
    assert same.prompts_info.form == "pairs" and same.scores.value[0] == pytest.approx(0, abs=1e-6)


def test_files_that_would_have_one_name_keep_their_suffixes(tmp_path: Path) -> None:
    from evalkit.prompts.two_folders import Files

    for name in ("a.wav", "a.flac", "b.wav"):
        soundfile.write(tmp_path / name, np.zeros(16000), 16000)
    assert sorted(Files(str(tmp_path)).listed()) == ["a.flac", "a.wav", "b"]
    soundfile.write(tmp_path / "a.wav.flac", np.zeros(16000), 16000)
    with pytest.raises(EvalkitError, match=r"a\.wav.*' would both be named 'a\.wav': rename one"):
        Files(str(tmp_path)).listed()
