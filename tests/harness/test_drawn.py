"""The cases that ship drawn: all that a run of the default seed asks for, what Hypothesis draws, and no more."""

import hypothesis
import numpy as np
import pytest
from local import check_of

import convspec
from convspec.harness import drawn
from convspec.harness.cases.strategies import convolutions
from convspec.harness.plugin import DEFAULT_SEED

HELD = drawn._lists()


@pytest.fixture(scope="module")
def asked():
    """Key and draw of everything that the conformance tests draw at the levels that ship."""
    every = [one for level in drawn.LEVELS for one in drawn.draws(level, DEFAULT_SEED)]
    return {drawn.key(*one): one for one in every}


def test_all_that_a_run_draws_ships_and_nothing_else(asked):
    assert len(asked) > 500
    assert asked.keys() == HELD["lists"].keys(), "a strategy or a draw has changed: python -m convspec.harness.drawn"
    assert all(drawn.ready(*one) for one in asked.values())


def test_the_lists_are_what_hypothesis_draws(asked):
    if hypothesis.__version__ != HELD["hypothesis"]:
        pytest.skip(f"drawn by Hypothesis {HELD['hypothesis']}; {hypothesis.__version__} may draw others")
    for one in list(asked.values())[::25]:
        assert drawn.ready(*one) == drawn.drawn(*one)


def test_what_does_not_ship_is_drawn():
    strategy, start, examples = next(iter(drawn.draws("quick", DEFAULT_SEED)))
    assert drawn.ready(strategy, start, examples)
    assert drawn.ready(strategy, start + 1, examples) is None
    assert drawn.ready(strategy, start, examples + 1) is None
    assert drawn.ready(convolutions("float64", strides=((5, 5),)), start, examples) is None
    assert not any(drawn.ready(*one) for one in drawn.draws("quick", DEFAULT_SEED + 1))


def test_lists_of_other_strategies_are_not_taken(monkeypatch):
    one = next(iter(drawn.draws("quick", DEFAULT_SEED)))
    drawn._lists.cache_clear()
    monkeypatch.setattr(drawn, "digest", lambda: "of another file")
    assert drawn.ready(*one) is None
    monkeypatch.undo()
    drawn._lists.cache_clear()
    assert drawn.ready(*one)


class LastRowLost:
    name = "mine"

    def conv2d(self, x, w, **options):
        y = convspec.conv2d(x, w, **options).copy()
        if y.shape[1] > 2:
            y[:, -1] = np.float32(0)
        return y


def test_verdict_and_witness_are_the_same_as_of_cases_drawn_now(monkeypatch):
    def judged():
        check = check_of(LastRowLost(), "conv2d-sum")
        strategy = convolutions("float32")
        check(strategy)
        check.cell.conclude()
        return check.cell.to_dict()

    monkeypatch.setattr(drawn, "ready", lambda *_: None)
    live = judged()
    beforehand = drawn.drawn(convolutions("float32"), check_of(LastRowLost(), "conv2d-sum").seed + 1, 8)
    monkeypatch.setattr(drawn, "ready", lambda *_: beforehand)
    assert len(beforehand) > 4
    assert judged() == live
    assert live["findings"]
