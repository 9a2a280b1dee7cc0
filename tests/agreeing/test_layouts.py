"""Reading what people said: every layout in its true form, and one clear line for everything that is wrong."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from evalkit.agreeing import layouts
from evalkit.agreeing.layouts import Asked
from evalkit.agreeing.opinions import COLUMNS, Opinions
from evalkit.errors import EvalkitError
from evalkit.listening import reading, rules
from evalkit.listening.analysing import analyse

from ..conftest import ROOT
from ..listening import answered
from . import made

CLIP = "audiomos2025-track1-S001_P001.wav"


def read(path: Path, score: str | None = None, layout: str | None = None, **called: str) -> Opinions:
    return layouts.read(path, layout, Asked(score, called))


def test_musiceval_has_single_ratings_of_two_questions(tmp_path: Path) -> None:
    systems, how_good = made.names(3), made.quality(3)
    ratings = made.rated(systems, how_good)
    found = read(made.musiceval(tmp_path / "MusicEval-full", systems, ratings, demo=["S002"]), "overall")
    assert (found.layout, found.method, found.systems, list(found.remarks)) == ("musiceval", "rating", systems, [])
    assert list(found.frame) == list(COLUMNS) and len(found.frame) == ratings.size
    first = found.frame.iloc[0]
    assert tuple(first[["system", "prompt", "rater", "rating"]]) == ("S001", "P000", "Rater00", ratings[0, 0, 0])
    # clips with prompts of their own share none with others
    own = set(found.frame.loc[found.frame["system"] == "S002", "prompt"])
    assert "audiomos2025-track1-S002_P003" in own and not own & {f"P{p:03}" for p in range(made.PROMPTS)}
    other = read(tmp_path / "MusicEval-full", "textual")
    assert (other.frame["rating"] == 6 - found.frame["rating"]).all()


def test_musiceval_has_means_where_single_ratings_are_not_there(tmp_path: Path) -> None:
    systems = made.names(3)
    folder = made.musiceval(tmp_path / "m", systems, made.rated(systems, made.quality(3)))
    found = read(folder / "sets" / "total_mos_list.txt", "overall")
    assert set(found.frame["rater"]) == {""} and "means over raters" in found.remarks[0]
    alone = tmp_path / "dev_mos_list.txt"
    alone.write_text(f"{CLIP},4.2,3.4\n{CLIP.replace('P001', 'P002')},3.0,3.4\n")
    assert "demo_prompt_info.txt is not beside" in read(alone, "overall").remarks[1]
    (folder / "person_mos" / "total_person_mos.txt").rename(folder / "person_mos" / "dev_person_mos.txt")
    assert len(read(folder, "overall").frame) == 3 * 6 * made.PROMPTS


def test_musicprefs_has_choices_between_clips_of_their_own(tmp_path: Path) -> None:
    folder = made.musicprefs(tmp_path / "musicprefs", ["a", "b", "c"], np.array([1.0, 2.0, 3.0]), pairs=60)
    for path in (folder, folder / "human_preference.csv"):
        found = read(path, "fidelity")
        assert (found.layout, found.method, found.systems) == ("musicprefs", "pairs", ["a", "b", "c"])
        assert found.frame["prompt"].nunique() == 60 and tuple(found.frame.iloc[7][["clip", "second_clip"]]) == (
            "7_0",
            "7_1",
        )
        assert "columns that were not used: prompt_text" in found.remarks and "names no raters" in found.remarks[0]
    said = Counter(found.frame["choice"])
    assert set(said) == {"first", "second", "tie"}
    assert Counter(read(folder, "musicality").frame["choice"])["first"] == said["second"]
    named = read(folder, "fidelity", prompt="prompt_text")
    assert set(named.frame["prompt"]) == {"calm"} and "not used" not in " ".join(named.remarks)
    with pytest.raises(EvalkitError, match="several scores: choose one with --score: fidelity, musicality"):
        read(folder)


def test_an_answer_of_musicprefs_that_is_unknown_is_asked_for(tmp_path: Path) -> None:
    folder = made.musicprefs(tmp_path / "m", ["a", "b", "c"], np.array([1.0, 1.2, 1.3]), tie="hard to say")
    with pytest.raises(EvalkitError, match=r"line \d+: 'hard to say' is neither a_wins, b_wins nor a tie: say what"):
        read(folder, "fidelity")
    assert "tie" in set(read(folder, "fidelity", tie="hard to say").frame["choice"])


def test_a_table_of_ones_own_has_ratings(tmp_path: Path) -> None:
    path = tmp_path / "r.tsv"
    path.write_text("model\tprompt\twho\tfun\tcalm\na\tp1\tx\t3\t1\nb\tp1\tx\t4.5\t\nb\tp2\ty\t2\t0\n")
    found = read(path, "fun", "table", system="model", rater="who")
    assert list(found.frame["rating"]) == [3, 4.5, 2] and set(found.frame["rater"]) == {"x", "y"}
    assert read(path, "calm", "table", system="model", rater="who").remarks == [
        "1 of 3 lines have no answer, and do not count"
    ]
    with pytest.raises(EvalkitError, match="--score: fun, calm"):
        read(path, None, "table", system="model", rater="who")
    path.write_text("system,score\na,1\nb,2\n")
    assert len(read(path).remarks) == 2  # neither raters nor prompts


def test_a_table_may_have_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("system;prompt;rater;score\na;one, two;r;3\n")
    assert read(path).frame[["system", "prompt", "rating"]].values.tolist() == [["a", "one, two", 3.0]]


def test_a_table_of_ones_own_has_choices(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text(
        'system_a,system_b,winner,prompt,rater\n"x, large",y,"x, large",p,r\ny,z,b,p,r\nz,y,tie,q,r\ny,z,both_bad,s,r\n'
    )
    found = read(path)
    assert list(found.frame["choice"]) == ["first", "second", "tie", "both_bad"]
    assert found.systems == ["x, large", "y", "z"]


def test_answers_and_their_analysis_are_read_alike(tmp_path: Path) -> None:
    for method, files in (("rating", answered.rated), ("pairs", answered.chosen)):
        folder = tmp_path / method
        facts = answered.study(
            folder, method, {"a": 40.0, "b": 60.0, "c": 70.0, "control: noise": 8.0}, prompts=6, raters=3
        )
        means = {"a": 40.0, "b": 60.0, "c": 70.0, "control: noise": 8.0}
        answered.write(folder, files(facts, means))
        study = reading.study_of([folder], None)
        test = analyse(study, reading.read_answers(reading.files_of([folder]), study), rules.load())
        record = test.save(tmp_path / f"{method} record").path
        of_answers, of_record = read(folder), read(record)
        assert (of_answers.layout, of_record.layout, of_record.score) == ("answers", "listening", "quality")
        assert of_answers.frame.equals(of_record.frame) and of_record.systems == ["a", "b", "c"]
        assert of_record.sources["a"].row == "a" and "1 hidden references and controls" in of_record.remarks[-1]
    assert read(next((tmp_path / "pairs" / "answers").glob("*.json"))).layout == "answers"


TABLE = "system,prompt,rater,score\n"
CHOICES = "system_a,system_b,winner\n"
WRONG = {
    "a malformed line": (f"{TABLE}a,p,r,3\na,p,r\n", "line 3: 3 cells, where the first line has 4 columns"),
    "NaN": (f"{TABLE}a,p,r,nan\n", "line 2: score 'nan' is no number"),
    "infinity": (f"{TABLE}a,p,r,inf\n", "line 2: score 'inf' is no number"),
    "a word": (f"{TABLE}a,p,r,good\n", "line 2: score 'good' is no number"),
    "a duplicate": (f"{TABLE}a,p,r,3\nb,p,r,3\na,p,r,4\n", "line 4: the second of 'a, p, r', after line 2"),
    "no system": (f"{TABLE},p,r,3\n", "line 2: no system"),
    "nothing below": (TABLE, "has a first line and nothing below it"),
    "no answers": (f"{TABLE}a,p,r,\n", "holds no ratings that count"),
    "two columns of a name": ("system,score,score\na,1,2\n", "line 1: two columns are called 'score'"),
    "an open quote": (f'{TABLE}"a,p,r,3\n', "line 2: unexpected end of data"),
    "a stranger wins": (f"{CHOICES}a,b,c\n", "line 2: winner 'c' is neither a, b, tie, a nor b"),
    "one system": (f"{CHOICES}a,a,a\n", "line 2: must name two different systems"),
    "a second choice": (f"{CHOICES}a,b,a\nb,a,a\n", "line 3: the second of 'a, b', after line 2"),
    "a wrong file": ("some words\n", "is in no layout that is known by its content: say which one with --layout"),
    "nothing": ("", "is empty"),
    "a number too large": (f"{TABLE}a,p,r,1e300\n", "line 2: score '1e300' is no number"),
    "ratings without raters": ("system,score\na,1\na,3\n", "where these differ by rater or prompt, add that column"),
    "a second choice, the other way round": (
        "system_a,system_b,winner,clip_a,clip_b\na,b,a,x,y\nb,a,a,y,x\n",
        "line 3: the second of",
    ),
    "MusicEval out of scale": (f"{CLIP},r,9,3\n", "line 1: overall '9' is not from 1 to 5"),
    "MusicEval of another name": (f"{CLIP},r,4,3\nx.wav,r,4,3\n", "line 2: 'x.wav' is no name such as"),
    "MusicEval without ratings": (f"{CLIP}\n", "line 1: must be a clip, a rater if there is one, and two ratings"),
    "MusicEval of both kinds": (f"{CLIP},r,4,3\n{CLIP},4,3\n", "line 2: 3 cells, where the first line has 4"),
    "MusicEval twice": (f"{CLIP},r,4,3\n{CLIP},r,4,3\n", "line 2: the second of"),
    "MusicPrefs without a clip": (
        "system_a,system_b,audio_a,audio_b,fidelity\na,b,,1_1.wav,a_wins\n",
        "line 2: must name two different systems, and the clip of each",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_one_line(name: str, tmp_path: Path) -> None:
    text, message = WRONG[name]
    path = tmp_path / "ratings.csv"
    path.write_text(text)
    score = "overall" if "MusicEval" in name else None
    with pytest.raises(EvalkitError) as raised:
        read(path, score)
    assert message in str(raised.value) and "\n" not in str(raised.value) and str(path) in str(raised.value)


def test_every_layout_is_a_file_that_says_what_it_reads() -> None:
    assert layouts.names() == ["answers", "listening", "musiceval", "musicprefs", "table"]
    for name in layouts.names():
        module = importlib.import_module(f"evalkit.agreeing.layouts.{name}")
        assert module.__doc__ and callable(module.recognised) and callable(module.read)
        assert isinstance(module.CALLED, tuple)
    page = (ROOT / "docs" / "agree.md").read_text("utf-8")
    assert all(f"`{name}`: " in page for name in layouts.names())


def test_files_that_are_none_of_these_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EvalkitError, match="is not there"):
        read(tmp_path / "absent")
    with pytest.raises(EvalkitError, match="no layout that is known"):
        read(tmp_path)
    with pytest.raises(EvalkitError, match="unknown layout 'musicevl': did you mean 'musiceval'"):
        read(tmp_path, layout="musicevl")
    (tmp_path / "x.csv").write_bytes(b"system,score\n\xff\xfe,1\n")
    with pytest.raises(EvalkitError, match="no UTF-8 text"):
        read(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_bytes("system,score\na,1\n".encode("utf-16"))
    with pytest.raises(EvalkitError, match="no UTF-8 text"):
        read(tmp_path / "x.csv")
    (tmp_path / "x.json").write_text(json.dumps({"kind": "listening study"}))
    with pytest.raises(EvalkitError, match="no layout that is known"):
        read(tmp_path / "x.json")
    (tmp_path / "h.csv").write_text("system_a,system_b,audio_a,audio_b,harmony\n")
    with pytest.raises(EvalkitError, match="no layout that is known"):
        read(tmp_path / "h.csv")
