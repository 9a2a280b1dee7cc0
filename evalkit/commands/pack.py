"""Write a result into one archive, with the audio that it was measured on.

evalkit pack RESULT OUT.zip [--no-audio] [--no-references]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from evalkit.commands import parse, parser_for


def main(arguments: list[str]) -> None:
    """Run `evalkit pack`."""
    parsed = parse(parser(), arguments)
    from evalkit.results.pack import pack
    from evalkit.results.result import Result

    archive = Path(parsed.archive).expanduser().absolute()
    if archive.suffix != ".zip":
        archive = archive.with_name(f"{archive.name}.zip")
    audio = not parsed.no_audio
    pack(Result.load(parsed.result), archive, audio, audio and not parsed.no_references)
    print(f"packed: {archive} ({archive.stat().st_size / 1e6:.1f} MB)")


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    found = parser_for("pack", __doc__)
    found.add_argument("result", metavar="RESULT", help="a folder that evalkit run made")
    found.add_argument("archive", metavar="OUT.zip", help="the archive; unpacked, it is a result again")
    found.add_argument("--no-audio", action="store_true", help="leave all audio out")
    found.add_argument("--no-references", action="store_true", help="leave the references' audio out")
    return found
