"""Models that transformers runs, through one adapter; on tiny checkpoints of random weights."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import shutil
import string
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from evalkit import audio, compat, config
from evalkit.assets import assets_of
from evalkit.errors import EvalkitError
from evalkit.generation.clips import clips_of
from evalkit.models import hf_text_to_audio, tiny
from evalkit.models.hf_text_to_audio import HFTextToAudio
from evalkit.settings import Dtype, Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.store.identity import identity
from evalkit.store.seeds import noise_seed
from evalkit.types import Prompt

compat.prepare()

ENGINE = Engine(device="cpu", dtype=Dtype.float32)
SHORT = Sampling(duration=0.2)
PROMPTS = [Prompt("a", "a slow piano"), Prompt("b", "fast drums and a distorted guitar"), Prompt("c", "a choir")]


def write_vits(folder: Path) -> None:
    import transformers

    config = transformers.VitsConfig(
        vocab_size=28,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=16,
        flow_size=16,
        spectrogram_bins=9,
        upsample_initial_channel=16,
        posterior_encoder_num_wavenet_layers=2,
        prior_encoder_num_wavenet_layers=2,
        prior_encoder_num_flows=2,
        duration_predictor_num_flows=2,
        depth_separable_num_layers=1,
        duration_predictor_filter_channels=16,
    )
    transformers.VitsModel(config).save_pretrained(folder)
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({letter: i for i, letter in enumerate("_" + string.ascii_lowercase + " ")}))
    transformers.VitsTokenizer(str(vocabulary), is_uroman=False, phonemize=False).save_pretrained(folder)


def write_bark(folder: Path) -> None:
    import transformers
    from transformers.models.bark import generation_configuration_bark as settings

    size = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "block_size": 1024}
    config = transformers.BarkConfig(
        # the numbers of tokens that Bark's default generation settings speak of
        semantic_config={"input_vocab_size": 129600, "output_vocab_size": 10048, **size},
        coarse_acoustics_config={"input_vocab_size": 12096, "output_vocab_size": 12096, **size},
        fine_acoustics_config={"input_vocab_size": 1056, "output_vocab_size": 1056, **size},
        codec_config=transformers.EncodecConfig(
            num_filters=4, hidden_size=16, codebook_dim=16, num_lstm_layers=1, target_bandwidths=[6.0]
        ).to_dict(),
    )
    network = transformers.BarkModel(config)
    for layer in network.codec_model.quantizer.layers:
        layer.codebook.embed.normal_()  # else all codes would sound alike
    network.generation_config = transformers.GenerationConfig()
    network.save_pretrained(folder)
    stages = (
        settings.BarkSemanticGenerationConfig,
        settings.BarkCoarseGenerationConfig,
        settings.BarkFineGenerationConfig,
    )
    generation = settings.BarkGenerationConfig.from_sub_model_configs(*(stage() for stage in stages))
    # transformers cannot save it
    (folder / "generation_config.json").write_text(json.dumps(generation.to_dict()))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase]
    (folder / "vocab.txt").write_text("\n".join([*pieces, *(f"##{letter}" for letter in string.ascii_lowercase)]))
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)


WRITE: dict[str, Callable[[Path], None]] = {
    "musicgen": lambda folder: tiny.write_checkpoint(folder, 0),
    "vits": write_vits,
    "bark": write_bark,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, write in WRITE.items():
        made[name] = tmp_path_factory.mktemp(name)
        torch.manual_seed(0)
        with torch.inference_mode():
            write(made[name])
    return made


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def load(folders: dict[str, Path], cache: Cache) -> Callable[..., Any]:
    def loaded(name: str, **generate_kwargs: Any) -> Any:
        return HFTextToAudio(id=str(folders[name]), generate_kwargs=generate_kwargs).load(cache, ENGINE)

    return loaded


# -- the same as transformers by itself -------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_greedy_musicgen_is_the_plain_generate(
    folders: dict[str, Path], load: Callable[..., Any], scale: float
) -> None:
    import transformers

    sampling = Sampling(duration=0.5, guidance_scale=scale)
    ours = load("musicgen", do_sample=False)(PROMPTS, sampling)
    network = transformers.MusicgenForConditionalGeneration.from_pretrained(folders["musicgen"]).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders["musicgen"])
    for prompt, clip in zip(PROMPTS, ours, strict=True):
        text = tokenizer(prompt.text, return_tensors="pt")
        wave = network.generate(**text, do_sample=False, guidance_scale=scale, max_new_tokens=28)[0]
        assert clip.rate == 32000 and clip.samples.shape == (2, 16000)
        np.testing.assert_array_equal(clip.samples, wave.numpy())


@pytest.mark.parametrize(
    ("sampling", "warpers"),
    [
        (SHORT, {"top_k": 250, "temperature": 1.0}),
        (dataclasses.replace(SHORT, top_k=5, temperature=0.7, seed=3), {"top_k": 5, "temperature": 0.7}),
        # as in audiocraft, top_p replaces top_k
        (dataclasses.replace(SHORT, top_k=5, top_p=0.4), {"top_k": 0, "top_p": 0.4}),
    ],
)
def test_sampled_musicgen_is_the_plain_generate(
    folders: dict[str, Path], load: Callable[..., Any], sampling: Sampling, warpers: dict[str, Any]
) -> None:
    import transformers

    (clip,) = load("musicgen")(PROMPTS[1:2], sampling)
    network = transformers.MusicgenForConditionalGeneration.from_pretrained(folders["musicgen"]).eval()
    text = transformers.AutoTokenizer.from_pretrained(folders["musicgen"])(PROMPTS[1].text, return_tensors="pt")
    torch.manual_seed(noise_seed(sampling.seed, "b"))
    wave = network.generate(**text, do_sample=True, guidance_scale=3.0, max_new_tokens=13, **warpers)[0]
    np.testing.assert_array_equal(clip.samples, wave.numpy())


def test_vits_is_the_plain_forward(folders: dict[str, Path], load: Callable[..., Any]) -> None:
    import transformers

    (clip,) = load("vits")(PROMPTS[:1], Sampling(duration=30.0))
    network = transformers.VitsModel.from_pretrained(folders["vits"]).eval()
    text = transformers.AutoTokenizer.from_pretrained(folders["vits"])(PROMPTS[0].text, return_tensors="pt")
    torch.manual_seed(noise_seed(0, "a"))
    with torch.no_grad():
        wave = network(**text).waveform
    assert clip.rate == 16000
    np.testing.assert_array_equal(clip.samples, wave.numpy())
    assert 1000 < clip.samples.shape[1] < 30 * 16000, "a short clip stays short"
    (cut,) = load("vits")(PROMPTS[:1], Sampling(duration=0.05))
    np.testing.assert_array_equal(cut.samples, clip.samples[:, :800])


def test_bark_is_the_plain_generate(folders: dict[str, Path], load: Callable[..., Any]) -> None:
    import transformers

    run = load("bark")
    (clip,) = run(PROMPTS[:1], dataclasses.replace(SHORT, top_k=20, temperature=0.8))
    network = transformers.BarkModel.from_pretrained(folders["bark"]).eval()
    text = transformers.AutoProcessor.from_pretrained(folders["bark"])(PROMPTS[0].text)
    assert text.input_ids.shape == (1, 256)
    both = {"do_sample": True, "top_k": 20, "top_p": 1.0, "temperature": 0.8}
    stages = {f"{stage}_{key}": value for stage in ("semantic", "coarse") for key, value in both.items()}
    torch.manual_seed(noise_seed(0, "a"))
    # 49.9 semantic tokens a second
    wave = network.generate(**text, **stages, semantic_max_new_tokens=10)
    assert clip.rate == 24000 and clip.samples.shape[0] == 1
    np.testing.assert_array_equal(clip.samples, wave.numpy()[:, :4800])
    assert clip.samples.std() > 1e-3


def test_new_tokens_from_a_frame_rate() -> None:
    import transformers

    csm = SimpleNamespace(config=transformers.CsmConfig())
    assert hf_text_to_audio.generation(csm, Sampling())["max_new_tokens"] == 125  # Mimi has 12.5 frames a second
    assert "guidance_scale" not in hf_text_to_audio.generation(csm, Sampling())
    unknown = SimpleNamespace(config=SimpleNamespace(model_type="x"))
    assert "max_new_tokens" not in hf_text_to_audio.generation(unknown, Sampling())


# -- a clip depends on its own key alone ------------------------------------------------------------


@pytest.mark.parametrize("name", ["musicgen", "vits"])
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
        (PROMPTS[0], dataclasses.replace(SHORT, temperature=0.5)),
        (PROMPTS[0], dataclasses.replace(SHORT, guidance_scale=1.0)),
        (dataclasses.replace(PROMPTS[0], id="a#2"), SHORT),
    ],
)
def test_every_part_of_the_key_matters(load: Callable[..., Any], prompt: Prompt, sampling: Sampling) -> None:
    run = load("musicgen")
    assert (run([prompt], sampling)[0].samples != run(PROMPTS[:1], SHORT)[0].samples).any()


# -- what is said, and what fails -------------------------------------------------------------------


@pytest.fixture
def broken(folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(folders[name], tmp_path / "checkpoint"))


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_long_prompts_are_truncated_and_one_warning_says_so(
    broken: Callable[[str], Path], cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    folder = broken("musicgen")
    edit(folder / "tokenizer_config.json", model_max_length=12)
    run: Any = HFTextToAudio(id=str(folder)).load(cache, ENGINE)  # has its pipeline as an attribute
    tokens = run.pipeline.tokenizer(PROMPTS[1].text).input_ids
    kept = run.pipeline.tokenizer(PROMPTS[1].text, truncation=True, max_length=12).input_ids
    assert len(tokens) > 12 and kept == [*tokens[:11], tokens[-1]]
    with caplog.at_level(logging.INFO, "evalkit"):
        clips = run([PROMPTS[1], Prompt("d", PROMPTS[1].text + " that goes on")], SHORT)
    assert [r.levelname for r in caplog.records if r.name.startswith("evalkit")] == ["WARNING", "INFO"]
    assert f"prompt 'b' has {len(tokens)} tokens, of which the model reads 12" in caplog.text
    assert "2 truncated so far" in caplog.text
    # what the model got is the shorter text
    short = run.pipeline.tokenizer.decode(kept[:-1])
    assert run.pipeline.tokenizer(short).input_ids == kept
    np.testing.assert_array_equal(clips[0].samples, run([Prompt("b", short)], SHORT)[0].samples)


@pytest.mark.parametrize(("words", "warnings"), [(256, 0), (257, 1)])
def test_bark_reads_256_tokens(
    load: Callable[..., Any], caplog: pytest.LogCaptureFixture, words: int, warnings: int
) -> None:
    (clip,) = load("bark")([Prompt("x", "a " * words)], SHORT)
    assert clip.samples.std() > 1e-3
    assert caplog.text.count(f"prompt 'x' has {words} tokens, of which the model reads 256") == warnings


def test_options_without_effect_are_said_once(load: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    run = load("vits")
    prompts = [dataclasses.replace(PROMPTS[0], melody=Path("x.wav"))]
    run(prompts, dataclasses.replace(SHORT, top_k=5, guidance_scale=2.0))
    run(prompts, dataclasses.replace(SHORT, top_k=5, guidance_scale=2.0))
    assert [r.getMessage().partition(": ")[2] for r in caplog.records] == [
        "sampling.top_k, sampling.guidance_scale means nothing to this model",
        "this model gets captions only: melodies and continuations are not used",
    ]
    caplog.clear()
    load("vits")(PROMPTS[:1], SHORT)
    load("musicgen")(PROMPTS[:1], dataclasses.replace(SHORT, top_k=5, top_p=0.5, temperature=2.0, guidance_scale=2.0))
    assert not caplog.records


@pytest.mark.parametrize(("name", "part"), [("musicgen", "decoder"), ("vits", "decoder")])
def test_nan_stays_nan(load: Callable[..., Any], name: str, part: str) -> None:
    run = load(name)

    def spoil(module: Any, inputs: Any, output: Any) -> Any:
        if torch.is_tensor(output):
            return output * math.nan
        output.logits = output.logits * math.nan
        return output

    getattr(run.pipeline.model, part).register_forward_hook(spoil)
    (clip,) = run(PROMPTS[:1], SHORT)
    assert clip.samples.size and np.isnan(clip.samples).all()


def test_a_caption_without_a_known_letter_makes_no_samples(load: Callable[..., Any], cache: Cache) -> None:
    run = load("vits")
    run.pipeline.tokenizer.add_blank = False
    (clip,) = run([Prompt("x", "音楽")], SHORT)
    assert clip.samples.shape == (1, 0)


def drop_weight(folder: Path, key: str) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights[key]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def spoil_weight(folder: Path, key: str) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights[key].view(-1)[0] = math.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


VITS_WEIGHT = "text_encoder.project.weight"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "has no config.json"),
        (lambda f: (f / "config.json").write_text("{"), r"config.json' is damaged"),
        (lambda f: edit(f / "config.json", model_type="bert"), "a model of type 'bert', not one of bark, csm"),
        (lambda f: edit(f / "config.json", model_type="speecht5"), "a model of type 'speecht5', not one of"),
        (lambda f: edit(f / "config.json", hidden_size=32), "do not fit its config.json, such as"),
        (lambda f: edit(f / "config.json", hidden_size="x"), "cannot be loaded: delete it and get it again"),
        (lambda f: (f / "model.safetensors").unlink(), "has no weights"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x" * 100), "cannot be loaded: delete it and get it again"),
        (lambda f: drop_weight(f, VITS_WEIGHT), f"lacks 1 of the model's weights, such as '{VITS_WEIGHT}'"),
        (lambda f: spoil_weight(f, VITS_WEIGHT), f"NaN or infinite weights in float32, such as '{VITS_WEIGHT}'"),
        (lambda f: (f / "vocab.json").unlink(), "has no tokenizer files"),
    ],
)
def test_a_damaged_checkpoint_is_one_clear_line(
    broken: Callable[[str], Path], cache: Cache, damage: Callable[[Path], Any], message: str
) -> None:
    folder = broken("vits")
    damage(folder)
    with pytest.raises(EvalkitError, match=message) as caught:
        HFTextToAudio(id=str(folder)).load(cache, ENGINE)
    assert "\n" not in str(caught.value)


def test_bad_arguments_are_one_clear_line(load: Callable[..., Any]) -> None:
    with pytest.raises(EvalkitError, match=r"'a' cannot be generated: .*no_such_option"):
        load("musicgen", no_such_option=1)(PROMPTS, SHORT)
    with pytest.raises(EvalkitError, match="generate_kwargs may not hold num_return_sequences"):
        HFTextToAudio(id="a/b", generate_kwargs={"num_return_sequences": 2}).check(Sampling())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"not set: .*model=hf_text_to_audio model\.hf_text_to_audio\.id=suno/bark-small"),
        ({"id": "a/b/c"}, "neither a folder nor a hub id"),
        ({"id": "a b"}, "neither a folder nor a hub id"),
        ({"id": ".", "revision": "main"}, "a folder, which has no revision"),
    ],
)
def test_an_id_that_is_none(given: dict[str, Any], message: str) -> None:
    with pytest.raises(EvalkitError, match=message):
        HFTextToAudio(**given)


def test_the_id_is_a_repository_or_a_folder(folders: dict[str, Path], cache: Cache) -> None:
    remote = HFTextToAudio(id="facebook/musicgen-small", revision="abc")
    assert (remote.checkpoint.repo, remote.checkpoint.revision) == ("facebook/musicgen-small", "abc")
    assert remote.published == "facebook/musicgen-small", "what published numbers are joined on"
    assert HFTextToAudio(id="me/mine", published="facebook/musicgen-small").published == "facebook/musicgen-small"
    assert not remote.random
    with pytest.raises(EvalkitError, match="run 'evalkit fetch'"):
        remote.load(cache, ENGINE)
    local = HFTextToAudio(id=str(folders["musicgen"]))
    assert local.random and local.published is None, "made-up weights are known as such"
    assert not HFTextToAudio(id=str(folders["vits"])).random
    with pytest.raises(EvalkitError, match="does not exist"):
        HFTextToAudio(id="./nowhere").load(cache, ENGINE)


def test_options_of_the_command_line_reach_the_model() -> None:
    options = ["id=suno/bark-small", "revision=abc", "generate_kwargs={do_sample: false}"]
    node = config.compose(["model=hf_text_to_audio", "prompts=demo", *(f"model.hf_text_to_audio.{o}" for o in options)])
    model = config.build(node.model.hf_text_to_audio)
    assert model == HFTextToAudio(id="suno/bark-small", revision="abc", generate_kwargs={"do_sample": False})
    assert model.checkpoint in assets_of(model), "what evalkit fetch brings"


def test_identity_is_the_content(broken: Callable[[str], Path], folders: dict[str, Path], cache: Cache) -> None:
    copy = broken("vits")
    here = identity(HFTextToAudio(id=str(folders["vits"])), cache)
    assert identity(HFTextToAudio(id=str(copy)), cache) == here
    assert identity(HFTextToAudio(id=str(copy), generate_kwargs={"a": 1}), cache) != here


def test_clips_are_generated_and_stored(folders: dict[str, Path], cache: Cache, load: Callable[..., Any]) -> None:
    model = HFTextToAudio(id=str(folders["musicgen"]))
    clips = clips_of(model, PROMPTS, SHORT, cache, ENGINE, "x")
    assert [(c.id, c.status, c.channels, c.sample_rate, c.frames) for c in clips] == [
        (p.id, "ok", 2, 32000, 6400) for p in PROMPTS
    ]
    for clip, made in zip(clips, load("musicgen")(PROMPTS, SHORT), strict=True):
        assert clip.path is not None
        np.testing.assert_allclose(audio.read(clip.path).samples / clip.gain, made.samples, atol=2**-23)
    assert clips_of(model, PROMPTS, SHORT, cache, ENGINE, "x") == clips
