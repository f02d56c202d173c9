"""The gradients are adjoints of the forward maps; on random cases, in every type, against wide sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convspec
from convspec.reference import definition

PADDINGS = st.one_of(
    st.sampled_from(["SAME", "VALID", "SAME_LOWER"]),
    st.tuples(*[st.tuples(st.integers(0, 6), st.integers(0, 6))] * 2),
)


# one group, two groups, an image of one channel: the ways that gradients are made
SHAPES = [((3, 9, 8, 2), (3, 4, 2, 5)), ((2, 7, 9, 6), (2, 3, 3, 4)), ((2, 6, 6, 1), (3, 3, 1, 16))]


@st.composite
def cases(draw):
    """Shapes and attributes of a convolution, with a seed for its numbers."""
    groups, depth, filters = draw(st.integers(1, 4)), draw(st.integers(0, 4)), draw(st.integers(0, 5))
    small, image = st.integers(1, 6), st.integers(0, 12)
    x = (draw(st.integers(0, 3)), draw(image), draw(image), groups * depth)
    w = (draw(small), draw(small), depth, groups * filters)
    attributes = {
        "strides": (draw(small), draw(small)),
        "padding": draw(PADDINGS),
        "dilations": (draw(st.integers(1, 5)), draw(st.integers(1, 5))),
        "groups": groups,
    }
    return x, w, attributes, draw(st.integers(0, 2**32))


@settings(max_examples=300, deadline=None)
@given(cases())
def test_convolution_is_bilinear_and_its_gradients_are_adjoint(case):
    x_shape, w_shape, attributes, seed = case
    random = np.random.default_rng(seed)
    x, u = (random.integers(-9, 10, x_shape).astype(float) for _ in range(2))
    w, v = (random.integers(-9, 10, w_shape).astype(float) for _ in range(2))
    y = convspec.conv2d(x, w, **attributes)
    assert np.array_equal(convspec.conv2d(x - 3 * u, w, **attributes), y - 3 * convspec.conv2d(u, w, **attributes))
    dy = random.integers(-9, 10, y.shape).astype(float)
    dx, dw = convspec.conv2d_vjp(x, w, dy, **attributes)
    # exact on integers: this is the definition of an adjoint, not an approximation of a derivative
    assert np.vdot(dx, u) == np.vdot(dy, convspec.conv2d(u, w, **attributes))
    assert np.vdot(dw, v) == np.vdot(dy, convspec.conv2d(x, v, **attributes))


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from(["float16", "float32", "bfloat16"]))
def test_sums_of_narrow_types_are_within_their_bound(case, name):
    """|got - y| <= n u S of the accumulator and half a spacing of the type itself."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x_shape, w_shape, attributes, seed = case
    dtype = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    random = np.random.default_rng(seed)
    x, w = random.standard_normal(x_shape).astype(dtype), random.standard_normal(w_shape).astype(dtype)
    wide = [a.astype(np.float64) for a in (x, w)]
    y = convspec.conv2d(x, w, **attributes)
    dy = np.ones(y.shape, dtype)
    ours = (y, *convspec.conv2d_vjp(x, w, dy, **attributes))
    for map_, got in zip((0, 1, 2), ours, strict=True):
        exact, scale = (
            (convspec.conv2d(*pair, **attributes), *convspec.conv2d_vjp(*pair, np.ones(y.shape), **attributes))[map_]
            for pair in (wide, [np.abs(a) for a in wide])
        )
        unit = float(ml_dtypes.finfo(dtype).eps) / 2
        bound = 4000 * 2.0**-24 * scale + unit * np.abs(exact) + float(ml_dtypes.finfo(dtype).smallest_subnormal)
        assert (np.abs(got.astype(np.float64) - exact) <= bound).all()


@settings(max_examples=100, deadline=None)
@given(cases(), st.integers(0, 3))
def test_pool_gradient_moves_each_dy_to_one_pixel(case, levels):
    """Few levels make ties everywhere; sums are kept, and each dy lands on a pixel that holds the maximum."""
    x_shape, w_shape, attributes, seed = case
    random = np.random.default_rng(seed)
    x = random.integers(0, levels + 1, x_shape).astype(float)
    pool = {key: attributes[key] for key in ("strides", "padding", "dilations")} | {"ksize": w_shape[:2]}
    y, at = convspec.max_pool_with_argmax(x, **pool)
    for n in range(x.shape[0]):
        found = at[n][at[n] >= 0]
        assert np.array_equal(x[n].ravel()[found], y[n][at[n] >= 0])
    assert np.isneginf(y[at < 0]).all()
    dy = random.integers(-9, 10, y.shape).astype(float)
    dx = convspec.max_pool_vjp(x, dy, **pool)
    assert dx.sum() == dy[at >= 0].sum()
    assert np.array_equal(dx, definition.max_pool_vjp(x, dy, **pool))


@pytest.mark.parametrize(
    "shape", [((3, 9, 8, 2), (3, 4, 2, 5)), ((2, 7, 9, 6), (2, 3, 3, 4)), ((2, 6, 6, 1), (3, 3, 1, 16))]
)
@pytest.mark.parametrize("strides", [1, (2, 1), (1, 3)])
def test_derivative_of_a_nonlinear_function(shape, strides):
    """Central differences of sum(sin(conv2d)), where the gradients pass through the chain rule."""
    random = np.random.default_rng(11)
    x, w = (random.standard_normal(s) * 0.3 for s in shape)
    case = {"strides": strides, "padding": "SAME", "groups": shape[0][3] // shape[1][2]}
    dx, dw = convspec.conv2d_vjp(x, w, np.cos(convspec.conv2d(x, w, **case)), **case)

    def value(a, b):
        return np.sin(convspec.conv2d(a, b, **case)).sum()

    u, v, step = random.standard_normal(x.shape), random.standard_normal(w.shape), 1e-5
    slope = (value(x + step * u, w) - value(x - step * u, w)) / (2 * step)
    assert np.vdot(dx, u) == pytest.approx(slope, rel=1e-6, abs=1e-6)
    slope = (value(x, w + step * v) - value(x, w - step * v)) / (2 * step)
    assert np.vdot(dw, v) == pytest.approx(slope, rel=1e-6, abs=1e-6)
