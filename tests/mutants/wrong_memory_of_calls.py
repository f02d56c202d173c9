"""Wrong backends, class state: what one call leaves for the next, met late or between two operations."""

import numpy as np

from convspec.harness.oracle.readings.calls import conv, conv_vjp, mutant, pool, pool_vjp
from convspec.harness.oracle.readings.correct import Correct

X, W = (2, 3, 3, 1), (2, 2, 1, 2)
ONE, OTHER, THIRD = conv(X, W, seed=1), conv((1, 4, 3, 1), W, seed=2), conv(X, W, seed=3)


@mutant("state", "the first of three shapes in turn is answered from before: A, B, A", ONE, OTHER, THIRD)
class ReturnsToFirst(Correct):
    def __init__(self):
        self.filters, self.before = {}, None

    def enter(self, op, *arrays):
        if op != "conv2d" or arrays[1].ndim != 4:
            return arrays
        x, w = arrays
        key = x.shape, w.shape, str(w.dtype)
        back, self.before = key != self.before and key in self.filters, key
        if not back:
            self.filters[key] = w.copy()
        return x, self.filters[key]


@mutant(
    "state",
    "the last row of an odd number of rows is what was in memory",
    ONE,
    conv((2, 4, 3, 1), W, seed=4),
    conv((2, 4, 3, 1), W, seed=5),
)
class RowLeftOver(Correct):
    def __init__(self):
        self.memory = {}

    def leave(self, op, result, *arrays):
        if op != "conv2d" or result.shape[1] % 2 == 0 or result.shape[1] < 3:
            return result
        key = result.shape, str(result.dtype)
        old, self.memory[key] = self.memory.get(key), result.copy()
        if old is not None:
            result[:, -1] = old[:, -1]
        return result


@mutant(
    "state",
    "gradients of the filter add up from call to call",
    conv_vjp(X, W, (2, 2, 2, 2), seed=1),
    conv_vjp(X, W, (2, 2, 2, 2), seed=2),
)
class FilterGradientsAddUp(Correct):
    def __init__(self):
        self.sums = {}

    def leave(self, op, result, *arrays):
        if op != "conv2d_vjp":
            return result
        key = result[1].shape, str(result[1].dtype)
        total = self.sums[key] = (result[1] + self.sums.get(key, 0)).astype(result[1].dtype)
        return result[0], total.copy()


@mutant("state", "the gradient writes into x", conv_vjp(X, W, (2, 2, 2, 2)))
class GradientWritesInput(Correct):
    def leave(self, op, result, *arrays):
        if op == "conv2d_vjp" and arrays[0].flags.writeable:
            arrays[0][...] = result[0]
        return result


@mutant("state", "every 200th call is off by one part in a thousand", *[ONE] * 200)
class TwoHundredthCall(Correct):
    calls = 0

    def leave(self, op, result, *arrays):
        self.calls += 1
        return (result * result.dtype.type(1.001)) if op == "conv2d" and self.calls % 200 == 0 else result


@mutant(
    "state",
    "NaN seen once: float32 sums are checked, and rounded to float16, from then on",
    conv(X, W, put=[(0, (0, 0, 0, 0), float("nan"))]),
    ONE,
)
class SlowAfterNan(Correct):
    seen = False

    def leave(self, op, result, *arrays):
        seen, self.seen = self.seen, self.seen or (op == "conv2d" and bool(np.isnan(result.astype(float)).any()))
        if seen and op == "conv2d" and result.dtype == np.float32:
            return result.astype(np.float16).astype(result.dtype)
        return result


@mutant(
    "state",
    "a max_pool after a conv2d of its input's size pools that result (a fusion that forgets the activation)",
    conv(X, W),
    pool((2, 2, 2, 2), (2, 2)),
)
class FusesWithLastConv(Correct):
    last = None

    def leave(self, op, result, *arrays):
        self.last = result.copy() if op == "conv2d" else None
        return result

    def enter(self, op, *arrays):
        last = self.last if op == "max_pool" else None
        fits = last is not None and last.shape == arrays[0].shape and last.dtype == arrays[0].dtype
        return (last,) if fits else arrays


@mutant("state", "max_pool's gradient sets dy to zero once it is used", pool_vjp((1, 3, 3, 1), (1, 2, 2, 1), (2, 2)))
class PoolGradientUsesUp(Correct):
    def leave(self, op, result, *arrays):
        if op == "max_pool_vjp" and arrays[1].flags.writeable:
            arrays[1][...] = 0
        return result
