"""JUnit XML: one test suite a backend, one test case a clause and dtype.

May import the rows. What decides the exit status is a failure, or an error where the process was lost; what is known,
unsupported or not run is skipped, with its reason; a broken SHOULD is a note.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

from convspec.harness.verdict import State

from .rows import Row, backends, rows, stale

#: What XML 1.0 cannot hold, not even escaped: control characters, lone surrogates, two that are no characters.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

SUITE_OF_DEVIATIONS = "known deviations"


def junit(document: dict[str, Any]) -> str:
    """Return a document as JUnit XML.

    The suites' counts are those of the document: failures and errors are the MUST cells that failed or crashed. Where
    deviations are stale a suite of their own tells it, for they fail a run too.
    """
    root = ET.Element("testsuites", name="convspec")
    found = list(rows(document))
    for name in backends(document):
        _suite(root, document, name, [row for row in found if row.backend == name])
    if lines := stale(document):
        suite = ET.SubElement(root, "testsuite", name=SUITE_OF_DEVIATIONS)
        for number, line in enumerate(lines, 1):
            case = ET.SubElement(suite, "testcase", classname=SUITE_OF_DEVIATIONS, name=f"stale {number}")
            ET.SubElement(case, "failure", type="stale", message=xml(line)).text = xml(line)
        _count(suite)
    for key in ("tests", "failures", "errors", "skipped"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(root: ET.Element, document: dict[str, Any], name: str, mine: list[Row]) -> None:
    # The form that readers of JUnit know has no offset: the document's time is UTC.
    suite = ET.SubElement(root, "testsuite", name=xml(name), timestamp=document["date"][:19])
    facts = {"convspec": document["convspec"], "level": document.get("level"), "seed": document.get("seed")}
    facts |= document["backends"].get(name, {}).get("versions", {})
    properties = ET.SubElement(suite, "properties")
    for key, value in facts.items():
        if value is not None:
            ET.SubElement(properties, "property", name=xml(str(key)), value=xml(str(value)))
    for row in mine:
        _case(suite, row, document)
    _count(suite)
    suite.set("time", f"{sum(row.seconds or 0.0 for row in mine):.3f}")


def _case(suite: ET.Element, row: Row, document: dict[str, Any]) -> None:
    case = ET.SubElement(suite, "testcase", classname=xml(row.backend), name=xml(f"{row.clause}[{row.on}]"))
    if row.seconds is not None:
        case.set("time", f"{row.seconds:.3f}")
    text = row.text or row.reason or f"{row.clause}: {row.state}"
    if row.decides:
        tag = "error" if row.state is State.CRASH else "failure"
        told = ET.SubElement(case, tag, type=row.kind or str(row.state), message=xml(_message(text)))
        told.text = xml(text)
    elif row.state is State.DEVIATION:
        said = "; ".join(f"{one}: {_reason(document, row.backend, one)}" for one in row.deviations)
        ET.SubElement(case, "skipped", type="deviation", message=xml(f"known deviation {said}"))
    elif row.state in (State.UNSUPPORTED, State.NOT_RUN):
        message = f"{row.state}: {row.reason}" if row.reason else str(row.state)
        ET.SubElement(case, "skipped", type=str(row.state), message=xml(message))
    elif row.is_broken:
        ET.SubElement(case, "system-out").text = xml(f"a broken {row.level}, which decides nothing\n{text}")
    elif row.reading:
        ET.SubElement(case, "system-out").text = xml(f"reading: {row.reading}")


def _reason(document: dict[str, Any], backend: str, deviation: str) -> str:
    entry = document["deviations"].get(backend, {}).get(deviation, {})
    return str(entry.get("reason", "declared"))


def _message(text: str) -> str:
    """The first line that says what is wrong: it comes after the clause's name and its quoted words."""
    first, *rest = [line for line in text.splitlines() if not line.startswith("  | ")] or [text]
    return f"{first}: {rest[0].strip()}" if rest else first


def _count(suite: ET.Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(key, str(sum(case.find(tag) is not None for case in cases)))


def xml(text: str) -> str:
    r"""Return a text that XML can hold: what it cannot is written as an escape.

    Examples
    --------
    >>> xml("\x1b[31mred\x00")
    '\\x1b[31mred\\x00'
    """
    return NOT_XML.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text.replace("\r\n", "\n"))
