"""The package of docs/extending.md works as it stands there, and however it is broken, one line names what is."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from evalkit.cli import main
from evalkit.results.result import Result

from .conftest import ROOT, Run

TEXT = (ROOT / "docs" / "extending.md").read_text("utf-8")
FILES = dict(re.findall(r"```(?:python|yaml|toml)\n# (\S+)\n(.*?)```", TEXT, re.DOTALL))
SMALL = ["prompts.first=2", "sampling.duration=1.5", "uncertainty.resamples=0"]


def write(folder: Path, old: str = "", new: str = "") -> None:
    """Write the package, with one change in it."""
    assert not old or sum(text.count(old) for text in FILES.values()) == 1, old
    for name, text in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace(old, new) if old else text, "utf-8")


def command() -> list[str]:
    (line,) = re.findall(r"^PYTHONPATH=\. evalkit (.*)$", TEXT, re.MULTILINE)
    return [*shlex.split(line), *SMALL]


def test_the_package_runs_as_it_stands_and_notices_its_own_repair(tmp_path: Path) -> None:
    write(tmp_path)
    assert tomllib.loads(FILES["pyproject.toml"])["tool"]["setuptools"]["packages"] == ["brightness"]
    root = Path(sys.modules[main.__module__].__file__ or "").parents[1]
    environment = {**os.environ, "PYTHONPATH": f".:{root}", "EVALKIT_CACHE": "cache"}

    def run() -> Result:
        shown = subprocess.run(
            [sys.executable, "-m", "evalkit.cli", *command()],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert shown.returncode == 0 and "Brighter" in shown.stdout, shown.stderr
        return Result.load(tmp_path / shown.stdout.rpartition("result: ")[2].strip())

    first, again = run(), run()
    assert first.table.loc[0, "brighter"] == again.table.loc[0, "brighter"]
    write(tmp_path, "1 / 16)", "1 / 16000)")  # in Hz, with the version forgotten
    repaired = run()
    assert repaired.table.loc[0, "brighter"] == pytest.approx(1000 * first.table.loc[0, "brighter"], rel=1e-4)
    assert repaired.table.loc[0, "chroma"] == first.table.loc[0, "chroma"]


@pytest.mark.parametrize(
    ("old", "new", "status", "said"),
    [
        ("    hears: ClassVar[Input] =", "    #", 2, ".encoder: Centroid does not say what"),
        ("Input(sample_rate=16000)", "16000", 2, "metric.brighter.encoder: Centroid: hears is 16000"),
        ('    kind: ClassVar[str] = "centroid"', "    # ", 2, ".encoder: Centroid does not say what name"),
        ("@dataclass(frozen=True)\nclass Centroid", "class Centroid", 2, "brightness.encoder.Centroid"),
        ("from evalkit.encoders import Input", "from nonesuch import Input", 2, "No module named 'nonesuch'"),
        ("[self.centroids(clip) for clip in clips]", "[self.centroids(clips[0])]", 3, "encoder centroid (bright"),
        ("[:, None].astype", ".astype", 3, "encoder.Centroid) gave an array ("),
        (".astype(np.float32)", "", 3, "gave float64 for "),
        ("np.maximum(spectrum.sum(axis=1), 1e-9)", "0", 3, "gave NaN or infinity for "),
        ("np.abs(np.fft.rfft(frames))", "frames[len(clip)]", 3, "Centroid): IndexError: "),
        ("return lambda clips: [self.centroids(clip) for clip in clips]", "pass", 3, "load gave None"),
        ("np.mean(g) - np.mean(r)", "g.nonesuch", 3, "metric.brighter: AttributeError: "),
        ("return mean_over_items(generated.ids, ", "return list(", 3, "metric.brighter gave list, not an "),
        ("min_clips: ClassVar[int] = 1", "min_clips: ClassVar[int] = 9", 2, "metric.brighter needs 9 prompts"),
        ("brightness.metric.Brighter\n", "brightness.metric.Brigther\n", 2, "Brigther', which cannot"),
    ],
)  # fmt: skip
def test_however_it_is_broken_one_line_names_what_is(
    evalkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, status: int, said: str
) -> None:
    write(tmp_path, old, new)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "brightness"]:
        monkeypatch.delitem(sys.modules, name)
    code, out, err = evalkit(*command())
    lines = [line for line in err.splitlines() if said in line]
    assert (code, len(lines)) == (status, 1), (code, err)
    assert "Traceback" not in err and ("Chroma" in out) == (status == 3)
    assert len(err.splitlines()) == {2: 1, 3: 2}[status], err
