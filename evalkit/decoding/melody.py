"""Melodies that condition a MusicGen: a recording to the chromagram that the network was trained with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from evalkit import audio, compat
from evalkit.audio import Audio, AudioError
from evalkit.errors import EvalkitError, loading
from evalkit.separation import Separate
from evalkit.types import Prompt

SILENCE = 1e-4  # -80 dB of full scale: below it there is nothing but dither

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
