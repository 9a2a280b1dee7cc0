"""Any text-to-audio checkpoint of transformers, run by transformers' own pipeline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.checkpoints.transformers import load_pretrained, quiet_transformers, read_json, require_weights
from evalkit.errors import EvalkitError, loading, reason
from evalkit.models.hub import (
    Truncations,
    checkpoint_of,
    cut,
    made_up,
    require_finite,
    require_tokenizer,
    warn_of_unused,
)
from evalkit.precision import fixed_precision
from evalkit.settings import Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.store.seeds import noise_seed
from evalkit.types import Prompt

if TYPE_CHECKING:
    from evalkit.models import Generate

GUIDED = ("musicgen", "musicgen_melody")  # whose generate() has classifier-free guidance of its own
OWN_SAMPLING = ("seamless_m4t", "seamless_m4t_v2")  # speech from beam search: nothing of Sampling fits
TAKEN = {"generation_config", "num_return_sequences", "return_dict_in_generate"}


@dataclass(frozen=True)
class HFTextToAudio:
    """A model that transformers loads for text-to-waveform: MusicGen, Bark, VITS, CSM and others.

    What is not set here is the checkpoint's own: its generation_config.json counts. Of `Sampling`, a
    model that generates tokens gets temperature, top_k or (where it is set) top_p, guidance_scale where
    it has guidance, and as many new tokens as `duration` needs where its configuration names a frame
    rate; a model that does not, such as VITS, gets none of them. `generate_kwargs` overrules all.

    These models draw from torch's generator, which is seeded for each clip with the sampling's seed and
    the prompt's id, and prompts are generated one by one: a clip never depends on its neighbours, but
    it differs between CPU and GPU.

    Attributes:
        id: a hub repository such as suno/bark-small, or a folder.
        revision: of the hub repository.
        generate_kwargs: for the model's generate(), or its forward() where it has none.
        published: the hub id that published numbers are joined on; the id itself where it is one.
    """

    id: str | None = field(default=None, metadata={"identity": False})
    revision: str | None = field(default=None, metadata={"identity": False})
    generate_kwargs: dict[str, Any] | None = None
    published: str | None = field(default=None, metadata={"identity": False})
    checkpoint: Asset = field(init=False, metadata={"option": "id"})

    kind: ClassVar[str] = "hf_text_to_audio"
    version: ClassVar[int] = 1
    codec: ClassVar[None] = None

    def __post_init__(self) -> None:
        checkpoint = checkpoint_of("hf_text_to_audio", "suno/bark-small", self.id, self.revision, None)
        object.__setattr__(self, "checkpoint", checkpoint)
        object.__setattr__(self, "published", self.published or checkpoint.repo)

    @property
    def random(self) -> bool:
        """Whether the checkpoint is one of evalkit's made-up ones, so that its numbers mean nothing."""
        return made_up(self.checkpoint, "config.json")

    def check(self, sampling: Sampling) -> None:
        """Raise EvalkitError for generate_kwargs that would give something else than one clip per prompt."""
        if taken := sorted(TAKEN & {*(self.generate_kwargs or {})}):
            raise EvalkitError(f"{self.checkpoint.name}: generate_kwargs may not hold {taken[0]}: evalkit needs it")

    def conditions(self, cache: Cache) -> tuple[str, ...]:
        """Return nothing: clips are made from captions alone."""
        return ()

    def load(self, cache: Cache, engine: Engine) -> Generate:
        """Load the checkpoint, and return what turns prompts into Audio (channels, samples) at the model's rate.

        The whole model is in `engine.dtype`, as transformers casts it. Clips are cut to the duration;
        a shorter one stays as it is. A clip whose probabilities are NaN comes back as NaN. Raises
        EvalkitError for a checkpoint that is missing, damaged or of another kind.
        """
        folder = self.checkpoint.locate(cache)
        pipeline = _load_pipeline(self.checkpoint.name, folder, engine)
        return _Generator(self.checkpoint.name, pipeline, self.generate_kwargs or {})


def _load_pipeline(name: str, folder: Path, engine: Engine) -> Any:
    from evalkit import compat

    kind = read_json(name, folder / "config.json").get("model_type")
    compat.prepare()
    import torch
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES as KINDS

    if kind not in KINDS:
        raise EvalkitError(f"{name}: '{folder}' holds a model of type '{kind}', not one of {', '.join(KINDS)}")
    require_weights(name, folder)
    require_tokenizer(name, folder)
    what, own = f"{name}: '{folder}'", {"local_files_only": True, "trust_remote_code": False}
    kinds = transformers.AutoModelForTextToWaveform
    network, _ = load_pretrained(what, kinds, folder, engine.dtype.value, trust_remote_code=False)
    with loading(what), quiet_transformers():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **own)
        processor = None
        if kind not in GUIDED:  # whose processor takes the text for audio
            processor = transformers.AutoProcessor.from_pretrained(folder, **own)
        pipeline = transformers.TextToAudioPipeline(
            model=network.eval(),
            tokenizer=tokenizer,
            processor=processor if isinstance(processor, transformers.ProcessorMixin) else None,
            device=torch.device(engine.device),
            sampling_rate=network.config.audio_encoder.sampling_rate if kind in GUIDED else None,
        )
    require_finite(name, folder, network)
    if not pipeline.sampling_rate:
        raise EvalkitError(f"{name}: '{folder}' names no sampling rate: its processor's files are missing")
    return pipeline


class _Generator:
    """Turns prompts into clips, one by one."""

    def __init__(self, name: str, pipeline: Any, given: Mapping[str, Any]):
        self.name = name
        self.pipeline = pipeline
        self.given = dict(given)
        self.bark = pipeline.model.config.model_type == "bark"
        self.limit = _limit(pipeline)
        self.truncations = Truncations(name)
        self.begun = False

    @fixed_precision()
    def __call__(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Audio]:
        network = self.pipeline.model
        chosen = generation(network, sampling) if network.can_generate() else {}
        if not self.begun:
            self.begun = True
            used = {key.rpartition("semantic_")[2] for key in chosen}
            options = ("top_k", "top_p", "temperature", "guidance_scale")
            warn_of_unused(self.name, sampling, [key for key in options if key not in used], prompts)
        with quiet_transformers():
            return [self._clip(prompt, sampling, chosen | self.given) for prompt in prompts]

    def _clip(self, prompt: Prompt, sampling: Sampling, arguments: Mapping[str, Any]) -> Audio:
        import torch

        pipeline, rate = self.pipeline, int(self.pipeline.sampling_rate)
        preprocess: dict[str, Any] = {}
        seeded = torch.random.fork_rng(devices=[pipeline.device] if pipeline.device.type == "cuda" else [])
        try:
            tokens = len(pipeline.tokenizer(prompt.text, add_special_tokens=not self.bark).input_ids)
            if not tokens:  # a caption without one letter that the model knows
                return cut(np.zeros(0), rate, sampling.duration)
            if self.limit and tokens > self.limit:
                preprocess = {"truncation": True, "max_length": self.limit}
                self.truncations.add(prompt, tokens, self.limit)
            with seeded:
                torch.manual_seed(noise_seed(sampling.seed, prompt.id))
                made = pipeline(prompt.text, preprocess_params=preprocess, forward_params=dict(arguments))
        except (TypeError, ValueError, IndexError, ImportError) as error:
            raise EvalkitError(f"{self.name}: '{prompt.id}' cannot be generated: {reason(error)}") from error
        except RuntimeError as error:
            if "probability tensor contains" not in str(error):  # what torch.multinomial says of NaN
                raise
            return cut(np.full(round(sampling.duration * rate), math.nan), rate, sampling.duration)
        return cut(made["audio"], rate, sampling.duration)


def _limit(pipeline: Any) -> int | None:
    """How many tokens of a prompt the model reads, where that is known."""
    if pipeline.model.config.model_type == "bark":
        return int(pipeline.model.generation_config.semantic_config["max_input_semantic_length"])
    limit = pipeline.tokenizer.model_max_length
    return int(limit) if limit < 1e6 else None  # transformers writes 1e30 where it does not know


def generation(network: Any, sampling: Sampling) -> dict[str, Any]:
    """What `Sampling` means for the generate() of a model of transformers."""
    config = network.config
    if config.model_type in OWN_SAMPLING:
        return {}
    chosen: dict[str, Any] = {"do_sample": True, "temperature": sampling.temperature}
    # as in audiocraft, top_p replaces top_k where it is set
    chosen |= {"top_k": 0, "top_p": sampling.top_p} if sampling.top_p > 0 else {"top_k": sampling.top_k, "top_p": 1.0}
    if config.model_type == "bark":
        # text to semantic tokens to coarse ones; how these are refined is left to the checkpoint
        semantic = network.generation_config.semantic_config
        tokens = min(semantic["max_new_tokens"], math.ceil(sampling.duration * semantic["semantic_rate_hz"]))
        both = {f"{stage}_{key}": value for stage in ("semantic", "coarse") for key, value in chosen.items()}
        return both | {"semantic_max_new_tokens": tokens}
    if config.model_type in GUIDED:
        chosen["guidance_scale"] = sampling.guidance_scale
        codec, decoder = config.audio_encoder, config.decoder
        per_channel = decoder.num_codebooks // decoder.audio_channels
        frames = math.ceil(round(sampling.duration * codec.sampling_rate) / codec.hop_length)
        # the last codebook starts that much later; transformers drops the delays from shorter sequences
        return chosen | {"max_new_tokens": max(frames, per_channel) + per_channel - 1}
    codec = getattr(config, "codec_config", None) or config
    if frame_rate := getattr(codec, "frame_rate", None):
        chosen["max_new_tokens"] = math.ceil(sampling.duration * frame_rate)
    return chosen
