"""Backends that are right and do something hostile besides: each attacks its process, its memory or its harness.

Judged by the tests through `convspec check`; imported by nothing else.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np

from convspec.adapters.numpy_backend import NumpyBackend


def segfault():
    """Read at address 0."""
    ctypes.string_at(0)


class SegfaultsInCall(NumpyBackend):
    def conv2d(self, x, w, **options):
        segfault()


class SegfaultsInThread(NumpyBackend):
    """The call is over, and answered, when the process dies."""

    def conv2d(self, x, w, **options):
        threading.Timer(0.02, segfault).start()
        return super().conv2d(x, w, **options)

    def __init__(self):
        super().__init__()
        self.name = "segfaults-in-thread"


class WritesPastOutput(NumpyBackend):
    """Beyond the result lies what malloc knows of its blocks."""

    def conv2d(self, x, w, **options):
        y = super().conv2d(x, w, **options)
        ctypes.memset(y.ctypes.data + y.nbytes, 0x41, 1 << 14)
        return y


class SleepsForEver(NumpyBackend):
    def conv2d(self, x, w, **options):
        time.sleep(3600)


class IgnoresSignals(NumpyBackend):
    """Whatever can be ignored is ignored."""

    def conv2d(self, x, w, **options):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        while True:
            time.sleep(1)


class FillsMemory(NumpyBackend):
    def conv2d(self, x, w, **options):
        kept = []
        while True:
            kept.append(np.ones(1 << 20))
            time.sleep(0.002)


class Prints(NumpyBackend):
    """In Python, past Python, in C, and from a child; also what looks like a frame."""

    def conv2d(self, x, w, **options):
        print("CVS1", "x" * 10_000)
        os.write(1, b"CVS1" + bytes([2, 0, 0, 0]) + bytes(8) + b"{}")
        ctypes.CDLL(None).puts(b"from C")
        subprocess.run(["echo", "from a child"], check=True)
        sys.stdout.flush()
        return super().conv2d(x, w, **options)


class Exits(NumpyBackend):
    def conv2d(self, x, w, **options):
        os._exit(0)


class ReturnsObjects(NumpyBackend):
    def conv2d(self, x, w, **options):
        return super().conv2d(x, w, **options).astype(object)


class ReturnsText(NumpyBackend):
    def conv2d(self, x, w, **options):
        return str(super().conv2d(x, w, **options))


class ReturnsOtherShape(NumpyBackend):
    def conv2d(self, x, w, **options):
        return super().conv2d(x, w, **options)[..., None]


class ClaimsTerabytes(NumpyBackend):
    """Every element is there, and they take four bytes."""

    def conv2d(self, x, w, **options):
        return np.broadcast_to(np.ones((), x.dtype), (1 << 14, 1 << 14, 1 << 14, 8))


class LeavesChildren(NumpyBackend):
    """One in the worker's process group, one in a session of its own, one daemon that has changed its parent."""

    started = False

    def conv2d(self, x, w, **options):
        if not self.started:
            self.started = True
            subprocess.Popen(["sleep", "3600"])
            subprocess.Popen(["sleep", "3600"], start_new_session=True)
            parent = os.fork()
            if parent == 0:
                os.setsid()
                if os.fork() == 0:
                    time.sleep(3600)
                os._exit(0)
            os.waitpid(parent, 0)  # so that the daemon is there when the call returns
        return super().conv2d(x, w, **options)


class ClosesStandardStreams(NumpyBackend):
    def conv2d(self, x, w, **options):
        for number in (0, 1):
            with contextlib.suppress(OSError):
                os.close(number)
        return super().conv2d(x, w, **options)


class ChangesLargeInput(NumpyBackend):
    """One element, of the last column, in place."""

    def max_pool(self, x, **options):
        if x.flags.writeable and x.size:
            x[..., -1, -1] = 7
        return super().max_pool(x, **options)
