"""The process of a local worker: it does the units that come through a socket, and ends when the socket does."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

import cloudpickle

from evalkit.errors import EvalkitError, reason
from evalkit.parallel.units import Done, Hopeless, Job, Unit, Worker

PR_SET_PDEATHSIG = 1  # of Linux's prctl

# What a new process runs: `python -c` imports no main module, so that a script needs no `if __name__ == "__main__"`,
# and modules are found where the parent finds them, which a folder that only it has put into sys.path may need.
BOOT = """\
import sys
from multiprocessing.connection import Connection
parent = Connection(int(sys.argv[1]))
sys.path[:], bound, threads = parent.recv()
from evalkit.parallel.serving import serve
serve(parent, bound, threads)
"""


READY, DONE, BROKE, HOPELESS = "ready", "done", "broke", "hopeless"

Answer = tuple[str, Any]  # one of these, and: nothing, a Done, (the reason, the traceback), the reason


def serve(parent: Connection, bound: bool, threads: int | None) -> None:
    """Do what the parent asks for, and answer, until there is no parent; it never returns.

    It is asked with (pickled job or None for the same as before, ids), and answers with an `Answer`; the first one says
    that the process is ready.

    Args:
        bound: whether to die of SIGKILL with the thread of the parent that started this process: the system then ends
            even what holds Python's lock. It must be the parent's main thread, since others may end before it.
        threads: of torch, for jobs that load it; None for its own choice.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which stops its workers
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the parent blocks it until here
    if bound and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="replace")  # type: ignore[union-attr]  # a crash loses no line
    asked: SimpleQueue[tuple[bytes | None, tuple[str, ...]]] = SimpleQueue()
    threading.Thread(target=_receive, args=(parent, asked), daemon=True).start()
    answer: Answer = (READY, None)
    server = Server(threads)
    while True:
        with contextlib.suppress(OSError):  # without a parent, the thread ends this process
            parent.send(answer)
        answer = server.answer(*asked.get())


class Server:
    """Does units that come with their jobs pickled, and answers whatever becomes of them.

    Args:
        threads: of torch, for jobs that load it; None for its own choice.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads
        self._worker = Worker()
        self._last: tuple[bytes, Job] | None = None

    def answer(self, pickled: bytes | None, ids: tuple[str, ...]) -> Answer:
        """Do a unit, whose job is the last one if None is given."""
        try:
            if pickled is not None and (self._last is None or self._last[0] != pickled):
                self._last = pickled, loaded(pickled)
                if self._threads is not None and "torch" in sys.modules:  # which the job's module has imported
                    sys.modules["torch"].set_num_threads(self._threads)
            assert self._last is not None
            done = self._worker.do(Unit(self._last[1], ids))
            return DONE, Done(tuple(done.ids), dict(done.failed), tuple(done.log))
        except Hopeless as error:
            return HOPELESS, str(error)
        except Exception as error:
            return BROKE, (f"{type(error).__name__}: {reason(error)}", traceback.format_exc())


def _receive(parent: Connection, asked: SimpleQueue[tuple[bytes | None, tuple[str, ...]]]) -> None:
    """Pass on what the parent asks for; end the process, whatever it is doing, as soon as there is no parent."""
    try:
        while True:
            asked.put(parent.recv())
    except (EOFError, OSError):
        os._exit(1)


def pickled(job: Job) -> bytes:
    """Pickle a job for workers. Raises EvalkitError if that cannot be done."""
    try:
        return cloudpickle.dumps(job)
    except Exception as error:
        raise EvalkitError(
            f"{job.title}: what it needs cannot be sent to workers, use engine.workers=1 ({reason(error)})"
        ) from error


def loaded(pickled: bytes) -> Job:
    """Read a job that `pickled` has made. Raises Hopeless if that cannot be done."""
    try:
        return cloudpickle.loads(pickled)
    except Exception as error:
        raise Hopeless(f"a worker cannot read its job: {type(error).__name__}: {reason(error)}") from error
