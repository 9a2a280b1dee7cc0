"""Whether a number that a run measured can be compared with a published one, and if not, why.

A number is comparable only if all that is known of how the published one came about is the same: `CONDITIONS`
is the list. What the publication does not say cannot be the same, and what a run does not record neither. What
only the user can know, such as which checkpoint made the clips of a folder, is not verified, and is said to be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from evalkit.results.alike import NOT_ALTERED
from evalkit.results.frames import prompts_of
from evalkit.results.published import Published
from evalkit.results.record import MetricInfo, Record, RowInfo, WeightsInfo
from evalkit.store.digests import digest

SHARE = 0.01  # of clips that may be of another duration, or alike, or more than were published on
SECONDS = 0.5  # that a clip of a duration may be shorter or longer
GENERAL = (
    "kind",
    "package",
    "source",
    "version",
    "checkpoint",
)  # in the definition of a model; the rest is its settings
UNKNOWN = "not known, as published"


@dataclass(frozen=True)
class Reason:
    """Why numbers cannot be compared: those of a run with published ones, or those of two runs.

    Attributes:
        condition: which one does not hold, of CONDITIONS here or of those in `evalkit.results.pairing`.
        text: what differs, such as "duration 2.5, published 10".
    """

    condition: str
    text: str


@dataclass(frozen=True)
class Setup:
    """How a score comes about, as far as it is known before anything is measured.

    Attributes:
        row: name of the model.
        claimed: the hub id that it is taken for; None for calibration rows too.
        generated: whether its clips are made by the run.
        checkpoint: what its weights are read from, where that is known.
        random: networks, and the row, that have random weights.
        given: how many prompts give it something beside the caption, by what that is.
        own: settings of the model itself; None where they are not known yet.
        sampling: those of the run.
        prompts: their ids and captions; None where they are not known.
        rendered_by: what the references are rendered by; empty for recordings, and where none are needed.
        weights: files of the metric's networks; None where that was not recorded.
    """

    row: str
    claimed: str | None
    generated: bool
    checkpoint: WeightsInfo | None
    random: Sequence[str]
    given: Mapping[str, int]
    own: Mapping[str, Any] | None
    sampling: Mapping[str, Any]
    dataset: str
    subset: str
    prompts: Sequence[tuple[str, str]] | None
    rendered_by: str
    protocol: str
    weights: Sequence[WeightsInfo] | None


@dataclass(frozen=True)
class _Score:
    """One score of a record, with what is known of how it came about."""

    record: Record
    name: str
    metric_name: str

    @property
    def row(self) -> RowInfo:
        return self.record.rows[self.name]

    @property
    def metric(self) -> MetricInfo:
        return self.record.metrics[self.metric_name]

    @property
    def definition(self) -> Mapping[str, Any]:
        """What the clips were made by; empty where that is words."""
        return self.row.definition if isinstance(self.row.definition, Mapping) else {}

    @property
    def setup(self) -> Setup:
        record, row, metric = self.record, self.row, self.metric
        references = record.references_info if metric.compares_with == "references" else None
        return Setup(
            row=self.name,
            claimed=None if row.calibration else row.published,
            generated=row.generated,
            checkpoint=row.checkpoint,
            random=[*metric.random, *([self.name] if row.random else [])],
            given=row.given,
            own=own_settings(self.definition),
            sampling=record.sampling,
            dataset=record.prompts_info.dataset,
            subset=record.prompts_info.subset,
            prompts=list(zip(record.prompts["id"], record.prompts["caption"], strict=True)),
            rendered_by=references.rendered_by if references else "",
            protocol=metric.protocol,
            weights=metric.weights,
        )

    @property
    def clips(self) -> pd.DataFrame:
        return self.record.clips[self.record.clips["model"] == self.name]

    @property
    def references(self) -> pd.DataFrame:
        """The usable references, one row per prompt; none where the metric needs none."""
        clips = self.clips
        usable = (clips["sample"] == 1) & (clips["reference_status"] == "ok")
        return clips[usable & (self.metric.compares_with == "references")]

    @property
    def score(self) -> Mapping[str, Any]:
        scores = self.record.scores
        (found,) = scores[(scores["model"] == self.name) & (scores["metric"] == self.metric_name)].to_dict("records")
        return {str(key): value for key, value in found.items()}


def reasons(record: Record, row: str, metric: str, published: Published) -> list[Reason]:
    """Say why a score cannot be compared with a published value: nothing where it can.

    Args:
        row, metric: names of a row and a metric of the record.
    """
    score = _Score(record, row, metric)
    found = [Reason(name, text) for name, condition in MEASURED.items() for text in condition(score, published)]
    found += expected(score.setup, published)
    return sorted(found, key=lambda reason: CONDITIONS.index(reason.condition))


def expected(setup: Setup, published: Published) -> list[Reason]:
    """Say why a score will not be one that can be compared with a published value, whatever comes out."""
    return [Reason(name, text) for name, condition in PLANNED.items() for text in condition(setup, published)]


def unverified(record: Record, row: str, metric: str) -> list[str]:
    """Name what a comparison rests on and nobody can check, because only the user knows it, or no digest is known."""
    score = _Score(record, row, metric)
    info, found = score.row, list(score.metric.weights or ())
    named = []
    if info.checkpoint:
        found.insert(0, info.checkpoint)
    elif info.published:
        what = "checkpoint" if info.generated else "checkpoint and sampling"
        named.append(f"{what} of {row}, taken for {info.published}")
    if info.generated and "package" in score.definition:
        named.append(f"how the package '{score.definition['package']}' makes the clips of {row}")
    if len(score.references):
        named.append("references")
    return named + unverified_weights(found)


def unverified_weights(weights: Iterable[WeightsInfo]) -> list[str]:
    """Name the weight files of which it is not known whether they are the published ones."""
    return [
        f"{one.name} ({one.source.rpartition('/')[2] if '://' in one.source else one.source}, {one.digest[:12]})"
        for one in weights
        if one.published is None
    ]


def prompt_digests(prompts: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Make the digests of some prompts' ids, and of their pairs (id, caption), in whatever order they are.

    Each is the SHA-256 of sorted JSON without spaces, in ASCII: of ["id", …], and of [["id", "caption"], …].
    """
    pairs = sorted([id, caption] for id, caption in prompts)
    return digest([id for id, _ in pairs]), digest(pairs)


def _random(setup: Setup, published: Published) -> Iterator[str]:
    if setup.random:
        yield f"random weights: {', '.join(setup.random)}"


def _checkpoint(setup: Setup, published: Published) -> Iterator[str]:
    checkpoint = setup.checkpoint
    if setup.claimed is None:
        yield "not a checkpoint that numbers were published for"
    elif setup.claimed != published.model:
        yield f"checkpoint {setup.claimed}, published {published.model}"
    elif setup.generated and checkpoint and (checkpoint.repo != published.model or checkpoint.published is False):
        yield f"checkpoint '{checkpoint.source}', published {published.model}"


def _given(setup: Setup, published: Published) -> Iterator[str]:
    """What clips are made from beside captions."""
    if setup.prompts is None:
        return
    everyone, given = len(setup.prompts), setup.given
    for kind in sorted({*given, *([published.condition] if published.condition else [])}):
        n = given.get(kind, 0)
        if kind != published.condition:
            yield f"{n:,} of {everyone:,} prompts with a {kind}, published without"
        elif n < everyone and setup.generated:
            yield f"{n:,} of {everyone:,} prompts with a {kind}, published with"


def _prompts(setup: Setup, published: Published) -> Iterator[str]:
    prompts, known = setup.prompts, published.prompts
    part = f"the full {published.dataset}" if published.subset == "all" else f"its subset '{published.subset}'"
    if setup.dataset != published.dataset:
        yield f"prompts of {setup.dataset}, published {published.dataset}"
    elif known is None:
        yield f"ids and captions of {part}: {UNKNOWN}"
    elif prompts is not None:
        ids, captions = prompt_digests(prompts)
        if len(prompts) != known.n:
            subset = "" if setup.subset == "all" else f" (subset {setup.subset})"
            yield f"{len(prompts):,} prompts{subset}, published {known.n:,} ({part})"
        elif ids != known.ids:
            yield f"the ids of the {len(prompts):,} prompts are not those of {part}"
        elif captions != known.captions:
            yield f"captions are not those of {part}, whose ids the prompts have"


def _known_n(setup: Setup, published: Published) -> Iterator[str]:
    if published.n is None:
        yield f"number of clips {UNKNOWN}"


def _coverage(score: _Score, published: Published) -> Iterator[str]:
    clips, n = score.clips, int(score.score["n"])
    if unusable := int((clips["status"] != "ok").sum()):
        yield f"{unusable:,} of {len(clips):,} clips cannot be used"
    # which prompts were left out is not known where some were: with a few more, they are among them
    others = published.prompts and len(score.record.prompts) != published.prompts.n  # which is said of the prompts
    if published.n is not None and n > published.n * (1 + SHARE) and not others:
        yield f"n {n:,}, published {published.n:,}"
    if math.isnan(score.score["value"]):
        yield "no value"
    yield from _alike("clips", clips.loc[clips["status"] == "ok", "sha256"])


def _missing(score: _Score, published: Published) -> Iterator[str]:
    """Prompts without a reference; where the prompts are others, these are said."""
    n, others = int(score.score["n"]), published.prompts and len(score.record.prompts) != published.prompts.n
    if published.n is not None and n < published.n and not others:
        yield f"n {n:,}, published {published.n:,}"


def _rendered(setup: Setup, published: Published) -> Iterator[str]:
    if setup.rendered_by:
        yield f"references rendered by {setup.rendered_by}, not recordings"


def _references(score: _Score, published: Published) -> Iterator[str]:
    info = score.record.references_info
    if score.metric.compares_with != "references":
        return
    if info is None:
        yield "references were not recorded"
    elif info.altered:
        yield f"references {info.altered}, not {NOT_ALTERED}"
    references = score.references
    # captions of one recording have one reference
    units = {prompt.id: prompt.unit for prompt in prompts_of(score.record.prompts)}
    of_units = references.assign(unit=references["id"].map(units)).drop_duplicates(["unit", "reference_sha256"])
    yield from _alike("references", of_units["reference_sha256"])
    if same := int((references["sha256"] == references["reference_sha256"]).sum()):
        yield f"{same:,} of {len(references):,} clips are their references"


def _alike(what: str, digests: pd.Series[str]) -> Iterator[str]:
    different, all_of_them = digests.nunique(), len(digests)
    if all_of_them - different > SHARE * all_of_them:
        yield f"only {different:,} of {all_of_them:,} {what} are different"


def _asked(setup: Setup, published: Published) -> Iterator[str]:
    """The duration that clips are made with."""
    asked, due = setup.sampling["duration"], published.duration
    if due is None:
        yield f"duration {UNKNOWN}"
    elif setup.generated and asked != due:
        yield f"duration {asked:g}, published {due:g}"


def _duration(score: _Score, published: Published) -> Iterator[str]:
    clips, due = score.clips, published.duration
    if due is None or (score.row.generated and score.record.sampling["duration"] != due):
        return  # which is said of what was asked for
    for what, lengths in (
        ("clips", clips.loc[clips["status"] == "ok", "length"]),
        ("references", score.references["reference_length"]),
    ):
        other = lengths[~((lengths - due).abs() <= SECONDS)]  # what is not known is another
        if len(other) > SHARE * len(lengths):
            yield f"duration of {len(other):,} of {len(lengths):,} {what} {other.median():.3g}, published {due:g}"


def _sampling(setup: Setup, published: Published) -> Iterator[str]:
    if published.sampling is None:
        yield f"sampling {UNKNOWN}"
    elif setup.generated:
        used = {**setup.sampling, **(setup.own or {})}
        keys = [key for key in published.sampling if key in used or setup.own is not None]
        if setup.row not in setup.random:  # what random weights are made by says nothing
            keys += [key for key in setup.own or {} if key not in keys]
        for key in keys:
            ours, theirs = used.get(key), published.sampling.get(key)
            if ours != theirs:
                yield f"{key} {_shown(ours)}, published {_shown(theirs)}"


def own_settings(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a model that its definition names beside what kind it is and its checkpoint."""
    return {k: v for k, v in definition.items() if k not in GENERAL and v is not None}


def _shown(value: Any) -> str:
    text = "not set" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _protocol(setup: Setup, published: Published) -> Iterator[str]:
    if setup.protocol != published.protocol:
        yield f"protocol {setup.protocol}, published {published.protocol}"


def _weights(setup: Setup, published: Published) -> Iterator[str]:
    if setup.weights is None:
        yield "the digests of weights were not recorded: run it again"
        return
    for one in setup.weights:
        if one.published is False and one.digest:
            yield f"{one.name} {one.digest[:12]}, published {_expected(one)}"


def _expected(weights: WeightsInfo) -> str:
    return weights.expected[:12] if weights.expected else "a file of another size"


PLANNED: Mapping[str, Callable[[Setup, Published], Iterator[str]]] = {
    "random": _random,
    "checkpoint": _checkpoint,
    "given": _given,
    "prompts": _prompts,
    "coverage": _known_n,
    "references": _rendered,
    "duration": _asked,
    "sampling": _sampling,
    "protocol": _protocol,
    "weights": _weights,
}
MEASURED: Mapping[str, Callable[[_Score, Published], Iterator[str]]] = {
    "coverage": _coverage,
    "missing": _missing,
    "references": _references,
    "duration": _duration,
}
CONDITIONS = (
    "random", "checkpoint", "given", "prompts", "coverage", "missing", "references", "duration", "sampling",
    "protocol", "weights",
)  # fmt: skip
