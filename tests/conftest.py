"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# two threads on two busy cores can be 50 times slower than one
os.environ.setdefault("OMP_NUM_THREADS", "1")
# a test that reaches for a hub must fail at once, not after minutes of retries
os.environ["HF_HUB_OFFLINE"] = "1"

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with MusicCaps' CSV and a few music files, which is not part of the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder ../shared/data is not on this machine")
    return folder
