"""Prompts to clips: the references, and the clips of each row of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import DictConfig

from evalkit.calibration import Material, Row, usable_recordings
from evalkit.features.conditioning import usable_seconds
from evalkit.generation.clips import clips_of
from evalkit.generation.memory import release
from evalkit.models import Existing, Generator
from evalkit.objects import Objects
from evalkit.plan import Plan, make_plan, require_clips, require_files
from evalkit.prompts.audio_files import long_enough
from evalkit.prompts.references import find_references, packed_references
from evalkit.prompts.selection import sampled
from evalkit.prompts.two_folders import Files
from evalkit.protocols import seconds_compared
from evalkit.scoring.embedding import require_generated, require_references
from evalkit.scoring.packed import require_pack
from evalkit.slices import Group, groups
from evalkit.transforms import transformed
from evalkit.types import Clip, Prompt, PromptSet


@dataclass(frozen=True)
class Clips:
    """What a run measures: references, one per prompt, and the clips of each row of the table."""

    references: list[Clip]
    models: dict[str, Row]
    calibration: dict[str, Row]


def ready(config: DictConfig, given: Objects | None = None) -> tuple[Plan, PromptSet, list[Group]]:
    """Check all that can be known before the first expensive step: components, prompts, slices and files.

    Raises EvalkitError for what cannot be run.
    """
    plan = make_plan(config, given)
    prompts = plan.prompts.load(plan.cache)
    slices = groups(prompts.prompts, plan.slices)
    require_clips(plan, len(prompts), plan.metrics, "prompts")
    require_files(plan)
    require_pack(plan, prompts)
    return plan, prompts, slices


def clips_of_run(plan: Plan, prompts: PromptSet, part: bool = False) -> Clips:
    """Find the references, and find or make the clips of every model and calibration row.

    Raises EvalkitError where too few can be used, unless these prompts are only a `part` of the run's, which has no
    calibration rows.
    """
    sets = prompts.form == "sets"
    made_here = [isinstance(model, Generator) for model in plan.models.values()]
    references = reference_clips(plan, prompts, whole=not any(made_here))
    if not part:
        require_references(plan, references)
        require_clips(plan, sum(clip.ok for clip in references), plan.paired, "usable references")
    originals, references = references, in_place_of(plan, references)
    # beside a generator, whose references are no longer than its clips, those of a folder have references of their own
    both = any(made_here) and not all(made_here)
    whole = in_place_of(plan, reference_clips(plan, prompts, whole=True)) if both else None
    models = {
        name: Row(prompts.prompts, generated_clips(plan, name, prompts, part), None if made else whole, not sets, sets)
        for name, made in zip(plan.models, made_here, strict=True)
    }
    return Clips(references, models, {} if part else calibration_rows(plan, prompts, references, originals))


def _clips_of(plan: Plan, prompts: Sequence[Prompt], model: Generator | Existing, title: str) -> list[Clip]:
    clips = clips_of(model, prompts, plan.sampling, plan.cache, plan.engine, title, plan.elsewhere)
    if plan.engine.device != "cpu":
        release()  # the model's weights: what is loaded next needs the memory
    return clips


def reference_clips(plan: Plan, prompts: PromptSet, whole: bool) -> list[Clip]:
    """Find the reference recording of each prompt, or have a model render it.

    Args:
        whole: whether all counts that the caption is about, or as much as generated clips last. Clips that were
            made elsewhere may have any length, and are compared over what they and the whole references share.
    """
    if not plan.paired and not any(row.needs_references for row in plan.calibration.values()):
        return [Clip(p.id, status="missing", reason="no metric compares with references") for p in prompts.prompts]
    if isinstance(plan.references, Files):
        return [_checked(plan, clip) for clip in plan.references.find(prompts.prompts)]
    if isinstance(plan.references, Generator):
        return _clips_of(plan, prompts.prompts, plan.references, "references")
    duration = seconds_compared(plan.protocol, plan.sampling.duration, whole)
    if plan.pack is not None:
        return packed_references(prompts, plan.prompts, plan.pack, duration)
    return find_references(prompts, plan.prompts, duration)


def in_place_of(plan: Plan, references: list[Clip]) -> list[Clip]:
    """What references are compared with: what the run's transform makes of the usable ones, or the clips themselves."""
    if plan.transform is None or not any(clip.ok for clip in references):
        return references
    _, checked = plan.extractor().clips(references, {}, loudness=None, refuse_silence=True, title="references")
    title = "references, altered"
    clips = transformed(plan.transform, checked, plan.cache, plan.engine, title, plan.elsewhere)
    if plan.engine.device != "cpu":
        release()
    return clips


def generated_clips(plan: Plan, name: str, prompts: PromptSet, part: bool = False) -> list[Clip]:
    """Get the clips of one model, `samples_per_prompt` of each prompt, in the order of `prompts.sampled`.

    Raises EvalkitError if some are unusable and that was not allowed, and these are not only a `part` of the run's.
    """
    asked = sampled([prompt.given for prompt in prompts.prompts], plan.sampling.samples_per_prompt)
    checked = [_checked(plan, clip) for clip in _clips_of(plan, asked, plan.models[name], name)]
    if not part:
        require_generated(plan, name, checked)
    return checked


def _checked(plan: Plan, clip: Clip) -> Clip:
    return long_enough(clip, usable_seconds(clip, plan.protocol.sample_rate)) if clip.ok else clip


def calibration_rows(
    plan: Plan, prompts: PromptSet, references: Sequence[Clip], originals: Sequence[Clip]
) -> dict[str, Row]:
    """Make the rows of calibration, by their titles.

    Args:
        originals: the references before the run's transform.
    """
    needed = any(row.needs_references for row in plan.calibration.values())
    recordings = usable_recordings(plan.extractor(), prompts.prompts, references) if needed else []
    before = dict(zip((prompt.id for prompt in prompts.prompts), originals, strict=True))
    material = Material(
        prompts=prompts.prompts,
        recordings=recordings,
        originals=[(prompt, before[prompt.id]) for prompt, _ in recordings],
        models=plan.models,
        duration=plan.sampling.duration,
        cache=plan.cache,
        engine=plan.engine,
        elsewhere=plan.elsewhere,
    )
    return {row.title: row.make(material) for row in plan.calibration.values()}
