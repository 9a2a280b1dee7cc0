"""Typed settings of a run: sampling, engine, uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

WINDOW = 30.0  # seconds that MusicGen was trained on; longer clips are made window by window


MIN_SECONDS = 1.0  # of a clip: audiocraft's evaluate.min_audio_duration; one window of VGGish


MAX_SECONDS = 600.0


class Dtype(Enum):
    auto = "auto"
    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


@dataclass
class Sampling:
    """How clips are sampled; the defaults are those behind MusicGen's model card."""

    top_k: int = 250
    top_p: float = 0.0
    temperature: float = 1.0
    guidance_scale: float = 3.0
    duration: float = 10.0  # seconds
    extend_stride: float = 18.0  # seconds by which the window moves on in clips of more than 30 s
    seed: int = 0
    samples_per_prompt: int = 1  # clips of each prompt, each with noise of its own


@dataclass
class Engine:
    """How the work is run. Of these only the device's type and the dtype are part of a clip's key."""

    device: str = "auto"
    dtype: Dtype = Dtype.auto
    cuda_graphs: bool = True
    batch_size: int | None = None  # clips generated at once; None for what the device's memory holds
    feature_batch_size: int = 16  # clips embedded at once
    keep_going: bool = False  # score what is there when clips could not be generated


@dataclass
class Uncertainty:
    """The bootstrap over clips behind each confidence interval."""

    resamples: int = 1000  # 0 for no intervals
    level: float = 0.95
    seed: int = 0
