"""Which rows and columns of the image the taps of a case's windows read.

May import NumPy and `case`; the geometry itself is the reference's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .case import Case

Array = npt.NDArray[Any]


def reads(case: Case, axis: int) -> Array:
    """The row (axis 0) or column (axis 1) that each tap of each window reads, (outputs, taps); padding lies outside.

    >>> reads(Case("conv2d", (1, 3, 3, 1), (1, 2), filters=1, padding="SAME"), 1).tolist()
    [[0, 1], [1, 2], [2, 3]]
    """
    window = case.window
    first = np.arange(window.output[axis]) * window.strides[axis] - window.pads[axis][0]
    return np.asarray(first[:, None] + np.arange(window.kernel[axis]) * window.dilations[axis])
