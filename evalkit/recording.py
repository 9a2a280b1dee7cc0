"""The result of a run: what it measured, what it was made from, and its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf
from rich.console import Console

from evalkit.assets import assets_of
from evalkit.calibration import rows as calibration
from evalkit.features.conditioning import usable_seconds
from evalkit.models import Generator
from evalkit.plan import Plan
from evalkit.prompts.selection import GIVEN
from evalkit.report import markdown, terminal
from evalkit.report import wording as report
from evalkit.report.wording import Count, Summary
from evalkit.results.published import compare, others
from evalkit.scoring.scores import Measurement
from evalkit.settings import Sampling
from evalkit.store.digests import digest
from evalkit.store.identity import identity
from evalkit.store.provenance import provenance
from evalkit.store.runs import RunFolder
from evalkit.types import Clip, PromptSet


@dataclass(frozen=True)
class Result:
    """What a run gives.

    Attributes:
        table: one row per model; for each metric measured, n, published and difference.
        scores: one row per model and metric.
        slices: one row per group of prompts, model and metric, where slices were asked for.
        clips: one row per clip of each model, with status, reason and per-clip values; the column
            `sample` numbers the clips of one prompt where there are several.
        summary: everything the printed table says.
        config, provenance: what was asked for, resolved, and what it was made with.
        path: the run's folder.
    """

    table: pd.DataFrame
    scores: pd.DataFrame
    slices: pd.DataFrame
    clips: pd.DataFrame
    summary: Summary
    config: dict[str, Any]
    provenance: dict[str, Any]
    path: Path

    def print(self) -> None:
        """Print the table, and where the result lies, on the terminal."""
        console = Console()
        terminal.to_rich(self.summary, console)
        console.print(f"result: {self.path}", markup=False, highlight=False, soft_wrap=True)


def save(folder: RunFolder, plan: Plan, prompts: PromptSet, measurement: Measurement) -> Result:
    """Write all files of a result, `result.json` last, and return it."""
    config: Any = OmegaConf.to_container(plan.config, resolve=True, enum_to_str=True)
    origin = describe(plan, prompts, measurement)
    summary = summarize(plan, prompts, measurement, origin)
    models = random_models(plan) + calibration.random_rows(plan.config.calibration, plan.models)
    metrics = random_networks(plan)
    rows = [{**s.row(), "random_weights": s.model in models or s.metric in metrics} for s in measurement.scores]
    folder.text("config.yaml", OmegaConf.to_yaml(OmegaConf.create(config)))
    folder.parquet("clips.parquet", measurement.clips)
    folder.json("scores.json", report.plain(rows))
    folder.json("provenance.json", origin)
    if len(measurement.slices):
        folder.parquet("slices.parquet", measurement.slices)
    folder.text("table.md", markdown.to_markdown(summary))
    folder.text("table.csv", report.to_csv(summary))
    folder.json("table.json", report.to_json(summary))
    files = sorted(p.name for p in folder.path.iterdir())
    folder.json("result.json", {"status": "finished", "files": files})
    return Result(
        table=report.table(summary),
        scores=pd.DataFrame(rows),
        slices=measurement.slices,
        clips=measurement.clips,
        summary=summary,
        config=config,
        provenance=origin,
        path=folder.path,
    )


def random_models(plan: Plan) -> list[str]:
    """The models whose weights are random."""
    return [name for name, model in plan.models.items() if model.random]


def random_networks(plan: Plan) -> dict[str, list[str]]:
    """The metrics whose networks, or whose rendered references, come from random weights, with the names of these."""
    named = {}
    for name, metric in plan.metrics.items():
        networks = [asset.name for asset in assets_of(metric) if asset.random]
        for encoder in (metric.encoder, metric.reference_encoder):
            # one whose weights are no assets has but its own name
            if encoder is not None and encoder.random and not any(a.random for a in assets_of(encoder)):
                networks.append(encoder.kind)
        if name in plan.paired and isinstance(plan.references, Generator) and plan.references.random:
            networks.append(plan.references.kind)
        if networks:
            named[name] = list(dict.fromkeys(networks))
    return named


def describe(plan: Plan, prompts: PromptSet, measurement: Measurement) -> dict[str, Any]:
    """Say where the result comes from, as a JSON-like value."""
    usable = sorted([clip.id, clip.sha256] for clip in measurement.references if clip.ok)
    networks = dict.fromkeys(network for names in random_networks(plan).values() for network in names)
    return {
        **provenance(plan.engine.device),
        "dtype": plan.engine.dtype.value,
        "models": {
            name: identity(model, plan.cache) if isinstance(model, Generator) else repr(model)
            for name, model in plan.models.items()
        },
        "metrics": {name: identity(metric, plan.cache) for name, metric in plan.metrics.items()},
        "protocols": plan.protocols,
        "protocol": asdict(plan.protocol),
        "random_weights": [*networks, *random_models(plan)],
        "prompts": {
            "dataset": prompts.dataset,
            "subset": prompts.subset,
            "sha256": prompts.sha256,
            "selected": len(prompts),
            "total": prompts.total,
            "ids": digest([p.id for p in prompts.prompts]),
        },
        "references": {"usable": len(usable), "of": len(measurement.references), "sha256": digest(usable)},
    }


def summarize(plan: Plan, prompts: PromptSet, measurement: Measurement, origin: Mapping[str, Any]) -> Summary:
    """Collect what the table of this run says."""
    references, generated = measurement.references, measurement.generated
    hub_ids = {name: model.published for name, model in plan.models.items()}
    comparison = compare(
        measurement.scores,
        hub_ids,
        random_models(plan),
        prompts.dataset,
        prompts.subset,
        len(prompts) == prompts.total,
        plan.published,
        random_metrics=list(random_networks(plan)),
        total=prompts.total,
    )
    joined = [str(hub_ids[name]) for name in comparison.loc[comparison["published"].notna(), "model"]]
    cut = [clip for clip in references if clip.ok and clip.note.startswith("cut")]
    facts = {
        "evalkit": str(origin["packages"]["evalkit"]),
        "commit": f"{origin['commit']}{', with local changes' if origin['dirty'] else ''}",
        "device": f"{origin['device']} ({origin['device_name']}), {plan.engine.dtype.value}",
    }
    if any(isinstance(model, Generator) for model in plan.models.values()):
        facts["sampling"] = ", ".join(f"{k} {v}" for k, v in vars(plan.sampling).items() if k != "samples_per_prompt")
    return Summary(
        comparison=comparison,
        metrics={name: (metric.title, metric.higher_is_better) for name, metric in plan.metrics.items()},
        dataset=prompts.dataset,
        subset=prompts.subset,
        selected=len(prompts),
        total=prompts.total,
        protocol=plan.protocol.name + (" (changed)" if plan.changes else ""),
        generated={name: count(clips) for name, clips in generated.items()},
        samples=plan.sampling.samples_per_prompt,
        references=count(references) if plan.paired else None,
        rendered_by=type(plan.references).__name__ if isinstance(plan.references, Generator) else "",
        cut=len(cut),
        cut_to=max((clip.seconds or 0.0 for clip in cut), default=0.0),
        weights=origin["random_weights"],
        level=plan.config.uncertainty.level,
        calibration=[name for name in generated if name not in plan.models],
        slices=measurement.slices,
        small_slice=plan.config.small_slice,
        remarks=list(remarks(plan, prompts, references, generated)),
        context=others(prompts.dataset, list(plan.metrics), plan.published, joined),
        provenance=facts,
    )


def remarks(
    plan: Plan, prompts: PromptSet, references: Sequence[Clip], generated: Mapping[str, Sequence[Clip]]
) -> Iterator[str]:
    """What else a reader of the table must know, one sentence each."""
    duration, rate = plan.sampling.duration, plan.protocol.sample_rate
    common = plan.protocol.pair_length == "common"

    def short(clips: Sequence[Clip]) -> int:
        return sum(clip.ok and usable_seconds(clip, rate) < duration - 0.1 for clip in clips)

    if plan.changes:
        yield f"changed in the protocol {plan.protocol.name}: {'; '.join(plan.changes)}"
    yield from plan.protocol_remarks
    for mark, said in (
        ("(changed)", "computed otherwise than the protocol says"),
        ("(extended)", "not part of the protocol, computed from what it makes of the clips"),
    ):
        if titles := [plan.metrics[name].title for name, label in plan.protocols.items() if label.endswith(mark)]:
            yield f"{said}: {', '.join(titles)}"
    if shorter := short(references):
        alike = "; the clips compared with them are cut alike" if common else ""
        yield f"references shorter than {duration:g} s: {shorter}{alike}"
    yield from calibration.remarks(plan.config.calibration, plan.models)
    if (samples := plan.sampling.samples_per_prompt) > 1:
        yield (
            f"{samples} clips of each prompt: values are means over {samples} sets of one clip per prompt, "
            "and n counts the prompts of which every clip is usable"
        )
    for name, clips in generated.items():
        if name not in plan.models:
            continue
        if shorter := short(clips):
            alike = "; their references are cut alike" if common and plan.paired else ""
            yield f"{name}: clips shorter than {duration:g} s: {shorter}{alike}"
        longer = sum(clip.ok and usable_seconds(clip, rate) > duration + 0.1 for clip in clips)
        if longer and plan.paired and common:
            yield f"{name}: clips longer than {duration:g} s: {longer}; references are compared with their beginning"
        if silent := sum("digital silence" in clip.note for clip in clips):
            yield f"{name}: {silent} of {len(clips)} clips are digital silence"
    for name, model in plan.models.items():
        checkpoint, hub_id = model.checkpoint if isinstance(model, Generator) else None, model.published
        if hub_id and checkpoint and (checkpoint.path or checkpoint.repo != hub_id):
            yield f"{name} was measured on '{checkpoint.source}', and is taken for {hub_id}"
    generators = {name: model for name, model in plan.models.items() if isinstance(model, Generator)}
    for kind in GIVEN:
        given = sum(getattr(prompt, kind) is not None for prompt in prompts.prompts)
        using = [name for name, model in generators.items() if kind in model.conditions(plan.cache)]
        without = [name for name in generators if name not in using]
        if given and using:
            beside = f"{given} of {len(prompts)} prompts have a {kind} beside the caption"
            yield f"{', '.join(using)}: {beside}, which published numbers need not have"
        if given and without:
            yield f"the {kind} of {given} of {len(prompts)} prompts is not used: {', '.join(without)} did without"
    standard = vars(Sampling())
    changed = [
        f"{k} {v}, not {standard[k]}"
        for k, v in vars(plan.sampling).items()
        if k not in ("seed", "samples_per_prompt") and v != standard[k]
    ]
    if generators and changed:
        yield f"sampling differs from the model card's: {', '.join(changed)}"


def count(clips: Sequence[Clip]) -> Count:
    """Count usable clips, and the others by what is wrong with them."""
    return Count(sum(c.ok for c in clips), len(clips), dict(Counter(c.status for c in clips if not c.ok)))
