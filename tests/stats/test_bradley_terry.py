"""Strengths from choices between two, against other packages and a general optimizer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from evalkit.stats import crossed
from evalkit.stats.bradley_terry import connected, fit, probabilities, shares, strengths


@pytest.fixture
def wins() -> np.ndarray:
    found = np.random.default_rng(0).integers(2, 30, (4, 4)).astype(float)
    np.fill_diagonal(found, 0)
    return found


@pytest.fixture
def ties() -> np.ndarray:
    upper = np.triu(np.random.default_rng(1).integers(1, 12, (4, 4)), 1).astype(float)
    return upper + upper.T


def test_without_ties_strengths_are_those_of_choix_and_evalica(wins: np.ndarray) -> None:
    import choix
    import evalica

    found, tie = fit(wins, np.zeros_like(wins), ridge=0)
    duels = [(i, j) for i in range(4) for j in range(4) for _ in range(int(wins[i, j]))]
    assert found == pytest.approx(choix.ilsr_pairwise(4, duels, alpha=0), abs=1e-6) and tie == -math.inf
    scores = evalica.bradley_terry(
        [str(i) for i, _ in duels], [str(j) for _, j in duels], [evalica.Winner.X] * len(duels), tolerance=1e-12
    ).scores
    logs = np.log(scores.loc[[str(k) for k in range(4)]].to_numpy())
    assert found == pytest.approx(logs - logs.mean(), abs=1e-4)


def test_with_ties_they_have_the_greatest_likelihood(wins: np.ndarray, ties: np.ndarray) -> None:
    def lost(x: np.ndarray) -> float:
        win, tie = probabilities(x[:4], np.array(x[4]))
        return float(-(wins * np.log(win)).sum() - (np.triu(ties, 1) * np.log(tie)).sum())

    found, tie = fit(wins, ties, ridge=0)
    best = minimize(lost, np.zeros(5), tol=1e-12).x
    assert found == pytest.approx(best[:4] - best[:4].mean(), abs=1e-4) and tie == pytest.approx(best[4], abs=1e-4)
    # the likelihood equations: as many wins and halves of ties are expected as were seen (Davidson 1970)
    win, alike = probabilities(found, tie)
    played = wins + wins.T + ties
    assert (played * (win + alike / 2)).sum(axis=1) == pytest.approx(wins.sum(axis=1) + ties.sum(axis=1) / 2)
    assert (played * alike).sum() == pytest.approx(ties.sum())


def test_the_two_outcomes_and_the_tie_are_all_there_is() -> None:
    win, tie = probabilities(np.array([0.3, -0.3, 1.0]), np.array(-0.5))
    assert win + win.T + tie == pytest.approx(np.ones((3, 3)))
    assert win[0, 1] / win[1, 0] == pytest.approx(math.exp(0.6))


def test_two_systems_have_the_odds_of_their_choices() -> None:
    wins = np.array([[0, 30], [10, 0.0]])
    found, _ = fit(wins, np.zeros((2, 2)), ridge=0)
    assert found[0] - found[1] == pytest.approx(math.log(3))
    assert shares(found, np.array(-math.inf)) == pytest.approx([0.75, 0.25])


def test_who_never_loses_is_strong_but_not_infinitely() -> None:
    wins = np.array([[0, 20, 20], [0, 0, 10], [0, 10, 0.0]])
    found, _ = fit(wins, np.zeros((3, 3)))
    assert np.isfinite(found).all() and found[0] > found[1] + 2 and found[1] == pytest.approx(found[2])
    nobody, _ = fit(np.zeros((3, 3)), np.zeros((3, 3)))
    assert nobody == pytest.approx(np.zeros(3))


def test_the_penalty_hardly_moves_what_many_choices_say(wins: np.ndarray, ties: np.ndarray) -> None:
    assert fit(wins, ties)[0] == pytest.approx(fit(wins, ties, ridge=0)[0], abs=0.005)


def test_several_are_fitted_at_once_as_one_by_one(wins: np.ndarray, ties: np.ndarray) -> None:
    both = np.stack([wins, wins.T]), np.stack([ties, np.zeros_like(ties)])
    found, tie = fit(*both)
    for k in range(2):
        one, alone = fit(both[0][k], both[1][k])
        assert found[k] == pytest.approx(one, abs=1e-9) and tie[k] == alone


def test_drawn_raters_and_prompts_count_as_often_as_they_were_drawn() -> None:
    rng = np.random.default_rng(2)
    wins = rng.poisson(0.4, (3, 3, 5, 4)).astype(float)
    wins[range(3), range(3)] = 0
    raters, prompts = np.array([[2, 0, 1, 1, 1.0]]), np.array([[0, 2, 1, 1.0]])
    found = strengths(wins, np.zeros_like(wins))(raters, prompts)[0]
    drawn = wins[:, :, [0, 0, 2, 3, 4]][:, :, :, [1, 1, 2, 3]].sum(axis=(2, 3))
    assert found == pytest.approx(fit(drawn, np.zeros((3, 3)))[0], abs=1e-9)


def test_systems_are_joined_by_way_of_others() -> None:
    chain = np.eye(4, k=1) + np.eye(4, k=-1)
    assert connected(chain)
    chain[1, 2] = chain[2, 1] = 0
    assert not connected(chain)


def test_intervals_cover_as_often_as_they_say() -> None:
    rng, truth, hits, trials = np.random.default_rng(3), np.array([0.5, 0.0, -0.5]), 0.0, 80
    for trial in range(trials):
        wins = np.zeros((3, 3, 8, 15))
        ties = np.zeros_like(wins)
        for i, j in ((0, 1), (0, 2), (1, 2)):
            win, tie = probabilities(truth, np.array(-1.0))
            u = rng.random((8, 15))
            wins[i, j], wins[j, i] = u < win[i, j], u > win[i, j] + tie[i, j]
            ties[i, j] = ties[j, i] = 1 - wins[i, j] - wins[j, i]
        found = crossed.estimates(strengths(wins, ties), crossed.draws(8, 15, 200, trial))
        ends = [one.interval(0.95) for one in found]
        hits += np.mean([low <= value <= high for value, (low, high) in zip(truth, ends, strict=True)])
    assert hits / trials >= 0.9
