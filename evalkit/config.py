"""The typed configuration, and how a node of it becomes an object."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any  # OmegaConf reads these at run time

from hydra.core.config_store import ConfigStore
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig, OmegaConf

from evalkit.errors import EvalkitError

MAX_SECONDS = 30.0  # the length MusicGen was trained on


class Dtype(Enum):
    auto = "auto"
    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


@dataclass
class Sampling:
    """How clips are sampled; the defaults are those behind MusicGen's model card."""

    top_k: int = 250
    top_p: float = 0.0
    temperature: float = 1.0
    guidance_scale: float = 3.0
    duration: float = 10.0  # seconds
    seed: int = 0


@dataclass
class Engine:
    """How the work is run. Of these only the device's type and the dtype can change a clip."""

    device: str = "auto"
    dtype: Dtype = Dtype.auto
    batch_size: int = 8  # clips generated at once
    feature_batch_size: int = 8  # clips embedded at once
    keep_going: bool = False  # score what is there when clips could not be generated


@dataclass
class Protocol:
    """A named way to compute the metrics; the other keys of its YAML belong to encoders and metrics."""

    name: str = MISSING
    sample_rate: int = MISSING  # Hz, what all audio is converted to first
    generated_loudness: float | None = MISSING  # LUFS, of generated clips only; null to leave the level


@dataclass
class Config:
    model: dict[str, Any] = field(default_factory=dict)
    prompts: Any = MISSING
    metric: dict[str, Any] = field(default_factory=dict)
    protocol: Any = MISSING
    sampling: Sampling = field(default_factory=Sampling)
    engine: Engine = field(default_factory=Engine)
    min_references: float = 0.9  # share of prompts whose reference must be usable
    random_weights: int | None = None  # seed of random weights in place of all published ones
    cache_dir: str | None = None
    output_dir: str = "results/runs"
    name: str | None = None  # of the run's folder
    allow_targets: list[str] = field(default_factory=list)


ConfigStore.instance().store("schema", Config)


def conf_dir() -> Path:
    """The folder of YAMLs: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    return next(p for p in (package / "conf", package.parent / "conf") if p.is_dir())


def compose(overrides: list[str], config_dir: str | None = None) -> DictConfig:
    """Compose the configuration of a run, as the command line does, without running it."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    extra = [f"hydra.searchpath=[file://{Path(config_dir).absolute()}]"] if config_dir else []
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return hydra_compose("config", overrides=[*overrides, *extra])


def build(node: Any, allow: list[str] | None = None) -> Any:
    """Make the object that a node with a `_target_` describes.

    Only targets inside evalkit, or inside the packages that the configuration's `allow_targets`
    names, are made. Raises EvalkitError for any other, and for arguments that the target refuses.
    """
    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    prefixes = tuple(f"{p}." for p in ["evalkit", *(allow or [])])
    for target in _targets(plain):
        if not target.startswith(prefixes):
            raise EvalkitError(
                f"the configuration wants to run '{target}', which is not part of evalkit: "
                "add its package to allow_targets if you trust it"
            )
    try:
        return instantiate(plain, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, EvalkitError):
            raise cause from None
        if isinstance(cause, TypeError):
            raise EvalkitError(f"{str(error).splitlines()[0]} {cause}") from error
        raise


def _targets(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [str(node["_target_"])] if "_target_" in node else []
        return own + [t for value in node.values() for t in _targets(value)]
    if isinstance(node, list):
        return [t for value in node for t in _targets(value)]
    return []


def check(config: Any) -> None:
    """Raise EvalkitError for a value that no run can use."""
    engine, sampling = config.engine, config.sampling

    def require(condition: bool, message: str) -> None:
        if not condition:
            raise EvalkitError(message)

    require(len(config.model) > 0, "no model is selected: set model=NAME")
    require(len(config.metric) > 0, "no metric is selected: set metric=[fad,kld,clap_score,chroma]")
    for name in ("batch_size", "feature_batch_size"):
        require(engine[name] >= 1, f"engine.{name}={engine[name]}: must be at least 1")
    duration = sampling.duration
    require(
        math.isfinite(duration) and 0 < duration <= MAX_SECONDS,
        f"sampling.duration={duration:g}: must be more than 0 and at most {MAX_SECONDS:g} seconds",
    )
    require(sampling.top_k >= 0, f"sampling.top_k={sampling.top_k}: must not be negative")
    require(0 <= sampling.top_p <= 1, f"sampling.top_p={sampling.top_p:g}: must be between 0 and 1")
    require(
        math.isfinite(sampling.temperature) and sampling.temperature > 0,
        f"sampling.temperature={sampling.temperature:g}: must be more than 0",
    )
    require(
        math.isfinite(sampling.guidance_scale) and sampling.guidance_scale >= 1,
        f"sampling.guidance_scale={sampling.guidance_scale:g}: must be at least 1 (1 means no guidance)",
    )
    require(0 <= config.min_references <= 1, "min_references must be between 0 and 1")
