"""What is said of a comparison, in every form."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml
from rich.console import Console

from evalkit.report import formats, renderer
from evalkit.report.to_markdown import GITHUB
from evalkit.report.to_terminal import render as to_terminal
from evalkit.results.comparison import Comparison
from evalkit.results.comparison_record import METRICS

from .made_comparison import comparison, group, metric, moved, side

HOSTILE = {
    "markup": "<script>alert(1)</script> <img src=x onerror=y>",
    "table": "a | b | `c` **d** [e](javascript:f)",
    "control": "a\x1b[2J\x9b\u202ez\x00",
    "lines": "a\nb\r\n| c |",
    "formula": "=HYPERLINK(1)",
}
ABSENT = {
    name: math.nan
    for name in ("candidate", "raw_difference", "difference", "low", "high", "margin", "p", "p_breach", "mde")
}
VERDICTS = [
    metric("fad", "BREACH", title="FAD", reason="the interval lies beyond the margin"),
    metric("kld", "PASS", title="KLD", effect="better on 58 % of prompts, small (δ +0.16)"),
    metric("clap_score", "INSUFFICIENT_EVIDENCE", title="CLAP score", tier="supporting", direction="higher",
           reason="the interval holds the margin: with no change about 1,240 prompts are needed"),
    metric("mono_share", "MISSING", title="Mono share", n=0, reason="not measured in the candidate", **ABSENT),
    metric("chroma", "BREACH", title="Chroma", tier="advisory", direction="higher", reason="worse"),
    metric("tempo", "", title="Tempo", tier="", direction="same", margin=math.nan),
]  # fmt: skip


def printed(made: Comparison, width: int) -> str:
    return to_terminal(made.document(), Console(width=width, file=io.StringIO(), color_system=None))


def cases(made: Comparison) -> dict[str, Any]:
    """The cases of the JUnit file by class, as another parser reads them."""
    (suite,) = JUnitXml.fromstring(renderer("junit")(made.document()).encode())
    return {case.classname: case for case in suite}


def status(case: Any) -> str:
    return type(case.result[0]).__name__ if case.result else "Passed"


@pytest.mark.parametrize("outcome", ["GO", "NO-GO", "INCONCLUSIVE"])
def test_outcome_warnings_and_reasons_come_before_the_numbers(outcome: str) -> None:
    made = comparison(
        outcome=outcome, reasons=["because of one", "and two"], warnings=["random weights: VGGish", "the same clips?"]
    )
    lines = printed(made, 120).splitlines()
    assert lines[:5] == [
        f"{outcome}: finetuned against musicgen_small",
        "Random weights: VGGish. The same clips?",
        "- because of one",
        "- and two",
        "musiccaps, subset all: 500 of 500 prompts, protocol musicgen",
    ]
    markdown = renderer("markdown")(made.document())
    assert markdown.startswith(f"# evalkit: {outcome}: finetuned against musicgen\\_small\n\n> **Random") or (
        markdown.startswith(f"# evalkit: {outcome}: finetuned against musicgen_small\n\n> **Random")
    )
    data = json.loads(renderer("json")(made.document()))
    assert (data["outcome"], data["reasons"]) == (outcome, ["because of one", "and two"])


def test_each_metric_has_a_row_with_all_that_is_known() -> None:
    text = printed(comparison(VERDICTS), 120)
    lines = text.splitlines()
    at = {line.split()[0]: i for i, line in enumerate(lines) if line}
    assert lines[at["FAD"]].split() == ["FAD", "↓", "4.903", "+0.025", "0.245", "0.372", "BREACH"]
    assert lines[at["FAD"] + 1].split()[:6] == ["critical", "4.931", "[-0.031,", "0.081]", "0.081", "500"]
    assert "better on 58 % of prompts, small (δ +0.16)" in lines[at["KLD"] + 1]
    assert lines[at["Mono"]].split() == ["Mono", "share", "↓", "4.903", "–", "–", "–", "MISSING"]
    assert "Tempo " in text and "not gated" in text and "Chroma ↑" in text
    assert "Sees: the smallest difference that is seen with power 80%." in text
    assert "- CLAP score: the interval holds the margin" in text and "- FAD: the interval lies beyond" in text


def test_a_reason_is_said_once() -> None:
    row = metric("fad", "BREACH", title="FAD", reason="the interval lies beyond the margin")
    made = comparison([row], outcome="NO-GO", reasons=["FAD: BREACH: the interval lies beyond the margin"])
    assert printed(made, 120).count("lies beyond the margin") == 1


def test_small_numbers_keep_the_digits_that_the_decision_depends_on() -> None:
    row = metric("kad", margin=0.0005, mde=0.0003, difference=0.00004, low=-0.00021, high=0.00029, baseline=0.00121)
    text = printed(comparison([row]), 120)
    assert "[-0.00021, 0.00029]" in text and "+0.00004" in text and "0.00050" in text and "0.00121" in text


def test_sides_are_told_apart() -> None:
    def title(**changes: Any) -> str:
        return comparison(**changes).document().title

    old, new = side("m", "/runs/old"), side("m", "/runs/new")
    assert title(baseline=[old], candidate=[new]) == "m of new against m of old"
    several = title(baseline=[side("a"), side("a", "/runs/x")], candidate=[side("b"), side("c")])
    assert several == "2 results (b, c) against 2 results (a)"
    provenance = comparison(baseline=[old, side("m", "/runs/x", commit="")]).document().provenance
    assert list(provenance) == ["baseline 1", "baseline 2", "candidate"]
    assert "m of /runs/old" in provenance["baseline 1"] and "commit unknown" in provenance["baseline 2"]


def test_slices_that_changed_come_first_and_few_are_shown() -> None:
    slices = [group(name=f"tag {i}", p_adjusted=1 - i / 100) for i in range(60)]
    slices[3] |= {"change": "worse", "p_adjusted": 0.04}
    slices[7] |= {"gated": True, "verdict": "INSUFFICIENT_EVIDENCE", "reason": "too few", "p_adjusted": math.nan}
    slices[9] |= {"gated": True, "verdict": "PASS", "reason": "within"}
    made = comparison(slices=slices)
    (table,) = made.document().more
    assert [row.plain["group"] for row in table.rows] == [
        "tag 7", "tag 3", "tag 9", *(f"tag {i}" for i in range(59, 56, -1)),
    ]  # fmt: skip
    assert table.intro == "1 of 60 pairs of slice and metric changed; shown: 6."
    assert table.notes == ["tag 7 (KLD): too few"]
    assert len(json.loads(renderer("json")(made.document()))["slices"]) == 60


def test_what_is_not_there_has_no_table() -> None:
    unmoved = [group(difference=0.0), group(difference=math.nan, p_adjusted=math.nan)]
    for made in (comparison(), comparison([]), comparison(slices=unmoved)):
        assert made.document().more == []
        for form in formats():
            assert renderer(form)(made.document())
        assert "moved most" not in printed(made, 80)


def test_prompts_that_moved_are_few_and_linked_to_what_was_compared() -> None:
    rows = [metric("kld", "PASS"), metric("m1", "BREACH"), metric("m2", "BREACH", tier="advisory")]
    prompts = [moved(f"p{i} (x)", name, caption="c" * 200) for name in ("kld", "m1", "m2") for i in range(4)]
    made = comparison(rows, prompts=prompts)
    (table,) = made.document().more
    assert [row.plain["metric"] for row in table.rows] == ["m1"] * 3 + ["kld"] * 3 + ["m2"] * 3
    markdown = renderer("markdown")(made.document())
    link = "[candidate](file:///cache/b/p0%20%28x%29.flac) [reference](file:///clips/p0%20%28x%29.wav)"
    assert link in markdown and "c" * 59 + "…" in markdown and "c" * 60 not in markdown
    assert len(json.loads(renderer("json")(made.document()))["moved"]) == 12


@pytest.mark.parametrize("path", ["a) [x](javascript:y", "javascript:alert(1)", "/a/<b>|`c`\n\x1b.wav", "/音楽/é.wav"])
def test_no_path_leads_elsewhere(path: str) -> None:
    made = comparison(prompts=[moved(candidate_path=path, reference_path="")])
    text = renderer("markdown")(made.document())
    (url,) = re.findall(r"\[candidate\]\(([^)]*)\)", text)
    assert re.fullmatch(r"(file:///)?[\w./%~-]+", url, re.ASCII) and "[reference]" not in text
    assert len([line for line in text.splitlines() if "[candidate]" in line]) == 1


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("form", formats())
def test_text_of_unknown_origin_is_shown_literally(form: str, text: str) -> None:
    made = comparison(
        [metric("fad", "BREACH", title=text, reason=text, note=text, effect=text, test=text, method=text)],
        [group(name=text, title=text, note=text, gated=True, verdict="MISSING", reason=text, metric="fad")],
        [moved(text.replace("\x00", ""), caption=text, title=text, metric="fad")],
        reasons=[text], warnings=[text], remarks=[text], dataset=text, subset=text, protocol=text,
        baseline=[side(text, text, checkpoint=text, digest=text, commit=text)],
    )  # fmt: skip
    written = renderer(form)(made.document())
    assert not {"\x1b", "\x9b", "\u202e", "\x00", "\r"} & set(written)
    if form == "markdown":
        assert "<script" not in written and "<img" not in written and "[e](" not in written
        tables = [line for line in written.splitlines() if line.startswith("|")]
        assert {len(re.split(r"(?<!\\)\|", line)) for line in tables} == {14, 11, 10}  # the same in all rows of a table
    elif form == "json":
        assert json.loads(written)["moved"][0]["caption"] == text
    elif form == "junit":
        (suite,) = JUnitXml.fromstring(written.encode())
        assert (suite.tests, suite.failures, suite.errors) == (3, 1, 1)
    elif form == "csv":
        (row,) = csv.DictReader(io.StringIO(written))
        assert not row["title"].startswith("=")


def test_csv_has_a_row_for_each_metric_and_the_columns_of_the_frame() -> None:
    made = comparison(VERDICTS)
    rows = list(csv.DictReader(io.StringIO(renderer("csv")(made.document()))))
    assert [row["metric"] for row in rows] == made.metrics["metric"].tolist() and list(rows[0]) == list(METRICS)
    assert (
        float(rows[0]["low"]) == -0.0312 and rows[3]["candidate"] == "" and rows[2]["verdict"] == VERDICTS[2]["verdict"]
    )


def test_json_has_everything() -> None:
    made = comparison(VERDICTS, [group()], [moved()], random=["VGGish"], remarks=["a remark"])
    data = json.loads(renderer("json")(made.document()))
    assert [row["metric"] for row in data["table"]] == [row["metric"] for row in VERDICTS]
    assert data["table"][3]["candidate"] is None and data["table"][0]["margin"] == 0.2452
    assert data["slices"][0]["group"] == "piano" and data["moved"][0]["candidate_sha256"] == "2" * 64
    assert data["baseline"][0]["path"] == "/runs/20261124-main" and data["gate"]["swaps"] == 1000
    assert data["random_weights"] == ["VGGish"] and "a remark" in data["notes"] and data["schema"] == 1


def test_junit_has_a_case_for_each_verdict() -> None:
    slices = [
        group("voice", "vocal", "kld", gated=True, verdict="BREACH", reason="worse", margin=0.05),
        group("voice", "vocal", "chroma", gated=True, verdict="MISSING", reason="nothing"),
        group("tag", "piano", "kld", change="worse"),  # not gated
    ]
    made = comparison(VERDICTS, slices, outcome="NO-GO", reasons=["FAD: BREACH", "CLAP score"])
    found = cases(made)
    assert {name: status(case) for name, case in found.items()} == {
        "outcome": "Failure", "critical.fad": "Failure", "critical.kld": "Passed", "supporting.clap_score": "Error",
        "critical.mono_share": "Error", "advisory.chroma": "Passed", "not gated.tempo": "Passed",
        "critical.kld.voice:vocal": "Failure", "advisory.chroma.voice:vocal": "Passed",
    }  # fmt: skip
    assert found["outcome"].result[0].text == "FAD: BREACH\nCLAP score" and found["outcome"].name == "gate"
    assert found["advisory.chroma"].system_out.startswith("advisory, decides nothing: BREACH\nworse\nbaseline 4.903,")
    assert "interval [-0.031, 0.081], margin 0.245, n 500" in found["critical.fad"].result[0].text
    root = ET.fromstring(renderer("junit")(made.document()))
    values = {one.attrib["name"]: one.attrib["value"] for one in root.iter("property")}
    assert values["critical.fad.difference"] == "0.0251" and values["outcome.prompts"] == "500"
    assert "critical.mono_share.candidate" not in values and "nan" not in {value.lower() for value in values.values()}
    assert root[0].attrib["name"] == "musiccaps/all/musicgen"


@pytest.mark.parametrize(("outcome", "expected"), [("GO", "Passed"), ("INCONCLUSIVE", "Error"), ("NO-GO", "Failure")])
def test_junit_is_green_only_for_a_go(outcome: str, expected: str) -> None:
    found = cases(comparison([metric(), metric("kld")], outcome=outcome, reasons=["duration: 10 s, not 5 s"]))
    assert status(found.pop("outcome")) == expected
    assert {status(case) for case in found.values()} == {"Passed"}


def test_a_summary_fits_what_github_shows(tmp_path: Path) -> None:
    many = [
        metric(f"m{i}", "BREACH", title=f"音楽 {i}", reason=f"音 {i} " * 50, note=f"の {i} " * 50) for i in range(200)
    ]
    prompts = [moved(f"p{i}", f"m{i % 200}", caption="音" * 500) for i in range(400)]
    made = comparison(many, [group(name=f"g{i}") for i in range(60)], prompts).save(tmp_path)
    summary = (tmp_path / "summary.md").read_bytes()
    assert GITHUB - 5000 < len(summary) <= GITHUB < 65_536
    assert "lines are left out here to fit" in summary.decode().splitlines()[-1]
    assert "Prompts that moved most, Provenance" in summary.decode().splitlines()[-1]
    assert len(made.document().more[1].rows) == 9
    assert {"summary.md", "table.csv", "table.json"} <= {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "table.json").read_text() == renderer("json")(made.document())


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_of_a_terminal_is_too_long(width: int) -> None:
    slices = [group(name=f"an instrument with a long name {i}") for i in range(60)]
    prompts = [moved(f"{'x' * 60}{i}", caption="a very long caption " * 20) for i in range(5)]
    text = printed(comparison(VERDICTS, slices, prompts, reasons=["a long reason " * 20]), width)
    assert max(map(len, text.splitlines())) <= width
    assert "INSUFFICIENT_EVIDENCE" in text.replace("\n", "") or "INSUFFICIENT_" in text


def test_it_prints_itself_and_where_it_lies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    comparison().print()
    assert "comparison:" not in capsys.readouterr().out
    comparison().save(tmp_path).print()
    out = capsys.readouterr().out
    assert out.startswith("GO: finetuned against musicgen_small\n") and out.endswith(f"\ncomparison: {tmp_path}\n")
