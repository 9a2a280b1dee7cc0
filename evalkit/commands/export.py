"""Write what a record says, or its plots, in a form for elsewhere, such as a paper, or send it to a tracker.

evalkit export RESULT --to model-index [--row NAME] [--source-url URL] [--output FILE]
evalkit export RECORD --to latex|markdown|csv|json|junit|plots|limits [--json] [--output PLACE]
evalkit export RECORD --to tensorboard|mlflow|wandb|trackio [--project NAME] [--output PLACE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from evalkit.commands import OneOf, fail, parse, parser_for
from evalkit.errors import EvalkitError

MODEL_INDEX, PLOTS, LIMITS = "model-index", "plots", "limits"
NOT_FOR_FILES = ("terminal",)  # forms


def main(arguments: list[str]) -> None:
    """Run `evalkit export`."""
    from evalkit import trackers

    parsed = parse(parser(), arguments)
    if parsed.to is None:
        fail("give the form, as in --to latex: see 'evalkit export --help'")
    if parsed.to in trackers.names():
        send(parsed)
        return
    if parsed.project is not None:
        raise EvalkitError(f"--project is for a tracker, such as --to {trackers.names()[0]}: leave it out")
    if parsed.to == PLOTS:
        plots(parsed)
        return
    text = exported(parsed)
    if parsed.output is None:
        print(text, end="")
        return
    from evalkit.store.files import write_output

    target = Path(parsed.output).expanduser().absolute()
    if parsed.to in (MODEL_INDEX, LIMITS):
        require_no_card(target)
    if target.is_dir():
        raise EvalkitError(f"--output {target}: a folder is there: name a file")
    write_output(target, text)
    print(f"exported: {target}", file=sys.stderr)


def forms() -> list[str]:
    """What a record can be written as."""
    from evalkit.report import formats

    return [MODEL_INDEX, PLOTS, LIMITS, *(name for name in formats() if name not in NOT_FOR_FILES)]


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    from evalkit import trackers

    found = parser_for("export", __doc__)
    found.add_argument("result", metavar="RECORD", help="a folder that evalkit made, RESULT::ROW for one of its models")
    own, others = forms(), trackers.names()
    found.add_argument(
        "--to",
        metavar="NAME",
        type=OneOf("form", (*own, *others)),
        help=f"a form ({', '.join(own)}) or a tracker ({', '.join(others)})",
    )
    found.add_argument("--json", action="store_const", const="json", dest="to", help="the same as --to json")
    found.add_argument("--row", metavar="NAME", help=f"the model of a {MODEL_INDEX}, where the result has several")
    found.add_argument("--source-url", metavar="URL", help=f"where a {MODEL_INDEX} says that the result can be read")
    found.add_argument(
        "--project", "--experiment", metavar="NAME", help="under which a tracker keeps it; evalkit by default"
    )
    found.add_argument(
        "--output",
        metavar="PLACE",
        help="the file that is written, over what is there but no model card; the folder of plots or of a tracker, or "
        "MLflow's URI",
    )
    return found


def send(asked: argparse.Namespace) -> None:
    """Send a record to a tracker, and say where it can be seen."""
    from evalkit import trackers  # here, because pandas takes a second
    from evalkit.results.loading import load

    if asked.row or asked.source_url:
        raise EvalkitError(f"--row and --source-url are for --to {MODEL_INDEX}: leave them out")
    options = {"project": asked.project, "output": asked.output}
    tracker = trackers.tracker(asked.to, **{name: value for name, value in options.items() if value is not None})
    print(f"sent to {trackers.send(load(asked.result), tracker)}", file=sys.stderr)


def exported(asked: argparse.Namespace) -> str:
    """Write what is asked for as text, and say on stderr what had to be left out of it."""
    from evalkit.report import renderer  # here, because pandas takes a second
    from evalkit.results.loading import load, with_row
    from evalkit.results.result import Result

    folder, row = with_row(asked.result)
    if row and asked.row and row != asked.row:
        raise EvalkitError(f"{asked.result} and --row {asked.row} are two models: name one")
    row = row or asked.row or ""
    if asked.to != MODEL_INDEX:
        if row or asked.source_url:
            raise EvalkitError(f"--row, ::ROW and --source-url are for --to {MODEL_INDEX}: leave them out")
        if asked.to == LIMITS:
            return limits(folder)
        return renderer(asked.to)(load(folder).document())
    from evalkit.results.model_index import model_index

    record = load(folder)
    if not isinstance(record, Result):
        raise EvalkitError(f"'{folder}' is no result of a run: a {MODEL_INDEX} is of one model's scores")
    text, left_out = model_index(record, row, asked.source_url or "")
    for line in left_out:
        print(f"evalkit: {line}", file=sys.stderr)
    return text


def limits(folder: str) -> str:
    """Write the limits of a record's models as Markdown for a model card."""
    from evalkit.results.limits import found, text
    from evalkit.results.loading import load
    from evalkit.results.result import Result
    from evalkit.results.sweep import Sweep

    record = load(folder)
    own = found.limits(record) if isinstance(record, (Result, Sweep)) else []
    if not own:
        raise EvalkitError(
            f"'{folder}' was not made to measure limits: make one with evalkit run experiment=card_limits model=NAME"
        )
    return text.markdown(own)


def plots(asked: argparse.Namespace) -> None:
    """Draw the plots of a record into a folder, as PNG and as SVG."""
    from evalkit.page import drawn  # here, because pandas takes a second
    from evalkit.page.view import view
    from evalkit.results.loading import load, with_row
    from evalkit.results.plots import files

    folder, row = with_row(asked.result)
    if row or asked.row or asked.source_url:
        raise EvalkitError(f"--row, ::ROW and --source-url are for --to {MODEL_INDEX}: leave them out")
    if asked.output is None:
        raise EvalkitError(f"--to {PLOTS} makes several files: name a folder with --output")
    target = Path(asked.output).expanduser().absolute()
    if target.exists() and not target.is_dir():
        raise EvalkitError(f"--output {target}: a file is there: name a folder")
    written: list[Path] = []
    for one in drawn.plots(view([load(folder)], target)):
        if isinstance(one, str):
            print(f"evalkit: {one}", file=sys.stderr)
        else:
            written += files.write([one], target)
    if not written:
        raise EvalkitError(f"'{folder}' has nothing to draw")
    for path in written:
        print(f"exported: {path}", file=sys.stderr)


def require_no_card(path: Path) -> None:
    """Raise EvalkitError for a file with more than metadata, such as a model card, which would be lost."""
    from evalkit.results.model_index import EDGE

    if path.is_file() and path.read_text("utf-8", errors="replace").rpartition(EDGE)[2].strip():
        raise EvalkitError(
            f"--output {path}: a text is there, such as a model card: write to another file, and copy the metadata"
        )
