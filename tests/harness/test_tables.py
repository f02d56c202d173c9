"""The lists of cases: sizes around vectors and tiles, layers of real networks, past bugs; what they reach, and how."""

import pytest

from convspec.harness.cases import sweeps
from convspec.harness.cases.case import CONVOLUTIONS
from convspec.harness.cases.formats import FLOATS

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
    for cases in (sweeps.tails(dtype, "standard"), sweeps.beyond_tails(dtype), sweeps.grid(dtype)):
        told = list(cases)
        assert all(min(c.y) > 0 and c.dtype == dtype for c in told)
        assert len(set(told)) == len(told)
