"""From a file, a module or a class to a backend, and each way of not getting there in one line.

It may import `backend` alone.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import zlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from .backend import METHODS, BackendError, BackendImportError, NotInstalled, missing_methods

__all__ = ["import_file", "import_module", "importable", "instantiate", "last_line", "lookup", "not_installed"]

# Frames of these files are the way to an error, not its place.
_NOT_THEIRS = {__file__, str(Path(__file__).with_name("registry.py")), importlib.__file__, metadata.__file__}


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


def importable(module: str) -> bool:
    """Tell whether the package that ``module`` is in can be found, without importing it."""
    _cwd_on_path()
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def not_installed(error: BaseException, name: str) -> str:
    """Say how to install the framework ``name`` if that is what ``error`` misses, or nothing."""
    if isinstance(error, ModuleNotFoundError) and error.name == name:
        return f"{error}; install it: pip install 'convspec[{name}]'"
    return ""


def _cwd_on_path() -> None:
    # As `python -m` does, and the installed script does not: a module beside the caller is found.
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def import_module(text: str, name: str) -> ModuleType:
    """Import a module; the working directory is looked in too, as `python -m` does."""
    _cwd_on_path()
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise BackendImportError(f"{text}: {last_line(error)}") from error


def import_file(text: str, file: str) -> ModuleType:
    """Run a Python file as a module of its own."""
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise BackendImportError(f"{text}: there is no file {path}")
    # A name of its own: a file called torch.py must not become the module torch.
    module_name = f"_convspec_backend_{zlib.crc32(str(path).encode()):08x}_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise BackendImportError(f"{text}: {path.name} is not a Python file (its name must end in .py)")
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
        raise BackendImportError(f"{text}: {last_line(error)}") from error
    return module


def lookup(module: ModuleType, text: str, name: str, attribute: str) -> Any:
    """Return what ``attribute``, which may be dotted, is in a module."""
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            names = [key for key in vars(found) if not key.startswith("_")] if hasattr(found, "__dict__") else []
            close = difflib.get_close_matches(part, names, 1, 0.5)
            offers = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(names) or 'no public name'}"
            raise BackendImportError(f"{text}: there is no {part!r} in {name}; {offers}") from None
    return found


def instantiate(found: Any, text: str, named: Mapping[str, str] | None = None, ours: str = "") -> Any:
    """Create an object of ``found`` where it is a class, with the arguments ``named``, and see that it is a backend.

    ``ours`` is the framework that one of our own extras installs.
    """
    if isinstance(found, type):
        try:
            found = found(**(named or {}))
        except BackendError:
            raise
        except (Exception, SystemExit) as error:
            if ours and (missing := not_installed(error, ours)):
                raise NotInstalled(f"{text}: {missing}") from error
            raise BackendImportError(f"{text}: it could not be created: {last_line(error)}") from error
    if len(missing_methods(found)) == len(METHODS):
        kind = type(found).__name__
        raise BackendImportError(f"{text}: a {kind} with none of a backend's methods ({', '.join(METHODS)})")
    return found
