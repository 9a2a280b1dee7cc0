"""Codes to audio, and audio to codes, with the EnCodec of a MusicGen checkpoint."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from evalkit import audio, compat
from evalkit.audio import Audio
from evalkit.batching import on_threads
from evalkit.errors import out_of_memory

BYTES = 27 << 20  # that decoding one second of one channel takes, measured in float32
LOWEST = 0  # of the priorities of streams
BUDGET = 4 << 30  # bytes for what is decoded at once on a GPU


@functools.cache
def stream_of(device: torch.device) -> torch.cuda.Stream:
    """The stream that all codecs of this process decode on; its work gives way to that of other streams.

    There is one of a device, because torch hands out 32 and then begins again with those in use.
    """
    return torch.cuda.Stream(device, priority=LOWEST)


class Codec:
    """EnCodec for clips of one or two channels; the codebooks of a stereo model are left and right in turn.

    Attributes:
        network: transformers' EncodecModel, in float32.
        channels: of the clips.
        turns: how often decoding began or ended, which takes memory beside whatever else goes on.
        alone: whether each clip is decoded by itself, so that no other one changes its bits: on a CPU.
    """

    def __init__(self, network: Any, channels: int):
        compat.whole_paddings(network)
        self.network, self.channels = network, channels
        self.rate, self.hop = network.config.sampling_rate, network.config.hop_length
        self.alone = network.device.type == "cpu"
        self.turns = 0
        # of its own, so that codes are decoded while the next ones are made
        self.stream = stream_of(network.device) if network.device.type == "cuda" else None
        if self.stream is not None:  # weights may still be on their way
            self.stream.wait_stream(torch.cuda.current_stream(network.device))

    def decode(self, codes: Sequence[np.ndarray]) -> list[Audio]:
        """Decode codes (codebooks, frames) of equal length to clips (channels, samples), in order."""
        if not codes:
            return []
        together = max(1, int(BUDGET / self._bytes(codes[0].shape[1])))
        waves: list[np.ndarray] = []
        while len(waves) < len(codes):
            part = codes[len(waves) : len(waves) + together]
            self.turns += 1
            try:
                waves.extend(on_threads(lambda one: self._decode([one])[0], part) if self.alone else self._decode(part))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or len(part) == 1 or self.alone:
                    raise
                together = len(part) // 2  # what the failed part holds is freed with the error, before the next one
            finally:
                self.turns += 1
        return [Audio(wave, self.rate) for wave in waves]

    def memory(self, frames: int) -> int:
        """Bytes that decoding any number of clips of so many frames takes at most on a GPU."""
        return max(BUDGET, self._bytes(frames))

    def _bytes(self, frames: int) -> int:
        return max(1, int(BYTES * frames * self.hop / self.rate * self.channels))

    def _decode(self, codes: Sequence[np.ndarray]) -> np.ndarray:
        with torch.inference_mode(), torch.cuda.stream(self.stream):  # both hold for one thread only
            stacked = torch.from_numpy(np.stack(codes).astype(np.int64)).to(self.network.device)
            clips, codebooks, frames = stacked.shape
            # the channels of a clip as clips of their own
            single = stacked.view(clips, codebooks // self.channels, self.channels, frames).transpose(1, 2)
            waves = self.network.decode(single.flatten(0, 1)[None], [None]).audio_values
            result: np.ndarray = waves.view(clips, self.channels, -1).float().cpu().numpy()
            return result

    def encode(self, clip: Audio) -> np.ndarray:
        """Encode a clip, resampled and in the model's channels: codes (codebooks, frames), int16."""
        clip = audio.resample(clip, self.rate)
        samples = clip.samples
        if samples.shape[0] > self.channels:
            samples = audio.downmix(clip).samples
        if samples.shape[0] < self.channels:
            samples = np.repeat(samples, self.channels, axis=0)
        with torch.inference_mode():
            waves = torch.from_numpy(np.ascontiguousarray(samples))[:, None].to(self.network.device)
            codes = self.network.encode(waves).audio_codes[0]  # (channels, codebooks, frames)
            result: np.ndarray = codes.transpose(0, 1).flatten(0, 1).to(torch.int16).cpu().numpy()
            return result
