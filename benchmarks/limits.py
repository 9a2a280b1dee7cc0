"""How sure the limits of a model are: simulated groups of prompts, languages and detectors whose truth is known.

    OMP_NUM_THREADS=1 python -m benchmarks.limits [--part gaps|fad|vocals|all|none]

evalkit's own functions say what differs (`evalkit/stats/gaps.py`, `simultaneous.py`), by how much FAD does at equal n
(`evalkit/results/limits/equal.py`), and what a rate is without a detector's errors (`evalkit/stats/prevalence.py`).
Writes results/benchmarks/limits.json, and from it the section "Error rates" of docs/limits.md.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from benchmarks.limits_report import JSON, write
from benchmarks.parts import Row, measure
from evalkit.metrics.fad import FAD
from evalkit.results.clusters import Clusters
from evalkit.results.limits import equal
from evalkit.results.limits.material import ByPrompt, paired_by_unit
from evalkit.stats import gaps, prevalence, simultaneous
from evalkit.stats.estimate import Estimate
from evalkit.stats.prevalence import Rate
from evalkit.types import Features

LEVEL = 0.95
TRIALS = {"gaps": 150, "fad 8": 200, "fad 32": 200, "fad 128": 40, "vocals": 1000}  # fixed before anything is measured
DRAWS = 5_000  # of the largest statistic, in each trial; evalkit's default is 20,000
ALIKE = 0.5  # share of the variance that prompts of a unit have in common
SHIFTS = (0.0, 0.5)  # true differences, in standard deviations of single clips
RARE = 0.05  # share of clips that have something rare
FRAMES = 10  # of a clip, of which a quarter of the variance is the clip's
RUNS = "rows are seeded by their settings: they are the same whether they are measured together or by themselves"


@dataclass(frozen=True)
class Design:
    """Which prompts belong together and are in which groups.

    Attributes:
        said: in words.
        which: unit of each prompt.
        groups: of prompts, each as whether each prompt is in.
        rest: what each group is compared with.
    """

    said: str
    which: np.ndarray
    groups: Sequence[np.ndarray]
    rest: Sequence[np.ndarray]


def languages(captions: int, number: int) -> Design:
    """Captions in some languages, each compared with the first."""
    which = np.repeat(np.arange(captions), number)
    of = np.tile(np.arange(number), captions)
    own = [of == k for k in range(1, number)]
    return Design(f"{number - 1} languages, {captions} captions", which, own, [of == 0] * len(own))


def regions(sizes: Sequence[int], units: int, each: int) -> Design:
    """Groups of some numbers of units, each compared with all other prompts; a unit is in one group at most."""
    which = np.repeat(np.arange(units), each)
    starts = np.cumsum([0, *sizes])
    own = [(which >= a) & (which < b) for a, b in itertools.pairwise(starts)]
    what = f"{units} units of {each} prompts" if each > 1 else f"{units} prompts"
    return Design(f"groups of {', '.join(map(str, sizes))} of {what}", which, own, [~one for one in own])


def labels(prompts: int, number: int) -> Design:
    """Labels of which a prompt has several: each is in more groups than one."""
    rng = np.random.default_rng(5)
    shares = np.geomspace(0.3, 18 / prompts, number)
    own = [rng.random(prompts) < share for share in shares]
    said = f"{number} labels that overlap, of {prompts} prompts"
    return Design(said, np.arange(prompts), own, [~one for one in own])


def kinds(tracks: int) -> Design:
    """Recordings with four captions each, of three kinds: one unit is in several groups."""
    which = np.repeat(np.arange(tracks), 4)
    of = np.tile([0, 0, 1, 2], tracks)
    own = [of == k for k in range(3)]
    return Design(f"3 kinds of captions of {tracks} recordings", which, own, [~one for one in own])


DESIGNS = (
    languages(30, 9),
    languages(60, 9),
    regions((6, 6, 6, 6), 60, 9),
    regions((6, 6, 6, 6), 60, 1),
    regions((12, 20, 40, 100), 300, 1),
    regions((12, 20, 40, 100), 300, 4),
    labels(1000, 20),
    kinds(60),
)


@dataclass(frozen=True)
class Values:
    """What clips have.

    Attributes:
        of: values from standard normal scores.
        mean: their mean where scores are shifted.
        bounds: between which all lie.
    """

    said: str
    of: Callable[[np.ndarray], np.ndarray]
    mean: Callable[[float], float]
    bounds: tuple[float, float] = (-math.inf, math.inf)


def log_normal(sigma: float) -> Values:
    """Skewed values of standard deviation 1."""
    sd = math.sqrt(math.expm1(sigma**2) * math.exp(sigma**2))
    said = f"log-normal, σ = {sigma:g}" + (" (KLD)" if sigma == 0.5 else "")
    return Values(said, lambda x: np.exp(sigma * x) / sd, lambda by: math.exp(sigma * by + sigma**2 / 2) / sd)


VALUES = (
    Values("normal (CLAP score)", lambda x: x, lambda by: by),
    log_normal(0.5),
    log_normal(1.0),
    Values(
        f"a share of {RARE:.0%}",
        lambda x: (x > -ndtri(RARE)).astype(float),
        lambda by: float(ndtr(by + ndtri(RARE))),
        (0.0, 1.0),
    ),
)


def measure_gaps() -> Iterator[Row]:
    """How often intervals of all groups hold all true gaps at once, and how often they would uncorrected."""
    for design, values, shift in itertools.product(DESIGNS, VALUES, SHIFTS):
        rng = np.random.default_rng([1, len(design.groups), len(design.which), len(values.said), int(10 * shift)])
        truth = _truth(design, values, shift)
        found: dict[str, Any] = dict.fromkeys(("held", "each", "uncorrected", "alone"), 0)
        widths = []
        for _ in range(TRIALS["gaps"]):
            drawn = _drawn(design, values, shift, rng)
            estimates, moved = _estimated(design, drawn, design.which, values.bounds)
            bounds = simultaneous.intervals(estimates, LEVEL, simultaneous.largest(moved, DRAWS))
            inside = _inside(bounds, truth)
            found["held"] += bool(inside.all())
            found["each"] += int(inside.sum())
            found["uncorrected"] += bool(_inside([one.interval(LEVEL) for one in estimates], truth).all())
            widths.append(np.mean([high - low for low, high in bounds]))
            if len(set(design.which)) < len(design.which):
                own, apart = _estimated(design, drawn, np.arange(len(drawn)), values.bounds)
                alone = simultaneous.intervals(own, LEVEL, simultaneous.largest(apart, DRAWS))
                found["alone"] += bool(_inside(alone, truth).all())
        together = len(set(design.which)) < len(design.which)
        yield {
            "design": design.said, "values": values.said, "shift": shift, "groups": len(design.groups),
            "trials": TRIALS["gaps"], **found, "alone": found["alone"] if together else None,
            "width": float(np.mean(widths)),
        }  # fmt: skip


def _drawn(design: Design, values: Values, shift: float, rng: np.random.Generator) -> np.ndarray:
    """A value for each prompt; every second group is shifted."""
    unit = rng.standard_normal(design.which.max() + 1)[design.which]
    own = rng.standard_normal(len(design.which))
    together = len(set(design.which)) < len(design.which)
    scores = math.sqrt(ALIKE) * unit + math.sqrt(1 - ALIKE) * own if together else own
    return values.of(scores + shift * _shifted(design))


def _shifted(design: Design) -> np.ndarray:
    """Which prompts are shifted: those of every second group."""
    found: np.ndarray = np.any([one for number, one in enumerate(design.groups) if number % 2], axis=0).astype(float)
    return found


def _truth(design: Design, values: Values, shift: float) -> np.ndarray:
    """The true gaps, of as many prompts of either kind as the groups have."""
    plain, moved = (values.mean(by) for by in (0.0, shift))
    mixed = plain + (moved - plain) * _shifted(design)
    sides = zip(design.groups, design.rest, strict=True)
    return np.array([mixed[own].mean() - mixed[rest].mean() for own, rest in sides])


def _estimated(
    design: Design, values: np.ndarray, which: np.ndarray, bounds: tuple[float, float]
) -> tuple[list[Estimate], np.ndarray]:
    """All gaps, and how units move them: languages by caption, others beside the rest."""
    number = int(which.max()) + 1
    found = []
    for own, rest in zip(design.groups, design.rest, strict=True):
        sides = [_sums(values, one, which, number, bounds) for one in (own, rest)]
        if "languages" in design.said and number < len(which):
            estimate, influence, _ = paired_by_unit(sides[1], sides[0])
            assert estimate is not None and influence is not None
            found.append((estimate, influence))
        else:
            found.append(gaps.gap(sides[0].mean, sides[1].mean))
    return [estimate for estimate, _ in found], np.array([influence for _, influence in found])


def _sums(
    values: np.ndarray, chosen: np.ndarray, which: np.ndarray, number: int, bounds: tuple[float, float]
) -> ByPrompt:
    own = values[None, chosen]
    return ByPrompt((), own, np.ones_like(own), which[chosen], number, bounds)


def _inside(bounds: Sequence[tuple[float, float]], truth: np.ndarray) -> np.ndarray:
    low, high = np.array(bounds).T
    found: np.ndarray = (low <= truth + 1e-12) & (truth - 1e-12 <= high)  # but for rounding
    return found


def measure_fad() -> Iterator[Row]:
    """How much larger FAD of a small group is by its size alone, with and without equal n, and what intervals hold."""
    for dimensions, size, (name, shift) in itertools.product((8, 32, 128), (50, 100), (("none", 0.0), ("worse", 0.3))):
        trials = TRIALS[f"fad {dimensions}"]
        rng = np.random.default_rng([2, dimensions, size, int(10 * shift)])
        metric = FAD(None)  # type: ignore[arg-type]  # features are made here
        naive, found, errors, bounds = [], [], [], []
        for _ in range(trials):
            pair, group, rest = _sets(dimensions, size, shift, rng)
            units = {i: number for number, i in enumerate(pair[0].ids)}
            one = equal.gap(metric, [pair], group, rest, units, Clusters())
            naive.append(one.value - metric(*(side.select(rest) for side in pair)).value)
            found.append(one.estimate.value)
            errors.append(one.estimate.error)
            bounds.append(one.estimate.interval(LEVEL))
        truth = 0.0 if not shift else float(np.mean(found))
        held = _inside(bounds, np.full(trials, truth))
        yield {
            "dimensions": dimensions, "group": size, "rest": REST, "gap": name, "trials": trials,
            "naive": float(np.mean(naive)), "equal": float(np.mean(found)), "sd": float(np.std(found, ddof=1)),
            "stated": float(np.mean(errors)), "held": int(held.sum()),
            "told": int(sum(low > 0 or high < 0 for low, high in bounds)),
        }  # fmt: skip


REST = 400  # prompts beside the group


def _sets(
    dimensions: int, size: int, shift: float, rng: np.random.Generator
) -> tuple[tuple[Features, Features], list[str], list[str]]:
    """Clips and references of a group and the rest; clips differ from references alike, and more so in the group."""
    n = size + REST
    ids = tuple(f"p{i:04}" for i in range(n))
    spread = np.geomspace(1.0, 0.1, dimensions)
    spread /= math.sqrt(float((spread**2).sum()))

    def frames() -> np.ndarray:
        of_clips = rng.standard_normal((n, 1, dimensions))
        found: np.ndarray = spread * (0.5 * of_clips + math.sqrt(0.75) * rng.standard_normal((n, FRAMES, dimensions)))
        return found

    clips, references = frames(), frames()
    clips[..., 0] += 0.3
    clips[:size, :, 0] += shift
    made = tuple(Features(ids, tuple(one.astype(np.float32))) for one in (clips, references))
    return (made[0], made[1]), list(ids[:size]), list(ids[size:])


VOCALS = [  # true share, sensitivity, specificity, clips, recordings with a voice and without
    (share, sensitivity, specificity, *sizes)
    for share in (0.0, 0.02, 0.1, 0.3)
    for sensitivity, specificity in ((0.9, 0.98), (0.7, 0.9))
    for sizes in ((60, 30, 60), (500, 100, 300), (2600, 2800, 2600))
]


def measure_vocals() -> Iterator[Row]:
    """How often the corrected rate's interval holds the truth, and one that takes the detector's errors for known."""
    for truth, se, sp, n, voices, others in VOCALS:
        rng = np.random.default_rng([3, int(100 * truth), int(100 * se), n])
        found = dict.fromkeys(("held", "above", "below", "known", "none"), 0)
        widths = []
        for _ in range(TRIALS["vocals"]):
            heard, hit, quiet = rng.binomial([n, voices, others], [truth * se + (1 - truth) * (1 - sp), se, sp])
            rates = Rate(heard / n, n), Rate(hit / voices, voices), Rate(quiet / others, others)
            one = prevalence.corrected(*rates, LEVEL)
            if math.isnan(one.low):
                found["none"] += 1
                continue
            found["above"] += bool(one.low > truth)
            found["below"] += bool(one.high < truth)
            found["held"] += bool(one.low <= truth <= one.high)
            widths.append(one.high - one.low)
            found["known"] += _known(rates, truth)
        yield {
            "share": truth, "sensitivity": se, "specificity": sp, "clips": n, "with_voice": voices, "without": others,
            "trials": TRIALS["vocals"], **found, "width": float(np.mean(widths)),
        }  # fmt: skip


def _known(rates: tuple[Rate, Rate, Rate], truth: float) -> bool:
    """Whether the share's own interval holds the truth, corrected as if the detector's errors were known."""
    found, se, sp = rates
    value = np.array([[found.share * found.n]])
    clips = np.concatenate([np.ones(int(value.item())), np.zeros(int(found.n - value.item()))])
    low, high = gaps.mean(clips[None], np.ones((1, len(clips))), np.arange(len(clips)), len(clips), (0.0, 1.0)).ends(
        0.025
    )
    ends = [min(1.0, max(0.0, (end + sp.share - 1) / (se.share + sp.share - 1))) for end in (low, high)]
    return bool(ends[0] <= truth <= ends[1])


MEASURED: dict[str, Callable[[], Iterator[Row]]] = {
    "gaps": measure_gaps,
    "fad": measure_fad,
    "vocals": measure_vocals,
}


def main() -> None:
    """Measure, record, write the section."""
    facts = {"level": LEVEL, "draws": DRAWS, "alike": ALIKE, "rest": REST, "frames": FRAMES, "subsamples": equal.DRAWS}
    measure(__doc__, MEASURED, JSON, {**facts, "runs": RUNS}, write)


if __name__ == "__main__":
    main()
