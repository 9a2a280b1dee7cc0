"""Write a listening test for another program that runs such tests.

evalkit listen export STUDY --to webmushra --output FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

from evalkit.commands import OneOf, parse, parser_for

FORMS = ("webmushra",)


def parser() -> argparse.ArgumentParser:
    """Make the parser of the action."""
    found, form = parser_for("listen export", __doc__), OneOf("form", FORMS)
    found.add_argument("study", metavar="STUDY", help="the folder that evalkit listen make printed")
    found.add_argument("--to", required=True, type=form, metavar="FORM", help=f"of {', '.join(FORMS)}")
    found.add_argument("--output", required=True, metavar="FOLDER", help="a new folder")
    return found


def main(arguments: list[str]) -> None:
    """Run `evalkit listen export`."""
    parsed = parse(parser(), arguments)
    from evalkit.listening.study import Study
    from evalkit.listening.webmushra import export

    folder = Path(parsed.output).expanduser().absolute()
    for name in export(Study.load(parsed.study), folder):
        print(f"index.html?config={name}")
    print(f"copy what is in {folder} over webMUSHRA's folder; each address is for one rater")
