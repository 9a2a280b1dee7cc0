"""From the name of a model to the run that its published numbers ask for."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from evalkit.config import build, compose, conf_dirs, key_of, yamls
from evalkit.errors import EvalkitError
from evalkit.models import Generator
from evalkit.results.published import Published, load_published, require_known
from evalkit.results.reproduced import LEAST_SEEDS
from evalkit.settings import Sampling

GROUPS = ("prompts", "protocol", "metric", "sampling")  # that are composed here, unless an option selects another


@dataclass(frozen=True)
class Reproduction:
    """A run that measures again what a source published for a checkpoint.

    Attributes:
        config: of the run.
        options: those of `evalkit run` that compose it, the user's last.
        name: of the row: the model.
        checkpoint: the hub id that numbers were published for.
        generated: whether the clips are made here, not found.
        published: what one source has of the checkpoint, one per metric; the value is None where it gives none.
        left_out: metrics of the source that evalkit does not compute.
        seeds: clips of each prompt.
    """

    config: DictConfig
    options: tuple[str, ...]
    name: str
    checkpoint: str
    generated: bool
    published: tuple[Published, ...]
    left_out: tuple[str, ...]
    seeds: int

    @property
    def source(self) -> Published:
        """What the source fixes for all metrics alike is read from the first."""
        return self.published[0]


def composed(
    model: str, options: Sequence[str] = (), seeds: int | None = None, config_dir: str | None = None
) -> Reproduction:
    """Compose the run that measures again what was published for a model.

    The source's protocol, prompts, sampling, duration and metrics are taken; an option in `options` wins over them.

    Args:
        model: the name of a YAML in conf/model, or of one of the user's.
        seeds: clips of each prompt; None for 3 of a model that generates, and for 1 of clips that are there.

    Raises EvalkitError for a model that nothing was published for, for what evalkit cannot measure, and for all that is
    wrong with the options.
    """
    if seeds is not None and (not isinstance(seeds, int) or isinstance(seeds, bool)):
        raise EvalkitError(f"seeds={seeds!r}: must be a whole number, such as {LEAST_SEEDS}")
    check_options(model, options)
    own = [option for option in options if not key_of(option).startswith("prompts")]
    config = compose([f"model={model}", "prompts=demo", *own], config_dir)
    name = only_model(model, config)
    component = build(config.model[name], list(config.allow_targets))
    published = load_published(*(folder / "published" for folder in conf_dirs(config)))
    rows = rows_of(component.published, name, published, config)
    generated = isinstance(component, Generator)
    seeds = (LEAST_SEEDS if generated else 1) if seeds is None else seeds
    least = LEAST_SEEDS if generated else 1
    if seeds < least:
        why = ": no verdict can be made of fewer sampling seeds" if generated else ""
        raise EvalkitError(f"--seeds {seeds}: give {least} or more{why}")
    chosen = selected(options)
    source, parts = composable(rows, chosen, config)
    if generated:
        parts |= sampling_of(source[0], name, config)
    kept = [f"{key}={value}" for key, value in parts.items() if key.partition(".")[0] not in chosen]
    asked = (f"model={model}", *kept, f"sampling.samples_per_prompt={seeds}", *options)
    return Reproduction(
        config=compose(list(asked), config_dir),
        options=asked,
        name=name,
        checkpoint=str(component.published),
        generated=generated,
        published=tuple(source),
        left_out=tuple(p.metric for p in source if p.metric not in metric_files(config)),
        seeds=seeds,
    )


def check_options(model: str, options: Sequence[str]) -> None:
    """Raise EvalkitError for options that would compose another run than that of one model."""
    if not isinstance(model, str) or not re.fullmatch(r"[\w.-]+", model):
        raise EvalkitError(f"'{model}': give the name of one model, such as musicgen_small ('evalkit run --help')")
    for option in options:
        key, _, value = option.partition("=")
        if key_of(option) == "model":
            raise EvalkitError(f"'{option}': the model is {model}: leave it out")
        if key_of(option).partition(".")[0] == "references":
            raise EvalkitError(
                f"'{option}': what was published was measured against references as they are; others are an analysis: "
                "use evalkit run, with the same options"
            )
        if key_of(option) == "experiment":
            raise EvalkitError(f"'{option}': the run is composed of what was published: give single options")
        if key_of(option) == "sampling.samples_per_prompt":
            raise EvalkitError(f"'{option}': write --seeds {value or 'N'}")
        if not re.fullmatch(r"[+~]*[\w./@-]+", key):
            raise EvalkitError(f"'{option}' is no option: write KEY=VALUE")


def only_model(model: str, config: DictConfig) -> str:
    """The name of the only row that a model's YAML makes. Raises EvalkitError where it makes several."""
    names = [str(name) for name in config.model]
    if len(names) != 1:
        raise EvalkitError(f"model={model} has {', '.join(names) or 'none'}: reproduce takes one model at a time")
    return names[0]


def rows_of(checkpoint: str | None, name: str, published: Sequence[Published], config: DictConfig) -> list[Published]:
    """What was published for a checkpoint that is given captions alone. Raises EvalkitError where nothing was."""
    ids = {p.model for p in published if p.released and not p.condition}
    rows = [p for p in published if p.model == checkpoint and p.released and not p.condition]
    if rows:
        return rows
    if checkpoint:
        require_known(f"model.{name}.published", checkpoint, published)
    known = [model for model, claimed in _claims(config) if claimed & ids]
    said = f"no numbers were published for {checkpoint}" if checkpoint else f"{name} is taken for no published model"
    settable = not checkpoint and "published" in config.model[name]
    more = f", or set model.{name}.published to the hub id of one with published numbers" if settable else ""
    raise EvalkitError(f"{said}: choose one of {', '.join(known)}{more}")


def _claims(config: DictConfig) -> Iterator[tuple[str, set[str]]]:
    """The hub ids that the YAMLs of models take published numbers of, by the name of the YAML."""
    for name, path in yamls(config, "model").items():
        yield name, {str(node["published"]) for node in _read(path).values() if _is_set(node, "published")}


def _is_set(node: Any, key: str) -> bool:
    return isinstance(node, dict) and node.get(key) is not None


def _read(path: Path) -> dict[str, Any]:
    """A YAML as it is written; nothing for one that is no mapping, of which composing says what is wrong."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def selected(options: Sequence[str]) -> dict[str, str]:
    """The groups that options select by themselves, of those that are composed here."""
    return {key_of(option): option.partition("=")[2] for option in options if key_of(option) in GROUPS}


def composable(
    rows: Sequence[Published], chosen: Mapping[str, str], config: DictConfig
) -> tuple[list[Published], dict[str, str]]:
    """Choose the source whose numbers can be measured again, and give the options that do it.

    One whose numbers can be compared, as duration and sampling are known, goes before others, a document that was read
    before a quote, one that gives numbers before one that names the checkpoint without any, evalkit's before the
    user's. Raises EvalkitError where there is none.

    Args:
        rows: of one checkpoint.
        chosen: groups that the user selects.
    """
    sources: dict[tuple[str, str, str, str, str], list[Published]] = {}
    for p in rows:
        sources.setdefault((p.source, p.url, p.dataset, p.subset, p.protocol), []).append(p)
    problems, found = [], []
    for source in sources.values():
        try:
            found.append((source, dict(options_of(source, chosen, config))))
        except EvalkitError as error:
            problems.append(str(error))
    if not found:
        raise EvalkitError(f"the numbers of {rows[0].model} cannot be measured again: {'; '.join(problems)}")

    def rank(candidate: tuple[list[Published], dict[str, str]]) -> tuple[bool, bool, bool, bool]:
        first, values = candidate[0][0], [p for p in candidate[0] if p.value is not None]
        other = "protocol" in chosen and first.protocol != chosen["protocol"]
        known = any(p.duration is not None and p.sampling is not None for p in values)
        return other, not known, not first.primary, not values

    return min(found, key=rank)


def options_of(source: Sequence[Published], chosen: Mapping[str, str], config: DictConfig) -> Iterator[tuple[str, str]]:
    """The options that make the run of a source. Raises EvalkitError for one that evalkit cannot follow."""
    first = source[0]
    if "prompts" not in chosen:
        yield from prompts_of(first, config)
    if first.protocol not in yamls(config, "protocol") and "protocol" not in chosen:
        raise EvalkitError(f"{first.source}: its protocol is '{first.protocol}', which evalkit does not have")
    yield "protocol", first.protocol
    files = metric_files(config)
    here = dict.fromkeys(files[p.metric] for p in source if p.metric in files)
    if not here and "metric" not in chosen:
        raise EvalkitError(f"{first.source}: evalkit computes none of {', '.join(p.metric for p in source)}")
    yield "metric", f"[{','.join(here)}]"
    if first.duration is not None:
        yield "sampling.duration", f"{first.duration:g}"


def sampling_of(published: Published, name: str, config: DictConfig) -> dict[str, str]:
    """The options that sample as a source did, of all models or of one; of what has no option nothing is said here."""
    fields = {field.name for field in dataclasses.fields(Sampling)}
    found = {}
    for key, value in (published.sampling or {}).items():
        if key in fields or key in config.model[name]:
            found[f"sampling.{key}" if key in fields else f"model.{name}.{key}"] = f"{value}"
    return found


def prompts_of(published: Published, config: DictConfig) -> Iterator[tuple[str, str]]:
    """The options that select the prompts which a number was published for, by the names that YAMLs give them."""
    subset = None
    for name, path in yamls(config, "prompts").items():
        node = _read(path)
        if (node.get("dataset") or name) != published.dataset:
            continue
        if node.get("subset", "all") == published.subset:
            yield "prompts", name
            return
        subset = name if "subset" in node else subset
    if subset is None:
        part = "" if published.subset == "all" else f" with its subset '{published.subset}'"
        raise EvalkitError(
            f"{published.source}: there is no prompt set '{published.dataset}'{part}: select one with prompts=NAME"
        )
    yield "prompts", subset
    yield "prompts.subset", published.subset


def metric_files(config: DictConfig) -> dict[str, str]:
    """The YAML that each metric is selected by: one may hold several."""
    held = [(metric, file) for file, path in yamls(config, "metric").items() for metric in _read(path)]
    return {metric: file for metric, file in held if metric != "defaults"} | {
        metric: file for metric, file in held if metric == file
    }
