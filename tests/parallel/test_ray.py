"""Workers of a real Ray cluster of several nodes on this machine: what they do, and what becomes of losses."""

from __future__ import annotations

import ast
import contextlib
import http.server
import importlib.util
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

import evalkit
from evalkit.errors import EvalkitError
from evalkit.parallel import ray as launching
from evalkit.parallel.ray import INSTALL, Ray, versions
from evalkit.parallel.units import Done, Hopeless, Unit
from evalkit.results.result import Result

from ..test_filling import DEMO, both, require_same
from .ray_jobs import Files, Gpus, Surroundings

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the package ray is not installed")

VERSIONS = versions()
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster that was there before: two nodes of one CPU each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        from ray.cluster_utils import Cluster

        cluster = Cluster(True, head_node_args={**NODE, "include_dashboard": False})
        try:
            cluster.add_node(**NODE)
            yield cluster
        finally:
            processes = [p.process for node in cluster.list_all_nodes() for p in started(node)]
            cluster.shutdown()
            for process in processes:
                process.wait(20)


@pytest.fixture(scope="module")
def launcher(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ray]:
    """What most tests run units with, so that actors are started once."""
    launcher = Ray(cluster.address, store=tmp_path_factory.mktemp("store"))
    yield launcher
    launcher.close()


def started(node: Any) -> list[Any]:
    """The processes of a node that Ray has started."""
    return [process for processes in node.all_processes.values() for process in processes]


def units(folder: Path, *ids: str) -> list[Unit]:
    return [Unit(Files(str(folder)), tuple(group.split())) for group in ids]


def settled(said: list[Done]) -> tuple[list[str], dict[str, str]]:
    """What was made and what failed, over all that was said."""
    return sorted(id for done in said for id in done.ids), {i: why for done in said for i, why in done.failed.items()}


def tries(folder: Path) -> dict[str, list[tuple[int, str]]]:
    """By whom each id was begun: process and node."""
    found: dict[str, list[tuple[int, str]]] = {}
    for path in (folder / "tries").glob("[!.]*"):
        process, node = path.read_text().split()
        found.setdefault(path.name.split("_")[0], []).append((int(process), node))
    return found


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait for what a condition gives; fail if it gives nothing in time."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


class Beside:
    """Runs units in a thread, so that a test can interfere."""

    def __init__(self, launcher: Ray, units: list[Unit]) -> None:
        self._said: list[Done] = []
        self._thread = threading.Thread(target=lambda: self._said.extend(launcher.run(units)))
        self._thread.start()

    def said(self) -> list[Done]:
        self._thread.join(120)
        assert not self._thread.is_alive()
        return self._said


def test_units_are_done_by_workers_on_all_nodes_and_only_ids_come_back(launcher: Ray, tmp_path: Path) -> None:
    beside = Beside(launcher, units(tmp_path, "waits-1 a", "waits-2 b", "c", "d e refused-1"))
    by = until(lambda: (found := tries(tmp_path)).keys() >= {"waits-1", "waits-2"} and found)  # both at once
    (tmp_path / "go").touch()
    made, failed = settled(beside.said())
    assert made == ["a", "b", "c", "d", "e", "waits-1", "waits-2"] == sorted(os.listdir(tmp_path / "made"))
    assert failed == {"refused-1": "it is refused"}
    (first, node), (second, other) = by["waits-1"] + by["waits-2"]
    assert first != second
    assert node != other
    assert all(len(begun) == 1 for begun in tries(tmp_path).values())


def test_a_worker_computes_and_finds_files_as_this_process_does(
    launcher: Ray, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("EVALKIT_CACHE", "/somewhere")
    monkeypatch.setenv("HF_TOKEN", "secret")
    import torch

    launcher.close()  # for room
    before = torch.get_num_threads()
    torch.set_num_threads(2)  # not what Ray would give a worker of one CPU
    try:
        apart = Ray(cluster.address, workers=1)
        names = ("HF_HUB_OFFLINE", "EVALKIT_CACHE", "HF_TOKEN")
        with contextlib.closing(apart):
            (done,) = apart.run([Unit(Surroundings(names), ("x",))])
    finally:
        torch.set_num_threads(before)
    found, threads, folder = ast.literal_eval(done.log[0])
    assert found["HF_HUB_OFFLINE"] == "1"
    assert found["EVALKIT_CACHE"] == "/somewhere"
    assert found["HF_TOKEN"] is None  # Ray shows anyone what it passes on
    assert threads == 2
    assert folder == str(tmp_path)


def test_workers_killed_in_the_middle_cost_a_unit_each_which_is_done_again(launcher: Ray, tmp_path: Path) -> None:
    beside = Beside(launcher, units(tmp_path, "waits-1", "waits-2", "b", "c"))
    by = until(lambda: (found := tries(tmp_path)).keys() >= {"waits-1", "waits-2"} and found)
    for ((process, _),) in by.values():  # all that there are
        os.kill(process, signal.SIGKILL)
    (tmp_path / "go").touch()
    assert settled(beside.said()) == (["b", "c", "waits-1", "waits-2"], {})
    again = tries(tmp_path)
    assert {id: len(begun) for id, begun in again.items()} == {"waits-1": 2, "waits-2": 2, "b": 1, "c": 1}
    assert not {process for begun in by.values() for process, _ in begun} & {
        process for id in "bc" for process, _ in again[id]
    }


def test_what_no_worker_can_do_stops_everything_at_once(launcher: Ray, tmp_path: Path) -> None:
    with pytest.raises(Hopeless, match=r"^there is no checkpoint$"):
        list(launcher.run(units(tmp_path, "hopeless-1", *"abcdefgh")))
    assert len(tries(tmp_path)["hopeless-1"]) == 1


def test_nodes_may_go_and_come_while_units_are_done(launcher: Ray, cluster: Any, tmp_path: Path) -> None:
    beside = Beside(launcher, units(tmp_path, "waits-1", "waits-2", "waits-3", "waits-4"))
    by = until(lambda: len(found := tries(tmp_path)) == 2 and found)
    (gone,) = cluster.worker_nodes
    assert gone.node_id in [node for ((_, node),) in by.values()]
    new = cluster.add_node(**NODE)
    until(lambda: new.node_id in [node for begun in tries(tmp_path).values() for _, node in begun])
    cluster.remove_node(gone)
    (tmp_path / "go").touch()
    made, failed = settled(beside.said())
    assert made == ["waits-1", "waits-2", "waits-3", "waits-4"]
    assert failed == {}
    assert Counter(len(begun) for begun in tries(tmp_path).values()) == {1: 3, 2: 1}  # only what was lost


def test_a_worker_that_does_not_see_the_store_is_said(
    launcher: Ray, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher.close()
    here = Path(f"/proc/self/cwd/{tmp_path}/cache")  # which for a node that was started in / alone is that of the test
    apart = Ray(cluster.address, workers=1, store=here, sight=0.5)
    line = f"^worker on {socket.gethostname()} does not see {here}: put cache_dir on a file system that all nodes "
    with pytest.raises(Hopeless, match=line):
        list(apart.run(units(tmp_path, "a")))
    assert tries(tmp_path) == {}
    assert os.listdir(tmp_path / "cache") == []


@pytest.mark.slow
def test_a_worker_that_has_no_evalkit_or_another_torch_is_said(
    launcher: Ray, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher.close()
    host = socket.gethostname()
    with monkeypatch.context() as patch:
        patch.setattr(launching, "versions", lambda: {**VERSIONS, "torch": "1.0"})
        line = f"^worker on {host} has torch {VERSIONS['torch']}, not 1.0 as here: install the same packages "
        with pytest.raises(Hopeless, match=line):
            list(Ray(cluster.address, workers=1).run(units(tmp_path, "a")))

    (tmp_path / "evalkit").mkdir()
    (tmp_path / "evalkit" / "__init__.py").touch()  # found first, and with nothing in it
    monkeypatch.setattr(launching, "_own_paths", lambda: [str(tmp_path)])
    with pytest.raises(EvalkitError, match=r"^workers cannot be started: .*No module named 'evalkit.parallel'.*$"):
        list(Ray(cluster.address, workers=1).run(units(tmp_path, "a")))


@pytest.mark.slow
def test_workers_that_find_no_room_are_not_waited_for_for_ever(cluster: Any, tmp_path: Path) -> None:
    line = "^no worker has found room in 1 s: each needs 1 GPU, and the Ray cluster has 0, 0 of them free; add nodes, "
    with pytest.raises(EvalkitError, match=line):
        list(Ray(cluster.address, gpu=True, patience=1.0).run(units(tmp_path, "a")))


def test_addresses_where_no_cluster_answers_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address, line in {
        f"127.0.0.1:{port}": rf"^no Ray cluster answers at engine.address=127.0.0.1:{port} \(Connection refused\): ",
        "[::1]:1": r"^no Ray cluster answers at engine.address=\[::1\]:1 ",
        "no-such-host.invalid:6379": "^no Ray cluster answers at engine.address=no-such-host.invalid:6379 ",
        "127.0.0.1:99999": "^no Ray cluster answers at engine.address=127.0.0.1:99999 ",
        "here": "^engine.address=here: neither HOST:PORT of a Ray cluster nor auto$",
        "ray://127.0.0.1:10001": "^engine.address=ray://127.0.0.1:10001: evalkit is no client of Ray's, ",
    }.items():
        start = time.monotonic()
        with pytest.raises(EvalkitError, match=line) as caught:
            list(Ray(address).run(units(tmp_path, "a")))
        assert "\n" not in str(caught.value)
        assert time.monotonic() - start < 7


@pytest.mark.slow
def test_something_else_that_answers_is_given_up_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "CONNECT", 3.0)
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_port}"
    try:
        with pytest.raises(EvalkitError, match=f"^no answer from engine.address={address} within 3 s") as caught:
            list(Ray(address).run(units(tmp_path, "a")))
        assert "\n" not in str(caught.value)
    finally:
        server.shutdown()
        server.server_close()


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EvalkitError, match=r"^engine.launcher=ray: .* is not installed: pip install 'evalkit"):
        Ray()
    assert INSTALL.endswith("'evalkit[ray]'")


# A program that starts a cluster of its own, and is told what shall become of it
PROGRAM = """
import sys
from evalkit.parallel.ray import Ray
from tests.parallel.test_ray import units
from pathlib import Path
launcher = Ray(workers=2)
try:
    for done in launcher.run(units(Path(sys.argv[1]), "waits-1", "waits-2", "kills-1 a")):
        pass
finally:
    launcher.close()
"""


@contextlib.contextmanager
def program(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Run the program until its units are being done; gives it, and the processes of its cluster."""
    home = folder / "home"  # Ray writes a token there
    home.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)],
        env={**os.environ, "HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        begun = until(lambda: (found := tries(folder)).keys() >= {"waits-1", "waits-2"} and found)
        ours = [begun["waits-1"][0][0], begun["waits-2"][0][0]]
        yield process, ours + family(process.pid)
    finally:
        process.kill()
        process.communicate()


def family(process: int) -> list[int]:
    """All that a process has started, and what that has started."""
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    return children + [one for child in children for one in family(child)]


def running(processes: list[int]) -> list[str]:
    """What of these still runs."""
    found = []
    for process in processes:
        with contextlib.suppress(OSError):
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
            if state not in "ZX":
                found.append(Path(f"/proc/{process}/cmdline").read_text().replace("\0", " "))
    return found


@pytest.mark.slow
def test_a_cluster_that_was_started_here_leaves_nothing_and_says_nothing(tmp_path: Path) -> None:
    with program(tmp_path) as (process, others):
        for part in ("gcs_server", "raylet/raylet", "dashboard/dashboard.py"):  # the last would report it
            (at,) = (other for other in others for command in running([other]) if part in command.split(" --")[0])
            assert b"RAY_USAGE_STATS_ENABLED=0" in Path(f"/proc/{at}/environ").read_bytes()
        (tmp_path / "go").touch()
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "")
        host = socket.gethostname()
        assert set(err.splitlines()) <= {f"worker {number} on {host} was lost" for number in range(2)}
        until(lambda: running(others) == [], 10)
    assert tries(tmp_path).keys() == {"waits-1", "waits-2", "kills-1", "a"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_a_program_that_is_ended_leaves_no_cluster(tmp_path: Path, number: int) -> None:
    with program(tmp_path) as (process, others):
        os.killpg(process.pid, number)  # as Ctrl-C in a terminal does
        _, err = process.communicate(timeout=30)
        assert process.returncode in (-number, 130)
        assert err.count("KeyboardInterrupt") == (number == signal.SIGINT)
        until(lambda: running(others) == [], 30)


@pytest.mark.slow
def test_a_cluster_that_was_there_goes_on(cluster: Any, launcher: Ray, tmp_path: Path) -> None:
    launcher.close()
    assert [process.process.poll() for node in cluster.list_all_nodes() for process in started(node)].count(None) >= 3
    assert settled(list(launcher.run(units(tmp_path, "a")))) == (["a"], {})
    with contextlib.closing(cast(Generator[Done], launcher.run(units(tmp_path, "b", "waits-1")))) as given_up:
        next(given_up)
        ((process, _),) = until(lambda: tries(tmp_path).get("waits-1"))
    until(lambda: running([process]) == [], 10)


@pytest.mark.slow
def test_ids_that_fail_always_or_kill_their_worker_are_reported_after_three_attempts(
    launcher: Ray, tmp_path: Path
) -> None:
    made, failed = settled(list(launcher.run(units(tmp_path, "a fails-1", "b", "kills-1", "c", "exits-1"))))
    assert made == ["a", "b", "c"]
    assert failed["fails-1"] == "ValueError: cannot make fails-1 (tried 3 times)"
    assert failed["kills-1"] == f"its worker on {socket.gethostname()} was lost (tried 3 times)"
    assert failed["exits-1"] == "it ended with exit status 3 (tried 3 times)"
    # once in a unit with another id, which does not count
    assert {id: len(begun) for id, begun in tries(tmp_path).items() if id[1:2] != ""} == {
        "fails-1": 4,
        "kills-1": 3,
        "exits-1": 3,
    }


@pytest.mark.slow
def test_a_node_that_vanishes_costs_what_was_in_flight_there(launcher: Ray, cluster: Any, tmp_path: Path) -> None:
    launcher.close()
    node = cluster.add_node(**NODE)
    beside = Beside(launcher, units(tmp_path, *[f"waits-{i}" for i in range(6)]))
    by = until(lambda: len(found := tries(tmp_path)) == 3 and found)
    cluster.remove_node(node, allow_graceful=False)  # as where the power fails
    (lost,) = (id for id, ((_, at),) in by.items() if at == node.node_id)
    (tmp_path / "go").touch()
    assert settled(beside.said()) == ([f"waits-{i}" for i in range(6)], {})
    assert Counter({id: len(begun) for id, begun in tries(tmp_path).items()}) == {
        **{f"waits-{i}": 1 for i in range(6)},
        lost: 2,
    }


@pytest.mark.slow
def test_each_worker_has_a_gpu_and_what_joins_is_used(
    launcher: Ray, cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With GPUs that nodes only say that they have."""
    launcher.close()
    nodes = [cluster.add_node(**NODE, num_gpus=2)]
    job = [Unit(Gpus(str(tmp_path), of=count), (str(count),)) for count in (3, 3, 3)]
    apart = Ray(cluster.address, gpu=True)
    try:
        beside = Beside(apart, job)
        until(lambda: len(list(tmp_path.glob("gpu-*"))) == 2)
        time.sleep(2)
        assert len(list(tmp_path.glob("gpu-*"))) == 2
        nodes.append(cluster.add_node(**NODE, num_gpus=1))
        said = beside.said()
        apart.close()
        with caplog.at_level(logging.WARNING), contextlib.closing(Ray(cluster.address, 1)) as blind:
            list(blind.run([Unit(Gpus(str(tmp_path), of=1), ("on a cpu",))]))
        assert "the Ray cluster has 3 GPUs, and the run is on CPUs" in caplog.text
    finally:
        apart.close()
        for node in nodes:
            cluster.remove_node(node)
    gpus = Counter(line for done in said for line in done.log)
    assert gpus == {"0": 2, "1": 1}


@pytest.mark.slow
def test_auto_is_the_cluster_of_this_machine(launcher: Ray, cluster: Any, tmp_path: Path) -> None:
    launcher.close()
    with contextlib.closing(Ray("auto")) as apart:
        assert settled(list(apart.run(units(tmp_path, "a")))) == (["a"], {})
        assert {node for ((_, node),) in tries(tmp_path).values()} <= {n.node_id for n in cluster.list_all_nodes()}


@pytest.mark.slow
def test_a_cluster_whose_head_is_gone_is_one_line(tmp_path: Path) -> None:
    with program(tmp_path) as (process, others):
        (head,) = (p for p in others for command in running([p]) if "gcs_server" in command.split(" --")[0])
        os.kill(head, signal.SIGKILL)
        _, err = process.communicate(timeout=150)
        line = err.splitlines()[-1]
        assert line.startswith("evalkit.errors.EvalkitError: the connection to the Ray cluster has ended (")
        assert "GCS may have been killed" in line
        (tmp_path / "go").touch()  # workers end with their units
        until(lambda: running(others) == [], 60)


@pytest.mark.slow
def test_a_cluster_that_asks_for_a_token_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    program = (
        "import ray; print(ray.init('local', num_cpus=1, include_dashboard=False).address_info['gcs_address']); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as there:
        assert there.stdout is not None
        address = next(line.strip() for line in there.stdout if ":" in line)
        monkeypatch.delenv("RAY_AUTH_MODE")
        with pytest.raises(
            EvalkitError, match=f"^the Ray cluster at engine.address={address} asks for a token: set RAY_"
        ):
            list(Ray(address).run(units(tmp_path, "a")))
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        with contextlib.closing(Ray(address)) as launcher:
            assert settled(list(launcher.run(units(tmp_path, "a")))) == (["a"], {})
        there.communicate("\n")


@pytest.mark.slow
def test_a_run_on_a_cluster_with_a_worker_killed_is_the_run_without(
    launcher: Ray, cluster: Any, tmp_path: Path
) -> None:
    """Bit for bit, on a CPU: records, and the audio that is in the cache."""
    launcher.close()
    killed: list[int] = []

    def kill_one() -> None:
        def busy() -> list[int]:
            stored = list((tmp_path / "cache").glob("codes/*/*.entry"))
            workers = [p for node in cluster.list_all_nodes() for s in started(node) for p in family(s.process.pid)]
            return [p for p in workers for command in running([p]) if stored and command.startswith("ray::Actor.do")]

        killed.append(until(busy, 120)[0])
        os.kill(killed[0], signal.SIGKILL)

    def run(*options: str) -> Result:
        if len(options) > 3:
            threading.Thread(target=kill_one, daemon=True).start()
        return evalkit.evaluate(*DEMO, "model=tiny_stereo", "metric=[chroma]", "engine.batch_size=1", *options)

    more = ["engine.launcher=ray", "engine.workers=2", f"engine.address={cluster.address}"]
    plain, shared = both(tmp_path, run, *more)
    assert killed
    require_same(plain, shared)
    first, again = (
        {path.relative_to(tmp_path / folder): path.read_bytes() for path in (tmp_path / folder).rglob("*.flac")}
        for folder in ("first", "cache")
    )
    assert len(first) == 24
    assert first == again
