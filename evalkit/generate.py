"""Prompts to clips, batch by batch: stored once, found again, resumed after a kill."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from evalkit.audio import Audio, encode_flac
from evalkit.config import Sampling
from evalkit.errors import EvalkitError
from evalkit.progress import progress
from evalkit.store import Cache, digest, identity, sha256_file, write_bytes, write_json
from evalkit.types import Clip, Prompt

log = logging.getLogger(__name__)

VERSION = 1  # of what is stored here: raise it when the same key would give other bytes


@runtime_checkable
class Generator(Protocol):
    """A model that makes audio for prompts."""

    def check(self, sampling: Sampling) -> None: ...

    def load(self, cache: Cache, device: str, dtype: str) -> Callable[[Sequence[Prompt], Sampling], list[Audio]]: ...


@runtime_checkable
class Existing(Protocol):
    """Clips that were made elsewhere."""

    def find(self, prompts: Sequence[Prompt]) -> list[Clip]: ...


def clips_of(
    model: Generator | Existing,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    cache: Cache,
    *,
    device: str,
    dtype: str,
    batch_size: int,
    title: str,
) -> list[Clip]:
    """Give one clip per prompt, in order, generating only what is not stored yet.

    A finished batch is a manifest, written after its clips; a kill loses at most the batch in
    flight. A clip that holds NaN has status "failed".
    """
    if isinstance(model, Existing):
        return model.find(prompts)
    key = {
        "version": VERSION,
        "model": identity(model, cache),
        "sampling": asdict(sampling),
        # last bits differ between kinds of device; batch size and other execution details stay out
        "device": device.split(":")[0],
        "dtype": dtype,
    }
    folder = cache.clips / digest(key)[:32]
    stored = _stored(folder)
    todo = [p for p in prompts if _prompt_key(p) not in stored]
    if todo:
        if len(todo) < len(prompts):
            log.info("%s: %d of %d clips are there already", title, len(prompts) - len(todo), len(prompts))
        write_json(folder / "key.json", key)
        run = model.load(cache, device, dtype)
        with progress(f"generating {title}", len(todo), "clips") as advance:
            for start in range(0, len(todo), batch_size):
                batch = todo[start : start + batch_size]
                stored |= _generate_batch(run, batch, sampling, folder)
                advance(len(batch))
    return [_clip(p, folder, stored[_prompt_key(p)]) for p in prompts]


def _prompt_key(prompt: Prompt) -> str:
    melody = sha256_file(prompt.melody) if prompt.melody else None
    return digest([prompt.id, prompt.text, melody])[:32]


def _generate_batch(
    run: Callable[[Sequence[Prompt], Sampling], list[Audio]],
    batch: Sequence[Prompt],
    sampling: Sampling,
    folder: Path,
) -> dict[str, dict[str, Any]]:
    try:
        outputs = run(batch, sampling)
    except RuntimeError as error:
        if "out of memory" in str(error).lower():
            raise EvalkitError(
                f"out of memory with {len(batch)} clips at once: lower engine.batch_size; finished clips are kept"
            ) from error
        raise
    entries = {}
    for prompt, audio in zip(batch, outputs, strict=True):
        key = _prompt_key(prompt)
        entry: dict[str, Any] = {"id": prompt.id, "status": "ok", "reason": ""}
        if not audio.samples.size:
            entry |= {"status": "failed", "reason": "the model made no samples"}
        elif not np.isfinite(audio.samples).all():
            entry |= {"status": "failed", "reason": "the model's output holds NaN or infinity"}
        else:
            # FLAC clips at full scale: halve the level until it fits, which is exact, and remember it
            peak = float(np.abs(audio.samples).max(initial=0.0))
            gain = 2.0 ** -max(0, int(np.ceil(np.log2(peak)))) if peak > 1 else 1.0
            path = folder / f"{key}.flac"
            write_bytes(path, encode_flac(Audio(audio.samples * np.float32(gain), audio.rate)))
            entry |= {
                "sha256": sha256_file(path),
                "frames": audio.samples.shape[1],
                "sample_rate": audio.rate,
                "channels": audio.samples.shape[0],
                "gain": gain,
            }
        entries[key] = entry
    manifest = {"digest": digest(entries), "clips": entries}
    write_json(folder / f"batch-{digest(sorted(entries))[:16]}.json", manifest)
    return entries


def _stored(folder: Path) -> dict[str, dict[str, Any]]:
    """The entries of all manifests whose clip is the one that they describe."""
    entries: list[tuple[str, dict[str, Any]]] = []
    for manifest in sorted(folder.glob("batch-*.json")):
        try:
            read = json.loads(manifest.read_text("utf-8"))
            if read["digest"] != digest(read["clips"]):
                raise ValueError
            entries += read["clips"].items()
        except (ValueError, TypeError, KeyError):
            log.warning("damaged cache entry %s: its clips will be generated again", manifest)
            manifest.unlink(missing_ok=True)

    def intact(item: tuple[str, dict[str, Any]]) -> bool:
        key, entry = item
        path = folder / f"{key}.flac"
        return entry["status"] == "failed" or (path.is_file() and sha256_file(path) == entry["sha256"])

    with ThreadPoolExecutor(4) as pool:
        # a clip that was made twice has two entries, of which at most one is still true
        good = dict(item for item, fits in zip(entries, pool.map(intact, entries), strict=True) if fits)
    for key in {key for key, _ in entries} - set(good):
        log.warning("damaged or missing clip %s/%s.flac: will be generated again", folder, key)
    return good


def _clip(prompt: Prompt, folder: Path, entry: dict[str, Any]) -> Clip:
    path = folder / f"{_prompt_key(prompt)}.flac" if entry["status"] == "ok" else None
    return Clip(path=path, **{**entry, "id": prompt.id})
