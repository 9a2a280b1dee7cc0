"""What can be known before the first expensive step is said there."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from evalkit.config import compose
from evalkit.declared import require_kinds
from evalkit.encoders.levels import Levels
from evalkit.errors import EvalkitError
from evalkit.pipeline import evaluate
from evalkit.plan import make_plan, require_files
from evalkit.scoring.rows import clips_of_run
from evalkit.types import Clip
from tests.parity.make_audiocraft_lm_fixtures import FIXTURES
from tests.test_contracts import Complete, Ears, run_with

BASE = ["prompts=demo", "sampling.duration=1"]


def options(tmp_path: Path, *more: str) -> list[str]:
    return [*BASE, f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}", *more]


def test_kernels_on_a_cpu_are_refused_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    asked = options(tmp_path, "model=synth", "metric=stereo", "engine.device=cpu", "engine.attention=triton")
    with pytest.raises(EvalkitError, match=r"^engine.attention=triton needs a CUDA device: use auto, or"):
        evaluate(compose(asked))
    assert not (tmp_path / "runs").exists()


def test_a_metric_that_needs_more_prompts_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    wanted = "metric=[clap_retrieval,precision_recall,density_coverage,fad_inf,inception_score,fad_contribution]"
    more = ["model=synth", "random_weights=0", wanted, "metric.inception_score.splits=3"]
    with pytest.raises(EvalkitError) as error:
        evaluate(compose(options(tmp_path, *more, "prompts.first=4")))
    assert str(error.value) == (
        "metric.clap_r10 needs 11, metric.density needs 6, metric.coverage needs 6, metric.fad_inf needs 12, "
        "metric.inception_score needs 6 prompts, and there are 4: use more, or leave the metric out"
    )
    assert not (tmp_path / "cache" / "clips").exists() and not (tmp_path / "runs").exists()
    with pytest.raises(EvalkitError, match=r"^metric\.clap_r1 needs 2, .*metric\.precision needs 4, .* there are 1:"):
        evaluate(compose(options(tmp_path, *more, "prompts.first=1")))


def test_usable_references_count_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = ["model=synth", "random_weights=0", "metric=[density_coverage]", "prompts.first=8", "min_references=0.1"]
    plan = make_plan(compose(options(tmp_path, *more)))
    prompts = plan.prompts.load(plan.cache)
    found = [Clip(p.id, status="ok" if i < 3 else "missing") for i, p in enumerate(prompts.prompts)]
    monkeypatch.setattr("evalkit.scoring.rows.reference_clips", lambda *_, **__: found)
    with pytest.raises(
        EvalkitError, match=r"metric\.density needs 6, metric\.coverage needs 6 usable references, and "
    ):
        clips_of_run(plan, prompts)


def test_every_missing_file_is_named_with_its_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    more = ["model=[musicgen_small,hf_text_to_audio]", "model.hf_text_to_audio.id=suno/bark-small"]
    more += ["metric=[kld,fad,fad_passt]", "prompts=musiccaps", "metric.fad.encoder.weights.path=nowhere.pt"]
    with pytest.raises(EvalkitError) as error:
        require_files(make_plan(compose(options(tmp_path, *more))))
    said = str(error.value)
    assert said.startswith("5 files are not on this machine: run 'evalkit fetch' with the same options: ")
    for option in (
        *("model.musicgen_small.checkpoint.path", "model.hf_text_to_audio.id", "prompts.path"),
        "metric.kld.encoder.weights.path",
    ):
        assert f", set by {option}" in said, option
    assert "VGGish weights (nowhere.pt), set by metric.fad.encoder.weights.path" in said and "\n" not in said
    trained = ["model=audiocraft", f"model.audiocraft.path={FIXTURES / 'mono'}", "metric=stereo", "random_weights=0"]
    trained += ["model.audiocraft.text_encoder.repo=google-t5/t5-small", "model.audiocraft.encodec=null"]
    with pytest.raises(EvalkitError, match=r"T5 base .* or set model\.audiocraft\.text_encoder\.path to a local copy"):
        require_files(make_plan(compose(options(tmp_path, *trained))))
    with pytest.raises(EvalkitError, match=r"PaSST .* or set metric\.kld\.encoder\.weights\.path to a local copy$"):
        require_files(make_plan(compose(options(tmp_path, "model=synth", "metric=kld"))))


@dataclass(frozen=True)
class Twin:
    """Another encoder under the name of `Ears`."""

    kind: ClassVar[str] = "ears"


@dataclass(frozen=True)
class Vggish:
    """Has a name of evalkit's, in another package."""

    kind: ClassVar[str] = Levels.kind


def test_two_classes_of_one_package_cannot_have_one_kind() -> None:
    with pytest.raises(EvalkitError) as error:
        require_kinds({"metric.a.encoder": Ears(), "metric.b.encoder": Twin()})
    assert str(error.value) == (
        "metric.b.encoder (Twin) and metric.a.encoder (Ears) have one kind, 'ears', under which their results are "
        "kept: give each class a kind of its own"
    )
    require_kinds({"a": Ears(), "b": Ears(), "c": Levels(), "d": Vggish()})


@pytest.mark.parametrize(
    ("place", "member", "value", "said"),
    [
        ("metric.chroma.encoder", "hears", 16000, ".encoder: Ears: hears is 16000: set an evalkit.encoders.Input"),
        ("metric.chroma.encoder", "reads", "sound", ".encoder: unknown reads 'sound': did you mean 'audio'?"),
        ("metric.chroma.encoder", "version", "1", ".encoder: Ears: version is '1': set a whole number"),
        ("metric.chroma.encoder", "hears", property(lambda _: 1 / 0), ": what it declares cannot be read: ZeroDiv"),
        ("metric.chroma", "bounds", (1.0, 0.0), ": bounds are 1.0 and 0.0: set a lower and a higher number"),
        ("metric.chroma", "additive", "no", ": additive is 'no': say True or False"),
        ("metric.chroma", "title", None, ": title is None: set text"),
        ("metric.chroma", "min_clips", 2.5, ": min_clips is 2.5: set a whole number from 1"),
    ],
)  # fmt: skip
def test_a_declaration_of_another_type_is_one_line(
    place: str, member: str, value: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    component = {"metric.chroma": Complete, "metric.chroma.encoder": Ears}[place]
    monkeypatch.setattr(component, member, value, raising=False)
    with pytest.raises(EvalkitError) as error:
        make_plan(run_with(place, component))
    assert str(error.value).startswith(f"metric.chroma{said}") and "\n" not in str(error.value)
    assert dataclasses.is_dataclass(component)
