"""The benchmark of agreement simulates what it says, and writes its section from the record."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import agreement, agreement_report, sections
from evalkit.stats import rank_agreement
from tests.conftest import ROOT


def test_the_truth_is_what_many_simulated_systems_have() -> None:
    rng, found = np.random.default_rng(0), []
    for _ in range(40):
        quality, _, ratings = agreement.panel(150, 5, 10, rng)
        said = ratings.mean(axis=(1, 2))
        found.append(
            [rank_agreement.coefficients(metric.values, said)[1] for metric in agreement.measured(quality, rng)]
        )
    error = np.std(found, axis=0) / np.sqrt(len(found))
    true = [float(here[1]) for here, _ in agreement.truth(5, 10).values()]
    assert (np.abs(np.mean(found, axis=0) - true) < 4 * error).all()
    ever = [float(ever[1]) for _, ever in agreement.truth(5, 10).values()]
    assert all(here <= there for here, there in zip(true, ever, strict=True))  # noise brings them nearer to 0


def test_choices_are_made_of_all_systems_that_are_heard_in_pairs() -> None:
    ratings = np.random.default_rng(0).normal(size=(6, 3, 4))
    found = agreement.chosen(ratings, np.random.default_rng(1))
    assert found.played.sum() == 2 * 3 * 12 and (found.ties == found.ties.transpose(1, 0, 2, 3)).all()


def test_a_row_counts_what_evalkit_states(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_agreement, "DRAWN", 99)
    monkeypatch.setattr(agreement, "RESAMPLES", 20)
    four, six = (agreement.rated(systems, 3, 4, 3) for systems in (4, 6))
    assert four["said"]["claims"] == 0 and four["metrics"]["good"]["kendall"]["width"] is None
    found = six["metrics"]["good"]["kendall"]
    assert (found["of"], six["differences"]["kendall"]["of"]) == (3, 30) and 0 < found["width"] <= 2


def test_the_section_is_what_the_record_says() -> None:
    record = json.loads((ROOT / agreement_report.JSON).read_text("utf-8"))
    text = (ROOT / agreement_report.TEXT).read_text("utf-8")
    section = text.partition(f"{sections.HEADING}\n\n")[2]
    assert section == "\n".join(agreement_report.lines(record)).rstrip("\n") + "\n"
    claimed = [row for row in record["systems"] if row["systems"] >= record["least"]]
    assert len(claimed) >= 10 and not any(row["said"]["claims"] for row in record["systems"] if row not in claimed)
