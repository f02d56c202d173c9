"""What rounding does on average: the scale of an error on data of random sign, and how far many of them may stray.

May import `truth`, the formats and the adapters' contract. On data of random sign a sum of n products is a random walk,
and so is its rounding error: its root mean square is known from n and D = sqrt(R(a^2, b^2)), and grows like sqrt(n)
where the bound for all data grows like n. The formulas are those of the specification's `effective-precision`; none of
them holds where products share a sign.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from convspec.adapters.backend import Contract
from convspec.harness.cases.formats import Format

from .truth import LONG_IS_WIDER, Terms

Array = npt.NDArray[Any]
TF32_UNIT = 2.0**-11

#: How unlikely it is, by the model, that a right backend is blamed: of one mean, and of any of `OUTPUTS` elements.
ALPHA = 1e-15
#: The outputs over which not one right element may be blamed. A sum added one term after the other strays more than the
#: Gaussian model (its partial sums wander together): P(error > t u D sqrt((n + 3) / 2)) falls like exp(-2.6 t) and not
#: like exp(-t^2 / 2). With ALPHA the reach t is 10.6, and a billion of such sums pass it with probability 1e-3.
OUTPUTS = 1e9
REACH = math.sqrt(2 * math.log(2 * OUTPUTS / ALPHA))
#: Fewer elements than this say nothing about a mean.
LEAST_ELEMENTS = 100
#: Up to so many terms the bound for all data is the smaller one, since S <= sqrt(n) D.
SHORT = 8


def growth(n: Array) -> Array:
    """The rounding errors of n products and of their sum, in units of u^2 D^2 / 3: the mean over all partial sums."""
    terms = np.maximum(n, 1)
    return np.asarray((terms + 1) / 2 - 1 / terms + 1)


def sigma(terms: Terms, accumulator: Format, *, tf32: bool = False) -> Array:
    """The largest root mean square that an element's error can have where each rounding errs at random."""
    roundings = accumulator.unit**2 * growth(terms.count) + (2 * TF32_UNIT**2 if tf32 else 0.0)
    return np.asarray(np.sqrt(terms.squares * roundings / 3))


def limit(elements: int, alpha: float = ALPHA) -> float:
    """The largest T^2, the mean of (error / sigma)^2, that `elements` right ones reach by chance.

    >>> [round(limit(n), 2) for n in (100, 1000, 100_000)]
    [2.87, 1.44, 1.04]
    """
    t = math.log(1 / alpha)
    return 1 + 2 * math.sqrt(t / elements) + 2 * t / elements


def bias_limit(elements: int, alpha: float = ALPHA) -> float:
    """The largest mean, in units of sigma, of errors that are as often too large as too small."""
    return math.sqrt(2 * math.log(2 / alpha) / elements)


def element_bound(terms: Terms, accumulator: Format, contract: Contract) -> Array:
    """How far a single element may lie from y on data of random sign; the smaller of this and `delta` counts."""
    n = terms.count
    roundings = accumulator.unit**2 * (n + 3 + terms.extra_roundings) / 2 + (2 * TF32_UNIT**2 if contract.tf32 else 0.0)
    allowed = REACH * np.sqrt(terms.squares * roundings) + n * accumulator.least_subnormal / 2
    if not LONG_IS_WIDER or accumulator.name != "float64":
        allowed = allowed + n * 2.0**-53 * terms.scale
    return np.asarray(allowed)


def outside_cell(got: Array, y: Array, fmt: Format) -> Array:
    """How far the numbers that round to `got` in a format lie from y, with a sign: zero where `got` is y, rounded.

    What a wide accumulator did is seen through a narrow output type only so far.
    """
    negative = np.signbit(got)
    magnitude, along = np.abs(got.astype(y.dtype)), np.where(negative, -y, y)
    mantissa, exponent = np.frexp(magnitude.astype(np.float64))
    above = np.ldexp(1.0, np.maximum(exponent - 1, fmt.least_exponent) - fmt.precision + 1)
    below = np.where((mantissa == 0.5) & (exponent - 1 > fmt.least_exponent), above / 2, above)
    beyond = np.maximum(magnitude - below / 2 - along, 0) - np.maximum(along - magnitude - above / 2, 0)
    return np.asarray(np.where(negative, -beyond, beyond))
