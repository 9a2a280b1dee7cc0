"""`evalkit fetch`: what a run needs, where it lies, and what is wrong where it cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ..conftest import Run


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--nope"], "--nope: see 'evalkit fetch --help'"),
        (["--config-dir", "/absent", "model=synth", "prompts=demo"], "'/absent' does not exist"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(evalkit: Run, arguments: list[str], expected: str) -> None:
    code, out, err = evalkit("fetch", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert expected in err


def test_paths_need_no_quotes(evalkit: Run, tmp_path: Path) -> None:
    folder = tmp_path / "é (1) it's, a=b"
    folder.mkdir()
    code, _, err = evalkit("fetch", "--list", "model=synth", "prompts=demo", f"prompts.references={folder}")
    assert code == 0, err


def test_fetch_lists_every_file_with_licence_and_place(evalkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    code, out, err = evalkit("fetch", "--list", "model=musicgen_stereo_medium", "prompts=musiccaps")
    assert code == 0, err
    for expected in (
        "facebook/musicgen-stereo-medium", "CC-BY-NC", "google/MusicCaps", "CC-BY-SA", "vggish-10086976.pth",
        "passt-s-f128-20sec-p16-s10-ap.474-swa.pt", "music_audioset_epoch_15_esc_90.14.pt", "roberta-base", "missing",
    ):  # fmt: skip
        assert expected in out, expected


def test_without_a_model_and_prompts_the_files_are_those_of_the_metrics(evalkit: Run) -> None:
    code, out, err = evalkit("fetch", "--list", "metric=[fad]", "protocol=fadtk")
    assert code == 0, err
    assert [line.split("\t")[0] for line in out.splitlines()[1:]] == ["VGGish weights"]
    code, out, _ = evalkit("fetch", "--list", "prompts=song_describer", "metric=[]")
    assert code == 0 and [line.split("\t")[0].rpartition(" ")[2] for line in out.splitlines()[1:]] == [
        "captions",
        "tracks",
    ]
    assert "nothing is selected for prompts" in evalkit("fetch", "--list", "model=synth")[2]


def test_fetch_with_random_weights_needs_nothing(evalkit: Run) -> None:
    code, out, _ = evalkit("fetch", "experiment=demo")
    assert (code, out.strip()) == (0, "nothing to fetch: this configuration needs no file from elsewhere")


def test_fetch_without_a_network_is_one_line(evalkit: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def blocked(*_: Any) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr("socket.socket.connect", blocked)
    code, _, err = evalkit("fetch", "model=synth", "prompts=demo", "metric=fad")
    assert code == 2
    assert "cannot fetch" in err and err.count("\n") == 1
