"""Each network runs once for a content, and what an encoder does wrong is one line that names it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from evalkit.assets import Asset
from evalkit.encoders import Encoder, Headed, Input, Reads
from evalkit.encoders import panns as panns_module
from evalkit.encoders import passt as passt_module
from evalkit.encoders.panns import PANNs
from evalkit.encoders.passt import PaSST
from evalkit.encoders.passt_embedding import PaSSTEmbedding
from evalkit.features.extractor import Extractor
from evalkit.store.cache import Cache
from evalkit.types import Clip, Features, Prompt
from tests.features.test_extractor import RATE, Lengths, Levels, tone, write


def extract(
    extractor: Extractor, clips: list[Clip], *encoders: Any, loudness: float | None = None
) -> tuple[list[Features | None], list[Clip]]:
    keyed = {extractor.key(encoder): encoder for encoder in encoders}
    features, checked = extractor.clips(clips, keyed, loudness=loudness, refuse_silence=False, title="x")
    return [features.get(key) for key in keyed], checked


def test_a_content_is_encoded_once_for_all_clips_that_have_it(tmp_path: Path) -> None:
    Levels.calls.clear()
    sound, other = write(tmp_path / "a.wav", tone()), write(tmp_path / "b.wav", tone(1.5))
    clips = [dataclasses.replace(sound, id=f"link {i}") for i in range(150)] + [other]
    clips += [dataclasses.replace(sound, id="beginning", seconds=1.0)]
    extractor = Extractor(Cache(tmp_path / "cache"), "cpu", 16, RATE)
    for _ in range(2):  # the second time from the cache
        (features,), checked = extract(extractor, clips, Levels())
        assert features is not None and features.ids == tuple(clip.id for clip in clips)
        assert [value[0, 0] for value in features.values] == [64000] * 150 + [48000, 32000]
        assert all(clip.ok for clip in checked)
        assert sum(Levels.calls) == 3


def test_a_content_that_cannot_be_read_is_so_for_all_clips_that_have_it(tmp_path: Path) -> None:
    good = write(tmp_path / "good.wav", tone())
    bad = write(tmp_path / "bad.wav", np.full((2, 64000), np.nan, np.float32), subtype="FLOAT")
    clips = [dataclasses.replace(bad, id="x"), good, dataclasses.replace(bad, id="y")]
    (features,), checked = extract(Extractor(Cache(tmp_path / "cache"), "cpu", 2, RATE), clips, Levels())
    assert features is not None and features.ids == ("good",)
    assert [clip.status for clip in checked] == ["unreadable", "ok", "unreadable"]


def test_a_caption_is_encoded_once(tmp_path: Path) -> None:
    Lengths.calls.clear()
    extractor, encoder = Extractor(Cache(tmp_path), "cpu", 4, RATE), Lengths()
    features = extractor.captions([Prompt(str(i), "xy" * (1 + i % 3)) for i in range(30)], encoder, "key")
    assert [v.item() for v in features.values] == [2, 4, 6] * 10
    assert Lengths.calls == [3]


def counted(network: Any, passes: list[int]) -> Any:
    network.register_forward_hook(lambda module, given, _: passes.append(len(given[0])))
    return network


@pytest.mark.parametrize("name", ["passt", "panns"])
def test_encoders_on_one_network_run_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    weights = Asset("weights", random_seed=0)
    module: Any = {"passt": passt_module, "panns": panns_module}[name]
    choices: dict[str, list[Any]] = {
        "passt": [PaSST(weights), PaSST(weights, activation="sigmoid"), PaSSTEmbedding(PaSST(weights))],
        "panns": [PANNs(weights), PANNs(weights, activation="sigmoid")],
    }
    encoders = choices[name]
    original, passes = module.network_of, list[int]()
    monkeypatch.setattr(module, "network_of", lambda *args: counted(original(*args), passes))
    clips = [write(tmp_path / f"{i}.wav", tone(1 + i / 10)) for i in range(3)]
    together, _ = extract(Extractor(Cache(tmp_path / "cache"), "cpu", 2, RATE), clips, *encoders)
    assert sum(passes) == 3
    for encoder, features in zip(encoders, together, strict=True):
        (alone,), _ = extract(
            Extractor(Cache(tmp_path / encoder.kind / str(id(encoder))), "cpu", 2, RATE), clips, encoder
        )
        assert alone is not None and features is not None
        for a, b in zip(alone.values, features.values, strict=True):
            np.testing.assert_array_equal(a, b)
    # one that is new finds the others' features in the cache, and runs the network for itself alone
    passes.clear()
    extract(Extractor(Cache(tmp_path / "cache"), "cpu", 2, RATE), clips, *encoders)
    assert passes == []


def test_another_front_end_or_other_weights_are_another_trunk() -> None:
    weights = Asset("weights", random_seed=0)
    first = PaSST(weights)
    assert isinstance(first, Headed) and not isinstance(Levels(), Headed)
    assert PaSST(weights, aggregate="mean", activation="sigmoid").trunk == first.trunk
    assert PaSSTEmbedding(first).trunk == first.trunk
    for other in (
        PaSST(weights, segment=10.0),
        PaSST(Asset("weights", random_seed=1)),
        PaSST(weights, channels="side"),
    ):
        assert other.trunk != first.trunk


def test_what_a_network_gives_at_once_is_what_it_gives_one_by_one() -> None:
    """hear21passt's modes "logits" and "embed_only" are parts of its mode "all"."""
    network = passt_module.network_of(Asset("weights", random_seed=0), Cache(None))
    network.eval()
    sound = torch.from_numpy(tone(1.3)[:1])
    with torch.inference_mode():
        outputs = {}
        for mode in ("logits", "embed_only", "all"):
            network.mode = mode
            outputs[mode] = network(sound)
    torch.testing.assert_close(torch.cat([outputs["logits"], outputs["embed_only"]], 1), outputs["all"], rtol=0, atol=0)


Answer = Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Faulty:
    """An encoder that answers as a test says."""

    answer: str
    kind: ClassVar[str] = "faulty"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    reads: ClassVar[Reads] = "audio"
    hears: ClassVar[Input] = Input(RATE)

    def load(self, cache: Cache, device: str) -> Any:
        if self.answer == "load":
            raise FileNotFoundError("no such vocabulary")
        return ANSWERS[self.answer]


def row(n: int = 1, size: int = 3, dtype: Any = np.float32) -> np.ndarray:
    return np.ones((n, size), dtype)


ANSWERS: dict[str, Any] = {
    "count": lambda clips: [row() for _ in clips[1:]],
    "array": lambda clips: np.ones((len(clips), 1, 3), np.float32),
    "tensor": lambda clips: [torch.ones(1, 3) for _ in clips],
    "double": lambda clips: [row(dtype=np.float64) for _ in clips],
    "flat": lambda clips: [np.ones(3, np.float32) for _ in clips],
    "no dimensions": lambda clips: [row(size=0) for _ in clips],
    "dimensions": lambda clips: [row(size=1 + i) for i, _ in enumerate(clips)],
    "lengths": lambda clips: [row(size=len(clip)) for clip in clips],
    "nan": lambda clips: [np.full((1, 3), np.nan, np.float32) for _ in clips],
    "raises": lambda clips: 1 / 0,
    "nothing": lambda clips: None,
    "no function": 3,
}
SAID = {
    "load": "FileNotFoundError: no such vocabulary (the traceback is in run.log)",
    "count": "1 arrays for 2 items",
    "array": "gave ndarray, not a list of arrays",
    "tensor": "gave Tensor for 'a', not an array of numpy",
    "double": "gave float64 for 'a': features are float32",
    "flat": "an array (3,) for 'a': features are (frames, dimensions)",
    "no dimensions": "an array (1, 0) for 'a'",
    "dimensions": "2 dimensions for 'b' and 1 for others",
    "lengths": "48000 dimensions for 'c' and 64000 for others",
    "nan": "NaN or infinity for 'a'",
    "raises": "ZeroDivisionError: division by zero (the traceback is in run.log)",
    "nothing": "gave NoneType, not a list",
    "no function": "load gave int, not a function from items to features",
}


@pytest.mark.parametrize("answer", SAID)
def test_an_encoder_that_fails_is_named_and_the_others_go_on(tmp_path: Path, answer: str) -> None:
    lengths = [1.5, 1.5, 1.5] if answer != "lengths" else [2.0, 2.0, 1.5]
    clips = [
        write(tmp_path / f"{i}.wav", tone(s, level=0.1 * k))
        for k, (i, s) in enumerate(zip("abc", lengths, strict=True), 1)
    ]
    cache = Cache(tmp_path / "cache")
    extractor = Extractor(cache, "cpu", 2, RATE)
    encoder: Encoder = Faulty(answer)
    (features, fine), checked = extract(extractor, clips, encoder, Levels())
    assert features is None and fine is not None and len(fine.ids) == 3
    assert all(clip.ok for clip in checked)
    (said,) = extractor.broken.values()
    assert SAID[answer] in said and "\n" not in said
    assert said.startswith("encoder faulty (tests.features.test_encoding.Faulty)")
    kept = list(extractor.collection(encoder).folder.rglob("*.entry"))
    assert kept == [] or answer == "lengths"  # whose first batch was fine
    assert extract(extractor, clips, encoder)[0] == [None]  # and it is not asked again


def test_a_cached_feature_tells_how_many_dimensions_all_have(tmp_path: Path) -> None:
    clips = [write(tmp_path / "a.wav", tone(2.0)), write(tmp_path / "b.wav", tone(1.5))]
    assert extract(Extractor(Cache(tmp_path / "cache"), "cpu", 2, RATE), clips[:1], Faulty("lengths"))[0] != [None]
    extractor = Extractor(Cache(tmp_path / "cache"), "cpu", 2, RATE)
    assert extract(extractor, clips, Faulty("lengths"))[0] == [None]
    assert "48000 dimensions for 'b' and 64000 for others" in next(iter(extractor.broken.values()))
