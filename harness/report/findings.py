"""Which findings a reproducer can be asked for, and by what name: deviations by theirs, others by BACKEND/CLAUSE/DTYPE.

May import the deviations' entries, the verdicts and the adapters' names.
"""

from __future__ import annotations

import difflib
import shlex
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from convspec.adapters import registry
from convspec.harness.deviations.entry import Deviation, among, case_of, default_mode
from convspec.harness.verdict import Finding


@dataclass(frozen=True)
class Named:
    """A finding, the backend it is of, and the names it answers to; `short` is one of eight letters and digits."""

    name: str
    short: str
    finding: dict[str, Any]
    backend: dict[str, Any]


class UnknownFinding(Exception):  # noqa: N818 - a name that is not there
    """No finding has this name; the message offers the closest."""


def of_deviation(entry: Deviation) -> tuple[dict[str, Any], dict[str, Any]]:
    """The finding that a deviation's witness shows, and a backend that shows it: the first mode that is meant.

    >>> from convspec.harness.deviations import shipped
    >>> finding, backend = of_deviation(shipped()[0])
    >>> finding["clause"], backend["text"]
    ('conv2d-gradient-explicit-padding', 'jax')
    """
    witness = entry.witness
    kind = next((k for k in ("crash", "hang") if k in entry.shows), entry.shows[0])
    finding = {
        "clause": entry.clause,
        "kind": kind,
        "message": entry.reason,
        "call": witness.describe(),
        "case": witness.to_dict(),
        "flaky": entry.flaky,
        "deviation": entry.id,
        "declared": f"{entry.backend} {entry.versions}",
        "dtype": case_of(witness).dtype,
    }
    return finding, {"text": _text(entry), "name": entry.backend}


def _text(entry: Deviation) -> str:
    """The backend as it would be named: without a mode where the usual one is meant."""
    device = "" if among("cpu", entry.devices) else f":{entry.devices[0]}"
    if among(default_mode(entry.backend), entry.modes):
        return f"{entry.backend}{device}"
    mode = next(mode for mode in _modes(entry) if among(mode, entry.modes))
    return f"{entry.backend}{device}@{mode}"


def _modes(entry: Deviation) -> list[str]:
    built_in = registry.BUILT_IN.get(entry.backend)
    named = [mode for mode in entry.modes if not mode.startswith("!") and "*" not in mode]
    return [*(built_in.modes if built_in else ()), *named]


def deviations(entries: Iterable[Deviation]) -> list[Named]:
    """Those of deviations files, by their ids."""
    out = []
    for entry in entries:
        finding, backend = of_deviation(entry)
        out.append(Named(entry.id, _short(entry.id), finding, backend))
    return out


def in_results(results: dict[str, Any], entries: Iterable[Deviation] = ()) -> list[Named]:
    """Those of a results file: every failure, crash and deviation with a call; the smallest of each cell has its name.

    >>> finding = {"clause": "conv2d-sum", "kind": "value", "case": {"op": "conv2d"}, "elements": 2}
    >>> cell = {"backend": "torch", "clause": "conv2d-sum", "dtype": "float32", "findings": [finding]}
    >>> [named.name for named in in_results({"cells": [cell], "backends": {}})]
    ['torch/conv2d-sum/float32']
    """
    out: dict[str, Named] = {}
    unsteady = {entry.id for entry in entries if entry.flaky}
    for cell in results["cells"]:
        backend = {"text": cell["backend"]} | results["backends"].get(cell["backend"], {})
        for finding in sorted(cell["findings"], key=lambda f: int(f["elements"])):
            if not finding["case"]:
                continue
            more = {"dtype": cell["dtype"], "flaky": finding.get("deviation") in unsteady}
            name = base = name_of(cell["backend"], finding["clause"], cell["dtype"])
            number = 1
            while name in out:
                number += 1
                name = f"{base}/{number}"
            out[name] = Named(name, _short(name), finding | more, backend)
    return list(out.values())


def name_of(backend: str, clause: str, dtype: str) -> str:
    """The name of the smallest finding of one clause, dtype and backend.

    >>> name_of("torch:cpu", "conv2d-sum", "float32")
    'torch:cpu/conv2d-sum/float32'
    """
    return f"{backend}/{clause}/{dtype}"


def command(backend: str, finding: Finding, cells: Sequence[dict[str, Any]], file: str = "FILE") -> str:
    """The command that writes a script for a finding which was seen in these cells of a results file; to be pasted."""
    own = finding.to_dict()
    cell = next((cell for cell in cells if own in cell["findings"]), cells[0])
    here = in_results({"cells": [cell], "backends": {}})
    name = next((named.name for named in here if named.finding | own == named.finding), "")
    name = name or name_of(backend, finding.clause, cell["dtype"])
    return f"convspec repro {shlex.quote(name)} --results {shlex.quote(file)} > bug.py"


def find(name: str, known: list[Named]) -> Named:
    """The finding of a name, or of a short one.

    Raises
    ------
    UnknownFinding
        With the closest name there is.
    """
    for named in known:
        if name in (named.name, named.short):
            return named
    close = difflib.get_close_matches(name, [named.name for named in known], 1, 0.0)
    hint = f"the closest is {close[0]!r}; " if close else ""
    raise UnknownFinding(f"no finding is called {name!r}; {hint}`convspec repro --list` shows them all")


def _short(name: str) -> str:
    return f"{zlib.crc32(name.encode()):08x}"
