"""What a T5 tokenizer, through which MusicGen and others read, does not know of what models are given."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from evalkit import compat
from evalkit.assets import Asset
from evalkit.encoders import Reads
from evalkit.errors import EvalkitError, loading
from evalkit.store.cache import Cache
from evalkit.types import Prompt

FILES = ("tokenizer.json", "spiece.model")  # either will do


@dataclass(frozen=True)
class T5Pieces:
    """How many characters of a prompt, as models are given it, lie in pieces that are unknown to the tokenizer.

    Characters and not pieces are counted: T5 takes a word in letters that it does not know for two pieces, one for
    its start, which is known, and one for all its letters, and a Chinese sentence too.

    Attributes:
        tokenizer: a folder with T5's tokenizer.json or spiece.model, as that of a MusicGen.
    """

    tokenizer: Asset
    kind: ClassVar[str] = "t5_pieces"
    reads: ClassVar[Reads] = "prompt"
    version: ClassVar[int] = 1
    hears: ClassVar[None] = None

    @property
    def random(self) -> bool:
        return self.tokenizer.random

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """Load the tokenizer; the function gives (1, 2): characters in unknown pieces, and all but white space."""
        tokenizer = _made_up() if self.tokenizer.random else _load(self.tokenizer.name, self.tokenizer.locate(cache))

        def count(prompt: Prompt) -> np.ndarray:
            text = prompt.given.text
            read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            pieces = zip(read.input_ids, read.offset_mapping, strict=True)
            unknown = {i for piece, span in pieces if piece == tokenizer.unk_token_id for i in range(*span)}
            characters = [i for i, character in enumerate(text) if not character.isspace()]
            return np.array([[sum(i in unknown for i in characters), len(characters)]], np.float32)

        return lambda prompts: [count(prompt) for prompt in prompts]


def _load(name: str, folder: Path) -> Any:
    compat.prepare()
    import transformers

    if not any((folder / file).is_file() for file in FILES):  # transformers would make an empty one, and say nothing
        raise EvalkitError(f"{name}: '{folder}' is no folder with {' or '.join(FILES)}")
    with loading(f"{name}: '{folder}'"), compat.quiet():
        return transformers.T5Tokenizer.from_pretrained(folder, local_files_only=True)


def _made_up() -> Any:
    """One in the layout of T5's, of single letters: those of English, German, French and Romanian."""
    compat.prepare()
    import transformers

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    letters = string.ascii_letters + string.digits + string.punctuation + "äöüßàâæçèéêëîïôùûœășțÄÖÜÀÂÇÈÉÊÎÔĂȘȚ"
    pieces = [(piece, -8.0) for piece in ("\u2581", *letters)]
    return transformers.T5Tokenizer(vocab=[*special, *pieces], extra_ids=0)
