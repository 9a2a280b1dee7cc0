"""`evalkit pack`: a result in one archive, with as much of the audio as is asked for."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest

import evalkit as package
from evalkit.results.result import Result

from ..conftest import Run
from ..results.made_comparison import comparison


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("pack")
    return package.evaluate(
        *(
            "model=synth",
            "model.synth.seed=1",
            "prompts=demo",
            "prompts.first=2",
            "sampling.duration=1",
            "random_weights=0",
        ),
        *("metric=[chroma]", "uncertainty.resamples=0", f"cache_dir={folder / 'cache'}", f"output_dir={folder}"),
    )


def audio(archive: Path) -> set[str]:
    """The digests that the audio files of an archive are named by."""
    return {Path(name).stem for name in zipfile.ZipFile(archive).namelist() if "/audio/" in name}


def test_an_archive_holds_the_audio_of_both_sides_unless_told_otherwise(
    evalkit: Run, result: Result, tmp_path: Path
) -> None:
    clips, references = set(result.clips["sha256"]), set(result.clips["reference_sha256"])
    assert len(clips) == len(references) == 2 and not clips & references
    sizes = []
    for name, options, expected in (
        ("all", [], clips | references),
        ("own", ["--no-references"], clips),
        ("bare", ["--no-audio"], set()),
        ("none", ["--no-audio", "--no-references"], set()),
    ):
        archive = tmp_path / f"{name}.zip"
        code, out, err = evalkit("pack", str(result.path), str(archive), *options)
        size = archive.stat().st_size
        assert (code, out, err) == (0, f"packed: {archive} ({size / 1e6:.1f} MB)\n", "")
        assert audio(archive) == expected
        sizes.append(size)
    assert sizes[0] > sizes[1] > sizes[2] == sizes[3]


@pytest.mark.parametrize("options", [[], ["--no-audio"]])
def test_an_unpacked_archive_is_the_result(evalkit: Run, result: Result, tmp_path: Path, options: list[str]) -> None:
    evalkit("pack", str(result.path), "out.zip", *options)
    zipfile.ZipFile(tmp_path / "out.zip").extractall(tmp_path / "unpacked")
    unpacked = package.load(tmp_path / "unpacked" / "out")
    pd.testing.assert_frame_equal(unpacked.scores, result.scores)
    pd.testing.assert_frame_equal(unpacked.clips, result.clips)
    found = [unpacked.audio(sha256, None) for sha256 in unpacked.clips["sha256"]]
    assert [path is not None for path in found] == [not options] * 2
    assert (unpacked.path / "run.log").read_bytes() == (result.path / "run.log").read_bytes()
    assert evalkit("table", str(unpacked.path)) == evalkit("table", str(result.path))


@pytest.mark.parametrize(
    ("given", "made"), [("out", "out.zip"), ("v1.2", "v1.2.zip"), ("out.zip", "out.zip"), ("new/out", "new/out.zip")]
)
def test_an_archive_s_name_ends_in_zip(evalkit: Run, result: Result, tmp_path: Path, given: str, made: str) -> None:
    code, out, _ = evalkit("pack", str(result.path), given, "--no-audio")
    assert code == 0 and out.startswith(f"packed: {tmp_path / made} (")
    assert zipfile.is_zipfile(tmp_path / made)


@pytest.mark.parametrize("given", ["out", "out.zip"])
def test_an_archive_that_exists_is_refused_and_kept(evalkit: Run, result: Result, tmp_path: Path, given: str) -> None:
    (tmp_path / "out.zip").write_text("mine")
    refused = f"evalkit: '{tmp_path / 'out.zip'}' exists: choose another name\n"
    assert evalkit("pack", str(result.path), given) == (2, "", refused)
    assert (tmp_path / "out.zip").read_text() == "mine"


def test_a_result_that_is_gone_or_unfinished_is_one_line(evalkit: Run, result: Result, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(result.path, tmp_path / "copy"))
    (copy / "result.json").unlink()
    code, out, err = evalkit("pack", "copy", "out.zip")
    assert (code, out) == (2, "") and err.startswith(f"evalkit: '{copy}' holds no finished result: the run did not")
    gone = f"evalkit: '{tmp_path / 'gone'}' is not a folder: give the one that evalkit run printed\n"
    assert evalkit("pack", "gone", "out.zip") == (2, "", gone)
    assert not (tmp_path / "out.zip").exists()


def test_audio_that_is_gone_is_one_line_that_says_how_to_do_without(
    evalkit: Run, result: Result, tmp_path: Path
) -> None:
    place = Path(result.clips["path"][0])
    hidden = place.rename(tmp_path / "hidden")
    try:
        code, out, err = evalkit("pack", str(result.path), "out.zip")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"is no longer at '{place}' (generated): leave the audio out with --no-audio" in err
        assert not (tmp_path / "out.zip").exists()
        assert evalkit("pack", str(result.path), "out.zip", "--no-audio")[0] == 0
    finally:
        hidden.rename(place)


def test_a_comparison_is_no_result_to_pack(evalkit: Run, tmp_path: Path) -> None:
    folder = comparison().save(tmp_path / "comparison").path
    said = f"evalkit: '{folder}' holds a comparison, not the result of a run: give a folder that evalkit run printed\n"
    assert evalkit("pack", str(folder), str(tmp_path / "x.zip")) == (2, "", said)
    assert not (tmp_path / "x.zip").exists()
