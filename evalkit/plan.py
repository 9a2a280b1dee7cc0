"""Everything a configuration names, built and checked before the first expensive step."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from evalkit.assets import assets_of
from evalkit.config import Dtype, Sampling, build, check, compose, conf_dir
from evalkit.errors import EvalkitError
from evalkit.generate import Existing, Generator
from evalkit.metrics import Metric
from evalkit.store import Cache


@dataclass(frozen=True)
class Plan:
    """The components of one run.

    Attributes:
        protocols: for each metric the name of the protocol that it really follows.
    """

    config: DictConfig
    cache: Cache
    models: dict[str, Generator | Existing]
    prompts: Any
    metrics: dict[str, Metric]
    sampling: Sampling
    device: str
    dtype: str
    protocols: dict[str, str]

    @property
    def references(self) -> str | Generator | None:
        references: str | Generator | None = self.prompts.references
        return references

    @property
    def paired(self) -> dict[str, Metric]:
        """The metrics that compare generated clips with reference clips, not with captions."""
        return {name: m for name, m in self.metrics.items() if m.reference_encoder.reads == "audio"}


def make_plan(config: DictConfig) -> Plan:
    """Build and check all components of a configuration. Raises EvalkitError for what cannot work."""
    check(config)
    allow = list(config.allow_targets)
    device = pick_device(config.engine.device)
    sampling = Sampling(**{str(k): v for k, v in config.sampling.items()})
    cache = Cache(config.cache_dir)
    metrics = {str(name): build(node, allow) for name, node in config.metric.items()}
    models = {str(name): build(node, allow) for name, node in config.model.items()}
    for name, model in models.items():
        if not isinstance(model, (Generator, Existing)):
            raise EvalkitError(f"model.{name} is {type(model).__name__}, which makes no clips: it needs load or find")
    for name, metric in metrics.items():
        for part in ("encoder", "reference_encoder"):
            if not hasattr(getattr(metric, part, None), "load"):
                raise EvalkitError(f"metric.{name} has no {part}: it needs one with a load method")
    plan = Plan(
        config=config,
        cache=cache,
        models=models,
        prompts=build(config.prompts, allow),
        metrics=metrics,
        sampling=sampling,
        device=device,
        dtype=pick_dtype(config.engine.dtype, device),
        protocols={name: protocol_of(config, name, metric, cache) for name, metric in metrics.items()},
    )
    for model in [*plan.models.values(), plan.references]:
        if isinstance(model, Generator):
            model.check(sampling)
    return plan


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


def pick_dtype(dtype: Dtype, device: str) -> str:
    """Resolve "auto": float16 on CUDA, which is what audiocraft evaluates in, float32 on the CPU."""
    if dtype is Dtype.auto:
        return "float16" if device.startswith("cuda") else "float32"
    return dtype.value


def protocol_of(config: DictConfig, name: str, metric: Metric, cache: Cache) -> str:
    """The protocol that a metric follows: the selected one's name, marked if anything in it was changed.

    Random weights are no change, because they are announced by themselves; other weights than the
    published ones are.
    """
    protocol = str(config.protocol.name)
    path = conf_dir() / "protocol" / f"{protocol}.yaml"
    same = path.is_file() and OmegaConf.load(path) == config.protocol
    if same:
        seed = config.random_weights
        options = ["model=synth", "prompts=demo", f"protocol={protocol}", f"metric={name}"]
        try:
            standard = compose([*options, f"random_weights={'null' if seed is None else seed}"])
        except EvalkitError:  # a metric that the configuration defines by itself has no standard form
            return protocol
        same = _switches(standard.metric[name]) == _switches(config.metric[name])
    published = all(asset.published(cache) for asset in assets_of(metric))
    return protocol if same and published else f"{protocol} (changed)"


def _switches(node: Any) -> Any:
    """A metric's node without the places of its files."""
    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if isinstance(plain, dict):
        return {key: _switches(value) for key, value in plain.items() if key != "path"}
    return plain
