"""Everything a configuration names, built and checked before the first expensive step."""

from __future__ import annotations

import os
import re
import sys
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from evalkit.assets import Asset, assets_of, options_of
from evalkit.calibration import Calibration
from evalkit.config import build, build_from, check, conf_dirs, yamls
from evalkit.contracts import require
from evalkit.declared import check_metric, components_of, require_kinds, require_random, require_version
from evalkit.errors import EvalkitError, unknown
from evalkit.features.extractor import Elsewhere as Encodes
from evalkit.features.extractor import Extractor
from evalkit.generation.clips import Elsewhere as MakesClips
from evalkit.metrics import Metric
from evalkit.models import Existing, Generator, Model
from evalkit.objects import Objects
from evalkit.packs.pack import Pack
from evalkit.packs.packed import Packed
from evalkit.prompts import Prompts
from evalkit.prompts.two_folders import Files, TwoFolders
from evalkit.protocols import followed, protocol_of, remarks
from evalkit.results.evidence import Evidence
from evalkit.results.frames import TAKEN
from evalkit.results.published import Published, load_published, require_known
from evalkit.settings import Attention, Dtype, Engine, Protocol, Sampling, Uncertainty
from evalkit.slices import Grouping, Slice
from evalkit.store.cache import Cache
from evalkit.store.identity import identity
from evalkit.trackers import Tracker
from evalkit.transforms import Transform


class Elsewhere(MakesClips, Encodes, typing.Protocol):
    """What makes clips, features and resamples in other processes."""

    def resamples(self, row: str, evidence: Evidence, asked: Sequence[Any]) -> Mapping[int, str]:
        """Have resamples of a row's scores made, and say by their places why those that were not could not be.

        Args:
            evidence: the features of the row.
            asked: what to make, as `evalkit.scoring.resampling.Asked` says it.
        """


@dataclass(frozen=True)
class Plan:
    """The components of one run.

    Attributes:
        config: what was asked for, resolved; it is recorded, and nothing else reads it.
        uncertainty: how intervals are made.
        protocols: for each metric the name of the protocol that it really follows.
        changes: switches of the protocol that are not as its YAML has them, such as "vggish.hop 0.96, not 0.5".
        protocol_remarks: what a reader of scores must know about their protocol, one sentence each.
        published: numbers to compare with, evalkit's and the user's.
        small_slice: number of prompts below which a slice's scores are marked.
        min_references: share of the prompts whose reference must be usable.
        output_dir, name: where the run's folder is made, and what its name ends with.
        trackers: what the record is sent to, by name; no part of `config`, because nothing that is measured depends on
            them, and an address may hold a password.
        elsewhere: the other processes that make clips and features; None where this one makes them.
        transform: what references become before anything is compared with them; None for references as they are.
    """

    config: dict[str, Any]
    cache: Cache
    models: dict[str, Model | Existing]
    prompts: Prompts
    metrics: dict[str, Metric]
    slices: list[Slice]
    calibration: dict[str, Calibration]
    sampling: Sampling
    engine: Engine
    uncertainty: Uncertainty
    protocol: Protocol
    protocols: dict[str, str]
    changes: list[str]
    protocol_remarks: list[str]
    published: list[Published]
    small_slice: int
    min_references: float
    output_dir: str
    name: str
    trackers: dict[str, Tracker]
    elsewhere: Elsewhere | None = None
    transform: Transform | None = None

    @property
    def references(self) -> str | Files | Model | Packed | None:
        """Where the references are, or the model that renders them; None where there are none."""
        references: str | Files | Model | Packed | None = self.prompts.references
        return references

    @property
    def pack(self) -> Pack | None:
        """The pack of the references; None where they are none of a pack, or it is not on this machine."""
        references = self.references
        if not isinstance(references, Packed) or references.asset.find(self.cache) is None:
            return None
        return references.read(self.cache)

    def extractor(self) -> Extractor:
        """The feature stage of this run, with no network loaded yet."""
        engine, protocol = self.engine, self.protocol
        return Extractor(
            self.cache,
            engine.device,
            engine.feature_batch_size,
            protocol.sample_rate,
            protocol.resampler,
            self.elsewhere,
            pack=self.pack,
        )

    @property
    def paired(self) -> dict[str, Metric]:
        """The metrics that compare generated clips with reference clips, not with captions."""
        encoders = {name: metric.reference_encoder for name, metric in self.metrics.items()}
        return {name: self.metrics[name] for name, e in encoders.items() if e is not None and e.reads == "audio"}

    @property
    def _random_rendering(self) -> str:
        """The kind of the model with random weights that renders the references, or has rendered those of a pack."""
        references, pack = self.references, self.pack
        if isinstance(references, Generator):
            return references.kind if references.random else ""
        rendered = pack.about.rendered if pack else None
        return rendered.kind if rendered and rendered.random else ""

    def definition(self, metric: str) -> dict[str, Any]:
        """Describe a metric by all that affects its values."""
        described: dict[str, Any] = identity(self.metrics[metric], self.cache)
        return described

    def random_networks(self, metric: str) -> list[str]:
        """The networks behind a metric that have random weights; a model that renders its references is one."""
        component = self.metrics[metric]
        networks = [asset.name for asset in assets_of(component) if asset.random]
        for encoder in (component.encoder, component.reference_encoder):
            # one whose weights are no assets has but its own name
            if encoder is not None and encoder.random and not any(a.random for a in assets_of(encoder)):
                networks.append(encoder.kind)
        if metric in self.paired and (kind := self._random_rendering):
            networks.append(kind)
        if metric in self.paired and self.transform is not None and self.transform.random:
            networks += [a.name for a in assets_of(self.transform) if a.random] or [self.transform.kind]
        return list(dict.fromkeys(networks))


def make_plan(config: DictConfig, given: Objects | None = None) -> Plan:
    """Build and check all components of a configuration, and those that are given in place of its own.

    Raises EvalkitError for what cannot work.
    """
    given = given or Objects()
    check(config)
    allow = list(config.allow_targets)
    engine = Engine(**{str(k): v for k, v in config.engine.items()})
    engine.device = pick_device(engine.device)
    engine.dtype = pick_dtype(engine.dtype, engine.device)
    require_attention(engine)
    sampling = Sampling(**{str(k): v for k, v in config.sampling.items()})
    cache = Cache(config.cache_dir)
    metrics = {str(name): given.metrics.get(name) or build(node, allow) for name, node in config.metric.items()}
    models = {str(name): given.models.get(name) or build(node, allow) for name, node in config.model.items()}
    for name, model in models.items():
        if isinstance(model, Generator):
            require(f"model.{name}", model, Model)
        else:
            require(f"model.{name}, which has no load", model, Existing)
        require_random(f"model.{name}", model)
    calibration = calibration_of(config, models)
    for name, metric in metrics.items():
        if name in TAKEN:
            raise EvalkitError(f"metric.{name}: tables have another column '{name}': give the metric another name")
        require(f"metric.{name}", metric, Metric)
        check_metric(f"metric.{name}", metric)
    require_kinds(components_of(models, metrics))
    prompts = build(config.prompts, allow) if given.prompts is None else given.prompts
    require("prompts", prompts, Prompts)
    if isinstance(prompts.references, Generator):
        require("prompts.references", prompts.references, Model)
        require_random("prompts.references", prompts.references)
    if isinstance(prompts, TwoFolders):
        require_no_captions(config, metrics, prompts)
    plain: Any = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    plain.pop("tracker")
    protocol = protocol_of(config)
    transform = transform_of(config)
    protocols, changes = followed(config, metrics, cache, given.metrics, transform.change(cache) if transform else "")
    plan = Plan(
        config=plain,
        cache=cache,
        models=models,
        prompts=prompts,
        metrics=metrics,
        slices=slices_of(config),
        calibration=calibration,
        sampling=sampling,
        engine=engine,
        uncertainty=Uncertainty(**{str(k): v for k, v in config.uncertainty.items()}),
        protocol=protocol,
        protocols=protocols,
        changes=changes,
        protocol_remarks=list(remarks(config)),
        published=load_published(*(folder / "published" for folder in conf_dirs(config))),
        small_slice=config.small_slice,
        min_references=config.min_references,
        output_dir=config.output_dir,
        name=config.name or "_".join(models)[:60],
        trackers={str(name): tracker_of(str(name), node, allow) for name, node in config.tracker.items()},
        transform=transform,
    )
    for model in [*plan.models.values(), plan.references]:
        if isinstance(model, Generator):
            model.check(sampling)
    for name, model in plan.models.items():
        checkpoint = model.checkpoint if isinstance(model, Generator) else None
        if model.published and not (checkpoint and checkpoint.repo == model.published):
            require_known(f"model.{name}.published", model.published, plan.published)
    return plan


def tracker_of(name: str, node: Any, allow: list[str] | None = None) -> Tracker:
    """Build a tracker. Raises EvalkitError where nothing can be sent to it, before there is anything to send."""
    made = build(node, allow)
    require(f"tracker.{name}", made, Tracker)
    tracker: Tracker = made
    tracker.check()
    return tracker


def require_no_captions(config: DictConfig, metrics: Mapping[str, Metric], folders: TwoFolders) -> None:
    """Raise EvalkitError for what cannot be said of two folders: what needs captions, or pairs where there are none."""
    for name, metric in metrics.items():
        if metric.reference_encoder is not None and metric.reference_encoder.reads != "audio":
            raise EvalkitError(
                f"metric.{name} compares with captions, which two folders have not: use 'evalkit run model=folder "
                "model.folder.path=GENERATED prompts=table prompts.path=PROMPTS.csv'"
            )
    for option in ("calibration", "slices"):
        if config[option]:
            raise EvalkitError(f"{option} needs prompts, which two folders have not: see 'evalkit run --help'")
    mine, their = folders.generated.listed, folders.references.listed
    pairs = [f"metric.{name}" for name, metric in metrics.items() if metric.reference_encoder and metric.clip_by_clip]
    if pairs and not mine.keys() & their.keys():
        raise EvalkitError(
            f"{', '.join(pairs)}: compares files of the same name, and the folders share none, such as "
            f"'{min(mine)}' and '{min(their)}': leave it out, or rename the files"
        )
    if config.sampling.samples_per_prompt > 1:
        raise EvalkitError("sampling.samples_per_prompt needs prompts, which two folders have not")


def calibration_of(config: DictConfig, models: Mapping[str, Model | Existing]) -> dict[str, Calibration]:
    """Build the rows of calibration.

    Raises EvalkitError for one that cannot be made with the models, and for a title that is taken.
    """
    rows = {str(name): build(node, list(config.allow_targets)) for name, node in config.calibration.items()}
    taken = {*models}
    for name, row in rows.items():
        require(f"calibration.{name}", row, Calibration)
        row.check(models)
        if row.title in taken:
            raise EvalkitError(f"calibration.{name}: another row of the table is '{row.title}': give it another title")
        taken.add(row.title)
    return rows


def transform_of(config: DictConfig) -> Transform | None:
    """Build what references are transformed by. Raises EvalkitError for what cannot be used on this machine."""
    if config.references is None:
        return None
    transform = build(config.references, list(config.allow_targets))
    require("references", transform, Transform)
    require_random("references", transform)
    require_version("references", transform)
    made: Transform = transform
    made.check()
    return made


def slices_of(config: DictConfig) -> list[Slice]:
    """Build what the entries of the option `slices`, KIND or KIND:NAME, group prompts by.

    Each kind is a YAML in `slice`, a folder of evalkit's configuration or of the user's. Raises EvalkitError
    for a kind that does not exist, and for a NAME where the kind takes none.
    """
    files = yamls(config, "slice")
    found = []
    for asked in config.slices:
        kind, colon, name = asked.partition(":")
        if kind not in files:
            raise unknown("slice", kind, files)
        grouping = build_from(files[kind], list(config.allow_targets))
        require(f"slices={asked}", grouping, Grouping)
        if colon and not grouping.named:
            raise EvalkitError(f"slices={asked}: no single group of {kind} can be named: write slices=[{kind}]")
        if colon and not name:
            raise EvalkitError(f"slices={asked}: write {kind}:NAME for a single group, or {kind} for all")
        found.append(Slice(kind, name, grouping))
    return found


def require_clips(plan: Plan, count: int, metrics: Iterable[str], what: str) -> None:
    """Raise EvalkitError for all metrics, of some, that need more clips than there are.

    Args:
        count: how many there are.
        what: what they are, in words, such as "prompts".
    """
    needs = {name: getattr(plan.metrics[name], "min_clips", 1) for name in metrics}
    if few := [f"metric.{name} needs {least:,}" for name, least in needs.items() if least > count]:
        raise EvalkitError(f"{', '.join(few)} {what}, and there are {count:,}: use more, or leave the metric out")


def require_files(plan: Plan) -> None:
    """Raise EvalkitError for all files that are missing, and for the first that is damaged."""
    missing = missing_files(plan)
    if len(missing) == 1:
        missing[0][0].locate(plan.cache, missing[0][1])
    if missing:
        said = "; ".join(f"{asset.name} ({asset.source}), set by {option}" for asset, option in missing)
        fetch = "" if all(asset.path for asset, _ in missing) else ": run 'evalkit fetch' with the same options"
        raise EvalkitError(f"{len(missing)} files are not on this machine{fetch}: {said}")
    for asset, _ in files_of(plan):
        asset.verify(plan.cache)


def missing_files(plan: Plan) -> list[tuple[Asset, str]]:
    """The files that a run needs and that are not on this machine, each with the option that sets its path."""
    return [(asset, option) for asset, option in files_of(plan) if asset.find(plan.cache) is None]


def files_of(plan: Plan) -> list[tuple[Asset, str]]:
    """The files that a run needs, each once, with the first option that sets its path."""
    parts = {
        "model": plan.models,
        "prompts": plan.prompts,
        "references": plan.transform,
        "metric": plan.metrics,
        "calibration": plan.calibration,
    }
    files: list[tuple[Asset, str]] = []
    for option, asset in options_of(parts):
        if not asset.random and all(asset != known for known, _ in files):
            files.append((asset, option))
    return files


def pick_device(name: str) -> str:
    """Resolve "auto", and refuse a device that is not there."""
    if name == "cpu" or (name == "auto" and not may_have_gpu()):
        return "cpu"  # without torch, which takes a second to import, and which a run that finds all cached needs not
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise EvalkitError(f"engine.device={name}: use cpu, cuda, cuda:N or auto")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise EvalkitError(f"engine.device={name}: {str(error).splitlines()[0]}: use cpu or auto") from error
    return name


def may_have_gpu() -> bool:
    """Whether there is a driver of a GPU that torch might use; where that is not known without torch, there may be."""
    try:
        devices = os.listdir("/dev")
    except OSError:
        return True
    # of NVIDIA on a workstation and on Jetson, of WSL, and of AMD
    return sys.platform != "linux" or any(
        one.startswith(("nvidia", "nvhost", "nvgpu", "dxg", "kfd")) for one in devices
    )


def require_attention(engine: Engine) -> None:
    """Refuse evalkit's kernels on a CPU, where only Triton's interpreter could run them, thousands of times slower."""
    if engine.attention is Attention.triton and engine.device == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        raise EvalkitError("engine.attention=triton needs a CUDA device: use auto, or engine.device=cuda")


def pick_dtype(dtype: Dtype, device: str) -> Dtype:
    """Resolve "auto": float16 on CUDA, which is what audiocraft evaluates in, float32 on the CPU."""
    if dtype is Dtype.auto:
        return Dtype.float16 if device.startswith("cuda") else Dtype.float32
    return dtype
