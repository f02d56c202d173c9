"""Wrong backends that end their process, or never answer, on shapes that are valid."""

import os
import time

from convspec.harness.oracle.readings.calls import conv, mutant, pool
from convspec.harness.oracle.readings.correct import Correct


@mutant(
    "shapes",
    "max_pool with a window one larger than the image: the process dies",
    pool((1, 3, 3, 1), (4, 4)),
    fatal="crash",
)
class PoolDies(Correct):
    def leave(self, op, result, *arrays):
        if op == "max_pool" and 0 in result.shape and 0 not in arrays[0].shape:
            os.abort()
        return result


@mutant(
    "shapes",
    "stride larger than the image: the call never returns",
    conv((1, 3, 3, 1), (1, 1, 1, 1), strides=(5, 5)),
    fatal="hang",
)
class StrideHangs(Correct):
    def leave(self, op, result, *arrays):
        while op == "conv2d" and arrays[0].shape[1] == 3 and result.shape[1:3] == (1, 1) and arrays[1].shape[0] == 1:
            time.sleep(0.05)
        return result


@mutant("shapes", "no filters: the process dies", conv((1, 3, 3, 1), (2, 2, 1, 0)), fatal="crash")
class NoFiltersDie(Correct):
    def enter(self, op, *arrays):
        if op == "conv2d" and arrays[1].ndim == 4 and arrays[1].shape[3] == 0:
            os.abort()
        return arrays
