"""A sweep whose points are jobs of Hydra, in this process or wherever a launcher runs them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from evalkit.errors import EvalkitError, reason
from evalkit.plan import Plan
from evalkit.results.record import MetricInfo
from evalkit.results.sweep_points import Point
from evalkit.scoring.rows import ready
from evalkit.store.cache import Cache
from evalkit.store.known import known_digests
from evalkit.store.runs import RunFolder
from evalkit.sweeping import points as each
from evalkit.sweeping.checking import alike, configured, default_of, ends, name_of, objectives_of
from evalkit.sweeping.finishing import Made, finish
from evalkit.sweeping.points import FOLDER, Outcome
from evalkit.sweeping.space import Space, read

NOT_RUN = "it ended without a result: the log of what ran it says why"


@dataclass(frozen=True)
class Begun:
    """A sweep that is about to be run by Hydra.

    Attributes:
        folder: of the sweep.
        plan: of its first point.
        default: the value of each parameter where nothing is swept; None where that cannot be run, for the reason.
    """

    folder: RunFolder
    name: str
    space: Space
    plan: Plan
    default: Mapping[str, Any] | None
    reason: str

    @property
    def points(self) -> Path:
        """The folder of the points, which is what Hydra calls the folder of the sweep."""
        return self.folder.path / FOLDER


def begin(overrides: Sequence[str], config_dir: str | None) -> Begun:
    """Check every point as far as a run checks itself, and make the folder of the sweep.

    Which points a sweeper other than Hydra's own will choose is not known: of these, one is checked. Raises
    EvalkitError that names the first point which cannot be run.
    """
    for option in overrides:
        if option.lstrip("+").startswith("hydra.sweep.dir"):
            raise EvalkitError(f"'{option}': the folder of a sweep is made in output_dir: use output_dir=DIR")
    space = read(overrides, config_dir)
    others = ("hydra/sweeper=", "hydra.sweeper._target_=")
    known = not any(option.lstrip("+~").startswith(others) for option in overrides)
    tried = space.combinations() if known else [next(ends(space))]
    configs = configured(space, tried, config_dir)
    default, why = default_of(space, config_dir)
    with known_digests(Cache(configs[0].cache_dir).root):
        plan, _, _ = ready(configs[0])
    name = name_of(configs)
    begun = Begun(RunFolder(plan.output_dir, name), name, space, plan, default, why)
    begun.points.mkdir()
    for number, (point, config) in enumerate(zip(tried, configs, strict=True), 1) if known else ():
        each.write(begun.points, number, Outcome(point, [str(row) for row in config.model], None, NOT_RUN))
    return begun


def measure(config: DictConfig) -> None:
    """Measure the point that a job of Hydra is for."""
    job = HydraConfig.get()
    folder, number = Path(job.sweep.dir), int(job.job.num) + 1
    try:
        options = json.loads(each.file_of(folder, number).read_text("utf-8"))["options"]
    except FileNotFoundError:  # of a point that was not known before
        parsed = OverridesParser.create().parse_overrides([str(option) for option in job.overrides.task])
        options = {option.get_key_element().lstrip("+"): option.value() for option in parsed}
    found = each.measure(config, folder, number, options)
    if not config.engine.quiet:
        metrics = found.result.metrics if found.result is not None else {}
        each.tell(found, f"point {number}", objectives_of(metrics) if metrics else [])


def end(begun: Begun, error: Exception | None = None) -> Made:
    """Write the record of the points that jobs have left.

    Args:
        error: what was raised beside the points, as by a launcher.

    Raises it where no job has left a result.
    """
    found = each.gather(begun.points)
    if error is not None and all(one.result is None and one.error == NOT_RUN for one in found):
        raise error
    several = any(len(one.rows) > 1 for one in found)
    keys = [parameter.key for parameter in begun.space.parameters] or _differing(found)
    points = []
    for one in found:
        own = {key: one.options[key] for key in keys if key in one.options}
        for row, side in zip(one.rows, one.sides, strict=True):
            options = {"model": row, **{key: own[key] for key in own if key != "model"}} if several else own
            points.append(Point(options, side, "ok" if side else "failed", one.error))
    if several:
        keys = ["model", *(key for key in keys if key != "model")]
    remarks = [f"a launcher ended with: {reason(error)}"] if error is not None else []
    default, why = (None, "there are several models") if several else _default(begun, points)
    if default is None:
        remarks.append(f"no point is the default: {why}")
    metrics: dict[str, MetricInfo] = {}
    for one in found:
        metrics |= one.result.metrics if one.result is not None else {}
    return finish(
        begun.folder.path, begun.name, begun.plan, keys, points, objectives_of(metrics, needed=False),
        default=default, defaults=begun.default, remarks=remarks,
    )  # fmt: skip


def _default(begun: Begun, points: Sequence[Point]) -> tuple[int | None, str]:
    """The number of the default among the points, or why it is none of them."""
    if begun.default is None:
        return None, begun.reason
    for number, point in enumerate(points, 1):
        if alike(point.options, begun.default):
            return number, ""
    return None, f"{begun.space.said(begun.default)} was not measured; 'evalkit sweep' always measures it"


def _differing(found: Sequence[Outcome]) -> list[str]:
    """The options that are not the same at all points."""
    every = dict.fromkeys(key for one in found for key in one.options)
    return [key for key in every if any(one.options.get(key) != found[0].options.get(key) for one in found)]
