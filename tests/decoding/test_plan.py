"""The plan of memory against what is really allocated, and the batch sizes that come of it."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evalkit import compat
from evalkit.decoding import backend as backends
from evalkit.decoding import loop as loops
from evalkit.decoding import model as models
from evalkit.decoding import plan
from evalkit.decoding.backend import Backend
from evalkit.decoding.codec import BUDGET
from evalkit.decoding.conditions import Conditioner
from evalkit.decoding.network import Decoder
from evalkit.models.musicgen import runner
from evalkit.settings import Attention, Dtype, Engine, Sampling
from evalkit.types import BatchSize, Prompt
from tests.decoding import plain_kernels
from tests.decoding.allocator import Allocator
from tests.decoding.test_model import PROMPTS, SHORT, Words, load, write
from tests.engines import cpu
from tests.networks import network

# so large that music's keys and values outweigh the logits, as in a real checkpoint
LARGE = {"hidden_size": 128, "ffn_dim": 512, "num_hidden_layers": 12, "num_attention_heads": 2}
CAPTIONS = [Prompt(f"id{n}", "x" * n) for n in (3, 40, 100, 8, 35, 60)]
STEPS = 2
KINDS = {
    "kernels": (Backend("triton"), 1.35),
    "masks": (Backend("torch", bucket=64), 1.35),
    "plain": (Backend("math", bucket=64), 1.45),  # whose copies in float32 are none here
}


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captions are encoded together, and steps are only begun, as all take the same memory."""
    monkeypatch.setattr("evalkit.decoding.kernels", plain_kernels, raising=False)
    monkeypatch.setattr(backends, "_chosen", lambda *_: ("triton", ""))
    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)  # in the other, parts of operations are not seen
    monkeypatch.setattr(Conditioner, "_states", Conditioner._encode)
    original, taken = loops._Batch.advance, []

    def advance(self: Any, end: int) -> None:
        taken.append(end)
        if len(taken) <= STEPS:
            original(self, end)
        self.laid.clamp_(min=0)

    monkeypatch.setattr(loops._Batch, "advance", advance)


def measured(
    kind: str, how: str, prompts: Sequence[Prompt], dtype: str = "float32", again: bool = False, **sampling: Any
) -> float:
    """Bytes that are planned for making the codes of a batch, perhaps a second time, as a multiple of what it takes."""
    backend = KINDS[how][0]
    engine = cpu(dtype, attention=Attention.triton if backend.kernels else Attention.auto)
    sizes = LARGE | ({"num_hidden_layers": 4} if kind == "melody" else {})  # whose prefix is long
    run = runner("test", network(kind, dtype, **sizes), Words(), engine)
    run.loop.backend = backend
    asked = Sampling(**sampling, top_p=0.9)
    run.group(prompts[0], asked)
    with Allocator() as allocator:
        for _ in range(1 + again):
            run.codes(prompts, asked, len(prompts))
    return run.planned(prompts, asked) / allocator.peak


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize("kind", ["mono", "stereo", "melody"])
def test_what_is_planned_holds_what_is_taken_and_hardly_more(kind: str, how: str) -> None:
    assert 1 <= measured(kind, how, CAPTIONS, duration=5.0) <= KINDS[how][1]


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize(("kind", "how"), [("stereo", "kernels"), ("melody", "masks"), ("mono", "plain")])
def test_what_is_given_is_planned_for(kind: str, how: str, tmp_path: Path) -> None:
    given = write(tmp_path / "a.wav", 1.2)
    prompts = [dataclasses.replace(prompt, continuation=given) for prompt in CAPTIONS[2:4]]
    assert 1 <= measured(kind, how, prompts, duration=1.6) <= KINDS[how][1]


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("how", ["kernels", "masks"])
def test_half_precision_and_no_guidance_are_planned_for(how: str) -> None:
    assert 1 <= measured("mono", how, CAPTIONS, "float16", duration=8.0, guidance_scale=1.0) <= 1.6


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("how", ["kernels", "masks"])
def test_captions_are_encoded_beside_what_is_kept_of_the_batch_before(how: str) -> None:
    long = [Prompt(f"id{i}", "x" * (400 + i)) for i in range(4)]
    assert 1 <= measured("mono", how, long, again=True, duration=1.0) <= 1.35


@pytest.mark.parametrize(("captions", "tokens"), [(4, 256), (16, 32), (1, 512)])
def test_what_the_text_encoder_takes_is_planned_for(captions: int, tokens: int) -> None:
    compat.prepare()
    import transformers

    config = transformers.T5Config(vocab_size=50, d_model=64, d_kv=16, d_ff=256, num_heads=4, num_layers=2)
    parts = types.SimpleNamespace(
        text_encoder=transformers.T5EncoderModel(config).eval(),
        enc_to_dec_proj=torch.nn.Linear(64, 96),
        decoder=types.SimpleNamespace(lm_heads=[torch.nn.Linear(1, 1)]),
        config=types.SimpleNamespace(
            model_type="musicgen", text_encoder=config, decoder=types.SimpleNamespace(hidden_size=96)
        ),
        device=torch.device("cpu"),
    )
    conditioner = Conditioner(parts)
    with torch.no_grad(), Allocator() as allocator:
        conditioner._encode([[1] * (tokens - 3)] * captions, tokens)
    assert 1 <= plan._encoding(parts, captions, tokens) / allocator.peak <= 1.4


# -- at the sizes of the ten checkpoints ------------------------------------------------------------

SIZES = {"small": (1024, 4096, 24, 16), "medium": (1536, 6144, 48, 24), "large": (2048, 8192, 48, 32)}
CHECKPOINTS = [f"{stereo}{melody}{size}" for stereo in ("", "stereo-") for melody, size in (
    ("", "small"), ("", "medium"), ("", "large"), ("melody-", "medium"), ("melody-", "large")
)]  # fmt: skip


def parts(checkpoint: str, backend: Backend) -> tuple[Any, Any, Any]:
    """What a plan reads of a checkpoint of float16: its configuration and shapes, without weights."""
    hidden, ffn, layers, heads = SIZES[checkpoint.split("-")[-1]]
    codebooks = 8 if "stereo" in checkpoint else 4
    decoder = types.SimpleNamespace(
        hidden_size=hidden, ffn_dim=ffn, num_codebooks=codebooks, vocab_size=2048, num_attention_heads=heads
    )
    text = types.SimpleNamespace(d_model=768, d_kv=64, d_ff=3072, num_heads=12)
    config = types.SimpleNamespace(decoder=decoder, text_encoder=text, chroma_length=235)
    shape: Any = object.__new__(Decoder)
    shape.config, shape.heads, shape.layers, shape.kernels = decoder, heads, [None] * layers, backend.kernels
    shape.tables = torch.empty(1, dtype=torch.float16, device="meta")
    melody = "melody" in checkpoint
    conditioner = object.__new__(Conditioner)
    conditioner.together, conditioner.melody = 16 if backend.kernels and not melody else None, melody
    return types.SimpleNamespace(config=config), types.SimpleNamespace(decoder=shape, backend=backend), conditioner


@pytest.mark.parametrize("backend", [Backend("triton", True), Backend("efficient", True, 64)])
@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_most_of_a_plan_are_keys_and_values(checkpoint: str, backend: Backend) -> None:
    hidden, _, layers, _ = SIZES[checkpoint.split("-")[-1]]
    clips, tokens = 128, 40
    batch = plan.Batch([tokens] * clips, guided=True, frames=500, window=500, known=0, delay=4)
    before = 235 + 64 if "melody" in checkpoint else 0
    vectors = clips * (2 * (504 + before) + (0 if before else 128 if backend.kernels else 64))
    taken = 2 * 2 * layers * hidden * vectors
    if not backend.kernels:
        taken = taken * 512 // 504 if not before else taken
    network, loop, conditioner = parts(checkpoint, backend)
    assert taken <= plan.bytes_of(batch, network, loop, conditioner) <= 1.35 * taken


# -- batch sizes ------------------------------------------------------------------------------------


class Gpu:
    """What torch says of a GPU's memory, in place of one."""

    def __init__(self) -> None:
        self.free, self.reserved, self.peak = 80 << 30, 0, 0


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    made = Gpu()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (made.free, 80 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: made.reserved)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: made.peak)
    yield made


def on_gpu(kind: str = "stereo") -> Any:
    run = load(kind)
    run.engine = Engine(device="cuda", dtype=Dtype.float32)
    return run


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("evalkit")]


def room(run: Any, clips: int) -> int:
    """The free memory that holds so many clips and not one more, by a plan that goes on as it began."""
    return int((run._needed(SHORT, PROMPTS, clips) + 1) / models.PART) + 1


def test_a_batch_is_as_large_as_memory_holds_or_prompts_fill(gpu: Gpu) -> None:
    run = on_gpu()
    assert run.batch_size(SHORT, PROMPTS) == (8, 128)
    assert run.batch_size(SHORT, PROMPTS * 100) == (128, 128)
    assert run.batch_size(SHORT, PROMPTS[:1]) == (1, 128)
    gpu.free = room(run, 48)
    assert run.batch_size(SHORT, PROMPTS * 100) == (48, 48)
    gpu.free -= 1 << 20
    assert run.batch_size(SHORT, PROMPTS * 100) == (32, 32)
    # what torch holds for a batch before is there for the next one, the weights are not
    gpu.reserved, run._weights = 3 << 20, 3 << 20
    assert run.batch_size(SHORT, PROMPTS * 100) == (32, 32)
    run._weights = 2 << 20
    assert run.batch_size(SHORT, PROMPTS * 100) == (48, 48)
    gpu.free = 0
    assert run.batch_size(SHORT, PROMPTS * 100) == (1, 1)


def test_long_captions_and_clips_make_batches_smaller(gpu: Gpu) -> None:
    run = on_gpu()
    gpu.free = room(run, 64)
    long = Prompt("long", "y" * 3000)
    assert run.batch_size(SHORT, PROMPTS * 100).most == 64
    assert run.batch_size(SHORT, [*PROMPTS * 100, long]).most < 64
    assert run.batch_size(Sampling(duration=20.0), PROMPTS * 100).most < 64
    # more than a share of the memory for all that is decoded goes to one clip that is longer than it
    assert run._needed(Sampling(duration=300.0), PROMPTS, 1) > 2 * BUDGET


def test_a_run_goes_on_with_its_batch_size_where_memory_holds_it(
    gpu: Gpu, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = on_gpu()
    monkeypatch.setattr(plan, "OUTSIDE", 0)
    monkeypatch.setattr(run.codec, "memory", lambda frames: 0)  # beside which these plans would be nothing
    many = PROMPTS * 100
    assert run.batch_size(SHORT, many, BatchSize(32, 32)) == (32, 32)  # more would fit
    assert run.batch_size(SHORT, PROMPTS, BatchSize(8, 128)) == (8, 128)
    assert run.batch_size(SHORT, PROMPTS[:1], BatchSize(8, 128)) == (8, 128)  # the rest of few prompts
    assert run.batch_size(SHORT, many, BatchSize(8, 128)) == (128, 128)  # first a try with few
    gpu.free = room(run, 64) - 1000
    assert run.batch_size(SHORT, many) == (48, 48)
    assert run.batch_size(SHORT, many, BatchSize(64, 64)) == (64, 64)  # with a little less room than a plan leaves
    assert not warnings(caplog)
    gpu.free = room(run, 16)
    assert run.batch_size(SHORT, many, BatchSize(64, 64)) == (16, 16)
    (warning,) = warnings(caplog)
    assert "made 64 at once before, which the free memory does not hold now: going on with 16" in warning


def test_a_batch_that_takes_more_than_planned_raises_later_plans(gpu: Gpu, caplog: pytest.LogCaptureFixture) -> None:
    run = on_gpu()
    planned = run.planned(PROMPTS, SHORT) + plan.OUTSIDE
    before = run._needed(SHORT, PROMPTS, 8) - BUDGET
    gpu.peak = int(1.25 * planned)
    run.codes(PROMPTS, SHORT, len(PROMPTS))
    (warning,) = warnings(caplog)
    assert "5 clips took" in warning and "raised by 25 %" in warning
    assert run._needed(SHORT, PROMPTS, 8) - BUDGET == pytest.approx(1.25 * before)
    gpu.peak *= 2
    run.codes(PROMPTS, SHORT, len(PROMPTS))
    assert len(warnings(caplog)) == 1  # the first batch alone is compared


def test_a_batch_that_takes_less_than_planned_changes_nothing(gpu: Gpu, caplog: pytest.LogCaptureFixture) -> None:
    run = on_gpu()
    before = run._needed(SHORT, PROMPTS, 8)
    run._weights = 1 << 40
    gpu.peak = run._weights + 1
    run.codes(PROMPTS, SHORT, len(PROMPTS))
    assert not warnings(caplog) and run._needed(SHORT, PROMPTS, 8) == before


def test_codes_that_are_decoded_beside_the_first_batch_are_not_its_own(
    gpu: Gpu, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = on_gpu()
    gpu.peak = run.planned(PROMPTS, SHORT) + plan.OUTSIDE + BUDGET
    original = run._windows
    made = np.zeros((8, 20), np.int16)

    def decoding(*arguments: Any) -> Any:
        run.codec.decode([made])
        return original(*arguments)

    monkeypatch.setattr(run, "_windows", decoding)
    run.codes(PROMPTS, SHORT, len(PROMPTS))
    assert not warnings(caplog)
