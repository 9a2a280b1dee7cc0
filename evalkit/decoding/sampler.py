"""From logits to tokens: guidance, temperature, filters and keyed noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from evalkit.decoding import fused
from evalkit.decoding.fused import Fused
from evalkit.decoding.noise import clip_keys, counters, gumbel, gumbel_of, to_gumbel, uniform
from evalkit.settings import Sampling


class Sampler:
    """Chooses tokens with noise that depends on a clip's own key, the codebook and the step alone.

    The largest of log p + Gumbel noise has the distribution p. All state is in tensors made here and
    nothing is read back from a GPU, so that calls can be recorded in a CUDA graph; a recorded graph
    serves other clips after `reset`.

    Attributes:
        finite: (clips,) bool: whether a clip's logits were finite at every step.
        finite_books: (clips, codebooks) bool: the same of each codebook.
        guidance_scale: that of the sampling.
    """

    def __init__(self, ids: Sequence[str], codebooks: int, sampling: Sampling, device: Any):
        """`ids` are the clips' prompt ids."""
        self.sampling = sampling
        self.guidance_scale = sampling.guidance_scale
        self.codebooks = codebooks
        self.keys = clip_keys(sampling.seed, ids, device)
        self.finite_books = torch.ones(len(ids), codebooks, dtype=torch.bool, device=device)
        # numbers that a GPU reads from its memory, as other ones then need no other kernels
        self._scale = torch.tensor(sampling.guidance_scale, dtype=torch.float32, device=device)
        self._inverse = torch.tensor(1 / sampling.temperature, dtype=torch.float32, device=device)
        self._known: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._lowest = torch.full((len(ids), codebooks, 1), -math.inf, device=device)

    @property
    def finite(self) -> torch.Tensor:
        return self.finite_books.all(dim=1)

    def facts(self) -> dict[str, str]:
        """How tokens are chosen: "compiled" kernels or "plain" tensor operations. Known after the first call."""
        compiled = fused.compiles_on(self.keys.device) and not fused.failed()
        return {"sampler": "compiled" if compiled else "plain"}

    def reset(self, ids: Sequence[str]) -> None:
        """Begin with as many other clips."""
        self.keys.copy_(clip_keys(self.sampling.seed, ids, "cpu"))
        self.finite_books.fill_(True)

    def __call__(self, logits: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Choose one token per clip and codebook, (clips, codebooks) int64.

        Args:
            logits: (halves, clips, codebooks, tokens) of any dtype; the conditional half comes first,
                and there is another one where there is guidance.
            step: int64 tensor without dimensions; 0 for the first position after the start token.
        """
        return self._on_cpu(logits, step) if logits.device.type == "cpu" else self._on_device(logits, step)

    def _on_device(self, logits: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Four kernels on a GPU where they could be compiled: scores, top-k, its smallest value, and the choice."""
        scores = score(logits, self._scale, self._inverse, self.finite_books)
        top_k, top_p, smallest = self.sampling.top_k, self.sampling.top_p, self._lowest
        if top_p > 0:
            scores = keep(scores, top_k, top_p)
        elif top_k > 0:
            smallest = smallest_kept(scores, top_k)
        return choose(scores, smallest, self.keys, step, *self._counters(scores.shape[2]))

    def _counters(self, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Those of the noise, made at the first call, which is never recorded."""
        if vocabulary not in self._known:
            self._known[vocabulary] = counters(self.codebooks, vocabulary, self.keys.device)
        return self._known[vocabulary]

    def _on_cpu(self, logits: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        scores = guide(logits, self.guidance_scale)
        self.finite_books &= (scores * 0).sum(dim=2) == 0  # NaN for what is not finite
        top_k, top_p, temperature = self.sampling.top_k, self.sampling.top_p, self.sampling.temperature
        if temperature != 1:
            scores = scores / temperature
        if 0 < top_k < scores.shape[2] and top_p <= 0:
            chosen = self._choose_of_top(scores, step)
            if chosen is not None:
                return chosen
        return gumbel(self.keys, step, *scores.shape[1:]).add_(keep(scores, top_k, top_p)).argmax(dim=2)

    def _choose_of_top(self, scores: torch.Tensor, step: torch.Tensor) -> torch.Tensor | None:
        """The same choice with noise for the kept tokens alone, half the work; None where more than k are kept."""
        values, tokens = scores.topk(self.sampling.top_k + 1, dim=2, sorted=False)
        last = values == values.amin(dim=2, keepdim=True)
        if (last.sum(dim=2) != 1).any():  # a tie for the last place, or NaN
            return None
        noisy = gumbel_of(self.keys, step, tokens).add_(values.masked_fill_(last, -math.inf))
        # of equal ones the first in the vocabulary, as argmax does
        return tokens.masked_fill_(noisy < noisy.amax(dim=2, keepdim=True), scores.shape[2]).amin(dim=2)


def guide(logits: torch.Tensor, scale: float) -> torch.Tensor:
    """Apply classifier-free guidance (Ho & Salimans 2022) to (halves, ...), as audiocraft and transformers do.

    That is uncond + scale (cond - uncond), in float32; logits of one half are returned as they are.
    """
    if len(logits) == 1:
        return logits[0].float()
    conditional, unconditional = logits.float()
    return (conditional - unconditional).mul_(scale).add_(unconditional)


@Fused
def score(logits: torch.Tensor, scale: torch.Tensor, inverse: torch.Tensor, finite: torch.Tensor) -> torch.Tensor:
    """Apply guidance, as `guide` does, and temperature to (halves, clips, codebooks, tokens), for a GPU.

    Results are the same to the bit whether it was compiled or not: no product is rounded before something is added
    to it. A compiler that makes one operation of the two (a fused multiply-add) therefore changes nothing.

    Args:
        scale: that of guidance, and
        inverse: one over the temperature: float32 without dimensions.
        finite: (clips, codebooks) bool: set to False, in place, where a guided logit is not finite.
    """
    scores = logits[0].float()
    if len(logits) == 2:
        other = logits[1].float()
        # a product of two float32 numbers has at most 48 bits
        scores = ((scores - other).double() * scale.double() + other.double()).float()
    finite &= scores.isfinite().all(dim=2)
    return scores * inverse


@Fused
def choose(
    scores: torch.Tensor,
    smallest: torch.Tensor,
    keys: torch.Tensor,
    step: torch.Tensor,
    books: torch.Tensor,
    blocks: torch.Tensor,
) -> torch.Tensor:
    """Choose the token of the largest score + noise among scores that reach `smallest`, (clips, codebooks, 1)."""
    noise = to_gumbel(uniform(keys, step, books, blocks))[..., : scores.shape[2]]
    return (noise + scores.masked_fill(scores < smallest, -math.inf)).argmax(dim=2)


def keep(logits: torch.Tensor, top_k: int, top_p: float) -> torch.Tensor:
    """Set to -inf what top-p (where top_p > 0) or else top-k (where top_k > 0) leaves out of the last dimension.

    The rule of audiocraft's `sample_top_p` and `sample_top_k`, ties included.
    """
    if top_p > 0:
        ordered, order = logits.sort(dim=-1, descending=True)
        probabilities = ordered.softmax(dim=-1)
        before = probabilities.cumsum(dim=-1) - probabilities
        return logits.scatter(-1, order, ordered.masked_fill(before > top_p, -math.inf))
    if top_k > 0:
        return logits.masked_fill(logits < smallest_kept(logits, top_k), -math.inf)
    return logits


def smallest_kept(logits: torch.Tensor, top_k: int) -> torch.Tensor:
    """The k-th largest number of the last dimension, or the smallest where there are fewer, (..., 1)."""
    return logits.topk(min(top_k, logits.shape[-1]), dim=-1, sorted=False).values.amin(dim=-1, keepdim=True)
