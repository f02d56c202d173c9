"""The zoo: wrong backends that the suite must catch, and right ones that it must spare.

`ZOO` and `RIGHT` map names to classes. Each class can also be named to the command line, as
`tests/mutants/wrong_geometry.py:OddPixelFirst`. A wrong class carries its `Mutant` record in `cls.zoo`.
"""

import importlib
import inspect
from pathlib import Path

from mutants.calls import Mutant

__all__ = ["RIGHT", "ZOO", "Mutant", "where"]


def _classes(pattern, wanted):
    found = {}
    for path in sorted(Path(__file__).parent.glob(pattern)):
        module = importlib.import_module(f"mutants.{path.stem}")
        for name, value in vars(module).items():
            if inspect.isclass(value) and value.__module__ == module.__name__ and wanted in vars(value):
                found[name] = value
    return found


def where(cls):
    """The name of a class on the command line, from the repository's root."""
    return f"tests/mutants/{cls.__module__.rpartition('.')[2]}.py:{cls.__name__}"


ZOO = _classes("wrong_*.py", "zoo")
RIGHT = _classes("right*.py", "spared")
