"""What a clip's features must not depend on: batch size, order, neighbours, number of threads, and the cache.

On a CPU that holds to the last bit: each clip goes through a network alone, on one thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from evalkit.batching import Room, in_batches, on_threads
from evalkit.encoders import Encoder
from evalkit.encoders.chroma import Chroma
from evalkit.encoders.clap import CLAPAudio, CLAPText
from evalkit.encoders.passt import PaSST
from evalkit.encoders.vggish import VGGish
from evalkit.features.extractor import Extractor
from evalkit.store.cache import Cache
from evalkit.store.digests import sha256_file
from evalkit.types import Clip, Features, Prompt
from tests import parity

ENCODERS: dict[str, Encoder] = {
    "vggish": VGGish(parity.random_asset("VGGish weights")),
    "passt": PaSST(parity.random_asset("PaSST weights")),
    "clap": CLAPAudio(parity.random_asset("CLAP weights")),
    "chroma": Chroma(),
}
CAPTIONS = CLAPText(parity.random_asset("CLAP weights"), tokenizer=parity.random_asset("RoBERTa tokenizer"))


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Clips of several rates, lengths and channels, two of them of one length."""
    folder = tmp_path_factory.mktemp("clips")
    found = []
    for i, (rate, seconds, channels) in enumerate([(32000, 1.2, 2), (44100, 1.0, 1), (32000, 1.2, 1), (48000, 2.1, 2)]):
        rng = np.random.default_rng(i)
        time = np.arange(round(rate * seconds)) / rate
        sound = 0.3 * np.sin(2 * np.pi * (200 + 150 * i) * time)[:, None] + rng.normal(0, 0.1, (len(time), channels))
        path = folder / f"{i}.wav"
        soundfile.write(path, sound, rate)
        clip = Clip(str(i), path, sha256=sha256_file(path), frames=len(time), sample_rate=rate, channels=channels)
        found.append(clip)
    return found


@pytest.fixture(scope="module")
def loaded() -> dict:
    """The networks, which all extractors below share."""
    return {}


def extract(folder: Path, clips: list[Clip], loaded: dict, batch_size: int) -> dict[str, Features]:
    extractor = Extractor(Cache(folder), "cpu", batch_size, 32000, networks=loaded)
    keys = {name: extractor.key(encoder) for name, encoder in ENCODERS.items()}
    features, checked = extractor.clips(
        clips, {keys[n]: e for n, e in ENCODERS.items()}, loudness=-14.0, refuse_silence=False, title="test"
    )
    assert all(clip.ok for clip in checked)
    return {name: features[key] for name, key in keys.items()}


def assert_equal(first: dict[str, Features], second: dict[str, Features]) -> None:
    for name, features in first.items():
        same = second[name].select(features.ids)
        for i, a, b in zip(features.ids, features.values, same.values, strict=True):
            assert a.size, (name, i)
            np.testing.assert_array_equal(a, b, err_msg=f"{name}, clip {i}")


def test_batches_order_threads_neighbours_and_cache_change_no_bit(
    tmp_path, clips, loaded, threads, monkeypatch
) -> None:
    torch.set_num_threads(1)
    first = extract(tmp_path / "first", clips, loaded, batch_size=1)
    assert_equal(first, extract(tmp_path / "first", clips, loaded, batch_size=1))  # all of it cached
    extract(tmp_path / "second", clips[1:2], loaded, batch_size=1)  # a run that did not get far
    torch.set_num_threads(3)
    assert_equal(first, extract(tmp_path / "second", clips[::-1], loaded, batch_size=3))
    monkeypatch.setattr("evalkit.features.extractor.on_gpu", lambda device: True)  # encoders run side by side
    assert_equal(first, extract(tmp_path / "third", clips, loaded, batch_size=1))
    for features in first.values():  # and no two clips are the same, which all of this would hide
        for a, b in itertools.combinations(features.values, 2):
            assert a.shape != b.shape or not np.array_equal(a, b)


def test_neighbours_order_and_threads_change_no_bit_of_captions(tmp_path, threads) -> None:
    prompts = [Prompt(str(i), text) for i, text in enumerate(["a slow piano", "drums", "a loud solo of a horn"])]
    torch.set_num_threads(1)
    first = Extractor(Cache(tmp_path / "first"), "cpu", 1, None).captions(prompts, CAPTIONS, "key")
    torch.set_num_threads(2)
    second = Extractor(Cache(tmp_path / "second"), "cpu", 3, None).captions(prompts[::-1], CAPTIONS, "key")
    assert_equal({"text": first}, {"text": second})


def test_on_threads_keeps_the_order_and_leaves_torch_as_it_was(threads) -> None:
    torch.set_num_threads(3)
    assert on_threads(lambda x: (x, torch.get_num_threads()), range(7)) == [(i, 1) for i in range(7)]
    assert torch.get_num_threads() == 3
    with pytest.raises(ZeroDivisionError):
        on_threads(lambda x: 1 / x, [1, 0, 2])
    assert torch.get_num_threads() == 3
    assert on_threads(lambda _: torch.get_num_threads(), [0]) == [1]


def test_in_batches_puts_only_equal_lengths_together_and_on_a_cpu_none() -> None:
    sizes = []

    def sums(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(batch.shape)
        return batch.sum(1, keepdim=True)

    clips = [np.full(n, n, np.float32) for n in (3, 2, 3, 3)]
    assert [row.item() for row in in_batches(sums, clips, "cpu", Room(6))] == [9, 4, 9, 9]
    assert sorted(sizes) == [(1, 2), (1, 3), (1, 3), (1, 3)]
    assert in_batches(sums, [], "cpu", Room(6)) == []
