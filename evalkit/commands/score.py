"""Compare two folders of clips, which need no captions and no common names, and print the table.

evalkit score GENERATED REFERENCES [OPTION=VALUE ...] [--config-dir DIR] [--format NAME]

Options are those of `evalkit run`, such as 'metric=[fad,kad]' or protocol=fadtk. A file list (CSV or JSONL with
columns id and path) may stand for either folder.
"""

from __future__ import annotations

import sys

from evalkit.commands import INCOMPLETE, fail, lacking, parse, parser_for


def main(arguments: list[str]) -> None:
    """Run `evalkit score`."""
    parser = parser_for("score", __doc__)
    parser.add_argument("generated", metavar="GENERATED", help="a folder of clips, or a list of them")
    parser.add_argument("references", metavar="REFERENCES", help="a folder of recordings, or a list of them")
    parser.add_argument("overrides", nargs="*", default=[], metavar="OPTION=VALUE", help="an option of 'evalkit run'")
    parser.add_argument("--config-dir", metavar="DIR", help="a folder of your own YAMLs")
    parser.add_argument("--format", default="terminal", metavar="NAME", help="of the table, as in 'evalkit table'")
    parsed = parse(parser, arguments)
    from evalkit.pipeline import compare  # here, because importing torch takes seconds that help need not wait for
    from evalkit.report import renderer

    render = renderer(parsed.format)
    result = compare(parsed.generated, parsed.references, parsed.overrides, parsed.config_dir)
    if parsed.format == "terminal":
        result.print()
    else:
        print(render(result.document()), end="")
        print(f"result: {result.path}", file=sys.stderr)
    if absent := lacking(result):
        fail("; ".join(absent), INCOMPLETE)
