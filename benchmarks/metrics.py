"""evalkit's metric stage against the packages that people use today: FAD, KLD, CLAP score, all three, and others alone.

    python -m benchmarks.metrics [--clips 8] [--repeats 3] [--threads 2] [--device cuda] [--many 512]

One process holds both sides, on the same seeded weights and the same 10-s stereo files; they run in turns, and each
must give the other's numbers. Seconds are for decoding, resampling, embedding and the statistic, from files to value;
loading of networks is left out on both sides. Both sides compute in float32, also where a GPU has TF32. Results go to
results/benchmarks/.

With --many, which is the default on a GPU, the feature stage also runs over so many clips, the same files under as many
contents: with all encoders, and with each alone on clips that are decoded.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from benchmarks import packages
from benchmarks.metrics_report import write
from evalkit import audio, compat
from evalkit.assets import Asset
from evalkit.audio import Audio
from evalkit.batching import items_at_once
from evalkit.encoders import audiobox_aesthetics, clap, mert, muq, passt, vggish
from evalkit.features.conditioning import condition, heard
from evalkit.features.extractor import Extractor, input_of
from evalkit.metrics import Metric, mad
from evalkit.metrics.audiobox_aesthetics import PredictedRating
from evalkit.metrics.clap_score import CLAPScore
from evalkit.metrics.fad import FAD
from evalkit.metrics.kld import KLD
from evalkit.metrics.mad import MAD
from evalkit.models.synth.synth import Synth
from evalkit.precision import fixed_precision
from evalkit.prompts.demo import Demo
from evalkit.store.cache import Cache
from evalkit.store.digests import sha256_file
from evalkit.store.provenance import machine as device_of
from evalkit.types import Clip, Features, Prompt

ROOT = Path(__file__).parent.parent
MUSIC = ROOT.parent / "shared" / "data" / "audio"
SECONDS = 10
WEIGHTS = Asset(name="seeded weights", random_seed=0)
TOGETHER = ("fad", "kld", "clap_score")  # MusicGen's, which are measured in one run too
BARS = {
    "fad": 1.5,
    "kld": 1.0,
    "clap_score": 1.0,
    "together": 1.5,
    "production_quality": 1.0,
    "fad_mert": 1.0,
    "fad_muq": 1.0,
    "mad": 1.0,
}  # on a CPU
GPU_BAR = 5.0
MANY = 512  # clips of the feature stage by itself on a GPU
MUSICCAPS = 5521
# Of values relative to the largest possible one where there is one, of probabilities and embeddings absolute.
# laion_clap's own embeddings move by 5e-5 with the number of threads, where bands of a clip are empty and hold
# rounding noise, whose logarithm counts.
TOLERANCE = {
    "fad": 1e-5,
    "kld": 1e-5,
    "clap_score": 1e-4,
    "production_quality": 1e-4,
    "fad_mert": 1e-4,
    "fad_muq": 1e-4,
    "mad": 1e-4,
}
GPU_TOLERANCE = 10.0  # times as much: batches are summed in another order than single clips
PACKAGES = ("torch", "frechet-audio-distance", "resampy", "hear21passt", "laion-clap", "julius", "librosa", "numpy")


def make_clips(folder: Path, count: int, prompts: Sequence[Prompt]) -> tuple[list[Clip], list[Clip]]:
    """Write `count` references and as many generated clips: real music where it is at hand, and synthesized."""
    music = []
    for path in sorted(MUSIC.glob("*")) if MUSIC.is_dir() else []:
        whole = audio.read(path)
        size = SECONDS * whole.rate
        starts = range(0, whole.samples.shape[1] - size + 1, size)
        music += [Audio(whole.samples[:, start : start + size], whole.rate) for start in starts]
    sets: list[list[Clip]] = []
    for seed, kind in enumerate(("references", "generated")):
        clips = []
        (folder / kind).mkdir(parents=True)
        for i, prompt in enumerate(prompts[:count]):
            take = 2 * (i // 2) + seed
            real = i % 2 == 0 and take < len(music)
            sound = music[take] if real else Synth(seed=seed).render(prompt, seed, SECONDS)
            path = folder / kind / f"{i}.wav"
            stereo = np.resize(sound.samples, (2, sound.samples.shape[1]))
            soundfile.write(path, np.clip(stereo, -1, 1).T, sound.rate, subtype="PCM_16")
            frames, rate, channels = audio.probe(path)
            digest = sha256_file(path)
            clips.append(Clip(str(i), path, sha256=digest, frames=frames, sample_rate=rate, channels=channels))
        sets.append(clips)
    return sets[0], sets[1]


class Ours:
    """evalkit's encoders and metrics, set so that each computes what its package does; loaded once."""

    def __init__(self, folder: Path, device: str, batch_size: int | None, captions: Sequence[Prompt]):
        self.folder, self.device, self.batch_size, self.captions = folder, device, batch_size, captions
        self.runs, self.waited = 0, 0.0
        self.networks: dict[str, Callable[[list[Any]], list[np.ndarray]]] = {}
        self.loaded: dict[str, Callable[[list[Any]], list[np.ndarray]]] = {}
        self.cache = Cache(folder / "weights")
        self.vggish = vggish.VGGish(
            WEIGHTS, window=0.96, hop=0.96, peak_headroom=None, pcm16=None, level=None, resampler="resampy"
        )
        self.passt = passt.PaSST(WEIGHTS)
        self.clap = clap.CLAPAudio(WEIGHTS, quantise=True, resampler="soxr_hq")
        self.text = clap.CLAPText(WEIGHTS, tokenizer=WEIGHTS)
        mad.FEWEST = 1  # so few say nothing, but take as long
        self.metrics: dict[str, Metric] = {
            "fad": FAD(self.vggish),
            "kld": KLD(self.passt),
            "clap_score": CLAPScore(self.clap, self.text),
            "production_quality": PredictedRating(audiobox_aesthetics.AudioboxAesthetics(WEIGHTS), "PQ"),
            "fad_mert": FAD(mert.MERT(WEIGHTS, pool="frames", resampler="torchaudio_kaiser_best")),
            "fad_muq": FAD(muq.MuQ(WEIGHTS, resampler="soxr_hq")),
            "mad": MAD(mert.MERT(WEIGHTS, pool="max", resampler="soxr_hq"), clusterings=1),
        }

    def score(self, names: Sequence[str], references: list[Clip], generated: list[Clip]) -> dict[str, Any]:
        """Values of metrics, from files, with nothing cached; and what the encoders gave of generated clips."""
        self.runs += 1
        cache = Cache(self.folder / f"run{self.runs}")
        extractor = Extractor(cache, self.device, self.batch_size, None, networks=self.networks)
        start_iteration = extractor._conditioned

        def conditioned(*arguments: Any) -> Any:
            batches = start_iteration(*arguments)
            while True:
                before = time.perf_counter()
                batch = next(batches, None)
                self.waited += time.perf_counter() - before
                if batch is None:
                    return
                yield batch

        object.__setattr__(extractor, "_conditioned", conditioned)
        metrics = {name: self.metrics[name] for name in names}
        keys = {name: extractor.key(metric.encoder) for name, metric in metrics.items()}
        options: dict[str, Any] = {"loudness": None, "refuse_silence": False, "title": "benchmark"}
        ours, _ = extractor.clips(generated, {keys[n]: metrics[n].encoder for n in names}, **options)
        compared = {keys[n]: m.encoder for n, m in metrics.items() if m.reference_encoder == m.encoder}
        theirs = extractor.clips(references, compared, **options)[0] if compared else {}
        result: dict[str, Any] = {}
        for name, metric in metrics.items():
            against: Features | None
            if name == "clap_score":
                against = extractor.captions(self.captions[: len(generated)], self.text, extractor.key(self.text))
            else:
                against = theirs.get(keys[name])
            result[name] = metric(ours[keys[name]], against).value
            result[f"{name} features"] = np.concatenate(ours[keys[name]].values)
        return result

    def many(self, clips: list[Clip], count: int) -> float:
        """Clips per second through the feature stage with the three encoders of audio, from files to the cache."""
        self.runs += 1
        extractor = Extractor(
            Cache(self.folder / f"run{self.runs}"), self.device, self.batch_size, None, networks=self.networks
        )
        encoders = {extractor.key(self.metrics[name].encoder): self.metrics[name].encoder for name in TOGETHER}
        contents = [
            dataclasses.replace(clips[i % len(clips)], id=str(i), sha256=f"{clips[i % len(clips)].sha256}{i}")
            for i in range(count)
        ]
        encode = partial(extractor.clips, contents, encoders, loudness=-14.0, refuse_silence=False, title="many clips")
        (features, _), wall, _ = timed(encode)
        if extractor.broken or any(len(part.ids) != count for part in features.values()):
            raise SystemExit(f"not all clips have features: {extractor.broken}")
        return count / wall

    def encode(self, name: str) -> Callable[[list[Any]], list[np.ndarray]]:
        """The encoder of a metric, loaded once."""
        if name not in self.loaded:
            self.loaded[name] = self.metrics[name].encoder.load(self.cache, self.device)
        return self.loaded[name]

    def stages(self, name: str, clip: Clip, clock: Callable[[], float]) -> dict[str, float]:
        """Where the time of one clip goes."""
        encoder, encode = self.metrics[name].encoder, self.encode(name)
        path = clip.path
        assert path is not None
        sound = condition(clip, None, None)
        samples = heard(sound, input_of(encoder))
        encode([samples])
        return packages.stages_of(
            clock,
            ("decode", lambda: audio.read(path)),
            ("resample", lambda: heard(sound, input_of(encoder))),
            ("network", lambda: encode([samples])),
        )


class Theirs:
    """The packages on evalkit's weights."""

    def __init__(self, ours: Ours, device: str):
        self.captions = [prompt.text for prompt in ours.captions]
        tokenizer = compat.roberta_tokenizer(clap.made_up_tokenizer(ours.cache))
        self.fad = packages.FAD(vggish.network_of(WEIGHTS, ours.cache).state_dict(), device)
        self.kld = packages.KLD(passt.network_of(WEIGHTS, ours.cache).net.state_dict(), device)
        weights = clap.network_of(WEIGHTS, ours.cache, device).model.state_dict()
        self.clap_score = packages.CLAP(weights, tokenizer, device)
        self.production_quality = packages.Aesthetics(audiobox_aesthetics.network_of(WEIGHTS, ours.cache), device)
        self.fad_mert = packages.MERT(mert.network_of(WEIGHTS, ours.cache, "MERT-v1-95M", 12)[0], device)
        _, network = muq.network_of(WEIGHTS, ours.cache, muq.LAYERS)
        self.fad_muq = packages.MuQ(muq.SETTINGS, network.state_dict(), device)
        self.mad = packages.MAD(mert.network_of(WEIGHTS, ours.cache, "MERT-v1-95M", 12)[0], device)

    def score(self, name: str, references: list[Clip], generated: list[Clip]) -> dict[str, Any]:
        theirs, ours = ([clip.path for clip in clips if clip.path] for clips in (references, generated))
        if name == "fad":
            return {name: self.fad.score(theirs[0].parent, ours[0].parent)}
        if name in ("kld", "fad_mert", "fad_muq", "mad"):
            value, features = getattr(self, name).score(theirs, ours)
        elif name == "production_quality":
            value, features = self.production_quality.score(ours)
        else:
            value, features = self.clap_score.score(ours, self.captions[: len(generated)])
        return {name: value, f"{name} features": features}


def finish() -> None:
    """Wait until a GPU has done all that it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """The result, wall seconds, and seconds of all threads of this process."""
    finish()
    wall, busy = time.perf_counter(), time.process_time()
    result = function()
    finish()
    return result, time.perf_counter() - wall, time.process_time() - busy


def difference(name: str, found: dict[str, Any], expected: dict[str, Any], device: str) -> dict[str, float]:
    """How far two sides are apart. Raises SystemExit where that is too far."""
    scale = 1.0 if name in ("clap_score", "mad") else abs(expected[name])
    apart = {f"{name}, value": abs(found[name] - expected[name]) / scale}
    if f"{name} features" in expected:
        what = {"kld": "probabilities", "production_quality": "scores"}.get(name, "embeddings")
        apart[f"{name}, {what}"] = float(np.abs(found[f"{name} features"] - expected[f"{name} features"]).max())
    allowed = TOLERANCE[name] * (1.0 if device == "cpu" else GPU_TOLERANCE)
    if not all(value < allowed for value in apart.values()):
        raise SystemExit(f"the numbers differ: {apart}")
    return apart


@fixed_precision()
def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run both sides in turns. Raises SystemExit where their numbers differ."""
    prompts = Demo().load(Cache(folder / "prompts")).prompts
    prompts = tuple(dataclasses.replace(p, id=str(i)) for i, p in enumerate(prompts * 100))[: options.clips]
    references, generated = make_clips(folder / "clips", options.clips, prompts)
    ours = Ours(folder, options.device, options.batch_size, prompts)
    theirs = Theirs(ours, options.device)
    names = list(ours.metrics)
    first = 1 if options.device == "cpu" else options.clips  # a GPU's libraries choose and allocate for each shape
    ours.score(names, references[:first], generated[:first])  # loads and warms up
    for name in names:
        theirs.score(name, references[:1], generated[:1])
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in [*names, "together"]}
    differences: dict[str, float] = {}
    for _ in range(options.repeats):
        totals = [0.0, 0.0]
        for name in names:
            expected, wall, busy = timed(partial(theirs.score, name, references, generated))
            found, our_wall, our_busy = timed(partial(ours.score, [name], references, generated))
            rows[name].append({"package": wall, "evalkit": our_wall, "package_cpu": busy, "evalkit_cpu": our_busy})
            if name in TOGETHER:
                totals = [totals[0] + wall, totals[1] + busy]
            print(name, {k: round(v, 2) for k, v in rows[name][-1].items()}, flush=True)
            differences |= difference(name, found, expected, options.device)
        ours.waited = 0.0
        found, our_wall, our_busy = timed(lambda: ours.score(TOGETHER, references, generated))
        row = {"package": totals[0], "evalkit": our_wall, "package_cpu": totals[1], "evalkit_cpu": our_busy}
        rows["together"].append({**row, "waited": ours.waited})
        print("together", {k: round(v, 2) for k, v in rows["together"][-1].items()}, flush=True)
    result: dict[str, Any] = {"metrics": {}, "differences": differences}
    for name, runs in rows.items():
        result["metrics"][name] = {
            "runs": runs,
            "ratio": statistics.median(run["package"] / run["evalkit"] for run in runs),
            "ratio_cpu": statistics.median(run["package_cpu"] / run["evalkit_cpu"] for run in runs),
            "bar": BARS[name] if options.device == "cpu" else GPU_BAR,
        }
    if options.device == "cpu":  # on a GPU encoders work while the next clips are waited for
        result["share_waiting_for_audio"] = statistics.median(r["waited"] / r["evalkit"] for r in rows["together"])
    per_pair = min(run["evalkit"] for run in rows["together"]) / options.clips
    result["seconds_for_musiccaps"] = MUSICCAPS * per_pair
    result["stages"] = stages(ours, theirs, generated, options.device)
    if options.many:
        result["many"] = many(ours, [*references, *generated], options.many)
        print("many", result["many"], flush=True)
        result["seconds_for_musiccaps"] = 2 * MUSICCAPS / result["many"]["clips_per_second"]
    return result


def stages(ours: Ours, theirs: Theirs, clips: list[Clip], device: str) -> dict[str, Any]:
    """Seconds of work per clip and stage, each side alone on one thread: medians over clips."""
    clock, threads = packages.clock_of(device), torch.get_num_threads()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for name in ours.metrics:
        both = {
            "package": [getattr(theirs, name).stages(clip.path, clock) for clip in clips[:4]],
            "evalkit": [ours.stages(name, clip, clock) for clip in clips[:4]],
        }
        found[name] = {
            side: {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
            for side, runs in both.items()
        }
    rng = np.random.default_rng(0)
    frames = [rng.normal(size=(10, 128)).astype(np.float32) for _ in range(2 * max(20, len(clips)))]
    halves = [Features(tuple(map(str, range(len(part)))), tuple(part)) for part in (frames[::2], frames[1::2])]
    package = theirs.fad.package
    start = clock()
    moments = [package.calculate_embd_statistics(np.concatenate(half.values)) for half in halves]
    package.calculate_frechet_distance(*moments[0], *moments[1])
    between = clock()
    ours.metrics["fad"](*halves)
    found["statistic of FAD"] = {"package": between - start, "evalkit": clock() - between}
    torch.set_num_threads(threads)
    return found


def many(ours: Ours, clips: list[Clip], count: int) -> dict[str, Any]:
    """Clips per second, and a GPU's peak memory in MB: of all encoders together from files, of each with decoded clips.

    Each encoder gets the batches of the feature stage, at most 128 clips in all.
    """
    found: dict[str, Any] = {"clips": count, "encoders": {}}

    def measured(run: Callable[[], float]) -> dict[str, float]:
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(ours.device)
        speed = {"clips_per_second": run()}
        if torch.cuda.is_initialized():
            speed["peak_mb"] = torch.cuda.max_memory_allocated(ours.device) / 2**20
            speed["peak_reserved_mb"] = torch.cuda.max_memory_reserved(ours.device) / 2**20
        return speed

    size = items_at_once(ours.device, ours.batch_size)

    def alone(name: str) -> float:
        encode, hears = ours.encode(name), input_of(ours.metrics[name].encoder)
        samples = [heard(condition(clip, None, None), hears) for clip in clips[: min(count, 16)]]
        samples = [samples[i % len(samples)] for i in range(min(count, 128))]
        batches = [samples[i : i + size] for i in range(0, len(samples), size)]
        encode(batches[0])  # warms up
        _, wall, _ = timed(lambda: [encode(batch) for batch in batches])
        return len(samples) / wall

    for name in ours.metrics:
        found["encoders"][name] = measured(partial(alone, name))
    ours.many(clips, min(count, 2 * size))  # warms up
    return found | measured(partial(ours.many, clips, count))


def machine(device: str) -> dict[str, Any]:
    models = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    about = {"cpu": f"{models[0]}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"}
    if device != "cpu":
        gpu = device_of(device)
        memory = torch.cuda.get_device_properties(device).total_memory / 2**30
        about["gpu"] = f"{gpu['device_name']} ({memory:.0f} GiB), driver {gpu['driver']}, CUDA {gpu['cuda']}"
        about["gpu"] += f", cuDNN {gpu['cudnn']}"
    return {**about, "python": platform.python_version(), "versions": {p: metadata.version(p) for p in PACKAGES}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=8, help="references, and as many generated clips")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch, on both sides")
    parser.add_argument("--batch-size", type=int, help="clips that are encoded at once, as engine.feature_batch_size")
    parser.add_argument("--many", type=int, help=f"clips of the feature stage by itself: {MANY} on a GPU, else none")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "benchmarks")
    options = parser.parse_args()
    if options.many is None:
        options.many = 0 if options.device == "cpu" else MANY
    compat.laion_clap()
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="evalkit-benchmark-") as name:
        found = compare(options, Path(name))
    about = {"clips": options.clips, "seconds_per_clip": SECONDS, "threads": options.threads, "device": options.device}
    found = {**about, "machine": machine(options.device), "load": [load, os.getloadavg()[0]], **found}
    write(options.output / f"metrics_{torch.device(options.device).type}.json", found)


if __name__ == "__main__":
    main()
