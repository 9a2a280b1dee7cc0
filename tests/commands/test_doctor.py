"""`evalkit doctor`: what this machine can do, on one screen."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import torch

from evalkit import plan, precision
from evalkit.commands import doctor
from evalkit.decoding import backend
from evalkit.errors import EvalkitError
from evalkit.report import formats
from evalkit.store import provenance

from ..conftest import Run


def on_a_gpu(monkeypatch: pytest.MonkeyPatch, refused: str = "", error: Exception | None = None) -> None:
    """Stand in for a GPU and for what is found on it."""

    def choose(wanted: Any, graphs: bool, device: torch.device, dtype: torch.dtype, heads: int, size: int) -> Any:
        assert (device.type, dtype, size, graphs) == ("cuda", torch.float16, 64, True)
        if error:
            raise error
        if refused:
            logging.getLogger("evalkit.decoding.backend").warning("slower: %s", refused)
        return backend.Backend("efficient" if refused else "triton", graphs, 1, refused)

    monkeypatch.setattr(plan, "pick_device", lambda name: "cuda:0")
    monkeypatch.setattr(backend, "choose", choose)
    monkeypatch.setattr(doctor, "float32_errors", lambda device: {"products": 3e-7, "convolutions": 2e-7})
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (70 << 30, 79 << 30))
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    monkeypatch.setattr(provenance, "_driver", lambda: "570.124.06")


def test_a_cpu_on_one_screen_with_why_no_gpu_is_used(evalkit: Run) -> None:
    code, out, err = evalkit("doctor")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    assert f"torch         {torch.__version__}" in lines and "float32, torch attention, no CUDA graphs" in out
    assert f"no GPU is used: torch {torch.__version__} is built without CUDA" in out
    assert "exact: relative error" in out
    code, out, err = evalkit("doctor", "--device", "cpu")
    assert (code, err) == (0, "") and "no GPU" not in out  # none was asked for


def test_a_gpu_on_one_screen(evalkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_gpu(monkeypatch)
    code, out, err = evalkit("doctor", "--device", "cuda:0")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    said = dict(line.split("  ", 1) for line in lines if "  " in line)
    found = {what: text.strip() for what, text in said.items()}
    assert found["device"] == "cuda:0 (NVIDIA H100 80GB HBM3)" and found["capability"] == "9.0"
    assert found["memory"] == "79.0 GiB, 70.0 GiB free"
    assert found["CUDA"] == "12.8, cuDNN 91002, driver 570.124.06"
    assert found["generation"] == "float16, triton attention, CUDA graphs"


def test_a_slower_attention_has_its_reason_once(
    evalkit: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    on_a_gpu(monkeypatch, refused="triton: No module named 'triton'")
    code, out, err = evalkit("doctor")
    assert (code, err) == (0, "")
    said = "efficient attention is used, which is slower: triton: No module named 'triton'"
    assert " ".join(out.split()).count(said) == 1
    assert not caplog.records and logging.getLogger("evalkit").level == logging.NOTSET


@pytest.mark.parametrize(
    "error",
    [EvalkitError("every attention is wrong"), RuntimeError("CUDA error: no kernel image is available\nCompile with")],
)
def test_a_gpu_that_cannot_generate_is_shown_and_is_an_error(
    error: Exception, evalkit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_gpu(monkeypatch, error=error)
    code, out, err = evalkit("doctor", "--format", "json")
    first = str(error).splitlines()[0]
    assert (code, err) == (2, f"evalkit: nothing can be generated on cuda:0: {first}\n")
    found = json.loads(out)
    assert found["usable"] is False and "attention" not in found["facts"]
    assert {"what": "generation", "found": f"not possible: {first}"} in found["table"]


def test_a_device_that_is_not_there_is_an_error(evalkit: Run) -> None:
    code, out, err = evalkit("doctor", "--device", "cuda")
    assert (code, out) == (2, "") and err.startswith("evalkit: engine.device=cuda: ") and err.count("\n") == 1


def test_reduced_precision_is_found_out(evalkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = precision.holds()
    code, out, _ = evalkit("doctor", "--format", "json")
    assert code == 0 and json.loads(out)["precision"]["fixed"] and json.loads(out)["precision"]["exact"]
    assert precision.holds() == flags  # given back
    monkeypatch.setattr(doctor, "float32_errors", lambda device: {"products": 3e-7, "convolutions": 3e-4})
    code, out, _ = evalkit("doctor", "--format", "json")
    assert json.loads(out)["precision"]["exact"] is False and "of reduced precision" in out


def test_errors_are_those_of_what_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = doctor.float32_errors(torch.device("cpu"))
    assert min(found.values()) > 1e-8 and max(found.values()) < doctor.EXACT
    convolve = torch.nn.functional.conv1d
    # as TF32 has them: ten bits
    coarse = lambda x: x if x.dtype == torch.float64 else (x * 1024).round() / 1024  # noqa: E731
    monkeypatch.setattr(torch.nn.functional, "conv1d", lambda x, y: convolve(coarse(x), coarse(y)))
    assert doctor.float32_errors(torch.device("cpu"))["convolutions"] > doctor.EXACT


def test_why_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.no_gpu() == f"torch {torch.__version__} is built without CUDA"
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert "is built for CUDA 12.8, and finds no GPU" in doctor.no_gpu()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert doctor.no_gpu() == ""


@pytest.mark.parametrize("form", [name for name in formats() if name != "junit"])
def test_every_form_has_the_versions(evalkit: Run, form: str) -> None:
    code, out, err = evalkit("doctor", "--format", form)
    assert (code, err) == (0, "") and torch.__version__.partition("+")[0] in out
