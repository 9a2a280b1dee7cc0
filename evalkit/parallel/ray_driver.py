"""The process that is connected to a Ray cluster: it keeps workers there busy, and passes on what they say."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import time
import traceback
import uuid
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError

from evalkit.errors import EvalkitError
from evalkit.parallel.ray import Options, Packed, versions
from evalkit.parallel.scheduler import Scheduler
from evalkit.parallel.serving import BROKE, DONE, HOPELESS, Answer, Server
from evalkit.parallel.units import Done, Hopeless, Unit

log = logging.getLogger(__name__)

POLL = 1.0  # seconds between looks at who else there is
STARTS = 3  # actors in a row that may fail before they are ready
OBJECT_STORE = 80 * 2**20  # bytes: about the least that Ray takes; jobs and ids is all that it is used for
ADD_AGAIN = "add nodes, ask for fewer workers, or see 'ray status'"


class Actor:
    """Does units in a process of the cluster, one after the other."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._server = Server()

    @ray.method(max_task_retries=-1)  # it waits for the actor to be there, or there again
    def ready(self, token: str | None) -> tuple[str, str | None]:
        """Look whether units can be done here: name this machine, and say what is wrong with it, if anything is.

        Args:
            token: a file that the driver has written into the store.
        """
        host, options = socket.gethostname(), self._options
        for package, version in versions().items():
            if version != options.versions[package]:
                wrong = f"worker on {host} has {package} {version}, not {options.versions[package]} as here"
                return host, f"{wrong}: install the same packages on all nodes"
        until = time.monotonic() + options.sight
        while token and not os.path.exists(token):
            if time.monotonic() > until:
                wrong = f"worker on {host} does not see {options.store}"
                return host, f"{wrong}: put cache_dir on a file system that all nodes share"
            time.sleep(0.1)
        if os.path.isdir(options.folder):
            os.chdir(options.folder)
        return host, None

    def do(self, pickled: bytes, ids: tuple[str, ...]) -> Answer:
        """Do a unit, and say what came of it."""
        try:
            return self._server.answer(pickled, ids)
        except SystemExit as error:  # with which Ray would end the actor for good
            return BROKE, (f"it ended with exit status {error.code}", "")


class Pool:
    """The actors of a cluster, numbered, and what each is doing."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._actors: dict[int, Any] = {}
        self._hosts: dict[int, str] = {}  # of those that were ready
        self._starting: dict[Any, int] = {}  # by what they have been asked
        self._doing: dict[Any, int] = {}
        self._idle: list[int] = []
        self._failed_starts = 0  # in a row
        self._looked = self._waiting_since = time.monotonic()
        self._warned = False
        self._token = Path(options.store) / f".partial-{uuid.uuid4().hex}" if options.store else None
        _connect(options)
        self._needs = {"num_gpus": 1, "num_cpus": 0} if options.gpu else {"num_cpus": self._cpus()}
        if not options.gpu and (unused := sum(_each("GPU"))):
            log.warning(
                "the Ray cluster has %d GPUs, and the run is on CPUs, as the machine that it was started on has no GPU "
                "or engine.device=cpu: start it on a node that has one",
                unused,
            )
        # It is started again, here or elsewhere, as often as it takes; the scheduler decides what is done again.
        self._actor = ray.remote(Actor).options(
            **self._needs,
            max_restarts=-1,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": dict(options.variables)},
        )

    def run(self, jobs: Mapping[int, Packed], units: Sequence[tuple[int, tuple[str, ...]]]) -> Iterator[Done | None]:
        """Do units; gives what is settled as it is, and None now and then."""
        scheduler = Scheduler([Unit(jobs[number], ids) for number, ids in units])
        pickled = {id(job): ray.put(job.pickled) for job in jobs.values()}
        self._waiting_since, self._looked, self._warned = time.monotonic(), 0.0, False
        while not scheduler.finished:
            self._look(scheduler)
            for number in self._idle[::-1]:  # the last to answer first: others may be idle because they rest
                if unit := scheduler.next(number):
                    self._idle.remove(number)
                    self._doing[self._actors[number].do.remote(pickled[id(unit.job)], unit.ids)] = number
            answered, _ = ray.wait([*self._starting, *self._doing], timeout=POLL)
            for asked in answered:
                if asked in self._starting:
                    self._started(asked)
                else:
                    yield self._heard(asked, scheduler)
            yield None

    def close(self) -> None:
        """Stop the actors, and the cluster if it was started here."""
        with contextlib.suppress(Exception):
            for actor in self._actors.values():
                ray.kill(actor)
        ray.shutdown()
        if self._token:
            with contextlib.suppress(OSError):
                self._token.unlink()

    # Actors: how many, and which can work

    def _look(self, scheduler: Scheduler) -> None:
        """Make more actors where there is room and work for them; say when they wait for room, at last as an error."""
        now = time.monotonic()
        if now - self._looked < POLL:
            return
        self._looked = now
        room = self._room() if self._options.workers is None else self._options.workers
        # one at least: what waits for room is what makes a cloud add nodes
        for number in range(len(self._actors), max(1, min(room, scheduler.waiting + len(self._doing)))):
            self._employ(number)
        if len(self._starting) < len(self._actors):
            self._waiting_since = now
        waited = now - self._waiting_since
        if waited > self._options.patience:
            raise EvalkitError(f"no worker has found room in {waited:.0f} s: {self._said()}; {ADD_AGAIN}")
        if waited > 10.0 and not self._warned:
            self._warned = True
            log.warning("workers wait for room: %s", self._said())

    def _said(self) -> str:
        kind = "GPU" if self._options.gpu else "CPU"
        each = 1 if self._options.gpu else self._needs["num_cpus"]
        there = ray.cluster_resources().get(kind, 0)  # type: ignore[no-untyped-call]
        free = ray.available_resources().get(kind, 0)  # type: ignore[no-untyped-call]
        return f"each needs {each} {kind}, and the Ray cluster has {there:g}, {free:g} of them free"

    def _cpus(self) -> int:
        """How many CPUs a worker takes: where their number is not given, so many as it has threads."""
        if self._options.workers is not None:
            return 1
        return max(1, min(self._options.threads, max(_each("CPU"), default=1)))

    def _room(self) -> int:
        """For how many workers there are GPUs or CPUs, whoever has them."""
        return sum(_each("GPU")) if self._options.gpu else sum(has // self._needs["num_cpus"] for has in _each("CPU"))

    def _employ(self, number: int) -> None:
        """Make an actor, as a new one or in place of the one of this number."""
        self._actors[number] = self._actor.remote(self._options)
        self._ask(number)

    def _ask(self, number: int) -> None:
        """Ask an actor whether it is ready; it answers when it has been started, or started again."""
        if self._token and not self._token.exists():
            _write(self._token)
        self._starting[self._actors[number].ready.remote(str(self._token) if self._token else None)] = number

    def _started(self, asked: Any) -> None:
        """Take note that an actor is ready, or what is wrong with it."""
        number = self._starting.pop(asked)
        try:
            host, wrong = ray.get(asked)
        except Exception as error:
            log.info("worker %d could not be started: %s", number, error)
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                raise EvalkitError(
                    f"workers cannot be started: {_last_line(error)}: every node needs this version of evalkit, "
                    "installed or in the same folder"
                ) from error
            ray.kill(self._actors[number])
            self._employ(number)
            return
        if wrong and self._token and not self._token.exists():
            self._ask(number)  # it was removed
        elif wrong:
            raise Hopeless(wrong)
        else:
            self._failed_starts = 0
            self._hosts[number] = host
            self._idle.append(number)

    # Units: what came of each

    def _heard(self, asked: Any, scheduler: Scheduler) -> Done | None:
        """Take note of what an actor has answered, or of its death, and say what is settled thereby."""
        number = self._doing.pop(asked)
        where = f"worker {number} on {self._hosts[number]}"
        try:
            kind, what = ray.get(asked)
        except RayError as error:
            why = "was ended by Ray because memory ran out" if isinstance(error, OutOfMemoryError) else "was lost"
            log.warning("%s %s", where, why)
            log.info("Ray said: %s", error)
            self._ask(number)
            return scheduler.lost(number, f"its worker on {self._hosts[number]} {why}")
        if kind == HOPELESS:
            raise Hopeless(what)
        if kind == DONE:
            self._idle.append(number)
            return scheduler.done(number, what)
        why, trace = what
        log.info("%s broke:\n%s", where, trace)
        ray.kill(self._actors[number])  # what broke may be broken for what comes next
        self._employ(number)
        return scheduler.broke(number, why)


def _each(kind: str) -> list[int]:
    """How many CPUs or GPUs each node has that is there."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [int(node["Resources"].get(kind, 0)) for node in nodes if node["Alive"]]


def _write(token: Path) -> None:
    try:
        token.parent.mkdir(parents=True, exist_ok=True)
        token.write_bytes(b"")
    except OSError as error:
        raise EvalkitError(f"cannot write '{token.parent}': {error.strerror}: choose another folder") from error


def _connect(options: Options) -> None:
    """Connect to the cluster, or start one; raises EvalkitError where that fails."""
    common: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if options.address is None:
            cpus = None if options.gpu or options.workers is None else max(options.workers, os.cpu_count() or 1)
            ray.init(address="local", num_cpus=cpus, object_store_memory=OBJECT_STORE, **common)
        else:
            ray.init(address=options.address, **common)
    except Exception as error:
        raise EvalkitError(_why_not(options.address, error)) from error


def _why_not(address: str | None, error: Exception) -> str:
    """Say why there is no connection."""
    if address is None:
        return f"Ray cannot start a cluster on this machine: {_last_line(error)}"
    said = f"{error} {error.__cause__}"
    if "Unauthenticated" in said or "AuthToken" in said:
        return (
            f"the Ray cluster at engine.address={address} asks for a token: set RAY_AUTH_MODE=token, and have its "
            "~/.ray/auth_token here (see 'ray get-auth-token')"
        )
    if address == "auto":
        return "engine.address=auto: this machine is no node of a Ray cluster: start one with 'ray start --head'"
    return f"cannot connect to the Ray cluster at engine.address={address}: {_last_line(error.__cause__ or error)}"


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


class _Forward(logging.Handler):
    """Sends what is logged here to the parent."""

    def __init__(self, parent: Connection) -> None:
        super().__init__(logging.INFO)
        self._parent = parent

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            self._parent.send(("log", (record.name, record.levelno, record.getMessage())))


def drive(parent: Connection, options: Options) -> None:
    """Connect to the cluster, say so, and do what units the parent sends, until it sends None or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logger = logging.getLogger("evalkit")
    logger.setLevel(logging.INFO)
    logger.addHandler(_Forward(parent))
    pool = None
    try:
        pool = Pool(options)
        parent.send(("done", None))
        while units := parent.recv():
            for said in pool.run(*units):
                if said is not None:
                    parent.send(("done", said))
                if parent.poll():  # it has had enough, or is gone
                    return
            parent.send(("done", None))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    except Hopeless as error:
        _say(parent, "hopeless", str(error))
    except EvalkitError as error:
        _say(parent, "error", str(error))
    except Exception:
        _say(parent, "bug", traceback.format_exc())
    finally:
        if pool is not None:
            pool.close()


def _say(parent: Connection, kind: str, what: str) -> None:
    with contextlib.suppress(OSError):
        parent.send((kind, what))
