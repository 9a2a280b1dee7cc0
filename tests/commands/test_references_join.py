"""`evalkit references join`: what it says, and what it refuses."""

from __future__ import annotations

from pathlib import Path

from evalkit.packs.files import read_pack, write_pack

from ..conftest import Run
from ..packs.test_joining import PASST, A, B, C, pack
from ..packs.test_pack import VGGISH


def test_packs_become_one_file(evalkit: Run, tmp_path: Path) -> None:
    write_pack(tmp_path / "mine.safetensors", pack({"a": A, "b": None}, licence="CC0-1.0"))
    write_pack(tmp_path / "yours.safetensors", pack({"a": C, "b": B}, licence="CC-BY-4.0"))
    code, out, err = evalkit("references", "join", "mine.safetensors", "yours.safetensors", "both.safetensors")
    assert (code, err) == (0, "")
    assert out.splitlines()[:4] == [
        "mine.safetensors: references 1 of 2, metric fad, kad",
        "yours.safetensors: references 2 of 2, metric fad, kad",
        "other audio of 1 prompt in a later pack was left out: 'a'",
        "licence: CC0-1.0 AND CC-BY-4.0",
    ]
    place = tmp_path / "both.safetensors"
    assert out.splitlines()[4].startswith(f"joined: {place} (references 2 of 2, metric fad, kad, ")
    assert {one.sha256 for one in read_pack(place).references} == {A, B}


def test_a_mistake_is_one_line_that_names_what_was_typed(evalkit: Run, tmp_path: Path) -> None:
    write_pack(tmp_path / "a.safetensors", pack({"a": A}))
    write_pack(tmp_path / "b.safetensors", pack({"b": B}, (VGGISH, PASST)))
    for arguments, said in (
        (["a.safetensors", "both.safetensors"], "give two packs or more, and behind them the file to write"),
        (["a.safetensors", "b.safetensors", "a.safetensors"], "a.safetensors' exists: choose another name"),
        (["a.safetensors", "clips", "both.safetensors"], "'clips' names no reference pack: give a .safetensors file"),
        (["a.safetensors", "c.safetensors", "both.safetensors"], "'c.safetensors' does not exist"),
        (["./a.safetensors", "b.safetensors", "both.safetensors"], "'./a.safetensors' cannot be joined with 'b.safet"),
        (["a.safetensors", "some/songs@main", "both.safetensors"], "name a commit by its 40 hexadecimal digits"),
    ):
        code, out, err = evalkit("references", "join", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1) and said in err, err
    assert not (tmp_path / "both.safetensors").exists()
