"""What the writers for CI read: one row a verdict and one entry a cause, of results and of a training run alike.

May import the results' reader, the findings' names, the schemas, the specification and the verdicts. A training
document has its net and seed in the place of a dtype.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convspec.harness.verdict import BROKEN, Finding, State, decides
from convspec.spec import clauses

from . import results
from .findings import command
from .schema import fault
from .text import describe

#: Format and version of `convspec mnist --json`.
TRAINING = ("convspec-training", 1)


@dataclass(frozen=True)
class Row:
    """One verdict: a clause, a backend, and what it was asked on (a dtype, or a net and a seed)."""

    backend: str
    clause: str
    on: str
    level: str
    state: State
    reason: str = ""
    kind: str = ""
    text: str = ""
    reading: str = ""
    deviations: tuple[str, ...] = ()
    seconds: float | None = None

    @property
    def is_broken(self) -> bool:
        """Whether the clause is broken, binding or not."""
        return self.state in BROKEN

    @property
    def decides(self) -> bool:
        """Whether it decides the exit status."""
        return decides(self.level, self.state)

    @property
    def profile(self) -> str:
        """The profile that the clause is read by."""
        return clauses()[self.clause].profile


@dataclass(frozen=True)
class Cause:
    """One thing that is wrong with a backend, wherever it was seen."""

    backend: str
    clause: str
    must: bool
    on: tuple[str, ...]
    message: str
    text: str


def read(path: str | Path, *, known: bool = True) -> dict[str, Any]:
    """Read a document of `convspec check --json` or `convspec mnist --json`.

    Parameters
    ----------
    path
        The file.
    known
        Refuse a document with clauses that this convspec does not have: it could not say what they mean.

    Raises
    ------
    ValueError
        The file cannot be read, is no such document, or is of another version.
    """
    data = results.parsed(path)
    if not isinstance(data, dict) or data.get("format") != TRAINING[0]:
        return results.checked(data, path, known=known)
    if data.get("version") != TRAINING[1]:
        raise ValueError(f"{path}: training version {data.get('version')!r}; this convspec reads version {TRAINING[1]}")
    if wrong := fault(data):
        raise ValueError(f"{path}: damaged: {wrong}")
    document: dict[str, Any] = data
    if known:
        results.refuse_unknown((verdict["clause"] for verdict in document["verdicts"]), document, path)
    return document


def is_training(document: dict[str, Any]) -> bool:
    """Whether a document is of `convspec mnist`."""
    return bool(document["format"] == TRAINING[0])


def rows(document: dict[str, Any]) -> Iterator[Row]:
    """Every verdict of a document, in its order."""
    if is_training(document):
        for v in document["verdicts"]:
            on, state, text = f"net {v['net']}, seed {v['seed']}", State(v["state"]), _told(v)
            broken = state in BROKEN
            reason = "" if broken or state is State.PASS else v["text"]
            yield Row(v["backend"], v["clause"], on, v["level"], state, reason, str(state), text if broken else "")
        return
    for cell in document["cells"]:
        own = [Finding(**f) for f in cell["findings"] if not f["deviation"]]
        yield Row(
            cell["backend"],
            cell["clause"],
            cell["dtype"],
            cell["level"],
            State(cell["state"]),
            cell["reason"],
            own[0].kind if own else "",
            "\n\n".join(_described(cell["backend"], f, [cell]) for f in own if f.clause in clauses()),
            cell["reading"],
            tuple(dict.fromkeys(f["deviation"] for f in cell["findings"] if f["deviation"])),
            cell["seconds"],
        )


def causes(document: dict[str, Any]) -> Iterator[Cause]:
    """What is wrong, a cause each: the smallest witness, and where it was seen. Known deviations are not."""
    if is_training(document):
        for own in over_seeds(v for v in document["verdicts"] if v["state"] in BROKEN):
            one = own[0]
            on = tuple(f"net {v['net']}, seed {v['seed']}" for v in own)
            must = one["level"] == "MUST"
            yield Cause(one["backend"], one["clause"], must, on, one["text"] or one["state"], _told(one))
        return
    for backend, finding, cells in results.causes(document):
        on = tuple(dict.fromkeys(str(cell["dtype"]) for cell in cells))
        must = clauses()[finding.clause].level == "MUST"
        yield Cause(backend, finding.clause, must, on, finding.message, _described(backend, finding, cells))


def _described(backend: str, finding: Finding, cells: list[dict[str, Any]]) -> str:
    """A finding in full, and how to come by a script that shows it."""
    text = describe(finding)
    return f"{text}\n  script:   {command(backend, finding, cells)}" if finding.case else text


def over_seeds(verdicts: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Training verdicts of one backend, net and clause together: they differ by the seed."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for v in verdicts:
        groups.setdefault((v["backend"], v["net"], v["clause"]), []).append(v)
    return list(groups.values())


def _told(verdict: dict[str, Any]) -> str:
    """A training verdict in full."""
    slug = verdict["clause"]
    lines = [f"{slug} ({verdict['level']})"]
    lines += [f"  | {clauses()[slug].statement}"] if slug in clauses() else []
    lines += [f"  {verdict['text']}"] if verdict["text"] else []
    if verdict["figure"] is not None and verdict["limit"] is not None:
        lines.append(f"  figure:   {verdict['figure']:.3g}, allowed {verdict['limit']:.3g}")
    lines += [f"  matches:  {verdict['diagnosis']}"] if verdict["diagnosis"] else []
    return "\n".join(lines)


def stale(document: dict[str, Any]) -> list[str]:
    """What is wrong with declared deviations, a line each."""
    return [] if is_training(document) else results.stale(document)


def backends(document: dict[str, Any]) -> list[str]:
    """The backends, in the order they were named."""
    return list(document["backends"] if is_training(document) else document["summary"])


def counts(found: Iterable[Row]) -> dict[State, int]:
    """How many rows are in each state.

    Examples
    --------
    >>> counts([Row("mine", "locality", "float32", "MUST", State.PASS)])[State.PASS]
    1
    """
    states = [row.state for row in found]
    return {state: states.count(state) for state in State}
