"""Which process runs which cell: every backend in as few as asked, all tests of a cell in one, the work evenly shared.

May import xdist, when asked for a scheduler. The shares follow from the tests alone, never from who is ready first:
what a cell tells apart is counted in its process, and a run must say the same each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

NODE = re.compile(r"test_(?P<slug>[a-z0-9_]+?)(__[a-z0-9_]+)?\[(?P<backend>.+)-(?P<dtype>[a-z0-9]+)\]")

#: What the costly cells take, in units of an average one; float32 is asked most.
WEIGHTS = {
    "attributes-combine": 10.0,
    "tail-sizes": 5.5,
    "calls-are-independent": 5.0,
    "algorithm-declared": 4.0,
    "effective-precision-gradients": 3.5,
    "max-pool-gradient-no-valid-tap": 3.0,
    "effective-precision": 3.0,
    "error-bound-gradients": 2.5,
}
IN_FLOAT32 = {"attributes-combine": 28.0, "tail-sizes": 8.0}

Cell = tuple[str, str]


def shares(cells: Iterable[Cell], processes: int) -> dict[Cell, int]:
    """The share, 0 to `processes` - 1, of each cell (clause, dtype): the heaviest first, each to the lightest share.

    >>> shares([("conv2d-sum", "float32"), ("attributes-combine", "float32"), ("conv2d-sum", "float64")], 2)
    {('attributes-combine', 'float32'): 0, ('conv2d-sum', 'float32'): 1, ('conv2d-sum', 'float64'): 1}
    """
    loads = [0.0] * max(processes, 1)
    out = {}
    for cell in sorted(dict.fromkeys(cells), key=_weight, reverse=True):
        least = min(range(len(loads)), key=loads.__getitem__)
        out[cell] = least
        loads[least] += _weight(cell)
    return out


def _weight(cell: Cell) -> float:
    clause, dtype = cell
    plain = WEIGHTS.get(clause, 1.0)
    return IN_FLOAT32.get(clause, plain) if dtype in ("float32", "all") else plain


def scheduler(config: Any, log: Any, processes: int) -> Any:
    """Xdist's scheduler by scopes, where a scope is the share of a backend that one process runs.

    Its own `--dist loadgroup` writes the group into each test's id, which pytest 9.2 no longer reads back.
    """
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - only there with more than one process

    class ByShare(LoadScopeScheduling):  # type: ignore[misc]
        """One scope for each share of each backend."""

        def schedule(self) -> None:
            ids = next(iter(self.registered_collections.values()), ())
            self.shares = shares((cell for cell in map(cell_of, ids) if cell), processes)
            super().schedule()

        def _split_scope(self, nodeid: str) -> str:
            match, cell = NODE.search(nodeid), cell_of(nodeid)
            return f"{match['backend']}/{self.shares[cell]}" if match and cell else nodeid

    return ByShare(config, log)


def cell_of(nodeid: str) -> Cell | None:
    """The clause and the dtype of a conformance test, by its id.

    >>> cell_of("test_geometry.py::test_same_lower[torch:cpu-float16]")
    ('same-lower', 'float16')
    """
    match = NODE.search(nodeid)
    return (match["slug"].replace("_", "-"), match["dtype"]) if match else None
