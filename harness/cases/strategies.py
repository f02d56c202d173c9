"""Hypothesis strategies for cases: shapes and attributes biased to where bugs live, never elements.

May import Hypothesis and this folder. Each strategy gives valid cases only. H and W always differ in something, because
a backend that swaps them would otherwise pass. What is degenerate (empty outputs, empty batches, no channels, windows
without a tap) is drawn only by the strategies of the clauses about it, so that one fault does not hide another.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from convspec.reference import geometry

from .case import Case, Padding, Pair
from .windows import reads

SEEDS = st.integers(0, 2**20)
#: Sizes off by one around the widths of vectors and tiles.
TAILS = (7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65)
UNIT: tuple[Pair, ...] = ((1, 1),)
STRIDES: tuple[Pair, ...] = ((1, 1), (2, 1), (1, 2), (2, 2), (3, 1), (2, 3), (3, 2), (4, 2), (1, 5))
KERNELS: tuple[Pair, ...] = (
    (1, 1), (1, 2), (2, 1), (2, 2), (3, 3), (2, 3), (3, 2), (1, 3), (4, 4), (4, 2), (3, 5), (5, 5), (1, 7), (6, 3),
    (7, 7),
)  # fmt: skip
DILATIONS: tuple[Pair, ...] = ((2, 1), (1, 2), (2, 2), (3, 1), (2, 3), (1, 4))
LAYOUTS = ("F", "strided", "negative", "offset", "readonly", "broadcast")
#: Those that no covering array holds beside them: dense in part, which kernels that look at one stride take for dense.
VIEWS = (*LAYOUTS, "crop", "channels", "nchw", "unaligned")
NAMED = ("SAME", "VALID")
WIDE_KERNELS: tuple[Pair, ...] = ((7, 3), (9, 2), (2, 11), (11, 11))
WIDE = (None, None, None, "cube", "h", "w", "cin", "cout", "batch", "kernel")


# Made once: building and validating a strategy costs more than drawing from it.
_sampled = cache(st.sampled_from)
_between = cache(st.integers)


def _one_of(draw: Any, values: tuple[Any, ...]) -> Any:
    """One of the values; of a single one nothing is drawn, which costs as much as a draw."""
    return draw(_sampled(values)) if len(values) > 1 else values[0]


@cache
def explicit_pads(kernel: Pair, dilations: Pair) -> st.SearchStrategy[Padding]:
    """Paddings given per side, up to one less than the effective kernel (more is drawn rarely)."""
    sides = [_between(0, geometry.effective_kernel(k, d)) for k, d in zip(kernel, dilations, strict=True)]
    return st.tuples(*(st.tuples(side, side) for side in sides))


def _axis(draw: Callable[..., int], reach: int, room: int, padded: bool, tail: bool) -> int:
    """An input size: at least what VALID needs, anything from 1 under SAME, sometimes around a vector's width."""
    least = 1 if padded else max(reach - room, 1)
    extra = draw(_sampled(TAILS)) if tail else draw(_between(0, 8))
    return least + extra - (1 if tail and least == 1 else 0)


def _spatial(draw: Any, kernel: Pair, dilations: Pair, padding: Padding, wide: str | None) -> tuple[int, int]:
    reach = [geometry.effective_kernel(k, d) for k, d in zip(kernel, dilations, strict=True)]
    padded = isinstance(padding, str) and padding != "VALID"
    rooms = [0, 0] if isinstance(padding, str) else [sum(side) for side in padding]
    h = _axis(draw, reach[0], rooms[0], padded, wide == "h")
    w = _axis(draw, reach[1], rooms[1], padded, wide == "w")
    return (h, w + 1) if h == w else (h, w)


@st.composite
def convolutions(
    draw: Any,
    dtype: str,
    *,
    op: str = "conv2d",
    recipes: tuple[str, ...] = ("integers", "powers", "impulse-x", "impulse-w"),
    paddings: tuple[Padding | None, ...] = NAMED,
    kernels: tuple[Pair, ...] = KERNELS,
    strides: tuple[Pair, ...] = STRIDES,
    dilations: tuple[Pair, ...] = UNIT,
    groups: tuple[int, ...] = (1,),
    depthwise: bool = False,
    layouts: tuple[str, ...] = ("C",),
    bias: bool = False,
    wide: tuple[str | None, ...] = WIDE,
    batch: tuple[int, int] = (1, 3),
    channels: tuple[int, int] = (1, 4),
    where: Callable[[Case], bool] | None = None,
) -> Case:
    """Convolutions with at least one output element. A padding of None means explicit pads."""
    grown = _one_of(draw, wide)
    kernel = _one_of(draw, WIDE_KERNELS if grown == "kernel" else kernels)
    rate = _one_of(draw, dilations)
    padding = _one_of(draw, paddings)
    if padding is None:
        padding = draw(explicit_pads(kernel, rate))
    size = _spatial(draw, kernel, rate, padding, grown)
    group = _one_of(draw, groups)
    small = _between(*channels)
    cin = draw(_sampled(TAILS) if grown == "cin" else small)
    cout = draw(_sampled(TAILS) if grown == "cout" else small)
    if grown == "cube":  # as many channels as rows, columns and filters: nothing but the order of axes tells them apart
        kernel, rate, group = (2, 2), UNIT[0], 1
        size = (cin + 2, cin + 2)
        cin = cout = cin + 2
    if depthwise:
        group, cin = cin, 1
    case = Case(
        op,
        (draw(_between(4, 9) if grown == "batch" else _between(*batch)), *size, cin * group),
        kernel,
        filters=cout * group,
        strides=_one_of(draw, strides),
        padding=padding,
        dilations=rate,
        groups=group,
        bias=bias,
        dtype=dtype,
        recipe=_one_of(draw, recipes),
        layout=_one_of(draw, layouts),
        seed=draw(SEEDS),
    )
    return _kept(case, where)


@st.composite
def all_different(draw: Any, dtype: str, *, recipes: tuple[str, ...], largest: int = 9) -> Case:
    """Convolutions none of whose seven sizes is like another: batch, rows, columns, channels, filters, the kernel's."""
    n, h, w, cin, cout, *kernel = draw(_orders(largest))[:7]
    kh, kw = (min(pair) for pair in ((h, kernel[0]), (w, kernel[1])))
    h, w = (max(pair) for pair in ((h, kernel[0]), (w, kernel[1])))
    return Case(
        "conv2d",
        (n, h, w, cin),
        (kh, kw),
        filters=cout,
        strides=draw(_sampled(STRIDES)),
        padding=draw(_sampled(NAMED)),
        dtype=dtype,
        recipe=_one_of(draw, recipes),
        seed=draw(SEEDS),
    )


@cache
def _orders(n: int) -> st.SearchStrategy[list[int]]:
    return st.permutations(range(1, n + 1))


@st.composite
def pools(
    draw: Any,
    dtype: str,
    *,
    op: str = "max_pool",
    recipes: tuple[str, ...] = ("distinct", "negative", "ties"),
    paddings: tuple[Padding | None, ...] = NAMED,
    kernels: tuple[Pair, ...] = KERNELS[1:],
    strides: tuple[Pair, ...] = STRIDES,
    dilations: tuple[Pair, ...] = UNIT,
    layouts: tuple[str, ...] = ("C",),
    wide: tuple[str | None, ...] = (None, None, None, "h", "w", "cin", "batch"),
    where: Callable[[Case], bool] | None = None,
) -> Case:
    """Max pools with at least one output element, each of whose windows has at least one tap."""
    grown = _one_of(draw, wide)
    kernel = _one_of(draw, kernels)
    rate = _one_of(draw, dilations)
    padding = _one_of(draw, paddings)
    if padding is None:
        padding = draw(explicit_pads(kernel, UNIT[0]))
    size = _spatial(draw, kernel, rate, padding, grown)
    cin = draw(_sampled(TAILS) if grown == "cin" else _between(1, 4))
    case = Case(
        op,
        (draw(_between(4, 9) if grown == "batch" else _between(1, 3)), *size, cin),
        kernel,
        strides=_one_of(draw, strides),
        padding=padding,
        dilations=rate,
        dtype=dtype,
        recipe=_one_of(draw, recipes),
        layout=_one_of(draw, layouts),
        seed=draw(SEEDS),
    )
    return _kept(case, lambda c: all_windows_have_taps(c) and (where is None or where(c)))


def _kept(case: Case, where: Callable[[Case], bool] | None) -> Case:
    """The case, if it has an output element and the clause's own condition holds; otherwise the draw is rejected."""
    assume(all(case.window.output) and (where is None or where(case)))
    return case


def all_windows_have_taps(case: Case) -> bool:
    """Whether every window holds at least one element of the input."""
    for axis in (0, 1):
        read = reads(case, axis)
        if not ((read >= 0) & (read < case.x[1 + axis])).any(axis=1).all():
            return False
    return True


def total_padding(case: Case) -> tuple[int, int]:
    """Padding of both sides together, (vertical, horizontal)."""
    (top, bottom), (left, right) = case.window.pads
    return top + bottom, left + right


def pads_something(case: Case) -> bool:
    """Whether any side is padded."""
    return sum(total_padding(case)) > 0


def pads_odd(case: Case) -> bool:
    """Whether an axis has an odd total padding: the one pixel that has to choose a side."""
    return any(total % 2 for total in total_padding(case))
