"""Tokens from logits, against transformers' own logits processors."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from evalkit import compat
from evalkit.decoding.noise import counters
from evalkit.decoding.sampler import Sampler, choose, guide, keep, score
from evalkit.settings import Sampling

compat.prepare()

STEP = torch.tensor(0)
MANY = [f"clip {i}" for i in range(2000)]


WAYS = ["_on_cpu", "_on_device"]  # the second as on a GPU, though not compiled


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# -- the distribution -------------------------------------------------------------------------------


def expected_distribution(logits: torch.Tensor, sampling: Sampling) -> np.ndarray:
    """Softmax of what transformers' own processors make of (halves, tokens), conditional first."""
    from transformers import (
        ClassifierFreeGuidanceLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    scores = logits
    if sampling.guidance_scale > 1:
        scores = ClassifierFreeGuidanceLogitsProcessor(sampling.guidance_scale)(torch.zeros(1, 1), scores)
    scores = TemperatureLogitsWarper(sampling.temperature)(None, scores)
    if sampling.top_p > 0:
        scores = TopPLogitsWarper(sampling.top_p)(None, scores)
    elif sampling.top_k > 0:
        scores = TopKLogitsWarper(sampling.top_k)(None, scores)
    return scores.double().softmax(dim=1)[0].numpy()


def assert_independent(first: np.ndarray, second: np.ndarray) -> None:
    table = np.histogram2d(first.ravel() % 4, second.ravel() % 4, bins=4, range=[(0, 4)] * 2)[0]
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-3


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(top_k=0, guidance_scale=1.0),
        Sampling(top_k=0, guidance_scale=3.0),
        Sampling(top_k=0, guidance_scale=1.0, temperature=0.5),
        Sampling(top_k=5, guidance_scale=1.0),
        Sampling(top_k=15, guidance_scale=1.0, temperature=1.5),
        Sampling(top_k=250, guidance_scale=3.0, temperature=2.0),
        Sampling(top_k=6, guidance_scale=2.0, temperature=0.7),
        Sampling(top_k=0, top_p=0.8, guidance_scale=1.0),
        Sampling(top_k=0, top_p=0.7, guidance_scale=1.0, temperature=1.7),
        Sampling(top_k=2, top_p=0.9, guidance_scale=2.5, temperature=1.3),  # top-p wins
        Sampling(top_k=3, top_p=1.0, guidance_scale=3.0),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_tokens_have_the_distribution_of_transformers(sampling: Sampling, way: str) -> None:
    vocabulary, codebooks, steps = 16, 2, 3
    halves = 2 if sampling.guidance_scale > 1 else 1
    row = normal(halves, vocabulary, seed=3)
    logits = row[:, None, None].expand(halves, len(MANY), codebooks, vocabulary)
    sampler = Sampler(MANY, codebooks, sampling, "cpu")
    draws = np.stack([getattr(sampler, way)(logits, torch.tensor(step)).numpy() for step in range(steps)])
    assert sampler.finite.all()
    expected = expected_distribution(row, sampling)
    inside = expected > 0
    counts = np.bincount(draws.ravel(), minlength=vocabulary)
    assert counts[~inside].sum() == 0
    assert scipy.stats.chisquare(counts[inside], draws.size * expected[inside]).pvalue > 1e-3
    assert_independent(draws[:, :, 0], draws[:, :, 1])
    assert_independent(draws[:-1], draws[1:])
    assert_independent(draws[:, :-1], draws[:, 1:])


def test_the_chi_square_test_would_notice() -> None:
    # two per cent of guidance, or the warmer of two temperatures by five
    row = normal(2, 16, seed=3)
    logits = row[:, None, None].expand(2, len(MANY), 16, 16)
    for wrong in (Sampling(top_k=0, guidance_scale=3.1), Sampling(top_k=0, temperature=1.05)):
        draws = Sampler(MANY, 16, wrong, "cpu")(logits, STEP).numpy()
        counts = np.bincount(draws.ravel(), minlength=16)
        assert scipy.stats.chisquare(counts, draws.size * expected_distribution(row, Sampling(top_k=0))).pvalue < 1e-3


@pytest.mark.parametrize(("top_k", "top_p"), [(1, 0.0), (7, 0.0), (64, 0.0), (0, 0.05), (3, 0.5), (0, 0.9), (0, 1.0)])
def test_keep_filters_as_transformers_does(top_k: int, top_p: float) -> None:
    from transformers import TopKLogitsWarper, TopPLogitsWarper

    logits = 2 * normal(200, 64)
    expected = TopPLogitsWarper(top_p)(None, logits) if top_p else TopKLogitsWarper(top_k)(None, logits)
    assert torch.equal(keep(logits, top_k, top_p), expected)


def test_keep_leaves_ties_as_audiocraft_and_transformers_do() -> None:
    from transformers import TopKLogitsWarper

    logits = torch.tensor([[1.0, 2.0, 2.0, 0.0]])
    assert torch.isfinite(keep(logits, 1, 0.0)).tolist() == [[False, True, True, False]]
    assert torch.isfinite(keep(logits, 99, 0.0)).all()
    assert torch.isfinite(keep(logits, 0, 1e-6)).sum() == 1
    coarse = normal(200, 64).round()  # many ties
    for top_k in (1, 3, 20):
        assert torch.equal(keep(coarse, top_k, 0.0), TopKLogitsWarper(top_k)(None, coarse))


def test_guidance_is_that_of_transformers() -> None:
    from transformers import ClassifierFreeGuidanceLogitsProcessor

    logits = normal(2, 3, 2, 64)
    expected = ClassifierFreeGuidanceLogitsProcessor(3.0)(torch.zeros(6, 1), logits.flatten(0, 2))
    assert torch.equal(guide(logits, 3.0).flatten(0, 1), expected)
    # in float32, where half precision would lose what guidance is about
    low = logits.to(torch.bfloat16)
    assert torch.equal(guide(low, 3.0), guide(low.float(), 3.0))
    assert torch.equal(guide(low[:1], 3.0), low[0].float())


# -- a choice depends on its own key alone ----------------------------------------------------------


SAMPLINGS = [Sampling(), Sampling(top_k=0), Sampling(top_p=0.9, temperature=0.8), Sampling(top_k=2048)]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_batch_mates_and_order_do_not_matter(sampling: Sampling) -> None:
    ids = [str(i) for i in range(7)]
    logits = normal(2, 7, 8, 2048)
    together = Sampler(ids, 8, sampling, "cpu")(logits, STEP)
    for i in range(7):
        assert torch.equal(Sampler([ids[i]], 8, sampling, "cpu")(logits[:, i : i + 1], STEP)[0], together[i])
    assert torch.equal(Sampler(ids[::-1], 8, sampling, "cpu")(logits.flip(1), STEP), together.flip(0))


def test_a_mate_with_ties_or_nan_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    # such a mate takes another way through the sampler
    ids, logits = ["a", "b", "c"], normal(1, 3, 4, 2048).repeat(1, 1, 1, 1)
    sampling = Sampling(guidance_scale=1.0)
    expected = Sampler(ids, 4, sampling, "cpu")(logits, STEP)
    for mate in (normal(4, 2048).round(), torch.full((4, 2048), math.nan)):
        changed = logits.clone()
        changed[0, 1] = mate
        assert torch.equal(Sampler(ids, 4, sampling, "cpu")(changed, STEP)[::2], expected[::2])
    monkeypatch.setattr(Sampler, "_choose_of_top", lambda *_: None)
    for step in range(20):
        made = Sampler(ids, 4, sampling, "cpu")(logits, torch.tensor(step))
        monkeypatch.undo()
        assert torch.equal(Sampler(ids, 4, sampling, "cpu")(logits, torch.tensor(step)), made)
        monkeypatch.setattr(Sampler, "_choose_of_top", lambda *_: None)


def test_ties_are_all_in_the_draw() -> None:
    logits = torch.tensor([2.0, 2.0, 1.0, 2.0]).expand(1, len(MANY), 1, 4)
    draws = Sampler(MANY, 1, Sampling(top_k=2, guidance_scale=1.0), "cpu")(logits, STEP)
    counts = np.bincount(draws.flatten().numpy(), minlength=4)
    assert counts[2] == 0
    assert scipy.stats.chisquare(counts[[0, 1, 3]]).pvalue > 1e-3


def test_every_part_of_the_key_matters() -> None:
    logits = torch.zeros(1, 3, 2, 2048)

    def draw(seed: int, step: int) -> list[int]:
        sampling = Sampling(seed=seed, guidance_scale=1.0, top_k=0)
        return Sampler(["x", "y", "z"], 2, sampling, "cpu")(logits, torch.tensor(step)).flatten().tolist()

    assert len({*draw(0, 0), *draw(1, 0), *draw(0, 1)}) == 18
    assert draw(0, 0) == draw(0, 0)


def test_noise_is_shared_between_settings() -> None:
    # what makes a comparison of two checkpoints or settings paired
    logits = 0.5 * normal(2, 50, 8, 2048)
    ids = MANY[:50]
    base = Sampler(ids, 8, Sampling(), "cpu")(logits, STEP)
    near = Sampler(ids, 8, Sampling(guidance_scale=3.05), "cpu")(logits, STEP)
    assert (base == near).float().mean() > 0.9
    far = Sampler(ids, 8, Sampling(seed=1), "cpu")(logits, STEP)
    assert (base == far).float().mean() < 0.1


# -- state ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_finite_marks_its_own_clip_for_good(sampling: Sampling, bad: float, way: str) -> None:
    sampler = Sampler(["a", "b", "c"], 2, sampling, "cpu")
    call = getattr(sampler, way)
    logits = normal(2, 3, 2, 2048)
    assert call(logits, STEP).shape == (3, 2) and sampler.finite.tolist() == [True] * 3
    logits[1, 1, 0, 5] = bad
    tokens = call(logits, STEP)
    assert sampler.finite.tolist() == [True, False, True]
    assert tokens.min() >= 0 and tokens.max() < 2048
    call(normal(2, 3, 2, 2048), STEP)
    assert sampler.finite.tolist() == [True, False, True]
    sampler.reset(["a", "b", "c"])
    assert sampler.finite.all()


def test_large_logits_are_finite() -> None:
    sampler = Sampler(["a"], 2, Sampling(guidance_scale=1.0), "cpu")
    sampler(torch.full((1, 1, 2, 2048), 3e38), STEP)
    assert sampler.finite.all()


def test_reset_stays_in_place() -> None:
    logits = normal(2, 2, 4, 2048)
    sampler = Sampler(["a", "b"], 4, Sampling(seed=5), "cpu")
    places = sampler.keys.data_ptr(), sampler.finite_books.data_ptr()
    sampler(logits, STEP)
    sampler.reset(["c", "d"])
    assert torch.equal(sampler(logits, STEP), Sampler(["c", "d"], 4, Sampling(seed=5), "cpu")(logits, STEP))
    assert (sampler.keys.data_ptr(), sampler.finite_books.data_ptr()) == places


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_nothing_is_read_back_from_a_device(sampling: Sampling) -> None:
    # a meta tensor has no values: reading one would raise
    sampler = Sampler(["a", "b"], 4, sampling, "meta")
    tokens = sampler(torch.empty(2, 2, 4, 2048, device="meta"), torch.tensor(0, device="meta"))
    assert tokens.shape == (2, 4) and tokens.dtype == torch.int64


# -- the way of a GPU -------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [*SAMPLINGS, Sampling(guidance_scale=1.0, temperature=1.3)])
def test_a_device_chooses_what_the_cpu_does(sampling: Sampling) -> None:
    ids = MANY[:20]
    logits = normal(1 + (sampling.guidance_scale > 1), 20, 4, 2048)
    for given in (logits, logits.round(), logits.half(), torch.full_like(logits, math.nan)):
        here, there = Sampler(ids, 4, sampling, "cpu"), Sampler(ids, 4, sampling, "cpu")
        same = 0.0
        for step in range(4):
            chosen = here._on_cpu(given, torch.tensor(step)) == there._on_device(given, torch.tensor(step))
            same += chosen.float().mean().item() / 4
        # guidance and temperature are rounded in another way, where a tie then is none
        assert same > 0.98
        assert torch.equal(here.finite, there.finite)


def test_scores_do_not_depend_on_whether_products_and_sums_are_fused() -> None:
    logits, scale = normal(2, 4, 2, 512) * 10, torch.tensor(3.1)
    finite = torch.ones(4, 2, dtype=torch.bool)
    made = score(logits, scale, torch.tensor(1.0), finite).flatten()
    difference = (logits[0] - logits[1]).flatten()
    for i, other in enumerate(logits[1].flatten()[:500]):
        exact = Fraction(difference[i].item()) * Fraction(scale.item()) + Fraction(other.item())
        assert made[i].item() == np.float32(float(exact))  # rounded once to float64, as a fused operation rounds
    assert (made.view(4, 2, 512) - guide(logits, scale.item())).abs().max() < 1e-5


def test_the_compiler_is_given_no_numbers_to_count_by_itself() -> None:
    # torch's compiler multiplies these itself, for a GPU in 32 bits
    sampler = Sampler(["a", "b"], 2, Sampling(), "cpu")
    arguments = torch.zeros(2, 2, 64), sampler._lowest, sampler.keys, STEP, *counters(2, 64, "cpu")
    operations = {str(node.target) for node in make_fx(choose.function)(*arguments).graph.nodes}
    assert "aten.argmax.default" in operations and not [name for name in operations if "arange" in name]


def test_facts_name_plain_operations_on_a_cpu() -> None:
    sampler = Sampler(["a"], 2, Sampling(), "cpu")
    sampler(normal(2, 1, 2, 2048), STEP)
    assert sampler.facts() == {"sampler": "plain"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("sampling", [*SAMPLINGS, Sampling(guidance_scale=1.0, temperature=1.3)])
def test_a_recorded_graph_chooses_what_plain_operations_do(sampling: Sampling) -> None:
    clips, books = 128, 8
    ids = MANY[:clips]
    sampler, step = Sampler(ids, books, sampling, "cuda"), torch.zeros((), dtype=torch.long, device="cuda")
    logits = normal(1 + (sampling.guidance_scale > 1), clips, books, 2048).half().cuda()
    assert logits[0, 0, 0].unique().numel() < 2048  # in float16 many are equal
    with torch.inference_mode():
        sampler(logits, step)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            chosen = sampler(logits, step)
        assert sampler.facts() == {"sampler": "compiled"}
        sampler.reset(MANY[clips : 2 * clips])
        step.fill_(9)
        logits[0, 1, 2, 3] = math.inf
        graph.replay()
        assert (~sampler.finite).nonzero().flatten().tolist() == [1]
        finite = torch.ones_like(sampler.finite_books)
        scores = score.function(logits, sampler._scale, sampler._inverse, finite)
        assert torch.equal(finite, sampler.finite_books)
        compiled = score(logits, sampler._scale, sampler._inverse, torch.ones_like(finite))
        assert torch.equal(compiled.nan_to_num(), scores.nan_to_num())
        scores = keep(scores, sampling.top_k, sampling.top_p)
        lowest = torch.full((clips, books, 1), -math.inf, device="cuda")
        expected = choose.function(scores, lowest, sampler.keys, step, *counters(books, 2048, "cuda"))
        # a logarithm may differ in its last bit, which decides between the two best scores once in a million
        assert (chosen != expected).sum() <= 1
        there = Sampler(MANY[clips : 2 * clips], books, sampling, "cpu")(logits.cpu(), torch.tensor(9))
        assert (chosen.cpu() == there).float().mean() > 0.99
