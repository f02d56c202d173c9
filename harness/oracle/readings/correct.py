"""A right backend, written to be got wrong: every decision is a small method that a mutant overrides.

It imports nothing of ours. Its geometry and its sums are its own, so that a mistake of the reference is not
repeated here. Most methods take `op` first (one of the four names of the protocol), so that a mutant can be wrong
in one operation and right in the others.
"""

from typing import NamedTuple

import ml_dtypes
import numpy as np

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
NARROW = (np.dtype(np.float16), BFLOAT16)
FLOATS = (np.dtype(np.float64), np.dtype(np.float32), *NARROW)


class Window(NamedTuple):
    """Everything that says which input element a tap of an output element reads."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    output: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]


def pair(value):
    """Strides, dilations or ksize as a pair: an int, a pair, or TensorFlow's [1, h, w, 1]."""
    values = (value, value) if np.ndim(value) == 0 else tuple(value)
    if len(values) == 4:
        if values[0] != 1 or values[3] != 1:
            raise ValueError(f"only height and width can be windowed, got {value!r}")
        values = values[1:3]
    if len(values) != 2:
        raise ValueError(f"expected an int, a pair or [1, h, w, 1], got {value!r}")
    if not all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in values):
        raise TypeError(f"expected integers, got {value!r}")
    return int(values[0]), int(values[1])


class Checks:
    """What a caller may not pass, one method an error clause."""

    def check_positive(self, op, what, values):
        if min(values) < 1:
            raise ValueError(f"{op}: {what} must be positive, got {values}")

    def check_rank(self, op, what, array):
        if array.ndim != 4:
            raise ValueError(f"{op}: {what} must have rank 4, got shape {array.shape}")

    def check_channels(self, op, x, w, groups):
        if x.shape[3] != w.shape[2] * groups:
            raise ValueError(f"{op}: {x.shape[3]} channels do not fit a filter of {w.shape[2]} in {groups} groups")

    def check_groups(self, op, x, w, groups):
        if groups < 1 or x.shape[3] % groups or w.shape[3] % groups:
            raise ValueError(f"{op}: {groups} groups do not divide {x.shape[3]} channels and {w.shape[3]} filters")

    def check_pads(self, op, pads):
        if min(min(side) for side in pads) < 0:
            raise ValueError(f"{op}: padding must not be negative, got {pads}")

    def check_padding_name(self, op, padding):
        if padding.upper() not in ("SAME", "VALID", "SAME_LOWER"):
            raise ValueError(f"{op}: padding must be 'SAME', 'VALID' or explicit, got {padding!r}")

    def check_dtype(self, op, first, *others):
        for other in others:
            if other.dtype != first.dtype:
                raise TypeError(f"{op}: dtypes differ, {first.dtype} and {other.dtype}")

    def check_float(self, op, x):
        if x.dtype not in FLOATS:
            raise TypeError(f"{op}: not a floating type of this backend: {x.dtype}")

    def check_gradient(self, op, dy, shape):
        if dy.shape != shape:
            raise ValueError(f"{op}: dy must have the shape of the output {shape}, got {dy.shape}")

    def check_conv(self, op, x, w, groups):
        self.check_rank(op, "x", x)
        self.check_rank(op, "w", w)
        self.check_dtype(op, x, w)
        self.check_float(op, x)
        self.check_positive(op, "the filter's size", w.shape[:2])
        self.check_groups(op, x, w, groups)
        self.check_channels(op, x, w, groups)


class Geometry:
    """Which pixels a window reads."""

    def effective_kernel(self, op, k, d):
        return (k - 1) * d + 1

    def same_size(self, op, n, s):
        return -(-n // s)

    def same_total(self, op, n, k, s, d):
        return max((self.same_size(op, n, s) - 1) * s + self.effective_kernel(op, k, d) - n, 0)

    def split(self, op, total):
        """SAME's padding before and after: the odd pixel goes last."""
        return total // 2, total - total // 2

    def out_size(self, op, n, k, s, d, pads):
        return max((n + sum(pads) - self.effective_kernel(op, k, d)) // s + 1, 0)

    def same_axis(self, op, axis, n, k, s, d):
        """One axis under SAME: output size and (before, after)."""
        return self.same_size(op, n, s), self.split(op, self.same_total(op, n, k, s, d))

    def explicit_axis(self, op, axis, n, k, s, d, pads):
        return self.out_size(op, n, k, s, d, pads), tuple(pads)

    def axis_geometry(self, op, axis, n, k, s, d, padding):
        if isinstance(padding, str):
            self.check_padding_name(op, padding)
            if padding.upper() != "VALID":
                size, sides = self.same_axis(op, axis, n, k, s, d)
                return size, sides[::-1] if padding.upper() == "SAME_LOWER" else sides
            padding = ((0, 0), (0, 0))
        self.check_pads(op, padding)
        return self.explicit_axis(op, axis, n, k, s, d, padding[axis])

    def window(self, op, size, kernel, strides, padding, dilations):
        kernel, strides, dilations = pair(kernel), pair(strides), pair(dilations)
        self.check_positive(op, "ksize", kernel)
        self.check_positive(op, "strides", strides)
        self.check_positive(op, "dilations", dilations)
        if not isinstance(padding, str):
            padding = tuple((int(before), int(after)) for before, after in padding)
        axes = [
            self.axis_geometry(op, axis, size[axis], kernel[axis], strides[axis], dilations[axis], padding)
            for axis in (0, 1)
        ]
        return Window(kernel, strides, dilations, (axes[0][0], axes[1][0]), (axes[0][1], axes[1][1]))

    def taps(self, op, win, x):
        """The taps in the order in which they are added."""
        return [(i, j) for i in range(win.kernel[0]) for j in range(win.kernel[1])]

    def offset(self, op, win, tap):
        """Where, from the corner of its window, a tap reads."""
        return tap[0] * win.dilations[0], tap[1] * win.dilations[1]

    def reads(self, op, win, tap):
        """The padded pixels that a tap reads, one for each output pixel."""
        top, left = self.offset(op, win, tap)
        (oh, ow), (sh, sw) = win.output, win.strides
        return np.s_[:, top : top + (oh - 1) * sh + 1 : sh, left : left + (ow - 1) * sw + 1 : sw, :]

    def padded_shape(self, op, shape, win):
        """Large enough for every read, also where a wrong geometry reads past the end."""
        sides = []
        for axis in (0, 1):
            n, k, s, d = shape[axis + 1], win.kernel[axis], win.strides[axis], win.dilations[axis]
            sides.append(max(n + sum(win.pads[axis]), (win.output[axis] - 1) * s + (k - 1) * d + 1))
        return (shape[0], *sides, shape[3])

    def inside(self, op, shape, win):
        (top, _), (left, _) = win.pads
        return np.s_[:, top : top + shape[1], left : left + shape[2], :]

    def pad(self, op, x, win, value=0):
        padded = np.full(self.padded_shape(op, x.shape, win), value, x.dtype)
        padded[self.inside(op, x.shape, win)] = x
        return padded


class Correct(Checks, Geometry):
    """conv2d and max_pool from per-tap slices: NHWC, HWIO, at least float32 sums, one rounding at the end."""

    name = "correct"

    # What surrounds a call: mutants of layout, state and dtype live here.
    def enter(self, op, *arrays):
        return arrays

    def leave(self, op, result, *arrays):
        return result

    # Arithmetic.
    def sum_type(self, op, dtype):
        return np.dtype(np.float32) if dtype in NARROW else dtype

    def widen(self, op, x):
        return x.astype(self.sum_type(op, x.dtype))

    def product(self, op, a, b):
        return a @ b

    def add(self, op, total, part, dtype):
        return total + part

    def narrow(self, op, y, dtype):
        return y.astype(dtype)

    def zeros(self, op, shape, dtype):
        return np.zeros(shape, dtype)

    # One group.
    def forward(self, x, w, win, dtype):
        op = "conv2d"
        y = self.zeros(op, (x.shape[0], *win.output, w.shape[3]), x.dtype)
        if y.size == 0:
            return y
        padded = self.pad(op, x, win)
        for tap in self.taps(op, win, x):
            y = self.add(op, y, self.product(op, padded[self.reads(op, win, tap)], w[tap]), dtype)
        return y

    def input_gradient(self, x, w, dy, win, dtype):
        op = "conv2d_vjp"
        dx = self.zeros(op, self.padded_shape(op, x.shape, win), x.dtype)
        if dy.size:
            for tap in self.taps(op, win, x):
                at = self.reads(op, win, tap)
                dx[at] = self.add(op, dx[at], self.product(op, dy, w[tap].T), dtype)
        return dx[self.inside(op, x.shape, win)]

    def filter_gradient(self, x, w, dy, win, dtype):
        op = "conv2d_vjp"
        dw = self.zeros(op, w.shape, w.dtype)
        if dy.size == 0:
            return dw
        padded = self.pad(op, x, win)
        rows = dy.reshape(-1, w.shape[3])
        for tap in self.taps(op, win, x):
            part = padded[self.reads(op, win, tap)].reshape(len(rows), x.shape[3])
            dw[tap] = self.product(op, np.ascontiguousarray(part.T), rows)
        return dw

    # Groups: split, convolve, concatenate.
    def split_groups(self, op, what, array, groups):
        """`what` is "x", "w" or "dy"; channels (filters for w) lie group after group."""
        return np.split(array, groups, axis=3)

    def join_groups(self, op, what, parts):
        return np.concatenate(parts, axis=3)

    def add_bias(self, y, bias):
        return y + bias

    # The protocol.
    def conv2d(self, x, w, *, strides, padding, dilations, groups, bias=None):
        op = "conv2d"
        x, w = self.enter(op, x, w)
        self.check_conv(op, x, w, groups)
        win = self.window(op, x.shape[1:3], w.shape[:2], strides, padding, dilations)
        with np.errstate(all="ignore"):
            xs = self.split_groups(op, "x", self.widen(op, x), groups)
            ws = self.split_groups(op, "w", self.widen(op, w), groups)
            parts = [self.forward(a, b, win, x.dtype) for a, b in zip(xs, ws, strict=True)]
            y = self.join_groups(op, "y", parts)
            if bias is not None:
                self.check_dtype(op, x, bias)
                if bias.shape != y.shape[3:]:
                    raise ValueError(f"{op}: bias must have shape {y.shape[3:]}, got {bias.shape}")
                y = self.add_bias(y, self.widen(op, bias))
            return self.leave(op, self.narrow(op, y, x.dtype), x, w)

    def conv2d_vjp(self, x, w, dy, *, strides, padding, dilations, groups):
        op = "conv2d_vjp"
        x, w, dy = self.enter(op, x, w, dy)
        self.check_conv(op, x, w, groups)
        self.check_rank(op, "dy", dy)
        self.check_dtype(op, x, dy)
        win = self.window(op, x.shape[1:3], w.shape[:2], strides, padding, dilations)
        self.check_gradient(op, dy, (x.shape[0], *win.output, w.shape[3]))
        with np.errstate(all="ignore"):
            xs, ws, dys = (
                self.split_groups(op, what, self.widen(op, a), groups) for what, a in (("x", x), ("w", w), ("dy", dy))
            )
            each = list(zip(xs, ws, dys, strict=True))
            dx = self.join_groups(op, "dx", [self.input_gradient(*arrays, win, x.dtype) for arrays in each])
            dw = self.join_groups(op, "dw", [self.filter_gradient(*arrays, win, x.dtype) for arrays in each])
            return self.leave(op, (self.narrow(op, dx, x.dtype), self.narrow(op, dw, x.dtype)), x, w, dy)

    # Max pooling.
    def identity(self, op, dtype):
        return np.iinfo(dtype).min if dtype.kind in "iu" else dtype.type(-np.inf)

    def beats(self, op, value, best):
        """Whether a later element takes the place of the best so far: the first maximum, the first NaN."""
        return (value > best) | ((value != value) & (best == best))  # noqa: PLR0124 (NaN, in any type)

    def valid(self, op, shape, win):
        real = np.zeros(self.padded_shape(op, (1, *shape[1:3], 1), win), bool)
        real[self.inside(op, shape, win)] = True
        return real

    def maximum(self, op, x, win):
        """The maximum and its tap (-1 where the window has no element)."""
        best = np.full((x.shape[0], *win.output, x.shape[3]), self.identity(op, x.dtype), x.dtype)
        chosen = np.full(best.shape, -1)
        if best.size == 0:
            return best, chosen
        padded, real = self.pad(op, x, win, self.identity(op, x.dtype)), self.valid(op, x.shape, win)
        for tap in self.taps(op, win, x):
            at = self.reads(op, win, tap)
            take = real[at] & ((chosen < 0) | self.beats(op, padded[at], best))
            best = np.where(take, padded[at], best)
            chosen = np.where(take, tap[0] * win.kernel[1] + tap[1], chosen)
        return best, chosen

    def pool_type(self, op, dtype):
        """The type in which elements are compared, or gradients added."""
        return self.sum_type(op, dtype) if op == "max_pool_vjp" else dtype

    def spread(self, op, dx, at, dy, mine):
        dx[at] += np.where(mine, dy, 0)

    def max_pool(self, x, *, ksize, strides, padding, dilations):
        op = "max_pool"
        (x,) = self.enter(op, x)
        self.check_rank(op, "x", x)
        win = self.window(op, x.shape[1:3], ksize, strides, padding, dilations)
        with np.errstate(all="ignore"):
            best, _ = self.maximum(op, x.astype(self.pool_type(op, x.dtype)), win)
            return self.leave(op, best.astype(x.dtype), x)

    def max_pool_vjp(self, x, dy, *, ksize, strides, padding, dilations):
        op = "max_pool_vjp"
        x, dy = self.enter(op, x, dy)
        self.check_rank(op, "x", x)
        self.check_rank(op, "dy", dy)
        self.check_dtype(op, x, dy)
        win = self.window(op, x.shape[1:3], ksize, strides, padding, dilations)
        self.check_gradient(op, dy, (x.shape[0], *win.output, x.shape[3]))
        with np.errstate(all="ignore"):
            _, chosen = self.maximum(op, x, win)
            wide = dy.astype(self.pool_type(op, x.dtype))
            dx = self.zeros(op, self.padded_shape(op, x.shape, win), wide.dtype)
            for tap in self.taps(op, win, x) if dy.size else ():
                self.spread(op, dx, self.reads(op, win, tap), wide, chosen == tap[0] * win.kernel[1] + tap[1])
            return self.leave(op, self.narrow(op, dx[self.inside(op, x.shape, win)], x.dtype), x, dy)

    def flat_index(self, row, column, x):
        return (row * x.shape[2] + column) * x.shape[3] + np.arange(x.shape[3])

    def max_pool_with_argmax(self, x, *, ksize, strides, padding, dilations):
        op = "max_pool"
        best = self.max_pool(x, ksize=ksize, strides=strides, padding=padding, dilations=dilations)
        (x,) = self.enter(op, x)
        win = self.window(op, x.shape[1:3], ksize, strides, padding, dilations)
        _, chosen = self.maximum(op, x, win)
        (sh, sw), (dh, dw), kw = win.strides, win.dilations, win.kernel[1]
        row = np.arange(win.output[0])[:, None, None] * sh + chosen // kw * dh - win.pads[0][0]
        column = np.arange(win.output[1])[:, None] * sw + chosen % kw * dw - win.pads[1][0]
        return best, np.where(chosen < 0, -1, self.flat_index(row, column, x)).astype(np.int64)
