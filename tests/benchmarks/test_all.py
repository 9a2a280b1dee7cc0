"""Every benchmark can be imported, and says what it does without doing it."""

from __future__ import annotations

import importlib
import time

import pytest

from tests.conftest import ROOT

NAMES = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")
PROGRAMS = [name for name in NAMES if "__main__" in (ROOT / "benchmarks" / f"{name}.py").read_text("utf-8")]


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_imported(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    assert hasattr(module, "main") == (name in PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_says_how_it_is_started(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setattr("sys.argv", [name, "--help"])
    started = time.perf_counter()
    with pytest.raises(SystemExit) as exit:
        module.main()
    assert exit.value.code == 0
    assert time.perf_counter() - started < 1
    assert f"python -m benchmarks.{name}" in capsys.readouterr().out
