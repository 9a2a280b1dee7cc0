"""Several results in one table."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evalkit import report
from evalkit.errors import EvalkitError
from evalkit.report.document import Document
from evalkit.results.joined import join
from evalkit.results.record import PromptsInfo, ProtocolInfo, Record
from evalkit.results.result import Result
from evalkit.settings import Engine
from tests.results.made import FORMS, TITLES, metric, record, row

ONE = {"musicgen_small": {"chroma": 0.1014}}
CHROMA = {"chroma": metric(*TITLES["chroma"])}


def made(name: str = "first", value: float = 0.1014, **changes) -> Record:
    return record({"musicgen_small": {"chroma": value}}, metrics=CHROMA, path=Path("runs") / name, **changes)


MADE = made()


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
    for form in FORMS:
        assert "melody" in report.renderer(form)(document)
    assert "run" not in document.table.rows[0].labels and "protocol" not in document.table.rows[0].labels


def test_protocols_are_not_mixed_unless_asked() -> None:
    with pytest.raises(EvalkitError, match=r"\(protocols musicgen, musicgen \(changed\); argmax .*--across-protocols"):
        join([made(), changed()], across_protocols=False)
    document = join([made(), changed()], across_protocols=True)
    assert column(document, "protocol") == ["musicgen", "musicgen (changed)"]
    assert column(document, "chroma_protocol") == ["musicgen", "musicgen (changed)"]
    assert document.notes[0].startswith("different computations, not comparable down a column: protocols musicgen, ")
    said = "changed in the protocol musicgen: chroma.argmax False, not True"
    assert f"protocol=musicgen (changed): {said}" in document.notes
    assert document.heading.endswith("protocols musicgen, musicgen (changed)")
    text = report.renderer("terminal")(document)
    assert "protocol musicgen (changed)" in " ".join(text.split("──\n")[1].split())


def test_two_changed_protocols_are_two_though_their_names_are_one() -> None:
    results = [changed("a"), changed("b", argmax=True)]
    with pytest.raises(EvalkitError, match=r"different computations \(argmax True, not False\)"):
        join(results, across_protocols=False)
    rows = join(results, across_protocols=True).table.rows
    assert [row.labels["run"] for row in rows] == ["a", "b"]


def defined(name: str, **definition: Any) -> Record:
    return replace(made(name), metrics={"chroma": replace(CHROMA["chroma"], definition=definition)})


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (
            {"encoder": {"version": 2}},
            {"encoder": {"version": 1}},
            "Chroma cosine similarity: encoder version 1, not 2",
        ),
        (
            {"encoder": {"weights": {"random_seed": 1}}, "text_encoder": {"weights": {"random_seed": 1}}},
            {"encoder": {"weights": {"random_seed": 0}}, "text_encoder": {"weights": {"random_seed": 0}}},
            "random_weights 0, not 1",
        ),
        (
            {"encoder": {"weights": {"sha256": "1" * 64}}},
            {"encoder": {"weights": {"random_seed": 0}}},
            f"Chroma cosine similarity: encoder weights random, not {'1' * 12}",
        ),
        (
            {"encoder": {"weights": {"repo": "a/b", "commit": "1" * 40, "files": None}}},
            {"encoder": {"weights": {"repo": "a/b", "commit": "2" * 40, "files": None}}},
            f"Chroma cosine similarity: encoder weights {'2' * 12}, not {'1' * 12}",
        ),
    ],
    ids=["version", "seed", "random", "commit"],
)
def test_what_is_computed_otherwise_is_named(ours: dict[str, Any], theirs: dict[str, Any], said: str) -> None:
    results = [defined("a", **ours), defined("b", **theirs)]
    with pytest.raises(EvalkitError) as error:
        join(results, across_protocols=False)
    assert str(error.value).startswith(f"the results are of different computations ({said}), whose numbers")
    assert join(results, across_protocols=True).notes[0].endswith(f"not comparable down a column: {said}")


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


def test_ways_in_which_clips_were_made_are_said_where_they_differ() -> None:
    def generated(name: str, clips: int, **way: Any) -> Record:
        return made(name, rows={"musicgen_small": row(made=[{"clips": clips, "dtype": "float16", **way}])})

    one, more, other = generated("a", 12), generated("b", 40), generated("c", 40, attention="triton")
    assert not any("generated" in note for note in join([one, more, made("old")], False).notes)
    document = join([one, made("old"), other, generated("d", 12)], across_protocols=False)
    assert [note for note in document.notes if "generated" in note] == [
        "a; d: generated 12 clips: float16",
        "c: generated 40 clips: float16, triton attention",
    ]
    noise = {"noise": row(calibration=True, made=[{"clips": 12, "device_name": "another"}])}
    alike = replace(generated("e", 12), rows={**one.rows, **noise})  # of calibration rows nothing is said
    assert not any("generated" in note for note in join([one, alike], False).notes)
    assert document.plain["made"][:2] == [{"musicgen_small": one.rows["musicgen_small"].made}, {}]


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
        (
            {"clips": MADE.clips.assign(reference_sha256=["x", *MADE.clips["reference_sha256"][1:]])},
            "'b' and 'first' cannot stand in one table: different references of 1 of 12 prompts, such as of 'p0'",
        ),
        (
            {"prompts": MADE.prompts.assign(caption=["hello", *MADE.prompts["caption"][1:]])},
            "different captions of 1 of 12 prompts, such as of 'p0': 'hello', not 'caption 0'",
        ),
        (
            {"prompts": MADE.prompts.assign(id=["x", *MADE.prompts["id"][1:]])},
            "different prompts: 2 are in one of them only, such as 'p0'",
        ),
        ({"uncertainty": {"level": 0.9}}, r"intervals of different levels \(0.9 and 0.95\)"),
    ],
)
def test_what_cannot_stand_in_one_table_is_refused(changes, said) -> None:
    with pytest.raises(EvalkitError, match=said):
        join([made(), replace(made("b"), **changes)], across_protocols=True)


def test_other_parts_of_the_same_references_stand_in_one_table_across_protocols_alone() -> None:
    whole = MADE.clips.assign(reference_length=30.0)
    said = "other parts of the same references of 12 of 12 prompts, such as of 'p0': 0 to 30 s, not 0 to 10 s"
    with pytest.raises(EvalkitError, match=rf"{said} \(protocol musicgen \(changed\), not musicgen\): add --across-p"):
        join([made(), replace(changed(), clips=whole)], across_protocols=False)
    document = join([made(), replace(changed(), clips=whole)], across_protocols=True)
    assert f"protocol=musicgen (changed): {said}, as in protocol=musicgen" in document.notes
    for refused in (  # of one protocol, or of other files
        replace(made("b"), clips=whole),
        replace(changed(), clips=whole.assign(reference_sha256="another")),
    ):
        with pytest.raises(EvalkitError, match=r"cannot stand in one table: .* prompts, such as of 'p0'[^()]*$"):
            join([made(), refused], across_protocols=True)


def test_the_order_of_prompts_and_the_files_they_came_from_do_not_matter() -> None:
    other = made("b", prompts_info=PromptsInfo("copy", "first 12", 12, 13, "x" * 64, "other"))
    other = replace(other, prompts=other.prompts[::-1], clips=other.clips[::-1])
    document = join([made(), other], across_protocols=False)
    assert document.heading == "musiccaps, copy, subset all; first 12: 12 of 12 prompts, protocol musicgen"
    assert "each model's clips are the same in all results" in document.notes


def test_another_n_is_said_and_shown() -> None:
    fewer = made("fewer", clips={"musicgen_small": ["missing", *["ok"] * 11]})
    fewer = replace(fewer, scores=fewer.scores.assign(n=11))
    document = join([made(), fewer], across_protocols=False)
    said = "not of the same number of prompts: n 11: musicgen_small (fewer); n 12: musicgen_small (first)"
    assert f"Chroma cosine similarity: {said}" in document.notes
    for form in ("terminal", "markdown"):
        text = report.renderer(form)(document)
        assert "n 11" in text and "n 12" in text


def test_as_many_prompts_but_other_ones_are_said() -> None:
    lost = {"a": ["missing", *["ok"] * 11], "b": [*["ok"] * 11, "missing"]}
    first, last = (made(name, clips={"musicgen_small": statuses}) for name, statuses in lost.items())
    results = [replace(result, scores=result.scores.assign(n=11)) for result in (first, last)]
    document = join(results, across_protocols=False)
    assert "Chroma cosine similarity: of as many prompts, but not of the same ones" in document.notes


def test_other_samples_of_a_prompt_are_other_clips() -> None:
    four = made("four", sampling={**MADE.sampling, "samples_per_prompt": 4})
    more = [four.clips.assign(sample=i, sha256=four.clips["sha256"] + f"#{i}") for i in (2, 3, 4)]
    four = replace(four, clips=pd.concat([four.clips, *more], ignore_index=True))
    assert "musicgen_small: not the same clips in all results" in join([made(), four], False).notes


def swept(*configs: dict[str, Any], **changes: Any) -> Document:
    results = [made(f"run{i}", config=config, **changes) for i, config in enumerate(configs)]
    return join(results, across_protocols=True)


def names(document: Document) -> list[dict[str, object]]:
    return [dict(row.labels) for row in document.table.rows]


def test_rows_have_the_options_in_which_they_differ() -> None:
    def config(top_k: int, seed: int, folder: str) -> dict[str, Any]:
        sampling = {"top_k": top_k, "seed": seed, "duration": 10.0}
        return {"sampling": sampling, "uncertainty": {"seed": 0}, "output_dir": folder, "name": folder}

    document = swept(config(50, 0, "a"), config(250, 1, "b"))
    assert names(document) == [
        {"model": "musicgen_small", "top_k": "50", "sampling.seed": "0"},
        {"model": "musicgen_small", "top_k": "250", "sampling.seed": "1"},
    ]
    assert column(document, "top_k") == [50, 250] and column(document, "run") == ["run0", "run1"]
    assert report.renderer("csv")(document).startswith("model,top_k,sampling.seed,")
    assert report.renderer("markdown")(document).count("| musicgen_small | 50") == 1
    text = report.renderer("terminal")(document)
    assert "top_k 50" in text and "sampling.seed 1" in text and "run run0" not in text


def test_what_an_option_sets_elsewhere_is_not_another_option() -> None:
    def config(seed: int) -> dict[str, Any]:
        weights = {"weights": {"random_seed": seed}}
        return {"random_weights": seed, "metric": {"fad": {"encoder": weights}, "kld": {"encoder": weights}}}

    assert [row["option.random_weights"] for row in names(swept(config(0), config(1)))] == ["0", "1"]
    assert all(len(row) == 2 for row in names(swept(config(0), config(1))))


def test_how_the_work_is_done_is_no_option() -> None:
    """Of the engine only the device and the dtype affect a number."""
    fields = [field.name for field in dataclasses.fields(Engine) if field.name not in ("device", "dtype")]
    document = swept(*({"engine": {**dict.fromkeys(fields, value), "dtype": value}} for value in (1, 2)))
    assert names(document) == [{"model": "musicgen_small", "dtype": str(value)} for value in (1, 2)]


def test_an_option_of_one_model_is_that_of_its_rows() -> None:
    def config(path: str) -> dict[str, Any]:
        return {"model": {"musicgen_small": {"path": path}}, "prompts": {"path": path}}

    rows = {"musicgen_small": row(), "other": row()}
    values = {"musicgen_small": {"chroma": 0.1}, "other": {"chroma": 0.2}}
    results = [
        replace(record(values, metrics=CHROMA, rows=rows, path=Path(folder)), config=config(f"/data/{folder}"))
        for folder in ("a", "b")
    ]
    assert names(join(results, across_protocols=False)) == [
        {"model": "musicgen_small", "musicgen_small.path": "a"},
        {"model": "other", "run": "a"},
        {"model": "musicgen_small", "musicgen_small.path": "b"},
        {"model": "other", "run": "b"},
    ]


def test_sampling_is_no_option_of_clips_that_were_there() -> None:
    configs = [{"sampling": {"top_k": top_k}} for top_k in (50, 250)]
    document = swept(*configs, rows={"musicgen_small": row(generated=False)})
    assert names(document) == [{"model": "musicgen_small", "run": f"run{i}"} for i in (0, 1)]


def test_protocols_have_a_column_of_their_own() -> None:
    one = {"protocol": {"name": "musicgen", "hop": 1}, "metric": {"chroma": {"hop": 1}}}
    other = {"protocol": {"name": "fadtk", "hop": 2}, "metric": {"chroma": {"hop": 2}}}
    metrics = {"chroma": replace(CHROMA["chroma"], protocol="fadtk", definition={"hop": 2})}
    results = [made("a", config=one), replace(made("b", config=other), metrics=metrics)]
    results[1] = replace(results[1], protocol=ProtocolInfo("fadtk", (), {"hop": 2}))
    assert names(join(results, across_protocols=True)) == [
        {"model": "musicgen_small", "protocol": "musicgen"},
        {"model": "musicgen_small", "protocol": "fadtk"},
    ]


def test_notes_are_told_apart_by_the_options_too() -> None:
    results = [made(f"run{k}", config={"sampling": {"top_k": k}}, remarks=[f"remark {k}"]) for k in (50, 250)]
    assert {"top_k=50: remark 50", "top_k=250: remark 250"} <= {*join(results, across_protocols=False).notes}


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
    with pytest.raises(EvalkitError, match=r"clips of different durations \(10 s and 20 s\)"):
        join([made(), longer], across_protocols=True)
    with pytest.raises(EvalkitError, match="first' is given twice"):
        join([made(), made("second"), made()], across_protocols=False)


def test_clips_that_were_there_may_be_longer_and_that_is_said() -> None:
    """Their duration is not the one asked for of generated clips."""
    there = made("there", rows={"musicgen_small": row(generated=False)}, sampling={**MADE.sampling, "duration": 5.0})
    document = join([made(), replace(there, clips=there.clips.assign(length=20.0))], across_protocols=False)
    said = "clips of different durations: 10 s: musicgen_small (first); 20 s: musicgen_small (there)"
    assert said in document.notes
    assert not any("durations" in note for note in join([made(), there], across_protocols=False).notes)
