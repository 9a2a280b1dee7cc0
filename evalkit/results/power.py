"""What a comparison with a finished run can see, and how many prompts it needs, before any is made."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from evalkit.errors import EvalkitError, unknown
from evalkit.progress import progress
from evalkit.results import gate
from evalkit.results.comparison_record import ComparisonRecord
from evalkit.results.differences import Difference, Sets, Sums, only_rounding
from evalkit.results.gate import Direction, Gate, Margin
from evalkit.results.listening import Listening
from evalkit.results.loading import load, with_row
from evalkit.results.material import material
from evalkit.results.pairing import Side, side
from evalkit.results.record import Record
from evalkit.results.reweighted import without
from evalkit.results.scored import selected
from evalkit.results.summary import heading, random_weights, records, samples, unique_titles, warning
from evalkit.results.sweep import Sweep
from evalkit.stats import jackknife
from evalkit.stats.clusters import totals, weights, without_leverage
from evalkit.stats.estimate import student
from evalkit.stats.means import ratio, same, standard_error
from evalkit.stats.power import Noise, noise_of

UNKNOWN = Noise(math.nan)
RARE = "two sides differ on none of these prompts: where they do on some, more prompts are needed"
FEW = "too few prompts are left where some are left out"
ALIKE = "no prompt differs from another here, so nothing follows for more of them"


@dataclass(frozen=True)
class Known:
    """What is known of a metric's difference before the comparison.

    Attributes:
        direction: what is better; "same" where neither is.
        value: of the baseline.
        unbiased: the same without its bias, of which relative margins are shares.
        n: number of prompts that it was measured on.
        noise: of the difference where nothing has changed.
        margin: by how much the metric may be worse, in its own unit; NaN where nothing says.
        least_n: number of prompts below which there is no PASS.
        clusters: how many the prompts belong to; 0 where each stands by itself.
        note: why something is not known; empty where nothing is to be said.
    """

    metric: str
    title: str
    direction: Direction
    value: float
    unbiased: float
    n: int
    noise: Noise
    margin: float = math.nan
    least_n: float = 2
    note: str = ""
    clusters: int = 0

    @property
    def error(self) -> float:
        """The standard error of the difference on these prompts."""
        return self.noise.estimate(self.n).error if self.n > 1 else math.nan

    def detectable(self, gate: Gate) -> float:
        """The smallest true difference that these prompts tell from none, with the gate's level and power."""
        return self.noise.estimate(self.n).detectable(gate.level, gate.power) if self.n > 1 else math.nan

    def pass_probability(self, n: int, gate: Gate) -> float:
        """How likely n prompts give a PASS where nothing has changed."""
        if math.isnan(self.margin):
            return math.nan
        probability = self.noise.pass_probability(n, self.margin, gate.level, self.direction == "same")
        return probability if n >= self.least_n or math.isnan(probability) else 0.0

    def needed(self, gate: Gate) -> float:
        """How many prompts give a PASS with the gate's power where nothing has changed; infinite where none do."""
        if math.isnan(self.margin):
            return math.nan
        needed = self.noise.needed(self.margin, gate.level, gate.power, self.direction == "same")
        return max(needed, float(self.least_n))


@dataclass(frozen=True)
class Power:
    """What is known of all metrics.

    Attributes:
        title, heading: the data set, and what was measured in one line.
        warning: what must be read first; empty for nothing.
        source: where the noise was measured, in a sentence.
        metrics: in the order of the record.
    """

    title: str
    heading: str
    warning: str
    source: str
    metrics: Sequence[Known]
    gate: Gate


def power(given: str, gate_file: Path | None, margins: Mapping[str, Margin]) -> Power:
    """Work out what a comparison can see from a finished result or comparison.

    Args:
        given: a folder; RESULT::ROW for one of a result's rows.
        gate_file: None for the comparison's own gate, or else the one that comes with evalkit.
        margins: by metric, in place of the gate's.

    Raises EvalkitError for what cannot be read, and for a row or a metric that is not there.
    """
    folder, row = with_row(given)
    record = load(folder)
    if isinstance(record, Record):
        return of_result(record, row or None, gate.load(gate_file), margins)
    if isinstance(record, Sweep):
        raise EvalkitError(f"'{folder}' is a sweep: give the result of one of its points, in {folder}/points")
    if isinstance(record, Listening):
        raise EvalkitError(f"'{folder}' is a listening test: give a result or a comparison")
    if row:
        raise EvalkitError(f"'{folder}' is a comparison, which has no rows: leave '::{row}' out")
    return of_comparison(record, None if gate_file is None else gate.load(gate_file), margins)


def margins_of(texts: Iterable[str]) -> dict[str, Margin]:
    """Read margins, each METRIC=VALUE, where VALUE is in the metric's unit or, with "%", a share of its own.

    Raises EvalkitError for what is no such text.
    """
    found = {}
    for text in texts:
        metric, equals, amount = (part.strip() for part in text.partition("="))
        if not metric or not equals:
            raise EvalkitError(f"margin '{text}': write METRIC=VALUE, such as kld=0.05 or fad=5%")
        value: float | str = amount
        with contextlib.suppress(ValueError):
            value = float(amount)
        found[metric] = gate.margin(value, f"the margin of {metric}")
    return found


def of_comparison(comparison: ComparisonRecord, other: Gate | None, margins: Mapping[str, Margin]) -> Power:
    """Take what a finished comparison has measured.

    Args:
        other: a gate in place of the comparison's own.
        margins: by metric, in place of the gate's.

    Raises EvalkitError for a margin of a metric that the comparison does not have.
    """
    _require_known(margins, comparison.metrics["metric"], "comparison")
    chosen = other or gate.parsed(comparison.gate)
    known = []
    for row in records(comparison.metrics):
        noise = noise_of(student(row["difference"], row["error"], row["df"]), row["n"])
        note = _note(noise, row["note"] or row["reason"])
        values = row["baseline"], row["unbiased_baseline"]
        # of the prompts that have a value as many belong together as of all
        clusters = round(comparison.clusters * row["n"] / comparison.prompts)
        about = row["metric"], row["title"], row["direction"], *values, row["n"], noise
        made = Known(*about, note=note, clusters=clusters)
        known.append(_limited(made, chosen, margins))
    before, after = (", ".join(one.row for one in part) for part in (comparison.baseline, comparison.candidate))
    several = len(comparison.baseline) + len(comparison.candidate) > 2
    runs = ": what is between several results of a side does not shrink with more prompts" if several else ""
    return Power(
        title=comparison.dataset,
        heading=f"{comparison.dataset}, subset {comparison.subset}: {comparison.prompts:,} prompts, "
        f"protocol {comparison.protocol}",
        warning=warning(list(comparison.random)),
        source=f"measured in this comparison, of '{before}' and '{after}'{runs}",
        metrics=known,
        gate=chosen,
    )


def of_result(record: Record, row: str | None, chosen: Gate, margins: Mapping[str, Margin]) -> Power:
    """Work out what a run shows of the noise of a comparison of one of its rows with another run on as many prompts.

    Measured between two models of the run; else between the clips of each prompt, where there are several; else it is
    that of two sides which share nothing, √2 times that of one.

    Args:
        row: the baseline; None for the first model.
        margins: by metric, in place of the gate's.

    Raises EvalkitError for a row, or a margin of a metric, that the record does not have, and where prompts cannot
    be paired.
    """
    _require_known(margins, record.metrics, "result")
    models = [name for name, info in record.rows.items() if not info.calibration]
    baseline = side(record, row or (models[0] if models else None))
    other = next((Side(record, name) for name in models if name != baseline.row), None)
    known, titles = [], unique_titles(record.metrics)
    with progress("power", len(record.metrics), "metrics") as advance:
        for metric, info in record.metrics.items():
            direction = gate.direction(None, info.higher_is_better)
            made = Known(metric, titles[metric], direction, math.nan, math.nan, 0, UNKNOWN)
            try:
                made = _measured(baseline, other, made, chosen)
            except EvalkitError as error:
                made = replace(made, note=str(error))
            known.append(_limited(made, chosen, margins))
            advance(1)
    return Power(
        title=record.prompts_info.dataset,
        heading=f"{heading(record)}, baseline {baseline.row}",
        warning=warning(random_weights(record)),
        source=_source(baseline, other),
        metrics=known,
        gate=chosen,
    )


def _require_known(margins: Mapping[str, Margin], metrics: Iterable[str], what: str) -> None:
    known = list(metrics)
    for name in margins:
        if name not in known:
            raise unknown(f"metric of the {what}", name, known)


def _limited(known: Known, chosen: Gate, margins: Mapping[str, Margin]) -> Known:
    """What is known of a metric, with the limit that a gate or the user gives it."""
    if limit := chosen.metrics.get(known.metric):
        margin, direction = gate.absolute(limit.margin, known.unbiased), limit.direction or known.direction
        least = limit.least_n * known.n / known.clusters if known.clusters else limit.least_n
        known = replace(known, margin=margin, least_n=least, direction=direction)
    if known.metric in margins:
        known = replace(known, margin=gate.absolute(margins[known.metric], known.unbiased))
    return known


def _source(baseline: Side, other: Side | None) -> str:
    many = samples(baseline.record, baseline.row)
    if other is not None:
        return f"measured between '{baseline.row}' and '{other.row}', whose own difference is part of it"
    if many > 1:
        return (
            f"measured between the {many} clips of each prompt, so of sampling alone, "
            f"for {many} clips of each prompt on either side"
        )
    return (
        "of two sides that share nothing, √2 times that of one: one clip of each prompt does not show how alike two "
        "sides are. Pairing by prompt makes it smaller; a run with sampling.samples_per_prompt=2 measures by how much"
    )


def _measured(baseline: Side, other: Side | None, known: Known, chosen: Gate) -> Known:
    """Measure the noise of one metric. Raises EvalkitError where it has no value."""
    ids = baseline.record.prompts["id"].tolist()
    groups = chosen.groups, chosen.seed
    found = material([baseline], [other or baseline], known.metric, ids, groups)
    whole, n, many = _difference(found), len(found.ids), found.results[0][0]
    if n < 2:
        raise EvalkitError("one prompt shows nothing of others: at least 2 are needed")
    if other is not None:
        noise, unbiased = noise_of(whole.estimate, n), whole.unbiased
        most, _ = _alone(found, whole.baseline, n)
        note = _note(noise, whole.note)
        # rows that differ much do so more on some prompts than on others; twice, because both are estimates
        if 0 < 2 * most.variance < noise.variance:
            noise, note = most, f"'{other.row}' is so unlike it that the error is that of two sides which share nothing"
    elif many > 1:
        apart = [_difference(_between(found, *pair)) for pair in itertools.combinations(range(many), 2)]
        noise = _average([noise_of(one.estimate, n) for one in apart], many)
        _, unbiased = _alone(found, whole.baseline, n)
        note = _note(noise, apart[0].note)
    else:
        noise, unbiased = _alone(found, whole.baseline, n)
        note = _note(noise, FEW)
    return replace(known, value=whole.baseline, unbiased=unbiased, n=n, noise=noise, note=note, clusters=whole.clusters)


def _difference(found: Sums | Sets) -> Difference:
    """The difference on all prompts, without any swap."""
    n = len(found.ids)
    return found.of(np.arange(n), np.zeros((1, n)))


def _between(found: Sums | Sets, one: int, other: int) -> Sums | Sets:
    """What two of the baseline's sets differ by, one as a baseline and the other as a candidate."""
    results = [1], [1]
    if isinstance(found, Sets):
        first, second = [found.baseline[one]], [found.baseline[other]]
        return replace(found, baseline=first, candidate=second, results=results, identical=False)
    before, after = ((found.baseline[0][[k]], found.baseline[1][[k]]) for k in (one, other))
    return replace(found, baseline=before, candidate=after, results=results, identical=False)


def _average(noises: Sequence[Noise], many: int) -> Noise:
    """The noise of so many clips of each prompt on either side, from those between one and another."""
    variance = float(np.mean([noise.variance for noise in noises]))
    # the interval of shares takes no account of several clips of a prompt
    return replace(noises[0], variance=variance if noises[0].share else variance / many)


def _alone(found: Sums | Sets, value: float, n: int) -> tuple[Noise, float]:
    """The noise of two sides that share nothing, from one clip of each prompt of the baseline, and its unbiased value.

    Args:
        value: of the baseline.
    """
    if isinstance(found, Sets):
        which = jackknife.groups([found.clusters.unit(i) for i in found.ids], *found.groups)
        sizes = np.bincount(which)
        keep = (which != np.arange(len(sizes))[:, None]).astype(np.float64)
        (pair,) = selected(found.baseline[:1], found.ids, found.clusters)
        measured, clustered = found.metric(*pair), found.clusters.numbers(found.ids) is not None
        rests = without(found.metric, pair, measured, keep)
        estimate = jackknife.corrected(measured.value, rests, sizes, clustered)
        one = noise_of(estimate, n)
        if math.isfinite(estimate.error) and only_rounding(estimate.error, rests, found.metric.bounds):
            one = replace(one, variance=0.0)
        return replace(
            one, variance=2 * one.variance
        ), estimate.value if measured.subsets and not measured.together else value
    sums, counts = (part[:1] for part in found.baseline)
    if math.isinf(_difference(replace(found, identical=False)).estimate.df):
        return Noise(2 * value * (1 - value), share=True), value
    clusters = found.clusters.numbers(found.ids)
    _, influence = ratio(totals(sums, clusters), totals(counts, clusters))
    if same(influence, float(np.abs(sums / counts).max())):
        return Noise(0.0), value
    if clusters is not None:
        influence = without_leverage(influence, weights(totals(counts, clusters)))
    return Noise(2 * n * standard_error(influence) ** 2), value


def _note(noise: Noise, otherwise: str) -> str:
    """What must be said where the prompts show no noise, or where it is not known."""
    if math.isnan(noise.variance):
        return otherwise
    return "" if noise.variance else RARE if noise.share else ALIKE
