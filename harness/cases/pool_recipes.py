"""Data recipes for pooling: what wins a window, and what must not.

May import NumPy and this folder. Entered in the list of `recipes`, which imports this file.
"""

from __future__ import annotations

import numpy as np

from .case import Case
from .formats import FORMATS, INTEGERS
from .recipes import Array, Data, either, fan_in, nonzero, recipe, signed
from .windows import reads


def _pool_data(case: Case, rng: np.random.Generator, x: Array) -> Data:
    """Pooling data: `x`, and gradients that are distinct small integers where the dtype has room for them."""
    most = 2 ** (FORMATS[case.dtype].precision if case.dtype in FORMATS else 7) // max(fan_in(case), 1)
    dy = nonzero(rng, int(np.clip(most, 1, 1000)), case.y)
    if case.op == "max_pool_vjp" and dy.size and np.isneginf(x).any():
        dy[_left_open(case, x)] = 0  # whoever takes it: the specification does not say
    return {"x": x, "dy": dy}


def _left_open(case: Case, x: Array) -> Array:
    """The windows that reach padding and hold nothing above minus infinity: padding is as large as their elements."""
    rows, columns = reads(case, 0), reads(case, 1)
    height, width = case.x[1:3]
    down, across = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    inside: Array = down[:, :, None, None] & across  # output rows, taps down, output columns, taps across
    taps: Array = x[:, rows.clip(0, height - 1)][:, :, :, columns.clip(0, width - 1)]
    nothing_above: Array = np.all(np.isneginf(taps) | ~inside[..., None], axis=(2, 4))
    reaches_padding: Array = ~np.all(inside, axis=(1, 3))
    return nothing_above & reaches_padding[..., None]


@recipe("distinct")
def distinct(case: Case, rng: np.random.Generator) -> Data:
    """Values that all differ (as far as the dtype has so many), of both signs."""
    count = int(np.prod(case.x))
    values: Array
    if case.dtype in INTEGERS:
        info = np.iinfo(case.dtype)
        span = min(info.max - info.min, count)
        where = rng.integers(0, 3)  # near the top or from the bottom: neighbours there differ in the last bit only
        start = info.max - span if where == 1 else info.min
        step = (info.max - info.min) // max(span, 1) if where == 2 else 1  # or all over the type
        values = np.array([start + int(i) % (span + 1) * step for i in rng.permutation(count)], dtype=case.dtype)
    else:
        most = 2 ** (FORMATS[case.dtype].precision + 1) - 1
        values = rng.permutation(count) % most - float(
            max(min(count, most) // 2 - 1, 0)
        )  # of two values one is positive
    return _pool_data(case, rng, values.reshape(case.x))


@recipe("negative")
def negative(case: Case, rng: np.random.Generator) -> Data:
    """All below zero: a padding of zero would win."""
    if case.dtype in INTEGERS:
        info = np.iinfo(case.dtype)
        values = rng.integers(info.min, min(-1, info.min + 100) if info.min else 3, case.x, dtype=case.dtype)
        return _pool_data(case, rng, values)
    return _pool_data(case, rng, -rng.integers(1, 2 ** min(FORMATS[case.dtype].precision, 20), case.x).astype(float))


@recipe("ties")
def ties(case: Case, rng: np.random.Generator) -> Data:
    """Two values only: most windows have several maxima."""
    return _pool_data(case, rng, rng.integers(0, 2, case.x).astype(case.dtype if case.dtype in INTEGERS else float))


@recipe("near-ties")
def near_ties(case: Case, rng: np.random.Generator) -> Data:
    """Neighbouring floating-point numbers: close is not equal."""
    return _pool_data(case, rng, 1 + rng.integers(0, 4, case.x) * 2.0 ** (1 - FORMATS[case.dtype].precision))


@recipe("constant")
def constant(case: Case, rng: np.random.Generator) -> Data:
    """One value everywhere: every window ties."""
    return _pool_data(case, rng, np.full(case.x, 1))


@recipe("all-minus-inf")
def all_minus_inf(case: Case, rng: np.random.Generator) -> Data:
    """Minus infinity everywhere."""
    return _pool_data(case, rng, np.full(case.x, -np.inf))


@recipe("some-inf")
def some_inf(case: Case, rng: np.random.Generator) -> Data:
    """Infinities of both signs among finite values."""
    x = distinct(case, rng)["x"].astype(float)
    return _pool_data(case, rng, np.where(rng.random(case.x) < 0.4, either(rng, -np.inf, np.inf, case.x), x))


@recipe("some-nan")
def some_nan(case: Case, rng: np.random.Generator) -> Data:
    """NaN here and there, infinities and finite values between."""
    x = some_inf(case, rng)["x"]
    return _pool_data(case, rng, np.where(rng.random(case.x) < 0.25, either(rng, np.nan, -np.nan, case.x), x))


@recipe("signed-zeros")
def signed_zeros(case: Case, rng: np.random.Generator) -> Data:
    """Zeros of both signs, and nothing else."""
    return _pool_data(case, rng, either(rng, -0.0, 0.0, case.x))


@recipe("real-pool")
def real_pool(case: Case, rng: np.random.Generator) -> Data:
    """Real values and real gradients."""
    return {"x": signed(rng, case.x, 0.5, 1.0), "dy": signed(rng, case.y, 0.5, 1.0)}


@recipe("whole-range")
def whole_range(case: Case, rng: np.random.Generator) -> Data:
    """Normal numbers of every exponent that the dtype has, and of both signs: no other type holds them all."""
    form = FORMATS[case.dtype]
    exponents = rng.uniform(np.log2(form.least_normal), np.log2(form.largest) - 1, case.x)
    return _pool_data(case, rng, np.exp2(exponents) * either(rng, -1.0, 1.0, case.x))


@recipe("subnormal-pool")
def subnormal_pool(case: Case, rng: np.random.Generator) -> Data:
    """Subnormal values of both signs."""
    return _pool_data(case, rng, nonzero(rng, 7, case.x) * FORMATS[case.dtype].least_subnormal)
