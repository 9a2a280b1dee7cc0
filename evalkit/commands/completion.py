"""Print what makes a shell complete evalkit's commands, options, names of models and metrics, and paths.

evalkit completion bash|zsh|fish
"""

from __future__ import annotations

import argparse
from pathlib import Path

from evalkit.commands import OneOf, completing, parse, parser_for

INSTALL = {
    "bash": "in ~/.bashrc: source <(evalkit completion bash)",
    "zsh": "in ~/.zshrc, after compinit: source <(evalkit completion zsh)",
    "fish": "once: evalkit completion fish > ~/.config/fish/completions/evalkit.fish",
}


def main(arguments: list[str]) -> None:
    """Run `evalkit completion`."""
    parsed = parse(parser(), arguments)
    print((Path(completing.__file__).parent / f"evalkit.{parsed.shell}").read_text("utf-8"), end="")


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    found = parser_for("completion", __doc__)
    found.epilog = "To install it: " + "; ".join(INSTALL.values()) + "."
    found.add_argument("shell", metavar="SHELL", type=OneOf("shell", tuple(INSTALL)), help=f"of {', '.join(INSTALL)}")
    return found
