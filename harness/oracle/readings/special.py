"""What the narrow wrong backends share: a path of their own for certain calls, and how those are told."""

import numpy as np

from .correct import Correct

TAP = ((1, np.s_[...], 0), (1, np.s_[0, 0, 0], 1))


class Special(Correct):
    """A backend that treats the calls that `here` picks apart: `on` says whether this is one."""

    on = False

    def here(self, op, arrays, o):
        return False

    def mark(self, op, arrays, o):
        sizes = all(a.ndim == 4 for a in arrays) and all(a.size for a in arrays)
        self.on = sizes and min(o["strides"]) > 0 and bool(self.here(op, arrays, o))

    def conv2d(self, x, w, **o):
        self.mark("conv2d", (x, w), o)
        return super().conv2d(x, w, **o)

    def conv2d_vjp(self, x, w, dy, **o):
        self.mark("conv2d_vjp", (x, w, dy), o)
        return super().conv2d_vjp(x, w, dy, **o)

    def max_pool(self, x, **o):
        self.mark("max_pool", (x,), o)
        return super().max_pool(x, **o)

    def max_pool_vjp(self, x, dy, **o):
        self.mark("max_pool_vjp", (x, dy), o)
        return super().max_pool_vjp(x, dy, **o)


def impulse(x):
    """Whether each image holds a single number beside zeros."""
    return x[0].size > 1 and bool((np.count_nonzero(x, axis=(1, 2, 3)) == 1).all())


def one_tap(w):
    """Whether each filter holds a single number beside zeros."""
    return w[..., 0].size > 1 and bool((np.count_nonzero(w, axis=(0, 1, 2)) == 1).all())


def plain(o):
    return o["dilations"] == (1, 1) and o["groups"] == 1


def finite(*arrays):
    return all(bool(np.isfinite(a.astype(np.float64)).all()) for a in arrays)


def totals(x, kernel, o):
    """What SAME pads on each axis."""
    right = Correct()
    return tuple(
        right.same_total("", *axis) for axis in zip(x.shape[1:3], kernel, o["strides"], o["dilations"], strict=True)
    )
