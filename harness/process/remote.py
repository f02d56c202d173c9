"""The near side: `RemoteBackend` asks a backend that lives in a process of its own, and survives whatever that does.

May import the standard library, NumPy, `convspec.adapters.backend` (for its errors) and this package.
"""

import contextlib
import json
import os
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import convspec.adapters
import convspec.harness
import convspec.reference
from convspec.adapters import backend as errors

from . import protocol, short
from .child import Child, Died, Silent, in_main_thread
from .frames import Frame, ProtocolError
from .protocol import Answer, Request

# What the far side imports; where it is, so that another interpreter can be told (`launch.py`).
PACKAGES = ("convspec", "convspec.adapters", "convspec.reference", "convspec.harness", "convspec.harness.process")
# glibc fills what malloc gives with 0x7F, and what free takes with 0x80: uninitialised and freed memory that is read
# shows. Its per-thread cache hands blocks on unfilled, so it is switched off. Filling touches each page of a block,
# which in huge pages takes a fifth of the time.
FOUL_MEMORY = {
    "MALLOC_PERTURB_": "128",
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.perturb=128:glibc.malloc.hugetlb=1",
}


#: What a worker may hold unless it is told otherwise. No less, where the machine has it: a framework with its libraries
#: holds gigabytes before the first call, and to end that as a crash would be a false verdict.
LEAST_MEMORY, MOST_MEMORY = 4 << 30, 8 << 30


class RemoteBackend:
    """A backend in a persistent worker process: started at the first use, and again after a death.

    Parameters
    ----------
    text : str
        The backend's name, as on the command line: ``"torch:cuda"``, ``"path/to/file.py:NAME"``.
    python : str
        The interpreter. One other than this needs NumPy and the framework, not convspec: it is told where ours is.
    timeout : float
        Seconds that a call may take, writing and reading included.
    start_timeout : float
        Seconds that starting may take: the interpreter, the framework's import, the device.
    env : mapping or None
        Variables to set (or, where None, to remove) in the worker's environment.
    standby : bool
        After a first death, keep a spare worker that has loaded the backend already.
    memory : int or None
        Bytes of resident memory at which a call is ended as a crash. None: this process's part of three quarters of
        what the machine had free (`pytest -n` starts several), 8 GiB at most, and 4 at least where they are free.
    command : sequence of str or None
        Instead of Python: any command that speaks the protocol (``PROTOCOL.md``) on its stdin and stdout.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    >>> options = {"ksize": (2, 2), "strides": (2, 2), "padding": "VALID", "dilations": (1, 1)}
    >>> with RemoteBackend("numpy") as backend:
    ...     answer = backend.call(Request("max_pool", (x,), ("C",), options))
    >>> answer.status, answer.arrays[0].item()
    ('ok', 3.0)
    """

    def __init__(
        self,
        text: str,
        *,
        python: str = sys.executable,
        timeout: float = 30.0,
        start_timeout: float = 180.0,
        env: Mapping[str, str | None] | None = None,
        standby: bool = False,
        memory: int | None = None,
        command: tuple[str, ...] | None = None,
    ) -> None:
        self.text, self.python, self.timeout, self.start_timeout = text, python, timeout, start_timeout
        self.standby, self.memory = standby, memory if memory is not None else _memory_to_give()
        self.restarts = 0
        self._command, self._env = command, environment(env)
        self._hello: dict[str, Any] | None = None
        self._serial = 0
        self._answered = ""  # the last call that the current worker answered
        self._died = False
        self._lock = threading.RLock()
        # The children in a list of their own, which the finaliser can hold without holding us.
        self._children: list[Child] = []
        self._current: Child | None = None
        self._spare: Child | None = None
        self._finalizer = weakref.finalize(self, _end_all, self._children, os.getpid())

    # ------------------------------------------------------------------------------------------------- in use

    @property
    def hello(self) -> dict[str, Any]:
        """What the worker said of itself when it was first started; starts it if need be.

        Keys: ``name``, ``versions``, ``device``, ``methods``, ``missing``, ``contract``, ``accepts_bias``, ``argmax``,
        ``dtypes``, ``protocol``.

        Raises
        ------
        BackendError
            The one that loading raised there, by its class; BackendImportError where loading ended the process.
        """
        with self._lock:
            if self._hello is None:
                self._ensure()
            assert self._hello is not None
            return self._hello

    def call(self, request: Request) -> Answer:
        """Make one call. Whatever the backend does, an answer comes back in time; see `Answer` for what it says.

        Raises
        ------
        BackendError
            The backend could not be loaded at all.
        ProtocolError
            The request cannot travel: an unknown dtype or option.
        """
        with self._lock:
            self._serial += 1
            try:
                child = self._current or self._ensure()
            except errors.BackendError as error:
                if self._hello is None:
                    raise
                return Answer("crash", error=f"the worker could not be started again: {error}")
            started = time.monotonic()
            parts = short.call_frame(request, self._serial, by_address=child.reads) if child.short else None
            if parts is None:
                places = child.place(request.arrays)
                parts = protocol.request_frame(request, self._serial, places, by_address=child.reads)
            answer = self._exchange(child, parts, len(request.arrays), started)
            self._answered = request.op
            return answer

    def _exchange(self, child: Child, parts: list[memoryview], inputs: int, started: float) -> Answer:
        deadline = started + self.timeout
        child.mark()
        try:
            child.send(parts, deadline)
            frame = child.receive(deadline)
            if frame.short:
                return short.answer_from(frame, self._serial)
            answer = protocol.answer_from(frame, self._serial, inputs)
        except Silent:
            return self._buried(f"no answer within {self.timeout:g} s", "hang", time.monotonic() - started)
        except Died as death:
            after = ""
            if self._answered and child.unread():
                child.unmark()
                after = f" after it had answered {self._answered}"
            return self._buried(f"{death}{after}", seconds=time.monotonic() - started)
        except ProtocolError as error:
            return self._buried(f"wrote something that is not an answer: {error}", seconds=time.monotonic() - started)
        except BaseException:  # Ctrl-C in the middle: the rest of the answer would be taken for the next one's
            self._discard(child)
            raise
        if frame.header.get("kept") is True:
            child.unshare()
        return answer

    def close(self) -> None:
        """End the worker and its spare, and all processes that they started. It may be used again, and starts anew."""
        with self._lock:
            self._current = self._spare = None
            _end_all(self._children, os.getpid())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---------------------------------------------------------------------------------------------- life and death

    def _ensure(self) -> Child:
        if self._current is not None:
            return self._current
        child, self._spare = self._spare, None
        if child is not None and child.ended():
            self._discard(child)
            child = None
        child = child or self._start()
        greeting = self._greeted(child)
        self._hello = self._hello or greeting
        self._current, self._answered = child, ""
        self.restarts, self._died = self.restarts + self._died, False
        if self.standby and self.restarts:
            self._spare = self._start()  # its greeting waits in the pipe until it is wanted
        return child

    def _start(self) -> Child:
        command = self._command or python_command(self.python, self.text)
        try:
            child = Child(command, self._env, self.memory)
        except OSError as error:
            raise errors.BackendImportError(f"{self.text}: {command[0]} cannot be started: {error.strerror}") from error
        self._children.append(child)
        return child

    def _greeted(self, child: Child) -> dict[str, Any]:
        try:
            header = _hello_of(child.receive(time.monotonic() + self.start_timeout))
        except Silent:
            problem = f"it was not ready within {self.start_timeout:g} s"
        except Died as death:
            problem = f"its process ended while loading it: {death}"
        except ProtocolError as error:
            problem = f"its process does not speak the protocol: {error}"
        except BaseException:
            self._discard(child)
            raise
        else:
            if "load_error" not in header:
                child.agree(header.pop("shared", None))
                child.short = header.pop("short", None) is True
                return header
            self._discard(child)
            raise _load_error(self.text, header["load_error"])
        child.kill()
        last = _last_line(child.tail())
        self._discard(child)
        raise errors.BackendImportError(f"{self.text}: {problem}" + (f"; it wrote: {last}" if last else ""))

    def _buried(self, error: str, status: str = "crash", seconds: float = 0.0) -> Answer:
        """End the current worker, and tell of it."""
        assert self._current is not None
        child = self._current
        child.kill()  # before the tail is read: nothing more is written then
        tail = child.tail()
        self._discard(child)
        last = _last_line(tail)
        return Answer(status, error=f"{error}; it wrote: {last}" if last else error, stderr=tail, seconds=seconds)

    def _discard(self, child: Child) -> None:
        if child is self._current:
            self._current, self._died = None, True
        self._children.remove(child)
        child.end(0.0)


def python_command(python: str, text: str) -> list[str]:
    """Command line of a Python worker for a backend.

    Another interpreter may lack convspec, or have another version of it, so it is told where this one's packages are.
    ``-P``: a file ``json.py`` in the working directory is not the standard library's (the registry adds it at the end).

    Examples
    --------
    >>> python_command(sys.executable, "numpy")[1:4]
    ['-P', '-m', 'convspec.harness.process.worker']
    """
    parent = [str(os.getpid())] if in_main_thread() else []
    if python == sys.executable:
        return [python, "-P", "-m", "convspec.harness.process.worker", text, *parent]
    places = {name: str(Path(sys.modules[name].__path__[0]).resolve()) for name in PACKAGES}
    launch = str(Path(__file__).with_name("launch.py").resolve())
    return [python, "-P", launch, json.dumps(places), text, *parent]


def environment(changes: Mapping[str, str | None] | None) -> dict[str, str]:
    """Environment of a worker: this one's, with foul memory, and with the changes asked for.

    Examples
    --------
    >>> environment({"OMP_NUM_THREADS": "1"})["OMP_NUM_THREADS"]
    '1'
    """
    env = {**FOUL_MEMORY, **os.environ}
    env.pop("PYTHONWARNINGS", None)  # "error" would make an import of a framework fail
    for name, value in (changes or {}).items():
        env.pop(name, None)
        if value is not None:
            env[name] = value
    return env


def _hello_of(frame: Frame) -> dict[str, Any]:
    header = frame.header
    if header["kind"] != "hello" or header.get("protocol") != protocol.VERSION:
        raise ProtocolError(f"not a hello of protocol {protocol.VERSION}: {header!r:.120}")
    if isinstance(header.get("load_error"), dict):
        return header
    wanted = {"name": str, "versions": dict, "methods": list}
    if not all(isinstance(header.get(name), kind) for name, kind in wanted.items()):
        raise ProtocolError(f"a hello without name, versions or methods: {header!r:.120}")
    if not isinstance(header.get("dtypes"), list | None):
        raise ProtocolError(f"dtypes of a hello are {header['dtypes']!r:.100}, expected a list of names or null")
    absent = [name for name in errors.METHODS if name not in header["methods"]]
    usual: dict[str, Any] = {
        "device": None,
        "missing": absent,
        "contract": {},
        "accepts_bias": False,
        "argmax": False,
        "dtypes": None,
    }
    return {**usual, **header}


def _load_error(text: str, told: dict[str, Any]) -> errors.BackendError:
    kind = getattr(errors, str(told.get("class")), None)
    if not (isinstance(kind, type) and issubclass(kind, errors.BackendError)):
        kind = errors.BackendImportError
    return kind(" ".join(str(told.get("message", f"{text}: it could not be loaded")).split()))


def _last_line(tail: str) -> str:
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def _memory_to_give() -> int | None:
    """Three quarters of the memory that is free now, or this process's part, in bytes; None where nothing says it.

    Were each of eight to take three quarters, the kernel would kill one of them, or something else, before we do.
    """
    free = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free += [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")]
    with contextlib.suppress(OSError, ValueError, KeyError):  # a container's own limit; "max" is no number
        limit, used, stat = (
            Path(f"/sys/fs/cgroup/memory.{name}").read_text("ascii") for name in ("max", "current", "stat")
        )
        fields = dict(line.split() for line in stat.splitlines())
        free.append(int(limit) - int(used) + int(fields["inactive_file"]))  # cached files give way
    processes = os.environ.get("PYTEST_XDIST_WORKER_COUNT", "")
    share = max(1, int(processes)) if processes.isdecimal() else 1
    whole = min(free) * 3 // 4 if free else None
    return whole and min(whole, MOST_MEMORY, max(whole // share, LEAST_MEMORY))


def _end_all(children: list[Child], owner: int) -> None:
    if os.getpid() != owner:  # a fork of ours ends: the workers are not its
        return
    for child in children:
        child.end(0.0 if len(children) > 1 else 1.0)
    children.clear()


# Their __path__ is read by `python_command`; naming them here keeps the imports honest.
assert {convspec.adapters.__name__, convspec.harness.__name__, convspec.reference.__name__} < set(PACKAGES)
