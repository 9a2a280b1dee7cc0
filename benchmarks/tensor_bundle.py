"""Reads the variables of a TensorFlow checkpoint of version 2, a "tensor bundle", without TensorFlow.

A bundle is an index, which is a sorted-string table as LevelDB has it whose values are Protocol Buffers, and files of
the tensors' bytes. Formats: tensorflow/core/protobuf/tensor_bundle.proto, and LevelDB's doc/table_format.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from evalkit.errors import EvalkitError

FOOTER, MAGIC = 48, 0xDB4775248B80FB57
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}  # by TensorFlow's numbers of types


def read(index: bytes, data: bytes) -> dict[str, np.ndarray]:
    """Read all tensors of a bundle of one data file, by name.

    Raises EvalkitError for a file that is damaged or of another format, and for tensors of other types.

    Args:
        index, data: what the files `.index` and `.data-00000-of-00001` hold.
    """
    try:
        entries = {key.decode(): _message(value) for key, value in _table(index)}
        del entries[""]  # of the bundle itself
        return {name: _tensor(name, entry, data) for name, entry in entries.items()}
    except (IndexError, KeyError, ValueError, TypeError, struct.error) as error:
        raise EvalkitError(
            f"the checkpoint cannot be read: it is incomplete, or of another format ({error})"
        ) from error


def _tensor(name: str, entry: dict[int, list[Any]], data: bytes) -> np.ndarray:
    """A tensor from its entry: 1 type, 2 shape, 3 number of the file, 4 offset, 5 size in bytes."""
    dtype = DTYPES.get(entry[1][0])
    if dtype is None or any(entry.get(3, [])) or 7 in entry:
        raise EvalkitError(f"the checkpoint's '{name}' is of a type, or in a file, that is not read here")
    shape = [_message(one).get(1, [0])[0] for one in _message(entry[2][0]).get(2, [])]
    (size,), (offset,) = entry[5], entry.get(4, [0])
    return np.frombuffer(data[offset : offset + size], dtype).reshape(shape)


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All keys and values of a sorted-string table."""
    footer = content[-FOOTER:]
    if struct.unpack("<Q", footer[-8:])[0] != MAGIC:
        raise ValueError("no sorted-string table")
    _, _, at = _handle(footer, 0)  # of a block of metadata
    offset, size, _ = _handle(footer, at)
    for _, handle in _block(content, offset, size):
        offset, size, _ = _handle(handle, 0)
        yield from _block(content, offset, size)


def _handle(content: bytes, at: int) -> tuple[int, int, int]:
    """Where a block lies: its offset and size; and where what follows the handle begins."""
    offset, at = _varint(content, at)
    size, at = _varint(content, at)
    return offset, size, at


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The keys, of which each begins as the one before it does, and the values of a block."""
    if content[offset + size] != 0:
        raise ValueError("a block is compressed")
    block = content[offset : offset + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    end, at, key = size - 4 - 4 * restarts, 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _message(content: bytes) -> dict[int, list[Any]]:
    """The fields of a Protocol Buffer by number: whole numbers, and bytes."""
    fields: dict[int, list[Any]] = {}
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        value: Any
        if tag & 7 == VARINT:
            value, at = _varint(content, at)
        elif tag & 7 == BYTES:
            length, at = _varint(content, at)
            value, at = content[at : at + length], at + length
        else:
            length = {FIXED64: 8, FIXED32: 4}[tag & 7]
            value, at = int.from_bytes(content[at : at + length], "little"), at + length
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A whole number of seven bits a byte, the lowest first, and where what follows begins."""
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
