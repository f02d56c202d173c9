"""Wrong backends, class arithmetic: exact on integers and within the bound, and yet not what they declare."""

import numpy as np

from .calls import conv, conv_vjp, mutant
from .correct import Correct
from .right_orders import Float64Sums
from .right_transforms import Winograd23
from .rounding import round_bits

REAL = {"data": "normal", "statistical": True}


def rounded_down(total, part):
    """The sum in float32, rounded toward minus infinity."""
    exact = total.astype(np.float64) + part
    near = exact.astype(np.float32)
    return np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near)


@mutant("arithmetic", "partial sums round downward", conv((1, 8, 8, 1), (5, 5, 1, 1), **REAL))
class SumsRoundDown(Correct):
    def add(self, op, total, part, dtype):
        return rounded_down(total, part) if total.dtype == np.float32 else total + part


@mutant(
    "arithmetic",
    "the filter gradient adds eight pixels at a time, and rounds downward",
    conv_vjp((1, 8, 8, 1), (3, 3, 1, 1), (1, 6, 6, 1), **REAL),
)
class FilterGradientRoundsDown(Correct):
    def product(self, op, a, b):
        if op != "conv2d_vjp" or a.dtype != np.float32 or a.ndim != 2:
            return super().product(op, a, b)
        total = np.zeros((len(a), b.shape[1]), np.float32)
        for k in range(0, len(b), 8):
            total = rounded_down(total, a[:, k : k + 8] @ b[k : k + 8])
        return total


@mutant(
    "arithmetic",
    "Winograd F(2, 3), undeclared, for images of 20 and more by 20 and 16 channels and more",
    conv((1, 22, 22, 16), (3, 3, 16, 1), **REAL),
)
class WinogradWhenLarge(Winograd23):
    contract = {}  # noqa: RUF012

    def forward(self, x, w, win, dtype):
        large = min(x.shape[1:3]) >= 20 and x.shape[3] >= 16
        return super().forward(x, w, win, dtype) if large else Correct.forward(self, x, w, win, dtype)


@mutant(
    "arithmetic",
    "the input gradient is in TF32 from 256 filters on",
    conv_vjp((1, 4, 4, 1), (2, 2, 1, 256), (1, 3, 3, 256), **REAL),
)
class Tf32ManyFilters(Correct):
    def input_gradient(self, x, w, dy, win, dtype):
        many = dtype == np.float32 and w.shape[3] >= 256
        return super().input_gradient(x, round_bits(w, 11) if many else w, dy, win, dtype)


@mutant(
    "arithmetic",
    "declares float64 sums, has them forward, and adds up its gradients in float32",
    conv_vjp((1, 8, 8, 1), (3, 3, 1, 1), (1, 6, 6, 1), **REAL),
    right=Float64Sums,
)
class DeclaresFloat64Gradients(Float64Sums):
    def sum_type(self, op, dtype):
        return super().sum_type(op, dtype) if op == "conv2d" else Correct.sum_type(self, op, dtype)
