"""Make the stored result that tests read: `python -m tests.results.make_fixture`.

Run it for a new schema only, with a new folder's name: older fixtures stay, and are migrated when they are read.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import tempfile
from pathlib import Path

import evalkit
from tests.results.test_result import STORED

OPTIONS = (
    *("model=synth", "prompts=demo", "prompts.first=5", "sampling.duration=2", "random_weights=0", "name=fixture"),
    *("metric=[fad,chroma,stereo]", "slices=[voice]", "calibration=[halves,silence]", "uncertainty.resamples=100"),
)


def main() -> None:
    """Make the folder, with paths that mean nothing on any machine."""
    target = STORED.absolute()
    sys.argv = ["evalkit", "run", *OPTIONS]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        result = evalkit.evaluate(*OPTIONS, "cache_dir=cache", "output_dir=runs")
        clips = result.clips.copy()
        for column in ("path", "reference_path"):
            clips[column] = [f"clips/{Path(path).name}" for path in clips[column]]
        result = dataclasses.replace(result, clips=clips).save(target)
    scores = {f"{s.model}/{s.metric}": s.value for s in result.scores.itertuples() if not math.isnan(s.value)}
    expected = {"scores": scores, "prompts": result.prompts["id"].tolist(), "heading": result.document().heading}
    (target / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


if __name__ == "__main__":
    main()
