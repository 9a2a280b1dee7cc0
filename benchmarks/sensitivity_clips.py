"""Clips of the synthesizer that are made worse, each in one way and step by step, for `benchmarks.sensitivity`."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from evalkit.audio import Audio, normalize_loudness
from evalkit.models.synth.synth import Synth
from evalkit.prompts.synthetic import made_up
from evalkit.store.seeds import keyed
from evalkit.types import Prompt

CLEAN, WORSE = 1, 2  # seeds of the clean clips, and of all others; references are played with 0
AGAIN = (2, 3, 4, 5)  # seeds of clean clips in which whatever is seen is a false alarm


@dataclass(frozen=True)
class Degraded(Synth):
    """A synthesizer whose knobs make some clips of a set worse.

    Attributes:
        prompts: how many synthetic prompts the set has.
        share: of the prompts whose clips are worse; those of a smaller share are among those of a larger one.
        copies: share of the prompts that get a copy of another prompt's clip.
        loudness: in LUFS, that clips are brought to, as the protocol does it; None for as they are played.
    """

    prompts: int = 100
    share: float = 1.0
    copies: float = 0.0
    loudness: float | None = None
    kind: ClassVar[str] = "degraded synth"

    def render(self, prompt: Prompt, seed: int, seconds: float) -> Audio:
        played = self._played(prompt, seed, seconds)
        return played if self.loudness is None else normalize_loudness(played, self.loudness)

    def _played(self, prompt: Prompt, seed: int, seconds: float) -> Audio:
        number = int(prompt.id.rpartition("-")[2])
        if order(self.prompts)[number - 1] >= round(self.share * self.prompts):
            return Synth().render(prompt, seed, seconds)
        different = max(1, self.prompts - round(self.copies * self.prompts))
        return super().render(made_up((number - 1) % different + 1), seed, seconds)


@functools.cache
def order(prompts: int) -> Sequence[int]:
    """The place of each prompt in the order in which clips get worse."""
    return [int(place) for place in keyed("worse", prompts).permutation(prompts)]


@dataclass(frozen=True)
class Degradation:
    """One way in which clips get worse.

    Attributes:
        about: what is done to them.
        unit: of the strengths.
        knobs: of `Degraded`, by strength, the least first.
    """

    about: str
    unit: str
    knobs: Mapping[float, Mapping[str, Any]]


def _of(about: str, unit: str, knob: str, strengths: Sequence[float], **others: Any) -> Degradation:
    return Degradation(about, unit, {strength: {knob: strength, **others} for strength in strengths})


NOISES: Mapping[float, Mapping[str, Any]] = {ratio: {"noise": 10 ** (-ratio / 20)} for ratio in (40, 30, 20, 10)}
DEGRADATIONS: Mapping[str, Degradation] = {
    "low-pass": _of("a steep low-pass filter, cutoff in Hz", "Hz", "low_pass", (12000, 8000, 4000, 1000)),
    "noise": Degradation("white noise in each channel, at this ratio of signal to noise", "dB SNR", NOISES),
    "detuning": _of("each note is mistuned by a normal deviate of so many cents", "cents", "detune", (10, 25, 50, 100)),
    "timing": _of("each onset is moved by a normal deviate of so many ms", "ms", "timing", (10, 30, 100, 300)),
    "clipping": _of("clips are driven so far over full scale, and clipped there", "dB", "overdrive", (3, 6, 12, 24)),
    "mono": _of(
        "so much of the difference of left and right is taken away; the downmix stays, but the protocol levels it "
        "louder, by 2 dB where nothing of the difference is left",
        *("of the side", "narrow", (0.5, 0.75, 1)),
    ),
    "silence in clips": _of(
        "so much of each clip, its end, is digital silence", "of each clip", "silence", (0.05, 0.1, 0.3, 0.6)
    ),
    "silent clips": _of(
        "so many clips are digital silence", "of clips", "share", (0.01, 0.05, 0.1, 0.3), silence=1.0
    ),
    "wrong captions": _of(
        "so many clips follow another caption, of other instruments, tempo and key",
        *("of clips", "share", (0.05, 0.1, 0.3, 1)),
        wrong_caption=True,
    ),
    "drums gone": _of("drums and percussion are so much softer, at 60 dB gone", "dB", "drums", (6, 12, 60)),
    "repetition": _of("the clip's first so many seconds are repeated till its end", "s", "loop", (2, 1, 0.5, 0.25)),
    "fewer different clips": _of(
        "so many clips are copies of other prompts' clips", "of clips", "copies", (0.25, 0.5, 0.8, 0.95)
    ),
}  # fmt: skip
