"""SongEval: five ratings that musicians would give a song, predicted from its sound, 24 kHz mono."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from evalkit import audio
from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.batching import Room, of_long_enough, on_threads
from evalkit.encoders import Input, Reads, muq
from evalkit.precision import fixed_precision
from evalkit.store.cache import Cache
from evalkit.weights import fill, load_tensors, randomize, seeded

LAYER = 6  # of MuQ's hidden states, which is what the ratings are predicted from
AXES = ("coherence", "musicality", "memorability", "clarity", "naturalness")


@dataclass(frozen=True)
class SongEval:
    """Yao et al. 2025, "SongEval: A Benchmark Dataset for Song Aesthetics Evaluation", arXiv 2505.10793.

    A song is heard whole and by itself, as the toolkit's eval.py hears it: the file as it is stored, its channels
    averaged, SoXR's resampling. The network was trained on whole songs with vocals, of some minutes: what it says of
    instrumental clips of 10 s has not been shown to agree with anyone.

    Attributes:
        weights: of the network that reads MuQ's hidden states.
        muq: MuQ's weights, of which the first half is read.
    """

    weights: Asset
    muq: Asset
    kind: ClassVar[str] = "songeval"
    reads: ClassVar[Reads] = "audio"
    version: ClassVar[int] = 1

    @property
    def random(self) -> bool:
        return self.weights.random or self.muq.random

    @property
    def hears(self) -> Input:
        return Input(None, level="stored")

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the networks; their function gives ratings (1, 5) in the order of AXES.

        It takes Audio of one channel; clips of less than 1025 samples at 24 kHz have none, (0, 5).
        """
        bands, encoder = (part.to(device).eval() for part in muq.network_of(self.muq, cache, LAYER))
        network = network_of(self.weights, cache).to(device).eval()
        together = Room(muq.TOGETHER)

        def forward(batch: Any) -> Any:
            return network(encoder(bands(batch)))[:, None]

        @fixed_precision()
        def encode(clips: list[Audio]) -> list[np.ndarray]:
            songs = on_threads(samples_of, clips, device)
            return of_long_enough(forward, songs, muq.SHORTEST, device, together, len(AXES))

        return encode


def samples_of(clip: Audio) -> np.ndarray:
    """The samples (samples,) at 24 kHz of a clip of one channel, resampled as librosa.load does."""
    return audio.resample(clip, muq.RATE, "soxr_hq").samples[0]


def network_of(weights: Asset, cache: Cache) -> Any:
    """The network on the CPU, with published or seeded random weights.

    Raises EvalkitError for a file that is missing, damaged, incomplete or of another network. The original reads what
    it finds of a file, and leaves the rest of the network as it was drawn.
    """
    from evalkit.encoders.songeval_network import empty

    network = empty()
    if weights.random:
        with seeded(weights.random_seed):
            randomize_ratings(network)
        return network
    path = weights.locate(cache)
    fill(network, load_tensors(path, weights.name), weights.name, path)
    return network


def randomize_ratings(network: Any) -> None:
    """Draw weights whose ratings lie between the limits, and depend on the song."""
    import torch

    randomize(network.ffd, gain=2**0.5)
    with torch.no_grad():
        for attention in network.attn:
            attention.in_proj_weight.normal_(0, attention.embed_dim**-0.5)
            attention.in_proj_bias.zero_()
            randomize(attention, gain=1.0)
    randomize(network.fc, gain=0.25)
