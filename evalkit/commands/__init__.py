"""The commands of the command line, one file each, and what they share.

The docstring of a command's file says what it does in the first paragraph and how it is called in the second;
its `main` takes the arguments that follow the command's name, and its `parser()` makes the parser of these, or
`parsers()` those of its subcommands by name, without importing what takes long.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import errno
import importlib
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, cast

from evalkit.errors import EvalkitError, unknown
from evalkit.report.literal import literal
from evalkit.results import REPORT

if TYPE_CHECKING:
    from evalkit.report.document import Document
    from evalkit.results.record import Record

INCOMPLETE = 3  # exit status where a result was written that has not all scores

TERMINAL = "terminal"  # the form that tables are printed in where no other is asked for
DONE = contextlib.ExitStack()  # closed when a command ends: puts back what --quiet and --format change in the process
_ANSWERS: list[TextIO] = []  # the last one is stdout where everything else is printed on stderr


class OneOf:
    """The type of an option that takes one of some names; completion offers them."""

    def __init__(self, kind: str, names: tuple[str, ...]):
        self.kind = kind
        self.names = names

    def __call__(self, text: str) -> str:
        """The name, as it is. Raises EvalkitError for another one."""
        if text not in self.names:
            raise unknown(self.kind, text, self.names)
        return text


def files() -> dict[str, Path]:
    """Find the commands: each is a file of this folder with a function `main(arguments)`."""
    found = [path for folder in __path__ for path in sorted(Path(folder).glob("*.py"))]
    return {path.stem: path for path in found if path.stem != "__init__"}


def described(document: str | None) -> tuple[str, str]:
    """Split the docstring of a command's file: how the command is called, and what it does."""
    summary, call, *_ = (document or "").split("\n\n")
    return call.strip(), " ".join(summary.split())


def parser_for(command: str, document: str | None) -> argparse.ArgumentParser:
    """Make the parser of a command, described by the docstring of the command's file."""
    call, summary = described(document)
    return argparse.ArgumentParser(f"evalkit {command}", usage=call, description=summary)


def act(command: str, document: str | None, folder: ModuleType, arguments: list[str]) -> None:
    """Run the action of a command that its first argument names, with the others.

    Args:
        document: the docstring of the command's file.
        folder: the package whose files are the actions.
    """
    action, *rest = arguments or ["--help"]
    known = actions(folder)
    if action in ("-h", "--help"):
        parser = parser_for(command, document)
        about = {
            name: described(ast.get_docstring(ast.parse(path.read_text("utf-8"))))[1] for name, path in known.items()
        }
        said = " ".join(f"{name}: {text[:1].lower()}{text[1:]}" for name, text in about.items())
        parser.epilog = f"{said} 'evalkit {command} ACTION --help' says more."
        parser.parse_args(["--help"])
    if action not in known:
        raise unknown("action", action, known)
    importlib.import_module(f"{folder.__name__}.{action}").main(rest)


def action_parsers(folder: ModuleType) -> dict[str, argparse.ArgumentParser]:
    """Make the parsers of the actions of a command that say what they take by a function `parser()`."""
    modules = {name: importlib.import_module(f"{folder.__name__}.{name}") for name in actions(folder)}
    return {name: module.parser() for name, module in modules.items() if hasattr(module, "parser")}


def actions(folder: ModuleType) -> dict[str, Path]:
    """Find the actions of a command: each is a file of a folder with a function `main(arguments)`."""
    found = [path for place in folder.__path__ for path in sorted(Path(place).glob("*.py"))]
    return {path.stem: path for path in found if path.stem != "__init__"}


def takes_options(parser: argparse.ArgumentParser, about: str = "an option of 'evalkit run'") -> None:
    """Let a command be given options of `evalkit run`, which `parse` returns as `options`, and a folder of YAMLs."""
    parser.add_argument("options", nargs="*", default=[], metavar="OPTION=VALUE", help=about)
    parser.add_argument("--config-dir", metavar="DIR", help="a folder of your own YAMLs")


def shows_progress(parser: argparse.ArgumentParser) -> None:
    """Let a command be told to show neither progress nor warnings; `parse` sees to it."""
    parser.add_argument("--quiet", "-q", action="store_true", help="show no progress and no warnings")


def prints_table(parser: argparse.ArgumentParser, without: tuple[str, ...] = ()) -> None:
    """Let a command print its table in any form, which `parse` returns as `format`, and `show` prints.

    Args:
        without: forms that mean nothing for this table.
    """
    from evalkit.report import formats

    forms = [name for name in formats() if name not in without]
    kind = OneOf("format", tuple(forms))
    parser.add_argument("--format", default=TERMINAL, metavar="NAME", type=kind, help=f"of {', '.join(forms)}")
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")


def parse(parser: argparse.ArgumentParser, arguments: list[str], status: int = 2) -> argparse.Namespace:
    """Parse options in any order, with one line and an exit status for what is wrong with them, and `obey` them."""
    parser.error = lambda message: fail(f"{message}: see '{parser.prog} --help'", status)  # type: ignore[method-assign]
    parsed = parser.parse_intermixed_args(arguments)
    obey(parsed)
    return parsed


def obey(parsed: argparse.Namespace) -> None:
    """Do what --quiet and --format ask for, which every command has alike.

    From here on neither progress nor warnings are shown, and a form that is not for people has stdout for itself:
    everything else that is printed goes to stderr.
    """
    if getattr(parsed, "quiet", False):
        _be_quiet()
        if isinstance(getattr(parsed, "options", None), list):
            parsed.options.append("engine.quiet=true")
    if getattr(parsed, "format", TERMINAL) != TERMINAL:
        _only_the_table()


def show(document: Document, form: str) -> None:
    """Print a document on stdout in the form that was asked for."""
    from evalkit.report import renderer  # here, because pandas takes a second

    print(renderer(form)(document), end="", file=answers(), flush=True)


def tell_where(kind: str, record: Any) -> None:
    """Print where a record is that was just made, and its page if it has one."""
    print(f"{kind}: {record.path}")
    page = record.path / REPORT
    if page.is_file():
        print(f"report: {page}")


def answers() -> TextIO:
    """Where what was asked for is printed: stdout, also where everything else goes to stderr."""
    return _ANSWERS[-1] if _ANSWERS else sys.stdout


def _only_the_table() -> None:
    """Let everything but what `show` prints go to stderr until the command ends."""
    _ANSWERS.append(sys.stdout)
    DONE.callback(_ANSWERS.pop)
    DONE.enter_context(contextlib.redirect_stdout(sys.stderr))


def _be_quiet() -> None:
    """Show no progress and no warnings until the command ends; errors are said all the same."""
    from evalkit import progress  # here, because rich takes a while

    DONE.enter_context(progress.silenced(True))
    nowhere = logging.NullHandler()  # else Python prints what no other handler takes
    logging.getLogger("evalkit").addHandler(nowhere)
    DONE.callback(logging.getLogger("evalkit").removeHandler, nowhere)
    DONE.callback(setattr, warnings, "showwarning", warnings.showwarning)
    warnings.showwarning = lambda *_, **__: None


def lacking(result: Record) -> list[str]:
    """Say in one sentence which scores a result that was written does not have, if any."""
    from evalkit.results.summary import unscored  # here, because it imports pandas

    absent = unscored(result)
    return [f"'{result.path}' has no score of {', '.join(absent)}"] if absent else []


def fail(message: str, status: int = 2) -> NoReturn:
    """Print one line and exit with a status that no bug in Python exits with."""
    print(f"evalkit: {literal(message)}", file=sys.stderr)
    sys.exit(status)


class Unread:
    """Stdout, for which it is no error that its reader, such as `head`, has gone before the end."""

    def __init__(self, stdout: TextIO):
        self._stdout = stdout

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stdout, name)

    def write(self, text: str) -> int:
        """Write a text, to nowhere where nobody reads it."""
        try:
            return self._stdout.write(text)
        except BrokenPipeError:
            _to_nowhere(self._stdout)
            return len(text)

    def flush(self) -> None:
        """Write what is buffered, to nowhere where nobody reads it."""
        try:
            self._stdout.flush()
        except BrokenPipeError:
            _to_nowhere(self._stdout)


def _to_nowhere(stream: TextIO) -> None:
    """Let what is still written into a stream, Python's own last flush too, go where nobody reads it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def end(command: Callable[[], int], mistake: int = 2) -> NoReturn:
    """Run a command whose exit status says what was found, and exit with it, whoever reads what it prints.

    A bug ends with the status of a mistake: Python's own, 1, would say that something was found.

    Args:
        mistake: the status of a mistake of the user.
    """
    try:
        with contextlib.redirect_stdout(cast(TextIO, Unread(sys.stdout))), one_line_errors(mistake):
            status = command()
    except Exception:
        traceback.print_exc()
        status = mistake
    sys.exit(status)


def catch_interrupts() -> None:
    """Let Ctrl-C end the program in one line at any moment.

    The first one raises KeyboardInterrupt, so that what is half written is removed. The second one ends the program
    at once, and so does one during an import, where packages would make other errors of it.
    """
    pressed = False

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        while frame is not None:
            pressed = pressed or frame.f_code.co_filename.startswith("<frozen importlib")
            frame = frame.f_back
        if pressed:
            die_of_interrupt()
        pressed = True
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else the shell has it ignored
        signal.signal(signal.SIGINT, on_interrupt)


def die_of_interrupt() -> NoReturn:
    """Print one line and die of the signal, which a shell shows as status 130.

    Exiting with 130 would not do: a shell leaves its loop only where a program has died of the signal.
    """
    line = "evalkit: interrupted; what was finished is kept, the same command goes on from there\n"
    show_cursor = "\x1b[?25h" if os.isatty(2) else ""  # a progress bar hides it
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2, (show_cursor + line).encode())
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    os._exit(130)  # the first process of a container does not die of it


@contextlib.contextmanager
def own_log() -> Iterator[None]:
    """Keep evalkit's log from handlers that packages put on the root logger; warnings go to stderr all the same."""
    own = logging.getLogger("evalkit")
    before, own.propagate = own.propagate, False
    try:
        yield
    finally:
        own.propagate = before


@contextlib.contextmanager
def one_line_errors(status: int | None = None) -> Iterator[None]:
    """Turn every mistake of the user inside the block into one line on stderr.

    Args:
        status: what to exit with, in a command whose results have the usual statuses 1 and 2.
    """
    mistake = 2 if status is None else status
    try:
        yield
        sys.stdout.flush()  # here, so that what it raises is one line too
    except EvalkitError as error:
        fail(str(error), mistake)
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        _to_nowhere(answers())
        sys.exit(1 if status is None else status)
    except OSError as error:
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # files name theirs
            _to_nowhere(answers())
            fail(f"cannot write the output: {error.strerror}: make room, or write it elsewhere", mistake)
        if error.filename is None:
            raise
        fail(f"'{error.filename}': {error.strerror or error}", mistake)
    except KeyboardInterrupt:
        die_of_interrupt()
    except Exception as error:
        from hydra.errors import HydraException  # here, because not every command needs Hydra
        from omegaconf.errors import OmegaConfBaseException

        from evalkit.config import explain

        if isinstance(error, (HydraException, OmegaConfBaseException)):
            fail(str(explain(error)), mistake)
        raise
