"""Which limits a record has something to say of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from evalkit.progress import progress
from evalkit.report.literal import literal
from evalkit.report.numbers import counted
from evalkit.results.comparable import own_settings
from evalkit.results.limits import groups, languages, silence, vocals
from evalkit.results.limits.limit import Limit, OfModel
from evalkit.results.limits.material import Model
from evalkit.results.record import Record
from evalkit.results.result import Result
from evalkit.results.summary import random_weights
from evalkit.results.sweep import Sweep

OF_RECORD: Sequence[Callable[[Model], Limit | None]] = (
    vocals.vocals,
    languages.languages,
    groups.styles,
    silence.silence,
    groups.captions,
)  # in the order of MusicGen's model card
NO_DEFAULT = (
    "The default point was not measured, with which others could be compared, and of which limits could be told."
)
TOLD_ELSEWHERE = ("duration", "extend_stride", "samples_per_prompt")  # of sampling parameters
NEEDED = ("voice", "language", "caption_kind", "region")  # slices of which one at least must be asked for


def limits(record: Result | Sweep) -> list[OfModel]:
    """Say all that a record has to say of its models' limits; nothing where it was not measured for that.

    That is a record of a sweep, or of a run in which prompts have languages, or which has one of the slices voice,
    region, caption_kind and language: `experiment=card_limits`.
    """
    if isinstance(record, Sweep):
        return _of_sweep(record)
    if not _asked(record):
        return []
    models = [Model(record, row) for row, info in record.rows.items() if not info.calibration]
    found = []
    with progress("limits", len(models) * len(OF_RECORD), "limits") as advance:
        for model in models:
            own = []
            for make in OF_RECORD:
                own.append(make(model))
                advance(1)
            if kept := [one for one in own if one is not None]:
                found.append(_of_model(model, kept))
    return found


def _of_sweep(sweep: Sweep) -> list[OfModel]:
    points, notes = silence.of_sweep(sweep)
    some = next(iter(points.values()), None)
    if some is None or not _asked(some.record):
        return []
    default = points.get(sweep.default or 0)
    if default is None:
        return [dataclasses.replace(_of_model(some, [], True), notes=[NO_DEFAULT, *notes])]
    over_points = silence.swept(sweep, points)
    found = []
    for make in OF_RECORD:
        one = over_points if make is silence.silence and over_points is not None else make(default)
        found += [one] if one is not None else []
    return [dataclasses.replace(_of_model(default, found, True), notes=notes)] if found else []


def _asked(record: Record) -> bool:
    prompts = record.prompts
    languages_known = "language" in prompts and prompts["language"].fillna("").ne("").any()
    return record.prompts_info.form == "prompts" and bool(languages_known or set(NEEDED) & set(record.slices["slice"]))


def _of_model(model: Model, found: Sequence[Limit], swept: bool = False) -> OfModel:
    record = model.record
    info = record.prompts_info
    about = f"{info.dataset}, subset {info.subset}: {info.selected:,} of {info.total:,} prompts"
    if model.number < len(record.prompts):
        about += f", which belong to {counted(model.number, model.unit)}"
    about = literal(f"{_clips(model, swept)}; data set {about}, protocol {record.protocol.name}")
    return OfModel(model.row, about, model.level, random_weights(record), found)


def _clips(model: Model, swept: bool) -> str:
    """Which clips were measured: of which model, how long, and how they were sampled, as far as the record knows.

    Args:
        swept: whether they are those of the default point of a sweep, whose others were sampled otherwise.
    """
    record, info = model.record, model.record.rows[model.row]
    found = f"clips of {model.row}{' at the default point of the sweep' if swept else ''}"
    found += f", {model.seconds} long" if model.seconds else ""
    if not info.generated:
        return f"{found}, which were there already"
    own = own_settings(info.definition) if isinstance(info.definition, Mapping) else {}
    used = {key: own.get(key, value) for key, value in record.sampling.items() if key not in TOLD_ELSEWHERE}
    shown = ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in used.items()
    )
    return f"{found} (sampled with {shown})" if shown else found
