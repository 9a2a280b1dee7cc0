"""FAD and KAD on MERT: whole runs of evalkit on folders against the steps of fadtk and kadtk, stated again here.

The packages that do the steps are theirs: soundfile, torchaudio, transformers, numpy, scipy, torch. Both write what
they have resampled to 16-bit files and keep embeddings in float16, which evalkit does not: the steps are compared as
they are, and without this rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import soundfile
import torch

import evalkit
from evalkit import compat
from evalkit.encoders.mert import RATE
from tests import music, parity
from tests.parity import make_mert_fixtures as recorded

pytestmark = pytest.mark.slow

REFERENCES = [("plain", 44100, 2), ("off centre", 16000, 1), ("pauses", 22050, 1), ("hot", 32000, 2)]
GENERATED = [("bursts", 32000, 2), ("left only", 32000, 2), ("wide", 44100, 2), ("hiss", 16000, 1)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    found = tmp_path_factory.mktemp("references"), tmp_path_factory.mktemp("generated")
    for folder, pieces in zip(found, (REFERENCES, GENERATED), strict=True):
        for number, (kind, rate, channels) in enumerate(pieces):
            samples = music.rendered(kind, rate, 1.6 + number / 4)[:channels]
            soundfile.write(folder / f"{number}.wav", samples.T, rate, subtype="FLOAT")
    return found


@pytest.fixture(scope="module")
def scores(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What runs of evalkit give on seeded weights in the published layout."""
    place = tmp_path_factory.mktemp("runs")
    weights = recorded.published("MERT-v1-95M", place / "weights")
    options = ["protocol=fadtk", "metric=[fad_mert,kad_mert]", "uncertainty.resamples=0", "engine.device=cpu"]
    options += [f"metric.{name}.encoder.weights.path={weights}" for name in ("fad_mert", "kad_mert")]
    options += ["metric.fad_mert.encoder.pool=frames", f"cache_dir={place / 'cache'}", f"output_dir={place / 'runs'}"]
    result = evalkit.score(folders[1], folders[0], *options)
    assert result.scores.n.tolist() == [4, 4]
    return dict(zip(result.scores.metric, result.scores.value, strict=True)) | {"weights": str(weights)}


ROUNDED = pytest.mark.parametrize("rounded", [True, False], ids=["as they are", "without rounding"])


@pytest.fixture(scope="module")
def embedded(scores: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Both packages' steps for a file: what the network hears, and its last hidden state (frames, 768)."""
    compat.prepare()
    import torchaudio
    import transformers

    network = transformers.HubertModel.from_pretrained(scores["weights"]).eval()
    processor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(scores["weights"])
    converted = tmp_path_factory.mktemp("converted") / "converted.wav"

    def embedded(path: Path, rounded: bool) -> tuple[np.ndarray, torch.Tensor]:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        kaiser = torchaudio.transforms.Resample(
            rate,
            RATE,
            resampling_method="sinc_interp_kaiser",
            lowpass_filter_width=64,
            rolloff=0.9475937167399596,
            beta=14.769656459379492,
        )
        wav = kaiser(torch.from_numpy(samples.T).mean(0, keepdim=True))[0].numpy()
        if rounded:
            soundfile.write(converted, wav, RATE, subtype="PCM_16")
            wav = soundfile.read(converted, dtype="int16")[0] / 32768.0
        inputs = processor(wav, sampling_rate=RATE, return_tensors="pt")
        with torch.no_grad():
            return wav, network(**inputs, output_hidden_states=True).hidden_states[12][0]

    return embedded


@ROUNDED
def test_fadtk_s_fad_of_frames(
    folders: tuple[Path, Path], scores: dict[str, Any], embedded: Callable[..., Any], rounded: bool
) -> None:
    fits = []
    for folder in folders:
        states = [embedded(path, rounded)[1].numpy() for path in sorted(folder.iterdir())]
        frames = np.concatenate([one.astype(np.float16) if rounded else one for one in states]).astype(np.float64)
        fits.append((frames.mean(axis=0), np.cov(frames, rowvar=False)))
    (m1, c1), (m2, c2) = fits
    root = scipy.linalg.sqrtm(c1 @ c2)
    expected = (m1 - m2) @ (m1 - m2) + np.trace(c1) + np.trace(c2) - 2 * np.trace(root.real)
    error = abs(scores["fad_mert"] / expected - 1)
    original = "fadtk ec74b1f, restated" + ("" if rounded else ", without its rounding")
    parity.within("FAD (MERT) of frames, protocol fadtk", original, "8 files", error, 2e-3 if rounded else 1e-5)


@ROUNDED
def test_kadtk_s_kad_of_seconds(
    folders: tuple[Path, Path], scores: dict[str, Any], embedded: Callable[..., Any], rounded: bool
) -> None:
    sides = []
    for folder in folders:
        windows = []
        for path in sorted(folder.iterdir()):
            wav, states = embedded(path, rounded)
            stride = int(states.shape[0] / (wav.shape[0] / RATE))
            means = states.unfold(0, stride, stride).mean(-1)
            windows.append(means.half() if rounded else means)
        sides.append(torch.cat(windows).double())
    y, x = sides
    gamma = 1 / (2 * torch.pdist(y).quantile(0.5) ** 2 + 1e-8)  # of the references, as its README says
    xx, yy, xy = (torch.exp(-gamma * torch.cdist(a, b) ** 2) for a, b in ((x, x), (y, y), (x, y)))
    within = [(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (xx, yy)]
    expected = float(100 * (within[0] + within[1] - 2 * xy.mean()))
    error = abs(scores["kad_mert"] - expected) / 100
    original = "kadtk 8bda71d, restated" + ("" if rounded else ", without its rounding")
    tolerance = 1e-3 if rounded else 1e-5
    parity.within("KAD (MERT) of seconds, protocol fadtk", original, "8 files", error, tolerance, "absolute")
