"""The forward convolution: what is summed, over which taps, and what special values do (spec/conv2d.md)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from convspec.harness.cases import covering, far, past_bugs, real_shapes
from convspec.harness.cases.case import CONVOLUTIONS, Case
from convspec.harness.cases.formats import FLOATS
from convspec.harness.cases.recipes import arrays
from convspec.harness.cases.strategies import DILATIONS, LAYOUTS, UNIT, VIEWS, convolutions, pads_something, pools
from convspec.harness.cases.sweeps import corners, grid
from convspec.harness.cases.windows import reads
from convspec.harness.check import Array, Check
from convspec.harness.judge import Ask, same_bits
from convspec.harness.oracle.truth import truths

clause = pytest.mark.clause


@clause("conv2d-sum", dtypes=FLOATS)
def test_conv2d_sum(check: Check) -> None:
    """Every tap once, over all sizes that kernels like to treat apart."""
    check(convolutions(check.dtype, recipes=("integers", "powers", "real")), share=2)


@clause("conv2d-cross-correlation", dtypes=FLOATS)
def test_conv2d_cross_correlation(check: Check) -> None:
    """The filter is not flipped: an impulse reads it back."""

    def larger(c: Case) -> bool:
        return min(c.kernel) > 1

    check(convolutions(check.dtype, recipes=("impulse-x",), where=larger))


@clause("padding-contributes-nothing", dtypes=FLOATS)
def test_padding_contributes_nothing(check: Check) -> None:
    """Same-sign data over much padding: whatever padding added would show."""
    check(convolutions(check.dtype, paddings=("SAME",), recipes=("powers", "positive"), where=pads_something))


@clause("bias-added", dtypes=FLOATS)
def test_bias_added(check: Check) -> None:
    """One number a filter, added once, everywhere."""
    check(convolutions(check.dtype, bias=True, recipes=("integers", "real")))
    base = Case("conv2d", (1, 3, 4, 2), (1, 1), filters=3, bias=True, dtype=check.dtype)
    padded = base.but(padding=((1, 0), (0, 2)))  # padding has the bias, also where a 1x1 filter needs no window
    apart = [padded, padded.but(strides=(1, 2)), padded.but(strides=(2, 1), kernel=(2, 1)), base.but(strides=(2, 2))]
    grown = [
        base.but(x=(1, 2, 3, n), filters=f, groups=g) for n, f, g in ((65, 3, 1), (130, 2, 1), (4, 66, 2), (6, 6, 6))
    ]
    views = [base.but(kernel=(2, 2), layout=layout) for layout in VIEWS]
    check.each([*apart, *grown, *views])


@clause("groups", dtypes=FLOATS)
def test_groups(check: Check) -> None:
    """Each group of filters reads its own group of channels, in order."""
    check(convolutions(check.dtype, groups=(2, 3, 4)))
    check(convolutions(check.dtype, groups=(2, 3), dilations=DILATIONS), share=0.3)


@clause("depthwise", dtypes=FLOATS)
def test_depthwise(check: Check) -> None:
    """One group a channel, with one filter or several each."""

    def several(c: Case) -> bool:
        return c.groups > 1

    check(convolutions(check.dtype, depthwise=True, channels=(2, 5), where=several))
    both = ((2, 2), (2, 1), (1, 3))
    check(convolutions(check.dtype, depthwise=True, channels=(2, 4), strides=both, dilations=both), share=0.4)


@clause("pointwise-is-matrix-product", dtypes=FLOATS)
def test_pointwise_is_matrix_product(check: Check) -> None:
    """A 1x1 kernel at stride 1 is a matrix product over the channels, to the bit on integers."""

    def equals_matmul(ask: Ask, case: Case) -> str | None:
        data = arrays(case)
        y = check.whole(ask(case, data)["y"])
        product = data["x"].astype(np.float64) @ data["w"][0, 0].astype(np.float64)
        return None if np.array_equal(y, product) else "It differs from the matrix product x @ w."

    plain: dict[str, Any] = {"kernels": ((1, 1),), "wide": (None, "h", "w", "cin", "cout", "batch")}
    check.holds(convolutions(check.dtype, strides=UNIT, recipes=("integers",), **plain), equals_matmul)
    check(convolutions(check.dtype, **plain), share=0.5)


@clause("locality", dtypes=FLOATS)
def test_locality(check: Check) -> None:
    """Changing one pixel changes no output whose receptive field does not hold it, to the bit."""

    def outside_is_untouched(ask: Ask, case: Case) -> str | None:
        data = arrays(case)
        rng = np.random.default_rng(case.seed)
        before = ask(case, data)["y"]
        row, column = int(rng.integers(case.x[1])), int(rng.integers(case.x[2]))
        changed = data["x"].copy()
        changed[:, row, column] = -2 * changed[:, row, column] + 1
        after = ask(case, data | {"x": changed})["y"]
        apart = ~_reads(case, row, column)
        if same_bits(before[:, apart], after[:, apart]):
            return None
        return f"Changing pixel ({row}, {column}) changed outputs that do not read it."

    cases = convolutions(check.dtype, recipes=("real",), wide=(None, "h", "w"))
    if check.direct:
        check.holds(cases, outside_is_untouched)
    else:  # a declared transform mixes pixels; by how much, its bound says
        check(cases)


def _reads(case: Case, row: int, column: int) -> Array:
    """Which outputs read that pixel: a mask of the output's rows and columns."""
    return np.outer(*[(reads(case, axis) == at).any(axis=1) for axis, at in ((0, row), (1, column))])


@clause("weight-sharing", dtypes=FLOATS)
def test_weight_sharing(check: Check) -> None:
    """The image moved by one stride gives the answer moved by one pixel."""

    def moves_along(ask: Ask, case: Case) -> str | None:
        data = arrays(case)
        rows, columns = case.strides
        moved = np.pad(data["x"], ((0, 0), (rows, 0), (columns, 0), (0, 0)))
        y = check.whole(ask(case, data)["y"])
        z = check.whole(ask(case.but(x=moved.shape), data | {"x": moved})["y"])
        if z.shape[1] > y.shape[1] and z.shape[2] > y.shape[2] and np.array_equal(z[:, 1:, 1:], y):
            return None
        return "Moving the image by one stride did not move the answer by one pixel."

    check.holds(convolutions(check.dtype, paddings=("VALID",), recipes=("integers",)), moves_along, share=0.7)


@clause("batch-items-independent", dtypes=FLOATS)
def test_batch_items_independent(check: Check) -> None:
    """Other images in the batch change nothing: on integers, to the bit."""

    def alone_and_together(ask: Ask, case: Case) -> str | None:
        data = arrays(case)
        together = check.whole(ask(case, data)["y"])
        for item in range(case.x[0]):
            one = data | {"x": data["x"][item : item + 1]}
            alone = check.whole(ask(case.but(x=(1, *case.x[1:])), one)["y"])
            if not np.array_equal(alone[0], together[item]):
                return f"Image {item} has another answer in the batch than alone."
        return None

    several = convolutions(check.dtype, recipes=("integers",), batch=(2, 5), wide=(None, "cin", "cout", "h"))
    check.holds(several, alone_and_together, share=0.5)


@clause("output-depth", dtypes=FLOATS)
def test_output_depth(check: Check) -> None:
    """As many channels out as there are filters."""
    check(convolutions(check.dtype, channels=(1, 9), wide=("cout", None)), share=0.7)
    none = Case("conv2d", (1, 3, 4, 2), (2, 2), filters=0, dtype=check.dtype)
    check.each([none, none.but(padding="SAME")], may_refuse=True)


@clause("empty-batch", dtypes=FLOATS)
def test_empty_batch(check: Check) -> None:
    """No image in, none out, and the other sizes as always."""
    base = Case("conv2d", (0, 5, 5, 1), (3, 3), filters=2, dtype=check.dtype)
    check.each(
        [
            base,
            base.but(padding="SAME"),
            base.but(strides=(2, 1)),
            base.but(x=(0, 4, 6, 3), padding="SAME", strides=(2, 2)),
            base.but(x=(0, 4, 6, 4), filters=6, groups=2),
            base.but(x=(0, 4, 6, 3), filters=3, groups=3, padding="SAME"),
        ],
        may_refuse=True,
    )


@clause("no-input-channels", dtypes=FLOATS)
def test_no_input_channels(check: Check) -> None:
    """An empty sum is zero (plus the bias), in every output channel."""
    base = Case("conv2d", (1, 3, 4, 0), (2, 2), filters=2, dtype=check.dtype)
    check.each([base, base.but(padding="SAME"), base.but(x=(2, 5, 4, 0), strides=(2, 1))])
    check.each([base.but(op="conv2d_vjp"), base.but(op="conv2d_vjp", padding="SAME")])
    if check.judge.backend.hello.get("accepts_bias"):
        check.each([base.but(bias=True), base.but(bias=True, x=(2, 5, 4, 0), strides=(2, 1), padding="SAME")])


@clause("conv2d-dtype-preserved", dtypes=FLOATS)
def test_conv2d_dtype_preserved(check: Check) -> None:
    """The result has the dtype of the operands, and is a NumPy array."""
    check(convolutions(check.dtype, recipes=("integers", "real")), share=0.5)


#: Channels of other groups and pixels between the taps, which a filter filled up with zeros would read: 0 * NaN is NaN.
_APART: dict[str, Any] = {
    "groups": (1, 2, 3),
    "dilations": ((1, 1), (2, 2), (2, 1), (1, 3)),
    "where": lambda c: c.groups > 1 or max(c.dilations) > 1,
    "wide": (None,),
}


def _unread(dtype: str) -> Iterator[Case]:
    """Strides beyond the kernel, and images that the last window does not reach the end of."""
    for number, (kernel, stride) in enumerate(((2, 4), (1, 2), (4, 5), (3, 4), (8, 9), (5, 7))):
        rest = (kernel + stride) * 2 + number
        one = Case("conv2d", (1, 2, rest, 1 + number % 3), (1, kernel), filters=2, dtype=dtype, recipe="nan-unread")
        yield one.but(strides=(1, stride), seed=number)
        yield one.but(x=(1, rest, 2, 1 + number % 3), kernel=(kernel, 1), strides=(stride, 1), seed=number)


@clause("conv2d-nan", dtypes=FLOATS)
def test_conv2d_nan(check: Check) -> None:
    """A NaN reaches exactly the outputs that read it."""
    check(convolutions(check.dtype, recipes=("nan-in-x",), wide=(None, "h", "w", "cin")))
    check(convolutions(check.dtype, recipes=("nan-in-w",), paddings=("VALID",), wide=(None, "cout")), share=0.4)
    check(convolutions(check.dtype, recipes=("nan-in-x", "inf-in-x"), **_APART), share=0.4)
    base = Case("conv2d", (1, 3, 10, 1), (1, 3), filters=2, strides=(1, 3), dtype=check.dtype, recipe="nan-unread")
    check.each([base, base.but(x=(1, 8, 3, 2), kernel=(2, 1), strides=(3, 1)), *_unread(check.dtype)])
    apart = base.but(x=(1, 3, 4, 6), kernel=(2, 2), filters=6, strides=(1, 1), recipe="nan-group")
    check.each([apart.but(groups=g, seed=s, padding="VALID") for g in (2, 3, 6) for s in range(2)])
    check.each([apart.but(recipe="nan-in-x-zero-tap", seed=s) for s in range(2)])


@clause("conv2d-infinity", dtypes=FLOATS)
def test_conv2d_infinity(check: Check) -> None:
    """An infinity reaches exactly the outputs that read it, with its sign; times zero it is NaN."""
    check(convolutions(check.dtype, recipes=("inf-in-x", "minus-inf-in-x"), wide=(None, "h", "w", "cin")))
    check(convolutions(check.dtype, recipes=("inf-in-w",), paddings=("VALID",), wide=(None, "cout")), share=0.4)
    zeros = [
        Case("conv2d", (1, 3, 4, 1), (2, 2), filters=2, dtype=check.dtype, recipe=r, seed=s)
        for r in ("inf-in-x-zero-w", "inf-in-w-zero-x")
        for s in range(3)
    ]
    check.each(zeros)


@clause("conv2d-overflow", dtypes=FLOATS)
def test_conv2d_overflow(check: Check) -> None:
    """Sums below the largest finite number stay finite; what rounds beyond it is infinity, not the largest number."""
    small = Case("conv2d", (1, 3, 4, 2), (2, 2), filters=2, dtype=check.dtype, recipe="far-apart")
    apart = [small.but(seed=seed) for seed in range(4)]
    recipes = ("large", "overflow", "far-apart")
    check(convolutions(check.dtype, recipes=recipes, wide=(None, "cin")), also=apart, share=0.7)
    check(convolutions(check.dtype, recipes=("overshoot",), paddings=("VALID",), wide=(None,)), share=0.5)
    check.each([small.but(recipe="largest", seed=seed) for seed in range(2)])


@clause("conv2d-signed-zero", dtypes=("float32",))
def test_conv2d_signed_zero(check: Check) -> None:
    """The sign of a zero is free; the answer must be a zero."""
    check(convolutions(check.dtype, recipes=("minus-zero",), wide=(None,)), share=0.5)


@clause("subnormals-kept", dtypes=FLOATS)
def test_subnormals_kept(check: Check) -> None:
    """Subnormal inputs and results keep their value."""
    smallest = Case("conv2d", (1, 1, 2, 1), (1, 1), filters=1, dtype=check.dtype, recipe="subnormal")
    check(convolutions(check.dtype, recipes=("subnormal",), wide=(None,)), also=[smallest], flush=False, share=0.5)


#: One infinite weight, so that an output is finite, infinite or NaN by where that tap falls.
_OVER_PADDING: dict[str, Any] = {
    "recipes": ("inf-in-w",),
    "paddings": ("SAME", None),
    "where": pads_something,
    "wide": (None, "h", "cin"),
}


@clause("attributes-combine", dtypes=FLOATS)
def test_attributes_combine(check: Check) -> None:
    """Strides, dilations, groups, paddings and layouts together, every three levels of them, and others drawn."""
    together: dict[str, Any] = {
        "dilations": (*UNIT, *DILATIONS),
        "paddings": ("SAME", "VALID", None),
        "layouts": ("C", "C", *LAYOUTS),
    }
    groups = (1, 1, 2, 3)
    check.each(grid(check.dtype, check.level))
    check.each(corners(check.dtype))
    for op in (*CONVOLUTIONS, "max_pool", "max_pool_vjp"):
        check.each(covering.cases(check.dtype, op, check.level), whole=True)
    check(convolutions(check.dtype, groups=groups, recipes=("integers",), **together), share=2)
    check(convolutions(check.dtype, op="conv2d_vjp", groups=groups, recipes=("integers",), **together))
    check(convolutions(check.dtype, depthwise=True, channels=(2, 4), recipes=("integers",), **together), share=0.5)
    check(pools(check.dtype, recipes=("distinct", "negative"), **together))
    check(pools(check.dtype, op="max_pool_vjp", recipes=("distinct", "ties"), **together))


@clause("attributes-combine", dtypes=FLOATS)
def test_attributes_combine__far(check: Check) -> None:
    """Strides, dilations, pads and kernels past what narrow integers, fixed tables and unrolled loops hold."""
    check.each(far.attributes(check.dtype, check.level), shadows=False)


@clause("attributes-combine", dtypes=FLOATS)
def test_attributes_combine__networks(check: Check) -> None:
    """Layers of real networks, at their own sizes: LeNet-5's at level quick, all of them and more of each beyond it."""
    check.each(real_shapes.cases(check.dtype, check.level), shadows=False)


@clause("attributes-combine", dtypes=FLOATS)
def test_attributes_combine__past_bugs(check: Check) -> None:
    """What went wrong somewhere before, each told of the clause that it broke."""
    for slug, case in past_bugs.cases(check.dtype):
        check.each([case], clause=slug, may_refuse=slug in past_bugs.MAY_REFUSE)


@clause("padding-under-nonfinite-weight", dtypes=("all",))
def test_padding_under_nonfinite_weight(check: Check) -> None:
    """Which of the two readings is taken: absent, or zero times the weight."""
    seen: set[str] = set()

    def either(ask: Ask, case: Case) -> str | None:
        seen.update(_readings(ask, case))
        return None

    for dtype in FLOATS:
        check.holds(convolutions(dtype, **_OVER_PADDING), either, share=0.25, memory=True)
    check.reading(" and ".join(sorted(seen)))


@clause("consistency-of-padding-taps", dtypes=("all",))
def test_consistency_of_padding_taps(check: Check) -> None:
    """The same reading for every shape, dtype and output element."""
    first: list[tuple[set[str], Case]] = []

    def as_before(ask: Ask, case: Case) -> str | None:
        if not check.direct:  # a declared transform mixes the NaN of one output into others
            ask(case, arrays(case))
            return None
        seen = _readings(ask, case)
        if len(seen) > 1:
            return _MIXED
        if seen and not first:
            first.append((seen, case))
        if seen and seen != first[0][0]:
            return f"Padding taps are {seen.pop()} here; they are {min(first[0][0])} in {first[0][1].describe()}"
        return None

    for dtype in FLOATS:
        small = [
            Case("conv2d", (1, 2, 3, 1), (3, 3), filters=1, padding="SAME", dtype=dtype, recipe="inf-in-w", seed=s)
            for s in range(4)
        ]
        small += [small[s].but(padding=p) for s in (1, 2) for p in (((1, 1), (1, 1)), ((2, 1), (0, 2)))]
        small += [small[s].but(x=(1, 2, 3, n)) for s in (1, 2) for n in (8, 24, 33)]
        if check.direct:
            check.relation(small, lambda ask, case: _MIXED if len(_readings(ask, case)) > 1 else None)
        check.holds(convolutions(dtype, **_OVER_PADDING), as_before, share=0.5, also=small, memory=True)
        lower = [case.but(padding="SAME_LOWER") for case in small[1:4]]  # which nobody has to know
        check.relation(lower, as_before, memory=True, may_refuse=True)


_MIXED = "Within one answer some padding taps are absent and others are zero times infinity."


def _readings(ask: Ask, case: Case) -> set[str]:
    """What the outputs whose infinite tap falls on padding show."""
    data = arrays(case)
    y = ask(case, data)["y"].astype(np.float64)
    absent = truths(case, data)[0].value
    multiplied = truths(case, data, padding_taps="multiply")[0].value
    telling = np.isnan(multiplied) & ~np.isnan(absent)
    return {"zero times infinity" if nan else "absent" for nan in np.unique(np.isnan(y[telling]))}
