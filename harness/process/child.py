"""One worker process seen from outside: started, written to and read from with a deadline, ended, its end explained.

Nothing here can wait for ever: both pipes are non-blocking, and every wait watches the clock, the process, its memory
and how much it writes to stderr. POSIX only. May import the standard library, NumPy, `copies`, `frames`, `shared`,
`short` and `strays`.
"""

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np

from . import strays
from .copies import fetch
from .frames import MAX_BODY, PREFIX, SMALL, Array, Bytes, Frame, ProtocolError, parse, sizes
from .shared import LEAST, TOKEN, VARIABLE, Segment
from .short import is_short

TAIL = 4000  # bytes of stderr that an answer carries
LARGEST_STDERR = 1 << 24  # a backend that writes more loses what came first: the disk is not its to fill
LOOK_EVERY = 0.2  # seconds between two looks at a process that keeps silent
GRACE = 1.0  # seconds that a worker has to leave by itself when its pipe is closed
CHUNK = 1 << 16  # most calls' answers come in one read
PIPE_SIZE = 1 << 20
UNUSED = 2  # what sys.getrefcount counts for an attribute that nobody else refers to: itself, and its argument


class Died(Exception):  # noqa: N818 -- told on as a verdict
    """The process ended, or closed its pipe; the text says how."""


class Silent(Exception):  # noqa: N818 -- told on as a verdict
    """The deadline passed."""


class Child:
    """A running worker.

    Parameters
    ----------
    command : sequence of str
        What to run; it speaks the protocol on its stdin and stdout.
    env : mapping
        Its whole environment.
    memory : int or None
        Bytes of resident memory beyond which it is killed, and said to have died of that.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], memory: int | None = None) -> None:
        # Without a name from the start: nothing is left behind, however either side ends.
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- closed in `end`
        fcntl.fcntl(self._stderr, fcntl.F_SETFL, fcntl.fcntl(self._stderr, fcntl.F_GETFL) | os.O_APPEND)
        self._mark_of_all = strays.mark()
        self._segment = Segment.create()
        self._shares, self._reads = False, 0  # what `agree` makes of it
        self.short = False  # whether it takes short headers
        self._room: Bytes = np.empty(0, np.uint8)
        shared = {} if self._segment is None else {VARIABLE: str(self._segment.fd)}
        try:
            # A session of its own: Ctrl-C in the terminal is ours alone, and the worker's own children end with it.
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={**env, **shared, strays.VARIABLE: self._mark_of_all},
                bufsize=0,
                start_new_session=True,
                pass_fds=tuple(map(int, shared.values())),
            )
        except BaseException:
            self._stderr.close()
            if self._segment is not None:
                self._segment.close()
            raise
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.pid, self._memory, self._owner = self._process.pid, memory, os.getpid()
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._buffer, self._sent = b"", 0
        self._mark, self._mark_before, self._cut = 0, 0, ""
        self._killed_for: str | None = None
        for pipe in (self._to, self._from):
            os.set_blocking(pipe, False)
            if hasattr(fcntl, "F_SETPIPE_SZ"):
                with contextlib.suppress(OSError):  # more than this user may have: the default is right, and slower
                    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        self._poll = select.poll()
        self._poll.register(self._from, select.POLLIN)
        self._pidfd = _pidfd(self.pid)
        self._end = select.poll()
        if self._pidfd is not None:
            self._poll.register(self._pidfd, select.POLLIN)
            self._end.register(self._pidfd, select.POLLIN)

    # ------------------------------------------------------------------------------------------ the shared segment

    def agree(self, told: Any) -> None:
        """Take up what a worker says in its hello of the segment that it inherited: nothing, or a proof that it has it.

        Whether its memory can be read is tried out, on the token that it says is there.
        """
        if self._segment is None or not isinstance(told, dict):
            return
        token: bytes = self._segment.token
        pid, address = told.get("pid"), told.get("address")
        self._shares = told.get("token") == token.hex()
        found: Bytes = np.zeros(TOKEN, np.uint8)
        if type(pid) is int and type(address) is int and 0 < pid < 1 << 31 and 0 < address < 1 << 63:
            with contextlib.suppress(OSError):  # it is forbidden, or there is no such process
                fetch(pid, address, found)
            self._reads = pid if found.tobytes() == token else 0

    def place(self, arrays: Sequence[Array]) -> list[int | None]:
        """Put large arrays into the segment, where the worker has it; empty when all of them have to travel."""
        for array in arrays:
            if array.nbytes >= LEAST and self._shares and self._segment is not None:
                return self._segment.place(arrays)
        return []

    def unshare(self) -> None:
        """Leave the segment alone: a backend still refers to what lies in it, as it may."""
        self._shares = False

    @property
    def reads(self) -> bool:
        """Whether results can be read where they are."""
        return self._reads != 0

    def _fetch(self, address: int, size: int) -> Bytes:
        if size > MAX_BODY:
            raise ProtocolError(f"a result of {size} bytes is too large")
        into = self._room_for(size)
        try:
            fetch(self._reads, address, into)
        except OSError as error:
            if self.ended():
                raise Died(self.how_it_ended()) from None
            raise ProtocolError(f"a result where no memory can be read: {error.strerror}") from None
        return into

    def _room_for(self, size: int) -> Bytes:
        """Memory for a result: that of the last one where nobody refers to it any more, for fresh pages take time."""
        if self._room.size != size or sys.getrefcount(self._room) > UNUSED:
            self._room = np.empty(size, np.uint8)
        return self._room

    # ------------------------------------------------------------------------------------------------ the pipes

    def mark(self) -> None:
        """From here on stderr belongs to the next call."""
        self._mark_before = self._mark
        self._mark, self._cut = os.lseek(self._stderr.fileno(), 0, os.SEEK_END), ""

    def unmark(self) -> None:
        """The next call was never begun: what came last belongs to the one before."""
        self._mark = self._mark_before

    def send(self, parts: Sequence[memoryview], deadline: float) -> None:
        """Write a frame; `Silent` when the worker has not read it by the deadline, `Died` when it is gone."""
        left, self._sent = list(parts), 0
        while left:
            try:
                count = os.writev(self._to, left)
                self._sent += count
            except BlockingIOError:
                self._poll.register(self._to, select.POLLOUT)
                try:
                    self._wait(deadline)
                finally:
                    self._poll.unregister(self._to)
                continue
            except BrokenPipeError:
                raise Died(self.how_it_ended()) from None
            while left and count >= len(left[0]):
                count -= len(left.pop(0))
            if left:
                left[0] = left[0][count:]

    def receive(self, deadline: float) -> Frame:
        """Read a frame; `Silent`, `Died`, or `ProtocolError` when what comes is not one."""
        self._fill(PREFIX.size, deadline)
        header_size, body_size = sizes(self._buffer)
        start = PREFIX.size + header_size
        self._fill(start, deadline)
        text = self._buffer[PREFIX.size : start]
        if self.short and is_short(text) and body_size <= SMALL:
            fields: dict[str, Any] = {}
        else:
            fields, text = parse(text, body_size), b""
        elsewhere = self._fetch if self._reads else None
        if body_size <= SMALL:
            self._fill(start + body_size, deadline)
            small = bytearray(self._buffer[start : start + body_size])
            self._buffer = self._buffer[start + body_size :]
            return Frame(fields, small, elsewhere, text)
        have = min(body_size, len(self._buffer) - start)
        body: Bytes = np.empty(body_size, np.uint8)
        into = body.data
        into[:have] = self._buffer[start : start + have]
        self._buffer = self._buffer[start + have :]
        into = into[have:]
        while into:  # the buffer is empty now, and the rest goes to its place without a detour
            into = into[self._read_into(into, deadline) :]
        return Frame(fields, body, elsewhere)

    def _fill(self, size: int, deadline: float) -> None:
        """Have so many bytes in the buffer; a whole small frame comes in one read."""
        while len(self._buffer) < size:
            self._wait(deadline)
            try:
                chunk = os.read(self._from, CHUNK)
            except BlockingIOError:
                continue
            if not chunk:
                raise Died(self.how_it_ended())
            self._buffer += chunk

    def _read_into(self, into: memoryview, deadline: float) -> int:
        while True:
            with contextlib.suppress(BlockingIOError):
                if count := os.readv(self._from, [into]):
                    return count
                raise Died(self.how_it_ended())
            self._wait(deadline)

    def _wait(self, deadline: float) -> None:
        """Return when a pipe is ready; look at the process now and then, and whenever it ends."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Silent
            for fd, _ in self._poll.poll(1000 * min(left, LOOK_EVERY)):
                if fd != self._pidfd:  # a pipe
                    return
            if self.ended():
                # What it wrote before it ended is still to be read; a pipe that its own children hold open is not.
                if not select.select([self._from], [], [], 0)[0]:
                    raise Died(self.how_it_ended())
                return
            self._look()

    def _look(self) -> None:
        fd = self._stderr.fileno()
        if os.fstat(fd).st_size > LARGEST_STDERR:
            self._cut = self.tail()
            os.ftruncate(fd, 0)  # it appends, so what comes next is at the start
            self._mark = 0
        if self._memory is not None and (used := resident(self.pid)) > self._memory:
            self._killed_for = f"killed because it used {used >> 20} MiB of memory, more than {self._memory >> 20} MiB"
            self.kill()
            raise Died(self._killed_for)

    # -------------------------------------------------------------------------------------------------- the end

    def ended(self) -> bool:
        """Tell whether the process is over; it is not reaped yet, so that its process group keeps its number."""
        if self._process.returncode is not None:
            return True
        if self._pidfd is not None:
            return bool(self._end.poll(0))
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def how_it_ended(self) -> str:
        """Wait for the end and tell it: ``killed by SIGSEGV``, ``exited with status 3 by itself``."""
        if self._killed_for:
            return self._killed_for
        if not self._ends_within(GRACE):
            self.kill()
            return "closed its end of the pipe and went on running"
        self.kill()
        code = self._process.returncode
        if code < 0:
            try:
                return f"killed by {signal.Signals(-code).name}"
            except ValueError:  # a real-time signal without a name
                return f"killed by signal {-code}"
        return f"exited with status {code} by itself"

    def unread(self) -> bool:
        """Tell of a process that is over whether all that was sent last is still in the pipe: it never saw it."""
        waiting = bytearray(4)
        fcntl.ioctl(self._to, termios.FIONREAD, waiting)
        return int.from_bytes(waiting, sys.byteorder) == self._sent

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self.ended():
            if time.monotonic() > deadline:
                return False
            if self._pidfd is not None:
                select.select([self._pidfd], [], [], max(0.0, deadline - time.monotonic()))
            else:
                time.sleep(0.005)
        return True

    def kill(self) -> None:
        """End the process, all of its group and whoever left that, and reap it."""
        if self._process.returncode is not None or os.getpid() != self._owner:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM where all of the group are gone
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        strays.end(self._mark_of_all)

    def tail(self) -> str:
        """Return the end of what was written to stderr since `mark`."""
        fd = self._stderr.fileno()
        size = os.fstat(fd).st_size
        start = max(min(self._mark, size), size - TAIL)
        text = self._cut + os.pread(fd, TAIL, start).decode("utf-8", "replace")
        return text[-TAIL:].strip()

    def end(self, grace: float = GRACE) -> None:
        """Close the pipes, give it a moment to leave by itself, and make sure that it is gone."""
        process = self._process
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        if os.getpid() == self._owner and process.returncode is None:
            self._ends_within(grace)
            self.kill()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        if self._segment is not None:
            self._segment.close()
            self._segment = None
        self._stderr.close()


def in_main_thread() -> bool:
    """Tell whether this is the thread that lives as long as the process."""
    return threading.current_thread() is threading.main_thread()


def resident(pid: int) -> int:
    """Bytes of memory that a process holds; 0 where the system does not say.

    Examples
    --------
    >>> resident(2**31 - 1)
    0
    """
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123 -- read every fifth of a second
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or an old one: then the process is looked at now and then
        return None


__all__ = ["Child", "Died", "ProtocolError", "Silent", "in_main_thread", "resident"]
