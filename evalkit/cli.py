"""The command line: it finds the command that is asked for and starts it."""

from __future__ import annotations

import ast
import gc
import importlib
import sys

from evalkit import __version__, commands
from evalkit.errors import unknown

EXAMPLES = """\
  evalkit run experiment=demo
  evalkit run model=musicgen_small prompts=musiccaps prompts.references=CLIPS_FOLDER
  evalkit run 'model=[musicgen_small,musicgen_medium]' prompts=musiccaps_balanced 'metric=[fad,kld]'
  evalkit run -m protocol=musicgen,fadtk model=musicgen_small prompts=musiccaps prompts.references=CLIPS_FOLDER
  evalkit sweep experiment=sweep_guidance model=musicgen_small prompts=musiccaps prompts.references=CLIPS_FOLDER
  evalkit run model=folder model.folder.path=MY_CLIPS prompts=table prompts.path=MY_PROMPTS.csv"""


COMPLETE = "__complete"  # what scripts for shells call, see `evalkit completion`


def main() -> None:
    """Run the command that the arguments name."""
    commands.catch_interrupts()
    # what a run makes stays: to look for rubbish among all of it every 700 objects takes a fifth of a run's time
    gc.set_threshold(20_000, 20, 20)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may not know an arrow
    command, *rest = sys.argv[1:] or ["--help"]
    if command == COMPLETE:
        importlib.import_module("evalkit.commands.completing.candidates").main(rest)
        return
    with commands.DONE, commands.own_log(), commands.one_line_errors():  # around the import too
        if command in ("-h", "--help", "help"):
            print(usage())
        elif command == "--version":
            print(f"evalkit {__version__}")
        elif command in commands.files():
            importlib.import_module(f"evalkit.commands.{command}").main(rest)
        else:
            commands.fail(str(unknown("command", command, commands.files())))


def usage() -> str:
    """Describe all commands in the words of their docstrings, which are read without importing anything."""
    lines = ["evalkit: evaluate text-to-music models against their published numbers", "", "usage:"]
    for path in commands.files().values():
        call, summary = commands.described(ast.get_docstring(ast.parse(path.read_text("utf-8"))))
        lines += [f"  {call}", f"      {summary}"]
    lines += ["  evalkit --help | --version", "", "examples:", EXAMPLES, ""]
    lines += ["`evalkit COMMAND --help` says more; that of run lists every group and option."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
