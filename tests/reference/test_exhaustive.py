"""The fast form is the definition, exactly, over every geometry of a small scope.

Sizes 1..5, kernels 1..4, strides 1..3, dilations 1..2 on both axes independently, under every named padding: 3 * 120^2
geometries; and under explicit pads a side, every axis geometry with partners that differ. Each is asked for the
convolution, both its gradients, the pool, its gradient and its argmax, on integers in float64 (so every sum is exact).
"""

import itertools

import numpy as np
import pytest

from convspec.reference import blocks, conv2d, correlate, definition, max_pool

pytestmark = pytest.mark.once
AXIS = list(itertools.product(range(1, 6), range(1, 5), range(1, 4), (1, 2)))  # size, kernel, stride, dilation
SIDES = [(0, 0), (0, 1), (2, 0), (3, 4), (1, 1)]
NAMES = ("SAME", "VALID", "SAME_LOWER")
PARTNERS = 16

_RANDOM = np.random.default_rng(20261124)
_X, _W, _DY = (_RANDOM.integers(-3, 4, 400).astype(np.float64) for _ in range(3))


def _take(numbers, shape):
    return numbers[: np.prod(shape)].reshape(shape)


def _same(got, expected, what, case):
    assert got.dtype == expected.dtype, (what, case)
    assert got.shape == expected.shape, (what, case)
    assert np.array_equal(got, expected), (what, case, got, expected)


def _check(rows, columns, padding, filters):
    (height, kernel_h, stride_h, dilation_h), (width, kernel_w, stride_w, dilation_w) = rows, columns
    case = {"strides": (stride_h, stride_w), "padding": padding, "dilations": (dilation_h, dilation_w)}
    x, w = _take(_X, (1, height, width, 1)), _take(_W, (kernel_h, kernel_w, 1, filters))
    y = conv2d.conv2d(x, w, **case)
    _same(y, definition.conv2d(x, w, **case), "y", (x.shape, w.shape, case))
    dy = _take(_DY, y.shape)
    for got, expected, what in zip(
        conv2d.conv2d_vjp(x, w, dy, **case), definition.conv2d_vjp(x, w, dy, **case), ("dx", "dw"), strict=True
    ):
        _same(got, expected, what, (x.shape, w.shape, case))
    pool = {**case, "ksize": (kernel_h, kernel_w)}
    maxima, places = max_pool.max_pool_with_argmax(x, **pool)
    true_maxima, true_places = definition.max_pool_with_argmax(x, **pool)
    _same(maxima, true_maxima, "pool", (x.shape, pool))
    _same(places, true_places, "argmax", (x.shape, pool))
    dy = _take(_DY, maxima.shape)
    _same(max_pool.max_pool_vjp(x, dy, **pool), definition.max_pool_vjp(x, dy, **pool), "pool dx", (x.shape, pool))


@pytest.fixture(params=["as it is", "cut small"])
def blocking(request, monkeypatch):
    """The sizes that work is cut into: as they are (so these cases are done in one step), or one to a few numbers."""
    if request.param == "cut small":
        conv2d._small.cache_clear()
        monkeypatch.setattr(correlate, "SMALL", 0)
        monkeypatch.setattr(correlate, "WASTE", 0)
        monkeypatch.setattr(blocks, "COLUMNS", 64)
        monkeypatch.setattr(conv2d, "COLUMNS", 64)
        monkeypatch.setattr(blocks, "COLUMNS_MOST", 128)
        monkeypatch.setattr(blocks, "ROWS_WANTED", 1)
        monkeypatch.setattr(blocks, "DEPTH_MOST", 2)
        monkeypatch.setattr(max_pool, "_READ", 64)
        monkeypatch.setattr(max_pool, "_SUMS", 4)
        yield 1
        conv2d._small.cache_clear()
        return
    yield 0


@pytest.mark.parametrize("height", range(1, 6))
@pytest.mark.parametrize("padding", NAMES)
def test_named_paddings(padding, height, blocking):
    """Every pair of axis geometries; the two ways of cutting take turns, so that each sees half of them."""
    pairs = itertools.product((axis for axis in AXIS if axis[0] == height), AXIS)
    checked = 0
    for number, (rows, columns) in enumerate(pairs):
        if (number + number // len(AXIS)) % 2 == blocking:
            _check(rows, columns, padding, filters=1 + number // 2 % 2)
            checked += 1
    assert checked == 24 * 120 / 2


@pytest.mark.parametrize("height", range(1, 6))
def test_explicit_pads(height, blocking):
    """Every axis geometry with every pads of its own, each with partners that run through all the others."""
    axes = list(itertools.product(AXIS, SIDES))
    partners = itertools.cycle(itertools.product(AXIS[::7], SIDES[::-1]))
    checked = 0
    for rows, vertical in (axis for axis in axes if axis[0][0] == height):
        for columns, horizontal in itertools.islice(partners, PARTNERS // 2):
            _check(rows, columns, (vertical, horizontal), filters=1 + checked % 2)
            checked += 1
    assert checked == 24 * 5 * PARTNERS / 2


@pytest.mark.parametrize("channels", [(2, 1, 3, 4), (2, 3, 1, 1), (1, 2, 2, 3), (2, 2, 1, 3), (1, 3, 2, 1)])
@pytest.mark.parametrize("padding", [*NAMES, ((2, 0), (1, 3))])
def test_channels_and_groups(channels, padding, blocking):
    """Batch, channels, groups and bias, over a sample of geometries."""
    batch, groups, depth, filters = channels
    random = np.random.default_rng(channels)
    for rows, columns in zip(AXIS[3::11], AXIS[::-13], strict=False):
        (height, kernel_h, stride_h, dilation_h), (width, kernel_w, stride_w, dilation_w) = rows, columns
        case = {"strides": (stride_h, stride_w), "padding": padding, "dilations": (dilation_h, dilation_w)}
        x = random.integers(-4, 5, (batch, height, width, groups * depth)).astype(np.float64)
        w = random.integers(-4, 5, (kernel_h, kernel_w, depth, groups * filters)).astype(np.float64)
        bias = random.integers(-4, 5, groups * filters).astype(np.float64)
        y = conv2d.conv2d(x, w, bias=bias, groups=groups, **case)
        _same(y, definition.conv2d(x, w, bias=bias, groups=groups, **case), "y", (x.shape, w.shape, case))
        dy = random.integers(-4, 5, y.shape).astype(np.float64)
        expected = definition.conv2d_vjp(x, w, dy, groups=groups, **case)
        for got, right in zip(conv2d.conv2d_vjp(x, w, dy, groups=groups, **case), expected, strict=True):
            _same(got, right, "vjp", (x.shape, w.shape, case))
        pool = {**case, "ksize": (kernel_h, kernel_w)}
        maxima, places = max_pool.max_pool_with_argmax(x, **pool)
        _same(maxima, definition.max_pool(x, **pool), "pool", (x.shape, pool))
        _same(places, definition.max_pool_with_argmax(x, **pool)[1], "argmax", (x.shape, pool))
