"""MERT: hidden states of a music encoder, 24 kHz mono to 75 frames per second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from evalkit import compat
from evalkit.assets import Asset
from evalkit.batching import Room, of_long_enough
from evalkit.encoders import Input, Reads, mono_input
from evalkit.encoders.pooling import Pool, pooled
from evalkit.errors import EvalkitError, unknown
from evalkit.precision import fixed_precision
from evalkit.store.cache import Cache
from evalkit.weights import fill, load_tensors, randomize, read_json, seeded, weights_file

RATE = 24000  # Hz
SHORTEST = 400  # samples that one frame sees
TOGETHER = 80 * RATE  # samples in one forward

Model = Literal["MERT-v1-95M", "MERT-v1-330M"]

# what a checkpoint's config.json must say beside the defaults of HuBERT, by the published ones
SIZES: dict[str, dict[str, Any]] = {
    "MERT-v1-95M": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "do_stable_layer_norm": False,
    },
    "MERT-v1-330M": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "do_stable_layer_norm": True,
    },
}
DEFAULTS = (
    *("conv_dim", "conv_kernel", "conv_stride", "conv_bias", "feat_extract_norm", "feat_extract_activation"),
    *("feat_proj_layer_norm", "num_conv_pos_embeddings", "num_conv_pos_embedding_groups", "conv_pos_batch_norm"),
    *("hidden_act", "layer_norm_eps"),
)
# What MERT's own code adds to HuBERT. Its attention_relax changes nothing: only networks with deepnorm read it, and
# there it moves the maximum out of a softmax, which is the same softmax.
ADDITIONS = {"feature_extractor_cqt": False, "deepnorm": False, "sample_rate": RATE}


@dataclass(frozen=True)
class MERT:
    """Li et al. 2023, "MERT: Acoustic Music Understanding Model with Large-Scale Self-supervised Training".

    Each clip is brought to zero mean and unit variance and goes through the network whole and by itself, so its
    features depend on no other clip, and not on its level.

    Attributes:
        model: the published network that the weights are of.
        layer: which of the hidden states: 0 for what enters the first layer of the transformer, k for what
            layer k gives; that of the last one of MERT-v1-330M is normalised, as its output is.
        pool: "frames" for the states themselves, 75 a second, (frames, dimensions), as fadtk takes them;
            "seconds" for their means over one second after the other, as kadtk takes them, without the rest at the
            end; "max" for their maximum over the whole clip, (1, dimensions), as MAD takes it.
    """

    weights: Asset
    model: Model = "MERT-v1-95M"
    layer: int = 12
    pool: Pool = "seconds"
    channels: Literal["mean", "first", "side"] = "mean"
    resampler: str = "julius"
    remove_dc: bool = False
    kind: ClassVar[str] = "mert"
    reads: ClassVar[Reads] = "audio"
    version: ClassVar[int] = 1

    @property
    def random(self) -> bool:
        return self.weights.random

    @property
    def hears(self) -> Input:
        return mono_input(RATE, self.channels, self.resampler, self.remove_dc)

    def __post_init__(self) -> None:
        if self.model not in SIZES:
            raise unknown("MERT model", self.model, SIZES)
        layers = SIZES[self.model]["num_hidden_layers"]
        if not 0 <= self.layer <= layers:
            raise EvalkitError(f"MERT: layer={self.layer}: {self.model} has the hidden states 0 to {layers}")
        if self.pool not in get_args(Pool):
            raise unknown("MERT pool", self.pool, get_args(Pool))
        _ = self.hears  # refuses what cannot be heard

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network up to the layer; its function gives (frames, 768), or (frames, 1024) of MERT-v1-330M.

        Clips of less than 400 samples have no frame, and those of less than 23,676 (0.9865 s) no second.
        """
        network, levelled = network_of(self.weights, cache, self.model, self.layer)
        network = network.to(device).eval()
        dimensions = SIZES[self.model]["hidden_size"]
        together = Room(TOGETHER)

        def forward(batch: Any) -> Any:
            states = network(batch).last_hidden_state
            return pooled(states, self.pool, states.shape[1] / (batch.shape[1] / RATE))

        @fixed_precision()
        def encode(clips: list[np.ndarray]) -> list[np.ndarray]:
            inputs = [standardized(clip) if levelled and len(clip) else clip for clip in clips]
            return of_long_enough(forward, inputs, SHORTEST, device, together, dimensions)

        return encode


def standardized(samples: np.ndarray) -> np.ndarray:
    """Bring samples to zero mean and unit variance, in float32 as transformers' Wav2Vec2FeatureExtractor does."""
    samples = np.asarray(samples, np.float32)
    result: np.ndarray = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    return result


def network_of(weights: Asset, cache: Cache, model: Model, layer: int) -> tuple[Any, bool]:
    """The network on the CPU up to a layer, with published or seeded random weights, and whether it wants its input
    standardized.

    MERT's own code is HuBERT's in transformers, but for what no published checkpoint has, so that none of it is run.
    Raises EvalkitError for a checkpoint that is missing, damaged, incomplete or of another network.
    """
    compat.prepare()
    import torch
    import transformers

    config = transformers.HubertConfig(**SIZES[model])
    folder = None if weights.random else weights.locate(cache)
    levelled = folder is None or _check(folder, weights.name, model, config.to_dict())
    with seeded(None), torch.device("meta"):  # initial weights would take longer than everything else here
        network = transformers.HubertModel(config)
    network.to_empty(device="cpu")
    if folder is None:
        with seeded(weights.random_seed):
            _randomize(network)
    else:
        path = weights_file(folder)
        fill(network, _state(path, weights.name), weights.name, path)
    encoder = network.encoder
    if config.do_stable_layer_norm and layer < config.num_hidden_layers:
        encoder.layer_norm = torch.nn.Identity()  # it comes after the last layer
    encoder.layers = encoder.layers[:layer]
    return network, levelled


def _check(folder: Path, name: str, model: str, expected: dict[str, Any]) -> bool:
    """Refuse a folder whose config.json is of another network; whether its input is to be standardized."""
    config = read_json(folder / "config.json", name)
    wanted = {**{key: expected[key] for key in DEFAULTS}, **SIZES[model], **ADDITIONS}
    for key, value in wanted.items():
        if (found := config.get(key, value)) != value:
            raise EvalkitError(
                f"{name}: '{folder / 'config.json'}' has {key}={found!r}, {model} {value!r}: it is another network, "
                "and not read as this one"
            )
    processor = read_json(folder / "preprocessor_config.json", name)
    if processor.get("sampling_rate") != RATE:
        raise EvalkitError(f"{name}: '{folder}' is for {processor.get('sampling_rate')} Hz, not {RATE}")
    return bool(processor.get("do_normalize", True))


def _state(path: Path, name: str) -> Any:
    """Read a checkpoint, with the names that torch now has for the parts of weight normalisation."""
    state = load_tensors(path, name)
    if not isinstance(state, dict):
        return state
    conv = "encoder.pos_conv_embed.conv."
    names = {f"{conv}weight_{part}": f"{conv}parametrizations.weight.original{i}" for i, part in enumerate("gv")}
    return {names.get(key, key): value for key, value in state.items()}


def _randomize(network: Any) -> None:
    """Draw weights whose output depends on the input."""
    import torch

    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for module in network.modules():
            if isinstance(module, torch.nn.Conv1d):
                weight = torch.randn(module.weight.shape) * (2 / module.weight[0].numel()) ** 0.5
                if torch.nn.utils.parametrize.is_parametrized(module):
                    module.weight = weight  # which normalisation takes apart
                else:
                    module.weight.copy_(weight)
            elif isinstance(module, (torch.nn.LayerNorm, torch.nn.GroupNorm)):
                module.weight.fill_(1)
    randomize(network, gain=2**0.5)
    for layer in network.encoder.layers:  # with as much of attention's sums as of its input, all frames become alike
        randomize(layer.attention.out_proj, gain=0.25)
