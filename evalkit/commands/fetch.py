"""Bring every file that a run needs into the cache, and list where it lies.

evalkit fetch [--list] [model=NAME prompts=NAME] [OPTION=VALUE ...]

Without a model and prompts these are the files of the metrics, which is what `evalkit score` needs.
"""

from __future__ import annotations

import pandas as pd
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from evalkit.assets import Asset, assets_of
from evalkit.commands import parse, parser_for
from evalkit.config import build, compose
from evalkit.store.cache import Cache


def main(arguments: list[str]) -> None:
    """Run `evalkit fetch`."""
    parser = parser_for("fetch", __doc__)
    parser.add_argument("--list", action="store_true", help="only say what is needed and where it lies")
    parser.add_argument("--config-dir", metavar="DIR", help="a folder of your own YAMLs")
    parser.add_argument("options", nargs="*", help="the options of evalkit run")
    parsed = parse(parser, arguments)
    options = list(parsed.options)
    if not {option.partition("=")[0] for option in options} & {"model", "prompts", "experiment"}:
        options += ["model=[]", "prompts=demo"]  # neither of which needs a file
    config = compose(options, parsed.config_dir)
    if not parsed.list:
        fetch(config)
    frame = listing(config)
    if frame.empty:
        print("nothing to fetch: this configuration needs no file from elsewhere")
        return
    console = Console()
    if not console.is_terminal:
        print(frame.to_csv(sep="\t", index=False, na_rep="?"), end="")
        return
    table = Table(*(Column(name, overflow="fold") for name in frame.columns))
    for row in frame.astype(object).where(frame.notna(), "?").itertuples(index=False):
        table.add_row(*(escape(str(value)) for value in row))
    console.print(table)


def assets(config: DictConfig) -> list[Asset]:
    """All files that a run of this configuration reads, without looking at them."""
    allow = list(config.allow_targets)
    nodes = [*config.model.values(), config.prompts, *config.metric.values(), *config.calibration.values()]
    return [asset for asset in assets_of([build(node, allow) for node in nodes]) if not asset.random]


def listing(config: DictConfig) -> pd.DataFrame:
    """One row per file: name, size in MB where known, licence, source, and where it lies or "missing"."""
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


def fetch(config: DictConfig) -> None:
    """Bring what is missing into the cache, and check what has a known digest.

    Raises EvalkitError for the first file that cannot be had.
    """
    cache = Cache(config.cache_dir)
    for asset in assets(config):
        asset.fetch(cache)
        asset.locate(cache)
        asset.verify(cache)
