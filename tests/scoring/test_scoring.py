"""Which clips and which parts of them a metric sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
from omegaconf import OmegaConf

from evalkit.config import compose
from evalkit.encoders import Input
from evalkit.errors import EvalkitError
from evalkit.plan import Plan, make_plan
from evalkit.protocols import protocol_of
from evalkit.scoring.scores import common_length, measure, resampled_values
from evalkit.settings import Sampling
from evalkit.store.cache import Cache
from evalkit.store.digests import sha256_file
from evalkit.types import Clip, Features, Measured, Prompt, PromptSet
from tests.engines import CPU

RATE = 32000


@dataclass(frozen=True)
class Length:
    """The number of samples, or of characters."""

    reads: str = "audio"
    kind: ClassVar[str] = "length"
    version: ClassVar[int] = 1

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


PROMPTS = PromptSet("x", "all", 3, tuple(Prompt(i, f"caption {i}") for i in "abc"), "")


def write(path: Path, seconds: float, level: float = 0.1) -> Clip:
    rng = np.random.default_rng([*path.stem.encode(), int(seconds * 100)])
    samples = level * rng.standard_normal((round(seconds * RATE), 2))
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    return Clip(
        path.stem, path, sha256=sha256_file(path), frames=len(samples), sample_rate=RATE, channels=2, seconds=seconds
    )


def plan(tmp_path: Path, **metrics: Any) -> Plan:
    config = compose(["model=synth", "prompts=demo", "random_weights=0"])
    return Plan(
        config=config,
        cache=Cache(tmp_path / "cache"),
        models={},
        prompts=OmegaConf.create({"references": None}),
        metrics=metrics,
        slices=[],
        sampling=Sampling(),
        engine=CPU,
        protocol=protocol_of(config),
        protocols=dict.fromkeys(metrics, "musicgen"),
        changes=[],
        protocol_remarks=[],
        published=[],
    )


def clips(folder: Path, *seconds: float) -> list[Clip]:
    return [write(folder / f"{id}.wav", s) for id, s in zip("abc", seconds, strict=True)]


def test_pairs_are_cut_alike_and_captions_hear_the_whole(tmp_path: Path) -> None:
    generated, references = clips(tmp_path / "g", 3, 3, 2), clips(tmp_path / "r", 3, 2, 3)
    measured = measure(plan(tmp_path, pairs=Pairs(), words=Words()), PROMPTS, references, {"m": generated})
    pairs, words = measured.scores
    assert (pairs.value, pairs.n) == (7, 3)
    assert (words.value, words.n) == (8, 3)
    assert measured.clips.pairs.tolist() == [3, 2, 2]


def test_a_silent_beginning_is_compared_as_it_is(tmp_path: Path) -> None:
    references = clips(tmp_path / "r", 3, 3, 3)
    path = references[0].path
    assert path is not None
    samples, _ = soundfile.read(path)
    samples[: 2 * RATE] = 0
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    references[0] = dataclasses.replace(references[0], sha256=sha256_file(path))
    measured = measure(plan(tmp_path, pairs=Pairs()), PROMPTS, references, {"m": clips(tmp_path / "g", 2, 3, 3)})
    assert measured.scores[0].n == 3 and measured.references[0].ok


def test_captions_do_not_need_references(tmp_path: Path) -> None:
    absent = [Clip(i, status="missing") for i in "abc"]
    measured = measure(plan(tmp_path, words=Words()), PROMPTS, absent, {"m": clips(tmp_path / "g", 3, 3, 2)})
    assert measured.scores[0].value == 8


def test_a_bad_reference_is_bad_for_every_model_and_no_other_metric(tmp_path: Path) -> None:
    references = clips(tmp_path / "r", 3, 3, 3)
    references[1] = write(tmp_path / "r" / "b.wav", 3, level=0.0)
    broken = references[2].path
    assert broken is not None
    broken.write_bytes(broken.read_bytes()[:3000])
    run = plan(tmp_path, pairs=Pairs(), words=Words())
    with pytest.raises(EvalkitError, match="only 1 of 3 are usable"):
        measure(run, PROMPTS, references, {"m": clips(tmp_path / "g", 3, 3, 3)})
    run.config.min_references = 0.3
    generated = {"m": clips(tmp_path / "g", 3, 3, 3), "n": clips(tmp_path / "h", 2, 2, 2)}
    measured = measure(run, PROMPTS, references, generated)
    assert [c.status for c in measured.references] == ["ok", "silent", "unreadable"]
    assert [(s.model, s.metric, s.n, s.value) for s in measured.scores] == [
        ("m", "pairs", 1, 3), ("m", "words", 3, 9), ("n", "pairs", 1, 2), ("n", "words", 3, 6),
    ]  # fmt: skip
    assert measured.clips.reference_status.tolist() == ["ok", "silent", "unreadable"] * 2


def test_an_unreadable_clip_fails_the_run_unless_allowed(tmp_path: Path) -> None:
    generated = clips(tmp_path / "g", 3, 3, 3)
    path = generated[0].path
    assert path is not None
    path.write_bytes(b"RIFF")
    run = plan(tmp_path, words=Words())
    with pytest.raises(EvalkitError, match=r"m: 1 of 3 clips are not usable \(a: "):
        measure(run, PROMPTS, generated, {"m": generated})
    run.config.engine.keep_going = True
    measured = measure(run, PROMPTS, generated, {"m": generated})
    assert measured.scores[0].n == 2
    assert measured.clips.status.tolist() == ["unreadable", "ok", "ok"]


def test_a_score_that_is_no_number_is_refused(tmp_path: Path) -> None:
    class NoNumber(Words):
        kind: ClassVar[str] = "no number"

        def __call__(self, generated: Features, reference: Features) -> Measured:
            return Measured(float("nan"), n=3)

    generated = clips(tmp_path / "g", 3, 3, 3)
    with pytest.raises(EvalkitError, match="m: words is nan"):
        measure(plan(tmp_path, words=NoNumber()), PROMPTS, generated, {"m": generated})


def test_common_length_leaves_unusable_clips_alone() -> None:
    one = Clip("a", frames=3 * RATE, sample_rate=RATE, seconds=3.0)
    bad = Clip("a", status="missing")
    assert common_length([one], [bad], RATE) == ([one], [bad])
    longer = dataclasses.replace(one, frames=6 * RATE, seconds=None)
    assert common_length([one], [longer], RATE)[1][0].seconds == 3.0


@pytest.mark.parametrize(
    ("option", "metric"),
    [
        ("metric.fad.encoder.hop=0.96", "fad"),
        ("metric.fad.ddof=0", "fad"),
        ("metric.kld.epsilon=0.1", "kld"),
        ("metric.chroma.encoder.argmax=false", "chroma"),
        ("encoder@metric.fad.encoder=passt", "fad"),
        ("protocol.generated_loudness=null", "fad kld clap_score chroma"),
        ("protocol.vggish.hop=0.96", "fad kld clap_score chroma"),
        ("random_weights=7", ""),
        ("sampling.top_k=5", ""),
    ],
)
def test_a_changed_switch_is_no_longer_the_protocol(option: str, metric: str) -> None:
    protocols = make_plan(compose(["model=synth", "prompts=demo", "random_weights=0", option])).protocols
    expected = {name: "musicgen (changed)" if name in metric.split() else "musicgen" for name in protocols}
    assert protocols == expected


def test_resamples_are_kept_for_the_same_features_and_value_only(tmp_path: Path) -> None:
    drawn = []

    def resampled(weights: np.ndarray) -> np.ndarray:
        drawn.append(len(weights))
        return weights[:, 0]

    the_plan = plan(tmp_path, pairs=Pairs())
    features = Features(("a", "b"), (np.ones((2, 3), np.float32), np.zeros((1, 3), np.float32)))
    other = Features(("a", "b"), (np.ones((3, 2), np.float32), np.zeros((1, 3), np.float32)))
    for _ in range(2):
        first = resampled_values(the_plan, "pairs", Measured(1.0, 2, resampled=resampled), features, None)
    assert drawn == [1000] and first.shape == (1000,)
    resampled_values(the_plan, "pairs", Measured(1.5, 2, resampled=resampled), features, None)
    resampled_values(the_plan, "pairs", Measured(1.0, 2, resampled=resampled), other, None)
    resampled_values(the_plan, "pairs", Measured(1.0, 2, resampled=resampled), features, features)
    the_plan.config.uncertainty.seed = 1
    resampled_values(the_plan, "pairs", Measured(1.0, 2, resampled=resampled), features, None)
    assert len(drawn) == 5
