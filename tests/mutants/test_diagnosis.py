"""The right reading is named for what the catalogue knows, and none for what it does not.

`matrix.json` says which checks find a wrong backend; its first cells are run with the diagnosis on.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from local import LocalBackend

from convspec.harness.cases.case import Case
from convspec.harness.check import Check
from convspec.harness.diagnosis import Diagnosis
from convspec.harness.judge import Judge, Question
from convspec.harness.oracle.readings import known
from convspec.harness.oracle.readings.correct import Correct
from convspec.harness.process.protocol import Answer
from convspec.harness.taps import read_back
from convspec.harness.verdict import Cell
from convspec.spec import clause
from mutants import ZOO
from mutants.suite import functions_of

MATRIX = json.loads((Path(__file__).parent / "matrix.json").read_text(encoding="utf-8"))
DIAGNOSED = ("value", "shape", "dtype")
FORWARD = ("geometry", "arithmetic", "groups", "shapes", "pooling")
#: Wrong in the same way as another one, on every case that there is: either name is right.
SAME = {
    "DeclaresTf32IsBfloat16": "inputs rounded to bfloat16",
    "PoolPadsEvenly": "max_pool only: the odd pixel goes first",
    "WinogradAndTf32": "inputs rounded to TF32, undeclared",
}
#: Those that no answer to one call gives away, or that one narrower reading explains as well on all that was asked.
NOT_NAMED = {
    "DeclaresFloat64Sums": "its answers are right: only its declaration is not",
    "AllMinusInfinityIsLowest": "on windows of nothing but -inf it is as a maximum that starts at the lowest number",
    "InfinityIsLargest": "on what is found it is as infinity becoming the largest number, with a NaN or without",
    "ZeroTapsSkipped": "on the case that is found its taps have zero weights, which another reading skips alike",
}


def findings(backend, name):
    """What the first checks that catch it say of this backend, with the diagnosis."""
    broken = {}
    for slug, dtype, said in MATRIX[name]:
        if clause(said).level == "MUST":
            broken.setdefault(slug, dtype)
    for slug, dtype in list(broken.items())[:3]:
        yield from explained(backend, name, slug, dtype)


def explained(backend, name, slug, dtype="float32"):
    """What the check of one cell says of this backend, with the diagnosis."""
    judge = Judge(LocalBackend(backend, name))
    cell = Cell(slug, clause(slug).level, dtype, name)
    for function in functions_of(slug, dtype):
        function(Check(judge, cell, level="quick", seed=20, diagnosis=Diagnosis(judge)))
    return cell.findings


NAMED = [n for n in known() if n in MATRIX and ZOO[n].zoo.kind in FORWARD]


@pytest.mark.zoo
@pytest.mark.parametrize("name", NAMED)
def test_the_right_reading_is_named(name):
    told = [f for f in findings(ZOO[name](), name) if f.kind in DIAGNOSED]
    if not told:
        pytest.skip("it is found by a relation, or breaks a SHOULD: there is no answer to compare")
    names = {f.diagnosis for f in told}
    if name in NOT_NAMED:
        assert ZOO[name].zoo.what not in names
    else:
        assert names & {ZOO[name].zoo.what, SAME.get(name)}


def test_nearly_all_are_named():
    assert len(NOT_NAMED) <= 0.05 * len(NAMED)


@pytest.mark.zoo
@pytest.mark.parametrize("name", [n for n, cls in ZOO.items() if cls.zoo.kind == "state" and n in MATRIX])
def test_a_fault_of_state_gets_no_name(name):
    assert {f.diagnosis for f in findings(ZOO[name](), name)} <= {""}


class Noise(Correct):
    """Now and then an element is another: no reading of the specification."""

    def leave(self, op, result, *arrays):
        if op != "conv2d" or not result.size:
            return result
        rng = np.random.default_rng(abs(hash(arrays[0].tobytes())) % 2**32)
        result.flat[rng.integers(result.size)] += result.dtype.type(rng.integers(1, 9))
        return result


class Tilted(Correct):
    """Each column a little more: nothing that anybody would write on purpose."""

    def leave(self, op, result, *arrays):
        return (
            result + np.arange(result.shape[2]).reshape(1, 1, -1, 1).astype(result.dtype) if op == "conv2d" else result
        )


@pytest.mark.parametrize("cls", [Noise, Tilted])
@pytest.mark.parametrize("slug", ["conv2d-sum", "same-odd-pixel-last", "error-bound"])
def test_a_fault_that_nobody_described_gets_no_name(cls, slug):
    found = explained(cls(), cls.__name__, slug)
    assert found
    assert {f.diagnosis for f in found} == {""}


class FlippedForward(Correct):
    """Half of a known reading, whose gradients are those of the filter as it is."""

    def enter(self, op, *arrays):
        return (arrays[0], arrays[1][::-1, ::-1]) if op == "conv2d" else arrays


@pytest.mark.parametrize("slug", ["conv2d-sum", "groups"])
def test_half_of_a_reading_is_named_too(slug):
    assert {f.diagnosis for f in explained(FlippedForward(), "mine", slug)} == {ZOO["TrueConvolution"].zoo.what}


TAPS = Case("conv2d", (1, 4, 5, 1), (3, 2), filters=1, padding="SAME", recipe="integers")


@pytest.mark.parametrize(
    ("name", "case", "said"),
    [
        ("OddPixelFirst", TAPS, "moved by 0 rows and -1 columns"),
        ("LastTapDropped", TAPS, "tap (2, 1) is missing"),
        ("MiddleTapTwice", TAPS.but(kernel=(5, 5)), "tap (2, 2) is doubled"),
        ("TrueConvolution", TAPS, "reads pixel"),
    ],
)
def test_taps_are_read_back(name, case, said):
    assert said in read_back(Judge(LocalBackend(ZOO[name](), name)), case)


def test_no_tap_of_a_right_backend_goes_wrong():
    for case in (TAPS, TAPS.but(strides=(2, 3), dilations=(1, 2)), TAPS.but(x=(2, 4, 5, 4), groups=2, filters=4)):
        assert read_back(Judge(LocalBackend(Correct(), "right")), case) == ""


class Answers:
    """So many arrays, whatever is asked: a worker in another language may."""

    def __init__(self, *arrays):
        self.arrays = arrays

    def call(self, _):
        return Answer("ok", self.arrays)


@pytest.mark.parametrize(
    ("op", "number"), [("conv2d", 0), ("conv2d", 2), ("conv2d_vjp", 0), ("conv2d_vjp", 1), ("conv2d_vjp", 3)]
)
def test_an_answer_of_too_many_arrays_or_too_few_is_explained_by_no_reading(op, number):
    case = TAPS.but(op=op)
    one = Answers(*[np.zeros((1, 4, 5, 1), np.float32)] * number)
    judge = Judge(LocalBackend(Correct(), "right"))
    judge.backend = one
    diagnosis = Diagnosis(judge)
    diagnosis._readings["TrueConvolution"] = one  # wrong in the same way
    assert not diagnosis._explains("TrueConvolution", case, Question("groups"))
    assert not diagnosis._right_too("TrueConvolution", case, Question("groups"))
