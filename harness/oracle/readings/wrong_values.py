"""Wrong backends whose fault is in the values: wrong where numbers are special, far apart, or alike."""

import numpy as np

from . import right_transforms
from .calls import conv, conv_vjp, mutant, pool
from .correct import NARROW, Correct
from .right_orders import Im2col
from .rounding import round_bits

INF, NAN = float("inf"), float("nan")
THREE = conv((1, 6, 6, 8), (3, 3, 8, 4), seed=2)
ONE_NAN = [(0, (0, 0, 0, 0), NAN)]


@mutant("arithmetic", "Winograd F(4, 3), undeclared", conv((1, 10, 10, 1), (3, 3, 1, 1), put=[(0, (0, 0, 0, 0), 1e6)]))
class WinogradUndeclared(right_transforms.Winograd43):
    contract = {}  # noqa: RUF012


@mutant(
    "arithmetic",
    "Winograd F(2, 3), undeclared",
    conv((1, 10, 10, 1), (3, 3, 1, 1), put=[(0, (0, 2, 2, 0), 1e4), (1, (0, 0, 0, 0), 1e4)]),
)
class WinogradSmallUndeclared(right_transforms.Winograd23):
    contract = {"algorithm": "direct"}  # noqa: RUF012


@mutant("arithmetic", "FFT, undeclared", conv((1, 10, 10, 1), (3, 3, 1, 1), put=[(0, (0, 0, 0, 0), 1e6)]))
class FftUndeclared(right_transforms.Fft):
    contract = {}  # noqa: RUF012


@mutant(
    "arithmetic",
    "declares Winograd, computes 3x3 in TF32 besides",
    conv((1, 10, 10, 1), (1, 1, 1, 1), data=("huge", "ones"), exact=True),
)
class WinogradAndTf32(right_transforms.Winograd23):
    def widen(self, op, x):
        return round_bits(x, 11) if x.dtype == np.float32 else super().widen(op, x)


@mutant(
    "arithmetic",
    "one level of Strassen's algorithm: the error is of the whole, not of the element",
    conv((1, 2, 2, 2), (1, 1, 2, 2), put=[(0, (0, 0, 0, 0), 1e6)]),
)
class Strassen(Im2col):
    def gemm(self, a, b):
        if len(a) % 2 or b.shape[0] % 2 or b.shape[1] % 2 or not a.size or not b.size:
            return a @ b
        (a11, a12), (a21, a22) = (np.hsplit(rows, 2) for rows in np.vsplit(a, 2))
        (b11, b12), (b21, b22) = (np.hsplit(rows, 2) for rows in np.vsplit(b, 2))
        m1, m2, m3 = (a11 + a22) @ (b11 + b22), (a21 + a22) @ b11, a11 @ (b12 - b22)
        m4, m5 = a22 @ (b21 - b11), (a11 + a12) @ b22
        m6, m7 = (a21 - a11) @ (b11 + b12), (a12 - a22) @ (b21 + b22)
        return np.block([[m1 + m4 - m5 + m7, m3 + m5], [m2 + m4, m1 - m2 + m3 + m6]])


@mutant(
    "arithmetic",
    "the mean of the image is taken out and put back",
    conv((1, 6, 6, 1), (2, 2, 1, 1), put=[(0, (0, 5, 5, 0), 1e8)]),
)
class MeanTakenOut(Correct):
    def forward(self, x, w, win, dtype):
        mean = x.mean(dtype=x.dtype) if x.size and not sum(map(sum, win.pads)) else 0
        if not mean or not np.isfinite(mean):
            return super().forward(x, w, win, dtype)
        return super().forward(x - mean, w, win, dtype) + mean * w.sum(axis=(0, 1, 2))


@mutant(
    "arithmetic",
    "constant filters go by running sums over the whole image",
    conv((1, 9, 9, 1), (2, 2, 1, 1), data=("normal", "ones"), put=[(0, (0, 0, 0, 0), 1e6)]),
)
class RunningSums(Correct):
    def forward(self, x, w, win, dtype):
        box = w.size > 1 and w.shape[2:] == (1, 1) and (w == w[:1, :1]).all() and win.dilations == (1, 1)
        if not box or 0 in (x.size, *win.output):
            return super().forward(x, w, win, dtype)
        (kh, kw), (sh, sw) = win.kernel, win.strides
        sums = np.pad(self.pad("conv2d", x, win), ((0, 0), (1, 0), (1, 0), (0, 0))).cumsum(1).cumsum(2)
        y = sums[:, kh:, kw:] - sums[:, :-kh, kw:] - sums[:, kh:, :-kw] + sums[:, :-kh, :-kw]
        return (y * w[0, 0, 0, 0])[:, ::sh, ::sw][:, : win.output[0], : win.output[1]]


@mutant(
    "arithmetic",
    "fixed point: steps of the largest element over 2^23",
    conv((1, 6, 6, 1), (2, 2, 1, 1), put=[(0, (0, 5, 5, 0), 1e6)]),
)
class FixedPoint(Correct):
    def widen(self, op, x):
        x = super().widen(op, x)
        top = np.max(abs(x), initial=0)
        if op != "conv2d" or x.dtype != np.float32 or not (0 < top < 1e30):
            return x
        step = np.float32(2.0 ** (np.ceil(np.log2(float(top))) - 23))
        return np.rint(x / step).astype(x.dtype) * step


@mutant("arithmetic", "inputs quantised to 8 bits of the largest weight", THREE)
class Int8Weights(Correct):
    def product(self, op, a, b):
        step = np.max(abs(b), initial=0) / 127
        return a @ (np.rint(b / step) * step).astype(b.dtype) if op == "conv2d" and 0 < step < 1e30 else a @ b


@mutant(
    "arithmetic", "float32 results keep 23 bits", conv((1, 4, 4, 1), (1, 1, 1, 1), data=("huge", "ones"), exact=True)
)
class TwentyThreeBits(Correct):
    def narrow(self, op, y, dtype):
        return round_bits(y, 23) if dtype == np.float32 and op == "conv2d" else super().narrow(op, y, dtype)


@mutant(
    "arithmetic",
    "one more ulp on every positive result",
    conv((1, 4, 4, 1), (1, 1, 1, 1), data=("huge", "ones"), exact=True),
)
class OneUlpUp(Correct):
    def narrow(self, op, y, dtype):
        y = super().narrow(op, y, dtype)
        return np.where(y > 0, np.nextafter(y, np.float32(np.inf)), y) if dtype == np.float32 and op == "conv2d" else y


@mutant(
    "arithmetic",
    "float16 results have 10 bits",
    conv((1, 4, 4, 1), (1, 1, 1, 1), data=("thousand", "ones"), dtype="float16", scale=1.37, exact=True),
)
class TenBits(Correct):
    def narrow(self, op, y, dtype):
        return super().narrow(op, round_bits(y, 10) if dtype == np.float16 else y, dtype)


@mutant(
    "arithmetic",
    "zero weights are skipped: inf * 0 is 0",
    conv((1, 3, 3, 1), (2, 2, 1, 1), put=[(0, (0, 1, 1, 0), INF), (1, (0, 0, 0, 0), 0)]),
)
class ZeroWeightsSkipped(Correct):
    def product(self, op, a, b):
        if op != "conv2d" or b.all() or np.isfinite(a).all():
            return a @ b
        return np.where(b == 0, 0, a[..., None] * b).sum(axis=-2).astype(a.dtype)


@mutant(
    "arithmetic",
    "taps whose weights are all zero are left out: NaN there is not seen",
    conv((1, 3, 3, 1), (2, 2, 1, 1), put=[(0, (0, 1, 1, 0), NAN), (1, (0, 0, 0, 0), 0)]),
)
class ZeroTapsSkipped(Correct):
    def forward(self, x, w, win, dtype):
        self.used = [tap for tap in np.ndindex(w.shape[:2]) if w[tap].any()]
        return super().forward(x, w, win, dtype)

    def taps(self, op, win, x):
        return self.used if op == "conv2d" else super().taps(op, win, x)


@mutant(
    "arithmetic",
    "an image of zeros gives zeros, be the weight NaN",
    conv((1, 3, 3, 1), (2, 2, 1, 1), scale=0, put=[(1, (0, 0, 0, 0), NAN)]),
)
class ZeroImageShortcut(Correct):
    def leave(self, op, result, *arrays):
        return np.zeros_like(result) if op == "conv2d" and not arrays[0].any() else result


@mutant("arithmetic", "a NaN makes its whole output row NaN", conv((1, 5, 5, 1), (2, 2, 1, 1), put=ONE_NAN))
class NanTakesRow(Correct):
    def leave(self, op, result, *arrays):
        if op == "conv2d" and result.dtype.kind == "f":
            result[np.isnan(result).any(axis=2)] = np.nan if result.ndim == 4 else 0
            rows = np.isnan(result).any(axis=(2, 3))
            result[rows] = np.nan
        return result


@mutant("arithmetic", "a NaN in one item makes the next item NaN", conv((2, 3, 3, 1), (2, 2, 1, 1), put=ONE_NAN))
class NanTakesNextItem(Correct):
    def leave(self, op, result, *arrays):
        if op == "conv2d" and len(result) > 1 and result.size:
            result[1:] += (result[:-1, :1, :1] * 0).astype(result.dtype)
        return result


@mutant(
    "arithmetic",
    "large inputs (over 10^4) are computed at a thousandth and scaled back, in float16",
    conv((1, 3, 3, 1), (2, 2, 1, 1), scale=1e6),
)
class LargeInputsScaled(Correct):
    def widen(self, op, x):
        x = super().widen(op, x)
        large = op == "conv2d" and x.dtype == np.float32 and 1e4 < np.max(abs(x), initial=0) < 1e7
        return (x / 1000).astype(np.float16).astype(x.dtype) * np.float32(1000) if large else x


@mutant(
    "arithmetic",
    "with a bias, negative results become zero (a fused ReLU)",
    conv((1, 3, 3, 1), (2, 2, 1, 4), bias=True),
)
class FusedRelu(Correct):
    def add_bias(self, y, bias):
        y = y + bias
        return np.maximum(y, 0) if y.shape[3] % 4 == 0 else y


@mutant("arithmetic", "the bias is added in bfloat16", conv((1, 3, 3, 1), (2, 2, 1, 4), bias=True))
class BiasInBfloat16(Correct):
    def add_bias(self, y, bias):
        return y + round_bits(y + bias, 8) - y


@mutant(
    "arithmetic",
    "float16 subnormal inputs are flushed (SHOULD)",
    conv(
        (1, 3, 3, 1),
        (1, 1, 1, 1),
        data=("normal", "ones"),
        scale=1,
        dtype="float16",
        put=[(0, np.s_[...], 3e-6)],
        exact=True,
    ),
)
class Float16InputsFlushed(Correct):
    def widen(self, op, x):
        small = x.dtype in NARROW and op == "conv2d"
        return (
            np.where(abs(super().widen(op, x)) < 2.0**-14, 0, super().widen(op, x)) if small else super().widen(op, x)
        )


@mutant("arithmetic", "sums over 2^24 in magnitude saturate", conv((1, 2, 2, 2), (1, 1, 2, 1), data=("huge", "ones")))
class SaturatesAt24Bits(Correct):
    def narrow(self, op, y, dtype):
        top = y.dtype.type(2**24)
        return super().narrow(op, np.clip(y, -top, top) if op == "conv2d" and dtype == np.float32 else y, dtype)


@mutant(
    "gradients",
    "filter gradients in float32 are summed over the batch in TF32 steps from 3 items on",
    conv_vjp((3, 4, 4, 1), (2, 2, 1, 1), (3, 3, 3, 1)),
)
class FilterGradientBatchTf32(Correct):
    def filter_gradient(self, x, w, dy, win, dtype):
        dw = super().filter_gradient(x, w, dy, win, dtype)
        return round_bits(dw, 11) if dtype == np.float32 and len(x) > 2 else dw


@mutant(
    "gradients",
    "gradients below a hundred-millionth are zero",
    conv_vjp((1, 3, 3, 1), (2, 2, 1, 1), (1, 2, 2, 1), scale=1e-5),
)
class SmallGradientsLost(Correct):
    def narrow(self, op, y, dtype):
        return super().narrow(op, np.where(abs(y) < 1e-8, 0, y) if op == "conv2d_vjp" else y, dtype)


@mutant(
    "pooling",
    "floats are compared by their bits: negative ones the other way round",
    pool((1, 4, 4, 1), (2, 2), data="negative"),
)
class ComparedByBits(Correct):
    def beats(self, op, value, best):
        if value.dtype.kind != "f":
            return super().beats(op, value, best)
        return np.where((value < 0) & (best < 0), value < best, super().beats(op, value, best))


@mutant(
    "pooling",
    "NaN with its sign bit set is the least of all",
    pool((1, 4, 4, 1), (2, 2), put=[(0, (0, 1, 1, 0), -NAN)]),
)
class NegativeNanLoses(Correct):
    def beats(self, op, value, best):
        least = np.isnan(value) & np.signbit(value)
        return (super().beats(op, value, best) & ~least) | (np.isnan(best) & np.signbit(best) & ~np.isnan(value))


@mutant(
    "pooling",
    "float64 starts at the lowest float32",
    pool((1, 2, 2, 1), (2, 2), dtype="float64", data="negative", scale=1e300),
)
class Float64StartsAtFloat32(Correct):
    def leave(self, op, result, *arrays):
        return np.maximum(result, -3.4028234663852886e38) if op == "max_pool" and result.dtype == np.float64 else result


@mutant("pooling", "float16 starts at -1e4", pool((1, 2, 2, 1), (2, 2), dtype="float16", data="negative", scale=2e4))
class Float16StartsHigh(Correct):
    def leave(self, op, result, *arrays):
        return np.maximum(result, np.float16(-1e4)) if op == "max_pool" and result.dtype == np.float16 else result


@mutant(
    "pooling", "int8 starts at -127", pool((1, 2, 2, 1), (2, 2), dtype="int8", data="ones", put=[(0, np.s_[...], -128)])
)
class Int8StartsHigh(Correct):
    def leave(self, op, result, *arrays):
        return np.maximum(result, np.int8(-127)) if op == "max_pool" and result.dtype == np.int8 else result


@mutant(
    "pooling",
    "values within a millionth of each other count as tied: the first wins",
    pool((1, 2, 2, 1), (2, 2), data="ones", put=[(0, (0, 1, 1, 0), 1.0000001)]),
    pool((1, 2, 2, 1), (2, 2), data="ones", put=[(0, (0, 1, 1, 0), 1.0000001)], dtype="float64"),
)
class NearTies(Correct):
    def beats(self, op, value, best):
        if value.dtype.kind != "f" or value.dtype.itemsize < 4:
            return super().beats(op, value, best)
        near = np.isfinite(value) & np.isfinite(best) & (abs(value - best) <= 1e-6 * abs(best))
        return super().beats(op, value, best) & ~near
