"""Max pooling: the maximum of the taps there are, to the bit (spec/max_pool.md)."""

import numpy as np
import pytest

from convspec.harness.cases.case import Case
from convspec.harness.cases.formats import FLOATS, INTEGERS
from convspec.harness.cases.recipes import arrays
from convspec.harness.cases.strategies import DILATIONS, convolutions, pads_something, pools
from convspec.harness.check import Check
from convspec.harness.judge import Ask, same_bits

clause = pytest.mark.clause


@clause("max-pool-maximum", dtypes=FLOATS)
def test_max_pool_maximum(check: Check) -> None:
    """The largest value of each window, over all sizes that kernels like to treat apart."""
    recipes = ("distinct", "negative", "ties", "near-ties", "real-pool", "whole-range")
    small = Case("max_pool", (1, 4, 5, 2), (2, 2), dtype=check.dtype)
    fixed = [small.but(recipe=recipe, seed=seed) for recipe in ("whole-range", "near-ties") for seed in (0, 1)]
    check(pools(check.dtype, recipes=recipes), also=fixed, share=1.5)


@clause("max-pool-padding-never-wins", dtypes=FLOATS)
def test_max_pool_padding_never_wins(check: Check) -> None:
    """All values negative: a padding of zero, or of any finite number, would show."""
    check(pools(check.dtype, paddings=("SAME",), recipes=("negative",), where=pads_something))


@clause("max-pool-all-minus-infinity", dtypes=FLOATS)
def test_max_pool_all_minus_infinity(check: Check) -> None:
    """A window of minus infinities has the maximum minus infinity."""
    smallest = Case("max_pool", (1, 1, 2, 1), (1, 2), dtype=check.dtype, recipe="all-minus-inf")
    check(pools(check.dtype, recipes=("all-minus-inf",)), also=[smallest], share=0.5)


@clause("max-pool-no-valid-tap", dtypes=FLOATS)
def test_max_pool_no_valid_tap(check: Check) -> None:
    """A window without a single element has the identity of the maximum."""
    base = Case(
        "max_pool", (1, 1, 2, 1), (2, 1), padding="SAME", dilations=(2, 1), dtype=check.dtype, recipe="distinct"
    )
    check.each(
        [
            base,
            base.but(x=(1, 3, 1, 2), kernel=(1, 2), dilations=(1, 2)),
            base.but(kernel=(2, 2), dilations=(2, 2), x=(2, 1, 1, 3)),
        ]
    )
    beyond = base.but(x=(1, 2, 3, 1), dilations=(1, 1), strides=(1, 2), padding=((0, 0), (3, 4)), kernel=(1, 2))
    check.each([beyond, beyond.but(x=(1, 3, 2, 2), kernel=(2, 1), strides=(2, 1), padding=((4, 3), (0, 1)))])


@clause("max-pool-type-unchanged", dtypes=(*FLOATS, *INTEGERS))
def test_max_pool_type_unchanged(check: Check) -> None:
    """Four axes in, four axes out, of the same dtype."""
    check(pools(check.dtype, recipes=("distinct", "ties")), share=0.4)


@clause("max-pool-nan", dtypes=FLOATS)
def test_max_pool_nan(check: Check) -> None:
    """A NaN in the window is the maximum."""
    smallest = [Case("max_pool", (1, 1, 3, 1), (1, 2), dtype=check.dtype, recipe="nan-in-x", seed=s) for s in range(4)]
    check(pools(check.dtype, recipes=("nan-in-x", "some-nan")), also=smallest)
    base = Case("max_pool", (1, 3, 20, 1), (1, 9), dtype=check.dtype, recipe="nan-in-x")
    longs = [base.but(kernel=(1, n), recipe=r) for n in (8, 9, 16, 17) for r in ("nan-in-x", "some-nan")]
    turned = [base.but(x=(1, 20, 3, 1), kernel=(n, 2)) for n in (8, 17)]
    tails = [base.but(x=(2, 3, 4, n), kernel=(2, 2), recipe="some-nan") for n in (5, 6, 7, 8, 9, 17, 33)]
    unread = base.but(x=(1, 5, 11, 2), kernel=(2, 2), strides=(3, 4), recipe="nan-unread")
    check.each([*longs, *turned, *tails, unread, unread.but(kernel=(1, 1), strides=(2, 3))])


@clause("max-pool-infinity", dtypes=FLOATS)
def test_max_pool_infinity(check: Check) -> None:
    """Plus infinity wins, minus infinity loses to every number."""
    check(pools(check.dtype, recipes=("some-inf", "inf-in-x", "minus-inf-in-x")), share=0.5)


@clause("max-pool-signed-zero", dtypes=("float32",))
def test_max_pool_signed_zero(check: Check) -> None:
    """Minus zero equals zero: which of them comes back is free."""
    check(pools(check.dtype, recipes=("signed-zeros",)), share=0.5)


@clause("max-pool-subnormals", dtypes=FLOATS)
def test_max_pool_subnormals(check: Check) -> None:
    """Subnormal maxima come back as they are."""
    check(pools(check.dtype, recipes=("subnormal-pool",)), flush=False, share=0.5)


@clause("max-pool-overlapping-windows", dtypes=FLOATS)
def test_max_pool_overlapping_windows(check: Check) -> None:
    """Windows that share pixels each see them."""

    def overlaps(c: Case) -> bool:
        return any(s < k for s, k in zip(c.strides, c.kernel, strict=True))

    check(pools(check.dtype, recipes=("distinct",), where=overlaps))


@clause("max-pool-window-larger-than-input", dtypes=FLOATS)
def test_max_pool_window_larger_than_input(check: Check) -> None:
    """Under SAME a window may be larger than the image."""

    def larger(c: Case) -> bool:
        return any(k > n for k, n in zip(c.kernel, c.x[1:3], strict=True))

    kernels = ((3, 3), (5, 4), (4, 7), (7, 2), (9, 9))
    check(pools(check.dtype, paddings=("SAME",), kernels=kernels, wide=(None,), where=larger))


@clause("max-pool-integers", dtypes=INTEGERS)
def test_max_pool_integers(check: Check) -> None:
    """Integers of the whole range, neighbours included that a float could not tell apart."""
    check(pools(check.dtype, recipes=("distinct", "negative", "ties")))
    apart = Case("max_pool", (1, 3, 4, 2), (2, 2), padding=((2, 2), (0, 3)), dtype=check.dtype, recipe="negative")
    check.each(apart.but(padding="SAME", recipe="distinct", seed=seed) for seed in range(6))
    check.each([apart, apart.but(recipe="distinct")])  # windows without an element: the lowest number of the type
    pooled = check.cell.refused < check.cell.cases  # the argmax alone would not make a type one that is pooled
    if pooled and check.judge.backend.hello.get("argmax"):
        check.each(
            [apart.but(op="max_pool_with_argmax", padding="VALID", recipe="distinct", seed=s) for s in range(3)],
            may_refuse=True,
        )


@clause("max-pool-dilation", dtypes=FLOATS)
def test_max_pool_dilation(check: Check) -> None:
    """A dilated window skips pixels."""
    check(pools(check.dtype, dilations=DILATIONS, recipes=("distinct", "negative")))


@clause("max-pool-explicit-padding", dtypes=FLOATS)
def test_max_pool_explicit_padding(check: Check) -> None:
    """Each side as given; padding never wins."""
    check(pools(check.dtype, paddings=(None,), recipes=("distinct", "negative")))


@clause("max-pool-channels-independent", dtypes=FLOATS)
def test_max_pool_channels_independent(check: Check) -> None:
    """Another channel's values change nothing."""

    def one_channel_alone(ask: Ask, case: Case) -> str | None:
        data = arrays(case)
        together = ask(case, data)["y"]
        for channel in range(case.x[3]):
            one = np.ascontiguousarray(data["x"][..., channel : channel + 1])
            alone = ask(case.but(x=(*case.x[:3], 1)), data | {"x": one})["y"]
            if not same_bits(np.ascontiguousarray(together[..., channel : channel + 1]), alone):
                return f"Channel {channel} has another answer among the others than alone."
        return None

    check.holds(
        pools(check.dtype, recipes=("distinct",), wide=(None, "h"), where=lambda c: c.x[3] > 1),
        one_channel_alone,
        share=0.5,
    )


@clause("max-pool-empty-batch", dtypes=FLOATS)
def test_max_pool_empty_batch(check: Check) -> None:
    """No image in, none out."""
    base = Case("max_pool", (0, 5, 6, 2), (2, 2), strides=(2, 2), dtype=check.dtype, recipe="distinct")
    empty = [base, base.but(padding="SAME"), base.but(kernel=(3, 3), strides=(1, 2))]
    check.each([*empty, base.but(x=(1, 5, 6, 0)), base.but(x=(2, 5, 6, 0), padding="SAME")], may_refuse=True)


@clause("max-pool-argmax-first", dtypes=FLOATS)
def test_max_pool_argmax_first(check: Check) -> None:
    """The argmax is the first maximum in row-major order."""
    check(pools(check.dtype, op="max_pool_with_argmax", recipes=("ties", "constant", "distinct")))
    base = Case("max_pool_with_argmax", (2, 3, 4, 2), (2, 2), padding="SAME", dtype=check.dtype)
    check.each(base.but(recipe=r, padding=p) for r in ("signed-zeros", "nan-in-x") for p in ("SAME", ((1, 0), (1, 1))))
    lowest = ("all-minus-inf", "some-inf", "some-nan")  # beside padding minus infinity is left open
    check.each(base.but(recipe=r, padding="VALID") for r in lowest)
    check.each([base.but(recipe="distinct", padding=((2, 2), (0, 0))), base.but(recipe="ties", dilations=(2, 2))])
    far = base.but(x=(1, 2, 32800, 1), kernel=(1, 2), strides=(1, 2), recipe="distinct")  # past 16 bits
    check.each([far, far.but(x=(1, 258, 260, 1), kernel=(2, 2), strides=(2, 2))], shadows=False)


@clause("convolution-activation-pooling", dtypes=("float32",))
def test_convolution_activation_pooling(check: Check) -> None:
    """Convolution, ReLU, pooling: the backend's two operations chained, on integers, to the bit."""

    def chained(ask: Ask, case: Case) -> str | None:
        data = arrays(case)
        hidden = np.maximum(check.whole(ask(case, data)["y"]), 0).astype(case.dtype)
        pool = Case("max_pool", hidden.shape, (2, 2), strides=(2, 2), padding="SAME", dtype=case.dtype)
        pooled = ask(pool, {"x": np.ascontiguousarray(hidden)})["y"].astype(np.float64)
        from convspec.reference import conv2d, max_pool

        exact = conv2d.forward(data["x"].astype(np.float64), data["w"].astype(np.float64), case.window, case.groups)
        wanted = max_pool.forward(np.maximum(exact, 0), pool.window)
        return None if np.array_equal(pooled, wanted) else "The chain differs from the reference's."

    check.holds(convolutions(check.dtype, paddings=("SAME",), recipes=("integers",)), chained)
