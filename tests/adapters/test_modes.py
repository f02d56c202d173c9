"""The modes of the adapters: each agrees with the reference, and each is really in force while it runs."""

import os
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from convspec.adapters import BackendImportError, DeviceUnavailable, Unsupported, registry
from convspec.adapters.tensorflow_modes import MODES as TENSORFLOW_MODES
from convspec.adapters.torch_backend import TorchBackend
from convspec.adapters.torch_modes import MODES as TORCH_MODES

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
torch = pytest.importorskip("torch")
tf = pytest.importorskip("tensorflow")
pytest.importorskip("ml_dtypes")

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's compiler imports what torch deprecates
]

# A process has oneDNN or has it not, so test_tensorflow_backend.py asks that mode in processes of their own.
CPU = [text for text in registry.expand(["torch@*", "tensorflow@*"]) if text != "tensorflow@noonednn"]
QUICK = [text for text in CPU if text != "torch@compile"]
ONES = {"strides": (1, 1), "padding": "VALID", "dilations": (1, 1)}
STRIDED = {"strides": (2, 2), "padding": "SAME", "dilations": (1, 1)}
UNEVEN = {"strides": (2, 1), "padding": ((1, 0), (0, 1)), "dilations": (1, 1)}
DILATED = {"strides": (1, 1), "padding": "SAME", "dilations": (2, 1)}


@pytest.fixture(scope="module")
def load():
    """One backend a mode: some take seconds to start."""
    loaded = {}
    return lambda text: loaded.setdefault(text, None) or loaded.update({text: registry.load(text)}) or loaded[text]


def depthwise(frameworks, keywords, name="float32"):
    """A convolution of four channels, each with two filters of its own."""
    case = frameworks.Convolution(name, keywords)
    case.keywords["groups"] = 4
    case.w, case.bias = case.w.reshape(3, 2, 1, -1)[..., :8], np.zeros(8, case.x.dtype)
    reference = registry.load("numpy")
    case.y = reference.conv2d(case.x, case.w, **case.keywords)
    case.dy = (np.arange(case.y.size) % 3 - 1).reshape(case.y.shape).astype(case.y.dtype)
    case.dx, case.dw = reference.conv2d_vjp(case.x, case.w, case.dy, **case.keywords)
    return case


def answers(frameworks, backend, keywords, groups=1, name="float32"):
    """What the four methods answer, each checked against the reference; the methods that refused, and their words."""
    each = depthwise(frameworks, keywords, name) if groups == 4 else frameworks.Convolution(name, keywords, groups)
    pooling = frameworks.Pooling(name, keywords)
    refused = {}
    for method, case, inputs, want in [
        ("conv2d", each, (each.x, each.w), each.y - each.bias),
        ("conv2d_vjp", each, (each.x, each.w, each.dy), (each.dx, each.dw)),
        ("max_pool", pooling, (pooling.x,), pooling.y),
        ("max_pool_vjp", pooling, (pooling.x, pooling.dy), pooling.dx),
    ]:
        if method == "max_pool_vjp" and backend.mode == "xla":
            continue  # which of several maxima gets the gradient is for the suite to find
        try:
            got = getattr(backend, method)(*inputs, **case.keywords)
        except Unsupported as refusal:
            refused[method] = str(refusal)
            continue
        pairs = zip(got, want, strict=True) if isinstance(got, tuple) else [(got, want)]
        for one, right in pairs:
            frameworks.same(one, right)
    assert not any("\n" in words for words in refused.values())
    return refused


# Not numpy-input in other types: tf.nn.max_pool2d makes float32 of their arrays, which is for the suite to find.
PLAINEST = [(text, name) for text in QUICK for name in ("float32", "float64")]
PLAINEST.remove(("tensorflow@numpy-input", "float64"))


@pytest.mark.parametrize(("text", "name"), PLAINEST)
def test_the_plainest_case_is_right_in_every_mode(frameworks, load, text, name):
    refused = answers(frameworks, load(text), ONES, name=name)
    if text == "tensorflow@nchw":
        assert len(refused) == 4
        assert all("NHWC" in words for words in refused.values())
    elif text == "tensorflow@depthwise":
        assert len(refused) == 4  # four channels, one group
    else:
        assert refused == {}


@pytest.mark.parametrize("keywords", [STRIDED, UNEVEN, DILATED], ids=["strided", "uneven", "dilated"])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("text", QUICK)
def test_what_a_mode_does_is_right(frameworks, load, text, groups, keywords):
    refused = answers(frameworks, load(text), keywords, groups)
    if text in ("torch@eager", "torch@channels_last", "torch@nomkldnn", "torch@modules"):
        assert refused == {}
    if text == "tensorflow@depthwise" and groups == 4 and keywords is not UNEVEN:  # it takes equal strides only
        assert "conv2d" not in refused


@pytest.mark.parametrize("text", QUICK)
def test_a_bias_is_added(frameworks, load, text):
    case = frameworks.Convolution("float32", ONES)
    try:
        got = load(text).conv2d(case.x, case.w, bias=case.bias, **case.keywords)
    except Unsupported:
        assert text in ("tensorflow@nchw", "tensorflow@depthwise")
    else:
        frameworks.same(got, case.y)


def test_compiled_cases_are_right_and_nothing_falls_back(frameworks, load, monkeypatch):
    if "torch@compile" not in CPU:
        pytest.skip("there is no C++ compiler here")
    backend = load("torch@compile")
    from torch._dynamo.utils import counters

    counters.clear()
    case = frameworks.Convolution("float32", STRIDED)
    frameworks.same(backend.conv2d(case.x, case.w, bias=case.bias, **case.keywords), case.y)
    assert counters["stats"]["unique_graphs"] == 1
    dx, dw = backend.conv2d_vjp(case.x, case.w, case.dy, **case.keywords)
    frameworks.same(dx, case.dx)
    frameworks.same(dw, case.dw)
    pooling = frameworks.Pooling("float32", STRIDED)
    frameworks.same(backend.max_pool_vjp(pooling.x, pooling.dy, **pooling.keywords), pooling.dx)
    assert counters["stats"]["unique_graphs"] == 3
    assert not counters["graph_break"]
    assert torch._dynamo.config.recompile_limit == sys.maxsize


def test_a_compiler_that_does_not_work_is_one_line(monkeypatch):
    def compile_(function, **options):
        def broken(*inputs):
            raise RuntimeError("no working\ncompiler")

        return broken

    monkeypatch.setattr(torch, "compile", compile_)
    with pytest.raises(DeviceUnavailable) as error:
        TorchBackend("cpu", "compile")
    assert str(error.value) == "torch@compile: torch.compile does not work here: no working compiler"


# ---- in force: torch


@pytest.fixture
def seen(monkeypatch):
    """What torch.nn.functional.conv2d was called with, and the switches at the time."""
    calls, own = [], torch.nn.functional.conv2d

    def spy(x, w, *rest, **options):
        backends = torch.backends
        calls.append(
            SimpleNamespace(
                x=x,
                w=w,
                options=options,
                nomkldnn=not backends.mkldnn.enabled,
                nocudnn=not backends.cudnn.enabled,
                benchmark=backends.cudnn.benchmark,
                deterministic=backends.cudnn.deterministic and torch.are_deterministic_algorithms_enabled(),
                tf32=backends.cudnn.allow_tf32 and backends.cuda.matmul.allow_tf32,
                notf32=not backends.cudnn.allow_tf32 and not backends.cuda.matmul.allow_tf32,
            )
        )
        return own(x, w, *rest, **options)

    monkeypatch.setattr(torch.nn.functional, "conv2d", spy)
    return calls


def convolve(frameworks, backend, keywords=ONES):
    case = frameworks.Convolution("float32", keywords)
    return backend.conv2d(case.x, case.w, **case.keywords)


@pytest.mark.parametrize(("mode", "laid"), [("eager", False), ("channels_last", True)])
def test_channels_last_is_the_layout_that_torch_sees(frameworks, load, seen, mode, laid):
    for keywords in (ONES, UNEVEN):
        convolve(frameworks, load(f"torch@{mode}"), keywords)
        for tensor in (seen[-1].x, seen[-1].w):
            assert tensor.is_contiguous(memory_format=torch.channels_last) == laid
            assert tensor.is_contiguous() != laid


def test_mkldnn_is_off_for_the_call_alone(frameworks, load, seen):
    convolve(frameworks, load("torch@nomkldnn"))
    assert seen[-1].nomkldnn
    assert torch.backends.mkldnn.enabled
    convolve(frameworks, load("torch@eager"))
    assert not seen[-1].nomkldnn


SWITCHES = ["tf32", "notf32", "nocudnn", "benchmark", "deterministic"]


@pytest.mark.parametrize("mode", SWITCHES)
def test_a_switch_for_a_gpu_is_set_for_the_call_alone(frameworks, seen, mode, monkeypatch):
    """What a GPU would do, without one: the switches are torch's own, and the tensors stay where they are."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which deterministic would leave behind
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    plain, switched = TorchBackend("cuda"), registry.load(f"torch:cuda@{mode}")
    for backend in (plain, switched, plain):
        backend._device = "cpu"
        convolve(frameworks, backend)
    before, during, after = seen
    assert getattr(during, mode)
    # By torch's own defaults TF32 is on in cuDNN and off in matrix products: neither of the two.
    assert not getattr(before, mode)
    assert not getattr(after, mode)


@pytest.mark.parametrize(("mode", "tf32"), [("tf32", True), ("notf32", False), ("nocudnn", False), ("benchmark", True)])
def test_the_contract_follows_the_switch(mode, tf32, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert TorchBackend("cuda", mode).contract.tf32 == tf32


def test_native_same_goes_to_torch_by_name_or_is_refused(frameworks, load, seen):
    backend = load("torch@native-same")
    convolve(frameworks, backend, {**ONES, "padding": "SAME"})
    assert seen[-1].options["padding"] == "same"
    with pytest.raises(Unsupported, match="torch says: padding='same' is not supported for strided convolutions"):
        convolve(frameworks, backend, STRIDED)
    with pytest.raises(Unsupported, match="max_pool2d takes no padding='same'"):
        backend.max_pool(np.ones((1, 3, 3, 1), np.float32), ksize=(2, 2), **{**ONES, "padding": "SAME"})


@pytest.mark.parametrize("mode", ["eager", "modules"])
def test_modules_are_what_runs(frameworks, load, mode):
    called = []
    hook = torch.nn.modules.module.register_module_forward_hook(lambda module, *rest: called.append(type(module)))
    try:
        answers(frameworks, load(f"torch@{mode}"), UNEVEN)
    finally:
        hook.remove()
    conv2d, max_pool = torch.nn.Conv2d, torch.nn.MaxPool2d
    assert called == ([conv2d, conv2d, max_pool, max_pool] if mode == "modules" else [])


# ---- in force: TensorFlow


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
    with pytest.raises(Unsupported, match="TensorFlow says: The Conv2D op currently only supports the NHWC"):
        load("tensorflow@nchw").conv2d(case.x, case.w, **case.keywords)
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


@pytest.mark.parametrize("name", ["int8", "uint8", "int64"])
@pytest.mark.parametrize("text", [text for text in QUICK if not re.search("nchw|depthwise|numpy-input", text)])
def test_integers_are_pooled(frameworks, load, text, name):
    x = np.array([-128, -127, -128, -128, 5, -128], "int8").astype(name).reshape(1, 2, 3, 1)
    keywords = {"ksize": (2, 2), **ONES}
    frameworks.same(load(text).max_pool(x, **keywords), registry.load("numpy").max_pool(x, **keywords))


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


def test_each_mode_says_what_it_is_in_one_line():
    for modes in (TORCH_MODES, TENSORFLOW_MODES):
        lines = [mode.what for mode in modes.values()]
        assert len(set(lines)) == len(lines)
        assert not any("\n" in line for line in lines)
