"""Which prompts are worth listening to: the best, the worst, the most typical and the most changed by each metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from evalkit.page.sources import REFERENCE, Sources
from evalkit.page.view import SIDES, View
from evalkit.report import numbers
from evalkit.results.plots.plot import Metric

CARDS = 12  # prompts in all: more than people listen to
EACH = 3  # models that each have prompts of their own; of more, the best and the worst of all are chosen
TIED = 0.25  # the share of clips with the best or worst value above which that value chooses no clip

CHANGES = {"worse": "worsened most", "better": "improved most", "higher": "rose most", "lower": "fell most"}

WAYS = ("worse", "better")


@dataclass(frozen=True)
class Reason:
    """Why a prompt was chosen.

    Attributes:
        text: in words, such as "worst by KLD".
        detail: whose clip that is, with its value; it names systems, which a blind listener must not see.
        metric: by which.
        makers: numbers of the systems whose values it speaks of.
    """

    text: str
    detail: str
    metric: str
    makers: tuple[int, ...] = ()


@dataclass
class Choice:
    """A prompt to listen to.

    Attributes:
        id: of the prompt.
        sample: which of each system's clips.
        reasons: why, the weightiest first.
    """

    id: str
    sample: int
    reasons: list[Reason] = field(default_factory=list)


_Found = tuple[str, int, Reason]  # id of the prompt, sample, why


def choose(view: View, sources: Sources) -> list[Choice]:
    """Choose prompts, the weightiest first; a prompt that is chosen by several metrics has several reasons."""
    known, table = view.metrics, _table(sources)
    systems = [number for number, (_, role) in enumerate(sources.systems) if role != "calibration"]
    systems = systems or list(range(len(sources.systems)))
    names = [name for name, _ in sources.systems]
    queues: list[list[_Found]] = []
    if view.comparison is not None:
        queues += _moved(view, sources, known)
        # where a result is gone, what moved is all that is known of it, and no best or worst of all
        systems = [number for number in range(len(view.systems)) if view.systems[number].role == "candidate"]
    elif view.sweep is not None and len(names) == 2:
        before, after = (_with(sources, role) for role in ("default", "winner"))
        queues += [_changed(table, metric, before, after, names) for metric in known]
        systems = [after]
    groups = [[n] for n in systems] if len(systems) <= EACH else [list(systems)]
    alone = [_extremes(table[table["maker"].isin(group)], metric, names) for metric in known for group in groups]
    if view.comparison is None and view.sweep is None and len(names) > 1:
        alone += [_apart(table[table["maker"].isin(systems)], metric, names) for metric in known]
    chosen: dict[tuple[str, int], Choice] = {}
    for queue in (queues, alone):  # what changed comes first
        _take(_in_turn(queue), chosen)
    return list(chosen.values())


def _take(found: Iterable[_Found], chosen: dict[tuple[str, int], Choice]) -> None:
    for id, sample, reason in found:
        if (id, sample) in chosen or len(chosen) < CARDS:
            chosen.setdefault((id, sample), Choice(id, sample)).reasons.append(reason)


def _in_turn(queues: Sequence[Sequence[_Found]]) -> Iterable[_Found]:
    """The first of each, then the second of each, and so on."""
    for place in range(max(map(len, queues), default=0)):
        yield from (queue[place] for queue in queues if place < len(queue))


def _table(sources: Sources) -> pd.DataFrame:
    """One row per clip that can be listened to and metric with a value of it."""
    rows = [
        (prompt, source.maker, source.sample, metric, value)
        for prompt, found in sources.prompts.items()
        for source in found
        if source.maker != REFERENCE and source.clip.ok
        for metric, value in source.values.items()
        if np.isfinite(value)
    ]
    return pd.DataFrame(rows, columns=["id", "maker", "sample", "metric", "value"])


def _with(sources: Sources, role: str) -> int:
    return next(number for number, (_, one) in enumerate(sources.systems) if one == role)


def _extremes(table: pd.DataFrame, metric: Metric, names: Sequence[str]) -> list[_Found]:
    """The worst, the best and the most typical clip of some systems by a metric."""
    own = table[table["metric"] == metric.name].reset_index(drop=True)
    values = own["value"].to_numpy()
    if len(values) < 2 or values.min() == values.max():
        return []
    low, high = int(values.argmin()), int(values.argmax())
    if metric.higher_is_better is None:
        picks = [("highest", high), ("lowest", low)]
    else:
        picks = [("worst", low), ("best", high)] if metric.higher_is_better else [("worst", high), ("best", low)]
    picks = [(word, place) for word, place in picks if np.mean(values == values[place]) <= max(TIED, 1 / len(values))]
    if len(np.unique(values)) > 2:
        picks.append(("typical", int(np.abs(values - np.median(values)).argmin())))

    def reason(word: str, place: int) -> Reason:
        maker = int(own["maker"][place])
        value = numbers.number(values[place])
        return Reason(
            f"{word} by {metric.title}", f"{names[maker]} {value}" if len(names) > 1 else value, metric.name, (maker,)
        )

    return [(str(own["id"][place]), int(own["sample"][place]), reason(word, place)) for word, place in picks]


def _apart(table: pd.DataFrame, metric: Metric, names: Sequence[str]) -> list[_Found]:
    """The prompt on which systems differ most by a metric."""
    wide = _wide(table, metric)
    if wide.shape[1] < 2 or wide.empty:
        return []
    spread = (wide.max(axis=1) - wide.min(axis=1)).fillna(0.0)
    if not spread.max() > 0:
        return []
    place = int(spread.to_numpy().argmax())
    id, sample = wide.index[place]
    row = wide.iloc[place].dropna()
    at = dict(zip(row.index.astype(int), row.astype(float), strict=True))
    low, high = min(at, key=at.__getitem__), max(at, key=at.__getitem__)
    detail = f"{names[low]} {numbers.number(at[low])}, {names[high]} {numbers.number(at[high])}"
    return [(str(id), int(sample), Reason(f"furthest apart by {metric.title}", detail, metric.name, (low, high)))]


def _changed(table: pd.DataFrame, metric: Metric, before: int, after: int, names: Sequence[str]) -> list[_Found]:
    """The clips that are most worse and most better than those of another system."""
    wide = _wide(table, metric)
    if before not in wide or after not in wide:
        return []
    difference = (wide[after] - wide[before]).dropna()
    found = []
    for word, place in _ends(difference, metric):
        id, sample = difference.index[place]
        detail = f"{numbers.number(wide[before][(id, sample)])} → {numbers.number(wide[after][(id, sample)])}"
        reason = Reason(
            f"{word} by {metric.title}", f"{names[before]} → {names[after]}: {detail}", metric.name, (before, after)
        )
        found.append((str(id), int(sample), reason))
    return found


def _ends(difference: pd.Series, metric: Metric) -> list[tuple[str, int]]:
    """The places of the largest changes in both directions, in words, the damage first."""
    values = difference.to_numpy(dtype=np.float64) * (-1 if metric.higher_is_better is False else 1)
    if not len(values):
        return []
    low, high = int(values.argmin()), int(values.argmax())
    fell, rose = (CHANGES[key] for key in (("lower", "higher") if metric.higher_is_better is None else WAYS))
    return [*([(fell, low)] if values[low] < 0 else []), *([(rose, high)] if values[high] > 0 else [])]


def _wide(table: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    own = table[table["metric"] == metric.name]
    return own.pivot_table(index=["id", "sample"], columns="maker", values="value", sort=False)


def _moved(view: View, sources: Sources, known: Sequence[Metric]) -> list[list[_Found]]:
    """What a comparison itself names as moved most: of each metric the two most worse, and the most better."""
    comparison = view.comparison
    assert comparison is not None
    queues = []
    for metric in known:
        own = comparison.moved[comparison.moved["metric"] == metric.name]
        queue = []
        for change in own["change"].unique():
            rows = own[own["change"] == change]
            for row in rows.head(1 if change == "better" else 2).itertuples():
                detail = f"{numbers.number(row.baseline)} → {numbers.number(row.candidate)}"
                makers = tuple(one.maker for one in sources.prompts.get(str(row.id), ()) if one.maker != REFERENCE)
                if len(makers) > len(SIDES):  # no clip has these values
                    detail, makers = f"{detail}, means over clips", ()
                reason = Reason(f"{CHANGES[change]} by {metric.title}", detail, metric.name, makers)
                queue.append((str(row.id), 1, reason))
        queues.append(queue)
    return queues


def makers_of(reasons: Sequence[Reason]) -> Mapping[tuple[int, str], str]:
    """Which values of a prompt are reasons why it was chosen: by system and metric the words."""
    return {(maker, reason.metric): reason.text for reason in reasons for maker in reason.makers}
