"""Right backends, summed in other orders: each must be spared."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from .correct import Correct


def wider(dtype):
    return np.float64 if dtype == np.float32 else np.longdouble


class Im2col(Correct):
    """Every sum is a matrix product; `gemm` says in which order it is added."""

    spared = "im2col and one BLAS product"

    def gemm(self, a, b):
        return a @ b

    def columns(self, op, x, win):
        """One row an output pixel, its taps side by side: (N * oh * ow, kh * kw * C)."""
        padded = self.pad(op, x, win)
        taps = [padded[self.reads(op, win, tap)] for tap in self.taps(op, win, x)]
        return np.concatenate(taps, axis=3).reshape(len(x) * win.output[0] * win.output[1], len(taps) * x.shape[3])

    def forward(self, x, w, win, dtype):
        shape = (x.shape[0], *win.output, w.shape[3])
        if 0 in shape:
            return np.zeros(shape, x.dtype)
        columns = self.columns("conv2d", x, win)
        return self.gemm(columns, w.reshape(columns.shape[1], w.shape[3])).reshape(shape)

    def filter_gradient(self, x, w, dy, win, dtype):
        if dy.size == 0:
            return np.zeros_like(w)
        columns = self.columns("conv2d_vjp", x, win)
        return self.gemm(np.ascontiguousarray(columns.T), dy.reshape(-1, w.shape[3])).reshape(w.shape)

    def input_gradient(self, x, w, dy, win, dtype):
        op = "conv2d_vjp"
        dx = np.zeros(self.padded_shape(op, x.shape, win), x.dtype)
        if dy.size:
            parts = self.gemm(dy.reshape(-1, w.shape[3]), w.reshape(int(np.prod(w.shape[:3])), w.shape[3]).T.copy())
            parts = parts.reshape(*dy.shape[:3], win.kernel[0] * win.kernel[1], w.shape[2])
            for index, tap in enumerate(self.taps(op, win, x)):
                dx[self.reads(op, win, tap)] += parts[:, :, :, index]
        return dx[self.inside(op, x.shape, win)]


class ReversedTaps(Correct):
    spared = "taps from the last to the first"

    def taps(self, op, win, x):
        taps = super().taps(op, win, x)
        return taps[::-1] if op.startswith("conv2d") else taps


class ReversedTerms(Im2col):
    spared = "terms from the last to the first"

    def gemm(self, a, b):
        return np.ascontiguousarray(a[:, ::-1]) @ np.ascontiguousarray(b[::-1])


class Blocked(Im2col):
    spared = "blocks of 32 terms, then the blocks"

    def gemm(self, a, b):
        y = np.zeros((len(a), b.shape[1]), a.dtype)
        for k in range(0, len(b), 32):
            y = y + a[:, k : k + 32] @ b[k : k + 32]
        return y


class Sequential(Im2col):
    spared = "one term after the other, each product and each sum rounded"

    def gemm(self, a, b):
        y = np.zeros((len(a), b.shape[1]), a.dtype)
        for k in range(len(b)):
            y = self.step(y, a[:, k : k + 1], b[k])
        return y

    def step(self, y, a, b):
        return y + a * b


class Fused(Sequential):
    spared = "fused multiply-add: one rounding a term"

    def step(self, y, a, b):
        wide = wider(y.dtype)
        return (y.astype(wide) + a.astype(wide) * b.astype(wide)).astype(y.dtype)


class Kahan(Im2col):
    spared = "compensated summation"

    def gemm(self, a, b):
        y = np.zeros((len(a), b.shape[1]), a.dtype)
        lost = np.zeros_like(y)
        for k in range(len(b)):
            term = a[:, k : k + 1] * b[k] - lost
            total = y + term
            # A compensation of inf - inf would make a sum NaN that is infinite.
            lost = np.where(np.isfinite(total), (total - y) - term, 0)
            y = total
        return y


class Pairwise(Im2col):
    spared = "pairwise summation"

    def gemm(self, a, b):
        if len(b) <= 1:
            return np.zeros((len(a), b.shape[1]), a.dtype) + (a * b if len(b) else 0)
        half = len(b) // 2
        return self.gemm(a[:, :half], b[:half]) + self.gemm(a[:, half:], b[half:])


class Lanes(Im2col):
    spared = "sixteen interleaved partial sums, as vector registers keep them"

    def gemm(self, a, b):
        parts = [np.ascontiguousarray(a[:, lane::16]) @ np.ascontiguousarray(b[lane::16]) for lane in range(16)]
        while len(parts) > 1:
            parts = [p + q for p, q in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]


class SplitInFour(Im2col):
    spared = "the sum in four large parts (split-k)"

    def gemm(self, a, b):
        cuts = np.linspace(0, len(b), 5).astype(int)
        parts = [a[:, i:j] @ b[i:j] for i, j in pairwise(cuts)]
        return (parts[0] + parts[1]) + (parts[2] + parts[3])


class ByMagnitude(Im2col):
    spared = "the heaviest weights last"

    def gemm(self, a, b):
        order = np.argsort(abs(b).max(axis=1, initial=0), kind="stable")
        return np.ascontiguousarray(a[:, order]) @ np.ascontiguousarray(b[order])


class Einsum(Im2col):
    spared = "einsum, without BLAS"

    def gemm(self, a, b):
        return np.einsum("mk,kn->mn", a, b)


class Float64Sums(Im2col):
    spared = "float64 sums, declared"
    contract = {"accumulate": "float64"}  # noqa: RUF012

    def sum_type(self, op, dtype):
        return np.dtype(np.float64)


class Float64SumsUndeclared(Im2col):
    spared = "float64 sums, not declared: better than it says"

    def gemm(self, a, b):
        return (a.astype(np.float64) @ b.astype(np.float64)).astype(a.dtype)


class LongDoubleSums(Im2col):
    spared = "long double sums"

    def gemm(self, a, b):
        return (a.astype(np.longdouble) @ b.astype(np.longdouble)).astype(a.dtype)


class OddColumnsReversed(Im2col):
    spared = "every other output column adds in the other order (a vector tail)"

    def forward(self, x, w, win, dtype):
        y = super().forward(x, w, win, dtype)
        if y.size:
            y[:, :, 1::2] = Correct.forward(self, x, w, win, dtype)[:, :, 1::2]
        return y


class LargeBatchReversed(ReversedTaps):
    spared = "batches over 4 add in another order: last bits vary with the batch (a SHOULD)"

    def taps(self, op, win, x):
        return super().taps(op, win, x) if len(x) > 4 else Correct.taps(self, op, win, x)


class ChunkedRows(Correct):
    spared = "a few output rows at a time"

    def forward(self, x, w, win, dtype):
        whole = (x.shape[0], *win.output, w.shape[3])
        if 0 in whole:
            return np.zeros(whole, x.dtype)
        padded = self.pad("conv2d", x, win)
        rows = []
        for first in range(0, win.output[0], 3):
            count = min(3, win.output[0] - first)
            part = win._replace(output=(count, win.output[1]), pads=((0, 0), (0, 0)))
            tall = (count - 1) * win.strides[0] + (win.kernel[0] - 1) * win.dilations[0] + 1
            start = first * win.strides[0]
            rows.append(super().forward(padded[:, start : start + tall], w, part, dtype))
        return np.concatenate(rows, axis=1)


class NchwInside(Correct):
    spared = "NCHW and OIHW inside"

    def forward(self, x, w, win, dtype):
        whole = (x.shape[0], *win.output, w.shape[3])
        if 0 in whole:
            return np.zeros(whole, x.dtype)
        padded = np.ascontiguousarray(self.pad("conv2d", x, win).transpose(0, 3, 1, 2))
        filters = np.ascontiguousarray(w.transpose(3, 2, 0, 1))
        y = np.zeros((x.shape[0], w.shape[3], *win.output), x.dtype)
        for tap in self.taps("conv2d", win, x):
            _, rows, columns, _ = self.reads("conv2d", win, tap)
            y += np.einsum("nchw,oc->nohw", padded[:, :, rows, columns], filters[:, :, tap[0], tap[1]])
        return y.transpose(0, 2, 3, 1)


class PaddingSkipped(Correct):
    spared = "taps on padding are skipped, forward and backward: nothing is multiplied there, be it infinite"

    def forward(self, x, w, win, dtype):
        y = np.zeros((x.shape[0], *win.output, w.shape[3]), x.dtype)
        for tap in self.taps("conv2d", win, x) if y.size else ():
            spans = [self.span(axis, tap[axis], x.shape[axis + 1], win) for axis in (0, 1)]
            (rows, at_rows), (columns, at_columns) = spans
            y[:, rows, columns] += x[:, at_rows, at_columns] @ w[tap]
        return y

    def filter_gradient(self, x, w, dy, win, dtype):
        dw = np.zeros_like(w)
        for tap in self.taps("conv2d_vjp", win, x) if dy.size else ():
            spans = [self.span(axis, tap[axis], x.shape[axis + 1], win) for axis in (0, 1)]
            (rows, at_rows), (columns, at_columns) = spans
            dw[tap] = np.tensordot(x[:, at_rows, at_columns], dy[:, rows, columns], axes=([0, 1, 2], [0, 1, 2]))
        return dw

    def span(self, axis, k, n, win):
        """The outputs whose tap `k` lies in the image, and the pixels that they read."""
        s, shift = win.strides[axis], k * win.dilations[axis] - win.pads[axis][0]
        first = max(-(shift // s), 0)
        last = min((n - 1 - shift) // s, win.output[axis] - 1)
        count = max(last - first + 1, 0)
        start = first * s + shift if count else 0
        return slice(first, first + count), slice(start, start + max(count - 1, 0) * s + 1 if count else 0, s)


class RotatedFilterGradient(Correct):
    spared = "the input gradient as a convolution of the spread-out dy with the rotated filter"

    def input_gradient(self, x, w, dy, win, dtype):
        if dy.size == 0 or x.size == 0 or not np.isfinite(w).all():
            return super().input_gradient(x, w, dy, win, dtype)  # the zeros between would multiply infinities
        (kh, kw), (sh, sw), (dh, dw) = win.kernel, win.strides, win.dilations
        high, wide = self.padded_shape("conv2d_vjp", x.shape, win)[1:3]
        reach = ((kh - 1) * dh, (kw - 1) * dw)
        spread = np.zeros((len(dy), high + reach[0], wide + reach[1], dy.shape[3]), x.dtype)
        oh, ow = win.output
        spread[:, reach[0] : reach[0] + (oh - 1) * sh + 1 : sh, reach[1] : reach[1] + (ow - 1) * sw + 1 : sw] = dy
        dx = np.zeros((len(dy), high, wide, x.shape[3]), x.dtype)
        for i in range(kh):
            for j in range(kw):
                part = spread[:, i * dh : i * dh + high, j * dw : j * dw + wide]
                dx += part @ w[kh - 1 - i, kw - 1 - j].T
        return dx[self.inside("conv2d_vjp", x.shape, win)]


class Threads(Correct):
    spared = "each item of the batch in a thread of its own"

    def forward(self, x, w, win, dtype):
        def one(item):
            with np.errstate(all="ignore"):
                return Correct.forward(self, item[None], w, win, dtype)

        with ThreadPoolExecutor(2) as threads:
            parts = list(threads.map(one, x))
        return np.concatenate(parts) if parts else super().forward(x, w, win, dtype)
