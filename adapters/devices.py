"""The list of what is there: each backend that has a name, its version, its devices and its modes.

No framework is imported here: versions are read from the packages' metadata, and each framework is asked for its
devices in a process of its own. It may import `registry`, `loading` and `modes`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from . import registry
from .loading import importable
from .modes import Mode

__all__ = ["Device", "Found", "found"]


_NOT_INSTALLED = "the package {name} is not installed: pip install 'convspec[{name}]'"


@dataclass(frozen=True)
class Device:
    """A device of a backend; ``available`` is None where it could not be told, and ``how`` says why."""

    name: str
    available: bool | None
    how: str


@dataclass(frozen=True)
class Found:
    """A backend that can be named: its package's ``version``, or ``why_not``; its devices and modes.

    ``kind`` is ``"built-in"`` or ``"entry point"``.
    """

    name: str
    kind: str
    version: str | None
    why_not: str | None
    devices: tuple[Device, ...] = ()
    modes: Mapping[str, Mode] = field(default_factory=dict)


def found(timeout: float = 60.0) -> list[Found]:
    """List the backends that have a name here: the built-in ones, then the entry points.

    Parameters
    ----------
    timeout
        Seconds after which a framework that has not answered is given up.

    Examples
    --------
    >>> found()[0].name  # doctest: +SKIP
    'numpy'
    """
    points = [point for name, point in sorted(registry.entry_points().items()) if name not in registry.BUILT_IN]
    asked = {name for name, entry in registry.BUILT_IN.items() if entry.devices and importable(name)}
    # All at the same time: a framework takes seconds to import.
    probes = {name: _start(registry.BUILT_IN[name].module) for name in asked}
    probes |= {point.name: _start(point.module, point.attr) for point in points if not _missing(point)}
    deadline = time.monotonic() + timeout
    answers = {name: _finish(probe, deadline - time.monotonic()) for name, probe in probes.items()}
    built_in = [_built_in(name, answers.get(name)) for name in registry.BUILT_IN]
    return built_in + [_entry_point(point, answers.get(point.name, {"why_not": _missing(point)})) for point in points]


def _built_in(name: str, answer: dict[str, Any] | None) -> Found:
    entry = registry.BUILT_IN[name]
    version = _version(entry.packages)
    if answer is None:
        missing = _NOT_INSTALLED.format(name=name) if entry.devices else None
        return Found(name, "built-in", version, missing, (), entry.modes)
    return Found(name, "built-in", version, answer.get("why_not"), _devices(answer, entry.devices), entry.modes)


def _entry_point(point: metadata.EntryPoint, answer: dict[str, Any]) -> Found:
    # The version of what it is called after where it is one of convspec's own, which are called so.
    version = _version((point.name,)) if _ours(point) or point.dist is None else point.dist.version
    modes = {name: Mode(what) for name, what in answer.get("modes", {}).items()}
    devices = _devices(answer, tuple(answer.get("names", ())))
    return Found(point.name, "entry point", version, answer.get("why_not"), devices, modes)


def _ours(point: metadata.EntryPoint) -> bool:
    return point.dist is not None and point.dist.name == "convspec"


def _missing(point: metadata.EntryPoint) -> str:
    return _NOT_INSTALLED.format(name=point.name) if _ours(point) and not importable(point.name) else ""


def _devices(answer: dict[str, Any], names: tuple[str, ...]) -> tuple[Device, ...]:
    if answer.get("devices"):
        return tuple(Device(*device) for device in answer["devices"])
    return tuple(Device(name, None, answer.get("untold", "")) for name in names) if "why_not" not in answer else ()


# What a probe runs: the module's own `probe()` where it has one, and what a class says of itself. The mark tells the
# answer from whatever a framework prints.
_MARK = "convspec-devices:"
_PROBE = f"""
import importlib, json, operator, sys
module, attribute = sys.argv[1:]
module = importlib.import_module(module)
offer = operator.attrgetter(attribute)(module) if attribute else None
names, modes = tuple(getattr(offer, "devices", ())), dict(getattr(offer, "modes", {{}}))
modes = {{name: mode if isinstance(mode, str) else mode.what for name, mode in modes.items()}}
devices = module.probe() if hasattr(module, "probe") else []
print('\\n{_MARK}' + json.dumps({{"names": names, "modes": modes, "devices": devices}}))
"""


def _start(module: str, attribute: str = "") -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", _PROBE, module, attribute]
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _finish(probe: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    try:
        output, errors = probe.communicate(timeout=max(seconds, 0.1))
    except subprocess.TimeoutExpired:
        probe.kill()
        probe.communicate()
        return {"untold": "its package did not import in the time given"}
    answers = [line.removeprefix(_MARK) for line in output.splitlines() if line.startswith(_MARK)]
    if probe.returncode == 0 and answers:
        answer: dict[str, Any] = json.loads(answers[-1])
        return answer
    lines = [line for line in errors.splitlines() if line.strip()]
    return {"why_not": f"it does not import: {lines[-1] if lines else f'exit status {probe.returncode}'}"}


def _version(packages: tuple[str, ...]) -> str | None:
    for package in packages:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return None
