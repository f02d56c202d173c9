"""Verdicts: the six states, the finding that explains one, and the cell of the table that holds them.

May import the standard library only: results travel through pytest's reports and into JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """What is said of one clause, dtype and backend. The denominator is fixed: every cell has exactly one."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    DEVIATION = "deviation"
    UNSUPPORTED = "unsupported"
    CRASH = "crash"
    NOT_RUN = "not run"


#: What costs the backend's process.
LOSSES = ("crash", "hang")
#: What can be wrong with an answer.
FINDING_KINDS = (
    "value", "shape", "dtype", "type", "exception", "exit", "crash", "hang", "changed input", "alias", "reused memory",
    "silent", "property", "precision",
)  # fmt: skip

#: What became of a witness: still as declared, or not; a flaky one that did not show this time, or one that the backend
#: does not support, is no fault. Several questions may ask it; the first of these counts.
WITNESS = HELD, STALE, FLAKY, REFUSED = "reproduced", "stale", "not shown this time", "refused"

#: From best to worst: a summary of several cells shows the worst.
SEVERITY = (State.PASS, State.NOT_RUN, State.UNSUPPORTED, State.DEVIATION, State.FAIL, State.CRASH)


#: What is found broken, binding or not.
BROKEN = (State.FAIL, State.CRASH)


def decides(level: str, state: str) -> bool:
    """Whether a verdict decides the exit status: a MUST that failed or crashed.

    >>> decides("MUST", "fail"), decides("SHOULD", "fail")
    (True, False)
    """
    return level == "MUST" and state in BROKEN


def worst(states: list[State]) -> State:
    """The state that a summary of several cells shows."""
    return max(states, key=SEVERITY.index) if states else State.NOT_RUN


def summed(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """Counts by class, added; one side may have none.

    >>> summed([], [2, 1]), summed([1, 0], (2, 1))
    ([2, 1], [3, 1])
    """
    return [a + b for a, b in zip(one, other, strict=True)] if one and other else list(one or other)


@dataclass(frozen=True)
class Finding:
    """One broken clause with its smallest witness.

    `kind`, one of `FINDING_KINDS`, groups findings of one cause; *silent* is an invalid call that was answered.
    `deviation` names the entry that declares it as known. `diagnosis` is the known wrong reading that explains it,
    `taps` the taps that are missing, doubled or read elsewhere; both are empty where there is nothing to say.
    """

    clause: str
    kind: str
    message: str
    call: str = ""
    case: dict[str, Any] | None = None
    expected: str = ""
    got: str = ""
    error: str = ""
    elements: int = 0
    stderr: str = ""
    diagnosis: str = ""
    taps: str = ""
    deviation: str = ""

    @property
    def is_crash(self) -> bool:
        """Whether the backend's process was lost."""
        return self.kind in LOSSES

    def to_dict(self) -> dict[str, Any]:
        """JSON-able data."""
        return asdict(self)


@dataclass
class Cell:
    """What was found for one clause, dtype and backend.

    `told` names the known wrong readings that its cases told from the right answer, `reach` those that only cases
    could tell which the backend refused, with its reason; `vacuous` counts cases that could tell nothing. `precision`
    holds the effective bits of each result (y, dx, dw) that was measured. `witnesses` says of each known deviation
    whose witness was asked here whether it is still *reproduced*, or *stale*, and `otherwise` which kinds of finding it
    showed that are not declared. `errors` counts the compared elements by how far within the bound they lie
    (`oracle.tally` has the classes). Both are left out where there is nothing.
    """

    clause: str
    level: str
    dtype: str
    backend: str
    state: State = State.NOT_RUN
    reason: str = ""
    findings: list[Finding] = field(default_factory=list)
    cases: int = 0
    refused: int = 0
    skipped: int = 0
    outputs: int = 0
    seconds: float = 0.0
    reading: str = ""
    vacuous: int = 0
    told: list[str] = field(default_factory=list)
    reach: dict[str, str] = field(default_factory=dict)
    precision: dict[str, float] = field(default_factory=dict)
    witnesses: dict[str, str] = field(default_factory=dict)
    errors: list[int] = field(default_factory=list)
    otherwise: dict[str, list[str]] = field(default_factory=dict)

    def conclude(self) -> State:
        """Settle the state from what was gathered."""
        known = [f for f in self.findings if f.clause == self.clause]
        own = [f for f in known if not f.deviation]
        if own:
            self.state = State.CRASH if any(f.is_crash for f in own) else State.FAIL
        elif known:
            self.state = State.DEVIATION
        elif self.cases > self.refused:
            self.state = State.PASS
        else:
            self.state = State.UNSUPPORTED if self.cases else State.NOT_RUN
        return self.state

    def to_dict(self) -> dict[str, Any]:
        """JSON-able data."""
        data = asdict(self) | {"state": str(self.state)}
        for name in ("errors", "otherwise"):  # as in files of before there were such
            if not data[name]:
                del data[name]
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Cell:
        """The cell that `to_dict` wrote."""
        findings = [Finding(**f) for f in data["findings"]]
        return cls(**(data | {"state": State(data["state"]), "findings": findings}))
