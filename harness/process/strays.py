"""What a worker started and left: found by a mark in its environment, where it has left the worker's process group.

Linux only, through ``/proc``; elsewhere the process group has to do. May import the standard library.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path

VARIABLE = "CONVSPEC_WORKER"
#: The same of a whole run: a process of xdist that is killed cannot look for what its workers left.
OF_RUN = "CONVSPEC_RUN"
ROUNDS = 20  # looks at those that start others while they are looked for


def mark() -> str:
    """A value of the variable that no other worker has.

    Examples
    --------
    >>> mark() != mark()
    True
    """
    return os.urandom(12).hex()


def marked(value: str, variable: str = VARIABLE) -> list[int]:
    """The processes with this value in the environment that they were started with, or forked with.

    Examples
    --------
    >>> marked(mark())
    []
    """
    if sys.platform != "linux":
        return []
    wanted = f"{variable}={value}".encode()
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir("/proc") if name.isdecimal() and _has(name, wanted)]  # noqa: PTH208
    return []


def _has(name: str, wanted: bytes) -> bool:
    try:
        return wanted in Path("/proc", name, "environ").read_bytes()
    except OSError:  # another user's, or over
        return False


def end(value: str, variable: str = VARIABLE) -> None:
    """Kill all of them, and those that they start meanwhile."""
    for _ in range(ROUNDS):
        found = marked(value, variable)
        if not found:
            return
        for pid in found:
            with contextlib.suppress(OSError, AttributeError):  # it has ended; a kernel before 5.3
                fd = os.pidfd_open(pid)
                try:
                    # Its number may be another process's by now: what is held is looked at again.
                    if _has(str(pid), f"{variable}={value}".encode()):
                        signal.pidfd_send_signal(fd, signal.SIGKILL)
                finally:
                    os.close(fd)
