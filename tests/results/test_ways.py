"""In which ways clips were made: counted, and said in words."""

from __future__ import annotations

import pytest

from evalkit import report
from evalkit.results.summary import document
from evalkit.results.ways import ways, words
from tests.results.made import record, row

GPU = {"device_name": "NVIDIA H100", "cuda": "12.8", "dtype": "float16", "attention": "triton", "graphs": True}
CPU = {"device_name": "x86_64", "torch": "2.13.0", "dtype": "float32", "attention": "torch", "graphs": False}


def test_clips_are_counted_by_how_they_were_made() -> None:
    made = [CPU, {**GPU, "batch_size": 64}, dict(CPU), {**GPU, "batch_size": 32}, CPU, {}]
    assert [way["clips"] for way in ways(made)] == [3, 1, 1, 1]
    assert ways(made)[0] == {"clips": 3, **CPU} and ways(made)[-1] == {"clips": 1}
    assert ways([]) == []


@pytest.mark.parametrize(
    ("way", "said"),
    [
        (
            {"clips": 5521, **GPU, "batch_size": 64},
            "5,521 clips: NVIDIA H100, float16, triton attention, CUDA graphs, 64 at once",
        ),
        ({"clips": 1, **CPU, "batch_size": 8}, "1 clip: x86_64, float32, torch attention, 8 at once"),
        ({"clips": 2, "device_name": "x86_64", "dtype": "float32"}, "2 clips: x86_64, float32"),
        ({"clips": 2, "batch_size": 4}, "2 clips: 4 at once"),
        ({"clips": 7}, "7 clips: how was not recorded"),
    ],
)
def test_a_way_in_words(way: dict[str, object], said: str) -> None:
    assert words(way) == said


def test_a_result_says_in_which_ways_its_clips_were_made() -> None:
    values = {"a": {"fad": 1.0}, "b": {"fad": 2.0}, "folder": {"fad": 3.0}}
    alike = {"a": row(made=[{"clips": 12, **CPU}]), "b": row(made=[{"clips": 12, **CPU}]), "folder": row()}
    one, way = document(record(values, rows=alike)), "12 clips: x86_64, float32, torch attention"
    assert one.provenance["generated"] == way
    assert one.plain["made"] == {name: [{"clips": 12, **CPU}] for name in ("a", "b")}
    assert f"- generated: {way}" in report.renderer("markdown")(one)
    assert '"attention": "torch"' in report.renderer("json")(one)
    several = alike | {"b": row(made=[{"clips": 8, **GPU}, {"clips": 4, **CPU}])}
    said = document(record(values, rows=several)).provenance
    assert {name: text for name, text in said.items() if "generated" in name} == {
        "generated a": way,
        "generated b": "8 clips: NVIDIA H100, float16, triton attention, CUDA graphs; 4 clips: x86_64, float32, torch "
        "attention",
    }
    assert "generated" not in document(record(values)).provenance  # an older result
