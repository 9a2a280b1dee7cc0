"""Pipelines of diffusers, through one adapter; on tiny checkpoints of random weights."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import inspect
import json
import logging
import math
import shutil
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evalkit import audio, compat, config
from evalkit.assets import assets_of
from evalkit.errors import EvalkitError
from evalkit.generation.clips import clips_of
from evalkit.models import tiny
from evalkit.models.diffusers import PIPELINES, Diffusers
from evalkit.settings import Dtype, Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.store.seeds import noise_seed
from evalkit.types import Prompt

compat.prepare()
diffusers = pytest.importorskip("diffusers", reason="the extra 'diffusers' is not installed")

ENGINE = Engine(device="cpu", dtype=Dtype.float32)
SHORT = Sampling(duration=0.2)
PROMPTS = [Prompt("a", "a slow piano"), Prompt("b", "fast drums and a distorted guitar"), Prompt("c", "a choir")]


def t5(limit: int) -> tuple[Any, Any]:
    import transformers

    tokenizer = tiny._tokenizer()
    tokenizer.model_max_length = limit
    config = transformers.T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    return tokenizer, transformers.T5EncoderModel(config)


def stable_audio() -> Any:
    tokenizer, text_encoder = t5(limit=24)
    return diffusers.StableAudioPipeline(
        vae=diffusers.AutoencoderOobleck(
            encoder_hidden_size=6,
            downsampling_ratios=[2, 4],
            channel_multiples=[2, 4],
            decoder_channels=3,
            decoder_input_channels=3,
            audio_channels=2,
            sampling_rate=400,
        ),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        projection_model=diffusers.StableAudioProjectionModel(
            text_encoder_dim=32, conditioning_dim=4, min_value=0, max_value=32
        ),
        transformer=diffusers.StableAudioDiTModel(
            sample_size=100,  # 2 s
            in_channels=3,
            out_channels=3,
            num_layers=2,
            attention_head_dim=4,
            num_key_value_attention_heads=2,
            cross_attention_dim=4,
            cross_attention_input_dim=4,
            time_proj_dim=8,
            global_states_input_dim=8,
        ),
        # the published one's
        scheduler=diffusers.CosineDPMSolverMultistepScheduler(
            solver_order=2, prediction_type="v_prediction", sigma_data=1.0, sigma_schedule="exponential"
        ),
    )


def stable_audio_3() -> Any:
    import transformers
    from diffusers.pipelines.stable_audio_3 import StableAudio3DurationEmbedder

    pieces = {piece: i for i, piece in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *string.printable])}
    part = {"vocab_size": len(pieces), "hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2}
    part |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    text = transformers.T5GemmaConfig(encoder=part, decoder=part, vocab_size=len(pieces), is_encoder_decoder=False)
    return diffusers.StableAudio3Pipeline(
        vae=diffusers.AutoencoderSAME(
            patch_size=4,
            encoder_channels=16,
            encoder_c_mults=[2],
            encoder_strides=[2],
            encoder_transformer_depths=[1],
            latent_dim=8,
            dim_heads=8,
            sampling_rate=400,
        ),
        text_encoder=transformers.T5GemmaEncoderModel(text),
        tokenizer=transformers.GemmaTokenizer(vocab=pieces, merges=[], model_max_length=24),
        duration_embedder=StableAudio3DurationEmbedder(output_dim=32, fourier_dim=8),
        transformer=diffusers.StableAudio3DiTModel(
            io_channels=8,
            embed_dim=32,
            depth=2,
            num_heads=2,
            cond_token_dim=32,
            global_cond_dim=32,
            local_add_cond_dim=9,
            timestep_features_dim=8,
            num_memory_tokens=2,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(stochastic_sampling=True),
    )


def of_spectrograms(folder: Path) -> tuple[dict[str, Any], Any]:
    """The parts that all AudioLDMs have, and a CLAP configuration."""
    import transformers
    from tokenizers.pre_tokenizers import ByteLevel

    folder.mkdir()
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet())]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    text = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
    heard = {"spec_size": 64, "num_mel_bins": 64, "window_size": 4, "depths": [2, 2], "num_attention_heads": [2, 2]}
    clap = transformers.ClapConfig(
        text_config={**text, "vocab_size": len(pieces), "max_position_embeddings": 90, "projection_dim": 16},
        audio_config={**heard, "hidden_size": 48, "patch_size": 2, "patch_stride": 2, "projection_dim": 16},
        projection_dim=16,
    )
    parts = {
        "vae": diffusers.AutoencoderKL(
            block_out_channels=[32, 64],
            in_channels=1,
            out_channels=1,
            down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2,
            latent_channels=4,
        ),
        "vocoder": transformers.SpeechT5HifiGan(
            transformers.SpeechT5HifiGanConfig(
                model_in_dim=8,
                sampling_rate=1600,
                upsample_initial_channel=16,
                upsample_rates=[2, 2],
                upsample_kernel_sizes=[4, 4],
                resblock_kernel_sizes=[3],
                resblock_dilation_sizes=[[1, 3]],
                normalize_before=False,
            )
        ),
        "tokenizer": transformers.RobertaTokenizer.from_pretrained(folder, model_max_length=77),
        "scheduler": diffusers.DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False
        ),
    }
    torch.nn.init.normal_(parts["vocoder"].conv_post.weight)  # else it is nearly silent
    return parts, clap


UNET: dict[str, Any] = {
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "sample_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}


def audioldm(folder: Path) -> Any:
    import transformers

    parts, clap = of_spectrograms(folder)
    unet = diffusers.UNet2DConditionModel(
        **UNET,
        cross_attention_dim=(8, 16),
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=16,
        class_embeddings_concat=True,
    )
    text_encoder = transformers.ClapTextModelWithProjection(clap.text_config)
    return diffusers.AudioLDMPipeline(**parts, text_encoder=text_encoder, unet=unet)


def audioldm2(folder: Path) -> Any:
    import transformers

    parts, clap = of_spectrograms(folder)
    tokenizer, text_encoder = t5(limit=60)
    gpt2 = transformers.GPT2Config(
        vocab_size=10, bos_token_id=0, eos_token_id=0, n_embd=16, n_head=2, n_layer=2, n_positions=200, max_new_tokens=8
    )
    return diffusers.AudioLDM2Pipeline(
        **parts,
        text_encoder=transformers.ClapModel(clap),
        tokenizer_2=tokenizer,
        text_encoder_2=text_encoder,
        projection_model=diffusers.AudioLDM2ProjectionModel(
            text_encoder_dim=16, text_encoder_1_dim=32, langauge_model_dim=16
        ),
        language_model=transformers.GPT2LMHeadModel(gpt2),
        feature_extractor=transformers.ClapFeatureExtractor(feature_size=64, hop_length=160),
        unet=diffusers.AudioLDM2UNet2DConditionModel(**UNET, cross_attention_dim=((None, 16, 32), (None, 16, 32))),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """Per pipeline a folder as save_pretrained writes it, and the pipeline as diffusers loads it."""
    root = tmp_path_factory.mktemp("diffusers")
    torch.manual_seed(0)
    pipelines = {
        "StableAudioPipeline": stable_audio(),
        "StableAudio3Pipeline": stable_audio_3(),
        "AudioLDMPipeline": audioldm(root / "a"),
        "AudioLDM2Pipeline": audioldm2(root / "b"),
    }
    for name, pipeline in pipelines.items():
        pipeline.save_pretrained(root / name)
        pipelines[name] = diffusers.DiffusionPipeline.from_pretrained(root / name)
        pipelines[name].set_progress_bar_config(disable=True)
    return {name: (root / name, pipeline) for name, pipeline in pipelines.items()}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def load(made: dict[str, tuple[Path, Any]], cache: Cache) -> Callable[..., Any]:
    def loaded(name: str, **fields: Any) -> Any:
        model = Diffusers(id=str(made[name][0]), **{"steps": 3, **fields})
        model.check(SHORT)
        return model.load(cache, ENGINE)

    return loaded


# -- the same as diffusers by itself ----------------------------------------------------------------

RATES = {
    "StableAudioPipeline": (400, 2),
    "StableAudio3Pipeline": (400, 2),
    "AudioLDMPipeline": (1600, 1),
    "AudioLDM2Pipeline": (1600, 1),
}


def test_every_pipeline_is_tested_and_called_as_it_wants() -> None:
    assert set(RATES) == set(PIPELINES)
    for name, (duration, _) in PIPELINES.items():
        accepted = inspect.signature(getattr(diffusers, name).__call__).parameters
        assert {duration, "guidance_scale", "num_inference_steps", "negative_prompt", "generator"} <= {*accepted}


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"guidance_scale": 4.0}),
        ({"steps": 5, "negative_prompt": "low quality"}, {"guidance_scale": 4.0, "negative_prompt": "low quality"}),
        ({"arguments": {"guidance_scale": 1.0}}, {"guidance_scale": 1.0}),
    ],
)
def test_clips_are_the_pipelines_own(
    made: dict[str, tuple[Path, Any]],
    load: Callable[..., Any],
    name: str,
    fields: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    (clip,) = load(name, **fields)(PROMPTS[1:2], dataclasses.replace(SHORT, guidance_scale=4.0, seed=3))
    generator = torch.Generator().manual_seed(noise_seed(3, "b"))
    theirs = made[name][1](
        PROMPTS[1].text,
        num_inference_steps=fields.get("steps", 3),
        generator=generator,
        **{PIPELINES[name][0]: 0.2},
        **expected,
    ).audios
    rate, channels = RATES[name]
    assert clip.rate == rate and clip.samples.shape == (channels, round(0.2 * rate))
    np.testing.assert_array_equal(clip.samples, np.asarray(theirs[0]).reshape(channels, -1))
    assert clip.samples.std() > 0


def test_the_language_model_as_published_is_loaded(
    made: dict[str, tuple[Path, Any]], load: Callable[..., Any], tmp_path: Path, cache: Cache
) -> None:
    """AudioLDM 2 names GPT2Model, with keys without a prefix, of which diffusers calls a method that is gone."""
    import transformers

    folder, pipeline = made["AudioLDM2Pipeline"]
    copy = Path(shutil.copytree(folder, tmp_path / "published"))
    shutil.rmtree(copy / "language_model")
    bare = pipeline.language_model.transformer
    assert isinstance(bare, transformers.GPT2Model)
    bare.save_pretrained(copy / "language_model")
    edit(copy / "model_index.json", language_model=["transformers", "GPT2Model"])
    ours = Diffusers(id=str(copy), steps=3).load(cache, ENGINE)(PROMPTS, SHORT)
    for clip, other in zip(ours, load("AudioLDM2Pipeline")(PROMPTS, SHORT), strict=True):
        np.testing.assert_array_equal(clip.samples, other.samples)


def test_the_language_models_cache_changes_nothing(made: dict[str, tuple[Path, Any]]) -> None:
    """Its hidden states are those of a full forward pass for every step: diffusers keeps its cache by itself."""
    pipeline = made["AudioLDM2Pipeline"][1]
    states = torch.randn(1, 9, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = pipeline.generate_language_model(states, attention_mask=torch.ones(1, 9, dtype=torch.long))
        for _ in range(8):
            last = pipeline.language_model.transformer(inputs_embeds=states, use_cache=False).last_hidden_state
            states = torch.cat([states, last[:, -1:]], dim=1)
    torch.testing.assert_close(ours, states[:, -8:], atol=1e-6, rtol=1e-5)


def test_half_precision(made: dict[str, tuple[Path, Any]], cache: Cache, load: Callable[..., Any]) -> None:
    model = Diffusers(id=str(made["StableAudioPipeline"][0]), steps=3)
    run: Any = model.load(cache, dataclasses.replace(ENGINE, dtype=Dtype.bfloat16))  # its pipeline is an attribute
    networks = [part for part in run.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert {p.dtype for network in networks for p in network.parameters()} == {torch.bfloat16}
    (clip,) = run(PROMPTS[:1], SHORT)
    (exact,) = load("StableAudioPipeline")(PROMPTS[:1], SHORT)
    assert np.abs(clip.samples - exact.samples).max() < 0.3 * np.abs(exact.samples).max()


# -- a clip depends on its own key alone ------------------------------------------------------------


@pytest.mark.parametrize("name", RATES)
def test_neighbours_order_and_the_global_generator_do_not_matter(load: Callable[..., Any], name: str) -> None:
    run = load(name)
    together = run(PROMPTS, SHORT)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    backwards = run(PROMPTS[::-1], SHORT)[::-1]
    assert torch.equal(torch.random.get_rng_state(), state)
    for clip, other, prompt in zip(together, backwards, PROMPTS, strict=True):
        np.testing.assert_array_equal(clip.samples, other.samples)
        np.testing.assert_array_equal(clip.samples, run([prompt], SHORT)[0].samples)


@pytest.mark.parametrize(
    ("prompt", "sampling"),
    [
        (PROMPTS[0], dataclasses.replace(SHORT, seed=1)),
        (PROMPTS[0], dataclasses.replace(SHORT, guidance_scale=1.0)),
        (dataclasses.replace(PROMPTS[0], id="a#2"), SHORT),
        (dataclasses.replace(PROMPTS[0], text="a fast piano"), SHORT),
    ],
)
def test_every_part_of_the_key_matters(load: Callable[..., Any], prompt: Prompt, sampling: Sampling) -> None:
    run = load("StableAudioPipeline")
    assert (run([prompt], sampling)[0].samples != run(PROMPTS[:1], SHORT)[0].samples).any()


# -- what is said, and what fails -------------------------------------------------------------------


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().partition(": ")[2] for record in caplog.records if record.name.startswith("evalkit")]


def test_guidance_that_is_musicgens_is_said_once(load: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    run = load("StableAudioPipeline")
    run(PROMPTS, SHORT)
    run(PROMPTS, SHORT)
    (warning,) = said(caplog)
    assert warning.startswith("guidance_scale=3 is MusicGen's default, and that of StableAudioPipeline is 7")
    caplog.clear()
    load("StableAudioPipeline")(PROMPTS, dataclasses.replace(SHORT, guidance_scale=7.0))
    load("StableAudioPipeline", arguments={"guidance_scale": 3.0})(PROMPTS, SHORT)
    assert not said(caplog)


def test_options_without_effect_are_said_once(load: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    run = load("StableAudioPipeline")
    changed = dataclasses.replace(SHORT, guidance_scale=7.0, top_k=5, temperature=0.5)
    for _ in range(2):
        run([dataclasses.replace(PROMPTS[0], continuation=Path("x.wav"))], changed)
    assert said(caplog) == [
        "sampling.top_k, sampling.temperature means nothing to this model",
        "this model gets captions only: melodies and continuations are not used",
    ]


@pytest.mark.parametrize(("name", "limit"), [("StableAudioPipeline", 24), ("AudioLDM2Pipeline", 77)])
def test_long_prompts_are_counted(
    load: Callable[..., Any], caplog: pytest.LogCaptureFixture, capfd: Any, name: str, limit: int
) -> None:
    run = load(name)
    long = "strings, " * 30
    with caplog.at_level(logging.INFO, "evalkit"):
        clips = run(
            [PROMPTS[0], Prompt("x", long), Prompt("y", long + "!")], dataclasses.replace(SHORT, guidance_scale=2.0)
        )
    assert [r.levelname for r in caplog.records if r.name.startswith("evalkit")] == ["WARNING", "INFO"]
    assert "prompt 'x' has" in said(caplog)[0] and f"of which the model reads {limit} (1 truncated" in said(caplog)[0]
    assert all(np.isfinite(clip.samples).all() for clip in clips)
    assert capfd.readouterr().out == ""


def test_nan_stays_nan(load: Callable[..., Any]) -> None:
    run = load("StableAudioPipeline")
    run.pipeline.transformer.proj_out.register_forward_hook(lambda module, inputs, output: output * math.nan)
    (clip,) = run(PROMPTS[:1], SHORT)
    assert clip.samples.shape == (2, 80) and np.isnan(clip.samples).all()


def test_a_duration_beyond_the_model_is_one_line(load: Callable[..., Any]) -> None:
    with pytest.raises(EvalkitError, match=r"'a' cannot be generated: .*3\.0s\) is longer than the model maximum"):
        load("StableAudioPipeline")(PROMPTS, Sampling(duration=3.0))


def index(folder: Path, **values: Any) -> None:
    edit(folder / "model_index.json", **values)


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model_index.json").unlink(), "has no model_index.json"),
        (lambda f: (f / "model_index.json").write_text("["), "is damaged"),
        (lambda f: index(f, _class_name="StableDiffusionPipeline"), "StableDiffusionPipeline, not one of AudioLDM"),
        (lambda f: index(f, _class_name="MusicLDMPipeline"), "evalkit does not run: .* fails with transformers 5"),
        (lambda f: index(f, _class_name=["pipeline", "Mine"]), r"\['pipeline', 'Mine'\], not one of"),
        (lambda f: index(f, transformer=["evil", "Model"]), "names code of its own for transformer"),
        (lambda f: index(f, extra=["os", "system"]), "names code of its own for extra"),
        (lambda f: index(f, transformer=["diffusers", "NoSuchModel"]), "needs diffusers's NoSuchModel"),
        (lambda f: shutil.rmtree(f / "transformer"), "cannot be loaded: delete it and get it again"),
        (lambda f: shutil.rmtree(f / "scheduler"), "cannot be loaded: delete it and get it again"),
        (lambda f: shutil.rmtree(f / "tokenizer"), "has no tokenizer files"),
        (
            lambda f: (f / "vae/diffusion_pytorch_model.safetensors").write_bytes(b"x" * 100),
            "vae: .* cannot be loaded: delete it and get it again",
        ),
        (
            lambda f: change_weights(f / "transformer", lambda w: w.pop("proj_out.weight")),
            "lacks 1 of the model's weights, such as 'proj_out.weight'",
        ),
        (
            lambda f: change_weights(f / "transformer", lambda w: w.update({"proj_out.weight": torch.zeros(2, 2)})),
            "do not fit its config.json, such as 'proj_out.weight'",
        ),
        (
            lambda f: change_weights(f / "transformer", lambda w: w["proj_out.weight"].fill_(math.nan)),
            "NaN or infinite weights in float32, such as 'proj_out.weight'",
        ),
    ],
)
def test_a_damaged_or_strange_checkpoint_is_one_clear_line(
    made: dict[str, tuple[Path, Any]], cache: Cache, tmp_path: Path, damage: Callable[[Path], Any], message: str
) -> None:
    folder = Path(shutil.copytree(made["StableAudioPipeline"][0], tmp_path / "checkpoint"))
    damage(folder)
    with pytest.raises(EvalkitError, match=message) as caught:
        Diffusers(id=str(folder)).load(cache, ENGINE)
    assert "\n" not in str(caught.value)


def test_code_in_a_checkpoint_is_not_run(made: dict[str, tuple[Path, Any]], cache: Cache, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made["StableAudioPipeline"][0], tmp_path / "checkpoint"))
    mark = tmp_path / "ran"
    for path in ("pipeline.py", "scheduler/diffusers.py", "transformer/diffusers.py", "evil.py"):
        (folder / path).write_text(f"open({str(mark)!r}, 'w')\nclass Mine: pass\n")
    for value in ("StableAudioPipeline", ["pipeline", "Mine"], "evil.Mine"):
        index(folder, _class_name=value)
        with contextlib.suppress(EvalkitError):
            Diffusers(id=str(folder)).load(cache, ENGINE)
        assert not mark.exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"steps": 0}, "steps=0: must be at least 1"), ({"arguments": {"generator": 1}}, "may not hold generator")],
)
def test_bad_fields_are_refused_early(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(EvalkitError, match=message):
        Diffusers(id="a/b", **fields).check(Sampling())


def test_an_unknown_argument_is_refused_before_the_first_clip(load: Callable[..., Any]) -> None:
    with pytest.raises(EvalkitError, match="StableAudioPipeline takes no argument lyrics"):
        load("StableAudioPipeline", arguments={"lyrics": "la"})


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EvalkitError, match=r"pip install 'evalkit\[diffusers\]'"):
        Diffusers(id="a/b").check(Sampling())


def test_the_id_is_a_repository_or_a_folder(made: dict[str, tuple[Path, Any]], tmp_path: Path, cache: Cache) -> None:
    remote = Diffusers(id="stabilityai/stable-audio-open-1.0")
    assert remote.checkpoint.repo == remote.published == "stabilityai/stable-audio-open-1.0" and not remote.random
    with pytest.raises(EvalkitError, match="run 'evalkit fetch'"):
        remote.load(cache, ENGINE)
    folder = Path(shutil.copytree(made["StableAudioPipeline"][0], tmp_path / "checkpoint"))
    assert not Diffusers(id=str(folder)).random and Diffusers(id=str(folder)).published is None
    index(folder, evalkit="seeded random weights")
    model = Diffusers(id=str(folder), steps=2)
    assert model.random, "made-up weights are known as such"
    assert model.load(cache, ENGINE)(PROMPTS[:1], SHORT)[0].samples.shape == (2, 80)
    with pytest.raises(EvalkitError, match=r"model=diffusers model\.diffusers\.id=stabilityai"):
        Diffusers()


def test_options_of_the_command_line_reach_the_model() -> None:
    options = ["id=cvssp/audioldm2-music", "steps=50", "negative_prompt=noise", "arguments={guidance_scale: 7}"]
    node = config.compose(["model=diffusers", "prompts=demo", *(f"model.diffusers.{option}" for option in options)])
    model = config.build(node.model.diffusers)
    arguments = {"guidance_scale": 7}
    assert model == Diffusers("cvssp/audioldm2-music", steps=50, negative_prompt="noise", arguments=arguments)
    (asset,) = assets_of(model)
    assert asset.repo == "cvssp/audioldm2-music", "what evalkit fetch brings"


def test_clips_are_generated_and_stored(
    made: dict[str, tuple[Path, Any]], cache: Cache, load: Callable[..., Any]
) -> None:
    model = Diffusers(id=str(made["StableAudioPipeline"][0]), steps=3)
    sampling = dataclasses.replace(SHORT, duration=1.0)
    clips = clips_of(model, PROMPTS, sampling, cache, ENGINE, "x")
    assert [(c.id, c.status, c.channels, c.sample_rate, c.frames) for c in clips] == [
        (p.id, "ok", 2, 400, 400) for p in PROMPTS
    ]
    for clip, expected in zip(clips, load("StableAudioPipeline")(PROMPTS, sampling), strict=True):
        assert clip.path is not None
        np.testing.assert_allclose(audio.read(clip.path).samples / clip.gain, expected.samples, atol=2**-22)
    assert clips_of(model, PROMPTS, sampling, cache, ENGINE, "x") == clips
