"""Draw cases with Hypothesis, judge them all, then shrink one witness for each cause.

May import Hypothesis and the verdicts. Two passes of one seed: the first draws and judges without stopping, so that one
failing case never hides another; the second replays it for each cause and lets Hypothesis shrink. Answers are kept, so
the second pass asks only what is new, and a backend that answers differently the second time cannot confuse the search.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers

from .verdict import Finding


@dataclass(frozen=True)
class Outcome:
    """What one case showed: a finding, or a refusal, or neither (all is right)."""

    finding: Finding | None = None
    refused: str = ""
    outputs: int = 0
    also: tuple[Finding, ...] = ()
    not_asked: bool = False
    vacuous: bool = False
    errors: tuple[int, ...] = ()  # how far within the bound each element lies, counts by class


@dataclass(frozen=True)
class Budget:
    """How much may be spent on one clause and dtype.

    `examples` are drawn for float32 and `others` for each other dtype: most clauses are about geometry, and a kernel
    that is wrong in one dtype alone is rarer than one that is wrong.
    """

    examples: int
    others: int
    shrink_calls: int
    shrink_seconds: float
    crashes: int


@dataclass
class Exploration:
    """All that was judged, and the smallest witness of each cause."""

    outcomes: dict[Any, Outcome] = field(default_factory=dict)
    witnesses: dict[str, Finding] = field(default_factory=dict)
    drawn: tuple[Outcome, ...] = ()  # what counts: how many more a search for a small witness takes is no figure

    def note(self, size: Callable[[Any], Any]) -> None:
        """Keep the smallest witness of each cause."""
        for case in sorted((c for c, o in self.outcomes.items() if o.finding or o.also), key=size):
            outcome = self.outcomes[case]
            for finding in (*((outcome.finding,) if outcome.finding else ()), *outcome.also):
                self.witnesses.setdefault(cause(finding), finding)


class Broken(Exception):  # noqa: N818 - a signal, not an error
    """Tells Hypothesis that a case fails; never leaves this module."""


def cause(finding: Finding) -> str:
    """What makes two findings one: the clause, the kind, which exception it was, and the deviation that explains it."""
    detail = finding.got.split(":")[0] if finding.kind == "exception" else ""
    return f"{finding.clause}/{finding.kind}/{detail}/{finding.deviation}"


def explore(
    strategy: st.SearchStrategy[Any],
    evaluate: Callable[[Any], Outcome],
    *,
    budget: Budget,
    start: int,
    size: Callable[[Any], Any],
    seen: Callable[[Any, Outcome], None] = lambda case, outcome: None,  # noqa: ARG005 - nothing is the default
    known: Iterable[Any] | None = None,
) -> Exploration:
    """Judge `budget.examples` drawn cases, then shrink one witness for each cause found.

    `known` are the cases that would be drawn, where somebody has drawn them before.
    `seen(case, outcome)` is called once for each case that counts, not for those of the search for a small witness.
    """
    found = Exploration()

    def judged(case: Any) -> Outcome:
        if case not in found.outcomes:
            found.outcomes[case] = evaluate(case)
        return found.outcomes[case]

    def drawn(case: Any) -> None:
        new = case not in found.outcomes
        outcome = judged(case)
        if new:
            seen(case, outcome)

    if known is None:
        draw(strategy, drawn, budget.examples, start)
    else:
        for case in known:
            drawn(case)
    found.drawn = tuple(found.outcomes.values())
    # Known deviations have a witness of their own already.
    new = [o.finding for o in found.outcomes.values() if o.finding and not o.finding.deviation]
    causes = {cause(finding): finding for finding in new}
    for which, finding in causes.items():
        _shrink(strategy, judged, found, which, finding.is_crash, budget, start)
    found.note(size)
    return found


def draw(strategy: st.SearchStrategy[Any], body: Callable[[Any], Any], examples: int, start: int) -> None:
    """Hand on so many cases, one at a time; the same for the same seed and the same release of Hypothesis."""
    _run(strategy, body, examples, start, Phase.generate)


def _shrink(
    strategy: st.SearchStrategy[Any],
    judged: Callable[[Any], Outcome],
    found: Exploration,
    which: str,
    crash: bool,
    budget: Budget,
    start: int,
) -> None:
    """Replay the draws up to the first case with this cause and shrink it, within the budget."""
    calls = budget.crashes if crash else budget.shrink_calls
    until = time.monotonic() + budget.shrink_seconds

    def step(case: Any) -> None:
        nonlocal calls
        if case not in found.outcomes:
            calls -= 1
            if calls < 0 or time.monotonic() > until:
                return
        finding = judged(case).finding
        if finding and cause(finding) == which:
            raise Broken

    with contextlib.suppress(Broken):
        _run(strategy, step, budget.examples, start, Phase.generate, Phase.shrink)


def _run(
    strategy: st.SearchStrategy[Any], body: Callable[[Any], Any], examples: int, start: int, *phases: Phase
) -> None:
    runner = _runner(max(examples, 1), phases)
    seed(start)(runner)
    _running.append((strategy, body))
    try:
        with _no_local_constants():
            runner()
    finally:
        _running.pop()


@contextlib.contextmanager
def _no_local_constants() -> Iterator[None]:
    """Hypothesis also draws constants that it finds in the user's own source; what a seed asks must not hang on that.

    There is no public switch. Where a release of Hypothesis keeps them elsewhere, nothing happens.
    """
    own = getattr(providers, "_get_local_constants", None)
    constants = getattr(providers, "Constants", None)
    if own is None or constants is None:
        yield
        return
    setattr(providers, "_get_local_constants", constants)  # noqa: B010 - mypy knows no such attribute
    try:
        yield
    finally:
        setattr(providers, "_get_local_constants", own)  # noqa: B010


#: The strategy and the body that a runner is at work on; the last is the innermost.
_running: list[tuple[st.SearchStrategy[Any], Callable[[Any], Any]]] = []


@cache
def _runner(examples: int, phases: tuple[Phase, ...]) -> Callable[[], None]:
    """A Hypothesis test that runs what is on top of `_running`: wrapping one costs milliseconds, so few are made."""

    @settings(
        max_examples=examples,
        phases=phases,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        strategy, body = _running[-1]
        body(data.draw(strategy))

    # The key of a database that we have not: without it Hypothesis reads and hashes this source anew in each run.
    setattr(run, "_hypothesis_internal_database_key", None)  # noqa: B010 - mypy knows no such attribute
    return run
