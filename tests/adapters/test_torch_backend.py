"""The torch adapter against the reference, and that torch is the one to answer."""

import numpy as np
import pytest

from convspec.adapters import DeviceUnavailable, Unsupported, registry
from convspec.adapters.torch_backend import TorchBackend

torch = pytest.importorskip("torch")
pytest.importorskip("ml_dtypes")

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning"),
]
ONES = {"strides": (1, 1), "padding": "VALID", "dilations": (1, 1)}
X = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
W = np.ones((2, 2, 1, 1), np.float32)


@pytest.fixture(scope="module")
def backend():
    return registry.load("torch")


def test_it_says_what_it_is(backend):
    assert (backend.name, backend.device, backend.version) == ("torch", "cpu", torch.__version__)
    assert not backend.contract.tf32


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution(frameworks, backend, name, keywords, groups):
    case = frameworks.Convolution(name, keywords, groups)
    frameworks.same(backend.conv2d(case.x, case.w, bias=case.bias, **case.keywords), case.y)
    dx, dw = backend.conv2d_vjp(case.x, case.w, case.dy, **case.keywords)
    frameworks.same(dx, case.dx)
    frameworks.same(dw, case.dw)


def test_pooling(frameworks, backend, name, keywords):
    case = frameworks.Pooling(name, keywords)
    frameworks.same(backend.max_pool(case.x, **case.keywords), case.y)
    frameworks.same(backend.max_pool_vjp(case.x, case.dy, **case.keywords), case.dx)
    y, argmax = backend.max_pool_with_argmax(case.x, **case.keywords)
    frameworks.same(y, case.y)
    frameworks.same(argmax, case.argmax)


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "int32", "int64"])
@pytest.mark.parametrize("padding", ["SAME", ((3, 0), (0, 2))])
def test_integer_pooling(frameworks, backend, name, padding):
    case = frameworks.Lowest(name, padding)
    frameworks.same(backend.max_pool(case.x, **case.keywords), case.y)


def test_a_pad_is_never_the_first_maximum(frameworks, backend):
    x = np.full((1, 3, 4, 1), -np.inf, np.float32)
    keywords = {"ksize": (3, 2), "strides": (2, 2), "padding": ((1, 2), (0, 1)), "dilations": (1, 1)}
    y, argmax = registry.load("numpy").max_pool_with_argmax(x, **keywords)
    got = backend.max_pool_with_argmax(x, **keywords)
    frameworks.same(got[0], y)
    valid = argmax >= 0
    assert valid.any()
    frameworks.same(got[1][valid], argmax[valid])


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
        ({"strides": (0, 1)}, "non-positive stride is not supported"),
        ({"strides": (-1, 1), "padding": "SAME"}, "non-positive stride is not supported"),
        ({"dilations": (0, 1)}, "dilation should be greater than zero"),
        ({"padding": "BANANA"}, "Invalid padding string"),
        ({"padding": ((-1, 0), (0, 0))}, "negative padding is not supported"),
        ({"groups": 2}, "groups=2"),
    ],
)
def test_torch_is_the_one_to_refuse(backend, keywords, words):
    with pytest.raises(RuntimeError, match=words):
        backend.conv2d(X, W, **{"groups": 1, **ONES, **keywords})


def test_torch_sees_dtypes_and_the_shape_of_the_gradient(backend):
    with pytest.raises(RuntimeError, match="expected scalar type"):
        backend.conv2d(X, W.astype(np.float64), groups=1, **ONES)
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        backend.conv2d_vjp(X, W, X, groups=1, **ONES)


def test_what_torch_says_it_does_not_offer_is_unsupported(backend):
    pool = {"ksize": (2, 2), **ONES}
    with pytest.raises(Unsupported, match=r"torch says: .* not implemented for 'UInt16'"):
        backend.max_pool(X.astype(np.uint16), **pool)
    with pytest.raises(Unsupported, match="autograd is for floating point types"):
        backend.max_pool_vjp(X.astype(np.int32), np.ones((1, 2, 2, 1), np.int32), **pool)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_one_line(device):
    if getattr(torch.backends if device == "mps" else torch, device).is_available():
        pytest.skip(f"there is a {device} device here")
    with pytest.raises(DeviceUnavailable) as error:
        registry.load(f"torch:{device}")
    module = "torch.backends.mps" if device == "mps" else "torch.cuda"
    expected = (
        f"torch:{device}: no {device.upper()} device: {module}.is_available() is False in torch {torch.__version__}"
    )
    assert str(error.value) == expected


def test_tf32_is_declared_as_torch_has_it(monkeypatch):
    """What a GPU would do, without one: the switch is torch's own and so is its answer."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    for allowed in (True, False):
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
        backend = TorchBackend("cuda")
        assert (backend.device, backend.contract.tf32) == ("a GPU", allowed)
