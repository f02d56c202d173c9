"""Numbers beyond those that draws meet: past a byte, past unrolled loops and fixed tables, and dividers with a rest.

Single calls, small in all but one number. May import this folder only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .case import Case, Padding, Pair

#: Divided by these, some multiple of theirs comes out below its number in float32: `n * (1 / n)` is less than 1.
RECIPROCALS = (41, 47, 55)
#: Strides, dilations and pads: past four bits, a cache line of floats, and a byte.
FAR = (16, 17, 64, 130, 257)
#: Strides and dilations with a common factor, and without one.
RATES: tuple[Pair, ...] = ((2, 4), (4, 2), (4, 6), (6, 4), (6, 9), (2, 3), (3, 2), (3, 6))
#: At quick each dtype but float32 takes a part of these lists, another one each.
PARTS = {"float32": (0, 1), "float64": (0, 3), "float16": (1, 3), "bfloat16": (2, 3)}


def sizes(dtype: str, level: str) -> Iterator[Case]:
    """Axes of far sizes, one at a time."""
    return _part(_sizes(dtype), dtype, level)


def attributes(dtype: str, level: str) -> Iterator[Case]:
    """Far strides, dilations and pads, one at a time, and long kernels at a stride."""
    return _part(_attributes(dtype), dtype, level)


def _part(cases: Iterator[Case], dtype: str, level: str) -> Iterator[Case]:
    part, of = PARTS[dtype] if level == "quick" else (0, 1)
    return (case.but(seed=seed) for seed, case in enumerate(cases) if seed % of == part)


def _four(x: tuple[int, int, int, int], kernel: Pair, dtype: str, **more: Any) -> Iterator[Case]:
    """The four operations on one image."""
    options = {"padding": "SAME", "dtype": dtype} | more
    conv = Case("conv2d", x, kernel, filters=2, **options)
    pool = Case("max_pool", x, kernel, recipe="distinct", **options)
    yield from (conv, conv.but(op="conv2d_vjp"), pool, pool.but(op="max_pool_vjp"))


def _turned(case: Case) -> Case:
    """The same with rows for columns."""
    n, h, w, c = case.x
    padding: Padding = case.padding if isinstance(case.padding, str) else case.padding[::-1]
    pairs = {name: getattr(case, name)[::-1] for name in ("kernel", "strides", "dilations")}
    return case.but(x=(n, w, h, c), padding=padding, **pairs)


def _sizes(dtype: str) -> Iterator[Case]:
    one = Case("conv2d", (1, 2, 3, 2), (1, 2), filters=2, dtype=dtype)
    for n in RECIPROCALS:
        for number, case in enumerate(_four((1, 3, n, 1), (2, 2), dtype)):
            yield _turned(case) if number % 2 else case
        yield one.but(kernel=(1, 1), filters=2 * n, groups=2)
        yield one.but(op="conv2d_vjp", x=(1, 2, 3, 2 * n), filters=4, groups=2)
    for n in (33, 65, 257):
        yield one.but(x=(1, 2, 3, n), filters=n, groups=n)
        yield one.but(op="conv2d_vjp", x=(1, 2, 3, n), filters=n, groups=n)
    for n in (65, 257):
        yield from _four((n, 3, 2, 1), (2, 1), dtype, strides=(2, 1))
    for case in _four((1, 2, 257, 2), (1, 2), dtype):
        yield case
        yield _turned(case)
    for case in _four((1, 2, 260, 1), (2, 4), dtype, strides=(1, 2)):  # several tiles of outputs behind a left padding
        yield case
        yield _turned(case)
    for x, kernel in (((1, 26, 28, 3), (3, 3)), ((1, 40, 42, 1), (5, 5)), ((1, 8, 9, 64), (1, 1))):  # worth a transform
        yield one.but(x=x, kernel=kernel, filters=3, padding="SAME")
        yield one.but(op="conv2d_vjp", x=x, kernel=kernel, filters=3, padding="SAME")
    yield Case("max_pool_vjp", (1, 2, 32800, 1), (1, 2), strides=(1, 2), dtype=dtype, recipe="distinct")


def _attributes(dtype: str) -> Iterator[Case]:
    for number, far in enumerate(FAR):
        for case in (
            *_four((1, 2, 2 * far + 1, 1), (1, 2), dtype, strides=(1, far), padding="VALID"),
            *_four((1, 2, far + 3, 1), (1, 2), dtype, dilations=(1, far)),
            *_four((1, 2, 3, 1), (1, 2), dtype, padding=((0, 0), (far, 1))),
            *_four((1, 2, 3, 1), (2, 2), dtype, padding=((1, 0), (0, far))),
        ):
            yield _turned(case) if number % 2 else case
    for number, (stride, rate) in enumerate(RATES):
        for case in _four(
            (1, 2, 3 * rate + 2 * stride + 2, 1), (1, 4), dtype, strides=(1, stride), dilations=(1, rate)
        ):
            yield _turned(case) if number % 2 else case
    for number, (length, stride) in enumerate(((17, 2), (20, 3), (33, 2), (17, 1))):
        for case in _four((1, 3, length + 5, 1), (2, length), dtype, strides=(1, stride)):
            yield _turned(case) if number % 2 else case
            yield case.but(dilations=(1, 2))
