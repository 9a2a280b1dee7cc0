"""Pages that hold some of the systems: which systems share a page, and in which order they stand.

What is counted goes down in small steps, as no construction fits every number of systems, prompts and raters: two
systems change places between blocks of one rater or of one prompt, or between the four blocks that two raters and two
prompts have in common. So each rater and each prompt keeps every system as often as before, up to what is allowed.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

STEPS = 120  # tried, for each block
WARM = 3.0  # how much worse a step may be at the beginning, about
PERMUTATIONS = 300  # looked at, for each page
PASSES = 3
OTHER = {"rater": "prompt", "prompt": "rater"}

Block = tuple[int, int, set[int]]  # rater, prompt, systems
Step = list[tuple[int, int, int]]  # blocks, with the system that each loses, and the one that it gets


def mixed(blocks: Sequence[Block], systems: int, rng: np.random.Generator) -> list[set[int]]:
    """Change blocks so that any two systems share a page about equally often.

    Each rater, and each prompt, has every system equally often up to one before and afterwards.
    """
    found = _Mixing(blocks, systems, rng)
    for left in range(STEPS * len(blocks), 0, -1):
        if left % 500 == 0 and found.spread() <= 1:
            break
        found.step(WARM * left / (STEPS * len(blocks)))
    return found.sets


class _Mixing:
    def __init__(self, blocks: Sequence[Block], systems: int, rng: np.random.Generator):
        self.whose = {"rater": [block[0] for block in blocks], "prompt": [block[1] for block in blocks]}
        self.sets = [set(block[2]) for block in blocks]
        self.systems, self.draws = systems, _draws(rng)
        self.together = [[0] * systems for _ in range(systems)]
        self.at = {(rater, prompt): place for place, (rater, prompt, _) in enumerate(blocks)}
        self.of: dict[str, dict[int, list[int]]] = {"rater": defaultdict(list), "prompt": defaultdict(list)}
        self.counts: dict[str, Counter[tuple[int, int]]] = {"rater": Counter(), "prompt": Counter()}
        for place, own in enumerate(self.sets):
            for one in own:
                for other in own - {one}:
                    self.together[one][other] += 1
            for kind, whose in self.whose.items():
                self.of[kind][whose[place]].append(place)
                self.counts[kind].update((whose[place], one) for one in own)

    def spread(self) -> int:
        """By how much the pairs that share most and fewest pages differ."""
        counts = [self.together[i][j] for i in range(self.systems) for j in range(i)]
        return max(counts) - min(counts)

    def step(self, warmth: float) -> None:
        """Try one change, and keep it if pairs are more even then, or not much less."""
        first = self._any(range(len(self.sets)))
        kind = ("rater", "prompt", "both")[self._any(range(3))]
        step = self._among_four(first) if kind == "both" else self._between_two(first, kind)
        if not step:
            return
        worse = sum(self._change(*one) for one in step)
        if worse > 0 and (warmth <= 0 or next(self.draws) >= math.exp(-worse / warmth)):
            for place, gone, new in reversed(step):
                self._change(place, new, gone)
        elif kind != "both":
            for place, gone, new in step:
                self.counts[OTHER[kind]][self.whose[OTHER[kind]][place], gone] -= 1
                self.counts[OTHER[kind]][self.whose[OTHER[kind]][place], new] += 1

    def _between_two(self, first: int, kind: str) -> Step:
        """Change two systems between blocks of one rater or prompt, which the other kind must have room for."""
        second = self._any(self.of[kind][self.whose[kind][first]])
        mine, yours = sorted(self.sets[first] - self.sets[second]), sorted(self.sets[second] - self.sets[first])
        if not mine or not yours:
            return []
        x, y = self._any(mine), self._any(yours)
        counts, a, b = self.counts[OTHER[kind]], self.whose[OTHER[kind]][first], self.whose[OTHER[kind]][second]
        # who has a system more often than another one may lose it for that one
        fits = counts[a, x] > counts[a, y] and counts[b, y] > counts[b, x]
        return [(first, x, y), (second, y, x)] if fits else []

    def _among_four(self, first: int) -> Step:
        """Change two systems among the blocks of two raters and two prompts, which changes nobody's counts."""
        raters, prompts = self.whose["rater"], self.whose["prompt"]
        second, third = self._any(self.of["rater"][raters[first]]), self._any(self.of["prompt"][prompts[first]])
        fourth = self.at.get((raters[third], prompts[second]))
        if fourth is None or second == first or third == first:
            return []
        a, b, c, d = (self.sets[place] for place in (first, second, third, fourth))
        mine, yours = sorted((a & d) - b - c), sorted((b & c) - a - d)
        if not mine or not yours:
            return []
        x, y = self._any(mine), self._any(yours)
        return [(first, x, y), (second, y, x), (third, y, x), (fourth, x, y)]

    def _change(self, place: int, gone: int, new: int) -> int:
        """Put a system into a block for another one; returns by how much that makes pairs more uneven."""
        own, worse = self.sets[place], 0
        own.remove(gone)
        less, more = self.together[gone], self.together[new]
        for one in own:
            worse += more[one] - less[one] + 1
            less[one] -= 1
            more[one] += 1
            self.together[one][gone] -= 1
            self.together[one][new] += 1
        own.add(new)
        return worse

    def _any(self, things: Sequence[int]) -> int:
        return things[int(next(self.draws) * len(things))]


def _draws(rng: np.random.Generator) -> Iterator[float]:
    while True:
        yield from rng.random(10_000).tolist()


def ordered(pages: Sequence[set[int]], systems: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Order each page so that each system stands at each place, and behind each other one, about equally often."""
    size = len(pages[0])
    places, behind = np.zeros((systems, size), int), np.zeros((systems, systems), int)
    found = [np.array(sorted(page)) for page in pages]
    for turn in range(PASSES):
        for number, page in enumerate(found):
            if turn:
                places[page, range(size)] -= 1
                behind[page[:-1], page[1:]] -= 1
            tried = rng.permuted(np.tile(page, (PERMUTATIONS, 1)), axis=1)
            tried[0] = page
            cost = places[tried, range(size)].sum(1) + behind[tried[:, :-1], tried[:, 1:]].sum(1)
            found[number] = page = tried[int(cost.argmin())]
            places[page, range(size)] += 1
            behind[page[:-1], page[1:]] += 1
    return [tuple(page.tolist()) for page in found]
