"""The benchmark of the metric stage runs, and finds equal numbers. Its speeds are not a matter of tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_metrics_and_memory_write_their_figures(tmp_path):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    for command in (["benchmarks.metrics", "--clips", "1", "--repeats", "1"], ["benchmarks.metrics_memory", "2"]):
        line = [sys.executable, "-m", *command, "--output", str(tmp_path)]
        done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "metrics_cpu.json").read_text())
    assert set(found["metrics"]) == {
        "fad",
        "kld",
        "clap_score",
        "together",
        "production_quality",
        "fad_mert",
        "fad_muq",
        "mad",
    }
    assert len(found["differences"]) == 13
    assert all(value < 1e-5 for value in found["differences"].values())
    assert [row["clips"] for row in found["memory"]] == [2]
    assert "| KLD |" in (tmp_path / "metrics_cpu.md").read_text()
