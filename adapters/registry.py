"""From the name on the command line to a backend, and the list of what is there.

``torch``, ``torch:cuda``, ``tensorflow:gpu@eager``: a built-in, ``name[:device][@mode]``; ``numpy:definition`` and
``numpy:fast``: the form of the reference; ``package.module:NAME`` and ``path/to/file.py:NAME``: any object or class
with the methods; ``name``: an entry point in group ``convspec.backends``.

It may import `backend` alone at its top; frameworks and their adapters are imported when one is loaded.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time
import zlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from .backend import METHODS, BackendError, BackendImportError, UnknownBackend, missing_methods

__all__ = ["BUILT_IN", "GROUP", "BackendName", "Device", "Found", "found", "load", "parse"]

#: The entry-point group in which other distributions offer backends.
GROUP = "convspec.backends"


class BuiltIn(NamedTuple):
    """A backend that ships with convspec: where its class is, and what may follow its name."""

    module: str
    cls: str
    devices: tuple[str, ...]
    modes: tuple[str, ...]
    packages: tuple[str, ...]  # distributions that may provide it, the likeliest first


#: The built-in backends. The first device and the first mode are those taken when none is named.
BUILT_IN = {
    "numpy": BuiltIn("convspec.adapters.numpy_backend", "NumpyBackend", (), ("fast", "definition"), ("numpy",)),
    "torch": BuiltIn("convspec.adapters.torch_backend", "TorchBackend", ("cpu", "cuda", "mps"), ("eager",), ("torch",)),
    "tensorflow": BuiltIn(
        "convspec.adapters.tensorflow_backend",
        "TensorflowBackend",
        ("cpu", "gpu"),
        ("eager", "noonednn"),
        ("tensorflow", "tensorflow-cpu", "tf-nightly", "tensorflow-intel", "tensorflow-macos"),
    ),
}

# Frames of these files are the way to an error, not its place.
_NOT_THEIRS = {__file__, importlib.__file__, metadata.__file__}

# Names that people type and no similarity of letters would lead home.
_HINTS = {"tf": "tensorflow", "pytorch": "torch", "np": "numpy", "reference": "numpy", "definition": "numpy:definition"}


@dataclass(frozen=True)
class BackendName:
    """A name taken apart: ``kind`` is ``"built-in"``, ``"file"``, ``"module"`` or ``"entry point"``.

    ``name`` is the built-in, the path, the module or the entry point; ``attribute`` is NAME for files and modules;
    ``device`` and ``mode`` are None where the text names none (and always None outside the built-ins).
    """

    text: str
    name: str
    device: str | None = None
    mode: str | None = None
    attribute: str | None = None
    kind: str = "built-in"


def parse(text: str) -> BackendName:
    """Take a backend's name apart, without importing anything.

    Parameters
    ----------
    text
        One of the forms in this file's first lines.

    Raises
    ------
    UnknownBackend
        The name, its device or its mode is not known: those known, and the closest one, are in the message.

    Examples
    --------
    >>> parse("torch:cuda@eager")
    BackendName(text='torch:cuda@eager', name='torch', device='cuda', mode='eager', attribute=None, kind='built-in')
    >>> parse("numpy:definition").mode
    'definition'
    >>> parse("kernels/mine.py:Mine").attribute
    'Mine'
    """
    head, colon, tail = text.rpartition(":")
    if text.endswith(".py") or (not colon and "/" in text):
        raise UnknownBackend(f"{text}: which object in that file? Write {text}:NAME")
    if colon and (head.endswith(".py") or "/" in head or "\\" in head):
        return BackendName(text, head, attribute=_attribute(text, tail), kind="file")
    base, _, mode = text.partition("@")
    name, _, device = base.partition(":")
    if name in BUILT_IN:
        return _built_in(text, name, device, mode)
    if colon and not (name in _HINTS or (difflib.get_close_matches(name, BUILT_IN) and not _importable(head))):
        return BackendName(text, head, attribute=_attribute(text, tail), kind="module")
    if not colon and text in {point.name for point in metadata.entry_points(group=GROUP)}:
        return BackendName(text, text, kind="entry point")
    raise UnknownBackend(f"unknown backend {text!r}; {_known(name)}")


def load(text: str) -> Any:
    """Return the backend that ``text`` names; a class is instantiated without arguments.

    Parameters
    ----------
    text
        One of the forms in this file's first lines.

    Returns
    -------
    An object with at least one of the methods of a `Backend`; the harness reports which are missing.

    Raises
    ------
    UnknownBackend, BackendImportError, DeviceUnavailable
        Each with a message of one line.

    Examples
    --------
    >>> load("numpy").name
    'numpy'
    """
    name = parse(text)
    if name.kind == "built-in":
        return _load_built_in(name)
    if name.kind == "entry point":
        point = next(point for point in metadata.entry_points(group=GROUP) if point.name == name.name)
        try:
            found = point.load()
        except (Exception, SystemExit) as error:
            raise BackendImportError(f"{text} (entry point {point.value}): {last_line(error)}") from error
    else:
        module = _import_file(name) if name.kind == "file" else _import_module(name)
        found = _lookup(module, name)
    return _instantiate(found, text)


@dataclass(frozen=True)
class Device:
    """A device of a built-in backend; ``available`` is None where it could not be told, and ``how`` says why."""

    name: str
    available: bool | None
    how: str


@dataclass(frozen=True)
class Found:
    """A backend that can be named: its package's ``version``, or ``why_not``; its devices and modes.

    ``kind`` is ``"built-in"`` or ``"entry point"``; an entry point's ``why_not`` is not known before it is loaded.
    """

    name: str
    kind: str
    version: str | None
    why_not: str | None
    devices: tuple[Device, ...] = ()
    modes: tuple[str, ...] = ()


def found(timeout: float = 60.0) -> list[Found]:
    """List the backends that have a name here: the built-in ones, then the entry points.

    No framework is imported in this process: versions are read from the packages' metadata, and each framework is
    asked for its devices in a process of its own, all at the same time.

    Parameters
    ----------
    timeout
        Seconds after which a framework that has not answered is given up.

    Examples
    --------
    >>> found()[0].name  # doctest: +SKIP
    'numpy'
    """
    probes = {name: _start_probe(entry) for name, entry in BUILT_IN.items() if entry.devices and _importable(name)}
    deadline = time.monotonic() + timeout
    backends = []
    for name, entry in BUILT_IN.items():
        version = _version(entry.packages)
        why_not: str | None = None
        devices: tuple[Device, ...] = ()
        if name in probes:
            why_not, devices = _finish_probe(probes[name], entry, deadline - time.monotonic())
        elif entry.devices:
            why_not = f"the package {name} is not installed: pip install 'convspec[{name}]'"
        backends.append(Found(name, "built-in", version, why_not, devices, entry.modes))
    for point in sorted(metadata.entry_points(group=GROUP)):
        if point.name not in BUILT_IN:
            backends.append(Found(point.name, "entry point", point.dist.version if point.dist else None, None))
    return backends


# What a probe runs. The mark tells its answer from whatever a framework prints.
_MARK = "convspec-devices:"
_PROBE = f"import importlib, json, sys; print('\\n{_MARK}' + json.dumps(importlib.import_module(sys.argv[1]).probe()))"


def _start_probe(entry: BuiltIn) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", _PROBE, entry.module]
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _finish_probe(
    probe: subprocess.Popen[str], entry: BuiltIn, seconds: float
) -> tuple[str | None, tuple[Device, ...]]:
    try:
        output, errors = probe.communicate(timeout=max(seconds, 0.1))
    except subprocess.TimeoutExpired:
        probe.kill()
        probe.communicate()
        how = "its package did not import in the time given"
        return None, tuple(Device(name, None, how) for name in entry.devices)
    answers = [line.removeprefix(_MARK) for line in output.splitlines() if line.startswith(_MARK)]
    if probe.returncode == 0 and answers:
        return None, tuple(Device(name, available, how) for name, available, how in json.loads(answers[-1]))
    lines = [line for line in errors.splitlines() if line.strip()]
    return f"it does not import: {lines[-1] if lines else f'exit status {probe.returncode}'}", ()


def _version(packages: tuple[str, ...]) -> str | None:
    for package in packages:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return None


def last_line(error: BaseException) -> str:
    """Return the last line of ``error``'s traceback, whatever line breaks its message has, and where it was raised."""
    if isinstance(error, SyntaxError):
        where = f" ({Path(error.filename or '?').name}, line {error.lineno})"
        return f"{type(error).__name__}: {error.msg}{where}"
    message = " ".join(str(error).split())
    place, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith("<frozen") and code.co_filename not in _NOT_THEIRS:
            place = f" ({Path(code.co_filename).name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}{': ' if message else ''}{message}{place}"


def _built_in(text: str, name: str, device: str, mode: str) -> BackendName:
    entry = BUILT_IN[name]
    if not entry.devices and device in entry.modes and not mode:
        device, mode = "", device  # numpy:definition: there is no device, what follows the colon is the form
    if (":" in text and not device and not mode) or (device and device not in entry.devices):
        noun, choices = ("device", entry.devices) if entry.devices else ("form", entry.modes)
        raise UnknownBackend(f"{text}: {name} has no {noun} {device!r}; known: {_forms(name, ':', choices)}")
    if "@" in text and mode not in entry.modes:
        raise UnknownBackend(f"{text}: {name} has no mode {mode!r}; known: {_forms(name, '@', entry.modes)}")
    return BackendName(text, name, device or None, mode or None)


def _forms(name: str, mark: str, choices: tuple[str, ...]) -> str:
    return ", ".join(f"{name}{mark}{choice}" for choice in choices)


def _known(name: str) -> str:
    names = [*BUILT_IN, *sorted({point.name for point in metadata.entry_points(group=GROUP)} - BUILT_IN.keys())]
    close = difflib.get_close_matches(name.lower(), names, 1, 0.5)
    closest = _HINTS.get(name.lower()) or (close[0] if close else None)
    known = f"known: {', '.join(names)}, package.module:NAME, path/to/file.py:NAME"
    return f"did you mean {closest!r}? {known}" if closest else known


def _importable(module: str) -> bool:
    _cwd_on_path()
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _attribute(text: str, attribute: str) -> str:
    if not all(part.isidentifier() for part in attribute.split(".")):
        raise UnknownBackend(f"{text}: {attribute!r} is no name of an object; write FILE.py:NAME or MODULE:NAME")
    return attribute


def _load_built_in(name: BackendName) -> Any:
    entry = BUILT_IN[name.name]
    arguments = {"mode": name.mode or entry.modes[0]}
    if entry.devices:
        arguments["device"] = name.device or entry.devices[0]
    try:
        return getattr(importlib.import_module(entry.module), entry.cls)(**arguments)
    except BackendError:
        raise
    except ModuleNotFoundError as error:
        if error.name == name.name:
            missing = f"{name.text}: {error}; install it: pip install 'convspec[{name.name}]'"
            raise BackendImportError(missing) from error
        raise BackendImportError(f"{name.text}: {last_line(error)}") from error
    except Exception as error:  # a broken wheel, a missing shared library, a driver that is too old
        raise BackendImportError(f"{name.text}: {last_line(error)}") from error


def _cwd_on_path() -> None:
    # As `python -m` does, and the installed script does not: a module beside the caller is found.
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def _import_module(name: BackendName) -> ModuleType:
    _cwd_on_path()
    try:
        return importlib.import_module(name.name)
    except (Exception, SystemExit) as error:
        raise BackendImportError(f"{name.text}: {last_line(error)}") from error


def _import_file(name: BackendName) -> ModuleType:
    path = Path(name.name).expanduser().resolve()
    if not path.is_file():
        raise BackendImportError(f"{name.text}: there is no file {path}")
    # A name of its own: a file called torch.py must not become the module torch.
    module_name = f"_convspec_backend_{zlib.crc32(str(path).encode()):08x}_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise BackendImportError(f"{name.text}: {path.name} is not a Python file (its name must end in .py)")
    module = importlib.util.module_from_spec(spec)
    added = str(path.parent) not in sys.path
    if added:
        sys.path.insert(0, str(path.parent))  # so that files beside it import, as when Python runs it
    sys.modules[module_name] = module  # dataclasses and pickle look their module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        if added:
            sys.path.remove(str(path.parent))
        raise BackendImportError(f"{name.text}: {last_line(error)}") from error
    return module


def _lookup(module: ModuleType, name: BackendName) -> Any:
    found: Any = module
    for part in (name.attribute or "").split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            names = [key for key in vars(found) if not key.startswith("_")] if hasattr(found, "__dict__") else []
            close = difflib.get_close_matches(part, names, 1, 0.5)
            offers = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(names) or 'no public name'}"
            raise BackendImportError(f"{name.text}: there is no {part!r} in {name.name}; {offers}") from None
    return found


def _instantiate(found: Any, text: str) -> Any:
    if isinstance(found, type):
        try:
            found = found()
        except BackendError:
            raise
        except (Exception, SystemExit) as error:
            raise BackendImportError(f"{text}: it could not be created: {last_line(error)}") from error
    if len(missing_methods(found)) == len(METHODS):
        kind = type(found).__name__
        raise BackendImportError(f"{text}: a {kind} with none of a backend's methods ({', '.join(METHODS)})")
    return found
