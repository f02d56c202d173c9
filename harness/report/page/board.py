"""The verdicts of a results document by place: every clause and dtype that any backend was asked, of every backend.

May import the verdicts, the specification and the adapters' names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from convspec.adapters.registry import Label
from convspec.harness.verdict import SEVERITY, State
from convspec.spec import PROFILES, Clause

from .prose import printable

#: A letter for each state: the classes of the page's cells.
LETTERS = {
    State.PASS: "p", State.FAIL: "f", State.DEVIATION: "d", State.UNSUPPORTED: "u", State.CRASH: "c",
    State.NOT_RUN: "n",
}  # fmt: skip
SHORT = {"float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16"}
DTYPES = ("float32", "float64", "float16", "bfloat16")
#: Rows in a body of the table: a browser lays out those bodies alone that are in sight.
CHUNK = 40

Place = tuple[str, str]


@dataclass(frozen=True)
class Mark:
    """One state of a cell, and the dtypes that are in it; none named where all are."""

    letter: str
    state: str
    dtypes: str = ""


@dataclass(frozen=True)
class Row:
    """A clause and what each backend is in it, the worst state first."""

    slug: str
    level: str
    cells: list[list[Mark]]


@dataclass(frozen=True)
class Group:
    """A profile: how many of its places each backend passes, and its clauses, in chunks."""

    profile: str
    places: int
    passed: list[int]
    chunks: list[list[Row]]


@dataclass(frozen=True)
class Board:
    """The verdicts of a document; the same places of every backend, so that the denominators are one.

    Examples
    --------
    >>> from convspec.spec import clauses
    >>> cell = {"clause": "groups", "dtype": "float32", "backend": "a", "state": "pass"}
    >>> board = Board({"cells": [cell], "summary": {"a": {}, "b": {}}}, clauses())
    >>> board.counts("a")["pass"], board.counts("b")["not run"], board.total
    (1, 1, 1)
    """

    document: dict[str, Any]
    clauses: Mapping[str, Clause]

    @cached_property
    def backends(self) -> list[str]:
        """In the order they were named."""
        return list(self.document["summary"])

    @cached_property
    def cells(self) -> dict[tuple[str, str, str], dict[str, Any]]:
        """By clause, dtype and backend."""
        return {(c["clause"], c["dtype"], c["backend"]): c for c in self.document["cells"]}

    @cached_property
    def places(self) -> list[Place]:
        """Every clause and dtype that is asked of any backend, in the order of the specification."""
        order = {slug: number for number, slug in enumerate(self.clauses)}
        found = {(c["clause"], c["dtype"]) for c in self.document["cells"]}
        return sorted(found, key=lambda place: (order.get(place[0], len(order)), dtype_order(place[1])))

    @property
    def total(self) -> int:
        """The denominator: of every backend the same."""
        return len(self.places)

    @cached_property
    def by_clause(self) -> dict[str, list[str]]:
        """The dtypes of each clause."""
        out: dict[str, list[str]] = {}
        for slug, dtype in self.places:
            out.setdefault(slug, []).append(dtype)
        return out

    def state(self, slug: str, dtype: str, backend: str) -> State:
        """The verdict; *not run* where the document has none."""
        return self._states.get((slug, dtype, backend), State.NOT_RUN)

    @cached_property
    def _states(self) -> dict[tuple[str, str, str], State]:
        return {key: State(cell["state"]) for key, cell in self.cells.items()}

    def level(self, slug: str) -> str:
        """How binding a clause is."""
        return self.clauses[slug].level

    def counts(self, backend: str, places: Iterable[Place] | None = None) -> dict[str, int]:
        """How many places of a backend are in each state; they add up to the denominator."""
        tally = Counter(self.state(*place, backend) for place in (self.places if places is None else places))
        return {str(state): tally.get(state, 0) for state in State}

    def marks(self, slug: str, backend: str) -> list[Mark]:
        """One cell of the table: the states of all dtypes, the worst first; what is not named passes."""
        by_state: dict[State, list[str]] = {}
        for dtype in self.by_clause[slug]:
            by_state.setdefault(self.state(slug, dtype, backend), []).append(SHORT.get(dtype, dtype))
        found = sorted(by_state, key=SEVERITY.index, reverse=True)
        if len(found) == 1:
            return [Mark(LETTERS[found[0]], str(found[0]))]
        return [Mark(LETTERS[s], str(s), " ".join(by_state[s])) for s in found if s is not State.PASS]

    @cached_property
    def groups(self) -> list[Group]:
        """The table: clauses by profile."""
        profiles: dict[str, list[str]] = {}
        for slug in self.by_clause:
            profiles.setdefault(self.clauses[slug].profile, []).append(slug)
        ordered = sorted(profiles, key=lambda p: PROFILES.index(p) if p in PROFILES else len(PROFILES))
        return [self._group(profile, profiles[profile]) for profile in ordered]

    def _group(self, profile: str, slugs: list[str]) -> Group:
        places = [(slug, dtype) for slug in slugs for dtype in self.by_clause[slug]]
        rows = [Row(slug, self.level(slug), [self.marks(slug, name) for name in self.backends]) for slug in slugs]
        passed = [self.counts(name, places)["pass"] for name in self.backends]
        chunks = [rows[at : at + CHUNK] for at in range(0, len(rows), CHUNK)]
        return Group(profile, len(places), passed, chunks)

    def version(self, backend: str) -> str:
        """The version of the framework that a backend is of; nothing where the document has none."""
        said = self.document["backends"].get(backend, {})
        framework = Label.of(said.get("text", backend)).backend  # joined results may label it otherwise
        return printable(str(said.get("versions", {}).get(framework) or said.get("version") or ""))


def dtype_order(dtype: str) -> tuple[int, str]:
    """Where a type stands: those of the specification first, then the integers, then what asks them all."""
    known = DTYPES.index(dtype) if dtype in DTYPES else len(DTYPES) + (dtype == "all")
    return known, dtype
