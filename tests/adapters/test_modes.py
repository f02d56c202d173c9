"""The modes of the adapters: each agrees with the reference, and each is really in force while it runs."""

import os
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from moded import DILATED, ONES, STRIDED, UNEVEN, answers, convolve

from convspec.adapters import DeviceUnavailable, Unsupported, registry
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


# Not numpy-input in other types: tf.nn.max_pool2d makes float32 of their arrays, which is for the suite to find.
PLAINEST = [(text, name) for text in QUICK for name in ("float32", "float64")]
PLAINEST.remove(("tensorflow@numpy-input", "float64"))


@pytest.mark.parametrize(("text", "name"), PLAINEST)
def test_the_plainest_case_is_right_in_every_mode(frameworks, load, text, name):
    refused = answers(frameworks, load(text), ONES, name=name)
    if text == "tensorflow@nchw":
        assert len(refused) in (1, 4)  # oneDNN's convolutions take NCHW, on processors for which TensorFlow uses them
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


@pytest.mark.parametrize("name", ["int8", "uint8", "int64"])
@pytest.mark.parametrize("text", [text for text in QUICK if not re.search("nchw|depthwise|numpy-input", text)])
def test_integers_are_pooled(frameworks, load, text, name):
    x = np.array([-128, -127, -128, -128, 5, -128], "int8").astype(name).reshape(1, 2, 3, 1)
    keywords = {"ksize": (2, 2), **ONES}
    frameworks.same(load(text).max_pool(x, **keywords), registry.load("numpy").max_pool(x, **keywords))


def test_each_mode_says_what_it_is_in_one_line():
    for modes in (TORCH_MODES, TENSORFLOW_MODES):
        lines = [mode.what for mode in modes.values()]
        assert len(set(lines)) == len(lines)
        assert not any("\n" in line for line in lines)
