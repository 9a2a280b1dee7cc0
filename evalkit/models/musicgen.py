"""MusicGen checkpoints in the layout of the hub's facebook/musicgen-*, run by transformers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evalkit import store
from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.config import MAX_SECONDS, Sampling
from evalkit.errors import EvalkitError
from evalkit.store import Cache
from evalkit.types import Prompt

if TYPE_CHECKING:
    import torch

# the key in config.json, and its value, of a checkpoint whose weights mean nothing
MADE_UP = ("evalkit", "seeded random weights")

Generate = Callable[[Sequence[Prompt], Sampling], list[Audio]]


@dataclass(frozen=True)
class MusicGen:
    """A MusicGen, mono or stereo, that makes music from captions.

    A melody checkpoint gets captions only: its melody input is the null one, which the model was
    trained with too.

    Attributes:
        checkpoint: a folder or hub repository in the layout of facebook/musicgen-small.
        published: the hub id that published numbers are joined on.
    """

    checkpoint: Asset
    published: str | None = field(default=None, metadata={"identity": False})

    version: ClassVar[int] = 1

    @property
    def random(self) -> bool:
        """Whether the checkpoint is one of evalkit's made-up ones, so that its numbers mean nothing."""
        if not self.checkpoint.path:
            return False
        config = Path(self.checkpoint.path).expanduser() / "config.json"
        key, value = MADE_UP
        return config.is_file() and _read_config(self.checkpoint.name, config.parent).get(key) == value

    def check(self, sampling: Sampling) -> None:
        """Raise EvalkitError for clips longer than MusicGen was trained on."""
        if sampling.duration > MAX_SECONDS:
            raise EvalkitError(f"sampling.duration={sampling.duration:g}: MusicGen makes at most {MAX_SECONDS:g} s")

    def load(self, cache: Cache, device: str, dtype: str) -> Generate:
        """Load the checkpoint, and return what turns prompts into Audio (channels, samples) at 32 kHz.

        A clip whose logits are NaN or infinite, as where float16 overflows, comes back as NaN.
        `dtype` is that of the language model; the text encoder and the codec stay in float32, as in
        audiocraft. Raises EvalkitError for a checkpoint that is missing, damaged or of another kind.
        """
        folder = self.checkpoint.locate(cache)
        network = _load_network(self.checkpoint.name, folder, device, dtype)
        tokenizer = _load_tokenizer(self.checkpoint.name, folder, network.config.text_encoder.vocab_size)
        return _Generator(network, tokenizer)

    def codec(self, cache: Cache, device: str) -> Callable[[Audio], Audio]:
        """Load the codec alone, and return what encodes and decodes a clip; see `evalkit.models.codec`."""
        from evalkit.models.codec import load_codec

        return load_codec(self.checkpoint.name, self.checkpoint.locate(cache), device)


def _read_config(name: str, folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EvalkitError(
            f"{name}: '{folder}' is not a checkpoint: it needs config.json, model.safetensors and a tokenizer, "
            "as the folder of facebook/musicgen-small has them"
        ) from error
    except ValueError as error:
        raise EvalkitError(f"{name}: '{path}' is damaged ({error}): get it again") from error
    return config if isinstance(config, dict) else {}


def _load_network(name: str, folder: Path, device: str, dtype: str) -> Any:
    from evalkit import compat

    compat.prepare()
    import torch
    import transformers

    kinds = {
        "musicgen": transformers.MusicgenForConditionalGeneration,
        "musicgen_melody": transformers.MusicgenMelodyForConditionalGeneration,
    }
    kind = _read_config(name, folder).get("model_type")
    if kind not in kinds:
        raise EvalkitError(f"{name}: '{folder}' holds a model of type '{kind}', not one of {', '.join(kinds)}")
    safe = any(folder.glob("*.safetensors"))
    if not safe and not any(folder.glob("pytorch_model*.bin")):
        raise EvalkitError(f"{name}: '{folder}' has no weights: model.safetensors is missing")
    try:
        with quiet_transformers():
            network, info = kinds[kind].from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=safe,
                weights_only=True,  # musicgen-medium and -large are published as pickles: tensors only
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # transformers logs which they are: here they become an error
                output_loading_info=True,
            )
    except Exception as error:  # safetensors, torch.load, transformers and its configurations raise their own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EvalkitError(f"{name}: '{folder}' cannot be loaded, get it again ({reason})") from error
    # transformers fills with random numbers what is missing or does not fit
    if misfits := sorted(key for key, *_ in info["mismatched_keys"]):
        raise EvalkitError(f"{name}: the weights in '{folder}' do not fit its config.json, such as '{misfits[0]}'")
    if missing := missing_weights(network, info["missing_keys"]):
        raise EvalkitError(
            f"{name}: '{folder}' lacks {len(missing)} of the model's weights, such as '{missing[0]}': get it again"
        )

    network.decoder.to(getattr(torch, dtype))
    network.to(device).eval()
    # the checkpoint's defaults (30 s, no top-k) must not fill what is not set here
    special = network.config.decoder.vocab_size  # the one token above the codebook's: start and padding
    network.generation_config = transformers.GenerationConfig(
        bos_token_id=special, pad_token_id=special, decoder_start_token_id=special
    )
    network.decoder.register_forward_pre_hook(_cast_text, with_kwargs=True)
    for key, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise EvalkitError(f"{name}: '{folder}' holds NaN or infinite weights in {dtype}, such as '{key}'")
    return network


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


def missing_weights(network: Any, keys: set[str]) -> list[str]:
    """Of the absent weights, those that are needed: all parameters, and the codebooks."""
    needed = {key for key, _ in network.named_parameters()}
    return sorted(key for key in keys if key in needed or key.endswith("codebook.embed"))


def _cast_text(decoder: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Give the decoder the text states in its own precision: they come in the text encoder's."""
    states = kwargs.get("encoder_hidden_states")
    if states is not None:
        kwargs["encoder_hidden_states"] = states.to(decoder.lm_heads[0].weight.dtype)
    return args, kwargs


def _load_tokenizer(name: str, folder: Path, vocabulary: int) -> Any:
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


class _Generator:
    """Turns prompts into clips, each a function of its own prompt and of the sampling parameters."""

    def __init__(self, network: Any, tokenizer: Any):
        self.network = network
        self.tokenizer = tokenizer

    def __call__(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Audio]:
        clips: dict[int, Audio] = {}
        for batch in self._batches(prompts):
            made = self._batch([prompts[i] for i in batch], sampling)
            clips.update(zip(batch, made, strict=True))
        return [clips[i] for i in range(len(prompts))]

    def _batches(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Indices of the prompts that may be generated together.

        A melody model puts the text before the music without masking its padding, so there a clip
        would depend on the longest caption beside it: only captions of equal length go together.
        """
        if self.network.config.model_type != "musicgen_melody":
            return [list(range(len(prompts)))]
        lengths: dict[int, list[int]] = {}
        for i, prompt in enumerate(prompts):
            lengths.setdefault(len(self.tokenizer(prompt.text).input_ids), []).append(i)
        return list(lengths.values())

    def _batch(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Audio]:
        import torch
        import transformers

        codec, decoder = self.network.config.audio_encoder, self.network.config.decoder
        per_channel = decoder.num_codebooks // decoder.audio_channels
        samples = round(sampling.duration * codec.sampling_rate)
        # transformers drops the delay pattern from very short sequences
        frames = max(math.ceil(samples / codec.hop_length), per_channel)
        device = self.network.device
        text = self.tokenizer([p.text for p in prompts], padding=True, return_tensors="pt").to(device)
        sampler = KeyedSampler([p.id for p in prompts], decoder.num_codebooks, sampling, device)
        with torch.inference_mode():
            output = self.network.generate(
                input_ids=text.input_ids,
                attention_mask=text.attention_mask,
                generation_config=transformers.GenerationConfig(
                    max_new_tokens=frames + per_channel - 1,  # the last codebook starts that much later
                    do_sample=False,  # the sampler chooses
                    guidance_scale=sampling.guidance_scale,
                ),
                logits_processor=transformers.LogitsProcessorList([sampler]),
            )
        waves = output.float().cpu().numpy()[..., :samples]
        # noise chosen from NaN is finite audio: a clip that failed must not pass for music
        waves[~sampler.finite.cpu().numpy()] = math.nan
        return [Audio(wave, codec.sampling_rate) for wave in waves]


class KeyedSampler:
    """Chooses tokens with noise that depends on a clip's own key and step alone.

    transformers draws from one global generator, so that a clip would depend on its batch. This
    logits processor guides, filters and samples by itself (Gumbel-max: the largest of log p + G has
    the distribution p), and returns scores that leave a greedy search one choice.

    Guidance is (Ho & Salimans 2022) as in audiocraft: uncond + scale (cond - uncond); top_p, where it
    is set, replaces top_k.
    """

    def __init__(self, ids: Sequence[str], codebooks: int, sampling: Sampling, device: Any):
        import torch

        self.codebooks = codebooks
        self.sampling = sampling
        self.generators = [torch.Generator(device).manual_seed(_noise_seed(sampling.seed, i)) for i in ids]
        # whether a clip's logits were finite at every step
        self.finite = torch.ones(len(self.generators), dtype=torch.bool, device=device)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Map logits (halves * clips * codebooks, tokens) to scores of the same shape.

        There are two halves where there is guidance, the conditional one first. Both are returned
        equal, so that the guidance that transformers applies after this leaves them as they are.
        """
        import torch

        rows = len(self.generators) * self.codebooks
        logits = guide(scores.float(), rows, self.sampling.guidance_scale)
        self.finite &= torch.isfinite(logits).view(len(self.generators), -1).all(dim=1)
        kept = keep(logits / self.sampling.temperature, self.sampling.top_k, self.sampling.top_p)
        uniform = [
            torch.rand(self.codebooks, scores.shape[1], generator=g, device=scores.device) for g in self.generators
        ]
        gumbel = -torch.log(-torch.log(torch.cat(uniform)))
        chosen = (kept + gumbel).argmax(dim=1, keepdim=True)
        # moderate numbers: their guided difference must stay finite
        choice = torch.full_like(logits, -1e4).scatter_(1, chosen, 0.0)
        return choice.repeat(scores.shape[0] // rows, 1)


def _noise_seed(seed: int, prompt_id: str) -> int:
    digest = hashlib.sha256(store.canonical([seed, prompt_id]).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def guide(logits: torch.Tensor, rows: int, scale: float) -> torch.Tensor:
    """Apply classifier-free guidance to (2 * rows, tokens); logits of one half are returned as they are."""
    if logits.shape[0] == rows:
        return logits
    conditional, unconditional = logits.split(rows)
    return unconditional + (conditional - unconditional) * scale


def keep(logits: torch.Tensor, top_k: int, top_p: float) -> torch.Tensor:
    """Set to -inf what top-p (where top_p > 0) or else top-k (where top_k > 0) leaves out, per row.

    The rule of audiocraft's `sample_top_p` and `sample_top_k`, ties included.
    """
    if top_p > 0:
        ordered, order = logits.sort(dim=1, descending=True)
        probabilities = ordered.softmax(dim=1)
        before = probabilities.cumsum(dim=1) - probabilities
        return logits.scatter(1, order, ordered.masked_fill(before > top_p, -math.inf))
    if top_k > 0:
        smallest = logits.topk(min(top_k, logits.shape[1]), dim=1).values[:, -1:]
        return logits.masked_fill(logits < smallest, -math.inf)
    return logits
