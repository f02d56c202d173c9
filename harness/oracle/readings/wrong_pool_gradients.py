"""Wrong backends, class gradients: max_pool sends the gradient elsewhere."""

import numpy as np

from .calls import mutant, pool_vjp
from .correct import Correct

VJP = "max_pool_vjp"
TIED = pool_vjp((1, 3, 3, 1), (1, 2, 2, 1), (2, 2), data=("ones", "lattice"))
NAN = float("nan")


ALL_LOWEST = [(0, np.s_[...], -np.inf)]


@mutant("gradients", "ties go to the last maximum", TIED)
class TiesToLast(Correct):
    def beats(self, op, value, best):
        return (value >= best) | (value != value) if op == VJP else super().beats(op, value, best)  # noqa: PLR0124


@mutant(
    "gradients",
    "ties go to the first in column-major order",
    pool_vjp((1, 2, 2, 1), (1, 1, 1, 1), (2, 2), data="ones", put=[(0, (0, 0, 0, 0), 0), (0, (0, 1, 1, 0), 0)]),
)
class TiesColumnMajor(Correct):
    def taps(self, op, win, x):
        taps = super().taps(op, win, x)
        return sorted(taps, key=lambda tap: tap[::-1]) if op == VJP else taps


class Spread(Correct):
    """The gradient goes to every maximum."""

    def share(self, count, dtype):
        return dtype.type(1)

    def max_pool_vjp(self, x, dy, *, ksize, strides, padding, dilations):
        right = super().max_pool_vjp(x, dy, ksize=ksize, strides=strides, padding=padding, dilations=dilations)
        if x.dtype != np.float32 or dy.size == 0:
            return right
        win = self.window(VJP, x.shape[1:3], ksize, strides, padding, dilations)
        y = self.max_pool(x, ksize=ksize, strides=strides, padding=padding, dilations=dilations)
        padded = self.pad(VJP, x, win, np.nan)
        places = [self.reads(VJP, win, tap) for tap in self.taps(VJP, win, x)]
        count = sum((padded[at] == y).astype(int) for at in places)
        dx = np.zeros_like(padded)
        for at in places:
            dx[at] += np.where(padded[at] == y, dy * self.share(count, x.dtype), 0)
        return dx[self.inside(VJP, x.shape, win)]


@mutant("gradients", "ties all get the gradient", TIED)
class TiesToAll(Spread):
    pass


@mutant("gradients", "ties share the gradient", TIED)
class TiesShare(Spread):
    def share(self, count, dtype):
        return (1 / np.maximum(count, 1)).astype(dtype)


@mutant(
    "gradients",
    "overlapping windows overwrite each other",
    pool_vjp((1, 3, 3, 1), (1, 2, 2, 1), (2, 2), put=[(0, (0, 1, 1, 0), 9)]),
)
class OverlapsOverwrite(Correct):
    def spread(self, op, dx, at, dy, mine):
        dx[at] = np.where(mine, dy, dx[at])


@mutant(
    "gradients",
    "overlapping windows add up in float16",
    pool_vjp(
        (1, 7, 7, 1),
        (1, 5, 5, 1),
        (3, 3),
        dtype="float16",
        data=("constant", "positive"),
        put=[(0, (0, 3, 3, 0), 9)],
        exact=True,
    ),
)
class OverlapsInFloat16(Correct):
    def spread(self, op, dx, at, dy, mine):
        super().spread(op, dx, at, dy, mine)
        dx[at] = dx[at].astype(np.float16) if self.half else dx[at]

    def enter(self, op, *arrays):
        self.half = arrays[0].dtype == np.float16
        return arrays


@mutant(
    "gradients",
    "overlapping windows add up in bfloat16",
    pool_vjp(
        (1, 9, 9, 1),
        (1, 5, 5, 1),
        (5, 5),
        dtype="bfloat16",
        data=("constant", "positive"),
        put=[(0, (0, 4, 4, 0), 9)],
        exact=True,
    ),
)
class OverlapsInBfloat16(Correct):
    def pool_type(self, op, dtype):
        return dtype if op == VJP and str(dtype) == "bfloat16" else super().pool_type(op, dtype)


@mutant(
    "gradients",
    "padding takes part as 0 and swallows the gradient",
    pool_vjp((1, 3, 3, 1), (1, 3, 3, 1), (3, 3), padding="SAME", data=("negative", "lattice")),
)
class PaddingSwallows(Correct):
    def identity(self, op, dtype):
        return dtype.type(0) if op == VJP else super().identity(op, dtype)

    def valid(self, op, shape, win):
        return np.ones_like(super().valid(op, shape, win)) if op == VJP else super().valid(op, shape, win)


@mutant(
    "gradients",
    "all -inf: no element gets the gradient",
    *(
        pool_vjp((1, 3, 3, 1), (1, 2, 2, 1), (2, 2), data=("ones", "lattice"), put=ALL_LOWEST, dtype=dtype)
        for dtype in ("float32", "float64")
    ),
)
class MinusInfinityGetsNothing(Correct):
    def maximum(self, op, x, win):
        best, chosen = super().maximum(op, x, win)
        return best, np.where(np.isneginf(best.astype(float)), -1, chosen) if op == VJP else chosen


@mutant(
    "gradients",
    "the odd pixel goes first in the gradient alone",
    pool_vjp((1, 6, 6, 1), (1, 3, 3, 1), (3, 3), strides=(2, 2), padding="SAME"),
)
class PoolGradientOddPixel(Correct):
    def split(self, op, total):
        return super().split(op, total)[:: -1 if op == VJP else 1]


@mutant(
    "gradients",
    "NaN gets no gradient: it goes to the largest number",
    pool_vjp((1, 3, 3, 1), (1, 2, 2, 1), (2, 2), put=[(0, (0, 1, 1, 0), NAN)]),
)
class NanGetsNothing(Correct):
    def beats(self, op, value, best):
        return (value > best) | ((best != best) & (value == value)) if op == VJP else super().beats(op, value, best)  # noqa: PLR0124


@mutant(
    "gradients",
    "the last NaN gets the gradient",
    pool_vjp((1, 2, 2, 1), (1, 1, 1, 1), (2, 2), put=[(0, (0, 0, 1, 0), NAN), (0, (0, 1, 0, 0), NAN)]),
)
class LastNan(Correct):
    def beats(self, op, value, best):
        right = super().beats(op, value, best)
        return right | (value != value) if op == VJP else right  # noqa: PLR0124


@mutant(
    "gradients",
    "a window with no element sends its gradient to the first pixel",
    pool_vjp((1, 1, 1, 1), (1, 1, 1, 1), (2, 2), dilations=(2, 2), padding="SAME"),
)
class NoElementToFirst(Correct):
    def max_pool_vjp(self, x, dy, **options):
        dx = super().max_pool_vjp(x, dy, **options)
        lone = x.shape[1:3] == (1, 1) and max(options["dilations"]) > 1 and dy.size
        return dx + dy if lone and not dx.any() else dx


@mutant(
    "gradients",
    "the dilation is ignored in the gradient",
    pool_vjp((1, 4, 4, 1), (1, 2, 2, 1), (2, 2), dilations=(2, 2)),
)
class PoolGradientUndilated(Correct):
    def offset(self, op, win, tap):
        return tap if op == VJP else super().offset(op, win, tap)


@mutant(
    "gradients",
    "stride over window: the gradient is packed",
    pool_vjp((1, 5, 5, 1), (1, 2, 2, 1), (1, 1), strides=(3, 3)),
)
class PoolGradientPacked(Correct):
    def window(self, op, size, kernel, strides, padding, dilations):
        win = super().window(op, size, kernel, strides, padding, dilations)
        packed = op == VJP and win.strides[0] > win.kernel[0] and padding == "VALID"
        return win._replace(strides=(1, 1)) if packed else win


@mutant("gradients", "the gradient of the second item goes to the first", pool_vjp((2, 2, 2, 1), (2, 1, 1, 1), (2, 2)))
class PoolGradientOfOtherItem(Correct):
    def leave(self, op, result, *arrays):
        return np.concatenate([result[1:], result[:1]]) if op == VJP and len(result) > 1 else result


@mutant(
    "gradients",
    "maxima that are zero get no gradient (as after a ReLU)",
    pool_vjp((1, 2, 2, 1), (1, 1, 1, 1), (2, 2), data=("negative", "ones"), put=[(0, (0, 1, 0, 0), 0)]),
)
class ZeroMaximumGetsNothing(Correct):
    def leave(self, op, result, *arrays):
        return np.where(arrays[0] == 0, 0, result).astype(result.dtype) if op == VJP else result


@mutant(
    "gradients", "an empty output gives a gradient of the output's shape", pool_vjp((1, 2, 2, 1), (1, 0, 0, 1), (3, 3))
)
class EmptyPoolGradient(Correct):
    def leave(self, op, result, *arrays):
        return arrays[1].copy() if op == VJP and arrays[1].size == 0 else result


@mutant(
    "gradients",
    "NaN in dy is sent to the whole window",
    pool_vjp((1, 2, 2, 1), (1, 1, 1, 1), (2, 2), put=[(1, np.s_[...], NAN)]),
)
class NanGradientEverywhere(Correct):
    def spread(self, op, dx, at, dy, mine):
        dx[at] += mine * dy


@mutant(
    "gradients",
    "windows of over 16 elements: the place of the maximum wraps at 16",
    pool_vjp((1, 5, 5, 1), (1, 1, 1, 1), (5, 5), put=[(0, (0, 4, 4, 0), 9)]),
)
class PlaceWraps(Correct):
    def maximum(self, op, x, win):
        best, chosen = super().maximum(op, x, win)
        return best, np.where(chosen > 15, chosen % 16, chosen) if op == VJP else chosen
