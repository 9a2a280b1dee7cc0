"""What a metric says of itself: whether sums and counts of clips, or weights, give its value on any subset."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import evalkit.metrics
from evalkit.audio import Audio
from evalkit.contracts import require
from evalkit.encoders.levels import Levels
from evalkit.metrics import Metric, mean_over_items
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
from evalkit.stats.kernel import median_distance
from evalkit.types import Features
from tests.measuring import ENCODER, features

CLIPS = 24
Pair = tuple[Features, Features | None]


@pytest.fixture(autouse=True)
def of_few_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.metrics.mad.FEWEST", 12)


def vectors(rng: np.random.Generator) -> Pair:
    """One vector of each clip, and of its caption."""
    own = rng.standard_normal((CLIPS, 1, 6))
    return features(list(own)), features(list(own + rng.standard_normal(own.shape)))


def windows(rng: np.random.Generator) -> Pair:
    """Clips of one to nine windows, references of as many."""
    lengths = rng.integers(1, 10, CLIPS)

    def one(shift: float) -> Features:
        return features([rng.standard_normal((n, 4)) + 2 * rng.standard_normal(4) + shift for n in lengths])

    return one(0), one(2)


def apart(rng: np.random.Generator) -> Pair:
    """Clips that lie in one of two places, so that any part of them has the same clusters."""

    def one(share: float) -> Features:
        places = 5 * np.eye(4)[(np.arange(CLIPS) % 4 < 4 * share).astype(int)]
        return features(list(places[:, None] + 0.1 * rng.standard_normal((CLIPS, 3, 4))))

    return one(0.5), one(0.25)


def probabilities(rng: np.random.Generator) -> Pair:
    """Clips of none to three segments with probabilities of labels, references of one segment more."""
    lengths = [0, *rng.integers(1, 4, CLIPS - 1)]
    own, theirs = (features([rng.dirichlet(np.ones(527), n + more) for n in lengths]) for more in (0, 1))
    return own, theirs


def instrumental(rng: np.random.Generator) -> Pair:
    """Probabilities, and which prompts are instrumental: two of three."""
    spread = [rng.uniform(0, rng.uniform(0.3, 1), (n, 527)) for n in rng.integers(1, 4, CLIPS)]
    return features(spread), features([[[float(k % 3 > 0)]] for k in range(CLIPS)])


def levels(rng: np.random.Generator) -> Pair:
    """Levels of clips of several lengths: one silent, some mono, some clipped, some with a silent end."""
    clips = []
    for k in range(CLIPS):
        sound = rng.uniform(0.2, 0.6) * rng.standard_normal((2, int(rng.integers(3000, 6000)))) + rng.uniform(-0.1, 0.1)
        sound[:, len(sound[0]) - 1500 * (k % 3) :] = 0
        stereo = sound * (k > 0) if k % 2 else np.stack([sound[0]] * 2) * (k > 0)
        clips.append(Levels().levels(Audio(stereo, 1000)))
    return features(clips), None


def characters(rng: np.random.Generator) -> Pair:
    """Levels, and characters of prompts, in unknown pieces and all: one prompt has none."""
    every = [0, *rng.integers(5, 50, CLIPS - 1)]
    return levels(rng)[0], features([[[int(n * rng.uniform()), n]] for n in every])


METRICS: dict[type, tuple[Callable[[np.random.Generator], Pair], list[dict[str, Any]]]] = {
    ChromaSimilarity: (windows, [{}]),
    CLAPScore: (vectors, [{"text_encoder": ENCODER}]),
    RetrievalRecall: (vectors, [{"text_encoder": ENCODER, "k": 1}]),
    CaptionMargin: (vectors, [{"text_encoder": ENCODER}]),
    ClippedSamples: (levels, [{}]),
    ClippedClips: (levels, [{}]),
    DCOffset: (levels, [{}]),
    DensityCoverage: (windows, [{"part": "density"}, {"part": "coverage"}]),
    FAD: (windows, [{}]),
    FADContribution: (windows, [{}]),
    FADInfinity: (windows, [{}]),
    InceptionScore: (probabilities, [{}, {"splits": 2}]),
    KAD: (windows, [{}]),
    MAD: (apart, [{}, {"clusterings": 1}]),
    KLD: (probabilities, [{}, {"direction": "both"}]),
    PredictedRating: (vectors, [{"axis": "PQ"}]),
    PrecisionRecall: (windows, [{"part": "precision"}, {"part": "recall"}]),
    SilenceLength: (levels, [{}]),
    SilenceShare: (levels, [{}]),
    SilenceStart: (levels, [{}]),
    SongRating: (vectors, [{"axis": "clarity"}]),
    ChannelCorrelation: (levels, [{}]),
    MonoShare: (levels, [{}]),
    SideToMid: (levels, [{}]),
    UnknownPieces: (characters, [{"prompt_encoder": ENCODER}]),
    VocalsProbability: (instrumental, [{"prompt_encoder": ENCODER}]),
    VocalsShare: (instrumental, [{"prompt_encoder": ENCODER}]),
    VocalsInVocal: (instrumental, [{"prompt_encoder": ENCODER}]),
}
CASES = [
    pytest.param(made(encoder=ENCODER, **options), given, id="-".join([made.__name__, *map(str, options.values())]))
    for made, (given, several) in METRICS.items()
    for options in several
]


def test_these_are_all_metrics() -> None:
    found = {
        value
        for module in pkgutil.iter_modules(evalkit.metrics.__path__, "evalkit.metrics.")
        for value in vars(importlib.import_module(module.name)).values()
        if dataclasses.is_dataclass(value) and vars(value).get("__module__") == module.name and "kind" in vars(value)
    }
    assert found == METRICS.keys()


def subsets(rng: np.random.Generator, ids: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [tuple(np.array(ids)[np.sort(rng.permutation(CLIPS)[:size])].tolist()) for size in (CLIPS - 1, 15, 12)]


def from_parts(parts: dict[str, tuple[float, float]], ids: tuple[str, ...]) -> float:
    sums, counts = np.array([parts[i] for i in ids]).T
    return float(sums.sum() / counts.sum())


@pytest.mark.parametrize("metric, given", CASES)
def test_every_metric_declares_what_is_asked_of_it(metric: Metric, given: Any) -> None:
    require("metric.this", metric, Metric)
    assert isinstance(metric.additive, bool) and isinstance(metric.clip_by_clip, bool)
    assert metric.bounds[0] < metric.bounds[1]


@pytest.mark.parametrize("metric, given", CASES)
def test_a_metric_is_additive_if_and_only_if_its_parts_give_its_value_on_every_subset(
    metric: Metric, given: Callable[[np.random.Generator], Pair]
) -> None:
    rng = np.random.default_rng(0)
    generated, reference = given(rng)
    whole = metric(generated, reference)
    values, suffices = [whole.value], tuple(whole.parts) == generated.ids
    for ids in subsets(rng, generated.ids):
        some = metric(generated.select(ids), reference and reference.select(ids))
        suffices = suffices and some.parts == {i: whole.parts[i] for i in ids}
        suffices = suffices and from_parts(whole.parts, ids) == pytest.approx(some.value, rel=1e-12)
        values.append(some.value)
    assert suffices == metric.additive
    assert len(set(values)) >= 3  # so that a value that has nothing to do with the subset would be seen
    if metric.additive:
        assert from_parts(whole.parts, generated.ids) == pytest.approx(whole.value, rel=1e-12)
        assert {i: total / count for i, (total, count) in whole.parts.items() if count} == whole.per_clip


# Why weights of 0 and 1 do not give a subset's value.
NOT_OF_SUBSETS = {
    RetrievalRecall: "captions of clips that are left out can still be found",
    CaptionMargin: "clips may have the captions of clips that are left out",
    DensityCoverage: "balls end at clips that are left out",
    PrecisionRecall: "balls end at clips that are left out",
    FADInfinity: "resamples are of FAD, not extrapolated",
    FADContribution: "nothing is resampled",
}


@pytest.mark.parametrize("metric, given", CASES)
def test_weights_of_none_and_one_give_a_subsets_value_if_and_only_if_the_metric_says_so(
    metric: Metric, given: Callable[[np.random.Generator], Pair]
) -> None:
    rng = np.random.default_rng(0)
    generated, reference = given(rng)
    whole = metric(generated, reference)
    if metric.additive:
        assert not whole.subsets  # its parts say more
        return
    if isinstance(metric, KAD):  # whose bandwidth stays
        assert reference is not None
        metric = dataclasses.replace(metric, bandwidth=median_distance(reference.values, metric.bandwidth_frames, 0))
    function = whole.of_subsets or whole.resampled
    suffices = function is not None
    for ids in subsets(rng, generated.ids):
        values = [metric(generated.select(ids), reference and reference.select(ids)).value]
        weights = np.isin(generated.ids, ids)[None].astype(float)
        both = [(weights, weights)]
        if whole.subsets:  # none of these needs as many clips on either side
            values.append(metric(generated.select(ids), reference).value)
            both.append((weights, np.ones((1, CLIPS))))
        for value, (ours, theirs) in zip(values, both, strict=True):
            found = function(ours, theirs) if function is not None else np.array([np.nan])
            suffices = suffices and found.item() == pytest.approx(value, rel=1e-9)
    assert suffices == whole.subsets
    split = isinstance(metric, InceptionScore) and metric.splits > 1  # a subset is divided anew
    assert whole.subsets != (split or type(metric) in NOT_OF_SUBSETS)


def test_a_clip_without_items_is_among_the_parts() -> None:
    generated, reference = probabilities(np.random.default_rng(0))
    measured = KLD(ENCODER)(generated, reference)
    assert measured.parts[generated.ids[0]] == (0.0, 0.0) and generated.ids[0] not in measured.per_clip


def test_the_items_of_a_mean_may_be_one_number_a_clip() -> None:
    one, other = mean_over_items("abc", [1, 2.5, True]), mean_over_items("abc", [np.array([v]) for v in (1, 2.5, 1)])
    assert one.value == other.value == 1.5 and one.parts == other.parts and one.per_clip == other.per_clip
    nested = mean_over_items("ab", [[[1, 2], [3, 6]], []])
    assert (nested.value, nested.parts) == (3, {"a": (12, 4), "b": (0, 0)})
