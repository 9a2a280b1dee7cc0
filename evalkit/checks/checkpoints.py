"""Whether the checkpoints of models are on this machine, and whole."""

from __future__ import annotations

from collections.abc import Iterator

from omegaconf import OmegaConf

from evalkit.assets import Asset
from evalkit.checks import Asked, Finding
from evalkit.checks.files import built, in_nodes, of_assets
from evalkit.config import compose, yamls
from evalkit.store.cache import Cache

SUBJECT = "models"
ORDER = 70


def check(asked: Asked) -> Iterator[Finding]:
    """Look at the checkpoints that the options need, or at those of evalkit's models that are here."""
    if asked.named & {"model", "experiment"}:
        yield from of_assets(built(asked, "model"), asked, needed=True)
        return
    cache, absent = Cache(asked.config.cache_dir), []
    for asset in _all(asked):
        if asset.find(cache) is None:
            absent.append(asset.name)
        else:
            yield from of_assets([asset], asked, needed=False)
    if absent:
        yield Finding("not here", "absent", ", ".join(dict.fromkeys(absent)), facts={"absent": absent})


def _all(asked: Asked) -> list[Asset]:
    names = ",".join(yamls(asked.config, "model"))
    config = compose([f"model=[{names}]", "prompts=demo"], asked.config.config_dir)
    return [asset for asset in in_nodes(OmegaConf.to_container(config.model, resolve=True)) if not asset.random]
