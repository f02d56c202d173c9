"""2-D convolution, the fast form: NumPy arrays, blocks of columns and matrix products.

May import NumPy and this folder's `arguments`, `geometry` and `blocks`. What it computes is written down literally in
`definition`; tests hold the two equal to the bit on integers. Groups are the general case (one group is plain, as many
as channels is depthwise), and the input gradient is composed of forward convolutions, one a phase of the strides.
"""

from __future__ import annotations

from itertools import product
from math import gcd
from typing import NamedTuple

import numpy as np

from . import arguments, geometry
from .arguments import Array
from .blocks import (
    Block,
    Scratch,
    Taps,
    all_finite,
    depth_a_block,
    outputs,
    patch,
    rows_a_block,
    taps,
    windows,
)
from .geometry import Window

# A filter of this many numbers a tap is applied element by element; a matrix product would be mostly overhead.
_ELEMENTWISE = 4


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
    window = geometry.resolve(x.shape[1:3], w.shape[:2], strides=strides, padding=padding, dilations=dilations)
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
    window = geometry.resolve(x.shape[1:3], w.shape[:2], strides=strides, padding=padding, dilations=dilations)
    shape = arguments.result_shape((x.shape[0], *window.output, w.shape[3]), x.itemsize)
    dy = arguments.gradient(dy, shape, x.dtype)
    return input_gradient(x.shape, w, dy, window, groups), filter_gradient(x, w.shape, dy, window, groups)


def forward(x: Array, w: Array, window: Window, groups: int = 1, bias: Array | None = None) -> Array:
    """`conv2d` for arguments that are known to be good, in any real dtype (x and w the same)."""
    shape = arguments.result_shape((x.shape[0], *window.output, w.shape[3]), x.itemsize)
    y = np.empty(shape, x.dtype)
    split = _split_image(y, groups), _split_image(x, groups), _split_filters(w, groups)
    _correlate(*split, window, None if bias is None else bias.reshape(groups, 1, -1))
    return y


def input_gradient(x_shape: tuple[int, ...], w: Array, dy: Array, window: Window, groups: int = 1) -> Array:
    """Gradient of the input: every phase of the strides is a plain convolution of dy with some taps, turned around.

    Input pixel a + s j of an axis meets tap t in output o where o s + t d - before = a + s j. For a phase a, such taps
    are t0, t0 + s / g, ... (g = gcd(s, d)), and o = j + shift - q d / g for the q-th: a convolution of stride 1.
    """
    dx = np.zeros(x_shape, dy.dtype)
    grouped_dx, grouped_dy = _split_image(dx, groups), _split_image(dy, groups)
    turned = _split_filters(w, groups).swapaxes(3, 4)
    per_axis = [
        _phases(
            x_shape[1 + a], dy.shape[1 + a], window.kernel[a], window.strides[a], window.dilations[a], window.pads[a][0]
        )
        for a in (0, 1)
    ]
    for row, column in product(*per_axis):
        out = grouped_dx[:, row.pixels, column.pixels]
        w_phase = turned[:, row.taps, column.taps]
        plain = Window(
            w_phase.shape[1:3], (1, 1), (row.dilation, column.dilation), out.shape[1:3], (row.pads, column.pads)
        )
        _correlate(out, grouped_dy[:, row.outputs, column.outputs], w_phase, plain, None)
    return dx


class _Phase(NamedTuple):
    """One phase of one axis: which pixels, which taps in reverse, over which outputs with which padding."""

    pixels: slice
    taps: slice
    outputs: slice
    dilation: int
    pads: tuple[int, int]


def _phases(size: int, output: int, kernel: int, stride: int, dilation: int, before: int) -> list[_Phase]:
    """The phases of an axis that any tap reaches; all other pixels are read by no window."""
    common = gcd(stride, dilation)
    step = stride // common  # from a tap of the phase to its next
    found = []
    for first in range(min(step, kernel)):
        phase = (first * dilation - before) % stride
        if phase >= size:
            continue
        count = -(-(kernel - first) // step)
        pixels = -(-(size - phase) // stride)
        # the last tap of the phase, first in reverse, meets pixel j in output j + low
        low = (phase + before - (first + (count - 1) * step) * dilation) // stride
        high = (phase + before - first * dilation) // stride + pixels  # one past what the last pixel meets
        kept = slice(min(max(low, 0), output), max(min(high, output), 0))
        last = first + (count - 1) * step
        reverse = slice(last, first - step if first >= step else None, -step)
        if kept.start >= kept.stop:
            continue
        pads = (max(-low, 0), max(high - output, 0))
        found.append(_Phase(slice(phase, None, stride), reverse, kept, dilation // common, pads))
    return found


def filter_gradient(x: Array, w_shape: tuple[int, ...], dy: Array, window: Window, groups: int = 1) -> Array:
    """Gradient of the filters: for every tap, what it read times what became of it, summed over all windows."""
    dw = np.zeros(w_shape, x.dtype)
    scratch = Scratch(arguments.accumulator(x.dtype))
    grouped_x, grouped_dy, grouped_dw = _split_image(x, groups), _split_image(dy, groups), _split_filters(dw, groups)
    if not (x.size and dy.size):
        return dw
    depth, filters = grouped_dw.shape[3:]
    with np.errstate(all="ignore"):
        padded = window.pads != ((0, 0), (0, 0))
        one_by_one = (padded and not all_finite(dy)) or (groups > 1 and depth * filters <= _ELEMENTWISE)
        most = depth_a_block(groups * filters * scratch.dtype.itemsize) // groups
        for tap in taps(window.kernel, depth, max(1, most)):
            total = np.zeros((groups, _numbers(tap), filters), scratch.dtype)
            row_bytes = groups * (_numbers(tap) + filters) * scratch.dtype.itemsize
            for block in outputs(*dy.shape[:3], rows_a_block(row_bytes)):
                part = None if one_by_one else patch(grouped_x, block, window, scratch)
                if part is None:
                    _filter_gradient_by_taps(total, grouped_x, grouped_dy, window, block, tap)
                    continue
                columns = _columns(windows(part, block, window), tap, scratch)
                total += np.matmul(columns.swapaxes(1, 2), _pixels(grouped_dy, block, scratch.dtype))
            i0, i1, j0, j1, k0, k1 = tap
            block_shape = (groups, i1 - i0, j1 - j0, k1 - k0, filters)
            grouped_dw[:, i0:i1, j0:j1, k0:k1] = total.reshape(block_shape)
    return dw


def _filter_gradient_by_taps(total: Array, x: Array, dy: Array, window: Window, block: Block, tap: Taps) -> None:
    """Add a block's share tap by tap, never touching padding (so that an infinite dy meets no padding)."""
    i0, i1, j0, j1, k0, k1 = tap
    by_tap = total.reshape(total.shape[0], i1 - i0, j1 - j0, k1 - k0, -1)
    elementwise = total.shape[0] > 1 and by_tap.shape[3] * by_tap.shape[4] <= _ELEMENTWISE
    for i, rows_in, rows_out in _meetings(0, range(i0, i1), x.shape, window, block):
        for j, columns_in, columns_out in _meetings(1, range(j0, j1), x.shape, window, block):
            read = x[block.n0 : block.n1, rows_in, columns_in, :, k0:k1].astype(total.dtype, copy=False)
            became = dy[block.n0 : block.n1, _shift(rows_out, block.r0), _shift(columns_out, block.c0)]
            became = became.astype(total.dtype, copy=False)
            if elementwise:
                for k in range(k1 - k0):
                    by_tap[:, i - i0, j - j0, k] += (read[..., k, None] * became).sum((0, 1, 2))
                continue
            left = read.reshape(-1, *read.shape[3:]).transpose(1, 2, 0)
            by_tap[:, i - i0, j - j0] += np.matmul(left, became.reshape(-1, *became.shape[3:]).swapaxes(0, 1))


def _split_image(x: Array, groups: int) -> Array:
    """[n, h, w, channels] as a view [n, h, w, group, channel of the group]."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height, width, groups, channels // groups)


def _split_filters(w: Array, groups: int) -> Array:
    """[kh, kw, depth, filters] as a view [group, kh, kw, depth, filter of the group]."""
    height, width, depth, filters = w.shape
    return w.reshape(height, width, depth, groups, filters // groups).transpose(3, 0, 1, 2, 4)


def _correlate(out: Array, x: Array, w: Array, window: Window, bias: Array | None) -> None:
    """Fill out [n, r, c, g, f] with the convolution of x [n, h, w, g, k] and w [g, kh, kw, k, f]."""
    if not out.size:
        return
    scratch = Scratch(arguments.accumulator(x.dtype))
    groups, _, _, depth, filters = w.shape
    itemsize = scratch.dtype.itemsize
    with np.errstate(all="ignore"):
        padded = window.pads != ((0, 0), (0, 0))
        by_taps = padded and not all_finite(w)
        elementwise = groups > 1 and depth * filters <= _ELEMENTWISE
        cuts = taps(window.kernel, depth, max(1, depth_a_block(groups * filters * itemsize) // groups))
        matrix = _filters_matrix(w, cuts[0], scratch.dtype) if len(cuts) == 1 else None
        row_bytes = groups * ((_numbers(cuts[0]) if cuts and not elementwise else depth) + filters) * itemsize
        flat = out.reshape(-1, groups, filters) if out.flags.c_contiguous and out.dtype == scratch.dtype else None
        for block in outputs(*out.shape[:3], rows_a_block(row_bytes)):
            target = _target(flat, out, block, scratch)
            part = None if by_taps or not cuts else patch(x, block, window, scratch)
            if part is None:
                _by_taps(target, x, w, window, block)
            elif elementwise:
                _elementwise(target, windows(part, block, window), w, scratch)
            else:
                _products(target, windows(part, block, window), w, cuts, matrix, scratch)
            if bias is not None:
                target += bias.astype(scratch.dtype, copy=False)
            if flat is None:
                place = out[block.n0 : block.n1, block.r0 : block.r1, block.c0 : block.c1]
                place[...] = target.swapaxes(0, 1).reshape(place.shape)


def _target(flat: Array | None, out: Array, block: Block, scratch: Scratch) -> Array:
    """Where a block's sums go, as [g, pixel, f]: in the result itself where its memory allows, else beside it."""
    pixels = (block.n1 - block.n0) * (block.r1 - block.r0) * (block.c1 - block.c0)
    if flat is None:
        return scratch.take("target", (pixels, *out.shape[3:])).swapaxes(0, 1)
    start = (block.n0 * out.shape[1] + block.r0) * out.shape[2] + block.c0
    return flat[start : start + pixels].swapaxes(0, 1)


def _numbers(tap: Taps) -> int:
    return (tap.i1 - tap.i0) * (tap.j1 - tap.j0) * (tap.k1 - tap.k0)


def _filters_matrix(w: Array, tap: Taps, dtype: np.dtype) -> Array:
    """Some taps of all filters as matrices [g, tap, f]."""
    i0, i1, j0, j1, k0, k1 = tap
    return w[:, i0:i1, j0:j1, k0:k1].reshape(w.shape[0], -1, w.shape[4]).astype(dtype, copy=False)


def _pixels(image: Array, block: Block, dtype: np.dtype) -> Array:
    """A block of an image [n, r, c, g, f] as matrices [g, pixel, f]."""
    part = image[block.n0 : block.n1, block.r0 : block.r1, block.c0 : block.c1]
    return part.reshape(-1, *image.shape[3:]).swapaxes(0, 1).astype(dtype, copy=False)


def _columns(view: Array, tap: Taps, scratch: Scratch) -> Array:
    """Windows as matrices [g, pixel, tap]: each row what a window reads.

    They are laid out with the longer run of neighbours in memory innermost: taps and channels where there are many
    channels, pixels of a row where there are few.
    """
    i0, i1, j0, j1, k0, k1 = tap
    view = view[:, :, :, i0:i1, j0:j1, :, k0:k1]
    batch, rows, columns, height, width, groups, depth = view.shape
    pixels, numbers = batch * rows * columns, height * width * depth
    if numbers == depth and view.flags.c_contiguous:
        return view.reshape(pixels, groups, depth).swapaxes(0, 1)
    together = width * depth if view.strides[4] == depth * view.strides[6] else depth
    if together >= 16 or together >= columns:  # noqa: PLR2004 - a cache line of float32
        matrix = scratch.take("columns", (groups, pixels, numbers))
        matrix.reshape(groups, batch, rows, columns, height, width, depth)[...] = view.transpose(5, 0, 1, 2, 3, 4, 6)
        return matrix
    matrix = scratch.take("columns", (groups, numbers, pixels))
    matrix.reshape(groups, height, width, depth, batch, rows, columns)[...] = view.transpose(5, 3, 4, 6, 0, 1, 2)
    return matrix.swapaxes(1, 2)


def _products(target: Array, view: Array, w: Array, cuts: list[Taps], matrix: Array | None, scratch: Scratch) -> None:
    """Sums as matrix products, one a block of taps."""
    for tap in cuts:
        filters = matrix if matrix is not None else _filters_matrix(w, tap, scratch.dtype)
        if tap is cuts[0]:
            np.matmul(_columns(view, tap, scratch), filters, out=target)
        else:
            target += np.matmul(_columns(view, tap, scratch), filters)


def _elementwise(target: Array, view: Array, w: Array, scratch: Scratch) -> None:
    """Sums tap by tap over whole images, for filters of one or a few channels (depthwise)."""
    sums = target.swapaxes(0, 1).reshape(*view.shape[:3], *w.shape[::4])
    sums.fill(0)
    term = scratch.take("term", sums.shape)
    w = w.astype(scratch.dtype, copy=False)
    for i, j, k in product(*map(range, w.shape[1:4])):
        np.multiply(view[:, :, :, i, j, :, k, None], w[:, i, j, k], out=term)
        sums += term


def _by_taps(target: Array, x: Array, w: Array, window: Window, block: Block) -> None:
    """Sums tap by tap over the outputs whose tap lies on the image: padding is never touched."""
    shape = (block.n1 - block.n0, block.r1 - block.r0, block.c1 - block.c0)
    sums = target.swapaxes(0, 1).reshape(*shape, *w.shape[::4])
    sums.fill(0)
    dtype = target.dtype
    rows = _meetings(0, range(window.kernel[0]), x.shape, window, block)
    columns = _meetings(1, range(window.kernel[1]), x.shape, window, block)
    for (i, rows_in, rows_out), (j, columns_in, columns_out) in product(rows, columns):
        read = x[block.n0 : block.n1, rows_in, columns_in].astype(dtype, copy=False).swapaxes(2, 3)
        sums[:, rows_out, columns_out] += np.matmul(read, w[:, i, j].astype(dtype, copy=False)).swapaxes(2, 3)


def _meetings(
    axis: int, among: range, shape: tuple[int, ...], window: Window, block: Block
) -> list[tuple[int, slice, slice]]:
    """For each tap of an axis that lies on the image somewhere in the block: tap, pixels read, outputs of the block."""
    size, stride, dilation, before = shape[1 + axis], window.strides[axis], window.dilations[axis], window.pads[axis][0]
    low, high = (block.r0, block.r1) if axis == 0 else (block.c0, block.c1)
    before -= low * stride
    valid = geometry.valid_taps(size, window.kernel[axis], stride, dilation, before, high - low)
    found = []
    for tap in range(max(valid.start, among.start), min(valid.stop, among.stop)):
        first, last = geometry.valid_outputs(tap, size, stride, dilation, before, high - low)
        if first < last:
            start = first * stride + tap * dilation - before
            pixels = slice(start, start + (last - first - 1) * stride + 1, stride)
            found.append((tap, pixels, slice(first, last)))
    return found


def _shift(outputs_: slice, by: int) -> slice:
    return slice(outputs_.start + by, outputs_.stop + by)
