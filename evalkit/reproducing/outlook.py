"""What a reproduction measures, what is missing for it, and what its verdicts can be, said before it starts."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evalkit.assets import Asset
from evalkit.errors import EvalkitError
from evalkit.models import Generator
from evalkit.pipeline import reference_clips
from evalkit.plan import Plan, make_plan, missing_files, require_clips, require_files
from evalkit.report.numbers import count, published_number
from evalkit.reproducing.composing import Reproduction
from evalkit.results.comparable import own_settings, prompt_digests
from evalkit.results.reproduced import LEAST_SEEDS, LEAST_SHARE, NOBODY_CHECKS
from evalkit.scoring.embedding import require_references
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
        elif not self.reproduction.generated:
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
        if n is None or usable >= n or self._other_prompts():
            return said
        if usable < LEAST_SHARE * n:
            return f"{said}: NOT COMPARABLE with fewer than {LEAST_SHARE:.0%} of the {count(n)} published"
        return f"{said}: REPRODUCED is out of reach with {count(usable)} of {count(n)} references"

    def obstacles(self) -> Iterator[str]:
        """Why nothing that is measured can be compared, as far as that is known before it is measured."""
        plan, first = self.plan, self.reproduction.source
        (model,) = plan.models.values()
        random = dict.fromkeys(one for metric in plan.metrics for one in plan.random_networks(metric))
        if names := [*random, *([self.reproduction.name] if model.random else [])]:
            yield f"random weights: {', '.join(names)}"
        if all(p.value is None for p in self.reproduction.published):
            yield "no value was published for this checkpoint"
        elif all(p.tolerance is None for p in self.reproduction.published if p.value is not None):
            yield f"no tolerance is known by which {first.source} could be judged"
        yield from self._other_protocols()
        if plan.paired and isinstance(plan.references, Generator):
            yield f"references rendered by {type(plan.references).__name__}, not recordings"
        if plan.sampling.duration != first.duration:
            yield _differs("duration", plan.sampling.duration, first.duration)
        if self.reproduction.generated and first.sampling is None:
            yield "sampling not known, as published"
        elif self.reproduction.generated:
            published, own = first.sampling or {}, {} if self.missing else own_settings(identity(model, plan.cache))
            used = {**vars(plan.sampling), **own}
            for key in [*published, *(key for key in own if key not in published)]:
                if used.get(key) != published.get(key) and (key in used or not self.missing):
                    yield _differs(key, used.get(key), published.get(key))
        if first.n is None:
            yield "number of clips not known, as published"
        yield from self._other_prompts()

    def _other_protocols(self) -> Iterator[str]:
        """The protocols that metrics with a published value follow, where they are others, with those metrics."""
        given = [p for p in self.reproduction.published if p.value is not None and p.metric in self.plan.metrics]
        others: dict[tuple[str, str], list[str]] = {}
        for p in given:
            if self.plan.protocols[p.metric] != p.protocol:
                titles = others.setdefault((self.plan.protocols[p.metric], p.protocol), [])
                titles.append(self.plan.metrics[p.metric].title)
        for (ours, theirs), titles in others.items():
            named = f" ({', '.join(titles)})" if len(titles) < len(given) else ""
            yield f"protocol {ours}, published {theirs}{named}"

    def _other_prompts(self) -> list[str]:
        """How the prompts are others than those that numbers were published for."""
        first, prompts = self.reproduction.source, self.prompts
        if prompts is None:
            return []
        if prompts.dataset != first.dataset:
            return [f"prompts of {prompts.dataset}, published {first.dataset}"]
        if first.prompts is None:
            return ["prompts not known, as published"]
        if len(prompts) != first.prompts.n:
            return [f"{count(len(prompts))} prompts, published {count(first.prompts.n)}"]
        ids, captions = prompt_digests((p.id, p.text) for p in prompts.prompts)
        same = (ids, captions) == (first.prompts.ids, first.prompts.captions)
        return [] if same else ["captions are not those that were published on"]


def _differs(name: str, ours: object, theirs: object) -> str:
    return f"{name} {_text(ours)}, published {_text(theirs)}"


def _text(value: object) -> str:
    return "not set" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


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
    references = reference_clips(plan, prompts, whole=not reproduction.generated) if prompts else []
    return Outlook(reproduction, plan, missing, prompts, references)
