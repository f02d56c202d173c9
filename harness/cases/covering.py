"""Covering arrays: every three levels of a call's attributes that can meet, met in one of a few hundred small cases.

May import this folder, the reference's geometry and, to make the arrays anew, the library `covertable`. The arrays ship
in `covering.json`, as rows of levels; which numbers stand for a level is said here. To make them anew:

    python -m convspec.harness.cases.covering
"""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import itertools
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from convspec.reference import geometry

from .case import Case, Pair
from .formats import FLOATS
from .strategies import LAYOUTS, all_windows_have_taps

Row = dict[str, str]
Factors = dict[str, tuple[str, ...]]

FILE = "covering.json"
SHARED: Factors = {
    "dtype": FLOATS,
    "layout": ("C", *LAYOUTS),
    "padding": ("SAME", "VALID", "symmetric", "asymmetric"),
    "h": ("one", "small", "large"),
    "w": ("one", "small", "large"),
    "kh": ("one", "even", "odd"),
    "kw": ("one", "even", "odd"),
    "sh": ("1", "2", "3"),
    "sw": ("1", "2", "3"),
    "dh": ("1", "2"),
    "dw": ("1", "2"),
    "batch": ("1", "2", "5"),
    "channels": ("one", "few", "wide"),
}
#: What is varied, by kind of operation.
FACTORS: dict[str, Factors] = {
    "convolution": SHARED | {"filters": ("one", "few", "wide"), "groups": ("one", "several", "depthwise")},
    "pooling": SHARED,
}
AXES = (("h", "kh", "sh", "dh"), ("w", "kw", "sw", "dw"))


# ---- which levels cannot meet -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Constraint:
    """Levels that cannot meet: `allows` looks at `fields` only."""

    fields: tuple[str, ...]
    why: str
    allows: Callable[[Row], bool]


def _of_axis(kind: str, n: str, k: str, s: str, d: str) -> Iterator[Constraint]:
    def fits(r: Row) -> bool:
        return not (r["padding"] == "VALID" and r[n] == "one" and r[k] != "one")

    def same_reads(r: Row) -> bool:
        return not (r["padding"] == "SAME" and r[n] == "one" and r[k] == "even" and r[d] == "2")

    def symmetric_reads(r: Row) -> bool:
        alone = r["padding"] == "symmetric" and r[n] == "one" and r[k] == "even"
        return not (alone and r[d] == "2" and r[s] == "1")

    yield Constraint(("padding", n, k), "VALID: a kernel larger than the image gives no output", fits)
    yield Constraint(("padding", n, k, d), "SAME: an even kernel that skips pixels skips the only one", same_reads)
    if kind == "pooling":
        yield Constraint(
            ("padding", n, k, d, s), "at stride 1 every other window would lie wholly in padding", symmetric_reads
        )


def _axes_differ(r: Row) -> bool:
    return not r["h"] == r["w"] == r["kh"] == r["kw"] == "one"


def _pixel_says_something(r: Row) -> bool:
    return not r["h"] == r["w"] == r["channels"] == "one"


def _groups_have_members(r: Row) -> bool:
    return r["groups"] == "one" or (r["channels"] != "one" and r["filters"] != "one")


def _depthwise_has_filters(r: Row) -> bool:
    return not (r["groups"] == "depthwise" and r["channels"] == "wide" and r["filters"] == "few")


def _pads_lie_under_windows(r: Row) -> bool:
    return r["padding"] in ("SAME", "VALID") or not r["kh"] == r["kw"] == "one"


def constraints(kind: str) -> list[Constraint]:
    """All the constraints on that kind's rows."""
    found = [c for axis in AXES for c in _of_axis(kind, *axis)]
    found += [
        Constraint(("h", "w", "kh", "kw"), "one pixel under one tap: height and width could be swapped", _axes_differ),
        Constraint(
            ("h", "w", "channels"), "one pixel of one channel: too little to tell readings", _pixel_says_something
        ),
    ]
    if kind == "pooling":
        why = "a window of one pixel would lie wholly in explicit padding"
        return [*found, Constraint(("padding", "kh", "kw"), why, _pads_lie_under_windows)]
    why = "every channel of its own group needs filters of its own"
    return [
        *found,
        Constraint(("groups", "channels", "filters"), "a group needs channels and filters", _groups_have_members),
        Constraint(("groups", "channels", "filters"), why, _depthwise_has_filters),
    ]


# ---- from levels to numbers ---------------------------------------------------------------------------------------

#: Height's sizes and width's: they share none but 1, so the axes cannot be swapped. "large" is beyond a tile of 16.
SIZES = {"one": ((1,), (1,)), "small": ((5, 4), (7, 6)), "large": ((17, 18), (19, 20))}
KERNELS = {"one": (1,), "even": (2, 4), "odd": (3, 5)}
#: Channels and filters; "wide" is beyond a vector of 8 and beyond one of 16.
CHANNELS = {"one": (1,), "few": (3, 2), "wide": (9, 17)}
FILTERS = {"one": (1,), "few": (2, 4), "wide": (17, 9)}
#: Products that a case may cost; where the first choice costs more, smaller members of its levels stand in.
MOST_PRODUCTS = 60_000
#: With these seeds no answer is zero everywhere by chance, as it can be where there are few numbers; a test looks.
FIRST_SEED = 2


@dataclass(frozen=True)
class _Axis:
    n: int
    k: int
    pads: Pair


def _turned(values: tuple[Any, ...], turn: int) -> tuple[Any, ...]:
    """The values, beginning with another one each turn."""
    at = turn % len(values)
    return values[at:] + values[:at]


def _pads(padding: str, reach: int, pooling: bool) -> tuple[Pair, ...]:
    """The paddings of one axis that a level may stand for; a pooling window of one pixel can have none."""
    if padding in ("SAME", "VALID") or (pooling and reach == 1):
        return ((0, 0),)
    sides = range(1, max(reach, 4))  # for one tap up to the widest stride, so that some window reads the image
    if padding == "symmetric":
        return tuple((p, p) for p in sides)
    return tuple(pair for p in sides for pair in ((p - 1, p), (p, p - 1), (0, p)))


def _axis(row: Row, number: int, pooling: bool, turn: int) -> Iterator[_Axis]:
    """What a row can mean on one axis, first choice first: for each kernel and size the first padding that will do."""
    n_, k_, s_, d_ = AXES[number]
    kernels, sizes = _turned(KERNELS[row[k_]], turn + number), _turned(SIZES[row[n_]][number], turn)
    for k, n in itertools.product(kernels, sizes):
        for pads in _turned(_pads(row["padding"], geometry.effective_kernel(k, int(row[d_])), pooling), turn + number):
            padding = row["padding"] if row["padding"] in ("SAME", "VALID") else (pads, (0, 0))
            strides, dilations = (int(row[s_]), 1), (int(row[d_]), 1)
            case = Case("max_pool", (1, n, 1, 1), (k, 1), strides=strides, padding=padding, dilations=dilations)
            if not geometry.axis(case.window, 0, n).runs() or (pooling and not all_windows_have_taps(case)):
                continue
            yield _Axis(n, k, pads)
            break


def _channels(row: Row, turn: int) -> Iterator[tuple[int, int, int]]:
    """Channels, filters and groups."""
    kind = row.get("groups", "one")
    for channels in _turned(CHANNELS[row["channels"]], turn):
        if kind == "one":
            yield from ((channels, filters, 1) for filters in _turned(FILTERS[row["filters"]], turn // 2))
        elif kind == "depthwise":
            each = -(-9 // channels) if row["filters"] == "wide" else 1 + turn % 2
            yield channels, channels * each, channels
        else:
            groups, wide = 2 + turn % 2, {"few": 2, "wide": 9}
            filters = 1 + turn // 2 % 2 if row["filters"] == "few" else 9
            yield groups * wide[row["channels"]], groups * filters, groups


def realised(row: Row, turn: int) -> Case | None:
    """The row as a case; None where its levels cannot meet. `turn` chooses among a level's members."""
    pooling = "groups" not in row
    widths = [(c, 0, 1) for c in _turned(CHANNELS[row["channels"]], turn)] if pooling else list(_channels(row, turn))
    found = []
    for a, b in itertools.product(_axis(row, 0, pooling, turn), _axis(row, 1, pooling, turn)):
        if a.n == b.n and a.k == b.k:
            continue
        for channels, filters, groups in widths:
            case = Case(
                "max_pool" if pooling else "conv2d",
                (int(row["batch"]), a.n, b.n, channels),
                (a.k, b.k),
                filters=filters,
                strides=(int(row["sh"]), int(row["sw"])),
                padding=row["padding"] if row["padding"] in ("SAME", "VALID") else (a.pads, b.pads),
                dilations=(int(row["dh"]), int(row["dw"])),
                groups=groups,
                dtype=row["dtype"],
                layout=row["layout"],
                seed=turn + FIRST_SEED,
            )
            y = case.y
            dear = y[0] * y[1] * y[2] * y[3] * case.taps > MOST_PRODUCTS
            found.append((a.k == b.k != 1, dear, case))
    return min(found, key=lambda f: f[:2])[2] if found else None


# ---- the arrays ---------------------------------------------------------------------------------------------------


@cache
def arrays() -> dict[str, Any]:
    """What `covering.json` holds: factors with their levels and, by kind and strength, rows of indices of levels."""
    text = (importlib.resources.files(__package__) / FILE).read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def rows(kind: str, strength: int) -> tuple[Row, ...]:
    """The rows of an array, by the names of factors and levels."""
    factors = arrays()["factors"][kind]
    told = arrays()["rows"][kind][str(strength)]
    return tuple({name: factors[name][int(index)] for name, index in zip(factors, row, strict=True)} for row in told)


def cases(dtype: str, op: str, level: str) -> Iterator[Case]:
    """The cases of one operation: pairs of levels at quick, triples at standard and deep.

    The dtype is one of the attributes, so each dtype has rows of its own and the dtypes together meet every triple.
    float32, which every backend has, asks all rows; at level deep every dtype does.
    """
    kind = "convolution" if op in ("conv2d", "conv2d_vjp") else "pooling"
    recipes = {"conv2d": ("integers",), "conv2d_vjp": ("integers",), "max_pool": ("distinct", "negative")}
    told = set()
    for turn, row in enumerate(rows(kind, 2 if level == "quick" else 3)):
        if row["dtype"] != dtype and dtype != "float32" and level != "deep":
            continue
        case = realised(row | {"dtype": dtype}, turn)
        assert case is not None, f"row {turn} of the covering array cannot be a case: make the array anew"
        case = case.but(op=op, recipe=_turned(recipes.get(op, ("distinct", "ties")), turn)[0])
        if case.but(seed=0) not in told:
            told.add(case.but(seed=0))
            yield case


def make(kind: str, strength: int) -> list[str]:
    """Make one array with `covertable`: deterministic, each row a string of indices."""
    from covertable import make as covering  # noqa: PLC0415 - for makers only

    factors = FACTORS[kind]
    told = [{"operator": "fn", "requires": list(c.fields), "evaluate": c.allows} for c in constraints(kind)]
    made = covering({name: list(levels) for name, levels in factors.items()}, strength=strength, constraints=told)
    return ["".join(str(levels.index(row[name])) for name, levels in factors.items()) for row in made]


def library() -> str | None:
    """Name and version of the library that makes the arrays, if it is here."""
    try:
        return f"covertable {importlib.metadata.version('covertable')}"
    except importlib.metadata.PackageNotFoundError:
        return None


def _lines(words: list[str]) -> str:
    """A list in JSON, as many words a line as fit."""
    return "[" + textwrap.fill(json.dumps(words), 118, break_long_words=False)[1:]


def main() -> None:
    """Make all arrays anew and write them beside this file."""
    made = {kind: {str(n): make(kind, n) for n in (2, 3)} for kind in FACTORS}
    document = {"made_with": library(), "factors": FACTORS, "rows": made}
    text = re.sub(r"\[[^\[\]]*\]", lambda levels: _lines(json.loads(levels[0])), json.dumps(document, indent=1))
    (Path(__file__).parent / FILE).write_text(text + "\n", encoding="utf-8")
    for kind, arrays_of in made.items():
        sys.stdout.write(f"{kind}: " + ", ".join(f"{len(r)} rows {n}-wise" for n, r in arrays_of.items()) + "\n")


if __name__ == "__main__":
    main()
