"""A MusicGen-stereo of seeded random weights, made here: the whole way from prompt to clip, without a download."""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evalkit.assets import Asset
from evalkit.checkpoints.transformers import MADE_UP, quiet_transformers
from evalkit.errors import EvalkitError
from evalkit.models import Code
from evalkit.models.musicgen import MusicGen
from evalkit.settings import Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.weights import seeded

if TYPE_CHECKING:
    from evalkit.decoding.model import Model

LAYOUT = 2  # of the files written here: raise it when the same seed would give others


@dataclass(frozen=True)
class TinyStereo:
    """A tiny MusicGen-stereo whose sound means nothing; everything but its weights is the real thing.

    It is written once, in the layout of facebook/musicgen-stereo-medium, and then loaded and run by
    the same code as that one.

    Attributes:
        published: a hub id to take it for, to see what is said of random weights beside published numbers.
    """

    seed: int = 0
    published: str | None = field(default=None, metadata={"identity": False})

    kind: ClassVar[str] = "tiny_stereo"
    version: ClassVar[int] = LAYOUT + MusicGen.version
    random: ClassVar[bool] = True
    checkpoint: ClassVar[None] = None

    def check(self, sampling: Sampling) -> None:
        """Raise EvalkitError for a seed that is none, and for what MusicGen cannot do."""
        if type(self.seed) is not int or not 0 <= self.seed < 2**32:
            raise EvalkitError(f"tiny_stereo: seed={self.seed}: must be a whole number from 0 to 2^32 - 1")
        self._model("").check(sampling)

    def load(self, cache: Cache, engine: Engine) -> Model:
        """Make the checkpoint where it does not exist yet, and load it as `MusicGen` does."""
        return self._model(str(self.folder(cache))).load(cache, engine)

    def codec(self, cache: Cache, device: str) -> Code:
        """Load the codec alone, as `MusicGen` does."""
        return self._model(str(self.folder(cache))).codec(cache, device)

    def conditions(self, cache: Cache) -> tuple[str, ...]:
        """What a clip is made from besides the caption, as `MusicGen` says it."""
        return self._model(str(self.folder(cache))).conditions(cache)

    def _model(self, path: str) -> MusicGen:
        return MusicGen(Asset("tiny_stereo (seeded random weights)", licence="none", path=path))

    def folder(self, cache: Cache) -> Path:
        """The folder of the checkpoint, intact, which is made where there is none."""

        def write(folder: Path) -> None:
            from evalkit import compat

            compat.prepare()
            with quiet_transformers():
                write_checkpoint(folder, self.seed)

        return cache.made_folder(f"tiny_stereo {self.seed}", LAYOUT, write)


def write_checkpoint(folder: Path, seed: int) -> None:
    """Write a MusicGen-stereo of seeded random weights, in the files of the published ones."""
    import torch
    import transformers

    tokenizer = _tokenizer()
    config = transformers.MusicgenConfig(
        text_encoder=transformers.T5Config(
            vocab_size=len(tokenizer), d_model=24, d_kv=24, d_ff=48, num_layers=1, num_heads=1
        ),
        audio_encoder=codec_config(),
        decoder=transformers.MusicgenDecoderConfig(
            num_codebooks=8,
            audio_channels=2,
            hidden_size=32,
            ffn_dim=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            # large enough that captions and guidance change the choice of tokens
            initializer_factor=0.3,
        ),
    )
    key, value = MADE_UP
    setattr(config, key, value)
    with seeded(seed), torch.inference_mode():
        network = transformers.MusicgenForConditionalGeneration(config).eval()
        make_audible(network.audio_encoder)
    # what the published files hold, and must not be followed: 30 s, no top-k
    network.generation_config = transformers.GenerationConfig(
        bos_token_id=2048,
        decoder_start_token_id=2048,
        pad_token_id=2048,
        do_sample=True,
        guidance_scale=3.0,
        max_length=1500,
    )
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    features = transformers.EncodecFeatureExtractor(feature_size=2, sampling_rate=32000, padding_side="left")
    features.save_pretrained(folder)


def codec_config() -> Any:
    """As facebook/encodec_32khz, which is mono and codes each channel of a stereo clip by itself, but tiny."""
    import transformers

    return transformers.EncodecConfig(
        sampling_rate=32000,
        audio_channels=1,
        upsampling_ratios=[8, 5, 4, 4],
        target_bandwidths=[2.2],
        codebook_size=2048,
        codebook_dim=16,
        hidden_size=16,
        num_filters=4,
        use_causal_conv=False,
        use_conv_shortcut=False,
    )


def make_audible(codec: Any, rms: float = 0.1) -> None:
    """Fill a random EnCodec's codebooks, which are all zero, and bring its output to a level (RMS).

    Its latents get the spread of the codebooks: else every sound would have the same codes.
    """
    import torch

    for layer in codec.quantizer.layers:
        layer.codebook.embed.normal_()
    for name, parameter in codec.decoder.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()  # they would drown the codes in a constant
    codes = torch.randint(codec.config.codebook_size, (1, 1, len(codec.quantizer.layers), 100))
    level = codec.decode(codes, [None]).audio_values.square().mean().sqrt()
    # the last convolution is linear, and weight normalisation keeps its norm apart
    codec.decoder.layers[-1].conv.parametrizations.weight.original0 *= rms / level
    for name, parameter in codec.encoder.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    spread = codec.encoder(rms * torch.randn(1, 1, codec.config.sampling_rate)).std()
    codec.encoder.layers[-1].conv.parametrizations.weight.original0 /= spread


def _tokenizer() -> Any:
    """A T5 tokenizer of letters and pairs of letters, so that each caption has tokens of its own."""
    import transformers

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    singles = [(piece, -8.0) for piece in ["\u2581", *string.digits, *string.ascii_letters, *string.punctuation]]
    pairs = [(a + b, -9.0) for a in "\u2581" + string.ascii_lowercase for b in string.ascii_lowercase]
    return transformers.T5Tokenizer(vocab=[*special, *singles, *pairs], extra_ids=0)
