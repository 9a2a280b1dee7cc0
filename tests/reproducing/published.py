"""A made-up checkpoint with made-up published numbers, which needs no weights but random ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalkit.models.tiny import TinyStereo
from evalkit.prompts.synthetic import Synthetic
from evalkit.results.comparable import prompt_digests
from evalkit.store.cache import Cache

CARD = """
source: {{title: Their card, url: https://example.org/card, primary: true, read: the card}}
protocol: {protocol}
dataset: synthetic
subset: {subset}
n: {n}
duration: {duration}
sampling: {{top_k: 100, guidance_scale: 2.0}}
metrics: [chroma, fad, silence_share, fd_openl3]
tolerance: {tolerance}
rows:
  - model: their/music
    metrics: {{chroma: 0.5, silence_share: null, fd_openl3: 3.0}}
  - model: their/stereo
    metrics: {{chroma: null}}
    tuned_from: their/music
    caveats: {{all: "no number was published for this one"}}
"""
COUNT = 40  # prompts; `prompts=synthetic` comes with more


def write(folder: Path, cache: Path, **changes: Any) -> Path:
    """Write the YAMLs of two models, mono and stereo, and of their numbers into a folder, and return it.

    Args:
        changes: of what stands in CARD.
    """
    checkpoint = TinyStereo().folder(Cache(str(cache)))
    for name in ("model", "published/datasets"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in ("music", "stereo"):
        (folder / "model" / f"their_{name}.yaml").write_text(
            f"their_{name}:\n  _target_: evalkit.models.musicgen.MusicGen\n  published: their/{name}\n"
            f"  checkpoint: {{_target_: evalkit.assets.Asset, name: theirs, path: '{checkpoint}'}}\n"
        )
    ids, captions = prompt_digests((p.id, p.text) for p in Synthetic(COUNT).load(Cache(str(cache))).prompts)
    (folder / "published" / "datasets" / "synthetic.yaml").write_text(
        f"dataset: synthetic\nsubsets:\n  all: {{prompts: {COUNT}, ids: {ids}, captions: {captions}}}\n"
    )
    given = {"protocol": "musicgen", "subset": "all", "n": COUNT, "duration": 1.5, "tolerance": "{}", **changes}
    (folder / "published" / "card.yaml").write_text(CARD.format(**given))
    return folder
