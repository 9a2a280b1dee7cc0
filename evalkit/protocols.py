"""Which protocol a run follows, and in what it differs from the one that it names."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from evalkit.assets import Asset, assets_of
from evalkit.config import build, compose, conf_dirs, nothing_given, yamls
from evalkit.errors import EvalkitError, unknown
from evalkit.metrics import Metric
from evalkit.settings import PROTOCOL_NAME, Protocol, conf_dir
from evalkit.store.cache import Cache


def protocol_of(config: DictConfig) -> Protocol:
    """The protocol of a configuration. Raises EvalkitError for a switch without a value or with one that cannot be."""
    if absent := sorted(OmegaConf.missing_keys(config.protocol)):
        raise nothing_given(f"protocol.{absent[0]}")
    protocol = OmegaConf.to_object(config.protocol)
    assert isinstance(protocol, Protocol)
    rate, loudness, length = protocol.sample_rate, protocol.generated_loudness, protocol.pair_length
    for fits, message in (
        (PROTOCOL_NAME.fullmatch(protocol.name), f"name={protocol.name}: must be a name of letters, digits and _.-"),
        (
            rate is None or 8000 <= rate <= 192000,
            f"sample_rate={rate}: must be a rate in Hz, from 8000 to 192000, or null for each file's own",
        ),
        (
            loudness is None or -70 < loudness <= 0,
            f"generated_loudness={loudness}: must be null or between -70 and 0 LUFS",
        ),
        (length in ("common", "own"), f"pair_length={length}: must be common or own"),
        (
            length == "own" or not protocol.distinct_references,
            "distinct_references=true: a reference that is cut to each clip's length is another one for each: set "
            "protocol.pair_length=own, or distinct_references to false",
        ),
    ):
        if not fits:
            raise EvalkitError(f"protocol.{message}")
    return protocol


def seconds_compared(protocol: Protocol, duration: float, whole: bool = False) -> float:
    """How much of references counts at most, in seconds.

    Args:
        duration: of generated clips, in seconds.
        whole: whether all counts that a caption is about, whatever clips last.
    """
    return math.inf if whole or protocol.pair_length == "own" else duration


def followed(
    config: DictConfig,
    metrics: Mapping[str, Metric],
    cache: Cache,
    given: Collection[str] = (),
    references: str = "",
) -> tuple[dict[str, str], list[str]]:
    """The protocol that each metric follows, and what was changed in it.

    That is the name of the configuration's protocol, marked where a run departs from it: "(changed)" where a
    switch or a weight file is another than that of the protocol's YAML, the metric another than that of its own YAML,
    or references are transformed that it compares with; "(extended)" where the protocol does not define the metric,
    which is then computed from what the protocol makes of the clips. Random weights are no change, because they are
    announced by themselves.

    Args:
        given: the metrics that were made in Python, not from the configuration.
        references: what is done to references before anything is compared with them; empty for nothing.
    """
    protocol = protocol_of(config)
    name, own = protocol.name, _own_protocols(config)
    if not _is_shipped(name) and name not in own:
        raise EvalkitError(f"protocol.name={name}: {unknown('protocol', name, yamls(config, 'protocol'))}")
    shipped = _metrics_in(conf_dir())
    files = [file for file, held in shipped.items() if held & metrics.keys()]
    if name in own:  # which may define metrics of the user's
        held = set().union(*shipped.values(), *_metrics_in(Path(config.config_dir)).values())
        for metric in protocol.defines:
            if metric not in held:
                raise EvalkitError(f"protocol {name}: defines: {unknown('metric', metric, held)}")
        defined, taken = metrics.keys() & set(protocol.defines), set().union(*shipped.values())
        files += [f for f, held in _metrics_in(Path(config.config_dir)).items() if held & defined and not held & taken]
    seed = "null" if config.random_weights is None else config.random_weights
    standard = _standard(name, config, f"metric=[{','.join(files)}]", f"random_weights={seed}")
    switches = list(_differences(protocol, protocol_of(standard)))

    def mark(metric: str) -> str:
        known = metric in standard.metric
        if known and metric in given:
            altered = not _same(metrics[metric], build(standard.metric[metric]), cache)
        else:
            altered = known and _switches(standard.metric[metric]) != _switches(config.metric[metric])
        other = metrics[metric].reference_encoder
        altered |= bool(references) and other is not None and other.reads == "audio"
        if switches or altered or not all(asset.published(cache) for asset in assets_of(metrics[metric])):
            return f"{name} (changed)"
        return name if known and metric in protocol.defines else f"{name} (extended)"

    return {metric: mark(metric) for metric in metrics}, [*switches, *([references] if references else [])]


def remarks(config: DictConfig) -> Iterator[str]:
    """What a reader of scores must know about their protocol, one sentence each.

    That is what a user's own protocol changes in the one that it is derived from.
    """
    own, name = _own_protocols(config), str(config.protocol.name)
    while name in own:
        parent = own[name]
        ours, theirs = (protocol_of(_standard(each, config, "metric=[]")) for each in (name, parent))
        changed = "; ".join(_differences(ours, theirs, besides=("name", "derived_from"))) or "nothing"
        yield f"changed in the protocol {parent} by {name}, which is derived from it: {changed}"
        name = parent


def _standard(name: str, config: DictConfig, *options: str) -> DictConfig:
    """The configuration of an unchanged protocol, which must not be changed."""
    files = [path for folder in conf_dirs(config) for path in sorted(folder.rglob("*.yaml"))]
    written = tuple((path, path.stat().st_mtime_ns) for path in files)
    return _composed(("model=synth", "prompts=demo", f"protocol={name}", *options), config.config_dir, written)


@functools.lru_cache(maxsize=64)  # all points of a sweep follow a few protocols
def _composed(options: tuple[str, ...], config_dir: str | None, written: tuple[tuple[Path, int], ...]) -> DictConfig:
    """Compose a configuration of YAMLs that were written at these times."""
    return compose(options, config_dir)


def _is_shipped(name: str) -> bool:
    return (conf_dir() / "protocol" / f"{name}.yaml").is_file()


def _own_protocols(config: DictConfig) -> dict[str, str]:
    """The protocols of the user's folder that a configuration follows, each with the one that it is derived from.

    What is wrong with other files of that folder does not matter. Raises EvalkitError for a protocol that does not
    say its name, or that is not derived, in the end, from evalkit's.
    """
    parents: dict[str, str] = {}
    problems: dict[str, EvalkitError] = {}
    folder = [] if config.config_dir is None else sorted((Path(config.config_dir) / "protocol").glob("*.yaml"))
    for path in folder:
        try:
            node = _read(path)
        except EvalkitError as error:
            problems[path.stem] = error
            continue
        if problem := _problem(path, node):
            problems[path.stem] = EvalkitError(f"'{path}': {problem}")
            if node.get("name") != path.stem and _is_from(path.stem, config):
                raise problems[path.stem]
        else:
            parents[path.stem] = str(node["derived_from"])
    name = str(config.protocol.name)
    followed: dict[str, str] = {}
    while not _is_shipped(name):
        if name in problems:
            raise problems[name]
        if name in followed:
            raise EvalkitError(f"protocol {name}: derived from itself: derived_from must lead to one of evalkit's")
        if name not in parents:
            if not followed:
                break
            known = yamls(config, "protocol")
            raise EvalkitError(f"protocol {list(followed)[-1]}: derived_from: {unknown('protocol', name, known)}")
        followed[name] = parents[name]
        name = parents[name]
    return followed


def _is_from(file: str, config: DictConfig) -> bool:
    """Whether a configuration has the protocol of a YAML, by whatever name."""
    try:
        return bool(_standard(file, config, "metric=[]").protocol == config.protocol)
    except EvalkitError:
        return False


def _problem(path: Path, node: dict[str, Any]) -> str:
    """What is wrong with a protocol of the user's, if anything is."""
    if not PROTOCOL_NAME.fullmatch(path.stem) or path.stem == "unknown":  # published numbers of no known protocol
        return "a protocol cannot have this name: use letters, digits and _.-"
    if node.get("name") != path.stem:
        return f"a protocol has the name of its file: set name: {path.stem}"
    if not node.get("derived_from"):
        return "set derived_from to the protocol that it starts from, such as musicgen"
    if any(not isinstance(d, str) or {"/", "@"} & set(d) for d in node.get("defaults") or []):
        return "the defaults of a protocol are protocols and _self_, and nothing else"
    return ""


def _metrics_in(folder: Path) -> dict[str, set[str]]:
    """The names of the metrics in each YAML of a folder of YAMLs: one may hold several."""
    files = sorted((folder / "metric").glob("*.yaml"))
    return {path.stem: set(_keys(path, path.read_bytes())) - {"defaults"} for path in files}


@functools.lru_cache(maxsize=256)  # every plan asks, and a sweep makes one for each of its points
def _keys(path: Path, content: bytes) -> frozenset[str]:
    """The keys of a YAML, which holds this content."""
    return frozenset(_read(path))


def _read(path: Path) -> dict[str, Any]:
    """A YAML as it is written. Raises EvalkitError where it is no mapping."""
    try:
        node = OmegaConf.to_container(OmegaConf.load(path))
    except (OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        raise EvalkitError(f"'{path}': {' '.join(str(error).split())}") from error
    if not isinstance(node, dict):
        raise EvalkitError(f"'{path}': must hold keys with values")
    return {str(key): value for key, value in node.items()}


def _differences(ours: Protocol, theirs: Protocol, besides: Collection[str] = ()) -> Iterator[str]:
    """Name the switches in which two protocols differ, such as "vggish.hop 0.96, not 0.5"."""

    def compared(own: Any, other: Any, path: str) -> Iterator[str]:
        if isinstance(own, dict):
            for key in own:
                if path or key not in besides:
                    yield from compared(own[key], other[key], f"{path}{key}.")
        elif own != other:
            yield f"{path[:-1]} {_shown(own)}, not {_shown(other)}"

    return compared(dataclasses.asdict(ours), dataclasses.asdict(theirs), "")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return "null" if value is None else str(value)


def _switches(node: Any) -> Any:
    """A metric's node without the places of its files."""
    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if isinstance(plain, dict):
        return {key: _switches(value) for key, value in plain.items() if key != "path"}
    return plain


def _same(ours: Any, theirs: Any, cache: Cache) -> bool:
    """Whether a component that was made in Python computes what that of a YAML does; random weights are no change."""
    if isinstance(ours, Asset) and isinstance(theirs, Asset):
        if ours.path:  # the file need not say of itself what the published one is
            return dataclasses.replace(theirs, path=ours.path, random_seed=None).published(cache)
        return ours.random or (ours.url, ours.repo, ours.revision) == (theirs.url, theirs.repo, theirs.revision)
    if dataclasses.is_dataclass(ours):
        names = [f.name for f in dataclasses.fields(ours)]
        return type(ours) is type(theirs) and all(_same(getattr(ours, n), getattr(theirs, n), cache) for n in names)
    return bool(ours == theirs)
