"""The search by Optuna's tree-structured Parzen estimator: the next point is where good ones have been."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.results.options import UNSEEN, leaves
from evalkit.results.sweep_record import Objective
from evalkit.store.digests import digest
from evalkit.sweeping import study as files
from evalkit.sweeping.space import Space, Swept, same

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

IDENTITY = "evalkit"  # the attribute of a study that says what it is a study of
ERROR = "error"  # that of a trial that failed: one that was stopped has none
REPEATS = "repeats"  # that of a trial whose point was known
STUBBORN = 10  # known points in a row, after which one is drawn that is not known
DIGITS = 4  # of a number from an interval, which people can read and write: Optuna's own has 16
FEW = 100_000  # points of a space that can be listed
NAMED = 2  # differences that a message names

log = logging.getLogger(__name__)

Options = Mapping[str, Any]


@dataclass
class Known:
    """What a study has of a point: its values, or none and why it failed."""

    options: dict[str, Any]
    values: Sequence[float] | None
    error: str


class Tpe:
    """The search that learns from each point, in a study that outlives the process.

    A study that is there already goes on: its points are given first, in their order, and then new ones until there
    are as many as are wanted. Each choice depends on the seed and on the points before alone, so that a search that
    was stopped chooses as it would have. A point that failed counts, and is not chosen again.

    Args:
        trials: points in all, that of the default among them.
        path: the SQLite file of the study.
        default: the value of each parameter where nothing is swept: the first point, if the space holds it.
        base: the configuration without what is swept, as dictionaries: a study of another one does not go on.

    Raises EvalkitError where Optuna is missing, and for a file that is no such study, or one of another space, of
    other objectives or another configuration, or that another sweep uses.
    """

    name = "optuna"

    def __init__(
        self,
        space: Space,
        objectives: Sequence[Objective],
        trials: int,
        path: Path,
        seed: int = 0,
        default: Options | None = None,
        base: Mapping[str, Any] | None = None,
    ):
        files.require()
        self.space, self.trials, self.seed = space, trials, seed
        self._axes = [_Axis(one, (default or {}).get(one.key)) for one in space.parameters]
        self._repeats = 0
        self._differing = 0
        self._exhausted = False
        self._known: dict[str, Known] = {}
        self._trial: Trial | None = None
        self._file = files.StudyFile(path)
        try:
            directions: list[files.Direction] = [
                "maximize" if one.higher_is_better else "minimize" for one in objectives
            ]
            self._study = self._file.study(directions)
            with self._file.storing():
                self._identify(_identity(space, objectives, base or {}))
                inside = default is not None and all(axis.holds(default[axis.key]) for axis in self._axes)
                if default is not None and inside:
                    self._study.enqueue_trial(self._written(default), skip_if_exists=True)
                # the default is a point of the sweep in any case
                self._budget = trials - (default is not None and not inside)
                self._take_over()
        except BaseException:
            self.close()
            raise
        self._left = list(self._known.values())

    @property
    def facts(self) -> Mapping[str, Any]:
        """How points were chosen, and how far the search has come."""
        facts: dict[str, Any] = {
            "sampler": f"TPE of optuna {importlib.metadata.version('optuna')}",
            "seed": self.seed,
            "trials": self.trials,
            "points": len(self._known),
            "repeated": self._repeats,
        }
        if self._exhausted:
            facts["exhausted"] = f"there are no more than {len(self._known):,} points in the space"
        if self._differing:
            facts["differing"] = f"{self._differing:,} points have other values than their study"
        return facts

    def ask(self) -> dict[str, Any] | None:
        """Choose the next point; None where there are enough, and where all that there are are known."""
        if self._left:
            return dict(self._left[0].options)
        if len(self._known) >= self._budget:
            return None
        with self._file.storing():
            in_a_row = 0
            while (size := self._size()) is None or len(self._known) < size:
                self._trial = self._chosen()
                options = self._read(self._trial.params)
                known = self._known.get(_key(options))
                if known is None:
                    return options
                # the sampler must hear of it all the same: it would not stop to choose this point
                self._repeats += 1
                in_a_row += 1
                self._trial.set_user_attr(REPEATS, True)
                self._finish(self._trial, known.values, known.error)
                if in_a_row >= STUBBORN and size is not None:
                    self._study.enqueue_trial(self._written(self._unknown(size)))
        self._exhausted = True
        return None

    def tell(self, options: Options, values: Sequence[float] | None, error: str) -> None:
        """Store what was measured at a point."""
        with self._file.storing():
            if self._left:
                self._again(self._left.pop(0), values)
                return
            if self._trial is None:
                raise ValueError("there is no point to tell of: ask first")
            trial, self._trial = self._trial, None
            self._finish(trial, values, error)
            self._known[_key(options)] = Known(dict(options), values, error)

    def close(self) -> None:
        """Give the study free."""
        self._file.close()

    def _identify(self, identity: dict[str, Any]) -> None:
        """Write what a new study is of, or check that an old one is of the same."""
        before = self._study.user_attrs.get(IDENTITY)
        if before is None:
            if self._study.get_trials(deepcopy=False):
                raise EvalkitError(f"'{self._file.path}' is no study of evalkit: {files.ANOTHER}")
            self._study.set_user_attr(IDENTITY, identity)
            return
        if said := _differences(before, identity):
            raise EvalkitError(
                f"'{self._file.path}' is a study of {said}: give the same options as before, or another file as --study"
            )

    def _take_over(self) -> None:
        """Read the points of the study, and end trials that a stopped process has left: they are to be done again."""
        from optuna.trial import TrialState

        trials = self._study.get_trials(deepcopy=False)
        waiting = [t.system_attrs.get("fixed_params") for t in trials if t.state == TrialState.WAITING]
        for trial in trials:
            if trial.state == TrialState.RUNNING:
                # of one that was stopped while it was chosen some values are missing: it is chosen again
                params = trial.system_attrs.get("fixed_params") or trial.params
                if len(params) == len(self._axes) and params not in waiting and REPEATS not in trial.user_attrs:
                    self._study.enqueue_trial(params)
                self._study.tell(trial.number, state=TrialState.FAIL)
            elif trial.state == TrialState.COMPLETE or ERROR in trial.user_attrs:
                self._repeats += REPEATS in trial.user_attrs
                self._remember(trial)

    def _remember(self, trial: FrozenTrial) -> None:
        options = self._read(trial.params)
        values = list(trial.values) if trial.values else None
        before = self._known.get(_key(options))
        if before is None or before.values is None:  # what failed once may have been measured later
            error = str(trial.user_attrs.get(ERROR, ""))
            if before is None:
                self._known[_key(options)] = Known(options, values, error)
            else:
                before.values, before.error = values, error

    def _again(self, known: Known, values: Sequence[float] | None) -> None:
        """Hear what was measured at a point that the study has."""
        import optuna

        if values is None:
            return
        if known.values is None:
            distributions = {axis.key: axis.distribution for axis in self._axes}
            params = self._written(known.options)
            self._study.add_trial(
                optuna.trial.create_trial(params=params, distributions=distributions, values=list(values))
            )
            known.values, known.error = list(values), ""
        elif not np.allclose(known.values, values, rtol=1e-6, atol=0):
            self._differing += 1
            log.warning("%s: %s in the study, and %s now", self.space.said(known.options), known.values, values)

    def _chosen(self) -> Trial:
        """Let the sampler choose, as it does after as many trials, in whatever process they were made."""
        import optuna

        states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL)
        before = self._study.get_trials(deepcopy=False, states=states)
        number = sum(trial.state == states[0] or ERROR in trial.user_attrs for trial in before)
        self._study.sampler = optuna.samplers.TPESampler(seed=zlib.crc32(f"{self.seed}/{number}".encode()))
        return self._study.ask({axis.key: axis.distribution for axis in self._axes})

    def _finish(self, trial: Trial, values: Sequence[float] | None, error: str) -> None:
        from optuna.trial import TrialState

        if values is None:
            trial.set_user_attr(ERROR, error or "an objective has no value")
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, list(values))

    def _size(self) -> int | None:
        """How many points the space has; None where there is no end of them."""
        sizes = [axis.size for axis in self._axes]
        return None if None in sizes else math.prod(size for size in sizes if size is not None)

    def _unknown(self, size: int) -> dict[str, Any]:
        """Draw a point that is not known, each with the same probability."""
        rng = np.random.default_rng([abs(self.seed), len(self._known), self._repeats])
        sizes = [axis.size or 1 for axis in self._axes]

        def at(number: int) -> dict[str, Any]:
            places = np.unravel_index(number, sizes)
            return {axis.key: axis.value(int(place)) for axis, place in zip(self._axes, places, strict=True)}

        if size <= FEW:
            left = [number for number in range(size) if _key(at(number)) not in self._known]
            return at(int(rng.choice(left)))
        while True:  # nearly all are unknown
            found = at(int(rng.integers(size)))
            if _key(found) not in self._known:
                return found

    def _written(self, options: Options) -> dict[str, Any]:
        return {axis.key: axis.written(options[axis.key]) for axis in self._axes}

    def _read(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {axis.key: axis.read(params[axis.key]) for axis in self._axes}


class _Axis:
    """A parameter as Optuna has it.

    Args:
        usual: its value at the default.
    """

    def __init__(self, parameter: Swept, usual: Any):
        from optuna import distributions

        self.key, self._parameter, self._values = parameter.key, parameter, parameter.values
        self.usual = usual
        self.distribution: BaseDistribution
        low, high = parameter.low, parameter.high
        if parameter.kind == "choices" or low is None or high is None:
            self._names = _names(parameter.values)
            self.distribution = distributions.CategoricalDistribution(self._names)
        elif parameter.kind == "integers":
            step = int(parameter.step or 1)
            self.distribution = distributions.IntDistribution(int(low), int(high), log=parameter.log, step=step)
        else:
            self.distribution = distributions.FloatDistribution(low, high, log=parameter.log, step=parameter.step)

    @property
    def size(self) -> int | None:
        """How many values there are; None where any number may be taken."""
        if self._values:
            return len(self._values)
        low, high = self._parameter.low, self._parameter.high
        return int(high) - int(low) + 1 if self._parameter.kind == "integers" and low is not None and high else None

    def value(self, number: int) -> Any:
        """One of the values, by its place."""
        return self._values[number] if self._values else int(self._parameter.low or 0) + number

    def holds(self, value: Any) -> bool:
        """Whether a value is one of those that may be chosen."""
        if self._values:
            return self._place(value) is not None
        low, high = self._parameter.low, self._parameter.high
        if isinstance(value, bool) or not isinstance(value, (int, float)) or low is None or high is None:
            return False
        return low <= value <= high and (self._parameter.kind == "floats" or float(value).is_integer())

    def written(self, value: Any) -> Any:
        """A value as the study has it."""
        if self._parameter.kind == "choices":
            return self._names[self._place(value) or 0]
        return int(value) if self._parameter.kind == "integers" else float(value)

    def read(self, written: Any) -> Any:
        """A value from how the study has it."""
        if self._parameter.kind == "choices":
            return self._values[self._names.index(written)]
        if self._values:  # a step is not exact: the value that was meant is the nearest one
            return min(self._values, key=lambda value: abs(value - written))
        if self._parameter.kind == "integers":
            return int(written)
        if written == self.usual or self._parameter.low is None or self._parameter.high is None:
            return written  # the default is what it is
        return min(max(float(f"{written:.{DIGITS}g}"), self._parameter.low), self._parameter.high)

    def _place(self, value: Any) -> int | None:
        """The place of a value among those that there are."""
        return next((number for number, one in enumerate(self._values) if same(one, value)), None)


def _names(values: Sequence[Any]) -> list[Any]:
    """What the study calls values: as they are, unless Optuna takes them for one another or knows no such type."""
    plain = all(value is None or isinstance(value, (bool, int, float, str)) for value in values)
    apart = all(one != other for i, one in enumerate(values) for other in values[:i])
    return list(values) if plain and apart else [json.dumps(value, sort_keys=True, default=str) for value in values]


def _key(options: Options) -> str:
    """The same text for points of the same values: 3 is 3.0, and true is not 1."""
    plain = {key: float(v) if isinstance(v, int) and not isinstance(v, bool) else v for key, v in options.items()}
    return json.dumps(plain, sort_keys=True, default=str)


def _identity(space: Space, objectives: Sequence[Objective], base: Mapping[str, Any]) -> dict[str, Any]:
    """What a study is of, as JSON has it."""
    swept = {parameter.key for parameter in space.parameters}
    hidden = (*(name for name in UNSEEN if name != "prompts"), *swept)
    options = {
        key: value
        for key, value in leaves(base)
        if not any(key == other or key.startswith(f"{other}.") for other in hidden)
    }
    identity = {
        "evalkit": importlib.metadata.version("evalkit"),
        "space": {
            p.key: {"text": p.text, "kind": p.kind, "values": list(p.values), "low": p.low, "high": p.high,
                    "step": p.step, "log": p.log}
            for p in space.parameters
        },
        "objectives": {one.metric: "higher" if one.higher_is_better else "lower" for one in objectives},
        "options": options,
        "digest": digest(json.loads(json.dumps(options, default=str))),  # for people and other programs
    }  # fmt: skip
    plain: dict[str, Any] = json.loads(json.dumps(identity, default=str))
    return plain


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say of what else a study is; empty where it is of the same. An option that is null may as well not be there."""

    def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
        return [key for key in {**old, **new} if old.get(key) != new.get(key)]

    spaces = [{key: {**found, "text": ""} for key, found in one.get("space", {}).items()} for one in (before, now)]
    if keys := differing(*spaces):
        old, new = ({key: found["text"] for key, found in one.get("space", {}).items()} for one in (before, now))
        return f"another space ({_named(old, new, keys)})"
    if list(before.get("objectives", {}).items()) != list(now["objectives"].items()):
        return f"other objectives ({', '.join(before.get('objectives', {}))}, and not {', '.join(now['objectives'])})"
    if keys := differing(old := before.get("options", {}), new := now["options"]):
        return f"other options ({_named(old, new, keys)})"
    return ""


def _named(before: Mapping[str, Any], now: Mapping[str, Any], keys: Sequence[str]) -> str:
    said = [f"{key} was {_said(before, key)}, and is {_said(now, key)}" for key in keys[:NAMED]]
    return "; ".join(said) + (f"; {len(keys) - NAMED:,} more differ" if len(keys) > NAMED else "")


def _said(values: Mapping[str, Any], key: str) -> str:
    return f"{values[key]}" if values.get(key) is not None else "null" if key in values else "not there"
