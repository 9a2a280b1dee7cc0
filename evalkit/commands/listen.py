"""Ask people: make pages of a listening test, take their answers, and analyse them.

evalkit listen make | serve | analyse | export ...
"""

from __future__ import annotations

import argparse

from evalkit.commands import act, action_parsers, listening


def main(arguments: list[str]) -> None:
    """Run `evalkit listen`."""
    act("listen", __doc__, listening, arguments)


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Make the parsers of the actions that say what they take by a function `parser()`."""
    return action_parsers(listening)
