"""The benchmark of generation finds equal tokens, counts what a step costs, and writes. Its speeds are not tested."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch

from benchmarks import (
    generation,
    generation_backends,
    generation_report,
    generation_sides,
    generation_whole,
    invariance,
    roofline,
)
from evalkit import precision
from evalkit.decoding import backend
from evalkit.decoding.conditions import padded_length
from evalkit.decoding.model import Model
from evalkit.models.tiny import TinyStereo
from evalkit.settings import Dtype, Engine
from evalkit.store.cache import Cache
from tests.networks import network


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    cache = Cache(tmp_path_factory.mktemp("cache"))
    return TinyStereo().load(cache, Engine(device="cpu", dtype=Dtype.float32))


def test_captions_are_as_long_as_musiccaps_and_make_one_group(model: Model) -> None:
    prompts = generation_sides.prompts_of(model.tokenizer, 20)
    lengths = [len(model.tokenizer(prompt.text).input_ids) for prompt in prompts]
    assert min(lengths) > 64 and max(lengths) <= 100 and len(set(lengths)) > 5
    assert {padded_length(length) for length in lengths} == {128}


def test_unequal_tokens_are_noticed(model: Model) -> None:
    prompts = generation_sides.prompts_of(model.tokenizer, 3)
    assert generation_sides.check(model, prompts, 8) == {"steps": 8, "clips": 3, "clips_with_a_tie": 0}
    weights = model.loop.decoder.layers[1]
    kept, weights.down = weights.down, weights.down * 1.1
    try:
        with pytest.raises(SystemExit, match="greedy tokens differ at step"):
            generation_sides.check(model, prompts, 8)
    finally:
        weights.down = kept


def test_both_sides_make_codes_of_one_shape(model: Model) -> None:
    prompts = generation_sides.prompts_of(model.tokenizer, 2)
    codes = np.stack([c for c in model.codes(prompts, generation_sides.sampling_of(model, 12), 2) if c is not None])
    expected = generation_sides.generated(model, prompts, 12)
    assert codes.shape == tuple(expected.shape) == (2, 8, 9)


def test_all_the_way_to_files(model: Model) -> None:
    found = generation_whole.everything(model, generation_sides.prompts_of(model.tokenizer, 3), 0.2)
    assert found["clips"] == 3 and found["seconds"] > 0
    assert model.engine.batch_size is None


def test_attentions_and_graphs_are_compared_on_one_network_and_what_cannot_run_is_a_row(model: Model) -> None:
    prompts = generation_sides.prompts_of(model.tokenizer, 2)
    with patch.object(backend, "refuse", lambda name, *_: "no such thing" if name == "triton" else ""):
        backend._chosen.cache_clear()
        rows = generation_backends.backends(model, [(2, 8)], prompts)
    backend._chosen.cache_clear()
    assert [(row["asked"], row["graphs"]) for row in rows] == [
        *(("triton", True), ("triton", False), ("sdpa", True), ("sdpa", False))
    ]
    assert all("no such thing" in row["failed"] for row in rows[:2])
    assert rows[2]["first"] and rows[3]["ties"] == 0 and rows[3]["ms_per_step"] > 0
    page = "\n".join(generation_report.backends({"size": "tiny", "rows": rows}))
    assert "not measured: " in page and "| 2 | torch's attention | refused |" in page


@pytest.mark.slow
def test_clips_of_batches_of_several_sizes_are_compared(model: Model) -> None:
    found = invariance.measure(model, [1, 2, 4], 4, 12)
    assert [row["batches"] for row in found["pairs"]] == [[1, 2], [1, 4], [2, 4]]
    assert all(row["clips"] == 4 and row["whole_clips"] == row["tokens"] == 1 for row in found["pairs"])
    assert found["repeated"] == {"1": True, "2": True, "4": True}
    made = model.codes

    def other_in_pairs(prompts, sampling, rows):
        codes = made(prompts, sampling, rows)
        return [one + (rows == 2) for one in codes]

    with patch.object(model, "codes", other_in_pairs):
        found = invariance.measure(model, [1, 2, 4], 4, 12)
    assert [row["whole_clips"] for row in found["pairs"]] == [0, 1, 0]
    page = "\n".join(generation_report.invariance({"usual": found}))
    assert "| as evalkit sets them | 1 and 2 | 4 | 0.00 % | 0.00 % |" in page


def test_a_setting_that_cublas_reads_is_given_to_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def run(command, env, **_):
        seen[command[-1]] = {name: value for name, value in env.items() if name.startswith("CUBLAS")}
        return SimpleNamespace(returncode=0, stdout=f'noise\n{{"{command[-1]}": {{}}}}\n', stderr="")

    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # of whoever calls
    monkeypatch.setattr("subprocess.run", run)
    assert invariance.settings_apart("cuda", "float16") == {"usual": {}, "invariant": {}}
    assert seen == {"usual": {}, "invariant": {"CUBLAS_WORKSPACE_CONFIG": ":16:8", "CUBLASLT_WORKSPACE_SIZE": "1"}}


def test_sums_are_not_divided_where_batches_are_to_be_invariant() -> None:
    with ExitStack() as stack:
        invariance.prefer_invariance(stack)
        assert precision._settings()[0][2] in (False, (False, False))
    assert precision._settings()[0][2] in (False, (False, True))


@pytest.mark.slow
def test_a_side_without_memory_and_a_case_that_fails_leave_the_others(
    model: Model, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = generation_sides.generated

    def short_of_memory(*arguments, **options):
        if arguments[2] == 9:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if arguments[2] == 7:
            raise RuntimeError("a bug")
        return real(*arguments, **options)

    monkeypatch.setattr(generation, "generated", short_of_memory)
    monkeypatch.setattr(generation, "measure", lambda *_: roofline.Machine(1e10, 1e11))
    monkeypatch.setattr(generation, "check", lambda *_: sys.exit("greedy tokens differ at step 3"))
    line = "generation --parts cases --cases tiny:1:12:9 tiny:2:12:7 --repeats 1 --threads 1 --output"
    monkeypatch.setattr("sys.argv", [*line.split(), str(tmp_path)])
    threads = torch.get_num_threads()
    try:
        with pytest.raises(SystemExit, match="failed:\ntiny:1: greedy tokens differ at step 3\ntiny:2: a bug"):
            generation.main()
    finally:
        torch.set_num_threads(threads)
    cases = json.loads((tmp_path / "generation_cpu.json").read_text())["cases"]
    assert cases["tiny:1"]["transformers"] == {"failed": "out of memory"} and cases["tiny:1"]["ratio"] is None
    assert cases["tiny:1"]["evalkit"]["ms_per_step"] > 0 and cases["tiny:2"] == {"failed": "a bug"}
    page = (tmp_path / "generation_cpu.md").read_text()
    assert "| tiny | 1 | 12, `generate()` 9 | out of memory |" in page
    assert "**tiny:2 was not measured:** a bug" in page
    assert "| 1 × 12 | **greedy tokens differ at step 3** |" in page


def test_the_page_of_a_gpu_has_its_bars_and_its_memory() -> None:
    side = {"ms_per_step": 10.0, "median": 10.5, "text": 0.1, "clips_per_second": 5.0, "peak": 3 << 30}
    side |= {"reserved": 5 << 30}
    case = {"steps": 503, "fewer_steps": 503, "runs": [], "planned": 4 << 30, "ratio": 2.4, "bar": 2.5}
    case |= {"floor": {"seconds": 0.008, "bytes": 8, "operations": 8}, "greedy": {}, "attention": {}}
    case |= {"evalkit": side | {"share_of_floor": 0.8}, "transformers": side | {"share_of_floor": 0.3}}
    found = {"device": "cuda", "bandwidth": 1.0, "rate": 1.0}
    for attention, bar in (("triton", "1.25 × the least, met"), ("efficient", "–")):
        facts = {"attention": attention, "graphs": True}
        page = "\n".join(
            generation_report.speed(found | {"cases": {"stereo-medium:128": case | {"facts": facts}}})
            + generation_report.roofline(found | {"cases": {"stereo-medium:128": case | {"facts": facts}}})
        )
        assert "2.5: **missed**" in page and "| 4,096 | 5,120 | 5,120 |" in page
        assert page.rstrip().endswith(f"| 80 % | {bar} |")


def test_the_cost_of_a_step() -> None:
    net = network()
    config, rows, text, length = net.config.decoder, 6, 50, 7
    model = net.decoder.model.decoder
    matrices = [p.numel() for n, p in model.layers.named_parameters() if p.ndim == 2]
    # keys and values of the text are computed once, before the first step
    once = sum(p.numel() for n, p in model.layers.named_parameters() if "encoder_attn.k" in n or "encoder_attn.v" in n)
    heads = sum(head.weight.numel() for head in net.decoder.lm_heads)
    memory = 2 * config.num_hidden_layers * config.hidden_size * (rows * length + 3 * text)
    read, operations = roofline.cost(config, 3, text, length, 4)
    assert read == 4 * (sum(matrices) - once + heads + memory)
    cross = config.num_hidden_layers * 2 * config.hidden_size**2  # queries and outputs, of the conditional half
    products = rows * (sum(matrices) - once - cross + heads) + 3 * cross
    assert operations == 2 * products + 2 * memory
    # with so many operations per second memory is the bound
    least = roofline.floor(config, 3, text, 1, 4, roofline.Machine(bandwidth=1e9, rate=1e30))
    assert least["seconds"] == roofline.cost(config, 3, text, 1, 4)[0] / 1e9


@pytest.mark.slow
def test_it_writes_its_figures(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(generation, "measure", lambda *_: roofline.Machine(1e10, 1e11))
    line = "generation --cases tiny:1:12 tiny:2:10 --whole tiny:2:10 --repeats 1 --threads 1 --output"
    monkeypatch.setattr("sys.argv", [*line.split(), str(tmp_path)])
    try:
        generation.main()
    finally:
        torch.set_num_threads(threads)
    found = json.loads((tmp_path / "generation_cpu.json").read_text())
    assert set(found["cases"]) == {"tiny:1", "tiny:2"}
    assert found["cases"]["tiny:1"]["bar"] == 1.8
    same = {tuple(row["batches"]): row["tokens"] for row in found["identical"]["tiny"]}
    assert set(same) == {(1, 2), (2, 2)} and same[2, 2] == 1
    assert found["whole"]["stages"]["codec"] > 0
    page = (tmp_path / "generation_cpu.md").read_text()
    assert "| tiny | 1 |" in page and "1.8: " in page
