"""Memory layouts: equal values in other places, with poison around them, and the check that a call changed nothing.

Used on the far side, where the memory is that the backend sees. May import the standard library and NumPy, and `frames`
for its types.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .frames import Array, Bytes

LAYOUTS = (
    "C", "F", "strided", "negative", "broadcast", "readonly", "offset", "nchw", "crop", "channels", "unaligned",
)  # fmt: skip
GUARD = 64  # bytes of poison on either side of an "offset" array: a cache line, the widest vector register
LARGEST_STRIDED = (
    1 << 26
)  # beyond so many bytes "strided" leaves the leading axes dense: four axes make 16 times as many

SMALL = 1 << 14


class Laid(NamedTuple):
    """An array as the backend gets it, and what is needed to see afterwards what became of it.

    Examples
    --------
    >>> laid = lay(np.zeros((2, 3), np.float32), "strided")
    >>> laid.view[1, 1] = 5
    >>> changed(laid)
    True
    """

    view: Array  # handed to the backend
    buffer: Array  # all the memory behind it, gaps and guards included; as bytes where it is large
    before: Bytes | bytes  # what that held; small buffers as bytes, which compare in no time
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    unchanged: Callable[[], bool] | None = None  # another way to know, for memory that is not ours alone (`shared`)


def lay(array: Array, layout: str) -> Laid:
    """Copy an array into memory of its own, laid out as asked, to equal values bit for bit.

    Parameters
    ----------
    array : ndarray
        C-contiguous, any shape and dtype of the protocol.
    layout : str
        One of `LAYOUTS`: ``C`` and ``F`` order; ``strided``, every second element of a larger buffer, on every axis;
        ``negative``, negative strides on every axis; ``broadcast``, a stride of 0 on every axis along which the values
        are the same, and where there is none, ``strided``; ``readonly``, C order and not writable; ``offset``, C order,
        one element after a 64-byte boundary, between guards; ``nchw``, the last axis before all but the first;
        ``crop``, the inside of an array that is larger on every axis but the last; ``channels``, a part of the last
        axis of a longer one; ``unaligned``, C order, one byte after a 64-byte boundary, between guards. Gaps and guards
        hold poison: NaN and infinity, or the largest integer.

    Raises
    ------
    ValueError
        An unknown layout.

    Examples
    --------
    >>> lay(np.arange(6).reshape(2, 3), "negative").view.strides
    (-24, -8)
    """
    if layout == "C" or layout == "readonly":  # noqa: PLR1714 -- nearly all are
        copy = array.copy()
        view = copy.view()  # owns nothing, so that a result that is this array is seen to be (`shares`)
        if layout == "readonly":
            view.flags.writeable = False
        if array.nbytes < SMALL:
            return Laid(view, copy, array.tobytes(), view.shape, view.strides)
        return Laid(view, _bytes(copy), _bytes(array), view.shape, view.strides)
    if layout not in _BUILD:
        raise ValueError(f"unknown layout {layout!r}; known are {', '.join(LAYOUTS)}")
    view, buffer = _BUILD[layout](array)
    before = buffer.tobytes() if buffer.size < SMALL else buffer.copy()
    return Laid(view, buffer, before, view.shape, view.strides)


def _bytes(dense: Array) -> Bytes:
    raw: Bytes = dense.reshape(-1).view(np.uint8)
    return raw


def changed(laid: Laid) -> bool:
    """Tell whether one bit of the memory, gaps and guards included, or the array's shape or strides, is not as it was.

    Examples
    --------
    >>> changed(lay(np.ones(3), "offset"))
    False
    """
    view, before = laid.view, laid.before
    if view.shape != laid.shape or view.strides != laid.strides:
        return True
    if type(before) is bytes and laid.unchanged is None:
        return laid.buffer.tobytes() != before
    return not (same_bytes(laid.buffer, laid.before) if laid.unchanged is None else laid.unchanged())


def shares(result: Array, laid: Laid) -> bool:
    """Tell whether a result lies in an input's memory, its gaps and guards included.

    Examples
    --------
    >>> laid = lay(np.ones((4, 4)), "C")
    >>> shares(laid.view[1:, ::2], laid), shares(laid.view[1:, ::2].copy(), laid)
    (True, False)
    """
    return not result.flags.owndata and overlap(result, laid.buffer)


def overlap(one: Array, two: Array) -> bool:
    """Tell whether two arrays have an element's memory in common.

    Examples
    --------
    >>> x = np.zeros(6)
    >>> overlap(x[::2], x[2:]), overlap(x[::2], x[1::2])
    (True, False)
    """
    if not np.may_share_memory(one, two):  # the bounds alone, in no time
        return False
    try:
        return bool(np.shares_memory(one, two, max_work=10**6))  # type: ignore[arg-type]  # its stub knows two values
    except RuntimeError:  # TooHardError: bounds that overlap are taken for it
        return True


def poison(dtype: np.dtype[Any], count: int) -> Array:
    """Values that no kernel reads unnoticed: NaN and infinity in turn, or the largest integer.

    NaN alone would be lost in a maximum that drops it; infinity would win it. Two in three are infinite, so that no
    stride of 2 sees only one kind.

    Examples
    --------
    >>> poison(np.dtype("float32"), 4)
    array([nan, inf, inf, nan], dtype=float32)
    """
    if dtype.kind == "b":
        return np.ones(count, dtype)
    if dtype.kind in "iu":
        return np.full(count, np.iinfo(dtype).max, dtype)
    values = np.full(count, np.inf, dtype)  # bfloat16 too: its kind is "V", and it knows infinity
    values[::3] = np.nan
    return values


def _allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Array, Bytes]:
    # A view of bytes, not an array that owns its memory: `x.resize(...)` in a backend must not move it under our feet.
    buffer: Bytes = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
    view: Array = np.ndarray(shape, dtype, buffer)
    return view, buffer


def _fortran(array: Array) -> tuple[Array, Bytes]:
    dense, buffer = _allocate(array.shape[::-1], array.dtype)
    view = dense.T
    view[...] = array
    return view, buffer


def _strided(array: Array) -> tuple[Array, Bytes]:
    shape, size = list(array.shape), array.nbytes
    for axis in reversed(range(array.ndim)):
        longer = 2 * array.shape[axis] + 1
        size = size * longer // max(array.shape[axis], 1)
        if size > LARGEST_STRIDED and axis < array.ndim - 1:
            break
        shape[axis] = longer
    dense, buffer = _allocate(tuple(shape), array.dtype)
    dense.reshape(-1)[...] = poison(array.dtype, dense.size)
    # From 1 on, so that poison lies on every side of every element.
    every = [slice(1, None, 2) if n != m else slice(None) for n, m in zip(shape, array.shape, strict=True)]
    view = dense[(..., *every)]  # the dots keep an array of rank 0 an array
    view[...] = array
    return view, buffer


def _negative(array: Array) -> tuple[Array, Bytes]:
    dense, buffer = _allocate(array.shape, array.dtype)
    view = dense[(slice(None, None, -1),) * dense.ndim + (...,)]  # of every axis; np.flip makes 0-d arrays scalars
    view[...] = array
    return view, buffer


def _broadcast(array: Array) -> tuple[Array, Bytes]:
    raw = array.view(f"u{array.dtype.itemsize}")  # to the bit: NaN is equal to itself, and -0 is not 0
    axes = [n for n in range(array.ndim) if array.shape[n] > 1 and (raw == raw.take([0], n)).all()]
    if not axes or not array.size:
        return _strided(array)
    first = array[tuple(slice(0, 1) if n in axes else slice(None) for n in range(array.ndim))]
    dense, buffer = _allocate(first.shape, array.dtype)
    dense[...] = first
    strides = tuple(0 if n in axes else step for n, step in enumerate(dense.strides))
    # Writable, unlike np.broadcast_to: a backend that writes to its input is told from one that refuses read-only ones.
    return np.lib.stride_tricks.as_strided(dense, array.shape, strides), buffer


def _offset(array: Array) -> tuple[Array, Bytes]:
    item = array.dtype.itemsize
    whole, buffer = _allocate((3 * GUARD // item + array.size + 1,), array.dtype)
    start = (-buffer.ctypes.data % GUARD + GUARD) // item + 1
    whole[...] = poison(array.dtype, whole.size)
    view = whole[start : start + array.size].reshape(array.shape)
    view[...] = array
    return view, buffer


def _unaligned(array: Array) -> tuple[Array, Bytes]:
    item = array.dtype.itemsize
    whole, buffer = _allocate((4 * GUARD // item + array.size + 1,), array.dtype)
    whole[...] = poison(array.dtype, whole.size)
    start = -buffer.ctypes.data % GUARD + GUARD + 1
    view: Array = np.ndarray(array.shape, array.dtype, buffer, start)
    view[...] = array
    return view, buffer


def _nchw(array: Array) -> tuple[Array, Bytes]:
    order = (0, array.ndim - 1, *range(1, array.ndim - 1)) if array.ndim > 1 else tuple(range(array.ndim))
    dense, buffer = _allocate(tuple(array.shape[axis] for axis in order), array.dtype)
    view = dense.transpose(sorted(range(array.ndim), key=order.__getitem__))
    view[...] = array
    return view, buffer


def _cut(array: Array, axes: tuple[int, ...]) -> tuple[Array, Bytes]:
    """The inside of an array that is two longer on these axes, poison all round."""
    dense, buffer = _allocate(tuple(n + 2 * (a in axes) for a, n in enumerate(array.shape)), array.dtype)
    dense.reshape(-1)[...] = poison(array.dtype, dense.size)
    view = dense[(..., *(slice(1, -1) if a in axes else slice(None) for a in range(array.ndim)))]
    view[...] = array
    return view, buffer


def _crop(array: Array) -> tuple[Array, Bytes]:
    return _cut(array, tuple(range(array.ndim - 1)))


def _channels(array: Array) -> tuple[Array, Bytes]:
    return _cut(array, (array.ndim - 1,))


_BUILD: dict[str, Callable[[Array], tuple[Array, Bytes]]] = {
    "F": _fortran, "strided": _strided, "negative": _negative, "broadcast": _broadcast, "offset": _offset,
    "nchw": _nchw, "crop": _crop, "channels": _channels, "unaligned": _unaligned,
}  # fmt: skip


def same_bytes(one: Bytes, two: Bytes | bytes) -> bool:
    """Tell whether two buffers of one size, at multiples of 8 bytes in memory, are equal to the bit.

    Examples
    --------
    >>> same_bytes(np.zeros(9, np.uint8), np.eye(3, dtype=np.uint8).reshape(-1))
    False
    """
    if isinstance(two, bytes):
        return one.tobytes() == two  # in a microsecond, where NumPy's comparison takes ten
    words = one.size // 8 * 8  # eight at a time; the arrays start where malloc put them, which is aligned
    step = 1 << 20  # in pieces that stay in the cache, up to the first difference
    for start in range(0, words, step):
        stop = min(start + step, words)
        if not np.array_equal(one[start:stop].view(np.uint64), two[start:stop].view(np.uint64)):
            return False
    return np.array_equal(one[words:], two[words:])
