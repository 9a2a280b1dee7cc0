"""A checkpoint of audiocraft, saved in the layout of the hub's facebook/musicgen-*."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from evalkit.checkpoints.transformers import quiet_transformers
from evalkit.errors import EvalkitError
from evalkit.models.audiocraft import Audiocraft
from evalkit.store.cache import Cache
from evalkit.store.files import cannot_write


def convert(model: Audiocraft, folder: Path, cache: Cache) -> None:
    """Write a checkpoint as a folder for transformers, and for every model of evalkit with a `checkpoint.path`.

    The folder is absent until it is complete. Raises EvalkitError for a folder that holds something,
    and where `Audiocraft.load` would.
    """
    folder = folder.expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise EvalkitError(f"'{folder}' exists and is not an empty folder: choose another one")
    parts = model.parts(cache)
    import transformers

    network = parts.network
    special = network.config.decoder.vocab_size
    # what the published checkpoints say; evalkit sets all of it itself
    network.generation_config = transformers.GenerationConfig(
        bos_token_id=special,
        decoder_start_token_id=special,
        pad_token_id=special,
        do_sample=True,
        guidance_scale=3.0,
        max_length=1500,
    )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".partial-"))
        try:
            with quiet_transformers():
                network.save_pretrained(partial)
                parts.tokenizer.save_pretrained(partial)
                parts.features.save_pretrained(partial)
            partial.chmod(0o755)  # mkdtemp makes it private
            os.replace(partial, folder)  # also in place of an empty one
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
