"""Write a result into one archive, with the audio that it was measured on.

evalkit pack RESULT OUT.zip [--no-audio] [--no-references]
"""

from __future__ import annotations

from pathlib import Path

from evalkit.commands import parse, parser_for


def main(arguments: list[str]) -> None:
    """Run `evalkit pack`."""
    parser = parser_for("pack", __doc__)
    parser.add_argument("result", metavar="RESULT", help="a folder that evalkit run made")
    parser.add_argument("archive", metavar="OUT.zip", help="the archive; unpacked, it is a result again")
    parser.add_argument("--no-audio", action="store_true", help="leave all audio out")
    parser.add_argument("--no-references", action="store_true", help="leave the references' audio out")
    parsed = parse(parser, arguments)
    from evalkit.results.pack import pack
    from evalkit.results.result import Result

    archive = Path(parsed.archive).expanduser().absolute()
    if archive.suffix != ".zip":
        archive = archive.with_name(f"{archive.name}.zip")
    audio = not parsed.no_audio
    pack(Result.load(parsed.result), archive, audio, audio and not parsed.no_references)
    print(f"packed: {archive} ({archive.stat().st_size / 1e6:.1f} MB)")
