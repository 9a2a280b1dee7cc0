"""Noise that depends on nothing but its key and its place: a counter-based generator."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from evalkit.store.digests import canonical

WORD = 0xFFFFFFFF
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85  # the golden ratio and sqrt(3) - 1
TOKENS = 1  # the last word of the counter: noise for another purpose takes another number


def philox(counter: Sequence[torch.Tensor], key: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Encrypt counters: Philox4x32-10 of Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".

    Args:
        counter: four words, and
        key: two, each an int64 tensor of values from 0 to 2^32 - 1; their shapes are broadcast.

    Returns:
        four words of that kind.
    """
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(10):
        # the sign of a product that overflowed is shifted into the upper bits and masked
        p, q = x0 * MULTIPLIERS[0], x2 * MULTIPLIERS[1]
        x0, x1 = ((q >> 32) ^ x1 ^ k0) & WORD, q & WORD
        x2, x3 = ((p >> 32) ^ x3 ^ k1) & WORD, p & WORD
        k0, k1 = (k0 + WEYL[0]) & WORD, (k1 + WEYL[1]) & WORD
    return x0, x1, x2, x3


def clip_keys(seed: int, ids: Sequence[str], device: Any) -> torch.Tensor:
    """Key of each clip, (clips, 2) int64: two words of SHA-256 of the seed and the prompt's id."""
    digests = [hashlib.sha256(canonical([seed, i]).encode()).digest()[:8] for i in ids]
    words = np.frombuffer(b"".join(digests), dtype="<u4").reshape(-1, 2)
    return torch.from_numpy(words.astype(np.int64)).to(device)


def gumbel(keys: torch.Tensor, step: torch.Tensor, codebooks: int, vocabulary: int) -> torch.Tensor:
    """Standard Gumbel noise, (clips, codebooks, vocabulary) float32.

    The noise of token v of codebook c is word v % 4 of the counter (v // 4, step, c, TOKENS).

    Args:
        keys: (clips, 2), from `clip_keys`.
        step: int64 tensor without dimensions, not negative; it is not read back from a GPU.
    """
    if keys.device.type != "cpu":
        return to_gumbel(uniform(keys, step, *counters(codebooks, vocabulary, keys.device)))[..., :vocabulary]
    blocks, books = np.arange(-(-vocabulary // 4), dtype=np.uint64), _books(codebooks)
    out = np.empty((len(keys), codebooks, len(blocks), 4), np.float32)
    for clips in _parts(len(keys)):
        for i, word in enumerate(_philox_numpy(blocks, books, step, keys[clips])):
            out[clips, ..., i] = word.view(np.int64)
    return to_gumbel(to_uniform(torch.from_numpy(out).flatten(2)))[..., :vocabulary]


def gumbel_of(keys: torch.Tensor, step: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The values that `gumbel` has at `tokens`, (clips, codebooks, some): all on a CPU, and cheaper for a few."""
    blocks, odd, high = (tokens >> 2).numpy().view(np.uint64), ((tokens & 1) > 0).numpy(), ((tokens & 2) > 0).numpy()
    books = _books(tokens.shape[1])
    out = np.empty(tokens.shape, np.float32)
    for clips in _parts(len(keys)):
        words = _philox_numpy(blocks[clips], books, step, keys[clips])
        lower, upper = np.where(odd[clips], words[1], words[0]), np.where(odd[clips], words[3], words[2])
        out[clips] = np.where(high[clips], upper, lower).view(np.int64)  # several times as fast as np.choose
    return to_gumbel(to_uniform(torch.from_numpy(out)))


def _books(codebooks: int) -> np.ndarray:
    return np.arange(codebooks, dtype=np.uint64)[:, None]


def _parts(clips: int) -> list[slice]:
    """A few clips at a time: enough to make calls rare, and few enough for the cache of a core."""
    return [slice(start, start + 4) for start in range(0, clips, 4)]


def counters(codebooks: int, vocabulary: int, device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The words of counters that number codebooks, (codebooks, 1), and blocks of four tokens, (blocks,)."""
    blocks = torch.arange(-(-vocabulary // 4), device=device)
    return torch.arange(codebooks, device=device)[:, None], blocks


def uniform(keys: torch.Tensor, step: torch.Tensor, books: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
    """What `gumbel` makes its noise from, (clips, codebooks, 4 blocks) float32 in (0, 1), in tensor operations.

    It is exact: integers, one rounding, and a clamp. So it is the same on every device, compiled or not, as long
    as `books` and `blocks`, from `counters`, come from memory: numbers that torch's compiler counts by itself it
    also multiplies by itself, in 32 bits.
    """
    words = philox((blocks, step, books, torch.full_like(step, TOKENS)), keys[:, :, None, None].unbind(1))
    return to_uniform(torch.stack(words, dim=-1).to(torch.float32)).flatten(2)


def to_uniform(words: torch.Tensor) -> torch.Tensor:
    """Map words that were rounded to float32 to (0, 1), in place: from 2^-33 to 1 - 2^-24."""
    return words.add_(0.5).mul_(2.0**-32).clamp_(max=1 - 2.0**-24)


def to_gumbel(uniform: torch.Tensor) -> torch.Tensor:
    """Map numbers in (0, 1) to standard Gumbel noise, in place.

    The logarithms are those of the device: between two devices, or compiled and not, last bits can differ.
    """
    # Small numbers keep all their bits in float32, and log1p makes of them the right tail, which is what wins:
    # it is exact down to the last word, 2^-33. The left tail is coarse at its end, and ends at -2.8, below
    # which there is one draw in 10^7.
    return uniform.neg_().log1p_().neg_().log_().neg_()


def _philox_numpy(x0: np.ndarray, x2: np.ndarray, step: torch.Tensor, keys: torch.Tensor) -> list[np.ndarray]:
    """The four words of the counter (x0, step, x2, TOKENS) in uint64: `philox`, several times as fast on one core."""
    first, second, *others = (keys.numpy().view(np.uint64).T[:, :, None, None] + _WEYL) & _LOW
    p, q = x0 * _M[1, 0], x2 * _M[0, 0]
    x0, x1 = (q >> _HALF) ^ np.uint64(int(step)) ^ first[0], q & _LOW
    x2, x3 = (p >> _HALF) ^ np.uint64(TOKENS) ^ first[1], p & _LOW
    p, q = x0 * _M[1, 0], x2 * _M[0, 0]
    shape = np.broadcast_shapes(p.shape, q.shape)  # until here no word depended on everything
    # words 0 and 2 side by side, and so 1 and 3: half as many calls, which cost as much as the work
    product, even, odd = np.empty((3, 2, *shape), np.uint64)
    even[0], odd[0] = (q >> _HALF) ^ x1 ^ second[0], q & _LOW
    even[1], odd[1] = (p >> _HALF) ^ x3 ^ second[1], p & _LOW
    swapped = even[::-1]
    for key in others:
        np.multiply(swapped, _M, out=product)
        np.right_shift(product, _HALF, out=even)
        np.bitwise_xor(even, odd, out=even)
        np.bitwise_xor(even, key, out=even)
        np.bitwise_and(product, _LOW, out=odd)
    return [even[0], odd[0], even[1], odd[1]]


_M = np.array(MULTIPLIERS[::-1], np.uint64).reshape(2, 1, 1, 1)
_WEYL = np.array([[w * turn for w in WEYL] for turn in range(10)], np.uint64).reshape(10, 2, 1, 1, 1)
_HALF, _LOW = np.array(32, np.uint64), np.array(WORD, np.uint64)
