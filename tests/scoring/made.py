"""Plans and clips made by hand, and measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import soundfile
from omegaconf import OmegaConf

from evalkit.calibration import Row
from evalkit.config import compose
from evalkit.encoders import Input
from evalkit.plan import Plan
from evalkit.protocols import protocol_of
from evalkit.recording import metric_infos
from evalkit.scoring.embedding import embed
from evalkit.scoring.scores import Measurement, score
from evalkit.settings import Sampling, Uncertainty
from evalkit.slices import Group
from evalkit.store.cache import Cache
from evalkit.store.digests import sha256_file
from evalkit.types import Clip, Features, Measured, Prompt, PromptSet
from tests.engines import CPU

RATE = 32000
PROMPTS = PromptSet("x", "all", 3, tuple(Prompt(i, f"caption {i}") for i in "abc"), "")


@dataclass(frozen=True)
class Length:
    """The number of samples, or of characters."""

    reads: str = "audio"
    kind: ClassVar[str] = "length"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False

    @property
    def hears(self) -> Input:
        return Input(RATE)

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        return lambda items: [np.array([[len(item)]], dtype=np.float32) for item in items]


@dataclass(frozen=True)
class Pairs:
    """Seconds of the generated clips, after checking that their references are as long."""

    encoder: Length = field(default_factory=Length)
    kind: ClassVar[str] = "pairs"
    title: ClassVar[str] = "pairs"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, np.inf)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = False

    @property
    def reference_encoder(self) -> Length:
        return self.encoder

    def __call__(self, generated: Features, reference: Features) -> Measured:
        assert generated.ids == reference.ids
        for g, r in zip(generated.values, reference.values, strict=True):
            assert g == r
        per_clip = {i: v.item() / RATE for i, v in zip(generated.ids, generated.values, strict=True)}
        return Measured(sum(per_clip.values()), n=len(per_clip), per_clip=per_clip)


@dataclass(frozen=True)
class Words(Pairs):
    """Seconds of the generated clips, next to captions."""

    kind: ClassVar[str] = "words"

    @property
    def reference_encoder(self) -> Length:
        return Length("text")

    def __call__(self, generated: Features, reference: Features) -> Measured:
        per_clip = {i: v.item() / RATE for i, v in zip(generated.ids, generated.values, strict=True)}
        return Measured(sum(per_clip.values()), n=len(per_clip), per_clip=per_clip)


def plan(tmp_path: Path, **metrics: Any) -> Plan:
    """A plan of some metrics without models; change the rest of it with `dataclasses.replace`."""
    config = compose(["model=synth", "prompts=demo", "random_weights=0"])
    return Plan(
        config={},
        cache=Cache(tmp_path / "cache"),
        models={},
        prompts=OmegaConf.create({"references": None}),
        metrics=metrics,
        slices=[],
        calibration={},
        trackers={},
        sampling=Sampling(),
        engine=CPU,
        uncertainty=Uncertainty(),
        protocol=protocol_of(config),
        protocols=dict.fromkeys(metrics, "musicgen"),
        changes=[],
        protocol_remarks=[],
        published=[],
        small_slice=config.small_slice,
        min_references=config.min_references,
        output_dir=str(tmp_path / "runs"),
        name="made",
    )


def measure(
    run: Plan,
    references: Sequence[Clip],
    models: Mapping[str, list[Clip]],
    slices: Sequence[Group] = (),
    others: Mapping[str, Row] | None = None,
    prompts: PromptSet = PROMPTS,
) -> Measurement:
    """Encode and score the clips of models, and calibration rows, as a run does."""
    rows = {name: Row(prompts.prompts, clips) for name, clips in models.items()}
    return score(run, metric_infos(run), embed(run, prompts.prompts, references, rows, others or {}), slices)


def write(path: Path, seconds: float, level: float = 0.1) -> Clip:
    """Write a clip of noise."""
    rng = np.random.default_rng([*path.stem.encode(), int(seconds * 100)])
    samples = level * rng.standard_normal((round(seconds * RATE), 2))
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    return Clip(
        path.stem, path, sha256=sha256_file(path), frames=len(samples), sample_rate=RATE, channels=2, seconds=seconds
    )


def clips(folder: Path, *seconds: float) -> list[Clip]:
    """Write a clip for each of PROMPTS."""
    return [write(folder / f"{i}.wav", s) for i, s in zip("abc", seconds, strict=True)]
