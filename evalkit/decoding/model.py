"""A loaded MusicGen: prompts to codes, codes to clips."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evalkit import audio
from evalkit.audio import Audio, AudioError
from evalkit.decoding import plan
from evalkit.decoding.backend import choose
from evalkit.decoding.codec import Codec
from evalkit.decoding.conditions import Conditioner, Text, padded_length
from evalkit.decoding.loop import Loop
from evalkit.decoding.melody import Features
from evalkit.decoding.pattern import UNKNOWN, codes_of, delays_of, sequence
from evalkit.decoding.sampler import Sampler
from evalkit.errors import EvalkitError
from evalkit.precision import fixed_precision
from evalkit.settings import WINDOW, Engine, Sampling
from evalkit.types import BatchSize, Prompt

log = logging.getLogger(__name__)

CPU_BATCH = 8
SIZES = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128)  # beyond the last a GPU makes hardly more clips a second
PART = 0.9  # of the free memory that is planned with: some is lost between blocks
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
        self._captions: dict[str, list[int]] = {}
        # of memory plans: bytes of weights, whether a batch was compared with its plan, and what it took of that
        self._weights = torch.cuda.memory_allocated(weight.device) if weight.device.type == "cuda" else 0
        self._compared, self._excess = False, 1.0

    @fixed_precision()
    def __call__(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Audio]:
        """Make one clip per prompt, (channels, samples) float32; one whose logits were not finite is NaN."""
        groups: dict[Hashable, list[int]] = {}
        for i, prompt in enumerate(prompts):
            groups.setdefault(self.group(prompt, sampling), []).append(i)
        clips: dict[int, Audio] = {}
        for group in groups.values():
            size = self.batch_size(sampling, [prompts[i] for i in group]).rows
            for start in range(0, len(group), size):
                batch = group[start : start + size]
                codes = self.codes([prompts[i] for i in batch], sampling, size)
                clips.update(zip(batch, self.audio(codes, sampling), strict=True))
        return [clips[i] for i in range(len(prompts))]

    def facts(self) -> dict[str, Any]:
        """How clips are computed here, as JSON-like values; after a batch, how it was."""
        backend, sampler = self.loop.backend, self._sampler[1].facts() if self._sampler else {}
        return {"attention": backend.attention, "graphs": backend.graphs, "dtype": self.engine.dtype.value, **sampler}

    def batch_size(self, sampling: Sampling, prompts: Sequence[Prompt], before: BatchSize | None = None) -> BatchSize:
        """How many clips of one group to make at once: what the engine says, or as many as the free memory holds.

        What it was `before` in the same run is kept, so that clips do not differ by it; on a GPU only where memory
        holds it, else one warning says that it does not.
        """
        given = self.engine.batch_size
        if given is not None:
            return BatchSize(given, given)
        if torch.device(self.engine.device).type == "cpu":
            most = before.most if before else CPU_BATCH
            return BatchSize(most, most)
        if before is not None:
            size = BatchSize(max(before.rows, few(before.most, len(prompts))), before.most)
            if self._needed(sampling, prompts, size.rows) <= self._free():
                return size
        room = PART * self._free()
        most = next((size for size in reversed(SIZES) if self._needed(sampling, prompts, size) <= room), 1)
        if before is not None and most < size.rows:
            log.warning(
                "%s: clips were made %d at once before, which the free memory does not hold now: going on with %d",
                *(self.name, size.rows, most),
            )
        return BatchSize(few(most, len(prompts)), most)

    def _free(self) -> int:
        """Bytes that a batch can have on the GPU: what is free, and what torch holds besides the weights."""
        free, _ = torch.cuda.mem_get_info(self.engine.device)
        return int(free + torch.cuda.memory_reserved(self.engine.device) - self._weights)

    def _needed(self, sampling: Sampling, prompts: Sequence[Prompt], rows: int) -> int:
        """Bytes that any batch of so many of these prompts takes on the GPU, and decoding beside it."""
        longest = sorted(prompts, key=lambda prompt: len(self._tokens(prompt)), reverse=True)[:rows]
        batch = [*longest, *[longest[0]] * (rows - len(longest))]
        return int(self._excess * (self.planned(batch, sampling) + plan.OUTSIDE)) + self._decoding(sampling)

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
        with torch.inference_mode(), self._measured(batch, sampling):
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

    def _decoding(self, sampling: Sampling) -> int:
        return self.codec.memory(self._frames(sampling.duration))

    @contextlib.contextmanager
    def _measured(self, batch: Sequence[Prompt], sampling: Sampling) -> Iterator[None]:
        """Compare what the first batch takes on a GPU with its plan; where that is too low, later plans are raised."""
        if self._compared or torch.device(self.engine.device).type == "cpu":
            yield
            return
        torch.cuda.reset_peak_memory_stats(self.engine.device)
        turns = self.codec.turns
        yield
        self._compared = True
        beside = self._decoding(sampling) if self.codec.turns != turns else 0
        planned = self.planned(batch, sampling) + plan.OUTSIDE + beside
        taken = torch.cuda.max_memory_allocated(self.engine.device) - self._weights
        if taken > planned:
            self._excess = taken / planned
            log.warning(
                "%s: %d clips took %.2f GiB where %.2f GiB were planned: later plans are raised by %.0f %%",
                *(self.name, len(batch), taken / 2**30, planned / 2**30, 100 * (self._excess - 1)),
            )

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
        if prompt.text not in self._captions:
            # it would warn of 512 tokens
            self._captions[prompt.text] = self.tokenizer(prompt.text, verbose=False).input_ids
        return self._captions[prompt.text]

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

    def planned(self, prompts: Sequence[Prompt], sampling: Sampling) -> int:
        """Bytes that a batch of these prompts takes on the device, see `evalkit.decoding.plan`."""
        total, window = self._frames(sampling.duration), self._frames(min(sampling.duration, self.window))
        given = [codes.shape[1] for codes in map(self._given, prompts) if codes is not None]
        stride = int(sampling.extend_stride * self.codec.rate / self.codec.hop)
        batch = plan.Batch(
            captions=[len(self._tokens(prompt)) for prompt in prompts],
            guided=sampling.guidance_scale > 1,
            frames=total,
            window=window,
            # a later window begins with the end of the one before
            known=max([window - stride if total > window else 0, *(min(one, window) for one in given)]),
            delay=max(self.delays) + 1,
        )
        return plan.bytes_of(batch, self.network, self.loop, self.conditioner)


def few(most: int, prompts: int) -> int:
    """The number of clips to make at once of a number of prompts: a round one that holds them, or the most there is."""
    return min(most, next((size for size in SIZES if size >= prompts), most))
