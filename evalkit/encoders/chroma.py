"""Chromagrams: which pitch class dominates when, 32 kHz mono to 12 classes per frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from evalkit.encoders import Input, Reads, mono_input
from evalkit.errors import EvalkitError
from evalkit.precision import fixed_precision
from evalkit.store.cache import Cache


@dataclass(frozen=True)
class Chroma:
    """audiocraft's ChromaExtractor (modules/chroma.py), framed as its metrics/chroma_cosinesim.py does.

    Attributes:
        n_chroma: pitch classes.
        radix2_exp: the STFT's window is 2**radix2_exp samples, its hop a quarter of that.
        argmax: one-hot frames instead of frames whose largest value is 1.
    """

    n_chroma: int = 12
    radix2_exp: int = 14
    argmax: bool = True
    sample_rate: int = 32000
    channels: Literal["mean", "first", "side"] = "mean"
    resampler: str = "julius"
    remove_dc: bool = False
    kind: ClassVar[str] = "chromagram"
    reads: ClassVar[Reads] = "audio"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _ = self.hears  # which knows what names are right
        if not 1 <= self.n_chroma <= 120 or not 8 <= self.radix2_exp <= 18:
            raise EvalkitError(
                f"chroma: n_chroma={self.n_chroma} and radix2_exp={self.radix2_exp} must lie in 1 to 120 and 8 to 18"
            )

    @property
    def hears(self) -> Input:
        return mono_input(self.sample_rate, self.channels, self.resampler, self.remove_dc)

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Build the filters; the function gives (ceil(samples / hop), n_chroma)."""
        import librosa
        import torch

        size, hop = 2**self.radix2_exp, 2**self.radix2_exp // 4
        filters = torch.from_numpy(
            librosa.filters.chroma(sr=self.sample_rate, n_fft=size, tuning=0, n_chroma=self.n_chroma)
        ).to(device)
        window = torch.hann_window(size, device=device)
        norm = window.square().sum().sqrt()

        @fixed_precision()
        def encode(clips: list[np.ndarray]) -> list[np.ndarray]:
            with torch.inference_mode():
                return [one(clip).cpu().numpy() for clip in clips]

        def one(clip: np.ndarray) -> Any:
            samples = torch.from_numpy(np.asarray(clip, np.float32)).to(device)
            missing = max(0, size - len(samples))
            samples = torch.nn.functional.pad(samples, (missing // 2, missing - missing // 2))
            spectrum = torch.stft(samples, size, hop, window=window, center=True, return_complex=True)
            frames = (filters @ (spectrum / norm).abs().square()).T[: -(-len(clip) // hop)]
            frames = torch.nn.functional.normalize(frames, p=torch.inf, dim=1, eps=1e-6)
            if not self.argmax:
                return frames
            return torch.nn.functional.one_hot(frames.argmax(1), self.n_chroma).float()

        return encode
