"""The main job: a configuration in, a Result out."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from omegaconf import DictConfig

from evalkit.calibration import rows as calibration
from evalkit.errors import EvalkitError
from evalkit.features.conditioning import usable_seconds
from evalkit.generation.clips import clips_of
from evalkit.models import Existing, Generator
from evalkit.plan import Plan, make_plan, require_files
from evalkit.prompts.references import find_references
from evalkit.prompts.selection import sampled
from evalkit.prompts.slices import groups
from evalkit.recording import Result, save
from evalkit.scoring.scores import measure, require_generated, require_references
from evalkit.settings import MIN_SECONDS
from evalkit.store.cache import Cache
from evalkit.store.digests import known_digests
from evalkit.store.runs import RunFolder
from evalkit.types import Clip, Prompt, PromptSet

log = logging.getLogger(__name__)


def evaluate(config: DictConfig) -> Result:
    """Generate, embed, score and report. Raises EvalkitError for a mistake or a missing file."""
    with known_digests(Cache(config.cache_dir).root):
        plan = make_plan(config)
        prompts: PromptSet = plan.prompts.load(plan.cache)
        slices = groups(prompts.prompts, plan.slices)
        require_files(plan)
        folder = RunFolder(config.output_dir, config.name or "_".join(plan.models)[:60])
        with logging_to(folder):
            references = reference_clips(plan, prompts)
            require_references(plan, references)
            generated = {name: generated_clips(plan, name, prompts) for name in plan.models}
            rows = calibration.rows(plan, prompts, references)
            return save(folder, plan, prompts, measure(plan, prompts, references, generated, slices, rows))


def clips(plan: Plan, prompts: Sequence[Prompt], model: Generator | Existing, title: str) -> list[Clip]:
    """Get one clip of a model per prompt."""
    return clips_of(
        model,
        prompts,
        plan.sampling,
        plan.cache,
        plan.engine,
        title,
    )


def reference_clips(plan: Plan, prompts: PromptSet) -> list[Clip]:
    """Find the reference recording of each prompt, or have a model render it."""
    if not plan.paired and not calibration.needs_references(plan.config.calibration):
        return [Clip(p.id, status="missing", reason="no metric compares with references") for p in prompts.prompts]
    if isinstance(plan.references, Generator):
        return clips(plan, prompts.prompts, plan.references, "references")
    whole = plan.protocol.pair_length == "own"
    return find_references(prompts, plan.prompts, math.inf if whole else plan.sampling.duration)


def generated_clips(plan: Plan, name: str, prompts: PromptSet) -> list[Clip]:
    """Get the clips of one model, `samples_per_prompt` of each prompt, in the order of `prompts.sampled`.

    Raises EvalkitError if some are unusable and that was not allowed.
    """

    def check(clip: Clip) -> Clip:
        rate = plan.protocol.sample_rate
        seconds = usable_seconds(clip, rate)
        if not clip.ok or seconds >= MIN_SECONDS:
            return clip
        reason = f"{seconds:.2f} s: at least {MIN_SECONDS:g} s are needed"
        return dataclasses.replace(clip, status="too short", reason=reason)

    asked = sampled(prompts.prompts, plan.sampling.samples_per_prompt)
    checked = [check(clip) for clip in clips(plan, asked, plan.models[name], name)]
    require_generated(plan, name, checked)
    return checked


@contextmanager
def logging_to(folder: RunFolder) -> Iterator[None]:
    """Write evalkit's log, and Python's warnings, to the run's folder, and evalkit's warnings to stderr."""
    file = logging.FileHandler(folder.path / "run.log", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    file.handleError = lambda record: None  # type: ignore[method-assign]  # a full disk is reported by what writes results
    screen = logging.StreamHandler()
    screen.setLevel(logging.WARNING)
    own, warned = logging.getLogger("evalkit"), logging.getLogger("py.warnings")
    before = own.level, own.propagate
    own.setLevel(logging.INFO)
    own.propagate = False  # packages that evalkit imports put a handler of their own on the root
    own.handlers += [file, screen]
    warned.handlers += [file]
    warned.propagate = False
    logging.captureWarnings(True)
    try:
        yield
    except EvalkitError as error:
        log.info("the run did not finish: %s", error)
        raise
    except BaseException:
        log.info("the run did not finish", exc_info=True)
        raise
    finally:
        logging.captureWarnings(False)
        own.level, own.propagate = before
        for logger in (own, warned):
            logger.handlers = [h for h in logger.handlers if h not in (file, screen)]
        with suppress(OSError):
            file.close()
