"""Wrong backends that are right until one number is far: indices in narrow integers, fixed tables, unrolled loops."""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from convspec.harness.oracle.readings.calls import argmax, conv, conv_vjp, mutant, pool, pool_vjp
from convspec.harness.oracle.readings.correct import Correct

WIDE = (1, 1, 41, 1)


def below(count):
    """Positions whose quotient by `count` falls one short where it is a product with the reciprocal in float32."""
    n = np.arange(4 * count)
    return n[np.floor(n.astype(np.float32) * (np.float32(1) / np.float32(count))).astype(int) != n // count]


@mutant("geometry", "max_pool: rows of outputs by a float32 reciprocal of the width, which falls short for 41, 47, 55",
        pool((1, 2, 41, 1), (1, 1)))  # fmt: skip
class PoolRowByReciprocal(Correct):
    def leave(self, op, result, *arrays):
        if op == "max_pool" and result.size:
            width = result.shape[2]
            for n in below(width):
                if n // width < result.shape[1]:
                    result[:, n // width, n % width] = result[:, n // width - 1, -1]
        return result


@mutant("groups", "the group of a filter by a float32 reciprocal, which falls short for 41 filters a group",
        conv((1, 1, 1, 2), (1, 1, 1, 82), groups=2))  # fmt: skip
class GroupByReciprocal(Correct):
    def conv2d(self, x, w, *, groups, bias=None, **options):
        y = super().conv2d(x, w, groups=groups, bias=bias, **options)
        each, channels = w.shape[3] // groups, w.shape[2]
        for n in below(each) if groups > 1 and each else ():
            if n < w.shape[3]:
                group = n // each - 1
                own = x[..., group * channels : (group + 1) * channels]
                y[..., n] = super().conv2d(own, w[..., n : n + 1], groups=1, **options)[..., 0]
        return y


@mutant("gradients", "max_pool_vjp keeps the column of a maximum in a byte",
        pool_vjp((1, 1, 257, 1), (1, 1, 257, 1), (1, 1)))  # fmt: skip
class PoolGradientColumnInByte(Correct):
    def leave(self, op, result, *arrays):
        if op == "max_pool_vjp" and result.shape[2] > 256:
            result[:, :, : result.shape[2] - 256] += result[:, :, 256:]
            result[:, :, 256:] = 0
        return result


@mutant("pooling", "argmax keeps its position in the plane in 16 bits", argmax((1, 2, 33000, 1), (1, 1)))
class ArgmaxInShort(Correct):
    def flat_index(self, row, column, x):
        return (row * x.shape[2] + column) % 2**16 * x.shape[3] + np.arange(x.shape[3])


@mutant("geometry", "at a stride a row of a filter has sixteen taps at most",
        conv((1, 1, 18, 1), (1, 17, 1, 1), strides=(1, 2)))  # fmt: skip
class SixteenTaps(Correct):
    def conv2d(self, x, w, *, strides, **options):
        if w.ndim == 4 and w.shape[1] > 16 and np.max(strides) > 1:
            w = w.copy()
            w[:, 16:] = 0
        return super().conv2d(x, w, strides=strides, **options)


@mutant("shapes", "outputs past the 64th of a row forget the left padding at a stride of two",
        conv((1, 1, 132, 1), (1, 4, 1, 1), strides=(1, 2), padding="SAME"))  # fmt: skip
class SecondTileWithoutPadding(Correct):
    def forward(self, x, w, win, dtype):
        y = super().forward(x, w, win, dtype)
        (left, right), strided = win.pads[1], win.strides[1] == 2
        if strided and left and y.shape[2] > 64:
            moved = win._replace(pads=(win.pads[0], (0, left + right)))
            y[:, :, 64:] = super().forward(x, w, moved, dtype)[:, :, 64:]
        return y


@mutant("gradients", "dx leaves out taps that share a remainder by the common factor of stride and dilation",
        conv_vjp((1, 1, 23, 1), (1, 4, 1, 1), (1, 1, 2, 1), strides=(1, 4), dilations=(1, 6)))  # fmt: skip
class RatesWithCommonFactor(Correct):
    def input_gradient(self, x, w, dy, win, dtype):
        stride, rate = win.strides[1], win.dilations[1]
        if 1 < np.gcd(stride, rate) < min(stride, rate):
            w = w.copy()
            w[:, 2:] = 0
        return super().input_gradient(x, w, dy, win, dtype)


@mutant("geometry", "a stride along the height is kept in four bits",
        conv((1, 19, 1, 1), (1, 1, 1, 1), strides=(17, 1)))  # fmt: skip
class StrideInFourBits(Correct):
    def forward(self, x, w, win, dtype):
        if win.strides[0] > 15:
            win = win._replace(strides=(max(win.strides[0] % 16, 1), win.strides[1]))
        return super().forward(x, w, win, dtype)


@mutant("pooling", "max_pool's explicit padding is a signed byte: from 128 on the windows start at the image",
        pool((1, 1, 3, 1), (1, 2), padding=((0, 0), (130, 1))))  # fmt: skip
class PoolPaddingInByte(Correct):
    def maximum(self, op, x, win):
        (left, right) = win.pads[1]
        if op == "max_pool" and left > 127:
            win = win._replace(pads=(win.pads[0], (0, left + right)))
        return super().maximum(op, x, win)


@mutant("gradients", "at a stride dw counts the last 64 images of a batch only",
        conv_vjp((65, 1, 1, 1), (1, 1, 1, 1), (65, 1, 1, 1), strides=(2, 1)))  # fmt: skip
class LastChunkOfBatch(Correct):
    def filter_gradient(self, x, w, dy, win, dtype):
        first = -64 if max(win.strides) > 1 else 0
        return super().filter_gradient(x[first:], w, dy[first:], win, dtype)


@mutant("gradients", "dx of the groups past the 32nd is zero",
        conv_vjp((1, 1, 1, 33), (1, 1, 1, 33), (1, 1, 1, 33), groups=33))  # fmt: skip
class GroupsBeyondGrid(Correct):
    def join_groups(self, op, what, parts):
        return super().join_groups(op, what, [p * 0 if what == "dx" and n > 31 else p for n, p in enumerate(parts)])


@mutant("pooling", "a window beyond the right edge has the last column's maximum, at a stride",
        pool((1, 1, 2, 1), (1, 2), strides=(1, 2), padding=((0, 0), (0, 4))))  # fmt: skip
class WindowBeyondEdgeClipped(Correct):
    def maximum(self, op, x, win):
        best, chosen = super().maximum(op, x, win)
        if op == "max_pool" and best.size and x.size and win.strides[1] > 1 and win.kernel[0] == 1 == win.strides[0]:
            beyond = np.arange(best.shape[2]) * win.strides[1] - win.pads[1][0] >= x.shape[2]
            if beyond.any() and best.shape[1] == x.shape[1]:
                best[:, :, beyond] = x[:, :, -1:]
        return best, chosen


@mutant("geometry", "a 1x1 filter at a stride has no bias over padding",
        conv((1, 1, 3, 1), (1, 1, 1, 1), strides=(1, 2), padding=((0, 0), (1, 0)), bias=True))  # fmt: skip
class NoBiasOverPadding(Correct):
    def conv2d(self, x, w, *, bias=None, strides, **options):
        y = super().conv2d(x, w, bias=bias, strides=strides, **options)
        if bias is None or w.shape[:2] != (1, 1) or np.max(strides) == 1:
            return y
        return np.where(super().conv2d(x * 0 + 1, abs(w) + 1, strides=strides, **options) == 0, 0, y).astype(y.dtype)


@mutant("shapes", "the bias is added with every 64 input channels",
        conv((1, 1, 1, 65), (1, 1, 65, 1), bias=True))  # fmt: skip
class BiasForEachBlock(Correct):
    def conv2d(self, x, w, *, bias=None, **options):
        return super().conv2d(x, w, bias=None if bias is None else bias * max(-(-x.shape[3] // 64), 1), **options)


@mutant("gradients", "float16 gradients of the image saturate at the largest number",
        conv_vjp((1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 1, 1), dtype="float16", data="ones", scale=300))  # fmt: skip
class GradientSaturates(Correct):
    def leave(self, op, result, *arrays):
        if op != "conv2d_vjp" or result[0].dtype != np.float16:
            return result
        return np.where(np.isinf(result[0]), np.copysign(np.float16(65504), result[0]), result[0]), result[1]
