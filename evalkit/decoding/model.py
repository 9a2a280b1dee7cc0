"""A loaded MusicGen: prompts to codes, codes to clips."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evalkit import audio
from evalkit.audio import Audio, AudioError
from evalkit.decoding.backend import CUDA_BUCKET, choose
from evalkit.decoding.codec import BUDGET, Codec
from evalkit.decoding.conditions import SHORTEST_TEXT, Conditioner, Text, padded_length
from evalkit.decoding.loop import Loop
from evalkit.decoding.melody import Features
from evalkit.decoding.pattern import UNKNOWN, codes_of, delays_of, sequence
from evalkit.decoding.sampler import Sampler
from evalkit.errors import EvalkitError
from evalkit.precision import fixed_precision
from evalkit.settings import WINDOW, Engine, Sampling
from evalkit.types import Prompt

log = logging.getLogger(__name__)

CPU_BATCH = 8
SIZES = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128)  # beyond the last a GPU makes hardly more clips a second
LONGEST_TEXT = 4096  # tokens of a caption: the attention of T5 base's 12 heads to as many is an array of 0.8 GB
TEXTS = 16  # captions that are encoded at once where those of all lengths go together


class Model:
    """Turns prompts into clips, each a function of its own prompt and of the sampling parameters.

    Clips of one `group` go together. In a batch of a given size each clip's bits are its own on one
    thread of a CPU, whatever the others are; more threads, and another batch size, may change the last
    bits of the logits, and through them, rarely, a token.
    """

    def __init__(self, name: str, network: Any, tokenizer: Any, engine: Engine, features: Features | None):
        self.name, self.network, self.tokenizer, self.engine = name, network, tokenizer, engine
        decoder = network.config.decoder
        self.delays, self.special = delays_of(decoder), decoder.vocab_size
        channels, known = decoder.audio_channels, network.audio_encoder.quantizer.num_quantizers
        if decoder.num_codebooks % channels or decoder.num_codebooks > channels * known:
            raise EvalkitError(
                f"{name}: config.json has {decoder.num_codebooks} codebooks for {channels} channels, and the codec has "
                f"{known} for each"
            )
        # seconds of the clips that it was trained on
        self.window = getattr(decoder, "segment_duration", WINDOW)
        if type(self.window) not in (int, float) or not 1 <= self.window <= 3600:
            raise EvalkitError(f"{name}: config.json has segment_duration={self.window!r}: must be 1 to 3600 seconds")
        self.codec = Codec(network.audio_encoder, decoder.audio_channels)
        self.features = features
        weight, heads = network.decoder.lm_heads[0].weight, decoder.num_attention_heads
        backend = choose(
            *(engine.attention, engine.cuda_graphs, weight.device, weight.dtype, heads, decoder.hidden_size // heads)
        )
        self.loop = Loop(network.decoder, backend)
        # of a melody model, captions stand before the music, and all must be padded to one length
        self.mixed = backend.kernels and network.config.model_type != "musicgen_melody"
        self.conditioner = Conditioner(network, TEXTS if self.mixed else None)
        self._sampler: tuple[Any, Sampler] | None = None
        self._given_codes: dict[Path, np.ndarray] = {}

    @fixed_precision()
    def __call__(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Audio]:
        """Make one clip per prompt, (channels, samples) float32; one whose logits were not finite is NaN."""
        groups: dict[Hashable, list[int]] = {}
        for i, prompt in enumerate(prompts):
            groups.setdefault(self.group(prompt, sampling), []).append(i)
        size = self.batch_size(sampling, len(prompts))
        clips: dict[int, Audio] = {}
        for group in groups.values():
            for start in range(0, len(group), size):
                batch = group[start : start + size]
                codes = self.codes([prompts[i] for i in batch], sampling, size)
                clips.update(zip(batch, self.audio(codes, sampling), strict=True))
        return [clips[i] for i in range(len(prompts))]

    def facts(self) -> dict[str, Any]:
        """How clips are computed here, as JSON-like values."""
        backend = self.loop.backend
        return {"attention": backend.attention, "graphs": backend.graphs, "dtype": self.engine.dtype.value}

    def batch_size(self, sampling: Sampling, prompts: int) -> int:
        """How many clips to make at once: what the engine says, or as many as the memory that is free holds."""
        if self.engine.batch_size is not None:
            return self.engine.batch_size
        if torch.device(self.engine.device).type == "cpu":
            return CPU_BATCH
        torch.cuda.empty_cache()  # what other models left there counts as free only then
        free, _ = torch.cuda.mem_get_info(self.engine.device)
        fit = fitting(free, self._bytes_per_clip(sampling))
        return next(size for size in SIZES if size >= min(fit, prompts))

    @fixed_precision()
    def group(self, prompt: Prompt, sampling: Sampling) -> Hashable:
        """What prompts that go together have in common: the frames given and, where captions are padded, their length.

        Raises EvalkitError for a prompt that no clip can be made for: its caption is too long, its melody or the
        audio that it continues cannot be used, or the clips are hardly longer than that, or longer than the
        checkpoint's positions last.
        """
        self._check_positions(sampling)
        tokens = len(self._tokens(prompt))
        if tokens > LONGEST_TEXT:  # of a few characters, where each becomes many
            raise EvalkitError(
                f"{self.name}: the caption of prompt '{prompt.id}' has {tokens:,} tokens, {LONGEST_TEXT:,} are the most"
            )
        given = self._given(prompt)
        frames = 0 if given is None else given.shape[1]
        if frames >= self._frames(sampling.duration):
            seconds = frames * self.codec.hop / self.codec.rate
            raise EvalkitError(
                f"{self.name}: prompt '{prompt.id}' continues {seconds:.2f} s of audio, "
                f"and sampling.duration={sampling.duration:g} is no longer: raise it"
            )
        if self.features is not None:
            self.features(prompt, None)  # a melody that cannot be used is found before anything is generated
        return 0 if self.mixed else padded_length(tokens), frames

    @fixed_precision()
    def codes(self, prompts: Sequence[Prompt], sampling: Sampling, rows: int) -> list[np.ndarray | None]:
        """Choose the codes of prompts of one group, in a batch that is filled up to `rows` clips.

        Returns:
            int16 (codebooks, frames) per prompt; None where the logits were not finite, as where
            float16 overflows.
        """
        batch = [*prompts, *[dataclasses.replace(prompts[0], id="")] * (rows - len(prompts))]
        sampler = self._sampler_of(batch, sampling)
        with torch.inference_mode():
            made = self._windows(batch, sampling, sampler).to(torch.int16).cpu().numpy()
        assert made.min() >= 0, "the loop left tokens open"
        finite = sampler.finite.cpu().numpy()
        return [codes if fine else None for codes, fine, _ in zip(made, finite, prompts, strict=False)]

    @fixed_precision()
    def audio(self, codes: Sequence[np.ndarray | None], sampling: Sampling) -> list[Audio]:
        """Decode codes to clips of the sampling's duration; None becomes a clip of NaN."""
        samples = round(sampling.duration * self.codec.rate)
        decoded = iter(self.codec.decode([one for one in codes if one is not None]))
        failed = Audio(np.full((self.codec.channels, samples), math.nan, np.float32), self.codec.rate)
        clips = [failed if one is None else next(decoded) for one in codes]
        return [Audio(clip.samples[:, :samples], clip.rate) for clip in clips]

    def _windows(self, prompts: Sequence[Prompt], sampling: Sampling, sampler: Sampler) -> torch.Tensor:
        """Fill window after window, each starting with the end of the one before, as audiocraft extends clips."""
        total, window = self._frames(sampling.duration), self._frames(min(sampling.duration, self.window))
        stride = int(sampling.extend_stride * self.codec.rate / self.codec.hop)
        device = self.network.device
        codes = torch.full((len(prompts), len(self.delays), total), UNKNOWN, device=device)
        given = [self._given(prompt) for prompt in prompts]
        known = 0
        if given[0] is not None:
            known = given[0].shape[1]
            codes[:, :, :known] = torch.from_numpy(np.stack(given).astype(np.int64)).to(device)  # type: ignore[arg-type]
        captions = [self._tokens(prompt) for prompt in prompts]
        texts = self.conditioner.encode(captions)
        # what is given, of more than a window, is read from its last part on; else there is one window, at 0
        first = next(s for s in range(0, total, max(1, stride)) if s + window > known)
        starts = [s for s in range(first, total, max(1, stride)) if s == first or s + window - stride < total]
        # in a clip of several windows each hears its own part of the melody
        places = [s * self.codec.hop / self.codec.rate if sampling.duration > self.window else None for s in starts]
        heard = [[self.features(p, place) if self.features else None for place in places] for p in prompts]
        for start, *melodies in zip(starts, *heard, strict=True):
            end = min(start + window, total)
            part = codes[:, :, start:end]
            codes[:, :, start:end] = self.window_codes(part, captions, texts, melodies, sampler, start)
        return codes

    @fixed_precision()
    def window_codes(
        self,
        codes: torch.Tensor,
        captions: Sequence[Sequence[int]],
        texts: Sequence[Text],
        melodies: Sequence[np.ndarray | None],
        sampler: Sampler,
        start: int,
    ) -> torch.Tensor:
        """Choose the unknown codes of one window of a batch.

        Args:
            codes: (clips, codebooks, frames), whose known ones come first.
            captions: the tokens of each clip's caption.
            texts: these captions from `Conditioner.encode`.
            melodies: the melody of each clip in this window, or None.
            start: the window's first frame.
        """
        conditions = self.conditioner(texts, melodies, sampler.guidance_scale > 1)
        laid = self.loop(sequence(codes, self.delays, self.special), conditions, sampler, start)
        return codes_of(laid, self.delays)

    def _frames(self, seconds: float) -> int:
        frames = math.ceil(round(seconds * self.codec.rate) / self.codec.hop)
        # transformers drops the delay pattern from very short sequences
        return max(frames, len(self.delays) // self.codec.channels)

    def _check_positions(self, sampling: Sampling) -> None:
        """Raise EvalkitError for a window that is longer than the checkpoint's positions last, or a wrong stride."""
        frame = self.codec.hop / self.codec.rate
        if sampling.duration > self.window and not frame <= sampling.extend_stride < self.window:
            raise EvalkitError(
                f"sampling.extend_stride={sampling.extend_stride:g}: {self.name} makes windows of {self.window:g} s, "
                f"which must overlap and move on: set less than that, and at least {frame:g}"
            )
        known = self.network.config.decoder.max_position_embeddings
        if self._frames(min(sampling.duration, self.window)) + max(self.delays) + 1 > known:
            seconds = (known - max(self.delays) - 1) * self.codec.hop / self.codec.rate
            raise EvalkitError(
                f"sampling.duration={sampling.duration:g}: {self.name} has {known} positions, which last {seconds:g} s"
            )

    def _sampler_of(self, prompts: Sequence[Prompt], sampling: Sampling) -> Sampler:
        """The sampler of the last batch, if it was of the same kind: recorded graphs hold on to it."""
        ids = [prompt.id for prompt in prompts]
        kind = (len(ids), sampling)
        if self._sampler is None or self._sampler[0] != kind:
            self._sampler = kind, Sampler(ids, len(self.delays), sampling, self.network.device)
        self._sampler[1].reset(ids)
        return self._sampler[1]

    def _tokens(self, prompt: Prompt) -> list[int]:
        """The caption's tokens. T5 has no limit, and neither audiocraft nor transformers cut a caption."""
        tokens: list[int] = self.tokenizer(prompt.text, verbose=False).input_ids  # it would warn of 512 tokens
        return tokens

    def _given(self, prompt: Prompt) -> np.ndarray | None:
        """The codes of what the clip continues."""
        if prompt.continuation is None:
            return None
        if prompt.continuation not in self._given_codes:
            try:
                self._given_codes[prompt.continuation] = self.codec.encode(audio.read(prompt.continuation))
            except AudioError as error:
                raise EvalkitError(
                    f"{self.name}: prompt '{prompt.id}' cannot continue '{prompt.continuation}': {error}"
                ) from error
        return self._given_codes[prompt.continuation]

    def _bytes_per_clip(self, sampling: Sampling) -> int:
        """What one clip needs on the device, by and large."""
        decoder = self.network.config.decoder
        size = self.network.decoder.lm_heads[0].weight.element_size()
        rows = 2 if sampling.guidance_scale > 1 else 1
        positions = self._frames(min(sampling.duration, self.window)) + CUDA_BUCKET
        if self.network.config.model_type == "musicgen_melody":
            positions += self.network.config.chroma_length
        vectors = 2 * decoder.num_hidden_layers * (rows * positions + 4 * SHORTEST_TEXT)
        logits = rows * decoder.num_codebooks * decoder.vocab_size * 32  # in float32, with noise and sorting
        return int(vectors * decoder.hidden_size * size + logits)


def fitting(free: int, per_clip: int) -> int:
    """The number of clips, of a few round ones, that fit into `free` bytes with room for the codec and the kernels."""
    most = (0.9 * free - BUDGET) / per_clip
    return max([size for size in SIZES if size <= most], default=1)
