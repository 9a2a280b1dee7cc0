"""A listening test that evalkit has analysed: the record that `evalkit listen analyse` printed."""

from __future__ import annotations

from pathlib import Path

from evalkit.agreeing.layouts import Asked
from evalkit.agreeing.lines import chosen_score
from evalkit.agreeing.opinions import Opinions, Source, framed
from evalkit.results.folders import MANIFEST
from evalkit.results.listening import Listening
from evalkit.results.summary import records

CALLED: tuple[str, ...] = ()


def recognised(path: Path) -> bool:
    """Whether a folder holds a record, of whatever kind: reading it says which."""
    return (path / MANIFEST).is_file()


def read(path: Path, asked: Asked) -> Opinions:
    """Read the answers that counted there."""
    return of_record(Listening.load(path), asked, "listening")


def of_record(test: Listening, asked: Asked, layout: str) -> Opinions:
    """Take the answers of a listening test that were not excluded; hidden references and controls are left out."""
    score = chosen_score(test.path, asked.score, [test.axis])
    kept = test.answers[test.answers["excluded"] == ""]
    if test.rules.get("both_bad") == "drop":
        kept = kept[kept["choice"] != "both_bad"]
    systems = {info.name: info for info in test.infos if info.role == "system"}
    own = kept["system"].isin(systems) & kept["second_system"].isin([*systems, ""])
    columns = ["system", "second_system", "prompt", "rater", "rating", "choice"]
    remarks, out = list(test.remarks), sum(info.role != "system" for info in test.infos)
    if out:
        remarks.append(f"{out} hidden references and controls are no systems, and are left out")
    sources = {name: Source(info.row, info.sha256) for name, info in systems.items()}
    return Opinions(layout, score, test.method, framed(records(kept.loc[own, columns])), remarks, sources)
