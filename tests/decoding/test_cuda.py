"""Generation as a GPU does it, at the shapes of a checkpoint: float16, heads of 64 dimensions, 128 clips.

Where there is no GPU the same is done at a tiny size, with the kernels interpreted and steps taken one by one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("triton")

from evalkit.decoding.backend import Backend, refuse
from evalkit.decoding.codec import Codec
from evalkit.decoding.conditions import Conditioner
from evalkit.decoding.loop import Loop, _Batch
from evalkit.decoding.model import TEXTS
from evalkit.decoding.network import Decoder
from evalkit.decoding.pattern import UNKNOWN, codes_of, delays_of, sequence
from evalkit.decoding.sampler import Sampler
from evalkit.precision import fixed_precision
from evalkit.settings import Sampling
from tests.decoding.test_decoding import Greedy
from tests.networks import SPECIAL, captions, network

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda", 0) if GPU else torch.device("cpu")
HEADS, SIZE, CLIPS, FRAMES = (24, 64, 128, 200) if GPU else (1, 16, 2, 6)
OTHER = "efficient" if GPU else "torch"  # the attention that kernels are compared with
BUCKET = 64 if GPU else 4
GUIDANCE = 3.0
ROUNDING = 0.015  # of float16, in logits, of their spread; the largest difference is about a third of it

# what NumPy says of an interpreted kernel's empty range
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
needs_gpu = pytest.mark.skipif(not GPU, reason="needs a GPU")
interpreted_long = [] if GPU else [pytest.mark.slow]
kinds = pytest.mark.parametrize("kind", ["stereo", "stereo melody"])
attentions = pytest.mark.parametrize("attention", ["triton", OTHER])


@pytest.fixture(autouse=True)
def precision() -> Iterator[None]:
    with fixed_precision():
        yield
    if GPU:
        assert torch.cuda.current_stream() == torch.cuda.default_stream()


@pytest.fixture(scope="module")
def nets() -> dict[str, Any]:
    hidden = HEADS * SIZE
    sizes = {"hidden_size": hidden, "ffn_dim": 4 * hidden, "num_attention_heads": HEADS}
    sizes |= {"num_hidden_layers": 2 if GPU else 1, "initializer_factor": 0.3 * (32 / hidden) ** 0.5}
    return {kind: network(kind, "float16", **sizes).to(DEVICE) for kind in ("stereo", "stereo melody")}


def backend(attention: str, graphs: bool = False) -> Backend:
    return Backend(attention, graphs and GPU, 1 if attention == "triton" else BUCKET)


def of_lengths(clips: int, longest: int = 60 if GPU else 12) -> list[list[int]]:
    return captions([1 + 7 * i % longest for i in range(clips - 1)] + [longest])


def ids_of(texts: Sequence[Any]) -> list[str]:
    return [f"clip {i}" for i in range(len(texts))]


def sampler_of(texts: Sequence[Any]) -> Sampler:
    return Sampler(ids_of(texts), 8, Sampling(top_k=250, guidance_scale=GUIDANCE), DEVICE)


def made(net: Any, loop: Loop, texts: Sequence[Any], sampler: Any, frames: int = FRAMES, known: int = 0) -> Any:
    """The codes of a batch, whose first `known` frames are given; with a melody model, every second has a melody."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.full((len(texts), 8, frames), UNKNOWN, device=DEVICE)
    codes[:, :, :known] = torch.randint(2048, (len(texts), 8, known), generator=generator).to(DEVICE)
    melody = net.config.model_type == "musicgen_melody"
    melodies: list[Any] = [None] * len(texts)
    if melody:
        melodies[::2] = [np.eye(12, dtype=np.float32)[np.arange(20) * (i + 1) % 12] for i in range(0, len(texts), 2)]
    if isinstance(sampler, Sampler):
        sampler.reset(ids_of(texts))
    delays = delays_of(net.config.decoder)
    with torch.inference_mode():
        conditioner = Conditioner(net, TEXTS if loop.backend.kernels and not melody else None)
        conditions = conditioner(conditioner.encode(texts), melodies, True)
        return codes_of(loop(sequence(codes, delays, SPECIAL), conditions, sampler), delays).cpu()


class Forced:
    """Takes the same tokens whatever the logits are, and keeps those of every `period`-th step."""

    def __init__(self, clips: int, period: int):
        generator = torch.Generator().manual_seed(1)
        self.tokens = torch.randint(2048, (clips, 8, FRAMES + 8), generator=generator).to(DEVICE)
        self.period = period
        self.logits: list[torch.Tensor] = []

    def __call__(self, logits: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        if int(step) % self.period == 0:
            self.logits.append(logits.float())
        return self.tokens[:, :, int(step)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=["half", "bfloat16", "float32"])
@pytest.mark.parametrize("attention", ["triton", "efficient", "math"] if GPU else ["triton", "torch"])
def test_every_attention_has_the_right_numbers_here(attention: str, dtype: torch.dtype) -> None:
    assert refuse(attention, DEVICE, dtype, HEADS, SIZE) == ""


@kinds
@pytest.mark.parametrize("known", [0, FRAMES // 2 + 1])
def test_logits_with_kernels_are_those_of_torchs_attention(kind: str, known: int, nets: dict[str, Any]) -> None:
    net, texts, logits = nets[kind], of_lengths(CLIPS), []
    for attention in ("triton", OTHER):
        forced = Forced(CLIPS, 23 if GPU else 2)
        codes = made(net, Loop(net.decoder, backend(attention)), texts, forced, known=known)
        assert codes.shape == (CLIPS, 8, FRAMES) and codes.min() >= 0
        logits.append(torch.stack(forced.logits))
    ours, others = logits
    assert len(ours) >= 2 and ours.isfinite().all()
    spread = others.std()
    assert float((ours - others).abs().max()) < ROUNDING * spread
    assert float((ours - others).square().mean().sqrt()) < ROUNDING / 10 * spread
    assert float((ours[:, 0] - ours[:, 1]).std()) > ROUNDING * spread  # conditions are heard


@pytest.mark.parametrize("kind", ["stereo", pytest.param("stereo melody", marks=interpreted_long)])
def test_greedy_tokens_with_kernels_are_torchs_but_for_ties(kind: str, nets: dict[str, Any]) -> None:
    net, texts = nets[kind], of_lengths(CLIPS)
    greedy, other = Greedy(GUIDANCE), Greedy(GUIDANCE)
    ours = made(net, Loop(net.decoder, backend("triton")), texts, greedy)
    others = made(net, Loop(net.decoder, backend(OTHER)), texts, other)
    lead = torch.stack(other.lead, dim=2).cpu()
    delays = delays_of(net.config.decoder)
    for clip, different in enumerate(ours != others):
        if different.any():
            step, codebook = min((frame + delays[k], k) for k, frame in different.nonzero().tolist())
            assert lead[clip, codebook, step] < (1 + 2 * GUIDANCE) * ROUNDING
    assert lead.median() > 0.02  # ties are rare


@pytest.mark.parametrize(
    ("attention", "kind"),
    [
        pytest.param("triton", "stereo", marks=interpreted_long),
        pytest.param("triton", "stereo melody", marks=interpreted_long),
        (OTHER, "stereo"),
        (OTHER, "stereo melody"),
    ],
)
def test_a_loop_that_is_used_again_makes_what_a_new_one_makes(attention: str, kind: str, nets: dict[str, Any]) -> None:
    """With graphs where there is a GPU, against steps taken one by one; other shapes come in between."""
    net = nets[kind]
    small, long = CLIPS // 2, 300 if GPU else 40
    batches = [
        (of_lengths(CLIPS), FRAMES, 0),
        (of_lengths(CLIPS)[::-1], FRAMES, FRAMES // 4),  # the same shape, other captions, and a continuation
        (of_lengths(small), FRAMES, 0),
        (of_lengths(CLIPS, long), FRAMES - 3, 0),
        (of_lengths(CLIPS), FRAMES, 0),
    ]
    loop = Loop(net.decoder, backend(attention, graphs=True))
    samplers: dict[int, Sampler] = {}
    results = []
    for texts, frames, known in batches:
        sampler = samplers.setdefault(len(texts), sampler_of(texts))
        results.append(made(net, loop, texts, sampler, frames, known))
        expected = made(net, Loop(net.decoder, backend(attention)), texts, sampler_of(texts), frames, known)
        assert torch.equal(results[-1], expected)
    assert torch.equal(results[0], results[-1]) and loop.backend.graphs == GPU
    assert not torch.equal(results[0], results[1])
    if GPU:
        assert loop._kept is not None
        # 203 steps, or with a melody model those after a prefix of 84 positions, reach into four buckets
        assert len(loop._kept.recorded) == (1 if attention == "triton" else 4)


@attentions
def test_a_batch_after_one_that_ran_out_of_memory_is_right(
    attention: str, nets: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, texts = nets["stereo"], of_lengths(CLIPS)
    sampler, loop = sampler_of(texts), Loop(net.decoder, backend(attention, graphs=True))
    expected = made(net, loop, texts, sampler)
    advance, steps = _Batch.advance, iter(range(FRAMES))

    def full(batch: _Batch, end: int) -> None:
        if next(steps) == FRAMES // 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        advance(batch, end)

    with monkeypatch.context() as patch:
        patch.setattr(_Batch, "advance", full)
        with pytest.raises(torch.OutOfMemoryError):
            made(net, loop, texts, sampler)
    assert loop._kept is None
    assert torch.equal(made(net, loop, texts, sampler), expected)


@needs_gpu
@attentions
def test_a_batch_after_a_recording_that_ran_out_of_memory_is_right(
    attention: str, nets: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, texts = nets["stereo"], of_lengths(CLIPS)
    sampler, loop, logits = sampler_of(texts), Loop(net.decoder, backend(attention, graphs=True)), Decoder.logits

    def full(decoder: Decoder, states: torch.Tensor) -> torch.Tensor:
        if torch.cuda.is_current_stream_capturing():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logits(decoder, states)

    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "logits", full)
        with pytest.raises(torch.OutOfMemoryError):
            made(net, loop, texts, sampler)
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    expected = made(net, Loop(net.decoder, backend(attention)), texts, sampler_of(texts))
    assert torch.equal(made(net, loop, texts, sampler), expected)
    assert loop.backend.graphs and loop._kept is not None and loop._kept.recorded


@attentions
def test_a_codec_that_works_beside_changes_nothing(attention: str, nets: dict[str, Any]) -> None:
    net, texts = nets["stereo"], of_lengths(CLIPS)
    sampler, codec = sampler_of(texts), Codec(net.audio_encoder, 2)
    expected = made(net, Loop(net.decoder, backend(attention)), texts, sampler)
    codes = list(expected[:8].to(torch.int16).numpy())
    alone = [clip.samples for clip in codec.decode(codes)]
    beside: list[list[np.ndarray]] = []
    done = threading.Event()

    def decode() -> None:
        while not (beside and done.is_set()):
            beside.append([clip.samples for clip in codec.decode(codes)])

    thread = threading.Thread(target=decode)
    thread.start()
    try:
        for _ in range(2):
            fresh = Loop(net.decoder, backend(attention, graphs=True))  # records while the codec works
            assert torch.equal(made(net, fresh, texts, sampler), expected)
    finally:
        done.set()
        thread.join()
    assert beside and all(np.array_equal(one, clip) for clips in beside for one, clip in zip(clips, alone, strict=True))
