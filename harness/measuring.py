"""Measurements over many cases: how precise a backend's sums are, and by which algorithm it computes them.

May import the judge, the cases and the oracle. A measurement judges each case by itself, so that it can be put to a
known wrong reading as well, and the backend's own cases all together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .cases.case import Case
from .cases.recipes import Data, arrays
from .explore import Outcome
from .judge import Ask, Judge, NoResult, Question, truths_of
from .oracle.bounds import compare
from .oracle.precision import Sample
from .oracle.transforms import ORDER, algorithm, leaks, probes, right_for_some
from .verdict import Finding

PRECISION = "precision"


@dataclass
class Precision:
    """The errors of one backend's results, by name (y, or dx and dw), in one dtype."""

    judge: Judge
    question: Question
    samples: dict[str, Sample] = field(default_factory=dict)

    def evaluate(self, judge: Judge, case: Case) -> Outcome:
        """Measure one case; what is outside by itself is a finding. Only the own backend's errors are kept."""
        data = arrays(case)
        try:
            results, also = judge.results(case, data, self.question)
        except NoResult as stop:
            return stop.outcome
        said = []
        for truth in truths_of(case):
            got = results[truth.name]
            alone = Sample(truth.name, case.dtype, judge.contract)
            errors = alone.measure(case, truth, got)
            alone.take(*errors)
            kept = self.samples.setdefault(truth.name, Sample(truth.name, case.dtype, judge.contract))
            if judge is self.judge:
                kept.take(*errors)
            said.append(alone.verdict())
            if not alone.judged and compare(got, truth, case.dtype, judge.contract):
                said.append(f"{truth.name} lies outside the bound of {judge.contract.algorithm}")
        told = "; ".join(filter(None, said))
        finding = judge.finding(case, self.question.clause, PRECISION, f"{told}.") if told else None
        return Outcome(finding, outputs=sum(a.size for a in results.values()), also=also)

    @property
    def bits(self) -> dict[str, float]:
        """The effective bits of each result that was measured."""
        return {name: round(sample.bits, 2) for name, sample in self.samples.items() if sample.elements}

    def finding(self, witnesses: list[Finding]) -> Finding | None:
        """What all cases together say, told of the smallest case that shows it."""
        worse = [sample for sample in self.samples.values() if sample.outside]
        if not worse:
            return witnesses[0] if witnesses else None
        case = min((e.case for sample in worse for e in sample.outside), key=lambda c: c.size)
        said = "; ".join(sample.verdict() for sample in worse)
        elements = sum(e.elements for sample in worse for e in sample.outside)
        said = f"{said}. Measured on {elements:,} elements; this is the smallest of the cases."
        return self.judge.finding(case, self.question.clause, PRECISION, said)


@dataclass
class Algorithm:
    """By which algorithm a backend computes: the most far-reaching that any case showed."""

    judge: Judge
    question: Question
    seen: set[str] = field(default_factory=set)

    def evaluate(self, judge: Judge, case: Case) -> Outcome:
        """Probe one case; an algorithm that reaches further than the declared one is a finding."""

        def probe(ask: Ask, asked: Case) -> str | None:
            shown, what = _shown(ask, asked, arrays(asked), judge)
            if judge is self.judge:
                self.seen.add(shown)
            declared = judge.contract.algorithm
            if shown not in ORDER or ORDER.index(shown) <= ORDER.index(declared):
                return None
            return f"declares {declared}, behaves like {NAMES[shown]}: {what}"

        return judge.against_property(case, self.question, probe)

    @property
    def reading(self) -> str:
        """What was seen, in a word."""
        return max(self.seen & set(ORDER), key=ORDER.index, default="")


NAMES = {"winograd": "Winograd", "fft": "an FFT or another transform of the whole"}


def _shown(ask: Ask, case: Case, data: Data, judge: Judge) -> tuple[str, str]:
    """The algorithm that a case shows, and by what; no algorithm where its plain answer is wrong already."""
    (truth,) = truths_of(case)
    before = ask(case, data)["y"]
    if not right_for_some(before, truth, case.dtype, judge.contract):
        return "", ""
    shown, what = "direct", ""
    for probe in probes(case, data):
        after = ask(case, probe.data)["y"]
        leaking = leaks(probe, before, after, truth, case.dtype, judge.contract)
        found = algorithm(probe, leaking)
        if ORDER.index(found) > ORDER.index(shown):
            pixel = "a NaN" if math.isnan(probe.value) else f"one pixel of {probe.value:.3g}"
            far = int(probe.distance[leaking].max())
            shown = found
            what = f"{pixel} changes {int(leaking.sum())} outputs that it is no part of, up to {far} away"
    return shown, what
