"""What must be read first, the outcome, and all tables of the records with what must be known of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from evalkit.page.inline import written
from evalkit.page.section import Section
from evalkit.page.tables import Titled, html, legend, tone
from evalkit.page.view import View
from evalkit.report.document import Item, Listing, Quantity
from evalkit.results.clusters import over
from evalkit.results.comparison import Comparison
from evalkit.results.listening import Listening
from evalkit.results.record import Count
from evalkit.results.result import Result
from evalkit.results.summary import clip_counts
from evalkit.results.sweep import Sweep
from evalkit.results.sweep_text import shown

ORDER = 10
CHANGED = "(changed)"  # in the name of a protocol
GATE = ("power", "swaps", "groups")  # numbers of a gate


def section(view: View) -> Section:
    """Write everything that the document says."""
    document, prompts = view.document, bool(view.systems)
    coverage = _coverage(view)
    more = [
        Titled(
            table,
            name := f"summary-more-{number}",
            html(table, name, view.output, prompts=prompts),
            legend(table),
            folded=not isinstance(table, Listing),
        )
        for number, table in enumerate(document.more, 1)
    ]
    body = written(
        "summary.html.j2",
        document=document,
        warnings=list(_warnings(view)),
        tone=tone(document.outcome),
        main=html(document.table, "", view.output, caption=document.heading, prompts=prompts),
        legend=legend(document.table),
        protocol=list(_protocol(view)),
        covered=coverage.rows and html(coverage, "summary-coverage", view.output),
        more=more,
    )
    return Section("summary", "Summary", body)


def _warnings(view: View) -> Iterator[str]:
    """What must be read first, one sentence or more each."""
    if view.document.warning:
        yield view.document.warning
    for record in view.records:
        of = f"{record.path.name}: " if len(view.records) > 1 else ""
        if isinstance(record, Result):
            yield from (of + text for text in _of_result(record))
        elif CHANGED in record.protocol:
            yield f"The protocol is changed ({record.protocol}): compare with nothing that was published."
    yield from (f"{text[:1].upper()}{text[1:]}." for text in view.missing)


def _of_result(result: Result) -> Iterator[str]:
    """What a reader of one result must not miss: a changed protocol, and references or clips that are missing."""
    if result.protocol.changes:
        yield f"The protocol is changed: {'; '.join(result.protocol.changes)}."
    elif CHANGED in result.protocol.name:
        yield f"The protocol is changed: {result.protocol.name}."
    references = result.references_info
    if references is None:
        if any(info.compares_with == "references" for info in result.metrics.values()):
            yield "There are no references."
    else:
        usable = references.usable
        if usable.ok < usable.total:
            yield f"References are missing: {usable.ok:,} of {usable.total:,} could be used{_because(usable)}."
        if references.rendered_by:
            yield f"References are rendered by {references.rendered_by}: they are not recordings."
        if references.altered:
            yield f"References are {references.altered}, not as they are."
    for name, clips in clip_counts(result).items():
        if clips.ok < clips.total:
            yield f"Clips of {name} are missing: {clips.ok:,} of {clips.total:,} could be used{_because(clips)}."


def _because(count: Count) -> str:
    return f" ({count.why})" if count.why else ""


def _protocol(view: View) -> Iterator[tuple[str, str]]:
    """What was measured, and how, as names and values; what results do not have in common, with their folders."""
    if not view.records:
        yield from _heard(view.listenings[0])
    found: dict[str, dict[str, list[str]]] = {}  # of each name, the values with the records that have them
    for record in view.records:
        for name, text in _facts(record):
            found.setdefault(name, {}).setdefault(text, []).append(record.path.name)
    for name, texts in found.items():
        if len(texts) == 1 and len(next(iter(texts.values()))) == len(view.records):
            yield name, next(iter(texts))
        else:
            yield from ((name, f"{', '.join(folders)}: {text}") for text, folders in texts.items())


def _facts(record: Result | Comparison | Sweep) -> Iterator[tuple[str, str]]:
    if isinstance(record, Result):
        yield from _measured(record)
        return
    yield "Data set", f"{record.dataset}, subset {record.subset}"
    yield "Protocol", record.protocol
    if isinstance(record, Comparison):
        yield "Compared on", f"{record.prompts:,} of {record.prompts_total:,} prompts"
        yield "Intervals", f"{record.gate['level']:.3g} confidence, over {over(record.clusters)}"
        yield "Gate", ", ".join(f"{key} {record.gate[key]:g}" for key in GATE if key in record.gate)
        return
    yield "Prompts", f"{record.prompts:,}"
    yield "Swept", "; ".join(f"{one.key}: {', '.join(map(shown, one.values))}" for one in record.parameters)
    yield "Judged by", ", ".join(one.title for one in record.objectives) or "nothing"
    yield "Intervals", f"{record.level:.3g} confidence, {record.draws:,} draws, seed {record.seed}"
    if record.fresh_seed is not None:
        yield "Measured again", f"with seed {record.fresh_seed}"


def _measured(result: Result) -> Iterator[tuple[str, str]]:
    info = result.prompts_info
    if info.form == "prompts":
        yield "Data set", f"{info.dataset}, subset {info.subset}"
    else:
        yield "Two folders", info.subset
    yield "Protocol", result.protocol.name
    if result.protocol.changes:
        yield "Changed", "; ".join(result.protocol.changes)
    if any(row.generated and not row.calibration for row in result.rows.values()):
        yield "Sampling", _listed(result.sampling)
    resampling = f"{result.uncertainty['resamples']:,} resamples, seed {result.uncertainty['seed']}"
    yield "Intervals", f"{result.uncertainty['level']:.3g} confidence, {resampling}"


def _heard(listening: Listening) -> Iterator[tuple[str, str]]:
    """How a listening test was made, where it stands alone."""
    low, high = listening.scale
    yield "Data set", f"{listening.dataset}, subset {listening.subset}"
    yield "Asked", "the better of two" if listening.method == "pairs" else f"a rating from {low:g} to {high:g}"
    if math.isfinite(listening.loudness):
        yield "Loudness", f"{listening.loudness:g} LUFS"
    yield "Rules", f"{listening.rules['name']}, at least {listening.rules['least_raters']} raters"
    yield "Intervals", f"{listening.level:.3g} confidence, {listening.resamples:,} draws, seed {listening.seed}"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {shown(value)}" for name, value in values.items())


def _coverage(view: View) -> Listing:
    """How much of what was asked for could be measured."""
    rows = []
    if not view.records:
        test = view.listenings[0]
        counted = int((test.answers["excluded"] == "").sum())
        rows.append(_covered("sessions", Count(sum(one.used for one in test.files), test.sessions), "not answered"))
        rows.append(_covered("raters", Count(test.raters_kept, test.raters_asked), "excluded by the rules"))
        rows.append(_covered("answers", Count(counted, len(test.answers)), "excluded by the rules"))
    for record in view.records:
        of = f" ({record.path.name})" if len(view.records) > 1 else ""
        if isinstance(record, Comparison):
            rows.append(_covered("prompts on both sides", Count(record.prompts, record.prompts_total)))
        elif isinstance(record, Sweep):
            statuses = record.points["status"]
            why = {status: int((statuses == status).sum()) for status in ("failed", "dropped")}
            rows.append(_covered("points on all prompts", Count(int((statuses == "ok").sum()), len(statuses), why)))
        else:
            info = record.prompts_info
            if not rows:  # results of one table share prompts and references
                if info.form == "prompts":
                    rows.append(_covered("prompts", Count(info.selected, info.total), f"subset {info.subset}"))
                rows += [_covered("references", record.references_info.usable)] if record.references_info else []
            rows += [_covered(f"clips of {what}{of}", clips) for what, clips in _clips(record)]
    columns = [
        [Quantity("what", "what", "word")],
        [Quantity("ok", "used", "count"), Quantity("total", "of", "count"), Quantity("share", "share", "share")],
        [Quantity("why", "the others", "word")],
    ]
    return Listing(columns, rows, title="Coverage")


def _clips(result: Result) -> Iterator[tuple[str, Count]]:
    """The clips of each row; rows that have all of equally many are one."""
    whole: dict[int, list[str]] = {}
    counts = clip_counts(result)
    for name, clips in counts.items():
        if clips.ok == clips.total:
            whole.setdefault(clips.total, []).append(name)
    for total, names in whole.items():
        yield names[0] if len(names) == 1 else f"each of {len(names)} rows", Count(total, total)
    yield from ((name, clips) for name, clips in counts.items() if clips.ok < clips.total)


def _covered(what: str, count: Count, why: str = "") -> Item:
    share = count.ok / count.total if count.total else None
    missing = (count.why or why) if count.ok < count.total else ""
    return Item({"what": what, "ok": count.ok, "total": count.total, "share": share, "why": missing}, {})
