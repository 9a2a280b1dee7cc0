"""Numerical precision: the same flags for all that is computed, whatever was set before, and the user's after."""

from __future__ import annotations

import ast
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch.backends import cuda, cudnn

import evalkit
from evalkit.audio import Audio
from evalkit.models import codec
from evalkit.models.musicgen import runner
from evalkit.precision import fixed_precision, holds
from evalkit.settings import Sampling
from evalkit.types import Prompt

from .conftest import ROOT
from .engines import cpu
from .networks import network

get, put = torch._C._get_fp32_precision_getter, torch._C._set_fp32_precision_setter
ABOVE = [("generic", "all"), ("cuda", "all"), ("mkldnn", "all")]
BELOW = [(backend, operation) for backend in ("cuda", "mkldnn") for operation in ("matmul", "conv", "rnn")]


def set_defaults() -> None:
    """What torch has in a new process."""
    for one in ABOVE:
        put(*one, "none")
    torch.set_float32_matmul_precision("highest")
    for one in BELOW:
        put(*one, "none")
    cudnn.allow_tf32 = True
    cudnn.deterministic = cudnn.benchmark = False
    cuda.matmul.allow_fp16_reduced_precision_reduction = cuda.matmul.allow_bf16_reduced_precision_reduction = True
    cuda.matmul.allow_fp16_accumulation = False
    cuda.enable_cudnn_sdp(True)
    cuda.allow_fp16_bf16_reduction_math_sdp(False)


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    set_defaults()
    yield
    set_defaults()


def asked(read: Callable[[], Any]) -> Any:
    """A flag, or that torch refuses to tell it because older and newer settings disagree."""
    try:
        return read()
    except RuntimeError as error:
        return type(error).__name__


def state() -> dict[str, Any]:
    matmul = cuda.matmul
    return {
        **{".".join(one): get(*one) for one in [*ABOVE, *BELOW]},
        "matmul precision": asked(torch.get_float32_matmul_precision),
        "matmul tf32": asked(lambda: matmul.allow_tf32),
        "cudnn tf32": asked(lambda: cudnn.allow_tf32),
        "float16": (matmul.allow_fp16_reduced_precision_reduction, matmul.allow_fp16_accumulation),
        "bfloat16": matmul.allow_bf16_reduced_precision_reduction,
        "split": [getattr(matmul, f"allow_{x}_reduced_precision_reduction_split_k", None) for x in ("fp16", "bf16")],
        "cudnn": (cudnn.enabled, cudnn.deterministic, cudnn.benchmark),
        "attention": (cuda.cudnn_sdp_enabled(), cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled()),
        "sums of attention": cuda.fp16_bf16_reduction_math_sdp_allowed(),
    }


def everything_else() -> None:
    cudnn.benchmark = cudnn.deterministic = cuda.matmul.allow_fp16_accumulation = True
    cuda.matmul.allow_fp16_reduced_precision_reduction = False
    cuda.enable_cudnn_sdp(False)
    cuda.allow_fp16_bf16_reduction_math_sdp(True)


def no_split() -> None:
    if hasattr(cuda.matmul, "allow_bf16_reduced_precision_reduction_split_k"):
        cuda.matmul.allow_bf16_reduced_precision_reduction = (False, False)


def older() -> None:
    cuda.matmul.allow_tf32, cudnn.allow_tf32 = True, False


def newer_under_older() -> None:
    put("generic", "all", "tf32")
    cudnn.allow_tf32 = False


def older_after_newer() -> None:
    put("cuda", "conv", "ieee")
    torch.set_float32_matmul_precision("medium")
    put("cuda", "matmul", "none")


SETTINGS: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "older flags": older,
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "newer, for all": lambda: put("generic", "all", "tf32"),
    "newer, bfloat16": lambda: put("generic", "all", "bf16"),
    "newer, for a GPU": lambda: (put("generic", "all", "ieee"), put("cuda", "all", "tf32")),
    "newer, for a CPU": lambda: put("mkldnn", "all", "bf16"),
    "newer, by operation": lambda: (put("cuda", "matmul", "tf32"), put("cuda", "rnn", "ieee")),
    "newer, as evalkit": lambda: [put(*one, "ieee") for one in BELOW],
    "newer under older": newer_under_older,
    "older after newer": older_after_newer,
    "everything else": everything_else,
    "no split": no_split,
}

# what a user may set later, which reaches further where nothing of its own was set below it
LATER: list[Callable[[], Any]] = [
    lambda: put("generic", "all", "tf32"),
    lambda: put("cuda", "all", "ieee"),
    lambda: put("mkldnn", "all", "ieee"),
    lambda: put("cuda", "all", "none"),
    lambda: put("generic", "all", "none"),
]


def seen_later() -> list[dict[str, Any]]:
    seen = [state()]
    for later in LATER:
        later()
        seen.append(state())
    return seen


@pytest.mark.parametrize("setting", SETTINGS)
def test_flags_are_fixed_within_and_as_they_were_afterwards(setting: str) -> None:
    SETTINGS[setting]()
    expected = seen_later()
    set_defaults()
    SETTINGS[setting]()
    assert not holds()
    with fixed_precision():
        inside = state()
        assert holds()
    assert seen_later() == expected
    assert {inside[".".join(one)] for one in [*ABOVE, *BELOW]} == {"ieee"}
    # also for code that asks in the older way, such as torch.compile's, which torch refuses where settings disagree
    assert [inside[f"{name}"] for name in ("matmul precision", "matmul tf32", "cudnn tf32")] == [
        "highest",
        False,
        False,
    ]
    assert inside["float16"] == (False, False) and not inside["bfloat16"] and not inside["sums of attention"]
    assert inside["split"] in ([True, True], [None, None])
    assert inside["cudnn"] == (True, True, False)
    assert inside["attention"] == (False, True, True)  # a CPU has flash attention too


def test_in_a_new_process_torch_has_its_defaults_afterwards() -> None:
    script = (
        "from tests.test_precision import state, fixed_precision\n"
        "before = state()\n"
        "with fixed_precision(): assert state() != before\n"
        "assert state() == before and before['cuda.conv'] == 'tf32', (before, state())\n"
        "import torch; torch.backends.fp32_precision = 'ieee'; before = state()\n"
        "with fixed_precision(): pass\n"
        "assert state() == before, (before, state())\n"
    )
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", script], cwd=ROOT, check=True)


def test_an_error_within_restores_flags() -> None:
    before = state()
    with pytest.raises(ZeroDivisionError), fixed_precision(), fixed_precision():
        raise ZeroDivisionError
    assert state() == before


def test_what_code_within_changes_is_set_again_and_not_kept() -> None:
    def careless() -> None:
        cudnn.benchmark = cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision("high")

    before = state()
    with fixed_precision():
        careless()
        assert not holds()
        with fixed_precision():
            assert holds()
        careless()
    assert state() == before


def test_blocks_of_several_threads_share_the_flags() -> None:
    before, began, leave = state(), threading.Event(), threading.Event()

    def other() -> None:
        with fixed_precision():
            began.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with fixed_precision():
        thread.start()
        assert began.wait(10)
    assert holds()  # the other block goes on
    leave.set()
    thread.join()
    assert state() == before


def test_on_a_cpu_no_bit_changes() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 8, 64), torch.randn(8, 8, 3)
    lstm, layer = torch.nn.LSTM(64, 32), torch.nn.Linear(64, 64).to(torch.bfloat16)

    def made() -> list[torch.Tensor]:
        halves = x.to(torch.bfloat16)
        attended = torch.nn.functional.scaled_dot_product_attention(halves, halves, halves)
        return [x @ x.mT, torch.nn.functional.conv1d(x, weight), lstm(x)[0], layer(halves), attended]

    with torch.inference_mode():
        outside = made()
        with fixed_precision():
            inside = made()
    assert all(torch.equal(a, b) for a, b in zip(outside, inside, strict=True))


@dataclass(frozen=True)
class Witness:
    """A model that notes whether flags held, and leaves others behind."""

    fails: bool = False
    held: ClassVar[list[bool]] = []
    kind: ClassVar[str] = "witness"
    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    published: ClassVar[None] = None
    checkpoint: ClassVar[None] = None
    codec: ClassVar[None] = None

    def check(self, sampling: Any) -> None: ...

    def conditions(self, cache: Any) -> tuple[str, ...]:
        return ()

    def load(self, cache: Any, engine: Any) -> Any:
        self.held.append(holds())
        cudnn.benchmark = True  # as many projects have it among their imports

        def generate(prompts: Any, sampling: Any) -> list[Audio]:
            if self.fails:
                raise ZeroDivisionError
            return [Audio(np.sin(np.arange(48000), dtype=np.float32)[None] / 2, 32000) for _ in prompts]

        return generate


def test_a_run_is_computed_with_fixed_flags_and_gives_back_the_users(tmp_path: Path) -> None:
    cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("high")
    before = state()
    options = ["prompts=demo", "prompts.first=2", "metric=[chroma]", "sampling.duration=1.5"]
    options += [f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}"]
    Witness.held.clear()
    evalkit.evaluate(*options, models={"a": Witness()}, quiet=True)
    assert state() == before
    with pytest.raises(ZeroDivisionError):
        evalkit.evaluate(*options, models={"a": Witness(fails=True)}, quiet=True)
    assert state() == before and Witness.held == [True, True]


def test_a_model_and_a_codec_that_are_loaded_by_hand_compute_with_fixed_flags() -> None:
    held: list[bool] = []
    words = type("Words", (), {"__call__": lambda self, text, verbose: type("E", (), {"input_ids": [5, 1]})})()
    whole = network("stereo")
    run, code = runner("test", whole, words, cpu()), codec.coder(whole.audio_encoder, 2, "cpu")
    hook = torch.nn.modules.module.register_module_forward_pre_hook(lambda *_: held.append(holds()))
    try:
        for work in (
            lambda: run([Prompt("a", "x")], Sampling(duration=0.1)),
            lambda: run.codes([Prompt("a", "x")], Sampling(duration=0.1), 1),
            lambda: run.audio([np.zeros((8, 5), np.int16)], Sampling(duration=0.1)),
            lambda: code(Audio(np.zeros((2, 3200), np.float32), 32000)),
        ):
            held.clear()
            work()
            assert held and all(held)
            assert not holds()
    finally:
        hook.remove()


def made_by(load: ast.FunctionDef) -> Iterator[ast.FunctionDef]:
    """The functions inside a `load` that it returns, by themselves or with something else."""
    returned = [node.value for node in ast.walk(load) if isinstance(node, ast.Return)]
    values = [one for value in returned for one in (value.elts if isinstance(value, ast.Tuple) else [value])]
    names = {value.id for value in values if isinstance(value, ast.Name)}
    yield from (node for node in load.body if isinstance(node, ast.FunctionDef) and node.name in names)


def test_whatever_an_encoder_loads_computes_with_fixed_flags() -> None:
    files = [*(ROOT / "evalkit/encoders").glob("*.py"), ROOT / "evalkit/separation.py"]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    loads = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name in ("load", "passages")]
    found = [function for load in loads for function in made_by(load)]
    assert len(found) == 12  # the networks; other encoders are made of these, or compute without torch
    assert all("fixed_precision()" in map(ast.unparse, function.decorator_list) for function in found)


def test_pipelines_of_other_packages_compute_with_fixed_flags() -> None:
    for name in ("diffusers", "hf_text_to_audio"):
        tree = ast.parse((ROOT / f"evalkit/models/{name}.py").read_text("utf-8"))
        (call,) = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "__call__")
        assert [ast.unparse(one) for one in call.decorator_list] == ["fixed_precision()"]
