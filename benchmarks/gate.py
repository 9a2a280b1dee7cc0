"""How often a gate decides wrongly, and how much it sees: `evalkit compare` on pairs of which the truth is known.

    pip install -c constraints.txt -e .
    OMP_NUM_THREADS=1 python -m benchmarks.gate [--part fad|clips|shares|whole|runs|…|all] [--keep FOLDER]

A baseline and a candidate are drawn from known distributions again and again, or rendered by the synthesizer, and
evalkit's own functions decide. Writes results/benchmarks/gate.json, and from it docs/gate.md and docs/gate.png; with
`--part` what is not measured again is taken from the JSON file. In the folder that `--keep` names, FADs that were drawn
are found again.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import gate_runs
from benchmarks.gate_fad import Sides, drawn, literal, moved_for_kad, shortcut, sides, trials
from benchmarks.gate_pairs import CHANGES, KINDS, faults, values
from benchmarks.gate_report import JSON, write
from benchmarks.interval_coverage import NO_ENCODER, WINDOWS
from benchmarks.parts import Row, record
from evalkit.metrics.kad import KAD
from evalkit.results import gate as gates
from evalkit.results import verdicts
from evalkit.results.comparison_record import METRICS, SLICES
from evalkit.results.frames import typed
from evalkit.results.gate import Direction, Gate, Limit, Margin
from evalkit.stats import jackknife, paired, permutation
from evalkit.stats.estimate import Estimate, student

GATE = Gate(metrics={})
LIMIT = Limit("critical", Margin(0.0), least_n=2)
PROMPTS = (50, 200, 1000, 5521)
SHAPES = ("shifted", "wider", "less varied", "collapsed")
MARGINS = (0.05, 0.1)  # shares of the baseline's FAD
MARGIN = MARGINS[-1]  # where the truth lies, if anything has changed


def verdict(estimate: Estimate, margin: float, direction: Direction) -> str:
    return verdicts.decided(estimate, margin, direction, GATE.level)[0]


def counted(
    estimates: Iterable[Estimate], truth: float, n: int, direction: Direction = "lower", margins: Iterable[float] = ()
) -> Row:
    """Count the verdicts of a gate whose margin is the true damage, and how often other margins give a PASS."""
    damage = truth if direction == "lower" else -truth
    verdicts: list[str] = []
    passes = dict.fromkeys(margins, 0)
    found, widths = [], []
    for estimate in estimates:
        low, high = estimate.interval(GATE.level)
        widths.append(high - low)
        found.append((estimate.value, estimate.error))
        verdicts.append(verdict(estimate, damage, direction))
        for margin in passes:
            passes[margin] += verdict(estimate, margin, direction) == "PASS"
    estimated, errors = np.array(found).T
    row: Row = {"prompts": n, "trials": len(found), "truth": truth}
    row |= {"breach": verdicts.count("BREACH"), "pass": verdicts.count("PASS")}
    row |= {"bias": float(estimated.mean()) - truth, "standard_deviation": float(estimated.std(ddof=1))}
    row |= {"error": float(np.sqrt(np.nanmean(errors**2))), "half_width": float(np.mean(widths)) / 2}
    return row | ({"passes": {f"{margin:g}": number for margin, number in passes.items()}} if passes else {})


def grouped(n: int, number: int = GATE.groups) -> tuple[np.ndarray, np.ndarray]:
    """Which group each of n prompts is in, (n,), and the subsets that the jackknife needs, (subsets, groups)."""
    groups = jackknife.groups([str(i) for i in range(n)], number, GATE.seed)
    count = int(groups.max()) + 1
    return groups, np.concatenate([np.ones((1, count)), 1 - np.eye(count)])


def compared(distances: np.ndarray, sizes: np.ndarray) -> tuple[Estimate, np.ndarray]:
    """The difference of two FADs, and both without bias, from those of all prompts and without each group in turn."""
    return jackknife.difference(distances[0], distances[1:].T, sizes)


def fad(shape: str, margin: float, noise: str, n: int, number: int, keep: Path | None) -> Row:
    """Rates of FAD's verdicts in one setting, of the jackknife's difference and of the plain one."""
    case = sides(shape, margin, noise)
    groups, subsets = grouped(n)
    sizes = np.bincount(groups).astype(float)
    each = np.array(list(trials(case, groups, subsets, number, keep)))
    estimates, unbiased = zip(*(compared(one, sizes) for one in each), strict=True)
    plain = [student(float(d[0, 1] - d[0, 0]), e.error, e.df) for d, e in zip(each, estimates, strict=True)]
    about: Row = {"shape": shape, "margin": margin, "noise": noise}
    row = about | counted(estimates, case.difference, n, margins=[m * case.fad for m in MARGINS])
    uncorrected = counted(plain, case.difference, n)
    row["plain"] = {name: uncorrected[name] for name in ("bias", "breach", "pass", "standard_deviation")}
    baselines = np.array([one[0] for one in unbiased])
    row["baseline"] = {"population": case.fad, "raw": each[:, 0, 0].mean(), "corrected": baselines.mean()}
    # margins that are a share of the measured baseline: of its FAD as it is, and judged with it as one difference
    raw = [gates.absolute(Margin(margin, relative=True), float(value)) for value in each[:, 0, 0]]
    times = np.array([1 + margin, 1.0])
    together = [compared(times * one, sizes)[0] for one in each]
    for name, said in (
        ("plain", [verdict(e, m, "lower") for e, m in zip(plain, raw, strict=True)]),
        ("raw", [verdict(e, m, "lower") for e, m in zip(estimates, raw, strict=True)]),
        ("corrected", [verdict(e, 0.0, "lower") for e in together]),
    ):
        row["baseline"] |= {f"{name}_breach": said.count("BREACH"), f"{name}_pass": said.count("PASS")}
    if shape == "same":
        for share in MARGINS:
            factors = np.array([1 + share, 1.0])
            said = [verdict(compared(factors * one, sizes)[0], 0.0, "lower") for one in each]
            row["passes"][f"{share * case.fad:g}"] = said.count("PASS")
        both = each[:, 0]
        row["saves"] = float(both.var(axis=0, ddof=1).sum() / (both[:, 1] - both[:, 0]).var(ddof=1))
    return row


def measure_fad(keep: Path | None) -> Iterator[Row]:
    for n in PROMPTS:
        for noise in ("other", "shared"):
            yield fad("same", 0, noise, n, 1000 if n <= 1000 else 500, keep)
        for shape in SHAPES:
            yield fad(shape, MARGIN, "shared", n, 1000 if n <= 1000 else 250, keep)
        for shape in SHAPES[2:] if n <= 1000 else ():
            yield fad(shape, 0, "shared", n, 500, keep)


def measure_groups(keep: Path | None) -> Iterator[Row]:
    """The same differences from jackknifes with other numbers of groups."""
    n, case = 200, sides("less varied", MARGIN, "shared")
    for number in (10, 25, 50, 100, 200):
        groups, subsets = grouped(n, number)
        sizes = np.bincount(groups).astype(float)
        drawings = trials(case, groups, subsets, 200, keep)
        row = counted((compared(one, sizes)[0] for one in drawings), case.difference, n)
        yield {"groups": number, **row}


def measure_shortcut(keep: Path | None) -> Iterator[Row]:
    """Whether FADs drawn from sums are distributed as those of evalkit from every window."""
    from scipy.stats import ks_2samp

    for d, n, number, count in ((8, 30, 10, 1000), (128, 60, 20, 200)):
        case = sides("shifted", MARGIN, "shared", d)
        groups, subsets = grouped(n, number)
        sizes = np.bincount(groups).astype(float)
        found = {}
        for way in (literal, shortcut):
            one = [way(np.random.default_rng([i, d, len(way.__name__)]), case, groups, subsets) for i in range(count)]
            estimates = [compared(x, sizes)[0] for x in one]
            found[way.__name__] = {
                "baseline": np.array([x[0, 0] for x in one]),
                "difference": np.array([e.value for e in estimates]),
                "error": np.array([e.error for e in estimates]),
            }
        for name, ours in found["shortcut"].items():
            theirs = found["literal"][name]
            yield {
                "dimensions": d,
                "prompts": n,
                "trials": count,
                "of": name,
                "literal": [theirs.mean(), theirs.std(ddof=1)],
                "shortcut": [ours.mean(), ours.std(ddof=1)],
                "p": float(ks_2samp(ours, theirs).pvalue),
            }


def defaults(metric: str) -> list[float]:
    """The margin of the gate that ships, where it is absolute, and twice and four times as much."""
    margin = gates.load(None).metrics[metric].margin
    return [] if margin.relative else [margin.amount * times for times in (1, 2, 4)]


def measure_clips(keep: Path | None) -> Iterator[Row]:
    """Rates of the verdicts on means over clips."""
    for name, kind in KINDS.items():
        for n in PROMPTS:
            for noise in ("other", "shared"):
                for change in CHANGES:
                    rng = np.random.default_rng([n, *f"{name} {noise} {change}".encode()])
                    each = [values(rng, kind, n, noise, change) for _ in range(2000 if n <= 1000 else 1000)]
                    estimates = [paired.mean_difference(*pair) for pair in each]
                    sign = 1 if kind.direction == "lower" else -1
                    truth = 0.0 if change == "same" else sign * kind.margin
                    margins = defaults(kind.metric) if change == "same" else []
                    row = counted(estimates, truth, n, kind.direction, margins)
                    if change == "same":
                        means = np.array([[(s.sum(1) / c.sum(1)).mean() for s, c in pair] for pair in each])
                        row["saves"] = means.var(axis=0).sum() / (means[:, 1] - means[:, 0]).var()
                    yield {"values": name, "noise": noise, "change": change, **row}


@functools.cache
def share(candidate_only: int, baseline_only: int, n: int) -> Estimate:
    return paired.share_difference(candidate_only, baseline_only, n)


def measure_shares(keep: Path | None) -> Iterator[Row]:
    """Rates of the verdicts on shares of clips with a fault."""
    for rate in (0.003, 0.01, 0.03, 0.1):
        for n in PROMPTS:
            for noise in ("other", "shared"):
                for damage in (0.0, 0.01, 0.05):
                    rng = np.random.default_rng([n, *f"{rate} {noise} {damage}".encode()])
                    each = [faults(rng, n, noise, rate, damage) for _ in range(2000)]
                    estimates = [share(int((b & ~a).sum()), int((a & ~b).sum()), n) for a, b in each]
                    margins = defaults("silence_share") if damage == 0 else []
                    row = counted(estimates, damage, n, margins=margins)
                    if damage == 0:
                        shares = np.array([[a.mean(), b.mean()] for a, b in each])
                        row["saves"] = shares.var(axis=0).sum() / (shares[:, 1] - shares[:, 0]).var()
                    yield {"rate": rate, "noise": noise, "damage": damage, **row}


def measure_kad(keep: Path | None) -> Iterator[Row]:
    """Rates of the verdicts on KAD, of which every window is drawn."""
    metric = KAD(NO_ENCODER, bandwidth=1.0)
    for n, count in ((50, 1000), (200, 100)):
        for shape in ("same", "shifted"):
            case, truth = moved_for_kad(shape, MARGIN, metric)
            groups, subsets = grouped(n, 25)
            weights, sizes = subsets[:, groups], np.bincount(groups).astype(float)

            def estimated(
                trial: int, case: Sides = case, n: int = n, weights: Any = weights, sizes: Any = sizes
            ) -> Any:
                baseline, candidate, reference = drawn(np.random.default_rng([trial, n]), case, n)
                found = []
                for side in (baseline, candidate):
                    resampled = metric(side, reference).resampled
                    assert resampled is not None
                    found.append(resampled(weights, weights))
                return compared(np.stack(found, axis=1), sizes)[0]

            yield {"shape": shape, **counted(map(estimated, range(count)), truth, n)}


FAULTS = ("silence_share", "clipped_clips", "mono_share", "vocals_share")


def measure_whole(keep: Path | None) -> Iterator[Row]:
    """Outcomes over several independent metrics, none of which has changed."""
    kinds = ("log-normal, σ = 0.5 (KLD)", "normal (CLAP score)", "log-normal, σ = 1")
    for n in PROMPTS[:3]:
        case = sides("same", noise="other")
        groups, subsets = grouped(n)
        sizes = np.bincount(groups).astype(float)
        outcomes: dict[int, list[str]] = {4: [], 8: []}
        uncorrected = {4: 0, 8: 0}
        for trial, distances in enumerate(trials(case, groups, subsets, 1000, keep)):
            rng = np.random.default_rng([n, trial])
            found: list[tuple[str, Direction, Estimate]] = [("fad", "lower", compared(distances, sizes)[0])]
            for name, kind in ((name, KINDS[name]) for name in kinds):
                found.append((name, kind.direction, paired.mean_difference(*values(rng, kind, n, "other", "same"))))
            for name in FAULTS:
                before, after = faults(rng, n, "other", 0.03, 0)
                one = share(int((after & ~before).sum()), int((before & ~after).sum()), n)
                found.append((name, "lower", one))
            # a fault is among the four
            ordered = [found[0], found[1], found[2], found[4], found[3], *found[5:]]
            for number in outcomes:
                said = outcome(ordered[:number])
                outcomes[number].append(said[0])
                uncorrected[number] += said[1]
        for number, several in outcomes.items():
            yield {
                "metrics": number,
                "prompts": n,
                "trials": len(several),
                "no_go": several.count("NO-GO"),
                "uncorrected": uncorrected[number],
                "go": several.count("GO"),
            }


def outcome(found: Sequence[tuple[str, Direction, Estimate]]) -> tuple[str, bool]:
    """What a gate of margin 0 decides on critical metrics, and whether any of them is a BREACH."""
    gate = Gate(metrics={name: LIMIT for name, _, _ in found})
    rows: list[Row] = []
    for name, direction, estimate in found:
        about: Row = {"metric": name, "title": name, "verdict": verdict(estimate, 0.0, direction)}
        about["p_breach"] = verdicts.p_of_breach(estimate, 0.0, direction)
        rows.append({column: "" if kind == "str" else 0 for column, kind in METRICS.items()} | about)
    none = typed(pd.DataFrame(columns=list(SLICES)), SLICES)
    decided, _, _ = verdicts.decide(typed(pd.DataFrame(rows), METRICS), none, gate, [], [], False, False)
    return decided, any(row["verdict"] == "BREACH" for row in rows)


def measure_runs(keep: Path | None) -> Iterator[Row]:
    yield from gate_runs.measured()


def measure_slices(keep: Path | None) -> Iterator[Row]:
    yield from gate_runs.one_instrument()
    yield family()


def family(n: int = 200, number: int = 1000, swaps: int = 200) -> Row:
    """How often any of 14 groups of prompts is found to differ in any of three metrics where nothing has changed."""
    named = 0
    for trial in range(number):
        rng = np.random.default_rng([n, trial])
        inside = (rng.random((14, n)) < np.linspace(0.05, 0.7, 14)[:, None]).astype(float)
        pairs = [values(rng, KINDS[name], n, "other", "same") for name in list(KINDS)[2:4]]
        differences = [after[0][0] - before[0][0] for before, after in pairs]
        before, after = faults(rng, n, "other", 0.03, 0)
        differences.append(after.astype(float) - before)
        signs = np.where(np.vstack([np.zeros((1, n), bool), permutation.swaps(n, swaps, trial)]), -1.0, 1.0)
        moved = np.column_stack([(signs * one) @ inside.T for one in differences])
        spread = np.sqrt((moved[1:] ** 2).mean(axis=0))
        statistics = moved[:, spread > 0] / spread[spread > 0]
        named += bool((permutation.max_t(statistics[0], statistics[1:]) < 0.05).any())
    return {"prompts": n, "trials": number, "any": named}


MEASURED: dict[str, Callable[[Path | None], Iterator[Row]]] = {
    "shortcut": measure_shortcut,
    "fad": measure_fad,
    "groups": measure_groups,
    "clips": measure_clips,
    "shares": measure_shares,
    "kad": measure_kad,
    "whole": measure_whole,
    "runs": measure_runs,
    "slices": measure_slices,
}


def facts() -> Row:
    """What stands in the record besides what is measured."""
    shipped = {name: limit.margin.amount for name, limit in gates.load(None).metrics.items()}
    about = {"run": gate_runs.ABOUT, "gaussians": {"dimensions": 128, "windows": WINDOWS}, "shipped": shipped}
    return {"level": GATE.level, "groups_by_default": GATE.groups, **about}


def main() -> None:
    """Measure, record, write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=(*MEASURED, "all", "none"), default="all")
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    part = arguments.part
    for name in MEASURED if part == "all" else [part] if part != "none" else []:
        started, rows = time.process_time(), []
        for row in MEASURED[name](arguments.keep):
            rows.append(row)
            record(JSON, name, rows, time.process_time() - started, facts())
    write()


if __name__ == "__main__":
    main()
