"""A finding in plain text: the clause and its words, the smallest case, expected, got, and by how much.

May import the specification and the verdicts.
"""

from __future__ import annotations

import textwrap

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
    return "\n".join(lines)


def _below(text: str) -> str:
    """The lines of a text, each under the first: an exception's words may have several."""
    return ("\n" + " " * 12).join(text.splitlines())


def _last_lines(text: str, most: int = 3) -> str:
    return "\n".join([line for line in text.strip().splitlines() if line.strip()][-most:])
