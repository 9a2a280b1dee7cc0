"""The benchmark of warm re-runs prepares runs that find everything in the cache. Their speed is not tested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import warm
from evalkit import evaluate
from evalkit.encoders import chroma, clap, passt, vggish


def test_the_prepared_run_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warm.write_files(tmp_path, 3)
    options = warm.options_of(tmp_path, "now")
    warm.started(warm.HERE, [warm.__file__, "--fill", *options])

    def refused(*_: Any) -> None:
        raise AssertionError("a network was loaded")

    for encoder in (vggish.VGGish, passt.PaSST, clap.CLAPAudio, clap.CLAPText, chroma.Chroma):
        monkeypatch.setattr(encoder, "load", refused)
    result = evaluate(*options, "uncertainty.resamples=0")
    assert set(result.scores["metric"]) == {"fad", "kld", "clap_score", "chroma"}
    assert set(result.scores["n"]) == {3}
