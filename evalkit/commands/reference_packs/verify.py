"""Check a reference pack against audio: are the references the same files, and do the same features come of them?

evalkit references verify PACK [CLIPS] [OPTION=VALUE ...] [--config-dir DIR] [--format NAME] [--json] [--quiet]
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from evalkit import commands
from evalkit.commands import fail, parse, parser_for, show
from evalkit.commands.reference_packs.pack import OPTION
from evalkit.errors import EvalkitError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from evalkit.packing.verifying import Verified
    from evalkit.packs.pack import Pack
    from evalkit.report.document import Document

UNVERIFIED = 1  # exit status where the pack is not one of this audio
MORE = (
    "Prompts, protocol and metric are those of the pack where no option says otherwise; prompts.random=N looks at N "
    "prompts. Features that are in the cache are taken from there. Exit status: 0 where all usable references of the "
    "pack that were looked at are the same files, with features equal to the last bit; 1 where not; 2 for a mistake."
)


def main(arguments: list[str]) -> None:
    """Run `evalkit references verify`."""
    commands.end(lambda: checked(parse(parser(), arguments)))


def parser() -> argparse.ArgumentParser:
    """Make the parser of the action."""
    found = parser_for("references verify", __doc__)
    found.epilog = MORE
    found.add_argument("pack", metavar="PACK", help="a .safetensors file, or OWNER/NAME@COMMIT of a hub")
    found.add_argument("clips", nargs="?", metavar="CLIPS", help="a folder, or a CSV or JSONL file with columns id and "
        "path; without it the references that the prompts have")  # fmt: skip
    commands.takes_options(found)
    commands.prints_table(found, without=("junit",))
    commands.shows_progress(found)
    return found


def checked(parsed: argparse.Namespace) -> int:
    """Compare, print what came out, and return the exit status."""
    from evalkit.packs.packed import named
    from evalkit.store.cache import Cache

    options, clips = list(parsed.options), parsed.clips
    if clips is not None and OPTION.match(clips):
        options, clips = [clips, *options], None
    pack = named(parsed.pack).read(Cache())
    config = configuration(pack, clips, options, parsed.config_dir)
    from evalkit.packing.verifying import verify  # here, because importing torch takes seconds

    found = verify(config, pack)
    show(document(pack, found), parsed.format)
    if reasons := found.problems:
        fail(f"'{parsed.pack}' is not verified: {'; '.join(reasons)}", UNVERIFIED)
    return 0


def configuration(pack: Pack, clips: str | None, options: list[str], config_dir: str | None) -> DictConfig:
    """Compose what the pack is compared with: as it was made, where the options say nothing else."""
    from evalkit.config import compose, in_quotes, key_of, yamls
    from evalkit.reproducing.composing import metric_files

    given = {key_of(option) for option in options}
    if clips is not None:
        if "prompts.references" in given:
            raise EvalkitError(f"'{clips}' and prompts.references are both given: leave one out")
        options = [*options, f"prompts.references={in_quotes(clips)}"]
    about, known = pack.about, compose(["model=[]", "prompts=demo", "metric=[]"], config_dir)
    if not given & {"prompts", "experiment"}:
        if about.dataset not in yamls(known, "prompts"):
            raise EvalkitError(
                f"the pack was made of '{about.dataset}': say which prompts, as in prompts=table prompts.path=FILE"
            )
        options.insert(0, f"prompts={about.dataset}")
    if not given & {"protocol", "experiment"} and about.protocol in yamls(known, "protocol"):
        options.insert(0, f"protocol={about.protocol}")
    if about.rendered and "sampling.duration" not in given:
        options.append(f"sampling.duration={about.rendered.duration:g}")
    if not given & {"metric", "experiment"}:
        packed, files = {metric for encoder in about.encoders for metric in encoder.metrics}, metric_files(known)
        options.insert(0, f"metric=[{','.join(sorted({files[name] for name in packed if name in files}))}]")
    if "model" not in given:
        options.append("model=synth")  # a run must have one: it needs no file, and generates nothing here
    return compose(options, config_dir)


def document(pack: Pack, found: Verified) -> Document:
    """What was compared for people, and which prompts for programs."""
    from evalkit.report.document import Document, Item, Listing, Quantity

    columns = [
        [Quantity("what", "compared", "word")],
        [Quantity("parts", "parts", "count")],
        [Quantity("equal", "equal", "count", "to the last bit, of the parts of the same files")],
        [Quantity("largest", "largest difference", "word")],
    ]
    rows = []
    for what, one in found.features.items():
        cell = {"what": what, "parts": one.parts, "equal": one.equal, "largest": one.largest}
        rows.append(Item({**cell, "largest": f"{one.largest:.3g}"}, cell))
    ids: dict[str, list[str]] = {}
    for name, state in found.references.items():
        ids.setdefault(state, []).append(name)
    counts = Listing(
        [[Quantity("found", "found", "verdict")], [Quantity("count", "count", "count")]],
        [Item(cell := {"found": what, "count": len(some)}, cell) for what, some in ids.items()],
        title="References by prompt",
    )
    same, outcome = len(ids.get("same", [])), "not verified" if found.problems else "verified"
    looked_at = sum(len(ids.get(state, [])) for state in ("same", "other content", "gone"))
    heading = (
        f"{same:,} of {pack.usable:,} references of the pack are the same files"
        if looked_at == pack.usable
        else f"{same:,} of the {looked_at:,} references looked at are the same files ({pack.usable:,} in the pack)"
    )
    plain = {"verified": not found.problems, "references": ids, "devices": found.device, "sha256": pack.sha256}
    return Document(
        f"pack {pack.name}",
        heading,
        Listing(columns, rows),
        more=[counts],
        plain=plain,
        outcome=outcome,
        reasons=found.problems,
    )
