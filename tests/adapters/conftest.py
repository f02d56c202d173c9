"""Cases that every framework adapter answers, and their answers by the reference: integers, so to the bit."""

import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from registered import SOURCE

from convspec.adapters import registry

DTYPES = ["float64", "float32", "float16", "bfloat16"]
STRIDES = [(1, 1), (2, 1), (3, 2)]
PADDINGS = ["SAME", "VALID", "SAME_LOWER", ((1, 0), (2, 1)), ((1, 1), (0, 0))]
DILATIONS = [(1, 1), (2, 1)]

#: Keywords of convolution and pooling: every stride, padding and dilation with every other.
KEYWORDS = [
    {"strides": strides, "padding": padding, "dilations": dilations}
    for strides, padding, dilations in itertools.product(STRIDES, PADDINGS, DILATIONS)
]


@pytest.fixture(params=KEYWORDS, ids=lambda keywords: "-".join(str(value) for value in keywords.values()))
def keywords(request):
    """Strides, padding and dilations."""
    return request.param


@pytest.fixture(params=DTYPES)
def name(request):
    """The name of a dtype."""
    return request.param


@pytest.fixture(params=[np.asfortranarray, lambda x: x[:, ::-1, ::-1], lambda x: np.broadcast_to(x[:, :1], x.shape)])
def layout(request):
    """What lays an array out in memory as no framework wants it: two of the three hold other values."""
    return request.param


@pytest.fixture(scope="session")
def frameworks():
    """What is below: the tests of one folder do not import each other."""
    return SimpleNamespace(Convolution=Convolution, Pooling=Pooling, Lowest=Lowest, same=same)


def dtype(name):
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def lattice(seed, shape, name):
    """Small integers: every sum of them is exact in every dtype's accumulator, and in bfloat16 itself."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(dtype(name))


def same(got, want):
    """Same dtype, shape and values, element by element."""
    assert isinstance(got, np.ndarray)
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    np.testing.assert_array_equal(got.astype(np.float64), want.astype(np.float64))


class Convolution:
    """One convolution with a bias; H, W, kh, kw, cin and cout all differ."""

    def __init__(self, name, keywords, groups=1):
        self.keywords = {**keywords, "groups": groups}
        self.x, self.w = lattice(0, (2, 7, 6, 4), name), lattice(1, (3, 2, 4 // groups, 6), name)
        self.bias = lattice(2, (6,), name)
        reference = registry.load("numpy")
        self.y = reference.conv2d(self.x, self.w, bias=self.bias, **self.keywords)
        self.dy = lattice(3, self.y.shape, name)
        self.dx, self.dw = reference.conv2d_vjp(self.x, self.w, self.dy, **self.keywords)


class Pooling:
    """One pooling with many ties; the window is not square."""

    def __init__(self, name, keywords, ksize=(2, 3)):
        self.keywords = {**keywords, "ksize": ksize}
        self.x = lattice(4, (2, 7, 6, 3), name)
        reference = registry.load("numpy")
        self.y, self.argmax = reference.max_pool_with_argmax(self.x, **self.keywords)
        self.dy = lattice(5, self.y.shape, name)
        self.dx = reference.max_pool_vjp(self.x, self.dy, **self.keywords)


class Lowest:
    """One pooling of integers, most of them the lowest of their type, which no pad may be taken for."""

    def __init__(self, name, padding):
        lowest = np.iinfo(name).min
        self.x = np.array([lowest, lowest + 1, lowest, lowest, lowest, lowest], name).reshape(1, 2, 3, 1)
        self.keywords = {"ksize": (2, 2), "strides": (1, 2), "padding": padding, "dilations": (1, 1)}
        self.y = registry.load("numpy").max_pool(self.x, **self.keywords)


@pytest.fixture
def paths(monkeypatch):
    """Whatever a load adds to sys.path and sys.modules goes away with the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("_convspec_backend_", "backend_sibling_", "backend_module_")):
            del sys.modules[name]


@pytest.fixture
def mine(tmp_path, paths, request):
    sibling = f"backend_sibling_{abs(hash(request.node.name))}"
    (tmp_path / f"{sibling}.py").write_text("NAME = 'from the file beside'\n")
    path = tmp_path / "mine.py"
    path.write_text(SOURCE.format(sibling=sibling))
    return path


@pytest.fixture(scope="module")
def load():
    """One backend a mode: some take seconds to start."""
    loaded = {}
    return lambda text: loaded.setdefault(text, None) or loaded.update({text: registry.load(text)}) or loaded[text]
