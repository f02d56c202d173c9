"""Where the errors of a backend's results lie within the bound: counts by class of |got - ref| / bound.

May import NumPy alone. Classes are binary, so that one is read off a float's exponent: cheap, and no logarithm rounds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: The smallest power of two that has a class of its own; what is smaller, and not zero, goes to the class of this one.
LEAST = -10
#: Exact; up to 2^-10; up to 2^-9; ... up to 1, the bound; above it.
CLASSES = 3 - LEAST
EXACT, ABOVE = 0, CLASSES - 1


class Tally:
    """Counts of elements by class of their error in units of the bound. One that is no number is in no class.

    Examples
    --------
    >>> tally = Tally()
    >>> tally.add(np.array([0.0, 1e-9, 0.5, 0.6, 1.0]), np.ones(5), np.zeros(5, bool))
    >>> tally.counts
    [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0]
    """

    def __init__(self) -> None:
        self._counts = np.zeros(CLASSES, np.int64)

    @property
    def counts(self) -> list[int]:
        """A count for each class, exact ones first."""
        return [int(n) for n in self._counts]

    def exact(self, elements: int, wrong: int = 0) -> None:
        """Take elements that are right to the bit, and others that are wrong where the bound is zero."""
        self._counts[EXACT] += elements
        self._counts[ABOVE] += wrong

    def add(self, error: Array, bound: Array, wrong: Array) -> None:
        """Take elements by error and bound. What is right beyond the bound, by another rule, is in no class."""
        within = ~wrong & (error > 0) & (error <= bound)
        halves, exponents = np.frexp(error[within] / bound[within])  # m 2^e, m in [1/2, 1): at most 2^e
        exponents = exponents - (halves == 0.5)  # a power of two closes its class
        places = np.clip(exponents - LEAST + 1, 1, ABOVE - 1)
        self._counts += np.bincount(places, minlength=CLASSES)
        self._counts[EXACT] += int(np.count_nonzero(~wrong & (error == 0)))
        self._counts[ABOVE] += int(np.count_nonzero(wrong))
