"""Who hears what, and in which order: blocks, Latin squares, balanced pairs.

A block is what one rater hears of one prompt: a page of several systems, or one round of comparisons. Blocks of all
prompts, put in one row, have windows 0, 1, 2, … of the systems in turn, and so have those of all raters. As windows
that follow one another hold every system equally often, both prompts and raters hear all systems equally often. Pages
that do not hold all systems are mixed afterwards (`evalkit.listening.blocks`), as neighbours would meet too often.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from evalkit.errors import EvalkitError
from evalkit.listening.blocks import mixed, ordered

TRIES = 50  # of dealing blocks to raters, which hardly ever fails once where there is a way

Page = tuple[int, tuple[int, ...]]  # a prompt, and the systems that are heard of it, in order


@dataclass(frozen=True)
class Plan:
    """How large a test is.

    Attributes:
        windows: groups of systems, one of which is heard of a prompt by one rater: pages of one rating each, or
            rounds of pairs.
        blocks: how many raters hear something of each prompt, by prompt.
        pages: in a block.
    """

    windows: Sequence[Sequence[tuple[int, ...]]]
    blocks: Sequence[int]

    @property
    def pages(self) -> int:
        return len(self.windows[0])

    @property
    def total(self) -> int:
        return sum(self.blocks)

    def raters(self, pages: int) -> int:
        """How many raters are needed where each has time for some pages, and hears of no prompt twice."""
        most = min(pages // self.pages, len(self.blocks))
        return 0 if most < 1 else max(math.ceil(self.total / most), *self.blocks)


def ratings(systems: int, prompts: int, votes: int, size: int) -> Plan:
    """Plan pages of at most `size` systems, so that every system of every prompt is rated at least `votes` times."""
    size = min(size, systems)
    count = systems // math.gcd(systems, size)
    windows = [[tuple((index * size + i) % systems for i in range(size))] for index in range(count)]
    return Plan(windows, [math.ceil(votes * systems / size)] * prompts)


def comparisons(systems: int, prompts: int, votes: int) -> Plan:
    """Plan pairs, so that every system of every prompt is compared at least `votes` times, and all pairs equally often.

    Of some prompts there is one round more than of others, so that all rounds come equally often.
    """
    windows = rounds(systems)
    each = votes if systems % 2 == 0 else math.ceil(votes / 2)
    total = math.ceil(prompts * each / len(windows)) * len(windows)
    return Plan(windows, [total // prompts + (prompt < total % prompts) for prompt in range(prompts)])


def rounds(systems: int) -> list[list[tuple[int, ...]]]:
    """All pairs of systems in rounds, each of which has every system once, or twice of an odd number of systems."""
    if systems < 2:
        raise EvalkitError("pairs need two systems: give another record, or leave the hidden control in")
    if systems % 2 == 0:  # the circle method
        last = systems - 1
        return [
            [(last, turn), *(((turn + i) % last, (turn - i) % last) for i in range(1, systems // 2))]
            for turn in range(last)
        ]
    last = systems - 1  # Walecki's circles through all systems
    zigzag = [(-1) ** (i + 1) * ((i + 1) // 2) % last for i in range(last)]
    return [
        list(itertools.pairwise([last, *((stop + turn) % last for stop in zigzag), last]))
        for turn in range(last // 2)
    ]  # fmt: skip


def williams(size: int) -> list[list[int]]:
    """Orders of some things in which each stands at each place, and behind each other one, equally often."""
    first = [i // 2 if i % 2 == 0 else size - 1 - i // 2 for i in range(size)]
    rows = [[(one + turn) % size for one in first] for turn in range(size)]
    return rows if size % 2 == 0 else rows + [row[::-1] for row in rows]


def deal(plan: Plan, raters: int, rng: np.random.Generator) -> list[list[tuple[int, int]]]:
    """Give each rater blocks, a prompt and a window each, of no prompt twice, and as many as any other but for one.

    Raises EvalkitError for fewer raters than prompts have blocks.
    """
    prompts = len(plan.blocks)
    if plan.total > raters * prompts or max(plan.blocks) > raters:
        raise EvalkitError(
            f"{raters} raters cannot hear {max(plan.blocks)} different parts of every prompt: give more raters, "
            "or fewer --votes"
        )
    for _ in range(TRIES):
        dealt = _dealt(plan, raters, rng)
        if dealt is not None:
            return dealt
    raise EvalkitError("no balanced plan was found: give another number of --raters or --prompts")


def _dealt(plan: Plan, raters: int, rng: np.random.Generator) -> list[list[tuple[int, int]]] | None:
    count = len(plan.windows)
    left = np.zeros((count, len(plan.blocks)), int)
    turn = int(rng.integers(count))
    for prompt in rng.permutation(len(plan.blocks)):
        for _ in range(plan.blocks[prompt]):
            left[turn % count, prompt] += 1
            turn += 1
    turn -= plan.total
    dealt = []
    for rater in range(raters):
        many = plan.total * (rater + 1) // raters - plan.total * rater // raters
        wanted = [(turn + i) % count for i in range(many)]
        turn += many
        # whoever has most left comes first, else the last raters would have to hear of one prompt twice
        cost = np.where(left[wanted] > 0, -left.sum(0)[None] + rng.random((many, len(plan.blocks))) * 0.9, 1e9)
        rows, chosen = linear_sum_assignment(cost)
        if len(rows) < many or (cost[rows, chosen] >= 1e9).any():
            return None
        own = [(int(prompt), wanted[row]) for row, prompt in zip(rows, chosen, strict=True)]
        for prompt, window in own:
            left[window, prompt] -= 1
        dealt.append([own[i] for i in rng.permutation(many)])
    return dealt


def rating_sessions(plan: Plan, raters: int, rng: np.random.Generator) -> list[list[Page]]:
    """The pages of each rater: in the orders of a Latin square where all systems are on each, else mixed evenly."""
    windows = [window[0] for window in plan.windows]
    dealt = deal(plan, raters, rng)
    if len(windows) == 1:
        orders = itertools.cycle(williams(len(windows[0])))
        return [[(prompt, tuple(next(orders))) for prompt, _ in own] for own in dealt]
    systems = len({system for window in windows for system in window})
    given = [(rater, prompt, set(windows[window])) for rater, own in enumerate(dealt) for prompt, window in own]
    pages = iter(ordered(mixed(given, systems, rng), systems, rng))
    return [[(prompt, next(pages)) for prompt, _ in own] for own in dealt]


def pair_sessions(plan: Plan, raters: int, rng: np.random.Generator) -> list[list[Page]]:
    """The pages of each rater, on which of each pair either system is the first one equally often."""
    many = len({system for window in plan.windows for pair in window for system in pair})
    seen: Counter[frozenset[int]] = Counter()

    def page(prompt: int, pair: tuple[int, ...]) -> Page:
        first, second = sorted(pair)
        ahead = (second - first) * 2 <= many  # so that the odd one of each pair makes no system the first more often
        turned = seen[frozenset(pair)] % 2
        seen[frozenset(pair)] += 1
        return prompt, (first, second) if ahead ^ bool(turned) else (second, first)

    sessions = []
    for blocks in deal(plan, raters, rng):
        own = [(prompt, pair) for prompt, window in blocks for pair in plan.windows[window]]
        sessions.append([page(*own[i]) for i in rng.permutation(len(own))])
    return sessions
