"""Typed settings of a run: sampling, engine, uncertainty, and the switches of a protocol; and where YAMLs lie."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from omegaconf import MISSING

WINDOW = 30.0  # seconds that MusicGen was trained on; longer clips are made window by window


MIN_SECONDS = 1.0  # of a clip: audiocraft's evaluate.min_audio_duration; one window of VGGish
MAX_SECONDS = 600.0
MAX_BATCH = 2048  # clips at once: a card of 140 GiB holds 1,240 of stereo-small
MAX_WORKERS = 1024  # processes: the most that handing out work was measured with
MAX_SAMPLES = 100  # of each prompt: all of MusicCaps in stereo is then 552,100 clips of 1.9 MB
MAX_RESAMPLES = 20_000  # more move no digit that a table shows


def conf_dir() -> Path:
    """The folder of YAMLs: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    return next(p for p in (package / "conf", package.parent / "conf") if p.is_dir())


class Dtype(Enum):
    auto = "auto"
    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


class Attention(Enum):
    auto = "auto"
    triton = "triton"
    sdpa = "sdpa"


class Launcher(Enum):
    local = "local"
    ray = "ray"


@dataclass
class Sampling:
    """How clips are sampled; the defaults are those behind MusicGen's model card.

    Attributes:
        top_k: tokens are drawn from the k most likely ones; 0 for all
        top_p: tokens are drawn from the most likely ones that have this probability together; 0 for top_k instead
        temperature: above 1 flattens the distribution of tokens, below 1 sharpens it
        guidance_scale: of classifier-free guidance; 1 for none
        duration: seconds of each clip, 1 to 600
        extend_stride: seconds by which the window moves on in clips of more than 30 s
        seed: of the noise; each clip has its own, made of this seed and its prompt
        samples_per_prompt: clips of each prompt, each with noise of its own; at most 100, with which all of
            MusicCaps is 552,100 clips, about 1 TB in stereo
    """

    top_k: int = 250
    top_p: float = 0.0
    temperature: float = 1.0
    guidance_scale: float = 3.0
    duration: float = 10.0
    extend_stride: float = 18.0
    seed: int = 0
    samples_per_prompt: int = 1


@dataclass
class Engine:
    """How the work is run. Of these only the device's type and the dtype are part of a clip's key.

    Attributes:
        device: cpu, cuda, cuda:N, or auto for CUDA where there is one
        dtype: of the language model: float32, float16, bfloat16, or auto for float16 on CUDA and float32 on the CPU
        attention: on CUDA triton for evalkit's kernels, sdpa for torch's attention, or auto for the faster one that
            gives the right numbers there
        cuda_graphs: on CUDA, replay each step of generation as one CUDA graph, which is faster
        batch_size: clips generated at once, at most 2,048; null for 8 on a CPU, and on CUDA what the memory holds, at
            most 128
        feature_batch_size: clips embedded at once; null for 16 on a CPU, and on CUDA 64, or what
            lasts 20 minutes
        keep_going: score what is there when clips could not be generated, rather than stop
        quiet: no progress and no warnings on the screen; the log has them
        workers: processes that share the work, each with a GPU of its own on CUDA; 1 for this process, or auto for all
            GPUs that there are. Results do not depend on it
        launcher: where workers run: local for this machine, or ray for a Ray cluster
        address: of the Ray cluster, such as auto or HOST:6379; null to start one on this machine
    """

    device: str = "auto"
    dtype: Dtype = Dtype.auto
    attention: Attention = Attention.auto
    cuda_graphs: bool = True
    batch_size: int | None = None
    feature_batch_size: int | None = None
    keep_going: bool = False
    quiet: bool = False
    workers: Any = 1
    launcher: Launcher = Launcher.local
    address: str | None = None


@dataclass
class Uncertainty:
    """The confidence intervals; those of distances between sets come from a bootstrap over prompts.

    Attributes:
        resamples: how many times prompts are drawn anew, 100 to 20,000; 0 for no intervals.
        level: share of the intervals that hold the value, between 0 and 1
        seed: of the draws
    """

    resamples: int = 1000
    level: float = 0.95
    seed: int = 0


PROTOCOL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # without the space of "(changed)" and "(extended)"


# The switches of a protocol. conf/protocol/musicgen.yaml says what each one does and where its value comes from;
# none has a default, so that a protocol which leaves one out is refused.


@dataclass
class Weights:
    url: str = MISSING
    size: int | None = MISSING  # bytes
    sha256: str | None = MISSING


@dataclass
class VGGishSwitches:
    window: float = MISSING
    hop: float = MISSING
    peak_headroom: float | None = MISSING
    pcm16: str | None = MISSING
    level: str | None = MISSING
    pad_to: float | None = MISSING
    precision: str = MISSING


@dataclass
class FADSwitches:
    ddof: int = MISSING


@dataclass
class PaSSTSwitches:
    network: int = MISSING
    weights: Weights = field(default_factory=Weights)
    segment: float = MISSING
    step: float | None = MISSING
    most: int | None = MISSING
    shortest: float = MISSING
    pad_over: float | None = MISSING
    aggregate: str | None = MISSING
    peak_headroom: float | None = MISSING


@dataclass
class PANNsSwitches:
    pad_to: float = MISSING


@dataclass
class KLDSwitches:
    direction: str = MISSING
    epsilon: float = MISSING


@dataclass
class CLAPSwitches:
    weights: Weights = field(default_factory=Weights)
    architecture: str = MISSING
    fusion: bool = MISSING
    seconds: float = MISSING
    hop: float | None = MISSING
    quantise: bool = MISSING
    peak_headroom: float | None = MISSING
    max_tokens: int = MISSING


@dataclass
class ChromaSwitches:
    n_chroma: int = MISSING
    radix2_exp: int = MISSING
    argmax: bool = MISSING


@dataclass
class Protocol:
    """How clips are prepared and what each network is given, for all metrics of a run.

    Attributes:
        name: that of its YAML.
        derived_from: the protocol that a user's own one starts from; None for evalkit's.
        defines: the metrics that are part of it.
        sample_rate: Hz that clips are brought to first; None for each file's own.
        pair_length: "common" to cut a clip and its reference to what both have, or "own".
        generated_loudness: LUFS of generated clips; None to leave their level.
        distinct_references: whether metrics of sets take a reference that several prompts share once.
    """

    name: str = MISSING
    derived_from: str | None = MISSING
    defines: list[str] = MISSING
    sample_rate: int | None = MISSING
    resampler: str = MISSING
    channels: str = MISSING
    remove_dc: bool = MISSING
    pair_length: str = MISSING
    generated_loudness: float | None = MISSING
    distinct_references: bool = MISSING
    vggish: VGGishSwitches = field(default_factory=VGGishSwitches)
    fad: FADSwitches = field(default_factory=FADSwitches)
    passt: PaSSTSwitches = field(default_factory=PaSSTSwitches)
    panns: PANNsSwitches = field(default_factory=PANNsSwitches)
    kld: KLDSwitches = field(default_factory=KLDSwitches)
    clap: CLAPSwitches = field(default_factory=CLAPSwitches)
    chroma: ChromaSwitches = field(default_factory=ChromaSwitches)
