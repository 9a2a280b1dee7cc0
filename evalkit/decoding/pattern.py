"""The delay pattern: in which step of the decoder each codebook of each frame is chosen.

Codebook k of frame f stands at position 1 + f + delay[k] of the sequence, and the special token
everywhere else, position 0 included (Copet et al. 2023, "Simple and Controllable Music Generation",
section 2.2; the "delay" pattern of audiocraft's codebooks_patterns.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evalkit.errors import EvalkitError

if TYPE_CHECKING:
    import torch

UNKNOWN = -1


def delays_of(decoder: Any) -> list[int]:
    """The delay of each codebook, in frames, from the configuration of a MusicGen decoder.

    One more for each codebook of a channel; left and right of a stereo model are interleaved. A
    checkpoint that was trained with others says so in `codebook_delays`. Raises EvalkitError for
    delays that are none.
    """
    own = getattr(decoder, "codebook_delays", None)
    if own is None:
        return [k // decoder.audio_channels for k in range(decoder.num_codebooks)]
    if not (
        isinstance(own, (list, tuple))
        and len(own) == decoder.num_codebooks
        and all(type(delay) is int and delay >= 0 for delay in own)
    ):
        raise EvalkitError(
            f"the checkpoint's codebook_delays are {own!r}: there must be one for each of its "
            f"{decoder.num_codebooks} codebooks, a whole number of frames"
        )
    return list(own)


def sequence(codes: torch.Tensor, delays: Sequence[int], special: int) -> torch.Tensor:
    """Lay out codes (clips, codebooks, frames), `UNKNOWN` where they are to be chosen, over the decoder's positions.

    Returns (clips, codebooks, 1 + frames + largest delay).
    """
    clips, codebooks, frames = codes.shape
    laid = codes.new_full((clips, codebooks, 1 + frames + max(delays)), special)
    for k, delay in enumerate(delays):
        laid[:, k, 1 + delay : 1 + delay + frames] = codes[:, k]
    return laid


def codes_of(laid: torch.Tensor, delays: Sequence[int]) -> torch.Tensor:
    """The codes (clips, codebooks, frames) that `sequence` laid out."""
    import torch

    frames = laid.shape[2] - 1 - max(delays)
    return torch.stack([laid[:, k, 1 + d : 1 + d + frames] for k, d in enumerate(delays)], dim=1)


def first_unknown(laid: torch.Tensor) -> int:
    """The first position at which a token is unknown; the sequence's length where none is."""
    unknown = (laid == UNKNOWN).flatten(0, 1).any(dim=0).nonzero()
    return int(unknown[0]) if len(unknown) else laid.shape[2]
