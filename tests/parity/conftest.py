"""`pytest tests/parity --parity-table` writes docs/parity.md from the errors that the tests have measured."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests import music, parity
from tests.conftest import ROOT

TABLE = ROOT / "docs" / "parity.md"
PACKAGES = ("torch", "torchaudio", "numpy", "scipy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--parity-table", action="store_true", help="write docs/parity.md if all tests of tests/parity pass"
    )


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    # the option is unknown to a run that found this file only while collecting
    if not config.getoption("--parity-table", default=False):
        return
    files = {Path(report.nodeid.split("::")[0]).name for report in terminalreporter.stats.get("passed", [])}
    missing = {path.name for path in Path(__file__).parent.glob("test_*.py")} - files
    left_out = [kind for kind in ("skipped", "deselected") if terminalreporter.stats.get(kind)]
    if exitstatus != pytest.ExitCode.OK or missing or left_out:
        terminalreporter.write_line(
            f"{TABLE} is left as it was: it needs all tests of tests/parity, as in `make parity`"
        )
        return
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("\n".join(lines()) + "\n", "utf-8")
    terminalreporter.write_line(f"{TABLE} is written")


def lines() -> Iterator[str]:
    """The table, a row for each stage and original."""
    rows: dict[tuple[str, str, str, float], list[float]] = {}
    for c in parity.RECORDED:
        rows.setdefault((c.stage, c.original, c.measure, c.tolerance), []).append(c.error)
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    yield "# How close each stage is to its original"
    yield ""
    recordings = f", and {len(list(music.RECORDINGS.iterdir()))} recordings" if music.RECORDINGS.is_dir() else ""
    yield "`make parity` writes this file. Every row is a test in `tests/parity`: evalkit and the original run on the"
    yield "same seeded random weights and the same audio, and the test fails above the tolerance. The errors are the"
    yield f"largest ones over all cases of the run that wrote the file ({platform.machine()} CPU, {packages})."
    yield ""
    yield f"The audio is noise, tones and rendered music{recordings}. `tests/music.py` makes the music, here with seed"
    yield f"{music.SEED} (`EVALKIT_TEST_MUSIC` sets another), of these kinds: {', '.join(music.TREATMENTS)}."
    yield ""
    yield '"Relative" is the largest difference over the largest value of the original. An error of 0 is equality of'
    yield "every bit. audiocraft measures loudness in float32 and evalkit in float64, and their tables of positions"
    yield "differ in rounding. Rows that name float64, or the original's table, compare without these differences; the"
    yield "same stages without such a name say what a user of the original would see."
    yield ""
    yield "Tolerances are at least five times the largest error in music of four seeds, or bounds: a step of 16 or 24"
    yield "bits, the frames that see zeros, the largest difference of filters' taps in sum (resampling's formula) or of"
    yield "filters' responses above 20 Hz (loudness in float32, and by the standard's filters). A block whose level is"
    yield "that close to one of loudness' gates may count on one side alone, and then the difference can be larger."
    yield ""
    yield "| Stage | Compared with | Error | Tolerance | Largest error | Cases |"
    yield "|---|---|---|---:|---:|---:|"
    for (stage, original, measure, tolerance), errors in rows.items():
        largest = f"{max(errors):.1e}" if max(errors) else "0"
        yield f"| {stage} | {original} | {measure} | {tolerance:g} | {largest} | {len(errors)} |"
