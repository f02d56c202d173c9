"""How the fast form cuts its work: blocks of outputs and of taps, and the patches of the image that they read.

May import NumPy, `geometry` and `arguments`. It bounds the memory of `conv2d` and `max_pool` (at most 64 MB above
inputs and results, whatever the kernel), and keeps what is worked on in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import isfinite, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .arguments import Array
from .geometry import Reach, Window, axis

# Bytes of one matrix of columns: a few of them fit the last cache, and filling one is long beside a call.
COLUMNS = 1 << 21
# With long columns more is allowed, so that a product has rows enough to be worth packing the filters for.
COLUMNS_MOST = 1 << 23
ROWS_WANTED = 256
# Columns longer than this are cut into blocks of taps.
DEPTH_MOST = 8192
FILTERS_MOST = 1 << 24
# A padded copy larger than this is not made: taps are then taken one at a time.
PATCH_MOST = 1 << 24


class Block(NamedTuple):
    """Outputs [n0:n1, r0:r1, c0:c1]; consecutive in a C-contiguous result by construction."""

    n0: int
    n1: int
    r0: int
    r1: int
    c0: int
    c1: int


class Taps(NamedTuple):
    """Taps [i0:i1, j0:j1] over channels [k0:k1] of each group."""

    i0: int
    i1: int
    j0: int
    j1: int
    k0: int
    k1: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Kernel rows, kernel columns and channels."""
        return self.i1 - self.i0, self.j1 - self.j0, self.k1 - self.k0


def _runs(length: int, most: int) -> Iterator[tuple[int, int]]:
    """Cut 0 .. length into equal runs of at most `most`."""
    count = max(1, -(-length // max(1, most)))
    step = -(-length // count)
    return ((low, min(low + step, length)) for low in range(0, length, step)) if length else iter(())


def outputs(shape: tuple[int, ...], most: int) -> Iterator[Block]:
    """Cut the outputs into blocks of at most `most` pixels: whole images, else whole rows, else parts of a row."""
    batch, height, width = shape[:3]
    if most >= height * width:
        for n0, n1 in _runs(batch, most // max(1, height * width)):
            yield Block(n0, n1, 0, height, 0, width)
        return
    for n in range(batch):
        if most >= width:
            for r0, r1 in _runs(height, most // width):
                yield Block(n, n + 1, r0, r1, 0, width)
        else:
            for r in range(height):
                for c0, c1 in _runs(width, most):
                    yield Block(n, n + 1, r, r + 1, c0, c1)


def taps(kernel: tuple[int, int], depth: int, most: int) -> list[Taps]:
    """Cut the taps into blocks of at most `most` numbers: whole rows of the kernel, parts of one, or of a tap."""
    height, width = kernel
    if depth == 0:
        return []
    if most >= width * depth:
        return [Taps(i0, i1, 0, width, 0, depth) for i0, i1 in _runs(height, most // (width * depth))]
    if most >= depth:
        return [Taps(i, i + 1, j0, j1, 0, depth) for i in range(height) for j0, j1 in _runs(width, most // depth)]
    cuts = list(_runs(depth, most))
    return [Taps(i, i + 1, j, j + 1, k0, k1) for i in range(height) for j in range(width) for k0, k1 in cuts]


def rows_a_block(row_bytes: int) -> int:
    """Outputs a block, when each takes `row_bytes`."""
    row_bytes = max(1, row_bytes)
    return max(1, min(max(COLUMNS // row_bytes, ROWS_WANTED), COLUMNS_MOST // row_bytes))


def depth_a_block(filters_bytes: int) -> int:
    """Length of columns, when each tap's filters take `filters_bytes`."""
    return max(1, min(DEPTH_MOST, FILTERS_MOST // max(1, filters_bytes)))


def is_finite(a: Array) -> bool:
    """Whether nothing is infinite or NaN, without a temporary: a sum is finite only if its terms are.

    A sum of finite numbers can overflow; the answer is then no, which costs time and nothing else.
    """
    with np.errstate(all="ignore"):
        return a.dtype.kind in "iu" or isfinite(a.sum(dtype=_summing(a.dtype)))


def _summing(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype if dtype.itemsize > 4 and dtype.kind == "f" else np.dtype(np.float32)


@lru_cache(maxsize=1024)
def reaches(block: Block, height: int, width: int, window: Window) -> tuple[Reach, Reach]:
    """The rows and the columns of an image of that size that a block of outputs reads."""
    rows, columns = axis(window, 0, height), axis(window, 1, width)
    return rows.part(block.r0, block.r1).reach(), columns.part(block.c0, block.c1).reach()


def image_blocks(
    out_shape: tuple[int, ...], x_shape: tuple[int, ...], window: Window, row_bytes: int, itemsize: int
) -> Iterator[Block]:
    """Blocks of outputs of `row_bytes` each, of as many whole images as a patch may hold (one by one if none fits)."""
    most, image = rows_a_block(row_bytes), out_shape[1] * out_shape[2]
    rows, columns = reaches(Block(0, 1, 0, out_shape[1], 0, out_shape[2]), x_shape[1], x_shape[2], window)
    images = PATCH_MOST // max(1, rows.span * columns.span * prod(x_shape[3:]) * itemsize)
    return outputs(out_shape, min(most, image * max(1, images)) if most >= image else most)


class Scratch:
    """Memory for temporaries, reused from block to block: a fresh allocation costs more than what it is for."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._kept: dict[str, Array] = {}

    def take(self, name: str, shape: tuple[int, ...]) -> Array:
        """An uninitialised array of that shape; it is overwritten by the next `take` of that name."""
        size = prod(shape)
        kept = self._kept.get(name)
        if kept is None or kept.size < size:
            kept = self._kept[name] = np.empty(size, self.dtype)
        return kept[:size].reshape(shape)


def patch(x: Array, block: Block, window: Window, scratch: Scratch) -> Array | None:
    """What a block of outputs reads of x [n, h, w, ...], padding as zeros, in the type that is worked in.

    x itself where it needs neither padding nor conversion; None where a copy would be too large.
    """
    rows, columns = reaches(block, x.shape[1], x.shape[2], window)
    inside = x[block.n0 : block.n1, rows.start : rows.stop, columns.start : columns.stop]
    whole = inside.shape[1] == rows.span and inside.shape[2] == columns.span
    if whole and x.dtype == scratch.dtype:
        return inside
    shape = (inside.shape[0], rows.span, columns.span, *x.shape[3:])
    if prod(shape) * scratch.dtype.itemsize > PATCH_MOST:
        return None
    padded = scratch.take("patch", shape)
    if not whole:
        padded.fill(0)
    padded[:, rows.head : rows.head + inside.shape[1], columns.head : columns.head + inside.shape[2]] = inside
    return padded


def windows(patch_: Array, block: Block, window: Window) -> Array:
    """View a patch [n, h, w, g, c] as its windows [n, row, column, kernel row, kernel column, g, c]."""
    (kernel_h, kernel_w), (stride_h, stride_w), (dilation_h, dilation_w) = window[:3]
    batch, row, column, group, channel = patch_.strides
    shape = (
        patch_.shape[0],
        block.r1 - block.r0,
        block.c1 - block.c0,
        kernel_h,
        kernel_w,
        patch_.shape[3],
        patch_.shape[4],
    )
    strides = (
        batch,
        row * stride_h,
        column * stride_w,
        row * dilation_h,
        column * dilation_w,
        group,
        channel,
    )
    if patch_.flags.c_contiguous:  # as_strided takes several microseconds, most of a small call
        return np.ndarray(shape, patch_.dtype, patch_, 0, strides)
    return as_strided(patch_, shape, strides)
