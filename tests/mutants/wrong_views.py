"""Wrong backends, class layout: views that are dense along some axes, or begin between two elements."""

import sys
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import as_strided

sys.path.append(str(Path(__file__).resolve().parents[1]))

from convspec.harness.oracle.readings.calls import conv, conv_vjp, mutant
from convspec.harness.oracle.readings.correct import Correct

X, W, DY = (2, 3, 4, 2), (2, 2, 2, 3), (2, 2, 3, 3)


class Reads(Correct):
    """How conv2d reads its image."""

    def read(self, x):
        return x

    def enter(self, op, *arrays):
        reads = op == "conv2d" and arrays[0].ndim == 4 and arrays[0].size
        return (self.read(arrays[0]), *arrays[1:]) if reads else arrays


@mutant("layout", "an image that begins between two elements is read as zeros", conv(X, W, layout=("unaligned", "C")))
class UnalignedIsZero(Reads):
    def read(self, x):
        return x if x.flags.aligned else np.zeros_like(x)


@mutant("layout", "an image that is broadcast along the batch is there in the first item alone",
        conv(X, W, layout=("batch", "C")))  # fmt: skip
class BatchBroadcastOnce(Reads):
    def read(self, x):
        if x.strides[0] or len(x) < 2:
            return x
        x = x.copy()
        x[1:] = 0
        return x


@mutant("layout", "the step from pixel to pixel is taken for the number of channels",
        conv(X, W, layout=("channels", "C")))  # fmt: skip
class PixelStepIgnored(Reads):
    def read(self, x):
        n, h, w, c = x.strides
        dense = x.shape[3] * x.itemsize
        return as_strided(x, strides=(n, h, dense, c)) if c == x.itemsize and w > dense else x


@mutant("layout", "rows are taken to follow each other where pixels do", conv(X, W, layout=("crop", "C")))
class RowStepIgnored(Reads):
    def read(self, x):
        n, h, w, c = x.strides
        dense = x.shape[2] * w
        pixels_follow = c == x.itemsize and w == x.shape[3] * c and h > dense
        return as_strided(x, strides=(n, dense, w, c)) if pixels_follow else x


@mutant("layout", "a dy of one number, broadcast, counts once an image",
        conv_vjp(X, W, DY, layout=("C", "C", "one")))  # fmt: skip
class GradientOfSumOnce(Correct):
    def enter(self, op, *arrays):
        dy = arrays[-1]
        if op != "conv2d_vjp" or any(dy.strides) or dy.size < 2:
            return arrays
        once = np.zeros_like(dy)
        once[:, :1, :1] = dy[:, :1, :1]
        return (*arrays[:-1], once)
