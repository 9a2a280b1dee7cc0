"""Make one reference pack of several: of partial downloads, of other metrics, or for clips of other durations.

evalkit references join PACK PACK ... OUT.safetensors
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.commands import parse, parser_for
from evalkit.errors import EvalkitError

if TYPE_CHECKING:
    from evalkit.packs.pack import Pack

MORE = (
    "Of each prompt the first usable reference is taken, in the order of the packs. Packs of other data, captions, "
    "protocols, weights or types of devices are refused, and so is what would leave a reference without some features."
)


def main(arguments: list[str]) -> None:
    """Run `evalkit references join`."""
    *names, place = parse(parser(), arguments).packs
    if len(names) < 2:
        raise EvalkitError("give two packs or more, and behind them the file to write")
    from evalkit.packs.files import require_new, write_pack
    from evalkit.packs.joining import first_of, joined  # here, because help need not wait for numpy
    from evalkit.packs.packed import named
    from evalkit.report.numbers import counted
    from evalkit.store.cache import Cache

    out = Path(place).expanduser().absolute()
    require_new(out)
    packs = [dataclasses.replace(named(name).read(Cache()), name=name) for name in names]
    made = joined(packs)
    write_pack(out, made.pack)
    for pack in packs:
        print(f"{pack.name}: {held(pack)}")
    if left := made.other_content:
        print(f"other audio of {counted(len(left), 'prompt')} in a later pack was left out: {first_of(left)}")
    for kind, (count, most) in made.other_features.items():
        parts = counted(count, "part")
        print(f"features of {kind} differ in {parts} of the same audio, by {most:.3g} at most: the first were kept")
    print(f"licence: {made.pack.about.licence}")
    print(f"joined: {out} ({held(made.pack)}, {out.stat().st_size / 1e6:.1f} MB)")


def held(pack: Pack) -> str:
    """How many references a pack holds, and for which metrics."""
    metrics = dict.fromkeys(metric for encoder in pack.about.encoders for metric in encoder.metrics)
    return f"references {pack.usable:,} of {len(pack.references):,}, metric {', '.join(metrics)}"


def parser() -> argparse.ArgumentParser:
    """Make the parser of the action."""
    found = parser_for("references join", __doc__)
    found.epilog = MORE
    found.add_argument(
        "packs", nargs="+", metavar="PACK", help="files, or OWNER/NAME@COMMIT of a hub; behind them the file to write"
    )
    return found
