"""EnCodec: a neural codec's latents before quantisation, 128 dimensions per 320 samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from evalkit import compat
from evalkit.assets import Asset
from evalkit.batching import Room, by_length
from evalkit.encoders import Input, Reads, mono_input
from evalkit.errors import EvalkitError, loading
from evalkit.precision import fixed_precision
from evalkit.store.cache import Cache
from evalkit.weights import seeded

DIMENSIONS = 128
ON_CPU, ON_GPU = 60 * 24000, 160 * 24000  # samples in one forward
GAIN = 1.2  # of random weights: latents of about 1


@dataclass(frozen=True)
class EnCodec:
    """Défossez et al. 2022, "High Fidelity Neural Audio Compression".

    The encoder's output, as fadtk and frechet-audio-distance use it: clips enter at the level they
    have, also into the 48 kHz network, whose codec would first set it. A 10-second clip gives 750
    embeddings at 24 kHz, 1500 at 48 kHz.

    Attributes:
        sample_rate: of the network in Hz: 24000 is mono and reads whole clips, 48000 is stereo and
            reads pieces of one second, the last one shorter, as in fadtk.
        channels: what the mono network hears.
    """

    weights: Asset
    sample_rate: int = 24000
    channels: Literal["mean", "first", "side"] = "mean"
    resampler: str = "julius"
    remove_dc: bool = False
    kind: ClassVar[str] = "encodec"
    reads: ClassVar[Reads] = "audio"
    version: ClassVar[int] = 1
    decodable: ClassVar[bool] = True  # the codec's decoder makes sound of its features

    @property
    def random(self) -> bool:
        return self.weights.random

    @property
    def hears(self) -> Input:
        mono = mono_input(self.sample_rate, self.channels, self.resampler, self.remove_dc)
        return dataclasses.replace(mono, channels="stereo") if self.sample_rate == 48000 else mono

    def __post_init__(self) -> None:
        if self.sample_rate not in (24000, 48000):
            raise EvalkitError(f"EnCodec: sample_rate={self.sample_rate}: set 24000 or 48000")
        _ = self.hears  # refuses what cannot be heard

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the network; its function gives latents (frames, 128)."""
        import torch

        network = network_of(self.weights, cache, self.sample_rate)
        compat.whole_paddings(network)
        encoder = network.encoder.to(device).eval()
        together = Room(ON_CPU if torch.device(device).type == "cpu" else ON_GPU)

        def forward(pieces: list[np.ndarray]) -> np.ndarray:
            with torch.inference_mode():
                latents: np.ndarray = (
                    encoder(torch.from_numpy(np.stack(pieces)).to(device)).transpose(1, 2).cpu().numpy()
                )
                return latents

        @fixed_precision()
        def encode(clips: list[np.ndarray]) -> list[np.ndarray]:
            cut = [self.pieces(clip) for clip in clips]
            flat = [piece for pieces in cut for piece in pieces]
            found: dict[int, np.ndarray] = {}
            for length, group in by_length([piece[0] for piece in flat]).items():
                found |= zip(group, together.run(forward, [flat[i] for i in group], length), strict=True)
            parts = iter(found[i] for i in range(len(flat)))
            return [np.concatenate([next(parts) for _ in pieces]) for pieces in cut]

        return encode

    def pieces(self, clip: np.ndarray) -> list[np.ndarray]:
        """Cut a clip (samples,) or (2, samples) into what the network reads at once, (channels, samples)."""
        samples = np.atleast_2d(np.asarray(clip, np.float32))
        length = samples.shape[1]
        if not length:
            raise EvalkitError("EnCodec: a clip without samples has no latents")
        step = self.sample_rate if self.sample_rate == 48000 else length
        return [samples[:, start : start + step] for start in range(0, length, step)]


def network_of(weights: Asset, cache: Cache, sample_rate: int) -> Any:
    """transformers' EncodecModel on the CPU, with published or seeded random weights.

    Raises EvalkitError for a checkpoint that is missing, damaged, incomplete or of another rate.
    """
    compat.prepare()
    import torch
    import transformers

    if weights.random:
        stereo: dict[str, Any] = {"audio_channels": 2, "norm_type": "time_group_norm", "use_causal_conv": False}
        # transformers' defaults are the 24 kHz network
        shape = {"sampling_rate": sample_rate, **(stereo if sample_rate == 48000 else {})}
        with seeded(weights.random_seed):
            network = transformers.EncodecModel(transformers.EncodecConfig(**shape))
            _randomize(network.encoder)
        return network
    folder = weights.locate(cache)
    with loading(f"{weights.name}: '{folder}'"), compat.quiet():
        network, info = transformers.EncodecModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    # transformers fills with random numbers what is missing
    if missing := sorted(key for key in info["missing_keys"] if key.startswith("encoder.")):
        raise EvalkitError(
            f"{weights.name}: '{folder}' lacks {len(missing)} of the encoder's weights ({missing[0]}, …)"
        )
    if network.config.sampling_rate != sample_rate:
        raise EvalkitError(
            f"{weights.name}: '{folder}' is EnCodec for {network.config.sampling_rate} Hz: set sample_rate to that"
        )
    return network


def _randomize(encoder: Any) -> None:
    """Draw weights whose output depends on the input; the initial ones give nearly a constant."""
    import torch

    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if name.endswith("conv.bias"):
                parameter.zero_()
            elif name.endswith("weight.original0"):
                parameter.fill_(GAIN)  # weight normalisation: the norm of each output channel's weights
            elif name.endswith("conv.weight"):
                parameter.normal_(0, GAIN / parameter[0].numel() ** 0.5)
