"""Composing, checking and building configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from evalkit.assets import Asset
from evalkit.config import build, check, compose, conf_dir
from evalkit.errors import EvalkitError

OPTIONS = ["model=synth", "prompts=demo"]
MODELS = sorted(p.stem for p in (conf_dir() / "model").glob("*.yaml"))
PROMPTS = sorted(p.stem for p in (conf_dir() / "prompts").glob("*.yaml"))
METRICS = sorted(p.stem for p in (conf_dir() / "metric").glob("*.yaml"))


def test_the_ten_checkpoints_are_there() -> None:
    sizes = ["small", "medium", "large", "melody", "melody_large"]
    assert {f"musicgen_{x}{s}" for x in ("", "stereo_") for s in sizes} <= set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_built(name: str) -> None:
    options = ["model.folder.path=."] if name == "folder" else []
    config = compose([f"model={name}", "prompts=demo", *options])
    assert list(config.model) == [name]
    build(config.model[name])


@pytest.mark.parametrize("name", PROMPTS)
def test_every_prompt_set_is_built(name: str) -> None:
    options = ["prompts.path=x.csv"] if name == "table" else []
    build(compose(["model=synth", f"prompts={name}", *options]).prompts)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_built(name: str) -> None:
    metric = build(compose([*OPTIONS, f"metric={name}"]).metric[name])
    assert metric.title and metric.encoder.reads == "audio"


@pytest.mark.parametrize("group", ["experiment", "protocol", "sampling", "engine"])
def test_every_other_yaml_composes(group: str) -> None:
    for path in (conf_dir() / group).glob("*.yaml"):
        check(compose([*OPTIONS, f"{group}={path.stem}"]))


def test_the_default_is_the_model_cards_protocol() -> None:
    config = compose(["model=musicgen_small", "prompts=musiccaps"])
    assert dict(config.sampling) == {
        "top_k": 250, "top_p": 0.0, "temperature": 1.0, "guidance_scale": 3.0, "duration": 10.0, "seed": 0,
    }  # fmt: skip
    assert config.protocol.name == "musicgen"
    assert list(config.metric) == ["fad", "kld", "clap_score", "chroma"]
    assert not any(config.metric[m].encoder.weights.random_seed for m in ("fad", "kld", "clap_score")), (
        "a real run has no random weights"
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("engine.batch_size=0", "engine.batch_size=0: must be at least 1"),
        ("sampling.duration=0", "sampling.duration=0: must be more than 0 and at most 30"),
        ("sampling.duration=300", "sampling.duration=300"),
        ("sampling.duration=nan", "sampling.duration=nan"),
        ("sampling.top_k=-1", "must not be negative"),
        ("sampling.top_p=1.5", "between 0 and 1"),
        ("sampling.temperature=0", "more than 0"),
        ("sampling.guidance_scale=0.5", "at least 1"),
        ("metric=[]", "no metric is selected"),
        ("model=[]", "no model is selected"),
        ("min_references=2", "between 0 and 1"),
    ],
)
def test_values_that_no_run_can_use(option: str, message: str) -> None:
    with pytest.raises(EvalkitError, match=message.replace(".", r"\.")):
        check(compose([*OPTIONS, option]))


def test_only_evalkits_own_targets_are_built() -> None:
    node: dict[str, Any] = {"_target_": "evalkit.assets.Asset", "name": "x"}
    assert build(node) == Asset("x")
    for target in ("os.system", "evalkitten.x", "subprocess.run"):
        with pytest.raises(EvalkitError, match="not part of evalkit"):
            build({"_target_": target})
        with pytest.raises(EvalkitError, match="not part of evalkit"):
            build(OmegaConf.create({**node, "licence": {"_target_": target}}))
    assert build({"_target_": "fractions.Fraction", "numerator": 3}, allow=["fractions"]) == 3


def test_an_argument_that_the_target_refuses_is_one_line() -> None:
    with pytest.raises(EvalkitError, match="sise") as error:
        build({"_target_": "evalkit.assets.Asset", "name": "x", "sise": 3})
    assert "\n" not in str(error.value)


def test_a_folder_of_own_yamls_is_found(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("mine: {_target_: evalkit.models.synth.Synth, seed: 9}\n")
    assert compose(["model=mine", "prompts=demo"], str(tmp_path)).model.mine.seed == 9
