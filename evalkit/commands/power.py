"""Say, before a comparison is made, what it can see and how many prompts its margins need.

evalkit power RESULT [--margin METRIC=VALUE ...] [--gate FILE] [--format NAME] [--json] [--quiet]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from evalkit.commands import parse, parser_for, prints_table, show, shows_progress

MARGIN = """by how much a metric may be worse, in its own unit or as a share of its value, such as kld=0.05 or
fad=5%%, in place of what the gate says; may be given for several metrics"""


def main(arguments: list[str]) -> None:
    """Run `evalkit power`."""
    parsed = parse(parser(), arguments)
    from evalkit.results.power import margins_of, power  # here, because pandas takes a second
    from evalkit.results.power_text import document

    gate = None if parsed.gate is None else Path(parsed.gate)
    show(document(power(parsed.result, gate, margins_of(parsed.margin))), parsed.format)


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    found = parser_for("power", __doc__)
    found.add_argument(
        "result", metavar="RESULT", help="a folder that evalkit run or compare made, RESULT::ROW for one of its rows"
    )
    found.add_argument("--margin", action="append", default=[], metavar="METRIC=VALUE", help=MARGIN)
    found.add_argument("--gate", metavar="FILE", help="a YAML of limits; without it the gate that comes with evalkit")
    prints_table(found)
    shows_progress(found)
    return found
