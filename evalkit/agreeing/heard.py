"""Which systems can be set beside each other: those measured on what was heard, and joined by choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evalkit.agreeing.matching import LEAST, Matched, heard_of, some, with_ratings
from evalkit.agreeing.opinions import Opinions
from evalkit.errors import EvalkitError
from evalkit.report.numbers import counted
from evalkit.results.alike import prompts_differ
from evalkit.stats import bradley_terry

ELSEWHERE = "measured for other prompts than heard, none of which their record has"
APART = "never compared with the others, nor by way of other systems"


def comparable(opinions: Opinions, matched: Matched) -> Matched:
    """Leave out systems that were heard for other prompts than measured, and those that no choice joins to the others.

    Raises EvalkitError where records have different prompts and nothing of what was rated is found in any, and where
    fewer than `LEAST` systems are left.
    """
    differing = _prompts(matched)
    known = [sum(bool(one.id) for one in own) for own in heard_of(opinions.of(matched.systems), matched)]
    if differing and not any(known):
        raise EvalkitError(
            f"the records have {differing}, and no clip that was rated is found in them: what was measured may not be "
            "what was heard. Call prompts or clips in the ratings as the records do, or measure all systems for the "
            "same prompts"
        )
    said = [f"the records have {differing}"] if differing else []
    if any(known):
        matched = _keep(opinions, matched, [count > 0 for count in known], ELSEWHERE)
    if opinions.method == "pairs":
        matched = _keep(opinions, matched, bradley_terry.joined(_played(opinions, matched)), APART)
    return replace(matched, remarks=[*matched.remarks, *said])


def _keep(opinions: Opinions, matched: Matched, wanted: Sequence[bool] | np.ndarray, why: str) -> Matched:
    """The systems that are wanted, and a remark on all others."""
    kept = [k for k, one in enumerate(wanted) if one]
    if len(kept) == len(matched.systems):
        return matched
    systems = [matched.systems[k] for k in kept]
    out = [system for system in matched.systems if system not in systems]
    lost = len(opinions.of(matched.systems).frame) - len(opinions.of(systems).frame)
    remark = f"left out, since {why}, {with_ratings(opinions, lost)}: {some(out)}"
    if len(kept) < LEAST:
        raise EvalkitError(f"{counted(len(kept), 'system')} can be compared, and {LEAST} are needed: {remark}")
    return Matched(systems, [matched.sides[k] for k in kept], [*matched.remarks, remark])


def _prompts(matched: Matched) -> str:
    """In what the prompts of any record differ from those of the first; empty where in nothing."""
    first, *others = {id(side.record): side.record for side in matched.sides}.values()
    return next(filter(None, (prompts_differ(first, other) for other in others)), "")


def _played(opinions: Opinions, matched: Matched) -> np.ndarray:
    """Whether each two systems were compared, (systems, systems)."""
    place = {system: k for k, system in enumerate(matched.systems)}
    played = np.zeros((len(place), len(place)))
    frame = opinions.of(matched.systems).frame
    for one, other in set(zip(frame["system"], frame["second_system"], strict=True)):
        played[place[one], place[other]] = played[place[other], place[one]] = 1.0
    return played
