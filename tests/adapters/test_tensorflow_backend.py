"""The TensorFlow adapter against the reference, and that TensorFlow is the one to answer."""

import os
import subprocess
import sys

import numpy as np
import pytest

from convspec.adapters import BackendImportError, DeviceUnavailable, Unsupported, registry
from convspec.adapters.tensorflow_backend import TensorflowBackend

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")

pytestmark = pytest.mark.frameworks
ONES = {"strides": (1, 1), "padding": "VALID", "dilations": (1, 1)}
X = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
W = np.ones((2, 2, 1, 1), np.float32)
POOL = {"ksize": (2, 2), **ONES}


@pytest.fixture(scope="module")
def backend():
    return registry.load("tensorflow")


def test_it_says_what_it_is(backend):
    assert (backend.name, backend.device, backend.version) == ("tensorflow", "cpu", tf.__version__)
    assert not backend.contract.tf32


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution(frameworks, backend, name, keywords, groups):
    case = frameworks.Convolution(name, keywords, groups)
    frameworks.same(backend.conv2d(case.x, case.w, bias=case.bias, **case.keywords), case.y)


def test_convolution_gradients(frameworks, backend, name, keywords):
    case = frameworks.Convolution(name, keywords)
    try:
        dx, dw = backend.conv2d_vjp(case.x, case.w, case.dy, **case.keywords)
    except Unsupported as refusal:
        # Which dtypes this concerns depends on the CPU: oneDNN's kernels have dilated gradients, Eigen's do not.
        refused = str(refusal)
    else:
        frameworks.same(dx, case.dx)
        frameworks.same(dw, case.dw)
        return
    assert "do not yet support dilation rates larger than 1" in refused
    assert keywords["dilations"] != (1, 1)


def test_gradients_of_groups_are_not_supported_on_the_cpu(frameworks, backend):
    # In float64 whatever the kernels; oneDNN's have them in float32.
    case = frameworks.Convolution("float64", ONES, groups=2)
    with pytest.raises(Unsupported, match="says: Gradients for grouped convolutions are not supported on CPU"):
        backend.conv2d_vjp(case.x, case.w, case.dy, **case.keywords)


def test_pooling(frameworks, backend, name, keywords):
    case = frameworks.Pooling(name, keywords)
    dilated = keywords["dilations"] != (1, 1)
    if dilated and not (keywords["padding"] == "VALID" and keywords["strides"] == (1, 1)):
        for method, arrays in [("max_pool", [case.x]), ("max_pool_vjp", [case.x, case.dy])]:
            with pytest.raises(Unsupported, match=r"documentation|not implemented|not supported"):
                getattr(backend, method)(*arrays, **case.keywords)
        return
    frameworks.same(backend.max_pool(case.x, **case.keywords), case.y)
    frameworks.same(backend.max_pool_vjp(case.x, case.dy, **case.keywords), case.dx)


def test_argmax(frameworks, backend, keywords):
    case = frameworks.Pooling("float32", keywords)
    if keywords["dilations"] != (1, 1) or keywords["padding"] not in ("SAME", "VALID"):
        with pytest.raises(Unsupported, match=r"tf\.nn\.max_pool_with_argmax"):
            backend.max_pool_with_argmax(case.x, **case.keywords)
        return
    y, argmax = backend.max_pool_with_argmax(case.x, **case.keywords)
    frameworks.same(y, case.y)
    frameworks.same(argmax, case.argmax)


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "uint16", "int32", "int64"])
def test_integer_pooling(frameworks, backend, name):
    case = frameworks.Lowest(name, "SAME")
    frameworks.same(backend.max_pool(case.x, **case.keywords), case.y)


def test_memory_layouts_and_what_the_caller_owns(frameworks, backend, layout):
    x = layout(X)
    x.flags.writeable = False
    before = X.tobytes()
    frameworks.same(backend.conv2d(x, W, groups=1, **ONES), registry.load("numpy").conv2d(x, W, groups=1, **ONES))
    assert X.tobytes() == before


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"strides": (0, 1)}, r"strides should be larger than 0|Stride must be > 0"),
        ({"dilations": (0, 1)}, "Dilated rates should be larger than 0"),
        ({"padding": "BANANA"}, "Value for attr 'padding' of \"BANANA\""),
        ({"padding": ((-1, 0), (0, 0))}, r"must be nonnegative|could not create a primitive"),
    ],
)
def test_tensorflow_is_the_one_to_refuse(backend, keywords, words):
    # In Eigen's words or in oneDNN's: an exception of TensorFlow's own either way.
    with pytest.raises(tf.errors.OpError, match=words):
        backend.conv2d(X, W, **{"groups": 1, **ONES, **keywords})


def test_tensorflow_sees_dtypes_channels_and_the_shape_of_the_gradient(backend):
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected to be a float tensor but is a double"):
        backend.conv2d(X, W.astype(np.float64), groups=1, **ONES)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be evenly divisible by filter depth"):
        backend.conv2d(X, np.ones((2, 2, 2, 1), np.float32), groups=1, **ONES)
    with pytest.raises(tf.errors.OpError, match=r"doesn't match|could not create a primitive"):
        backend.conv2d_vjp(X, W, X, groups=1, **ONES)


@pytest.mark.parametrize("groups", [0, 1, 3])
def test_groups_that_cannot_be_told_to_tensorflow_are_not_guessed(backend, groups):
    x = np.ones((1, 3, 3, 4), np.float32)
    with pytest.raises(ValueError, match=rf"groups is {groups}; tf.nn.conv2d reads 2 from x"):
        backend.conv2d(x, np.ones((1, 1, 2, 6), np.float32), groups=groups, **ONES)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda b: b.max_pool(X.astype(np.uint32), **POOL), "says: Value for attr 'T' of uint32 is not in the list"),
        (
            lambda b: b.max_pool_vjp(X.astype(np.int32), X[:, :2, :2].astype(np.int32), **POOL),
            "floating point types only",
        ),
        (lambda b: b.max_pool(X, **{**POOL, "padding": ((2, 0), (0, 0))}), "Top padding 2 needs to be smaller than"),
    ],
)
def test_what_tensorflow_says_it_does_not_offer_is_unsupported(backend, call, words):
    with pytest.raises(Unsupported, match=words) as refusal:
        call(backend)
    assert "NodeDef" not in str(refusal.value)
    assert "[Op:" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_gpu_that_is_not_there_is_one_line():
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU here")
    with pytest.raises(DeviceUnavailable) as error:
        registry.load("tensorflow:gpu")
    built = "with" if tf.test.is_built_with_cuda() else "without"
    assert str(error.value) == (
        "tensorflow:gpu: no GPU device: tf.config.list_physical_devices('GPU') is empty in TensorFlow "
        f"{tf.__version__}, built {built} CUDA"
    )


def test_the_other_kernels_cannot_be_had_once_tensorflow_is_imported(monkeypatch):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    with pytest.raises(BackendImportError, match="TensorFlow is imported already; set TF_ENABLE_ONEDNN_OPTS=0 before"):
        TensorflowBackend(mode="noonednn")


KERNELS = """
import os, sys
import numpy as np
from convspec.adapters import registry
backend = registry.load(f"tensorflow@{sys.argv[1]}")
x = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
y = backend.conv2d(x, x.reshape(3, 3, 1, 1), strides=(1, 1), padding="VALID", dilations=(1, 1), groups=1)
from tensorflow.python.util import _pywrap_util_port
print(backend.mode, os.environ["TF_ENABLE_ONEDNN_OPTS"], y.item(), _pywrap_util_port.IsMklEnabled())
"""


@pytest.mark.parametrize(("mode", "switch"), [("eager", "1"), ("noonednn", "0")])
def test_the_kernels_can_be_chosen(mode, switch):
    env = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    answer = subprocess.run([sys.executable, "-c", KERNELS, mode], capture_output=True, text=True, check=True, env=env)
    assert answer.stdout.split() == [mode, switch, "204.0", str(mode == "eager")]
