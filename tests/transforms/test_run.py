"""Runs whose references are transformed: what the record says, and what it is not compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import evalkit
from evalkit import audio
from evalkit.commands.fetch import assets
from evalkit.config import compose
from evalkit.errors import EvalkitError
from evalkit.packing.making import pack_of
from evalkit.packs.files import write_pack
from evalkit.pipeline import check
from evalkit.plan import make_plan
from evalkit.results.alike import references_differ
from evalkit.results.comparable import reasons
from evalkit.results.published import load_published
from evalkit.results.result import Result
from evalkit.results.summary import notes
from evalkit.settings import conf_dir
from evalkit.store.digests import sha256_file
from tests import separators
from tests.packs.test_joining import A, pack

BASE = ["model=synth", "prompts=demo", "prompts.first=3", "sampling.duration=1", "uncertainty.resamples=100"]
METRICS = "metric=[chroma,silence]"  # of which one compares with references; neither has weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    separators.write(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def options(folder: Path, weights: Path | None, *more: str) -> list[str]:
    own = ["references=instrumental", f"references.separator.weights.path={weights}"] if weights else []
    return [*BASE, METRICS, f"cache_dir={folder / 'cache'}", f"output_dir={folder / 'runs'}", *own, *more]


@pytest.fixture(scope="module")
def plain(folder: Path) -> Result:
    return evalkit.evaluate(*options(folder, None))


@pytest.fixture(scope="module")
def result(folder: Path, weights: Path) -> Result:
    rows = [
        f"calibration.{name}.transform.separator.weights.path={weights}" for name in ("separated", "separated_halves")
    ]
    return evalkit.evaluate(
        *options(folder, weights, "calibration=[halves,recordings,separated,separated_halves]", *rows)
    )


def test_what_compares_with_references_is_marked(result: Result, weights: Path) -> None:
    changed = f"references separated: drums + bass + other by HT-Demucs {sha256_file(weights)[:12]}"
    assert result.protocol.name == "musicgen (changed)" and result.protocol.changes == [changed]
    labels = {name: info.protocol for name, info in result.metrics.items() if name in ("chroma", "silence_share")}
    assert labels == {"chroma": "musicgen (changed)", "silence_share": "musicgen (extended)"}
    assert f"changed in the protocol musicgen: {changed}" in result.remarks
    assert "computed otherwise than the protocol says: Chroma cosine similarity" in result.remarks
    about = f"instrumental (HT-Demucs {sha256_file(weights)[:12]})"
    assert notes(result)[0] == f"references 3 of 3, rendered by Synth, not recordings, {about}, not as they are"


def test_the_record_has_the_references_before_and_after(result: Result, plain: Result) -> None:
    info, before = result.references_info, plain.references_info
    assert info is not None and before is not None
    assert info.originals == before.sha256 != info.sha256 and not before.altered and not before.originals
    ours, theirs = (one.clips[one.clips.model == "synth"] for one in (result, plain))
    assert ours.reference_origin.tolist() == theirs.reference_sha256.tolist()
    assert "reference_origin" not in theirs
    for path, length in zip(ours.reference_path, ours.reference_length, strict=True):
        separated = audio.read(Path(path))
        assert separated.rate == 44100 and separated.samples.shape == (2, 44100) and length == 1
    loaded = evalkit.load(result.path)
    assert loaded.references_info == info and loaded.clips.equals(result.clips)
    # the clips are the same, and what compares with no reference has not changed
    assert ours.sha256.tolist() == theirs.sha256.tolist()
    values = [one.scores.set_index(["model", "metric"]).value["synth"] for one in (result, plain)]
    assert values[0].silence_share == values[1].silence_share and values[0].chroma != values[1].chroma


def test_a_second_run_separates_nothing(result: Result, folder: Path, weights: Path) -> None:
    again = evalkit.evaluate(*options(folder, weights))
    log = (again.path / "run.log").read_text()
    assert "generating" not in log and "features of" not in log
    assert again.references_info == result.references_info


@pytest.mark.slow
def test_workers_separate_what_one_process_would(result: Result, tmp_path: Path, weights: Path) -> None:
    shared = evalkit.evaluate(*options(tmp_path, weights, "engine.workers=2"))
    assert shared.references_info == result.references_info
    ours, theirs = (one.scores[one.scores.model == "synth"].reset_index(drop=True) for one in (shared, result))
    assert ours.equals(theirs)


def test_it_is_never_beside_what_was_published(result: Result, plain: Result) -> None:
    published = next(one for one in load_published(conf_dir() / "published") if one.protocol == "musicgen")
    about = result.references_info and result.references_info.altered
    said = [reason.text for reason in reasons(result, "synth", "chroma", published)]
    assert f"references {about}, not references as they are" in said
    assert "protocol musicgen (changed), published musicgen" in said
    assert not [t for t in (r.text for r in reasons(plain, "synth", "chroma", published)) if "as they are" in t]
    assert result.scores.published.isna().all() and not result.scores.comparable.any()
    assert references_differ(plain, result) == f"references {about}, not references as they are"
    assert references_differ(result, plain) == f"references as they are, not references {about}"
    with pytest.raises(EvalkitError, match=r"no prompt with its reference in common: references instrumental \(HT-Dem"):
        evalkit.compare(plain, result)
    with pytest.raises(EvalkitError, match="'references=instrumental': what was published was measured against"):
        evalkit.reproduce("musicgen_small", "references=instrumental")


def test_rows_of_separated_references(result: Result) -> None:
    values = result.scores.set_index(["model", "metric"]).value
    separated = result.clips[result.clips.model == "separated references"]
    model = result.clips[result.clips.model == "synth"]
    assert separated.sha256.tolist() == model.reference_sha256.tolist()  # those of the run
    assert separated.reference_sha256.tolist() == model.reference_origin.tolist()
    assert result.rows["separated references"].paired and values["separated references", "chroma"] < 1
    recordings = result.clips[result.clips.model == "reference recordings"]  # as they are, for detectors of voices
    assert recordings.sha256.tolist() == recordings.reference_sha256.tolist() == model.reference_origin.tolist()
    halves, both = (result.clips[result.clips.model == name] for name in ("reference halves", "separated halves"))
    # the run's references are separated already: its halves are those that the row makes
    assert halves.sha256.tolist() == both.sha256.tolist() and halves.id.tolist() == both.id.tolist()
    assert halves.reference_sha256.tolist() == both.reference_sha256.tolist()
    assert not any(info.random for name, info in result.rows.items() if info.calibration)
    assert all(f"{row}: " in " ".join(result.remarks) for row in ("separated references", "separated halves"))


def test_the_rows_need_no_transform_of_the_run(folder: Path, weights: Path, result: Result) -> None:
    row = f"calibration.separated.transform.separator.weights.path={weights}"
    alone = evalkit.evaluate(*options(folder, None, "calibration=[separated]", row))
    ours, theirs = (one.clips[one.clips.model == "separated references"] for one in (alone, result))
    assert ours.sha256.tolist() == theirs.sha256.tolist()
    assert ours.reference_sha256.tolist() == theirs.reference_sha256.tolist()
    assert alone.metrics["chroma"].protocol == "musicgen"  # the row says that it is another thing, the models' are not


def test_random_weights_are_announced_where_they_count(tmp_path: Path) -> None:
    random = ["references=instrumental", "random_weights=0", f"cache_dir={tmp_path}"]
    plan = make_plan(compose([*BASE, METRICS, *random]))
    assert plan.random_networks("chroma") == ["HT-Demucs"] and plan.random_networks("silence_share") == []
    assert plan.changes == ["references separated: drums + bass + other by HT-Demucs of random weights"]


def test_missing_weights_are_named_before_anything_is_done(tmp_path: Path) -> None:
    absent = f"references.separator.weights.path={tmp_path / 'absent'}"
    config = compose([*BASE, METRICS, "references=instrumental", absent, f"cache_dir={tmp_path / 'cache'}"])
    with pytest.raises(EvalkitError, match=r"HT-Demucs: '.*' does not exist \(references\.separator\.weights\.path\)"):
        check(config)
    published = compose([*BASE, "references=instrumental", "calibration=[separated]"])
    assert [asset.source for asset in assets(published)].count("adefossez/HTDemucs@main") == 1


def test_what_is_no_transform_is_refused() -> None:
    with pytest.raises(EvalkitError, match="unknown references 'instrumentals': did you mean 'instrumental'"):
        compose([*BASE, "references=instrumentals"])
    with pytest.raises(EvalkitError, match="references: Synth cannot say in a few words"):
        make_plan(compose([*BASE, METRICS, "+references={_target_:evalkit.models.synth.synth.Synth}"]))


def test_packs_are_of_references_as_they_are(tmp_path: Path, weights: Path, folder: Path) -> None:
    with pytest.raises(EvalkitError, match=r"references=…: packs are of references as they are"):
        pack_of(compose(options(folder, weights)))
    write_pack(tmp_path / "pack.safetensors", pack({"a": A}))
    given = f"prompts.references={tmp_path / 'pack.safetensors'}"
    with pytest.raises(
        EvalkitError, match=r"^references are to be instrumental \(HT-Demucs \w{12}\), which is made of"
    ):
        check(compose(options(folder, weights, given)))


def test_references_that_cannot_be_used_stay_what_they_are(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "references").mkdir()
    rng = np.random.default_rng(0)
    rows = ["id,text"]
    for name in ("one", "two", "three", "four"):
        rows.append(f"{name},music {name}")
        samples = rng.normal(0, 0.1, (32000, 2)) * (name != "two")  # silent
        soundfile.write(tmp_path / "references" / f"{name}.wav", samples, 32000)
    (tmp_path / "references" / "three.wav").write_bytes(b"RIFF")
    (tmp_path / "prompts.csv").write_text("\n".join(rows))
    found = evalkit.evaluate(
        *("model=synth", "prompts=table", f"prompts.path={tmp_path / 'prompts.csv'}", "sampling.duration=1"),
        *(f"prompts.references={tmp_path / 'references'}", "metric=[chroma]", "min_references=0.4"),
        *(f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}", "uncertainty.resamples=100"),
        *("references=instrumental", f"references.separator.weights.path={weights}"),
    )
    assert found.references_info is not None
    assert str(found.references_info.usable) == "2 of 4 (1 silent, 1 unreadable)"
    clips = found.clips.set_index("id")
    assert (clips.reference_origin != "").to_dict() == {"one": True, "two": False, "three": False, "four": True}
    assert clips.reference_reason["two"] == "digital silence"
