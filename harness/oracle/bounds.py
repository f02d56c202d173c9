"""How far from the truth a right backend may lie: per element, from the case, never from a tolerance.

May import `cases`, `truth`, `statistics`, `tally` and the adapters' contract. The formulas are those of
`spec/numerics.md`:

    delta = gamma(m) S + n eta / 2 (+ n 2^-53 S where y is float64 itself),   gamma(m) = m u / (1 - m u)

(2 m u from m u = 1/2 on) with u and eta of the accumulator, and zero where the data lie on a lattice whose every
partial sum the accumulator holds (clause `exact-on-lattice`). Of two terms m is one more: see `delta`. On data of
random sign an element's statistical bound counts where it is smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convspec.adapters.backend import Contract
from convspec.harness.cases.formats import ACCUMULATOR, FORMATS, Format, round_to

from .statistics import SHORT, TF32_UNIT, element_bound
from .tally import Tally
from .truth import LONG_IS_WIDER, Added, Terms, Truth

Array = npt.NDArray[Any]
DIRECT = Contract()

#: Amplification of the rounding error through the transforms of Winograd's F(4,3), the widest that is in use.
WINOGRAD_AMPLIFICATION = 256.0


@dataclass(frozen=True)
class Discrepancy:
    """The worst element of a result that lies outside what is allowed."""

    index: tuple[int, ...]
    expected: str
    got: str
    bound: float
    error: float
    wrong: int
    total: int

    @property
    def in_bounds(self) -> str:
        """The error in units of the bound, in words."""
        if not np.isfinite(self.error):
            return "not comparable"
        if self.bound == 0:
            return f"off by {self.error:.6g}, where the answer is exact (bound 0)"
        return f"error {self.error:.4g} = {self.error / self.bound:.4g} x the bound {self.bound:.4g}"


def delta(truth: Truth, dtype: str, contract: Contract = DIRECT, *, random_sign: bool = False) -> Array:
    """The allowed distance from y, for each element, before rounding to the output's type."""
    terms = truth.terms
    assert terms is not None
    inputs, accumulator = FORMATS[dtype], accumulator_of(dtype, contract)
    exact_products = 2 * inputs.precision <= accumulator.precision
    n, S, u = terms.count, terms.scale, accumulator.unit
    roundings = n if isinstance(terms, Terms) and not exact_products else np.maximum(n - 1, 0)
    roundings = roundings + terms.extra_roundings
    if isinstance(terms, Terms):  # a compensated sum of two terms rounds again at each tap that is zero (error-bound)
        roundings = roundings + (n + terms.extra_roundings == 2)
    # gamma(m) has no meaning from m u = 1 on, where a narrow accumulator was declared; m u S bounds the error for
    # every m (Jeannerod and Rump, 2013), so twice that, where gamma would pass it, is safe.
    relative: Array = roundings * u / (1 - np.minimum(roundings * u, 0.5))
    allowed: Array = relative * S + n * accumulator.least_subnormal / 2
    if not LONG_IS_WIDER or accumulator.name != "float64":
        allowed = allowed + n * 2.0**-53 * S
    if contract.tf32:
        allowed = allowed + 2 * TF32_UNIT * S
    if random_sign and isinstance(terms, Terms) and contract.algorithm == "direct" and n.max(initial=0) > SHORT:
        allowed = np.minimum(allowed, element_bound(terms, accumulator, contract))
    if not contract.tf32 and contract.algorithm == "direct":
        on_lattice = (2.0**accumulator.precision * terms.quantum >= S) & (terms.quantum >= accumulator.least_subnormal)
        allowed = np.where(on_lattice | (n == 0) & (terms.extra_roundings == 0), 0.0, allowed)
    return allowed + _declared(terms, accumulator, inputs, contract)


def accumulator_of(dtype: str, contract: Contract = DIRECT) -> Format:
    """The format that sums are kept in: the declared one where the type's own values fit it, else the least allowed."""
    declared = FORMATS.get(contract.accumulate or "")
    if declared is None or declared.precision < FORMATS[dtype].precision:
        return FORMATS[ACCUMULATOR[dtype]]
    return declared


def narrows(dtype: str, accumulator: Format) -> bool:
    """Whether results are rounded once more, from the accumulator to a narrower type."""
    return dtype not in ("float64", accumulator.name)


def _declared(terms: Terms | Added, accumulator: Format, inputs: Format, contract: Contract) -> Array:
    """What a declared contract adds to the bound, whatever the signs of the data."""
    n, S = terms.count, terms.scale
    extra = np.zeros_like(S)
    if contract.flush_subnormals:
        extra = extra + 2 * n * accumulator.least_normal + inputs.least_normal * terms.magnitudes
    if contract.algorithm == "winograd":
        extra = extra + WINOGRAD_AMPLIFICATION * accumulator.unit * terms.norm
    if contract.algorithm == "fft":
        extra = extra + accumulator.unit * (6 * np.log2(4.0 + terms.elements) + 8) * terms.norm
    return extra


def interval(truth: Truth, dtype: str, contract: Contract, *, random_sign: bool) -> tuple[Array, Array, Array]:
    """The allowed distance from y, and the least and the most that it makes, rounded to the type of the result."""
    y, accumulator = truth.value, accumulator_of(dtype, contract)
    allowed = delta(truth, dtype, contract, random_sign=random_sign)
    if FORMATS[dtype].precision < FORMATS["float32"].precision < accumulator.precision:
        allowed = allowed + _on_the_way(y)
    low, high = y - allowed, y + allowed
    if narrows(dtype, accumulator):
        low, high = round_to(low, dtype), round_to(high, dtype)
    return allowed, low, high


def _on_the_way(y: Array) -> Array:
    """What a cast from declared float64 sums to a 16-bit type adds: most go through float32, and round twice."""
    between = FORMATS["float32"]
    return np.asarray(between.unit * np.abs(y) + between.least_subnormal / 2)


def may_overflow(truth: Truth, accumulator: Format) -> Array:
    """Where y is finite, and an order of summation may leave the accumulator's range: nothing is judged there."""
    terms = truth.terms
    assert terms is not None
    largest = terms.scale * (1 + 2 * terms.count * accumulator.unit)
    beyond: Array = np.isfinite(truth.value) & ~(largest < accumulator.largest)
    return beyond


def compare(
    got: Array,
    truth: Truth,
    dtype: str,
    contract: Contract = DIRECT,
    *,
    flush: bool = True,
    spread: bool = False,
    random_sign: bool = False,
    tally: Tally | None = None,
) -> Discrepancy | None:
    """The worst element of `got` outside the allowed range, or None when all is right.

    `flush` lets a result in the subnormal range be zero: whether it is kept is a clause of its own. `spread` lets a NaN
    stand where the answer is a number. `random_sign` says that the products' signs are independent, so that the
    statistical bound of an element holds too. `tally` is told how far within the bound each element lies.
    """
    if truth.terms is None:
        return _to_the_bit(got, truth, tally)
    y, found = truth.value, got.astype(truth.value.dtype)
    if bool(((found == y) | (np.isnan(y) & np.isnan(found))).all()):  # nothing has to be allowed
        if tally is not None:
            tally.exact(y.size)
        return None
    fmt = FORMATS[dtype]
    accumulator = accumulator_of(dtype, contract)
    with np.errstate(all="ignore"):
        allowed, low, high = interval(truth, dtype, contract, random_sign=random_sign)
        right = (low <= found) & (found <= high)
        right |= np.isnan(y) & np.isnan(found)
        right |= np.isinf(y) & (found == y)
        if flush:
            right |= (np.abs(y) < fmt.least_normal) & (found == 0)
        right |= may_overflow(truth, accumulator)
        if spread:
            right |= np.isnan(found)
        if contract.algorithm != "direct":
            right |= _through_a_transform(truth.terms, found, accumulator)
        if tally is None and right.all():
            return None
        if narrows(dtype, accumulator):
            # What is allowed on the side where it lies, so that what is outside is more than one bound away.
            allowed = np.maximum(np.where(found > y, high - y, y - low), allowed)
        error = np.where(found == y, 0.0, np.abs(found - y).astype(np.float64))  # of an infinity from itself, too
        if tally is not None:
            tally.add(error, allowed, ~right)
            if right.all():
                return None
    return _worst(got, y, allowed, error, ~right)


def _through_a_transform(terms: Terms | Added, found: Array, accumulator: Format) -> Array:
    """What a declared transform may do beyond its bound: mix a NaN or an infinity, or a sum too large, into others."""
    beyond = not terms.finite or terms.norm * WINOGRAD_AMPLIFICATION >= accumulator.largest
    return ~np.isfinite(found) if beyond else np.zeros(found.shape, bool)


def _to_the_bit(got: Array, truth: Truth, tally: Tally | None) -> Discrepancy | None:
    wanted = truth.value
    with np.errstate(invalid="ignore"):
        right = got == wanted
        if got.dtype.kind not in "iub":
            right |= np.isnan(got.astype(np.float64)) & np.isnan(wanted.astype(np.float64))
        if tally is not None:
            exact = int(np.count_nonzero(right))
            tally.exact(exact, right.size - exact)
        if right.all():
            return None
        if got.dtype.kind in "iub":  # int64 differences may not fit in int64
            error = np.abs(got.astype(np.longdouble) - wanted.astype(np.longdouble)).astype(np.float64)
        else:
            error = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
    return _worst(got, wanted, np.zeros(wanted.shape), error, ~right)


def _worst(got: Array, wanted: Array, allowed: Array, error: Array, wrong: Array) -> Discrepancy:
    with np.errstate(all="ignore"):
        ratio = np.where(np.isfinite(error), error / np.maximum(allowed.astype(np.float64), 1e-300), np.inf)
    ratio = np.where(wrong, ratio, -1.0)
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(ratio)), wanted.shape))
    return Discrepancy(
        index,
        _text(wanted[index]),
        _text(got[index]),
        float(allowed[index]),
        float(error[index]),
        int(wrong.sum()),
        int(wrong.size),
    )


def _text(value: Any) -> str:
    return str(int(value)) if np.asarray(value).dtype.kind in "iub" else f"{float(value):.9g}"
