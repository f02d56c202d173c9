"""A finding in plain text: the clause and its words, the smallest case, expected, got, and by how much.

May import the specification and the verdicts.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

from convspec.harness.verdict import Finding
from convspec.spec import clause


def describe(finding: Finding, width: int = 110) -> str:
    """Several lines, the clause first."""
    text = clause(finding.clause)
    lines = [f"{finding.clause} ({text.level})"]
    lines += textwrap.wrap(" ".join(text.statement.split()), width, initial_indent="  | ", subsequent_indent="  | ")
    lines.append(f"  {finding.message}")
    rows = (
        ("case", finding.call),
        ("expected", finding.expected),
        ("got", finding.got),
        ("error", finding.error),
        ("matches", finding.diagnosis),
        ("taps", finding.taps),
        ("stderr", _last_lines(finding.stderr)),
    )
    lines += [f"  {name + ':':<10}{_below(value)}" for name, value in rows if value]
    told: str = visible("\n".join(lines))
    return told


def visible(value: Any) -> Any:
    r"""A text as a terminal may have it: what would steer one becomes an escape; so in all that a document holds.

    A backend's words, and a file's, may hold anything: colours, a cleared screen, a title, half a character.

    >>> visible({"message": ["\x1b[2J\x9b1mgone\r\nand\rhere"]})
    {'message': ['\\x1b[2J\\x9b1mgone\nand\\rhere']}
    """
    if isinstance(value, str):
        text = value.replace("\r\n", "\n")
        return re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", lambda found: ascii(found[0])[1:-1], text)
    if isinstance(value, dict):
        return {visible(name): visible(inner) for name, inner in value.items()}
    return [visible(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _below(text: str) -> str:
    """The lines of a text, each under the first: an exception's words may have several."""
    return ("\n" + " " * 12).join(text.splitlines())


def _last_lines(text: str, most: int = 3) -> str:
    return "\n".join([line for line in text.strip().splitlines() if line.strip()][-most:])
