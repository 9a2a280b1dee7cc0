"""The generation loop against transformers' own generate(), on the same seeded random weights."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from evalkit.decoding.backend import Backend
from evalkit.decoding.conditions import Conditioner
from evalkit.decoding.loop import Loop
from evalkit.decoding.network import LARGE, Decoder, linear
from evalkit.decoding.pattern import UNKNOWN, codes_of, delays_of, first_unknown, sequence
from evalkit.decoding.sampler import Sampler
from evalkit.settings import Sampling
from tests.decoding.reference import generate
from tests.networks import SPECIAL, captions, network

KINDS = ["mono", "stereo", "melody", "stereo melody"]
TIE = 1e-5  # rounding may decide between two logits that are closer than this; they have a spread of about 1


class Greedy:
    """Takes the largest logit, and notes by how much it is the largest."""

    def __init__(self, scale: float):
        self.scale = scale
        self.lead: list[torch.Tensor] = []

    def __call__(self, logits: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        guided = logits.float()
        guided = guided[1] + (guided[0] - guided[1]) * self.scale if len(guided) == 2 else guided[0]
        largest = guided.topk(2, dim=-1)
        self.lead.append(largest.values[..., 0] - largest.values[..., 1])
        return largest.indices[..., 0]


def ours(
    net: Any,
    texts: Sequence[Sequence[int]],
    frames: int,
    sampler: Any,
    given: torch.Tensor | None = None,
    padded: int | None = None,
    melodies: Sequence[np.ndarray | None] | None = None,
    loop: Loop | None = None,
) -> torch.Tensor:
    delays = delays_of(net.config.decoder)
    codes = torch.full((len(texts), len(delays), frames), UNKNOWN)
    if given is not None:
        codes[:, :, : given.shape[2]] = given
    with torch.inference_mode():
        melodies = melodies or [None] * len(texts)
        conditioner, loop = Conditioner(net), loop or Loop(net.decoder)
        conditions = conditioner(conditioner.encode(texts, padded or max(map(len, texts))), melodies, sampler.scale > 1)
        return codes_of(loop(sequence(codes, delays, SPECIAL), conditions, sampler), delays)


def assert_equal(mine: torch.Tensor, other: torch.Tensor, sampler: Greedy, delays: list[int], known: int = 0) -> None:
    """Equal, except after a tie, which may be decided either way; most clips have none."""
    lead = torch.stack(sampler.lead, dim=2)
    same = 0
    for clip, (a, b) in enumerate(zip(mine, other, strict=True)):
        different = (a != b).nonzero().tolist()
        same += not different
        if different:
            step, codebook = min((frame + delays[k] - known, k) for k, frame in different)
            assert lead[clip, codebook, step] < TIE
    assert same > len(mine) / 2


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("kind", KINDS)
def test_greedy_tokens_are_those_of_generate(kind: str, scale: float) -> None:
    net = network(kind)
    # transformers does not mask the padding of a melody model's captions
    texts = captions([9, 9, 9] if "melody" in kind else [7, 13, 4])
    expected = generate(net, texts, 60, scale)
    for bucket, padded in ((1, None), (16, 32)):  # exactly as far as filled; as on CUDA, with padded captions
        sampler = Greedy(scale)
        got = ours(net, texts, 60, sampler, padded=padded, loop=Loop(net.decoder, Backend(bucket=bucket)))
        assert_equal(got, expected, sampler, delays_of(net.config.decoder))


def kept(loop: Loop) -> Any:
    """The buffers that a loop keeps for the next batch."""
    assert loop._kept is not None
    return loop._kept


@pytest.mark.parametrize("bucket", [1, 16])
def test_a_batch_that_overflowed_leaves_nothing_behind(bucket: int) -> None:
    net, texts, sampler = network("stereo"), captions([7, 13]), Greedy(3.0)
    loop = Loop(net.decoder, Backend(bucket=bucket))
    expected = ours(net, texts, 40, sampler, padded=16, loop=loop)
    memory = kept(loop).memory
    with torch.inference_mode():
        for tensor in (*memory.keys, *memory.values):
            tensor.fill_(torch.nan)
    # the loop keeps its buffers for the same sampler only
    assert torch.equal(ours(net, texts, 40, sampler, padded=16, loop=loop), expected)
    assert kept(loop).memory is memory


@pytest.mark.parametrize("clips", [1, 2, 8])
def test_any_batch_size(clips: int) -> None:
    net, texts, sampler = network("stereo"), captions(list(range(3, 3 + clips))), Greedy(3.0)
    expected = generate(net, texts, 50, 3.0)
    assert_equal(ours(net, texts, 50, sampler, padded=32), expected, sampler, delays_of(net.config.decoder))


def test_thirty_seconds() -> None:
    net, texts, sampler = network("stereo"), captions([20, 5]), Greedy(3.0)
    expected = generate(net, texts, 1500, 3.0)
    assert expected.shape == (2, 8, 1500)
    loop = Loop(net.decoder, Backend(bucket=64))
    assert_equal(
        ours(net, texts, 1500, sampler, padded=32, loop=loop), expected, sampler, delays_of(net.config.decoder)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_continuation_is_that_of_generate(kind: str) -> None:
    net, texts = network(kind), captions([6, 6])
    delays = delays_of(net.config.decoder)
    given = torch.randint(2048, (2, len(delays), 17), generator=torch.Generator().manual_seed(0))
    sampler = Greedy(3.0)
    got = ours(net, texts, 40, sampler, given)
    torch.testing.assert_close(got[:, :, :17], given, rtol=0, atol=0)
    assert_equal(got, generate(net, texts, 40, 3.0, given), sampler, delays, known=17)


@pytest.mark.parametrize("frames", [7, 20, 33])
def test_melodies_are_read_as_generate_reads_them(frames: int) -> None:
    """Shorter, as long as and longer than the model's chroma_length, which is 20 here."""
    net, texts = network("melody"), captions([8, 8])
    rng = np.random.default_rng(0)
    melodies = [np.eye(12, dtype=np.float32)[rng.integers(12, size=frames)] for _ in texts]
    sampler = Greedy(3.0)
    got = ours(net, texts, 40, sampler, melodies=melodies)
    expected = generate(net, texts, 40, 3.0, input_features=torch.from_numpy(np.stack(melodies)))
    assert_equal(got, expected, sampler, delays_of(net.config.decoder))
    assert (got != ours(net, texts, 40, Greedy(3.0))).any()  # than with the null melody


def test_captions_of_a_melody_model_do_not_depend_on_the_longest_one() -> None:
    """Here the loop does better than generate(), which does not mask their padding."""
    net, texts = network("stereo melody"), captions([9, 3, 14])
    rng = np.random.default_rng(0)
    melodies = [np.eye(12, dtype=np.float32)[rng.integers(12, size=20)], None, None]
    sampler = Greedy(3.0)
    got = ours(net, texts, 40, sampler, padded=32, melodies=melodies)
    alone = [
        generate(net, [text], 40, 3.0, **({} if melody is None else {"input_features": torch.from_numpy(melody)[None]}))
        for text, melody in zip(texts, melodies, strict=True)
    ]
    assert_equal(got, torch.cat(alone), sampler, delays_of(net.config.decoder))


def logits(net: Any, texts: list[list[int]], tokens: torch.Tensor, prefill: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (2, clips, codebooks, 2048) after `tokens`: of the loop's decoder, and of transformers."""
    clips, codebooks, positions = tokens.shape
    with torch.inference_mode():
        conditioner = Conditioner(net)
        conditions = conditioner(conditioner.encode(texts, 16), [None] * clips, True)
        decoder = Decoder(net.decoder)
        memory = decoder.memory(decoder.shape(2 * clips, positions, conditions.texts))
        memory.begin(conditions.lengths, conditions.texts, decoder.project)
        table, places = decoder.positions(positions), torch.arange(positions)
        x = decoder.embed(tokens).repeat(2, 1, 1) + table
        for start, end in itertools.pairwise([0, *range(prefill, positions + 1)] if prefill else range(positions + 1)):
            memory.place(places[start:end], end)
            states = decoder.forward(x[:, start:end].clone(), memory)
        mine = decoder.logits(states)

        lengths = torch.tensor([len(text) for text in texts])
        mask = (torch.arange(16) < lengths[:, None]).long()
        ids = torch.zeros(clips, 16, dtype=torch.long)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = torch.tensor(text)
        states = net.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        states = torch.cat(
            [net.enc_to_dec_proj(states) * mask[..., None], torch.zeros(clips, 16, net.config.decoder.hidden_size)]
        )
        other = net.decoder(
            input_ids=tokens.flatten(0, 1).repeat(2, 1),
            encoder_hidden_states=states.to(decoder.dtype),
            encoder_attention_mask=torch.cat([mask, torch.zeros_like(mask)]),
        ).logits[:, -1]
    return mine.view(2, clips, codebooks, -1).float(), other.view(2, clips, codebooks, -1).float()


# of the spread of the logits, which is about 1
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.1), ("float16", 0.015)])
@pytest.mark.parametrize("prefill", [0, 11])
def test_logits_are_those_of_transformers(dtype: str, tolerance: float, prefill: int) -> None:
    net, texts = network("stereo", dtype), captions([5, 16, 9])
    tokens = torch.randint(2049, (3, 8, 24), generator=torch.Generator().manual_seed(0))
    mine, other = logits(net, texts, tokens, prefill)
    assert 0.2 < other.std() < 20
    assert float((mine - other).abs().max() / other.std()) < tolerance


def test_guidance_without_cross_attention_is_exact() -> None:
    """What transformers' cross-attention adds without a caption is zero: leaving it out changes nothing."""
    net = network("stereo")
    attention = net.decoder.model.decoder.layers[0].encoder_attn
    with torch.inference_mode():
        added, _ = attention(torch.randn(2, 1, 32), key_value_states=torch.zeros(2, 5, 32))
    assert not added.any()


@pytest.mark.parametrize("rows", [1, 2, 7, 16])
def test_products_in_parts_are_the_whole_product(rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(1024, 512, generator=generator), torch.randn(rows, 512, generator=generator)
    assert weight.numel() >= LARGE
    made = linear(x, weight)
    torch.testing.assert_close(made, x @ weight.T, rtol=0, atol=1e-4)  # of values of about 20
    assert made.is_contiguous()
    odd = weight[:1001]
    assert torch.equal(linear(x, odd), torch.nn.functional.linear(x, odd))


def test_fused_weights_take_no_more_memory_and_stay_those_of_the_modules() -> None:
    net = network("stereo")
    tokens = torch.randint(2048, (8, 4), generator=torch.Generator().manual_seed(0))
    states = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = net.decoder(input_ids=tokens, encoder_hidden_states=states).logits
        decoder = Decoder(net.decoder)
        torch.testing.assert_close(
            net.decoder(input_ids=tokens, encoder_hidden_states=states).logits, before, rtol=0, atol=0
        )
    attention = net.decoder.model.decoder.layers[0].self_attn
    assert attention.k_proj.weight.data_ptr() == decoder.layers[0].qkv[32:].data_ptr()


# -- CUDA graphs ------------------------------------------------------------------------------------

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_a_step_reads_nothing_back_and_moves_nothing() -> None:
    """What a CUDA graph needs: a step that is a function of tensors of fixed place alone."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            assert func._schema.name not in ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero"), func
            return func(*args, **kwargs or {})

    net, texts = network("stereo"), captions([5, 9])
    loop, conditioner = Loop(net.decoder, Backend(bucket=16)), Conditioner(net)
    laid = sequence(torch.full((2, 8, 20), UNKNOWN), delays_of(net.config.decoder), SPECIAL)
    with torch.inference_mode():
        conditions = conditioner(conditioner.encode(texts, 16), [None, None], True)
        expected = loop(laid, conditions, Greedy(3.0))
        batch = kept(loop)
        state = [batch.laid, batch.position, batch.step_number, *batch.memory.keys, *batch.memory.values]
        places = [tensor.data_ptr() for tensor in state]
        batch.laid.copy_(laid)
        batch.position.zero_()
        with Watch():
            for position in range(laid.shape[2] - 1):
                batch.step(position + 1)
    assert torch.equal(batch.laid, expected)
    assert [tensor.data_ptr() for tensor in state] == places


@needs_gpu
@pytest.mark.parametrize("kind", KINDS)
def test_graphs_replay_what_steps_do(kind: str) -> None:
    net = network(kind).to("cuda")
    lengths, sampling = [5, 9], Sampling(top_k=50)
    made = []
    for graphs in (False, True, True):
        sampler = Sampler(["a", "b"], len(delays_of(net.config.decoder)), sampling, "cuda")
        loop, conditioner = Loop(net.decoder, Backend("efficient", graphs, 64)), Conditioner(net)
        codes = torch.full((2, sampler.codebooks, 150), UNKNOWN, device="cuda")
        laid = sequence(codes, delays_of(net.config.decoder), SPECIAL)
        with torch.inference_mode():
            conditions = conditioner(conditioner.encode(captions(lengths), 32), [None, None], True)
            for _ in range(2):  # the second batch replays the graphs of the first
                sampler.reset(["a", "b"])
                made.append(loop(laid, conditions, sampler).cpu())
    assert all(torch.equal(one, made[0]) for one in made)


# -- the delay pattern ------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "codebooks", "delays"), [(1, 4, [0, 1, 2, 3]), (2, 8, [0, 0, 1, 1, 2, 2, 3, 3])])
def test_delays_are_those_of_transformers(channels: int, codebooks: int, delays: list[int]) -> None:
    net = network("stereo" if channels == 2 else "mono")
    assert delays_of(net.config.decoder) == delays
    codes = torch.randint(2048, (2, codebooks, 9), generator=torch.Generator().manual_seed(0))
    start = torch.full((2 * codebooks, 1), SPECIAL)
    _, mask = net.decoder.build_delay_pattern_mask(torch.cat([start, codes.flatten(0, 1)], 1), SPECIAL, 9 + 4)
    assert torch.equal(sequence(codes, delays, SPECIAL), mask.view(2, codebooks, 13))
    assert torch.equal(codes_of(sequence(codes, delays, SPECIAL), delays), codes)


def test_delays_of_a_checkpoint_of_its_own() -> None:
    config = SimpleNamespace(num_codebooks=3, audio_channels=1, codebook_delays=[0, 2, 5])
    assert delays_of(config) == [0, 2, 5]
    laid = sequence(torch.arange(6).view(1, 3, 2), [0, 2, 5], 99)
    assert laid.tolist() == [
        [[99, 0, 1, 99, 99, 99, 99, 99], [99, 99, 99, 2, 3, 99, 99, 99], [99, 99, 99, 99, 99, 99, 4, 5]]
    ]


def test_first_unknown_position() -> None:
    codes = torch.full((1, 4, 5), UNKNOWN)
    assert first_unknown(sequence(codes, [0, 1, 2, 3], SPECIAL)) == 1
    codes[:, :, :3] = 7
    assert first_unknown(sequence(codes, [0, 1, 2, 3], SPECIAL)) == 4
    assert first_unknown(sequence(torch.zeros_like(codes), [0, 1, 2, 3], SPECIAL)) == 9
