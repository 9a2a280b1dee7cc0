"""Who hears what in a listening test: every balance that is promised, counted."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise, permutations, product

import pytest

from evalkit.errors import EvalkitError
from evalkit.listening import design
from evalkit.store.seeds import keyed

RATINGS = [
    # systems, prompts, votes, on a page, raters (None: as many as 25 pages each need)
    (3, 12, 5, 8, None), (2, 5, 5, 8, 5), (1, 7, 5, 8, 9), (4, 20, 5, 8, 7), (10, 24, 5, 8, None),
    (11, 13, 5, 8, 20), (9, 6, 5, 4, 13), (8, 30, 6, 8, 31), (12, 10, 3, 5, 9), (7, 1, 5, 8, 5), (6, 8, 1, 8, 3),
]  # fmt: skip
PAIRS = [
    # systems, prompts, votes, raters (None: as many as 40 pages each need)
    (2, 10, 5, None), (3, 10, 5, None), (4, 12, 5, 11), (5, 9, 5, None), (6, 20, 5, 25), (7, 5, 4, 12),
    (10, 24, 5, None), (2, 1, 5, 5), (9, 8, 1, 6),
]  # fmt: skip


def spread(counts: Counter, of) -> int:
    """By how much the most and the least frequent differ, those that do not occur at all included."""
    found = [counts[one] for one in of]
    return max(found) - min(found)


@pytest.mark.parametrize(("systems", "prompts", "votes", "size", "raters"), RATINGS)
def test_ratings_are_balanced(systems: int, prompts: int, votes: int, size: int, raters: int | None) -> None:
    plan = design.ratings(systems, prompts, votes, size)
    many = raters or plan.raters(25)
    sessions = design.rating_sessions(plan, many, keyed("design", systems, prompts))
    assert len(sessions) == many
    cells = Counter((prompt, system) for pages in sessions for prompt, page in pages for system in page)
    every = [(prompt, system) for prompt in range(prompts) for system in range(systems)]
    assert min(cells[cell] for cell in every) >= votes
    assert spread(cells, every) <= 1
    lengths = [len(pages) for pages in sessions]
    assert max(lengths) - min(lengths) <= 1
    for pages in sessions:
        assert spread(Counter(system for _, page in pages for system in page), range(systems)) <= 1
        assert len({prompt for prompt, _ in pages}) == len(pages)  # no prompt twice
        assert all(len(set(page)) == len(page) == min(size, systems) for _, page in pages)


@pytest.mark.parametrize(
    ("systems", "prompts", "votes", "size", "raters"), [one for one in RATINGS if one[0] <= one[3]]
)
def test_each_system_stands_at_each_place_equally_often(systems, prompts, votes, size, raters) -> None:
    plan = design.ratings(systems, prompts, votes, size)
    sessions = design.rating_sessions(plan, raters or plan.raters(25), keyed("places"))
    places = Counter((system, place) for pages in sessions for _, page in pages for place, system in enumerate(page))
    assert spread(places, [(system, place) for system in range(systems) for place in range(systems)]) <= 1


INCOMPLETE = [
    # systems, prompts, votes, on a page, raters; windows of the last three fall into sets that share no page
    (10, 24, 5, 8, 7), (9, 6, 5, 4, 13), (16, 20, 5, 8, 10), (6, 12, 5, 3, 10), (4, 12, 5, 2, 12),
]  # fmt: skip


@pytest.mark.parametrize(("systems", "prompts", "votes", "size", "raters"), INCOMPLETE)
def test_where_a_page_has_some_systems_all_meet_about_equally_often(systems, prompts, votes, size, raters) -> None:
    plan = design.ratings(systems, prompts, votes, size)
    sessions = design.rating_sessions(plan, raters, keyed("together", systems))
    pages = [page for own in sessions for _, page in own]
    pairs = [frozenset(pair) for pair in combinations(range(systems), 2)]
    together = Counter(frozenset(pair) for page in pages for pair in combinations(page, 2))
    mean = sum(together.values()) / len(pairs)
    assert spread(together, pairs) <= 4 and min(together[pair] for pair in pairs) > 0.8 * mean
    places = Counter((system, place) for page in pages for place, system in enumerate(page))
    assert spread(places, product(range(systems), range(size))) <= 4
    behind = Counter(pair for page in pages for pair in pairwise(page))
    assert spread(behind, permutations(range(systems), 2)) <= 4


@pytest.mark.parametrize(("systems", "prompts", "votes", "raters"), PAIRS)
def test_pairs_are_balanced(systems: int, prompts: int, votes: int, raters: int | None) -> None:
    plan = design.comparisons(systems, prompts, votes)
    many = raters or plan.raters(40)
    sessions = design.pair_sessions(plan, many, keyed("design", systems, prompts))
    pages = [page for own in sessions for page in own]
    pairs = Counter(frozenset(pair) for _, pair in pages)
    assert spread(pairs, [frozenset(pair) for pair in combinations(range(systems), 2)]) == 0
    cells = Counter((prompt, system) for prompt, pair in pages for system in pair)
    every = [(prompt, system) for prompt in range(prompts) for system in range(systems)]
    assert min(cells[cell] for cell in every) >= votes
    firsts = Counter(pair for _, pair in pages)
    assert all(abs(firsts[a, b] - firsts[b, a]) <= 1 for a, b in combinations(range(systems), 2))
    assert spread(Counter(pair[0] for _, pair in pages), range(systems)) <= 1
    for own in sessions:
        assert spread(Counter(system for _, pair in own for system in pair), range(systems)) == 0
        assert len({(prompt, frozenset(pair)) for prompt, pair in own}) == len(own)


@pytest.mark.parametrize("size", range(1, 13))
def test_in_a_latin_square_each_follows_each_other_one_equally_often(size: int) -> None:
    rows = design.williams(size)
    assert all(sorted(row) == list(range(size)) for row in rows)
    places = Counter((one, place) for row in rows for place, one in enumerate(row))
    assert len(set(places.values())) == 1 and len(places) == size * size
    after = Counter(pair for row in rows for pair in pairwise(row))
    assert len(set(after.values())) <= 1 and len(after) == size * (size - 1)


@pytest.mark.parametrize("systems", range(2, 14))
def test_rounds_hold_every_pair_once(systems: int) -> None:
    pairs = Counter(frozenset(pair) for one in design.rounds(systems) for pair in one)
    assert sorted(pairs.values()) == [1] * (systems * (systems - 1) // 2)
    for one in design.rounds(systems):
        assert set(Counter(system for pair in one for system in pair).values()) == {1 if systems % 2 == 0 else 2}


def test_the_same_key_gives_the_same_plan_and_another_key_another_one() -> None:
    plan = design.ratings(4, 10, 5, 8)
    first, same, other = (design.rating_sessions(plan, 6, keyed(key)) for key in ("a", "a", "b"))
    assert first == same != other


def test_too_few_raters_are_refused() -> None:
    with pytest.raises(EvalkitError, match="4 raters cannot hear 5 different parts of every prompt"):
        design.rating_sessions(design.ratings(3, 10, 5, 8), 4, keyed("few"))
    assert design.ratings(3, 10, 5, 8).raters(0) == 0
    with pytest.raises(EvalkitError, match="pairs need two systems"):
        design.rounds(1)
