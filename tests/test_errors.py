"""What users see of the errors of other packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.errors import EvalkitError, loading, out_of_memory, reason


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("\n  no such key \nmore", "no such key"),
        ("Error(s) in loading:\n  size mismatch", "Error(s) in loading: size mismatch"),
        ("Weights only load failed. Try\nweights_only=False", "it holds more than tensors, and is not read"),
        ("", "ValueError"),
    ],
)
def test_a_reason_is_one_line(message: str, line: str) -> None:
    assert reason(ValueError(message)) == line


def test_a_failure_to_load_says_what_and_what_to_do() -> None:
    expected = r"^x: 'here' cannot be loaded: delete it and get it again \(bad\)$"
    with pytest.raises(EvalkitError, match=expected), loading("x: 'here'"):
        raise ValueError("bad\nmore")


def test_a_file_in_place_of_a_folder_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"x")
    with pytest.raises(EvalkitError, match=r"^x: a single file is given: give the folder"), loading("x"):
        (tmp_path / "weights.pt" / "config.json").read_text()


@pytest.mark.parametrize("error", [EvalkitError("known"), MemoryError(), RuntimeError("CUDA out of memory. Tried")])
def test_files_are_not_blamed_for_what_is_not_their_fault(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, loading("'here'"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY"),
        RuntimeError("HIP out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("cudaErrorMemoryAllocation: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 137438953472 bytes."),
        RuntimeError("unable to mmap 8 bytes from file <model.safetensors>: Cannot allocate memory (12)"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_too_little_memory_is_known_in_all_words(error: Exception) -> None:
    assert out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"),
        RuntimeError("CUDA error: too many resources requested for launch"),
        RuntimeError("out of resource: shared memory, Required: 294912, Hardware limit: 232448. Reducing block sizes"),
        RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("Tensor on device meta is not on the expected device"),
        IndexError("index out of range in self"),
        EvalkitError("out of memory with 2 clips at once"),
    ],
)
def test_other_failures_are_not_taken_for_too_little_memory(error: Exception) -> None:
    assert not out_of_memory(error)
