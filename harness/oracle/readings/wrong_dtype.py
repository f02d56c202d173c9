"""Wrong backends, class dtype: computed or returned in another type."""

import numpy as np

from .calls import conv, conv_vjp, mutant, pool, pool_vjp
from .correct import BFLOAT16, Correct
from .rounding import flush

X, W, DY = (1, 4, 4, 2), (2, 2, 2, 3), (1, 3, 3, 3)
F16 = {"dtype": "float16"}
BF16 = {"dtype": "bfloat16"}


class Returned(Correct):
    """Results of `op` go out as `kinds[dtype]`."""

    op, kinds = "conv2d", {}

    def leave(self, op, result, *arrays):
        kind = self.kinds.get(str(arrays[0].dtype)) if op == self.op else None
        if kind is None:
            return result
        return tuple(r.astype(kind) for r in result) if isinstance(result, tuple) else result.astype(kind)


@mutant("dtype", "float32 in, float64 out", conv(X, W))
class Float64Out(Returned):
    kinds = {"float32": np.float64}  # noqa: RUF012


@mutant("dtype", "float16 in, float32 out", conv(X, W, **F16))
class Float32OutOfFloat16(Returned):
    kinds = {"float16": np.float32}  # noqa: RUF012


@mutant("dtype", "bfloat16 in, float32 out", conv(X, W, **BF16))
class Float32OutOfBfloat16(Returned):
    kinds = {"bfloat16": np.float32}  # noqa: RUF012


@mutant("dtype", "bfloat16 in, its bits as uint16 out", conv(X, W, **BF16))
class BitsOut(Correct):
    def leave(self, op, result, *arrays):
        return result.view(np.uint16) if op == "conv2d" and result.dtype == BFLOAT16 else result


@mutant("dtype", "bfloat16 comes out as float16", conv(X, W, **BF16))
class Float16OutOfBfloat16(Returned):
    kinds = {"bfloat16": np.float16}  # noqa: RUF012


@mutant("dtype", "gradients of float16 come out in float32", conv_vjp(X, W, DY, **F16))
class GradientFloat32(Returned):
    op, kinds = "conv2d_vjp", {"float16": np.float32}


@mutant("dtype", "the filter gradient alone comes out in float32", conv_vjp(X, W, DY, **F16))
class FilterGradientFloat32(Correct):
    def leave(self, op, result, *arrays):
        return (result[0], result[1].astype(np.float32)) if op == "conv2d_vjp" and result[0].itemsize == 2 else result


@mutant("dtype", "max_pool's gradient comes out in float64", pool_vjp(X, (1, 3, 3, 2), (2, 2)))
class PoolGradientFloat64(Returned):
    op, kinds = "max_pool_vjp", {"float32": np.float64, "float16": np.float64}


@mutant("dtype", "max_pool of float16 comes out in float32", pool(X, (2, 2), **F16))
class PoolFloat32(Returned):
    op, kinds = "max_pool", {"float16": np.float32}


@mutant("dtype", "max_pool of integers comes out in float32", pool(X, (2, 2), dtype="int32", data="lattice"))
class PoolIntegersAsFloats(Returned):
    op, kinds = "max_pool", {"int32": np.float32, "int8": np.float32, "uint8": np.float32}


class Through(Correct):
    """Arrays of one type pass through another on their way in."""

    ops, kinds = ("conv2d", "conv2d_vjp"), {}

    def enter(self, op, *arrays):
        kind = self.kinds.get(str(arrays[0].dtype)) if op in self.ops else None
        return arrays if kind is None else tuple(a.astype(kind).astype(a.dtype) for a in arrays)


@mutant("dtype", "float64 is computed in float32", conv(X, W, dtype="float64"))
class Float64AsFloat32(Correct):
    def sum_type(self, op, dtype):
        return np.dtype(np.float32) if op == "conv2d" else super().sum_type(op, dtype)


@mutant("dtype", "the gradients of float64 are computed in float32", conv_vjp(X, W, DY, dtype="float64"))
class Float64GradientsAsFloat32(Correct):
    def sum_type(self, op, dtype):
        return np.dtype(np.float32) if op == "conv2d_vjp" else super().sum_type(op, dtype)


@mutant("dtype", "float64 inputs are rounded to float32, the sums are float64", conv(X, W, dtype="float64"))
class Float64InputsRounded(Through):
    kinds = {"float64": np.float32}  # noqa: RUF012


@mutant("dtype", "float64 results are rounded to float32", conv(X, W, dtype="float64"))
class Float64ResultsRounded(Correct):
    def narrow(self, op, y, dtype):
        return super().narrow(op, y.astype(np.float32) if dtype == np.float64 and op == "conv2d" else y, dtype)


@mutant(
    "dtype", "bfloat16 goes through float16 (large becomes infinite, small loses bits)", conv(X, W, scale=1e6, **BF16)
)
class Bfloat16ThroughFloat16(Through):
    kinds = {"bfloat16": np.float16}  # noqa: RUF012


@mutant("dtype", "float16 inputs go through bfloat16", conv(X, W, **F16))
class Float16ThroughBfloat16(Through):
    kinds = {"float16": BFLOAT16}  # noqa: RUF012


@mutant(
    "dtype",
    "float16 results below the least normal are zero (SHOULD)",
    conv(X, (1, 1, 2, 1), scale=2e-3, exact=True, **F16),
)
class Float16Flushed(Correct):
    def narrow(self, op, y, dtype):
        return flush(super().narrow(op, y, dtype)) if dtype == np.float16 else super().narrow(op, y, dtype)


@mutant(
    "dtype",
    "float16 with float16 filters widened to bfloat16 products",
    conv((1, 3, 3, 1), (1, 1, 1, 1), exact=True, **F16),
)
class Float16ProductsInBfloat16(Correct):
    def product(self, op, a, b):
        self.last = getattr(self, "half", False)
        return (a @ b).astype(BFLOAT16).astype(a.dtype) if self.last else a @ b

    def enter(self, op, *arrays):
        self.half = arrays[0].dtype == np.float16 and op == "conv2d"
        return arrays


@mutant("dtype", "a list of lists instead of an array", conv(X, W))
class ListOut(Correct):
    def leave(self, op, result, *arrays):
        return result.tolist() if op == "conv2d" else result


@mutant("dtype", "dw comes before dx", conv_vjp(X, W, DY))
class GradientsSwapped(Correct):
    def leave(self, op, result, *arrays):
        return result[::-1] if op == "conv2d_vjp" else result


@mutant(
    "dtype",
    "dx and dw exchanged only where x and w have one shape",
    conv_vjp((2, 3, 2, 2), (2, 3, 2, 2), (2, 3, 2, 2), padding="SAME"),
)
class GradientsSwappedWhenAlike(Correct):
    def leave(self, op, result, *arrays):
        return result[::-1] if op == "conv2d_vjp" and result[0].shape == result[1].shape else result


@mutant("dtype", "a result of one element is a scalar without axes", conv((1, 2, 2, 1), (2, 2, 1, 1)))
class SingleElementSqueezed(Correct):
    def leave(self, op, result, *arrays):
        return result.reshape(()) if op == "conv2d" and result.size == 1 else result


@mutant("dtype", "a batch of one loses its axis", conv(X, W))
class BatchOfOneSqueezed(Correct):
    def leave(self, op, result, *arrays):
        return result[0] if op == "conv2d" and len(result) == 1 else result


class PoolThrough(Correct):
    """max_pool compares in another type."""

    kinds = {}  # noqa: RUF012

    def pool_type(self, op, dtype):
        return np.dtype(self.kinds.get(str(dtype), dtype)) if op == "max_pool" else super().pool_type(op, dtype)


@mutant(
    "dtype",
    "max_pool: int32 through float32 (large integers lose bits)",
    pool(X, (1, 1), dtype="int32", data="lattice", put=[(0, np.s_[...], 2**28 + 1)]),
)
class PoolInt32ThroughFloat(PoolThrough):
    kinds = {"int32": np.float32}  # noqa: RUF012


@mutant(
    "dtype",
    "max_pool: int64 through float64",
    pool(X, (1, 1), dtype="int64", data="huge", scale=2**32, put=[(0, np.s_[...], 2**60 + 1)]),
)
class PoolInt64ThroughFloat(PoolThrough):
    kinds = {"int64": np.float64}  # noqa: RUF012


@mutant("dtype", "max_pool: int64 through int32", pool(X, (1, 1), dtype="int64", data="huge", scale=2**32))
class PoolInt64ThroughInt32(PoolThrough):
    kinds = {"int64": np.int32}  # noqa: RUF012


@mutant(
    "dtype",
    "max_pool: uint8 compared as int8",
    pool(X, (2, 2), dtype="uint8", data="thousand", scale=0.2, put=[(0, np.s_[:, ::2], 100)]),
)
class PoolUint8Signed(PoolThrough):
    kinds = {"uint8": np.int8}  # noqa: RUF012


@mutant(
    "dtype",
    "max_pool: wider unsigned integers compared as signed ones",
    pool(X, (2, 2), dtype="uint32", data="thousand", scale=3e6, put=[(0, np.s_[:, ::2], 100)]),
)
class PoolUnsignedAsSigned(PoolThrough):
    kinds = {"uint16": np.int16, "uint32": np.int32, "uint64": np.int64}  # noqa: RUF012


@mutant(
    "dtype",
    "max_pool: wider unsigned integers through floats that cannot hold them",
    pool(X, (1, 1), dtype="uint64", data="ones", put=[(0, np.s_[...], 2**60 + 1)]),
)
class PoolUnsignedThroughFloat(PoolThrough):
    kinds = {"uint32": np.float32, "uint64": np.float64}  # noqa: RUF012


@mutant(
    "dtype",
    "max_pool of uint16 and uint32 comes out in the next wider signed type",
    pool(X, (2, 2), dtype="uint16", data="thousand"),
)
class PoolUnsignedWidened(Returned):
    op, kinds = "max_pool", {"uint16": np.int32, "uint32": np.int64}


@mutant("dtype", "max_pool: float64 through float32", pool(X, (2, 2), dtype="float64"))
class PoolFloat64ThroughFloat32(PoolThrough):
    kinds = {"float64": np.float32}  # noqa: RUF012


@mutant("dtype", "max_pool: float32 through float16", pool(X, (2, 2)))
class PoolFloat32ThroughFloat16(PoolThrough):
    kinds = {"float32": np.float16}  # noqa: RUF012


@mutant("dtype", "max_pool: float16 through bfloat16", pool(X, (2, 2), **F16))
class PoolFloat16ThroughBfloat16(PoolThrough):
    kinds = {"float16": BFLOAT16}  # noqa: RUF012


@mutant(
    "dtype",
    "max_pool: negative integers lose to padding of 0",
    pool((1, 3, 3, 1), (2, 2), dtype="int16", data="negative", scale=9, padding="SAME"),
)
class PoolIntegerPaddingZero(Correct):
    def identity(self, op, dtype):
        return 0 if dtype.kind in "iu" else super().identity(op, dtype)

    def valid(self, op, shape, win):
        return np.ones_like(super().valid(op, shape, win))


@mutant(
    "dtype",
    "max_pool: integer padding is the lowest int32, wrapped in narrower types",
    pool((1, 3, 3, 1), (2, 2), dtype="int8", data="negative", scale=9, padding="SAME"),
)
class PoolIntegerPaddingWraps(PoolIntegerPaddingZero):
    def identity(self, op, dtype):
        lowest = np.asarray(-(2**31)).astype(dtype) if dtype.kind in "iu" and dtype.itemsize < 4 else None
        return Correct.identity(self, op, dtype) if lowest is None else lowest
