"""What the far side does about memory that is used again: it fouls what is free, and watches what was handed out.

May import the standard library, NumPy, `convspec.reference.geometry`, `frames`, `layouts` and `protocol`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from convspec.reference import geometry

from .frames import Array, Bytes
from .layouts import overlap
from .protocol import Request

LARGEST_POISON = 1 << 20  # larger blocks come from the system, which hands them out zeroed, or perturbed where asked
POISON_BYTE = 0x7F  # NaN in float16, 3.4e38 in float32 and bfloat16, 1.4e306 in float64, and a large integer
_POISON: Bytes = np.full(1024, POISON_BYTE, np.uint8)


class HandedOut:
    """The last results as the backend made them, with copies: a buffer that it uses again changes under its caller."""

    MOST, LARGEST = 4, 1 << 16

    def __init__(self) -> None:
        self._kept: deque[tuple[Array, bytes, bool]] = deque(maxlen=self.MOST)

    def keep(self, arrays: Sequence[Array]) -> None:
        """Remember these results; large ones are left out, for the copies cost time."""
        self._kept.extend([(a, a.tobytes(), a.flags.owndata) for a in arrays if a.nbytes <= self.LARGEST])

    def used_again(self, arrays: Sequence[Array]) -> bool:
        """Whether an earlier result has changed since it was returned, or is handed out once more; forgotten then."""
        fresh = [(array, array.flags.owndata) for array in arrays]
        for one, copy, owned in self._kept:
            again = one.tobytes() != copy
            for array, owns in fresh:  # two that own their memory, and are two, have none in common
                again = again or ((array is one or not (owns and owned)) and overlap(array, one))
            if again:
                self._kept.clear()
                return True
        return False


def foul_free_memory(request: Request) -> None:
    """Leave poison where the allocator will next look for blocks of the sizes of the results.

    A backend that forgets to write some outputs then returns poison, not the right answer that an earlier call left
    there. NumPy keeps up to seven freed blocks of each small size; eight fill that store.
    """
    blocks = []
    for size in _result_sizes(request):
        if 0 < size < 1024:
            poisoned = _POISON[:size].copy  # one step for each block
            blocks += [poisoned(), poisoned(), poisoned(), poisoned(), poisoned(), poisoned(), poisoned(), poisoned()]
        elif 1024 <= size <= LARGEST_POISON:
            blocks += [np.full(size, POISON_BYTE, np.uint8) for _ in range(2)]


def _result_sizes(request: Request) -> set[int]:
    """Bytes of each result: a gradient is as large as its input, an output as geometry says."""
    arrays, options = request.arrays, request.options
    if request.op.endswith("_vjp"):
        return {array.nbytes for array in arrays[:-1]}
    try:
        x, pooling = arrays[0], request.op.startswith("max_pool")
        images, rows, columns, depth = x.shape
        kernel = options["ksize"] if pooling else arrays[1].shape[:2]
        window = geometry.lay((rows, columns), kernel, options["strides"], options["padding"], options["dilations"])
        return {images * window.output[0] * window.output[1] * (depth if pooling else arrays[1].shape[3]) * x.itemsize}
    except Exception:  # invalid arguments have no output; then the inputs' sizes have to do
        return {array.nbytes for array in arrays}
