"""What the page shows of a cell when it is opened, as plain data: texts, drawings and scripts, each once.

May import the board, the drawings, the deviations and the reproducers. Texts of backends are data here, never markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from convspec.harness.deviations import shipped
from convspec.harness.report import reproduce
from convspec.harness.report.findings import Named, in_results
from convspec.harness.verdict import State

from .board import LETTERS, Board
from .drawing import draw
from .prose import blocks, inline, printable

Changes = Mapping[tuple[str, str, str], tuple[str, str]]

#: What is told of a finding, in words.
TOLD = ("kind", "message", "call", "expected", "got", "error", "stderr", "diagnosis", "taps")


class Once:
    """A list in which each value stands once; it is named by its place.

    Examples
    --------
    >>> once = Once()
    >>> once.place("a"), once.place("b"), once.place("a"), once.values
    (0, 1, 0, ['a', 'b'])
    """

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[Any, int] = {}

    def place(self, value: Any, key: Any = None) -> int:
        """The place of a value; `key` stands for one that cannot be a key itself."""
        key = value if key is None else key
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]


class Details:
    """Gathers the data of one document."""

    def __init__(self, board: Board, changed: Changes, book: str = "") -> None:
        self.board, self.book = board, book
        self.changed = changed
        self.findings, self.drawings, self.scripts, self.deviations = Once(), Once(), Once(), Once()
        self.entries = shipped()

    def data(self) -> dict[str, Any]:
        """All of it; what is said of a cell in `cells` goes by row and backend."""
        board = self.board
        slugs, dtypes = list(board.by_clause), list(dict.fromkeys(dtype for _, dtype in board.places))
        more: dict[str, Any] = {}
        rows = []
        for number, (slug, dtype) in enumerate(board.places):
            cells = [board.cells.get((slug, dtype, name)) for name in board.backends]
            letters = "".join(LETTERS[board.state(slug, dtype, name)] for name in board.backends)
            rows.append([slugs.index(slug), dtypes.index(dtype), letters, *_figures(cells)])
            for place, cell in enumerate(cells):
                if said := self._more(cell):
                    more[f"{number},{place}"] = said
        return {
            "letters": {letter: str(state) for state, letter in LETTERS.items()},
            "backends": [self._backend(name) for name in board.backends],
            "dtypes": dtypes,
            "clauses": [self._clause(slug) for slug in slugs],
            "rows": rows,
            "cells": more,
            "findings": self.findings.values,
            "drawings": self.drawings.values,
            "scripts": self.scripts.values,
            "deviations": self.deviations.values,
        }

    def _backend(self, name: str) -> dict[str, str]:
        return {"name": printable(name), "version": self.board.version(name)}

    def _clause(self, slug: str) -> list[Any]:
        one = self.board.clauses[slug]
        parts = [("Formula", one.formula), ("Why", one.why), ("Example", one.example), ("Systems", one.systems)]
        told = [[title, blocks(text)] for title, text in parts if text]
        address = [self.book + one.address] if self.book else []
        return [slug, one.level, one.profile, inline(one.statement), told, *address]

    def _more(self, cell: dict[str, Any] | None) -> dict[str, Any]:
        """What is said of some cells only; what is empty is left out."""
        if cell is None:
            return {"reason": "its results do not have this cell"}
        key = cell["clause"], cell["dtype"], cell["backend"]
        said = {
            "reason": printable(cell["reason"]) if cell["state"] != State.PASS else "",
            "reading": printable(cell["reading"]),
            "refused": cell["refused"],
            "skipped": cell["skipped"],
            "vacuous": cell["vacuous"],
            "bits": [f"{name} {bits:.1f}" for name, bits in cell["precision"].items()],
            "errors": cell.get("errors", []),
            "since": self.changed.get(key),
            "findings": list(self._findings(cell)),
        }
        return {name: value for name, value in said.items() if value}

    def _findings(self, cell: dict[str, Any]) -> Iterator[list[Any]]:
        """Each cause's smallest: what is new before what is known; its text, its script, or why there is none."""
        if not cell["findings"]:
            return
        named: dict[Any, Named] = {}
        for one in in_results({"cells": [cell], "backends": self.board.document["backends"]}, self.entries):
            named.setdefault(_key(one.finding), one)
        order = sorted(cell["findings"], key=lambda f: (bool(f["deviation"]), f["elements"]))
        smallest = {(f["clause"], f["kind"], f["deviation"]): f for f in reversed(order)}
        for finding in (f for f in order if smallest[f["clause"], f["kind"], f["deviation"]] is f):
            yield [self._finding(finding, cell["backend"]), *self._script(named.get(_key(finding)))]

    def _finding(self, finding: dict[str, Any], backend: str) -> int:
        drawing = draw(finding)
        entry = self.board.document["deviations"].get(backend, {}).get(finding["deviation"])
        said: dict[str, Any] = {name: printable(str(finding[name])) for name in TOLD if finding[name]}
        if drawing.svg:
            said["drawing"] = self.drawings.place([drawing.svg, drawing.caption], drawing.svg)
        if finding["deviation"]:
            told = deviation(finding["deviation"], entry or {})
            said["deviation"] = self.deviations.place(told, tuple(told.values()))
        return self.findings.place(said, tuple(sorted(said.items())))

    def _script(self, named: Named | None) -> tuple[int | None, str]:
        """The place of a finding's script; or none, and why not."""
        if named is None:
            return None, "no single call shows it"
        try:
            return self.scripts.place(printable(reproduce.script(named.finding, named.backend))), ""
        except reproduce.NoReproducer as error:
            return None, printable(str(error))


def _key(finding: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(finding[name]) for name in ("clause", "kind", "message", "call", "deviation", "elements"))


def _figures(cells: Sequence[dict[str, Any] | None]) -> tuple[list[int], list[int], list[int]]:
    """Cases, outputs and milliseconds of each backend."""
    numbers = [(c["cases"], c["outputs"], round(1000 * c["seconds"])) if c else (0, 0, 0) for c in cells]
    return [n[0] for n in numbers], [n[1] for n in numbers], [n[2] for n in numbers]


def deviation(name: str, entry: Mapping[str, Any]) -> dict[str, str]:
    """What is told of a known deviation; its address only where it is one of the web.

    Examples
    --------
    >>> deviation("mine-leaks", {"kind": "bug", "reason": "It leaks.", "url": "javascript:alert(1)", "state": "stale"})
    {'id': 'mine-leaks', 'kind': 'bug', 'reason': 'It leaks.', 'state': 'stale', 'url': '', 'place': ''}
    """
    told = {key: printable(str(entry.get(key, ""))) for key in ("kind", "reason", "state")}
    url = str(entry.get("url", ""))
    web = url.startswith(("https://", "http://")) and not set(url) & set(" \t\r\n\"'<>\\")
    return {"id": printable(name)} | told | {"url": url if web else "", "place": printable(str(entry.get("place", "")))}
