"""Names that tell things apart."""

from __future__ import annotations

from evalkit.results.names import told_apart


def test_each_has_the_first_of_its_names_that_no_other_has() -> None:
    assert told_apart([["a", "a (1)"], ["b", "b (1)"]]) == ["a", "b"]
    assert told_apart([["a", "a (1)", "a (x/1)"], ["a", "a (1)", "a (y/1)"], ["a", "a (2)", "a (x/2)"]]) == [
        "a (x/1)", "a (y/1)", "a (2)",
    ]  # fmt: skip


def test_a_longer_name_that_another_has_is_not_taken() -> None:
    assert told_apart([["a", "a (1)", "a (x/1)"], ["a", "a (2)"], ["a (1)"]]) == ["a (x/1)", "a (2)", "a (1)"]


def test_what_no_name_tells_apart_is_numbered() -> None:
    assert told_apart([["a", "b"], ["a", "b"], ["a", "b"], ["b (2)"]]) == ["b", "b (3)", "b (4)", "b (2)"]
    assert told_apart([]) == []
