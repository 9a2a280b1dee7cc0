"""The types of a run's record: all that was measured, complete but for the audio."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from evalkit.results.evidence import Evidence
from evalkit.types import Form

SCHEMA = 2  # of what is stored: raise it with a change, and migrate the older ones in `evalkit.results.files`


@dataclass(frozen=True)
class Count:
    """How many clips are usable, and why the others are not."""

    ok: int
    total: int
    reasons: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.ok:,} of {self.total:,}" + (f" ({self.why})" if self.why else "")

    @property
    def why(self) -> str:
        """The reasons with their counts, in words."""
        return ", ".join(f"{n:,} {reason}" for reason, n in self.reasons.items() if n)


def count(statuses: Collection[str]) -> Count:
    """Count usable clips, and the others by what is wrong with them."""
    statuses = [s for s in statuses if s != "unpaired"]
    return Count(sum(s == "ok" for s in statuses), len(statuses), dict(Counter(s for s in statuses if s != "ok")))


@dataclass(frozen=True)
class PromptsInfo:
    """What the prompts of a run are a selection of.

    Attributes:
        dataset: the name that published numbers are joined on.
        subset: the selection in words; "all" for the whole data set.
        selected, total: number of prompts used, and in the data set.
        sha256: digest of the file that the prompts were read from.
        ids: digest of the prompts' ids, in order.
        form: "prompts"; "pairs" or "sets" for two folders without captions, where ids are names of files. In
            "sets" a name may be in one folder only: the clip or the reference has the status "unpaired" then.
    """

    dataset: str
    subset: str
    selected: int
    total: int
    sha256: str
    ids: str
    form: Form = "prompts"


@dataclass(frozen=True)
class ReferencesInfo:
    """The reference clips of a run.

    Attributes:
        usable: how many of the prompts have one.
        sha256: digest of the usable ones' ids and contents.
        rendered_by: the model that rendered them; empty where they are recordings.
        cut, cut_to: how many were cut, and to how many seconds at most.
        pack, pack_sha256: the name and digest of the reference pack that their features came from; empty where they
            were computed of audio.
        pack_device: the type of the device that they were computed on, and pack_commit the commit of the code.
        altered: what was made of them before anything was compared with them, such as "instrumental (HT-Demucs …)";
            empty for references as they are.
        originals: where they were altered, what `sha256` was before.
    """

    usable: Count
    sha256: str
    rendered_by: str = ""
    cut: int = 0
    cut_to: float = 0.0
    pack: str = ""
    pack_sha256: str = ""
    pack_device: str = ""
    pack_commit: str = ""
    altered: str = ""
    originals: str = ""


@dataclass(frozen=True)
class ProtocolInfo:
    """The protocol of a run.

    Attributes:
        name: as the table shows it: marked where a switch is not as the protocol has it.
        changes: these switches, such as "vggish.hop 0.96, not 0.5".
        switches: all switches, as they were.
    """

    name: str
    changes: Sequence[str]
    switches: Mapping[str, Any]


@dataclass(frozen=True)
class WeightsInfo:
    """A weight file, or a hub repository, that a network was read from.

    Attributes:
        name: what it is, in words.
        source: where it came from: a path, a URL, or a hub repository with its revision.
        repo: the hub repository, where it came from one.
        digest: SHA-256 of the file or folder, or the commit of the repository; empty for random weights.
        expected: the digest or commit of the published file, as far as it is known; empty where it is not.
        published: whether it is the published file: True or False where that is known; None where it is not.
    """

    name: str
    source: str
    repo: str | None
    digest: str
    expected: str
    published: bool | None


@dataclass(frozen=True)
class MetricInfo:
    """A metric of a run, with all that is needed to compute its values again.

    Attributes:
        protocol: the protocol that it follows, marked "(changed)" or "(extended)" where the run departs from it.
        compares_with: what generated clips are compared with: "references", "captions" or "" for nothing.
        clip_by_clip: whether each clip is compared with a reference of its own.
        additive: whether the clips' sums and counts give the value on any set of prompts.
        bounds: between which all values lie; None for no bound.
        definition: kind, version, parameters, and the encoders with the digests of their weights.
        target: where the class lay when the run was made.
        encoder, reference_encoder: keys of the features of either side in the evidence; empty for none.
        random: those of its networks that have random weights.
        weights: the files of its networks; None in records of schema 1, which did not have them.
    """

    title: str
    higher_is_better: bool | None
    protocol: str
    compares_with: str
    clip_by_clip: bool
    additive: bool
    bounds: Sequence[float | None]
    definition: Mapping[str, Any]
    target: str
    encoder: str
    reference_encoder: str
    random: Sequence[str]
    weights: Sequence[WeightsInfo] | None = None

    @property
    def sides(self) -> tuple[str, str]:
        """Which features it compares with which, as `evalkit.results.evidence.Side` names them."""
        return ("cut clips" if self.compares_with == "references" else "clips"), self.compares_with

    @property
    def sides_of_sets(self) -> tuple[str, str]:
        """The same in a row of two sets, of which metrics of sets take every clip, whole."""
        if self.compares_with == "references" and not self.clip_by_clip:
            return "clips", "whole references"
        return self.sides


@dataclass(frozen=True)
class RowInfo:
    """A row of the table: a model, or a calibration row, which shows what the scale is.

    Attributes:
        calibration: whether it is a calibration row.
        about: what a calibration row is made of.
        published: the hub id that published numbers are joined on, if there is one.
        generated: whether the run made the clips; they were there already if not.
        random: whether random weights made the clips.
        paired: whether each clip has a reference of its own.
        sets: whether clips and references are two sets of their own: nothing but metrics of pairs, on names that both
            have, may take a clip and the reference of the same id to belong together.
        definition: what the clips were made by: kind, version, parameters, digests of weights; or words.
        checkpoint: what its weights were read from, where they were.
        given: how many prompts gave it something beside the caption, by what that was, such as "melody".
        made: in which ways the clips were computed, by this run or by earlier ones that stored them: for each way the
            number of `clips` and what may change their last bits, such as device_name, dtype and batch_size. Empty for
            clips that evalkit did not make, and in older records.
    """

    calibration: bool
    about: str
    published: str | None
    generated: bool
    random: bool
    paired: bool
    definition: Any
    checkpoint: WeightsInfo | None = None
    given: Mapping[str, int] = field(default_factory=dict)
    sets: bool = False
    made: Sequence[Mapping[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)  # frames have no truth value: records are compared field by field
class Record:
    """What a run measured.

    Attributes:
        schema: the version of this record's form.
        prompts_info, references_info, protocol: what was measured against what, and how.
        metrics, rows: the columns and the rows of the table, in its order.
        sampling: the sampling parameters; of clips that the run did not make none applies.
        uncertainty: level, resamples and seed of the confidence intervals.
        small_slice: number of prompts, or of clusters where prompts belong together, below which a slice is marked.
        remarks: what else a reader of the table must know, one sentence each.
        config, provenance: what was asked for, resolved, and what it was made with.
        prompts: one row per prompt, in order: id, caption, tags, labels; where some have one, also cluster, translation
            and language, as `evalkit.types.Prompt` has them; where some give a melody to models, also melody (its file)
            and melody_sha256, empty for those that give none.
        scores: one row per row of the table and metric: model, metric, value, low, high, n, protocol,
            higher_is_better, random_weights, published, difference, comparable; sets (of one clip per prompt, over
            which the value is a mean), seed_sd (standard deviation over them) and spread (over prompts, of how each
            moves the value); rounding and tolerance of the published value, published_n (of how many clips it is;
            NaN where that is not known), because (why the tolerance is so wide), difference_low and difference_high
            (the interval by which it is judged, rounding included), verdict (empty where the row claims no published
            checkpoint) and verdict_reason; context (the value published for the checkpoint tuned_from, where there is
            none of its own); source, url, note.
        slices: one row per group of prompts, model and metric: slice, group, then as scores, and small.
        context: other published numbers on the same data set: model, condition, one column per metric, …
        clips: one row per clip: model, id, sample (which of a prompt's clips), caption, tags, labels, status,
            reason, note, path, sha256, sample_rate, channels, seconds (of the file), gain (what its samples
            were multiplied by when stored), start and length (the part that counts, in seconds),
            compared_length (the part that a reference was compared with), the same of its reference,
            reference_origin (the digest of what an altered reference was made of; where any is altered), and then the
            clip's value for each metric.
        values: one row per clip and metric that could use it: model, sample, id, metric, value (NaN where
            the clip has none of its own), sum and count of its items (NaN where the metric is not additive).
        evidence: the features that metrics of whole sets are computed from.
        path: the folder that holds the record.
    """

    prompts_info: PromptsInfo
    references_info: ReferencesInfo | None
    protocol: ProtocolInfo
    metrics: Mapping[str, MetricInfo]
    rows: Mapping[str, RowInfo]
    sampling: Mapping[str, Any]
    uncertainty: Mapping[str, Any]
    small_slice: int
    remarks: Sequence[str]
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    prompts: pd.DataFrame
    scores: pd.DataFrame
    slices: pd.DataFrame
    context: pd.DataFrame
    clips: pd.DataFrame
    values: pd.DataFrame
    evidence: Evidence
    path: Path
    schema: int = SCHEMA
