"""Wrong backends: what lies between taps or groups, paths that are taken by the look of the data, and usual pads.

Filters filled up with zeros read what is not theirs, which only NaN and infinity show; narrow paths are taken where
numbers look as if they fitted; converters and frameworks have pads of their own for SAME.
"""

import numpy as np

from .calls import conv, mutant, pool_vjp
from .correct import Correct

NAN = float("nan")
TIED = pool_vjp((1, 6, 6, 1), (1, 2, 2, 1), (3, 3), strides=(3, 3), data=("ties", "normal"))


@mutant(
    "groups",
    "groups as one filter, filled up with zeros: NaN reaches other groups",
    conv((1, 3, 3, 2), (2, 2, 1, 2), groups=2, put=[(0, (0, 1, 1, 0), NAN)]),
)
class GroupsFilledUp(Correct):
    def conv2d(self, x, w, *, groups, **options):
        fits = x.ndim == w.ndim == 4 and groups > 1 and x.shape[3] == w.shape[2] * groups and not w.shape[3] % groups
        if not fits:
            return super().conv2d(x, w, groups=groups, **options)
        filled = np.zeros((*w.shape[:2], x.shape[3], w.shape[3]), w.dtype)
        for group, part in enumerate(np.split(w, groups, axis=3)):
            rows, columns = group * w.shape[2], group * part.shape[3]
            filled[:, :, rows : rows + w.shape[2], columns : columns + part.shape[3]] = part
        return super().conv2d(x, filled, groups=1, **options)


@mutant(
    "geometry",
    "dilated filters are filled up with zeros: NaN between the taps is read",
    conv((1, 5, 5, 1), (2, 2, 1, 1), dilations=(2, 2), put=[(0, (0, 1, 1, 0), NAN)]),
)
class DilationFilledUp(Correct):
    def forward(self, x, w, win, dtype):
        (kh, kw), (dh, dw) = win.kernel, win.dilations
        filled = np.zeros(((kh - 1) * dh + 1, (kw - 1) * dw + 1, *w.shape[2:]), w.dtype)
        filled[::dh, ::dw] = w
        return super().forward(x, filled, win._replace(kernel=filled.shape[:2], dilations=(1, 1)), dtype)


@mutant(
    "arithmetic",
    "integers of 8 bits take a path whose sums saturate at 16",
    conv((1, 2, 2, 1), (2, 2, 1, 1), data="ones", scale=100),
)
class SaturatesAtSixteenBits(Correct):
    def forward(self, x, w, win, dtype):
        y = super().forward(x, w, win, dtype)
        small = all((abs(a) < 128).all() and (a == np.rint(a)).all() for a in (x, w))
        return np.clip(y, -(2**15), 2**15 - 1).astype(y.dtype) if small else y


@mutant(
    "arithmetic",
    "operands beyond 2^100 become infinite",
    conv((1, 2, 2, 1), (2, 2, 1, 1), put=[(0, (0, 0, 0, 0), 2.0**110), (1, (0, 0, 0, 0), 2.0**-110)]),
)
class HugeIsInfinite(Correct):
    def widen(self, op, x):
        wide = super().widen(op, x)
        return np.where(abs(wide) > 2.0**100, np.copysign(np.inf, wide), wide).astype(wide.dtype)


@mutant("gradients", "where pooling windows do not overlap ties go to the last maximum", TIED)
class TiesToLastApart(Correct):
    apart = False

    def maximum(self, op, x, win):
        self.apart = op == "max_pool_vjp" and win.kernel == win.strides and win.kernel[0] > 2
        return super().maximum(op, x, win)

    def beats(self, op, value, best):
        later = super().beats(op, value, best)
        return later | (value == best) if self.apart else later


@mutant(
    "gradients",
    "max_pool's gradient prefers +0 to a -0 before it",
    pool_vjp((1, 1, 2, 1), (1, 1, 1, 1), (1, 2), put=[(0, np.s_[...], 0.0), (0, (0, 0, 0, 0), -0.0)]),
)
class PlusZeroBeatsMinusZero(Correct):
    def beats(self, op, value, best):
        later = super().beats(op, value, best)
        if op != "max_pool_vjp" or value.dtype.kind in "iu":
            return later
        return later | ((value == 0) & (best == 0) & np.signbit(best) & ~np.signbit(value))


@mutant("geometry", "padding mirrors the image", conv((1, 4, 4, 1), (3, 3, 1, 1), padding="SAME"))
class ReflectedPadding(Correct):
    def pad(self, op, x, win, value=0):
        fresh = super().pad(op, x, win, value)
        if op != "conv2d" or not x.size:
            return fresh
        sides = [(win.pads[a][0], fresh.shape[a + 1] - x.shape[a + 1] - win.pads[a][0]) for a in (0, 1)]
        return np.pad(x, ((0, 0), *sides, (0, 0)), mode="reflect")


@mutant(
    "geometry",
    "SAME pads k - s in all, whatever the size",
    conv((1, 5, 7, 1), (3, 3, 1, 1), strides=(2, 2), padding="SAME"),
    conv((1, 4, 5, 1), (4, 4, 1, 1), strides=(3, 3), padding="SAME"),
)
class TotalIsKernelMinusStride(Correct):
    def same_total(self, op, n, k, s, d):
        return max(self.effective_kernel(op, k, d) - s, 0) if op == "conv2d" else super().same_total(op, n, k, s, d)


@mutant(
    "geometry",
    "SAME is padding=k // 2 (torch), sizes and all",
    conv((1, 6, 7, 1), (4, 4, 1, 1), padding="SAME"),
    conv((1, 6, 8, 1), (3, 3, 1, 1), strides=(2, 2), padding="SAME"),
)
class HalfTheKernel(Correct):
    def same_axis(self, op, axis, n, k, s, d):
        if op != "conv2d":
            return super().same_axis(op, axis, n, k, s, d)
        half = self.effective_kernel(op, k, d) // 2
        return self.out_size(op, n, k, s, d, (half, half)), (half, half)
