"""The right answer of a case, and the scales that its bound is made of.

May import the reference and `cases`. Forward, input gradient and filter gradient are each one bilinear map R; pooling's
gradient is linear in dy. For each the oracle computes, wider than the backend: y = R(a, b), S = R(|a|, |b|) and
n = R([a != 0], [b != 0]), so taps on padding and exact zeros drop out of the bound by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from convspec.harness.cases.case import BLOCKS, Case
from convspec.harness.cases.formats import dtype_of
from convspec.harness.cases.recipes import Data
from convspec.reference import conv2d, geometry, max_pool

from .blocks import answers

Array = npt.NDArray[Any]
Map = Callable[[Array, Array], Array]

#: Wider than float64 where the machine has it; elsewhere the bound carries one more term.
LONG = np.longdouble
LONG_IS_WIDER = np.finfo(LONG).nmant > 52


class Terms:
    """What each element of a result is a sum of, worked out only when asked: an answer that is exact needs none of it.

    `scale` is S, `count` is n, and `quantum` the spacing of a lattice that holds every product. `squares` is
    D^2 = R(a^2, b^2) and `magnitudes` sum|x| + sum|w| over the taps, each one convolution more: for data of random
    sign, and for backends that declare that they flush subnormals. `norm` is the product of the operands' Euclidean
    norms and `elements` their size, for those that declare a transform. A bias is one more term of every sum.
    """

    def __init__(self, apply: Map, a: Array, b: Array, bias: Array | None = None) -> None:
        self._apply, self._a, self._b, self._bias = apply, a, b, bias
        self.extra_roundings = int(bias is not None)
        self.elements = a.size + b.size

    @cached_property
    def _sizes(self) -> tuple[Array, Array]:
        return _finite_size(self._a), _finite_size(self._b)

    @cached_property
    def scale(self) -> Array:
        """S: the sum of the terms' sizes."""
        scale = self._apply(*self._sizes)
        return scale if self._bias is None else scale + _finite_size(self._bias)

    @cached_property
    def count(self) -> Array:
        """The number of products that are not zero."""
        left, right = self._sizes
        return self._apply((left != 0).astype(np.float64), (right != 0).astype(np.float64))

    @cached_property
    def quantum(self) -> float:
        """The largest power of two that divides every term."""
        of_products = quantum(self._a) * quantum(self._b)
        return of_products if self._bias is None else min(of_products, quantum(self._bias))

    @cached_property
    def squares(self) -> Array:
        """The sum of the terms' squares; a bias counts twice: it may be part of every partial sum, not of half."""
        left, right = self._sizes
        squares = self._apply(left * left, right * right)
        return squares if self._bias is None else squares + 2 * _finite_size(self._bias) ** 2

    @cached_property
    def magnitudes(self) -> Array:
        """The sum of what each product is made of."""
        left, right = self._sizes
        return self._apply(left, np.ones_like(right)) + self._apply(np.ones_like(left), right)

    @cached_property
    def norm(self) -> float:
        """The largest sum of products that these operands could give."""
        left, right = self._sizes
        return float(np.linalg.norm(left) * np.linalg.norm(right))

    @cached_property
    def finite(self) -> bool:
        """Whether no operand holds a NaN or an infinity."""
        return bool(np.isfinite(self._a).all() and np.isfinite(self._b).all())


class Added:
    """The terms of max pooling's input gradient: elements of dy, added and not multiplied."""

    extra_roundings, norm = 0, 0.0

    def __init__(self, apply: Callable[[Array], Array], dy: Array) -> None:
        self._apply, self._dy = apply, dy
        self.elements = dy.size

    @cached_property
    def scale(self) -> Array:
        """The sum of the terms' sizes."""
        return self._apply(_finite_size(self._dy))

    @cached_property
    def count(self) -> Array:
        """The number of terms that are not zero; each counts as one magnitude too."""
        return self._apply((_finite_size(self._dy) != 0).astype(np.float64))

    @cached_property
    def quantum(self) -> float:
        """The largest power of two that divides every term."""
        return quantum(self._dy)

    @property
    def magnitudes(self) -> Array:
        """As `count`: each term is one number."""
        return self.count

    @cached_property
    def finite(self) -> bool:
        """Whether dy holds no NaN and no infinity."""
        return bool(np.isfinite(self._dy).all())


def _finite_size(values: Array) -> Array:
    wide = values.astype(np.float64)
    return np.where(np.isfinite(wide), np.abs(wide), 0.0)


@dataclass(frozen=True)
class Truth:
    """What one result array must be.

    `value` is wider than the backend's type. `terms` None means: no arithmetic is done, so the value itself, to the
    bit.
    """

    name: str
    value: Array
    terms: Terms | Added | None = None


def truths(case: Case, data: Data, *, padding_taps: str = "absent") -> tuple[Truth, ...]:
    """The right answers, one for each array that the operation returns.

    `padding_taps="multiply"` gives the other allowed reading of infinite weights over padding: zero times infinity.
    """
    window = case.window
    if case.op == "conv2d":
        return (_forward(case, data, padding_taps),)
    if case.op == "conv2d_vjp":
        dx = _bilinear(
            "dx",
            lambda w, dy: conv2d.input_gradient(case.x, w, dy, window, case.groups),
            data["w"],
            data["dy"],
            case.dtype,
        )
        dw = _bilinear(
            "dw",
            lambda x, dy: conv2d.filter_gradient(x, case.w, dy, window, case.groups),
            data["x"],
            data["dy"],
            case.dtype,
        )
        return (dx, dw)
    if case.op in BLOCKS:
        return tuple(Truth(name, value) for name, value in answers(case, data).items())
    if case.op == "max_pool":
        return (Truth("y", max_pool.forward(data["x"], window)),)
    if case.op == "max_pool_with_argmax":
        x = data["x"]
        return (Truth("y", max_pool.forward(x, window)), Truth("argmax", max_pool.argmax(x, window)))
    return (_pool_gradient(case, data, window),)


def _forward(case: Case, data: Data, padding_taps: str) -> Truth:
    window, x = case.window, data["x"]
    if padding_taps == "multiply":
        x = np.pad(x, ((0, 0), *window.pads, (0, 0)))
        window = geometry.resolve(
            x.shape[1:3], case.kernel, strides=case.strides, padding="VALID", dilations=case.dilations
        )
    return _bilinear(
        "y", lambda a, b: conv2d.forward(a, b, window, case.groups), x, data["w"], case.dtype, data.get("bias")
    )


def _bilinear(name: str, apply: Map, a: Array, b: Array, dtype: str, bias: Array | None = None) -> Truth:
    wide = LONG if dtype == "float64" else np.float64
    with np.errstate(all="ignore"):
        value = apply(a.astype(wide), b.astype(wide))
        if bias is not None:
            value = value + bias.astype(wide)
    return Truth(name, value, Terms(apply, a, b, bias))


def _pool_gradient(case: Case, data: Data, window: geometry.Window) -> Truth:
    x, dy = data["x"], data["dy"]

    def apply(values: Array) -> Array:
        return max_pool.gradient(x, values, window)

    return Truth("dx", apply(dy.astype(LONG if case.dtype == "float64" else np.float64)), Added(apply, dy))


def quantum(values: Array) -> float:
    """The largest power of two that divides every finite value (infinity where all are zero).

    >>> quantum(np.array([6.0, 0.5, 0.0]))
    0.5
    """
    flat = np.asarray(values, np.float64).ravel()
    flat = flat[np.isfinite(flat) & (flat != 0)]
    if not flat.size:
        return float("inf")
    mantissa, exponent = np.frexp(flat)
    whole = np.ldexp(mantissa, 53).astype(np.int64)
    lowest = np.frexp((whole & -whole).astype(np.float64))[1] - 1
    return float(np.ldexp(1.0, int(np.min(lowest + exponent)) - 53))


def expected_dtype(case: Case, name: str) -> np.dtype[Any]:
    """The dtype a result must have: the case's own, but for the argmax, which counts."""
    return np.dtype(np.int64) if name == "argmax" else dtype_of(case.dtype)


def expected_shape(case: Case, name: str) -> tuple[int, ...]:
    """The shape a result must have."""
    shapes = {"y": case.y, "dx": case.x, "argmax": case.y, "dbias": (case.filters,)}
    return case.w if name == "dw" else shapes[name]
