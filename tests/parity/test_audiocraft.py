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
from tests import music, parity
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
            for part, sound in (("generated", pair.generated), ("references", pair.reference)):
                soundfile.write(folder / part / f"{name}.wav", sound.samples.T, sound.rate, subtype="FLOAT")
    options = [
        "model=folder", f"model.folder.path={folder / 'generated'}",
        "prompts=table", f"prompts.path={folder / 'prompts.csv'}", f"prompts.references={folder / 'references'}",
        "sampling.duration=30", f"metric={metrics}", "engine.device=cpu", f"random_weights={parity.SEED}",
        f"cache_dir={parity.cache().root}", f"output_dir={folder / 'runs'}", *more,
    ]  # fmt: skip
    result = evaluate(compose(options))
    return dict(zip(result.scores["metric"], result.scores["value"], strict=True)), result.clips.set_index("id")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("audiocraft"), recorded.pairs(), "[kld,clap_score,chroma]")


def test_the_music_is_what_audiocraft_heard(arrays):
    """Else the values below would say nothing: then make_audiocraft_fixtures.py has to run again."""
    np.testing.assert_allclose(recorded.heard(), arrays["music"], rtol=1e-4, atol=1e-7)


def test_the_weights_are_those_that_audiocraft_had(arrays):
    """Else the values below would say nothing."""
    for name, network in {
        "passt": passt.network_of(parity.random_asset("PaSST weights"), parity.cache()).net,
        "clap": clap.network_of(parity.random_asset("CLAP weights"), parity.cache(), "cpu").model,
    }.items():
        np.testing.assert_allclose(recorded.fingerprint(network), arrays[name], rtol=1e-6, atol=1e-9, err_msg=name)


KLD, CLAP = f"{ORIGINAL}'s PasstKLDivergenceMetric", f"{ORIGINAL}'s CLAPTextConsistencyMetric"
CHROMA = f"{ORIGINAL}'s ChromaCosineSimilarityMetric"
# audiocraft measures loudness in float32, by which its gain is off by up to 6e-4 at 32 kHz
EXACT = "its loudness in float64"


@pytest.mark.parametrize(
    ("loudness", "original", "tolerance"), [("exact loudness", f"{KLD}, {EXACT}", 2e-5), ("alone", KLD, 5e-3)]
)
def test_kld_is_audiocraft_s(whole, loudness, original, tolerance):
    scores, clips = whole
    for name, theirs in VALUES[loudness]["kld"].items():
        error = abs(clips.kld[name] / theirs["kld"] - 1)
        parity.within("KLD, files to score", original, name, error, tolerance)
    together = VALUES["batch" if loudness == "alone" else "exact loudness, batch"]["kld"]["kld"]
    error = abs(scores["kld"] / together - 1)
    parity.within("KLD, files to score", original, "a padded batch", error, tolerance)


@pytest.mark.parametrize(
    ("loudness", "original", "tolerance"), [("exact loudness", f"{CLAP}, {EXACT}", 1e-5), ("alone", CLAP, 1e-4)]
)
def test_clap_score_is_audiocraft_s(whole, loudness, original, tolerance):
    scores, clips = whole
    for name, theirs in VALUES[loudness]["clap_score"].items():
        error = abs(clips.clap_score[name] - theirs)
        parity.within("CLAP score, files to score", original, name, error, tolerance, "absolute")
    together = VALUES["batch" if loudness == "alone" else "exact loudness, batch"]["clap_score"]
    error = abs(scores["clap_score"] - together)
    parity.within("CLAP score, files to score", original, "a padded batch", error, tolerance, "absolute")


def test_chroma_is_audiocraft_s(whole):
    _, clips = whole
    for name, theirs in VALUES["alone"]["chroma"].items():
        error = abs(clips.chroma[name] - theirs)
        parity.within("Chroma similarity, files to score", CHROMA, name, error, 1e-6, "absolute")


def test_chroma_beside_longer_clips_differs_in_the_last_frames_at_most(whole):
    """audiocraft fills references up to the longest of a batch, and each one's last two frames see the zeros.

    evalkit takes each clip by itself, where a frame over the end sees the clip mirrored.
    """
    scores, _ = whole
    frames = [
        -(-round(p.reference.samples.shape[1] * recorded.RATE / p.reference.rate) // 4096)
        for p in recorded.pairs().values()
    ]
    touched = 2 * sum(count < max(frames) for count in frames)
    error = abs(scores["chroma"] - VALUES["padded batch"]["chroma"])
    parity.within(
        "Chroma similarity, files to score",
        f"{CHROMA}, shorter references in a batch",
        f"{touched} of {sum(frames)} frames see zeros",
        error,
        touched / sum(frames),
        "absolute",
    )


def test_chroma_without_argmax_is_audiocraft_s(tmp_path):
    _, clips = run(tmp_path, recorded.pairs(), "[chroma]", "protocol.chroma.argmax=false")
    for name, theirs in VALUES["alone"]["chroma, argmax off"].items():
        error = abs(clips.chroma[name] - theirs)
        parity.within("Chroma similarity, files to score", f"{CHROMA}, argmax off", name, error, 1e-5, "absolute")


@pytest.mark.slow
def test_kld_of_long_clips_is_audiocraft_s(tmp_path):
    """A clip of 20.5 s counts twice, and short ones beside it once."""
    scores, _ = run(tmp_path, recorded.long_batch(), "[kld]")
    error = abs(scores["kld"] / VALUES["long"]["kld"]["kld"] - 1)
    parity.within("KLD, files to score", f"{KLD}, {EXACT}", "two segments, 7.3 s and 2 s", error, 2e-5)


def test_resampling_and_downmix_are_audiocraft_s(arrays):
    for name, (sound, rate) in recorded.conversions().items():
        ours = heard(Sound(sound, sound, sound), Input(rate))[None]
        # of the loudest channel, because opposite channels leave little of a mean
        error = np.abs(recorded.kept(ours) - arrays[f"convert/{name}"]).max() / np.abs(sound.samples).max()
        # evalkit downmixes first, which is half the work; audiocraft resamples first
        parity.within("Resampling and downmix", f"{ORIGINAL}'s convert_audio", name, error, 2e-6, "of the peak")


def test_levels_are_audiocraft_s(arrays):
    original = f"{ORIGINAL}'s normalize_audio"
    for name, sound in recorded.levels().items():
        ours = recorded.kept(audio.normalize_loudness(sound, -14.0).samples)
        error = parity.difference(ours, arrays[f"exact level/{name}"])
        parity.within("Loudness: normalised clip", f"{original}, {EXACT}", name, error, 1e-6)
        error = parity.difference(ours, arrays[f"level/{name}"])
        # 5e-3 and 2e-2 LUFS
        rate, tolerance = ("32 kHz", 6e-4) if sound.rate == recorded.RATE else ("16 to 48 kHz", 2.4e-3)
        parity.within("Loudness: normalised clip", f"{original}, {rate}", name, error, tolerance)


def test_16_bit_samples_are_those_of_audiocraft_s_wav_files(arrays):
    """audio_write and ffmpeg; Google's code divides the samples by their largest positive one."""
    encoder = VGGish(parity.random_asset("VGGish weights"))
    for name, clip in recorded.written().items():
        steps = arrays[f"wav/{name}"].astype(np.float64)
        ours = encoder.levelled(clip) * max(0.1, steps.max())
        # the music is rendered and resampled, which rounds differently on different processors
        error, tolerance = np.abs(ours - steps).max(), 1.001 if name in music.TREATMENTS else 1e-9
        parity.within("VGGish: level and 16 bits", f"{ORIGINAL}'s audio_write", name, error, tolerance, "16-bit steps")
