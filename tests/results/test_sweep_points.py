"""Points of a sweep beside each other: differences, which may be the best, and what cannot be compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evalkit.errors import EvalkitError
from evalkit.report import renderer
from evalkit.results import recompute
from evalkit.results.compare import compare
from evalkit.results.gate import Gate
from evalkit.results.joint import jointly
from evalkit.results.pairing import Side
from evalkit.results.record import ProtocolInfo
from evalkit.results.summary import records
from evalkit.results.sweep import Sweep
from evalkit.results.sweep_points import Point, best_point, joint
from evalkit.results.sweep_record import Objective
from evalkit.stats import best, jackknife
from evalkit.stats.means import standard_error
from tests.results.sides import side
from tests.results.swept import DEFAULT, OBJECTIVES, N, grid, measured, options, sweep

IDS = [f"p{i:05}" for i in range(N)]
METRICS = ["fad", "kld", "clap_score", "silence_share", "side_to_mid"]


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> list[Point]:
    return grid(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def made(points: list[Point]) -> Sweep:
    return sweep(points)


def score(found: Sweep, point: int, metric: str) -> dict[str, Any]:
    scores = found.scores
    (row,) = records(scores[(scores["point"] == point) & (scores["metric"] == metric)])
    return row


def about(found: Sweep, point: int) -> dict[str, Any]:
    (row,) = records(found.points[found.points["point"] == point])
    return row


def sides(points: Sequence[Point]) -> list[Side]:
    return [point.side for point in points if point.side is not None]


def compared(baseline: Side, candidate: Side) -> dict[str, dict[str, Any]]:
    """What `evalkit compare` says of two points, by metric, with as many groups of prompts."""
    found = compare([baseline], [candidate], Gate({}, swaps=19, groups=100, may_differ=("sampling",)))
    return {
        str(row["metric"]): {str(key): value for key, value in row.items()} for row in found.metrics.to_dict("records")
    }


BOUNDS = ("", "_low", "_high")


def expected(baseline: Side, candidate: Side, metric: str) -> Any:
    """Difference and bounds as a comparison has them."""
    found = compared(baseline, candidate)[metric]
    return pytest.approx([found[key] for key in ("difference", "low", "high")], rel=1e-9)


def best_of(found: Sweep, metric: str) -> int:
    chosen = found.scores[(found.scores["metric"] == metric) & found.scores["best"]]
    return int(chosen["point"].item())


@pytest.mark.parametrize("number", [2, 4])
def test_differences_are_those_of_a_comparison(points: list[Point], made: Sweep, number: int) -> None:
    ours = sides(points)
    for metric in METRICS:
        row = score(made, number, metric)
        assert [row[f"to_default{end}"] for end in BOUNDS] == expected(ours[0], ours[number - 1], metric)
        if metric != "side_to_mid":
            top = ours[best_of(made, metric) - 1]
            assert [row[f"to_best{end}"] for end in BOUNDS] == expected(top, ours[number - 1], metric)


def test_every_metric_has_a_row_with_the_points_own_value(points: list[Point], made: Sweep) -> None:
    assert made.scores["metric"].tolist() == METRICS * 6 and made.scores["n"].eq(N).all()
    for number, one in enumerate(sides(points), 1):
        for metric in METRICS:
            own = one.record.scores[one.record.scores["metric"] == metric].iloc[0]
            assert [score(made, number, metric)[key] for key in ("value", "low", "high")] == pytest.approx(
                own[["value", "low", "high"]].tolist(), nan_ok=True
            )


def test_the_winner_is_the_best_of_the_first_objective_and_each_metric_has_its_best(made: Sweep) -> None:
    assert made.winner == 6 and made.default == DEFAULT
    assert made.remarks == ["FAD: differences, and which point is the best, are corrected for bias by the jackknife"]
    for metric, sign in (("fad", 1), ("kld", 1), ("clap_score", -1)):
        own = made.scores[made.scores["metric"] == metric]
        assert own["best"].sum() == 1
        top = own.loc[own["best"], "point"].item()
        assert (sign * own.loc[~own["best"], "to_best"] > 0).all()
        assert math.isnan(score(made, top, metric)["to_best"]) and score(made, top, metric)["p_best"] == 1
    neither = made.scores[made.scores["metric"] == "side_to_mid"]
    assert not neither["best"].any() and neither["among_best"].isna().all() and neither["to_best"].isna().all()
    assert neither["to_default"].notna().sum() == 5


def test_which_may_be_the_best_is_what_the_statistics_say_of_the_same_influences(
    points: list[Point], made: Sweep
) -> None:
    drawn = best.multipliers(N, 500, 0)
    parts = {one.metric: joint(sides(points), one.metric, IDS) for one in OBJECTIVES}
    for one in OBJECTIVES:
        chosen, p = best.not_worse(*parts[one.metric], drawn, 0.95, not one.higher_is_better)
        own = made.scores[made.scores["metric"] == one.metric]
        assert own["among_best"].tolist() == chosen.tolist() and own["p_best"].tolist() == p.tolist()
    estimates, influences = (np.array(part) for part in zip(*parts.values(), strict=True))
    front = best.on_front(estimates, influences, drawn, np.array([True, True, False]))
    assert made.points["front"].tolist() == front.tolist()
    assert front.min() + 0.01 > 0 and front.max() > 0.5


def test_shares_are_told_apart_by_an_exact_test(points: list[Point], made: Sweep) -> None:
    has = jointly(sides(points), "silence_share", IDS).shares
    assert has is not None
    chosen, p = best.shares_not_worse(has, 0.95, lower_is_better=True)
    own = made.scores[made.scores["metric"] == "silence_share"]
    assert own["among_best"].tolist() == chosen.tolist() and own["p_best"].tolist() == pytest.approx(p.tolist())


def test_guards_and_names_stand_beside_each_point(made: Sweep) -> None:
    assert about(made, 2)["name"] == "guidance_scale=3, top_k=50"
    assert made.points["default"].tolist() == [True, *[False] * 5]
    for number in range(1, 7):
        row = about(made, number)
        assert row["silence_share"] == score(made, number, "silence_share")["value"] and math.isnan(
            row["clipped_clips"]
        )
        assert (row["row"], row["status"], row["reason"], row["n"]) == ("m", "ok", "", 12)


def test_estimates_and_influences_of_means_are_those_of_each_prompts_value(points: list[Point]) -> None:
    estimates, influences = joint(sides(points), "kld", IDS)
    for k, one in enumerate(sides(points)):
        own = one.record.values[one.record.values["metric"] == "kld"].set_index("id").loc[IDS, "value"].to_numpy()
        assert estimates[k] == pytest.approx(own.mean())
        assert standard_error(influences[k]) == pytest.approx(own.std(ddof=1) / math.sqrt(N))
        # groups of one prompt each, in an order of their own
        assert np.sort(influences[k]) == pytest.approx(np.sort(own - own.mean()))


def test_several_clips_of_a_prompt_are_averaged(tmp_path: Path) -> None:
    ours = [measured(tmp_path, seed, samples=3) for seed in (1, 2)]
    estimates, influences = joint(ours, "kld", IDS)
    values = [one.record.values[one.record.values["metric"] == "kld"].groupby("id")["value"].mean() for one in ours]
    assert estimates == pytest.approx([own.mean() for own in values])
    assert np.sort(influences[1] - influences[0])[0] == pytest.approx(
        ((values[1] - values[1].mean()) - (values[0] - values[0].mean())).min()
    )
    fad = joint(ours, "fad", IDS)[0]
    singles = [joint([one], "fad", IDS)[0][0] for one in ours]
    assert fad == pytest.approx(singles)


def test_sets_are_corrected_by_the_jackknife_over_the_same_groups(points: list[Point]) -> None:
    one = sides(points)[0]
    estimates, influences = joint([one], "fad", IDS)
    which = jackknife.groups(IDS, 100, 0)
    without = [_fad(one, [i for i, own in zip(IDS, which, strict=True) if own != group]) for group in range(N)]
    estimate, moved = jackknife.influences(_fad(one, IDS), np.array(without), np.ones(N))
    assert estimates[0] == pytest.approx(estimate) and influences[0] == pytest.approx(moved)


def _fad(one: Side, ids: list[str]) -> float:
    return recompute.score(one.record, one.row, "fad", ids).value


def test_more_prompts_than_groups_move_values_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 250
    values = rng.standard_normal((2, 1, n))
    ours = [side(tmp_path, "m", {"kld": own}, digest=str(k)) for k, own in enumerate(values)]
    ids = [f"p{i:05}" for i in range(n)]
    _, influences = joint(ours, "kld", ids)
    assert influences.shape == (2, 100)
    which = jackknife.groups(ids, 100, 0)
    of_groups = np.bincount(which, values[0, 0] - values[0, 0].mean()) * 100 / n
    assert influences[0] == pytest.approx(of_groups)
    errors = [standard_error(own) for own in influences]
    assert errors == pytest.approx(values[:, 0].std(axis=1, ddof=1) / math.sqrt(n), rel=0.3)


def test_prompts_without_a_value_at_some_point_are_left_out_at_all_and_groups_stay_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = np.stack([rng.standard_normal((3, 1, N)), np.ones((3, 1, N))], axis=-1)
    parts[1, 0, :6] = 0.0  # six prompts have no items at the second point
    ours = [side(tmp_path, "m", {"kld": own}, digest=str(k)) for k, own in enumerate(parts)]
    found = jointly(ours, "kld", IDS)
    assert found.ids == IDS[6:] and found.left_out == 6
    assert found.estimates == pytest.approx(parts[:, 0, 6:, 0].mean(axis=1))
    which = jackknife.groups(IDS, 100, 0)
    assert (found.influences[:, which[:6]] == 0).all() and found.influences.shape == (3, N)
    errors = [own[0, 6:, 0].std(ddof=1) / math.sqrt(N - 6) for own in parts]
    assert [standard_error(own) for own in found.influences] == pytest.approx(errors)


def test_a_point_without_a_value_is_unknown_and_the_others_are_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ours = [side(tmp_path, "m", {"kld": rng.standard_normal((1, N))}, digest=str(k)) for k in range(3)]
    values = ours[1].record.values.assign(value=math.nan, sum=math.nan)
    ours[1] = Side(replace(ours[1].record, values=values), "m")
    estimates, influences = joint(ours, "kld", IDS)
    assert np.isnan(estimates).tolist() == [False, True, False] and np.isnan(influences[1]).all()
    made = sweep([Point(options(k, 1), one) for k, one in enumerate(ours)], objectives=OBJECTIVES[1:2])
    assert "of the prompt 'p00000' is nan" in score(made, 2, "kld")["note"]
    assert pd.isna(score(made, 2, "kld")["among_best"]) and math.isnan(about(made, 2)["front"])
    assert score(made, 3, "kld")["to_default"] == pytest.approx(estimates[2] - estimates[0])
    broken = [Side(replace(one.record, values=values), "m") for one in ours]
    with pytest.raises(EvalkitError, match="is nan"):
        joint(broken, "kld", IDS)
    assert best_point([Point({}, one) for one in broken], OBJECTIVES[1]) is None


def test_a_point_that_cannot_be_compared_is_unknown_to_a_race(points: list[Point], tmp_path: Path) -> None:
    long = measured(tmp_path, 9, 0.2, sampling={"top_k": 250, "duration": 30.0, "samples_per_prompt": 1})
    estimates, influences = joint([*sides(points)[:2], long], "kld", IDS)
    assert np.isnan(estimates).tolist() == [False, False, True] == np.isnan(influences).all(axis=1).tolist()
    np.testing.assert_array_equal(estimates[:2], joint(sides(points)[:2], "kld", IDS)[0])
    with pytest.raises(EvalkitError, match="kad was not measured"):
        joint(sides(points), "kad", IDS)


def test_the_best_point_is_that_of_the_sweep_and_of_equal_ones_the_default(points: list[Point]) -> None:
    assert best_point(points, OBJECTIVES[0], DEFAULT) == 6
    higher = Objective("kld", "KLD", True)
    values = joint(sides(points), "kld", IDS)[0]
    assert best_point(points, higher, DEFAULT) == int(values.argmax()) + 1
    one = points[5].side
    twice = [points[0], Point(options(6, 1), one), Point(options(6, 2), one)]
    assert best_point(twice, OBJECTIVES[0], 1) == 2 and best_point(twice, OBJECTIVES[0], 3) == 3
    assert best_point([Point({}, None, "failed", "no")], OBJECTIVES[0]) is None
    assert best_point(points, Objective("kad", "KAD", False)) is None


def test_a_parameter_without_effect_gives_points_that_do_not_differ(points: list[Point]) -> None:
    same = [points[0], replace(points[0], options=options(3, 1)), points[5]]
    made = sweep(same)
    for metric in METRICS:
        row = score(made, 2, metric)
        assert [row[f"to_default{end}"] for end in ("", "_low", "_high", "_p")] == [0, 0, 0, 1] and row["note"] == ""
    assert about(made, 1)["front"] == about(made, 2)["front"]
    two = sweep(same[:2])
    own = two.scores[two.scores["metric"].isin(["fad", "kld", "clap_score"])]
    assert own["among_best"].all() and (own["p_best"] == 1).all() and two.winner == DEFAULT
    assert two.points["front"].tolist() == [1, 1]


def test_clips_that_differ_but_for_nothing_that_a_metric_sees_have_no_interval(points: list[Point]) -> None:
    (first, *_) = sides(points)
    other = Side(replace(first.record, clips=first.record.clips.assign(sha256="others")), "m")
    made = sweep([points[0], Point(options(3, 1), other)])
    assert score(made, 2, "kld")["to_default"] == 0 and math.isnan(score(made, 2, "kld")["to_default_low"])
    assert "all prompts differ by the same" in score(made, 2, "kld")["note"]
    assert "same whichever prompts are left out" in score(made, 2, "fad")["note"]


def test_a_point_that_left_a_race_is_compared_on_its_prompts_with_points_of_as_many(
    points: list[Point], tmp_path: Path
) -> None:
    few = measured(tmp_path, 9, 0.8, n=25)
    dropped = Point(options(9, 50), few, "dropped", "worse than point 6", 25)
    made = sweep([*points, dropped])
    row = about(made, 7)
    assert (row["status"], row["n"], row["reason"]) == ("dropped", 25, "worse than point 6") and math.isnan(
        row["front"]
    )
    ours = [_of(one, IDS[:25]) for one in sides(points)]
    for metric in ("fad", "kld", "clap_score"):
        found = score(made, 7, metric)
        assert [found[f"to_default{end}"] for end in BOUNDS] == expected(ours[0], few, metric)
        assert [found[f"to_best{end}"] for end in BOUNDS] == expected(ours[best_of(made, metric) - 1], few, metric)
        assert found["n"] == 25 and pd.isna(found["among_best"]) and not found["best"]
    without = sweep(points)
    pd.testing.assert_frame_equal(made.scores[made.scores["point"] < 7], without.scores)
    assert made.points["front"].tolist()[:6] == without.points["front"].tolist()


def _of(one: Side, ids: list[str]) -> Side:
    """A result of some of the prompts alone."""
    record = one.record
    index = record.evidence.index
    evidence = replace(record.evidence, index=index[index["id"].isin(ids)].reset_index(drop=True))
    frames = {name: getattr(record, name) for name in ("prompts", "clips", "values")}
    chosen = {name: frame[frame["id"].isin(ids)].reset_index(drop=True) for name, frame in frames.items()}
    return Side(replace(record, evidence=evidence, **chosen), one.row)


def test_failed_points_have_a_reason_and_no_numbers(points: list[Point]) -> None:
    made = sweep([*points[:2], Point(options(99, 50), None, "failed", "ValueError: too much"), points[5]])
    row = about(made, 3)
    assert (row["status"], row["reason"], row["n"], row["path"]) == ("failed", "ValueError: too much", 0, "")
    assert 3 not in made.scores["point"].tolist() and made.winner == 4
    nothing = sweep([Point(options(1, 2), None, "failed", "no")] * 2)
    assert nothing.winner is None and nothing.scores.empty and nothing.prompts == 0
    assert "No point has a value" in nothing.document().reasons[0]


def test_a_failed_default_leaves_differences_from_the_best(points: list[Point]) -> None:
    made = sweep([Point(options(3, 250), None, "failed", "no"), *points[1:]])
    assert made.scores["to_default"].isna().all() and made.winner == 6
    assert made.scores[made.scores["metric"] == "fad"]["to_best"].notna().sum() == 4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sampling": {"top_k": 250, "duration": 30.0, "samples_per_prompt": 1}}, "clips of 30 s, not 10 s"),
        ({"protocol": ProtocolInfo("fadtk", (), {})}, "fadtk, not musicgen"),
        ({"ids": [f"q{i}" for i in range(N)]}, "different prompts: 120 are in one of them only, such as 'p00000'"),
    ],
)
def test_what_cannot_be_compared_with_the_default_says_why(
    points: list[Point], tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    made = sweep([*points[:3], Point(options(9, 9), measured(tmp_path, 9, 0.2, **changes))])
    assert about(made, 4)["reason"] == f"not compared: {reason}" and about(made, 4)["status"] == "ok"
    row = score(made, 4, "fad")
    assert math.isnan(row["to_default"]) and pd.isna(row["among_best"]) and math.isnan(about(made, 4)["front"])
    assert row["value"] > 0 and row["note"] == f"not compared: {reason}"
    pd.testing.assert_frame_equal(made.scores[made.scores["point"] < 4], sweep(points[:3]).scores)


def test_other_references_cannot_be_compared(points: list[Point], tmp_path: Path) -> None:
    other = measured(tmp_path, 9, 0.2)
    clips = other.record.clips.assign(reference_sha256="another")
    made = sweep([*points[:2], Point(options(9, 9), Side(replace(other.record, clips=clips), "m"))])
    assert about(made, 3)["reason"].startswith("not compared: different references of 60 of 60 prompts")


def test_of_points_of_which_no_two_can_be_compared_none_is_marked_as_the_best(points: list[Point]) -> None:
    (first, *_) = sides(points)
    others = Side(replace(first.record, clips=first.record.clips.assign(reference_sha256="another")), "m")
    document = (made := sweep([points[0], Point(options(9, 9), others)])).document()
    assert document.reasons[0].startswith("No two points can be compared, so none is said to be the best")
    assert made.scores["among_best"].isna().all() and made.scores["p_best"].isna().all()
    assert "●" not in renderer("terminal")(document)


def test_sampling_that_is_swept_may_differ(points: list[Point], tmp_path: Path) -> None:
    other = measured(tmp_path, 9, sampling={"top_k": 50, "duration": 10.0, "samples_per_prompt": 1})
    made = sweep([points[0], Point(options(3, 50), other)])
    assert about(made, 2)["reason"] == "" and score(made, 2, "kld")["to_default"] != 0


def test_a_metric_that_is_computed_otherwise_at_a_point_is_not_compared_there_alone(
    points: list[Point], tmp_path: Path
) -> None:
    other = measured(tmp_path, 9)
    info = other.record.metrics["fad"]
    metrics = {**other.record.metrics, "fad": replace(info, definition={**info.definition, "ddof": 0})}
    changed = Side(replace(other.record, metrics=metrics), "m")
    made = sweep([*points[:2], Point(options(9, 9), changed)])
    assert score(made, 3, "fad")["note"] == "computed otherwise: ddof 0, not 1"
    assert math.isnan(score(made, 3, "fad")["to_default"]) and not math.isnan(score(made, 3, "kld")["to_default"])
    assert math.isnan(about(made, 3)["front"])


def test_a_metric_that_a_point_does_not_have_is_missing_there_alone(points: list[Point], tmp_path: Path) -> None:
    other = measured(tmp_path, 9)
    metrics = {name: info for name, info in other.record.metrics.items() if name != "kld"}
    made = sweep([*points[:2], Point(options(9, 9), Side(replace(other.record, metrics=metrics), "m"))])
    assert not math.isnan(score(made, 3, "fad")["to_default"]) and math.isnan(score(made, 3, "kld")["to_default"])


def test_points_are_compared_on_the_prompts_that_all_can_use(points: list[Point], tmp_path: Path) -> None:
    other = measured(tmp_path, 9, 0.2)
    clips = other.record.clips.copy()
    clips.loc[clips["id"] == IDS[7], "status"] = "empty"
    broken = Side(replace(other.record, clips=clips), "m")
    made = sweep([*points[:2], Point(options(9, 9), broken)])
    assert made.prompts == N - 1
    assert made.remarks[:1] == [
        "differences are of the 59 of 60 prompts that have clips that can be used at all points; without: point 3 (1)"
    ]
    rest = [i for i in IDS if i != IDS[7]]
    assert score(made, 2, "kld")["to_default"] == pytest.approx(np.diff(joint(sides(points)[:2], "kld", rest)[0])[0])


def test_the_winner_again_is_better_worse_or_not_told_apart(points: list[Point], tmp_path: Path) -> None:
    again = {name: measured(tmp_path, 100 + k, by) for k, (name, by) in enumerate([("d", 0.5), ("w", 0.0), ("s", 0.5)])}
    made = sweep(points, confirmed=(again["d"], again["w"]), fresh_seed=7)
    assert made.confirmed["metric"].tolist() == ["fad", "kld", "clap_score"]
    assert made.confirmed["verdict"].tolist() == ["better"] * 3 and made.confirmed["n"].eq(N).all()
    for row in made.confirmed.to_dict("records"):
        assert [row[key] for key in ("difference", "low", "high")] == expected(again["d"], again["w"], row["metric"])
        assert row["difference"] == pytest.approx(row["winner"] - row["default"], rel=0.3)
    turned = sweep(points, confirmed=(again["w"], again["d"]), fresh_seed=7)
    assert turned.confirmed["verdict"].tolist() == ["worse"] * 3
    alike = sweep(points, confirmed=(again["d"], again["s"]), fresh_seed=7)
    assert alike.confirmed["verdict"].tolist() == ["not told apart"] * 3


def test_a_single_prompt_tells_nothing_of_others(tmp_path: Path) -> None:
    ours = [side(tmp_path, "m", {"kld": np.array([[float(k)]])}, digest=str(k)) for k in range(2)]
    made = sweep([Point(options(k, 1), one) for k, one in enumerate(ours)], objectives=OBJECTIVES[1:2])
    row = score(made, 2, "kld")
    assert row["to_default"] == 1 and math.isnan(row["to_default_low"]) and "of a single prompt" in row["note"]
    assert pd.isna(row["among_best"]) and made.winner == 1 and made.points["front"].isna().all()


def test_nothing_depends_on_the_order_of_points(points: list[Point], made: Sweep) -> None:
    order = [0, 4, 2, 5, 1, 3]
    moved = sweep([points[i] for i in order])
    for place, i in enumerate(order, 1):
        for metric in METRICS:
            ours, theirs = score(made, i + 1, metric), score(moved, place, metric)
            for key in ("to_default", "to_default_low", "to_best", "p_best"):
                assert theirs[key] == pytest.approx(ours[key], nan_ok=True, abs=1e-12)
        assert about(moved, place)["front"] == about(made, i + 1)["front"]
