"""Wrong backends, each aimed at one clause: the checks of the other clauses should see nothing."""

import numpy as np

from .calls import conv, conv_vjp, mutant, pool, pool_vjp
from .correct import Correct

X, W = (2, 3, 3, 1), (2, 2, 1, 2)


@mutant("shapes", "no more output channels than input channels", conv((1, 3, 3, 3), (2, 2, 3, 10)))
class OutputDepthOfInput(Correct):
    def leave(self, op, result, *arrays):
        return result[..., : max(arrays[0].shape[3], 1)].copy() if op == "conv2d" else result


@mutant(
    "arithmetic",
    "the filter is not the same everywhere: from the 8th row on it grows",
    conv((1, 10, 2, 1), (1, 1, 1, 1)),
)
class WeightsDrift(Correct):
    def leave(self, op, result, *arrays):
        if op == "conv2d":
            result[:, 8:] *= result.dtype.type(1.0078125)
        return result


@mutant("shapes", "max_pool of an empty batch has the input's shape", pool((0, 4, 4, 1), (2, 2)))
class PoolEmptyBatch(Correct):
    def leave(self, op, result, *arrays):
        return np.zeros_like(arrays[0]) if op == "max_pool" and len(arrays[0]) == 0 else result


@mutant("pooling", "explicit padding is ignored", pool((1, 3, 3, 1), (2, 2), padding=((1, 0), (0, 1))))
class PoolExplicitIgnored(Correct):
    def explicit_axis(self, op, axis, n, k, s, d, pads):
        return super().explicit_axis(op, axis, n, k, s, d, (0, 0) if op == "max_pool" else pads)


@mutant("pooling", "explicit padding: before and after exchanged", pool((1, 3, 3, 1), (2, 2), padding=((1, 0), (0, 1))))
class PoolPadSidesSwapped(Correct):
    def explicit_axis(self, op, axis, n, k, s, d, pads):
        return super().explicit_axis(op, axis, n, k, s, d, pads[::-1] if op.startswith("max_pool") else pads)


@mutant(
    "gradients",
    "max_pool's gradient with explicit padding is moved by the top padding",
    pool_vjp((1, 4, 4, 1), (1, 4, 3, 1), (2, 2), padding=((1, 0), (0, 0))),
)
class PoolGradientMoved(Correct):
    def max_pool_vjp(self, x, dy, *, padding, **options):
        dx = super().max_pool_vjp(x, dy, padding=padding, **options)
        return dx if isinstance(padding, str) else np.roll(dx, padding[0][0], axis=1)


@mutant(
    "dtype",
    "bfloat16 filter gradients are rounded through float16",
    conv_vjp((1, 4, 4, 1), (2, 2, 1, 1), (1, 3, 3, 1), dtype="bfloat16", scale=1e3),
)
class Bfloat16GradientThroughFloat16(Correct):
    def narrow(self, op, y, dtype):
        through = op == "conv2d_vjp" and str(dtype) == "bfloat16"
        return super().narrow(op, y.astype(np.float16).astype(y.dtype) if through else y, dtype)


@mutant(
    "layout",
    "a filter with negative strides (rotated by [::-1]) is read unrotated",
    conv((1, 4, 4, 1), (2, 2, 1, 2), layout=("C", "negative")),
)
class RotatedFilterView(Correct):
    def enter(self, op, *arrays):
        if op != "conv2d" or arrays[1].ndim != 4:
            return arrays
        w = arrays[1]
        return arrays[0], w[tuple(slice(None, None, -1 if s < 0 else 1) for s in w.strides)]


@mutant("gradients", "the gradient without input channels raises", conv_vjp((1, 3, 3, 0), (2, 2, 0, 2), (1, 2, 2, 2)))
class NoChannelsGradientRaises(Correct):
    def filter_gradient(self, x, w, dy, win, dtype):
        if w.shape[2] == 0 and dy.size:
            raise ValueError("cannot reshape array of size 0 into shape (0)")
        return super().filter_gradient(x, w, dy, win, dtype)
