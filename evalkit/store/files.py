"""Writes: atomic ones, and where a user asks for it."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from evalkit.errors import EvalkitError

PARTIAL = ".partial-"  # what the names of files and folders that are being written begin with


def write_atomic(path: Path, write: Callable[[IO[bytes]], Any], durable: bool = True, mode: int = 0o644) -> None:
    """Write a file so that it is either absent, or complete and, if `durable`, on disk.

    `write` is called with an open binary file. Raises EvalkitError where the disk is full or the
    folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.chmod(temporary, mode)  # mkstemp makes it private
            os.replace(temporary, path)
        except BaseException:
            with suppress(FileNotFoundError):  # an interrupt may come when the file has its name already
                os.unlink(temporary)
            raise
    except OSError as error:
        raise cannot_write(path, error) from error


def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file atomically, for those who may read it by its mode."""
    write_atomic(path, lambda file: file.write(data), mode=mode)


def write_output(path: Path, text: str) -> None:
    """Write a text where a user asks for it: atomically where a file is or will be, links being followed.

    What is there and is no file, such as a pipe or a device, is written into and stays what it is. Raises EvalkitError
    where nothing can be written.
    """
    try:
        if is_file_or_new(path):
            write_bytes(path.resolve(), text.encode())
        else:
            path.write_text(text, "utf-8")
    except OSError as error:
        raise cannot_write(path, error) from error


def is_file_or_new(path: Path) -> bool:
    """Whether there is a file, or nothing yet, where a path leads to. Raises OSError where that cannot be told."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return True


def is_empty_or_new(folder: Path) -> bool:
    """Whether nothing is where a folder is to be made, or an empty one."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def write_folder(folder: Path, write: Callable[[Path], Any]) -> None:
    """Write a folder so that it is either absent, or empty as it was, or complete.

    `write` is called with an empty folder, which becomes this one. Raises EvalkitError where the disk is full,
    where nothing can be written, and where the folder holds something already.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=PARTIAL))
        try:
            write(partial)
            partial.chmod(0o755)  # mkdtemp makes it private
            os.replace(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except Exception as error:
        failure = _of_the_system(error)
        if failure is None:
            raise
        raise cannot_write(folder, failure) from error


def _of_the_system(error: Exception) -> OSError | None:
    """An error of the system, also where a package written in Rust (safetensors, tokenizers) only quotes it."""
    if isinstance(error, OSError):
        return error
    number = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else None


def make_folder(folder: Path) -> None:
    """Make a folder where there is none, with those above it. Raises EvalkitError where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(path: Path, error: OSError) -> EvalkitError:
    """Turn a failed write into one line that says what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EvalkitError(f"no space left to write '{path}': free some, or choose another folder")
    return EvalkitError(f"cannot write '{path}': {error.strerror or error}: choose another folder")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically; what UTF-8 cannot hold, as of some names of files, is escaped as JSON does."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode("utf-8", "backslashreplace"))
