"""Whole runs of evalkit against audiocraft's own metric classes, from the values that they gave for the same clips.

`make_audiocraft_fixtures.py` has recorded them; it makes the clips for both. Files, levels, cuts, resampling, networks
and means are all in these comparisons.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from evalkit import audio
from evalkit.config import compose
from evalkit.encoders import Input, clap, passt
from evalkit.encoders.vggish import VGGish
from evalkit.features.conditioning import Sound, heard
from evalkit.pipeline import evaluate
from tests import parity
from tests.parity import make_audiocraft_fixtures as recorded

VALUES = json.loads((recorded.FIXTURES / "audiocraft.json").read_text("utf-8"))
ORIGINAL = f"audiocraft {VALUES['versions']['audiocraft']}"


@pytest.fixture(scope="module")
def arrays():
    return np.load(recorded.FIXTURES / "audiocraft.npz")


def run(
    folder: Path, pairs: dict[str, recorded.Pair], metrics: str, *more: str
) -> tuple[dict[str, float], pd.DataFrame]:
    """Write the clips to files and evaluate them: scores by metric, and the table of clips by id."""
    for part in ("generated", "references"):
        (folder / part).mkdir()
    with (folder / "prompts.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text"])
        for name, pair in pairs.items():
            rows.writerow([name, pair.caption or "a caption"])
            soundfile.write(folder / "generated" / f"{name}.wav", pair.generated.T, recorded.RATE, subtype="FLOAT")
            soundfile.write(folder / "references" / f"{name}.wav", pair.reference.T, recorded.RATE, subtype="FLOAT")
    options = [
        "model=folder", f"model.folder.path={folder / 'generated'}",
        "prompts=table", f"prompts.path={folder / 'prompts.csv'}", f"prompts.references={folder / 'references'}",
        "sampling.duration=30", f"metric={metrics}", "engine.device=cpu", f"random_weights={parity.SEED}",
        f"cache_dir={parity.cache().root}", f"output_dir={folder / 'runs'}", *more,
    ]  # fmt: skip
    result = evaluate(compose(options))
    return dict(zip(result.scores["metric"], result.scores["value"], strict=True)), result.clips.set_index("id")


@pytest.fixture(scope="module")
def whole(shared_data, tmp_path_factory):
    return run(tmp_path_factory.mktemp("audiocraft"), recorded.pairs(shared_data), "[kld,clap_score,chroma]")


def test_the_weights_are_those_that_audiocraft_had(arrays):
    """Else the values below would say nothing."""
    for name, network in {
        "passt": passt.network_of(parity.random_asset("PaSST weights"), parity.cache()).net,
        "clap": clap.network_of(parity.random_asset("CLAP weights"), parity.cache(), "cpu").model,
    }.items():
        np.testing.assert_allclose(recorded.fingerprint(network), arrays[name], rtol=1e-6, atol=1e-9, err_msg=name)


def test_kld_is_audiocraft_s(whole):
    scores, clips = whole
    for name, theirs in VALUES["alone"]["kld"].items():
        error = abs(clips.kld[name] / theirs["kld"] - 1)
        parity.within("KLD, files to score", f"{ORIGINAL}'s PasstKLDivergenceMetric", name, error, 1e-4)
    error = abs(scores["kld"] / VALUES["batch"]["kld"]["kld"] - 1)
    parity.within("KLD, files to score", f"{ORIGINAL}'s PasstKLDivergenceMetric", "a padded batch", error, 1e-4)


def test_clap_score_is_audiocraft_s(whole):
    scores, clips = whole
    original = f"{ORIGINAL}'s CLAPTextConsistencyMetric"
    for name, theirs in VALUES["alone"]["clap_score"].items():
        error = abs(clips.clap_score[name] - theirs)
        parity.within("CLAP score, files to score", original, name, error, 1e-5, "absolute")
    error = abs(scores["clap_score"] - VALUES["batch"]["clap_score"])
    parity.within("CLAP score, files to score", original, "a padded batch", error, 1e-5, "absolute")


def test_chroma_is_audiocraft_s(whole):
    scores, clips = whole
    original = f"{ORIGINAL}'s ChromaCosineSimilarityMetric"
    for name, theirs in VALUES["alone"]["chroma"].items():
        error = abs(clips.chroma[name] - theirs)
        parity.within("Chroma similarity, files to score", original, name, error, 1e-6, "absolute")
    error = abs(scores["chroma"] - VALUES["padded batch"]["chroma"])
    parity.within("Chroma similarity, files to score", original, "a padded batch", error, 1e-6, "absolute")


def test_chroma_without_argmax_is_audiocraft_s(shared_data, tmp_path):
    _, clips = run(tmp_path, recorded.pairs(shared_data), "[chroma]", "protocol.chroma.argmax=false")
    for name, theirs in VALUES["alone"]["chroma, argmax off"].items():
        error = abs(clips.chroma[name] - theirs)
        original = f"{ORIGINAL}'s ChromaCosineSimilarityMetric, argmax off"
        parity.within("Chroma similarity, files to score", original, name, error, 1e-5, "absolute")


@pytest.mark.slow
def test_kld_of_long_clips_is_audiocraft_s(shared_data, tmp_path):
    """A clip of 20.5 s counts twice, and a short one beside it once."""
    scores, _ = run(tmp_path, recorded.long_batch(shared_data), "[kld]")
    error = abs(scores["kld"] / VALUES["long"]["kld"]["kld"] - 1)
    parity.within("KLD, files to score", f"{ORIGINAL}'s PasstKLDivergenceMetric", "two segments", error, 1e-4)


def test_resampling_and_downmix_are_audiocraft_s(shared_data, arrays):
    for name, (sound, rate) in recorded.conversions(shared_data).items():
        ours = heard(Sound(sound, sound), Input(rate))[None]
        error = parity.difference(recorded.kept(ours), arrays[f"convert/{name}"])
        # evalkit downmixes first, which is half the work; audiocraft resamples first
        parity.within("Resampling and downmix", f"{ORIGINAL}'s convert_audio", name, error, 2e-6)


def test_levels_are_audiocraft_s(shared_data, arrays):
    for name, sound in recorded.levels(shared_data).items():
        ours = audio.normalize_loudness(sound, -14.0).samples
        error = parity.difference(recorded.kept(ours), arrays[f"level/{name}"])
        # audiocraft measures the loudness in float32
        parity.within("Loudness: normalised clip", f"{ORIGINAL}'s normalize_audio", name, error, 1e-4)


def test_16_bit_samples_are_those_of_audiocraft_s_wav_files(shared_data, arrays):
    """audio_write and ffmpeg; Google's code divides the samples by their largest positive one."""
    encoder = VGGish(parity.random_asset("VGGish weights"))
    for name, clip in recorded.written(shared_data).items():
        steps = arrays[f"wav/{name}"].astype(np.float64)
        ours = encoder.levelled(clip) * max(0.1, steps.max())
        # the music is resampled, which rounds differently on different processors
        error, tolerance = np.abs(ours - steps).max(), 1.001 if name == "bach" else 1e-9
        parity.within("VGGish: level and 16 bits", f"{ORIGINAL}'s audio_write", name, error, tolerance, "16-bit steps")
