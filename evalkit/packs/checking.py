"""Whether what a pack's file holds is what a pack is made of: whoever wrote it may not have been evalkit."""

from __future__ import annotations

import dataclasses
import math
import unicodedata
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from evalkit.packs.pack import STATUSES, About, Reference
from evalkit.store.digests import digest

Arrays = Mapping[str, np.ndarray]


def require_sound(metadata: Mapping[str, Any], arrays: Arrays) -> None:
    """Raise ValueError, or KeyError or TypeError, where facts are not of their types, or parts do not fit together."""
    about, references, unusable = metadata["about"], metadata["references"], metadata["unusable"]
    if not _is(about, About):
        raise ValueError("what it says of itself is not as it must be")
    _require_references(references)
    keys, peaks, contents, spans = (arrays[name] for name in ("keys", "peaks", "contents", "spans"))
    many = len(keys)
    _require("keys", _of(keys, np.uint8, (many, 32)) and len({key.tobytes() for key in keys}) == many)
    own = [key.tobytes().hex() for key in keys]
    _require("unusable parts", _is(unusable, dict[str, str]) and unusable.keys() <= {*own})
    without = np.array([key in unusable for key in own], bool)
    _require("peaks", _of(peaks, np.float64, (many,)))
    _require("peaks", np.isnan(peaks[without]).all() and ((peaks >= 0) & (peaks < np.inf))[~without].all())
    known = {sha256 for sha256 in references["sha256"] if sha256}
    _require("contents", _of(contents, np.uint8, (many, 32)) and {one.tobytes().hex() for one in contents} <= known)
    _require("spans", _of(spans, np.int64, (many, 2)) and (spans >= 0).all())
    for encoder in about["encoders"]:
        name = digest(encoder["definition"])
        values, frames = arrays[f"features.{name}"], arrays[f"frames.{name}"]
        _require(
            f"features of {encoder['definition']['kind']}",
            values.dtype == np.float32
            and values.ndim == 2
            and _of(frames, np.int64, (many,))
            and (frames >= 0).all()
            and int(frames.sum()) == len(values)
            and np.isfinite(values).all(),
        )


def _require_references(columns: Mapping[str, Any]) -> None:
    """Raise ValueError for references that are not as their type says, or that no clip can be."""
    names = [field.name for field in dataclasses.fields(Reference)]
    _require("references", sorted(columns) == sorted(names) and len({len(column) for column in columns.values()}) == 1)
    hints = get_type_hints(Reference)
    for name in names:
        _require(f"references' {name}", all(_is(value, hints[name]) for value in columns[name]))
    _require("references", bool(columns["id"]))
    _require("ids", len({unicodedata.normalize("NFC", i) for i in columns["id"]}) == len(columns["id"]))
    _require("statuses", {*columns["status"]} <= {*STATUSES})
    for place, status in enumerate(columns["status"]):
        if status == "ok":
            counts = [columns[name][place] for name in ("frames", "sample_rate", "channels", "gain")]
            digits = columns["sha256"][place]
            _require("references", all(count > 0 for count in counts) and len(digits) == 64 and digits.isalnum())


def _require(what: str, fits: Any) -> None:
    if not fits:
        raise ValueError(f"its {what} do not fit")


def _of(array: np.ndarray, dtype: type, shape: tuple[int, ...]) -> bool:
    return array.dtype == dtype and array.shape == shape


def _is(value: Any, hint: Any) -> bool:
    """Whether a value that JSON can hold is of a type: one of JSON's own, or a dataclass as a mapping of its fields."""
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if hint is Any:
        return True
    if origin is UnionType:
        return any(_is(value, one) for one in inner)
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    if origin is tuple:
        return isinstance(value, list) and all(_is(one, inner[0]) for one in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(_is(one, inner[1]) for one in value.values())
    if dataclasses.is_dataclass(hint):
        hints = get_type_hints(hint)
        return isinstance(value, dict) and value.keys() == hints.keys() and all(_is(value[n], hints[n]) for n in hints)
    return type(value) is (NoneType if hint is None else hint)
