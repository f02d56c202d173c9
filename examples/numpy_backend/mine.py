"""A convspec backend in NumPy: the forward half. Put your own library's calls where the two results are made."""

import numpy as np

from convspec.adapters import Unsupported
from convspec.reference import geometry


def windows(x, kernel, fill, *, strides, padding, dilations):
    """All windows of x: [batch, rows, columns, channels, kernel rows, kernel columns]."""
    if x.ndim != 4:
        raise ValueError(f"x has shape {x.shape}, expected four axes, NHWC")
    window = geometry.resolve(x.shape[1:3], kernel, strides=strides, padding=padding, dilations=dilations)
    if 0 in window.output:
        raise Unsupported("an output without rows or columns")
    padded = np.pad(x, ((0, 0), *window.pads, (0, 0)), constant_values=fill)
    span = [geometry.effective_kernel(taps, dilation) for taps, dilation in zip(kernel, dilations, strict=True)]
    views = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(1, 2))
    return views[:, :: strides[0], :: strides[1], :, :: dilations[0], :: dilations[1]]


class Mine:
    """What is absent (the gradients) or raises `Unsupported` is counted as unsupported; the rest is judged."""

    name = "mine"
    version = "0.1.0"

    def conv2d(self, x, w, *, strides, padding, dilations, groups):
        """Correlate x (NHWC) with w (HWIO)."""
        if x.dtype not in (np.float32, np.float64):
            raise Unsupported(f"conv2d in {x.dtype}")
        if w.ndim != 4 or w.dtype != x.dtype or groups < 1 or w.shape[3] % groups:
            raise ValueError(f"w has shape {w.shape} and dtype {w.dtype}, which do not fit x or groups={groups}")
        if x.ndim == 4 and w.shape[2] * groups != x.shape[3]:
            raise ValueError(f"w has {w.shape[2]} channels a filter and x has {x.shape[3]}, with groups={groups}")
        seen = windows(x, w.shape[:2], 0, strides=strides, padding=padding, dilations=dilations)
        parts = zip(np.split(seen, groups, axis=3), np.split(w, groups, axis=3), strict=True)
        return np.concatenate([np.einsum("nhwcij,ijcd->nhwd", one, filters) for one, filters in parts], axis=3)

    def max_pool(self, x, *, ksize, strides, padding, dilations):
        """Maximum of each window, channel by channel."""
        lowest = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
        return windows(x, ksize, lowest, strides=strides, padding=padding, dilations=dilations).max(axis=(4, 5))
