"""`evalkit references status`: how many references can be used, why others cannot, and lists for download scripts."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from evalkit.features.extractor import Extractor
from evalkit.packs.files import write_pack
from evalkit.packs.pack import PackedFeatures, Part
from evalkit.store.cache import Cache
from evalkit.store.digests import digest

from ..conftest import Run
from ..packs.test_joining import A, B, C, pack
from ..packs.test_pack import VGGISH
from ..prompts.made import COLUMNS, like_musiccaps

RATE = 8000
FEATURES = np.ones((3, 4), np.float32)
SECONDS = {"made_000003": 0.5, "made_000004": 19.0, "made_000005": 40.0}


@pytest.fixture
def musiccaps(tmp_path: Path) -> list[str]:
    """Forty prompts in MusicCaps' layout, and 36 files, of which some cannot be used."""
    table = like_musiccaps(tmp_path / "mc.csv", 40)
    (tmp_path / "clips").mkdir()
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 40 * RATE)
    for number in range(36):
        name = f"made_{number:06d}"
        samples = noise[: round(SECONDS.get(name, 10.0) * RATE)]
        path = tmp_path / "clips" / f"{name}.flac"
        soundfile.write(path, samples * (name != "made_000006"), RATE)
        if name == "made_000007":
            path.write_bytes(path.read_bytes()[:-20_000])
    (tmp_path / "clips" / "made_000008.flac").write_bytes(b"")
    return ["prompts=musiccaps", f"prompts.path={table}", f"prompts.references={tmp_path / 'clips'}"]


def told(evalkit: Run, *arguments: str, status: int = 0) -> dict[str, Any]:
    code, out, err = evalkit("references", "status", *arguments, "--json")
    assert code == status, err
    found: dict[str, Any] = json.loads(out)
    return found


def counts(found: dict[str, Any]) -> dict[str, int]:
    return {row["status"]: row["count"] for row in found["table"]}


def test_references_are_counted_by_what_is_wrong_with_them(evalkit: Run, musiccaps: list[str], tmp_path: Path) -> None:
    found = told(evalkit, *musiccaps, "min_references=0.8")
    assert counts(found) == {"usable": 33, "missing": 4, "too short": 1, "too long": 1, "unreadable": 1}
    assert (found["usable"], found["prompts"]) == (33, 40)
    assert found["unusable"]["made_000036"] == {"status": "missing", "reason": f"not in '{tmp_path / 'clips'}'"}
    assert found["notes"] == [
        "of the usable ones, 1 longer file will be cut, such as made_000004: cut from 19.0 s to its last 10 s"
    ]
    found = told(evalkit, *musiccaps, "min_references=0.7", "--decode")
    assert counts(found)["silent"] == 1 and counts(found)["unreadable"] == 2 and counts(found)["usable"] == 31
    assert {i for i, one in found["unusable"].items() if one["status"] == "silent"} == {"made_000006"}


def test_the_status_is_1_where_a_run_would_refuse(
    evalkit: Run, musiccaps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = evalkit("references", "status", *musiccaps)
    assert (code, err) == (1, "evalkit: 33 of 40 can be used: a run wants 90% of them (min_references)\n")
    assert max(map(len, out.splitlines())) <= 80 and "usable         33    82%" in out
    assert evalkit("references", "status", *musiccaps, "min_references=0.825")[0] == 0
    # with none at all a run cannot go on, whatever it is content with
    assert evalkit("references", "status", *musiccaps[:2], "min_references=0")[0] == 1


def test_a_list_has_the_rows_that_are_missing_with_all_columns(
    evalkit: Run, musiccaps: list[str], tmp_path: Path
) -> None:
    found = told(evalkit, *musiccaps, "--missing", "todo.csv", status=1)
    with (tmp_path / "todo.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    with (tmp_path / "mc.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["ytid"]: row for row in csv.DictReader(file)}
    assert list(listed[0]) == COLUMNS and "\n" in listed[0]["caption"]
    assert listed == [rows[i] for i in rows if i in found["unusable"]] and len(listed) == 7
    # what a download script fetches by the list completes the folder
    again = told(evalkit, "prompts=musiccaps", "prompts.path=todo.csv", *musiccaps[2:], status=1)
    assert again["prompts"] == 7


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ((), "' holds no audio ("),
        (("other.wav",), "' has a reference for none of the 40 prompts: expected names such as"),
    ],
)
def test_of_a_folder_in_which_nothing_fits_yet_all_are_missing(
    evalkit: Run, musiccaps: list[str], tmp_path: Path, files: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "empty").mkdir()
    for name in files:
        soundfile.write(tmp_path / "empty" / name, np.zeros(RATE), RATE)
    options = [*musiccaps[:2], f"prompts.references={tmp_path / 'empty'}", "--missing", "todo.csv"]
    found = told(evalkit, *options, status=1)
    assert counts(found) == {"usable": 0, "missing": 40}
    assert {f"{tmp_path / 'empty'}{reason}" in one["reason"] for one in found["unusable"].values()} == {True}
    with (tmp_path / "todo.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 40


def test_a_list_of_addresses_has_each_video_once(evalkit: Run, tmp_path: Path) -> None:
    rows = [
        {"ytid": "-0Gj8-vB1q4", "caption": "a", "start_s": "30", "end_s": "40", "aspect_list": "[]"},
        {"ytid": "Y_abcdefg-1", "caption": "b", "start_s": "0", "end_s": "10", "aspect_list": "[]"},
    ]
    with (tmp_path / "mc.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    told(evalkit, "prompts=musiccaps", "prompts.path=mc.csv", "--missing", "todo.txt", status=1)
    assert (tmp_path / "todo.txt").read_text() == (
        "https://www.youtube.com/watch?v=-0Gj8-vB1q4\nhttps://www.youtube.com/watch?v=Y_abcdefg-1\n"
    )


def test_prompts_that_are_no_videos_have_a_list_of_their_rows_and_no_addresses(evalkit: Run, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("id,mood,text\nx 1,sad,one\nx 2,gay,two\n")
    own = ["prompts=table", "prompts.path=own.csv", "--missing"]
    code, out, err = evalkit("references", "status", *own, "todo.txt")
    assert (code, out, err.count("\n")) == (2, "", 1) and "'x 1' is no part of one: name a .csv" in err
    assert not (tmp_path / "todo.txt").exists()
    told(evalkit, *own, "todo.csv", status=1)
    assert (tmp_path / "todo.csv").read_text() == (tmp_path / "own.csv").read_text()
    # a column of numbers, as tables are often saved with, has all ids too
    (tmp_path / "own.csv").write_text(",id,text\n0,1,one\n1,2,two\n2,3,one\n")
    told(evalkit, *own, "todo.csv", "prompts.ids=[1,2]", status=1)
    assert (tmp_path / "todo.csv").read_text() == ",id,text\n0,1,one\n1,2,two\n"
    told(evalkit, "prompts=synthetic", "prompts.count=2", "prompts.references=null", *own[2:], "made.csv", status=1)
    assert (tmp_path / "made.csv").read_text().startswith("id,caption\n")


def test_rendered_references_are_all_there(evalkit: Run) -> None:
    found = told(evalkit, "prompts=demo")
    assert counts(found) == {"usable": 12} and found["looked_at"] == "rendered by synth"


def test_a_pack_is_counted_as_a_run_would_use_it(evalkit: Run, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("id,text\na,1\nb,2\nc,3\nd,4\n")
    made = pack({"a": A, "b": B, "c": C, "d": None}, max_seconds=None, cut="start")
    captions = zip(made.references, "1234", strict=True)
    references = tuple(dataclasses.replace(one, caption=digest(text)) for one, text in captions)
    # as a run of 30 s names them
    extractor = Extractor(Cache(tmp_path), "cpu", None, made.about.sample_rate, made.about.resampler)
    clips = {one.sha256: dataclasses.replace(one.clip, seconds=30.0) for one in references if one.status == "ok"}
    made = dataclasses.replace(
        made,
        references=references,
        parts=tuple(
            Part(extractor.part_key(clip), sha256, *extractor.span(clip)) for sha256, clip in sorted(clips.items())
        ),
        peaks=np.array([np.nan if one == B else 0.0 if one == C else 0.5 for one in sorted((A, B, C))]),
        unusable={extractor.part_key(clips[B]): "truncated: 3.0 s where its header says 30.0 s"},
        features={VGGISH.digest: PackedFeatures.of([None if one == B else FEATURES for one in sorted((A, B, C))])},
    )
    write_pack(tmp_path / "own.safetensors", made)
    own = ["prompts=table", "prompts.path=own.csv", "prompts.references=own.safetensors"]
    found = told(evalkit, *own, "sampling.duration=30", "--missing", "todo.csv", status=1)
    assert counts(found) == {"usable": 1, "unreadable": 1, "silent": 1, "missing": 1}
    assert found["looked_at"] == "from a pack" and found["unusable"]["b"]["reason"].startswith("truncated: 3.0 s")
    assert (tmp_path / "todo.csv").read_text() == "id,text\nb,2\nc,3\nd,4\n"
    code, _, err = evalkit("references", "status", *own)
    assert code == 2 and "holds no features of 'a' over its first 10 s" in err
    code, _, err = evalkit("references", "status", *own, "prompts.cut=end")
    assert code == 2 and "made with prompts.cut=start, and this run has prompts.cut=end, which takes another" in err
    # clips as a whole, as that protocol compares them
    same = ["protocol=fadtk", "protocol.sample_rate=32000", "protocol.resampler=julius"]
    assert counts(told(evalkit, *own, *same, status=1)) == counts(found)
    code, _, err = evalkit("references", "status", *own, same[0])
    assert code == 2 and "was made under the protocol musicgen, which differs from this run's, fadtk: " in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "say which prompts, as in prompts=musiccaps"),
        (["prompts=musicap"], "did you mean 'musiccaps'?"),
        (["prompts=demo", "--missing", "x.json"], "name a .csv or a .txt file"),
        (["prompts=demo", "prompts.references=/absent"], "'/absent' does not exist"),
        (["prompts=demo", "prompts.references=some/songs"], "or OWNER/NAME@COMMIT of a hub"),
        (["--nope"], "--nope: see 'evalkit references status --help'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(evalkit: Run, arguments: list[str], expected: str) -> None:
    code, out, err = evalkit("references", "status", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert expected in err
