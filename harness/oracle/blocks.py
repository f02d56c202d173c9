"""The right answer of a block: convolution, bias, ReLU and perhaps pooling, one after the other, and its gradients.

May import the reference and `cases`. Data are integers whose every sum is exact in every type, so that the answer is
one number, whatever was fused with what.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from convspec.harness.cases.case import Case
from convspec.harness.cases.recipes import Data
from convspec.reference import conv2d, max_pool

Array = npt.NDArray[Any]


def answers(case: Case, data: Data) -> dict[str, Array]:
    """Each result by name: y, or dx, dw and dbias; wide.

    >>> one = Case("block", (1, 1, 2, 1), (1, 1), filters=1, pool=((1, 2), (1, 2), "VALID"))
    >>> x, w, bias = np.array([3.0, -2.0]).reshape(1, 1, 2, 1), np.full((1, 1, 1, 1), -1.0), np.array([1.0])
    >>> answers(one, {"x": x, "w": w, "bias": bias})["y"].item()  # the larger of 0 and -(-2) + 1
    3.0
    """
    x, w, bias = (data[name].astype(np.float64) for name in ("x", "w", "bias"))
    sums = conv2d.forward(x, w, case.window, case.groups) + bias
    hidden = np.maximum(sums, 0.0)
    if case.op == "block":
        return {"y": hidden if case.pooled is None else max_pool.forward(hidden, case.pooled)}
    dy = data["dy"].astype(np.float64)
    upstream = dy if case.pooled is None else max_pool.gradient(hidden, dy, case.pooled)
    through = np.where(sums > 0, upstream, 0.0)
    return {
        "dx": conv2d.input_gradient(case.x, w, through, case.window, case.groups),
        "dw": conv2d.filter_gradient(x, case.w, through, case.window, case.groups),
        "dbias": through.sum(axis=(0, 1, 2)),
    }
