"""`explain_conv2d` and `explain_max_pool`: every printed call gives the reference's answer, every fact is true.

PyTorch, TensorFlow and Keras are marked `frameworks`; JAX and ONNX Runtime are asked where they are installed.
"""

import dataclasses
import doctest
import importlib
import warnings

import numpy as np
import pytest

import convspec
from convspec.reference import geometry
from convspec.reference.explain import FRAMEWORKS, Explanation, heading
from convspec.spec import clauses

NEEDS = {"tensorflow": "tensorflow", "torch": "torch", "keras": "keras", "jax": "jax", "onnx": "onnxruntime"}
#: input, filter, and the rest of the call
CONVOLUTIONS = {
    "same-stride-1": ((2, 6, 5, 3), (3, 3, 3, 4), {"padding": "SAME"}),
    "same-even-stride-1": ((1, 6, 5, 3), (4, 2, 3, 4), {"padding": "SAME"}),
    "same-stride-2": ((1, 8, 7, 3), (3, 3, 3, 4), {"padding": "SAME", "strides": 2, "bias": True}),
    "same-7x7-stride-2": ((1, 12, 16, 3), (7, 7, 3, 8), {"padding": "SAME", "strides": 2}),
    "same-even-stride-3": ((1, 9, 8, 2), (4, 2, 2, 3), {"padding": "SAME", "strides": (3, 2)}),
    "same-dilated": ((1, 9, 8, 2), (3, 2, 2, 3), {"padding": "SAME", "dilations": (2, 3)}),
    "same-dilated-stride-2": ((1, 9, 8, 2), (3, 3, 2, 3), {"padding": "SAME", "strides": 2, "dilations": 2}),
    "same-stride-over-kernel": ((1, 9, 8, 2), (1, 2, 2, 3), {"padding": "SAME", "strides": (2, 5)}),
    "valid": ((1, 9, 8, 2), (3, 2, 2, 3), {"padding": "VALID", "strides": (2, 3), "bias": True}),
    "valid-dilated": ((1, 9, 8, 2), (3, 2, 2, 3), {"padding": "VALID", "dilations": (2, 3), "strides": (1, 2)}),
    "explicit": ((1, 7, 6, 2), (3, 3, 2, 3), {"padding": ((0, 2), (3, 1)), "strides": 2}),
    "explicit-even": ((1, 7, 6, 2), (3, 3, 2, 3), {"padding": ((1, 1), (2, 2)), "bias": True}),
    "explicit-none": ((1, 7, 6, 2), (3, 3, 2, 3), {"padding": ((0, 0), (0, 0))}),
    "same-lower": ((1, 7, 6, 2), (4, 3, 2, 3), {"padding": "SAME_LOWER", "strides": (1, 2)}),
    "same-lower-stride-1": ((1, 7, 6, 2), (4, 4, 2, 3), {"padding": "SAME_LOWER"}),
    "same-lower-dilated": ((1, 7, 6, 2), (2, 3, 2, 3), {"padding": "SAME_LOWER", "dilations": (3, 2)}),
    "groups": ((2, 7, 6, 4), (3, 3, 2, 6), {"padding": "SAME", "groups": 2, "strides": 2, "bias": True}),
    "depthwise": ((1, 7, 6, 4), (3, 3, 1, 8), {"padding": "SAME", "groups": 4, "strides": 2}),
    "depthwise-dilated": ((1, 9, 8, 4), (3, 3, 1, 4), {"padding": "SAME", "groups": 4, "dilations": 2}),
    "pointwise": ((1, 5, 6, 4), (1, 1, 4, 3), {"padding": "SAME", "strides": 2}),
}
POOLS = {
    "same-3-stride-2": ((1, 8, 7, 3), {"ksize": 3, "strides": 2, "padding": "SAME"}),
    "same-2-stride-2": ((2, 7, 6, 3), {"ksize": 2, "strides": 2, "padding": "SAME"}),
    "same-wide": ((1, 3, 6, 2), {"ksize": (7, 2), "strides": 1, "padding": "SAME"}),
    "same-stride-3": ((1, 8, 7, 3), {"ksize": (2, 1), "strides": 3, "padding": "SAME"}),
    "same-dilated": ((1, 8, 7, 3), {"ksize": (3, 2), "strides": 1, "padding": "SAME", "dilations": (2, 3)}),
    "same-dilated-stride-2": ((1, 8, 7, 3), {"ksize": 3, "strides": 2, "padding": "SAME", "dilations": 2}),
    "valid": ((1, 8, 7, 3), {"ksize": 3, "strides": 2, "padding": "VALID"}),
    "valid-dilated": ((1, 9, 8, 3), {"ksize": (2, 3), "strides": (3, 1), "padding": "VALID", "dilations": (1, 2)}),
    "explicit": ((1, 8, 7, 3), {"ksize": 3, "strides": (2, 1), "padding": ((0, 1), (2, 0))}),
    "explicit-even": ((1, 8, 7, 3), {"ksize": 4, "strides": 2, "padding": ((1, 1), (2, 2))}),
    "explicit-large": ((1, 8, 7, 3), {"ksize": 2, "strides": 1, "padding": ((2, 0), (0, 3))}),
    "same-lower": ((1, 8, 7, 3), {"ksize": (3, 4), "strides": (2, 1), "padding": "SAME_LOWER"}),
}


def integers(shape, seed, low=-4):
    return np.random.default_rng(seed).integers(low, 5, shape).astype(np.float32)


def run(name, code, **given):
    """The `y` of a printed call; what it was given is left as it was."""
    if name in ("jax", "onnx"):
        pytest.importorskip(NEEDS[name], reason=f"{NEEDS[name]} is not installed")
    namespace = dict(given)
    before = {key: value.copy() for key, value in given.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch tells of a copy that padding="same" makes
        exec(compile(code, f"<{name}>", "exec"), namespace)
    for key, value in before.items():
        assert namespace[key] is given[key], f"{name} rebinds {key}"
        np.testing.assert_array_equal(given[key], value)
    return np.asarray(namespace["y"])


@pytest.mark.frameworks
@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_every_printed_convolution_gives_the_answer_of_the_reference(name, case):
    image, filters, options = CONVOLUTIONS[case]
    told = convspec.explain_conv2d(image, filters, **options)
    x, w, bias = integers(image, 0), integers(filters, 1), integers(filters[3:], 2)
    given = {"bias": bias} if told.bias else {}
    want = convspec.conv2d(x, w, **{**options, "bias": bias if told.bias else None})
    assert told.output_shape == want.shape
    np.testing.assert_array_equal(run(name, told.calls[name], x=x, w=w, **given), want)


@pytest.mark.frameworks
@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("case", POOLS)
def test_every_printed_pool_gives_the_answer_of_the_reference(name, case):
    image, options = POOLS[case]
    x = integers(image, 0, low=-9) - 5  # all negative: a zero that padding brings in would win
    want = convspec.max_pool(x, **options)
    told = convspec.explain_max_pool(image, **options)
    assert told.output_shape == want.shape
    if case == "explicit-large":  # windows without a pixel: frameworks take the lowest number for minus infinity
        y = run(name, told.calls[name], x=x)
        np.testing.assert_array_equal(np.where(y == np.finfo(np.float32).min, -np.inf, y), want)
    else:
        np.testing.assert_array_equal(run(name, told.calls[name], x=x), want)


ALL = [convspec.explain_conv2d(i, f, **o) for i, f, o in CONVOLUTIONS.values()]
ALL += [convspec.explain_max_pool(i, **o) for i, o in POOLS.values()]


@pytest.mark.parametrize("told", ALL, ids=[*CONVOLUTIONS, *POOLS])
def test_facts_hold(told):
    window = geometry.resolve(
        told.input_shape[1:3], told.ksize, strides=told.strides, padding=told.padding, dilations=told.dilations
    )
    assert told.pads == window.pads
    assert told.output_shape[1:3] == window.output
    assert {reason.clause for reason in told.reasons} <= set(clauses())
    assert list(told.calls) == list(FRAMEWORKS)
    for reason in told.reasons:  # a formula says what Python says of it
        text = reason.formula.removeprefix("P = ").removeprefix("k_eff = ")
        for part in text.split(", ") if "//" in text else [text]:
            *_, formula, result = part.split(" = ") if " = " in part else ("0", "0")
            names = {"floor": int, "ceil": lambda v: -int(-v // 1)}
            assert eval(formula, names) == int(result), reason


@pytest.mark.parametrize("told", ALL, ids=[*CONVOLUTIONS, *POOLS])
def test_text_has_all_of_it_and_ends_in_python(told):
    text = str(told)
    assert all(sentence.split()[0] in text for sentence in told.warnings)
    start = text.index(heading("tensorflow", told))
    compile(text[start:], "calls", "exec")
    assert all(code in text for code in told.calls.values())
    assert max(map(len, text.splitlines())) <= 130


@pytest.mark.parametrize("told", ALL, ids=[*CONVOLUTIONS, *POOLS])
def test_a_shift_that_is_told_is_the_shift_of_the_windows(told):
    """It is told when the usual padding gives the same shape from other pixels, and then only."""
    said = [sentence for sentence in told.warnings if "usual padding=" in sentence and "same shape" in sentence]
    spans = [(k - 1) // 2 for k in told.receptive_field]
    usual = tuple((p, p) for p in spans)
    other = geometry.resolve(
        told.input_shape[1:3], told.ksize, strides=told.strides, padding=usual, dilations=told.dilations
    )
    moved = [own[0] - before[0] for own, before in zip(other.pads, told.pads, strict=True)]
    named = told.padding in ("SAME", "SAME_LOWER")
    assert bool(said) == (named and other.output == told.output_shape[1:3] and any(moved))
    for sentence in said:
        assert f"{abs(moved[0])} row" in sentence or not moved[0]
        assert f"{abs(moved[1])} column" in sentence or not moved[1]


def warned(told, *words):
    return [sentence for sentence in told.warnings if all(word in sentence for word in words)]


def test_the_convolution_that_everybody_ports():
    told = convspec.explain_conv2d((1, 224, 224, 3), (7, 7, 3, 64), strides=2, padding="SAME")
    assert told.output_shape == (1, 112, 112, 64)
    assert told.pads == ((2, 3), (2, 3))
    assert told.receptive_field == (7, 7)
    assert warned(told, "torch", 'padding="same" is refused')
    assert warned(told, "padding=3", "1 row higher and 1 column further left")
    assert warned(told, "odd pixel", "last row and column", "SAME_LOWER")
    assert warned(told, "image size", "225 x 225", "top 3, bottom 3")
    assert "F.pad(images, (2, 3, 2, 3))" in told.calls["torch"]
    assert 'auto_pad="SAME_UPPER"' in told.calls["onnx"]


def test_what_differs_is_told_and_nothing_else():
    even = convspec.explain_conv2d((1, 9, 8, 3), (3, 3, 3, 4), padding="SAME")
    assert even.warnings == ()
    assert "Warnings" not in str(even)
    pool = convspec.explain_max_pool((1, 28, 28, 32), ksize=3, strides=2, padding="SAME")
    assert warned(pool, "torch", "no padding=")
    assert warned(pool, "value=-inf", "max-pool-padding-never-wins")
    lower = convspec.explain_conv2d((1, 224, 224, 3), (7, 7, 3, 64), strides=2, padding="same_lower")
    assert not warned(lower, "usual padding=")  # padding=3 reads the very pixels
    assert warned(lower, "tensorflow", "no SAME_LOWER")
    assert warned(lower, "keras")
    assert warned(lower, "odd pixel", "first")
    both = convspec.explain_conv2d((1, 9, 9, 4), (3, 3, 1, 4), strides=2, dilations=2, groups=4, padding="SAME")
    assert warned(both, "keras", "refused")
    assert warned(both, "onnx", "dilations")
    assert warned(both, "depthwise_conv2d", "wrong values")
    assert warned(convspec.explain_max_pool((1, 9, 8, 1), ksize=2, strides=3, padding="VALID"), "unread", "1 row ")
    four = convspec.explain_conv2d((1, 8, 8, 1), (4, 4, 1, 1), padding="SAME")
    assert warned(four, "usual padding=1 gives 7 x 7 outputs, not 8 x 8")


def test_an_empty_output_is_told():
    for told in (
        convspec.explain_conv2d((1, 2, 5, 1), (3, 3, 1, 4), padding="VALID"),
        convspec.explain_max_pool((1, 2, 5, 4), ksize=3, strides=1, padding="VALID"),
    ):
        assert told.output_shape == (1, 0, 3, 4)
        assert [sentence.split(":")[0] for sentence in told.warnings] == ["empty"]
        assert any(reason.clause.endswith("empty-output") for reason in told.reasons)
    nothing = convspec.explain_conv2d((0, 0, 5, 1), (3, 3, 1, 4), padding="SAME")
    assert nothing.output_shape == (0, 0, 5, 4)
    assert "there is no output" in str(nothing)


def test_parameters_are_those_of_the_clause():
    told = convspec.explain_conv2d((1, 28, 28, 1), (5, 5, 1, 32), padding="SAME", bias=True)
    assert dataclasses.astuple(told.parameters) == (832, 652_288, 19_694_080)
    assert "19,694,080" in str(told)
    grouped = convspec.explain_conv2d((1, 8, 8, 4), (3, 3, 2, 6), groups=2, padding="VALID")
    assert grouped.parameters.shared == 3 * 3 * 2 * 6
    assert convspec.explain_max_pool((1, 4, 4, 1), ksize=2, strides=2, padding="SAME").parameters is None


def test_it_is_frozen_and_equal_to_itself():
    told = convspec.explain_max_pool((1, 4, 4, 1), ksize=2, strides=2, padding="SAME")
    assert isinstance(told, Explanation)
    assert told == convspec.explain_max_pool([1, 4, 4, 1], ksize=[1, 2, 2, 1], strides=(2, 2), padding="same")
    with pytest.raises(dataclasses.FrozenInstanceError):
        told.op = "conv2d"


IMAGE, FILTERS = (1, 9, 9, 4), (3, 3, 4, 1)


@pytest.mark.parametrize(
    ("image", "filters", "options", "error", "words"),
    [
        ((9, 9, 4), FILTERS, {}, ValueError, "input_shape=(9, 9, 4): 3 values, expected four"),
        ("1,2", FILTERS, {}, TypeError, "input_shape='1,2'"),
        ((1, -2, 2, 4), FILTERS, {}, ValueError, "-2 is out of range"),
        ((1, 2.0, 2, 4), FILTERS, {}, TypeError, "2.0 is a float"),
        (IMAGE, (3, 3, 5, 1), {}, ValueError, "filter_shape has shape (3, 3, 5, 1): 5 channels a filter, expected 4"),
        (IMAGE, (0, 3, 4, 1), {}, ValueError, "without taps"),
        (IMAGE, FILTERS, {"groups": 3}, ValueError, "groups=3 does not divide the 4 channels of input_shape"),
        (IMAGE, FILTERS, {"padding": "FULL"}, ValueError, "padding='FULL': unknown name"),
        (IMAGE, FILTERS, {"strides": 0}, ValueError, "strides=0"),
        (IMAGE, FILTERS, {"dilations": (1, 2, 3)}, ValueError, "dilations=(1, 2, 3): 3 values"),
    ],
)
def test_a_bad_argument_of_a_convolution_is_named_in_one_line(image, filters, options, error, words):
    with pytest.raises(error) as raised:
        convspec.explain_conv2d(image, filters, **{"padding": "SAME", **options})
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("name", "value"), [("ksize", 0), ("strides", 0), ("dilations", 0), ("padding", "full")])
def test_a_bad_argument_of_a_pool_is_named_in_one_line(name, value):
    with pytest.raises(ValueError, match=f"^{name}={value!r}: [^\n]*$"):
        convspec.explain_max_pool(IMAGE, **{"ksize": 2, "strides": 1, "padding": "SAME", name: value})


@pytest.mark.parametrize("module", ["explain", "pitfalls", "porting"])
def test_examples(module):
    failed, count = doctest.testmod(importlib.import_module(f"convspec.reference.{module}"))
    assert (failed, count > 0) == (0, True)
