"""The lists of cases: sizes around vectors and tiles, layers of real networks, past bugs; what they reach, and how."""

import re

import numpy as np
import pytest
from local import judge_of

from convspec.adapters.numpy_backend import NumpyBackend
from convspec.harness.cases import past_bugs, real_shapes, sweeps
from convspec.harness.cases.case import CONVOLUTIONS
from convspec.harness.cases.formats import FLOATS
from convspec.harness.cases.recipes import arrays
from convspec.harness.judge import Question
from convspec.harness.oracle.truth import truths
from convspec.spec import clauses

OPS = ("conv2d", "conv2d_vjp", "max_pool", "max_pool_vjp")
AROUND = {n + off for n in (8, 16, 32, 64, 128) for off in (-1, 0, 1)} | set(range(1, 10))

#: Attributes that the sweeps grow, and the sizes that each has to reach.
GROWN = {
    "width": (lambda c: c.x[2], AROUND),
    "height": (lambda c: c.x[1], AROUND),
    "channels": (lambda c: c.x[3], AROUND),
    "batch": (lambda c: c.x[0], set(range(1, 10))),
    "kernel height": (lambda c: c.kernel[0], set(range(1, 12))),
    "kernel width": (lambda c: c.kernel[1], set(range(1, 12))),
    "filters": (lambda c: c.filters, AROUND),
}


@pytest.mark.parametrize(
    ("op", "grown"), [(op, grown) for op in OPS for grown in GROWN if grown != "filters" or op in CONVOLUTIONS]
)
def test_tails_reach_every_size_with_every_operation(op, grown):
    read, wanted = GROWN[grown]
    cases = [c for c in sweeps.tails("float32", "standard") if c.op == op]
    assert wanted <= {read(c) for c in cases}
    assert 1 < len({read(c) for c in sweeps.tails("float32", "quick") if c.op == op}) < len(wanted)


@pytest.mark.parametrize("dtype", FLOATS)
def test_sweeps_have_outputs_and_no_case_twice(dtype):
    for cases in (
        sweeps.tails(dtype, "standard"),
        sweeps.beyond_tails(dtype, "standard"),
        sweeps.grid(dtype, "standard"),
    ):
        told = list(cases)
        assert all(min(c.y) > 0 and c.dtype == dtype for c in told)
        assert len(set(told)) == len(told)


@pytest.mark.parametrize("dtype", FLOATS)
def test_real_layers_keep_their_geometry_and_their_sums(dtype):
    """Of each layer only the filters are fewer, or whole groups of them, or a pool's channels."""
    cases = [c for c in real_shapes.cases(dtype, "deep") if not c.op.endswith("_vjp")]
    assert len(cases) == len(real_shapes.LAYERS) == len({layer[2:] for layer in real_shapes.LAYERS})
    for layer, case in zip(real_shapes.LAYERS, cases, strict=True):
        whole = layer.padding, layer.kernel, layer.strides, layer.dilations, layer.image[:2]
        assert (case.padding, case.kernel, case.strides, case.dilations, case.x[1:3]) == whole
        assert min(case.y) > 0
        if layer.filters:
            assert case.x[3] // case.groups == layer.image[2] // layer.groups
            assert layer.filters % layer.groups == 0
            assert layer.groups == 1 or case.filters // case.groups == layer.filters // layer.groups
        assert min(case.y[3], case.filters or case.x[3]) >= 2


def test_real_layers_are_told_with_their_source():
    assert {layer.network for layer in real_shapes.LAYERS} == set(real_shapes.SOURCES)


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_level_asks_some_layers_and_standard_stays_within_its_products(dtype):
    quick, standard, deep = ([*real_shapes.cases(dtype, level)] for level in ("quick", "standard", "deep"))
    assert 0 < len(quick) < len(standard) < len(deep)
    assert max(real_shapes.products(c) for c in standard) <= real_shapes.HEAVY
    assert {c.op for c in deep} == set(OPS)


def test_the_four_dtypes_share_the_layers_that_are_not_heavy():
    parts = [{(c.x[1:3], c.kernel, c.seed) for c in real_shapes.cases(d, "standard")} for d in FLOATS]
    assert not set.intersection(*parts[1:])
    assert all(part <= parts[0] for part in parts[1:])


def test_past_bugs_name_their_threads_and_clauses():
    threads = [bug.thread for bug in past_bugs.BUGS]
    assert len(set(threads)) == len(threads) >= 25
    for bug in past_bugs.BUGS:
        assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+/issues/\d+", bug.url)
        assert clauses()[bug.clause].scope == "backend"
        assert bug.shapes in ("given", "reduced", "chosen")
        assert set(bug.dtypes) <= set(FLOATS)
        assert bug.cases


@pytest.mark.parametrize("dtype", FLOATS)
def test_past_bugs_are_small_and_say_something(dtype):
    """Those about empty results excepted, every answer has something in it, more than one product in one output."""
    told = list(past_bugs.cases(dtype))
    assert len({case for _, case in told}) == len(told)
    for slug, case in told:
        assert case.dtype == dtype
        assert np.prod(case.y) * case.taps < 2_000_000
        if 0 in case.x or 0 in case.y:
            assert "empty" in slug or slug == "no-input-channels"
            continue
        found = truths(case, arrays(case))
        assert all(np.any(truth.value) for truth in found), case.describe()
        assert case.taps > 1 or found[0].value.size > 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_reference_had_none_of_the_bugs(dtype):
    judge = judge_of(NumpyBackend("fast"))
    for slug, case in past_bugs.cases(dtype):
        outcome = judge.against_truth(case, Question(slug, may_refuse=slug in past_bugs.MAY_REFUSE))
        assert outcome.finding is None, outcome.finding
        assert not outcome.refused
