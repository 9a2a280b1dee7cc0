"""The benchmark of the store does what it says, and notices where items are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import scale_store
from benchmarks.scale_store import KINDS, STEPS, cells, collection, measured_here, tables
from evalkit.store import gc

from ..store.stored import keys


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(scale_store, "FOUND", 50)
    monkeypatch.setattr(gc, "GRACE", gc.GRACE)  # which is changed in what is measured
    rows = [{"what": what, "kind": kind, "clips": 700, **measured_here(what, tmp_path, kind, 700)} for what in STEPS]
    assert len(keys(collection(tmp_path, kind))) == 630  # the last step has removed a tenth
    lines = [line for line in tables({"store": rows}) if line.startswith(f"| {kind} |")]
    assert len(lines) == len(STEPS)
    assert cells("ls", rows[0])[1] == f"{1e6 * rows[0]['cpu_seconds'] / 700:,.0f}" and cells("ls", None) == ["–"] * 3
    with pytest.raises(AssertionError, match="missing"):
        measured_here("find", tmp_path, kind, 700)
