"""Right backends under a declared contract: rounded inputs, flushed subnormals, Winograd, FFT. Each must be spared.

The transforms are for float32 and finite inputs of moderate size; else they fall back on the direct sum, as real
libraries do.
"""

import numpy as np

from .correct import Correct
from .rounding import flush, round_bits


class Tf32(Correct):
    spared = "inputs rounded to TF32, declared"
    contract = {"tf32": True}  # noqa: RUF012

    def widen(self, op, x):
        return round_bits(x, 11) if x.dtype == np.float32 else super().widen(op, x)


class Tf32DeclaredUnused(Correct):
    spared = "declares TF32 and is better than that"
    contract = {"tf32": True}  # noqa: RUF012


class FlushToZero(Correct):
    spared = "subnormal inputs and results become zero, declared"
    contract = {"flush_subnormals": True}  # noqa: RUF012

    def widen(self, op, x):
        return super().widen(op, flush(x))

    def narrow(self, op, y, dtype):
        return flush(super().narrow(op, y, dtype))

    def enter(self, op, *arrays):
        return tuple(flush(a) for a in arrays) if op.startswith("max_pool") else arrays


def moderate(*arrays):
    """Whether a transform can be trusted with these numbers."""
    with np.errstate(all="ignore"):
        return all(np.isfinite(a).all() and np.max(abs(a), initial=0) < 2.0**60 for a in arrays)


# Lavin and Gray 2016: output tile m, transforms of the input (B), of the filter (G) and back (A).
TRANSFORMS = {
    2: (
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
        [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
        [[1, 1, 1, 0], [0, 1, -1, -1]],
    ),
    4: (
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    ),
}


class Winograd23(Correct):
    spared = "Winograd F(2x2, 3x3), declared"
    contract = {"algorithm": "winograd"}  # noqa: RUF012
    tile = 2

    def forward(self, x, w, win, dtype):
        plain = win.kernel == (3, 3) and win.strides == win.dilations == (1, 1)
        if not plain or dtype != np.float32 or 0 in (*win.output, *x.shape, *w.shape) or not moderate(x, w):
            return super().forward(x, w, win, dtype)
        m = self.tile
        tiles = [-(-n // m) for n in win.output]
        padded = self.pad("conv2d", x, win)
        room = [(t * m + 2) - n for t, n in zip(tiles, padded.shape[1:3], strict=True)]
        padded = np.pad(padded, ((0, 0), (0, max(room[0], 0)), (0, max(room[1], 0)), (0, 0)))
        return self.tiled(padded, w, tiles)[:, : win.output[0], : win.output[1]]

    def tiled(self, x, w, tiles):
        """All whole tiles of the output, (N, tiles * m, tiles * m, O)."""
        m = self.tile
        b, g, a = (np.array(t, np.float32) for t in TRANSFORMS[m])
        filters = np.einsum("ai,bj,ijco->abco", g, g, w, optimize=True)
        windows = np.lib.stride_tricks.sliding_window_view(x, (m + 2, m + 2), axis=(1, 2))
        windows = windows[:, : tiles[0] * m : m, : tiles[1] * m : m]
        inputs = np.einsum("ai,bj,nyxcij->abnyxc", b, b, windows, optimize=True)
        shape = inputs.shape
        products = inputs.reshape(*shape[:2], -1, shape[5]) @ filters
        y = np.einsum("pa,qb,abmo->mpqo", a, a, products, optimize=True)
        y = y.reshape(*shape[2:5], m, m, -1).transpose(0, 1, 3, 2, 4, 5)
        return np.ascontiguousarray(y).reshape(shape[2], tiles[0] * m, tiles[1] * m, -1)


class Winograd43(Winograd23):
    spared = "Winograd F(4x4, 3x3), declared"
    tile = 4


class Fft(Correct):
    spared = "FFT in single precision, declared"
    contract = {"algorithm": "fft"}  # noqa: RUF012

    def forward(self, x, w, win, dtype):
        if dtype != np.float32 or 0 in (*win.output, *x.shape, *w.shape) or not moderate(x, w):
            return super().forward(x, w, win, dtype)
        padded = self.pad("conv2d", x, win)
        (kh, kw), (dh, dw), (sh, sw) = win.kernel, win.dilations, win.strides
        filters = np.zeros(((kh - 1) * dh + 1, (kw - 1) * dw + 1, *w.shape[2:]), w.dtype)
        filters[::dh, ::dw] = w
        size = padded.shape[1:3]
        fx = np.fft.rfft2(padded, size, axes=(1, 2))
        fw = np.conj(np.fft.rfft2(filters, size, axes=(0, 1)))
        y = np.fft.irfft2(np.einsum("nhwc,hwco->nhwo", fx, fw, optimize=True), size, axes=(1, 2))
        return y[:, ::sh, ::sw][:, : win.output[0], : win.output[1]].astype(np.float32)


class UndeclaredDirect(Correct):
    spared = "declares nothing but that it is direct"
    contract = {"algorithm": "direct", "accumulate": "float32"}  # noqa: RUF012

    def sum_type(self, op, dtype):
        return np.dtype(np.float64) if dtype == np.float64 else super().sum_type(op, dtype)
