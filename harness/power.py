"""What a run could have caught: each case is also put to the known wrong readings, until one case has told each apart.

May import the judge, the catalogue and `process.local`. A pass is worth what its cases could have caught. A reading is
told apart by a case if it would have failed there: the same question, the same oracle, the same bounds. It all happens
in NumPy, beside the backend, and a reading is asked only of cases that have what its own recorded call has (its
operation and type; its strides, groups, padding, special values, memory layout where it has such), and first where
earlier runs told it (`told.json`, which the project's tests write).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from convspec.adapters.backend import Contract

from .cases.case import Case
from .explore import Outcome
from .judge import Judge
from .oracle import readings
from .process.local import PureBackend

Evaluate = Callable[[Judge, Case], Outcome]
Key = tuple[str, str]

#: Recipes whose data hold a NaN, an infinity or zeros of both signs.
SPECIAL = ("nan", "inf", "zero", "overflow", "overshoot", "large")


class _Declaring(Judge):
    """A judge that holds a reading to what the judged backend declares."""

    declared: Contract | None = None

    @property
    def contract(self) -> Contract:
        """The judged backend's contract where it declares one, else the reading's own."""
        return self.declared or super().contract


@dataclass
class Shadow:
    """One wrong reading, what a case must have to be put to it, and the cells of this run where it is told first."""

    name: str
    judge: Judge
    plain: Judge | None = None  # by the reading's own contract, where the judged backend declares another
    needs: dict[Key, list[frozenset[str]]] = field(default_factory=lambda: defaultdict(list))
    cells: frozenset[Key] = frozenset()


def _needs(asked: dict[str, Any]) -> tuple[Key, frozenset[str]]:
    """Operation, type and features of a recorded call."""
    x = asked["shapes"][0]
    w = asked["shapes"][1] if asked["op"].startswith("conv2d") else ()
    features = set(_features(x, w, asked, asked.get("groups", 1)))
    features |= {"special"} if any(_not_finite(value) for _, _, value in asked.get("put", ())) else set()
    layouts = asked.get("layout", "C")
    features |= {"layout"} if set((layouts,) if isinstance(layouts, str) else layouts) != {"C"} else set()
    features |= {"bias"} if asked.get("bias") else set()
    dtypes = asked["dtype"]
    dtype = dtypes if isinstance(dtypes, str) else dtypes[0]
    return (asked["op"], dtype), frozenset(features)


def _features(x: Any, w: Any, options: dict[str, Any], groups: int) -> Iterable[str]:
    strides, dilations, padding = options["strides"], options["dilations"], options["padding"]
    if 0 in x or 0 in w:
        yield "empty"
    if _larger(strides):
        yield "strides"
    if _larger(dilations):
        yield "dilations"
    if groups > 1:
        yield "groups"
    if padding != "VALID":
        yield padding if isinstance(padding, str) else "explicit"


def _wrong(outcome: Outcome) -> bool:
    return outcome.finding is not None or bool(outcome.also)


def _not_finite(value: Any) -> bool:
    return not bool(np.isfinite(np.asarray(value, np.float64)).all())


def _larger(value: Any) -> bool:
    try:
        return bool(max(value) > 1)
    except TypeError:
        return bool(value > 1)


def features_of(case: Case) -> frozenset[str]:
    """What a case has that a reading may need."""
    found = set(_features(case.x, case.w if case.is_convolution else (), case.options, case.groups))
    found |= {"special"} if any(word in case.recipe for word in SPECIAL) else set()
    found |= {"layout"} if case.layout != "C" else set()
    found |= {"bias"} if case.bias else set()
    return frozenset(found)


class Power:
    """The readings that no case has told apart yet. `cells` lists the cell of each test that this process will run."""

    #: Whether invalid calls are put to the wrong backends too: not in a run, for no reading is about them.
    everything = False

    def __init__(self, contract: Contract = Contract(), cells: Iterable[Key] = ()) -> None:  # noqa: B008 - it is frozen
        self.contract = contract
        self.cells = Counter(cells)
        self.left = {name: self._shadow(name, reading) for name, reading in readings.known().items()}
        self.here: list[Shadow] = []
        self.cell: Key | None = None
        self.reach: dict[str, str] = {}

    def begin(self, clause: str, dtype: str) -> None:
        """Say in which cell the next test asks: the readings that are told apart in others wait for those."""
        if self.cell is not None:
            self.cells[self.cell] -= 1
            if self.cells[self.cell] <= 0:  # its last test is over
                for shadow in self.here:  # not told where it used to be: from now on it is asked everywhere
                    shadow.cells = frozenset()
        self.cell = (clause, dtype)
        self.here = [s for s in self.left.values() if not s.cells or self.cell in s.cells]

    def _shadow(self, name: str, reading: Any) -> Shadow:
        asked = PureBackend(reading(), name)
        judge = _Declaring(asked)
        shadow = Shadow(name, judge)
        if self.contract != Contract():
            judge.declared, shadow.plain = self.contract, Judge(asked)
        shadow.cells = frozenset(cell for cell in readings.told_in().get(name, ()) if cell in self.cells)
        for call in reading.zoo.witness:
            key, features = _needs(call)
            shadow.needs[key].append(features)
        return shadow

    @staticmethod
    def fitting(shadows: Iterable[Shadow], case: Case) -> list[Shadow]:
        """The readings whose recorded call has nothing that this case has not."""
        key, has = (case.op, case.dtype), features_of(case)
        return [s for s in shadows if any(needed <= has for needed in s.needs.get(key, ()))]

    def put(self, case: Case, evaluate: Evaluate, outcome: Outcome) -> tuple[list[str], dict[str, str]]:
        """Put a case that the backend was asked to every reading that is left: (told apart, out of reach with why)."""
        if outcome.not_asked and not outcome.refused:
            return [], {}
        told, reach = [], {}
        for shadow in self.fitting(self.here, case):
            name = shadow.name
            if outcome.refused and name in self.reach:
                continue
            if not _wrong(evaluate(shadow.judge, case)):
                if shadow.plain is not None and name not in self.reach and _wrong(evaluate(shadow.plain, case)):
                    reach[name] = self.reach[name] = "the declared contract allows it"
                continue
            if outcome.refused:
                reach[name] = self.reach[name] = outcome.refused
            else:
                told.append(name)
                del self.left[name]
                self.here.remove(shadow)
        return told, reach
