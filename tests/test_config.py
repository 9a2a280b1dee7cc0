"""Composing, checking and building configurations."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from evalkit.assets import Asset
from evalkit.config import build, check, compose, yamls
from evalkit.errors import EvalkitError
from evalkit.settings import conf_dir

OPTIONS = ["model=synth", "prompts=demo"]
MODELS = sorted(p.stem for p in (conf_dir() / "model").glob("*.yaml"))
PROMPTS = sorted(p.stem for p in (conf_dir() / "prompts").glob("*.yaml"))
METRICS = sorted(p.stem for p in (conf_dir() / "metric").glob("*.yaml"))


def test_the_ten_checkpoints_are_there() -> None:
    sizes = ["small", "medium", "large", "melody", "melody_large"]
    assert {f"musicgen_{x}{s}" for x in ("", "stereo_") for s in sizes} <= set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_built(name: str) -> None:
    needed = {"folder": "path=.", "audiocraft": "path=.", "hf_text_to_audio": "id=a/b", "diffusers": "id=a/b"}
    options = [f"model.{name}.{needed[name]}"] if name in needed else []
    config = compose([f"model={name}", "prompts=demo", *options])
    assert list(config.model) == [name]
    build(config.model[name])


@pytest.mark.parametrize("name", PROMPTS)
def test_every_prompt_set_is_built(name: str) -> None:
    options = ["prompts.path=x.csv"] if name in ("table", "hub_dataset") else []
    build(compose(["model=synth", f"prompts={name}", *options]).prompts)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_built(name: str) -> None:
    for node in compose([*OPTIONS, f"metric={name}"]).metric.values():  # a YAML may hold several
        metric = build(node)
        assert metric.title and metric.encoder.reads == "audio"


@pytest.mark.parametrize("group", ["experiment", "protocol", "sampling", "engine"])
def test_every_other_yaml_composes(group: str) -> None:
    for path in (conf_dir() / group).glob("*.yaml"):
        check(compose([*OPTIONS, f"{group}={path.stem}"]))


def test_the_default_is_the_model_cards_protocol() -> None:
    config = compose(["model=musicgen_small", "prompts=musiccaps"])
    assert dict(config.sampling) == {
        "top_k": 250, "top_p": 0.0, "temperature": 1.0, "guidance_scale": 3.0, "duration": 10.0, "seed": 0,
        "extend_stride": 18.0, "samples_per_prompt": 1,
    }  # fmt: skip
    assert config.protocol.name == "musicgen"
    assert list(config.metric) == ["fad", "kld", "clap_score", "chroma"]
    assert not any(config.metric[m].encoder.weights.random_seed for m in ("fad", "kld", "clap_score")), (
        "a real run has no random weights"
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("engine.batch_size=0", "engine.batch_size=0: must be between 1 and 2,048"),
        ("sampling.duration=0", "sampling.duration=0: must be between 1 and 600 seconds"),
        ("sampling.duration=601", "sampling.duration=601"),
        ("sampling.extend_stride=30", "sampling.extend_stride=30: must be more than 0 and less than 30"),
        ("sampling.samples_per_prompt=0", "sampling.samples_per_prompt=0"),
        ("sampling.duration=nan", "sampling.duration=nan"),
        ("sampling.top_k=-1", "must not be negative"),
        ("sampling.top_p=1.5", "between 0 and 1"),
        ("sampling.temperature=0", "more than 0"),
        ("sampling.guidance_scale=0.5", "at least 1"),
        ("metric=[]", "no metric is selected"),
        ("model=[]", "no model is selected"),
        ("min_references=2", "between 0 and 1"),
        ("name=../../x", "name=../../x: use letters"),
    ],
)
def test_values_that_no_run_can_use(option: str, message: str) -> None:
    with pytest.raises(EvalkitError, match=message.replace(".", r"\.")):
        check(compose([*OPTIONS, option]))


def test_only_dataclasses_of_evalkit_are_built(tmp_path: Path) -> None:
    node: dict[str, Any] = {"_target_": "evalkit.assets.Asset", "name": "x"}
    assert build(node) == Asset("x")
    for target in (
        *("os.system", "evalkitten.x", "subprocess.run", "evalkit", "evalkit.absent.X"),
        *(
            "evalkit.store.cache.np.load",
            "evalkit.recording.pd.read_pickle",
            "evalkit.store.cache.Path",
            "evalkit.store.files.write_bytes",
        ),
    ):
        with pytest.raises(EvalkitError, match=r"not part of evalkit|cannot be found"):
            build({"_target_": target})
        with pytest.raises(EvalkitError, match=r"not part of evalkit|cannot be found"):
            build(OmegaConf.create({**node, "licence": [{"_target_": target}]}))


def test_an_own_package_is_built_from_where_it_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_metrics.py").write_text(
        "from dataclasses import dataclass\n\n\n@dataclass(frozen=True)\nclass Mine:\n    x: int = 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    node = {"_target_": "own_metrics.Mine", "x": 3}
    with pytest.raises(EvalkitError, match="add its package to allow_targets"):
        build(node)
    assert "own_metrics" not in sys.modules
    assert build(node, allow=["own_metrics"]).x == 3


def test_a_list_of_numbers_is_a_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_lists.py").write_text(
        "from dataclasses import dataclass\n\n\n@dataclass(frozen=True)\nclass Mine:\n    x: list[int]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert build({"_target_": "own_lists.Mine", "x": [1, 2]}, allow=["own_lists"]).x == [1, 2]


def test_an_argument_that_the_target_refuses_is_one_line() -> None:
    with pytest.raises(EvalkitError, match="sise") as error:
        build({"_target_": "evalkit.assets.Asset", "name": "x", "sise": 3})
    assert "\n" not in str(error.value)


def test_a_folder_of_own_yamls_is_found(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("mine: {_target_: evalkit.models.synth.synth.Synth, seed: 9}\n")
    config = compose(["model=[mine,synth]", "prompts=demo"], str(tmp_path))
    assert config.model.mine.seed == 9
    found = yamls(config, "model")
    assert set(found) == {*MODELS, "mine"} and found["mine"] == tmp_path / "model" / "mine.yaml"
    assert config.model.synth.seed == 0 and found["synth"] == conf_dir() / "model" / "synth.yaml"
    assert set(yamls(compose(OPTIONS), "model")) == set(MODELS)
    with pytest.raises(EvalkitError, match="use --config-dir DIR"):
        compose([*OPTIONS, f"config_dir={tmp_path}"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("metric.kad.seed=-1", "KAD: seed=-1: must be int, not negative"),
        ("metric.kad.scale=nan", "KAD: scale=nan: must be float, and finite"),
        ("metric.clap_r1.k=1.5", "RetrievalRecall: k=1.5: must be int"),
        ("metric.fad.encoder.peak_headroom=x", "VGGish: peak_headroom='x': must be float or null"),
        ("metric.fad.encoder.channels=stereo", "unknown channels 'stereo'"),
        ("protocol.resampler=sox", "unknown resampler 'sox': did you mean 'soxr_hq'?"),
    ],
)
def test_a_field_of_another_kind_is_one_line_before_anything_runs(option: str, message: str) -> None:
    config = compose([*OPTIONS, "metric=[fad,kad,clap_retrieval]", option])
    with pytest.raises(EvalkitError, match=re.escape(message)):
        for node in config.metric.values():
            build(node)
