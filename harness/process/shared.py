"""Large arrays past the pipes, on Linux: a segment that the arrays of a call lie in, and results read where they are.

The near side owns the segment, memory without a name (memfd): it ends with the last process that holds it, however that
ends. The far side maps it copy-on-write, so that nothing it does reaches the near side or the next call, and the pages
that a backend wrote to are known without reading the others. Results stay in the worker's own memory, and the near side
copies them out of there; what the backend does to them later changes nothing.

Both sides do without where the system says no. May import the standard library, NumPy, `copies`, `frames` and
`layouts`.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import sys
import weakref
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .copies import copy, libc
from .frames import Array, Bytes, ProtocolError, dtype_name
from .layouts import Laid, same_bytes

VARIABLE = "CONVSPEC_SHARED"  # in the worker's environment: the descriptor of the segment
LEAST = 1 << 18  # bytes of an array that is worth it: below, a pipe is as quick
LARGEST = 1 << 29  # bytes that the arrays of one call may take; more go through the pipe
KEPT = 1 << 27  # bytes of memory that stay with the segment from call to call
TOKEN = 16  # bytes at the segment's start that tell it from any other memory
BEFORE = 16  # bytes between the start of a page and an array: where malloc puts a large block
POISON = 0x7F
PAGE = mmap.PAGESIZE
ENDS = (
    16 * PAGE
)  # what is locked up at either end of an array between calls: all of it would take as long as reading it
_FILE_PAGE, _PRESENT_OR_SWAPPED = 1 << 61, 3 << 62  # bits of an entry of /proc/self/pagemap


class Segment:
    """The near side's: memory that a worker inherits a descriptor of.

    Examples
    --------
    >>> segment = Segment.create()
    >>> segment.place([np.zeros(3), np.zeros(LEAST)]) if segment else [None, 4112]
    [None, 4112]
    """

    def __init__(self) -> None:
        self.fd = os.memfd_create("convspec")
        try:
            os.ftruncate(self.fd, PAGE + LARGEST)  # a size, and no memory yet
            self._bytes: Bytes = np.frombuffer(mmap.mmap(self.fd, PAGE + LARGEST), np.uint8)
            self.token = os.urandom(TOKEN)
            os.pwrite(self.fd, self.token, 0)
        except BaseException:
            os.close(self.fd)
            raise
        self._touched = PAGE

    @classmethod
    def create(cls) -> Segment | None:
        """One, or None where the system has none."""
        if sys.platform != "linux" or not np.little_endian:
            return None
        try:
            return cls()
        except (OSError, ValueError, AttributeError):  # a kernel, a C library or a limit that has no room for it
            return None

    def place(self, arrays: Iterable[Array]) -> list[int | None]:
        """Copy the large ones in; where each is, or None for one that has to travel."""
        places: list[int | None] = []
        start = PAGE
        for array in arrays:
            at, stop = start + BEFORE, start + BEFORE + array.nbytes
            end = stop + -stop % PAGE + PAGE  # and a page for whoever reads or writes too far
            if array.nbytes < LEAST or end > self._bytes.size or dtype_name(array.dtype) is None:
                places.append(None)
                continue
            self._put(array, at, stop, end)
            places.append(at)
            start = end
        if start <= KEPT < self._touched:
            self._give_back()
        return places

    def _put(self, array: Array, at: int, stop: int, end: int) -> None:
        if end > self._touched:  # the first time: writing pages costs half of what touching them does
            data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            done = 0
            while done < len(data):
                done += os.pwrite(self.fd, data[done:], at + done)
            self._touched = end
        else:
            inside: Array = np.ndarray(array.shape, array.dtype, self._bytes, at)
            copy(array, inside)
        self._bytes[at - BEFORE : at] = POISON
        self._bytes[stop:end] = POISON

    def _give_back(self) -> None:
        """Drop the memory of an uncommonly large call: cut it off, and be as long as before without it."""
        for size in (KEPT, PAGE + LARGEST):
            os.ftruncate(self.fd, size)
        self._touched = KEPT

    def close(self) -> None:
        """Let go of it; it is gone when the worker is."""
        del self._bytes
        os.close(self.fd)


class Mapping:
    """The far side's: the segment mapped twice, copy-on-write for the backend and read-only to compare with."""

    def __init__(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        if size < PAGE:
            raise ValueError(f"a segment of {size} bytes")
        how = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0)  # nobody writes to all of it: Python 3.13 on
        self._private = mmap.mmap(fd, size, how, mmap.PROT_READ | mmap.PROT_WRITE)
        self._pristine: Bytes = np.frombuffer(mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ), np.uint8)
        self._start = int(np.frombuffer(self._private, np.uint8).ctypes.data)
        self._token: Bytes = self._pristine[:TOKEN].copy()
        self._lent: list[tuple[weakref.ref[Bytes], int, int]] = []
        self._dirty: list[tuple[int, int]] = []  # what the backend wrote to, and what is locked up
        self._locked: list[tuple[int, int]] = []
        self._offered: Sequence[Array] = ()
        self._private[TOKEN] = 1  # a page that is written to: does the system tell it from one that is not?
        self._tells = written(self._start, PAGE) is True
        os.close(fd)

    @classmethod
    def inherited(cls) -> Mapping | None:
        """The one whose descriptor the environment names, or None where there is none or it cannot be mapped."""
        try:
            return cls(int(os.environ.pop(VARIABLE)))
        except (KeyError, ValueError, OSError, OverflowError, AttributeError):
            return None

    def told(self) -> dict[str, Any]:
        """What hello says of it: proof that it is mapped, and a place to try reading this process's memory at."""
        return {"token": self._token.tobytes().hex(), "pid": os.getpid(), "address": int(self._token.ctypes.data)}

    def lend(self, at: int, size: int) -> Bytes:
        """The bytes of an array, for the backend."""
        if not PAGE + BEFORE <= at <= at + size <= self._pristine.size:
            raise ProtocolError(f"{size} bytes at {at} of a segment of {self._pristine.size}")
        low, stop = at // PAGE * PAGE, at + size
        high = min(stop + -stop % PAGE + PAGE, self._pristine.size)
        while self._locked:
            _protect(*self._locked.pop(), mmap.PROT_READ | mmap.PROT_WRITE)
        raw: Bytes = np.frombuffer(self._private, np.uint8, size, at)
        self._lent.append((weakref.ref(raw), low, high))
        return raw

    def laid(self, array: Array, layout: str) -> Laid | None:
        """An array that was lent, as the backend gets it without a copy; None for another array, or another layout."""
        if layout not in ("C", "readonly"):
            return None
        for lent, low, high in self._lent:
            raw, owner = lent(), array.base
            if raw is not None and owner is not None and owner is raw:
                array.flags.writeable = layout == "C"
                return Laid(array, raw, b"", array.shape, array.strides, partial(self._unchanged, low, high))
        return None

    def _unchanged(self, low: int, high: int) -> bool:
        if self._tells and not written(self._start + low, high - low):
            return True
        self._dirty.append((low, high))
        now: Bytes = np.frombuffer(self._private, np.uint8, high - low, low)
        return same_bytes(now, self._pristine[low:high])

    def take_back(self) -> bool:
        """Undo what a call wrote, and lock the ends up: whoever is still at work there without a right to dies of it.

        False where something still refers to it, as it may: then it stays as it is, and is not to be used again.
        """
        if not self._lent:
            return True
        if any(lent() is not None for lent, _, _ in self._lent):
            gc.collect()  # an exception and its frames, say
        if any(lent() is not None for lent, _, _ in self._lent):
            return False
        while self._dirty:
            low, high = self._dirty.pop()
            self._private.madvise(mmap.MADV_DONTNEED, low, high - low)
        for _, low, high in self._lent:
            for start, stop in ((low, min(low + ENDS, high)), (max(low, high - ENDS), high)):
                self._locked.append((self._start + start, stop - start))
                _protect(*self._locked[-1], 0)
        self._lent.clear()
        return True

    def offer(self, arrays: Sequence[Array]) -> tuple[Sequence[Array], list[int | None]]:
        """Hold results until `withdraw`; the arrays as they can be read, and the addresses of the large ones."""
        arrays = [np.ascontiguousarray(one) if one.nbytes >= LEAST else one for one in arrays]
        self._offered = arrays
        return arrays, [int(one.ctypes.data) if one.nbytes >= LEAST else None for one in arrays]

    def withdraw(self) -> None:
        """The results have been read."""
        self._offered = ()


def written(start: int, size: int) -> bool:
    """Whether a page of a private mapping of a file has been written to; always true where the system does not say.

    A page that was only read is the file's own; writing made a copy. Both numbers are multiples of a page.

    Examples
    --------
    >>> memory = np.zeros(4 * PAGE, np.uint8)  # no file's
    >>> written(memory.ctypes.data // PAGE * PAGE + PAGE, PAGE)
    True
    """
    count = size // PAGE
    try:
        fd = os.open("/proc/self/pagemap", os.O_RDONLY)
        try:
            entries = np.frombuffer(os.pread(fd, 8 * count, start // PAGE * 8), np.uint64)
        finally:
            os.close(fd)
    except (OSError, ValueError):
        return True
    there = entries & np.uint64(_PRESENT_OR_SWAPPED) != 0
    return entries.size < count or bool((there & (entries & np.uint64(_FILE_PAGE) == 0)).any())


def _protect(start: int, size: int, how: int) -> None:
    """Say what may be done with memory; without effect where the C library is out of reach."""
    with contextlib.suppress(OSError):
        libc("mprotect")(start, size, how)
