"""Wrong backends, class pooling: another element than the largest, or the largest of other elements."""

import numpy as np

from .calls import argmax, mutant, pool
from .correct import Correct

INF, NAN = float("inf"), float("nan")
X = (1, 5, 5, 2)
SAME = {"padding": "SAME"}


class Padded(Correct):
    """Padding takes part, with the value `padding_value`."""

    def padding_value(self, dtype):
        return 0

    def identity(self, op, dtype):
        return self.padding_value(dtype) if op == "max_pool" and dtype.kind not in "iu" else super().identity(op, dtype)

    def valid(self, op, shape, win):
        return np.ones_like(super().valid(op, shape, win)) if op == "max_pool" else super().valid(op, shape, win)


@mutant("pooling", "padding is 0", pool(X, (2, 2), data="negative", **SAME))
class PaddingZero(Padded):
    pass


@mutant(
    "pooling", "padding is the lowest finite, not absent", pool(X, (2, 2), put=[(0, np.s_[:, -1, -1], -INF)], **SAME)
)
class PaddingLowestFinite(Padded):
    def padding_value(self, dtype):
        return np.asarray(-65504.0 if dtype == np.float16 else -3.3895314e38).astype(dtype)


@mutant("pooling", "padding is -1e4", pool(X, (2, 2), data="negative", scale=2e4, **SAME))
class PaddingTenThousand(Padded):
    def padding_value(self, dtype):
        return dtype.type(-1e4)


@mutant(
    "pooling",
    "the running maximum starts at the lowest finite: -inf is lost",
    pool(X, (2, 2), put=[(0, np.s_[...], -INF)]),
)
class StartsAtLowestFinite(Correct):
    def leave(self, op, result, *arrays):
        if op == "max_pool" and arrays[0].dtype.kind == "f":
            return np.where(result == -np.inf, np.finfo(result.dtype).min, result)
        return result


@mutant("pooling", "the running maximum starts at the least positive number", pool(X, (2, 2), data="negative"))
class StartsAtTiny(Correct):
    def leave(self, op, result, *arrays):
        tiny = op == "max_pool" and result.dtype.kind == "f"
        return np.maximum(result, np.finfo(result.dtype).tiny) if tiny else result


@mutant(
    "pooling", "explicit padding is 0, SAME's is absent", pool(X, (3, 3), data="negative", padding=((1, 1), (1, 1)))
)
class ExplicitPaddingZero(Padded):
    def max_pool(self, x, *, padding, **options):
        self.explicit = not isinstance(padding, str)
        return super().max_pool(x, padding=padding, **options)

    def padding_value(self, dtype):
        return 0 if self.explicit else dtype.type(-np.inf)


@mutant("pooling", "NaN is dropped", pool(X, (2, 2), put=[(0, (0, 1, 1, 0), NAN)]))
class NanDropped(Correct):
    def beats(self, op, value, best):
        return (value > best) | (best != best)  # noqa: PLR0124


@mutant("pooling", "NaN stays only where it comes first", pool(X, (2, 2), put=[(0, (0, 1, 1, 0), NAN)]))
class NanOnlyFirst(Correct):
    def beats(self, op, value, best):
        return value > best


@mutant("pooling", "NaN stays only where it comes last", pool(X, (2, 2), put=[(0, (0, 1, 1, 0), NAN)]))
class NanOnlyLast(Correct):
    def beats(self, op, value, best):
        return ~(value <= best)


@mutant(
    "pooling",
    "NaN propagates up to 4 elements a window and is dropped in larger ones",
    pool(X, (3, 3), put=[(0, (0, 1, 1, 0), NAN)]),
)
class NanDroppedInLarge(Correct):
    def max_pool(self, x, *, ksize, **options):
        self.large = np.prod(ksize) > 4
        return super().max_pool(x, ksize=ksize, **options)

    def beats(self, op, value, best):
        dropped = (value > best) | (best != best)  # noqa: PLR0124
        return dropped if op == "max_pool" and self.large else super().beats(op, value, best)


@mutant("pooling", "NaN in float16 is dropped", pool(X, (2, 2), dtype="float16", put=[(0, (0, 1, 1, 0), NAN)]))
class NanDroppedInFloat16(Correct):
    def beats(self, op, value, best):
        dropped = (value > best) | (best != best)  # noqa: PLR0124
        return dropped if value.dtype == np.float16 else super().beats(op, value, best)


@mutant("pooling", "the maximum of NaN and anything is infinity", pool(X, (2, 2), put=[(0, (0, 1, 1, 0), NAN)]))
class NanIsInfinity(Correct):
    def leave(self, op, result, *arrays):
        return np.where(np.isnan(result), np.inf, result).astype(result.dtype) if op == "max_pool" else result


@mutant("pooling", "infinity becomes the largest finite", pool(X, (2, 2), put=[(0, (0, 1, 1, 0), INF)]))
class InfinityIsFinite(Correct):
    def leave(self, op, result, *arrays):
        if op == "max_pool" and result.dtype.kind == "f":
            return np.where(result == np.inf, np.finfo(result.dtype).max, result)
        return result


@mutant("pooling", "subnormals are flushed (SHOULD)", pool(X, (2, 2), data="positive", scale=1e-39))
class PoolFlushes(Correct):
    def leave(self, op, result, *arrays):
        if op == "max_pool" and result.dtype.kind == "f":
            return np.where(abs(result) < np.finfo(result.dtype).tiny, 0, result).astype(result.dtype)
        return result


@mutant("pooling", "the largest magnitude wins", pool(X, (2, 2)))
class LargestMagnitude(Correct):
    def beats(self, op, value, best):
        return abs(value) > abs(best)


@mutant("pooling", "the least wins", pool(X, (2, 2)))
class MinPool(Correct):
    def beats(self, op, value, best):
        return value < best


@mutant("pooling", "the average over the window", pool(X, (2, 2)))
class AveragePool(Correct):
    def max_pool(self, x, *, ksize, **options):
        y = super().max_pool(x, ksize=ksize, **options)
        low = -super().max_pool(-x, ksize=ksize, **options)
        return ((y + low) / 2).astype(x.dtype) if np.prod(ksize) > 1 and x.dtype.kind == "f" else y


@mutant("pooling", "ksize of height and width is swapped", pool(X, (1, 3)))
class KsizeSwapped(Correct):
    def max_pool(self, x, *, ksize, **options):
        return super().max_pool(x, ksize=tuple(ksize)[::-1], **options)


@mutant(
    "pooling",
    "strides are the window's size, whatever was asked",
    pool(X, (3, 3), strides=(1, 1)),
    pool(X, (2, 2), strides=(1, 1)),
)
class StridesAreKsize(Correct):
    def max_pool(self, x, *, ksize, strides, **options):
        return super().max_pool(x, ksize=ksize, strides=ksize, **options)


@mutant("pooling", "the dilation is ignored", pool(X, (2, 2), dilations=(2, 2)))
class PoolNoDilation(Correct):
    def max_pool(self, x, *, dilations, **options):
        return super().max_pool(x, dilations=(1, 1), **options)


@mutant("pooling", "the dilation of the width is used for both axes", pool(X, (2, 2), dilations=(1, 2)))
class PoolOneDilation(Correct):
    def max_pool(self, x, *, dilations, **options):
        return super().max_pool(x, dilations=(dilations[1], dilations[1]), **options)


@mutant("pooling", "SAME ignores the dilation in its padding", pool(X, (3, 3), dilations=(2, 2), **SAME))
class PoolSameIgnoresDilation(Correct):
    def same_total(self, op, n, k, s, d):
        return super().same_total(op, n, k, s, 1 if op == "max_pool" else d)


@mutant("pooling", "SAME is VALID", pool(X, (2, 2), **SAME))
class PoolSameIsValid(Correct):
    def max_pool(self, x, *, padding, **options):
        return super().max_pool(x, padding="VALID" if padding == "SAME" else padding, **options)


@mutant("pooling", "SAME leaves out windows that are not whole", pool(X, (2, 2), strides=(2, 2), **SAME))
class PartialWindowsDropped(Correct):
    def same_axis(self, op, axis, n, k, s, d):
        size, sides = super().same_axis(op, axis, n, k, s, d)
        return (n // s, sides) if op == "max_pool" and n // s else (size, sides)


@mutant(
    "pooling",
    "SAME pads evenly: one row more at the top where the total is odd",
    pool((1, 6, 6, 1), (3, 3), strides=(2, 2), **SAME),
)
class PoolPadsEvenly(Correct):
    def split(self, op, total):
        return (-(-total // 2), -(-total // 2)) if op == "max_pool" else super().split(op, total)


@mutant("pooling", "a window with no element is 0", pool((1, 1, 1, 1), (2, 2), dilations=(2, 2), **SAME))
class NoElementIsZero(Correct):
    def maximum(self, op, x, win):
        best, chosen = super().maximum(op, x, win)
        return np.where(chosen < 0, 0, best).astype(best.dtype), chosen


@mutant("pooling", "a window with no element is NaN", pool((1, 1, 1, 1), (2, 2), dilations=(2, 2), **SAME))
class NoElementIsNan(Correct):
    def maximum(self, op, x, win):
        best, chosen = super().maximum(op, x, win)
        return np.where(chosen < 0, np.nan if best.dtype.kind != "i" else best, best).astype(best.dtype), chosen


@mutant(
    "pooling",
    "a window with no element repeats the nearest pixel",
    pool((1, 1, 1, 1), (2, 2), dilations=(2, 2), **SAME),
)
class NoElementIsNearest(Correct):
    def leave(self, op, result, *arrays):
        lone = op == "max_pool" and arrays[0].shape[1:3] == (1, 1) and result.size
        return np.where(np.isneginf(result.astype(float)), arrays[0], result) if lone else result


@mutant(
    "pooling", "windows larger than the image under SAME see only its first row", pool((1, 2, 2, 1), (5, 5), **SAME)
)
class LargeWindowFirstRow(Correct):
    def taps(self, op, win, x):
        large = op == "max_pool" and win.kernel[0] > 2 * x.shape[1]
        return [t for t in super().taps(op, win, x) if not large or t[0] <= win.pads[0][0]]


@mutant("pooling", "the last tap is not looked at", pool(X, (3, 3)))
class PoolLastTapDropped(Correct):
    def taps(self, op, win, x):
        return super().taps(op, win, x)[: -1 if op == "max_pool" and np.prod(win.kernel) > 4 else None]


@mutant("pooling", "windows wider than 3 are cut to 3", pool((1, 6, 6, 1), (1, 5)))
class WideWindowsCut(Correct):
    def taps(self, op, win, x):
        return [t for t in super().taps(op, win, x) if op != "max_pool" or t[1] < 3]


@mutant("pooling", "overlapping windows: each element is used once", pool(X, (3, 3), strides=(2, 2)))
class ElementsUsedOnce(Correct):
    def taps(self, op, win, x):
        taps = super().taps(op, win, x)
        cut = op == "max_pool" and win.dilations == (1, 1) and 1 < win.strides[0] < win.kernel[0]
        return [t for t in taps if t[0] < win.strides[0]] if cut else taps


@mutant("pooling", "argmax is the last maximum", argmax(X, (2, 2), data="ones"))
class ArgmaxLast(Correct):
    def max_pool_with_argmax(self, x, **options):
        self.last = True
        try:
            return super().max_pool_with_argmax(x, **options)
        finally:
            self.last = False

    def beats(self, op, value, best):
        return (value >= best) if getattr(self, "last", False) else super().beats(op, value, best)


@mutant("pooling", "argmax leaves the channels out: row * W + column", argmax(X, (2, 2)))
class ArgmaxWithoutChannels(Correct):
    def flat_index(self, row, column, x):
        return row * x.shape[2] + column


@mutant("pooling", "argmax counts the batch", argmax((2, 3, 3, 1), (2, 2)))
class ArgmaxCountsBatch(Correct):
    def flat_index(self, row, column, x):
        return super().flat_index(row, column, x) + (np.arange(len(x)) * x[0].size)[:, None, None, None]


@mutant(
    "pooling",
    "argmax counts padded columns",
    argmax(X, (2, 2), **SAME, strides=(2, 2)),
    argmax((1, 4, 4, 1), (3, 3), **SAME),
)
class ArgmaxInPaddedImage(Correct):
    def max_pool_with_argmax(self, x, *, ksize, strides, padding, dilations):
        same = {"ksize": ksize, "strides": strides, "padding": padding, "dilations": dilations}
        y, index = super().max_pool_with_argmax(x, **same)
        pads = self.window("max_pool", x.shape[1:3], ksize, strides, padding, dilations).pads
        return y, np.where(index < 0, index, index + pads[1][0] * x.shape[3])
