"""Narrower arithmetic, emulated: rounding to so many bits, flushing, sums in a narrow type."""

import numpy as np


def round_bits(x, bits):
    """To `bits` significant bits, ties to even."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits).astype(x.dtype)


def truncate_bits(x, bits):
    """To `bits` significant bits, towards zero."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.trunc(np.ldexp(mantissa, bits)), exponent - bits).astype(x.dtype)


def flush(x):
    """Subnormals of a float's own type become zero."""
    if x.dtype.kind != "f":
        return x
    return np.where(abs(x) < np.finfo(x.dtype).tiny, x * 0, x).astype(x.dtype)


def terms_of(backend, op, x, win):
    """The padded slice of every tap and channel, in order: (tap, channel, (N, oh, ow))."""
    padded = backend.pad(op, x, win)
    for tap in backend.taps(op, win, x):
        part = padded[backend.reads(op, win, tap)]
        for channel in range(x.shape[3]):
            yield tap, channel, part[..., channel]


def sums_in(kind, backend, x, w, win):
    """conv2d of one group, every partial sum and product rounded to `kind`."""
    y = np.zeros((x.shape[0], *win.output, w.shape[3]), kind)
    if y.size:
        for tap, channel, part in terms_of(backend, "conv2d", x.astype(kind), win):
            y = (y + part[..., None] * w[tap][channel].astype(kind)).astype(kind)
    return y.astype(x.dtype)
