"""Two sides, each made or loaded, compared; the record of it is saved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from evalkit import pipeline
from evalkit.config import only_node
from evalkit.errors import EvalkitError, unknown
from evalkit.page.writing import write_at_the_end
from evalkit.plan import tracker_of
from evalkit.progress import silenced
from evalkit.results import compare as reading
from evalkit.results import gate, pairing
from evalkit.results.comparison import Comparison
from evalkit.results.folders import MANIFEST
from evalkit.results.loading import with_row
from evalkit.results.result import Result
from evalkit.settings import conf_dir
from evalkit.sharing import OptionsFile
from evalkit.store.runs import RunFolder
from evalkit.trackers import Tracker, tell

OUTPUT = "results/comparisons"  # where the folders of comparisons are made
LISTED = 20  # results that a message names

Given = Result | str | Path


@dataclass(frozen=True)
class Part:
    """One result of a side: a finished one, or the file of options of one that is to be made.

    Attributes:
        row: which of its rows; None for its only model.
    """

    source: Result | OptionsFile
    row: str | None

    @property
    def place(self) -> str:
        """Where it lies, with its row."""
        return f"{self.source.path.resolve()}" + (f"::{self.row}" if self.row else "")


def compare(
    baseline: Given | Sequence[Given],
    candidate: Given | Sequence[Given],
    gate_file: str | Path | None = None,
    *,
    allow_random: bool = False,
    common_prompts: bool = False,
    config_dir: str | None = None,
    output_dir: str | Path = OUTPUT,
    allow: Sequence[str] = (),
    trackers: Sequence[str] = (),
    report: bool = False,
    quiet: bool = False,
) -> Comparison:
    """Compare a candidate with a baseline under a gate, after the runs that a side still needs.

    All files are read, and all runs are checked, before the first of them. What they made is kept whatever comes of
    the comparison. Raises EvalkitError for what cannot be read, run or compared.

    Args:
        baseline, candidate: one or several of: a result, its folder, "RESULT::ROW", a file of options.
        gate_file: None for the gate that comes with evalkit.
        output_dir: where the folder of the comparison is made.
        allow: packages whose metrics may be computed again, and whose trackers may be used.
        trackers: what the comparison is sent to, by the names of their YAMLs.
        report: write the page of the comparison into its folder.
        quiet: show no progress of the runs.
    """
    told = {name: tracker_named(name, config_dir, allow) for name in trackers}
    chosen = gate.load(Path(gate_file) if gate_file is not None else None)
    more = ["engine.quiet=true"] if quiet else []
    sides = [parts(side, name, more) for name, side in (("baseline", baseline), ("candidate", candidate))]
    configs = configured(sides, config_dir)
    pairs = [[*zip(side, own, strict=True)] for side, own in zip(sides, configs, strict=True)]
    gate.check(chosen, [name for side in pairs for part, config in side for name in metrics_of(part, config)])
    before, after = ([finished(part, config) for part, config in side] for side in pairs)
    targets = [str(package) for side in configs for config in side if config for package in config.allow_targets]
    comparison = reading.compare(before, after, chosen, allow_random, common_prompts, [*allow, *targets])
    saved = comparison.save(RunFolder(output_dir, f"{after[0].row[:60]}-vs-{before[0].row[:60]}").path)
    with silenced(quiet):
        if report:
            write_at_the_end(saved)
        tell(saved, told)
    return saved


def tracker_named(name: str, config_dir: str | None, allow: Sequence[str]) -> Tracker:
    """Build the tracker of a YAML, evalkit's or the user's.

    Raises EvalkitError for one that there is not, and where nothing can be sent to it.
    """
    folders = [conf_dir(), *([Path(config_dir)] if config_dir is not None else [])]
    found = {path.stem: path for folder in folders for path in sorted((folder / "tracker").glob("*.yaml"))}
    if name not in found:
        raise unknown("tracker", name, found)
    return tracker_of(name, only_node(found[name]), list(allow))


def parts(side: Given | Sequence[Given], name: str, more: Sequence[str] = ()) -> list[Part]:
    """Read what a side is given as. Raises EvalkitError for what is neither a result nor a file of options.

    Args:
        name: "baseline" or "candidate".
        more: options that go before those of each file.
    """
    if isinstance(side, str) and not Path(side).expanduser().exists():
        side = side.split(",")
    found = [opened(one, more) for one in ([side] if isinstance(side, (str, Path, Result)) else side)]
    if not found:
        raise EvalkitError(f"no {name} is given: give the folder of a result, or a file of options")
    places = [part.place for part in found]
    if twice := [place for place in places if places.count(place) > 1]:
        raise EvalkitError(f"the {name} has '{twice[0]}' twice: several results of a side must be of runs of their own")
    return found


def opened(one: Given, more: Sequence[str]) -> Part:
    """Load a result, or read a file of options, with the row that is asked for behind "::"."""
    if isinstance(one, Result):
        return _with_row(one, None)
    text, row = with_row(str(one))
    path = Path(text).expanduser()
    if not text or not path.exists():
        raise EvalkitError(f"'{text}' does not exist: give the folder of a result, or a file of options of evalkit run")
    if path.is_file() and path.suffix != ".zip":
        return Part(OptionsFile.read(path, more), row or None)
    if len(inside := results_in(path)) > 1:
        listed = ",".join(map(str, inside[:LISTED])) + (",…" if len(inside) > LISTED else "")
        raise EvalkitError(f"'{path}' holds {len(inside)} results: give one, or several with commas: {listed}")
    return _with_row(Result.load(path), row or None)


def _with_row(result: Result, row: str | None) -> Part:
    """Raise EvalkitError for a row that the result does not have, or where none is asked for and it has several."""
    return Part(result, pairing.side(result, row).row)


def results_in(folder: Path) -> list[Path]:
    """The results that lie in a folder which is none itself, as the points of a sweep do; their names are in order."""
    if not folder.is_dir() or (folder / MANIFEST).is_file():
        return []
    manifests = sorted(path for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{MANIFEST}"))
    return [path.parent for path in manifests if json.loads(path.read_text("utf-8")).get("kind") == "result"]


def configured(sides: Sequence[Sequence[Part]], config_dir: str | None) -> list[list[DictConfig | None]]:
    """Compose and check the configurations of the runs that are to be made; None for a finished result.

    What a file does not say is as in the first finished result of the other side, or of its own; where there is none,
    as in the baseline's first file.
    """
    first: dict[str, Any] | None = None
    found: list[list[DictConfig | None]] = []
    for number, side in enumerate(sides):
        done = [part for part in [*sides[1 - number], *side] if isinstance(part.source, Result)]
        configs: list[DictConfig | None] = []
        for part in side:
            if isinstance(part.source, Result):
                configs.append(None)
                continue
            base = shared_by(done[0]) if done else first
            config = part.source.configured(base, config_dir, partial(check, row=part.row))
            if first is None:
                first = of_row(OmegaConf.to_container(config, resolve=True, enum_to_str=True), part.row)
            configs.append(config)
        found.append(configs)
    return found


def shared_by(part: Part) -> dict[str, Any]:
    """The configuration of a finished result, but for what is only of the machine and the trust of whoever made it.

    Raises EvalkitError for two folders, of which the candidate's clips are part of the prompts.
    """
    result = part.source
    assert isinstance(result, Result)
    if result.prompts_info.form != "prompts":
        raise EvalkitError(f"'{result.path}' compares two folders: make the other side with evalkit score too")
    own = ("cache_dir", "allow_targets")
    return of_row({key: value for key, value in result.config.items() if key not in own}, part.row)


def of_row(config: Any, row: str | None) -> dict[str, Any]:
    """A configuration with no other model than that of one row; with none where the row is one of calibration."""
    models = config["model"]
    return {**config, "model": models if row is None else {row: models[row]} if row in models else {}}


def check(config: DictConfig, row: str | None) -> None:
    """Check a run, and that its table will have the row. Raises EvalkitError for what cannot be."""
    models = [str(name) for name in config.model]
    if row is None and len(models) > 1:
        raise EvalkitError(f"it runs {', '.join(models)}: say which of them to compare, as in FILE::{models[0]}")
    if row is not None and row not in models and not config.calibration:
        raise unknown("row", row, models)
    pipeline.check(config)


def metrics_of(part: Part, config: DictConfig | None) -> list[str]:
    """The names of the metrics that a result has, or will have."""
    if config is not None:
        return [str(name) for name in config.metric]
    assert isinstance(part.source, Result)
    return list(part.source.metrics)


def finished(part: Part, config: DictConfig | None) -> pairing.Side:
    """Take a finished result, or run the configuration of one."""
    result = part.source if config is None else pipeline.evaluate(config)
    assert isinstance(result, Result)
    return pairing.side(result, part.row)
