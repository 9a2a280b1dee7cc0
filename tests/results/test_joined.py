"""Several results in one table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import evalkit
from evalkit.errors import EvalkitError
from evalkit.report.joined import join
from evalkit.report.markdown import joined_to_markdown


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("joined")


def run(folder: Path, *options: str) -> Path:
    base = ["model=synth", "prompts=demo", "prompts.first=3", "metric=[chroma]", "sampling.duration=1.5"]
    return evalkit.evaluate(*base, f"cache_dir={folder / 'cache'}", f"output_dir={folder / 'runs'}", *options).path


@pytest.fixture(scope="module")
def plain(folder: Path) -> Path:
    return run(folder)


@pytest.fixture(scope="module")
def changed(folder: Path) -> Path:
    return run(folder, "protocol.chroma.argmax=false")


def test_protocols_are_not_mixed_unless_asked(plain: Path, changed: Path) -> None:
    with pytest.raises(EvalkitError, match=r"\(musicgen, musicgen \(changed\)\).*--across-protocols"):
        join([plain, changed], across_protocols=False)
    joined = join([plain, changed], across_protocols=True)
    assert joined.rows["protocol"].tolist() == ["musicgen", "musicgen (changed)"]
    assert joined.rows["chroma_protocol"].tolist() == ["musicgen", "musicgen (changed)"]
    assert joined.rows["chroma"][0] != joined.rows["chroma"][1]
    assert any("different computations" in note for note in joined.notes)
    assert any(
        note.endswith("changed in the protocol musicgen: chroma.argmax False, not True") for note in joined.notes
    )
    assert "each model's clips are the same in all results" in joined.notes


def test_two_changed_protocols_are_two(folder: Path, changed: Path) -> None:
    other = run(folder, "protocol.chroma.radix2_exp=13")
    with pytest.raises(EvalkitError, match="different protocols"):
        join([changed, other], across_protocols=False)
    assert "run" in join([changed, other], across_protocols=True).shown()


def test_a_changed_protocol_is_named_so_everywhere(changed: Path) -> None:
    for name in ("table.md", "table.csv", "table.json"):
        assert "musicgen (changed)" in (changed / name).read_text()
    assert "chroma.argmax False, not True" in (changed / "table.md").read_text()


def test_calibration_rows_and_n_stay_visible(folder: Path) -> None:
    joined = join([run(folder, "calibration=[halves]"), run(folder)], across_protocols=False)
    rows = joined.shown().set_index("model")
    assert "reference halves (calibration)" in rows.index
    assert rows.loc["synth", "Chroma cosine similarity ↑"].iloc[0].endswith("(n 3)")


def test_other_clips_are_said_and_told_apart_by_their_run(folder: Path, plain: Path) -> None:
    other = run(folder, "model.synth.noise=0.1")
    joined = join([plain, other], across_protocols=False)
    assert "synth: other clips in each result" in joined.notes
    assert joined.shown()["run"].tolist() == [plain.name, other.name]
    text = joined_to_markdown(joined)
    assert text.count("\n| synth") == 2 and "Chroma cosine similarity ↑" in text


def test_other_references_are_refused(folder: Path, plain: Path) -> None:
    with pytest.raises(EvalkitError, match="different references"):
        join([plain, run(folder, "sampling.seed=5")], across_protocols=True)


def test_other_prompts_are_refused(folder: Path, plain: Path) -> None:
    with pytest.raises(EvalkitError, match="different prompts"):
        join([plain, run(folder, "prompts.first=2")], across_protocols=True)


def test_an_unfinished_result_is_refused(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(EvalkitError, match="holds no finished result"):
        join([plain, tmp_path], across_protocols=True)


def test_the_command(plain: Path, changed: Path) -> None:
    command = [sys.executable, "-m", "evalkit.cli", "table", str(plain), str(changed)]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "--across-protocols" in refused.stderr
    shown = subprocess.run([*command, "--across-protocols"], capture_output=True, text=True)
    assert shown.returncode == 0 and "musicgen (changed)" in " ".join(shown.stdout.split())
