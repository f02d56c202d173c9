"""The ONNX Runtime adapter against the reference, and that ONNX Runtime is the one to answer."""

import subprocess
import sys

import numpy as np
import pytest

from convspec.adapters import DeviceUnavailable, Unsupported, registry
from convspec.adapters.onnxruntime_backend import OnnxruntimeBackend

pytestmark = pytest.mark.frameworks
ONES = {"strides": (1, 1), "padding": "VALID", "dilations": (1, 1)}
X = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
W = np.ones((2, 2, 1, 1), np.float32)
POOL = {"ksize": (2, 2), **ONES}


@pytest.fixture(scope="module")
def ort():
    missing = "the package {0} is not installed: pip install 'convspec[onnxruntime]'"
    pytest.importorskip("onnx", reason=missing.format("onnx"))
    return pytest.importorskip("onnxruntime", reason=missing.format("onnxruntime"))


@pytest.fixture(scope="module", params=["initializers", "inputs"])
def backend(request, ort):
    return OnnxruntimeBackend(mode=request.param)


def test_it_says_what_it_is(backend, ort):
    assert (backend.name, backend.device, backend.version) == ("onnxruntime", "cpu", ort.__version__)
    assert not backend.contract.tf32


def test_it_has_a_name_on_the_command_line(ort):
    loaded = registry.load("onnxruntime")
    assert (type(loaded).__name__, loaded.device, loaded.mode) == ("OnnxruntimeBackend", "cpu", "initializers")


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution(frameworks, backend, name, keywords, groups):
    case = frameworks.Convolution(name, keywords, groups)
    if name in ("float64", "bfloat16"):
        with pytest.raises(Unsupported, match="NOT_IMPLEMENTED : Could not find an implementation for Conv"):
            backend.conv2d(case.x, case.w, bias=case.bias, **case.keywords)
        return
    frameworks.same(backend.conv2d(case.x, case.w, bias=case.bias, **case.keywords), case.y)


def answers_of_its_own(keywords):
    """SAME with a dilation is pooled to another size by ONNX Runtime: a finding, not what is asked of the adapter."""
    return keywords["padding"] in ("SAME", "SAME_LOWER") and keywords["dilations"] != (1, 1)


def test_pooling_and_argmax(frameworks, backend, name, keywords):
    if answers_of_its_own(keywords):
        pytest.skip("ONNX Runtime's answer has another size")
    case = frameworks.Pooling(name, keywords)
    if name == "bfloat16":
        with pytest.raises(Unsupported, match="NOT_IMPLEMENTED : Could not find an implementation for MaxPool"):
            backend.max_pool(case.x, **case.keywords)
        return
    frameworks.same(backend.max_pool(case.x, **case.keywords), case.y)
    y, argmax = backend.max_pool_with_argmax(case.x, **case.keywords)
    frameworks.same(y, case.y)
    frameworks.same(argmax, case.argmax)


def test_a_window_without_a_tap_has_no_argmax(backend):
    x = np.full((2, 1, 1, 3), 5, np.float32)
    keywords = {"ksize": (1, 2), "strides": (1, 1), "padding": ((0, 0), (1, 1)), "dilations": (1, 2)}
    _, argmax = backend.max_pool_with_argmax(x, **keywords)
    assert argmax.tolist() == registry.load("numpy").max_pool_with_argmax(x, **keywords)[1].tolist()


@pytest.mark.parametrize("name", ["int8", "uint8"])
def test_integer_pooling(frameworks, backend, name):
    case = frameworks.Lowest(name, "SAME")
    frameworks.same(backend.max_pool(case.x, **case.keywords), case.y)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda b: b.max_pool(X.astype(np.int32), **POOL), r"says: .* Type 'tensor\(int32\)' of input parameter"),
        (lambda b: b.max_pool(X, **{**POOL, "padding": ((2, 0), (0, 0))}), "Pad should be smaller than kernel"),
        (lambda b: b.conv2d_vjp(X, W, X, groups=1, **ONES), "ONNX Runtime's inference build has no gradients"),
        (lambda b: b.max_pool_vjp(X, X, **POOL), "ONNX Runtime's inference build has no gradients"),
    ],
)
def test_what_onnxruntime_says_it_does_not_offer_is_unsupported(backend, call, words):
    with pytest.raises(Unsupported, match=words) as refusal:
        call(backend)
    assert "\n" not in str(refusal.value)


def test_memory_layouts_and_what_the_caller_owns(frameworks, backend, layout):
    x = layout(X)
    x.flags.writeable = False
    before = X.tobytes()
    got = backend.conv2d(x, W, groups=1, **ONES)
    frameworks.same(got, registry.load("numpy").conv2d(x, W, groups=1, **ONES))
    got[...] = -1
    assert X.tobytes() == before


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"strides": (0, 1)}, "Attribute strides must only contain positive values"),
        ({"strides": (-1, 1), "padding": "SAME"}, "Attribute strides must only contain positive values"),
        ({"dilations": (0, 1)}, "Attribute dilations must only contain positive values"),
        ({"padding": "BANANA"}, "Unknown AutoPadType String"),
        ({"groups": 2}, "Input channels C is not equal to kernel channels"),
    ],
)
def test_onnxruntime_is_the_one_to_refuse(backend, keywords, words):
    with pytest.raises(Exception, match=rf"\[ONNXRuntimeError\].*{words}") as error:
        backend.conv2d(X, W, **{"groups": 1, **ONES, **keywords})
    assert not isinstance(error.value, Unsupported)


def test_onnxruntime_sees_ranks_dtypes_channels_and_the_bias(backend):
    for arrays, words in [
        ((X[0], W), "has incorrect size"),
        ((X, W[0]), r"does not match the number of spatial dimensions|num_dims does not match"),
        ((X, W.astype(np.float64)), "bound to different types"),
        ((X, np.ones((2, 2, 2, 1), np.float32)), "Input channels C is not equal to kernel channels"),
    ]:
        with pytest.raises(Exception, match=rf"\[ONNXRuntimeError\].*{words}"):
            backend.conv2d(*arrays, groups=1, **ONES)
    with pytest.raises(Exception, match=r"\[ONNXRuntimeError\].*(bias|Bias)"):
        backend.conv2d(X, W, bias=np.ones(2, np.float32), groups=1, **ONES)


def test_the_modes_run_different_kernels(ort):
    """Sums of the two differ in their last bits: a constant filter is laid out anew, and other kernels take it."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((1, 9, 9, 16)).astype(np.float32)
    w = generator.standard_normal((3, 3, 16, 16)).astype(np.float32)
    first, second = (OnnxruntimeBackend(mode=mode).conv2d(x, w, groups=1, **ONES) for mode in OnnxruntimeBackend.modes)
    assert first.shape == second.shape
    if not (first != second).any():
        pytest.skip("ONNX Runtime lays nothing out anew on this processor")


def test_sessions_are_kept_and_given_up(backend):
    for columns in range(1, 41):
        x = np.ones((1, 2, columns, 1), np.float32)
        for _ in range(2):
            backend.max_pool(x, ksize=(1, 1), **ONES)
    kept = backend._session.cache_info()
    assert kept.currsize == kept.maxsize
    assert kept.hits >= 40


def test_a_gpu_that_is_not_built_in_is_one_line(ort):
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this build has it")
    with pytest.raises(DeviceUnavailable) as error:
        OnnxruntimeBackend("gpu")
    there = ", ".join(ort.get_available_providers())
    assert str(error.value) == (
        f"onnxruntime:gpu: no GPU device: this build of ONNX Runtime {ort.__version__} has {there} and no "
        "CUDAExecutionProvider"
    )


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_a_gpu_that_does_not_start_is_one_line(ort, monkeypatch):
    """A build for CUDA on a machine without it falls back to the CPU by itself, which is not what was asked for."""
    there = ort.get_available_providers()
    if "CUDAExecutionProvider" in there:
        pytest.skip("this build has it")
    monkeypatch.setattr(ort, "get_available_providers", lambda: [*there, "CUDAExecutionProvider"])
    with pytest.raises(DeviceUnavailable, match="CUDAExecutionProvider is there but does not start: ") as error:
        OnnxruntimeBackend("gpu")
    assert "\n" not in str(error.value)


REFUSED = """
import numpy as np
from convspec.adapters.onnxruntime_backend import OnnxruntimeBackend
x = np.ones((1, 3, 3, 1), np.float32)
options = {"strides": (1, 1), "padding": "VALID", "dilations": (1, 1), "groups": 1}
try:
    OnnxruntimeBackend().conv2d(x, np.ones((4, 4, 1, 1), np.float32), **options)
except Exception:
    print("refused")
"""


def test_a_refusal_is_not_logged_too(ort):
    answer = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True, check=True)
    assert (answer.stdout.split(), answer.stderr) == (["refused"], "")
