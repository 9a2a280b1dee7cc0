"""The stages of a run whose work is done by workers: what is missing in the cache is cut into units for them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalkit.batching import items_at_once
from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError
from evalkit.filling.jobs import UNREADABLE, Encode, MakeClips, Resample, of_caption, of_clip, of_prompt
from evalkit.filling.workers import Workers
from evalkit.generation.clips import TOGETHER, generation_key
from evalkit.models import Generator
from evalkit.parallel.scheduler import units
from evalkit.parallel.units import Unit
from evalkit.plan import Plan
from evalkit.results.evidence import Evidence
from evalkit.scoring.resampling import Asked
from evalkit.settings import Engine, Sampling
from evalkit.types import Clip, Prompt

LARGEST = 128  # clips that are made at once on a GPU where nobody says how many


@dataclass(frozen=True)
class Stages:
    """What makes clips, features and resamples in workers.

    Attributes:
        encode: the features of the run.
        plan: of the run.
    """

    workers: Workers
    encode: Encode
    plan: Plan

    def clips(
        self, model: Generator, prompts: Sequence[Prompt], sampling: Sampling, engine: Engine, title: str
    ) -> Mapping[str, str]:
        """Have clips made; see `evalkit.generation.clips.Elsewhere`."""
        key = generation_key(model, sampling, self.plan.cache, engine)
        job = MakeClips(model, sampling, engine, key, self.encode.cache_dir, f"generating {title}")
        # a batch takes as long if it is not full, so that it is cut only where some workers would have none
        batch = engine.batch_size or (TOGETHER if engine.device == "cpu" else LARGEST)
        size = max(1, min(batch, -(-len(prompts) // self.workers.count)))
        ids = {of_prompt(prompt): prompt.id for prompt in prompts}
        texts = list(ids)
        work = [Unit(job, tuple(texts[start : start + size])) for start in range(0, len(texts), size)]
        failed = self.workers.do(work, job.title, job.counts)
        return {ids[text]: reason for text, reason in failed.items()}

    def features(
        self, clips: Sequence[Clip], encoders: Sequence[Encoder], loudness: float | None, title: str
    ) -> Mapping[str, str]:
        """Have clips encoded; see `evalkit.features.extractor.Elsewhere`."""
        numbers = [self.encode.encoders.index(encoder) for encoder in encoders]
        ids = {of_clip(clip, loudness, numbers): clip.id for clip in clips}
        return self._encoded(ids, f"features of {title}", "clips")

    def captions(self, prompts: Sequence[Prompt], encoder: Encoder) -> Mapping[str, str]:
        """Have captions encoded; see `evalkit.features.extractor.Elsewhere`."""
        number = self.encode.encoders.index(encoder)
        ids = {of_caption(prompt, number): prompt.id for prompt in prompts}
        return self._encoded(ids, "features of captions", "captions")

    def resamples(self, row: str, evidence: Evidence, asked: Sequence[Asked]) -> Mapping[int, str]:
        """Have resamples made; see `evalkit.plan.Elsewhere`."""
        names = dict.fromkeys(one.metric for one in asked)
        index = evidence.index[evidence.index["row"] == row]
        job = Resample(
            metrics={name: (self.plan.metrics[name], self.plan.definition(name)) for name in names},
            uncertainty=self.plan.uncertainty,
            cache_dir=self.encode.cache_dir,
            folder=str(evidence.folder),
            index=pickle.dumps(index),
            asked=tuple(asked),
        )
        work = [Unit(job, (str(number),)) for number in range(len(asked))]
        failed = self.workers.do(work, f"resamples of {row}", job.counts)
        return {int(number): reason for number, reason in failed.items()}

    def _encoded(self, ids: Mapping[str, str], title: str, counts: str) -> dict[str, str]:
        """Have clips or captions encoded, by what workers call them; return why not, by their own ids.

        Raises EvalkitError for what workers died of or broke at, unless the engine is to keep going.
        """
        batch = items_at_once(self.encode.device, self.encode.batch_size)
        work = units(self.encode, list(ids), self.workers.count, batch)
        failed = self.workers.do(work, title, counts)
        lost = {ids[text]: reason for text, reason in failed.items() if not reason.startswith(UNREADABLE)}
        if lost and not self.plan.engine.keep_going:
            first, reason = next(iter(lost.items()))
            raise EvalkitError(
                f"{title}: {len(lost)} of {len(ids)} {counts} could not be encoded ({first}: {reason}): what is "
                "finished is kept; mend what is wrong, or set engine.keep_going=true to go on without these"
            )
        return {ids[text]: reason.removeprefix(UNREADABLE) for text, reason in failed.items()}
