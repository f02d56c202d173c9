"""Nets trained by the backends themselves, against the reference in float64."""

import os

import numpy as np
import pytest

from convspec.adapters import Unsupported, registry
from convspec.harness.process import worker
from convspec.harness.process.protocol import Request
from convspec.harness.process.remote import RemoteBackend
from convspec.reference import training

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's compiler imports what torch deprecates
    # Two of the compiler's own making. It hides the first itself, but not where warnings are errors, as in these tests;
    # the second is of the cache of the reference's geometry, which it rightly traces through.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
    pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`:UserWarning"),
]
BATCH, STEPS = 16, 3
TRAINING = {"batch": BATCH, "rate": 0.05, "momentum": 0.9}


#: What is asked for everything, and modes which are asked for the net that shows most.
ALL = ["numpy", *(pytest.param(text, marks=pytest.mark.frameworks) for text in ("torch", "tensorflow"))]
MODES = ["torch@channels_last", "torch@nomkldnn", "torch@modules", "tensorflow@function", "tensorflow@xla"]
MODES += ["tensorflow@explicit", "tensorflow@keras", "tensorflow@numpy-input"]
EVERY = [*ALL, *(pytest.param(text, marks=pytest.mark.frameworks) for text in MODES)]
NUMBERS = (("relu", {}), ("dense", {"outputs": 10}))


@pytest.fixture(scope="module")
def load():
    """One backend a mode: some take seconds to start."""
    loaded = {}

    def load(text):
        if text not in loaded:
            name = text.partition("@")[0]
            if not name.startswith("numpy"):
                pytest.importorskip(name)
                pytest.importorskip("ml_dtypes")
            loaded[text] = registry.load(text)
        return loaded[text]

    return load


def data(count, dtype=np.float32):
    """Read-only images between 0 and 1, and labels.

    With this seed no unit of net A or B comes nearer to 0 than 3e-6 in the three steps of training. With most seeds one
    does, rounding decides its sign, and the weights are 3e-4 apart although all that was computed is right.
    """
    rng = np.random.default_rng(57)
    images, labels = rng.random((count, 28, 28, 1)).astype(dtype), rng.integers(0, 10, count)
    return readonly([images, labels])


def start(net, dtype=np.float32):
    """Read-only parameters with biases, and velocities, none of them zero."""
    rng = np.random.default_rng(1)
    parameters = [p + 0.1 * rng.standard_normal(p.shape) * (p.ndim == 1) for p in training.initial(net, 2)]
    velocities = [0.05 * rng.standard_normal(p.shape) * (1 + np.abs(p).max()) for p in parameters]
    return readonly([p.astype(dtype) for p in parameters]), readonly([v.astype(dtype) for v in velocities])


def readonly(arrays):
    for array in arrays:
        array.flags.writeable = False
    return arrays


def wide(arrays):
    return [array.astype(np.float64) if array.dtype.kind == "f" else array for array in arrays]


def error(got, want):
    return np.abs(got.astype(np.float64) - want).max() / np.abs(want).max()


def check_pass(backend, name, dtype=np.float32, loss=5e-6, each=5e-5):
    net = training.NETS[name]
    (images, labels), (parameters, _) = data(BATCH, dtype), start(net, dtype)
    arrays = backend.loss_and_gradients(images, labels, *parameters, net=net)
    assert {(type(array), array.dtype) for array in arrays} == {(np.ndarray, np.dtype(dtype))}
    got = training.Pass.of(net, arrays)
    images, *parameters = wide([images, *parameters])
    outputs = training.forward(net, images, parameters)
    want = training.backward(net, images, labels, parameters, outputs, branches=wide(got.outputs))
    assert got.loss.shape == ()
    assert abs(got.loss - want.loss) <= loss * want.loss
    for one, other in zip(got.flat()[1:], want.flat()[1:], strict=True):
        assert one.shape == other.shape
        assert error(one, other) <= each


def check_training(backend, name, dtype=np.float32, distance=1e-4):
    net = training.NETS[name]
    (images, labels), (parameters, velocities) = data(STEPS * BATCH, dtype), start(net, dtype)
    got = backend.train(images, labels, *parameters, *velocities, net=net, **TRAINING)
    assert {(type(array), array.dtype) for array in got} == {(np.ndarray, np.dtype(dtype))}
    assert got[0].shape == (STEPS,)
    want = training.train(images.astype(float), labels, *wide([*parameters, *velocities]), net=net, **TRAINING)
    np.testing.assert_allclose(got[0], want[0], rtol=distance)
    count = len(parameters)
    for before, one, other in zip([*parameters, *velocities], got[1:], want[1:], strict=True):
        assert one.shape == other.shape
        assert not np.shares_memory(one, before)
        assert np.linalg.norm(one - other) <= distance * np.linalg.norm(other)
    assert len(got) == 1 + 2 * count


@pytest.mark.parametrize("name", ["A", "B"])
@pytest.mark.parametrize("text", ALL)
def test_a_pass(load, text, name):
    check_pass(load(text), name)


@pytest.mark.parametrize("name", ["A", "B"])
@pytest.mark.parametrize("text", ALL)
def test_training(load, text, name):
    check_training(load(text), name)


@pytest.mark.frameworks
@pytest.mark.parametrize("text", MODES)
def test_modes(load, text):
    check_pass(load(text), "B")
    check_training(load(text), "B")


@pytest.mark.frameworks
def test_a_compiled_net(load):
    if "torch@compile" not in registry.expand(["torch@*"]):
        pytest.skip("there is no C++ compiler here")
    check_pass(load("torch@compile"), "B")
    check_training(load("torch@compile"), "B")


@pytest.mark.parametrize("text", ALL)
def test_float64(load, text):
    check_pass(load(text), "B", np.float64, loss=1e-13, each=1e-12)
    # Keras has its rate in float32 whatever the parameters are.
    check_training(load(text), "B", np.float64, distance=1e-7 if text == "tensorflow" else 1e-12)


@pytest.mark.parametrize("text", EVERY)
def test_one_step_is_the_formula(load, text):
    """The parameters are those given less the rate times the velocities returned, and these the formula's, to ulps."""
    net = training.NETS["B"]
    (images, labels), (parameters, velocities) = data(BATCH), start(net)
    options = {"net": net, "batch": BATCH, "rate": 0.05, "momentum": 0.9}
    got = load(text).train(images, labels, *parameters, *velocities, **options)
    arrays = load(text).loss_and_gradients(images, labels, *parameters, net=net)
    count, one = len(parameters), training.Pass.of(net, arrays)
    after, moved = got[1 : 1 + count], got[1 + count :]
    assert abs(got[0][0] - one.loss) <= 4 * np.spacing(one.loss)
    lists = (wide(arrays) for arrays in (parameters, velocities, one.gradients, after, moved))
    for p, v, g, new, step in zip(*lists, strict=True):
        largest = np.maximum.reduce([np.abs(p), np.abs(0.05 * step), np.abs(new)])
        assert (np.abs(p - 0.05 * step - new) <= 4 * np.spacing(largest.astype(np.float32))).all()
        noise = 1e-5 * np.abs(g).max()  # sums of gradients need not be added in the same order twice
        assert (np.abs(0.9 * v + g - step) <= 4 * np.spacing(np.abs(0.9 * v).astype(np.float32)) + noise).all()


@pytest.mark.parametrize("text", ALL)
def test_the_velocities_at_the_start_are_those_given(load, text):
    """With no gradient to speak of, all that moves the parameters is what they were given."""
    net = (("dense", {"outputs": 10}),)
    images, labels = np.zeros((4, 28, 28, 1), np.float32), np.arange(4)
    state = [np.zeros((784, 10), np.float32), np.zeros(10, np.float32)]
    velocity = np.arange(7840, dtype=np.float32).reshape(784, 10)
    got = load(text).train(images, labels, *state, velocity, state[1], net=net, batch=2, rate=0.5, momentum=0.5)
    np.testing.assert_allclose(got[1], -0.5 * (0.5 + 0.25) * velocity, rtol=1e-6)
    np.testing.assert_allclose(got[3], 0.25 * velocity, rtol=1e-6)


@pytest.mark.parametrize("text", ALL)
def test_without_momentum_the_velocity_is_the_gradient(load, text):
    net = training.NETS["B"]
    (images, labels), (parameters, velocities) = data(2 * BATCH), start(net)
    options = {"net": net, "batch": BATCH, "rate": 0.05, "momentum": 0.0}
    got = load(text).train(images, labels, *parameters, *velocities, **options)
    want = training.train(images.astype(float), labels, *wide([*parameters, *velocities]), **options)
    for one, other in zip(got, want, strict=True):
        assert error(one, other) <= 1e-4


@pytest.mark.parametrize("text", ALL)
def test_a_short_last_batch_is_a_step_too(load, text):
    net = training.NETS["B"]
    (images, labels), (parameters, velocities) = data(BATCH + 3), start(net)
    got = load(text).train(images, labels, *parameters, *velocities, net=net, **TRAINING)
    want = training.train(images, labels, *parameters, *velocities, net=net, **TRAINING)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-4)


@pytest.mark.parametrize("text", ALL)
def test_layers_before_the_first_weights_have_gradients(load, text):
    net = (("max_pool", {"ksize": (2, 2), "strides": (2, 2), "padding": "VALID"}), *NUMBERS)
    (images, labels), rng = data(4), np.random.default_rng(3)
    parameters = [rng.standard_normal((196, 10)).astype(np.float32), np.zeros(10, np.float32)]
    got = load(text).loss_and_gradients(images, labels, *parameters, net=net)
    want = training.loss_and_gradients(images.astype(float), labels, *wide(parameters), net=net)
    for one, other in zip(got, want, strict=True):
        assert error(one, other) <= 5e-5


@pytest.mark.parametrize("text", ALL)
def test_a_wrong_net_is_refused(load, text):
    images, labels = data(2)
    parameters = [np.zeros((784, 10), np.float32), np.zeros(10, np.float32)]
    backend, wrong, options = load(text), (("dense", {"outputs": 10}), ("softmax", {})), TRAINING
    with pytest.raises(ValueError, match="layer 1 of the net is of kind 'softmax'; known: conv2d, max_pool, relu"):
        backend.loss_and_gradients(images, labels, *parameters, net=wrong)
    with pytest.raises(ValueError, match="layer 1 of the net is of kind 'softmax'"):
        backend.train(images, labels, *parameters, *parameters, net=wrong, **options)
    with pytest.raises(ValueError, match="1 parameters, expected 2 for this net"):
        backend.loss_and_gradients(images, labels, parameters[0], net=NUMBERS)
    with pytest.raises(ValueError, match="2 parameters and velocities, expected 4"):
        backend.train(images, labels, *parameters, net=NUMBERS, **options)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("numpy:definition", "would take hours"),
        pytest.param("torch@native-same", "padding='same'", marks=pytest.mark.frameworks),
        pytest.param("tensorflow@depthwise", "the other modes ask for pooling", marks=pytest.mark.frameworks),
        pytest.param("tensorflow@nchw", "NHWC", marks=pytest.mark.frameworks),
    ],
)
def test_a_mode_that_has_no_way_to_do_it_says_so(load, text, words):
    net = training.NETS["B"]
    (images, labels), (parameters, velocities) = data(2), start(net)
    with pytest.raises(Unsupported, match=words):
        load(text).loss_and_gradients(images, labels, *parameters, net=net)
    with pytest.raises(Unsupported, match=words):
        load(text).train(images, labels, *parameters, *velocities, net=net, **TRAINING)


@pytest.mark.frameworks
def test_a_rate_that_keras_cannot_keep_velocities_with(load):
    images, labels = data(2)
    state = [np.zeros((784, 10), np.float32), np.zeros(10, np.float32)] * 2
    with pytest.raises(Unsupported, match="at a rate of 0"):
        load("tensorflow").train(images, labels, *state, net=NUMBERS, **{**TRAINING, "rate": 0.0})


@pytest.mark.frameworks
def test_filters_that_do_not_fit_are_no_groups(load):
    images, labels = np.zeros((2, 4, 4, 2), np.float32), np.zeros(2, np.int64)
    net = (("conv2d", {"filters": 2, "ksize": (1, 1), "strides": (1, 1), "padding": "SAME"}), *NUMBERS)
    shapes = [(1, 1, 1, 2), (2,), (32, 10), (10,)]
    parameters = [np.zeros(shape, np.float32) for shape in shapes]
    for text in ("torch", "tensorflow"):
        with pytest.raises((ValueError, RuntimeError), match="channels"):
            load(text).loss_and_gradients(images, labels, *parameters, net=net)


def test_they_are_methods_of_the_protocol():
    net = training.NETS["B"]
    (images, labels), (parameters, velocities) = data(BATCH), start(net)
    arrays = (images, labels, *parameters, *velocities)
    request = Request("train", arrays, ("readonly",) * len(arrays), {"net": net, **TRAINING})
    with RemoteBackend("numpy") as backend:
        assert {"loss_and_gradients", "train"} <= set(backend.hello["methods"])
        answer = backend.call(request)
    assert (answer.status, answer.mutated, answer.aliases) == ("ok", (), ())
    for one, other in zip(answer.arrays, training.train(*arrays, net=net, **TRAINING), strict=True):
        np.testing.assert_array_equal(one, other)
    assert "train" not in worker.hello(object(), "none")["methods"]
