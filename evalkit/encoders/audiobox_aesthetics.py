"""Audiobox Aesthetics: four ratings that listeners would give a clip, predicted from its sound, 16 kHz mono."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from evalkit import audio, compat
from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.batching import Room, of_parts, on_threads
from evalkit.encoders import Input, Reads
from evalkit.errors import EvalkitError, loading
from evalkit.precision import fixed_precision
from evalkit.store.cache import Cache
from evalkit.weights import fill, load_tensors, randomize, read_json, seeded

RATE = 16000  # Hz
WINDOW = 10 * RATE  # samples
FRAME, HOP = 400, 320  # samples that one of WavLM's frames sees, and between two of them
WINDOW_FRAMES = 31999  # of the first convolution
TOGETHER = 16 * WINDOW  # samples in one forward
AXES = ("CE", "CU", "PC", "PQ")  # content enjoyment and usefulness, production complexity and quality
# of the published network, for random weights; the scale is about that of its four axes
SHAPE: dict[str, Any] = {"proj_num_layer": 5, "proj_ln": True}
SCALE = {"mean": 5.0, "std": 1.75}


@dataclass(frozen=True)
class AudioboxAesthetics:
    """Tjandra et al. 2025, "Meta Audiobox Aesthetics: Unified Automatic Quality Assessment …", arXiv 2502.05139.

    The network of the package audiobox_aesthetics, fed as its AesPredictor does: the file as it is stored, its channels
    averaged, torchaudio's resampling, windows of 10 s side by side. The last window is filled up with zeros. Attention
    and the mean over time leave these out, so that they are not computed; the normalisation after the first convolution
    counts them, so the end of a clip sounds a little different to the network from what it would in a full window. A
    clip's scores are the means of its windows' scores, weighted by how much of a window is sound.

    The network computes in float32, whatever precision its configuration names: the package's 0.0.4 compares a type
    with a word, and so never switches to the bfloat16 that it means to use.

    Attributes:
        weights: a folder with config.json and model.safetensors, as the hub has them, or the older checkpoint.pt.
    """

    weights: Asset
    kind: ClassVar[str] = "audiobox_aesthetics"
    reads: ClassVar[Reads] = "audio"
    version: ClassVar[int] = 1

    @property
    def random(self) -> bool:
        return self.weights.random

    @property
    def hears(self) -> Input:
        return Input(None, level="stored")  # a level that is set by cutting off peaks would be rated as clipping

    def __post_init__(self) -> None:
        if importlib.util.find_spec("audiobox_aesthetics") is None:
            raise EvalkitError(
                f"{self.weights.name}: the package audiobox_aesthetics is not installed: "
                "pip install 'evalkit[aesthetics]'"
            )

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network; its function gives scores (1, 4) in the order of AXES, for Audio (1, samples)."""
        import torch

        network = network_of(self.weights, cache).to(device).eval()
        mean, std = (torch.tensor([network.target_transform[x][of] for x in AXES]) for of in ("mean", "std"))
        together = Room(TOGETHER)
        norm = network.wavlm_model.feature_extractor.conv_layers[0][2]
        norm.forward = functools.partial(_as_in_a_window, norm)

        def forward(batch: Any) -> Any:
            samples = batch.shape[1]  # all windows of a batch are of one length
            length = min(WINDOW, -(-samples // HOP) * HOP + FRAME - HOP)
            given = {"wav": torch.nn.functional.pad(batch, (0, length - samples))[:, None]}
            if length == WINDOW:  # else each frame has sound in it
                given["mask"] = (torch.arange(WINDOW, device=batch.device) < samples).expand_as(given["wav"])
            rated = network(given)
            return torch.stack([rated[axis] for axis in AXES], dim=1).cpu() * std + mean

        @fixed_precision()
        def encode(clips: list[Audio]) -> list[np.ndarray]:
            cut = on_threads(windows, clips, device)
            with compat.quiet(), compat.audiobox_draws_nothing():
                rated = of_parts(forward, cut, device, together, len(AXES))
            return [weighted(scores, parts) for scores, parts in zip(rated, cut, strict=True)]

        return encode


def _as_in_a_window(norm: Any, x: Any) -> Any:
    """What a group norm of one channel each makes of x (n, channels, frames) if zeros follow it to a window's end.

    Frames of zeros alone change the mean and the deviation, and nothing else: they are counted, and not computed.
    """
    import torch

    missing = WINDOW_FRAMES - x.shape[-1]
    if not missing:
        return torch.nn.functional.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
    mean = x.sum(-1, keepdim=True) / WINDOW_FRAMES
    squares = (x - mean).square().sum(-1, keepdim=True) + missing * mean.square()
    scaled = (x - mean) * (squares / WINDOW_FRAMES + norm.eps).rsqrt()
    return scaled * norm.weight[:, None] + norm.bias[:, None]


def windows(clip: Audio) -> list[np.ndarray]:
    """Cut a clip of one channel into what the network reads at once, the last part shorter."""
    samples = audio.resample(clip, RATE, "torchaudio").samples[0]
    return [samples[start : start + WINDOW] for start in range(0, len(samples), WINDOW)]


def weighted(scores: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """The mean (1, 4) of windows' scores (windows, 4), weighted by their lengths; (0, 4) where there are none."""
    lengths = np.array([len(part) for part in parts], np.float64)
    mean = (lengths @ scores)[None] / lengths.sum() if parts else scores
    return mean.astype(np.float32)


def network_of(weights: Asset, cache: Cache) -> Any:
    """The package's network on the CPU, with published or seeded random weights; `target_transform` is its scale.

    Raises EvalkitError for a checkpoint that is missing, damaged, incomplete or another.
    """
    if weights.random:
        with seeded(weights.random_seed):
            network = compat.audiobox_network({**SHAPE, "target_transform": dict.fromkeys(AXES, SCALE)})
            _randomize(network)
        return network
    path = weights.locate(cache)
    options, state = _of_folder(weights.name, path) if path.is_dir() else _of_checkpoint(weights.name, path)
    _check_scale(weights.name, path, options.get("target_transform"))
    with loading(f"{weights.name}: '{path}'"):
        network = compat.audiobox_network(options)
    fill(network, state, weights.name, path)
    return network


def _of_folder(name: str, folder: Path) -> tuple[dict[str, Any], Any]:
    """The options and the state dict of the hub's layout."""
    for file in ("config.json", "model.safetensors"):
        if not (folder / file).is_file():
            raise EvalkitError(f"{name}: '{folder}' has no {file}: it needs config.json and model.safetensors")
    return read_json(folder / "config.json", name), load_tensors(folder / "model.safetensors", name)


def _of_checkpoint(name: str, path: Path) -> tuple[dict[str, Any], Any]:
    """The options and the state dict of the older checkpoint.pt, whose keys say in which module it was trained."""
    found = load_tensors(path, name)
    parts = found if isinstance(found, dict) else {}
    options, state = parts.get("model_cfg"), parts.get("state_dict")
    if not isinstance(options, Mapping) or not isinstance(state, Mapping):
        raise EvalkitError(f"{name}: '{path}' has no model_cfg and state_dict: it is another file")
    named = {str(key).removeprefix("model."): value for key, value in state.items()}
    return {**options, "target_transform": parts.get("target_transform")}, named


def _check_scale(name: str, path: Path, scale: Any) -> None:
    """Raise EvalkitError where it is not known what mean and deviation each axis was trained to have."""
    try:
        numbers = [float(scale[axis][of]) for axis in AXES for of in ("mean", "std")]
    except (TypeError, KeyError, ValueError, IndexError):
        numbers = [np.nan]
    if not np.isfinite(numbers).all():
        raise EvalkitError(f"{name}: '{path}' lacks the scale of its scores (target_transform): it is another file")


def _randomize(network: Any) -> None:
    """Draw weights whose scores depend on the clip; the initial ones give nearly a constant."""
    import torch

    randomize(network, gain=2**0.5)
    with torch.no_grad():
        for weights in network.layer_weights.values():
            weights.normal_()
