"""Which metric notices what: music that is made worse step by step, and the paired interval of each metric.

    pip download --no-deps --dest FOLDER musicnn==0.1.0
    OMP_NUM_THREADS=1 python -m benchmarks.sensitivity --musicnn FOLDER/musicnn-0.1.0-py3-none-any.whl
    python -m benchmarks.sensitivity --part published --table FILE engine.device=cuda

Clean clips, degraded ones and clean ones played again go through `evalkit.evaluate` as rows of one table, and each row
is compared with the clean one as `evalkit compare` does. The parts:

    trained    metrics on musicnn's tagger, at all strengths
    cheap      those without weights, and those on quick networks of random weights, at all strengths
    costly     others on random weights, at the greatest strength
    published  all metrics on published weights, at all strengths
    cost       seconds that each encoder takes for a clip

Further arguments are options of evalkit run. Rows of the table go to evalkit/data/sensitivity.csv, or FILE, in place of
those of the same metrics; with the former all else goes to results/benchmarks/sensitivity.json. What was rendered and
encoded is kept in evalkit's cache, from which a run goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks.interval_coverage import machine
from benchmarks.sensitivity_clips import AGAIN, CLEAN, DEGRADATIONS, WORSE, Degraded
from benchmarks.sensitivity_report import write
from evalkit.prompts.synthetic import Synthetic
from evalkit.results.sensitivity import AGAIN as PLAYED_AGAIN
from evalkit.results.sensitivity import COLUMNS, SHIPPED, Response, Sensitivity

JSON = Path("results/benchmarks/sensitivity.json")
PROMPTS, SECONDS, LEVEL = 100, 4.0, 0.95
LOUDNESS = -14.0  # LUFS of references: what recordings are mastered to, and the protocol levels generated clips to
MUSIC = (
    "made-up captions (prompts=synthetic), rendered by evalkit's synthesizer: references are one rendering, "
    f"clean clips another, degraded clips a third. References have {LOUDNESS:g} LUFS."
)
PORT = (
    "benchmarks/musicnn.py against models.py of musicnn 0.1.0 in TensorFlow, with the trained weights, on 64 patches "
    "of 32 rendered clips of four seeds: the penultimate layer, of values up to 4.4, differs by 1.9e-5 at most, "
    "logits, up to 14.4, by 3.7e-5"
)
BASELINE = "clean"
PARTS = ("trained", "cheap", "costly", "published", "cost")
CHEAP = ("fad", "kad", "fad_inf", "fad_contribution", "fad_stereo", "chroma", "stereo", "silence", "clipping")
COSTLY = ("fad_clap", "kad_clap", "precision_recall", "density_coverage", "kld_panns")
WITHOUT = ("kld_sigmoid",)  # of these: its network is PaSST
LEFT_OUT = {  # of other metrics why they are not measured on random weights; of those that are not here, SLOW
    "fad_inf_musicnn": "200 dimensions take some 400 clips to extrapolate from",
    "fad_encodec": "what its network of random weights keeps of a clip says nothing of the trained one",
    **dict.fromkeys(("clap_score", "clap_retrieval"), "random halves, one that hears, one that reads, do not fit"),
    **dict.fromkeys(("vocals", "vocals_in_vocal"), "no label of random weights means a voice"),
    "unknown_pieces": "it counts words of captions, and hears no clip",
}
NOT_RUN = "its part, costly, was not run: random weights that take some 0.3 to 0.4 s for a clip on a CPU"
SLOW = "its network takes some 0.6 to 1.3 s for a clip on a CPU or is larger, and random weights tell little"
NEVER = ("unknown_pieces",)  # with published weights neither


@dataclass(frozen=True)
class Run:
    """A table of rows that is rendered and measured at once.

    Attributes:
        options: of evalkit run.
        metrics: besides those of the options.
        greatest: whether each degradation has its greatest strength alone, and one clean row is played again.
    """

    options: Sequence[str]
    metrics: Mapping[str, Any]
    greatest: bool
    prompts: int
    seconds: float

    def strengths(self) -> list[tuple[str, int, float, str, Degraded]]:
        """Degradation, step, strength, unit and model of each row but the clean one."""
        clean = Degraded(prompts=self.prompts)
        again = AGAIN[:1] if self.greatest else AGAIN
        found = [(PLAYED_AGAIN, i, float("nan"), "", replace(clean, seed=seed)) for i, seed in enumerate(again, 1)]
        for name, one in DEGRADATIONS.items():
            steps = [*enumerate(one.knobs.items(), 1)]
            for step, (strength, knobs) in steps[-1:] if self.greatest else steps:
                found.append((name, step, strength, one.unit, replace(clean, seed=WORSE, **knobs)))
        return found

    def rows(self) -> pd.DataFrame:
        """Render, measure and compare: a table with the columns of `evalkit.results.sensitivity`."""
        from evalkit import evaluate
        from evalkit.results.compare import compare
        from evalkit.results.gate import load
        from evalkit.results.pairing import Side

        strengths = self.strengths()
        models = {f"{name} {step}": model for name, step, *_, model in strengths}
        clean = Degraded(CLEAN, prompts=self.prompts)
        result = evaluate(
            *("name=sensitivity", f"sampling.duration={self.seconds}", "uncertainty.resamples=0", *self.options),
            models={BASELINE: clean, **models},
            prompts=Synthetic(self.prompts, references=replace(clean, seed=0, loudness=LOUDNESS)),
            metrics=self.metrics,
        )
        gate = replace(load(None), metrics={}, level=LEVEL, swaps=99, slices=())
        found: list[dict[str, Any]] = []
        for name, step, strength, unit, _ in strengths:
            sides = [Side(result, BASELINE)], [Side(result, f"{name} {step}")]
            table = compare(*sides, gate, allow_random=True, allow=["benchmarks"]).metrics
            about = {"degradation": name, "step": step, "strength": strength, "unit": unit, "level": LEVEL}
            found += [
                {**described(result.metrics[row["metric"]]), **about, **numbers(row)} for _, row in table.iterrows()
            ]
        return pd.DataFrame(found)[list(COLUMNS)]


def described(info: Any) -> dict[str, Any]:
    """What the table says of a metric, from the record of a run."""
    direction = {None: "same", True: "higher", False: "lower"}[info.higher_is_better]
    weights = "random" if info.random else "trained" if info.weights else "none"
    encoder = str(info.definition["encoder"]["kind"])
    title = f"{info.title} (musicnn)" if encoder == "musicnn" else info.title
    kind = str(info.definition["kind"])
    return {"title": title, "kind": kind, "encoder": encoder, "weights": weights, "direction": direction}


def numbers(row: Any) -> dict[str, Any]:
    """What the table says of a comparison, from a row of its metrics."""
    note = " ".join(f"{row['note']} {row['reason'] if row['verdict'] == 'MISSING' else ''}".split())
    measured = {"clean": row["baseline"], "value": row["candidate"], "difference": row["difference"]}
    return {"metric": row["metric"], "n": row["n"], **measured, "low": row["low"], "high": row["high"], "note": note}


def on_musicnn(path: str) -> dict[str, Any]:
    """Metrics on musicnn's tagger: of distributions on its embedding, of labels on its tags."""
    from benchmarks.musicnn import MusiCNN, published
    from evalkit.metrics.density_coverage import DensityCoverage
    from evalkit.metrics.fad import FAD
    from evalkit.metrics.inception_score import InceptionScore
    from evalkit.metrics.kad import KAD
    from evalkit.metrics.kld import KLD
    from evalkit.metrics.mad import MAD
    from evalkit.metrics.precision_recall import PrecisionRecall

    embedding, tags = MusiCNN(published(path)), MusiCNN(published(path), "softmax")
    found = {
        "fad": FAD(embedding),
        "kad": KAD(embedding),
        "precision": PrecisionRecall(embedding, "precision"),
        "recall": PrecisionRecall(embedding, "recall"),
        "density": DensityCoverage(embedding, "density"),
        "coverage": DensityCoverage(embedding, "coverage"),
        "kld": KLD(tags),
        "inception_score": InceptionScore(tags),
        "mad": MAD(embedding),
    }
    return {f"{name}_musicnn": metric for name, metric in found.items()}


def chosen(part: str, musicnn: str | None, options: Sequence[str], prompts: int, seconds: float) -> Run:
    """What a part measures. Options of its own are after those of the part, which they replace."""
    if part == "trained":
        return Run(["metric=[]", *options], on_musicnn(str(musicnn)), False, prompts, seconds)
    names = {"cheap": CHEAP, "costly": COSTLY, "published": every_metric()}[part]
    weights = [] if part == "published" else ["random_weights=0"]
    if not any(option.startswith("metric=") for option in options):
        metrics = [f"metric=[{','.join(names)}]", *(f"~metric.{name}" for name in WITHOUT if part == "costly")]
        options = [*metrics, *options]
    return Run([*weights, *options], {}, part == "costly", prompts, seconds)


def merged(path: Path, found: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table, if there is one, with those found in place of the same metrics'."""
    if path.exists():
        known = pd.read_csv(
            path, keep_default_na=False, na_values={c: [""] for c, t in COLUMNS.items() if t == "float64"}
        )
        found = pd.concat([known[~known["metric"].isin(found["metric"])], found])
    weights = {"trained": 0, "none": 1, "random": 2}
    return found.sort_values("weights", key=lambda column: column.map(weights), kind="stable")


def said(response: Response) -> str:
    """What a metric says of a degradation, in a few words."""
    words = []
    if not response.judged:
        words.append("not judged")
    elif response.blind:
        words.append("blind")
    elif response.least is None:
        words.append("not the greatest")
    else:
        words.append(f"from {response.least.strength:g} {response.unit}")
    if response.monotone is not None:
        words.append("monotone" if response.monotone else "not monotone")
    if response.rewarded:
        words.append("called better at " + ", ".join(f"{one.strength:g}" for one in response.rewarded))
    return ", ".join(words)


def summary(table: Sensitivity) -> dict[str, Any]:
    """What the table says of each metric."""
    found: dict[str, Any] = {}
    for metric in table.metrics:
        seen, of = table.false_alarms(metric.name)
        about = {"weights": metric.weights, "encoder": metric.encoder, "false_alarms": f"{seen} of {of}"}
        responses = [one for one in table.responses if one.metric == metric]
        found[metric.name] = about | {one.degradation: said(one) for one in responses}
    return found


def without_values(found: pd.DataFrame) -> dict[str, str]:
    """The metrics that have no value anywhere, with the first reason."""
    absent = found.groupby("metric")["value"].transform(lambda values: values.isna().all())
    return dict(found[absent].drop_duplicates("metric")[["metric", "note"]].itertuples(index=False, name=None))


def costs(options: Sequence[str], seconds: float) -> dict[str, float]:
    """CPU seconds on one thread that each encoder of audio takes for a clip, on random weights."""
    import torch

    from evalkit import audio
    from evalkit.config import build, compose
    from evalkit.features.conditioning import Sound, heard
    from evalkit.models.synth.synth import Synth
    from evalkit.prompts.synthetic import made_up
    from evalkit.store.cache import Cache

    torch.set_num_threads(1)
    stored = [Synth().render(made_up(number), 0, seconds) for number in (1, 2, 3)]
    clips = [Sound(one, audio.normalize_loudness(one, LOUDNESS), one) for one in stored]
    config = compose(
        [f"metric=[{','.join(every_metric())}]", "model=synth", "prompts=demo", "random_weights=0", *options]
    )
    encoders = [build(node).encoder for node in config.metric.values()]
    found: dict[str, float] = {}
    for encoder in encoders:
        if encoder.reads == "audio" and encoder.kind not in found:
            encode, inputs = encoder.load(Cache(config.cache_dir), "cpu"), [heard(one, encoder.hears) for one in clips]
            encode(inputs[:1])
            started = time.process_time()
            encode(inputs[1:])
            found[encoder.kind] = round((time.process_time() - started) / 2, 3)
    return found


def every_metric() -> list[str]:
    """The names of all metrics that evalkit has, but for those that hear no clip."""
    from evalkit.settings import conf_dir

    return sorted({path.stem for path in (conf_dir() / "metric").glob("*.yaml")} - set(NEVER))


def not_measured(measured: Collection[str]) -> dict[str, str]:
    """The YAMLs of metrics of which none was measured, and what else there might be, with the reasons."""
    from evalkit.settings import conf_dir

    found = {name: reason for name, reason in LEFT_OUT.items() if name not in measured}
    for path in sorted((conf_dir() / "metric").glob("*.yaml")):
        names = yaml.safe_load(path.read_text("utf-8")).keys() - {"defaults"}
        if path.stem not in found and names.isdisjoint(measured):
            found[path.stem] = NOT_RUN if path.stem in (*CHEAP, *COSTLY) else SLOW
    return found


def record(more: Mapping[str, Any]) -> None:
    """Store what was measured besides the table; what was measured before stays, in dictionaries by key."""
    known = json.loads(JSON.read_text("utf-8")) if JSON.exists() else {}
    about = [
        {"name": name, "about": one.about, "unit": one.unit, "strengths": [*one.knobs]}
        for name, one in DEGRADATIONS.items()
    ]
    measured = known.get("summary", {}) | more.get("summary", {})
    absent = not_measured(measured) | more.get("no_value", {})
    facts = {"music": MUSIC, "level": LEVEL, "degradations": about, "left_out": absent, "port": PORT}
    kept = {key: known.get(key, {}) | value for key, value in more.items()}
    JSON.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(known | facts | kept | {"machine": machine()}, indent=1, ensure_ascii=False)
    JSON.write_text(text + "\n", "utf-8")


def main() -> None:
    """Measure the parts, one after the other, and write the table and the record after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="may be given several times")
    parser.add_argument("--musicnn", metavar="FILE", help="the package that has the tagger's weights")
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each clip")
    parser.add_argument("--table", type=Path, default=SHIPPED, metavar="FILE")
    given, options = parser.parse_known_args()
    parts = given.part or ["trained", "cheap", "costly", "cost"]
    if "trained" in parts and not given.musicnn:
        parser.error("--musicnn FILE is needed for the part 'trained'")
    for part in parts:
        if part == "cost":
            record({"seconds_per_clip": costs(options, given.seconds)})
            continue
        started = time.process_time()
        run = chosen(part, given.musicnn, options, given.prompts, given.seconds)
        found = run.rows()
        absent = without_values(found)
        merged(given.table, found[~found["metric"].isin(absent)]).to_csv(
            given.table, index=False, float_format="%.6g", lineterminator="\n"
        )
        if given.table == SHIPPED:
            facts = {"prompts": given.prompts, "seconds": given.seconds, "metrics": list(found["metric"].unique())}
            facts["cpu"] = round(time.process_time() - started, 1)
            record({"parts": {part: facts}, "no_value": absent, "summary": summary(Sensitivity.load(given.table))})
    if given.table == SHIPPED:
        write()


if __name__ == "__main__":
    main()
