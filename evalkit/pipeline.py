"""The main job: a configuration in, a Result out."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from evalkit.assets import assets_of
from evalkit.compare import compare, load_published, others
from evalkit.config import Dtype, Sampling, build, check, conf_dir
from evalkit.errors import EvalkitError
from evalkit.features import Extractor, usable_samples
from evalkit.generate import Existing, Generator, clips_of
from evalkit.metrics import Metric
from evalkit.provenance import provenance
from evalkit.references import find_references
from evalkit.report import Summary
from evalkit.result import Result, count, save
from evalkit.store import Cache, RunFolder, digest, identity
from evalkit.types import Clip, Prompt, PromptSet, Score

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """Everything a configuration names, built and checked before the first expensive step."""

    config: DictConfig
    cache: Cache
    models: dict[str, Generator | Existing]
    prompts: Any
    metrics: dict[str, Metric]
    sampling: Sampling
    device: str
    dtype: str
    protocol: str

    @property
    def references(self) -> str | Generator | None:
        references: str | Generator | None = self.prompts.references
        return references


def evaluate(config: DictConfig) -> Result:
    """Generate, embed, score and report. Raises EvalkitError for a mistake or a missing file."""
    plan = make_plan(config)
    prompts: PromptSet = plan.prompts.load(plan.cache)
    for asset in assets_of(plan.models, plan.prompts, plan.metrics):
        if not asset.random:
            asset.locate(plan.cache)
            asset.verify(plan.cache)
    folder = RunFolder(config.output_dir, config.name or "_".join(plan.models)[:60])
    resolved: Any = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    folder.text("config.yaml", OmegaConf.to_yaml(OmegaConf.create(resolved)))
    with logging_to(folder):
        references = reference_clips(plan, prompts)
        require_references(plan, references)
        generated = {name: generated_clips(plan, name, prompts) for name in plan.models}
        scores, references, generated, clips = measure(plan, prompts, references, generated)
        origin = describe(plan, prompts, references)
        return save(
            folder,
            summary=summarize(plan, prompts, scores, references, generated, origin),
            scores=scores,
            clips=clips,
            config=resolved,
            provenance=origin,
        )


def make_plan(config: DictConfig) -> Plan:
    """Build and check all components of a configuration."""
    check(config)
    allow = list(config.allow_targets)
    device = pick_device(config.engine.device)
    sampling = Sampling(**{str(k): v for k, v in config.sampling.items()})
    plan = Plan(
        config=config,
        cache=Cache(config.cache_dir),
        models={str(name): build(node, allow) for name, node in config.model.items()},
        prompts=build(config.prompts, allow),
        metrics={str(name): build(node, allow) for name, node in config.metric.items()},
        sampling=sampling,
        device=device,
        dtype=pick_dtype(config.engine.dtype, device),
        protocol=protocol_name(config.protocol),
    )
    for model in [*plan.models.values(), plan.references]:
        if isinstance(model, Generator):
            model.check(sampling)
    return plan


def pick_device(name: str) -> str:
    """Resolve "auto", and refuse a device that is not there."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise EvalkitError(f"engine.device={name}: {str(error).splitlines()[0]}: use cpu, cuda or auto") from error
    return name


def pick_dtype(dtype: Dtype, device: str) -> str:
    """Resolve "auto": float16 on CUDA, which is what audiocraft evaluates in, float32 on the CPU."""
    if dtype is Dtype.auto:
        return "float16" if device.startswith("cuda") else "float32"
    return dtype.value


def protocol_name(protocol: DictConfig) -> str:
    """The protocol's name, marked where its switches are not the ones that the name stands for."""
    path = conf_dir() / "protocol" / f"{protocol.name}.yaml"
    published = path.is_file() and OmegaConf.load(path) == protocol
    return str(protocol.name) if published else f"{protocol.name} (changed)"


def reference_clips(plan: Plan, prompts: PromptSet) -> list[Clip]:
    """Find the reference recording of each prompt, or have a model render it."""
    if isinstance(plan.references, Generator):
        return clips_of(
            plan.references,
            prompts.prompts,
            plan.sampling,
            plan.cache,
            device=plan.device,
            dtype=plan.dtype,
            batch_size=plan.config.engine.batch_size,
            title="references",
        )
    return find_references(prompts, plan.prompts, plan.sampling.duration)


def require_references(plan: Plan, references: Sequence[Clip]) -> None:
    """Raise EvalkitError if too few prompts have a usable reference for the metrics that need one."""
    needing = [name for name, metric in plan.metrics.items() if metric.reference_encoder.reads == "audio"]
    usable = sum(clip.ok for clip in references)
    if not needing:
        return
    which = f"metric {', '.join(needing)} compares with reference clips, and "
    if not usable:
        reasons = next((f" ({c.id}: {c.reason})" for c in references if c.reason), "")
        raise EvalkitError(
            f"{which}none of the {len(references)} prompts has a usable one{reasons}: "
            "set prompts.references to the folder they are in, or metric=clap_score"
        )
    if usable < plan.config.min_references * len(references):
        bad = next(c for c in references if not c.ok)
        raise EvalkitError(
            f"{which}only {usable} of {len(references)} are usable ({bad.id}: {bad.reason or bad.status}, …): "
            f"complete them, or lower min_references ({plan.config.min_references:g}) to score without them"
        )


def generated_clips(plan: Plan, name: str, prompts: PromptSet) -> list[Clip]:
    """Get the clips of one model. Raises EvalkitError if some are missing and that was not allowed."""
    clips = clips_of(
        plan.models[name],
        prompts.prompts,
        plan.sampling,
        plan.cache,
        device=plan.device,
        dtype=plan.dtype,
        batch_size=plan.config.engine.batch_size,
        title=name,
    )
    require_generated(plan, name, clips)
    return clips


def require_generated(plan: Plan, name: str, clips: Sequence[Clip]) -> None:
    """Raise EvalkitError if clips of a model are unusable and that was not allowed."""
    bad = [clip for clip in clips if not clip.ok]
    if len(bad) == len(clips) or (bad and not plan.config.engine.keep_going):
        raise EvalkitError(
            f"{name}: {len(bad)} of {len(clips)} clips are not usable ({bad[0].id}: {bad[0].reason or bad[0].status}"
            f"{', …' if len(bad) > 1 else ''}): mend them, or set engine.keep_going=true to score the others"
        )


def measure(
    plan: Plan, prompts: PromptSet, references: list[Clip], generated: dict[str, list[Clip]]
) -> tuple[list[Score], list[Clip], dict[str, list[Clip]], pd.DataFrame]:
    """Score every model with every metric.

    Returns the scores, the clips with what decoding them has shown, and the per-clip table. A
    metric sees the prompts whose generated clip is usable and, if it compares with clips, whose
    reference is: both are then cut to their common length, as audiocraft does.
    """
    protocol = plan.config.protocol
    extractor = Extractor(plan.cache, plan.device, plan.config.engine.feature_batch_size, protocol.sample_rate)
    keys = {id(e): extractor.key(e) for m in plan.metrics.values() for e in (m.encoder, m.reference_encoder)}
    own = {keys[id(m.encoder)]: m.encoder for m in plan.metrics.values()}
    others = {keys[id(m.reference_encoder)]: m.reference_encoder for m in plan.metrics.values()}
    compared = {key: encoder for key, encoder in others.items() if encoder.reads == "audio"}
    captions = {
        key: extractor.captions(prompts.prompts, encoder, key)
        for key, encoder in others.items()
        if encoder.reads == "text"
    }
    scores, frames = [], []
    for name, clips in generated.items():
        cut_clips, cut_references = common_length(clips, references, protocol.sample_rate)
        of_references, checked_references = extractor.clips(
            cut_references, compared, loudness=None, refuse_silence=True, title="references"
        )
        if compared:
            references = mark(references, checked_references)
            require_references(plan, references)
        of_clips, checked = extractor.clips(
            cut_clips, own, loudness=protocol.generated_loudness, refuse_silence=False, title=name
        )
        generated[name] = mark(clips, checked)
        require_generated(plan, name, generated[name])
        per_clip = {}
        for metric_name, metric in plan.metrics.items():
            clip_features = of_clips[keys[id(metric.encoder)]]
            key = keys[id(metric.reference_encoder)]
            reference_features = of_references[key] if key in of_references else captions[key]
            usable = set(reference_features.ids)
            ids = [i for i in clip_features.ids if i in usable]
            measured = metric(clip_features.select(ids), reference_features.select(ids))
            per_clip[metric_name] = measured.per_clip
            scores.append(Score(name, metric_name, measured.value, measured.n, plan.protocol, metric.higher_is_better))
        frames.append(clip_frame(name, prompts.prompts, generated[name], references, per_clip))
    return scores, references, generated, pd.concat(frames, ignore_index=True)


def common_length(clips: Sequence[Clip], references: Sequence[Clip], rate: int) -> tuple[list[Clip], list[Clip]]:
    """Cut each pair of usable clips to the length that both have."""

    def cut(clip: Clip, other: Clip) -> Clip:
        if not (clip.ok and other.ok) or usable_samples(clip, rate) <= usable_samples(other, rate):
            return clip
        return dataclasses.replace(clip, seconds=usable_samples(other, rate) / rate)

    pairs = list(zip(clips, references, strict=True))
    return [cut(clip, reference) for clip, reference in pairs], [cut(reference, clip) for clip, reference in pairs]


def mark(clips: Sequence[Clip], checked: Sequence[Clip]) -> list[Clip]:
    """Carry what decoding has shown over to the uncut clips."""
    return [
        dataclasses.replace(clip, status=seen.status, reason=seen.reason, note=seen.note)
        for clip, seen in zip(clips, checked, strict=True)
    ]


def clip_frame(
    model: str,
    prompts: Sequence[Prompt],
    clips: Sequence[Clip],
    references: Sequence[Clip],
    per_clip: Mapping[str, Mapping[str, float]],
) -> pd.DataFrame:
    """The per-clip table of one model."""
    rows = []
    for prompt, clip, reference in zip(prompts, clips, references, strict=True):
        rows.append(
            {
                "model": model,
                "id": prompt.id,
                "caption": prompt.text,
                "tags": list(prompt.tags),
                "status": clip.status,
                "reason": clip.reason,
                "note": clip.note,
                "path": str(clip.path) if clip.path else None,
                "sha256": clip.sha256,
                "sample_rate": clip.sample_rate,
                "channels": clip.channels,
                "seconds": clip.frames / clip.sample_rate if clip.sample_rate else None,
                "reference_status": reference.status,
                "reference_reason": reference.reason,
                "reference_note": reference.note,
                "reference_path": str(reference.path) if reference.path else None,
                "reference_sha256": reference.sha256,
                **{name: values.get(prompt.id) for name, values in per_clip.items() if values},
            }
        )
    return pd.DataFrame(rows)


def summarize(
    plan: Plan,
    prompts: PromptSet,
    scores: Sequence[Score],
    references: Sequence[Clip],
    generated: Mapping[str, Sequence[Clip]],
    origin: Mapping[str, Any],
) -> Summary:
    """Collect what the table of this run says."""
    random_models = {name for name, model in plan.models.items() if getattr(model, "random", False)}
    random_assets = {name: [a.name for a in assets_of(m) if a.random] for name, m in plan.metrics.items()}
    networks = dict.fromkeys(asset for names in random_assets.values() for asset in names)
    published = load_published(conf_dir() / "published")
    hub_ids = {name: getattr(model, "published", None) for name, model in plan.models.items()}
    comparison = compare(
        scores,
        hub_ids,
        random_models,
        prompts.dataset,
        prompts.subset,
        len(prompts) == prompts.total,
        published,
        random_metrics=[name for name, names in random_assets.items() if names],
    )
    joined = [str(hub_ids[name]) for name in comparison.loc[comparison["published"].notna(), "model"]]
    defaults = vars(Sampling())
    changed = ", ".join(
        f"{k} {v}, not {defaults[k]}" for k, v in vars(plan.sampling).items() if k != "seed" and v != defaults[k]
    )
    compared_with_clips = any(m.reference_encoder.reads == "audio" for m in plan.metrics.values())
    duration = plan.sampling.duration
    shorter = sum(clip.ok and clip.seconds is not None and clip.seconds < duration - 0.1 for clip in references)
    silent = {name: sum("digital silence" in c.note for c in clips) for name, clips in generated.items()}
    return Summary(
        comparison=comparison,
        metrics={name: (metric.title, metric.higher_is_better) for name, metric in plan.metrics.items()},
        dataset=prompts.dataset,
        subset=prompts.subset,
        selected=len(prompts),
        total=prompts.total,
        protocol=plan.protocol,
        generated={name: count(clips) for name, clips in generated.items()},
        references=count(references) if compared_with_clips else None,
        rendered_by=type(plan.references).__name__ if isinstance(plan.references, Generator) else "",
        cut=sum(clip.ok and clip.note.startswith("cut") for clip in references),
        cut_to=duration,
        weights=[*networks, *sorted(random_models)],
        remarks=[
            *(f"{name}: {n} of {len(prompts)} clips are digital silence" for name, n in silent.items() if n),
            *(
                [f"{shorter} references are shorter than {duration:g} s: clips compared with them are cut alike"]
                * bool(shorter)
            ),
            *([f"sampling differs from the model card's: {changed}"] if changed else []),
        ],
        context=others(prompts.dataset, list(plan.metrics), published, joined),
        provenance={
            "evalkit": str(origin["packages"]["evalkit"]),
            "commit": f"{origin['commit']}{', with local changes' if origin['dirty'] else ''}",
            "device": f"{origin['device']} ({origin['device_name']}), {plan.dtype}",
            "sampling": ", ".join(f"{k} {v}" for k, v in vars(plan.sampling).items()),
        },
    )


def describe(plan: Plan, prompts: PromptSet, references: Sequence[Clip]) -> dict[str, Any]:
    """Say where the result comes from, as a JSON-like value."""
    usable = sorted([clip.id, clip.sha256] for clip in references if clip.ok)
    return {
        **provenance(plan.device),
        "dtype": plan.dtype,
        "models": {
            name: identity(model, plan.cache) if isinstance(model, Generator) else repr(model)
            for name, model in plan.models.items()
        },
        "metrics": {name: identity(metric, plan.cache) for name, metric in plan.metrics.items()},
        "random_weights": sorted({a.name for a in assets_of(plan.metrics, plan.models) if a.random}),
        "prompts": {
            "dataset": prompts.dataset,
            "subset": prompts.subset,
            "sha256": prompts.sha256,
            "selected": len(prompts),
            "total": prompts.total,
            "ids": digest([p.id for p in prompts.prompts]),
        },
        "references": {"usable": len(usable), "of": len(references), "sha256": digest(usable)},
    }


@contextmanager
def logging_to(folder: RunFolder) -> Iterator[None]:
    """Write evalkit's log, and Python's warnings, to the run's folder, and evalkit's warnings to stderr."""
    file = logging.FileHandler(folder.path / "run.log", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    screen = logging.StreamHandler()
    screen.setLevel(logging.WARNING)
    own, warned = logging.getLogger("evalkit"), logging.getLogger("py.warnings")
    before = own.level, own.propagate
    own.setLevel(logging.INFO)
    own.propagate = False  # packages that evalkit imports put a handler of their own on the root
    own.handlers += [file, screen]
    warned.handlers += [file]
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
        file.close()
