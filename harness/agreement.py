"""Do the modes of one framework agree? The same calls put to each, and where two answers differ, both side by side.

May import the judge, the cases and the process. Two right answers may lie two bounds apart, and no further; what the
specification leaves open (padding under an infinite weight, the last bits of a batch) is no excuse here, for it is one
framework. It decides nothing: a mode that is wrong is found by the clauses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from convspec.adapters import registry

from .cases import covering
from .cases.case import Case
from .cases.formats import FLOATS
from .cases.recipes import given
from .deviations import Declared, Deviation
from .diagnosis import same_answer
from .judge import OUTPUTS, request_of, truths_of
from .oracle.truth import Array
from .process.protocol import Answer
from .process.remote import RemoteBackend

#: Recipes of special values, by what they are asked of; small shapes do.
SPECIAL = {
    "conv2d": ("inf-in-w", "inf-in-x", "nan-in-w", "nan-in-x", "overflow", "subnormal", "minus-zero"),
    "conv2d_vjp": ("nan-in-x-thin-dy", "nan-in-w-thin-dy"),
    "max_pool": ("nan-in-x", "some-nan", "all-minus-inf", "some-inf", "signed-zeros", "subnormal-pool", "ties"),
    "max_pool_vjp": ("nan-in-x", "some-nan", "ties", "near-ties"),
}
#: Shapes of which every mode gets the special values: SAME and VALID, strides, a tail.
SHAPES: tuple[dict[str, Any], ...] = (
    {"x": (2, 3, 4, 2), "kernel": (2, 2), "padding": "SAME", "strides": (1, 1)},
    {"x": (1, 5, 6, 1), "kernel": (3, 3), "padding": "SAME", "strides": (2, 2)},
    {"x": (1, 4, 17, 3), "kernel": (2, 3), "padding": "VALID", "strides": (1, 2)},
)


Seen = Callable[[Case], None]


@dataclass(frozen=True)
class Difference:
    """One call that two modes answer differently: what each says, in words, at the element where it shows."""

    one: str
    other: str
    call: str
    case: dict[str, Any]
    what: str
    said: tuple[str, str]
    calls: int = 1

    def to_dict(self) -> dict[str, Any]:
        """JSON-able data."""
        return asdict(self)


def cases(level: str) -> Iterator[Case]:
    """What is put to every mode: the covering array on exact data, and special values on a few shapes."""
    for dtype in FLOATS:
        for op in SPECIAL:
            yield from covering.cases(dtype, op, "quick" if level == "quick" else "standard")
        for op, recipes in SPECIAL.items():
            for shape in SHAPES:
                for recipe in recipes:
                    filters = 3 if op.startswith("conv2d") else 0
                    yield Case(op, filters=filters, dtype=dtype, recipe=recipe, **shape)


def few(level: str) -> Iterator[Case]:
    """The same for modes that compile each shape anew: the special values, and the covering array in float32."""
    for case in cases(level):
        if case.dtype == "float32" and (case.recipe in SPECIAL[case.op] or level != "quick"):
            yield case


def groups(names: Iterable[str]) -> Iterator[list[str]]:
    """Backends that are modes of one framework, on one device and in one interpreter, two or more.

    >>> list(groups(["torch", "numpy", "torch@compile", "torch:cuda", "numpy:definition"]))
    [['torch', 'torch@compile'], ['numpy', 'numpy:definition']]
    """
    found: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        text, _, interpreter = name.partition("%")
        if text.startswith("command:"):
            continue
        parsed = registry.parse(text)
        if parsed.kind in ("built-in", "entry point"):
            device = "" if parsed.device in (None, "cpu") else str(parsed.device)
            found.setdefault((parsed.name, device, interpreter), []).append(name)
    yield from (modes for modes in found.values() if len(modes) > 1)


def of_modes(
    modes: list[str], level: str, start: Callable[[str], RemoteBackend], known: Iterable[Deviation], seen: Seen
) -> list[Difference]:
    """What the modes of one framework do not agree on; those that compile each shape are asked less."""
    slow = [name for name in modes if registry.compiles(name.partition("%")[0])]
    quick = [name for name in modes if name not in slow]
    slow = [*quick[:1], *slow]  # compared with one that is not, where there is one
    found = disagreements(quick, start, cases(level), known, seen) if len(quick) > 1 else []
    return found + (disagreements(slow, start, few(level), known, seen) if len(slow) > 1 else [])


def disagreements(
    names: list[str],
    start: Callable[[str], RemoteBackend],
    asked: Iterable[Case],
    known: Iterable[Deviation] = (),
    seen: Seen = lambda case: None,  # noqa: ARG005 - nothing is the default
) -> list[Difference]:
    """Each way in which a mode differs from the first named, once, with the smallest call that shows it.

    A refusal is no answer, and what a known deviation says would end the process is not asked.
    """
    known = list(known)
    workers = {name: start(name) for name in names}
    found: dict[tuple[str, str], Difference] = {}
    try:
        declared = {name: Declared.of(known, name, worker.hello) for name, worker in workers.items()}
        for case in asked:
            seen(case)
            if any(one.forbids(case) for one in declared.values()):
                continue
            answers = {name: worker.call(request_of(case, given(case))) for name, worker in workers.items()}
            for name in names[1:]:
                difference = _compared(case, names[0], name, answers[names[0]], answers[name])
                if difference:
                    _keep(found, case, difference)
    finally:
        for worker in workers.values():
            worker.close()
    return list(found.values())


def _keep(found: dict[tuple[str, str], Difference], case: Case, new: Difference) -> None:
    """One of a kind: an operation, a sort of data and the two modes."""
    exact = "" if case.recipe in SPECIAL[case.op] else "exact"
    key = (f"{new.one}/{new.other}", f"{case.op}/{exact or case.recipe}")
    before = found.get(key)
    if before is None:
        found[key] = new
        return
    smallest = new if case.size < Case.from_dict(before.case).size else before
    found[key] = Difference(**(smallest.__dict__ | {"calls": before.calls + 1}))


def _compared(case: Case, one: str, other: str, a: Answer, b: Answer) -> Difference | None:
    if a.status != "ok" or b.status != "ok":
        lost = [n for n, answer in ((one, a), (other, b)) if answer.status in ("crash", "hang")]
        return _difference(case, one, other, f"{lost[0]} was lost", (a.status, b.status)) if lost else None
    for name, truth, x, y in zip(OUTPUTS[case.op], truths_of(case), a.arrays, b.arrays, strict=False):
        if x.shape != y.shape or x.dtype != y.dtype:
            return _difference(case, one, other, f"{name}'s form", (f"{x.dtype} {x.shape}", f"{y.dtype} {y.shape}"))
        alike = np.array_equal(x.astype(np.float64), y.astype(np.float64), equal_nan=True)  # zeros' signs are free
        if not alike and not same_answer(x, y, truth, case.dtype):
            at, said = _where(x, y)
            return _difference(case, one, other, f"{name}{list(at)}", said)
    return None


def _difference(case: Case, one: str, other: str, what: str, said: tuple[str, str]) -> Difference:
    return Difference(one, other, case.describe(), case.to_dict(), what, said)


def _where(x: Array, y: Array) -> tuple[tuple[int, ...], tuple[str, str]]:
    """The element where two answers differ most, and what each says there."""
    with np.errstate(all="ignore"):
        a, b = x.astype(np.float64), y.astype(np.float64)
        apart = np.where(np.isnan(a) != np.isnan(b), np.inf, np.abs(a - b))
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, np.where(np.isnan(apart), np.inf, apart))
    at = np.unravel_index(int(np.argmax(apart)), x.shape)
    return tuple(int(i) for i in at), (f"{a[at]:.9g}", f"{b[at]:.9g}")
