"""MusicGen through transformers: sampling, batching, loading; on tiny checkpoints of random weights."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from evalkit import compat, config
from evalkit.assets import Asset
from evalkit.decoding.sampler import Sampler
from evalkit.errors import EvalkitError
from evalkit.models import tiny
from evalkit.models.musicgen import MusicGen
from evalkit.models.tiny import TinyStereo
from evalkit.settings import Sampling, conf_dir
from evalkit.store.cache import Cache
from evalkit.store.identity import identity
from evalkit.types import Prompt
from tests.conftest import ROOT
from tests.engines import CPU, cpu

compat.prepare()

# as the repositories of Meta's MusicGen are named on the hub
HUB_IDS = {
    f"facebook/musicgen-{stereo}{kind}"
    for stereo in ("", "stereo-")
    for kind in ("small", "medium", "large", "melody", "melody-large")
}
SHORT = Sampling(duration=0.2)
PROMPTS = [
    Prompt("a", "a slow piano"),
    Prompt("b", "fast drums and a distorted guitar over a long, dark and very slowly changing drone"),
    Prompt("c", "a string quartet, recorded in a church, with birds outside; " * 3),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def folder(cache: Cache) -> Path:
    return TinyStereo().folder(cache)


@pytest.fixture(scope="module")
def run(cache: Cache, folder: Path) -> Any:
    return TinyStereo().load(cache, CPU)


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint, to be damaged."""
    return Path(shutil.copytree(folder, tmp_path / "checkpoint"))


def tokens(run: Any, prompts: list[Prompt], sampling: Sampling = SHORT) -> np.ndarray:
    """The codes that a model chooses: (clips, codebooks, frames)."""
    return np.stack([run.codes([prompt], sampling, 1)[0] for prompt in prompts])


def local(folder: Path, **fields: Any) -> MusicGen:
    return MusicGen(Asset("test checkpoint", path=str(folder)), **fields)


# -- sampling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_cold_limit_is_the_greedy_search_of_transformers(run: Any, scale: float) -> None:
    from transformers import GenerationConfig

    ours = run(PROMPTS, Sampling(duration=1.0, temperature=1e-6, guidance_scale=scale))
    text = run.tokenizer([p.text for p in PROMPTS], padding=True, return_tensors="pt")
    theirs = run.network.generate(
        **text, generation_config=GenerationConfig(do_sample=False, guidance_scale=scale, max_new_tokens=53)
    )
    for clip, wave in zip(ours, theirs.numpy(), strict=True):
        np.testing.assert_allclose(clip.samples, wave, atol=1e-6)


# -- a clip depends on its own key alone ------------------------------------------------------------


def test_batch_mates_and_order_do_not_matter(run: Any) -> None:
    sampling = Sampling(duration=1.0)
    together = tokens(run, PROMPTS, sampling)
    backwards = tokens(run, PROMPTS[::-1], sampling)[::-1]
    alone = np.concatenate([tokens(run, [p], sampling) for p in PROMPTS])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, backwards)
    torch.manual_seed(5)  # of the global generator
    np.testing.assert_array_equal(tokens(run, PROMPTS, sampling), together)
    for clip, single in zip(run(PROMPTS, sampling), PROMPTS, strict=True):
        np.testing.assert_allclose(clip.samples, run([single], sampling)[0].samples, atol=1e-5)


@pytest.mark.parametrize(
    ("prompt", "sampling"),
    [
        (PROMPTS[0], dataclasses.replace(SHORT, seed=1)),
        (PROMPTS[0], dataclasses.replace(SHORT, guidance_scale=1.0)),
        (PROMPTS[0], dataclasses.replace(SHORT, temperature=0.5)),
        (PROMPTS[0], dataclasses.replace(SHORT, top_k=5)),
        (PROMPTS[0], dataclasses.replace(SHORT, top_p=0.3)),
        (dataclasses.replace(PROMPTS[0], id="other"), SHORT),
        (dataclasses.replace(PROMPTS[0], text="a slow organ"), SHORT),
    ],
)
def test_every_part_of_the_key_matters(run: Any, prompt: Prompt, sampling: Sampling) -> None:
    assert (tokens(run, [prompt], sampling) != tokens(run, [PROMPTS[0]])).any()


def test_a_longer_clip_starts_like_a_shorter_one(run: Any) -> None:
    short = tokens(run, PROMPTS[:1], Sampling(duration=0.2))
    long = tokens(run, PROMPTS[:1], Sampling(duration=0.4))
    # in its last three steps the shorter one has no more new frames
    np.testing.assert_array_equal(long[:, :, : short.shape[2] - 3], short[:, :, :-3])
    # transformers drops the delays of shorter ones
    assert tokens(run, PROMPTS[:1], Sampling(duration=0.001)).shape == (1, 8, 4)


# -- audio ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("duration", [0.001, 0.02, 0.05, 1 / 3, 1.0, 1.00003])
def test_clips_have_the_exact_length(run: Any, duration: float) -> None:
    (clip,) = run(PROMPTS[:1], Sampling(duration=duration))
    assert clip.rate == 32000
    assert clip.samples.shape == (2, round(duration * 32000))
    assert clip.samples.dtype == np.float32


def test_tiny_stereo_is_audible_and_stereo(run: Any) -> None:
    for clip in run(PROMPTS, Sampling(duration=2.0)):
        left, right = clip.samples
        assert np.isfinite(clip.samples).all()
        assert np.abs(clip.samples).max() < 1
        assert clip.samples.std() > 0.05
        assert abs(np.corrcoef(left, right)[0, 1]) < 0.5


def test_captions_of_any_length_and_script(run: Any) -> None:
    texts = ["", "音楽 \N{MUSICAL NOTE} <b>", "\n", "drum and bass, 174 bpm. " * 90]
    assert len(texts[-1]) > 2_000
    for clips in (run([Prompt("x", text) for text in texts[:3]], SHORT), run([Prompt("x", texts[3])], SHORT)):
        assert all(np.isfinite(clip.samples).all() for clip in clips)


def test_a_failed_clip_is_nan_and_its_neighbours_are_not(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original, step = Sampler.__call__, iter(range(1000))

    def overflow(self: Sampler, logits: Any, *rest: Any) -> Any:
        if next(step) == 3:
            logits[0, 1, 0, 7] = float("inf")  # the second clip
        return original(self, logits, *rest)

    prompts = [dataclasses.replace(PROMPTS[0], id=i) for i in "abc"]
    expected = run(prompts, SHORT)
    monkeypatch.setattr(Sampler, "__call__", overflow)
    clips = run(prompts, SHORT)
    assert np.isnan(clips[1].samples).all()
    for i in (0, 2):
        np.testing.assert_array_equal(clips[i].samples, expected[i].samples)


def test_only_the_language_model_takes_the_lower_precision(cache: Cache) -> None:
    run = TinyStereo().load(cache, cpu("bfloat16"))
    kinds = {
        name: {p.dtype for p in getattr(run.network, name).parameters()}
        for name in ("decoder", "text_encoder", "audio_encoder", "enc_to_dec_proj")
    }
    assert kinds.pop("decoder") == {torch.bfloat16}
    assert set.union(*kinds.values()) == {torch.float32}
    clips = run(PROMPTS, SHORT)
    assert all(np.isfinite(clip.samples).all() and clip.samples.shape == (2, 6400) for clip in clips)


# -- loading ----------------------------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_loading_uses_no_network_and_says_nothing(folder: Path, cache: Cache, capfd: Any) -> None:
    local(folder).load(cache, CPU)(PROMPTS[:1], SHORT)
    assert capfd.readouterr() == ("", "")


def test_the_checkpoint_cannot_change_the_sampling(run: Any, broken: Path, cache: Cache) -> None:
    path = broken / "generation_config.json"
    defaults = json.loads(path.read_text())
    assert defaults["max_length"] == 1500  # as published
    defaults |= {"top_k": 1, "temperature": 0.1, "eos_token_id": 7, "repetition_penalty": 9.0, "min_new_tokens": 400}
    defaults |= {"suppress_tokens": list(range(2000)), "num_return_sequences": 2, "guidance_scale": 9.0}
    path.write_text(json.dumps(defaults))
    changed = local(broken).load(cache, CPU)
    np.testing.assert_array_equal(tokens(changed, PROMPTS), tokens(run, PROMPTS))


def as_published(folder: Path) -> None:
    """Rewrite a checkpoint as transformers 4.31 wrote the ones on the hub.

    Weight norm under its old names, half precision, two shards; configurations with the old names and
    with generation parameters in them; the other files of the repositories beside them.
    """
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    renamed = {}
    for key, tensor in weights.items():
        for new, before in names.items():
            key = key.replace(new, before)
        renamed[key] = tensor.half() if tensor.is_floating_point() else tensor
    assert any(key.endswith("conv.weight_g") for key in renamed)
    index: dict[str, str] = {}
    for number in (1, 2):
        name = f"model-0000{number}-of-00002.safetensors"
        shard = {key: t.contiguous() for i, (key, t) in enumerate(renamed.items()) if i % 2 == number - 1}
        save_file(shard, folder / name, metadata={"format": "pt"})
        index |= dict.fromkeys(shard, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    (folder / "model.safetensors.index.fp32.json").write_text("{}")
    (folder / "state_dict.bin").write_bytes(b"not to be read")

    values = json.loads((folder / "config.json").read_text())
    old = {
        **{
            "max_length": 20,
            "do_sample": False,
            "num_beams": 1,
            "top_k": 50,
            "temperature": 1.0,
            "use_bfloat16": False,
        },
        "bad_words_ids": None,
        "torch_dtype": "float16",
        "transformers_version": "4.31.0.dev0",
        "torchscript": False,
    }
    for part in ("audio_encoder", "decoder", "text_encoder"):
        values[part] |= old
    values["torch_dtype"] = values.pop("dtype").replace("float32", "float16")
    values["transformers_version"] = None
    (folder / "config.json").write_text(json.dumps(values))


@pytest.mark.usefixtures("no_network")
def test_loads_the_layout_of_the_published_files(run: Any, broken: Path, cache: Cache) -> None:
    as_published(broken)
    loaded = local(broken).load(cache, CPU)
    expected = run.network.state_dict()
    for key, tensor in loaded.network.state_dict().items():
        torch.testing.assert_close(tensor, expected[key].half().to(tensor.dtype), rtol=0, atol=0)
    (clip,) = loaded(PROMPTS[:1], SHORT)
    assert clip.samples.std() > 0.05


@pytest.mark.parametrize("half", ["text_encoder", "audio_encoder"])
def test_loads_only_complete_weights(broken: Path, cache: Cache, half: str) -> None:
    from safetensors.torch import load_file, save_file

    weights = {k: t for k, t in load_file(broken / "model.safetensors").items() if not k.startswith(half)}
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EvalkitError, match=f"lacks .* weights, such as '{half}"):
        local(broken).load(cache, CPU)


def test_codebooks_must_be_there(broken: Path, cache: Cache) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(broken / "model.safetensors")
    buffers = [k for k in weights if k.endswith(("codebook.embed_avg", "codebook.inited", "codebook.cluster_size"))]
    kept = {k: t for k, t in weights.items() if k not in buffers}
    save_file(kept, broken / "model.safetensors", metadata={"format": "pt"})
    local(broken).load(cache, CPU)  # those serve training only
    kept = {k: t for k, t in kept.items() if not k.endswith("layers.2.codebook.embed")}
    save_file(kept, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EvalkitError, match=r"lacks 1 .*layers\.2\.codebook\.embed"):
        local(broken).load(cache, CPU)


def test_pickled_weights_are_read_as_tensors_only(run: Any, broken: Path, cache: Cache, tmp_path: Path) -> None:
    """musicgen-medium and -large have no safetensors on the hub."""
    from safetensors.torch import load_file

    weights = load_file(broken / "model.safetensors")
    (broken / "model.safetensors").unlink()
    torch.save(weights, broken / "pytorch_model.bin")
    loaded = local(broken).load(cache, CPU).network.state_dict()
    for key, tensor in run.network.state_dict().items():
        assert torch.equal(loaded[key], tensor)

    class Attack:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "attacked"),)

    for save in (lambda file: torch.save({"a": Attack()}, file), lambda file: pickle.dump({"a": Attack()}, file, 2)):
        with (broken / "pytorch_model.bin").open("wb") as file:
            save(file)
        with pytest.raises(EvalkitError, match=r"cannot be loaded.*\(it holds more than tensors, and is not read\)"):
            local(broken).load(cache, CPU)
        assert not (tmp_path / "attacked").exists()


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def poison(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["decoder.lm_heads.3.weight"][5, 5] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def reshape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["decoder"]["ffn_dim"] = 96
    (folder / "config.json").write_text(json.dumps(config))


def change_decoder(folder: Path, **changes: Any) -> None:
    decoder = json.loads((folder / "config.json").read_text())["decoder"]
    change_config(folder, decoder=decoder | changes)


def forget(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).unlink()


def lose_a_shard(folder: Path) -> None:
    as_published(folder)
    forget(folder, "model-00002-of-00002.safetensors")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: forget(f, "config.json"), "is not a checkpoint"),
        (lambda f: cut(f / "config.json", 0.5), "config.json' is damaged"),
        (lambda f: (f / "config.json").write_text("[]"), "model of type 'None'"),
        (lambda f: change_config(f, model_type="bart"), "model of type 'bart'"),
        (lambda f: change_config(f, decoder=7), "cannot be loaded"),
        (reshape, "do not fit its config.json, such as 'decoder"),
        (lambda f: change_decoder(f, num_hidden_layers=1), r"weights that its config.json has no place for.*layers\.1"),
        (lambda f: change_decoder(f, num_codebooks=4), r"has no place for, such as '.*lm_heads\.4"),
        (lambda f: change_decoder(f, audio_channels=1), "has 8 codebooks for 1 channels, and the codec has 4 for each"),
        (
            lambda f: change_decoder(f, codebook_delays=[0, 1]),
            r"codebook_delays are \[0, 1\]: there must be one for each",
        ),
        (lambda f: change_decoder(f, codebook_delays=[-1] * 8), "codebook_delays are"),
        (lambda f: change_decoder(f, codebook_delays="abc"), "codebook_delays are 'abc'"),
        (lambda f: change_decoder(f, segment_duration=0), "segment_duration=0: must be 1 to 3600 seconds"),
        (lambda f: forget(f, "model.safetensors"), "has no weights"),
        (lambda f: cut(f / "model.safetensors", 0.9), "cannot be loaded"),
        (lambda f: cut(f / "model.safetensors", 0.001), "cannot be loaded"),
        (lambda f: cut(f / "model.safetensors", 0), "cannot be loaded"),
        (lose_a_shard, "cannot be loaded"),
        (poison, "NaN or infinite weights.*lm_heads.3"),
        (lambda f: forget(f, "tokenizer.json"), "tokenizer"),
        (lambda f: forget(f, "tokenizer.json", "tokenizer_config.json"), "tokenizer"),
        (lambda f: (f / "tokenizer.json").write_text(""), "tokenizer"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer"),
        (lambda f: cut(f / "tokenizer.json", 0.5), "tokenizer"),
    ],
)
def test_damage_is_one_line(broken: Path, cache: Cache, damage: Callable[[Path], Any], message: str) -> None:
    damage(broken)
    with pytest.raises(EvalkitError, match=message) as error:
        local(broken).load(cache, CPU)
    assert "\n" not in str(error.value)


def test_a_missing_checkpoint_is_one_line(tmp_path: Path, cache: Cache) -> None:
    with pytest.raises(EvalkitError, match="does not exist"):
        local(tmp_path / "absent").load(cache, CPU)
    (tmp_path / "file").write_text("")
    with pytest.raises(EvalkitError, match="is not a checkpoint"):
        local(tmp_path / "file").load(cache, CPU)


# -- other architectures ----------------------------------------------------------------------------


def write_variant(source: Path, target: Path, melody: bool) -> None:
    """Write a checkpoint with four codebooks: mono, or mono with a melody input."""
    import transformers

    base = transformers.MusicgenConfig.from_pretrained(source)
    sizes = {"num_codebooks": 4, "audio_channels": 1, "hidden_size": 32, "ffn_dim": 64, "initializer_factor": 0.3}
    sizes |= {"num_hidden_layers": 2, "num_attention_heads": 2}
    parts = {"text_encoder": base.text_encoder, "audio_encoder": base.audio_encoder}
    torch.manual_seed(0)
    if melody:
        decoder = transformers.MusicgenMelodyDecoderConfig(**sizes)
        network = transformers.MusicgenMelodyForConditionalGeneration(
            transformers.MusicgenMelodyConfig(**parts, decoder=decoder)
        )
    else:
        decoder = transformers.MusicgenDecoderConfig(**sizes)
        network = transformers.MusicgenForConditionalGeneration(transformers.MusicgenConfig(**parts, decoder=decoder))
    with torch.inference_mode():
        tiny.make_audible(network.audio_encoder)
    network.save_pretrained(target)
    for path in source.glob("tokenizer*"):
        shutil.copy(path, target)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("melody", [False, True], ids=["mono", "melody"])
def test_mono_and_melody_checkpoints(folder: Path, cache: Cache, tmp_path: Path, melody: bool) -> None:
    write_variant(folder, tmp_path / "mono", melody)
    model = local(tmp_path / "mono", published="facebook/musicgen-small")
    assert not model.random
    run = model.load(cache, CPU)
    sampling = Sampling(duration=1.0)
    clips = run(PROMPTS, sampling)
    assert [clip.samples.shape for clip in clips] == [(1, 32000)] * 3
    assert all(clip.samples.std() > 0.05 for clip in clips)
    # the text's padding is not masked in a melody model
    alone = [tokens(run, [p], sampling) for p in PROMPTS]
    for clip, prompt in zip(clips, PROMPTS, strict=True):
        np.testing.assert_allclose(clip.samples, run([prompt], sampling)[0].samples, atol=1e-5)
    text = [dataclasses.replace(PROMPTS[0], text="another caption")]
    assert (tokens(run, text, sampling) != alone[0]).any()
    low = model.load(cache, cpu("bfloat16"))
    assert low(PROMPTS, SHORT)[2].samples.shape == (1, 6400)


# -- configuration ----------------------------------------------------------------------------------


def models() -> Iterator[tuple[str, Any]]:
    for path in sorted((conf_dir() / "model").glob("musicgen_*.yaml")):
        for name, node in OmegaConf.load(path).items():
            assert name == path.stem
            yield str(name), config.build(node)


def test_each_published_checkpoint_has_its_yaml() -> None:
    built = dict(models())
    assert {model.published for model in built.values()} == HUB_IDS
    for name, model in built.items():
        assert isinstance(model, MusicGen)
        assert model.published == model.checkpoint.repo == "facebook/" + name.replace("_", "-")
        assert model.checkpoint.licence == "CC-BY-NC-4.0"
        assert not model.random


# what the repositories hold, from their listings on the hub
COMMON = ["config.json", "generation_config.json", "preprocessor_config.json", "special_tokens_map.json"]
COMMON += ["spiece.model", "tokenizer.json", "tokenizer_config.json", "state_dict.bin", "compression_state_dict.bin"]
SHARDED = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
REPOSITORIES = {
    "musicgen_small": ["model.safetensors", "pytorch_model.bin"],
    "musicgen_medium": ["pytorch_model.bin"],
    "musicgen_large": ["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"],
    "musicgen_melody": SHARDED,
    "musicgen_stereo_small": ["model.safetensors", "model.fp32.safetensors", "pytorch_model.bin"],
    "musicgen_stereo_medium": ["model.safetensors", "model.safetensors.index.fp32.json", "pytorch_model.bin"],
    "musicgen_stereo_large": [*SHARDED, "pytorch_model-00001-of-00002.bin", "model.safetensors.index.fp32.json"],
    "musicgen_stereo_melody": SHARDED,
}


@pytest.mark.parametrize("name", REPOSITORIES)
def test_what_is_fetched_is_complete_and_not_twice(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub
    from huggingface_hub.utils import filter_repo_objects

    present = COMMON + REPOSITORIES[name]

    def snapshot(repo: str, *, allow_patterns: list[str], **options: Any) -> str:
        for file in filter_repo_objects(present, allow_patterns=allow_patterns):
            stem, _, suffix = file.removesuffix(".index.json").rpartition(".")
            shards = [f for f in present if f.startswith(f"{stem}-0") and f.endswith(suffix)]
            index = json.dumps({"weight_map": {shard: shard for shard in shards}})
            (tmp_path / file).write_text(index if file.endswith(".index.json") else "")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    model = dict(models())[name]
    assert model.checkpoint.find(Cache(tmp_path / "cache")) == tmp_path
    fetched = {path.name for path in tmp_path.iterdir()}
    assert not fetched & {"state_dict.bin", "compression_state_dict.bin", "model.fp32.safetensors"}
    weights = {f for f in fetched if f.endswith((".safetensors", ".bin"))}
    assert weights
    assert len({f.rsplit(".", 1)[1] for f in weights}) == 1  # either kind, not both


def test_a_made_up_checkpoint_is_never_taken_for_a_real_one(folder: Path) -> None:
    assert TinyStereo.random and TinyStereo.published is None
    assert local(folder, published="facebook/musicgen-stereo-medium").random
    assert "seeded random weights" in (folder / "config.json").read_text()


def test_identity_is_content_not_name(folder: Path, broken: Path, cache: Cache) -> None:
    assert identity(local(folder, published="x"), cache) == identity(local(broken), cache)
    (broken / "generation_config.json").unlink()
    assert identity(local(folder), cache) != identity(local(broken), cache)
    assert identity(TinyStereo(0), cache) != identity(TinyStereo(1), cache)


def test_tiny_checkpoints_are_made_once_and_depend_on_the_seed(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    state = torch.random.get_rng_state()
    first = TinyStereo(0).folder(cache)
    assert torch.equal(torch.random.get_rng_state(), state)
    made = (first / "model.safetensors").stat().st_mtime_ns
    assert TinyStereo(0).folder(cache) == first
    assert (first / "model.safetensors").stat().st_mtime_ns == made
    other = TinyStereo(1).folder(cache)
    assert (first / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()
    assert first.parent != other.parent and {first.parent.parent, other.parent.parent} == {cache.root / "checkpoints"}
    again = TinyStereo(0).folder(Cache(tmp_path / "again"))
    assert (first / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path, seed: int) -> None:
        (folder / "config.json").write_text("{}")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tiny, "write_checkpoint", fail)
    with pytest.raises(EvalkitError, match="no space left"):
        TinyStereo().folder(Cache(tmp_path))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


LIMITED = """
import resource, sys
from pathlib import Path
from evalkit.errors import EvalkitError
from evalkit.models.tiny import TinyStereo
from evalkit.store.cache import Cache
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
try:
    TinyStereo().folder(Cache(sys.argv[2]))
except EvalkitError as error:
    print(error)
"""


@pytest.mark.parametrize("size", [200, 1500, 100_000])  # config.json, the tokenizer, and the tensors do not fit
def test_what_cannot_be_written_is_one_line_whichever_package_writes_it(tmp_path: Path, size: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(size), str(tmp_path)],
        capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"cannot write '.*checkpoints.*': File too large: choose another folder\n", done.stdout)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_clips_longer_than_the_positions_are_refused(broken: Path, cache: Cache) -> None:
    path = broken / "config.json"
    values = json.loads(path.read_text())
    values["decoder"]["max_position_embeddings"] = 104
    path.write_text(json.dumps(values))
    run = local(broken).load(cache, CPU)
    assert run(PROMPTS[:1], Sampling(duration=2.0))[0].samples.shape == (2, 64000)
    with pytest.raises(EvalkitError, match=r"duration=2.1: test checkpoint has 104 positions, which last 2 s"):
        run(PROMPTS[:1], Sampling(duration=2.1))


def test_a_damaged_tiny_checkpoint_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(tmp_path)
    weights = TinyStereo().folder(cache) / "model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1000] + bytes(1000))
    assert TinyStereo().folder(cache) == weights.parent
    assert weights.read_bytes() == good
    assert "is made again" in caplog.text
    modified = weights.stat().st_mtime_ns
    assert TinyStereo().folder(cache) == weights.parent and weights.stat().st_mtime_ns == modified
    for seal in (b"\xff\xfe\x00", b"", b"0" * 64):
        weights.parent.with_name(f"{weights.parent.name}.sha256").write_bytes(seal)
        assert TinyStereo().folder(cache) == weights.parent and weights.read_bytes() == good


def test_a_caption_of_too_many_tokens_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.decoding.model.LONGEST_TEXT", 40)
    run = TinyStereo().load(Cache(tmp_path), CPU)
    assert run.group(Prompt("short", "x" * 20), SHORT)
    with pytest.raises(EvalkitError, match=r"the caption of prompt 'long' has .* tokens, 40 are the most"):
        run.group(Prompt("long", "x" * 200), SHORT)
