"""At most 64 MB above inputs and results, whatever the kernel; NumPy tells tracemalloc what it takes."""

import tracemalloc

import numpy as np
import pytest

import convspec

pytestmark = pytest.mark.once
MOST = 64e6


def _extra(function, *arrays, **keywords):
    """Bytes at the peak above what the call returns."""
    tracemalloc.start()
    try:
        result = function(*arrays, **keywords)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return peak - sum(a.nbytes for a in (result if isinstance(result, tuple) else (result,)))


FAR = ((20_000, 20_000), (20_000, 20_000))
# Whole columns would take from 0.5 to 8 GB.
CONVOLUTIONS = {
    "large kernel": ((1, 96, 96, 8), (65, 65, 8, 4), {"padding": "SAME"}),
    "large kernel, many channels": ((1, 20, 20, 256), (17, 17, 256, 16), {"padding": "SAME"}),
    "kernel of the image": ((1, 256, 256, 32), (256, 256, 32, 2), {"padding": "VALID"}),
    "wide image": ((1, 5, 100_000, 8), (3, 3, 8, 4), {"padding": "SAME"}),
    "dilated": ((4, 128, 128, 16), (9, 9, 16, 8), {"padding": "SAME", "dilations": 12}),
    "pads far outside": ((1, 8, 8, 4), (3, 3, 4, 4), {"padding": FAR, "strides": 5000, "dilations": 9000}),
    "depthwise": ((2, 96, 96, 256), (9, 9, 1, 256), {"padding": "SAME", "groups": 256}),
    "groups": ((2, 64, 64, 128), (9, 9, 8, 64), {"padding": "SAME", "groups": 16}),
    "pointwise": ((4, 128, 128, 64), (1, 1, 64, 64), {"padding": "SAME"}),
    "strided": ((4, 192, 192, 32), (5, 5, 32, 32), {"padding": "SAME", "strides": (3, 2)}),
    "one channel": ((32, 128, 128, 1), (7, 7, 1, 16), {"padding": "SAME"}),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name, dtype):
    x_shape, w_shape, case = CONVOLUTIONS[name]
    x, w = np.ones(x_shape, dtype), np.ones(w_shape, dtype)
    assert _extra(convspec.conv2d, x, w, **case) < MOST
    dy = np.ones_like(convspec.conv2d(x, w, **case))
    assert _extra(convspec.conv2d_vjp, x, w, dy, **case) < MOST


def test_convolution_under_weights_that_are_not_finite():
    x, w = np.ones((2, 128, 128, 32), np.float32), np.full((9, 9, 32, 8), np.inf, np.float32)
    assert _extra(convspec.conv2d, x, w, padding="SAME") < MOST


POOLS = {
    "large window": ((2, 120, 120, 32), {"ksize": 61, "strides": 1, "padding": "SAME"}),
    "one window": ((1, 512, 512, 32), {"ksize": 512, "strides": 1, "padding": "VALID"}),
    "many images": ((512, 28, 28, 32), {"ksize": 2, "strides": 2, "padding": "SAME"}),
    "wide image": ((1, 4, 100_000, 16), {"ksize": (3, 9), "strides": 1, "padding": "SAME"}),
    "dilated": ((1, 256, 256, 64), {"ksize": 5, "strides": 2, "padding": "SAME", "dilations": 30}),
    "huge window": ((1, 64, 64, 8), {"ksize": 2**31 - 1, "strides": 3, "padding": "SAME"}),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
@pytest.mark.parametrize("name", POOLS)
def test_pool(name, dtype):
    shape, case = POOLS[name]
    x = (np.arange(np.prod(shape)) % 101).reshape(shape).astype(dtype)
    assert _extra(convspec.max_pool, x, **case) < MOST
    y = convspec.max_pool(x, **case)
    assert _extra(convspec.max_pool_with_argmax, x, **case) < MOST
    assert _extra(convspec.max_pool_vjp, x, y, **case) < MOST


def test_the_measure_sees_columns():
    x = np.ones((1, 64, 64, 64), np.float32)

    def unbounded(x):
        view = np.lib.stride_tricks.sliding_window_view(x, (7, 7), axis=(1, 2))
        return view.reshape(58 * 58, -1).sum(axis=1)

    assert _extra(unbounded, x) > 42e6 - 1e6
