"""How far within the bound results lie: the classes, and that the judge counts each element once."""

import numpy as np
import pytest
from local import LocalBackend

from convspec.adapters import registry
from convspec.harness.cases.case import Case
from convspec.harness.judge import Judge, Question, truths_of
from convspec.harness.oracle.bounds import compare
from convspec.harness.oracle.tally import ABOVE, CLASSES, EXACT, Tally

CASE = Case("conv2d", (1, 7, 8, 5), (3, 3), filters=4, padding="SAME", recipe="real")


@pytest.mark.parametrize("dtype", ["float32", "float64", "longdouble"])
def test_the_classes_are_those_of_the_logarithm(dtype):
    ratio = np.concatenate([2.0 ** np.random.default_rng(0).uniform(-30, 0, 5000), 2.0 ** np.arange(-30, 1)])
    bound = np.full(ratio.shape, 0.125, dtype)
    tally = Tally()
    tally.add((ratio * 0.125).astype(dtype), bound, np.zeros(ratio.shape, bool))
    wanted = np.clip(np.ceil(np.log2(ratio.astype(dtype).astype(np.float64))).astype(int) + 11, 1, 11)
    assert tally.counts == np.bincount(wanted, minlength=CLASSES).tolist()


def test_what_is_no_number_or_right_by_another_rule_is_in_no_class():
    tally = Tally()
    tally.add(np.array([np.nan, 5.0, 0.0]), np.array([1.0, 1.0, 0.0]), np.zeros(3, bool))
    assert sum(tally.counts) == tally.counts[EXACT] == 1


def test_compare_counts_right_and_wrong():
    (truth,) = truths_of(CASE)
    y = truth.value.astype(np.float32)
    for wrong in (0, 3):
        got, tally = y.copy(), Tally()
        got.ravel()[:wrong] += 100
        assert (compare(got, truth, "float32", tally=tally) is None) == (wrong == 0)
        assert sum(tally.counts) == y.size
        assert tally.counts[ABOVE] == wrong
        assert sum(tally.counts[1:ABOVE]) > 0


@pytest.mark.parametrize("case", [CASE, CASE.but(recipe="integers"), Case("max_pool", (1, 4, 4, 2), (2, 2))])
def test_the_judge_counts_each_output_once(case):
    backend = registry.load("numpy")
    outcome = Judge(LocalBackend(backend, "numpy"), tallies=True).against_truth(case, Question("conv2d-sum"))
    assert sum(outcome.errors) == outcome.outputs == int(np.prod(case.y))
    silent = Judge(LocalBackend(backend, "numpy")).against_truth(case, Question("conv2d-sum"))
    assert silent.errors == ()


def test_a_wrong_backend_is_counted_above_the_bound():
    class Wrong(type(registry.load("numpy"))):
        def conv2d(self, *args, **options):
            return super().conv2d(*args, **options) + np.float32(1)

    outcome = Judge(LocalBackend(Wrong("fast"), "wrong"), tallies=True).against_truth(CASE, Question("conv2d-sum"))
    assert outcome.finding
    assert outcome.errors[ABOVE] == sum(outcome.errors)
    assert outcome.errors[ABOVE] > 0
