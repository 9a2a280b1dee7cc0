"""Whether files that came from elsewhere are whole, and, where that is known, the ones that were published."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from evalkit.assets import Asset

LONGEST = 100_000_000  # bytes of a safetensors header, by its format
BLOCK = 1 << 20


def damage(asset: Asset, place: Path, read_data: bool, advance: Callable[[int], None] = lambda size: None) -> str:
    """Say what is wrong with the file or folder of an asset; nothing where nothing is.

    Sizes are compared, and what a safetensors file says of itself. Every byte is read only if that is asked for: then
    digests are compared too, those of the asset and those that a hub's cache names its files by.

    Args:
        place: where it lies, as `Asset.find` says.
        advance: is told how many bytes were read.
    """
    for file in files(asset, place):
        try:
            size = file.stat().st_size
            if why := _at_a_look(asset, file, size):
                return why
            if read_data and (why := _digest_differs(asset, file, size, advance)):
                return why
        except OSError as error:
            return f"'{file}' cannot be read: {error.strerror or error}"
    return ""


def files(asset: Asset, place: Path) -> Iterator[Path]:
    """The files of an asset; links that lead nowhere are among them."""
    if not place.is_dir():
        yield place
        return
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if not path.is_dir() and any(fnmatch.fnmatch(name, pattern) for pattern in asset.files or ["*"]):
            yield path


def known_digest(asset: Asset, file: Path) -> str:
    """The digest that a file must have, or its first digits; empty where none is known.

    A hub's cache holds each file under its SHA-256, or, if it is small, under the SHA-1 that git has of it.
    """
    if asset.path or asset.unpack:
        return ""
    if asset.url:
        return asset.sha256 or ""
    name = file.resolve().name
    return name if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name) else ""


def _at_a_look(asset: Asset, file: Path, size: int) -> str:
    if not size:
        return f"'{file}' is empty"
    if asset.url and not (asset.path or asset.unpack) and asset.size and size != asset.size:
        return f"'{file}' has {size:,} bytes, where {asset.size:,} were published"
    if file.suffix == ".safetensors" and (declared := _declared(file, size)) != size:
        said = f"where its header says {declared:,}" if declared else "and no header that can be read"
        return f"'{file}' has {size:,} bytes, {said}"
    return ""


def _declared(file: Path, size: int) -> int:
    """How many bytes a safetensors file has by its own header; 0 where that cannot be read."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 0 < length <= min(LONGEST, size - 8):
            return 0
        try:
            header = json.loads(opened.read(length))
            ends = [one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"]
            return 8 + length + max(ends, default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return 0


def _digest_differs(asset: Asset, file: Path, size: int, advance: Callable[[int], None]) -> str:
    known = known_digest(asset, file)
    of_git = len(known) == 40 and not asset.url
    found = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if of_git else hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(BLOCK):
            found.update(block)
            advance(len(block))
    if found.hexdigest().startswith(known):
        return ""
    return f"'{file}' has other content than was published"
