"""Sides of a comparison made of arrays: records with features and values per clip, without any audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evalkit.results.evidence import Side as Where
from evalkit.results.evidence import Writer
from evalkit.results.frames import CLIPS, PROMPTS, VALUES, typed
from evalkit.results.pairing import Side
from evalkit.types import Features
from tests.results.made import metric, record, row

FAD = {"kind": "fad", "version": 0, "ddof": 1, "title": "FAD", "encoder": {"kind": "vggish"}}
KNOWN: Mapping[str, Any] = {
    "fad": metric("FAD", False, definition=FAD, bounds=(0.0, None), encoder="vggish", reference_encoder="vggish"),
    "kld": metric("KLD", False, additive=True, clip_by_clip=True),
    "clap_score": metric("CLAP score", True, additive=True, compares_with="captions", bounds=(-1.0, 1.0)),
    "chroma": metric("Chroma", True, additive=True, clip_by_clip=True),
    "silence_share": metric("Collapsed to silence", False, additive=True, compares_with="", bounds=(0.0, 1.0)),
    "side_to_mid": metric("Side-to-mid ratio (dB)", None, additive=True, compares_with="", bounds=(-80.0, 80.0)),
}


def side(
    folder: Path,
    name: str = "m",
    values: Mapping[str, np.ndarray] | None = None,
    features: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
    ids: Sequence[str] | None = None,
    tags: Sequence[Sequence[str]] | None = None,
    infos: Mapping[str, Any] = KNOWN,
    digest: str = "",
    **changes: Any,
) -> Side:
    """Make a result of one row with some clips per prompt.

    Args:
        folder: where features are stored.
        name: of the row.
        values: by additive metric the values (samples, prompts), or sums and counts of items (samples, prompts, 2).
        features: by metric of sets those of clips (samples, prompts, frames, d), and of references, of one sample.
        digest: what tells the clips from those of other sides; the row's name if it is empty.
        changes: attributes of the record.
    """
    own, sets = dict(values or {}), dict(features or {})
    first = next(iter([*own.values(), *(clips for clips, _ in sets.values())]))
    samples, n = first.shape[:2]
    names = list(ids or (f"p{i:05}" for i in range(n)))
    writer = Writer(folder)
    for key, (clips, references) in sets.items():
        info = infos[key]
        for sample in range(samples):
            writer.add(Where(info.encoder, name, sample + 1, "cut clips"), Features(tuple(names), tuple(clips[sample])))
            where = Where(info.reference_encoder, name, sample + 1, "references")
            writer.add(where, Features(tuple(names), tuple(references)))
    frames = [
        pd.DataFrame({"model": name, "sample": sample + 1, "id": names, "metric": key, "sum": sums, "count": counts})
        for key, array in own.items()
        for sample, (sums, counts) in enumerate(np.moveaxis(_parts(array), -1, 1))
    ]
    frames = [frame.assign(value=frame["sum"] / frame["count"].where(frame["count"] > 0)) for frame in frames]
    table = pd.DataFrame({name: "" if kind == "str" else 0 for name, kind in CLIPS.items()}, index=range(samples * n))
    table = table.assign(
        model=name, id=names * samples, sample=np.repeat(np.arange(samples) + 1, n), status="ok", length=10.0,
        sha256=[f"{digest or name} {sample} {i}" for sample in range(samples) for i in names],
        path=[f"/clips/{name}/{i}.wav" for i in names] * samples,
        reference_status="ok", reference_sha256=[f"reference {i}" for i in names] * samples, reference_length=10.0,
        reference_path=[f"/references/{i}.wav" for i in names] * samples,
    )  # fmt: skip
    of_tags = tags or [[]] * n
    prompts = pd.DataFrame(
        {"id": names, "caption": [f"caption {i}" for i in names], "tags": of_tags, "labels": [[]] * n}
    )
    scores = {key: 0.0 for key in infos if key in own or key in sets}
    made = record({name: scores}, {}, titles={key: (infos[key].title, None) for key in scores}, path=folder)
    made = replace(
        made,
        metrics={key: infos[key] for key in scores},
        rows={name: row(definition={"kind": "made"})},
        sampling={**made.sampling, "samples_per_prompt": samples},
        prompts=typed(prompts, PROMPTS),
        clips=typed(table, CLIPS),
        values=typed(pd.concat(frames), VALUES) if frames else made.values,
        evidence=writer.evidence() if sets else made.evidence,
    )
    return Side(replace(made, **changes), name)


def _parts(values: np.ndarray) -> np.ndarray:
    """Sums and counts, (samples, prompts, 2)."""
    return values if values.ndim == 3 else np.stack([values, np.ones_like(values)], axis=-1)
