"""Functions compiled for a GPU, shown on a CPU with other backends of torch.compile."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters as counts

from evalkit.decoding import fused
from evalkit.decoding.fused import Fused
from evalkit.decoding.noise import clip_keys, counters, uniform
from evalkit.decoding.sampler import Sampler, choose, keep, score
from evalkit.settings import Sampling

COMPILE = torch.compile


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile on a CPU too, from nothing, and with a backend that leaves out the kernels."""
    monkeypatch.setattr(fused, "compiles_on", lambda device: True)
    monkeypatch.setattr(fused, "_failed", False)
    monkeypatch.setattr(torch, "compile", lambda f, *, options, **rest: COMPILE(f, backend="eager", **rest))
    for function in (score, choose):
        monkeypatch.setattr(function, "_compiled", {})
    counts.clear()


def double_and_add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x * 2 + y


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("evalkit")]


def failing(error: Exception) -> Callable[..., Any]:
    def compile_badly(function: object, **options: object) -> object:
        def fail(*args: object) -> None:
            raise error

        return fail

    return compile_badly


def chosen(sampling: Sampling, clips: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What a sampler chooses as on a GPU, and what its functions choose that are not compiled."""
    ids = [str(i) for i in range(clips)]
    logits = torch.randn(2, clips, 2, 64, generator=torch.Generator().manual_seed(step))
    sampler = Sampler(ids, 2, sampling, "cpu")
    scores = score.function(logits, sampler._scale, sampler._inverse, sampler.finite_books)
    lowest = torch.full((clips, 2, 1), -math.inf)
    scores = keep(scores, sampling.top_k, sampling.top_p)
    plain = choose.function(scores, lowest, sampler.keys, torch.tensor(step), *counters(2, 64, "cpu"))
    return sampler._on_device(logits, torch.tensor(step)), plain


@pytest.mark.usefixtures("compiling")
def test_a_sweep_of_settings_and_batch_sizes_compiles_once_for_each_size(caplog: pytest.LogCaptureFixture) -> None:
    sizes = range(1, 13)
    assert len(sizes) > torch._dynamo.config.recompile_limit
    for clips in sizes:
        made, plain = chosen(Sampling(), clips, clips)
        assert torch.equal(made, plain)
    for i in range(20):
        sampling = Sampling(
            top_k=i * 3, top_p=0.1 * (i % 3), temperature=1 + i / 20, guidance_scale=1.5 + i / 10, seed=i
        )
        made, plain = chosen(sampling, 1 + i % 3, i)
        assert torch.equal(made, plain)
    assert counts["stats"]["unique_graphs"] == 2 * len(sizes)
    assert not fused.failed() and not warnings(caplog)


@pytest.mark.usefixtures("compiling")
def test_facts_name_compiled_functions() -> None:
    sampler = Sampler(["a"], 2, Sampling(), "cpu")
    sampler._on_device(torch.zeros(2, 1, 2, 64), torch.tensor(0))
    assert sampler.facts() == {"sampler": "compiled"}


@pytest.mark.usefixtures("compiling")
def test_a_failed_compilation_is_said_once_for_all_functions(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch, "compile", failing(RuntimeError("no compiler\nmany more lines")))
    for step in range(3):
        made, plain = chosen(Sampling(), 2, step)
        assert torch.equal(made, plain)
    assert warnings(caplog) == ["tokens are chosen without torch.compile, which is slower: no compiler"]
    assert Sampler(["a"], 2, Sampling(), "cpu").facts() == {"sampler": "plain"}


@pytest.mark.usefixtures("compiling")
@pytest.mark.parametrize("wrapped", [False, True])
def test_want_of_memory_is_no_failure_of_the_compiler(
    wrapped: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    error: Exception = torch.OutOfMemoryError("CUDA out of memory")
    if wrapped:
        inner, error = error, RuntimeError("backend failed")
        error.__cause__ = inner
    monkeypatch.setattr(torch, "compile", failing(error))
    with pytest.raises(type(error)):
        Fused(double_and_add)(torch.ones(2), torch.ones(2))
    assert not fused.failed() and not warnings(caplog)


@pytest.mark.usefixtures("compiling")
def test_nothing_is_compiled_while_a_graph_is_recorded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    function, x = Fused(double_and_add), torch.arange(3.0)
    function(x, x)
    monkeypatch.setattr(fused, "records", lambda device: True)
    assert torch.equal(function(x, x), 3 * x)
    assert not fused.failed()
    assert torch.equal(function(x[1:], x[1:]), 3 * x[1:])
    assert fused.failed() and len(warnings(caplog)) == 1
    assert counts["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(top_k=0), Sampling(top_p=0.9), Sampling(top_k=2048)])
def test_a_cpu_compiles_nothing(sampling: Sampling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", failing(RuntimeError("compiled")))
    monkeypatch.setattr(fused, "_failed", False)
    sampler = Sampler(["a"], 2, sampling, "cpu")
    for call in (sampler, sampler._on_device):
        call(torch.zeros(2, 1, 2, 2048), torch.tensor(0))
    assert not fused.failed() and not score._compiled and not choose._compiled


# -- with torch's compiler for CPUs -----------------------------------------------------------------

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")


@pytest.mark.slow
@needs_compiler
@pytest.mark.usefixtures("compiling")
def test_compiled_functions_give_what_they_give_as_they_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch, "compile", COMPILE)
    compiled_uniform, numbers = Fused(uniform), counters(8, 2048, "cpu")
    for clips in (1, 3):
        keys = clip_keys(0, [str(i) for i in range(clips)], "cpu")
        logits = torch.randn(2, clips, 8, 2048, generator=torch.Generator().manual_seed(0)).half()
        logits[1, 0, 2, 3] = math.nan
        for step in map(torch.tensor, (0, 1, 1500)):
            assert torch.equal(compiled_uniform(keys, step, *numbers), uniform(keys, step, *numbers))
            scale, inverse = torch.tensor(3.1), torch.tensor(1 / 0.7)
            finite, also_finite = torch.ones(2, clips, 8, dtype=torch.bool).unbind()
            scores = score(logits, scale, inverse, finite)
            expected = score.function(logits, scale, inverse, also_finite)
            assert torch.equal(scores.nan_to_num(), expected.nan_to_num()) and torch.equal(finite, also_finite)
            assert not finite[0, 2] and finite.sum() == finite.numel() - 1
            smallest = scores.topk(250).values.amin(dim=2, keepdim=True)
            arguments = scores, smallest, keys, step, *numbers
            assert torch.equal(choose(*arguments), choose.function(*arguments))
    assert not fused.failed() and not warnings(caplog)


SCRIPT = """
import os, subprocess, torch
from evalkit.decoding import fused
fused.compiles_on = lambda device: True
double = fused.Fused(lambda x: x * 2)
assert double(torch.ones(5)).sum() == 10 and not fused.failed()
assert list(double._compiled)
children = subprocess.run(["ps", "-o", "args=", "--ppid", str(os.getpid())], capture_output=True, text=True).stdout
assert len(children.splitlines()) == 1, children  # ps itself
child = os.fork()
if not child:
    assert double(torch.ones(5)).sum() == 10 and double(torch.ones(6)).sum() == 12 and not fused.failed()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print("done")
"""


@pytest.mark.slow
@needs_compiler
@pytest.mark.skipif(shutil.which("ps") is None, reason="needs ps")
def test_a_process_that_compiled_leaves_no_other_process_and_may_fork() -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")
