"""Put several results into one table.

evalkit table RESULT RESULT ... [--across-protocols] [--markdown]
"""

from __future__ import annotations

from pathlib import Path

from evalkit.commands import parse, parser_for


def main(arguments: list[str]) -> None:
    """Run `evalkit table`."""
    parser = parser_for("table", __doc__)
    parser.add_argument("results", nargs="+", metavar="RESULT", help="a folder that evalkit run made")
    parser.add_argument("--across-protocols", action="store_true", help="also results of different protocols")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parsed = parse(parser, arguments)
    show([Path(folder) for folder in parsed.results], parsed.across_protocols, parsed.markdown)


def show(folders: list[Path], across_protocols: bool = False, markdown: bool = False) -> None:
    """Print the results in these folders as one table. Raises EvalkitError for results that cannot be joined."""
    from evalkit.report.joined import join  # here, because pandas takes a second that no single run should wait for
    from evalkit.report.markdown import joined_to_markdown
    from evalkit.report.terminal import joined_to_rich

    joined = join(folders, across_protocols)
    if markdown:
        print(joined_to_markdown(joined), end="")
    else:
        joined_to_rich(joined)
