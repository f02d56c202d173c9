"""Numerics: exact on the lattice, within the bound elsewhere, and the same again (spec/numerics.md)."""

from typing import Any

import numpy as np
import pytest

from convspec.adapters.backend import Contract
from convspec.harness.cases import far
from convspec.harness.cases.case import Case
from convspec.harness.cases.formats import FLOATS
from convspec.harness.cases.measured import measured, tiled
from convspec.harness.cases.recipes import arrays
from convspec.harness.cases.strategies import DILATIONS, UNIT, convolutions
from convspec.harness.cases.sweeps import beyond_tails, large_sums, tails
from convspec.harness.check import Check
from convspec.harness.judge import Ask, Judge, same_bits
from convspec.harness.measuring import PRECISION, Algorithm, Precision
from convspec.harness.oracle.bounds import accumulator_of

clause = pytest.mark.clause
NARROW = ("float16", "bfloat16")


@clause("exact-on-lattice", dtypes=FLOATS)
def test_exact_on_lattice(check: Check) -> None:
    """Integers whose sums the accumulator holds: every order of summation gives the same bits."""
    quantised = [Case("conv2d", (1, 4, 5, 8), (3, 2), filters=2, dtype=check.dtype, recipe="bytes")]
    recipes = ("integers", "powers", "odd", "odd-w", "cancel", "bytes")
    check(convolutions(check.dtype, recipes=recipes), also=quantised)
    check(convolutions(check.dtype, dilations=DILATIONS, groups=(1, 2), recipes=("integers", "odd")), share=0.4)


@clause("error-bound", dtypes=FLOATS)
def test_error_bound(check: Check) -> None:
    """Real data: within the rounding error of any order of summation, element by element."""
    check(convolutions(check.dtype, recipes=("real", "positive", "wide", "tiny", "flat-w")), share=2)
    usual: dict[str, Any] = {"kernels": ((3, 3), (5, 5)), "strides": UNIT, "wide": (None, "cin", "h")}
    check(convolutions(check.dtype, recipes=("spikes", "wide", "flat-w"), **usual))
    flat = Case("conv2d", (1, 9, 10, 1), (2, 2), filters=1, dtype=check.dtype, recipe="flat-w")
    check.each([flat, flat.but(kernel=(3, 3), padding="SAME")])


@clause("error-bound-gradients", dtypes=FLOATS)
def test_error_bound_gradients(check: Check) -> None:
    """The same for both gradients."""
    recipes = ("real", "positive", "wide", "tiny", "spikes")
    check(convolutions(check.dtype, op="conv2d_vjp", recipes=recipes), share=2)
    small = Case("conv2d_vjp", (1, 3, 4, 2), (2, 2), filters=2, dtype=check.dtype)
    extremes = [small.but(recipe=recipe, seed=seed) for recipe in ("overflow", "far-apart") for seed in range(4)]
    extremes += [small.but(recipe="overflow", x=(1, 4, 5, 2), filters=f, padding="SAME") for f in (4, 8)]
    check(
        convolutions(check.dtype, op="conv2d_vjp", recipes=("overflow", "far-apart"), wide=(None,)),
        also=extremes,
        share=0.3,
    )


@clause("full-precision-inputs", dtypes=FLOATS)
def test_full_precision_inputs(check: Check) -> None:
    """No operand is rounded to TF32, bfloat16 or anything else before it is multiplied."""
    wide = (None, "cin", "cout", "kernel")
    check(convolutions(check.dtype, recipes=("odd", "odd-w", "odd-wide", "odd-wide-w"), wide=wide))
    aligned = Case("conv2d", (1, 3, 8, 32), (1, 2), filters=32, dtype=check.dtype, recipe="odd")
    eight = aligned.but(x=(1, 8, 9, 8), kernel=(3, 3), filters=8, padding="SAME")
    units = [aligned, aligned.but(recipe="odd-w"), aligned.but(x=(1, 8, 16, 64), filters=64, kernel=(1, 1)), eight]
    check.each(units)  # sizes that matrix units of a narrower type are chosen for
    recipes = ("odd", "odd-w", "odd-dy", "odd-wide", "odd-wide-w", "odd-wide-dy")
    if check.dtype not in NARROW:  # there a gradient's faults are those of its accumulator, a clause of its own
        check(convolutions(check.dtype, op="conv2d_vjp", recipes=recipes, wide=wide), share=0.7)
        back = [case.but(op="conv2d_vjp", recipe=r) for case in (aligned, eight) for r in ("odd", "odd-w", "odd-dy")]
        check.each(back)


@clause("effective-precision", dtypes=FLOATS)
def test_effective_precision(check: Check) -> None:
    """The errors of many sums of random sign: as large as the declared arithmetic makes them, and not larger."""
    _measure(check, "conv2d")


@clause("effective-precision-gradients", dtypes=FLOATS)
def test_effective_precision_gradients(check: Check) -> None:
    """The same for both gradients."""
    _measure(check, "conv2d_vjp")


def _measure(check: Check, op: str) -> None:
    """Measure every case, then judge them together: one finding, and the effective bits."""
    found = Precision(check.judge, check.question())
    narrow = check.dtype != accumulator_of(check.dtype, check.judge.contract).name
    check.judged(measured(op, check.dtype, check.level, narrow=narrow), found.evaluate)
    findings = check.cell.findings
    said = found.finding([f for f in findings if f.kind == PRECISION])
    findings[:] = [f for f in findings if f.kind != PRECISION] + ([check.mark(said)] if said else [])
    check.cell.precision.update(found.bits)


@clause("algorithm-declared", dtypes=FLOATS)
def test_algorithm_declared(check: Check) -> None:
    """One huge pixel, or a NaN, among ordinary ones: a transform lets outputs notice it that it is no part of."""
    found = Algorithm(check.judge, check.question())
    check.judged(tiled(check.dtype, check.level), found.evaluate)
    check.reading(found.reading)


@clause("accumulate-at-least-float32", dtypes=NARROW)
def test_accumulate_at_least_float32(check: Check) -> None:
    """float16 and bfloat16 sums are kept in float32 or wider, and rounded once."""
    check.each(large_sums("conv2d", check.dtype, check.level, ("odd", "cancel", "real")), contract=_wider(check))
    check(
        convolutions(check.dtype, recipes=("odd", "cancel"), wide=("cin", "kernel")), contract=_wider(check), share=0.5
    )


@clause("accumulate-gradients-at-least-float32", dtypes=NARROW)
def test_accumulate_gradients_at_least_float32(check: Check) -> None:
    """The same for both gradients."""
    check.each(large_sums("conv2d_vjp", check.dtype, check.level, ("odd", "odd-dy", "real")), contract=_wider(check))
    check(
        convolutions(check.dtype, op="conv2d_vjp", recipes=("odd", "odd-dy"), wide=("cout", "h", "batch")),
        contract=_wider(check),
        share=0.5,
    )


def _wider(check: Check) -> Contract:
    """The declared contract, but for an accumulator narrower than float32: that is what these clauses forbid."""
    declared = check.judge.contract
    accumulate = declared.accumulate if declared.accumulate in ("float32", "float64") else None
    return Contract(accumulate, declared.tf32, declared.flush_subnormals, declared.algorithm)


@clause("no-tap-lost", dtypes=FLOATS)
def test_no_tap_lost(check: Check) -> None:
    """Each tap carries a bit of its own: the answer lists the taps that were read."""
    check(convolutions(check.dtype, recipes=("powers",), dilations=((1, 1), (2, 1), (1, 3)), groups=(1, 1, 2)))


@clause("large-sums", dtypes=FLOATS)
def test_large_sums(check: Check) -> None:
    """Up to 4608 products in one sum: exact data and real data."""
    check.each(large_sums("conv2d", check.dtype, check.level, ("integers", "odd", "real", "positive")))


@clause("tail-sizes", dtypes=FLOATS)
def test_tail_sizes(check: Check) -> None:
    """Every size from 1 and off by one around 8, 16, 32, 64, 128, one axis at a time; every kernel up to 11."""
    check.each(tails(check.dtype, check.level))
    check.each(beyond_tails(check.dtype, check.level))
    check.each(far.sizes(check.dtype, check.level), shadows=False)


@clause("deterministic", dtypes=FLOATS)
def test_deterministic(check: Check) -> None:
    """The same call gives the same bits, however often and with whatever memory it finds."""

    def same_again(ask: Ask, case: Case) -> str | None:
        data = arrays(case)
        first = ask(case, data)
        for _ in range(2):
            again = ask(case, data)
            for name, result in first.items():
                if not same_bits(result, again[name]):
                    return f"{name} has other bits when the same call is made again."
        return None

    check.holds(convolutions(check.dtype, recipes=("real",)), same_again, share=0.4)
    check.holds(convolutions(check.dtype, op="conv2d_vjp", recipes=("real",)), same_again, share=0.3)
    overlapping = Case("max_pool_vjp", (2, 9, 10, 3), (3, 3), padding="SAME", dtype=check.dtype, recipe="real-pool")
    check.relation([overlapping, overlapping.but(x=(1, 24, 33, 2), kernel=(5, 4))], same_again)


@clause("batch-invariance", dtypes=FLOATS)
def test_batch_invariance(check: Check) -> None:
    """SHOULD: an image gives the same bits alone and in a batch."""

    def alone_as_together(ask: Ask, case: Case) -> str | None:
        data = arrays(case)
        together = ask(case, data)["y"]
        for item in range(case.x[0]):
            one = data | {"x": data["x"][item : item + 1]}
            alone = ask(case.but(x=(1, *case.x[1:])), one)["y"]
            if not same_bits(alone[0], together[item]):
                apart = np.abs(alone[0].astype(np.float64) - together[item].astype(np.float64))
                return f"Image {item} differs by up to {np.nanmax(apart):.3g} between a batch of {case.x[0]} and alone."
        return None

    small = [Case("conv2d", (n, 1, 2, c), (1, 1), filters=f, dtype=check.dtype, recipe="real", seed=n)
             for n in (2, 8) for c in (2, 6) for f in (2, 16)]  # fmt: skip
    cases = convolutions(check.dtype, recipes=("real",), batch=(2, 5), wide=(None, "cin", "cout"))
    check.holds(cases, alone_as_together, share=0.4, also=small)


@clause("thread-invariance", dtypes=("float32",))
def test_thread_invariance(check: Check, single_threaded: Judge) -> None:
    """SHOULD: one thread gives the same bits as many."""

    def one_as_many(ask: Ask, case: Case) -> str | None:
        data = arrays(case)
        many = ask(case, data)
        one, _ = single_threaded.results(case, data, check.question())
        for name, result in many.items():
            if not same_bits(result, one[name]):
                return f"{name} has other bits with one thread."
        return None

    check.holds(
        convolutions(check.dtype, recipes=("real",), wide=("h", "cin", "batch")), one_as_many, share=0.4, memory=True
    )
