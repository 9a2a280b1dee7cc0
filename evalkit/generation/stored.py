"""Clips and codes in the cache: what is stored of each, and whether it is still what was stored."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from evalkit.audio import Audio, encode_flac
from evalkit.models import Generator
from evalkit.store import leases
from evalkit.store.cache import Cache
from evalkit.store.collection import Collection, counted
from evalkit.store.digests import canonical, sha256_file, sha256_files
from evalkit.store.entry import Item
from evalkit.store.files import write_bytes
from evalkit.store.provenance import versions
from evalkit.types import BatchSize, Clip, Prompt

log = logging.getLogger(__name__)

DECODED = 1  # of what becomes of codes: raise it when the same codes would give other clips

AUDIO = "audio"  # the folder, in that of the collection, of files that are named by their content


@dataclass(frozen=True)
class ClipStore:
    """The clips of one `generation_key`: an item for each prompt, and an audio file for each content.

    An item's facts are what `Clip` says of the file, with its name in the collection's folder as `audio`; shared by the
    clips of a batch is how they were made.
    """

    collection: Collection

    @classmethod
    def of(cls, cache: Cache, key: Mapping[str, Any], model: Generator) -> ClipStore:
        """Those in a cache of a model, whose `generation_key` is given."""
        return cls(cache.collection("clips", {**key, "decoded": DECODED}, _label(model)))

    def write(self, clips: Mapping[str, tuple[Prompt, Audio]], made: Mapping[str, Any]) -> dict[str, Item]:
        """Store the clips of one batch by their prompts' keys, first the audio, and return what was stored.

        `made` says how they were computed. Raises EvalkitError where they cannot be written.
        """
        made = json.loads(canonical(made))  # in the order in which it is read again: records have it so too
        leases.using(self.collection.root, self.collection.name)  # before audio that is there is taken for this
        items = {key: Item(None, {"id": p.id, **self._audio(audio)}, made) for key, (p, audio) in clips.items()}
        self.collection.write(items)
        return items

    def _audio(self, audio: Audio) -> dict[str, Any]:
        """Write an audio file where there is none of its content, and say what is to be known of it."""
        if not audio.samples.size:
            return {"status": "failed", "reason": "the model made no samples"}
        if not np.isfinite(audio.samples).all():
            return {"status": "failed", "reason": "the model's output holds NaN or infinity"}
        # FLAC clips at full scale: halve the level until it fits, which is exact, and remember it
        peak = float(np.abs(audio.samples).max(initial=0.0))
        gain = 2.0 ** -max(0, int(np.ceil(np.log2(peak)))) if peak > 1 else 1.0
        data = encode_flac(Audio(audio.samples * np.float32(gain), audio.rate))
        sha256 = hashlib.sha256(data).hexdigest()
        name = f"{AUDIO}/{sha256[:32]}.flac"
        path = self.collection.folder / name
        if not (path.is_file() and sha256_file(path) == sha256):
            write_bytes(path, data)
        return {
            "status": "ok",
            "reason": "",
            "audio": name,
            "bytes": len(data),
            "sha256": sha256,
            "frames": audio.samples.shape[1],
            "sample_rate": audio.rate,
            "channels": audio.samples.shape[0],
            "gain": gain,
        }

    def read(self, keys: Iterable[str]) -> dict[str, Item]:
        """Read the items of prompts, by their keys, whose audio is there and is what was stored.

        One look at the folder tells of audio that was seen to be whole before; other audio is read. Items of audio that
        is damaged or absent are removed, with one warning for all.
        """
        good: dict[str, Item] = {}
        lost: set[str] = set()
        wanted = list(keys)
        while wanted:
            found = self.collection.read(wanted)
            names = {key: item.facts["audio"] for key, item in found.items() if "audio" in item.facts}
            digests = sha256_files(self.collection.folder / AUDIO, {_file(name) for name in names.values()})
            bad = {k: found[k] for k, name in names.items() if digests.get(_file(name)) != found[k].facts["sha256"]}
            good |= {key: item for key, item in found.items() if key not in bad}
            self.collection.discard(bad)
            # of a clip that was made twice, there may be another item
            wanted = [key for key in bad if names[key] not in lost]
            lost |= {names[key] for key in bad}
        if lost:
            files = [self.collection.folder / name for name in sorted(lost)]
            log.warning("%s: will be made again", counted("damaged or missing clip", files))
        return good

    def clip(self, prompt: Prompt, item: Item) -> Clip:
        """The clip that an item stands for."""
        facts = {**item.facts, "id": prompt.id}
        audio, _ = facts.pop("audio", None), facts.pop("bytes", None)
        return Clip(**facts, path=self.collection.folder / audio if audio else None, made=item.shared)


def _file(name: str) -> str:
    return name.removeprefix(f"{AUDIO}/")


class Codes(NamedTuple):
    """The codes of one clip, int16 (codebooks, frames), None for one that failed, and how they were computed."""

    values: np.ndarray | None
    made: Mapping[str, Any]


@dataclass(frozen=True)
class CodeStore:
    """The codes of one `generation_key`, 8 KB for ten seconds of stereo, stored before anything is made of them."""

    collection: Collection

    @classmethod
    def of(cls, cache: Cache, key: Mapping[str, Any], model: Generator) -> CodeStore:
        """Those in a cache of a model, whose `generation_key` is given."""
        return cls(cache.collection("codes", dict(key), _label(model)))

    def write(
        self, codes: Mapping[str, np.ndarray | None], made: Mapping[str, Any], group: str, size: BatchSize
    ) -> None:
        """Store the codes of one batch, int16 (codebooks, frames) by the prompt's key, None for a clip that failed.

        `made` says how they were computed, as JSON-like values, and `size` how large batches of the `group` were to be;
        all are recorded. Raises EvalkitError where they cannot be written.
        """
        shared = {"made": dict(made), "versions": versions(), "group": group, **size._asdict()}
        self.collection.write({key: Item(value, None, shared) for key, value in codes.items()})

    def read(self, keys: Iterable[str]) -> dict[str, Codes]:
        """Read the codes of prompts, by their keys; those that are damaged are absent."""
        items = self.collection.read(keys)
        return {key: Codes(item.value, item.shared["made"]) for key, item in items.items()}

    def batch_sizes(self) -> dict[str, BatchSize]:
        """How large the batches of each group were to be, at most."""
        found: dict[str, BatchSize] = {}
        for entry in self.collection.entries():
            for about in entry.shared:
                before = found.get(about["group"], BatchSize(0, 0))
                found[about["group"]] = BatchSize(*map(max, before, (about["rows"], about["most"])))
        return found


def _label(model: Generator) -> str:
    """What a model is called in lists of the cache: where its weights come from, or its name."""
    checkpoint = getattr(model, "checkpoint", None)
    return str(checkpoint.source if checkpoint else getattr(model, "kind", type(model).__name__))
