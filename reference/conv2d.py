"""2-D convolution, the fast form: NumPy arrays, blocks of columns and matrix products.

May import NumPy and this folder's `arguments`, `geometry`, `blocks` and `correlate`. What it computes is written down
literally in `definition`; tests hold the two equal to the bit on integers. Groups are the general case (one group is
plain, as many as channels is depthwise). The input gradient is composed of forward convolutions, one a phase of the
strides, or adds up columns where images have few channels.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from math import gcd, prod
from typing import Any, NamedTuple

import numpy as np

from . import arguments, correlate, geometry
from .arguments import Array
from .blocks import (
    COLUMNS,
    COLUMNS_MOST,
    Block,
    Scratch,
    Taps,
    depth_a_block,
    is_finite,
    outputs,
    patch,
    rows_a_block,
    taps,
    windows,
)
from .geometry import Axis, Window, axis

# Images of so few channels are narrow: the input gradient then adds up columns of x instead of copying those of dy.
_NARROW = 8


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
    """Convolve images with filters (cross-correlate: the filters are not rotated).

    y[n, r, c, f] = bias[f] + sum over i, j, k of x[n, r s_h + i d_h - top, c s_w + j d_w - left, k] w[i, j, k, f],
    where taps on padding are absent (clauses `conv2d-sum` and `padding-contributes-nothing`).

    Parameters
    ----------
    x : ndarray [n, h, w, channels]
        float64, float32, float16 or bfloat16.
    w : ndarray [kernel h, kernel w, channels / groups, filters]
        In the type of x. Filters f of group g see the channels of that group alone.
    strides, dilations : int, pair or 4-vector [1, h, w, 1]
        Pixels from window to window, and from tap to tap.
    padding : str or ((top, bottom), (left, right))
        "SAME", "VALID" or "SAME_LOWER" in any case, or pixels a side.
    groups : int
        Divides channels and filters.
    bias : ndarray [filters], optional
        Added to the sum, in the type of x.

    Returns
    -------
    ndarray [n, output h, output w, filters]
        In the type of x; float16 and bfloat16 are summed in float32 and rounded once.

    Raises
    ------
    TypeError, ValueError
        A bad argument, named, before any work.

    Examples
    --------
    >>> x = np.arange(9.0).reshape(1, 3, 3, 1)
    >>> conv2d(x, np.ones((2, 2, 1, 1)), padding="SAME", strides=2)[0, :, :, 0]
    array([[ 8.,  7.],
           [13.,  8.]])
    """
    x, w, groups = arguments.operands(x, w, groups)
    bias = arguments.bias(bias, w)
    window = geometry.lay(x.shape[1:3], w.shape[:2], strides, padding, dilations)
    return forward(x, w, window, groups, bias)


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
    """Gradients of sum(dy * conv2d(x, w)) with respect to x and w: the adjoints of the two linear maps.

    Parameters
    ----------
    x, w, strides, padding, dilations, groups
        As in `conv2d`.
    dy : ndarray [n, output h, output w, filters]
        In the type of x.

    Returns
    -------
    dx, dw : ndarray
        In the shapes and the type of x and w. Pixels that no window reads have gradient zero. (The gradient of a bias
        is `dy.sum((0, 1, 2))`.)

    Raises
    ------
    TypeError, ValueError
        A bad argument, named, before any work.

    Examples
    --------
    >>> x, w, dy = np.ones((1, 3, 3, 1)), np.ones((2, 2, 1, 1)), np.ones((1, 2, 2, 1))
    >>> dx, dw = conv2d_vjp(x, w, dy, padding="VALID")
    >>> dx[0, :, :, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    x, w, groups = arguments.operands(x, w, groups)
    window = geometry.lay(x.shape[1:3], w.shape[:2], strides, padding, dilations)
    shape = arguments.result_shape((x.shape[0], *window.output, w.shape[3]), x.itemsize)
    dy = arguments.gradient(dy, shape, x.dtype)
    return input_gradient(x.shape, w, dy, window, groups), filter_gradient(x, w.shape, dy, window, groups)


def forward(x: Array, w: Array, window: Window, groups: int = 1, bias: Array | None = None) -> Array:
    """`conv2d` for arguments that are known to be good, in any real dtype (x and w the same)."""
    shape = arguments.result_shape((x.shape[0], *window.output, w.shape[3]), x.itemsize)
    small = _small(x.shape, w.shape, window, x.dtype) if groups == 1 else None
    if small is not None and (small.inside is None or is_finite(w)):
        at_once = max(1, STEP // (small.matrix[1] * small.matrix[2]))
        if x.shape[0] <= at_once:
            return _forward_small(x, w, small, bias)
        starts = range(0, x.shape[0], at_once)
        return np.concatenate([forward(x[n : n + at_once], w, window, 1, bias) for n in starts])
    y = np.empty(shape, x.dtype)
    split = correlate.split_image(y, groups), correlate.split_image(x, groups), correlate.split_filters(w, groups)
    correlate.correlate(*split, window, None if bias is None else bias.reshape(groups, 1, -1))
    return y


#: Numbers that the windows of several small images, done in one step, may hold.
STEP = 1 << 16


class _Small(NamedTuple):
    """How to do a convolution in one step: the padded image (if it is padded), its windows, and the two matrices."""

    read: tuple[slice, ...]
    padded: tuple[int, ...]
    inside: tuple[slice, ...] | None
    windows: tuple[int, ...]
    strides: tuple[int, ...]
    matrix: tuple[int, int, int]
    result: tuple[int, ...]


@lru_cache(maxsize=256)
def _small(x_shape: tuple[int, ...], w_shape: tuple[int, ...], window: Window, dtype: np.dtype[Any]) -> _Small | None:
    """The plan of a convolution that is too small to be worth cutting into blocks; None for any other."""
    (height, width), (stride_h, stride_w), (dilation_h, dilation_w), output, _ = window
    pixels, numbers = prod(output), prod(w_shape[:3])
    # How small is asked of one image: what it gives must not depend on how many there are.
    if not 0 < pixels * numbers * w_shape[3] <= correlate.SMALL or not x_shape[0]:
        return None
    if arguments.accumulator(dtype) != dtype:
        return None
    (h0, h1, above, rows), (w0, w1, before, columns) = (axis(window, a, x_shape[1 + a]).reach() for a in (0, 1))
    padded = (x_shape[0], rows, columns, x_shape[3])
    if prod(padded[1:]) > correlate.SMALL:
        return None
    read, inside = (slice(None), slice(h0, h1), slice(w0, w1)), None
    if padded != (x_shape[0], h1 - h0, w1 - w0, x_shape[3]):
        inside = (slice(None), slice(above, above + h1 - h0), slice(before, before + w1 - w0))
    number = dtype.itemsize * x_shape[3]
    strides = (
        rows * columns * number,
        stride_h * columns * number,
        stride_w * number,
        dilation_h * columns * number,
        dilation_w * number,
        dtype.itemsize,
    )
    windows_ = (x_shape[0], *output, height, width, x_shape[3])
    return _Small(
        read, padded, inside, windows_, strides, (x_shape[0], pixels, numbers), (x_shape[0], *output, w_shape[3])
    )


def _forward_small(x: Array, w: Array, small: _Small, bias: Array | None) -> Array:
    """`forward` in one step, for what takes microseconds."""
    if small.inside is not None:
        padded = np.zeros(small.padded, x.dtype)
        padded[small.inside] = x[small.read]
    else:
        padded = np.ascontiguousarray(x[small.read])
    view = np.ndarray(small.windows, x.dtype, padded, 0, small.strides)
    with np.errstate(all="ignore"):
        y = np.matmul(view.reshape(small.matrix), w.reshape(small.matrix[2], -1))
        if bias is not None:
            y += bias
    result: Array = y.reshape(small.result)
    return result


def input_gradient(x_shape: tuple[int, ...], w: Array, dy: Array, window: Window, groups: int = 1) -> Array:
    """Gradient of the input: what each window gave its taps, added up at the pixels that they read."""
    dx = np.zeros(x_shape, dy.dtype)
    if not (dx.size and dy.size):
        return dx
    split = correlate.split_image(dx, groups), correlate.split_image(dy, groups), correlate.split_filters(w, groups)
    _scatter(*split, window) if _narrow(*split, window) else _gather(*split, window)
    return dx


def _narrow(dx: Array, dy: Array, w: Array, window: Window) -> bool:
    """Whether columns of x are so much narrower than those of dy that adding them up is faster than copying those.

    Both ways multiply as much; only the second sums beside its result, as 16-bit floats need.
    """
    groups, _, _, depth, filters = w.shape
    spans = (axis(window, number, dx.shape[1 + number]).reach().span for number in (0, 1))
    return (
        depth <= _NARROW
        and 2 * depth <= filters
        and window.strides == (1, 1)
        and all(span <= 2 * size for span, size in zip(spans, window.output, strict=True))
        and prod(window.output) * groups * (prod(w.shape[1:4]) + filters) * dx.itemsize <= COLUMNS_MOST
        and arguments.accumulator(dy.dtype) == dy.dtype
        and is_finite(w)
    )


def _scatter(dx: Array, dy: Array, w: Array, window: Window) -> None:
    """Add to each pixel what the windows gave it: a product for the columns of x, then a sum over the taps.

    Rows of dy are widened with zeros to the span that a row of windows reads, and each tap's share of an image is
    followed by zeros. So the pixel p of an image is the sum over the taps of what lies at p - offset(tap): one view.
    """
    groups, kernel_h, kernel_w, depth, filters = w.shape
    dilation_h, dilation_w = window.dilations
    scratch, item = Scratch(dx.dtype), dx.itemsize
    numbers, (rows, width) = prod(w.shape[1:4]), window.output
    matrix = w.transpose(0, 3, 1, 2, 4).reshape(groups, 1, numbers, filters)
    above, before = (axis(window, number, dx.shape[1 + number]).reach() for number in (0, 1))
    last = (kernel_h - 1) * dilation_h * before.span + (kernel_w - 1) * dilation_w  # offset of the last tap
    share = rows * before.span + last
    images = max(1, COLUMNS // (groups * (numbers + filters) * rows * width * item))
    for n0, n1, *_ in outputs((dy.shape[0], 1, 1), images):
        wide = scratch.take("wide", (n1 - n0, rows, before.span, groups, filters))
        wide[:, :, width:] = 0
        wide[:, :, :width] = dy[n0:n1]
        given = scratch.take("given", (last + groups * (n1 - n0) * numbers * share,))
        given[:last] = 0
        by_tap = given[last:].reshape(groups, n1 - n0, numbers, share)
        by_tap[..., share - last :] = 0
        with np.errstate(all="ignore"):
            by_pixel = wide.reshape(n1 - n0, -1, groups, filters).transpose(2, 0, 3, 1)
            np.matmul(matrix, by_pixel, out=by_tap[..., : share - last])
            shape = (groups, n1 - n0, depth, kernel_h, kernel_w, above.span * before.span)
            to_row, to_column = kernel_w * share - dilation_h * before.span, share - dilation_w
            steps = (by_tap.strides[0], by_tap.strides[1], kernel_h * kernel_w * share * item)
            view = np.ndarray(shape, given.dtype, given, last * item, (*steps, to_row * item, to_column * item, item))
            sums = view.sum(axis=(3, 4)).reshape(*shape[:3], above.span, before.span)
        place = dx[n0:n1, above.start : above.stop, before.start : before.stop]
        sums = sums[:, :, :, above.head :, before.head :][:, :, :, : place.shape[1], : place.shape[2]]
        place[...] = sums.transpose(1, 3, 4, 0, 2)


def _gather(dx: Array, dy: Array, w: Array, window: Window) -> None:
    """Fill each phase of the strides with a plain convolution of dy with some of the taps, turned around.

    Input pixel a + s j of an axis meets tap t in output o where o s + t d - before = a + s j. For a phase a, such taps
    are t0, t0 + s / g, ... (g = gcd(s, d)), and o = j + shift - q d / g for the q-th: a convolution of stride 1.
    """
    turned = w.swapaxes(3, 4)
    rows, columns = (_phases(axis(window, number, dx.shape[1 + number])) for number in (0, 1))
    for row, column in product(rows, columns):
        out = dx[:, row.pixels, column.pixels]
        filters = turned[:, row.taps, column.taps]
        plain = Window(
            (filters.shape[1], filters.shape[2]),
            (1, 1),
            (row.dilation, column.dilation),
            (out.shape[1], out.shape[2]),
            (row.pads, column.pads),
        )
        correlate.correlate(out, dy[:, row.outputs, column.outputs], filters, plain, None)


class _Phase(NamedTuple):
    """One phase of one axis: which pixels, which taps in reverse, over which outputs with which padding."""

    pixels: slice
    taps: slice
    outputs: slice
    dilation: int
    pads: tuple[int, int]


def _phases(along: Axis) -> list[_Phase]:
    """The phases of an axis that any tap reaches; all other pixels are read by no window."""
    size, kernel, stride, dilation, before, output = along
    common = gcd(stride, dilation)
    step = stride // common  # from a tap of the phase to its next
    found = []
    for first in range(min(step, kernel)):
        phase = (first * dilation - before) % stride
        last = first + (kernel - 1 - first) // step * step
        # pixel j meets the taps in outputs j + low .. , those of the last pixel end before high
        low = (phase + before - last * dilation) // stride
        high = (phase + before - first * dilation) // stride - (phase - size) // stride
        kept = slice(min(max(low, 0), output), max(min(high, output), 0))
        if phase < size and kept.start < kept.stop:
            reverse = slice(last, first - step if first >= step else None, -step)
            pads = (max(-low, 0), max(high - output, 0))
            found.append(_Phase(slice(phase, None, stride), reverse, kept, dilation // common, pads))
    return found


def filter_gradient(x: Array, w_shape: tuple[int, ...], dy: Array, window: Window, groups: int = 1) -> Array:
    """Gradient of the filters: for every tap, what it read times what became of it, summed over all windows."""
    dw = np.zeros(w_shape, x.dtype)
    scratch = Scratch(arguments.accumulator(x.dtype))
    grouped_x, grouped_dy = correlate.split_image(x, groups), correlate.split_image(dy, groups)
    grouped_dw = correlate.split_filters(dw, groups)
    if not (x.size and dy.size):
        return dw
    depth, filters = grouped_dw.shape[3:]
    with np.errstate(all="ignore"):
        padded = window.pads != ((0, 0), (0, 0))
        one_by_one = (padded and not is_finite(dy)) or (groups > 1 and depth * filters <= correlate.ELEMENTWISE)
        most = depth_a_block(groups * filters * scratch.dtype.itemsize) // groups
        for tap in taps(window.kernel, depth, max(1, most)):
            total = np.zeros((groups, prod(tap.shape), filters), scratch.dtype)
            row_bytes = groups * (prod(tap.shape) + filters) * scratch.dtype.itemsize
            for block in outputs(dy.shape, rows_a_block(row_bytes)):
                part = None if one_by_one else patch(grouped_x, block, window, scratch)
                if part is None:
                    _filter_gradient_by_taps(total, (grouped_x, grouped_dy), window, block, tap)
                    continue
                columns = correlate.columns_matrix(windows(part, block, window), tap, scratch)
                total += np.matmul(columns.swapaxes(1, 2), correlate.pixels_matrix(grouped_dy, block, scratch.dtype))
            i0, i1, j0, j1, k0, k1 = tap
            grouped_dw[:, i0:i1, j0:j1, k0:k1] = total.reshape(groups, *tap.shape, filters)
    return dw


def _filter_gradient_by_taps(
    total: Array, images: tuple[Array, Array], window: Window, block: Block, tap: Taps
) -> None:
    """Add a block's share tap by tap, never touching padding (so that an infinite dy meets no padding)."""
    x, dy = (image[block.n0 : block.n1] for image in images)
    i0, i1, j0, j1, k0, k1 = tap
    by_tap = total.reshape(total.shape[0], *tap.shape, -1)
    elementwise = total.shape[0] > 1 and by_tap.shape[3] * by_tap.shape[4] <= correlate.ELEMENTWISE
    rows, columns = correlate.axes(x, window, block)
    dy = dy[:, block.r0 : block.r1, block.c0 : block.c1]
    for row, column in product(rows.runs(range(i0, i1)), columns.runs(range(j0, j1))):
        read = x[:, row.pixels, column.pixels, :, k0:k1].astype(total.dtype, copy=False)
        became = dy[:, row.outputs, column.outputs].astype(total.dtype, copy=False)
        share = by_tap[:, row.tap - i0, column.tap - j0]
        if elementwise:
            for k in range(k1 - k0):
                share[:, k] += (read[..., k, None] * became).sum((0, 1, 2))
        else:
            left = read.reshape(-1, *read.shape[3:]).transpose(1, 2, 0)
            share += np.matmul(left, became.reshape(-1, *became.shape[3:]).swapaxes(0, 1))
