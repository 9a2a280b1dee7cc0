"""FAD and KAD on MERT: whole runs of evalkit on folders against the steps of fadtk and kadtk, stated again here.

The packages that do the steps are theirs: soundfile, torchaudio, transformers, numpy, scipy, torch. Both write what
they have resampled to 16-bit files and keep embeddings in float16, which evalkit does not: the tolerances are for this.
"""

from __future__ import annotations

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
            samples = music.rendered(kind, rate, 2.2 + number / 4)[:channels]
            soundfile.write(folder / f"{number}.wav", samples.T, rate, subtype="FLOAT")
    return found


@pytest.fixture(scope="module")
def scores(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """What runs of evalkit give on seeded weights in the published layout."""
    place = tmp_path_factory.mktemp("runs")
    weights = recorded.published("MERT-v1-95M", place / "weights")
    options = ["protocol=fadtk", "metric=[fad_mert,kad_mert]", "uncertainty.resamples=100", "engine.device=cpu"]
    options += [f"metric.{name}.encoder.weights.path={weights}" for name in ("fad_mert", "kad_mert")]
    options += ["metric.fad_mert.encoder.pool=frames", f"cache_dir={place / 'cache'}", f"output_dir={place / 'runs'}"]
    result = evalkit.score(folders[1], folders[0], *options)
    assert result.scores.n.tolist() == [4, 4]
    return dict(zip(result.scores.metric, result.scores.value, strict=True)) | {"weights": str(weights)}


@pytest.fixture(scope="module")
def embeddings(folders: tuple[Path, Path], scores: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Both packages' embeddings of each file, (frames, 768), by folder, before they are rounded to float16."""
    compat.prepare()
    import torchaudio
    import transformers

    network = transformers.HubertModel.from_pretrained(scores["weights"]).eval()
    processor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(scores["weights"])
    converted = tmp_path_factory.mktemp("converted") / "converted.wav"

    def embedded(path: Path) -> tuple[np.ndarray, torch.Tensor]:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        kaiser = torchaudio.transforms.Resample(
            rate,
            RATE,
            resampling_method="sinc_interp_kaiser",
            lowpass_filter_width=64,
            rolloff=0.9475937167399596,
            beta=14.769656459379492,
        )
        mono = kaiser(torch.from_numpy(samples.T).mean(0, keepdim=True))[0].numpy()
        soundfile.write(converted, mono, RATE, subtype="PCM_16")
        wav = soundfile.read(converted, dtype="int16")[0] / 32768.0
        inputs = processor(wav, sampling_rate=RATE, return_tensors="pt")
        with torch.no_grad():
            return wav, network(**inputs, output_hidden_states=True).hidden_states[12][0]

    return [[embedded(path) for path in sorted(folder.iterdir())] for folder in folders]


def test_fadtk_s_fad_of_frames(scores: dict[str, Any], embeddings: Any) -> None:
    fits = []
    for side in embeddings:
        frames = np.concatenate([states.numpy().astype(np.float16) for _, states in side]).astype(np.float64)
        fits.append((frames.mean(axis=0), np.cov(frames, rowvar=False)))
    (m1, c1), (m2, c2) = fits
    root = scipy.linalg.sqrtm(c1 @ c2)
    expected = (m1 - m2) @ (m1 - m2) + np.trace(c1) + np.trace(c2) - 2 * np.trace(root.real)
    print(scores["fad_mert"], expected)
    error = abs(scores["fad_mert"] / expected - 1)
    parity.within("FAD (MERT) of frames, protocol fadtk", "fadtk ec74b1f, restated", "8 files", error, 1e-3)


def test_kadtk_s_kad_of_seconds(scores: dict[str, Any], embeddings: Any) -> None:
    sides = []
    for side in embeddings:
        windows = []
        for wav, states in side:
            stride = int(states.shape[0] / (wav.shape[0] / RATE))
            windows.append(states.unfold(0, stride, stride).mean(-1).half())
        sides.append(torch.cat(windows).double())
    y, x = sides
    gamma = 1 / (2 * torch.pdist(y).quantile(0.5) ** 2 + 1e-8)  # of the references, as its README says
    xx, yy, xy = (torch.exp(-gamma * torch.cdist(a, b) ** 2) for a, b in ((x, x), (y, y), (x, y)))
    within = [(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (xx, yy)]
    expected = float(100 * (within[0] + within[1] - 2 * xy.mean()))
    print(scores["kad_mert"], expected)
    error = abs(scores["kad_mert"] - expected) / 100
    parity.within(
        "KAD (MERT) of seconds, protocol fadtk", "kadtk 8bda71d, restated", "8 files", error, 1e-3, "absolute"
    )
