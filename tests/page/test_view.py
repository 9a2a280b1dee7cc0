"""What a page shows of records: names that tell systems apart, and values that the records have."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalkit.page import columns
from evalkit.page.choice import choose, makers_of
from evalkit.page.sections import clips as section
from evalkit.page.sections import summary
from evalkit.page.sources import sources
from evalkit.page.view import View, view
from evalkit.results.comparison import Comparison
from evalkit.results.folders import MANIFEST
from evalkit.results.plots import intervals
from evalkit.results.plots.plot import shown
from evalkit.results.result import Result
from evalkit.store.digests import sha256_file

from ..results import made, made_comparison
from . import pages, tones


def seen(*records: Any) -> View:
    return view(list(records), Path("report.html"))


def names(of: View) -> list[str]:
    return [system.name for system in of.systems]


def run(folder: Path, *rows: str, samples: int = 1) -> Result:
    """A result that lies in a folder."""
    rows = rows or ("m",)
    record = made.record({row: {"kld": 1.0} for row in rows}, {}, titles={"kld": ("KLD", False)}, total=3)
    first = record.clips.assign(kld=[0.1 * i for i in range(len(record.clips))])
    parts = [first.assign(sample=n + 1, kld=first["kld"] + n) for n in range(samples)]
    clips = type(first)({name: [value for part in parts for value in part[name]] for name in first})
    return pages.saved(folder, dataclasses.replace(record, clips=clips))


def compared(baseline: Sequence[Result | Path], candidate: Sequence[Result | Path], **changes: Any) -> Comparison:
    """A comparison of the rows "m" of results, or of folders where no result is."""

    def named(one: Result | Path) -> Any:
        if isinstance(one, Path):
            return made_comparison.side("m", str(one))
        return made_comparison.side("m", str(one.path), sha256=sha256_file(one.path / MANIFEST))

    made_of = made_comparison.comparison([made_comparison.metric("kld")])
    sides = {"baseline": [*map(named, baseline)], "candidate": [*map(named, candidate)]}
    return dataclasses.replace(made_of, **{"prompts": 3, **sides, **changes})


def test_several_results_of_a_side_have_names_of_their_own_and_the_table_says_that_it_shows_two(tmp_path: Path) -> None:
    one, other, new = (run(tmp_path / name) for name in ("one", "other", "new"))
    found = seen(compared([one, other], [new]))
    assert names(found) == ["m (baseline, one)", "m (baseline, other)", "m (candidate)"]
    clips = columns.clips_of(found)
    assert columns.data(found, clips)["pair"] == [0, 2]
    assert clips.remarks == [
        "The comparison is over 2 results of the baseline; A and B are single results, at first the first of either "
        "side."
    ]
    assert columns.clips_of(seen(compared([one], [new]))).remarks == []


def test_the_table_says_where_it_has_other_prompts_than_the_comparison(tmp_path: Path) -> None:
    found = seen(compared([run(tmp_path / "one")], [run(tmp_path / "new")], prompts=2))
    (said,) = columns.clips_of(found).remarks
    assert said.startswith("This table has all 3 prompts of the results; the comparison is of 2: ")


def test_folders_of_the_same_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    runs = [run(tmp_path / name / "001") for name in ("x", "y")]
    expected = [f"m ({one.path})" for one in runs]
    assert names(seen(*runs)) == expected
    plot = intervals.plot(shown(runs))
    assert plot is not None
    assert [row.cell["row"] for row in plot.numbers.rows] == expected


def test_a_side_that_is_gone_has_one_name_on_the_whole_page(tmp_path: Path) -> None:
    one, gone = run(tmp_path / "one"), tmp_path / "none"
    for sides in (([one], [gone]), ([gone], [one]), ([gone], [gone])):
        moved = made_comparison.frame("moved", [made_comparison.moved("p0", "kld")])
        found = seen(dataclasses.replace(compared(*sides), moved=moved))
        systems = columns.clips_of(found).systems
        assert sorted(systems) == [("m (baseline)", "baseline"), ("m (candidate)", "candidate")]
        assert sources(found).systems == systems


def test_a_row_that_is_not_in_its_result_is_said(tmp_path: Path) -> None:
    found = seen(compared([run(tmp_path / "one")], [run(tmp_path / "new", "other")]))
    assert names(found) == ["m (baseline)"]
    assert found.missing == [f"'{tmp_path / 'new'}' has no row 'm': its clips are not shown"]


def test_a_metric_without_any_value_has_no_column() -> None:
    nothing = made_comparison.moved("p0", "kld", baseline=math.nan, candidate=math.nan)
    made_of = made_comparison.comparison([made_comparison.metric("kld")], prompts=[nothing])
    found = seen(made_of)
    assert columns.data(found, columns.clips_of(found))["metrics"] == []


def test_what_moved_on_average_is_no_reason_of_a_single_clip(tmp_path: Path) -> None:
    moved = [made_comparison.moved("p0", "kld", baseline=0.5, candidate=2.0)]
    marks = []
    for samples in (1, 2):
        folder = tmp_path / str(samples)
        made_of = compared([run(folder / "one", samples=samples)], [run(folder / "new", samples=samples)])
        found = seen(dataclasses.replace(made_of, moved=made_comparison.frame("moved", moved)))
        (reason,) = [r for c in choose(found, sources(found)) for r in c.reasons if r.text.startswith("worsened")]
        marks.append((reason.detail, set(makers_of([reason]))))
    assert marks == [
        ("0.500 → 2.000", {(0, "kld"), (1, "kld")}),
        ("0.500 → 2.000, means over clips", set()),
    ]


def test_clips_that_cannot_be_played_are_counted_one_by_one(tmp_path: Path) -> None:
    made_of = tones.result(tmp_path, ("one",), ("p0", "p1", "p2"))
    for id in ("p0", "p1"):
        made_of = tones.changed(made_of, {"id": id}, status="silent", reason="digital silence")
    found = section.section(seen(made_of))
    assert found is not None
    body = " ".join(str(found.body).split())
    assert "0 of 6 clips are inside the page, 4 are linked, 2 cannot be played." in body
    assert "2 × silent: digital silence" in body


def test_two_folders_have_no_prompts_and_a_name_that_only_one_has_is_no_clip(tmp_path: Path) -> None:
    one = run(tmp_path / "one")
    info = dataclasses.replace(one.prompts_info, form="sets", subset="2 clips against 3 references")
    clips = one.clips.assign(status=["unpaired", "ok", "ok"])
    found = seen(dataclasses.replace(one, prompts_info=info, clips=clips))
    summary_of = str(summary.section(found).body)
    assert "2 clips against 3 references" in summary_of and "Data set" not in summary_of
    assert ">prompts<" not in summary_of and ">clips of m<" in summary_of
    heard = [source for prompt in sources(found).prompts.values() for source in prompt if source.maker == 0]
    assert len(heard) == 2
