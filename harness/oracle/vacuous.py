"""Cases that could tell nothing: any backend would pass them, or nearly any.

May import `cases` and `truth`. Three kinds: no product that is not zero reaches an output; one output element that is
one tap; and, for a clause about orientation, data that look the same turned round.
"""

from __future__ import annotations

import numpy as np

from convspec.harness.cases.case import Case
from convspec.harness.cases.recipes import Data

from .truth import Array, Truth

#: Clauses about which side or which way round: data that are the same turned by 180 degrees cannot tell.
ORIENTATION = (
    "conv2d-cross-correlation",
    "explicit-padding",
    "layout-nhwc-hwio",
    "max-pool-explicit-padding",
    "same-lower",
    "same-odd-pixel-last",
)
#: Clauses that are about sums of nothing or of zeros: there a zero is what tells.
ABOUT_ZEROS = (
    "conv2d-gradient-unread-pixels",
    "conv2d-signed-zero",
    "max-pool-gradient-no-valid-tap",
    "max-pool-signed-zero",
    "no-input-channels",
)


def vacuous(case: Case, data: Data, truths: tuple[Truth, ...], clause: str) -> bool:
    """Whether a case could tell nothing about this clause.

    >>> from .truth import truths
    >>> from convspec.harness.cases.recipes import arrays
    >>> one = Case("conv2d", (1, 1, 1, 1), (1, 1), filters=1)
    >>> vacuous(one, arrays(one), truths(one, arrays(one)), "conv2d-sum")
    True
    """
    if clause in ABOUT_ZEROS or 0 in case.x or 0 in case.y:
        return False
    if all(_nothing(truth) for truth in truths):
        return True
    if np.prod(case.y) == 1 and case.taps == 1 and case.recipe in PLAIN:
        return True
    return clause in ORIENTATION and _symmetric(case, data)


#: Recipes of ordinary numbers: on special values even a single tap tells something.
PLAIN = ("integers", "powers", "impulse-x", "impulse-w", "real", "positive", "distinct", "negative", "ties", "constant")


def _nothing(truth: Truth) -> bool:
    """No term that is not zero reaches a result."""
    return not np.any(truth.value != 0) and (truth.terms is None or not np.any(truth.terms.scale))


def _symmetric(case: Case, data: Data) -> bool:
    """The filter, and with it the image, turned by 180 degrees."""
    if case.is_convolution and not _same_turned(data["w"], (0, 1)):
        return False
    return (case.op == "conv2d" and case.padding == "VALID") or _same_turned(data["x"], (1, 2))


def _same_turned(array: Array, axes: tuple[int, int]) -> bool:
    return bool(np.array_equal(array, np.flip(array, axes)))
