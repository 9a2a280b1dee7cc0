"""Folders of files that are made here once, such as checkpoints and tokenizers of random weights."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evalkit.store.collection import Collection
from evalkit.store.digests import digest, sha256_tree
from evalkit.store.entry import Item
from evalkit.store.files import PARTIAL, cannot_write, write_folder

log = logging.getLogger(__name__)

ONLY = digest("the folder")  # what the one item of such a collection is kept under


def made_folder(collection: Collection, write: Callable[[Path], Any]) -> Path:
    """Give the folder of a collection, intact: it is made where there is none, and again where it was changed.

    The folder's name is the digest of its files, so that processes which make it at the same time do not disturb each
    other. Raises EvalkitError where it cannot be written.
    """
    found = collection.read([ONLY]).get(ONLY)
    if found is not None:
        folder = collection.folder / found.facts["folder"]
        if folder.is_dir() and sha256_tree(folder) == found.facts["sha256"]:
            return folder
        log.warning("damaged or incomplete folder %s: is made again", folder)
        shutil.rmtree(folder, ignore_errors=True)
        collection.discard({ONLY: found})  # what is made now may be of other bytes
    partial = collection.folder / f"{PARTIAL}{secrets.token_hex(8)}"
    try:
        write_folder(partial, write)
        sha256 = sha256_tree(partial)
        folder = collection.folder / sha256[:32]
        if folder.is_dir() and sha256_tree(folder) != sha256:
            shutil.rmtree(folder, ignore_errors=True)
        try:
            os.rename(partial, folder)
        except OSError as error:
            if not folder.is_dir():  # else another process was faster, with the same content
                raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    collection.write({ONLY: Item(facts={"folder": folder.name, "sha256": sha256})})
    return folder
