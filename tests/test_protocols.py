"""The protocols' YAMLs: what they set, what they refuse, and one generation measured under all of them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from omegaconf import OmegaConf

from evalkit.audio import Audio
from evalkit.config import build, check, compose, conf_dir
from evalkit.encoders import Input
from evalkit.errors import EvalkitError
from evalkit.features.conditioning import Sound, heard
from evalkit.metrics.chroma import ChromaSimilarity
from evalkit.metrics.kld import KLD
from evalkit.types import Features

PROTOCOLS = ["musicgen", "audiogen", "frechet_audio_distance", "fadtk", "stable_audio", "audioldm_eval"]
METRICS = ["fad", "kld", "clap_score", "chroma", "kld_directions", "kld_panns"]
RESOLVED: dict[str, Any] = {}


def composed(protocol: str, *options: str) -> Any:
    return compose(["model=synth", "prompts=demo", f"protocol={protocol}", f"metric=[{','.join(METRICS)}]", *options])


def keys(node: Any, prefix: str = "") -> set[str]:
    if not isinstance(node, dict):
        return {prefix}
    return {key for name, value in node.items() for key in keys(value, f"{prefix}.{name}")}


def written(protocol: str) -> dict[str, Any]:
    return yaml.safe_load((conf_dir() / "protocol" / f"{protocol}.yaml").read_text("utf-8"))


def test_these_are_all_protocols() -> None:
    assert {path.stem for path in (conf_dir() / "protocol").glob("*.yaml")} == set(PROTOCOLS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocol_sets_switches_that_exist_and_starts_from_musicgen(protocol: str) -> None:
    own, musicgen = written(protocol), written("musicgen")
    assert own["name"] == protocol
    if protocol != "musicgen":
        assert own.pop("defaults") == ["musicgen", "_self_"]
        # a name with a typing mistake would be added, and change nothing
        assert keys(own) <= keys(musicgen)
    config = composed(protocol)
    check(config)
    assert keys(OmegaConf.to_container(config.protocol)) == keys(musicgen)
    assert set(config.protocol.defines) <= set(config.metric)
    for node in config.metric.values():
        build(node)


@pytest.mark.parametrize("protocol", PROTOCOLS[1:])
def test_what_a_protocol_writes_down_says_something(protocol: str) -> None:
    """A protocol names only what differs from musicgen, or a few values that its source names too."""
    own, musicgen = written(protocol), written("musicgen")
    own.pop("defaults")
    same = {key for key in keys(own) if at(own, key) == at(musicgen, key)}
    assert same <= {".channels", ".vggish.pcm16"}


def at(node: Any, path: str) -> Any:
    for name in path.strip(".").split("."):
        node = node[name]
    return node


def test_every_switch_reaches_an_encoder_or_a_metric() -> None:
    """Each switch of musicgen.yaml, changed, changes something that is built or read."""
    text = "".join(path.read_text("utf-8") for path in sorted(conf_dir().glob("*/*.yaml")))
    elsewhere = {".name", ".defines", ".sample_rate", ".pair_length", ".generated_loudness"}  # read by the pipeline
    for key in keys(written("musicgen")) - elsewhere:
        assert f"${{protocol{key}}}" in text, key


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_both_halves_of_clap_are_one_network(protocol: str) -> None:
    metric = build(composed(protocol).metric.clap_score)
    for name in ("weights", "architecture", "fusion"):
        assert getattr(metric.encoder, name) == getattr(metric.text_encoder, name)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("protocol.pair_length=comon", "protocol.pair_length=comon: must be common or own"),
        ("protocol.resampler=resampi", "unknown resampler 'resampi': did you mean 'resampy'"),
        ("protocol.channels=left", "unknown channels 'left'"),
        ("protocol.vggish.pcm16=true", "pcm16 'True' is not known: set one of round, floor, null"),
        ("protocol.vggish.precision=float64", "precision 'float64' is not known"),
        ("protocol.vggish.pad_to=-1", "pad_to=-1 must be seconds"),
        ("protocol.passt.network=30", "one of 10 and one of 20 seconds"),
        ("protocol.passt.network=10", "segment=20 must lie in this order between 0.15 and the network's 10 s"),
        ("protocol.passt.step=0", "step=0 must be between"),
        ("protocol.passt.most=0", "most=0 must be at least 1"),
        ("protocol.passt.aggregate=median", "unknown PaSST aggregate 'median'"),
        ("protocol.kld.direction=forwards", "unknown direction of KLD 'forwards'"),
        ("protocol.kld.epsilon=-1", "epsilon=-1 must be at least 0"),
        ("protocol.clap.architecture=HTSAT-tini", "unknown CLAP architecture 'HTSAT-tini': did you mean 'HTSAT-tiny'"),
        ("protocol.clap.hop=0", "hop=0 must be between"),
        ("protocol.panns.pad_to=0", "pad_to=0 must be between"),
    ],
)
def test_a_wrong_value_is_one_line(option: str, message: str) -> None:
    config = composed("musicgen", option)
    with pytest.raises(EvalkitError, match=message) as caught:
        check(config)
        for node in config.metric.values():
            build(node)
    assert "\n" not in str(caught.value)


def test_dc_is_removed_at_the_rate_of_the_file() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(0.2, 0.1, (2, 44100)).astype(np.float32)
    sound = Sound(Audio(samples, 44100), Audio(samples, 44100))
    first = Audio(samples[:1] - samples[:1].mean(), 44100)
    plain = heard(Sound(first, first), Input(16000, "first", "torchaudio"))
    np.testing.assert_allclose(heard(sound, Input(16000, "first", "torchaudio", remove_dc=True)), plain, atol=1e-7)
    assert abs(heard(sound, Input(16000, "first", "torchaudio")).mean() - 0.2) < 1e-3


def test_pairs_of_unlike_length_are_compared_over_what_both_have() -> None:
    """A protocol with `pair_length: own` leaves the second clip longer than its reference."""
    sure, unsure = np.float32([[0.9, 0.1]]), np.float32([[0.5, 0.5]])
    generated = Features(("a",), (np.concatenate([sure, unsure, unsure]),))
    reference, cut = Features(("a",), (np.repeat(unsure, 2, axis=0),)), Features(("a",), (generated.values[0][:2],))
    for metric in (KLD(None), ChromaSimilarity(None)):
        assert metric(generated, reference).value == metric(cut, reference).value


def run(folder: Path, protocols: list[str], *options: str) -> dict[str, pd.DataFrame]:
    """One sweep on the command line over protocols: the scores of each."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "evalkit.cli", "run", "-m", f"protocol={','.join(protocols)}", "experiment=demo"),
            "~model.noise", "~model.low_pass", "~model.detuned", "~model.half_silent", "~model.left_only",
            "~model.wrong_caption", "~model.tiny_stereo", "prompts.first=2", "uncertainty.resamples=100",
            *(f"cache_dir={folder / 'cache'}", f"output_dir={folder / 'runs'}", *options),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    results = {}
    for path in sorted(p.parent for p in (folder / "runs").glob("*/scores.json")):
        name = OmegaConf.load(path / "config.yaml").protocol.name
        results[name] = pd.read_json(path / "scores.json").set_index("metric")
    assert set(results) == set(protocols)
    return results


def check_scores(folder: Path, results: dict[str, pd.DataFrame], metrics: list[str]) -> pd.DataFrame:
    """Check what every sweep must have; gives the values, a row per metric and a column per protocol."""
    for protocol, scores in results.items():
        assert list(scores.index) == metrics
        defines = written(protocol)["defines"]
        for metric, row in scores.iterrows():
            assert np.isfinite(row.value)
            assert row.protocol == (protocol if metric in defines else f"{protocol} (extended)")
    # two prompts, each with a clip and a reference, made once
    assert len(list((folder / "cache").rglob("*.flac"))) == 4
    values = pd.DataFrame({protocol: scores.value for protocol, scores in results.items()})
    print(values)
    return values


def test_one_generation_is_measured_under_every_protocol(tmp_path: Path) -> None:
    results = run(tmp_path, PROTOCOLS, "metric=[fad,chroma]", "sampling.duration=2.1")
    values = check_scores(tmp_path, results, ["fad", "chroma"])
    assert values.loc["fad"].nunique() == len(PROTOCOLS)


@pytest.mark.slow  # two of the protocols fill PaSST's windows up to 10 s
def test_all_four_metrics_are_measured_under_every_protocol(tmp_path: Path) -> None:
    results = run(tmp_path, PROTOCOLS, "sampling.duration=2.1")
    values = check_scores(tmp_path, results, ["fad", "kld", "clap_score", "chroma"])
    assert values.loc["fad"].nunique() == len(PROTOCOLS)
    # frechet_audio_distance and fadtk hear PaSST alike: these clips are at its rate already
    assert values.loc["kld"].nunique() == len(PROTOCOLS) - 1
    assert values.loc["clap_score"].nunique() >= 4


def test_all_fields_of_the_encoders_are_switches_or_parts() -> None:
    """No field of these encoders is out of a protocol's reach but the rate that its network needs."""
    metrics = composed("musicgen").metric
    for name, part in (("fad", "encoder"), ("kld", "encoder"), ("clap_score", "encoder"), ("kld_panns", "encoder")):
        encoder = build(metrics[name][part])
        unset = {f.name for f in fields(encoder)} - set(metrics[name][part])
        assert unset <= {"sample_rate", "activation"}
