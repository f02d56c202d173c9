"""The sum that every convolution is: a block of outputs at a time, as matrix products over columns of the image.

Each image is a product of its own, and nothing is decided by how many there are: what an image gives does not depend on
its neighbours in the batch, to the bit (clause `batch-invariance`).

May import NumPy and this folder's `arguments`, `geometry` and `blocks`. Images come as [n, h, w, group, channel] and
filters as [group, kernel h, kernel w, channel, filter], so that one group is no special case.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from math import prod
from typing import Any

import numpy as np

from . import arguments
from .arguments import Array
from .blocks import Block, Scratch, Taps, depth_a_block, image_blocks, is_finite, patch, taps, windows
from .geometry import Axis, Window, axis

# A filter of this many numbers a tap is applied element by element; a matrix product would be mostly overhead.
ELEMENTWISE = 4
# A convolution of one group with at most so many products an image is done in one step.
SMALL = 1 << 14
# Products that take as long as handling one more tap.
WASTE = 1 << 20


def split_image(x: Array, groups: int) -> Array:
    """[n, h, w, channels] as a view [n, h, w, group, channel of the group]."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height, width, groups, channels // groups)


def split_filters(w: Array, groups: int) -> Array:
    """[kh, kw, depth, filters] as a view [group, kh, kw, depth, filter of the group]."""
    height, width, depth, filters = w.shape
    return w.reshape(height, width, depth, groups, filters // groups).transpose(3, 0, 1, 2, 4)


def correlate(out: Array, x: Array, w: Array, window: Window, bias: Array | None) -> None:
    """Fill out [n, r, c, g, f] with the convolution of x [n, h, w, g, k] and w [g, kh, kw, k, f]."""
    if not out.size:
        return
    scratch = Scratch(arguments.accumulator(x.dtype))
    groups, _, _, depth, filters = w.shape
    itemsize = scratch.dtype.itemsize
    with np.errstate(all="ignore"):
        padded = window.pads != ((0, 0), (0, 0))
        by_taps = padded and (_mostly_padding(x, w, window) or not is_finite(w))
        elementwise = groups > 1 and depth * filters <= ELEMENTWISE
        cuts = taps(window.kernel, depth, max(1, depth_a_block(groups * filters * itemsize) // groups))
        whole = [(cuts[0], filters_matrix(w, cuts[0], scratch.dtype))] if len(cuts) == 1 else None
        row_bytes = groups * ((prod(cuts[0].shape) if cuts and not elementwise else depth) + filters) * itemsize
        flat = out.reshape(-1, groups, filters) if out.flags.c_contiguous and out.dtype == scratch.dtype else None
        for block in image_blocks(out.shape, x.shape, window, row_bytes, itemsize):
            target = _target(flat, out, block, scratch)
            part = None if by_taps or not cuts else patch(x, block, window, scratch)
            if part is None:
                _by_taps(target, x, w, window, block)
            elif elementwise:
                _elementwise(target, windows(part, block, window), w, scratch)
            else:
                # one block of taps at a time, so that a conversion of large filters is never held whole
                matrices = whole or ((tap, filters_matrix(w, tap, scratch.dtype)) for tap in cuts)
                _products(target, windows(part, block, window), matrices, scratch)
            if bias is not None:
                target += bias.astype(scratch.dtype, copy=False)
            if flat is None:
                place = out[block.n0 : block.n1, block.r0 : block.r1, block.c0 : block.c1]
                place[...] = target.swapaxes(0, 1).reshape(place.shape)


def _mostly_padding(x: Array, w: Array, window: Window) -> bool:
    """Whether most products would be with padding, and so many that going tap by tap over the others is faster."""
    along = [axis(window, number, x.shape[1 + number]) for number in (0, 1)]
    if all(one.reach().span < 2 * one.size for one in along):
        return False
    met = [sum(run.outputs.stop - run.outputs.start for run in one.runs()) for one in along]
    products = [one.output * one.kernel for one in along]
    wasted: int = (prod(products) - prod(met)) * w.shape[0] * w.shape[3] * w.shape[4]
    return 4 * prod(met) < prod(products) and wasted > WASTE * prod(window.kernel)


def _target(flat: Array | None, out: Array, block: Block, scratch: Scratch) -> Array:
    """Where a block's sums go, as [g, pixel, f]: in the result itself where its memory allows, else beside it."""
    pixels = (block.n1 - block.n0) * (block.r1 - block.r0) * (block.c1 - block.c0)
    if flat is None:
        return scratch.take("target", (pixels, *out.shape[3:])).swapaxes(0, 1)
    start = (block.n0 * out.shape[1] + block.r0) * out.shape[2] + block.c0
    return flat[start : start + pixels].swapaxes(0, 1)


def filters_matrix(w: Array, tap: Taps, dtype: np.dtype[Any]) -> Array:
    """Some taps of all filters as matrices [g, tap, f]."""
    i0, i1, j0, j1, k0, k1 = tap
    return w[:, i0:i1, j0:j1, k0:k1].reshape(w.shape[0], -1, w.shape[4]).astype(dtype, copy=False)


def pixels_matrix(image: Array, block: Block, dtype: np.dtype[Any]) -> Array:
    """A block of an image [n, r, c, g, f] as matrices [g, pixel, f]."""
    part = image[block.n0 : block.n1, block.r0 : block.r1, block.c0 : block.c1]
    return part.reshape(-1, *image.shape[3:]).swapaxes(0, 1).astype(dtype, copy=False)


def columns_matrix(view: Array, tap: Taps, scratch: Scratch) -> Array:
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
    if numbers == depth or together >= min(16, columns) or rows * columns * numbers <= SMALL:
        matrix = scratch.take("columns", (groups, pixels, numbers))
        matrix.reshape(groups, batch, rows, columns, height, width, depth)[...] = view.transpose(5, 0, 1, 2, 3, 4, 6)
        return matrix
    matrix = scratch.take("columns", (groups, numbers, pixels))
    matrix.reshape(groups, height, width, depth, batch, rows, columns)[...] = view.transpose(5, 3, 4, 6, 0, 1, 2)
    return matrix.swapaxes(1, 2)


def _products(target: Array, view: Array, filters: Iterable[tuple[Taps, Array]], scratch: Scratch) -> None:
    """Sums as matrix products, one an image and a block of taps."""
    batch, groups = view.shape[0], view.shape[5]
    target = target.reshape(groups, batch, -1, target.shape[2])
    for number, (tap, matrix) in enumerate(filters):
        columns = columns_matrix(view, tap, scratch).reshape(groups, batch, target.shape[2], -1)
        if number:
            target += np.matmul(columns, matrix[:, None])
        else:
            np.matmul(columns, matrix[:, None], out=target)


def _elementwise(target: Array, view: Array, w: Array, scratch: Scratch) -> None:
    """Sums tap by tap over whole images, for filters of one or a few channels (depthwise)."""
    sums = target.swapaxes(0, 1).reshape(*view.shape[:3], w.shape[0], w.shape[4])
    sums.fill(0)
    term = scratch.take("term", sums.shape)
    w = w.astype(scratch.dtype, copy=False)
    for i, j, k in product(*map(range, w.shape[1:4])):
        np.multiply(view[:, :, :, i, j, :, k, None], w[:, i, j, k], out=term)
        sums += term


def _by_taps(target: Array, x: Array, w: Array, window: Window, block: Block) -> None:
    """Sums tap by tap over the outputs whose tap lies on the image: padding is never touched."""
    shape = (block.n1 - block.n0, block.r1 - block.r0, block.c1 - block.c0)
    sums = target.swapaxes(0, 1).reshape(*shape, w.shape[0], w.shape[4])
    sums.fill(0)
    dtype = target.dtype
    rows, columns = axes(x, window, block)
    for row, column in product(rows.runs(), columns.runs()):
        read = x[block.n0 : block.n1, row.pixels, column.pixels].astype(dtype, copy=False).swapaxes(2, 3)
        term = np.matmul(read, w[:, row.tap, column.tap].astype(dtype, copy=False))
        sums[:, row.outputs, column.outputs] += term.swapaxes(2, 3)


def axes(x: Array, window: Window, block: Block) -> tuple[Axis, Axis]:
    """Height and width of a block of outputs."""
    rows, columns = axis(window, 0, x.shape[1]), axis(window, 1, x.shape[2])
    return rows.part(block.r0, block.r1), columns.part(block.c0, block.c1)
