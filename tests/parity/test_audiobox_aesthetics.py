"""Audiobox Aesthetics against its package: windows, hidden states, scores, and files through its AesPredictor.

With the whole network, and with a small one of the same kind that takes little time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
import torch

import evalkit
from evalkit import compat
from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.encoders import audiobox_aesthetics as ours
from evalkit.encoders.audiobox_aesthetics import AXES, AudioboxAesthetics, windows
from evalkit.precision import fixed_precision
from tests import music, parity
from tests.small_audiobox import make_small

ORIGINAL = "audiobox-aesthetics 0.0.4"
SCALE = {axis: {"mean": 4.5 + k / 3, "std": 1.5 + k / 7} for k, axis in enumerate(AXES)}
NAMES = {
    "CE": "content_enjoyment",
    "CU": "content_usefulness",
    "PC": "production_complexity",
    "PQ": "production_quality",
}


class Published(NamedTuple):
    """One checkpoint in both published layouts, the package's predictor, which has loaded the older one, and music."""

    folder: Path
    checkpoint: Path
    predictor: Any
    kinds: tuple[str, ...]


@pytest.fixture(scope="module", params=["small", pytest.param("whole", marks=pytest.mark.slow)])
def published(request: pytest.FixtureRequest) -> Iterator[Published]:
    compat.prepare()
    from audiobox_aesthetics import infer
    from audiobox_aesthetics.model import aes

    place = parity.folder() / f"audiobox_aesthetics-{request.param}"
    place.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "small":
            make_small(patch)
        patch.setattr(infer.torchaudio, "load", load)  # the package's own needs torchcodec
        with compat.quiet():
            options = {**ours.SHAPE, "proj_dropout": 0, "precision": "bf16", "target_transform": SCALE}
            network = aes.AesMultiOutput(**options)
            network.load_state_dict(ours.network_of(parity.random_asset("weights"), parity.cache()).state_dict())
            network.save_pretrained(place / "folder")
            rest = ("nth_layer", "proj_act_fn", "use_weighted_layer_sum", "normalize_embed", "output_dim")
            state = {f"model.{key}": value for key, value in network.state_dict().items()}
            model_cfg = {**options, **{name: getattr(network, name) for name in rest}, "lr": 1e-4}
            del model_cfg["target_transform"]
            found = {"state_dict": state, "model_cfg": model_cfg, "target_transform": SCALE}
            torch.save(found, place / "checkpoint.pt")
            predictor = infer.AesPredictor(str(place / "checkpoint.pt"))
        kinds = ("hot", "pauses", "very quiet") if request.param == "small" else ("bursts", "left only", "low", "quiet")
        yield Published(place / "folder", place / "checkpoint.pt", predictor, kinds)


def load(path: str) -> tuple[torch.Tensor, int]:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(np.ascontiguousarray(samples.T)), rate


def sounds(*kinds: str) -> dict[str, np.ndarray]:
    """Clips at 16 kHz: of one to three windows, shorter than a frame, silent, and music of some kinds."""
    long = {
        "noise, 10 s": parity.noise(16000, 10),
        "30 s": np.tile(music.sounds(16000, 10.7, "wide")["wide"], 3)[:480000],
    }
    ends = {f"noise, {n} samples": parity.noise(16000, 10)[:n] for n in (320, 321, 159_680, 159_681)}
    short = {"one sample": parity.sine(16000, 1)[5:6], "silence": parity.silence(16000, 1)}
    return {**music.sounds(16000, 4.1, *kinds), **long, **ends, **short}


def encode(asset: Asset, clips: list[np.ndarray]) -> list[np.ndarray]:
    return AudioboxAesthetics(asset).load(parity.cache(), "cpu")([Audio(clip[None], 16000) for clip in clips])


def test_windows_and_their_weights_are_the_original_s() -> None:
    compat.prepare()
    from audiobox_aesthetics.infer import make_inference_batch

    for samples in (1, 159_999, 160_000, 160_001, 480_000, 500_123):
        clip = parity.noise(16000, 32)[:samples]
        found = windows(Audio(clip[None], 16000))
        waves, masks, weights, _ = make_inference_batch([torch.from_numpy(clip)[None]])
        assert [len(part) / ours.WINDOW for part in found] == weights
        for part, wave, mask in zip(found, waves, masks, strict=True):
            error = parity.difference(part, wave[mask].numpy())
            parity.within("Audiobox Aesthetics: windows", ORIGINAL, f"{samples} samples", error, 0.0)


def test_hidden_states_are_the_original_s(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = music.sounds(16000, 7.2, "bursts")["bursts"]
    seen: list[Any] = []
    network = ours.network_of(Asset("weights", path=str(published.folder)), parity.cache())
    monkeypatch.setattr(ours, "network_of", lambda *_: network)
    network.wavlm_model.encoder.register_forward_hook(lambda *of: seen.append([state for state, _ in of[2][1]]))
    encode(Asset("weights", path=str(published.folder)), [clip])
    from audiobox_aesthetics.infer import make_inference_batch

    (wave,), (mask,), _, _ = make_inference_batch([torch.from_numpy(clip)[None]])
    with torch.inference_mode(), fixed_precision(), compat.quiet():
        wavlm = published.predictor.model.wavlm_model
        (_, theirs), _ = wavlm.extract_features(wave, ~mask, output_layer=len(seen[0]), ret_layer_results=True)
    for layer, (one, (other, _)) in enumerate(zip(seen[0], theirs, strict=True)):
        error = parity.difference(one.numpy(), other[: len(one)].numpy())  # zeros that follow are not computed
        parity.within("Audiobox Aesthetics: hidden states", ORIGINAL, f"layer {layer}", error, 1e-5)


def test_scores_are_the_original_s(published: Published) -> None:
    clips = sounds(*published.kinds)
    state = np.random.get_state(legacy=False)["state"]["key"].copy()
    found = encode(Asset("weights", path=str(published.folder)), list(clips.values()))
    assert (np.random.get_state(legacy=False)["state"]["key"] == state).all()
    for (name, clip), scores in zip(clips.items(), found, strict=True):
        assert scores.shape == (1, 4) and scores.dtype == np.float32
        with compat.quiet():  # one at a time: the original's numbers move in their last digits with a clip's neighbours
            (theirs,) = published.predictor.forward([{"path": torch.from_numpy(clip)[None], "sample_rate": 16000}])
        error = np.abs(scores[0] - [theirs[axis] for axis in AXES]).max()
        parity.within("Audiobox Aesthetics: scores", f"{ORIGINAL}'s AesPredictor", name, error, 5e-5, "absolute")
    together = np.concatenate(found)
    assert (together.std(axis=0) > 0.1).all()  # random weights tell sounds apart
    (again,) = encode(Asset("weights", path=str(published.checkpoint)), [clips["silence"]])
    np.testing.assert_array_equal(again, found[list(clips).index("silence")])


def test_files_have_the_original_s_scores_whatever_the_protocol_does(published: Published, tmp_path: Path) -> None:
    """Some lie beyond full scale, and none is at the loudness that the protocol prescribes."""
    (tmp_path / "clips").mkdir()
    kinds = [("over full scale", 44100, 2), ("quiet", 32000, 2), ("hot", 16000, 1)]
    for kind, rate, channels in kinds:
        samples = music.rendered(kind, rate, 2.2)[:channels]
        soundfile.write(tmp_path / "clips" / f"{kind}.wav", samples.T, rate, subtype="FLOAT")
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("id,text\n" + "".join(f"{kind},a sound\n" for kind, _, _ in kinds))
    result = evalkit.evaluate(
        *("model=folder", f"model.folder.path={tmp_path / 'clips'}", "prompts=table", f"prompts.path={prompts}"),
        *("metric=audiobox_aesthetics", f"metric.production_quality.encoder.weights.path={published.folder}"),
        *(f"random_weights={parity.SEED}", "uncertainty.resamples=100", "engine.device=cpu"),
        *(f"cache_dir={parity.folder() / 'cache'}", f"output_dir={tmp_path / 'runs'}"),
        quiet=True,
    )
    clips = result.clips.set_index("id")
    for kind, _, _ in kinds:
        with compat.quiet():
            (theirs,) = published.predictor.forward([{"path": str(tmp_path / "clips" / f"{kind}.wav")}])
        error = max(abs(clips.loc[kind, NAMES[axis]] - theirs[axis]) for axis in AXES)
        parity.within("Audiobox Aesthetics: files", f"{ORIGINAL}'s AesPredictor", kind, error, 5e-5, "absolute")
