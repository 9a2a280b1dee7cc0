"""What can be known of a sweep before its first point: which points there are, and that each can be run."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from evalkit import pipeline
from evalkit.config import compose, composing
from evalkit.errors import EvalkitError, unknown
from evalkit.metrics import Metric
from evalkit.plan import Plan, require_clips
from evalkit.results.options import UNSEEN
from evalkit.results.record import MetricInfo
from evalkit.results.sweep_record import Objective
from evalkit.results.sweep_text import GUARDS
from evalkit.scoring.rows import ready
from evalkit.settings import conf_dir
from evalkit.store.cache import Cache
from evalkit.store.known import known_digests
from evalkit.sweeping.space import Space, read, same

SEARCHES = ("grid", "optuna")
OBJECTIVES = ("fad", "kld", "clap_score")  # those of them that are measured are what points are judged by
LEVEL = 0.95  # at which, or above, points are judged
NO_EFFECT = ("uncertainty", *(option for option in UNSEEN if option != "prompts"))
NO_DEFAULT = ("model", "prompts")  # groups of which something must be selected


@dataclass(frozen=True)
class Asked:
    """How the points of a sweep are chosen and judged.

    Attributes:
        search: one of `SEARCHES`.
        trials: number of points of a search that has no end of its own.
        race: sizes of the rungs before the last; empty for no race.
        objectives: metrics by which points are judged, the first for the winner; empty for `OBJECTIVES`.
        margins: by how much a point must be worse in an objective to be dropped from a race.
        study: the file in which a search keeps what it knows; None for one in the sweep's folder.
        confirm: whether the winner is measured again on a fresh seed.
    """

    search: str = "grid"
    trials: int | None = None
    race: Sequence[int] = ()
    objectives: Sequence[str] = ()
    margins: Mapping[str, float] = field(default_factory=dict)
    study: Path | None = None
    confirm: bool = True

    def check(self) -> None:
        """Raise EvalkitError for values of another type, what there is not, and what does not go together."""
        named = isinstance(self.objectives, Sequence) and all(isinstance(name, str) for name in self.objectives)
        for fits, name, given, due in (
            (isinstance(self.search, str), "search", self.search, " or ".join(SEARCHES)),
            (self.trials is None or is_whole(self.trials), "trials", self.trials, "a whole number, such as 20"),
            (named, "objectives", self.objectives, "names of metrics in a list, such as ['fad']"),
            (are_numbers(self.margins), "margins", self.margins, "numbers by metric, such as {'fad': 0.1}"),
        ):
            if not fits:
                raise EvalkitError(f"{name}={given!r}: must be {due}")
        if self.search not in SEARCHES:
            raise unknown("search", self.search, SEARCHES)
        if self.search == "grid":
            for option, value in (("--trials", self.trials), ("--study", self.study)):
                if value is not None:
                    raise EvalkitError(f"{option} is for a search that chooses as it goes: give --search optuna too")
        elif self.race:
            raise EvalkitError("--race drops points of a grid, and --search optuna chooses its own: give one of them")
        elif self.trials is None:
            raise EvalkitError("--search optuna needs --trials N, the number of points in all")
        elif self.trials < 2:
            raise EvalkitError(f"--trials {self.trials}: a sweep has at least 2 points")
        if self.margins and not self.race:
            raise EvalkitError("--margin says by how much a point must be worse to be dropped: give --race too")


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, NumPy's included, and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def are_numbers(values: object) -> bool:
    """Whether values are numbers by name."""
    return isinstance(values, Mapping) and all(
        isinstance(name, str) and isinstance(value, Real) and not isinstance(value, bool)
        for name, value in values.items()
    )


@dataclass(frozen=True)
class Checked:
    """A sweep of which all is known that can be before its first point.

    Attributes:
        name: of the sweep.
        default: the value of each parameter where nothing is swept; None where that is no point.
        reason: why it is none.
        plan: of the default, or else of the first point.
        ids: of its prompts.
        objectives: by which points are judged.
    """

    name: str
    space: Space
    default: Mapping[str, Any] | None
    reason: str
    plan: Plan
    ids: Sequence[str]
    objectives: Sequence[Objective]


def check(overrides: Sequence[str], asked: Asked, config_dir: str | None) -> Checked:
    """Check every point as far as a run checks itself, and add the metrics that guard against collapse.

    Raises EvalkitError for what cannot be run, and for a sweep of fewer than two points.
    """
    asked.check()
    for option in overrides:
        if option.lstrip("+~").startswith(("hydra.", "hydra/")):
            raise EvalkitError(f"'{option}': Hydra's launchers and sweepers are for 'evalkit run -m': leave it out")
    space = read(overrides, config_dir)
    if not space.parameters:
        raise EvalkitError(
            "nothing is swept: give an option several values, such as sampling.top_k=50,250, or an experiment that "
            "does, such as experiment=sweep_guidance"
        )
    for key in (parameter.key for parameter in space.parameters):
        if any(key == one or key.startswith(f"{one}.") for one in NO_EFFECT):
            raise EvalkitError(f"{key} changes no clip and no score: give it one value, and sweep something else")
    tried = space.combinations() if asked.search == "grid" else list(ends(space))
    configs = configured(space, tried, config_dir)
    space = Space(space.parameters, (*space.fixed, *_guards(space, configs[0])))
    default, reason = default_of(space, config_dir)
    config = compose(space.options(tried[0] if default is None else {}), config_dir)
    if several := next((list(one.model) for one in [config, *configs] if len(one.model) > 1), None):
        raise EvalkitError(f"each point is of one model, not of {', '.join(several)}: sweep model={','.join(several)}")
    if len(tried) == 1 and (default is None or alike(tried[0], default)):
        raise EvalkitError(f"the sweep has one point, {space.said(tried[0])}: give more values")
    with known_digests(Cache(config.cache_dir).root):
        plan, prompts, _ = ready(config)
    ids = [prompt.id for prompt in prompts.prompts]
    objectives = objectives_of(plan.metrics, asked.objectives, asked.margins)
    if asked.race:
        check_race(asked.race, plan, ids)
    return Checked(name_of(configs), space, default, reason, plan, ids, objectives)


def configured(space: Space, points: Sequence[Mapping[str, Any]], config_dir: str | None) -> list[DictConfig]:
    """Compose the configurations of points, and check them as far as a run checks itself.

    Raises EvalkitError that names the first point which cannot be run.
    """
    configs = []
    for point in points:
        with _naming(space.said(point)):
            configs.append(compose(space.options(point), config_dir))
    for point, config in zip(points, configs, strict=True):
        with _naming(space.said(point)):
            if config.uncertainty.level < LEVEL:  # else what is said of points would be as weak as anybody likes
                raise EvalkitError(f"uncertainty.level={config.uncertainty.level:g}: a sweep needs {LEVEL:g} or more")
            pipeline.check(config)
    return configs


@contextlib.contextmanager
def _naming(said: str) -> Iterator[None]:
    """Put the values of a point before what is wrong with it."""
    try:
        yield
    except EvalkitError as error:
        text = str(error)
        if said and not text.startswith(f"{said}:"):
            text = f"{said}: {text}"
        raise EvalkitError(f"{text}; nothing was run" if said else text) from error


def ends(space: Space) -> Iterator[dict[str, Any]]:
    """Points that have every value of each list and both ends of each interval; one parameter changes at a time."""
    ends = {p.key: list(p.values) or [p.low, p.high] for p in space.parameters}
    first = {key: values[0] for key, values in ends.items()}
    yield first
    for key, values in ends.items():
        yield from ({**first, key: value} for value in values[1:])


def _guards(space: Space, config: DictConfig) -> list[str]:
    """The options that add the metrics which guard against collapse, unless they are measured or metrics are swept."""
    missing = [name for name in GUARDS if name not in config.metric]
    if not missing or any(parameter.key == "metric" for parameter in space.parameters):
        return []
    measured = compose(["model=synth", "prompts=demo", "metric=[silence,clipping]"]).metric
    found: Any = OmegaConf.to_container(measured, resolve=True)
    return [f"+metric.{name}={Override._get_value_element_as_str(found[name])}" for name in missing]


def name_of(configs: Sequence[DictConfig]) -> str:
    """What a sweep is called: as its options say, or else by the models of its points."""
    return configs[0].name or "_".join(dict.fromkeys(str(model) for config in configs for model in config.model))[:60]


def default_of(space: Space, config_dir: str | None) -> tuple[dict[str, Any] | None, str]:
    """The value of each parameter where nothing is swept, or None and why that is no point."""
    try:
        config = compose(space.options({}), config_dir)
        pipeline.check(config)
    except EvalkitError as error:
        swept = [key for key in NO_DEFAULT if any(parameter.key == key for parameter in space.parameters)]
        return None, f"{swept[0]} is swept, and has none" if swept else str(error)
    node: Any = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    folders = [conf_dir(), *([Path(config_dir)] if config_dir else [])]
    groups = [p.key for p in space.parameters if any((folder / p.key).is_dir() for folder in folders)]
    selected: Mapping[str, Any] = {}
    if groups:
        with composing(config_dir) as loaded:
            selected = loaded.run(space.options({}), hydra_too=True).hydra.runtime.choices
    keys = [parameter.key for parameter in space.parameters]
    return {key: selected.get(key) if key in groups else value_at(node, key) for key in keys}, ""


def value_at(node: Any, key: str) -> Any:
    """The value at a dotted key in nested dictionaries; None where there is none."""
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two points have the same values."""
    return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())


def check_race(sizes: Sequence[int], plan: Plan, ids: Sequence[str]) -> None:
    """Raise EvalkitError for rungs that are no parts of the prompts, or too small for a metric."""
    if sizes[-1] >= len(ids):
        raise EvalkitError(f"--race: {sizes[-1]:,} prompts are no part of the {len(ids):,} that there are")
    if not hasattr(plan.prompts, "ids"):
        raise EvalkitError(f"--race needs prompts with the option ids, which {type(plan.prompts).__name__} has not")
    try:
        require_clips(plan, sizes[0], plan.metrics, "prompts")
    except EvalkitError as error:
        raise EvalkitError(f"--race: the first rung is too small: {error}") from error


def objectives_of(
    metrics: Mapping[str, Metric] | Mapping[str, MetricInfo],
    names: Sequence[str] = (),
    margins: Mapping[str, float] | None = None,
    needed: bool = True,
) -> list[Objective]:
    """The metrics by which points are judged; the first one chooses the winner.

    Args:
        metrics: what is measured.
        names: of the objectives; empty for `OBJECTIVES`.
        needed: whether there must be one.

    Raises EvalkitError for one that is not measured or has no direction, for one that is named twice, for a margin of
    another, and where no metric has a direction.
    """
    directed = {n: metric.higher_is_better for n, metric in metrics.items() if metric.higher_is_better is not None}
    for name in names:
        if name not in metrics:
            raise EvalkitError(f"--objectives: {unknown('metric of the sweep', name, metrics)}")
        if name not in directed:
            raise EvalkitError(f"--objectives: {name} has no direction: neither more nor less of it is better")
        if list(names).count(name) > 1:
            raise EvalkitError(f"--objectives: {name} is named twice")
    chosen = list(names) or [name for name in OBJECTIVES if name in directed] or list(directed)[:1]
    if needed and not chosen:
        raise EvalkitError(f"no metric says which point is better: measure one that does, such as {OBJECTIVES[0]}")
    margins = margins or {}
    for name, margin in margins.items():
        if name not in chosen:
            raise EvalkitError(f"--margin {name}: the objectives are {', '.join(chosen)}: name one of them")
        if not (math.isfinite(margin) and margin >= 0):
            raise EvalkitError(f"--margin {name}={margin:g}: must be 0 or more")
    titles = [metrics[name].title for name in chosen]
    alone = [t if titles.count(t) == 1 else f"{t} ({name})" for name, t in zip(chosen, titles, strict=True)]
    return [
        Objective(name, title, directed[name], float(margins.get(name, 0.0)))
        for name, title in zip(chosen, alone, strict=True)
    ]
