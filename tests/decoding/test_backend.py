"""The choice of how steps are computed: checked on the device, with a warning for what cannot be used there."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from evalkit.decoding import backend
from evalkit.decoding.backend import TORCH, Backend, choose, refuse
from evalkit.errors import EvalkitError
from evalkit.settings import Attention
from tests.decoding import plain_kernels

attend: Any = plain_kernels.attend
add_norm: Any = plain_kernels.add_norm
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def nothing_chosen_yet() -> Iterator[None]:
    backend._chosen.cache_clear()
    yield
    backend._chosen.cache_clear()


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "evalkit.decoding.kernels", plain_kernels)
    monkeypatch.setattr("evalkit.decoding.kernels", plain_kernels, raising=False)
    return plain_kernels


def test_a_cpu_is_left_to_torch() -> None:
    for wanted in (Attention.auto, Attention.sdpa):
        assert choose(wanted, True, CPU, torch.float32, 2, 16) is TORCH


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("attention", ["triton", "math"])
def test_what_computes_the_right_numbers_is_not_refused(attention: str, dtype: torch.dtype, plain: Any) -> None:
    assert refuse(attention, CPU, dtype, 2, 16) == ""


def wrong_scale(*args: Any, **more: Any) -> torch.Tensor:
    return attend(args[0] * 1.01, *args[1:], **more)


def one_too_early(*args: Any, **more: Any) -> torch.Tensor:
    return attend(*args[:3], (args[3] - 1).clamp(min=0), args[4], **more)


def one_too_short(*args: Any, **more: Any) -> torch.Tensor:
    made = attend(*args, **more)
    return attend(*args[:4], args[4] - 1) if more.get("append") is None else made


def forgets(*args: Any, **more: Any) -> torch.Tensor:
    """Counts the new key and value, but does not remember them."""
    query, keys, values, *others = args
    return attend(query, keys.clone(), values.clone(), *others, **more)


def nothing_finite(*args: Any, **more: Any) -> torch.Tensor:
    return attend(*args, **more).fill_(torch.nan)


@pytest.mark.parametrize("wrong", [wrong_scale, one_too_early, one_too_short, forgets, nothing_finite])
def test_wrong_numbers_are_refused(wrong: Any, plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "attend", wrong)
    assert "numbers are wrong by" in refuse("triton", CPU, torch.float16, 2, 64)


def test_sums_that_are_normalised_wrongly_are_refused(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets_what_is_added(x: Any, more: Any, weight: Any, bias: Any, eps: float, rows: Any) -> torch.Tensor:
        return add_norm(x, more * 0, weight, bias, eps, rows)

    monkeypatch.setattr(plain, "add_norm", forgets_what_is_added)
    assert "numbers are wrong by" in refuse("triton", CPU, torch.float16, 2, 64)


def test_masks_that_are_ignored_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    original = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention", lambda q, k, v, attn_mask: original(q, k, v)
    )
    assert "numbers are wrong by" in refuse("math", CPU, torch.float32, 2, 16)


def test_what_raises_is_refused_with_its_first_line(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **more: Any) -> torch.Tensor:
        raise RuntimeError("no kernel image is available\nand much more")

    monkeypatch.setattr(plain, "attend", broken)
    assert refuse("triton", CPU, torch.float16, 2, 64) == "no kernel image is available"


def test_lack_of_memory_says_nothing_about_an_attention(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **more: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(plain, "attend", full)
    with pytest.raises(torch.OutOfMemoryError):
        refuse("triton", CPU, torch.float16, 2, 64)


def test_an_unsupported_head_is_refused_before_anything_runs(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "unsupported", lambda size, dtype: f"heads of {size} dimensions")
    assert refuse("triton", CPU, torch.float16, 2, 48) == "heads of 48 dimensions"


@pytest.mark.parametrize(
    ("refused", "wanted", "chosen", "warned"),
    [
        ([], Attention.auto, Backend("triton", True, 1), 0),
        ([], Attention.sdpa, Backend("efficient", True, 64), 0),
        (["triton"], Attention.auto, Backend("efficient", True, 64, "triton: no"), 1),
        (["efficient"], Attention.sdpa, Backend("math", True, 64, "efficient: no"), 1),
        (["triton", "efficient"], Attention.auto, Backend("math", True, 64, "triton: no; efficient: no"), 1),
    ],
)
def test_the_fastest_that_is_right_is_chosen_with_one_warning(
    refused: list[str],
    wanted: Attention,
    chosen: Backend,
    warned: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(backend, "refuse", lambda name, *_: "no" if name in refused else "")
    for _ in range(2):
        assert choose(wanted, True, GPU, torch.float16, 16, 64) == chosen
    assert choose(wanted, False, GPU, torch.float16, 16, 64) == dataclasses.replace(chosen, graphs=False)
    assert len(caplog.records) == warned


def test_an_attention_asked_for_by_name_is_used_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "refuse", lambda name, *_: "no GPU")
    with pytest.raises(EvalkitError, match=r"engine.attention=triton cannot be used on cpu: triton: no GPU"):
        choose(Attention.triton, True, CPU, torch.float32, 2, 16)
    monkeypatch.setattr(backend, "refuse", lambda *_: "")
    assert choose(Attention.triton, True, CPU, torch.float32, 2, 16) == Backend("triton", False, 1)


def test_torch_is_told_which_attention_to_use() -> None:
    from torch.nn.attention import SDPBackend, _cur_sdpa_kernel_backends

    before = _cur_sdpa_kernel_backends()
    for attention, expected in (("efficient", SDPBackend.EFFICIENT_ATTENTION), ("math", SDPBackend.MATH)):
        with Backend(attention).used_on(CPU):
            assert _cur_sdpa_kernel_backends() == [expected]
    for attention in ("torch", "triton"):
        with Backend(attention).used_on(CPU):
            assert _cur_sdpa_kernel_backends() == before
    assert _cur_sdpa_kernel_backends() == before
