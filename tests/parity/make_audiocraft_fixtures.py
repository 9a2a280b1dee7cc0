"""Records what audiocraft's own metric classes say, for `test_audiocraft.py`; run it only to make its fixtures anew.

audiocraft 1.3.0 asks for torch 2.1, so it needs an environment of its own beside the current torch:

    python -m venv audiocraft-env && . audiocraft-env/bin/activate
    pip install -c constraints.txt torch && pip install -c constraints.txt -e .
    pip install --no-deps audiocraft==1.3.0
    pip install torchmetrics flashy num2words imageio-ffmpeg
    OMP_NUM_THREADS=1 python -m tests.parity.make_audiocraft_fixtures

The audio is rendered and comes from formulas; the fixtures hold values, not audio. The weights are
seeded random ones in the published files' layout, which audiocraft loads with its own code.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from evalkit import audio
from evalkit.audio import Audio
from tests import music, parity

FIXTURES = Path(__file__).parent / "fixtures"
RATE = 32000
SECONDS = 2  # the length of the batch, and of every generated clip
MUSIC = 0  # the seed of the music, which stays, whatever music other tests hear


class Pair(NamedTuple):
    """A generated clip and its reference, each (2, samples) at a rate of its own, and the caption."""

    generated: Audio
    reference: Audio
    caption: str


def piece(kind: str, rate: int, seconds: float) -> Audio:
    """Music of one of the kinds in `tests.music`, always the same piece."""
    return Audio(music.rendered(kind, rate, seconds, MUSIC), rate)


def both(mono: np.ndarray) -> Audio:
    return Audio(np.stack([mono, mono]), RATE)


def pairs() -> dict[str, Pair]:
    """The clips of one batch; references that are shorter are padded with zeros by audiocraft."""
    return {
        "hot": Pair(piece("hot", 32000, 2), piece("plain", 44100, 2), "A slow piece for harpsichord."),
        "quiet": Pair(piece("quiet", 44100, 2), piece("pauses", 32000, 2), "Fast techno, loud"),
        "pauses": Pair(piece("pauses", 48000, 2), piece("fading in", 48000, 2), "a wind instrument plays alone"),
        "low": Pair(piece("low", 32000, 2), piece("off centre", 22050, 2), "A deep bass."),
        "left only": Pair(piece("left only", 32000, 2), piece("hiss", 32000, 2), "An old recording <of> a guitar"),
        "very quiet": Pair(piece("very quiet", 32000, 2), piece("mono", 44100, 2), "ambient"),
        "over full scale": Pair(piece("over full scale", 48000, 2), piece("wide", 32000, 2), "Rock, distorted"),
        "short": Pair(piece("anti-phase", 32000, 2), piece("bursts", 32000, 1.5), "noise " * 90),
        "shorter": Pair(piece("clipped", 22050, 2), both(parity.sine(RATE, 1.1)), "A tone of 440 Hz."),
    }


LONG = 20.5  # seconds: two segments, of which the second is short


def long_batch() -> dict[str, Pair]:
    """A long pair, and beside it short references, whose generated clips are as long as the batch."""
    noise = both(parity.noise(RATE, LONG))
    return {
        "long": Pair(piece("plain", 44100, LONG), noise, ""),
        "7.3 s": Pair(piece("off centre", 48000, LONG), piece("left only", 48000, 7.3), ""),
        "2 s": Pair(piece("pauses", RATE, LONG), piece("clipped", 44100, 2), ""),
    }


def conversions() -> dict[str, tuple[Audio, int]]:
    """Sounds, and the rates that `convert_audio` brings them to."""
    cases = [(22050, 32000), (32000, 16000), (32000, 48000), (44100, 32000), (44100, 48000), (48000, 32000)]
    found = {f"noise, {old} to {new}": (Audio(parity.noise(old, 0.4).reshape(2, -1), old), new) for old, new in cases}
    kinds = ("hot", "off centre", "anti-phase", "left only", "pauses", "over full scale")
    for kind, (old, new) in zip(kinds, cases, strict=True):
        found[f"{kind}, {old} to {new}"] = (piece(kind, old, 0.4), new)
    found["mono, 16000 to 32000"] = (Audio(piece("mono", 16000, 0.4).samples[:1], 16000), 32000)
    return found


def levels() -> dict[str, Audio]:
    """Sounds whose loudness audiocraft sets to -14 LUFS."""
    found = {kind: piece(kind, RATE, 1) for kind in music.TREATMENTS}
    found |= {f"{kind}, {rate} Hz": piece(kind, rate, 1) for kind in ("plain", "low") for rate in (16000, 44100, 48000)}
    found["noise, clipped"] = Audio(parity.noise(RATE, 1.0, level=0.5)[None], RATE)
    found["nearly silent"] = Audio(parity.noise(RATE, 1.0, level=1e-3)[None], RATE)
    return found


def written() -> dict[str, np.ndarray]:
    """Clips (samples,) at 16 kHz that FAD's wav files are written from."""
    return {
        "noise": parity.noise(16000, 0.5),
        "noise over full scale": parity.noise(16000, 0.5, level=0.9),
        "tone": parity.sine(16000, 0.5),
        "steps": (np.arange(8000) % 401 / 400 - 0.5).astype(np.float32),
        **{
            kind: audio.downmix(piece(kind, 16000, 0.5)).samples[0]
            for kind in ("plain", "off centre", "clipped", "pauses")
        },
    }


def heard() -> np.ndarray:
    """Mean, spread and peak of each piece of music, (pieces, 3), by which other music is known."""
    pieces = [sound.samples.astype(np.float64) for pair in pairs().values() for sound in pair[:2]]
    return np.array([[x[0].mean(), x.std(), np.abs(x).max()] for x in pieces])


def kept(samples: np.ndarray) -> np.ndarray:
    """The samples that a fixture holds of (channels, samples)."""
    return samples[..., ::77]


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


@contextmanager
def exact_loudness() -> Iterator[None]:
    """Within it audiocraft measures loudness with the same function of torchaudio, but in float64."""
    import torchaudio
    from audiocraft.data import audio_utils

    def transform(rate: int) -> Any:
        return lambda wav: torchaudio.functional.loudness(wav.double(), rate)

    with patch.object(audio_utils.torchaudio.transforms, "Loudness", transform):
        yield


def levelled(sound: Audio) -> Audio:
    """Set the loudness of a whole clip, as audiocraft's solver does."""
    import torch
    from audiocraft.data.audio_utils import normalize_audio

    wav = torch.from_numpy(sound.samples)
    wav = normalize_audio(wav, strategy="loudness", loudness_headroom_db=14, sample_rate=sound.rate)
    return Audio(wav.numpy(), sound.rate)


def at_the_rate(sound: Audio) -> Audio:
    """Bring a clip to MusicGen's rate, as audiocraft's data sets do."""
    import torch
    from audiocraft.data.audio_utils import convert_audio

    wav = convert_audio(torch.from_numpy(sound.samples), sound.rate, RATE, 2)
    return Audio(wav.numpy(), RATE)


def prepared(batch: dict[str, Pair]) -> dict[str, Pair]:
    """The pairs as audiocraft's metrics get them."""
    return {
        name: Pair(levelled(at_the_rate(pair.generated)), at_the_rate(pair.reference), pair.caption)
        for name, pair in batch.items()
    }


def scores(metric: Any, batch: dict[str, Pair], with_captions: bool = False) -> Any:
    """What a metric gives for one batch of prepared pairs, references padded as audiocraft's solver does."""
    import torch

    sizes = torch.tensor([pair.reference.samples.shape[1] for pair in batch.values()])
    rates = torch.tensor([RATE] * len(batch))
    generated = torch.from_numpy(np.stack([pair.generated.samples for pair in batch.values()]))
    padded = [
        np.pad(pair.reference.samples, ((0, 0), (0, generated.shape[2] - size)))
        for pair, size in zip(batch.values(), sizes.tolist(), strict=True)
    ]
    references = torch.from_numpy(np.stack(padded))
    metric.reset()
    with torch.no_grad():
        if with_captions:
            metric.update(generated, [pair.caption for pair in batch.values()], sizes, rates)
        else:
            metric.update(generated, references, sizes, rates)
    return metric.compute()


def cut(pair: Pair) -> Pair:
    """Both clips at the length of the reference, so that nothing is padded."""
    return pair._replace(generated=Audio(pair.generated.samples[:, : pair.reference.samples.shape[1]], RATE))


def wav_samples(clip: np.ndarray, folder: Path) -> np.ndarray:
    """The 16-bit samples of the file that audiocraft's FAD metric writes of a clip."""
    import soundfile
    import torch
    from audiocraft.data.audio import audio_write

    path = audio_write(folder / "clip", torch.from_numpy(clip)[None], sample_rate=16000, format="wav", strategy="peak")
    return soundfile.read(path, dtype="int16")[0]


def main() -> None:
    from evalkit import compat

    compat.prepare()
    compat.laion_clap()
    stand_ins()
    import imageio_ffmpeg
    import torch
    from audiocraft.data.audio_utils import convert_audio
    from audiocraft.metrics import ChromaCosineSimilarityMetric

    arrays: dict[str, np.ndarray] = {"music": heard()}
    for name, (sound, rate) in conversions().items():
        wav = convert_audio(torch.from_numpy(sound.samples), sound.rate, rate, 1)
        arrays[f"convert/{name}"] = kept(wav.numpy())
    for name, sound in levels().items():
        arrays[f"level/{name}"] = kept(levelled(sound).samples)
        with exact_loudness():
            arrays[f"exact level/{name}"] = kept(levelled(sound).samples)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
        with patch.dict(os.environ, PATH=f"{folder}{os.pathsep}{os.environ['PATH']}"):
            for name, clip in written().items():
                arrays[f"wav/{name}"] = wav_samples(clip, folder)

    batch = prepared(pairs())
    with exact_loudness():
        exact, long = prepared(pairs()), prepared(long_batch())
    passt, clap = passt_metric(), clap_metric()
    chroma = ChromaCosineSimilarityMetric(sample_rate=RATE, n_chroma=12, radix2_exp=14, argmax=True)
    smooth = ChromaCosineSimilarityMetric(sample_rate=RATE, n_chroma=12, radix2_exp=14, argmax=False)
    calls: dict[str, Callable[[dict[str, Pair]], Any]] = {
        "kld": lambda part: scores(passt, part),
        "clap_score": lambda part: scores(clap, part, with_captions=True),
        "chroma": lambda part: scores(chroma, {k: cut(p) for k, p in part.items()}),
        "chroma, argmax off": lambda part: scores(smooth, {k: cut(p) for k, p in part.items()}),
    }

    def alone(batch: dict[str, Pair]) -> dict[str, dict[str, Any]]:
        return {name: {key: call({key: pair}) for key, pair in batch.items()} for name, call in calls.items()}

    values = {
        "versions": {name: importlib.metadata.version(name) for name in ("audiocraft", "torch", "hear21passt")},
        "batch": {name: call(batch) for name, call in list(calls.items())[:2]},
        "padded batch": {"chroma": scores(chroma, batch)},
        "alone": alone(batch),
        "exact loudness": alone(exact),
        "exact loudness, batch": {name: call(exact) for name, call in list(calls.items())[:2]},
        "long": {"kld": scores(passt, long)},
    }
    arrays |= {"passt": fingerprint(passt.model.net), "clap": fingerprint(clap.model.model)}
    FIXTURES.mkdir(exist_ok=True)
    (FIXTURES / "audiocraft.json").write_text(json.dumps(values, indent=1) + "\n", "utf-8")
    np.savez_compressed(FIXTURES / "audiocraft.npz", **arrays)


if __name__ == "__main__":
    main()
