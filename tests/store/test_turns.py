"""Processes that make the same things at once meet, instead of following each other."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.store import leases
from evalkit.store.cache import Cache
from evalkit.store.collection import Collection
from evalkit.store.digests import digest
from evalkit.store.entry import Item
from evalkit.store.turns import Turns

NAMES = [f"thing {i}" for i in range(6)]
THINGS = {digest(name): name for name in NAMES}


@pytest.fixture
def things(tmp_path: Path) -> Collection:
    return Cache(tmp_path).collection("features", "things")


def make(things: Collection, *names: str) -> None:
    things.write({digest(name): Item(np.ones((1, 2), np.float32)) for name in names})


def other(things: Collection, since: float, pid: int) -> Path:
    """The lease of another living process, which has used a collection since then."""
    about: dict[str, Any] = {**leases._process(pid), "folder": "", "collections": [things.name]}
    path = things.root / leases.FOLDER / f"run-{pid}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**about, "since": {things.name: since}}))
    return path


def test_a_process_alone_goes_from_the_beginning_and_looks_nowhere(things: Collection) -> None:
    with leases.lease(things.root):
        things.having(THINGS)
        turns = Turns(things, THINGS, there=lambda _: pytest.fail("looked"))
        assert list(turns.batches(lambda left: 4)) == [NAMES[:4], NAMES[4:]]


def test_a_process_without_a_lease_goes_from_the_beginning(things: Collection) -> None:
    assert list(Turns(things, THINGS).batches(lambda left: 4)) == [NAMES[:4], NAMES[4:]]


def test_the_second_process_goes_from_the_end_until_they_meet(things: Collection) -> None:
    other(things, 0.0, os.getppid())
    with leases.lease(things.root):
        things.having(THINGS)
        batches = Turns(things, THINGS).batches(lambda left: 2)
        assert next(batches) == [NAMES[5], NAMES[4]]
        make(things, *NAMES[:3])
        assert list(batches) == [[NAMES[3]]]


def test_the_first_process_goes_on_from_the_beginning_and_leaves_out_what_the_second_has_made(
    things: Collection,
) -> None:
    with leases.lease(things.root):
        things.having(THINGS)
        batches = Turns(things, THINGS).batches(lambda left: 2)
        assert next(batches) == NAMES[:2]
        path = other(things, 2e10, os.getppid())
        make(things, NAMES[5])
        assert next(batches) == NAMES[2:4]
        make(things, NAMES[4])
        path.unlink()  # what it has made before it ended counts
        assert list(batches) == []


def test_processes_that_have_ended_or_use_other_things_do_not_count(things: Collection) -> None:
    other(things, 0.0, os.getppid())
    ended = other(things, 0.0, 1)
    ended.write_text(ended.read_text().replace('"pid": 1,', '"pid": 4194303,'))
    elsewhere = Cache(things.root).collection("features", "others")
    with leases.lease(things.root):
        elsewhere.having(THINGS)
        things.having(THINGS)
        assert leases.beside(things.root, elsewhere.name) == (0, 0)
        assert leases.beside(things.root, things.name) == (1, 0)


def test_a_third_process_begins_anywhere_and_makes_all_that_is_left(things: Collection) -> None:
    other(things, 0.0, os.getppid())
    other(things, 1.0, 1)
    with leases.lease(things.root):
        things.having(THINGS)
        assert leases.beside(things.root, things.name) == (2, 0)
        given = [name for batch in Turns(things, THINGS).batches(lambda left: 1) for name in batch]
        assert sorted(given) == NAMES
