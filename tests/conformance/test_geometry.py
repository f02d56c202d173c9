"""Geometry: output sizes, padding and its sides (spec/geometry.md), read back through exact data."""

from collections.abc import Iterator
from typing import Any

import pytest

from convspec.harness.cases.case import Case
from convspec.harness.cases.formats import FLOATS
from convspec.harness.cases.strategies import (
    DILATIONS,
    STRIDES,
    UNIT,
    all_different,
    convolutions,
    pads_odd,
    pads_something,
    pools,
    total_padding,
)
from convspec.harness.check import Check

clause = pytest.mark.clause
IMPULSES = ("impulse-x", "impulse-w")


@clause("layout-nhwc-hwio", dtypes=FLOATS)
def test_layout_nhwc_hwio(check: Check) -> None:
    """Sizes that all differ: a swapped axis changes the shape or moves the impulse."""

    check.each(
        Case("conv2d", (2, h, 5, 3), (1, 4), filters=6, dtype=check.dtype, recipe=r, seed=h)
        for h in (7, 8, 9)
        for r in (*IMPULSES, "integers")
    )
    cube = Case("conv2d", (1, 3, 3, 3), (2, 2), filters=3, dtype=check.dtype, recipe="integers")
    alike = cube.but(x=(2, 3, 2, 2), kernel=(2, 3), filters=2, padding="SAME")
    check.each([cube, cube.but(layout="F"), cube.but(x=(1, 4, 4, 4), filters=1), cube.but(kernel=(3, 3)), alike])
    check(all_different(check.dtype, recipes=(*IMPULSES, "integers")), share=0.3)


@clause("valid-output-size", dtypes=FLOATS)
def test_valid_output_size(check: Check) -> None:
    """floor((n - k) / s) + 1, and no padding at all."""
    check(convolutions(check.dtype, paddings=("VALID",), recipes=IMPULSES))
    check(pools(check.dtype, paddings=("VALID",)), share=0.5)


@clause("same-output-size", dtypes=FLOATS)
def test_same_output_size(check: Check) -> None:
    """ceil(n / s), whatever the kernel."""
    check(convolutions(check.dtype, paddings=("SAME",), strides=STRIDES[1:]))
    check(pools(check.dtype, paddings=("SAME",), strides=STRIDES[1:]), share=0.5)


@clause("same-total-padding", dtypes=FLOATS)
def test_same_total_padding(check: Check) -> None:
    """The padding that the last window needs, and not the kernel's own k - 1."""

    def differs(c: Case) -> bool:
        return total_padding(c) != tuple(k - 1 for k in c.kernel)

    check(convolutions(check.dtype, paddings=("SAME",), strides=STRIDES[1:], recipes=IMPULSES, where=differs))


@clause("same-odd-pixel-last", dtypes=FLOATS)
def test_same_odd_pixel_last(check: Check) -> None:
    """An odd total: one pixel more after the last element, for convolution and for pooling."""
    check(
        convolutions(check.dtype, paddings=("SAME",), recipes=IMPULSES, where=pads_odd),
        also=[Case("conv2d", (1, 1, 2, 1), (1, 2), filters=1, padding="SAME", dtype=check.dtype, recipe="impulse-w")],
    )
    check(pools(check.dtype, paddings=("SAME",), recipes=("distinct",), where=pads_odd), share=0.5)


@clause("same-minimal-padding", dtypes=FLOATS)
def test_same_minimal_padding(check: Check) -> None:
    """Where the stride is the larger, nothing is padded that no window needs."""

    def wide(c: Case) -> bool:
        return any(s > k for s, k in zip(c.strides, c.kernel, strict=True))

    kernels = ((1, 1), (1, 2), (2, 1), (2, 2), (3, 3))
    check(convolutions(check.dtype, paddings=("SAME",), kernels=kernels, strides=STRIDES[1:], where=wide))
    check(pools(check.dtype, paddings=("SAME",), kernels=kernels, strides=STRIDES[1:], where=wide), share=0.5)


@clause("same-stride-one-keeps-size", dtypes=FLOATS)
def test_same_stride_one_keeps_size(check: Check) -> None:
    """Even kernels included."""
    check(convolutions(check.dtype, paddings=("SAME",), strides=UNIT))
    check(pools(check.dtype, paddings=("SAME",), strides=UNIT), share=0.5)


@clause("effective-kernel", dtypes=FLOATS)
def test_effective_kernel(check: Check) -> None:
    """A dilated kernel reaches (k - 1) d + 1 pixels."""
    check(convolutions(check.dtype, paddings=("VALID",), dilations=DILATIONS, recipes=IMPULSES))


@clause("same-with-dilation", dtypes=FLOATS)
def test_same_with_dilation(check: Check) -> None:
    """SAME pads for the effective kernel; stride and dilation together included."""
    check(convolutions(check.dtype, paddings=("SAME",), dilations=DILATIONS, where=pads_something))


@clause("explicit-padding", dtypes=FLOATS)
def test_explicit_padding(check: Check) -> None:
    """Each side as given, none like another."""

    def asymmetric(c: Case) -> bool:
        return len({*c.padding[0], *c.padding[1]}) > 2

    check(convolutions(check.dtype, paddings=(None,), where=asymmetric))
    check(convolutions(check.dtype, paddings=(None,), dilations=DILATIONS), share=0.5)


@clause("size-formula", dtypes=FLOATS)
def test_size_formula(check: Check) -> None:
    """floor((n - k + before + after) / s) + 1: the p of a formula with 2p is per side."""
    symmetric = (((1, 1), (2, 2)), ((2, 2), (1, 1)), ((0, 0), (3, 3)), ((2, 2), (2, 2)))
    kernels = ((3, 3), (5, 5), (3, 5), (4, 4))
    check(convolutions(check.dtype, paddings=symmetric, kernels=kernels, where=lambda c: c.padding != "SAME"))


@clause("same-lower", dtypes=("float32",))
def test_same_lower(check: Check) -> None:
    """Where it is accepted, the odd pixel goes first."""
    lower: dict[str, Any] = {"paddings": ("SAME_LOWER",), "where": pads_odd}
    check(convolutions(check.dtype, recipes=IMPULSES, **lower), may_refuse=True)
    check(convolutions(check.dtype, op="conv2d_vjp", recipes=("integers",), **lower), may_refuse=True, share=0.5)
    check(pools(check.dtype, recipes=("distinct",), **lower), may_refuse=True, share=0.5)
    check(pools(check.dtype, op="max_pool_vjp", recipes=("distinct",), **lower), may_refuse=True, share=0.5)
    lower["dilations"] = DILATIONS
    check(convolutions(check.dtype, recipes=("integers",), **lower), may_refuse=True, share=0.3)
    check(pools(check.dtype, recipes=("distinct",), **lower), may_refuse=True, share=0.3)


@clause("per-axis-attributes", dtypes=FLOATS)
def test_per_axis_attributes(check: Check) -> None:
    """Strides and kernels that differ between height and width."""

    def differs(c: Case) -> bool:
        return c.strides[0] != c.strides[1] and c.kernel[0] != c.kernel[1]

    check(convolutions(check.dtype, where=differs))
    check(pools(check.dtype, where=differs), share=0.5)


@clause("stride-skips-pixels", dtypes=FLOATS)
def test_stride_skips_pixels(check: Check) -> None:
    """A stride beyond the kernel reads the pixels in between never."""

    def skips(c: Case) -> bool:
        return all(s > k for s, k in zip(c.strides, c.kernel, strict=True))

    kernels = ((1, 1), (2, 1), (1, 2), (2, 2))
    strides = ((2, 3), (3, 2), (3, 3), (4, 3), (5, 7))
    check(convolutions(check.dtype, paddings=("VALID",), kernels=kernels, strides=strides, where=skips))
    check(pools(check.dtype, paddings=("VALID",), kernels=kernels[1:], strides=strides, where=skips), share=0.5)


def _too_large(op: str, dtype: str) -> Iterator[Case]:
    """Kernels that do not fit their input, smallest first: nothing to compute, so an empty output."""
    for kernel, size in (((3, 3), (2, 2)), ((2, 1), (1, 3)), ((1, 3), (4, 2)), ((5, 5), (1, 1)), ((3, 2), (2, 1))):
        for strides in ((1, 1), (2, 3)):
            filters = 2 if op == "conv2d" else 0
            yield Case(
                op,
                (1, *size, 1),
                kernel,
                filters=filters,
                strides=strides,
                dtype=dtype,
                recipe="real" if filters else "real-pool",
            )


@clause("conv2d-empty-output", dtypes=FLOATS)
def test_conv2d_empty_output(check: Check) -> None:
    """VALID with the kernel larger than the input gives size 0, or a clear refusal."""
    check.each(_too_large("conv2d", check.dtype), may_refuse=True)
    dilated = Case("conv2d", (1, 3, 4, 1), (2, 2), 1, dilations=(3, 1), dtype=check.dtype)
    check.each([dilated, dilated.but(x=(2, 3, 4, 2))], may_refuse=True)


@clause("max-pool-empty-output", dtypes=FLOATS)
def test_max_pool_empty_output(check: Check) -> None:
    """The same for pooling."""
    check.each(_too_large("max_pool", check.dtype), may_refuse=True)
