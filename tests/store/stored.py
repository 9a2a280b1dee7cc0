"""Small caches with everything that a cache can hold, for tests of what reads and removes it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from evalkit.store import registers
from evalkit.store.cache import Cache
from evalkit.store.collection import Collection
from evalkit.store.digests import digest
from evalkit.store.entry import Item
from evalkit.store.files import write_bytes

OLD = -3 * 86400.0  # seconds from now


def key(number: int) -> str:
    return digest(["item", number])


def keys(shelf: Collection) -> set[str]:
    """The keys of all items of a collection, 32 hexadecimal digits each."""
    return {key for entry in shelf.entries() for key in entry.keys}


def features(cache: Cache, numbers: Iterable[int], key_of: str = "VGGish") -> Collection:
    """Store features, one entry for all."""
    shelf = cache.collection("features", key_of, key_of)
    shelf.write({key(number): Item(np.full((2, 8), number, np.float32)) for number in numbers})
    return shelf


def audio(number: int) -> bytes:
    return f"fLaC of clip {number}".encode() * 20


def clips(cache: Cache, numbers: Iterable[int], key_of: str = "musicgen") -> Collection:
    """Store clips, one entry for all, each with an audio file that it names."""
    shelf = cache.collection("clips", key_of, key_of)
    items = {}
    for number in numbers:
        sha256 = hashlib.sha256(audio(number)).hexdigest()
        path = f"audio/{sha256[:32]}.flac"
        (shelf.folder / path).parent.mkdir(parents=True, exist_ok=True)
        partial = shelf.folder / f".partial-{os.getpid()}"
        partial.write_bytes(audio(number))
        partial.rename(shelf.folder / path)
        items[key(number)] = Item(
            None, {"audio": path, "sha256": sha256, "bytes": len(audio(number))}, {"device": "cpu"}
        )
    shelf.write(items)
    return shelf


def audio_of(shelf: Collection, number: int) -> Path:
    return shelf.folder / "audio" / f"{hashlib.sha256(audio(number)).hexdigest()[:32]}.flac"


def made(cache: Cache, name: str = "tiny") -> Path:
    """Make a folder of files, such as a checkpoint."""

    def write(folder: Path) -> None:
        (folder / "inner").mkdir()
        (folder / "inner" / "weights").write_text(name * 100)
        (folder / "config.json").write_text("{}")

    return cache.made_folder(name, 1, write)


def result(folder: Path) -> Path:
    """A folder that holds a finished result, as far as the store can tell."""
    write_bytes(folder / "result.json", f"{{{folder.name}}}".encode())
    return folder


def finished(cache: Cache, folder: Path, used: dict[Collection, Iterable[int]]) -> Path:
    """Register a finished run, by the numbers of the items that it has used."""
    result(folder)
    keys = {
        shelf.name: np.sort(np.frombuffer(bytes.fromhex("".join(key(number)[:32] for number in numbers)), "S16"))
        for shelf, numbers in used.items()
    }
    registers.write(cache.root, folder, keys, keys.__getitem__)
    return folder


def earlier(cache: Cache) -> list[Path]:
    """Files that earlier versions wrote."""
    a, b = "a" * 32, "b" * 32
    names = [
        "digests.json", f"clips/{a}/batch-0123456789abcdef.json", f"clips/{a}/key.json", f"clips/{a}/{b}.flac",
        f"codes/{a}/codes-0123456789abcdef.npz", f"codes/{a}/codes-0123456789abcdef.json", f"codes/{a}/key.json",
        f"features/{a}/bb/{b}", f"features/peak/bb/{b}", f"features/{a}/packs/{b}.npz",
        "checkpoints/tiny-stereo-2-0/config.json", "checkpoints/tiny-stereo-2-0.sha256",
        "checkpoints/made-up-roberta-tokenizer/vocab.json",
    ]  # fmt: skip
    for name in names:
        write_bytes(cache.root / name, b"earlier")
    return [cache.root / name for name in names]


def age(folder: Path, seconds: float = OLD) -> None:
    """Let everything below a folder have been written some time from now, but for leases."""
    for root, _, names in os.walk(folder):
        for path in (Path(root, name) for name in names if Path(root).name != "leases"):
            with contextlib.suppress(FileNotFoundError):  # another process may have moved or removed it since
                moment = path.stat().st_mtime + seconds
                os.utime(path, (moment, moment))


def files(root: Path) -> dict[str, bytes]:
    """All files below a folder but for leases, with their contents."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.parent.name != "leases"
    }
