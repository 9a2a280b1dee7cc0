"""Stems of recordings, against the package demucs on seeded random weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.errors import EvalkitError
from evalkit.separation import OVERLAP, Demucs, Passage
from evalkit.store.cache import Cache
from evalkit.store.digests import sha256_file
from tests import separators

RATE = 32000
Network = tuple[Any, Demucs, Cache]  # the package's, evalkit's on the same weights, and a cache


def noise(channels: int, seconds: float, rate: int = RATE, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    return Audio(0.1 * rng.standard_normal((channels, round(seconds * rate))).astype(np.float32), rate)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = tmp_path_factory.mktemp("separation")
    network = separators.write(folder / "955717e8.safetensors")
    return network, Demucs(Asset("stems", path=str(folder))), Cache(folder)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_stems_are_the_package_s(network: Network, channels: int) -> None:
    from demucs.apply import apply_model
    from demucs.audio import convert_audio

    original, demucs, cache = network
    given = noise(channels, 1.5)
    separate = demucs.load(cache, "cpu")
    stems, rate = separate(given)
    mix = convert_audio(torch.from_numpy(given.samples), RATE, 44100, 2)
    expected = apply_model(original, mix[None], shifts=0)[0].numpy()
    assert (rate, stems.shape) == (44100, (4, 2, 66150))
    np.testing.assert_array_equal(stems, expected)
    np.testing.assert_array_equal(separate(given)[0], stems)
    assert np.abs(stems).max() > 1e-3


@pytest.mark.parametrize("overlap", [OVERLAP, 0.0])
def test_a_passage_has_the_stems_of_the_whole_recording(network: Network, overlap: float) -> None:
    from demucs.apply import apply_model

    original, demucs, cache = network
    whole = noise(2, 1.7, 44100)
    separate, rate = demucs.passages(cache, "cpu", overlap, 1)
    expected = apply_model(original, torch.from_numpy(whole.samples)[None], shifts=0, overlap=overlap)[0].numpy()
    for start, seconds in ((0.0, 0.3), (0.7, 0.2), (1.6, None), (1.2, 30.0)):
        (stems,) = separate([Passage(whole, start, seconds)])
        stop = whole.samples.shape[1] if seconds is None else round((start + seconds) * rate)
        np.testing.assert_array_equal(stems, expected[..., round(start * rate) : stop])


def test_no_more_than_a_passage_is_computed(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    from demucs.htdemucs import HTDemucs

    sizes: list[int] = []
    forward = HTDemucs.forward

    def counted(self: Any, mix: Any) -> Any:
        sizes.append(len(mix))
        return forward(self, mix)

    monkeypatch.setattr(HTDemucs, "forward", counted)
    _, demucs, cache = network
    separate, _ = demucs.passages(cache, "cpu", OVERLAP, 3)
    separate([Passage(noise(2, 6.0, 44100), 2.0, 0.3)])
    assert sum(sizes) <= 3  # of 16 segments
    sizes.clear()
    separate([Passage(noise(2, 1.2, 44100, seed)) for seed in range(3)])  # of four segments each
    assert sizes == [3, 3, 3, 3]


def test_several_at_once_are_what_they_are_one_by_one(network: Network) -> None:
    _, demucs, cache = network
    passages = [Passage(noise(1 + seed % 2, 0.6 + 0.3 * seed, RATE, seed), 0.1 * seed, None) for seed in range(3)]
    alone, together = (demucs.passages(cache, "cpu", OVERLAP, size)[0](passages) for size in (1, 5))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6 * np.abs(one).max())


def test_a_network_is_named_by_its_file(network: Network, tmp_path: Path) -> None:
    _, demucs, cache = network
    assert demucs.weights.path is not None
    digest = sha256_file(Path(demucs.weights.path) / "955717e8.safetensors")
    assert demucs.named(cache) == f"stems {digest[:12]}"
    assert Demucs(Asset("stems", path=str(tmp_path / "absent"))).named(cache) == "stems"
    assert Demucs(Asset("stems", random_seed=3)).named(cache) == "stems of random weights"


def test_a_missing_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "demucs", None)
    with pytest.raises(EvalkitError, match=r"stems: the package demucs is not installed: pip install 'evalkit\[melody"):
        Demucs(Asset("stems", random_seed=0)).load(Cache(tmp_path), "cpu")


def test_bad_files_are_one_line(tmp_path: Path) -> None:
    def load(path: Path) -> None:
        Demucs(Asset("stems", path=str(path))).load(Cache(tmp_path), "cpu")

    separators.write(tmp_path / "a.safetensors", klass="os.system")
    with pytest.raises(EvalkitError, match=r"^stems: '.*a\.safetensors' holds no HT-Demucs: it is another file$"):
        load(tmp_path / "a.safetensors")
    separators.write(tmp_path / "b.safetensors", sources=["vocals", "drums"])
    with pytest.raises(EvalkitError, match=r"separates vocals, drums, not drums, bass, other, vocals$"):
        load(tmp_path / "b.safetensors")
    separators.write(tmp_path / "c.safetensors")
    whole = (tmp_path / "c.safetensors").read_bytes()
    for damaged in (whole[:-1000], b"", whole.replace(b"freq_emb.embedding", b"freq_emb.embeddinG")):
        (tmp_path / "c.safetensors").write_bytes(damaged)
        with pytest.raises(
            EvalkitError, match=r"^stems: '.*' cannot be loaded: delete it and get it again \([^\n]+\)$"
        ):
            load(tmp_path / "c.safetensors")
