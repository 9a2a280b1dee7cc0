"""Say, before a comparison is made, what it can see and how many prompts its margins need.

evalkit power RESULT [--margin METRIC=VALUE ...] [--gate FILE] [--format NAME]
"""

from __future__ import annotations

from pathlib import Path

from evalkit.commands import parse, parser_for

MARGIN = """by how much a metric may be worse, in its own unit or as a share of its value, such as kld=0.05 or
fad=5%%, in place of what the gate says; may be given for several metrics"""


def main(arguments: list[str]) -> None:
    """Run `evalkit power`."""
    from evalkit.report import formats

    parser = parser_for("power", __doc__)
    parser.add_argument(
        "result", metavar="RESULT", help="a folder that evalkit run or compare made, RESULT::ROW for one of its rows"
    )
    parser.add_argument("--margin", action="append", default=[], metavar="METRIC=VALUE", help=MARGIN)
    parser.add_argument("--gate", metavar="FILE", help="a YAML of limits; without it the gate that comes with evalkit")
    parser.add_argument("--format", default="terminal", metavar="NAME", help=f"of {', '.join(formats())}")
    parsed = parse(parser, arguments)
    from evalkit.report import renderer  # here, because pandas takes a second
    from evalkit.results.power import margins_of, power
    from evalkit.results.power_text import document

    render = renderer(parsed.format)
    gate = None if parsed.gate is None else Path(parsed.gate)
    print(render(document(power(parsed.result, gate, margins_of(parsed.margin)))), end="")
