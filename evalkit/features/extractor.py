"""Clips and captions to features, cached by content.

Each clip is decoded once for all encoders that still miss it, and brought to what the protocol
prescribes: its rate, the loudness of generated clips, the part that counts, mono.
"""

from __future__ import annotations

import ctypes
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from evalkit.audio import AudioError
from evalkit.encoders import Encoder, Input
from evalkit.errors import EvalkitError
from evalkit.features.conditioning import condition, heard, usable_samples
from evalkit.progress import progress
from evalkit.store.cache import Cache
from evalkit.store.digests import digest
from evalkit.store.identity import identity
from evalkit.types import Clip, Features, Prompt

log = logging.getLogger(__name__)


VERSION = 2  # of the conditioning below: raise it when the same clip would give other samples


PACKED = 100  # clips from which on their features are also stored in one file


PACK_BYTES = 2**29  # above which a second copy is not worth its place


PEAK = "peak"  # the cache's folder for the peaks of clips, which tell silence without decoding


def give_back_memory() -> None:
    """Return to the system what has been freed.

    glibc keeps the holes that sounds of many lengths leave in its threads' heaps: without this the
    process grows by about a megabyte per clip at first, and never shrinks.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
    if trim is not None:
        trim(0)


def input_of(encoder: Encoder) -> Input:
    """What an encoder of audio is given of a clip."""
    assert encoder.hears is not None, f"{encoder.kind} reads {encoder.reads}, and hears no clips"
    return encoder.hears


class Heard(NamedTuple):
    """What the encoders get of a clip, and the peak of the clip as it was made."""

    peak: float
    inputs: dict[Input, Any]


Missing = tuple[Clip, str, list[str]]  # a clip, its key, and the encoders whose features are not cached


@dataclass(frozen=True)
class Extractor:
    """The feature stage of one run: one protocol, one device, networks loaded when first needed.

    Attributes:
        rate: of the protocol in Hz, None for each file's own.
        networks: those that are loaded, by the encoder's key.
    """

    cache: Cache
    device: str
    batch_size: int
    rate: int | None
    resampler: str = "julius"
    networks: dict[str, Callable[[list[Any]], list[np.ndarray]]] = field(default_factory=dict)

    def key(self, encoder: Encoder) -> str:
        """The digest of an encoder: everything that affects its output."""
        kind = self.device.split(":")[0]
        return digest({"encoder": identity(encoder, self.cache), "device": kind})

    def clips(
        self,
        clips: Sequence[Clip],
        encoders: Mapping[str, Encoder],
        *,
        loudness: float | None,
        refuse_silence: bool,
        title: str,
    ) -> tuple[dict[str, Features], list[Clip]]:
        """Encode clips with every encoder (a mapping from `key(encoder)`).

        Returns features of usable clips for each key, and all clips, in order, with the status of
        those that turned out to hold no usable audio. Digital silence is not usable if
        `refuse_silence` is set (a recording that is silent is a failed download), and is noted if
        not (a model may well collapse to silence).
        """
        usable = [(clip, self._clip_key(clip, loudness)) for clip in clips if clip.ok]
        clip_keys = [clip_key for _, clip_key in usable]
        found: dict[str, dict[str, np.ndarray]] = {}
        unpacked = []
        for key in [PEAK, *encoders]:
            values, packed = self._stored(key, clip_keys)
            unpacked += [] if packed else [key]
            pairs = zip(usable, values, strict=True)
            found[key] = {clip.id: value for (clip, _), value in pairs if value is not None}
        missing = [
            (clip, clip_key, absent)
            for clip, clip_key in usable
            if (absent := [key for key in unpacked if clip.id not in found[key]])
        ]
        failed: dict[str, str] = {}
        if missing:
            with progress(f"features of {title}", len(missing), "clips") as advance:
                for batch in self._conditioned(missing, encoders, loudness):
                    self._encode(batch, encoders, found, failed)
                    advance(len(batch))
        if not failed:
            for key in unpacked:
                self._pack(key, clip_keys, [found[key][clip.id] for clip, _ in usable])
        checked = [self._checked(clip, found[PEAK], failed, refuse_silence) for clip in clips]
        ids = tuple(clip.id for clip in checked if clip.ok)
        return {key: Features(ids, tuple(found[key][i] for i in ids)) for key in encoders}, checked

    def captions(self, prompts: Sequence[Prompt], encoder: Encoder, key: str) -> Features:
        """Encode prompts: their captions, or for an encoder that reads "prompt" their aspects too."""
        whole = encoder.reads == "prompt"
        keys = {p.id: digest([p.text, p.tags] if whole else p.text) for p in prompts}
        values, packed = self._stored(key, list(keys.values()))
        found = dict(zip(keys, values, strict=True))
        todo = [p for p in prompts if found[p.id] is None]
        if todo:
            with progress("features of captions", len(todo), "captions") as advance:
                for start in range(0, len(todo), self.batch_size):
                    batch = todo[start : start + self.batch_size]
                    made = self._network(key, encoder)([p if whole else p.text for p in batch])
                    for prompt, value in zip(batch, made, strict=True):
                        self.cache.write_feature(key, keys[prompt.id], value)
                        found[prompt.id] = value
                    advance(len(batch))
        features = Features(tuple(found), tuple(v for v in found.values() if v is not None))
        if not packed:
            self._pack(key, list(keys.values()), features.values)
        return features

    def _stored(self, key: str, item_keys: Sequence[str]) -> tuple[Sequence[np.ndarray | None], bool]:
        """What the cache has of some clips or captions, and whether that came from one file."""
        packed = self.cache.read_pack(key, item_keys)
        if packed is not None:
            return packed, True
        return self.cache.read_features(key, item_keys), False

    def _pack(self, key: str, item_keys: Sequence[str], values: Sequence[np.ndarray]) -> None:
        if len(item_keys) >= PACKED and sum(value.nbytes for value in values) <= PACK_BYTES:
            self.cache.write_pack(key, item_keys, values)

    def _clip_key(self, clip: Clip, loudness: float | None) -> str:
        part = [round(clip.start * (self.rate or clip.sample_rate)), usable_samples(clip, self.rate)]
        return digest([VERSION, clip.sha256, part, clip.gain, self.rate, self.resampler, loudness])

    def _network(self, key: str, encoder: Encoder) -> Callable[[list[Any]], list[np.ndarray]]:
        if key not in self.networks:
            import torch

            torch.backends.cudnn.allow_tf32 = False  # convolutions in 10 bits, which no original on a CPU has
            self.networks[key] = encoder.load(self.cache, self.device)
        return self.networks[key]

    def _conditioned(
        self, missing: Sequence[Missing], encoders: Mapping[str, Encoder], loudness: float | None
    ) -> Iterator[list[tuple[Missing, Heard | str]]]:
        """Decode and convert batch by batch, one batch ahead of the networks."""
        import torch

        def one(item: Missing) -> tuple[Missing, Heard | str]:
            clip, _, absent = item
            try:
                sound = condition(clip, self.rate, loudness, self.resampler)
                wanted = {input_of(encoders[key]) for key in absent if key != PEAK}
                # encoders that hear the same share it
                return item, Heard(sound.peak, {hears: heard(sound, hears) for hears in wanted})
            except AudioError as error:
                return item, str(error)

        chunks = [missing[i : i + self.batch_size] for i in range(0, len(missing), self.batch_size)]
        threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(max(2, threads), initializer=torch.set_num_threads, initargs=(1,)) as pool:
                ahead = [pool.submit(one, item) for item in chunks[0]]
                for chunk in [*chunks[1:], []]:
                    current, ahead = ahead, [pool.submit(one, item) for item in chunk]
                    yield [future.result() for future in current]
                    give_back_memory()
        finally:
            torch.set_num_threads(threads)  # what a worker sets for itself is also inherited by later threads

    def _encode(
        self,
        batch: Sequence[tuple[Missing, Heard | str]],
        encoders: Mapping[str, Encoder],
        found: dict[str, dict[str, np.ndarray]],
        failed: dict[str, str],
    ) -> None:
        def keep(key: str, clip: Clip, clip_key: str, value: np.ndarray) -> None:
            if not np.isfinite(value).all():
                raise EvalkitError(f"{type(encoders[key]).__name__} gave NaN for '{clip.path}': please report this")
            self.cache.write_feature(key, clip_key, value)
            found[key][clip.id] = value

        for (clip, clip_key, absent), sound in batch:
            if isinstance(sound, str):
                failed[clip.id] = sound
            elif PEAK in absent:
                keep(PEAK, clip, clip_key, np.array([sound.peak]))
        for key, encoder in encoders.items():
            hears = input_of(encoder)
            todo = [(c, k, s.inputs[hears]) for (c, k, absent), s in batch if key in absent and isinstance(s, Heard)]
            if not todo:
                continue
            values = self._network(key, encoder)([samples for _, _, samples in todo])
            for (clip, clip_key, _), value in zip(todo, values, strict=True):
                keep(key, clip, clip_key, value)

    @staticmethod
    def _checked(clip: Clip, peaks: Mapping[str, np.ndarray], failed: Mapping[str, str], refuse_silence: bool) -> Clip:
        if clip.id in failed:
            return dataclasses.replace(clip, status="unreadable", reason=failed[clip.id])
        if not clip.ok or peaks[clip.id][0] > 0:
            return clip
        if refuse_silence:
            return dataclasses.replace(clip, status="silent", reason="digital silence")
        return dataclasses.replace(clip, note="; ".join(filter(None, [clip.note, "digital silence"])))
