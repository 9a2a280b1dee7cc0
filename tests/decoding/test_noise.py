"""The counter-based generator and the noise made from it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch

from evalkit.decoding.fused import Fused
from evalkit.decoding.noise import clip_keys, counters, gumbel, gumbel_of, philox, to_gumbel, to_uniform, uniform

STEP = torch.tensor(7)

# kat_vectors of Random123 1.14: counter, key, result
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def philox_of_integers(counter: list[int], key: list[int]) -> list[int]:
    """The paper's definition in Python's integers."""
    (a, b, c, d), (k, m) = counter, key
    for _ in range(10):
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (q >> 32) ^ b ^ k, q % 2**32, (p >> 32) ^ d ^ m, p % 2**32
        k, m = (k + 0x9E3779B9) % 2**32, (m + 0xBB67AE85) % 2**32
    return [a, b, c, d]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_philox_gives_the_published_answers(counter: str, key: str, result: str) -> None:
    made = philox([torch.tensor(w) for w in words(counter)], [torch.tensor(w) for w in words(key)])
    assert [int(w) for w in made] == words(result)
    assert philox_of_integers(words(counter), words(key)) == words(result)


def test_philox_broadcasts_and_stays_within_32_bits() -> None:
    generator = torch.Generator().manual_seed(0)
    counter = [torch.randint(2**32, shape, generator=generator) for shape in [(3, 1, 5), (), (4, 1), (1,)]]
    key = [torch.randint(2**32, shape, generator=generator) for shape in [(3, 1, 1), ()]]
    made = torch.stack(philox(counter, key))
    assert made.shape == (4, 3, 4, 5) and made.min() >= 0 and made.max() < 2**32
    full = [x.expand(3, 4, 5) for x in (*counter, *key)]
    for place in itertools.product(range(3), range(4), range(5)):
        one = [int(x[place]) for x in full]
        assert made[(slice(None), *place)].tolist() == philox_of_integers(one[:4], one[4:])


def test_a_token_has_the_word_of_its_counter() -> None:
    keys = clip_keys(3, ["x", "y"], "cpu")
    step = torch.tensor(1499)
    made = gumbel(keys, step, 8, 2048)
    for clip, codebook, token in [(0, 0, 0), (1, 0, 1), (0, 7, 2), (1, 3, 2047), (0, 5, 1030)]:
        word = philox_of_integers([token // 4, 1499, codebook, 1], keys[clip].tolist())[token % 4]
        assert made[clip, codebook, token] == pytest.approx(-math.log(-math.log1p(-(word + 0.5) / 2**32)), abs=2e-6)


def test_keys_come_from_the_seed_and_the_id() -> None:
    keys = clip_keys(0, ["x", "é"], "cpu")
    # head of the SHA-256 of '[0,"x"]' and '[0,"\u00e9"]', two little-endian words each
    assert keys.dtype == torch.int64
    assert keys.tolist() == [[3816142773, 871062221], [3118690527, 553592047]]
    ids = [str(i) for i in range(1000)]
    both = torch.cat([clip_keys(0, ids, "cpu"), clip_keys(1, ids, "cpu")])
    assert len(both.unique(dim=0)) == 2000 and both.min() >= 0 and both.max() < 2**32


@pytest.mark.parametrize(("codebooks", "vocabulary"), [(8, 2048), (4, 2048), (1, 1), (2, 3), (3, 37)])
def test_both_implementations_agree_to_the_bit(codebooks: int, vocabulary: int) -> None:
    keys = clip_keys(1, ["a", "b", "c"], "cpu")
    made = gumbel(keys, STEP, codebooks, vocabulary)
    assert made.shape == (3, codebooks, vocabulary) and made.dtype == torch.float32
    exact = uniform(keys, STEP, *counters(codebooks, vocabulary, "cpu"))[..., :vocabulary]
    assert torch.equal(made, -torch.log(-torch.log1p(-exact)))
    tokens = torch.randint(vocabulary, (3, codebooks, 251), generator=torch.Generator().manual_seed(0))
    assert torch.equal(gumbel_of(keys, STEP, tokens), made.gather(2, tokens))


def test_noise_does_not_depend_on_batch_mates_or_threads() -> None:
    keys = clip_keys(0, [str(i) for i in range(5)], "cpu")
    together = gumbel(keys, STEP, 3, 1001)
    for i in range(5):
        assert torch.equal(gumbel(keys[i : i + 1], STEP, 3, 1001)[0], together[i])
    assert torch.equal(gumbel(keys.flip(0), STEP, 3, 1001), together.flip(0))
    # a smaller vocabulary or fewer codebooks are a part of it
    assert torch.equal(gumbel(keys, STEP, 2, 999), together[:, :2, :999])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert torch.equal(gumbel(clip_keys(0, ["0"] * 40, "cpu"), STEP, 3, 1001)[39], together[0])
    finally:
        torch.set_num_threads(threads)


def noise_of(values: list[int]) -> torch.Tensor:
    return to_gumbel(to_uniform(torch.tensor(values).to(torch.float32)))


def test_every_word_gives_finite_noise() -> None:
    edges = [0, 1, 2, 3, 2**23, 2**24 - 1, 2**24, 2**31, 2**32 - 2**8, 2**32 - 129, 2**32 - 128, 2**32 - 1]
    made = noise_of(edges)
    assert made.isfinite().all()
    assert (made.diff() <= 0).all()  # falls as the word grows
    assert made[0] == pytest.approx(33 * math.log(2), rel=1e-6)
    assert -2.9 < made[-1] < -2.7


def test_rounding_to_float32_hardly_shows() -> None:
    values = [2**k + j for k in range(32) for j in (0, 1, 2**k // 3, 2**k - 1)]
    exact = np.array([-math.log(-math.log1p(-(v + 0.5) / 2**32)) for v in values])
    error = np.abs(noise_of(values).double().numpy() - exact)
    assert error[exact > 0].max() < 2e-6  # half of all noise; what wins among 2048 tokens is about 7
    assert error[exact > -2].max() < 1e-4
    assert error.max() < 0.4  # less than once in 10^7 times


def test_noise_has_the_gumbel_distribution() -> None:
    keys = clip_keys(0, [str(i) for i in range(250)], "cpu")
    draws = gumbel(keys, STEP, 8, 2048).flatten().double().numpy()
    n = len(draws)
    assert scipy.stats.kstest(draws, scipy.stats.gumbel_r.cdf).pvalue > 1e-3
    # both tails: counts beyond quantiles are Poisson
    for tail in (1e-2, 1e-3, 1e-4, 1e-5):
        for count in ((draws > scipy.stats.gumbel_r.isf(tail)).sum(), (draws < scipy.stats.gumbel_r.ppf(tail)).sum()):
            assert scipy.stats.binomtest(int(count), n, tail).pvalue > 1e-3


def test_noise_is_independent_between_clips_codebooks_steps_and_tokens() -> None:
    keys = clip_keys(0, [str(i) for i in range(64)], "cpu")
    draws = np.stack([gumbel(keys, torch.tensor(s), 4, 256).numpy() for s in range(64)])
    ranks = np.exp(-np.exp(-draws.astype(float)))
    large = draws[draws > 5.5]  # where float32 tells words apart
    assert len(large) > 15_000 and len(np.unique(large)) > 0.99 * len(large)
    for axis in range(4):
        for lag in (1, 2, 3):
            first = np.take(ranks, range(ranks.shape[axis] - lag), axis).ravel()
            second = np.take(ranks, range(lag, ranks.shape[axis]), axis).ravel()
            assert abs(np.corrcoef(first, second)[0, 1]) < 4 / math.sqrt(len(first))
            table = np.histogram2d(first, second, bins=8, range=[(0, 1)] * 2)[0]
            assert scipy.stats.chi2_contingency(table).pvalue > 1e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_noise_on_a_gpu_is_that_of_the_cpu() -> None:
    keys = clip_keys(0, [str(i) for i in range(3)], "cpu")
    made = gumbel(keys.cuda(), STEP.cuda(), 8, 2048)
    exact = uniform(keys, STEP, *counters(8, 2048, "cpu"))
    for way in (uniform, Fused(uniform)):
        assert torch.equal(way(keys.cuda(), STEP.cuda(), *counters(8, 2048, "cuda")).cpu(), exact)
    torch.testing.assert_close(made.cpu(), gumbel(keys, STEP, 8, 2048), atol=4e-6, rtol=0)
