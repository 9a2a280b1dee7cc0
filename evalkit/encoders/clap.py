"""CLAP: embeddings of audio (48 kHz mono) and captions in one space of 512 dimensions."""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from evalkit import compat
from evalkit.assets import Asset
from evalkit.batching import Room, of_parts, on_threads
from evalkit.encoders import Input, Reads, mono_input, to_peak
from evalkit.encoders.attention import speed_up_htsat
from evalkit.errors import EvalkitError, unknown
from evalkit.precision import fixed_precision
from evalkit.store.cache import Cache
from evalkit.weights import fill, load_tensors, randomize, seeded

RATE = 48000  # Hz
SECONDS = 10.0  # that the network reads at once
TOGETHER = round(160 * RATE)  # samples in one forward
TOKENS = 256 * 77  # of captions in one forward
DIMENSIONS = 512
TOKENIZER = 1  # version of the made-up one
Architecture = Literal["HTSAT-tiny", "HTSAT-base"]


@dataclass(frozen=True)
class CLAPAudio:
    """Wu et al. 2023, "Large-Scale Contrastive Language-Audio Pretraining".

    By default laion_clap without fusion, fed as audiocraft's metrics/clap_consistency.py does: samples
    are not quantised, clips under 10 s are repeated and the rest filled with zeros. Where laion_clap
    takes random parts of a longer clip, this takes the first possible ones: without fusion the
    beginning; with fusion, beside the whole clip squeezed into 10 s, three parts of 10 s, which start
    where the thirds of all possible starts begin.

    Attributes:
        architecture: of the audio half that the weights are for.
        fusion: whether the weights are for feature fusion, which hears all of a clip over 10 s.
        seconds: what a network without fusion hears of a clip at most.
        hop: seconds between windows of 10 s, filled up with zeros, each with an embedding of its own,
            as fadtk cuts a clip; None for one embedding per clip.
        quantise: round to 16 bits towards zero, as laion_clap's README advises.
        peak_headroom: decibels between full scale and the peak that clips are first scaled to; None
            to leave the level.
    """

    weights: Asset
    architecture: Architecture = "HTSAT-base"
    fusion: bool = False
    seconds: float = SECONDS
    hop: float | None = None
    quantise: bool = False
    peak_headroom: float | None = None
    sample_rate: int = RATE
    channels: Literal["mean", "first", "side"] = "mean"
    resampler: str = "julius"
    remove_dc: bool = False
    kind: ClassVar[str] = "clap_audio"
    reads: ClassVar[Reads] = "audio"
    version: ClassVar[int] = 2

    @property
    def random(self) -> bool:
        return self.weights.random

    @property
    def hears(self) -> Input:
        return mono_input(self.sample_rate, self.channels, self.resampler, self.remove_dc)

    def __post_init__(self) -> None:
        if self.sample_rate != RATE:
            raise EvalkitError(f"CLAP reads {RATE} Hz, not {self.sample_rate}")
        if not 0 < self.seconds <= SECONDS:
            raise EvalkitError(f"CLAP: seconds={self.seconds:g} must be more than 0 and at most {SECONDS:g}")
        if self.hop is not None and not 0.01 <= self.hop <= SECONDS:
            raise EvalkitError(f"CLAP: hop={self.hop:g} must be between 0.01 and {SECONDS:g} s, or null")
        _check_architecture(self.architecture)
        _ = self.hears  # refuses what cannot be heard

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network; its function gives unit vectors (1, 512), with `hop` (windows, 512)."""
        network = network_of(self.weights, cache, device, self.architecture, self.fusion)
        together = Room(TOGETHER)

        def forward(waves: Any) -> Any:
            return network.get_audio_embedding_from_data(waves, use_tensor=True)

        @fixed_precision()
        def encode(clips: list[np.ndarray]) -> list[np.ndarray]:
            cut = on_threads(self.windows, clips, device)
            with compat.quiet(), compat.clap_takes_first_parts():
                return of_parts(forward, cut, device, together, DIMENSIONS)

        return encode

    def windows(self, clip: np.ndarray) -> list[np.ndarray]:
        """What the network is given of a clip (samples,), float32."""
        samples = to_peak(np.asarray(clip, np.float32), self.peak_headroom)
        if self.quantise:
            steps = (np.clip(samples, -1.0, 1.0) * np.float32(32767)).astype(np.int16)
            samples = steps.astype(np.float32) / np.float32(32767)
        if self.hop is not None:
            length = round(SECONDS * RATE)
            parts = [samples[i : i + length] for i in range(0, len(samples), round(self.hop * RATE))]
            return [np.pad(part, (0, length - len(part))) for part in parts]
        return [samples if self.fusion else samples[: round(self.seconds * RATE)]]


@dataclass(frozen=True)
class CLAPText:
    """The other half of `CLAPAudio`'s network, for captions.

    Attributes:
        tokenizer: roberta-base's vocab.json and merges.txt.
        architecture, fusion: of the audio half, which is in the same file.
        max_tokens: captions are cut after, and padded to, this many tokens.
    """

    weights: Asset
    tokenizer: Asset
    max_tokens: int = 77
    architecture: Architecture = "HTSAT-base"
    fusion: bool = False
    kind: ClassVar[str] = "clap_text"
    reads: ClassVar[Reads] = "text"
    version: ClassVar[int] = 2
    hears: ClassVar[None] = None

    @property
    def random(self) -> bool:
        return self.weights.random or self.tokenizer.random

    def __post_init__(self) -> None:
        _check_architecture(self.architecture)
        if not 3 <= self.max_tokens <= 512:
            raise EvalkitError(f"CLAP: max_tokens={self.max_tokens}: must lie in 3 to 512, which RoBERTa reads")

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network; its function gives unit vectors (1, 512)."""
        import torch

        folder = made_up_tokenizer(cache) if self.tokenizer.random else self.tokenizer.locate(cache)
        tokenizer = compat.roberta_tokenizer(folder)
        network = network_of(self.weights, cache, device, self.architecture, self.fusion)
        together = Room(TOKENS)

        def tokenize(texts: list[str]) -> Any:
            return tokenizer(
                texts, padding="max_length", truncation=True, max_length=self.max_tokens, return_tensors="pt"
            )

        def forward(tokens: Any) -> Any:
            with torch.inference_mode():
                return network.get_text_embedding(tokens, tokenizer=lambda given: given, use_tensor=True).cpu().numpy()

        def of_several(each: list[dict[str, Any]]) -> Any:
            return forward({name: torch.cat([tokens[name] for tokens in each]) for name in each[0]})[:, None]

        @fixed_precision()
        def encode(captions: list[str]) -> list[np.ndarray]:
            tokens = dict(tokenize(captions))
            with compat.quiet():
                each = [{name: rows[i : i + 1] for name, rows in tokens.items()} for i in range(len(captions))]
                if torch.device(device).type == "cpu":
                    return on_threads(forward, each)
                return together.run(of_several, each, self.max_tokens)

        return encode


def _check_architecture(name: str) -> None:
    if name not in get_args(Architecture):
        raise unknown("CLAP architecture", name, get_args(Architecture))


def network_of(
    weights: Asset, cache: Cache, device: str, architecture: Architecture = "HTSAT-base", fusion: bool = False
) -> Any:
    """The one network that both encoders share, on the device, with published or seeded random weights."""
    path = None if weights.random else weights.locate(cache)
    return _network(path, weights.name, weights.random_seed, device, architecture, fusion)


@functools.lru_cache(maxsize=1)
def _network(path: Path | None, name: str, seed: int | None, device: str, architecture: str, fusion: bool) -> Any:
    with seeded(seed):
        module = compat.clap_module(architecture, fusion)
        if path is None:
            _randomize(module.model)
    if path is not None:
        fill(module.model, state_dict(load_tensors(path, name)), name, path)
    speed_up_htsat(module.model.audio_branch)
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
    return cache.made_folder("tokenizer of random weights", TOKENIZER, _write_tokenizer)


def _write_tokenizer(folder: Path) -> None:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

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
    (folder / "merges.txt").write_text("\n".join(lines), "utf-8")
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}), "utf-8")
