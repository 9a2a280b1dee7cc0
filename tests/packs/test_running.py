"""A run with a pack measures what the run with the audio does, to the last bit, or says why it cannot."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import soundfile

from evalkit.config import compose
from evalkit.encoders.chroma import Chroma
from evalkit.errors import EvalkitError
from evalkit.features import extractor
from evalkit.packing.making import pack_of
from evalkit.packs.pack import Pack, read_pack, write_pack
from evalkit.pipeline import check, evaluate
from evalkit.plan import make_plan
from evalkit.results.alike import references_differ
from evalkit.results.result import Result
from evalkit.results.summary import references
from evalkit.scoring.rows import ready
from evalkit.store.cache import Cache
from evalkit.store.digests import sha256_file
from evalkit.store.identity import identity
from tests.packs import songs
from tests.test_filling import Here, here  # noqa: F401


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings, captions, and a pack of the recordings."""
    place = songs.make(tmp_path_factory.mktemp("songs"))
    songs.pack(place, "songs.safetensors")
    return place


@pytest.fixture(scope="module")
def audio(folder: Path) -> Result:
    """A run on clips that it generates, with the recordings."""
    return songs.run(folder, "model=synth", f"prompts.references={folder / 'clips'}")


@pytest.fixture
def packed(folder: Path) -> list[str]:
    """The options of a run with the pack."""
    return ["model=synth", f"prompts.references={folder / 'songs.safetensors'}"]


def test_a_pack_holds_no_audio_and_no_place_of_the_machine(folder: Path) -> None:
    pack = read_pack(folder / "songs.safetensors")
    assert str(folder).encode() not in (folder / "songs.safetensors").read_bytes()
    statuses = {one.id: one.status for one in pack.references}
    # what is cut, and whether a length will do, is for a run to say
    assert statuses == {**dict.fromkeys(songs.SECONDS, "ok"), "absent": "missing"}
    assert (folder / "songs.safetensors").stat().st_size < 0.2 * sum(
        path.stat().st_size for path in (folder / "clips").iterdir()
    )


def test_a_run_with_a_pack_is_the_run_with_the_audio(folder: Path, audio: Result, packed: list[str]) -> None:
    result = songs.run(folder, *packed, cache="other")
    songs.require_same(audio, result)
    assert audio.references_info and audio.references_info.usable.ok == len(songs.USABLE)
    assert set(audio.clips["reference_status"]) == {"ok", "missing", "unreadable", "too short", "too long", "silent"}
    assert references_differ(audio, result) == ""
    assert references(result).startswith("references from pack songs.safetensors, 4 of 9 (")
    assert result.clips["reference_path"].isna().all()
    again = Result.load(result.path)
    assert again.references_info == result.references_info
    assert again.references_info and again.references_info.pack_device == "cpu"


def test_features_of_a_pack_are_not_put_into_the_cache(folder: Path, packed: list[str], tmp_path: Path) -> None:
    given = [*songs.options(folder), *packed, "metric=[chroma]", f"cache_dir={tmp_path / 'cache'}"]
    evaluate(compose(given))
    plan, prompts, _ = ready(compose(given))
    stored = plan.extractor().collection(Chroma()).read()
    assert len(stored) == len(prompts) == 9  # of the clips that were generated


def test_clips_of_a_folder_are_compared_with_whole_references(folder: Path, packed: list[str]) -> None:
    made = ["model=folder", f"model.folder.path={folder / 'made'}"]
    plain = songs.run(folder, *made, f"prompts.references={folder / 'clips'}")
    songs.require_same(plain, songs.run(folder, *made, packed[1], cache="other"))


def test_options_of_the_run_choose_among_the_parts_that_were_packed(folder: Path, packed: list[str]) -> None:
    # clips of a folder are compared with beginnings, which are there for this run too
    more = ["prompts.ids=[long,short,brief]", "prompts.cut=start", "min_references=0.5"]
    plain = songs.run(folder, "model=synth", f"prompts.references={folder / 'clips'}", *more)
    songs.require_same(plain, songs.run(folder, *packed, *more))
    # what was too long to be packed is in no pack
    with pytest.raises(EvalkitError, match=r"holds no features of 'huge' from 7 to 9 s: pack the references again"):
        check(compose([*songs.options(folder), *packed, "metric=[chroma]", "prompts.max_seconds=null"]))


def test_references_that_a_model_rendered_stay_renderings(
    tmp_path: Path,
    here: list[Here],  # noqa: F811
) -> None:
    given = [
        "prompts=demo", "prompts.first=3", "model=synth", "model.synth.noise=0.2", "metric=[chroma]",
        "sampling.duration=1.5", "engine.quiet=true", f"output_dir={tmp_path / 'runs'}",
    ]  # fmt: skip
    plain = evaluate(compose([*given, f"cache_dir={tmp_path / 'a'}"]))
    made = pack_of(compose([*given, f"cache_dir={tmp_path / 'a'}", "engine.workers=2"]))
    write_pack(tmp_path / "demo.safetensors", made.pack)
    assert str(made.coverage) == "3 of 3"
    pack = f"prompts.references={tmp_path / 'demo.safetensors'}"
    result = evaluate(compose([*given, pack, f"cache_dir={tmp_path / 'b'}", "engine.workers=2"]))
    songs.require_same(plain, result)
    assert references(result) == "references from pack demo.safetensors, 3 of 3, rendered by Synth, not recordings"
    packing, running = ([unit.job.title for unit in launcher.units] for launcher in here)
    assert {"generating references", "features"} >= {*packing} and {*running} >= {"generating synth", "features"}
    assert not any("references" in title for title in running)
    with pytest.raises(EvalkitError, match=r"Synth rendered 1.5 s long, and this run asks for 2 s"):
        check(compose([*given, pack, f"cache_dir={tmp_path / 'b'}", "sampling.duration=2"]))


class TestRefused:
    """By name, and before anything is made."""

    @pytest.fixture
    def config(self, folder: Path, packed: list[str]) -> Callable[..., Any]:
        """Compose a run with a pack."""
        return lambda *more: compose([*songs.options(folder), *packed, *more], str(folder / "conf"))

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            (["protocol=fadtk"], "was made under the protocol musicgen, which differs from this run's, fadtk: "),
            (["metric=[kld]", "random_weights=0"], "was packed for the metrics chroma, fad_chroma, and metric.kld "),
            (["calibration=[halves]"], "calibration=halves is made of the references' audio"),
            (["sampling.duration=1.75"], "no features of 'long' from 1.35 to 3.1 s, and so of 4 more: .*duration=1.75"),
        ],
    )  # fmt: skip
    def test_what_the_pack_was_not_made_for(self, config: Callable[..., Any], more: list[str], said: str) -> None:
        with pytest.raises(EvalkitError, match=said) as raised:
            check(config(*more))
        assert "\n" not in str(raised.value)

    def test_too_few_references_are_too_few_of_a_pack_as_well(self, config: Callable[..., Any]) -> None:
        with pytest.raises(EvalkitError, match=r"only 6 of 9 are usable .brief: 0.40 s: at least 1 s are needed"):
            evaluate(config("min_references=0.9"))

    @pytest.mark.parametrize(
        ("captions", "said"),
        [
            ({"long": "a song", "short": "a song that is short"}, "made for another caption of 'long' than 'a song'"),
            ({"x": "a song", "y": "a song"}, "has none of the 2 prompts of others: it was made of songs, whose"),
        ],
    )  # fmt: skip
    def test_other_prompts(
        self, config: Callable[..., Any], tmp_path: Path, captions: dict[str, str], said: str
    ) -> None:
        songs.table(tmp_path / "others.csv", captions)
        with pytest.raises(EvalkitError, match=said):
            check(config(f"prompts.path={tmp_path / 'others.csv'}"))

    def test_prompts_that_the_pack_lacks_have_no_reference(self, config: Callable[..., Any], tmp_path: Path) -> None:
        songs.table(tmp_path / "others.csv", {"long": "a song that is long", "new": "a new song"})
        other = f"prompts.path={tmp_path / 'others.csv'}"
        with pytest.raises(EvalkitError, match=r"only 1 of 2 are usable .new: not in the pack 'songs.safetensors'"):
            evaluate(config(other, "min_references=0.9", "metric=[chroma]"))

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (
                {"definition": {"version": 9}},
                r"holds features of chromagram \(metric.fad_chroma\) that were made otherwise: version 9, not \d+, "
                "of evalkit's code: pack the references again",
            ),
            ({"definition": {"n_chroma": 24}}, "under the protocol musicgen: n_chroma 24, not 12: follow that"),
            (
                {"definition": {"weights": {"sha256": "ab" * 32}}},
                "weights (ab){6}, not None: use the same weights, or another pack",
            ),
            ({"random": True}, "of random weights, and this run has published or own ones"),
        ],
    )  # fmt: skip
    def test_features_of_another_encoder(
        self, folder: Path, config: Callable[..., Any], tmp_path: Path, change: dict[str, Any], said: str
    ) -> None:
        write_pack(tmp_path / "other.safetensors", altered(read_pack(folder / "songs.safetensors"), **change))
        with pytest.raises(EvalkitError, match=said):
            check(config(f"prompts.references={tmp_path / 'other.safetensors'}"))

    def test_weights_are_told_by_their_digests(self, config: Callable[..., Any], tmp_path: Path, folder: Path) -> None:
        own, other = (tmp_path / name for name in ("own.pth", "other.pth"))
        own.write_bytes(b"own")
        other.write_bytes(b"other")

        def given(weights: Path) -> list[str]:
            return ["metric=[fad]", f"metric.fad.encoder.weights.path={weights}"]

        pack = read_pack(folder / "songs.safetensors")
        vggish = make_plan(config(*given(other))).metrics["fad"].encoder
        known = altered(pack, identity(vggish, Cache(tmp_path / "cache")))
        write_pack(tmp_path / "other.safetensors", known)
        packed = f"prompts.references={tmp_path / 'other.safetensors'}"
        check(config(*given(other), packed))
        digests = f"weights {sha256_file(other)[:12]}, not {sha256_file(own)[:12]}: use the same weights"
        with pytest.raises(EvalkitError, match=rf"features of vggish .metric.fad. that were made otherwise: {digests}"):
            check(config(*given(own), packed))
        with pytest.raises(EvalkitError, match="of published or own weights, and this run has random ones"):
            check(config("metric=[fad]", "random_weights=0", packed))

    @pytest.mark.parametrize(
        ("about", "said"),
        [
            ({"sample_rate": 16000}, "sample_rate 16000, not 32000: set protocol=musicgen"),
            ({"conditioning": extractor.VERSION + 1}, f"conditioning {extractor.VERSION + 1}, not {extractor.VERSION}"),
        ],
    )  # fmt: skip
    def test_clips_that_were_prepared_otherwise(
        self, folder: Path, config: Callable[..., Any], tmp_path: Path, about: dict[str, Any], said: str
    ) -> None:
        pack = read_pack(folder / "songs.safetensors")
        write_pack(
            tmp_path / "other.safetensors", dataclasses.replace(pack, about=dataclasses.replace(pack.about, **about))
        )
        with pytest.raises(EvalkitError, match=said):
            check(config(f"prompts.references={tmp_path / 'other.safetensors'}"))

    def test_clips_of_a_length_that_the_pack_has_no_part_of(
        self, folder: Path, config: Callable[..., Any], tmp_path: Path
    ) -> None:
        shutil.copytree(folder / "made", tmp_path / "made")
        samples, rate = soundfile.read(folder / "made" / "long.wav")
        soundfile.write(tmp_path / "made" / "long.wav", samples[: round(1.7 * rate)], rate)
        made = ["model=folder", f"model.folder.path={tmp_path / 'made'}"]
        with pytest.raises(EvalkitError, match=r"no features of 'long' over its first 1.7 s: .*sampling.duration=1.7,"):
            check(config(*made))


def altered(pack: Pack, definition: dict[str, Any] | None = None, random: bool = False) -> Pack:
    """The pack as if its encoder were another one."""
    (encoder,) = pack.about.encoders
    changed = definition or {"random_seed": 0}
    if "kind" not in changed:
        changed = {**encoder.definition, **changed}
    other = dataclasses.replace(encoder, definition=changed, random=random)
    about = dataclasses.replace(pack.about, encoders=(other,))
    return dataclasses.replace(pack, about=about, features={other.digest: pack.features[encoder.digest]})


def test_features_of_another_device_are_used_and_said(
    folder: Path, packed: list[str], tmp_path: Path, audio: Result
) -> None:
    pack = read_pack(folder / "songs.safetensors")
    about = dataclasses.replace(pack.about, device="cuda")
    write_pack(tmp_path / "gpu.safetensors", dataclasses.replace(pack, about=about))
    result = songs.run(folder, packed[0], f"prompts.references={tmp_path / 'gpu.safetensors'}")
    pd.testing.assert_frame_equal(result.scores, audio.scores, check_exact=True)
    assert "the references' features were computed on cuda, those of clips on cpu" in result.remarks
