"""Wrong backends, class errors: what must be refused is answered, or is refused too late."""

import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from convspec.harness.oracle.readings.calls import conv, conv_vjp, mutant, pool, pool_vjp
from convspec.harness.oracle.readings.correct import Correct, pair

X, W, DY = (1, 4, 4, 2), (2, 2, 2, 2), (1, 3, 3, 2)


class Lenient(Correct):
    """Attributes are mended before the window is computed."""

    def mend(self, op, values):
        return values

    def window(self, op, size, kernel, strides, padding, dilations):
        return super().window(op, size, *self.mended(op, kernel, strides, padding, dilations))

    def mended(self, op, kernel, strides, padding, dilations):
        return kernel, strides, padding, dilations


@mutant("errors", "a stride of 0 counts as 1", conv(X, W, strides=(0, 1)))
class StrideZeroIsOne(Lenient):
    def mended(self, op, kernel, strides, padding, dilations):
        return kernel, tuple(s or 1 for s in pair(strides)), padding, dilations


@mutant("errors", "a negative stride counts as positive", conv(X, W, strides=(-1, 1)))
class NegativeStrideIsPositive(Lenient):
    def mended(self, op, kernel, strides, padding, dilations):
        return kernel, tuple(abs(s) for s in pair(strides)), padding, dilations


@mutant("errors", "a stride of 0 gives an empty output", conv(X, W, strides=(1, 0)))
class StrideZeroIsEmpty(Correct):
    def conv2d(self, x, w, *, strides, **options):
        if 0 in pair(strides):
            return np.zeros((len(x), 0, 0, w.shape[3]), x.dtype)
        return super().conv2d(x, w, strides=strides, **options)


@mutant("errors", "max_pool: a stride of 0 counts as the window's size", pool(X, (2, 2), strides=(0, 0)))
class PoolStrideZero(Lenient):
    def mended(self, op, kernel, strides, padding, dilations):
        fixed = kernel if op == "max_pool" and 0 in pair(strides) else strides
        return kernel, fixed, padding, dilations


@mutant("errors", "a dilation of 0 counts as 1", conv(X, W, dilations=(0, 1)))
class DilationZeroIsOne(Lenient):
    def mended(self, op, kernel, strides, padding, dilations):
        return kernel, strides, padding, tuple(max(d, 1) for d in pair(dilations))


@mutant("errors", "a dilation of 0 piles all taps up", conv(X, W, dilations=(0, 0)))
class DilationZeroPilesUp(Correct):
    def check_positive(self, op, what, values):
        if what != "dilations" or min(values) < 0:
            super().check_positive(op, what, values)


@mutant("errors", "max_pool: a dilation of -1 is taken", pool(X, (2, 2), dilations=(-1, 1)))
class NegativePoolDilation(Lenient):
    def mended(self, op, kernel, strides, padding, dilations):
        return kernel, strides, padding, tuple(abs(d) for d in pair(dilations))


@mutant("errors", "a window of size 0 counts as 1", pool(X, (0, 2)))
class KsizeZeroIsOne(Lenient):
    def mended(self, op, kernel, strides, padding, dilations):
        return tuple(max(k, 1) for k in pair(kernel)), strides, padding, dilations


@mutant("errors", "a window of size 0 gives -inf", pool(X, (0, 0)))
class KsizeZeroIsEmpty(Correct):
    def check_positive(self, op, what, values):
        if what != "ksize" or min(values) < 0:
            super().check_positive(op, what, values)


@mutant("errors", "a single image without batch is given one", conv(X[1:], W))
class RankThreeTaken(Correct):
    def enter(self, op, *arrays):
        return (arrays[0][None], *arrays[1:]) if op == "conv2d" and arrays[0].ndim == 3 else arrays


@mutant("errors", "max_pool takes an image without batch", pool(X[1:], (2, 2)))
class PoolRankThreeTaken(Correct):
    def enter(self, op, *arrays):
        return (arrays[0][None], *arrays[1:]) if op == "max_pool" and arrays[0].ndim == 3 else arrays


@mutant("errors", "five axes are folded into four", conv((1, *X), W))
class RankFiveFolded(Correct):
    def enter(self, op, *arrays):
        five = op == "conv2d" and arrays[0].ndim == 5
        return (arrays[0].reshape(-1, *arrays[0].shape[2:]), *arrays[1:]) if five else arrays


@mutant("errors", "a filter of rank 2 is taken for 1x1", conv(X, (2, 3)))
class FilterRankTwo(Correct):
    def enter(self, op, *arrays):
        return (arrays[0], arrays[1][None, None]) if op == "conv2d" and arrays[1].ndim == 2 else arrays


@mutant("errors", "rank 3 kills the process", conv(X[1:], W), fatal="crash")
class RankThreeDies(Correct):
    def check_rank(self, op, what, array):
        if array.ndim != 4:
            os.abort()


@mutant("errors", "a stride of 0 never returns", conv(X, W, strides=(0, 0)), fatal="hang")
class StrideZeroHangs(Correct):
    def check_positive(self, op, what, values):
        while what == "strides" and 0 in values:
            time.sleep(0.05)
        super().check_positive(op, what, values)


@mutant("errors", "channels that the filter has not are left out", conv((1, 4, 4, 3), W))
class ExtraChannelsLeftOut(Correct):
    def enter(self, op, *arrays):
        more = op == "conv2d" and arrays[0].ndim == arrays[1].ndim == 4 and arrays[0].shape[3] % arrays[1].shape[2]
        return (arrays[0][..., : arrays[1].shape[2]], arrays[1]) if more else arrays


@mutant("errors", "a filter of one channel is broadcast over all", conv(X, (2, 2, 1, 2)))
class FilterBroadcast(Correct):
    def conv2d(self, x, w, *, groups, **options):
        if groups == 1 and w.ndim == 4 and w.shape[2] == 1 < x.shape[-1]:
            w = np.broadcast_to(w, (*w.shape[:2], x.shape[-1], w.shape[3]))
        return super().conv2d(x, w, groups=groups, **options)


@mutant("errors", "groups follow from the shapes, whatever was asked", conv(X, (2, 2, 1, 2), groups=1))
class GroupsInferred(Correct):
    def conv2d(self, x, w, *, groups, **options):
        fits = x.ndim == w.ndim == 4 and w.shape[2] and x.shape[3] % w.shape[2] == 0
        return super().conv2d(x, w, groups=x.shape[3] // w.shape[2] if fits else groups, **options)


@mutant("errors", "filters left over when groups do not divide are dropped", conv((1, 4, 4, 2), (2, 2, 1, 3), groups=2))
class GroupsLeaveFiltersOut(Correct):
    def conv2d(self, x, w, *, groups, **options):
        over = groups > 1 and w.ndim == 4 and w.shape[3] > groups
        return super().conv2d(x, w[..., : w.shape[3] // groups * groups] if over else w, groups=groups, **options)


@mutant("errors", "0 groups count as 1", conv(X, W, groups=0))
class ZeroGroups(Correct):
    def conv2d(self, x, w, *, groups, **options):
        return super().conv2d(x, w, groups=groups or 1, **options)


@mutant("errors", "negative padding counts as none", conv(X, W, padding=((-1, 0), (0, 0))))
class NegativePaddingIsNone(Lenient):
    def mended(self, op, kernel, strides, padding, dilations):
        if not isinstance(padding, str):
            padding = tuple(tuple(max(p, 0) for p in side) for side in padding)
        return kernel, strides, padding, dilations


@mutant("errors", "negative padding crops", conv((1, 5, 5, 2), W, padding=((-1, 0), (0, 0))))
class NegativePaddingCrops(Correct):
    def conv2d(self, x, w, *, padding, **options):
        if not isinstance(padding, str) and min(map(min, padding)) < 0:
            (t, b), (left, r) = [[max(-p, 0) for p in side] for side in padding]
            x = x[:, t : x.shape[1] - b, left : x.shape[2] - r]
            padding = tuple(tuple(max(p, 0) for p in side) for side in padding)
        return super().conv2d(x, w, padding=padding, **options)


@mutant("errors", "max_pool: negative padding counts as none", pool(X, (2, 2), padding=((0, -1), (0, 0))))
class NegativePoolPadding(NegativePaddingIsNone):
    def mended(self, op, kernel, strides, padding, dilations):
        if op != "max_pool":
            return kernel, strides, padding, dilations
        return super().mended(op, kernel, strides, padding, dilations)


@mutant("errors", "an unknown padding name is VALID", conv(X, W, padding="FULL"))
class UnknownPaddingIsValid(Lenient):
    def mended(self, op, kernel, strides, padding, dilations):
        known = not isinstance(padding, str) or padding.upper() in ("SAME", "VALID", "SAME_LOWER")
        return kernel, strides, padding if known else "VALID", dilations


@mutant("errors", "padding is read by its first letter", pool(X, (2, 2), padding="SOME"))
class PaddingByFirstLetter(Lenient):
    def mended(self, op, kernel, strides, padding, dilations):
        lower = isinstance(padding, str) and padding.upper() == "SAME_LOWER"
        if isinstance(padding, str) and not lower:
            padding = {"S": "SAME", "V": "VALID"}.get(padding[:1].upper(), padding)
        return kernel, strides, padding, dilations


@mutant("errors", "mixed types are promoted", conv(X, W, dtype=("float32", "float64")))
class MixedTypesPromoted(Correct):
    def enter(self, op, *arrays):
        return tuple(a.astype(np.result_type(*(b.dtype for b in arrays))) for a in arrays) if op == "conv2d" else arrays


@mutant("errors", "the filter is converted to the input's type", conv(X, W, dtype=("float32", "float16")))
class FilterConverted(Correct):
    def enter(self, op, *arrays):
        return (arrays[0], arrays[1].astype(arrays[0].dtype)) if op == "conv2d" else arrays


@mutant("errors", "dy of another type is converted", conv_vjp(X, W, DY, dtype=("float32", "float32", "float64")))
class GradientConverted(Correct):
    def enter(self, op, *arrays):
        return (*arrays[:-1], arrays[-1].astype(arrays[0].dtype)) if op.endswith("vjp") else arrays


@mutant("errors", "dy is broadcast to the output's shape", conv_vjp(X, W, (1, 1, 1, 2)))
class GradientBroadcast(Correct):
    def check_gradient(self, op, dy, shape):
        np.broadcast_to(dy, shape)

    def conv2d_vjp(self, x, w, dy, **options):
        y = self.conv2d(x, w, **options)
        return super().conv2d_vjp(x, w, np.broadcast_to(dy, y.shape), **options)


@mutant("errors", "max_pool's dy is cut or filled up to the output's shape", pool_vjp(X, (1, 4, 3, 2), (2, 2)))
class PoolGradientResized(Correct):
    def max_pool_vjp(self, x, dy, **options):
        shape = super().max_pool(x, **options).shape
        return super().max_pool_vjp(x, dy if dy.shape == shape else np.resize(dy, shape), **options)


@mutant("errors", "errors are logged, and NaN answered", conv(X, W, strides=(0, 1)))
class ErrorsBecomeNan(Correct):
    def conv2d(self, x, w, **options):
        try:
            return super().conv2d(x, w, **options)
        except (TypeError, ValueError):
            return np.full(x.shape, np.nan, np.float32)


@mutant("errors", "errors answer None", pool(X, (0, 0)))
class ErrorsBecomeNone(Correct):
    def max_pool(self, x, **options):
        try:
            return super().max_pool(x, **options)
        except (TypeError, ValueError):
            return None


@mutant("errors", "an error exits the interpreter", conv(X, W, padding="FULL"), fatal="exit")
class ErrorsExit(Correct):
    def check_padding_name(self, op, padding):
        try:
            super().check_padding_name(op, padding)
        except ValueError as error:
            raise SystemExit(3) from error


@mutant(
    "errors",
    "after an error the next result is stale",
    conv(X, W, seed=1),
    conv(X, W, strides=(0, 1)),
    conv(X, W, seed=2),
)
class ErrorLeavesStale(Correct):
    last, failed = None, False

    def conv2d(self, x, w, **options):
        try:
            y = super().conv2d(x, w, **options)
        except (TypeError, ValueError):
            self.failed = True
            raise
        stale = self.failed and self.last is not None and self.last.shape == y.shape
        kept, self.last, self.failed = self.last, y.copy(), False
        return kept.astype(y.dtype) if stale else y


@mutant(
    "errors",
    "after an error the strides of the failed call stay",
    conv(X, W, strides=(2, 2), padding="FULL"),
    conv(X, W),
)
class ErrorLeavesStrides(Correct):
    left = None

    def window(self, op, size, kernel, strides, padding, dilations):
        left, self.left = self.left, strides
        win = super().window(op, size, kernel, left or strides, padding, dilations)
        self.left = None
        return win


@mutant("errors", "the input is scaled in place before a wrong padding is refused", conv(X, W, padding="FULL"))
class ErrorLeavesInputScaled(Correct):
    def enter(self, op, *arrays):
        self.scaled = arrays[0] if op == "conv2d" and arrays[0].flags.writeable else None
        return arrays

    def check_padding_name(self, op, padding):
        try:
            super().check_padding_name(op, padding)
        except ValueError:
            if self.scaled is not None:
                self.scaled *= self.scaled.dtype.type(2)
            raise


@mutant(
    "errors", "padding over half the window is refused (torch)", pool((1, 3, 3, 1), (2, 2), padding=((2, 0), (0, 0)))
)
class PoolPaddingRefused(Correct):
    def explicit_axis(self, op, axis, n, k, s, d, pads):
        if op == "max_pool" and max(pads) > k // 2:
            raise RuntimeError("pad should be at most half of effective kernel size")
        return super().explicit_axis(op, axis, n, k, s, d, pads)


@mutant(
    "errors",
    "strides with dilations are refused, as an error",
    conv((1, 6, 6, 1), (2, 2, 1, 1), strides=(2, 2), dilations=(2, 2)),
)
class StrideWithDilationRefused(Correct):
    def window(self, op, size, kernel, strides, padding, dilations):
        if max(strides) > 1 and max(dilations) > 1:
            raise ValueError("`strides > 1` not supported in conjunction with `dilation_rate > 1`")
        return super().window(op, size, kernel, strides, padding, dilations)


@mutant("errors", "the gradient takes channels that do not match", conv_vjp((1, 3, 3, 3), (2, 2, 2, 1), (1, 2, 2, 1)))
class GradientChannelMismatch(Correct):
    def conv2d_vjp(self, x, w, dy, **options):
        if options["groups"] == 1 and x.ndim == w.ndim == 4 and x.shape[3] > w.shape[2]:
            x = x[..., : w.shape[2]]
        return super().conv2d_vjp(x, w, dy, **options)


@mutant(
    "errors", "the gradient takes a stride of 0", conv_vjp((2, 3, 3, 1), (2, 2, 1, 2), (2, 2, 2, 2), strides=(0, 1))
)
class GradientStrideZero(Correct):
    def window(self, op, size, kernel, strides, padding, dilations):
        fixed = tuple(max(s, 1) for s in strides) if op == "conv2d_vjp" else strides
        return super().window(op, size, kernel, fixed, padding, dilations)


@mutant(
    "errors",
    "max_pool's gradient takes a dy of another type",
    pool_vjp((1, 3, 3, 1), (1, 2, 2, 1), (2, 2), dtype=("float32", "float64")),
)
class PoolGradientMixedTypes(Correct):
    def max_pool_vjp(self, x, dy, **options):
        return super().max_pool_vjp(x, dy.astype(x.dtype), **options)


@mutant(
    "errors",
    "a bottom or right padding that is negative goes unnoticed",
    conv((1, 5, 5, 1), (2, 2, 1, 1), padding=((1, -1), (0, 0))),
)
class NegativeAfterUnnoticed(Correct):
    def check_pads(self, op, pads):
        super().check_pads(op, [(side[0], 0) for side in pads])

    def explicit_axis(self, op, axis, n, k, s, d, pads):
        return self.out_size(op, n, k, s, d, pads), (pads[0], max(pads[1], 0))


@mutant(
    "errors",
    "groups that divide the channels and not the filters: the last group is short",
    conv((1, 3, 3, 4), (2, 2, 2, 3), groups=2),
)
class ShortLastGroup(Correct):
    def check_groups(self, op, x, w, groups):
        super().check_groups(op, x, w[..., : w.shape[3] // groups * groups] if groups > 0 else w, groups)

    def split_groups(self, op, what, array, groups):
        return np.array_split(array, groups, axis=3)
