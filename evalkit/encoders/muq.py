"""MuQ: hidden states of a music encoder, 24 kHz mono to 25 frames per second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from evalkit.assets import Asset
from evalkit.batching import Room, of_long_enough
from evalkit.encoders import Input, Reads, mono_input
from evalkit.encoders.pooling import Pool, pooled
from evalkit.errors import EvalkitError, loading, unknown
from evalkit.precision import fixed_precision
from evalkit.store.cache import Cache
from evalkit.weights import fill, load_tensors, read_json, seeded, weights_file

RATE = 24000  # Hz
SHORTEST = 1025  # samples, more than half a window of the spectrum
LAYERS = 12
DIMENSIONS = 1024
TOGETHER = 40 * RATE  # samples in one forward

# the published config.json, as far as embeddings depend on it
SETTINGS: dict[str, Any] = {
    "label_rate": 25,
    "hop_length": 240,
    "n_mels": 128,
    "conv_dim": 512,
    "encoder_dim": DIMENSIONS,
    "encoder_depth": LAYERS,
    "stat": {"melspec_2048_mean": 6.768444971712967, "melspec_2048_std": 18.417922652295623},
    "w2v2_config": {
        "conv_depthwise_kernel_size": 31,
        "feat_extract_activation": "gelu",
        "hidden_act": "swish",
        "intermediate_size": 4096,
        "layer_norm_eps": 1e-5,
        "num_attention_heads": 16,
        "num_conv_pos_embedding_groups": 16,
        "num_conv_pos_embeddings": 128,
        "position_embeddings_type": "rotary",
        "rotary_embedding_base": 10000,
    },
}
# parts of a checkpoint that only training reads, and the convolution of positions, which the conformer has and skips
UNREAD = ("cls_token", "linear.", "quantizer_", "recon_proj.", "rvq.", "conformer.pos_conv_embed.")


@dataclass(frozen=True)
class MuQ:
    """Zhu et al. 2025, "MuQ: Self-Supervised Music Representation Learning with Mel Residual Vector Quantization".

    Each clip goes through the network whole and by itself, in float32, as its authors ask for.

    Attributes:
        layer: which of the hidden states: 0 for what enters the first layer of the conformer, k for what layer k
            gives; that of layer 12 is normalised, and is what its authors call MuQ's features.
        pool: "frames" for the states themselves, 25 a second, (frames, 1024); "seconds" for their means over one
            second after the other, without the rest at the end; "max" for their maximum over the clip, (1, 1024).
    """

    weights: Asset
    layer: int = LAYERS
    pool: Pool = "seconds"
    channels: Literal["mean", "first", "side"] = "mean"
    resampler: str = "julius"
    remove_dc: bool = False
    kind: ClassVar[str] = "muq"
    reads: ClassVar[Reads] = "audio"
    version: ClassVar[int] = 1

    @property
    def random(self) -> bool:
        return self.weights.random

    @property
    def hears(self) -> Input:
        return mono_input(RATE, self.channels, self.resampler, self.remove_dc)

    def __post_init__(self) -> None:
        if not 0 <= self.layer <= LAYERS:
            raise EvalkitError(f"MuQ: layer={self.layer}: it has the hidden states 0 to {LAYERS}")
        if self.pool not in get_args(Pool):
            raise unknown("MuQ pool", self.pool, get_args(Pool))
        _ = self.hears  # refuses what cannot be heard

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network up to the layer; its function gives (frames, 1024).

        Clips of less than 1025 samples have no frame, and those of less than 0.97 s no second.
        """
        bands, network = (part.to(device).eval() for part in network_of(self.weights, cache, self.layer))
        dimensions, together = network.conv.linear.out_features, Room(TOGETHER)

        def forward(batch: Any) -> Any:
            return pooled(network(bands(batch)), self.pool, SETTINGS["label_rate"])

        @fixed_precision()
        def encode(clips: list[np.ndarray]) -> list[np.ndarray]:
            return of_long_enough(forward, clips, SHORTEST, device, together, dimensions)

        return encode


def network_of(weights: Asset, cache: Cache, layer: int) -> tuple[Any, Any]:
    """The front end, and the network up to a layer, on the CPU, with published or seeded random weights.

    Raises EvalkitError for a checkpoint that is missing, damaged, incomplete or of another network.
    """
    import torch

    from evalkit.encoders.muq_network import LogMel, empty

    if weights.random:
        network = empty(SETTINGS, layer)
        with seeded(weights.random_seed):
            randomize_layers(network)
        return LogMel(SETTINGS), network.to(memory_format=torch.channels_last)
    folder = weights.locate(cache)
    settings = _settings(folder / "config.json", weights.name)
    if layer > (depth := settings["encoder_depth"]):
        raise EvalkitError(f"{weights.name}: '{folder}' has the hidden states 0 to {depth}, and no {layer}: set layer")
    with loading(f"{weights.name}: '{folder / 'config.json'}'"):
        bands, network = LogMel(settings), empty(settings, layer)
    path = weights_file(folder)
    fill(network, _read(load_tensors(path, weights.name), layer, depth), weights.name, path)
    return bands, network.to(memory_format=torch.channels_last)


def _settings(path: Path, name: str) -> dict[str, Any]:
    """What a config.json says of the network. Raises EvalkitError where it says too little, or is of another one."""
    config = read_json(path, name)
    with loading(f"{name}: '{path}'"):
        found = {
            key: {part: config[key][part] for part in value} if isinstance(value, dict) else config[key]
            for key, value in SETTINGS.items()
        }
    kinds = found["label_rate"], found["w2v2_config"]["position_embeddings_type"]
    if kinds != (SETTINGS["label_rate"], "rotary"):
        raise EvalkitError(
            f"{name}: '{path}' is of another network: it has label_rate={kinds[0]} and {kinds[1]} positions, "
            "MuQ 25 and rotary ones"
        )
    return found


def _read(state: Any, layer: int, depth: int) -> Any:
    """What the network up to a layer reads of a checkpoint, by its names there."""
    if not isinstance(state, dict):
        return state
    deeper = tuple(f"conformer.layers.{i}." for i in range(layer, depth))
    if layer < depth:
        deeper += ("conformer.layer_norm.",)
    names = {key: str(key).removeprefix("model.") for key in state}
    return {name: state[key] for key, name in names.items() if not name.startswith((*UNREAD, *deeper))}


def randomize_layers(network: Any) -> None:
    """Draw weights whose output depends on the input, those of a layer the same however many follow it."""
    import torch

    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d)):
                module.weight.normal_(0, (2 / module.weight[0].numel()) ** 0.5)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, (torch.nn.LayerNorm, torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
                module.reset_parameters()
        frequencies = network.conformer.embed_positions.inv_freq
        base = network.conformer.config.rotary_embedding_base
        frequencies.copy_(1 / base ** (torch.arange(len(frequencies)) / len(frequencies)))
