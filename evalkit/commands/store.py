"""List, check and tidy the cache: what was made once, and is kept for later runs.

evalkit store ls | verify [--read-data] [--repair] | gc [--keep RESULT ...] [--yes] | rm NAME ... [--yes]
              [--cache DIR] [--format NAME] [--json] [--quiet]
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit import commands
from evalkit.commands import parse, parser_for, show
from evalkit.errors import EvalkitError, unknown

if TYPE_CHECKING:
    from evalkit.report.document import Document, Item, Listing
    from evalkit.store.contents import Shelf, Size
    from evalkit.store.gc import Found
    from evalkit.store.registers import Run
    from evalkit.store.sizes import Sizes
    from evalkit.store.verify import Verdicts

LOSS = 1  # exit status of verify where something is lost
SHOWN = 5  # runs that are named in a note
CACHE = "cache_dir="

ABOUT = {
    "ls": "How much lies in the cache, by kind, by collection, and by the finished runs that use it.",
    "verify": "Check that all is there and as it was written, by the sizes of files; status 1 where something is lost.",
    "gc": "Show what no finished result, no running process and no item of the last 24 hours needs, and remove it.",
    "rm": "Show some collections, and remove them.",
}
EPILOG = (
    " ".join(f"{name}: {about[:1].lower()}{about[1:]}" for name, about in ABOUT.items())
    + " Without --yes nothing is removed, but what is damaged with --repair. 'evalkit store ACTION --help' says more."
)


def main(arguments: list[str]) -> None:
    """Run `evalkit store`."""
    action, *rest = arguments or ["--help"]
    if action in ("-h", "--help"):
        parser = parser_for("store", __doc__)
        parser.epilog = EPILOG
        parser.parse_args(["--help"])
    if action not in ACTIONS:
        raise unknown("action", action, ACTIONS)
    commands.end(lambda: ACTIONS[action](parse(parsers()[action], rest)) or 0)


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Make the parsers of the actions."""
    made = {name: argparse.ArgumentParser(f"evalkit store {name}", description=ABOUT[name]) for name in ABOUT}
    for name, parser in made.items():
        parser.add_argument("--cache", metavar="DIR", help="the cache; without it EVALKIT_CACHE, or ~/.cache/evalkit")
        if name != "rm":
            parser.add_argument("places", nargs="*", metavar="cache_dir=DIR", help="the same as --cache")
        commands.prints_table(parser, without=("junit",))
        commands.shows_progress(parser)
    made["verify"].add_argument("--read-data", action="store_true", help="read every byte and compare digests")
    made["verify"].add_argument(
        "--repair", action="store_true", help="remove what is damaged, so that the next run makes it"
    )
    made["gc"].add_argument("--yes", action="store_true", help="remove it; without this it is only shown")
    made["gc"].add_argument(
        *("--keep", "-k"), action="append", default=[], type=Path, metavar="RESULT",
        help="the folder of a result that was moved since, or a folder that holds such: keep what it uses",
    )  # fmt: skip
    made["rm"].add_argument("--yes", action="store_true", help="remove them; without this they are only shown")
    made["rm"].add_argument(
        *("places",), nargs="+", metavar="NAME",
        help="a kind such as features, a label or the first digits of a digest as ls shows them, or a run's folder",
    )  # fmt: skip
    return made


def opened(parsed: argparse.Namespace) -> tuple[Path, list[str]]:
    """The cache's folder, which may be given as the option of a run too, and the arguments beside that.

    Raises EvalkitError where there is none.
    """
    from evalkit.store.cache import Cache

    options = [text.removeprefix(CACHE) for text in parsed.places if text.startswith(CACHE)]
    root = Cache(parsed.cache or (options[-1] if options else os.environ.get("EVALKIT_CACHE"))).root
    if not root.is_dir():
        raise EvalkitError(f"there is no cache at '{root}': give its folder with --cache")
    return root, [text for text in parsed.places if not text.startswith(CACHE)]


def opened_alone(parsed: argparse.Namespace, action: str) -> Path:
    """The cache's folder, of an action that is given nothing else."""
    root, more = opened(parsed)
    if more:
        raise EvalkitError(f"'{more[0]}' is no option of evalkit store {action}: see 'evalkit store {action} --help'")
    return root


def collections(root: Path, title: str) -> Any:
    """A bar over all collections of a cache."""
    from evalkit.progress import progress
    from evalkit.store.contents import shelves

    return progress(title, sum(1 for _ in shelves(root)), "collections")


def ls(parsed: argparse.Namespace) -> None:
    """Run `evalkit store ls`."""
    root = opened_alone(parsed, "ls")
    from evalkit.store.sizes import measure

    with collections(root, "reading the cache") as advance:
        found = measure(root, advance)
    show(listed(root, found), parsed.format)


def verify(parsed: argparse.Namespace) -> int:
    """Run `evalkit store verify`."""
    root = opened_alone(parsed, "verify")
    from evalkit.progress import progress
    from evalkit.store import verify as verifying

    with progress("verifying", verifying.files(root), "files") as advance:
        found = verifying.verify(root, parsed.read_data, parsed.repair, advance)
    show(verified(root, found, parsed.read_data, parsed.repair), parsed.format)
    return LOSS if found.lost else 0


def gc(parsed: argparse.Namespace) -> None:
    """Run `evalkit store gc`."""
    root = opened_alone(parsed, "gc")
    from evalkit.store.gc import collect

    with collections(root, "removing" if parsed.yes else "looking for what nobody needs") as advance:
        found = collect(root, parsed.yes, parsed.keep, advance)
    show(collected(root, found, parsed.yes), parsed.format)


def rm(parsed: argparse.Namespace) -> None:
    """Run `evalkit store rm`."""
    root, names = opened(parsed)
    from evalkit.store import rm as removing
    from evalkit.store.sizes import of_collection

    asked = removing.chosen(root, names)
    sizes = [(shelf, shelf.label, of_collection(shelf)) for shelf in asked]
    using = removing.used_by(root, asked)
    if parsed.yes:
        removing.remove(root, asked)
    show(chosen(root, sizes, using, parsed.yes), parsed.format)


ACTIONS: dict[str, Callable[[argparse.Namespace], int | None]] = {"ls": ls, "verify": verify, "gc": gc, "rm": rm}


def listed(root: Path, found: Sizes) -> Document:
    """Say how much lies in a cache."""
    from evalkit.report.document import Document, Listing

    beside = {"older": "of an earlier evalkit", "partial": "half written", "unknown": "not evalkit's"}
    kinds = {**found.kinds, **{beside[state]: size for state, size in found.beside.items()}}
    runs = sorted(found.runs, key=lambda one: -one[1].bytes)
    states = {
        "there": "there",
        "gone": "moved or deleted",
        "changed": "another one",
        "hidden": "cannot be seen from here",
        "damaged": "register damaged",
    }
    notes = [
        *([f"{found.unreadable:,} files cannot be read: see 'evalkit store verify'"] if found.unreadable else []),
        *(["'evalkit store gc' shows what of this nobody needs"] if kinds else []),
    ]
    return Document(
        title="store",
        heading=f"{root}: {megabytes(sum(size.bytes for size in kinds.values()))}",
        table=sized("kind", [(kind, size) for kind, size in sorted(kinds.items())]),
        notes=notes,
        more=[
            of_shelves(found.collections, "collections"),
            Listing(
                [*_words(run="run", state="its result"), *_numbers()],
                [
                    _row({"run": run.folder.name or run.shelf.name, "state": states[run.state]}, size)
                    for run, size in runs
                ],
                title="finished runs, with all that each uses" if runs else "",
            ),
        ],
        plain={
            "cache": str(root),
            "collections": [
                {"kind": shelf.kind, "digest": shelf.digest, "label": label, **_plain(size)}
                for shelf, label, size in found.collections
            ],
            "runs": [
                {"folder": str(run.folder), "register": run.shelf.name, "state": run.state, **_plain(size)}
                for run, size in runs
            ],
        },
    )


def verified(root: Path, found: Verdicts, read_data: bool, repair: bool) -> Document:
    """Say what is as it was written, and what is not."""
    from evalkit.report.document import Document, Item, Listing, Quantity
    from evalkit.store import verify as verifying

    verdicts = list(dict.fromkeys([verifying.OK, *verifying.LOST, *verifying.OTHERS]))
    rows = [
        Item(
            {"kind": kind, **{verdict: counts.get(verdict) or None for verdict in verdicts}},
            {"kind": kind, **{verdict: counts.get(verdict, 0) for verdict in verdicts}},
        )
        for kind, counts in sorted(found.counts.items())
    ]
    notes = [f"{verdict}: {_short(path.relative_to(root).as_posix())}" for path, verdict in found.damaged]
    if found.removed:
        notes.append(f"damaged files removed: {found.removed:,}; the next run makes again what they held")
    if found.linked:
        notes.append(
            f"{found.linked:,} of these are features that results link to: the results' own copies have the same "
            "damage, and only making these runs again mends them"
        )
    if found.left:
        notes.append(
            f"{found.left:,} damaged files stay, as running processes use what lies beside them: try again later"
        )
    if found.registers:
        names = " ".join(name[: name.index("/") + 9] for name in found.registers)
        notes.append(
            "what some finished runs use is not known, and 'evalkit store gc' removes nothing: make these runs again, "
            f"and then 'evalkit store rm {names} --yes'"
        )
    if found.lost and not repair:
        notes.append("'evalkit store verify --repair' removes what is damaged, and the next run makes it again")
    if not read_data:
        notes.append("the content of files was not read: --read-data does that")
    lost = f"lost: {found.lost:,} item{'s' if found.lost > 1 else ''} or files" if found.lost else ""
    return Document(
        title="verify",
        heading=f"{root}: {'every byte was read' if read_data else 'indices and sizes of files'}",
        warning=lost,
        table=Listing(
            [*_words(kind="kind"), *([Quantity(verdict, verdict, "count")] for verdict in verdicts)],
            rows,
        ),
        notes=notes,
        plain={
            "cache": str(root),
            "lost": found.lost,
            "removed": found.removed,
            "left": found.left,
            "linked": found.linked,
            "registers": found.registers,
            "damaged": [{"path": str(path), "verdict": verdict} for path, verdict in found.damaged],
        },
    )


def _short(path: str) -> str:
    """A path in which digests are cut to as many digits as tell them apart."""
    return re.sub("([0-9a-f]{8})[0-9a-f]{24,}", r"\1…", path)


def collected(root: Path, found: Found, removed: bool) -> Document:
    """Say what goes, and what stays and why."""
    from evalkit.report.document import Document, Listing

    gone = "removed" if removed else "would go"
    rows = [
        _row({"kind": kind, "what": what, "why": why}, size)
        for what, counts in ((gone, found.goes), ("stays", found.stays))
        for (kind, why), size in sorted(counts.items())
    ]
    notes = [f"{held} is running" if held.lives else _ended(held) for held in found.holders]
    notes += _lost(found.lost) + _hidden(found.hidden)
    if found.goes and not removed:
        notes.append("nothing was removed: 'evalkit store gc --yes' does that")
    free = sum(size.bytes for size in found.goes.values())
    return Document(
        title="gc",
        heading=f"{root}: {megabytes(free)} {'removed' if removed else 'that nobody needs'}",
        table=Listing([*_words(kind="kind", what="what"), *_numbers(), *_words(why="why")], rows),
        notes=notes,
        plain={
            "cache": str(root),
            "removed": removed,
            "bytes": free,
            "running": [str(held) for held in found.holders if held.lives],
            "lost": [{"folder": str(run.folder), "register": run.shelf.name} for run in found.lost],
            "hidden": [{"folder": str(run.folder), "register": run.shelf.name} for run in found.hidden],
        },
    )


def _ended(held: Any) -> str:
    return (
        f"{held} ended before it had stored what the result '{held.folder}' uses: all collections that it named "
        f"stay as long as that is there, or cannot be seen from here; '{held.path}' is what holds them"
    )


def _lost(lost: Sequence[Run]) -> list[str]:
    if not lost:
        return []
    return [
        f"results that are not where they were, and hold nothing: {_folders(lost)}: one that was moved is given by "
        "--keep"
    ]


def _hidden(hidden: Sequence[Run]) -> list[str]:
    if not hidden:
        return []
    return [
        f"results that cannot be seen from here, and hold what they use: {_folders(hidden)}: of one that is no more, "
        "'evalkit store rm FOLDER --yes' removes the register"
    ]


def _folders(runs: Sequence[Run]) -> str:
    names = ", ".join(f"'{run.folder}'" for run in runs[:SHOWN])
    return names + (f" and {len(runs) - SHOWN:,} more" if len(runs) > SHOWN else "")


def chosen(root: Path, sizes: Sequence[tuple[Shelf, str, Size]], using: Sequence[Run], removed: bool) -> Document:
    """Say which collections are removed."""
    from evalkit.report.document import Document

    notes = []
    if using:
        names = ", ".join(f"'{run.folder.name}'" for run in using[:SHOWN])
        more = f" and {len(using) - SHOWN:,} more" if len(using) > SHOWN else ""
        notes.append(f"finished results use them: {names}{more}: they stay as they are; made again, they take as long")
    if not removed:
        notes.append("nothing was removed: --yes does that")
    total = sum(size.bytes for _, _, size in sizes)
    return Document(
        title="rm",
        heading=f"{root}: {megabytes(total)} {'removed' if removed else 'chosen'}",
        table=of_shelves(sizes, ""),
        notes=notes,
        plain={"cache": str(root), "removed": removed, "bytes": total, "used by": [str(run.folder) for run in using]},
    )


def megabytes(size: int) -> str:
    """Write a number of bytes for people."""
    return f"{size / 1e6:,.1f} MB"


def of_shelves(found: Sequence[tuple[Shelf, str, Size]], title: str) -> Listing:
    """A table of collections."""
    from evalkit.report.document import Listing

    rows = [
        _row({"kind": shelf.kind, "digest": shelf.digest[:8], "label": label}, size) for shelf, label, size in found
    ]
    return Listing([*_words(kind="kind", digest="digest", label="of"), *_numbers()], rows, title=title if rows else "")


def sized(name: str, sizes: Iterable[tuple[str, Size]]) -> Listing:
    """A table of sizes."""
    from evalkit.report.document import Listing

    return Listing([*_words(**{name: name}), *_numbers()], [_row({name: what}, size) for what, size in sizes])


def _row(words: dict[str, str], size: Size) -> Item:
    from evalkit.report.document import Item

    return Item({**words, "items": size.items, "megabytes": size.bytes / 1e6, "places": 1}, {**words, **_plain(size)})


def _plain(size: Size) -> dict[str, int]:
    return {"items": size.items, "bytes": size.bytes}


def _words(**labels: str) -> list[list[Any]]:
    from evalkit.report.document import Quantity

    return [[Quantity(key, label, "word")] for key, label in labels.items()]


def _numbers() -> list[list[Any]]:
    from evalkit.report.document import Quantity

    return [[Quantity("items", "items", "count")], [Quantity("megabytes", "MB", "number")]]
