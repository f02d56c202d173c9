"""The two ways of the gradient of max pooling: of windows that lie apart, and the general one."""

import numpy as np
import pytest

from convspec.reference import geometry, max_pool


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])  # the oracle asks for the longest
@pytest.mark.parametrize("seed", range(60))
def test_gradient_of_windows_that_lie_apart(dtype, seed):
    """The quick way for strides that equal the window, against the general one, on ties and special values."""
    rng = np.random.default_rng(seed)
    kernel = tuple(int(k) for k in rng.integers(1, 4, 2))
    height, width = (int(k * n) for k, n in zip(kernel, rng.integers(1, 4, 2), strict=True))
    shape = (int(rng.integers(1, 4)), height, width + 1, 3)
    x = rng.integers(-2, 3, shape).astype(dtype)
    for value in (np.inf, -np.inf, *([np.nan] if seed % 3 == 0 else [])):
        x.flat[rng.integers(x.size)] = value
    window = geometry.lay(x.shape[1:3], kernel, kernel, "VALID", 1)
    dy = rng.standard_normal((shape[0], *window.output, 3)).astype(dtype)
    dy.flat[0] = np.nan if seed % 5 == 0 else -0.0
    expected = np.zeros_like(x)
    at = max_pool.argmax(x, window)
    for n in range(shape[0]):
        np.add.at(expected[n].reshape(-1), at[n], dy[n])
    found = max_pool.gradient(x, dy, window)
    np.testing.assert_array_equal(found, expected)
