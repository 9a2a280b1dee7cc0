"""Several results in one table."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit import report
from evalkit.errors import EvalkitError
from evalkit.report.document import Document
from evalkit.results.joined import join
from evalkit.results.record import Count, PromptsInfo, ProtocolInfo, Record, ReferencesInfo
from evalkit.results.result import Result
from tests.results.made import TITLES, metric, record, row

ONE = {"musicgen_small": {"chroma": 0.1014}}
CHROMA = {"chroma": metric(*TITLES["chroma"])}


def made(name: str = "first", value: float = 0.1014, **changes) -> Record:
    return record({"musicgen_small": {"chroma": value}}, metrics=CHROMA, path=Path("runs") / name, **changes)


def changed(name: str = "changed", argmax: bool = False) -> Record:
    switches = ProtocolInfo("musicgen (changed)", ["chroma.argmax False, not True"], {"argmax": argmax})
    metrics = {"chroma": replace(CHROMA["chroma"], protocol="musicgen (changed)")}
    remark = "changed in the protocol musicgen: chroma.argmax False, not True"
    return replace(made(name, 0.2), protocol=switches, metrics=metrics, remarks=[remark])


def column(document: Document, key: str) -> list[object]:
    return [known[key] for known in document.table.records()]


def test_results_stand_below_each_other_with_their_models_and_notes() -> None:
    other = record({"melody": {"chroma": 0.5, "fad": 2.0}}, titles={"fad": ("FAD", False), "chroma": TITLES["chroma"]})
    document = join([made(), other], across_protocols=False)
    assert column(document, "model") == ["musicgen_small", "melody"]
    assert column(document, "chroma") == [0.1014, 0.5] and column(document, "fad") == [None, 2.0]
    assert document.heading == "musiccaps, subset all: 12 of 12 prompts, protocol musicgen"
    assert "references 12 of 12" in document.notes
    assert not any("the same" in note for note in document.notes)  # no model is in both
    for form in report.formats():
        assert "melody" in report.renderer(form)(document)
    assert "run" not in document.table.rows[0].labels and "protocol" not in document.table.rows[0].labels


def test_protocols_are_not_mixed_unless_asked() -> None:
    with pytest.raises(EvalkitError, match=r"\(musicgen, musicgen \(changed\)\).*--across-protocols"):
        join([made(), changed()], across_protocols=False)
    document = join([made(), changed()], across_protocols=True)
    assert column(document, "protocol") == ["musicgen", "musicgen (changed)"]
    assert column(document, "chroma_protocol") == ["musicgen", "musicgen (changed)"]
    assert document.notes[0].startswith("different computations, not comparable down a column: protocols musicgen, ")
    assert "changed: changed in the protocol musicgen: chroma.argmax False, not True" in document.notes
    assert document.heading.endswith("protocols musicgen, musicgen (changed)")
    text = report.renderer("terminal")(document)
    assert "protocol musicgen (changed)" in " ".join(text.split("──\n")[1].split())


def test_two_changed_protocols_are_two_though_their_names_are_one() -> None:
    results = [changed("a"), changed("b", argmax=True)]
    with pytest.raises(EvalkitError, match="different protocols"):
        join(results, across_protocols=False)
    rows = join(results, across_protocols=True).table.rows
    assert [row.labels["run"] for row in rows] == ["a", "b"]


def test_metrics_that_are_computed_otherwise_are_not_joined() -> None:
    other = {"chroma": replace(CHROMA["chroma"], definition={"kind": "chroma", "version": 2})}
    with pytest.raises(EvalkitError, match="different protocols"):
        join([made(), replace(made("b"), metrics=other)], across_protocols=False)


def test_a_metric_of_another_protocol_than_its_run_is_said() -> None:
    metrics = {**CHROMA, "kad": metric("KAD", False, protocol="musicgen (extended)")}
    document = join([made(), replace(made("b"), metrics=metrics)], across_protocols=False)
    assert "musicgen (extended): KAD" in document.notes
    assert column(document, "kad_protocol") == [None, "musicgen (extended)"]


def test_calibration_rows_and_n_stay_visible() -> None:
    rows = {"musicgen_small": row(), "reference halves": row(calibration=True)}
    values = {"musicgen_small": {"chroma": 0.1}, "reference halves": {"chroma": 0.2}}
    halves = record(values, metrics=CHROMA, rows=rows, n={"chroma": 11})
    document = join([halves, made("b")], across_protocols=False)
    text = report.renderer("markdown")(document)
    assert "| reference halves (calibration) | " in text and text.count("(n 11)") == 2 and text.count("(n 12)") == 1


def test_other_clips_are_said_and_told_apart_by_their_run() -> None:
    other = made("second", 0.3)
    other = replace(other, clips=other.clips.assign(sha256="x"))
    document = join([made(), other], across_protocols=False)
    assert "musicgen_small: not the same clips in all results" in document.notes
    assert [row.labels["run"] for row in document.table.rows] == ["first", "second"]
    assert "run second" in report.renderer("terminal")(document)
    assert report.renderer("markdown")(document).count("\n| musicgen_small") == 2


def test_the_same_clips_are_said_to_be_the_same() -> None:
    document = join([made(), made("second", 0.3)], across_protocols=False)
    assert "each model's clips are the same in all results" in document.notes


def test_runs_of_one_name_are_told_apart_by_their_paths() -> None:
    results = [replace(made(), path=Path(f"{folder}/run")) for folder in "ab"]
    rows = join(results, across_protocols=False).table.rows
    assert [row.labels["run"] for row in rows] == [str(Path("a/run")), str(Path("b/run"))]


def test_notes_that_not_all_results_have_name_their_runs() -> None:
    document = join([made(remarks=["both", "mine"]), made("second", remarks=["both"])], across_protocols=False)
    assert "both" in document.notes and "first: mine" in document.notes


def test_random_weights_of_any_result_are_said() -> None:
    document = join([made(), made("b", rows={"musicgen_small": row(random=True)})], across_protocols=False)
    assert document.warning.startswith("Random weights: musicgen_small.")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"references_info": ReferencesInfo(Count(12, 12), "other")}, "different references"),
        ({"prompts_info": PromptsInfo("musiccaps", "all", 12, 12, "a" * 64, "other")}, "different prompts"),
        ({"prompts_info": PromptsInfo("musiccaps", "balanced", 12, 12, "a" * 64, "b" * 64)}, "different prompts"),
        ({"uncertainty": {"level": 0.9}}, "intervals of different levels"),
    ],
)
def test_what_cannot_stand_in_one_table_is_refused(changes, said) -> None:
    with pytest.raises(EvalkitError, match=said):
        join([made(), made("b", **changes)], across_protocols=True)


def test_a_result_that_needed_no_references_joins_one_that_did() -> None:
    document = join([made(), made("b", references_info=None)], across_protocols=False)
    assert "b: references: none" in document.notes


def test_the_command(tmp_path: Path) -> None:
    def saved(result: Record) -> str:
        folder = tmp_path / result.path.name
        (tmp_path / "features").mkdir(exist_ok=True)
        fields = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
        return str(Result(**fields).save(folder).path)

    def table(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "evalkit.cli", "table", *options], capture_output=True, text=True)

    results = [saved(made()), saved(changed())]
    refused = table(*results)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "--across-protocols" in refused.stderr
    shown = table(*results, "--across-protocols")
    assert shown.returncode == 0 and "protocol musicgen (changed)" in " ".join(shown.stdout.split())
    markdown = table(results[0], "--markdown").stdout
    assert markdown == table(results[0], "--format", "markdown").stdout
    assert markdown == (tmp_path / "first" / "table.md").read_text()
    unknown = table(results[0], "--format", "markdwon")
    assert unknown.returncode == 2 and "did you mean 'markdown'" in unknown.stderr
    assert table(str(tmp_path)).returncode == 2


def test_other_durations_and_one_result_given_twice_are_refused() -> None:
    longer = replace(made("longer"), sampling={**made().sampling, "duration": 20.0})
    with pytest.raises(EvalkitError, match="clips of different durations"):
        join([made(), longer], across_protocols=True)
    with pytest.raises(EvalkitError, match="first' is given twice"):
        join([made(), made("second"), made()], across_protocols=False)
