"""musicnn, a tagger of music whose trained weights lie in a package index, as an encoder.

    pip download --no-deps --dest FOLDER musicnn==0.1.0

The weights are read out of that file, whose code is neither installed nor run.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import librosa
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks import tensor_bundle
from evalkit.assets import Asset
from evalkit.batching import Room, of_parts
from evalkit.encoders import Encoder, Input, Reads, load_headed
from evalkit.errors import EvalkitError, reason, unknown
from evalkit.precision import fixed_precision
from evalkit.store.cache import Cache
from evalkit.weights import fill, randomize, seeded

RATE, FFT, HOP, BANDS = 16000, 512, 256, 96
PATCH = 187  # frames that the network was trained on: 3 s
TAGS, EMBEDDING = 50, 200
TOGETHER = 64  # patches in one forward
MEMBERS = ("musicnn/MTT_musicnn/.index", "musicnn/MTT_musicnn/.data-00000-of-00001")
EPSILON = 1e-3  # TensorFlow's, of batch normalisation

Output = Literal["embedding", "softmax", "sigmoid"]


def published(path: str | Path) -> Asset:
    """The weights in musicnn 0.1.0, which were trained on MagnaTagATune."""
    return Asset(
        name="musicnn 0.1.0, MTT_musicnn",
        licence="ISC",
        size=29_000_000,
        sha256="f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa",
        path=str(path),
    )


@dataclass(frozen=True)
class MusiCNN:
    """Pons and Serra 2019, "musicnn: Pre-trained convolutional neural networks for music audio tagging".

    Log-mel patches of 3 s as in the package's extractor.py, but in float32: in float16, as there, 10000 times a loud
    band is infinite. A clip that is shorter is repeated, as in training.

    Attributes:
        weights: the package's file as `pip download` brings it.
        output: "embedding", the penultimate layer of each patch; or of the whole clip, from the mean of its patches'
            logits, the "softmax" over all tags or the "sigmoid" of each tag by itself.
        hop: of the patches in frames of 16 ms.
    """

    weights: Asset
    output: Output = "embedding"
    hop: int = 62
    kind: ClassVar[str] = "musicnn"
    reads: ClassVar[Reads] = "audio"
    version: ClassVar[int] = 1
    hears: ClassVar[Input] = Input(RATE)

    def __post_init__(self) -> None:
        if self.output not in get_args(Output):
            raise unknown("musicnn output", self.output, get_args(Output))
        if self.hop < 1:
            raise EvalkitError(f"musicnn: hop={self.hop}: must be at least 1")

    @property
    def random(self) -> bool:
        return self.weights.random

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network; its function gives (patches, 200) or (1, 50)."""
        return load_headed(self, cache, device)

    @property
    def trunk(self) -> Encoder:
        return MusiCNNOutput(replace(self, output="embedding"))

    def head(self, output: np.ndarray) -> np.ndarray:
        if self.output == "embedding":
            return output[:, :EMBEDDING]
        logits = output[:, EMBEDDING:].mean(axis=0, keepdims=True, dtype=np.float64)
        odds = np.exp(logits - logits.max() if self.output == "softmax" else logits)
        values = odds / odds.sum() if self.output == "softmax" else odds / (1 + odds)
        return values.astype(np.float32)


@dataclass(frozen=True)
class MusiCNNOutput:
    """What the network gives of each patch: the penultimate layer, then the tags' logits.

    Attributes:
        tagger: the network, and how it is fed; its output plays no part.
    """

    tagger: MusiCNN
    kind: ClassVar[str] = "musicnn_output"
    reads: ClassVar[Reads] = "audio"
    version: ClassVar[int] = 1
    hears: ClassVar[Input] = Input(RATE)

    @property
    def random(self) -> bool:
        return self.tagger.random

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network; its function gives (patches, 250)."""
        network = network_of(self.tagger.weights, cache).to(device).eval()
        together = Room(TOGETHER)

        @fixed_precision()
        def encode(clips: list[np.ndarray]) -> list[np.ndarray]:
            patches = [patches_of(log_mel(clip), self.tagger.hop) for clip in clips]
            return of_parts(network, patches, device, together, EMBEDDING + TAGS)

        return encode


def log_mel(clip: np.ndarray) -> np.ndarray:
    """The spectrogram (frames, 96) of samples (samples,) at 16 kHz, float32, frames every 16 ms."""
    samples = np.asarray(clip, np.float32)
    samples = np.pad(samples, (0, max(0, FFT - len(samples))))  # one window at least
    bands = librosa.feature.melspectrogram(
        y=samples, sr=RATE, hop_length=HOP, n_fft=FFT, n_mels=BANDS, pad_mode="reflect"
    )
    compressed: np.ndarray = np.log10(10000 * bands.T + 1).astype(np.float32)
    return compressed


def patches_of(spectrogram: np.ndarray, hop: int) -> list[np.ndarray]:
    """Patches (187, 96) of a spectrogram (frames, 96), which is repeated if it is shorter than one."""
    if len(spectrogram) < PATCH:
        spectrogram = np.resize(spectrogram, (PATCH, BANDS))
    return [spectrogram[at : at + PATCH] for at in range(0, len(spectrogram) - PATCH + 1, hop)]


class Network(nn.Module):
    """The network of musicnn's models.py, (patches, frames, 96) to (patches, 250)."""

    def __init__(self) -> None:
        super().__init__()
        shapes = [(204, 7, 38), (204, 7, 67), (51, 128, 1), (51, 64, 1), (51, 32, 1)]
        self.entry = nn.BatchNorm2d(1, EPSILON)
        self.front = nn.ModuleList([nn.Conv2d(1, filters, (time, bands)) for filters, time, bands in shapes])
        self.front_norms = nn.ModuleList([nn.BatchNorm2d(filters, EPSILON) for filters, _, _ in shapes])
        self.middle = nn.ModuleList([nn.Conv1d(channels, 64, 7, padding=3) for channels in (561, 64, 64)])
        self.middle_norms = nn.ModuleList([nn.BatchNorm1d(64, EPSILON) for _ in range(3)])
        self.pooled = nn.BatchNorm1d(1506, EPSILON)
        self.dense = nn.Linear(1506, EMBEDDING)
        self.last = nn.BatchNorm1d(EMBEDDING, EPSILON)
        self.tags = nn.Linear(EMBEDDING, TAGS)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        entry = self.entry(patches[:, None])
        parts = []
        for convolution, norm in zip(self.front, self.front_norms, strict=True):
            time = convolution.kernel_size[0]
            # as many frames as before; of an even kernel TensorFlow puts the odd one at the end
            padded = functional.pad(entry, (0, 0, (time - 1) // 2, time // 2))
            parts.append(norm(functional.relu(convolution(padded))).amax(dim=3))
        layers = [torch.cat(parts, dim=1)]
        for convolution, norm in zip(self.middle, self.middle_norms, strict=True):
            found = norm(functional.relu(convolution(layers[-1])))
            layers.append(found if len(layers) == 1 else found + layers[-1])
        features = torch.cat(layers, dim=1)
        # the maximum and the mean of each channel, one beside the other
        both = torch.stack([features.amax(dim=2), features.mean(dim=2)], dim=2).flatten(1)
        embedding = self.last(functional.relu(self.dense(self.pooled(both))))
        return torch.cat([embedding, self.tags(embedding)], dim=1)


def network_of(weights: Asset, cache: Cache) -> Network:
    """The network on the CPU, with published or seeded random weights."""
    with seeded(weights.random_seed):
        network = Network()
        if weights.random:
            randomize(network, gain=2**0.5)
            randomize(network.tags, gain=1.0)
    if not weights.random:
        path = weights.locate(cache)
        fill(network, state_of(variables_in(path)), weights.name, path)
    return network


def variables_in(path: Path) -> dict[str, np.ndarray]:
    """The variables of the checkpoint in the package's file. Raises EvalkitError for a file that is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            index, data = (archive.read(member) for member in MEMBERS)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise EvalkitError(
            f"'{path}' is not the file of musicnn 0.1.0 ({reason(error)}): bring it by "
            "'pip download --no-deps musicnn==0.1.0'"
        ) from error
    return tensor_bundle.read(index, data)


def state_of(variables: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The state of `Network` from variables by TensorFlow's names, which number layers as they were made."""
    layers = {f"front.{i}": f"conv2d_{i}" for i in range(5)} | {f"middle.{i}": f"conv2d_{i + 5}" for i in range(3)}
    layers |= {"dense": "dense", "tags": "dense_1"}
    norms = ["entry", *(f"front_norms.{i}" for i in range(5)), *(f"middle_norms.{i}" for i in range(3))]
    state: dict[str, torch.Tensor] = {}
    for own, name in layers.items():
        theirs = name.removesuffix("_0")
        if f"{theirs}/kernel" in variables:
            kernel = variables[f"{theirs}/kernel"]
            if own.startswith("middle"):  # (7, channels, 1, 64), over all channels
                kernel = kernel[:, :, 0].transpose(2, 1, 0)
            else:
                kernel = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
            state[f"{own}.weight"] = torch.from_numpy(kernel.copy())
            state[f"{own}.bias"] = torch.from_numpy(variables[f"{theirs}/bias"].copy())
    for number, own in enumerate([*norms, "pooled", "last"]):
        theirs = f"batch_normalization_{number}" if number else "batch_normalization"
        names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
        for to, name in names.items():
            if f"{theirs}/{name}" in variables:
                state[f"{own}.{to}"] = torch.from_numpy(variables[f"{theirs}/{name}"].copy())
        state[f"{own}.num_batches_tracked"] = torch.tensor(0)
    return state
