"""Where the numbers come from: versions, weights, switches and configuration of each record."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from evalkit.page.inline import written
from evalkit.page.links import relative
from evalkit.page.section import Section
from evalkit.page.tables import html
from evalkit.page.view import View
from evalkit.report.document import Item, Listing, Quantity
from evalkit.report.literal import escaped
from evalkit.results.comparison import Comparison
from evalkit.results.folders import plain
from evalkit.results.listening import Listening
from evalkit.results.record import WeightsInfo
from evalkit.results.result import Result
from evalkit.results.sweep import Sweep
from evalkit.store.redaction import redacted, redacted_option

ORDER = 90
PUBLISHED = {True: "yes", False: "no", None: "not known"}

Record = Result | Comparison | Sweep | Listening


@dataclass(frozen=True)
class Shown:
    """A record, as the template wants it.

    Attributes:
        facts: names and values.
        tables, texts: what is shown only when it is asked for, by title.
    """

    name: str
    folder: str
    facts: Sequence[tuple[str, str]]
    tables: Sequence[tuple[str, Any]]
    texts: Sequence[tuple[str, str]]


def section(view: View) -> Section:
    """Say of each record what made it."""
    records = [*view.records, *view.listenings]
    shown, several = [], len(records) > 1
    for number, record in enumerate(records, 1):
        tables = [
            (title, html(listing, f"{f'provenance-{number} ' * several}provenance-{number}-{k}", view.output))
            for k, (title, listing) in enumerate(((t, found) for t, found in _tables(record) if found.rows), 1)
        ]
        shown.append(
            Shown(
                record.path.name,
                relative(record.path, view.output),
                list(_facts(record, view)),
                tables,
                [(title, _yaml(value)) for title, value in _texts(record) if value],
            )
        )
    return Section("provenance", "Provenance", written("provenance.html.j2", records=shown))


def _facts(record: Record, view: View) -> Iterator[tuple[str, str]]:
    yield "record", f"{_kind(record)}, schema {record.schema}"
    document = view.document if [*view.records, *view.listenings] == [record] else record.document()
    yield from document.provenance.items()
    made: Mapping[str, Any] = {} if isinstance(record, Comparison) else record.provenance
    if "command" in made:
        yield "command", " ".join(map(redacted_option, made["command"]))
    if "python" in made:
        yield "python", str(made["python"])
    if "platform" in made:
        yield "platform", str(made["platform"])


def _kind(record: Record) -> str:
    names = {Result: "result of a run", Comparison: "comparison", Sweep: "sweep", Listening: "listening test"}
    return names[type(record)]


def _tables(record: Record) -> Iterator[tuple[str, Listing]]:
    if isinstance(record, Result):
        yield "Weights", _weights(record)
    if not isinstance(record, Comparison):
        yield "Versions", _pairs("package", "version", record.provenance.get("packages", {}))
    if isinstance(record, Result):
        yield "Switches of the protocol", _pairs("switch", "value", dict(_flat(record.protocol.switches)))
    if isinstance(record, Sweep):
        points = record.points
        named = dict(zip(points["point"].map(str) + ": " + points["name"], points["path"].map(os.fspath), strict=True))
        yield "Results of the points", _pairs("point", "folder", named)


def _weights(result: Result) -> Listing:
    """What the networks of models and metrics were read from."""
    used: list[tuple[str, WeightsInfo]] = []
    used += [(name, row.checkpoint) for name, row in result.rows.items() if row.checkpoint is not None]
    used += [(info.title, one) for info in result.metrics.values() for one in info.weights or ()]
    rows = [
        {
            "of": of,
            "name": one.name,
            "source": one.source,
            "digest": one.digest[:12],
            "published": PUBLISHED[one.published],
        }
        for of, one in used
    ]
    columns = [
        Quantity("of", "of", "word"),
        Quantity("name", "weights", "word"),
        Quantity("source", "source", "word"),
        Quantity("digest", "digest", "word"),
        Quantity("published", "the published file", "word"),
    ]
    return Listing([[column] for column in columns], [Item(row, {}) for row in rows], title="Weights")


def _pairs(name: str, value: str, pairs: Mapping[str, Any]) -> Listing:
    rows = [Item({"name": key, "value": str(text)}, {}) for key, text in pairs.items()]
    return Listing([[Quantity("name", name, "word")], [Quantity("value", value, "word")]], rows, title=value)


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Nested values by their names from the top, joined by dots."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", yaml.safe_dump(plain(value), default_flow_style=True).partition("\n")[0]


def _texts(record: Record) -> Iterator[tuple[str, Any]]:
    """What is shown as YAML, by title."""
    if isinstance(record, Comparison):
        yield "Gate", record.gate
        return
    if isinstance(record, Listening):
        yield "Rules", record.rules
        return
    if isinstance(record, Result):
        yield "Metrics", redacted({name: info.definition for name, info in record.metrics.items()})
        yield "Models", redacted({name: info.definition for name, info in record.rows.items()})
    yield "Configuration", redacted(record.config)


def _yaml(value: Any) -> str:
    return escaped(yaml.safe_dump(plain(value), sort_keys=False, allow_unicode=True, width=100))
