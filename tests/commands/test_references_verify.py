"""`evalkit references verify`: a pack is verified by the audio that it was made of, and by nothing else."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from evalkit.config import compose
from evalkit.packing.making import pack_of
from evalkit.packing.verifying import Compared
from evalkit.packs.files import write_pack
from evalkit.packs.pack import Pack, PackedFeatures

from ..conftest import Run

RATE = 16_000
IDS = ("a", "b", "c", "d")  # "d" has no clip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pack]:
    """Four prompts, three clips of 2 s, and the pack of them for clips of 1 s."""
    folder = tmp_path_factory.mktemp("references")
    (folder / "prompts.csv").write_text("id,text\n" + "".join(f"{i},the tune {i}\n" for i in IDS))
    (folder / "clips").mkdir()
    for number, i in enumerate(IDS[:3]):
        samples = np.random.default_rng(number).uniform(-0.5, 0.5, (2 * RATE, 2))
        soundfile.write(folder / "clips" / f"{i}.wav", samples, RATE)
    options = [*OPTIONS, f"prompts.path={folder / 'prompts.csv'}", f"prompts.references={folder / 'clips'}"]
    config = compose([*options, "model=synth", "sampling.duration=1", f"cache_dir={folder / 'cache'}"])
    return folder, pack_of(config, "CC0-1.0").pack


OPTIONS = ("prompts=table", "metric=[chroma,fad]", "random_weights=0")


@pytest.fixture
def options(made: tuple[Path, Pack], tmp_path: Path) -> list[str]:
    """The arguments that verify the pack, in a folder of its own, with what was made of the clips in the cache."""
    folder, pack = made
    write_pack(tmp_path / "tunes.safetensors", pack)
    shutil.copytree(folder / "clips", tmp_path / "clips")
    shutil.copytree(folder / "cache", tmp_path / "cache")
    return ["tunes.safetensors", "clips", "prompts=table", f"prompts.path={folder / 'prompts.csv'}", "random_weights=0"]


def verified(evalkit: Run, *arguments: str, status: int = 0) -> dict[str, Any]:
    code, out, err = evalkit("references", "verify", *arguments, "--json")
    assert code == status, err
    assert err == "" if status == 0 else "is not verified: " in err
    found: dict[str, Any] = json.loads(out)
    return {**found, "said": err.partition("is not verified: ")[2].strip()}


def rewritten(path: Path, pack: Pack, **changes: Any) -> None:
    path.unlink()
    write_pack(path, dataclasses.replace(pack, **changes))


def test_a_pack_is_verified_by_its_audio(evalkit: Run, options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = verified(evalkit, *options)
    assert found["verified"] is True and found["references"] == {"same": ["a", "b", "c"], "in neither": ["d"]}
    compared = {row["what"]: (row["parts"], row["equal"], row["largest"]) for row in found["table"]}
    every = (6, 6, 0.0)  # three clips, as a whole and over their first second
    assert compared == {"peaks": every, "features of chromagram (chroma)": every, "features of vggish (fad)": every}
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = evalkit("references", "verify", *options, "cache_dir=empty")  # all of them anew
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    assert "3 of 3 references of the pack are the same files" in out


def test_a_part_of_the_prompts_can_be_looked_at(evalkit: Run, options: list[str]) -> None:
    assert verified(evalkit, *options, "prompts.ids=[b]")["references"] == {"same": ["b"]}
    _, out, _ = evalkit("references", "verify", *options, "prompts.ids=[b,c]")
    assert "2 of the 2 references looked at are the same files (3 in the pack)" in " ".join(out.split())
    assert "Equal: to the last bit, of the parts of the same files." in " ".join(out.split())


def test_other_audio_is_told_by_its_digest(evalkit: Run, options: list[str], tmp_path: Path) -> None:
    samples = np.random.default_rng(9).uniform(-0.5, 0.5, (2 * RATE, 2))
    soundfile.write(tmp_path / "clips" / "a.wav", samples, RATE)
    soundfile.write(tmp_path / "clips" / "d.wav", samples, RATE)
    (tmp_path / "clips" / "b.wav").unlink()
    found = verified(evalkit, *options, status=1)
    expected = {"other content": ["a"], "gone": ["b"], "same": ["c"], "only in the clips": ["d"]}
    assert found["references"] == expected and found["verified"] is False
    assert found["said"] == "other content of 'a'; no usable clip of 'b'"


def test_nothing_that_was_compared_verifies_nothing(evalkit: Run, options: list[str], tmp_path: Path) -> None:
    for name in "bc":
        (tmp_path / "clips" / f"{name}.wav").unlink()
    samples = np.random.default_rng(9).uniform(-0.5, 0.5, (2 * RATE, 2))
    soundfile.write(tmp_path / "clips" / "a.wav", samples, RATE)
    assert verified(evalkit, *options, status=1)["said"].startswith("nothing was compared, as no usable")
    # nor do prompts that have no reference on either side
    found = verified(evalkit, *options, "prompts.ids=[a,d]", status=1)
    assert found["said"].startswith("nothing was compared")


def test_a_feature_that_differs_by_one_bit_is_seen(
    evalkit: Run, options: list[str], made: tuple[Path, Pack], tmp_path: Path
) -> None:
    _, pack = made
    vggish = next(one for one in pack.about.encoders if one.kind == "vggish")
    own = pack.features[vggish.digest]
    values = own.values.copy()
    values[0, 0] = np.nextafter(values[0, 0], np.float32(np.inf))
    features = {**pack.features, vggish.digest: PackedFeatures(values, own.frames)}
    rewritten(tmp_path / "tunes.safetensors", pack, features=features)
    found = verified(evalkit, *options, status=1)
    rows = {row["what"]: row for row in found["table"]}
    assert rows["features of vggish (fad)"]["equal"] == 5 and 0 < rows["features of vggish (fad)"]["largest"] < 1e-6
    assert rows["features of chromagram (chroma)"]["equal"] == 6
    assert found["said"].startswith("features of vggish (fad) not bit-identical in 1 of 6 parts, by ")


def test_a_part_that_only_one_side_can_use_is_told_and_one_that_neither_can_is_not_compared(
    evalkit: Run, options: list[str], made: tuple[Path, Pack], tmp_path: Path
) -> None:
    _, pack = made
    own = {one.kind: pack.features[one.digest] for one in pack.about.encoders}
    features = {
        one.digest: PackedFeatures.of([None, *(own[one.kind].part(place) for place in range(1, 6))])
        for one in pack.about.encoders
    }
    peaks = np.where(np.arange(6) == 0, np.nan, pack.peaks)
    changed = {"peaks": peaks, "features": features, "unusable": {pack.parts[0].key: "truncated"}}
    rewritten(tmp_path / "tunes.safetensors", pack, **changed)
    said = verified(evalkit, *options, status=1)["said"]
    assert said.startswith("peaks not bit-identical in 1 of 6 parts, 1 of them of another length or usable on one side")
    one = Compared()
    one.add(None, None)
    assert (one.parts, one.apart) == (0, "")


def test_on_another_type_of_device_it_is_said_which(
    evalkit: Run, options: list[str], made: tuple[Path, Pack], tmp_path: Path
) -> None:
    _, pack = made
    about, peaks = dataclasses.replace(pack.about, device="cuda"), pack.peaks.copy()
    rewritten(tmp_path / "tunes.safetensors", pack, about=about)
    assert verified(evalkit, *options)["devices"] == ["cuda", "cpu"]  # what is equal is equal
    peaks[0] *= 1 + 1e-7
    rewritten(tmp_path / "tunes.safetensors", pack, about=about, peaks=peaks)
    assert verified(evalkit, *options, status=1)["said"].endswith("(the pack was made on cuda, and this is cpu)")


def test_what_was_not_compared_is_not_verified(evalkit: Run, options: list[str]) -> None:
    found = verified(evalkit, *options, "metric=chroma", status=1)
    assert found["said"].startswith("features of vggish (fad): not compared")


def test_a_mistake_is_one_line_and_status_2(evalkit: Run, options: list[str], tmp_path: Path) -> None:
    pack, clips, *more = options
    (tmp_path / "other.csv").write_text("id,text\n" + "".join(f"{i},another tune\n" for i in IDS))
    for arguments, said in (
        ([], "the following arguments are required: PACK"),
        ([pack, clips], "the pack was made of 'prompts': say which prompts"),
        ([pack, clips, *more[:-1]], "VGGish weights is not on this machine"),
        ([pack, clips, *more, "prompts.references=clips"], "'clips' and prompts.references are both given"),
        ([pack, clips, *more, "prompts.path=other.csv"], "made for another caption of 'a'"),
        ([pack, clips, *more[:-1], "random_weights=1"], "random weights of seed 0, not 1"),
        ([pack, clips, *more, "protocol=fadtk"], "was made"),
        (["absent.safetensors", clips, *more], "'absent.safetensors' does not exist"),
        ([clips, clips, *more], "'clips' names no reference pack"),
    ):
        code, out, err = evalkit("references", "verify", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1) and said in err, err


def test_rendered_references_are_rendered_again(evalkit: Run, tmp_path: Path) -> None:
    options = ["prompts=demo", "prompts.first=2", "metric=chroma", "model=synth", "sampling.duration=1"]
    write_pack(tmp_path / "demo.safetensors", pack_of(compose([*options, f"cache_dir={tmp_path / 'cache'}"])).pack)
    assert verified(evalkit, "demo.safetensors", "prompts.first=2")["references"]["same"] == [
        "demo-piano1",
        "demo-folkg1",
    ]
