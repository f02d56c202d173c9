"""Wrong backends, class geometry: the window reads other pixels than the specification says."""

import numpy as np

from .calls import conv, conv_vjp, mutant, pool
from .correct import Correct

ODD = {"padding": "SAME", "data": "lattice"}


@mutant(
    "geometry",
    "SAME puts the odd pixel first",
    conv((1, 6, 5, 1), (2, 2, 1, 1), **ODD),
    pool((1, 6, 5, 1), (2, 2), **ODD),
)
class OddPixelFirst(Correct):
    def split(self, op, total):
        return total - total // 2, total // 2


@mutant("geometry", "conv2d only: the odd pixel goes first", conv((1, 6, 5, 1), (2, 2, 1, 1), **ODD))
class OddPixelFirstInConv(Correct):
    def split(self, op, total):
        return (total - total // 2, total // 2) if op == "conv2d" else super().split(op, total)


@mutant("geometry", "max_pool only: the odd pixel goes first", pool((1, 6, 5, 1), (2, 2), **ODD))
class OddPixelFirstInPool(Correct):
    def split(self, op, total):
        return (total - total // 2, total // 2) if op.startswith("max_pool") else super().split(op, total)


@mutant(
    "geometry", "the odd pixel goes first at stride 2 or more", conv((1, 6, 6, 1), (3, 3, 1, 1), strides=(2, 2), **ODD)
)
class OddPixelFirstWhenStrided(Correct):
    def same_axis(self, op, axis, n, k, s, d):
        size, sides = super().same_axis(op, axis, n, k, s, d)
        return size, sides[::-1] if s > 1 else sides


@mutant("geometry", "the odd pixel goes first on the width only", conv((1, 6, 6, 1), (2, 2, 1, 1), **ODD))
class OddPixelFirstOnWidth(Correct):
    def same_axis(self, op, axis, n, k, s, d):
        size, sides = super().same_axis(op, axis, n, k, s, d)
        return size, sides[::-1] if axis == 1 else sides


@mutant("geometry", "SAME drops the odd pixel", conv((1, 5, 5, 1), (2, 2, 1, 1), **ODD))
class OddPixelDropped(Correct):
    def same_axis(self, op, axis, n, k, s, d):
        half = self.same_total(op, n, k, s, d) // 2
        return self.out_size(op, n, k, s, d, (half, half)), (half, half)


@mutant(
    "geometry",
    "SAME pads k // 2 on both sides, whatever the stride",
    conv((1, 6, 6, 1), (3, 3, 1, 1), strides=(2, 2), **ODD),
)
class SymmetricPadding(Correct):
    def same_axis(self, op, axis, n, k, s, d):
        half = (self.effective_kernel(op, k, d) - 1) // 2
        return self.same_size(op, n, s), (half, self.effective_kernel(op, k, d) - 1 - half)


@mutant(
    "geometry",
    "SAME reads n mod s the wrong way: padding max(k - n % s, 0)",
    conv((1, 6, 6, 1), (3, 3, 1, 1), strides=(2, 2), **ODD),
)
class PaddingByRemainder(Correct):
    def same_total(self, op, n, k, s, d):
        return max(self.effective_kernel(op, k, d) - (n % s), 0)


@mutant(
    "geometry", "SAME ignores the dilation in its padding", conv((1, 7, 7, 1), (3, 3, 1, 1), dilations=(2, 2), **ODD)
)
class SamePaddingIgnoresDilation(Correct):
    def same_total(self, op, n, k, s, d):
        return super().same_total(op, n, k, s, 1)


@mutant(
    "geometry",
    "VALID's size ignores the dilation (and reads zeros)",
    conv((1, 7, 7, 1), (3, 3, 1, 1), dilations=(2, 2)),
)
class ValidSizeIgnoresDilation(Correct):
    def out_size(self, op, n, k, s, d, pads):
        return super().out_size(op, n, k, s, 1, pads)


@mutant("geometry", "effective kernel k * d", conv((1, 9, 9, 1), (3, 3, 1, 1), dilations=(2, 2)))
class EffectiveKernelTimesDilation(Correct):
    def effective_kernel(self, op, k, d):
        return k * d


@mutant("geometry", "effective kernel k + (k - 1) d", conv((1, 9, 9, 1), (3, 3, 1, 1), dilations=(2, 2)))
class DilationCountsHoles(Correct):
    def effective_kernel(self, op, k, d):
        return k + (k - 1) * d if d > 1 else k


@mutant("geometry", "dilations are ignored", conv((1, 9, 9, 1), (3, 3, 1, 1), dilations=(2, 2)))
class NoDilation(Correct):
    def window(self, op, size, kernel, strides, padding, dilations):
        return super().window(op, size, kernel, strides, padding, (1, 1))


@mutant(
    "geometry",
    "the dilation is right in size and ignored in reading",
    conv((1, 9, 9, 1), (3, 3, 1, 1), dilations=(2, 2)),
)
class DilationOnlyInSize(Correct):
    def offset(self, op, win, tap):
        return tap


@mutant("geometry", "SAME rounds the output size down", conv((1, 5, 7, 1), (2, 2, 1, 1), strides=(2, 2), **ODD))
class SameFloors(Correct):
    def same_size(self, op, n, s):
        return n // s


@mutant("geometry", "VALID rounds the output size up", conv((1, 6, 6, 1), (3, 3, 1, 1), strides=(2, 2)))
class ValidCeils(Correct):
    def out_size(self, op, n, k, s, d, pads):
        return max(-(-(n + sum(pads) - self.effective_kernel(op, k, d)) // s) + 1, 0)


@mutant("geometry", "max_pool VALID rounds the output size up", pool((1, 6, 6, 1), (3, 3), strides=(2, 2)))
class PoolCeils(Correct):
    def out_size(self, op, n, k, s, d, pads):
        up = s - 1 if op.startswith("max_pool") else 0
        return max((n + sum(pads) - self.effective_kernel(op, k, d) + up) // s + 1, 0)


@mutant("geometry", "strides of height and width are swapped", conv((1, 7, 7, 1), (2, 2, 1, 1), strides=(1, 2)))
class StridesSwapped(Correct):
    def window(self, op, size, kernel, strides, padding, dilations):
        return super().window(op, size, kernel, tuple(strides)[::-1], padding, dilations)


@mutant("geometry", "dilations of height and width are swapped", conv((1, 7, 7, 1), (2, 2, 1, 1), dilations=(1, 2)))
class DilationsSwapped(Correct):
    def window(self, op, size, kernel, strides, padding, dilations):
        return super().window(op, size, kernel, strides, padding, tuple(dilations)[::-1])


@mutant("geometry", "the height's stride is used for both axes", conv((1, 7, 7, 1), (2, 2, 1, 1), strides=(1, 2)))
class OneStride(Correct):
    def window(self, op, size, kernel, strides, padding, dilations):
        return super().window(op, size, kernel, (strides[0], strides[0]), padding, dilations)


@mutant("geometry", "the width's dilation is used for both axes", conv((1, 7, 7, 1), (2, 2, 1, 1), dilations=(1, 2)))
class OneDilation(Correct):
    def window(self, op, size, kernel, strides, padding, dilations):
        return super().window(op, size, kernel, strides, padding, (dilations[1], dilations[1]))


@mutant(
    "geometry",
    "explicit padding of height and width is swapped",
    conv((1, 5, 5, 1), (3, 3, 1, 1), padding=((1, 1), (0, 0))),
)
class PadsSwapped(Correct):
    def window(self, op, size, kernel, strides, padding, dilations):
        return super().window(
            op, size, kernel, strides, padding if isinstance(padding, str) else padding[::-1], dilations
        )


@mutant(
    "geometry",
    "explicit padding before and after is swapped",
    conv((1, 5, 5, 1), (3, 3, 1, 1), padding=((2, 0), (1, 1))),
)
class PadSidesSwapped(Correct):
    def explicit_axis(self, op, axis, n, k, s, d, pads):
        return super().explicit_axis(op, axis, n, k, s, d, pads[::-1])


@mutant(
    "geometry",
    "explicit padding uses the first side for both",
    conv((1, 5, 5, 1), (3, 3, 1, 1), padding=((2, 0), (1, 1))),
)
class PadFirstSideTwice(Correct):
    def explicit_axis(self, op, axis, n, k, s, d, pads):
        return super().explicit_axis(op, axis, n, k, s, d, (pads[0], pads[0]))


@mutant(
    "geometry",
    "explicit padding is read as (top, left), (bottom, right)",
    conv((1, 5, 5, 1), (3, 3, 1, 1), padding=((0, 1), (2, 0))),
)
class PadsTransposed(Correct):
    def window(self, op, size, kernel, strides, padding, dilations):
        padding = padding if isinstance(padding, str) else tuple(zip(*padding, strict=True))
        return super().window(op, size, kernel, strides, padding, dilations)


@mutant("geometry", "uneven explicit padding is evened out", conv((1, 5, 5, 1), (3, 3, 1, 1), padding=((2, 0), (0, 2))))
class PadsEvened(Correct):
    def explicit_axis(self, op, axis, n, k, s, d, pads):
        return super().explicit_axis(op, axis, n, k, s, d, (sum(pads) // 2, sum(pads) - sum(pads) // 2))


@mutant(
    "geometry",
    "the size formula adds the padding once more (2p with p the total)",
    conv((1, 5, 5, 1), (3, 3, 1, 1), padding=((1, 1), (1, 1))),
)
class PaddingCountedTwice(Correct):
    def out_size(self, op, n, k, s, d, pads):
        return super().out_size(op, n, k, s, d, (2 * pads[0], 2 * pads[1]))


@mutant("geometry", "explicit padding is ignored", conv((1, 5, 5, 1), (3, 3, 1, 1), padding=((1, 1), (1, 1))))
class ExplicitIsValid(Correct):
    def explicit_axis(self, op, axis, n, k, s, d, pads):
        return super().explicit_axis(op, axis, n, k, s, d, (0, 0))


@mutant(
    "geometry",
    "the filter is rotated by 180 degrees (a true convolution)",
    conv((1, 5, 5, 1), (3, 3, 1, 1)),
    conv_vjp((1, 5, 5, 1), (3, 3, 1, 1), (1, 3, 3, 1)),
)
class TrueConvolution(Correct):
    def enter(self, op, *arrays):
        return (arrays[0], arrays[1][::-1, ::-1], *arrays[2:]) if op.startswith("conv2d") else arrays

    def leave(self, op, result, *arrays):
        return (result[0], result[1][::-1, ::-1]) if op == "conv2d_vjp" else result


@mutant("geometry", "the filter is flipped left to right", conv((1, 5, 5, 1), (3, 3, 1, 1)))
class FlippedColumns(Correct):
    def enter(self, op, *arrays):
        return (arrays[0], arrays[1][:, ::-1]) if op == "conv2d" else arrays


@mutant("geometry", "the filter is flipped top to bottom", conv((1, 5, 5, 1), (3, 3, 1, 1)))
class FlippedRows(Correct):
    def enter(self, op, *arrays):
        return (arrays[0], arrays[1][::-1]) if op == "conv2d" else arrays


@mutant("geometry", "square filters are transposed", conv((1, 5, 5, 1), (3, 3, 1, 1)))
class TransposedFilter(Correct):
    def forward(self, x, w, win, dtype):
        square = w.shape[0] == w.shape[1]
        return super().forward(x, w.transpose(1, 0, 2, 3) if square else w, win, dtype)


@mutant(
    "geometry",
    "windows start at the stride's last pixel, not its first",
    conv((1, 7, 7, 1), (1, 1, 1, 1), strides=(2, 2), padding="SAME"),
)
class StrideTakesLastPixel(Correct):
    def same_axis(self, op, axis, n, k, s, d):
        size, (before, after) = super().same_axis(op, axis, n, k, s, d)
        return (size, (before, after)) if k >= s else (size, (before, after + s))

    def offset(self, op, win, tap):
        shift = [s - 1 if k < s else 0 for k, s in zip(win.kernel, win.strides, strict=True)]
        top, left = super().offset(op, win, tap)
        return top + shift[0], left + shift[1]


@mutant(
    "geometry",
    "SAME with stride over kernel centres the window (negative padding)",
    conv((1, 9, 9, 1), (1, 1, 1, 1), strides=(3, 3), padding="SAME"),
)
class NegativeSamePadding(Correct):
    def offset(self, op, win, tap):
        top, left = super().offset(op, win, tap)
        gap = [max(s - k, 0) // 2 for k, s in zip(win.kernel, win.strides, strict=True)]
        return top + gap[0], left + gap[1]


@mutant(
    "geometry",
    "SAME_LOWER is taken and padded like SAME",
    conv((1, 5, 5, 1), (2, 2, 1, 1), padding="SAME_LOWER", data="lattice"),
)
class SameLowerIsSame(Correct):
    def axis_geometry(self, op, axis, n, k, s, d, padding):
        padding = "SAME" if padding == "SAME_LOWER" else padding
        return super().axis_geometry(op, axis, n, k, s, d, padding)


@mutant("geometry", "SAME is VALID at stride 2 or more", conv((1, 6, 6, 1), (3, 3, 1, 1), strides=(2, 2), **ODD))
class SameIsValidWhenStrided(Correct):
    def axis_geometry(self, op, axis, n, k, s, d, padding):
        return super().axis_geometry(op, axis, n, k, s, d, "VALID" if padding == "SAME" and s > 1 else padding)


@mutant("geometry", "padding repeats the edge instead of contributing nothing", conv((1, 5, 5, 1), (3, 3, 1, 1), **ODD))
class EdgePadding(Correct):
    def pad(self, op, x, win, value=0):
        padded = super().pad(op, x, win, value)
        if op == "conv2d" and x.size:
            (top, _), (left, _) = win.pads
            rows = np.clip(np.arange(padded.shape[1]) - top, 0, x.shape[1] - 1)
            return x[:, rows][:, :, np.clip(np.arange(padded.shape[2]) - left, 0, x.shape[2] - 1)]
        return padded


@mutant("geometry", "padding wraps around", conv((1, 5, 5, 1), (3, 3, 1, 1), **ODD))
class WrappedPadding(Correct):
    def pad(self, op, x, win, value=0):
        padded = super().pad(op, x, win, value)
        if op == "conv2d" and x.size:
            (top, _), (left, _) = win.pads
            rows = (np.arange(padded.shape[1]) - top) % x.shape[1]
            return x[:, rows][:, :, (np.arange(padded.shape[2]) - left) % x.shape[2]]
        return padded
