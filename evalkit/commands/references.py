"""Put what metrics need of references into one file without audio, which others can evaluate against.

evalkit references pack | verify | join | status ...
"""

from __future__ import annotations

import argparse

from evalkit.commands import act, action_parsers, reference_packs


def main(arguments: list[str]) -> None:
    """Run `evalkit references`."""
    act("references", __doc__, reference_packs, arguments)


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Make the parsers of the actions that say what they take by a function `parser()`."""
    return action_parsers(reference_packs)
