"""Start the worker in an interpreter that has no convspec: ``python launch.py PLACES BACKEND [PID]``.

PLACES is a JSON object, from package name to folder. It is run as a file, and may import the standard library alone
before the packages are placed.
"""

import importlib.util
import json
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path


class Places(MetaPathFinder):
    """Finds the packages whose folders it was told; their modules are then found in the usual way."""

    def __init__(self, places: dict[str, str]) -> None:
        self._places = places

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        """Spec of a package that was placed, or None."""
        folder = self._places.get(fullname)
        if folder is None:
            return None
        start = Path(folder) / "__init__.py"
        return importlib.util.spec_from_file_location(fullname, start, submodule_search_locations=[folder])


def main() -> None:
    """Place the packages, and become the worker."""
    places, *arguments = sys.argv[1:]
    sys.meta_path.insert(0, Places(json.loads(places)))  # before an installed convspec, which may be of another version
    sys.argv[1:] = arguments
    from convspec.harness.process import worker  # noqa: PLC0415 -- not to be found any earlier

    worker.main(arguments)


if __name__ == "__main__":
    main()
