"""The types of the record of a listening test: what people said, who was left out, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

SCHEMA = 1  # of what is stored: raise it with a change, and read the older ones too

Method = Literal["rating", "pairs"]
Verdict = Literal["better", "worse", "not told apart", ""]

# The columns of each frame with their types.
SYSTEMS = {
    "system": "str", "role": "str", "control": "str",
    "value": "float64", "low": "float64", "high": "float64", "error": "float64", "df": "float64",
    "n": "int64", "raters": "int64", "prompts": "int64", "sd": "float64",
    "share": "float64", "wins": "int64", "ties": "int64", "losses": "int64", "both_bad": "int64",
}  # fmt: skip
DIFFERENCES = {
    "first": "str", "second": "str", "family": "str",
    "difference": "float64", "low": "float64", "high": "float64", "error": "float64", "df": "float64",
    "p": "float64", "p_holm": "float64", "n": "int64", "better": "float64", "verdict": "str", "note": "str",
}  # fmt: skip
CORRELATIONS = {
    "metric": "str", "title": "str", "higher_is_better": "boolean", "over": "str", "coefficient": "str",
    "value": "float64", "low": "float64", "high": "float64", "n": "int64", "note": "str",
}  # fmt: skip
RATERS = {
    "rater": "str", "sessions": "str", "answers": "int64", "kept": "int64", "excluded": "str", "reason": "str",
    "mean": "float64", "sd": "float64", "agreement": "float64", "headphones": "str",
}  # fmt: skip
RULES = {"rule": "str", "settings": "str", "raters": "int64", "answers": "int64", "who": "str", "note": "str"}
ANSWERS = {
    "session": "str", "rater": "str", "page": "int64", "prompt": "str",
    "item": "str", "system": "str", "second_item": "str", "second_system": "str",
    "rating": "float64", "choice": "str", "heard": "float64", "second_heard": "float64",
    "seconds": "float64", "plays": "int64", "excluded": "str",
}  # fmt: skip
SCORES = {
    "system": "str", "metric": "str", "title": "str", "higher_is_better": "boolean",
    "value": "float64", "low": "float64", "high": "float64", "random": "bool",
}  # fmt: skip


@dataclass(frozen=True)
class SystemInfo:
    """Whose clips were heard under one name.

    Attributes:
        role: "system", "reference" (recordings) or "control" (clips that are bad on purpose).
        control: what is bad about a control; empty for others.
        row, path: the row of a result whose clips these are, and that result's folder; empty for references.
        sha256: of that result's result.json.
    """

    name: str
    role: str
    control: str
    row: str
    path: str
    sha256: str


@dataclass(frozen=True)
class AnswersInfo:
    """One file of answers that was read.

    Attributes:
        used: whether its answers count; of several files of one session one does.
    """

    name: str
    sha256: str
    session: str
    finished: bool
    used: bool


@dataclass(frozen=True, eq=False)  # frames have no truth value
class ListeningRecord:
    """What people said of systems in a listening test.

    Attributes:
        study: the id of the study.
        study_sha256: of its study.json.
        axis: what was asked: "quality", "relevance" or "melody".
        method: "rating" (on a scale) or "pairs" (which of two).
        scale: lowest and highest rating.
        loudness: of what was heard, in LUFS; NaN where it is not known.
        dataset, subset, protocol: of the results whose clips were heard.
        level, resamples, seed: of intervals.
        rules: as they were read, all defaults filled in, a JSON-like value.
        judged: whether there are enough raters and prompts for intervals and verdicts.
        reasons: what was found, or why nothing is said; the weightiest first, one sentence each.
        warnings: what must be read before the metrics' numbers; of what people said they say nothing.
        remarks: what else a reader must know, one sentence each.
        sessions: how many the study asked for.
        raters_asked, raters_kept: people who answered, and those who were left after exclusion.
        prompts: captions of what was heard, by the prompt's id.
        alpha, alpha_low, alpha_high: Krippendorff's ordinal alpha of the answers that were kept; NaN where nothing was
            heard by two raters.
        tie_readiness: ν of Davidson's model; NaN for ratings.
        infos: whose clips were heard.
        files: of answers.
        provenance: of the analysis.
        systems: one row per system. `value` is its mean rating, or of pairs its log-strength in a Bradley–Terry model
            with ties, of mean 0 over all systems; `low`, `high`, `error`, `df` are its interval, standard error and
            degrees of freedom, over raters and prompts. `n` ratings, or choices, by so many `raters` of so many
            `prompts`; `sd` of the ratings. Of pairs, `share` is what it gets of choices against all others in that
            model, a tie as a half, and `wins` to `both_bad` are counts.
        differences: one row per two systems, the first − the second: of ratings within pages, of pairs in log-strength.
            `family`: the differences that Holm's method corrects together, "systems" or "with reference". `n` pages,
            or choices, of both; `better`: the share of these in which the first is better, a tie as a half.
        correlations: one row per metric, coefficient and what it is `over`: "systems", "clips" or "clips within
            prompts". Positive where what the metric calls better is what people call better. `n`: number of systems or
            clips.
        raters: one row per rater. `excluded`: the rule by which; empty for who was kept. `agreement`: correlation of
            the rater's ratings with the means of others'; NaN of pairs.
        exclusions: one row per rule, in the order in which they were applied: whom it excludes, and how many answers,
            of those that were left by the rules before it.
        answers: every answer. `excluded`: the rule that excluded it, or its rater; empty for what counts.
        scores: the metrics of each system, as the study has them.
        path: the folder that holds the record.
    """

    study: str
    study_sha256: str
    axis: str
    method: Method
    scale: Sequence[float]
    loudness: float
    dataset: str
    subset: str
    protocol: str
    level: float
    resamples: int
    seed: int
    rules: Mapping[str, Any]
    judged: bool
    reasons: Sequence[str]
    warnings: Sequence[str]
    remarks: Sequence[str]
    sessions: int
    raters_asked: int
    raters_kept: int
    prompts: Mapping[str, str]
    alpha: float
    alpha_low: float
    alpha_high: float
    tie_readiness: float
    infos: Sequence[SystemInfo]
    files: Sequence[AnswersInfo]
    provenance: Mapping[str, Any]
    systems: pd.DataFrame
    differences: pd.DataFrame
    correlations: pd.DataFrame
    raters: pd.DataFrame
    exclusions: pd.DataFrame
    answers: pd.DataFrame
    scores: pd.DataFrame
    path: Path
    schema: int = SCHEMA
