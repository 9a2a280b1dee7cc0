"""The command line, and the one place where an EvalkitError becomes one line on stderr."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

USAGE = """\
evalkit: evaluate text-to-music models against their published numbers

usage:
  evalkit run model=NAME prompts=NAME [OPTION=VALUE ...]     generate, measure, print the table
  evalkit fetch [--list] model=NAME prompts=NAME [...]       bring every file that run needs into the cache
  evalkit table RESULT RESULT ... [--across-protocols]       several results in one table
  evalkit convert CHECKPOINT FOLDER [OPTION=VALUE ...]       a checkpoint of audiocraft in transformers' layout
  evalkit --help | --version

examples:
  evalkit run experiment=demo
  evalkit run model=musicgen_small prompts=musiccaps prompts.references=CLIPS_FOLDER
  evalkit run 'model=[musicgen_small,musicgen_medium]' prompts=musiccaps_balanced 'metric=[fad,kld]'
  evalkit run -m protocol=musicgen,fadtk model=musicgen_small prompts=musiccaps prompts.references=CLIPS_FOLDER
  evalkit run model=folder model.folder.path=MY_CLIPS prompts=table prompts.path=MY_PROMPTS.csv

`evalkit run --help` lists every group and option; --config-dir DIR adds your own YAMLs."""


def main() -> None:
    """Run the command that the arguments name."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may not know an arrow
    command, *rest = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help", "help"):
        print(USAGE)
    elif command == "--version":
        from evalkit import __version__

        print(f"evalkit {__version__}")
    elif command in COMMANDS:
        with one_line_errors():
            COMMANDS[command](rest)
    else:
        from evalkit.errors import unknown

        fail(str(unknown("command", command, COMMANDS)))


def fail(message: str) -> NoReturn:
    """Print one line and exit with status 2, which no bug in Python exits with."""
    print("evalkit: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(2)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn every mistake of the user inside the block into one line."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from evalkit.config import explain
    from evalkit.errors import EvalkitError

    try:
        yield
    except EvalkitError as error:
        fail(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        fail(str(explain(error)))
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        fail(f"'{error.filename}': {error.strerror or error}")
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the impatient press twice
        fail("interrupted; what was finished is kept, the same command goes on from there")


def parse(parser: argparse.ArgumentParser, arguments: list[str], command: str) -> argparse.Namespace:
    """Parse options in any order, with one line for what is wrong with them."""
    parser.error = lambda message: fail(f"{message}: see 'evalkit {command} --help'")  # type: ignore[method-assign]
    return parser.parse_intermixed_args(arguments)


def options() -> str:
    """List what can be selected and set, from the YAMLs and the schema."""
    import dataclasses

    from omegaconf import MISSING

    from evalkit.calibration import rows as calibration
    from evalkit.config import Config, conf_dir
    from evalkit.prompts import slices
    from evalkit.settings import Engine, Sampling, Uncertainty

    lines = ["evalkit run GROUP=NAME ... OPTION=VALUE ...   (Hydra syntax; -m sweeps over lists)", "", "groups:"]
    for folder in sorted(p for p in conf_dir().iterdir() if p.is_dir() and p.name not in ("published", "encoder")):
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
        f"  slices=[]   of {', '.join(slices.KINDS)}, tag:NAME, label:NAME",
        f"  calibration=[]   of {', '.join(calibration.ROWS)}",
        "  allow_targets=[]   packages of your own whose components may be built",
    ]
    return "\n".join(lines)


def run(arguments: list[str]) -> None:
    """`evalkit run`: a Hydra application, so that multirun and launchers work."""
    if {"-h", "--help"} & set(arguments):
        print(options())
        return
    import hydra
    from hydra._internal.utils import get_args_parser
    from omegaconf import DictConfig

    from evalkit.config import compose, conf_dir, own_folder, quoted
    from evalkit.errors import EvalkitError

    parsed = parse(get_args_parser(), arguments, "run")
    flags = [argument for argument in arguments if argument not in parsed.overrides]
    parsed.overrides = [quoted(override) for override in parsed.overrides]
    if not parsed.multirun:  # a sweep has values that no single run can have
        compose(parsed.overrides, parsed.config_dir)
    if parsed.config_dir:
        parsed.overrides.append(own_folder(parsed.config_dir))
    # otherwise Hydra prints errors itself, in several lines
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = ["evalkit run", *flags, *parsed.overrides]

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
    def job(config: DictConfig) -> None:
        from evalkit.pipeline import evaluate

        with one_line_errors():  # here, because Hydra adds lines of its own to an exception of a job
            result = evaluate(config)
            result.print()
            done.append(result.path)

    done: list[Path] = []  # stays empty where a launcher runs the jobs elsewhere
    job()
    if len(done) > 1:
        try:
            _table(done, across_protocols=True, markdown=False)
        except EvalkitError as error:  # the results are there, each with its own table
            print(f"no common table: {error}", file=sys.stderr)


def table(arguments: list[str]) -> None:
    """`evalkit table`: several results in one table."""
    parser = argparse.ArgumentParser("evalkit table", description=table.__doc__)
    parser.add_argument("results", nargs="+", metavar="RESULT", help="a folder that evalkit run made")
    parser.add_argument("--across-protocols", action="store_true", help="also results of different protocols")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parsed = parse(parser, arguments, "table")
    _table([Path(folder) for folder in parsed.results], parsed.across_protocols, parsed.markdown)


def _table(folders: list[Path], across_protocols: bool, markdown: bool) -> None:
    from evalkit.report.joined import join
    from evalkit.report.markdown import joined_to_markdown
    from evalkit.report.terminal import joined_to_rich

    joined = join(folders, across_protocols)
    if markdown:
        print(joined_to_markdown(joined), end="")
    else:
        joined_to_rich(joined)


def fetch(arguments: list[str]) -> None:
    """`evalkit fetch`: bring what a configuration needs into the cache, and list where it lies."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from evalkit.commands import fetch
    from evalkit.config import compose

    parser = argparse.ArgumentParser("evalkit fetch", description=fetch.__doc__)
    parser.add_argument("--list", action="store_true", help="only say what is needed and where it lies")
    parser.add_argument("--config-dir", metavar="DIR", help="a folder of your own YAMLs")
    parser.add_argument("options", nargs="*", help="the options of evalkit run")
    parsed = parse(parser, arguments, "fetch")
    config = compose(parsed.options, parsed.config_dir)
    if not parsed.list:
        fetch.fetch(config)
    frame = fetch.listing(config)
    if frame.empty:
        print("nothing to fetch: this configuration needs no file from elsewhere")
        return
    console = Console()
    if not console.is_terminal:
        print(frame.to_csv(sep="\t", index=False, na_rep="?"), end="")
        return
    table = Table(*(Column(name, overflow="fold") for name in frame.columns))
    for row in frame.astype(object).where(frame.notna(), "?").itertuples(index=False):
        table.add_row(*(escape(str(value)) for value in row))
    console.print(table)


def convert(arguments: list[str]) -> None:
    """`evalkit convert`: save a checkpoint of audiocraft in the layout of transformers."""
    import dataclasses

    from evalkit.commands.convert import convert as write
    from evalkit.config import build, compose
    from evalkit.store.cache import Cache

    parser = argparse.ArgumentParser("evalkit convert", description=convert.__doc__)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="what audiocraft wrote: a folder or a file")
    parser.add_argument(
        "folder", metavar="FOLDER", help="a new folder, for transformers and model.NAME.checkpoint.path"
    )
    parser.add_argument("options", nargs="*", help="the options of evalkit run, such as model.audiocraft.encodec=null")
    parsed = parse(parser, arguments, "convert")
    config = compose(["model=audiocraft", "prompts=demo", *parsed.options])  # prompts: compose wants some
    model = build(config.model.audiocraft, list(config.allow_targets))
    write(dataclasses.replace(model, path=parsed.checkpoint), Path(parsed.folder), Cache(config.cache_dir))
    print(f"written: evalkit run model=musicgen_small model.musicgen_small.checkpoint.path='{parsed.folder}'")


COMMANDS = {"run": run, "fetch": fetch, "table": table, "convert": convert}

if __name__ == "__main__":
    main()
