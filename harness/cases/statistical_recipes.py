"""Data recipes for measurements: random signs, sums that cancel, filters of which half is zero.

May import NumPy and this folder; entered in the one list of `recipes`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .case import Case
from .formats import FORMATS
from .recipes import Data, recipe, shapes, signed, thin

Array = npt.NDArray[Any]


@recipe("statistical")
def statistical(case: Case, rng: np.random.Generator) -> Data:
    """Magnitudes uniform in 0.5..1 with random signs: errors are a random walk, and tell the effective precision."""
    return {name: signed(rng, shape, 0.5, 1.0) for name, shape in shapes(case).items()}


@recipe("half-zero-w")
def half_zero_w(case: Case, rng: np.random.Generator) -> Data:
    """The same with half the weights zero, and a small image: what a pixel does to outputs that it is no part of."""
    data = statistical(case, rng)
    scale = 2.0**-8 if case.dtype == "float16" else 1.0  # far from the largest float16
    return data | {"x": data["x"] * scale, "w": thin(rng, data["w"], 0.5)}


def _pairs(rng: np.random.Generator, size: int) -> tuple[Array, Array, Array]:
    """Indices of 0..size in random pairs, (one, other), and the one that is left where the size is odd."""
    order, half = rng.permutation(size), size // 2
    return order[:half], order[half : 2 * half], order[2 * half :] if half else order[:0]


@recipe("near-zero")
def near_zero(case: Case, rng: np.random.Generator) -> Data:
    """Sums that cancel: the accumulator is seen through an output type that is narrower than it.

    Channels, filters and images are paired at random. x repeats in the other channel and the other image, dy in the
    other filter; w and dy change their sign where x or dy repeats, so that y, dx and dw all cancel. An odd one stays
    alone, so small that its sums are of the size of the accumulator's rounding.
    """
    precision = FORMATS[case.dtype].precision
    remainder = 2.0 ** (precision - (24 if precision < 24 else 53))
    scale = 16.0 if case.dtype == "float16" else 1.0  # the errors are normal numbers, and no partial sum overflows
    data = {name: signed(rng, shape, 0.5, 1.0) * scale for name, shape in shapes(case).items()}
    x, w, dy, filters = data["x"], data["w"], data["dy"], case.filters // case.groups
    for group in range(case.groups):
        one, other, alone = _pairs(rng, case.w[2])
        first, here = group * case.w[2], slice(group * filters, (group + 1) * filters)
        x[..., first + other] = x[..., first + one]
        x[..., first + alone] *= remainder
        w[:, :, other, here] = -w[:, :, one, here]
        one, other, alone = (i + group * filters for i in _pairs(rng, filters))
        w[..., other], dy[..., other] = -w[..., one], dy[..., one]
        dy[..., alone] *= remainder
    one, other, alone = _pairs(rng, case.x[0])
    x[other], dy[other] = x[one], -dy[one]
    dy[alone] *= remainder
    return data
