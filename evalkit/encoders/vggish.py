"""VGGish: the embeddings of FAD, 16 kHz mono to 128 dimensions per window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from evalkit import compat
from evalkit.assets import Asset
from evalkit.batching import Room, in_batches, on_threads
from evalkit.encoders import Input, Reads, mono_input
from evalkit.errors import EvalkitError
from evalkit.precision import fixed_precision
from evalkit.store.cache import Cache
from evalkit.weights import fill, load_tensors, randomize, seeded

RATE = 16000  # Hz
STFT_WINDOW, STFT_HOP, FFT = 400, 160, 512  # samples
MEL_BANDS, MEL_LOW, MEL_HIGH = 64, 125.0, 7500.0  # Hz
LOG_OFFSET = 0.01
PATCH = 96  # spectrogram frames the network reads at once: 0.96 s
PATCH_SAMPLES = STFT_WINDOW + (PATCH - 1) * STFT_HOP
CHUNK = 256  # patches in one forward


@dataclass(frozen=True)
class VGGish:
    """Hershey et al. 2017, "CNN Architectures for Large-Scale Audio Classification".

    The network is the one that frechet-audio-distance computes with: no last ReLU, no PCA. By default
    the front end is that of google-research's frechet_audio_distance, fed as audiocraft's
    metrics/fad.py does.

    Attributes:
        window, hop: of the windows in seconds, multiples of 10 ms; the network reads the first
            0.96 s of each window, and a clip shorter than one window has no frames.
        peak_headroom: decibels between full scale and the absolute peak that clips are first
            scaled to; None to leave the level.
        pcm16: how a wav file between two programs brings samples to 16 bits: to the nearest step
            ("round", as ffmpeg), or to the one below ("floor", as libsndfile); None for no file.
        level: "positive_peak" divides by the largest positive sample (at least 0.1 of the smallest
            step of 16 bits); None leaves samples within [-1, 1].
        pad_to: seconds that shorter clips are filled up to with zeros; None drops those under one window.
        precision: "float16" rounds the embeddings as fadtk's files do, and each clip's mean as its
            merging of statistics over files does.
    """

    weights: Asset
    window: float = 1.0
    hop: float = 0.5
    peak_headroom: float | None = 1.0
    pcm16: Literal["round", "floor"] | None = "round"
    level: Literal["positive_peak"] | None = "positive_peak"
    pad_to: float | None = None
    precision: Literal["float32", "float16"] = "float32"
    remove_dc: bool = False
    sample_rate: int = RATE
    channels: Literal["mean", "first", "side"] = "mean"
    resampler: str = "julius"
    kind: ClassVar[str] = "vggish"
    reads: ClassVar[Reads] = "audio"
    version: ClassVar[int] = 2

    @property
    def random(self) -> bool:
        return self.weights.random

    @property
    def hears(self) -> Input:
        return mono_input(self.sample_rate, self.channels, self.resampler, self.remove_dc)

    def __post_init__(self) -> None:
        if self.sample_rate != RATE:
            raise EvalkitError(f"VGGish reads {RATE} Hz, not {self.sample_rate}")
        for name, values in (
            ("level", ("positive_peak", None)),
            ("pcm16", ("round", "floor", None)),
            ("precision", ("float32", "float16")),
        ):
            if getattr(self, name) not in values:
                known = ", ".join("null" if value is None else value for value in values)
                raise EvalkitError(f"VGGish: {name} '{getattr(self, name)}' is not known: set one of {known}")
        if self.pad_to is not None and not 0 <= self.pad_to <= 60:
            raise EvalkitError(f"VGGish: pad_to={self.pad_to:g} must be seconds, at most 60, or null")
        _ = self.hears  # refuses what cannot be heard
        frames = self.window * 100, self.hop * 100
        if min(frames[0] - PATCH, frames[1] - 1) < 0 or any(abs(f - round(f)) > 1e-6 for f in frames):
            raise EvalkitError(
                f"VGGish: window={self.window:g} and hop={self.hop:g} must be multiples of 0.01 s, "
                "the window at least 0.96"
            )

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network; its function gives (windows, 128), pre-activation."""
        import torch

        network = network_of(self.weights, cache).to(device, memory_format=torch.channels_last).eval()
        together = Room(CHUNK)

        def forward(patches: Any) -> Any:
            """Embeddings (clips, windows, 128) of patches (clips, windows, 96, 64)."""
            embeddings = network(patches.flatten(0, 1)[:, None].contiguous(memory_format=torch.channels_last))
            return embeddings.view(*patches.shape[:2], -1)

        @fixed_precision()
        def encode(clips: list[np.ndarray]) -> list[np.ndarray]:
            patches = on_threads(self.patches, clips, device)
            embeddings = iter(in_batches(forward, [p for p in patches if len(p)], device, together))
            return [self.stored(next(embeddings)) if len(p) else np.empty((0, 128), np.float32) for p in patches]

        return encode

    def patches(self, clip: np.ndarray) -> np.ndarray:
        """Log-mel patches (windows, 96, 64) of a clip (samples,), float32."""
        hop = round(self.hop * 100)  # in frames of 10 ms
        samples = self.levelled(clip)
        if self.pad_to is not None:
            samples = np.pad(samples, (0, max(0, round(self.pad_to * RATE) - len(samples))))
        # the last frame of a patch reads beyond its hop
        window = max(round(self.window * RATE), PATCH_SAMPLES)
        if len(samples) < window:
            return np.empty((0, PATCH, MEL_BANDS), np.float32)
        count = (len(samples) - window) // (hop * STFT_HOP) + 1
        # windows start at multiples of the STFT's hop, so one spectrogram serves them all
        spectrogram = log_mel(samples)
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
            # ffmpeg's f32le to pcm_s16le; libsndfile rounds to 32 bits and drops the lower half
            whole = np.rint(steps) if self.pcm16 == "round" else np.rint(steps * 2**16) // 2**16
            steps = np.clip(whole, -(2**15), 2**15 - 1)
        return steps / (max(0.1, steps.max(initial=0.0)) if self.level else 2**15)

    def stored(self, embeddings: np.ndarray) -> np.ndarray:
        """Embeddings (windows, 128) of a clip at the protocol's precision, float32."""
        if self.precision == "float32" or not len(embeddings):
            return embeddings
        rounded = embeddings.astype(np.float16)
        exact = rounded.astype(np.float64)
        moved = exact - exact.mean(axis=0) + rounded.mean(axis=0)
        return moved.astype(np.float32)


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
        fill(network, load_tensors(path, weights.name), weights.name, path)
    return compat.fad_vggish(network)
