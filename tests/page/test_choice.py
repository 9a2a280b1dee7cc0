"""The prompts that a page shows first: extremes, typical ones, and what differs most between systems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evalkit.page.choice import CARDS, Choice, choose
from evalkit.page.sections.clips import _lanes
from evalkit.page.sources import REFERENCE, sources
from evalkit.page.view import System, View, view
from evalkit.results.comparison import Comparison
from evalkit.results.result import Result
from tests.page.pages import swept_in
from tests.page.tones import METRICS, changed, result
from tests.results import made_comparison

IDS = ("p0", "p1", "p2", "p3", "p4")


def shown(made: Result, folder: Path) -> View:
    return view([made], folder / "report.html")


def reasons(view: View) -> dict[str, list[str]]:
    return {choice.id: [f"{r.text}: {r.detail}" for r in choice.reasons] for choice in choose(view, sources(view))}


def values(kld: Mapping[str, list[float]], clap: Mapping[str, list[float]]) -> dict[tuple[str, str, str], float]:
    of = {"kld": kld, "clap_score": clap}
    return {(row, id, name): of[name][row][i] for name in METRICS for row in kld for i, id in enumerate(IDS)}


def test_of_one_system_the_worst_best_and_typical_by_each_metric_are_chosen(tmp_path: Path) -> None:
    given = values({"one": [0.1, 0.5, 9.0, 0.6, 0.4]}, {"one": [0.1, 0.2, 0.0, 0.5, 0.3]})
    made = shown(result(tmp_path, ("one",), IDS, given), tmp_path)
    assert reasons(made) == {
        "p2": ["worst by KLD: 9.000", "worst by CLAP score: 0.000"],  # one card for two reasons
        "p0": ["best by KLD: 0.100"],
        "p3": ["best by CLAP score: 0.500"],
        "p1": ["typical by KLD: 0.500", "typical by CLAP score: 0.200"],
    }


def test_a_metric_without_a_better_direction_has_highest_and_lowest(tmp_path: Path) -> None:
    made = result(tmp_path, ("one",), IDS)
    undirected = {name: replace(info, higher_is_better=None) for name, info in made.metrics.items()}
    said = [text for found in reasons(shown(replace(made, metrics=undirected), tmp_path)).values() for text in found]
    assert {text.partition(" by ")[0] for text in said} == {"highest", "lowest", "typical"}


def test_a_value_that_many_clips_have_chooses_none_of_them(tmp_path: Path) -> None:
    given = values({"one": [0.0, 0.0, 0.0, 0.0, 1.0]}, {"one": [0.5] * 5})
    assert reasons(shown(result(tmp_path, ("one",), IDS, given), tmp_path)) == {"p4": ["worst by KLD: 1.000"]}


def test_each_of_a_few_systems_has_its_own_and_the_prompt_where_they_differ_most(tmp_path: Path) -> None:
    given = values(
        {"one": [1.0, 2.0, 3.0, 4.0, 5.0], "two": [1.1, 2.1, 3.1, 0.1, 5.1]},
        {"one": [0.1, 0.2, 0.3, 0.4, 0.5], "two": [0.1, 0.2, 0.3, 0.4, 0.5]},
    )
    found = reasons(shown(result(tmp_path, ("one", "two"), IDS, given), tmp_path))
    assert found["p4"][:2] == ["worst by KLD: one 5.000", "worst by KLD: two 5.100"]
    assert "furthest apart by KLD: two 0.100, one 4.000" in found["p3"]
    assert not any("furthest apart by CLAP" in text for texts in found.values() for text in texts)


def test_of_many_systems_the_extremes_of_all_are_chosen(tmp_path: Path) -> None:
    made = result(tmp_path, ("one",), IDS)
    names = [f"m{i}" for i in range(5)]
    systems = [System(name, "model", made, "one") for name in names]
    found = reasons(replace(shown(made, tmp_path), systems=systems))
    assert sum(len(texts) for texts in found.values()) == 2 * 3  # of five that are alike: nothing is apart


def test_a_prompt_has_one_card_and_there_are_few(tmp_path: Path) -> None:
    ids = [f"p{i}" for i in range(40)]
    rng = np.random.default_rng(0)
    given = {(row, id, name): rng.normal() for row in ("one", "two", "three") for id in ids for name in METRICS}
    made = result(tmp_path, ("one", "two", "three"), ids[:2], {})
    clips = made.clips.iloc[[0] * 120].reset_index(drop=True)
    clips["model"], clips["id"] = ["one", "two", "three"] * 40, [id for id in ids for _ in range(3)]
    for name in METRICS:
        clips[name] = [given[row, id, name] for row, id in zip(clips["model"], clips["id"], strict=True)]
    chosen = choose(one := shown(replace(made, clips=clips), tmp_path), sources(one))
    assert len(chosen) == CARDS == len({choice.id for choice in chosen})
    metrics = [choice.reasons[0].metric for choice in chosen]
    assert set(metrics) == set(METRICS)


def test_a_calibration_row_is_heard_but_chooses_nothing(tmp_path: Path) -> None:
    made = result(tmp_path, ("one", "two"), IDS)
    systems = [System("noise", "calibration", made, "two"), System("model", "model", made, "one")]
    one = replace(shown(made, tmp_path), systems=systems)
    found = sources(one)
    chosen = choose(one, found)
    assert {maker for choice in chosen for reason in choice.reasons for maker in reason.makers} == {1}
    assert [source.maker for source in _lanes(found, chosen[0])] == [1, 0, REFERENCE]


def test_of_several_clips_of_a_prompt_the_one_that_was_chosen_is_shown(tmp_path: Path) -> None:
    made = result(tmp_path, ("one", "two"), ("p0", "p1", "p2"))
    second = made.clips[made.clips["model"] == "one"].assign(sample=2)
    second.loc[second["id"] == "p1", "kld"] = 50.0
    one = shown(replace(made, clips=pd.concat([made.clips, second], ignore_index=True)), tmp_path)
    found = sources(one)
    chosen = choose(one, found)
    assert (chosen[0].id, chosen[0].sample, chosen[0].reasons[0].detail) == ("p1", 2, "one 50.000")
    assert [(source.maker, source.sample) for source in _lanes(found, chosen[0])] == [(0, 2), (1, 1), (REFERENCE, 1)]


def test_a_clip_that_cannot_be_used_is_not_chosen(tmp_path: Path) -> None:
    given = values({"one": [0.1, 0.5, 9.0, 0.6, 0.4]}, {"one": [0.1, 0.2, 0.0, 0.5, 0.3]})
    made = changed(result(tmp_path, ("one",), IDS, given), {"id": "p2"}, status="missing", reason="no file")
    assert "p2" not in reasons(shown(made, tmp_path))
    found = sources(shown(made, tmp_path)).prompts["p2"]
    assert [(source.maker, source.clip.status) for source in found] == [(0, "missing"), (REFERENCE, "ok")]


def compared(moved: list[dict[str, Any]]) -> Comparison:
    metrics = [
        made_comparison.metric("kld", direction="lower"),
        made_comparison.metric("clap_score", direction="higher"),
    ]
    return made_comparison.comparison(metrics, prompts=moved)


def test_of_a_comparison_the_most_changed_come_first_even_where_the_results_are_gone(tmp_path: Path) -> None:
    moved = [
        made_comparison.moved("p0", "kld"),
        made_comparison.moved("p1", "kld", baseline=3.0, candidate=1.0, change="better"),
        made_comparison.moved("p0", "clap_score", baseline=0.3, candidate=0.1),
    ]
    made = view([compared(moved)], tmp_path / "report.html")
    assert not made.systems
    found = sources(made)
    assert found.systems == [("musicgen_small", "baseline"), ("finetuned", "candidate")]
    assert [source.clip.sha256 for source in found.prompts["p0"]] == ["1" * 64, "2" * 64, "3" * 64]
    chosen = choose(made, found)
    assert [choice.id for choice in chosen] == ["p0", "p1"]
    texts = [[reason.text for reason in choice.reasons] for choice in chosen]
    assert texts[0][:2] == ["worsened most by KLD", "worsened most by CLAP_SCORE"]
    assert texts[1][0] == "improved most by KLD"
    assert found.prompts["p0"][1].values == {"kld": 3.2, "clap_score": 0.1}


def test_of_a_sweep_the_winner_is_set_against_the_default(tmp_path: Path) -> None:
    swept = replace(swept_in(tmp_path / "sweep"), winner=2)
    shown = view([swept], tmp_path / "report.html")
    before, after = shown.systems
    assert (before.role, after.role) == ("default", "winner")
    chosen: list[Choice] = choose(shown, sources(shown))
    clips = [system.clips.set_index("id")["kld"] for system in (before, after)]
    change = clips[1] - clips[0]
    found = {reason.text: (choice.id, reason.detail) for choice in chosen for reason in choice.reasons}
    for text, id in (("worsened", change.idxmax()), ("improved", change.idxmin())):
        values = " → ".join(f"{one[id]:.3f}" for one in clips)
        assert found[f"{text} most by KLD"] == (id, f"{before.name} → {after.name}: {values}")
    assert chosen[0].reasons[0].text.startswith("worsened most by ")
