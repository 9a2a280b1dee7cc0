"""Seeds and random generators that are functions of a key."""

from __future__ import annotations

import hashlib

import numpy as np

from evalkit.store.digests import canonical, digest


def noise_seed(seed: int, prompt_id: str) -> int:
    """Make a seed for torch's generators, below 2^63, that depends on a clip's own key alone."""
    own = hashlib.sha256(canonical([seed, prompt_id]).encode()).digest()
    return int.from_bytes(own[:8], "little") >> 1


def keyed(*key: str | int) -> np.random.Generator:
    """Make a random generator that depends on nothing but its key."""
    return np.random.Generator(np.random.Philox(key=int(digest(list(key))[:32], 16)))
