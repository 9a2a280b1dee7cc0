"""Ask people: make pages of a listening test, take their answers, and analyse them.

evalkit listen make | serve | analyse | export ...
"""

from __future__ import annotations

import argparse
import ast
import importlib
from pathlib import Path

from evalkit.commands import described, listening, parser_for
from evalkit.errors import unknown


def main(arguments: list[str]) -> None:
    """Run `evalkit listen`."""
    action, *rest = arguments or ["--help"]
    known = actions()
    if action in ("-h", "--help"):
        parser = parser_for("listen", __doc__)
        parser.epilog = (
            " ".join(
                f"{name}: {about[:1].lower()}{about[1:]}"
                for name, (_, about) in ((n, _about(p)) for n, p in known.items())
            )
            + " 'evalkit listen ACTION --help' says more."
        )
        parser.parse_args(["--help"])
    if action not in known:
        raise unknown("action", action, known)
    importlib.import_module(f"{listening.__name__}.{action}").main(rest)


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Make the parsers of the actions that say what they take by a function `parser()`."""
    modules = {name: importlib.import_module(f"{listening.__name__}.{name}") for name in actions()}
    return {name: module.parser() for name, module in modules.items() if hasattr(module, "parser")}


def actions() -> dict[str, Path]:
    """Find the actions: each is a file of evalkit/commands/listening with a function `main(arguments)`."""
    found = [path for folder in listening.__path__ for path in sorted(Path(folder).glob("*.py"))]
    return {path.stem: path for path in found if path.stem != "__init__"}


def _about(path: Path) -> tuple[str, str]:
    return described(ast.get_docstring(ast.parse(path.read_text("utf-8"))))
