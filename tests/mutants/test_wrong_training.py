"""Each planted fault of training breaks a MUST clause and is named; faults that accuracy would not see among them."""

import pytest
from trained import judged, twins_of

from convspec.harness.oracle.readings import known
from convspec.harness.training import data, judge
from mutants import wrong_training


@pytest.fixture(scope="module")
def digits():
    return data.subset()


@pytest.mark.zoo
@pytest.mark.parametrize(("name", "net"), sorted(wrong_training.PLANTED.items()))
def test_a_planted_fault_breaks_a_must_and_is_named(name, net, digits, tmp_path):
    record = judged(getattr(wrong_training, name)(), net, digits, tmp_path)
    failed = record.facts["failed"]
    assert {fault["diagnosis"] for fault in failed.values()} == {wrong_training.what(name)}
    found = judge.verdicts(net, 0, "mine", record, twins_of(net, digits, tmp_path), digits)
    assert [v.clause for v in found] == list(judge.CLAUSES)
    assert any(v.breaks for v in found)
    assert wrong_training.what(name) in {v.diagnosis for v in found}


def test_faults_of_convolution_and_pooling_have_their_names_from_the_catalogue():
    assert {name for name in wrong_training.PLANTED if name in known()} == set(list(wrong_training.PLANTED)[:8])
