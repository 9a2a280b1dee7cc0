"""The one format of everything in the cache: items under keys, many in a file that names its own content.

An entry is a safetensors file. Its index says what it holds: the schema, the kind and digest of its collection, and of
each item the key, the shape and a digest, which binds the item's content to its key and its collection. The file's
name is the digest of the index, so that equal content has equal names, whoever writes it; as files are written
atomically, an entry is there and complete, or it is not there.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import math
import os
import struct
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.store.digests import canonical
from evalkit.store.files import write_bytes

SCHEMA = 1  # of the format below: raise it when files of before would be read otherwise

SUFFIX = ".entry"

LARGE = 4096  # items from which on a file is not merged with others again, and is not read as a whole
LARGE_BYTES = 2**26  # from which on neither is one of fewer items

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "U8": "|u1"}


class Item(NamedTuple):
    """What is kept under one key.

    Attributes:
        value: an array of the dtype that all of its entry have; None where facts say everything.
        facts: a JSON-like value of its own.
        shared: a JSON-like value that many items of an entry have in common.
    """

    value: np.ndarray | None = None
    facts: Any = None
    shared: Any = None


class Damaged(ValueError):
    """A file, or an item of it, is not what was written."""


class CutShort(Damaged):
    """A file is shorter than it says."""


class OtherSchema(Damaged):
    """A file is an entry, but of another version of the format."""


class LaterSchema(OtherSchema):
    """A file was written by a later version of evalkit."""


@dataclass(frozen=True, eq=False)
class Entry:
    """The index of one file.

    Attributes:
        path: of the file.
        kind, collection: what kind of things these are, and the digest of what they all depend on.
        keys: of the items, 32 hexadecimal digits each, in the order of the file.
        size: bytes of the file.
    """

    path: Path
    kind: str
    collection: str
    keys: tuple[str, ...]
    size: int
    _about: Mapping[str, Any] = field(repr=False)
    _digests: np.ndarray = field(repr=False)
    _dtype: np.dtype | None = field(repr=False)
    _start: int = field(repr=False)  # of the values, in bytes from the beginning of the file

    @property
    def large(self) -> bool:
        """Whether it is not merged with others any more, and read where it lies."""
        return len(self.keys) >= LARGE or self.size >= LARGE_BYTES

    @property
    def digests(self) -> Sequence[bytes]:
        """The digest of each item, 16 bytes, as `digest_of` computes it."""
        data = self._digests.tobytes()
        return [data[at : at + 16] for at in range(0, len(data), 16)]

    @property
    def ids(self) -> np.ndarray:
        """The keys as 16 bytes each."""
        return np.frombuffer(bytes.fromhex("".join(self.keys)), "S16")

    @property
    def sizes(self) -> np.ndarray:
        """The bytes of each item's value, int64."""
        each = 0 if self._dtype is None else self._dtype.itemsize
        counts = [0 if shape is None else math.prod(shape) for shape in self._about["shapes"]]
        return np.array(counts, np.int64) * each

    @property
    def facts(self) -> Sequence[Any]:
        """The facts of each item, whose values are not read."""
        return self._about["facts"] or [None] * len(self.keys)

    @property
    def shared(self) -> Sequence[Any]:
        """What items have in common: each value once."""
        found: Sequence[Any] = self._about["shared"]
        return found

    def items(self, wanted: Container[str] | None = None) -> Iterator[tuple[str, Item | Damaged]]:
        """Read items, all or those `wanted`, each with its key; what does not have its digest is Damaged.

        Values are read-only. Those of a `large` file are views of it, whose pages the system may take back; none but a
        damaged one is removed while a run uses its collection. Raises FileNotFoundError where the file has gone
        meanwhile, Damaged where it is cut short, and EvalkitError where it cannot be read.
        """
        about = self._about
        shapes, of = about["shapes"], about["of"]
        facts: Iterable[Any] = about["facts"] or itertools.repeat(None, len(shapes))
        shared = [(value, canonical(value)) for value in about["shared"]] or [(None, "null")]
        sizes = [0 if shape is None else math.prod(shape) for shape in shapes]
        values = None if self._dtype is None else self._values(sum(sizes))
        place = _place(self.kind, self.collection)
        digests = self._digests.tobytes()
        start = at = 0
        for number, (key, size, shape, own) in enumerate(zip(self.keys, sizes, shapes, facts, strict=True)):
            if wanted is None or key in wanted:
                value = None if shape is None or values is None else values[start : start + size].reshape(shape)
                common, text = shared[of[number] if of else 0]
                fits = _digest(place, key, value, own, text) == digests[at : at + 16]
                yield key, Item(value, own, common) if fits else Damaged(f"the item {key} of '{self.path}' is damaged")
            start += size
            at += 16

    def _values(self, count: int) -> np.ndarray:
        assert self._dtype is not None
        if not count:
            return np.empty(0, self._dtype)
        with _reading(self.path):
            if os.path.getsize(self.path) < self.size:
                raise CutShort(f"'{self.path}' is cut short")
            if self.large:
                return np.memmap(self.path, self._dtype, "r", self._start, (count,)).view(np.ndarray)
            # a view of a file that another machine removes would end the process
            values = np.fromfile(self.path, self._dtype, count, offset=self._start)
        if values.size != count:
            raise CutShort(f"'{self.path}' is cut short")
        values.flags.writeable = False
        return values


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Tell what a failing disk, or one file too many, says of a file from what its content says.

    Raises FileNotFoundError where it has gone, on a shared file system too, and EvalkitError where it cannot be read.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ESTALE:
            raise FileNotFoundError(error.errno, error.strerror, str(path)) from error
        raise EvalkitError(f"cannot read '{path}': {error.strerror or error}: mend that, and run again") from error


def digest_of(kind: str, collection: str, key: str, item: Item) -> bytes:
    """Digest all that an item is, and where it belongs: 16 bytes of a SHA-256."""
    return _digest(_place(kind, collection), key, item.value, item.facts, canonical(item.shared))


def _place(kind: str, collection: str) -> str:
    return f"[{canonical(kind)},{canonical(collection)}"


def _digest(place: str, key: str, value: np.ndarray | None, facts: Any, shared: str) -> bytes:
    """Digest the JSON of place, key, facts, what is shared, dtype and shape, and then the value."""
    own = "null" if facts is None else canonical(facts)
    if value is None:
        return hashlib.sha256(f'{place},"{key}",{own},{shared},null]'.encode()).digest()[:16]
    shape = "".join(f",{length}" for length in value.shape)
    hashed = hashlib.sha256(f'{place},"{key}",{own},{shared},["{value.dtype.str}"{shape}]]'.encode())
    hashed.update((value if value.flags.c_contiguous else np.ascontiguousarray(value)).data)
    return hashed.digest()[:16]


def write_entry(folder: Path, kind: str, collection: str, items: Mapping[str, Item]) -> Path:
    """Write items into a file of a folder, whose name is the digest of its index, and give its path.

    A sound file of that name stays as it is, since others may be reading it, and is as young as a new one.

    Args:
        items: by their keys, 32 hexadecimal digits each; their values have one dtype, of those that can be read.

    Raises EvalkitError where the file cannot be written.
    """
    from safetensors.numpy import save

    values = [item.value for item in items.values() if item.value is not None]
    shared: dict[str, tuple[int, Any]] = {}
    of = [shared.setdefault(canonical(item.shared), (len(shared), item.shared))[0] for item in items.values()]
    about = canonical(
        {
            "schema": SCHEMA,
            "kind": kind,
            "collection": collection,
            "shapes": [None if item.value is None else item.value.shape for item in items.values()],
            "facts": [item.facts for item in items.values()]
            if any(i.facts is not None for i in items.values())
            else [],
            "shared": [value for _, value in shared.values()],
            "of": of,
        }
    )
    keys = np.frombuffer(bytes.fromhex("".join(items)), np.uint8).reshape(len(items), 16)
    digests = b"".join(digest_of(kind, collection, key, item) for key, item in items.items())
    tensors = {"keys": keys, "digests": np.frombuffer(digests, np.uint8).reshape(keys.shape)}
    if values:
        (dtype,) = {value.dtype for value in values}
        if dtype.str not in _DTYPES.values():
            raise TypeError(f"values of {dtype} cannot be kept")
        tensors["values"] = np.concatenate([value.ravel() for value in values]).astype(dtype, copy=False)
    data = save(tensors, {"evalkit": about})
    (length,) = struct.unpack_from("<Q", data)
    path = folder / f"{_name(data[8 : 8 + length], keys.tobytes(), digests)}{SUFFIX}"
    if _sound(path):
        with suppress(OSError):
            os.utime(path)
            return path
    write_bytes(path, data)
    return path


def _sound(path: Path) -> bool:
    """Whether a file is there, and all of it is what was written."""
    try:
        return all(isinstance(item, Item) for _, item in read_entry(path).items())
    except (FileNotFoundError, Damaged, EvalkitError):
        return False


def read_entry(path: Path) -> Entry:
    """Read and check the index of a file.

    Raises FileNotFoundError where there is none, OtherSchema where it is of another version, Damaged where it is not
    what was written, and EvalkitError where it cannot be read.
    """
    try:
        with _reading(path), path.open("rb") as file:
            return _read(path, file)
    except Damaged:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise Damaged(f"'{path}' is damaged: {error}") from error


def _read(path: Path, file: BinaryIO) -> Entry:
    size = file.seek(0, 2)
    file.seek(0)
    if size < 8:
        raise CutShort(f"'{path}' is cut short")
    (length,) = struct.unpack("<Q", file.read(8))
    if length > size - 8:
        raise CutShort(f"'{path}' is cut short")
    head = file.read(length)
    header = json.loads(head)
    start = 8 + length
    whole = start + max(header[name]["data_offsets"][1] for name in header if name != "__metadata__")
    if size != whole:
        raise CutShort(f"'{path}' is cut short") if size < whole else Damaged(f"'{path}' is too long")

    def bytes_of(name: str) -> bytes:
        first, last = header[name]["data_offsets"]
        file.seek(start + first)
        return file.read(last - first)

    keys, digests = bytes_of("keys"), bytes_of("digests")
    if path.name != f"{_name(head, keys, digests)}{SUFFIX}":  # so it is in each version of the format
        raise Damaged(f"the index of '{path}' is damaged")
    known = json.loads(header["__metadata__"]["evalkit"])
    if known["schema"] != SCHEMA:
        kind = LaterSchema if known["schema"] > SCHEMA else OtherSchema
        raise kind(f"'{path}' is of schema {known['schema']}, not {SCHEMA}")
    text = keys.hex()
    values = header.get("values")
    dtype, first = (np.dtype(_DTYPES[values["dtype"]]), values["data_offsets"][0]) if values else (None, 0)
    count = sum(math.prod(shape) for shape in known["shapes"] if shape is not None)
    if dtype is not None and values["data_offsets"][1] - first != count * dtype.itemsize:
        raise Damaged(f"'{path}' is damaged")
    return Entry(
        path=path,
        kind=known["kind"],
        collection=known["collection"],
        keys=tuple(text[i : i + 32] for i in range(0, len(text), 32)),
        size=size,
        _about=known,
        _digests=np.frombuffer(digests, np.uint8).reshape(-1, 16),
        _dtype=dtype,
        _start=start + first,
    )


def _name(header: bytes, keys: bytes, digests: bytes) -> str:
    """The digest of an index: all but the values, which the items' own digests cover."""
    return hashlib.sha256(b"\n".join((header, keys, digests))).hexdigest()[:32]
