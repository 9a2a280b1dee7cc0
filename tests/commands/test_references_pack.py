"""`evalkit references pack`: what is written, what is said of it, and what is a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.packs.files import read_pack
from evalkit.store.digests import sha256_file
from tests.packs import songs

from ..conftest import Run

DEMO = ["prompts=demo", "prompts.first=2", "sampling.duration=1.5", "metric=[chroma]", "--quiet"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "the following arguments are required"),
        (["clips", "out.safetensors", "third", "prompts=demo"], "3 places are given: write 'evalkit references pack"),
        (["prompts=demo"], "0 places are given"),
        (["clips", "out.zip", "prompts=demo"], "the name of a reference pack ends in .safetensors"),
        (["clips", "out.safetensors", "prompts=demo", "prompts.references=x"], "are both given: leave one out"),
        (["absent", "out.safetensors", "prompts=demo", "metric=[chroma]"], "absent' does not exist"),
        (
            ["out.safetensors", "prompts=demo", "metric=[silence]"],
            "compares with reference clips: choose others",
        ),
        (["a.safetensors", "out.safetensors", "prompts=demo"], "prompts.references=a.safetensors is a pack already"),
        (["out.safetensors", "prompts=demo"], "files are not on this machine: run 'evalkit fetch'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(evalkit: Run, arguments: list[str], expected: str) -> None:
    code, out, err = evalkit("references", "pack", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert expected in err
    assert not Path("out.safetensors").exists()


def test_what_was_packed_is_said_and_nothing_is_written_over(evalkit: Run) -> None:
    code, out, err = evalkit("references", "pack", *DEMO[:2], "demo.safetensors", *DEMO[2:], "--licence", "CC0-1.0")
    assert (code, err) == (0, "")
    place = Path("demo.safetensors").absolute()
    lines = out.splitlines()
    assert lines[:4] == [
        "references 2 of 2 of demo, first 2; protocol musicgen",
        "features of chromagram (metric chroma)",
        "rendered by Synth, not recordings",
        "licence: CC0-1.0",
    ]
    assert lines[4].startswith(f"packed: {place} (") and lines[4].endswith("2 parts, no audio)")
    assert lines[5] == f"to run with it: prompts.references={place}#sha256={sha256_file(place)}"
    before = place.read_bytes()
    code, _, err = evalkit("references", "pack", "demo.safetensors", *DEMO)
    assert code == 2 and "exists: choose another name" in err and place.read_bytes() == before


def test_clips_and_the_file_stand_anywhere_among_the_options(evalkit: Run, tmp_path: Path) -> None:
    folder = songs.make(tmp_path / "é (1) it's")
    options = ["prompts=table", f"prompts.path={folder / 'songs.csv'}", "metric=[chroma]", "sampling.duration=2"]
    code, out, err = evalkit(
        "references", "pack", options[0], str(folder / "clips"), *options[1:], "out.safetensors",
        "--about", "made for a test", "--quiet",
    )  # fmt: skip
    assert (code, err) == (0, ""), err
    assert "references 5 of 9 (1 too short, 1 silent, 1 unreadable, 1 missing) of songs, all" in out
    about = read_pack(Path("out.safetensors")).about
    assert (about.text, about.licence, about.durations) == ("made for a test", "unknown", (2.0,))
