"""Workers on the machines of a Ray cluster, which may come and go."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from evalkit.errors import EvalkitError
from evalkit.parallel.serving import loaded, pickled
from evalkit.parallel.units import Done, Hopeless, Unit, Work

INSTALL = "engine.launcher=ray: the package ray is not installed: pip install 'evalkit[ray]'"

# What workers have to have as well, because what is computed depends on it.
PACKAGE = Path(__file__).parent.parent
PACKAGES = ("torch", "numpy", "transformers")

# Variables that say how to compute and where files are. Tokens are left out: Ray shows what it passes on to anyone.
PASSED = re.compile(
    "(EVALKIT|HF|TRANSFORMERS|TORCH|PYTORCH|TRITON|CUBLAS|NVIDIA|MKL|OMP|OPENBLAS|XDG_CACHE|TOKENIZERS)_.*|"
    "TORCHINDUCTOR_.*"
)
SECRET = re.compile(".*(TOKEN|KEY|SECRET|PASSWORD)$")

CONNECT, START = 20.0, 120.0  # seconds to reach a cluster that is there, and to start one
CLOSE = 20.0  # seconds to stop the workers, and the cluster if it was started here
ATTEMPTS = "5"  # of Ray to reach a cluster, about a second each

# What the process that is connected to the cluster runs; it imports no main module, and finds modules as this one does.
BOOT = """\
import sys
from multiprocessing.connection import Connection
parent = Connection(int(sys.argv[1]))
sys.path[:], options = parent.recv()
from evalkit.parallel.ray_driver import drive
drive(parent, options)
"""


@dataclass(frozen=True)
class Options:
    """What the process that is connected to the cluster is told.

    Attributes:
        address: HOST:PORT or "auto"; None to start a cluster on this machine.
        workers: their number; None for as many as the cluster has room for.
        gpu: whether each needs a GPU.
        threads: of torch in each.
        variables: of each worker's environment.
        folder: that each works in, where there is one of that name, so that relative paths mean the same.
        store: folder that all must see.
        versions: that all must have, by package.
        patience: seconds to wait for a first worker.
        sight: seconds that a file which is new in the store may take to be seen elsewhere.
    """

    address: str | None
    workers: int | None
    gpu: bool
    threads: int
    variables: Mapping[str, str]
    folder: str
    store: str | None
    versions: Mapping[str, str]
    patience: float
    sight: float


@dataclass(frozen=True)
class Packed:
    """A job as it travels: pickled, with what is said of it."""

    title: str
    counts: str
    pickled: bytes

    def begin(self) -> Work:
        """Begin the job itself."""
        return loaded(self.pickled).begin()


class Ray:
    """Runs units in actors of a Ray cluster, each in a process of its own.

    Ray itself is in a process beside this one, which it may therefore end, and whose signals and output it may take.
    A cluster that was started here is stopped with the workers; one that was there goes on.

    Args:
        address: of a cluster, HOST:PORT, or "auto" for the one that this machine belongs to; None to start one of this
            machine alone.
        workers: their number; None for all GPUs of the cluster, those of nodes that join it later too, or, without
            GPUs, for as many as there are CPUs for when each uses as many threads as torch does here.
        gpu: whether each worker gets a GPU.
        store: folder that all nodes must see, if any.
        patience: seconds to wait for a first worker to find room, which new nodes of a cloud may take.

    Raises EvalkitError if Ray is not installed, or the address cannot be one.
    """

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        gpu: bool = False,
        store: Path | None = None,
        patience: float = 300.0,
        sight: float = 10.0,
    ) -> None:
        if importlib.util.find_spec("ray") is None:
            raise EvalkitError(INSTALL)
        self._endpoint = _endpoint(address)
        self._address, self._workers, self._gpu, self._store = address, workers, gpu, store
        self._patience, self._sight = patience, sight
        self._driver: _Driver | None = None

    def run(self, units: Sequence[Unit]) -> Iterator[Done]:
        """Do units, see `Launcher`; raises EvalkitError where no cluster answers, and where no worker finds room."""
        jobs = {id(unit.job): Packed(unit.job.title, unit.job.counts, pickled(unit.job)) for unit in units}
        try:
            driver = self._driver = self._driver or self._connected()
            driver.send((jobs, [(id(unit.job), unit.ids) for unit in units]))
            while (said := driver.receive()) is not None:
                yield said
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop all workers, and the cluster if it was started here."""
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()

    def _connected(self) -> _Driver:
        """Start the process that is connected to the cluster, and wait until it is."""
        if self._endpoint:
            _reach(self._endpoint, str(self._address))
        driver = _Driver(self._options())
        try:
            driver.wait(CONNECT if self._address else START, self._address)
        except BaseException:
            driver.close()
            raise
        return driver

    def _options(self) -> Options:
        import torch

        threads = torch.get_num_threads()
        variables = {name: value for name, value in os.environ.items() if PASSED.fullmatch(name)}
        variables = {name: value for name, value in variables.items() if not SECRET.fullmatch(name)}
        # Ray would set it to the CPUs of a worker, and sums in float32 depend on the number of threads
        variables["OMP_NUM_THREADS"] = str(threads)
        variables["PYTHONPATH"] = os.pathsep.join(_own_paths())
        return Options(
            self._address,
            self._workers,
            self._gpu,
            threads,
            variables,
            os.getcwd(),
            str(self._store.absolute()) if self._store else None,
            versions(),
            self._patience,
            self._sight,
        )


def versions() -> dict[str, str]:
    """What results depend on: the digest of evalkit's own code, and versions of packages without their "+cpu"."""
    code = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        code.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    found = {"evalkit": f"with code {code.hexdigest()[:8]}"}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            found[package] = "none"
    return found


def _endpoint(address: str | None) -> tuple[str, int] | None:
    """Split the address of a cluster into host and port; None where it has neither."""
    if address is None or address == "auto":
        return None
    if "://" in address:
        raise EvalkitError(
            f"engine.address={address}: evalkit is no client of Ray's, it runs on a machine of the cluster: "
            "there, give auto, or HOST:PORT of the head node (port 6379 unless it was started with another)"
        )
    if not (match := re.fullmatch(r"\[?(?P<host>[^\[\]/\s]+?)\]?:(?P<port>\d{1,5})", address)):
        raise EvalkitError(f"engine.address={address}: neither HOST:PORT of a Ray cluster nor auto")
    return match["host"], int(match["port"])


def _reach(endpoint: tuple[str, int], address: str) -> None:
    """Raise EvalkitError where nothing listens, which Ray would try again for minutes."""
    try:
        socket.create_connection(endpoint, timeout=5.0).close()
    except (OSError, OverflowError) as error:
        raise EvalkitError(
            f"no Ray cluster answers at engine.address={address} ({getattr(error, 'strerror', None) or error}): "
            "start one with 'ray start --head', or leave engine.address out to use this machine"
        ) from error


def _own_paths() -> list[str]:
    """The folders that modules are found in here, but for those that come with Python or are installed."""
    installed = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    folders = [str(PACKAGE.parent), *(os.path.abspath(path) for path in sys.path)]
    return [path for path in dict.fromkeys(folders) if os.path.isdir(path) and not path.startswith(installed)]


class _Driver:
    """The process that is connected to the cluster."""

    def __init__(self, options: Options) -> None:
        # Ray reads it when it is imported; the cluster that is started has it too
        environment = {"RAY_USAGE_STATS_ENABLED": "0"}
        if options.address:
            environment["RAY_NUM_REDIS_GET_RETRIES"] = ATTEMPTS
        self._connected = False
        self._connection, theirs = Pipe()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # it may print more than a pipe holds
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", BOOT, str(theirs.fileno())],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                pass_fds=[theirs.fileno()],
                cwd="/",  # workers would find modules in this folder first
                process_group=0,  # Ctrl-C is for this process, which then closes that one
            )
        finally:
            theirs.close()
        self.send((sys.path, options))

    def send(self, message: Any) -> None:
        """Send it something; that it is dead is seen when its answer is waited for."""
        with contextlib.suppress(OSError):
            self._connection.send(message)

    def wait(self, seconds: float, address: str | None) -> None:
        """Wait until it is connected, for so long."""
        if not self._connection.poll(seconds):
            where = f"engine.address={address}" if address else "a cluster on this machine"
            raise EvalkitError(
                f"no answer from {where} within {seconds:.0f} s{self._last_words()}: is a Ray cluster running there, "
                "with the same versions of Ray and Python, and is this machine one of its nodes?"
            )
        self.receive()
        self._connected = True

    def receive(self) -> Done | None:
        """Read what it says: what came of a unit, or None when all are settled; log lines are logged on the way."""
        while True:
            try:
                kind, what = self._connection.recv()
            except (EOFError, OSError):
                raise EvalkitError(
                    f"the connection to the Ray cluster has ended{self._last_words()}: what was finished is kept, "
                    "the same command goes on from there"
                ) from None
            if kind == "log":
                logging.getLogger(what[0]).log(what[1], "%s", what[2])
            elif kind == "hopeless":
                raise Hopeless(what)
            elif kind == "error":
                raise EvalkitError(what)
            elif kind == "bug":
                raise RuntimeError(what)
            else:
                said: Done | None = what
                return said

    def close(self) -> None:
        """Let it stop the workers and what it started, and end all that in any case."""
        self.send(None)
        try:
            # Before it is connected, Ray may be waiting for what does not come.
            end = time.monotonic() + (CLOSE if self._connected else 1.0)
            with contextlib.suppress(EOFError, OSError):
                while self._connection.poll(max(0.0, end - time.monotonic())):
                    self._connection.recv()
        finally:
            # It leads a group of processes, in which are those of a cluster that it has started. Workers have groups
            # of their own; they end without the cluster, with their unit.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._connection.close()
            self._output.close()

    def _last_words(self) -> str:
        """The last line that it printed, in brackets."""
        self._output.seek(0)
        lines = [line.strip() for line in self._output.read().decode(errors="replace").splitlines() if line.strip()]
        return f" ({lines[-1][:300]})" if lines else ""
