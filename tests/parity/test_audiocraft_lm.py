"""audiocraft's checkpoints in transformers' modules, against what audiocraft's own models compute with them.

`make_audiocraft_lm_fixtures.py` has made the checkpoints, with audiocraft, and recorded the values. Each caption is by
itself: audiocraft does not mask the padding of text in a batch, so there a clip depends on the longest caption of its
batch, and transformers' does not.
"""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.commands.convert import convert
from evalkit.decoding.pattern import delays_of, sequence
from evalkit.models.audiocraft import Audiocraft
from evalkit.models.musicgen import MusicGen
from evalkit.settings import Sampling
from evalkit.types import Prompt
from tests import parity
from tests.decoding.reference import Reference
from tests.engines import CPU
from tests.parity import make_audiocraft_lm_fixtures as recorded

FIXTURES, KINDS = recorded.FIXTURES, recorded.KINDS
VALUES = dict(np.load(FIXTURES / "values.npz"))
ORIGINAL = f"audiocraft {json.loads((FIXTURES / 'versions.json').read_text())['audiocraft']}"
DURATION = recorded.FRAMES * recorded.HOP / recorded.RATE


def checkpoint(kind: str) -> Audiocraft:
    """A checkpoint as evalkit opens it; that of mono has the codec of all."""
    return Audiocraft(
        path=str(FIXTURES / kind),
        text_encoder=Asset("tiny T5", path=str(FIXTURES / "t5")),
        encodec=Asset("tiny EnCodec", path=str(FIXTURES / "mono" / "compression_state_dict.bin")),
    )


@cache
def parts(kind: str) -> Any:
    return checkpoint(kind).parts(parity.cache())


@pytest.fixture(scope="module")
def melody_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("melody") / "melody.wav"
    soundfile.write(path, recorded.melody(), recorded.RATE, subtype="FLOAT")
    return path


def prompt(kind: str, case: int, melody: Path) -> Prompt:
    return Prompt(str(case), recorded.CAPTIONS[case], melody=melody if kind == "melody" and case == 0 else None)


def logits_of(kind: str, caption: str, codes: torch.Tensor, melody: np.ndarray | None = None) -> np.ndarray:
    """evalkit's logits (codebooks, frames, codes) of given codes (1, codebooks, frames)."""
    network = parts(kind).network
    delays = delays_of(network.config.decoder)
    laid = sequence(codes, delays, network.config.decoder.vocab_size)[..., :-1]
    text = parts(kind).tokenizer(caption, return_tensors="pt")
    extra = {}
    if kind == "melody":
        chroma = torch.zeros(1, 1, 12)
        chroma[..., 0] = 1  # what audiocraft gives where there is no melody
        if melody is not None:
            chroma = parts(kind).features(melody, sampling_rate=recorded.RATE, return_tensors="pt").input_features
        extra = {"input_features": chroma}
    with torch.inference_mode():
        logits = network(**text, **extra, decoder_input_ids=laid.flatten(0, 1)).logits[:, -laid.shape[2] :]
    return np.stack([logits[k, d : d + codes.shape[2]].numpy() for k, d in enumerate(delays)])


@pytest.mark.parametrize("case", range(len(recorded.CAPTIONS)))
@pytest.mark.parametrize("kind", KINDS)
def test_logits(kind: str, case: int) -> None:
    codes = torch.from_numpy(VALUES[f"{kind}/{case}/codes"].astype(np.int64))
    ours = logits_of(kind, recorded.CAPTIONS[case], codes, recorded.melody() if case == 0 else None)
    theirs = VALUES[f"{kind}/{case}/logits"][0]
    assert theirs.std() > 0.5
    parity.within(
        "MusicGen's language model: logits", ORIGINAL, f"{kind} {case}", parity.difference(ours, theirs), 1e-5
    )


FAR_TOLERANCE = {300: 1e-4, 1500: 5e-4}


def audiocraft_positions(count: int, dim: int) -> torch.Tensor:
    """audiocraft's create_sin_embedding: (count, dim)."""
    exponent = torch.arange(dim // 2, dtype=torch.float32)[None] / (dim // 2 - 1)
    phase = torch.arange(count, dtype=torch.float32)[:, None] / (torch.full([], 10000.0) ** exponent)
    return torch.cat([torch.cos(phase), torch.sin(phase)], dim=-1)


@pytest.mark.parametrize("frames", recorded.FAR)
@pytest.mark.parametrize("kind", KINDS)
def test_logits_far_into_a_clip(kind: str, frames: int) -> None:
    """Both compute the table of positions in float32, in another order, so that its phases differ as they grow."""
    theirs = VALUES[f"{kind}/far {frames}"][0]
    codes = torch.from_numpy(recorded.far_codes(len(theirs)))[..., :frames]
    positions = parts(kind).network.get_submodule("decoder.model.decoder.embed_positions")
    own = positions.weights

    def compare(stage: str, tolerance: float) -> None:
        ours = logits_of(kind, recorded.CAPTIONS[0], codes)[:, -recorded.FRAMES :]
        parity.within(stage, ORIGINAL, f"{kind}, {frames} frames", parity.difference(ours, theirs), tolerance)

    stage = "MusicGen's language model: logits far into a clip"
    compare(f"{stage}, {frames / 50:g} s", FAR_TOLERANCE[frames])
    positions.weights = audiocraft_positions(*own.shape)
    try:
        compare(f"{stage}, its table of positions", 1e-5)
    finally:
        positions.weights = own


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("kind", KINDS)
def test_greedy_tokens(kind: str, scale: float, melody_file: Path) -> None:
    model = checkpoint(kind).load(parity.cache(), CPU)
    sampling = Sampling(duration=DURATION, temperature=1e-6, guidance_scale=scale)
    theirs = [VALUES[f"{kind}/{i}/greedy {scale:g}"][0] for i in range(len(recorded.CAPTIONS))]
    assert (theirs[0] != theirs[1]).any()
    for i, tokens in enumerate(theirs):
        (codes,) = model.codes([prompt(kind, i, melody_file)], sampling, 1)
        np.testing.assert_array_equal(codes, tokens)


@pytest.mark.parametrize("kind", ["mono", "stereo", "melody"])
def test_greedy_tokens_of_transformers_own_loop(kind: str, melody_file: Path) -> None:
    model = Reference(checkpoint(kind).load(parity.cache(), CPU))
    sampling = Sampling(duration=DURATION, temperature=1e-6)
    for i in range(len(recorded.CAPTIONS)):
        (codes,) = model.codes([prompt(kind, i, melody_file)], sampling, 1)
        np.testing.assert_array_equal(codes, VALUES[f"{kind}/{i}/greedy 3"][0])


@pytest.mark.parametrize("kind", KINDS)
def test_windows_of_a_long_clip(kind: str, melody_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips longer than those of the training, from nothing and from given codes, as audiocraft extends them."""
    model = checkpoint(kind).load(parity.cache(), CPU)
    assert model.window == recorded.SECONDS
    sampling = Sampling(duration=recorded.LONG, extend_stride=recorded.STRIDE, temperature=1e-6)
    (codes,) = model.codes([prompt(kind, 0, melody_file)], sampling, 1)
    np.testing.assert_array_equal(codes, VALUES[f"{kind}/windows"][0])
    monkeypatch.setattr(model, "_given", lambda _: VALUES[f"{kind}/given"][0].astype(np.int16))
    (codes,) = model.codes([prompt(kind, 0, melody_file)], sampling, 1)
    np.testing.assert_array_equal(codes, VALUES[f"{kind}/continued"][0])


def test_guidance_and_delays_matter() -> None:
    for kind in KINDS:
        assert (VALUES[f"{kind}/0/greedy 1"] != VALUES[f"{kind}/0/greedy 3"]).any()
    assert delays_of(parts("delays").network.config.decoder) == recorded.DELAYS
    assert not hasattr(parts("mono").network.config.decoder, "codebook_delays")


def test_chromagram() -> None:
    features = parts("melody").features(recorded.melody(), sampling_rate=recorded.RATE, return_tensors="np")
    theirs = VALUES["melody/chroma"][0]
    assert len(set(theirs.tolist())) > 1
    np.testing.assert_array_equal(features.input_features[0].argmax(-1), theirs)
    assert parts("melody").network.config.chroma_length == 1 + recorded.SECONDS * recorded.RATE // 1024


@pytest.mark.parametrize("kind", recorded.CODECS)
def test_codec(kind: str) -> None:
    asset = Asset("tiny EnCodec", path=str(recorded.CODECS[kind] / "compression_state_dict.bin"))
    for clip, model in (("", checkpoint("delays")), ("stereo ", checkpoint("stereo"))):
        codec = dataclasses.replace(model, encodec=asset).load(parity.cache(), CPU).codec
        ours = codec.decode(list(VALUES[f"{kind}/{clip}codes"].astype(np.int16)))[0].samples
        theirs = VALUES[f"{kind}/{clip}decoded"][0]
        assert theirs.std() > 1e-3
        error = parity.difference(ours, theirs)
        parity.within("MusicGen's codec: decoded audio", ORIGINAL, f"{kind} {clip}", error, 1e-5)
        if not clip:
            codes = codec.encode(Audio(recorded.sound()[None], recorded.RATE))
            np.testing.assert_array_equal(codes, VALUES[f"{kind}/encoded"][0])


@pytest.mark.parametrize("kind", KINDS)
def test_converted_checkpoint_is_the_same(kind: str, tmp_path: Path, melody_file: Path) -> None:
    convert(checkpoint(kind), tmp_path / "converted", parity.cache())
    converted = MusicGen(Asset("converted", path=str(tmp_path / "converted")))
    assert converted.random
    sampling = Sampling(duration=DURATION, temperature=1e-6, guidance_scale=3.0)
    model = converted.load(parity.cache(), CPU)
    for i in range(len(recorded.CAPTIONS)):
        (codes,) = model.codes([prompt(kind, i, melody_file)], sampling, 1)
        np.testing.assert_array_equal(codes, VALUES[f"{kind}/{i}/greedy 3"][0])
    state = model.network.state_dict()
    for key, tensor in parts(kind).network.state_dict().items():
        assert torch.equal(state[key], tensor), key


def test_codec_of_a_converted_checkpoint_serves_another(tmp_path: Path) -> None:
    codec = tmp_path / "codec"
    parts("mono").network.audio_encoder.save_pretrained(codec)
    other = dataclasses.replace(checkpoint("stereo"), encodec=Asset("EnCodec", path=str(codec)))
    ours = other.load(parity.cache(), CPU).codec.decode(list(VALUES["codec/stereo codes"].astype(np.int16)))[0]
    assert parity.difference(ours.samples, VALUES["codec/stereo decoded"][0]) <= 1e-5
