"""The files that keep the features of a result."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

from evalkit.results.evidence import Side, Writer
from evalkit.types import Features

CLIPS, REFERENCES = Side("encoder", "row", 1, "clips"), Side("encoder", "row", 1, "references")


@pytest.mark.parametrize("shape", [(19, 128), (1, 3), (0, 5), (2, 0), (4, 3, 2)])
@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4"])
def test_a_file_is_what_numpy_saves_of_all_clips_and_named_by_its_content(
    tmp_path: Path, shape: tuple[int, ...], dtype: str
) -> None:
    rng = np.random.default_rng(0)
    every = rng.standard_normal((4, *shape)).astype(dtype)
    values = (every[0], np.asfortranarray(every[1]), every[2][: shape[0] // 2], every[3][::-1])
    writer = Writer(tmp_path)
    writer.add(CLIPS, Features(("a", "b", "c", "d"), values))
    buffer = io.BytesIO()
    contents = {(value.shape, value.tobytes()): value for value in values}  # the same twice is kept once
    np.save(buffer, np.ascontiguousarray(np.concatenate(list(contents.values()))))
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == buffer.getvalue()
    assert file.name == hashlib.sha256(buffer.getvalue()).hexdigest() + ".npy"
    found = writer.evidence().of(CLIPS)
    assert found.ids == ("a", "b", "c", "d")
    for value, expected in zip(found.values, values, strict=True):
        np.testing.assert_array_equal(value, expected)
        assert value.flags.c_contiguous


def test_what_is_known_is_not_written_again(tmp_path: Path) -> None:
    values = tuple(np.random.default_rng(1).standard_normal((3, 2, 4)).astype(np.float32))
    writer = Writer(tmp_path)
    writer.add(CLIPS, Features(("a", "b"), values[:2]))
    writer.add(REFERENCES, Features(("a", "b", "c"), (values[1], values[2], values[0])))
    sizes = sorted(np.load(file).shape for file in tmp_path.iterdir())
    assert sizes == [(2, 4), (4, 4)]
    np.testing.assert_array_equal(writer.evidence().of(REFERENCES).values, (values[1], values[2], values[0]))
