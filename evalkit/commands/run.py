"""Generate clips, measure them, and print the table.

evalkit run model=NAME prompts=NAME [OPTION=VALUE ...] [-m]
            [--config-dir DIR] [--format NAME] [--json] [--quiet]

A Hydra application, so that multirun and launchers work.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import os
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit import commands
from evalkit.commands import INCOMPLETE, described, fail, lacking, one_line_errors, parse, parser_for, show, tell_where
from evalkit.errors import EvalkitError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(arguments: list[str]) -> None:
    """Run `evalkit run`."""
    from hydra._internal.utils import get_args_parser  # here, because completion does not wait for it

    from evalkit.config import compose, prepared

    asked = {"-h", "--help"} & set(arguments)
    own, arguments = ours().parse_known_args([a for a in arguments if a not in ("-h", "--help")])
    commands.obey(own)
    parser = get_args_parser()
    parser.prog = "evalkit run"
    parsed = parse(parser, arguments)
    if asked:
        print(options(parsed.config_dir, parsed.overrides))
        return
    if parsed.config_path or parsed.config_name:
        raise EvalkitError("the base is always evalkit's own config.yaml: use --config-dir DIR for your YAMLs")
    flags = [argument for argument in arguments if argument not in parsed.overrides]
    given = [*parsed.overrides, *own.options]
    overrides = prepared(given, parsed.config_dir)
    # otherwise Hydra prints errors itself, in several lines
    os.environ["HYDRA_FULL_ERROR"] = "1"
    if parsed.multirun:
        sweep(given, parsed.config_dir, ["evalkit run", *flags, *overrides], own.format)
    else:
        config = compose(given, parsed.config_dir)
        plain = not {*flags} - {"--config-dir", "-cd", parsed.config_dir, f"--config-dir={parsed.config_dir}"}
        hydras = any(re.match(r"[+~]*hydra\b", override) for override in overrides)
        once(["evalkit run", *flags, *overrides], config if plain and not hydras else None, own.format)


def ours() -> argparse.ArgumentParser:
    """Make the parser of what Hydra does not know; `options` are those that these stand for."""
    found = argparse.ArgumentParser("evalkit run", add_help=False, allow_abbrev=False)
    found.error = lambda message: fail(f"{message}: see 'evalkit run --help'")  # type: ignore[method-assign]
    commands.prints_table(found)
    commands.shows_progress(found)
    found.set_defaults(options=[])
    return found


def parser() -> argparse.ArgumentParser:
    """Make a parser that describes the command; Hydra's own, which knows more, is the one that parses."""
    found = parser_for("run", __doc__)
    commands.takes_options(found, "an option of the run; 'evalkit run --help' lists them")
    found.add_argument("--multirun", "-m", action="store_true", help="run every combination of values given as A,B,C")
    found.add_argument("--cfg", "-c", choices=["job", "hydra", "all"], help="print the configuration, and run nothing")
    found.add_argument("--package", "-p", metavar="NAME", help="of --cfg: only this part, such as sampling")
    found.add_argument("--resolve", action="store_true", help="of --cfg: with values in place of what refers to them")
    commands.prints_table(found)
    commands.shows_progress(found)
    return found


def application(task: Callable[[DictConfig], None], arguments: list[str]) -> None:
    """Run a task as a Hydra application, with these arguments."""
    import hydra

    from evalkit.settings import conf_dir

    sys.argv = arguments
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(task)()


def once(arguments: list[str], config: DictConfig | None = None, form: str = commands.TERMINAL) -> None:
    """Make one run, and print its table: of a configuration, or of what Hydra composes from the arguments."""
    incomplete: list[str] = []

    def job(config: DictConfig) -> None:
        from evalkit.pipeline import evaluate  # here, because importing torch takes seconds: mistakes are told at once

        with one_line_errors():  # here, because Hydra adds lines of its own to an exception of a job
            result = evaluate(config)
            show(result.document(), form)
            tell_where("result", result)
            incomplete.extend(lacking(result))

    if config is None:
        application(job, arguments)
    else:  # Hydra would compose it twice more, to the same
        sys.argv = arguments
        job(config)
    if incomplete:
        fail("; ".join(incomplete), INCOMPLETE)


def sweep(overrides: list[str], config_dir: str | None, arguments: list[str], form: str = commands.TERMINAL) -> None:
    """Make the runs of a sweep, each in a job of Hydra, and print the record of them all."""
    from evalkit.config import in_quotes
    from evalkit.sweeping import multirun, points  # here, because importing torch takes seconds

    begun = multirun.begin(overrides, config_dir)
    failed: Exception | None = None
    try:
        try:
            application(multirun.measure, [*arguments, f"hydra.sweep.dir={in_quotes(str(begun.points))}"])
        except Exception as error:  # whatever a launcher raises: what its jobs have measured is there
            failed = error
        made = multirun.end(begun, failed)
    finally:
        points.discard(begun.folder)
    show(made.sweep.document(), form)
    tell_where("sweep", made.sweep)
    if made.incomplete:
        fail(made.incomplete, INCOMPLETE)


# the groups that are no options by themselves; those that are have their description in `Config`
GROUPS = {
    "experiment": "a whole configuration under one name, such as the example that needs no files",
    "stems": "what separates a melody from the rest first: +stems@model.NAME.stems=htdemucs",
}
HIDDEN = ("published", "encoder", "slice", "gate", "listening")  # no groups to select from

SELECTED = """\
The options of each model, prompt set, metric and so on stand in its YAML. `evalkit run model=folder prompts=table
--help` shows those of the ones that are selected: each is set as model.folder.path=VALUE, prompts.first=VALUE,
metric.NAME.KEY=VALUE."""


def options(config_dir: str | None, overrides: list[str]) -> str:
    """List what can be selected and set, from the YAMLs, the user's too, and the descriptions of the schema."""
    from evalkit.config import Config, prepared
    from evalkit.settings import Engine, Sampling, Uncertainty, conf_dir

    prepared([], config_dir)  # refuses a folder that cannot be used
    own = Path(config_dir) if config_dir else None
    call, summary = described(__doc__)
    lines = [f"usage: {call}", "", summary, ""]
    lines += _wrapped("-m (--multirun) runs every combination of values given as A,B,C, with any Hydra launcher.", "")
    lines += _wrapped("--config-dir DIR adds a folder of your own YAMLs; with it, this help lists them too.", "")
    lines += _wrapped("--format NAME prints the table in another form, --json as JSON; --quiet shows no progress.", "")
    lines += ["", "groups, selected by name (GROUP=NAME; model, metric, calibration also =[A,B]):"]
    about = attributes(Config)
    for group in sorted({p.name for p in conf_dir().iterdir() if p.is_dir()} - set(HIDDEN)):
        lines += [f"  {group}=", *_wrapped(about.get(group) or GROUPS[group]), *_names(conf_dir(), group)]
        lines += _names(own, group, f"in {config_dir}: ")
    lines += ["", "options, with their defaults:"]
    schemas = {"": Config, "sampling.": Sampling, "engine.": Engine, "uncertainty.": Uncertainty}
    for prefix, schema in schemas.items():
        about = attributes(schema)
        for field in dataclasses.fields(schema):
            if field.name == "config_dir" or (conf_dir() / field.name).is_dir() or f"{field.name}." in schemas:
                continue
            default = [] if field.default is dataclasses.MISSING else getattr(field.default, "value", field.default)
            shown = default if isinstance(default, str) else json.dumps(default)
            lines += [f"  {prefix}{field.name}={shown}", *_wrapped(about[field.name])]
            if field.name == "slices":
                lines += [*_names(conf_dir(), "slice"), *_names(own, "slice", f"in {config_dir}: ")]
    lines += ["", *_wrapped(" ".join(SELECTED.split()), "")]
    for override in overrides:
        group, _, names = override.partition("=")
        for name in re.findall(r"[\w-]+", names) if (conf_dir() / group).is_dir() else []:
            found = [p for folder in (conf_dir(), own) if folder and (p := folder / group / f"{name}.yaml").is_file()]
            for path in found:
                lines += ["", f"{group}={name}", *(f"  {line}" for line in path.read_text("utf-8").splitlines())]
    return "\n".join(lines)


def attributes(schema: type) -> dict[str, str]:
    """What the docstring of a dataclass says of each of its fields."""
    found: dict[str, str] = {}
    for line in (inspect.getdoc(schema) or "").partition("\nAttributes:\n")[2].splitlines():
        if match := re.fullmatch(r"    (\w+): (.*)", line):
            found[match[1]] = match[2]
        elif found:
            found[list(found)[-1]] += f" {line.strip()}"
    return found


def _names(folder: Path | None, group: str, before: str = "") -> list[str]:
    names = sorted(path.stem for path in (folder / group).glob("*.yaml")) if folder else []
    return _wrapped(before + ", ".join(names)) if names else []


def _wrapped(text: str, indent: str = "      ") -> list[str]:
    return textwrap.wrap(
        text, 80, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
