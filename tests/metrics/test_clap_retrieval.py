"""Retrieval of captions against loops, in ties, and the margin over shuffled captions."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.errors import EvalkitError
from evalkit.metrics.clap_retrieval import CaptionMargin, RetrievalRecall, shuffled
from evalkit.types import Features
from tests.measuring import ENCODER, assert_order_does_not_matter, features, width_of_interval


def pair(n: int, seed: int = 0, noise: float = 1.5) -> tuple[Features, Features]:
    """Clips near their captions."""
    rng = np.random.default_rng(seed)
    captions = rng.standard_normal((n, 1, 16))
    return features(list(captions + noise * rng.standard_normal((n, 1, 16)))), features(list(captions))


def recall(k: int) -> RetrievalRecall:
    return RetrievalRecall(ENCODER, ENCODER, k)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a[0].astype(np.float64), b[0].astype(np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_recall_by_sorting_all_captions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.metrics.clap_retrieval.ROWS", 16)
    monkeypatch.setattr("evalkit.metrics.clap_retrieval.SIMILARITIES", 600)
    clips, captions = pair(60)
    places = {}
    for i, clip in zip(clips.ids, clips.values, strict=True):
        ordered = sorted(captions.ids, key=lambda j: -cosine(clip, captions.select([j]).values[0]))
        places[i] = ordered.index(i) + 1
    for k in (1, 10):
        measured = recall(k)(clips, captions)
        assert measured.per_clip == places
        assert measured.value == np.mean([place <= k for place in places.values()])
        assert measured.n == 60
        assert recall(k).title == f"CLAP R@{k}"
    assert 0.1 < recall(1)(clips, captions).value < recall(10)(clips, captions).value < 1


def test_ties_count_as_chance() -> None:
    """If all captions look alike to the encoder, as those of a collapsed one do, nothing is retrieved."""
    clips, _ = pair(20)
    same = features([np.ones((1, 16))] * 20)
    for k in (1, 10):
        measured = recall(k)(clips, same)
        assert measured.value == pytest.approx(k / 20)
        assert set(measured.per_clip.values()) == {10.5}
    # of three captions two are the same: the clip of either finds it half of the time
    captions = features([[[1, 0]], [[1, 0]], [[0, 1]]])
    clips = features([[[1, 0.1]], [[0.1, 1]], [[0.1, 1]]])
    measured = recall(1)(clips, captions)
    assert list(measured.per_clip.values()) == [1.5, 2.5, 1]
    assert measured.value == pytest.approx((0.5 + 0 + 1) / 3)
    assert recall(2)(clips, captions).value == pytest.approx((1 + 0.5 + 1) / 3)


def test_equal_captions_tie_in_every_place_of_a_large_matrix() -> None:
    """Products of a matrix may round differently in different columns."""
    rng = np.random.default_rng(0)
    caption = rng.standard_normal((1, 512))
    clips = features(list(rng.standard_normal((300, 1, 512))))
    assert recall(1)(clips, features([caption] * 300)).value == pytest.approx(1 / 300)


def test_margin_is_over_the_captions_of_others() -> None:
    clips, captions = pair(30)
    measured = CaptionMargin(ENCODER, ENCODER)(clips, captions)
    other = shuffled(clips.ids, 0)
    expected = {
        i: cosine(clip, captions.values[n]) - cosine(clip, captions.values[other[n]])
        for n, (i, clip) in enumerate(zip(clips.ids, clips.values, strict=True))
    }
    assert measured.per_clip == pytest.approx(expected)
    assert measured.value == pytest.approx(np.mean(list(expected.values())))
    assert measured.value > 0.3
    assert CaptionMargin(ENCODER, ENCODER, seed=1)(clips, captions).value != measured.value
    same = features([np.ones((1, 16))] * 30)
    assert CaptionMargin(ENCODER, ENCODER)(clips, same).value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 50])
def test_no_caption_stays_where_it_was(n: int) -> None:
    ids = tuple(f"{i * 37 % 101}" for i in range(n))
    for seed in range(20):
        other = shuffled(ids, seed)
        assert sorted(other) == list(range(n))
        assert (other != np.arange(n)).all()
        backwards = shuffled(ids[::-1], seed)
        pairs = {ids[i]: ids[j] for i, j in enumerate(other)}
        assert {ids[::-1][i]: ids[::-1][j] for i, j in enumerate(backwards)} == pairs
    assert n == 2 or any((shuffled(ids, 0) != shuffled(ids, seed)).any() for seed in range(1, 20))


def test_retrieval_interval_and_order() -> None:
    for metric in (recall(1), recall(10), CaptionMargin(ENCODER, ENCODER)):
        widths = [width_of_interval(metric, *pair(n, noise=3)) for n in (60, 500)]
        assert widths[1] < 0.5 * widths[0]
        assert_order_does_not_matter(metric, *pair(25))


def test_a_resample_keeps_the_captions_to_choose_from() -> None:
    clips, captions = pair(30)
    measured = recall(1)(clips, captions)
    only = np.zeros((1, 30))
    only[0, 3] = 30  # one clip, drawn thirty times, is found among all captions or not
    assert measured.resampled(only, only)[0] == (measured.per_clip[clips.ids[3]] == 1)  # type: ignore[misc]


def test_retrieval_needs_captions() -> None:
    with pytest.raises(EvalkitError, match=r"CLAP R@10: all of 10 captions would count: use more prompts"):
        recall(10)(*pair(10))
    with pytest.raises(EvalkitError, match="one clip has no other caption"):
        CaptionMargin(ENCODER, ENCODER)(*pair(1))
    with pytest.raises(EvalkitError, match="k=0"):
        recall(0)
    clips, captions = pair(12)
    empty = Features(clips.ids, (clips.values[0][:0], *clips.values[1:]))
    with pytest.raises(EvalkitError, match=f"'{clips.ids[0]}' has no embedding"):
        recall(1)(empty, captions)
