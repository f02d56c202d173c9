"""Large arrays copied, within this process or from another one, by several threads: one alone uses half of the
memory's bandwidth. Near side only, which has nothing else to do meanwhile; a backend's process is not given threads.

May import the standard library and NumPy, and `frames` for its types.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from .frames import Array, Bytes

PART = 1 << 20  # bytes that a thread copies at a time
ALONE = 8 << 20  # bytes of an array up to which starting threads takes longer than they save
MOST = 4  # threads: more do not copy faster


def copy(array: Array, into: Array) -> None:
    """Copy an array to another one of its shape and dtype, which is contiguous.

    Examples
    --------
    >>> here = np.zeros((2, 3))
    >>> copy(np.ones((3, 2)).T, here)
    >>> float(here.sum())
    6.0
    """
    if array.nbytes < ALONE or not array.flags.c_contiguous:
        into[...] = array
        return
    source, target = (one.reshape(-1).view(np.uint8) for one in (array, into))

    def part(start: int, stop: int) -> None:
        target[start:stop] = source[start:stop]

    in_parts(array.nbytes, part)


def fetch(pid: int, address: int, into: Bytes) -> None:
    """Copy memory of another process of ours.

    Raises
    ------
    OSError
        It may not be read, or is not there.

    Examples
    --------
    >>> import contextlib
    >>> there, here = np.arange(5, dtype=np.uint8), np.zeros(5, np.uint8)
    >>> with contextlib.suppress(OSError):
    ...     fetch(os.getpid(), there.ctypes.data, here)
    """
    import ctypes  # noqa: PLC0415 -- most runs do without

    class Piece(ctypes.Structure):
        _fields_ = (("start", ctypes.c_void_p), ("size", ctypes.c_size_t))

    read, begin = libc("process_vm_readv"), into.ctypes.data

    def part(done: int, stop: int) -> None:
        while done < stop:
            here, there = Piece(begin + done, stop - done), Piece(address + done, stop - done)
            count = read(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
            if count <= 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
            done += count

    in_parts(into.size, part)


def in_parts(size: int, work: Callable[[int, int], None]) -> None:
    """Do some work on ``start`` to ``stop`` for parts that make up ``size`` bytes, at once where there are processors.

    What one part raises is raised here, when all have ended.

    Examples
    --------
    >>> in_parts(10, lambda start, stop: print(start, stop))
    0 10
    """
    count = min(MOST, processors())
    if size < ALONE or count < 2:
        work(0, size)
        return
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 -- most runs do without

    parts = deque(range(0, size, PART))

    def some() -> None:  # whoever starts late, or is slower, does fewer of them
        while True:
            try:
                start = parts.popleft()
            except IndexError:
                return
            work(start, min(start + PART, size))

    with ThreadPoolExecutor(count - 1) as threads:
        others = [threads.submit(some) for _ in range(count - 1)]
        some()
    for other in others:
        other.result()


@cache
def processors() -> int:
    """How many this process may use.

    Examples
    --------
    >>> processors() > 0
    True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def libc(name: str) -> Any:
    """Return ``process_vm_readv`` or ``mprotect`` of the C library.

    Raises
    ------
    OSError
        It is out of reach.

    Examples
    --------
    >>> libc("mprotect") is libc("mprotect")
    True
    """
    try:
        import ctypes  # noqa: PLC0415 -- most runs do without

        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (ImportError, AttributeError, OSError) as error:
        raise OSError(38, f"{name}: {error}") from None
    number = ctypes.c_long if name == "process_vm_readv" else ctypes.c_int
    function.restype = number
    if name == "mprotect":
        function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    else:
        pointer, count = ctypes.c_void_p, ctypes.c_ulong
        function.argtypes = (ctypes.c_int, pointer, count, pointer, count, count)
    return function
