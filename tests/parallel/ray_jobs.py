"""Jobs for workers of a Ray cluster, in a module that they import fast."""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import EvalkitError
from evalkit.parallel.units import Done, Work


@dataclass(frozen=True)
class Files:
    """Makes a file for each id; what an id begins with says what goes wrong with it.

    `fails` raises, `kills` ends the process, `refused` is reported, `hopeless` no worker can do, `waits` is done as
    soon as a file `go` is there. Folder `tries` has a file for each id that was begun, with the process and its node.
    """

    folder: str
    title: str = "making files"
    counts: str = "files"

    def begin(self) -> Work:
        folder = Path(self.folder)
        for name in ("made", "tries"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        return self.make

    def make(self, ids: Sequence[str]) -> Done:
        import ray

        folder, failed = Path(self.folder), {}
        for id in ids:
            kind = id.split("-")[0]
            begun = folder / "tries" / f".{uuid.uuid4().hex}"
            begun.write_text(f"{os.getpid()} {ray.get_runtime_context().get_node_id()}")
            begun.rename(folder / "tries" / f"{id}_{begun.name[1:]}")
            if kind == "fails":
                raise ValueError(f"cannot make {id}")
            if kind == "exits":
                sys.exit(3)
            if kind == "kills":
                os.kill(os.getpid(), signal.SIGKILL)
            if kind == "hopeless":
                raise EvalkitError("there is no checkpoint")
            if kind == "waits":
                until = time.monotonic() + 60
                while not (folder / "go").exists() and time.monotonic() < until:
                    time.sleep(0.02)
            if kind == "refused":
                failed[id] = "it is refused"
            else:
                (folder / "made" / id).write_text(id)
        return Done(tuple(id for id in ids if id not in failed), failed)


@dataclass(frozen=True)
class Surroundings:
    """Says in its log what a worker finds around it."""

    names: tuple[str, ...]
    title: str = "looking"
    counts: str = "looks"

    def begin(self) -> Work:
        def look(ids: Sequence[str]) -> Done:
            import torch

            said = {name: os.environ.get(name) for name in self.names}
            return Done(tuple(ids), log=(repr((said, torch.get_num_threads(), os.getcwd())),))

        return look


@dataclass(frozen=True)
class Gpus:
    """Says in its log which GPU a worker sees, when so many workers are there."""

    folder: str
    of: int
    title: str = "looking for GPUs"
    counts: str = "looks"

    def begin(self) -> Work:
        return self.look

    def look(self, ids: Sequence[str]) -> Done:
        (Path(self.folder) / f"gpu-{os.getpid()}").touch()
        until = time.monotonic() + 60
        while len(list(Path(self.folder).glob("gpu-*"))) < self.of and time.monotonic() < until:
            time.sleep(0.05)
        return Done(tuple(ids), log=(os.environ["CUDA_VISIBLE_DEVICES"],))
