"""Blocks (spec/network.md): convolution, bias, ReLU and pooling in one call, as compilers fuse them."""

from collections.abc import Iterator

import pytest
from hypothesis import strategies as st

from convspec.harness.cases.case import Case
from convspec.harness.cases.recipes import arrays
from convspec.harness.cases.strategies import convolutions
from convspec.harness.check import Check

clause = pytest.mark.clause
#: What is pooled after the block, if anything: the usual one, an overlapping one, one whose padding is uneven.
POOLS = (None, ((2, 2), (2, 2), "SAME"), ((3, 3), (2, 2), "VALID"), ((3, 2), (2, 3), "SAME"))


def blocks(check: Check, op: str) -> st.SearchStrategy[Case]:
    """Drawn convolutions with a bias, and a pool of `POOLS` where its window fits."""

    def with_pool(case: Case, turn: int) -> Case:
        pool = POOLS[turn]
        fits = pool is None or all(n >= k for n, k in zip(case.window.output, pool[0], strict=True))
        return case.but(op=op, pool=pool if fits else None)

    drawn = convolutions(check.dtype, recipes=("integers",), groups=(1, 1, 2))
    return st.builds(with_pool, drawn, st.integers(0, len(POOLS) - 1))


def plain(check: Check, op: str, batch: int) -> Iterator[Case]:
    """Small blocks, with each pool; the second is the first layer of LeNet-5 with its rows and columns unlike."""
    for seed, pool in enumerate(POOLS):
        small = Case(op, (batch, 5, 6, 2), (2, 3), filters=3, padding="SAME", dtype=check.dtype, pool=pool, seed=seed)
        yield small
        yield small.but(x=(batch, 14, 13, 1), kernel=(5, 5), filters=6, padding="VALID")


@clause("fused-block", dtypes=("float32", "float64"))
def test_fused_block(check: Check) -> None:
    """The block is its parts, one after the other."""
    check.each(plain(check, "block", 2))
    alone = [case for case in plain(check, "block", 1) if case.pool is None]  # of pools it is a clause
    if check.direct:  # a declared transform mixes pixels
        check.each(case.but(recipe="nan-in-x") for case in alone)
    check(blocks(check, "block"))


@clause("fused-block-gradient", dtypes=("float32", "float64"))
def test_fused_block_gradient(check: Check) -> None:
    """So are its gradients: of the image, the filters and the bias."""
    if not check.direct:  # its error decides whether a sum of zero is above zero, and which of two is larger
        check.relation(
            plain(check, "block_vjp", 2), lambda ask, case: None if ask(case, arrays(case)) else "No result."
        )
        return
    check.each(plain(check, "block_vjp", 2))
    check(blocks(check, "block_vjp"))


@clause("fused-block-empty-batch", dtypes=("float32",))
def test_fused_block_empty_batch(check: Check) -> None:
    """No image, no output; the gradients of filters and bias are sums of nothing."""
    check.each(plain(check, "block", 0))
    check.each(plain(check, "block_vjp", 0))
