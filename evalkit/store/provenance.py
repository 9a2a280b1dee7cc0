"""Where a result comes from: code, packages, machine."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from evalkit.store.redaction import redacted_option

DRIVER = Path("/proc/driver/nvidia/version")
PACKAGES = (
    *("evalkit", "torch", "torchaudio", "transformers", "laion-clap", "frechet-audio-distance", "hear21passt"),
    *("torchvggish", "hydra-core", "pandas", "numpy", "scipy", "soundfile", "julius", "librosa"),
)


def provenance(device: str) -> dict[str, Any]:
    """Describe the code's commit, the versions of packages, and the machine, as JSON-like values."""
    return {
        "command": [redacted_option(argument) for argument in sys.argv],
        "commit": _git("rev-parse", "HEAD"),
        "dirty": None if (status := _git("status", "--porcelain")) is None else bool(status),
        "python": platform.python_version(),
        "packages": versions(),
        "platform": platform.platform(),
        "device": device,
        **machine(device),
    }


def machine(device: str) -> dict[str, Any]:
    """Describe what computes: the hardware's name, and on a GPU the versions of what lies between it and torch."""
    if not device.startswith("cuda"):
        return {"device_name": device_name(device)}
    import torch

    return {
        "device_name": device_name(device),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "driver": _driver(),
    }


def _driver() -> str | None:
    """The version of NVIDIA's driver; None where it cannot be read, as on systems other than Linux."""
    try:
        first, _, _ = DRIVER.read_text("utf-8").partition("\n")
    except OSError:
        return None
    found = re.search(r"\b\d+(\.\d+)+\b", first)
    return found[0] if found else None


def versions() -> dict[str, str | None]:
    """List the installed versions of the packages that a result depends on."""
    return {name: installed(name) for name in PACKAGES}


def installed(package: str) -> str | None:
    """The installed version of a package; None where it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """Ask git about the checkout that this code runs from; None where it runs from an installation."""
    root = Path(__file__).parent.parent.parent
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def device_name(device: str) -> str:
    """What the hardware calls itself."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
