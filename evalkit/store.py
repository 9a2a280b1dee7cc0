"""Paths, digests and atomic writes; nothing else touches the cache or the result tree."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import io
import json
import logging
import os
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import platformdirs

from evalkit.errors import EvalkitError

log = logging.getLogger(__name__)


def canonical(value: Any) -> str:
    """Write a value as JSON that is equal for equal values: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of a JSON-like value, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


_digests: dict[str, tuple[list[int], str]] = {}  # what a change would show in, and SHA-256, by absolute path
SETTLED = 2_000_000_000  # nanoseconds after which a change must show in a file's time, on any file system


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes; read once as long as nothing shows a change (see `known_digests`)."""
    stat = path.stat()
    # the time of the last change of the entry moves even where a copy keeps that of the content
    state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    name = os.path.abspath(path)
    known = _digests.get(name)
    if known is not None and known[0] == state:
        return known[1]
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED:
        _digests[name] = state, sha256
    return sha256


@contextlib.contextmanager
def known_digests(cache: Cache) -> Iterator[None]:
    """Keep the digests of files from one process to the next: thousands of clips are not read again.

    A file counts as unchanged while its size, its times of modification and of change, and its inode stay.
    """
    path = cache.root / "digests.json"

    def stored() -> dict[str, tuple[list[int], str]]:
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            read = json.loads(path.read_text())
            return {str(name): (list(state), str(sha256)) for name, (state, sha256) in read.items()}
        return {}

    before = stored()
    _digests.update(before)
    try:
        yield
    finally:
        if _digests != before:
            # another run may have written meanwhile; without them the next run only takes longer
            with contextlib.suppress(EvalkitError):
                write_bytes(path, json.dumps({**stored(), **_digests}).encode())


def sha256_tree(path: Path) -> str:
    """SHA-256 over the relative names and contents of a file or of all files below a folder."""
    if path.is_file():
        return sha256_file(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return digest([[p.relative_to(path).as_posix(), sha256_file(p)] for p in files])


def write_atomic(path: Path, write: Callable[[IO[bytes]], Any], durable: bool = True) -> None:
    """Write a file so that it is either absent, or complete and, if `durable`, on disk.

    `write` is called with an open binary file. Raises EvalkitError where the disk is full or the
    folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # mkstemp makes it private
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise cannot_write(path, error) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    write_atomic(path, lambda file: file.write(data))


def cannot_write(path: Path, error: OSError) -> EvalkitError:
    """Turn a failed write into one line that says what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EvalkitError(f"no space left to write '{path}': free some, or choose another folder")
    return EvalkitError(f"cannot write '{path}': {error.strerror or error}: choose another folder")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode())


class Cache:
    """The folder of everything that can be made again: weights, clips, features.

    Layout: weights/ (fetched files), checkpoints/ (made here), codes/KEY/ (generated codes and their
    manifests), clips/KEY/ (generated audio and its manifests), features/ENCODER/AB/KEY (arrays) and
    features/ENCODER/packs/ (many of them in one file),
    digests.json (of files, see `known_digests`).
    """

    def __init__(self, root: str | os.PathLike[str] | None = None):
        self.root = Path(root or platformdirs.user_cache_dir("evalkit")).expanduser().absolute()
        self.weights = self.root / "weights"
        self.checkpoints = self.root / "checkpoints"
        self.codes = self.root / "codes"
        self.clips = self.root / "clips"

    def _feature(self, encoder: str, key: str) -> Path:
        return self.root / "features" / encoder[:32] / key[:2] / key[:32]

    def write_feature(self, encoder: str, key: str, value: np.ndarray) -> None:
        """Store one array under its encoder's digest and its own."""
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        data = buffer.getvalue()
        checked = zlib.crc32(data).to_bytes(4, "little") + data
        # a loss shows in the checksum, and costs one clip's computation
        write_atomic(self._feature(encoder, key), lambda file: file.write(checked), durable=False)

    def read_pack(self, encoder: str, keys: Sequence[str]) -> list[np.ndarray] | None:
        """Read the arrays of many keys from the one file that holds just these, in this order, if there is one."""
        try:
            with np.load(self._pack(encoder, keys), allow_pickle=False) as file:
                lengths, values = file["lengths"], file["values"]
            return np.split(values, np.cumsum(lengths)[:-1])
        except FileNotFoundError:
            return None
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError, zlib.error):
            log.warning("damaged cache entry %s: its parts will be read instead", self._pack(encoder, keys))
            return None

    def write_pack(self, encoder: str, keys: Sequence[str], values: Sequence[np.ndarray]) -> None:
        """Store arrays (frames, …) that are stored one by one already, so that they are found by one look."""
        arrays = {"lengths": np.array([len(value) for value in values]), "values": np.concatenate(values)}
        write_atomic(self._pack(encoder, keys), lambda file: np.savez(file, **arrays), durable=False)

    def _pack(self, encoder: str, keys: Sequence[str]) -> Path:
        return self.root / "features" / encoder[:32] / "packs" / f"{digest(list(keys))[:32]}.npz"

    def read_feature(self, encoder: str, key: str) -> np.ndarray | None:
        """Read one array; None where it is absent. A damaged entry is deleted, and said in the log."""
        path = self._feature(encoder, key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        if len(data) < 5 or zlib.crc32(data[4:]) != int.from_bytes(data[:4], "little"):
            log.warning("damaged cache entry %s: deleted, will be computed again", path)
            path.unlink(missing_ok=True)
            return None
        array: np.ndarray = np.load(io.BytesIO(data[4:]), allow_pickle=False)
        return array


class RunFolder:
    """One result: files written as they are known, `result.json` last.

    A folder without `result.json` is a run that did not finish. Raises EvalkitError where the folder
    cannot be made.
    """

    def __init__(self, output_dir: str | os.PathLike[str], name: str):
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        parent = Path(output_dir).expanduser().absolute()
        for attempt in range(100):
            self.path = parent / f"{stamp}-{name}{f'-{attempt}' if attempt else ''}"
            try:
                self.path.mkdir(parents=True)
                return
            except FileExistsError as error:
                if not parent.is_dir():
                    raise cannot_write(self.path, error) from error
            except OSError as error:
                raise cannot_write(self.path, error) from error
        raise EvalkitError(f"cannot make a new folder in '{parent}'")

    def text(self, name: str, text: str) -> None:
        write_bytes(self.path / name, text.encode())

    def json(self, name: str, value: Any) -> None:
        write_json(self.path / name, value)

    def parquet(self, name: str, frame: Any) -> None:
        write_atomic(self.path / name, lambda file: frame.to_parquet(file, index=False))


def identity(value: Any, cache: Cache) -> Any:
    """Describe a component by everything that affects what it computes, as a JSON-like value.

    Dataclasses become their class attributes `kind` and `version`, and their fields, except fields with
    metadata identity=False; what has an `identity(cache)` of its own (files, by content) describes
    itself. Where a class lies does not count, but for the package of one that is not evalkit's. Raises
    EvalkitError for a class without a `kind` of its own.
    """
    if hasattr(value, "identity"):
        return value.identity(cache)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = [f.name for f in dataclasses.fields(value) if f.metadata.get("identity", True)]
        return {
            **named(type(value)),
            "version": getattr(value, "version", 0),
            **{name: identity(getattr(value, name), cache) for name in kept},
        }
    if isinstance(value, dict):
        return {str(k): identity(v, cache) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [identity(v, cache) for v in value]
    if isinstance(value, Path):
        return {"sha256": sha256_tree(value)}
    return value


def named(component: type) -> dict[str, str]:
    """The name that a component's class has in keys of the cache and in results."""
    kind = vars(component).get("kind")  # an inherited one would be that of other code
    if not isinstance(kind, str) or not kind:
        raise EvalkitError(
            f"{component.__module__}.{component.__qualname__} has no name that its results are kept under: "
            f"give the class one that stays, such as kind: ClassVar[str] = '{component.__name__.lower()}'"
        )
    package = component.__module__.partition(".")[0]
    return {"kind": kind} if package == "evalkit" else {"kind": kind, "package": package}
