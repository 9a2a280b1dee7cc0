"""A real browser for tests of pages."""

from __future__ import annotations

import atexit
import functools
import shutil
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Any:
    """A headless Chromium, driven by Playwright: one for the process, wherever the fixture is imported."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian's package chromium)")
    return _started()


@functools.cache
def _started() -> Any:
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()  # a second one cannot be started in the same process
    atexit.register(playwright.stop)
    return playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
