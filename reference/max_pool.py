"""Max pooling, the fast form: NumPy arrays, one axis after the other.

May import NumPy and this folder's `arguments`, `geometry` and `blocks`. A maximum over a window is the maximum over its
rows of the maxima along each row, so the work grows with kh + kw and not with kh kw; the first maximum in row-major
order is likewise the first in the first row that holds it. No arithmetic is done, so every type is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np

from . import arguments, geometry
from .arguments import Array
from .blocks import Block, outputs
from .geometry import Run, Window

# Bytes of input a block of outputs reads: what stays in the cache from one axis to the other.
_READ = 1 << 21
# Elements of a block of a gradient that is summed beside its result (16-bit floats).
_SUMS = 1 << 21


def max_pool(x: Array, *, ksize: object, strides: object, padding: object, dilations: object = 1) -> Array:
    """Take the maximum of every window, channel by channel.

    Parameters
    ----------
    x : ndarray [n, h, w, channels]
        float64, float32, float16, bfloat16 or an integer type of 8 to 64 bits.
    ksize, strides, dilations : int, pair or 4-vector [1, h, w, 1]
        Taps of a window, pixels from window to window, pixels from tap to tap.
    padding : str or ((top, bottom), (left, right))
        "SAME", "VALID" or "SAME_LOWER" in any case, or pixels a side. Padding is never the maximum.

    Returns
    -------
    ndarray [n, output h, output w, channels]
        In the type of x. NaN wins over everything; a window without a tap on the image gives -inf or the lowest
        integer.

    Raises
    ------
    TypeError, ValueError
        A bad argument, named, before any work.

    Examples
    --------
    >>> x = -np.arange(9, dtype=np.int8).reshape(1, 3, 3, 1)
    >>> max_pool(x, ksize=2, strides=2, padding="SAME")[0, :, :, 0]
    array([[ 0, -2],
           [-6, -8]], dtype=int8)
    """
    x = arguments.image(x)
    return forward(x, _window(x, ksize, strides, padding, dilations))


def max_pool_with_argmax(
    x: Array, *, ksize: object, strides: object, padding: object, dilations: object = 1
) -> tuple[Array, Array]:
    """Maxima as `max_pool` gives them, and where they are.

    Parameters
    ----------
    x, ksize, strides, padding, dilations
        As in `max_pool`.

    Returns
    -------
    y : ndarray
        As `max_pool`.
    argmax : ndarray of int64, in the shape of y
        (row * width + column) * channels + channel of the first maximum (or the first NaN) in row-major order; -1
        where the window has no tap on the image. The batch item is not counted in.

    Raises
    ------
    TypeError, ValueError
        A bad argument, named, before any work.

    Examples
    --------
    >>> x = np.array([[3.0, 7.0], [7.0, 1.0]]).reshape(1, 2, 2, 1)
    >>> max_pool_with_argmax(x, ksize=2, strides=2, padding="VALID")[1].item()
    1
    """
    x = arguments.image(x)
    window = _window(x, ksize, strides, padding, dilations)
    arguments.result_shape((x.shape[0], *window.output, x.shape[3]), 8)
    return forward(x, window), argmax(x, window)


def max_pool_vjp(
    x: Array, dy: Array, *, ksize: object, strides: object, padding: object, dilations: object = 1
) -> Array:
    """Gradient of sum(dy * max_pool(x)) with respect to x: each window's dy goes to its first maximum.

    Parameters
    ----------
    x, ksize, strides, padding, dilations
        As in `max_pool`.
    dy : ndarray [n, output h, output w, channels]
        In the type of x.

    Returns
    -------
    ndarray
        In the shape and type of x. Overlapping windows add up, in float32 or wider; windows without a tap send nothing.

    Raises
    ------
    TypeError, ValueError
        A bad argument, named, before any work.

    Examples
    --------
    >>> x = np.array([1.0, 5.0, 5.0]).reshape(1, 1, 3, 1)
    >>> max_pool_vjp(x, np.ones((1, 1, 2, 1)), ksize=(1, 2), strides=1, padding="VALID").ravel()
    array([0., 2., 0.])
    """
    x = arguments.image(x)
    window = _window(x, ksize, strides, padding, dilations)
    shape = arguments.result_shape((x.shape[0], *window.output, x.shape[3]), x.itemsize)
    return gradient(x, arguments.gradient(dy, shape, x.dtype), window)


def _window(x: Array, ksize: object, strides: object, padding: object, dilations: object) -> Window:
    kernel = arguments.pair("ksize", ksize)
    return geometry.lay(x.shape[1:3], kernel, strides, padding, dilations)


def lowest(dtype: np.dtype[Any]) -> Any:
    """The maximum of no element: -inf, or the lowest integer."""
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


def _runs(x: Array, window: Window, block: Block) -> tuple[list[Run], list[Run]]:
    """The taps of a block of outputs that lie on the image, along its height and its width."""
    rows, columns = geometry.axis(window, 0, x.shape[1]), geometry.axis(window, 1, x.shape[2])
    return rows.part(block.r0, block.r1).runs(), columns.part(block.c0, block.c1).runs()


def _extent(runs: list[Run]) -> tuple[int, int]:
    """First pixel that any tap reads, and one past the last."""
    return min(run.pixels.start for run in runs), max(run.pixels.stop for run in runs)


def _outputs_a_block(x: Array, window: Window) -> int:
    """Outputs that read about as much as a cache holds."""
    per_output: int = -(-(x.shape[1] * x.shape[2]) // max(1, prod(window.output))) * x.shape[3] * max(4, x.itemsize)
    return max(1, _READ // max(1, per_output))


def _blocks(x: Array, window: Window) -> Iterator[Block]:
    return outputs((x.shape[0], *window.output), _outputs_a_block(x, window))


def forward(x: Array, window: Window) -> Array:
    """`max_pool` for arguments that are known to be good, in any real dtype."""
    shape = arguments.result_shape((x.shape[0], *window.output, x.shape[3]), x.itemsize)
    y = np.empty(shape, x.dtype)
    if not y.size:
        return y
    # NumPy compares 16-bit floats one by one; in float32 (which holds them all) it takes the vector unit.
    dtype = arguments.accumulator(x.dtype)
    with np.errstate(all="ignore"):
        for block in _blocks(x, window):
            n0, n1, r0, r1, c0, c1 = block
            rows, columns = _runs(x, window, block)
            target = y[n0:n1, r0:r1, c0:c1]
            if not (rows and columns):
                target[...] = lowest(x.dtype)
                continue
            left, right = _extent(columns)
            over_rows = np.empty((n1 - n0, r1 - r0, right - left, x.shape[3]), dtype)
            _maximum(x[n0:n1, :, left:right], rows, 1, over_rows)
            out = target if dtype == x.dtype else np.empty(target.shape, dtype)
            _maximum(over_rows, geometry.beginning(columns, left), 2, out)
            if out is not target:
                target[...] = out
    return y


def _maximum(x: Array, runs: list[Run], axis: int, out: Array) -> None:
    """Fill out with the maxima of x over the taps of one axis (1 or 2)."""
    along = (slice(None),) * axis
    everywhere = slice(0, out.shape[axis])
    whole = [x[(*along, run.pixels)] for run in runs if run.outputs == everywhere]
    if not whole:
        out.fill(lowest(out.dtype))
    elif len(whole) == 1:
        out[...] = whole[0]
    else:
        np.maximum(whole[0], whole[1], out=out)
        for tap in whole[2:]:
            np.maximum(out, tap, out=out)
    for run in runs:
        if run.outputs != everywhere:
            part = out[(*along, run.outputs)]
            np.maximum(part, x[(*along, run.pixels)], out=part)


def argmax(x: Array, window: Window) -> Array:
    """Flat index (row * width + column) * channels + channel of each window's first maximum; -1 where it has no tap."""
    found = np.empty((x.shape[0], *window.output, x.shape[3]), np.int64)
    with np.errstate(all="ignore"):
        for block in _blocks(x, window) if found.size else ():
            place = found[block.n0 : block.n1, block.r0 : block.r1, block.c0 : block.c1]
            place[...] = _block_argmax(x[block.n0 : block.n1], window, block)
    return found


def _block_argmax(x: Array, window: Window, block: Block) -> Array:
    """`argmax` of a block of outputs of the images x: the first tap that equals the maximum, again axis after axis."""
    height, width, channels = x.shape[1:]
    rows, columns = _runs(x, window, block)
    shape = (x.shape[0], block.r1 - block.r0, block.c1 - block.c0, channels)
    if not (rows and columns):
        return np.full(shape, -1, np.int64)
    top, bottom = _extent(rows)
    dtype = arguments.accumulator(x.dtype)
    index: type[Any] = np.int32 if height * width < 2**31 else np.int64
    # along each row of the image: the maximum of every column of windows, and the pixel that it comes from
    part = x[:, top:bottom]
    value = np.empty((*part.shape[:2], *shape[2:]), dtype)
    _maximum(part, columns, 2, value)
    pixel = _first(part, columns, 2, value, lambda run: _places(run, index)[:, None])
    # then over the rows of each window
    whole = np.empty(shape, dtype)
    rows = geometry.beginning(rows, top)
    _maximum(value, rows, 1, whole)

    def place(run: Run) -> Array:
        at: Array = (_places(run, index) + index(top))[:, None, None] * index(width) + pixel[:, run.pixels]
        return at

    found: Array = _first(value, rows, 1, whole, place).astype(np.int64) * channels + np.arange(channels)
    found[:, _empty(rows, shape[1])] = -1
    found[:, :, _empty(columns, shape[2])] = -1
    return found


def _empty(runs: list[Run], length: int) -> Array:
    """Outputs of an axis that no tap on the image belongs to."""
    empty = np.ones(length, bool)
    for run in runs:
        empty[run.outputs] = False
    return np.flatnonzero(empty)


def _first(x: Array, runs: list[Run], axis: int, maximum: Array, place: Callable[[Run], Array]) -> Array:
    """For each output, the place of the first tap that is its maximum (NaN is, where the maximum is NaN)."""
    along = (slice(None),) * axis
    nan = maximum.dtype.kind == "f" and bool(np.isnan(maximum).any())
    found = np.zeros(maximum.shape, place(runs[0]).dtype)
    for run in reversed(runs):
        cut = (*along, run.outputs)
        tap, best = x[(*along, run.pixels)], maximum[cut]
        same = tap == best
        if nan:
            same |= np.isnan(tap) & np.isnan(best)
        found[cut] = np.where(same, place(run), found[cut])
    return found


def _places(run: Run, index: type[Any]) -> Array:
    return np.arange(run.pixels.start, run.pixels.stop, run.pixels.step, dtype=index)


def gradient(x: Array, dy: Array, window: Window) -> Array:
    """Gradient of the input: dy of each window added at its first maximum."""
    dx = np.zeros(x.shape, dy.dtype)
    if not (dx.size and dy.size):
        return dx
    sums_dtype = arguments.accumulator(dy.dtype)
    with np.errstate(all="ignore"):
        plain = sums_dtype == dy.dtype and dy.itemsize in (4, 8)  # longer types have no integer of their size
        if plain and _apart(x.shape, window) and not np.isnan(x.sum(dtype=np.float64)):
            _gradient_apart(dx, x, dy, window)
            return dx
        if sums_dtype == dy.dtype:
            for block in _blocks(x, window):
                _add_block(dx[block.n0 : block.n1], 0, (x, dy), window, block)
            return dx
        for n0, n1, i0, i1, r0, r1 in _gradient_blocks(x.shape, window):
            sums = np.zeros((n1 - n0, i1 - i0, *x.shape[2:]), sums_dtype)
            for n, _, r, r_end, c, c_end in outputs((1, r1 - r0, window.output[1]), _outputs_a_block(x, window)):
                block = Block(n0 + n, n1, r0 + r, r0 + r_end, c, c_end)
                _add_block(sums, i0, (x, dy), window, block)
            dx[n0:n1, i0:i1] = sums
    return dx


def _apart(shape: tuple[int, ...], window: Window) -> bool:
    """Whether no pixel is in two windows and no window has padding: each pixel then gets all of a dy or nothing."""
    return (
        window.strides == window.kernel
        and window.dilations == (1, 1)
        and window.pads == ((0, 0), (0, 0))
        and all(n * s <= size for n, s, size in zip(window.output, window.strides, shape[1:3], strict=True))
    )


def _gradient_apart(dx: Array, x: Array, dy: Array, window: Window) -> None:
    """Fill dx, zeros, for windows that lie apart and hold no NaN: tap by tap, each maximum is taken once, by bits."""
    (kernel_h, kernel_w), (rows, columns) = window.kernel, window.output
    bits = np.dtype(f"i{dy.itemsize}")
    dy = np.ascontiguousarray(dy).view(bits)
    for n0, n1, *_ in outputs((x.shape[0], 1, 1), max(1, _READ // max(1, prod(x.shape[1:]) * x.itemsize))):
        shape = (n1 - n0, rows, kernel_h, columns, kernel_w, x.shape[3])
        read = x[n0:n1, : rows * kernel_h, : columns * kernel_w].reshape(shape)
        sent = dx.view(bits)[n0:n1, : rows * kernel_h, : columns * kernel_w].reshape(shape)
        places = [(slice(None), slice(None), i, slice(None), j) for i in range(kernel_h) for j in range(kernel_w)]
        maximum = read[places[0]].copy()
        for place in places[1:]:
            np.maximum(maximum, read[place], out=maximum)
        free = np.ones(maximum.shape, bool)
        for place in places:
            here = read[place] == maximum
            here &= free
            free ^= here
            np.bitwise_and(np.negative(here.view(np.int8), dtype=bits), dy[n0:n1], out=sent[place])


def _add_block(sums: Array, first: int, arrays: tuple[Array, Array], window: Window, block: Block) -> None:
    """Add a block's dy at its maxima to the rows of x from `first` on that `sums` holds; others are left out."""
    x, dy = (array[block.n0 : block.n1] for array in arrays)
    at = _block_argmax(x, window, block)
    given = dy[:, block.r0 : block.r1, block.c0 : block.c1]
    row, size = prod(x.shape[2:]), prod(sums.shape[1:])
    at -= np.where(at < 0, 0, first * row)
    keep = (at >= 0) & (at < size)
    at += (np.arange(len(x)) * size)[:, None, None, None]
    np.add.at(sums.reshape(-1), at[keep], given[keep].astype(sums.dtype, copy=False))


def _gradient_blocks(shape: tuple[int, ...], window: Window) -> list[tuple[int, int, int, int, int, int]]:
    """Images n0:n1 and rows i0:i1 of the input, with the rows r0:r1 of windows that reach them."""
    batch, height, width, channels = shape
    stride, before = window.strides[0], window.pads[0][0]
    span = geometry.effective_kernel(window.kernel[0], window.dilations[0])
    found = []
    for n0, n1, i0, i1, _, _ in outputs((batch, height, 1), max(1, _SUMS // max(1, width * channels))):
        r0 = max(0, -((span - 1 - before - i0) // stride))
        r1 = min(window.output[0], (i1 - 1 + before) // stride + 1)
        if r0 < r1:
            found.append((n0, n1, i0, i1, r0, r1))
    return found
