"""Text-to-audio pipelines of diffusers, such as AudioLDM 2 and Stable Audio Open."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.checkpoints.transformers import quiet_transformers, read_json, require_complete
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

log = logging.getLogger(__name__)

# diffusers' own pipelines from text to audio: what they call the duration, and where their own networks are
PIPELINES = {
    "AudioLDMPipeline": ("audio_length_in_s", None),
    "AudioLDM2Pipeline": ("audio_length_in_s", "audioldm2"),
    "StableAudioPipeline": ("audio_end_in_s", "stable_audio"),
    "StableAudio3Pipeline": ("duration", "stable_audio_3"),
}
# it takes what ClapModel.get_text_features returns for a tensor
BROKEN = {"MusicLDMPipeline": "diffusers no longer maintains it, and it fails with transformers 5"}
TAKEN = {"prompt", "generator", "latents", "output_type", "return_dict"}


@dataclass(frozen=True)
class Diffusers:
    """A diffusion model that makes audio from captions, in the layout of diffusers' pipelines.

    Of `Sampling` it uses guidance_scale, duration and seed; top_k, top_p and temperature mean nothing to
    it. MusicGen's default guidance is not what other models were tuned for: where it is left as it is
    and the pipeline's own default is another, that is said.

    The starting noise comes from a generator on the CPU that is seeded with the sampling's seed and the
    prompt's id. Prompts are generated one by one, so that no bit of a clip depends on its neighbours:
    AudioLDM 2 pads a batch to its longest caption, and counts the padding as positions. A scheduler that
    adds noise in every step, such as Stable Audio's, may draw it on the device: those clips differ
    between CPU and GPU.

    Attributes:
        id: a hub repository such as stabilityai/stable-audio-open-1.0, or a folder.
        revision: of the hub repository.
        steps: denoising steps; None for the pipeline's default.
        negative_prompt: a caption of what is not wanted, for guidance.
        arguments: for the pipeline's call, overruling all others.
        published: the hub id that published numbers are joined on; the id itself where it is one.
    """

    id: str | None = field(default=None, metadata={"identity": False})
    revision: str | None = field(default=None, metadata={"identity": False})
    steps: int | None = None
    negative_prompt: str | None = None
    arguments: dict[str, Any] | None = None
    published: str | None = field(default=None, metadata={"identity": False})
    checkpoint: Asset = field(init=False, metadata={"option": "id"})

    kind: ClassVar[str] = "diffusers"
    version: ClassVar[int] = 1
    codec: ClassVar[None] = None

    def __post_init__(self) -> None:
        example = "stabilityai/stable-audio-open-1.0"
        # the networks of a pipeline lie in folders of their own; beside these is often another copy of them
        checkpoint = checkpoint_of("diffusers", example, self.id, self.revision, ["model_index.json", "*/*"])
        object.__setattr__(self, "checkpoint", checkpoint)
        object.__setattr__(self, "published", self.published or checkpoint.repo)

    @property
    def random(self) -> bool:
        """Whether the checkpoint is one of evalkit's made-up ones, so that its numbers mean nothing."""
        return made_up(self.checkpoint, "model_index.json")

    def check(self, sampling: Sampling) -> None:
        """Raise EvalkitError where diffusers is not installed, and for arguments that no clip can be made with."""
        _require_extra()
        if self.steps is not None and self.steps < 1:
            raise EvalkitError(f"diffusers: steps={self.steps}: must be at least 1, or null for the pipeline's default")
        if taken := sorted(TAKEN & {*(self.arguments or {})}):
            raise EvalkitError(f"diffusers: arguments may not hold {taken[0]}: evalkit sets it")

    def conditions(self, cache: Cache) -> tuple[str, ...]:
        """Return nothing: clips are made from captions alone."""
        return ()

    def load(self, cache: Cache, engine: Engine) -> Generate:
        """Load the checkpoint, and return what turns prompts into Audio (channels, samples) at the model's rate.

        All networks are in `engine.dtype`. Clips are cut to the duration; a shorter one stays as it is,
        and NaN stays NaN. Raises EvalkitError for a checkpoint that is missing, damaged or of another kind.
        """
        _require_extra()
        folder = self.checkpoint.locate(cache)
        pipeline = _load_pipeline(self.checkpoint.name, folder, engine)
        given: dict[str, Any] = {"num_inference_steps": self.steps, "negative_prompt": self.negative_prompt}
        given = {key: value for key, value in given.items() if value is not None}
        return _Generator(self.checkpoint.name, pipeline, given | (self.arguments or {}))


def _require_extra() -> None:
    if importlib.util.find_spec("diffusers") is None:
        raise EvalkitError("model=diffusers needs packages that are not installed: pip install 'evalkit[diffusers]'")


def _load_pipeline(name: str, folder: Path, engine: Engine) -> Any:
    parts = _parts(name, folder)
    from evalkit import compat

    compat.prepare()
    import torch
    import transformers

    with _quiet():
        import diffusers

        kind = getattr(diffusers, read_json(name, folder / "model_index.json")["_class_name"])
        networks: dict[str, Any] = {}
        for part, (library, class_name) in parts.items():
            modules = {"diffusers": diffusers, "transformers": transformers}
            found = getattr(modules.get(library) or getattr(diffusers.pipelines, library), class_name, None)
            if not isinstance(found, type):
                raise EvalkitError(
                    f"{name}: '{folder}' needs {library}'s {class_name}, which this version does not have"
                )
            if found is transformers.GPT2Model:
                # AudioLDM 2 was published with it, but what diffusers calls is now only in this one around it
                found = transformers.GPT2LMHeadModel
            if issubclass(found, torch.nn.Module):
                networks[part] = _load_network(name, folder, part, found, engine)
            elif issubclass(found, transformers.PreTrainedTokenizerBase):
                require_tokenizer(f"{name}: {part}", folder / part)
        with loading(f"{name}: '{folder}'"):
            pipeline = kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **networks)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(engine.device)


def _parts(name: str, folder: Path) -> dict[str, tuple[str, str]]:
    """Library and class of each part of a pipeline. Raises EvalkitError unless all are diffusers' or transformers' own.

    diffusers imports what model_index.json names, so that is read and checked first.
    """
    index = read_json(name, folder / "model_index.json")
    kind = str(index.get("_class_name"))
    if kind in BROKEN:
        raise EvalkitError(f"{name}: '{folder}' is a {kind}, which evalkit does not run: {BROKEN[kind]}")
    if kind not in PIPELINES:
        raise EvalkitError(f"{name}: '{folder}' is a pipeline of class {kind}, not one of {', '.join(PIPELINES)}")
    parts = {part: value for part, value in index.items() if not part.startswith("_") and isinstance(value, list)}
    trusted = {"diffusers", "transformers", PIPELINES[kind][1]}
    for part, value in parts.items():
        if value != [None, None] and not (len(value) == 2 and value[0] in trusted and isinstance(value[1], str)):
            raise EvalkitError(f"{name}: '{folder}' names code of its own for {part} ({value}), which is never run")
    return {part: (library, class_name) for part, (library, class_name) in parts.items() if library}


def _load_network(name: str, folder: Path, part: str, kind: Any, engine: Engine) -> Any:
    import torch

    with loading(f"{name}: {part}: '{folder}'"):
        network, info = kind.from_pretrained(
            folder / part,
            local_files_only=True,
            use_safetensors=any((folder / part).glob("*.safetensors")),
            torch_dtype=getattr(torch, engine.dtype.value),
            ignore_mismatched_sizes=True,  # the libraries log which they are: here they become an error
            output_loading_info=True,
        )
    require_complete(f"{name}: {part}: '{folder}'", network, info)
    require_finite(f"{name}: {part}", folder, network)
    return network


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep both libraries from progress bars and from warnings that no user can act on."""
    from diffusers.utils import logging as diffusers_logging

    verbosity, bars = diffusers_logging.get_verbosity(), diffusers_logging.is_progress_bar_enabled()
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    try:
        with quiet_transformers(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchsde's, of rounded ends of its interval
            yield
    finally:
        diffusers_logging.set_verbosity(verbosity)
        if bars:
            diffusers_logging.enable_progress_bar()


class _Generator:
    """Turns prompts into clips, one by one."""

    def __init__(self, name: str, pipeline: Any, given: Mapping[str, Any]):
        self.name = name
        self.pipeline = pipeline
        self.given = dict(given)
        self.truncations = Truncations(name)
        self.begun = False
        self.accepted = inspect.signature(pipeline.__call__).parameters
        holder = getattr(pipeline, "vocoder", None) or pipeline.vae
        self.rate = int(holder.config.sampling_rate)
        if unknown := sorted({*given} - {*self.accepted}):
            raise EvalkitError(f"{name}: {type(pipeline).__name__} takes no argument {unknown[0]}")

    @fixed_precision()
    def __call__(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Audio]:
        if not self.begun:
            self._begin(prompts, sampling)
        with _quiet():
            return [self._clip(prompt, sampling) for prompt in prompts]

    def _begin(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        self.begun = True
        warn_of_unused(self.name, sampling, ("top_k", "top_p", "temperature"), prompts)
        own = self.accepted["guidance_scale"].default
        if sampling.guidance_scale == Sampling().guidance_scale != own and "guidance_scale" not in self.given:
            log.warning(
                "%s: guidance_scale=%g is MusicGen's default, and that of %s is %g: "
                "choose with sampling.guidance_scale, or for this model alone with its arguments.guidance_scale",
                *(self.name, sampling.guidance_scale, type(self.pipeline).__name__, own),
            )

    def _clip(self, prompt: Prompt, sampling: Sampling) -> Audio:
        import torch

        self._count_truncated(prompt)
        duration, _ = PIPELINES[type(self.pipeline).__name__]
        arguments = {duration: sampling.duration, "guidance_scale": sampling.guidance_scale, "output_type": "pt"}
        seed = noise_seed(sampling.seed, prompt.id)
        try:
            made = self.pipeline(
                prompt.text, generator=torch.Generator("cpu").manual_seed(seed), **{**arguments, **self.given}
            ).audios[0]
        except (TypeError, ValueError) as error:
            raise EvalkitError(f"{self.name}: '{prompt.id}' cannot be generated: {reason(error)}") from error
        return cut(torch.as_tensor(made).float().cpu().numpy(), self.rate, sampling.duration)

    def _count_truncated(self, prompt: Prompt) -> None:
        """Note where a text encoder does not read all; an AudioLDM 2 has two, of which one may."""
        tokenizers = [getattr(self.pipeline, key, None) for key in ("tokenizer", "tokenizer_2")]
        for tokenizer in [t for t in tokenizers if t is not None]:
            tokens = len(tokenizer(prompt.text).input_ids)
            if tokens > tokenizer.model_max_length:
                return self.truncations.add(prompt, tokens, tokenizer.model_max_length)
