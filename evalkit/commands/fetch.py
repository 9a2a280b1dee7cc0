"""What a configuration needs from elsewhere: listed, or brought into the cache."""

from __future__ import annotations

import pandas as pd
from omegaconf import DictConfig

from evalkit.assets import Asset, assets_of
from evalkit.config import build
from evalkit.store.cache import Cache


def assets(config: DictConfig) -> list[Asset]:
    """All files that a run of this configuration reads, without looking at them."""
    allow = list(config.allow_targets)
    nodes = [*config.model.values(), config.prompts, *config.metric.values()]
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
