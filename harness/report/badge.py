"""A badge: how many cells pass, as SVG that needs no other address.

May import the rows.
"""

from __future__ import annotations

from html import escape
from typing import Any

from convspec.harness.verdict import State

from . import words
from .rows import rows, stale

#: White text on each of them is readable (WCAG's 4.5 to 1).
GREY, GREEN, AMBER, RED = "#555", "#2e7d32", "#8a5a00", "#b3261e"

#: Where a letter's width is not known the text is stretched to fit (`textLength`), so that any font will do.
LETTER, MARGIN = 7, 6

BADGE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{title}">
 <title>{title}</title>
 <clipPath id="r"><rect width="{width}" height="20" rx="3"/></clipPath>
 <g clip-path="url(#r)">
  <rect width="{left}" height="20" fill="{grey}"/>
  <rect x="{left}" width="{right}" height="20" fill="{colour}"/>
 </g>
 <g fill="#fff" font-family="Verdana,DejaVu Sans,Geneva,sans-serif" font-size="11">
  <text x="{margin}" y="14" textLength="{label_length}">{label}</text>
  <text x="{value_x}" y="14" textLength="{value_length}">{value}</text>
 </g>
</svg>
"""


def badge(document: dict[str, Any]) -> str:
    """Return the badge: red where a MUST is broken or a deviation is stale, amber where one is known, else green."""
    found = list(rows(document))
    passed = sum(row.state is State.PASS for row in found)
    broken = [row for row in found if row.decides]
    known = sum(row.state is State.DEVIATION for row in found)
    said, colour = "no MUST clause is broken", GREEN
    if known:
        said, colour = words.counted(known, "deviates as is known", "deviate as is known"), AMBER
    if lines := stale(document):
        said, colour = words.stale(len(lines)), RED
    if broken:
        said, colour = words.broken(len({row.clause for row in broken}), len(broken)).rstrip("."), RED
    title = f"convspec: {passed} of {len(found)} cells pass; {said}"
    return draw("convspec", f"{passed}/{len(found)}", title, colour)


def draw(label: str, value: str, title: str, colour: str) -> str:
    """Return a badge of two texts.

    Examples
    --------
    >>> "<title>all of it</title>" in draw("convspec", "3/3", "all of it", GREEN)
    True
    """
    left, right = (len(text) * LETTER + 2 * MARGIN for text in (label, value))
    return BADGE.format(
        width=left + right, left=left, right=right, margin=MARGIN, value_x=left + MARGIN, grey=GREY, colour=colour,
        label=escape(label), value=escape(value), label_length=left - 2 * MARGIN, value_length=right - 2 * MARGIN,
        title=escape(title),
    )  # fmt: skip
