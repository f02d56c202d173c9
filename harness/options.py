"""What is wrong with the options of several commands, in words: each function says it, or nothing.

May import the standard library only, and matplotlib or Jinja2 to see that it is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def no_folder(option: str, file: str) -> str:
    """Say that the folder of a file which is to be written is not there.

    >>> no_folder("--json", "nowhere/at/all.json")  # doctest: +ELLIPSIS
    '--json nowhere/at/all.json: there is no folder ...nowhere/at'
    >>> no_folder("--json", "here.json")
    ''
    """
    folder = Path(file).resolve().parent
    return "" if folder.is_dir() else f"{option} {file}: there is no folder {folder}"


def same_file(asked: Iterable[tuple[str, str]]) -> str:
    """Say that two options (each with its file) name one file, of which the second would overwrite the first.

    >>> same_file([("--json", "r.out"), ("--junit", "./r.out")])
    '--json r.out and --junit ./r.out: this is one file; name two'
    >>> same_file([("--json", "/dev/null"), ("--junit", "/dev/null"), ("--badge", "r.svg")])
    ''
    """
    seen: dict[Path, str] = {}
    for option, file in asked:
        path = Path(file).resolve()
        if path in seen and (path.is_file() or not path.exists()):
            return f"{seen[path]} and {option} {file}: this is one file; name two"
        seen[path] = f"{option} {file}"
    return ""


def unwritten(option: str, file: str, error: OSError) -> str:
    """Say why a file could not be written after all.

    >>> unwritten("--json", "r.json", OSError(28, "No space left on device"))
    '--json r.json: No space left on device'
    """
    return f"{option} {file}: {error.strerror or error}"


def no_matplotlib() -> str:
    """Say that what draws pictures cannot be imported, and what to do."""
    return _missing("matplotlib.figure", "matplotlib, which draws the pictures,", "mnist")


def no_jinja2() -> str:
    """Say that what fills in the page cannot be imported, and what to do."""
    return _missing("jinja2", "Jinja2, which makes the page,", "page")


def _missing(module: str, what: str, extra: str) -> str:
    try:
        __import__(module)  # an extra: the library needs NumPy alone
    except ImportError as error:
        return f"{what} cannot be imported ({error}); run `python -m pip install 'convspec[{extra}]'`"
    return ""
