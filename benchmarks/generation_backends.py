"""evalkit's own kernels against torch's attention, and CUDA graphs against steps that are launched kernel by kernel."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.generation_sides import TRIED, forget, greedy, measured, sampling_of, ties
from evalkit.decoding.model import Model
from evalkit.errors import EvalkitError
from evalkit.settings import Attention
from evalkit.types import Prompt

CHECKED = 24  # steps whose greedy tokens are compared, where as many are timed
RUNS = 2


def backends(model: Model, batches: Sequence[tuple[int, int]], prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    """Time batches of so many clips and steps with each attention, with graphs and without, on one network.

    Greedy tokens of each are compared with those of the first. One that cannot be used is a row that says why.
    """
    rows = []
    for clips, steps in batches:
        batch, expected, checked = prompts[:clips], None, min(CHECKED, steps)
        for attention in (Attention.triton, Attention.sdpa):
            for graphs in (True, False):
                row: dict[str, Any] = {"clips": clips, "steps": steps, "asked": attention.value, "graphs": graphs}
                try:
                    engine = dataclasses.replace(model.engine, attention=attention, cuda_graphs=graphs)
                    other = Model(model.name, model.network, model.tokenizer, engine, None)
                    if expected is None:
                        expected, _ = greedy(other, batch, checked)
                        row["first"] = True
                    else:
                        try:
                            row["ties"] = ties(other, expected, batch, checked)
                        except SystemExit as error:
                            row["differ"] = str(error)
                    rows.append(row | _timed(other, batch, steps))
                except (EvalkitError, torch.OutOfMemoryError) as error:
                    rows.append(row | {"failed": str(error).splitlines()[0]})
                print("backend", rows[-1], flush=True)
                forget(model)
    return rows


def _timed(model: Model, batch: Sequence[Prompt], steps: int) -> dict[str, Any]:
    size = len(batch)
    # recorded graphs belong to a length: all of it is warmed up
    warm = steps if model.loop.backend.graphs else max(TRIED, max(model.delays) + 2)
    peaks, seconds = [], []
    for count in (warm, *[steps] * RUNS):
        _, run = measured(model, lambda: model.codes(batch, sampling_of(model, count), size))  # noqa: B023
        peaks.append(run["peak"])
        seconds.append(run["seconds"] - run["text"])
    facts = model.facts()
    forget(model)
    return {"facts": facts, "ms_per_step": 1000 * min(seconds[1:]) / steps, "peak": max(peaks)}
