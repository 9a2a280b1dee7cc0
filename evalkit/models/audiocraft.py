"""MusicGen checkpoints as audiocraft trains and exports them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evalkit.assets import Asset
from evalkit.checkpoints.audiocraft import network, reading
from evalkit.errors import EvalkitError
from evalkit.models import Code
from evalkit.models.codec import coder
from evalkit.models.musicgen import MusicGen, runner
from evalkit.separation import Demucs
from evalkit.settings import Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.store.digests import sha256_file
from evalkit.store.identity import identity

if TYPE_CHECKING:
    from evalkit.decoding.model import Model

NAME = "audiocraft"


@dataclass(frozen=True)
class Audiocraft:
    """A MusicGen that audiocraft trained: mono, stereo or melody, of any size, with any delays of its codebooks.

    audiocraft is not needed for it, and nothing that the files hold is run.

    Attributes:
        path: a folder with state_dict.bin and, usually, compression_state_dict.bin, as audiocraft
            exports them; a Dora experiment, which is a folder with checkpoint.th; or the file itself.
        text_encoder: the T5 that the checkpoint was trained with, which it does not hold.
        encodec: the EnCodec of a checkpoint that does not hold its own: a hub repository or folder in
            transformers' layout, or a file that audiocraft wrote. None where it is not needed.
        stems: separates a melody's recording first, as audiocraft does; None to read the whole recording.
    """

    path: str | None
    text_encoder: Asset
    encodec: Asset | None = None
    stems: Demucs | None = None

    kind: ClassVar[str] = "audiocraft"
    version: ClassVar[int] = 1 + MusicGen.version
    published: ClassVar[str | None] = None
    checkpoint: ClassVar[None] = None  # which is a path, of several layouts

    @property
    def random(self) -> bool:
        """Whether weights are made up, the checkpoint's or those that separate stems, so that numbers mean nothing."""
        return bool(self.stems and self.stems.weights.random) or network.made_up(NAME, self._path)

    @property
    def _path(self) -> str:
        if not self.path:
            raise EvalkitError("the checkpoint is not set: give its folder, as in model.audiocraft.path=FOLDER")
        return self.path

    def identity(self, cache: Cache) -> Any:
        """What a clip depends on: the content of the files that are read, and only of those."""
        files = reading.find(NAME, self._path)
        codec = network.own_codec(NAME, files)
        config = None if "xp.cfg" in reading.load(NAME, files.lm) else files.config
        return {
            "type": f"{type(self).__module__}.{type(self).__qualname__}",
            "version": self.version,
            "lm": sha256_file(files.lm),
            "config": sha256_file(config) if config else None,
            "text_encoder": identity(self.text_encoder, cache),
            "codec": sha256_file(codec) if codec else identity(self.encodec, cache),
            "stems": identity(self.stems, cache),
        }

    def check(self, sampling: Sampling) -> None:
        """Raise EvalkitError where there is no checkpoint, or another text encoder; any sampling will do."""
        network.check(NAME, self._path, self.text_encoder)

    def conditions(self, cache: Cache) -> tuple[str, ...]:
        """What a clip is made from besides the caption, where a prompt has it. The checkpoint must be there."""
        files = reading.find(NAME, self._path)
        config = reading.config_of(NAME, reading.load(NAME, files.lm), files.config)
        melody = "self_wav" in (config.get("conditioners") or {})
        return ("continuation", "melody") if melody else ("continuation",)

    def load(self, cache: Cache, engine: Engine) -> Model:
        """Load the checkpoint: what turns prompts into codes, and codes into Audio (channels, samples).

        Precisions are as `MusicGen.load` has them. Raises EvalkitError for a checkpoint that is missing,
        damaged, or of a kind that transformers has no module for.
        """
        parts = self.parts(cache)
        separate = self.stems.load(cache, engine.device) if self.stems else None
        with tempfile.TemporaryDirectory() as folder:  # the one way to say how melodies are read
            parts.features.save_pretrained(folder)
            return runner(NAME, parts.network, parts.tokenizer, engine, Path(folder), separate)

    def codec(self, cache: Cache, device: str) -> Code:
        """Take the codec alone, and return what encodes and decodes a clip; see `evalkit.models.codec`."""
        whole = self.parts(cache).network
        return coder(whole.audio_encoder, whole.config.decoder.audio_channels, device)

    def parts(self, cache: Cache) -> network.Parts:
        """Put the checkpoint into the modules of transformers, in float32 on the CPU."""
        return network.build(NAME, self._path, self.text_encoder, self.encodec, cache)
