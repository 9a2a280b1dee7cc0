"""What the adapters for models of other libraries share: finding and checking a checkpoint, one seed for each clip."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.checkpoints.transformers import MADE_UP, read_json
from evalkit.errors import EvalkitError
from evalkit.settings import Sampling
from evalkit.types import Prompt

log = logging.getLogger(__name__)


TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.*", "spiece.model", "*.spm", "sentencepiece*.model")


def checkpoint_of(model: str, example: str, id: str | None, revision: str | None, files: list[str] | None) -> Asset:
    """Describe the checkpoint that `model.NAME.id` names: a folder, or else a hub repository."""
    if not id:
        raise EvalkitError(
            f"the checkpoint is not set: give its hub id or folder, as in model={model} model.{model}.id={example}"
        )
    if id.startswith((".", "/", "~")) or Path(id).is_dir():
        if revision:
            raise EvalkitError(f"{model}: '{id}' is a folder, which has no revision '{revision}': leave it out")
        return Asset(id, path=id)
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", id):
        raise EvalkitError(f"{model}: id='{id}' is neither a folder nor a hub id such as {example}")
    return Asset(id, licence="see its hub page", repo=id, revision=revision, files=files)


def made_up(checkpoint: Asset, file: str) -> bool:
    """Whether a JSON file of a local checkpoint says that the weights mean nothing."""
    if not checkpoint.path:
        return False
    path = Path(checkpoint.path).expanduser() / file
    return path.is_file() and read_json(checkpoint.name, path).get(MADE_UP[0]) == MADE_UP[1]


def require_finite(name: str, folder: Path, network: Any) -> None:
    """Raise EvalkitError for weights that are not finite in the network's dtype, as where float16 overflows."""
    import torch

    for key, tensor in network.named_parameters():
        if not torch.isfinite(tensor).all():
            dtype = str(tensor.dtype).removeprefix("torch.")
            raise EvalkitError(f"{name}: '{folder}' holds NaN or infinite weights in {dtype}, such as '{key}'")


def require_tokenizer(name: str, folder: Path) -> None:
    """Raise EvalkitError where a tokenizer has lost its files: transformers would make an empty one, silently."""
    if not any(any(folder.glob(pattern)) for pattern in TOKENIZERS):
        raise EvalkitError(f"{name}: '{folder}' has no tokenizer files: delete it and get it again")


def cut(samples: np.ndarray, rate: int, seconds: float) -> Audio:
    """Make a clip of at most `seconds` from samples (samples,) or (channels, samples)."""
    channels = np.atleast_2d(samples)[:, : round(seconds * rate)]
    return Audio(np.ascontiguousarray(channels, dtype=np.float32), int(rate))


class Truncations:
    """Counts the prompts of a run of which a model reads only the beginning; the first one is a warning."""

    def __init__(self, name: str):
        self.name = name
        self.count = 0

    def add(self, prompt: Prompt, tokens: int, limit: int) -> None:
        self.count += 1
        log.log(
            logging.WARNING if self.count == 1 else logging.INFO,
            "%s: prompt '%s' has %d tokens, of which the model reads %d (%d truncated so far; the log counts on)",
            *(self.name, prompt.id, tokens, limit, self.count),
        )


def warn_of_unused(name: str, sampling: Sampling, unused: Iterable[str], prompts: Sequence[Prompt]) -> None:
    """Warn of what was asked for and the model cannot follow: changed sampling options, a melody or a beginning."""
    standard = Sampling()
    if changed := [key for key in unused if getattr(sampling, key) != getattr(standard, key)]:
        log.warning("%s: sampling.%s means nothing to this model", name, ", sampling.".join(changed))
    if any(prompt.melody or prompt.continuation for prompt in prompts):
        log.warning("%s: this model gets captions only: melodies and continuations are not used", name)
