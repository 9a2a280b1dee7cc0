"""Joining packs: what comes out is what a pack of all the audio would be, and nothing is joined that does not fit."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.errors import EvalkitError
from evalkit.packs.files import read_pack, write_pack
from evalkit.packs.joining import joined
from evalkit.packs.pack import Pack, PackedEncoder, PackedFeatures, Part, Reference, Rendered, Weights
from evalkit.store.digests import digest

from . import songs
from .test_pack import VGGISH, made

PASST = PackedEncoder({"kind": "passt", "version": 1, "weights": {"sha256": "cd" * 32}}, ("kld",), False, ())
RATE = 32_000


def content(name: str) -> str:
    return digest(["content", name])


def features_of(encoder: PackedEncoder, sha256: str, seconds: float) -> np.ndarray:
    """What an encoder says of a part: a function of both, as with a real one."""
    seed = int(digest([encoder.digest, sha256, seconds])[:8], 16)
    return np.random.default_rng(seed).normal(size=(int(seconds), 4)).astype(np.float32)


def pack(
    clips: Mapping[str, str | None],
    encoders: tuple[PackedEncoder, ...] = (VGGISH,),
    durations: tuple[float, ...] = (10.0,),
    name: str = "a",
    **about: Any,
) -> Pack:
    """A pack of clips of 30 s by their ids: the content of each, None for one that is missing."""
    contents = sorted({one for one in clips.values() if one})
    seconds = {(one, length): digest(["part", one, length]) for one in contents for length in (*durations, 30.0)}
    parts = sorted(Part(key, one, 0, round(length * RATE)) for (one, length), key in seconds.items())
    return Pack(
        about=dataclasses.replace(made().about, encoders=encoders, durations=durations, **about),
        references=tuple(
            Reference(i, digest(i), "ok", "", one, 30 * RATE, RATE, 2) if one else Reference(i, digest(i), "missing")
            for i, one in clips.items()
        ),
        parts=tuple(parts),
        peaks=np.full(len(parts), 0.5),
        unusable={},
        features={
            encoder.digest: PackedFeatures.of(
                [features_of(encoder, part.content, part.samples / RATE) for part in parts]
            )
            for encoder in encoders
        },
        name=f"{name}.safetensors",
    )


A, B, C = (content(name) for name in "abc")


def same(one: Pack, other: Pack, folder: Path) -> bool:
    """Whether two packs make the same file."""
    for name, pack in (("one", one), ("other", other)):
        (folder / f"{name}.safetensors").unlink(missing_ok=True)
        write_pack(folder / f"{name}.safetensors", pack)
    return (folder / "one.safetensors").read_bytes() == (folder / "other.safetensors").read_bytes()


def test_a_pack_joined_with_itself_is_the_same_pack(tmp_path: Path) -> None:
    one = pack({"a": A, "b": None, "c": C}, (VGGISH, PASST), licence="CC-BY-4.0", text="mine")
    for packs in ([one], [one, one], [one, one, one]):
        found = joined(packs)
        assert same(found.pack, one, tmp_path) and not found.other_content and not found.other_features


def test_partial_downloads_become_the_pack_of_all(tmp_path: Path) -> None:
    mine, yours = pack({"a": A, "b": None, "c": None}), pack({"a": None, "b": B, "c": None})
    assert same(joined([mine, yours]).pack, pack({"a": A, "b": B, "c": None}), tmp_path)
    # a part of the prompts is as good as a part of the files
    assert same(joined([pack({"a": A}), pack({"b": B})]).pack, pack({"a": A, "b": B}), tmp_path)


def test_features_of_other_encoders_and_parts_of_other_lengths_are_added(tmp_path: Path) -> None:
    both = pack({"a": A, "b": B}, (VGGISH, PASST))
    assert same(joined([pack({"a": A, "b": B}), pack({"a": A, "b": B}, (PASST,))]).pack, both, tmp_path)
    longer = pack({"a": A, "b": B}, durations=(10.0, 20.0))
    assert same(joined([pack({"a": A, "b": B}, durations=(20.0,)), pack({"a": A, "b": B})]).pack, longer, tmp_path)


def test_an_encoder_is_packed_for_the_metrics_of_all() -> None:
    other = dataclasses.replace(VGGISH, metrics=("fad_inf", "fad"))
    found = joined([pack({"a": A}), pack({"a": A}, (other,))]).pack
    assert [one.metrics for one in found.about.encoders] == [("fad", "kad", "fad_inf")]


def test_the_first_usable_reference_wins_and_others_leave_nothing(tmp_path: Path) -> None:
    found = joined([pack({"a": None, "b": B}), pack({"a": A, "b": C}), pack({"a": C, "b": B})])
    assert found.other_content == ("b", "a")
    assert same(found.pack, pack({"a": A, "b": B}), tmp_path)


def test_features_that_differ_are_counted_and_the_first_are_kept(tmp_path: Path) -> None:
    one, other = pack({"a": A}), pack({"a": A})
    own = other.features[VGGISH.digest]
    other.features[VGGISH.digest] = dataclasses.replace(own, values=own.values + np.float32(0.25))  # type: ignore[index]
    found = joined([one, other])
    assert same(found.pack, one, tmp_path)
    ((kind, (parts, largest)),) = found.other_features.items()
    assert (kind, parts) == ("vggish", 2) and largest == pytest.approx(0.25, rel=1e-5)


def test_a_part_that_one_pack_could_not_use_is_that_of_the_other(tmp_path: Path) -> None:
    whole = pack({"a": A, "b": B})
    key = whole.parts[0].key
    values = [whole.features[VGGISH.digest].part(place) for place in range(len(whole.parts))]
    broken = dataclasses.replace(
        whole,
        peaks=np.where(np.arange(len(whole.parts)) == 0, np.nan, 0.5),
        unusable={key: "truncated"},
        features={VGGISH.digest: PackedFeatures.of([None, *values[1:]])},
    )
    assert same(joined([broken, whole]).pack, whole, tmp_path)
    assert same(joined([broken, broken]).pack, broken, tmp_path)


def test_what_packs_say_of_themselves_is_kept_of_all() -> None:
    one = pack({"a": A}, licence="CC-BY-4.0", text="mine", when="2026-01-02", total=7)
    other = pack({"b": B}, licence="CC0-1.0", text="yours", when="2026-01-01", total=3, subset="balanced")
    about = joined([one, other]).pack.about
    assert (about.licence, about.text, about.subset) == ("CC-BY-4.0 AND CC0-1.0", "mine\nyours", "all + balanced")
    assert (about.when, about.total, about.device_name) == ("2026-01-02", 7, "x86")
    assert joined([joined([one, other]).pack, one]).pack.about == about


APART = "'a.safetensors' cannot be joined with 'b.safetensors'"
RENDERED = Rendered("Synth", "synth", False, 10.0, {"seed": 0})
RANDOM = {"kind": "vggish", "version": 1, "weights": {"random_seed": 0}}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (pack({"b": B}, dataset="tunes"), "the data set is 'songs' of the one and 'tunes' of the other"),
        (pack({"b": B}, protocol="fadtk"), "the protocol is 'musicgen' of the one and 'fadtk'"),
        (pack({"b": B}, sample_rate=None), "the sample rate is 32000 of the one and none of the other"),
        (pack({"b": B}, resampler="soxr"), "the resampler"),
        (pack({"b": B}, conditioning=3), "conditioning is 2 of the one and 3"),
        (pack({"b": B}, cut="start"), "prompts.cut is 'end' of the one and 'start'"),
        (pack({"b": B}, device="cuda"), "the type of the device is 'cpu' of the one and 'cuda'"),
        (pack({"b": B}, rendered=RENDERED), "what rendered the references is none of the one and 'Synth, 10 s"),
        (
            dataclasses.replace(pack({"a": None}), references=(Reference("a", digest("another"), "missing"),)),
            "different captions of 'a'",
        ),
        (
            pack({"b": B}, (PackedEncoder(RANDOM, ("fad",), True, (Weights("VGGish", "", "seed 0", "", True),)),)),
            "features of vggish are of other weights (VGGish abababababab, and seed 0)",
        ),
        (
            pack({"b": B}, (VGGISH, PASST), name="b"),
            f"{APART}: of 'a' there would be no features of passt (metric kld): pack them for the same metrics",
        ),
        (
            pack({"a": C}, (PASST,), name="b"),
            f"{APART}: of 'a', of which they have other audio, there would be no features of passt",
        ),
        (
            pack({"b": B}, durations=(20.0,), name="b"),
            "'b.safetensors' cannot be joined with 'a.safetensors': of 'b' there would be no features for clips of 10",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(other: Pack, said: str) -> None:
    with pytest.raises(EvalkitError) as error:
        joined([pack({"a": A}), other])
    assert said in str(error.value) and "\n" not in str(error.value)


def test_references_without_parts_need_none(tmp_path: Path) -> None:
    """Those that are too long for prompts.max_seconds are told from others by their headers, and are not encoded."""
    long = Reference("long", digest("long"), "ok", "", C, 60 * RATE, RATE, 2)
    one = pack({"a": A}, durations=(10.0, 20.0))
    one = dataclasses.replace(one, references=(*one.references, long))
    write_pack(tmp_path / "one.safetensors", joined([one, pack({"a": A})]).pack)
    assert read_pack(tmp_path / "one.safetensors").by_id["long"] == long


def test_packs_of_two_downloads_are_the_pack_of_all_audio(tmp_path: Path) -> None:
    folder = songs.make(tmp_path)
    for number, names in enumerate((["long", "mp", "silent", "huge"], ["exact", "short", "brief", "broken", "mp"])):
        (folder / f"part{number}").mkdir()
        for name in names:
            shutil.copy(folder / "clips" / f"{name}.flac", folder / f"part{number}")
    halves = [songs.pack(folder, f"{n}.safetensors", f"prompts.references={folder / f'part{n}'}") for n in (0, 1)]
    found, whole = joined(halves).pack, songs.pack(folder, "all.safetensors")
    assert same(
        found, dataclasses.replace(whole, about=dataclasses.replace(whole.about, when=found.about.when)), tmp_path
    )
