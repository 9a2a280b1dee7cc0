"""Bring every file that a run needs into the cache, and list where it lies.

evalkit fetch [--list] [[model=NAME] prompts=NAME] [OPTION=VALUE ...] [--config-dir DIR]
              [--format NAME] [--json] [--quiet]

Without a model these are the files of the prompts and metrics; without prompts too, those of the metrics,
which is what `evalkit score` needs.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import TYPE_CHECKING

from evalkit import commands
from evalkit.commands import TERMINAL, parse, parser_for, show

if TYPE_CHECKING:
    import pandas as pd
    from omegaconf import DictConfig

    from evalkit.assets import Asset
    from evalkit.report.document import Document


def main(arguments: list[str]) -> None:
    """Run `evalkit fetch`."""
    parsed = parse(parser(), arguments)
    from evalkit.config import compose, key_of  # here, because help need not wait for it

    options = list(parsed.options)
    named = {key_of(option) for option in options} & {"model", "prompts", "experiment"}
    if named <= {"prompts"}:
        options += ["model=[]"] if named else ["model=[]", "prompts=demo"]  # neither of which needs a file
    config = compose(options, parsed.config_dir)
    if not parsed.list:
        fetch(config)
    frame = listing(config)
    if parsed.format != TERMINAL or (len(frame) and sys.stdout.isatty()):
        show(document(frame), parsed.format)
    elif frame.empty:
        print("nothing to fetch: this configuration needs no file from elsewhere")
    else:
        print(frame.to_csv(sep="\t", index=False, na_rep="?"), end="")


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    found = parser_for("fetch", __doc__)
    found.add_argument("--list", action="store_true", help="only say what is needed and where it lies")
    commands.takes_options(found)
    commands.prints_table(found, without=("junit",))
    commands.shows_progress(found)
    return found


def assets(config: DictConfig) -> list[Asset]:
    """All files that a run of this configuration reads, without looking at them."""
    from evalkit.assets import assets_of
    from evalkit.config import build

    allow = list(config.allow_targets)
    nodes = [*config.model.values(), config.prompts, *config.metric.values(), *config.calibration.values()]
    nodes += [] if config.references is None else [config.references]
    return [asset for asset in assets_of([build(node, allow) for node in nodes]) if not asset.random]


def listing(config: DictConfig) -> pd.DataFrame:
    """One row per file: name, size in MB where known, licence, source, and where it lies or "missing"."""
    import pandas as pd

    from evalkit.store.cache import Cache

    cache = Cache(config.cache_dir)
    rows = []
    for asset in assets(config):
        found = asset.find(cache)
        rows.append(
            {
                "name": asset.name,
                "MB": None if asset.size is None else round(asset.size / 1e6),
                "licence": asset.licence,
                "source": asset.source,
                "lies at": str(found) if found else "missing",
            }
        )
    return pd.DataFrame(rows, columns=["name", "MB", "licence", "source", "lies at"])


def document(frame: pd.DataFrame) -> Document:
    """The listing for people and programs."""
    from evalkit.report.document import Document, Item, Listing, Quantity

    kinds = [Quantity(name, name, "count" if name == "MB" else "word") for name in map(str, frame.columns)]
    rows = [Item(cell := dict(zip(frame.columns, row, strict=True)), cell) for row in frame.itertuples(index=False)]
    missing = sum(frame["lies at"] == "missing")
    count = f"{len(frame):,} file{'' if len(frame) == 1 else 's'}"
    heading = f"{count} from elsewhere, {missing:,} missing" if len(frame) else "nothing to fetch"
    return Document("fetch", heading, Listing([[kind] for kind in kinds], rows))


def fetch(config: DictConfig) -> None:
    """Bring what is missing into the cache, and check what has a known digest.

    Raises EvalkitError for the first file that cannot be had.
    """
    from huggingface_hub.utils import disable_progress_bars

    from evalkit.progress import has_bars, progress
    from evalkit.store.cache import Cache

    cache, needed = Cache(config.cache_dir), assets(config)
    todo = [asset for asset in needed if asset.find(cache) is None]
    # those who download show bars of their own, which would be rubbish in a file
    bars = has_bars()
    if not bars:
        disable_progress_bars()
    with contextlib.nullcontext(lambda count: None) if bars else progress("fetching", len(todo), "files") as advance:
        for asset in todo:
            asset.fetch(cache, bar=bars)
            advance(1)
    for asset in needed:
        asset.locate(cache)
        asset.verify(cache)
