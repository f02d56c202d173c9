"""A worker's two pipes, bare: for asking whether a program speaks the protocol, with nothing of the harness between.

May import the standard library, NumPy, `frames`, `protocol` and `short`.
"""

from __future__ import annotations

import contextlib
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from . import protocol
from .frames import PREFIX, Array, Frame, parse, sizes
from .short import is_short

__all__ = ["Broken", "Worker"]

LEAVES_WITHIN = 1.0  # seconds: what the harness grants before it kills


class Broken(Exception):  # noqa: N818 -- a finding
    """What the worker does otherwise than the protocol says."""


class Worker:
    """A running worker, its pipes read by a thread so that nothing waits for ever.

    Parameters
    ----------
    command : sequence of str
        What to run.
    seconds : float
        How long an answer, or the hello, may take.

    Raises
    ------
    OSError
        The command cannot be started.
    """

    def __init__(self, command: Sequence[str], seconds: float) -> None:
        self._seconds = seconds
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- closed in `end`
        try:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, bufsize=0
            )
        except BaseException:
            self._errors.close()
            raise
        self._chunks: queue.Queue[bytes] = queue.Queue()
        self._left, self.serial = b"", 0
        self._thread = threading.Thread(target=self._pump, daemon=True)
        self._thread.start()

    def _pump(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            while chunk := self._process.stdout.read(1 << 16):
                self._chunks.put(chunk)
        self._chunks.put(b"")

    def write(self, data: bytes) -> None:
        """Write bytes to its stdin."""
        assert self._process.stdin is not None
        view = memoryview(data)
        try:
            while view:
                view = view[self._process.stdin.write(view) :]
        except OSError:
            raise Broken(f"it ended, or closed its stdin, before it had read a call{self._wrote()}") from None

    def read(self, *, may_be_short: bool = False) -> Frame:
        """Read one frame, every rule of which is checked."""
        try:
            header, body = sizes(self._bytes(PREFIX.size))
            text = self._bytes(header)
            short = text if may_be_short and is_short(text) else b""
            fields = {} if short else parse(text, body)
            return Frame(fields, np.frombuffer(self._bytes(body), np.uint8).copy(), short=short)
        except protocol.ProtocolError as error:
            raise Broken(f"what it wrote is no frame: {error}{self._wrote()}") from None

    def _bytes(self, size: int) -> bytes:
        parts, have, deadline = [self._left], len(self._left), time.monotonic() + self._seconds
        while have < size:
            try:
                chunk = self._chunks.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise Broken(f"nothing came within {self._seconds:g} s{self._wrote()}") from None
            if not chunk:
                self._chunks.put(b"")
                raise Broken(f"it closed its stdout with {size - have} bytes of a frame to come{self._wrote()}")
            parts.append(chunk)
            have += len(chunk)
        data = b"".join(parts)
        self._left = data[size:]
        return data[:size]

    def call(self, op: str, arrays: Sequence[Array] = (), layout: str = "C", **options: Any) -> protocol.Answer:
        """Make one call and read its answer, which has to be that of this call."""
        self.serial += 1
        request = protocol.Request(op, tuple(arrays), (layout,) * len(arrays), options)
        self.write(b"".join(protocol.request_frame(request, self.serial)))
        return self.answer(len(arrays))

    def answer(self, inputs: int) -> protocol.Answer:
        """Read the answer to the call of this serial number."""
        try:
            return protocol.answer_from(self.read(), self.serial, inputs)
        except protocol.ProtocolError as error:
            raise Broken(str(error)) from None

    def hang_up(self) -> None:
        """Close its stdin: it has to end by itself, having written nothing more."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(LEAVES_WITHIN)
        except subprocess.TimeoutExpired:
            raise Broken(f"its stdin ended, and {LEAVES_WITHIN:g} s later it was still running") from None
        rest = self._left
        while chunk := self._chunks.get(timeout=self._seconds):
            rest += chunk
        if rest:
            raise Broken(f"{len(rest)} bytes on stdout that belong to no frame: {rest[:40]!r}")

    def end(self) -> None:
        """Make sure that it is gone."""
        self._process.kill()
        self._process.wait()
        # Closed before the thread has seen its end, a pipe gives its number to the next worker's, whose hello is lost.
        self._thread.join(LEAVES_WITHIN)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        self._errors.close()

    def _wrote(self) -> str:
        """Its last words, for a message."""
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return f"; its stderr ends in: {lines[-1][:200]}" if lines else ""
