"""Wrong backends, class arithmetic: a lost tap, NaN and infinity, bias and padding."""

import numpy as np

from .calls import conv, mutant
from .correct import Correct

INF, NAN = float("inf"), float("nan")


@mutant("arithmetic", "the last tap is dropped", conv((1, 4, 4, 1), (3, 3, 1, 1)))
class LastTapDropped(Correct):
    def taps(self, op, win, x):
        return super().taps(op, win, x)[: -1 if op == "conv2d" and win.kernel != (1, 1) else None]


@mutant("arithmetic", "the corner tap is dropped in filters of 5 and more", conv((1, 5, 5, 1), (5, 5, 1, 1)))
class CornerTapDropped(Correct):
    def taps(self, op, win, x):
        return super().taps(op, win, x)[int(op == "conv2d" and min(win.kernel) >= 5) :]


@mutant("arithmetic", "the middle tap is added twice in filters of 5 and more", conv((1, 7, 7, 1), (5, 5, 1, 1)))
class MiddleTapTwice(Correct):
    def taps(self, op, win, x):
        large = op == "conv2d" and min(win.kernel) >= 5
        return super().taps(op, win, x) + ([(win.kernel[0] // 2, win.kernel[1] // 2)] if large else [])


@mutant(
    "arithmetic", "one product of more than 2000 is lost", conv((1, 3, 3, 256), (3, 3, 256, 1), data="ones", exact=True)
)
class OneProductLost(Correct):
    def forward(self, x, w, win, dtype):
        if np.prod(w.shape[:3]) > 2000:
            w = w.copy()
            w[-1, -1, -1] = 0
        return super().forward(x, w, win, dtype)


@mutant(
    "arithmetic",
    "from 4096 terms on the sum stops at 4096",
    conv((1, 3, 3, 512), (3, 3, 512, 1), data="ones", exact=True),
)
class SumStopsAt4096(Correct):
    def forward(self, x, w, win, dtype):
        flat = w.copy().reshape(-1, w.shape[3])
        flat[4096:] = 0
        return super().forward(x, flat.reshape(w.shape), win, dtype)


@mutant(
    "arithmetic",
    "zeros are skipped: 0 * inf is 0",
    conv((1, 2, 2, 1), (1, 1, 1, 1), data="ties", put=[(1, 0, INF), (0, np.s_[0, 0, 0, 0], 0)]),
)
class SkipsZeros(Correct):
    def product(self, op, a, b):
        if np.isfinite(b).all():
            return a @ b
        terms = np.where(a[..., None] == 0, 0, a[..., None] * b)
        return terms.sum(axis=-2).astype(a.dtype)


@mutant("arithmetic", "NaN counts as zero", conv((1, 3, 3, 1), (2, 2, 1, 1), put=[(0, np.s_[0, 1, 1, 0], NAN)]))
class NanIsZero(Correct):
    def widen(self, op, x):
        return np.nan_to_num(super().widen(op, x), nan=0, posinf=np.inf, neginf=-np.inf)


@mutant(
    "arithmetic",
    "infinity counts as the largest finite",
    conv((1, 3, 3, 1), (2, 2, 1, 1), put=[(0, np.s_[0, 1, 1, 0], INF)], scale=0.1),
)
class InfinityIsFinite(Correct):
    def widen(self, op, x):
        return np.nan_to_num(super().widen(op, x), nan=np.nan)


@mutant(
    "arithmetic",
    "inf - inf is 0",
    conv((1, 1, 1, 2), (1, 1, 2, 1), data="ones", put=[(0, np.s_[..., 0], INF), (0, np.s_[..., 1], -INF)]),
)
class InfMinusInfIsZero(Correct):
    def forward(self, x, w, win, dtype):
        y = super().forward(x, w, win, dtype)
        clean = not (np.isnan(x).any() or np.isnan(w).any())
        return np.nan_to_num(y, nan=0, posinf=np.inf, neginf=-np.inf) if clean else y


@mutant("arithmetic", "one output in 1000 is off by a thousandth", conv((1, 16, 16, 1), (3, 3, 1, 8), padding="SAME"))
class OneInAThousand(Correct):
    def leave(self, op, result, *arrays):
        if op == "conv2d":
            result.reshape(-1)[777::1000] *= np.asarray(1.001, result.dtype)
        return result


@mutant(
    "arithmetic",
    "weights below a thousandth of the largest are pruned",
    conv((1, 4, 4, 3), (3, 3, 3, 2), put=[(1, np.s_[0, 0], 1e-4)]),
)
class Pruned(Correct):
    def forward(self, x, w, win, dtype):
        small = abs(w) < 1e-3 * np.max(abs(w), initial=0)
        return super().forward(x, np.where(small, 0, w).astype(w.dtype), win, dtype)


@mutant("arithmetic", "a bias is ignored", conv((1, 3, 3, 1), (2, 2, 1, 3), bias=True))
class BiasDropped(Correct):
    def add_bias(self, y, bias):
        return y


@mutant("arithmetic", "the bias is added with the last filter's first", conv((1, 3, 3, 1), (2, 2, 1, 3), bias=True))
class BiasReversed(Correct):
    def add_bias(self, y, bias):
        return y + bias[::-1]


@mutant(
    "arithmetic", "the bias is not added on the border", conv((1, 4, 4, 1), (3, 3, 1, 3), padding="SAME", bias=True)
)
class BiasInsideOnly(Correct):
    def add_bias(self, y, bias):
        y = y.copy()
        y[:, 1:-1, 1:-1] += bias
        return y


@mutant("arithmetic", "the bias of the first filter is added to all", conv((1, 3, 3, 1), (2, 2, 1, 3), bias=True))
class OneBias(Correct):
    def add_bias(self, y, bias):
        return y + bias[:1]


@mutant("arithmetic", "padding is 1e-5, not nothing", conv((1, 3, 3, 1), (3, 3, 1, 1), padding="SAME"))
class PaddingOfEpsilon(Correct):
    def pad(self, op, x, win, value=0):
        return super().pad(op, x, win, 1e-5 if op == "conv2d" else value)


@mutant(
    "arithmetic",
    "under an infinite weight the top's padding is NaN, the others' skipped",
    conv((1, 3, 3, 1), (3, 3, 1, 1), padding="SAME", put=[(1, np.s_[2, 2], INF)]),
)
class PaddingInconsistent(Correct):
    def forward(self, x, w, win, dtype):
        y = super().forward(x, w, win, dtype)
        finite = super().forward(x, np.where(np.isfinite(w), w, 0).astype(w.dtype), win, dtype)
        half = slice(y.shape[1] // 2, None)
        if sum(map(sum, win.pads)) and np.isfinite(x).all():
            y[:, half] = np.where(np.isnan(y[:, half]), finite[:, half], y[:, half])
        return y
