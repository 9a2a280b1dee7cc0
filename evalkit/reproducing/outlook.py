"""What a reproduction measures, what is missing for it, and what its verdicts can be, said before it starts."""

from __future__ import annotations

import functools
import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evalkit.assets import Asset, assets_of
from evalkit.errors import EvalkitError
from evalkit.models import Existing, Generator, Model
from evalkit.plan import Plan, make_plan, missing_files, require_clips, require_files
from evalkit.recording import checkpoint_info, given_of, rendered_by, weights_info
from evalkit.report.numbers import count, published_number
from evalkit.reproducing.composing import Reproduction
from evalkit.results.comparable import Reason, Setup, expected, own_settings
from evalkit.results.reproduced import LEAST_SEEDS, LEAST_SHARE, NO_TOLERANCE, NOBODY_CHECKS
from evalkit.scoring.embedding import require_references
from evalkit.scoring.packed import require_pack
from evalkit.scoring.rows import reference_clips
from evalkit.slices import groups
from evalkit.store.identity import identity
from evalkit.types import Clip, PromptSet

FETCH = "fetch"  # what is said of a command, which must stay whole


@dataclass(frozen=True)
class Outlook:
    """A reproduction before it runs.

    Attributes:
        plan: of the run.
        missing: files that are not on this machine, each with the option that sets its path.
        prompts: None where their file is missing.
        references: of the prompts, in their order; empty where these are not known.
    """

    reproduction: Reproduction
    plan: Plan
    missing: Sequence[tuple[Asset, str]]
    prompts: PromptSet | None
    references: Sequence[Clip]

    @property
    def _model(self) -> Model | Existing:
        (model,) = self.plan.models.values()
        return model

    def require(self) -> None:
        """Check the files that are there.

        Raises EvalkitError for what is missing, and for what else keeps the run from its first step.
        """
        if self.missing:
            how = "" if all(asset.path for asset, _ in self.missing) else ": run 'evalkit fetch' as said above"
            more = "" if self.plan.references or not self.plan.paired else ", and prompts.references is not set"
            raise EvalkitError(f"{len(self.missing)} files are missing{more}{how}")
        require_files(self.plan)
        assert self.prompts is not None, "the prompts are read where no file is missing"
        groups(self.prompts.prompts, self.plan.slices)
        require_clips(self.plan, len(self.prompts), self.plan.metrics, "prompts")
        require_pack(self.plan, self.prompts)
        require_references(self.plan, self.references)

    def lines(self) -> Iterator[tuple[str, str]]:
        """What is to be said of it: a word on what it is about, and a text."""
        first, plan = self.reproduction.source, self.plan
        yield "source", f"{first.source} ({self.reproduction.checkpoint}), protocol {plan.protocol.name}"
        yield "prompts", self._prompts()
        if self.reproduction.generated:
            sampling = ", ".join(f"{key} {value:g}" for key, value in self._sampling().items())
            yield "sampling", f"{sampling}; {plan.sampling.duration:g} s"
        yield "published", self._published()
        if self.missing:
            yield "missing", f"{len(self.missing)} files:"
            for asset, option in self.missing:
                yield "", f"{asset.name}{_size(asset)}, or set {option}"
            if not all(asset.path for asset, _ in self.missing):
                yield "get them", "once, where there is a network:"
                needed = [option for option in self.reproduction.options if not option.startswith("sampling.")]
                yield FETCH, f"evalkit fetch {' '.join(map(shlex.quote, needed))}"
        else:
            yield "weights", "all are here"
        if plan.paired:
            yield "references", self._references()
        if reasons := list(self.obstacles()):
            yield "verdict", f"NOT COMPARABLE: {'; '.join(reasons)}"
        elif self.reproduction.seeds < LEAST_SEEDS:
            yield "verdict", f"UNDECIDED at best: {LEAST_SEEDS} seeds or more are needed"
        elif not (isinstance(self._model, Generator) and self._model.checkpoint):
            yield "verdict", f"REPRODUCED is out of reach: {NOBODY_CHECKS}"

    def _prompts(self) -> str:
        first, seeds = self.reproduction.source, self.reproduction.seeds
        if self.prompts is None:
            return f"{first.dataset}, {first.subset}; {seeds} seeds"
        clips = f"{count(seeds)} seed{'' if seeds == 1 else 's'}, {count(len(self.prompts) * seeds)} clips"
        return f"{self.prompts.dataset}, {self.prompts.subset}: {count(len(self.prompts))}; {clips}"

    def _sampling(self) -> dict[str, float]:
        names = ("top_k", "top_p", "temperature", "guidance_scale", "seed")
        return {name: getattr(self.plan.sampling, name) for name in names}

    def _published(self) -> str:
        titles = {name: metric.title for name, metric in self.plan.metrics.items()}
        rows = [p for p in self.reproduction.published if p.metric in titles]
        given = [f"{titles[p.metric]} {published_number(p.value)}" for p in rows if p.value is not None]
        without = [titles[p.metric] for p in rows if p.value is None]
        said = [", ".join(given)] if given else []
        said += [f"no value for {', '.join(without)}"] if without else []
        if self.reproduction.left_out:
            said.append(f"not computed by evalkit: {', '.join(self.reproduction.left_out)}")
        return "; ".join(said)

    def _references(self) -> str:
        if not self.references:
            given = self.plan.references
            return "not looked at yet" if given else "none are given: set prompts.references=FOLDER"
        usable, n = sum(clip.ok for clip in self.references), self.reproduction.source.n
        said = f"{count(usable)} of {count(len(self.references))} can be used"
        if not usable:
            reason = next((clip.reason for clip in self.references if clip.reason), "")
            return f"{said}: {reason}" if reason else said
        others = any(reason.condition == "prompts" for found in self._reasons.values() for reason in found)
        if n is None or usable >= n or others:
            return said
        if usable < LEAST_SHARE * n:
            return f"{said}: NOT COMPARABLE with fewer than {LEAST_SHARE:.0%} of the {count(n)} published"
        return f"{said}: REPRODUCED is out of reach with {count(usable)} of {count(n)} references"

    def obstacles(self) -> Iterator[str]:
        """Why nothing that is measured can be compared, as far as that is known before it is measured."""
        if not self._reasons:
            yield "no value was published for this checkpoint and these metrics"
        said: dict[str, list[str]] = {}
        for metric, reasons in self._reasons.items():
            for reason in reasons:
                said.setdefault(reason.text, []).append(self.plan.metrics[metric].title)
        for text, titles in said.items():
            yield f"{text} ({', '.join(titles)})" if len(titles) < len(self._reasons) else text

    @functools.cached_property
    def _reasons(self) -> dict[str, list[Reason]]:
        """The same of each metric that has a published value."""
        return {
            p.metric: [
                *expected(self._setup(p.metric), p),
                *([] if p.tolerance else [Reason("tolerance", NO_TOLERANCE)]),
            ]
            for p in self.reproduction.published
            if p.value is not None and p.metric in self.plan.metrics
        }

    def _setup(self, metric: str) -> Setup:
        """How a metric's score will come about; of files that are missing only where they come from is known."""
        plan, prompts = self.plan, self.prompts
        generator = self._model if isinstance(self._model, Generator) else None
        absent = [asset for asset, _ in self.missing]
        here = None if any(asset in absent for asset in assets_of(self._model)) else generator
        return Setup(
            row=self.reproduction.name,
            claimed=self.reproduction.checkpoint,
            generated=generator is not None,
            checkpoint=checkpoint_info(generator, plan.cache) if generator else None,
            random=[*plan.random_networks(metric), *([self.reproduction.name] if self._model.random else [])],
            given=given_of(here, prompts, plan.cache) if here and prompts else {},
            own=own_settings(identity(here, plan.cache)) if here else None,
            sampling=vars(plan.sampling),
            dataset=prompts.dataset if prompts else self.reproduction.source.dataset,
            subset=prompts.subset if prompts else self.reproduction.source.subset,
            prompts=[(p.id, p.text) for p in prompts.prompts] if prompts else None,
            rendered_by=rendered_by(plan) if metric in plan.paired else "",
            protocol=plan.protocols[metric],
            weights=[weights_info(asset, plan.cache) for asset in assets_of(plan.metrics[metric])],
        )


def _size(asset: Asset) -> str:
    return "" if asset.size is None else f" ({math.ceil(asset.size / 1e6):,} MB)"


def outlook(reproduction: Reproduction) -> Outlook:
    """Look at what is there for a reproduction, without making anything. Raises EvalkitError for what cannot run."""
    plan = make_plan(reproduction.config)
    missing = missing_files(plan)
    try:
        prompts = plan.prompts.load(plan.cache)
    except EvalkitError:
        if not any(option.startswith("prompts") for _, option in missing):
            raise
        prompts = None
    known = prompts and not any(option == "prompts.references" for _, option in missing)
    references = reference_clips(plan, prompts, whole=not reproduction.generated) if prompts and known else []
    return Outlook(reproduction, plan, missing, prompts, references)
