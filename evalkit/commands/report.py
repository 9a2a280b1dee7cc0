"""Write a page to look at and listen to: one HTML file of results, of a comparison, or of a sweep.

evalkit report RECORD ... [--output FILE] [--blind] [--audio SIZE] [--across-protocols] [--quiet]
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from evalkit.commands import parse, parser_for, shows_progress
from evalkit.errors import EvalkitError

PAGE = "report.html"
AUDIO = "8M"
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def main(arguments: list[str]) -> None:
    """Run `evalkit report`."""
    parsed = parse(parser(), arguments)
    page = write(
        [Path(record) for record in parsed.records],
        Path(parsed.output) if parsed.output else None,
        audio_bytes=size(parsed.audio),
        blind=parsed.blind,
        across_protocols=parsed.across_protocols,
    )
    print(f"report: {page}")


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    found = parser_for("report", __doc__)
    found.add_argument("records", nargs="+", metavar="RECORD", help="a folder that evalkit made")
    found.add_argument("--output", metavar="FILE", help=f"the page; {PAGE} in the first record's folder by default")
    found.add_argument("--blind", action="store_true", help="hide names and numbers until they are asked for")
    found.add_argument(
        "--audio",
        default=AUDIO,
        metavar="SIZE",
        help=f"of clips in the page, {AUDIO} by default; others are linked",
    )
    found.add_argument("--across-protocols", action="store_true", help="also results of different protocols")
    shows_progress(found)
    return found


def write(
    folders: list[Path],
    output: Path | None = None,
    *,
    audio_bytes: int,
    blind: bool = False,
    across_protocols: bool = False,
) -> Path:
    """Write the page of the records in some folders, and return where it is.

    Raises EvalkitError for folders without a record, records that do not fit into one page, and a file that cannot
    be written.
    """
    from evalkit.page.page import render  # here, because pandas takes a second
    from evalkit.page.view import view
    from evalkit.results.loading import load
    from evalkit.store.files import write_output

    records = [load(folder) for folder in folders]
    target = (output or records[0].path / PAGE).expanduser().absolute()
    if target.is_dir():
        raise EvalkitError(f"--output {target}: a folder is there: name a file")
    shown = view(records, target, across_protocols=across_protocols, audio_bytes=audio_bytes, blind=blind)
    write_output(target, render(shown))
    return target


def size(text: str) -> int:
    """Read a number of bytes, such as 8M or 500k. Raises EvalkitError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)B?", text.strip().upper())
    if found is None:
        raise EvalkitError(f"--audio {text}: give a size such as {AUDIO}, or 0 for no clips in the page")
    return int(float(found[1]) * UNITS[found[2]])
