"""Which process a backend is judged in: this Python, another one (`--python`), or any command that speaks the protocol.

`--python PATH` is for every backend, `--python NAME=PATH` for the backend called NAME, and for each that is written
``BACKEND%NAME``: so one table holds frameworks whose requirements clash, and several versions of one framework.
May import the adapters' names and the process.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from convspec.adapters import registry
from convspec.adapters.backend import BackendError, NotInstalled

from .process.remote import RemoteBackend, python_command

__all__ = ["OLDEST_NUMPY", "OLDEST_PYTHON", "Interpreters"]

#: What the far side runs on; the near side asks for more.
OLDEST_PYTHON, OLDEST_NUMPY = (3, 10), (1, 22)
_WORD = r"[A-Za-z0-9_.+-]+"
_SECONDS = 60.0
_MOST_WRITTEN = 1 << 20  # bytes; what start-up files print is less
# Asked of whatever was named, Python 2 perhaps. The mark tells its answer from what start-up files print.
_MARK = "convspec-python:"
_PROBE = f"""
import sys
try:
    import numpy
    found = numpy.__version__
except ImportError as error:
    found = None
print("\\n{_MARK}%d.%d.%d %s" % (sys.version_info[:3] + (found,)))
"""
# As Python's -P, which 3.10 does not know: nothing is imported from the working directory, or from launch.py's own.
_BOOT = (
    "import sys; del sys.path[0]; import runpy; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


@dataclass(frozen=True)
class Interpreters:
    """The interpreters of a run: one for all, and those that have names.

    Examples
    --------
    >>> given = Interpreters.parse(["/usr/bin/python3", "old=/opt/old/bin/python"])
    >>> given.of("torch:cpu%old")
    ('torch:cpu', '/opt/old/bin/python')
    >>> given.of("torch:cpu")
    ('torch:cpu', '/usr/bin/python3')
    """

    default: str | None = None
    named: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Interpreters:
        """Read the values of `--python`: PATH, or NAME=PATH.

        Raises
        ------
        BackendError
            Two of them are for all, or have the same name.
        """
        default: str | None = None
        named: dict[str, str] = {}
        for text in texts:
            match = re.fullmatch(f"({_WORD})=(.+)", text)
            if match and match[1] in named:
                raise BackendError(f"--python {text}: {match[1]} is {named[match[1]]} already; give it another name")
            if match:
                named[match[1]] = match[2]
            elif default is not None:
                raise BackendError(
                    f"--python {text}: {default} is for every backend already; name one of them, as in "
                    f"`--python old={text}`, and write BACKEND%old"
                )
            else:
                default = text
        return cls(default, named)

    def of(self, label: str) -> tuple[str, str | None]:
        """The backend that a label names, and the interpreter it runs in; None for this one.

        Raises
        ------
        BackendError
            The label names an interpreter that `--python` does not.
        """
        if label.startswith("command:"):
            return label, None
        match = re.fullmatch(f"(.+)%({_WORD})", label)
        if match:
            if match[2] not in self.named:
                known = f"known: {', '.join(self.named)}" if self.named else "none is named"
                raise BackendError(
                    f"{label}: which interpreter is {match[2]}? {known}; add --python {match[2]}=/path/to/python"
                )
            return match[1], self.named[match[2]]
        name = registry.Label.of(label).backend
        return label, self.named.get(label, self.named.get(name, self.default))

    def check(self, labels: Iterable[str], *, skip: tuple[type[BackendError], ...] = ()) -> dict[str, str]:
        """Refuse what cannot run, one line each, before any work.

        Parameters
        ----------
        labels
            The backends.
        skip
            What may happen to one of them; each is started then, and those to which it did are returned, with reasons.

        Raises
        ------
        BackendError
            An interpreter that is not there, too old or without NumPy, or that no backend asks for; a backend, a
            framework or a device that is not there.
        """
        places = {label: self.of(label) for label in labels}
        used = {python for _, python in places.values()}
        for word, named in self.named.items():
            if named not in used:
                raise BackendError(f"--python {word}={named}: no backend here is {word}; write BACKEND%{word} for one")
        if self.default is not None and self.default not in used:
            raise BackendError(f"--python {self.default}: every backend here has another; leave it out")
        for other in used - {None}:
            probe(str(other))
        missing: dict[str, str] = {}
        for label, (text, python) in places.items():
            name = registry.parse(text) if python is None else None
            # A built-in on its default device is not started twice here: it is found out when it starts.
            if skip or name is None or name.kind != "built-in" or name.device not in (None, "cpu"):
                try:
                    self.start(label)
                except skip as error:
                    missing[label] = str(error)
        return missing

    def start(self, label: str) -> None:
        """Start a backend, and end it again.

        Raises
        ------
        BackendError
            As `check` does, of this one alone.
        """
        text, python = self.of(label)
        with self.remote(label) as backend:
            _loads(backend, text, python)

    def remote(self, label: str, **options: Any) -> RemoteBackend:
        """The backend of a label, in a process of its own; `options` are those of `RemoteBackend`."""
        text, python = self.of(label)
        if python is not None:
            return RemoteBackend(label, command=foreign_command(executable(python), text), **options)
        if text.startswith("command:"):
            return RemoteBackend(label, command=words(text), **options)
        return RemoteBackend(label, **options)


def words(text: str) -> tuple[str, ...]:
    """Program and arguments of ``command:...``, taken apart as a shell does.

    Raises
    ------
    BackendError
        A quote that is never closed.

    Examples
    --------
    >>> words("command:node 'my worker.mjs'")
    ('node', 'my worker.mjs')
    """
    try:
        return tuple(shlex.split(text.removeprefix("command:")))
    except ValueError as error:
        raise BackendError(f"{text}: this is no command line: {error}") from None


def executable(python: str) -> str:
    """The file that a path or the name of a command stands for; the path as given where there is none.

    Examples
    --------
    >>> executable("/no/such/python")
    '/no/such/python'
    """
    return shutil.which(str(Path(python).expanduser())) or python


def foreign_command(python: str, text: str) -> tuple[str, ...]:
    """Command line of the worker in an interpreter that may lack convspec and may be older than ours."""
    command = python_command(python, text)
    if python != sys.executable and command[1] == "-P":
        command[1:2] = ["-c", _BOOT]
    return tuple(command)


def probe(python: str) -> None:
    """Make sure that it is a Python, new enough, with NumPy.

    Raises
    ------
    BackendError
        It is not; the message is one line.
    """
    path, given = executable(python), f"--python {python}"
    if not Path(path).exists():
        raise BackendError(f"{given}: there is no such file, and no such command on PATH")
    if Path(path).is_dir():
        raise BackendError(f"{given}: this is a folder; the interpreter of a virtual environment is its bin/python")
    status, out, err = _ask(given, path)
    answers = [line.removeprefix(_MARK) for line in out.splitlines() if line.startswith(_MARK)]
    if not answers:
        lines = [line.strip() for line in err.splitlines() if line.strip()]
        wrote = f" and wrote: {lines[-1][:200]}" if lines else ""
        raise BackendError(
            f"{given}: this is no Python with which a program runs: asked for its version it ended with status "
            f"{status}{wrote}"
        )
    _new_enough(given, path, *answers[-1].split(" ", 1))


def _ask(given: str, path: str) -> tuple[int, str, str]:
    """Run the question; status and the ends of what was written. Whatever was named, it ends, with all it started.

    Into files, which are looked at now and then: a program that prints for ever would fill our memory, and a child that
    it left would hold a pipe open.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(
                [path, "-c", _PROBE], stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
        except OSError as error:
            raise BackendError(f"{given}: it cannot be started: {error.strerror}") from error
        try:
            deadline = time.monotonic() + _SECONDS
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(0.05)
                    break
                if max(os.fstat(file.fileno()).st_size for file in (out, err)) > _MOST_WRITTEN:
                    raise BackendError(f"{given}: this is no Python: asked for its version it writes without an end")
                if time.monotonic() > deadline:
                    raise BackendError(f"{given}: it did not import NumPy within {_SECONDS:g} s")
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM where all are gone
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return status, _end_of(out), _end_of(err)


def _end_of(file: IO[bytes]) -> str:
    file.seek(max(0, file.seek(0, os.SEEK_END) - _MOST_WRITTEN))
    return file.read().decode("utf-8", "replace")


def _new_enough(given: str, path: str, version: str, numpy: str) -> None:
    if _numbers(version) < OLDEST_PYTHON:
        raise BackendError(f"{given}: Python {version} is too old; a backend's process needs {_dots(OLDEST_PYTHON)}")
    if numpy == "None":
        install = shlex.join([path, "-m", "pip", "install", "numpy"])
        raise BackendError(f"{given}: this Python {version} has no NumPy; install it: {install}")
    if _numbers(numpy) < OLDEST_NUMPY:
        raise BackendError(f"{given}: NumPy {numpy} is too old; a backend's process needs {_dots(OLDEST_NUMPY)}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _dots(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version)) + " or later"


def _loads(backend: RemoteBackend, text: str, python: str | None) -> None:
    """Start it once. What is to be installed is to be installed in its own interpreter."""
    try:
        _ = backend.hello
    except BackendError as error:
        if python is None:
            raise
        message, advice, _rest = str(error).partition("; install it: ")
        built_in = registry.BUILT_IN.get(registry.Label.of(text).backend)
        if advice and built_in:
            install = shlex.join([executable(python), "-m", "pip", "install", built_in.packages[0]])
            raise NotInstalled(f"{message} in {python}; install it there: {install}") from None
        raise type(error)(f"{error} (in {python})") from None
