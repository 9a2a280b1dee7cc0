"""The commands of the command line, one file each, and what they share.

The docstring of a command's file says what it does in the first paragraph and how it is called in the second;
its `main` takes the arguments that follow the command's name.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from evalkit.errors import EvalkitError
from evalkit.report.literal import literal

if TYPE_CHECKING:
    from evalkit.results.record import Record

INCOMPLETE = 3  # exit status where a result was written that has not all scores


def described(document: str | None) -> tuple[str, str]:
    """Split the docstring of a command's file: how the command is called, and what it does."""
    summary, call, *_ = (document or "").split("\n\n")
    return call.strip(), " ".join(summary.split())


def parser_for(command: str, document: str | None) -> argparse.ArgumentParser:
    """Make the parser of a command, described by the docstring of the command's file."""
    call, summary = described(document)
    return argparse.ArgumentParser(f"evalkit {command}", usage=call, description=summary)


def parse(parser: argparse.ArgumentParser, arguments: list[str], status: int = 2) -> argparse.Namespace:
    """Parse options in any order, with one line and an exit status for what is wrong with them."""
    parser.error = lambda message: fail(f"{message}: see '{parser.prog} --help'", status)  # type: ignore[method-assign]
    return parser.parse_intermixed_args(arguments)


def lacking(result: Record) -> list[str]:
    """Say in one sentence which scores a result that was written does not have, if any."""
    from evalkit.results.summary import unscored  # here, because it imports pandas

    absent = unscored(result)
    return [f"'{result.path}' has no score of {', '.join(absent)}"] if absent else []


def fail(message: str, status: int = 2) -> NoReturn:
    """Print one line and exit with a status that no bug in Python exits with."""
    print(f"evalkit: {literal(message)}", file=sys.stderr)
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1 if status is None else status)
    except OSError as error:
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # files name theirs
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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
