"""Compare a candidate with a baseline, prompt by prompt, and say whether it passes a gate.

evalkit compare BASELINE CANDIDATE [--gate FILE] [--junit FILE] [--allow-random] [--common-prompts]
                  [--format NAME] [--json] [--output DIR] [--report] [--tracker NAME] [--config-dir DIR]
                  [--quiet]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from evalkit import commands
from evalkit.commands import parse, parser_for, show, tell_where
from evalkit.errors import EvalkitError
from evalkit.results import REPORT

SIDE = (
    "the folder of a result, RESULT::ROW where it has several rows, or a file with options of 'evalkit run', one a "
    "line: that run is made first, and what the file does not say is as on the other side; several as A,B,C"
)
STATUSES = "exit status: 0 GO, 1 NO-GO, 2 INCONCLUSIVE, 4 where nothing was compared"  # as in evalkit.results.gate


def main(arguments: list[str]) -> None:
    """Run `evalkit compare`."""
    from evalkit.results.gate import MISTAKE  # here, because help need not wait for it

    commands.end(lambda: compared(parse(parser(), arguments, MISTAKE)), MISTAKE)


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    found = parser_for("compare", __doc__)
    found.epilog = STATUSES
    found.add_argument("baseline", metavar="BASELINE", help=SIDE)
    found.add_argument("candidate", metavar="CANDIDATE", help="what is to be judged, given as BASELINE is")
    found.add_argument("--gate", metavar="FILE", help="a YAML of limits; without it the gate that comes with evalkit")
    found.add_argument("--junit", metavar="FILE", help="write the verdicts as JUnit XML, whatever the outcome")
    found.add_argument("--allow-random", action="store_true", help="let random weights be a GO, for trying things out")
    found.add_argument("--common-prompts", action="store_true", help="compare on the prompts that both sides have")
    commands.prints_table(found)
    found.add_argument("--output", metavar="DIR", help="where the folder is made; without it in results/comparisons")
    found.add_argument("--report", action="store_true", help=f"write {REPORT} into that folder")
    found.add_argument(
        "--tracker",
        action="append",
        default=[],
        metavar="NAME",
        help="an experiment tracker to send it to",
    )
    found.add_argument("--config-dir", metavar="DIR", help="a folder of your own YAMLs")
    commands.shows_progress(found)
    return found


def compared(asked: argparse.Namespace) -> int:
    """Compare what is asked for, print it, and return the exit status."""
    from evalkit.comparing import OUTPUT, compare  # here, because importing torch takes seconds
    from evalkit.report import renderer
    from evalkit.results.gate import STATUS
    from evalkit.store.files import write_output

    if asked.junit is not None:
        require_writable(Path(asked.junit))
    comparison = compare(
        asked.baseline,
        asked.candidate,
        asked.gate,
        allow_random=asked.allow_random,
        common_prompts=asked.common_prompts,
        config_dir=asked.config_dir,
        output_dir=asked.output or OUTPUT,
        report=asked.report,
        quiet=asked.quiet,
        trackers=[name for given in asked.tracker for name in given.split(",")],
    )
    document = comparison.document()
    if asked.junit is not None:
        write_output(Path(asked.junit).expanduser().absolute(), renderer("junit")(document))
    show(document, asked.format)
    tell_where("comparison", comparison)
    return STATUS[comparison.outcome]


def require_writable(path: Path) -> None:
    """Raise EvalkitError for a file that cannot be written, before hours are spent on what it is to say."""
    from evalkit.store.files import is_file_or_new

    path = path.expanduser().absolute()
    try:
        if is_file_or_new(path):
            there = next(folder for folder in path.resolve().parents if folder.exists())
            fits = there.is_dir() and os.access(there, os.W_OK)
        else:
            fits = not path.is_dir() and os.access(path, os.W_OK)
    except OSError:
        fits = False
    if not fits:
        raise EvalkitError(f"--junit {path}: no file can be written there: give another place")
