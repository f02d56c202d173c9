"""The peers of benchmarks/detection.py judge as they say: right backends pass, plain faults are caught."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import convspec

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

from detection_peers import PEERS, Asked, Peer, numpy_close, random_loop

from convspec.adapters import Unsupported
from convspec.adapters.numpy_backend import NumpyBackend

needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnx") is None, reason="onnx is not installed")
ONNX = pytest.param("onnx", marks=[pytest.mark.frameworks, needs_onnx])  # some seconds: it makes all operators' cases
COLUMNS = [ONNX, "loop", "loop-1e-5"]


class Right(NumpyBackend):
    def __init__(self):
        super().__init__("fast")


class LosesATap(Right):
    def conv2d(self, x, w, **options):
        w = w.copy()
        w[:1, :1] = 0
        return super().conv2d(x, w, **options)


class PoolsTheMinimum(Right):
    def max_pool(self, x, **options):
        return -super().max_pool(-x, **options)


class Flipped(Right):
    def conv2d(self, x, w, **options):
        return super().conv2d(x, w[::-1, ::-1], **options)


@pytest.mark.parametrize("column", COLUMNS)
def test_the_reference_passes(column):
    assert PEERS[column]().caught(Right()) is None


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("wrong", [LosesATap, PoolsTheMinimum])
def test_a_plain_fault_is_caught(column, wrong):
    assert PEERS[column]().caught(wrong())


def test_the_loop_catches_a_flipped_filter():
    """ONNX's cases do not: all weights of each of its filters are equal."""
    assert PEERS["loop-1e-5"]().caught(Flipped())


def test_the_loop_reaches_every_operation_and_attribute():
    cases = random_loop().cases
    assert {c.op for c in cases} == {"conv2d", "conv2d_vjp", "max_pool", "max_pool_vjp"}
    assert all(a.dtype == np.float32 and a.size for c in cases for a in (*c.arrays, *c.expected))
    paddings = {c.options["padding"] if isinstance(c.options["padding"], str) else "explicit" for c in cases}
    assert paddings == {"SAME", "VALID", "explicit"}
    for name in ("strides", "dilations"):
        assert {c.options[name][0] != c.options[name][1] for c in cases} == {True, False}


X = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
POOL = {"ksize": (2, 2), "strides": (1, 1), "padding": "VALID", "dilations": (1, 1)}
ONE = Asked("one", "max_pool", (X,), POOL, (convspec.max_pool(X, **POOL),))
REFUSED = Asked("refused", "max_pool", (X,), POOL | {"strides": (0, 1)}, None)


class Answers:
    """Gives one answer, or raises one error."""

    def __init__(self, answer):
        self.answer = answer

    def max_pool(self, x, **options):
        if isinstance(self.answer, type) and issubclass(self.answer, BaseException):
            raise self.answer("no")
        return self.answer


@pytest.mark.parametrize(
    ("asked", "answer", "says"),
    [
        (ONE, ONE.expected[0], None),
        (ONE, ONE.expected[0] + 1, "Not equal to tolerance"),
        (ONE, ONE.expected[0].astype(np.float64), "Items are not equal"),
        (ONE, 7, "not 1 arrays"),
        (ONE, ValueError, "ValueError: no"),
        (ONE, Unsupported, None),
        (REFUSED, ValueError, None),
        (REFUSED, SystemExit, "SystemExit: no"),
        (REFUSED, ONE.expected[0], "an error is expected"),
    ],
    ids=lambda value: getattr(value, "label", None),
)
def test_what_counts_as_wrong(asked, answer, says):
    found = Peer("one", (asked,), numpy_close(1e-3, 1e-7)).caught(Answers(answer))
    assert found is None if says is None else says in found


def test_a_missing_method_is_no_fault():
    assert Peer("one", (ONE,), numpy_close(1e-3, 1e-7)).caught(object()) is None
