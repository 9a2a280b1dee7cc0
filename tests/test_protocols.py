"""The protocols' YAMLs: what they set, what they refuse, and one generation measured under all of them."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from omegaconf import OmegaConf

from evalkit import evaluate, load
from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.config import build, compose
from evalkit.encoders import Input
from evalkit.errors import EvalkitError
from evalkit.features.conditioning import Sound, heard
from evalkit.metrics.chroma import ChromaSimilarity
from evalkit.metrics.kld import KLD
from evalkit.plan import Plan, make_plan
from evalkit.protocols import followed, protocol_of
from evalkit.recording import weights_info
from evalkit.report.to_json import plain
from evalkit.settings import Protocol, conf_dir
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
    protocol_of(config)
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
    # read by the pipeline, and by evalkit.protocols
    elsewhere = {".name", ".derived_from", ".defines", ".sample_rate", ".pair_length", ".generated_loudness"}
    elsewhere |= {".distinct_references"}
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
        ("protocol.distinct_references=true", "protocol.distinct_references=true: a reference that is cut to each"),
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
        ("protocol.sample_rate=0", "protocol.sample_rate=0: must be a rate in Hz"),
        ("protocol.sample_rate=8", "protocol.sample_rate=8:"),
        ("protocol.sample_rate=16000.5", "protocol.sample_rate=16000.5: must be a whole number"),
        ("protocol.generated_loudness=loud", "protocol.generated_loudness=loud: must be a number"),
        ("protocol.generated_loudness=3", "protocol.generated_loudness=3.0: must be null or between -70 and 0"),
        ("protocol.generated_loudness=nan", "protocol.generated_loudness=nan: must be null"),
        ("protocol.remove_dc=maybe", "protocol.remove_dc=maybe: .* not a valid bool"),
        ("protocol.vggish=3", "protocol.vggish=3: "),
        ("protocol.defines=fad", "'protocol.defines' is a list: write protocol.defines="),
        ("protocol.resampler=null", "'protocol.resampler' cannot be null"),
        ("protocol.name='a b'", "protocol.name=a b: must be a name of letters"),
    ],
)
def test_a_wrong_value_is_one_line(option: str, message: str) -> None:
    with pytest.raises(EvalkitError, match=message) as caught:
        config = composed("musicgen", option)
        protocol_of(config)
        for node in config.metric.values():
            build(node)
    assert "\n" not in str(caught.value)


def test_dc_is_removed_at_the_rate_of_the_file() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(0.2, 0.1, (2, 44100)).astype(np.float32)
    sound = Sound(*[Audio(samples, 44100)] * 3)
    first = Audio(samples[:1] - samples[:1].mean(), 44100)
    plain = heard(Sound(first, first, first), Input(16000, "first", "torchaudio"))
    np.testing.assert_allclose(heard(sound, Input(16000, "first", "torchaudio", remove_dc=True)), plain, atol=1e-7)
    assert abs(heard(sound, Input(16000, "first", "torchaudio")).mean() - 0.2) < 1e-3


def test_pairs_of_unlike_length_are_compared_over_what_both_have() -> None:
    """A protocol with `pair_length: own` leaves the second clip longer than its reference."""
    sure, unsure = np.float32([[0.9, 0.1]]), np.float32([[0.5, 0.5]])
    generated = Features(("a",), (np.concatenate([sure, unsure, unsure]),))
    reference, cut = Features(("a",), (np.repeat(unsure, 2, axis=0),)), Features(("a",), (generated.values[0][:2],))
    for metric in (KLD(None), ChromaSimilarity(None)):
        assert metric(generated, reference).value == metric(cut, reference).value


@pytest.mark.parametrize(("beyond", "loudness"), [(False, "-14"), (True, "-14"), (True, "null")])
@pytest.mark.slow
def test_a_set_is_at_distance_0_from_itself_unless_its_loudness_cuts_it_off(
    tmp_path: Path, beyond: bool, loudness: str
) -> None:
    """As docs/metrics.md says: FAD and chroma hear no level, but where peaks lie beyond full scale at −14 LUFS."""
    rng, time = np.random.default_rng(0), np.arange(2 * 32000) / 32000
    rows = ["id,text,reference"]
    for k in range(4):
        tone = 0.05 * np.sin(2 * np.pi * 110 * (k + 2) * time) + 0.01 * rng.standard_normal(len(time))
        beats = 0.5 * np.exp(-60 * (time % 0.5)) * rng.standard_normal(len(time)) if beyond else 0
        soundfile.write(tmp_path / f"{k}.wav", tone + beats, 32000, "FLOAT")
        rows.append(f"{k},music {k},{tmp_path / f'{k}.wav'}")
    (tmp_path / "prompts.csv").write_text("\n".join(rows))
    result = evaluate(
        *("model=folder", f"model.folder.path={tmp_path}", "prompts=table", f"prompts.path={tmp_path / 'prompts.csv'}"),
        *("metric=[fad,chroma]", "random_weights=0", "sampling.duration=2", "uncertainty.resamples=0"),
        *(f"protocol.generated_loudness={loudness}", f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path}"),
    )
    values = result.scores.set_index("metric")["value"]
    if beyond and loudness != "null":
        assert values["fad"] > 0.1
    else:
        assert abs(values["fad"]) < 1e-3 and values["chroma"] == 1


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
    for path in sorted(p.parent for p in (folder / "runs").glob("*/points/*/result.json")):
        result = load(path)
        results[result.protocol.name] = result.scores.set_index("metric")
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


@pytest.mark.slow
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


HOP = "did you mean 'protocol.vggish.hop'?"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("protocol.vggish.hopp=0.96", f"there is no option 'protocol.vggish.hopp': {HOP}"),
        ("+protocol.vggish.hopp=1", f"there is no option 'protocol.vggish.hopp': {HOP}"),
        ("++protocol.vggish.hopp=1", f"there is no option 'protocol.vggish.hopp': {HOP}"),
        ("protocol.vgish.hop=1", f"there is no option 'protocol.vgish.hop': {HOP}"),
        ("+protocol.vgish.hop=1", "there is no option 'protocol.vgish': did you mean 'protocol.vggish'?"),
        ("+protocol.zzz=1", "there is no option 'protocol.zzz': below 'protocol' there are channels, "),
        ("+sampling.topk=1", "there is no option 'sampling.topk': did you mean 'sampling.top_k'?"),
        ("+engin=1", "there is no option 'engin': did you mean 'engine'?"),
    ],
)
def test_a_misspelt_switch_on_the_command_line_is_one_line(option: str, message: str) -> None:
    with pytest.raises(EvalkitError) as caught:
        compose(["model=synth", "prompts=demo", option])
    assert str(caught.value).startswith(message)


def own(folder: Path, name: str = "mine", text: str = "derived_from: musicgen", start: str = "musicgen") -> Path:
    """A folder of a user's YAMLs, with one more protocol."""
    (folder / "protocol").mkdir(exist_ok=True)
    head = f"defaults: [{start}, _self_]\nname: {name}\n"
    (folder / "protocol" / f"{name}.yaml").write_text(head + text + "\n")
    return folder


def plan_of(folder: Path | None, *options: str, cache: Path | None = None) -> Plan:
    base = ["model=synth", "prompts=demo", "random_weights=0", *([f"cache_dir={cache}"] if cache else [])]
    return make_plan(compose([*base, *options], str(folder) if folder else None))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vggish: {hopp: 0.96}", f"In 'protocol/mine': there is no option 'protocol.vggish.hopp': {HOP}"),
        ("vggish: {hop: wide}", "(protocol.vggish.hop)"),
        ("vggish: 3", "int is not a subclass of VGGishSwitches"),
        ("vggish: [", "mine.yaml"),
    ],
)
def test_a_misspelt_switch_in_a_users_yaml_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    own(tmp_path, text=f"derived_from: musicgen\n{text}")
    with pytest.raises(EvalkitError) as caught:
        plan_of(tmp_path, "protocol=mine", "metric=fad")
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("metric", ["fad", "stereo"])  # the second reads next to no switch
def test_a_protocol_that_starts_from_none_must_give_every_switch(tmp_path: Path, metric: str) -> None:
    write(tmp_path, "protocol/mine.yaml", "name: mine\nderived_from: musicgen\nresampler: julius\n")
    with pytest.raises(EvalkitError, match=r"^nothing is given for protocol\.[\w.]+: start a protocol's YAML with "):
        plan_of(tmp_path, "protocol=mine", f"metric={metric}")


def test_a_plan_holds_the_protocol_as_typed_settings() -> None:
    protocol = plan_of(None, "protocol=fadtk", "protocol.vggish.hop=1").protocol
    assert isinstance(protocol, Protocol)
    assert (protocol.name, protocol.sample_rate, protocol.vggish.hop) == ("fadtk", None, 1.0)


def test_a_users_protocol_carries_its_own_name_and_what_it_changes(tmp_path: Path) -> None:
    own(tmp_path, text="derived_from: musicgen\ndefines: [fad, chroma]\nvggish: {hop: 0.96}\nkld: {epsilon: 0}")
    plan = plan_of(tmp_path, "protocol=mine")
    own_name, extended = "mine", "mine (extended)"
    assert plan.protocols == {"fad": own_name, "kld": extended, "clap_score": extended, "chroma": own_name}
    assert plan.changes == []
    assert plan.protocol_remarks == [
        "changed in the protocol musicgen by mine, which is derived from it: "
        "defines [fad, chroma], not [fad, kld, kld_reverse, kld_symmetric, clap_score, chroma]; "
        "vggish.hop 0.96, not 0.5; kld.epsilon 0.0, not 1e-06"
    ]
    changed = plan_of(tmp_path, "protocol=mine", "protocol.vggish.hop=0.5")
    assert set(changed.protocols.values()) == {"mine (changed)"}
    assert changed.changes == ["vggish.hop 0.5, not 0.96"]
    assert plan_of(tmp_path).protocol_remarks == []  # evalkit's own is derived from nothing


def test_a_protocol_may_be_derived_from_another_of_the_user(tmp_path: Path) -> None:
    own(tmp_path, text="derived_from: fadtk\nvggish: {pcm16: round}", start="fadtk")
    own(tmp_path, "second", "derived_from: mine\nvggish: {hop: 0.5}", start="mine")
    assert plan_of(tmp_path, "protocol=second").protocol_remarks == [
        "changed in the protocol mine by second, which is derived from it: vggish.hop 0.5, not 0.96",
        "changed in the protocol fadtk by mine, which is derived from it: vggish.pcm16 round, not floor",
    ]


def test_what_is_changed_is_told_from_the_protocol_named_and_not_from_the_one_started_from(tmp_path: Path) -> None:
    own(tmp_path, text="derived_from: fadtk")
    (remark,) = plan_of(tmp_path, "protocol=mine").protocol_remarks
    assert remark.startswith("changed in the protocol fadtk by mine") and "vggish.hop 0.5, not 0.96" in remark


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mine", "", "mine.yaml': set derived_from to the protocol that it starts from, such as musicgen"),
        ("mine", "derived_from: null", "mine.yaml': set derived_from"),
        ("mine", "derived_from: musicgn", "protocol mine: derived_from: unknown protocol 'musicgn': did you mean 'mus"),
        ("mine", "derived_from: mine", "protocol mine: derived from itself"),
        ("unknown", "derived_from: musicgen", "unknown.yaml': a protocol cannot have this name: use letters"),
        ("musicgen (changed)", "derived_from: musicgen", "must be a name of letters, digits and _.-"),
    ],
)
def test_a_users_protocol_must_say_what_it_is_derived_from(tmp_path: Path, name: str, text: str, message: str) -> None:
    own(tmp_path, name, text)
    with pytest.raises(EvalkitError) as caught:
        plan_of(tmp_path, f"protocol='{name}'", "metric=chroma")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_protocols_that_are_derived_from_each_other_are_refused(tmp_path: Path) -> None:
    own(tmp_path, "one", "derived_from: two")
    own(tmp_path, "two", "derived_from: one")
    with pytest.raises(EvalkitError, match="derived from itself"):
        plan_of(tmp_path, "protocol=one", "metric=chroma")


@pytest.mark.parametrize("line", ["name: musicgen", "name: other", ""])
def test_a_users_protocol_has_the_name_of_its_file(tmp_path: Path, line: str) -> None:
    own(tmp_path)
    (tmp_path / "protocol" / "mine.yaml").write_text(f"defaults: [musicgen, _self_]\nderived_from: musicgen\n{line}\n")
    with pytest.raises(EvalkitError, match=r"mine\.yaml': a protocol has the name of its file: set name: mine"):
        plan_of(tmp_path, "protocol=mine", "metric=chroma")


def test_what_is_wrong_with_protocols_that_are_not_used_does_not_matter(tmp_path: Path) -> None:
    own(tmp_path)
    for name, text in (("torn", "defaults: [musicgen"), ("list", "- a"), ("lost", "name: lost\nderived_from: none")):
        (tmp_path / "protocol" / f"{name}.yaml").write_text(text)
    (tmp_path / "protocol" / "misnamed.yaml").write_text("defaults: [musicgen, _self_]\nname: other\n")
    for protocol in ("musicgen", "mine"):
        assert plan_of(tmp_path, f"protocol={protocol}", "metric=chroma").protocol.name == protocol


def test_a_users_protocol_changes_nothing_but_switches(tmp_path: Path) -> None:
    own(tmp_path, start="musicgen, {/part@_global_.metric: sigmoid}")
    write(tmp_path, "part/sigmoid.yaml", "kld: {encoder: {activation: sigmoid}}\n")
    with pytest.raises(EvalkitError, match=r"mine\.yaml': the defaults of a protocol are protocols and _self_"):
        plan_of(tmp_path, "protocol=mine", "metric=kld")


@pytest.mark.parametrize("place", ["protocol/musicgen", "metric/fad", "encoder/vggish", "model/synth", "config"])
def test_a_users_yaml_with_the_name_of_one_of_evalkits_is_refused(tmp_path: Path, place: str) -> None:
    """Hydra takes evalkit's, without a word."""
    write(tmp_path, f"{place}.yaml", "{}\n")
    with pytest.raises(EvalkitError) as caught:
        compose(["model=synth", "prompts=demo"], str(tmp_path))
    message = f"'{tmp_path / place}.yaml': evalkit's own {place}.yaml would be taken in its place: give it another name"
    assert str(caught.value) == message
    if place == "protocol/musicgen":  # a sweep is composed elsewhere
        done = command(tmp_path, "-m", "model=synth", "prompts=demo", "metric=chroma", "--config-dir", str(tmp_path))
        assert (done.returncode, done.stderr) == (2, f"evalkit: {message}\n")


def command(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`evalkit run` with options, in a folder."""
    return subprocess.run(
        [*(sys.executable, "-m", "evalkit.cli", "run"), *options, f"cache_dir={folder / 'cache'}"],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip


@pytest.mark.parametrize("flag", ["-cp", "--config-name"])
def test_another_base_for_the_yamls_is_refused(tmp_path: Path, flag: str) -> None:
    done = command(tmp_path, "model=synth", "prompts=demo", "metric=chroma", flag, str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "evalkit: the base is always evalkit's own config.yaml: use --config-dir DIR for your YAMLs\n"


@pytest.mark.parametrize("option", ["hydra.searchpath=[file:///tmp]", "+config_dir=/tmp", "++hydra.searchpath=[]"])
def test_another_way_to_a_folder_of_yamls_is_refused(option: str) -> None:
    with pytest.raises(EvalkitError, match=re.escape(f"'{option}': use --config-dir DIR")):
        compose(["model=synth", "prompts=demo", option])


def write(folder: Path, place: str, text: str) -> Path:
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / place).write_text(text)
    return folder


OWN_FAD = """
defaults: [{/encoder@fad.encoder: vggish}, _self_]
fad: {_target_: evalkit.metrics.fad.FAD, ddof: 0}
"""
OWN_VGGISH = (conf_dir() / "encoder" / "vggish.yaml").read_text("utf-8").replace("${protocol.vggish.hop}", "0.96")
EXPERIMENT = """# @package _global_
protocol: {vggish: {hop: 0.96}}
"""


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["protocol=fadtk", "protocol.name=musicgen"], "musicgen"),
        (["protocol.name=fadtk"], "fadtk"),
        (["protocol.derived_from=audiogen"], "musicgen"),
        (["protocol.defines=[fad,kad]"], "musicgen"),
        (["protocol.clap.weights.sha256=null"], "musicgen"),
        (["encoder@metric.fad.encoder=passt"], "musicgen"),
        (["metric.fad._target_=evalkit.metrics.kad.KAD", "~metric.fad.ddof"], "musicgen"),
        (["metric.fad.encoder.weights.url=https://example.org/vggish-10086976.pth"], "musicgen"),
        (["metric=[]", "+metric.fad=${user}"], "musicgen"),
        (["metric=own_fad"], "musicgen"),  # a YAML of another name, whose metric has that of evalkit's
        (["encoder@metric.fad.encoder=own_vggish"], "musicgen"),
        (["+experiment=own"], "musicgen"),
        (["protocol=mine", "protocol.name=musicgen"], "musicgen"),
        (["protocol=mine", "protocol.vggish.hop=0.6"], "mine"),
        (["protocol.name=mine"], "mine"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_changed_protocol_never_keeps_the_bare_name(tmp_path: Path, options: list[str], name: str) -> None:
    own(tmp_path, text="derived_from: musicgen\nvggish: {hop: 0.96}")
    write(tmp_path, "metric/own_fad.yaml", OWN_FAD)
    write(tmp_path, "encoder/own_vggish.yaml", OWN_VGGISH)
    write(tmp_path, "experiment/own.yaml", EXPERIMENT)
    node = "{_target_: evalkit.metrics.fad.FAD, encoder: {_target_: evalkit.encoders.chroma.Chroma}}"
    options = [option.replace("${user}", node) for option in options]
    if not any(option.startswith("metric=") for option in options):
        options = ["metric=[fad]", *options]
    plan = plan_of(tmp_path, *[o.replace("+experiment", "experiment") for o in options])
    assert plan.protocols == {"fad": f"{name} (changed)"}


@pytest.mark.slow
def test_a_protocol_is_compared_with_evalkits_yaml_inside_a_run_too(tmp_path: Path) -> None:
    """There, Hydra has a search path with the user's folder, and options that were given for the run."""
    own(tmp_path, text="derived_from: musicgen\ndefines: [channel_correlation]")
    files = write(tmp_path, "published/numbers.yaml", PUBLISHED)
    write(files, "prompts.csv", "id,text\na,first\nb,second\n")
    for clip in "ab":
        write(files, f"clips/{clip}.wav", "")
        noise = np.random.default_rng(ord(clip)).normal(0, 0.1, (32000, 2))
        soundfile.write(files / "clips" / f"{clip}.wav", noise, 32000)
    options = [
        *("model=folder", f"model.folder.path={files / 'clips'}", "model.folder.published=someone/model"),
        *("prompts=table", f"prompts.path={files / 'prompts.csv'}", "prompts.dataset=theirs", "metric=stereo"),
    ]
    said = "changed in the protocol musicgen by mine, which is derived from it: defines [channel_correlation], not "
    for protocol, expected in (("mine", 0.25), ("musicgen", None)):
        name = protocol if protocol == "mine" else "musicgen (extended)"
        out = tmp_path / protocol
        done = command(
            tmp_path, *options, f"protocol={protocol}", f"output_dir={out}", "--config-dir", str(tmp_path)
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        table = json.loads(next(out.glob("*/table.json")).read_text("utf-8"))
        result = evaluate(*options, f"protocol={protocol}", f"output_dir={out}", config_dir=str(tmp_path))
        for score in (table["scores"][0], plain(result.scores.to_dict("records")[0])):
            assert (score["protocol"], score["published"]) == (name, expected)
        assert any(note.startswith(said) for note in table["notes"]) == (protocol == "mine")


PUBLISHED = """
source: {title: a paper, url: https://example.org, primary: true, read: the paper}
protocol: mine
dataset: theirs
subset: all
n: 2
metrics: [channel_correlation]
rows:
  - model: someone/model
    metrics: {channel_correlation: 0.25}
"""


def test_a_users_wrong_file_of_published_numbers_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    write(tmp_path, "published/numbers.yaml", PUBLISHED.replace("dataset: theirs", "dataste: theirs"))
    with pytest.raises(EvalkitError, match=f"'{tmp_path / 'published' / 'numbers.yaml'}'.*dataste"):
        plan_of(tmp_path, "metric=chroma")


@pytest.mark.parametrize(
    ("known", "marked"),
    [({"sha256": "0" * 64}, True), ({"size": 5}, True), ({"size": 4}, False), ({}, False)],
    ids=["another digest", "another size", "the same size", "nothing known"],
)
def test_local_weights_of_other_content_are_a_change(tmp_path: Path, known: dict[str, Any], marked: bool) -> None:
    """As far as can be known; that the file is not verified is part of the record."""
    path = tmp_path / "weights.pt"
    path.write_bytes(b"mine")
    plan = plan_of(None, "metric=kld", cache=tmp_path)
    kld: Any = plan.metrics["kld"]
    weights = Asset("PaSST weights", path=str(path), url="https://example.org/passt.pt", **known)
    metrics = {"kld": replace(kld, encoder=replace(kld.encoder, weights=weights))}
    config = compose(["model=synth", "prompts=demo", "random_weights=0", "metric=kld"])
    labels, changes = followed(config, metrics, plan.cache)
    assert (labels, changes) == ({"kld": "musicgen (changed)" if marked else "musicgen"}, [])
    info = weights_info(weights, plan.cache)
    assert (info.source, info.digest) == (str(path), hashlib.sha256(b"mine").hexdigest())
    assert info.published is (False if marked else None)


def test_a_users_metric_that_a_users_protocol_defines_is_compared_with_its_yaml(tmp_path: Path) -> None:
    own(tmp_path, text="derived_from: musicgen\ndefines: [fad, own_mono]")
    node = "own_mono: {_target_: evalkit.metrics.stereo.MonoShare, below: -30.0}\n"
    write(tmp_path, "metric/mono.yaml", f"defaults: [{{/encoder@own_mono.encoder: levels}}, _self_]\n{node}")
    for options, expected in (
        (["protocol=mine"], "mine"),
        (["protocol=mine", "metric.own_mono.below=-20"], "mine (changed)"),
        (["protocol=musicgen"], "musicgen (extended)"),
    ):
        assert plan_of(tmp_path, "metric=mono", *options).protocols == {"own_mono": expected}


@pytest.mark.parametrize(
    ("option", "metric"),
    [
        ("metric.fad.encoder.hop=0.96", "fad"),
        ("metric.fad.ddof=0", "fad"),
        ("metric.kld.epsilon=0.1", "kld"),
        ("metric.chroma.encoder.argmax=false", "chroma"),
        ("encoder@metric.fad.encoder=passt", "fad"),
        ("protocol.generated_loudness=null", "fad kld clap_score chroma"),
        ("protocol.vggish.hop=0.96", "fad kld clap_score chroma"),
        ("random_weights=7", ""),
        ("sampling.top_k=5", ""),
    ],
)
def test_a_changed_switch_is_no_longer_the_protocol(option: str, metric: str) -> None:
    protocols = make_plan(compose(["model=synth", "prompts=demo", "random_weights=0", option])).protocols
    expected = {name: "musicgen (changed)" if name in metric.split() else "musicgen" for name in protocols}
    assert protocols == expected
