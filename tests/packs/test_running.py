"""A run with a pack measures what the run with the audio does, to the last bit, or says why it cannot."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import soundfile

from evalkit.assets import Asset
from evalkit.calibration.halves import Halves
from evalkit.config import compose
from evalkit.encoders.panns import PANNs
from evalkit.errors import EvalkitError
from evalkit.features import extractor
from evalkit.listening.material import Choice, systems_of
from evalkit.metrics.fad import FAD
from evalkit.models.folder import Folder
from evalkit.packing.making import pack_of
from evalkit.packs.files import read_pack, write_pack
from evalkit.packs.pack import Pack, PackedFeatures
from evalkit.page.sources import clip_of
from evalkit.pipeline import check, evaluate
from evalkit.plan import Plan, make_plan
from evalkit.results.alike import references_differ
from evalkit.results.pack import pack as pack_result
from evalkit.results.result import Result
from evalkit.results.summary import references
from evalkit.scoring.packed import require_pack
from evalkit.scoring.rows import clips_of_run, ready
from evalkit.settings import Sampling
from evalkit.store.digests import sha256_file
from evalkit.store.identity import identity
from evalkit.types import PromptSet
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


@pytest.fixture(scope="module")
def without(folder: Path) -> Result:
    """The same run with the pack, and with another cache."""
    return songs.run(folder, "model=synth", f"prompts.references={folder / 'songs.safetensors'}", cache="other")


def test_a_pack_holds_no_audio_and_no_place_of_the_machine(folder: Path) -> None:
    pack = read_pack(folder / "songs.safetensors")
    assert str(folder).encode() not in (folder / "songs.safetensors").read_bytes()
    statuses = {one.id: one.status for one in pack.references}
    # what is cut, and whether a length will do, is for a run to say
    assert statuses == {**dict.fromkeys(songs.SECONDS, "ok"), "absent": "missing"}
    assert (folder / "songs.safetensors").stat().st_size < 0.2 * sum(
        path.stat().st_size for path in (folder / "clips").iterdir()
    )


def test_a_run_with_a_pack_is_the_run_with_the_audio(audio: Result, without: Result) -> None:
    songs.require_same(audio, without)
    assert audio.references_info and audio.references_info.usable.ok == len(songs.USABLE)
    assert set(audio.clips["reference_status"]) == {"ok", "missing", "unreadable", "too short", "too long", "silent"}
    assert references_differ(audio, without) == ""
    assert references(without).startswith("references from pack songs.safetensors, 4 of 9 (")
    assert without.clips["reference_path"].isna().all()
    again = Result.load(without.path)
    assert again.references_info == without.references_info
    assert again.references_info and again.references_info.pack_device == "cpu"


def test_features_of_a_pack_are_not_put_into_the_cache(folder: Path, packed: list[str], without: Result) -> None:
    plan = make_plan(compose([*songs.options(folder, "other"), *packed, "metric=[chroma]"]))
    stored = plan.extractor().collection(plan.metrics["chroma"].encoder).read()
    parts = read_pack(folder / "songs.safetensors").parts
    assert len(stored) >= len(without.prompts) and not {*stored} & {part.key[:32] for part in parts}


def test_what_would_play_references_says_that_there_is_no_audio(without: Result, tmp_path: Path) -> None:
    with pytest.raises(EvalkitError, match=r"came from the pack 'songs.safetensors', which holds no audio: .*-no-ref"):
        pack_result(without, tmp_path / "out.zip")
    pack_result(without, tmp_path / "out.zip", references=False)
    row = next(row for row in without.clips.to_dict("records") if row["reference_status"] == "ok")
    shown = clip_of(without, row, "reference_")
    assert (shown.status, shown.reason) == ("missing", "the reference pack 'songs.safetensors' holds no audio")
    choice = Choice(systems_of([f"{without.path}::synth"])[0], "quality", 0, references=True)
    assert not choice.references and choice.available and choice.pack == "songs.safetensors"


def test_clips_of_a_folder_are_compared_with_whole_references(folder: Path, packed: list[str]) -> None:
    made = ["model=folder", f"model.folder.path={folder / 'made'}"]
    plain = songs.run(folder, *made, f"prompts.references={folder / 'clips'}")
    songs.require_same(plain, songs.run(folder, *made, packed[1], cache="other"))


@pytest.mark.slow
def test_options_of_the_run_choose_among_the_parts_that_were_packed(folder: Path, packed: list[str]) -> None:
    # clips of a folder are compared with beginnings, which are there for this run too
    more = ["prompts.ids=[long,short,brief]", "prompts.cut=start", "min_references=0.5"]
    plain = songs.run(folder, "model=synth", f"prompts.references={folder / 'clips'}", *more)
    songs.require_same(plain, songs.run(folder, *packed, *more))
    # what was too long to be packed is in no pack
    with pytest.raises(
        EvalkitError,
        match=r"made with prompts.max_seconds=6, and this run has .*=null, under which 'huge' are not too long",
    ):
        check(compose([*songs.options(folder), *packed, "metric=[chroma]", "prompts.max_seconds=null"]))


@pytest.mark.slow
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


@pytest.fixture(scope="module")
def ours(folder: Path) -> tuple[Plan, PromptSet]:
    """A run with the pack that could start."""
    given = [*songs.options(folder), "model=synth", f"prompts.references={folder / 'songs.safetensors'}"]
    plan, prompts, _ = ready(compose(given, str(folder / "conf")))
    return plan, prompts


class TestRefused:
    """By name, and before anything is made."""

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            (["protocol=fadtk"], "was made under the protocol musicgen, which differs from this run's, fadtk: "),
            (["metric=[kld]", "random_weights=0"], "was packed for the metrics chroma, fad_chroma, and metric.kld "),
        ],
    )
    def test_what_the_pack_was_not_made_for(self, folder: Path, packed: list[str], more: list[str], said: str) -> None:
        with pytest.raises(EvalkitError, match=said) as raised:
            check(compose([*songs.options(folder), "metric=[chroma]", *packed, *more]))
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"calibration": {"halves": Halves()}}, "calibration=halves is made of the references' audio"),
            (
                {"sampling": Sampling(duration=1.75)},
                "no features of 'long' from 1.35 to 3.1 s, and of 4 more: pack the .* with sampling.duration=1.75",
            ),
        ],
    )
    def test_a_run_that_needs_what_no_pack_or_this_one_does_not_hold(
        self, ours: tuple[Plan, PromptSet], changes: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(EvalkitError, match=said):
            require_pack(dataclasses.replace(ours[0], **changes), ours[1])

    @pytest.mark.parametrize(
        ("captions", "said"),
        [
            ({"long": "a song", "short": "a song that is short"}, "made for another caption of 'long' than 'a song'"),
            ({"x": "a song", "y": "a song"}, "has none of the 2 prompts of others: it was made of songs, whose"),
        ],
    )
    def test_other_prompts(
        self, ours: tuple[Plan, PromptSet], tmp_path: Path, captions: dict[str, str], said: str
    ) -> None:
        songs.table(tmp_path / "others.csv", captions)
        others = dataclasses.replace(ours[0].prompts, path=str(tmp_path / "others.csv"))  # type: ignore[type-var]
        plan = dataclasses.replace(ours[0], prompts=others)
        with pytest.raises(EvalkitError, match=said):
            require_pack(plan, plan.prompts.load(plan.cache))

    def test_prompts_that_the_pack_lacks_have_no_reference(self, ours: tuple[Plan, PromptSet], tmp_path: Path) -> None:
        songs.table(tmp_path / "others.csv", {"long": "a song that is long", "new": "a new song"})
        others = dataclasses.replace(ours[0].prompts, path=str(tmp_path / "others.csv"))  # type: ignore[type-var]
        plan = dataclasses.replace(ours[0], prompts=others, min_references=0.9)
        with pytest.raises(EvalkitError, match=r"only 1 of 2 are usable .new: not in the pack 'songs.safetensors'"):
            clips_of_run(plan, plan.prompts.load(plan.cache))

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
            ({"about": {"sample_rate": 16000}}, "sample_rate 16000, not 32000: set protocol=musicgen"),
            (
                {"about": {"conditioning": extractor.VERSION + 1}},
                f"conditioning {extractor.VERSION + 1}, not {extractor.VERSION}",
            ),
        ],
    )
    def test_features_that_were_made_otherwise(
        self, folder: Path, ours: tuple[Plan, PromptSet], tmp_path: Path, change: dict[str, Any], said: str
    ) -> None:
        write_pack(tmp_path / "other.safetensors", altered(read_pack(folder / "songs.safetensors"), **change))
        with pytest.raises(EvalkitError, match=said):
            require_pack(with_pack(ours[0], tmp_path / "other.safetensors"), ours[1])

    def test_weights_are_told_by_their_digests(
        self, folder: Path, ours: tuple[Plan, PromptSet], tmp_path: Path
    ) -> None:
        own, other = (tmp_path / name for name in ("own.pth", "other.pth"))
        own.write_bytes(b"own")
        other.write_bytes(b"other")

        def with_weights(**source: Any) -> Plan:
            encoder = PANNs(Asset("weights", **source))
            return dataclasses.replace(ours[0], metrics={"fad_panns": FAD(encoder)})

        panns = with_weights(path=str(other)).metrics["fad_panns"].encoder
        pack = altered(read_pack(folder / "songs.safetensors"), identity(panns, ours[0].cache))
        write_pack(tmp_path / "other.safetensors", pack)

        def refuse(plan: Plan) -> None:
            require_pack(with_pack(plan, tmp_path / "other.safetensors"), ours[1])

        refuse(with_weights(path=str(other)))  # does not
        digests = f"weights {sha256_file(other)[:12]}, not {sha256_file(own)[:12]}: use the same weights"
        with pytest.raises(EvalkitError, match=f"{panns.kind} .metric.fad_panns. that were made otherwise: {digests}"):
            refuse(with_weights(path=str(own)))
        with pytest.raises(EvalkitError, match="of published or own weights, and this run has random ones"):
            refuse(with_weights(random_seed=0))

    def test_clips_of_a_length_that_the_pack_has_no_part_of(
        self, folder: Path, ours: tuple[Plan, PromptSet], tmp_path: Path
    ) -> None:
        shutil.copytree(folder / "made", tmp_path / "made")
        samples, rate = soundfile.read(folder / "made" / "long.wav")
        soundfile.write(tmp_path / "made" / "long.wav", samples[: round(1.7 * rate)], rate)
        plan = dataclasses.replace(ours[0], models={"made": Folder(str(tmp_path / "made"))})
        with pytest.raises(EvalkitError, match=r"no features of 'long' over its first 1.7 s: .*sampling.duration=1.7,"):
            require_pack(plan, ours[1])
        soundfile.write(tmp_path / "made" / "exact.wav", samples[: round(1.2 * rate)], rate)
        said = r"over its first 1.7 s, and of 1 more: parts of 2 lengths are missing \(1.2, 1.7 s\): compare clips of"
        with pytest.raises(EvalkitError, match=said):
            require_pack(plan, ours[1])

    def test_another_part_of_long_recordings(self, folder: Path, ours: tuple[Plan, PromptSet], tmp_path: Path) -> None:
        pack = altered(read_pack(folder / "songs.safetensors"), about={"cut": "start"})
        write_pack(tmp_path / "other.safetensors", without_ends(pack))
        said = r"made with prompts.cut=start, and this run has prompts.cut=end, which takes another part of 'long' a"
        with pytest.raises(EvalkitError, match=said):
            require_pack(with_pack(ours[0], tmp_path / "other.safetensors"), ours[1])


def without_ends(pack: Pack) -> Pack:
    """The pack without parts that begin after their recordings do."""
    places = [place for place, part in enumerate(pack.parts) if not part.start]
    keys = {pack.parts[place].key for place in places}
    return dataclasses.replace(
        pack,
        parts=tuple(pack.parts[place] for place in places),
        peaks=pack.peaks[places],
        unusable={key: why for key, why in pack.unusable.items() if key in keys},
        features={
            name: PackedFeatures.of([None if pack.parts[i].key in pack.unusable else own.part(i) for i in places])
            for name, own in pack.features.items()
        },
    )


def test_protocols_that_compare_whole_clips_have_packs_too(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "clips", tmp_path / "clips")
    shutil.copy(folder / "songs.csv", tmp_path)
    more = ["protocol=fadtk", "metric=[chroma]"]
    given = [*songs.options(tmp_path), "model=synth", f"prompts.references={tmp_path / 'clips'}", *more]
    made = pack_of(compose(given))
    assert made.coverage.ok == len(songs.USABLE)
    write_pack(tmp_path / "fadtk.safetensors", made.pack)
    check(compose([*given, f"prompts.references={tmp_path / 'fadtk.safetensors'}", "sampling.duration=1"]))


def with_pack(plan: Plan, path: Path) -> Plan:
    """A run with another pack."""
    prompts = dataclasses.replace(plan.prompts, references=str(path))  # type: ignore[type-var]
    return dataclasses.replace(plan, prompts=prompts)


def altered(
    pack: Pack,
    definition: dict[str, Any] | None = None,
    random: bool = False,
    about: dict[str, Any] | None = None,
) -> Pack:
    """The pack as if its encoder, or what is said of it, were another."""
    (encoder,) = pack.about.encoders
    changed = definition or {"random_seed": 0} if definition or random else {}
    if "kind" not in changed:
        changed = {**encoder.definition, **changed}
    other = dataclasses.replace(encoder, definition=changed, random=random)
    said = dataclasses.replace(pack.about, encoders=(other,), **(about or {}))
    return dataclasses.replace(pack, about=said, features={other.digest: pack.features[encoder.digest]})


def test_features_of_another_device_are_used_and_said(
    folder: Path, packed: list[str], tmp_path: Path, audio: Result
) -> None:
    pack = altered(read_pack(folder / "songs.safetensors"), about={"device": "cuda"})
    write_pack(tmp_path / "gpu.safetensors", pack)
    result = songs.run(folder, packed[0], f"prompts.references={tmp_path / 'gpu.safetensors'}")
    pd.testing.assert_frame_equal(result.scores, audio.scores, check_exact=True)
    assert "the references' features were computed on cuda, those of clips on cpu" in result.remarks
