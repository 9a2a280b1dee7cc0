"""VGGish: the embeddings of FAD, 16 kHz mono to 128 dimensions per window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from evalkit import compat
from evalkit.assets import Asset
from evalkit.encoders import Input, fill, randomize, seeded
from evalkit.errors import EvalkitError
from evalkit.store import Cache

RATE = 16000  # Hz
STFT_WINDOW, STFT_HOP, FFT = 400, 160, 512  # samples
MEL_BANDS, MEL_LOW, MEL_HIGH = 64, 125.0, 7500.0  # Hz
LOG_OFFSET = 0.01
PATCH = 96  # spectrogram frames the network reads at once: 0.96 s
CHUNK = 64  # patches in one forward


@dataclass(frozen=True)
class VGGish:
    """Hershey et al. 2017, "CNN Architectures for Large-Scale Audio Classification".

    The network is the one that frechet-audio-distance computes with: no last ReLU, no PCA. The front
    end is that of google-research's frechet_audio_distance, fed as audiocraft's metrics/fad.py does.

    Attributes:
        window, hop: of the windows in seconds, multiples of 10 ms; the network reads the first
            0.96 s of each window, and a clip shorter than one window has no frames.
        peak_headroom: decibels between full scale and the absolute peak that clips are first
            scaled to; None to leave the level.
        pcm16: round to 16 bits, as a wav file between two programs does.
        level: "positive_peak" divides by the largest positive sample (at least 0.1 of the smallest
            step of 16 bits); None leaves samples within [-1, 1].
    """

    weights: Asset
    window: float = 1.0
    hop: float = 0.5
    peak_headroom: float | None = 1.0
    pcm16: bool = True
    level: Literal["positive_peak"] | None = "positive_peak"
    sample_rate: int = RATE
    channels: Literal["mean", "first", "side"] = "mean"
    resampler: str = "julius"
    reads: ClassVar[str] = "audio"
    version: ClassVar[int] = 1

    @property
    def hears(self) -> Input:
        return Input(self.sample_rate, self.channels, self.resampler)

    def __post_init__(self) -> None:
        if self.sample_rate != RATE:
            raise EvalkitError(f"VGGish reads {RATE} Hz, not {self.sample_rate}")
        if self.level not in ("positive_peak", None):
            raise EvalkitError(f"VGGish: level '{self.level}' is not known: set positive_peak or null")
        frames = self.window * 100, self.hop * 100
        if min(frames[0] - PATCH, frames[1] - 1) < 0 or any(abs(f - round(f)) > 1e-6 for f in frames):
            raise EvalkitError(
                f"VGGish: window={self.window:g} and hop={self.hop:g} must be multiples of 0.01 s, "
                "the window at least 0.96"
            )

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network; its function gives (windows, 128), pre-activation."""
        import torch

        network = network_of(self.weights, cache).to(device).eval()

        def encode(clips: list[np.ndarray]) -> list[np.ndarray]:
            patches = [self.patches(clip) for clip in clips]
            together = torch.from_numpy(np.concatenate(patches))
            with torch.inference_mode():
                out = [network(chunk[:, None].to(device)).cpu() for chunk in together.split(CHUNK) if len(chunk)]
            embeddings = torch.cat(out).numpy() if out else np.empty((0, 128), np.float32)
            return np.split(embeddings, np.cumsum([len(p) for p in patches])[:-1])

        return encode

    def patches(self, clip: np.ndarray) -> np.ndarray:
        """Log-mel patches (windows, 96, 64) of a clip (samples,), float32."""
        window, hop = round(self.window * 100), round(self.hop * 100)  # in frames of 10 ms
        if len(clip) < window * STFT_HOP:
            return np.empty((0, PATCH, MEL_BANDS), np.float32)
        count = (len(clip) - window * STFT_HOP) // (hop * STFT_HOP) + 1
        # windows start at multiples of the STFT's hop, so one spectrogram serves them all
        spectrogram = log_mel(self.levelled(clip))
        return np.stack([spectrogram[k * hop : k * hop + PATCH] for k in range(count)]).astype(np.float32)

    def levelled(self, clip: np.ndarray) -> np.ndarray:
        """Scale and quantise a clip (samples,) as the protocol does; float64."""
        samples = np.asarray(clip, np.float32)
        peak = np.abs(samples).max(initial=0.0)
        if self.peak_headroom is not None and peak > 0:
            # in float32 and in this order, as torch divides: what follows is rounded to whole steps
            samples = samples * (np.float32(1) / peak * np.float32(10 ** (-self.peak_headroom / 20)))
        steps = samples.astype(np.float64) * 2**15
        if self.pcm16:
            steps = np.clip(np.rint(steps), -(2**15), 2**15 - 1)  # ffmpeg's f32le to pcm_s16le
        return steps / (max(0.1, steps.max(initial=0.0)) if self.level else 2**15)


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Log-mel spectrogram (frames, 64) of samples (samples,), float64, frames every 10 ms.

    As in VGGish's mel_features.py: periodic Hann window, magnitudes, no centring, HTK mel.
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, STFT_WINDOW)[::STFT_HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi / STFT_WINDOW * np.arange(STFT_WINDOW))
    result: np.ndarray = np.log(np.abs(np.fft.rfft(frames * hann, FFT)) @ _mel_weights() + LOG_OFFSET)
    return result


def _mel_weights() -> np.ndarray:
    """Triangles that are linear in HTK mel (257, 64); the zero-frequency bin counts nowhere."""

    def mel(hertz: Any) -> Any:
        return 1127.0 * np.log(1.0 + hertz / 700.0)

    bins = mel(np.linspace(0.0, RATE / 2, FFT // 2 + 1))[:, None]
    edges = np.linspace(mel(MEL_LOW), mel(MEL_HIGH), MEL_BANDS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    weights: np.ndarray = np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    weights[0] = 0.0
    return weights


def network_of(weights: Asset, cache: Cache) -> Any:
    """The network on the CPU, with published or seeded random weights."""
    with seeded(weights.random_seed), compat.quiet():
        from torchvggish.torchvggish import VGG, make_layers

        network = VGG(make_layers(), postprocess=False)
        if weights.random:
            randomize(network, gain=2**0.5)
    if not weights.random:
        path = weights.locate(cache)
        fill(network, compat.load_tensors(path, weights.name), weights.name, path)
    return compat.fad_vggish(network)
