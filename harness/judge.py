"""The judge: asks a backend, asks the oracle, and says what it found.

The one place that brings cases, oracle and process together. Knows clauses by their slugs only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from convspec.adapters.backend import Contract

from .asking import Asker, Call, Reachable
from .cases.case import Case
from .cases.invalid import Invalid
from .cases.recipes import Data, given, names, of_random_sign
from .deviations.entry import Declared, Deviation
from .explore import Outcome
from .oracle.bounds import Discrepancy, compare
from .oracle.tally import Tally
from .oracle.truth import Array, Truth, expected_dtype, expected_shape, truths
from .oracle.vacuous import vacuous
from .process.protocol import Answer, Request
from .verdict import Finding

#: Facts that the worker reports of every call, and the clauses they belong to.
SIDE_EFFECTS = {"inputs-unchanged": "changed input", "result-owns-its-memory": "alias"}
#: What no caller's `except Exception` would catch.
NO_EXCEPTIONS = ("SystemExit", "KeyboardInterrupt", "GeneratorExit")
#: Not asked, for a reason that is no loss of this run.
FORBIDDEN = Outcome(not_asked=True, refused="a known deviation says that such calls end the process")
OUTPUTS = {
    "conv2d": ("y",),
    "conv2d_vjp": ("dx", "dw"),
    "max_pool": ("y",),
    "max_pool_vjp": ("dx",),
    "max_pool_with_argmax": ("y", "argmax"),
    "block": ("y",),
    "block_vjp": ("dx", "dw", "dbias"),
}


class NoResult(Exception):  # noqa: N818 - a signal, not an error
    """Ends a judgement early: the backend gave no array to judge. Carries what to say instead."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


@dataclass
class Question:
    """How a clause wants its cases judged."""

    clause: str
    only: tuple[str, ...] = ()
    may_refuse: bool = False
    flush: bool = True
    padding_taps: str = "absent"
    nan_may_spread: bool = False
    contract: Contract | None = None


@dataclass
class Judge:
    """Judges the calls of one backend. Crashes of a kind seen before, beyond `most_crashes`, are not asked again.

    With `tallies` it also counts how far within the bounds the results lie; it costs time, and readings need none.
    """

    backend: Reachable
    most_crashes: int = 2
    deviations: Declared = field(default_factory=Declared)
    tallies: bool = False
    asker: Asker = field(init=False)

    def __post_init__(self) -> None:
        """One account of losses for the whole run."""
        self.asker = Asker(self.backend, self.most_crashes)

    @property
    def contract(self) -> Contract:
        """What the backend declares of its arithmetic."""
        declared = self.backend.hello.get("contract") or {}
        return Contract(**declared) if isinstance(declared, dict) else declared

    @contextmanager
    def replaying(self, deviation: Deviation) -> Iterator[None]:
        """Ask the witness of a known deviation, whatever it costs: its losses are not counted, its harm is undone."""
        counted, self.deviations.replaying = self.asker, deviation
        self.asker = Asker(self.backend, self.most_crashes)
        try:
            yield
        finally:
            self.asker, self.deviations.replaying = counted, None
            if deviation.fatal:  # it may have damaged memory
                self.asker.forget()
                self.backend.close()

    def ask(self, case: Case, data: Data) -> Answer:
        """One more call, in the worker, outside the account."""
        return self.backend.call(request_of(case, data))

    # ---- one case -------------------------------------------------------------------------------------------------

    def against_truth(self, case: Case, question: Question) -> Outcome:
        """Compare one call with the oracle."""
        data = given(case)
        try:
            results, also = self.results(case, data, question)
        except NoResult as stop:
            return stop.outcome
        tally = Tally() if self.tallies else None
        finding = None
        for truth in truths_of(case, question.padding_taps):
            if question.only and truth.name not in question.only:
                continue
            finding = self._value(case, data, truth, results[truth.name], question, tally)
            if finding:
                break
        errors = tuple(tally.counts) if tally else ()
        if finding:
            return Outcome(finding, also=also, errors=errors)
        nothing = _vacuous(case, question.clause, question.padding_taps)
        outputs = sum(a.size for a in results.values())
        return Outcome(outputs=outputs, also=also, vacuous=nothing, errors=errors)

    def against_property(
        self, case: Case, question: Question, holds: Callable[[Ask, Case], Finding | str | None]
    ) -> Outcome:
        """Check a relation between several calls. `holds` returns what is wrong, or None."""
        gathered: list[Finding] = []
        outputs = 0

        def ask(call: Case, data: Data) -> dict[str, Array]:
            nonlocal outputs
            results, also = self.results(call, data, question)
            gathered.extend(also)
            outputs += sum(a.size for a in results.values())
            return results

        try:
            wrong = holds(ask, case)
        except NoResult as stop:
            return stop.outcome
        if isinstance(wrong, str):
            wrong = self.finding(case, question.clause, "property", wrong)
        return Outcome(wrong, outputs=outputs, also=tuple(gathered))

    def refuses(self, call: Invalid, question: Question) -> Outcome:
        """An invalid call: any exception is right; an answer, a crash or a hang is not."""
        request = call.request()
        asked = Call(request, question.clause, call, (call.change,))
        if self.deviations.forbids(call):
            return FORBIDDEN
        if self.asker.stopped(asked):
            return Outcome(not_asked=True)
        answer, also = self.asker.ask(asked)
        if answer.status == "missing":
            return Outcome(refused=f"it has no {request.op}", also=also)
        if answer.mutated:
            also = (*also, self._changed(call.case, answer, call.describe()))
        if answer.status in ("error", "unsupported") and not (answer.error or "").startswith(NO_EXCEPTIONS):
            return Outcome(outputs=1, also=also)
        base = Finding(
            question.clause,
            answer.status,
            "",
            call=call.describe(),
            case=call.to_dict(),
            expected=f"an exception: {call.why}",
            elements=int(request.arrays[0].size),
        )
        if answer.status == "ok":
            got = ", ".join(f"an array of shape {a.shape}" for a in answer.arrays) or str(answer.what)
            said = replace(base, kind="silent", message="An invalid call was answered as if it were valid.", got=got)
            return Outcome(said, also=also)
        got = answer.error or answer.status
        message = _loss(answer) if answer.status != "error" else "It raised what ends the caller's program."
        kind = "exit" if answer.status == "error" else answer.status
        return Outcome(replace(base, kind=kind, message=message, got=got, stderr=answer.stderr), also=also)

    # ---- parts ----------------------------------------------------------------------------------------------------

    def results(self, case: Case, data: Data, question: Question) -> tuple[dict[str, Array], tuple[Finding, ...]]:
        """The arrays that the backend returned, by name, after all that can be wrong with them but their values."""
        asked = _call(case, data, question.clause)
        if self.deviations.forbids(case):
            raise NoResult(FORBIDDEN)
        if self.asker.stopped(asked):
            raise NoResult(Outcome(not_asked=True))
        if case.bias and not self.backend.hello.get("accepts_bias"):
            raise NoResult(Outcome(refused="its conv2d takes no bias"))
        answer, also = self.asker.ask(asked)
        self._no_result(case, answer, question, also)
        wanted = OUTPUTS[case.op]
        returned = dict(zip(wanted, answer.arrays, strict=False))
        if len(answer.arrays) != len(wanted) or answer.what:
            parts = " and ".join(wanted)
            self._fail(
                case,
                question,
                "type",
                f"It has to return {parts} as NumPy arrays.",
                parts,
                answer.what or f"{len(answer.arrays)} arrays",
            )
        for name in question.only or wanted:
            shape, dtype = expected_shape(case, name), expected_dtype(case, name)
            got = returned[name]
            if got.shape != shape:
                self._fail(
                    case, question, "shape", self._wrong_shape(case, data, name, got), str(shape), str(got.shape)
                )
            if got.dtype != dtype:
                self._fail(case, question, "dtype", f"{name} has the wrong dtype.", str(dtype), str(got.dtype))
        return returned, (*also, *self._side_effects(case, answer))

    def _wrong_shape(self, case: Case, data: Data, name: str, got: Array) -> str:
        """Say so, and whether what was returned was never written: two answers that differ, or memory's own filling."""
        again = self.ask(case, data)
        position = OUTPUTS[case.op].index(name)
        moved = again.status == "ok" and len(again.arrays) > position and not same_bits(again.arrays[position], got)
        unwritten = got.size > 0 and (moved or b"\x7f\x7f" in got.tobytes())
        return f"{name} has the wrong shape{', and holds uninitialised memory' if unwritten else ''}."

    def finding(self, case: Case, clause: str, kind: str, message: str, **more: Any) -> Finding:
        """A finding about one case."""
        return Finding(
            clause, kind, message, call=case.describe(), case=case.to_dict(), elements=int(np.prod(case.x)), **more
        )

    def _fail(self, case: Case, question: Question, kind: str, message: str, expected: str, got: str) -> None:
        raise NoResult(Outcome(self.finding(case, question.clause, kind, message, expected=expected, got=got)))

    def _no_result(self, case: Case, answer: Answer, question: Question, also: tuple[Finding, ...]) -> None:
        if answer.status == "ok":
            return
        if answer.status == "missing":
            raise NoResult(Outcome(refused=f"it has no {case.op}", also=also))
        error = answer.error or answer.status
        if answer.status == "unsupported" or (answer.status == "error" and question.may_refuse):
            raise NoResult(Outcome(refused=error, also=also))
        if answer.status == "error":
            kind, message = "exception", "A valid call was refused."
        else:
            kind, message = answer.status, _loss(answer)
        finding = self.finding(
            case, question.clause, kind, message, expected="an answer", got=error, stderr=answer.stderr
        )
        raise NoResult(Outcome(finding, also=also))

    def _value(
        self, case: Case, data: Data, truth: Truth, got: Array, question: Question, tally: Tally | None
    ) -> Finding | None:
        wrong = self.discrepancy(case, truth, got, question, tally)
        if wrong is None:
            return None
        again = self.ask(case, data)
        position = OUTPUTS[case.op].index(truth.name)
        same = again.status == "ok" and len(again.arrays) > position and same_bits(again.arrays[position], got)
        note = "" if same else " Asked the same again, it answered differently."
        return self.finding(
            case,
            question.clause,
            "value",
            f"{wrong.wrong} of {wrong.total} elements of {truth.name} are wrong,"
            f" the worst at {list(wrong.index)}.{note}",
            expected=wrong.expected,
            got=wrong.got,
            error=wrong.in_bounds,
        )

    def discrepancy(
        self, case: Case, truth: Truth, got: Array, question: Question, tally: Tally | None = None
    ) -> Discrepancy | None:
        """What is wrong with one result, by this question and by what the backend declares."""
        contract = question.contract or self.contract
        if case.op == "max_pool_vjp" and contract.accumulate == "float64":  # declared of convolutions' sums
            contract = replace(contract, accumulate=None)
        if case.op == "block" and contract.algorithm != "direct":  # a transform means the integers that it is close to
            got = np.rint(got)
        options = {"flush": question.flush, "spread": question.nan_may_spread, "random_sign": of_random_sign(case)}
        return compare(got, truth, case.dtype, contract, tally=tally, **options)

    def _changed(self, case: Case, answer: Answer, text: str = "") -> Finding:
        which = ", ".join(names(case)[i] for i in answer.mutated)
        found = self.finding(
            case, "inputs-unchanged", "changed input", f"The call changed {which}.", got=f"{which} written to"
        )
        return replace(found, call=text) if text else found

    def _side_effects(self, case: Case, answer: Answer) -> Iterable[Finding]:
        order = names(case)
        if answer.mutated:
            yield self._changed(case, answer)
        if answer.reused:
            said = "The memory of an earlier call's result was used again: it changed, or was handed out once more."
            yield self.finding(case, "result-owns-its-memory", "reused memory", said)
        if answer.aliases:
            which = ", ".join(order[i] for i in answer.aliases)
            yield self.finding(
                case,
                "result-owns-its-memory",
                "alias",
                f"The result shares memory with {which}.",
                got=f"memory of {which}",
            )


Ask = Callable[[Case, Data], dict[str, Array]]


@lru_cache(maxsize=2)
def truths_of(case: Case, padding_taps: str = "absent") -> tuple[Truth, ...]:
    """The right answers, worked out once for all that are asked the same case: the backend and the wrong readings."""
    return truths(case, given(case), padding_taps=padding_taps)


@lru_cache(maxsize=2)
def _vacuous(case: Case, clause: str, padding_taps: str) -> bool:
    return vacuous(case, given(case), truths_of(case, padding_taps), clause)


def same_bits(a: Array, b: Array) -> bool:
    """Whether two results are the same to the bit (every NaN counts as the same)."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.tobytes() == b.tobytes():
        return True
    if a.dtype.kind in "iub":
        return False
    x, y = a.astype(np.float64), b.astype(np.float64)
    return bool(
        np.array_equal(x, y, equal_nan=True)
        and np.array_equal(np.signbit(x) | np.isnan(x), np.signbit(y) | np.isnan(y))
    )


def request_of(case: Case, data: Data) -> Request:
    """The call of a case with these arrays, each laid out as the case says."""
    order = names(case)
    return Request(case.op, tuple(data[n] for n in order), tuple(case.layout for _ in order), case.options)


def _call(case: Case, data: Data, clause: str) -> Call:
    """The call with what makes two losses alike, so that one of them is enough."""
    reach = [(k - 1) * d + 1 for k, d in zip(case.kernel, case.dilations, strict=True)]
    beyond = tuple(r > n for r, n in zip(reach, case.x[1:3], strict=True))
    alike = (case.op, case.dtype, *beyond, case.x[0] == 0, case.x[3] == 0, case.layout)
    rare = any(beyond) or 0 in case.x or case.padding not in ("SAME", "VALID")
    return Call(request_of(case, data), clause, case, alike, rare)


def _loss(answer: Answer) -> str:
    if answer.status == "hang":
        return "The call did not return in time; its process was ended."
    return "The call ended the backend's process."
