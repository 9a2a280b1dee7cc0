"""Write a listening test for another program that runs such tests.

evalkit listen export STUDY --to webmushra --output FOLDER
"""

from __future__ import annotations

from pathlib import Path

from evalkit.commands import parse, parser_for
from evalkit.errors import unknown

FORMS = ("webmushra",)


def main(arguments: list[str]) -> None:
    """Run `evalkit listen export`."""
    parser = parser_for("listen export", __doc__)
    parser.add_argument("study", metavar="STUDY", help="the folder that evalkit listen make printed")
    parser.add_argument("--to", required=True, metavar="FORM", help=f"of {', '.join(FORMS)}")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="a new folder")
    parsed = parse(parser, arguments)
    if parsed.to not in FORMS:
        raise unknown("form", parsed.to, FORMS)
    from evalkit.listening.study import Study
    from evalkit.listening.webmushra import export

    folder = Path(parsed.output).expanduser().absolute()
    for name in export(Study.load(parsed.study), folder):
        print(f"index.html?config={name}")
    print(f"copy what is in {folder} over webMUSHRA's folder; each address is for one rater")
