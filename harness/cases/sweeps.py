"""Deterministic lists of cases: one size at a time around the widths of vectors and tiles, and long sums.

May import this folder only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from .case import CONVOLUTIONS, Case, Pair
from .strategies import TAILS, VIEWS

SIZES = tuple(sorted({*range(1, 10), *TAILS, 127, 128, 129}))
#: What level quick asks: sizes, and batches and kernels; first of every other dtype, then of float32.
FEW = (((1, 9, 33), (5, 9)), ((1, 5, 8, 9, 16, 17, 33), (1, 5, 8, 9)))
BATCHES = tuple(range(1, 10))
KERNELS = tuple(range(1, 12))


def tails(dtype: str, level: str) -> Iterator[Case]:
    """One axis at a time through every size, the others small: convolution, pooling, and the gradients of both."""
    quick = level == "quick"
    few, fewer = FEW[dtype == "float32"]
    for seed, n in enumerate(few if quick else SIZES):
        for number, case in enumerate(_grown(n, dtype)):
            yield case.but(seed=seed * 100 + number)
    for seed, n in enumerate(fewer if quick else BATCHES):
        for number, case in enumerate(_batches(n, dtype)):
            yield case.but(seed=seed * 100 + number)
    for seed, n in enumerate(fewer if quick else KERNELS):
        for number, case in enumerate(_kernels(n, dtype)):
            yield case.but(seed=seed * 100 + number)


def _four(x: tuple[int, int, int, int], kernel: Pair, strides: Pair, dtype: str) -> Iterator[Case]:
    """The four operations on one image under SAME; strides are the pools', and the convolutions' turned round."""
    conv = Case("conv2d", x, kernel, filters=2, padding="SAME", dtype=dtype)
    yield conv
    yield conv.but(op="conv2d_vjp", strides=strides[::-1])
    pool = Case("max_pool", x, kernel, strides=strides, padding="SAME", dtype=dtype, recipe="distinct")
    yield pool
    yield pool.but(op="max_pool_vjp")


def _grown(n: int, dtype: str) -> Iterator[Case]:
    """Width, height, channels and filters of n, each alone."""
    yield from _four((1, 3, n, 3), (2, 3), (1, 2), dtype)
    yield from _four((1, n, 4, 3), (3, 2), (2, 1), dtype)
    forward, *others = _four((1, 3, 4, n), (2, 3), (1, 1), dtype)
    yield forward.but(recipe="odd")
    yield from others
    yield forward.but(x=(1, 3, 4, 3), filters=n, strides=(1, 2))
    yield forward.but(op="conv2d_vjp", x=(1, 3, 4, 3), filters=n)
    yield Case("max_pool_vjp", (2, 3, n, 2), (2, 3), strides=(1, 2), padding="SAME", dtype=dtype, recipe="ties")


def _batches(n: int, dtype: str) -> Iterator[Case]:
    """A batch of n, and as many filters to each of three groups."""
    yield from _four((n, 4, 3, 2), (2, 3), (1, 2), dtype)
    yield Case("conv2d", (1, n + 2, 11, 3), (2, 3), filters=3 * n, padding="SAME", dtype=dtype, groups=3)


def _kernels(n: int, dtype: str) -> Iterator[Case]:
    """A kernel of n on one axis or on both, over an image that holds it once and half."""
    yield from _four((1, 12, 5, 2), (n, 2), (3, 1), dtype)
    yield from _four((1, 5, 12, 2), (2, n), (1, 3), dtype)
    conv = Case("conv2d", (1, 12, 11, 2), (n, n), filters=2, padding="SAME", dtype=dtype, strides=(2, 1))
    yield conv
    yield conv.but(kernel=(n, 12 - n), strides=(1, 1))
    yield conv.but(op="conv2d_vjp", x=(1, 11, 12, 1))
    yield Case("max_pool", (1, 12, 11, 2), (n, n), strides=(2, 3), padding="SAME", dtype=dtype, recipe="distinct")


#: Every dtype but float32 takes a part of the grid, another one each.
PARTS = {"float32": (0, 1), "float64": (0, 3), "float16": (1, 3), "bfloat16": (2, 3)}


def grid(dtype: str, level: str) -> Iterator[Case]:
    """Kernels by strides by paddings by sizes, square ones and single pixels too; at quick every second of them."""
    kernels = ((1, 1), (2, 2), (3, 3), (1, 3), (4, 4), (3, 2), (5, 5))
    strides = ((1, 1), (2, 2), (3, 3), (2, 1), (1, 2))
    sizes = ((1, 1), (2, 2), (4, 4), (5, 3), (6, 7))
    part, of = PARTS[dtype]
    every = itertools.product(kernels, strides, ("SAME", "VALID"), sizes)
    for number, (kernel, stride, padding, size) in enumerate(every):
        fits = padding == "SAME" or all(k <= n for k, n in zip(kernel, size, strict=True))
        if number % of != part or not fits or (level == "quick" and number // of % 2):
            continue
        plain: dict[str, Any] = {"strides": stride, "padding": padding, "dtype": dtype, "seed": number}
        turn = (number + number // 10) % 2  # sizes and paddings alternate by themselves
        batch, channels = 1 + number // 2 % 2, 1 + number % 3
        op = "conv2d" if turn else "conv2d_vjp"
        yield Case(op, (batch, *size, channels), kernel, filters=2, **plain)
        op = "max_pool_vjp" if turn else "max_pool"
        yield Case(op, (batch, *size, channels), kernel, recipe="distinct", **plain)


def corners(dtype: str) -> Iterator[Case]:
    """Single calls that kernels treat by themselves, and that draws meet rarely."""
    base = Case("conv2d", (1, 5, 6, 1), (2, 2), filters=1, dtype=dtype)
    yield base.but(x=(4, 3, 3, 16))
    yield base.but(x=(1, 6, 7, 2), kernel=(3, 3), filters=2, groups=2, strides=(2, 1), padding="SAME")
    yield base.but(x=(1, 4, 9, 1), kernel=(1, 3), padding="SAME", dilations=(1, 4))
    yield base.but(kernel=(11, 11), padding="SAME")
    yield base.but(op="conv2d_vjp", x=(1, 5, 3, 1), kernel=(4, 1), padding="SAME")
    yield base.but(x=(1, 6, 12, 1), kernel=(1, 7), strides=(1, 5), recipe="impulse-w")
    yield base.but(x=(1, 8, 5, 1), strides=(3, 1), recipe="impulse-w")
    yield base.but(x=(1, 5, 5, 1), strides=(2, 2), padding="SAME")
    yield base.but(x=(1, 2, 3, 2), kernel=(1, 1), filters=8)
    yield base.but(x=(1, 6, 7, 1), kernel=(4, 4), recipe="impulse-x")
    yield base.but(op="conv2d_vjp", x=(1, 4, 5, 1), recipe="impulse-w")


def views(dtype: str) -> Iterator[Case]:
    """Each memory layout once for each operation, `broadcast` along each of its axes."""
    for number, layout in enumerate((*VIEWS, *["broadcast"] * 3)):
        for case in _four((2, 4, 5, 3), (3, 2), (1, 2), dtype):
            yield case.but(layout=layout, seed=number + VIEWS.index("broadcast") if layout == "broadcast" else number)


def beyond_tails(dtype: str, level: str) -> Iterator[Case]:
    """Sizes past the widest tiles, two axes at a time, and outputs by the ten thousand."""
    base = Case("conv2d", (1, 2, 3, 2), (2, 2), filters=2, padding="SAME", dtype=dtype)
    for n in (127, 128, 129, 130, 200, 257):
        yield base.but(x=(1, 2, n, 2))
        yield base.but(x=(1, n, 3, 1))
        yield Case("max_pool", (1, 2, n, 2), (1, 2), strides=(1, 2), padding="SAME", dtype=dtype, recipe="distinct")
        yield Case("conv2d_vjp", (1, 2, n, 1), (2, 2), filters=2, padding="SAME", dtype=dtype)
    for n in (10, 15, 16, 17, 24, 31, 32, 33, 64, 65):
        yield base.but(x=(n, 2, 3, 2))
        yield Case("max_pool", (n, 2, 3, 2), (2, 2), padding="SAME", dtype=dtype, recipe="distinct")
        yield Case("conv2d_vjp", (n, 2, 3, 1), (2, 2), filters=1, padding="SAME", dtype=dtype)
        yield Case("max_pool_vjp", (n, 2, 3, 1), (2, 2), padding="SAME", dtype=dtype, recipe="distinct")
    for cin, cout in ((65, 65), (65, 96), (96, 65), (128, 128), (129, 130), (33, 64), (64, 33), (17, 257), (257, 17)):
        yield base.but(x=(1, 1, 2, cin), kernel=(1, 1), filters=cout)
        if level != "quick" or cin * cout <= 65 * 65:
            yield base.but(x=(1, 3, 4, cin), kernel=(3, 3), filters=cout)
        yield Case("conv2d_vjp", (1, 1, 2, cin), (1, 1), filters=cout, dtype=dtype)
    yield base.but(x=(1, 101, 103, 1), filters=1)
    yield base.but(x=(2, 71, 75, 1), filters=2, strides=(1, 1))
    yield Case("max_pool", (1, 101, 103, 1), (2, 2), padding="SAME", dtype=dtype, recipe="distinct")
    yield Case("conv2d_vjp", (1, 101, 103, 1), (2, 2), filters=1, padding="SAME", dtype=dtype)
    for side in (12, 13, 15, 21):
        yield base.but(x=(1, side + 1, side + 2, 1), kernel=(side, side), filters=1)
        yield Case("max_pool", (1, side + 1, side + 2, 1), (side, side), padding="SAME", dtype=dtype, recipe="distinct")


#: (x, kernel, filters) whose sums have 27 to 4608 products.
LONG = {
    "quick": (((1, 3, 4, 3), (3, 3), 2), ((1, 3, 4, 64), (3, 3), 2), ((1, 3, 4, 512), (3, 3), 2)),
    "standard": (
        ((1, 3, 4, 3), (3, 3), 3),
        ((1, 4, 3, 16), (3, 3), 3),
        ((1, 5, 6, 32), (5, 5), 2),
        ((1, 3, 4, 64), (3, 3), 3),
        ((1, 4, 3, 256), (3, 3), 2),
        ((1, 3, 4, 512), (3, 3), 2),
        ((1, 1, 2, 1600), (1, 1), 2),
        ((1, 11, 12, 20), (11, 11), 1),
    ),
}


def large_sums(op: str, dtype: str, level: str, recipes: Sequence[str]) -> Iterator[Case]:
    """Cases with many products in one sum; for gradients with many pixels, so that dw has long sums too."""
    repeats = 4 if level == "deep" else 1
    for seed in range(repeats):
        for x, kernel, filters in LONG["quick" if level == "quick" else "standard"]:
            for recipe in recipes:
                case = Case(op, x, kernel, filters=filters, dtype=dtype, recipe=recipe, seed=seed)
                if op == "conv2d":
                    yield case
                    continue
                yield case.but(x=(2, *x[1:]), padding="SAME")
        if op in CONVOLUTIONS[1:]:
            for recipe in recipes:
                yield Case(op, (4, 20, 21, 2), (3, 3), filters=2, padding="SAME", dtype=dtype, recipe=recipe, seed=seed)
                yield Case(op, (1, 4, 5, 2), (3, 3), filters=160, padding="SAME", dtype=dtype, recipe=recipe, seed=seed)
