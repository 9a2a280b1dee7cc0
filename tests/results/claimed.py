"""Runs of a made-up checkpoint beside made-up published numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import evalkit
from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.models import Generate
from evalkit.results.result import Result
from evalkit.settings import Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.store.seeds import noise_seed
from evalkit.types import Prompt

CHECKPOINT = "someone/offset"
PROTOCOL = "defaults: [musicgen, _self_]\nname: theirs\nderived_from: musicgen\ndefines: [dc_offset]\n"
NUMBERS = """
source: {{title: a card, url: https://example.org, primary: true, read: the card}}
protocol: theirs
dataset: synthetic
subset: all
n: {n}
duration: 1.0
sampling: {sampling}
metrics: [dc_offset]
tolerance: {tolerance}
rows:
  - model: someone/offset
    metrics: {{dc_offset: {value}}}
  - model: someone/tuned
    metrics: {{dc_offset: null}}
    tuned_from: someone/offset
    caveats: {{all: "no number was published for this one"}}
"""
TOLERANCE = "{dc_offset: {margin: 5 %, rounding: 0.005, because: made up}}"


@dataclass(frozen=True)
class Pinned(Asset):
    """A hub repository of which a commit is here, without files: nothing is read from it."""

    def find(self, cache: Cache) -> Path:
        return Path("d" * 40)


@dataclass(frozen=True)
class Offset:
    """Clips whose DC offset is `level` percent but for noise of sampling: of a seed's clips together, and of each."""

    level: float = 10.0
    noise: float = 0.05
    published: ClassVar[str | None] = CHECKPOINT
    random: ClassVar[bool] = False
    kind: ClassVar[str] = "offset"
    version: ClassVar[int] = 1
    checkpoint: ClassVar[Asset | None] = Pinned("offset", repo=CHECKPOINT)
    codec: ClassVar[None] = None

    def check(self, sampling: Sampling) -> None: ...

    def conditions(self, cache: Cache) -> tuple[str, ...]:
        return ()

    def load(self, cache: Cache, engine: Engine) -> Generate:
        def clip(prompt: Prompt, sampling: Sampling) -> Audio:
            noises = [np.random.default_rng(noise_seed(sampling.seed, key)).normal() for key in ("", prompt.id)]
            offset = (self.level + self.noise * sum(noises)) / 100
            return Audio(np.full((1, round(8000 * sampling.duration)), offset, np.float32), 8000)

        return lambda prompts, sampling: [clip(prompt, sampling) for prompt in prompts]


@dataclass(frozen=True)
class RandomOffset(Offset):
    """The same, as if of random weights."""

    kind: ClassVar[str] = "random offset"
    random: ClassVar[bool] = True


@dataclass(frozen=True)
class Tuned(Offset):
    """Another checkpoint, of which nothing was published but what it was tuned from."""

    kind: ClassVar[str] = "tuned offset"
    published: ClassVar[str | None] = "someone/tuned"
    checkpoint: ClassVar[Asset | None] = Pinned("tuned offset", repo="someone/tuned")


@dataclass(frozen=True)
class Unchecked(Offset):
    """The same as the offset, but nobody knows what it was read from."""

    kind: ClassVar[str] = "unchecked offset"
    checkpoint: ClassVar[Asset | None] = None


def run(folder: Path, *options: str, model: Any = Offset(), metric: str = "[clipping]") -> Result:
    """Evaluate a model on 20 synthetic prompts, beside what `publish` has written into the folder."""
    return evalkit.evaluate(
        *("prompts=synthetic", "prompts.count=20", f"metric={metric}", "sampling.duration=1", "protocol=theirs"),
        *(f"cache_dir={folder / 'cache'}", f"output_dir={folder / 'runs'}", *options),
        models={"m": model},
        config_dir=str(folder / "conf"),
        quiet=True,
    )


def publish(folder: Path, value: float | None, **changes: Any) -> None:
    """Write a published file, and the digests of its prompts; `changes` are what stands in NUMBERS."""
    conf = folder / "conf"
    for name in ("published/datasets", "protocol"):
        (conf / name).mkdir(parents=True, exist_ok=True)
    (conf / "protocol" / "theirs.yaml").write_text(PROTOCOL)
    digests = conf / "published" / "datasets" / "synthetic.yaml"
    if not digests.exists():
        known = json.loads((run(folder).path / "table.json").read_text())["prompts"]
        subset = f"{{prompts: {known['selected']}, ids: {known['ids']}, captions: {known['captions']}}}"
        digests.write_text(f"dataset: synthetic\nsubsets: {{all: {subset}}}\n")
    given = {
        "n": 20,
        "sampling": "{level: 10.0, noise: 0.05}",
        "tolerance": TOLERANCE,
        "value": "null" if value is None else value,
        **changes,
    }
    (conf / "published" / "card.yaml").write_text(NUMBERS.format(**given))
