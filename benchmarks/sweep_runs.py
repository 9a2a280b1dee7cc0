"""A sweep of the synthesizer's knobs, raced on real features: what `benchmarks.sweeps` counts of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.sweep_draws import front_of
from evalkit import evaluate
from evalkit.models.synth.synth import Synth
from evalkit.results.pairing import Side
from evalkit.results.sweep_points import Point, joint
from evalkit.results.sweep_record import Objective
from evalkit.sweeping import race

PROMPTS, SECONDS = 300, 2.5
NOISE, DETUNE = (0.0, 0.001, 0.003, 0.01), (0, 30)  # of the signal, and cents
METRICS = "fad,chroma"
SIZES = (50, 100)  # of a race's rungs before the last
RACED = 200  # prompts of a race, drawn from all
FAD = Objective("fad", "FAD", higher_is_better=False)
CHROMA = Objective("chroma", "chroma", higher_is_better=True)
ABOUT = {"prompts": PROMPTS, "raced": RACED, "seconds": SECONDS, "sizes": list(SIZES), "noise": NOISE, "detune": DETUNE}


def rendered(prompts: int = PROMPTS) -> list[Side]:
    """Run every point of the grid, as rows of one table."""
    models = {
        f"noise {noise:g}, detune {detune}": Synth(noise=noise, detune=detune) for noise in NOISE for detune in DETUNE
    }
    record = evaluate(
        *("prompts=synthetic", f"prompts.count={prompts}", "random_weights=0", f"sampling.duration={SECONDS}"),
        *(f"metric=[{METRICS}]", "uncertainty.resamples=0"),
        models=models,
    )
    return [Side(record, name) for name in models]


def measured(
    number: int, prompts: int = PROMPTS, raced: int = RACED, sizes: Sequence[int] = SIZES
) -> Iterator[dict[str, Any]]:
    """Race so many random parts of the prompts.

    What is truly best, or on the Pareto front, is what all prompts say. The default is the last point, with the most
    noise.
    """
    sides = rendered(prompts)
    everyone = list(sides[0].record.prompts["id"])
    for objectives in ([FAD], [FAD, CHROMA]):
        whole = [joint(sides, one.metric, everyone)[0] * (-1 if one.higher_is_better else 1) for one in objectives]
        best, front = int(whole[0].argmin()), set(np.flatnonzero(front_of(np.stack(whole))))
        lost = best_lost = clips = kept = 0
        for trial in range(number):
            chosen = list(np.random.default_rng(trial).permutation(everyone)[:raced])
            points, rungs = race.run(
                range(1, len(sides) + 1),
                lambda point, _: Point({}, sides[point - 1]),
                chosen,
                sizes,
                objectives,
                default=len(sides),
                samples=1,
                level=0.95,
                seed=0,
            )
            dropped = {point - 1 for point, found in points.items() if found.status == "dropped"}
            best_lost += best in dropped
            lost += len(front & dropped)
            kept += len(sides) - len(dropped)
            clips += sum(rung.clips for rung in rungs)
        yield {
            "objectives": [one.metric for one in objectives],
            "points": len(sides),
            "trials": number,
            "front": len(front),
            "best_dropped": best_lost,
            "front_dropped": lost,
            "left": kept / number,
            "saved": 1 - clips / (number * len(sides) * raced),
        }
