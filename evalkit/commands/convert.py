"""Save a checkpoint of audiocraft in transformers' layout, which is that of the hub's facebook/musicgen-*.

evalkit convert CHECKPOINT FOLDER [OPTION=VALUE ...] [--config-dir DIR] [--quiet]
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit import commands
from evalkit.commands import parse, parser_for
from evalkit.errors import EvalkitError

if TYPE_CHECKING:
    from evalkit.models.audiocraft import Audiocraft
    from evalkit.store.cache import Cache


def main(arguments: list[str]) -> None:
    """Run `evalkit convert`."""
    parsed = parse(parser(), arguments)
    from evalkit.config import build, compose  # here, because help need not wait for it
    from evalkit.store.cache import Cache

    config = compose(["model=audiocraft", "prompts=demo", *parsed.options], parsed.config_dir)  # which wants prompts
    model = build(config.model.audiocraft, list(config.allow_targets))
    convert(dataclasses.replace(model, path=parsed.checkpoint), Path(parsed.folder), Cache(config.cache_dir))
    print(f"written: evalkit run model=musicgen_small model.musicgen_small.checkpoint.path='{parsed.folder}'")


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    found = parser_for("convert", __doc__)
    found.add_argument("checkpoint", metavar="CHECKPOINT", help="what audiocraft wrote: a folder or a file")
    found.add_argument("folder", metavar="FOLDER", help="a new folder, for transformers and model.NAME.checkpoint.path")
    commands.takes_options(found, "an option of 'evalkit run', such as model.audiocraft.encodec=null")
    commands.shows_progress(found)
    return found


def convert(model: Audiocraft, folder: Path, cache: Cache) -> None:
    """Write a checkpoint as a folder for transformers, and for every model of evalkit with a `checkpoint.path`.

    The folder is absent until it is complete. Raises EvalkitError for a folder that holds something,
    and where `Audiocraft.load` would.
    """
    folder = folder.expanduser().absolute()
    from evalkit.store.files import is_empty_or_new, write_folder

    if not is_empty_or_new(folder):
        raise EvalkitError(f"'{folder}' exists and is not an empty folder: choose another one")
    from evalkit.checkpoints.transformers import quiet_transformers

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

    def write(partial: Path) -> None:
        for part in (network, parts.tokenizer, parts.features):
            part.save_pretrained(partial)

    with quiet_transformers():
        write_folder(folder, write)
