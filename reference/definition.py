"""Convolution and max pooling as their definitions read: sums and maxima in plain Python loops.

May import NumPy and this folder's `arguments` and `geometry`; it shares nothing else with the fast form, which is
proved against it. It is slow, and meant to be obviously right. Integers and `fractions.Fraction` (object arrays) are
exact; sums of floats are made in Python's float64, in row-major order of the taps, and rounded once to the type of the
input.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from . import arguments, geometry
from .arguments import Array
from .geometry import Window


def conv2d(
    x: Array,
    w: Array,
    *,
    strides: object = 1,
    padding: object,
    dilations: object = 1,
    groups: object = 1,
    bias: Array | None = None,
) -> Array:
    """Convolve images with filters; arguments, result and errors as in `convspec.conv2d`, integers and objects besides.

    Examples
    --------
    >>> from fractions import Fraction
    >>> thirds = np.full((1, 1, 3, 1), Fraction(1, 3))
    >>> conv2d(thirds, thirds.reshape(1, 3, 1, 1), padding="VALID").item()
    Fraction(1, 3)
    """
    x, w, groups = arguments.operands(x, w, groups, exact=True)
    bias = arguments.bias(bias, w)
    window = geometry.resolve(x.shape[1:3], w.shape[:2], strides=strides, padding=padding, dilations=dilations)
    shape = arguments.result_shape((x.shape[0], *window.output, w.shape[3]), x.itemsize)
    image, filters = _numbers(x), _numbers(w)
    start = [0] * shape[3] if bias is None else _numbers(bias)
    sums = []
    for n, row, column, f in np.ndindex(shape):
        total = start[f]
        for i, j, r, c in _taps_on_image(window, x.shape, row, column):
            for k, channel in enumerate(_channels(f, x, w, groups)):
                total += image[n][r][c][channel] * filters[i][j][k][f]
        sums.append(total)
    return _rounded(sums, shape, x.dtype)


def conv2d_vjp(
    x: Array,
    w: Array,
    dy: Array,
    *,
    strides: object = 1,
    padding: object,
    dilations: object = 1,
    groups: object = 1,
) -> tuple[Array, Array]:
    """Gradients of sum(dy * conv2d(x, w)): each product of the sum hands dy to its two factors.

    Examples
    --------
    >>> x, w, dy = (np.array(v).reshape(1, 1, -1, 1) for v in ([1, 2, 3], [4, 5], [6, 7]))
    >>> [g.ravel().tolist() for g in conv2d_vjp(x, w.reshape(1, 2, 1, 1), dy, padding="VALID")]
    [[24, 58, 35], [20, 33]]
    """
    x, w, groups = arguments.operands(x, w, groups, exact=True)
    window = geometry.resolve(x.shape[1:3], w.shape[:2], strides=strides, padding=padding, dilations=dilations)
    shape = arguments.result_shape((x.shape[0], *window.output, w.shape[3]), x.itemsize)
    given = _numbers(arguments.gradient(dy, shape, x.dtype, exact=True))
    image, filters = _numbers(x), _numbers(w)
    dx: dict[tuple[int, ...], Any] = dict.fromkeys(np.ndindex(x.shape), 0)
    dw: dict[tuple[int, ...], Any] = dict.fromkeys(np.ndindex(w.shape), 0)
    for n, row, column, f in np.ndindex(shape):
        for i, j, r, c in _taps_on_image(window, x.shape, row, column):
            for k, channel in enumerate(_channels(f, x, w, groups)):
                dx[n, r, c, channel] += given[n][row][column][f] * filters[i][j][k][f]
                dw[i, j, k, f] += given[n][row][column][f] * image[n][r][c][channel]
    return _rounded(list(dx.values()), x.shape, x.dtype), _rounded(list(dw.values()), w.shape, x.dtype)


def max_pool(x: Array, *, ksize: object, strides: object, padding: object, dilations: object = 1) -> Array:
    """Maximum of every window; arguments, result and errors as in `convspec.max_pool`.

    Examples
    --------
    >>> max_pool(np.array([[[[3], [1], [2]]]]), ksize=2, strides=1, padding="SAME").ravel()
    array([3, 2, 2])
    """
    return max_pool_with_argmax(x, ksize=ksize, strides=strides, padding=padding, dilations=dilations)[0]


def max_pool_with_argmax(
    x: Array, *, ksize: object, strides: object, padding: object, dilations: object = 1
) -> tuple[Array, Array]:
    """Maxima and where they are; arguments, results and errors as in `convspec.max_pool_with_argmax`.

    Examples
    --------
    >>> max_pool_with_argmax(np.array([[[[1.0], [2.0], [2.0]]]]), ksize=(1, 3), strides=1, padding="VALID")[1].item()
    1
    """
    x = arguments.image(x, exact=True)
    window = _pool_window(x, ksize, strides, padding, dilations)
    shape = arguments.result_shape((x.shape[0], *window.output, x.shape[3]), max(8, x.itemsize))
    values, places = np.empty(shape, x.dtype), np.empty(shape, np.int64)
    image = _numbers(x)
    for n, row, column, channel in np.ndindex(shape):
        at = _first_maximum(image[n], window, x.shape, (row, column, channel))
        if at is None:
            values[n, row, column, channel] = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
            places[n, row, column, channel] = -1
        else:
            values[n, row, column, channel] = x[n, at[0], at[1], channel]
            places[n, row, column, channel] = (at[0] * x.shape[2] + at[1]) * x.shape[3] + channel
    return values, places


def max_pool_vjp(
    x: Array, dy: Array, *, ksize: object, strides: object, padding: object, dilations: object = 1
) -> Array:
    """Gradient of sum(dy * max_pool(x)); arguments, result and errors as in `convspec.max_pool_vjp`.

    Examples
    --------
    >>> x, dy = np.array([[[[1.0], [2.0], [2.0]]]]), np.array([[[[5.0], [7.0]]]])
    >>> max_pool_vjp(x, dy, ksize=(1, 2), strides=1, padding="VALID").ravel()
    array([ 0., 12.,  0.])
    """
    x = arguments.image(x, exact=True)
    window = _pool_window(x, ksize, strides, padding, dilations)
    shape = arguments.result_shape((x.shape[0], *window.output, x.shape[3]), x.itemsize)
    given, image = _numbers(arguments.gradient(dy, shape, x.dtype, exact=True)), _numbers(x)
    dx: dict[tuple[int, ...], Any] = dict.fromkeys(np.ndindex(x.shape), 0)
    for n, row, column, channel in np.ndindex(shape):
        at = _first_maximum(image[n], window, x.shape, (row, column, channel))
        if at is not None:
            dx[n, at[0], at[1], channel] += given[n][row][column][channel]
    return _rounded(list(dx.values()), x.shape, x.dtype)


def _pool_window(x: Array, ksize: object, strides: object, padding: object, dilations: object) -> Window:
    kernel = arguments.pair("ksize", ksize)
    return geometry.resolve(x.shape[1:3], kernel, strides=strides, padding=padding, dilations=dilations)


def _taps_on_image(
    window: Window, shape: tuple[int, ...], row: int, column: int
) -> Iterator[tuple[int, int, int, int]]:
    """Taps i, j of an output's window in row-major order, with the pixel r, c of each; taps on padding are absent."""
    for i, j in product(range(window.kernel[0]), range(window.kernel[1])):
        r = row * window.strides[0] + i * window.dilations[0] - window.pads[0][0]
        c = column * window.strides[1] + j * window.dilations[1] - window.pads[1][0]
        if 0 <= r < shape[1] and 0 <= c < shape[2]:
            yield i, j, r, c


def _channels(f: int, x: Array, w: Array, groups: int) -> range:
    """The channels that filter f sees: those of its group."""
    group = f // (w.shape[3] // groups)
    depth = x.shape[3] // groups
    return range(group * depth, (group + 1) * depth)


def _first_maximum(
    image: Any, window: Window, shape: tuple[int, ...], output: tuple[int, int, int]
) -> tuple[int, int] | None:
    """Pixel of the first maximum of a window, NaN being greater than all; None where no tap lies on the image."""
    row, column, channel = output
    best, at = None, None
    for _, _, r, c in _taps_on_image(window, shape, row, column):
        value = image[r][c][channel]
        if best is None or value > best or (_is_nan(value) and not _is_nan(best)):
            best, at = value, (r, c)
    return at


def _is_nan(value: Any) -> bool:
    return bool(value != value)  # noqa: PLR0124 - NaN alone differs from itself


def _numbers(a: Array) -> Any:
    """An array as nested lists of Python's int, float or whatever objects it holds."""
    return (a.astype(np.float64) if arguments.is_bfloat16(a.dtype) else a).tolist()


def _rounded(values: list[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Python numbers as an array, rounded once, to nearest even."""
    if dtype.kind in "iuO":
        exact = np.empty(len(values), dtype)
        exact[:] = values
        return exact.reshape(shape)
    wide = np.array(values, np.float64).reshape(shape)
    with np.errstate(over="ignore", under="ignore"):
        return (_odd_float32(wide) if arguments.is_bfloat16(dtype) else wide).astype(dtype, copy=False)


def _odd_float32(wide: Array) -> Array:
    """float64 as float32, inexact values to the neighbour whose last bit is odd.

    bfloat16 is made from float32, and rounding to nearest twice can differ from rounding once. Rounding to odd first
    cannot: it keeps which side of every midpoint a value is on.
    """
    near = wide.astype(np.float32)
    bits = near.view(np.uint32)
    beyond = np.abs(near.astype(np.float64)) > np.abs(wide)
    inexact = (near.astype(np.float64) != wide) & ~np.isnan(wide)
    toward_zero = bits - beyond.astype(np.uint32)
    return np.where(inexact, toward_zero | np.uint32(1), bits).view(np.float32)
