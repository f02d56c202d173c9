"""Wrong backends, each aimed at one clause: the checks of the other clauses should see nothing.

A check asks certain kernels, strides and data that no other asks together; that is where these have their fault.
"""

import numpy as np

from .calls import conv, conv_vjp, mutant, pool, pool_vjp
from .correct import Correct
from .special import TAP, Special, finite, impulse, one_tap, plain, totals

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


@mutant(
    "pooling",
    "an image of nothing but minus infinity has the lowest finite maximum",
    pool((1, 2, 3, 1), (2, 2), put=[(0, np.s_[...], -np.inf)]),
)
class AllMinusInfinityIsLowest(Special):
    def here(self, op, arrays, o):
        return op == "max_pool" and arrays[0].dtype == np.float32 and bool((arrays[0] == -np.inf).all())

    def leave(self, op, result, *arrays):
        return np.full_like(result, np.finfo(np.float32).min) if self.on and op == "max_pool" else result


@mutant(
    "pooling",
    "without a NaN in the image plus infinity comes back as the largest number",
    pool((1, 2, 3, 1), (2, 2), put=[(0, (0, 0, 1, 0), np.inf)]),
)
class InfinityIsLargest(Special):
    def here(self, op, arrays, o):
        return op == "max_pool" and arrays[0].dtype == np.float32 and not np.isnan(arrays[0]).any()

    def leave(self, op, result, *arrays):
        return np.minimum(result, np.finfo(np.float32).max) if self.on and op == "max_pool" else result


@mutant(
    "pooling",
    "overlapping windows of 6x3 at strides of 2 read their first row twice, and their last one never",
    pool((1, 10, 5, 1), (6, 3), strides=(2, 2)),
)
class OverlapLastRow(Special):
    def here(self, op, arrays, o):
        x = arrays[0]
        if op != "max_pool" or (o["ksize"], o["strides"], o["dilations"]) != ((6, 3), (2, 2), (1, 1)):
            return False
        return finite(x) and len(np.unique(x)) == x.size and x.min() < 0 < x.max()

    def offset(self, op, win, tap):
        return super().offset(op, win, (0 if self.on and tap[0] == 5 else tap[0], tap[1]))


@mutant(
    "pooling",
    "int16: a negative maximum that a window holds twice is taken for no element, and is 0",
    pool((1, 2, 2, 1), (2, 2), dtype="int16", data="constant", scale=-1),
)
class NegativeTwiceIsNothing(Special):
    last = False

    def here(self, op, arrays, o):
        return op == "max_pool" and arrays[0].dtype == np.int16

    def beats(self, op, value, best):
        return (value >= best) if self.last else super().beats(op, value, best)

    def maximum(self, op, x, win):
        best, first = super().maximum(op, x, win)
        if not self.on or op != "max_pool":
            return best, first
        self.last = True
        _, last = super().maximum(op, x, win)
        self.last = False
        return np.where((first != last) & (best < 0), best.dtype.type(0), best), first


@mutant("pooling", "a dilation over 2 is taken for 2", pool((1, 4, 6, 1), (1, 2), dilations=(1, 3)))
class PoolDilationAtMostTwo(Special):
    def here(self, op, arrays, o):
        return op == "max_pool"

    def offset(self, op, win, tap):
        reach = [min(d, 2) if self.on else d for d in win.dilations]
        return tap[0] * reach[0], tap[1] * reach[1]


@mutant(
    "pooling",
    "a tall image of one channel, strides of 1 and 5: the last row repeats the one before",
    pool((1, 14, 3, 1), (2, 2), strides=(1, 5)),
)
class TallChannelAlone(Special):
    def here(self, op, arrays, o):
        shape = arrays[0].shape
        return op == "max_pool" and shape[3] == 1 and shape[1] > 12 and o["strides"] == (1, 5)

    def leave(self, op, result, *arrays):
        if self.on and op == "max_pool":
            result[:, -1:] = result[:, -2:-1] if result.shape[1] > 1 else result[:, -1:]
        return result


@mutant(
    "gradients",
    "float32 values that differ in their last two bits count as ties",
    pool_vjp((1, 1, 2, 1), (1, 1, 1, 1), (1, 2), data="ones", put=[(0, (0, 0, 1, 0), 1 + 2**-23)]),
)
class NearTiesAreTies(Correct):
    def beats(self, op, value, best):
        beats = super().beats(op, value, best)
        if op != "max_pool_vjp" or value.dtype != np.float32:
            return beats
        return beats & ~(np.isfinite(value) & np.isfinite(best) & (abs(value - best) <= 2**-21 * abs(best)))


class OnGradient(Special):
    """One that is wrong in conv2d_vjp, in calls without dilation and groups."""

    def here(self, op, arrays, o):
        return op == "conv2d_vjp" and plain(o) and self.picks(*arrays, o)

    def picks(self, x, w, dy, o):
        return False

    def leave(self, op, result, *arrays):
        return self.spoil(*result) if op == "conv2d_vjp" and self.on else result

    def spoil(self, dx, dw):
        return dx, dw


class OnSparse(OnGradient):
    """One that is wrong at stride 1 without padding, where image or filters are nearly all zero."""

    def picks(self, x, w, dy, o):
        return o["padding"] == "VALID" and o["strides"] == (1, 1) and (impulse(x) or one_tap(w))


SPARSE = conv_vjp((1, 4, 4, 1), (2, 2, 1, 1), (1, 3, 3, 1), put=TAP)


@mutant("gradients", "the input gradient of a sparse call is added twice", SPARSE)
class SparseInputGradientTwice(OnSparse):
    def spoil(self, dx, dw):
        return (dx * 2).astype(dx.dtype), dw


@mutant("gradients", "the filter gradient of a sparse call is flipped", SPARSE)
class SparseFilterGradientFlipped(OnSparse):
    def spoil(self, dx, dw):
        return dx, dw[::-1, ::-1].copy()


@mutant(
    "gradients",
    "a 7x7 kernel over more than 12 rows under SAME: the input gradient of the last column is lost",
    conv_vjp((1, 13, 8, 1), (7, 7, 1, 1), (1, 13, 8, 1), padding="SAME"),
)
class SevenLosesLastColumn(OnGradient):
    def picks(self, x, w, dy, o):
        return o["padding"] == "SAME" and w.shape[:2] == (7, 7) and x.shape[1] > 12

    def spoil(self, dx, dw):
        dx[:, :, -1] = 0
        return dx, dw


@mutant(
    "gradients",
    "the gradient of a 1x1 kernel, stride 2 down and 1 across: strides are exchanged",
    conv_vjp((1, 4, 2, 1), (1, 1, 1, 1), (1, 2, 2, 1), strides=(2, 1)),
)
class PointGradientStridesExchanged(OnGradient):
    def picks(self, x, w, dy, o):
        return w.shape[:2] == (1, 1) and o["strides"] == (2, 1)

    def window(self, op, size, kernel, strides, padding, dilations):
        return super().window(op, size, kernel, strides[::-1] if self.on else strides, padding, dilations)


@mutant(
    "gradients",
    "SAME pads 3 rows and no column: the gradient's odd row goes first",
    conv_vjp((1, 5, 3, 1), (4, 1, 1, 1), (1, 5, 3, 1), padding="SAME"),
)
class GradientThreeRowsPadded(OnGradient):
    def picks(self, x, w, dy, o):
        return o["padding"] == "SAME" and totals(x, w.shape[:2], o) == (3, 0)

    def split(self, op, total):
        return super().split(op, total)[:: -1 if self.on else 1]


@mutant(
    "gradients",
    "strides of 4 and more: the pixel after each one that is read gets its gradient too",
    conv_vjp((1, 6, 7, 1), (1, 1, 1, 1), (1, 2, 2, 1), strides=(4, 5)),
)
class UnreadGetsNeighbours(OnGradient):
    def picks(self, x, w, dy, o):
        return o["padding"] == "VALID" and min(o["strides"]) >= 4

    def spoil(self, dx, dw):
        return (dx + np.roll(dx, 1, axis=2)).astype(dx.dtype), dw
