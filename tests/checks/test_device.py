"""What evalkit doctor says of the device: what it is, and how clips would be generated there, with the reasons."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import torch

from evalkit import checks, plan, precision
from evalkit.checks import device
from evalkit.decoding import backend
from evalkit.errors import EvalkitError
from evalkit.store import provenance

from ..conftest import Run


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at nothing else."""
    monkeypatch.setattr(checks, "subjects", lambda: [checks.Subject(device.SUBJECT, device.check)])


def said(out: str) -> dict[str, str]:
    """What is found, by what it is found of, of a table that is printed; all in 80 columns."""
    assert max(map(len, out.splitlines())) <= 80
    rows: dict[str, str] = {}
    for line in out.splitlines()[2:]:
        what, found = line[:22].strip(), line[32:].strip()
        if line.startswith("-") or not line:
            break
        rows[what or list(rows)[-1]] = f"{rows[list(rows)[-1]]} {found}" if not what and found else found
    return rows


def on_a_gpu(monkeypatch: pytest.MonkeyPatch, refused: str = "", error: Exception | None = None) -> None:
    """Stand in for a GPU and for what is found on it."""

    def choose(wanted: Any, graphs: bool, where: torch.device, dtype: torch.dtype, heads: int, size: int) -> Any:
        assert (where.type, dtype, size, graphs) == ("cuda", torch.float16, 64, True)
        if error:
            raise error
        if refused:
            logging.getLogger("evalkit.decoding.backend").warning("slower: %s", refused)
        return backend.Backend("efficient" if refused else "triton", graphs, 1, refused)

    monkeypatch.setattr(plan, "pick_device", lambda name: "cuda:0")
    monkeypatch.setattr(backend, "choose", choose)
    monkeypatch.setattr(device, "float32_errors", lambda device: {"products": 3e-7, "convolutions": 2e-7})
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (70 << 30, 79 << 30))
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    monkeypatch.setattr(provenance, "_driver", lambda: "570.124.06")


def test_a_cpu_on_one_screen_with_why_no_gpu_is_used(evalkit: Run) -> None:
    code, out, err = evalkit("doctor")
    assert (code, err) == (0, "")
    found = said(out)
    assert found["generation"] == "float32, torch attention, no CUDA graphs"
    assert found["GPU"] == f"none is used: torch {torch.__version__} is built without CUDA"
    assert found["float32"].startswith("exact: relative error")
    code, out, err = evalkit("doctor", "--device", "cpu")
    assert (code, err) == (0, "") and "GPU" not in out  # none was asked for
    code, out, err = evalkit("doctor", "engine.device=cpu")
    assert (code, err) == (0, "") and "GPU" not in out


def test_a_gpu_on_one_screen(evalkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_gpu(monkeypatch)
    code, out, err = evalkit("doctor", "--device", "cuda:0")
    assert (code, err) == (0, "")
    found = said(out)
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
    reason = "efficient attention is used, which is slower: triton: No module named 'triton'"
    assert " ".join(out.split()).count(reason) == 1
    assert "generation            warning   float16, efficient attention, CUDA graphs" in out
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
    assert (code, err) == (1, "evalkit: 1 of what is needed is not there: generation (missing)\n")
    found = json.loads(out)
    assert found["facts"]["device"]["usable"] is False and "attention" not in found["facts"]["device"]
    assert (found["table"][-1]["what"], found["table"][-1]["found"]) == ("generation", f"not possible: {first}")


def test_a_device_that_is_not_there_is_an_error(evalkit: Run) -> None:
    code, out, err = evalkit("doctor", "--device", "cuda")
    assert (code, err) == (1, "evalkit: 1 of what is needed is not there: device (missing)\n")
    assert said(out)["device"].startswith("engine.device=cuda: ")


def test_reduced_precision_is_found_out(evalkit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = precision.holds()
    code, out, _ = evalkit("doctor", "--json")
    found = json.loads(out)["facts"]["device"]["precision"]
    assert code == 0 and found["fixed"] and found["exact"]
    assert precision.holds() == flags  # given back
    monkeypatch.setattr(device, "float32_errors", lambda device: {"products": 3e-7, "convolutions": 3e-4})
    code, out, _ = evalkit("doctor", "--json")
    assert code == 0 and json.loads(out)["facts"]["device"]["precision"]["exact"] is False
    assert "of reduced precision" in out


def test_errors_are_those_of_what_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = device.float32_errors(torch.device("cpu"))
    assert min(found.values()) > 1e-8 and max(found.values()) < device.EXACT
    convolve = torch.nn.functional.conv1d
    # as TF32 has them: ten bits
    coarse = lambda x: x if x.dtype == torch.float64 else (x * 1024).round() / 1024  # noqa: E731
    monkeypatch.setattr(torch.nn.functional, "conv1d", lambda x, y: convolve(coarse(x), coarse(y)))
    assert device.float32_errors(torch.device("cpu"))["convolutions"] > device.EXACT


def test_why_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device.no_gpu() == f"torch {torch.__version__} is built without CUDA"
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert "is built for CUDA 12.8, and finds no GPU" in device.no_gpu()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.no_gpu() == ""
