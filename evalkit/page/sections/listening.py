"""What people said in listening tests: of each its tables, beside what was measured, and where it is drawn a figure."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.page.inline import written
from evalkit.page.section import Section
from evalkit.page.tables import Titled, html, legend, tone
from evalkit.page.view import View
from evalkit.report.document import Document, Listing
from evalkit.results.listening import Listening

ORDER = 25
FOLDED = ("Exclusions", "Raters")  # tables that are shown only when they are asked for


@dataclass(frozen=True)
class Test:
    """A listening test as the template wants it.

    Attributes:
        tables: empty where the page's summary has them already.
    """

    document: Document[Listing]
    tone: str
    tables: list[Titled]
    notes: list[str]


def section(view: View) -> Section | None:
    """Show the listening tests that stand beside other records; one that is alone is the page's summary."""
    beside = view.listenings if view.records else view.listenings[1:]
    if not beside:
        return None
    tests = [_test(one, number, view) for number, one in enumerate(beside, 1)]
    title = "Listening test" if len(tests) == 1 else "Listening tests"
    return Section("listening", title, written("listening.html.j2", tests=tests))


def _test(listening: Listening, number: int, view: View) -> Test:
    document = listening.document()
    tables = [document.table, *(table for table in document.more if isinstance(table, Listing))]
    parts = [
        Titled(
            table,
            name := f"listen-{number}-{k}",
            html(table, f"listen-{number} {name}" if k else "", view.output, caption="" if k else document.heading),
            legend(table),
            table.title in FOLDED,
        )
        for k, table in enumerate(tables)
    ]
    return Test(document, tone(document.outcome) or ("" if listening.judged else "warn"), parts, list(document.notes))
