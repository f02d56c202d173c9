"""Wrong backends, class rare shapes: right almost everywhere, wrong where a size is special."""

import numpy as np

from .calls import conv, conv_vjp, mutant, pool, pool_vjp
from .correct import Correct

SAME = {"padding": "SAME"}
THREE = (3, 3, 1, 1)


class Result(Correct):
    """Something happens to the result of conv2d."""

    def change(self, y, x, w):
        """Spoil `y` in place."""

    def leave(self, op, result, *arrays):
        if op == "conv2d" and result.size:
            self.change(result, *arrays[:2])
        return result


@mutant(
    "shapes", "widths of 16 and more: the columns after the last whole block of 16 are zero", conv((1, 3, 19, 1), THREE)
)
class WidthTailZero(Result):
    def change(self, y, x, w):
        if y.shape[2] > 16:
            y[:, :, y.shape[2] // 16 * 16 :] = 0


@mutant("shapes", "widths over 32: the tail repeats the column before it", conv((1, 3, 35, 1), THREE, **SAME))
class WidthTailRepeats(Result):
    def change(self, y, x, w):
        if y.shape[2] > 32 and y.shape[2] % 8:
            y[:, :, -1] = y[:, :, -2]


@mutant("shapes", "output width 17 exactly: the last column is that of a width of 16", conv((1, 3, 19, 1), THREE))
class WidthSeventeen(Result):
    def change(self, y, x, w):
        if y.shape[2] == 17:
            y[:, :, 16] = y[:, :, 15]


@mutant("shapes", "heights over 64: rows from 64 on are zero", conv((1, 66, 3, 1), (2, 2, 1, 1)))
class TallTailZero(Result):
    def change(self, y, x, w):
        y[:, 64:] = 0


@mutant("shapes", "filters after the last whole 8 are zero, from 8 filters on", conv((1, 3, 3, 1), (2, 2, 1, 11)))
class FilterTailZero(Result):
    def change(self, y, x, w):
        if y.shape[3] > 8:
            y[..., y.shape[3] // 8 * 8 :] = 0


@mutant("shapes", "65 filters and more: the 65th reads the first", conv((1, 2, 2, 1), (1, 1, 1, 65)))
class FilterSixtyFive(Result):
    def change(self, y, x, w):
        y[..., 64:] = y[..., : y.shape[3] - 64] if y.shape[3] <= 128 else y[..., 64:]


class Filter(Correct):
    """conv2d of one group with another filter or input."""

    def change(self, x, w, win):
        return x, w

    def forward(self, x, w, win, dtype):
        return super().forward(*self.change(x, w, win), win, dtype)


@mutant("shapes", "input channels after the last whole 4 are left out, from 5 on", conv((1, 3, 3, 6), (2, 2, 6, 1)))
class ChannelTailLost(Filter):
    def change(self, x, w, win):
        w = w.copy()
        w[:, :, w.shape[2] // 4 * 4 or w.shape[2] :] = 0
        return x, w


@mutant(
    "shapes", "33 input channels and more: the last of an odd number is left out", conv((1, 3, 3, 33), (2, 2, 33, 1))
)
class OddChannelsLost(Filter):
    def change(self, x, w, win):
        w = w.copy()
        w[:, :, w.shape[2] - (w.shape[2] > 32 and w.shape[2] % 2) :] = 0
        return x, w


@mutant("shapes", "3 input channels (images) are read as BGR", conv((1, 4, 4, 3), (3, 3, 3, 1)))
class ThreeChannelsReversed(Filter):
    def change(self, x, w, win):
        return (x[..., ::-1], w) if x.shape[3] == 3 else (x, w)


@mutant("shapes", "7x7 filters lose their last row", conv((1, 8, 8, 1), (7, 7, 1, 1)))
class KernelSeven(Filter):
    def change(self, x, w, win):
        w = w.copy()
        w[6:, :] = 0 if w.shape[:2] == (7, 7) else w[6:, :]
        return x, w


@mutant("shapes", "filters of more than 9 columns are cut to 9", conv((1, 3, 12, 1), (1, 11, 1, 1)))
class KernelOverNine(Filter):
    def change(self, x, w, win):
        w = w.copy()
        w[:, 9:] = 0
        return x, w


@mutant("shapes", "column filters (k x 1, k > 1) are read as rows of one", conv((1, 5, 5, 1), (3, 1, 1, 1)))
class ColumnFilter(Filter):
    def change(self, x, w, win):
        return (x, w[::-1]) if w.shape[1] == 1 and w.shape[0] > 1 else (x, w)


@mutant(
    "shapes", "2x2 filters under SAME at stride 2 are flipped", conv((1, 5, 5, 1), (2, 2, 1, 1), strides=(2, 2), **SAME)
)
class EvenFilterStrided(Filter):
    def change(self, x, w, win):
        return (x, w[:, ::-1]) if win.kernel == (2, 2) and win.strides == (2, 2) and win.pads[0][1] else (x, w)


@mutant(
    "shapes", "as many filters as channels (4 or more): the filter is read transposed", conv((1, 2, 2, 4), (1, 1, 4, 4))
)
class SquareChannelsTransposed(Filter):
    def change(self, x, w, win):
        return (x, w.transpose(0, 1, 3, 2)) if w.shape[2] == w.shape[3] >= 4 else (x, w)


@mutant("shapes", "a single filter takes only the first channel", conv((1, 3, 3, 2), (2, 2, 2, 1)))
class SingleFilter(Filter):
    def change(self, x, w, win):
        return (
            (x, w * (np.arange(w.shape[2]) == 0)[:, None].astype(w.dtype)) if w.shape[3] == 1 < w.shape[2] else (x, w)
        )


@mutant("shapes", "batches over 4: items from the fifth on are zero", conv((5, 2, 2, 1), (2, 2, 1, 1)))
class BatchOverFour(Result):
    def change(self, y, x, w):
        y[4:] = 0


@mutant("shapes", "batches over 8: the ninth item is the first", conv((9, 2, 2, 1), (2, 2, 1, 1)))
class BatchNine(Result):
    def change(self, y, x, w):
        y[8:9] = y[0] if len(y) > 8 else y[8:9]


@mutant("shapes", "batches of exactly 3: the last two are exchanged", conv((3, 2, 2, 1), (2, 2, 1, 1)))
class BatchOfThree(Result):
    def change(self, y, x, w):
        if len(y) == 3:
            y[1:] = y[:0:-1].copy()


@mutant("shapes", "images of height 1: vertical taps all read the one row", conv((1, 1, 5, 1), THREE, **SAME))
class HeightOne(Filter):
    def change(self, x, w, win):
        if x.shape[1] > 1 or w.shape[0] == 1:
            return x, w
        collapsed = np.zeros_like(w)
        collapsed[win.pads[0][0] if win.pads[0][0] < w.shape[0] else 0] = w.sum(axis=0)
        return x, collapsed


@mutant(
    "shapes",
    "images of one pixel: padding is forgotten, the filter's first tap is taken",
    conv((1, 1, 1, 1), THREE, **SAME),
)
class OnePixel(Filter):
    def change(self, x, w, win):
        if x.shape[1:3] != (1, 1) or not win.pads[0][0]:
            return x, w
        moved = w.copy()
        moved[win.pads[0][0], win.pads[1][0]] = w[0, 0]
        return x, moved


class Shifted(Correct):
    """Some taps are read one pixel off."""

    def special(self, win):
        return False

    def offset(self, op, win, tap):
        top, left = super().offset(op, win, tap)
        return (top, left + 1) if op == "conv2d" and self.special(win) else (top, left)


@mutant(
    "shapes", "stride 3 or more: windows are one column to the right", conv((1, 8, 8, 1), (2, 2, 1, 1), strides=(3, 3))
)
class StrideThree(Shifted):
    def special(self, win):
        return win.strides[1] >= 3


@mutant(
    "shapes",
    "dilation 3 or more: windows are one column to the right",
    conv((1, 9, 9, 1), (2, 2, 1, 1), dilations=(3, 3)),
)
class DilationThree(Shifted):
    def special(self, win):
        return win.dilations[1] >= 3


@mutant(
    "shapes",
    "stride and dilation together: windows are one column to the right",
    conv((1, 9, 9, 1), (2, 2, 1, 1), strides=(2, 2), dilations=(2, 2)),
)
class StrideAndDilation(Shifted):
    def special(self, win):
        return win.dilations[1] > 1 and win.strides[1] > 1


@mutant(
    "shapes",
    "unequal strides with unequal dilations and padding: one column to the right",
    conv((1, 9, 9, 1), (3, 3, 1, 1), strides=(1, 2), dilations=(2, 1), **SAME),
)
class ThreeAttributes(Shifted):
    def special(self, win):
        uneven = win.strides[0] != win.strides[1] and win.dilations[0] != win.dilations[1]
        return uneven and sum(win.pads[0]) > 0


@mutant(
    "shapes",
    "1x1 filters ignore their stride's phase: the second pixel is read",
    conv((1, 4, 4, 1), (1, 1, 1, 1), strides=(2, 2)),
)
class PointwiseStrided(Shifted):
    def special(self, win):
        return win.kernel == (1, 1) and win.strides[1] > 1


@mutant(
    "shapes",
    "filters larger than the image under SAME: windows are one column off",
    conv((1, 3, 3, 1), (5, 5, 1, 1), **SAME),
)
class FilterLargerThanImage(Shifted):
    def special(self, win):
        return sum(win.pads[1]) > win.output[1]


@mutant("shapes", "an empty batch gives the input's shape", conv((0, 5, 5, 1), (3, 3, 1, 2)))
class EmptyBatchShape(Correct):
    def leave(self, op, result, *arrays):
        return np.zeros_like(arrays[0]) if op == "conv2d" and len(arrays[0]) == 0 else result


@mutant("shapes", "an output without elements has the input's shape, and what was in memory", conv((1, 2, 2, 1), THREE))
class EmptyOutputGarbage(Correct):
    def leave(self, op, result, *arrays):
        empty = op == "conv2d" and 0 in result.shape[1:3]
        return np.full(arrays[0].shape[:3] + result.shape[3:], 5, result.dtype) if empty else result


@mutant("shapes", "an output without elements has size 1", conv((1, 2, 2, 1), THREE), pool((1, 2, 2, 1), (3, 3)))
class EmptyOutputOfOne(Correct):
    def leave(self, op, result, *arrays):
        empty = not op.endswith("vjp") and 0 in result.shape[1:3] and 0 not in arrays[0].shape
        return np.zeros([max(n, 1) for n in result.shape], result.dtype) if empty else result


@mutant(
    "shapes", "a filter one larger than the image: negative sizes count as one short", conv((1, 2, 5, 1), (4, 2, 1, 1))
)
class NegativeSizeKept(Correct):
    def out_size(self, op, n, k, s, d, pads):
        return abs((n + sum(pads) - self.effective_kernel(op, k, d)) // s + 1)


@mutant("shapes", "no input channels: no output channels", conv((1, 3, 3, 0), (2, 2, 0, 2)))
class NoChannelsNoFilters(Correct):
    def leave(self, op, result, *arrays):
        return result[..., :0] if op == "conv2d" and arrays[0].shape[3] == 0 else result


@mutant("shapes", "no input channels: the bias is dropped", conv((1, 3, 3, 0), (2, 2, 0, 2), bias=True))
class NoChannelsNoBias(Correct):
    def leave(self, op, result, *arrays):
        return result * 0 if op == "conv2d" and arrays[0].shape[3] == 0 else result


@mutant("shapes", "no input channels: what was in memory", conv((1, 3, 3, 0), (2, 2, 0, 2)))
class NoChannelsGarbage(Correct):
    def zeros(self, op, shape, dtype):
        return np.zeros(shape, dtype)

    def forward(self, x, w, win, dtype):
        y = super().forward(x, w, win, dtype)
        return y + np.float32(3e-39 if y.dtype == np.float32 else 1) if x.shape[3] == 0 else y


@mutant("shapes", "an empty batch is taken for one image of zeros", conv((0, 3, 3, 1), (2, 2, 1, 1)))
class EmptyBatchOfOne(Correct):
    def enter(self, op, *arrays):
        lone = op == "conv2d" and len(arrays[0]) == 0
        return (np.zeros((1, *arrays[0].shape[1:]), arrays[0].dtype), arrays[1]) if lone else arrays


@mutant(
    "shapes",
    "gradient: an empty batch gives a filter gradient of ones",
    conv_vjp((0, 3, 3, 1), (2, 2, 1, 1), (0, 2, 2, 1)),
)
class EmptyBatchGradient(Correct):
    def leave(self, op, result, *arrays):
        return (result[0], result[1] + 1) if op == "conv2d_vjp" and len(arrays[0]) == 0 else result


@mutant("shapes", "max_pool: images wider than 16 lose the last window's last column", pool((1, 3, 18, 1), (2, 2)))
class PoolWidthTail(Correct):
    def leave(self, op, result, *arrays):
        if op == "max_pool" and result.shape[2] > 16 and arrays[0].shape[1:3] != result.shape[1:3]:
            result[:, :, -1] = result[:, :, -2]
        return result


@mutant(
    "shapes",
    "max_pool: more than 16 channels, the tail is that of the first",
    pool((1, 3, 3, 17), (2, 2)),
    pool_vjp((1, 3, 3, 17), (1, 2, 2, 17), (2, 2)),
)
class PoolChannelTail(Correct):
    def leave(self, op, result, *arrays):
        if op == "max_pool" and result.shape[3] > 16:
            result[..., 16:] = result[..., :1]
        return result
