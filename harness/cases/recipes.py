"""Data recipes: from a case's shapes, dtype and seed to its arrays.

May import NumPy and this folder. Every recipe gives values that the case's dtype holds exactly. Those marked *exact*
keep every partial sum of the forward map and of both gradients representable, so that any direct algorithm, in any
order, must give the same bits; the oracle checks that on the data themselves and falls back to the bound elsewhere.
The generator is counter-based: the same case gives the same data on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .case import BLOCKS, Case
from .formats import ACCUMULATOR, FORMATS, dtype_of
from .windows import reads

Array = npt.NDArray[Any]
Data = dict[str, Array]
Recipe = Callable[[Case, np.random.Generator], Data]

RECIPES: dict[str, Recipe] = {}

#: Recipes whose products have signs that are independent of each other: statistics hold of their sums.
RANDOM_SIGN = frozenset({"real", "tiny", "wide", "spikes", "statistical", "half-zero-w"})


def of_random_sign(case: Case) -> bool:
    """Whether the products of each sum have independent signs; along a broadcast axis they are all the same."""
    return case.is_convolution and case.recipe in RANDOM_SIGN and case.layout != "broadcast"


def recipe(name: str) -> Callable[[Recipe], Recipe]:
    """Enter a function in the list of recipes."""

    def enter(function: Recipe) -> Recipe:
        RECIPES[name] = function
        return function

    return enter


def arrays(case: Case) -> Data:
    """The case's arrays by name (x, w, dy, bias as the operation needs), contiguous, in the case's dtype.

    >>> sorted(arrays(Case("conv2d", (1, 3, 4, 1), (2, 2), filters=2)))
    ['w', 'x']
    """
    return {name: array.copy() for name, array in given(case).items()}


@lru_cache(maxsize=8)
def given(case: Case) -> Data:
    """As `arrays`, but not writable: drawn once for all that are asked the same case."""
    rng = np.random.Generator(np.random.Philox(key=case.seed))
    data = RECIPES[case.recipe](case, rng)
    dtype = dtype_of(case.dtype)
    with np.errstate(over="ignore", under="ignore"):
        made = {name: np.ascontiguousarray(data[name].astype(dtype)) for name in names(case)}
    if case.layout == "broadcast":  # a stride of zero needs an axis along which nothing changes
        made = {name: repeated(a, alike_along(case, name)) for name, a in made.items()}
    for array in made.values():
        array.flags.writeable = False
    return made


def alike_along(case: Case, name: str) -> tuple[int, ...]:
    """Along which axes an array that is laid out as `broadcast` holds the same values: the channels, or the batch (a
    filter's rows), or the rows, and all of dy, which is what the gradient of a plain sum looks like: by turns.
    """
    turn = case.seed % 4
    if name == "bias" or turn == 0:
        return (-1,)
    return ((), (0,), (1,), (0, 1, 2, 3) if name == "dy" else (-1,))[turn]


def repeated(array: Array, axes: tuple[int, ...]) -> Array:
    """The first elements along these axes, repeated all along them."""
    first = array[tuple(slice(0, 1) if {n, n - array.ndim} & {*axes} else slice(None) for n in range(array.ndim))]
    return np.ascontiguousarray(np.broadcast_to(first, array.shape))


def names(case: Case) -> tuple[str, ...]:
    """Which arrays the operation takes, in order; a bias comes last."""
    gradient = ("dy",) if case.op.endswith("_vjp") else ()
    if case.op in BLOCKS:
        return ("x", "w", "bias", *gradient)
    if case.is_convolution:
        return ("x", "w", *gradient, *(("bias",) if case.bias else ()))
    return ("x", *gradient)


def shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """The shape of each array that a recipe may have to make."""
    if case.is_convolution:
        return {"x": case.x, "w": case.w, "dy": case.y, "bias": (case.filters,)}
    return {"x": case.x, "dy": case.y}


def fan_in(case: Case) -> int:
    """The most products that one output, dx or dw element can sum."""
    if not case.is_convolution:
        return max(case.kernel[0] * case.kernel[1], 1)
    forward = case.taps + 1
    if case.op == "conv2d":
        return forward
    input_gradient = case.kernel[0] * case.kernel[1] * case.filters // case.groups
    return int(max(forward, input_gradient, case.y[0] * case.y[1] * case.y[2]))


def either(rng: np.random.Generator, one: float, other: float, shape: tuple[int, ...]) -> Array:
    """One of the two for each element: what `rng.choice` draws, in half the time on the few elements of a case."""
    return np.array((one, other))[rng.integers(0, 2, shape)]


def nonzero(rng: np.random.Generator, amplitude: int, shape: tuple[int, ...]) -> Array:
    """Integers of -amplitude..amplitude without zero, so that every tap counts."""
    values: Array = rng.integers(1, amplitude + 1, shape) * either(rng, -1.0, 1.0, shape)
    return values


def thin(rng: np.random.Generator, values: Array, keep: float) -> Array:
    """`values` with all but about the fraction `keep` set to zero."""
    return values if keep >= 1 else values * (rng.random(values.shape) < keep)


@recipe("integers")
def integers(case: Case, rng: np.random.Generator) -> Data:
    """Exact. Small integers; sums stay within the output's own precision: geometry faults and lost taps, anywhere."""
    budget = 2 ** FORMATS[case.dtype].precision
    most = fan_in(case)
    amplitude = int(min(max(math.sqrt(budget / most), 1), 9))
    keep = 0.5 * budget / most if most > budget else 1.0
    data = {name: nonzero(rng, amplitude, shape) for name, shape in shapes(case).items()}
    return {name: thin(rng, a, keep) if name != "x" else a for name, a in data.items()}


@recipe("powers")
def powers(case: Case, rng: np.random.Generator) -> Data:
    """Exact. x is one everywhere, each tap of a filter another power of two: the answer's bits list the taps read."""
    data = integers(case, rng)
    limit = FORMATS[case.dtype].precision
    w = np.zeros((case.taps, case.filters))
    for column in w.T:
        chosen = rng.permutation(case.taps)[:limit]
        column[chosen] = 2.0 ** rng.permutation(len(chosen))
    return data | {"x": np.ones(case.x), "w": w.reshape(case.w), "dy": np.sign(data["dy"])}


def _with_signs(case: Case, rng: np.random.Generator) -> Data:
    """Integers, with a dy of signs only."""
    data = integers(case, rng)
    return data | {"dy": np.sign(data["dy"])}


def most_distinct(case: Case) -> int:
    """How many distinct integers an impulse may meet, so that gradients too stay within the output's precision."""
    budget = int(2 ** min(FORMATS[case.dtype].precision, 16) - 1)
    return budget if case.op == "conv2d" else max(budget // fan_in(case), 1)


def met(case: Case, axis: int) -> tuple[Array, Array]:
    """The rows (or columns) of the image that some window reads, and the taps that read some: an impulse elsewhere
    would tell nothing. All of them, where there is nothing to read.
    """
    n, read = case.x[1 + axis], reads(case, axis)
    inside = (read >= 0) & (read < n)
    if not inside.any():
        return np.arange(n), np.arange(case.kernel[axis])
    return np.unique(read[inside]), np.flatnonzero(inside.any(axis=0))


@recipe("impulse-x")
def impulse_x(case: Case, rng: np.random.Generator) -> Data:
    """Exact. One pixel of each image is one: the answer is the kernel, read back flipped."""
    data = _with_signs(case, rng)
    x, w = np.zeros(case.x), np.arange(np.prod(case.w, dtype=int)).reshape(case.w)
    if x.size:
        rows, columns = (met(case, axis)[0] for axis in (0, 1))
        for image in x:
            image[rng.choice(rows), rng.choice(columns), rng.integers(0, case.x[3])] = 1
    return data | {"x": x, "w": w % most_distinct(case) + 1.0}


@recipe("impulse-w")
def impulse_w(case: Case, rng: np.random.Generator) -> Data:
    """Exact. One tap of each filter is one: the answer is the image, shifted."""
    data = _with_signs(case, rng)
    x, w = np.arange(np.prod(case.x, dtype=int)).reshape(case.x), np.zeros((case.taps, case.filters))
    if case.taps:
        (rows, columns), channels = (met(case, axis)[1] for axis in (0, 1)), case.w[2]
        taps = rng.choice(rows, case.filters) * case.kernel[1] + rng.choice(columns, case.filters)
        w[taps * channels + rng.integers(0, channels, case.filters), np.arange(case.filters)] = 1
    return data | {"x": x % most_distinct(case) + 1.0, "w": w.reshape(case.w)}


#: Bits of the odd integers of recipe `odd`: more than TF32 (11) or bfloat16 (8) keep, and one less than would overflow
#: the accumulator for a thousand taps. For the narrow types the whole significand.
ODD_BITS = {"float64": 30, "float32": 14, "float16": 11, "bfloat16": 8}


#: Bits of recipe `odd-wide`: sums of 64 terms stay exact (256 in float64).
ODD_WIDE_BITS = {"float64": 45, "float32": 18, "float16": 11, "bfloat16": 8}


def odd_integers(rng: np.random.Generator, bits: int, shape: tuple[int, ...]) -> Array:
    """Odd integers of exactly `bits` bits, with random signs."""
    values: Array = (rng.integers(2 ** (bits - 2), 2 ** (bits - 1), shape) * 2 + 1) * either(rng, -1.0, 1.0, shape)
    return values


def _odd(case: Case, rng: np.random.Generator, wide: str, bits: int) -> Data:
    room = 2.0 ** (FORMATS[ACCUMULATOR[case.dtype]].precision - bits)
    keep = room / fan_in(case) / 2 if fan_in(case) > room else 1.0
    data: Data = {name: either(rng, -1.0, 1.0, shape) for name, shape in shapes(case).items()}
    data = {name: thin(rng, a, keep) for name, a in data.items()}
    scale = 2.0**-8 if case.dtype == "float16" else 1.0  # so that no sum leaves float16's range
    return data | {wide: odd_integers(rng, bits, data[wide].shape) * scale}


@recipe("odd")
def odd(case: Case, rng: np.random.Generator) -> Data:
    """Exact. Wide odd integers in x, signs in w: inputs rounded to TF32 or bfloat16, and narrow accumulators."""
    return _odd(case, rng, "x", ODD_BITS[case.dtype])


@recipe("odd-w")
def odd_w(case: Case, rng: np.random.Generator) -> Data:
    """Exact. The same with the wide integers in the filter."""
    return _odd(case, rng, "w", ODD_BITS[case.dtype])


@recipe("odd-dy")
def odd_dy(case: Case, rng: np.random.Generator) -> Data:
    """Exact. The same with the wide integers in the output gradient."""
    return _odd(case, rng, "dy", ODD_BITS[case.dtype])


def _odd_wide(wide: str) -> Recipe:
    def make(case: Case, rng: np.random.Generator) -> Data:
        return _odd(case, rng, wide, ODD_WIDE_BITS[case.dtype])

    make.__doc__ = f"Exact. Odd integers of 18 bits in {wide}, few terms: inputs split in two bfloat16 terms (16 bits)."
    return make


for _target, _name in (("x", "odd-wide"), ("w", "odd-wide-w"), ("dy", "odd-wide-dy")):
    RECIPES[_name] = _odd_wide(_target)


@recipe("cancel")
def cancel(case: Case, rng: np.random.Generator) -> Data:
    """Exact. A large third of the channels, a small third, the large third back: narrow sums lose the small."""
    data = integers(case, rng)
    third = case.w[2] // 3
    room = FORMATS["float32"].precision - 15
    if case.dtype == "float16" and fan_in(case) <= 2**room:  # partial sums beyond float16's range, a total within it
        big = 2.0**15
    else:
        big = 2.0 ** min(FORMATS[case.dtype].precision, FORMATS[ACCUMULATOR[case.dtype]].precision - 12)
    x, w = np.sign(data["x"]), np.sign(data["w"])
    for group in range(case.groups):
        first = group * case.w[2]
        x[..., first : first + third] *= big
        x[..., first + 2 * third : first + 3 * third] = x[..., first : first + third]
    w[:, :, 2 * third : 3 * third] = -w[:, :, :third]
    return data | {"x": x, "w": w, "dy": np.sign(data["dy"])}


def signed(rng: np.random.Generator, shape: tuple[int, ...], low: float, high: float) -> Array:
    """Magnitudes of low..high with random signs."""
    values: Array = rng.uniform(low, high, shape) * either(rng, -1.0, 1.0, shape)
    return values


@recipe("real")
def real(case: Case, rng: np.random.Generator) -> Data:
    """Magnitudes of 0.5..1 with random signs: judged by the bound."""
    return {name: signed(rng, shape, 0.5, 1.0) for name, shape in shapes(case).items()}


@recipe("positive")
def positive(case: Case, rng: np.random.Generator) -> Data:
    """Uniform in (0, 1): the bound with nothing cancelling."""
    return {name: rng.uniform(0.0, 1.0, shape) for name, shape in shapes(case).items()}


@recipe("wide")
def wide(case: Case, rng: np.random.Generator) -> Data:
    """Magnitudes over many powers of two: the bound where small and large terms meet."""
    span = 3 if case.dtype == "float16" else 12
    scaled = {name: rng.uniform(-span, span, shape) for name, shape in shapes(case).items()}
    return {name: np.exp2(e) * either(rng, -1.0, 1.0, e.shape) for name, e in scaled.items()}


@recipe("tiny")
def tiny(case: Case, rng: np.random.Generator) -> Data:
    """Small but normal magnitudes: nothing may be lost by a threshold."""
    scale = 2.0**-3 if case.dtype == "float16" else 2.0**-40
    return {name: values * scale for name, values in real(case, rng).items()}


@recipe("spikes")
def spikes(case: Case, rng: np.random.Generator) -> Data:
    """One large tap a filter over many zeros in x: what adds taps before it multiplies cannot cancel it again."""
    data = real(case, rng)
    w = data["w"].reshape(case.taps, case.filters)
    if case.taps:
        w[rng.integers(0, case.taps, case.filters), np.arange(case.filters)] *= 2.0**12
    return {name: thin(rng, a, 0.6) if name in ("x", "dy") else a for name, a in data.items()}


@recipe("flat-w")
def flat_w(case: Case, rng: np.random.Generator) -> Data:
    """Filters of ones over magnitudes far apart: a running sum would carry the large ones' errors along."""
    return wide(case, rng) | {"w": np.ones(case.w)}


@recipe("subnormal")
def subnormal(case: Case, rng: np.random.Generator) -> Data:
    """Exact. Subnormal x, signs elsewhere: the sums are kept, or flushed to zero."""
    data: Data = {name: either(rng, -1.0, 1.0, shape) for name, shape in shapes(case).items()}
    return data | {"x": nonzero(rng, 7, case.x) * FORMATS[case.dtype].least_subnormal}


def _with_one(case: Case, rng: np.random.Generator, name: str, value: float) -> Data:
    data = dict(RECIPES["integers" if case.is_convolution else "distinct"](case, rng))
    target = np.array(data[name])
    if target.size:
        target.flat[int(rng.integers(0, target.size))] = value
    return data | {name: target}


def _special(target: str, value: float) -> Recipe:
    def make(case: Case, rng: np.random.Generator) -> Data:
        return _with_one(case, rng, target, value)

    make.__doc__ = f"Exact elsewhere. One {value} in {target}: its footprint is exactly its receptive field."
    return make


for _target in ("x", "w", "dy"):
    for _name, _value in (("nan", np.nan), ("inf", np.inf), ("minus-inf", -np.inf)):
        RECIPES[f"{_name}-in-{_target}"] = _special(_target, _value)


@recipe("inf-in-x-zero-w")
def inf_times_zero_weight(case: Case, rng: np.random.Generator) -> Data:
    """Infinite pixels under weights of zero: NaN wherever one is read."""
    data = _with_one(case, rng, "x", np.inf)
    return data if _lone(case, "w") else data | {"w": np.zeros(case.w)}


@recipe("inf-in-w-zero-x")
def infinite_weight_times_zero(case: Case, rng: np.random.Generator) -> Data:
    """An infinite weight over pixels of zero: NaN wherever it is used."""
    data = _with_one(case, rng, "w", np.inf)
    return data if _lone(case, "x") else data | {"x": np.zeros(case.x)}


def _lone(case: Case, name: str) -> bool:
    """Whether an array is one number an image and group, as a factor of the matrix product that a convolution is.

    BLAS scales by such a factor, and where it is zero returns without a look at the other one.
    """
    outputs, filters = case.y[1] * case.y[2], case.filters // case.groups
    return {"x": outputs * case.taps, "w": case.taps * filters, "dy": outputs * filters}[name] == 1


@recipe("nan-in-w-thin-dy")
def nan_weight_under_zeros(case: Case, rng: np.random.Generator) -> Data:
    """A NaN weight and many zeros in dy: zero times NaN is NaN, and is not to be skipped."""
    data = _with_one(case, rng, "w", np.nan)
    return data if _lone(case, "dy") else data | {"dy": thin(rng, data["dy"], 0.5)}


@recipe("nan-in-x-thin-dy")
def nan_pixel_under_zeros(case: Case, rng: np.random.Generator) -> Data:
    """The same with a NaN pixel."""
    data = _with_one(case, rng, "x", np.nan)
    return data if _lone(case, "dy") else data | {"dy": thin(rng, data["dy"], 0.5)}


@recipe("minus-zero")
def minus_zero(case: Case, rng: np.random.Generator) -> Data:
    """Zeros of both signs in x: the sum is a zero of some sign."""
    data = integers(case, rng)
    return data | {"x": either(rng, -0.0, 0.0, case.x)}


from . import pool_recipes as _pool_recipes  # noqa: E402, F401 - entered beside these
from . import range_recipes as _range_recipes  # noqa: E402, F401
from . import special_recipes as _special_recipes  # noqa: E402, F401
from . import statistical_recipes as _statistical_recipes  # noqa: E402, F401
