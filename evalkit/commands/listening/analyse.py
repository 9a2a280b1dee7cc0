"""Analyse the answers of a listening test: who counts, how systems are rated, and how metrics agree with that.

evalkit listen analyse ANSWERS ... [--study STUDY] [--rules RULES.yaml] [--format NAME] [--json] [--output DIR]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from evalkit import commands
from evalkit.commands import fail, parse, parser_for
from evalkit.report.literal import literal

OUTPUT = "results/listening"


def main(arguments: list[str]) -> None:
    """Run `evalkit listen analyse`."""
    parsed = parse(parser(), arguments)
    from evalkit.listening import reading, rules  # here, because pandas takes a second
    from evalkit.listening.analysing import analyse
    from evalkit.store.runs import RunFolder

    asked = rules.load(parsed.rules)
    given = [Path(path).expanduser() for path in parsed.answers]
    files = reading.files_of(given)
    study = reading.study_of(given, Path(parsed.study).expanduser() if parsed.study else None)
    try:
        answers = reading.read_answers(files, study)
    except reading.Unusable as error:
        *others, last = error.mistakes
        for mistake in others:
            print(f"evalkit: {literal(mistake)}", file=sys.stderr)
        fail(last)
    made = analyse(study, answers, asked)
    saved = made.save(RunFolder(parsed.output, made.axis).path)
    commands.show(saved.document(), parsed.format)
    print(f"listening test: {saved.path}")


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    found = parser_for("listen analyse", __doc__)
    add = found.add_argument
    add("answers", nargs="+", metavar="ANSWERS", help="files of answers, folders of them, or the study's folder")
    add("--study", metavar="STUDY", help="the study's folder; without it the one beside the answers")
    add("--rules", default="default", metavar="RULES", help="whose answers count: a YAML, or default, bs1534 or none")
    add("--output", default=OUTPUT, metavar="DIR", help=f"where the folder is made; without it in {OUTPUT}")
    commands.prints_table(found)
    return found
