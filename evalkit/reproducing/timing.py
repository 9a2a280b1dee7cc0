"""How long a run will take on this device, measured on the first clips that it has to make.

What is made for this is kept in the cache like everything else, so that the run makes only the rest.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from evalkit.batching import items_at_once
from evalkit.calibration import Row
from evalkit.decoding.model import CPU_BATCH
from evalkit.encoders import Encoder
from evalkit.features.extractor import Extractor
from evalkit.generation.clips import TOGETHER, clips_of, made_before
from evalkit.models import Generator
from evalkit.plan import Plan
from evalkit.progress import Block, recording
from evalkit.prompts.selection import sampled
from evalkit.report.numbers import count
from evalkit.scoring.embedding import common_length, embed, one_per_prompt, require_generated
from evalkit.store.provenance import device_name
from evalkit.types import Clip, Prompt, PromptSet

REFERENCES, CAPTIONS = "features of references", "features of captions"  # titles of progress
ON_CUDA = 128  # clips of a model with a codec that a large GPU makes at once
STEPS = 2  # in which features are timed at least: networks are loaded in the first


@dataclass(frozen=True)
class Stage:
    """One stage of a run, and how long the rest of it takes.

    Attributes:
        name: what is done.
        unit: of what.
        total, left: how much there is, and how much of it was not in the cache when it was timed, but for what the
            timing has made.
        rate: how much is made in a second; NaN where nothing had to be made.
    """

    name: str
    unit: str
    total: int
    left: int
    rate: float = math.nan

    @property
    def seconds(self) -> float:
        """How long the rest takes: 0 where nothing is left, NaN where that could not be timed."""
        return self.left / self.rate if self.left else 0.0


@dataclass(frozen=True)
class _Rest:
    """What is not in the cache: places among the clips that are asked for, sample by sample, or among the prompts.

    Attributes:
        clips: that have to be generated.
        features: clips whose features have to be made, those that have to be generated too.
        references: whose features have to be made.
        captions: how many different ones have to be encoded.
    """

    clips: list[int]
    features: list[int]
    references: list[int]
    captions: int


def stages(plan: Plan, prompts: PromptSet, references: Sequence[Clip]) -> list[Stage]:
    """Say what a run of one model still has to make, and how long that takes here, after making the first of it.

    Scores are not among it. Raises EvalkitError where the first clips cannot be made or used.

    Args:
        references: of the prompts, in their order.
    """
    (name,) = plan.models
    asked = sampled(prompts.prompts, plan.sampling.samples_per_prompt)
    model = plan.models[name]
    if not isinstance(model, Generator):
        require_generated(plan, name, model.find(asked))
    rest = _rest(plan, name, asked, prompts, references)
    chosen = _first(rest, plan, name, asked, references)
    with recording() as blocks:
        if chosen:
            _make(plan, name, chosen, asked, prompts, references)
            rest = _rest(plan, name, asked, prompts, references)
    generated = len(asked) if isinstance(model, Generator) else 0
    captions = len(prompts) if _caption_encoders(plan) else 0
    usable = sum(clip.ok for clip in references) if plan.paired else 0
    found = [
        Stage("generating", "clips", generated, len(rest.clips), _generating(plan, name, blocks)),
        Stage("features of clips", "clips", len(asked), len(rest.features), _rate(blocks, f"features of {name}")),
        Stage(REFERENCES, "files", usable, len(rest.references), _rate(blocks, REFERENCES)),
        Stage(CAPTIONS, "captions", captions, rest.captions, _rate(blocks, CAPTIONS)),
    ]
    return [stage for stage in found if stage.total]


def timed(plan: Plan, found: Sequence[Stage]) -> Iterator[tuple[str, str]]:
    """What is to be said of the time that is left: a word on what it is about, and a text."""
    yield "device", f"{plan.engine.device} ({device_name(plan.engine.device)}), {plan.engine.dtype.value}"
    label = "to make"
    for stage in found:
        if stage.left:
            rate = "" if math.isnan(stage.rate) else f" at {_rate_text(stage)}: {duration(stage.seconds)}"
            yield label, f"{stage.name}: {count(stage.left)} of {count(stage.total)} {stage.unit}{rate}"
            label = ""
    if label:
        yield "time", "everything is in the cache but the scores"
        return
    known = [stage.seconds for stage in found if not math.isnan(stage.seconds)]
    workers = plan.engine.workers
    shared = "" if workers == 1 else f" of work, which {'all' if workers == 'auto' else workers} workers share"
    yield "time", f"about {duration(math.fsum(known))}{shared}, and then the scores"


def _rate_text(stage: Stage) -> str:
    if stage.rate >= 1 / 60:
        return f"{stage.rate:.2g}/s" if stage.rate < 10 else f"{stage.rate:.0f}/s"
    return f"{stage.rate * 60:.2g} a minute"


def duration(seconds: float) -> str:
    """Write a time with its two largest units."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{max(1, round(seconds))} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"


def _caption_encoders(plan: Plan) -> list[Encoder]:
    alone = [metric for name, metric in plan.metrics.items() if name not in plan.paired]
    return [metric.reference_encoder for metric in alone if metric.reference_encoder is not None]


def _rest(plan: Plan, name: str, asked: Sequence[Prompt], prompts: PromptSet, references: Sequence[Clip]) -> _Rest:
    """Look into the cache for everything that a run of one model reads from it."""
    model, extractor = plan.models[name], plan.extractor()
    clips = made_before(model, asked, plan.sampling, plan.cache, plan.engine)
    to_make = [i for i, clip in enumerate(clips) if clip.status == "missing" and isinstance(model, Generator)]
    captions = {extractor.key(encoder): encoder for encoder in _caption_encoders(plan)}
    return _Rest(
        clips=to_make,
        features=sorted({*to_make, *_without_features(plan, extractor, prompts, clips, references)}),
        references=_places(references, _absent(extractor, references, _theirs(plan), None)),
        captions=max((extractor.captions_not_encoded(prompts.prompts, e) for e in captions.values()), default=0),
    )


def _without_features(
    plan: Plan, extractor: Extractor, prompts: PromptSet, clips: Sequence[Clip], references: Sequence[Clip]
) -> list[int]:
    """The places of clips that are there and whose features are not: as they are, or cut as their references."""
    loudness, common = plan.protocol.generated_loudness, plan.protocol.pair_length == "common"
    alone = [metric.encoder for name, metric in plan.metrics.items() if name not in plan.paired]
    found: list[int] = []
    for number, clips_of_sample in enumerate(one_per_prompt(Row(prompts.prompts, list(clips)))):
        cut = clips_of_sample
        if common and plan.paired:
            cut, _ = common_length(clips_of_sample, references, plan.protocol.sample_rate)
        lacking = [
            *_absent(extractor, clips_of_sample, alone, loudness),
            *_absent(extractor, cut, [metric.encoder for metric in plan.paired.values()], loudness),
        ]
        found += [number * len(prompts) + place for place in _places(clips_of_sample, lacking)]
    return found


def _theirs(plan: Plan) -> list[Encoder]:
    return [metric.reference_encoder for metric in plan.paired.values() if metric.reference_encoder is not None]


def _absent(
    extractor: Extractor, clips: Sequence[Clip], encoders: Iterable[Encoder], loudness: float | None
) -> list[Clip]:
    keyed = {extractor.key(encoder): encoder for encoder in encoders}
    return extractor.not_encoded(clips, keyed, loudness=loudness) if keyed else []


def _places(clips: Sequence[Clip], chosen: Iterable[Clip]) -> list[int]:
    ids = {clip.id for clip in chosen}
    return [place for place, clip in enumerate(clips) if clip.id in ids]


def _first(rest: _Rest, plan: Plan, name: str, asked: Sequence[Prompt], references: Sequence[Clip]) -> list[int]:
    """Choose what to make first, by its places: one full batch of clips of different prompts.

    Captions are of a usual length, because those of one batch must be about as long.
    """
    model, engine = plan.models[name], plan.engine
    coded = getattr(model, "codec", None) is not None
    count = engine.batch_size or (ON_CUDA if coded and engine.device.startswith("cuda") else TOGETHER)
    places = rest.clips or rest.features or rest.references
    if plan.paired:
        places = [place for place in places if references[place % len(references)].ok]
    if not places:
        return []
    usual = statistics.median(len(asked[place].text) for place in places)
    seen = set(range(len(references))) - set(rest.references)  # others show how long references take as well
    chosen: dict[int, int] = {}  # by the prompt
    for place in sorted(places, key=lambda i: (i % len(references) in seen, abs(len(asked[i].text) - usual))):
        chosen.setdefault(place % len(references), place)
    return list(chosen.values())[:count]


def _make(
    plan: Plan,
    name: str,
    places: Sequence[int],
    asked: Sequence[Prompt],
    prompts: PromptSet,
    references: Sequence[Clip],
) -> None:
    """Make some clips and all of their features, in stages that a run has too."""
    asked_here = [asked[place] for place in places]
    clips = clips_of(plan.models[name], asked_here, plan.sampling, plan.cache, plan.engine, name)
    here = [place % len(prompts) for place in places]
    # in steps, the first of which loads the networks
    most = items_at_once(plan.engine.device, plan.engine.feature_batch_size)
    size = max(1, min(most, len(places) // STEPS))
    small = dataclasses.replace(
        plan, engine=dataclasses.replace(plan.engine, feature_batch_size=size), min_references=0.0
    )
    row = Row([prompts.prompts[i] for i in here], clips)
    for _ in embed(small, row.prompts, [references[i] for i in here], {name: row}, {}):
        pass


def _rate(blocks: Sequence[Block], title: str) -> float:
    """How much of a stage is made in a second; where a clip is encoded twice, as it is and cut, that is one."""
    seconds = sum(1 / block.rate for block in blocks if block.title.startswith(title))
    return 1 / seconds if seconds else math.nan


def _generating(plan: Plan, name: str, blocks: Sequence[Block]) -> float:
    """How many clips are generated in a second, in full batches: a codec's are filled up with clips that go away."""
    found = [block for block in blocks if block.title == f"generating {name}"]
    if not found:
        return math.nan
    (block,) = found
    if getattr(plan.models[name], "codec", None) is None:
        return block.done / block.seconds
    largest = max(count for _, count in block.steps)
    fixed = CPU_BATCH if plan.engine.device == "cpu" else largest
    return (plan.engine.batch_size or fixed) * len(block.steps) / block.seconds
