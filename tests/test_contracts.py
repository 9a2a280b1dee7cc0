"""What the pipeline asks of components is declared, and one that leaves something out is refused."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Protocol

import numpy as np
import pytest
from omegaconf import DictConfig

import evalkit
import evalkit.encoders
import evalkit.metrics
import evalkit.models
import evalkit.prompts
import evalkit.transforms
from evalkit.audio import Audio
from evalkit.config import compose
from evalkit.contracts import members, require
from evalkit.encoders import Encoder, Input, Reads
from evalkit.encoders.audiobox_aesthetics import AudioboxAesthetics
from evalkit.encoders.chroma import Chroma
from evalkit.encoders.clap import CLAPAudio, CLAPText
from evalkit.encoders.encodec import EnCodec
from evalkit.encoders.instrumental import Instrumental
from evalkit.encoders.levels import Levels
from evalkit.encoders.mert import MERT
from evalkit.encoders.muq import MuQ
from evalkit.encoders.panns import PANNs, PANNsOutput
from evalkit.encoders.passt import PaSST, PaSSTOutput
from evalkit.encoders.passt_embedding import PaSSTEmbedding
from evalkit.encoders.songeval import SongEval
from evalkit.encoders.t5_pieces import T5Pieces
from evalkit.encoders.vggish import VGGish
from evalkit.errors import EvalkitError
from evalkit.metrics import Metric
from evalkit.metrics.audiobox_aesthetics import PredictedRating
from evalkit.metrics.chroma import ChromaSimilarity
from evalkit.metrics.clap_retrieval import CaptionMargin, RetrievalRecall
from evalkit.metrics.clap_score import CLAPScore
from evalkit.metrics.clipping import ClippedClips, ClippedSamples, DCOffset
from evalkit.metrics.density_coverage import DensityCoverage
from evalkit.metrics.fad import FAD
from evalkit.metrics.fad_contribution import FADContribution
from evalkit.metrics.fad_inf import FADInfinity
from evalkit.metrics.inception_score import InceptionScore
from evalkit.metrics.kad import KAD
from evalkit.metrics.kld import KLD
from evalkit.metrics.mad import MAD
from evalkit.metrics.precision_recall import PrecisionRecall
from evalkit.metrics.silence import SilenceLength, SilenceShare, SilenceStart
from evalkit.metrics.songeval import SongRating
from evalkit.metrics.stereo import ChannelCorrelation, MonoShare, SideToMid
from evalkit.metrics.unknown_pieces import UnknownPieces
from evalkit.metrics.vocals import VocalsProbability, VocalsShare
from evalkit.metrics.vocals_in_vocal import VocalsInVocal
from evalkit.models import Existing, Generate, Model
from evalkit.models.audiocraft import Audiocraft
from evalkit.models.diffusers import Diffusers
from evalkit.models.folder import Folder
from evalkit.models.hf_text_to_audio import HFTextToAudio
from evalkit.models.musicgen import MusicGen
from evalkit.models.synth.synth import Synth
from evalkit.models.tiny import TinyStereo
from evalkit.plan import make_plan
from evalkit.prompts import Prompts
from evalkit.prompts.demo import Demo
from evalkit.prompts.hub_dataset import HubDataset
from evalkit.prompts.languages import Languages
from evalkit.prompts.musiccaps import MusicCaps
from evalkit.prompts.song_describer import SongDescriber
from evalkit.prompts.synthetic import Synthetic
from evalkit.prompts.table import Table
from evalkit.prompts.two_folders import TwoFolders
from evalkit.results import summary
from evalkit.settings import Engine, Sampling
from evalkit.store.cache import Cache
from evalkit.transforms import Transform
from evalkit.transforms.instrumental import Instrumental as InstrumentalReferences
from evalkit.types import Clip, Features, Measured, Prompt, PromptSet


class Instrument(Protocol):
    @property
    def strings(self) -> int:
        """How many strings it has; none for a flute. More of this."""

    def play(self, note: str) -> None:
        """Play a note."""

    def __call__(self) -> None:
        """Sound."""


class Tuned(Instrument, Protocol):
    @property
    def pitch(self) -> float:
        """What frequency its A has."""


def test_members_are_those_that_a_contract_and_those_before_it_declare() -> None:
    assert [name for name, _ in members(Tuned)] == ["strings", "play", "__call__", "pitch"]


def test_a_member_may_be_declared_in_any_way_and_is_not_evaluated() -> None:
    @dataclass
    class Guitar:
        pitch: float
        strings: ClassVar[int] = 6

        def play(self, note: str) -> None: ...

        def __call__(self) -> None: ...

    class Broken(Guitar):
        @property
        def strings(self) -> int:  # type: ignore[override]
            raise FileNotFoundError

    require("guitar", Guitar(440.0), Tuned)
    require("guitar", Broken(440.0), Tuned)


def test_what_is_left_out_is_named_with_what_it_means() -> None:
    class Flute:
        pitch = 440.0

        def play(self, note: str) -> None: ...

    class Mute(Flute):
        strings = 0
        play = None  # type: ignore[assignment]

    with pytest.raises(EvalkitError, match=r"^flute: Flute does not say how many strings it has: declare `strings`$"):
        require("flute", Flute(), Tuned)
    with pytest.raises(EvalkitError, match=r"^mute: Mute cannot sound: declare `__call__`$"):
        require("mute", Mute(), Tuned)


METRICS: tuple[type[Metric], ...] = (
    *(ChannelCorrelation, ChromaSimilarity, CLAPScore, CaptionMargin, ClippedClips, ClippedSamples, DCOffset),
    *(DensityCoverage, FAD, FADContribution, FADInfinity, InceptionScore, KAD, KLD, MAD, MonoShare, PrecisionRecall),
    *(PredictedRating, RetrievalRecall, SideToMid, SilenceLength, SilenceShare, SilenceStart, SongRating),
    *(UnknownPieces, VocalsInVocal, VocalsProbability, VocalsShare),
)
ENCODERS: tuple[type[Encoder], ...] = (
    *(AudioboxAesthetics, CLAPAudio, CLAPText, Chroma, EnCodec, Instrumental, Levels, MERT, MuQ, PANNs, PANNsOutput),
    *(PaSST, PaSSTEmbedding, PaSSTOutput, SongEval, T5Pieces, VGGish),
)
MODELS: tuple[type[Model], ...] = (Audiocraft, Diffusers, HFTextToAudio, MusicGen, Synth, TinyStereo)
EXISTING: tuple[type[Existing], ...] = (Folder,)
PROMPTS: tuple[type[Prompts], ...] = (
    *(Demo, HubDataset, Languages, MusicCaps, SongDescriber, Synthetic, Table, TwoFolders),
)
TRANSFORMS: tuple[type[Transform], ...] = (InstrumentalReferences,)
CONTRACTS: dict[type, tuple[ModuleType, tuple[type, ...]]] = {
    Metric: (evalkit.metrics, METRICS),
    Encoder: (evalkit.encoders, ENCODERS),
    Model: (evalkit.models, MODELS),
    Existing: (evalkit.models, EXISTING),
    Prompts: (evalkit.prompts, PROMPTS),
    Transform: (evalkit.transforms, TRANSFORMS),
}


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_component_of_evalkit_declares_what_is_asked_of_its_kind(contract: type) -> None:
    """That the types are right is mypy's to say, from the lists above."""
    for component in CONTRACTS[contract][1]:
        fields = {field.name for field in dataclasses.fields(component)}
        for member, _ in members(contract):
            assert hasattr(component, member) or member in fields, (component, member)


def test_the_lists_of_components_are_complete() -> None:
    for package in {package for package, _ in CONTRACTS.values()}:
        targets = {
            value
            for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
            for value in vars(importlib.import_module(module.name)).values()
            if dataclasses.is_dataclass(value) and vars(value)["__module__"] == module.name
            if (hasattr(value, "load") if package is evalkit.prompts else "kind" in vars(value))
        }
        assert targets == {one for where, several in CONTRACTS.values() if where is package for one in several}


@dataclass(frozen=True)
class Complete:
    """A metric that leaves out nothing."""

    kind: ClassVar[str] = "complete"
    title: ClassVar[str] = "Complete"
    higher_is_better: ClassVar[None] = None
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    clip_by_clip: ClassVar[bool] = False
    additive: ClassVar[bool] = False
    encoder: ClassVar[Encoder] = Levels()
    reference_encoder: ClassVar[None] = None

    def __call__(self, generated: Features, reference: None) -> Measured:
        return Measured(0.5, n=len(generated.ids))


@dataclass(frozen=True)
class Ears:
    """An encoder that leaves out nothing; its weights are random, and no asset of evalkit."""

    kind: ClassVar[str] = "ears"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    reads: ClassVar[Reads] = "audio"
    hears: ClassVar[Input] = Input(16000)

    def load(self, cache: Cache, device: str) -> Callable[[list[Any]], list[np.ndarray]]:
        return lambda clips: [np.ones((len(clip) // 4000, 12), np.float32) for clip in clips]


@dataclass(frozen=True)
class Hum:
    """A model that leaves out nothing; its weights are random."""

    kind: ClassVar[str] = "hum"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = True
    published: ClassVar[None] = None
    checkpoint: ClassVar[None] = None
    codec: ClassVar[None] = None

    def check(self, sampling: Sampling) -> None: ...

    def conditions(self, cache: Cache) -> tuple[str, ...]:
        return ()

    def load(self, cache: Cache, engine: Engine) -> Generate:
        return lambda prompts, sampling: [Audio(np.full((2, 80000), 0.1, np.float32), 32000) for _ in prompts]


@dataclass(frozen=True)
class Found:
    """Clips made elsewhere, which leave out nothing."""

    kind: ClassVar[str] = "found"
    random: ClassVar[bool] = False
    published: ClassVar[None] = None

    def find(self, prompts: Sequence[Prompt]) -> list[Clip]:
        return []


@dataclass(frozen=True)
class Captions:
    """Prompts that leave out nothing."""

    references: ClassVar[None] = None
    cut: ClassVar[str] = "start"
    max_seconds: ClassVar[None] = None

    def load(self, cache: Cache) -> PromptSet:
        return PromptSet("captions", "all", 1, (Prompt("a", "a caption"),), "")


PLACES: dict[str, tuple[type, type]] = {
    "metric.chroma": (Complete, Metric),
    "metric.chroma.encoder": (Ears, Encoder),
    "model.synth": (Hum, Model),
    "prompts.references": (Hum, Model),
    "model.folder": (Found, Existing),
    "prompts": (Captions, Prompts),
}


def target(component: type) -> str:
    return f"{component.__module__}.{component.__qualname__}"


@functools.cache
def run_with(place: str, component: type) -> DictConfig:
    """The configuration of a run with one component in a place of it."""
    models = "folder" if "folder" in place else "synth"
    base = [f"model={models}", "prompts=demo", "metric=[chroma]", "random_weights=0", "allow_targets=[tests]"]
    return compose([*base, f"~{place}", f"+{place}={{_target_: {target(component)}}}"])


@pytest.mark.parametrize("place", PLACES)
def test_a_component_of_another_package_that_declares_everything_is_taken(place: str) -> None:
    make_plan(run_with(place, PLACES[place][0]))


LEFT_OUT = [(place, member) for place, (_, contract) in PLACES.items() for member, _ in members(contract)]


@pytest.mark.parametrize("place, member", [x for x in LEFT_OUT if x[1] not in ("encoder", "load")])
def test_a_component_that_leaves_something_out_is_refused(
    place: str, member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    component, _ = PLACES[place]
    monkeypatch.delattr(component, member)
    with pytest.raises(EvalkitError) as refused:
        make_plan(run_with(place, component))
    message = str(refused.value)
    assert message.startswith(place) and message.endswith(f": declare `{member}`") and "\n" not in message


@pytest.mark.parametrize("place", [place for place, (_, contract) in PLACES.items() if contract in (Model, Encoder)])
def test_what_does_not_say_whether_its_weights_are_random_is_refused(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    component = PLACES[place][0]
    monkeypatch.delattr(component, "random")
    said = f"{place}: {component.__name__} does not say whether its weights are random: declare `random`"
    with pytest.raises(EvalkitError, match=rf"^{re.escape(said)}$"):
        make_plan(run_with(place, component))


@pytest.mark.parametrize("value", [None, 0, "False"])
@pytest.mark.parametrize("place", [place for place, (_, contract) in PLACES.items() if hasattr(contract, "random")])
def test_weights_are_random_or_they_are_not(place: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    component = PLACES[place][0]
    monkeypatch.setattr(component, "random", value)
    said = f"{place}: {component.__name__}: random is {value!r}: say True or False"
    with pytest.raises(EvalkitError, match=rf"^{re.escape(said)}$"):
        make_plan(run_with(place, component))


def test_what_neither_makes_clips_nor_finds_any_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Found, "find")
    with pytest.raises(EvalkitError, match=r"^model\.folder, which has no load: Found cannot find a clip .*`find`$"):
        make_plan(run_with("model.folder", Found))


@pytest.mark.parametrize("reads, hears", [("audio", None), ("text", Input(16000)), ("text", None)])
def test_generated_clips_need_an_encoder_of_audio(reads: str, hears: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ears, "reads", reads)
    monkeypatch.setattr(Ears, "hears", hears)
    with pytest.raises(EvalkitError, match=rf"metric\.chroma\.encoder.* reads {reads}"):
        make_plan(run_with("metric.chroma.encoder", Ears))


def test_random_weights_of_another_package_are_announced_for_all_that_they_touch(tmp_path: Path) -> None:
    base = ["model=synth", "metric=[chroma,silence]", "prompts=demo", "prompts.first=2", "sampling.duration=2.5"]
    base += ["allow_targets=[tests]", f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}"]

    def random_weights(*more: str) -> tuple[list[str], dict[str, bool]]:
        result = evalkit.evaluate(*base, *more)
        scores = result.scores
        announced = summary.random_weights(result)
        shown = (result.path / "table.md").read_text("utf-8")
        assert all(name in shown for name in announced) and ("Random weights: " in shown) == bool(announced)
        return announced, dict(zip(scores.metric, scores.random_weights, strict=True))

    silent = {"silence_share": False, "silence_start": False, "silence_length": False}
    assert random_weights() == ([], {"chroma": False, **silent})
    encoder = ["~metric.chroma.encoder", f"+metric.chroma.encoder={{_target_: {target(Ears)}}}"]
    assert random_weights(*encoder) == (["ears"], {"chroma": True, **silent})
    renderer = ["~prompts.references", f"+prompts.references={{_target_: {target(Hum)}}}"]
    assert random_weights(*renderer) == (["hum"], {"chroma": True, **silent})
