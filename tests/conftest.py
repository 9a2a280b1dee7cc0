"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from evalkit import cli, progress

# Triton reads it when it is imported; without a GPU its kernels are tested in its interpreter
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# two threads on two busy cores can be 50 times slower than one
os.environ.setdefault("OMP_NUM_THREADS", "1")
# a test that reaches for a hub must fail at once, not after minutes of retries
os.environ["HF_HUB_OFFLINE"] = "1"

# a line of progress on stderr depends on when the last one was, in whichever test; test_progress has its own processes
progress._due = time.monotonic() + 1e6

ROOT = Path(__file__).parent.parent

Run = Callable[..., tuple[int, str, str]]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let `-m gpu` choose what is skipped where there is no GPU, and the files that do more where there is one."""
    for item in items:
        reasons = [mark.kwargs.get("reason") for mark in item.iter_markers("skipif")]
        if "needs a GPU" in reasons or item.path.name in ("test_kernels.py", "test_cuda.py"):
            item.add_marker("gpu")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with MusicCaps' CSV and a few music files, which is not part of the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder ../shared/data is not on this machine")
    return folder


@pytest.fixture
def evalkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Call the command line inside this process, in an empty folder; it returns the status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["evalkit", *arguments])
        code: Any = 0
        try:
            cli.main()
        except SystemExit as exit:
            code = exit.code or 0
        out, err = capfd.readouterr()
        return code, out, err

    return run
