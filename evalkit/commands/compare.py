"""Compare a candidate with a baseline, prompt by prompt, and say whether it passes a gate.

evalkit compare BASELINE CANDIDATE [--gate FILE] [--junit FILE] [--allow-random] [--common-prompts]
                  [--format NAME] [--output DIR] [--config-dir DIR]
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path

from evalkit.commands import one_line_errors, parse, parser_for
from evalkit.errors import EvalkitError
from evalkit.results.gate import MISTAKE, STATUS

SIDE = (
    "the folder of a result, RESULT::ROW where it has several rows, or a file with options of 'evalkit run', one a "
    "line: that run is made first, and what the file does not say is as on the other side; several as A,B,C"
)
STATUSES = f"""exit status: {STATUS["GO"]} GO, {STATUS["NO-GO"]} NO-GO, {STATUS["INCONCLUSIVE"]} INCONCLUSIVE,
{MISTAKE} where nothing was compared"""


def main(arguments: list[str]) -> None:
    """Run `evalkit compare`."""
    try:
        with one_line_errors(MISTAKE):
            status = compared(parse(parser(), arguments, MISTAKE))
    except Exception:  # a bug: the status that Python would end with is that of a NO-GO
        traceback.print_exc()
        status = MISTAKE
    sys.exit(status)


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
    found.add_argument("--format", default="terminal", metavar="NAME", help="of what is printed, as in 'evalkit table'")
    found.add_argument("--output", metavar="DIR", help="where the folder is made; without it in results/comparisons")
    found.add_argument("--config-dir", metavar="DIR", help="a folder of your own YAMLs")
    return found


def compared(asked: argparse.Namespace) -> int:
    """Compare what is asked for, print it, and return the exit status."""
    from evalkit.comparing import OUTPUT, compare  # here, because importing torch takes seconds
    from evalkit.report import renderer
    from evalkit.store.files import write_output

    render, junit = renderer(asked.format), renderer("junit")
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
    )
    document = comparison.document()
    if asked.junit is not None:
        write_output(Path(asked.junit).expanduser().absolute(), junit(document))
    print(render(document), end="")
    print(f"comparison: {comparison.path}", file=sys.stdout if asked.format == "terminal" else sys.stderr)
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
