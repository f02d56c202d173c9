"""Known wrong readings of the specification: what a failure is explained by, and a run's power is measured with.

May import NumPy and ml_dtypes; nothing of ours. Each reading is a right backend with one decision changed, told from it
by a recorded call. Right variants, which a run must spare, lie beside them. What is wrong in other ways than by its
answer to one call (state, memory, errors, crashes) is in the project's tests: it explains no answer.

>>> known()["OddPixelFirst"].zoo.what
'SAME puts the odd pixel first'
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["classes", "known", "spared", "told_in"]


def classes(package: str, path: Any, prefix: str, attribute: str) -> dict[str, Any]:
    """The classes that have `attribute` of their own, by name, in modules of a package that begin with `prefix`."""
    found = {}
    for module_info in sorted(pkgutil.iter_modules(path), key=lambda m: m.name):
        if not module_info.name.startswith(prefix):
            continue
        module = importlib.import_module(f"{package}.{module_info.name}")
        for name, value in vars(module).items():
            if inspect.isclass(value) and value.__module__ == module.__name__ and attribute in vars(value):
                found[name] = value
    return found


@cache
def known() -> dict[str, Any]:
    """The wrong readings by name; each class carries its class of fault, what it does, and a call that shows it."""
    return classes(__name__, __path__, "wrong_", "zoo")


@cache
def spared() -> dict[str, Any]:
    """Right backends that look unusual, by name."""
    return classes(__name__, __path__, "right_", "spared")


@cache
def told_in() -> dict[str, tuple[tuple[str, str], ...]]:
    """Where a run tells a reading apart soonest: a cell (clause, dtype) of level quick; a reading may be missing."""
    path = Path(__file__).parent / "told.json"
    recorded = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name: tuple((clause, dtype) for clause, dtype in cells) for name, cells in recorded.items()}
