"""Melodies that condition a MusicGen: a recording to the chromagram that the network was trained with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from evalkit import audio, compat
from evalkit.assets import Asset
from evalkit.audio import Audio, AudioError
from evalkit.errors import EvalkitError, loading
from evalkit.precision import fixed_precision
from evalkit.store.cache import Cache
from evalkit.types import Prompt
from evalkit.weights import seeded

SILENCE = 1e-4  # -80 dB of full scale: below it there is nothing but dither
STEMS = ["drums", "bass", "other", "vocals"]

Separate = Callable[[Audio], tuple[np.ndarray, int]]  # to stems (4, channels, samples) and their rate
Features = Callable[[Prompt, float | None], np.ndarray | None]


def melody_features(name: str, folder: Path | None, separate: Separate | None = None) -> Features:
    """Return what gives a prompt's chromagram (frames, 12), float32, or None where it has no melody.

    That of transformers' MusicgenMelodyFeatureExtractor, as the checkpoint configures it: of each
    frame the strongest pitch class is 1 and all others 0. It is computed for each melody by itself,
    since silence that fills up a batch would get frames of its own. With `separate`, only the stems
    are heard that audiocraft's ChromaStemConditioner hears, vocals and other.

    The function's second argument is None for a clip of one window: then at most the first 30 s are
    read, and the network repeats a shorter chromagram. For a clip of several windows it is where the
    window starts, in seconds: then the melody is repeated, and 30 s are read from there on, as
    audiocraft does. Raises EvalkitError for a melody that is silent, unreadable, or shorter than one
    frame's window, which is 0.512 s.

    Args:
        name: what the checkpoint is called in messages.
        folder: the checkpoint; where it has no preprocessor_config.json, transformers' defaults hold.
    """
    extractor = _extractor(name, folder)
    rate = extractor.sampling_rate

    @functools.lru_cache(maxsize=2)  # the windows of one clip are asked for one after the other
    def wave(path: Path) -> np.ndarray:
        given = audio.read(path)
        seconds, least = given.samples.shape[1] / given.rate, extractor.n_fft / rate
        if seconds < least:
            raise AudioError(f"it lasts {seconds:.2f} s, and one frame of the chromagram is of {least:.2f} s")
        if np.abs(audio.downmix(given).samples).max() < SILENCE:
            raise AudioError("it is silent")
        if separate is not None:
            stems, stem_rate = separate(given)
            given = Audio(stems[list(extractor.stem_indices)].sum(axis=0), stem_rate)
        return audio.resample(audio.downmix(given), rate).samples[0]

    @functools.cache
    def chromagram(path: Path, start: float | None) -> np.ndarray:
        samples = wave(path)
        if start is None:
            if np.abs(samples[: extractor.n_samples]).max() < SILENCE:
                raise AudioError("what is read of it is silent")
        else:
            samples = np.take(samples, int(start * rate) + np.arange(extractor.n_samples), mode="wrap")
        features: np.ndarray = extractor(samples, sampling_rate=rate, return_tensors="np").input_features[0]
        return features

    def features(prompt: Prompt, start: float | None) -> np.ndarray | None:
        if prompt.melody is None:
            return None
        try:
            return chromagram(prompt.melody, start)
        except AudioError as error:
            raise EvalkitError(
                f"{name}: the melody of prompt '{prompt.id}' cannot be used: {error} ('{prompt.melody}')"
            ) from error

    return features


def _extractor(name: str, folder: Path | None) -> Any:
    compat.prepare()
    from transformers import MusicgenMelodyFeatureExtractor

    if folder is None or not (folder / "preprocessor_config.json").is_file():
        return MusicgenMelodyFeatureExtractor()
    with loading(f"{name}: preprocessor_config.json in '{folder}'"):
        return MusicgenMelodyFeatureExtractor.from_pretrained(folder, local_files_only=True)


@dataclass(frozen=True)
class Demucs:
    """HT-Demucs (Rouard et al. 2023), which separates a recording into drums, bass, other and vocals.

    Run by the package demucs as audiocraft runs it, but for the random shift: a melody's features are
    a function of the melody.

    Attributes:
        weights: a safetensors file as the package publishes them, or the folder that holds it.
    """

    weights: Asset

    kind: ClassVar[str] = "demucs"
    version: ClassVar[int] = 1

    def load(self, cache: Cache, device: str) -> Separate:
        """Load the network; its function gives stems (4, 2, samples) in the order of STEMS, and their rate.

        Raises EvalkitError for a missing package and for a file of another network.
        """
        import torch

        try:
            from demucs.apply import apply_model
        except ImportError as error:
            raise EvalkitError(
                f"{self.weights.name}: the package demucs is not installed: pip install 'evalkit[melody]'"
            ) from error
        network = self._network(cache).to(device).eval()

        @fixed_precision()
        def separate(given: Audio) -> tuple[np.ndarray, int]:
            stereo = np.repeat(given.samples, 2, axis=0) if len(given.samples) == 1 else given.samples[:2]
            mix = torch.from_numpy(audio.resample(Audio(stereo, given.rate), network.samplerate).samples)
            with torch.inference_mode():
                stems: np.ndarray = apply_model(network, mix[None].to(device), shifts=0)[0].cpu().numpy()
            return stems, network.samplerate

        return separate

    def _network(self, cache: Cache) -> Any:
        import torch
        from demucs.hf import load_safetensors_model
        from demucs.htdemucs import HTDemucs
        from safetensors import safe_open

        if self.weights.random:
            with seeded(self.weights.random_seed):
                return HTDemucs(STEMS)
        name, path = self.weights.name, self.weights.locate(cache)
        if path.is_dir():
            path = next(iter(sorted(path.glob("*.safetensors"))), path)
        with loading(f"{name}: '{path}'"):
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
            # the package imports whatever class the file names
            if metadata.get("klass") != "demucs.htdemucs.HTDemucs" or "structure" in metadata:
                raise EvalkitError(f"{name}: '{path}' holds no HT-Demucs: it is another file")
            network = load_safetensors_model(path)
        if list(network.sources) != STEMS:
            raise EvalkitError(f"{name}: '{path}' separates {', '.join(network.sources)}, not {', '.join(STEMS)}")
        if not all(torch.isfinite(tensor).all() for tensor in network.state_dict().values()):
            raise EvalkitError(f"{name}: '{path}' holds NaN or infinite weights")
        return network
