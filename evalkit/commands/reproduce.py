"""Measure again what was published for a checkpoint, over several sampling seeds, and say whether it is reproduced.

evalkit reproduce MODEL [OPTION=VALUE ...] [--seeds N] [--dry-run] [--config-dir DIR]
                  [--format NAME] [--json] [--quiet]

Protocol, prompts, sampling, duration and metrics are those of the source that published the numbers; options are those
of `evalkit run`, such as prompts.references=CLIPS, and win over them.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable

from evalkit import commands
from evalkit.commands import INCOMPLETE, fail, lacking, parse, parser_for, show, tell_where

LABEL = 12  # characters for what something is said of


def main(arguments: list[str]) -> None:
    """Run `evalkit reproduce`."""
    parsed = parse(parser(), arguments)
    from evalkit import pipeline, progress  # here, because importing torch takes seconds that help need not wait for
    from evalkit.reproducing.composing import composed
    from evalkit.reproducing.outlook import outlook
    from evalkit.reproducing.timing import stages, timed
    from evalkit.results.reproduction_text import document
    from evalkit.store.cache import Cache
    from evalkit.store.known import known_digests

    reproduction = composed(parsed.model, parsed.options, parsed.seeds, parsed.config_dir)
    config = reproduction.config
    with progress.silenced(config.engine.quiet), known_digests(Cache(config.cache_dir).root):
        ahead = outlook(reproduction)
        say(ahead.lines())
        ahead.require()
        assert ahead.prompts is not None
        say(timed(ahead.plan, stages(ahead.plan, ahead.prompts, ahead.references)))
    if parsed.dry_run:
        return
    result = pipeline.evaluate(config)
    print()
    show(document(result), parsed.format)
    tell_where("result", result)
    if absent := lacking(result):
        fail("; ".join(absent), INCOMPLETE)


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    found = parser_for("reproduce", __doc__)
    found.add_argument("model", metavar="MODEL", help="a model with published numbers, such as musicgen_small")
    commands.takes_options(found)
    found.add_argument(
        "--seeds", type=int, metavar="N", help="clips of each prompt; 3, the fewest that a verdict can be made of"
    )
    found.add_argument(
        "--dry-run", action="store_true", help="only say what is missing, and after a few clips how long it will take"
    )
    commands.prints_table(found)
    commands.shows_progress(found)
    return found


def say(lines: Iterable[tuple[str, str]]) -> None:
    """Print lines of a word and a text, at once, so that they are read before hours of work."""
    from rich.console import Console
    from rich.text import Text

    from evalkit.report.literal import literal
    from evalkit.reproducing.outlook import FETCH

    console = Console()
    width = max(40, console.width or 80) - LABEL
    for label, text in lines:
        if label == FETCH:  # whole, to be copied
            print(text)
            continue
        said = textwrap.wrap(literal(text), width, break_long_words=False, break_on_hyphens=False)
        for number, line in enumerate(said):
            styled = Text(f"{'' if number else label:{LABEL}}", style="bold").append(line, style="not bold")
            console.print(styled, no_wrap=True, overflow="ignore", crop=False)
    sys.stdout.flush()
