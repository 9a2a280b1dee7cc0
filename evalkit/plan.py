"""Everything a configuration names, built and checked before the first expensive step."""

from __future__ import annotations

import re
from dataclasses import dataclass

from omegaconf import DictConfig

from evalkit.assets import assets_of
from evalkit.calibration import rows as calibration
from evalkit.config import build, build_from, check, conf_dirs, yamls
from evalkit.contracts import require
from evalkit.encoders import Encoder
from evalkit.errors import EvalkitError, unknown
from evalkit.features.extractor import Extractor
from evalkit.metrics import Metric
from evalkit.models import Existing, Generator, Model
from evalkit.prompts import Prompts
from evalkit.prompts.slices import Grouping, Slice
from evalkit.protocols import followed, protocol_of, remarks
from evalkit.results.published import Published, load_published
from evalkit.settings import Dtype, Engine, Protocol, Sampling
from evalkit.store.cache import Cache


@dataclass(frozen=True)
class Plan:
    """The components of one run.

    Attributes:
        protocols: for each metric the name of the protocol that it really follows.
        changes: switches of the protocol that are not as its YAML has them, such as "vggish.hop 0.96, not 0.5".
        protocol_remarks: what a reader of scores must know about their protocol, one sentence each.
        published: numbers to compare with, evalkit's and the user's.
    """

    config: DictConfig
    cache: Cache
    models: dict[str, Model | Existing]
    prompts: Prompts
    metrics: dict[str, Metric]
    slices: list[Slice]
    sampling: Sampling
    engine: Engine
    protocol: Protocol
    protocols: dict[str, str]
    changes: list[str]
    protocol_remarks: list[str]
    published: list[Published]

    @property
    def references(self) -> str | Model | None:
        references: str | Model | None = self.prompts.references
        return references

    def extractor(self) -> Extractor:
        """The feature stage of this run, with no network loaded yet."""
        engine, protocol = self.engine, self.protocol
        return Extractor(self.cache, engine.device, engine.feature_batch_size, protocol.sample_rate, protocol.resampler)

    @property
    def paired(self) -> dict[str, Metric]:
        """The metrics that compare generated clips with reference clips, not with captions."""
        encoders = {name: metric.reference_encoder for name, metric in self.metrics.items()}
        return {name: self.metrics[name] for name, e in encoders.items() if e is not None and e.reads == "audio"}


def make_plan(config: DictConfig) -> Plan:
    """Build and check all components of a configuration. Raises EvalkitError for what cannot work."""
    check(config)
    allow = list(config.allow_targets)
    engine = Engine(**{str(k): v for k, v in config.engine.items()})
    engine.device = pick_device(engine.device)
    engine.dtype = pick_dtype(engine.dtype, engine.device)
    sampling = Sampling(**{str(k): v for k, v in config.sampling.items()})
    cache = Cache(config.cache_dir)
    metrics = {str(name): build(node, allow) for name, node in config.metric.items()}
    models = {str(name): build(node, allow) for name, node in config.model.items()}
    for name, model in models.items():
        if isinstance(model, Generator):
            require(f"model.{name}", model, Model)
        else:
            require(f"model.{name}, which has no load", model, Existing)
    calibration.check(config.calibration, models)
    for name, metric in metrics.items():
        require(f"metric.{name}", metric, Metric)
        require_encoders(f"metric.{name}", metric)
    prompts = build(config.prompts, allow)
    require("prompts", prompts, Prompts)
    if isinstance(prompts.references, Generator):
        require("prompts.references", prompts.references, Model)
    protocol = protocol_of(config)
    protocols, changes = followed(config, metrics, cache)
    plan = Plan(
        config=config,
        cache=cache,
        models=models,
        prompts=prompts,
        metrics=metrics,
        slices=slices_of(config),
        sampling=sampling,
        engine=engine,
        protocol=protocol,
        protocols=protocols,
        changes=changes,
        protocol_remarks=list(remarks(config, metrics)),
        published=load_published(*(folder / "published" for folder in conf_dirs(config))),
    )
    for model in [*plan.models.values(), plan.references]:
        if isinstance(model, Generator):
            model.check(sampling)
    return plan


def require_encoders(name: str, metric: Metric) -> None:
    """Raise EvalkitError for an encoder of a metric that leaves something out, or does not fit its place."""
    for part, encoder in (("encoder", metric.encoder), ("reference_encoder", metric.reference_encoder)):
        if encoder is None:
            if part == "encoder":
                raise EvalkitError(f"{name} has no encoder: set {name}.encoder")
            continue
        require(f"{name}.{part}", encoder, Encoder)
        if (encoder.reads == "audio") != (encoder.hears is not None):
            raise EvalkitError(
                f"{name}.{part}: {type(encoder).__name__} reads {encoder.reads} and hears {encoder.hears}: "
                "what reads audio, and nothing else, hears an Input"
            )
    if metric.encoder.reads != "audio":
        raise EvalkitError(f"{name}.encoder reads {metric.encoder.reads}: generated clips need one that reads audio")


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


def require_files(plan: Plan) -> None:
    """Raise EvalkitError for the first file that is missing or damaged."""
    for asset in assets_of(plan.models, plan.prompts, plan.metrics):
        if not asset.random:
            asset.locate(plan.cache)
            asset.verify(plan.cache)


def pick_device(name: str) -> str:
    """Resolve "auto", and refuse a device that is not there."""
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


def pick_dtype(dtype: Dtype, device: str) -> Dtype:
    """Resolve "auto": float16 on CUDA, which is what audiocraft evaluates in, float32 on the CPU."""
    if dtype is Dtype.auto:
        return Dtype.float16 if device.startswith("cuda") else Dtype.float32
    return dtype
