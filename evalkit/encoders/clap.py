"""CLAP: embeddings of audio (48 kHz mono) and captions in one space of 512 dimensions."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from evalkit import compat
from evalkit.assets import Asset
from evalkit.encoders import Input, fill, randomize, seeded
from evalkit.errors import EvalkitError
from evalkit.store import Cache, write_bytes, write_json

RATE = 48000  # Hz
ARCHITECTURE = "HTSAT-base"


@dataclass(frozen=True)
class CLAPAudio:
    """Wu et al. 2023, "Large-Scale Contrastive Language-Audio Pretraining".

    laion_clap without fusion, fed as audiocraft's metrics/clap_consistency.py does: samples are not
    quantised, shorter clips are repeated and the rest filled with zeros. Where audiocraft takes a
    random part of a longer clip, this takes its beginning.

    Attributes:
        seconds: what the network reads of a clip at most.
    """

    weights: Asset
    seconds: float = 10.0
    sample_rate: int = RATE
    channels: Literal["mean", "first", "side"] = "mean"
    resampler: str = "julius"
    reads: ClassVar[str] = "audio"
    version: ClassVar[int] = 1

    @property
    def hears(self) -> Input:
        return Input(self.sample_rate, self.channels, self.resampler)

    def __post_init__(self) -> None:
        if self.sample_rate != RATE:
            raise EvalkitError(f"CLAP reads {RATE} Hz, not {self.sample_rate}")
        if not 0 < self.seconds <= 10:
            raise EvalkitError(f"CLAP: seconds={self.seconds:g} must be more than 0 and at most 10")

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network; its function gives unit vectors (1, 512)."""
        import torch

        network = network_of(self.weights, cache, device)

        def encode(clips: list[np.ndarray]) -> list[np.ndarray]:
            length = round(self.seconds * RATE)
            waves = [torch.from_numpy(np.asarray(clip[:length], np.float32)) for clip in clips]
            with torch.inference_mode(), compat.quiet():
                vectors = network.get_audio_embedding_from_data(waves, use_tensor=True)
            return list(vectors.cpu().numpy()[:, None])

        return encode


@dataclass(frozen=True)
class CLAPText:
    """The other half of `CLAPAudio`'s network, for captions.

    Attributes:
        tokenizer: roberta-base's vocab.json and merges.txt.
        max_tokens: captions are cut after, and padded to, this many tokens.
    """

    weights: Asset
    tokenizer: Asset
    max_tokens: int = 77
    reads: ClassVar[str] = "text"
    version: ClassVar[int] = 1

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network; its function gives unit vectors (1, 512)."""
        import torch

        folder = made_up_tokenizer(cache) if self.tokenizer.random else self.tokenizer.locate(cache)
        tokenizer = compat.roberta_tokenizer(folder)
        network = network_of(self.weights, cache, device)

        def tokenize(texts: list[str]) -> Any:
            return tokenizer(
                texts, padding="max_length", truncation=True, max_length=self.max_tokens, return_tensors="pt"
            )

        def encode(captions: list[str]) -> list[np.ndarray]:
            with torch.inference_mode(), compat.quiet():
                vectors = network.get_text_embedding(captions, tokenizer=tokenize, use_tensor=True)
            return list(vectors.cpu().numpy()[:, None])

        return encode


def network_of(weights: Asset, cache: Cache, device: str) -> Any:
    """The one network that both encoders share, on the device, with published or seeded random weights."""
    path = None if weights.random else weights.locate(cache)
    return _network(path, weights.name, weights.random_seed, device)


@functools.lru_cache(maxsize=1)
def _network(path: Path | None, name: str, seed: int | None, device: str) -> Any:
    with seeded(seed):
        module = compat.clap_module(ARCHITECTURE)
        if path is None:
            _randomize(module.model)
    if path is not None:
        fill(module.model, state_dict(compat.load_tensors(path, name)), name, path)
    return module.to(device).eval()


def _randomize(network: Any) -> None:
    randomize(network, gain=1.2)
    # without these the embeddings of any two inputs nearly coincide
    network.text_branch.embeddings.word_embeddings.weight.data.normal_(0, 0.1)
    network.audio_branch.bn0.running_mean.fill_(-30)  # the level and spread of music's log-mel bands in dB
    network.audio_branch.bn0.running_var.fill_(20**2)


def state_dict(checkpoint: Any) -> Any:
    """The network's state dict out of a published checkpoint, which was saved in training on several GPUs."""
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else checkpoint
    if not isinstance(state, dict):
        return state
    state = {str(key).removeprefix("module."): value for key, value in state.items()}
    state.pop("text_branch.embeddings.position_ids", None)  # transformers keeps it no longer in state dicts
    return state


def made_up_tokenizer(cache: Cache) -> Path:
    """A byte-level BPE in the layout and size of roberta-base's, for random weights, made when first needed.

    Its merges are all pairs of letters, and of these an arbitrary sample of pairs.
    """
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder = cache.checkpoints / "made-up-roberta-tokenizer"
    if not (folder / "vocab.json").exists():
        letters = "abcdefghijklmnopqrstuvwxyz"
        pairs = list(itertools.product(letters, letters))
        fours = [(a + b, c + d) for (a, b), (c, d) in itertools.product(pairs, pairs)]
        starts = [("Ġ", letter) for letter in letters]
        merges = starts + pairs + random.Random(0).sample(fours, 50000 - len(starts) - len(pairs))
        tokens = [
            *("<s>", "<pad>", "</s>", "<unk>"),
            *bytes_to_unicode().values(),
            *(a + b for a, b in merges),
            *("<|endoftext|>", "madeupword0000", "madeupword0001", "madeupword0002", "<mask>"),
        ]
        lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
        vocabulary = {token: i for i, token in enumerate(tokens)}
        write_bytes(folder / "merges.txt", "\n".join(lines).encode())
        write_json(folder / "vocab.json", vocabulary)  # last: its presence means completion
    return folder
