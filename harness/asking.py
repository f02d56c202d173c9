"""Asking a backend that may die or hang: which loss belongs to which call, and when to stop asking.

May import the process and the verdicts. A process can die of what an earlier call did to its memory, so a death that
could be such an aftermath is asked again in a fresh process before anyone is blamed.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Protocol

from .process.protocol import Answer, Request
from .verdict import Finding

#: Losses of one run after which nothing more is asked: the rest is not run.
MOST_LOSSES = 60
#: Seconds that a call may take once one has hung, at least, and in multiples of the slowest that returned.
LEAST_PATIENCE, PATIENCE = 2.0, 20.0
HEAP_WORDS = (
    "malloc",
    "free()",
    "corrupt",
    "double free",
    "munmap_chunk",
    "SIGSEGV",
    "SIGBUS",
    "after it had answered",
)


class Reachable(Protocol):
    """What is asked: a backend in a process of its own, or, for code of ours, in this one."""

    text: str
    timeout: float

    @property
    def hello(self) -> dict[str, Any]:
        """What it said of itself."""
        ...

    def call(self, request: Request) -> Answer:
        """Make one call."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Told(Protocol):
    """What can say how it would be written, and be written down: only done once something is wrong."""

    def describe(self) -> str:
        """The call in one line."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """JSON-able data."""
        ...


@dataclass(frozen=True)
class Call:
    """A request with what is said of it: its clause, the case it was made from, and the kind of case it is.

    `rare` marks cases that a clause about degenerate input is about: after enough crashes no more of them are asked.
    """

    request: Request
    clause: str
    source: Told
    alike: tuple[Hashable, ...] = ()
    rare: bool = False


@dataclass
class Asker:
    """Makes calls of one backend and keeps account of its losses."""

    backend: Reachable
    most_crashes: int
    losses: int = 0
    slowest: float = 0.0
    _lost: dict[str, set[tuple[Hashable, ...]]] = field(default_factory=dict)
    _before: Call | None = None

    def stopped(self, call: Call) -> bool:
        """Whether this call is not worth a process: one like it was lost, or too many were."""
        lost = self._lost.get(call.clause, set())
        return call.alike in lost or (call.rare and len(lost) >= self.most_crashes) or self.losses >= MOST_LOSSES

    def ask(self, call: Call) -> tuple[Answer, tuple[Finding, ...]]:
        """The answer, and a finding about the call before where that one broke the process that this one died in."""
        answer = self.backend.call(call.request)
        blamed: tuple[Finding, ...] = ()
        if answer.status == "crash" and self._before is not None and _may_be_aftermath(answer):
            again = self.backend.call(call.request)
            if again.status != "crash":
                blamed = (_aftermath(self._before, answer),)
                self.losses += 1
            answer = again
        if answer.status in ("crash", "hang"):
            self._lose(call, answer)
        else:
            self.slowest = max(self.slowest, answer.seconds)
            self._before = call
        return answer, blamed

    def forget(self) -> None:
        """Blame the call before for nothing any more: its process has been ended."""
        self._before = None

    def _lose(self, call: Call, answer: Answer) -> None:
        self.losses += 1
        self._lost.setdefault(call.clause, set()).add(call.alike)
        self._before = None
        if answer.status == "hang":
            self.backend.timeout = min(self.backend.timeout, max(LEAST_PATIENCE, PATIENCE * self.slowest))


def _may_be_aftermath(answer: Answer) -> bool:
    """Whether memory that was damaged earlier can explain this death; a SIGFPE or a failed CHECK is of this call."""
    said = f"{answer.error} {answer.stderr}"
    return any(word in said for word in HEAP_WORDS)


def _aftermath(before: Call, answer: Answer) -> Finding:
    return Finding(
        before.clause,
        "crash",
        "After this call the process died in the next one, which a fresh process answers: its memory was damaged.",
        call=before.source.describe(),
        case=before.source.to_dict(),
        expected="an answer that leaves the process's memory whole",
        got=answer.error or "crash",
        elements=int(before.request.arrays[0].size),
        stderr=answer.stderr,
    )
