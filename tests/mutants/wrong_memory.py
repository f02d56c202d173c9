"""Wrong backends, class state: memory that is not the call's own is written, kept or handed out."""

import itertools
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from convspec.harness.oracle.readings.calls import conv, conv_vjp, mutant, pool
from convspec.harness.oracle.readings.correct import Correct

X, W, DY = (2, 3, 3, 1), (2, 2, 1, 2), (2, 2, 2, 2)
ONE, OTHER = conv(X, W, seed=1), conv(X, W, seed=2)


class Buffered(Correct):
    """Results are written into buffers that are kept."""

    def __init__(self):
        self.buffers = {}

    def keep(self, op, result):
        buffer = self.buffers.setdefault((op, result.shape, str(result.dtype)), np.zeros_like(result))
        buffer[...] = result
        return buffer

    def leave(self, op, result, *arrays):
        return self.keep(op, result) if op in ("conv2d", "max_pool") else result


@mutant("state", "the same output buffer is handed out each time", ONE, OTHER)
class SameBuffer(Buffered):
    pass


@mutant(
    "state",
    "gradients are handed out in the same buffers each time",
    conv_vjp(X, W, DY, seed=1),
    conv_vjp(X, W, DY, seed=2),
)
class SameGradientBuffers(Buffered):
    def leave(self, op, result, *arrays):
        return tuple(self.keep(f"{op}{i}", r) for i, r in enumerate(result)) if op == "conv2d_vjp" else result


@mutant("state", "two buffers are handed out in turn", ONE, OTHER, conv(X, W, seed=3))
class TwoBuffersInTurn(Buffered):
    def __init__(self):
        super().__init__()
        self.turn = itertools.cycle("ab")

    def keep(self, op, result):
        return super().keep(op + next(self.turn), result)


@mutant("state", "the filter is scaled in place and not scaled back", ONE)
class FilterScaled(Correct):
    def enter(self, op, *arrays):
        if op == "conv2d" and arrays[1].flags.writeable:
            arrays[1][...] = arrays[1] * arrays[1].dtype.type(2)
            return arrays[0], arrays[1] * arrays[1].dtype.type(0.5)
        return arrays


@mutant("state", "the input's NaN are replaced in place", conv(X, W, put=[(0, np.s_[0, 0, 0, 0], float("nan"))]))
class NansReplacedInPlace(Correct):
    def enter(self, op, *arrays):
        if op == "conv2d" and arrays[0].flags.writeable:
            kept = arrays[0].copy()
            arrays[0][np.isnan(kept)] = 0
            return kept, arrays[1]
        return arrays


@mutant("state", "max_pool overwrites its input's first pixel", pool(X, (2, 2), put=[(0, np.s_[:, 0, 0], -9)]))
class PoolOverwrites(Correct):
    def leave(self, op, result, *arrays):
        if op == "max_pool" and result.size and arrays[0].size and arrays[0].flags.writeable:
            arrays[0][0, 0, 0, 0] = result[0, 0, 0, 0]
        return result


@mutant("state", "dy is clipped in place", conv_vjp(X, W, DY, scale=3))
class GradientClippedInPlace(Correct):
    def leave(self, op, result, *arrays):
        if op == "conv2d_vjp" and arrays[2].flags.writeable:
            np.clip(arrays[2], -1, 1, out=arrays[2])
        return result


@mutant("state", "a 1x1 pool at stride 1 hands its input back", pool(X, (1, 1)))
class PoolAlias(Correct):
    def leave(self, op, result, *arrays):
        return arrays[0] if op == "max_pool" and np.array_equal(result, arrays[0]) else result


@mutant("state", "a 1x1 pool hands back a view of its input", pool(X, (1, 1), strides=(2, 2)))
class PoolView(Correct):
    def max_pool(self, x, *, ksize, strides, **options):
        y = super().max_pool(x, ksize=ksize, strides=strides, **options)
        view = x[:, :: strides[0], :: strides[1]]
        return view if tuple(ksize) == (1, 1) and view.shape == y.shape and np.array_equal(view, y) else y


@mutant(
    "state",
    "a 1x1 filter of one is the identity: the input is handed back",
    conv(X, (1, 1, 1, 1), data=("normal", "ones")),
)
class IdentityAlias(Correct):
    def leave(self, op, result, *arrays):
        return arrays[0] if op == "conv2d" and np.array_equal(result, arrays[0]) else result
