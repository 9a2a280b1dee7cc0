"""Prompts to clips, batch by batch: stored once, found again, resumed after a kill."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, NamedTuple, Protocol

import numpy as np

from evalkit.audio import Audio
from evalkit.errors import EvalkitError, out_of_memory
from evalkit.generation.memory import explained, release
from evalkit.generation.stored import ClipStore, CodeStore
from evalkit.models import Coded, Existing, Generate, Generator
from evalkit.progress import progress
from evalkit.settings import Attention, Engine, Sampling
from evalkit.store import leases
from evalkit.store.cache import Cache
from evalkit.store.digests import digest, sha256_file
from evalkit.store.entry import Item
from evalkit.store.identity import identity
from evalkit.store.provenance import machine, versions
from evalkit.store.turns import Turns
from evalkit.types import Clip, Prompt

log = logging.getLogger(__name__)


VERSION = 2  # of what is generated here: raise it when the same key would give other codes or samples


LONGEST_CAPTION = 4000  # characters, of which a token usually has four


TOGETHER = 8  # clips of a model that has no batch size of its own


class Elsewhere(Protocol):
    """What makes clips in other processes, which put them into the same cache."""

    def clips(
        self, model: Generator, prompts: Sequence[Prompt], sampling: Sampling, engine: Engine, title: str
    ) -> Mapping[str, str]:
        """Have clips made, and say by the prompt's id why those that were not could not be.

        Raises EvalkitError for what no process can do.
        """


def clips_of(
    model: Generator | Existing,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    cache: Cache,
    engine: Engine,
    title: str,
    elsewhere: Elsewhere | None = None,
) -> list[Clip]:
    """Give one clip per prompt, in order, generating only what is not stored yet: here, or elsewhere.

    A finished batch is an entry of the cache, written after its audio; a kill loses at most the batch in flight. A clip
    that holds NaN has status "failed", and with `engine.keep_going` so has that of a caption that is too long, or of a
    prompt that no process elsewhere could make one for. Of a model that has codes, these are stored first, and clips
    are made from them. Raises EvalkitError, before anything is loaded, for a caption that is too long.
    """
    if not isinstance(model, Generator):
        return model.find(prompts)
    key = generation_key(model, sampling, cache, engine)
    store, keys = ClipStore.of(cache, key, model), [prompt_key(p) for p in prompts]
    stored = store.read(keys)
    warn_of_others([item.shared for item in stored.values()], engine, title)
    missing = [p for k, p in zip(keys, prompts, strict=True) if k not in stored]
    refused = {prompt_key(p): why for p in missing if (why := too_long(p))}
    if refused and not engine.keep_going:
        raise EvalkitError(f"{title}: {next(iter(refused.values()))}: shorten it, or set engine.keep_going=true")
    todo = [p for p in missing if prompt_key(p) not in refused]
    if todo:
        codes = CodeStore.of(cache, key, model).collection
        if len(todo) < len(prompts):
            log.info("%s: %d of %d clips are to be made", title, len(todo), len(prompts))
        if elsewhere is not None:
            failed = elsewhere.clips(model, todo, sampling, engine, title)
            for id, reason in failed.items():
                log.warning("%s: the clip of '%s' could not be made: %s", title, id, reason)
            stored = store.read(keys)
            # a run that makes codes itself holds them as long as its result is there
            leases.using(cache.root, codes.name, codes.having(keys))
            # not tried again here: what has killed other processes would kill this one
            refused |= {prompt_key(p): failed[p.id] for p in todo if p.id in failed}
            _require_made(todo, {*stored, *refused}, failed, cache, engine, title)
        else:
            with explaining(engine):
                maker = Maker(model, sampling, cache, engine, key)
                with progress(f"generating {title}", len(todo), "clips") as advance:
                    stored |= maker.make(todo, advance)
            refused |= maker.refused
        store.collection.compact()
        codes.compact()
    # not stored: another file, or another setting, may do
    stored |= {k: Item(None, {"status": "failed", "reason": reason}, {}) for k, reason in refused.items()}
    return [store.clip(p, stored[k]) for k, p in zip(keys, prompts, strict=True)]


def _require_made(
    prompts: Sequence[Prompt],
    known: Collection[str],
    failed: Mapping[str, str],
    cache: Cache,
    engine: Engine,
    title: str,
) -> None:
    """Raise EvalkitError for clips that were to be made elsewhere, and are not there.

    Args:
        known: the keys of prompts whose clips are stored, or whose failure is known.
        failed: why clips could not be made, by the prompt's id.
    """
    if failed and not engine.keep_going:
        first, reason = next(iter(failed.items()))
        raise EvalkitError(
            f"{title}: {len(failed)} of {len(prompts)} clips could not be made ({first}: {reason}): finished clips are "
            "kept; mend what is wrong, or set engine.keep_going=true to go on without these"
        )
    if absent := [p.id for p in prompts if prompt_key(p) not in known]:
        raise EvalkitError(
            f"{title}: {len(absent)} clips that other processes have made are not in '{cache.root}' ({absent[0]}, …): "
            "set cache_dir to a folder that all of them share"
        )


@contextmanager
def explaining(engine: Engine) -> Iterator[None]:
    """Turn failures of memory and of the GPU in the block into EvalkitError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if (known := explained(error, engine.batch_size or TOGETHER)) is error:
            raise
        raise known from error


class Maker:
    """A loaded model that makes clips, of one way of sampling, and stores them under their `generation_key`.

    Attributes:
        refused: why no clip can be made for a prompt, by its key, where the engine is to keep going.
    """

    def __init__(self, model: Generator, sampling: Sampling, cache: Cache, engine: Engine, key: Mapping[str, Any]):
        self.refused: dict[str, str] = {}
        self._sampling, self._engine = sampling, engine
        self._size = engine.batch_size or TOGETHER
        self._run = model.load(cache, engine)
        self._clips, self._codes = ClipStore.of(cache, key, model), CodeStore.of(cache, key, model)

    def make(self, prompts: Sequence[Prompt], advance: Callable[[int], None]) -> dict[str, Item]:
        """Make clips and store them, batch by batch; what is stored of each is by its prompt's key.

        Of those that another process makes at once each makes some. `advance` is called with how many were made.
        Raises EvalkitError for a prompt that no clip can be made for.
        """
        stored: dict[str, Item] = {}
        left = list(prompts)
        while left:
            stored |= self._make(left, advance)
            settled = {*stored, *self.refused}
            left = [p for p in left if prompt_key(p) not in settled]
            others = self._clips.read([prompt_key(p) for p in left])
            advance(len(others))
            stored |= others
            left = [p for p in left if prompt_key(p) not in others]  # of which the other has stored the codes so far
        return stored

    def _make(self, prompts: Sequence[Prompt], advance: Callable[[int], None]) -> dict[str, Item]:
        """Make clips, but for those that another process has made meanwhile."""
        stored: dict[str, Item] = {}
        # writing goes on beside the next batch, and on a GPU so does decoding its codes
        with ThreadPoolExecutor(1) as writer:
            waiting: list[Future[dict[str, Item]]] = []
            for batch in self._batches(prompts):
                waiting.append(writer.submit(self._write, batch))
                if len(waiting) > 1:
                    stored |= waiting.pop(0).result()
                advance(len(batch.prompts))
            for last in waiting:
                stored |= last.result()
        return stored

    def _batches(self, prompts: Sequence[Prompt]) -> Iterator[Batch]:
        size, sampling = self._size, self._sampling
        if isinstance(self._run, Coded):
            yield from _from_codes(self._run, prompts, sampling, self._codes, self._engine, size, self.refused)
        else:
            here = computing(self._engine)
            for batch in Turns(self._clips.collection, {prompt_key(p): p for p in prompts}).batches(lambda _: size):
                yield Batch(batch, _run(self._run, batch, sampling), here)

    def _write(self, batch: Batch) -> dict[str, Item]:
        pairs = zip(batch.prompts, batch.clips(), strict=True)
        return self._clips.write({prompt_key(prompt): (prompt, audio) for prompt, audio in pairs}, batch.made)


def warn_of_others(made: Sequence[Mapping[str, Any]], engine: Engine, title: str) -> None:
    """Warn of clips or codes that are found in the cache, and were made otherwise than the engine now asks for."""
    wanted: dict[str, tuple[Any, ...]] = {}
    if engine.batch_size is not None:
        wanted["batch_size"] = (engine.batch_size,)
    if engine.attention is not Attention.auto:
        wanted["attention"] = ("triton",) if engine.attention is Attention.triton else ("efficient", "math", "torch")
    for name, values in wanted.items():
        others = [one[name] for one in made if name in one and one[name] not in values]
        if others:
            log.warning(
                "%s: %d clips in the cache were made with %s %s and are used as they are: set cache_dir to make others",
                *(title, len(others), name, " and ".join(map(str, dict.fromkeys(others)))),
            )


def made_before(
    model: Generator | Existing, prompts: Sequence[Prompt], sampling: Sampling, cache: Cache, engine: Engine
) -> list[Clip]:
    """Give one clip per prompt, in order, as `clips_of` does, with status "missing" for what it would generate."""
    if not isinstance(model, Generator):
        return model.find(prompts)
    store = ClipStore.of(cache, generation_key(model, sampling, cache, engine), model)
    keys = [prompt_key(p) for p in prompts]
    stored, absent = store.read(keys), Item(None, {"status": "missing", "reason": "not generated yet"}, {})
    return [store.clip(p, stored.get(k, absent)) for k, p in zip(keys, prompts, strict=True)]


def generation_key(model: Generator, sampling: Sampling, cache: Cache, engine: Engine) -> dict[str, Any]:
    """Everything but its prompt that a clip depends on, as a JSON-like value."""
    return {
        "version": VERSION,
        "model": identity(model, cache),
        "sampling": {name: value for name, value in asdict(sampling).items() if name != "samples_per_prompt"},
        # last bits differ between kinds of device; the batch size stays out
        "device": engine.device.split(":")[0],
        "dtype": engine.dtype.value,
    }


def prompt_key(prompt: Prompt) -> str:
    """What a clip of given sampling and model is found by: the prompt's id, caption and conditioning audio."""
    melody, continuation = (sha256_file(p) if p else None for p in (prompt.melody, prompt.continuation))
    return digest([prompt.id, prompt.text, melody, *([continuation] if continuation else [])])[:32]


def too_long(prompt: Prompt) -> str:
    """Why no clip is made for a prompt whose caption is too long; empty for others."""
    length = len(prompt.text)
    if length <= LONGEST_CAPTION:
        return ""
    return (
        f"the caption of prompt '{prompt.id}' has {length:,} characters, and {LONGEST_CAPTION:,} are the most, because "
        "the memory that text encoders take grows with the square of the length"
    )


Clips = Callable[[], list[Audio]]


class Batch(NamedTuple):
    """Prompts, what gives their clips, and how these are computed, as a clip's `made` has it."""

    prompts: Sequence[Prompt]
    clips: Clips
    made: Mapping[str, Any]


def computing(engine: Engine) -> dict[str, Any]:
    """Describe what clips are computed with on this machine, beside what a loaded model says of itself."""
    return {**machine(engine.device), "torch": versions()["torch"], "dtype": engine.dtype.value}


def _from_codes(
    run: Coded,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    store: CodeStore,
    engine: Engine,
    size: int,
    refused: dict[str, str],
) -> Iterator[Batch]:
    """Yield batches, after their codes were stored; `size` is that of those whose codes were stored before.

    Where the engine is to keep going, prompts that nothing can be made for are noted in `refused`.
    """
    overlapped = not engine.device.startswith("cpu")

    def clips(codes: list[np.ndarray | None]) -> Clips:
        if overlapped:
            return lambda: run.audio(codes, sampling)
        made = run.audio(codes, sampling)  # on a CPU two computations at once would only disturb each other
        return lambda: made

    known = store.read([prompt_key(p) for p in prompts])
    # those that were computed alike are kept together: how is said of a batch
    alike: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        if (one := known.get(prompt_key(prompt))) is not None:
            alike.setdefault(digest(one.made), []).append(prompt)
    warn_of_others([known[prompt_key(p)].made for same in alike.values() for p in same], engine, "codes")
    for old in alike.values():
        for start in range(0, len(old), size):
            batch = old[start : start + size]
            found = [known[prompt_key(p)] for p in batch]
            yield Batch(batch, clips([one.values for one in found]), found[0].made)
    groups: dict[Hashable, list[Prompt]] = {}
    for prompt in prompts:
        if prompt_key(prompt) not in known:
            try:
                groups.setdefault(run.group(prompt, sampling), []).append(prompt)
            except EvalkitError as error:
                if not engine.keep_going:
                    raise
                refused[prompt_key(prompt)] = str(error)
    before = store.batch_sizes()
    for group, waiting in groups.items():
        sizes = run.batch_size(sampling, waiting, before.get(str(group)))
        turns = Turns(store.collection, {prompt_key(p): p for p in waiting})
        for some, codes, rows in _codes(run, turns, sampling, sizes.rows):
            made = {**computing(engine), **run.facts(), "batch_size": rows}
            keyed = {prompt_key(p): one for p, one in zip(some, codes, strict=True)}
            store.write(keyed, made, str(group), sizes)
            yield Batch(some, clips(codes), made)


Made = tuple[Sequence[Prompt], list[np.ndarray | None], int]


def _codes(run: Coded, turns: Turns[Prompt], sampling: Sampling, rows: int) -> Iterator[Made]:
    """Yield batches of one group of prompts with their codes, and with how many rows each was computed.

    All have the same number, so that no batch but the last is filled up. Where one does not fit into memory, it is
    made in halves, and the next has its full size again, as one caption may have been long; where two in a row do
    not fit, those that follow are no larger than what did.
    """
    failed = 0

    def size(_: Sequence[Prompt]) -> int:
        return rows  # as it is by then

    for whole in turns.batches(size):
        fit = rows
        while whole:
            batch = whole[:fit]
            try:
                codes = run.codes(batch, sampling, fit)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if fit == 1:
                    raise explained(error, fit) from error
                fit //= 2
                log.warning("out of memory: going on with %d clips at once", fit)
                codes = None
            if codes is None:  # here the error is gone, and with it what its frames held
                release()
                continue
            yield batch, codes, fit
            del whole[: len(batch)]
        failed = failed + 1 if fit < rows else 0
        if failed > 1:
            rows, failed = fit, 0


def _run(run: Generate, batch: Sequence[Prompt], sampling: Sampling) -> Clips:
    made = run(batch, sampling)
    return lambda: made
