"""What users see of the errors of other packages."""

from __future__ import annotations

import pytest

from evalkit.errors import EvalkitError, loading, reason


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("\n  no such key \nmore", "no such key"),
        ("Error(s) in loading:\n  size mismatch", "Error(s) in loading: size mismatch"),
        ("Weights only load failed. Try\nweights_only=False", "it holds more than tensors, and is not read"),
        ("", "ValueError"),
    ],
)
def test_a_reason_is_one_line(message: str, line: str) -> None:
    assert reason(ValueError(message)) == line


def test_a_failure_to_load_says_what_and_what_to_do() -> None:
    expected = r"^x: 'here' cannot be loaded: delete it and get it again \(bad\)$"
    with pytest.raises(EvalkitError, match=expected), loading("x: 'here'"):
        raise ValueError("bad\nmore")


@pytest.mark.parametrize("error", [EvalkitError("known"), MemoryError(), RuntimeError("CUDA out of memory. Tried")])
def test_files_are_not_blamed_for_what_is_not_their_fault(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, loading("'here'"):
        raise error
    assert caught.value is error
