"""The results document: what a run found, as JSON.

May import the options, what the processor can, the verdicts, the schema and the specification. Its form is versioned,
and whoever reads one reads it here: `format`, `version`, the schema and the clauses that it names are checked before
anything is told of it.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from convspec.harness.options import unwritten
from convspec.harness.processor import told as instructions
from convspec.harness.verdict import STALE, WITNESS, Finding, State, decides
from convspec.spec import clauses

from .schema import fault

FORMAT = "convspec-results"
VERSION = 2


def document(
    cells: Iterable[dict[str, Any]],
    backends: dict[str, dict[str, Any]],
    *,
    level: str,
    seed: int,
    order: Iterable[str] = (),
    readings: Iterable[str] = (),
    deviations: dict[str, dict[str, dict[str, Any]]] | None = None,
    date: str | None = None,
) -> dict[str, Any]:
    """The document of one run; backends in the order they were named, cells in that of the specification.

    `date` is when the run began (see `now`), the present moment unless given: all that is made of one run has one date.
    """
    place = {slug: position for position, slug in enumerate(clauses())}
    named = {name: position for position, name in enumerate(order)}
    listed = sorted(cells, key=lambda c: (named.get(c["backend"], 0), place[c["clause"]]))
    return head(FORMAT, VERSION, date) | {
        "level": level,
        "seed": seed,
        "backends": backends,
        "summary": {name: counts(listed, name) for name in dict.fromkeys(c["backend"] for c in listed)},
        "power": {name: power(listed, name, readings) for name in dict.fromkeys(c["backend"] for c in listed)},
        "deviations": {name: known(listed, name, entries) for name, entries in (deviations or {}).items()},
        "cells": listed,
    }


def now() -> str:
    """The moment as results write it: ISO 8601, UTC, whole seconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def head(form: str, version: int, date: str | None = None) -> dict[str, Any]:
    """What a document of any format begins with: its form, and when (now, unless given) and where it was made."""
    import convspec  # noqa: PLC0415 - only its version

    return {
        "format": form,
        "version": version,
        "convspec": convspec.__version__,
        "date": date or now(),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "instructions": instructions(),
        },
    }


def counts(cells: Iterable[dict[str, Any]], backend: str) -> dict[str, int]:
    """How many cells of a backend are in each state; they add up to the denominator."""
    tally = Counter(c["state"] for c in cells if c["backend"] == backend)
    return {str(state): tally.get(str(state), 0) for state in State}


def power(cells: Iterable[dict[str, Any]], backend: str, readings: Iterable[str]) -> dict[str, Any]:
    """Which of the known wrong readings the cases of a run tell from the specification.

    `out_of_reach` gives the reason for each that only calls could tell which the backend refused. `vacuous` of `cases`
    could tell nothing.
    """
    mine = [c for c in cells if c["backend"] == backend]
    told = {name for c in mine for name in c["told"]}
    reach = {name: why for c in mine for name, why in c["reach"].items() if name not in told}
    known = sorted(readings)
    return {
        "known": len(known),
        "told": sorted(told),
        "out_of_reach": dict(sorted(reach.items())),
        "undistinguished": [name for name in known if name not in told and name not in reach],
        "cases": sum(c["cases"] for c in mine),
        "vacuous": sum(c["vacuous"] for c in mine),
    }


def known(
    cells: Iterable[dict[str, Any]], backend: str, entries: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Each deviation that concerns a backend, with what became of its witness and the dtypes that it was seen in.

    `state` is *reproduced*; *stale*: the witness passes, or shows `otherwise`, kinds of finding that are not declared;
    *not shown this time*, for a flaky one; *refused*; *not asked*: no case of its clause is like its witness; or *not
    run*: the cell of its witness was left out.
    """
    mine = [c for c in cells if c["backend"] == backend]
    out = {}
    for name, entry in sorted(entries.items()):
        said = [c["witnesses"][name] for c in mine if name in c["witnesses"]]
        own = [c for c in mine if c["clause"] == entry["clause"] and c["dtype"] in (entry["dtype"], "all")]
        ran = any(c["cases"] or c["skipped"] for c in own)
        state = min(said, key=WITNESS.index) if said else "not asked" if ran else "not run"
        seen = [c["dtype"] for c in mine if any(f["deviation"] == name for f in c["findings"])]
        out[name] = entry | {"state": state, "dtypes": list(dict.fromkeys(seen))}
        kinds = {kind for c in mine for kind in c.get("otherwise", {}).get(name, ())}
        if state == STALE and kinds:
            out[name]["otherwise"] = sorted(kinds)
    return out


def stale(results: dict[str, Any]) -> list[str]:
    """What is wrong with deviations, a line each: a witness that passes, shows something else or is not asked, two
    entries of one call.
    """
    lines = []
    for backend, entries in results["deviations"].items():
        for name, entry in entries.items():
            first, last = entry["lines"]
            place = f"{entry['place']}: deviation {name!r} of {backend}"
            if otherwise := entry.get("otherwise"):
                what = f"its witness shows {' and '.join(otherwise)}, not {' or '.join(entry.get('shows', ()))}"
                lines.append(f"{place} is not as declared: {what}; mend its `shows`, or declare the other fault too")
            elif entry["state"] == STALE:
                mend = f"delete lines {first} to {last}, or narrow its versions to the releases that show it"
                lines.append(f"{place} is stale: its witness passes now; {mend}")
            if entry["state"] == "not asked":
                lines.append(f"{place}: its witness was not asked; no case of {entry['clause']} is like it")
            lines += [f"{overlap} (deviations of {backend})" for overlap in entry["overlaps"]]
    return list(dict.fromkeys(lines))


def unasked(results: dict[str, Any]) -> list[str]:
    """The backends none of whose cells was run: that nothing of theirs is broken means nothing."""
    return [name for name, tally in results["summary"].items() if tally[State.NOT_RUN] == sum(tally.values())]


def broken_musts(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells that decide the exit status: a MUST that failed or crashed."""
    return [c for c in results["cells"] if decides(c["level"], c["state"])]


def causes(results: dict[str, Any]) -> Iterator[tuple[str, Finding, list[dict[str, Any]]]]:
    """What is wrong and not known, by backend and in the order of the specification.

    A cause is a clause and a kind of finding; with it come its smallest finding and the cells that it was seen in.
    """
    order = {slug: i for i, slug in enumerate(clauses())}
    for backend in results["summary"]:
        by_cause: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        first: dict[tuple[str, str], Finding] = {}
        for cell in (c for c in results["cells"] if c["backend"] == backend):
            for finding in (Finding(**data) for data in cell["findings"]):
                if finding.deviation:
                    continue
                key = (finding.clause, finding.kind)
                if cell not in by_cause[key]:
                    by_cause[key].append(cell)
                if key not in first or finding.elements < first[key].elements:
                    first[key] = finding
        for key in sorted(first, key=lambda k: (order[k[0]], k[1])):
            yield backend, first[key], by_cause[key]


def write(results: dict[str, Any], path: str | Path) -> None:
    """Write the document whole or not at all: a run that is killed leaves the old file."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.write_text(json.dumps(strict(results), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    draft.replace(target)


def save(results: dict[str, Any], file: str | None) -> list[str]:
    """Write the document, if a file was asked for; return what went wrong, in a line: what was judged is still told."""
    try:
        if file:
            write(results, file)
    except OSError as error:
        return [unwritten("--json", file or "", error)]
    return []


def strict(value: Any) -> Any:
    """The same with null for numbers that JSON has not: a loss that became NaN must not make a file that few can read.

    >>> strict({"losses": [2.5, float("nan")], "distance": (float("inf"),)})
    {'losses': [2.5, None], 'distance': [None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: strict(inner) for name, inner in value.items()}
    return [strict(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def read(path: str | Path) -> dict[str, Any]:
    """Read a results file.

    Raises
    ------
    ValueError
        If it cannot be read, is not one, is damaged, or is of a version that this convspec does not know.
    """
    return checked(parsed(path), path)


def parsed(path: str | Path) -> Any:
    """Return the JSON of a file, or raise ValueError where it has none."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not a results file: {error}") from error


def checked(data: Any, path: str | Path, *, known: bool = True) -> dict[str, Any]:
    """Return what was read from a file, if it is a whole results document of this version; else raise ValueError.

    `known` refuses one with clauses that this convspec does not have: it could not say what they mean.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f"{path}: not a results file of convspec (no format {FORMAT!r})")
    if data.get("version") != VERSION:
        raise ValueError(f"{path}: results version {data.get('version')!r}; this convspec reads version {VERSION}")
    if wrong := fault(data):
        raise ValueError(f"{path}: damaged: {wrong}")
    if wrong := miscounted(data):
        raise ValueError(f"{path}: damaged: {wrong}")
    if known:
        named = [cell["clause"] for cell in data["cells"]]
        named += [finding["clause"] for cell in data["cells"] for finding in cell["findings"]]
        refuse_unknown(named, data, path)
    return data


def miscounted(data: dict[str, Any]) -> str:
    """Say that a document has no cells, or not those that its summary counts, which is what is shown; or nothing."""
    if not data["cells"]:
        return "cells: there is none"
    for name in dict.fromkeys([*data["summary"], *(cell["backend"] for cell in data["cells"])]):
        told, there = data["summary"].get(name, {}), counts(data["cells"], name)
        wrong = next((state for state in there if told.get(state) != there[state]), None)
        if wrong:
            return f"summary/{name}: it says {wrong}: {told.get(wrong)}, and of the cells {there[wrong]} are"
    return ""


def refuse_unknown(named: Iterable[str], data: dict[str, Any], path: str | Path) -> None:
    """Raise ValueError for a clause that this convspec does not have."""
    import convspec  # noqa: PLC0415 - only its version

    for slug in named:
        if slug not in clauses():
            raise ValueError(
                f"{path}: the clause {slug!r} is not in convspec {convspec.__version__}; "
                f"the file is of convspec {data['convspec']}"
            )
