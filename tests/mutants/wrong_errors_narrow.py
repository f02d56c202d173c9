"""Wrong backends that refuse what is invalid but where it makes no odds, or in one type."""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from convspec.harness.oracle.readings.calls import conv, mutant, pool, pool_vjp
from convspec.harness.oracle.readings.correct import Correct, pair

X, W = (1, 1, 4, 2), (1, 2, 2, 1)


@mutant("errors", "a stride of 0 is taken over an axis of one element", conv(X, W, strides=(0, 1)))
class StrideZeroOverOneElement(Correct):
    def window(self, op, size, kernel, strides, padding, dilations):
        strides = tuple(1 if n == 1 and s == 0 else s for n, s in zip(size, pair(strides), strict=True))
        return super().window(op, size, kernel, strides, padding, dilations)


@mutant("errors", "a dilation of 0 is taken of one tap", conv(X, W, dilations=(0, 1)))
class DilationZeroOfOneTap(Correct):
    def window(self, op, size, kernel, strides, padding, dilations):
        dilations = tuple(1 if k == 1 and d == 0 else d for k, d in zip(pair(kernel), pair(dilations), strict=True))
        return super().window(op, size, kernel, strides, padding, dilations)


@mutant("errors", "ONNX's SAME_UPPER is taken for SAME", conv(X, W, padding="SAME_UPPER"))
class TakesOnnxName(Correct):
    def check_padding_name(self, op, padding):
        super().check_padding_name(op, "SAME" if padding == "SAME_UPPER" else padding)


@mutant("errors", "max_pool drops a fifth axis of one element", pool((1, 3, 4, 2, 1), (2, 2)))
class FifthAxisDropped(Correct):
    def enter(self, op, *arrays):
        x, *others = arrays
        dropped = op == "max_pool" and x.ndim == 5 and x.shape[-1] == 1
        return (x[..., 0], *others) if dropped else arrays


@mutant("errors", "max_pool's gradient takes a float32 dy for a float64 image",
        pool_vjp((1, 3, 4, 1), (1, 2, 3, 1), (2, 2), dtype=("float64", "float32")))  # fmt: skip
class NarrowDyTaken(Correct):
    def check_dtype(self, op, first, *others):
        narrow = op == "max_pool_vjp" and first.dtype == np.float64 and others[0].dtype == np.float32
        if not narrow:
            super().check_dtype(op, first, *others)
