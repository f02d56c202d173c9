"""The statistical tier: right sums are as good as they say, in any order; what is worse is called by its name."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from local import LocalBackend, check_of

from convspec.adapters.backend import Contract
from convspec.conformance import test_numerics as numerics
from convspec.harness.cases.case import Case
from convspec.harness.cases.formats import FORMATS, round_to
from convspec.harness.cases.measured import measured, tiled
from convspec.harness.cases.recipes import RANDOM_SIGN, RECIPES, arrays, of_random_sign
from convspec.harness.oracle import readings
from convspec.harness.oracle.bounds import DIRECT, compare, delta
from convspec.harness.oracle.precision import Sample
from convspec.harness.oracle.readings.rounding import round_bits, truncate_bits
from convspec.harness.oracle.statistics import REACH, bias_limit, element_bound, growth, limit, outside_cell, sigma
from convspec.harness.oracle.transforms import ORDER, TILE_REACH, algorithm, leaks, probes
from convspec.harness.oracle.truth import truths
from convspec.harness.verdict import State

LONG = Case("conv2d", (1, 8, 9, 64), (3, 3), filters=8, recipe="statistical")
CHECKS = {
    "effective-precision": numerics.test_effective_precision,
    "effective-precision-gradients": numerics.test_effective_precision_gradients,
    "algorithm-declared": numerics.test_algorithm_declared,
}


def judged(backend, slug, dtype="float32", level="quick"):
    check = check_of(backend, slug, dtype, level)
    CHECKS[slug](check)
    check.cell.conclude()
    return check.cell


def sequential(case, data, dtype):
    """conv2d under VALID, one product after the other, in `dtype`."""
    x, w = data["x"].astype(dtype), data["w"].astype(dtype)
    y = np.zeros(case.y, dtype)
    oh, ow = case.window.output
    for i, j, c in np.ndindex(*case.kernel, case.x[3]):
        y = (y + x[:, i : i + oh, j : j + ow, c, None] * w[i, j, c]).astype(dtype)
    return y


def sample_of(case, change=lambda name, a: a, contract=DIRECT, dtype=np.float32):
    data = arrays(case)
    sample = Sample("y", case.dtype, contract)
    got = sequential(case, {name: change(name, a) for name, a in data.items()}, dtype)
    sample.add(case, truths(case, data)[0], got)
    return sample


# ---- the formulas ------------------------------------------------------------------------------------------------


def test_growth_is_the_mean_of_all_partial_sums():
    for n in range(1, 40):
        partial = sum(k / n for k in range(2, n + 1))  # the squares of a walk's sums, in units of its last
        assert math.isclose(float(growth(np.array(float(n)))), partial + 1)


def test_sigma_is_that_of_roundings_at_random():
    """Errors drawn uniformly from half a unit of the largest mantissa: what sigma is the bound of."""
    rng = np.random.default_rng(3)
    terms = rng.uniform(0.5, 1, (20_000, 64)) * rng.choice((-1, 1), (20_000, 64))
    u, sums = FORMATS["float32"].unit, np.cumsum(terms, axis=1)
    error = (terms * rng.uniform(-u, u, terms.shape)).sum(axis=1)
    error += (sums[:, 1:] * rng.uniform(-u, u, sums[:, 1:].shape)).sum(axis=1)
    spread = (terms**2).sum(axis=1)
    expected = u**2 / 3 * spread * float(growth(np.array(64.0)))
    assert abs(np.mean(error**2 / expected) - 1) < 0.05


def test_the_limit_holds_for_independent_errors_as_often_as_it_says():
    rng = np.random.default_rng(5)
    for elements in (100, 1000):
        squares = rng.standard_normal((4000, elements)) ** 2
        assert (squares.mean(axis=1) > limit(elements, alpha=0.01)).mean() < 0.01
        assert (np.abs(rng.standard_normal((4000, elements)).mean(axis=1)) > bias_limit(elements, 0.01)).mean() < 0.01


def test_no_sequential_sum_strays_as_far_as_the_reach():
    """The worst order: the tail of 100000 of them falls fast enough for a billion to stay below the reach."""
    rng = np.random.default_rng(7)
    terms = (rng.uniform(0.5, 1, (200, 100_000)) * rng.choice((-1, 1), (200, 100_000))).astype(np.float32)
    total, true = np.zeros(100_000, np.float32), terms.sum(axis=0, dtype=np.float64)
    for term in terms:
        total = total + term
    spread = np.sqrt((terms.astype(np.float64) ** 2).sum(axis=0))
    reach = np.abs(total - true) / (FORMATS["float32"].unit * spread * math.sqrt(203 / 2))
    for c in (1.0, 1.5, 2.0, 2.5, 3.0):
        assert (reach > c).mean() < 4 * math.exp(-2.6 * c)
    assert 4 * math.exp(-2.6 * REACH) * 1e9 < 1e-2


@given(st.floats(-1e4, 1e4), st.sampled_from(("float16", "bfloat16", "float32")))
def test_what_is_rounded_right_lies_in_its_cell(y, name):
    got = round_to(np.array([y]), name)
    assert outside_cell(got, np.array([y]), FORMATS[name])[0] == 0


@given(st.integers(-2000, 2000), st.sampled_from(("float16", "bfloat16")))
def test_the_neighbour_is_outside_by_the_distance_to_the_midpoint(integer, name):
    spacing = 2.0 ** -(FORMATS[name].precision - 1)
    got = 1 + spacing  # 1 + one spacing: its cell begins half a spacing below
    y = 1 + spacing * integer / 4096
    expected = max(1 + spacing / 2 - y, 0)
    assert math.isclose(outside_cell(np.array([got]), np.array([y]), FORMATS[name])[0], expected, abs_tol=1e-15)
    assert math.isclose(outside_cell(np.array([-got]), np.array([-y]), FORMATS[name])[0], -expected, abs_tol=1e-15)


# ---- one element -------------------------------------------------------------------------------------------------


def test_an_elements_bound_is_the_smaller_one_from_nine_terms_on():
    for taps, smaller in ((1, False), (2, True), (64, True)):
        case = Case("conv2d", (1, 8, 9, taps), (2, 4), filters=2, recipe="statistical")
        (truth,) = truths(case, arrays(case))
        one, both = (delta(truth, "float32", random_sign=sign) for sign in (False, True))
        assert (both < one).all() == smaller
        assert (both <= one).all()


@pytest.mark.parametrize("recipe", sorted(RANDOM_SIGN))
def test_products_of_random_sign_are_not_of_one_sign(recipe):
    case = LONG.but(recipe=recipe)
    assert of_random_sign(case)
    assert not of_random_sign(case.but(layout="broadcast"))
    (signs,) = truths(case, {name: np.sign(a) for name, a in arrays(case).items()})
    assert (np.abs(signs.value) < 5 * np.sqrt(signs.terms.count)).all()


def test_a_lost_tap_among_4608_is_outside_on_real_data():
    case = Case("conv2d", (1, 3, 4, 512), (3, 3), filters=2, recipe="statistical")
    data = arrays(case)
    (truth,) = truths(case, data)
    less = data | {"w": data["w"].copy()}
    less["w"][1, 1, 77] = 0
    got = sequential(case, less, np.float64).astype(np.float32)
    assert compare(got, truth, "float32", random_sign=True) is not None
    assert compare(sequential(case, data, np.float32), truth, "float32", random_sign=True) is None


def test_declared_tf32_widens_an_elements_bound_by_its_own_variance():
    (truth,) = truths(LONG, arrays(LONG))
    plain, wider = (element_bound(truth.terms, FORMATS["float32"], Contract(tf32=tf32)) for tf32 in (False, True))
    assert np.allclose(wider**2 - plain**2, REACH**2 * 2 * 2.0**-22 * truth.terms.squares, rtol=1e-6)
    assert (sigma(truth.terms, FORMATS["float32"], tf32=True) > sigma(truth.terms, FORMATS["float32"])).all()


# ---- many elements: names ----------------------------------------------------------------------------------------

CHANGES = {
    "TF32 (11": lambda name, a: round_bits(a, 11),
    "bfloat16 (8": lambda name, a: round_bits(a, 8),
    "two bfloat16 terms (17": lambda name, a: round_bits(a, 8) + round_bits(a - round_bits(a, 8), 8),
    "toward zero": lambda name, a: truncate_bits(a, 11),
}


@pytest.mark.parametrize("name", CHANGES)
def test_rounded_inputs_are_called_by_their_name(name):
    said = Sample("y", "float32", Contract())
    for case in (LONG, LONG.but(x=(1, 12, 15, 1)), LONG.but(x=(1, 8, 9, 8))):
        said.take(*sample_of(case, CHANGES[name]).ordinary)
    assert name in said.verdict()
    assert "declares float32" in said.verdict()


def test_narrow_sums_grow_with_the_terms_and_are_told_from_narrow_inputs():
    said = Sample("y", "float64", Contract())
    for channels in (1, 8, 64):
        said.take(*sample_of(LONG.but(x=(1, 8, 9, channels), dtype="float64"), dtype=np.float32).ordinary)
    assert "float32 sums (24" in said.verdict()


def test_a_right_sum_has_its_bits_in_the_worst_order_too():
    for dtype, bits in (("float32", 24), ("float64", 53)):
        sample = sample_of(LONG.but(dtype=dtype), dtype=dtype)
        assert sample.verdict() == ""
        assert bits < sample.bits < bits + 1


def test_a_declared_float64_accumulator_is_seen_through_float32():
    contract = Contract(accumulate="float64")
    wide = Sample("y", "float32", contract)
    data = arrays(LONG)
    wide.add(LONG, truths(LONG, data)[0], sequential(LONG, data, np.float64).astype(np.float32))
    assert wide.verdict() == ""
    assert "declares float64, behaves like float32 sums" in sample_of(LONG, contract=contract).verdict()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("op", ["conv2d", "conv2d_vjp"])
def test_cancelling_sums_cancel_in_every_result(dtype, op):
    case = Case(op, (4, 5, 6, 6), (3, 3), filters=4, padding="SAME", dtype=dtype, recipe="near-zero")
    for truth in truths(case, arrays(case)):
        assert (np.abs(truth.value) <= 2.0**-20 * truth.terms.scale).all()
        assert (truth.terms.scale > 0).all()


# ---- the checks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Sequential", "Fused", "Blocked", "Float64Sums", "Tf32", "Tf32DeclaredUnused"])
def test_right_backends_are_spared(name):
    for slug in ("effective-precision", "effective-precision-gradients"):
        cell = judged(readings.spared()[name](), slug)
        assert cell.state == State.PASS, cell.findings
        assert all(math.isfinite(bits) for bits in cell.precision.values())


def test_declared_tf32_has_eleven_bits():
    cell = judged(readings.spared()["Tf32"](), "effective-precision")
    assert abs(cell.precision["y"] - 11) < 0.3


SEEN = {
    "Tf32Inputs": ("effective-precision", "y declares float32, behaves like TF32 (11.0 bits)"),
    "DeclaresTf32IsBfloat16": ("effective-precision", "declares TF32, behaves like bfloat16"),
    "SumsTruncate": ("effective-precision", "rounded toward zero"),
    "SumsRoundDown": ("effective-precision", "rounded downward"),
    "DeclaresFloat64Sums": ("effective-precision", "declares float64, behaves like float32 sums"),
    "Tf32FilterGradient": ("effective-precision-gradients", "dw declares float32, behaves like TF32"),
    "WinogradSmallUndeclared": ("algorithm-declared", "behaves like Winograd"),
    "FftUndeclared": ("algorithm-declared", "behaves like an FFT"),
}


@pytest.mark.parametrize("name", SEEN)
def test_wrong_backends_are_called_by_their_name(name):
    slug, words = SEEN[name]
    cell = judged(readings.known()[name](), slug)
    assert cell.state == State.FAIL
    assert words in cell.findings[0].message
    assert cell.findings[0].case is not None


@pytest.mark.parametrize(("name", "seen"), [("Winograd23", "winograd"), ("Winograd43", "winograd"), ("Fft", "fft")])
def test_a_declared_transform_is_seen_and_spared_and_may_not_reach_further(name, seen):
    cls = readings.spared()[name]
    cell = judged(cls(), "algorithm-declared")
    assert (cell.state, cell.reading) == (State.PASS, seen)
    less = type(name, (cls,), {"contract": {"algorithm": ORDER[ORDER.index(seen) - 1]}})
    assert judged(less(), "algorithm-declared").state == State.FAIL


def test_a_probe_tells_by_distance():
    case = next(iter(tiled("float32", "quick")))
    data = arrays(case)
    (truth,) = truths(case, data)
    probe = probes(case, data)[0]
    before = truth.value.astype(np.float32)
    assert algorithm(probe, leaks(probe, before, before, truth, "float32", Contract())) == "direct"
    for far, name in ((TILE_REACH, "winograd"), (TILE_REACH + 1, "fft")):
        after = before.copy()
        after[tuple(np.argwhere(probe.untouched & (probe.distance == far))[0])] += 1
        assert algorithm(probe, leaks(probe, before, after, truth, "float32", Contract())) == name


# ---- the data ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["quick", "standard"])
@pytest.mark.parametrize("op", ["conv2d", "conv2d_vjp"])
def test_the_measured_cases_have_elements_enough_and_sums_of_all_lengths(op, level):
    counts, elements = {}, {}
    for case in measured(op, "float32", level, narrow=False):
        for truth in truths(case, arrays(case)):
            counts.setdefault(truth.name, []).append(float(truth.terms.count.max()))
            elements.setdefault(truth.name, []).append(truth.value.size)
    for name, found in counts.items():
        assert max(found) >= 2000, name
        assert elements[name][int(np.argmax(found))] >= 100
        assert any(size >= 100 for n, size in zip(found, elements[name], strict=True) if n <= 36)
    assert not [r for r in RANDOM_SIGN if r not in RECIPES]


def test_a_backend_without_gradients_is_unsupported_there():
    class Forward(readings.spared()["Im2col"]):
        conv2d_vjp = None

    assert LocalBackend(Forward()).hello["missing"] == ["conv2d_vjp"]
    assert judged(Forward(), "effective-precision-gradients").state == State.UNSUPPORTED
