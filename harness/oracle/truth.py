"""The right answer of a case, and the scales that its bound is made of.

May import the reference and `cases`. Forward, input gradient and filter gradient are each one bilinear map R; pooling's
gradient is linear in dy. For each the oracle computes, wider than the backend: y = R(a, b), S = R(|a|, |b|) and
n = R([a != 0], [b != 0]), so taps on padding and exact zeros drop out of the bound by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from convspec.harness.cases.case import Case
from convspec.harness.cases.formats import dtype_of
from convspec.harness.cases.recipes import Data
from convspec.reference import conv2d, geometry, max_pool

Array = npt.NDArray[Any]
Map = Callable[[Array, Array], Array]

#: Wider than float64 where the machine has it; elsewhere the bound carries one more term.
LONG = np.longdouble
LONG_IS_WIDER = np.finfo(LONG).nmant > 52


@dataclass(frozen=True)
class Truth:
    """What one result array must be.

    `value` is wider than the backend's type; `scale` is S, `count` is n and `quantum` the spacing of a lattice that
    holds every product. `scale` None means: no arithmetic is done, so the value itself, to the bit.
    `magnitudes()` is sum|x| + sum|w| over the taps, for backends that declare that they flush subnormals; `norm` is
    the product of the operands' Euclidean norms and `elements` their size, for those that declare a transform.
    `squares()` is D^2 = R(a^2, b^2), which costs one more convolution, and is asked for on data of random sign alone.
    """

    name: str
    value: Array
    scale: Array | None = None
    count: Array | None = None
    quantum: float = 0.0
    products: bool = True
    magnitudes: Callable[[], Array] | None = None
    squares: Callable[[], Array] | None = None
    norm: float = 0.0
    elements: int = 0
    finite: bool = True
    extra_roundings: int = 0


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
    truth = _bilinear("y", lambda a, b: conv2d.forward(a, b, window, case.groups), x, data["w"], case.dtype)
    if "bias" not in data:
        return truth
    assert truth.scale is not None
    bias = data["bias"].astype(truth.value.dtype)
    finite = np.where(np.isfinite(bias), np.abs(bias), 0).astype(np.float64)
    of_products = truth.squares
    assert of_products is not None
    return Truth(
        "y",
        truth.value + bias,
        truth.scale + finite,
        truth.count,
        min(truth.quantum, quantum(data["bias"])),
        magnitudes=truth.magnitudes,
        squares=cache(
            lambda: of_products() + 2 * finite**2
        ),  # it may be part of every partial sum, not of half of them
        norm=truth.norm,
        elements=truth.elements,
        finite=truth.finite,
        extra_roundings=1,
    )


def _bilinear(name: str, apply: Map, a: Array, b: Array, dtype: str) -> Truth:
    wide = LONG if dtype == "float64" else np.float64
    with np.errstate(all="ignore"):
        value = apply(a.astype(wide), b.astype(wide))
        left, right = (np.where(np.isfinite(v), np.abs(v.astype(np.float64)), 0.0) for v in (a, b))
        scale = apply(left, right)
        count = apply((left != 0).astype(np.float64), (right != 0).astype(np.float64))
        spacing = quantum(a) * quantum(b)
        norm = float(np.linalg.norm(left) * np.linalg.norm(right))

    def magnitudes() -> Array:
        return apply(left, np.ones_like(right)) + apply(np.ones_like(left), right)

    return Truth(
        name,
        value,
        scale,
        count,
        spacing,
        magnitudes=magnitudes,
        squares=cache(lambda: apply(left * left, right * right)),
        norm=norm,
        elements=left.size + right.size,
        finite=bool(np.isfinite(a).all() and np.isfinite(b).all()),
    )


def _pool_gradient(case: Case, data: Data, window: geometry.Window) -> Truth:
    x, dy = data["x"], data["dy"]
    wide = dy.astype(LONG if case.dtype == "float64" else np.float64)

    def apply(values: Array) -> Array:
        return max_pool.gradient(x, values, window)

    size = np.where(np.isfinite(wide), np.abs(dy.astype(np.float64)), 0.0)
    return Truth("dx", apply(wide), apply(size), apply((size != 0).astype(np.float64)), quantum(dy), products=False)


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
    return {"y": case.y, "dx": case.x, "dw": case.w if case.is_convolution else (), "argmax": case.y}[name]
