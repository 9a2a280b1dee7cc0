"""Measure every combination of options, and say which points are not worse than the best beyond noise.

evalkit sweep OPTION=VALUES ... [--search NAME] [--trials N] [--race N,N,all] [--objectives A,B]
                [--margin METRIC=VALUE] [--study FILE] [--no-confirm] [--config-dir DIR] [--format NAME] [--json]
                [--quiet]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from evalkit import commands
from evalkit.commands import INCOMPLETE, OneOf, fail, parse, parser_for, show, tell_where
from evalkit.errors import EvalkitError

EPILOG = """Options are those of 'evalkit run'; several values of one are written A,B,C or range(START,STOP,STEP), and
with --search optuna also interval(LOW,HIGH). The experiments sweep_guidance, sweep_temperature and sweep_top_k have
values of their own. Exit status: 0 where all points were measured, 3 where some were not, 2 where nothing was."""


def main(arguments: list[str]) -> None:
    """Run `evalkit sweep`."""
    parsed = parse(parser(), arguments)
    margins = dict(margin(text) for text in parsed.margin)
    if len(margins) < len(parsed.margin):
        raise EvalkitError("--margin: one metric is named twice")
    from evalkit.sweeping import race, sweep  # here, because importing torch takes seconds
    from evalkit.sweeping.checking import Asked

    asked = Asked(
        search=parsed.search,
        trials=parsed.trials,
        race=race.rungs(parsed.race) if parsed.race is not None else (),
        objectives=[] if parsed.objectives is None else parsed.objectives.split(","),
        margins=margins,
        study=parsed.study,
        confirm=not parsed.no_confirm,
    )
    made = sweep.make(parsed.options, asked, parsed.config_dir)
    show(made.sweep.document(), parsed.format)
    tell_where("sweep", made.sweep)
    if made.incomplete:
        fail(made.incomplete, INCOMPLETE)


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    found = parser_for("sweep", __doc__)
    found.epilog = EPILOG
    commands.takes_options(found, "options, of which some have several values")
    kind = OneOf("search", ("grid", "optuna"))  # as evalkit.sweeping.checking, which takes long to import
    about = "grid for every combination, or optuna"
    found.add_argument("--search", default="grid", metavar="NAME", type=kind, help=about)
    found.add_argument("--trials", type=int, metavar="N", help="points in all, of a search that chooses as it goes")
    found.add_argument(
        "--race",
        metavar="N,N,all",
        help="measure on N prompts, then on more, without the points that others beat",
    )
    found.add_argument("--objectives", metavar="A,B", help="metrics that points are judged by; the first has a winner")
    found.add_argument(
        "--margin", action="append", default=[], metavar="METRIC=VALUE", help="how much worse a race lets a point be"
    )
    found.add_argument("--study", type=Path, metavar="FILE", help="where the search keeps its study, to go on from it")
    found.add_argument("--no-confirm", action="store_true", help="do not measure the winner again on a fresh seed")
    commands.prints_table(found)
    commands.shows_progress(found)
    return found


def margin(text: str) -> tuple[str, float]:
    """Read METRIC=VALUE. Raises EvalkitError for anything else."""
    metric, _, value = text.partition("=")
    try:
        return metric, float(value)
    except ValueError as error:
        raise EvalkitError(f"--margin {text}: write METRIC=VALUE, such as fad=0.1") from error
