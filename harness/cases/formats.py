"""The number formats a case can have, with the constants that every bound is made of.

May import NumPy alone (and ml_dtypes, when bfloat16 is asked for).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

FLOATS = ("float32", "float64", "float16", "bfloat16")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


@dataclass(frozen=True, slots=True)
class Format:
    """A binary floating-point format: `precision` bits of significand, least and largest normal exponent."""

    name: str
    precision: int
    least_exponent: int
    largest_exponent: int

    @property
    def unit(self) -> float:
        """The unit roundoff u = 2^-p."""
        return 2.0**-self.precision

    @property
    def least_normal(self) -> float:
        """Lambda: the least positive normal number."""
        return 2.0**self.least_exponent

    @property
    def least_subnormal(self) -> float:
        """Eta: the least positive number."""
        return 2.0 ** (self.least_exponent - self.precision + 1)

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return float(2.0**self.largest_exponent * (2 - 2.0 ** (1 - self.precision)))


FORMATS = {
    "float64": Format("float64", 53, -1022, 1023),
    "float32": Format("float32", 24, -126, 127),
    "float16": Format("float16", 11, -14, 15),
    "bfloat16": Format("bfloat16", 8, -126, 127),
}

#: The format that sums are accumulated in, at least (clause `accumulate-at-least-float32`).
ACCUMULATOR = {"float64": "float64", "float32": "float32", "float16": "float32", "bfloat16": "float32"}


@cache
def dtype_of(name: str) -> np.dtype[Any]:
    """The NumPy dtype called `name`; bfloat16 comes from ml_dtypes."""
    if name == "bfloat16":
        import ml_dtypes  # noqa: PLC0415 - only bfloat16 needs it, and a light install has none

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(name)


def round_to(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    """Round float64 (or longdouble) values once, to nearest even, into the format `name`; the result is float64.

    Written out, because casting float64 to bfloat16 by way of float32 rounds twice.
    """
    fmt = FORMATS[name]
    if name == "float64":
        return np.asarray(values, np.float64)
    values = np.asarray(values, np.float64)
    _, exponent = np.frexp(values)
    spacing = np.ldexp(1.0, np.maximum(exponent - 1, fmt.least_exponent) - fmt.precision + 1)
    with np.errstate(invalid="ignore"):
        rounded = np.where(np.isfinite(values), np.rint(values / spacing) * spacing, values)
    return np.where(np.abs(rounded) > fmt.largest, np.copysign(np.inf, rounded), rounded)
