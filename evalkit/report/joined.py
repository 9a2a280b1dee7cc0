"""Several results in one table, which never sets numbers of different protocols side by side unasked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from evalkit.errors import EvalkitError
from evalkit.report.wording import ARROWS, interval, number, warning
from evalkit.store.digests import digest


@dataclass(frozen=True)
class Joined:
    """What several results measured.

    Attributes:
        rows: model, protocol, run (the result's folder), then for each metric M the columns M, M_low,
            M_high, M_n and M_protocol (the protocol's name, marked where it is not the whole truth).
        titles: of the metrics, by name.
        notes: what a reader must know, one sentence each.
        warning: of random weights; empty where there are none.
    """

    rows: pd.DataFrame
    titles: dict[str, str]
    notes: list[str]
    warning: str

    def shown(self) -> pd.DataFrame:
        """The rows as text, with one column per metric, headed by its title."""
        columns: dict[str, list[str]] = {"model": list(self.rows["model"]), "protocol": list(self.rows["protocol"])}
        if self.rows.duplicated(["model", "protocol"]).any():
            columns["run"] = list(self.rows["run"])
        for metric, title in self.titles.items():
            cells = zip(*(self.rows[f"{metric}{part}"] for part in ("", "_low", "_high", "_n")), strict=True)
            columns[title] = [
                " ".join(filter(None, [number(value), interval(low, high), f"(n {n:,.0f})" if n > 0 else ""]))
                for value, low, high, n in cells
            ]
        return pd.DataFrame(columns)


def join(folders: Sequence[Path], across_protocols: bool) -> Joined:
    """Put the results in some folders into one table.

    Raises EvalkitError for a folder without a finished result, for results on different prompts, and
    for different protocols unless `across_protocols` is set.
    """
    results = [_read(folder) for folder in folders]
    if len({json.dumps(prompts, sort_keys=True) for prompts in (r["provenance"]["prompts"] for r in results)}) > 1:
        raise EvalkitError("the results were measured on different prompts: they cannot stand in one table")
    followed: dict[str, dict[str, str]] = {}  # of each metric, what it computes, and the name of that
    for result in results:
        made = result["provenance"]
        for score in result["table"]["scores"]:
            computed = digest([made["protocol"], made["metrics"][score["metric"]]])
            followed.setdefault(score["metric"], {})[computed] = score["protocol"]
    mixed = [names for names in followed.values() if len(names) > 1]
    protocols = list(dict.fromkeys(name for names in mixed for name in names.values()))
    if mixed and not across_protocols:
        raise EvalkitError(
            f"the results follow different protocols ({', '.join(protocols)}), whose numbers are different quantities: "
            "add --across-protocols to set them side by side nevertheless"
        )
    if len({r["provenance"]["references"]["sha256"] for r in results}) > 1:
        raise EvalkitError("the results were measured against different references: they cannot stand in one table")
    if len({r["table"]["level"] for r in results}) > 1:
        raise EvalkitError("the results have intervals of different levels: run them with one uncertainty.level")
    titles: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    other: dict[str, dict[str, None]] = {}
    for folder, result in zip(folders, results, strict=True):
        table = result["table"]
        titles |= {name: m["title"] + ARROWS[m["higher_is_better"]] for name, m in table["metrics"].items()}
        for model in table["generated"]:
            scores = [score for score in table["scores"] if score["model"] == model]
            own = {score["protocol"] for score in scores}
            protocol = own.pop() if len(own) == 1 else table["protocol"]
            name = f"{model} (calibration)" if model in table["calibration"] else model
            row = {"model": name, "protocol": protocol, "run": folder.name}
            for score in scores:
                name = score["metric"]
                row |= {name: score["measured"], f"{name}_protocol": score["protocol"]}
                row |= {f"{name}_{key}": score[key] for key in ("low", "high", "n")}
                if score["protocol"] != protocol:
                    other.setdefault(score["protocol"], {})[table["metrics"][name]["title"]] = None
            rows.append(row)
    parts = ["", "_low", "_high", "_n", "_protocol"]
    columns = ["model", "protocol", "run", *(f"{name}{part}" for name in titles for part in parts)]
    notes = []
    if mixed:
        notes.append(f"different computations, not comparable down a column: protocols {', '.join(protocols)}")
    notes += [f"{protocol}: {', '.join(names)}" for protocol, names in other.items()]
    for folder, result in zip(folders, results, strict=True):
        notes += [f"{folder.name}: {note}" for note in result["table"]["notes"] if note.startswith("changed in")]
    notes.append(_same_clips(results))
    random = list(dict.fromkeys(name for result in results for name in result["table"]["random_weights"]))
    return Joined(pd.DataFrame(rows).reindex(columns=columns), titles, notes, warning(random))


def _read(folder: Path) -> dict[str, Any]:
    if not (folder / "result.json").is_file():
        raise EvalkitError(f"'{folder}' holds no finished result: give the folder that evalkit run printed")
    read = {name: json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("table", "provenance")}
    if "protocol" not in read["provenance"]:
        raise EvalkitError(f"'{folder}' was made by an earlier version of evalkit: run it again, which costs little")
    clips = pd.read_parquet(folder / "clips.parquet")
    return read | {"clips": clips.reindex(columns=["model", "id", "sample", "sha256"]).fillna({"sample": 1})}


def _same_clips(results: Sequence[dict[str, Any]]) -> str:
    """Say whether a model's clips are the same ones in all results that have it."""
    clips = pd.concat(result["clips"] for result in results)
    differ = clips.groupby(["model", "id", "sample"])["sha256"].nunique().gt(1).groupby("model").any()
    names = [str(name) for name in differ[differ].index]
    return (
        f"{', '.join(names)}: other clips in each result" if names else "each model's clips are the same in all results"
    )
