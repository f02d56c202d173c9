"""What options of several commands refuse, before any work: each function says what is wrong, or nothing.

May import the standard library only, and matplotlib or Jinja2 to see that it is there.
"""

from __future__ import annotations

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


def no_matplotlib() -> str:
    """Say that what draws pictures cannot be imported, and what to do."""
    try:
        import matplotlib.figure  # noqa: F401, PLC0415 - the library needs NumPy alone
    except ImportError as error:
        told = f"matplotlib, which draws the pictures, cannot be imported ({error})"
        return f"{told}; run `python -m pip install 'convspec[mnist]'`"
    return ""


def no_jinja2() -> str:
    """Say that what fills in the page cannot be imported, and what to do."""
    try:
        import jinja2  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        told = f"Jinja2, which makes the page, cannot be imported ({error})"
        return f"{told}; run `python -m pip install 'convspec[page]'`"
    return ""
