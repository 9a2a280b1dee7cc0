"""What workers do for a run: clips of prompts, and features of clips and captions.

A job holds components, which are frozen dataclasses whose fields say all that their results depend on, and settings.
Its ids are JSON that holds all that a worker must know of a prompt or clip, so that jobs stay small.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import pickle
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from evalkit import progress
from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError
from evalkit.features.extractor import Extractor
from evalkit.generation.clips import Maker, explaining, prompt_key
from evalkit.generation.memory import gpu_failed, release
from evalkit.generation.stored import ClipStore
from evalkit.metrics import Metric
from evalkit.models import Generator
from evalkit.parallel.units import Done, Work
from evalkit.precision import fixed_precision
from evalkit.results.evidence import Evidence
from evalkit.scoring.resampling import Asked, Resampling
from evalkit.settings import Engine, Sampling, Uncertainty
from evalkit.store.cache import Cache
from evalkit.store.known import known_digests
from evalkit.store.leases import lease
from evalkit.types import Clip, Prompt

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MakeClips:
    """Clips of one model; the ids are prompts, as `of_prompt` writes them.

    Attributes:
        key: what the clips are kept under, which says of a model of a script or notebook what only the run knows.
    """

    model: Generator
    sampling: Sampling
    engine: Engine
    key: Mapping[str, Any]
    cache_dir: str
    title: str
    counts: ClassVar[str] = "clips"

    def begin(self) -> Work:
        """Load the model; the work makes clips that are not in the cache, and puts them there."""
        cache = Cache(self.cache_dir)
        release()  # what the job before had loaded
        with working(cache), explaining(self.engine), leaving_a_broken_gpu():
            maker = Maker(self.model, self.sampling, cache, self.engine, self.key)
        store = ClipStore.of(cache, self.key, self.model)

        def work(ids: Sequence[str]) -> Done:
            prompts = [to_prompt(text) for text in ids]
            with working(cache), explaining(self.engine), leaving_a_broken_gpu():
                keys = [prompt_key(prompt) for prompt in prompts]
                before = store.read(keys)  # a worker that was lost with these may have made some
                todo = [prompt for key, prompt in zip(keys, prompts, strict=True) if key not in before]
                maker.make(todo, lambda count: None)
            failed = {text: maker.refused[key] for text, key in zip(ids, keys, strict=True) if key in maker.refused}
            return Done(tuple(text for text in ids if text not in failed), failed)

        return work


@dataclass(frozen=True)
class Encode:
    """Features of clips and captions; the ids are as `of_clip` and `of_caption` write them.

    Where a clip's content is why it has no features, `UNREADABLE` comes before the reason.

    Attributes:
        encoders: all that a run has, each once.
        definitions: of these and of their trunks; see `Extractor`.
        rate, resampler: of the protocol; see `Extractor`.
    """

    encoders: tuple[Encoder, ...]
    definitions: tuple[tuple[Encoder, Mapping[str, Any]], ...]
    cache_dir: str
    device: str
    batch_size: int | None
    rate: int | None
    resampler: str
    title: ClassVar[str] = "features"
    counts: ClassVar[str] = "clips and captions"

    def begin(self) -> Work:
        """Load nothing yet: each network is loaded when it is first needed, and kept."""
        release()  # what the job before had loaded
        cache = Cache(self.cache_dir)
        extractor = Extractor(
            cache, self.device, self.batch_size, self.rate, self.resampler, definitions=self.definitions
        )
        keys = [extractor.key(encoder) for encoder in self.encoders]

        def work(ids: Sequence[str]) -> Done:
            failed: dict[str, str] = {}
            with working(cache):
                for about, texts in alike(ids).items():
                    level, numbers = json.loads(about)
                    wanted = {keys[number]: self.encoders[number] for number in numbers}
                    if level == CAPTIONS:
                        captions = [to_prompt(json.dumps(json.loads(text)[2])) for text in texts]
                        for key, encoder in wanted.items():
                            # the run itself finds that an encoder is broken, and goes on without it
                            with contextlib.suppress(EvalkitError):
                                extractor.captions(captions, encoder, key)
                        continue
                    clips = [to_clip(text) for text in texts]
                    _, checked = extractor.clips(clips, wanted, loudness=level, refuse_silence=False, title="clips")
                    for text, clip in zip(texts, checked, strict=True):
                        if not clip.ok:
                            require_here(clip)
                            failed[text] = UNREADABLE + clip.reason
            for reason in extractor.broken.values():
                if gpu_failed(reason):
                    give_up(reason)
            # what has failed once need not fail with other clips; the run makes what is not there, or fails as well
            extractor.broken.clear()
            return Done(tuple(text for text in ids if text not in failed), failed)

        return work


@dataclass(frozen=True)
class Resample:
    """Resamples of scores of one row; the ids are their places in `asked`.

    Attributes:
        metrics: each with all that affects its values, by name.
        folder: of the features that the run keeps.
        index: which of them are the row's, as `Evidence` has it, pickled.
    """

    metrics: Mapping[str, tuple[Metric, Any]]
    uncertainty: Uncertainty
    cache_dir: str
    folder: str
    index: bytes
    asked: tuple[Asked, ...]
    title: ClassVar[str] = "resamples"
    counts: ClassVar[str] = "scores"

    def begin(self) -> Work:
        """Load nothing yet: features are read when they are first needed, and kept."""
        release()  # what the job before had loaded
        cache = Cache(self.cache_dir)
        evidence = Evidence(pickle.loads(self.index), Path(self.folder))
        made_by = {
            name: Resampling(cache, name, metric, definition, self.uncertainty)
            for name, (metric, definition) in self.metrics.items()
        }

        def work(ids: Sequence[str]) -> Done:
            with working(cache):
                for place in ids:
                    asked = self.asked[int(place)]
                    try:
                        asked.make(made_by[asked.metric], evidence)
                    except Exception:  # the run meets it again, and goes on without this score
                        log.info("resamples of metric.%s failed", asked.metric, exc_info=True)
            return Done(tuple(ids))

        return work


CAPTIONS = "captions"  # in place of a loudness

UNREADABLE = "unreadable: "  # before why a clip itself cannot be used, which is not for want of a worker


def require_here(clip: Clip) -> None:
    """Raise EvalkitError for a clip whose file, which the run has read before, cannot be opened on this machine."""
    assert clip.path is not None
    try:
        clip.path.open("rb").close()
    except OSError as error:
        raise EvalkitError(
            f"'{clip.path}' cannot be opened on {platform.node()} ({error.strerror or error}): clips and references "
            "must lie on a file system that all workers share"
        ) from error


def alike(ids: Iterable[str]) -> Mapping[str, list[str]]:
    """Ids of features by what they say before the clip or caption: the loudness and the encoders, as JSON."""
    found: dict[str, list[str]] = {}
    for text in ids:
        found.setdefault(json.dumps(json.loads(text)[:2]), []).append(text)
    return found


def of_prompt(prompt: Prompt) -> str:
    """A prompt as JSON."""
    return json.dumps(_plain(prompt))


def to_prompt(text: str) -> Prompt:
    """A prompt that `of_prompt` wrote."""
    known = json.loads(text)
    for name in ("reference", "melody", "continuation"):
        known[name] = None if known[name] is None else Path(known[name])
    return Prompt(**{**known, "tags": tuple(known["tags"]), "labels": tuple(known["labels"])})


def of_clip(clip: Clip, loudness: float | None, encoders: Sequence[int]) -> str:
    """A clip as JSON, but for how it was made, with the LUFS to bring it to and the numbers of its encoders."""
    return json.dumps([loudness, list(encoders), _plain(clip)])


def to_clip(text: str) -> Clip:
    """A clip that `of_clip` wrote."""
    known = json.loads(text)[2]
    return Clip(**{**known, "path": None if known["path"] is None else Path(known["path"])})


def of_caption(prompt: Prompt, encoder: int) -> str:
    """A prompt as JSON, with the number of the encoder that reads it."""
    return json.dumps([CAPTIONS, [encoder], _plain(prompt)])


def _plain(value: Prompt | Clip) -> dict[str, Any]:
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {name: str(part) if isinstance(part, Path) else part for name, part in fields.items() if name != "made"}


@contextlib.contextmanager
def working(cache: Cache) -> Iterator[None]:
    """What is around a unit: no bars, as one is for all workers, the precision of a run, and its lease of the cache."""
    with progress.silenced(True), fixed_precision(), lease(cache.root), known_digests(cache.root):
        yield


@contextlib.contextmanager
def leaving_a_broken_gpu() -> Iterator[None]:
    """End the worker where the GPU fails in the block."""
    try:
        yield
    except RuntimeError as error:
        if gpu_failed(str(error)):
            give_up(str(error))
        raise


def give_up(reason: str) -> None:
    """End this process at once: no later call to the GPU may succeed in it, and its work is given to another one."""
    print(f"evalkit: a worker ends because its GPU failed: {reason}", file=sys.stderr, flush=True)
    os._exit(1)
