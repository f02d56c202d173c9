"""Several results documents of the same backends: how the counts went, what changed, and since when it is so.

May import the board and the comparison of two documents.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from convspec.harness.report import diff
from convspec.harness.report.rows import Row

from .board import Board
from .prose import printable

#: A sparkline's width, height and margin.
WIDTH, HEIGHT, MARGIN = 160, 32, 4

Documents = Sequence[dict[str, Any]]


def ordered(documents: Documents) -> list[dict[str, Any]]:
    """By date, the newest last; of one date as they were given.

    Examples
    --------
    >>> [d["date"][:4] for d in ordered([{"date": "2026-05-01T00:00:00+00:00"}, {"date": "2025-01-01T00:00:00+00:00"}])]
    ['2025', '2026']
    """
    return sorted(documents, key=lambda document: datetime.datetime.fromisoformat(document["date"]))


def timelines(boards: Sequence[Board]) -> list[dict[str, Any]]:
    """For each backend of the newest document: its counts at each date that has it, and a line of its passes."""
    out = []
    for name in boards[-1].backends:
        own = [board for board in boards if name in board.backends]
        counts = [board.counts(name) for board in own]
        points = [
            {"date": day(board), "version": board.version(name), "counts": tally, "total": board.total}
            for board, tally in zip(own, counts, strict=True)
        ]
        shares = [tally["pass"] / max(board.total, 1) for board, tally in zip(own, counts, strict=True)]
        out.append({"name": printable(name), "points": points, "line": sparkline(shares)})
    return out


def sparkline(shares: Sequence[float]) -> dict[str, Any]:
    """Points of a line from the first share to the last, within the least and the most of them.

    Examples
    --------
    >>> sparkline([0.5, 1.0])["points"]
    '4,28 156,4'
    """
    low, high = min(shares, default=0.0), max(shares, default=1.0)
    span = high - low or 1.0
    step = (WIDTH - 2 * MARGIN) / max(len(shares) - 1, 1)
    flat = (HEIGHT - 2 * MARGIN) / 2 if high == low else 0.0
    at = [
        (MARGIN + step * n, HEIGHT - MARGIN - flat - (share - low) / span * (HEIGHT - 2 * MARGIN))
        for n, share in enumerate(shares)
    ]
    return {
        "points": " ".join(f"{x:.4g},{y:.4g}" for x, y in at),
        "last": at[-1] if at else (0.0, 0.0),
        "width": WIDTH,
        "height": HEIGHT,
    }


def since(boards: Sequence[Board]) -> dict[tuple[str, str, str], tuple[str, str]]:
    """Cells of the newest document that were in another state before: since which date, and what they were.

    Documents that do not have a cell are passed over: what was not asked has not changed.
    """
    out = {}
    for key, cell in boards[-1].cells.items():
        first = day(boards[-1])
        for board in reversed(boards[:-1]):
            before = board.cells.get(key)
            if before is None:
                continue
            if before["state"] != cell["state"]:
                out[key] = (first, before["state"])
                break
            first = day(board)
    return out


def changes(boards: Sequence[Board]) -> list[dict[str, Any]]:
    """What got worse or better from each document to the next, the latest first."""
    out = []
    for old, new in pairwise(boards):
        try:
            found = diff.diff(old.document, new.document)
        except ValueError:  # they share no cell
            continue
        lines = [*_lines("worse", found.worse), *_lines("better", found.better)]
        out.append(
            {"old": day(old), "new": day(new), "lines": lines, "same": found.same}
            | {"added": len(found.new), "gone": len(found.gone), "shared": found.same + len(found.worse + found.better)}
        )
    return out[::-1]


def _lines(how: str, changed: Sequence[diff.Change]) -> Iterator[dict[str, Any]]:
    """A line for each backend, clause and pair of states; the dtypes share it."""
    groups: dict[tuple[str, str, str, str], list[Row]] = defaultdict(list)
    for one in changed:
        groups[one.new.backend, one.new.clause, str(one.old.state), str(one.new.state)].append(one.new)
    for (backend, slug, before, after), rows in groups.items():
        on = ", ".join(row.on for row in rows)
        yield {"how": how, "backend": printable(backend), "slug": slug, "before": before, "after": after, "on": on}


def day(board: Board) -> str:
    """When a document was made, to the minute: several may be of one day."""
    moment = datetime.datetime.fromisoformat(board.document["date"])
    return moment.strftime("%Y-%m-%d %H:%M")
