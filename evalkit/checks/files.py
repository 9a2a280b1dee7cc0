"""Whether weights of metrics and data of prompts are on this machine, and whole."""

from __future__ import annotations

import dataclasses
import math
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml
from omegaconf import OmegaConf

from evalkit.assets import Asset, assets_of
from evalkit.checks import Asked, Finding, megabytes
from evalkit.config import build, compose, yamls
from evalkit.intact import BLOCK, damage, files, known_digest
from evalkit.progress import progress
from evalkit.store.cache import Cache

SUBJECT = "files"
ORDER = 60
FETCH = "'evalkit fetch' with the same options brings what is missing, where there is a network"


def check(asked: Asked) -> Iterator[Finding]:
    """Look at what the options need, or at what all metrics under all protocols do, and MusicCaps."""
    if asked.named:
        yield from of_assets(built(asked, "metric", "calibration", "prompts", "references"), asked, needed=True)
        return
    found = _all(asked)
    yield from of_assets(found, asked, needed=False)
    for asset, protocols in _others(asked, found):
        for one in of_assets([asset], asked, needed=False):
            said = f"{one.found}; protocol{'s' * (len(protocols) > 1)} {', '.join(protocols)}"
            yield dataclasses.replace(one, found=said, facts={**one.facts, "protocols": protocols})


def built(asked: Asked, *groups: str) -> list[Asset]:
    """The files of what is selected in some groups. Raises EvalkitError for components that cannot be built."""
    nodes: list[Any] = []
    for group in groups:
        node = asked.config[group]
        nodes += [] if node is None else [node] if "_target_" in node else [*node.values()]
    allow = list(asked.config.allow_targets)
    return [asset for asset in assets_of([build(node, allow) for node in nodes]) if not asset.random]


def _all(asked: Asked) -> list[Asset]:
    """The files of all metrics and of MusicCaps."""
    metrics = ",".join(yamls(asked.config, "metric"))
    config = compose(["model=[]", "prompts=musiccaps", f"metric=[{metrics}]"], asked.config.config_dir)
    return [*in_nodes([OmegaConf.to_container(config[key], resolve=True) for key in ("metric", "prompts")])]


def _others(asked: Asked, found: Iterable[Asset]) -> list[tuple[Asset, list[str]]]:
    """The weights that protocols have in place of these, with the protocols that do, under these names."""
    spelled = {asset.name.lower(): asset.name for asset in found}  # networks are keys there, in lower case
    others: dict[str, tuple[Asset, list[str]]] = {}
    for protocol, path in sorted(yamls(asked.config, "protocol").items()):
        for network, switches in yaml.safe_load(path.read_text("utf-8")).items():
            weights = switches.get("weights") if isinstance(switches, dict) else None
            if weights and weights.get("url") and all(weights["url"] != asset.url for asset in found):
                name = spelled.get(f"{network} weights", f"{network} weights")
                others.setdefault(weights["url"], (Asset(name, **weights), []))[1].append(protocol)
    return [*others.values()]


def in_nodes(node: Any) -> Iterator[Asset]:
    """The files that plain nodes of a configuration name, without building what they are for."""
    if isinstance(node, dict):
        if node.get("_target_") == f"{Asset.__module__}.{Asset.__name__}":
            yield Asset(**{str(key): value for key, value in node.items() if key != "_target_"})
            return
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from in_nodes(one)


def of_assets(assets: Iterable[Asset], asked: Asked, needed: bool) -> Iterator[Finding]:
    """Look at some files, each once."""
    cache, seen = Cache(asked.config.cache_dir), []
    for asset in assets:
        if asset not in seen and not asset.random:
            seen.append(asset)
            yield of_asset(asset, cache, asked.read_data, needed)


def of_asset(asset: Asset, cache: Cache, read_data: bool, needed: bool) -> Finding:
    """Look at the file, or folder, of an asset."""
    place = asset.find(cache)
    facts = {"source": asset.source, "path": None if place is None else str(place), "licence": asset.licence}
    named = re.sub("@([0-9a-f]{8})[0-9a-f]{32}$", r"@\1…", posixpath.basename(unquote(asset.source)))
    if place is None:
        size = f", {megabytes(asset.size) if asset.size else 'of unknown size'}"
        remedy = FETCH if needed and not asset.path else ""
        said = f"'{asset.path}' does not exist" if asset.path else f"{named}{size}"
        return Finding(asset.name, "missing" if needed else "absent", said, needed, remedy, facts)
    if why := _damage(asset, place, read_data):
        remedy = "delete what is damaged, and run 'evalkit fetch' again"
        return Finding(asset.name, "damaged", why, needed=True, remedy=remedy, facts=facts)
    known = read_data and all(known_digest(asset, file) for file in files(asset, place))
    digests = "every byte as published" if known else "every byte can be read"
    return Finding(asset.name, "ok", f"{named}: {digests if read_data else 'there'}", needed, facts=facts)


def _damage(asset: Asset, place: Path, read_data: bool) -> str:
    if not read_data:
        return damage(asset, place, False)
    blocks = sum(math.ceil(file.stat().st_size / BLOCK) for file in files(asset, place) if file.exists())
    with progress(f"reading {asset.name}", blocks, "MiB") as advance:
        return damage(asset, place, True, lambda size: advance(1))
