"""The two forms of the reference as backends: the same answers, to the bit, through the protocol alone."""

import inspect

import numpy as np
import pytest

from convspec.adapters import Contract, missing_methods, registry

CASES = [
    {"strides": (1, 1), "padding": "SAME", "dilations": (1, 1)},
    {"strides": (2, 1), "padding": "SAME_LOWER", "dilations": (1, 2)},
    {"strides": (1, 3), "padding": "VALID", "dilations": (2, 1)},
    {"strides": (2, 2), "padding": ((1, 0), (0, 2)), "dilations": (1, 1)},
]


@pytest.fixture(params=["numpy", "numpy:fast", "numpy:definition"])
def backend(request):
    return registry.load(request.param)


def lattice(seed, *shape):
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float32)


def test_the_names_tell_the_forms_apart():
    assert registry.load("numpy").name == registry.load("numpy:fast").name == "numpy"
    assert registry.load("numpy:definition").name == "numpy:definition"


def test_each_is_a_whole_backend(backend):
    assert missing_methods(backend) == ()
    assert "bias" in inspect.signature(backend.conv2d).parameters
    assert callable(backend.max_pool_with_argmax)
    assert Contract.of(backend) == Contract()
    assert backend.version == np.__version__


@pytest.mark.parametrize("case", CASES, ids=str)
def test_both_forms_agree(case):
    fast, definition = registry.load("numpy"), registry.load("numpy:definition")
    x, w, bias = lattice(0, 2, 5, 6, 4), lattice(1, 2, 3, 2, 6), lattice(2, 6)
    y = fast.conv2d(x, w, groups=2, bias=bias, **case)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, definition.conv2d(x, w, groups=2, bias=bias, **case))
    np.testing.assert_array_equal(y - bias, fast.conv2d(x, w, groups=2, **case))
    dy = lattice(3, *y.shape)
    for one, other in zip(
        fast.conv2d_vjp(x, w, dy, groups=2, **case), definition.conv2d_vjp(x, w, dy, groups=2, **case), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    pool = {"ksize": (2, 3), **case}
    y = fast.max_pool(x, **pool)
    np.testing.assert_array_equal(y, definition.max_pool(x, **pool))
    dy = lattice(4, *y.shape)
    np.testing.assert_array_equal(fast.max_pool_vjp(x, dy, **pool), definition.max_pool_vjp(x, dy, **pool))
    for one, other in zip(
        fast.max_pool_with_argmax(x, **pool), definition.max_pool_with_argmax(x, **pool), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_a_small_sum_by_hand(backend):
    x = np.arange(4.0).reshape(1, 2, 2, 1)
    w = np.ones((2, 2, 1, 1))
    keywords = {"strides": (1, 1), "padding": "SAME", "dilations": (1, 1)}
    assert backend.conv2d(x, w, groups=1, **keywords).ravel().tolist() == [6.0, 4.0, 5.0, 3.0]
    y, argmax = backend.max_pool_with_argmax(x, ksize=(2, 2), **keywords)
    assert y.ravel().tolist() == [3.0, 3.0, 3.0, 3.0]
    assert argmax.ravel().tolist() == [3, 3, 3, 3]
