"""Right backends in other clothes: other memory, fewer abilities, other manners. Each must be spared."""

import sys
import time
import warnings
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import signal

sys.path.append(str(Path(__file__).resolve().parents[1]))

from convspec.adapters import Unsupported
from convspec.harness.oracle.readings.correct import NARROW, Correct


class Handed(Correct):
    """Results are handed out in another form."""

    def hand(self, array):
        return array

    def leave(self, op, result, *arrays):
        return tuple(map(self.hand, result)) if isinstance(result, tuple) else self.hand(result)


class ResultViews(Handed):
    spared = "results are views with gaps"

    def hand(self, array):
        spread = np.zeros([2 * n for n in array.shape], array.dtype)
        view = spread[tuple(slice(None, None, 2) for _ in array.shape)]
        view[...] = array
        return view


class NegativeStrideResults(Handed):
    spared = "results are views with negative strides"

    def hand(self, array):
        return array[::-1, ::-1].copy()[::-1, ::-1]


class ReadOnlyResults(Handed):
    spared = "results are read-only"

    def hand(self, array):
        array = array.copy()
        array.setflags(write=False)
        return array


class OwnArray(np.ndarray):
    """A subclass that adds nothing."""


class SubclassResults(Handed):
    spared = "results are of a subclass of NumPy's array"

    def hand(self, array):
        return array.view(OwnArray)


class GradientsInOneBuffer(Correct):
    spared = "dx and dw are parts of one buffer"

    def leave(self, op, result, *arrays):
        if op != "conv2d_vjp":
            return result
        both = np.concatenate([gradient.ravel() for gradient in result])
        parts = np.split(both, [result[0].size])
        return tuple(part.reshape(gradient.shape) for part, gradient in zip(parts, result, strict=True))


class NanPayloads(Handed):
    spared = "NaN come back with another sign and payload each time"
    calls = 0

    def hand(self, array):
        if array.dtype != np.float32:
            return array
        self.calls += 1
        array.view(np.uint32)[np.isnan(array)] = 0xFFC00000 + self.calls % 1000
        return array


class FortranResults(Handed):
    spared = "results are in Fortran order"

    def hand(self, array):
        return np.asfortranarray(array)


class NegativeZeros(Handed):
    spared = "zeros are -0.0"

    def hand(self, array):
        return np.where(array == 0, array.dtype.type(-0.0), array) if array.dtype.kind == "f" else array


class Declines(Correct):
    """Something is not supported, and it says so."""

    def declines(self, op, arrays, options):
        return None

    def enter(self, op, *arrays):
        return arrays

    def conv2d(self, x, w, *, strides, padding, dilations, groups):
        return self.ask("conv2d", (x, w), strides=strides, padding=padding, dilations=dilations, groups=groups)

    def conv2d_vjp(self, x, w, dy, *, strides, padding, dilations, groups):
        return self.ask("conv2d_vjp", (x, w, dy), strides=strides, padding=padding, dilations=dilations, groups=groups)

    def max_pool(self, x, *, ksize, strides, padding, dilations):
        return self.ask("max_pool", (x,), ksize=ksize, strides=strides, padding=padding, dilations=dilations)

    def max_pool_vjp(self, x, dy, *, ksize, strides, padding, dilations):
        return self.ask("max_pool_vjp", (x, dy), ksize=ksize, strides=strides, padding=padding, dilations=dilations)

    def ask(self, op, arrays, **options):
        result = getattr(Correct(), op)(*arrays, **options)  # what is invalid is an error first
        if why := self.declines(op, arrays, options):
            raise Unsupported(why)
        return result


class NoGroups(Declines):
    spared = "no groups, and no bias"

    def declines(self, op, arrays, options):
        return "groups" if options.get("groups", 1) > 1 else None


class NoDilation(Declines):
    spared = "no dilation"

    def declines(self, op, arrays, options):
        return "dilations over 1" if max(options["dilations"]) > 1 else None


class NoDilationWithStride(Declines):
    spared = "no dilation together with strides"

    def declines(self, op, arrays, options):
        both = max(options["dilations"]) > 1 and max(options["strides"]) > 1
        return "strides > 1 not supported in conjunction with dilations > 1" if both else None


class OnlyFloat32(Declines):
    spared = "float32 alone"

    def declines(self, op, arrays, options):
        return f"{arrays[0].dtype}" if arrays[0].dtype != np.float32 else None


class NoNarrowTypes(Declines):
    spared = "neither float16 nor bfloat16"

    def declines(self, op, arrays, options):
        return f"{arrays[0].dtype}" if arrays[0].dtype in NARROW else None


class NoSameLower(Declines):
    spared = "SAME_LOWER is not supported"

    def declines(self, op, arrays, options):
        return "SAME_LOWER" if options["padding"] == "SAME_LOWER" else None


class NoExplicit(Declines):
    spared = "explicit padding is not supported"

    def declines(self, op, arrays, options):
        return "explicit padding" if not isinstance(options["padding"], str) else None


class NoStridedSame(Declines):
    spared = "SAME with strides is not supported (torch)"

    def declines(self, op, arrays, options):
        same = str(options["padding"]).startswith("SAME")
        return (
            "padding='same' is not supported for strided convolutions" if same and max(options["strides"]) > 1 else None
        )


class SameLowerIsAnError(Correct):
    spared = "SAME_LOWER is an unknown padding name: ValueError"

    def check_padding_name(self, op, padding):
        super().check_padding_name(op, padding)
        if padding.upper() == "SAME_LOWER":
            raise ValueError(f"{op}: padding must be 'SAME', 'VALID' or explicit, got {padding!r}")


class RefusesEmpty(Correct):
    spared = "an output without elements is refused, clearly"

    def window(self, op, *rest):
        win = super().window(op, *rest)
        if 0 in win.output:
            raise ValueError(f"{op}: the window does not fit: the output would be empty, {win.output}")
        return win


class ThreeMethods:
    spared = "no max_pool_vjp, no argmax, no bias"
    name = "three-methods"

    def conv2d(self, x, w, *, strides, padding, dilations, groups):
        return Correct().conv2d(x, w, strides=strides, padding=padding, dilations=dilations, groups=groups)

    def conv2d_vjp(self, x, w, dy, **options):
        return Correct().conv2d_vjp(x, w, dy, **options)

    def max_pool(self, x, **options):
        return Correct().max_pool(x, **options)


class ForwardConvOnly:
    spared = "conv2d alone, with open keywords"

    def conv2d(self, x, w, **options):
        return Correct().conv2d(x, w, **options)


class StaticMethods:
    spared = "static methods and no name"

    conv2d = staticmethod(lambda x, w, **options: Correct().conv2d(x, w, **options))
    conv2d_vjp = staticmethod(lambda x, w, dy, **options: Correct().conv2d_vjp(x, w, dy, **options))
    max_pool = staticmethod(lambda x, **options: Correct().max_pool(x, **options))
    max_pool_vjp = staticmethod(lambda x, dy, **options: Correct().max_pool_vjp(x, dy, **options))


class Chatty(Correct):
    spared = "prints and warns at every call"

    def enter(self, op, *arrays):
        print(f"{op} {[a.shape for a in arrays]}")
        print("kernel selected", file=sys.stderr)
        warnings.warn("TF32 is not available", UserWarning, stacklevel=2)
        return arrays


class SlowStart(Correct):
    spared = "the first call takes a second (it compiles)"
    started = False

    def enter(self, op, *arrays):
        if not self.started:
            time.sleep(1)
            self.started = True
        return arrays


class BackendError(RuntimeError):
    """An error class of the backend's own."""


class OwnErrors(Correct):
    spared = "errors are of a class of its own"

    def wrapped(self, op, *arrays, **options):
        try:
            return getattr(super(), op)(*arrays, **options)
        except (TypeError, ValueError) as error:
            raise BackendError(f"status 3: {error}") from None

    def conv2d(self, x, w, **options):
        return self.wrapped("conv2d", x, w, **options)

    def conv2d_vjp(self, x, w, dy, **options):
        return self.wrapped("conv2d_vjp", x, w, dy, **options)

    def max_pool(self, x, **options):
        return self.wrapped("max_pool", x, **options)

    def max_pool_vjp(self, x, dy, **options):
        return self.wrapped("max_pool_vjp", x, dy, **options)


class CachedByContent(Correct):
    spared = "filters are cached by their content: that is allowed"

    def __init__(self):
        self.packed = {}

    def enter(self, op, *arrays):
        if op != "conv2d":
            return arrays
        w = arrays[1]
        key = w.shape, str(w.dtype), w.tobytes()
        return arrays[0], self.packed.setdefault(key, w.copy())


class PoolByWindows(Correct):
    spared = "max_pool over sliding windows and argmax"

    def maximum(self, op, x, win):
        best, chosen = super().maximum(op, x, win)
        if best.size == 0 or min(map(min, win.pads)) < 0 or sum(map(sum, win.pads)) or x.dtype in NARROW:
            return best, chosen
        reach = [(k - 1) * d + 1 for k, d in zip(win.kernel, win.dilations, strict=True)]
        (sh, sw), (dh, dw) = win.strides, win.dilations
        windows = sliding_window_view(x, reach, axis=(1, 2))[:, ::sh, ::sw, :, ::dh, ::dw]
        flat = windows.reshape(*windows.shape[:4], -1)[:, : win.output[0], : win.output[1]]
        return flat.max(axis=-1), flat.argmax(axis=-1)


class PoolsPaddedImage(Correct):
    spared = "max_pool pads with minus infinity, to which the gradient of nothing but minus infinity goes"

    def valid(self, op, shape, win):
        real = super().valid(op, shape, win)
        return np.ones_like(real) if op == "max_pool_vjp" else real


class PoolKeepsPositiveZero(Correct):
    spared = "the maximum of the two zeros is +0.0"

    def leave(self, op, result, *arrays):
        return result + result.dtype.type(0) if op == "max_pool" and result.dtype.kind == "f" else result


class Scipy(Correct):
    spared = "scipy.signal.correlate2d, a channel and a filter at a time"

    def forward(self, x, w, win, dtype):
        y = np.zeros((x.shape[0], *win.output, w.shape[3]), x.dtype)
        if y.size == 0 or x.shape[3] == 0:
            return y
        padded = self.pad("conv2d", x, win)
        (kh, kw), (dh, dw), (sh, sw) = win.kernel, win.dilations, win.strides
        filters = np.zeros(((kh - 1) * dh + 1, (kw - 1) * dw + 1, *w.shape[2:]), w.dtype)
        filters[::dh, ::dw] = w
        if not (np.isfinite(x).all() and np.isfinite(w).all()):
            return super().forward(x, w, win, dtype)  # the holes of a dilated filter would multiply infinities by 0
        for n, c, o in np.ndindex(x.shape[0], x.shape[3], w.shape[3]):
            full = signal.correlate2d(padded[n, :, :, c], filters[:, :, c, o], mode="valid")
            y[n, :, :, o] += full[::sh, ::sw][: win.output[0], : win.output[1]]
        return y
