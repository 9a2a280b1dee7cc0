"""The search by Optuna: what it chooses, what outlives a killed process, and files that are no study of it."""

from __future__ import annotations

import importlib.metadata
import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import EvalkitError
from evalkit.results.sweep_record import Objective
from evalkit.sweeping import study as files
from evalkit.sweeping.space import Space, Swept
from evalkit.sweeping.tpe import Tpe

from ..conftest import ROOT

optuna = pytest.importorskip("optuna")

FAD, CLAP = Objective("fad", "FAD", False), Objective("clap_score", "CLAP score", True)
GUIDANCE = Swept("g", "g", "interval(1,8)", "floats", low=1.0, high=8.0)
TOP_K = Swept("k", "k", "interval(10,1000)", "integers", low=10, high=1000, step=1, log=True)
NAMES = Swept("m", "m", "a,b,c", "choices", ("a", "b", "c"))
WIDE = Space((GUIDANCE, TOP_K, NAMES), ())
SMALL = Space((Swept("x", "x", "1,2,3", "choices", (1, 2, 3)), Swept("y", "y", "a,b", "choices", ("a", "b"))), ())
DEFAULT = {"g": 3.0, "k": 250, "m": "b"}


def measured(options: Mapping[str, Any]) -> list[float]:
    """FAD and CLAP score, both best at g = 4."""
    off = math.log(options["g"] / 4) ** 2 + 0.1 * math.log10(options["k"] / 250) ** 2
    return [4 + off + 0.05 * "abc".index(options["m"]), 0.3 - 0.02 * off]


def search(path: Path, trials: int = 8, space: Space = WIDE, objectives: Sequence[Objective] = (FAD, CLAP),
           **changes: Any) -> Tpe:  # fmt: skip
    return Tpe(space, objectives, trials, path, **changes)


def points(
    found: Tpe, of: Callable[[Mapping[str, Any]], Sequence[float] | None] = measured, most: int | None = None
) -> list[dict[str, Any]]:
    """Measure what a search asks for, at most so many points, and end it."""
    asked: list[dict[str, Any]] = []
    while (most is None or len(asked) < most) and (options := found.ask()) is not None:
        values = of(options)
        found.tell(options, values, "" if values is not None else "out of memory\nwhile …")
        asked.append(options)
    found.close()
    return asked


def trials(path: Path) -> list[Any]:
    """All trials of a study, as Optuna reads them."""
    with files.quiet():
        found: list[Any] = optuna.load_study(study_name=files.NAME, storage=f"sqlite:///{path}").get_trials()
    return found


def states(path: Path) -> list[str]:
    return [trial.state.name for trial in trials(path)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study.db"


def test_a_search_gives_as_many_points_as_are_wanted_within_the_space(path: Path) -> None:
    found = points(search(path, 20))
    assert len(found) == 20
    for options in found:
        assert 1 <= options["g"] <= 8
        assert isinstance(options["k"], int)
        assert 10 <= options["k"] <= 1000
        assert options["m"] in ("a", "b", "c")
    assert states(path) == ["COMPLETE"] * 20


def test_values_are_stored_with_their_directions(path: Path) -> None:
    found = points(search(path, 3))
    with files.quiet():
        study = optuna.load_study(study_name=files.NAME, storage=f"sqlite:///{path}")
    assert [direction.name for direction in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    for trial, options in zip(study.trials, found, strict=True):
        assert trial.params == {**options, "g": pytest.approx(options["g"], rel=1e-3)}
    assert [trial.values for trial in study.trials] == [measured(options) for options in found]


def test_the_default_is_the_first_point_and_is_not_chosen_twice(path: Path) -> None:
    found = points(search(path, 6, default=DEFAULT))
    assert found[0] == DEFAULT
    assert found.count(DEFAULT) == 1
    assert len(found) == 6
    assert points(search(path, 8, default=DEFAULT))[:6] == found


@pytest.mark.parametrize("default", [{"g": 9.0, "k": 250, "m": "b"}, {"g": 3.0, "k": 250, "m": "d"},
                                     {"g": None, "k": 250, "m": "b"}, {"g": 3.0, "k": 250.5, "m": "b"}])  # fmt: skip
def test_a_default_outside_the_space_counts_but_is_not_asked_for(path: Path, default: dict[str, Any]) -> None:
    found = points(search(path, 6, default=default))
    assert len(found) == 5
    assert default not in found


def test_the_same_seed_chooses_the_same_points_and_another_one_others(tmp_path: Path) -> None:
    first = points(search(tmp_path / "a.db", 14, seed=3))
    assert points(search(tmp_path / "b.db", 14, seed=3)) == first
    assert points(search(tmp_path / "c.db", 14, seed=4)) != first


def test_a_second_call_goes_on_to_its_total_and_gives_the_points_of_the_first_one_first(tmp_path: Path) -> None:
    whole = points(search(tmp_path / "whole.db", 16, default=DEFAULT))
    part = tmp_path / "part.db"
    assert points(search(part, 7, default=DEFAULT)) == whole[:7]
    assert points(search(part, 7, default=DEFAULT)) == whole[:7]
    assert len(trials(part)) == 7
    assert points(search(part, 16, default=DEFAULT)) == whole
    assert len(trials(part)) == 16
    assert points(search(part, 3, default=DEFAULT)) == whole  # nothing is taken away


def test_the_search_comes_nearer_to_the_best(path: Path) -> None:
    space = Space((GUIDANCE,), ())
    found = points(search(path, 40, space, [FAD]), lambda options: [abs(options["g"] - 5.5)])
    early, late = (sum(abs(o["g"] - 5.5) for o in part) / 10 for part in (found[:10], found[30:]))
    assert late < early / 2


def test_numbers_of_an_interval_have_four_digits_and_the_default_all_of_its_own(path: Path) -> None:
    space = Space((Swept("t", "t", "…", "floats", low=1.00001, high=1.00004), GUIDANCE), ())
    found = points(search(path, 6, space, [FAD], default={"t": 1.0000123, "g": 2.718281828}), lambda options: [1.0])
    assert found[0] == {"t": 1.0000123, "g": 2.718281828}
    assert all(1.00001 <= options["t"] <= 1.00004 for options in found)
    assert all(options["g"] == float(f"{options['g']:.4g}") for options in found[1:])
    assert points(search(path, 6, space, [FAD], default=found[0]), lambda options: [1.0]) == found


def test_numbers_of_a_range_are_its_own(path: Path) -> None:
    tenths = (0.1, 0.2, 0.3, 0.4, 0.5)
    space = Space((Swept("t", "t", "range(0.1,0.6,0.1)", "floats", tenths, 0.1, 0.5, 0.1),
                   Swept("n", "n", "range(10,40,10)", "integers", (10, 20, 30), 10, 30, 10)), ())  # fmt: skip
    found = points(search(path, 15, space, [FAD], default={"t": 0.3, "n": 20}), lambda o: [o["t"] * o["n"]])
    assert found[0] == {"t": 0.3, "n": 20}
    assert len({tuple(options.items()) for options in found}) == 15
    assert {options["t"] for options in found} == set(tenths)
    assert {options["n"] for options in found} == {10, 20, 30}


def test_values_that_are_alike_to_python_are_kept_apart(path: Path) -> None:
    values = (1, True, 0, False, None, "1", [1, 2], {"a": 1})
    space = Space((Swept("v", "v", "…", "choices", values),), ())
    found = points(search(path, 20, space, [FAD]), lambda options: [1.0])
    assert sorted(map(repr, (options["v"] for options in found))) == sorted(map(repr, values))
    assert points(search(path, 20, space, [FAD]), lambda options: [1.0]) == found


def test_no_point_is_given_twice_and_the_search_ends_where_there_are_no_more(path: Path) -> None:
    first = search(path, 50, SMALL, [FAD])
    found = points(first, lambda options: [float(options["x"])])
    assert sorted((o["x"], o["y"]) for o in found) == [(x, y) for x in (1, 2, 3) for y in "ab"]
    assert first.facts["exhausted"] == "there are no more than 6 points in the space"
    assert first.facts["points"] == 6
    assert first.facts["repeated"] == len(trials(path)) - 6
    again = search(path, 50, SMALL, [FAD])
    assert points(again, lambda options: [float(options["x"])]) == found
    assert again.facts == first.facts


def test_a_point_that_the_sampler_insists_on_is_told_and_another_one_is_drawn(path: Path) -> None:
    space = Space((Swept("x", "x", "…", "choices", tuple(range(24))),), ())
    found = search(path, 24, space, [FAD])
    asked = points(found, lambda options: [abs(options["x"] - 12.0)])
    assert sorted(options["x"] for options in asked) == list(range(24))
    assert found.facts["repeated"] > 0
    assert {trial.values[0] for trial in trials(path) if trial.params["x"] == 12} == {0.0}


def test_a_point_that_failed_counts_and_is_not_asked_for_again(path: Path) -> None:
    def fails(options: Mapping[str, Any]) -> list[float] | None:
        return None if options["x"] == 2 else [float(options["x"])]

    found = points(search(path, 6, SMALL, [FAD]), fails)
    assert len(found) == 6
    failed = [trial for trial in trials(path) if trial.params["x"] == 2]
    assert {trial.state.name for trial in failed} == {"FAIL"}
    assert failed[0].user_attrs["error"] == "out of memory\nwhile …"


def test_a_point_that_failed_and_now_does_not_is_corrected_in_the_study(path: Path) -> None:
    found = points(search(path, 6, SMALL, [FAD]), lambda options: None if options["x"] == 2 else [1.0])
    assert points(search(path, 6, SMALL, [FAD]), lambda options: [float(options["x"])]) == found
    assert [t.values for t in trials(path) if t.params["x"] == 2 and t.values] == [[2.0], [2.0]]
    third = search(path, 6, SMALL, [FAD])
    assert points(third, lambda options: [float(options["x"])]) == found
    assert len([trial for trial in trials(path) if trial.values and "repeats" not in trial.user_attrs]) == 6
    assert third.facts["differing"].startswith("2 points")  # those of x=3


def test_all_points_may_fail(path: Path) -> None:
    assert len(points(search(path, 12), lambda options: None)) == 12
    assert states(path) == ["FAIL"] * 12


def test_optuna_says_nothing(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points(search(path, 12, default=DEFAULT))
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before


def test_nothing_but_the_study_stays_behind(path: Path) -> None:
    points(search(path, 2))
    assert [one.name for one in path.parent.iterdir()] == ["study.db"]


STOPPED = """
import sys, time
from pathlib import Path
from tests.sweeping.test_tpe import DEFAULT, measured, search
found = search(Path(sys.argv[1]), 12, default=DEFAULT)
for number in range(int(sys.argv[2])):
    options = found.ask()
    found.tell(options, measured(options), "")
print(found.ask(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def in_the_middle(path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Another process that measures its sixth point, and that point."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(path), "5"], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )
    assert process.stdout
    try:
        yield process, eval(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_search_that_was_killed_goes_on_as_it_would_have(
    path: Path, tmp_path: Path, in_the_middle: tuple[subprocess.Popen[str], dict[str, Any]]
) -> None:
    process, sixth = in_the_middle
    assert states(path) == ["COMPLETE"] * 5 + ["RUNNING"]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (tmp_path / "study.db.lock").exists()
    whole = points(search(tmp_path / "whole.db", 12, default=DEFAULT))
    again = search(path, 12, default=DEFAULT)
    assert states(path) == ["COMPLETE"] * 5 + ["FAIL", "WAITING"]
    found = points(again)
    assert found == whole
    assert found[5] == sixth
    assert states(path) == ["COMPLETE"] * 5 + ["FAIL"] + ["COMPLETE"] * 7
    assert sorted(one.name for one in tmp_path.iterdir()) == ["study.db", "whole.db"]


def test_a_search_that_is_stopped_several_times_at_one_point_does_not_lose_it(path: Path) -> None:
    first = search(path, 4, default=DEFAULT)
    asked = first.ask()
    first.close()
    for _ in range(3):
        found = search(path, 4, default=DEFAULT)
        assert found.ask() == asked
        found.close()
    assert len(points(search(path, 4, default=DEFAULT))) == 4
    assert states(path).count("COMPLETE") == 4
    assert set(states(path)) == {"COMPLETE", "FAIL"}


def test_two_sweeps_cannot_use_one_study_at_once(
    path: Path, in_the_middle: tuple[subprocess.Popen[str], dict[str, Any]]
) -> None:
    process, _ = in_the_middle
    with pytest.raises(EvalkitError, match=rf"another sweep \(process {process.pid}\) uses the study '.*study.db'"):
        search(path, 12, default=DEFAULT)
    assert states(path) == ["COMPLETE"] * 5 + ["RUNNING"]


def test_a_search_of_this_process_holds_its_study_too(path: Path) -> None:
    first = search(path)
    with pytest.raises(EvalkitError, match=f"process {os.getpid()}"):
        search(path)
    first.close()
    search(path).close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"space": Space((GUIDANCE, TOP_K, Swept("m", "m", "a,b", "choices", ("a", "b"))), ())},
            "another space (m was a,b,c, and is a,b)",
        ),
        (
            {"space": Space((GUIDANCE, TOP_K), ())},
            "another space (m was a,b,c, and is not there)",
        ),
        ({"objectives": [FAD]}, "other objectives (fad, clap_score, and not fad)"),
        ({"objectives": [CLAP, FAD]}, "other objectives (fad, clap_score, and not clap_score, fad)"),
        (
            {"base": {"sampling": {"seed": 1, "g": 2}, "prompts": {"path": "a.csv"}, "cache_dir": "/x"}},
            "other options (sampling.seed was 0, and is 1)",
        ),
        (
            {"base": {"sampling": {"seed": 1}, "prompts": {"path": "b.csv", "first": 5}}},
            "other options (sampling.seed was 0, and is 1; prompts.path was a.csv, and is b.csv; 1 more differ)",
        ),
    ],
)  # fmt: skip
def test_a_study_of_something_else_is_refused_by_what_differs(path: Path, changes: dict[str, Any], said: str) -> None:
    base: dict[str, Any] = {"sampling": {"seed": 0}, "prompts": {"path": "a.csv"}, "cache_dir": "/y", "g": 3}
    if "base" in changes and "g" in changes["base"]["sampling"]:
        base["sampling"] = {"seed": 0, "g": 2}
    points(search(path, 3, base=base))
    before = path.read_bytes()
    expected = f"'{path}' is a study of {said}: give the same options as before, or another file as --study"
    with pytest.raises(EvalkitError, match=f"^{re.escape(expected)}$"):
        search(path, **{"base": base, **changes})
    assert path.read_bytes() == before
    search(
        path, base={**base, "checkpoint": None, "cache_dir": "/z", "g": 4, "name": "new"}
    ).close()  # of these no number depends


def test_the_way_in_which_values_are_written_makes_no_other_space(path: Path) -> None:
    points(search(path, 2))
    wide = Space((Swept("g", "g", "interval(1.0, 8.0)", "floats", low=1.0, high=8.0), TOP_K, NAMES), ("x=1",))
    assert len(points(search(path, 2, wide))) == 2


def other_version(path: Path, table: str, column: str, value: Any) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
    connection.commit()
    connection.close()


def not_sqlite(path: Path) -> None:
    path.write_text("prompt,caption\n" * 100)


def of_something_else(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE music (id INTEGER)")
    connection.commit()
    connection.close()


def of_another_program(path: Path) -> None:
    with files.quiet():
        optuna.create_study(study_name="mine", storage=f"sqlite:///{path}")


def of_another_optuna(path: Path) -> None:
    points(search(path, 2))
    other_version(path, "alembic_version", "version_num", "v99.0.0.a")
    other_version(path, "version_info", "library_version", "99.0.0")


def without_our_attribute(path: Path) -> None:
    with files.quiet():
        study = optuna.create_study(study_name=files.NAME, storage=f"sqlite:///{path}", directions=2 * ["minimize"])
        study.ask()


def damaged(path: Path) -> None:
    points(search(path, 2))
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (not_sqlite, "is no SQLite database, and no study of a sweep: give another file as --study"),
        (of_something_else, "is a database of something else, and no study of a sweep: give another file as --study"),
        (of_another_program, "holds other studies (mine): give another file as --study"),
        (of_another_optuna, f"is of another version of Optuna (99.0.0, this one is {optuna.__version__}): install"),
        (without_our_attribute, "is no study of evalkit: give another file as --study"),
        (damaged, "is damaged or cannot be written (database disk image is malformed): give another file as --study"),
    ],
)
def test_a_file_that_is_no_study_of_ours_is_one_line_and_stays_as_it_is(
    path: Path, make: Callable[[Path], None], said: str
) -> None:
    make(path)
    before = path.read_bytes()
    with pytest.raises(EvalkitError, match=re.escape(said)) as caught:
        search(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["study.db"]


def test_a_folder_is_no_study(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(EvalkitError, match="is a folder: give another file as --study"):
        search(tmp_path / "folder")
    (tmp_path / "file").write_text("x")
    with pytest.raises(EvalkitError, match="cannot write"):
        search(tmp_path / "file" / "study.db")


def test_an_empty_file_and_a_new_folder_hold_a_new_study(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    assert len(points(search(tmp_path / "empty.db", 2))) == 2
    assert len(points(search(tmp_path / "new" / "folder" / "study.db", 2))) == 2


def test_tables_without_a_study_are_begun_anew(path: Path) -> None:
    with files.quiet():
        optuna.storages.RDBStorage(f"sqlite:///{path}")
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM alembic_version")  # as a process leaves it that is killed when it makes them
    connection.commit()
    connection.close()
    assert len(points(search(path, 2))) == 2


def test_a_locked_database_is_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BUSY", 0.1)
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    points(search(path, 2))
    before = path.read_bytes()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(EvalkitError, match=r"is locked by another program: end that one, or give another file"):
        search(path)
    connection.execute("ROLLBACK")
    assert path.read_bytes() == before
    found = search(path, 3)
    for _ in range(2):
        found.tell(options := found.ask() or {}, measured(options), "")
    options = found.ask() or {}
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(EvalkitError, match=r"cannot be read or written \(database is locked\): what is in it"):
        found.tell(options, measured(options), "")
    connection.close()
    found.close()
    assert points(search(path, 3))[2] == options


@pytest.mark.parametrize("version", [None, "3.6.1", "4.8.0"])
def test_a_missing_or_old_optuna_is_one_line(path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    known = importlib.metadata.version

    def found(name: str) -> str:
        if name != "optuna":
            return known(name)
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", found)
    with pytest.raises(EvalkitError, match=re.escape('pip install "evalkit[search]"')):
        search(path)
    assert not list(path.parent.iterdir())


def test_facts_are_what_a_record_can_hold(path: Path) -> None:
    found = search(path, 3, seed=7)
    points(found)
    assert found.facts == {
        "sampler": f"TPE of optuna {optuna.__version__}", "seed": 7, "trials": 3, "points": 3, "repeated": 0,
    }  # fmt: skip
