"""KLD under the protocols of other packages: the 10-second PaSST, PANNs, windows, levels, directions.

The networks are hear21passt's and frechet-audio-distance's own. What stable-audio-metrics (fd55536) and
audioldm_eval (8dc07ee, and a2fde54 on its PaSST branch) do around them is stated again here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import librosa
import numpy as np
import pytest
import soundfile
import torch

from evalkit import compat
from evalkit.assets import Asset
from evalkit.config import build, compose
from evalkit.encoders.panns import PANNs
from evalkit.encoders.panns import network_of as panns_of
from evalkit.encoders.passt import PaSST
from evalkit.encoders.passt import network_of as passt_of
from evalkit.features.conditioning import condition, heard
from evalkit.metrics.kld import KLD
from evalkit.models.folder import Folder
from evalkit.types import Features, Prompt
from tests import music, parity

RATE = 32000


def encoder_of(protocol: str, metric: str = "kld", group: str = "kld"):
    """The encoder of a metric under a protocol, on the weights of these tests."""
    options = ["model=synth", "prompts=demo", f"protocol={protocol}", f"metric={group}"]
    return build(compose([*options, f"random_weights={parity.SEED}"]).metric[metric]).encoder


@pytest.fixture(scope="module")
def passt_10sec():
    """Seeded weights in the published file's layout, and hear21passt's own 10-second wrapper with them."""
    path = parity.folder() / "passt-s-f128-p16-s10-ap.476-swa.pt"
    torch.save(passt_of(parity.random_asset("PaSST weights"), parity.cache(), 10).net.state_dict(), path)
    compat.prepare()
    with compat.quiet():
        from hear21passt import base

        make = base.get_model_passt
        with patch.object(base, "get_model_passt", lambda arch: make(arch, pretrained=False)):
            original = base.get_basic_model(mode="logits").eval()
    original.net.load_state_dict(torch.load(path))
    return Asset(name="PaSST weights", path=str(path)), original


@pytest.fixture(scope="module")
def logits(passt_10sec):
    """The original wrapper on one segment (samples,): logits (527,)."""

    def logits(segment: np.ndarray) -> torch.Tensor:
        with torch.inference_mode(), compat.quiet():
            return passt_10sec[1](torch.from_numpy(segment.astype(np.float32))[None])[0]

    return logits


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Stereo files at 44.1 kHz, quiet and off centre, and short, because a longer one becomes a window of 10 s."""
    folder = tmp_path_factory.mktemp("files")
    piece = 0.2 * music.sounds(44100, 1.45, "hot")["hot"] + 0.01
    noise = parity.noise(44100, 1.3, level=0.05) + 0.02
    for name, first, second in (("a", piece, -0.5 * piece), ("b", noise, 0.3 * noise)):
        soundfile.write(folder / f"{name}.wav", np.stack([first, second]).T, 44100, subtype="FLOAT")
    return folder


def given(encoder, path: Path) -> np.ndarray:
    """What evalkit gives an encoder of a file under a protocol that leaves files as they are."""
    (clip,) = Folder(str(path.parent)).find([Prompt(path.stem, "")])
    return heard(condition(clip, None, None), encoder.hears)


def test_the_10_second_wrapper(passt_10sec, logits):
    encode = PaSST(passt_10sec[0], network=10, segment=10.0).load(parity.cache(), "cpu")
    clips = {
        **music.sounds(RATE, 2.5, "plain", "pauses", "electro_1.mp3"),
        **music.sounds(RATE, 0.5),
        "noise, 1 s": parity.noise(RATE, 1.0),
        "a tone, 0.2 s": parity.sine(RATE, 0.2),
    }
    for (name, clip), ours in zip(clips.items(), encode(list(clips.values())), strict=True):
        theirs = logits(clip).softmax(0).numpy()
        assert ours.shape == (1, 527)
        error = parity.difference(ours[0], theirs)
        parity.within("PaSST: probabilities, 10-s network", "hear21passt 0.0.26", name, error, 1e-4)


def stable_audio_windows(audio: np.ndarray) -> list[np.ndarray]:
    """The windows that stable-audio-metrics' return_probabilities gives the network."""
    audio = 10 ** (-1 / 20) / np.max(np.abs(audio)) * audio  # pyloudnorm.normalize.peak(audio, -1.0)
    step, size = 5 * RATE, 10 * RATE
    windows = []
    for start in range(0, max(step, len(audio) - step), step):
        window = audio[start : start + size]
        if size > len(window) > int(size * 0.15):
            window = np.concatenate([window, np.zeros(size - len(window))])
        windows.append(window)
    return windows


@pytest.mark.parametrize("seconds", [0.5, 1.5, 1.6, 4.0, 5.0, 7.0, 10.0, 10.03, 12.0, 15.0, 15.01, 20.0, 24.9, 31.0])
def test_stable_audio_s_windows(seconds):
    encoder = encoder_of("stable_audio")
    audio = parity.noise(RATE, seconds)
    ours, theirs = encoder.segments(audio), stable_audio_windows(audio)
    assert [len(x) for x in ours] == [len(x) for x in theirs]
    error = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))
    parity.within(
        "PaSST: windows, protocol stable_audio", "stable-audio-metrics, restated", f"{seconds} s", error, 1e-6
    )


@pytest.mark.parametrize("seconds", [1.0, 9.99, 10.0, 20.0, 20.1, 20.2, 41.0])
def test_audiogen_s_segments_are_audiocraft_s(seconds):
    """audiocraft's _process_audio: torch.split, and nothing of 0.15 s or less."""
    audio = parity.noise(RATE, seconds)
    theirs = [s for s in torch.split(torch.from_numpy(audio), 10 * RATE) if s.size(-1) > int(0.15 * RATE)]
    ours = encoder_of("audiogen").segments(audio)
    assert len(ours) == len(theirs)
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(ours, theirs, strict=True))


def test_stable_audio_s_kld(files, passt_10sec, logits):
    encoder = replace(encoder_of("stable_audio"), weights=passt_10sec[0])
    encode = encoder.load(parity.cache(), "cpu")
    ours, theirs = [], []
    for path in sorted(files.iterdir()):
        ours += encode([given(encoder, path)])
        audio, _ = librosa.load(path, sr=RATE, mono=True)
        rows = torch.stack([logits(window) for window in stable_audio_windows(audio)])
        theirs.append(rows.mean(dim=0).softmax(0))
    generated, reference = theirs
    expected = float(torch.nn.functional.kl_div((reference + 1e-6).log(), generated, reduction="sum"))
    metric = build(compose(["model=synth", "prompts=demo", "protocol=stable_audio", "metric=kld"]).metric.kld)
    value = metric(Features(("a",), (ours[0],)), Features(("a",), (ours[1],))).value
    print(f"KLD of two clips: {value} against {expected}")
    parity.within(
        "KLD, protocol stable_audio", "stable-audio-metrics, restated", "2 files", abs(value / expected - 1), 1e-4
    )


def test_logits_are_aggregated_over_windows_before_the_softmax():
    rows = torch.randn(3, 527, generator=torch.Generator().manual_seed(0)) * 3
    for name, expected in (("mean", rows.mean(dim=0)), ("max", rows.max(dim=0).values)):
        encoder = PaSST(parity.random_asset("PaSST weights"), aggregate=name)
        np.testing.assert_allclose(encoder.probabilities(rows), expected.softmax(0)[None], rtol=1e-5)
    assert PaSST(parity.random_asset("PaSST weights")).probabilities(rows).shape == (3, 527)


def audioldm_eval_reads(path: Path, rate: int) -> torch.Tensor:
    """WaveDataset.read_from_file: (1, samples)."""
    compat.prepare()
    import torchaudio

    samples, file_rate = soundfile.read(path, dtype="float32", always_2d=True)
    first = torch.from_numpy(samples.T)[0:1]
    first = torchaudio.functional.resample(first - first.mean(), file_rate, rate)
    return torch.nn.functional.pad(first, (0, max(0, 32000 - first.size(-1))))


@pytest.mark.slow  # whole 10-second windows
def test_audioldm_eval_s_kld_on_passt(files, passt_10sec, logits):
    encoder = replace(encoder_of("audioldm_eval"), weights=passt_10sec[0])
    sigmoid = replace(encoder, activation="sigmoid")
    paths = sorted(files.iterdir())
    theirs = []
    for path in paths:
        wave = audioldm_eval_reads(path, RATE)[..., :320000]
        theirs.append(logits(torch.nn.functional.pad(wave, (0, 320000 - wave.size(-1)))[0].numpy()))
    check_both(encoder, sigmoid, [given(encoder, path) for path in paths], theirs, "audioldm_eval's PaSST branch")


def test_audioldm_eval_hears_the_first_10_seconds_of_passt():
    encoder = encoder_of("audioldm_eval")
    for seconds in (1.0, 9.0, 10.0, 25.0):
        (segment,) = encoder.segments(parity.noise(RATE, seconds))
        kept = parity.noise(RATE, seconds)[:320000]
        np.testing.assert_array_equal(segment, np.pad(kept, (0, 320000 - len(kept))))


def check_both(softmax, sigmoid, clips: list[np.ndarray], logits: list[torch.Tensor], original: str) -> None:
    """Softmax and sigmoid KL of two clips, as audioldm_eval's calculate_kl has them."""
    generated, reference = (x[None] for x in logits)
    for encoder, active in ((softmax, lambda x: x.softmax(dim=1)), (sigmoid, lambda x: x.sigmoid())):
        ours = encoder.load(parity.cache(), "cpu")(clips)
        p, r = active(generated), active(reference)
        expected = float(torch.nn.functional.kl_div((p + 1e-6).log(), r, reduction="sum"))
        value = KLD(encoder)(Features(("a",), (ours[0],)), Features(("a",), (ours[1],))).value
        print(f"{original}, {encoder.activation}: {value} against {expected}")
        parity.within(
            "KLD, protocol audioldm_eval",
            f"{original}, restated",
            encoder.activation,
            abs(value - expected) / max(1.0, abs(expected)),
            1e-4,
        )


@pytest.fixture(scope="module")
def panns():
    """Seeded weights in the published file's layout, and frechet-audio-distance's Cnn14_16k with them."""
    path = parity.folder() / "Cnn14_16k_mAP=0.438.pth"
    network = panns_of(parity.random_asset("PANNs weights"), parity.cache())
    torch.save({"iteration": 1, "model": network.state_dict()}, path)
    original = compat.panns_cnn14_16k()
    original.load_state_dict(torch.load(path)["model"])
    return Asset(name="PANNs weights", path=str(path)), original.eval()


@pytest.mark.slow
def test_panns(panns):
    """What the network itself gives, sigmoids, and whatever length is in the batch."""
    clips = {
        **music.sounds(16000, 2.5),
        **{f"{name}, padded": clip for name, clip in music.sounds(16000, 1.0, "hot", "pauses", "bach.mp3").items()},
        "noise, 3 s": parity.noise(16000, 3.0),
        "a tone, padded": parity.sine(16000, 1.0),
    }
    encode = PANNs(panns[0], activation="sigmoid").load(parity.cache(), "cpu")
    for (name, clip), ours in zip(clips.items(), encode(list(clips.values())), strict=True):
        with torch.inference_mode():
            wave = torch.from_numpy(np.pad(clip, (0, max(0, 32000 - len(clip)))))[None]
            theirs = panns[1](wave)["clipwise_output"].numpy()
        assert ours.shape == (1, 527)
        error = parity.difference(ours, theirs)
        parity.within("PANNs: probabilities", "frechet-audio-distance 0.3.4's Cnn14_16k", name, error, 1e-5)


def test_audioldm_eval_s_kld_on_panns(files, panns):
    softmax, sigmoid = (
        replace(encoder_of("audioldm_eval", name, "kld_panns"), weights=panns[0])
        for name in ("kld_panns", "kld_panns_sigmoid")
    )
    assert (softmax.activation, sigmoid.activation) == ("softmax", "sigmoid")
    paths, theirs = sorted(files.iterdir()), []
    for path in paths:
        with torch.inference_mode():
            embedding = panns[1](audioldm_eval_reads(path, 16000))["embedding"]
            theirs.append(panns[1].fc_audioset(embedding)[0])
    check_both(softmax, sigmoid, [given(softmax, path) for path in paths], theirs, "audioldm_eval on PANNs")


@pytest.mark.parametrize(
    ("direction", "key"), [("reference_generated", "pq"), ("generated_reference", "qp"), ("both", "both")]
)
def test_directions_are_audiocraft_s(direction, key):
    """KLDivergenceMetric.update and compute: kld_pq, kld_qp, kld_both."""
    generator = torch.Generator().manual_seed(1)
    preds, targets = (torch.randn(4, 527, generator=generator).mul(3).softmax(-1) for _ in range(2))

    def divergence(pred: torch.Tensor, target: torch.Tensor) -> float:
        return float(torch.nn.functional.kl_div((pred + 1e-6).log(), target, reduction="none").sum(-1).mean())

    expected = {"pq": divergence(preds, targets), "qp": divergence(targets, preds)}
    expected["both"] = expected["pq"] + expected["qp"]
    ids = ("a", "b", "c", "d")
    features = [Features(ids, tuple(x[None].numpy() for x in side)) for side in (preds, targets)]
    value = KLD(None, direction=direction)(*features).value
    parity.within("KLD: directions", "audiocraft's formula in torch", direction, abs(value / expected[key] - 1), 1e-6)
