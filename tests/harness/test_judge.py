"""The judge on backends that are wrong in one way each, in a process of their own: the right kind, the right clause."""

import textwrap

import pytest

from convspec.harness.cases.case import Case
from convspec.harness.check import Check
from convspec.harness.judge import Judge, Question
from convspec.harness.process.remote import RemoteBackend
from convspec.harness.verdict import Cell, State

HEAD = """
import os, time
import numpy as np
from convspec.adapters.numpy_backend import NumpyBackend
class B(NumpyBackend):
    def __init__(self):
        super().__init__("fast")
        self.calls = 0
    def conv2d(self, x, w, **options):
        self.calls += 1
        y = super().conv2d(x, w, **options)
"""
POOL = Case("max_pool", (1, 2, 2, 1), (1, 1), recipe="distinct")
CASE = Case("conv2d", (1, 3, 4, 2), (2, 2), filters=2)

BODIES = {
    "type": "return y.tolist()",
    "shape": "return y[:, :-1]",
    "dtype": "return y.astype(np.float64)",
    "value": "y[-1, -1, -1, -1] += 1; return y",
    "exception": "raise RuntimeError('no luck')",
    "crash": "os.abort()",
    "hang": "time.sleep(60)",
    "changed input": "x.flat[0] += 1; return y",
    "alias": "w.flat[0] = w.flat[0]; return np.lib.stride_tricks.as_strided(x, y.shape, y.strides)",
}


@pytest.fixture
def judge_of(tmp_path):
    made = []

    def make(body, tail=""):
        path = tmp_path / f"mine{len(made)}.py"
        path.write_text(HEAD + textwrap.indent(body, " " * 8) + tail)
        made.append(RemoteBackend(f"{path}:B", timeout=3.0))
        return Judge(made[-1])

    yield make
    for backend in made:
        backend.close()


@pytest.mark.parametrize("kind", BODIES)
def test_each_kind_of_wrong(judge_of, kind):
    outcome = judge_of(BODIES[kind]).against_truth(CASE, Question("conv2d-sum"))
    kinds = {f.kind: f.clause for f in ([outcome.finding] if outcome.finding else []) + list(outcome.also)}
    expected = {"changed input": "inputs-unchanged", "alias": "result-owns-its-memory"}.get(kind, "conv2d-sum")
    assert kinds.get(kind) == expected


def test_a_refusal_is_unsupported_only_by_name_or_where_it_is_allowed(judge_of):
    named = "class Unsupported(Exception): pass\nraise Unsupported('not here')"
    assert judge_of(named).against_truth(CASE, Question("conv2d-sum")).refused == "not here"
    plain = judge_of("raise ValueError('kernel too large')")
    assert plain.against_truth(CASE, Question("conv2d-empty-output", may_refuse=True)).refused
    assert plain.against_truth(CASE, Question("conv2d-sum")).finding.kind == "exception"


def test_the_run_goes_on_after_a_crash_and_alike_cases_are_not_asked_again(judge_of):
    judge = judge_of("os.abort()\nif x.shape[3] == 1: return y")
    question = Question("conv2d-sum")
    assert judge.against_truth(CASE, question).finding.kind == "crash"
    assert judge.against_truth(CASE.but(seed=5), question).not_asked
    assert judge.against_truth(POOL, question).finding is None


def test_patience_shrinks_after_a_hang(judge_of):
    judge = judge_of("time.sleep(60)")
    judge.against_truth(POOL, Question("conv2d-sum"))
    judge.against_truth(CASE, Question("conv2d-sum"))
    assert judge.backend.timeout < 3.0


def test_damage_that_kills_the_next_call_is_blamed_on_the_call_before(judge_of):
    """The first call arms a signal that ends the process in the second, which a fresh process answers."""
    body = "if self.calls > 1 and options['strides'] == (2, 1): os.kill(os.getpid(), 11)\nreturn y"
    judge = judge_of(body)
    assert judge.against_truth(CASE, Question("groups")).finding is None
    outcome = judge.against_truth(CASE.but(strides=(2, 1)), Question("conv2d-sum"))
    assert outcome.finding is None
    (blamed,) = outcome.also
    assert (blamed.clause, blamed.kind) == ("groups", "crash")


def test_an_answer_that_changes_is_said_to(judge_of):
    judge = judge_of("return y + (self.calls == 1)")
    finding = judge.against_truth(CASE, Question("conv2d-sum")).finding
    assert "answered differently" in finding.message


def test_uninitialised_memory_of_the_wrong_shape_is_named(judge_of):
    judge = judge_of("return np.empty((1, 9, 9, 40), np.float32)")
    finding = judge.against_truth(CASE, Question("conv2d-sum")).finding
    assert finding.kind == "shape"
    assert "uninitialised memory" in finding.message


def test_invalid_calls_that_are_answered_are_findings(judge_of):
    cell = Cell("error-unknown-padding", "MUST", "float32", "b")
    check = Check(judge_of("return y"), cell, level="quick", seed=1)
    check.refused()
    assert cell.conclude() == State.PASS
    lenient = "\n    def max_pool(self, x, **options):\n        return x.copy()\n"
    cell = Cell("error-unknown-padding", "MUST", "float32", "b")
    Check(judge_of("return y", lenient), cell, level="quick", seed=1).refused()
    assert cell.conclude() == State.FAIL
    assert {f.kind for f in cell.findings} == {"silent"}


def test_a_backend_of_one_method_is_judged_in_that_one(tmp_path):
    path = tmp_path / "one.py"
    path.write_text("class B:\n    name = 'one'\n    def max_pool(self, x, **o):\n        return x.copy()\n")
    with RemoteBackend(f"{path}:B") as backend:
        judge = Judge(backend)
        assert judge.against_truth(POOL, Question("max-pool-maximum")).finding is None
        assert judge.against_truth(CASE, Question("conv2d-sum")).refused == "it has no conv2d"
