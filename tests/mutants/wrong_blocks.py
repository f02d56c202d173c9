"""Wrong backends whose parts are right, and whose block is not: what a compiler that fuses may get wrong."""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from convspec.harness.oracle.readings.calls import mutant
from convspec.harness.oracle.readings.correct import Correct

POOL = ((2, 2), (2, 2), "SAME")


def block(op, x, w, **options):
    """A recorded call of a block; dy follows from it."""
    from convspec.harness.cases.case import Case

    case = Case(op, x, w[:2], filters=w[3], pool=options.get("pool"), padding=options.get("padding", "VALID"))
    shapes = (x, w, (w[3],), *((case.y,) if op == "block_vjp" else ()))
    given = {"strides": (1, 1), "padding": "VALID", "dilations": (1, 1), "groups": 1, "pool": None}
    told = {"dtype": "float32", "data": "lattice", "seed": 0, "exact": True}
    return {"op": op, "shapes": shapes} | told | given | options


class Fused(Correct):
    """The block of the reference, in steps that can be changed."""

    def block(self, x, w, bias, *, pool=None, **options):
        return self.pooled(self.hidden(x, w, bias, options), pool)

    def hidden(self, x, w, bias, options):
        return np.maximum(self.conv2d(x, w, **options) + bias, x.dtype.type(0))

    def pooled(self, hidden, pool):
        if pool is None:
            return hidden
        return self.max_pool(hidden, ksize=pool[0], strides=pool[1], padding=pool[2], dilations=(1, 1))

    def block_vjp(self, x, w, bias, dy, *, pool=None, **options):
        z = self.conv2d(x, w, **options) + bias
        if pool is not None:
            given = {"ksize": pool[0], "strides": pool[1], "padding": pool[2], "dilations": (1, 1)}
            dy = self.max_pool_vjp(np.maximum(z, z.dtype.type(0)), dy, **given)
        through = np.where(self.passes(z), dy, z.dtype.type(0))
        return (*self.conv2d_vjp(x, w, through, **options), self.of_bias(through))

    def passes(self, z):
        return z > 0

    def of_bias(self, through):
        return through.sum(axis=(0, 1, 2), dtype=np.float64).astype(through.dtype)


@mutant("arithmetic", "a block adds its bias after the ReLU", block("block", (1, 4, 5, 2), (2, 2, 2, 3)), right=Fused)
class BlockBiasAfterRelu(Fused):
    def hidden(self, x, w, bias, options):
        return np.maximum(self.conv2d(x, w, **options), x.dtype.type(0)) + bias


@mutant("geometry", "a block pools before it adds its bias and takes the ReLU, and loses the pool's last row",
        block("block", (1, 6, 6, 1), (2, 2, 1, 2), pool=POOL), right=Fused)  # fmt: skip
class BlockPoolLosesRow(Fused):
    def pooled(self, hidden, pool):
        y = super().pooled(hidden, pool).copy()
        if pool is not None and hidden.shape[1] % 2:
            y[:, -1:] = 0
        return y


@mutant("gradients", "a block's gradient passes the ReLU where its input is zero",
        block("block_vjp", (2, 6, 7, 1), (2, 2, 1, 2)), right=Fused)  # fmt: skip
class BlockReluPassesZero(Fused):
    def passes(self, z):
        return z >= 0


@mutant("gradients", "a block's gradient of its bias is that of the first image",
        block("block_vjp", (2, 4, 5, 1), (2, 2, 1, 2)), right=Fused)  # fmt: skip
class BlockBiasOfFirstImage(Fused):
    def of_bias(self, through):
        return super().of_bias(through[:1])


@mutant(
    "shapes",
    "a block of an empty batch is not pooled",
    block("block", (0, 4, 5, 1), (2, 2, 1, 2), pool=POOL),
    right=Fused,
)
class BlockOfNothingNotPooled(Fused):
    def pooled(self, hidden, pool):
        return super().pooled(hidden, pool) if hidden.shape[0] else hidden
