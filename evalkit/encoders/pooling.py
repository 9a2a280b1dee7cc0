"""Hidden states of a network over a clip: all of them, their means over seconds, or their maximum."""

from __future__ import annotations

from typing import Any, Literal

Pool = Literal["frames", "seconds", "max"]


def pooled(states: Any, pool: Pool, rate: float) -> Any:
    """Pool a tensor of hidden states (clips, frames, dimensions) over time.

    "frames" leaves them as they are. "seconds" gives the means over one second after the other, without the rest
    at the end, as kadtk's `postprocess_resoultion` does: of as many frames, rounded down, as a second has on average.
    "max" gives the maximum over all frames, (clips, 1, dimensions).

    Args:
        rate: frames per second, on average.
    """
    if pool == "frames":
        return states
    if pool == "max":
        return states.amax(1, keepdim=True)
    clips, frames, dimensions = states.shape
    size = int(rate)
    count = frames // size
    return states[:, : count * size].reshape(clips, count, size, dimensions).mean(2)
