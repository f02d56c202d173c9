"""The two pipes to the harness, on the worker's side.

May import the standard library, NumPy, `frames` and `short`.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence

import numpy as np

from .frames import PREFIX, SMALL, Bytes, Frame, parse, sizes
from .short import is_short


class Channel:
    """The pipes, moved out of the backend's way.

    The protocol came in on fd 0 and goes out on fd 1. Both are duplicated to descriptors that no child inherits; then
    fd 0 reads nothing and fd 1 goes to stderr, so that a backend may print, in Python or C, and may read its stdin.
    """

    def __init__(self) -> None:
        self._in = io.BufferedReader(io.FileIO(os.dup(0), "r"), 1 << 16)
        self._out = os.dup(1)
        self._pid = os.getpid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        for stream in (sys.stdout, sys.stderr):  # to a file: lines that are still in a buffer die with the process
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(line_buffering=True, errors="backslashreplace")

    @property
    def incoming(self) -> int:
        """The descriptor that the calls come in on."""
        return self._in.fileno()

    def read(self, elsewhere: Callable[[int, int], Bytes] | None = None) -> Frame | None:
        """Read one frame; None at the end of the pipe, also in the middle of a frame: the harness is gone."""
        prefix = self._in.read(PREFIX.size)
        if len(prefix) < PREFIX.size:
            return None
        header_size, body_size = sizes(prefix)
        header = self._in.read(header_size)
        body: Bytes | bytearray
        if body_size <= SMALL:
            body = bytearray(body_size)
            into = memoryview(body)
        else:
            body = np.empty(body_size, np.uint8)
            into = body.data
        while into:
            count = self._in.readinto(into)
            if not count:
                return None
            into = into[count:]
        if len(header) < header_size:
            return None
        if is_short(header):
            return Frame({}, body, None, header)
        return Frame(parse(header, body_size), body, elsewhere)

    def write(self, parts: Sequence[memoryview]) -> None:
        """Write one frame."""
        if os.getpid() != self._pid:  # a backend forked, and its child came back from the call: one answer is enough
            os._exit(0)
        left = list(parts)
        while left:
            count = os.writev(self._out, left)
            while left and count >= len(left[0]):
                count -= len(left.pop(0))
            if left:
                left[0] = left[0][count:]
