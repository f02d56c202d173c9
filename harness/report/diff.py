"""Two results files beside each other: what got better or worse, what is new and what is gone.

May import the rows. States are compared, not figures; but a change of the effective bits is told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from convspec.harness.verdict import SEVERITY, State

from . import words
from .rows import Row, is_training, rows

#: Changes of the effective bits up to this are noise of the cases that were drawn.
BITS = 0.5
#: More clauses than this in one file alone are counted, not named: a backend was added, or -k left them out.
MOST_LINES = 12

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Change:
    """A cell that is in both files, in two states."""

    old: Row
    new: Row

    @property
    def is_worse(self) -> bool:
        """Whether the new state costs more."""
        return SEVERITY.index(self.new.state) > SEVERITY.index(self.old.state)

    @property
    def decides(self) -> bool:
        """Whether it decides the exit status: a MUST that came to fail or crash."""
        return self.is_worse and self.new.decides


@dataclass(frozen=True)
class Bits:
    """The worst effective bits of a result, which changed."""

    backend: str
    what: str
    old: float
    new: float


@dataclass(frozen=True)
class Diff:
    """What two documents do not share.

    Examples
    --------
    >>> [line.plain for line in lines(Diff(same=3))]
    ['0 worse, 0 better, 0 new, 0 gone, 3 as before', 'No MUST clause came to be broken.']
    """

    better: list[Change] = field(default_factory=list)
    worse: list[Change] = field(default_factory=list)
    new: list[Row] = field(default_factory=list)
    gone: list[Row] = field(default_factory=list)
    bits: list[Bits] = field(default_factory=list)
    same: int = 0

    @property
    def decides(self) -> list[Change]:
        """The changes that end `convspec diff` with 1."""
        return [change for change in self.worse if change.decides]


def diff(old: dict[str, Any], new: dict[str, Any]) -> Diff:
    """Compare two documents of one format.

    Raises
    ------
    ValueError
        One is of a training run and the other is not, or they share no cell: nothing could have got worse.
    """
    if is_training(old) != is_training(new):
        raise ValueError("one is of `convspec check` and the other of `convspec mnist`; they share no cell")
    before, after = ({_key(row): row for row in rows(document)} for document in (old, new))
    both = [Change(before[key], row) for key, row in after.items() if key in before]
    if not both:
        first, second = (", ".join(dict.fromkeys(key[0] for key in side)) or "nothing" for side in (before, after))
        raise ValueError(f"they share no cell: the old one has {first}, the new one {second}")
    return Diff(
        better=[c for c in both if c.new.state != c.old.state and not c.is_worse],
        worse=[c for c in both if c.is_worse],
        new=[row for key, row in after.items() if key not in before],
        gone=[row for key, row in before.items() if key not in after],
        bits=list(_bits(old, new)),
        same=sum(c.new.state == c.old.state for c in both),
    )


def _key(row: Row) -> Key:
    return row.backend, row.clause, row.on


def _bits(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Bits]:
    before, after = _worst_bits(old), _worst_bits(new)
    for key in before:
        # Written so that a figure which is not a number is told too.
        if key in after and not abs(after[key] - before[key]) <= BITS and before[key] != after[key]:
            yield Bits(key[0], f"{key[1]} {key[2]}", before[key], after[key])


def _worst_bits(document: dict[str, Any]) -> dict[Key, float]:
    """The least that was measured of each backend, dtype and result."""
    worst: dict[Key, float] = {}
    for cell in document.get("cells", ()):
        for result, bits in cell["precision"].items():
            key = cell["backend"], cell["dtype"], result
            worst[key] = min(bits, worst.get(key, bits))
    return worst


# ------------------------------------------------------------------------------------------------------ in words


def lines(found: Diff) -> Iterator[Text]:
    """The comparison, what decides first; the last line says it all."""
    decide = [c for c in found.worse if c.decides]
    yield from _changes("Worse, and a MUST is broken by it:", decide, "bold red")
    yield from _changes("Worse:", [c for c in found.worse if not c.decides], "yellow")
    yield from _changes("Better:", found.better, "green")
    yield from _only("New:", found.new)
    yield from _only("Gone:", found.gone)
    if found.bits:
        yield Text("Effective bits, the worst of each:", style="bold")
    for one in found.bits:
        yield Text(f"  {one.backend}  {one.what}: {one.old:.1f} -> {one.new:.1f}")
    counted = f"{len(found.worse)} worse, {len(found.better)} better, {len(found.new)} new, {len(found.gone)} gone, "
    yield Text(f"{counted}{found.same} as before", style="bold")
    if decide:
        slugs = dict.fromkeys(c.new.clause for c in decide)
        yield Text(words.broken(len(slugs), len(decide), "came to be broken"), style="bold red")
    else:
        yield Text("No MUST clause came to be broken.", style="bold green")


def _changes(title: str, changes: Iterable[Change], style: str) -> Iterator[Text]:
    """A line for each backend, clause and pair of states; the dtypes share it."""
    groups: dict[tuple[str, str, State, State], list[str]] = defaultdict(list)
    for change in changes:
        new = change.new
        groups[new.backend, new.clause, change.old.state, new.state].append(new.on)
    if groups:
        yield Text(title, style=style)
    for (backend, slug, before, after), on in groups.items():
        yield Text(f"  {backend}  {slug}  {before} -> {after}  ({', '.join(on)})")


def _only(title: str, found: list[Row]) -> Iterator[Text]:
    """Cells of one file alone: a line a clause, and one for a backend that the other file does not have as a whole."""
    groups: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in found:
        groups[row.backend][row.clause].append(row)
    if groups:
        yield Text(title, style="bold")
    for backend, by_clause in groups.items():
        if len(by_clause) > MOST_LINES:
            states = [row.state for own in by_clause.values() for row in own]
            counted = ", ".join(f"{states.count(state)} {state}" for state in State if state in states)
            yield Text(f"  {backend}  {len(states)} cells of {len(by_clause)} clauses: {counted}")
            continue
        for slug, own in by_clause.items():
            yield Text(f"  {backend}  {slug}  " + ", ".join(f"{row.on} {row.state}" for row in own))
