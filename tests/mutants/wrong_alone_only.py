"""Known wrong readings, each kept to the calls of one clause and right everywhere else: its check alone can tell."""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from convspec.harness.oracle.readings import known
from convspec.harness.oracle.readings.calls import Mutant, conv
from convspec.harness.oracle.readings.correct import Correct
from convspec.harness.oracle.readings.special import finite as all_finite

METHODS = ("conv2d", "conv2d_vjp", "max_pool", "max_pool_vjp", "max_pool_with_argmax")


def only(name, of, what, op, dtypes, when=lambda x, options: True, *, finite=False, witness=()):
    """A wrong backend that does as the reading `of` on some calls of `op`, and as the specification on all others.

    `finite`: on calls without NaN and infinity. `witness`: calls that show it, where the reading's own are not among
    the calls it is kept to.
    """
    reading = known()[of]
    wrong, right = reading(), Correct()

    def method(called):
        def call(self, x, *rest, **options):
            arrays = [np.asarray(x), *map(np.asarray, rest)]
            mine = called == op and arrays[0].dtype.name in dtypes and when(arrays[0], options)
            mine = mine and (not finite or all_finite(*arrays))
            return getattr(wrong if mine else right, called)(x, *rest, **options)

        return call

    witness = witness or [recorded for recorded in reading.zoo.witness if recorded["op"] == op] or reading.zoo.witness
    witness = [recorded | {"dtype": dtypes[0]} for recorded in witness]
    methods = {called: method(called) for called in METHODS}
    made = Mutant(reading.zoo.kind, f"{what}, in {' and '.join(dtypes)} alone", witness, None, None)
    cls = type(name, (Correct,), methods | {"zoo": made, "name": name, "__module__": __name__})
    globals()[name] = cls


F32, F64 = ("float32",), ("float64",)
only("PadsSwappedOnly", "InputGradientPadsSwapped", "dx with explicit pads swaps their sides", "conv2d_vjp", F32,
     lambda x, o: not isinstance(o["padding"], str))  # fmt: skip
only("NanIsZeroOnly", "NanIsZero", "a NaN counts as zero in conv2d", "conv2d", F32)
only("BatchEvenSameOnly", "BatchEvenSame", "one shape of batch loses a tap", "conv2d", F32)
only("TallTailZeroOnly", "TallTailZero", "the tail of tall images is zero", "conv2d", F32)
only("Tf32WhenAlignedOnly", "Tf32WhenAligned", "inputs of aligned sizes are rounded to TF32", "conv2d", F32,
     lambda x, o: x.shape[3] == 16, witness=[conv((1, 4, 4, 16), (3, 3, 16, 8), data="odd")])  # fmt: skip
only("FilterGradientTermLostOnly", "FilterGradientTermLost", "long sums of dw lose a term", "conv2d_vjp", F32)
only("GroupedTallStrideOnly", "GroupedTallStride", "groups with a tall stride", "conv2d", F32, finite=True)
only("FortranIsNchwOnly", "FortranIsNchw", "an image in Fortran order is read as NCHW", "conv2d", F32)
only("PoolPadSidesSwappedOnly", "PoolPadSidesSwapped", "explicit pads of a pool swap their sides", "max_pool", F32,
     lambda x, o: not isinstance(o["padding"], str) and max(map(max, o["padding"])) < 3)  # fmt: skip
only("PoolDilationAtMostTwoOnly", "PoolDilationAtMostTwo", "a dilation over 2 is taken for 2", "max_pool", F32,
     lambda x, o: o["padding"] != "SAME_LOWER")  # fmt: skip
only("NearTiesOnly", "NearTies", "numbers that are nearly the same are ties", "max_pool", F64)
only("NanDroppedOnly", "NanDropped", "a NaN in a window is dropped", "max_pool", F32)
only("PoolWidthTailOnly", "PoolWidthTail", "the tail of wide images", "max_pool", F32)
only("LargeWindowFirstRowOnly", "LargeWindowFirstRow", "a window taller than the image", "max_pool", F32)
only("SingleElementSqueezedOnly", "SingleElementSqueezed", "a result of one element loses its axes", "conv2d", F32)
only("UndilatedOnly", "InputGradientUndilated", "dx ignores the dilation of finite numbers", "conv2d_vjp", F32,
     finite=True)  # fmt: skip
only("GroupsReversedOnly", "InputGradientGroupsReversed", "dx exchanges groups of finite numbers", "conv2d_vjp", F32,
     finite=True)  # fmt: skip
only("PointStridesOnly", "PointGradientStridesExchanged", "gradients of 1x1 exchange strides", "conv2d_vjp", F64)
only("LowestOnly", "AllMinusInfinityIsLowest", "max_pool of -inf is the lowest finite number", "max_pool", F32)
only("LargestOnly", "InfinityIsLargest", "max_pool makes plus infinity the largest number", "max_pool", F32)
