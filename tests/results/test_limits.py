"""What a record says of its models' limits: nothing beyond what was measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalkit.errors import EvalkitError
from evalkit.report.document import Listing
from evalkit.results.clusters import Clusters
from evalkit.results.limits import equal, groups, silence, vocals
from evalkit.results.limits.found import limits
from evalkit.results.limits.limit import NO_DIFFERENCE, Difference, Limit, OfModel, claims, listed, verdict
from evalkit.results.limits.material import Model, paired_by_unit
from evalkit.results.limits.text import markdown
from evalkit.results.recompute import pairs_of, rebuilt
from evalkit.results.result import Result
from evalkit.results.sweep import Sweep
from evalkit.results.sweep_record import Parameter
from evalkit.stats.estimate import student
from tests.results import limited
from tests.results.sides import side


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("limits")
    return limited.saved(folder / "result", limited.result(folder, region=0.12))


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return limited.sweep(tmp_path_factory.mktemp("limits") / "sweep")


def of(found: list[OfModel]) -> dict[str, Limit]:
    (model,) = found
    return {limit.name: limit for limit in model.limits}


def rows(limit: Limit, number: int = 0) -> dict[tuple[str, str], dict[str, object]]:
    return {(row.plain["metric"], row.plain["who"]): dict(row.plain) for row in limit.tables[number].rows}


OWN = "intervals have 95% confidence one by one, and do not hold together."


def labels(limit: Limit) -> list[str]:
    (table,) = limit.tables
    assert isinstance(table, Listing)
    return [quantity.label for column in table.read() for quantity in column]


def test_languages_are_told_apart_by_what_is_worse_and_by_what_can_be_read(result: Result) -> None:
    limit = of(limits(result))["languages"]
    found = rows(limit)
    verdicts = {who: row["verdict"] for (metric, who), row in found.items() if metric == "clap_score"}
    assert verdicts == {"German": NO_DIFFERENCE, "French": NO_DIFFERENCE, "Japanese": "worse", "Hindi": "worse"}
    japanese = found["clap_score", "Japanese"]
    assert japanese["unknown"] == pytest.approx(0.6) and japanese["n"] == japanese["of"] == 60
    own = result.values[result.values["metric"] == "clap_score"].set_index("id")["value"]
    apart = own.filter(like=".ja").to_numpy() - own.filter(like=".en").to_numpy()
    assert japanese["difference"] == pytest.approx(apart.mean())
    text = " ".join(limit.said)
    assert "CLAP score: worse than the English originals in Japanese (by 0.1" in text and "Hindi (by 0." in text
    assert "no difference was seen in German and French, at most 0.0" in text
    assert "60.0 % of the text in Japanese" in text and "nearly all of the text in Hindi, where clips" in text


def test_languages_are_paired_by_caption(result: Result) -> None:
    model = Model(result, "m")
    sums = model.sums("clap_score")
    assert sums is not None
    english, german = (sums.of({i for i in sums.ids if i.endswith(language)}) for language in (".en", ".de"))
    assert english is not None and german is not None
    estimate, influence, units = paired_by_unit(english, german)
    assert estimate is not None and influence is not None and units == 60
    apart = german.sums[0] - english.sums[0]
    assert estimate.error == pytest.approx(apart.std(ddof=1) / np.sqrt(60))


def test_groups_are_compared_with_the_rest_over_captions_and_not_over_prompts(result: Result) -> None:
    limit = of(limits(result))["styles"]
    found = rows(limit)
    worse = found["clap_score", "region a"]
    assert (worse["verdict"], worse["n"], worse["of"]) == ("worse", 100, 200)
    assert (worse["units"], worse["of_units"]) == (20, 40)
    assert labels(limit)[3:7] == ["n", "n of the rest", "captions", "captions of the rest"]
    assert "hold all at once" in limit.tables[0].intro and "not judged" not in limit.tables[0].intro
    assert 'Aspects, CLAP score: worse than the rest of the prompts in "region a"' in " ".join(limit.said)
    alone = dataclasses.replace(result, prompts=result.prompts.drop(columns="cluster"))
    without = of(limits(alone))["styles"]
    as_if = rows(without)["clap_score", "region a"]
    assert not any("captions" in label or "prompts" in label for label in labels(without))
    width, narrower = (float(row["difference_high"]) - float(row["difference_low"]) for row in (worse, as_if))
    assert width > 1.5 * narrower


def test_the_rate_of_vocals_is_corrected_by_what_the_detector_hears_in_recordings(result: Result) -> None:
    limit = of(limits(result))["vocals"]
    heard, asked, sensitivity, specificity, true = (row.plain for row in limit.tables[0].rows)
    expected = (heard["share"] + specificity["share"] - 1) / (sensitivity["share"] + specificity["share"] - 1)
    assert true["share"] == pytest.approx(expected) and true["share_low"] < expected < true["share_high"]
    scores = result.scores.set_index(["model", "metric"])["value"]
    assert sensitivity["share"] == scores[limited.RECORDINGS, "vocals_in_vocal"]
    assert specificity["share"] == 1 - scores[limited.RECORDINGS, "vocals_share"]
    assert asked["n"] == 100 and heard["n"] == 200 and heard["units"] == 40
    assert "of the clips of 200 prompts (40 captions) that ask for none." in limit.said[0]
    assert "(sensitivity; 100 prompts (20 captions))" in limit.said[1]
    assert "Corrected for its errors" in limit.said[-1]


def test_without_recordings_the_rate_is_said_to_be_uncalibrated(tmp_path: Path) -> None:
    limit = of(limits(limited.saved(tmp_path / "result", limited.result(tmp_path, recordings=False))))["vocals"]
    assert "uncalibrated" in limit.said[-1] and len(limit.tables[0].rows) == 2


def test_silence_is_compared_with_the_default_point_by_point(swept: Sweep) -> None:
    limit = of(limits(swept))["silence"]
    grid, table = limit.tables
    verdicts = {row.plain["what"]: row.plain.get("verdict") for row in table.rows}
    assert list(verdicts.values()) == [None, NO_DIFFERENCE, "worse", "worse"]
    cells = {name: cell["verdict"] for row in grid.rows for name, cell in row.cells.items()}  # type: ignore[union-attr]
    assert cells == {"1.0": "default", "1.3": "worse"}
    assert [row.labels["guidance"] for row in grid.rows] == ["guidance 1", "guidance 3"]  # type: ignore[union-attr]
    assert limit.said[0].startswith("At the default (guidance_scale=3, temperature=1) ")
    assert "after 6.0 s and for 4.0 s till their end" in limit.said[0]
    assert "More do at" in limit.said[1] and "temperature=1.3 (by 5" in limit.said[1]
    assert "-60 dB" in limit.notes[0]


def test_a_record_that_was_not_made_for_it_has_no_limits(result: Result) -> None:
    plain = dataclasses.replace(
        result, slices=result.slices[result.slices["slice"] == "tag"],
        prompts=result.prompts.drop(columns=["language", "translation", "cluster"]),
    )  # fmt: skip
    assert limits(plain) == []


def test_a_grid_has_points_of_guidance_and_temperature_alone(swept: Sweep) -> None:
    points, notes = silence.of_sweep(swept)
    assert sorted(points) == [1, 2, 3, 4] and notes == []
    third = Parameter("sampling.top_k", "top_k", [50, 250], 250, True)
    at = [
        {**one, "sampling.top_k": 50 if number == 3 else 250} for number, one in enumerate(swept.points["options"], 1)
    ]
    more = dataclasses.replace(
        swept, parameters=[*swept.parameters, third], points=swept.points.assign(options=pd.Series(at))
    )  # fmt: skip
    limit = silence.swept(more, points)
    assert limit is not None
    grid, table = limit.tables
    assert [list(row.cells) for row in grid.rows] == [["1.0", "1.3"], ["1.0"]]  # type: ignore[union-attr]
    assert len(table.rows) == 4


def test_what_is_left_out_of_a_sweep_is_named(swept: Sweep) -> None:
    gone = dataclasses.replace(swept, points=swept.points.assign(path=[*swept.points["path"][:3], "elsewhere"]))
    (model,) = limits(gone)
    assert len(model.notes) == 1 and model.notes[0].startswith(
        "Left out is the point guidance_scale=1, temperature=1.3: "
    )
    without = dataclasses.replace(swept, points=swept.points.assign(path=["elsewhere", *swept.points["path"][1:]]))
    (model,) = limits(without)
    assert "clips of m at the default point of the sweep, 10 s long (sampled with " in limits(swept)[0].about
    assert model.limits == [] and "The default point was not measured" in markdown([model])


def test_languages_are_compared_on_the_captions_that_are_there_in_english_too(result: Result) -> None:
    values = result.values[~(result.values["id"].str.endswith(".en") & (result.values["id"] < "c020"))]
    found = rows(of(limits(dataclasses.replace(result, values=values)))["languages"])["clap_score", "Japanese"]
    assert found["n"] == found["of"] == 40
    assert found["difference"] == pytest.approx(float(found["value"]) - float(found["other"]))


def test_groups_of_other_words_under_the_same_names_are_not_taken_for_these(result: Result) -> None:
    others = result.slices.assign(n=result.slices["n"] + 1)
    found = of(limits(dataclasses.replace(result, slices=others)))
    assert not found["styles"].tables and "nobody can tell" in found["styles"].notes[0]
    known = {one.name for one in groups._groups(Model(result, "m"), "tag")}
    assert known == set(limited.REGIONS)
    with pytest.raises(EvalkitError, match="nobody can tell which prompts are in"):
        groups._groups(Model(dataclasses.replace(result, slices=others), "m"), "tag")


def test_fad_is_not_compared_where_more_prompts_belong_together_on_one_side(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one = side(tmp_path, "m", {}, {"fad": (rng.standard_normal((1, 120, 4, 3)), rng.standard_normal((120, 4, 3)))})
    pairs, metric = pairs_of(one.record, "m", "fad"), rebuilt(one.record.metrics["fad"])
    ids = list(pairs[0][0].ids)
    units = {name: number if number < 60 else 60 + number // 10 for number, name in enumerate(ids)}
    with pytest.raises(EvalkitError, match="equally many say unlike much"):
        equal.gap(metric, pairs, ids[:60], ids[60:], units, Clusters())


def test_languages_without_english_and_groups_of_all_prompts_are_said(result: Result) -> None:
    prompts = result.prompts.assign(language="ja", tags=pd.Series([["region a"]] * len(result.prompts)))
    slices = result.slices.assign(n=len(prompts))
    found = of(limits(dataclasses.replace(result, prompts=prompts, slices=slices[slices["group"] == "region a"])))
    assert "no captions in English" in found["languages"].notes[0] and not found["languages"].tables
    assert found["styles"].notes == ['Aspects: all prompts are in "region a".']


def test_a_share_that_no_clip_has_is_of_as_many_clips_as_there_are_captions(result: Result) -> None:
    values = result.values.copy()
    values.loc[values["metric"] == "vocals_share", ["sum", "value"]] = 0.0
    sums = Model(dataclasses.replace(result, values=values), "m").sums("vocals_share")
    assert sums is not None and vocals._rate(sums, 0.95)[0].n == pytest.approx(40)


def test_random_weights_are_announced_before_all_else(tmp_path: Path) -> None:
    (model,) = limits(limited.saved(tmp_path / "result", limited.result(tmp_path, captions=15, random=True)))
    assert model.warning.startswith("Random weights: m.")
    text = markdown([model])
    assert text.index("Random weights") < text.index("### Unwanted vocals")


def test_too_few_captions_are_shown_and_not_judged(tmp_path: Path) -> None:
    found = of(limits(limited.saved(tmp_path / "result", limited.result(tmp_path, captions=5, region=0.5))))
    assert {row["verdict"] for limit in ("languages", "styles") for row in rows(found[limit]).values()} == {""}
    assert "fewer than 6 captions" in " ".join(found["languages"].said)
    assert "too few captions to judge by" in found["styles"].said[0]
    for limit in ("languages", "styles"):
        assert {row["note"] for row in rows(found[limit]).values()} == {"fewer than 6 captions: not judged"}
        assert found[limit].tables[0].intro.endswith("No row is judged: " + OWN)


def test_intervals_of_rows_that_are_not_judged_are_said_to_be_their_own(result: Result) -> None:
    values = result.values[~((result.values["id"] > "c005") & result.values["id"].str.endswith(".ja"))]
    (table,) = of(limits(dataclasses.replace(result, values=values)))["languages"].tables
    assert "intervals of the rows that are judged hold all at once with 95% confidence" in table.intro
    assert "those of rows that are not judged have that confidence one by one" in table.intro


def test_clusters_of_several_captions_are_not_called_captions(result: Result) -> None:
    assert Model(result, "m").unit == "caption"
    prompts = result.prompts.assign(caption=[f"caption {i}" for i in result.prompts["id"]])
    several = dataclasses.replace(result, prompts=prompts)
    assert Model(several, "m").unit == "cluster" and "belong to 60 clusters" in limits(several)[0].about


def test_clips_that_were_there_already_have_no_sampling(result: Result) -> None:
    rows_of = {**result.rows, "m": dataclasses.replace(result.rows["m"], generated=False)}
    (model,) = limits(dataclasses.replace(result, rows=rows_of))
    assert model.about.startswith("clips of m, 10 s long, which were there already; data set ")


def test_the_worst_is_named_only_where_it_stands_out(result: Result) -> None:
    values = result.values.copy()
    values.loc[values["metric"] == "silence_share", ["sum", "value"]] = 0.0
    values.loc[values["metric"] == "unknown_pieces", ["sum", "value"]] = 0.0
    said = of(limits(dataclasses.replace(result, values=values)))["languages"].said
    (silent,) = [one for one in said if one.startswith("Collapsed to silence")]
    assert "percentage points worse." in silent
    assert "No text in any language is unknown to the text encoder." in said


def test_the_markdown_can_be_pasted_into_a_card(result: Result) -> None:
    text = markdown(limits(result))
    assert text.startswith("## Limitations and biases\n\nMeasured by evalkit on clips of m, 10 s long (sampled with ")
    assert "(sampled with top_k 250)" in text
    assert "; data set musiccaps, subset" in text and "which belong to 60 captions, protocol musicgen" in text
    assert "of the clips of 300 prompts (60 captions), 10 s long, collapse to silence" in text
    assert [line for line in text.splitlines() if line.startswith("### ")] == [
        "### Unwanted vocals", "### Languages", "### Styles and cultures", "### Collapse to silence",
    ]  # fmt: skip
    assert "| Japanese   |" in text


def test_claims_need_an_interval_that_leaves_out_0() -> None:
    assert verdict(0.1, 0.2, True) == "better" and verdict(0.1, 0.2, False) == "worse"
    assert verdict(-0.2, -0.1, True) == "worse" and verdict(-0.2, -0.1, None) == "lower"
    assert verdict(-0.1, 0.2, True) == verdict(0.0, 0.2, True) == NO_DIFFERENCE
    rng = np.random.default_rng(0)

    def one(value: float, units: int = 100) -> Difference:
        moved = rng.normal(size=100) / 100
        error = float(np.sqrt((moved**2).sum()))
        return Difference("x", "m", "M", True, 100, 100, units, 100, value, 0, student(value * error, error, 99), moved)

    alone, (of_many, *_) = claims([one(2.3)], 0.95), claims([one(2.3), *(one(0.0) for _ in range(20))], 0.95)
    assert alone[0].verdict == "better" and of_many.verdict == NO_DIFFERENCE and of_many.p > 0.05 > alone[0].p
    unjudged = claims([one(9.0, units=3)], 0.95)[0]
    assert unjudged.verdict == "" and unjudged.low > 0


def test_names_are_listed_in_words() -> None:
    assert listed(["a"]) == "a" and listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdef"), 3) == "a, b, c and 3 more"


def test_fad_of_groups_is_compared_at_the_same_number_of_prompts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clips, references = rng.standard_normal((1, 240, 4, 3)) + 0.5, rng.standard_normal((240, 4, 3))
    one = side(tmp_path, "m", {}, {"fad": (clips, references)})
    pairs, metric = pairs_of(one.record, "m", "fad"), rebuilt(one.record.metrics["fad"])
    ids = list(pairs[0][0].ids)
    units = {name: number // 2 for number, name in enumerate(ids)}
    small, large = ids[:40], ids[40:]
    for group, rest, sign in ((small, large, 1), (large, small, -1)):
        found = equal.gap(metric, pairs, group, rest, units, Clusters())
        values = (found.value, found.other) if sign > 0 else (found.other, found.value)
        assert found.n == 40 and found.estimate.value == pytest.approx(found.value - found.other)
        assert values[0] == pytest.approx(metric(*(one.select(small) for one in pairs[0])).value)  # type: ignore[union-attr]
        whole = metric(*(one.select(large) for one in pairs[0])).value  # type: ignore[union-attr]
        assert values[1] > whole and np.isfinite(found.influence).all()
        assert abs(found.estimate.value) < 3 * found.estimate.error < 0.6
