"""Checkpoints in the layout of the hub's facebook/musicgen-*, read and checked."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from evalkit.errors import EvalkitError, loading

# the key in config.json, and its value, of a checkpoint whose weights mean nothing
MADE_UP = ("evalkit", "seeded random weights")


def read_config(name: str, folder: Path) -> dict[str, Any]:
    """Read config.json. Raises EvalkitError where there is none, or a damaged one."""
    path = folder / "config.json"
    if not path.is_file():
        raise EvalkitError(
            f"{name}: '{folder}' is not a checkpoint: it needs config.json, model.safetensors and a tokenizer, "
            "as the folder of facebook/musicgen-small has them"
        )
    return read_json(name, path)


def read_json(name: str, path: Path) -> dict[str, Any]:
    """Read a JSON file of a checkpoint. Raises EvalkitError for one that is missing or damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EvalkitError(f"{name}: '{path.parent}' has no {path.name}: it is not such a checkpoint") from error
    except ValueError as error:
        raise EvalkitError(f"{name}: '{path}' is damaged ({error}): delete its folder and get it again") from error
    return values if isinstance(values, dict) else {}


def load_pretrained(
    what: str, kind: Any, folder: Path, dtype: str = "float32", **options: Any
) -> tuple[Any, dict[str, Any]]:
    """Load a network of one of transformers' classes, tensors only, and what transformers says about it.

    `what` names it in messages, such as "musicgen: 'FOLDER'". Raises EvalkitError for one that is
    damaged or incomplete.
    """
    import torch

    with loading(what), quiet_transformers():
        network, info = kind.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=any(folder.glob("*.safetensors")),
            weights_only=True,  # musicgen-medium and -large are published as pickles
            ignore_mismatched_sizes=True,  # transformers logs which they are: here they become an error
            output_loading_info=True,
            dtype=getattr(torch, dtype),
            **options,
        )
    require_complete(what, network, info)
    return network, info


def require_complete(what: str, network: Any, info: Mapping[str, Any]) -> None:
    """Raise EvalkitError for weights that are absent or do not fit: the libraries fill them with random numbers."""
    if misfits := sorted(str(key if isinstance(key, str) else key[0]) for key in info["mismatched_keys"]):
        raise EvalkitError(f"{what} holds weights that do not fit its config.json, such as '{misfits[0]}'")
    if missing := missing_weights(network, set(info["missing_keys"])):
        raise EvalkitError(
            f"{what} lacks {len(missing)} of the model's weights, such as '{missing[0]}': delete it and get it again"
        )


def load_network(name: str, folder: Path) -> Any:
    """Load a checkpoint with transformers, in float32 on the CPU; `name` is for messages.

    Raises EvalkitError for one that is damaged, incomplete or of another architecture.
    """
    from evalkit import compat

    compat.prepare()
    import transformers

    kinds = {
        "musicgen": transformers.MusicgenForConditionalGeneration,
        "musicgen_melody": transformers.MusicgenMelodyForConditionalGeneration,
    }
    kind = read_config(name, folder).get("model_type")
    if kind not in kinds:
        raise EvalkitError(f"{name}: '{folder}' holds a model of type '{kind}', not one of {', '.join(kinds)}")
    require_weights(name, folder)
    # the text encoder has transformers overlook every surplus weight with "decoder" in its name
    everything = patch.object(transformers.T5EncoderModel, "_keys_to_ignore_on_load_unexpected", None)
    with everything:
        network, info = load_pretrained(f"{name}: '{folder}'", kinds[kind], folder)
    if surplus := surplus_weights(info["unexpected_keys"]):
        raise EvalkitError(
            f"{name}: '{folder}' has {len(surplus)} weights that its config.json has no place for, such as "
            f"'{surplus[0]}': one of the two is of another model"
        )
    return network


def require_weights(name: str, folder: Path) -> None:
    """Raise EvalkitError for a folder without files of weights."""
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
        raise EvalkitError(f"{name}: '{folder}' has no weights: model.safetensors is missing")


def prepare(name: str, network: Any, device: str, dtype: str) -> None:
    """Put a loaded network on the device, its language model in `dtype`, the text encoder and the codec in float32.

    Raises EvalkitError for weights that are not finite there, as where float16 overflows.
    """
    import torch
    import transformers

    network.decoder.to(getattr(torch, dtype))
    network.to(device).eval()
    # the checkpoint's defaults (30 s, no top-k) must not fill what is not set here
    special = network.config.decoder.vocab_size  # the one token above the codebook's: start and padding
    network.generation_config = transformers.GenerationConfig(
        bos_token_id=special, pad_token_id=special, decoder_start_token_id=special
    )
    for key, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise EvalkitError(f"{name}: the checkpoint holds NaN or infinite weights in {dtype}, such as '{key}'")


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from progress bars, and from warnings that every MusicGen raises."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def surplus_weights(keys: set[str]) -> list[str]:
    """Of the weights that found no place, those of layers, codebooks and heads: without them it is another model.

    Others are harmless, such as tables that older versions of transformers stored.
    """
    return sorted(key for key in keys if re.search(r"\.(layers|block|embed_tokens|lm_heads)\.\d+\.", key))


def missing_weights(network: Any, keys: set[str]) -> list[str]:
    """Of the absent weights, those that are needed: all parameters, and the codebooks."""
    needed = {key for key, _ in network.named_parameters()}
    return sorted(key for key in keys if key in needed or key.endswith("codebook.embed"))


def load_tokenizer(name: str, folder: Path, vocabulary: int) -> Any:
    """Load a T5 tokenizer. Raises EvalkitError for one that is missing, damaged or of another vocabulary."""
    import transformers

    try:
        with quiet_transformers():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers raises bare Exception
        raise EvalkitError(f"{name}: '{folder}' has no usable tokenizer: get its tokenizer files again") from error
    # without its files, transformers makes a tokenizer of a few special tokens and says nothing;
    # T5's embedding has a few entries more than its tokenizer
    if not 0.9 * vocabulary <= len(tokenizer) <= vocabulary:
        raise EvalkitError(
            f"{name}: the tokenizer in '{folder}' has {len(tokenizer)} entries and the text encoder {vocabulary}: "
            "get its tokenizer files again"
        )
    return tokenizer
