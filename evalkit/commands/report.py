"""Write a page to look at and listen to: one HTML file of results, of a comparison, a sweep, or listening tests.

evalkit report RECORD ... [--output FILE] [--blind] [--audio SIZE] [--across-protocols] [--sensitivity FILE]
               [--quiet]
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from evalkit.commands import parse, parser_for, shows_progress
from evalkit.errors import EvalkitError
from evalkit.page import AUDIO
from evalkit.results import REPORT

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
DEFAULT = f"{AUDIO // UNITS['M']}M"


def main(arguments: list[str]) -> None:
    """Run `evalkit report`."""
    parsed = parse(parser(), arguments)
    audio_bytes = size(parsed.audio)
    if parsed.output == "":
        raise EvalkitError("--output is empty: name a file")
    from evalkit.page.writing import write  # here, because pandas takes a second
    from evalkit.results.loading import load, with_row

    for record in parsed.records:
        if (named := with_row(record))[1]:
            raise EvalkitError(f"'{record}': a page shows all rows of a result: give {named[0]}")
    page = write(
        [load(record) for record in parsed.records],
        Path(parsed.output) if parsed.output else None,
        audio_bytes=audio_bytes,
        blind=parsed.blind,
        across_protocols=parsed.across_protocols,
        sensitivity=Path(parsed.sensitivity) if parsed.sensitivity is not None else None,
    )
    print(f"report: {page}")


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    found = parser_for("report", __doc__)
    found.add_argument("records", nargs="+", metavar="RECORD", help="a folder that evalkit made")
    found.add_argument("--output", metavar="FILE", help=f"the page; {REPORT} in the first record's folder by default")
    found.add_argument("--blind", action="store_true", help="hide names and numbers until they are asked for")
    found.add_argument(
        "--audio",
        default=DEFAULT,
        metavar="SIZE",
        help=f"of clips in the page, {DEFAULT} by default; others are linked",
    )
    found.add_argument("--across-protocols", action="store_true", help="also results of different protocols")
    found.add_argument(
        "--sensitivity", metavar="FILE", help="what metrics notice, measured by yourself: a CSV file of its benchmark"
    )
    shows_progress(found)
    return found


def size(text: str) -> int:
    """Read a number of bytes, such as 8M or 500k. Raises EvalkitError for anything else."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d+)?)\s*([KMG]?)B?", text.strip().upper())
    if found is None:
        raise EvalkitError(f"--audio {text}: give a size such as {DEFAULT}, or 0 for no clips in the page")
    return int(float(found[1]) * UNITS[found[2]])
