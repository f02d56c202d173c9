"""Wrong backends, class state: the last bits depend on how many threads the process may use."""

import os

from convspec.harness.oracle.readings.calls import conv, mutant
from convspec.harness.oracle.readings.correct import Correct

ONE = conv((2, 5, 5, 3), (3, 3, 3, 2))


def threads():
    """As an OpenMP runtime counts them: its variable, or else the processors."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


@mutant(
    "state",
    "each thread sums a share of the taps (split-k): the last bits depend on the number of threads (a SHOULD)",
    ONE | {"threads": 1},
    ONE | {"threads": 4},
)
class SplitsByThreads(Correct):
    share = slice(None)

    def taps(self, op, win, x):
        return super().taps(op, win, x)[self.share if op == "conv2d" else slice(None)]

    def forward(self, x, w, win, dtype):
        count, total = threads(), 0
        for first in range(count):
            self.share = slice(first, None, count)
            total = total + super().forward(x, w, win, dtype)
        return total
