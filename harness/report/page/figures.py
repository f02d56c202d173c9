"""The page's tables beside the verdicts: what was judged and how, effective bits, time, known deviations.

May import the board and the deviations' words.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from convspec.harness.report import results, words

from .board import Board, dtype_order
from .details import deviation
from .prose import printable

#: Names of wrong readings that are listed; more are counted.
MOST_NAMED = 8


def backends(board: Board) -> list[dict[str, Any]]:
    """Each backend: versions, what it declares and lacks, where and when it ran, and what its passes are worth."""
    runs = {name: run for run in board.document.get("runs", ()) for name in run["backends"]}
    out = []
    for name in board.backends:
        said = board.document["backends"].get(name, {})
        run = runs.get(name) or runs.get(name.partition(" ")[0]) or board.document
        versions = ", ".join(f"{what} {version}" for what, version in (said.get("versions") or {}).items())
        out.append(
            {
                "name": printable(name),
                "versions": printable(versions),
                "device": printable(str(said.get("device") or "")),
                "contract": _contract(said.get("contract") or {}),
                "missing": printable(", ".join(said.get("missing") or ())),
                "machine": machine(run["machine"]),
                "date": when(run["date"]),
                "level": f"{run['level']}, seed {run['seed']}",
                "power": _power(board.document["power"].get(name)),
            }
        )
    return out


def _contract(declared: dict[str, Any]) -> str:
    """What a backend declares beyond what the specification asks of everyone."""
    plain = {"accumulate": None, "tf32": False, "flush_subnormals": False, "algorithm": "direct"}
    told = [
        name.replace("_", " ") if value is True else f"{name.replace('_', ' ')}: {value}"
        for name, value in declared.items()
        if plain.get(name, value) != value
    ]
    return printable(", ".join(told)) or "nothing beyond plain sums"


def machine(said: dict[str, Any]) -> str:
    """Where a run was made, in a line.

    Examples
    --------
    >>> machine({"system": "Linux x86_64", "python": "3.11.7", "cores": 2, "instructions": ["avx2"]})
    'Linux x86_64 with avx2, 2 cores, Python 3.11.7'
    """
    cores = f", {said['cores']} cores" if said.get("cores") else ""
    sets = f" with {', '.join(said['instructions'])}" if said.get("instructions") else ""
    return printable(f"{said.get('system', '')}{sets}{cores}, Python {said.get('python', '')}")


def when(date: str) -> str:
    """A document's date, to the minute.

    Examples
    --------
    >>> when("2026-11-24T15:07:48+00:00")
    '2026-11-24 15:07 UTC'
    """
    return f"{date[:10]} {date[11:16]} {'UTC' if date.endswith('+00:00') else date[19:]}"


def _power(said: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a pass is worth: the wrong readings that the cases of the run tell from the right one."""
    if said is None:
        return None
    left = said["undistinguished"]
    return {
        "told": len(said["told"]),
        "known": said["known"],
        "reach": len(said["out_of_reach"]),
        "left": printable(", ".join(left)) if len(left) <= MOST_NAMED else f"{len(left)} readings",
        "vacuous": f"{said['vacuous']:,} of {said['cases']:,}",
    }


def bits(board: Board) -> dict[str, Any]:
    """Effective bits by backend and dtype: the least that was measured of each result."""
    least: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for (_, dtype, name), cell in board.cells.items():
        for result, measured in cell["precision"].items():
            at = least[name, dtype]
            at[result] = min(measured, at.get(result, measured))
    dtypes = sorted({dtype for _, dtype in least}, key=dtype_order)
    rows = [
        (printable(name), [", ".join(f"{r} {b:.1f}" for r, b in least[name, dtype].items()) for dtype in dtypes])
        for name in board.backends
    ]
    return {"dtypes": dtypes, "rows": [row for row in rows if any(row[1])]}


def speed(board: Board) -> dict[str, Any]:
    """Seconds by backend and profile, and how many outputs were compared in a second."""
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    outputs: dict[str, int] = defaultdict(int)
    for (slug, _, name), cell in board.cells.items():
        seconds[board.clauses[slug].profile, name] += cell["seconds"]
        outputs[name] += cell["outputs"]
    profiles = [group.profile for group in board.groups]
    rows = []
    for name in board.backends:
        total = sum(seconds[profile, name] for profile in profiles)
        spent = [_seconds(seconds[profile, name]) for profile in profiles]
        rate = f"{outputs[name] / total:,.0f}" if total else ""
        rows.append((printable(name), [*spent, _seconds(total), f"{outputs[name]:,}", rate]))
    return {"heads": [*profiles, "all", "outputs compared", "outputs a second"], "rows": rows}


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value else ""


def deviations(board: Board) -> list[dict[str, Any]]:
    """The known deviations that were seen or are stale, by backend; and what is wrong with any."""
    out = []
    for name, entries in board.document["deviations"].items():
        shown = {key: e for key, e in entries.items() if e["dtypes"] or e["state"] not in ("not run", "reproduced")}
        rows = [
            deviation(key, entry) | {"clause": entry["clause"], "dtypes": ", ".join(entry["dtypes"])}
            for key, entry in shown.items()
        ]
        if rows:
            out.append({"name": printable(name), "entries": rows})
    return out


def disagreements(board: Board) -> list[dict[str, str]]:
    """Calls that two modes of a framework answer differently."""
    return [
        {key: printable(str(one[key])) for key in ("one", "other", "call", "what", "calls")}
        | {"said": printable(one["said"][0]), "other_said": printable(one["said"][1])}
        for one in board.document.get("agreement", ())
    ]


def verdict(board: Board) -> dict[str, Any]:
    """What decides the exit status of the check, in a line each."""
    broken = results.broken_musts(board.document)
    by_backend: dict[str, set[str]] = defaultdict(set)
    for cell in broken:
        by_backend[cell["backend"]].add(cell["clause"])
    slugs = {cell["clause"] for cell in broken}
    said = words.broken(len(slugs), len(broken)) if broken else words.unbroken(results.unasked(board.document))
    return {
        "said": printable(said.removesuffix(".")),
        "who": [(printable(name), len(slugs)) for name, slugs in by_backend.items()],
        "stale": [printable(line) for line in results.stale(board.document)],
    }
