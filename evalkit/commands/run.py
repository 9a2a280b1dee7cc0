"""Generate clips, measure them, and print the table.

evalkit run model=NAME prompts=NAME [OPTION=VALUE ...]

A Hydra application, so that multirun and launchers work.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import MISSING, DictConfig

from evalkit.calibration import rows as calibration
from evalkit.commands import described, one_line_errors, parse, table
from evalkit.config import Config, compose, conf_dir, prepared
from evalkit.errors import EvalkitError
from evalkit.settings import Engine, Sampling, Uncertainty


def main(arguments: list[str]) -> None:
    """Run `evalkit run`."""
    if {"-h", "--help"} & set(arguments):
        print(options())
        return
    parser = get_args_parser()
    parser.prog = "evalkit run"
    parsed = parse(parser, arguments)
    if parsed.config_path or parsed.config_name:
        raise EvalkitError("the base is always evalkit's own config.yaml: use --config-dir DIR for your YAMLs")
    flags = [argument for argument in arguments if argument not in parsed.overrides]
    overrides = prepared(parsed.overrides, parsed.config_dir)
    if not parsed.multirun:  # a sweep has values that no single run can have
        compose(parsed.overrides, parsed.config_dir)
    # otherwise Hydra prints errors itself, in several lines
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = ["evalkit run", *flags, *overrides]

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
    def job(config: DictConfig) -> None:
        from evalkit.pipeline import evaluate  # here, because importing torch takes seconds: mistakes are told at once

        with one_line_errors():  # here, because Hydra adds lines of its own to an exception of a job
            result = evaluate(config)
            result.print()
            done.append(result.path)

    done: list[Path] = []  # stays empty where a launcher runs the jobs elsewhere
    job()
    if len(done) > 1:
        try:
            table.show(done, across_protocols=True)
        except EvalkitError as error:  # the results are there, each with its own table
            print(f"no common table: {error}", file=sys.stderr)


def options() -> str:
    """List what can be selected and set, from the YAMLs and the schema."""
    call, summary = described(__doc__)
    lines = [f"usage: {call}   (Hydra syntax; -m sweeps over lists)", "", summary]
    lines += ["--config-dir DIR adds a folder of your own YAMLs.", "", "groups:"]
    hidden = ("published", "encoder", "slice")  # no groups to select from
    for folder in sorted(p for p in conf_dir().iterdir() if p.is_dir() and p.name not in hidden):
        names = sorted(p.stem for p in folder.glob("*.yaml"))
        lines.append(f"  {folder.name}= {', '.join(names)}")
    lines += ["", "options, with their defaults (the YAMLs hold those of each model, prompt set, metric):"]
    for prefix, schema in (
        ("", Config),
        ("sampling.", Sampling),
        ("engine.", Engine),
        ("uncertainty.", Uncertainty),
    ):
        for field in dataclasses.fields(schema):
            if field.default not in (dataclasses.MISSING, MISSING) and field.name != "config_dir":
                value = getattr(field.default, "value", field.default)
                lines.append(f"  {prefix}{field.name}={'null' if value is None else value}")
    lines += [
        f"  slices=[]   of {', '.join(sorted(p.stem for p in (conf_dir() / 'slice').glob('*.yaml')))}; or one tag:NAME",
        f"  calibration=[]   of {', '.join(calibration.ROWS)}",
        "  allow_targets=[]   packages of your own whose components may be built",
    ]
    return "\n".join(lines)
