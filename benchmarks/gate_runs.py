"""Runs of the synthesizer, played well and badly: what `benchmarks.gate` lets a gate decide on real features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from evalkit import evaluate
from evalkit.audio import Audio
from evalkit.models.synth.synth import Synth
from evalkit.results.compare import compare
from evalkit.results.comparison import Comparison
from evalkit.results.gate import Gate, load
from evalkit.results.pairing import Side
from evalkit.results.record import Record
from evalkit.results.result import Result
from evalkit.store.seeds import keyed
from evalkit.types import Prompt

PROMPTS, SECONDS = 300, 2.5
METRICS = "fad,silence,stereo,clipping,chroma"
SILENT = 0.6  # of a clip: over a second, so that it counts as collapsed
INSTRUMENT = "flute"  # what falls silent by itself


@dataclass(frozen=True)
class Partly(Synth):
    """A synthesizer whose knobs make some prompts worse.

    Attributes:
        share: of the prompts that are worse.
        tag: if given, those are worse that have it, and no others.
    """

    share: float = 1.0
    tag: str | None = None
    kind: ClassVar[str] = "partly worse synth"

    def render(self, prompt: Prompt, seed: int, seconds: float) -> Audio:
        worse = keyed("worse", prompt.id).random() < self.share if self.tag is None else self.tag in prompt.tags
        return super().render(prompt, seed, seconds) if worse else Synth(self.seed).render(prompt, seed, seconds)


# other noise than the baseline's, as a checkpoint that was trained on would play
DEGRADED: dict[str, dict[str, Partly]] = {
    "noise": {f"{level:g} of the signal": Partly(2, noise=level) for level in (0.001, 0.003, 0.01)},
    "low_pass": {f"{edge:,} Hz": Partly(2, low_pass=edge) for edge in (14000, 10000, 5000)},
    "detune": {f"{cents} cents": Partly(2, detune=cents) for cents in (10, 30, 80)},
    "silence": {f"{share:.0%} of prompts": Partly(2, silence=SILENT, share=share) for share in (0.03, 0.1, 0.3)},
    "mono": {f"{share:.0%} of prompts": Partly(2, mono=True, share=share) for share in (0.03, 0.1, 0.3)},
    "wrong_caption": {f"{share:.0%} of prompts": Partly(2, wrong_caption=True, share=share) for share in (0.1, 0.3, 1)},
}
ABOUT = {"prompts": PROMPTS, "seconds": SECONDS, "metrics": METRICS.replace(",", ", "), "instrument": INSTRUMENT}
BASELINE, SAME, ONE_SILENT = "baseline", "same", "one instrument silent"


def rendered() -> Result:
    """Run the baseline, another rendering of the same, and all that is worse, as rows of one table."""
    models: dict[str, Synth] = {
        BASELINE: Synth(1),
        SAME: Synth(2),
        ONE_SILENT: Partly(2, silence=SILENT, tag=INSTRUMENT),
    }
    models |= {f"{knob} {strength}": model for knob, several in DEGRADED.items() for strength, model in several.items()}
    return evaluate(
        *("prompts=synthetic", f"prompts.count={PROMPTS}", "random_weights=0", f"sampling.duration={SECONDS}"),
        *(f"metric=[{METRICS}]", "uncertainty.resamples=0"),
        models=models,
    )


SUBSETS = {25: 10, 50: 10, 100: 10, 200: 5, PROMPTS: 1}  # how many random ones are compared, by number of prompts


def subset(record: Record, ids: Collection[str]) -> Record:
    """The record of a run of some prompts alone."""
    frames = {name: getattr(record, name) for name in ("prompts", "clips", "values")}
    return replace(record, **{name: frame[frame["id"].isin(list(ids))] for name, frame in frames.items()})


def subsets(record: Record, n: int, number: int) -> list[Record]:
    """The record of a run of so many prompts, drawn at random so many times."""
    everyone = list(record.prompts["id"])
    return [subset(record, np.random.default_rng([n, i]).permutation(everyone)[:n]) for i in range(number)]


def compared(record: Record, row: str, gate: Gate) -> Comparison:
    """Compare a row of the table with the baseline's."""
    return compare([Side(record, BASELINE)], [Side(record, row)], gate, allow_random=True)


def measured() -> Iterator[dict[str, Any]]:
    """Outcomes of the gate that ships, for every degradation and number of prompts."""
    record = rendered()
    shipped = load(None)
    gate = replace(
        shipped, metrics={k: v for k, v in shipped.metrics.items() if k in record.metrics}, swaps=0, slices=()
    )
    rows = {SAME: ("nothing", "")}
    rows |= {f"{knob} {strength}": (knob, strength) for knob, several in DEGRADED.items() for strength in several}
    for n, number in SUBSETS.items():
        records = subsets(record, n, number)
        for row, (knob, strength) in rows.items():
            outcomes: Counter[str] = Counter()
            breaches: Counter[str] = Counter()
            for one in records:
                found = compared(one, row, gate)
                outcomes[found.outcome] += 1
                breaches.update(found.metrics.loc[found.metrics["verdict"] == "BREACH", "metric"])
            about = {"degraded": knob, "strength": strength, "prompts": n, "subsets": number}
            yield about | {"outcomes": dict(outcomes), "breaches": dict(breaches)}


def one_instrument() -> Iterator[dict[str, Any]]:
    """Whether the slice is named in which alone the clips have fallen silent."""
    record = rendered()
    shipped = load(None)
    gate = replace(shipped, metrics={"silence_share": shipped.metrics["silence_share"]}, slices=("tag",))
    for n, number in ((50, 10), (100, 10), (200, 5), (PROMPTS, 1)):
        counts: Counter[str] = Counter()
        for one in subsets(record, n, number):
            counts["with_it"] += sum(INSTRUMENT in tags for tags in one.prompts["tags"])
            slices = compared(one, ONE_SILENT, gate).slices
            worse = slices[slices["change"] == "worse"].sort_values("p_adjusted", kind="stable")
            own = worse[worse["group"] == INSTRUMENT]
            counts["named"] += len(own) > 0
            counts["first"] += len(own) > 0 and own["p_adjusted"].min() <= worse["p_adjusted"].min()
            counts["others"] += worse.loc[worse["group"] != INSTRUMENT, "group"].nunique()
        found = {name: int(count) for name, count in counts.items()}
        yield {"prompts": n, "trials": number, **found, "with_it": found["with_it"] / number}
