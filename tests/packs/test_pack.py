"""The file of a reference pack: what is read is what was written, and anything else is refused in one line."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from evalkit.errors import EvalkitError
from evalkit.packs.files import read_pack, write_pack
from evalkit.packs.pack import About, Pack, PackedEncoder, PackedFeatures, Part, Reference, Weights
from evalkit.store.digests import digest, sha256_file

VGGISH = PackedEncoder(
    {"kind": "vggish", "version": 1, "weights": {"sha256": "ab" * 32}},
    ("fad", "kad"),
    False,
    (Weights("VGGish", "Apache-2.0", "https://example.org/vggish.pth", "ab" * 32, False),),
)
KEYS = tuple(digest(number) for number in range(3))
PARTS = tuple(Part(key, "cd" * 32, 160 * place, 320_000) for place, key in enumerate(KEYS))


def made(**changes: Any) -> Pack:
    """A pack of three parts, of which the last cannot be used."""
    rng = np.random.default_rng(0)
    about = About(
        dataset="songs", subset="all", total=3, licence="CC0-1.0", text="", evalkit="0.1", commit="", when="2026-01-01",
        durations=(10.0,), cut="end", max_seconds=21.0,
        protocol="musicgen", sample_rate=32000, resampler="julius", conditioning=2, device="cpu", device_name="x86",
        encoders=(VGGISH,),
    )  # fmt: skip
    references = (
        Reference("a", digest("a song"), "ok", "", "cd" * 32, 320_000, 32_000, 2, 0.1 + 0.2),
        Reference("é", digest("another"), "missing", "none was there"),
    )
    parts = [rng.normal(size=(frames, 4)).astype(np.float32) for frames in (3, 1)]
    features = {VGGISH.digest: PackedFeatures.of([*parts, None])}
    pack = Pack(about, references, PARTS, np.array([0.5, 0.0, np.nan]), {KEYS[2]: "truncated"}, features)
    return dataclasses.replace(pack, **changes)


SOUND = made().references[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of such a pack."""
    write_pack(tmp_path / "songs.safetensors", made())
    return tmp_path / "songs.safetensors"


def test_what_is_read_is_what_was_written(path: Path) -> None:
    before, after = made(), read_pack(path)
    assert (after.about, after.references, after.parts) == (before.about, before.references, before.parts)
    assert after.unusable == before.unusable
    assert np.array_equal(after.peaks, before.peaks, equal_nan=True)
    own, other = (pack.features[VGGISH.digest] for pack in (after, before))
    assert own.values.dtype == np.float32 and np.array_equal(own.values, other.values)
    assert (after.name, after.sha256) == ("songs.safetensors", sha256_file(path))


def test_features_of_a_part_are_found_by_its_key(path: Path) -> None:
    pack = read_pack(path)
    found = pack.features_of(VGGISH.digest, [KEYS[1], digest("of no part"), KEYS[2]])
    assert list(found) == [KEYS[1]] and np.array_equal(found[KEYS[1]], pack.features[VGGISH.digest].values[3:])
    assert pack.features_of(digest("another encoder"), KEYS) == {}
    assert {key: float(peak[0]) for key, peak in pack.peaks_of(KEYS).items()} == {KEYS[0]: 0.5, KEYS[1]: 0.0}
    assert KEYS[2] in pack and digest("of no part") not in pack


def test_the_same_pack_is_the_same_file(path: Path, tmp_path: Path) -> None:
    write_pack(tmp_path / "again.safetensors", read_pack(path))
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_a_file_is_never_written_over(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(EvalkitError, match="exists: choose another name"):
        write_pack(path, made())
    with pytest.raises(EvalkitError, match=r"ends in \.safetensors"):
        write_pack(path.with_suffix(".zip"), made())
    assert path.read_bytes() == before


def flip(path: Path) -> None:
    """Change one bit of the last feature."""
    data = bytearray(path.read_bytes())
    data[-1 - 8 * 3 - 1] ^= 1
    path.write_bytes(data)


def rewrite(change: Callable[[dict[str, Any], dict[str, np.ndarray]], None]) -> Callable[[Path], None]:
    """Change metadata or arrays, and write a sound safetensors file of them."""

    def changed(path: Path) -> None:
        tensors = load_file(path)
        (length,) = np.frombuffer(path.read_bytes()[:8], "<u8")
        metadata = json.loads(json.loads(path.read_bytes()[8 : 8 + int(length)])["__metadata__"]["evalkit"])
        change(metadata, tensors)
        save_file(tensors, path, {"evalkit": json.dumps(metadata)})

    return changed


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (flip, "is damaged .its content has the digest [0-9a-f]{12}, and was written with"),
        (lambda path: path.write_bytes(path.read_bytes()[:-5]), "is damaged .no whole safetensors file"),
        (lambda path: path.write_bytes(b""), "is damaged .no whole safetensors file"),
        (lambda path: path.unlink(), "cannot read the reference pack"),
        (lambda path: save_file({"x": np.zeros(1)}, path), "is no reference pack"),
        (rewrite(lambda metadata, _: metadata.update(schema=9)), "has schema 9, and this evalkit reads 1: update"),
        (rewrite(lambda metadata, _: metadata["about"].update(licence="none")), "is damaged"),
        (rewrite(lambda _, tensors: tensors.pop("peaks")), "is damaged"),
        (rewrite(lambda metadata, _: metadata.pop("references")), "is damaged"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_was_written_is_refused_in_one_line(
    path: Path, harm: Callable[[Path], None], said: str
) -> None:
    harm(path)
    with pytest.raises(EvalkitError, match=said) as raised:
        read_pack(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peaks": np.zeros(2)}, "its peaks do not fit"),
        ({"references": (Reference("a", "", "ok"), Reference("a", "", "ok"))}, "its ids do not fit"),
        ({"references": (Reference("a", "", "../etc"),)}, "its statuses do not fit"),
        ({"references": ()}, "its references do not fit"),
        ({"references": (SOUND, dataclasses.replace(SOUND, id=7))}, "its references' id do not fit"),
        ({"references": (dataclasses.replace(SOUND, frames="x"),)}, "its references' frames do not fit"),
        ({"references": (dataclasses.replace(SOUND, frames=True),)}, "its references' frames do not fit"),
        ({"references": (dataclasses.replace(SOUND, sample_rate=0),)}, "its references do not fit"),
        ({"references": (dataclasses.replace(SOUND, gain=0.0),)}, "its references do not fit"),
        ({"peaks": np.array([np.nan, 0.5, np.nan])}, "its peaks do not fit"),
        ({"peaks": np.array([0.5, 0.5, 0.5])}, "its peaks do not fit"),
        ({"unusable": {KEYS[2]: 1}}, "its unusable parts do not fit"),
        ({"unusable": {"x": "truncated"}}, "its unusable parts do not fit"),
        ({"about": dataclasses.replace(made().about, sample_rate="x")}, "what it says of itself is not as it must be"),
        ({"about": dataclasses.replace(made().about, durations=("x",))}, "what it says of itself is not as it must be"),
        ({"references": (dataclasses.replace(SOUND, sha256="ef" * 32),)}, "its contents do not fit"),
        ({"parts": tuple(part._replace(start=-1) for part in PARTS)}, "its spans do not fit"),
        (
            {"features": {VGGISH.digest: PackedFeatures(np.zeros((5, 4), np.float32), np.array([3, 1, 0]))}},
            "its features of vggish do not fit",
        ),
        (
            {"features": {VGGISH.digest: PackedFeatures(np.full((4, 4), np.nan, np.float32), np.array([3, 1, 0]))}},
            "its features of vggish do not fit",
        ),
    ],
)  # fmt: skip
def test_a_pack_whose_parts_do_not_fit_together_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    write_pack(tmp_path / "odd.safetensors", made(**changes))
    with pytest.raises(EvalkitError, match=said):
        read_pack(tmp_path / "odd.safetensors")


def test_a_pack_is_read_once_while_its_file_stays(path: Path) -> None:
    first = read_pack(path)
    assert read_pack(path) is first
    later = time.time() + 5
    os.utime(path, (later, later))
    assert read_pack(path) is not first
