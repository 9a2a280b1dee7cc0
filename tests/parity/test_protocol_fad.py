"""FAD under the protocols of other packages: whole runs of evalkit on folders against what those packages compute.

frechet-audio-distance runs itself. fadtk and audioldm_eval cannot be installed here; their computation is
stated again below, step by step as their sources have it (the commits stand in conf/protocol), with the same
packages doing the steps: soundfile, torchaudio, torchvggish, numpy, scipy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import scipy.linalg
import soundfile
import torch

import evalkit
from evalkit import compat
from evalkit.encoders.vggish import VGGish
from evalkit.encoders.vggish import network_of as vggish_of
from tests import music, parity

# kind of music, seconds, rate, channels
REFERENCES = [
    ("plain", 2.0, 44100, 2),
    ("off centre", 3.0, 16000, 1),
    ("over full scale", 2.5, 48000, 2),
    ("pauses", 1.95, 22050, 1),
    ("hot", 2.2, 32000, 2),
    ("quiet", 4.0, 44100, 1),
]
GENERATED = [
    ("bursts", 2.3, 32000, 2),
    ("left only", 2.0, 32000, 2),
    ("wide", 3.1, 44100, 2),
    ("hiss", 2.0, 16000, 1),
]


def write(path: Path, samples: np.ndarray, rate: int) -> None:
    # float samples, some beyond full scale, are files that people have
    soundfile.write(path, samples.T, rate, subtype="FLOAT")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """References and generated clips of the same names: music at many rates, mono and stereo, and made-up sounds."""
    folders = tmp_path_factory.mktemp("references"), tmp_path_factory.mktemp("generated")
    for seed, (folder, pieces) in enumerate(zip(folders, (REFERENCES, GENERATED), strict=True)):
        rng = np.random.default_rng(seed)
        sounds = []
        for kind, seconds, rate, channels in pieces:
            sounds.append((music.rendered(kind, rate, seconds)[:channels], rate))
        while len(sounds) < 8:  # noise and a tone, off centre, of another level on each side
            rate = [16000, 44100][len(sounds) % 2]
            time = np.arange(round(rate * rng.uniform(1.2, 2.2))) / rate
            tone = np.sin(2 * np.pi * rng.uniform(100, 2000) * time) * 0.6 + rng.normal(0, 0.1 + seed, len(time)) * 0.2
            sounds.append((np.stack([tone + 0.05, 0.3 * tone]).astype(np.float32), rate))
        for number, (samples, rate) in enumerate(sounds):
            write(folder / f"{number}.wav", samples, rate)
    return folders


@pytest.fixture(scope="module")
def run(folders, tmp_path_factory) -> Callable[..., float]:
    """A whole run of evalkit on the folders under a protocol: the value of one metric."""
    place = tmp_path_factory.mktemp("runs")
    prompts = place / "prompts.csv"
    prompts.write_text("id,text\n" + "".join(f"{p.stem},a sound of kind {p.stem}\n" for p in folders[1].iterdir()))

    @functools.cache
    def run(protocol: str, metric: str, *options: str) -> float:
        result = evalkit.evaluate(
            *("model=folder", f"model.folder.path={folders[1]}", "prompts=table", f"prompts.path={prompts}"),
            *(f"prompts.references={folders[0]}", f"protocol={protocol}", f"metric={metric}"),
            *(f"random_weights={parity.SEED}", "uncertainty.resamples=100", "engine.device=cpu"),
            *(f"cache_dir={place / 'cache'}", f"output_dir={place / 'runs'}", *options),
        )
        (row,) = result.scores.to_dict("records")
        assert row["protocol"] == protocol
        assert row["n"] == 8
        return float(row["value"])

    return run


@pytest.fixture(scope="module")
def hub_network():
    """What torch.hub gives for harritaylor/torchvggish, on the weights of the runs: torchvggish's own front end
    before its own network."""
    from torchvggish import vggish_input
    from torchvggish.torchvggish import VGG, make_layers

    class Hub(VGG):
        def forward(self, samples: np.ndarray, rate: int) -> torch.Tensor:
            return super().forward(vggish_input.waveform_to_examples(samples, rate))

    network = Hub(make_layers(), postprocess=False)
    ours = vggish_of(parity.random_asset("VGGish weights"), parity.cache()).state_dict()
    network.load_state_dict(ours)
    return network.eval()


@pytest.fixture(scope="module")
def vggish(hub_network):
    """The network without its last ReLU, as all three packages use it: samples at 16 kHz to (patches, 128)."""
    bare = torch.nn.Sequential(*list(hub_network.embeddings.children())[:-1])

    def embed(samples: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), patch.object(hub_network, "embeddings", bare):
            return hub_network(samples, 16000).numpy()

    return embed


def frechet(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray], root: np.ndarray) -> float:
    (m1, c1), (m2, c2) = a, b
    return float((m1 - m2) @ (m1 - m2) + np.trace(c1) + np.trace(c2) - 2 * np.trace(root.real))


def test_frechet_audio_distance_s_own_score(folders, run, hub_network):
    compat.laion_clap()
    from frechet_audio_distance import FrechetAudioDistance

    with patch.object(torch.hub, "load", lambda **_: hub_network), compat.quiet():
        package = FrechetAudioDistance()
        package.device = torch.device("cpu")
        package.model.to("cpu")
        expected = package.score(str(folders[0]), str(folders[1]))
    package.model.embeddings.append(torch.nn.ReLU())  # which the package took off the network that it was given
    assert expected > 0  # -1 is the package's way to say that it failed
    ours = run("frechet_audio_distance", "fad")
    print(f"{ours} against {expected}")
    parity.within(
        "FAD, protocol frechet_audio_distance",
        "frechet-audio-distance 0.3.4's score() on the same folders",
        "16 files",
        abs(ours / expected - 1),
        1e-5,
    )


def test_frechet_audio_distance_s_own_score_of_other_numbers_and_names(folders, hub_network, tmp_path):
    compat.laion_clap()
    from frechet_audio_distance import FrechetAudioDistance

    for number in range(5):
        (tmp_path / "generated").mkdir(exist_ok=True)
        (tmp_path / "generated" / f"take {number}.wav").symlink_to(folders[1] / f"{number}.wav")
    with patch.object(torch.hub, "load", lambda **_: hub_network), compat.quiet():
        package = FrechetAudioDistance()
        package.device = torch.device("cpu")
        package.model.to("cpu")
        expected = package.score(str(folders[0]), str(tmp_path / "generated"))
    package.model.embeddings.append(torch.nn.ReLU())  # which the package took off the network that it was given
    assert expected > 0
    chosen = ("metric=[fad]", "protocol=frechet_audio_distance", f"random_weights={parity.SEED}")
    places = (f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}", "uncertainty.resamples=100")
    (row,) = evalkit.score(tmp_path / "generated", folders[0], *chosen, *places).scores.to_dict("records")
    assert row["protocol"] == "frechet_audio_distance" and row["n"] == 5
    parity.within(
        "FAD, protocol frechet_audio_distance",
        "frechet-audio-distance 0.3.4's score() on the same folders",
        "5 files against 8 of other names",
        abs(row["value"] / expected - 1),
        1e-5,
    )


@pytest.mark.parametrize("unlike", [False, True], ids=["pairs", "other numbers and names"])
def test_fadtk_s_computation(folders, run, vggish, tmp_path, unlike):
    compat.prepare()
    import torchaudio

    references, clips = folders
    if unlike:
        clips = tmp_path / "generated"
        clips.mkdir()
        for number in range(5):
            (clips / f"take {number}.wav").symlink_to(folders[1] / f"{number}.wav")

    def statistics(folder: Path) -> tuple[np.ndarray, np.ndarray]:
        files = []
        for path in sorted(folder.iterdir()):
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
            mono = torch.from_numpy(samples.T).mean(0, keepdim=True)
            kaiser = torchaudio.transforms.Resample(
                rate,
                16000,
                resampling_method="sinc_interp_kaiser",
                lowpass_filter_width=64,
                rolloff=0.9475937167399596,
                beta=14.769656459379492,
            )
            soundfile.write(tmp_path / "converted.wav", kaiser(mono)[0].numpy(), 16000, subtype="PCM_16")
            wav = soundfile.read(tmp_path / "converted.wav", dtype="int16")[0] / 32768.0
            files.append(vggish(np.pad(wav, (0, max(0, 16000 - len(wav))))).astype(np.float16))
        return merged(files)

    background, generated = (statistics(folder) for folder in (references, clips))
    values, vectors = scipy.linalg.eig(background[1] @ generated[1])
    root = (vectors * np.lib.scimath.sqrt(values)) @ scipy.linalg.inv(vectors)
    expected = frechet(background, generated, root)
    if unlike:
        chosen = ("metric=[fad]", "protocol=fadtk", f"random_weights={parity.SEED}", "uncertainty.resamples=100")
        places = (f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}")
        (row,) = evalkit.score(clips, references, *chosen, *places).scores.to_dict("records")
        assert (row["protocol"], row["n"]) == ("fadtk", 5)
        ours = float(row["value"])
    else:
        ours = run("fadtk", "fad")
    print(f"{ours} against {expected}")
    # where embeddings of the two differ in their last bit, one in some thousands rounds to another float16
    files = "5 files against 8 of other names" if unlike else "16 files"
    parity.within("FAD, protocol fadtk", "fadtk ec74b1f, restated", files, abs(ours / expected - 1), 1e-4)


def test_fadtk_s_precision():
    """`precision: float16` has the statistics of fadtk's files: float16 embeddings, and float16 means of each file."""
    embeddings = [np.random.default_rng(n).normal(3, 2, (n, 128)).astype(np.float32) for n in (1, 2, 5, 10)]
    encoder = VGGish(parity.random_asset("VGGish weights"), precision="float16")
    mean, covariance = merged([values.astype(np.float16) for values in embeddings])
    ours = np.concatenate([encoder.stored(values) for values in embeddings])
    error = max(
        parity.difference(ours.mean(axis=0, dtype=np.float64), mean),
        parity.difference(np.cov(ours, rowvar=False), covariance),
    )
    parity.within("VGGish: float16 embeddings", "fadtk ec74b1f's merging of files, restated", "4 clips", error, 1e-6)
    assert parity.difference(np.concatenate(embeddings).mean(axis=0), mean) > 1e-5


def merged(files: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """fadtk's mean and covariance over files of float16 embeddings (n, 128), each with a float16 mean."""
    mean, products, n = np.zeros(128), np.zeros((128, 128)), 0
    for half in files:
        k = len(half)
        scatter = np.cov(half, rowvar=False) * (k - 1) if k > 1 else 0.0
        shift = half.mean(axis=0) - mean
        mean = mean + k / (n + k) * shift
        products = products + scatter + np.outer(shift, shift) * n * k / (n + k)
        n += k
    return mean, products / (n - 1)


def test_audioldm_eval_s_computation(folders, run, vggish):
    compat.prepare()
    import torchaudio

    def statistics(folder: Path) -> tuple[np.ndarray, np.ndarray]:
        embeddings = []
        for path in sorted(folder.iterdir()):
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
            first = torch.from_numpy(samples.T)[0:1]
            first = torchaudio.functional.resample(first - first.mean(), rate, 16000)
            embeddings.append(vggish(torch.nn.functional.pad(first, (0, max(0, 32000 - first.size(-1))))[0].numpy()))
        together = np.concatenate(embeddings)
        return together.mean(axis=0), np.cov(together, rowvar=False)

    background, generated = (statistics(folder) for folder in folders)
    expected = frechet(background, generated, scipy.linalg.sqrtm(background[1] @ generated[1]))
    ours = run("audioldm_eval", "fad")
    print(f"{ours} against {expected}")
    parity.within(
        "FAD, protocol audioldm_eval", "audioldm_eval 8dc07ee, restated", "16 files", abs(ours / expected - 1), 1e-5
    )


def test_protocols_give_different_numbers(run):
    """The switches matter: another protocol's number would not pass for this one's."""
    protocols = ["musicgen", "audiogen", "frechet_audio_distance", "fadtk", "audioldm_eval"]
    values = sorted(run(protocol, "fad") for protocol in protocols)
    print(values)
    assert (np.diff(values) > 1e-4 * values[0]).all()
