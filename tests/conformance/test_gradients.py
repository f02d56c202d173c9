"""Gradients: adjoints of the convolution, and where pooling sends its gradient (spec/gradients.md)."""

from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from convspec.harness.cases.case import Case
from convspec.harness.cases.formats import FLOATS
from convspec.harness.cases.recipes import arrays
from convspec.harness.cases.strategies import DILATIONS, STRIDES, UNIT, convolutions, pads_odd, pads_something, pools
from convspec.harness.check import Array, Check
from convspec.harness.judge import Ask

clause = pytest.mark.clause
EXACT = ("integers", "impulse-x", "impulse-w")


def gradients(check: Check, **options: Any) -> st.SearchStrategy[Case]:
    """Convolutions to be pulled back."""
    return convolutions(check.dtype, op="conv2d_vjp", **({"recipes": EXACT} | options))


def pool_gradients(check: Check, **options: Any) -> st.SearchStrategy[Case]:
    """Max pools to be pulled back."""
    return pools(check.dtype, op="max_pool_vjp", **({"recipes": ("distinct", "negative")} | options))


@clause("conv2d-input-gradient", dtypes=FLOATS)
def test_conv2d_input_gradient(check: Check) -> None:
    """Each dy goes back along every tap that its output read."""
    check(gradients(check), only=("dx",))


@clause("conv2d-filter-gradient", dtypes=FLOATS)
def test_conv2d_filter_gradient(check: Check) -> None:
    """Each weight gathers dy times the pixel it met, over all positions and images."""
    check(gradients(check), only=("dw",))


@clause("conv2d-gradient-adjoint", dtypes=("float32", "float64"))
def test_conv2d_gradient_adjoint(check: Check) -> None:
    """<dy, conv(x, w)> = <dx, x> = <dw, w>, exactly on integers, with the backend's own forward."""

    def one_number_three_ways(ask: Ask, case: Case) -> str | None:
        data = arrays(case)
        y = ask(case.but(op="conv2d"), {n: data[n] for n in ("x", "w")})["y"]
        back = ask(case, data)
        inner = [
            _inner(data["dy"], check.whole(y)),
            _inner(check.whole(back["dx"]), data["x"]),
            _inner(check.whole(back["dw"]), data["w"]),
        ]
        if inner[0] == inner[1] == inner[2]:
            return None
        return f"<dy, y> = {inner[0]:g}, <dx, x> = {inner[1]:g}, <dw, w> = {inner[2]:g}"

    check.holds(gradients(check, recipes=("integers",), wide=(None, "h", "w")), one_number_three_ways, share=0.5)


def _inner(a: Array, b: Array) -> float:
    return float(np.sum(a.astype(np.longdouble) * b.astype(np.longdouble)))


@clause("conv2d-gradient-strides", dtypes=FLOATS)
def test_conv2d_gradient_strides(check: Check) -> None:
    """Strides, different on each axis."""
    check(gradients(check, strides=STRIDES[1:]))


@clause("conv2d-gradient-dilations", dtypes=FLOATS)
def test_conv2d_gradient_dilations(check: Check) -> None:
    """Dilations, different on each axis, strides beside them."""
    check(gradients(check, dilations=DILATIONS))


@clause("conv2d-gradient-padding", dtypes=FLOATS)
def test_conv2d_gradient_padding(check: Check) -> None:
    """SAME, the odd pixel included: what fell on padding is dropped."""
    check(gradients(check, paddings=("SAME",), where=pads_odd))


@clause("conv2d-gradient-explicit-padding", dtypes=FLOATS)
def test_conv2d_gradient_explicit_padding(check: Check) -> None:
    """Each side as given."""
    check(gradients(check, paddings=(None,)))


@clause("conv2d-gradient-groups", dtypes=FLOATS)
def test_conv2d_gradient_groups(check: Check) -> None:
    """Each group's gradient stays in its group."""
    check(gradients(check, groups=(2, 3, 4)))
    check(gradients(check, depthwise=True, channels=(2, 4)), share=0.4)


@clause("conv2d-gradient-unread-pixels", dtypes=FLOATS)
def test_conv2d_gradient_unread_pixels(check: Check) -> None:
    """A pixel that no window reads has a gradient of exactly zero."""
    strides = ((2, 3), (3, 2), (3, 3), (4, 5))
    kernels = ((1, 1), (2, 1), (1, 2), (2, 2), (3, 2))
    check(gradients(check, paddings=("VALID",), strides=strides, kernels=kernels), only=("dx",))


@clause("conv2d-gradient-nan", dtypes=FLOATS)
def test_conv2d_gradient_nan(check: Check) -> None:
    """A NaN in dy reaches exactly the pixels and weights of its taps."""
    valid = {"paddings": ("VALID",), "wide": (None, "cin")}
    check(gradients(check, recipes=("nan-in-dy",), **valid))
    apart = {"groups": (2, 3), "dilations": (*UNIT, (2, 1), (1, 2)), "paddings": ("VALID",), "wide": (None,)}
    check(gradients(check, recipes=("nan-in-dy",), **apart), share=0.3)
    # A gradient may be computed as a convolution of dy with zeros around and between: there the NaN may spread.
    thin = gradients(check, recipes=("nan-in-w-thin-dy", "nan-in-x-thin-dy"), **valid)
    check(thin, nan_may_spread=True, share=0.5)
    tap = Case("conv2d_vjp", (1, 3, 4, 2), (2, 2), filters=2, dtype=check.dtype, recipe="nan-in-dy-zero-tap")
    check.each([tap.but(seed=seed) for seed in range(3)])


@clause("conv2d-gradient-empty", dtypes=FLOATS)
def test_conv2d_gradient_empty(check: Check) -> None:
    """No image: dw is a sum of nothing, so zero, in its full shape. No output: all gradients are zero."""
    base = Case("conv2d_vjp", (0, 4, 5, 2), (3, 2), filters=3, dtype=check.dtype)
    empty = [base, base.but(padding="SAME", strides=(2, 1)), base.but(x=(0, 4, 5, 4), filters=6, groups=2)]
    nothing = [base.but(x=(1, 2, 2, 1), kernel=(3, 3)), base.but(x=(2, 1, 3, 2), kernel=(2, 2))]
    check.each([*empty, *nothing], may_refuse=True)


@clause("max-pool-gradient-first-maximum", dtypes=FLOATS)
def test_max_pool_gradient_first_maximum(check: Check) -> None:
    """Among equal maxima the first in row-major order takes it all."""
    smallest = [Case("max_pool_vjp", (1, 1, 2, 1), (1, 2), dtype=check.dtype, recipe="constant"),
                Case("max_pool_vjp", (1, 2, 1, 1), (2, 1), dtype=check.dtype, recipe="constant")]  # fmt: skip
    base = Case("max_pool_vjp", (2, 9, 12, 3), (3, 3), strides=(3, 3), dtype=check.dtype, recipe="ties")
    apart = [
        base.but(kernel=window, strides=window, padding=padding)
        for window in ((2, 2), (3, 3), (4, 4), (2, 3))
        for padding in ("VALID", "SAME")
    ]
    recipes = ("ties", "constant", "near-ties", "signed-zeros", "whole-range")
    check(pool_gradients(check, recipes=recipes), also=[*smallest, *apart])
    zeros = Case("max_pool_vjp", (1, 3, 4, 2), (2, 2), dtype=check.dtype, recipe="signed-zeros")
    check.each([*(zeros.but(seed=seed) for seed in range(3)), zeros.but(recipe="all-minus-inf")])


@clause("max-pool-gradient-overlaps-add", dtypes=FLOATS)
def test_max_pool_gradient_overlaps_add(check: Check) -> None:
    """A pixel that wins several windows gets the sum."""

    def overlaps(c: Case) -> bool:
        return all(s < k for s, k in zip(c.strides, c.kernel, strict=True))

    kernels = ((2, 2), (3, 3), (3, 2), (4, 4), (5, 3))
    check(pool_gradients(check, kernels=kernels, strides=(*UNIT, (2, 1), (1, 2), (2, 2)), where=overlaps))
    check(pool_gradients(check, recipes=("real-pool",), kernels=kernels, strides=UNIT), share=0.5)
    long = Case("max_pool_vjp", (1, 40, 3, 1), (3, 2), padding="SAME", dtype=check.dtype, recipe="real-pool")
    check.each([long, long.but(x=(1, 3, 70, 1), kernel=(2, 5)), long.but(x=(2, 33, 35, 1), kernel=(4, 4))])


@clause("max-pool-gradient-padding", dtypes=FLOATS)
def test_max_pool_gradient_padding(check: Check) -> None:
    """SAME and explicit pads: nothing goes to padding, nothing is moved."""
    check(pool_gradients(check, paddings=("SAME",), where=pads_something))
    check(pool_gradients(check, paddings=(None,)), share=0.5)
    lowest = Case("max_pool_vjp", (1, 3, 4, 2), (3, 3), padding="SAME", dtype=check.dtype, recipe="all-minus-inf")
    check.each([lowest, lowest.but(kernel=(2, 2), padding=((1, 0), (1, 1))), lowest.but(recipe="some-inf")])
    check(pool_gradients(check, paddings=("SAME", None), recipes=("all-minus-inf", "some-inf")), share=0.3)


@clause("max-pool-gradient-dilation", dtypes=FLOATS)
def test_max_pool_gradient_dilation(check: Check) -> None:
    """A dilated window's gradient goes to the tap that won."""
    check(pool_gradients(check, dilations=DILATIONS))


@clause("max-pool-gradient-nan", dtypes=FLOATS)
def test_max_pool_gradient_nan(check: Check) -> None:
    """The first NaN of a window takes the gradient."""
    check(pool_gradients(check, recipes=("nan-in-x", "some-nan")))
    check(pool_gradients(check, recipes=("nan-in-dy",)), share=0.5)


@clause("max-pool-gradient-no-valid-tap", dtypes=FLOATS)
def test_max_pool_gradient_no_valid_tap(check: Check) -> None:
    """A window without an element sends its gradient nowhere."""
    base = Case(
        "max_pool_vjp", (1, 1, 2, 1), (2, 1), padding="SAME", dilations=(2, 1), dtype=check.dtype, recipe="distinct"
    )
    check.each(
        [
            base,
            base.but(x=(1, 3, 1, 2), kernel=(1, 2), dilations=(1, 2)),
            base.but(kernel=(2, 2), dilations=(2, 2), x=(2, 1, 1, 3)),
        ]
    )


@clause("max-pool-gradient-empty", dtypes=FLOATS)
def test_max_pool_gradient_empty(check: Check) -> None:
    """No image, no gradient; no output, a gradient of zeros."""
    base = Case("max_pool_vjp", (0, 4, 5, 2), (2, 2), strides=(2, 2), dtype=check.dtype, recipe="distinct")
    check.each([base, base.but(padding="SAME"), base.but(x=(1, 2, 2, 1), kernel=(3, 3))], may_refuse=True)


@clause("gradient-type-and-shape", dtypes=FLOATS)
def test_gradient_type_and_shape(check: Check) -> None:
    """dx like x, dw like w: shape and dtype; also where x and w have one shape, and could be taken for each other."""
    alike = Case("conv2d_vjp", (2, 3, 2, 2), (2, 3), filters=2, padding="SAME", dtype=check.dtype)
    check.each([alike, alike.but(seed=1), alike.but(x=(2, 2, 3, 3), kernel=(2, 2), filters=3)])
    check(gradients(check), share=0.3)
    check(pool_gradients(check), share=0.3)
