"""Wrong backends, class state: what a call answers depends on the calls before it."""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from convspec.harness.oracle.readings.calls import conv, conv_vjp, mutant, pool, pool_vjp
from convspec.harness.oracle.readings.correct import Correct

X, W, DY = (2, 3, 3, 1), (2, 2, 1, 2), (2, 2, 2, 2)
ONE, OTHER = conv(X, W, seed=1), conv(X, W, seed=2)


class Cached(Correct):
    """Answers from a cache; `key` says what tells two calls apart."""

    def __init__(self):
        self.cache = {}

    def key(self, op, arrays, options):
        return None

    def cached(self, op, arrays, options):
        key = (op, self.key(op, arrays, options), str(options))
        if key not in self.cache:
            self.cache[key] = getattr(super(), op)(*arrays, **options)
        kept = self.cache[key]
        return tuple(map(np.copy, kept)) if isinstance(kept, tuple) else kept.copy()

    def conv2d(self, x, w, **options):
        return self.cached("conv2d", (x, w), options)


@mutant("state", "results are cached by shapes", ONE, OTHER)
class CachedByShape(Cached):
    def key(self, op, arrays, options):
        return [(a.shape, a.dtype) for a in arrays].__repr__()


@mutant(
    "state",
    "results are cached by the arrays' sums",
    conv(X, W, data="ones"),
    conv(X, W, data="ones", put=[(0, np.s_[:, 0, 0], 0), (0, np.s_[:, 1, 1], 2)]),
)
class CachedBySum(Cached):
    def key(self, op, arrays, options):
        return [(a.shape, str(a.dtype), float(a.astype(float).sum())) for a in arrays].__repr__()


@mutant(
    "state",
    "results are cached by first and last element",
    conv(X, W, data="lattice"),
    conv(X, W, data="lattice", put=[(0, np.s_[:, 1, 1], 9)]),
)
class CachedByEnds(Cached):
    def key(self, op, arrays, options):
        return [(a.shape, str(a.dtype), a.ravel()[:1].tobytes(), a.ravel()[-1:].tobytes()) for a in arrays].__repr__()


class FilterCache(Correct):
    """The filter is packed once."""

    def __init__(self):
        self.packed = {}

    def key(self, w):
        return w.shape, str(w.dtype)

    def enter(self, op, *arrays):
        if op != "conv2d" or arrays[1].ndim != 4:
            return arrays
        packed = self.packed.setdefault(self.key(arrays[1]), arrays[1].astype(np.float64))
        return arrays[0], packed.astype(arrays[1].dtype)


@mutant("state", "packed filters are cached by shape", ONE, OTHER)
class FilterCachedByShape(FilterCache):
    pass


@mutant(
    "state", "packed filters are cached by the array's address", ONE, OTHER, *(conv(X, W, seed=s) for s in range(3, 40))
)
class FilterCachedByAddress(FilterCache):
    def key(self, w):
        return w.shape, str(w.dtype), w.__array_interface__["data"][0]


@mutant(
    "state",
    "packed filters are cached by shape and corner element",
    conv(X, W, data="ties", seed=3),
    conv(X, W, data="ties", seed=3, put=[(1, np.s_[1, 1], 5)]),
)
class FilterCachedByCorner(FilterCache):
    def key(self, w):
        return w.shape, str(w.dtype), w[:1, :1, :1, :1].tobytes()


@mutant("state", "the packed filter of the last 4 shapes is kept, all objects sharing it", ONE, OTHER)
class FilterCacheShared(FilterCache):
    shared: dict = {}  # noqa: RUF012 - the fault

    def __init__(self):
        self.packed = self.shared
        self.packed.clear()


@mutant(
    "state",
    "geometry is cached by image and filter size alone",
    conv((1, 5, 5, 1), (2, 2, 1, 1)),
    conv((1, 5, 5, 1), (2, 2, 1, 1), strides=(2, 2)),
)
class GeometryCached(Correct):
    def __init__(self):
        self.windows = {}

    def window(self, op, size, kernel, *rest):
        key = op, tuple(size), str(kernel)
        if key not in self.windows:
            self.windows[key] = super().window(op, size, kernel, *rest)
        return self.windows[key]


@mutant(
    "state",
    "geometry is cached without the dilation",
    conv((1, 5, 5, 1), (2, 2, 1, 1)),
    conv((1, 5, 5, 1), (2, 2, 1, 1), dilations=(2, 2)),
)
class GeometryCachedWithoutDilation(Correct):
    def __init__(self):
        self.windows = {}

    def window(self, op, size, kernel, strides, padding, dilations):
        key = op, tuple(size), str((kernel, strides, padding))
        if key not in self.windows:
            self.windows[key] = super().window(op, size, kernel, strides, padding, dilations)
        return self.windows[key]


@mutant("state", "the output buffer is not cleared: results add up", ONE, OTHER)
class ResultsAddUp(Correct):
    def __init__(self):
        self.sums = {}

    def leave(self, op, result, *arrays):
        if op == "conv2d":
            key = result.shape, str(result.dtype)
            result = self.sums[key] = (result + self.sums.get(key, 0)).astype(result.dtype)
            return result.copy()
        return result


@mutant(
    "state",
    "a larger padded scratch image is reused: its border is not cleared",
    conv((1, 5, 5, 1), (3, 3, 1, 1), padding="SAME"),
    conv((1, 4, 4, 1), (3, 3, 1, 1), padding="SAME"),
)
class ScratchNotCleared(Correct):
    def __init__(self):
        self.scratch = {}

    def pad(self, op, x, win, value=0):
        fresh = super().pad(op, x, win, value)
        if op != "conv2d":
            return fresh
        old = self.scratch.get(x.dtype)
        self.scratch[x.dtype] = fresh
        if old is None or old.ndim != 4 or not all(map(int.__le__, fresh.shape, old.shape)):
            return fresh
        dirty = old[tuple(map(slice, fresh.shape))].copy()
        dirty[self.inside(op, x.shape, win)] = x
        return dirty


class Counted(Correct):
    """conv2d counts its calls."""

    def __init__(self):
        self.calls = 0

    def spoil(self, y):
        return y

    def leave(self, op, result, *arrays):
        self.calls += op == "conv2d"
        return self.spoil(result) if op == "conv2d" else result


@mutant("state", "the first call answers zeros", ONE)
class FirstCall(Counted):
    def spoil(self, y):
        return y * (self.calls > 1)


@mutant("state", "the second call answers the first tap less", ONE, ONE)
class SecondCall(Counted):
    def taps(self, op, win, x):
        return super().taps(op, win, x)[int(op == "conv2d" and self.calls == 1) :]


@mutant("state", "every 17th call is off", *[ONE] * 17)
class SeventeenthCall(Counted):
    def spoil(self, y):
        return y * 2 if self.calls % 17 == 0 else y


@mutant("state", "from the 65th call on one output is lost", *[ONE] * 65)
class SixtyFifthCall(Counted):
    def spoil(self, y):
        if self.calls > 64 and y.size:
            y.reshape(-1)[-1] = 0
        return y


@mutant("state", "after another shape, the first row is that of the call before", conv((1, 4, 3, 1), W), ONE)
class AfterAnotherShape(Correct):
    last = None

    def leave(self, op, result, *arrays):
        if op != "conv2d" or not result.size:
            return result
        before, self.last = self.last, result.copy()
        if before is not None and before.shape != result.shape:
            result[0, 0, 0, 0] = before[0, 0, 0, 0]
        return result


@mutant("state", "after a float16 call the sums stay in float16", conv(X, W, dtype="float16"), conv(X, W))
class StaysInFloat16(Correct):
    narrow_now = False

    def enter(self, op, *arrays):
        self.narrow_now = self.narrow_now or arrays[0].dtype == np.float16
        return arrays

    def add(self, op, total, part, dtype):
        y = total + part
        return y.astype(np.float16).astype(y.dtype) if self.narrow_now and dtype == np.float32 else y


@mutant(
    "state",
    "a dilation sticks: the next call of the same filter size has it too",
    conv((1, 5, 5, 1), (2, 2, 1, 1), dilations=(2, 2)),
    conv((1, 5, 5, 1), (2, 2, 1, 1)),
)
class DilationSticks(Correct):
    sticky = (1, 1)

    def window(self, op, size, kernel, strides, padding, dilations):
        dilations, self.sticky = max(tuple(dilations), self.sticky), tuple(dilations)
        return super().window(op, size, kernel, strides, padding, dilations)


@mutant("state", "the gradient takes the x of the last forward call", conv(X, W, seed=1), conv_vjp(X, W, DY, seed=2))
class GradientOfLastForward(Correct):
    last = None

    def enter(self, op, *arrays):
        if op == "conv2d":
            self.last = arrays[0].copy()
        fits = op == "conv2d_vjp" and self.last is not None and self.last.shape == arrays[0].shape
        return (self.last.astype(arrays[0].dtype), *arrays[1:]) if fits else arrays


@mutant(
    "state",
    "max_pool's gradient takes the choices of the last max_pool",
    pool(X, (2, 2), seed=1),
    pool_vjp(X, (2, 2, 2, 1), (2, 2), seed=2),
)
class ChoicesOfLastPool(Correct):
    last = None

    def enter(self, op, *arrays):
        if op == "max_pool":
            self.last = arrays[0].copy()
        fits = op == "max_pool_vjp" and self.last is not None and self.last.shape == arrays[0].shape
        return (self.last.astype(arrays[0].dtype), arrays[1]) if fits else arrays


@mutant("state", "the last bits differ from call to call", ONE, ONE)
class LastBitsVary(Counted):
    def spoil(self, y):
        return np.nextafter(y, y + self.calls % 2) if y.dtype.kind == "f" else y


@mutant("state", "an item's result depends on the batch, beyond the bound", conv((3, 3, 3, 1), W))
class DependsOnBatch(Correct):
    def leave(self, op, result, *arrays):
        if op == "conv2d" and len(result) > 2:
            result += (result.mean(axis=0, keepdims=True) * np.float32(1e-4)).astype(result.dtype)
        return result


@mutant(
    "state",
    "max_pool: the third call in a row with the same shape answers the second's",
    *(pool(X, (2, 2), seed=s) for s in (1, 2, 3)),
)
class PoolThirdCall(Correct):
    calls, kept = 0, None

    def leave(self, op, result, *arrays):
        if op != "max_pool":
            return result
        same = self.kept is not None and self.kept.shape == result.shape and self.kept.dtype == result.dtype
        self.calls = self.calls + 1 if same else 1
        answer = self.kept if self.calls == 3 else result
        self.kept = result.copy()
        return answer
