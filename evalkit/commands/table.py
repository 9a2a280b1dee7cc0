"""Print the table of a result, or of several results in one.

evalkit table RESULT ... [--format NAME] [--across-protocols]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evalkit.commands import parse, parser_for


def main(arguments: list[str]) -> None:
    """Run `evalkit table`."""
    from evalkit.report import formats

    parser = parser_for("table", __doc__)
    parser.add_argument("results", nargs="+", metavar="RESULT", help="a folder that evalkit run made")
    parser.add_argument("--across-protocols", action="store_true", help="also results of different protocols")
    parser.add_argument("--format", default="terminal", metavar="NAME", help=f"of {', '.join(formats())}")
    parser.add_argument("--markdown", action="store_const", const="markdown", dest="format", help="--format markdown")
    parsed = parse(parser, arguments)
    show([Path(folder) for folder in parsed.results], parsed.across_protocols, parsed.format)


def show(folders: Sequence[Path], across_protocols: bool = False, form: str = "terminal") -> None:
    """Print the results in these folders as one table. Raises EvalkitError for results that cannot be joined."""
    from evalkit.report import renderer  # here, because pandas takes a second that no single run should wait for
    from evalkit.results.joined import join
    from evalkit.results.result import Result

    render = renderer(form)
    results = [Result.load(folder) for folder in folders]
    print(render(results[0].document() if len(results) == 1 else join(results, across_protocols)), end="")
