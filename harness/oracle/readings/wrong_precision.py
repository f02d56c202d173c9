"""Wrong backends, class arithmetic: numbers with too few bits, sums in too narrow a type."""

import numpy as np

from .calls import conv, conv_vjp, mutant
from .correct import NARROW, Correct
from .right_orders import Float64Sums
from .rounding import flush, round_bits, sums_in, truncate_bits

ODD = {"data": ("odd", "ties")}


class Inputs(Correct):
    """Something happens to the inputs of conv2d, in float32."""

    def change(self, x):
        return x

    def widen(self, op, x):
        return self.change(x) if x.dtype == np.float32 else super().widen(op, x)


@mutant("arithmetic", "inputs rounded to TF32, undeclared", conv((1, 4, 4, 3), (3, 3, 3, 2), **ODD))
class Tf32Inputs(Inputs):
    def change(self, x):
        return round_bits(x, 11)


@mutant("arithmetic", "inputs truncated to TF32, undeclared", conv((1, 4, 4, 3), (3, 3, 3, 2), **ODD))
class Tf32Truncated(Inputs):
    def change(self, x):
        return truncate_bits(x, 11)


@mutant("arithmetic", "inputs rounded to bfloat16", conv((1, 4, 4, 3), (3, 3, 3, 2), **ODD))
class Bfloat16Inputs(Inputs):
    def change(self, x):
        return round_bits(x, 8)


@mutant(
    "arithmetic", "inputs rounded to float16 (large ones become infinite)", conv((1, 4, 4, 3), (3, 3, 3, 2), scale=1e5)
)
class Float16Inputs(Inputs):
    def change(self, x):
        return x.astype(np.float16).astype(x.dtype)


@mutant(
    "arithmetic",
    "inputs split in two bfloat16 terms: 16 bits",
    conv((1, 4, 4, 1), (1, 1, 1, 1), data=("huge", "ones"), exact=True),
)
class TwoTermBfloat16(Inputs):
    def change(self, x):
        return round_bits(x, 8) + round_bits(x - round_bits(x, 8), 8)


@mutant("arithmetic", "the filter alone is rounded to TF32", conv((1, 4, 4, 3), (3, 3, 3, 2), data=("ties", "odd")))
class Tf32Filter(Correct):
    def product(self, op, a, b):
        return a @ (round_bits(b, 11) if op == "conv2d" and b.dtype == np.float32 else b)


@mutant(
    "arithmetic",
    "TF32 where channels and filters are multiples of 8 (as tensor cores want)",
    conv((1, 4, 4, 8), (3, 3, 8, 8), **ODD),
)
class Tf32WhenAligned(Correct):
    def product(self, op, a, b):
        aligned = a.dtype == np.float32 and a.shape[-1] % 8 == 0 and b.shape[-1] % 8 == 0
        return round_bits(a, 11) @ round_bits(b, 11) if aligned else a @ b


@mutant("arithmetic", "TF32 from 1024 terms on", conv((1, 4, 4, 128), (3, 3, 128, 1), **ODD, exact=True))
class Tf32WhenDeep(Correct):
    def forward(self, x, w, win, dtype):
        deep = dtype == np.float32 and np.prod(w.shape[:3]) >= 1024
        return super().forward(round_bits(x, 11) if deep else x, w, win, dtype)


@mutant("arithmetic", "declares TF32, computes in bfloat16", conv((1, 4, 4, 3), (3, 3, 3, 2), **ODD))
class DeclaresTf32IsBfloat16(Inputs):
    contract = {"tf32": True}  # noqa: RUF012

    def change(self, x):
        return round_bits(x, 8)


@mutant(
    "arithmetic",
    "float16 sums in float16, channel by channel",
    conv((1, 3, 3, 64), (3, 3, 64, 1), dtype="float16", data="constant", exact=True),
)
class Float16Sums(Correct):
    def product(self, op, a, b):
        return a @ b

    def forward(self, x, w, win, dtype):
        return sums_in(np.float16, self, x, w, win) if dtype == np.float16 else super().forward(x, w, win, dtype)


@mutant(
    "arithmetic",
    "partial sums in the output type, tap by tap",
    conv((1, 6, 6, 64), (3, 3, 64, 1), dtype="bfloat16", data=("thousand", "ones"), exact=True),
)
class SumsInOutputType(Correct):
    def add(self, op, total, part, dtype):
        return (total + part).astype(dtype).astype(total.dtype)


@mutant(
    "arithmetic",
    "bfloat16 partial sums in bfloat16, tap by tap, where there are 128 channels",
    conv((1, 6, 6, 128), (3, 3, 128, 1), dtype="bfloat16", data=("thousand", "ones"), exact=True),
)
class Bfloat16SumsWhenDeep(Correct):
    def forward(self, x, w, win, dtype):
        self.deep = w.shape[2] >= 128 and dtype in NARROW
        return super().forward(x, w, win, dtype)

    def add(self, op, total, part, dtype):
        deep = op == "conv2d" and self.deep
        return (total + part).astype(dtype).astype(total.dtype) if deep else total + part


@mutant(
    "arithmetic",
    "narrow results are truncated, not rounded",
    conv((1, 4, 4, 3), (3, 3, 3, 2), dtype="bfloat16", data="thousand", exact=True),
)
class TruncatedResult(Correct):
    def narrow(self, op, y, dtype):
        return super().narrow(op, truncate_bits(y, 11 if dtype == np.float16 else 8) if dtype in NARROW else y, dtype)


@mutant(
    "arithmetic",
    "float16 results are rounded twice (14 bits, then 11)",
    conv(
        (1, 1, 1, 3),
        (1, 1, 3, 1),
        dtype="float16",
        data="ones",
        put=[(0, np.s_[..., 0], 2048), (0, np.s_[..., 2], 2**-9)],
        exact=True,
    ),
)
class RoundedTwice(Correct):
    def narrow(self, op, y, dtype):
        return super().narrow(op, round_bits(y, 14) if dtype == np.float16 else y, dtype)


@mutant(
    "arithmetic",
    "narrow results round ties away from zero",
    conv((1, 1, 1, 2), (1, 1, 2, 1), dtype="float16", data="ones", put=[(0, np.s_[..., 0], 2048)], exact=True),
)
class TiesAwayFromZero(Correct):
    def narrow(self, op, y, dtype):
        return super().narrow(op, y + np.sign(y) * abs(y) * 2.0**-20 if dtype in NARROW else y, dtype)


@mutant(
    "arithmetic", "float32 results keep 20 bits", conv((1, 4, 4, 1), (1, 1, 1, 1), data=("huge", "ones"), exact=True)
)
class TwentyBits(Correct):
    def narrow(self, op, y, dtype):
        return round_bits(y, 20) if dtype == np.float32 else super().narrow(op, y, dtype)


@mutant(
    "arithmetic",
    "partial sums round towards zero (seen in the statistics)",
    conv((1, 4, 4, 1), (5, 5, 1, 1), padding="SAME", data="positive", dtype="float32", seed=1, statistical=True),
)
class SumsTruncate(Correct):
    def add(self, op, total, part, dtype):
        if total.dtype != np.float32:
            return total + part
        exact = total.astype(np.float64) + part
        near = exact.astype(np.float32)
        return np.where(abs(near) > abs(exact), np.nextafter(near, np.float32(0)), near)


@mutant(
    "arithmetic",
    "too large a result is the largest finite, not infinity",
    conv((1, 2, 2, 2), (1, 1, 2, 1), dtype="float16", data="constant", scale=100),
)
class Saturates(Correct):
    def narrow(self, op, y, dtype):
        top = 65504 if dtype == np.float16 else np.finfo(np.float32).max
        return super().narrow(op, np.clip(y, -top, top) if dtype != np.float64 else y, dtype)


@mutant(
    "arithmetic",
    "partial sums overflow in float16",
    conv(
        (1, 1, 2, 1),
        (1, 3, 1, 1),
        dtype="float16",
        padding="SAME",
        data="ones",
        put=[(1, np.s_[...], [[[[6e4]], [[6e4]], [[-6e4]]]])],
    ),
    conv(
        (1, 1, 3, 1), (1, 3, 1, 1), dtype="float16", data="ones", put=[(1, np.s_[...], [[[[6e4]], [[6e4]], [[-6e4]]]])]
    ),
)
class OverflowsEarly(Correct):
    def add(self, op, total, part, dtype):
        y = total + part
        return np.where(abs(y) > 65504, np.copysign(np.inf, y), y).astype(y.dtype) if dtype == np.float16 else y


@mutant(
    "arithmetic",
    "subnormal inputs are flushed, undeclared (SHOULD)",
    conv((1, 2, 2, 1), (1, 1, 1, 1), data="lattice", scale=1e-39, put=[(1, 0, 1.0)], exact=True),
)
class FlushesInputs(Inputs):
    def change(self, x):
        return flush(x)


@mutant(
    "arithmetic",
    "subnormal results are flushed, undeclared (SHOULD)",
    conv((1, 2, 2, 1), (1, 1, 1, 1), scale=1e-20, data="positive", exact=True),
)
class FlushesResults(Correct):
    def narrow(self, op, y, dtype):
        return flush(super().narrow(op, y, dtype))


@mutant(
    "arithmetic",
    "every result is too large by 2^-18",
    conv((1, 4, 4, 1), (1, 1, 1, 1), data=("huge", "ones"), exact=True),
)
class Biased(Correct):
    def narrow(self, op, y, dtype):
        return super().narrow(op, y * np.asarray(1 + 2.0**-18, y.dtype) if op == "conv2d" else y, dtype)


@mutant(
    "arithmetic",
    "the filter gradient alone is in TF32",
    conv_vjp((1, 4, 4, 3), (3, 3, 3, 2), (1, 2, 2, 2), data=("odd", "ties", "ties")),
)
class Tf32FilterGradient(Correct):
    def filter_gradient(self, x, w, dy, win, dtype):
        return super().filter_gradient(round_bits(x, 11) if dtype == np.float32 else x, w, dy, win, dtype)


@mutant(
    "arithmetic",
    "declares float64 sums, and sums in float32",
    conv(
        (1, 1, 3, 1), (1, 3, 1, 1), data="ones", put=[(0, (0, 0, 0, 0), 2**24), (0, (0, 0, 2, 0), -(2**24))], exact=True
    ),
    right=Float64Sums,
)
class DeclaresFloat64Sums(Correct):
    contract = {"accumulate": "float64"}  # noqa: RUF012
