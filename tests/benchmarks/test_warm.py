"""The benchmark of warm re-runs prepares runs that find everything in the cache. Their speed is not tested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.warm import SHAPES, prepare
from evalkit import evaluate
from evalkit.encoders import chroma, clap, passt, vggish


def test_the_prepared_run_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = prepare(tmp_path, 3)

    def refused(*_: Any) -> None:
        raise AssertionError("a network was loaded")

    for encoder in (vggish.VGGish, passt.PaSST, clap.CLAPAudio, clap.CLAPText, chroma.Chroma):
        monkeypatch.setattr(encoder, "load", refused)
    result = evaluate(*options, "uncertainty.resamples=0")
    assert set(result.scores["metric"]) == set(SHAPES)
    assert set(result.scores["n"]) == {3}
