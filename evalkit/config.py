"""The typed configuration, and how a node of it becomes an object."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints  # OmegaConf reads these at run time

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig, OmegaConf

from evalkit.errors import EvalkitError, unknown
from evalkit.settings import MAX_SECONDS, MIN_SECONDS, WINDOW, Engine, Sampling, Uncertainty


@dataclass
class Config:
    model: dict[str, Any] = field(default_factory=dict)
    prompts: Any = MISSING
    metric: dict[str, Any] = field(default_factory=dict)
    protocol: Any = MISSING
    sampling: Sampling = field(default_factory=Sampling)
    engine: Engine = field(default_factory=Engine)
    uncertainty: Uncertainty = field(default_factory=Uncertainty)
    slices: list[str] = field(default_factory=list)  # groups of prompts that are scored by themselves
    small_slice: int = 30  # clips below which a slice's scores are marked
    calibration: list[str] = field(default_factory=list)  # rows that show the scale: evalkit/calibration
    min_references: float = 0.9  # share of prompts whose reference must be usable
    random_weights: int | None = None  # seed of random weights in place of all published ones
    cache_dir: str | None = None
    output_dir: str = "results/runs"
    name: str | None = None  # of the run's folder
    allow_targets: list[str] = field(default_factory=list)
    config_dir: str | None = None  # a folder of your own YAMLs, as --config-dir gave it


ConfigStore.instance().store("schema", Config)


def conf_dir() -> Path:
    """The folder of YAMLs: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    return next(p for p in (package / "conf", package.parent / "conf") if p.is_dir())


def yamls(config: DictConfig, group: str) -> dict[str, Path]:
    """Find the YAMLs of a group by name: those in the user's folder, and evalkit's, which count first, as for Hydra."""
    folders = [*([Path(config.config_dir)] if config.config_dir else []), conf_dir()]
    return {path.stem: path for folder in folders for path in sorted((folder / group).glob("*.yaml"))}


def compose(overrides: list[str], config_dir: str | None = None) -> DictConfig:
    """Compose the configuration of a run, as the command line does, without running it.

    Raises EvalkitError for everything that is wrong with the options or the YAMLs.
    """
    if any(override.lstrip("+").startswith("config_dir=") for override in overrides):
        raise EvalkitError("config_dir is no option: give the folder of your own YAMLs as --config-dir DIR")
    options, searched = [quoted(override) for override in overrides], []
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise EvalkitError(f"the folder of configurations '{config_dir}' does not exist")
        searched = [f"hydra.searchpath=[file://{Path(config_dir).absolute()}]"]
        options.append(own_folder(config_dir))
    try:
        if GlobalHydra.instance().is_initialized():  # inside a run
            return hydra.compose("config", overrides=options)
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = hydra.compose("config", overrides=[*options, *searched])
            OmegaConf.to_container(config, resolve=True)  # raises for an interpolation that leads nowhere
            return config
    except Exception as error:  # Hydra, OmegaConf and YAML each raise their own, and Hydra ValueErrors
        raise explain(error) from error


def own_folder(config_dir: str) -> str:
    """Make the override that tells a run where the user's own YAMLs are."""
    return quoted(f"config_dir={Path(config_dir).absolute()}")


def quoted(override: str) -> str:
    """Put the value of an option into quotes where Hydra's grammar cannot read it without, such as ~/é (1)."""
    parser = OverridesParser.create()
    key, equals, value = override.partition("=")
    text = value.replace("\\", "\\\\").replace('"', '\\"')
    for candidate in (override, f'{key}="{text}"'):
        try:
            parser.parse_override(candidate)
            return candidate
        except (OverrideParseException, HydraException):
            if not equals or value[:1] in ("[", "{", "'", '"', ""):
                break
    return override


def explain(error: Exception) -> EvalkitError:
    """Put an error of composing into one line."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return unknown(group, name, {p.stem for p in (conf_dir() / group).glob("*.yaml")} | set(error.options or []))
    if isinstance(error, OverrideParseException):
        return EvalkitError(f"cannot read the option '{error.override}': write KEY=VALUE, or KEY=[A,B] for a list")
    if match := re.search(r"Ambiguous value for argument '(.*?)=(.*?)'", str(error)):
        return EvalkitError(
            f"'{match[1]}={match[2]}' is several values: use '{match[1]}=[{match[2]}]', or -m for a sweep"
        )
    if match := re.search(r"is not a ListConfig.*full_key: ([\w.]+)", str(error), re.DOTALL):
        return EvalkitError(f"'{match[1]}' is a list: write {match[1]}=[A,B]")
    if match := re.search(r"You must specify '(\w+)'", str(error)):
        group = match[1]
        return EvalkitError(f"nothing is selected for {group}: set {group}=NAME ('evalkit run --help' lists the names)")
    if match := re.search(r"Could not override '([\w.@/]+)'", str(error)):
        path, _, key = match[1].rpartition(".")
        schema: Any = {"": Config, "sampling": Sampling, "engine": Engine, "uncertainty": Uncertainty}.get(path)
        names = [f.name for f in dataclasses.fields(schema)] if schema else []
        near = difflib.get_close_matches(key, names, n=1)
        hint = f"did you mean '{f'{path}.' if path else ''}{near[0]}'?" if near else "'evalkit run --help' lists them"
        return EvalkitError(f"there is no option '{match[1]}': {hint}")
    noise = ("reference_type", "object_type", "full_key", "To append", "See https")
    lines = [line.strip() for line in f"{error}\n{error.__cause__ or ''}".splitlines()]
    return EvalkitError(": ".join([x for x in dict.fromkeys(lines) if x and not x.startswith(noise)][:2]))


def build(node: Any, allow: list[str] | None = None) -> Any:
    """Make the object that a node with a `_target_` describes.

    A target is a dataclass of evalkit, or of a package that the configuration's `allow_targets` names:
    anything else that a name can reach could run code. Raises EvalkitError for others, and for
    arguments that the target refuses.
    """
    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if not (isinstance(plain, dict) and "_target_" in plain):
        raise EvalkitError(f"the configuration has {plain!r} where a component with a _target_ is due")
    packages = [str(package) for package in ["evalkit", *(allow or [])]]
    for target, given in [(_check_target(name, packages), given) for name, given in _targets(plain)]:
        _check_values(target, given)
    try:
        return instantiate(plain, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, EvalkitError):
            raise cause from None
        if isinstance(cause, TypeError):
            raise EvalkitError(f"{str(error).splitlines()[0]} {cause}") from error
        raise


def build_from(path: Path, allow: list[str] | None = None) -> Any:
    """Make the object that a YAML with a `_target_` describes by itself, as `build` does of a node."""
    try:
        node = OmegaConf.load(path)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise EvalkitError(f"'{path}' cannot be read: {' '.join(str(error).split())}") from error
    return build(node, allow)


def _check_values(target: type, given: Mapping[str, Any]) -> None:
    """Raise EvalkitError for a field that is given text where a number is due, and the like; YAML cannot tell."""
    try:
        hints = get_type_hints(target)
    except NameError:  # of a package whose annotations mean nothing at run time
        return
    for name, value in given.items():
        hint = hints.get(name)
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        if not {*kinds} <= {int, float, str, bool, type(None)}:
            continue
        fits = type(value) in kinds or (type(value) is int and float in kinds)
        if not fits or (isinstance(value, float) and not math.isfinite(value)) or (name == "seed" and value < 0):
            due = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            extra = ", not negative" if name == "seed" else ", and finite" if float in kinds else ""
            raise EvalkitError(f"{target.__name__}: {name}={value!r}: must be {due}{extra}")


def _check_target(target: str, packages: list[str]) -> type:
    inside = tuple(f"{package}." for package in packages)
    if target.startswith(inside):  # else not even its module may be imported
        module, _, name = target.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), name)
        except Exception as error:  # whatever importing the module raised
            raise EvalkitError(f"the configuration names '{target}', which cannot be found: {error}") from error
        # what a module imports can be reached through it, so what counts is where the class was made
        if dataclasses.is_dataclass(found) and isinstance(found, type) and f"{found.__module__}.".startswith(inside):
            return found
    raise EvalkitError(
        f"the configuration wants to run '{target}', which is not part of {' or '.join(packages)}: "
        "add its package to allow_targets if you trust it; it must be a dataclass"
    )


def _targets(node: Any) -> list[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        own = [(str(node["_target_"]), node)] if "_target_" in node else []
        return own + [t for value in node.values() for t in _targets(value)]
    if isinstance(node, list):
        return [t for value in node for t in _targets(value)]
    return []


def check(config: Any) -> None:
    """Raise EvalkitError for a value that no run can use."""
    engine, sampling = config.engine, config.sampling

    def require(condition: object, message: str) -> None:
        if not condition:
            raise EvalkitError(message)

    plain = json.dumps(OmegaConf.to_container(config, resolve=True, enum_to_str=True), default=str)
    require("\\u0000" not in plain, "an option holds a NUL character")
    require(config.output_dir, "output_dir is empty: give a folder for results")
    require(len(config.model) > 0, "no model is selected: set model=NAME")
    require(len(config.metric) > 0, "no metric is selected: set metric=[fad,kld,clap_score,chroma]")
    for name in ("batch_size", "feature_batch_size"):
        require(engine[name] is None or engine[name] >= 1, f"engine.{name}={engine[name]}: must be at least 1")
    duration = sampling.duration
    require(
        MIN_SECONDS <= duration <= MAX_SECONDS,
        f"sampling.duration={duration:g}: must be between {MIN_SECONDS:g} and {MAX_SECONDS:g} seconds",
    )
    require(
        0 < sampling.extend_stride < WINDOW,
        f"sampling.extend_stride={sampling.extend_stride:g}: must be more than 0 and less than {WINDOW:g} seconds",
    )
    samples = sampling.samples_per_prompt
    require(samples >= 1, f"sampling.samples_per_prompt={samples}: must be at least 1")
    require(sampling.top_k >= 0, f"sampling.top_k={sampling.top_k}: must not be negative")
    require(0 <= sampling.top_p <= 1, f"sampling.top_p={sampling.top_p:g}: must be between 0 and 1")
    require(
        1e-6 <= sampling.temperature <= 1e6,
        f"sampling.temperature={sampling.temperature:g}: must be more than 0, between 1e-6 and 1e6",
    )
    require(
        1 <= sampling.guidance_scale <= 1000,
        f"sampling.guidance_scale={sampling.guidance_scale:g}: must be at least 1 (no guidance) and at most 1000",
    )
    require(config.small_slice >= 2, f"small_slice={config.small_slice}: must be at least 2")
    require(0 <= config.min_references <= 1, "min_references must be between 0 and 1")
    uncertainty = config.uncertainty
    require(
        uncertainty.resamples == 0 or uncertainty.resamples >= 100,
        f"uncertainty.resamples={uncertainty.resamples}: must be at least 100, or 0 for no intervals",
    )
    require(0 < uncertainty.level < 1, f"uncertainty.level={uncertainty.level:g}: must be between 0 and 1")
    require(uncertainty.seed >= 0, f"uncertainty.seed={uncertainty.seed}: must not be negative")
    named = config.protocol.get("name")
    require(isinstance(named, str) and named, f"protocol.name={named}: must be a name")
    rate, loudness = config.protocol.get("sample_rate"), config.protocol.get("generated_loudness")
    require(
        rate is None or (isinstance(rate, int) and 8000 <= rate <= 192000),
        f"protocol.sample_rate={rate}: must be a rate in Hz, from 8000 to 192000, or null for each file's own",
    )
    require(
        loudness is None or (isinstance(loudness, (int, float)) and -70 < loudness <= 0),
        f"protocol.generated_loudness={loudness}: must be null or between -70 and 0 LUFS",
    )
    length = config.protocol.get("pair_length")
    require(length in ("common", "own"), f"protocol.pair_length={length}: must be common or own")
    name = config.name
    require(
        name is None or re.fullmatch(r"[\w.+-]*\w[\w.+-]*", name), f"name={name}: use letters, digits and -_.+ only"
    )
