"""Checkpoints in TensorFlow's format, made up: what a bundle of tensors is, written byte by byte."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.musicnn import MEMBERS, Network
from benchmarks.tensor_bundle import MAGIC

TYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "bool": 10}


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(pairs: Mapping[bytes, bytes], restart_every: int = 3) -> bytes:
    """A block whose keys share their beginnings, but for those at which reading may start."""
    content, restarts, before = b"", [], b""
    for i, (key, value) in enumerate(pairs.items()):
        shared = 0
        if i % restart_every:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        else:
            restarts.append(len(content))
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return content + struct.pack(f"<{len(restarts)}I", *restarts) + struct.pack("<I", len(restarts))


def bundle(tensors: Mapping[str, np.ndarray], per_block: int = 4, compressed: bool = False) -> tuple[bytes, bytes]:
    """The index and the data of a checkpoint."""
    data, entries = b"", {b"": field(1, 1)}  # of how many files
    for name, tensor in sorted(tensors.items()):
        shape = b"".join(field(2, field(1, size)) for size in tensor.shape)
        entry = field(1, TYPES[str(tensor.dtype)]) + field(2, shape)
        entry += (field(4, len(data)) if data else b"") + field(5, tensor.nbytes)
        entries[name.encode()] = entry + varint(6 << 3 | 5) + b"\0\0\0\0"  # a checksum
        data += tensor.tobytes()  # row by row, whatever their order in memory
    content, handles = b"", {}
    items = list(entries.items())
    for at in range(0, len(items), per_block):
        part = block(dict(items[at : at + per_block]))
        handles[items[min(at + per_block, len(items)) - 1][0]] = varint(len(content)) + varint(len(part))
        content += part + bytes([compressed]) + b"\0\0\0\0"  # how it is compressed; a checksum
    last = block(handles)
    footer = varint(0) + varint(0) + varint(len(content)) + varint(len(last))
    index = content + last + b"\0" + b"\0\0\0\0" + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    return index, data


def musicnn(path: Path, network: Network) -> Path:
    """A file as `pip download` brings it, with the weights of a network under TensorFlow's names."""
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    tensors: dict[str, np.ndarray] = {"beta1_power": np.float32(0).reshape(())}
    convolutions = [f"front.{i}" for i in range(5)] + [f"middle.{i}" for i in range(3)]
    for number, own in enumerate(convolutions):
        name = f"conv2d_{number}" if number else "conv2d"
        weight = state[f"{own}.weight"]
        weight = weight[:, :, :, None].transpose(2, 1, 3, 0) if weight.ndim == 3 else weight.transpose(2, 3, 1, 0)
        tensors |= {f"{name}/kernel": weight, f"{name}/bias": state[f"{own}.bias"]}
    for own, name in (("dense", "dense"), ("tags", "dense_1")):
        tensors |= {f"{name}/kernel": state[f"{own}.weight"].T, f"{name}/bias": state[f"{own}.bias"]}
    norms = ["entry", *(f"front_norms.{i}" for i in range(5)), *(f"middle_norms.{i}" for i in range(3))]
    for number, own in enumerate([*norms, "pooled", "last"]):
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        tensors |= {f"{name}/gamma": state[f"{own}.weight"], f"{name}/beta": state[f"{own}.bias"]}
        tensors |= {f"{name}/moving_mean": state[f"{own}.running_mean"]}
        tensors |= {f"{name}/moving_variance": state[f"{own}.running_var"]}
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in zip(
            MEMBERS, bundle({k: np.ascontiguousarray(v) for k, v in tensors.items()}), strict=True
        ):
            archive.writestr(member, content)
    return path
