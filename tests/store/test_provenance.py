"""What a result says of the machine that it was made on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from evalkit.store import provenance

OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build  (dvs-builder@x)\nGCC 12.2.0"
OWN = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"


@pytest.mark.parametrize(
    ("text", "version"), [(OPEN, "570.124.06"), (OWN, "550.54.15"), ("no version\n1.2", None), (None, None)]
)
def test_on_a_gpu_its_name_and_versions_are_recorded(
    text: str | None, version: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "version"
    if text is not None:
        driver.write_text(text)
    monkeypatch.setattr(provenance, "DRIVER", driver)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"a GPU, {device}")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    made = provenance.machine("cuda:1")
    assert made == {"device_name": "a GPU, cuda:1", "cuda": "12.8", "cudnn": 91002, "driver": version}
    assert provenance.provenance("cuda:1").items() >= made.items()


def test_on_a_cpu_there_is_but_a_name() -> None:
    assert list(provenance.machine("cpu")) == ["device_name"] and provenance.machine("cpu")["device_name"]
