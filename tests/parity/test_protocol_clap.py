"""CLAP under the protocols of other packages: other checkpoints, fusion, quantisation, peaks, windows.

laion_clap's own methods run on its own networks with evalkit's weights; frechet-audio-distance's CLAPScore runs
itself. What stable-audio-metrics (fd55536) and fadtk (ec74b1f) do before laion_clap is stated again here.
"""

from __future__ import annotations

import functools
from pathlib import Path
from unittest.mock import patch

import librosa
import numpy as np
import pytest
import soundfile
import torch

import evalkit
from evalkit import compat
from evalkit.assets import Asset
from evalkit.config import build, compose
from evalkit.encoders.clap import CLAPAudio, CLAPText, made_up_tokenizer, network_of
from evalkit.features.conditioning import condition, heard
from evalkit.models.folder import Folder
from evalkit.types import Prompt
from tests import music, parity

RATE = 48000
CAPTIONS = {"a": "A slow piano ballad with a sad mood.", "b": "Fast techno, with a heavy kick drum.", "c": "Noise"}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Quiet stereo files at 44.1 and 16 kHz, named as the captions."""
    folder = tmp_path_factory.mktemp("files")
    for name, kind, rate, seconds in (("a", "plain", 44100, 2.3), ("b", "pauses", 16000, 1.7)):
        left = music.sounds(rate, seconds, kind)[kind]
        soundfile.write(folder / f"{name}.wav", np.stack([left, 0.5 * left]).T * 0.2, rate, subtype="FLOAT")
    soundfile.write(folder / "c.wav", parity.noise(44100, 1.2), 44100, subtype="FLOAT")
    return folder


def encoders_of(protocol: str) -> tuple[CLAPAudio, CLAPText]:
    options = ["model=synth", "prompts=demo", f"protocol={protocol}", "metric=clap_score"]
    metric = build(compose([*options, f"random_weights={parity.SEED}"]).metric.clap_score)
    return metric.encoder, metric.text_encoder


def network(encoder: CLAPAudio):
    """laion_clap's own module on an encoder's weights, with a tokenizer in place of roberta-base's."""
    return original(encoder.architecture, encoder.fusion)


@functools.cache
def original(architecture: str, fusion: bool):
    module = compat.clap_module(architecture, fusion).eval()
    weights = parity.random_asset("CLAP weights")
    module.model.load_state_dict(network_of(weights, parity.cache(), "cpu", architecture, fusion).model.state_dict())
    module.tokenize = compat.roberta_tokenizer(made_up_tokenizer(parity.cache()))
    return module


def given(encoder: CLAPAudio, path: Path) -> np.ndarray:
    (clip,) = Folder(str(path.parent)).find([Prompt(path.stem, "")])
    return heard(condition(clip, None, None), encoder.hears)


def laion(module, samples: np.ndarray, tensor: bool = True) -> np.ndarray:
    """laion_clap's own method: (1, 512)."""
    with torch.inference_mode(), compat.quiet():
        if tensor:
            return module.get_audio_embedding_from_data(torch.from_numpy(samples)[None], use_tensor=True).numpy()
        return module.get_audio_embedding_from_data(samples[None], use_tensor=False)


def test_frechet_audio_distance_s_own_clap_score(files, tmp_path):
    audio_encoder, _ = encoders_of("frechet_audio_distance")
    assert (audio_encoder.architecture, audio_encoder.fusion) == ("HTSAT-tiny", False)
    compat.laion_clap()
    from frechet_audio_distance import CLAPScore, clap_score

    table = tmp_path / "captions.csv"
    table.write_text("id,caption\n" + "".join(f'{i},"{text}"\n' for i, text in CAPTIONS.items()))
    with patch.object(CLAPScore, "_CLAPScore__get_model", lambda self: None), compat.quiet():
        package = CLAPScore()
        package.model, package.device = network(audio_encoder), torch.device("cpu")
        # the package pairs captions with files in whatever order the folder lists them
        listing = sorted(path.name for path in files.iterdir())
        with patch.object(clap_score.os, "listdir", lambda _: listing), torch.no_grad():
            expected, _ = package.score(str(table), str(files))
    result = evalkit.evaluate(
        *("model=folder", f"model.folder.path={files}", "prompts=table", f"prompts.path={write_prompts(tmp_path)}"),
        *("protocol=frechet_audio_distance", "metric=clap_score", f"random_weights={parity.SEED}"),
        *("uncertainty.resamples=100", "engine.device=cpu", f"cache_dir={parity.cache().root}"),
        f"output_dir={tmp_path / 'runs'}",
    )
    (row,) = result.scores.to_dict("records")
    assert row["protocol"] == "frechet_audio_distance"
    parity.within(
        "CLAP score, protocol frechet_audio_distance",
        "frechet-audio-distance 0.3.4's CLAPScore.score() on the same files",
        "3 files",
        abs(row["value"] - expected),
        1e-5,
        "absolute",
    )


def write_prompts(folder: Path) -> Path:
    path = folder / "prompts.csv"
    path.write_text("id,text\n" + "".join(f'{i},"{text}"\n' for i, text in CAPTIONS.items()))
    return path


def test_quantised_embeddings_are_laion_clap_s():
    encoder = CLAPAudio(parity.random_asset("CLAP weights"), architecture="HTSAT-tiny", quantise=True)
    encode = encoder.load(parity.cache(), "cpu")
    for name, clip in {
        **music.sounds(RATE, 1.5, "plain", "hot", "very quiet", "off centre", "bach.mp3", start=1),
        "over full scale": parity.noise(RATE, 1.0, level=0.7),
    }.items():
        theirs = laion(network(encoder), clip, tensor=False)  # which quantises
        error = float(np.abs(encode([clip])[0] - theirs).max())
        parity.within("CLAP: audio, quantised", "laion_clap 1.1.7 with arrays", name, error, 1e-5, "absolute")
        steps = (np.clip(clip, -1, 1) * 32767.0).astype(np.int16)
        np.testing.assert_array_equal(encoder.windows(clip)[0], (steps / 32767.0).astype(np.float32))


@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.2, 10.0, 12.5])
def test_fadtk_s_windows(seconds):
    """CLAPLaionModel._get_embedding: 10-second chunks every second, filled up with zeros."""
    encoder, _ = encoders_of("fadtk")
    audio = parity.noise(RATE, seconds, level=0.4)
    steps = (np.clip(audio, -1.0, 1.0) * 32767.0).astype(np.int16)
    quantised = (steps / 32767.0).astype(np.float32)
    chunks = [quantised[i : i + 10 * RATE] for i in range(0, len(quantised), RATE)]
    ours = encoder.windows(audio)
    assert len(ours) == len(chunks)
    for window, chunk in zip(ours, chunks, strict=True):
        np.testing.assert_array_equal(window, np.pad(chunk, (0, 10 * RATE - len(chunk))))


def test_windows_give_an_embedding_each():
    encoder = CLAPAudio(parity.random_asset("CLAP weights"), architecture="HTSAT-tiny", hop=1.0)
    clips = [parity.noise(RATE, 2.5), parity.sine(RATE, 1.0)]
    ours = encoder.load(parity.cache(), "cpu")(clips)
    assert [x.shape for x in ours] == [(3, 512), (1, 512)]
    for window, embedding in zip(encoder.windows(clips[0]), ours[0], strict=True):
        np.testing.assert_allclose(embedding, laion(network(encoder), window)[0], atol=1e-5)


@pytest.mark.slow  # it writes and reads 600 MB
def test_a_published_file_of_another_architecture_is_one_line(tmp_path):
    """A file in the published layout gives the same network; one without fusion is not taken for one with it."""
    encoder = CLAPAudio(parity.random_asset("CLAP weights"), architecture="HTSAT-tiny")
    path = tmp_path / "630k-audioset-best.pt"
    torch.save(
        {"epoch": 1, "state_dict": {f"module.{k}": v for k, v in network(encoder).model.state_dict().items()}}, path
    )
    asset = Asset(name="CLAP weights", path=str(path))
    again = CLAPAudio(asset, architecture="HTSAT-tiny").load(parity.cache(), "cpu")
    clip = parity.noise(RATE, 1.0)
    np.testing.assert_allclose(again([clip])[0], encoder.load(parity.cache(), "cpu")([clip])[0], atol=1e-6)
    with pytest.raises(evalkit.errors.EvalkitError, match="does not fit the network"):
        CLAPAudio(asset, architecture="HTSAT-tiny", fusion=True).load(parity.cache(), "cpu")


def test_stable_audio_s_clap_score(files):
    audio_encoder, text_encoder = encoders_of("stable_audio")
    module = network(audio_encoder)
    assert module.enable_fusion
    audio, text = (e.load(parity.cache(), "cpu") for e in (audio_encoder, text_encoder))
    for name, caption in CAPTIONS.items():
        samples, _ = librosa.load(files / f"{name}.wav", sr=RATE, mono=True)
        samples = 10 ** (-1 / 20) / np.max(np.abs(samples)) * samples  # pyloudnorm.normalize.peak(audio, -1.0)
        steps = (np.clip(samples, -1.0, 1.0) * 32767.0).astype(np.int16)
        theirs = laion(module, (steps / 32767.0).astype(np.float32))
        (ours,) = audio([given(audio_encoder, files / f"{name}.wav")])
        error = float(np.abs(ours - theirs).max())
        parity.within(
            "CLAP: audio, protocol stable_audio", "stable-audio-metrics, restated", name, error, 1e-5, "absolute"
        )
        with torch.inference_mode(), compat.quiet():
            theirs = module.get_text_embedding([caption], use_tensor=True).numpy()
        error = float(np.abs(text([caption])[0] - theirs).max())
        parity.within("CLAP: text, protocol stable_audio", "laion_clap 1.1.7", name, error, 1e-5, "absolute")


def test_fusion_of_long_clips():
    """Where laion_clap draws, evalkit takes the first possible part of each third; else they are the same."""
    encoder = CLAPAudio(parity.random_asset("CLAP weights"), architecture="HTSAT-tiny", fusion=True)
    module, encode = network(encoder), encoder.load(parity.cache(), "cpu")
    piece = music.sounds(RATE, 13, "bursts")["bursts"]
    clips = {
        "2 s": piece[: 2 * RATE],
        "10 s": piece[: 10 * RATE],
        "one sample over": piece[: 10 * RATE + 1],
        "11 s": piece[: 11 * RATE],
        "13 s": piece,
    }
    together = encode(list(clips.values()))  # long and short ones in one batch
    state = np.random.get_state(legacy=False)
    for (name, clip), ours in zip(clips.items(), together, strict=True):
        with patch.object(np.random, "choice", lambda starts: starts[0]):
            error = float(np.abs(ours - laion(module, clip)).max())
        parity.within("CLAP: audio with fusion", "laion_clap 1.1.7, first of each third", name, error, 1e-5, "absolute")
    np.random.set_state(state)
    drawn = [laion(module, clips["13 s"]) for _ in range(2)]
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-6  # the package alone gives no number twice
    np.testing.assert_array_equal(encode([clips["13 s"]])[0], encode([clips["13 s"]])[0])
