"""What is asked and what is right: from a finding to calls, each with the values that may come back.

May import the cases, the oracle and the specification's reference; never a framework.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from convspec.adapters.backend import Contract
from convspec.harness.cases.case import Case
from convspec.harness.cases.formats import FORMATS, dtype_of, round_to
from convspec.harness.cases.invalid import CHANGES
from convspec.harness.cases.recipes import Data, arrays, names, of_random_sign
from convspec.harness.oracle.bounds import accumulator_of, interval, may_overflow, narrows
from convspec.harness.oracle.statistics import sigma
from convspec.harness.oracle.truth import Terms, Truth, expected_dtype, expected_shape, truths

from .backend import Array, Call, Language
from .literals import MOST

#: Clauses about one of two gradients.
ONLY = {
    "conv2d-input-gradient": ("dx",),
    "conv2d-gradient-unread-pixels": ("dx",),
    "conv2d-filter-gradient": ("dw",),
}
#: Where a result in the subnormal range may not be zero.
KEPT = ("subnormals-kept", "max-pool-subnormals")
#: Where a NaN may stand instead of a number: the clause, and the end of its recipes' names.
SPREAD = ("conv2d-gradient-nan", "-thin-dy")
_WORST = re.compile(r"elements of (\w+) are wrong, the worst at \[([\d, ]*)\]")


@dataclass(frozen=True, eq=False)
class Right:
    """What one result must be: its shape and type, the value, and the least and the most that rounding may make of it.

    `low` and `high` are None where nothing is rounded. `places` are the elements that are looked at, None: all.
    `sigma` is the largest standard error that rounding explains, for measurements.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    value: Array
    low: Array | None = None
    high: Array | None = None
    places: Array | None = None
    sigma: Array | None = None
    spread: bool = False


@dataclass(frozen=True, eq=False)
class Asked:
    """One call and what is right."""

    call: Call
    right: tuple[Right, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)


def valid(
    case: Case,
    language: Language,
    finding: dict[str, Any],
    contract: Contract,
    suffix: str = "",
    data: Data | None = None,
) -> Asked:
    """A valid call, with its answer as the framework would lay it out."""
    given = arrays(case) if data is None else data
    call = Call(case.op, {name: given[name] for name in names(case)}, case.options, case, suffix)
    wanted = ONLY.get(finding["clause"], ())
    worst = _WORST.search(finding.get("message", ""))
    right = []
    for truth in truths(case, given):
        if wanted and truth.name not in wanted:
            continue
        at = None
        if worst and worst[1] == truth.name and worst[2] and not suffix:
            at = tuple(int(n) for n in worst[2].split(","))
        right.append(_right(call, truth, language, finding["clause"], contract, at))
    return Asked(call, tuple(right))


def invalid(case: Case, change: str, suffix: str = "") -> Call:
    """A call with one thing wrong."""
    data, options = dict(arrays(case)), dict(case.options)
    CHANGES[change].apply(data, options)
    return Call(case.op, {name: data[name] for name in names(case)}, options, case, suffix)


def _right(
    call: Call, truth: Truth, language: Language, clause: str, contract: Contract, worst: tuple[int, ...] | None
) -> Right:
    case, name = call.case, truth.name
    dtype = expected_dtype(case, name)
    value, low, high = allowed(case, truth, clause, contract)
    if name == "argmax":
        value = language.argmax(call, value)
    spread = None
    if isinstance(truth.terms, Terms) and clause.startswith("effective-precision"):
        value = np.asarray(truth.value, np.float64)
        with np.errstate(all="ignore"):
            spread = sigma(truth.terms, accumulator_of(case.dtype, contract))
    laid = [None if a is None else language.native(name, a) for a in (value, low, high, spread)]
    shape = tuple(int(n) for n in language.native(name, np.empty(expected_shape(case, name), bool)).shape)
    places = _places(language, name, expected_shape(case, name), worst)
    if places is not None:
        laid = [None if a is None else a.reshape(-1)[places] for a in laid]
    here, low, high, spread = laid
    assert here is not None
    may_spread = clause == SPREAD[0] and case.recipe.endswith(SPREAD[1])
    return Right(name, shape, dtype.name, here, low, high, places, spread, may_spread)


def _places(language: Language, name: str, shape: tuple[int, ...], worst: tuple[int, ...] | None) -> Array | None:
    """Which elements of a large result are looked at: the one that was furthest off, and others all over it."""
    size = int(np.prod(shape))
    if size <= MOST:
        return None
    some = np.linspace(0, size - 1, MOST // 4).astype(int)
    if worst is None:
        return np.linspace(0, size - 1, MOST).astype(int)
    marked = np.zeros(shape, bool)
    marked[worst] = True
    return np.union1d(some, np.flatnonzero(language.native(name, marked)))


def allowed(case: Case, truth: Truth, clause: str, contract: Contract) -> tuple[Array, Array | None, Array | None]:
    """The value, rounded to the type, and what lies around it that is right too: `harness.oracle.bounds`, as arrays."""
    if truth.terms is None or case.dtype not in FORMATS:
        return _plain(truth.value), None, None
    y, fmt = truth.value, FORMATS[case.dtype]
    accumulator = accumulator_of(case.dtype, contract)
    with np.errstate(all="ignore"):
        _, low, high = interval(truth, case.dtype, contract, random_sign=of_random_sign(case))
        if narrows(case.dtype, accumulator):
            value = round_to(y, case.dtype)
        else:
            value = _plain(y.astype(dtype_of(case.dtype)))
            low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        if clause not in KEPT:
            small = np.abs(y) < fmt.least_normal
            low, high = np.where(small, np.minimum(low, 0), low), np.where(small, np.maximum(high, 0), high)
        free = may_overflow(truth, accumulator)
        low, high = np.where(free, -np.inf, low), np.where(free, np.inf, high)
    exact = bool(((low == high) & (low == value) | np.isnan(value) | np.isinf(value) & (low == high)).all())
    return (value, None, None) if exact else (value, low, high)


def _plain(values: Array) -> Array:
    return values if values.dtype.kind in "iub" else values.astype(np.float64)
