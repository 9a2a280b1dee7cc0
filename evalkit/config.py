"""The typed configuration, and how a node of it becomes an object."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints  # OmegaConf reads these at run time

import hydra
import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig, OmegaConf
from yaml import MarkedYAMLError

from evalkit.errors import EvalkitError, unknown
from evalkit.settings import (
    MAX_BATCH,
    MAX_RESAMPLES,
    MAX_SAMPLES,
    MAX_SECONDS,
    MAX_WORKERS,
    MIN_SECONDS,
    WINDOW,
    Engine,
    Launcher,
    Protocol,
    Sampling,
    Uncertainty,
    conf_dir,
)


@dataclass
class Config:
    """All options of a run; `evalkit run --help` shows these descriptions.

    Attributes:
        model: what makes the clips, each a row of the table: a model, or a folder of clips
        prompts: the captions, and the references that clips are compared with
        references: what references become before anything is compared with them; null for references as they are,
            of which published numbers are
        metric: what is measured, each a column of the table
        protocol: how clips are prepared and what each network is given, for all metrics
        sampling: how models sample; the only one is that of MusicGen's model card
        engine: device, precision, batch sizes and worker processes
        uncertainty: the confidence intervals
        slices: groups of prompts that are scored by themselves, such as [voice,caption_length], or one, such as
            [tag:piano]; the kinds are
        small_slice: clips below which a slice's scores are marked; at least 2
        calibration: further rows, which show what the scale is
        min_references: share of the prompts whose reference must be usable, 0 to 1
        random_weights: seed of random weights in place of all published ones, for trying things out; null for none
        cache_dir: where clips, features and weights are kept; null for EVALKIT_CACHE, or ~/.cache/evalkit
        output_dir: where the folder of each result is made
        name: what the name of the result's folder ends with; null for the names of the models
        report: whether a run, or a sweep as a whole, ends by writing report.html, to look at and listen to, into its
            folder
        tracker: experiment trackers that the result is sent to when it is finished
        allow_targets: packages of your own whose components may be built, such as [my_package]
        config_dir: a folder of your own YAMLs, as --config-dir gave it
    """

    model: dict[str, Any] = field(default_factory=dict)
    prompts: Any = MISSING
    references: Any = None
    metric: dict[str, Any] = field(default_factory=dict)
    protocol: Protocol = field(default_factory=Protocol)
    sampling: Sampling = field(default_factory=Sampling)
    engine: Engine = field(default_factory=Engine)
    uncertainty: Uncertainty = field(default_factory=Uncertainty)
    slices: list[str] = field(default_factory=list)
    small_slice: int = 30
    calibration: dict[str, Any] = field(default_factory=dict)
    min_references: float = 0.9
    random_weights: int | None = None
    cache_dir: str | None = None
    output_dir: str = "results/runs"
    name: str | None = None
    report: bool = False
    tracker: dict[str, Any] = field(default_factory=dict)
    allow_targets: list[str] = field(default_factory=list)
    config_dir: str | None = None


ConfigStore.instance().store("schema", Config)


def conf_dirs(config: DictConfig) -> list[Path]:
    """Evalkit's folder of YAMLs and, where there is one, the user's."""
    return [conf_dir(), *([Path(config.config_dir)] if config.config_dir else [])]


def yamls(config: DictConfig, group: str) -> dict[str, Path]:
    """Find the YAMLs of a group by name, evalkit's and those in the user's folder, which have other names."""
    return {path.stem: path for folder in conf_dirs(config) for path in sorted((folder / group).glob("*.yaml"))}


@dataclass(frozen=True)
class Composing:
    """Hydra, with evalkit's YAMLs, the user's and some more.

    Attributes:
        loader: Hydra's own.
        search: the option that adds the user's folders.
        config_dir: the user's folder, if there is one.
    """

    loader: ConfigLoader
    search: str
    config_dir: str | None

    def run(self, overrides: Sequence[str], hydra_too: bool = False) -> DictConfig:
        """Compose the configuration of a run, with what is Hydra's own in it if that is asked for."""
        given = [*prepared(overrides, self.config_dir), self.search]
        return hydra.compose("config", overrides=given, return_hydra_config=hydra_too)

    def multirun(self, overrides: Sequence[str]) -> DictConfig:
        """Compose what all runs of a multirun share, with what is Hydra's own in it."""
        given = [*prepared(overrides, self.config_dir), self.search]
        return self.loader.load_configuration("config", given, RunMode.MULTIRUN)


@contextlib.contextmanager
def composing(config_dir: str | None = None, more: Sequence[Path] = ()) -> Iterator[Composing]:
    """Start Hydra to compose configurations inside the block; see `compose` for the arguments."""
    folders = [*([Path(config_dir).absolute()] if config_dir is not None else []), *more]
    search = f"hydra.searchpath=[{','.join(in_quotes(f'file://{folder}') for folder in folders)}]"
    # a run of Hydra that this is called in has a search path of its own, which must not count here
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            yield Composing(GlobalHydra.instance().config_loader(), search, config_dir)
    finally:
        GlobalHydra.instance().hydra = outer


def compose(overrides: Sequence[str], config_dir: str | None = None, more: Sequence[Path] = ()) -> DictConfig:
    """Compose the configuration of a run, as the command line does, without running it.

    Raises EvalkitError for everything that is wrong with the options or the YAMLs.

    Args:
        more: folders of YAMLs besides evalkit's and the user's.
    """
    try:
        with composing(config_dir, more) as loaded:
            config = loaded.run(overrides)
            OmegaConf.to_container(config, resolve=True)  # raises for an interpolation that leads nowhere
    except EvalkitError:
        raise
    except Exception as error:  # Hydra, OmegaConf and YAML each raise their own, and Hydra ValueErrors
        if match := re.search(r"Could not override '([\w.]+)'", str(error)):
            raise _no_option(match[1], _without(match[1], overrides, config_dir, more)) from error
        raise explain(error, config_dir) from error
    _check_names(config, Config)
    return config


def prepared(overrides: Sequence[str], config_dir: str | None) -> list[str]:
    """The options of a run as Hydra can read them, with the folder of the user's YAMLs as one of them.

    Raises EvalkitError if that folder is none, or if a YAML in it has the name of one of evalkit's, which Hydra
    would take in its place.
    """
    for override in overrides:
        if re.match(r"[+~]*(config_dir|hydra\.searchpath)\b", override):
            raise EvalkitError(f"'{override}': use --config-dir DIR, or config_dir of evalkit.evaluate, for your YAMLs")
    if config_dir is None:
        return [quoted(override) for override in overrides]
    folder = Path(config_dir).absolute()
    if not folder.is_dir():
        raise EvalkitError(f"the folder of configurations '{config_dir}' does not exist")
    for path in sorted(folder.rglob("*.yaml")):
        place = path.relative_to(folder)
        if place.parts[0] != "published" and (conf_dir() / place).exists():
            raise EvalkitError(f"'{path}': evalkit's own {place} would be taken in its place: give it another name")
    return [*(quoted(override) for override in overrides), f"config_dir={in_quotes(str(folder))}"]


def in_quotes(value: str) -> str:
    """A value in quotes, so that Hydra's grammar reads it as text whatever it holds."""
    return QuotedString(value, Quote.double).with_quotes()


def key_of(option: str) -> str:
    """The key that an option of the command line is for, such as "model" of "+model=synth"."""
    return option.partition("=")[0].lstrip("+~")


def quoted(override: str) -> str:
    """Put the value of an option into quotes where Hydra's grammar cannot read it without, such as ~/é (1)."""
    parser = OverridesParser.create()
    key, equals, value = override.partition("=")
    for candidate in (override, f"{key}={in_quotes(value)}"):
        try:
            parser.parse_override(candidate)
            return candidate
        except (OverrideParseException, HydraException):
            if not equals or value[:1] in ("[", "{", "'", '"', ""):
                break
    return override


KINDS = {"Integer": "a whole number, such as 250", "Float": "a number", "Boolean": "true or false"}


def _line(error: Exception) -> str:
    return " ".join(f"{error} {error.__cause__ or ''}".split())


def explain(error: Exception, config_dir: str | None = None) -> EvalkitError:
    """Put an error of composing into one line; names are those of evalkit's YAMLs and of the user's folder."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        folders = [conf_dir(), *([Path(config_dir)] if config_dir else [])]
        return unknown(group, name, {path.stem for folder in folders for path in (folder / group).glob("*.yaml")})
    if isinstance(error, OverrideParseException):
        return EvalkitError(f"cannot read the option '{error.override}': write KEY=VALUE, or KEY=[A,B] for a list")
    merged = re.match(r"Error merging override (\S+) .*could not be converted to (\w+)", _line(error))
    if merged and merged[2] in KINDS:
        return EvalkitError(f"{merged[1]}: must be {KINDS[merged[2]]}")
    if match := re.search(r"Ambiguous value for argument '(.*?)=(.*?)'", str(error)):
        return EvalkitError(
            f"'{match[1]}={match[2]}' is several values: use '{match[1]}=[{match[2]}]', or -m for a sweep"
        )
    if isinstance(error, MarkedYAMLError) and error.problem_mark:
        return EvalkitError(f"'{error.problem_mark.name}', line {error.problem_mark.line + 1}: {error.problem}")
    if match := re.search(r"is not a ListConfig.*full_key: ([\w.]+)", f"{error} {error.__cause__}", re.DOTALL):
        return EvalkitError(f"'{match[1]}' is a list: write {match[1]}=[A,B]")
    if match := re.search(r"You must specify '(\w+)'", str(error)):
        group = match[1]
        return EvalkitError(f"nothing is selected for {group}: set {group}=NAME ('evalkit run --help' lists the names)")
    if match := re.search(r"Could not override '([\w.@/]+)'", str(error)):
        return _no_option(match[1])
    if match := re.search(r"Key '.*' not in '\w+'\s+full_key: ([\w.]+)", str(error)):
        file = re.match(r"In '.*?': ", str(error))
        return EvalkitError(f"{file[0] if file else ''}{_no_option(match[1])}")
    if match := re.search(r"Missing mandatory value: (protocol[\w.]+)", str(error)):
        return nothing_given(match[1])
    noise = ("reference_type", "object_type", "full_key", "To append", "See https")
    lines = [line.strip() for line in f"{error}\n{error.__cause__ or ''}".splitlines()]
    said = ": ".join([x.rstrip(":") for x in dict.fromkeys(lines) if x and not x.startswith(noise)][:2])
    said = said.removeprefix("Error merging override ").replace("is not Optional", "cannot be null")
    key = re.search(r"full_key: ([\w.]+)", str(error))
    return EvalkitError(said if key is None or key[1] in said else f"{said} ({key[1]})")


def _no_option(path: str, config: DictConfig | None = None) -> EvalkitError:
    """Make the error for an option that does not exist, with the nearest existing one.

    Args:
        config: the configuration without it, for what there is below a component.
    """
    node: Any = config
    schema: Any = Config
    found: list[str] = []
    plus = ""
    for part in path.split("."):
        written = {str(key) for key in node} if isinstance(node, DictConfig) else set()
        fields = get_type_hints(schema) if dataclasses.is_dataclass(schema) else {}
        names = (written | set(fields)) - {"_target_", "config_dir"}
        near = [part] if part in names else difflib.get_close_matches(part, sorted(names), n=1)
        if not near:
            there = f"below '{'.'.join(found)}' there are {', '.join(sorted(names))}" if names and found else ""
            return EvalkitError(f"there is no option '{path}': " + (there or "'evalkit run --help' lists them"))
        found.append(near[0])
        if isinstance(node, DictConfig):
            plus = "" if near[0] in written else "+"  # Hydra's sign for what no YAML holds
            node = None if near[0] not in written or OmegaConf.is_missing(node, near[0]) else node[near[0]]
        schema = _schema(node) or fields.get(near[0])
    return EvalkitError(f"there is no option '{path}': did you mean '{plus}{'.'.join(found)}'?")


def _schema(node: Any) -> type | None:
    """The dataclass that a node is made into, if it is one of evalkit's."""
    if isinstance(node, DictConfig) and "_target_" in node:
        with contextlib.suppress(EvalkitError):
            return _check_target(str(node["_target_"]), ["evalkit"])
    return None


def _without(path: str, overrides: Sequence[str], config_dir: str | None, more: Sequence[Path]) -> DictConfig | None:
    """The configuration without one option; None where others are wrong too."""
    try:
        return compose([o for o in overrides if key_of(o) != path], config_dir, more)
    except EvalkitError:
        return None


def nothing_given(path: str) -> EvalkitError:
    """Make the error for a switch of a protocol that has no value."""
    return EvalkitError(f"nothing is given for {path}: start a protocol's YAML with defaults: [musicgen, _self_]")


def _check_names(node: DictConfig, schema: Any, path: str = "") -> None:
    """Raise EvalkitError for a key that the schema does not have: `+KEY=VALUE` adds it nevertheless."""
    hints = get_type_hints(schema)
    for key in map(str, node):
        if key not in hints:
            raise _no_option(f"{path}{key}")
        if dataclasses.is_dataclass(hints[key]) and not OmegaConf.is_missing(node, key):
            _check_names(node[key], hints[key], f"{path}{key}.")


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
    return build(_loaded(path), allow)


def only_node(path: Path) -> Any:
    """Read a YAML that has one component, below its name. Raises EvalkitError for any other."""
    nodes = OmegaConf.to_container(_loaded(path))
    if not isinstance(nodes, dict) or len(nodes) != 1:
        raise EvalkitError(f"'{path}': one name is due at its top, and a component with a _target_ below it")
    return next(iter(nodes.values()))


def _loaded(path: Path) -> Any:
    try:
        return OmegaConf.load(path)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise EvalkitError(f"'{path}' cannot be read: {' '.join(str(error).split())}") from error


def _check_values(target: type, given: Mapping[str, Any]) -> None:
    """Raise EvalkitError for a field that there is not, and for text where a number is due; YAML cannot tell."""
    fields = {field.name for field in dataclasses.fields(target) if field.init}
    if absent := [name for name in given if name not in fields and not re.fullmatch(r"_\w+_", name)]:
        raise unknown(f"option of {target.__name__}", absent[0], fields)
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
    """Raise EvalkitError for a value that no run can use; those of a protocol are checked by `protocol_of`."""
    _check_names(config, Config)
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
        size = engine[name]
        require(size is None or 1 <= size <= MAX_BATCH, f"engine.{name}={size}: must be between 1 and {MAX_BATCH:,}")
    workers = engine.workers
    require(
        workers == "auto" or (type(workers) is int and 1 <= workers <= MAX_WORKERS),
        f"engine.workers={workers}: must be a whole number from 1 to {MAX_WORKERS:,}, or auto for all GPUs",
    )
    require(
        engine.address is None or engine.launcher is Launcher.ray,
        f"engine.address={engine.address} is that of a Ray cluster: set engine.launcher=ray too, or leave it out",
    )
    require(
        engine.launcher is not Launcher.ray or workers != 1,
        "engine.launcher=ray is for several workers: set engine.workers to 2 or more, or to auto for all GPUs there",
    )
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
    require(
        1 <= samples <= MAX_SAMPLES,
        f"sampling.samples_per_prompt={samples}: must be between 1 and {MAX_SAMPLES}, which of all of MusicCaps "
        "would be 552,100 clips, a terabyte",
    )
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
        uncertainty.resamples == 0 or 100 <= uncertainty.resamples <= MAX_RESAMPLES,
        f"uncertainty.resamples={uncertainty.resamples}: must be between 100 and {MAX_RESAMPLES:,}, or 0 for no "
        "intervals",
    )
    require(0 < uncertainty.level < 1, f"uncertainty.level={uncertainty.level:g}: must be between 0 and 1")
    require(uncertainty.seed >= 0, f"uncertainty.seed={uncertainty.seed}: must not be negative")
    name = config.name
    require(
        name is None or re.fullmatch(r"[\w.+-]*\w[\w.+-]*", name), f"name={name}: use letters, digits and -_.+ only"
    )
