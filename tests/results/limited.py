"""Results and sweeps made of arrays in which languages, groups, silence and voices differ by as much as is said."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evalkit.results import recompute
from evalkit.results.frames import SLICES
from evalkit.results.pairing import Side
from evalkit.results.record import Record
from evalkit.results.result import Result
from evalkit.results.sweep import Sweep
from evalkit.results.sweep_points import Point, swept
from evalkit.results.sweep_record import Parameter
from tests.results.made import metric, row
from tests.results.sides import FAD, side

SHARE = {"additive": True, "compares_with": "", "bounds": (0.0, 1.0)}
INFOS = {
    "fad": metric("FAD", False, definition=FAD, bounds=(0.0, None), encoder="vggish", reference_encoder="vggish"),
    "clap_score": metric("CLAP score", True, additive=True, compares_with="captions", bounds=(-1.0, 1.0),
                         definition={"kind": "clap_score"}),
    "silence_share": metric("Collapsed to silence", False, **SHARE,
                            definition={"kind": "silence_share", "threshold": -60.0, "shortest": 1.0}),
    "silence_start": metric("Silent from (s)", True, additive=True, compares_with="", bounds=(0.0, None),
                            definition={"kind": "silence_start"}),
    "silence_length": metric("Silence (s)", False, additive=True, compares_with="", bounds=(0.0, None),
                             definition={"kind": "silence_length"}),
    "vocals_share": metric("Vocals in instrumental", False, **SHARE,
                           definition={"kind": "vocals_share", "threshold": 0.5}),
    "vocals_in_vocal": metric("Vocals in vocal", True, **SHARE, definition={"kind": "vocals_in_vocal"}),
    "unknown_pieces": metric("Unknown pieces", False, additive=True, compares_with="captions", bounds=(0.0, 1.0),
                             definition={"kind": "unknown_pieces"}),
}  # fmt: skip
WORSE = {"en": 0.0, "de": 0.0, "fr": 0.005, "ja": 0.12, "hi": 0.1}
UNKNOWN = {"en": 0.0, "de": 0.0, "fr": 0.0, "ja": 0.6, "hi": 0.01}
GUIDANCE, TEMPERATURE = "sampling.guidance_scale", "sampling.temperature"
REGIONS = ("region a", "region b", "region c")
RECORDINGS = "reference recordings"


def result(
    folder: Path,
    captions: int = 60,
    seed: int = 1,
    silent: float = 0.1,
    worse: Mapping[str, float] = WORSE,
    recordings: bool = True,
    region: float = 0.0,
    random: bool = False,
    **changes: Any,
) -> Record:
    """A result of captions in some languages, of which two in three ask for no voice.

    Args:
        silent: share of the clips that collapse to silence.
        worse: by how much the CLAP score of each language is worse.
        recordings: whether the references are there as clips, of which the detector hears 9 in 10 voices, and 1 in 20
            where there is none.
        region: by how much the CLAP score of the tag "region a" is worse.
        random: whether random weights have made it.
    """
    rng, n = np.random.default_rng(seed), captions * len(worse)
    of_caption, of_language = np.repeat(np.arange(captions), len(worse)), np.tile(np.arange(len(worse)), captions)
    names = np.array(list(worse))[of_language]
    hard = np.random.default_rng(0).normal(0, 0.05, captions)[of_caption]
    fall = np.array([worse[name] for name in names]) + region * (of_caption % 3 == 0)
    collapsed = (rng.random(n) < silent).astype(float)
    instrumental = of_caption % 3 != 0
    heard = (rng.random(n) < np.where(instrumental, 0.15, 0.8)).astype(float)
    values = {
        "clap_score": 0.3 + hard + rng.normal(0, 0.03, n) - fall,
        "silence_share": collapsed,
        "silence_start": np.where(collapsed > 0, 6.0, 10.0),
        "silence_length": np.where(collapsed > 0, 4.0, 0.0),
        "vocals_share": _some(heard, instrumental),
        "vocals_in_vocal": _some(heard, ~instrumental),
        "unknown_pieces": np.array([UNKNOWN.get(name, 0.0) for name in names]),
    }
    ids = [f"c{caption:03}.{name}" for caption, name in zip(of_caption, names, strict=True)]
    tags = [[REGIONS[caption % 3]] for caption in of_caption]
    made = side(
        folder, "m", {key: array[None] for key, array in values.items()}, ids=ids, tags=tags, infos=INFOS
    ).record
    prompts = made.prompts.assign(
        caption=[f"caption {caption}" for caption in of_caption], cluster=[f"c{caption:03}" for caption in of_caption],
        language=names,
        translation=["" if name == "en" else f"{name} of {i}" for name, i in zip(names, ids, strict=True)],
    )  # fmt: skip
    nothing = pd.Series([[] for _ in made.clips.index], dtype=object)
    found = dataclasses.replace(made, prompts=prompts, clips=made.clips.assign(tags=nothing, labels=nothing), **changes)
    if recordings:
        found = _with_recordings(found, instrumental, rng)
    if random:
        found = dataclasses.replace(found, rows={**found.rows, "m": row(random=True, definition={"kind": "made"})})
    return _scored(found)


def _some(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Sums and counts (prompts, 2), of some prompts alone."""
    return np.stack([values * chosen, chosen.astype(float)], axis=-1)


def _with_recordings(record: Record, instrumental: np.ndarray, rng: np.random.Generator) -> Record:
    heard = (rng.random(len(instrumental)) < np.where(instrumental, 0.05, 0.9)).astype(float)
    own = [record.values]
    for name, chosen in (("vocals_share", instrumental), ("vocals_in_vocal", ~instrumental)):
        frame = record.values[record.values["metric"] == name].assign(model=RECORDINGS)
        own.append(frame.assign(sum=heard * chosen, count=chosen.astype(float), value=np.where(chosen, heard, np.nan)))
    clips = pd.concat([record.clips, record.clips.assign(model=RECORDINGS)], ignore_index=True)
    scores = record.scores[record.scores["metric"].isin(["vocals_share", "vocals_in_vocal"])].assign(model=RECORDINGS)
    rows = {**record.rows, RECORDINGS: row(calibration=True, generated=False, definition="words")}
    return dataclasses.replace(
        record, rows=rows, clips=clips, values=pd.concat(own, ignore_index=True),
        scores=pd.concat([record.scores, scores], ignore_index=True),
    )  # fmt: skip


def _scored(record: Record) -> Record:
    """The record with its own scores, and some slices."""
    scores = record.scores.copy()
    for at in scores.index:
        one = recompute.score(record, str(scores.loc[at, "model"]), str(scores.loc[at, "metric"]))
        scores.loc[at, ["value", "low", "high"]] = one.value, one.low, one.high
        scores.loc[at, "n"] = one.n
    about = {"value": 0.0, "low": np.nan, "high": np.nan, "protocol": "musicgen", "higher_is_better": True, "note": ""}
    rows = [
        {**about, "slice": kind, "group": group, "model": "m", "metric": "clap_score", "small": False, "n": number}
        for kind, group, number in [
            *(("tag", name, sum(name in tags for tags in record.prompts["tags"])) for name in REGIONS),
            ("voice", "instrumental", 1),
        ]
    ]
    return dataclasses.replace(record, scores=scores, slices=pd.DataFrame(rows)[list(SLICES)].astype(SLICES))


def saved(folder: Path, record: Record) -> Result:
    """The record as a result that lies in a folder."""
    whole = Result(**{field.name: getattr(record, field.name) for field in dataclasses.fields(record)})
    return whole.save(folder)


def sweep(folder: Path, **changes: Any) -> Sweep:
    """A sweep of guidance and temperature that lies in a folder: the hotter, the more clips collapse."""
    points = []
    for number, (guidance, temperature) in enumerate([(3, 1.0), (1, 1.0), (3, 1.3), (1, 1.3)], 1):
        silent = {1.0: 0.05, 1.3: 0.6}[temperature]
        record = result(folder.parent / "features", seed=number, silent=silent, config={"seed": 1}, **changes)
        clips = record.clips.assign(sha256=[f"{number} {i}" for i in range(len(record.clips))])
        kept = saved(folder / "points" / f"{number:03}", dataclasses.replace(record, clips=clips))
        points.append(Point({GUIDANCE: guidance, TEMPERATURE: temperature}, Side(kept, "m")))
    parameters = [
        Parameter(GUIDANCE, "guidance_scale", [1, 3], 3, True),
        Parameter(TEMPERATURE, "temperature", [1.0, 1.3], 1.0, True),
    ]
    made = swept(points, name="limits", parameters=parameters, objectives=[], default=1, draws=99, config={})
    return made.save(folder)
