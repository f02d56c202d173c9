"""State: what a call may touch, and what one call may leave for the next (spec/conv2d.md)."""

from collections.abc import Callable

import numpy as np
import pytest

from convspec.harness.cases.case import Case
from convspec.harness.cases.formats import FLOATS
from convspec.harness.cases.recipes import Data, arrays
from convspec.harness.cases.strategies import VIEWS, convolutions, pools
from convspec.harness.cases.sweeps import views
from convspec.harness.check import Array, Check
from convspec.harness.judge import Ask, same_bits

clause = pytest.mark.clause


@clause("inputs-unchanged", dtypes=FLOATS)
def test_inputs_unchanged(check: Check) -> None:
    """The worker compares every operand before and after each call, to the bit."""
    check(convolutions(check.dtype, layouts=("C", "offset"), recipes=("integers",)), share=0.4)
    check(convolutions(check.dtype, op="conv2d_vjp", layouts=("C", "offset"), recipes=("integers",)), share=0.4)
    check(pools(check.dtype, layouts=("C", "offset")), share=0.4)
    check(pools(check.dtype, op="max_pool_vjp", layouts=("C", "offset")), share=0.4)


@clause("memory-layouts", dtypes=FLOATS)
def test_memory_layouts(check: Check) -> None:
    """Views, Fortran order, negative strides, broadcast axes, parts of larger arrays, read-only and unaligned memory.

    The same values, the same answer.
    """
    exact = ("integers", "impulse-x")
    check.each(views(check.dtype))
    check(convolutions(check.dtype, layouts=VIEWS, recipes=exact))
    check(convolutions(check.dtype, op="conv2d_vjp", layouts=VIEWS, recipes=exact), share=0.5)
    check(pools(check.dtype, layouts=VIEWS, recipes=("distinct",)), share=0.5)
    check(pools(check.dtype, op="max_pool_vjp", layouts=VIEWS, recipes=("distinct",)), share=0.5)


@clause("result-owns-its-memory", dtypes=FLOATS)
def test_result_owns_its_memory(check: Check) -> None:
    """Even where the result equals the input: 1x1 windows, a filter of one."""
    copies = [
        Case("max_pool", (1, 2, 3, 1), (1, 1), dtype=check.dtype, recipe="distinct"),
        Case("max_pool", (2, 2, 3, 2), (1, 1), padding="SAME", dtype=check.dtype, recipe="distinct"),
        Case("conv2d", (1, 2, 3, 1), (1, 1), filters=1, dtype=check.dtype, recipe="powers"),
        Case("max_pool_vjp", (1, 2, 3, 1), (1, 1), dtype=check.dtype, recipe="distinct"),
        Case("conv2d_vjp", (1, 1, 1, 1), (1, 1), filters=1, dtype=check.dtype, recipe="powers"),
    ]
    check.each(copies)
    check(pools(check.dtype, kernels=((1, 1), (1, 2)), strides=((1, 1), (2, 2), (1, 2))), share=0.3)


@clause("calls-are-independent", dtypes=FLOATS)
def test_calls_are_independent(check: Check) -> None:
    """Other data with the same shapes, other shapes in between, the first call again: each answered for itself."""

    def interleaved(ask: Ask, case: Case) -> str | None:
        first, second = arrays(case), arrays(case.but(seed=case.seed + 1))
        other = case.but(x=(case.x[0], case.x[1] + 1, case.x[2] + 2, case.x[3]))
        kept = ask(case, first)
        wrong = _differs(check, case, first, kept) or _differs(check, case, second, ask(case, second))
        if wrong:
            return f"Other data of the same shapes: {wrong}"
        ask(other, arrays(other))
        if case.op.endswith("_vjp"):  # the forward call of other data is no part of this gradient
            forward = case.but(op=case.op.removesuffix("_vjp"))
            ask(forward, {name: a for name, a in second.items() if name != "dy"})
        again = ask(case, first)
        for name, result in kept.items():
            if not same_bits(result, again[name]):
                return f"{name} changed after calls of other data and other shapes."
        return None

    for strategy in (convolutions, pools):
        for gradient in ("", "_vjp"):
            op = ("conv2d" if strategy is convolutions else "max_pool") + gradient
            recipes = ("integers",) if strategy is convolutions else ("distinct",)
            check.holds(strategy(check.dtype, op=op, recipes=recipes), interleaved, share=0.25)


@clause("calls-are-independent", dtypes=("float32",))
def test_calls_are_independent__many(check: Check) -> None:
    """Many calls in a row: the last is answered like the first."""
    base = Case("conv2d", (1, 4, 5, 2), (3, 2), filters=3, padding="SAME")
    pool = Case("max_pool", (1, 4, 5, 2), (3, 2), padding="SAME", recipe="distinct")
    rounds = {"quick": 40, "standard": 150, "deep": 1000}[check.level]
    recipes = ("integers", "odd", "real")  # a path that is taken late may be the less precise one
    for seed in range(rounds):
        conv = base.but(recipe=recipes[seed % 3])
        calls = (conv, pool, conv.but(op="conv2d_vjp"), pool.but(op="max_pool_vjp"))
        check.each(call.but(seed=seed) for call in calls)


@clause("calls-are-independent", dtypes=FLOATS)
def test_calls_are_independent__alike(check: Check) -> None:
    """Calls that have all but one thing in common, right after each other: what keeps answers or plans must see it."""

    def after_each_other(ask: Ask, case: Case) -> str | None:
        relative, right = RELATIVES[case.seed], {}
        kept: dict[str, Array] = {}
        # Of two sizes, so that each call of a pair is the first once: what is wrong then is wrong by itself.
        for larger in (False, True):
            one = case.but(x=(case.x[0], case.x[1] + 2, case.x[2] + 3, case.x[3])) if larger else case
            first = one, arrays(one)
            pair = [first, relative(*first)]
            for second, (asked, data) in enumerate(reversed(pair) if larger else pair):
                results = ask(asked, data)
                kept = kept or results
                right[larger, bool(second)] = _differs(check, asked, data, results) is None
        for larger in (False, True):
            if right[not larger, False] and not right[larger, True]:
                return f"Not the answer to this call, after one that is alike but for {_said(relative)}."
        again = ask(case, arrays(case))
        if all(same_bits(result, again[name]) for name, result in kept.items()):
            return None
        return f"Other bits after a call that is alike but for {_said(relative)}."

    conv = Case("conv2d", (2, 4, 5, 2), (3, 2), filters=3, padding="SAME", dtype=check.dtype)
    pool = Case("max_pool", (2, 4, 5, 2), (3, 2), padding="SAME", dtype=check.dtype, recipe="distinct")
    four = (conv, conv.but(op="conv2d_vjp"), pool, pool.but(op="max_pool_vjp"))
    check.relation((case.but(seed=number) for number in range(len(RELATIVES)) for case in four), after_each_other)
    size = RELATIVES.index(_the_size_that_strides_hide)
    check.relation([case.but(strides=(2, 2), seed=size) for case in four], after_each_other)


Relative = Callable[[Case, Data], tuple[Case, Data]]


def _with(data: Data, other: Case) -> tuple[Case, Data]:
    """That call with the same numbers, where there are as many."""
    fresh = arrays(other)
    same = {n: data[n].reshape(a.shape).astype(a.dtype) if data[n].size == a.size else a for n, a in fresh.items()}
    return other, same


def _padding(case: Case, data: Data) -> tuple[Case, Data]:
    return _with(data, case.but(padding="VALID"))


def _the_side_of_padding(case: Case, data: Data) -> tuple[Case, Data]:
    (top, bottom), (left, right) = case.window.pads
    return _with(data, case.but(padding=((bottom, top), (right, left))))


def _strides(case: Case, data: Data) -> tuple[Case, Data]:
    return _with(data, case.but(strides=(1, 2)))


def _dilations(case: Case, data: Data) -> tuple[Case, Data]:
    return _with(data, case.but(dilations=(2, 1)))


def _rows_and_columns(case: Case, data: Data) -> tuple[Case, Data]:
    """The same bytes in another shape."""
    n, h, w, c = case.x
    return _with(data, case.but(x=(n, w, h, c)))


def _the_batch(case: Case, data: Data) -> tuple[Case, Data]:
    return _with(data, case.but(x=(case.x[0] + 1, *case.x[1:])))


def _who_pads(case: Case, data: Data) -> tuple[Case, Data]:
    """The image of the padded size: what stood on padding is data, and padding again in the call after."""
    n, h, w, c = case.x
    (top, bottom), (left, right) = case.window.pads
    return _with(data, case.but(x=(n, h + top + bottom, w + left + right, c), padding="VALID"))


def _the_size_that_strides_hide(case: Case, data: Data) -> tuple[Case, Data]:
    """As many outputs at a stride of two, of an image of another parity: SAME pads it otherwise."""
    n, h, w, c = case.x
    return _with(data, case.but(x=(n, h - 1 + 2 * (h % 2), w - 1 + 2 * (w % 2), c)))


def _two_pixels(case: Case, data: Data) -> tuple[Case, Data]:
    """Two elements of x exchanged, far from its beginning: the same sum, the same head."""
    x = data["x"].copy()
    last = x.size - 1
    unlike = np.flatnonzero(x.flat[:last] != x.flat[last])[-1]
    x.flat[[unlike, last]] = x.flat[[last, unlike]]
    return case, data | {"x": x}


def _the_dtype(case: Case, data: Data) -> tuple[Case, Data]:
    return _with(data, case.but(dtype="float64" if case.dtype == "float32" else "float32"))


RELATIVES: tuple[Relative, ...] = (
    _padding, _the_side_of_padding, _strides, _dilations, _rows_and_columns, _the_batch, _who_pads, _two_pixels,
    _the_dtype, _the_size_that_strides_hide,
)  # fmt: skip


def _said(relative: Relative) -> str:
    return relative.__name__.strip("_").replace("_", " ")


def _differs(check: Check, case: Case, data: Data, results: dict[str, Array]) -> str | None:
    """What is wrong with these results, on exact data."""
    from convspec.harness.oracle.truth import truths

    for truth in truths(case, data):
        if not np.array_equal(check.whole(results[truth.name]), truth.value.astype(np.float64)):
            return f"{truth.name} is not the answer to this call."
    return None
