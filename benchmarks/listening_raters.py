"""Raters whose opinions are known, in designs of `evalkit listen make`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from evalkit.listening import design
from evalkit.stats import bradley_terry

VOTES = 5
POPULATION = 400_000  # ratings that the truth is the mean of
DECIDED = 4.0  # how far apart clips must feel for a choice


@dataclass(frozen=True)
class Opinions:
    """How raters rate.

    Attributes:
        bias, stretch: standard deviations over raters of a bias in points, and of the logarithm of how much of the
            scale they use.
        taste, hard, clip: standard deviations of what a rater thinks of a system, how hard a prompt is, and how well a
            system does on a prompt.
        noise: standard deviation of one rating.
        spam: share of raters who do not listen.
    """

    bias: float = 10.0
    stretch: float = 0.2
    taste: float = 5.0
    hard: float = 6.0
    clip: float = 7.0
    noise: float = 14.0
    spam: float = 0.0

    def think(self, mu: np.ndarray, shapes: Sequence[tuple[int, ...]], rng: np.random.Generator) -> np.ndarray:
        """Draw what raters think of clips, before noise.

        Args:
            mu: of systems, on the first axis.
            shapes: of what is drawn for raters, raters and systems, prompts, prompts and systems.
        """
        of_rater, of_both, of_prompt, of_clip = shapes
        liked = mu.reshape(-1, *[1] * (len(of_rater) - 1)) + rng.normal(0, self.taste, of_both)
        liked = liked + rng.normal(0, self.hard, of_prompt) + rng.normal(0, self.clip, of_clip)
        stretch = np.exp(rng.normal(0, self.stretch, of_rater))
        return 50 + rng.normal(0, self.bias, of_rater) + stretch * (liked - 50)

    def rate(self, thought: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Make ratings: with noise, whole, and of the scale."""
        return np.clip(np.round(thought + rng.normal(0, self.noise, thought.shape)), 1, 100)


def choose(gap: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make choices of how far clips lie apart: 1 for the first, −1 for the second, 0 for a tie."""
    felt = gap + rng.logistic(0, 8, gap.shape)
    return np.sign(felt) * (np.abs(felt) > DECIDED)


def mus(systems: int, gap: float) -> np.ndarray:
    """What systems are rated: one better than all others, which are equal."""
    return np.array([60 + gap, *[60.0] * (systems - 1)])


@cache
def true_means(mu: tuple[float, ...], about: Opinions) -> np.ndarray:
    """The mean rating of each system by infinitely many raters of infinitely many prompts."""
    rng = np.random.default_rng(0)
    one, all_systems = (1, POPULATION), (len(mu), POPULATION)
    thought = about.think(np.array(mu), (one, all_systems, one, all_systems), rng)
    honest = about.rate(thought, rng).mean(axis=1)
    found: np.ndarray = (1 - about.spam) * honest + about.spam * 50.5
    return found


@cache
def true_strengths(mu: tuple[float, ...], about: Opinions) -> np.ndarray:
    """The strengths that fit the choices of infinitely many raters on infinitely many prompts."""
    rng, n = np.random.default_rng(0), len(mu)
    wins, ties = np.zeros((n, n)), np.zeros((n, n))
    thought = about.think(np.array(mu), ((1, POPULATION), (n, POPULATION), (1, POPULATION), (n, POPULATION)), rng)
    for i, j in itertools.combinations(range(n), 2):
        chosen = choose((thought[i] - thought[j]) * (rng.random(POPULATION) >= about.spam), rng)
        wins[i, j], wins[j, i] = (chosen > 0).sum(), (chosen < 0).sum()
        ties[i, j] = ties[j, i] = (chosen == 0).sum()
    return bradley_terry.fit(wins, ties)[0]


def thoughts(mu: np.ndarray, raters: int, prompts: int, about: Opinions, rng: np.random.Generator) -> np.ndarray:
    """What each rater thinks of each clip, (systems, raters, prompts)."""
    n = len(mu)
    return about.think(mu, ((1, raters, 1), (n, raters, 1), (1, 1, prompts), (n, 1, prompts)), rng)


def asked(systems: int, raters: int, prompts: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """How often each rater rates each clip, (systems, raters, prompts), in a design with pages of `size` systems."""
    plan = design.ratings(systems, prompts, VOTES, size)
    counts = np.zeros((systems, raters, prompts))
    for rater, pages in enumerate(design.rating_sessions(plan, raters, rng)):
        for prompt, on_page in pages:
            counts[list(on_page), rater, prompt] += 1
    return counts


def rated(
    mu: np.ndarray, raters: int, prompts: int, size: int, about: Opinions, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts of ratings, (systems, raters, prompts), in a design with pages of `size` systems."""
    counts = asked(len(mu), raters, prompts, size, rng)
    values = about.rate(thoughts(mu, raters, prompts, about, rng), rng)
    spam = rng.random(raters) < about.spam
    values[:, spam] = rng.integers(1, 101, values[:, spam].shape)
    return values * counts, counts


def compared(
    mu: np.ndarray, raters: int, prompts: int, about: Opinions, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Wins and ties, (systems, systems, raters, prompts)."""
    n = len(mu)
    plan = design.comparisons(n, prompts, VOTES)
    thought = thoughts(mu, raters, prompts, about, rng)
    spam = rng.random(raters) < about.spam
    wins, ties = np.zeros((n, n, raters, prompts)), np.zeros((n, n, raters, prompts))
    for rater, pages in enumerate(design.pair_sessions(plan, raters, rng)):
        for prompt, (i, j) in pages:
            gap = 0.0 if spam[rater] else thought[i, rater, prompt] - thought[j, rater, prompt]
            chosen = choose(np.array(gap), rng)
            if chosen:
                first, second = (i, j) if chosen > 0 else (j, i)
                wins[first, second, rater, prompt] += 1
            else:
                ties[i, j, rater, prompt] += 1
                ties[j, i, rater, prompt] += 1
    return wins, ties
