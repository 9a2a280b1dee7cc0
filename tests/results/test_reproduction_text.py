"""What is said at the end of a reproduction: one line of each metric, and every reason below it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest

import evalkit
from evalkit.report import renderer
from evalkit.results.beside import compared
from evalkit.results.evidence import Evidence
from evalkit.results.frames import SCORES, typed
from evalkit.results.published import load_published
from evalkit.results.record import Record
from evalkit.results.reproduction_text import document, listings
from evalkit.results.result import Result
from evalkit.settings import conf_dir

from .made import FORMS, comparable_record, of_these_prompts

SD = {"fad": 0.02, "kld": 0.001, "clap_score": 0.0003}
VALUES = {"fad": 4.9034, "kld": 1.4631, "clap_score": 0.2689}
CARD = load_published(conf_dir() / "published")


def made(
    checkpoint: str, values: Mapping[str, float] = VALUES, n: int = 12, sets: int = 3, **changes: object
) -> Record:
    """A record of a checkpoint beside the model card, as if that were of the record's prompts."""
    record = comparable_record(checkpoint, values)
    scores = record.scores.copy()
    sd = [SD[metric] if sets > 1 else math.nan for metric in scores["metric"]]
    scores = scores.assign(sets=sets, seed_sd=sd, spread=scores["value"], n=n, **changes)
    record = dataclasses.replace(record, scores=scores)
    published = of_these_prompts(record, CARD)
    return dataclasses.replace(record, scores=typed(compared(record, published), SCORES))


def text(record: Record, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    said = renderer("terminal")(document(record))
    assert max(map(len, said.splitlines())) <= 80
    return said


def row(said: str, metric: str) -> list[str]:
    """The words of the two lines of a metric."""
    first, second = next(
        pair for pair in zip(said.splitlines(), said.splitlines()[1:], strict=False) if pair[0].startswith(f"{metric} ")
    )
    return [*first.split(), *second.split()]


def test_the_table_has_everything_that_a_verdict_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    said = text(made("facebook/musicgen-small"), monkeypatch)
    fad = ["fad", "4.903", "3", "100%", "+0.023", "REPRODUCED", "0.020", "12", "4.88", "[-0.081,", "0.128]", "0.146"]
    assert row(said, "fad") == fad
    assert row(said, "kld")[5:7] == ["DIFFERS", "(higher)"] and row(said, "clap_score")[5] == "REPRODUCED"
    words = " ".join(said.split())
    assert "3 published values: 2 reproduced, 1 differs" in words
    assert "fad: REPRODUCED: difference +0.023 [-0.081, 0.128] is within ±0.146" in words
    assert "fad: tolerance ±0.146, rounding ±0.005: ports of VGGish differ by 2 to 5 %" in words
    assert "all of this as far as is known: not verified, because too little was published: references; " in words
    assert "published: MusicGen model card, https://" in words


def test_prompts_that_are_missing_are_said_in_n_share_and_reason_and_nothing_is_marked_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = text(made("facebook/musicgen-small", n=11), monkeypatch)
    cells = row(said, "fad")
    assert cells[3] == "92%" and "11" in cells and "4.88" in cells and "UNDECIDED" in cells and "*" not in said
    assert "3 published values: 3 undecided" in " ".join(said.split()) and "1 more reference" in " ".join(said.split())


def test_of_one_seed_there_is_no_noise_and_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    said = text(made("facebook/musicgen-small", sets=1), monkeypatch)
    words = " ".join(said.split())
    assert "seed sd" not in words.casefold() and "interval" not in words and words.count("UNDECIDED") == 4
    assert " UNDECIDED: 3 seeds or more are needed" in words


def test_what_is_said_of_an_older_record_lacks_the_number_of_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    record = made("facebook/musicgen-small")
    older = dataclasses.replace(record, scores=record.scores.assign(published_n=math.nan, because=""))
    said = text(older, monkeypatch)
    assert "100%" in text(record, monkeypatch) and "100%" not in said and row(said, "fad")[3] == "4.88"
    assert "fad: tolerance ±0.146, rounding ±0.005\n" in said


@pytest.mark.parametrize("sets", [3, 1])
def test_the_saved_record_says_the_same_and_its_own_table_has_the_verdicts_where_seeds_can_decide(
    sets: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = made("facebook/musicgen-small", sets=sets)
    (tmp_path / "runs" / "features").mkdir(parents=True)
    record = dataclasses.replace(record, evidence=Evidence(record.evidence.index, tmp_path / "runs" / "features"))
    Result(**{field.name: getattr(record, field.name) for field in dataclasses.fields(record)}).save(tmp_path / "a")
    loaded = evalkit.load(tmp_path / "a")
    assert isinstance(loaded, Result) and text(loaded, monkeypatch) == text(record, monkeypatch)
    said = renderer("terminal")(loaded.document())
    assert max(map(len, said.splitlines())) <= 80
    before, found, after = said.partition("Against what was published\n")
    assert bool(found) == (sets == 3) and "tolerance ±" not in before
    if sets == 3:
        assert row(after, "fad") == row(text(record, monkeypatch), "fad") and "tolerance ±0.146, rounding" in after
    for form in ("csv", "json"):  # of machines, which have all of this in columns
        assert "Against what was published" not in renderer(form)(loaded.document())


def test_a_result_of_which_a_model_claims_no_checkpoint_has_no_table_of_verdicts() -> None:
    record = made("facebook/musicgen-small")
    assert len(listings(record)) == 1
    assert listings(dataclasses.replace(record, scores=record.scores.assign(verdict=["", *["REPRODUCED"] * 2]))) == []
    calibration = {"m": dataclasses.replace(record.rows["m"], calibration=True)}
    assert listings(dataclasses.replace(record, rows=calibration)) == []


def test_beside_a_stereo_checkpoint_stands_the_mono_one_as_context(monkeypatch: pytest.MonkeyPatch) -> None:
    said = text(made("facebook/musicgen-stereo-small"), monkeypatch)
    before, _, after = said.partition("For context only: facebook/musicgen-small")
    assert "4.88" not in before and before.count("NOT COMPARABLE") == 3 and "not verified" not in before
    lines = [line.split() for line in after.splitlines()]
    assert ["fad", "4.903", "4.88", "+0.023"] in lines and ["kld", "1.463", "1.42", "+0.043"] in lines
    assert "REPRODUCED" not in after and "another checkpoint" in " ".join(after.split())


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_verdicts(form: str) -> None:
    said = renderer(form)(document(made("facebook/musicgen-small")))
    assert "REPRODUCED" in said and "DIFFERS (higher)" in said and "4.88" in said
    if form == "json":
        first = json.loads(said)["table"][0]
        assert (first["coverage"], first["sets"], first["verdict"]) == (1.0, 3, "REPRODUCED")
        assert first["difference_low"] == pytest.approx(-0.081, abs=1e-3)
