"""Wrong backends, class state: what is kept is found again by a key that leaves out one thing; and late paths."""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from convspec.harness.oracle.readings.calls import conv, conv_vjp, mutant, pool_vjp
from convspec.harness.oracle.readings.correct import Correct
from convspec.harness.oracle.readings.rounding import round_bits

X, W, DY = (2, 3, 4, 1), (2, 2, 1, 2), (2, 2, 3, 2)
ONE = conv(X, W, padding="SAME")


class Kept(Correct):
    """Results are kept by the contents of the arrays and by the options; `key` leaves something out."""

    def __init__(self):
        self.kept = {}

    def key(self, x, w, options):
        return options

    def conv2d(self, x, w, **options):
        content = x.dtype.name, x.tobytes(), w.shape, w.tobytes(), str(self.key(x, w, options))
        if content not in self.kept:
            self.kept[content] = super().conv2d(x, w, **options)
        return self.kept[content].copy()


@mutant("state", "results are kept by contents, without the padding", ONE, conv(X, W))
class KeptWithoutPadding(Kept):
    def key(self, x, w, options):
        return x.shape, options | {"padding": None}


@mutant("state", "results are kept by contents, without the dilations", ONE, ONE | {"dilations": (1, 2)})
class KeptWithoutDilations(Kept):
    def key(self, x, w, options):
        return x.shape, options | {"dilations": None}


@mutant("state", "results are kept by the bytes of the image, whatever its shape", ONE,
        conv((2, 4, 3, 1), W, padding="SAME"))  # fmt: skip
class KeptWithoutShape(Kept):
    pass


@mutant("state", "results are kept by the first 64 bytes", ONE, ONE | {"put": [(0, (1, 2, 3, 0), 5)]})
class KeptByHead(Kept):
    def conv2d(self, x, w, **options):
        head = str((x.shape, x.dtype, x.tobytes()[:64], w.shape, w.tobytes()[:64], options))
        if head not in self.kept:
            self.kept[head] = Correct.conv2d(self, x, w, **options)
        return self.kept[head].copy()


@mutant("state", "the workspace holds as many items as the first batch of these sizes had", conv((1, 3, 4, 1), W), ONE)
class BatchOfFirstCall(Correct):
    def __init__(self):
        self.items = {}

    def leave(self, op, result, *arrays):
        if op != "conv2d":
            return result
        result[self.items.setdefault((arrays[0].shape[1:], arrays[1].shape), len(result)) :] = 0
        return result


@mutant("state", "one scratch image for each padded size: its border keeps what a larger image left",
        ONE, conv((2, 4, 5, 1), W), ONE)  # fmt: skip
class PaddedScratchKept(Correct):
    def __init__(self):
        self.scratch = {}

    def pad(self, op, x, win, value=0):
        fresh = super().pad(op, x, win, value)
        if op != "conv2d":
            return fresh
        kept = self.scratch.setdefault((fresh.shape, str(x.dtype)), fresh)
        kept[self.inside(op, x.shape, win)] = x
        return kept


@mutant("state", "geometry is kept by the total of the padding", ONE, conv(X, W, padding=((1, 0), (1, 0))))
class KeptByTotalPadding(Correct):
    def __init__(self):
        self.windows = {}

    def window(self, op, size, kernel, *rest):
        win = super().window(op, size, kernel, *rest)
        return self.windows.setdefault(str((op, size, win._replace(pads=tuple(map(sum, win.pads))))), win)


@mutant("state", "from the 21st call of equal sizes on inputs are rounded to TF32", *[conv(X, W, data="odd")] * 21)
class LateTf32(Correct):
    def __init__(self):
        self.times = {}

    def enter(self, op, *arrays):
        key = op, str([a.shape for a in arrays])
        self.times[key] = self.times.get(key, 0) + 1
        late = op == "conv2d" and self.times[key] > 20 and arrays[0].dtype == np.float32
        return (round_bits(arrays[0], 11), *arrays[1:]) if late else arrays


@mutant("state", "after a refused gradient the next filter gradient is zero",
        conv_vjp(X, W, DY, strides=(0, 1)), conv_vjp(X, W, DY))  # fmt: skip
class RefusedGradientLeavesZeros(Correct):
    refused = False

    def conv2d_vjp(self, x, w, dy, **options):
        try:
            dx, dw = super().conv2d_vjp(x, w, dy, **options)
        except (TypeError, ValueError):
            self.refused = True
            raise
        refused, self.refused = self.refused, False
        return dx, np.zeros_like(dw) if refused else dw


@mutant("errors", "max_pool's gradient takes a negative step along a row for a positive one",
        pool_vjp((1, 4, 4, 2), (1, 3, 3, 2), (2, 2), strides=(1, -1)))  # fmt: skip
class PoolGradientStepIsPositive(Correct):
    def max_pool_vjp(self, x, dy, *, strides, **options):
        return super().max_pool_vjp(x, dy, strides=(strides[0], abs(strides[1])), **options)


@mutant("errors", "a dy of as many elements is taken in any shape",
        conv_vjp((1, 4, 4, 2), (2, 2, 2, 2), (1, 1, 9, 2)))  # fmt: skip
class GradientReshaped(Correct):
    def check_gradient(self, op, dy, shape):
        if dy.size != np.prod(shape):
            super().check_gradient(op, dy, shape)

    def filter_gradient(self, x, w, dy, win, dtype):
        return super().filter_gradient(x, w, dy.reshape(len(x), *win.output, -1), win, dtype)

    def input_gradient(self, x, w, dy, win, dtype):
        return super().input_gradient(x, w, dy.reshape(len(x), *win.output, -1), win, dtype)
