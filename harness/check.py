"""What a conformance test holds: `check`, bound to one backend, clause and dtype.

May import the judge and the exploration. Pytest is not needed to use it; the plugin makes one for each test.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from . import drawn
from .cases.case import Case
from .cases.invalid import Invalid, invalid_calls
from .deviations.entry import Deviation
from .diagnosis import Diagnosis
from .explore import Budget, Exploration, Outcome, cause, explore
from .judge import Ask, Judge, Question
from .levels import FEW, LEVELS, SPARING
from .power import Power
from .verdict import FLAKY, HELD, REFUSED, STALE, WITNESS, Cell, Finding, summed

Array = npt.NDArray[Any]
#: How often the witness of a flaky deviation is asked.
TRIES = 20
Holds = Callable[[Ask, Case], Finding | str | None]
Evaluate = Callable[[Judge, Any], Outcome]


class Check:
    """Judges cases for one clause and gathers what it finds in a cell.

    Call it with a strategy of cases to have them compared with the oracle; `each` takes a list instead, `holds`
    checks a relation between several calls, `refused` sends every invalid call of the clause. A `sparing` one is for a
    backend that compiles each shape anew: of every list and every draw a few cases do, but for the covering arrays.
    """

    def __init__(
        self,
        judge: Judge,
        cell: Cell,
        *,
        level: str,
        seed: int,
        power: Power | None = None,
        diagnosis: Diagnosis | None = None,
        sparing: bool = False,
    ) -> None:
        self.judge = judge
        self.cell = cell
        self.power = power
        self.diagnosis = diagnosis
        self.dtype = cell.dtype
        self.level = level
        self.sparing = sparing
        self.seed = zlib.crc32(f"{seed}/{cell.clause}/{cell.dtype}".encode())
        self._asked = 0
        if power is not None:
            power.begin(cell.clause, cell.dtype)

    def __call__(
        self, strategy: st.SearchStrategy[Case], *, also: Iterable[Case] = (), share: float = 1.0, **question: Any
    ) -> None:
        """Draw cases and compare each with the oracle. `also` are judged first: small known witnesses.

        Keywords: `only` (names of results to look at), `may_refuse`, `flush`, `padding_taps`, `nan_may_spread` and
        `contract`.
        """
        asked = Question(self.cell.clause, **question)
        self._list(also, _against_truth(asked), asked)
        self._draw(strategy, _against_truth(asked), share, asked)

    def each(
        self,
        cases: Iterable[Case],
        *,
        clause: str | None = None,
        shadows: bool = True,
        whole: bool = False,
        **question: Any,
    ) -> None:
        """Compare each of these cases with the oracle; what is wrong is told of `clause`, or of the check's own.

        `whole`: a backend that is to be spared gets all of them too. Without `shadows` they are put to no known wrong
        reading: for cases so large that this would cost more than all else, where small ones tell the readings apart.
        """
        asked = Question(clause or self.cell.clause, **question)
        self._list(cases, _against_truth(asked), asked, shadows=shadows, whole=whole)

    def holds(
        self,
        strategy: st.SearchStrategy[Case],
        relation: Holds,
        *,
        share: float = 1.0,
        also: Iterable[Case] = (),
        memory: bool = False,
        **question: Any,
    ) -> None:
        """Draw cases and check `relation(ask, case)` on each: it returns what is wrong, or None.

        `memory`: the relation keeps something from case to case, so that no wrong reading may be put through it.
        """
        asked = Question(self.cell.clause, **question)
        self._list(also, _relation(relation, asked), shadows=not memory)
        self._draw(strategy, _relation(relation, asked), share, shadows=not memory)

    def relation(self, cases: Iterable[Case], relation: Holds, *, memory: bool = False, **question: Any) -> None:
        """Check `relation(ask, case)` on each of these cases."""
        self._list(cases, _relation(relation, self.question(**question)), shadows=not memory)

    def judged(self, cases: Iterable[Case], evaluate: Evaluate) -> None:
        """Judge each of these cases by `evaluate(judge, case)`, which must tell the same of any judge's backend."""
        self._list(cases, evaluate)

    def question(self, **question: Any) -> Question:
        """How this clause wants its cases judged."""
        return Question(self.cell.clause, **question)

    def refused(self) -> None:
        """Send every invalid call of this clause; each has to raise."""
        asked = Question(self.cell.clause)
        calls = invalid_calls(self.cell.clause, self.dtype)
        everything = self.power is not None and self.power.everything
        self._list(calls, lambda judge, call: judge.refuses(call, asked), shadows=everything, whole=True)

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
        return SPARING if self.sparing else LEVELS[self.level]

    def _draw(
        self,
        strategy: st.SearchStrategy[Any],
        evaluate: Evaluate,
        share: float,
        asked: Question | None = None,
        *,
        shadows: bool = True,
    ) -> None:
        self._asked += 1
        full = self.budget
        examples = full.examples if self.dtype == "float32" else full.others
        budget = replace(full, examples=max(min(3, examples), round(examples * share)))
        start = self.seed + self._asked
        seen = self._put(evaluate, shadows)
        judged, replay = self._judged(evaluate)
        known = self._known(strategy, start, budget.examples)
        found = explore(strategy, judged, budget=budget, start=start, size=_size, seen=seen, known=known)
        self._take(found, asked)
        replay()

    def _known(self, strategy: st.SearchStrategy[Any], start: int, examples: int) -> list[Case] | None:
        """The cases that would be drawn, where they ship."""
        return drawn.ready(strategy, start, examples)

    def _list(
        self,
        cases: Iterable[Any],
        evaluate: Evaluate,
        asked: Question | None = None,
        *,
        shadows: bool = True,
        whole: bool = False,
    ) -> None:
        seen, found = self._put(evaluate, shadows), Exploration()
        judged, replay = self._judged(evaluate)
        for case in islice(cases, None if whole or not self.sparing else FEW):
            found.outcomes[case] = judged(case)
            seen(case, found.outcomes[case])
        found.drawn = tuple(found.outcomes.values())
        found.note(_size)
        self._take(found, asked)
        replay()

    def _judged(self, evaluate: Evaluate) -> tuple[Callable[[Any], Outcome], Callable[[], None]]:
        """The backend's outcome, with what is declared marked as such; and what asks the witnesses, once all is judged.

        A witness is asked where one of the cases was like it: what is asked of those can be asked of it. Last, because
        a relation may compare it with the cases before.
        """
        met: set[Deviation] = set()
        declared = self.judge.deviations
        waiting = [e for e in declared.to_replay(self.cell.clause, self.dtype) if self.cell.witnesses.get(e.id) != HELD]

        def judged(case: Any) -> Outcome:
            outcome = evaluate(self.judge, case)
            if not declared.entries:
                return outcome
            met.update(e for e in waiting if _alike(e.witness, case))
            finding = outcome.finding and declared.mark(outcome.finding)
            return replace(outcome, finding=finding, also=tuple(declared.mark(one) for one in outcome.also))

        def replay() -> None:
            for entry in (e for e in waiting if e in met):
                if not (entry.fatal and self.cell.witnesses.get(entry.id) == HELD):  # once is enough of a death
                    self._replay(entry, evaluate)

        return judged, replay

    def _replay(self, entry: Deviation, evaluate: Evaluate) -> None:
        """Ask the witness of a known deviation; where it shows what is declared, that belongs to the cell.

        What else it may show does not: the other questions of a clause may want other calls. It is stale then, and what
        it showed of the clause is told.
        """
        with self.judge.replaying(entry):
            for _ in range(TRIES if entry.flaky else 1):
                outcome = evaluate(self.judge, entry.witness)
                found = [self.mark(one) for one in (outcome.finding, *outcome.also) if one]
                shown = [one for one in found if one.deviation == entry.id]
                if shown:
                    break
        self.cell.findings.extend(shown)
        if others := {one.kind for one in found if entry.breaks(one.clause) and one.kind not in entry.shows}:
            self.cell.otherwise[entry.id] = sorted(others | {*self.cell.otherwise.get(entry.id, ())})
        said = HELD if shown else REFUSED if outcome.refused else FLAKY if entry.flaky else STALE
        before = self.cell.witnesses.get(entry.id, said)
        self.cell.witnesses[entry.id] = min(said, before, key=WITNESS.index)

    def mark(self, finding: Finding) -> Finding:
        """The finding, with the name of the known deviation that explains it."""
        return self.judge.deviations.mark(finding)

    def _put(self, evaluate: Evaluate, shadows: bool) -> Callable[[Any, Outcome], None]:
        """What is done with each case once the backend has answered: count it, put it to the wrong readings."""

        def seen(case: Any, outcome: Outcome) -> None:
            if self.power is not None and shadows:
                told, reach = self.power.put(case, evaluate, outcome)
                self.cell.told.extend(told)
                self.cell.reach.update(reach)

        return seen

    def _take(self, found: Exploration, asked: Question | None) -> None:
        cell = self.cell
        for outcome in found.drawn:
            cell.skipped += outcome.not_asked
            cell.cases += not outcome.not_asked
            cell.refused += bool(outcome.refused) and not outcome.not_asked
            cell.outputs += outcome.outputs
            cell.vacuous += outcome.vacuous
            cell.errors = summed(cell.errors, outcome.errors)
            cell.reason = outcome.refused or cell.reason
        cell.findings.extend(self._explained(finding, found, asked) for finding in found.witnesses.values())

    def _explained(self, finding: Finding, found: Exploration, asked: Question | None) -> Finding:
        """The finding with what it looks like, where its answer can be compared with that of a wrong reading."""
        if (
            self.diagnosis is None
            or asked is None
            or finding.deviation
            or finding.kind not in ("value", "shape", "dtype")
        ):
            return finding
        assert finding.case is not None
        failing = sorted(
            (c for c, o in found.outcomes.items() if o.finding and cause(o.finding) == cause(finding)), key=_size
        )
        passing = sorted(
            (c for c, o in found.outcomes.items() if not (o.finding or o.refused or o.not_asked)), key=_size
        )
        return self.diagnosis.explain(finding, asked, failing, passing)


def _against_truth(asked: Question) -> Evaluate:
    return lambda judge, case: judge.against_truth(case, asked)


def _relation(relation: Holds, asked: Question) -> Evaluate:
    return lambda judge, case: judge.against_property(case, asked, relation)


def _size(case: Any) -> Any:
    return case.size if isinstance(case, Case) else case.case.size


def _alike(witness: Case | Invalid, case: Any) -> bool:
    """Whether what is asked of this case can be asked of the witness: the same operation, valid or not."""
    if isinstance(witness, Invalid) or isinstance(case, Invalid):
        return bool(witness == case)  # every invalid call of a clause is asked anyway
    return isinstance(case, Case) and (witness.op, witness.bias, witness.dtype) == (case.op, case.bias, case.dtype)
