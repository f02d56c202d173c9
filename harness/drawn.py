"""Cases drawn beforehand: what the default seed draws at `quick` and `standard` ships, so that a run need not draw it.

May import the cases; and, to draw anew, the check. Drawing took a quarter of a run. And what Hypothesis draws for a
seed hangs on its release: with the lists a seed asks the same everywhere. Other seeds, `deep`, and whatever is not in
the lists are drawn as ever, and witnesses are shrunk as ever.

After a change to a strategy, or to what a conformance test draws:

    python -m convspec.harness.drawn
"""

from __future__ import annotations

import gzip
import importlib
import importlib.resources
import json
import pkgutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from .cases.case import Case

FILE = "drawn.json.gz"
LEVELS = ("quick", "standard")
FIELDS = tuple(field.name for field in fields(Case))


def key(strategy: Any, start: int, examples: int) -> str:
    """What a list hangs on: the seed, how many are drawn, and the strategy as it would be written."""
    return f"{start}/{examples}/{zlib.crc32(repr(strategy).encode()):08x}"


def ready(strategy: Any, start: int, examples: int) -> list[Case] | None:
    """The cases that are drawn here, in order, if they ship; None: they have to be drawn.

    Examples
    --------
    >>> from hypothesis import strategies as st
    >>> ready(st.nothing(), 1, 40) is None
    True
    """
    lists = _lists()
    if f"{start}/{examples}" not in lists["starts"]:  # another seed: no strategy need be written out
        return None
    rows = lists["lists"].get(key(strategy, start, examples))
    return None if rows is None else [_case(row) for row in rows]


@cache
def _lists() -> dict[str, Any]:
    """The file's lists; none where the strategies are no more those that they were drawn from."""
    file = importlib.resources.files(__package__).joinpath(FILE)
    held = json.loads(gzip.decompress(file.read_bytes())) if file.is_file() else {"lists": {}}
    lists = held["lists"] if held.get("strategies") == digest() else {}
    return {"lists": lists, "starts": {name.rsplit("/", 1)[0] for name in lists}, "hypothesis": held.get("hypothesis")}


def digest() -> str:
    """A checksum of what the strategies are made of."""
    here = importlib.resources.files(__package__).joinpath("cases")
    texts = [here.joinpath(name).read_bytes() for name in ("strategies.py", "windows.py")]
    return f"{zlib.crc32(b''.join(text.replace(bytes([13]), b'') for text in texts)):08x}"


def _case(row: list[Any]) -> Case:
    return Case.from_dict(dict(zip(FIELDS, row, strict=True)))


# ---- to draw anew ---------------------------------------------------------------------------------------------------


def tests() -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Clause, dtype and function of every conformance test that asks through `check` alone."""
    import convspec.conformance as package  # noqa: PLC0415 - it needs pytest

    for module in pkgutil.iter_modules(package.__path__):
        for name, found in vars(importlib.import_module(f"{package.__name__}.{module.name}")).items():
            markers = [m for m in getattr(found, "pytestmark", ()) if m.name == "clause"]
            if name.startswith("test_") and markers and "single_threaded" not in found.__code__.co_varnames:
                for dtype in markers[0].kwargs["dtypes"]:
                    yield markers[0].args[0], dtype, found


def draws(level: str, seed: int) -> Iterator[tuple[Any, int, int]]:
    """Strategy, seed and number of examples of each draw of a run: what the tests ask for when nobody answers."""
    from convspec.adapters import registry  # noqa: PLC0415

    from .check import Check  # noqa: PLC0415
    from .judge import Judge  # noqa: PLC0415
    from .process.local import LocalBackend  # noqa: PLC0415
    from .verdict import Cell  # noqa: PLC0415

    class Listing(Check):
        """Takes down what is drawn, and judges nothing."""

        found: list[tuple[Any, int, int]]

        def _known(self, strategy: Any, start: int, examples: int) -> list[Case]:
            self.found.append((strategy, start, examples))
            return []

        def _list(self, *_: Any, **__: Any) -> None:
            pass

    judge = Judge(LocalBackend(registry.load("numpy")), 1)
    for slug, dtype, test in tests():
        check = Listing(judge, Cell(slug, "MUST", dtype, "numpy"), level=level, seed=seed)
        check.found = []
        test(check)
        yield from check.found


def drawn(strategy: Any, start: int, examples: int) -> list[Case]:
    """Draw them now, with the Hypothesis that is here."""
    from .explore import draw  # noqa: PLC0415

    cases: dict[Case, None] = {}
    draw(strategy, cases.setdefault, examples, start)
    return list(cases)


def make() -> None:
    """Draw every list of every level that ships, and write the file; its bytes hang on what is drawn alone."""
    import hypothesis  # noqa: PLC0415

    from .plugin import DEFAULT_SEED  # noqa: PLC0415

    lists = {
        key(*one): [[getattr(case, name) for name in FIELDS] for case in drawn(*one)]
        for level in LEVELS
        for one in draws(level, DEFAULT_SEED)
    }
    held = {"hypothesis": hypothesis.__version__, "strategies": digest(), "lists": dict(sorted(lists.items()))}
    packed = gzip.compress(json.dumps(held, separators=(",", ":")).encode(), mtime=0)
    Path(__file__).with_name(FILE).write_bytes(packed)
    print(f"{FILE}: {len(lists)} lists, {sum(map(len, lists.values())):,} cases, {len(packed):,} bytes")


if __name__ == "__main__":
    make()
