"""The document that `detection.py` prints, from its records. May import the zoo, and versions.

A call that flags a right backend proves nothing when it flags a wrong one. So a peer is told twice: as it is written,
and with the calls left out that flag a right variant which declares nothing unusual of its arithmetic.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from mutants import RIGHT, ZOO

Record = dict[str, Any]
Table = dict[str, dict[str, Record]]
Calls = dict[str, set[int]]
TITLES = {
    "quick": "convspec, quick",
    "standard": "convspec, standard",
    "deep": "convspec, deep",
    "onnx": "ONNX nodes",
    "opinfo": "PyTorch OpInfo",
    "loop": "loop, `allclose()`",
    "loop-1e-5": "loop, `allclose(atol=1e-5)`",
}
#: Right ones by a name of their own: "NoDilation" is a wrong one, and a right one that says so.
SPARED = {f"right/{name}": cls for name, cls in RIGHT.items()}
#: Calls of one peer that may flag a right variant: a wrong backend with more findings is caught by one that does not.
MOST_DISTRUSTED = 600
#: Right variants that round as anybody may: what a contract of theirs declares does not go beyond the usual bound.
PLAIN = [name for name, cls in SPARED.items() if not {"tf32", "flush_subnormals"} & set(getattr(cls, "contract", {}))
         and getattr(cls, "contract", {}).get("algorithm", "direct") == "direct"]  # fmt: skip


def document(columns: list[str], records: list[Record]) -> str:
    """All of it, as Markdown."""
    table: Table = defaultdict(dict)
    peers = {}
    for record in records:
        if "describe" in record:
            peers[record["column"]] = record
        else:
            table[record["column"]][record["name"]] = record
    distrusted = {column: set(bad_calls(table[column])) for column in columns}
    assert max(map(len, distrusted.values())) <= MOST_DISTRUSTED
    parts = [HEAD, *summary(columns, table, peers, distrusted), *by_class(columns, table, distrusted)]
    if peers:
        parts += survivors([column for column in columns if column in peers and column != "loop"], table, distrusted)
    parts += [*shown_only(columns, table), footer(columns)]
    return "\n\n".join(parts)


HEAD = """# What this suite and others catch

The wrong backends of `tests/mutants` and `harness/oracle/readings`, and the right ones, judged by this suite and by
what others would ask. `python benchmarks/detection.py --cache FOLDER > benchmarks/detection.md` writes this document
(its `--help` says what it needs); `--columns onnx opinfo loop loop-1e-5` measures the peers alone.

The zoo was written beside this suite, and the suite improved on what it missed: its own figures are those of a training
set. The peers have never seen it."""


def bad_calls(found: dict[str, Record]) -> Iterator[int]:
    """Calls that flag a right variant of plain arithmetic."""
    for name in PLAIN:
        yield from found.get(name, {"calls": ()})["calls"]


def killed(record: Record, without: set[int] | None = None) -> bool:
    """Whether it was found wrong; `without` these calls, for a peer."""
    if without and record["calls"]:
        return not set(record["calls"]) <= without
    return bool(record["caught"])


def summary(columns: list[str], table: Table, peers: dict[str, Record], distrusted: Calls) -> Iterator[str]:
    """One line a column."""
    rows = ["| | calls | wrong ones caught | right ones flagged | s a backend |", "|---|---|---|---|---|"]

    def row(title: str, column: str, calls: Any, without: set[int] | None) -> None:
        found = table[column]
        wrong, right = ([n for n in zoo if n in found] for zoo in (ZOO, SPARED))
        kills, alarms = (sum(killed(found[n], without) for n in names) for names in (wrong, right))
        seconds = sum(r["seconds"] for r in found.values()) / max(len(found), 1)
        flagged = f"{alarms} of {len(right)}" if right else "not measured here (trust.py)"
        rows.append(f"| {title} | {calls} | {kills} of {len(wrong)} | {flagged} | {seconds:.2f} |")

    for column in columns:
        count = peers[column]["count"] if column in peers else ""
        row(TITLES[column], column, f"{count:,}" if count else "until one fails", None)
        if distrusted[column]:
            kept = count - len(distrusted[column])
            row(f"{TITLES[column]}, without calls that flag a right one", column, f"{kept:,}", distrusted[column])
    yield "\n".join(rows)
    if peers:
        others = ", ".join(f"`{cls.__name__}`" for name, cls in SPARED.items() if name not in PLAIN)
        yield textwrap.fill(EXPLAINED.format(plain=len(PLAIN), others=others), 120)
        yield "\n".join(
            f"- {peers[c]['describe']}. Built in {peers[c]['seconds']:.1f} s." for c in columns if c in peers
        )


EXPLAINED = """A peer is counted twice where it needs it: as it is written, and without the calls that flag one of the
{plain} right variants that declare nothing unusual, since a kill by such a call would prove nothing. Right variants
that declare a contract no peer can know of ({others}) may be flagged still. Seconds are those of a peer's calls, and
for this suite those until the first broken MUST clause, or of everything where there is none."""


def by_class(columns: list[str], table: Table, distrusted: Calls) -> Iterator[str]:
    """Kills by class of fault, by calls that flag no right variant."""
    yield "## Caught, by class of fault\n\nBy calls that flag no right variant of plain arithmetic."
    kinds = sorted({cls.zoo.kind for cls in ZOO.values()})
    rows = [f"| class | {' | '.join(TITLES[c] for c in columns)} |", "|---" * (len(columns) + 1) + "|"]
    for kind in [*kinds, None]:
        cells = []
        for column in columns:
            names = [n for n in table[column] if n in ZOO and kind in (None, ZOO[n].zoo.kind)]
            cells.append(f"{sum(killed(table[column][n], distrusted[column]) for n in names)} of {len(names)}")
        rows.append(f"| {kind or 'all'} | {' | '.join(cells)} |")
    yield "\n".join(rows)


def survivors(peers: list[str], table: Table, distrusted: Calls) -> Iterator[str]:
    """What the peers miss: how many of each class, with examples."""
    yield "## What the peers miss"
    missed = {c: [n for n in ZOO if n in table[c] and not killed(table[c][n], distrusted[c])] for c in peers}
    kinds = sorted({cls.zoo.kind for cls in ZOO.values()})
    rows = [f"| class | {' | '.join(TITLES[c] for c in peers)} |", "|---" * (len(peers) + 1) + "|"]
    for kind in kinds:
        cells = [_examples([n for n in missed[c] if ZOO[n].zoo.kind == kind], _elsewhere(c, missed)) for c in peers]
        rows.append(f"| {kind} | {' | '.join(cells)} |")
    yield "How many, and one that another of them catches where there is one.\n\n" + "\n".join(rows)
    every = [n for n in ZOO if all(n in missed[c] for c in peers)]
    lines = [
        f"- {kind}: {_examples([n for n in every if ZOO[n].zoo.kind == kind], lambda _: True, 3)}" for kind in kinds
    ]
    yield f"All of these peers together miss {len(every)}:\n\n" + "\n".join(lines)


def _elsewhere(column: str, missed: dict[str, list[str]]) -> Callable[[str], bool]:
    """Whether another peer catches it."""
    return lambda name: any(name not in names for other, names in missed.items() if other != column)


def _examples(names: list[str], telling: Callable[[str], bool], count: int = 1) -> str:
    first = sorted(names, key=lambda name: not telling(name))[:count]
    return f"{len(names)}: " + "; ".join(ZOO[n].zoo.what for n in first) if names else "0"


def shown_only(columns: list[str], table: Table) -> Iterator[str]:
    """What this suite does not count as caught."""
    for column in columns:
        left = [r for n, r in table[column].items() if n in ZOO and not r["caught"]]
        if column not in ("quick", "standard", "deep") or not left:
            continue
        lines = [f"- {ZOO[r['name']].zoo.what}: {_shown(r['should'])}" for r in left]
        said = "The check of `thread-invariance` takes two processes of a backend: it is not asked here."
        yield f"## Not a broken MUST at level {column}\n\n{said}\n\n" + "\n".join(lines)


def _shown(should: str | None) -> str:
    return f"shown under `{should}` (SHOULD)" if should else "not seen"


def footer(columns: list[str]) -> str:
    """When, where and with what."""
    names = ["numpy", *(["onnx"] if "onnx" in columns else []), *(["torch"] if "opinfo" in columns else [])]
    listed = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    day = datetime.datetime.now(tz=datetime.UTC).date()
    return (
        f"{day}, {os.cpu_count()} cores of {platform.machine()}, {platform.system()}; "
        f"python {platform.python_version()}, {listed}."
    )
