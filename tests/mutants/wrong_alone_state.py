"""Wrong backends, each aimed at one clause: what a call leaves behind, and sums in an order that varies."""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from convspec.harness.oracle.readings.calls import conv, mutant, pool
from convspec.harness.oracle.readings.correct import Correct
from convspec.harness.oracle.readings.special import Special

X, W = (2, 3, 3, 1), (2, 2, 1, 2)
LONG = conv((1, 5, 5, 4), (3, 3, 4, 2), statistical=True)


@mutant("state", "after a refused call the next convolution has the rest of it in its first output",
        conv(X, W, strides=(0, 1)), conv(X, W))  # fmt: skip
class RefusedCallLeavesRest(Correct):
    rest = 0

    def conv2d(self, x, w, **options):
        try:
            y = super().conv2d(x, w, **options)
        except (TypeError, ValueError):
            self.rest = 1
            raise
        y.reshape(-1)[:1] += y.dtype.type(self.rest)
        self.rest = 0
        return y


class Reversible(Correct):
    """Sums the taps from the first to the last, or the other way: both are right, to the bound."""

    backwards = False

    def taps(self, op, win, x):
        return super().taps(op, win, x)[:: -1 if self.backwards and op == "conv2d" else 1]


@mutant("state", "the third of equal calls in a row is summed in another order", LONG, LONG, LONG)
class TunedAtThird(Reversible):
    last, times = None, 0

    def conv2d(self, x, w, **options):
        asked = x.tobytes(), w.tobytes(), str((x.shape, w.shape, x.dtype, options))
        self.times = self.times + 1 if asked == self.last else 1
        self.last, self.backwards = asked, self.times >= 3
        return super().conv2d(x, w, **options)


@mutant("arithmetic", "the order of summation hangs on where the image has its largest number",
        *(LONG | {"seed": seed} for seed in range(4)))  # fmt: skip
class OrderByLargest(Reversible):
    def conv2d(self, x, w, **options):
        self.backwards = bool(x.size and np.argmax(abs(x)) % 2)
        return super().conv2d(x, w, **options)


@mutant(
    "pooling",
    "2x2 windows over what a ReLU left: SAME rounds the size down",
    pool((1, 3, 3, 1), (2, 2), strides=(2, 2), padding="SAME", data="constant", put=[(0, np.s_[:, :2, 0], 0)]),
)
class PoolAfterRelu(Special):
    def here(self, op, arrays, o):
        x = arrays[0]
        fused = op == "max_pool" and x.dtype == np.float32 and (o["ksize"], o["strides"]) == ((2, 2), (2, 2))
        return fused and x.min() == 0 and x.max() > 1 and np.count_nonzero(x) < x.size - 1

    def same_size(self, op, n, s):
        return n // s if self.on else super().same_size(op, n, s)
