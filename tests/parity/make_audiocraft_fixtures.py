"""Records what audiocraft's own metric classes say, for `test_audiocraft.py`; run it only to make its fixtures anew.

audiocraft 1.3.0 asks for torch 2.1, so it needs an environment of its own beside the current torch:

    python -m venv audiocraft-env && . audiocraft-env/bin/activate
    pip install -c constraints.txt torch && pip install -c constraints.txt -e .
    pip install --no-deps audiocraft==1.3.0
    pip install torchmetrics flashy num2words imageio-ffmpeg
    OMP_NUM_THREADS=1 python -m tests.parity.make_audiocraft_fixtures

The audio comes from `../shared/data/audio` and from formulas; the fixtures hold values, not audio. The weights are
seeded random ones in the published files' layout, which audiocraft loads with its own code.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from evalkit import audio
from evalkit.audio import Audio
from tests import parity

FIXTURES = Path(__file__).parent / "fixtures"
RATE = 32000
SECONDS = 3.0  # the length of the batch, and of every generated clip


class Pair(NamedTuple):
    """A generated clip of `SECONDS` and its reference, (2, samples) at 32 kHz, and the caption."""

    generated: np.ndarray
    reference: np.ndarray
    caption: str


def pairs(data: Path) -> dict[str, Pair]:
    """The clips of one batch; references that are shorter are padded with zeros by audiocraft."""

    def music(name: str, start: float, seconds: float, gain: float = 1.0) -> np.ndarray:
        raw = audio.resample(audio.read(data / "audio" / name), RATE)
        stereo = np.broadcast_to(raw.samples, (2, raw.samples.shape[1]))
        part = stereo[:, round(start * RATE) :][:, : round(seconds * RATE)]
        return np.ascontiguousarray(part * np.float32(gain))

    def both(mono: np.ndarray) -> np.ndarray:
        return np.stack([mono, mono])

    return {
        "bach": Pair(music("electro_2.mp3", 4, 3), music("bach.mp3", 3, 3), "A slow piece for harpsichord."),
        "electronic": Pair(music("bolero_ravel.mp3", 5, 3, 0.2), music("electronic.mp3", 0, 3), "Fast techno, loud"),
        "salience": Pair(music("bach.mp3", 6.5, 3), music("salience_1.wav", 1, 3), "a wind instrument plays alone"),
        "short": Pair(both(parity.noise(RATE, SECONDS)), music("electro_1.mp3", 2, 2), "noise " * 90),
        "shorter": Pair(music("electro_1.mp3", 9, 3), both(parity.sine(RATE, 1.4)), "A tone of 440 Hz."),
    }


LONG = 20.5  # seconds: two segments, of which the second is short


def long_batch(data: Path) -> dict[str, Pair]:
    """A long pair, and beside it a short reference, whose generated clip is as long as the batch."""
    raw = audio.resample(audio.read(data / "audio" / "bach.mp3"), RATE).samples.mean(axis=0)
    long = Pair(np.stack([np.resize(raw, round(LONG * RATE))] * 2), np.stack([parity.noise(RATE, LONG)] * 2), "")
    pair = pairs(data)["bach"]
    silence = round((LONG - SECONDS) * RATE)
    return {"long": long, "bach": pair._replace(generated=np.pad(pair.generated, ((0, 0), (0, silence))))}


def conversions(data: Path) -> dict[str, tuple[Audio, int]]:
    """Sounds, and the rates that `convert_audio` brings them to."""
    sounds = {rate: Audio(parity.noise(rate, 0.4).reshape(2, -1), rate) for rate in (22050, 32000, 44100, 48000)}
    wav = audio.read(data / "audio" / "salience_1.wav")
    sounds[-1] = Audio(np.ascontiguousarray(wav.samples[:, wav.rate :][:, : wav.rate // 4]), wav.rate)
    cases = [
        (22050, 32000),
        (32000, 16000),
        (32000, 48000),
        (44100, 32000),
        (44100, 48000),
        (48000, 32000),
        (-1, 16000),
    ]
    return {f"{old if old > 0 else 'salience'} to {new}": (sounds[old], new) for old, new in cases}


def levels(data: Path) -> dict[str, Audio]:
    """Sounds whose loudness audiocraft sets to -14 LUFS."""
    pair = pairs(data)
    return {
        "electro": Audio(pair["bach"].generated[:, :RATE], RATE),
        "quiet orchestra": Audio(pair["electronic"].generated[:, :RATE], RATE),
        "noise, clipped": Audio(parity.noise(RATE, 1.0, level=0.5)[None], RATE),
        "nearly silent": Audio(parity.noise(RATE, 1.0, level=1e-3)[None], RATE),
    }


def written(data: Path) -> dict[str, np.ndarray]:
    """Clips (samples,) at 16 kHz that FAD's wav files are written from."""
    return {
        "noise": parity.noise(16000, 0.5),
        "noise over full scale": parity.noise(16000, 0.5, level=0.9),
        "tone": parity.sine(16000, 0.5),
        "steps": (np.arange(8000) % 401 / 400 - 0.5).astype(np.float32),
        "bach": parity.music(data, "bach.mp3", 16000, 3, 0.5),
    }


def kept(samples: np.ndarray) -> np.ndarray:
    """The samples that a fixture holds of (channels, samples)."""
    return samples[..., ::11]


def fingerprint(network: Any) -> np.ndarray:
    """Mean and spread of each tensor of a network's state, (tensors, 2), by which other weights are known."""
    state = sorted(network.state_dict().items())
    values = [v.double().numpy() for _, v in state if v.is_floating_point()]
    return np.array([[v.mean(), v.std()] for v in values])


def stand_ins() -> None:
    """Empty modules for packages that audiocraft imports and its metrics do not use."""
    for name in ("av", "spacy", "xformers", "xformers.ops"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["xformers"].ops = sys.modules["xformers.ops"]  # type: ignore[attr-defined]


def passt_metric() -> Any:
    """audiocraft's metric, its network loaded from a file in the published layout."""
    import torch
    from audiocraft.metrics import PasstKLDivergenceMetric

    from evalkit import compat
    from evalkit.encoders.passt import network_of

    path = parity.folder() / "passt.pt"
    torch.save(network_of(parity.random_asset("PaSST weights"), parity.cache()).net.state_dict(), path)
    with compat.quiet():
        from hear21passt.models.helpers import vit_helpers

        with patch.object(vit_helpers, "download_cached_file", lambda *_, **__: path):
            return PasstKLDivergenceMetric(pretrained_length=20)


def clap_metric() -> Any:
    """audiocraft's metric, its network loaded from a file in the published layout, with the made-up tokenizer."""
    import torch
    from audiocraft.metrics import CLAPTextConsistencyMetric

    from evalkit import compat
    from evalkit.encoders.clap import made_up_tokenizer, network_of

    path = parity.folder() / "clap.pt"
    network = network_of(parity.random_asset("CLAP weights"), parity.cache(), "cpu").model
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    state["module.text_branch.embeddings.position_ids"] = torch.arange(514)[None]
    torch.save({"state_dict": state}, path)
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizer

    config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
    tokenizer = compat.roberta_tokenizer(made_up_tokenizer(parity.cache()))
    with (
        compat.quiet(),
        patch.object(RobertaModel, "from_pretrained", lambda *_, **__: RobertaModel(config)),
        patch.object(RobertaTokenizer, "from_pretrained", lambda *_, **__: tokenizer),
    ):
        return CLAPTextConsistencyMetric(str(path), model_arch="HTSAT-base")


def levelled(pair: Pair) -> Pair:
    """Set the loudness of the whole generated clip, as audiocraft's solver does."""
    import torch
    from audiocraft.data.audio_utils import normalize_audio

    wav = torch.from_numpy(pair.generated)
    wav = normalize_audio(wav, strategy="loudness", loudness_headroom_db=14, sample_rate=RATE)
    return pair._replace(generated=wav.numpy())


def scores(metric: Any, batch: dict[str, Pair], with_captions: bool = False) -> Any:
    """What a metric gives for one batch of levelled pairs, references padded as audiocraft's solver does."""
    import torch

    sizes = torch.tensor([pair.reference.shape[1] for pair in batch.values()])
    rates = torch.tensor([RATE] * len(batch))
    generated = torch.from_numpy(np.stack([pair.generated for pair in batch.values()]))
    references = torch.stack(
        [
            torch.nn.functional.pad(torch.from_numpy(pair.reference), (0, generated.shape[2] - pair.reference.shape[1]))
            for pair in batch.values()
        ]
    )
    metric.reset()
    with torch.no_grad():
        if with_captions:
            metric.update(generated, [pair.caption for pair in batch.values()], sizes, rates)
        else:
            metric.update(generated, references, sizes, rates)
    return metric.compute()


def cut(pair: Pair) -> Pair:
    """Both clips at the length of the reference, so that nothing is padded."""
    return pair._replace(generated=pair.generated[:, : pair.reference.shape[1]])


def wav_samples(clip: np.ndarray, folder: Path) -> np.ndarray:
    """The 16-bit samples of the file that audiocraft's FAD metric writes of a clip."""
    import soundfile
    import torch
    from audiocraft.data.audio import audio_write

    path = audio_write(folder / "clip", torch.from_numpy(clip)[None], sample_rate=16000, format="wav", strategy="peak")
    return soundfile.read(path, dtype="int16")[0]


def main(data: Path) -> None:
    from evalkit import compat

    compat.prepare()
    compat.laion_clap()
    stand_ins()
    import imageio_ffmpeg
    import torch
    from audiocraft.data.audio_utils import convert_audio, normalize_audio
    from audiocraft.metrics import ChromaCosineSimilarityMetric

    arrays: dict[str, np.ndarray] = {}
    for name, (sound, rate) in conversions(data).items():
        wav = convert_audio(torch.from_numpy(sound.samples), sound.rate, rate, 1)
        arrays[f"convert/{name}"] = kept(wav.numpy())
    for name, sound in levels(data).items():
        wav = normalize_audio(
            torch.from_numpy(sound.samples), strategy="loudness", loudness_headroom_db=14, sample_rate=sound.rate
        )
        arrays[f"level/{name}"] = kept(wav.numpy())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
        with patch.dict(os.environ, PATH=f"{folder}{os.pathsep}{os.environ['PATH']}"):
            for name, clip in written(data).items():
                arrays[f"wav/{name}"] = wav_samples(clip, folder)

    batch = {name: levelled(pair) for name, pair in pairs(data).items()}
    passt, clap = passt_metric(), clap_metric()
    chroma = ChromaCosineSimilarityMetric(sample_rate=RATE, n_chroma=12, radix2_exp=14, argmax=True)
    smooth = ChromaCosineSimilarityMetric(sample_rate=RATE, n_chroma=12, radix2_exp=14, argmax=False)
    calls: dict[str, Callable[[dict[str, Pair]], Any]] = {
        "kld": lambda part: scores(passt, part),
        "clap_score": lambda part: scores(clap, part, with_captions=True),
        "chroma": lambda part: scores(chroma, {k: cut(p) for k, p in part.items()}),
        "chroma, argmax off": lambda part: scores(smooth, {k: cut(p) for k, p in part.items()}),
    }
    values = {
        "versions": {name: importlib.metadata.version(name) for name in ("audiocraft", "torch", "hear21passt")},
        "batch": {"kld": scores(passt, batch), "clap_score": scores(clap, batch, with_captions=True)},
        "padded batch": {"chroma": scores(chroma, batch)},
        "alone": {name: {key: call({key: pair}) for key, pair in batch.items()} for name, call in calls.items()},
        "long": {"kld": scores(passt, {name: levelled(pair) for name, pair in long_batch(data).items()})},
    }
    arrays |= {"passt": fingerprint(passt.model.net), "clap": fingerprint(clap.model.model)}
    FIXTURES.mkdir(exist_ok=True)
    (FIXTURES / "audiocraft.json").write_text(json.dumps(values, indent=1) + "\n", "utf-8")
    np.savez_compressed(FIXTURES / "audiocraft.npz", **arrays)


if __name__ == "__main__":
    main(Path(__file__).parents[3] / "shared" / "data")
