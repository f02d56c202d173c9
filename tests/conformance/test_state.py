"""State: what a call may touch, and what one call may leave for the next (spec/conv2d.md)."""

import numpy as np
import pytest

from convspec.harness.cases.case import Case
from convspec.harness.cases.formats import FLOATS
from convspec.harness.cases.recipes import Data, arrays
from convspec.harness.cases.strategies import LAYOUTS, convolutions, pools
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
    """Views, Fortran order, negative strides, broadcast axes, read-only memory: the same values, the same answer."""
    exact = ("integers", "impulse-x")
    check(convolutions(check.dtype, layouts=LAYOUTS, recipes=exact))
    check(convolutions(check.dtype, op="conv2d_vjp", layouts=LAYOUTS, recipes=exact), share=0.5)
    check(pools(check.dtype, layouts=LAYOUTS, recipes=("distinct",)), share=0.5)
    check(pools(check.dtype, op="max_pool_vjp", layouts=LAYOUTS, recipes=("distinct",)), share=0.5)


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
    calls = (base, pool, base.but(op="conv2d_vjp"), pool.but(op="max_pool_vjp"))
    check.each(call.but(seed=seed) for seed in range(rounds) for call in calls)


def _differs(check: Check, case: Case, data: Data, results: dict[str, Array]) -> str | None:
    """What is wrong with these results, on exact data."""
    from convspec.harness.oracle.truth import truths

    for truth in truths(case, data):
        if not np.array_equal(check.whole(results[truth.name]), truth.value.astype(np.float64)):
            return f"{truth.name} is not the answer to this call."
    return None
