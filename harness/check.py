"""What a conformance test holds: `check`, bound to one backend, clause and dtype.

May import the judge and the exploration. Pytest is not needed to use it; the plugin makes one for each test.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from .cases.case import Case
from .cases.invalid import invalid_calls
from .explore import Budget, Exploration, Outcome, explore
from .judge import Ask, Judge, Question
from .levels import LEVELS
from .verdict import Cell, Finding

Array = npt.NDArray[Any]
Holds = Callable[[Ask, Case], Finding | str | None]


class Check:
    """Judges cases for one clause and gathers what it finds in a cell.

    Call it with a strategy of cases to have them compared with the oracle; `each` takes a list instead, `holds`
    checks a relation between several calls, `refused` sends every invalid call of the clause.
    """

    def __init__(self, judge: Judge, cell: Cell, *, level: str, seed: int) -> None:
        self.judge = judge
        self.cell = cell
        self.dtype = cell.dtype
        self.level = level
        self.seed = zlib.crc32(f"{seed}/{cell.clause}/{cell.dtype}".encode())
        self._asked = 0

    def __call__(
        self, strategy: st.SearchStrategy[Case], *, also: Iterable[Case] = (), share: float = 1.0, **question: Any
    ) -> None:
        """Draw cases and compare each with the oracle. `also` are judged first: small known witnesses.

        Keywords: `only` (names of results to look at), `may_refuse`, `flush`, `padding_taps`, `nan_may_spread` and
        `contract`.
        """
        asked = Question(self.cell.clause, **question)
        self._list(also, lambda case: self.judge.against_truth(case, asked))
        self._draw(strategy, lambda case: self.judge.against_truth(case, asked), share)

    def each(self, cases: Iterable[Case], *, clause: str | None = None, **question: Any) -> None:
        """Compare each of these cases with the oracle; what is wrong is told of `clause`, or of the check's own."""
        asked = Question(clause or self.cell.clause, **question)
        self._list(cases, lambda case: self.judge.against_truth(case, asked))

    def holds(
        self,
        strategy: st.SearchStrategy[Case],
        relation: Holds,
        *,
        share: float = 1.0,
        also: Iterable[Case] = (),
        **question: Any,
    ) -> None:
        """Draw cases and check `relation(ask, case)` on each: it returns what is wrong, or None."""
        asked = Question(self.cell.clause, **question)
        self._list(also, lambda case: self.judge.against_property(case, asked, relation))
        self._draw(strategy, lambda case: self.judge.against_property(case, asked, relation), share)

    def relation(self, cases: Iterable[Case], relation: Holds, **question: Any) -> None:
        """Check `relation(ask, case)` on each of these cases."""
        asked = self.question(**question)
        self._list(cases, lambda case: self.judge.against_property(case, asked, relation))

    def question(self, **question: Any) -> Question:
        """How this clause wants its cases judged."""
        return Question(self.cell.clause, **question)

    def refused(self) -> None:
        """Send every invalid call of this clause; each has to raise."""
        asked = Question(self.cell.clause)
        self._list(invalid_calls(self.cell.clause, self.dtype), lambda call: self.judge.refuses(call, asked))

    def reading(self, text: str) -> None:
        """Say which of the allowed readings the backend takes."""
        self.cell.reading = text

    @property
    def direct(self) -> bool:
        """Whether the backend sums products, and so is held to exact answers; a transform is held to its bound."""
        return self.judge.contract.algorithm == "direct"

    def whole(self, values: Array) -> Array:
        """Results on integer data, as float64; those of a declared transform are rounded to the integers they mean."""
        wide = values.astype(np.float64)
        return wide if self.direct else np.rint(wide)

    @property
    def budget(self) -> Budget:
        """What may be spent, by level."""
        return LEVELS[self.level]

    def _draw(self, strategy: st.SearchStrategy[Any], evaluate: Callable[[Any], Outcome], share: float) -> None:
        self._asked += 1
        full = self.budget
        budget = Budget(max(3, round(full.examples * share)), full.shrink_calls, full.shrink_seconds, full.crashes)
        self._take(explore(strategy, evaluate, budget=budget, start=self.seed + self._asked, size=_size))

    def _list(self, cases: Iterable[Any], evaluate: Callable[[Any], Outcome]) -> None:
        found = Exploration({case: evaluate(case) for case in cases})
        found.drawn = tuple(found.outcomes.values())
        found.note(_size)
        self._take(found)

    def _take(self, found: Exploration) -> None:
        cell = self.cell
        for outcome in found.drawn:
            cell.skipped += outcome.not_asked
            cell.cases += not outcome.not_asked
            cell.refused += bool(outcome.refused)
            cell.outputs += outcome.outputs
            cell.reason = outcome.refused or cell.reason
        cell.findings.extend(found.witnesses.values())


def _size(case: Any) -> Any:
    return case.size if isinstance(case, Case) else case.case.size
