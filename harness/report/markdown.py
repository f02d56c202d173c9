"""Markdown for the summary of a CI step: a table of each backend by profile, then what is broken, folded.

May import the rows and the specification. Texts of backends are data: nothing in them is Markdown or HTML.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from convspec.harness.verdict import State
from convspec.spec import PROFILES

from . import words
from .results import unasked
from .rows import Cause, Row, backends, causes, counts, is_training, rows, stale

#: Bytes that a step summary may have: GitHub takes 1 MiB, and shows nothing of a larger one.
MOST_BYTES = 1_000_000
#: Characters of one failure, which may quote what a backend wrote, and of the line that it is folded into.
MOST_OF_ONE, MOST_OF_A_LINE = 8_000, 300

MARKS = {State.PASS: "✅", State.FAIL: "❌", State.CRASH: "💥", State.DEVIATION: "≠", State.UNSUPPORTED: "–",
         State.NOT_RUN: "·"}  # fmt: skip


def markdown(document: dict[str, Any], most: int = MOST_BYTES) -> str:
    """Return a document as Markdown of at most so many bytes: what does not fit is counted."""
    left_out = "\n{} more are left out here; the results file and the log have them.\n"
    blocks, size, missing = [], len(left_out) + 10, 0
    for block in _blocks(document):
        size += len(block.encode("utf-8", "replace"))
        if missing or size > most:
            missing += 1
        else:
            blocks.append(block)
    if missing and most > len(left_out) + 10:
        blocks.append(left_out.format(missing))
    return "".join(blocks)


def _blocks(document: dict[str, Any]) -> Iterator[str]:
    """The parts, most wanted first; each stands by itself."""
    what = "training in lockstep" if is_training(document) else f"level {document['level']}, seed {document['seed']}"
    yield f"## convspec {plain(document['convspec'])}, {plain(what)}\n\n"
    found, wrong, lines = list(rows(document)), list(causes(document)), stale(document)
    musts, others = [c for c in wrong if c.must], [c for c in wrong if not c.must]
    broken = [row for row in found if row.decides]
    said = words.broken(len({row.clause for row in broken}), len(broken))
    missing = [] if is_training(document) else unasked(document)
    yield f"**{said}**\n\n" if broken else f"{plain(words.unbroken(missing))}\n\n"
    yield f"**{words.stale(len(lines))}.**\n\n" if lines else ""
    for name in backends(document):
        yield _table(document, name, [row for row in found if row.backend == name])
    yield from (f"- ❌ {plain(line)}\n\n" for line in lines)
    yield from (_folded(cause, MARKS[State.FAIL]) for cause in musts)
    if others:
        yield "\nBroken SHOULDs, which decide nothing:\n\n"
        yield from (_folded(cause, "~") for cause in others)
    for name, entries in document.get("deviations", {}).items():
        if seen := [entry for entry in entries.values() if entry["dtypes"]]:
            yield _known(name, seen)


def _table(document: dict[str, Any], name: str, mine: list[Row]) -> str:
    """The states of a backend by profile: the numbers of a line add up to its denominator."""
    tally, total = counts(mine), len(mine)
    versions = document["backends"].get(name, {}).get("versions", {})
    told = ", ".join(f"{key} {value}" for key, value in versions.items())
    lines = [f"### {code(name)}: {tally[State.PASS]} of {total} pass", ""]
    lines += [plain(told), ""] if told else []
    lines.append("| profile | " + " | ".join(f"{MARKS[state]} {state}" for state in State) + " |")
    lines.append("|---|" + "---:|" * len(State))
    for profile in PROFILES:
        if own := [row for row in mine if row.profile == profile]:
            numbers = counts(own)
            lines.append(f"| {profile} | " + " | ".join(str(numbers[state] or "") for state in State) + " |")
    lines.append("| **all** | " + " | ".join(f"**{tally[state]}**" for state in State) + " |")
    return "\n".join(lines) + "\n\n"


def _folded(cause: Cause, mark: str) -> str:
    text = cause.text if len(cause.text) <= MOST_OF_ONE else cause.text[:MOST_OF_ONE] + "\n..."
    said = f"{plain(cause.message[:MOST_OF_A_LINE])} ({plain(', '.join(cause.on))})"
    head = f"{mark} {code(cause.backend)} {code(cause.clause)}: {said}"
    return f"<details><summary>{head}</summary>\n\n{fenced(text)}\n\n</details>\n"


def _known(name: str, entries: list[dict[str, Any]]) -> str:
    lines = [
        f"- {code(e['id'])} ({plain(e['clause'])}, {plain(' '.join(e['dtypes']))}): {plain(e['reason'])}"
        for e in entries
    ]
    head = f"≠ {code(name)}: {words.counted(len(entries), 'known deviation was seen', 'known deviations were seen')}"
    return f"<details><summary>{head}</summary>\n\n" + "\n".join(lines) + "\n\n</details>\n"


def plain(text: str) -> str:
    r"""Return a text as one line that Markdown and HTML leave as it is.

    Examples
    --------
    >>> plain("torch@compile\n*x*")
    'torch&#64;compile &#42;x&#42;'
    """
    line = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"[\\`*_~|@\[\]]", lambda found: f"&#{ord(found[0])};", line)


def code(text: str) -> str:
    """Return a name in code's letters."""
    return f"<code>{plain(text)}</code>"


def fenced(text: str) -> str:
    r"""Return a block of code that no backtick of the text can end.

    Examples
    --------
    >>> print(fenced("a ``` b"))
    ````text
    a ``` b
    ````
    """
    ticks = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, ticks + 1)
    return f"{fence}text\n{text}\n{fence}"
