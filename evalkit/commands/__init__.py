"""The commands of the command line, one file each, and what they share.

The docstring of a command's file says what it does in the first paragraph and how it is called in the second;
its `main` takes the arguments that follow the command's name.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import NoReturn

from evalkit.errors import EvalkitError
from evalkit.report.literal import literal


def described(document: str | None) -> tuple[str, str]:
    """Split the docstring of a command's file: how the command is called, and what it does."""
    summary, call, *_ = (document or "").split("\n\n")
    return call.strip(), " ".join(summary.split())


def parser_for(command: str, document: str | None) -> argparse.ArgumentParser:
    """Make the parser of a command, described by the docstring of the command's file."""
    call, summary = described(document)
    return argparse.ArgumentParser(f"evalkit {command}", usage=call, description=summary)


def parse(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Parse options in any order, with one line for what is wrong with them."""
    parser.error = lambda message: fail(f"{message}: see '{parser.prog} --help'")  # type: ignore[method-assign]
    return parser.parse_intermixed_args(arguments)


def fail(message: str) -> NoReturn:
    """Print one line and exit with status 2, which no bug in Python exits with."""
    print(f"evalkit: {literal(message)}", file=sys.stderr)
    sys.exit(2)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn every mistake of the user inside the block into one line on stderr."""
    try:
        yield
    except EvalkitError as error:
        fail(str(error))
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        fail(f"'{error.filename}': {error.strerror or error}")
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the impatient press twice
        fail("interrupted; what was finished is kept, the same command goes on from there")
    except Exception as error:
        from hydra.errors import HydraException  # here, because not every command needs Hydra
        from omegaconf.errors import OmegaConfBaseException

        from evalkit.config import explain

        if isinstance(error, (HydraException, OmegaConfBaseException)):
            fail(str(explain(error)))
        raise
