"""The packages that people compute these metrics with today, called as their own documentation and callers do.

They run on the same weights as evalkit's encoders, which the caller hands over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import julius
import librosa
import numpy as np
import scipy.linalg
import soundfile
import torch

from evalkit import compat
from evalkit.stats.frechet import frechet_distance, gaussian

Stages = dict[str, float]


def stages_of(clock: Callable[[], float], *steps: tuple[str, Callable[[], Any]]) -> Stages:
    """The seconds of steps that run one after the other."""
    seconds: Stages = {}
    for name, step in steps:
        start = clock()
        step()
        seconds[name] = seconds.get(name, 0.0) + clock() - start
    return seconds


class FAD:
    """frechet-audio-distance: `FrechetAudioDistance().score(background_dir, eval_dir)`."""

    def __init__(self, weights: Any, device: str):
        from frechet_audio_distance import FrechetAudioDistance
        from torchvggish import vggish_input
        from torchvggish.torchvggish import VGG, make_layers

        class Hub(VGG):  # what torch.hub gives for harritaylor/torchvggish: the package's front end, then its network
            def forward(self, samples: np.ndarray, rate: int) -> torch.Tensor:
                return super().forward(vggish_input.waveform_to_examples(samples, rate).to(device))

        network = Hub(make_layers(), postprocess=False)
        network.load_state_dict(weights)
        with patch.object(torch.hub, "load", lambda **_: network), compat.quiet():
            self.package = FrechetAudioDistance()
        self.package.device = torch.device(device)
        self.package.model.to(device)

    def score(self, references: Path, generated: Path) -> float:
        value = float(self.package.score(str(references), str(generated)))
        if value == -1:
            raise RuntimeError("frechet-audio-distance failed: it gives -1")
        return value

    def stages(self, path: Path, clock: Callable[[], float]) -> Stages:
        """Where the time of one clip goes."""
        import resampy

        samples, rate = soundfile.read(path, dtype="float32")
        mono = samples.mean(axis=1) if samples.ndim > 1 else samples
        resampled = resampy.resample(mono, rate, 16000)
        return stages_of(
            clock,
            ("decode", lambda: soundfile.read(path, dtype="float32")),
            ("resample", lambda: resampy.resample(mono, rate, 16000)),
            ("network", lambda: self.package.get_embeddings([resampled], 16000)),
        )


class KLD:
    """audiocraft's PasstKLDivergenceMetric: each clip alone, pair by pair, through hear21passt's 20-second model.

    audiocraft reads with ffmpeg's libraries, which are not needed here: soundfile takes their place. Its setting of
    loudness is left out on both sides: torchaudio's is a Python loop where its extension cannot be loaded.
    """

    def __init__(self, weights: Any, device: str):
        self.model = compat.passt_model(20)
        self.model.net.load_state_dict(weights)
        self.model.eval().to(device)
        self.device = device

    def wave(self, path: Path) -> torch.Tensor:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return julius.resample_frac(torch.from_numpy(np.ascontiguousarray(samples.T)), rate, 32000)

    def probabilities(self, wave: torch.Tensor) -> torch.Tensor:
        mono = wave.mean(dim=0, keepdim=True)
        parts = []
        for segment in torch.split(mono, 20 * 32000, dim=-1):
            if segment.shape[-1] > 0.15 * 32000:
                with torch.no_grad(), compat.quiet():
                    parts.append(torch.softmax(self.model(segment.to(self.device)), dim=-1).cpu())
        return torch.cat(parts)

    def score(self, references: Sequence[Path], generated: Sequence[Path]) -> tuple[float, np.ndarray]:
        """The metric's value, and the probabilities of the generated clips."""
        divergences, kept = [], []
        for reference, clip in zip(references, generated, strict=True):
            ours, theirs = self.probabilities(self.wave(clip)), self.probabilities(self.wave(reference))
            each = torch.nn.functional.kl_div((ours + 1e-6).log(), theirs, reduction="none").sum(-1)
            divergences.append(each)
            kept.append(ours)
        return float(torch.cat(divergences).mean()), torch.cat(kept).numpy()

    def stages(self, path: Path, clock: Callable[[], float]) -> Stages:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        given = torch.from_numpy(np.ascontiguousarray(samples.T))
        wave = julius.resample_frac(given, rate, 32000)
        return stages_of(
            clock,
            ("decode", lambda: soundfile.read(path, dtype="float32", always_2d=True)),
            ("resample", lambda: julius.resample_frac(given, rate, 32000)),
            ("network", lambda: self.probabilities(wave)),
        )


class CLAP:
    """laion_clap: `get_audio_embedding_from_filelist` and `get_text_embedding`, lists of `together` at once.

    Its file-list API puts a whole list into one forward and records it for training, so long lists need much memory.
    """

    def __init__(self, weights: Any, tokenizer: Any, device: str, together: int = 1):
        self.module = compat.clap_module("HTSAT-base", False)
        self.module.model.load_state_dict(weights)
        self.module.tokenize = tokenizer
        self.module.eval().to(device)
        self.together = together

    def audio(self, paths: Sequence[Path]) -> np.ndarray:
        files = [str(path) for path in paths]
        lists = [files[i : i + self.together] for i in range(0, len(files), self.together)]
        with compat.quiet():
            return np.concatenate([self.module.get_audio_embedding_from_filelist(part) for part in lists])

    def score(self, paths: Sequence[Path], captions: Sequence[str]) -> tuple[float, np.ndarray]:
        """The mean cosine similarity, and the embeddings of the clips."""
        audio = self.audio(paths)
        with compat.quiet():
            text = self.module.get_text_embedding(list(captions))
        cosines = torch.nn.functional.cosine_similarity(
            torch.from_numpy(audio), torch.from_numpy(text), dim=1, eps=1e-8
        )
        return float(cosines.mean()), audio

    def stages(self, path: Path, clock: Callable[[], float]) -> Stages:
        from laion_clap.training.data import float32_to_int16, int16_to_float32

        native, rate = librosa.load(path, sr=None)
        samples = librosa.resample(native, orig_sr=rate, target_sr=48000)
        quantised = int16_to_float32(float32_to_int16(samples))
        return stages_of(
            clock,
            ("decode", lambda: librosa.load(path, sr=None)),
            ("resample", lambda: librosa.resample(native, orig_sr=rate, target_sr=48000)),
            ("network", lambda: self.module.get_audio_embedding_from_data([quantised])),
        )


class Aesthetics:
    """audiobox_aesthetics: `main_predict` on a list of files, ten at once.

    Its own reading needs torchcodec, which is not needed here: soundfile takes its place.
    """

    def __init__(self, network: Any, device: str):
        compat.prepare()
        from audiobox_aesthetics import infer

        with patch.object(infer.AesMultiOutput, "from_pretrained", lambda _: network), compat.quiet():
            self.predictor = infer.AesPredictor(None)
        self.predictor.device = torch.device(device)
        self.predictor.model.to(device)
        self.package = infer

    def read(self, path: str) -> tuple[torch.Tensor, int]:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return torch.from_numpy(np.ascontiguousarray(samples.T)), rate

    def score(self, paths: Sequence[Path]) -> tuple[float, np.ndarray]:
        """The mean production quality, and all four scores of each clip."""
        rows: list[dict[str, float]] = []
        with patch.object(self.package.torchaudio, "load", self.read), compat.quiet():
            for start in range(0, len(paths), 10):
                rows += self.predictor.forward([{"path": str(path)} for path in paths[start : start + 10]])
        scores = np.array([list(row.values()) for row in rows])
        return float(scores[:, list(rows[0]).index("PQ")].mean()), scores

    def stages(self, path: Path, clock: Callable[[], float]) -> Stages:
        wave, rate = self.read(str(path))
        mono = wave.mean(dim=0, keepdim=True)
        (resampled,) = self.predictor.audio_resample_mono([{"path": mono, "sample_rate": rate}])
        given = [{"path": resampled, "sample_rate": 16000}]
        with compat.quiet():
            return stages_of(
                clock,
                ("decode", lambda: self.read(str(path))),
                ("resample", lambda: self.predictor.audio_resample_mono([{"path": mono, "sample_rate": rate}])),
                ("network", lambda: self.predictor.forward(given)),
            )


class MuQ:
    """muq: `MuQ.forward` of each file, and evalkit's distance of the states' means over seconds.

    frechet-audio-distance's is wrong in the third digit, where there are fewer embeddings than dimensions. The package
    collects hidden states of transformers 4 alone: here transformers' layers, called as 4 calls them, give them to it.
    """

    def __init__(self, settings: Any, weights: Any, device: str):
        compat.prepare()
        from transformers import Wav2Vec2ConformerConfig

        with compat.quiet():
            from muq import MuQ, MuQConfig

            rest = {k: v for k, v in Wav2Vec2ConformerConfig().to_dict().items() if not isinstance(v, dict)}
            own = rest | settings["w2v2_config"] | {"_attn_implementation": "eager"}
            network = MuQ(MuQConfig(**settings | {"w2v2_config": own})).eval()
        read = {f"model.{name}": tensor for name, tensor in weights.items()}
        assert not network.load_state_dict(read, strict=False).unexpected_keys
        network.model.conformer.forward = partial(self.states, network.model.conformer)
        self.network, self.device = network.to(device), device

    @staticmethod
    def states(conformer: Any, x: torch.Tensor, output_hidden_states: bool) -> dict[str, Any]:
        positions, found = conformer.embed_positions(x), [x]
        for layer in conformer.layers:
            found.append(layer(found[-1], attention_mask=None, relative_position_embeddings=positions))
        last = conformer.layer_norm(found.pop())
        return {"hidden_states": (*found, last), "last_hidden_state": last}

    def seconds(self, samples: np.ndarray) -> np.ndarray:
        """The means (seconds, 1024) of the last hidden states of samples at 24 kHz."""
        with torch.no_grad():
            (states,) = self.network(torch.tensor(samples)[None].to(self.device)).last_hidden_state.cpu().numpy()
        whole = states[: len(states) // 25 * 25]
        return whole.reshape(-1, 25, whole.shape[1]).mean(axis=1)

    def score(self, references: Sequence[Path], generated: Sequence[Path]) -> tuple[float, np.ndarray]:
        """The Fréchet distance, and the embeddings of the generated clips."""
        theirs, ours = (
            [self.seconds(librosa.load(path, sr=24000)[0]) for path in paths] for paths in (references, generated)
        )
        return frechet_distance(*gaussian(ours, 1), *gaussian(theirs, 1)), np.concatenate(ours)

    def stages(self, path: Path, clock: Callable[[], float]) -> Stages:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono = samples.mean(axis=1)
        resampled = librosa.resample(mono, orig_sr=rate, target_sr=24000)
        return stages_of(
            clock,
            ("decode", lambda: soundfile.read(path, dtype="float32", always_2d=True)),
            ("resample", lambda: librosa.resample(mono, orig_sr=rate, target_sr=24000)),
            ("network", lambda: self.seconds(resampled)),
        )


class MERT:
    """fadtk's `MERTModel` and FAD, stated again: all hidden states of a file, of which it keeps one.

    Its detour over 16-bit files and float16 is left out, by which the numbers would differ.
    """

    RATE = 24000

    def __init__(self, network: Any, device: str):
        from transformers import Wav2Vec2FeatureExtractor

        self.network, self.device = network.eval().to(device), device
        self.processor = Wav2Vec2FeatureExtractor(sampling_rate=self.RATE, return_attention_mask=True)

    def resampled(self, mono: torch.Tensor, rate: int) -> np.ndarray:
        import torchaudio

        kaiser = {"lowpass_filter_width": 64, "rolloff": 0.9475937167399596, "beta": 14.769656459379492}
        made = torchaudio.transforms.Resample(rate, self.RATE, resampling_method="sinc_interp_kaiser", **kaiser)
        return np.asarray(made(mono)[0].numpy())

    def wave(self, path: Path) -> np.ndarray:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return self.resampled(torch.from_numpy(samples.T).mean(0, keepdim=True), rate)

    def states(self, wave: np.ndarray) -> np.ndarray:
        inputs = self.processor(wave, sampling_rate=self.RATE, return_tensors="pt").to(self.device)
        with torch.no_grad():
            out = self.network(**inputs, output_hidden_states=True)
        return np.asarray(torch.stack(out.hidden_states).squeeze()[12].cpu().numpy())

    def score(self, references: Sequence[Path], generated: Sequence[Path]) -> tuple[float, np.ndarray]:
        """The Fréchet distance, and the states of the generated clips, (frames, 768)."""
        sides = [np.concatenate([self.states(self.wave(path)) for path in paths]) for paths in (references, generated)]
        means = [side.mean(axis=0, dtype=np.float64) for side in sides]
        covariances = [np.cov(side.astype(np.float64), rowvar=False) for side in sides]
        roots = np.lib.scimath.sqrt(scipy.linalg.eigvals(covariances[0] @ covariances[1])).real
        apart = means[0] - means[1]
        return float(apart @ apart + np.trace(sum(covariances)) - 2 * roots.sum()), sides[1]

    def stages(self, path: Path, clock: Callable[[], float]) -> Stages:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono = torch.from_numpy(samples.T).mean(0, keepdim=True)
        resampled = self.resampled(mono, rate)
        return stages_of(
            clock,
            ("decode", lambda: soundfile.read(path, dtype="float32", always_2d=True)),
            ("resample", lambda: self.resampled(mono, rate)),
            ("network", lambda: self.states(resampled)),
        )


class MAD:
    """mad_metric's embeddings of three files at once, and what it computes of them, from clips in evalkit's order."""

    def __init__(self, network: Any, device: str):
        import transformers
        from mad_metric.embedding_models import MERT330M

        processor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=24000, return_attention_mask=True)
        with (
            patch.object(transformers.AutoModel, "from_pretrained", lambda *_, **__: network.eval()),
            patch.object(transformers.Wav2Vec2FeatureExtractor, "from_pretrained", lambda *_, **__: processor),
        ):
            self.model = MERT330M(torch.device(device))

    def embeddings(self, paths: Sequence[Path]) -> np.ndarray:
        import librosa

        found = []
        for start in range(0, len(paths), 3):
            waves = [librosa.load(path, sr=self.model.sr)[0] for path in paths[start : start + 3]]
            found.append(self.model.get_embedding(waves, 12, "max").cpu().numpy())
        return np.concatenate(found)

    def score(self, references: Sequence[Path], generated: Sequence[Path]) -> tuple[float, np.ndarray]:
        """-ln MAUVE, and the embeddings of the generated clips, (clips, 768)."""
        import mauve

        theirs, ours = self.embeddings(references), self.embeddings(generated)
        ordered = [side[np.lexsort(side.T[::-1])] for side in (ours, theirs)]
        with compat.quiet():
            return -float(np.log(mauve.compute_mauve(*ordered).mauve)), ours

    def stages(self, path: Path, clock: Callable[[], float]) -> Stages:
        import librosa

        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono = samples.mean(axis=1)
        resampled = librosa.resample(mono, orig_sr=rate, target_sr=self.model.sr)
        return stages_of(
            clock,
            ("decode", lambda: soundfile.read(path, dtype="float32", always_2d=True)),
            ("resample", lambda: librosa.resample(mono, orig_sr=rate, target_sr=self.model.sr)),
            ("network", lambda: self.model.get_embedding([resampled], 12, "max")),
        )


def clock_of(device: str) -> Callable[[], float]:
    """Seconds of work: of all threads of this process on a CPU, of the wall clock on a GPU."""
    if device == "cpu":
        return time.process_time

    def clock() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return clock
