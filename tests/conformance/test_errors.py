"""Errors: invalid calls raise; they never crash, hang or answer (spec/errors.md)."""

import numpy as np
import pytest

from convspec.harness.cases.case import Case
from convspec.harness.cases.invalid import CHANGES, Invalid
from convspec.harness.cases.recipes import arrays
from convspec.harness.check import Check
from convspec.harness.judge import Ask, same_bits
from convspec.harness.oracle.truth import truths

clause = pytest.mark.clause


@clause("error-strides-positive", dtypes=("float32",))
def test_error_strides_positive(check: Check) -> None:
    """Strides of zero and below."""
    check.refused()


@clause("error-dilations-positive", dtypes=("float32",))
def test_error_dilations_positive(check: Check) -> None:
    """Dilations of zero and below."""
    check.refused()


@clause("error-ksize-positive", dtypes=("float32",))
def test_error_ksize_positive(check: Check) -> None:
    """Windows of no element."""
    check.refused()


@clause("error-rank", dtypes=("float32",))
def test_error_rank(check: Check) -> None:
    """Images and filters of another rank than four."""
    check.refused()


@clause("error-channel-mismatch", dtypes=("float32",))
def test_error_channel_mismatch(check: Check) -> None:
    """A filter for another number of channels."""
    check.refused()


@clause("error-groups-divide", dtypes=("float32",))
def test_error_groups_divide(check: Check) -> None:
    """Groups of zero, below, or that do not divide."""
    check.refused()


@clause("error-negative-padding", dtypes=("float32",))
def test_error_negative_padding(check: Check) -> None:
    """Explicit padding below zero."""
    check.refused()


@clause("error-unknown-padding", dtypes=("float32",))
def test_error_unknown_padding(check: Check) -> None:
    """Padding names that do not exist."""
    check.refused()


@clause("error-dtype-mismatch", dtypes=("float32", "float64"))
def test_error_dtype_mismatch(check: Check) -> None:
    """Operands of two dtypes."""
    check.refused()


@clause("error-gradient-shape", dtypes=("float32",))
def test_error_gradient_shape(check: Check) -> None:
    """A dy that has not the output's shape."""
    check.refused()


@clause("errors-leave-no-trace", dtypes=("float32",))
def test_errors_leave_no_trace(check: Check) -> None:
    """After each refusal a valid call has the answer that it had before."""
    conv = Case("conv2d", (1, 4, 5, 4), (2, 3), filters=4, padding="SAME", recipe="integers")
    pool = Case("max_pool", (1, 4, 5, 4), (2, 2), padding="SAME", recipe="distinct")

    def unmoved(ask: Ask, case: Case) -> str | None:
        for seed, (name, change) in enumerate(CHANGES.items()):
            if case.op in change.ops and change.clause != "error-rank":  # a rank may crash; that is its own clause
                data, other = arrays(case.but(seed=seed)), arrays(case.but(seed=seed + 1))
                before = ask(case, data)
                check.judge.backend.call(Invalid(case, name).request())
                fresh, again = ask(case, other), ask(case, data)
                right = all(np.array_equal(check.whole(fresh[t.name]), t.value) for t in truths(case, other))
                if not right or not all(same_bits(before[result], again[result]) for result in before):
                    return f"After an invalid call ({name.replace('_', ' ')}) a valid one is answered otherwise."
        return None

    four = [conv, pool, conv.but(op="conv2d_vjp"), pool.but(op="max_pool_vjp")]
    check.relation([*four, *(case.but(padding="VALID", strides=(2, 1)) for case in four)], unmoved)
