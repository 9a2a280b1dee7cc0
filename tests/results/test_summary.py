"""What is said of a result."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from evalkit import report
from evalkit.report import document as model
from evalkit.report.document import Quantity
from evalkit.report.to_terminal import render
from evalkit.results.record import Count, ProtocolInfo, ReferencesInfo
from evalkit.results.summary import document, notes, table
from tests.results.made import FORMS, TITLES, VALUES, metric, record, row


def written(form: str, made) -> str:
    return report.renderer(form)(document(made))


def cells(markdown: str, name: str) -> list[str]:
    line = next(x for x in markdown.splitlines() if x.startswith(f"| {name} "))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_the_wide_table_has_the_values() -> None:
    frame = table(record(n={"clap_score": 11})).set_index("model")
    small, stereo = frame.loc["musicgen_small"], frame.loc["musicgen_stereo_small"]
    assert (small.fad, small.fad_n, small.clap_score_n, small.fad_published) == (4.9034, 12, 11, 4.88)
    assert small.fad_difference == pytest.approx(0.0234) and small.kld_difference == pytest.approx(-0.0169)
    assert small.fad_comparable and not stereo.fad_comparable
    assert math.isnan(stereo.fad_published) and math.isnan(stereo.chroma) and math.isnan(small.fad_low)
    assert (small.clips, small.prompts, small.protocol, small.random_weights) == (12, 12, "musicgen", "")
    assert (small.dataset, small.subset, small.calibration) == ("musiccaps", "all", False)
    assert list(frame.columns[:3]) == ["clips", "fad", "fad_low"]


def test_a_new_column_of_the_scores_needs_one_quantity(monkeypatch: pytest.MonkeyPatch) -> None:
    made = record()
    made.scores["grade"] = ["excellent" if known else "" for known in made.scores["comparable"]]
    assert "fad_grade" not in table(made) and "excellent" not in written("markdown", made)
    monkeypatch.setattr(model, "QUANTITIES", (*model.QUANTITIES, Quantity("grade", "grade", "word")))
    assert table(made)["fad_grade"].tolist() == ["excellent", ""]
    for form in FORMS:
        assert written(form, made).count("excellent") >= 3, form
    assert "FAD grade" in written("markdown", made) and "chroma_grade" in written("csv", made)


def test_a_verdict_stands_below_the_published_value_that_it_is_about() -> None:
    made = record()
    made.scores["verdict"] = ["DIFFERS (higher)", "REPRODUCED", "NOT COMPARABLE", *["NOT COMPARABLE"] * 5]
    assert table(made)["fad_verdict"].tolist() == ["DIFFERS (higher)", ""]  # the second row has no published value
    for form, times in (("csv", 1), ("markdown", 1), ("terminal", 1)):
        text = written(form, made)
        assert text.count("NOT COMPARABLE") == text.count("DIFFERS (higher)") == times, form
    text = render(document(made), Console(width=80))
    assert max(map(len, text.splitlines())) <= 80
    below = [line.split() for line in text.splitlines()]
    place = below.index(["DIFFERS", "(higher)", "REPRODUCED", "NOT", "COMPARABLE"])
    assert "4.88 (+0.02)" in text.splitlines()[place - 1]
    assert "verdict" not in written("terminal", record()) and "verdict" not in written("markdown", record())


def test_a_row_without_scores_keeps_its_place() -> None:
    values = {"musicgen_small": VALUES["musicgen_small"], "broken": {}}
    made = record(values, clips={"broken": ["failed"] * 12})
    frame = table(made).set_index("model")
    assert frame.loc["broken", "clips"] == 0 and math.isnan(frame.loc["broken", "fad"])
    assert pd.isna(frame.loc["broken", "fad_n"])
    assert "broken: clips 0 of 12 (12 failed)" in notes(made)
    assert cells(written("markdown", made), "broken")[1:3] == ["0 of 12", "–"]
    assert json.loads(written("json", made))["table"][1]["fad"] is None


def test_notes_say_each_thing_once_and_of_whom() -> None:
    stereo = {("musicgen_stereo_small", name): "nothing was published" for name in ("fad", "kld", "clap_score")}
    chroma = {(name, "chroma"): "no value was published" for name in VALUES}
    lines = notes(record(notes={**stereo, **chroma}, remarks=["a remark"]))
    assert lines == [
        "references 12 of 12",
        "published: MusicGen model card, https://example.org/card",
        "Chroma cosine similarity: no value was published",  # about all models, so none is named
        "musicgen_stereo_small: FAD, KLD, CLAP score: nothing was published",
        "not verified, because too little was published to tell: references",
        "a remark",
    ]
    titled = {("musicgen_small", "fad"): "fad: too few clips"}  # as an error names its metric
    assert "musicgen_small: FAD: too few clips" in notes(record(notes=titled))
    everywhere = {(name, metric): "one\ntwo" for name in VALUES for metric in TITLES}
    assert notes(record(published={}, notes=everywhere))[1:] == ["one", "two"]
    assert table(record(notes=everywhere))["note"].tolist() == ["one; two"] * 2


def test_references_are_counted_and_named_for_what_they_are() -> None:
    assert notes(record(references_info=None))[0] == "references: none"
    info = ReferencesInfo(Count(5469, 5521, {"missing": 40, "unreadable": 12}), "c", cut=3, cut_to=10.0)
    made = record(references_info=info)
    assert notes(made)[0] == "references 5,469 of 5,521 (40 missing, 12 unreadable; 3 cut to 10 s)"
    back = json.loads(written("json", made))["references"]
    assert back["reasons"] == {"missing": 40, "unreadable": 12} and (back["cut"], back["cut_to"]) == (3, 10)
    rendered = ReferencesInfo(Count(12, 12), "c", rendered_by="Synth")
    assert notes(record(references_info=rendered))[0] == "references 12 of 12, rendered by Synth, not recordings"


def test_random_weights_are_loud_in_every_form() -> None:
    metrics = {"fad": metric("FAD", False, random=["VGGish"]), "kld": metric("KLD", False, random=["PaSST", "VGGish"])}
    rows = {"musicgen_small": row(random=True), "musicgen_stereo_small": row(calibration=True, random=True)}
    values = {name: {"fad": 1.0, "kld": 2.0} for name in rows}
    made = record(values, metrics=metrics, rows=rows)
    warning = "Random weights: VGGish, PaSST, musicgen_small. The numbers below mean nothing outside this table."
    for form in ("markdown", "terminal"):
        text = " ".join(written(form, made).split())
        assert text.index(warning) < text.index("1.000")
    assert json.loads(written("json", made))["warning"] == warning
    assert table(made)["random_weights"].tolist() == ["VGGish, PaSST, musicgen_small"] * 2
    assert "Random weights" not in written("markdown", record())


def test_n_is_shown_only_where_it_says_something() -> None:
    assert "(n " not in written("markdown", record())
    # the same for all metrics, but not the number of clips that were generated
    fewer = record(n={name: 11 for name in TITLES})
    assert "4.903 (n 11)" in written("markdown", fewer) and "n 11" in written("terminal", fewer)
    # every prompt's clips are four
    rows = [{"sample": k + 1} for k in range(4)]
    clips = record().clips.drop(columns="sample").merge(pd.DataFrame(rows), how="cross")
    sampled = record(clips=None, sampling={"samples_per_prompt": 4})
    sampled = replace(sampled, clips=clips)
    assert "(n " not in written("markdown", sampled) and table(sampled)["prompts"].tolist() == [12, 12]
    assert "12 of 12 prompts, 4 clips each, protocol musicgen" in written("markdown", sampled)
    assert "48 of 48" in written("markdown", sampled)


def test_intervals_have_their_level_said() -> None:
    made = record(spread=0.0111)
    assert "intervals: 0.95 confidence, over prompts" in notes(made)
    assert not any("confidence" in note for note in notes(record()))
    assert "4.903 \\[4.892, 4.915\\]" in written("markdown", made)


def test_calibration_rows_are_named_as_such() -> None:
    rows = {"musicgen_small": row(), "musicgen_stereo_small": row(calibration=True)}
    made = record(rows=rows, sampling={"samples_per_prompt": 1})
    assert "(calibration)" in written("terminal", made)
    assert "| musicgen_stereo_small (calibration) " in written("markdown", made)
    assert table(made)["calibration"].tolist() == [False, True]
    assert table(made)["model"].tolist() == list(rows)  # machines have the plain name
    assert json.loads(written("json", made))["calibration"] == ["musicgen_stereo_small"]


def test_two_metrics_with_one_title_keep_their_columns() -> None:
    header = cells(written("markdown", record(titles={"fad": ("FAD", False), "kld": ("FAD", False)}, values={
        "m": {"fad": 1.0, "kld": 2.0}})), "model")  # fmt: skip
    assert "FAD (fad) ↓" in header and "FAD (kld) ↓" in header


def slice_row(group: str, name: str, n: int, **changes) -> dict:
    about = {"protocol": "musicgen", "higher_is_better": False, "note": "", "small": n < 30}
    values = {"model": "m", "metric": name, "value": 1.5, "low": 1.0, "high": 2.0, "n": n}
    return {"slice": "tag", "group": group, **values, **about, **changes}


def test_slices_are_a_table_for_each_kind_of_group() -> None:
    rows = [slice_row(group, name, n) for group, n in (("piano", 40), ("a|b", 3)) for name in ("fad", "kld")]
    made = record(slices=[*rows, slice_row("long", "fad", 40, slice="caption_length")])
    text = written("markdown", made)
    tags = text.split("## Slices: tag")[1].split("## Slices: caption_length")[0]
    assert re.search(r"\| m +\| piano +\| +1\.500 \\\[1\.000, 2\.000\\\] \(n 40\)", tags)
    assert tags.count("(n 3, small)") == 2 and tags.count("(n 40)") == 2
    assert "a\\|b" in tags and "fewer than 30 clips" in tags
    assert "| long " in text.split("Slices: caption_length")[1]
    rows[-1] |= {"value": math.nan, "n": 0, "note": "too few"}
    assert "- a\\|b: too few" in written("markdown", record(slices=rows))
    rows[0] |= {"note": "R² of the fit: 0.998"}
    assert "- piano, m, FAD: R² of the fit: 0.998" in written("markdown", record(slices=rows))
    assert len(json.loads(written("json", made))["slices"]) == 5
    assert "Slices: tag (2 rows)" in " ".join(written("terminal", made).split())


def other(name: str, source: str, caveat: str, **values) -> dict:
    about = {"protocol": "musicgen", "source": source, "url": "https://example.org", "primary": source == "card"}
    return {"model": name, "condition": "", "fad": math.nan, "chroma": math.nan, **values, **about, "caveat": caveat}


def test_other_published_numbers_are_shown_with_their_sources() -> None:
    rows = [
        other("Riffusion", "paper", "copied", fad=14.8),
        other("Mousai", "paper", "copied", fad=7.5),
        other("jasco", "card", "drums given\nolder", fad=5.648, condition="drums"),
    ]
    made = record(context=pd.DataFrame(rows))
    text = written("markdown", made).split("## Other published numbers")[1]
    head = cells(text, "model")
    assert head == ["model", "protocol", "source", "FAD ↓"]  # nothing was published of chroma
    assert cells(text, "Riffusion")[2:] == ["[paper, quoted](https://example.org)", "14.8"]
    assert cells(text, "jasco (drums)")[2:] == ["[card](https://example.org)", "5.648"]
    assert "- paper: copied\n- jasco (drums): drums given\n- jasco (drums): older\n" in text
    back = json.loads(written("json", made))["context"][0]
    assert back["fad"] == 14.8 and back["chroma"] is None


def test_where_a_result_comes_from_is_said() -> None:
    text = written("markdown", record(protocol=ProtocolInfo("musicgen (changed)", ["x"], {})))
    assert "protocol musicgen (changed)" in text and "- commit: abc123\n" in text
    assert "- device: cpu (x86_64), float32\n- sampling: top_k 250, duration 10.0\n" in text
    dirty = {**record().provenance, "dirty": True, "commit": None}
    text = written("markdown", record(provenance=dirty, rows={name: row(generated=False) for name in VALUES}))
    assert "- commit: unknown, with local changes\n" in text and "sampling:" not in text
