"""The JAX adapter against the reference, and that JAX is the one to answer."""

import numpy as np
import pytest

from convspec.adapters import DeviceUnavailable, Unsupported, registry
from convspec.adapters.jax_backend import JaxBackend

pytestmark = pytest.mark.frameworks

# JAX compiles each new shape and attribute, a tenth of a second or more: what is asked of the other adapters in every
# combination is asked here once a value and in pairs that have been wrong somewhere.
PLAIN = {"strides": (1, 1), "padding": "VALID", "dilations": (1, 1)}
SAME = {"strides": (2, 1), "padding": "SAME", "dilations": (1, 1)}
KEYWORDS = [
    PLAIN,
    SAME,
    {"strides": (3, 2), "padding": "SAME", "dilations": (2, 1)},
    {"strides": (1, 1), "padding": "SAME_LOWER", "dilations": (1, 1)},
    {"strides": (2, 1), "padding": "SAME_LOWER", "dilations": (2, 1)},
    {"strides": (1, 1), "padding": ((1, 0), (2, 1)), "dilations": (2, 1)},
    {"strides": (3, 2), "padding": ((1, 0), (2, 1)), "dilations": (1, 1)},
    {"strides": (2, 1), "padding": "VALID", "dilations": (1, 2)},
]
UNDILATED = [keywords for keywords in KEYWORDS if keywords["dilations"] == (1, 1)]
EVERY = pytest.mark.parametrize("keywords", KEYWORDS, ids=lambda keywords: "-".join(map(str, keywords.values())))
X = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
W = np.ones((2, 2, 1, 1), np.float32)
POOL = {"ksize": (2, 2), **PLAIN}


@pytest.fixture(scope="module")
def jax():
    return pytest.importorskip("jax", reason="the package jax is not installed: pip install 'convspec[jax]'")


@pytest.fixture(scope="module", params=["eager", "jit"])
def backend(request, jax):
    return JaxBackend(mode=request.param)


@pytest.fixture(scope="module")
def eager(jax):
    return JaxBackend()


def test_it_says_what_it_is(backend, jax):
    assert (backend.name, backend.device, backend.version) == ("jax", "cpu", jax.__version__)
    assert not backend.contract.tf32


def test_it_has_a_name_on_the_command_line(jax):
    loaded = registry.load("jax")
    assert (type(loaded).__name__, loaded.device, loaded.mode) == ("JaxBackend", "cpu", "eager")


@EVERY
@pytest.mark.parametrize("groups", [1, 2])
def test_convolution(frameworks, eager, keywords, groups):
    case = frameworks.Convolution("float32", keywords, groups)
    frameworks.same(eager.conv2d(case.x, case.w, bias=case.bias, **case.keywords), case.y)


@EVERY
def test_convolution_gradients(frameworks, eager, keywords):
    case = frameworks.Convolution("float32", keywords, groups=2)
    dx, dw = eager.conv2d_vjp(case.x, case.w, case.dy, **case.keywords)
    frameworks.same(dx, case.dx)
    frameworks.same(dw, case.dw)


@EVERY
def test_pooling(frameworks, eager, keywords):
    case = frameworks.Pooling("float32", keywords)
    frameworks.same(eager.max_pool(case.x, **case.keywords), case.y)


@pytest.mark.parametrize("keywords", UNDILATED)
def test_pooling_gradient(frameworks, eager, keywords):
    case = frameworks.Pooling("float32", keywords)
    frameworks.same(eager.max_pool_vjp(case.x, case.dy, **case.keywords), case.dx)


def test_every_dtype_in_every_mode(frameworks, backend, name):
    case = frameworks.Convolution(name, SAME, groups=2)
    frameworks.same(backend.conv2d(case.x, case.w, bias=case.bias, **case.keywords), case.y)
    dx, dw = backend.conv2d_vjp(case.x, case.w, case.dy, **case.keywords)
    frameworks.same(dx, case.dx)
    frameworks.same(dw, case.dw)
    pooling = frameworks.Pooling(name, SAME)
    frameworks.same(backend.max_pool(pooling.x, **pooling.keywords), pooling.y)
    frameworks.same(backend.max_pool_vjp(pooling.x, pooling.dy, **pooling.keywords), pooling.dx)


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "uint16", "int32", "int64"])
def test_integer_pooling(frameworks, eager, name):
    case = frameworks.Lowest(name, ((3, 0), (0, 2)))
    frameworks.same(eager.max_pool(case.x, **case.keywords), case.y)


def test_what_jax_says_it_does_not_offer_is_unsupported(backend):
    dilated = {**POOL, "dilations": (2, 1)}
    with pytest.raises(Unsupported, match=r"JAX says: VJP not implemented for .* with window dilation"):
        backend.max_pool_vjp(X, np.ones((1, 1, 2, 1), np.float32), **dilated)
    integers = X.astype(np.int32)
    with pytest.raises(Unsupported, match="no gradient with respect to integers: it gives them the type float0"):
        backend.max_pool_vjp(integers, integers[:, :2, :2], **POOL)


def test_xla_says_what_it_does_not_offer_by_its_status(eager, monkeypatch):
    def refuse(*arrays, **options):
        raise RuntimeError("UNIMPLEMENTED: a convolution in 64 bits\nis not for this device")

    monkeypatch.setattr(eager, "_conv2d", refuse)
    with pytest.raises(Unsupported) as refusal:
        eager.conv2d(X, W, groups=1, **PLAIN)
    assert str(refusal.value) == "JAX says: UNIMPLEMENTED: a convolution in 64 bits is not for this device"


def test_memory_layouts_and_what_the_caller_owns(frameworks, backend, layout):
    x = layout(X)
    x.flags.writeable = False
    before = X.tobytes()
    got = backend.conv2d(x, W, groups=1, **PLAIN)
    frameworks.same(got, registry.load("numpy").conv2d(x, W, groups=1, **PLAIN))
    assert X.tobytes() == before
    assert not np.shares_memory(backend.max_pool(X, **{**POOL, "ksize": (1, 1)}), X)


@pytest.mark.filterwarnings("ignore:divide by zero encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"strides": (0, 1)}, "expects window to have positive stride"),
        ({"strides": (-1, 1), "padding": "SAME"}, "expects window to have positive stride"),
        ({"dilations": (0, 1)}, "All dilations must be positive"),
        ({"padding": "BANANA"}, "Unrecognized padding type"),
        ({"groups": 2}, "feature_group_count must divide lhs feature dimension size"),
    ],
)
def test_jax_is_the_one_to_refuse(backend, keywords, words):
    with pytest.raises((RuntimeError, TypeError, ValueError), match=words):
        backend.conv2d(X, W, **{"groups": 1, **PLAIN, **keywords})


def test_jax_sees_ranks_dtypes_channels_and_the_shape_of_the_gradient(backend):
    with pytest.raises(TypeError, match="requires lhs and rhs ndim to be equal, got 3 and 4"):
        backend.conv2d(X[0], W, groups=1, **PLAIN)
    with pytest.raises(TypeError, match="requires arguments to have the same dtypes, got float32, float64"):
        backend.conv2d(X, W.astype(np.float64), groups=1, **PLAIN)
    with pytest.raises(ValueError, match="must equal the rhs input feature dimension size"):
        backend.conv2d(X, np.ones((2, 2, 2, 1), np.float32), groups=1, **PLAIN)
    with pytest.raises(ValueError, match=r"got float32\[1,3,3,1\], but expected float32\[1,2,2,1\]"):
        backend.conv2d_vjp(X, W, X, groups=1, **PLAIN)


def test_a_gpu_that_is_not_there_is_one_line(jax):
    try:
        jax.devices("gpu")
    except RuntimeError as error:
        raised = " ".join(str(error).split())
    else:
        pytest.skip("there is a GPU here")
    with pytest.raises(DeviceUnavailable) as error:
        JaxBackend("gpu")
    assert str(error.value) == f"jax:gpu: no GPU device: jax.devices('gpu') raises in JAX {jax.__version__}: {raised}"


@pytest.mark.parametrize(
    ("precision", "tf32"), [(None, True), ("tensorfloat32", True), ("float32", False), ("highest", False)]
)
def test_tf32_is_declared_as_jax_has_it(jax, monkeypatch, precision, tf32):
    """What a GPU would do, without one: the switch is JAX's own and so is its answer."""
    here = jax.devices("cpu")
    monkeypatch.setattr(jax, "devices", lambda kind: here)
    try:
        with jax.default_matmul_precision(precision):
            backend = JaxBackend("gpu")
    except ValueError:
        pytest.skip(f"this JAX has no precision of the name {precision!r}")
    assert (backend.device, backend.contract.tf32) == (here[0].device_kind, tf32)
