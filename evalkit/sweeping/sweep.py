"""A sweep in this process: options in, the record of every point out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from evalkit.config import compose
from evalkit.filling.workers import workers_of
from evalkit.pipeline import logging_to
from evalkit.progress import silenced
from evalkit.results.comparable import SHARE
from evalkit.results.pairing import Side
from evalkit.results.sweep_points import Point, Rung, best_point
from evalkit.store.runs import RunFolder
from evalkit.sweeping import points as each
from evalkit.sweeping import race as racing
from evalkit.sweeping.checking import Asked, Checked, alike, check
from evalkit.sweeping.finishing import Confirmed, Made, finish
from evalkit.sweeping.grid import Grid
from evalkit.sweeping.points import FOLDER
from evalkit.sweeping.search import Search

FRESH = 1_000_003  # from the sampling seed of a sweep to the one on which its winner is measured again
CONFIRMATION = "confirmation"
STUDY = "study.db"

Options = Mapping[str, Any]  # a value for each parameter, by its key


def make(overrides: Sequence[str], asked: Asked, config_dir: str | None = None) -> Made:
    """Measure every point, and write the record of them.

    A point that fails is a row with its reason, and the others go on. What was measured is in the cache, so that a
    sweep that was stopped goes on where the same options are given again, and ends in the same record. Raises
    EvalkitError for what can be known to be wrong before the first point, and where none could be measured.
    """
    checked = check(overrides, asked, config_dir)
    folder = RunFolder(checked.plan.output_dir, checked.name)
    work = _Points(checked, folder, config_dir)
    try:
        (folder.path / FOLDER).mkdir()
        if asked.race:
            work.race(asked.race)
        else:
            work.search(asked)
        confirmed, remarks = work.confirm() if asked.confirm else (None, [])
        if checked.default is None:
            remarks = [f"no point is the default: {checked.reason}", *remarks]
        return finish(
            folder.path, checked.name, checked.plan, work.keys, work.points, checked.objectives, default=work.default,
            defaults=checked.default, search=asked.search, facts=work.facts, confirmed=confirmed, rungs=work.rungs,
            remarks=remarks, unconfirmed=work.unconfirmed,
        )  # fmt: skip
    finally:
        each.discard(folder)


class _Points:
    """The points of a sweep, measured one after the other.

    Attributes:
        options: of each point that was begun, the default's first.
        points: what came of them, in the same order.
        rungs: of a race.
        facts: of a search.
        unconfirmed: why the winner could not be measured again, where that failed.
    """

    def __init__(self, checked: Checked, folder: RunFolder, config_dir: str | None):
        self.checked, self.folder, self.config_dir = checked, folder.path, config_dir
        self._place = folder
        self.options: list[Options] = []
        self.points: list[Point] = []
        self.rungs: list[Rung] = []
        self.facts: Mapping[str, Any] = {}
        self._ahead: dict[int, each.Outcome] = {}  # what workers have measured, by number
        self.unconfirmed = ""
        self.keys = [parameter.key for parameter in checked.space.parameters]
        self.default = None if checked.default is None else 1
        self.allow = [str(package) for package in checked.plan.config["allow_targets"]]

    def config(self, options: Options) -> DictConfig:
        """The configuration of a point; the default's is that where nothing is swept."""
        swept = {} if options is self.checked.default else options
        return compose(self.checked.space.options(swept), self.config_dir)

    def measured(self, number: int, options: Options, config: DictConfig, total: int | None, name: str = "") -> Point:
        """Measure a point, and tell what came of it."""
        found = self._ahead.pop(number, None)
        if found is None or not alike(found.options, options):
            found = each.measure(config, self.folder / FOLDER, number, options, name)
        self.tell(found, f"point {number}" + (f" of {total}" if total else ""))
        (side,) = found.sides
        return Point(options, side, "ok" if side else "failed", found.error)

    def ahead(self, points: Mapping[int, each.Point]) -> None:
        """Have points measured side by side, if there are workers; `measured` finds what came of them."""
        plan, quiet = self.checked.plan, self.checked.plan.engine.quiet
        with workers_of(plan.engine, plan.cache.root) as workers:
            if workers is None or len(points) < 2:
                return
            with silenced(quiet), logging_to(self._place, on_screen=not quiet):
                found = each.measure_with(workers, self.folder / FOLDER, points)
                self._ahead = dict(zip(points, found, strict=True))

    def tell(self, found: each.Outcome, what: str) -> None:
        """Print what came of a point, unless that is not wanted."""
        if not self.checked.plan.config["engine"]["quiet"]:
            each.tell(found, f"{what} ({self.checked.space.said(found.options)})", self.checked.objectives)

    def grid(self) -> list[Options]:
        """Every combination, the default first."""
        default = self.checked.default
        found = [one for one in self.checked.space.combinations() if default is None or not alike(one, default)]
        return [*found] if default is None else [default, *found]

    def search(self, asked: Asked) -> None:
        """Measure what a search asks for, and the default before all else."""
        total = len(self.grid()) if asked.search == "grid" else None
        search = self.searching(asked)
        try:
            if self.checked.default is not None:
                self.add(self.checked.default, total)
            if asked.search == "grid":  # whose points do not depend on what was measured before
                others = self.grid()[len(self.options) :]
                numbers = range(len(self.options) + 1, len(self.options) + 1 + len(others))
                self.ahead({n: each.Point(self.config(o), o) for n, o in zip(numbers, others, strict=True)})
            while (options := search.ask()) is not None:
                number = self.number(options) or self.add(options, total)
                point = self.points[number - 1]
                search.tell(options, self.values(point), point.reason)
            self.facts = dict(search.facts)
        finally:
            search.close()

    def searching(self, asked: Asked) -> Search:
        """The search that is asked for. Raises EvalkitError where it cannot work."""
        checked = self.checked
        if asked.search == "grid":
            return Grid(checked.space)
        from evalkit.sweeping.tpe import Tpe  # here, because it needs a package of an extra

        return Tpe(
            checked.space,
            checked.objectives,
            asked.trials or 0,
            asked.study or self.folder / STUDY,
            seed=checked.plan.sampling.seed,
            default=checked.default,
            base=checked.plan.config,
        )

    def number(self, options: Options) -> int | None:
        """The number of a point, if it was measured already."""
        return next((n for n, one in enumerate(self.options, 1) if alike(one, options)), None)

    def add(self, options: Options, total: int | None) -> int:
        """Measure one more point, and give its number."""
        number = len(self.options) + 1
        self.points.append(self.measured(number, options, self.config(options), total))
        self.options.append(options)
        return number

    def values(self, point: Point) -> list[float] | None:
        """The objectives of a point; None where one is missing."""
        if point.side is None:
            return None
        scores = point.side.record.scores
        own = scores[scores["model"] == point.side.row].set_index("metric")["value"]
        values = [float(own.get(objective.metric, math.nan)) for objective in self.checked.objectives]
        return values if all(map(math.isfinite, values)) else None

    def race(self, sizes: Sequence[int]) -> None:
        """Measure the grid on more and more prompts, and leave out those that others beat."""
        self.options = self.grid()
        total, uncertainty = len(self.options), self.checked.plan.uncertainty

        def point(number: int, chosen: Sequence[str] | None) -> each.Point:
            options = self.options[number - 1]
            config = self.config(options)
            if chosen is None:
                return each.Point(config, options)
            config.prompts.ids = list(chosen)
            # what is asked of all prompts need not be so of a part of them
            config.min_references, config.slices = 0.0, []
            for narrower in ("languages", "aspects", "random", "first"):  # the ids are what these have left
                if narrower in config.prompts:
                    config.prompts[narrower] = None
            return each.Point(config, options, f"{number:03d}-on-{len(chosen)}-prompts")

        def measure(number: int, chosen: Sequence[str] | None) -> Point:
            asked = point(number, chosen)
            return self.measured(number, asked.options, asked.config, total, asked.name)

        def ahead(numbers: Sequence[int], chosen: Sequence[str] | None) -> None:
            self.ahead({number: point(number, chosen) for number in numbers})

        found, self.rungs = racing.run(
            range(1, total + 1), measure, self.checked.ids, sizes, self.checked.objectives, default=self.default,
            samples=self.checked.plan.sampling.samples_per_prompt, level=uncertainty.level, seed=uncertainty.seed,
            allow=self.allow, ahead=ahead,
        )  # fmt: skip
        self.points = [found[number] for number in range(1, total + 1)]

    def confirm(self) -> tuple[Confirmed | None, list[str]]:
        """Measure the default and the winner again on a fresh seed; where that cannot be, say why."""
        if self.default is None or self.points[0].side is None:
            return None, []
        winner = best_point(self.points, self.checked.objectives[0], self.default, self.allow)
        if winner is None or winner == self.default:
            return None, []
        if "sampling.seed" in self.keys:
            return None, ["sampling.seed is swept itself: the winner was not measured again on a fresh one"]
        seed = int(self.checked.plan.sampling.seed) + FRESH
        sides: dict[str, Side] = {}
        for name, number in (("default", self.default), ("winner", winner)):
            config = self.config(self.options[number - 1])
            config.sampling.seed = seed
            found = each.run(config, self.folder / CONFIRMATION / name, self.options[number - 1])
            self.tell(found, f"the {name} on seed {seed}")
            before, (side,) = self.points[number - 1].side, found.sides
            if side is None:
                self.unconfirmed = f"the {name} could not be measured again on seed {seed}: {found.error}"
                return None, [self.unconfirmed]
            if before is not None and (same := _same_clips(before, side)) > SHARE:
                return None, [
                    f"seed {seed} makes the same clips for {same:.0%} of the prompts: nothing could be confirmed on it"
                ]
            sides[name] = side
        return Confirmed(seed=seed, **sides), []


def _same_clips(before: Side, after: Side) -> float:
    """The share of clips that are the same on another seed, among those that are no digital silence on both."""
    clips = before.clips.merge(after.clips, on=["id", "sample"], suffixes=("", "_after"))
    same = clips["sha256"] == clips["sha256_after"]
    silent = same & clips["note"].str.contains("digital silence", regex=False)
    return float(same[~silent].mean()) if len(clips) > silent.sum() else 1.0
