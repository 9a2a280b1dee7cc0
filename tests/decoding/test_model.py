"""A loaded MusicGen: clips as functions of their own key, windows, continuations, melodies."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from evalkit import audio
from evalkit.decoding import backend, codec
from evalkit.decoding.conditions import padded_length
from evalkit.decoding.sampler import Sampler
from evalkit.errors import EvalkitError
from evalkit.models.musicgen import runner
from evalkit.settings import Attention, Sampling
from evalkit.types import BatchSize, Prompt
from tests.decoding import plain_kernels
from tests.decoding.reference import Reference
from tests.engines import cpu
from tests.networks import network

SHORT = Sampling(duration=0.4)
PROMPTS = [Prompt(f"id{i}", text) for i, text in enumerate(["piano", "drums, bass", "a choir", "flute solo", "x"])]


class Words:
    """A tokenizer of letters."""

    def __call__(self, text: str, verbose: bool) -> Any:
        return type("Encoding", (), {"input_ids": [3 + ord(c) % 700 for c in text] + [1]})


def load(kind: str = "stereo", **engine: Any) -> Any:
    return runner("test", network(kind), Words(), cpu(**engine))


def codes(run: Any, prompts: list[Prompt], sampling: Sampling = SHORT, rows: int | None = None) -> np.ndarray:
    return np.stack(run.codes(prompts, sampling, rows or len(prompts)))


def write(path: Path, seconds: float, channels: int = 2, rate: int = 32000, seed: int = 0) -> Path:
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, (int(seconds * rate), channels))
    soundfile.write(path, samples, rate)
    return path


# -- a function of its own key ----------------------------------------------------------------------


@pytest.fixture
def one_thread() -> None:
    """More threads divide the work by the place in a batch."""
    assert torch.get_num_threads() == 1


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kind", ["mono", "stereo", "melody"])
def test_batch_mates_order_and_dummy_rows_change_no_bit(kind: str) -> None:
    run = load(kind)
    whole = codes(run, PROMPTS[:4], rows=4)
    np.testing.assert_array_equal(codes(run, PROMPTS[3::-1], rows=4)[::-1], whole)
    np.testing.assert_array_equal(codes(run, PROMPTS[1:3], rows=4), whole[1:3])
    for prompt, expected in zip(PROMPTS, whole, strict=False):
        mates = [prompt, dataclasses.replace(PROMPTS[4], text="y" * 30), PROMPTS[4]]
        np.testing.assert_array_equal(codes(run, mates, rows=4)[0], expected)
    # what was loaded anew, after other batches
    np.testing.assert_array_equal(codes(load(kind), PROMPTS[:4], rows=4), whole)


@pytest.mark.usefixtures("one_thread")
def test_logits_are_the_same_bits_beside_other_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the tokens: at a constant batch size no bit of a clip's logits changes."""
    seen: list[torch.Tensor] = []
    original = Sampler.__call__

    def spy(self: Any, logits: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        seen.append(logits[:, 0].clone())
        return original(self, logits, step)

    monkeypatch.setattr(Sampler, "__call__", spy)
    run = load()
    codes(run, PROMPTS[:3], rows=8)
    first, seen[:] = torch.stack(seen), []
    codes(run, [PROMPTS[0], PROMPTS[4]], rows=8)
    assert torch.equal(torch.stack(seen), first)


def test_another_batch_size_seldom_changes_a_token() -> None:
    run, sampling = load(), Sampling(duration=2.0)
    same = [codes(run, PROMPTS, sampling, rows) == codes(run, PROMPTS, sampling, 5) for rows in (6, 8, 16)]
    assert np.mean(same) > 0.99


def test_a_prompts_group_does_not_depend_on_others() -> None:
    assert [padded_length(n) for n in (1, 32, 33, 64, 65, 300)] == [32, 32, 64, 64, 128, 512]
    run = load()
    long = Prompt("long", "a" * 40)
    assert run.group(PROMPTS[0], SHORT) == run.group(PROMPTS[1], SHORT) != run.group(long, SHORT)
    mixed = run([PROMPTS[0], long, PROMPTS[1]], SHORT)
    for prompt, clip in zip([PROMPTS[0], long, PROMPTS[1]], mixed, strict=True):
        np.testing.assert_array_equal(run([prompt], SHORT)[0].samples, clip.samples)


def test_checkpoints_and_settings_share_noise() -> None:
    """Flat logits leave nothing but noise: two networks, and two settings, choose the same tokens."""

    def flat(seed: int) -> Any:
        net = network("stereo", seed=seed)
        for head in net.decoder.lm_heads:
            head.weight.data.zero_()
        return runner("test", net, Words(), cpu())

    first = codes(flat(0), PROMPTS[:2], dataclasses.replace(SHORT, top_k=0))
    np.testing.assert_array_equal(
        first, codes(flat(1), PROMPTS[:2], dataclasses.replace(SHORT, top_k=0, temperature=2))
    )
    assert (first != codes(flat(0), PROMPTS[:2], dataclasses.replace(SHORT, top_k=0, seed=1))).mean() > 0.9
    assert (first[0] != first[1]).mean() > 0.9


@pytest.mark.parametrize("kind", ["mono", "stereo", "melody"])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_generate_with_the_same_noise_chooses_the_same_tokens(kind: str, scale: float) -> None:
    prompts = [dataclasses.replace(p, text="y" * 20) for p in PROMPTS[:3]]
    sampling = Sampling(duration=1.0, guidance_scale=scale)
    mine = codes(load(kind), prompts, sampling)
    other = codes(Reference(load(kind)), prompts, sampling)
    assert (mine == other).mean() > 0.995


def test_delays_of_its_own() -> None:
    net = network("mono")
    net.config.decoder.codebook_delays = [0, 2, 2, 5]
    run = runner("test", net, Words(), cpu())
    assert codes(run, PROMPTS[:2]).shape == (2, 4, 20)


# -- longer, continued, with a melody ---------------------------------------------------------------


def test_long_clips_are_made_window_by_window() -> None:
    """As MusicGen._generate_tokens of audiocraft: each window continues the last part of the one before."""
    net = network("stereo")
    net.config.decoder.segment_duration = 1.0
    run = runner("test", net, Words(), cpu())
    sampling = Sampling(duration=2.3, extend_stride=0.6)
    whole = codes(run, PROMPTS[:2], sampling)
    assert (whole == codes(Reference(run), PROMPTS[:2], sampling)).mean() > 0.99
    assert whole.shape == (2, 8, 115)
    first = codes(run, PROMPTS[:2], Sampling(duration=1.0))
    np.testing.assert_array_equal(whole[:, :, :50], first)
    with torch.inference_mode():
        for start in (30, 60, 90):  # windows of 50 frames, each 30 frames later
            part = torch.full((2, 8, min(50, 115 - start)), -1)
            part[:, :, :20] = torch.from_numpy(whole[:, :, start : start + 20].astype(np.int64))
            sampler = Sampler([p.id for p in PROMPTS[:2]], 8, sampling, "cpu")
            captions = [run._tokens(p) for p in PROMPTS[:2]]
            texts = run.conditioner.encode(captions)
            made = run.window_codes(part, captions, texts, [None, None], sampler, start)
            np.testing.assert_array_equal(made.numpy(), whole[:, :, start : start + made.shape[2]])
    for stride in (1.0, 0.01):
        with pytest.raises(EvalkitError, match=f"extend_stride={stride:g}: test makes windows of 1 s"):
            run(PROMPTS[:2], dataclasses.replace(sampling, extend_stride=stride))


@pytest.mark.parametrize("kind", ["mono", "stereo"])
def test_a_continuation_begins_with_what_it_continues(kind: str, tmp_path: Path) -> None:
    run, sampling = load(kind), Sampling(duration=1.0)
    path = write(tmp_path / "a.wav", 0.4)
    prompt = dataclasses.replace(PROMPTS[0], continuation=path)
    (made,) = codes(run, [prompt], sampling)
    given = run.codec.encode(audio.read(path))
    assert given.shape == (8 if kind == "stereo" else 4, 20)
    np.testing.assert_array_equal(made[:, :20], given)
    (alone,) = codes(run, [PROMPTS[0]], sampling)
    assert (made[:, 20:] != alone[:, 20:]).any()
    assert run.group(prompt, sampling) != run.group(PROMPTS[0], sampling)
    other = dataclasses.replace(prompt, continuation=write(tmp_path / "b.wav", 0.4, seed=1))
    assert (codes(run, [other], sampling)[0][:, 20:] != made[:, 20:]).any()


@pytest.mark.parametrize("kind", ["mono", "stereo"])
def test_continuations_are_coded_as_transformers_does(kind: str, tmp_path: Path) -> None:
    run = load(kind)
    path = write(tmp_path / "a.wav", 0.5, channels=2 if kind == "stereo" else 1)
    waves = torch.from_numpy(audio.read(path).samples)
    with torch.inference_mode():
        kwargs = run.network._prepare_audio_encoder_kwargs_for_generation(waves[None], {}) if kind == "stereo" else None
        expected = (
            kwargs["decoder_input_ids"]
            if kwargs
            else run.network.audio_encoder.encode(waves[None]).audio_codes[0].flatten(0, 1)
        )
    np.testing.assert_array_equal(run.codec.encode(audio.read(path)), expected.numpy())


def test_a_continuation_as_long_as_the_clip_is_one_line(tmp_path: Path) -> None:
    prompt = dataclasses.replace(PROMPTS[0], continuation=write(tmp_path / "a.wav", 1.0))
    with pytest.raises(EvalkitError, match=r"'id0' continues 1.00 s of audio, and sampling.duration=1 is no longer"):
        load()([prompt], Sampling(duration=1.0))


def test_melodies_change_the_music(tmp_path: Path) -> None:
    run = load("melody")
    melodies = [write(tmp_path / f"{i}.wav", 1.5 + i, seed=i) for i in range(2)]
    prompts = [PROMPTS[0], *(dataclasses.replace(PROMPTS[0], melody=path) for path in melodies)]
    made = [codes(run, [prompt])[0] for prompt in prompts]
    assert (made[0] != made[1]).any() and (made[1] != made[2]).any()
    assert (codes(run, prompts, rows=4) == np.stack(made)).mean() > 0.99
    for prompt, one in zip(prompts[1:], made[1:], strict=True):  # generate() takes melodies of one length at once
        assert (codes(Reference(run), [prompt])[0] == one).mean() > 0.99
    assert run.group(prompts[0], SHORT) == run.group(prompts[1], SHORT)


# -- with evalkit's kernels -------------------------------------------------------------------------


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.decoding.kernels", plain_kernels, raising=False)
    monkeypatch.setattr(backend, "_chosen", lambda *_: ("triton", ""))


LENGTHS = [Prompt(f"id{n}", "x" * n) for n in (3, 40, 100, 8, 35)]


@pytest.mark.usefixtures("kernels")
def test_captions_of_all_lengths_go_together_and_give_the_same_clips() -> None:
    run, padded = load(attention=Attention.triton), load()
    assert run.facts() == {"attention": "triton", "graphs": False, "dtype": "float32"}
    assert len({run.group(p, SHORT) for p in LENGTHS}) == 1 < len({padded.group(p, SHORT) for p in LENGTHS})
    made = run(LENGTHS, SHORT)
    for clip, prompt in zip(made, LENGTHS, strict=True):
        np.testing.assert_array_equal(clip.samples, padded([prompt], SHORT)[0].samples)


@pytest.mark.usefixtures("kernels", "one_thread")
def test_no_bit_of_a_caption_depends_on_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU captions go through the text encoder in groups of a fixed number."""
    run = load(attention=Attention.triton)
    monkeypatch.setattr(run.conditioner, "_states", run.conditioner._encode)
    shapes = set()
    first: dict[int, torch.Tensor] = {}
    for chosen in (range(5), [4, 2, 0], [2, 2, 1]):
        captions = [run._tokens(LENGTHS[i]) for i in chosen]
        with torch.inference_mode():
            for text in run.conditioner.encode(captions):
                shapes.add(tuple(text.states.shape[:2]))
                for place, states, length in zip(text.rows, text.states, text.lengths, strict=False):
                    assert length == len(captions[place]) and not states[length:].any()
                    assert torch.equal(first.setdefault(chosen[place], states), states)
    assert shapes == {(16, 32), (16, 64), (16, 128)}
    assert [run.conditioner.at_once(tokens) for tokens in (32, 256, 1024, 4096)] == [16, 8, 2, 1]
    with torch.inference_mode():
        (text,) = run.conditioner.encode([[3] * 200])
    assert text.states.shape[:2] == (8, 256)


@pytest.mark.usefixtures("kernels")
def test_captions_of_a_melody_model_are_padded_as_they_stand_before_the_music() -> None:
    run, padded = load("melody", attention=Attention.triton), load("melody")
    assert [run.group(p, SHORT) for p in LENGTHS] == [padded.group(p, SHORT) for p in LENGTHS]
    for one, other in zip(codes(run, LENGTHS[:2]), codes(padded, LENGTHS[:2]), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("kernels")
def test_windows_and_continuations_need_no_masks(tmp_path: Path) -> None:
    made = []
    prompt = dataclasses.replace(PROMPTS[0], continuation=write(tmp_path / "a.wav", 0.4))
    for attention in (Attention.auto, Attention.triton):
        run = load(attention=attention)
        run.window = 1.0
        made.append(codes(run, [prompt, prompt], Sampling(duration=1.6, extend_stride=0.6)))
    np.testing.assert_array_equal(*made)


# -- codec, memory ----------------------------------------------------------------------------------


def test_clips_are_decoded_as_transformers_does() -> None:
    run = load()
    made = codes(run, PROMPTS[:3])
    tokens = torch.from_numpy(made.astype(np.int64))[None]
    with torch.inference_mode():
        left, right = (run.network.audio_encoder.decode(tokens[:, :, i::2], [None]).audio_values for i in (0, 1))
    expected = torch.cat([left, right], dim=1).numpy()
    for clip, wave in zip(run.audio(list(made), SHORT), expected, strict=True):
        np.testing.assert_allclose(clip.samples, wave[:, :12800], atol=1e-6)
    alone = run.audio([made[1]], SHORT)[0]
    np.testing.assert_array_equal(run.audio(list(made), SHORT)[1].samples, alone.samples)


def test_on_a_gpu_codes_are_decoded_within_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    run = load()
    made = list(codes(run, PROMPTS))
    expected = run.codec.decode(made)
    sizes: list[int] = []
    original = codec.Codec._decode

    def spy(self: Any, part: Any) -> Any:
        sizes.append(len(part))
        return original(self, part)

    monkeypatch.setattr(codec.Codec, "_decode", spy)
    monkeypatch.setattr(codec, "BUDGET", 2 * 2 * 0.4 * codec.BYTES + 1)
    monkeypatch.setattr(run.codec, "alone", False)
    for clip, other in zip(run.codec.decode(made), expected, strict=True):
        np.testing.assert_allclose(clip.samples, other.samples, atol=1e-6)
    assert sizes == [2, 2, 1]


def test_batch_sizes_are_what_the_engine_says_or_eight_on_a_cpu() -> None:
    assert load().batch_size(SHORT, PROMPTS) == (8, 8)
    assert load().batch_size(SHORT, PROMPTS, BatchSize(4, 6)) == (6, 6)
    assert load(batch_size=3).batch_size(SHORT, PROMPTS, BatchSize(4, 6)) == (3, 3)


def test_a_caption_is_never_cut() -> None:
    """T5 has no limit, and neither audiocraft nor transformers cut what MusicGen is told."""
    run = load()
    long = "word " * 200
    ends = [codes(run, [Prompt("x", long + end)], Sampling(duration=2.0))[0] for end in ("flutes " * 9, "drums " * 9)]
    assert (ends[0] != ends[1]).any()
