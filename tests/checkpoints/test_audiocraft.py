"""Opening audiocraft's checkpoints: what is read, what is refused, and that nothing in them is run."""

from __future__ import annotations

import dataclasses
import io
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from evalkit.assets import Asset
from evalkit.checkpoints.audiocraft import reading
from evalkit.checkpoints.transformers import read_config
from evalkit.commands.convert import convert
from evalkit.config import build, compose
from evalkit.errors import EvalkitError
from evalkit.models.audiocraft import Audiocraft
from evalkit.settings import Sampling
from evalkit.store.cache import Cache
from evalkit.store.identity import identity
from evalkit.types import Prompt
from evalkit.weights import Recorded
from tests.engines import CPU
from tests.parity.make_audiocraft_lm_fixtures import FIXTURES

CODEC = FIXTURES / "mono" / reading.CODEC
PROJECTION = "condition_provider.conditioners.description.output_proj.weight"

Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def opened(path: Path, **fields: Any) -> Audiocraft:
    given = {"text_encoder": Asset("tiny T5", path=str(FIXTURES / "t5")), "encodec": Asset("codec", path=str(CODEC))}
    return Audiocraft(str(path), **{**given, **fields})


def exported(folder: Path, kind: str = "mono", config: Edit | None = None, weights: Edit | None = None) -> Path:
    """A copy of an exported checkpoint, changed."""
    package = reading.load("test", FIXTURES / kind / reading.EXPORTED)
    values = yaml.safe_load(package["xp.cfg"])
    state = dict(package["best_state"])
    if config:
        config(values)
    if weights:
        weights(state)
    folder.mkdir(exist_ok=True)
    torch.save({**package, "best_state": state, "xp.cfg": yaml.safe_dump(values)}, folder / reading.EXPORTED)
    shutil.copy(FIXTURES / kind / reading.CODEC, folder)
    return folder


def solver(path: Path, change: Edit) -> Path:
    """A copy of a solver's checkpoint, changed, with its weights as plain tensors."""
    package = dict(reading.load("test", FIXTURES / "delays" / reading.SOLVER))
    package["xp.cfg"] = OmegaConf.load(FIXTURES / "delays" / reading.CONFIG)
    package.pop("history")
    change(package)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(package, path)
    return path


def embedding(model: Audiocraft, cache: Cache) -> torch.Tensor:
    return model.parts(cache).network.decoder.model.decoder.embed_tokens[0].weight


# -- what is read -----------------------------------------------------------------------------------


def test_from_the_command_line_to_clips(cache: Cache) -> None:
    config = compose(
        [
            "model=audiocraft",
            "prompts=demo",
            f"model.audiocraft.path={FIXTURES / 'stereo'}",
            f"model.audiocraft.text_encoder.path={FIXTURES / 't5'}",
            f"model.audiocraft.encodec.path={CODEC}",
        ]
    )
    model = build(config.model.audiocraft)
    sampling = Sampling(duration=0.2)
    model.check(sampling)
    assert model.random and model.published is None
    assert model.conditions(cache) == ("continuation",)
    assert opened(FIXTURES / "melody").conditions(cache) == ("continuation", "melody")
    (clip,) = model.load(cache, CPU)([Prompt("a", "a slow piano")], sampling)
    assert clip.samples.shape == (2, 6400) and clip.rate == 32000 and clip.samples.std() > 0


@pytest.mark.parametrize("path", ["delays", "delays/checkpoint.th", "mono", "mono/state_dict.bin"])
def test_folders_and_files(path: str, cache: Cache) -> None:
    assert embedding(opened(FIXTURES / path), cache).shape == (65, 32)


def test_all_weights_are_filled_in(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.checkpoints.audiocraft import network

    def filled(*arguments: Any) -> Any:
        made = empty(*arguments)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.fill_(torch.nan)
        return made

    empty = network._empty
    monkeypatch.setattr(network, "_empty", filled)
    for kind in ("mono", "stereo", "melody"):
        made = opened(FIXTURES / kind).parts(cache).network
        assert all(torch.isfinite(tensor).all() for tensor in made.state_dict().values())


def test_the_best_state_comes_first_then_the_average_then_the_last_step(tmp_path: Path, cache: Cache) -> None:
    best = embedding(opened(FIXTURES / "delays"), cache)

    def thinned(package: dict[str, Any]) -> None:
        package["best_state"] = {}
        package["ema"]["state"]["model"]["emb.0.weight"] = best + 1

    def sharded(package: dict[str, Any]) -> None:
        package["fsdp_best_state"] = {"model": {**package["best_state"]["model"], "emb.0.weight": (best + 2).half()}}

    def last(package: dict[str, Any]) -> None:
        package["best_state"], package["ema"] = {}, None

    for change, offset in ((thinned, 1.0), (sharded, 2.0), (last, 0.1)):
        changed = embedding(opened(solver(tmp_path / change.__name__ / reading.SOLVER, change)), cache)
        assert changed.dtype == torch.float32
        torch.testing.assert_close(changed, best + offset, atol=2e-3, rtol=0)


def test_pickled_and_written_configurations_are_the_same() -> None:
    package = reading.load("test", FIXTURES / "delays" / reading.SOLVER)
    pickled = reading.config_of("test", package)
    assert isinstance(package["xp.cfg"], Recorded)
    assert pickled == reading.config_of("test", {}, FIXTURES / "delays" / reading.CONFIG)
    assert pickled["optim"]["ema"]["updates"] == 10  # a reference
    assert pickled["codebooks_pattern"]["delay"]["delays"] == [0, 2, 3, 7]
    with pytest.raises(EvalkitError, match=r"no configuration"):
        reading.config_of("test", {})


def test_the_configuration_of_the_experiment_serves_a_thinned_out_checkpoint(tmp_path: Path, cache: Cache) -> None:
    path = solver(tmp_path / reading.SOLVER, lambda package: package.pop("xp.cfg"))
    (tmp_path / ".hydra").mkdir()
    shutil.copy(FIXTURES / "delays" / reading.CONFIG, tmp_path / reading.CONFIG)
    assert opened(path).parts(cache).network.config.decoder.codebook_delays == [0, 2, 3, 7]


def test_parallel_codebooks_and_a_pattern_without_delays(tmp_path: Path, cache: Cache) -> None:
    def pattern(value: dict[str, Any]) -> Edit:
        return lambda config: config.update(codebooks_pattern=value)

    parallel = exported(tmp_path / "parallel", config=pattern({"modeling": "parallel"}))
    assert opened(parallel).parts(cache).network.config.decoder.codebook_delays == [0, 0, 0, 0]
    usual = exported(tmp_path / "usual", config=pattern({"modeling": "delay", "delay": {"delays": None}}))
    assert not hasattr(opened(usual).parts(cache).network.config.decoder, "codebook_delays")


def test_a_text_encoder_that_was_trained_too(tmp_path: Path, cache: Cache) -> None:
    import transformers

    text = transformers.T5EncoderModel.from_pretrained(FIXTURES / "t5").state_dict()
    own = {f"condition_provider.conditioners.description.t5.{key}": tensor + 1 for key, tensor in text.items()}
    with pytest.raises(EvalkitError, match=rf"{len(own)} tensors are left over: condition_provider"):
        opened(exported(tmp_path / "stray", weights=lambda state: state.update(own))).parts(cache)
    folder = exported(
        tmp_path / "trained",
        config=lambda config: config["conditioners"]["description"]["t5"].update(finetune=True),
        weights=lambda state: state.update(own),
    )
    made = opened(folder).parts(cache).network.text_encoder.state_dict()
    for key, tensor in text.items():
        torch.testing.assert_close(made[key], tensor + 1)


def test_fewer_codebooks_than_the_codec_has(tmp_path: Path, cache: Cache) -> None:
    def two(config: dict[str, Any]) -> None:
        config["transformer_lm"]["n_q"], config["codebooks_pattern"]["delay"]["delays"] = 2, [0, 1]

    def cut(state: dict[str, Any]) -> None:
        for key in [key for key in state if key.startswith(("emb.2", "emb.3", "linears.2", "linears.3"))]:
            del state[key]

    model = opened(exported(tmp_path / "two", config=two, weights=cut)).load(cache, CPU)
    from evalkit.audio import Audio

    clip = Audio(torch.randn(1, 6400).numpy(), 32000)
    assert model.codec.encode(clip).shape == (2, 10)
    assert model.codec.decode([model.codec.encode(clip)])[0].samples.shape == (1, 6400)


# -- identity ---------------------------------------------------------------------------------------


def test_identity_is_by_content(tmp_path: Path, cache: Cache) -> None:
    first = identity(opened(FIXTURES / "mono"), cache)
    for copied in ("one", "two"):
        shutil.copytree(FIXTURES / "mono", tmp_path / copied)
    # the codec beside it is the one that is read
    assert identity(opened(tmp_path / "one", encodec=None), cache) == first
    exported(tmp_path / "two", weights=lambda state: state["emb.0.weight"].add_(1))
    assert identity(opened(tmp_path / "two"), cache) != first
    assert identity(opened(tmp_path / "one", text_encoder=Asset("T5", path=str(CODEC))), cache) != first
    stereo = identity(opened(FIXTURES / "stereo"), cache)
    other = Asset("codec", path=str(FIXTURES / "t5"))
    assert identity(opened(FIXTURES / "stereo", encodec=other), cache) != stereo
    assert identity(opened(FIXTURES / "mono", encodec=other), cache) == first


def test_made_up_weights_say_so(tmp_path: Path, cache: Cache) -> None:
    assert opened(FIXTURES / "delays").random
    assert not opened(exported(tmp_path / "real", config=lambda config: config.pop("evalkit"))).random


# -- nothing is run ---------------------------------------------------------------------------------


class Malicious:
    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> Any:
        return (Path.touch, (self.target,))


class Sneaky(Malicious):
    def __reduce__(self) -> Any:
        return (exec, (f"open({str(self.target)!r}, 'w')",))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", [Malicious, Sneaky])
def test_code_in_a_checkpoint_is_not_run(kind: type, zipped: bool, tmp_path: Path, cache: Cache) -> None:
    target = tmp_path / "was run"
    package = {"xp.cfg": kind(target), "best_state": {"a": torch.zeros(1)}, "more": [kind(target)]}
    path = tmp_path / reading.SOLVER
    torch.save(package, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(EvalkitError, match="no configuration"):
        opened(path).parts(cache)
    path.write_bytes(pickle.dumps(package))
    with pytest.raises(EvalkitError, match="cannot be read as a checkpoint"):
        opened(path).parts(cache)
    assert not target.exists()
    torch.load(io.BytesIO(saved(package)), weights_only=False)  # else the test would prove nothing
    assert target.exists()


def saved(package: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(package, buffer)
    return buffer.getvalue()


def test_a_yaml_makes_no_objects(tmp_path: Path, cache: Cache) -> None:
    path = tmp_path / reading.EXPORTED
    torch.save({"best_state": {"a": torch.zeros(1)}, "xp.cfg": "!!python/object/apply:os.getcwd []"}, path)
    with pytest.raises(EvalkitError, match="configuration is damaged"):
        opened(path).parts(cache)


# -- bad input --------------------------------------------------------------------------------------


def test_values_of_the_environment_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "value")
    config = reading.config_of("test", {"xp.cfg": "a: ${oc.env:SECRET}\nb: ${c.d}\nc: {d: 3}\ne: ${nothing}"})
    assert config == {"a": "${oc.env:SECRET}", "b": 3, "c": {"d": 3}, "e": "${nothing}"}
    with pytest.raises(EvalkitError, match="damaged"):
        reading.config_of("test", {"xp.cfg": "a: ${b}\nb: ${a}"})


def test_paths_that_hold_no_checkpoint(tmp_path: Path, cache: Cache) -> None:
    with pytest.raises(EvalkitError, match=r"model\.audiocraft\.path=FOLDER"):
        dataclasses.replace(opened(tmp_path), path=None).check(Sampling())
    with pytest.raises(EvalkitError, match="does not exist"):
        opened(tmp_path / "nothing").check(Sampling())
    with pytest.raises(EvalkitError, match=r"neither state_dict\.bin nor checkpoint\.th"):
        opened(tmp_path).check(Sampling())
    path = tmp_path / reading.EXPORTED
    for content in (b"", b"not a checkpoint", (FIXTURES / "mono" / reading.EXPORTED).read_bytes()[:1000]):
        path.write_bytes(content)
        with pytest.raises(EvalkitError, match="cannot be read as a checkpoint"):
            opened(path).parts(cache)
    for package in ({"a": 1}, [1, 2]):
        torch.save(package, path)
        with pytest.raises(EvalkitError, match=r"not one of audiocraft's|not a checkpoint of audiocraft"):
            opened(path).parts(cache)
    values = reading.load("test", FIXTURES / "mono" / reading.EXPORTED)["xp.cfg"]
    torch.save({"xp.cfg": values, "best_state": {}}, path)
    with pytest.raises(EvalkitError, match="no weights"):
        opened(path).parts(cache)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("mono", lambda s: s.pop("emb.1.weight"), "1 tensors are missing: emb.1.weight"),
        ("mono", lambda s: s.update({"transformer.layers.0.norm9.weight": torch.zeros(2)}), "left over: .*norm9"),
        ("mono", lambda s: s.update({"linears.0.weight": torch.zeros(64, 31)}), r"\(64, 31\) instead of \(64, 32\)"),
        ("mono", lambda s: s.update({PROJECTION: torch.zeros(32, 768)}), "states have 768 numbers"),
        ("stereo", lambda s: s.update({"linears.7.bias": torch.zeros(64)}), "left over: linears.7.bias"),
        ("melody", lambda s: s.pop("out_norm.bias"), "missing: out_norm.bias"),
    ],
)
def test_tensors_that_do_not_fit(kind: str, change: Edit, message: str, tmp_path: Path, cache: Cache) -> None:
    with pytest.raises(EvalkitError, match=message) as error:
        opened(exported(tmp_path / "broken", kind, weights=change)).parts(cache)
    assert "\n" not in str(error.value)


def test_a_codec_that_is_damaged(tmp_path: Path, cache: Cache) -> None:
    folder = exported(tmp_path / "broken")
    package = reading.load("test", CODEC)
    package["best_state"] = {**package["best_state"], "decoder.model.0.conv.conv.bias": torch.zeros(1)}
    torch.save(package, folder / reading.CODEC)
    with pytest.raises(EvalkitError, match=r"the codec: .*decoder\.model\.0\.conv\.conv\.bias is \(1,\) instead"):
        opened(folder).parts(cache)


def set_value(section: str, value: Any) -> Edit:
    def change(config: dict[str, Any]) -> None:
        *parents, key = section.split(".")
        for parent in parents:
            config = config[parent]
        config[key] = value

    return change


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("lm_model", "transformer_lm_magnet"),
        ("channels", 2),
        ("transformer_lm.norm_first", False),
        ("transformer_lm.bias_attn", True),
        ("transformer_lm.bias_ff", True),
        ("transformer_lm.bias_proj", True),
        ("transformer_lm.positional_embedding", "rope"),
        ("transformer_lm.positional_scale", 0.5),
        ("transformer_lm.qk_layer_norm", True),
        ("transformer_lm.layer_scale", 0.1),
        ("transformer_lm.activation", "silu"),
        ("transformer_lm.kv_repeat", 2),
        ("transformer_lm.causal", False),
        ("transformer_lm.past_context", 100),
        ("transformer_lm.norm", "rms"),
        ("transformer_lm.dim", None),
        ("transformer_lm.hidden_scale", "four"),
        ("transformer_lm.hidden_scale", "${oc.env:HOME}"),
        ("dataset.segment_duration", "long"),
        ("codebooks_pattern.delay.delays", 3),
        ("transformer_lm.num_heads", 5),
        ("transformer_lm.mixture_of_experts", 8),
        ("codebooks_pattern.modeling", "unroll"),
        ("codebooks_pattern.delay.delays", [0, 1]),
        ("codebooks_pattern.delay.flatten_first", 2),
        ("codebooks_pattern.delay.empty_initial", 1),
        ("conditioners", None),
        ("conditioners", {"description": "t5"}),
        ("conditioners.genre", {"model": "lut"}),
        ("conditioners.description.model", "clap"),
        ("conditioners.description.t5.normalize_text", True),
        ("fuser.sum", ["description"]),
        ("fuser.cross", []),
        ("fuser.cross", 1),
        ("fuser.prepend", ["description"]),
        ("fuser.cross_attention_pos_emb", True),
    ],
)
def test_configurations_that_transformers_has_no_module_for(
    section: str, value: Any, tmp_path: Path, cache: Cache
) -> None:
    folder = exported(tmp_path / "other", config=set_value(section, value))
    with pytest.raises(EvalkitError) as error:
        opened(folder).parts(cache)
    assert section.split(".")[0 if section.startswith("conditioners") else -1] in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("conditioners.self_wav.chroma_stem.argmax", False),
        ("conditioners.self_wav.chroma_stem.winhop", 100),
        ("conditioners.self_wav.chroma_stem.radix2_exp", 40),
        ("fuser.prepend", ["self_wav"]),
        ("interleave_stereo_codebooks", {"use": True, "per_timestep": True}),
    ],
)
def test_melody_configurations(section: str, value: Any, tmp_path: Path, cache: Cache) -> None:
    with pytest.raises(EvalkitError, match=section if section != "interleave_stereo_codebooks" else "per_timestep"):
        opened(exported(tmp_path / "other", "melody", config=set_value(section, value))).parts(cache)


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("compression_model", "dac"),
        ("encodec.renormalize", True),
        ("encodec.quantizer", "no_quant"),
        ("channels", 2),
        ("seanet.activation", "SiLU"),
        ("seanet.norm", "spectral_norm"),
        ("seanet.lstm", 0),
        ("seanet.disable_norm_outer_blocks", 2),
        ("seanet.decoder.final_activation", "Tanh"),
        ("seanet.encoder.n_filters", 64),
        ("rvq.bins", 63),
        ("rvq.n_q", 3),
    ],
)
def test_codecs_that_transformers_has_no_module_for(section: str, value: Any, tmp_path: Path, cache: Cache) -> None:
    folder = exported(tmp_path / "other")
    package = reading.load("test", CODEC)
    config = yaml.safe_load(package["xp.cfg"])
    set_value(section, value)(config)
    torch.save({**package, "xp.cfg": yaml.safe_dump(config)}, folder / reading.CODEC)
    with pytest.raises(EvalkitError, match="codebooks per channel" if section == "rvq.n_q" else section.split(".")[-1]):
        opened(folder).parts(cache)


def test_text_encoders_and_codecs_that_it_was_not_trained_with(tmp_path: Path, cache: Cache) -> None:
    base = Asset("T5 base", repo="google-t5/t5-base")
    with pytest.raises(EvalkitError, match=r"trained with t5-small.*text_encoder\.repo=google-t5/t5-small"):
        opened(FIXTURES / "mono", text_encoder=base).parts(cache)
    with pytest.raises(EvalkitError, match=r"trained with t5-small"):  # before anything is generated
        opened(FIXTURES / "mono", text_encoder=base).check(Sampling())
    hub = Asset("EnCodec", repo="facebook/encodec_24khz")
    for kind in ("stereo", "delays"):  # said by the file beside it, and by the configuration
        with pytest.raises(EvalkitError, match=r"set model\.audiocraft\.encodec\.repo=facebook/encodec_32khz"):
            opened(FIXTURES / kind, encodec=hub).parts(cache)
    with pytest.raises(EvalkitError, match=r"encodec\.repo=facebook/encodec_32khz"):
        opened(FIXTURES / "delays", encodec=None).parts(cache)

    def of_a_signature(package: dict[str, Any]) -> None:
        package["xp.cfg"].compression_model_checkpoint = "//sig/0a1b2c3d"

    trained = solver(tmp_path / "trained" / reading.SOLVER, of_a_signature)
    with pytest.raises(EvalkitError, match=r"'//sig/0a1b2c3d', which is not in .*encodec\.path"):
        opened(trained, encodec=hub).parts(cache)
    assert opened(trained).parts(cache)  # with the codec's own file

    slower = exported(tmp_path / "slower", config=lambda config: config.update(sample_rate=16000))
    with pytest.raises(EvalkitError, match="sample rate would be 16000, not 32000"):
        opened(slower).parts(cache)


def test_a_text_encoder_as_wide_as_the_decoder(tmp_path: Path, cache: Cache) -> None:
    import transformers

    config = transformers.T5Config(vocab_size=900, d_model=32, d_kv=8, d_ff=16, num_layers=1, num_heads=1)
    transformers.T5EncoderModel(config).save_pretrained(tmp_path / "t5")
    folder = exported(tmp_path / "wide", weights=lambda state: state.update({PROJECTION: torch.zeros(32, 32)}))
    with pytest.raises(EvalkitError, match="transformers leaves out the projection of the text"):
        opened(folder, text_encoder=Asset("T5", path=str(tmp_path / "t5"))).parts(cache)


# -- convert ----------------------------------------------------------------------------------------


def test_convert_writes_all_or_nothing(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    model, folder = opened(FIXTURES / "melody"), tmp_path / "new" / "converted"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(EvalkitError, match="not an empty folder"):
        convert(model, tmp_path / "full", cache)
    with pytest.raises(EvalkitError, match="missing"):
        convert(opened(exported(tmp_path / "x", weights=lambda s: s.pop("emb.0.weight"))), folder, cache)
    assert not folder.exists()

    import transformers

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(transformers.MusicgenMelodyFeatureExtractor, "save_pretrained", full)
        with pytest.raises(EvalkitError, match="no space left"):
            convert(model, folder, cache)
    assert not any(folder.parent.iterdir())
    folder.mkdir()  # an empty one is as good as none
    convert(model, folder, cache)
    assert {"config.json", "generation_config.json", "model.safetensors", "preprocessor_config.json"} <= {
        path.name for path in folder.iterdir()
    }
    assert folder.stat().st_mode & 0o777 == 0o755
    config = read_config("test", folder)
    assert config["model_type"] == "musicgen_melody" and config["evalkit"] == "seeded random weights"
