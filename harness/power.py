"""What a run could have caught: each case is also put to the known wrong readings, until one case has told each apart.

May import the judge, the catalogue and `process.local`. A pass is worth what its cases could have caught. A reading is
told apart by a case if it would have failed there: the same question, the same oracle, the same bounds. It all happens
in NumPy, beside the backend, and a reading is asked only of cases that have what its own recorded call has (its
operation and type; its strides, groups, padding, special values, memory layout where it has such).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from convspec.adapters.backend import Contract

from .cases.case import Case
from .explore import Outcome
from .judge import Judge
from .oracle import readings
from .process.local import LocalBackend

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
    """One wrong reading, and what a case must have to be put to it."""

    name: str
    judge: Judge
    needs: dict[Key, list[frozenset[str]]] = field(default_factory=lambda: defaultdict(list))


def _needs(asked: dict[str, Any]) -> Iterable[tuple[Key, frozenset[str]]]:
    """Operation, type and features of a recorded call."""
    x = asked["shapes"][0]
    w = asked["shapes"][1] if asked["op"].startswith("conv2d") and len(asked["shapes"]) > 1 else (1, 1, 1, 1)
    kernel = w[:2] if "ksize" not in asked else asked["ksize"]
    features = set(_features(x, w, kernel, asked, asked.get("groups", 1)))
    features |= {"special"} if asked.get("put") else set()
    layouts = asked.get("layout", "C")
    features |= {"layout"} if set((layouts,) if isinstance(layouts, str) else layouts) != {"C"} else set()
    features |= {"bias"} if asked.get("bias") else set()
    dtypes = asked["dtype"]
    dtype = dtypes if isinstance(dtypes, str) else dtypes[0]
    yield (asked["op"], dtype), frozenset(features)


def _features(x: Any, w: Any, kernel: Any, options: dict[str, Any], groups: int) -> Iterable[str]:
    strides, dilations, padding = options["strides"], options["dilations"], options["padding"]
    if 0 in x or 0 in w:
        yield "empty"
    if _larger(strides):
        yield "strides"
    if _larger(dilations):
        yield "dilations"
    if groups > 1:
        yield "groups"
    if padding not in ("VALID", "SAME"):
        yield padding if isinstance(padding, str) else "explicit"
    elif padding == "SAME":
        yield "SAME"
    if len(kernel) == 2 and tuple(kernel) == (1, 1):
        yield "pointwise"


def _larger(value: Any) -> bool:
    try:
        return max(value) > 1
    except TypeError:
        return bool(value > 1)


def features_of(case: Case) -> frozenset[str]:
    """What a case has that a reading may need."""
    found = set(_features(case.x, case.w if case.is_convolution else (), case.kernel, case.options, case.groups))
    found |= {"special"} if any(word in case.recipe for word in SPECIAL) else set()
    found |= {"layout"} if case.layout != "C" else set()
    found |= {"bias"} if case.bias else set()
    return frozenset(found)


class Power:
    """The readings that no case has told apart yet, and what was told so far."""

    def __init__(self, contract: Contract = Contract()) -> None:  # noqa: B008 - it is frozen
        self.contract = contract
        self.left = {name: self._shadow(name, reading) for name, reading in readings.known().items()}
        self.told: dict[str, str] = {}
        self.reach: dict[str, str] = {}
        self.asked = 0

    def _shadow(self, name: str, reading: Any) -> Shadow:
        judge = _Declaring(LocalBackend(reading(), name))  # type: ignore[arg-type] - it stands where a worker does
        judge.declared = None if self.contract == Contract() else self.contract
        shadow = Shadow(name, judge)
        for call in reading.zoo.witness:
            for key, features in _needs(call):
                shadow.needs[key].append(features)
        return shadow

    def put(self, case: Case, evaluate: Evaluate, outcome: Outcome) -> tuple[list[str], dict[str, str]]:
        """Put a case that the backend was asked to every reading that is left: (told apart, out of reach with why)."""
        if outcome.not_asked:
            return [], {}
        key, has = (case.op, case.dtype), features_of(case)
        told, reach = [], {}
        for name, shadow in list(self.left.items()):
            if not any(needed <= has for needed in shadow.needs.get(key, ())):
                continue
            if outcome.refused and name in self.reach:
                continue
            self.asked += 1
            found = evaluate(shadow.judge, case)
            if not (found.finding or found.also):
                continue
            if outcome.refused:
                reach[name] = self.reach[name] = outcome.refused
            else:
                told.append(name)
                self.told[name] = case.describe()
                del self.left[name]
        return told, reach
