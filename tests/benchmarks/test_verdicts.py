"""The benchmark of reproduction's verdicts draws what it says, counts what evalkit decides, and writes its section."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import sections, verdicts, verdicts_report
from evalkit.stats.equivalence import decide, over_seeds
from tests.conftest import ROOT


def test_verdicts_are_those_of_evalkit_one_by_one():
    rng = np.random.default_rng(0)
    ours, figures = rng.standard_normal((50, 3)) * 2 + 3, rng.standard_normal(50)
    said = [
        decide(over_seeds(float(x.mean() - y), float(x.std(ddof=1)), 3, 2, 0.3), 5.0, 0.1, 0.95)
        for x, y in zip(ours, figures, strict=True)
    ]
    found = verdicts.counted(ours, figures, 5.0, 0.1, 2, 0.3)
    assert {name: found[name] for name in verdicts.SAID} == {name: said.count(name) for name in verdicts.SAID}
    assert found["trials"] == 50 and len({*said}) > 1


@pytest.mark.parametrize("noise", verdicts.NOISE)
def test_seed_noise_has_mean_0_and_variance_1(noise):
    drawn = verdicts.NOISE[noise](np.random.default_rng(1), (200_000,))
    assert drawn.mean() == pytest.approx(0, abs=0.01)
    assert drawn.var() == pytest.approx(1, abs=0.2)  # of heavy tails the variance itself varies


def test_figures_are_rounded_by_no_more_than_they_say_to_a_grid_that_lies_anywhere():
    figures = np.linspace(-3, 3, 1001)
    moved = verdicts.rounded(figures, 0.5, np.random.default_rng(0)) - figures
    assert np.abs(moved).max() <= 0.5
    assert moved.std() == pytest.approx(1 / np.sqrt(12), rel=0.1)
    assert verdicts.rounded(figures, 0.0, np.random.default_rng(0)) is figures


def test_a_wrong_publisher_noise_is_seen_in_the_rates():
    same, louder = (verdicts.drawn(10, 30, 1.0, published_noise=noise, trials=3000) for noise in (1.0, 2.0))
    assert same["within"] / 3000 < 0.035
    assert louder["within"] / 3000 > 0.1


def test_without_an_error_for_missing_prompts_verdicts_are_wrong_too_often():
    rows = {m: verdicts.missing_of_mean(10, 0.9, 200, 150, 150, m, trials=2000) for m in ("at random", "known to none")}
    with_it, without = (max(row["within"]) / row["trials"] for row in rows.values())
    assert with_it < 0.04 < 0.06 < without
    row = rows["at random"]
    # what the two values are apart is the noise of a seed and of the mean of ten, and of which prompts they are of
    assert row["apart"] == pytest.approx(np.hypot(row["seed_sd"] * np.sqrt(1.1), row["error"]), rel=0.05)


def test_fads_of_seeds_share_prompts_and_references_and_no_more():
    found = verdicts.fads(3, 50, 8, 200)
    assert found.shape == (200, 3)
    alike = np.corrcoef(found.T)[np.triu_indices(3, 1)]
    assert (alike > 0.2).all() and (alike < 0.95).all()


def test_the_section_is_put_in_its_place_and_all_else_stays(tmp_path):
    path = tmp_path / "reproduce.md"
    path.write_text("# Reproduce\n\ntext\n\n## Error rates\n\nold\n\n### old\n\n## After\n\nmore\n")
    sections.replace(path, ["new", ""])
    assert path.read_text() == "# Reproduce\n\ntext\n\n## Error rates\n\nnew\n\n## After\n\nmore\n"
    sections.replace(path, ["newer"])
    assert path.read_text().count("new") == 1 and "newer" in path.read_text()
    path.write_text("# Reproduce\n\ntext\n")
    sections.replace(path, ["new"])
    assert path.read_text() == "# Reproduce\n\ntext\n\n## Error rates\n\nnew\n"


def test_the_section_is_what_the_record_says():
    record = json.loads((ROOT / verdicts_report.JSON).read_text("utf-8"))
    section = "\n".join(verdicts_report.lines(record))
    assert section.rstrip() in (ROOT / verdicts_report.TEXT).read_text("utf-8")
    assert all(f"### {name}" in section for name in ("At the end of the tolerance", "Missing prompts"))
