"""Separation of recordings into drums, bass, other and vocals, by HT-Demucs."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from evalkit import audio
from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.errors import EvalkitError, loading
from evalkit.precision import fixed_precision
from evalkit.store.cache import Cache
from evalkit.store.digests import sha256_file
from evalkit.weights import seeded

STEMS = ["drums", "bass", "other", "vocals"]
OVERLAP = 0.25  # of segments; the package's default

Separate = Callable[[Audio], tuple[np.ndarray, int]]  # to stems (4, channels, samples) and their rate


class Passage(NamedTuple):
    """A part of a recording.

    Attributes:
        start, seconds: of the part; `seconds` None means to the end.
    """

    whole: Audio
    start: float = 0.0
    seconds: float | None = None


@dataclass(frozen=True)
class Demucs:
    """HT-Demucs (Rouard et al. 2023), which separates a recording into drums, bass, other and vocals.

    Run by the package demucs as audiocraft runs it, but for the random shift: stems are a function of the recording.

    Attributes:
        weights: a safetensors file as the package publishes them, or the folder that holds it.
    """

    weights: Asset

    kind: ClassVar[str] = "demucs"
    version: ClassVar[int] = 1

    def check(self) -> None:
        """Raise EvalkitError where the package is missing."""
        if importlib.util.find_spec("demucs") is None:
            raise EvalkitError(
                f"{self.weights.name}: the package demucs is not installed: pip install 'evalkit[melody]'"
            )

    def named(self, cache: Cache) -> str:
        """Name the network with what identifies its weights, as far as that is known."""
        if self.weights.random:
            return f"{self.weights.name} of random weights"
        found = self.weights.find(cache)
        return self.weights.name if found is None else f"{self.weights.name} {sha256_file(_file(found))[:12]}"

    def load(self, cache: Cache, device: str) -> Separate:
        """Load the network; its function gives stems (4, 2, samples) in the order of STEMS, and their rate.

        Raises EvalkitError for a missing package and for a file of another network.
        """
        separate, rate = self.passages(cache, device, OVERLAP, 1)
        return lambda given: (separate([Passage(given)])[0], rate)

    def passages(
        self, cache: Cache, device: str, overlap: float, together: int
    ) -> tuple[Callable[[Sequence[Passage]], list[np.ndarray]], int]:
        """Load the network; its function gives the stems (4, 2, samples) of passages, at the rate that is given too.

        A passage has the stems that it has in the whole recording, which is separated segment by segment: only the
        segments that reach into the passage are computed. A mono recording has two equal channels; of more than two
        the first two are taken. Raises EvalkitError as `load` does.

        Args:
            overlap: share of a segment that the next one has in common with it; segments last as long as the network
                was trained on, since it fills up shorter ones.
            together: how many segments, of all passages, go through the network at once.
        """
        import torch

        self.check()
        network = self._network(cache).to(device).eval()
        rate: int = network.samplerate

        @fixed_precision()
        def separate(passages: Sequence[Passage]) -> list[np.ndarray]:
            jobs = []
            for whole, start, seconds in passages:
                stereo = np.repeat(whole.samples, 2, axis=0) if len(whole.samples) == 1 else whole.samples[:2]
                mix = torch.from_numpy(audio.resample(Audio(stereo, whole.rate), rate).samples)[None].to(device)
                first = round(start * rate)
                rest = mix.shape[-1] - first
                jobs.append(_Job(mix, first, rest if seconds is None else min(rest, round(seconds * rate))))
            with torch.inference_mode():
                return [stems.cpu().numpy() for stems in _separated(network, jobs, overlap, together)]

        return separate, rate

    def _network(self, cache: Cache) -> Any:
        import torch
        from demucs.hf import load_safetensors_model
        from demucs.htdemucs import HTDemucs
        from safetensors import safe_open

        if self.weights.random:
            with seeded(self.weights.random_seed):
                return HTDemucs(STEMS)
        name, path = self.weights.name, _file(self.weights.locate(cache))
        with loading(f"{name}: '{path}'"):
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
            # the package imports whatever class the file names
            if metadata.get("klass") != "demucs.htdemucs.HTDemucs" or "structure" in metadata:
                raise EvalkitError(f"{name}: '{path}' holds no HT-Demucs: it is another file")
            network = load_safetensors_model(path)
        if list(network.sources) != STEMS:
            raise EvalkitError(f"{name}: '{path}' separates {', '.join(network.sources)}, not {', '.join(STEMS)}")
        if not all(torch.isfinite(tensor).all() for tensor in network.state_dict().values()):
            raise EvalkitError(f"{name}: '{path}' holds NaN or infinite weights")
        return network


def _file(found: Path) -> Path:
    """The file of weights that an asset is, or that lies in its folder."""
    return next(iter(sorted(found.glob("*.safetensors"))), found) if found.is_dir() else found


class _Job(NamedTuple):
    """A recording (1, 2, samples), and which of its samples are to be separated."""

    mix: Any
    first: int
    length: int


class _Segment(NamedTuple):
    """Samples of a job's recording that go through the network at once, with what fills them up around them."""

    job: int
    offset: int
    length: int
    filled: Any


def _separated(network: Any, jobs: Sequence[_Job], overlap: float, together: int) -> list[Any]:
    """The stems (4, 2, samples) of each job, with the segments, weights and sums of `demucs.apply.apply_model`."""
    import torch
    from demucs.utils import center_trim

    size = int(network.samplerate * network.segment)
    device = jobs[0].mix.device
    rising = [torch.arange(1, size // 2 + 1, device=device), torch.arange(size - size // 2, 0, -1, device=device)]
    weight = torch.cat(rising)
    weight = weight / weight.max()
    sums = [torch.zeros(len(network.sources), 2, job.length, device=device) for job in jobs]
    weights = [torch.zeros(job.length, device=device) for job in jobs]
    segments = _segments(network, jobs, size, int((1 - overlap) * size))
    for _, alike in itertools.groupby(segments, key=lambda segment: segment.filled.shape[-1]):
        while batch := list(itertools.islice(alike, together)):
            made = network(torch.cat([segment.filled for segment in batch]))
            for stems, (number, offset, length, _) in zip(made, batch, strict=True):
                first, wanted = jobs[number].first, jobs[number].length
                low, high = max(offset, first), min(offset + length, first + wanted)
                here, there = slice(low - first, high - first), slice(low - offset, high - offset)
                sums[number][..., here] += weight[there] * center_trim(stems, length)[..., there]
                weights[number][here] += weight[there]
    return [total.div_(counted) for total, counted in zip(sums, weights, strict=True)]


def _segments(network: Any, jobs: Sequence[_Job], size: int, stride: int) -> Iterator[_Segment]:
    """The segments of all recordings that reach into what is to be separated, filled up to what the network takes."""
    import demucs.apply

    part: Any = demucs.apply.TensorChunk
    for number, (mix, first, length) in enumerate(jobs):
        for offset in range(0, mix.shape[-1], stride):
            chunk = part(mix, offset, size)
            if offset < first + length and offset + chunk.length > first:
                filled = chunk.padded(network.valid_length(chunk.length))
                yield _Segment(number, offset, chunk.length, filled)
