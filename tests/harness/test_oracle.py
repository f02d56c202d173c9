"""The oracle: every right order of summation lies within the bound, and what is known to be wrong lies outside."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convspec.adapters.backend import Contract
from convspec.harness.cases.case import Case
from convspec.harness.cases.formats import FLOATS, dtype_of, round_to
from convspec.harness.cases.recipes import RECIPES, arrays, of_random_sign
from convspec.harness.oracle.bounds import accumulator_of, compare, delta
from convspec.harness.oracle.truth import quantum, truths

LONG = Case("conv2d", (1, 3, 4, 64), (3, 3), filters=2)


def products(case, data):
    """All products of each output element, (outputs, taps), in float64: exact for every type but float64."""
    x, w = data["x"].astype(np.float64), data["w"].astype(np.float64)
    kh, kw = case.kernel
    oh, ow = case.window.output
    windows = [x[0, i : i + kh, j : j + kw].reshape(-1) for i in range(oh) for j in range(ow)]
    return np.stack([np.stack([p * w[..., f].reshape(-1) for f in range(case.filters)]) for p in windows])


def in_order(terms, dtype, order):
    """Add the terms one by one in `dtype`."""
    total = np.zeros(terms.shape[:-1], dtype)
    for i in order:
        total = (total + terms[..., i].astype(dtype)).astype(dtype)
    return total


def shaped(case, values, dtype):
    return values.reshape(case.y).astype(dtype_of(dtype))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("recipe", ["real", "positive", "wide", "spikes", "statistical", "integers", "odd", "cancel"])
def test_every_order_of_summation_is_within_the_bound(dtype, recipe):
    for seed in range(5):
        case = LONG.but(dtype=dtype, recipe=recipe, seed=seed)
        data = arrays(case)
        (truth,) = truths(case, data)
        terms = products(case, data).astype(np.float32)
        n = terms.shape[-1]
        rng, sign = np.random.default_rng(seed), of_random_sign(case)
        orders = (range(n), range(n - 1, -1, -1), rng.permutation(n), np.argsort(terms[0, 0]))
        for order in orders:
            got = shaped(case, in_order(terms, np.float32, order), dtype)
            assert compare(got, truth, dtype, random_sign=sign) is None
        got = shaped(case, terms.sum(axis=-1, dtype=np.float64), dtype)
        assert compare(got, truth, dtype, random_sign=sign) is None


def compensated(terms):
    """Kahan's sum, in the type of the terms."""
    total = lost = terms.dtype.type(0)
    for one in terms:
        term = one - lost
        further = total + term
        total, lost = further, (further - total) - term
    return total


def test_a_compensated_sum_of_two_terms_among_zeros_is_within_the_bound():
    """What a first step of training gave a right backend; two roundings would not allow it, three do."""
    x, w = np.zeros((1, 4, 4, 1), np.float32), np.ones((4, 4, 1, 1), np.float32)
    x[0, 2, 0], x[0, 3, 0] = np.float32(0.2), np.float32(0.42745098)
    w[2, 0], w[3, 0] = np.float32(0.034865156), np.float32(0.021349456)
    (truth,) = truths(Case("conv2d", x.shape, (4, 4), filters=1, padding="VALID"), {"x": x, "w": w})
    got = np.full((1, 1, 1, 1), compensated((x[0] * w[..., 0, :]).ravel()))
    error = abs(float(got.item()) - float(truth.value.item()))
    assert error > 2.03 * 2.0**-24 * truth.terms.scale.item()
    assert compare(got, truth, "float32") is None
    assert delta(truth, "float32").item() < 3.01 * 2.0**-24 * truth.terms.scale.item()


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_lost_tap_is_outside_on_exact_data(dtype):
    case = Case("conv2d", (1, 3, 4, 3), (3, 3), filters=2, dtype=dtype, recipe="integers")
    data = arrays(case)
    (truth,) = truths(case, data)
    terms = products(case, data)
    for lost in range(terms.shape[-1]):
        kept = np.delete(terms, lost, axis=-1).sum(axis=-1)
        assert compare(shaped(case, kept, dtype), truth, dtype) is not None


def tf32(a):
    """Round float32 to 11 significant bits."""
    mantissa, exponent = np.frexp(a.astype(np.float64))
    return np.ldexp(np.rint(np.ldexp(mantissa, 11)), exponent - 11).astype(np.float32)


@pytest.mark.parametrize("taps", [3, 64, 512])
def test_tf32_and_bfloat16_inputs_are_seen_unless_declared(taps):
    case = Case("conv2d", (1, 3, 4, taps), (3, 3), filters=2, recipe="odd")
    data = arrays(case)
    (truth,) = truths(case, data)
    for rounded in (tf32(data["x"]), data["x"].astype(dtype_of("bfloat16")).astype(np.float32)):
        got = shaped(case, products(case, data | {"x": rounded}).sum(axis=-1), "float32")
        assert compare(got, truth, "float32") is not None
    got = shaped(case, products(case, data | {"x": tf32(data["x"])}).sum(axis=-1), "float32")
    assert compare(got, truth, "float32", Contract(tf32=True)) is None


@pytest.mark.parametrize("recipe", ["odd", "cancel"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_narrow_accumulator_is_outside(dtype, recipe):
    case = LONG.but(dtype=dtype, recipe=recipe)
    data = arrays(case)
    (truth,) = truths(case, data)
    terms = products(case, data)
    assert compare(in_order(terms, dtype_of(dtype), range(terms.shape[-1])).reshape(case.y), truth, dtype) is not None


@pytest.mark.parametrize("op", ["conv2d", "conv2d_vjp"])
@pytest.mark.parametrize(
    "recipe", ["integers", "impulse-x", "impulse-w", "powers", "odd", "odd-w", "odd-wide", "cancel"]
)
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_exact_recipes_are_exact(dtype, recipe, op):
    """Their bound is zero in the forward map, and for integers and impulses in both gradients."""
    if op == "conv2d_vjp" and recipe in ("odd", "odd-w", "odd-wide", "powers", "cancel"):
        pytest.skip("exact in the forward map only")
    for seed in range(3):
        for x, kernel, filters in (((2, 5, 6, 3), (2, 3), 3), ((1, 4, 5, 16), (3, 3), 4)):
            case = Case(op, x, kernel, filters, padding="SAME", dtype=dtype, recipe=recipe, seed=seed)
            for truth in truths(case, arrays(case)):
                assert not delta(truth, dtype).any()


@given(st.lists(st.floats(width=64, allow_nan=False), min_size=1, max_size=8))
def test_rounding_to_float16_and_float32_is_numpys(values):
    with np.errstate(over="ignore"):
        for name in ("float16", "float32"):
            assert np.array_equal(round_to(np.array(values), name), np.array(values).astype(name).astype(np.float64))


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_rounding_to_bfloat16_is_that_of_the_bits(value):
    """On float32 values, where one rounding is one rounding: nearest, ties to the even bit pattern."""
    bits = int(np.float32(value).view(np.uint32))
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    assert round_to(np.array([value]), "bfloat16")[0] == float(np.uint32(rounded).view(np.float32))


def test_rounding_to_bfloat16_happens_once():
    """Just above a tie: by way of float32 it would become the tie, and go to even."""
    value = 1 + 2.0**-8 + 2.0**-40
    assert round_to(np.array([value]), "bfloat16")[0] == 1 + 2.0**-7


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=6), st.integers(-60, 60))
def test_quantum_is_the_largest_power_of_two_that_divides(integers, shift):
    values = np.array([math.ldexp(i, shift) for i in integers])
    wanted = math.gcd(*integers)
    assert quantum(values) == (math.ldexp(wanted & -wanted, shift) if wanted else math.inf)


def test_an_infinity_and_a_nan_are_wanted_exactly_where_they_are_read():
    case = Case("conv2d", (1, 1, 4, 1), (1, 2), filters=1, recipe="integers")
    data = arrays(case)
    data["x"][0, 0, 0, 0] = np.nan
    (truth,) = truths(case, data)
    right = truth.value.astype(np.float32)
    assert compare(right, truth, "float32") is None
    assert compare(np.full_like(right, np.nan), truth, "float32") is not None
    assert compare(np.nan_to_num(right), truth, "float32") is not None


def test_overflow_is_judged_only_where_no_order_can_overflow():
    case = Case("conv2d", (1, 1, 1, 4), (1, 1), filters=1)
    big = np.float32(3e38)
    data = {"x": np.array([big, big, -big, -big]).reshape(case.x), "w": np.ones(case.w, np.float32)}
    (truth,) = truths(case, data)
    for answer in (np.nan, np.inf, 0.0):
        assert compare(np.full(case.y, answer, np.float32), truth, "float32") is None
    half = data | {"x": data["x"] / 8}
    assert compare(np.full(case.y, np.inf, np.float32), truths(case, half)[0], "float32") is not None


def test_saturating_instead_of_overflowing_is_wrong():
    case = Case("conv2d", (1, 1, 1, 2), (1, 1), filters=1, dtype="float16")
    data = {"x": np.full(case.x, 60000, np.float16), "w": np.ones(case.w, np.float16)}
    (truth,) = truths(case, data)
    assert compare(np.full(case.y, np.inf, np.float16), truth, "float16") is None
    assert compare(np.full(case.y, 65504, np.float16), truth, "float16") is not None


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_what_is_outside_is_more_than_one_bound_away(dtype):
    for seed in range(20):
        case = Case("conv2d", (1, 3, 4, 3), (3, 3), filters=2, dtype=dtype, recipe="real", seed=seed)
        data = arrays(case)
        (truth,) = truths(case, data)
        got = in_order(products(case, data), dtype_of(dtype), range(27)).reshape(case.y)
        wrong = compare(got, truth, dtype)
        assert wrong is None or wrong.error > wrong.bound


def test_a_declared_accumulator_counts_where_it_is_allowed_to():
    assert accumulator_of("float32", Contract(accumulate="float64")).name == "float64"
    assert accumulator_of("float64", Contract(accumulate="float32")).name == "float64"
    assert accumulator_of("float16", Contract(accumulate="float16")).name == "float16"
    assert accumulator_of("float16").name == "float32"


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_recipes_give_the_same_data_again_and_other_data_for_another_seed(name):
    pools = ("distinct", "negative", "ties", "near-ties", "constant", "all-minus-inf", "signed-zeros", "whole-range")
    pool = name in pools or "pool" in name or name.startswith("some-")
    op, kernel, filters = ("max_pool_vjp", (2, 2), 0) if pool else ("conv2d_vjp", (2, 2), 2)
    case = Case(op, (2, 4, 5, 2), kernel, filters, recipe=name, seed=1)
    one, again, other = arrays(case), arrays(case), arrays(case.but(seed=2))
    assert all(np.array_equal(one[k], again[k], equal_nan=True) for k in one)
    assert any(not np.array_equal(one[k], other[k], equal_nan=True) for k in one)
    assert all(a.dtype == np.float32 and a.flags.c_contiguous for a in one.values())


@pytest.mark.parametrize("recipe", ["all-minus-inf", "some-inf", "some-nan"])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((3, 0), (1, 2))])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_windows_left_open_send_no_gradient_and_only_they(recipe, padding, strides):
    """What reaches padding and holds nothing above minus infinity, by a loop over its elements."""
    case = Case("max_pool_vjp", (2, 5, 6, 3), (3, 2), strides=strides, padding=padding, dilations=(1, 2), recipe=recipe)
    for seed in range(4):
        data = arrays(case.but(seed=seed))
        (top, _), (left, _) = case.window.pads
        for (n, i, j, c), sent in np.ndenumerate(data["dy"]):
            taps = [(i * strides[0] - top + a, j * strides[1] - left + 2 * b) for a in range(3) for b in range(2)]
            inside = [data["x"][n, h, w, c] for h, w in taps if 0 <= h < 5 and 0 <= w < 6]
            assert (sent == 0) == (len(inside) < 6 and all(value == -np.inf for value in inside))


@pytest.mark.parametrize(
    ("recipe", "zeros", "case"),
    [
        ("inf-in-x-zero-w", "w", Case("conv2d", (2, 4, 5, 1), (1, 1), filters=1)),
        ("inf-in-x-zero-w", "w", Case("conv2d", (2, 4, 5, 3), (1, 1), filters=3, groups=3)),
        ("inf-in-w-zero-x", "x", Case("conv2d", (2, 1, 1, 1), (1, 1), filters=4)),
        ("nan-in-x-thin-dy", "dy", Case("conv2d_vjp", (1, 4, 2, 8), (3, 2), filters=1, strides=(2, 1))),
        ("nan-in-w-thin-dy", "dy", Case("conv2d_vjp", (3, 3, 2, 4), (3, 2), filters=2, groups=2)),
    ],
)
def test_no_product_is_by_a_lone_zero(recipe, zeros, case):
    """A scale of zero loses a NaN in BLAS. Where there are more numbers than one, zeros are what the recipe is for."""
    assert all(arrays(case.but(recipe=recipe, seed=seed))[zeros].all() for seed in range(8))
    more = case.but(x=(2, 6, 5, case.x[3]), kernel=(2, 2))
    assert not all(arrays(more.but(recipe=recipe, seed=seed))[zeros].all() for seed in range(8))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("slug", ["exact-on-lattice", "error-bound", "large-sums"])
def test_wider_sums_than_a_declared_narrow_accumulator_are_spared(dtype, slug):
    """Sums of more terms than 1 / u: the bound must not turn negative there."""
    from local import judge_of
    from mutants.suite import functions_of

    from convspec.harness.check import Check
    from convspec.harness.oracle.readings.correct import Correct
    from convspec.harness.verdict import Cell

    class Declares(Correct):
        contract = Contract(accumulate=dtype)

    cell = Cell(slug, "MUST", dtype, "declares")
    for function in functions_of(slug, dtype):
        function(Check(judge_of(Declares()), cell, level="quick", seed=20))
    assert cell.cases
    assert not cell.findings


@pytest.mark.parametrize(("dtype", "terms"), [("bfloat16", (768, 2, 2.0**-15)), ("float16", (2048, 1, 2.0**-13))])
def test_a_declared_wider_sum_may_be_cast_through_float32(dtype, terms):
    """A sum a little above the middle of two numbers of the type: float32 is the middle, which goes to the even one."""
    x = np.array(terms, dtype_of(dtype)).reshape(1, 1, 3, 1)
    case = Case("conv2d", x.shape, (1, 3), filters=1, padding="VALID", dtype=dtype)

    def judged(x, got):
        (truth,) = truths(case, {"x": x, "w": np.ones((1, 3, 1, 1), x.dtype)})
        return compare(got.reshape(1, 1, 1, 1), truth, dtype, Contract(accumulate="float64"))

    total = np.array([sum(terms)])
    once, twice = round_to(total, dtype).astype(x.dtype), total.astype(np.float32).astype(x.dtype)
    assert once.item() != twice.item()
    assert judged(x, once) is None
    assert judged(x, twice) is None
    x[0, 0, 2] *= 4  # now the middle is too far away to be taken for it
    assert judged(x, once) is None
    assert judged(x, twice)
