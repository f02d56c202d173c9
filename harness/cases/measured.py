"""Cases to be measured and not only judged: many elements over short and long sums, and images large enough for tiles.

May import this folder only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .case import Case

#: (x, kernel, filters, more) with 100 outputs or more each, VALID where it does not say: 9 to 4608 products in one sum.
FORWARD: tuple[tuple[Any, ...], ...] = (
    ((1, 12, 15, 1), (3, 3), 4, {"padding": "SAME"}),
    ((1, 8, 9, 16), (3, 3), 8, {}),
    ((1, 6, 7, 512), (3, 3), 6, {}),
    ((1, 10, 11, 144), (1, 1), 4, {}),
    ((1, 9, 11, 3), (3, 3), 3, {}),
    ((1, 12, 13, 64), (3, 3), 16, {"strides": (2, 2)}),
    ((1, 10, 9, 64), (5, 5), 4, {}),
    ((2, 11, 12, 8), (3, 3), 8, {"groups": 8}),
    ((1, 9, 26, 7), (2, 5), 5, {"dilations": (2, 1)}),
    ((2, 5, 6, 1600), (1, 1), 8, {}),
)
#: The same for the gradients, SAME: dx sums over filters and taps, dw over pixels.
GRADIENTS: tuple[tuple[Any, ...], ...] = (
    ((2, 9, 8, 3), (3, 3), 4, {}),
    ((1, 6, 6, 3), (3, 3), 512, {}),
    ((2, 33, 35, 1), (3, 3), 12, {}),
    ((1, 3, 3, 4), (3, 3), 3, {}),
    ((2, 47, 49, 1), (3, 3), 12, {}),
    ((1, 6, 7, 8), (3, 3), 16, {}),
    ((1, 5, 7, 3), (5, 5), 64, {}),
    ((1, 11, 13, 160), (1, 1), 160, {}),
    ((2, 14, 13, 6), (3, 3), 12, {"strides": (2, 2)}),
    ((2, 11, 12, 8), (3, 3), 8, {"groups": 8}),
)
#: How many of them a level asks, and with how many seeds.
SHARE = {"quick": (4, 1), "standard": (10, 1), "deep": (10, 8)}


def measured(op: str, dtype: str, level: str, *, narrow: bool) -> Iterator[Case]:
    """Random-sign data over short and long sums; where the output is `narrow`er than sums, cancelling sums as well."""
    most, seeds = SHARE[level]
    shapes, padding = (FORWARD, "VALID") if op == "conv2d" else (GRADIENTS, "SAME")
    for seed in range(seeds):
        for recipe in ("statistical", "near-zero") if narrow else ("statistical",):
            few = most if recipe == "statistical" else (most + 1) // 2
            for x, kernel, filters, more in shapes[:few]:
                options = {"padding": padding, "dtype": dtype, "recipe": recipe, "seed": seed} | more
                yield Case(op, x, kernel, filters=filters, **options)


#: (x, kernel, filters): images of several tiles each way, few channels and many: libraries choose a transform by both.
TILED: tuple[tuple[Any, ...], ...] = (
    ((1, 24, 26, 16), (3, 3), 16),
    ((1, 25, 27, 3), (5, 5), 8),
    ((1, 26, 28, 64), (3, 3), 32),
    ((1, 24, 27, 1), (3, 3), 4),
    ((2, 28, 30, 32), (3, 3), 64),
    ((1, 32, 34, 4), (7, 7), 8),
    ((1, 58, 56, 8), (3, 3), 8),
    ((1, 26, 24, 128), (3, 3), 16),
    ((4, 24, 26, 24), (5, 5), 24),
)
#: What else libraries choose one by: large kernels on large images, and matrix products of many rows and columns.
ALSO: tuple[tuple[Any, ...], ...] = (((1, 42, 44, 1), (9, 9), 2), ((1, 8, 9, 64), (1, 1), 64))


def tiled(dtype: str, level: str) -> Iterator[Case]:
    """Stride 1 and undilated, as transforms are for; half the taps of a filter are zero."""
    most = {"quick": 2, "standard": 5}.get(level, len(TILED)) + (dtype == "float32")
    for seed, (x, kernel, filters) in enumerate(TILED[:most] + ALSO):
        yield Case("conv2d", x, kernel, filters=filters, dtype=dtype, recipe="half-zero-w", seed=seed)
