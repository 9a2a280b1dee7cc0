"""A listening test as one run: what people said of each system, and no word of who they are."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from evalkit.results.listening import Listening
from evalkit.results.summary import records
from evalkit.store.redaction import redacted
from evalkit.trackers.content import about, capped
from evalkit.trackers.run import Limits, Run, flat, numbers, part

OF_A_SYSTEM = ("low", "high", "n", "raters", "prompts", "share")
TABLES = ("systems", "differences", "correlations", "exclusions")


def runs(listening: Listening, limits: Limits, folder: Path) -> list[Run]:
    """Describe a listening test for a tracker; files that are made for it are written into a folder."""
    listening = anonymous(listening)
    shared = about(listening, [], limits, folder, own_page=True)
    missing: list[str] = []
    alpha = {"alpha": listening.alpha, "alpha/low": listening.alpha_low, "alpha/high": listening.alpha_high}
    scalars = numbers({**alpha, "raters/asked": listening.raters_asked, "raters/kept": listening.raters_kept})
    for row in records(listening.systems):
        name = f"{listening.axis}/{part(row['system'])}"
        scalars |= numbers({name: row["value"], **{f"{name}/{key}": row.get(key) for key in OF_A_SYSTEM}})
    found = {
        "study": listening.study,
        "axis": listening.axis,
        "method": listening.method,
        "prompts": {"dataset": listening.dataset, "subset": listening.subset},
        "protocol": listening.protocol,
        "rules": listening.rules,
    }
    said = {"evalkit_kind": "listening", "evalkit_reasons": "; ".join(listening.reasons)}
    return [
        Run(
            key=shared.key("listening"),
            name=shared.named(f"listening: {listening.axis}, {listening.method}"),
            group=shared.group,
            kind="listening",
            time=shared.time,
            scalars=scalars,
            parameters=flat(redacted(found)),
            tags=shared.tags(listening.path, said),
            marks=[*shared.marks, *([] if listening.judged else ["too few answers"])],
            tables={
                name: capped(frame.drop(columns="who", errors="ignore"), limits.rows, f"the table of {name}", missing)
                for name in TABLES
                if len(frame := getattr(listening, name))
            },
            files=shared.files,
            text=shared.said(missing),
        )
    ]


def anonymous(listening: Listening) -> Listening:
    """The same listening test without the table of raters, their names, and remarks that have one in them."""
    names = {*listening.raters["rater"], *listening.answers["rater"], *listening.answers["session"]}
    named = re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in sorted(names)) or r"(?!)")
    remarks = [remark for remark in listening.remarks if not named.search(remark)]
    left_out = ["remarks that name raters are left out"] if len(remarks) < len(listening.remarks) else []
    return dataclasses.replace(
        listening,
        remarks=[*remarks, *left_out],
        raters=listening.raters.iloc[:0],
        exclusions=listening.exclusions.assign(who=""),
        answers=listening.answers.assign(rater="", session=""),
        files=[dataclasses.replace(one, name="", session="") for one in listening.files],
    )
