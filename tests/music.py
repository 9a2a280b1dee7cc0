"""Music for tests: captions that evalkit's synthesizer renders, treated as what happens to music in the wild.

`EVALKIT_TEST_MUSIC=N` in the environment makes other pieces, N standing for a seed. Recordings are used beside it where
their folder is there.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

import numpy as np
import scipy.signal

from evalkit import audio
from evalkit.audio import Audio
from evalkit.models.synth.synth import Synth
from evalkit.types import Prompt
from tests.conftest import ROOT

SEED = int(os.environ.get("EVALKIT_TEST_MUSIC", "0"))
RECORDINGS = ROOT.parent / "shared" / "data" / "audio"

MOODS = ("slow, sad", "fast and loud", "calm", "energetic", "dark", "playful", "soft, sparse", "busy", "medium tempo")
KEYS = ("C major", "A minor", "F sharp minor", "E flat major", "B minor", "G major", "D minor", "A flat major")
INSTRUMENTS = (
    "piano", "acoustic guitar", "distorted electric guitar", "strings", "flute", "brass", "organ", "pad", "synth lead",
    "bells", "choir", "electric piano",
)  # fmt: skip
RHYTHMS = ("", ", bass and drums", ", bongos and shakers", " over a bass line", ", punchy drums")


def caption(rng: np.random.Generator) -> str:
    """A caption that the synthesizer can follow."""
    players = " and ".join(rng.choice(INSTRUMENTS, rng.integers(1, 4), replace=False))
    mood, rhythm, key = rng.choice(MOODS), rng.choice(RHYTHMS), rng.choice(KEYS)
    return f"A {mood} piece for {players}{rhythm} at {rng.integers(46, 200)} bpm in {key}."


@functools.lru_cache(maxsize=64)
def _rendered(rate: int, seconds: float, seed: int) -> np.ndarray:
    """A piece (2, samples) with a peak of 0.5."""
    rng = np.random.default_rng((seed, 1))
    piece = Synth().render(Prompt("test", caption(rng)), seed, seconds + 0.1).samples
    if rate != 32000:
        piece = scipy.signal.resample_poly(piece, *_ratio(rate, 32000), axis=1)
    piece = piece[:, : round(seconds * rate)] / np.abs(piece).max() / 2
    # the air of a room, up to the highest frequency
    return piece + rng.normal(0, 1e-4, piece.shape) * (np.abs(piece).sum(0) > 0)


def _ratio(new: int, old: int) -> tuple[int, int]:
    common = np.gcd(new, old)
    return int(new // common), int(old // common)


def _pauses(x: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Three stretches of digital silence, the last at the end."""
    x, n = x.copy(), x.shape[1]
    for start in (*rng.integers(0, int(0.8 * n), 2), int(0.9 * n)):
        x[:, start : start + int(rng.uniform(0.05, 0.2) * n)] = 0
    x[:, int(0.9 * n) :] = 0
    return x


def _bursts(x: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Noise at full scale in five short places."""
    x, n = x.copy(), x.shape[1]
    for start in rng.integers(0, n, 5):
        part = x[:, start : start + n // 40]
        part += rng.uniform(-0.8, 0.8, part.shape)
    return np.clip(x, -1, 1)


def _low(x: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Little but a deep bass, where filters in float32 are at their worst."""
    return 0.02 * x + 0.6 * np.sin(2 * np.pi * rng.uniform(22, 80) * np.arange(x.shape[1]) / rate)


TREATMENTS: dict[str, Callable[[np.ndarray, int, np.random.Generator], np.ndarray]] = {
    "plain": lambda x, rate, rng: x,
    "hot": lambda x, rate, rng: 2 * x,
    "clipped": lambda x, rate, rng: np.clip(x * rng.uniform(5, 12), -1, 1),
    "over full scale": lambda x, rate, rng: x * rng.uniform(3, 6),
    "quiet": lambda x, rate, rng: x * 10 ** rng.uniform(-1.6, -1.2),
    "very quiet": lambda x, rate, rng: x * 10 ** rng.uniform(-3.2, -2.7),
    "pauses": _pauses,
    "fading in": lambda x, rate, rng: x * np.geomspace(1e-4, 2, x.shape[1]),
    "mono": lambda x, rate, rng: np.repeat(x[:1], 2, axis=0),
    "left only": lambda x, rate, rng: x * [[1.8], [0]],
    "anti-phase": lambda x, rate, rng: x[:1] * [[1], [-0.7]],
    "wide": lambda x, rate, rng: np.stack([x[0], np.roll(x[1], x.shape[1] // 3)]),
    "off centre": lambda x, rate, rng: x + rng.uniform(0.05, 0.3, (2, 1)) * [[1], [-0.5]],
    "bursts": _bursts,
    "hiss": lambda x, rate, rng: x + rng.normal(0, 10 ** rng.uniform(-3, -1.5), x.shape),
    "low": _low,
}


def rendered(kind: str, rate: int, seconds: float, seed: int = SEED) -> np.ndarray:
    """A piece of music under one of TREATMENTS: (2, samples), float32. Each kind and seed has a piece of its own."""
    number = 1000 * seed + list(TREATMENTS).index(kind)
    treated = TREATMENTS[kind](_rendered(rate, seconds, number), rate, np.random.default_rng((number, 2)))
    return np.ascontiguousarray(treated, np.float32)


def recording(name: str, rate: int, seconds: float, start: float = 0.0) -> np.ndarray | None:
    """A part of a recording at `rate` Hz, (channels, samples); None where there are no recordings."""
    if not RECORDINGS.is_dir():
        return None
    whole = audio.resample(audio.read(RECORDINGS / name), rate).samples
    part = np.ascontiguousarray(whole[:, round(start * rate) :][:, : round(seconds * rate)])
    assert part.shape[1] == round(seconds * rate), name
    return part


def clips(rate: int, seconds: float, *kinds: str, start: float = 0.0) -> dict[str, np.ndarray]:
    """Music of some kinds, or of all: names to (channels, samples). A kind may be the name of a recording's file."""
    found = {}
    for kind in kinds or TREATMENTS:
        made = rendered(kind, rate, seconds) if kind in TREATMENTS else recording(kind, rate, seconds, start)
        if made is not None:
            found[kind] = made
    return found


def sounds(rate: int, seconds: float, *kinds: str, start: float = 0.0) -> dict[str, np.ndarray]:
    """The same downmixed: names to (samples,)."""
    together = clips(rate, seconds, *kinds, start=start)
    return {name: audio.downmix(Audio(clip, rate)).samples[0] for name, clip in together.items()}
