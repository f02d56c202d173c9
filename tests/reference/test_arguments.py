"""What may be passed and what is refused, and that a refusal says what is wrong."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import convspec
from convspec.reference import arguments, definition

ROOT = Path(__file__).parents[2]
X = np.arange(48.0).reshape(1, 6, 4, 2)
W = np.ones((2, 3, 2, 4))


def _fuzz():
    spec = importlib.util.spec_from_file_location("bad_arguments", ROOT / "benchmarks" / "bad_arguments.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.once
@pytest.mark.clause("error-names-the-argument")
def test_every_random_bad_call_is_refused_by_name():
    counts, examples = _fuzz().run(20_000, seed=20261124)
    assert not examples
    assert sum(counts.values()) == 20_000
    assert len(counts) == 30  # every function with each of its arguments


@pytest.mark.clause("error-names-the-argument")
def test_the_fuzz_notices_what_is_not_refused():
    bad = _fuzz()
    good = {"x": X, "w": W, "padding": "SAME"}
    assert bad.outcome("conv2d", good, "w") == "accepted"
    assert bad.outcome("conv2d", {**good, "groups": 3}, "padding").startswith("ValueError does not begin")


@pytest.mark.clause("error-names-the-argument")
@pytest.mark.parametrize("module", [convspec, definition])
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"strides": 0}, ValueError, ("strides=0", "expected", "1")),
        ({"strides": (1, -2)}, ValueError, ("strides=(1, -2)", "-2")),
        ({"strides": True}, TypeError, ("strides=True", "bool", "integer")),
        ({"strides": 2.0}, TypeError, ("strides=2.0", "float")),
        ({"strides": float("nan")}, TypeError, ("strides=nan",)),
        ({"strides": 10**30}, ValueError, ("strides=", "2147483647")),
        ({"strides": 10**5000}, ValueError, ("strides=", "bits")),
        ({"dilations": (1, 2, 3)}, ValueError, ("dilations=(1, 2, 3)", "3 values", "pair")),
        ({"groups": 3}, ValueError, ("groups=3", "2 channels")),
        ({"groups": 0}, ValueError, ("groups=0",)),
        ({"padding": "SMAE"}, ValueError, ("padding='SMAE'", "SAME")),
        ({"padding": ((0, -1), (0, 0))}, ValueError, ("padding=((0, -1), (0, 0))", "-1")),
        ({"padding": ((0, 10**12), (0, 0))}, ValueError, ("padding=", "1000000000000")),
        ({"padding": (1, 1)}, TypeError, ("padding=1", "((top, bottom), (left, right))")),
        ({"padding": ((0, 0), (1, 1), (1, 1), (0, 0))}, ValueError, ("padding=", "wrong structure", "pairs")),
        ({"x": X[0]}, ValueError, ("x has shape (6, 4, 2)", "rank 4", "[batch, height, width, channels]")),
        ({"x": X.tolist()}, TypeError, ("x=", "list", "numpy.asarray")),
        ({"x": X.astype(complex)}, TypeError, ("x has dtype complex128", "float32", "astype")),
        ({"x": X.astype(">f8")}, TypeError, ("x has dtype >f8", "byte order")),
        ({"w": W[:, :, :1]}, ValueError, ("w has shape (2, 3, 1, 4)", "expected 2")),
        ({"w": W.astype(np.float32)}, TypeError, ("w has dtype float32", "float64")),
        ({"bias": np.ones(3)}, ValueError, ("bias has shape (3,)", "(4,)")),
        ({"bias": np.ones(4, np.float32)}, TypeError, ("bias has dtype float32", "float64")),
    ],
)
def test_messages(module, change, error, words):
    with pytest.raises(error) as raised:
        module.conv2d(**{"x": X, "w": W, "padding": "SAME", **change})
    for word in words:
        assert word in str(raised.value)


@pytest.mark.clause("error-names-the-argument")
@pytest.mark.parametrize("module", [convspec, definition])
def test_gradient_of_another_shape_or_type(module):
    with pytest.raises(ValueError, match=r"dy has shape \(1, 6, 4, 3\), expected \(1, 6, 4, 4\)"):
        module.conv2d_vjp(X, W, np.ones((1, 6, 4, 3)), padding="SAME")
    with pytest.raises(TypeError, match="dy has dtype float32, expected float64"):
        module.conv2d_vjp(X, W, np.ones((1, 6, 4, 4), np.float32), padding="SAME")
    with pytest.raises(ValueError, match="dy has shape"):
        module.max_pool_vjp(X, X, ksize=2, strides=2, padding="SAME")


def test_results_that_no_machine_holds_are_refused_before_any_work():
    half = 2**31 - 1
    with pytest.raises(ValueError, match="padding makes a result"):
        convspec.conv2d(X, W, padding=((half, half), (half, half)))
    with pytest.raises(ValueError, match="padding makes a result"):
        convspec.max_pool_with_argmax(X, ksize=1, strides=1, padding=((half, 0), (half, 0)))


def test_largest_sizes_that_make_sense_work():
    most = arguments.LARGEST
    assert convspec.conv2d(X, W, strides=most, dilations=most, padding="SAME").shape == (1, 1, 1, 4)
    assert convspec.max_pool(X, ksize=most, strides=most, padding="SAME").item(0) == X[0, :, :, 0].max()
    assert convspec.max_pool_vjp(X, X[:, :1, :1], ksize=most, strides=most, padding="SAME").sum() == X[0, 0, 0].sum()


@pytest.mark.clause("four-vectors")
def test_int_pair_and_four_vector_mean_the_same():
    for form in (2, np.int64(2), np.uint8(2), np.array(2), (2, 2), [2, 2], (np.int32(2), 2), np.array([2, 2])):
        assert arguments.pair("strides", form) == (2, 2)
    for form in ([1, 2, 3, 1], (1, 2, 3, 1), np.array([1, 2, 3, 1])):
        assert arguments.pair("strides", form) == (2, 3)
        y = convspec.conv2d(X, W, strides=form, dilations=form, padding="SAME")
        assert np.array_equal(y, convspec.conv2d(X, W, strides=(2, 3), dilations=(2, 3), padding="SAME"))
        y = convspec.max_pool(X, ksize=form, strides=form, padding="SAME")
        assert np.array_equal(y, convspec.max_pool(X, ksize=(2, 3), strides=(2, 3), padding="SAME"))


@pytest.mark.clause("four-vectors")
@pytest.mark.parametrize("name", ["strides", "dilations"])
@pytest.mark.parametrize("value", [[2, 1, 1, 1], [1, 1, 1, 2], (0, 1, 1, 1)])
def test_four_vectors_over_batch_or_channels_are_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name}="):
        convspec.conv2d(X, W, padding="SAME", **{name: value})


@pytest.mark.clause("max-pool-ksize-over-batch-or-channels")
@pytest.mark.parametrize("name", ["ksize", "strides", "dilations"])
@pytest.mark.parametrize("value", [[2, 1, 1, 1], [1, 1, 1, 2], (2, 2, 2, 2)])
def test_pools_over_batch_or_channels_are_refused(name, value):
    case = {"ksize": 2, "strides": 1, "padding": "SAME", name: value}
    with pytest.raises(ValueError, match=rf"^{name}=.*batch and channel parts.*must be 1"):
        convspec.max_pool(X, **case)


def test_padding_in_any_case_and_form():
    for name in ("SAME", "same", "Same", np.str_("SAME")):
        assert arguments.padding(name) == "SAME"
    assert arguments.padding("same_lower") == "SAME_LOWER"
    for form in (((1, 2), (0, 3)), [[1, 2], [0, 3]], np.array([[1, 2], [0, 3]]), ([1, np.int8(2)], (0, 3))):
        assert arguments.padding(form) == ((1, 2), (0, 3))


def test_object_arrays_are_for_the_definition_alone():
    with pytest.raises(TypeError, match="x has dtype object"):
        convspec.conv2d(X.astype(object), W.astype(object), padding="SAME")
    assert definition.conv2d(X.astype(object), W.astype(object), padding="VALID").dtype == object


def test_subclasses_of_arrays():
    with pytest.raises(TypeError, match=r"^x=.*MaskedArray"):
        convspec.max_pool(np.ma.masked_array(X), ksize=2, strides=2, padding="SAME")
    view = X.view(type("Mine", (np.ndarray,), {}))
    assert type(convspec.max_pool(view, ksize=2, strides=2, padding="SAME")) is np.ndarray
