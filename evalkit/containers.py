"""How much sound a file's header declares, and how much there is: they differ where a file was cut short.

libsndfile takes what is there for all there is. It refuses or notices a cut FLAC, MP3 or CAF file itself, and
reads the others here as shorter ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NamedTuple

# The id of a chunk of samples, after the 4 bytes that open a file and the 4 that say what kind it is.
_SAMPLES = {b"WAVE": b"data", b"AIFF": b"SSND", b"AIFC": b"SSND", b"8SVX": b"BODY"}

_W64 = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # what follows "data", and all other names but "riff", in Wave64

# Encoders that write to a pipe cannot come back to fill in a length. They leave 0, or the largest number there is
# (ffmpeg: 2^32 - 1), or one close to 2^31 (sox: 2^31 - 4,096; others 2^31 - 37).
_OPEN = 2**31 - 2**16


class Extent(NamedTuple):
    """Bytes of samples: how many are there, and how many a header declares."""

    present: int
    declared: int


def extent(path: Path) -> Extent | None:
    """How many bytes of samples a WAV, RF64, W64, AIFF, 8SVX or AU file has and declares.

    None for other files, for a header that leaves the length open, as one written to a pipe does, and for one
    without samples. Raises OSError for a file that cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        found = _declared(file, size)
    if found is None:
        return None
    start, declared = found
    return Extent(min(size - start, declared), declared) if size > start else None


def ends_in_a_page(path: Path) -> bool:
    """Whether an Ogg file ends within one of the pages that it is made of. Raises OSError for a file not to be read."""
    with path.open("rb") as file:
        size, at = file.seek(0, 2), 0
        while at < size:
            file.seek(at)
            header = file.read(27)
            if not header.startswith(b"OggS"):
                return False  # no Ogg file, or something else behind its pages
            lengths = file.read(header[26]) if len(header) == 27 else b""
            if len(header) < 27 or len(lengths) < header[26]:
                return True
            at += 27 + header[26] + sum(lengths)
    return at > size


def _declared(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """Where the samples start, and how many bytes of them there are by the header; None where it does not say."""
    file.seek(0)
    start = file.read(40)
    kind = start[:4]
    if kind in (b"RIFF", b"RF64", b"BW64", b"RIFX", b"FORM"):
        return _in_chunks(file, size, kind, _SAMPLES.get(start[8:12], b""))
    if kind == b"riff" and start[24:28] == b"wave":
        return _in_wave64(file, size)
    if kind in (b".snd", b"dns."):
        order = "big" if kind == b".snd" else "little"
        offset, declared = (int.from_bytes(start[i : i + 4], order) for i in (4, 8))  # type: ignore[arg-type]
        return (offset, declared) if 0 < declared < _OPEN else None
    return None


def _in_chunks(file: BinaryIO, size: int, kind: bytes, samples: bytes) -> tuple[int, int] | None:
    """The samples' chunk among those of 4 bytes of name, 4 of length, padded to even."""
    at, long = 12, 0
    while at + 8 <= size:
        file.seek(at)
        header = file.read(8)
        length = int.from_bytes(header[4:], "big" if kind in (b"RIFX", b"FORM") else "little")
        if header[:4] == b"ds64":
            long = int.from_bytes(file.read(16)[8:], "little")  # after the length of the file
        if header[:4] == samples:
            if kind in (b"RF64", b"BW64") and length == 2**32 - 1:
                return (at + 8, long) if 0 < long < 2**63 - 1 else None
            return (at + 8, length) if 0 < length < _OPEN else None
        at += 8 + length + length % 2
    return None


def _in_wave64(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """The samples' chunk among those of 16 bytes of name, 8 of length with these 24, padded to 8."""
    at = 40
    while at + 24 <= size:
        file.seek(at)
        header = file.read(24)
        length = int.from_bytes(header[16:], "little")
        if header[:16] == b"data" + _W64:
            return (at + 24, length - 24) if 24 < length < 2**63 - 1 else None
        at += max(length, 24) + -length % 8
    return None
