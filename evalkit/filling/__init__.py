"""A run beyond one process: workers fill the cache with what is missing, and the run goes on with what it finds there.

So results do not depend on the workers: what they make is what the run would have made, and each clip and each feature
depends on its own key alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from omegaconf import DictConfig

from evalkit import progress
from evalkit.encoders import Encoder, Headed
from evalkit.filling.jobs import Encode
from evalkit.filling.stages import Stages
from evalkit.filling.workers import workers_of
from evalkit.models import Generator
from evalkit.plan import Plan
from evalkit.precision import fixed_precision
from evalkit.scoring.embedding import embed
from evalkit.scoring.rows import clips_of_run, ready
from evalkit.store.cache import Cache
from evalkit.store.digests import digest
from evalkit.store.known import known_digests
from evalkit.store.leases import lease


@contextmanager
def beyond_one_process(plan: Plan) -> Iterator[Plan]:
    """Give a plan whose clips, features and resamples are made by the workers of its engine, until the block ends.

    Raises EvalkitError where the engine asks for what there is not.
    """
    with workers_of(plan.engine, plan.cache.root) as workers:
        if workers is None:
            yield plan
            return
        encoders, extractor = encoders_of(plan), plan.extractor()
        trunks = [encoder.trunk for encoder in encoders if isinstance(encoder, Headed)]
        encode = Encode(
            tuple(encoders),
            tuple((encoder, extractor.definition(encoder)) for encoder in [*encoders, *trunks]),
            str(plan.cache.root),
            plan.engine.device,
            plan.engine.feature_batch_size,
            plan.protocol.sample_rate,
            plan.protocol.resampler,
        )
        yield dataclasses.replace(plan, elsewhere=Stages(workers, encode, plan))


@dataclass(frozen=True)
class Filled:
    """What one share of a run has put into the cache.

    Attributes:
        made: clips that were generated.
        found: clips that had been generated before.
        encoded: features of clips and captions that were made.
        failed: why clips of models cannot be used, by model and prompt, where the run must have all, and why encoders
            gave no features.
    """

    made: int
    found: int
    encoded: int
    failed: Mapping[str, str]


def share(config: DictConfig, index: int, count: int) -> Filled:
    """Fill the cache with one of `count` shares of a run: the clips of some prompts, and their features.

    A prompt belongs to a share by its id's digest, with its reference, its caption and all its clips, so that the
    shares of a run are the same wherever they are filled. A run that comes after all of them finds everything but
    calibration rows and resamples. Raises EvalkitError as `evalkit.pipeline.evaluate` does.
    """
    root = Cache(config.cache_dir).root
    with (
        progress.silenced(config.engine.quiet),
        progress.recording() as blocks,
        lease(root),
        known_digests(root),
        fixed_precision(),
    ):
        plan, prompts, _ = ready(config)
        own = [prompt for prompt in prompts.prompts if int(digest(prompt.id), 16) % count == index]
        part = dataclasses.replace(prompts, prompts=tuple(own))
        if not own:
            return Filled(0, 0, 0, {})
        failed: dict[str, str] = {}
        broken: dict[str, str] = {}
        with beyond_one_process(plan) as plan:
            clips = clips_of_run(plan, part, part=True)
            for row in embed(plan, own, clips.references, clips.models, {}, part=True):
                failed |= {
                    f"{row.name}: {clip.id}": clip.reason or clip.status for clip in row.row.clips if not clip.ok
                }
                broken |= row.broken
    generated = [row.clips for name, row in clips.models.items() if isinstance(plan.models[name], Generator)]
    if any(clip.ok for clip in clips.references):
        rendered = [clips.references] if isinstance(plan.references, Generator) else []
        altered = [clips.references] if plan.transform is not None else []
        generated += rendered + altered
    made = sum(block.done for block in blocks if block.title.startswith("generating "))
    lost = sum(clip.status == "failed" for clips in generated for clip in clips)
    if plan.elsewhere is not None:  # whose progress counts what could not be made as well
        made = max(0, made - lost)
    return Filled(
        made=made,
        found=max(0, sum(map(len, generated)) - made - lost),
        encoded=sum(block.done for block in blocks if block.title.startswith("features of ")),
        failed={
            **({} if plan.engine.keep_going else failed),
            **{f"encoder {number}": why for number, why in enumerate(broken.values(), 1)},
        },
    )


def encoders_of(plan: Plan) -> list[Encoder]:
    """The encoders of a run's metrics, each once."""
    found: list[Encoder] = []
    for metric in plan.metrics.values():
        for encoder in (metric.encoder, metric.reference_encoder):
            if encoder is not None and encoder not in found:
                found.append(encoder)
    return found
