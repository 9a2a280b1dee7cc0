"""Clips and captions to features, cached by content.

Each content is decoded once, for all clips that have it and all encoders that still miss it, and brought to what
the protocol prescribes: its rate, the loudness of generated clips, the part that counts, mono. Each network
runs once for all encoders that read its output; on a GPU they run side by side. An encoder that fails is named
in `Extractor.broken`, and the others go on.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from evalkit.audio import AudioError
from evalkit.batching import SECONDS_ON_GPU, items_at_once, threads_beside
from evalkit.encoders import Encoder, Headed, Input
from evalkit.errors import EvalkitError
from evalkit.features import encoding
from evalkit.features.conditioning import condition, heard, usable_samples, usable_seconds
from evalkit.features.side_by_side import made_ahead, on_gpu, one_by_one, side_by_side
from evalkit.packs.pack import Pack
from evalkit.progress import progress
from evalkit.store.cache import Cache
from evalkit.store.collection import Collection
from evalkit.store.digests import digest
from evalkit.store.entry import Item
from evalkit.store.identity import identity
from evalkit.store.turns import Turns
from evalkit.types import Clip, Features, Prompt

log = logging.getLogger(__name__)


VERSION = 2  # of the conditioning below: raise it when the same clip would give other samples


PEAK = "peak"  # what the peaks of clips, which tell silence without decoding, stand under beside encoders' features


def input_of(encoder: Encoder) -> Input:
    """What an encoder of audio is given of a clip."""
    assert encoder.hears is not None, f"{encoder.kind} reads {encoder.reads}, and hears no clips"
    return encoder.hears


class Heard(NamedTuple):
    """What the encoders get of a clip, and the peak of the clip as it was made."""

    peak: float
    inputs: dict[Input, Any]


Missing = tuple[Clip, str, list[str]]  # a clip, its key, and the encoders whose features are not cached


Conditioned = tuple[Missing, Heard | str]  # what encoders get of it, or why that cannot be had


Found = dict[str, dict[str, np.ndarray]]  # features, by the encoder's key and the clip's


def _absent(
    clips: Sequence[Clip], clip_keys: Mapping[str, str], keys: Sequence[str], found: Mapping[str, Container[str]]
) -> list[Missing]:
    """What some encoders still miss, one clip of each content; of a clip without a file there is nothing to make.

    Args:
        clip_keys: of usable clips, by their ids.
        keys, found: of the encoders, and what is cached of each by the clips' keys.
    """
    contents = {clip_keys[clip.id]: clip for clip in clips if clip.ok and clip.path is not None}
    return [
        (clip, clip_key, absent)
        for clip_key, clip in contents.items()
        if (absent := [key for key in keys if clip_key not in found[key]])
    ]


def _require_shared(ids: Sequence[str], cache: Cache, title: str) -> None:
    """Raise EvalkitError for clips that other processes have decoded without leaving a trace in the cache."""
    if ids:
        raise EvalkitError(
            f"{title}: features that other processes have made of {len(ids)} clips are not in '{cache.root}' "
            f"({ids[0]}, …): set cache_dir to a folder that all of them share"
        )


def _network_of(encoders: Mapping[str, Encoder]) -> Encoder:
    """What runs the network of encoders that share one, or of one by itself."""
    first = next(iter(encoders.values()))
    return first.trunk if isinstance(first, Headed) else first


def _caption_keys(prompts: Sequence[Prompt], encoder: Encoder) -> dict[str, str]:
    """What the features of prompts are cached by, by their ids."""
    if encoder.reads == "text":
        return {p.id: digest(p.text) for p in prompts}
    return {p.id: digest([p.text, p.tags, *([p.translation] if p.translation else [])]) for p in prompts}


class Elsewhere(Protocol):
    """What encodes in other processes, which put features into the same cache."""

    def features(
        self, clips: Sequence[Clip], encoders: Sequence[Encoder], loudness: float | None, title: str
    ) -> Mapping[str, str]:
        """Have clips of different ids encoded, and say by the clip's id why those that were not could not be."""

    def captions(self, prompts: Sequence[Prompt], encoder: Encoder) -> Mapping[str, str]:
        """Have captions encoded, and say by the prompt's id why those that were not could not be."""


@dataclass(frozen=True)
class Extractor:
    """The feature stage of one run: one protocol, one device, networks loaded when first needed.

    Attributes:
        batch_size: clips and captions that are encoded at once; None for `items_at_once`.
        rate: of the protocol in Hz, None for each file's own.
        networks: those that are loaded, by the encoder's key.
        elsewhere: what encodes in place of this process, but for what it leaves out because an encoder is broken.
        definitions: of encoders that were looked at elsewhere, as by the process that this one works for.
        pack: what holds the features of clips without a file, which are references; they are not put into the cache.
        broken: why an encoder cannot be used, by its key; it gives no features from then on.
    """

    cache: Cache
    device: str
    batch_size: int | None
    rate: int | None
    resampler: str = "julius"
    elsewhere: Elsewhere | None = None
    definitions: Sequence[tuple[Encoder, Mapping[str, Any]]] = ()
    pack: Pack | None = None
    networks: dict[str, Callable[[list[Any]], list[np.ndarray]]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    _dimensions: dict[str, int] = field(default_factory=dict)
    _collections: dict[str, Collection] = field(default_factory=dict)  # by the encoder's key

    def key(self, encoder: Encoder) -> str:
        """The digest of an encoder: everything that affects its output."""
        return digest(self.definition(encoder))

    def definition(self, encoder: Encoder) -> Mapping[str, Any]:
        """Describe an encoder by everything that affects its output, as a JSON-like value."""
        for known, definition in self.definitions:
            if known == encoder:
                return definition
        return {"encoder": identity(encoder, self.cache), "device": self.device.split(":")[0]}

    def collection(self, encoder: Encoder) -> Collection:
        """Where the features of an encoder are kept."""
        return self.cache.collection("features", self.definition(encoder), encoder.kind)

    def compact(self) -> None:
        """Merge what was stored batch by batch, so that the next run finds it by one look."""
        for collection in self._collections.values():
            collection.compact()

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

        Returns features of usable clips for each key whose encoder is not broken, and all clips, in order, with
        the status of those that turned out to hold no usable audio. Digital silence is not usable if
        `refuse_silence` is set (a recording that is silent is a failed download), and is noted if
        not (a model may well collapse to silence). Raises EvalkitError for a clip without a file of which the pack
        does not hold the part that counts.
        """
        clip_keys = {clip.id: self._clip_key(clip, loudness) for clip in clips if clip.ok}
        self._open(encoders)
        keys = [PEAK, *(key for key in encoders if key not in self.broken)]
        here = [clip_keys[clip.id] for clip in clips if clip.ok and clip.path is not None]
        found: Found = {key: self._stored(key, here) for key in keys}
        missing = _absent(clips, clip_keys, keys, found)
        failed = self._from_pack([clip for clip in clips if clip.ok and clip.path is None], encoders, found)
        if missing and self.elsewhere is not None:
            failed |= self._made_elsewhere(self.elsewhere, missing, encoders, loudness, title)
            for key in keys:
                found[key] |= self._stored(key, [k for k in here if k not in found[key]])
            # not tried again here: what has killed other processes would kill this one
            missing = [one for one in _absent(clips, clip_keys, keys, found) if one[1] not in failed]
            _require_shared([clip.id for clip, _, absent in missing if PEAK in absent], self.cache, title)
        if missing:
            with progress(f"features of {title}", len(missing), "clips") as advance:
                while missing:
                    for count in self._encoded(missing, encoders, loudness, found, failed):
                        advance(count)
                    # what another process has encoded meanwhile
                    usable = [key for key in keys if key not in self.broken]
                    for key in usable:
                        found[key] |= self._stored(key, [k for k in here if k not in found[key]])
                    missing = [one for one in _absent(clips, clip_keys, usable, found) if one[1] not in failed]
        checked = [
            self._checked(clip, clip_keys.get(clip.id, ""), found[PEAK], failed, refuse_silence) for clip in clips
        ]
        ids = tuple(clip.id for clip in checked if clip.ok)
        usable = [key for key in encoders if key not in self.broken]
        return {key: Features(ids, tuple(found[key][clip_keys[i]] for i in ids)) for key in usable}, checked

    def _from_pack(self, clips: Sequence[Clip], encoders: Mapping[str, Encoder], found: Found) -> dict[str, str]:
        """Put features of clips without a file into `found`; return why others have none, by their keys."""
        if not clips:
            return {}
        assert self.pack is not None, f"'{clips[0].id}' has neither a file nor a pack"
        keys = {self.part_key(clip): clip for clip in clips}
        if lacking := [clip for key, clip in keys.items() if key not in self.pack]:
            raise self.pack.lacks(lacking)
        found[PEAK] |= self.pack.peaks_of(keys)
        for key, encoder in encoders.items():
            if key not in self.broken:
                own = self.pack.features_of(digest(self.definition(encoder)["encoder"]), keys)
                found[key] |= own
                if own:
                    self._dimensions.setdefault(key, next(iter(own.values())).shape[1])
        return {key: self.pack.unusable[key] for key in keys if key in self.pack.unusable}

    @staticmethod
    def _made_elsewhere(
        elsewhere: Elsewhere,
        missing: Sequence[Missing],
        encoders: Mapping[str, Encoder],
        loudness: float | None,
        title: str,
    ) -> dict[str, str]:
        """Have clips encoded elsewhere; return why those that were not could not be, by their keys."""
        lacking = {key for _, _, absent in missing for key in absent}
        wanted = [encoder for key, encoder in encoders.items() if key in lacking]
        said = elsewhere.features([clip for clip, _, _ in missing], wanted, loudness, title)
        return {clip_key: said[clip.id] for clip, clip_key, _ in missing if clip.id in said}

    def not_encoded(
        self, clips: Sequence[Clip], encoders: Mapping[str, Encoder], *, loudness: float | None
    ) -> list[Clip]:
        """The clips, one of each content, that `clips` would have to decode because features are not cached."""
        clip_keys = {clip.id: self._clip_key(clip, loudness) for clip in clips if clip.ok}
        self._open(encoders)
        found = {key: self._collections[key].having(clip_keys.values()) for key in [PEAK, *encoders]}
        return [clip for clip, _, _ in _absent(clips, clip_keys, list(found), found)]

    def captions_not_encoded(self, prompts: Sequence[Prompt], encoder: Encoder) -> int:
        """How many different captions `captions` would have to encode because their features are not cached."""
        keys = set(_caption_keys(prompts, encoder).values())
        return len(keys - self.collection(encoder).having(keys))

    def captions(self, prompts: Sequence[Prompt], encoder: Encoder, key: str) -> Features:
        """Encode prompts: their captions, or for an encoder that reads "prompt" their aspects too.

        Raises EvalkitError if the encoder is broken.
        """
        whole = encoder.reads == "prompt"
        keys = _caption_keys(prompts, encoder)
        self._open({key: encoder})
        found = self._stored(key, keys.values())
        different = {keys[p.id]: p for p in prompts}
        todo = [(k, p) for k, p in different.items() if k not in found]
        if todo and self.elsewhere is not None:
            if failed := self.elsewhere.captions([p for _, p in todo], encoder):
                first, reason = next(iter(failed.items()))
                self.broken[key] = f"{encoding.named(encoder)}: the caption of '{first}' could not be encoded: {reason}"
                raise EvalkitError(self.broken[key])
            found |= self._stored(key, [k for k, _ in todo])
            todo = [(k, p) for k, p in different.items() if k not in found]
        if todo:
            with progress("features of captions", len(todo), "captions") as advance:
                size = items_at_once(self.device, self.batch_size)
                while todo:
                    for batch in Turns(self._collections[key], {k: (k, p) for k, p in todo}).batches(lambda _: size):
                        items = [p if whole else p.text for _, p in batch]
                        made = self._made({key: encoder}, items, [p.id for _, p in batch])
                        if key not in made:
                            raise EvalkitError(self.broken[key])
                        self._keep(key, dict(zip([k for k, _ in batch], made[key], strict=True)), found)
                        advance(len(batch))
                    found |= self._stored(key, [k for k, _ in todo if k not in found])  # what another process has made
                    todo = [(k, p) for k, p in todo if k not in found]
        return Features(tuple(keys), tuple(found[k] for k in keys.values()))

    def _open(self, encoders: Mapping[str, Encoder]) -> None:
        """Know where the features of encoders are kept, by their keys."""
        self._collections.setdefault(PEAK, self.cache.collection("peaks", VERSION, "peaks of clips"))
        for key, encoder in encoders.items():
            if key not in self._collections:
                self._collections[key] = self.collection(encoder)

    def _stored(self, key: str, item_keys: Iterable[str]) -> dict[str, np.ndarray]:
        """What the cache has of some clips or captions, by their keys."""
        items = self._collections[key].read(item_keys)
        found = {item_key: item.value for item_key, item in items.items() if item.value is not None}
        if found and key != PEAK:
            self._dimensions.setdefault(key, next(iter(found.values())).shape[1])
        return found

    def _keep(self, key: str, values: Mapping[str, np.ndarray], found: dict[str, np.ndarray]) -> None:
        """Store the features of a batch, by the keys of clips or captions."""
        self._collections[key].write({item_key: Item(value) for item_key, value in values.items()})
        found.update(values)

    def peaks(self, clips: Sequence[Clip]) -> dict[str, float]:
        """The absolute peaks of references that `clips` has found usable, by their `part_key`."""
        found = self._stored(PEAK, [self.part_key(clip) for clip in clips])
        return {key: float(value[0]) for key, value in found.items()}

    def span(self, clip: Clip) -> tuple[int, int]:
        """Where the part of a clip that counts begins, and how long it is, in samples."""
        return round(clip.start * (self.rate or clip.sample_rate)), usable_samples(clip, self.rate)

    def part_key(self, clip: Clip) -> str:
        """What the features of the part of a reference that counts are found by, here and in packs."""
        return self._clip_key(clip, None)

    def _clip_key(self, clip: Clip, loudness: float | None) -> str:
        return digest([VERSION, clip.sha256, list(self.span(clip)), clip.gain, self.rate, self.resampler, loudness])

    def _made(
        self, encoders: Mapping[str, Encoder], items: list[Any], ids: Sequence[str]
    ) -> dict[str, list[np.ndarray]]:
        """The features of items by key, of encoders that share a trunk or of one by itself, but of broken ones.

        Args:
            ids: of the items, for messages.
        """
        made = {}
        try:
            values = self._features(_network_of(encoders), items, ids)
        except EvalkitError as error:
            self.broken.update(dict.fromkeys(encoders, str(error)))
            return {}
        for key, encoder in encoders.items():
            try:
                if isinstance(encoder, Headed):
                    head = encoder.head
                    own = encoding.attempt(encoder, lambda head=head: [head(value) for value in values])  # type: ignore[misc]
                else:
                    own = values
                made[key] = encoding.checked(encoder, own, ids, self._dimensions.get(key))
                self._dimensions[key] = made[key][0].shape[1]
            except EvalkitError as error:
                self.broken[key] = str(error)
        return made

    def _features(self, encoder: Encoder, items: list[Any], ids: Sequence[str]) -> list[np.ndarray]:
        run, dimensions = self._network(encoder), self._dimensions.get(self.key(encoder))
        return encoding.checked(encoder, encoding.attempt(encoder, lambda: run(items)), ids, dimensions)

    def _network(self, encoder: Encoder) -> encoding.Run:
        key = self.key(encoder)
        if key not in self.networks:
            self.networks[key] = encoding.load(encoder, lambda: encoder.load(self.cache, self.device))
        return self.networks[key]

    def _conditioned(
        self, turns: Turns[Missing], encoders: Mapping[str, Encoder], loudness: float | None
    ) -> Iterator[list[Conditioned]]:
        """Decode and convert batch by batch, one batch ahead of the networks."""

        def one(item: Missing) -> Conditioned:
            clip, _, absent = item
            try:
                wanted = {input_of(encoders[key]) for key in absent if key != PEAK and key not in self.broken}
                if not wanted and PEAK not in absent:
                    return item, Heard(math.nan, {})  # nothing reads it any more
                sound = condition(clip, self.rate, loudness, self.resampler)
                # encoders that hear the same share it
                return item, Heard(sound.peak, {hears: heard(sound, hears) for hears in wanted})
            except AudioError as error:
                return item, str(error)

        return made_ahead(one, self._chunks(turns), max(2, threads_beside(self.device)))

    def _chunks(self, turns: Turns[Missing]) -> Iterator[list[Missing]]:
        """What goes through the encoders at once: so many, and on a GPU, unless that is given, so many seconds."""
        count = items_at_once(self.device, self.batch_size)
        most = SECONDS_ON_GPU if self.batch_size is None and on_gpu(self.device) else math.inf

        def size(waiting: Sequence[Missing]) -> int:
            seconds = itertools.accumulate(usable_seconds(clip, self.rate) for clip, *_ in waiting[:count])
            return max(1, sum(length <= most for length in seconds))

        return turns.batches(size)

    def _turns(self, missing: Sequence[Missing], encoders: Iterable[str]) -> Turns[Missing]:
        """Give out clips, by their keys, but for those that another process has encoded meanwhile."""

        def there(waiting: Mapping[str, Missing]) -> list[str]:
            lacking = {key for _, _, absent in waiting.values() for key in absent if key not in self.broken}
            had = {key: self._collections[key].having(waiting) for key in lacking}
            return [
                clip_key
                for clip_key, (_, _, absent) in waiting.items()
                if all(clip_key in had[key] for key in absent if key in had)
            ]

        # the same for all processes that want the same features, whatever is there of them: else two may both be first
        whose = next(iter(encoders), PEAK)
        return Turns(self._collections[whose], {item[1]: item for item in missing}, there)

    def _encoded(
        self,
        missing: Sequence[Missing],
        encoders: Mapping[str, Encoder],
        loudness: float | None,
        found: Found,
        failed: dict[str, str],
    ) -> Iterator[int]:
        """Put features into `found`, and why clips have none into `failed`: the number of clips, batch by batch."""
        turns = self._turns(missing, encoders)
        batches, groups = self._conditioned(turns, encoders, loudness), self._sharing(encoders)

        def jobs_of(batch: list[Conditioned], ahead: bool = False) -> list[Callable[[], None]]:
            made = turns.made({item[1]: item for item, _ in batch})  # since it was decoded
            batch = [one for one in batch if one[0][1] not in made]
            failed.update({key: sound for (_, key, _), sound in batch if isinstance(sound, str)})
            heard_first = [(key, sound) for (_, key, absent), sound in batch if PEAK in absent]
            peaks = {key: np.array([sound.peak]) for key, sound in heard_first if isinstance(sound, Heard)}
            self._keep(PEAK, peaks, found[PEAK])
            for group in groups if ahead else []:
                self._load_for(group, batch)
            return [partial(self._encode, group, batch, found) for group in groups]

        if on_gpu(self.device):
            # packages are not made to be loaded on several threads
            return side_by_side(batches, partial(jobs_of, ahead=True), self.device)
        return one_by_one(batches, jobs_of)

    def _load_for(self, group: Mapping[str, Encoder], batch: Sequence[Conditioned]) -> None:
        """Load the network of some encoders if they have anything to encode."""
        usable, todo = self._todo(group, batch)
        if todo:
            try:
                self._network(_network_of(usable))
            except EvalkitError as error:
                self.broken.update(dict.fromkeys(usable, str(error)))

    def _encode(self, group: Mapping[str, Encoder], batch: Sequence[Conditioned], found: Found) -> None:
        """Encode with encoders that share a network, or with one by itself. Nothing else may change what is theirs."""
        usable, todo = self._todo(group, batch)
        if not todo:
            return
        made = self._made(usable, [samples for *_, samples in todo], [clip.id for clip, *_ in todo])
        for key, values in made.items():
            pairs = zip(todo, values, strict=True)
            new = {clip_key: value for (_, clip_key, absent, _), value in pairs if key in absent}
            self._keep(key, new, found[key])

    def _todo(
        self, group: Mapping[str, Encoder], batch: Sequence[Conditioned]
    ) -> tuple[dict[str, Encoder], list[tuple[Clip, str, list[str], Any]]]:
        """Which encoders of a group are not broken, and which clips they miss, with what they get of them."""
        usable = {key: encoder for key, encoder in group.items() if key not in self.broken}
        todo = [
            (clip, clip_key, absent, sound.inputs[input_of(next(iter(usable.values())))])
            for (clip, clip_key, absent), sound in batch
            if isinstance(sound, Heard) and not usable.keys().isdisjoint(absent)
        ]
        return usable, todo

    def _sharing(self, encoders: Mapping[str, Encoder]) -> list[dict[str, Encoder]]:
        """Encoders by key, in groups of those that have the same trunk; others are alone."""
        groups: dict[str, dict[str, Encoder]] = {}
        for key, encoder in encoders.items():
            trunk = self.key(encoder.trunk) if isinstance(encoder, Headed) else key
            groups.setdefault(trunk, {})[key] = encoder
        return list(groups.values())

    @staticmethod
    def _checked(
        clip: Clip, key: str, peaks: Mapping[str, np.ndarray], failed: Mapping[str, str], refuse_silence: bool
    ) -> Clip:
        if not clip.ok:
            return clip
        if key in failed:
            return dataclasses.replace(clip, status="unreadable", reason=failed[key])
        if peaks[key][0] > 0:
            return clip
        if refuse_silence:
            return dataclasses.replace(clip, status="silent", reason="digital silence")
        return dataclasses.replace(clip, note="; ".join(filter(None, [clip.note, "digital silence"])))
