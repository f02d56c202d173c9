"""NaN, infinities, padding, types, empties, and what a call leaves alone; the fast form and the definition alike."""

import warnings

import ml_dtypes
import numpy as np
import pytest

import convspec
from convspec.reference import blocks, conv2d, correlate, definition, geometry, max_pool

FORMS = [convspec, definition]
FLOATS = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16]
INTEGERS = [np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]


@pytest.fixture(params=["in one step", "in blocks"], autouse=True)
def path(request, monkeypatch):
    """Both ways of the fast form: small convolutions in one step, and the general one."""
    conv2d._small.cache_clear()
    if request.param == "in blocks":
        monkeypatch.setattr(correlate, "SMALL", 0)
    yield
    conv2d._small.cache_clear()


def _equal(got, expected):
    return got.dtype == expected.dtype and np.array_equal(
        got.astype(np.float64), expected.astype(np.float64), equal_nan=True
    )


def _random(seed, shape, dtype=np.float64):
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(dtype)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_padding_is_absent_under_weights_that_are_not_finite(form, value):
    w = np.ones((3, 3, 1, 2))
    w[0, 0, 0, 0] = value
    y = form.conv2d(np.ones((1, 3, 3, 1)), w, padding="SAME")
    hit = np.zeros((3, 3), bool)
    hit[1:, 1:] = True  # where the first tap lies on the image
    assert np.array_equal(np.isfinite(y[0, :, :, 0]), ~hit)
    assert y[0, 0, 0, 0] == 4
    assert np.isfinite(y[..., 1]).all()


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((3, 1), (0, 4))])
@pytest.mark.parametrize("where", ["x", "w", "dy"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_fast_form_and_definition_agree_on_what_is_not_finite(groups, padding, where, value):
    for seed in range(6):
        case = {
            "strides": (1 + seed % 2, 1 + seed // 3),
            "padding": padding,
            "dilations": 1 + seed % 3,
            "groups": groups,
        }
        operands = {"x": _random(seed, (2, 7, 6, 4)), "w": _random(seed + 9, (3, 2, 4 // groups, 4))}
        operands["dy"] = _random(seed, convspec.conv2d(**operands, **case).shape)
        if operands[where].size:
            operands[where].flat[seed * 5 % operands[where].size] = value
        dy = operands.pop("dy")
        assert _equal(convspec.conv2d(**operands, **case), definition.conv2d(**operands, **case))
        ours = convspec.conv2d_vjp(**operands, dy=dy, **case)
        for got, expected in zip(ours, definition.conv2d_vjp(**operands, dy=dy, **case), strict=True):
            assert _equal(got, expected)


@pytest.mark.parametrize("filters", [1, 3])
@pytest.mark.parametrize("pixels", [1, 5])
def test_zero_times_infinity_is_nan_in_every_shape_of_product(filters, pixels):
    """A product that skips zeros, as some matrix-vector kernels do, would lose it."""
    x, w = np.zeros((1, 1, pixels, 3)), np.ones((1, 1, 3, filters))
    w[0, 0, 1, 0] = np.inf
    assert np.isnan(convspec.conv2d(x, w, padding="VALID")[..., 0]).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_pool_passes_nan_on_and_sends_it_to_the_first(form, dtype):
    x = np.array([[1, np.nan, 9], [np.nan, 2, np.inf]]).astype(dtype).reshape(1, 2, 3, 1)
    pool = {"ksize": 2, "strides": 1, "padding": "VALID"}
    assert np.isnan(form.max_pool(x, **pool).astype(float)).all()
    assert form.max_pool_with_argmax(x, **pool)[1].ravel().tolist() == [1, 1]
    dx = form.max_pool_vjp(x, np.ones((1, 1, 2, 1), dtype), **pool)
    assert dx.astype(float).ravel().tolist() == [0, 2, 0, 0, 0, 0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_window_without_a_tap_gives_the_identity_and_sends_nothing(form, dtype):
    x = np.ones((1, 1, 1, 1), dtype)
    pool = {"ksize": 2, "strides": 1, "padding": "SAME", "dilations": 2}
    lowest = np.iinfo(dtype).min if np.dtype(dtype).kind in "iu" else -np.inf
    y, at = form.max_pool_with_argmax(x, **pool)
    assert y.dtype == x.dtype
    assert y.item() == lowest
    assert at.item() == -1
    assert form.max_pool_vjp(x, x, **pool).item() == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_all_minus_infinity_has_a_first_maximum(form, dtype):
    x = np.full((1, 3, 3, 2), -np.inf).astype(dtype)
    pool = {"ksize": 2, "strides": 2, "padding": "SAME"}
    y, at = form.max_pool_with_argmax(x, **pool)
    assert (y.astype(float) == -np.inf).all()
    assert at[0, 0, 0].tolist() == [0, 1]
    assert at[0, 1, 1].tolist() == [16, 17]
    assert form.max_pool_vjp(x, np.ones((1, 2, 2, 2), dtype), **pool).astype(float).sum() == 8


def test_zeros_of_either_sign_are_equal():
    x = np.array([-0.0, 0.0, 0.0]).reshape(1, 1, 3, 1)
    assert convspec.max_pool_with_argmax(x, ksize=(1, 3), strides=1, padding="VALID")[1].item() == 0


@pytest.mark.parametrize("dtype", FLOATS)
def test_types_are_kept(dtype):
    x, w = _random(1, (1, 4, 4, 2), dtype), _random(2, (2, 2, 2, 3), dtype)
    y = convspec.conv2d(x, w, padding="SAME", bias=np.ones(3, dtype))
    assert y.dtype == dtype
    assert _equal(y, definition.conv2d(x, w, padding="SAME", bias=np.ones(3, dtype)))
    ours, theirs = (form.conv2d_vjp(x, w, y, padding="SAME") for form in FORMS)
    assert all(a.dtype == dtype and _equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_pools_take_integers(dtype):
    info = np.iinfo(dtype)
    x = np.array([info.min, info.max, info.min, info.min], dtype).reshape(1, 2, 2, 1)
    for form in FORMS:
        y = form.max_pool(x, ksize=2, strides=1, padding="SAME")
        assert y.dtype == dtype
        assert y.ravel().tolist() == [info.max, info.max, info.min, info.min]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_narrow_sums_are_made_wide_and_rounded_once(dtype):
    """4096 ones: a float16 or bfloat16 accumulator stops growing at 2048 or 256."""
    ones = np.ones((1, 8, 8, 64), dtype)
    assert float(convspec.conv2d(ones, ones.reshape(8, 8, 64, 1), padding="VALID").item()) == 4096
    w = np.ones((1, 1, 64, 1), dtype)
    _, dw = convspec.conv2d_vjp(np.ones((64, 8, 8, 64), dtype), w, np.ones((64, 8, 8, 1), dtype), padding="VALID")
    assert (dw.astype(float) == 4096).all()
    # One maximum shared by 1024 windows: alone, ones stop adding up at 256 in bfloat16.
    x = np.zeros((1, 63, 63, 1), dtype)
    x[0, 31, 31] = 1
    dx = convspec.max_pool_vjp(x, np.ones((1, 32, 32, 1), dtype), ksize=32, strides=1, padding="VALID")
    assert float(dx[0, 31, 31, 0]) == 1024


@pytest.mark.parametrize("form", FORMS)
def test_rounding_happens_once_and_after_the_bias(form):
    """1 + 2^-8 + 2^-30 lies above the midpoint of bfloat16's 1 and 1 + 2^-7; half-way stops would round it down."""
    dtype = ml_dtypes.bfloat16
    x = np.array([2.0**-8, 2.0**-22]).astype(dtype).reshape(1, 1, 1, 2)
    y = form.conv2d(x, np.ones((1, 1, 2, 1), dtype), padding="VALID", bias=np.ones(1, dtype))
    assert float(y.item()) == 1 + 2**-7


def test_definition_rounds_float64_to_bfloat16_once():
    wide = np.array(
        [1 + 2**-8 + 2**-40, -(1 + 2**-8 + 2**-40), 1 + 2**-8, 1 + 2**-8 - 2**-40, np.inf, np.nan, 3.4e38, 0]
    )
    got = definition._rounded(wide.tolist(), (8,), np.dtype(ml_dtypes.bfloat16)).astype(float)
    up = 1 + 2**-7
    assert np.array_equal(got, [up, -up, 1, 1, np.inf, np.nan, np.inf, 0], equal_nan=True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(0, 4, 4, 2), (2, 0, 4, 2), (2, 4, 0, 2), (2, 4, 4, 0), (0, 0, 0, 0)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 2), (2, 1))])
@pytest.mark.parametrize("filters", [0, 3])
def test_empties(form, shape, padding, filters):
    x, w = np.ones(shape), np.ones((2, 2, shape[3], filters))
    y = form.conv2d(x, w, padding=padding, bias=np.full(filters, 5.0))
    if 0 in (shape[1], shape[2], shape[3]):
        assert (y == 5).all()  # an empty sum, and the bias
    dx, dw = form.conv2d_vjp(x, w, y, padding=padding)
    assert dx.shape == x.shape
    assert dw.shape == w.shape
    if not x.size:
        assert (dw == 0).all()
    pooled, at = form.max_pool_with_argmax(x, ksize=2, strides=1, padding=padding)
    assert pooled.shape == at.shape == (*y.shape[:3], shape[3])
    assert form.max_pool_vjp(x, pooled, ksize=2, strides=1, padding=padding).shape == shape


@pytest.mark.parametrize("form", FORMS)
def test_kernels_larger_than_the_image_give_size_0(form):
    assert form.conv2d(np.ones((1, 2, 3, 1)), np.ones((3, 3, 1, 2)), padding="VALID").shape == (1, 0, 1, 2)
    assert form.max_pool(np.ones((1, 2, 3, 1)), ksize=(3, 4), strides=1, padding="VALID").shape == (1, 0, 0, 1)


def _layouts(a):
    """The same numbers in other memory: Fortran order, negative strides, every second element, read-only."""
    doubled = np.full([2 * n for n in a.shape], 99, a.dtype)
    doubled[::2, ::2, ::2, ::2] = a
    locked = a.copy()
    locked.flags.writeable = False
    return [
        np.asfortranarray(a),
        a[::-1, ::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1, ::-1],
        doubled[::2, ::2, ::2, ::2],
        locked,
    ]


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("groups", [1, 4])
def test_layouts_do_not_matter_and_inputs_are_left_alone(dtype, padding, kernel, groups):
    x, w = _random(3, (2, 5, 6, 4), dtype), _random(4, (kernel, kernel, 4 // groups, 8), dtype)
    case = {"padding": padding, "strides": (1, 2), "groups": groups}
    y = convspec.conv2d(x, w, **case)
    dx, dw = convspec.conv2d_vjp(x, w, y, **case)
    pool = {"ksize": kernel, "strides": 2, "padding": padding}
    pooled = convspec.max_pool(x, **pool)
    dpool = convspec.max_pool_vjp(x, pooled, **pool)
    for other_x, other_w, other_y in zip(_layouts(x), _layouts(w), _layouts(y), strict=True):
        before = other_x.copy(), other_w.copy(), other_y.copy()
        results = [
            (convspec.conv2d(other_x, other_w, **case), y),
            *zip(convspec.conv2d_vjp(other_x, other_w, other_y, **case), (dx, dw), strict=True),
            (convspec.max_pool(other_x, **pool), pooled),
            (convspec.max_pool_vjp(other_x, pooled, **pool), dpool),
        ]
        for got, expected in results:
            assert _equal(got, expected)
            assert got.flags.writeable
            assert not any(np.shares_memory(got, given) for given in (other_x, other_w, other_y))
        assert all(_equal(a, b) for a, b in zip((other_x, other_w, other_y), before, strict=True))


def test_broadcast_inputs():
    x = np.broadcast_to(np.float32(2), (2, 5, 5, 3))
    w = np.broadcast_to(np.float32(3), (3, 3, 3, 4))
    assert (convspec.conv2d(x, w, padding="VALID") == 6 * 27).all()
    assert (convspec.max_pool(x, ksize=3, strides=1, padding="SAME") == 2).all()


def test_no_warning_is_given():
    """Overflow, NaN and the like are answers here, not accidents."""
    x = np.full((1, 3, 3, 2), 6e4, np.float16)
    wild = np.array([np.nan, np.inf, -np.inf, 3e38], np.float32).reshape(1, 2, 2, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isposinf(convspec.conv2d(x, np.ones((2, 2, 2, 1), np.float16), padding="SAME")).all()
        convspec.conv2d(wild, wild.reshape(2, 2, 1, 1), padding="SAME", bias=wild[0, 0, 0])
        convspec.conv2d_vjp(wild, wild.reshape(2, 2, 1, 1), wild, padding="SAME")
        convspec.max_pool_with_argmax(wild, ksize=2, strides=1, padding="SAME")
        convspec.max_pool_vjp(wild, wild, ksize=2, strides=1, padding="SAME")


@pytest.mark.parametrize("dtype", [np.longdouble, np.float32, np.int64, np.int8])
def test_longdouble_and_integers_in_the_cores(dtype):
    """What an oracle computes with; the public functions refuse them."""
    x, w = _random(5, (1, 5, 4, 2)), _random(6, (2, 3, 2, 2))
    case = {"strides": (2, 1), "padding": "SAME"}
    window = geometry.resolve((5, 4), (2, 3), **case)
    y = definition.conv2d(x, w, **case)
    dx, dw = definition.conv2d_vjp(x, w, np.sign(y), **case)
    pooled = definition.max_pool(x, ksize=(2, 3), **case)
    dy, x, w = (a.astype(dtype) for a in (np.sign(y), x, w))
    for got, expected in (
        (conv2d.forward(x, w, window, 1), y),
        (conv2d.input_gradient(x.shape, w, dy, window, 1), dx),
        (conv2d.filter_gradient(x, w.shape, dy, window, 1), dw),
        (max_pool.forward(x, window), pooled),
    ):
        assert got.dtype == dtype
        assert np.array_equal(got, expected)


def test_finiteness_is_noticed_and_overflow_is_the_safe_side():
    assert blocks.is_finite(np.full(10, 1e30, np.float32))
    assert not blocks.is_finite(np.array([1, np.inf, -np.inf], np.float32))
    assert not blocks.is_finite(np.array([1, np.nan], ml_dtypes.bfloat16))
    assert not blocks.is_finite(np.full(10, 3e38, np.float32))  # finite, and then only slower
    x = np.zeros((1, 3, 3, 1), np.float32)
    x[0, 1, 1] = 1
    w = np.full((2, 2, 1, 1), 3e38, np.float32)
    assert np.array_equal(convspec.conv2d(x, w, padding="SAME"), definition.conv2d(x, w, padding="SAME"))
