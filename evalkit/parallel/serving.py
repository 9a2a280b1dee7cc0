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

from evalkit.errors import reason
from evalkit.parallel.units import Done, Hopeless, Job, Unit, Worker

PR_SET_PDEATHSIG = 1  # of Linux's prctl

# What a new process runs: `python -c` imports no main module, so that a script needs no `if __name__ == "__main__"`,
# and modules are found where the parent finds them, which a folder that only it has put into sys.path may need.
BOOT = """\
import sys
from multiprocessing.connection import Connection
parent = Connection(int(sys.argv[1]))
sys.path[:], bound = parent.recv()
from evalkit.parallel.serving import serve
serve(parent, bound)
"""


READY, DONE, BROKE, HOPELESS = "ready", "done", "broke", "hopeless"

Answer = tuple[str, Any]  # one of these, and: nothing, a Done, (the reason, the traceback), the reason


def serve(parent: Connection, bound: bool) -> None:
    """Do what the parent asks for, and answer, until there is no parent; it never returns.

    It is asked with (pickled job or None for the same as before, ids), and answers with an `Answer`; the first one says
    that the process is ready.

    Args:
        bound: whether to die of SIGKILL with the thread of the parent that started this process: the system then ends
            even what holds Python's lock. It must be the parent's main thread, since others may end before it.
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
    worker, job = Worker(), None
    while True:
        with contextlib.suppress(OSError):  # without a parent, the thread ends this process
            parent.send(answer)
        pickled, ids = asked.get()
        try:
            if pickled is not None:
                job = _loaded(pickled)
            assert job is not None
            done = worker.do(Unit(job, ids))
            answer = (DONE, Done(tuple(done.ids), dict(done.failed), tuple(done.log)))
        except Hopeless as error:
            answer = (HOPELESS, str(error))
        except Exception as error:
            answer = (BROKE, (f"{type(error).__name__}: {reason(error)}", traceback.format_exc()))


def _receive(parent: Connection, asked: SimpleQueue[tuple[bytes | None, tuple[str, ...]]]) -> None:
    """Pass on what the parent asks for; end the process, whatever it is doing, as soon as there is no parent."""
    try:
        while True:
            asked.put(parent.recv())
    except (EOFError, OSError):
        os._exit(1)


def _loaded(pickled: bytes) -> Job:
    try:
        return cloudpickle.loads(pickled)
    except Exception as error:
        raise Hopeless(f"a worker cannot read its job: {type(error).__name__}: {reason(error)}") from error
