"""What a document judges, as JUnit XML: the form in which CI systems read and show test reports."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from evalkit.errors import EvalkitError
from evalkit.report.document import Case, Document
from evalkit.report.literal import literal

TAGS = {"failed": "failure", "undecided": "error"}  # of what did not pass
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(document: Document) -> str:
    """Write one case for each thing that was judged: "failed" is a failure, "undecided" an error.

    Numbers are properties of the suite, named by the case, since schemas know of none elsewhere. Raises EvalkitError
    for a document that judges nothing.
    """
    if not document.cases:
        raise EvalkitError("nothing is judged here: junit is a form of what evalkit compare makes")
    statuses = [case.status for case in document.cases]
    counts = {"tests": len(statuses), "failures": statuses.count("failed"), "errors": statuses.count("undecided")}
    attributes = {name: str(number) for name, number in counts.items()}
    root = ET.Element("testsuites", {"name": "evalkit", **attributes, "time": "0"})
    named = {"name": _text(document.suite), **attributes, "skipped": "0", "time": "0"}
    suite = ET.SubElement(root, "testsuite", named)
    properties = ET.SubElement(suite, "properties")
    for case in document.cases:
        for name, value in case.facts.items():
            ET.SubElement(properties, "property", {"name": _text(f"{case.group}.{name}"), "value": _text(value)})
        suite.append(_element(case))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _element(case: Case) -> ET.Element:
    element = ET.Element("testcase", {"classname": _text(case.group), "name": _text(case.name), "time": "0"})
    lines = [_text(line) for line in case.text.splitlines()]
    if case.status in TAGS:
        attributes = {"type": _text(case.verdict), "message": f"{_text(case.verdict)}: {lines[0] if lines else ''}"}
        ET.SubElement(element, TAGS[case.status], attributes).text = "\n".join(lines)
    elif lines:
        ET.SubElement(element, "system-out").text = "\n".join(lines)
    return element


def _text(value: object) -> str:
    """Text on one line, without what XML 1.0 cannot hold."""
    return NOT_XML.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), literal(value))
