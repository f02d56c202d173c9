"""The examples of the text are run: a number that is printed there is a number that the reference computes."""

import doctest
import re

import numpy as np
import pytest

import convspec
from convspec.reference import geometry, network, training
from convspec.spec import clause, clauses

NAMES = {
    "np": np,
    "geometry": geometry,
    "network": network,
    "training": training,
    **{
        name: getattr(convspec, name)
        for name in ("conv2d", "conv2d_vjp", "max_pool", "max_pool_vjp", "max_pool_with_argmax")
    },
}

#: Clauses whose example cannot be run here: what a backend does from call to call, or where either answer is allowed.
IN_WORDS = {"consistency-of-padding-taps", "batch-invariance", "thread-invariance"}


def code(slug):
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", clause(slug).example, re.DOTALL | re.MULTILINE))


def test_every_other_clause_has_an_example_that_runs():
    assert {slug for slug in clauses() if ">>> " not in code(slug)} == IN_WORDS


@pytest.mark.parametrize("slug", sorted(set(clauses()) - IN_WORDS))
def test_example(slug):
    test = doctest.DocTestParser().get_doctest(code(slug), dict(NAMES), slug, f"{clause(slug).topic}.md", 0)
    said: list[str] = []
    result = doctest.DocTestRunner().run(test, out=said.append)
    assert result.attempted > 0
    assert result.failed == 0, "".join(said)


def test_a_wrong_number_in_an_example_would_be_seen():
    wrong = code("same-odd-pixel-last").replace("[3.0, 5.0, 7.0, 4.0]", "[1.0, 3.0, 5.0, 7.0]")
    test = doctest.DocTestParser().get_doctest(wrong, dict(NAMES), "wrong", None, 0)
    assert doctest.DocTestRunner().run(test, out=lambda text: None).failed == 1


def test_source_sizes():
    """The figures of source.md."""
    same = geometry.resolve((28, 28), (5, 5), strides=1, padding="SAME")
    assert same.output == (28, 28)
    assert sum(same.pads[0]) == 4
    assert geometry.resolve((28, 28), (5, 5), strides=2, padding=((2, 2), (2, 2))).output == (14, 14)
    assert geometry.resolve((28, 28), (1, 1), strides=1, padding="VALID").output == (28, 28)
    assert geometry.resolve((1, 1), (3, 3), strides=2, padding="SAME").output == (1, 1)
    assert 28 * 28 * 32 == 25_088
