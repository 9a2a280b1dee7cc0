"""A plan and what was measured, as the record that everything else reads."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

import pandas as pd

from evalkit.assets import Asset, assets_of
from evalkit.features.conditioning import usable_seconds
from evalkit.models import Generator, Model
from evalkit.packs.pack import Pack
from evalkit.plan import Plan
from evalkit.prompts.selection import GIVEN
from evalkit.results.beside import compared
from evalkit.results.frames import PROMPTS, SCORES, SOMETIMES, typed
from evalkit.results.published import others
from evalkit.results.record import (
    MetricInfo,
    PromptsInfo,
    ProtocolInfo,
    ReferencesInfo,
    RowInfo,
    WeightsInfo,
    count,
)
from evalkit.results.result import Result
from evalkit.results.ways import ways
from evalkit.scoring.scores import Measurement, score_row
from evalkit.settings import Sampling
from evalkit.store.cache import Cache
from evalkit.store.digests import digest, sha256_file
from evalkit.store.identity import identity
from evalkit.store.provenance import provenance
from evalkit.store.runs import RunFolder
from evalkit.types import Clip, PromptSet

UNLIKE = 2.0  # as many times as long one side is in the median, where both count whole, before it is said


def recorded(folder: RunFolder, plan: Plan, prompts: PromptSet, measured: Measurement) -> Result:
    """Make the record of a run, and write it into the run's folder."""
    metrics, rows = measured.metrics, row_infos(plan, prompts, measured)
    result = Result(
        prompts_info=PromptsInfo(
            dataset=prompts.dataset,
            subset=prompts.subset,
            selected=len(prompts),
            total=prompts.total,
            sha256=prompts.sha256,
            ids=digest([p.id for p in prompts.prompts]),
            form=prompts.form,
        ),
        references_info=references_info(plan, measured.references),
        protocol=ProtocolInfo(
            name=plan.protocol.name + (" (changed)" if plan.changes else ""),
            changes=list(plan.changes),
            switches=plan.config["protocol"],
        ),
        metrics=metrics,
        rows=rows,
        sampling=dict(vars(plan.sampling)),
        uncertainty=dict(vars(plan.uncertainty)),
        small_slice=plan.small_slice,
        remarks=list(remarks(plan, prompts, measured)),
        config=plan.config,
        provenance={**provenance(plan.engine.device), "dtype": plan.engine.dtype.value},
        prompts=prompts_frame(prompts),
        scores=pd.DataFrame(
            [
                {
                    **score_row(plan, row, metric, one),
                    "random_weights": rows[row].random or bool(metrics[metric].random),
                }
                for (row, metric), one in measured.scores.items()
            ]
        ),
        slices=measured.slices,
        context=pd.DataFrame(),
        clips=measured.clips,
        values=measured.values,
        evidence=measured.evidence,
        path=folder.path,
    )
    scores = typed(compared(result, plan.published), SCORES)
    shown = [str(rows[name].published) for name in scores.loc[scores["published"].notna(), "model"]]
    known = plan.published if prompts.form == "prompts" else []
    context = others(prompts.dataset, list(metrics), known, shown)
    return dataclasses.replace(result, scores=scores, context=context).save(folder.path)


def prompts_frame(prompts: PromptSet) -> pd.DataFrame:
    """The prompts of a record, with what else some of them have, such as melodies that they give to models."""
    rows = [(p.id, p.text, list(p.tags), list(p.labels)) for p in prompts.prompts]
    frame = pd.DataFrame(rows, columns=list(PROMPTS))
    for name in SOMETIMES:
        if any(values := [getattr(p, name) for p in prompts.prompts]):
            frame[name] = values
    if any(p.melody for p in prompts.prompts):
        frame["melody"] = [str(p.melody.absolute()) if p.melody else "" for p in prompts.prompts]
        frame["melody_sha256"] = [sha256_file(p.melody) if p.melody else "" for p in prompts.prompts]
    return typed(frame, PROMPTS)


def metric_infos(plan: Plan) -> dict[str, MetricInfo]:
    """Describe the metrics of a run, so that their values can be computed again without it."""
    extractor = plan.extractor()

    def info(name: str) -> MetricInfo:
        metric = plan.metrics[name]
        other = metric.reference_encoder
        compares_with = "" if other is None else "references" if name in plan.paired else "captions"
        return MetricInfo(
            title=metric.title,
            higher_is_better=metric.higher_is_better,
            protocol=plan.protocols[name],
            compares_with=compares_with,
            clip_by_clip=metric.clip_by_clip,
            additive=metric.additive,
            bounds=[None if abs(bound) == float("inf") else bound for bound in metric.bounds],
            definition=plan.definition(name),
            target=f"{type(metric).__module__}.{type(metric).__qualname__}",
            encoder=extractor.key(metric.encoder),
            reference_encoder="" if other is None else extractor.key(other),
            random=plan.random_networks(name),
            weights=[weights_info(asset, plan.cache) for asset in assets_of(metric)],
        )

    return {name: info(name) for name in plan.metrics}


def weights_info(asset: Asset, cache: Cache) -> WeightsInfo:
    """Describe a file that weights were read from, with whether it is the published one, as far as that is known.

    Of one that is not on this machine nothing is known but where it would come from.
    """
    if asset.random:
        return WeightsInfo(asset.name, asset.source, None, "", "", False)
    repo = None if asset.path or asset.url else asset.repo
    if asset.find(cache) is None:
        return WeightsInfo(asset.name, asset.source, repo, "", "", None)
    found = asset.identity(cache)
    revision = asset.revision if repo and re.fullmatch(r"[0-9a-f]{40}", asset.revision or "") else None
    expected = asset.sha256 or revision or ""
    published = False if not asset.published(cache) else True if expected else None
    return WeightsInfo(asset.name, asset.source, repo, found.get("sha256") or found["commit"], expected, published)


def row_infos(plan: Plan, prompts: PromptSet, measured: Measurement) -> dict[str, RowInfo]:
    """Describe the rows of the table: the models, then the calibration rows."""
    paired = measured.paired
    models = {
        name: RowInfo(
            calibration=False,
            about="",
            published=model.published,
            generated=isinstance(model, Generator),
            random=model.random,
            paired=paired[name],
            definition=identity(model, plan.cache) if isinstance(model, Generator) else repr(model),
            checkpoint=checkpoint_info(model, plan.cache) if isinstance(model, Generator) else None,
            given=given_of(model, prompts, plan.cache) if isinstance(model, Generator) else {},
            sets=prompts.form == "sets",
            made=ways(clip.made for clip in measured.generated[name] if clip.sha256)
            if isinstance(model, Generator)
            else [],
        )
        for name, model in plan.models.items()
    }
    others = {
        row.title: RowInfo(
            calibration=True,
            about=row.remark(plan.models),
            published=None,
            generated=False,
            random=row.random(plan.models),
            paired=paired[row.title],
            definition=identity(row, plan.cache),
        )
        for row in plan.calibration.values()
    }
    return {**models, **others}


def checkpoint_info(model: Model, cache: Cache) -> WeightsInfo | None:
    """Describe what a model's weights were read from; a commit that the user pinned is not known to be published."""
    if model.checkpoint is None:
        return None
    info = weights_info(model.checkpoint, cache)
    return (
        info
        if model.checkpoint.sha256 or not info.published
        else dataclasses.replace(info, expected="", published=None)
    )


def given_of(model: Model, prompts: PromptSet, cache: Cache) -> dict[str, int]:
    """How many prompts have what a model is given beside, or in place of, the caption, by what that is."""
    conditions = model.conditions(cache)
    kinds = [*(kind for kind in GIVEN if kind in conditions), "translation"]
    counts = {kind: sum(bool(getattr(p, kind)) for p in prompts.prompts) for kind in kinds}
    return {kind: n for kind, n in counts.items() if n}


def references_info(plan: Plan, references: Sequence[Clip]) -> ReferencesInfo | None:
    """Describe the references; None where no metric compares with any."""
    if not plan.paired:
        return None
    cut = [clip for clip in references if clip.ok and clip.note.startswith("cut")]
    pack = plan.pack
    return ReferencesInfo(
        usable=count([clip.status for clip in references]),
        sha256=digest(sorted([clip.id, clip.sha256] for clip in references if clip.ok)),
        rendered_by=rendered_by(plan),
        cut=len(cut),
        cut_to=max((clip.seconds or 0.0 for clip in cut), default=0.0),
        **({} if pack is None else facts_of(pack)),
        altered=plan.transform.about(plan.cache) if plan.transform else "",
        originals=digest(sorted([clip.id, clip.origin] for clip in references if clip.ok)) if plan.transform else "",
    )


def facts_of(pack: Pack) -> dict[str, str]:
    """What a record says of a reference pack."""
    about = pack.about
    return {
        "pack": pack.name,
        "pack_sha256": pack.sha256,
        "pack_device": about.device,
        "pack_commit": about.commit,
    }


def rendered_by(plan: Plan) -> str:
    """Name the model that renders the references; empty where they are recordings."""
    if isinstance(plan.references, Generator):
        return type(plan.references).__name__
    pack = plan.pack
    return pack.about.rendered.by if pack and pack.about.rendered else ""


def remarks(plan: Plan, prompts: PromptSet, measured: Measurement) -> Iterator[str]:
    """What else a reader of the table must know, one sentence each."""
    duration, rate = plan.sampling.duration, plan.protocol.sample_rate
    common = plan.protocol.pair_length == "common"

    def short(clips: Sequence[Clip]) -> int:
        return sum(clip.ok and usable_seconds(clip, rate) < duration - 0.1 for clip in clips)

    device = plan.engine.device.split(":")[0]
    if plan.paired and (pack := plan.pack) and pack.about.device != device:
        yield f"the references' features were computed on {pack.about.device}, those of clips on {device}"
    if plan.changes:
        yield f"changed in the protocol {plan.protocol.name}: {'; '.join(plan.changes)}"
    yield from plan.protocol_remarks
    for mark, said in (
        ("(changed)", "computed otherwise than the protocol says"),
        ("(extended)", "not part of the protocol, computed from what it makes of the clips"),
    ):
        if titles := [plan.metrics[name].title for name, label in plan.protocols.items() if label.endswith(mark)]:
            yield f"{said}: {', '.join(titles)}"
    generates = any(isinstance(model, Generator) for model in plan.models.values())
    if generates and (shorter := short(measured.references)):
        alike = "; the clips compared with them are cut alike" if common else ""
        yield f"references shorter than {duration:g} s: {shorter}{alike}"
    for row in plan.calibration.values():
        yield f"{row.title}: {row.remark(plan.models)}"
    if (samples := plan.sampling.samples_per_prompt) > 1:
        yield (
            f"{samples} clips of each prompt: values are means over {samples} sets of one clip per prompt, "
            "and n counts the prompts of which every clip is usable"
        )
    yield from _remarks_on_clusters(plan, prompts, measured.references)
    for name in plan.models:
        clips = measured.generated[name]
        if isinstance(plan.models[name], Generator):
            yield from _remarks_on_lengths(plan, name, clips, short(clips))
        else:
            yield from _remarks_on_cuts(plan, name, clips, measured.clips, prompts.form == "sets")
        if prompts.form == "prompts" and plan.paired and not common:
            yield from _remarks_on_wholes(name, measured.clips)
        if prompts.form != "prompts" and plan.paired:
            yield from _remarks_on_same_files(measured.clips)
        if silent := sum("digital silence" in clip.note for clip in clips):
            yield f"{name}: {silent} of {len(clips)} clips are digital silence"
    for name, model in plan.models.items():
        checkpoint, hub_id = model.checkpoint if isinstance(model, Generator) else None, model.published
        if hub_id and checkpoint and (checkpoint.path or checkpoint.repo != hub_id):
            yield f"{name} was measured on '{checkpoint.source}', which is not known to be {hub_id}"
    yield from _remarks_on_conditions(plan, prompts)
    if given := [prompt.language for prompt in prompts.prompts if prompt.translation]:
        languages = f" ({', '.join(sorted(set(given)))})" if all(given) else ""
        everyone = f"{len(given):,} of {len(prompts):,} prompts"
        yield f"{everyone} are given in translation{languages}, and scored against their captions"
    standard = vars(Sampling())
    changed = [
        f"{k} {v}, not {standard[k]}"
        for k, v in vars(plan.sampling).items()
        if k not in ("seed", "samples_per_prompt") and v != standard[k]
    ]
    if changed and generates:
        yield f"sampling differs from the model card's: {', '.join(changed)}"


def _remarks_on_clusters(plan: Plan, prompts: PromptSet, references: Sequence[Clip]) -> Iterator[str]:
    """Which prompts belong together, and how often a reference counts that several of them share."""
    units = {prompt.id: prompt.unit for prompt in prompts.prompts}
    if (number := len(set(units.values()))) < len(units):
        yield (
            f"n counts prompts, intervals draw clusters: the {len(units):,} prompts belong to {number:,} of them, "
            "such as captions of one recording"
        )
    of_sets = [metric.title for metric in plan.paired.values() if not metric.clip_by_clip]
    if not plan.protocol.distinct_references or not of_sets:
        return
    usable = [(units[clip.id], (clip.sha256, clip.start, clip.seconds)) for clip in references if clip.ok]
    if (distinct := len(set(usable))) < len(usable):
        yield (
            f"{', '.join(of_sets)}: against {distinct:,} references, those of {len(usable):,} prompts: one that "
            "prompts of a cluster share counts once"
        )
    if (again := distinct - len({content for _, content in usable})) > 0:
        yield (
            f"{', '.join(of_sets)}: {again:,} references count again, because prompts of different clusters share "
            "them: name their cluster in the prompt set"
        )


def _remarks_on_cuts(plan: Plan, name: str, clips: Sequence[Clip], table: pd.DataFrame, sets: bool) -> Iterator[str]:
    """How long the clips are that were made elsewhere, where they are compared with references."""
    if cut := [clip for clip in clips if clip.ok and clip.note.startswith("cut")]:
        yield f"{name}: {len(cut)} of {len(clips)} clips are cut to their first {cut[0].seconds:g} s"
    compared = table[(table.model == name) & (table.status == "ok") & (table.reference_status == "ok")].compared_length
    low, high = f"{compared.min():.1f}", f"{compared.max():.1f}"
    span = f"over their common length, {low} s" if low == high else f"over their common length, {low} to {high} s"
    common = plan.protocol.pair_length == "common"
    if sets:
        if pairs := [metric.title for metric in plan.paired.values() if metric.clip_by_clip]:
            what = "the pair" if len(compared) == 1 else f"the {len(compared):,} pairs"
            yield f"{', '.join(pairs)}: {what} of the same name, {span if common else 'each file whole'}"
    elif plan.paired and common and len(compared):
        yield f"{name}: clips and references are compared {span}"


def _remarks_on_wholes(name: str, table: pd.DataFrame) -> Iterator[str]:
    """How long clips and references are, where each counts whole and one side is much longer than the other."""
    compared = table[(table.model == name) & (table.status == "ok") & (table.reference_status == "ok")]
    medians = sorted([compared.length.median(), compared.reference_length.median()])
    if medians[1] >= UNLIKE * medians[0]:
        ours, theirs = _span(compared.length), _span(compared.reference_length)
        yield f"{name}: clips of {ours} are compared with references of {theirs}, each whole"


def _span(seconds: pd.Series[float]) -> str:
    low, high = f"{seconds.min():.3g}", f"{seconds.max():.3g}"
    return f"{low} s" if low == high else f"{low} to {high} s"


def _remarks_on_same_files(table: pd.DataFrame) -> Iterator[str]:
    """How many files two folders share: it is easily a mistake, and makes distances small."""
    ours, theirs = (table[table[f"{side}status"] == "ok"][f"{side}sha256"] for side in ("", "reference_"))
    same = int(ours.isin(theirs).sum())
    if same == len(ours) and theirs.isin(ours).all():
        yield "both folders hold the same files, byte for byte"
    elif same:
        yield f"clips that are among the references, byte for byte: {same:,} of {len(ours):,}"


def _remarks_on_lengths(plan: Plan, name: str, clips: Sequence[Clip], shorter: int) -> Iterator[str]:
    """How many clips of a model are not as long as was asked for."""
    duration, rate = plan.sampling.duration, plan.protocol.sample_rate
    common = plan.protocol.pair_length == "common"
    if shorter:
        alike = "; their references are cut alike" if common and plan.paired else ""
        yield f"{name}: clips shorter than {duration:g} s: {shorter}{alike}"
    longer = sum(clip.ok and usable_seconds(clip, rate) > duration + 0.1 for clip in clips)
    if longer and plan.paired and common:
        yield f"{name}: clips longer than {duration:g} s: {longer}; references are compared with their beginning"


def _remarks_on_conditions(plan: Plan, prompts: PromptSet) -> Iterator[str]:
    """Which models used the melodies and beginnings that prompts have beside their captions."""
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
