"""What a backend's errors look like, all together: effective bits, and the arithmetic that would explain them.

May import this folder, the cases and the adapters' contract. Knows nothing of backends: it is given their results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from convspec.adapters.backend import Contract
from convspec.harness.cases.case import Case
from convspec.harness.cases.formats import FORMATS, Format

from .bounds import accumulator_of
from .statistics import LEAST_ELEMENTS, bias_limit, growth, limit, outside_cell, sigma
from .truth import Terms, Truth

Array = npt.NDArray[Any]

#: By the type of the data: what inputs may have been rounded to, and sums kept in. float16 has TF32's eleven bits.
INPUTS = {
    "float64": {"float32": 24, "TF32": 11, "bfloat16": 8},
    "float32": {"two bfloat16 terms": 16, "TF32": 11, "bfloat16": 8},
    "float16": {"bfloat16": 8},
    "bfloat16": {},
}
SUMS = {
    "float64": {"float32": 24, "float16": 11},
    "float32": {"float32": 24, "float16": 11, "bfloat16": 8},
    "float16": {"float16": 11, "bfloat16": 8},
    "bfloat16": {"bfloat16": 8},
}
#: Root mean square of error / D where both operands, uniform in 0.5..1, are rounded to p bits, in units of 2^-p: the
#: square of an error is 1/12 of the spacing's, that of an operand 7/12, and there are two operands.
BOTH_ROUNDED = math.sqrt(2 / 7)
#: One operand alone is half a bit better than both; truncation is a bit worse than rounding.
NEAR_INPUTS = (-1.5, 1.5)
#: Sums in blocks, or with fused products, have up to three bits more than one term after the other.
NEAR_SUMS = (-1.0, 3.0)


@dataclass(frozen=True)
class Errors:
    """The errors of one result: mean squares, against what is declared, against plain rounding, and against D.

    In units of what is declared, `upward` is their mean, `outward` that of those away from zero less those toward it.
    """

    case: Case
    elements: int
    against_contract: float
    against_plain: float
    against_spread: float
    growth: float
    upward: float
    outward: float


@dataclass
class Sample:
    """The errors of one result (y, dx or dw) over many cases of one dtype."""

    name: str
    dtype: str
    contract: Contract
    ordinary: list[Errors] = field(default_factory=list)
    cancelling: list[Errors] = field(default_factory=list)

    @property
    def accumulator(self) -> Format:
        """The format that sums are declared to be kept in."""
        return accumulator_of(self.dtype, self.contract)

    @property
    def tf32(self) -> bool:
        """Whether rounded inputs are declared, and these are of the type that is rounded."""
        return self.contract.tf32 and self.dtype == "float32"

    @property
    def elements(self) -> int:
        """How many elements were measured."""
        return sum(e.elements for e in (*self.ordinary, *self.cancelling))

    def add(self, case: Case, truth: Truth, got: Array) -> None:
        """Measure one result."""
        self.take(*self.measure(case, truth, got))

    def take(self, *measured: Errors) -> None:
        """Take errors that were measured under the same contract."""
        for errors in measured:
            (self.cancelling if _cancelling((errors,)) else self.ordinary).append(errors)

    def measure(self, case: Case, truth: Truth, got: Array) -> tuple[Errors, ...]:
        """The errors of one result; none where no element has a term."""
        terms, accumulator = truth.terms, self.accumulator
        assert isinstance(terms, Terms)
        with np.errstate(all="ignore"):
            if self.dtype == accumulator.name:
                error = got.astype(truth.value.dtype) - truth.value
            else:
                error = outside_cell(got, truth.value, FORMATS[self.dtype])
            error = np.where(np.isfinite(error), error, terms.scale)  # infinity and NaN: nothing is right
        some = terms.count > 0
        if not some.any():
            return ()
        errors, signs = error[some].astype(np.float64), np.sign(truth.value[some]).astype(np.float64)
        plain = sigma(terms, accumulator)[some]
        declared = sigma(terms, accumulator, tf32=True)[some] if self.tf32 else plain
        measured = Errors(
            case,
            int(some.sum()),
            float(np.mean((errors / declared) ** 2)),
            float(np.mean((errors / plain) ** 2)),
            float(np.mean(errors**2 / terms.squares[some])),
            float(np.mean(growth(terms.count[some]))),
            float(np.mean(errors / declared)),
            float(np.mean(errors * signs / declared)),
        )
        return (measured,)

    @property
    def judged(self) -> bool:
        """Whether the model is of this algorithm: a transform's errors are another's."""
        return self.contract.algorithm == "direct"

    @property
    def outside(self) -> tuple[Errors, ...]:
        """What is worse than the contract: of these cases alone, or all of them where only together they tell."""
        for errors in (self.cancelling, self.ordinary) if self.judged else ():
            beyond = tuple(e for e in errors if _beyond((e,))) or (tuple(errors) if _beyond(errors) else ())
            if beyond:
                return beyond
        return ()

    @property
    def bits(self) -> float:
        """The effective bits: of the inputs where those are what was rounded, else of the accumulator.

        Through a narrow output type an accumulator is seen on cancelling sums alone, and up to its own precision.
        """
        worse, narrow = self.outside, self.dtype != self.accumulator.name
        errors = worse or (self.cancelling if narrow and self.cancelling else self.ordinary)
        mean = _pooled(errors, "against_plain")
        large = mean > limit(sum(e.elements for e in errors))
        if large and not _cancelling(errors) and _of_inputs(errors):
            return input_bits(errors)
        bits = self.accumulator.precision - 0.5 * math.log2(mean) if mean else math.inf
        return min(bits, float(self.accumulator.precision)) if narrow else bits

    def verdict(self) -> str:
        """What is wrong, in words: `y declares float32, behaves like TF32 (11.0 bits)`; or nothing."""
        beyond = self.outside
        if not beyond:
            return ""
        declared = "TF32" if self.tf32 else self.accumulator.name
        return f"{self.name} declares {declared}, behaves like {looks_like(beyond, self.accumulator)}"


def _beyond(errors: Sequence[Errors]) -> bool:
    """Whether so large a mean square, or so large a mean, is no chance."""
    elements = sum(e.elements for e in errors)
    if elements < LEAST_ELEMENTS:
        return False
    return _pooled(errors, "against_contract") > limit(elements) or _leaning(errors) != ""


#: Which way errors lean, where their mean is no chance.
LEANINGS = {"outward": ("toward zero", "away from zero"), "upward": ("downward", "upward")}


def _leaning(errors: Sequence[Errors]) -> str:
    """Which way errors lean, or nothing."""
    spread = max(1.0, math.sqrt(_pooled(errors, "against_contract")))
    most = spread * bias_limit(sum(e.elements for e in errors))
    means = {what: _pooled(errors, what) for what in LEANINGS}
    what = max(means, key=lambda k: abs(means[k]))
    return LEANINGS[what][int(means[what] > 0)] if abs(means[what]) > most else ""


def _pooled(errors: Sequence[Errors], what: str) -> float:
    """A mean over all elements of all cases."""
    total = sum(e.elements for e in errors)
    return sum(getattr(e, what) * e.elements for e in errors) / total if total else 0.0


def _cancelling(errors: Sequence[Errors]) -> bool:
    """Whether these are sums in which rounded inputs cancel as well, so that only the accumulator is seen."""
    return any(e.case.recipe == "near-zero" for e in errors)


def _of_inputs(errors: Sequence[Errors]) -> bool:
    """Whether mean squares stay as they are while sums get longer, as those of rounded inputs do, or grow with them."""
    x = np.log([e.growth for e in errors])
    y = np.log([max(e.against_spread, 1e-300) for e in errors])
    if np.ptp(x) < math.log(2):  # too alike to tell: inputs, if they are rounded to a known format
        return bool(_nearest(INPUTS[errors[0].case.dtype], input_bits(errors), NEAR_INPUTS))
    return bool(np.polyfit(x, y, 1)[0] < 1 / 2)


def input_bits(errors: Sequence[Errors]) -> float:
    """Bits of inputs that, both rounded, would explain these errors."""
    return math.log2(BOTH_ROUNDED) - 0.5 * math.log2(_pooled(errors, "against_spread"))


def looks_like(errors: Sequence[Errors], accumulator: Format) -> str:
    """The arithmetic that explains the errors best: rounded inputs or a narrow accumulator, and how it rounds."""
    dtype = errors[0].case.dtype
    leaning = f", rounded {_leaning(errors)}" if _leaning(errors) else ""
    if not _cancelling(errors) and _of_inputs(errors):
        bits = input_bits(errors)
        narrow = FORMATS[dtype].precision < accumulator.precision
        name = f"partial sums rounded to {dtype}" if narrow else "rounded inputs or results"
        return f"{_nearest(INPUTS[dtype], bits, NEAR_INPUTS) or name} ({bits:.1f} bits){leaning}"
    bits = accumulator.precision - 0.5 * math.log2(_pooled(errors, "against_plain"))
    known = _nearest({k: p for k, p in SUMS[dtype].items() if p < accumulator.precision}, bits, NEAR_SUMS)
    return f"{known} sums ({bits:.1f} bits){leaning}" if known else f"sums of {bits:.1f} bits{leaning}"


def _nearest(formats: dict[str, int], bits: float, near: tuple[float, float]) -> str:
    """The format whose precision is nearest, if it is near; or nothing."""
    name = min(formats, key=lambda k: abs(formats[k] - bits), default="")
    return name if name and near[0] <= bits - formats[name] <= near[1] else ""
