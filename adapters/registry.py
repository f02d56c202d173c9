"""From the name on the command line to a backend.

``torch``, ``torch:cuda``, ``tensorflow:gpu@xla``: a built-in, ``name[:device][@mode]``; ``numpy:definition`` and
``numpy:fast``: the form of the reference; ``package.module:NAME`` and ``path/to/file.py:NAME``: any object or class
with the methods; ``name[:device][@mode]`` too: an entry point in group ``convspec.backends``; ``command:PROGRAM
ARGUMENTS``: a worker in any language, which the harness runs. ``torch@*`` is every mode of a device: see `expand`.

An entry point names an object or a class, as a file does. A class may say what can follow its name, by two class
attributes; the first of each is what it takes where none is named::

    devices = ("cpu", "gpu")
    modes = {"eager": "one line that says what it is", "jit": Mode("one line", compiles=True)}

and is then created with ``device=`` and ``mode=``, those that were named. Where its module has a function ``probe()``,
`devices.found` calls it, in a process of its own, for a list of ``(device, available, how that was detected)``.
The class must not need its framework before it is created.

It may import `backend`, `loading` and the tables of modes at its top; frameworks and their adapters are imported
when one is loaded.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NamedTuple

from . import tensorflow_modes, torch_modes
from .backend import BackendError, BackendImportError, DeviceUnavailable, NotInstalled, UnknownBackend
from .loading import import_file, import_module, importable, instantiate, last_line, lookup, not_installed
from .modes import Mode

__all__ = [
    "BUILT_IN",
    "GROUP",
    "BackendName",
    "Label",
    "compiles",
    "default_mode",
    "entry_points",
    "expand",
    "load",
    "parse",
]

#: The entry-point group in which other distributions offer backends.
GROUP = "convspec.backends"


class BuiltIn(NamedTuple):
    """A backend that ships with convspec: where its class is, and what may follow its name."""

    module: str
    cls: str
    devices: tuple[str, ...]
    modes: Mapping[str, Mode]
    packages: tuple[str, ...]  # distributions that may provide it, the likeliest first


_NUMPY_MODES = {"fast": Mode("the reference, as matrix products"), "definition": Mode("the literal sums and maxima")}

#: The built-in backends. The first device and the first mode are those taken when none is named.
BUILT_IN = {
    "numpy": BuiltIn("convspec.adapters.numpy_backend", "NumpyBackend", (), _NUMPY_MODES, ("numpy",)),
    "torch": BuiltIn(
        "convspec.adapters.torch_backend", "TorchBackend", ("cpu", "cuda", "mps"), torch_modes.MODES, ("torch",)
    ),
    "tensorflow": BuiltIn(
        "convspec.adapters.tensorflow_backend",
        "TensorflowBackend",
        ("cpu", "gpu"),
        tensorflow_modes.MODES,
        ("tensorflow", "tensorflow-cpu", "tf-nightly", "tensorflow-intel", "tensorflow-macos"),
    ),
}

_COMMAND = "command:"

# Names that people type and no similarity of letters would lead home.
_HINTS = {"tf": "tensorflow", "pytorch": "torch", "np": "numpy", "reference": "numpy", "definition": "numpy:definition"}


@dataclass(frozen=True)
class BackendName:
    """A name taken apart: ``kind`` is ``"built-in"``, ``"file"``, ``"module"``, ``"entry point"`` or ``"command"``.

    ``name`` is the built-in, the path, the module, the entry point or the command line; ``attribute`` is NAME for files
    and modules; ``device`` and ``mode`` are None where the text names none.
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
        The name, its device or its mode is not known: those known, and the closest one, are in the message. What may
        follow an entry point's name is not known before it is loaded.

    Examples
    --------
    >>> parse("torch:cuda@eager")
    BackendName(text='torch:cuda@eager', name='torch', device='cuda', mode='eager', attribute=None, kind='built-in')
    >>> parse("numpy:definition").mode
    'definition'
    >>> parse("kernels/mine.py:Mine").attribute
    'Mine'
    """
    if text.startswith(_COMMAND):
        return _command(text)
    head, colon, tail = text.rpartition(":")
    if text.endswith(".py") or (not colon and "/" in text):
        raise UnknownBackend(f"{text}: which object in that file? Write {text}:NAME")
    if colon and (head.endswith(".py") or "/" in head or "\\" in head):
        return BackendName(text, head, attribute=_attribute(text, tail), kind="file")
    base, _, mode = text.partition("@")
    name, _, device = base.partition(":")
    if name in BUILT_IN:
        return _built_in(text, name, device, mode)
    points = entry_points()
    if name in points:
        _check_named(text, device, mode)
        return BackendName(text, name, device or None, mode or None, kind="entry point")
    close = name in _HINTS or (difflib.get_close_matches(name, [*BUILT_IN, *points]) and not importable(head))
    if colon and not close:
        return BackendName(text, head, attribute=_attribute(text, tail), kind="module")
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
    BackendError
        The name is a command, which is not loaded.

    Examples
    --------
    >>> load("numpy").name
    'numpy'
    """
    name = parse(text)
    if name.kind == "built-in":
        return _load_built_in(name)
    if name.kind == "entry point":
        return _load_entry_point(name)
    if name.kind == "command":
        raise BackendError(f"{text}: a command is run by the harness as a process of its own, not loaded into this one")
    module = import_file(text, name.name) if name.kind == "file" else import_module(text, name.name)
    return instantiate(lookup(module, text, name.name, name.attribute or ""), text)


def expand(texts: Iterable[str]) -> list[str]:
    """Replace each ``name[:device]@*`` by every mode that the device has and this machine does not lack.

    Parameters
    ----------
    texts
        Names of backends; those without ``@*`` stay as they are. None comes twice.

    Raises
    ------
    UnknownBackend, BackendImportError
        What stands before ``@*`` is no backend with modes.

    Examples
    --------
    >>> expand(["numpy@*", "kernels/mine.py:Mine", "numpy@fast"])
    ['numpy@fast', 'numpy@definition', 'kernels/mine.py:Mine']
    """
    names: list[str] = []
    for text in texts:
        head, wildcard, rest = text.partition("@*")
        every = wildcard and (not rest or rest.startswith("%"))  # %NAME is the interpreter that the harness takes
        names += [f"{head}@{mode}{rest}" for mode in _all_modes(text, head)] if every else [text]
    return list(dict.fromkeys(names))


def compiles(text: str, *, slowly: bool = False) -> bool:
    """Tell whether a backend compiles anew for each shape, so that a run had better ask it fewer of them.

    Parameters
    ----------
    text
        A backend's name.
    slowly
        Tell whether that takes seconds.

    Examples
    --------
    >>> compiles("torch@compile"), compiles("torch"), compiles("tensorflow@xla", slowly=True)
    (True, False, False)
    """
    name = parse(text)
    _, modes = _offer(name)
    mode = modes[name.mode or next(iter(modes))] if modes else None
    return mode is not None and (mode.slowly if slowly else mode.compiles)


class Label(NamedTuple):
    """The words of a backend's label: ``backend[:device][@mode][%interpreter]``; empty where one is not there."""

    backend: str
    device: str = ""
    mode: str = ""
    interpreter: str = ""

    @classmethod
    def of(cls, text: str) -> Label:
        """Take a label apart, whatever it names; nothing is looked up, and nothing refused.

        Examples
        --------
        >>> Label.of("torch:cuda@tf32%old")
        Label(backend='torch', device='cuda', mode='tf32', interpreter='old')
        >>> Label.of("path/to/file.py:Mine").backend
        'path/to/file.py'
        """
        name, _, interpreter = text.partition("%")
        base, _, mode = name.partition("@")
        backend, _, device = base.partition(":")
        return cls(backend, device, mode, interpreter)


def default_mode(text: str) -> str:
    """Name the mode that a backend is in where its name says none; empty where it has no modes.

    Examples
    --------
    >>> default_mode("tensorflow"), default_mode("numpy")
    ('eager', 'fast')
    """
    return next(iter(_offer(parse(text))[1]), "")


def _command(text: str) -> BackendName:
    command = text.removeprefix(_COMMAND).strip()
    if not command:
        raise UnknownBackend(f"{text}: which command? Write {_COMMAND}PROGRAM ARGUMENTS")
    return BackendName(text, command, kind="command")


def _built_in(text: str, name: str, device: str, mode: str) -> BackendName:
    entry = BUILT_IN[name]
    if not entry.devices and device in entry.modes and not mode:
        device, mode = "", device  # numpy:definition: there is no device, what follows the colon is the form
    if (":" in text and not device and not mode) or (device and device not in entry.devices):
        noun, choices = ("device", entry.devices) if entry.devices else ("form", entry.modes)
        raise UnknownBackend(f"{text}: {name} has no {noun} {device!r}; {_choices(name, ':', device, choices)}")
    if "@" in text:
        _check_mode(text, name, device, mode, entry.devices, entry.modes)
    return BackendName(text, name, device or None, mode or None)


def _check_named(text: str, device: str, mode: str) -> None:
    for mark, noun, given in ((":", "device", device), ("@", "mode", mode)):
        if mark in text and not given:
            raise UnknownBackend(f"{text}: which {noun}? Write NAME[:DEVICE][@MODE]")


def _check_mode(
    text: str, name: str, device: str, mode: str, devices: tuple[str, ...], modes: Mapping[str, Mode]
) -> None:
    if mode not in modes:
        raise UnknownBackend(f"{text}: {name} has no mode {mode!r}; {_choices(name, '@', mode, modes)}")
    needed = modes[mode].devices
    if needed and (device or devices[0]) not in needed:
        places = " or ".join(f"{name}:{device}@{mode}" for device in needed)
        raise UnknownBackend(f"{text}: mode {mode!r} is for another device than {device or devices[0]}; write {places}")


def _offer(name: BackendName) -> tuple[tuple[str, ...], Mapping[str, Mode]]:
    """The devices and the modes that may follow a name."""
    if name.kind == "built-in":
        return BUILT_IN[name.name].devices, BUILT_IN[name.name].modes
    if name.kind != "entry point":
        return (), {}
    found = _entry_point(name)
    modes = {key: Mode(mode) if isinstance(mode, str) else mode for key, mode in getattr(found, "modes", {}).items()}
    return tuple(getattr(found, "devices", ())), modes


def _all_modes(text: str, head: str) -> list[str]:
    name = parse(head)
    devices, modes = _offer(name)
    if not modes:
        raise UnknownBackend(f"{text}: {name.name} has no modes; name it without @*")
    device = name.device or (devices[0] if devices else "")
    fit = [mode for mode in modes if not modes[mode].devices or device in modes[mode].devices]
    return [mode for mode in fit if not modes[mode].lacks()]


def _choices(name: str, mark: str, given: str, choices: Iterable[str]) -> str:
    # Of devices none is close to another: the nearest word to gpu is cpu.
    close = difflib.get_close_matches(given.lower(), list(choices), 1) if mark == "@" else []
    hint = f"did you mean {name + mark + close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(name + mark + choice for choice in choices)}"


def _known(name: str) -> str:
    names = [*BUILT_IN, *sorted(entry_points().keys() - BUILT_IN.keys())]
    close = difflib.get_close_matches(name.lower(), names, 1, 0.5)
    closest = _HINTS.get(name.lower()) or (close[0] if close else None)
    known = f"known: {', '.join(names)}, package.module:NAME, path/to/file.py:NAME, {_COMMAND}PROGRAM"
    return f"did you mean {closest!r}? {known}" if closest else known


def entry_points() -> dict[str, metadata.EntryPoint]:
    """Return the entry points of the group by name."""
    return {point.name: point for point in metadata.entry_points(group=GROUP)}


def _attribute(text: str, attribute: str) -> str:
    if not all(part.isidentifier() for part in attribute.split(".")):
        raise UnknownBackend(f"{text}: {attribute!r} is no name of an object; write FILE.py:NAME or MODULE:NAME")
    return attribute


def _load_built_in(name: BackendName) -> Any:
    entry = BUILT_IN[name.name]
    mode = name.mode or next(iter(entry.modes))
    if lack := entry.modes[mode].lacks():
        raise DeviceUnavailable(f"{name.text}: {lack}")
    arguments = {"mode": mode}
    if entry.devices:
        arguments["device"] = name.device or entry.devices[0]
    try:
        return getattr(importlib.import_module(entry.module), entry.cls)(**arguments)
    except BackendError:
        raise
    except Exception as error:  # a broken wheel, a missing shared library, a driver that is too old
        if missing := not_installed(error, name.name):
            raise NotInstalled(f"{name.text}: {missing}") from error
        raise BackendImportError(f"{name.text}: {last_line(error)}") from error


def _in_module(module: str, attribute: str) -> Any:
    with contextlib.suppress(BackendImportError):
        return lookup(import_module(module, module), module, module, attribute) if importable(module) else None
    return None


def _entry_point(name: BackendName) -> Any:
    point = entry_points()[name.name]
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise BackendImportError(f"{name.text} (entry point {point.value}): {last_line(error)}") from error


def _load_entry_point(name: BackendName) -> Any:
    found = _entry_point(name)
    devices, modes = _offer(name)
    if name.device and not (devices or name.mode) and (other := _in_module(name.name, name.device)) is not None:
        return instantiate(other, name.text)  # an entry point is called like its module, and no device can be meant
    if name.device and name.device not in devices:
        known = _choices(name.name, ":", name.device, devices) if devices else "it has none to choose"
        raise UnknownBackend(f"{name.text}: {name.name} has no device {name.device!r}; {known}")
    if name.mode and not modes:
        raise UnknownBackend(f"{name.text}: {name.name} has no mode {name.mode!r}; it has none to choose")
    if name.mode:
        _check_mode(name.text, name.name, name.device or "", name.mode, devices, modes)
    chosen = modes.get(name.mode or next(iter(modes), ""))
    if chosen and (lack := chosen.lacks()):
        raise DeviceUnavailable(f"{name.text}: {lack}")
    named = {key: value for key, value in (("device", name.device), ("mode", name.mode)) if value}
    dist = entry_points()[name.name].dist
    return instantiate(found, name.text, named, name.name if dist and dist.name == "convspec" else "")
