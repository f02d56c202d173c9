"""The reference against implementations that share no code with it: SciPy, PyTorch, TensorFlow, a true convolution."""

import numpy as np
import pytest

import convspec
from convspec.reference import geometry

SHAPES = [((7, 5), (3, 2)), ((5, 8), (4, 3)), ((6, 6), (1, 5)), ((9, 4), (2, 2))]


def _integers(random, shape, dtype=np.float64):
    return random.integers(-8, 9, shape).astype(dtype)


@pytest.mark.parametrize(("size", "kernel"), SHAPES)
@pytest.mark.parametrize(("ours", "theirs"), [("VALID", "valid"), ("full", "full")])
def test_scipy_correlates_alike(size, kernel, ours, theirs):
    signal = pytest.importorskip("scipy.signal")
    random = np.random.default_rng(size)
    x, w = _integers(random, size), _integers(random, kernel)
    padding = ours if ours == "VALID" else tuple((k - 1, k - 1) for k in kernel)
    y = convspec.conv2d(x[None, :, :, None], w[:, :, None, None], padding=padding)[0, :, :, 0]
    assert np.array_equal(y, signal.correlate2d(x, w, mode=theirs))
    turned = convspec.conv2d(x[None, :, :, None], w[::-1, ::-1, None, None], padding=padding)[0, :, :, 0]
    assert np.array_equal(turned, signal.convolve2d(x, w, mode=theirs))


@pytest.mark.parametrize(("size", "kernel"), SHAPES)
@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (2, 3)])
@pytest.mark.parametrize("padding", ["SAME", "SAME_LOWER"])
def test_scipy_filters_maxima_alike(size, kernel, strides, padding):
    ndimage = pytest.importorskip("scipy.ndimage")
    x = _integers(np.random.default_rng(size), size)
    window = geometry.resolve(size, kernel, strides=strides, padding=padding)
    y = convspec.max_pool(x[None, :, :, None], ksize=kernel, strides=strides, padding=padding)[0, :, :, 0]
    # SciPy's window of output o starts at o - k // 2 + origin; ours at o s - before.
    for (row, column), value in np.ndenumerate(y):
        corner = [o * s - p[0] for o, s, p in zip((row, column), strides, window.pads, strict=True)]
        centre = [c + k // 2 for c, k in zip(corner, kernel, strict=True)]
        grown = np.pad(x, 16, constant_values=-np.inf)
        filtered = ndimage.maximum_filter(grown, kernel, mode="constant", cval=-np.inf)
        assert value == filtered[centre[0] + 16, centre[1] + 16]


FRAMEWORK_CASES = [
    {"strides": (1, 1), "padding": ((0, 0), (0, 0)), "dilations": (1, 1), "groups": 1},
    {"strides": (2, 3), "padding": ((1, 1), (2, 2)), "dilations": (1, 1), "groups": 1},
    {"strides": (2, 1), "padding": ((2, 2), (1, 1)), "dilations": (2, 3), "groups": 2},
    {"strides": (1, 2), "padding": ((3, 3), (0, 0)), "dilations": (1, 2), "groups": 4},
]


@pytest.mark.frameworks
@pytest.mark.parametrize("case", FRAMEWORK_CASES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_torch_agrees(case, dtype):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(1)
    x = _integers(random, (2, 11, 9, 4), dtype)
    w = _integers(random, (3, 2, 4 // case["groups"], 8), dtype)
    tensors = [torch.tensor(x.transpose(0, 3, 1, 2)), torch.tensor(w.transpose(3, 2, 0, 1))]
    for tensor in tensors:
        tensor.requires_grad_()
    y = torch.nn.functional.conv2d(
        *tensors,
        stride=case["strides"],
        padding=tuple(before for before, _ in case["padding"]),
        dilation=case["dilations"],
        groups=case["groups"],
    )
    ours = convspec.conv2d(x, w, **case)
    assert np.array_equal(ours, y.detach().numpy().transpose(0, 2, 3, 1))
    dy = _integers(random, ours.shape, dtype)
    y.backward(torch.tensor(dy.transpose(0, 3, 1, 2)))
    dx, dw = convspec.conv2d_vjp(x, w, dy, **case)
    assert np.array_equal(dx, tensors[0].grad.numpy().transpose(0, 2, 3, 1))
    assert np.array_equal(dw, tensors[1].grad.numpy().transpose(2, 3, 1, 0))


@pytest.mark.frameworks
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("ksize", "strides", "pads", "dilations"), [(2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 1, 2), (4, 3, 2, 1)]
)
def test_torch_pools_alike(dtype, ksize, strides, pads, dilations):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(2)
    x = random.permutation(2 * 11 * 9 * 3).reshape(2, 11, 9, 3).astype(dtype)
    tensor = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    y, index = torch.nn.functional.max_pool2d(tensor, ksize, strides, pads, dilations, return_indices=True)
    case = {"ksize": ksize, "strides": strides, "padding": ((pads, pads),) * 2, "dilations": dilations}
    ours, at = convspec.max_pool_with_argmax(x, **case)
    assert np.array_equal(ours, y.detach().numpy().transpose(0, 2, 3, 1))
    assert np.array_equal(at // 3, index.numpy().transpose(0, 2, 3, 1))
    dy = _integers(random, ours.shape, dtype)
    y.backward(torch.tensor(dy.transpose(0, 3, 1, 2)))
    assert np.array_equal(convspec.max_pool_vjp(x, dy, **case), tensor.grad.numpy().transpose(0, 2, 3, 1))


@pytest.mark.frameworks
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("kernel", [(1, 2), (3, 3), (4, 5)])
def test_tensorflow_agrees(padding, strides, kernel):
    tf = pytest.importorskip("tensorflow")
    random = np.random.default_rng(3)
    x, w = _integers(random, (2, 10, 7, 3), np.float32), _integers(random, (*kernel, 3, 4), np.float32)
    with tf.GradientTape() as tape:
        tensors = tf.constant(x), tf.constant(w)
        tape.watch(tensors)
        y = tf.nn.conv2d(*tensors, strides, padding)
        weight = _integers(random, y.shape, np.float32)
        loss = tf.reduce_sum(y * weight)
    assert np.array_equal(convspec.conv2d(x, w, strides=strides, padding=padding), y.numpy())
    ours = convspec.conv2d_vjp(x, w, weight, strides=strides, padding=padding)
    for got, theirs in zip(ours, tape.gradient(loss, tensors), strict=True):
        assert np.array_equal(got, theirs.numpy())
    x = random.permutation(x.size).reshape(x.shape).astype(np.float32)
    pool = {"ksize": kernel, "strides": strides, "padding": padding}
    values, at = tf.nn.max_pool_with_argmax(x, **pool)
    ours, ours_at = convspec.max_pool_with_argmax(x, **pool)
    assert np.array_equal(ours, values.numpy())
    assert np.array_equal(ours_at, at.numpy())
