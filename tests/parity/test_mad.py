"""MAD against mauve-text, which its package computes with, stage by stage, and against mad-metric on files."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import faiss
import mad_metric
import mauve
import numpy as np
import pytest
import soundfile
import torch
import transformers

from evalkit.encoders.mert import MERT, RATE, network_of
from evalkit.metrics.mad import MAD
from evalkit.stats import mauve as ours
from tests import music, parity
from tests.measuring import ENCODER, features

listed = os.listdir
MAUVE = "mauve-text 0.4.0"
PACKAGE = "mad-metric 0.0.6, one start, files as sorted here"
METRIC = MAD(ENCODER, clusterings=1)  # the original's own single start
CASES = {  # clips, references, dimensions, and how far the sets lie apart
    "near": (100, 100, 64, 0.2),
    "far": (300, 200, 128, 1.0),
    "fewer clips than dimensions": (40, 60, 300, 0.3),
    "two clusters": (20, 20, 8, 0.5),
}


def in_order(points: np.ndarray) -> np.ndarray:
    """As MAD sorts a set's clips."""
    return points[np.lexsort(points.T[::-1])]


@pytest.fixture(params=CASES)
def case(request):
    """Two sets of points, and what the original finds: its result, and the number of each point's cluster."""
    generated, references, d, apart = CASES[request.param]
    rng = np.random.default_rng([music.SEED, d])
    spread = np.logspace(0, -1, d)
    x, y = (in_order((rng.standard_normal((n, d)) * spread).astype(np.float32)) for n in (generated, references))
    x = in_order(x + np.float32(apart) * np.eye(d, dtype=np.float32)[0])
    searched: list[np.ndarray] = []

    class Recorded(faiss.Kmeans):  # whose index is asked for the clusters of all points at the end
        def train(self, x, weights=None, init_centroids=None):
            found = super().train(x, weights, init_centroids)
            searched.append(self.index.search(x, 1)[1][:, 0])
            return found

    with patch.object(faiss, "Kmeans", Recorded):
        result = mauve.compute_mauve(p_features=x, q_features=y)
    return request.param, x, y, result, searched[0]


def test_clusters_are_the_original_s(case):
    name, x, y, result, labels = case
    points = ours.components(ours.components(ours.directions(np.concatenate([y, x])), share=1.0))
    found = ours.clustered(points, result.num_buckets)
    parity.within("MAD: clusters", MAUVE, name, (found != labels).mean(), 0, "share of clips in another one")


def test_the_curve_and_its_area_are_the_original_s(case):
    name, _, _, result, _ = case
    curve = ours.divergence_curve(result.p_hist[None], result.q_hist[None])
    parity.within("MAD: divergence curve", MAUVE, name, np.abs(curve[0] - result.divergence_curve).max(), 1e-12)
    area = ours.area(curve).item()
    parity.within("MAD: area below the curve", MAUVE, name, abs(area / result.mauve - 1), 1e-12)


def test_the_value_is_the_original_s_of_the_same_points(case):
    name, x, y, result, _ = case
    value = METRIC(features(list(x[:, None])), features(list(y[:, None]))).value
    parity.within("MAD, from points", f"-ln of {MAUVE}", name, abs(value + np.log(result.mauve)), 1e-10, "absolute")


@pytest.fixture(scope="module")
def embedded():
    """Clips of two kinds of music as MERT of random weights hears them: sounds and points, sorted by these."""
    encoder = MERT(parity.random_asset("MERT weights"), layer=2, pool="max")
    encode = encoder.load(parity.cache(), "cpu")
    found = []
    for kind in ("plain", "hot"):
        seeds = [1000 * music.SEED + k + 50 * (kind == "hot") for k in range(20)]
        clips = [music.rendered(kind, RATE, 0.5, seed)[0] for seed in seeds]
        points = np.concatenate(encode(clips))
        order = np.lexsort(points.T[::-1])
        found.append(([clips[i] for i in order], points[order]))
    return encoder, found


def original(folders: tuple[Path, Path], encoder: MERT, **options) -> float:
    """What the package says of two folders, with MERT's weights in place of those that it would fetch."""
    network, _ = network_of(encoder.weights, parity.cache(), encoder.model, encoder.layer)
    processor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=True, return_attention_mask=True)
    with (
        patch.object(transformers.AutoModel, "from_pretrained", lambda *_, **__: network.eval()),
        patch.object(transformers.Wav2Vec2FeatureExtractor, "from_pretrained", lambda *_, **__: processor),
        patch.object(os, "listdir", lambda folder: sorted(listed(folder))),
    ):
        return float(mad_metric.compute_mad(*folders, layer=encoder.layer, **options))


def folder_of(place: Path, clips: list[np.ndarray]) -> Path:
    place.mkdir()
    for number, clip in enumerate(clips):
        soundfile.write(place / f"{number:03}.wav", clip, RATE, subtype="FLOAT")
    return place


@pytest.mark.slow
def test_the_value_is_the_package_s_of_the_same_files(tmp_path, embedded):
    encoder, sets = embedded
    folders = tuple(folder_of(tmp_path / str(k), clips) for k, (clips, _) in enumerate(sets))
    value = METRIC(*(features(list(points[:, None])) for _, points in sets)).value
    assert 0 < value < 0.99 * METRIC.bounds[1]
    error = abs(original(folders, encoder) - value)
    parity.within("MAD, from files", PACKAGE, "music of two kinds, 0.5 s", error, 1e-6, "absolute")


@pytest.mark.slow
def test_where_the_package_s_value_is_none_of_the_clips_alone(embedded):
    """A shorter clip's maximum is over the frames of its padding too, and so depends on what it is batched with."""
    encoder, ((clips, points), _) = embedded
    network, _ = network_of(encoder.weights, parity.cache(), encoder.model, encoder.layer)
    processor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=True, return_attention_mask=True)
    inputs = processor([clips[0], np.tile(clips[1], 3)], sampling_rate=RATE, return_tensors="pt", padding=True)
    with torch.no_grad():
        states = network.eval()(**inputs, output_hidden_states=True).hidden_states[encoder.layer]
    assert np.abs(states.max(dim=1).values[0].numpy() - points[0]).max() > 0.1
