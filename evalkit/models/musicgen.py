"""MusicGen checkpoints in the layout of the hub's facebook/musicgen-*."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evalkit.assets import Asset
from evalkit.checkpoints.transformers import load_network, load_tokenizer, prepare, read_config
from evalkit.decoding.melody import melody_features
from evalkit.models import Code
from evalkit.models.hub import made_up
from evalkit.precision import fixed_precision
from evalkit.separation import Demucs
from evalkit.settings import Engine, Sampling
from evalkit.store.cache import Cache

if TYPE_CHECKING:
    from evalkit.decoding.model import Model


@dataclass(frozen=True)
class MusicGen:
    """A MusicGen, mono or stereo, that makes music from captions, and from melodies if it is a melody checkpoint.

    Where a prompt has no melody, a melody checkpoint gets the null one, which it was trained with too.

    Attributes:
        checkpoint: a folder or hub repository in the layout of facebook/musicgen-small.
        published: the hub id that published numbers are joined on.
        stems: separates a melody's recording first, as audiocraft does; an `evalkit.separation.Demucs`,
            or None to read the whole recording.
    """

    checkpoint: Asset
    published: str | None = field(default=None, metadata={"identity": False})
    stems: Demucs | None = None

    kind: ClassVar[str] = "musicgen"
    version: ClassVar[int] = 2

    @property
    def random(self) -> bool:
        """Whether weights are made up, the checkpoint's or those that separate stems, so that numbers mean nothing."""
        return bool(self.stems and self.stems.weights.random) or made_up(self.checkpoint, "config.json")

    def check(self, sampling: Sampling) -> None:
        """Any sampling will do; what one checkpoint cannot do shows when it is loaded, before it generates."""

    def load(self, cache: Cache, engine: Engine) -> Model:
        """Load the checkpoint: what turns prompts into codes, and codes into Audio (channels, samples) at 32 kHz.

        The engine's dtype is that of the language model; the text encoder and the codec stay in
        float32, as in audiocraft. Raises EvalkitError for a checkpoint that is missing, damaged or of
        another kind.
        """
        folder = self.checkpoint.locate(cache)
        network = load_network(self.checkpoint.name, folder)
        tokenizer = load_tokenizer(self.checkpoint.name, folder, network.config.text_encoder.vocab_size)
        separate = self.stems.load(cache, engine.device) if self.stems else None
        return runner(self.checkpoint.name, network, tokenizer, engine, folder, separate)

    def conditions(self, cache: Cache) -> tuple[str, ...]:
        """What a clip is made from besides the caption, where a prompt has it. The checkpoint must be there."""
        folder = self.checkpoint.locate(cache)
        melody = read_config(self.checkpoint.name, folder).get("model_type") == "musicgen_melody"
        return ("continuation", "melody") if melody else ("continuation",)

    def codec(self, cache: Cache, device: str) -> Code:
        """Load the codec alone, and return what encodes and decodes a clip; see `evalkit.models.codec`."""
        from evalkit.models.codec import load_codec

        return load_codec(self.checkpoint.name, self.checkpoint.locate(cache), device)


@fixed_precision()  # the choice of how to attend computes on the device
def runner(
    name: str, network: Any, tokenizer: Any, engine: Engine, folder: Path | None = None, separate: Any = None
) -> Model:
    """Make a network of transformers ready to generate; `name` is for messages.

    Args:
        folder: where a melody checkpoint says how it reads melodies; without it, as the published ones do.
        separate: what separates melodies, see `evalkit.decoding.melody`.
        network: MusicgenForConditionalGeneration or MusicgenMelodyForConditionalGeneration; its
            `config.decoder.codebook_delays`, where set, replaces the usual delays.
    """
    from evalkit.decoding.model import Model

    prepare(name, network, engine.device, engine.dtype.value)
    melody = network.config.model_type == "musicgen_melody"
    return Model(name, network, tokenizer, engine, melody_features(name, folder, separate) if melody else None)
