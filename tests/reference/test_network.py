"""The layers of the small network: values by hand, gradients against finite differences and against identities."""

import numpy as np
import pytest

import convspec
from convspec.reference import network


def _difference(function, x, direction, step):
    """Directional derivative by central differences, of fourth order in the step."""
    near = function(x + step * direction) - function(x - step * direction)
    far = function(x + 2 * step * direction) - function(x - 2 * step * direction)
    return (8 * near - far) / (12 * step)


def _check_vjp(function, x, gradient, random, step=1e-3):
    """The gradient of a scalar function at x, along random directions."""
    for _ in range(3):
        direction = random.standard_normal(x.shape)
        assert np.vdot(gradient, direction) == pytest.approx(
            _difference(function, x, direction, step), rel=1e-7, abs=1e-7
        )


@pytest.fixture
def random():
    return np.random.default_rng(7)


def _away_from_zero(random, shape):
    return random.choice((-1.0, 1.0), shape) * random.uniform(0.1, 2, shape)


@pytest.mark.clause("relu")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relu(dtype):
    y = network.relu(np.array([-2, 0, 3, np.nan, -np.inf, np.inf], dtype))
    assert y.dtype == dtype
    assert np.array_equal(y, [0, 0, 3, np.nan, 0, np.inf], equal_nan=True)


@pytest.mark.clause("relu-gradient")
def test_relu_gradient(random):
    assert network.relu_vjp(np.array([-2.0, 0, -0.0, 3]), np.array([1.0, 2, 3, np.inf])).tolist() == [0, 0, 0, np.inf]
    x, dy = _away_from_zero(random, (3, 4)), random.standard_normal((3, 4))
    _check_vjp(lambda x: np.vdot(dy, network.relu(x)), x, network.relu_vjp(x, dy), random)


def test_leaky_relu(random):
    assert network.leaky_relu(np.float32([-2, 0, 3]), 0.5).tolist() == [-1, 0, 3]
    assert network.leaky_relu(np.float32([-2, 0, 3]), 0.5).dtype == np.float32
    x, dy = _away_from_zero(random, (3, 4)), random.standard_normal((3, 4))
    _check_vjp(lambda x: np.vdot(dy, network.leaky_relu(x, 0.2)), x, network.leaky_relu_vjp(x, dy, 0.2), random)


@pytest.mark.clause("dense")
def test_dense_is_the_sum_over_flattened_features(random):
    x, w, b = random.integers(-3, 4, (2, 2, 3, 2)), random.integers(-3, 4, (12, 5)), random.integers(-3, 4, 5)
    y = network.dense(*(a.astype(np.float32) for a in (x, w, b)))
    assert y.dtype == np.float32
    for n, f in np.ndindex(2, 5):
        assert y[n, f] == b[f] + sum(int(a) * int(c) for a, c in zip(x[n].ravel(), w[:, f], strict=True))


@pytest.mark.clause("dense-gradient")
def test_dense_gradient(random):
    x, w, b = random.standard_normal((3, 2, 2)), random.standard_normal((4, 5)), random.standard_normal(5)
    dy = random.standard_normal((3, 5))
    dx, dw, db = network.dense_vjp(x, w, dy)
    _check_vjp(lambda x: np.vdot(dy, network.dense(x, w, b)), x, dx, random)
    _check_vjp(lambda w: np.vdot(dy, network.dense(x, w, b)), w, dw, random)
    _check_vjp(lambda b: np.vdot(dy, network.dense(x, w, b)), b, db, random)


@pytest.mark.clause("one-hot")
def test_one_hot():
    assert network.one_hot(np.array([2, 0], np.uint8), 3, np.float32).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert network.one_hot(np.array([], int), 3).shape == (0, 3)
    for labels in ([3], [-1], [0, 7]):
        with pytest.raises(ValueError, match=r"labels run from .* expected classes from 0 to 2"):
            network.one_hot(np.array(labels), 3)
    with pytest.raises(TypeError, match="labels are float64"):
        network.one_hot(np.array([1.0]), 3)


@pytest.mark.clause("softmax")
def test_softmax_is_stable_and_sums_to_one(random):
    z = random.standard_normal((4, 6)) * 50
    p = network.softmax(z)
    assert p.sum(axis=1) == pytest.approx(np.ones(4))
    assert p[0, 0] / p[0, 1] == pytest.approx(np.exp(z[0, 0] - z[0, 1]))
    assert network.softmax(np.float32([[1e4, 1e4], [-1e4, 1e4]])).tolist() == [[0.5, 0.5], [0, 1]]


@pytest.mark.clause("cross-entropy")
def test_cross_entropy_is_a_mean_and_finite():
    z = np.log(np.array([[1.0, 3.0], [1.0, 1.0]]))
    assert network.cross_entropy(z, np.array([0, 1])) == pytest.approx((np.log(4) + np.log(2)) / 2)
    assert network.cross_entropy(np.float32([[0, 1000]]), np.array([0])) == 1000
    assert network.cross_entropy(np.float32([[0, 1000]]), np.array([0])).dtype == np.float32
    with pytest.raises(ValueError, match=r"labels have shape \(2,\), expected \[1\]"):
        network.cross_entropy(z[:1], np.array([0, 1]))


@pytest.mark.clause("cross-entropy-gradient")
def test_cross_entropy_gradient(random):
    z, labels = random.standard_normal((5, 4)), np.array([0, 3, 1, 1, 2])
    gradient = network.cross_entropy_vjp(z, labels)
    _check_vjp(lambda z: network.cross_entropy(z, labels), z, gradient, random)
    assert gradient.sum(axis=1) == pytest.approx(np.zeros(5))
    assert network.cross_entropy_vjp(z.astype(np.float32), labels).dtype == np.float32


@pytest.mark.clause("sgd")
def test_sgd_steps_down_the_gradient():
    parameters = [np.float32([1, 2]), np.array([[3.0]])]
    moved, velocities = network.sgd(parameters, [np.float32([2, -2]), np.array([[4.0]])], rate=0.25)
    assert [p.tolist() for p in moved] == [[0.5, 2.5], [[2]]]
    assert [p.dtype for p in moved] == [np.float32, np.float64]
    assert [p.tolist() for p in parameters] == [[1, 2], [[3]]]
    assert [v.tolist() for v in velocities] == [[2, -2], [[4]]]
    with pytest.raises(ValueError, match="gradients have shapes"):
        network.sgd(parameters, parameters[:1], rate=1)


@pytest.mark.clause("sgd-momentum")
def test_momentum_is_classical():
    parameters, velocities = [np.zeros(1)], None
    seen = []
    for gradient in (1.0, 1.0, 0.0):
        parameters, velocities = network.sgd(parameters, [np.array([gradient])], velocities, rate=2, momentum=0.5)
        seen.append((velocities[0].item(), parameters[0].item()))
    assert seen == [(1, -2), (1.5, -5), (0.75, -6.5)]  # Nesterov's rule would give -3 first


@pytest.mark.clause("parameter-count")
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("size", [(5, 7), (12, 9)])
def test_parameters_do_not_depend_on_the_image(size, groups, random):
    """Those of the convolution; the local and the full connection are built as matrices and give the same outputs."""
    channels, filters, kernel = 3, 6, (3, 2)
    w = random.integers(-3, 4, (*kernel, channels // groups, filters)).astype(float)
    b = random.integers(-3, 4, filters).astype(float)
    x = random.integers(-3, 4, (1, *size, channels)).astype(float)
    y = convspec.conv2d(x, w, padding="SAME", groups=groups, bias=b)
    assert w.size + b.size == kernel[0] * kernel[1] * (channels // groups) * filters + filters
    # the same map as a full connection, column by column: each pixel of each channel alone
    alone = np.eye(x.size).reshape(x.size, *size, channels)
    full = convspec.conv2d(alone, w, padding="SAME", groups=groups).reshape(x.size, -1)
    shift = np.broadcast_to(b, (size[0] * size[1], filters)).ravel()
    assert np.array_equal(network.dense(x, full, shift), y.reshape(1, -1))
    assert full.size + shift.size == (size[0] * size[1] * channels + 1) * size[0] * size[1] * filters
    # local perception: each output is connected to one window at most; weight sharing: with the same few numbers
    assert (full != 0).sum(axis=0).max() <= kernel[0] * kernel[1] * channels // groups
    assert set(np.unique(full)) <= {*np.unique(w), 0.0}


def test_a_whole_network_against_finite_differences(random):
    """Convolution, leaky ReLU, pool, dense, cross-entropy: the chain of vjp's is the derivative of the loss."""
    x, labels = random.standard_normal((3, 6, 5, 2)), np.array([1, 0, 2])
    w, b = random.standard_normal((3, 2, 2, 4)), random.standard_normal(4)
    v, c = random.standard_normal((24, 3)), random.standard_normal(3)
    conv, pool = {"padding": "SAME", "strides": (1, 2)}, {"ksize": 2, "strides": 2, "padding": "SAME"}

    def loss(w, b, v):
        a = network.leaky_relu(convspec.conv2d(x, w, bias=b, **conv))
        return network.cross_entropy(network.dense(convspec.max_pool(a, **pool), v, c), labels)

    y = convspec.conv2d(x, w, bias=b, **conv)
    a = network.leaky_relu(y)
    p = convspec.max_pool(a, **pool)
    dz = network.cross_entropy_vjp(network.dense(p, v, c), labels)
    dp, dv, _ = network.dense_vjp(p, v, dz)
    dy = network.leaky_relu_vjp(y, convspec.max_pool_vjp(a, dp, **pool))
    _, dw = convspec.conv2d_vjp(x, w, dy, **conv)
    # small steps, so that no ReLU and no maximum changes sides
    _check_vjp(lambda w: loss(w, b, v), w, dw, random, 1e-6)
    _check_vjp(lambda b: loss(w, b, v), b, dy.sum((0, 1, 2)), random, 1e-6)
    _check_vjp(lambda v: loss(w, b, v), v, dv, random, 1e-6)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: network.relu(np.array([1, 2])), TypeError, "x is int64, expected an array of float64 or float32"),
        (lambda: network.relu_vjp(np.ones(3), np.ones(4)), ValueError, r"dy has shape \(4,\), expected \(3,\)"),
        (lambda: network.relu_vjp(np.ones(3), np.ones(3, "f4")), TypeError, "dy has dtype float32, expected float64"),
        (lambda: network.dense(np.ones((2, 3)), np.ones((4, 5))), ValueError, r"w has shape \(4, 5\)"),
        (lambda: network.dense(np.ones((2, 3)), np.ones((3, 5)), np.ones(4)), ValueError, r"b has shape \(4,\)"),
        (lambda: network.softmax(np.ones(3)), ValueError, r"z has shape \(3,\)"),
    ],
)
def test_bad_arguments(call, error, words):
    with pytest.raises(error, match=words):
        call()
