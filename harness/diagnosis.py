"""What a wrong answer looks like: the known wrong reading that explains it, and the taps that went wrong.

May import the judge, the catalogue and `process.local`. A reading explains an answer if it is wrong there too and gives
the same, to the bit on exact data and within twice the bound elsewhere. To be named it has to explain every failing
case at hand, to be right on those that pass, and to be borne out by its own recorded calls, which the backend is asked
as well: by all of them, or, where no reading is, by those of the operation that fails, for a fault may be in one half
of what a reading says. So a fault that nobody has described gets no name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .cases.case import Case
from .cases.formats import FORMATS
from .cases.recipes import arrays
from .judge import Judge, Question, request_of, same_bits, truths_of
from .oracle import readings
from .oracle.bounds import accumulator_of, delta, narrows
from .oracle.readings import calls
from .oracle.readings.correct import Correct
from .oracle.truth import Array, Truth, expected_dtype
from .process.layouts import LAYOUTS
from .process.local import LocalBackend
from .process.protocol import Answer, Request
from .taps import read_back
from .verdict import Finding

#: Cases that a reading has to explain besides the witness, at most, failing and passing; elements of the largest of
#: them, and of the largest witness.
MOST_CASES, LARGE, LARGEST = 6, 20_000, 200_000


@dataclass
class Diagnosis:
    """Names wrong readings for one backend. What explained it once is tried first the next time."""

    judge: Judge
    _readings: dict[str, LocalBackend] = field(default_factory=dict)
    _named: list[str] = field(default_factory=list)
    _answered: dict[Case, Answer] = field(default_factory=dict)  # to the cases of one finding

    def explain(
        self, finding: Finding, question: Question, failing: Sequence[Case], passing: Sequence[Case]
    ) -> Finding:
        """The finding with its diagnosis, and with the taps that went wrong."""
        assert finding.case is not None
        witness = Case.from_dict(finding.case)
        said = self.of(witness, question, failing, passing) if _size(witness) <= LARGEST else ""
        taps = read_back(self.judge, witness) if finding.kind == "value" else ""
        return replace(finding, diagnosis=said, taps=taps)

    def of(self, witness: Case, question: Question, failing: Sequence[Case], passing: Sequence[Case]) -> str:
        """What the answer to `witness` looks like, or nothing. The other cases are of the same check."""
        self._answered.clear()
        others = [c for c in failing if c != witness and _size(c) <= LARGE][:MOST_CASES]
        others += [c for c in passing if _size(c) <= LARGE][:MOST_CASES]
        wrong = set(failing)

        def fits(name: str) -> bool:
            return self._explains(name, witness, question) and all(
                self._explains(name, case, question) if case in wrong else self._right_too(name, case, question)
                for case in others
            )

        chosen = next((name for name in self._named if fits(name)), None)
        if chosen is None:
            fitting = [n for n in _candidates(witness.op) if n not in self._named and fits(n)]
            names = [n for n in fitting if self._borne_out(n)] or [n for n in fitting if self._borne_out(n, witness.op)]
            if not names:
                return ""
            chosen = min(names, key=particular)
            self._named.append(chosen)
        return str(readings.known()[chosen].zoo.what)

    # ---- one reading against one case ------------------------------------------------------------------------------

    def _reading(self, name: str) -> LocalBackend:
        if name not in self._readings:
            self._readings[name] = LocalBackend(readings.known()[name](), name)
        return self._readings[name]

    def _explains(self, name: str, case: Case, question: Question) -> bool:
        """Whether the reading is wrong on this case, in the way in which the backend is."""
        answers = self._answers(name, case)
        if answers is None:
            return False
        got, said = answers
        facts = truths_of(case, question.padding_taps)
        if len(got.arrays) != len(facts):  # one of two from another language, or no array at all: nothing to compare
            return False
        if not all(_alike(g, s) for g, s in zip(got.arrays, said.arrays, strict=True)):
            return False
        if _formed(said, facts, case) and self._right(said, facts, case, question):
            return False
        return all(
            same_answer(g, s, truth, case.dtype)
            for g, s, truth in zip(got.arrays, said.arrays, facts, strict=True)
            if not question.only or truth.name in question.only
        )

    def _right_too(self, name: str, case: Case, question: Question) -> bool:
        """Whether the reading, like the backend, is right on this case."""
        said = self._reading(name).call(request_of(case, arrays(case)))
        facts = truths_of(case, question.padding_taps)
        if said.status != "ok" or len(said.arrays) != len(facts):
            return False
        return _formed(said, facts, case) and self._right(said, facts, case, question)

    def _right(self, said: Answer, facts: tuple[Truth, ...], case: Case, question: Question) -> bool:
        pairs = [
            (t, a) for t, a in zip(facts, said.arrays, strict=True) if not question.only or t.name in question.only
        ]
        return all(self.judge.discrepancy(case, truth, array, question) is None for truth, array in pairs)

    def _answers(self, name: str, case: Case) -> tuple[Answer, Answer] | None:
        """What the backend and the reading answer, where both answer."""
        request = request_of(case, arrays(case))
        said = self._reading(name).call(request)
        if said.status != "ok":
            return None
        got = self._asked(case, request)
        return (got, said) if got.status == "ok" and len(got.arrays) == len(said.arrays) else None

    def _asked(self, case: Case, request: Request) -> Answer:
        """The backend's answer, asked once for all readings."""
        if case not in self._answered:
            self._answered[case] = self.judge.backend.call(request)
        return self._answered[case]

    def _borne_out(self, name: str, op: str = "") -> bool:
        """Whether the backend answers the reading's own recorded calls as the reading does, and not as is right.

        Those of the operation `op` alone, if one is given.
        """
        telling = False
        for recorded in readings.known()[name].zoo.witness:
            request = _request(recorded) if op in ("", recorded["op"]) else None
            if request is None:
                continue
            said, right = self._reading(name).call(request), self._reading_of_right().call(request)
            got = self.judge.backend.call(request)
            if got.status != said.status:
                return False
            if said.status != "ok":
                telling |= right.status == "ok" and _exception(got) == _exception(said)
                continue
            if not _same_recorded(recorded, got, said):
                return False
            telling |= right.status != "ok" or not _same_recorded(recorded, got, right)
        return telling

    def _reading_of_right(self) -> LocalBackend:
        if "" not in self._readings:
            self._readings[""] = LocalBackend(Correct(), "right")
        return self._readings[""]


def _exception(answer: Answer) -> str:
    return (answer.error or "").split(":")[0]


def _size(case: Case) -> int:
    return int(np.prod(case.x) + np.prod(case.y))


def _candidates(op: str) -> Iterable[str]:
    """Readings whose recorded calls ask this operation."""
    return (n for n, reading in readings.known().items() if any(c["op"] == op for c in reading.zoo.witness))


def particular(name: str) -> tuple[int, str]:
    """How much a reading is about: the one that says less is preferred."""
    return len(readings.known()[name].zoo.what), name


def _request(recorded: dict[str, Any]) -> Request | None:
    """A recorded call as the worker is asked it; None where its memory layouts have no name there."""
    layouts = recorded.get("layout", "C")
    values = calls.arrays_of(recorded | {"layout": "C"})
    order = (layouts,) * len(values) if isinstance(layouts, str) else tuple(layouts)
    if not set(order) <= set(LAYOUTS):
        return None
    if recorded.get("bias"):
        values.append(calls.bias_of(recorded))
        order = (*order, "C")
    return Request(recorded["op"], tuple(np.ascontiguousarray(v) for v in values), order, calls.options_of(recorded))


# ---- two answers ---------------------------------------------------------------------------------------------------


def _alike(got: Array, said: Array) -> bool:
    return got.shape == said.shape and got.dtype == said.dtype


def _formed(said: Answer, facts: tuple[Truth, ...], case: Case) -> bool:
    """As many arrays as are asked for, of the right shapes and types."""
    if len(said.arrays) != len(facts):
        return False
    pairs = zip(said.arrays, facts, strict=True)
    return all(a.shape == t.value.shape and a.dtype == expected_dtype(case, t.name) for a, t in pairs)


def same_answer(got: Array, said: Array, truth: Truth, dtype: str) -> bool:
    """The same to the bit, or as near as two orders of summation may lie."""
    if same_bits(got, said):
        return True
    if truth.terms is None or got.shape != truth.value.shape:
        return False
    with np.errstate(all="ignore"):
        a, b = got.astype(np.float64), said.astype(np.float64)
        allowed = 2 * delta(truth, dtype).astype(np.float64)
        if narrows(dtype, accumulator_of(dtype)):
            allowed = allowed + 2 * FORMATS[dtype].unit * np.maximum(np.abs(a), np.abs(b)) * (allowed > 0)
        return bool(np.all((np.abs(a - b) <= allowed) | (a == b) | (np.isnan(a) & np.isnan(b))))


def _same_recorded(recorded: dict[str, Any], got: Answer, said: Answer) -> bool:
    """The same answer to a recorded call, within the distance of two right answers that the call carries."""
    if len(got.arrays) != len(said.arrays):
        return False
    pairs = zip(got.arrays, said.arrays, strict=True)
    return all(
        same_bits(g, s) or calls.compare(g, s, calls.allowed(Correct(), recorded, index)) is None
        for index, (g, s) in enumerate(pairs)
    )
