"""Say how many prompts have a reference that can be used, what is wrong with the others, and list these for download.

evalkit references status prompts=NAME prompts.references=CLIPS [OPTION=VALUE ...] [--decode] [--missing FILE]
                          [--config-dir DIR] [--format NAME] [--json] [--quiet]
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit import commands
from evalkit.commands import fail, parse, parser_for, show
from evalkit.errors import EvalkitError, NothingThere

if TYPE_CHECKING:
    from evalkit.prompts import Prompts
    from evalkit.report.document import Document
    from evalkit.types import Clip, PromptSet

LACKING = 1  # exit status where fewer can be used than a run wants
ENDS = "Exit status: 0 where as many can be used as a run wants (min_references), 1 where fewer can, 2 for a mistake."
NAMED = 3  # prompts that are named for each reason


def main(arguments: list[str]) -> None:
    """Run `evalkit references status`."""
    commands.end(lambda: counted(parse(parser(), arguments)))


def parser() -> argparse.ArgumentParser:
    """Make the parser of the action."""
    found = parser_for("references status", __doc__)
    found.epilog = ENDS
    commands.takes_options(found)
    found.add_argument("--decode", action="store_true", help="decode every file: finds truncated and silent ones too")
    found.add_argument("--missing", metavar="FILE", help="write those without a usable reference into FILE.csv, with "
        "all columns of the prompts' own file, or the addresses of their videos into FILE.txt")  # fmt: skip
    commands.prints_table(found, without=("junit",))  # where nothing is judged there are no test cases
    commands.shows_progress(found)
    return found


def counted(parsed: argparse.Namespace) -> int:
    """Count what is asked for, print it, and return the exit status."""
    from evalkit.checks.references import enough, surveyed
    from evalkit.config import build, compose, key_of
    from evalkit.prompts.wanted import list_of, require_form
    from evalkit.store.cache import Cache
    from evalkit.store.files import write_output
    from evalkit.types import Clip

    given = {key_of(option) for option in parsed.options}
    if not given & {"prompts", "experiment"}:
        raise EvalkitError("say which prompts, as in prompts=musiccaps prompts.references=CLIPS")
    beside = [] if "model" in given else ["model=[]"]
    config = compose([*beside, *parsed.options], parsed.config_dir)
    cache, options = Cache(config.cache_dir), build(config.prompts, list(config.allow_targets))
    prompts = options.load(cache)
    path = Path(parsed.missing).expanduser().absolute() if parsed.missing else None
    if path is not None:
        require_form(path, prompts.prompts)
    try:
        clips = surveyed(prompts, options, config, parsed.decode)
    except NothingThere as error:  # as before the first download
        clips = [Clip(prompt.id, status="missing", reason=str(error)) for prompt in prompts.prompts]
    show(document(prompts, clips, config.min_references, how(options, parsed.decode)), parsed.format)
    if path is not None:
        wanted = [prompt for prompt, clip in zip(prompts.prompts, clips, strict=True) if not clip.ok]
        write_output(path, list_of(path, wanted, options, cache))
        print(f"list of {len(wanted):,}: {path}")
    usable = sum(clip.ok for clip in clips)
    if not enough(usable, len(clips), config.min_references):
        said = f"{usable:,} of {len(clips):,} can be used"
        fail(f"{said}: a run wants {config.min_references:.0%} of them (min_references)" if usable else said, LACKING)
    return 0


def how(options: Prompts, decode: bool) -> str:
    """How references were looked at, in words."""
    from evalkit.models import Generator
    from evalkit.packs.packed import Packed

    if isinstance(options.references, Packed):
        return "from a pack"
    if isinstance(options.references, Generator):
        return f"rendered by {getattr(options.references, 'kind', 'a model')}"
    return "decoded" if decode else "by header; --decode finds more"


def document(prompts: PromptSet, clips: Sequence[Clip], wanted: float, how: str) -> Document:
    """The counts for people, and ids and reasons for programs.

    Args:
        wanted: the share that a run wants.
        how: they were looked at, in words.
    """
    from evalkit.report.document import Document, Item, Listing, Quantity
    from evalkit.report.numbers import counted as number_of

    columns = [
        [Quantity("status", "references", "verdict")],
        [Quantity("count", "count", "count")],
        [Quantity("share", "share", "share")],
        [Quantity("named", "such as", "word")],
        [Quantity("reason", "why, of the first", "word")],
    ]
    usable = [clip for clip in clips if clip.ok]
    rows = [Item(cell := _cell("usable", usable, len(clips)), cell)]
    for status, _ in Counter(clip.status for clip in clips if not clip.ok).most_common():
        some = [clip for clip in clips if clip.status == status]
        cell = _cell(status, some, len(clips))
        names = ", ".join(clip.id for clip in some[:NAMED]) + (", …" if len(some) > NAMED else "")
        rows.append(Item({**cell, "named": names, "reason": some[0].reason}, cell))
    cut = sum(bool(clip.note) for clip in usable)
    first = next((f"{clip.id}: {clip.note}" for clip in usable if clip.note), "")
    notes = [f"of the usable ones, {number_of(cut, 'longer file')} will be cut, such as {first}"] if cut else []
    plain = {
        "dataset": prompts.dataset, "subset": prompts.subset, "prompts": len(clips), "usable": len(usable),
        "min_references": wanted, "looked_at": how,
        "unusable": {clip.id: {"status": clip.status, "reason": clip.reason} for clip in clips if not clip.ok},
    }  # fmt: skip
    title = f"references of {prompts.dataset}, {prompts.subset}"
    heading = f"{title}: {len(usable):,} of {len(clips):,} can be used ({how})"
    return Document(title, heading, Listing(columns, rows), notes=notes, plain=plain)


def _cell(status: str, clips: Sequence[Clip], total: int) -> dict[str, Any]:
    return {"status": status, "count": len(clips), "share": len(clips) / total}
