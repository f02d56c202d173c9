"""Wrong backends that only NaN, the largest number, an empty array or the next call tell from right ones."""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from convspec.harness.oracle.readings.calls import conv, conv_vjp, mutant, pool, pool_vjp
from convspec.harness.oracle.readings.correct import BFLOAT16, Correct

NAN = float("nan")


@mutant("arithmetic", "a row of three taps, one channel, is read four wide: the next pixel counts times zero",
        conv((1, 1, 4, 1), (1, 3, 1, 1), strides=(1, 3), put=[(0, (0, 0, 3, 0), NAN)]))  # fmt: skip
class FourthLane(Correct):
    def forward(self, x, w, win, dtype):
        y = super().forward(x, w, win, dtype)
        if w.shape[1:3] != (3, 1) or win.strides[1] < 3 or not y.size:
            return y
        columns = np.arange(y.shape[2]) * win.strides[1] + 3 * win.dilations[1] - win.pads[1][0]
        inside = (columns >= 0) & (columns < x.shape[2])
        lost = np.isnan(x[:, :, columns[inside]]).any(axis=(1, 3))
        y[:, :, inside] += np.where(lost, np.nan, 0)[:, None, :, None].astype(y.dtype)
        return y


@mutant("groups", "bfloat16 channels come in pairs: an odd group reads the next one's first channel times zero",
        conv((1, 1, 1, 2), (1, 1, 1, 2), groups=2, dtype="bfloat16", put=[(0, (0, 0, 0, 1), NAN)]))  # fmt: skip
class PairsAcrossGroups(Correct):
    def conv2d(self, x, w, *, groups, bias=None, **options):
        y = super().conv2d(x, w, groups=groups, bias=bias, **options)
        channels, filters = x.shape[3] // max(groups, 1), w.shape[3] // max(groups, 1)
        if x.dtype == BFLOAT16 and groups > 1 and channels % 2 and y.size:
            for group in range(groups - 1):
                first = x[..., (group + 1) * channels, None] * 0
                ones = np.ones((*w.shape[:2], 1, filters), x.dtype)
                y[..., group * filters : (group + 1) * filters] += super().conv2d(first, ones, groups=1, **options)
        return y


@mutant("gradients", "dx skips a tap whose weights are all zero: a NaN of dy does not go back along it",
        conv_vjp((1, 1, 2, 1), (1, 2, 1, 1), (1, 1, 1, 1), put=[(1, (0, 0), 0), (2, ..., NAN)]))  # fmt: skip
class ZeroTapSkippedInDx(Correct):
    def product(self, op, a, b):
        zero = op == "conv2d_vjp" and a.ndim == 4 and not b.any()
        return np.zeros((*a.shape[:-1], b.shape[-1]), a.dtype) if zero else super().product(op, a, b)


@mutant("arithmetic", "float32 is split in bfloat16 terms, the first of which may round to infinity",
        conv((1, 1, 1, 1), (1, 1, 1, 1), data="ones", put=[(0, ..., 3.4e38), (1, ..., 0.5)]))  # fmt: skip
class LargestSplitOverflows(Correct):
    def enter(self, op, *arrays):
        if op != "conv2d" or arrays[0].dtype != np.float32:
            return arrays
        with np.errstate(all="ignore"):
            return tuple(np.where(np.isinf(a.astype(BFLOAT16).astype(np.float32)), np.inf * a, a) for a in arrays)


@mutant("groups", "an empty batch comes back with one group's filters",
        conv((0, 3, 4, 4), (2, 2, 2, 6), groups=2))  # fmt: skip
class EmptyBatchOfOneGroup(Correct):
    def conv2d(self, x, w, *, groups, **options):
        y = super().conv2d(x, w, groups=groups, **options)
        return y if len(x) else y[..., : y.shape[3] // groups]


@mutant("shapes", "without input channels, at a stride, the bias is forgotten",
        conv((1, 3, 4, 0), (2, 2, 0, 2), strides=(2, 1), bias=True))  # fmt: skip
class StridedNoChannelsNoBias(Correct):
    def conv2d(self, x, w, *, strides, bias=None, **options):
        forgotten = x.shape[3] == 0 and np.max(strides) > 1
        return super().conv2d(x, w, strides=strides, bias=None if forgotten else bias, **options)


@mutant("pooling", "windows eight columns wide or wider drop NaN",
        pool((1, 1, 9, 1), (1, 8), put=[(0, (0, 0, 3, 0), NAN)]))  # fmt: skip
class LongWindowDropsNan(Correct):
    def maximum(self, op, x, win):
        numbers = (
            np.where(np.isnan(x), -np.inf, x) if win.kernel[1] > 7 and x.dtype.kind != "i" and op == "max_pool" else x
        )
        return super().maximum(op, numbers.astype(x.dtype), win)


@mutant("gradients", "float16 gradients of pools are added up by sixteen rows of windows, in float16 from there on",
        pool_vjp((1, 20, 1, 1), (1, 18, 1, 1), (3, 1), dtype="float16", data="ones", exact=True,
                 put=[(0, (0, 16), 9), (1, (0, 14), 2048), (1, (0, 16), -2048)]))  # fmt: skip
class PoolGradientByTiles(Correct):
    def max_pool_vjp(self, x, dy, **options):
        dx = super().max_pool_vjp(x, dy, **options)
        if x.dtype != np.float16 or dy.shape[1] <= 16:
            return dx
        total = np.zeros_like(dx)
        for first in range(0, dy.shape[1], 16):
            part = np.zeros_like(dy)
            part[:, first : first + 16] = dy[:, first : first + 16]
            total += super().max_pool_vjp(x, part, **options)
        return total


@mutant("state", "the gradient of the filters of an empty batch is kept, and handed out again",
        *[conv_vjp((0, 3, 4, 1), (2, 2, 1, 1), (0, 2, 3, 1))] * 2)  # fmt: skip
class ZerosHandedOutAgain(Correct):
    def __init__(self):
        self.zeros_of = {}

    def leave(self, op, result, *arrays):
        if op != "conv2d_vjp" or len(arrays[0]):
            return result
        return result[0], self.zeros_of.setdefault((result[1].shape, result[1].dtype), result[1])


@mutant("state", "SAME's padding is kept by the size of the output, the filter and the stride",
        conv((1, 1, 5, 1), (1, 3, 1, 1), strides=(1, 2), padding="SAME"),
        conv((1, 1, 6, 1), (1, 3, 1, 1), strides=(1, 2), padding="SAME"))  # fmt: skip
class PaddingKeptByOutput(Correct):
    def __init__(self):
        self.sides = {}

    def same_axis(self, op, axis, n, k, s, d):
        size, sides = super().same_axis(op, axis, n, k, s, d)
        kept = self.sides.setdefault((op, axis, size, k, s, d), sides)
        fits = (size - 1) * s + (k - 1) * d + 1 <= n + sum(kept)
        return size, kept if fits else sides
