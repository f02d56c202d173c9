"""Recorded calls: what a mutant was asked, and everything that can be seen of its answer.

A call's `exact` says that the right answer is exact, so that any difference is a fault; `statistical`, that a single
call stays within the bound, and the fault shows in many.

A witness is one call or a list of calls on the same object. A call is a small dict; its arrays are drawn from its
seed. Its `threads` is how many the process may use meanwhile: no part of what is asked. `observe` asks, `wrong`
compares with the right backend and says what is wrong, or None.
"""

import contextlib
import itertools
import os
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

ULP = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
OTHERS = {
    "conv2d": ("strides", "padding", "dilations", "groups"),
    "max_pool": ("ksize", "strides", "padding", "dilations"),
    "block": ("strides", "padding", "dilations", "groups", "pool"),
}


@dataclass(frozen=True)
class Mutant:
    """What is written beside a wrong backend: its class of fault, the fault, and a call that shows it."""

    kind: str
    what: str
    witness: list[dict[str, Any]]
    right: type | None = None  # the backend to compare with, where it is not Correct
    fatal: str | None = None  # "crash", "hang" or "exit": to be run in a process of its own


def mutant(kind, what, *witness, right=None, fatal=None):
    """Declare a wrong backend."""

    def declare(cls):
        cls.zoo = Mutant(kind, what, list(witness), right, fatal)
        cls.name = cls.__name__
        return cls

    return declare


def call(op, shapes, /, **options):
    defaults = {
        "strides": (1, 1),
        "padding": "VALID",
        "dilations": (1, 1),
        "dtype": "float32",
        "data": "normal",
        "seed": 0,
    }
    return {"op": op, "shapes": shapes, **defaults, **options}


def conv(x, w, **options):
    return call("conv2d", (x, w), groups=options.pop("groups", 1), **options)


def conv_vjp(x, w, dy, **options):
    return call("conv2d_vjp", (x, w, dy), groups=options.pop("groups", 1), **options)


def pool(x, ksize, **options):
    return call("max_pool", (x,), ksize=ksize, **options)


def pool_vjp(x, dy, ksize, **options):
    return call("max_pool_vjp", (x, dy), ksize=ksize, **options)


def argmax(x, ksize, **options):
    return call("max_pool_with_argmax", (x,), ksize=ksize, **options)


DATA = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "lattice": lambda rng, shape: rng.integers(-3, 4, shape),
    "odd": lambda rng, shape: 2 * rng.integers(-(2**12), 2**12, shape) + 1,
    "positive": lambda rng, shape: rng.uniform(0.5, 1.5, shape),
    "negative": lambda rng, shape: -rng.uniform(0.5, 1.5, shape),
    "ties": lambda rng, shape: rng.integers(0, 2, shape),
    "ones": lambda rng, shape: np.ones(shape),
    "constant": lambda rng, shape: np.full(shape, 3.0),
    "huge": lambda rng, shape: rng.choice([-1, 1], shape) * (2 * rng.integers(2**22, 2**23, shape) + 1),
    "thousand": lambda rng, shape: rng.integers(900, 1100, shape),
}


def dtype_of(name):
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def strided(array):
    """Every second element of a larger buffer of something else."""
    view = np.full([2 * n for n in array.shape], 77, array.dtype)[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def offset(array):
    buffer = np.full(array.size + 5, 77, array.dtype)
    buffer[5:] = array.ravel()
    return buffer[5:].reshape(array.shape)


def cut(array, axes):
    """The inside of an array that is larger along these axes, with something else around it."""
    around = np.full([n + 2 * (i in axes) for i, n in enumerate(array.shape)], 77, array.dtype)
    view = around[tuple(slice(1, -1) if i in axes else slice(None) for i in range(array.ndim))]
    view[...] = array
    return view


def unaligned(array):
    view = np.ndarray(array.shape, array.dtype, bytearray(array.nbytes + 1), 1)
    view[...] = array
    return view


def readonly(array):
    array.setflags(write=False)
    return array


# The same values in another memory layout.
LAYOUTS = {
    "C": lambda array: array,
    "F": np.asfortranarray,
    "nchw": lambda array: np.ascontiguousarray(array.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1),
    "negative": lambda array: array[:, ::-1, ::-1].copy()[:, ::-1, ::-1],
    "broadcast": lambda array: np.broadcast_to(array[:, :1], array.shape),
    "one": lambda array: np.broadcast_to(array[:1, :1, :1, :1], array.shape),
    "batch": lambda array: np.broadcast_to(array[:1], array.shape),
    "strided": strided,
    "crop": lambda array: cut(array, (0, 1, 2)),
    "channels": lambda array: cut(array, (3,)),
    "unaligned": unaligned,
    "offset": offset,
    "readonly": readonly,
}


def arrays_of(asked):
    """The arrays of a call. Per-array settings (dtype, data, layout) are a string, or a tuple of them."""
    arrays = []
    for i, shape in enumerate(asked["shapes"]):
        dtype, data, layout = (
            v[i] if isinstance(v, tuple) else v for v in (asked["dtype"], asked["data"], asked.get("layout", "C"))
        )
        values = DATA[data](np.random.default_rng([asked["seed"], i]), shape)
        array = np.asarray(values * asked.get("scale", 1)).astype(dtype_of(dtype))
        for which, index, value in asked.get("put", ()):
            if which == i:
                array[index] = value
        arrays.append(LAYOUTS[layout](array))
    return arrays


def options_of(asked):
    family = next(name for name in OTHERS if asked["op"].startswith(name))
    return {name: asked[name] for name in OTHERS[family]}


def bias_of(asked):
    n = asked["shapes"][1][3]
    return (np.arange(n) - n // 2 + 0.5).astype(dtype_of(asked["dtype"]))


@contextlib.contextmanager
def allowed_threads(count):
    """While it lasts, the environment allows so many threads; None leaves it alone."""
    before = os.environ.get("OMP_NUM_THREADS")
    if count is None:
        yield
        return
    os.environ["OMP_NUM_THREADS"] = str(count)
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
        os.environ |= {} if before is None else {"OMP_NUM_THREADS": before}


def ask(backend, asked, arrays):
    options = options_of(asked)
    if asked.get("bias"):
        options["bias"] = bias_of(asked)
    with np.errstate(all="ignore"), allowed_threads(asked.get("threads")):
        return getattr(backend, asked["op"])(*arrays, **options)


def bits(array):
    return (str(array.dtype), array.shape, array.tobytes()) if isinstance(array, np.ndarray) else type(array).__name__


def observe(backend, witness):
    """For each call: its outcome, its results, and whether it changed or handed back an input."""
    seen = []
    for asked in witness:
        arrays = arrays_of(asked)
        before = [bits(a) for a in arrays]
        try:
            result = ask(backend, asked, arrays)
            results, outcome = (result if isinstance(result, tuple) else (result,)), "ok"
        except Exception as error:
            results, outcome = (), "unsupported" if type(error).__name__ == "Unsupported" else "error"
        shared = any(
            isinstance(r, np.ndarray) and np.shares_memory(r, a) for r, a in itertools.product(results, arrays)
        )
        changed = [bits(a) for a in arrays] != before
        seen.append(
            {"outcome": outcome, "results": results, "then": [bits(r) for r in results]}
            | {"aliases": shared, "mutated": changed}
        )
    return seen


@np.errstate(all="ignore")
def allowed(right, asked, index):
    """How far a right backend may be, an element: twice the standard bound, through the right backend in float64."""
    if asked.get("exact") or asked.get("statistical") or asked["op"] in ("max_pool", "max_pool_with_argmax"):
        return 0.0
    wide = [a.astype(np.float64) for a in arrays_of(asked)]
    linear = slice(asked["op"] == "max_pool_vjp", None)  # the choice of the maximum is not to be changed
    wide[linear] = map(abs, wide[linear])
    scale = ask(right, asked | {"dtype": "float64"}, wide)
    scale = scale[index] if isinstance(scale, tuple) else scale
    sums = ULP["float64" if asked["dtype"] == "float64" else "float32"]
    narrow = ULP[asked["dtype"]] * 2 * scale * (asked["dtype"] in ("float16", "bfloat16"))
    return 2 * terms(asked)[index] * sums * scale + narrow + 1e-45


def terms(asked):
    """How many terms the sums of a call have, for each of its results."""
    if asked["op"] == "max_pool_vjp":
        return (int(np.prod(asked["ksize"])),)
    high, wide, channels, filters = asked["shapes"][1]
    if asked["op"] == "conv2d":
        return (high * wide * channels + 1,)
    return high * wide * filters, int(np.prod(asked["shapes"][2][:3]))


def too_far(got, expected, bound):
    a, b = got.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(all="ignore"):
        return bool(np.any(~same & ~(finite & (abs(a - b) <= bound))))


def compare(got, expected, bound):
    if not isinstance(got, np.ndarray):
        return f"returns a {type(got).__name__}"
    if got.shape != expected.shape:
        return f"shape {got.shape}, not {expected.shape}"
    if got.dtype != expected.dtype:
        return f"dtype {got.dtype}, not {expected.dtype}"
    if got.dtype.kind in "iu":
        return None if np.array_equal(got, expected) else "other integers"
    return "other values" if too_far(got, expected, bound) else None


def wrong_call(got, want, right, asked, slack):
    if got["outcome"] != want["outcome"]:
        return f"{got['outcome']} instead of {want['outcome']}"
    if got["mutated"] or got["aliases"]:
        return "changes an input" if got["mutated"] else "hands an input back"
    if len(got["results"]) != len(want["results"]):
        return f"{len(got['results'])} results"
    for index, results in enumerate(zip(got["results"], want["results"], strict=True)):
        if found := compare(*results, slack * allowed(right, asked, index)):
            return found
    return None


def wrong(backend, right, witness, slack=1):
    """What is wrong with a backend on a witness: None where nothing is. `slack` multiplies the bound."""
    seen, expected = observe(backend, witness), observe(right, witness)
    for asked, got, want in zip(witness, seen, expected, strict=True):
        if found := wrong_call(got, want, right, asked, slack):
            return found
    if any([bits(r) for r in got["results"]] != got["then"] for got in seen):
        return "a result changed after it was handed out"
    if any(np.shares_memory(a, b) or a is b for one, two in itertools.combinations(seen, 2)
           for a, b in itertools.product(one["results"], two["results"])):  # fmt: skip
        return "a result was handed out twice"
    calls = [{key: value for key, value in asked.items() if key != "threads"} for asked in witness]
    pairs = itertools.combinations(zip(calls, seen, strict=True), 2)
    if any(one == two and got["then"] != again["then"] for (one, got), (two, again) in pairs):
        return "the same call gives other bits"
    return None
