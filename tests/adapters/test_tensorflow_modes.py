"""The modes of TensorFlow: each is really in force while it runs."""

import os
import re
from types import SimpleNamespace

import numpy as np
import pytest
from moded import ONES, STRIDED, UNEVEN, answers, convolve, depthwise

from convspec.adapters import BackendImportError, Unsupported, registry
from convspec.adapters.tensorflow_modes import MODES as TENSORFLOW_MODES

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")
pytest.importorskip("ml_dtypes")

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def asked(monkeypatch):
    """What tf.nn was called with, and whether it was traced."""
    calls = []

    def watch(name):
        own = getattr(tf.nn, name)

        def spy(x, *rest, **options):
            calls.append(SimpleNamespace(name=name, x=x, rest=rest, options=options, traced=not tf.executing_eagerly()))
            return own(x, *rest, **options)

        monkeypatch.setattr(tf.nn, name, spy)

    for name in ("conv2d", "depthwise_conv2d", "max_pool2d"):
        watch(name)
    return calls


@pytest.mark.parametrize(("mode", "traced"), [("eager", False), ("function", True), ("xla", True)])
def test_functions_are_traced(frameworks, asked, mode, traced):
    refused = answers(frameworks, registry.load(f"tensorflow@{mode}"), ONES)
    assert refused == {}
    assert {call.traced for call in asked} == {traced}


@pytest.mark.parametrize("mode", ["function", "xla"])
def test_xla_compiles_and_a_function_alone_does_not(frameworks, monkeypatch, mode):
    made, own = [], tf.function
    monkeypatch.setattr(tf, "function", lambda *rest, **options: made.append(own(*rest, **options)) or made[-1])
    case = frameworks.Convolution("float32", ONES)
    backend = registry.load(f"tensorflow@{mode}")
    for _ in range(2):
        frameworks.same(backend.conv2d(case.x, case.w, **case.keywords), case.y - case.bias)
    [function] = made  # the second call, of the same shapes, is not traced anew
    [traced] = function._list_all_concrete_functions()
    assert traced.function_def.attr["_XlaMustCompile"].b == (mode == "xla")


def test_what_xla_cannot_compile_is_unsupported(frameworks, load):
    case = frameworks.Pooling("float32", ONES)
    with pytest.raises(Unsupported, match="TensorFlow says: Detected unsupported operations") as refusal:
        load("tensorflow@xla").max_pool_with_argmax(case.x, **case.keywords)
    assert "\n" not in str(refusal.value)


def test_explicit_pads_are_what_same_goes_in_as(frameworks, load, asked):
    answers(frameworks, load("tensorflow@eager"), STRIDED)
    assert {call.options.get("padding", call.rest[-1]) for call in asked} == {"SAME"}
    asked.clear()
    answers(frameworks, load("tensorflow@explicit"), STRIDED)
    pads = {call.name: call.options.get("padding", call.rest[-1]) for call in asked}
    # 7 rows and 6 columns: the kernel is 3 by 2, the window 2 by 3.
    assert pads == {"conv2d": [[0, 0], [1, 1], [0, 0], [0, 0]], "max_pool2d": [[0, 0], [0, 1], [0, 1], [0, 0]]}


def test_nchw_is_what_tensorflow_sees(frameworks, load, asked):
    case = frameworks.Convolution("float32", UNEVEN)
    refused = ""
    try:  # oneDNN's convolution takes it, on processors for which TensorFlow uses that
        got = load("tensorflow@nchw").conv2d(case.x, case.w, bias=case.bias, **case.keywords)
        frameworks.same(got, case.y)
    except Unsupported as refusal:
        refused = str(refusal)
    assert not refused or refused.startswith("TensorFlow says: The Conv2D op currently only supports the NHWC")
    assert asked[-1].options["data_format"] == "NCHW"
    assert tuple(asked[-1].x.shape) == (2, 4, 7, 6)
    assert asked[-1].options["padding"] == [[0, 0], [0, 0], [1, 0], [0, 1]]


def test_nchw_is_brought_back(frameworks, load, monkeypatch):
    """What a GPU would do, without one: the convolution is the CPU's, behind the same arguments."""
    own = tf.nn.conv2d

    def nchw(x, w, *, strides, padding, dilations, data_format):
        assert data_format == "NCHW"
        pads = [padding[0], padding[2], padding[3], padding[1]]
        y = own(tf.transpose(x, (0, 2, 3, 1)), w, strides=strides, padding=pads, dilations=dilations)
        return tf.transpose(y, (0, 3, 1, 2))

    monkeypatch.setattr(tf.nn, "conv2d", nchw)
    case = frameworks.Convolution("float32", UNEVEN)
    frameworks.same(load("tensorflow@nchw").conv2d(case.x, case.w, bias=case.bias, **case.keywords), case.y)


def test_what_a_graph_does_not_offer_is_one_sentence(frameworks, load):
    case = frameworks.Convolution("float64", ONES, groups=2)
    with pytest.raises(Unsupported) as refusal:
        load("tensorflow@function").conv2d_vjp(case.x, case.w, case.dy, **case.keywords)
    # Two nodes refuse, one for each gradient, and either may be the first.
    assert re.match(
        "TensorFlow says: (Gradients for grouped convolutions are|filter_size does not have)", str(refusal.value)
    )
    assert "node" not in str(refusal.value)


@pytest.mark.parametrize("groups", [1, 4])
def test_keras_layers_are_what_runs(frameworks, load, monkeypatch, groups):
    keras = pytest.importorskip("keras")
    called = []
    for layer in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.MaxPooling2D):

        def call(self, x, own=layer.call):
            called.append(type(self).__name__)
            return own(self, x)

        monkeypatch.setattr(layer, "call", call)
    assert answers(frameworks, load("tensorflow@keras"), STRIDED, groups) == {}
    convolution = "Conv2D" if groups == 1 else "DepthwiseConv2D"
    assert called == [convolution, convolution, "MaxPooling2D", "MaxPooling2D"]


def test_keras_on_another_framework_is_refused(monkeypatch):
    keras = pytest.importorskip("keras")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(BackendImportError, match=r"it needs Keras 3 on TensorFlow, and this is Keras 3\S* on jax"):
        registry.load("tensorflow@keras")


def test_depthwise_is_an_operation_of_its_own(frameworks, load, asked):
    case = depthwise(frameworks, STRIDED)
    frameworks.same(load("tensorflow@depthwise").conv2d(case.x, case.w, **case.keywords), case.y)
    assert [call.name for call in asked] == ["depthwise_conv2d"]
    for method, inputs in [("max_pool", 1), ("max_pool_vjp", 2), ("max_pool_with_argmax", 1)]:
        with pytest.raises(Unsupported, match="is a convolution; the other modes ask for pooling"):
            getattr(load("tensorflow@depthwise"), method)(*[case.x] * inputs, ksize=(2, 2), **ONES)


@pytest.mark.parametrize(("mode", "kind"), [("eager", False), ("numpy-input", True)])
def test_numpy_arrays_go_in_as_they_are(frameworks, load, asked, mode, kind):
    convolve(frameworks, load(f"tensorflow@{mode}"))
    assert isinstance(asked[-1].x, np.ndarray) == kind
    assert isinstance(asked[-1].rest[0], np.ndarray) == kind


@pytest.mark.parametrize(("mode", "allowed"), [("tf32", True), ("notf32", False)])
def test_tf32_is_switched_for_the_call_alone(monkeypatch, mode, allowed):
    """What a GPU would do, without one: the switch is TensorFlow's own."""
    switch = tf.config.experimental
    switch.enable_tensor_float_32_execution(not allowed)
    try:
        with TENSORFLOW_MODES[mode].how(tf).running():
            assert switch.tensor_float_32_execution_enabled() == allowed
        assert switch.tensor_float_32_execution_enabled() != allowed
    finally:
        switch.enable_tensor_float_32_execution(True)
