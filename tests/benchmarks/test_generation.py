"""The benchmark of generation finds equal tokens, counts what a step costs, and writes. Its speeds are not tested."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from benchmarks import generation, generation_sides, roofline
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
    codes = np.stack([c for c in model.codes(prompts, generation.sampling_of(model, 12), 2) if c is not None])
    expected = generation_sides.generated(model, prompts, 12)
    assert codes.shape == tuple(expected.shape) == (2, 8, 9)


def test_all_the_way_to_files(model: Model) -> None:
    found = generation.everything(model, generation_sides.prompts_of(model.tokenizer, 3), 0.2)
    assert found["clips"] == 3 and found["seconds"] > 0
    assert model.engine.batch_size is None


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
