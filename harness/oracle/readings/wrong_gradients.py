"""Wrong backends, class gradients: the forward pass is right, and what is sent back is not."""

import numpy as np

from .calls import conv_vjp, mutant
from .correct import Correct
from .rounding import round_bits

X, W, DY = (2, 5, 5, 2), (3, 3, 2, 3), (2, 3, 3, 3)
BASIC = conv_vjp(X, W, DY)
STRIDED = conv_vjp((1, 6, 6, 1), (3, 3, 1, 1), (1, 2, 2, 1), strides=(2, 2))
SAME_STRIDED = conv_vjp((1, 6, 6, 1), (3, 3, 1, 1), (1, 3, 3, 1), strides=(2, 2), padding="SAME")
INF, NAN = float("inf"), float("nan")
VJP = "conv2d_vjp"


@mutant("gradients", "the input gradient forgets to rotate the filter", BASIC)
class InputGradientNotRotated(Correct):
    def input_gradient(self, x, w, dy, win, dtype):
        return super().input_gradient(x, w[::-1, ::-1], dy, win, dtype)


@mutant(
    "gradients",
    "the input gradient takes square channel matrices untransposed",
    conv_vjp((1, 3, 3, 2), (2, 2, 2, 2), (1, 2, 2, 2)),
)
class InputGradientNotTransposed(Correct):
    def input_gradient(self, x, w, dy, win, dtype):
        square = w.shape[2] == w.shape[3]
        return super().input_gradient(x, w.transpose(0, 1, 3, 2) if square else w, dy, win, dtype)


@mutant("gradients", "the filter gradient is rotated by 180 degrees", BASIC)
class FilterGradientRotated(Correct):
    def filter_gradient(self, x, w, dy, win, dtype):
        return super().filter_gradient(x, w, dy, win, dtype)[::-1, ::-1]


@mutant("gradients", "the filter gradient is averaged over the batch", BASIC)
class FilterGradientAveraged(Correct):
    def filter_gradient(self, x, w, dy, win, dtype):
        return super().filter_gradient(x, w, dy, win, dtype) / x.dtype.type(max(len(x), 1))


@mutant("gradients", "the filter gradient is that of the first item", BASIC)
class FilterGradientFirstItem(Correct):
    def filter_gradient(self, x, w, dy, win, dtype):
        return super().filter_gradient(x[:1], w, dy[:1], win, dtype)


@mutant(
    "gradients",
    "the filter gradient leaves out the last of 4 or more items",
    conv_vjp((4, 3, 3, 1), (2, 2, 1, 1), (4, 2, 2, 1)),
)
class FilterGradientLastItem(Correct):
    def filter_gradient(self, x, w, dy, win, dtype):
        n = len(x) - (len(x) >= 4)
        return super().filter_gradient(x[:n], w, dy[:n], win, dtype)


@mutant(
    "gradients",
    "the filter gradient leaves out the last output column from 8 on",
    conv_vjp((1, 3, 10, 1), (2, 2, 1, 1), (1, 2, 9, 1)),
)
class FilterGradientLastColumn(Correct):
    def filter_gradient(self, x, w, dy, win, dtype):
        dy = dy.copy()
        dy[:, :, 8:9] = 0
        return super().filter_gradient(x, w, dy, win, dtype)


class GradientOffset(Correct):
    """A gradient reads or writes other pixels than the forward pass."""

    which = "input_gradient"

    def moved(self, win):
        return win

    def input_gradient(self, x, w, dy, win, dtype):
        return super().input_gradient(x, w, dy, self.moved(win) if self.which == "input_gradient" else win, dtype)

    def filter_gradient(self, x, w, dy, win, dtype):
        return super().filter_gradient(x, w, dy, self.moved(win) if self.which == "filter_gradient" else win, dtype)


def swapped(pads):
    return tuple(side[::-1] for side in pads)


@mutant("gradients", "input gradient: the odd pixel goes first", SAME_STRIDED)
class InputGradientOddPixel(GradientOffset):
    def moved(self, win):
        return win._replace(pads=swapped(win.pads))


@mutant("gradients", "filter gradient: the odd pixel goes first", SAME_STRIDED)
class FilterGradientOddPixel(InputGradientOddPixel):
    which = "filter_gradient"


@mutant(
    "gradients",
    "input gradient: padding of height and width exchanged",
    conv_vjp((1, 4, 4, 1), (3, 3, 1, 1), (1, 4, 2, 1), padding=((1, 1), (0, 0))),
)
class InputGradientPadsSwapped(GradientOffset):
    def moved(self, win):
        return win._replace(pads=win.pads[::-1])


@mutant("gradients", "filter gradient: no padding", conv_vjp((1, 4, 4, 1), (3, 3, 1, 1), (1, 4, 4, 1), padding="SAME"))
class FilterGradientNoPadding(GradientOffset):
    which = "filter_gradient"

    def moved(self, win):
        return win._replace(pads=((0, 0), (0, 0)))


@mutant("gradients", "input gradient: the stride is ignored, dy is packed", STRIDED)
class InputGradientUnstrided(GradientOffset):
    def moved(self, win):
        return win._replace(strides=(1, 1))


@mutant("gradients", "filter gradient: the stride is ignored", STRIDED)
class FilterGradientUnstrided(InputGradientUnstrided):
    which = "filter_gradient"


@mutant(
    "gradients",
    "input gradient: strides of height and width exchanged",
    conv_vjp((1, 6, 6, 1), (2, 2, 1, 1), (1, 5, 3, 1), strides=(1, 2)),
)
class InputGradientStridesSwapped(GradientOffset):
    def moved(self, win):
        return win._replace(strides=win.strides[::-1])


@mutant(
    "gradients",
    "input gradient: the dilation is ignored",
    conv_vjp((1, 5, 5, 1), (2, 2, 1, 1), (1, 3, 3, 1), dilations=(2, 2)),
)
class InputGradientUndilated(GradientOffset):
    def moved(self, win):
        return win._replace(dilations=(1, 1))


@mutant(
    "gradients",
    "filter gradient: the dilation is ignored",
    conv_vjp((1, 5, 5, 1), (2, 2, 1, 1), (1, 3, 3, 1), dilations=(2, 2)),
)
class FilterGradientUndilated(InputGradientUndilated):
    which = "filter_gradient"


@mutant(
    "gradients",
    "filter gradient: stride and dilation exchanged",
    conv_vjp((1, 9, 9, 1), (2, 2, 1, 1), (1, 3, 3, 1), strides=(2, 2), dilations=(3, 3)),
)
class FilterGradientStrideIsDilation(GradientOffset):
    which = "filter_gradient"

    def moved(self, win):
        return win._replace(strides=win.dilations, dilations=win.strides)


@mutant(
    "gradients",
    "input gradient: stride over kernel shifts it by one",
    conv_vjp((1, 7, 7, 1), (1, 1, 1, 1), (1, 3, 3, 1), strides=(3, 3)),
)
class InputGradientStrideOverKernel(Correct):
    def input_gradient(self, x, w, dy, win, dtype):
        dx = super().input_gradient(x, w, dy, win, dtype)
        return np.roll(dx, 1, axis=2) if win.strides[1] > win.kernel[1] else dx


@mutant("gradients", "pixels that no window reads get what was in memory", STRIDED)
class UnreadGarbage(Correct):
    def leave(self, op, result, *arrays):
        if op == VJP and arrays[2].size:
            with np.errstate(all="ignore"):
                read = self.read(arrays[0], arrays[1])
            result[0][:, ~read] = 1
        return result

    def window(self, op, *rest):
        self.win = super().window(op, *rest)
        return self.win

    def read(self, x, w):
        """Which pixels some window reads."""
        mask = np.zeros(self.padded_shape(VJP, (1, *x.shape[1:3], 1), self.win), bool)
        for tap in self.taps(VJP, self.win, x):
            mask[self.reads(VJP, self.win, tap)] = True
        return mask[self.inside(VJP, x.shape, self.win)][0, ..., 0]


@mutant("gradients", "the input gradient is cut to the pixels that are read", STRIDED)
class UnreadCut(UnreadGarbage):
    def leave(self, op, result, *arrays):
        if op != VJP or not arrays[2].size:
            return result
        read = self.read(arrays[0], arrays[1])
        rows, columns = np.flatnonzero(read.any(1)), np.flatnonzero(read.any(0))
        return (result[0][:, : rows.max() + 1, : columns.max() + 1], result[1]) if len(rows) else result


@mutant(
    "gradients",
    "the gradient of padding is added to the edge",
    conv_vjp((1, 4, 4, 1), (3, 3, 1, 1), (1, 4, 4, 1), padding="SAME"),
)
class PaddingGradientToEdge(Correct):
    def inside(self, op, shape, win):
        self.last = win
        return super().inside(op, shape, win)

    def leave(self, op, result, *arrays):
        if op == VJP and result[0].size and arrays[2].size and self.last.pads[0][0]:
            result[0][:, 0] += result[0].dtype.type(0.5) * arrays[2].sum().astype(result[0].dtype)
        return result


@mutant(
    "gradients",
    "input gradient: zero entries of dy are skipped, NaN weights or not",
    conv_vjp((1, 3, 3, 1), (2, 2, 1, 1), (1, 2, 2, 1), data="ties", put=[(1, (0, 0, 0, 0), NAN)]),
)
class ZeroGradientSkipped(Correct):
    def input_gradient(self, x, w, dy, win, dtype):
        finite = super().input_gradient(x, np.where(np.isfinite(w), w, 0).astype(w.dtype), dy, win, dtype)
        dx = super().input_gradient(x, w, dy, win, dtype)
        return np.where(np.isnan(dx) & (finite == 0), 0, dx).astype(dx.dtype)


@mutant("gradients", "NaN in dy is dropped", conv_vjp(X, W, DY, put=[(2, (0, 1, 1, 0), NAN)]))
class NanGradientDropped(Correct):
    def enter(self, op, *arrays):
        return (
            (*arrays[:2], np.where(np.isnan(arrays[2]), 0, arrays[2]).astype(arrays[2].dtype)) if op == VJP else arrays
        )


@mutant("gradients", "gradients are clipped at a thousand", conv_vjp(X, W, DY, scale=1e3))
class GradientClipped(Correct):
    def narrow(self, op, y, dtype):
        return super().narrow(op, np.clip(y, -1000, 1000) if op == VJP else y, dtype)


@mutant(
    "gradients",
    "the input gradient in float16 sums in float16",
    conv_vjp(
        (1, 4, 4, 1), (3, 3, 1, 64), (1, 2, 2, 64), dtype="float16", data=("ones", "positive", "ones"), exact=True
    ),
)
class InputGradientFloat16Sums(Correct):
    def add(self, op, total, part, dtype):
        return (total + part).astype(dtype).astype(total.dtype) if op == VJP and dtype == np.float16 else total + part


@mutant(
    "gradients",
    "the filter gradient in float16 sums item by item in float16",
    conv_vjp((9, 6, 6, 1), (2, 2, 1, 1), (9, 5, 5, 1), dtype="float16", data=("positive", "ones", "ones"), exact=True),
)
class FilterGradientFloat16Sums(Correct):
    def filter_gradient(self, x, w, dy, win, dtype):
        if dtype != np.float16:
            return super().filter_gradient(x, w, dy, win, dtype)
        total = np.zeros_like(w)
        for item in range(len(x)):
            total = total + super().filter_gradient(x[item : item + 1], w, dy[item : item + 1], win, dtype)
            total = total.astype(np.float16).astype(w.dtype)
        return total


@mutant(
    "gradients",
    "the filter gradient in bfloat16 sums row by row in bfloat16",
    conv_vjp((1, 9, 9, 1), (2, 2, 1, 1), (1, 8, 8, 1), dtype="bfloat16", data=("positive", "ones", "ones"), exact=True),
)
class FilterGradientBfloat16Sums(Correct):
    def filter_gradient(self, x, w, dy, win, dtype):
        if str(dtype) != "bfloat16":
            return super().filter_gradient(x, w, dy, win, dtype)
        total = np.zeros_like(w)
        for row in range(dy.shape[1]):
            part = np.zeros_like(dy)
            part[:, row] = dy[:, row]
            total = (total + super().filter_gradient(x, w, part, win, dtype)).astype(dtype).astype(w.dtype)
        return total


@mutant("gradients", "dy is rounded to bfloat16", conv_vjp(X, W, DY, data=("ties", "ties", "odd")))
class GradientInBfloat16(Correct):
    def enter(self, op, *arrays):
        rounded = op == VJP and arrays[2].dtype == np.float32
        return (*arrays[:2], round_bits(arrays[2], 8)) if rounded else arrays


@mutant(
    "gradients",
    "filter gradients of 1024 and more terms lose the last",
    conv_vjp((1, 33, 33, 1), (2, 2, 1, 1), (1, 32, 32, 1), data="ones", exact=True),
)
class FilterGradientTermLost(Correct):
    def filter_gradient(self, x, w, dy, win, dtype):
        dy = dy.copy()
        if dy[..., 0].size >= 1024:
            dy[-1, -1, -1] = 0
        return super().filter_gradient(x, w, dy, win, dtype)


@mutant(
    "gradients",
    "the input gradient of 1x1 filters with several channels is zero where dy is negative",
    conv_vjp((1, 2, 2, 2), (1, 1, 2, 2), (1, 2, 2, 2)),
)
class PointwiseGradientRectified(Correct):
    def input_gradient(self, x, w, dy, win, dtype):
        return super().input_gradient(x, w, np.maximum(dy, 0) if win.kernel == (1, 1) else dy, win, dtype)


@mutant(
    "gradients",
    "the input gradient of channels from 16 on is zero",
    conv_vjp((1, 3, 3, 18), (2, 2, 18, 1), (1, 2, 2, 1)),
)
class InputGradientChannelTail(Correct):
    def leave(self, op, result, *arrays):
        if op == VJP:
            result[0][..., 16:] = 0
        return result
