"""Wrong backends whose fault needs several things together, or is met late: the hardest ones to find."""

import numpy as np

from .calls import conv, conv_vjp, mutant, pool, pool_vjp
from .correct import Correct

X, W = (2, 3, 3, 1), (2, 2, 1, 2)
ONE, OTHER, THIRD = conv(X, W, seed=1), conv((1, 4, 3, 1), W, seed=2), conv(X, W, seed=3)


class Conditional(Correct):
    """In `case`, the last tap of conv2d is read one column off."""

    def case(self, x, win, groups, padding):
        return False

    def conv2d(self, x, w, *, groups, padding, **options):
        self.asked = x, groups, padding
        return super().conv2d(x, w, groups=groups, padding=padding, **options)

    def offset(self, op, win, tap):
        top, left = super().offset(op, win, tap)
        x, groups, padding = self.asked if op == "conv2d" else (None, 1, None)
        last = tap == (win.kernel[0] - 1, win.kernel[1] - 1)
        return (top, left + 1) if x is not None and last and self.case(x, win, groups, padding) else (top, left)


@mutant(
    "geometry",
    "float64 with dilation and explicit padding",
    conv((1, 6, 6, 1), (2, 2, 1, 1), dtype="float64", dilations=(2, 2), padding=((1, 0), (0, 1))),
)
class Float64DilatedExplicit(Conditional):
    def case(self, x, win, groups, padding):
        return x.dtype == np.float64 and max(win.dilations) > 1 and not isinstance(padding, str)


@mutant(
    "groups",
    "groups with stride 2 down and 1 across under SAME",
    conv((1, 6, 6, 2), (3, 3, 1, 2), strides=(2, 1), groups=2, padding="SAME"),
)
class GroupedTallStride(Conditional):
    def case(self, x, win, groups, padding):
        return groups > 1 and win.strides == (2, 1) and padding == "SAME"


@mutant(
    "groups",
    "float16 with groups and dilation",
    conv((1, 6, 6, 2), (2, 2, 1, 2), dilations=(2, 2), groups=2, dtype="float16"),
)
class GroupedDilatedFloat16(Conditional):
    def case(self, x, win, groups, padding):
        return groups > 1 and max(win.dilations) > 1 and x.dtype == np.float16


@mutant(
    "layout",
    "a non-contiguous input with stride 2",
    conv((1, 6, 6, 2), (2, 2, 2, 1), strides=(2, 2), layout=("nchw", "C")),
)
class StridedNonContiguous(Conditional):
    def case(self, x, win, groups, padding):
        return not x.flags.c_contiguous and max(win.strides) > 1


@mutant(
    "shapes",
    "a batch over 1 with one channel, an even filter and SAME",
    conv((2, 5, 5, 1), (4, 4, 1, 1), padding="SAME"),
)
class BatchEvenSame(Conditional):
    def case(self, x, win, groups, padding):
        return len(x) > 1 and x.shape[3] == 1 and win.kernel == (4, 4) and padding == "SAME"


@mutant("shapes", "more than 10,000 outputs: the last is lost", conv((1, 36, 36, 1), (1, 1, 1, 8)))
class TenThousandOutputs(Correct):
    def leave(self, op, result, *arrays):
        if op == "conv2d" and result.size > 10_000:
            result.reshape(-1)[-1] = 0
        return result


@mutant("shapes", "widths over 128: the column at 128 repeats", conv((1, 1, 131, 1), (1, 2, 1, 1)))
class WidthOver128(Correct):
    def leave(self, op, result, *arrays):
        if op == "conv2d" and result.shape[2] > 128:
            result[:, :, 128] = result[:, :, 127]
        return result


@mutant(
    "shapes",
    "batches of 16 and more: the last item is computed with the first one's last row",
    conv((16, 2, 2, 1), (1, 1, 1, 1)),
)
class BatchOfSixteen(Correct):
    def leave(self, op, result, *arrays):
        if op == "conv2d" and len(result) >= 16 and result.size:
            result[-1, -1] = result[0, -1]
        return result


@mutant(
    "shapes",
    "more than 64 filters and more than 64 channels: two blocks of filters exchanged",
    conv((1, 1, 1, 65), (1, 1, 65, 96)),
)
class BlocksExchanged(Correct):
    def leave(self, op, result, *arrays):
        if op == "conv2d" and result.shape[3] > 64 and arrays[0].shape[3] > 64:
            order = np.r_[32:64, 0:32, 64 : result.shape[3]]
            return result[..., order]
        return result


@mutant(
    "geometry",
    "explicit padding as large as the filter's reach, or larger, is cut below it",
    conv((1, 3, 3, 1), (2, 2, 1, 1), padding=((2, 0), (0, 0))),
)
class LargePaddingCut(Correct):
    def explicit_axis(self, op, axis, n, k, s, d, pads):
        size, pads = super().explicit_axis(op, axis, n, k, s, d, pads)
        most = self.effective_kernel(op, k, d)
        return size, (min(pads[0], max(most - 1, 0)), pads[1] + max(pads[0] - max(most - 1, 0), 0))


@mutant(
    "geometry",
    "SAME with the image smaller than the stride: total padding n mod s",
    conv((1, 2, 2, 1), (2, 2, 1, 1), strides=(3, 3), padding="SAME", data="positive"),
    conv((1, 2, 2, 1), (4, 4, 1, 1), strides=(3, 3), padding="SAME"),
)
class ImageSmallerThanStride(Correct):
    def split(self, op, total):
        return super().split(op, total)

    def same_axis(self, op, axis, n, k, s, d):
        size, sides = super().same_axis(op, axis, n, k, s, d)
        return (size, (0, sum(sides))) if n < s else (size, sides)


@mutant(
    "geometry",
    "SAME, dilated, even filter: the odd pixel goes first",
    conv((1, 6, 6, 1), (2, 2, 1, 1), dilations=(3, 3), padding="SAME"),
)
class DilatedEvenOddPixel(Correct):
    def same_axis(self, op, axis, n, k, s, d):
        size, sides = super().same_axis(op, axis, n, k, s, d)
        return size, sides[::-1] if d > 1 and k % 2 == 0 else sides


@mutant("dtype", "conv2d_vjp answers dx alone", conv_vjp(X, W, (2, 2, 2, 2)))
class InputGradientAlone(Correct):
    def leave(self, op, result, *arrays):
        return result[0] if op == "conv2d_vjp" else result


@mutant(
    "gradients",
    "rows that only the last window reads get nothing when the image is not used up",
    conv_vjp((1, 6, 6, 1), (2, 2, 1, 1), (1, 2, 2, 1), strides=(3, 3)),
    conv_vjp((1, 6, 6, 1), (3, 3, 1, 1), (1, 2, 2, 1), strides=(2, 2)),
)
class LastWindowLost(Correct):
    def input_gradient(self, x, w, dy, win, dtype):
        reach = (win.output[0] - 1) * win.strides[0] + win.kernel[0]
        if x.shape[1] > reach and not sum(win.pads[0]) and win.output[0] > 1:
            dy = dy.copy()
            dy[:, -1] = 0
        return super().input_gradient(x, w, dy, win, dtype)


@mutant(
    "gradients",
    "explicit uneven padding is evened out in the gradients alone",
    conv_vjp((1, 4, 4, 1), (3, 3, 1, 1), (1, 4, 4, 1), padding=((2, 0), (1, 1))),
)
class GradientPadsEvened(Correct):
    def explicit_axis(self, op, axis, n, k, s, d, pads):
        size, pads = super().explicit_axis(op, axis, n, k, s, d, pads)
        return size, (sum(pads) // 2, sum(pads) - sum(pads) // 2) if op == "conv2d_vjp" else pads


@mutant(
    "gradients",
    "the filter gradient of 1x1 filters with stride reads unstrided pixels",
    conv_vjp((1, 4, 4, 1), (1, 1, 1, 1), (1, 2, 2, 1), strides=(2, 2)),
)
class PointwiseFilterGradient(Correct):
    def filter_gradient(self, x, w, dy, win, dtype):
        packed = win._replace(strides=(1, 1)) if win.kernel == (1, 1) else win
        return super().filter_gradient(x, w, dy, packed, dtype)


@mutant(
    "gradients",
    "SAME_LOWER is SAME in the gradients",
    conv_vjp((1, 4, 4, 1), (2, 2, 1, 1), (1, 4, 4, 1), padding="SAME_LOWER"),
)
class GradientSameLower(Correct):
    def axis_geometry(self, op, axis, n, k, s, d, padding):
        lower = op.endswith("vjp") and padding == "SAME_LOWER"
        return super().axis_geometry(op, axis, n, k, s, d, "SAME" if lower else padding)


@mutant(
    "gradients",
    "with dilation, max_pool's gradient in float16 is doubled",
    pool_vjp((1, 4, 4, 1), (1, 2, 2, 1), (2, 2), dilations=(2, 2), dtype="float16"),
)
class DilatedPoolGradientFloat16(Correct):
    def max_pool_vjp(self, x, dy, *, dilations, **options):
        dx = super().max_pool_vjp(x, dy, dilations=dilations, **options)
        return dx + dx if max(dilations) > 1 and x.dtype == np.float16 else dx


@mutant(
    "pooling",
    "windows of 1 x n under SAME at stride 2 read one column further",
    pool((1, 3, 6, 1), (1, 3), strides=(1, 2), padding="SAME"),
)
class FlatWindowShifted(Correct):
    def offset(self, op, win, tap):
        top, left = super().offset(op, win, tap)
        flat = op == "max_pool" and win.kernel[0] == 1 < win.kernel[1] and win.strides[1] == 2 and sum(win.pads[1])
        return (top, left + 1) if flat and tap[1] == win.kernel[1] - 1 else (top, left)


@mutant("pooling", "5 items and more: the fifth shares the fourth's result", pool((5, 2, 2, 1), (2, 2)))
class PoolFifthItem(Correct):
    def leave(self, op, result, *arrays):
        if op == "max_pool" and len(result) > 4:
            result[4] = result[3]
        return result
