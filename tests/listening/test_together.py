"""A listening test from the record to the record: made, served, answered and analysed."""

from __future__ import annotations

from pathlib import Path

import pytest

import evalkit as package
from evalkit.listening.study import Study
from evalkit.results.listening import Listening
from tests.conftest import Run
from tests.listening.made import NAMES, result
from tests.listening.test_serving import answers, ask, link, serve

LIKED = {NAMES[0]: 35, NAMES[1]: 60, "reference": 85, "control: noise": 10}


@pytest.mark.parametrize("method", ["rating", "pairs"])
def test_what_raters_send_is_what_is_analysed(evalkit: Run, tmp_path: Path, method: str) -> None:
    record = result(tmp_path / "result", prompts=6)  # one is for practice
    folder = tmp_path / "study"
    asked = ["--axis", "quality", "--method", method, "--output", str(folder), "--quiet"]
    assert evalkit("listen", "make", str(record.path), *asked)[0] == 0
    made = Study.load(folder)
    system_of = {item: fact["system"] for item, fact in made.facts["items"].items()}
    with serve(made) as server:
        for number, session in enumerate(made.sessions):
            given = answers(made, session, finished=True, rater=session)
            for place, one in enumerate(given["answers"]):
                if method == "rating":
                    one["rating"] = LIKED[system_of[one["item"]]] + number % 3 + place % 5
                else:
                    first, second = (LIKED[system_of[item]] for item in one["items"])
                    one["choice"] = "first" if first > second else "second"
            assert ask(server, "POST", link(server, session), given)[0] == 200
    code, out, err = evalkit("listen", "analyse", str(folder), "--output", str(tmp_path / "analysed"), "--json")
    assert code == 0, err
    assert str(tmp_path / "analysed") in out + err
    analysed = package.load(next((tmp_path / "analysed").rglob("result.json")).parent)
    assert isinstance(analysed, Listening) and analysed.judged
    ranked = analysed.systems.sort_values("value")["system"]
    assert list(ranked) == sorted(LIKED, key=LIKED.__getitem__)
    assert analysed.raters_kept == len(made.sessions)
    assert dict(zip(analysed.scores["system"], analysed.scores["value"], strict=True))[NAMES[1]] == 1.0
