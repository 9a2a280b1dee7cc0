"""JUnit XML, read by parsers that are not evalkit's."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from junitparser import Error, Failure, JUnitXml

from evalkit.errors import EvalkitError
from evalkit.report.document import Case, Document, Listing
from evalkit.report.to_junit import render

CASES = [
    Case("outcome", "gate", "failed", "NO-GO", "FAD is worse\nand this is all", {"prompts": 500}),
    Case("critical.fad", "FAD", "failed", "BREACH", "worse by 0.9", {"difference": 0.851, "n": 500}),
    Case("critical.kld", "KLD", "undecided", "INSUFFICIENT_EVIDENCE", "too few prompts"),
    Case("critical.mono", "Mono share", "undecided", "MISSING", ""),
    Case("critical.silence", "Silence", "undecided", "MISSING", "not measured"),
    Case("advisory.kad", "KAD", "passed", "BREACH", "BREACH, but only advisory"),
    Case("supporting.clap", "CLAP score", "passed", "PASS", ""),
]

# What may stand in what, by the schema of Jenkins' xunit plugin (junit-10.xsd), the strictest in use.
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase"},
    "properties": {"property"},
    "property": set(),
    "testcase": {"failure", "error", "system-out"},
    "failure": set(),
    "error": set(),
    "system-out": set(),
}
ATTRIBUTES = {
    "testsuites": {"name", "tests", "failures", "errors", "time"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time"},
    "properties": set(),
    "property": {"name", "value"},
    "testcase": {"classname", "name", "time"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "system-out": set(),
}


def made(*cases: Case) -> Document:
    return Document("t", "h", Listing([], []), suite="musiccaps/all/musicgen", cases=cases or CASES)


def test_another_parser_reads_what_was_judged() -> None:
    (suite,) = JUnitXml.fromstring(render(made()).encode())
    assert suite.name == "musiccaps/all/musicgen"
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (7, 2, 3, 0)
    found = {(case.classname, case.name): case for case in suite}
    assert list(found) == [(case.group, case.name) for case in CASES]
    (breach,) = found["critical.fad", "FAD"].result
    assert isinstance(breach, Failure) and (breach.type, breach.message) == ("BREACH", "BREACH: worse by 0.9")
    assert breach.text == "worse by 0.9"
    (outcome,) = found["outcome", "gate"].result
    assert isinstance(outcome, Failure) and outcome.text == "FAD is worse\nand this is all"
    for name in (("critical.kld", "KLD"), ("critical.mono", "Mono share")):
        (undecided,) = found[name].result
        assert isinstance(undecided, Error) and undecided.message.startswith(undecided.type)
    advisory, passed = found["advisory.kad", "KAD"], found["supporting.clap", "CLAP score"]
    assert advisory.is_passed and advisory.system_out == "BREACH, but only advisory"
    assert passed.is_passed and passed.system_out is None
    values = {one.name: one.value for one in suite.properties()}
    assert values == {"outcome.prompts": "500", "critical.fad.difference": "0.851", "critical.fad.n": "500"}


def test_it_follows_the_schema_and_its_counts_are_those_of_its_cases() -> None:
    root = ET.fromstring(render(made()))
    assert root.tag == "testsuites"
    for element in root.iter():
        assert {child.tag for child in element} <= CHILDREN[element.tag]
        assert set(element.attrib) == ATTRIBUTES[element.tag]
    for element in (root, *root.iter("testsuite")):
        counted = {"tests": "testcase", "failures": "failure", "errors": "error"}
        assert all(int(element.attrib[k]) == len(list(element.iter(tag))) for k, tag in counted.items())


# The characters of XML 1.0, https://www.w3.org/TR/xml/#charsets
ALLOWED = {0x9, 0xA, 0xD, *range(0x20, 0xD800), *range(0xE000, 0xFFFE), *range(0x10000, 0x110000)}


@pytest.mark.parametrize("code", [*range(0x20), 0x7F, 0x85, 0x2028, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF, 0x1FFFE])
def test_what_xml_cannot_hold_is_an_escape(code: int) -> None:
    bad = f"a{chr(code)}z"
    text = render(made(Case(bad, bad, "failed", bad, bad, {bad: bad}), Case(bad, bad, "passed", bad, bad)))
    assert {ord(character) for character in text} <= ALLOWED
    (suite,) = JUnitXml.fromstring(text.encode())
    expected = {"a z"} if bad.split() != [bad] else {bad, f"a{chr(code).encode('unicode_escape').decode()}z"}
    assert {case.name for case in suite} <= expected


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "a & b", "]]>", "\"'", "naïve 音楽 👩\u200d🎤", "a | `b`"]
)
def test_names_come_back_as_they_were(name: str) -> None:
    (suite,) = JUnitXml.fromstring(render(replace(made(Case(name, name, "failed", name, name)), suite=name)).encode())
    (case,) = suite
    (failure,) = case.result
    assert {suite.name, case.name, case.classname, failure.type, failure.text} == {name}
    assert failure.message == f"{name}: {name}"


def test_a_document_that_judges_nothing_is_refused_in_one_line() -> None:
    with pytest.raises(EvalkitError, match="nothing is judged here: junit is a form of what evalkit compare makes"):
        render(Document("t", "h", Listing([], [])))
