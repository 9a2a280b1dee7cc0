"""Say what this machine has and what it lacks: packages, cache, files, audio formats, device, references.

evalkit doctor [OPTION=VALUE ...] [--read-data] [--device NAME] [--config-dir DIR] [--format NAME] [--json]
               [--quiet]

With options of `evalkit run`, such as model=musicgen_small prompts=musiccaps prompts.references=CLIPS, it looks at what
that run needs. Exit status: 0 where all that is needed is there and whole, 1 where something is missing or damaged, 2
for a mistake.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from evalkit import commands
from evalkit.commands import TERMINAL, fail, parse, parser_for, show

if TYPE_CHECKING:
    from evalkit.checks import Asked, Finding
    from evalkit.report.document import Document, Listing, Quantity

LACKING = 1  # exit status where something that is needed is missing or damaged
WHAT, STATUS, FOUND = 20, 8, 48  # characters of columns, so that those of all subjects stand below each other


def main(arguments: list[str]) -> None:
    """Run `evalkit doctor`."""
    commands.end(lambda: examined(parse(parser(), arguments)))


def examined(parsed: argparse.Namespace) -> int:
    """Look at what is asked for, print it, and return the exit status."""
    asked = asked_for(parsed)
    found: list[tuple[str, Finding]] = []
    for name, findings in looked_at(asked):
        if findings and parsed.format == TERMINAL:  # each as soon as it is known
            print(said(name, findings), end="", flush=True)
        found += [(name, finding) for finding in findings]
    if parsed.format != TERMINAL:
        show(document(found), parsed.format)
    if bad := [f"{finding.what} ({finding.status})" for _, finding in found if finding.bad]:
        fail(f"{len(bad):,} of what is needed {'is' if len(bad) == 1 else 'are'} not there: {', '.join(bad)}", LACKING)
    return 0


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    found = parser_for("doctor", __doc__)
    commands.takes_options(found)
    found.add_argument("--read-data", action="store_true", help="read every byte: compare digests, decode references")
    found.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:N, or auto, as engine.device")
    commands.prints_table(found, without=("junit",))  # where nothing is judged there are no test cases
    commands.shows_progress(found)
    return found


def asked_for(parsed: argparse.Namespace) -> Asked:
    """Compose what is asked for. Raises EvalkitError for options that are wrong."""
    from evalkit.checks import Asked
    from evalkit.config import compose

    named = {re.split(r"[=.@]", option.lstrip("+~"))[0] for option in parsed.options}
    named &= {"model", "prompts", "references", "metric", "protocol", "calibration", "experiment"}
    beside = (
        [] if "experiment" in named else [f"{group}={name}" for group, name in NOTHING.items() if group not in named]
    )
    config = compose([*beside, *parsed.options], parsed.config_dir)
    return Asked(config, frozenset(named), parsed.device or config.engine.device, parsed.read_data)


NOTHING = {"model": "[]", "prompts": "demo"}  # neither of which needs a file


def looked_at(asked: Asked) -> Iterator[tuple[str, list[Finding]]]:
    """What is found of each subject, one after the other."""
    from evalkit.checks import subjects

    for subject in subjects():
        yield subject.name, list(subject.check(asked))


def said(name: str, findings: list[Finding]) -> str:
    """One subject on a terminal."""
    from evalkit.report import renderer
    from evalkit.report.document import Document

    remedies = list(dict.fromkeys(finding.remedy for finding in findings if finding.remedy))
    text = renderer(TERMINAL)(Document("doctor", "", listing(name, findings), notes=remedies))
    return text.strip("\n") + "\n\n"


def listing(name: str, findings: list[Finding]) -> Listing:
    """A table of one subject."""
    from evalkit.report.document import Item, Listing, Quantity

    columns = [
        [Quantity("what", name, "word", least=WHAT)],
        [Quantity("status", "status", "verdict", least=STATUS)],
        [Quantity("found", "found here", "word", least=FOUND)],
    ]
    rows = [Item(cell := {"what": one.what, "status": one.status, "found": one.found}, cell) for one in findings]
    return Listing(columns, rows)


def document(found: list[tuple[str, Finding]]) -> Document:
    """Everything in one table, and by subject what programs may want."""
    from evalkit.report.document import Document, Item, Listing, Quantity

    columns: list[list[Quantity]] = [
        [Quantity("subject", "subject", "word")],
        [Quantity("what", "what", "word")],
        [Quantity("status", "status", "verdict")],
        [Quantity("found", "found here", "word")],
    ]
    rows: list[Item] = []
    facts: dict[str, dict[str, Any]] = {}
    for name, one in found:
        cell = {"subject": name, "what": one.what, "status": one.status, "found": one.found}
        rows.append(Item(cell, {**cell, "needed": one.needed, "remedy": one.remedy or None, "facts": dict(one.facts)}))
        facts.setdefault(name, {}).update(one.facts)
    bad = sum(one.bad for _, one in found)
    heading = f"{bad:,} of what is needed not there" if bad else "all that is needed is there"
    remedies = list(dict.fromkeys(one.remedy for _, one in found if one.remedy))
    return Document("doctor", heading, Listing(columns, rows), notes=remedies, plain={"ok": not bad, "facts": facts})
