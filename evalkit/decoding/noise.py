"""Noise that depends on nothing but its key and its place: a counter-based generator."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from evalkit import store

log = logging.getLogger(__name__)

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
    digests = [hashlib.sha256(store.canonical([seed, i]).encode()).digest()[:8] for i in ids]
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
        return _gumbel(_fused(keys, step, codebooks, vocabulary))
    blocks = -(-vocabulary // 4)
    counter = np.arange(blocks, dtype=np.uint64), np.arange(codebooks, dtype=np.uint64)[:, None]
    out = np.empty((len(keys), codebooks, blocks, 4), np.float32)
    for clip, key in zip(out, keys.tolist(), strict=True):
        for i, word in enumerate(_philox_numpy(*counter, int(step), key)):
            clip[..., i] = word.view(np.int64)
    return _gumbel(to_uniform(torch.from_numpy(out).flatten(2)))[..., :vocabulary]


def gumbel_of(keys: torch.Tensor, step: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The values that `gumbel` has at `tokens`, (clips, codebooks, some): all on a CPU, and cheaper for a few."""
    blocks, odd, high = (tokens >> 2).numpy().view(np.uint64), (tokens & 1 > 0).numpy(), (tokens & 2 > 0).numpy()
    books = np.arange(tokens.shape[1], dtype=np.uint64)[:, None]
    out = np.empty(tokens.shape, np.float32)
    for i, key in enumerate(keys.tolist()):
        words = _philox_numpy(blocks[i], books, int(step), key)
        lower, upper = np.where(odd[i], words[1], words[0]), np.where(odd[i], words[3], words[2])
        out[i] = np.where(high[i], upper, lower).view(np.int64)  # several times as fast as np.choose
    return _gumbel(to_uniform(torch.from_numpy(out)))


def uniform(keys: torch.Tensor, step: torch.Tensor, codebooks: int, vocabulary: int) -> torch.Tensor:
    """What `gumbel` makes its noise from, (clips, codebooks, vocabulary) float32 in (0, 1), in tensor operations.

    It is exact: integers, one rounding, and a clamp. So it is the same on every device, compiled or not.
    """
    blocks = torch.arange(-(-vocabulary // 4), device=keys.device)
    books = torch.arange(codebooks, device=keys.device)[:, None]
    words = philox((blocks, step, books, torch.full_like(step, TOKENS)), keys[:, :, None, None].unbind(1))
    return to_uniform(torch.stack(words, dim=-1).to(torch.float32)).flatten(2)[..., :vocabulary].contiguous()


def to_uniform(words: torch.Tensor) -> torch.Tensor:
    """Map words that were rounded to float32 to (0, 1), in place: from 2^-33 to 1 - 2^-24."""
    return words.add_(0.5).mul_(2.0**-32).clamp_(max=1 - 2.0**-24)


def _gumbel(uniform: torch.Tensor) -> torch.Tensor:
    # Small numbers keep all their bits in float32, and log1p makes the right tail of them, the one that
    # wins: it is exact to the last word, 2^-33. What is lost is the left tail: it ends at -2.8, which
    # Gumbel noise falls below once in 10^7 times, and is coarse before. Such noise never wins.
    return uniform.neg_().log1p_().neg_().log_().neg_()


def _philox_numpy(x0: np.ndarray, x2: np.ndarray, step: int, key: Sequence[int]) -> list[np.ndarray]:
    """The four words of the counter (x0, step, x2, TOKENS) in uint64: `philox`, several times as fast on one core."""
    key = np.array(key, np.uint64)[:, None]
    # words 0 and 2 side by side, and so 1 and 3: half as many calls, whose cost is what counts
    p, q = x0 * _M[1, 0], x2 * _M[0, 0]
    x0, x1, x2, x3 = q >> _HALF ^ np.uint64(step) ^ key[0], q & _LOW, p >> _HALF ^ np.uint64(TOKENS) ^ key[1], p & _LOW
    key = key + _WEYL & _LOW
    p, q = x0 * _M[1, 0], x2 * _M[0, 0]
    shape = np.broadcast_shapes(p.shape, q.shape)
    product, even, odd = np.empty((3, 2, *shape), np.uint64)
    even[0], odd[0], even[1], odd[1] = q >> _HALF ^ x1 ^ key[0], q & _LOW, p >> _HALF ^ x3 ^ key[1], p & _LOW
    product, even, odd = (x.reshape(2, -1) for x in (product, even, odd))
    swapped = even[::-1]
    for _ in range(8):
        key = key + _WEYL & _LOW
        np.multiply(swapped, _M, out=product)
        np.right_shift(product, _HALF, out=even)
        np.bitwise_xor(even, odd, out=even)
        np.bitwise_xor(even, key, out=even)
        np.bitwise_and(product, _LOW, out=odd)
    return [x.reshape(shape) for x in (even[0], odd[0], even[1], odd[1])]


_M = np.array(MULTIPLIERS[::-1], np.uint64)[:, None]
_WEYL = np.array(WEYL, np.uint64)[:, None]
_HALF, _LOW = np.array(32, np.uint64), np.array(WORD, np.uint64)


def _fused(*args: Any) -> torch.Tensor:
    """`uniform` as one kernel on a GPU; where that cannot be compiled, as many small ones, and said once."""
    global _compiled
    if _compiled is None:
        _compiled = torch.compile(uniform, dynamic=False)
    try:
        return _compiled(*args)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        if _compiled is uniform:
            raise
        log.warning("the noise is made without torch.compile, which is slower: %s", str(error).partition("\n")[0])
        _compiled = uniform
        return uniform(*args)


_compiled: Callable[..., torch.Tensor] | None = None
