"""Write what metrics need of references into one file without audio, with which others can run them.

evalkit references pack [CLIPS] OUT.safetensors prompts=NAME [OPTION=VALUE ...]
                        [--licence TEXT] [--about TEXT] [--config-dir DIR] [--quiet]

Options are those of `evalkit run`: metric=[...] chooses what is packed for, and sampling.duration how long generated
clips are that will be compared with the references. Without CLIPS the references are those that the prompts have.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from evalkit import commands
from evalkit.commands import parse, parser_for
from evalkit.errors import EvalkitError

OPTION = re.compile(r"[+~]*[A-Za-z_][\w.@/]*=")  # what an option of a run begins with


def main(arguments: list[str]) -> None:
    """Run `evalkit references pack`."""
    parsed = parse(parser(), arguments)
    options = [one for one in parsed.arguments if OPTION.match(one)] + parsed.options
    places = [one for one in parsed.arguments if not OPTION.match(one)]
    if not 1 <= len(places) <= 2:
        raise EvalkitError(f"{len(places)} places are given: write 'evalkit references pack CLIPS OUT.safetensors ...'")
    from evalkit.config import compose, in_quotes, key_of  # here, because help need not wait for it
    from evalkit.packs.files import require_new, write_pack
    from evalkit.packs.packed import PIN
    from evalkit.report.numbers import count
    from evalkit.store.digests import sha256_file

    out = Path(places[-1]).expanduser().absolute()
    require_new(out)
    given = {key_of(option) for option in options}
    if len(places) == 2:
        if "prompts.references" in given:
            raise EvalkitError(f"'{places[0]}' and prompts.references are both given: leave one out")
        options.append(f"prompts.references={in_quotes(places[0])}")
    if "model" not in given:
        options.append("model=synth")  # a run must have one: it needs no file, and generates nothing here
    config = compose(options, parsed.config_dir)
    from evalkit.packing.making import pack_of  # here, because importing torch takes seconds: mistakes are told at once

    made = pack_of(config, parsed.licence, parsed.about)
    write_pack(out, made.pack)
    about = made.pack.about
    print(f"references {made.coverage} of {about.dataset}, {about.subset}; protocol {about.protocol}")
    for encoder in about.encoders:
        random = ", random weights" if encoder.random else ""
        print(f"features of {encoder.kind} (metric {', '.join(encoder.metrics)}){random}")
    if about.rendered:
        print(f"rendered by {about.rendered.by}, not recordings")
    print(f"licence: {about.licence}")
    print(f"packed: {out} ({out.stat().st_size / 1e6:.1f} MB, {count(len(made.pack.parts))} parts, no audio)")
    print(f"to run with it: prompts.references={out}{PIN}{sha256_file(out)}")


def parser() -> argparse.ArgumentParser:
    """Make the parser of the action."""
    found = parser_for("references pack", __doc__)
    found.add_argument(
        "arguments", nargs="+", metavar="CLIPS OUT.safetensors OPTION=VALUE",
        help="a folder of clips or a CSV or JSONL file with columns id and path; the file to write, which must not "
        "exist; and options of 'evalkit run'",
    )  # fmt: skip
    found.add_argument("--licence", default="unknown", metavar="TEXT", help="under what others may use the pack")
    found.add_argument("--about", default="", metavar="TEXT", help="what else the pack says of itself")
    found.add_argument("--config-dir", metavar="DIR", help="a folder of your own YAMLs")
    commands.shows_progress(found)
    found.set_defaults(options=[])
    return found
