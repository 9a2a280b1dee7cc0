"""Versions of what evalkit computes with."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from evalkit.checks import Asked, Finding
from evalkit.store.provenance import installed

SUBJECT = "packages"
ORDER = 10
PACKAGES = ("evalkit", "torch", "transformers")
KERNELS = "triton"  # which evalkit's own kernels are written in


def check(asked: Asked) -> Iterator[Finding]:
    """Look up versions, without importing anything."""
    yield Finding("Python", "ok", platform.python_version(), facts={"python": platform.python_version()})
    for package in PACKAGES:
        version = installed(package)
        said = version or "not installed"
        yield Finding(package, "ok" if version else "missing", said, needed=True, facts={package: version})
    version = installed(KERNELS)
    said = version or "not installed: evalkit's own kernels for GPUs are not used"
    yield Finding(KERNELS, "ok" if version else "absent", said, facts={KERNELS: version})
